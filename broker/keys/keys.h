/* What a broker knows of access keys: for each enabled one its owner's name and the signing keys of
 * yesterday, today and tomorrow, never a secret; and the keys that seal tokens (docs/security.md).
 *
 * The controllers derive them. They are fetched again when the metadata image has another version
 * of the keys, and when a day begins. Without controllers the last ones stay good as long as their
 * days: a day at least.
 *
 * No I/O, no clock. One home thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "broker/gateway/iterator.h"
#include "broker/gateway/sigv4.h"
#include "proto/schema/metadata.pb-c.h"

enum {
    KEYS_DAYS = 3,
    KEYS_MAX = 4096,
    KEYS_TOKENS_MAX = 16,
};

struct keys;

/* Knows nothing. NULL when out of memory. */
struct keys *keys_new(void);
void keys_free(struct keys *keys); /* wipes it; NULL is fine */

/* Takes what the controllers answered, in place of all it had. INVALID: not well formed, NO_MEMORY:
 * it has what it had. */
NODISCARD enum status keys_take(struct keys *keys, const Weir__SigningKeys *reply);

/* The controllers have no cluster key, so there are no access keys. What was taken before stays. */
void keys_take_none(struct keys *keys);

/* Whether to ask the controllers, when the image says `version`. */
bool keys_are_due(const struct keys *keys, uint64_t version, uint64_t wall_ms);

/* For which days to ask. */
void keys_dates(uint64_t wall_ms, char out[KEYS_DAYS][SIGV4_DATE_BYTES]);

/* For struct sigv4_rules, with the keys as `data`. UNAVAILABLE before the first answer, and for a
 * day that has not been fetched. There are no session tokens yet: any is one that is not of its
 * key. */
enum sigv4_key keys_signing_key(const char *access_key, const char *date, struct bytes token,
                                uint8_t key[SIGV4_KEY_BYTES], char principal[SIGV4_PRINCIPAL_BYTES],
                                void *data);

/* Borrowed until the next keys_take(). NULL: none are known. */
const struct token_keys *keys_tokens(const struct keys *keys);
