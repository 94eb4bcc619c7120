/* What those who watch a shard are told of it. */
#include "broker/shard/shard.h"

static uint64_t since(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

void shard_observe(struct shard *shard, struct shard_counters *out)
{
    const struct shard_counters *now = &shard->counters, *before = &shard->counted;
    *out = (struct shard_counters){
        .in_bytes = since(now->in_bytes, before->in_bytes),
        .in_records = since(now->in_records, before->in_records),
        .out_bytes = since(now->out_bytes, before->out_bytes),
        .out_records = since(now->out_records, before->out_records),
        .write_exceeded = since(now->write_exceeded, before->write_exceeded),
        .read_exceeded = since(now->read_exceeded, before->read_exceeded),
        .iterator_age_ms = now->iterator_age_ms,
    };
    shard->counted = *now;
    shard->commit_before = shard->commit;
}

void shard_lack(const struct shard *shard, struct shard_lack *out)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    uint64_t wanted = shard->commit_before < view.commit ? shard->commit_before : view.commit;
    *out = (struct shard_lack){.whole = view.role == REPLICA_LEADING && view.open};
    for (uint32_t i = 0; i < view.member_count; i++) {
        const struct replica_member_view *member = &view.member[i];
        if (member->learner) {
            continue;
        }
        if (!member->connected || member->match < wanted) {
            out->whole = false;
            out->missing = member->id.broker;
        }
        out->voters[out->count] = member->id;
        out->lag[out->count++] = since(view.last.end, member->match);
        uint64_t behind = since(view.commit, member->match);
        out->behind = behind > out->behind ? behind : out->behind;
    }
}
