/* WATCH and GET_METADATA: the image and its changes, to whoever asks. */
#include <stdlib.h>

#include "controller/rpc/internal.h"

/* A WATCH call that stays. */
struct watcher {
    struct list node;
    struct controller *controller;
    struct session_call *call;
    uint64_t version;     /* what it has */
    uint64_t since_ms;    /* when it came */
    uint32_t active_told; /* the active controller that it was told */
    bool told;            /* it has got something from us */
};

static enum status emit_more(void *context, const Weir__MetadataUpdate *update)
{
    return session_reply_more(context, (struct session_payload){.body = &update->base});
}

static void watcher_free(struct watcher *watcher)
{
    list_remove(&watcher->node);
    free(watcher);
}

static void watcher_end(struct watcher *watcher, enum status status, const char *why)
{
    session_reply_error(watcher->call, status, NULL, "%s", why);
    watcher_free(watcher);
}

static void watch_cancelled(struct session_call *call)
{
    watcher_end(call->data, STATUS_CANCELLED, "the watch was given up");
}

static void ahead_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, ahead_timer);
    c->image_changed = true;
    controller_wake(c);
}

/* A watcher that has been told more by another controller than we have applied waits for us, so
 * that its image never goes back; unless it knows versions that do not come, after a restore of the
 * controllers from an old copy. */
static bool must_wait(struct controller *c, const struct watcher *watcher)
{
    if (watcher->told || watcher->version <= watch_version(c->watch)) {
        return false;
    }
    uint64_t until = watcher->since_ms + WATCH_AHEAD_MS;
    if (controller_now(c) >= until) {
        return false;
    }
    if (c->ahead_timer.heap_index == 0 || c->ahead_timer.at_ms > until) {
        status_ignore(net_timer_start(c->options.loop, &c->ahead_timer, until, ahead_fired),
                      "the next change tells it");
    }
    return true;
}

static void watcher_update(struct controller *c, struct watcher *watcher)
{
    uint64_t version = watch_version(c->watch);
    uint32_t active = c->active ? c->options.id : c->leader;
    if (must_wait(c, watcher) ||
        (watcher->told && watcher->version == version && watcher->active_told == active)) {
        return;
    }
    struct watch_request request = {.from_version = watcher->version, .time_ms = net_wall_ms()};
    enum status status = watch_emit(c->watch, &request, emit_more, watcher->call);
    if (status != STATUS_OK) {
        watcher_end(watcher, status,
                    status == STATUS_BUSY ? "the watcher does not read: watch again"
                                          : status_text(status));
        return;
    }
    watcher->version = version;
    watcher->active_told = active;
    watcher->told = true;
}

void watchers_flush(struct controller *c)
{
    c->image_changed = false;
    LIST_FOR_EACH_SAFE (node, &c->watchers) {
        watcher_update(c, CONTAINER_OF(node, struct watcher, node));
    }
}

bool watchers_are_told(const struct controller *c)
{
    LIST_FOR_EACH (node, &c->watchers) {
        const struct watcher *watcher = CONTAINER_OF(node, struct watcher, node);
        if (watcher->call->caller.role == RPC_ROLE_BROKER &&
            watcher->version != watch_version(c->watch)) {
            return false;
        }
    }
    return true;
}

void watchers_close(struct controller *c)
{
    LIST_FOR_EACH_SAFE (node, &c->watchers) {
        watcher_end(CONTAINER_OF(node, struct watcher, node), STATUS_CLOSING,
                    "the controller is closing");
    }
}

void handle_watch(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__Watch *in = weir__watch__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    struct watcher *watcher = calloc(1, sizeof(*watcher));
    if (watcher == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
    } else {
        watcher->controller = c;
        watcher->call = call;
        watcher->version = in->from_version;
        watcher->since_ms = controller_now(c);
        call->data = watcher;
        call->cancelled = watch_cancelled;
        list_push(&c->watchers, &watcher->node);
        c->image_changed = true;
        controller_wake(c);
    }
    weir__watch__free_unpacked(in, NULL);
}

/* ---- one image
 * ------------------------------------------------------------------------------------- */

/* A GET_METADATA that waits until what it reads is known to be current. */
struct read {
    struct raft_node_request request;
    struct controller *controller;
    struct session_call *call;
    Weir__GetMetadata *in;
};

/* The last part ends the call. */
static enum status emit_image(void *context, const Weir__MetadataUpdate *update)
{
    struct session_payload payload = {.body = &update->base};
    if (update->partial) {
        return session_reply_more(context, payload);
    }
    session_reply(context, payload);
    return STATUS_OK;
}

static void reply_image(struct controller *c, struct session_call *call, const char *stream)
{
    struct watch_request request = {.stream = stream[0] == '\0' ? NULL : stream,
                                    .time_ms = net_wall_ms()};
    enum status status = watch_emit(c->watch, &request, emit_image, call);
    if (status == STATUS_NOT_FOUND) {
        session_reply_error(call, status, NULL, "there is no stream %.128s", stream);
    } else if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "%s", status_text(status));
    }
}

static void read_free(struct read *read)
{
    weir__get_metadata__free_unpacked(read->in, NULL);
    free(read);
}

static void read_done(struct raft_node_request *request, enum status status)
{
    struct read *read = CONTAINER_OF(request, struct read, request);
    if (status == STATUS_OK) {
        reply_image(read->controller, read->call, read->in->stream);
    } else if (status == STATUS_NOT_ACTIVE) {
        reply_not_active(read->controller, read->call);
    } else {
        session_reply_error(read->call, status, NULL, "%s", status_text(status));
    }
    read_free(read);
}

void handle_get_metadata(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__GetMetadata *in = weir__get_metadata__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->stale_ok || !c->active) {
        if (in->stale_ok) {
            reply_image(c, call, in->stream);
        } else {
            reply_not_active(c, call);
        }
        weir__get_metadata__free_unpacked(in, NULL);
        return;
    }
    struct read *read = calloc(1, sizeof(*read));
    enum status status = read == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    if (read != NULL) {
        *read = (struct read){.controller = c, .call = call, .in = in};
        status = raft_node_read_barrier(c->raft, &read->request, read_done);
    }
    if (status == STATUS_OK) {
        return;
    }
    if (status == STATUS_NOT_ACTIVE) {
        reply_not_active(c, call);
    } else {
        session_reply_error(call, status, NULL, "%s", status_text(status));
    }
    weir__get_metadata__free_unpacked(in, NULL);
    free(read);
}
