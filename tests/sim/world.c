#include "tests/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------- small services */

void *grow(void *array, uint32_t *capacity, uint32_t needed, size_t size)
{
    if (needed <= *capacity) {
        return array;
    }
    uint32_t to = *capacity == 0 ? 16 : *capacity;
    while (to < needed) {
        to *= 2;
    }
    array = realloc(array, to * size);
    CHECK(array != NULL);
    *capacity = to;
    return array;
}

void *sim_alloc(size_t size)
{
    void *p = calloc(1, size);
    CHECK(p != NULL);
    return p;
}

uint64_t draw(struct world *w, uint64_t low, uint64_t high)
{
    return rng_between(&w->rng, low, high);
}

bool knob(struct world *w, enum knob knob)
{
    return w->plan.knob[knob] && !w->healing && chance(w, w->plan.knob_per_1000);
}

bool chance(struct world *w, uint32_t per_1000)
{
    return per_1000 > 0 && rng_below(&w->rng, 1000) < per_1000;
}

/* A geometric staircase with the right mean: no floating point, so no rounding to differ. */
uint64_t draw_exponential(struct world *w, uint64_t mean)
{
    uint64_t step = mean / 4 + 1, sum = draw(w, 1, step);
    while (rng_below(&w->rng, 5) != 0 && sum < 20 * mean) {
        sum += step;
    }
    return sum;
}

void trace_line(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%10.3f ", (double)w->now_us / MS);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

void violated(struct world *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = snprintf(w->violation, sizeof w->violation, "at %.3f ms: ", (double)w->now_us / MS);
    vsnprintf(w->violation + n, sizeof w->violation - (size_t)n, format, args);
    va_end(args);
    longjmp(w->on_violation, 1);
}

/* ----------------------------------------------------------------------- the queue */

static bool earlier(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

void schedule(struct world *w, uint64_t delay_us, struct event event)
{
    event.at_us = w->now_us + delay_us;
    event.order = w->next_order++;
    w->event = grow(w->event, &w->events_capacity, w->events + 1, sizeof *w->event);
    uint32_t at = w->events++;
    while (at > 0 && earlier(&event, &w->event[(at - 1) / 2])) {
        w->event[at] = w->event[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->event[at] = event;
}

static struct event take_event(struct world *w)
{
    struct event first = w->event[0], last = w->event[--w->events];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->events) {
            break;
        }
        if (child + 1 < w->events && earlier(&w->event[child + 1], &w->event[child])) {
            child++;
        }
        if (!earlier(&w->event[child], &last)) {
            break;
        }
        w->event[at] = w->event[child];
        at = child;
    }
    w->event[at] = last;
    return first;
}

static void hash_in(struct world *w, uint64_t value)
{
    w->trace_hash = (w->trace_hash ^ value) * 0x100000001b3u;
    w->trace_hash ^= w->trace_hash >> 29;
}

/* ------------------------------------------------------------------------ a moment */

/* What happens to a stopped process waits until it goes on. */
static bool waits_for_resume(struct world *w, const struct event *e)
{
    uint32_t id = e->a;
    switch (e->type) {
    case EVENT_MESSAGE:
        id = ((const struct message *)e->payload)->to;
        break;
    case EVENT_TICK:
    case EVENT_SYNCED:
    case EVENT_PUMP:
    case EVENT_REGISTERED:
    case EVENT_OPEN:
    case EVENT_REPAIR:
        break;
    case EVENT_CONNECT:
    case EVENT_RESTART:
    case EVENT_REGISTER:
    case EVENT_RESUME:
    case EVENT_UNBLOCK:
    case EVENT_COMMIT:
    case EVENT_APPLY:
    case EVENT_LIVENESS:
    case EVENT_ELECTION_TICK:
    case EVENT_ACTIVATE:
    case EVENT_DEACTIVATE:
    case EVENT_CLIENT:
    case EVENT_FAULT:
    case EVENT_NEMESIS:
    case EVENT_CRASH:
    case EVENT_REPLACE:
    case EVENT_MOVE:
    case EVENT_RESHARD:
    case EVENT_SEALED:
    case EVENT_DISK:
    case EVENT_UPGRADE:
    case EVENT_RAFT:
    case EVENT_HEAL:
    case EVENT_ENDING:
        return false;
    }
    if (id > BROKERS_MAX || !w->broker[id].paused || !w->broker[id].up) {
        return false;
    }
    schedule(w, w->broker[id].resume_us - w->now_us, *e);
    return true;
}

/* A broker goes on, or its disk has room again. */
static void resume(struct world *w, struct broker *b, enum event_type type)
{
    if (type == EVENT_DISK) {
        b->full = b->full && w->now_us < b->full_until_us;
    } else if (b->paused && w->now_us >= b->resume_us) {
        b->paused = false;
        TRACE(w, "broker %u goes on", b->id);
        for (uint32_t s = 0; s < w->plan.shards; s++) {
            struct replica_view view;
            if (b->replica[s].core != NULL) {
                replica_view(b->replica[s].core, &view);
                SEEN_IF(w, LEADER_RESUMED_DEPOSED,
                        view.role == REPLICA_LEADING && view.epoch < w->metadata.row[s].epoch);
            }
        }
    }
}

static void registration(struct world *w, struct event *e)
{
    if (e->type == EVENT_REGISTER) {
        controller_on_register(w, e->a, e->c);
    } else {
        broker_on_registered(w, e);
    }
}

static void come_or_go(struct world *w, struct broker *b, const struct event *e)
{
    if (e->type == EVENT_RESTART) {
        broker_restart(w, b);
    } else if (e->type == EVENT_UPGRADE) {
        version_on_upgrade(w, b, e->c);
    } else if (!w->healing && b->up && b->boot == e->c) {
        broker_crash(w, b, (enum crash_how)e->b, 0);
    }
}

/* What happens to the shards that are split and merged. */
static void reshard_event(struct world *w, const struct event *e)
{
    if (e->type == EVENT_RESHARD) {
        reshard_on_event(w);
    } else if (e->type == EVENT_SEALED) {
        reshard_on_commit(w, e->a, e->b);
    } else if (w->broker[e->a].up) {
        reshard_on_known(w, e->a, e->b);
    }
}

/* What happens to a controller. */
static void controller_event(struct world *w, struct event *e)
{
    if (e->type == EVENT_COMMIT) {
        controller_on_commit(w, e);
    } else if (e->type == EVENT_RAFT) {
        controllers_on_event(w, e->a, (enum raft_event_kind)e->b, e->c);
    } else if (e->type == EVENT_APPLY) {
        controller_on_apply(w, e->a);
    } else if (e->type == EVENT_LIVENESS) {
        controller_on_liveness(w, e->a, e->c);
    } else if (e->type == EVENT_ELECTION_TICK) {
        controller_on_tick(w, e->a, e->c);
    } else if (e->type == EVENT_ACTIVATE) {
        version_on_controller(w, e->a);
        controller_activate(w, e->a);
    } else {
        controller_deactivate(w, e->a, e->c);
    }
}

static void happen(struct world *w, struct event *e)
{
    switch (e->type) {
    case EVENT_MESSAGE:
        network_on_message(w, e->payload);
        return;
    case EVENT_TICK:
    case EVENT_REPAIR:
        (e->type == EVENT_TICK ? broker_on_tick : holes_on_repair)(w, &w->broker[e->a], e->b, e->c);
        return;
    case EVENT_SYNCED:
        journal_on_synced(w, &w->broker[e->a], e->c);
        return;
    case EVENT_PUMP:
        broker_pump(w, &w->broker[e->a], e->b, e->c);
        return;
    case EVENT_CONNECT:
        network_connect(w, e->a, e->b);
        return;
    case EVENT_RESTART:
    case EVENT_CRASH:
    case EVENT_UPGRADE:
        come_or_go(w, &w->broker[e->a], e);
        return;
    case EVENT_REGISTER:
    case EVENT_REGISTERED:
        registration(w, e);
        return;
    case EVENT_RESUME:
    case EVENT_DISK:
        resume(w, &w->broker[e->a], e->type);
        return;
    case EVENT_UNBLOCK:
        network_unblock(w, e->a, e->b);
        return;
    case EVENT_COMMIT:
    case EVENT_APPLY:
    case EVENT_LIVENESS:
    case EVENT_ELECTION_TICK:
    case EVENT_ACTIVATE:
    case EVENT_DEACTIVATE:
    case EVENT_RAFT:
        controller_event(w, e);
        return;
    case EVENT_CLIENT:
        client_on_event(w, e->a);
        return;
    case EVENT_FAULT:
        fault_on_event(w, (enum fault)e->b);
        return;
    case EVENT_NEMESIS:
        nemesis_on_event(w, e->a, e->b, e->c);
        return;
    case EVENT_REPLACE:
        status_ignore(metadata_repair(w, e->b) ? STATUS_OK : STATUS_BUSY, "tried again later");
        return;
    case EVENT_MOVE:
        moves_on_event(w, e->b);
        return;
    case EVENT_RESHARD:
    case EVENT_SEALED:
    case EVENT_OPEN:
        reshard_event(w, e);
        return;
    case EVENT_HEAL:
    case EVENT_ENDING:
        (e->type == EVENT_HEAL ? ending_start : ending_on_event)(w);
        return;
    }
    UNREACHABLE();
}

/* ------------------------------------------------------------------------- a run */

static void begin(struct world *w)
{
    plan_draw(w);
    check_init(w);
    reshard_init(w);
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        client_init(w, i);
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        broker_init(w, id);
    }
    version_init(w);
    metadata_init(w);
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        broker_restart(w, &w->broker[id]);
    }
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        schedule(w, draw(w, 1, 50 * MS), (struct event){.type = EVENT_CLIENT, .a = i});
    }
    faults_start(w);
    for (uint32_t s = 0; s < w->plan.shards && w->plan.moves; s++) {
        schedule(w, 300 * MS, (struct event){.type = EVENT_MOVE, .b = s});
    }
    schedule(w, w->plan.faults_end_us, (struct event){.type = EVENT_HEAL});
}

bool world_run(struct world *w, uint64_t seed, const struct limits *limits, bool trace)
{
    memset(w, 0, sizeof *w);
    w->limits = limits;
    w->seed = seed;
    w->trace = trace;
    w->trace_hash = 0xcbf29ce484222325u;
    rng_init(&w->rng, seed);
    if (setjmp(w->on_violation) != 0) {
        return false;
    }
    begin(w);
    while (w->ending.phase != UINT32_MAX) {
        CHECK(w->events > 0);
        struct event e = take_event(w);
        w->now_us = e.at_us;
        if (waits_for_resume(w, &e)) {
            continue;
        }
        hash_in(w, e.at_us);
        hash_in(w, (uint64_t)e.type << 48 | (uint64_t)e.a << 32 | e.b);
        hash_in(w, e.c);
        happen(w, &e);
    }
    return true;
}

void world_release(struct world *w)
{
    for (uint32_t id = 1; id <= BROKERS_MAX; id++) {
        broker_release(&w->broker[id]);
    }
    for (uint32_t i = 0; i < w->events; i++) {
        if (w->event[i].type == EVENT_COMMIT || w->event[i].type == EVENT_REGISTERED) {
            free(w->event[i].payload);
        }
    }
    free(w->event);
    for (uint32_t i = 0; i < w->all_messages; i++) {
        free(w->all_message[i]);
    }
    free(w->all_message);
    controller_release(w);
    check_release(w);
}
