/* What a leader knows of each other voter, and what it sends to it next. */
#include "broker/replica/core.h"

void member_init(struct member *m, struct replica_id id, uint64_t next)
{
    *m = (struct member){
        .id = id,
        .next = next,
        .state = MEMBER_PROBE,
        .waiting_ms = REPLICA_NEVER,
        .connected = true, /* until PEER_DOWN */
    };
}

void member_restart(struct member *m, uint64_t next)
{
    bool connected = m->connected, learner = m->learner;
    uint64_t up_boot = m->up_boot;
    member_init(m, m->id, next);
    m->connected = connected;
    m->up_boot = up_boot;
    m->learner = learner;
}

struct member *member_find(struct replica *r, struct replica_id id)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        if (replica_id_equal(r->member[i].id, id)) {
            return &r->member[i];
        }
    }
    return NULL;
}

bool member_is_reachable(const struct member *m)
{
    return m->connected && !m->fenced;
}

static bool window_is_open(const struct member *m)
{
    return m->bytes_sent - m->bytes_acked < REPLICA_WINDOW_BYTES;
}

bool member_has_news(const struct replica *r, const struct member *m)
{
    if (!member_is_reachable(m)) {
        return false;
    }
    if (m->state == MEMBER_PROBE) {
        return !m->probing;
    }
    return m->flush || m->greet || (m->next < r->last.end && window_is_open(m));
}

void member_wake(struct replica *r, struct member *m, struct replica_effects *out)
{
    if (!m->woken && member_has_news(r, m)) {
        m->woken = true;
        replica_emit(out, REPLICA_DO_WAKE)->to = m->id;
    }
}

void member_wake_all(struct replica *r, struct replica_effects *out)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        member_wake(r, &r->member[i], out);
    }
}

/* Nothing that is in flight counts any more. */
static void probe_from(struct member *m, uint64_t next, bool bare)
{
    m->state = MEMBER_PROBE;
    m->next = next;
    m->bare = bare;
    m->probing = m->offered = false;
    m->waiting_ms = REPLICA_NEVER;
    m->bytes_sent = m->bytes_acked = m->mark_bytes = 0;
    m->mark = next;
}

void member_up(struct replica *r, uint32_t broker, uint64_t boot, struct replica_effects *out)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->member[i];
        if (m->id.broker == broker) {
            m->connected = true;
            m->up_boot = max_u64(m->up_boot, boot);
            m->fenced = m->needs_copy = m->woken = false;
            probe_from(m, m->match > 0 ? m->match : m->next, false);
            member_wake(r, m, out);
        }
    }
}

void member_down(struct replica *r, uint32_t broker)
{
    for (uint32_t i = 0; i < r->member_count; i++) {
        struct member *m = &r->member[i];
        if (m->id.broker == broker) {
            m->connected = m->woken = false;
            probe_from(m, m->match > 0 ? m->match : m->next, false);
        }
    }
}

/* Asks, without batches, whether what was sent has arrived: a follower with a slow disk has it all
 * and need not get it twice. */
void member_timeout(struct replica *r, struct member *m, struct replica_effects *out)
{
    probe_from(m, m->next, true);
    m->woken = false;
    member_wake(r, m, out);
}

/* The window counts bytes in rounds: when the follower has passed the mark, all that was sent
 * before the mark was set is acknowledged, and the mark moves to the newest byte sent. */
static void advance_window(struct member *m)
{
    if (m->match >= m->next) {
        m->bytes_sent = m->bytes_acked = m->mark_bytes = 0;
        m->mark = m->next;
    } else if (m->match >= m->mark) {
        m->bytes_acked = m->mark_bytes;
        m->mark = m->next;
        m->mark_bytes = m->bytes_sent;
    }
}

/* A late answer, or one that nobody asked for, may confirm all that was sent while the append that
 * tells the newest commit is lost: what was heard decides whether that one is asked for again. */
static void accepted(struct member *m, const struct replica_answer *ok, uint64_t now_ms)
{
    bool progress = ok->end > m->match;
    m->match = max_u64(m->match, ok->end);
    m->heard = max_u64(m->heard, ok->heard);
    if (m->state == MEMBER_PROBE && m->probing) {
        m->state = MEMBER_STREAM;
        m->next = m->probe_end;
        m->probing = m->bare = m->needs_copy = false;
        progress = true;
    }
    m->next = max_u64(m->next, m->match);
    advance_window(m);
    if (m->match >= m->next && m->heard >= m->told_commit) {
        m->waiting_ms = REPLICA_NEVER;
    } else if (progress && m->waiting_ms != REPLICA_NEVER) {
        m->waiting_ms = now_ms;
    }
}

/* False: it refuses an append that something newer has overtaken. */
static bool refused(const struct replica *r, struct member *m, const struct replica_answer *answer)
{
    if (m->learner && answer->probed <= m->match) {
        m->match = 0; /* it was given up and made again: another one than the one that answered */
    }
    /* An append that came before the one ahead of it is refused, and what it brought is missing
     * also when that one has been acknowledged since. */
    bool in_flight =
        answer->probed > m->match || (answer->probed == m->match && m->match < m->next);
    bool relevant = m->state == MEMBER_PROBE ? m->probing && answer->probed == m->next : in_flight;
    if (!relevant || answer->probed == 0 || answer->probed > r->last.end) {
        return false;
    }
    bool guess;
    uint64_t next = search_next(r, answer, &guess);
    m->needs_copy = next < r->log_start && m->match < r->log_start;
    probe_from(m, max_u64(next, m->match), guess && next > m->match);
    return true;
}

enum status member_answered(struct replica *r, struct member *m,
                            const struct replica_answer *answer, uint64_t now_ms)
{
    bool stale = answer->boot < max_u64(m->boot, m->up_boot) && !MUTANT(STALE_SESSION_COUNTS);
    if (stale || (answer->ok && answer->end > r->last.end)) {
        return STATUS_STALE;
    }
    bool news = answer->boot > m->boot;
    if (news) {
        m->boot = answer->boot;
        m->heard = 0;
        m->match = MUTANT(STALE_SESSION_COUNTS)
                       ? m->match
                       : 0; /* it may have lost what it acknowledged (2.9): it must show it again */
    }
    /* A caught-up follower that is still uncertain has missed our greeting. */
    if (answer->uncertain &&
        (m->greeted_boot != answer->boot || (answer->ok && answer->end == r->last.end))) {
        m->greet = true;
        news = true;
    }
    m->uncertain = answer->uncertain;
    if (answer->ok) {
        accepted(m, answer, now_ms);
        return STATUS_OK;
    }
    return refused(r, m, answer) || news ? STATUS_OK : STATUS_STALE;
}

/* Where the next append to `m` starts: at our log start when the batches that it lacks are gone;
 * false when the log cannot say. */
static bool next_point(const struct replica *r, struct member *m, struct log_point *out)
{
    enum status status = m->needs_copy ? STATUS_NOT_FOUND : replica_point_at(r, m->next, out);
    if (status != STATUS_NOT_FOUND) {
        return status == STATUS_OK; /* what is damaged is repaired first; DAMAGE wakes us */
    }
    if (m->needs_copy || m->next <= r->log_start) {
        if (m->state == MEMBER_STREAM) {
            probe_from(m, m->next, false);
        }
        m->needs_copy = r->log_start > 0;
        return replica_point_at(r, r->log_start, out) == STATUS_OK;
    }
    /* Not a boundary of our log: the follower named it. Our newest epoch start below it is one. */
    struct replica_answer from = {.probed = m->next, .end = m->next};
    bool guess;
    m->next = search_next(r, &from, &guess);
    return replica_point_at(r, m->next, out) == STATUS_OK;
}

enum status replica_next_append(struct replica *r, struct replica_id to, uint64_t now_ms,
                                struct replica_append *out, uint64_t *end)
{
    (void)now_ms;
    struct member *m = r->role == REPLICA_LEADING ? member_find(r, to) : NULL;
    if (m == NULL) {
        return STATUS_NOT_FOUND;
    }
    m->woken = false;
    struct log_point prev;
    if (r->filling || !member_has_news(r, m) || !next_point(r, m, &prev)) {
        return STATUS_NOT_FOUND;
    }
    m->offered = true;
    m->offer_from = prev.end;
    m->offer_commit = r->commit;
    m->offer_log_start = r->log_start;
    m->offer_boot = m->boot;
    *out = (struct replica_append){
        .epoch = r->epoch,
        .cfg_ver = r->cfg_ver,
        .leader = r->self,
        .leader_boot = r->boot,
        .prev = prev,
        .commit = r->commit,
        .log_start = r->log_start,
        .leader_end = r->last.end,
        .to_boot = m->boot,
        .install = m->needs_copy,
    };
    *end = m->bare || m->needs_copy || !window_is_open(m) ? prev.end : r->last.end;
    return STATUS_OK;
}

void replica_sent(struct replica *r, struct replica_id to, uint64_t upto, uint64_t bytes,
                  uint64_t now_ms)
{
    struct member *m = r->role == REPLICA_LEADING ? member_find(r, to) : NULL;
    if (m == NULL || !m->offered || upto < m->offer_from || upto > r->last.end) {
        return; /* overtaken: whatever is answered will be judged by what it says */
    }
    m->offered = false;
    m->told_commit = m->offer_commit;
    m->told_log_start = m->offer_log_start;
    m->greeted_boot = m->offer_boot;
    m->flush = m->greet = false;
    m->bytes_sent += bytes;
    if (m->waiting_ms == REPLICA_NEVER) {
        m->waiting_ms = now_ms;
    }
    if (m->state == MEMBER_PROBE) {
        m->probing = true;
        m->next = m->offer_from;
        m->probe_end = upto;
    } else {
        m->next = max_u64(m->next, upto);
    }
    leader_plan_flush(r, now_ms);
}
