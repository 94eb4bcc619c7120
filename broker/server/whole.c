/* Whether all replicas of what lies here are where they should be. Leaders know of their own
 * shards, and tell the others with each ping how many of those that they share lack something. */
#include <stdio.h>

#include "broker/server/peers_internal.h"

enum { TOLD_MS = 1000 }; /* what a leader told longer ago is not known any more */

/* A broker that is here with another disk does not hold what the voter held (R14). */
static void look_for_lost_disks(const struct peers *peers, struct shard_lack *lack)
{
    for (uint32_t i = 0; i < lack->count; i++) {
        const struct peer *peer = peers_find(peers, lack->voters[i].broker);
        if (peer != NULL && peer->disk_gen != 0 && peer->disk_gen != lack->voters[i].disk_gen) {
            lack->whole = false;
            lack->missing = lack->voters[i].broker;
        }
    }
}

void peers_count_lacking(struct peers *peers)
{
    peers->lacking = peers->missing = 0;
    for (uint32_t i = 0; i < peers->count; i++) {
        peers->peer[i]->lacking = 0;
    }
    for (struct shard *shard = shards_next(peers->options.shards, NULL); shard != NULL;
         shard = shards_next(peers->options.shards, shard)) {
        struct shard_lack lack;
        if (shard->role != REPLICA_LEADING) {
            continue;
        }
        shard_lack(shard, &lack);
        look_for_lost_disks(peers, &lack);
        peers->lacking += lack.whole ? 0 : 1;
        peers->missing = lack.missing != 0 ? lack.missing : peers->missing;
        for (uint32_t i = 0; !lack.whole && i < lack.count; i++) {
            struct peer *peer = peers_find(peers, lack.voters[i].broker);
            if (peer != NULL) {
                peer->lacking++;
            }
        }
    }
}

uint32_t peers_lacking(const struct peers *peers)
{
    return peers->lacking;
}

/* What speaks against a shard that another broker leads; NULL: nothing. */
static const char *trouble(const struct peers *peers, const struct shard *shard,
                           const struct route_shard *row)
{
    uint64_t now_ms = net_now_ms(peers->options.loop);
    const struct peer *leader = peers_find(peers, row->leader_broker);
    if (row->leader_broker == 0) {
        return "has no leader";
    }
    if (row->leader_broker == peers->options.broker) {
        return "has no leader yet: this broker is to be it";
    }
    if (leader == NULL || leader->lacks_ms == 0 || now_ms > leader->lacks_ms + TOLD_MS) {
        return "has a leader that is not heard";
    }
    struct replica_view view;
    replica_view(shard->replica, &view);
    if (view.leader.broker != row->leader_broker) {
        return "is not fed by its leader yet";
    }
    return leader->lacks > 0 ? "or another shard of its leader lacks a replica" : NULL;
}

static bool is_ours(const struct peers *peers, const struct route_shard *row)
{
    for (uint32_t i = 0; i < row->replica_count; i++) {
        if (row->replica_brokers[i] == peers->options.broker) {
            return true;
        }
    }
    return false; /* it has moved away, and is dropped soon */
}

bool peers_are_whole(const struct peers *peers, const struct route *route, char *why, size_t size)
{
    if (peers->lacking > 0) {
        if (peers->missing == 0) {
            (void)snprintf(why, size, "%u shards that are led here are not open", peers->lacking);
        } else {
            (void)snprintf(why, size, "%u shards that are led here lack a replica: broker-%u's",
                           peers->lacking, peers->missing);
        }
        return false;
    }
    for (struct shard *shard = shards_next(peers->options.shards, NULL); shard != NULL;
         shard = shards_next(peers->options.shards, shard)) {
        const struct route_shard *row = route_shard(route, shard->id);
        const struct route_stream *stream = route_stream(route, (uint32_t)(shard->id >> 32));
        if (row == NULL || stream == NULL || row->phase == WEIR__SHARD_PHASE__SHARD_DELETED ||
            shard->role == REPLICA_LEADING || !is_ours(peers, row)) {
            continue;
        }
        const char *what = trouble(peers, shard, row);
        if (what != NULL) {
            (void)snprintf(why, size, "shard %u of stream %.100s %s", (unsigned)shard->id,
                           stream->name, what);
            return false;
        }
    }
    return true;
}
