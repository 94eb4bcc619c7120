/* The state machine: what each input changes, and what a shard needs next. */
#include "controller/election/election.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/election/table.h"

static enum status emit(struct election_effects *out, const struct election_effect *effect)
{
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 16 : 2 * out->capacity;
        struct election_effect *grown = realloc(out->effect, capacity * sizeof *grown);
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        out->effect = grown;
        out->capacity = capacity;
    }
    out->effect[out->count] = *effect;
    out->effect[out->count].order = out->count;
    out->count++;
    return STATUS_OK;
}

/* ------------------------------------------------------------------------- waiting */

static void wait_for(struct election *e, struct shard *s, enum waiting what, uint64_t due_ms)
{
    s->waiting = what;
    s->due_ms = due_ms;
    if (what == WAITING_NOTHING) {
        return; /* the next tick drops it from the list */
    }
    if (!s->pending) {
        s->pending = true;
        e->pending[e->pending_count++] = s;
    }
    if (due_ms < e->deadline_ms) {
        e->deadline_ms = due_ms;
    }
}

/* Keeps the running timer, or starts it: slower each time it has run out. */
static void wait_and_resend(struct election *e, struct shard *s, enum waiting what, uint64_t now_ms)
{
    if (s->waiting != what) {
        s->resend_ms = ELECTION_RESEND_MS;
    } else if (now_ms < s->due_ms) {
        return;
    } else if (2 * s->resend_ms <= ELECTION_RESEND_MAX_MS) {
        s->resend_ms *= 2;
    }
    wait_for(e, s, what, now_ms + s->resend_ms);
}

/* ----------------------------------------------------------------------- proposals */

/* A choice counts from when it is made: the shards of a lost broker are all decided before the
 * first of their rows commits. */
static void count_leader(const struct election *e, struct shard *s, uint32_t id)
{
    struct broker *old = table_broker(e, s->leader), *now = table_broker(e, id);
    if (old != NULL) {
        old->leading--;
    }
    if (now != NULL) {
        now->leading++;
    }
    s->leader = now == NULL ? 0 : id;
}

static enum status propose(struct election *e, struct shard *s, uint64_t now_ms,
                           const struct election_effect *proposal, struct election_effects *out)
{
    wait_for(e, s, WAITING_COMMIT, now_ms + ELECTION_PROPOSE_MS);
    return emit(out, proposal);
}

static enum status propose_electing(struct election *e, struct shard *s, uint64_t now_ms,
                                    struct election_effects *out)
{
    if (s->want_epoch <= s->row.epoch) {
        if (s->row.epoch == UINT32_MAX) {
            wait_for(e, s, WAITING_NOTHING, 0);
            return STATUS_OK; /* the numbers are used up: the shard stops and says so */
        }
        s->want_epoch = s->row.epoch + 1;
    }
    return propose(e, s, now_ms,
                   &(struct election_effect){.type = ELECTION_PROPOSE_ELECTING,
                                             .shard = s->row.shard,
                                             .epoch = s->want_epoch},
                   out);
}

/* R5's second half: when the best log is only in the previous configuration, nothing was committed
 * under the new one, and the epoch is led under the previous one; both stay possible (R15). */
static enum status propose_active(struct election *e, struct shard *s, const struct slot *best,
                                  uint64_t now_ms, struct election_effects *out)
{
    bool stays = config_has(&s->row.cfg, best->id);
    const struct broker *b = table_broker(e, best->id.broker);
    CHECK(b != NULL);
    count_leader(e, s, best->id.broker);
    struct election_effect active = {.type = ELECTION_PROPOSE_ACTIVE,
                                     .shard = s->row.shard,
                                     .epoch = s->row.epoch,
                                     .leader = best->id,
                                     .boot = b->boot,
                                     .cfg = stays ? s->row.cfg : s->row.prev_cfg,
                                     .prev_cfg = stays ? s->row.prev_cfg : s->row.cfg};
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slot[i].replied) {
            active.reported[active.reported_count++] = s->slot[i].id;
        }
    }
    return propose(e, s, now_ms, &active, out);
}

/* ------------------------------------------------------------ what a shard needs next */

static enum status send_fence(const struct shard *s, uint32_t broker, struct election_effects *out)
{
    return emit(out, &(struct election_effect){.type = ELECTION_FENCE,
                                               .broker = broker,
                                               .shard = s->row.shard,
                                               .epoch = s->row.epoch,
                                               .cfg = s->row.cfg,
                                               .prev_cfg = s->row.prev_cfg});
}

static enum status fence_voters(struct election *e, struct shard *s, uint64_t now_ms,
                                struct election_effects *out)
{
    bool again = s->waiting != WAITING_REPORTS || now_ms >= s->due_ms;
    wait_and_resend(e, s, WAITING_REPORTS, now_ms);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < s->slot_count && status == STATUS_OK; i++) {
        struct slot *slot = &s->slot[i];
        bool silent = (!slot->replied || slot->stale) && (again || !slot->asked);
        if (silent && reachable(e, slot->id) != NULL) {
            slot->asked = true;
            status = send_fence(s, slot->id.broker, out);
        }
    }
    return status;
}

static enum status send_grant(struct election *e, struct shard *s, uint64_t now_ms,
                              struct election_effects *out)
{
    wait_and_resend(e, s, WAITING_OPENED, now_ms);
    const struct broker *b = reachable(e, s->row.leader);
    if (b == NULL) {
        return STATUS_OK;
    }
    return emit(out, &(struct election_effect){.type = ELECTION_GRANT,
                                               .broker = b->id,
                                               .shard = s->row.shard,
                                               .epoch = s->row.epoch,
                                               .leader = s->row.leader,
                                               .boot = s->row.leader_boot,
                                               .cfg = s->row.cfg,
                                               .prev_cfg = s->row.prev_cfg});
}

/* R6: the leader is gone when its broker is, or when that process is another one now. A broker of
 * which nothing was heard since activation may well be leading. */
static bool leader_lost(const struct election *e, const struct shard *s)
{
    const struct broker *b = table_broker(e, s->row.leader.broker);
    if (b == NULL || (!b->up && !b->down)) {
        return false;
    }
    return b->down || reachable(e, s->row.leader) == NULL || b->boot != s->row.leader_boot;
}

static enum status pursue_active(struct election *e, struct shard *s, uint64_t now_ms,
                                 struct election_effects *out)
{
    if (leader_lost(e, s) || s->want_epoch > s->row.epoch) {
        return propose_electing(e, s, now_ms, out);
    }
    if (!s->opened && !(MUTANT(STABLE_TOO_EARLY) && s->row.prev_cfg.voter_count > 0)) {
        return send_grant(e, s, now_ms, out);
    }
    if (s->row.prev_cfg.voter_count > 0) {
        return propose(e, s, now_ms,
                       &(struct election_effect){.type = ELECTION_PROPOSE_STABLE,
                                                 .shard = s->row.shard,
                                                 .epoch = s->row.epoch},
                       out);
    }
    wait_for(e, s, WAITING_NOTHING, 0);
    return STATUS_OK;
}

/* The first two replies are a quorum; were the leader always one of them, the brokers that are a
 * little quicker would lead everything. So the preferred leader gets a moment to be the third; and
 * in a shard's first election everybody does, because its replicas are made by it. Longer, when
 * only their replies make a quorum without the leader that resigned. */
static bool waits_for_more(struct election *e, struct shard *s, uint64_t now_ms,
                           bool needs_resigned)
{
    uint64_t patience_ms = needs_resigned ? ELECTION_AVOID_MS : ELECTION_PATIENCE_MS;
    bool may_reply = false;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        const struct slot *slot = &s->slot[i];
        bool awaited = slot->id.broker == s->row.preferred || s->row.epoch == 1 || needs_resigned;
        bool silent = !slot->replied && slot->asked && slot->id.broker != s->avoid;
        if (awaited && silent && reachable(e, slot->id) != NULL) {
            may_reply = true;
        }
    }
    if (may_reply && s->waiting != WAITING_PREFERRED) {
        wait_for(e, s, WAITING_PREFERRED, now_ms + patience_ms);
    }
    return may_reply && now_ms < s->due_ms;
}

static enum status pursue_electing(struct election *e, struct shard *s, uint64_t now_ms,
                                   struct election_effects *out)
{
    if (s->want_epoch > s->row.epoch) {
        return propose_electing(e, s, now_ms, out);
    }
    const struct slot *best = quorum_replied(s, s->avoid) ? choose_leader(e, s, s->avoid) : NULL;
    bool needs_resigned = best == NULL && s->avoid != 0;
    if (needs_resigned && quorum_replied(s, 0)) {
        best = choose_leader(e, s, 0);
    }
    best = best == NULL ? NULL : choose_whole(e, s, best);
    if (best != NULL && !lacks_copies(s, best)) {
        return waits_for_more(e, s, now_ms, needs_resigned)
                   ? STATUS_OK
                   : propose_active(e, s, best, now_ms, out);
    }
    return fence_voters(e, s, now_ms, out);
}

/* Looks at a shard afresh: not while a proposal is under way, unless that is overdue. */
static enum status pursue(struct election *e, struct shard *s, uint64_t now_ms,
                          struct election_effects *out)
{
    if (s->waiting == WAITING_COMMIT && now_ms < s->due_ms) {
        return STATUS_OK;
    }
    switch (s->row.phase) {
    case ELECTION_IDLE:
        return propose_electing(e, s, now_ms, out);
    case ELECTION_ELECTING:
    case ELECTION_NO_QUORUM:
        return pursue_electing(e, s, now_ms, out);
    case ELECTION_ACTIVE:
        return pursue_active(e, s, now_ms, out);
    case ELECTION_SEALED:
    case ELECTION_DELETED:
        wait_for(e, s, WAITING_NOTHING, 0);
        return STATUS_OK;
    }
    UNREACHABLE();
}

/* -------------------------------------------------------------------------- inputs */

static enum status on_row(struct election *e, uint64_t now_ms, const struct election_row *row,
                          struct election_effects *out)
{
    if (row->cfg.voter_count > ELECTION_VOTERS_MAX ||
        row->prev_cfg.voter_count > ELECTION_VOTERS_MAX) {
        return STATUS_INVALID;
    }
    struct shard *s = table_find(e, row->shard);
    if (s != NULL && row->epoch < s->row.epoch) {
        return STATUS_STALE;
    }
    if (row->phase == ELECTION_DELETED) {
        if (s != NULL) {
            count_leader(e, s, 0);
            table_remove(e, s);
        }
        return STATUS_OK;
    }
    if (row->phase == ELECTION_ACTIVE && table_broker_add(e, row->leader.broker) == NULL) {
        return STATUS_NO_MEMORY;
    }
    bool fresh = s == NULL;
    if (fresh && (s = table_add(e, row->shard)) == NULL) {
        return STATUS_NO_MEMORY;
    }
    fresh = fresh || starts_afresh(&s->row, row);
    bool stable = s->row.prev_cfg.voter_count > 0 && row->prev_cfg.voter_count == 0;
    s->row = *row;
    if (row->phase == ELECTION_ACTIVE) {
        count_leader(e, s, row->leader.broker);
        s->avoid = s->heir = 0;
    } else if (fresh) {
        count_leader(e, s, 0);
    }
    if (fresh) {
        s->opened = false;
        slots_reset(s);
    }
    if (fresh || stable) { /* what was proposed has been decided */
        s->waiting = WAITING_NOTHING;
    }
    return pursue(e, s, now_ms, out);
}

/* R3: a reply counts only from the process that gave it. */
static void drop_reply(struct shard *s, uint32_t broker)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slot[i].id.broker == broker) {
            s->slot[i].replied = s->slot[i].replied && MUTANT(REPORT_WITHOUT_FENCE);
            s->slot[i].asked = false;
        }
    }
}

static bool concerns(const struct shard *s, uint32_t broker)
{
    if (s->row.phase == ELECTION_ACTIVE && s->row.leader.broker == broker) {
        return true;
    }
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (s->slot[i].id.broker == broker) {
            return s->row.phase != ELECTION_ACTIVE;
        }
    }
    return false;
}

static enum status pursue_all(struct election *e, uint64_t now_ms, uint32_t broker,
                              struct election_effects *out)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < e->shard_count; i++) {
        struct shard *s = e->shard[i];
        drop_reply(s, broker);
        if (concerns(s, broker)) {
            enum status one = pursue(e, s, now_ms, out);
            status = status == STATUS_OK ? one : status;
        }
    }
    return status;
}

static enum status on_broker_up(struct election *e, uint64_t now_ms,
                                const struct election_input *in, struct election_effects *out)
{
    struct broker *b = table_broker_add(e, in->broker);
    if (b == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (in->disk_gen == b->disk_gen && in->boot < b->boot) {
        return STATUS_STALE; /* boots of different disks are not comparable */
    }
    b->up = true;
    b->down = false;
    b->boot = in->boot;
    b->disk_gen = in->disk_gen;
    return pursue_all(e, now_ms, in->broker, out);
}

static enum status on_broker_down(struct election *e, uint64_t now_ms,
                                  const struct election_input *in, struct election_effects *out)
{
    struct broker *b = table_broker_add(e, in->broker);
    if (b == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (b->down) {
        return STATUS_OK;
    }
    b->up = false;
    b->down = true;
    return pursue_all(e, now_ms, in->broker, out);
}

/* Of use to the next choice only: what is led goes on. */
static enum status on_broker_fit(struct election *e, const struct election_input *in)
{
    struct broker *b = table_broker_add(e, in->broker);
    if (b == NULL) {
        return STATUS_NO_MEMORY;
    }
    b->unfit = in->unfit;
    return STATUS_OK;
}

/* Another history than our rows know: the controllers' state was restored from an older copy. The
 * head-room keeps the new epoch clear of numbers that brokers we cannot reach may have seen. */
static uint32_t epoch_above(uint32_t promised)
{
    if (promised <= UINT32_MAX - ELECTION_HEADROOM) {
        return promised + ELECTION_HEADROOM;
    }
    return promised < UINT32_MAX ? promised + 1 : promised;
}

static enum status on_report(struct election *e, uint64_t now_ms, const struct election_input *in,
                             struct election_effects *out)
{
    const struct election_report *r = &in->report;
    struct shard *s = table_find(e, in->shard);
    if (s == NULL) {
        return STATUS_NOT_FOUND;
    }
    if (r->replica.broker != in->broker || (!r->ok && r->promised <= r->epoch)) {
        return STATUS_INVALID;
    }
    bool electing = s->row.phase == ELECTION_ELECTING || s->row.phase == ELECTION_NO_QUORUM;
    const struct broker *b = reachable(e, r->replica);
    struct slot *slot = slot_of(s, r->replica);
    if (!electing || r->epoch != s->row.epoch || b == NULL || b->boot != r->boot || slot == NULL) {
        return STATUS_STALE;
    }
    if (!r->ok) {
        uint32_t above = epoch_above(r->promised);
        if (above > s->want_epoch) {
            s->want_epoch = above;
            s->waiting = WAITING_NOTHING; /* a smaller number may be under way: overtake it */
        }
        return pursue(e, s, now_ms, out);
    }
    *slot = (struct slot){.id = slot->id,
                          .replied = true,
                          .certain = r->certain,
                          .last_epoch = r->last_epoch,
                          .end = r->end,
                          .boot = r->boot,
                          .holes = r->holes,
                          .holes_end = r->holes_end};
    if (s->waiting == WAITING_COMMIT || !quorum_replied(s, 0)) {
        return STATUS_OK;
    }
    return pursue(e, s, now_ms, out);
}

/* OPENED and RESIGNED come from the leader that the row names, or they are late. */
static enum status find_led(struct election *e, const struct election_input *in, struct shard **out)
{
    struct shard *s = table_find(e, in->shard);
    if (s == NULL) {
        return STATUS_NOT_FOUND;
    }
    const struct election_row *row = &s->row;
    if (row->phase != ELECTION_ACTIVE || row->epoch != in->epoch ||
        row->leader.broker != in->broker || row->leader_boot != in->boot) {
        return STATUS_STALE;
    }
    *out = s;
    return STATUS_OK;
}

static enum status on_opened(struct election *e, uint64_t now_ms, const struct election_input *in,
                             struct election_effects *out)
{
    struct shard *s = NULL;
    enum status status = find_led(e, in, &s);
    if (status != STATUS_OK) {
        return status;
    }
    s->opened = true;
    return pursue(e, s, now_ms, out);
}

static enum status on_resigned(struct election *e, uint64_t now_ms, const struct election_input *in,
                               struct election_effects *out)
{
    struct shard *s = NULL;
    enum status status = find_led(e, in, &s);
    if (status != STATUS_OK) {
        return status;
    }
    if (s->row.epoch == UINT32_MAX || (in->stalled && !hears_stalled(e, s, now_ms, in->broker))) {
        return STATUS_OK;
    }
    s->avoid = in->broker;
    s->heir = in->heir;
    uint32_t want = in->promised > s->row.epoch ? epoch_above(in->promised) : s->row.epoch + 1;
    if (want > s->want_epoch) {
        s->want_epoch = want;
        s->waiting = WAITING_NOTHING;
    }
    return pursue(e, s, now_ms, out);
}

static enum status on_tick(struct election *e, uint64_t now_ms, struct election_effects *out)
{
    enum status status = STATUS_OK;
    size_t count = e->pending_count, kept = 0;
    e->deadline_ms = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        struct shard *s = e->pending[i];
        if (s->waiting != WAITING_NOTHING && s->due_ms <= now_ms) {
            enum status one = pursue(e, s, now_ms, out);
            status = status == STATUS_OK ? one : status;
        }
        if (s->waiting == WAITING_NOTHING) {
            s->pending = false;
            continue;
        }
        e->pending[kept++] = s;
        e->deadline_ms = s->due_ms < e->deadline_ms ? s->due_ms : e->deadline_ms;
    }
    e->pending_count = kept;
    return status;
}

static void reset(struct election *e, bool active)
{
    table_clear(e);
    e->active = active;
    e->deadline_ms = UINT64_MAX;
}

enum status election_step(struct election *e, uint64_t now_ms, const struct election_input *in,
                          struct election_effects *out)
{
    if (!e->active && in->type != ELECTION_ACTIVATED) {
        return STATUS_NOT_ACTIVE;
    }
    switch (in->type) {
    case ELECTION_ACTIVATED:
        reset(e, true);
        return STATUS_OK;
    case ELECTION_DEACTIVATED:
        reset(e, false);
        return STATUS_OK;
    case ELECTION_ROW:
        return on_row(e, now_ms, in->row, out);
    case ELECTION_BROKER_UP:
        return on_broker_up(e, now_ms, in, out);
    case ELECTION_BROKER_DOWN:
        return on_broker_down(e, now_ms, in, out);
    case ELECTION_REPORT:
        return on_report(e, now_ms, in, out);
    case ELECTION_OPENED:
        return on_opened(e, now_ms, in, out);
    case ELECTION_RESIGNED:
        return on_resigned(e, now_ms, in, out);
    case ELECTION_BROKER_FIT:
        return on_broker_fit(e, in);
    case ELECTION_TICK:
        return on_tick(e, now_ms, out);
    }
    UNREACHABLE();
}

uint64_t election_deadline(const struct election *e)
{
    return e->deadline_ms;
}

struct election *election_new(void)
{
    struct election *e = calloc(1, sizeof *e);
    if (e != NULL) {
        e->deadline_ms = UINT64_MAX;
    }
    return e;
}

void election_free(struct election *e)
{
    if (e != NULL) {
        table_release(e);
        free(e);
    }
}

enum status election_view(const struct election *e, uint64_t shard, struct election_view *out)
{
    const struct shard *s = table_find(e, shard);
    if (s == NULL) {
        return STATUS_NOT_FOUND;
    }
    *out = (struct election_view){
        .phase = s->row.phase, .epoch = s->row.epoch, .voters = s->slot_count, .opened = s->opened};
    for (uint32_t i = 0; i < s->slot_count; i++) {
        out->replied += s->slot[i].replied;
        out->certain += s->slot[i].replied && s->slot[i].certain;
    }
    const struct slot *best =
        out->phase == ELECTION_ELECTING && quorum_replied(s, 0) ? choose_leader(e, s, 0) : NULL;
    out->awaits_copy = best != NULL && lacks_copies(s, choose_whole(e, s, best));
    return STATUS_OK;
}
