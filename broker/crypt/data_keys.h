/* The data keys that a broker has been given by the controllers, in memory that is wiped and not
 * swapped, never longer than their life. Private to broker/crypt.
 *
 * No I/O, no clock. One home thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "broker/crypt/crypt.h"
#include "proto/schema/keyring.pb-c.h"

enum { DATA_KEYS_PER_STREAM_MAX = 65536 };

struct data_keys;

/* NULL when out of memory. Times are milliseconds of any monotonic clock. */
struct data_keys *data_keys_new(uint64_t refresh_ms, uint64_t life_ms);
void data_keys_free(struct data_keys *keys); /* wipes them; NULL is fine */

/* Takes the answer to a GetDataKeys that was sent at `asked_ms`. *out_lost tells whether a key that
 * was there is not given any more. INVALID: not well formed; NO_MEMORY: some streams may have been
 * taken. */
NODISCARD enum status data_keys_take(struct data_keys *keys, const Weir__DataKeys *reply,
                                     uint64_t asked_ms, bool *out_lost);

/* Wipes what has outlived its life; true when there was such. */
bool data_keys_expire(struct data_keys *keys, uint64_t now_ms);

/* Whether to ask for them again: unknown, without `newest`, of another state of the ring, or old.
 */
bool data_keys_are_due(const struct data_keys *keys, uint32_t stream, uint32_t newest,
                       uint64_t ring_version, uint64_t now_ms);

/* The key of one version; *out is borrowed until the next take or expire.
 * KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE, KEY_DENIED: as the controllers say.
 * KEY_UNAVAILABLE: not known, or not any more. */
NODISCARD enum status data_keys_find(const struct data_keys *keys, uint32_t stream,
                                     uint32_t version, uint64_t now_ms, const uint8_t **out);

/* The newest of the stream, which encrypts. Errors as data_keys_find(). */
NODISCARD enum status data_keys_newest(const struct data_keys *keys, uint32_t stream,
                                       uint64_t now_ms, uint32_t *out_version, const uint8_t **out);
