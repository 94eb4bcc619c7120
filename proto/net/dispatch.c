/* What comes in: frames to calls, replies, cancellations and messages; and the replies to calls. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/net/session.h"
#include "proto/schema/common.pb-c.h"

static struct incoming *incoming_of(struct session_call *call)
{
    return CONTAINER_OF(call, struct incoming, call);
}

/* ---- replies to the calls of others ---- */

static void note_answer(const struct session_call *call, const struct incoming *incoming, bool ok)
{
    if (call->session == NULL || (unsigned)call->method >= NET_METHODS_MAX) {
        return; /* nobody waits for it any more */
    }
    struct net_stats *stats = &call->session->options.loop->stats;
    stats->method[call->method].calls++;
    stats->method[call->method].failed += ok ? 0 : 1;
    histogram_note(&stats->method[call->method].answered, net_clock_us() - incoming->came_us);
}

/* A reply is owed, so it is queued beyond the limit of what may be refused; but not without end. */
static enum status put_reply(struct session *session, struct frame_header *h,
                             struct session_payload payload)
{
    if (conn_queued(&session->conn) / REPLIES_QUEUE_MAX_FACTOR > SESSION_QUEUE_MAX) {
        session_close(session, STATUS_BUSY, "it calls, but does not read its replies");
        return STATUS_UNAVAILABLE;
    }
    return session_put_frame(session, h, payload);
}

void session_put_error(struct session *session, uint64_t call, unsigned method, enum status status,
                       const char *hint, const char *text)
{
    char text_copy[ERROR_TEXT_BYTES], hint_copy[NODE_NAME_BYTES]; /* protobuf-c has no const */
    Weir__ErrorReply reply;
    weir__error_reply__init(&reply);
    (void)snprintf(text_copy, sizeof(text_copy), "%s", text);
    (void)snprintf(hint_copy, sizeof(hint_copy), "%s", hint == NULL ? "" : hint);
    reply.text = text_copy;
    reply.hint = hint_copy;
    struct frame_header h = {
        .kind = FRAME_REPLY,
        .call = call,
        .method = (uint16_t)method,
        .status = (uint16_t)status,
    };
    enum status put = put_reply(session, &h, (struct session_payload){.body = &reply.base});
    if (put == STATUS_NO_MEMORY) {
        session_close(session, put, "out of memory for a reply");
    }
}

static void incoming_free(struct incoming *incoming)
{
    if (incoming->call.session != NULL) {
        list_remove(&incoming->node);
        incoming->call.session->incoming_count--;
    }
    free(incoming);
}

static bool is_wanted(const struct session_call *call)
{
    return !call->gone && call->session != NULL && call->session->state == SESSION_OPEN;
}

void session_reply(struct session_call *call, struct session_payload payload)
{
    if (call->local != NULL) {
        call->local(call, &payload, NULL, NULL);
        return;
    }
    struct incoming *incoming = incoming_of(call);
    note_answer(call, incoming, true);
    if (is_wanted(call)) {
        struct frame_header h = {
            .kind = FRAME_REPLY,
            .call = incoming->id,
            .method = (uint16_t)call->method,
        };
        enum status status = put_reply(call->session, &h, payload);
        if (status == STATUS_TOO_LARGE) {
            session_put_error(call->session, incoming->id, call->method, STATUS_INTERNAL, NULL,
                              "the reply is larger than a frame may be");
        } else if (status == STATUS_NO_MEMORY) {
            session_close(call->session, status, "out of memory for a reply");
        }
    }
    incoming_free(incoming);
}

void session_reply_error(struct session_call *call, enum status status, const char *hint,
                         const char *format, ...)
{
    CHECK(status != STATUS_OK);
    struct error error = {.status = status};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error.text, sizeof(error.text), format, args);
    va_end(args);
    if (call->local != NULL) {
        call->local(call, NULL, &error, hint == NULL ? "" : hint);
        return;
    }
    struct incoming *incoming = incoming_of(call);
    note_answer(call, incoming, false);
    if (is_wanted(call)) {
        session_put_error(call->session, incoming->id, call->method, status, hint, error.text);
    }
    incoming_free(incoming);
}

enum status session_reply_more(struct session_call *call, struct session_payload payload)
{
    CHECK(call->local == NULL);
    if (!is_wanted(call)) {
        return STATUS_UNAVAILABLE;
    }
    struct session *session = call->session;
    if (conn_queued(&session->conn) > SESSION_QUEUE_MAX) {
        session->is_busy = true;
        return STATUS_BUSY;
    }
    struct frame_header h = {
        .kind = FRAME_REPLY,
        .flags = RPC_MORE,
        .call = incoming_of(call)->id,
        .method = (uint16_t)call->method,
    };
    return session_put_frame(session, &h, payload);
}

static void abandon(struct session_call *call)
{
    call->gone = true;
    if (call->cancelled != NULL) {
        call->cancelled(call); /* may reply, and so free it */
    }
}

void session_end_incoming(struct session *session)
{
    while (!list_empty(&session->incoming)) {
        struct incoming *incoming =
            CONTAINER_OF(list_pop(&session->incoming), struct incoming, node);
        bool was_gone = incoming->call.gone;
        incoming->call.session = NULL;
        if (!was_gone) {
            abandon(&incoming->call);
        }
    }
}

/* ---- frames ---- */

struct frame {
    struct frame_header h;
    struct bytes body, attachment;
};

static void on_call(struct session *session, const struct frame *frame)
{
    struct net_loop *loop = session->options.loop;
    const struct frame_header *h = &frame->h;
    enum status status = rpc_method_check(h->method, RPC_CALL, session->peer.role,
                                          net_tls_identity(session->options.tls)->role);
    if (status == STATUS_OK && session->options.handlers->called == NULL) {
        status = STATUS_UNSUPPORTED;
    }
    if (status == STATUS_OK && session->incoming_count >= SESSION_CALLS_MAX) {
        status = STATUS_BUSY;
    }
    struct incoming *incoming = status == STATUS_OK ? calloc(1, sizeof(*incoming)) : NULL;
    if (incoming == NULL) {
        status = status == STATUS_OK ? STATUS_NO_MEMORY : status;
        session_put_error(session, h->call, h->method, status, NULL, status_text(status));
        return;
    }
    incoming->id = h->call;
    incoming->came_us = net_clock_us();
    incoming->call = (struct session_call){
        .session = session,
        .caller = session->peer,
        .method = (enum rpc_method)h->method,
        .body = frame->body,
        .attachment = frame->attachment,
        .deadline_ms = h->timeout_ms == 0 ? UINT64_MAX : net_now_ms(loop) + h->timeout_ms,
    };
    list_push(&session->incoming, &incoming->node);
    session->incoming_count++;
    session->options.handlers->called(session, &incoming->call);
}

static void on_error_reply(struct session *session, struct session_request *request,
                           const struct frame *frame)
{
    Weir__ErrorReply *error = weir__error_reply__unpack(NULL, frame->body.size, frame->body.data);
    struct session_reply reply = {.status = status_from_wire(frame->h.status)};
    (void)error_set(&reply.error, reply.status, "%s",
                    error == NULL || error->text[0] == '\0' ? status_text(reply.status)
                                                            : error->text);
    reply.hint = error == NULL ? "" : error->hint;
    net_timer_stop(session->options.loop, &request->timeout);
    request->done(request, &reply);
    weir__error_reply__free_unpacked(error, NULL);
}

/* A reply to nobody is one to a call that was cancelled or timed out. */
static void on_reply(struct session *session, const struct frame *frame)
{
    bool more = (frame->h.flags & RPC_MORE) != 0;
    struct session_request *request = more ? rpc_calls_find(&session->calls, frame->h.call)
                                           : rpc_calls_take(&session->calls, frame->h.call);
    if (request == NULL) {
        return;
    }
    if (frame->h.status != STATUS_OK) {
        on_error_reply(session, request, frame);
        return;
    }
    struct session_reply reply = {
        .status = STATUS_OK,
        .hint = "",
        .body = frame->body,
        .attachment = frame->attachment,
        .more = more,
    };
    if (!more) {
        net_timer_stop(session->options.loop, &request->timeout);
    }
    request->done(request, &reply);
}

static void on_cancel(struct session *session, const struct frame *frame)
{
    LIST_FOR_EACH (node, &session->incoming) {
        struct incoming *incoming = CONTAINER_OF(node, struct incoming, node);
        if (incoming->id == frame->h.call && !incoming->call.gone) {
            abandon(&incoming->call);
            return;
        }
    }
}

static void on_message(struct session *session, const struct frame *frame)
{
    enum status status = rpc_method_check(frame->h.method, RPC_MESSAGE, session->peer.role,
                                          net_tls_identity(session->options.tls)->role);
    if (status == STATUS_OK && session->options.handlers->messaged == NULL) {
        status = STATUS_UNSUPPORTED;
    }
    if (status != STATUS_OK) {
        char label[SESSION_LABEL_BYTES];
        const char *name = rpc_method_name(frame->h.method);
        session_label(session, label);
        session_refuse(session, status, "%.150s sent a message that it may not send: %s (%u)",
                       label, name == NULL ? "unknown" : name, (unsigned)frame->h.method);
        return;
    }
    session->options.handlers->messaged(session, (enum rpc_method)frame->h.method, frame->body,
                                        frame->attachment);
}

static void dispatch_open(struct session *session, const struct frame *frame)
{
    switch (frame->h.kind) {
    case FRAME_CALL:
        on_call(session, frame);
        return;
    case FRAME_REPLY:
        on_reply(session, frame);
        return;
    case FRAME_CANCEL:
        on_cancel(session, frame);
        return;
    case FRAME_MESSAGE:
        on_message(session, frame);
        return;
    }
    UNREACHABLE();
}

static void dispatch(struct session *session, const struct frame *frame)
{
    bool is_dialer = session->conn.is_dialer;
    if (session->state == SESSION_OPEN && frame->h.method == RPC_HELLO &&
        frame->h.kind == FRAME_CALL) {
        session_refuse(session, STATUS_CORRUPT, "%s says HELLO twice", session->conn.address);
    } else if (session->state == SESSION_OPEN) {
        dispatch_open(session, frame);
    } else if (is_dialer && frame->h.kind == FRAME_REPLY && frame->h.call == session->hello.id) {
        on_reply(session, frame);
    } else if (!is_dialer && frame->h.kind == FRAME_CALL && frame->h.method == RPC_HELLO) {
        session_on_hello(session, &frame->h, frame->body);
    } else {
        session_refuse(session, STATUS_CORRUPT, "%s does not begin with HELLO",
                       session->conn.address);
    }
}

/* Takes the next frame off rx. MORE: not all of it is there. */
static enum status take_frame(struct session *session, struct frame *out)
{
    struct chunk *rx = session->conn.rx;
    struct bytes in = bytes_of(rx->data + rx->begin, rx->end - rx->begin);
    struct frame frame;
    enum status status = frame_parse(in, &frame.h);
    if (status != STATUS_OK) {
        session->conn.rx_wanted = FRAME_HEADER_BYTES;
        return status;
    }
    size_t bytes = frame_bytes(&frame.h);
    if (session->state == SESSION_HELLO && bytes > HELLO_FRAME_MAX) {
        return STATUS_TOO_LARGE;
    }
    if (in.size < bytes) {
        session->conn.rx_wanted = bytes;
        return STATUS_MORE;
    }
    frame.body = bytes_of(in.data + FRAME_HEADER_BYTES, frame.h.body_bytes);
    frame.attachment = bytes_of(frame.body.data + frame.body.size, frame.h.attachment_bytes);
    rx->begin += bytes;
    *out = frame;
    return STATUS_OK;
}

void session_received(struct conn *conn)
{
    struct session *session = CONTAINER_OF(conn, struct session, conn);
    while (session->state != SESSION_CLOSING) {
        struct frame frame;
        enum status status = take_frame(session, &frame);
        if (status == STATUS_OK) {
            dispatch(session, &frame);
            continue;
        }
        if (status != STATUS_MORE) {
            char label[SESSION_LABEL_BYTES];
            session_label(session, label);
            session_refuse(session, status, "%.160s sent a bad frame: %s", label,
                           status_text(status));
        }
        break;
    }
    /* Who calls and does not read the replies is not read either. Only the accepting side stops:
     * if both did, each would wait for the other. */
    if (!conn->is_dialer && session->state != SESSION_CLOSING &&
        conn_queued(conn) > SESSION_QUEUE_MAX) {
        conn_pause(conn);
    }
}
