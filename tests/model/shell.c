/* A broker around its core: as broker/shard, with a disk and links that the search plays with. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/model/model.h"

const char *violation;
static char violation_text[200];

void model_violated(const char *format, ...)
{
    if (violation == NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(violation_text, sizeof violation_text, format, args);
        va_end(args);
        violation = violation_text;
    }
}

struct replica_id site_id(const struct world *w, uint32_t s)
{
    return (struct replica_id){.broker = s + 1, .disk_gen = w->site[s].disk_gen};
}

/* ---- logs and disks ---- */

static enum status log_point_at(void *context, uint64_t end, struct log_point *out)
{
    const struct log *log = context;
    if (end < log->start || end > log->end) {
        return STATUS_NOT_FOUND;
    }
    *out = (struct log_point){0};
    if (end > 0) {
        const struct entry *e = &log->entry[end - 1];
        *out = (struct log_point){.end = end, .epoch = e->epoch, .crc = e->crc};
    }
    return STATUS_OK;
}

static void log_restart(struct log *log, const struct op *op)
{
    *log = (struct log){.start = op->end, .end = op->end};
    log->entry[op->end - 1] = (struct entry){.crc = op->crc, .epoch = op->epoch};
}

static void medium_apply(struct medium *disk, const struct op *op)
{
    switch ((enum op_type)op->type) {
    case OP_PROMISE:
        disk->promised = op->epoch;
        break;
    case OP_TRUNCATE:
        disk->log.end = op->end;
        break;
    case OP_WRITE:
        disk->log.entry[op->end - 1] = op->entry;
        /* What lies behind is gone only if a TRUNCATE said so. */
        disk->log.end = disk->log.end > op->end ? disk->log.end : op->end;
        break;
    case OP_UNCERTAIN:
        disk->uncertain = op->flag;
        break;
    case OP_INSTALL:
        log_restart(&disk->log, op);
        break;
    case OP_LOG_START:
        disk->log.start = op->end;
        break;
    }
}

static struct op *add_op(struct site *site, enum op_type type, uint64_t seq)
{
    CHECK(site->op_count < MODEL_OPS);
    struct op *op = &site->op[site->op_count++];
    *op = (struct op){.type = (uint8_t)type, .seq = seq};
    return op;
}

static struct replica_recovered recovered(const struct world *w, uint32_t s,
                                          struct epoch_pair *history)
{
    const struct site *site = &w->site[s];
    const struct log *log = &site->disk.log;
    struct replica_recovered r = {.shard = 1,
                                  .self = site_id(w, s),
                                  .boot = site->boot,
                                  .promised = site->disk.promised,
                                  .log_start = log->start,
                                  .commit_hint = site->disk.commit_hint,
                                  .uncertain = site->disk.uncertain,
                                  .uncertain_end = site->disk.uncertain_end,
                                  .history = history};
    if (log->end > 0) {
        const struct entry *last = &log->entry[log->end - 1];
        r.last = (struct log_point){.end = log->end, .epoch = last->epoch, .crc = last->crc};
    }
    for (uint32_t x = log->start > 0 ? log->start - 1 : 0; x < log->end; x++) {
        const struct entry *e = &log->entry[x];
        if (r.history_count == 0 || history[r.history_count - 1].epoch != e->epoch) {
            history[r.history_count++] = (struct epoch_pair){.epoch = e->epoch, .start = x};
        }
        if ((e->flags & REPLICA_BATCH_SEAL) != 0) {
            r.seal_end = x + 1;
        }
    }
    return r;
}

/* The core's arrays move into the world, so that a world is one piece of memory. */
static void adopt(struct site *site, struct replica *core)
{
    CHECK(core->history.count <= MODEL_LOG);
    memcpy(site->history, core->history.pair, core->history.count * sizeof *site->history);
    site->core = *core;
    site->core.history.pair = site->history;
    site->core.history.capacity = MODEL_LOG;
    site->core.writes =
        (struct pending_writes){.pending = site->pending, .capacity = MODEL_PENDING};
    replica_free(core);
}

void site_recover(struct world *w, uint32_t s)
{
    struct site *site = &w->site[s];
    struct epoch_pair history[MODEL_LOG];
    struct replica_recovered r = recovered(w, s, history);
    site->live = site->disk.log;
    site->op_count = 0;
    site->log = (struct replica_log){.context = &site->live, .point_at = log_point_at};
    struct replica *core = replica_new(&r, &site->log);
    CHECK(core != NULL);
    adopt(site, core);
}

/* ---- messages ---- */

static bool same_message(const struct message *a, const struct message *b)
{
    /* Made by memset() and copied whole, so that what lies between members is equal, too. */
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c) */
    return memcmp(a, b, sizeof *a) == 0;
}

static void add_message(struct world *w, const struct message *m)
{
    if (message_is_dead(w, m)) {
        return;
    }
    for (uint32_t i = 0; i < w->message_count; i++) {
        if (same_message(&w->message[i], m)) {
            return;
        }
    }
    CHECK(w->message_count < MODEL_MESSAGES);
    w->message[w->message_count++] = *m;
}

/* The receiver has it all, and has said so: another copy changes nothing while that process lives,
 * and the next one has other connections. */
static bool append_says_nothing(const struct replica *core, const struct message *m)
{
    return core->epoch == m->epoch && core->leader_boot == m->boot && !core->uncertain &&
           core->verified >= m->prev.end + m->count && core->acked >= m->prev.end + m->count &&
           core->leader_commit >= m->commit && core->log_start >= m->log_start;
}

/* Whoever promised more for good refuses it; the refusal at most ends a leadership early. */
bool message_is_dead(const struct world *w, const struct message *m)
{
    const struct site *to = &w->site[m->to];
    if (!to->exists || to->disk_gen != m->to_gen || to->disk.promised > m->epoch) {
        return true;
    }
    const struct replica *core = &to->core;
    if (m->kind == MESSAGE_APPEND) {
        return append_says_nothing(core, m);
    }
    if (core->role != REPLICA_LEADING || core->epoch != m->epoch) {
        return core->granted >= m->epoch; /* it led that epoch, and will not again */
    }
    for (uint32_t i = 0; i < core->member_count; i++) {
        const struct member *v = &core->member[i];
        if (v->id.broker == m->from + 1u && v->id.disk_gen == m->from_gen) {
            return m->boot < v->boot || (m->ok && v->state == MEMBER_STREAM && !m->uncertain &&
                                         m->boot == v->boot && m->end <= v->match);
        }
    }
    return true;
}

/* The shell sends as many batches as it likes: here all of them, and also only the first. */
static void add_append(struct world *w, const struct message *m)
{
    add_message(w, m);
    if (m->count > 1) {
        struct message first = *m;
        memset(first.entry + 1, 0, sizeof first.entry - sizeof first.entry[0]);
        first.count = 1;
        add_message(w, &first);
    }
}

static void send_append(struct world *w, uint32_t s, struct replica_id to)
{
    struct site *site = &w->site[s];
    for (;;) {
        struct replica_append a;
        uint64_t end;
        if (replica_next_append(&site->core, to, 0, &a, &end) != STATUS_OK) {
            return;
        }
        struct message m;
        memset(&m, 0, sizeof m);
        m.kind = MESSAGE_APPEND;
        m.from = (uint8_t)s;
        m.to = (uint8_t)(to.broker - 1);
        m.from_gen = site->disk_gen;
        m.to_gen = to.disk_gen;
        m.epoch = a.epoch;
        m.cfg_ver = a.cfg_ver;
        m.boot = (uint32_t)a.leader_boot;
        m.to_boot = (uint32_t)a.to_boot;
        m.commit = (uint32_t)a.commit;
        m.log_start = (uint32_t)a.log_start;
        m.leader_end = (uint32_t)a.leader_end;
        m.install = a.install;
        m.prev = a.prev;
        for (uint64_t x = a.prev.end; x < end; x++) {
            m.entry[m.count++] = site->live.entry[x];
        }
        replica_sent(&site->core, to, end, end - a.prev.end, 0);
        add_append(w, &m);
    }
}

/* R3, R9: whatever happens to the process now, its disk has this. */
static void check_durable(const struct site *site, uint64_t end, const char *what)
{
    const struct log *disk = &site->disk.log, *live = &site->live;
    bool there = disk->end >= end;
    for (uint64_t x = live->start; there && x < end; x++) {
        there = x < disk->start || disk->entry[x].crc == live->entry[x].crc;
    }
    if (!there) {
        model_violated("%s up to %u is not on the disk", what, (uint32_t)end);
    }
}

static void check_report(const struct site *site, const struct replica_report *report)
{
    check_durable(site, report->end, "what a report tells");
    uint32_t implied =
        site->disk.log.end > 0 ? site->disk.log.entry[site->disk.log.end - 1].epoch : 0;
    if (site->disk.promised < report->promised && implied < report->promised) {
        model_violated("the promise of epoch %u is not on the disk", report->promised);
    }
}

static void send_answer(struct world *w, uint32_t s, const struct replica_effect *e)
{
    const struct replica_answer *a = &e->answer;
    struct message m;
    memset(&m, 0, sizeof m);
    m.kind = MESSAGE_ANSWER;
    m.from = (uint8_t)s;
    m.to = (uint8_t)(e->to.broker - 1);
    m.from_gen = w->site[s].disk_gen;
    m.to_gen = e->to.disk_gen;
    m.ok = a->ok;
    m.uncertain = a->uncertain;
    m.epoch = a->epoch;
    m.boot = (uint32_t)a->boot;
    m.end = (uint32_t)a->end;
    m.probed = (uint32_t)a->probed;
    CHECK(a->ok || a->history_count <= MODEL_EPOCHS);
    if (a->ok) {
        check_durable(&w->site[s], a->end, "what is acknowledged");
    }
    for (uint32_t i = 0; !a->ok && i < a->history_count; i++) {
        m.pair[m.count].epoch = a->history[i].epoch;
        m.pair[m.count++].start = a->history[i].start;
    }
    add_message(w, &m);
}

bool site_deliver(struct world *w, const struct message *m)
{
    struct replica_input in = {0};
    struct replica_batch batch[MODEL_LOG];
    in.from = (struct replica_id){.broker = m->from + 1u, .disk_gen = m->from_gen};
    if (m->kind == MESSAGE_APPEND) {
        in.type = REPLICA_RECEIVE_APPEND;
        in.append = (struct replica_append){.epoch = m->epoch,
                                            .cfg_ver = m->cfg_ver,
                                            .leader = in.from,
                                            .leader_boot = m->boot,
                                            .prev = m->prev,
                                            .commit = m->commit,
                                            .log_start = m->log_start,
                                            .leader_end = m->leader_end,
                                            .to_boot = m->to_boot,
                                            .install = m->install,
                                            .batches = batch,
                                            .batch_count = m->count};
        for (uint32_t i = 0; i < m->count; i++) {
            batch[i] = (struct replica_batch){.base = m->prev.end + i,
                                              .count = 1,
                                              .epoch = m->entry[i].epoch,
                                              .crc = m->entry[i].crc,
                                              .prev_crc = i == 0 ? m->prev.crc : batch[i - 1].crc,
                                              .bytes = 1,
                                              .flags = m->entry[i].flags};
        }
    } else {
        in.type = REPLICA_RECEIVE_ANSWER;
        in.answer.ok = m->ok;
        in.answer.uncertain = m->uncertain;
        in.answer.epoch = m->epoch;
        in.answer.boot = m->boot;
        in.answer.end = m->end;
        in.answer.heard = UINT64_MAX; /* it only matters to a timer, and time stands still */
        in.answer.probed = m->probed;
        in.answer.history_count = m->count;
        memcpy(in.answer.history, m->pair, m->count * sizeof *m->pair);
    }
    return site_step(w, m->to, &in);
}

/* ---- what must hold ---- */

/* I1 … I4: what is committed is one log for ever, and every leader has it. */
static void check_commit(struct world *w, uint32_t s, const struct replica_effect *e)
{
    const struct site *site = &w->site[s];
    bool leads = site->core.role == REPLICA_LEADING;
    for (uint32_t x = site->live.start; x < e->end; x++) {
        const struct entry *own = &site->live.entry[x];
        if (x < w->committed_count) {
            if (w->committed[x].crc != own->crc) {
                model_violated("two different records are committed at offset %u", x);
            }
            continue;
        }
        if (!leads) {
            model_violated("a follower's commit %u is above all that a leader committed",
                           (uint32_t)e->end);
            return;
        }
        if (w->seal_end != 0 && (own->flags & REPLICA_BATCH_CONTROL) == 0) {
            model_violated("a record is committed behind the SEAL");
        }
        if ((own->flags & REPLICA_BATCH_SEAL) != 0) {
            w->seal_end = x + 1;
        }
        w->committed[x] = (struct committed){
            .crc = own->crc, .epoch = own->epoch, .flags = own->flags, .by = (uint8_t)e->epoch};
        w->committed_count = x + 1;
    }
}

static void check_leader(const struct world *w, uint32_t s)
{
    const struct site *site = &w->site[s];
    for (uint32_t x = 0; x < w->committed_count; x++) {
        bool there = x < site->live.start ||
                     (x < site->live.end && site->live.entry[x].crc == w->committed[x].crc);
        if (w->committed[x].by < site->core.epoch && !there) {
            model_violated("the leader of epoch %u lacks the committed record at offset %u",
                           site->core.epoch, x);
        }
    }
}

/* ---- effects ---- */

static void write_batches(struct world *w, uint32_t s, const struct replica_effect *e,
                          const struct replica_input *in)
{
    struct site *site = &w->site[s];
    const struct replica_batch *batch =
        in->type == REPLICA_PROPOSED ? &in->batch : in->append.batches + e->first;
    CHECK(in->type == REPLICA_PROPOSED || in->append.batches != NULL);
    for (uint32_t i = 0; i < e->count; i++) {
        uint32_t x = (uint32_t)batch[i].base;
        CHECK(x < MODEL_LOG);
        struct op *op = add_op(site, OP_WRITE, i + 1 == e->count ? e->seq : 0);
        op->end = x + 1;
        op->entry = (struct entry){.crc = batch[i].crc,
                                   .epoch = (uint8_t)batch[i].epoch,
                                   .flags = (uint8_t)batch[i].flags};
        site->live.entry[x] = op->entry;
        site->live.end = x + 1;
    }
}

static void install(struct site *site, const struct replica_effect *e)
{
    struct op *op = add_op(site, OP_INSTALL, e->seq);
    op->end = (uint32_t)e->end;
    op->epoch = (uint8_t)e->epoch;
    op->crc = e->crc;
    log_restart(&site->live, op);
}

static void carry_out(struct world *w, uint32_t s, const struct replica_effect *e,
                      const struct replica_input *in)
{
    struct site *site = &w->site[s];
    switch (e->type) {
    case REPLICA_DO_PROMISE:
        add_op(site, OP_PROMISE, e->seq)->epoch = (uint8_t)e->epoch;
        break;
    case REPLICA_DO_TRUNCATE:
        if (e->seq != 0) {
            add_op(site, OP_TRUNCATE, e->seq)->end = (uint32_t)e->end;
        }
        site->live.end = (uint32_t)e->end;
        break;
    case REPLICA_DO_WRITE:
        write_batches(w, s, e, in);
        break;
    case REPLICA_DO_UNCERTAIN:
        add_op(site, OP_UNCERTAIN, e->seq)->flag = e->flag;
        break;
    case REPLICA_DO_START_EPOCH:
        CHECK(site_propose(w, s, REPLICA_BATCH_CONTROL));
        break;
    case REPLICA_DO_SEAL:
        CHECK(site_propose(w, s, REPLICA_BATCH_CONTROL | REPLICA_BATCH_SEAL));
        break;
    case REPLICA_DO_WAKE:
        send_append(w, s, e->to);
        break;
    case REPLICA_DO_ANSWER:
        send_answer(w, s, e);
        break;
    case REPLICA_DO_REPORT:
        if (e->report.ok) {
            check_report(site, &e->report);
        }
        controllers_hear(w, s, e->epoch, &e->report);
        break;
    case REPLICA_DO_COMMIT:
        check_commit(w, s, e);
        break;
    case REPLICA_DO_LEAD:
        w->opened = w->opened || e->epoch == w->row.epoch;
        break;
    case REPLICA_DO_LOG_START:
        add_op(site, OP_LOG_START, 0)->end = (uint32_t)e->end;
        site->live.start = (uint32_t)e->end;
        break;
    case REPLICA_DO_INSTALL:
        install(site, e);
        break;
    case REPLICA_DO_REPAIR: /* no holes here: the simulator has them */
        UNREACHABLE();
    case REPLICA_DO_HALT:
        model_violated("broker %u would have to give up what it knows as committed (R12)", s + 1);
        break;
    case REPLICA_DO_SEALED:
    case REPLICA_DO_STEP_DOWN:
    case REPLICA_DO_LEARNED:
    case REPLICA_DO_HANDED:
        break;
    }
}

bool site_step(struct world *w, uint32_t s, const struct replica_input *in)
{
    struct site *site = &w->site[s];
    struct replica_effects effects;
    if (!site->exists || replica_step(&site->core, in, &effects) != STATUS_OK) {
        return false;
    }
    if (in->type == REPLICA_GRANT && site->core.role == REPLICA_LEADING) {
        check_leader(w, s);
    }
    for (uint32_t i = 0; i < effects.count; i++) {
        carry_out(w, s, &effects.effect[i], in);
    }
    /* Time stands still: the core is told of a moment at which nothing waits. */
    struct replica *core = &site->core;
    for (uint32_t i = 0; i < core->member_count; i++) {
        struct member *m = &core->member[i];
        m->waiting_ms = m->waiting_ms == REPLICA_NEVER ? REPLICA_NEVER : 0;
        m->bytes_sent = m->bytes_acked = m->mark = m->mark_bytes = 0;
    }
    core->flush_ms = core->flush_ms == REPLICA_NEVER ? REPLICA_NEVER : 0;
    return true;
}

/* A record is known by what was written before it, by whom, and when. */
static uint32_t crc_of(uint32_t prev, uint32_t epoch, uint32_t boot, uint32_t flags)
{
    uint32_t crc = (prev ^ (epoch << 16 | boot << 8 | flags)) * 2654435761u;
    crc ^= crc >> 15;
    return crc == 0 ? 1 : crc;
}

bool site_propose(struct world *w, uint32_t s, uint32_t flags)
{
    struct site *site = &w->site[s];
    struct replica_slot slot;
    if (replica_slot(&site->core, &slot) != STATUS_OK) {
        return false;
    }
    struct replica_input in = {.type = REPLICA_PROPOSED};
    in.batch = (struct replica_batch){
        .base = slot.base_offset,
        .count = 1,
        .epoch = slot.epoch,
        .prev_crc = slot.prev_crc,
        .crc = crc_of(slot.prev_crc, slot.epoch, site->boot, flags),
        .bytes = 1,
        .flags = flags,
    };
    return site_step(w, s, &in);
}

/* ---- syncs and crashes ---- */

void site_sync(struct world *w, uint32_t s)
{
    struct site *site = &w->site[s];
    for (uint32_t i = 0; i < site->op_count; i++) {
        medium_apply(&site->disk, &site->op[i]);
    }
    site->op_count = 0;
    site->disk.commit_hint = (uint32_t)site->core.commit_hint;
    struct replica_input in = {.type = REPLICA_SYNCED, .seq = site->core.next_seq - 1};
    if (in.seq > site->core.synced_seq) {
        CHECK(site_step(w, s, &in));
    }
}

void site_sync_all(struct world *w)
{
    for (bool again = true; again;) {
        again = false;
        for (uint32_t s = 0; s < bounds.replicas; s++) {
            if (w->site[s].exists && w->site[s].op_count > 0) {
                site_sync(w, s);
                again = true;
            }
        }
    }
}

/* Their connections to it break, and come back. */
static void tell_others(struct world *w, uint32_t s)
{
    for (uint32_t other = 0; other < bounds.replicas; other++) {
        struct replica_input in = {.type = REPLICA_PEER_DOWN, .from = site_id(w, s)};
        if (other != s && site_step(w, other, &in)) {
            in.type = REPLICA_PEER_UP;
            site_step(w, other, &in);
        }
    }
}

void site_crash(struct world *w, uint32_t s, uint32_t kept, uint32_t damaged)
{
    struct site *site = &w->site[s];
    for (uint32_t i = 0; i < kept; i++) {
        medium_apply(&site->disk, &site->op[i]);
    }
    if (damaged > 0) {
        struct medium *disk = &site->disk;
        disk->uncertain = true;
        disk->log.end -= damaged;
        disk->uncertain_end = disk->log.end;
        disk->promised = 0; /* a promise may have been there, too */
        disk->commit_hint = disk->commit_hint < disk->log.end ? disk->commit_hint : disk->log.end;
    }
    site->boot++;
    site_recover(w, s);
    tell_others(w, s);
}

void site_replace_disk(struct world *w, uint32_t s)
{
    struct site *site = &w->site[s];
    site->disk = (struct medium){0};
    site->disk_gen++;
    site->boot++;
    site_recover(w, s);
#if !defined(WEIR_MUTANT) || \
    WEIR_MUTANT != 7 /* amnesiac-votes: an empty disk is taken for the old */
    site->exists = false;
#endif
    tell_others(w, s);
}
