/* The broker's keys for encryption at rest: fetches them from the active controller when they are
 * due, and encrypts what its shards append (broker/crypt/vault.h).
 *
 * One home thread, that of the loop. */
#pragma once

#include "broker/crypt/vault.h"
#include "broker/route/route.h"
#include "broker/shard/shard.h"
#include "proto/net/net.h"

enum {
    DATA_KEYS_LOOK_MS = 250,   /* between looks for what is due */
    DATA_KEYS_RETRY_MS = 1000, /* after a failure */
    DATA_KEYS_TIMEOUT_MS = 3000,
    DATA_KEYS_STREAMS_MAX = 64, /* in one call */
};

/* Embedded in the server; zeroed, then data_keys_open(). */
struct data_key_fetch {
    struct net_loop *loop;
    struct vault *vault;
    const struct route *route;
    struct shards *shards;
    struct session_request request;
    uint64_t asked_ms, not_before_ms; /* on net_now_ms() */
    bool asking, told;
};

/* NO_MEMORY. Everything is borrowed; the shards may come later. */
NODISCARD enum status data_key_fetch_open(struct data_key_fetch *f, struct net_loop *loop,
                                          const struct route *route, uint64_t refresh_ms,
                                          uint64_t life_ms);
void data_key_fetch_release(struct data_key_fetch *f); /* wipes the keys */

/* Asks at `session`, the active controller's (NULL: none is known), when something is due; cheap to
 * call again and again. `now`: the image has changed, look at once. */
void data_key_fetch_look(struct data_key_fetch *f, struct session *session, bool now);

/* struct shards_hooks' seal. */
NODISCARD enum status data_key_seal(struct data_key_fetch *f, const struct shard *shard, bool must,
                                    struct batch_header *h, struct bytes *payload,
                                    struct error *error);
