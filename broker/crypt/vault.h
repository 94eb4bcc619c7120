/* A broker's encryption: which key a batch is encrypted with, and batches decrypted for readers.
 * Who owns it fetches the keys (broker/server/data_keys.h) and tells the time.
 *
 * The way of a payload: records -> compressed by its producer (proto/codec) -> encrypted by the
 * leader (vault_seal()) -> log; and back: vault_open() -> codec_open() -> records.
 *
 * No I/O, no clock. One home thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/crypt/crypt.h"
#include "proto/schema/keyring.pb-c.h"

enum {
    VAULT_REFRESH_MS = 5 * 60 * 1000, /* keys are asked for again: their ring key may be disabled */
    VAULT_LIFE_MS = 60 * 60 * 1000,   /* without controllers they are forgotten */
};

struct vault;

/* `want` is called when a key is missed: it should be asked for soon. NULL when out of memory. */
struct vault *vault_new(uint64_t refresh_ms, uint64_t life_ms,
                        void (*want)(void *context, uint32_t stream), void *context);
void vault_free(struct vault *vault); /* NULL is fine */

/* The answer to a GetDataKeys that was sent at `asked_ms`. INVALID, NO_MEMORY. */
NODISCARD enum status vault_take(struct vault *vault, const Weir__DataKeys *reply,
                                 uint64_t asked_ms);
/* Now and then: forgets what is too old. */
void vault_tick(struct vault *vault, uint64_t now_ms);

/* Whether the stream's keys are to be asked for. */
bool vault_is_due(const struct vault *vault, uint32_t stream, uint32_t newest,
                  uint64_t ring_version, uint64_t now_ms);

/* Encrypts a batch under its stream's newest data key. *h has all of the leader's fields and the
 * salt; it and *payload become what is stored; *payload is borrowed until the next call of the
 * vault. KEY_UNAVAILABLE (`want` was called) and the other KEY_ statuses, NO_MEMORY, INTERNAL. */
NODISCARD enum status vault_seal(struct vault *vault, uint64_t now_ms, struct batch_header *h,
                                 struct bytes *payload);

/* What readers get of whole, checked batches: those that are encrypted decrypted, the others as
 * they are. Without an encrypted one *out is not set and UNSUPPORTED returned: use the pieces.
 * *out is borrowed until the next call. CORRUPT: a batch was tampered with, or is another key's;
 * KEY_ statuses; NO_MEMORY. */
NODISCARD enum status vault_open(struct vault *vault, uint64_t now_ms, const struct bytes *pieces,
                                 uint32_t piece_count, struct bytes *out);
