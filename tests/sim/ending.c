/* The end of a run: everything is healed, and I16 must hold. Every shard accepts writes within 10
 * seconds, and the time to feed what somebody wrote alone; then, without writes, all voters become
 * equal. */
#include "tests/sim/world.h"

enum { PHASE_FAULTS, PHASE_WRITE, PHASE_EQUAL };

static void heal_network(struct world *w)
{
    for (uint32_t a = 0; a < ENDPOINTS; a++) {
        for (uint32_t b = 0; b < ENDPOINTS; b++) {
            w->link[a][b].blocked = false;
        }
    }
}

static void heal_brokers(struct world *w)
{
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        struct broker *b = &w->broker[id];
        if (b->paused) {
            b->resume_us = w->now_us;
            b->paused = false;
        }
        b->full = false;
        b->clock_ms = 0;
        if (b->out) { /* somebody looks after it */
            broker_crash(w, b, CRASH_PLAIN, 1);
        }
        broker_restart(w, b);
    }
}

/* Before a new leader can commit anything, a majority must have all of its log. In a network that
 * reorders, where a message carries one batch of a MiB, each of them takes a round trip, or two
 * when it came before the one ahead of it. */
static uint64_t feeding_us(const struct world *w)
{
    uint64_t most = 0;
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        uint64_t committed = log_end(&w->truth[s].log);
        for (uint32_t id = 1; id <= w->plan.brokers; id++) {
            const struct log *log = &w->broker[id].replica[s].medium.log;
            uint32_t lacking = 0;
            while (lacking < log->count &&
                   log->batch[log->count - 1 - lacking].core.base >= committed) {
                lacking++;
            }
            most = lacking > most ? lacking : most;
        }
    }
    return most * (8 * w->plan.delay_us + 2 * w->plan.sync_us + 2 * MS);
}

void ending_start(struct world *w)
{
    TRACE(w, "everything is healed");
    w->healing = true;
    heal_network(w);
    heal_brokers(w);
    if (w->plan.raft) {
        controllers_heal(w);
    } else {
        controller_activate(w, w->metadata.leader);
    }
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        schedule(w, 1, (struct event){.type = EVENT_REPLACE, .b = s});
    }
    w->ending.phase = PHASE_WRITE;
    w->ending.deadline_us = w->now_us + 10 * (uint64_t)SECOND + feeding_us(w);
    w->ending.first_attempt = w->next_id + 1;
    schedule(w, 1, (struct event){.type = EVENT_ENDING});
}

void ending_on_acked(struct world *w, uint32_t shard, uint64_t attempt)
{
    if (w->ending.phase == PHASE_WRITE && attempt >= w->ending.first_attempt) {
        w->ending.acked[shard] = true;
    }
}

/* A leader that can neither fill its hole nor learn that nobody ever could stays where it is as
 * long as those whom it asks, or it itself, are of a version that does not speak of holes, and it
 * cannot be done without. It was so in the version before; the end of the upgrade ends it
 * (docs/operations.md). Children wait for their parents. */
static bool has_hole(const struct world *w, uint32_t shard)
{
    bool hole = holes_beside(w, shard, NULL);
    for (uint32_t p = 0; p < shard && !hole; p++) {
        hole = (w->metadata.parents[shard] >> p & 1) != 0 && has_hole(w, p);
    }
    return hole;
}

static bool ends_with_upgrade(struct world *w)
{
    bool any = false;
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        bool hole = has_hole(w, s);
        if (!w->ending.acked[s] && !hole) {
            return false;
        }
        any = any || hole;
    }
    if (!any || !version_end(w)) {
        return false;
    }
    w->ending.deadline_us = w->now_us + (10 + w->plan.brokers) * (uint64_t)SECOND;
    return true;
}

static bool all_accept_writes(struct world *w)
{
    bool all = true;
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (!w->ending.acked[s]) {
            all = false;
            client_put(w, 0, s);
        }
    }
    return all && reshard_is_done(w);
}

static const char *shard_unequal(struct world *w, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct broker *leader = leader_of(w, shard);
    struct replica_view view;
    if (row->phase != ELECTION_ACTIVE || leader == NULL) {
        return "it has no leader";
    }
    if (w->metadata.move[shard].state != 0) {
        return "a replica is still on its way";
    }
    if (row->prev_cfg.voter_count > 0) {
        return "its configuration is not stable";
    }
    replica_view(leader->replica[shard].core, &view);
    for (uint32_t i = 0; i < row->cfg.voter_count; i++) {
        const struct broker *b = &w->broker[row->cfg.voter[i].broker];
        const struct replica_shell *r = &b->replica[shard];
        if (b->disk_gen != row->cfg.voter[i].disk_gen || r->core == NULL) {
            return "a voter is missing";
        }
        if (r->commit != view.last.end) {
            TRACE(w, "broker %u shard %u: commit %llu of %llu, session %d", b->id, shard,
                  (unsigned long long)r->commit, (unsigned long long)view.last.end,
                  w->pair[leader->id][b->id].up);
            return "a voter does not know of a commit";
        }
        if (log_end(&r->medium.log) != view.last.end || !log_holds(&r->medium.log, view.last)) {
            return "the voters' logs differ";
        }
        if (r->medium.uncertain) {
            return "a voter is still uncertain";
        }
        if (!log_is_whole(&r->medium.log, r->medium.log_start)) {
            return "a voter has a hole";
        }
    }
    return NULL;
}

static void ending_of_writes(struct world *w)
{
    if (all_accept_writes(w)) {
        TRACE(w, "every shard accepts writes");
        w->ending.phase = PHASE_EQUAL;
        w->ending.deadline_us = w->now_us + 30 * (uint64_t)SECOND;
    } else if (w->now_us > w->ending.deadline_us && !ends_with_upgrade(w)) {
        if (!reshard_is_done(w)) {
            violated(w, "I16: shards are not split and merged in time after all faults");
        }
        for (uint32_t s = 0; s < w->plan.shards; s++) {
            if (!w->ending.acked[s]) {
                violated(w, "I16: shard %u accepts no write in time after all faults", s);
            }
        }
    }
    schedule(w, 100 * MS, (struct event){.type = EVENT_ENDING});
}

void ending_on_event(struct world *w)
{
    for (uint32_t id = 1; id <= w->plan.brokers && w->plan.fault[FAULT_ROT]; id++) {
        for (uint32_t s = 0; s < w->plan.shards; s++) {
            holes_scrub(w, &w->broker[id], s);
        }
    }
    if (w->ending.phase == PHASE_WRITE) {
        ending_of_writes(w);
        return;
    }
    if (!clients_are_done(w)) {
        if (w->now_us > w->ending.deadline_us) {
            violated(w, "I16: a client's operation is not answered 30 s after all faults");
        }
        schedule(w, 100 * MS, (struct event){.type = EVENT_ENDING});
        return;
    }
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        const char *why = shard_unequal(w, s);
        if (why != NULL && w->now_us > w->ending.deadline_us) {
            violated(w, "I16: shard %u is not whole 30 s after it accepts writes: %s", s, why);
        }
        if (why != NULL) {
            schedule(w, 100 * MS, (struct event){.type = EVENT_ENDING});
            return;
        }
    }
    const char *why = w->plan.raft ? controllers_unequal(w) : NULL;
    if (why != NULL) {
        if (w->now_us > w->ending.deadline_us) {
            violated(w, "RAFT: 30 s after all faults, %s", why);
        }
        schedule(w, 100 * MS, (struct event){.type = EVENT_ENDING});
        return;
    }
    if (w->plan.raft) {
        controllers_end(w);
    }
    w->ending.phase = UINT32_MAX;
}
