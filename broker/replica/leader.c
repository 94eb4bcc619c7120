/* Leading an epoch: the grant, proposals, and the commit rule (R6 … R9). */
#include "base/check.h"
#include "broker/replica/core.h"

static bool is_voter(const struct replica_config *config, struct replica_id id)
{
    for (uint32_t i = 0; i < config->voter_count; i++) {
        if (replica_id_equal(config->voter[i], id)) {
            return true;
        }
    }
    return false;
}

/* A voter named twice would count twice. */
static bool is_sound(const struct replica_config *config)
{
    if (config->voter_count == 0 || config->voter_count > REPLICA_VOTERS_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < config->voter_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (replica_id_equal(config->voter[i], config->voter[j])) {
                return false;
            }
        }
    }
    return true;
}

/* R6: void unless it names this replica in this boot, and nothing higher was promised since. */
static bool may_lead(const struct replica *r, const struct replica_input *in)
{
    bool same_replica = MUTANT(AMNESIAC_VOTES) ? in->id.broker == r->self.broker
                                               : replica_id_equal(in->id, r->self);
    bool same_boot = MUTANT(LEADER_RESUMES_AFTER_RESTART) || in->boot == r->boot;
    bool voter = MUTANT(AMNESIAC_VOTES) || is_voter(&in->config, r->self);
    bool promised = in->epoch == r->promised || MUTANT(GRANT_BELOW_PROMISE);
    return same_replica && same_boot && voter && !r->needs_floor && promised &&
           in->epoch > r->granted && in->epoch != r->epoch;
}

static void start_leading(struct replica *r, const struct replica_input *in)
{
    r->role = REPLICA_LEADING;
    r->report_pending = false;
    r->epoch = r->granted = in->epoch;
    r->cfg_ver = in->config.version;
    r->leader = r->self;
    r->leader_boot = r->boot;
    r->open = r->stalled = false;
    holes_on_grant(r, in);
    r->epoch_base = r->verified = r->last.end;
    r->flush_ms = REPLICA_NEVER;
    r->progress_ms = in->now_ms;
    r->voter_count = in->config.voter_count;
    r->member_count = 0;
    r->heir = (struct replica_id){0};
    for (uint32_t i = 0; i < in->config.voter_count; i++) {
        struct replica_id id = in->config.voter[i];
        bool self =
            MUTANT(AMNESIAC_VOTES) ? id.broker == r->self.broker : replica_id_equal(id, r->self);
        if (!self) {
            member_init(&r->member[r->member_count++], id, r->last.end);
        }
    }
}

static void ask_epoch_start(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    r->start_retry_ms = now_ms + REPLICA_RESEND_MS;
    struct replica_effect *e = replica_emit(out, REPLICA_DO_START_EPOCH);
    e->epoch = r->epoch;
    e->end = r->last.end;
}

enum status leader_on_grant(struct replica *r, const struct replica_input *in,
                            struct replica_effects *out)
{
    if (in->epoch == 0 || !is_sound(&in->config)) {
        return STATUS_INVALID;
    }
    if (r->role == REPLICA_LEADING && in->epoch == r->epoch) {
        return STATUS_OK; /* repeated by a new active controller */
    }
    if (!may_lead(r, in)) {
        return STATUS_STALE;
    }
    if (r->last.end < r->commit_hint) {
        replica_halt(r, out); /* chosen although a record known as committed is gone (P7, R12) */
        return STATUS_OK;
    }
    start_leading(r, in);
    if (r->filling) {
        holes_ask(r, in->now_ms, out);
    } else {
        ask_epoch_start(r, in->now_ms, out);
    }
    return STATUS_OK;
}

void leader_begin_epoch(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    r->filling = r->stalled = false;
    r->progress_ms = now_ms;
    r->epoch_base = r->verified = r->last.end;
    ask_epoch_start(r, now_ms, out);
}

enum status leader_on_proposed(struct replica *r, const struct replica_input *in,
                               struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING) {
        return STATUS_NOT_LEADER;
    }
    const struct replica_batch *b = &in->batch;
    CHECK(b->epoch == r->epoch);
    CHECK(b->base == r->last.end);
    CHECK(b->prev_crc == r->last.crc);
    CHECK(b->count > 0);
    bool control = (b->flags & REPLICA_BATCH_CONTROL) != 0;
    if (r->seal_end != 0 && !MUTANT(WRITES_BEHIND_SEAL) &&
        (!control || (b->flags & REPLICA_BATCH_SEAL) != 0)) {
        return STATUS_SEALED;
    }
    if (durable_reserve(r) != STATUS_OK || history_reserve(&r->history, 1) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (r->commit == r->last.end || r->last.end == r->epoch_base) {
        r->progress_ms = in->now_ms; /* the first that waits */
    }
    replica_write(r, b, 0, 1, out);
    r->verified = r->last.end;
    if (MUTANT(LEADER_COUNTS_SELF_UNSYNCED)) {
        leader_synced(r, in->now_ms, out);
    }
    member_wake_all(r, out);
    return STATUS_OK;
}

enum status leader_on_retain(struct replica *r, const struct replica_input *in,
                             struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING) {
        return STATUS_NOT_LEADER;
    }
    struct log_point point;
    if (in->offset <= r->log_start) {
        return STATUS_STALE;
    }
    enum status status =
        in->offset > r->commit ? STATUS_NOT_FOUND : replica_point_at(r, in->offset, &point);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_INVALID : STATUS_BUSY; /* to be repaired first */
    }
    if (r->seal_end != 0 && in->offset >= r->seal_end) {
        return STATUS_SEALED; /* who begins behind a SEAL does not know of it, and may lead (2.12)
                               */
    }
    replica_move_log_start(r, in->offset, out);
    leader_plan_flush(r, in->now_ms);
    return STATUS_OK;
}

/* The controllers ask again until they are told that it is committed. */
enum status leader_on_seal(struct replica *r, struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING || !r->open) {
        return STATUS_NOT_LEADER;
    }
    if (r->seal_end == 0) {
        struct replica_effect *e = replica_emit(out, REPLICA_DO_SEAL);
        e->epoch = r->epoch;
        e->end = r->last.end;
    } else if (r->seal_end <= r->commit) {
        replica_emit(out, REPLICA_DO_SEALED)->end = r->seal_end;
    }
    return STATUS_OK;
}

/* Up to where a majority of the voters holds the log, durable and verified. Our own copy counts
 * only once it is synced, and is not needed (R9). */
static uint64_t majority_end(const struct replica *r)
{
    uint64_t held[REPLICA_MEMBERS_MAX + 1];
    uint32_t count = 0;
    for (uint32_t voter = 0; voter <= r->member_count; voter++) {
        if (voter < r->member_count && r->member[voter].learner && !MUTANT(LEARNER_COUNTS)) {
            continue;
        }
        uint64_t end = voter < r->member_count               ? r->member[voter].match
                       : MUTANT(LEADER_COUNTS_SELF_UNSYNCED) ? r->last.end
                                                             : r->durable_end;
        uint32_t at = count++;
        for (; at > 0 && held[at - 1] < end; at--) {
            held[at] = held[at - 1];
        }
        held[at] = end;
    }
    return held[MUTANT(LEARNER_COUNTS) ? r->voter_count / 2 : count / 2];
}

static void open_epoch(struct replica *r, struct replica_effects *out)
{
    r->open = true;
    replica_emit(out, REPLICA_DO_LEAD)->epoch = r->epoch;
    if (r->uncertain) {
        uncertain_clear(r, out); /* elected because every voter had replied (2.9) */
    }
}

static void advance_commit(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    uint64_t end = majority_end(r);
    bool own_epoch = end > r->epoch_base; /* R8: older records commit by being below ours */
    if (end <= r->commit || (!own_epoch && !MUTANT(NO_EPOCH_COMMIT_RULE))) {
        return;
    }
    r->progress_ms = now_ms;
    r->stalled = false;
    replica_commit(r, end, out);
    if (!r->open && own_epoch) {
        open_epoch(r, out);
    }
    move_handed(r, out);
    leader_plan_flush(r, now_ms);
}

void leader_synced(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    if (r->role == REPLICA_LEADING) {
        advance_commit(r, now_ms, out);
    }
}

/* A majority that promised a higher epoch will never commit anything of ours. One alone does not
 * stop us: the election may never end, and the others still answer. */
static enum status on_higher_promise(struct replica *r, struct member *m,
                                     struct replica_effects *out)
{
    if (m->fenced) {
        return STATUS_STALE;
    }
    m->fenced = true;
    m->waiting_ms = REPLICA_NEVER;
    uint32_t left = 1;
    for (uint32_t i = 0; i < r->member_count; i++) {
        left += !r->member[i].fenced && !r->member[i].learner;
    }
    if (left < r->voter_count / 2 + 1) {
        replica_leave_epoch(r, out);
    }
    return STATUS_OK;
}

enum status leader_on_answer(struct replica *r, const struct replica_input *in,
                             struct replica_effects *out)
{
    const struct replica_answer *answer = &in->answer;
    struct member *m = r->role == REPLICA_LEADING ? member_find(r, in->from) : NULL;
    if (m == NULL) {
        return STATUS_STALE;
    }
    if (answer->history_count > REPLICA_HISTORY_SENT) {
        return STATUS_INVALID;
    }
    if (!answer->ok && answer->epoch > r->epoch) {
        return on_higher_promise(r, m, out);
    }
    if (answer->epoch != r->epoch) {
        return STATUS_STALE;
    }
    enum status status = member_answered(r, m, answer, in->now_ms);
    if (status != STATUS_OK) {
        return status;
    }
    advance_commit(r, in->now_ms, out);
    move_handed(r, out);
    move_learned(r, m, in->now_ms, out);
    leader_plan_flush(r, in->now_ms);
    member_wake(r, m, out);
    return STATUS_OK;
}

static bool must_hear(const struct replica *r, const struct member *m)
{
    return member_is_reachable(m) && m->state == MEMBER_STREAM && !m->flush &&
           (m->told_commit < r->commit || m->told_log_start < r->log_start);
}

/* A commit waits a moment for an append that carries it. */
void leader_plan_flush(struct replica *r, uint64_t now_ms)
{
    bool needed = false;
    for (uint32_t i = 0; i < r->member_count; i++) {
        needed = needed || must_hear(r, &r->member[i]);
    }
    if (!needed) {
        r->flush_ms = REPLICA_NEVER;
    } else if (r->flush_ms == REPLICA_NEVER) {
        r->flush_ms = now_ms + REPLICA_COMMIT_IDLE_MS;
    }
}

static bool may_stall(const struct replica *r)
{
    bool waits = r->last.end > r->epoch_base && r->commit < r->last.end;
    return !r->stalled && (waits || r->filling);
}

static bool must_start_epoch(const struct replica *r)
{
    return r->last.end == r->epoch_base && !r->filling;
}

void leader_on_tick(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING) {
        return;
    }
    bool flush = now_ms >= r->flush_ms;
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->member[i];
        if (m->waiting_ms != REPLICA_NEVER && now_ms >= m->waiting_ms + REPLICA_RESEND_MS) {
            member_timeout(r, m, out);
        }
        if (flush && must_hear(r, m)) {
            m->flush = true;
            member_wake(r, m, out);
        }
    }
    r->flush_ms = flush ? REPLICA_NEVER : r->flush_ms;
    if (may_stall(r) && now_ms >= r->progress_ms + REPLICA_STALL_MS) {
        r->stalled = true;
    }
    if (r->heir.broker != 0 && now_ms >= r->handover_ms) {
        r->heir = (struct replica_id){0}; /* nobody came for it: we go on */
    }
    if (r->filling && now_ms >= r->start_retry_ms) {
        holes_ask(r, now_ms, out);
    } else if (must_start_epoch(r) && now_ms >= r->start_retry_ms) {
        ask_epoch_start(r, now_ms, out); /* the shell found no memory for it */
    }
}

uint64_t leader_deadline(const struct replica *r)
{
    uint64_t deadline = r->flush_ms;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (r->member[i].waiting_ms != REPLICA_NEVER) {
            deadline = min_u64(deadline, r->member[i].waiting_ms + REPLICA_RESEND_MS);
        }
    }
    if (may_stall(r)) {
        deadline = min_u64(deadline, r->progress_ms + REPLICA_STALL_MS);
    }
    if (r->heir.broker != 0) {
        deadline = min_u64(deadline, r->handover_ms);
    }
    if (must_start_epoch(r) || r->filling) {
        deadline = min_u64(deadline, r->start_retry_ms);
    }
    return deadline;
}
