/* The cluster's key ring: finding keys, and what their states allow (docs/security.md). Commands
 * change it (controller/command), calls use it (controller/rpc).
 *
 * Thread: that of the database. */
#pragma once

#include "controller/db/db.h"
#include "proto/schema/keyring.pb-c.h"

#define RING_DEFAULT_ALIAS "alias/aws/kinesis"

enum {
    RING_KEYS_MAX = 1000,
    RING_VERSIONS_MAX = 1000,
    RING_ALIASES_MAX = 50, /* of a key */
    RING_DESCRIPTION_MAX = 1024,
    RING_DAYS_MIN = 7, /* before a deleted key is destroyed: as AWS */
    RING_DAYS_MAX = 30,
};

/* The key that `name` means: its id, an alias, or the ARN of either in this account and region.
 * Ours to free. NULL: there is none, or the database has failed (then nothing is committed). */
Weir__RingKey *ring_find(struct db *db, const char *name);
void ring_key_free(Weir__RingKey **key); /* for AUTO() */

/* OK, KEY_DISABLED or KEY_STATE: whether data keys may be wrapped and unwrapped with it. */
NODISCARD enum status ring_key_usable(const Weir__RingKey *key);

/* The version that wraps. NULL: a damaged row. */
const Weir__RingKeyVersion *ring_key_newest(const Weir__RingKey *key);

/* Whether the newest of the stream's data keys was wrapped by the newest version of this key. */
bool ring_key_wrapped_newest(const Weir__RingKey *key, const Weir__StreamAttributes *attributes);
