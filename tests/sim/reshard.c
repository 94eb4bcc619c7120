/* Splits and merges, as the controllers' rows order them: the leaders of the parents are asked for
 * a SEAL until its commit is told; when that is a row for every parent of a child, the child is
 * open, and brokers learn it some time later (docs/replication.md 2.12). */
#include "tests/sim/world.h"

void reshard_init(struct world *w)
{
    struct metadata *m = &w->metadata;
    if (w->plan.reshard_us != 0) {
        bool merge = w->plan.shards == 3 && chance(w, 500);
        m->parents[1] = merge ? 0 : 1;
        m->parents[2] = merge ? 3 : 1;
        m->parents[3] = 6;
        schedule(w, w->plan.reshard_us, (struct event){.type = EVENT_RESHARD});
    }
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        m->open[s] = m->parents[s] == 0;
    }
}

static bool has_child(const struct world *w, uint32_t shard)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if ((w->metadata.parents[s] >> shard & 1) != 0) {
            return true;
        }
    }
    return false;
}

bool reshard_is_done(const struct world *w)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (!w->metadata.open[s]) {
            return false;
        }
    }
    return true;
}

void reshard_on_event(struct world *w)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (w->metadata.open[s] && !w->metadata.sealed[s] && has_child(w, s)) {
            broker_seal(w, s);
        }
    }
    if (!reshard_is_done(w)) {
        uint64_t delay_us = knob(w, KNOB_SEAL_OFTEN) ? draw(w, 1, 5 * MS) : 50 * MS;
        schedule(w, delay_us, (struct event){.type = EVENT_RESHARD});
    }
}

void reshard_on_sealed(struct world *w, uint32_t controller, const struct message *m)
{
    if (w->metadata.sealed[m->shard]) {
        return;
    }
    if (w->plan.raft) {
        controllers_propose(w, controller,
                            &(struct command){.type = COMMAND_SEALED, .shard = m->shard});
    } else {
        schedule(w, draw(w, w->plan.raft_us / 2, 2 * w->plan.raft_us),
                 (struct event){.type = EVENT_SEALED, .a = controller, .b = m->shard});
    }
}

static void tell_brokers(struct world *w, uint32_t child)
{
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        uint64_t delay_us = draw_exponential(w, chance(w, 700) ? 2 * MS : 100 * MS);
        schedule(w, delay_us, (struct event){.type = EVENT_OPEN, .a = id, .b = child});
    }
}

static bool parents_are_sealed(const struct world *w, uint32_t child)
{
    for (uint32_t p = 0; p < w->plan.shards; p++) {
        if ((w->metadata.parents[child] >> p & 1) != 0 && !w->metadata.sealed[p]) {
            return false;
        }
    }
    return true;
}

void reshard_on_commit(struct world *w, uint32_t controller, uint32_t parent)
{
    const struct metadata *m = &w->metadata;
    if (m->leader == controller && w->now_us >= m->cut_until_us) {
        reshard_apply(w, parent);
    }
}

void reshard_apply(struct world *w, uint32_t parent)
{
    struct metadata *m = &w->metadata;
    if (m->sealed[parent]) {
        return;
    }
    m->sealed[parent] = true;
    TRACE(w, "shard %u: closed", parent);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (!m->open[s] && parents_are_sealed(w, s)) {
            bool merge = (m->parents[s] & (m->parents[s] - 1)) != 0;
            m->open[s] = true;
            SEEN_IF(w, MERGE, merge);
            SEEN_IF(w, SPLIT, !merge);
            TRACE(w, "shard %u: open", s);
            tell_brokers(w, s);
        }
    }
}

bool reshard_waits(const struct world *w, const struct broker *b, uint32_t shard)
{
    return w->metadata.parents[shard] != 0 && !b->replica[shard].open_known &&
           !MUTANT(CHILDREN_OPEN_EARLY);
}

void reshard_on_known(struct world *w, uint32_t broker, uint32_t shard)
{
    w->broker[broker].replica[shard].open_known = w->metadata.open[shard];
}
