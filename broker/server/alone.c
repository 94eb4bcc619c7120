/* Leaders that no follower answers (docs/replication.md 2.9, "partition isolating the leader"). A
 * stall of the core needs something that waits for its commit; this is noticed without. */
#include "broker/server/peers_internal.h"

/* As long as not even a ping was answered, which is not noticed before PEER_HEARD_MS. */
enum { ALONE_MS = REPLICA_STALL_MS - PEER_HEARD_MS };

static bool all_are_heard(const struct peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (!peers_is_heard(peers, peers->peer[i]->id)) {
            return false;
        }
    }
    return true;
}

/* Whether any other voter answers; a shard of one replica needs none. */
static bool has_company(const struct peers *peers, const struct shard *shard)
{
    struct replica_view view;
    uint32_t voters = 0;
    replica_view(shard->replica, &view);
    for (uint32_t i = 0; i < view.member_count; i++) {
        if (view.member[i].learner) {
            continue;
        }
        voters++;
        if (peers_is_heard(peers, view.member[i].id.broker)) {
            return true;
        }
    }
    return voters == 0;
}

void peers_find_alone(struct peers *peers)
{
    bool all = all_are_heard(peers);
    if (all && peers->alone == 0) {
        return;
    }
    uint64_t now_ms = net_now_ms(peers->options.loop);
    peers->alone = 0;
    for (struct shard *shard = shards_next(peers->options.shards, NULL); shard != NULL;
         shard = shards_next(peers->options.shards, shard)) {
        if (!shard->open || all || has_company(peers, shard)) {
            shard->alone_ms = 0;
            shard_alone(shard, false);
            continue;
        }
        peers->alone++;
        shard->alone_ms = shard->alone_ms == 0 ? now_ms : shard->alone_ms;
        if (now_ms >= shard->alone_ms + ALONE_MS) {
            shard_alone(shard, true);
        }
    }
}
