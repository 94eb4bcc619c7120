/* What the core asks of a broker, carried out: the journal, messages, answers to clients. */
#include <string.h>

#include "tests/sim/world.h"

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
    SEEN_IF(w, APPEND_OF_EPOCHS,
            batches[e->first].core.epoch != batches[e->first + e->count - 1].core.epoch);
    for (uint32_t i = 0; i < e->count; i++) {
        const struct batch *batch = &batches[e->first + i];
        check_write(w, b, shard, batch);
        log_push(&r->live, batch);
        dedup_add(r, batch);
        struct op op = {
            .type = OP_WRITE, .shard = shard, .seq = e->seq, .commit = r->commit, .batch = *batch};
        journal_append(w, b, &op);
    }
    CHECK(log_end(&r->live) == e->end);
}

static void note_truncation(struct world *w, const struct broker *b, uint32_t shard, uint64_t end)
{
    const struct log *live = &b->replica[shard].live;
    uint32_t cut = 0, epoch = log_last(live).epoch;
    bool own = false, several = false;
    for (uint32_t i = live->count; i > 0 && live->batch[i - 1].core.base >= end; i--, cut++) {
        const struct batch *batch = &live->batch[i - 1];
        const struct granted *led = &w->led[shard][batch->core.epoch];
        own = own || (led->leader.broker == b->id && led->leader.disk_gen == b->disk_gen);
        several = several || batch->core.epoch != epoch;
        SEEN_IF(w, SEAL_TRUNCATED, (batch->core.flags & REPLICA_BATCH_SEAL) != 0);
        SEEN_IF(w, TRUNCATED_OPERATION, batch->producer != 0 || batch->token != 0);
    }
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    bool hole = false;
    for (uint32_t i = 0; i < live->count; i++) {
        hole = hole || (live->batch[i].rot != ROT_NONE && live->batch[i].core.base >= end);
    }
    SEEN(w, TRUNCATED);
    SEEN_IF(w, TRUNCATED_AT_HOLE, view.role == REPLICA_LEADING);
    SEEN_IF(w, TRUNCATED_WITH_HOLE, hole && view.role != REPLICA_LEADING);
    SEEN_IF(w, TRUNCATED_MANY, cut >= 5);
    SEEN_IF(w, TRUNCATED_OWN, own);
    SEEN_IF(w, TRUNCATED_EPOCHS, several);
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
    note_truncation(w, b, shard, e->end);
    log_truncate(&r->live, e->end);
    dedup_truncate(r, e->end);
    if (e->seq != 0) { /* 0: a mutant that does not tell the disk */
        journal_op(w, b, shard, OP_TRUNCATE, e);
    }
}

void broker_put_done(struct world *w, struct broker *b, uint32_t shard, const struct pending_put *p,
                     enum status status, uint64_t offset)
{
    struct message *m = message_new(w, MESSAGE_PUT_DONE, b->id, CLIENTS, shard);
    m->as.put.attempt = p->attempt;
    m->as.put.client = p->client;
    m->as.put.offset = offset;
    m->as.put.epoch = p->epoch;
    m->as.put.status = status;
    m->as.put.duplicate = p->duplicate;
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
        check_acked(w, shard, p->attempt, batch->core.base, p->duplicate ? 0 : p->epoch);
        broker_put_done(w, b, shard, p, STATUS_OK, batch->core.base);
    }
    if (done > 0) {
        r->puts -= done;
        memmove(r->put, r->put + done, r->puts * sizeof *r->put);
    }
}

static void fail_puts(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    SEEN(w, STEPPED_DOWN);
    SEEN_IF(w, STEPPED_DOWN_WITH_PUTS, r->puts > 0);
    for (uint32_t i = 0; i < r->puts; i++) {
        broker_put_done(w, b, shard, &r->put[i], STATUS_UNCERTAIN, 0);
    }
    r->puts = 0;
}

void broker_tell(struct world *w, struct broker *b, uint32_t shard, enum message_type type,
                 uint32_t epoch, uint32_t promised, const struct replica_report *report,
                 bool stalled)
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
    if (hands) {
        SEEN(w, HANDED_OVER);
        w->metadata.heir[shard] = e->to.broker;
    } else {
        SEEN(w, MOVE_NEAR);
    }
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
    SEEN(w, INSTALLED);
    SEEN_IF(w, INSTALLED_LEARNER, !is_voter(&w->metadata.row[shard], broker_rid(b)));
    SEEN_IF(w, INSTALLED_VOTER, is_voter(&w->metadata.row[shard], broker_rid(b)));
    if (!log_holds(&w->truth[shard].log,
                   (struct log_point){.end = e->end, .epoch = e->epoch, .crc = e->crc})) {
        violated(w, "I3: broker %u shard %u installs a start at %llu that was never committed",
                 b->id, shard, (unsigned long long)e->end);
    }
    install_copy(&r->live, &w->truth[shard].log, e->end);
    dedup_forget(r);
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

/* Never back within a shard; clocks that are far off are set right by the cluster's time (2.9). */
static uint64_t append_ms(struct world *w, const struct broker *b, uint32_t shard)
{
    const struct log *live = &b->replica[shard].live;
    uint64_t last_ms = live->count == 0 ? 0 : live->batch[live->count - 1].append_ms;
    uint64_t wall_ms = now_ms(w) + version_clock_ms(b);
    uint64_t clamped_ms = MUTANT(APPEND_TIME_UNCLAMPED)
                              ? wall_ms
                              : cluster_clock_clamped_ms(&b->clock, now_ms(w), wall_ms);
    SEEN_IF(w, STAMP_CLAMPED, clamped_ms != wall_ms);
    if (clamped_ms > now_ms(w) + CLUSTER_CLOCK_CLAMP_MS && b->clock.known) {
        violated(w, "I18: broker %u stamps %llu ms ahead of cluster time", b->id,
                 (unsigned long long)(clamped_ms - now_ms(w)));
    }
    return clamped_ms > last_ms ? clamped_ms : last_ms;
}

enum status broker_propose(struct world *w, struct broker *b, uint32_t shard, struct batch *made,
                           uint32_t count, uint32_t flags, const struct replica_slot *slot)
{
    struct batch batch = *made;
    batch.append_ms = append_ms(w, b, shard);
    batch.stored_us = w->now_us;
    batch.core = (struct replica_batch){.base = slot->base_offset,
                                        .count = count,
                                        .epoch = slot->epoch,
                                        .prev_crc = slot->prev_crc,
                                        .bytes = 128 + 100 * count,
                                        .flags = flags};
    if (w->plan.knob[KNOB_BIG_BATCHES]) {
        batch.core.bytes = (1 << 20) * count;
    }
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
    SEEN_IF(w, OLD_LED_WITH_HOLES, b->old && !log_is_whole(&b->replica[shard].medium.log, 0));
    struct batch batch = {.id = ++w->next_id};
    enum status status = broker_propose(w, b, shard, &batch, 1, REPLICA_BATCH_CONTROL, &slot);
    CHECK(status == STATUS_OK);
    nemesis_on_lead(w, b, shard);
}

static void append_seal(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_slot slot;
    if (replica_slot(b->replica[shard].core, &slot) == STATUS_OK) {
        TRACE(w, "broker %u shard %u: SEAL at %llu", b->id, shard,
              (unsigned long long)slot.base_offset);
        struct batch batch = {.id = ++w->next_id};
        enum status status = broker_propose(w, b, shard, &batch, 1,
                                            REPLICA_BATCH_CONTROL | REPLICA_BATCH_SEAL, &slot);
        CHECK(status == STATUS_OK);
        nemesis_on_seal(w, b);
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
    SEEN_IF(w, REPORT_HOLES, e->report.ok && e->report.holes.count > 0);
    SEEN_IF(w, FENCE_REFUSED, !e->report.ok);
    SEEN_IF(w, REPORT_UNCERTAIN, e->report.ok && !e->report.certain);
    SEEN_IF(w, REPORT_EMPTY, e->report.ok && e->report.end == 0);
    broker_tell(w, b, shard, MESSAGE_REPORT, epoch, 0, &e->report, false);
    if (knob(w, KNOB_REPORT_TWICE)) {
        broker_tell(w, b, shard, MESSAGE_REPORT, epoch, 0, &e->report, false);
    }
}

static void carry_uncertain(struct world *w, struct broker *b, uint32_t shard,
                            const struct replica_effect *e)
{
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    TRACE(w, "broker %u shard %u: uncertain = %d", b->id, shard, e->flag);
    SEEN(w, UNCERTAIN_CLEARED);
    SEEN_IF(w, UNCERTAIN_CLEARED_SAME,
            b->replica[shard].uncertain_epoch == w->metadata.row[shard].epoch);
    SEEN_IF(w, UNCERTAIN_CLEARED_LEADING, view.role == REPLICA_LEADING);
    journal_op(w, b, shard, OP_UNCERTAIN, e);
}

static void carry_answer(struct world *w, struct broker *b, uint32_t shard,
                         const struct replica_effect *e)
{
    const struct replica_answer *a = &e->answer;
    check_answer(w, b, shard, a);
    SEEN_IF(w, ANSWER_OF_UNCERTAIN, a->ok && a->uncertain);
    SEEN_IF(w, APPEND_REFUSED_EPOCH, !a->ok && a->probed == 0);
    SEEN_IF(w, APPEND_REFUSED_MATCH, !a->ok && a->probed > 0);
    SEEN_IF(w, APPEND_REFUSED_DEEP, !a->ok && a->history_count >= 3);
    struct message *m = message_new(w, MESSAGE_ANSWER, b->id, e->to.broker, shard);
    m->sender = broker_rid(b);
    m->as.answer = *a;
    network_send(w, m);
}

static void carry_sealed(struct world *w, struct broker *b, uint32_t shard, uint64_t end)
{
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    const struct batch *seal = log_batch_ending(&b->replica[shard].live, end);
    check_sealed(w, b, shard, end);
    if (view.role == REPLICA_LEADING) {
        SEEN(w, SEAL_COMMITTED);
        SEEN_IF(w, SEAL_BY_NEXT, seal != NULL && seal->core.epoch < view.epoch);
        broker_tell(w, b, shard, MESSAGE_SEALED, view.epoch, 0, NULL, false);
    }
}

static void carry_log_start(struct world *w, struct broker *b, uint32_t shard,
                            const struct replica_effect *e)
{
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    SEEN_IF(w, LOG_START_MOVED, view.role == REPLICA_LEADING);
    SEEN_IF(w, LOG_START_FOLLOWED, view.role != REPLICA_LEADING);
    check_trim(w, b, shard, e->end);
    journal_op(w, b, shard, OP_LOG_START, e);
}

static void wake(struct world *w, struct broker *b, uint32_t shard, struct replica_id to)
{
    struct event pump = {
        .type = EVENT_PUMP, .a = b->id, .b = shard, .c = to.broker | (uint64_t)to.disk_gen << 8};
    bool late = chance(w, 30) || knob(w, KNOB_LATE_PUMP);
    schedule(w, late ? draw(w, 0, 20 * MS) : draw(w, 0, 50), pump);
    if (knob(w, KNOB_MORE_PUMPS)) {
        schedule(w, draw(w, 0, 5 * MS), pump);
    }
}

void broker_carry_out(struct world *w, struct broker *b, uint32_t shard,
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
        carry_uncertain(w, b, shard, e);
        return;
    case REPLICA_DO_LOG_START:
        carry_log_start(w, b, shard, e);
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
        carry_sealed(w, b, shard, e->end);
        return;
    case REPLICA_DO_WAKE:
        wake(w, b, shard, e->to);
        return;
    case REPLICA_DO_ANSWER:
        carry_answer(w, b, shard, e);
        return;
    case REPLICA_DO_REPORT:
        carry_report(w, b, shard, e, asked_epoch);
        return;
    case REPLICA_DO_COMMIT:
        carry_commit(w, b, shard, e->end);
        return;
    case REPLICA_DO_LEAD:
        TRACE(w, "broker %u shard %u: open in epoch %u", b->id, shard, e->epoch);
        broker_tell(w, b, shard, MESSAGE_OPENED, e->epoch, 0, NULL, false);
        return;
    case REPLICA_DO_STEP_DOWN:
        TRACE(w, "broker %u shard %u: leads epoch %u no longer", b->id, shard, e->epoch);
        fail_puts(w, b, shard);
        broker_tell(w, b, shard, MESSAGE_RESIGNED, e->epoch, 0, NULL, false);
        return;
    case REPLICA_DO_REPAIR:
        holes_urge(w, b, shard);
        return;
    case REPLICA_DO_HALT:
        violated(w, "R12: broker %u halts shard %u: commit %llu, end %llu", b->id, shard,
                 (unsigned long long)r->commit, (unsigned long long)log_end(&r->live));
    }
    UNREACHABLE();
}
