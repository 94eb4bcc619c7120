/* Active controllers: the shell around the election core, and its sessions with brokers. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

/* A fence names every voter that is still possible. */
static struct replica_config both(const struct election_config *cfg,
                                  const struct election_config *prev)
{
    struct replica_config out = core_config(cfg);
    struct replica_config more = core_config(prev);
    for (uint32_t i = 0; i < more.voter_count; i++) {
        bool known = false;
        for (uint32_t k = 0; k < cfg->voter_count; k++) {
            known = known || replica_id_equal(out.voter[k], more.voter[i]);
        }
        if (!known) {
            CHECK(out.voter_count < REPLICA_VOTERS_MAX);
            out.voter[out.voter_count++] = more.voter[i];
        }
    }
    return out;
}

/* ------------------------------------------------------------------ an active controller */

static void assume(struct world *w, uint32_t index, const struct election_effect *electing);

static void plan_tick(struct world *w, uint32_t index)
{
    struct controller *c = &w->controller[index];
    uint64_t due_ms = election_deadline(c->core);
    if (due_ms == UINT64_MAX || due_ms * MS >= c->tick_us) {
        return;
    }
    c->tick_us = due_ms * MS > w->now_us ? due_ms * MS : w->now_us;
    c->tick_us += knob(w, KNOB_LATE_CONTROLLER_TICK) ? draw(w, 0, 300 * MS) : 0;
    schedule(w, c->tick_us - w->now_us,
             (struct event){.type = EVENT_ELECTION_TICK, .a = index, .c = c->activation});
}

static void send_fence_or_grant(struct world *w, uint32_t index, const struct election_effect *e)
{
    uint32_t shard = (uint32_t)e->shard;
    bool fence = e->type == ELECTION_FENCE;
    if (e->epoch > w->metadata.row[shard].epoch) {
        violated(w, "R1: epoch %u of shard %u is used before it is committed", e->epoch, shard);
    }
    struct message *m = message_new(w, fence ? MESSAGE_FENCE : MESSAGE_GRANT,
                                    controller_endpoint(index), e->broker, shard);
    m->as.fence.epoch = e->epoch;
    m->as.fence.previous = core_config(&e->prev_cfg);
    m->as.fence.voters = fence ? both(&e->cfg, &e->prev_cfg) : core_config(&e->cfg);
    m->as.fence.leader =
        (struct replica_id){.broker = e->leader.broker, .disk_gen = e->leader.disk_gen};
    m->as.fence.boot = e->boot;
    TRACE(w, "controller %u: %s %u shard %u epoch %u", index, fence ? "fences" : "grants to",
          e->broker, shard, e->epoch);
    nemesis_on_control(w, m);
    if (knob(w, fence ? KNOB_FENCE_TWICE : KNOB_GRANT_TWICE)) {
        network_send_copy(w, m);
    }
    network_send(w, m);
}

static void carry_out(struct world *w, uint32_t index)
{
    uint64_t raft_us = draw(w, w->plan.raft_us / 2, 2 * w->plan.raft_us);
    struct election_effect assumed = {0};
    election_effects_group(&w->effects);
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct election_effect *e = &w->effects.effect[i];
        if (e->type == ELECTION_FENCE || e->type == ELECTION_GRANT) {
            send_fence_or_grant(w, index, e);
            continue;
        }
        if (MUTANT(FENCED_BEFORE_COMMIT) && e->type == ELECTION_PROPOSE_ELECTING) {
            assumed = *e;
        }
        if (e->type == ELECTION_PROPOSE_ACTIVE) {
            check_choice(w, e);
        }
        if (w->plan.raft) {
            controllers_propose(w, index,
                                &(struct command){.type = COMMAND_ELECTION, .proposal = *e});
            continue;
        }
        struct election_effect *p = sim_alloc(sizeof *p);
        *p = *e;
        schedule(w, raft_us, (struct event){.type = EVENT_COMMIT, .a = index, .payload = p});
    }
    election_effects_clear(&w->effects);
    plan_tick(w, index);
    if (assumed.type == ELECTION_PROPOSE_ELECTING && assumed.epoch > 0) {
        assume(w, index, &assumed);
    }
}

static void feed(struct world *w, uint32_t index, const struct election_input *in);

/* R1 taken out: what is only proposed is taken for committed. */
static void assume(struct world *w, uint32_t index, const struct election_effect *electing)
{
    struct election_row row = w->metadata.row[electing->shard & UINT32_MAX];
    row.phase = ELECTION_ELECTING;
    row.epoch = electing->epoch;
    feed(w, index, &(struct election_input){.type = ELECTION_ROW, .row = &row});
}

static void feed(struct world *w, uint32_t index, const struct election_input *in)
{
    w->count.steps++;
    enum status status = election_step(w->controller[index].core, now_ms(w), in, &w->effects);
    CHECK(status == STATUS_OK || status == STATUS_STALE);
    carry_out(w, index);
}

void controller_activate(struct world *w, uint32_t index)
{
    struct controller *c = &w->controller[index];
    if (w->metadata.leader != index && !w->plan.raft) {
        return;
    }
    TRACE(w, "controller %u is active", index);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        SEEN_IF(w, CONTROLLER_TWICE_ACTIVE, i != index && w->controller[i].active);
    }
    SEEN(w, CONTROLLER_CHANGED);
    c->active = true;
    c->activation = ++w->metadata.next_activation;
    c->applied = w->plan.raft ? c->applied : w->metadata.entries;
    c->tick_us = UINT64_MAX;
    memset(c->session, 0, sizeof c->session);
    feed(w, index, &(struct election_input){.type = ELECTION_ACTIVATED});
    bool loads = !MUTANT(ROWS_NOT_LOADED) || c->activation == 1;
    for (uint32_t s = 0; s < w->plan.shards && loads; s++) {
        struct election_row row = w->plan.raft ? *controllers_row(w, index, s) : w->metadata.row[s];
        feed(w, index, &(struct election_input){.type = ELECTION_ROW, .row = &row});
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        c->session[id].seen_us = w->now_us;
    }
    schedule(w, 1, (struct event){.type = EVENT_LIVENESS, .a = index, .c = c->activation});
}

void controller_deactivate(struct world *w, uint32_t index, uint64_t activation)
{
    struct controller *c = &w->controller[index];
    if (c->active && c->activation == activation) {
        TRACE(w, "controller %u knows that it is deposed", index);
        c->active = false;
        feed(w, index, &(struct election_input){.type = ELECTION_DEACTIVATED});
        c->activation = 0;
    }
}

void controller_forget(struct world *w, uint32_t index)
{
    struct controller *c = &w->controller[index];
    election_free(c->core);
    c->core = election_new();
    CHECK(c->core != NULL);
    c->active = false;
    c->activation = 0;
}

void controller_on_row(struct world *w, uint32_t index, const struct election_row *row)
{
    feed(w, index, &(struct election_input){.type = ELECTION_ROW, .row = row});
}

void controller_on_apply(struct world *w, uint32_t index)
{
    struct controller *c = &w->controller[index];
    while (c->active && c->applied < w->metadata.entries) {
        struct election_row row = w->metadata.entry[c->applied++].row;
        feed(w, index, &(struct election_input){.type = ELECTION_ROW, .row = &row});
    }
}

void controller_on_tick(struct world *w, uint32_t index, uint64_t activation)
{
    struct controller *c = &w->controller[index];
    if (c->active && c->activation == activation) {
        c->tick_us = UINT64_MAX;
        feed(w, index, &(struct election_input){.type = ELECTION_TICK});
    }
}

static void look_at(struct world *w, uint32_t index, struct broker *b)
{
    struct session *s = &w->controller[index].session[b->id];
    uint32_t us = controller_endpoint(index);
    bool answers =
        b->up && !b->paused && !w->link[us][b->id].blocked && !w->link[b->id][us].blocked;
    if (answers) {
        s->seen_us = w->now_us;
        if (!s->up || s->boot != b->boot) {
            SEEN_IF(w, CRASH_UNNOTICED, s->up && !s->down);
            *s = (struct session){.up = true, .boot = b->boot, .seen_us = w->now_us};
            feed(w, index,
                 &(struct election_input){.type = ELECTION_BROKER_UP,
                                          .broker = b->id,
                                          .boot = b->boot,
                                          .disk_gen = b->disk_gen});
        }
        return;
    }
    uint64_t patience_us = b->up ? w->plan.detect_us : w->plan.detect_us / 4;
    if (!s->down && w->now_us - s->seen_us > patience_us) {
        s->up = false;
        s->down = true;
        TRACE(w, "controller %u judges broker %u dead", index, b->id);
        feed(w, index, &(struct election_input){.type = ELECTION_BROKER_DOWN, .broker = b->id});
    }
}

void controller_on_liveness(struct world *w, uint32_t index, uint64_t activation)
{
    struct controller *c = &w->controller[index];
    if (!c->active || c->activation != activation) {
        return;
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        look_at(w, index, &w->broker[id]);
    }
    uint64_t delay_us = knob(w, KNOB_LATE_LIVENESS) ? draw(w, 0, 300 * MS) : 20 * MS;
    schedule(w, delay_us, (struct event){.type = EVENT_LIVENESS, .a = index, .c = activation});
}

void controller_on_message(struct world *w, uint32_t index, const struct message *m)
{
    struct controller *c = &w->controller[index];
    if (m->type == MESSAGE_RAFT) {
        controllers_on_message(w, index, m);
        return;
    }
    if (!c->active) {
        return;
    }
    if (m->type == MESSAGE_LEARNED) {
        moves_on_learned(w, index, m);
        return;
    }
    if (m->type == MESSAGE_SEALED) {
        reshard_on_sealed(w, index, m);
        return;
    }
    struct election_input in = {.broker = m->from, .shard = shard_key(m->shard)};
    if (m->type == MESSAGE_REPORT) {
        const struct replica_report *r = &m->as.report.report;
        in.type = ELECTION_REPORT;
        in.report = (struct election_report){
            .replica = {m->sender.broker, m->sender.disk_gen},
            .epoch = m->as.report.epoch,
            .ok = r->ok,
            .certain = r->certain,
            .promised = r->promised,
            .last_epoch = r->last_epoch,
            .boot = r->boot,
            .end = r->end,
            .holes = r->holes.count,
            .holes_end = r->holes.end
        };
    } else {
        in.type = m->type == MESSAGE_OPENED ? ELECTION_OPENED : ELECTION_RESIGNED;
        in.boot = m->as.opened.boot;
        in.epoch = m->as.opened.epoch;
        in.promised = m->as.opened.promised;
        in.stalled = m->as.opened.stalled;
        in.heir = m->as.opened.heir;
    }
    feed(w, index, &in);
    struct election_view view;
    SEEN_IF(w, HOLE_AWAITED,
            m->type == MESSAGE_REPORT && election_view(c->core, in.shard, &view) == STATUS_OK &&
                view.awaits_copy);
}

/* The old one may not know for a while; only what it proposes is lost. */
void controller_fail_over(struct world *w)
{
    if (w->plan.raft) {
        controllers_fault(w);
        return;
    }
    struct metadata *m = &w->metadata;
    struct controller *old = &w->controller[m->leader];
    schedule(w, draw(w, 0, 3 * SECOND),
             (struct event){.type = EVENT_DEACTIVATE, .a = m->leader, .c = old->activation});
    m->leader = (uint32_t)draw(w, 0, w->plan.controllers - 1);
    TRACE(w, "controller %u leads the controllers' log", m->leader);
    schedule(w, draw(w, 10 * MS, 500 * MS), (struct event){.type = EVENT_ACTIVATE, .a = m->leader});
}

void controller_false_down(struct world *w, uint32_t broker)
{
    struct controller *c = &w->controller[w->metadata.leader];
    struct session *s = &c->session[broker];
    if (c->active && s->up) {
        TRACE(w, "controller %u judges broker %u dead by mistake", w->metadata.leader, broker);
        for (uint32_t i = 0; i < w->plan.shards; i++) {
            SEEN_IF(w, LEADER_JUDGED_DEAD, w->metadata.row[i].leader.broker == broker);
        }
        s->up = false;
        feed(w, w->metadata.leader,
             &(struct election_input){.type = ELECTION_BROKER_DOWN, .broker = broker});
    }
}

void controller_release(struct world *w)
{
    controllers_release(w);
    for (uint32_t i = 0; i < CONTROLLERS_MAX; i++) {
        election_free(w->controller[i].core);
    }
    for (uint32_t s = 0; s < SHARDS_MAX; s++) {
        free(w->metadata.granted[s]);
    }
    free(w->metadata.entry);
    election_effects_release(&w->effects);
}
