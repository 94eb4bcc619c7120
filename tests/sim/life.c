/* How brokers come, go, and come back with what their disks hold. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

void broker_create_replica(struct world *w, struct broker *b, uint32_t shard, uint32_t promised,
                           const struct log *copy, uint64_t end)
{
    struct replica_shell *r = &b->replica[shard];
    SEEN_IF(w, REPLICA_BACK, r->was_here);
    r->exists = true;
    log_release(&r->medium.log);
    r->medium = (struct medium){.promised = promised};
    if (copy != NULL) {
        log_copy(&r->medium.log, copy);
        CHECK(log_is_whole(&r->medium.log, 0));
        log_truncate(&r->medium.log, end);
        uint32_t last = log_last(&r->medium.log).epoch;
        r->medium.promised = last > promised ? last : promised;
    }
    if (b->up) {
        broker_recover(w, b, shard);
    }
}

/* For good: the controllers have no use for it any more. */
void broker_drop_replica(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    TRACE(w, "broker %u shard %u: drops its replica", b->id, shard);
    SEEN(w, REPLICA_DROPPED);
    check_drop(w, b, shard);
    w->metadata.drops[shard] &= ~(1u << b->id);
    r->was_here = true;
    dedup_forget(r);
    ghost_add(w, broker_rid(b), shard, &r->medium.log);
    for (uint32_t i = 0; i < b->journal.count; i++) {
        if (b->journal.op[i].shard == shard) {
            b->journal.op[i].type = OP_NONE;
            b->journal.op[i].seq = 0;
        }
    }
    replica_free(r->core);
    r->core = NULL;
    r->exists = false;
    r->puts = 0;
    r->told_promise = 0;
    log_release(&r->medium.log);
    r->medium = (struct medium){0};
}

void broker_recover(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    check_recovered(w, b, shard);
    dedup_forget(r);
    log_copy(&r->live, &r->medium.log);
    holes_recovered(w, b, shard);
    struct epoch_pair *history = NULL;
    uint32_t count = 0, capacity = 0, epoch = 0;
    uint64_t seal_end = 0;
    for (uint32_t i = 0; i < r->live.count; i++) {
        const struct replica_batch *batch = &r->live.batch[i].core;
        if (batch->epoch != epoch) {
            epoch = batch->epoch;
            history = grow(history, &capacity, count + 1, sizeof *history);
            history[count++] = (struct epoch_pair){.epoch = epoch, .start = batch->base};
        }
        if ((batch->flags & REPLICA_BATCH_SEAL) != 0) {
            seal_end = batch->base + batch->count;
        }
    }
    struct replica_recovered recovered = {.shard = shard_key(shard),
                                          .self = broker_rid(b),
                                          .boot = b->boot,
                                          .promised = r->medium.promised,
                                          .last = log_last(&r->live),
                                          .log_start = r->medium.log_start,
                                          .commit_hint = r->medium.commit_hint,
                                          .uncertain = r->medium.uncertain,
                                          .uncertain_end = r->medium.uncertain_end,
                                          .seal_end = seal_end,
                                          .history = history,
                                          .history_count = count};
    r->reading = (struct reading){.world = w, .broker = b, .shard = shard};
    r->log = (struct replica_log){.context = &r->reading, .point_at = holes_point_at};
    recovered.holes = holes_known(&r->live, r->medium.log_start);
    r->core = replica_new(&recovered, &r->log);
    CHECK(r->core != NULL);
    free(history);
    r->tick_us = UINT64_MAX;
    r->puts = 0;
    r->resigned_us = 0;
    struct replica_view view;
    replica_view(r->core, &view);
    if (view.commit > log_end(&w->truth[shard].log)) {
        violated(w, "I7: broker %u shard %u recovers commit %llu", b->id, shard,
                 (unsigned long long)view.commit);
    }
    r->commit = view.commit;
}

void broker_restart(struct world *w, struct broker *b)
{
    if (b->up) {
        return;
    }
    b->up = true;
    b->paused = b->out = false;
    b->journal.fails = b->journal.hangs = false;
    b->boot++;
    version_on_broker(w, b);
    cluster_clock_init(&b->clock); /* and one controller is asked, whose clock is right */
    if (version_has_cluster_time(w, b)) {
        cluster_clock_heard(&b->clock, 0, 1, now_ms(w), now_ms(w), now_ms(w),
                            now_ms(w) + b->clock_ms);
    }
    TRACE(w, "broker %u starts, boot %llu", b->id, (unsigned long long)b->boot);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        b->replica[s].open_known = false;
        const struct election_config *cfg = &w->metadata.row[s].cfg;
        for (uint32_t i = 0; i < cfg->voter_count && MUTANT(AMNESIAC_VOTES); i++) {
            b->replica[s].exists = b->replica[s].exists || cfg->voter[i].broker == b->id;
        }
        if (b->replica[s].exists) {
            broker_recover(w, b, s);
        }
    }
    schedule(w, draw(w, w->plan.raft_us / 2, 2 * w->plan.raft_us),
             (struct event){.type = EVENT_REGISTER, .a = b->id, .c = b->boot});
    network_broker_here(w, b->id);
}

void broker_on_registered(struct world *w, struct event *event)
{
    struct broker *b = &w->broker[event->a];
    uint32_t *epoch = event->payload;
    for (uint32_t s = 0; s < w->plan.shards && b->up && b->boot == event->c; s++) {
        struct replica_input in = {.type = REPLICA_FLOOR, .epoch = epoch[s]};
        uint32_t promised = b->replica[s].medium.promised;
        enum status status = broker_step(w, b, s, &in, NULL);
        SEEN_IF(w, FLOOR_TAKEN, status == STATUS_OK);
        SEEN_IF(w, FLOOR_RAISED, status == STATUS_OK && promised < epoch[s]);
        reshard_on_known(w, b->id, s);
        if (MUTANT(ORPHANS_DELETED) && b->replica[s].exists &&
            !is_voter(&w->metadata.row[s], broker_rid(b))) {
            broker_drop_replica(w, b, s);
        }
    }
    SEEN_IF(w, REGISTERED_LATE, b->boot != event->c);
    free(epoch);
    event->payload = NULL;
}

static void note_crash(struct world *w, const struct broker *b)
{
    SEEN_IF(w, CRASH_PAUSED, b->paused);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        const struct replica_shell *r = &b->replica[s];
        struct replica_view view;
        if (r->core == NULL) {
            continue;
        }
        replica_view(r->core, &view);
        bool leads = view.role == REPLICA_LEADING;
        SEEN_IF(w, LEADER_DIED_UNOPENED, leads && !view.open);
        SEEN_IF(w, LEADER_DIED_OPEN, leads && view.open);
        SEEN_IF(w, LEADER_DIED_WITH_PUTS, leads && r->puts > 0);
        SEEN_IF(w, UNCERTAIN_CRASHED, view.uncertain);
        SEEN_IF(w, LEARNER_CRASHED,
                w->metadata.move[s].to.broker == b->id &&
                    w->metadata.move[s].state == MOVE_COPYING);
    }
}

void broker_crash(struct world *w, struct broker *b, enum crash_how how, uint64_t down_us)
{
    if (!b->up) {
        return;
    }
    w->count.crashes++;
    note_crash(w, b);
    b->up = b->paused = false;
    TRACE(w, "broker %u crashes", b->id);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        replica_free(b->replica[s].core);
        b->replica[s].core = NULL;
        b->replica[s].puts = 0;
        dedup_forget(&b->replica[s]);
    }
    journal_crash(w, b);
    for (uint32_t s = 0; s < w->plan.shards && how == CRASH_DAMAGED; s++) {
        medium_damage(w, b, s);
    }
    if (how >= CRASH_DISK_LOST && disk_may_go(w, b)) {
        /* An old image has an old boot id, which is refused: its disk is formatted anew (2.9). */
        SEEN_IF(w, DISK_OLD_IMAGE, how == CRASH_OLD_IMAGE);
        disk_lose(w, b);
    }
    network_broker_gone(w, b->id);
    if (down_us == 0) {
        down_us = draw_exponential(w, w->plan.restart_us);
    }
    schedule(w, down_us, (struct event){.type = EVENT_RESTART, .a = b->id});
}

void broker_pause(struct world *w, struct broker *b, uint64_t for_us)
{
    if (b->up && !b->paused && for_us > 0) {
        TRACE(w, "broker %u stands still for %llu ms", b->id, (unsigned long long)(for_us / MS));
        for (uint32_t s = 0; s < w->plan.shards; s++) {
            SEEN_IF(w, LEADER_PAUSED, leader_of(w, s) == b);
        }
        b->paused = true;
        b->resume_us = w->now_us + for_us;
        schedule(w, for_us, (struct event){.type = EVENT_RESUME, .a = b->id});
    }
}

void broker_init(struct world *w, uint32_t id)
{
    w->broker[id] = (struct broker){.id = id, .disk_gen = 1, .boot = 10 * id};
}

void broker_release(struct broker *b)
{
    for (uint32_t s = 0; s < SHARDS_MAX; s++) {
        struct replica_shell *r = &b->replica[s];
        replica_free(r->core);
        log_release(&r->live);
        log_release(&r->medium.log);
        free(r->put);
        dedup_forget(r);
    }
    free(b->journal.op);
}
