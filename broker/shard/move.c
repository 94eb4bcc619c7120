/* What the controllers order when replicas or leaderships move (docs/replication.md 2.9). */
#include "base/trace.h"
#include "broker/shard/internal.h"

enum status shard_learn(struct shard *shard, uint32_t epoch, const struct replica_config *learners)
{
    struct shards *set = shard->set;
    if (set->out || set->closing) {
        return STATUS_IO;
    }
    struct replica_input *in = shard_input(shard, REPLICA_LEARN);
    in->epoch = epoch;
    in->config = *learners;
    enum status status = shard_step(shard, NULL);
    for (uint32_t i = 0; status == STATUS_OK && i < learners->voter_count; i++) {
        if (!set->hooks.is_connected(set->hooks.context, learners->voter[i].broker)) {
            shard_input(shard, REPLICA_PEER_DOWN)->from = learners->voter[i];
            status_ignore(shard_step(shard, NULL), "nothing to refuse");
        }
    }
    return status;
}

static struct replica_id best_heir(const struct shard *shard)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    struct replica_id best = {0};
    uint64_t match = 0;
    for (uint32_t i = 0; i < view.member_count; i++) {
        const struct replica_member_view *m = &view.member[i];
        if (!m->learner && m->connected && !m->fenced && m->match > match) {
            best = m->id;
            match = m->match;
        }
    }
    return best;
}

enum status shard_hand_over(struct shard *shard, struct replica_id heir)
{
    if (shard->set->out || shard->set->closing) {
        return STATUS_IO;
    }
    if (shard->role != REPLICA_LEADING) {
        return STATUS_NOT_LEADER;
    }
    struct replica_slot slot;
    if (heir.broker == 0 && replica_slot(shard->replica, &slot) == STATUS_BUSY) {
        return STATUS_OK; /* it is under way */
    }
    if (heir.broker == 0 && shard->given_epoch != 0 && shard->given_epoch != shard->epoch) {
        return STATUS_NOT_LEADER; /* from somebody who leaves, too: it would go to and fro */
    }
    struct replica_id to = heir.broker == 0 ? best_heir(shard) : heir;
    if (to.broker == 0) {
        return STATUS_BUSY;
    }
    if (heir.broker == 0) {
        shard->given_epoch = shard->epoch;
    }
    shard_input(shard, REPLICA_HANDOVER)->id = to;
    enum status status = shard_step(shard, NULL);
    trace(TRACE_INFO, "shards", "shard %016llx: hands epoch %u over to broker-%u: %s",
          (unsigned long long)shard->id, shard->epoch, to.broker, status_name(status));
    return status;
}
