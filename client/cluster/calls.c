/* Calls to the active controller: whoever is asked first, redirected, tried again with back-off. */
#include <string.h>

#include "client/cluster/internal.h"

static void step(struct cluster_call *call);

static void finish(struct cluster_call *call, const struct cluster_reply *reply)
{
    net_timer_stop(call->cluster->loop, &call->retry);
    net_timer_stop(call->cluster->loop, &call->deadline);
    list_remove(&call->waiter.node);
    list_remove(&call->node);
    struct buf parts = call->parts; /* `done` may free the call */
    call->parts = (struct buf){0};
    call->done(call, reply);
    buf_release(&parts);
}

static void give_up(struct cluster_call *call)
{
    enum status status = STATUS_UNAVAILABLE;
    const char *what = "no active controller answered in time";
    if (call->is_change && call->maybe) {
        status = STATUS_UNCERTAIN;
        what = "the controllers did not say in time whether it was done";
    } else if (call->ending != STATUS_OK) {
        status = call->ending;
        what = status_text(status);
    }
    const char *why = call->trouble.text;
    if (why[0] == '\0') {
        why = cluster_trouble(call->cluster);
    }
    struct error error;
    status_ignore(error_set(&error, status, why[0] == '\0' ? "%s%s" : "%s (%.180s)", what, why),
                  "it is told below");
    struct cluster_reply reply = {.status = status, .text = error.text};
    finish(call, &reply);
}

static void on_deadline(struct net_timer *timer)
{
    struct cluster_call *call = CONTAINER_OF(timer, struct cluster_call, deadline);
    if (call->asking) {
        call->finishing = true;
        session_cancel(&call->request);
    } else {
        give_up(call);
    }
}

void cluster_call_cancel(struct cluster_call *call)
{
    struct net_loop *loop = call->cluster->loop;
    call->ending = STATUS_CANCELLED;
    status_ignore(net_timer_start(loop, &call->deadline, net_now_ms(loop), on_deadline),
                  "it is started already, and only moves");
}

static void on_retry(struct net_timer *timer)
{
    step(CONTAINER_OF(timer, struct cluster_call, retry));
}

static void wait_ms(struct cluster_call *call, uint64_t ms)
{
    if (net_timer_start(call->cluster->loop, &call->retry, net_now_ms(call->cluster->loop) + ms,
                        on_retry) != STATUS_OK) {
        give_up(call);
    }
}

/* Somebody else next, after a pause that grows with each full round of failures. */
static void try_again(struct cluster_call *call)
{
    struct cluster *cluster = call->cluster;
    call->peer = controller_next(cluster, call->peer);
    uint32_t rounds = call->tries++ / (uint32_t)cluster->peer_count;
    uint64_t ms = (uint64_t)CALL_BACKOFF_MIN_MS << (rounds < 6 ? rounds : 6);
    if (ms > CALL_BACKOFF_MAX_MS) {
        ms = CALL_BACKOFF_MAX_MS;
    }
    wait_ms(call, rng_between(&cluster->rng, ms / 2, ms));
}

static void on_patience(struct net_timer *timer)
{
    try_again(CONTAINER_OF(timer, struct cluster_call, retry));
}

/* No repetition and no other controller can help. */
static bool is_final(enum status status)
{
    switch ((unsigned)status) {
    case STATUS_NOT_ACTIVE:
    case STATUS_UNAVAILABLE:
    case STATUS_UNCERTAIN:
    case STATUS_TIMEOUT:
    case STATUS_CLOSING:
    case STATUS_CANCELLED:
    case STATUS_BUSY:
    case STATUS_NO_QUORUM:
    case STATUS_IO:
        return false;
    default:
        return true;
    }
}

/* A long answer comes in parts; one after another their bytes are one message, as protobuf defines
 * it. */
NODISCARD static enum status keep_part(struct cluster_call *call, const struct session_reply *reply)
{
    if (!reply->more && call->parts.size == 0) {
        return STATUS_OK; /* the usual one, in one part */
    }
    if (reply->body.size > PARTS_BYTES_MAX - call->parts.size) {
        return STATUS_TOO_LARGE;
    }
    return buf_append(&call->parts, reply->body.data, reply->body.size);
}

/* A controller that does not answer a question in all this time is frozen or cut off, whatever its
 * connection says: whoever waits for it, the watch included, goes elsewhere. */
static void note_silence(struct cluster_call *call, enum status status)
{
    struct controller_peer *peer = call->cluster->peers[call->peer];
    if (status != STATUS_TIMEOUT) {
        return;
    }
    if (call->cluster->active_hint == peer->id) {
        call->cluster->active_hint = 0;
    }
    if (!call->is_change && peer->open) {
        session_close(peer->session, STATUS_TIMEOUT, "it does not answer");
    }
}

static void on_reply(struct session_request *request, const struct session_reply *reply)
{
    struct cluster_call *call = CONTAINER_OF(request, struct cluster_call, request);
    struct cluster *cluster = call->cluster;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        status = keep_part(call, reply);
        if (reply->more && status == STATUS_OK) {
            return;
        }
        if (reply->more) {
            session_cancel(request); /* then it is tried again */
            return;
        }
    }
    call->asking = false;
    if (is_final(status)) {
        if (status == STATUS_OK && !call->anybody) {
            cluster->active_hint = cluster->peers[call->peer]->id;
        }
        struct cluster_reply final = {
            .status = status,
            .text = reply->error.text[0] != '\0' ? reply->error.text : status_text(status),
            .body = call->parts.size > 0 ? buf_bytes(&call->parts) : reply->body};
        finish(call, &final);
        return;
    }
    call->parts.size = 0;
    note_silence(call, status);
    call->trouble = reply->error;
    if (reply->status != STATUS_NOT_ACTIVE && reply->status != STATUS_BUSY) {
        call->maybe = true;
    }
    if (call->finishing) {
        give_up(call);
        return;
    }
    uint32_t id = reply->hint != NULL ? cluster_node_id(reply->hint, "controller") : 0;
    size_t peer = controller_of_id(cluster, id);
    bool follow = reply->status == STATUS_NOT_ACTIVE && peer < cluster->peer_count &&
                  peer != call->peer && cluster->active_hint != id;
    cluster->active_hint = follow ? id : 0;
    if (follow) {
        call->peer = peer;
        wait_ms(call, 0);
    } else {
        try_again(call);
    }
}

static void ask(struct cluster_call *call)
{
    struct cluster *cluster = call->cluster;
    uint64_t now = net_now_ms(cluster->loop);
    uint64_t left = call->deadline_ms > now ? call->deadline_ms - now : 1;
    uint64_t attempt = call->is_change ? CHANGE_ATTEMPT_MS : READ_ATTEMPT_MS;
    struct session_payload payload = {.body = call->body};
    enum status status =
        session_call(cluster->peers[call->peer]->session, call->method, payload,
                     (uint32_t)(left < attempt ? left : attempt), &call->request, on_reply);
    if (status == STATUS_OK) {
        call->asking = true;
    } else if (is_final(status)) {
        struct cluster_reply reply = {.status = status, .text = status_text(status)};
        finish(call, &reply);
    } else {
        status_ignore(error_set(&call->trouble, status, "%s", status_text(status)), "kept");
        try_again(call);
    }
}

static void on_ready(struct peer_waiter *waiter, bool open)
{
    struct cluster_call *call = CONTAINER_OF(waiter, struct cluster_call, waiter);
    net_timer_stop(call->cluster->loop, &call->retry);
    if (open) {
        ask(call);
    } else {
        try_again(call);
    }
}

/* All of them refuse us, and will go on refusing. */
static bool all_refuse(const struct cluster *cluster, enum status *out)
{
    for (size_t i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i]->refused == STATUS_OK) {
            return false;
        }
    }
    *out = cluster->peers[0]->refused;
    return true;
}

/* The active controller as far as we know, else one that is connected already, else any. */
static size_t first_choice(struct cluster *cluster)
{
    size_t active = controller_of_id(cluster, cluster->active_hint);
    if (active < cluster->peer_count) {
        return active;
    }
    for (size_t i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i]->open) {
            return i;
        }
    }
    return rng_below(&cluster->rng, cluster->peer_count);
}

static void step(struct cluster_call *call)
{
    struct cluster *cluster = call->cluster;
    enum status refused;
    if (call->tries >= cluster->peer_count && all_refuse(cluster, &refused)) {
        struct cluster_reply reply = {.status = refused, .text = cluster_trouble(cluster)};
        finish(call, &reply);
        return;
    }
    list_remove(&call->waiter.node); /* its patience with the last one is over */
    if (call->tries == 0 && !call->anybody) {
        call->peer = first_choice(cluster);
    }
    if (controller_want(cluster->peers[call->peer], &call->waiter)) {
        ask(call);
        return;
    }
    if (net_timer_start(cluster->loop, &call->retry, net_now_ms(cluster->loop) + DIAL_PATIENCE_MS,
                        on_patience) != STATUS_OK) {
        give_up(call);
    }
}

enum status cluster_call(struct cluster *cluster, struct cluster_call *call, enum rpc_method method,
                         const ProtobufCMessage *body, bool is_change, uint32_t timeout_ms,
                         void (*done)(struct cluster_call *call, const struct cluster_reply *reply))
{
    if (cluster->closing) {
        return STATUS_CLOSING;
    }
    uint64_t now = net_now_ms(cluster->loop);
    *call = (struct cluster_call){.cluster = cluster,
                                  .method = method,
                                  .body = body,
                                  .done = done,
                                  .deadline_ms = now + timeout_ms,
                                  .is_change = is_change};
    call->waiter.ready = on_ready;
    list_init(&call->waiter.node);
    enum status status =
        net_timer_start(cluster->loop, &call->deadline, call->deadline_ms, on_deadline);
    if (status != STATUS_OK) {
        return status;
    }
    status = net_timer_start(cluster->loop, &call->retry, now, on_retry);
    if (status != STATUS_OK) {
        net_timer_stop(cluster->loop, &call->deadline);
        return status;
    }
    list_push(&cluster->calls, &call->node);
    return STATUS_OK;
}

void calls_close(struct cluster *cluster)
{
    LIST_FOR_EACH_SAFE (node, &cluster->calls) {
        struct cluster_call *call = CONTAINER_OF(node, struct cluster_call, node);
        call->ending = STATUS_CLOSING;
        call->finishing = true;
        if (call->asking) {
            session_cancel(&call->request);
        } else {
            give_up(call);
        }
    }
}
