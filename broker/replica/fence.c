/* Promises, and the reports that elections count (R2, R3, R14); the floor of lost promises (2.9).
 */
#include "broker/replica/core.h"

static bool names_self(const struct replica *r, const struct replica_config *config)
{
    for (uint32_t i = 0; i < config->voter_count; i++) {
        if (replica_id_equal(config->voter[i], r->self) ||
            (MUTANT(AMNESIAC_VOTES) && config->voter[i].broker == r->self.broker)) {
            return true;
        }
    }
    return false;
}

void fence_promise(struct replica *r, uint32_t epoch, struct replica_effects *out)
{
    replica_leave_epoch(r, out);
    r->promised = epoch;
    r->report_pending = false; /* of a lower epoch: it would promise too little */
    struct replica_effect *e = replica_emit(out, REPLICA_DO_PROMISE);
    e->epoch = epoch;
    e->seq = r->promise_seq = durable_take_seq(r);
}

static struct replica_report report_of(const struct replica *r)
{
    return (struct replica_report){
        .ok = true,
        .certain = !r->uncertain || MUTANT(CORRUPT_TAIL_COUNTS),
        .promised = r->promised,
        .last_epoch = r->last.epoch,
        .boot = r->boot,
        .end = r->last.end,
        .log_start = r->log_start,
        .commit_hint = max_u64(r->commit, r->commit_hint),
        .holes = r->holes,
    };
}

static void send_report(const struct replica_report *report, uint32_t epoch,
                        struct replica_effects *out)
{
    struct replica_effect *e = replica_emit(out, REPLICA_DO_REPORT);
    e->epoch = epoch;
    e->report = *report;
}

void fence_synced(struct replica *r, struct replica_effects *out)
{
    if (r->report_pending && (r->synced_seq >= r->report_seq || MUTANT(PROMISE_NOT_DURABLE))) {
        r->report_pending = false;
        r->report.holes = r->holes; /* whatever was found, or repaired, while it waited */
        send_report(&r->report, r->report.promised, out);
    }
}

/* As a promise, but nobody asked for it: nobody is told. */
enum status fence_on_floor(struct replica *r, const struct replica_input *in,
                           struct replica_effects *out)
{
    if (!r->needs_floor) {
        return STATUS_STALE;
    }
    r->needs_floor = false;
    if (in->epoch > r->promised && !MUTANT(FLOOR_FORGOTTEN)) {
        fence_promise(r, in->epoch, out);
    }
    return STATUS_OK;
}

enum status fence_on_fence(struct replica *r, const struct replica_input *in,
                           struct replica_effects *out)
{
    if (in->epoch == 0 || in->config.voter_count > REPLICA_VOTERS_MAX) {
        return STATUS_INVALID;
    }
    if (!names_self(r, &in->config) || r->needs_floor) {
        return STATUS_STALE;
    }
    if (in->epoch < r->promised) {
        struct replica_report refusal = report_of(r);
        refusal.ok = false;
        send_report(&refusal, in->epoch, out);
        return STATUS_OK;
    }
    if (r->role == REPLICA_LEADING && r->epoch == in->epoch) {
        return STATUS_STALE; /* a late copy: that election chose us */
    }
    if (in->epoch > r->promised) {
        fence_promise(r, in->epoch, out);
    }
    if (!r->report_pending) {
        r->report_pending = true;
        r->report = report_of(r); /* of this moment: what follows belongs to another election */
        r->report_seq = r->next_seq - 1;
    }
    fence_synced(r, out);
    return STATUS_OK;
}
