/* What a seed lets go wrong: a random half of the kinds, at random rates. */
#include "tests/sim/world.h"

const char *const fault_names[FAULTS] = {
    [FAULT_CRASH] = "crash",
    [FAULT_CRASH_ALL] = "crash-all",
    [FAULT_PAUSE] = "pause",
    [FAULT_PARTITION] = "partition",
    [FAULT_ONE_WAY] = "one-way",
    [FAULT_RESET] = "reset",
    [FAULT_SLOW_SYNC] = "slow-sync",
    [FAULT_DAMAGE] = "damage",
    [FAULT_DISK_LOST] = "disk-lost",
    [FAULT_CONTROLLER] = "controller",
    [FAULT_FALSE_DOWN] = "false-down",
    [FAULT_RECONFIGURE] = "reconfigure",
    [FAULT_RETAIN] = "retain",
    [FAULT_NEMESIS] = "nemesis",
    [FAULT_SPLIT] = "split",
    [FAULT_SWIZZLE] = "swizzle",
    [FAULT_WITH_CLIENTS] = "with-clients",
    [FAULT_QUORUM] = "quorum",
    [FAULT_DISK_FULL] = "disk-full",
    [FAULT_SYNC_FAILS] = "sync-fails",
    [FAULT_SYNC_HANGS] = "sync-hangs",
    [FAULT_OLD_IMAGE] = "old-image",
    [FAULT_CLOCK] = "clock",
    [FAULT_MEMORY] = "memory",
    [FAULT_ROT] = "rot",
};
const char *const knob_names[KNOBS] = {
    [KNOB_BIG_BATCHES] = "big-batches",     [KNOB_EMPTY_APPEND] = "empty-append",
    [KNOB_LATE_PUMP] = "late-pump",         [KNOB_MORE_PUMPS] = "more-pumps",
    [KNOB_LATE_TICK] = "late-tick",         [KNOB_MORE_TICKS] = "more-ticks",
    [KNOB_SYNC_WAITS] = "sync-waits",       [KNOB_SYNC_OF_PART] = "sync-of-part",
    [KNOB_LATE_LIVENESS] = "late-liveness", [KNOB_LATE_CONTROLLER_TICK] = "late-controller-tick",
    [KNOB_LATE_APPLY] = "late-apply",       [KNOB_FENCE_TWICE] = "fence-twice",
    [KNOB_GRANT_TWICE] = "grant-twice",     [KNOB_REPORT_TWICE] = "report-twice",
    [KNOB_RESET_AT_ONCE] = "reset-at-once", [KNOB_LATE_REGISTRATION] = "late-registration",
    [KNOB_EARLY_RETRY] = "early-retry",     [KNOB_RETRY_ELSEWHERE] = "retry-elsewhere",
    [KNOB_LEARN_OFTEN] = "learn-often",     [KNOB_SEAL_OFTEN] = "seal-often",
};

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
        [FAULT_SPLIT] = {500,  4000},
          [FAULT_SWIZZLE] = {500,  4000},
        [FAULT_WITH_CLIENTS] = {500,  4000},
          [FAULT_QUORUM] = {1000, 6000},
        [FAULT_DISK_FULL] = {500,  4000},
          [FAULT_SYNC_FAILS] = {800,  5000},
        [FAULT_SYNC_HANGS] = {800,  5000},
          [FAULT_OLD_IMAGE] = {1500, 6000},
        [FAULT_CLOCK] = {500,  4000},
          [FAULT_MEMORY] = {1000, 1000},
    };
    for (uint32_t i = 0; i < FAULT_ROT; i++) {
        p->fault[i] = chance(w, 500);
        p->every_us[i] = draw(w, every[i].low_ms, every[i].high_ms) * MS;
    }
    p->fault[FAULT_CRASH_ALL] = chance(w, 100);
    p->fault[FAULT_NEMESIS] = chance(w, 800);
    for (uint32_t i = 0; i < KNOBS; i++) {
        p->knob[i] = chance(w, 250);
    }
    p->knob_per_1000 = chance(w, 500) ? 0 : (uint32_t)draw(w, 10, 250);
    p->knob[KNOB_BIG_BATCHES] = p->knob[KNOB_BIG_BATCHES] && p->knob_per_1000 != 0;
    p->only_plain = chance(w, 400);
    if (p->fault[FAULT_DAMAGE] || p->fault[FAULT_DISK_LOST] || p->fault[FAULT_RECONFIGURE] ||
        p->fault[FAULT_NEMESIS] || p->fault[FAULT_OLD_IMAGE]) {
        p->fault[FAULT_RETAIN] = false; /* only seeds with moves install copies, see below */
    }
}

/* For the minimiser: the seed's plan, without what does not matter. */
static void limit(struct plan *p, const struct limits *l)
{
    if (l == NULL) {
        return;
    }
    for (uint32_t i = 0; i < FAULTS; i++) {
        p->fault[i] = p->fault[i] && (l->without_faults >> i & 1) == 0;
    }
    for (uint32_t i = 0; i < KNOBS; i++) {
        p->knob[i] = p->knob[i] && (l->without_knobs >> i & 1) == 0;
    }
    if (l->calm) {
        p->loss = p->duplicate = p->late = 0;
    }
    p->faults_end_us =
        l->end_us != 0 && l->end_us < p->faults_end_us ? l->end_us : p->faults_end_us;
    p->reshard_us = l->without_reshard ? 0 : p->reshard_us;
    p->moves = p->moves && !l->without_moves;
    bool fewer = l->shards != 0 && l->shards < p->shards && p->reshard_us == 0;
    p->shards = fewer ? l->shards : p->shards;
    p->clients = l->clients != 0 && l->clients < p->clients ? l->clients : p->clients;
}

/* Not drawn either. Controllers are one or three then, as Raft's are, and fail more often. */
static void draw_raft(struct world *w)
{
    struct plan *p = &w->plan;
    const struct limits *l = w->limits;
    uint64_t x = (w->seed ^ w->seed >> 29 ^ 0x5bf0a8b1) * 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    p->raft = (x & 3) == 0;
    if (l != NULL && (l->raft || l->without_raft)) {
        p->raft = l->raft;
    }
    if (p->raft) {
        p->controllers = (x >> 2 & 7) == 0 ? 1 : CONTROLLERS_MAX;
        p->fault[FAULT_CONTROLLER] = (x >> 5 & 7) != 0;
        p->fault[FAULT_QUORUM] = (x >> 8 & 1) != 0;
        p->raft_election_ms = 100 + (x >> 9 & 7) * 50;
        p->raft_snapshot = (x >> 12 & 1) != 0 ? 1000000 : 10 + (x >> 13 & 63);
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
    p->put_us = draw(w, 1, 15) * MS * p->clients;
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
    p->fault[FAULT_ROT] = (x >> 33 & 15) < 6;
    p->every_us[FAULT_ROT] = (150 + (x >> 24 & 1023)) * MS;
    p->hot = (uint32_t)(x >> 37 & 1) * (uint32_t)(x >> 12 & 31);
    p->keep_ms = (x >> 50 & 3) != 0 ? 0 : 8000;
    if (x >> 61 < 2) {
        p->reshard_us = 500 * MS + (x >> 20) % (p->faults_end_us + SECOND);
        p->shards = (uint32_t)draw(w, 3, SHARDS_MAX);
    }
    draw_raft(w);
    limit(p, w->limits);
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

/* Some brokers, perhaps with the clients or controllers, see none of the others. */
static void split(struct world *w)
{
    uint64_t for_us = draw_exponential(w, 800 * MS);
    uint32_t last = CLIENTS, side[ENDPOINTS];
    for (uint32_t id = 1; id <= last; id++) {
        side[id] = (uint32_t)draw(w, 0, 1);
    }
    SEEN(w, LINKS_SPLIT);
    for (uint32_t a = 1; a <= last; a++) {
        for (uint32_t b = 1; b <= last; b++) {
            if (side[a] != side[b]) {
                network_block(w, a, b, for_us);
            }
        }
    }
}

/* One by one, and open again in another order. */
static void swizzle(struct world *w)
{
    SEEN(w, LINKS_SWIZZLED);
    for (uint32_t n = (uint32_t)draw(w, 2, 8); n > 0; n--) {
        uint32_t from = (uint32_t)draw(w, 1, w->plan.brokers);
        uint32_t to = (uint32_t)draw(w, 1, w->plan.brokers);
        network_block(w, from, to, draw(w, 10, 1500) * MS);
    }
}

/* A leader and the clients see each other, and nobody else. */
static void cut_with_clients(struct world *w)
{
    uint32_t leader = w->metadata.row[draw(w, 0, w->plan.shards - 1)].leader.broker;
    uint64_t for_us = draw(w, 100, 3000) * MS;
    if (leader == 0) {
        return;
    }
    SEEN(w, LEADER_WITH_CLIENTS);
    for (uint32_t other = 1; other < CLIENTS; other++) {
        network_block(w, leader, other, for_us);
        network_block(w, other, leader, for_us);
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        if (id != leader && chance(w, 500)) {
            network_block(w, CLIENTS, id, for_us);
        }
    }
}

static void cut_controllers(struct world *w)
{
    SEEN(w, CONTROLLERS_CUT);
    if (w->plan.raft) {
        controllers_cut(w);
        return;
    }
    w->metadata.cut_until_us = w->now_us + draw(w, 100, 4000) * MS;
    TRACE(w, "the controllers have no majority until %llu ms",
          (unsigned long long)(w->metadata.cut_until_us / MS));
}

static void fill_disk(struct world *w)
{
    struct broker *b = any_broker(w);
    uint64_t for_us = draw(w, 50, 3000) * MS;
    b->full = true;
    b->full_until_us = w->now_us + for_us;
    TRACE(w, "broker %u: its disk is full", b->id);
    schedule(w, for_us, (struct event){.type = EVENT_DISK, .a = b->id});
}

/* Ten seconds, ten minutes, a hundred years ahead; or right again. */
static void jump_clock(struct world *w)
{
    struct broker *b = any_broker(w);
    static const uint64_t ahead_ms[4] = {0, 10000, 600000, UINT64_C(3155760000000)};
    SEEN(w, CLOCK_JUMPED);
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        w->broker[id].clock_ms = 0; /* two that are wrong alike would confirm one another */
    }
    b->clock_ms = chance(w, 300) ? draw(w, 0, 400) : ahead_ms[draw(w, 0, 3)];
    TRACE(w, "broker %u: its clock is %llu ms ahead", b->id, (unsigned long long)b->clock_ms);
}

static void crash_all(struct world *w)
{
    SEEN(w, CRASH_OF_ALL);
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

static void crash_one(struct world *w)
{
    broker_crash(w, busy_broker(w), CRASH_PLAIN, 0);
}

static void damage_one(struct world *w)
{
    broker_crash(w, busy_broker(w), CRASH_DAMAGED, 0);
}

static void lose_disk(struct world *w)
{
    broker_crash(w, any_broker(w), CRASH_DISK_LOST, 0);
}

static void bring_old_image(struct world *w)
{
    broker_crash(w, any_broker(w), CRASH_OLD_IMAGE, 0);
}

static void judge_dead(struct world *w)
{
    controller_false_down(w, (uint32_t)draw(w, 1, w->plan.brokers));
}

static void break_disk(struct world *w)
{
    disk_break(w, any_broker(w));
}

static void hang_disk(struct world *w)
{
    disk_hang(w, any_broker(w));
}

/* NULL: not an event, but something that may happen at any step. */
static void (*const do_fault[FAULTS])(struct world *w) = {
    [FAULT_CRASH] = crash_one,
    [FAULT_CRASH_ALL] = crash_all,
    [FAULT_PAUSE] = pause_one,
    [FAULT_PARTITION] = partition,
    [FAULT_ONE_WAY] = block_one_way,
    [FAULT_RESET] = reset_one,
    [FAULT_DAMAGE] = damage_one,
    [FAULT_DISK_LOST] = lose_disk,
    [FAULT_CONTROLLER] = controller_fail_over,
    [FAULT_FALSE_DOWN] = judge_dead,
    [FAULT_RECONFIGURE] = reconfigure,
    [FAULT_RETAIN] = retain,
    [FAULT_NEMESIS] = nemesis_start,
    [FAULT_SPLIT] = split,
    [FAULT_SWIZZLE] = swizzle,
    [FAULT_WITH_CLIENTS] = cut_with_clients,
    [FAULT_QUORUM] = cut_controllers,
    [FAULT_DISK_FULL] = fill_disk,
    [FAULT_SYNC_FAILS] = break_disk,
    [FAULT_SYNC_HANGS] = hang_disk,
    [FAULT_OLD_IMAGE] = bring_old_image,
    [FAULT_CLOCK] = jump_clock,
    [FAULT_ROT] = holes_fault,
};

void faults_start(struct world *w)
{
    for (uint32_t i = 0; i < FAULTS; i++) {
        if (w->plan.fault[i] && do_fault[i] != NULL) {
            schedule(w, 300 * MS + draw_exponential(w, w->plan.every_us[i]),
                     (struct event){.type = EVENT_FAULT, .b = i});
        }
    }
}

void fault_on_event(struct world *w, enum fault fault)
{
    if (w->healing) {
        return;
    }
    do_fault[fault](w);
    schedule(w, draw_exponential(w, w->plan.every_us[fault]),
             (struct event){.type = EVENT_FAULT, .b = fault});
}
