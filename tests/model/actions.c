#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "tests/model/model.h"

/* ---- what happens ---- */

static bool fence(struct world *w, uint32_t s)
{
    if (w->row.phase != ELECTION_ELECTING) {
        return false; /* late copies promise nothing new */
    }
    struct replica_input in = {
        .type = REPLICA_FENCE, .epoch = w->row.epoch, .config = controllers_fence_list(w)};
    return site_step(w, s, &in);
}

static bool grant(struct world *w, uint32_t epoch)
{
    const struct grant *g = &w->grant[epoch];
    if (!g->made) {
        return false;
    }
    uint32_t s = g->leader.broker - 1;
    struct replica_input in = {.type = REPLICA_GRANT,
                               .epoch = epoch,
                               .id = g->leader,
                               .boot = g->boot,
                               .config = g->config};
    return site_step(w, s, &in);
}

/* The controllers let the leader of the newest epoch feed a site that is no voter. */
static bool learn(struct world *w, uint32_t s)
{
    if (w->row.phase != ELECTION_ACTIVE || w->site[s].disk_gen > 1) {
        return false;
    }
    struct replica_config fenced = controllers_fence_list(w);
    for (uint32_t i = 0; i < fenced.voter_count; i++) {
        if (fenced.voter[i].broker == s + 1) {
            return false;
        }
    }
    struct replica_input in = {.type = REPLICA_LEARN, .epoch = w->row.epoch};
    in.config.voter_count = 1;
    in.config.voter[0] = site_id(w, s);
    return site_step(w, w->row.leader.broker - 1, &in);
}

static bool propose(struct world *w, uint32_t s)
{
    if (w->records == bounds.records || !site_propose(w, s, 0)) {
        return false;
    }
    w->records++;
    return true;
}

static bool retain(struct world *w, uint32_t s)
{
    const struct replica *core = &w->site[s].core;
    struct replica_input in = {.type = REPLICA_RETAIN, .offset = core->commit};
    if (w->trimmed || !core->open || !site_step(w, s, &in)) {
        return false;
    }
    w->trimmed = true;
    return true;
}

static bool crash(struct world *w, uint32_t argument, bool damaged)
{
    uint32_t s = argument >> 5, number = argument & 31;
    site_crash(w, s, damaged ? 0 : number, damaged ? number : 0);
    w->crashes += !damaged;
    w->corruptions += damaged;
    return true;
}

static bool apply(struct world *w, enum action_type type, uint32_t argument)
{
    struct replica_input in = {0};
    switch (type) {
    case ACTION_ELECT:
        controllers_elect(w);
        return true;
    case ACTION_RECONFIGURE:
        return controllers_reconfigure(w, argument >> 4, argument & 15);
    case ACTION_FENCE:
        return fence(w, argument);
    case ACTION_CHOOSE:
        return controllers_choose(w, argument);
    case ACTION_GRANT:
        return grant(w, argument);
    case ACTION_SETTLE:
        return controllers_settle(w);
    case ACTION_LEARN:
        return learn(w, argument);
    case ACTION_PROPOSE:
        return propose(w, argument);
    case ACTION_SEAL:
        in.type = REPLICA_SEAL;
        return site_step(w, argument, &in);
    case ACTION_RETAIN:
        return retain(w, argument);
    case ACTION_SYNC:
        site_sync(w, argument);
        return true;
    case ACTION_TICK:
        in.type = REPLICA_TICK;
        in.now_ms = REPLICA_COMMIT_IDLE_MS;
        return site_step(w, argument, &in);
    case ACTION_TIMEOUT:
        in.type = REPLICA_TICK;
        in.now_ms = REPLICA_RESEND_MS;
        return site_step(w, argument, &in);
    case ACTION_DELIVER: {
        struct message m = w->message[argument];
        return site_deliver(w, &m);
    }
    case ACTION_CRASH:
    case ACTION_CORRUPT:
        return crash(w, argument, type == ACTION_CORRUPT);
    case ACTION_FLOOR:
        in.type = REPLICA_FLOOR;
        in.epoch = w->row.epoch;
        return site_step(w, argument, &in);
    case ACTION_DISK:
        site_replace_disk(w, argument);
        w->disks++;
        return true;
    case ACTION_TYPES:
        break;
    }
    UNREACHABLE();
}

static void forget_dead_messages(struct world *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->message_count; i++) {
        if (!message_is_dead(w, &w->message[i])) {
            if (kept != i) {
                w->message[kept] = w->message[i];
            }
            kept++;
        }
    }
    w->message_count = kept;
}

bool action_apply(struct world *w, uint16_t action)
{
    if (!apply(w, (enum action_type)(action >> 8), action & 255)) {
        return false;
    }
    if (bounds.prompt) {
        site_sync_all(w);
    }
    forget_dead_messages(w);
    return true;
}

static void until_quiet(struct world *w)
{
    for (bool again = true; again;) {
        again = false;
        for (uint32_t s = 0; s < 3; s++) {
            again = again || w->site[s].op_count > 0;
            CHECK(action_apply(w, action_make(ACTION_SYNC, s)));
        }
        while (w->message_count > 0) {
            struct message m = w->message[0];
            memmove(w->message, w->message + 1, --w->message_count * sizeof m);
            again = site_deliver(w, &m) || again;
        }
        for (uint32_t s = 0; s < 3; s++) {
            again = (w->site[s].core.flush_ms != REPLICA_NEVER &&
                     action_apply(w, action_make(ACTION_TICK, s))) ||
                    again;
        }
    }
}

void actions_settle(struct world *w)
{
    CHECK(action_apply(w, action_make(ACTION_ELECT, 0)));
    for (uint32_t s = 0; s < 3; s++) {
        CHECK(action_apply(w, action_make(ACTION_FENCE, s)));
        CHECK(action_apply(w, action_make(ACTION_SYNC, s)));
    }
    CHECK(action_apply(w, action_make(ACTION_CHOOSE, 0)));
    CHECK(action_apply(w, action_make(ACTION_GRANT, 1)));
    until_quiet(w);
    CHECK(w->committed_count == 1);
    CHECK(w->opened);
}

/* ---- what may happen ---- */

static bool is_open(const struct replica *core)
{
    return core->role == REPLICA_LEADING && core->open;
}

static bool waits(const struct replica *core)
{
    bool waits = false;
    for (uint32_t i = 0; core->role == REPLICA_LEADING && i < core->member_count; i++) {
        waits = waits || core->member[i].waiting_ms != REPLICA_NEVER;
    }
    return waits;
}

static void each_of_site(const struct world *w, uint32_t s,
                         void (*each)(void *context, uint16_t action), void *context)
{
    const struct site *site = &w->site[s];
    const struct replica *core = &site->core;
    if (w->row.phase == ELECTION_ELECTING) {
        each(context, action_make(ACTION_FENCE, s));
    }
    if (core->role == REPLICA_LEADING && w->records < bounds.records) {
        each(context, action_make(ACTION_PROPOSE, s));
    }
    if (bounds.seal && is_open(core) && core->seal_end == 0) {
        each(context, action_make(ACTION_SEAL, s));
    }
    if (bounds.trim && !w->trimmed && is_open(core)) {
        each(context, action_make(ACTION_RETAIN, s));
    }
    if (site->op_count > 0) {
        each(context, action_make(ACTION_SYNC, s));
    }
    if (bounds.tell && core->role == REPLICA_LEADING && core->flush_ms != REPLICA_NEVER) {
        each(context, action_make(ACTION_TICK, s));
    }
    if (bounds.timeouts && waits(core)) {
        each(context, action_make(ACTION_TIMEOUT, s));
    }
    if (core->needs_floor) {
        each(context, action_make(ACTION_FLOOR, s));
    }
    for (uint32_t kept = 0; kept <= site->op_count; kept++) {
        if (w->crashes < bounds.crashes) {
            each(context, action_make(ACTION_CRASH, s << 5 | kept));
        }
    }
    uint32_t may_lose = site->disk.log.end - site->disk.log.start;
    for (uint32_t lost = 1; w->corruptions < bounds.corruptions && lost <= may_lose && lost <= 2;
         lost++) {
        each(context, action_make(ACTION_CORRUPT, s << 5 | lost));
    }
    if (w->disks < bounds.disks) {
        each(context, action_make(ACTION_DISK, s));
    }
}

static void each_of_controllers(const struct world *w, void (*each)(void *context, uint16_t action),
                                void *context)
{
    if (w->row.epoch < bounds.epochs) {
        each(context, action_make(ACTION_ELECT, 0));
    }
    for (uint32_t leaves = 0; leaves < bounds.replicas; leaves++) {
        for (uint32_t comes = 0; comes < bounds.replicas; comes++) {
            if (leaves != comes && w->row.epoch < bounds.epochs &&
                w->reconfigurations < bounds.reconfigurations) {
                each(context, action_make(ACTION_RECONFIGURE, leaves << 4 | comes));
            }
        }
    }
    for (uint32_t s = 0; s < bounds.replicas && w->row.phase == ELECTION_ELECTING; s++) {
        each(context, action_make(ACTION_CHOOSE, s));
    }
    for (uint32_t e = 1; e <= w->row.epoch; e++) {
        each(context, action_make(ACTION_GRANT, e));
    }
    if (w->row.prev_cfg.voter_count > 0) {
        each(context, action_make(ACTION_SETTLE, 0));
    }
    if (bounds.learner) {
        each(context, action_make(ACTION_LEARN, bounds.replicas - 1));
    }
}

void action_each(const struct world *w, void (*each)(void *context, uint16_t action), void *context)
{
    each_of_controllers(w, each, context);
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        if (w->site[s].exists) {
            each_of_site(w, s, each, context);
        }
    }
    for (uint32_t i = 0; i < w->message_count; i++) {
        each(context, action_make(ACTION_DELIVER, i));
    }
}

/* ---- in words ---- */

static void describe_message(const struct message *m, char *out, size_t size)
{
    if (m->kind == MESSAGE_APPEND) {
        snprintf(out, size,
                 "broker %u takes from leader %u, epoch %u: %u records after %u%s, commit %u",
                 m->to + 1u, m->from + 1u, m->epoch, m->count, (uint32_t)m->prev.end,
                 m->install ? " (install)" : "", m->commit);
    } else {
        snprintf(out, size, "leader %u hears from broker %u, epoch %u: %s %u", m->to + 1u,
                 m->from + 1u, m->epoch, m->ok ? "holds" : "refuses, its end is", m->end);
    }
}

void action_describe(const struct world *before, uint16_t action, char *out, size_t size)
{
    static const char *const text[ACTION_TYPES] = {
        [ACTION_FENCE] = "is fenced",
        [ACTION_PROPOSE] = "appends a record",
        [ACTION_SEAL] = "is asked to seal",
        [ACTION_RETAIN] = "trims up to its commit",
        [ACTION_SYNC] = "syncs",
        [ACTION_TICK] = "tells its commit",
        [ACTION_TIMEOUT] = "asks again for what is unanswered",
        [ACTION_FLOOR] = "learns which epochs there were",
        [ACTION_DISK] = "comes back with an empty disk",
        [ACTION_LEARN] = "is fed as a learner",
    };
    enum action_type type = (enum action_type)(action >> 8);
    uint32_t argument = action & 255;
    if (text[type] != NULL) {
        snprintf(out, size, "broker %u %s", argument + 1, text[type]);
    } else if (type == ACTION_DELIVER) {
        describe_message(&before->message[argument], out, size);
    } else if (type == ACTION_CRASH) {
        snprintf(out, size, "broker %u crashes, keeps %u of %u unsynced writes",
                 (argument >> 5) + 1, argument & 31, before->site[argument >> 5].op_count);
    } else if (type == ACTION_CORRUPT) {
        snprintf(out, size, "broker %u crashes, and its last %u synced records are damaged",
                 (argument >> 5) + 1, argument & 31);
    } else if (type == ACTION_RECONFIGURE) {
        snprintf(out, size, "controllers: broker %u replaces %u; ELECTING epoch %u",
                 (argument & 15) + 1, (argument >> 4) + 1, before->row.epoch + 1);
    } else if (type == ACTION_ELECT) {
        snprintf(out, size, "controllers: ELECTING epoch %u", before->row.epoch + 1);
    } else if (type == ACTION_CHOOSE) {
        snprintf(out, size, "controllers: ACTIVE epoch %u (preferred: broker %u)",
                 before->row.epoch, argument + 1);
    } else if (type == ACTION_GRANT) {
        snprintf(out, size, "broker %u is granted epoch %u", before->grant[argument].leader.broker,
                 argument);
    } else {
        snprintf(out, size, "controllers: the configuration is stable");
    }
}
