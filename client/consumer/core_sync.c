/* The core's side of the controllers: renewals, and checkpoints. */
#include "client/consumer/core_internal.h"

/* ---- syncs ------------------------------------------------------------------------------------
 */

bool core_holds(const struct core_lease *lease)
{
    return lease->phase == CORE_RUNNING || lease->phase == CORE_DRAINING;
}

void core_sync_sent(struct core *core, uint64_t now)
{
    core->syncing = true;
    core->sync_again = false;
    core->leave_sent = core->leaving;
    core->sync_sent_ms = now;
    LIST_FOR_EACH (node, &core->leases) {
        struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        lease->named |= lease->phase == CORE_RELEASED;
    }
}

bool core_assigned(struct core *core, struct core_lease *lease, uint64_t shard, uint64_t counter,
                   struct mark checkpoint, uint64_t now)
{
    if (core->stopping || core->failed != STATUS_OK) {
        return false;
    }
    LIST_FOR_EACH (node, &core->leases) {
        if (CONTAINER_OF(node, struct core_lease, node)->shard == shard) {
            return false;
        }
    }
    *lease = (struct core_lease){.shard = shard,
                                 .counter = counter,
                                 .stored = checkpoint,
                                 .delivered = checkpoint,
                                 .wanted = checkpoint,
                                 .start = checkpoint,
                                 .from = checkpoint,
                                 .checkpointed_ms = now,
                                 .rate_ms = now};
    list_init(&lease->dirty);
    list_init(&lease->batches);
    list_init(&lease->dropped);
    list_init(&lease->requests);
    list_init(&lease->answered);
    list_push(&core->leases, &lease->node);
    core->lease_count++;
    core->sync_again = true; /* to say that it has come */
    core_touch(core, lease);
    return true;
}

void core_assigned_pending(struct core_lease *lease, struct mark pending)
{
    lease->pending = pending;
    lease->has_pending = mark_compare(pending, lease->stored) > 0;
}

static struct core_lease *find_counter(struct core *core, uint64_t counter)
{
    LIST_FOR_EACH (node, &core->leases) {
        struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        if (lease->counter == counter) {
            return lease;
        }
    }
    return NULL;
}

void core_lost(struct core *core, uint64_t counter)
{
    struct core_lease *lease = find_counter(core, counter);
    if (lease != NULL && lease->phase != CORE_RELEASED) {
        core_lose(core, lease);
    }
}

void core_hand_over(struct core *core, uint64_t counter, uint64_t now)
{
    struct core_lease *lease = find_counter(core, counter);
    if (lease != NULL) {
        core_drain(core, lease, now);
    }
}

static void touch_all(struct core *core)
{
    LIST_FOR_EACH (node, &core->leases) {
        core_touch(core, CONTAINER_OF(node, struct core_lease, node));
    }
}

void core_synced(struct core *core, uint64_t now, uint64_t term_ms, uint64_t next_ms)
{
    core->syncing = false;
    core->sync_failures = 0;
    core->joined = true;
    core->left = core->leave_sent;
    core->term_ms = term_ms;
    core->sure_until_ms = core->sync_sent_ms + term_ms;
    core->sync_at_ms = core->sync_sent_ms + next_ms;
    if (core->left) {
        LIST_FOR_EACH (node, &core->leases) {
            struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
            if (lease->phase != CORE_RELEASED) {
                core_lose(core, lease); /* its time was up */
            }
        }
    }
    (void)now;
    touch_all(core);
}

/* The controllers do not know us any more. */
static void expired(struct core *core, uint64_t now)
{
    core->joined = false;
    core->sure_until_ms = 0;
    core->left = core->stopping;
    core->sync_at_ms = now; /* joins again */
    LIST_FOR_EACH (node, &core->leases) {
        struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        if (lease->phase != CORE_RELEASED) {
            core_lose(core, lease);
        }
    }
}

static bool is_final(const struct core *core, enum status status)
{
    switch ((unsigned)status) {
    case STATUS_FENCED:
    case STATUS_INVALID:
    case STATUS_DENIED:
    case STATUS_UNSUPPORTED:
    case STATUS_WRONG_CLUSTER:
    case STATUS_WRONG_IDENTITY:
    case STATUS_CLOSING:
        return true;
    case STATUS_NOT_FOUND:
    case STATUS_LIMIT:
        return !core->joined;
    default:
        return false;
    }
}

/* Nobody may have heard what was released; or it does not matter any more. */
static void unname(struct core *core, bool say_it_again)
{
    LIST_FOR_EACH (node, &core->leases) {
        struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        lease->named = lease->phase == CORE_RELEASED && !say_it_again;
    }
}

void core_sync_failed(struct core *core, uint64_t now, enum status status, const char *text)
{
    core->syncing = false;
    unname(core, status != STATUS_EXPIRED && !(core->leaving && now >= core->stop_by_ms));
    if (status == STATUS_EXPIRED) {
        expired(core, now);
    } else if (is_final(core, status)) {
        core_fail(core, status, text);
    } else if (core->leaving && now >= core->stop_by_ms) {
        core->left = true; /* nobody heard it: they will notice */
        LIST_FOR_EACH (node, &core->leases) {
            struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
            if (lease->phase != CORE_RELEASED) {
                core_lose(core, lease);
            }
        }
    } else {
        core->sync_at_ms = now + core_backoff(core->sync_failures++, SYNC_RETRY_MAX_MS);
    }
    touch_all(core);
}

void core_stop(struct core *core, uint64_t now, uint64_t by_ms)
{
    if (!core->stopping) {
        core->stopping = true;
        core->stop_by_ms = by_ms;
        core->sync_again |= core->joined;
        LIST_FOR_EACH (node, &core->leases) {
            core_drain(core, CONTAINER_OF(node, struct core_lease, node), now);
        }
        if (!core->joined && !core->syncing) {
            core->leaving = core->left = true; /* it never came in: there is nobody to tell */
        }
    }
}

void core_fail(struct core *core, enum status status, const char *text)
{
    if (core->failed == STATUS_OK) {
        core->failed = status;
        core->failed_text = text;
        LIST_FOR_EACH (node, &core->leases) {
            struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
            lease->named = true;
            core_lose(core, lease);
        }
        touch_all(core);
    }
}

/* ---- checkpoints ------------------------------------------------------------------------------
 */

static void answer(struct core_lease *lease, struct core_request *request, enum status status,
                   const char *text)
{
    request->status = status;
    request->text = text;
    list_push(&lease->answered, &request->node);
}

void core_answer(struct core_lease *lease, struct mark mark, enum status status, const char *text)
{
    bool all = mark.kind == MARK_END && mark.sub != 0;
    LIST_FOR_EACH_SAFE (node, &lease->requests) {
        struct core_request *request = CONTAINER_OF(node, struct core_request, node);
        if (all || (!request->prepare && mark_compare(request->mark, mark) <= 0)) {
            list_remove(&request->node);
            answer(lease, request, status, text);
        }
    }
}

void core_want(struct core_lease *lease, struct mark mark, uint64_t due)
{
    bool wanted = mark_compare(lease->wanted, lease->stored) > 0;
    if (mark_compare(mark, lease->wanted) > 0) {
        lease->wanted = mark;
    }
    if (!wanted || due < lease->due_ms) {
        lease->due_ms = due;
    }
}

/* Those who prepared `mark`. */
static void answer_prepared(struct core_lease *lease, struct mark mark, enum status status,
                            const char *text)
{
    LIST_FOR_EACH_SAFE (node, &lease->requests) {
        struct core_request *request = CONTAINER_OF(node, struct core_request, node);
        if (request->prepare && mark_compare(request->mark, mark) == 0) {
            list_remove(&request->node);
            answer(lease, request, status, text);
        }
    }
}

/* What is wrong with it; NULL: nothing. */
static const char *judge(const struct core *core, const struct core_lease *lease,
                         const struct core_request *request)
{
    struct mark most = lease->told_end ? mark_end() : lease->delivered;
    if (request->commit && !lease->prepared) {
        return "nothing is prepared that could be committed";
    }
    if (request->prepare && core->options.automatic) {
        return "a worker that checkpoints by itself would commit what is only prepared: set "
               "checkpoint_self";
    }
    if (mark_compare(request->mark, most) > 0) {
        return request->mark.kind == MARK_END
                   ? "the shard has not ended: its end can be checkpointed once `ended` was called"
                   : "a checkpoint cannot be beyond what the processor was given";
    }
    return mark_compare(request->mark, lease->stored) < 0 ? "a checkpoint cannot go back" : NULL;
}

void core_checkpoint(struct core *core, struct core_lease *lease, struct core_request *request,
                     uint64_t now)
{
    if (request->commit) {
        request->mark = lease->pending;
    } else if (request->last) {
        request->mark = lease->told_end ? mark_end() : lease->delivered;
    }
    const char *wrong = judge(core, lease, request);
    if (lease->phase == CORE_LOST || lease->phase == CORE_RELEASED) {
        answer(lease, request, STATUS_FENCED, "the lease of the shard is lost");
    } else if (lease->restart) {
        answer(lease, request, STATUS_CANCELLED,
               "the shard begins again at its checkpoint, after a failure");
    } else if (wrong != NULL) {
        answer(lease, request, STATUS_INVALID, wrong);
    } else if (request->prepare) {
        if (lease->to_prepare && mark_compare(request->mark, lease->preparing) != 0) {
            answer_prepared(lease, lease->preparing, STATUS_CANCELLED,
                            "another checkpoint was prepared meanwhile"); /* before it was sent */
        }
        list_push(&lease->requests, &request->node);
        lease->preparing = request->mark;
        lease->to_prepare = true;
    } else if (mark_compare(request->mark, lease->stored) == 0) {
        answer(lease, request, STATUS_OK, "");
    } else {
        list_push(&lease->requests, &request->node);
        core_want(lease, request->mark, now);
    }
    core_touch(core, lease);
}

bool core_next_checkpoint(struct core_lease *lease, uint64_t now)
{
    if (lease->sending || lease->phase > CORE_DRAINING) {
        return false;
    }
    bool wants = now >= lease->due_ms && mark_compare(lease->wanted, lease->stored) > 0;
    if (!lease->to_prepare && !wants) {
        return false;
    }
    lease->sending = true;
    lease->sending_prepare = lease->to_prepare;
    lease->sent = lease->to_prepare ? lease->preparing : lease->wanted;
    lease->to_prepare = false;
    return true;
}

static const char *refusal(enum status status)
{
    return status == STATUS_UNCERTAIN ? "the controllers did not say in time whether it is stored"
           : status == STATUS_UNAVAILABLE ? "no active controller answered in time"
                                          : status_text(status);
}

/* A pending one is not sent again by itself: who prepares waits for it. */
static void prepared(struct core_lease *lease, enum status status)
{
    if (status == STATUS_OK) {
        lease->pending = lease->sent;
        lease->has_pending = mark_compare(lease->sent, lease->stored) > 0;
        lease->prepared = !lease->restart;
    }
    answer_prepared(lease, lease->sent, status, status == STATUS_OK ? "" : refusal(status));
}

static void stored(struct core *core, struct core_lease *lease)
{
    lease->stored = lease->sent;
    lease->has_pending = lease->prepared = false; /* the controllers have forgotten it */
    core_answer(lease, lease->sent, STATUS_OK, "");
    if (lease->sent.kind == MARK_END) {
        lease->phase = CORE_FINISHED;
        core->sync_again = true;
    }
}

void core_checkpointed(struct core *core, struct core_lease *lease, enum status status,
                       uint64_t now)
{
    CHECK(lease->sending);
    lease->sending = false;
    core_touch(core, lease);
    if (lease->phase > CORE_DRAINING) {
        return; /* everybody who waited was told */
    }
    if (status == STATUS_FENCED || status == STATUS_EXPIRED) {
        core_lose(core, lease);
        core->sync_again = true;
        return;
    }
    if (lease->sending_prepare) {
        prepared(lease, status);
        return;
    }
    lease->checkpointed_ms = now;
    if (status == STATUS_OK) {
        stored(core, lease);
    } else {
        core_answer(lease, lease->sent, status, refusal(status));
        if (status == STATUS_INVALID) { /* it will never be taken */
            lease->wanted = lease->stored;
        } else {
            lease->due_ms = now + CHECKPOINT_RETRY_MS;
        }
    }
}
