#include "tests/sim/version.h"

enum { MIXED_ONE_IN = 5, OLD_CLOCK_MS = 10 * 1000 };

static bool coin(struct world *w, uint64_t one_in)
{
    return rng_below(&w->version.rng, one_in) == 0;
}

void version_init(struct world *w)
{
    rng_init(&w->version.rng, w->seed ^ 0x6d69786564000001u);
    w->version.mixed = coin(w, MIXED_ONE_IN);
    /* Brokers are upgraded first; but nothing leans on it. */
    w->version.controllers_too = w->version.mixed && coin(w, 2);
    for (uint32_t i = 0; i < w->plan.controllers && w->version.controllers_too; i++) {
        w->version.controller_old[i] = coin(w, 2);
    }
    for (uint32_t id = 1; id <= w->plan.brokers && w->version.mixed; id++) {
        w->broker[id].old = coin(w, 2);
    }
}

void version_on_broker(struct world *w, struct broker *b)
{
    b->was_old = b->old;
    if (w->version.ended) {
        b->old = false;
    } else if (w->version.mixed && b->started) {
        b->old = coin(w, 3) ? !b->old : b->old;
    }
    b->started = true;
    if (b->old != b->was_old) {
        SEEN_IF(w, BROKER_UPGRADED, !b->old);
        SEEN_IF(w, BROKER_ROLLED_BACK, b->old);
        TRACE(w, "broker %u is of the version %s now", b->id, b->old ? "before" : "of today");
    }
}

void version_on_controller(struct world *w, uint32_t index)
{
    if (w->version.controllers_too && !w->version.ended) {
        bool old = coin(w, 2);
        SEEN_IF(w, CONTROLLER_OF_OTHER, old != w->version.controller_old[index]);
        w->version.controller_old[index] = old;
        TRACE(w, "controller %u is of the version %s", index, old ? "before" : "of today");
    }
}

bool version_is_old(const struct world *w, uint32_t endpoint)
{
    if (endpoint >= CLIENTS) {
        return false;
    }
    return endpoint <= BROKERS_MAX ? w->broker[endpoint].old
                                   : w->version.controller_old[endpoint - BROKERS_MAX - 1];
}

static void strip(struct message *m)
{
    if (m->type == MESSAGE_REPORT) {
        m->as.report.report.holes = (struct replica_holes){0};
    } else if (m->type == MESSAGE_REPAIR_DATA) {
        m->as.repair.promised = m->as.repair.gone_epoch = 0;
        m->as.repair.log_start = 0;
        m->as.repair.absent = m->as.repair.gone = false;
    } else if (m->type == MESSAGE_ANSWER) {
        m->as.answer.heard = UINT64_MAX; /* not said */
    }
}

void version_on_send(const struct world *w, struct message *m)
{
    if (version_is_old(w, m->from)) {
        strip(m);
    }
}

static void note(struct world *w, const struct message *m, bool from_old, bool to_old)
{
    if (m->type == MESSAGE_ANSWER && m->as.answer.ok) {
        SEEN_IF(w, OLD_FOLLOWS, from_old && !to_old);
        SEEN_IF(w, OLD_IS_FOLLOWED, !from_old && to_old);
    } else if (m->type == MESSAGE_REPORT && m->as.report.report.ok) {
        SEEN_IF(w, HOLES_UNSEEN, to_old && m->as.report.report.holes.count > 0);
    } else if (m->type == MESSAGE_REPAIR_DATA && m->as.repair.count == 0) {
        const struct replica *core = w->broker[m->to].replica[m->shard].core;
        struct replica_view view = {0};
        if (core != NULL) {
            replica_view(core, &view);
        }
        SEEN_IF(w, ABSENCE_UNSAID, from_old && view.filling);
    }
}

void version_on_receive(struct world *w, struct message *m)
{
    if (!w->version.mixed) {
        return;
    }
    bool to_old = version_is_old(w, m->to);
    note(w, m, version_is_old(w, m->from), to_old);
    if (to_old) {
        strip(m);
    }
}

bool version_end(struct world *w)
{
    if (!w->version.mixed || w->version.ended) {
        return false;
    }
    SEEN(w, UPGRADE_NEEDED);
    TRACE(w, "all that are of the version before are upgraded");
    w->version.ended = true;
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        if (w->broker[id].old) {
            schedule(w, id * SECOND,
                     (struct event){.type = EVENT_UPGRADE, .a = id, .c = w->broker[id].boot});
        }
    }
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        w->version.controller_old[i] = false;
    }
    return true;
}

void version_on_upgrade(struct world *w, struct broker *b, uint64_t boot)
{
    if (b->up && b->boot == boot) {
        broker_crash(w, b, CRASH_PLAIN, 20 * MS);
    }
}

uint64_t version_clock_ms(const struct broker *b)
{
    bool far = !b->clock.known && b->clock_ms > OLD_CLOCK_MS;
    return far ? OLD_CLOCK_MS : b->clock_ms;
}

bool version_has_cluster_time(const struct world *w, const struct broker *b)
{
    bool any = false;
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        any = any || !w->version.controller_old[i];
    }
    return any && !b->old;
}
