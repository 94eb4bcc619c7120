/* What a seed lets go wrong: a random half of the kinds, at random rates. */
#include "tests/sim/world.h"

static void draw_rates(struct world *w)
{
    struct plan *p = &w->plan;
    static const struct {
        uint64_t low_ms, high_ms;
    } every[FAULTS] = {
        [FAULT_CRASH] = {150,  3000},
          [FAULT_CRASH_ALL] = {2000, 8000},
        [FAULT_PAUSE] = {500,  4000},
          [FAULT_PARTITION] = {400,  4000},
        [FAULT_ONE_WAY] = {300,  3000},
          [FAULT_RESET] = {50,   2000},
        [FAULT_SLOW_SYNC] = {1000, 1000},
          [FAULT_DAMAGE] = {500,  3000},
        [FAULT_DISK_LOST] = {1500, 6000},
          [FAULT_CONTROLLER] = {500,  5000},
        [FAULT_FALSE_DOWN] = {300,  3000},
          [FAULT_RECONFIGURE] = {500,  4000},
        [FAULT_RETAIN] = {200,  2000},
          [FAULT_NEMESIS] = {200,  1500},
    };
    for (uint32_t i = 0; i < FAULTS; i++) {
        p->fault[i] = chance(w, 500);
        p->every_us[i] = draw(w, every[i].low_ms, every[i].high_ms) * MS;
    }
    p->fault[FAULT_CRASH_ALL] = chance(w, 100);
    p->fault[FAULT_NEMESIS] = chance(w, 800);
    if (p->fault[FAULT_DAMAGE] || p->fault[FAULT_DISK_LOST] || p->fault[FAULT_RECONFIGURE] ||
        p->fault[FAULT_NEMESIS]) {
        p->fault[FAULT_RETAIN] = false; /* only seeds with moves install copies, see below */
    }
}

void plan_draw(struct world *w)
{
    struct plan *p = &w->plan;
    p->brokers = chance(w, 600) ? 3 : (uint32_t)draw(w, 4, BROKERS_MAX);
    p->shards = chance(w, 600) ? 1 : (uint32_t)draw(w, 2, SHARDS_MAX);
    p->controllers = (uint32_t)draw(w, 1, CONTROLLERS_MAX);
    p->clients = (uint32_t)draw(w, 1, CLIENTS_MAX);
    draw_rates(w);
    p->ordered = chance(w, 400);
    bool loses = chance(w, 500), doubles = chance(w, 500), delays = chance(w, 600);
    p->loss = loses && !p->ordered ? (uint32_t)draw(w, 1, chance(w, 200) ? 250 : 40) : 0;
    p->duplicate = doubles && !p->ordered ? (uint32_t)draw(w, 1, 200) : 0;
    p->late = delays ? (uint32_t)draw(w, 1, 60) : 0;
    p->late_us = draw(w, 1, p->ordered ? 50 : 800) * MS;
    p->delay_us = draw(w, 50, 1500);
    p->sync_us = draw(w, 100, 3000);
    p->slow_sync_us = draw(w, 20, 1500) * MS;
    p->detect_us = draw(w, 50, 1500) * MS;
    p->raft_us = draw(w, 300, 20 * MS);
    p->restart_us = draw(w, 1, 400) * MS;
    p->put_us = draw(w, 2, 30) * MS * p->clients;
    p->append_batches = chance(w, 500) ? (uint32_t)draw(w, 1, 2) : APPEND_BATCHES_MAX;
    p->ambiguous = chance(w, 300) ? (uint32_t)draw(w, 1, 40) : 0;
    p->faults_end_us = draw(w, 2, 8) * SECOND;
    /* Not drawn: the other seeds run as they would without it. */
    uint64_t x = (w->seed ^ w->seed >> 32) * 0x9e3779b97f4a7c15u;
    p->moves = (x >> 58 & 7) < 3;
    if (p->moves) {
        p->brokers = p->brokers == 3 && (x >> 40 & 3) != 0 ? 4 : p->brokers;
        p->fault[FAULT_RETAIN] = (x >> 42 & 1) != 0;
        p->fault[FAULT_RECONFIGURE] = false;
    }
    p->seal_us = x >> 61 == 0 ? 500 * MS + (x >> 20) % (p->faults_end_us + SECOND) : 0;
}

void faults_start(struct world *w)
{
    for (uint32_t i = 0; i < FAULTS; i++) {
        if (w->plan.fault[i] && i != FAULT_SLOW_SYNC) {
            schedule(w, 300 * MS + draw_exponential(w, w->plan.every_us[i]),
                     (struct event){.type = EVENT_FAULT, .b = i});
        }
    }
}

static struct broker *any_broker(struct world *w)
{
    return &w->broker[draw(w, 1, w->plan.brokers)];
}

/* Rather one whose disk has something under way. */
static struct broker *busy_broker(struct world *w)
{
    struct broker *b = any_broker(w);
    for (uint32_t i = 0; i < 4 && b->journal.count == 0; i++) {
        b = any_broker(w);
    }
    return b;
}

struct broker *leader_of(struct world *w, uint32_t shard)
{
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        const struct replica *core = w->broker[id].replica[shard].core;
        struct replica_view view;
        if (core != NULL) {
            replica_view(core, &view);
            if (view.role == REPLICA_LEADING && view.epoch == w->metadata.row[shard].epoch) {
                return &w->broker[id];
            }
        }
    }
    return NULL;
}

static void partition(struct world *w)
{
    uint32_t one = (uint32_t)draw(w, 1, w->plan.brokers);
    uint64_t for_us = draw_exponential(w, 800 * MS);
    bool controllers_too = chance(w, 500), brokers_too = chance(w, 850);
    for (uint32_t id = 1; id <= w->plan.brokers && brokers_too; id++) {
        if (id != one && chance(w, 850)) {
            network_block(w, one, id, for_us);
            network_block(w, id, one, for_us);
        }
    }
    for (uint32_t i = 0; i < w->plan.controllers && (controllers_too || !brokers_too); i++) {
        network_block(w, one, controller_endpoint(i), for_us);
        network_block(w, controller_endpoint(i), one, for_us);
    }
}

static void crash_all(struct world *w)
{
    uint64_t down_us = draw(w, 1, 500) * MS;
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        broker_crash(w, &w->broker[id], CRASH_PLAIN, draw(w, 1, down_us));
    }
}

static void reconfigure(struct world *w)
{
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    uint32_t slot = (uint32_t)draw(w, 0, 2), to = (uint32_t)draw(w, 1, w->plan.brokers);
    metadata_reconfigure(w, shard, slot, to, chance(w, 300));
}

static void reset_one(struct world *w)
{
    uint32_t a = (uint32_t)draw(w, 1, w->plan.brokers), b = (uint32_t)draw(w, 1, w->plan.brokers);
    if (a != b) {
        network_reset(w, a, b);
    }
}

static void pause_one(struct world *w)
{
    struct broker *b = any_broker(w);
    broker_pause(w, b, draw_exponential(w, 500 * MS));
}

static void block_one_way(struct world *w)
{
    uint32_t from = (uint32_t)draw(w, 1, w->plan.brokers);
    uint32_t to = (uint32_t)draw(w, 1, BROKERS_MAX + w->plan.controllers);
    network_block(w, from, to, draw_exponential(w, 500 * MS));
}

static void retain(struct world *w)
{
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    struct broker *leader = leader_of(w, shard);
    if (leader != NULL) {
        broker_retain(w, leader, shard);
    }
}

static void do_fault(struct world *w, enum fault fault)
{
    switch (fault) {
    case FAULT_CRASH:
        broker_crash(w, busy_broker(w), CRASH_PLAIN, 0);
        return;
    case FAULT_CRASH_ALL:
        crash_all(w);
        return;
    case FAULT_PAUSE:
        pause_one(w);
        return;
    case FAULT_PARTITION:
        partition(w);
        return;
    case FAULT_ONE_WAY:
        block_one_way(w);
        return;
    case FAULT_RESET:
        reset_one(w);
        return;
    case FAULT_DAMAGE:
        broker_crash(w, busy_broker(w), CRASH_DAMAGED, 0);
        return;
    case FAULT_DISK_LOST:
        broker_crash(w, any_broker(w), CRASH_DISK_LOST, 0);
        return;
    case FAULT_CONTROLLER:
        controller_fail_over(w);
        return;
    case FAULT_FALSE_DOWN:
        controller_false_down(w, (uint32_t)draw(w, 1, w->plan.brokers));
        return;
    case FAULT_RECONFIGURE:
        reconfigure(w);
        return;
    case FAULT_RETAIN:
        retain(w);
        return;
    case FAULT_NEMESIS:
        nemesis_start(w);
        return;
    case FAULT_SLOW_SYNC:
    case FAULTS:
        break;
    }
    UNREACHABLE();
}

void fault_on_event(struct world *w, enum fault fault)
{
    if (w->healing) {
        return;
    }
    do_fault(w, fault);
    schedule(w, draw_exponential(w, w->plan.every_us[fault]),
             (struct event){.type = EVENT_FAULT, .b = fault});
}
