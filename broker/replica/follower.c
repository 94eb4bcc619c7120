/* Following the leader of an epoch: match before accept, acknowledge only what is matched and
 * durable, never give up what is committed (R10, R11, R12). */
#include "broker/replica/core.h"

/* Whether the append is one piece of a log; it came over the network. */
static bool is_sound(const struct replica_append *a)
{
    if (a->epoch == 0 || a->prev.epoch > a->epoch || a->prev.end > a->leader_end ||
        (a->prev.end == 0 && a->prev.crc != 0) || (a->prev.end == 0) != (a->prev.epoch == 0)) {
        return false;
    }
    if (a->install && (a->batch_count > 0 || a->prev.end == 0 || a->prev.end > a->log_start ||
                       a->log_start > a->commit)) {
        return false;
    }
    struct log_point at = a->prev;
    for (uint32_t i = 0; i < a->batch_count; i++) {
        const struct replica_batch *b = &a->batches[i];
        if (b->base != at.end || b->prev_crc != at.crc || b->count == 0 || b->epoch == 0 ||
            b->epoch < at.epoch || b->epoch > a->epoch || b->base > UINT64_MAX - b->count) {
            return false;
        }
        at = (struct log_point){.end = b->base + b->count, .epoch = b->epoch, .crc = b->crc};
    }
    return at.end <= a->leader_end;
}

static uint64_t end_of(const struct replica_append *a)
{
    if (a->batch_count == 0) {
        return a->prev.end;
    }
    const struct replica_batch *last = &a->batches[a->batch_count - 1];
    return last->base + last->count;
}

/* One process leads an epoch (R6). */
static bool may_follow(const struct replica *r, const struct replica_append *a)
{
    if (a->epoch == r->granted) {
        return false; /* ours */
    }
    if (a->epoch != r->epoch) {
        return true;
    }
    return replica_id_equal(a->leader, r->leader) &&
           (a->leader_boot == r->leader_boot || MUTANT(LEADER_RESUMES_AFTER_RESTART));
}

static enum status make_room(struct replica *r, const struct replica_append *a)
{
    uint32_t epochs = a->install ? 1 : 0, newest = 0;
    for (uint32_t i = 0; i < a->batch_count; i++) {
        epochs += a->batches[i].epoch != newest;
        newest = a->batches[i].epoch;
    }
    enum status status = durable_reserve(r);
    return status == STATUS_OK ? history_reserve(&r->history, epochs) : status;
}

/* A leader's append is as good as a fence: the controllers granted its epoch after a majority had
 * promised it. */
static void follow(struct replica *r, const struct replica_append *a, struct replica_effects *out)
{
    if (a->epoch > r->promised) {
        fence_promise(r, a->epoch, out);
    }
    r->report_pending = false; /* that election is over */
    if (r->epoch != a->epoch) {
        r->epoch = a->epoch;
        r->leader = a->leader;
        r->leader_boot = a->leader_boot;
        r->leader_commit = r->verified = r->acked = 0;
        r->has_clear_at = false;
    }
    r->leader_commit = max_u64(r->leader_commit, a->commit);
    r->cfg_ver = a->cfg_ver > r->cfg_ver ? a->cfg_ver : r->cfg_ver;
}

static struct replica_answer *answer(const struct replica *r, struct replica_id to,
                                     struct replica_effects *out)
{
    struct replica_effect *e = replica_emit(out, REPLICA_DO_ANSWER);
    e->to = to;
    e->answer = (struct replica_answer){
        .uncertain = r->uncertain,
        .epoch = r->promised,
        .boot = r->boot,
        .end = r->last.end,
    };
    return &e->answer;
}

static uint64_t acknowledgeable(const struct replica *r)
{
    uint64_t verified =
        MUTANT(ACK_UNVERIFIED_SUFFIX) && r->verified > 0 ? r->last.end : r->verified;
    verified = min_u64(verified, holes_limit(r));
    return MUTANT(ACK_BEFORE_FSYNC) ? verified : min_u64(verified, r->durable_end);
}

/* Not before the promise is durable, even if the log is (2.7): a crash would let an older leader
 * cut what this counts for. */
static void acknowledge(struct replica *r, struct replica_effects *out)
{
    /* NOLINTNEXTLINE(misc-redundant-expression): without mutants all of them are the same zero */
    if (r->synced_seq < r->promise_seq && !MUTANT(ACK_BEFORE_FSYNC) &&
        !MUTANT(ACK_BEFORE_PROMISE)) {
        r->owes_answer = true;
        return;
    }
    struct replica_answer *ok = answer(r, r->leader, out);
    ok->ok = true;
    ok->epoch = r->epoch;
    ok->end = r->acked = acknowledgeable(r);
    ok->heard = r->leader_commit;
    r->owes_answer = false;
}

static void refuse(const struct replica *r, const struct replica_append *a, uint64_t probed,
                   struct replica_effects *out)
{
    struct replica_answer *no = answer(r, a->leader, out);
    no->probed = probed;
    if (probed > 0) {
        search_describe(r, probed, no);
    }
}

/* R10. What lies below our log start is committed, so every leader has it; at the log start itself
 * we may still know what was there. Where our own batch cannot be read its crc is not to be had,
 * but the history still has its epoch; and one process wrote all of an epoch (R6), so the same
 * epoch at the same offset is the same batch. To take it for another one would cut what may be
 * committed (R13). */
static bool holds(const struct replica *r, const struct log_point *point)
{
    struct log_point own;
    if (point->end < r->log_start) {
        return true;
    }
    enum status status = replica_point_at(r, point->end, &own);
    if (status == STATUS_NOT_FOUND) {
        return point->end == r->log_start;
    }
    if (status != STATUS_OK) {
        return history_epoch_below(&r->history, point->end) == point->epoch &&
               !MUTANT(DAMAGED_IS_ABSENT);
    }
    return own.epoch == point->epoch && own.crc == point->crc;
}

/* The first batch that we do not hold identically; *out_at is the point before it. */
static uint32_t first_new(const struct replica *r, const struct replica_append *a,
                          struct log_point *out_at)
{
    *out_at = a->prev;
    for (uint32_t i = 0; i < a->batch_count; i++) {
        const struct replica_batch *b = &a->batches[i];
        struct log_point at = {.end = b->base + b->count, .epoch = b->epoch, .crc = b->crc};
        if (!holds(r, &at)) {
            return i;
        }
        *out_at = at;
    }
    return a->batch_count;
}

static void learn(struct replica *r, const struct replica_append *a, struct replica_effects *out)
{
    uint64_t known = MUTANT(FOLLOWER_COMMIT_UNVERIFIED) ? r->last.end : r->verified;
    uint64_t commit = min_u64(r->leader_commit, known); /* R11 */
    if (commit > r->commit) {
        replica_commit(r, commit, out);
    }
    uint64_t sure = min_u64(r->verified, r->commit);
    if (a->log_start > r->log_start && a->log_start <= sure) {
        replica_move_log_start(r, a->log_start, out);
    }
    uncertain_received(r, a, out);
    uncertain_check(r, out);
}

/* Whether the batches may take the place of what we hold from `at` on. Not below a known commit
 * (R12); not below `verified`, for then two processes would lead one epoch; and not with an epoch
 * lower than one that stays below them (I5). */
static bool may_replace(const struct replica *r, const struct log_point *at, uint32_t epoch)
{
    uint64_t settled =
        MUTANT(LEADER_RESUMES_AFTER_RESTART) ? r->commit : max_u64(r->commit, r->verified);
    return at->end >= settled && epoch >= history_epoch_below(&r->history, at->end);
}

/* A log can only be cut behind a batch that can be read. Else that batch is repaired first: the
 * leader has it, and asks again. */
static bool may_truncate(const struct replica *r, const struct log_point *at)
{
    struct log_point own;
    enum status status = replica_point_at(r, at->end, &own);
    return status == STATUS_OK || status == STATUS_NOT_FOUND || MUTANT(DAMAGED_IS_ABSENT);
}

static void accept(struct replica *r, const struct replica_append *a, struct replica_effects *out)
{
    struct log_point at;
    uint32_t first = first_new(r, a, &at);
    if (first < a->batch_count) {
        if (!may_replace(r, &at, a->batches[first].epoch)) {
            replica_halt(r, out);
            return;
        }
        if (at.end < r->last.end && !may_truncate(r, &at)) {
            r->verified = max_u64(r->verified, at.end);
            learn(r, a, out); /* a new log start may make the repair easier, or needless */
            return;
        }
        if (at.end < r->last.end) {
            replica_truncate(r, &at, out);
        }
        replica_write(r, &a->batches[first], first, a->batch_count - first, out);
    }
    r->verified = max_u64(r->verified, max_u64(end_of(a), r->log_start));
    learn(r, a, out);
    if (first == a->batch_count || MUTANT(ACK_BEFORE_FSYNC)) {
        acknowledge(r, out); /* else the sync does */
    }
}

enum status follower_on_append(struct replica *r, const struct replica_append *a,
                               struct replica_effects *out)
{
    if (!is_sound(a)) {
        return STATUS_INVALID;
    }
    if (r->needs_floor) {
        return STATUS_STALE;
    }
    if (a->epoch < r->promised && !MUTANT(FOLLOWS_BELOW_PROMISE)) {
        refuse(r, a, 0, out);
        return STATUS_OK;
    }
    if (!may_follow(r, a)) {
        return STATUS_STALE;
    }
    if (make_room(r, a) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    follow(r, a, out);
    uncertain_greeted(r, a);
    if (holds(r, &a->prev)) {
        accept(r, a, out);
    } else if (a->install && a->prev.end > r->commit) {
        move_install(r, a, out);
        accept(r, a, out);
    } else if (a->prev.end <= r->commit) {
        replica_halt(r, out); /* R12 */
    } else {
        refuse(r, a, a->prev.end, out);
    }
    return STATUS_OK;
}

void follower_synced(struct replica *r, struct replica_effects *out)
{
    if (r->role != REPLICA_FOLLOWING || r->epoch == 0) {
        return;
    }
    uncertain_check(r, out);
    if (r->owes_answer || acknowledgeable(r) > r->acked) {
        acknowledge(r, out);
    }
}

void follower_repaired(struct replica *r, struct replica_effects *out)
{
    if (r->role == REPLICA_FOLLOWING && r->epoch != 0 && acknowledgeable(r) > r->acked) {
        acknowledge(r, out);
    }
}
