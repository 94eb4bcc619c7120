#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

bool is_voter(const struct election_row *row, struct replica_id id)
{
    const struct election_config *cfg[2] = {&row->cfg, &row->prev_cfg};
    for (uint32_t c = 0; c < 2; c++) {
        for (uint32_t i = 0; i < cfg[c]->voter_count; i++) {
            if (cfg[c]->voter[i].broker == id.broker && cfg[c]->voter[i].disk_gen == id.disk_gen) {
                return true;
            }
        }
    }
    return false;
}

struct replica_config core_config(const struct election_config *cfg)
{
    struct replica_config out = {.version = cfg->version, .voter_count = cfg->voter_count};
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        out.voter[i] =
            (struct replica_id){.broker = cfg->voter[i].broker, .disk_gen = cfg->voter[i].disk_gen};
    }
    return out;
}

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

/* ------------------------------------------------------------------ the metadata log */

void metadata_put(struct world *w, uint32_t shard, const struct election_row *row)
{
    struct metadata *m = &w->metadata;
    check_row(w, shard, row);
    m->row[shard] = *row;
    m->entry = grow(m->entry, &m->entries_capacity, m->entries + 1, sizeof *m->entry);
    m->entry[m->entries++].row = *row;
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        uint64_t delay_us = i == m->leader ? 0 : draw(w, 0, 500 * MS);
        delay_us += knob(w, KNOB_LATE_APPLY) ? draw(w, 0, 50 * MS) : 0;
        schedule(w, delay_us, (struct event){.type = EVENT_APPLY, .a = i});
    }
}

void metadata_init(struct world *w)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        struct election_row row = {.shard = shard_key(s), .phase = ELECTION_IDLE};
        row.cfg.version = 1;
        row.cfg.voter_count = 3;
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t id = 1 + (s + i) % w->plan.brokers;
            row.cfg.voter[i] = (struct election_replica){.broker = id, .disk_gen = 1};
            broker_create_replica(w, &w->broker[id], s, 0, NULL, 0);
        }
        row.preferred = row.cfg.voter[0].broker;
        metadata_put(w, s, &row);
    }
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        w->controller[i].core = election_new();
        CHECK(w->controller[i].core != NULL);
    }
    schedule(w, 1, (struct event){.type = EVENT_ACTIVATE, .a = 0});
}

static void note_electing(struct world *w, const struct election_row *old)
{
    uint32_t shard = (uint32_t)old->shard;
    bool led = old->epoch < w->led_capacity[shard] && w->led[shard][old->epoch].leader.broker != 0;
    SEEN_IF(w, EPOCH_NEVER_LED, old->phase == ELECTION_ACTIVE && !led);
    SEEN_IF(w, EPOCH_NEVER_GRANTED, old->phase == ELECTION_ELECTING);
    SEEN_IF(w, JOINT_FAILED_OVER, old->prev_cfg.voter_count > 0);
}

static void note_active(struct world *w, const struct election_row *old,
                        const struct election_row *row)
{
    uint32_t shard = (uint32_t)row->shard, leader = row->leader.broker;
    SEEN_IF(w, ELECTED_AGAIN, old->leader.broker == leader);
    SEEN_IF(w, ELECTED_HEIR, w->metadata.heir[shard] == leader);
    SEEN_IF(w, ELECTED_UNDER_PREVIOUS, row->cfg.version < old->cfg.version);
    SEEN_IF(w, ELECTED_JOINTLY, row->prev_cfg.voter_count > 0);
    w->metadata.heir[shard] = 0;
    bool beside = false;
    for (uint32_t i = 0; i < row->cfg.voter_count; i++) {
        uint32_t id = row->cfg.voter[i].broker;
        beside = beside || (id != leader && w->broker[id].replica[shard].medium.uncertain);
    }
    SEEN_IF(w, ELECTED_WITH_HOLES,
            w->broker[leader].replica[shard].reported_epoch == row->epoch &&
                w->broker[leader].replica[shard].reported_holes_end > 0);
    SEEN_IF(w, ELECTED_UNCERTAIN, w->broker[leader].replica[shard].medium.uncertain);
    SEEN_IF(w, ELECTED_BESIDE_UNCERTAIN, beside);
}

/* A proposal reaches the log, if its controller leads there, and changes a row if that allows it.
 */
void controller_on_commit(struct world *w, struct event *event)
{
    struct election_effect *p = event->payload;
    bool leads = w->metadata.leader == event->a;
    bool commits = leads ? !(!w->healing && chance(w, 20)) : chance(w, 300);
    SEEN_IF(w, PROPOSAL_LOST, leads && !commits);
    commits = commits && (w->now_us >= w->metadata.cut_until_us || w->healing);
    SEEN_IF(w, PROPOSAL_OF_DEPOSED, !leads && commits);
    uint32_t shard = (uint32_t)p->shard;
    struct election_row row = w->metadata.row[shard];
    bool electing = row.phase == ELECTION_ELECTING || row.phase == ELECTION_NO_QUORUM;
    SEEN_IF(w, PROPOSAL_OVERTAKEN, commits && p->epoch < row.epoch);
    if (commits && p->type == ELECTION_PROPOSE_ELECTING && p->epoch > row.epoch) {
        note_electing(w, &row);
        row.phase = ELECTION_ELECTING;
        row.epoch = p->epoch;
        w->count.elections++;
        TRACE(w, "shard %u: ELECTING epoch %u", shard, row.epoch);
        metadata_put(w, shard, &row);
    } else if (commits && p->type == ELECTION_PROPOSE_ACTIVE && p->epoch == row.epoch && electing) {
        row.phase = ELECTION_ACTIVE;
        row.leader = p->leader;
        row.leader_boot = p->boot;
        row.cfg = p->cfg;
        row.prev_cfg = p->prev_cfg;
        TRACE(w, "shard %u: ACTIVE epoch %u leader %u.%u boot %llu cfg v%u", shard, row.epoch,
              row.leader.broker, row.leader.disk_gen, (unsigned long long)row.leader_boot,
              row.cfg.version);
        check_granted(w, &row);
        note_active(w, &w->metadata.row[shard], &row);
        metadata_put(w, shard, &row);
    } else if (commits && p->type == ELECTION_PROPOSE_STABLE && p->epoch == row.epoch &&
               row.phase == ELECTION_ACTIVE) {
        row.prev_cfg = (struct election_config){0};
        TRACE(w, "shard %u: cfg v%u is stable", shard, row.cfg.version);
        SEEN(w, STABLE);
        metadata_put(w, shard, &row);
    }
    free(p);
    event->payload = NULL;
}

/* A broker's registration is one more entry of the log: every epoch that was fenced before is in
 * the rows by then. The broker learns them a while later, when its image has come so far. */
void controller_on_register(struct world *w, uint32_t broker, uint64_t boot)
{
    const struct broker *b = &w->broker[broker];
    uint32_t us = controller_endpoint(w->metadata.leader);
    if (!b->up || b->boot != boot) {
        return;
    }
    bool answers = !b->paused && !w->link[us][broker].blocked && !w->link[broker][us].blocked &&
                   (w->healing || w->now_us >= w->metadata.cut_until_us) &&
                   !knob(w, KNOB_LATE_REGISTRATION);
    SEEN_IF(w, REGISTRATION_REPEATED, !answers);
    if (!answers || (!w->healing && chance(w, 100))) {
        schedule(w, 50 * MS, (struct event){.type = EVENT_REGISTER, .a = broker, .c = boot});
        return;
    }
    uint32_t *epoch = sim_alloc(SHARDS_MAX * sizeof *epoch);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        epoch[s] = w->metadata.row[s].epoch;
    }
    schedule(w, draw_exponential(w, chance(w, 800) ? 2 * MS : 100 * MS),
             (struct event){.type = EVENT_REGISTERED, .a = broker, .c = boot, .payload = epoch});
}

bool metadata_reconfigure(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker,
                          bool empty)
{
    struct election_row row = w->metadata.row[shard];
    struct broker *b = &w->broker[broker];
    bool settled = row.prev_cfg.voter_count == 0 || MUTANT(RECONFIGURES_TWICE);
    if (row.phase != ELECTION_ACTIVE || !settled ||
        (b->replica[shard].exists && b->replica[shard].medium.uncertain) ||
        holes_beside(w, shard, NULL)) {
        return false; /* what is not certain may follow, but not become a voter */
    }
    for (uint32_t i = 0; i < row.cfg.voter_count; i++) { /* no two voters on one broker */
        if (row.cfg.voter[i].broker == broker &&
            (i != slot || row.cfg.voter[i].disk_gen == b->disk_gen)) {
            return false;
        }
    }
    if (!b->replica[shard].exists) {
        const struct broker *source = &w->broker[row.leader.broker];
        const struct replica_shell *from = &source->replica[shard];
        bool can_copy = source->up && from->core != NULL && !empty;
        broker_create_replica(w, b, shard, row.epoch, can_copy ? &from->live : NULL,
                              can_copy ? from->commit : 0);
    }
    row.prev_cfg = row.cfg;
    row.cfg.version++;
    row.cfg.voter[slot] = (struct election_replica){.broker = broker, .disk_gen = b->disk_gen};
    row.phase = ELECTION_ELECTING;
    row.epoch++;
    w->count.reconfigurations++;
    w->count.elections++;
    TRACE(w, "shard %u: ELECTING epoch %u, voter %u becomes %u.%u (cfg v%u)", shard, row.epoch,
          row.prev_cfg.voter[slot].broker, broker, b->disk_gen, row.cfg.version);
    metadata_put(w, shard, &row);
    return true;
}

/* A voter whose disk is gone is replaced, by the same broker's new disk. True: nothing is left to
 * do. */
bool metadata_repair(struct world *w, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    bool whole = true;
    for (uint32_t i = 0; i < row->cfg.voter_count; i++) {
        uint32_t id = row->cfg.voter[i].broker;
        if (w->broker[id].disk_gen != row->cfg.voter[i].disk_gen) {
            whole = false;
            if (w->broker[id].up &&
                (w->plan.moves ? moves_begin(w, shard, i, id)
                               : metadata_reconfigure(w, shard, i, id, false))) {
                break;
            }
        }
    }
    if (!whole) {
        schedule(w, 300 * MS, (struct event){.type = EVENT_REPLACE, .b = shard});
    }
    return whole;
}

/* ------------------------------------------------------------------ an active controller */

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
    election_effects_group(&w->effects);
    for (size_t i = 0; i < w->effects.count; i++) {
        const struct election_effect *e = &w->effects.effect[i];
        if (e->type == ELECTION_FENCE || e->type == ELECTION_GRANT) {
            send_fence_or_grant(w, index, e);
            continue;
        }
        if (e->type == ELECTION_PROPOSE_ACTIVE) {
            check_choice(w, e);
        }
        struct election_effect *p = sim_alloc(sizeof *p);
        *p = *e;
        schedule(w, raft_us, (struct event){.type = EVENT_COMMIT, .a = index, .payload = p});
    }
    election_effects_clear(&w->effects);
    plan_tick(w, index);
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
    if (w->metadata.leader != index) {
        return;
    }
    TRACE(w, "controller %u is active", index);
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        SEEN_IF(w, CONTROLLER_TWICE_ACTIVE, i != index && w->controller[i].active);
    }
    SEEN(w, CONTROLLER_CHANGED);
    c->active = true;
    c->activation = ++w->metadata.next_activation;
    c->applied = w->metadata.entries;
    c->tick_us = UINT64_MAX;
    memset(c->session, 0, sizeof c->session);
    feed(w, index, &(struct election_input){.type = ELECTION_ACTIVATED});
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        feed(w, index, &(struct election_input){.type = ELECTION_ROW, .row = &w->metadata.row[s]});
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
    for (uint32_t i = 0; i < CONTROLLERS_MAX; i++) {
        election_free(w->controller[i].core);
    }
    for (uint32_t s = 0; s < SHARDS_MAX; s++) {
        free(w->metadata.granted[s]);
    }
    free(w->metadata.entry);
    election_effects_release(&w->effects);
}
