/* Known damage strictly below the end of the log (2.9). It is no uncertainty: what this replica
 * says of its last epoch and its end stands, so elections count its report as any other. But
 * whoever is elected with holes fills them before anything else, or learns that nobody can.
 *
 * Every voter of every possible configuration is asked. All of them have promised the epoch that we
 * were granted when their answer counts, and we write nothing meanwhile: so what one of them does
 * not have it cannot get. When none has ever had the batch at the hole, it was never committed, for
 * else a majority would have synced it and all but one of these copies would be gone: the log ends
 * there. Who had it and has it no more proves nothing. */
#include "base/check.h"
#include "broker/replica/core.h"

void holes_cut(struct replica *r, uint64_t end)
{
    r->holes.end = min_u64(r->holes.end, end);
    if (r->holes.count == 0 || r->holes.begin >= end) {
        r->holes = (struct replica_holes){0};
    }
}

void holes_trim(struct replica *r, uint64_t log_start)
{
    r->holes.begin = max_u64(r->holes.begin, log_start);
    if (r->holes.count == 0 || r->holes.end <= log_start) {
        r->holes = (struct replica_holes){0};
    }
}

/* A copy that is known to be damaged is none (R9). Of what is committed already nobody counts the
 * copies any more. */
uint64_t holes_limit(const struct replica *r)
{
    bool counts = r->holes.count > 0 && r->holes.end > r->commit && !MUTANT(ACK_OVER_HOLE);
    return counts ? max_u64(r->holes.begin, r->commit) : UINT64_MAX;
}

static void add_asked(struct replica *r, const struct replica_config *config)
{
    for (uint32_t i = 0; i < config->voter_count; i++) {
        struct replica_id id = config->voter[i];
        bool known = replica_id_equal(id, r->self);
        for (uint32_t k = 0; k < r->asked_count && !known; k++) {
            known = replica_id_equal(id, r->asked[k].id);
        }
        if (!known && r->asked_count < REPLICA_VOTERS_MAX) {
            r->asked[r->asked_count++] = (struct asked_voter){.id = id};
        }
    }
}

void holes_on_grant(struct replica *r, const struct replica_input *in)
{
    r->filling = r->holes.count > 0 && !MUTANT(LEADS_WITH_HOLES);
    r->asked_count = 0;
    add_asked(r, &in->config);
    add_asked(r, &in->previous);
}

static void forget_answers(struct replica *r)
{
    for (uint32_t i = 0; i < r->asked_count; i++) {
        r->asked[i].answered = r->asked[i].gone = false;
    }
}

/* Nobody has what was in the hole, and nobody ever had: it ends the log. */
static void truncate_at_hole(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    struct log_point at;
    if (replica_point_at(r, r->holes.begin, &at) != STATUS_OK) {
        return; /* what lies before it is damaged as well: DAMAGE is on its way */
    }
    replica_truncate(r, &at, out);
    for (uint32_t i = 0; i < r->member_count; i++) {
        member_restart(&r->member[i], r->last.end);
    }
    leader_begin_epoch(r, now_ms, out);
}

/* What somebody trimmed was committed, so every leader has it, or had; we may drop it, too. */
static void trim_with(struct replica *r, uint64_t log_start, struct replica_effects *out)
{
    struct log_point point;
    if (log_start <= r->holes.begin || log_start > r->last.end ||
        replica_point_at(r, log_start, &point) != STATUS_OK) {
        return;
    }
    if (log_start > r->commit) {
        replica_commit(r, log_start, out);
    }
    replica_move_log_start(r, log_start, out);
}

static void decide(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    bool all = true, gone = false;
    for (uint32_t i = 0; i < r->asked_count; i++) {
        all = all && (r->asked[i].answered || MUTANT(TRUNCATES_UNASKED));
        gone = gone || r->asked[i].gone;
    }
    if (!all) {
        return;
    }
    if (r->asked_count == 0 || r->holes.begin < max_u64(r->commit, r->commit_hint)) {
        /* Committed, and lost everywhere: more than the fault model allows. To wait would not bring
         * it back, to cut would lose what lies above. It is never served; whoever reads there is
         * told, and so is the operator. */
        leader_begin_epoch(r, now_ms, out);
    } else if (!gone) {
        truncate_at_hole(r, now_ms, out);
    }
    /* Else it may have been committed, and is damaged on all who had it: we stop here (P7). */
}

void holes_ask(struct replica *r, uint64_t now_ms, struct replica_effects *out)
{
    if (r->asked_count == 0) {
        decide(r, now_ms, out);
        return;
    }
    r->start_retry_ms = now_ms + REPLICA_RESEND_MS;
    struct replica_effect *e = replica_emit(out, REPLICA_DO_REPAIR);
    e->epoch = r->epoch;
    e->end = r->holes.begin;
}

enum status holes_on_damage(struct replica *r, const struct replica_input *in,
                            struct replica_effects *out)
{
    if (in->holes.count > 0 && in->holes.begin >= in->holes.end) {
        return STATUS_INVALID;
    }
    uint64_t before = r->holes.begin;
    r->holes = in->holes;
    holes_cut(r, r->last.end);
    holes_trim(r, r->log_start);
    if (r->holes.count == 0 || r->holes.begin != before) {
        forget_answers(r);
    }
    if (r->role != REPLICA_LEADING) {
        follower_repaired(r, out);
    } else if (!r->filling) {
        member_wake_all(r, out); /* what could not be read may have held up an append */
    } else if (r->holes.count == 0) {
        leader_begin_epoch(r, in->now_ms, out);
    } else if (r->holes.begin != before) {
        holes_ask(r, in->now_ms, out);
    }
    return STATUS_OK;
}

/* What a voter has dropped cannot be had from it. Where it is damaged here, it is dropped here,
 * too: else it would stand before what lies above it, on every replica, until retention comes. */
static enum status drop_with(struct replica *r, const struct replica_input *in,
                             struct replica_effects *out)
{
    bool beside = r->seal_end != 0 && in->log_start >= r->seal_end;
    if (r->holes.count == 0 || !in->gone || in->log_start > r->commit || beside ||
        member_find(r, in->from) == NULL) {
        return STATUS_STALE;
    }
    uint64_t before = r->log_start;
    trim_with(r, in->log_start, out);
    leader_plan_flush(r, in->now_ms);
    return r->log_start > before ? STATUS_OK : STATUS_STALE;
}

enum status holes_on_absent(struct replica *r, const struct replica_input *in,
                            struct replica_effects *out)
{
    if (r->role == REPLICA_LEADING && r->open && !r->filling) {
        return drop_with(r, in, out);
    }
    if (r->role != REPLICA_LEADING || !r->filling || in->epoch != r->epoch ||
        in->offset != r->holes.begin) {
        return STATUS_STALE;
    }
    for (uint32_t i = 0; i < r->asked_count; i++) {
        struct asked_voter *v = &r->asked[i];
        if (!replica_id_equal(v->id, in->from)) {
            continue;
        }
        v->answered = true;
        /* Damage of another history is no trace of ours. */
        uint32_t epoch = history_epoch_below(&r->history, in->offset + 1);
        v->gone = in->gone && (in->gone_epoch == 0 || in->gone_epoch == epoch);
        trim_with(r, in->log_start, out);
        if (r->holes.count == 0) {
            leader_begin_epoch(r, in->now_ms, out);
        } else if (in->offset == r->holes.begin) {
            decide(r, in->now_ms, out);
        } else {
            forget_answers(r);
        }
        return STATUS_OK;
    }
    return STATUS_STALE;
}
