#include "proto/net/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "proto/schema/common.pb-c.h"

static struct session *session_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct session, conn);
}

void *session_data(const struct session *session)
{
    return session->options.data;
}

void session_set_data(struct session *session, void *data)
{
    session->options.data = data;
}

const struct rpc_identity *session_peer(const struct session *session)
{
    return &session->peer;
}

struct net_loop *session_loop(const struct session *session)
{
    return session->options.loop;
}

bool session_is_open(const struct session *session)
{
    return session->state == SESSION_OPEN;
}

size_t session_queued(const struct session *session)
{
    return conn_queued(&session->conn);
}

void session_label(const struct session *session, char out[SESSION_LABEL_BYTES])
{
    if (session->peer.name[0] == '\0') {
        (void)snprintf(out, SESSION_LABEL_BYTES, "%s", session->conn.address);
    } else {
        (void)snprintf(out, SESSION_LABEL_BYTES, "%s (%s)", session->peer.name,
                       session->conn.address);
    }
}

/* ---- what goes out ---- */

static enum status measure(struct session_payload payload, struct frame_header *h)
{
    size_t body = payload.body == NULL ? 0 : protobuf_c_message_get_packed_size(payload.body);
    size_t attachment = 0;
    for (uint32_t i = 0; i < payload.piece_count; i++) {
        if (payload.pieces[i].size > FRAME_ATTACHMENT_MAX - attachment) {
            return STATUS_TOO_LARGE;
        }
        attachment += payload.pieces[i].size;
    }
    if (body > FRAME_BODY_MAX) {
        return STATUS_TOO_LARGE;
    }
    h->body_bytes = (uint32_t)body;
    h->attachment_bytes = (uint32_t)attachment;
    return STATUS_OK;
}

/* Header and body of a frame whose body does not fit a chunk. */
static enum status put_large_head(struct session *session, const struct frame_header *h,
                                  const ProtobufCMessage *body)
{
    size_t size = FRAME_HEADER_BYTES + (size_t)h->body_bytes;
    uint8_t *head = malloc(size);
    if (head == NULL) {
        return STATUS_NO_MEMORY;
    }
    frame_encode(h, head);
    (void)protobuf_c_message_pack(body, head + FRAME_HEADER_BYTES);
    conn_send(&session->conn, bytes_of(head, size));
    free(head);
    return STATUS_OK;
}

static enum status put_head(struct session *session, const struct frame_header *h,
                            const ProtobufCMessage *body)
{
    size_t size = FRAME_HEADER_BYTES + (size_t)h->body_bytes;
    if (size > CHUNK_BYTES) {
        return put_large_head(session, h, body);
    }
    uint8_t *at = conn_reserve(&session->conn, size);
    if (at == NULL) {
        return STATUS_NO_MEMORY;
    }
    frame_encode(h, at);
    if (body != NULL) {
        (void)protobuf_c_message_pack(body, at + FRAME_HEADER_BYTES);
    }
    conn_commit(&session->conn, size);
    return STATUS_OK;
}

enum status session_put_frame(struct session *session, struct frame_header *h,
                              struct session_payload payload)
{
    enum status status = measure(payload, h);
    if (status == STATUS_OK) {
        status = put_head(session, h, payload.body);
    }
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t i = 0; i < payload.piece_count; i++) {
        conn_send(&session->conn, payload.pieces[i]);
    }
    return STATUS_OK;
}

/* Whether something may go out now that is not owed. */
static enum status check_sendable(struct session *session, enum rpc_method method,
                                  enum rpc_kind kind)
{
    if (session->state != SESSION_OPEN) {
        return STATUS_UNAVAILABLE;
    }
    if (conn_queued(&session->conn) > SESSION_QUEUE_MAX) {
        session->is_busy = true;
        return STATUS_BUSY;
    }
    return rpc_method_check(method, kind, net_tls_identity(session->options.tls)->role,
                            session->peer.role);
}

enum status session_send(struct session *session, enum rpc_method method,
                         struct session_payload payload)
{
    enum status status = check_sendable(session, method, RPC_MESSAGE);
    if (status != STATUS_OK) {
        return status;
    }
    struct frame_header h = {.kind = FRAME_MESSAGE, .method = (uint16_t)method};
    return session_put_frame(session, &h, payload);
}

/* ---- calls of ours ---- */

void session_finish(struct session *session, struct session_request *request, enum status status,
                    const char *text)
{
    struct session_reply reply = {.status = status, .hint = ""};
    (void)error_set(&reply.error, status, "%s", text);
    net_timer_stop(session->options.loop, &request->timeout);
    request->done(request, &reply);
}

/* The other side may free what it holds for the call. If there is no memory for the frame, it
 * finishes work that nobody waits for. */
static void put_cancel(struct session *session, uint64_t id)
{
    if (session->state == SESSION_OPEN) {
        struct frame_header h = {.kind = FRAME_CANCEL, .call = id};
        status_ignore(session_put_frame(session, &h, (struct session_payload){0}),
                      "only a courtesy");
    }
}

static void on_timeout(struct net_timer *timer)
{
    struct session_request *request = CONTAINER_OF(timer, struct session_request, timeout);
    struct session *session = request->session;
    (void)rpc_calls_take(&session->calls, request->id);
    put_cancel(session, request->id);
    session_finish(session, request, STATUS_TIMEOUT, "no reply came in time");
}

enum status session_put_call(struct session *session, enum rpc_method method,
                             struct session_payload payload, uint32_t timeout_ms,
                             struct session_request *request,
                             void (*done)(struct session_request *request,
                                          const struct session_reply *reply))
{
    struct net_loop *loop = session->options.loop;
    *request = (struct session_request){
        .session = session,
        .sent_from = conn_position(&session->conn),
        .done = done,
    };
    list_init(&request->node);
    enum status status = rpc_calls_add(&session->calls, request, &request->id);
    if (status != STATUS_OK) {
        return status;
    }
    if (timeout_ms != 0) {
        status =
            net_timer_start(loop, &request->timeout, net_now_ms(loop) + timeout_ms, on_timeout);
    }
    if (status == STATUS_OK) {
        struct frame_header h = {
            .kind = FRAME_CALL,
            .call = request->id,
            .method = (uint16_t)method,
            .timeout_ms = timeout_ms,
        };
        status = session_put_frame(session, &h, payload);
    }
    if (status != STATUS_OK) {
        (void)rpc_calls_take(&session->calls, request->id);
        net_timer_stop(loop, &request->timeout);
    }
    return status;
}

enum status session_call(struct session *session, enum rpc_method method,
                         struct session_payload payload, uint32_t timeout_ms,
                         struct session_request *request,
                         void (*done)(struct session_request *request,
                                      const struct session_reply *reply))
{
    enum status status = check_sendable(session, method, RPC_CALL);
    if (status != STATUS_OK) {
        return status;
    }
    return session_put_call(session, method, payload, timeout_ms, request, done);
}

static void tell_cancelled(struct session *session)
{
    while (!list_empty(&session->cancelled)) {
        struct session_request *request =
            CONTAINER_OF(list_pop(&session->cancelled), struct session_request, node);
        session_finish(session, request, STATUS_CANCELLED, "the call was cancelled");
    }
}

static void on_tell_cancelled(struct net_turn *turn)
{
    tell_cancelled(CONTAINER_OF(turn, struct session, tell_cancelled));
}

void session_cancel(struct session_request *request)
{
    struct session *session = request->session;
    if (rpc_calls_take(&session->calls, request->id) == NULL) {
        return; /* cancelled before, and not told yet */
    }
    net_timer_stop(session->options.loop, &request->timeout);
    put_cancel(session, request->id);
    list_push(&session->cancelled, &request->node);
    net_turn_schedule(session->options.loop, &session->tell_cancelled);
}

/* What was never given to the kernel cannot have happened. */
static void end_calls(struct session *session)
{
    struct session_request *request;
    tell_cancelled(session);
    while ((request = rpc_calls_take_any(&session->calls)) != NULL) {
        bool may_have_left = session->conn.taken > request->sent_from;
        session_finish(session, request, may_have_left ? STATUS_UNCERTAIN : STATUS_UNAVAILABLE,
                       session->why.text);
        tell_cancelled(session); /* one `done` may cancel other calls */
    }
    net_turn_cancel(&session->tell_cancelled);
}

/* ---- life ---- */

static void begin_closing(struct session *session, enum status status, const char *why)
{
    if (session->state != SESSION_OPEN && session->listener != NULL &&
        status != STATUS_UNAVAILABLE && status != STATUS_CLOSING) {
        net_trace(session->options.loop, "connection refused (%s): %s", status_name(status), why);
    } else if (status == STATUS_CORRUPT || status == STATUS_TOO_LARGE || status == STATUS_DENIED) {
        net_trace(session->options.loop, "connection closed (%s): %s", status_name(status), why);
    }
    session->state = SESSION_CLOSING;
    (void)error_set(&session->why, status, "%s", why);
    net_timer_stop(session->options.loop, &session->deadline);
}

void session_close(struct session *session, enum status status, const char *why)
{
    if (session->state != SESSION_CLOSING) {
        begin_closing(session, status, why);
        conn_close(&session->conn);
    }
}

static void on_linger_end(struct net_timer *timer)
{
    conn_close(&CONTAINER_OF(timer, struct session, deadline)->conn);
}

/* Closes, but lets the other side read what is queued: a reply or an alert that says why. */
static void close_gently(struct session *session, enum status status, const char *why)
{
    struct net_loop *loop = session->options.loop;
    if (session->state == SESSION_CLOSING) {
        return;
    }
    begin_closing(session, status, why);
    if (net_timer_start(loop, &session->deadline, net_now_ms(loop) + LINGER_MS, on_linger_end) !=
        STATUS_OK) {
        conn_close(&session->conn);
        return;
    }
    conn_linger(&session->conn);
}

void session_refuse(struct session *session, enum status status, const char *format, ...)
{
    char why[ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    close_gently(session, status, why);
}

static void on_failed(struct conn *conn, enum status status, const char *why)
{
    struct session *session = session_of(conn);
    /* A lost connection has nobody who could read; and its end must be told at once. */
    if (status == STATUS_UNAVAILABLE || status == STATUS_NO_MEMORY || status == STATUS_IO) {
        session_close(session, status, why);
    } else {
        close_gently(session, status, why);
    }
}

static void on_drained(struct conn *conn)
{
    struct session *session = session_of(conn);
    if (conn_queued(conn) >= SESSION_QUEUE_MAX / 2) {
        return;
    }
    conn_resume(conn);
    if (session->is_busy && session->state == SESSION_OPEN) {
        session->is_busy = false;
        if (session->options.handlers->writable != NULL) {
            session->options.handlers->writable(session);
        }
    }
}

static void on_closed(struct conn *conn)
{
    struct session *session = session_of(conn);
    struct net_loop *loop = session->options.loop;
    net_timer_stop(loop, &session->deadline);
    end_calls(session);
    session_end_incoming(session);
    if (session->link != NULL) {
        link_session_ended(session->link, session);
    }
    if (session->options.handlers->closed != NULL) {
        session->options.handlers->closed(session, &session->why);
    }
    if (session->listener != NULL) {
        listener_session_ended(session->listener, session);
    }
    rpc_calls_release(&session->calls);
    conn_release(conn);
    free(session);
}

static const struct conn_events conn_events = {
    .established = session_established,
    .received = session_received,
    .drained = on_drained,
    .failed = on_failed,
    .closed = on_closed,
};

static void on_opening_late(struct net_timer *timer)
{
    struct session *session = CONTAINER_OF(timer, struct session, deadline);
    char why[ERROR_TEXT_BYTES];
    (void)snprintf(why, sizeof(why), "%.200s: the connection was not ready after %d s",
                   session->conn.address, OPENING_MS / 1000);
    session_close(session, STATUS_TIMEOUT, why);
}

static struct session *session_new(const struct session_options *options)
{
    struct session *session = calloc(1, sizeof(*session));
    if (session == NULL) {
        return NULL;
    }
    session->options = *options;
    list_init(&session->cancelled);
    list_init(&session->incoming);
    list_init(&session->listener_node);
    net_turn_init(&session->tell_cancelled, on_tell_cancelled);
    if (net_timer_start(options->loop, &session->deadline, net_now_ms(options->loop) + OPENING_MS,
                        on_opening_late) != STATUS_OK) {
        free(session);
        return NULL;
    }
    return session;
}

struct session *session_dial_for(const struct session_options *options, const char *host,
                                 uint16_t port, enum rpc_role role, uint32_t id,
                                 struct net_link *link)
{
    struct session *session = session_new(options);
    if (session != NULL) {
        session->want_role = role;
        session->want_id = id;
        session->link = link;
        conn_dial(&session->conn, options->loop, options->tls, &conn_events, host, port);
    }
    return session;
}

struct session *session_dial(const struct session_options *options, const char *host, uint16_t port,
                             enum rpc_role role, uint32_t id)
{
    return session_dial_for(options, host, port, role, id, NULL);
}

struct session *session_accept(const struct session_options *options, struct net_listener *listener,
                               uv_stream_t *from)
{
    struct session *session = session_new(options);
    if (session != NULL) {
        session->listener = listener;
        conn_accept(&session->conn, options->loop, options->tls, &conn_events, from);
    }
    return session;
}
