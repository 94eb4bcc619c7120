/* Replicas move as the controllers' commands move them: a learner copies, joins with a joint epoch,
 * and the old replica is dropped when that is stable. Leaders are asked to hand over. */
#include "tests/sim/world.h"

static void ask_leader(struct world *w, uint32_t shard, enum message_type type,
                       struct election_replica whom)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct message *m =
        message_new(w, type, controller_endpoint(w->metadata.leader), row->leader.broker, shard);
    m->as.fence.epoch = row->epoch;
    m->as.fence.leader = (struct replica_id){.broker = whom.broker, .disk_gen = whom.disk_gen};
    m->as.fence.voters = (struct replica_config){.voter_count = 1};
    m->as.fence.voters.voter[0] = m->as.fence.leader;
    network_send(w, m);
}

static void ask_to_hand_over(struct world *w, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    uint32_t at = (uint32_t)draw(w, 0, 2);
    if (row->phase == ELECTION_ACTIVE && at < row->cfg.voter_count &&
        row->cfg.voter[at].broker != row->leader.broker) {
        ask_leader(w, shard, MESSAGE_HANDOVER, row->cfg.voter[at]);
    }
}

static bool may_begin(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct broker *b = &w->broker[broker];
    if (row->phase != ELECTION_ACTIVE || row->prev_cfg.voter_count > 0 || !b->up ||
        b->replica[shard].exists || w->metadata.move[shard].state != 0 ||
        (w->metadata.drops[shard] >> broker & 1) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < row->cfg.voter_count; i++) {
        if (row->cfg.voter[i].broker == broker &&
            (i != slot || row->cfg.voter[i].disk_gen == b->disk_gen)) {
            return false;
        }
    }
    return true;
}

static void begin(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct broker *b = &w->broker[broker];
    w->metadata.move[shard] = (struct move){
        .shard = shard,
        .state = MOVE_COPYING,
        .from = row->cfg.voter[slot],
        .to = {.broker = broker, .disk_gen = b->disk_gen},
    };
    TRACE(w, "shard %u: voter %u moves to %u.%u", shard, row->cfg.voter[slot].broker, broker,
          b->disk_gen);
    SEEN(w, MOVE_BEGUN);
    broker_create_replica(w, b, shard, row->epoch, NULL, 0);
}

bool moves_begin(struct world *w, uint32_t shard, uint32_t slot, uint32_t broker)
{
    if (!may_begin(w, shard, slot, broker)) {
        return false;
    }
    if (w->plan.raft) {
        struct election_replica to = {broker, w->broker[broker].disk_gen};
        return controllers_ask(
            w, &(struct command){.type = COMMAND_MOVE, .shard = shard, .slot = slot, .to = to});
    }
    begin(w, shard, slot, broker);
    return true;
}

static void drop_soon(struct world *w, uint32_t shard, struct election_replica id)
{
    if (w->broker[id.broker].disk_gen == id.disk_gen) {
        w->metadata.drops[shard] |= 1u << id.broker;
    }
}

static bool is_there(const struct world *w, uint32_t shard, struct election_replica id)
{
    const struct broker *b = &w->broker[id.broker];
    return b->disk_gen == id.disk_gen && b->replica[shard].exists;
}

static void give_up(struct world *w, uint32_t shard, struct move *move)
{
    TRACE(w, "shard %u: the move is given up", shard);
    SEEN(w, MOVE_GIVEN_UP);
    drop_soon(w, shard, move->to);
    move->state = 0;
}

static void take_step(struct world *w, uint32_t shard, struct move *move, enum move_step next)
{
    switch (next) {
    case MOVE_WAIT:
    case MOVE_COPY:
        return;
    case MOVE_AGAIN:
        SEEN(w, MOVE_AGAIN);
        move->state = MOVE_COPYING;
        return;
    case MOVE_DONE:
        w->count.moves++;
        SEEN(w, MOVE_DONE);
        drop_soon(w, shard, move->from);
        move->state = 0;
        return;
    case MOVE_VOID:
        SEEN(w, MOVE_VOID);
        drop_soon(w, shard, move->to);
        move->state = 0;
        return;
    }
    UNREACHABLE();
}

static void step(struct world *w, uint32_t shard, struct move *move)
{
    enum move_step next = move_next(move, &w->metadata.row[shard]);
    struct command command = {.shard = shard, .step = next, .to = move->to};
    if (next == MOVE_COPY) {
        if (is_there(w, shard, move->to) && (w->healing || !chance(w, 20))) {
            ask_leader(w, shard, MESSAGE_LEARN, move->to);
        } else if (w->plan.raft) {
            command.type = COMMAND_GIVE_UP;
            controllers_ask(w, &command);
        } else {
            give_up(w, shard, move);
        }
    } else if (next != MOVE_WAIT && w->plan.raft) {
        command.type = COMMAND_MOVE_STEP;
        controllers_ask(w, &command);
    } else {
        take_step(w, shard, move, next);
    }
}

static void drop(struct world *w, uint32_t shard)
{
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        struct broker *b = &w->broker[id];
        if ((w->metadata.drops[shard] >> id & 1) == 0 || !b->up || b->paused) {
            continue;
        }
        const struct election_row *row = &w->metadata.row[shard];
        struct election_row now = *row;
        now.prev_cfg.voter_count = MUTANT(DROPPED_TOO_EARLY) ? 0 : now.prev_cfg.voter_count;
        if (b->replica[shard].exists && !is_voter(&now, broker_rid(b))) {
            broker_drop_replica(w, b, shard);
        }
        w->metadata.drops[shard] &= ~(1u << id);
    }
}

void moves_on_event(struct world *w, uint32_t shard)
{
    struct move *move = &w->metadata.move[shard];
    uint32_t slot = (uint32_t)draw(w, 0, 2), to = (uint32_t)draw(w, 1, w->plan.brokers);
    if (move->state != 0) {
        step(w, shard, move);
    } else if (!w->healing && chance(w, 300)) {
        status_ignore(moves_begin(w, shard, slot, to) ? STATUS_OK : STATUS_BUSY, "another time");
    } else if (!w->healing && chance(w, 200)) {
        ask_to_hand_over(w, shard);
    }
    drop(w, shard);
    uint64_t delay_us = knob(w, KNOB_LEARN_OFTEN) ? draw(w, 1, 5 * MS) : draw(w, 20, 120) * MS;
    schedule(w, delay_us, (struct event){.type = EVENT_MOVE, .b = shard});
}

static bool may_join(struct world *w, uint32_t shard, struct election_replica to, uint32_t epoch)
{
    const struct move *move = &w->metadata.move[shard];
    bool matches = move->to.broker == to.broker && move->to.disk_gen == to.disk_gen &&
                   w->metadata.row[shard].epoch == epoch && move->state == MOVE_COPYING;
    return matches && is_there(w, shard, move->to) &&
           !w->broker[move->to.broker].replica[shard].medium.uncertain;
}

static void join(struct world *w, uint32_t shard)
{
    struct election_row row = w->metadata.row[shard];
    struct move *move = &w->metadata.move[shard];
    SEEN(w, MOVE_JOINED);
    SEEN_IF(w, MOVE_OF_LEADER, row.leader.broker == move->from.broker);
    move_join(move, &row);
    move->state = MOVE_JOINING;
    w->count.reconfigurations++;
    w->count.elections++;
    TRACE(w, "shard %u: ELECTING epoch %u, %u.%u joins (cfg v%u)", shard, row.epoch,
          move->to.broker, move->to.disk_gen, row.cfg.version);
    metadata_put(w, shard, &row);
}

void moves_on_learned(struct world *w, uint32_t index, const struct message *m)
{
    struct election_row row = w->metadata.row[m->shard];
    struct move *move = &w->metadata.move[m->shard];
    struct election_replica to = {m->as.opened.heir, m->as.opened.promised};
    if (index != w->metadata.leader || !may_join(w, m->shard, to, m->as.opened.epoch)) {
        return;
    }
    bool anyway = move_next(move, &row) == MOVE_COPY && row.prev_cfg.voter_count == 0;
    if (!move_may_join(move, &row) && !(anyway && chance(w, 300))) {
        ask_to_hand_over(w, m->shard);
    } else if (w->plan.raft) {
        struct command command = {
            .type = COMMAND_JOIN, .shard = m->shard, .epoch = row.epoch, .to = to};
        controllers_propose(w, index, &command);
    } else {
        join(w, m->shard);
    }
}

/* What was true when the command was proposed may be so no more. */
void moves_apply(struct world *w, const struct command *c)
{
    struct move *move = &w->metadata.move[c->shard];
    const struct election_row *row = &w->metadata.row[c->shard];
    bool same = move->to.broker == c->to.broker && move->to.disk_gen == c->to.disk_gen;
    if (c->type == COMMAND_MOVE) {
        if (may_begin(w, c->shard, c->slot, c->to.broker) &&
            w->broker[c->to.broker].disk_gen == c->to.disk_gen) {
            begin(w, c->shard, c->slot, c->to.broker);
        }
    } else if (c->type == COMMAND_GIVE_UP) {
        if (move->state == MOVE_COPYING && same) {
            give_up(w, c->shard, move);
        }
    } else if (c->type == COMMAND_MOVE_STEP) {
        if (move->state != 0 && same && move_next(move, row) == (enum move_step)c->step) {
            take_step(w, c->shard, move, (enum move_step)c->step);
        }
    } else if (may_join(w, c->shard, c->to, c->epoch) && move_next(move, row) == MOVE_COPY &&
               row->prev_cfg.voter_count == 0) {
        join(w, c->shard);
    }
}
