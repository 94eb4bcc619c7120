/* What moves replicas and leaderships: learners are fed and never counted (R14); a follower whose
 * missing range was trimmed installs a copy that begins where the leader's log does (2.8); a leader
 * that hands over takes nothing new until its heir has everything (2.9). */
#include "base/check.h"
#include "broker/replica/core.h"

/* ---- learners ---- */

static bool is_listed(const struct replica_config *list, struct replica_id id)
{
    for (uint32_t i = 0; i < list->voter_count; i++) {
        if (replica_id_equal(list->voter[i], id)) {
            return true;
        }
    }
    return false;
}

/* Little is on its way, and not for long. */
static bool is_near(const struct replica *r, const struct member *m, uint64_t now_ms)
{
    bool waits_long = m->waiting_ms != REPLICA_NEVER && now_ms >= m->waiting_ms + REPLICA_NEAR_MS;
    return m->connected && !m->fenced && !m->needs_copy && !m->uncertain && m->boot != 0 &&
           m->state == MEMBER_STREAM && !waits_long && m->next >= r->commit &&
           m->bytes_sent - m->bytes_acked <= REPLICA_NEAR_BYTES;
}

void move_learned(struct replica *r, struct member *m, uint64_t now_ms, struct replica_effects *out)
{
    if (m->learner && !m->told_near && r->open && is_near(r, m, now_ms)) {
        m->told_near = true;
        replica_emit(out, REPLICA_DO_LEARNED)->to = m->id;
    }
}

static void forget_others(struct replica *r, const struct replica_config *list)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (!r->member[i].learner || is_listed(list, r->member[i].id)) {
            r->member[kept++] = r->member[i];
        }
    }
    r->member_count = kept;
}

enum status move_on_learn(struct replica *r, const struct replica_input *in,
                          struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING) {
        return STATUS_NOT_LEADER;
    }
    if (in->epoch != r->epoch) {
        return STATUS_STALE;
    }
    if (in->config.voter_count > REPLICA_LEARNERS_MAX || is_listed(&in->config, r->self)) {
        return STATUS_INVALID;
    }
    forget_others(r, &in->config);
    for (uint32_t i = 0; i < in->config.voter_count; i++) {
        struct member *m = member_find(r, in->config.voter[i]);
        if (m == NULL) {
            CHECK(r->member_count < REPLICA_MEMBERS_MAX);
            m = &r->member[r->member_count++];
            member_init(m, in->config.voter[i], r->last.end);
            m->learner = true;
            member_wake(r, m, out);
        } else if (m->learner) {
            m->told_near = false; /* who asks may not have heard */
            move_learned(r, m, in->now_ms, out);
        }
    }
    return STATUS_OK;
}

/* ---- handing over ---- */

void move_handed(struct replica *r, struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING || r->heir.broker == 0 || r->handed) {
        return;
    }
    const struct member *m = member_find(r, r->heir);
    bool has_all = m != NULL && m->match == r->last.end && r->commit == r->last.end;
    if (has_all || (m != NULL && MUTANT(HEIR_WITHOUT_ALL))) {
        r->handed = true;
        struct replica_effect *e = replica_emit(out, REPLICA_DO_HANDED);
        e->to = r->heir;
        e->epoch = r->epoch;
    }
}

enum status move_on_handover(struct replica *r, const struct replica_input *in,
                             struct replica_effects *out)
{
    if (r->role != REPLICA_LEADING || !r->open) {
        return STATUS_NOT_LEADER;
    }
    const struct member *m = member_find(r, in->id);
    if (m == NULL || m->learner) {
        return STATUS_NOT_FOUND;
    }
    if (r->stalled || !is_near(r, m, in->now_ms)) {
        return STATUS_BUSY;
    }
    if (r->heir.broker == 0) {
        r->handover_ms = in->now_ms + REPLICA_HANDOVER_MS;
    }
    r->heir = in->id;
    r->handed = false;
    move_handed(r, out);
    return STATUS_OK;
}

/* ---- installing a copy ---- */

void move_install(struct replica *r, const struct replica_append *append,
                  struct replica_effects *out)
{
    const struct log_point *at = &append->prev;
    struct replica_effect *e = replica_emit(out, REPLICA_DO_INSTALL);
    e->seq = durable_take_seq(r);
    e->end = at->end;
    e->epoch = at->epoch;
    e->crc = at->crc;
    durable_restart(r);
    if (MUTANT(INSTALL_NOT_DURABLE)) {
        r->durable_end = at->end;
    } else {
        durable_write(r, e->seq, at->end);
    }
    history_restart(&r->history, at->epoch, at->end);
    r->seal_end = 0;
    r->holes = (struct replica_holes){0};
    r->last = *at;
    r->log_start = at->end;
    r->verified = at->end;
    replica_commit(r, at->end, out); /* what is trimmed was committed */
}
