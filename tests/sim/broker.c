/* The shell around the replicas of one broker: what the real one does with a journal and sockets.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

struct replica_id broker_rid(const struct broker *b)
{
    return (struct replica_id){.broker = b->id, .disk_gen = b->disk_gen};
}

/* ------------------------------------------------------------------- carrying out effects */

static void journal_op(struct world *w, struct broker *b, uint32_t shard, enum op_type type,
                       const struct replica_effect *e)
{
    struct op op = {.type = type,
                    .shard = shard,
                    .epoch = e->epoch,
                    .seq = e->seq,
                    .end = e->end,
                    .flag = e->flag,
                    .commit = b->replica[shard].commit};
    journal_append(w, b, &op);
}

static void carry_write(struct world *w, struct broker *b, uint32_t shard,
                        const struct replica_effect *e, const struct batch *batches)
{
    struct replica_shell *r = &b->replica[shard];
    CHECK(batches != NULL);
    for (uint32_t i = 0; i < e->count; i++) {
        const struct batch *batch = &batches[e->first + i];
        check_write(w, b, shard, batch);
        log_push(&r->live, batch);
        struct op op = {
            .type = OP_WRITE, .shard = shard, .seq = e->seq, .commit = r->commit, .batch = *batch};
        journal_append(w, b, &op);
    }
    CHECK(log_end(&r->live) == e->end);
}

static void carry_truncate(struct world *w, struct broker *b, uint32_t shard,
                           const struct replica_effect *e)
{
    struct replica_shell *r = &b->replica[shard];
    TRACE(w, "broker %u shard %u: truncates %llu to %llu", b->id, shard,
          (unsigned long long)log_end(&r->live), (unsigned long long)e->end);
    w->count.truncations++;
    if (e->end < r->commit) {
        violated(w, "I3: broker %u shard %u truncates to %llu, below its commit %llu", b->id, shard,
                 (unsigned long long)e->end, (unsigned long long)r->commit);
    }
    log_truncate(&r->live, e->end);
    if (e->seq != 0) { /* 0: a mutant that does not tell the disk */
        journal_op(w, b, shard, OP_TRUNCATE, e);
    }
}

static void send_put_done(struct world *w, struct broker *b, uint32_t shard,
                          const struct pending_put *p, enum status status, uint64_t offset)
{
    struct message *m = message_new(w, MESSAGE_PUT_DONE, b->id, CLIENTS, shard);
    m->as.put.attempt = p->attempt;
    m->as.put.client = p->client;
    m->as.put.offset = offset;
    m->as.put.epoch = p->epoch;
    m->as.put.status = status;
    network_send(w, m);
}

static void carry_commit(struct world *w, struct broker *b, uint32_t shard, uint64_t end)
{
    struct replica_shell *r = &b->replica[shard];
    check_commit(w, b, shard, end);
    r->commit = end;
    uint32_t done = 0;
    while (done < r->puts && r->put[done].end <= end) {
        const struct pending_put *p = &r->put[done++];
        const struct batch *batch = log_batch_ending(&r->live, p->end);
        CHECK(batch != NULL);
        check_acked(w, shard, p->attempt, batch->core.base, p->epoch);
        send_put_done(w, b, shard, p, STATUS_OK, batch->core.base);
    }
    if (done > 0) {
        r->puts -= done;
        memmove(r->put, r->put + done, r->puts * sizeof *r->put);
    }
}

static void fail_puts(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    for (uint32_t i = 0; i < r->puts; i++) {
        send_put_done(w, b, shard, &r->put[i], STATUS_UNCERTAIN, 0);
    }
    r->puts = 0;
}

static void tell_controllers(struct world *w, struct broker *b, uint32_t shard,
                             enum message_type type, uint32_t epoch, uint32_t promised,
                             const struct replica_report *report, bool stalled)
{
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        struct message *m = message_new(w, type, b->id, controller_endpoint(i), shard);
        m->sender = broker_rid(b);
        if (type == MESSAGE_REPORT) {
            m->as.report.epoch = epoch;
            m->as.report.report = *report;
        } else {
            m->as.opened.epoch = epoch;
            m->as.opened.promised = promised;
            m->as.opened.boot = b->boot;
            m->as.opened.stalled = stalled;
        }
        network_send(w, m);
    }
}

static void tell_heir(struct world *w, struct broker *b, uint32_t shard,
                      const struct replica_effect *e)
{
    bool hands = e->type == REPLICA_DO_HANDED;
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    TRACE(w, "broker %u shard %u: %s broker %u", b->id, shard, hands ? "hands over to" : "has fed",
          e->to.broker);
    w->count.handovers += hands;
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        struct message *m = message_new(w, hands ? MESSAGE_RESIGNED : MESSAGE_LEARNED, b->id,
                                        controller_endpoint(i), shard);
        m->sender = broker_rid(b);
        m->as.opened.epoch = view.epoch;
        m->as.opened.promised = hands ? 0 : e->to.disk_gen;
        m->as.opened.heir = e->to.broker;
        m->as.opened.boot = b->boot;
        m->as.opened.stalled = false;
        network_send(w, m);
    }
}

static void carry_install(struct world *w, struct broker *b, uint32_t shard,
                          const struct replica_effect *e)
{
    struct replica_shell *r = &b->replica[shard];
    TRACE(w, "broker %u shard %u: installs a copy that begins at %llu", b->id, shard,
          (unsigned long long)e->end);
    w->count.installs++;
    if (!log_holds(&w->truth[shard].log,
                   (struct log_point){.end = e->end, .epoch = e->epoch, .crc = e->crc})) {
        violated(w, "I3: broker %u shard %u installs a start at %llu that was never committed",
                 b->id, shard, (unsigned long long)e->end);
    }
    install_copy(&r->live, &w->truth[shard].log, e->end);
    journal_op(w, b, shard, OP_INSTALL, e);
}

static uint32_t content_crc(const struct batch *b)
{
    uint64_t x = b->id * 0x9e3779b97f4a7c15u ^ b->core.base * 0xc2b2ae3d27d4eb4fu ^
                 (uint64_t)b->core.prev_crc << 32 ^ b->core.epoch ^ (uint64_t)b->core.count << 20;
    x ^= x >> 29;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 32;
    return (uint32_t)x | 1;
}

static enum status propose(struct world *w, struct broker *b, uint32_t shard, uint64_t id,
                           uint32_t count, uint32_t flags, const struct replica_slot *slot)
{
    struct batch batch = {
        .id = id,
        .core = {.base = slot->base_offset,
                 .count = count,
                 .epoch = slot->epoch,
                 .prev_crc = slot->prev_crc,
                 .bytes = 128 + 100 * count,
                 .flags = flags}
    };
    batch.core.crc = content_crc(&batch);
    struct replica_input in = {.type = REPLICA_PROPOSED, .batch = batch.core};
    return broker_step(w, b, shard, &in, &batch);
}

static void start_epoch(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch)
{
    struct replica_slot slot;
    if (replica_slot(b->replica[shard].core, &slot) != STATUS_OK) {
        return;
    }
    check_lead(w, b, shard, epoch);
    enum status status = propose(w, b, shard, ++w->next_id, 1, REPLICA_BATCH_CONTROL, &slot);
    CHECK(status == STATUS_OK);
    nemesis_on_lead(w, b, shard);
}

static void append_seal(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_slot slot;
    if (replica_slot(b->replica[shard].core, &slot) == STATUS_OK) {
        TRACE(w, "broker %u shard %u: SEAL at %llu", b->id, shard,
              (unsigned long long)slot.base_offset);
        enum status status = propose(w, b, shard, ++w->next_id, 1,
                                     REPLICA_BATCH_CONTROL | REPLICA_BATCH_SEAL, &slot);
        CHECK(status == STATUS_OK);
    }
}

static void carry_report(struct world *w, struct broker *b, uint32_t shard,
                         const struct replica_effect *e, uint32_t asked_epoch)
{
    uint32_t epoch = e->report.ok ? e->report.promised : asked_epoch;
    check_report(w, b, shard, epoch, &e->report);
    TRACE(w, "broker %u shard %u: %s epoch %u, %s, last epoch %u, end %llu", b->id, shard,
          e->report.ok ? "promises" : "refuses", epoch, e->report.certain ? "certain" : "uncertain",
          e->report.last_epoch, (unsigned long long)e->report.end);
    tell_controllers(w, b, shard, MESSAGE_REPORT, epoch, 0, &e->report, false);
}

static void carry_out(struct world *w, struct broker *b, uint32_t shard,
                      const struct replica_effect *e, const struct batch *batches,
                      uint32_t asked_epoch)
{
    struct replica_shell *r = &b->replica[shard];
    switch (e->type) {
    case REPLICA_DO_PROMISE:
        journal_op(w, b, shard, OP_PROMISE, e);
        return;
    case REPLICA_DO_TRUNCATE:
        carry_truncate(w, b, shard, e);
        return;
    case REPLICA_DO_WRITE:
        carry_write(w, b, shard, e, batches);
        return;
    case REPLICA_DO_UNCERTAIN:
        TRACE(w, "broker %u shard %u: uncertain = %d", b->id, shard, e->flag);
        journal_op(w, b, shard, OP_UNCERTAIN, e);
        return;
    case REPLICA_DO_LOG_START:
        journal_op(w, b, shard, OP_LOG_START, e);
        return;
    case REPLICA_DO_INSTALL:
        carry_install(w, b, shard, e);
        return;
    case REPLICA_DO_LEARNED:
    case REPLICA_DO_HANDED:
        tell_heir(w, b, shard, e);
        return;
    case REPLICA_DO_START_EPOCH:
        start_epoch(w, b, shard, e->epoch);
        return;
    case REPLICA_DO_SEAL:
        append_seal(w, b, shard);
        return;
    case REPLICA_DO_SEALED:
        check_sealed(w, b, shard, e->end);
        return;
    case REPLICA_DO_WAKE:
        schedule(w, chance(w, 30) ? draw(w, 0, 20 * MS) : draw(w, 0, 50),
                 (struct event){.type = EVENT_PUMP,
                                .a = b->id,
                                .b = shard,
                                .c = e->to.broker | (uint64_t)e->to.disk_gen << 8});
        return;
    case REPLICA_DO_ANSWER: {
        check_answer(w, b, shard, &e->answer);
        struct message *m = message_new(w, MESSAGE_ANSWER, b->id, e->to.broker, shard);
        m->sender = broker_rid(b);
        m->as.answer = e->answer;
        network_send(w, m);
        return;
    }
    case REPLICA_DO_REPORT:
        carry_report(w, b, shard, e, asked_epoch);
        return;
    case REPLICA_DO_COMMIT:
        carry_commit(w, b, shard, e->end);
        return;
    case REPLICA_DO_LEAD:
        TRACE(w, "broker %u shard %u: open in epoch %u", b->id, shard, e->epoch);
        tell_controllers(w, b, shard, MESSAGE_OPENED, e->epoch, 0, NULL, false);
        return;
    case REPLICA_DO_STEP_DOWN:
        TRACE(w, "broker %u shard %u: leads epoch %u no longer", b->id, shard, e->epoch);
        fail_puts(w, b, shard);
        tell_controllers(w, b, shard, MESSAGE_RESIGNED, e->epoch, 0, NULL, false);
        return;
    case REPLICA_DO_HALT:
        violated(w, "R12: broker %u halts shard %u: commit %llu, end %llu", b->id, shard,
                 (unsigned long long)r->commit, (unsigned long long)log_end(&r->live));
    }
    UNREACHABLE();
}

static void plan_tick(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    uint64_t due_ms = r->core == NULL ? UINT64_MAX : replica_deadline(r->core);
    if (due_ms == UINT64_MAX || due_ms * MS >= r->tick_us) {
        return;
    }
    r->tick_us = due_ms * MS > w->now_us ? due_ms * MS : w->now_us;
    schedule(w, r->tick_us - w->now_us,
             (struct event){.type = EVENT_TICK, .a = b->id, .b = shard, .c = r->tick_us});
}

enum status broker_step(struct world *w, struct broker *b, uint32_t shard, struct replica_input *in,
                        const struct batch *batches)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_effects out;
    if (r->core == NULL) {
        return STATUS_NOT_FOUND;
    }
    w->count.steps++;
    in->now_ms = now_ms(w);
    enum status status = replica_step(r->core, in, &out);
    if (status == STATUS_OK) {
        for (uint32_t i = 0; i < out.count; i++) {
            carry_out(w, b, shard, &out.effect[i], batches, in->epoch);
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
    if (replica_deadline(r->core) <= now_ms(w)) {
        struct replica_input in = {.type = REPLICA_TICK};
        status_ignore(broker_step(w, b, shard, &in, NULL), "a tick has no result");
    }
    plan_tick(w, b, shard);
}

void broker_on_peer(struct world *w, struct broker *b, uint32_t peer, bool up)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        struct replica_input in = {.type = up ? REPLICA_PEER_UP : REPLICA_PEER_DOWN,
                                   .from = broker_rid(&w->broker[peer])};
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
                               .config = m->as.fence.voters};
    if (broker_step(w, b, m->shard, &in, NULL) != STATUS_OK) {
        return;
    }
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
        tell_controllers(w, b, m->shard, MESSAGE_OPENED, in.epoch, 0, NULL, false);
    }
}

void broker_put(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct pending_put put = {.attempt = m->as.put.attempt, .client = m->as.put.client};
    struct replica_slot slot;
    enum status status = r->core == NULL ? STATUS_NOT_FOUND : replica_slot(r->core, &slot);
    if (status == STATUS_NO_QUORUM && w->now_us >= r->resigned_us + SECOND) {
        struct replica_view view;
        replica_view(r->core, &view);
        r->resigned_us = w->now_us;
        tell_controllers(w, b, m->shard, MESSAGE_RESIGNED, view.epoch, 0, NULL, true);
    }
    if (status != STATUS_OK) {
        send_put_done(w, b, m->shard, &put, status, 0);
        return;
    }
    put.end = slot.base_offset + m->as.put.count;
    put.epoch = slot.epoch;
    r->put = grow(r->put, &r->puts_capacity, r->puts + 1, sizeof *r->put);
    r->put[r->puts++] = put;
    status = propose(w, b, m->shard, put.attempt, m->as.put.count, 0, &slot);
    if (status == STATUS_SEALED) { /* nothing was written, so nothing was committed either */
        r->puts--;
        send_put_done(w, b, m->shard, &put, status, 0);
        return;
    }
    CHECK(status == STATUS_OK);
}

bool broker_seal(struct world *w, uint32_t shard)
{
    struct broker *leader = leader_of(w, shard);
    if (committed_seal(w, shard) != 0) {
        return true;
    }
    if (leader != NULL && leader->up && !leader->paused) {
        struct replica_input in = {.type = REPLICA_SEAL};
        status_ignore(broker_step(w, leader, shard, &in, NULL), "it is asked again");
    }
    return false;
}

void broker_on_message(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_input in = {.from = m->sender};
    switch (m->type) {
    case MESSAGE_APPEND:
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
    case MESSAGE_REPORT:
    case MESSAGE_OPENED:
    case MESSAGE_RESIGNED:
    case MESSAGE_LEARNED:
    case MESSAGE_PUT_DONE:
        UNREACHABLE();
    }
    status_ignore(broker_step(w, b, m->shard, &in, m->as.append.batch), "late copies are no-ops");
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
    struct message *m = message_new(w, MESSAGE_APPEND, b->id, to.broker, shard);
    m->sender = broker_rid(b);
    m->as.append.append = append;
    uint64_t upto = append.prev.end;
    uint32_t at = log_find_base(&r->live, upto), count = 0;
    CHECK(end <= log_end(&r->live));
    while (count < w->plan.append_batches && upto < end) {
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
    struct replica_input in = {.type = REPLICA_RETAIN};
    for (uint32_t i = 0; i < r->live.count && in.offset + 20 < keep; i++) {
        in.offset = r->live.batch[i].core.base;
    }
    if (in.offset > 0 && in.offset < keep) {
        status_ignore(broker_step(w, b, shard, &in, NULL), "it may lead no longer");
    }
}
