#include "broker/replica/replica.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/replica/core.h"

struct replica_effect *replica_emit(struct replica_effects *out, enum replica_effect_type type)
{
    CHECK(out->count < REPLICA_EFFECTS_MAX);
    struct replica_effect *e = &out->effect[out->count++];
    memset(e, 0, offsetof(struct replica_effect, answer)); /* the rest is set where it is used */
    e->type = type;
    return e;
}

enum status replica_point_at(const struct replica *r, uint64_t end, struct log_point *out)
{
    if (end < r->log_start || end > r->last.end) {
        return STATUS_NOT_FOUND;
    }
    if (end == r->last.end) {
        *out = r->last;
        return STATUS_OK;
    }
    if (end == 0) {
        *out = (struct log_point){0};
        return STATUS_OK;
    }
    return r->log->point_at(r->log->context, end, out);
}

void replica_truncate(struct replica *r, const struct log_point *at, struct replica_effects *out)
{
    struct replica_effect *e = replica_emit(out, REPLICA_DO_TRUNCATE);
    e->seq = MUTANT(TRUNCATE_NOT_DURABLE) ? 0 : durable_take_seq(r);
    e->end = at->end;
    e->epoch = r->epoch;
    durable_truncate(r, at->end);
    history_cut(&r->history, at->end);
    holes_cut(r, at->end);
    bool sealed = r->seal_end <= at->end || MUTANT(SEAL_OUTLIVES_CUT);
    r->seal_end = sealed ? r->seal_end : 0; /* then the shard is open again */
    r->last = *at;
    r->verified = min_u64(r->verified, at->end);
}

void replica_write(struct replica *r, const struct replica_batch *batch, uint32_t first,
                   uint32_t count, struct replica_effects *out)
{
    for (uint32_t i = 0; i < count; i++) {
        history_add(&r->history, batch[i].epoch, batch[i].base);
        if ((batch[i].flags & REPLICA_BATCH_SEAL) != 0 && r->seal_end == 0) {
            r->seal_end = batch[i].base + batch[i].count;
        }
    }
    const struct replica_batch *last = &batch[count - 1];
    r->last =
        (struct log_point){.end = last->base + last->count, .epoch = last->epoch, .crc = last->crc};
    struct replica_effect *e = replica_emit(out, REPLICA_DO_WRITE);
    e->seq = durable_take_seq(r);
    e->epoch = r->epoch;
    e->first = first;
    e->count = count;
    e->end = r->last.end;
    durable_write(r, e->seq, e->end);
}

void replica_commit(struct replica *r, uint64_t end, struct replica_effects *out)
{
    CHECK(end > r->commit);
    CHECK(end <= r->last.end);
    bool seals = r->seal_end > r->commit && r->seal_end <= end;
    r->commit = end;
    r->commit_hint = max_u64(r->commit_hint, end);
    struct replica_effect *e = replica_emit(out, REPLICA_DO_COMMIT);
    e->epoch = r->epoch;
    e->end = end;
    if (seals) {
        replica_emit(out, REPLICA_DO_SEALED)->end = r->seal_end;
    }
}

void replica_move_log_start(struct replica *r, uint64_t offset, struct replica_effects *out)
{
    r->log_start = offset;
    history_trim(&r->history, offset);
    holes_trim(r, offset);
    replica_emit(out, REPLICA_DO_LOG_START)->end = offset;
}

void replica_leave_epoch(struct replica *r, struct replica_effects *out)
{
    if (r->role == REPLICA_LEADING) {
        r->role = REPLICA_FOLLOWING;
        r->open = r->stalled = r->filling = false;
        r->heir = (struct replica_id){0};
        r->member_count = 0;
        replica_emit(out, REPLICA_DO_STEP_DOWN)->epoch = r->epoch;
    }
    r->epoch = 0;
    r->leader = (struct replica_id){0};
    r->leader_boot = r->leader_commit = r->verified = r->acked = 0;
    r->has_clear_at = r->owes_answer = false;
}

void replica_halt(struct replica *r, struct replica_effects *out)
{
    replica_leave_epoch(r, out);
    r->role = REPLICA_HALTED;
    r->report_pending = false;
    replica_emit(out, REPLICA_DO_HALT)->end = r->commit_hint;
}

static enum status copy_history(struct replica *r, const struct replica_recovered *from)
{
    enum status status = history_reserve(&r->history, from->history_count);
    for (uint32_t i = 0; status == STATUS_OK && i < from->history_count; i++) {
        history_add(&r->history, from->history[i].epoch, from->history[i].start);
    }
    return status;
}

struct replica *replica_new(const struct replica_recovered *recovered,
                            const struct replica_log *log)
{
    struct replica *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    *r = (struct replica){
        .log = log,
        .shard = recovered->shard,
        .self = recovered->self,
        .boot = recovered->boot,
        .role = REPLICA_FOLLOWING,
        /* A durable batch of an epoch implies the promise (2.3). */
        .promised = recovered->promised > recovered->last.epoch ? recovered->promised
                                                                : recovered->last.epoch,
        .last = recovered->last,
        .durable_end = recovered->last.end,
        .log_start = recovered->log_start,
        /* The hint is written lazily; what was trimmed was committed. */
        .commit =
            max_u64(min_u64(recovered->commit_hint, recovered->last.end), recovered->log_start),
        .commit_hint = recovered->commit_hint,
        .uncertain = recovered->uncertain,
        .uncertain_end = recovered->uncertain_end,
        .seal_end = recovered->seal_end <= recovered->last.end ? recovered->seal_end : 0,
        .needs_floor = recovered->uncertain && !MUTANT(NO_FLOOR),
        .holes = recovered->holes,
        .next_seq = 1,
        .flush_ms = REPLICA_NEVER,
    };
    holes_cut(r, r->last.end);
    holes_trim(r, r->log_start);
    if (copy_history(r, recovered) != STATUS_OK) {
        replica_free(r);
        return NULL;
    }
    return r;
}

void replica_free(struct replica *r)
{
    if (r != NULL) {
        durable_release(r);
        history_release(&r->history);
        free(r);
    }
}

static enum status on_synced(struct replica *r, const struct replica_input *in,
                             struct replica_effects *out)
{
    CHECK(in->seq < r->next_seq);
    if (in->seq <= r->synced_seq) {
        return STATUS_STALE;
    }
    durable_synced(r, in->seq);
    fence_synced(r, out);
    follower_synced(r, out);
    leader_synced(r, in->now_ms, out);
    return STATUS_OK;
}

static enum status dispatch(struct replica *r, const struct replica_input *in,
                            struct replica_effects *out)
{
    switch (in->type) {
    case REPLICA_FENCE:
        return fence_on_fence(r, in, out);
    case REPLICA_GRANT:
        return leader_on_grant(r, in, out);
    case REPLICA_PROPOSED:
        return leader_on_proposed(r, in, out);
    case REPLICA_SYNCED:
        return on_synced(r, in, out);
    case REPLICA_RECEIVE_APPEND:
        return follower_on_append(r, &in->append, out);
    case REPLICA_RECEIVE_ANSWER:
        return leader_on_answer(r, in, out);
    case REPLICA_PEER_UP:
        member_up(r, in->from.broker, in->boot, out);
        return STATUS_OK;
    case REPLICA_PEER_DOWN:
        member_down(r, in->from.broker);
        return STATUS_OK;
    case REPLICA_FLOOR:
        return fence_on_floor(r, in, out);
    case REPLICA_RETAIN:
        return leader_on_retain(r, in, out);
    case REPLICA_SEAL:
        return leader_on_seal(r, out);
    case REPLICA_LEARN:
        return move_on_learn(r, in, out);
    case REPLICA_HANDOVER:
        return move_on_handover(r, in, out);
    case REPLICA_DAMAGE:
        return holes_on_damage(r, in, out);
    case REPLICA_ABSENT:
        return holes_on_absent(r, in, out);
    case REPLICA_TICK:
        leader_on_tick(r, in->now_ms, out);
        return STATUS_OK;
    }
    UNREACHABLE();
}

enum status replica_step(struct replica *r, const struct replica_input *in,
                         struct replica_effects *out)
{
    out->count = 0;
    return r->role == REPLICA_HALTED ? STATUS_STALE : dispatch(r, in, out);
}

enum status replica_slot(const struct replica *r, struct replica_slot *out)
{
    if (r->role != REPLICA_LEADING) {
        return STATUS_NOT_LEADER;
    }
    if (r->stalled) {
        return STATUS_NO_QUORUM;
    }
    if (r->heir.broker != 0 || r->filling) {
        return STATUS_BUSY;
    }
    *out = (struct replica_slot){
        .base_offset = r->last.end, .epoch = r->epoch, .prev_crc = r->last.crc};
    return STATUS_OK;
}

uint64_t replica_deadline(const struct replica *r)
{
    return r->role == REPLICA_LEADING ? leader_deadline(r) : REPLICA_NEVER;
}

void replica_view(const struct replica *r, struct replica_view *out)
{
    *out = (struct replica_view){
        .role = r->role,
        .open = r->open,
        .uncertain = r->uncertain,
        .needs_floor = r->needs_floor,
        .filling = r->filling,
        .promise_is_durable = r->synced_seq >= r->promise_seq,
        .holes = r->holes,
        .epoch = r->epoch,
        .promised = r->promised,
        .cfg_ver = r->cfg_ver,
        .leader = r->leader,
        .last = r->last,
        .durable_end = r->durable_end,
        .verified_end = r->verified,
        .commit = r->commit,
        .log_start = r->log_start,
        .seal_end = r->seal_end,
        .sealed = r->seal_end != 0 && r->seal_end <= r->commit,
        .member_count = r->member_count,
    };
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *m = &r->member[i];
        out->member[i] = (struct replica_member_view){
            .id = m->id,
            .match = m->match,
            .connected = m->connected,
            .fenced = m->fenced,
            .needs_copy = m->needs_copy,
            .learner = m->learner,
        };
    }
}

const struct epoch_pair *replica_history(const struct replica *r, uint32_t *count)
{
    *count = r->history.count;
    return r->history.pair;
}
