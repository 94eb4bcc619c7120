/* The shell around the replicas of one broker: what the real one does with a journal and sockets.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

struct replica_id broker_rid(const struct broker *b)
{
    return (struct replica_id){.broker = b->id, .disk_gen = b->disk_gen};
}

static void plan_tick(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    uint64_t due_ms = r->core == NULL ? UINT64_MAX : replica_deadline(r->core);
    if (due_ms == UINT64_MAX || due_ms * MS >= r->tick_us) {
        return;
    }
    r->tick_us = due_ms * MS > w->now_us ? due_ms * MS : w->now_us;
    r->tick_us += knob(w, KNOB_LATE_TICK) ? draw(w, 0, 300 * MS) : 0;
    schedule(w, r->tick_us - w->now_us,
             (struct event){.type = EVENT_TICK, .a = b->id, .b = shard, .c = r->tick_us});
}

/* What is as if it had never arrived, when there is no memory for it. */
static bool lacks_memory(struct world *w, const struct replica_input *in)
{
    bool may = in->type == REPLICA_FENCE || in->type == REPLICA_RECEIVE_APPEND ||
               in->type == REPLICA_GRANT;
    bool short_now = may && w->plan.fault[FAULT_MEMORY] && !w->healing && chance(w, 5);
    SEEN_IF(w, MEMORY_SHORT, short_now);
    return short_now;
}

enum status broker_step(struct world *w, struct broker *b, uint32_t shard, struct replica_input *in,
                        const struct batch *batches)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_effects out;
    if (r->core == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (lacks_memory(w, in)) {
        return STATUS_NO_MEMORY;
    }
    w->count.steps++;
    in->now_ms = now_ms(w);
    enum status status = replica_step(r->core, in, &out);
    if (status == STATUS_OK) {
        for (uint32_t i = 0; i < out.count; i++) {
            broker_carry_out(w, b, shard, &out.effect[i], batches, in->epoch);
        }
        check_view(w, b, shard);
    }
    journal_kick(w, b);
    plan_tick(w, b, shard);
    return status;
}

/* ----------------------------------------------------------------------------- inputs */

void broker_on_tick(struct world *w, struct broker *b, uint32_t shard, uint64_t due_us)
{
    struct replica_shell *r = &b->replica[shard];
    if (!b->up || r->core == NULL || r->tick_us != due_us) {
        return;
    }
    r->tick_us = UINT64_MAX;
    if (replica_deadline(r->core) <= now_ms(w) || knob(w, KNOB_MORE_TICKS)) {
        struct replica_input in = {.type = REPLICA_TICK};
        status_ignore(broker_step(w, b, shard, &in, NULL), "a tick has no result");
    }
    plan_tick(w, b, shard);
}

void broker_on_peer(struct world *w, struct broker *b, uint32_t peer, bool up)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        struct replica_input in = {.type = up ? REPLICA_PEER_UP : REPLICA_PEER_DOWN,
                                   .from = broker_rid(&w->broker[peer]),
                                   .boot = w->broker[peer].boot};
        status_ignore(broker_step(w, b, s, &in, NULL), "no such replica here");
    }
}

static void on_grant(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct replica_input in = {.type = REPLICA_GRANT,
                               .epoch = m->as.fence.epoch,
                               .id = m->as.fence.leader,
                               .boot = m->as.fence.boot,
                               .config = m->as.fence.voters,
                               .previous = m->as.fence.previous};
    struct replica_view before = {0};
    if (r->core != NULL) {
        replica_view(r->core, &before);
    }
    if (broker_step(w, b, m->shard, &in, NULL) != STATUS_OK) {
        SEEN(w, GRANT_VOID);
        return;
    }
    SEEN_IF(w, GRANT_REPEATED, before.role == REPLICA_LEADING && before.epoch == in.epoch);
    for (uint32_t peer = 1; peer <= w->plan.brokers; peer++) {
        if (peer != b->id && !w->pair[b->id][peer].up) {
            struct replica_input down = {.type = REPLICA_PEER_DOWN,
                                         .from = broker_rid(&w->broker[peer])};
            status_ignore(broker_step(w, b, m->shard, &down, NULL), "told for good measure");
        }
    }
    struct replica_view view;
    replica_view(r->core, &view);
    if (view.role == REPLICA_LEADING && view.open && view.epoch == in.epoch) {
        broker_tell(w, b, m->shard, MESSAGE_OPENED, in.epoch, 0, NULL, false);
    }
}

void broker_seal(struct world *w, uint32_t shard)
{
    struct broker *leader = leader_of(w, shard);
    if (leader != NULL && leader->up && !leader->paused) {
        SEEN(w, SEAL_ASKED);
        struct replica_input in = {.type = REPLICA_SEAL};
        status_ignore(broker_step(w, leader, shard, &in, NULL), "it is asked again");
    }
}

static void note_input(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct replica_view view;
    if (r->core == NULL) {
        return;
    }
    replica_view(r->core, &view);
    if (m->type == MESSAGE_APPEND) {
        SEEN_IF(w, APPEND_OF_DEPOSED, m->as.append.append.epoch < w->metadata.row[m->shard].epoch);
        SEEN_IF(w, FLOOR_AWAITED, view.needs_floor);
    } else if (m->type == MESSAGE_ANSWER) {
        SEEN_IF(w, ANSWER_OF_OLD_BOOT, m->as.answer.boot < w->broker[m->from].boot);
    } else if (m->type == MESSAGE_FENCE) {
        SEEN_IF(w, FENCE_OF_LEADER, view.role == REPLICA_LEADING && view.epoch < m->as.fence.epoch);
    }
}

void broker_on_message(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_input in = {.from = m->sender};
    note_input(w, b, m);
    switch (m->type) {
    case MESSAGE_APPEND:
        if (b->full && m->as.append.append.batch_count > 0) {
            SEEN(w, DISK_FULL_FOLLOWER);
            return; /* it takes no data, and goes on promising (2.9) */
        }
        in.type = REPLICA_RECEIVE_APPEND;
        in.append = m->as.append.append;
        in.append.batches = m->as.append.core;
        break;
    case MESSAGE_ANSWER:
        in.type = REPLICA_RECEIVE_ANSWER;
        in.answer = m->as.answer;
        break;
    case MESSAGE_FENCE:
        in.type = REPLICA_FENCE;
        in.epoch = m->as.fence.epoch;
        in.config = m->as.fence.voters;
        break;
    case MESSAGE_LEARN:
        in.type = REPLICA_LEARN;
        in.epoch = m->as.fence.epoch;
        in.config = m->as.fence.voters;
        break;
    case MESSAGE_HANDOVER:
        in.type = REPLICA_HANDOVER;
        in.id = m->as.fence.leader;
        break;
    case MESSAGE_GRANT:
        on_grant(w, b, m);
        return;
    case MESSAGE_PUT:
        broker_put(w, b, m);
        return;
    case MESSAGE_REPAIR_GET:
    case MESSAGE_REPAIR_DATA:
        holes_on_message(w, b, m);
        return;
    case MESSAGE_CONFIRM:
        tip_on_confirm(w, b, m);
        return;
    case MESSAGE_CONFIRMED:
        tip_on_confirmed(w, b, m);
        return;
    case MESSAGE_REPORT:
    case MESSAGE_OPENED:
    case MESSAGE_RESIGNED:
    case MESSAGE_LEARNED:
    case MESSAGE_SEALED:
    case MESSAGE_RAFT:
    case MESSAGE_PUT_DONE:
        UNREACHABLE();
    }
    enum status status = broker_step(w, b, m->shard, &in, m->as.append.batch);
    SEEN_IF(w, FENCE_STALE, m->type == MESSAGE_FENCE && status == STATUS_STALE);
    SEEN_IF(w, HANDOVER_REFUSED, m->type == MESSAGE_HANDOVER && status != STATUS_OK);
}

/* ------------------------------------------------------------------------- replication */

static bool find_member(const struct replica *core, struct replica_id peer)
{
    struct replica_view view;
    replica_view(core, &view);
    for (uint32_t i = 0; i < view.member_count; i++) {
        if (replica_id_equal(view.member[i].id, peer)) {
            return true;
        }
    }
    return false;
}

/* Sends one append; false when there is nothing to say. */
static bool send_append(struct world *w, struct broker *b, uint32_t shard, struct replica_id to)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_append append;
    uint64_t end = 0, bytes = 0;
    if (replica_next_append(r->core, to, now_ms(w), &append, &end) != STATUS_OK) {
        return false;
    }
    uint64_t upto = append.prev.end;
    uint32_t at = log_find_base(&r->live, upto), count = 0;
    CHECK(end <= log_end(&r->live));
    if (upto < end && r->live.batch[at].rot != ROT_NONE) {
        holes_found(w, b, shard, at, FOUND_BY_FEED);
        return false; /* when that is repaired, DAMAGE wakes whoever waits for it */
    }
    struct message *m = message_new(w, MESSAGE_APPEND, b->id, to.broker, shard);
    m->sender = broker_rid(b);
    m->as.append.append = append;
    end = knob(w, KNOB_EMPTY_APPEND) ? upto : end;
    while (count < w->plan.append_batches && upto < end && r->live.batch[at].rot == ROT_NONE) {
        const struct batch *batch = &r->live.batch[at++];
        m->as.append.batch[count] = *batch;
        m->as.append.core[count++] = batch->core;
        upto = batch->core.base + batch->core.count;
        bytes += batch->core.bytes;
    }
    m->as.append.append.batch_count = count;
    m->as.append.append.batches = NULL;
    network_send(w, m);
    replica_sent(r->core, to, upto, bytes, now_ms(w));
    return true;
}

void broker_pump(struct world *w, struct broker *b, uint32_t shard, uint64_t peer)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_id to = {.broker = (uint32_t)(peer & 255), .disk_gen = (uint32_t)(peer >> 8)};
    if (!b->up || r->core == NULL || !w->pair[b->id][to.broker].up || !find_member(r->core, to)) {
        return;
    }
    for (uint32_t i = 0; send_append(w, b, shard, to); i++) {
        if (i == 16) { /* the link is full for a while */
            schedule(w, draw(w, 100, 2 * MS),
                     (struct event){.type = EVENT_PUMP, .a = b->id, .b = shard, .c = peer});
            break;
        }
    }
    plan_tick(w, b, shard);
}

/* As broker/server/retention.c: never on one clock's word (2.12). */
static bool clock_is_confirmed(const struct world *w, const struct broker *b,
                               const struct replica_view *view)
{
    for (uint32_t i = 0; i < view->member_count; i++) {
        const struct broker *other = &w->broker[view->member[i].id.broker];
        uint64_t apart = other->clock_ms > b->clock_ms ? other->clock_ms - b->clock_ms
                                                       : b->clock_ms - other->clock_ms;
        if (w->pair[b->id][other->id].up && apart <= 2000) {
            return true;
        }
    }
    return MUTANT(RETENTION_BY_ONE_CLOCK);
}

/* Drops what all voters have, or what is committed: the leader's retention is over. */
void broker_retain(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    if (!b->up || r->core == NULL) {
        return;
    }
    replica_view(r->core, &view);
    uint64_t keep = view.commit < view.durable_end ? view.commit : view.durable_end;
    bool all = !w->plan.moves || chance(w, 300);
    for (uint32_t i = 0; i < view.member_count && all; i++) {
        keep = view.member[i].match < keep ? view.member[i].match : keep;
    }
    if (!clock_is_confirmed(w, b, &view)) {
        SEEN(w, RETENTION_UNCONFIRMED);
        return;
    }
    struct replica_input in = {.type = REPLICA_RETAIN};
    uint64_t wall_ms = now_ms(w) + b->clock_ms;
    for (uint32_t i = 0; i < r->live.count && in.offset + 20 < keep &&
                         r->live.batch[i].append_ms + w->plan.keep_ms < wall_ms;
         i++) {
        in.offset = r->live.batch[i].core.base;
    }
    if (in.offset > 0 && in.offset < keep) {
        status_ignore(broker_step(w, b, shard, &in, NULL), "it may lead no longer");
    }
}
