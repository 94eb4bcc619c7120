/* The committed rows: which commands change them, and when the stand-in for the controllers' Raft
 * commits. */
#include <stdlib.h>

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

/* ------------------------------------------------------------------ the metadata log */

void metadata_put(struct world *w, uint32_t shard, const struct election_row *row)
{
    struct metadata *m = &w->metadata;
    check_row(w, shard, row);
    m->row[shard] = *row;
    m->entry = grow(m->entry, &m->entries_capacity, m->entries + 1, sizeof *m->entry);
    m->entry[m->entries++].row = *row;
    for (uint32_t i = 0; i < w->plan.controllers && !w->plan.raft; i++) {
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
    if (w->plan.raft) {
        controllers_init(w);
    } else {
        schedule(w, 1, (struct event){.type = EVENT_ACTIVATE, .a = 0});
    }
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

bool metadata_is_cut(const struct world *w)
{
    return w->plan.raft ? controllers_absent(w) : w->now_us < w->metadata.cut_until_us;
}

/* A proposal changes a row if that allows it. */
static void apply_proposal(struct world *w, const struct election_effect *p)
{
    uint32_t shard = (uint32_t)p->shard;
    struct election_row row = w->metadata.row[shard];
    bool electing = row.phase == ELECTION_ELECTING || row.phase == ELECTION_NO_QUORUM;
    SEEN_IF(w, PROPOSAL_OVERTAKEN, p->epoch < row.epoch);
    if (p->type == ELECTION_PROPOSE_ELECTING && p->epoch > row.epoch) {
        note_electing(w, &row);
        row.phase = ELECTION_ELECTING;
        row.epoch = p->epoch;
        w->count.elections++;
        TRACE(w, "shard %u: ELECTING epoch %u", shard, row.epoch);
        metadata_put(w, shard, &row);
    } else if (p->type == ELECTION_PROPOSE_ACTIVE && p->epoch == row.epoch && electing) {
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
    } else if (p->type == ELECTION_PROPOSE_STABLE && p->epoch == row.epoch &&
               row.phase == ELECTION_ACTIVE) {
        row.prev_cfg = (struct election_config){0};
        TRACE(w, "shard %u: cfg v%u is stable", shard, row.cfg.version);
        SEEN(w, STABLE);
        metadata_put(w, shard, &row);
    }
}

/* A proposal reaches the log, if its controller leads there. */
void controller_on_commit(struct world *w, struct event *event)
{
    if (w->plan.raft) {
        controllers_submit(w, event);
        return;
    }
    bool leads = w->metadata.leader == event->a;
    bool commits = leads ? !(!w->healing && chance(w, 20)) : chance(w, 300);
    SEEN_IF(w, PROPOSAL_LOST, leads && !commits);
    commits = commits && (w->now_us >= w->metadata.cut_until_us || w->healing);
    SEEN_IF(w, PROPOSAL_OF_DEPOSED, !leads && commits);
    if (commits) {
        apply_proposal(w, event->payload);
    }
    free(event->payload);
    event->payload = NULL;
}

/* The broker learns the epochs of this moment a while later, when its image has come so far. */
static void answer_registration(struct world *w, uint32_t broker, uint64_t boot)
{
    uint32_t *epoch = sim_alloc(SHARDS_MAX * sizeof *epoch);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        epoch[s] = w->metadata.row[s].epoch;
    }
    schedule(w, draw_exponential(w, chance(w, 800) ? 2 * MS : 100 * MS),
             (struct event){.type = EVENT_REGISTERED, .a = broker, .c = boot, .payload = epoch});
}

/* A broker's registration is one more entry of the log: every epoch that was fenced before is in
 * the rows by then. */
void controller_on_register(struct world *w, uint32_t broker, uint64_t boot)
{
    const struct broker *b = &w->broker[broker];
    uint32_t us = controller_endpoint(w->metadata.leader);
    if (w->plan.raft) {
        controllers_register(w, broker, boot);
        return;
    }
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
    answer_registration(w, broker, boot);
}

static bool may_reconfigure(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker)
{
    struct election_row row = w->metadata.row[shard];
    const struct broker *b = &w->broker[broker];
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
    return true;
}

static void reconfigure(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker, bool empty)
{
    struct election_row row = w->metadata.row[shard];
    struct broker *b = &w->broker[broker];
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
}

bool metadata_reconfigure(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker,
                          bool empty)
{
    if (!may_reconfigure(w, shard, slot, broker)) {
        return false;
    }
    if (w->plan.raft) {
        struct command command = {
            .type = COMMAND_RECONFIGURE,
            .shard = shard,
            .epoch = w->metadata.row[shard].epoch,
            .slot = slot,
            .empty = empty,
            .to = {broker, w->broker[broker].disk_gen}
        };
        return controllers_ask(w, &command);
    }
    reconfigure(w, shard, slot, broker, empty);
    return true;
}

void metadata_apply(struct world *w, const struct command *c)
{
    switch (c->type) {
    case COMMAND_ELECTION:
        apply_proposal(w, &c->proposal);
        return;
    case COMMAND_RECONFIGURE:
        if (w->metadata.row[c->shard].epoch == c->epoch &&
            w->broker[c->to.broker].disk_gen == c->to.disk_gen &&
            may_reconfigure(w, c->shard, c->slot, c->to.broker)) {
            reconfigure(w, c->shard, c->slot, c->to.broker, c->empty);
        }
        return;
    case COMMAND_MOVE:
    case COMMAND_MOVE_STEP:
    case COMMAND_GIVE_UP:
    case COMMAND_JOIN:
        moves_apply(w, c);
        return;
    case COMMAND_SEALED:
        reshard_apply(w, c->shard);
        return;
    case COMMAND_REGISTER:
        controllers_registered(w, c->to.broker, c->boot);
        answer_registration(w, c->to.broker, c->boot);
        return;
    }
    UNREACHABLE();
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
