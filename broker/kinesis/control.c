/* Calls to the active controller. What a client has changed, it sees: an answer waits until our
 * image has the change, and what is not in our image is asked for before it is denied. */
#include <string.h>

#include "base/check.h"
#include "broker/kinesis/internal.h"

enum { CONTROL_RETRY_MS = 50 };

/* One at a time for each request, in its arena. */
struct control {
    struct session_request call;
    struct request *r;
    enum rpc_method method;
    const ProtobufCMessage *message;
    uint32_t attempts;
    /* One of the two. */
    void (*changed)(struct request *r, const Weir__StreamReply *reply);
    void (*refreshed)(struct control *control, const struct session_reply *reply);
    const Weir__StreamReply *reply;
};

static void call(struct control *control);

/* ---- waiting ---- */

static void waited(struct net_timer *timer)
{
    struct request *r = CONTAINER_OF(timer, struct request, timer);
    list_remove(&r->waiting);
    r->step(r);
}

void request_wait(struct request *r, uint64_t version, uint64_t most_ms,
                  void (*step)(struct request *r))
{
    uint64_t now_ms = request_now_ms(r);
    uint64_t until_ms = now_ms + most_ms < r->deadline_ms ? now_ms + most_ms : r->deadline_ms;
    r->step = step;
    r->version = version;
    if (r->k->closing ||
        net_timer_start(r->k->options.loop, &r->timer, until_ms, waited) != STATUS_OK) {
        answer_status(r, r->k->closing ? STATUS_CLOSING : STATUS_NO_MEMORY, NULL);
        return;
    }
    list_push(&r->k->waiting, &r->waiting);
}

/* ---- calls ---- */

static bool may_retry(enum status status)
{
    return status == STATUS_NOT_ACTIVE || status == STATUS_UNAVAILABLE || status == STATUS_BUSY ||
           status == STATUS_TIMEOUT || status == STATUS_CLOSING || status == STATUS_UNCERTAIN ||
           status == STATUS_NO_QUORUM;
}

static void call_again(struct request *r)
{
    call(r->control);
}

static void retry_or_fail(struct control *control, enum status status, const char *text)
{
    struct request *r = control->r;
    if (may_retry(status) && request_now_ms(r) + CONTROL_RETRY_MS < r->deadline_ms) {
        request_wait(r, UINT64_MAX, CONTROL_RETRY_MS, call_again);
    } else {
        answer_status(r, may_retry(status) ? STATUS_UNAVAILABLE : status,
                      may_retry(status) ? "the controllers cannot be reached" : text);
    }
}

static void called(struct session_request *request, const struct session_reply *reply)
{
    struct control *control = CONTAINER_OF(request, struct control, call);
    struct request *r = control->r;
    if (reply->status == STATUS_NOT_FOUND && control->method == RPC_GET_METADATA) {
        request_run(r); /* the controllers do not know it either */
    } else if (reply->status != STATUS_OK) {
        retry_or_fail(control, reply->status, reply->error.text);
    } else {
        control->refreshed(control, reply);
    }
    r->running--;
    request_settle(r);
}

static void call(struct control *control)
{
    struct request *r = control->r;
    struct session *session = r->k->options.controller_session(r->k->options.context);
    control->attempts++;
    enum status status = STATUS_UNAVAILABLE;
    if (session != NULL) {
        status = session_call(session, control->method,
                              (struct session_payload){.body = control->message}, ATTEMPT_MS,
                              &control->call, called);
    }
    if (status == STATUS_OK) {
        r->running++;
    } else {
        retry_or_fail(control, status, status_text(status));
    }
}

NODISCARD static struct control *control_new(struct request *r)
{
    struct control *control = arena_take(&r->arena, sizeof(*control));
    if (control == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    control->r = r;
    r->control = control;
    return control;
}

/* ---- changes ---- */

static void change_is_here(struct request *r)
{
    r->control->changed(r, r->control->reply);
}

/* The reply's memory, from the arena: it lives as long as the request. */
static void *take(void *arena, size_t size)
{
    return arena_take(arena, size == 0 ? 1 : size);
}

static void leave(void *arena, void *memory)
{
    (void)arena;
    (void)memory;
}

static void take_reply(struct control *control, const struct session_reply *reply)
{
    struct request *r = control->r;
    ProtobufCAllocator allocator = {.alloc = take, .free = leave, .allocator_data = &r->arena};
    Weir__StreamReply *message =
        weir__stream_reply__unpack(&allocator, reply->body.size, reply->body.data);
    if (message == NULL) {
        answer_status(r, STATUS_INTERNAL, "the controllers' reply cannot be read");
        return;
    }
    control->reply = message;
    if (route_version(r->k->options.route) >= message->version) {
        change_is_here(r);
    } else {
        request_wait(r, message->version, ROUTE_WAIT_MS, change_is_here);
    }
}

void control_change(struct request *r, enum rpc_method method, const ProtobufCMessage *message,
                    void (*done)(struct request *r, const Weir__StreamReply *reply))
{
    struct control *control = control_new(r);
    if (control != NULL) {
        control->method = method;
        control->message = message;
        control->changed = done;
        control->refreshed = take_reply;
        call(control);
    }
}

ProtobufCBinaryData control_request_id(struct request *r)
{
    uint8_t *id = arena_take(&r->arena, 16);
    if (id != NULL && !random_bytes(id, 16)) {
        memset(id, 0, 16);
    }
    return (ProtobufCBinaryData){.len = id == NULL ? 0 : 16, .data = id};
}

/* ---- refreshing ---- */

static void take_metadata(struct control *control, const struct session_reply *reply)
{
    struct request *r = control->r;
    Weir__MetadataUpdate *update =
        weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
    if (update == NULL) {
        answer_status(r, STATUS_INTERNAL, "the controllers' reply cannot be read");
        return;
    }
    uint64_t version = update->version;
    weir__metadata_update__free_unpacked(update, NULL);
    if (route_version(r->k->options.route) >= version) {
        request_run(r);
    } else {
        request_wait(r, version, ROUTE_WAIT_MS, request_run);
    }
}

bool request_refresh(struct request *r, struct bytes stream)
{
    if (r->refreshed) {
        return false;
    }
    r->refreshed = true;
    Weir__GetMetadata *get = arena_take(&r->arena, sizeof(*get));
    struct bytes name = arena_copy(&r->arena, stream);
    struct control *control = get == NULL || name.data == NULL ? NULL : control_new(r);
    if (control == NULL) {
        if (get == NULL || name.data == NULL) {
            answer_status(r, STATUS_NO_MEMORY, NULL);
        }
        return true;
    }
    weir__get_metadata__init(get);
    get->stream = (char *)(uintptr_t)name.data;
    control->method = RPC_GET_METADATA;
    control->message = &get->base;
    control->refreshed = take_metadata;
    call(control);
    return true;
}
