/* A client that reads all shards from their first record on, each time from any replica, and checks
 * what it gets: only what is committed (I9), everything that is, in order, and nothing of a child
 * before all of its parents. */
#include "tests/sim/world.h"

static bool may_begin(const struct world *w, const struct client *c, uint32_t shard)
{
    return (w->metadata.parents[shard] & ~c->ended) == 0;
}

static void note(struct world *w, const struct broker *b, uint32_t shard)
{
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    bool leads = view.role == REPLICA_LEADING;
    SEEN_IF(w, READ_OF_FOLLOWER, !leads);
    SEEN_IF(w, READ_OF_DEPOSED, leads && view.epoch < w->metadata.row[shard].epoch);
}

static void check_read(struct world *w, const struct broker *b, uint32_t shard,
                       const struct batch *batch)
{
    const struct replica_batch *core = &batch->core;
    struct log_point point = {
        .end = core->base + core->count, .epoch = core->epoch, .crc = core->crc};
    if (!log_holds(&w->truth[shard].log, point)) {
        violated(w, "I9: broker %u returns a record at %llu of shard %u that is not committed",
                 b->id, (unsigned long long)core->base, shard);
    }
}

static void read_from(struct world *w, struct client *c, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    uint64_t *position = &c->position[shard];
    replica_view(r->core, &view);
    uint64_t end = MUTANT(READS_UNCOMMITTED) ? log_end(&r->live) : r->commit;
    if (*position < view.log_start) {
        SEEN(w, READ_TRIMMED);
        *position = view.log_start; /* said, not skipped: the reader is told where it begins */
    }
    SEEN_IF(w, READ_BEHIND, *position > end);
    note(w, b, shard);
    for (uint32_t i = log_find_base(&r->live, *position), n = 0; *position < end && n < 20; n++) {
        if (i >= r->live.count) {
            violated(w, "I9: broker %u has no batch at %llu of shard %u, below its commit", b->id,
                     (unsigned long long)*position, shard);
        }
        if (r->live.batch[i].rot != ROT_NONE) {
            holes_found(w, b, shard, i, FOUND_BY_READ); /* never served, and repaired */
            return;
        }
        const struct batch *batch = &r->live.batch[i++];
        check_read(w, b, shard, batch);
        *position = batch->core.base + batch->core.count;
        if ((batch->core.flags & REPLICA_BATCH_SEAL) != 0) {
            SEEN(w, READ_TO_THE_END);
            c->ended |= 1u << shard;
            return;
        }
    }
}

void reader_turn(struct world *w, struct client *c)
{
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    struct broker *b = &w->broker[draw(w, 1, w->plan.brokers)];
    if (b->up && !b->paused && b->replica[shard].core != NULL && may_begin(w, c, shard) &&
        (c->ended >> shard & 1) == 0 && !w->link[CLIENTS][b->id].blocked) {
        tip_ask(w, b, shard);
        read_from(w, c, b, shard);
    }
}
