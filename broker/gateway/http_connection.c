/* A connection: who may have one, which protocol it speaks, when it has taken too long. */
#include <stdlib.h>

#include "base/check.h"
#include "broker/gateway/http_internal.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum { PREFACE_BYTES = sizeof(preface) - 1 };

/* ---- deadlines ---- */

static void on_deadline(struct net_timer *timer);

void connection_arm(struct http_connection *connection, uint64_t at_ms)
{
    struct net_timer *timer = &connection->timer;
    if (at_ms == UINT64_MAX || connection->is_finished ||
        (timer->heap_index != 0 && timer->at_ms <= at_ms)) {
        return;
    }
    if (net_timer_start(connection->server->loop, timer, at_ms, on_deadline) != STATUS_OK) {
        connection_abort(connection, STATUS_NO_MEMORY, "no memory for a timer");
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The head of a request, or the wait for one. UINT64_MAX: neither is on. */
static uint64_t head_deadline(const struct http_connection *connection)
{
    const struct http_limits *limits = &connection->server->limits;
    if (connection->head_since_ms != 0) {
        return connection->head_since_ms + limits->header_ms;
    }
    return connection->exchange_count > 0 ? UINT64_MAX
                                          : connection->idle_since_ms + limits->idle_ms;
}

static void head_is_late(struct http_connection *connection)
{
    if (connection->head_since_ms == 0 && !connection->is_leaving) {
        connection_leave(connection);
    } else if (connection->head_since_ms == 0) {
        connection_abort(connection, STATUS_TIMEOUT, "the client does not close");
    } else if (connection->kind == HTTP_IS_1) {
        http1_timeout(connection, "The request's head took too long.");
    } else {
        connection_abort(connection, STATUS_TIMEOUT, "the head of a request took too long");
    }
}

static void note_progress(struct http_connection *connection)
{
    uint64_t taken = stream_taken(connection->stream);
    if (stream_queued(connection->stream) == 0 || taken != connection->taken) {
        connection->taken = taken;
        connection->taken_ms = http_now(connection);
    }
}

/* Whether the network takes nothing of what is queued; says when to look again. */
static bool network_is_stalled(struct http_connection *connection, uint64_t now, uint64_t *next_ms)
{
    const struct http_limits *limits = &connection->server->limits;
    note_progress(connection);
    if (stream_queued(connection->stream) == 0) {
        return false;
    }
    bool is_streaming = false;
    LIST_FOR_EACH (node, &connection->exchanges) {
        is_streaming |= CONTAINER_OF(node, struct http_exchange, node)->is_streaming;
    }
    uint64_t at =
        connection->taken_ms + (is_streaming ? limits->stream_stall_ms : limits->stall_ms);
    *next_ms = earlier(*next_ms, at);
    return at <= now;
}

/* Bodies that come too slowly and answers that nobody reads. */
static void look_at_exchanges(struct http_connection *connection, uint64_t now, uint64_t *next_ms)
{
    bool is_http1 = connection->kind == HTTP_IS_1;
    LIST_FOR_EACH_SAFE (node, &connection->exchanges) {
        struct http_exchange *exchange = CONTAINER_OF(node, struct http_exchange, node);
        uint64_t body = connection->is_held ? UINT64_MAX : exchange_body_deadline(exchange);
        /* In HTTP/1.1 an answer behind others waits for them, not for the client. */
        bool is_first = node == connection->exchanges.next;
        uint64_t stall = is_http1 && !is_first ? UINT64_MAX : exchange_stall_deadline(exchange);
        if (stall <= now && is_http1) {
            connection_abort(connection, STATUS_TIMEOUT, "the client does not read its answer");
            return;
        }
        if (stall <= now) {
            http2_reset(exchange, 0x8); /* CANCEL */
        } else if (body <= now && is_http1) {
            http1_timeout(connection, "The request's body came too slowly.");
            return;
        } else if (body <= now) {
            exchange_refuse(exchange,
                            (struct http_refusal){408, "The request's body came too slowly."});
        } else {
            *next_ms = earlier(*next_ms, earlier(body, stall));
        }
    }
}

static void on_deadline(struct net_timer *timer)
{
    struct http_connection *connection = CONTAINER_OF(timer, struct http_connection, timer);
    uint64_t now = http_now(connection);
    uint64_t next_ms = UINT64_MAX;
    if (connection->goodbye_ms != 0 && connection->goodbye_ms <= now) {
        connection->goodbye_ms = 0;
        http2_say_last_goodbye(connection);
    } else if (connection->goodbye_ms != 0) {
        next_ms = connection->goodbye_ms;
    }
    if (network_is_stalled(connection, now, &next_ms)) {
        connection_abort(connection, STATUS_TIMEOUT, "the client does not read");
        return;
    }
    uint64_t head_ms = head_deadline(connection);
    if (head_ms <= now) {
        head_is_late(connection);
    } else {
        next_ms = earlier(next_ms, head_ms);
    }
    look_at_exchanges(connection, now, &next_ms);
    /* A deadline that has passed without an end of the connection is looked at again. */
    enum { AGAIN_MS = 5000 };
    connection_arm(connection, head_ms <= now ? earlier(next_ms, now + AGAIN_MS) : next_ms);
}

/* ---- ending ---- */

void connection_abort(struct http_connection *connection, enum status status, const char *why)
{
    connection->is_finished = true;
    stream_close(connection->stream, status, why); /* also when it is lingering */
}

void connection_leave(struct http_connection *connection)
{
    if (connection->is_leaving) {
        if (connection->goodbye_ms != 0 && connection->server->is_draining) {
            connection->goodbye_ms = 0; /* it has been warned; what is on its way comes again */
            http2_say_last_goodbye(connection);
        }
        return;
    }
    connection->is_leaving = true;
    if (connection->kind == HTTP_IS_2) {
        http2_say_goodbye(connection);
    }
    connection_pump_soon(connection);
}

void connection_warn(struct http_connection *connection)
{
    connection->is_warned = true;
    if (connection->kind == HTTP_IS_2) {
        connection_leave(connection);
    }
}

void connection_pump_soon(struct http_connection *connection)
{
    net_turn_schedule(connection->server->loop, &connection->pump);
}

static void finish_if_done(struct http_connection *connection)
{
    bool is_over = connection->is_leaving && connection->exchange_count == 0 &&
                   connection->head_since_ms == 0 && connection->kind != HTTP_IS_2;
    if (connection->kind == HTTP_IS_2) {
        is_over = http2_is_over(connection);
    }
    if (is_over && stream_queued(connection->stream) == 0 && !connection->is_finished) {
        connection->is_finished = true;
        stream_finish(connection->stream, "the connection has served");
    }
}

static void on_pump(struct net_turn *turn)
{
    struct http_connection *connection = CONTAINER_OF(turn, struct http_connection, pump);
    if (connection->is_finished) {
        return;
    }
    note_progress(connection);
    if (connection->kind == HTTP_IS_2) {
        http2_pump(connection);
    } else if (connection->kind == HTTP_IS_1) {
        http1_pump(connection);
    }
    if (connection->is_finished) {
        return;
    }
    if (stream_queued(connection->stream) > 0) {
        connection_arm(connection, http_now(connection) + connection->server->limits.stall_ms);
    }
    connection_tell_writable(connection);
    finish_if_done(connection);
}

/* ---- what the stream tells ---- */

static bool on_accepted(struct stream *stream, void *listener_data)
{
    struct http_server *server = listener_data;
    struct http_connection *connection = NULL;
    struct source *source;
    if (server->is_draining || server->stats.connections >= server->limits.connections_max ||
        sources_connect(&server->sources, stream_source(stream),
                        server->limits.connections_per_source_max, &source) != STATUS_OK) {
        server->stats.turned_away++;
        return false;
    }
    connection = calloc(1, sizeof(*connection));
    if (connection == NULL) {
        sources_disconnect(source);
        return false;
    }
    connection->server = server;
    connection->stream = stream;
    connection->source = source;
    list_init(&connection->exchanges);
    net_turn_init(&connection->pump, on_pump);
    http1_init(&connection->http1, &server->limits);
    list_push(&server->connections, &connection->node);
    server->stats.connections++;
    server->stats.accepted++;
    stream_set_data(stream, connection);
    return true;
}

static void become_http2(struct http_connection *connection)
{
    connection->kind = HTTP_IS_2;
    connection->head_since_ms = 0;
    if (http2_open(connection) != STATUS_OK) {
        connection_abort(connection, STATUS_NO_MEMORY, "no memory for HTTP/2");
        return;
    }
    if (connection->is_leaving) {
        http2_say_goodbye(connection);
    }
    connection_pump_soon(connection);
}

static void on_opened(struct stream *stream)
{
    struct http_connection *connection = stream_data(stream);
    struct bytes protocol = stream_protocol(stream);
    connection->idle_since_ms = http_now(connection);
    if (bytes_equal(protocol, bytes_of("h2", 2))) {
        become_http2(connection);
    } else if (protocol.size > 0) {
        connection->kind = HTTP_IS_1;
    }
    connection_arm(connection, connection->idle_since_ms + connection->server->limits.idle_ms);
    if (connection->is_leaving) {
        connection_pump_soon(connection);
    }
}

/* Java's SDK speaks HTTP/2 over TLS without ALPN, and every client does in the clear: its first
 * bytes tell. */
static void sniff(struct http_connection *connection, struct bytes bytes)
{
    size_t size = bytes.size < PREFACE_BYTES ? bytes.size : PREFACE_BYTES;
    if (memcmp(bytes.data, preface, size) != 0) {
        connection->kind = HTTP_IS_1;
    } else if (size == PREFACE_BYTES) {
        become_http2(connection);
    } else if (connection->head_since_ms == 0) {
        connection->head_since_ms = http_now(connection);
        connection_arm(connection,
                       connection->head_since_ms + connection->server->limits.header_ms);
    }
}

static size_t on_received(struct stream *stream, struct bytes bytes)
{
    struct http_connection *connection = stream_data(stream);
    if (connection->is_finished) {
        return bytes.size;
    }
    if (connection->kind == HTTP_SNIFFING) {
        sniff(connection, bytes);
    }
    switch (connection->kind) {
    case HTTP_IS_1:
        return http1_received(connection, bytes);
    case HTTP_IS_2:
        return connection->is_finished ? bytes.size : http2_received(connection, bytes);
    case HTTP_SNIFFING:
        return 0;
    }
    UNREACHABLE();
}

static void on_drained(struct stream *stream)
{
    struct http_connection *connection = stream_data(stream);
    connection_pump_soon(connection);
}

static void on_closed(struct stream *stream, const struct error *why)
{
    struct http_connection *connection = stream_data(stream);
    struct http_server *server = connection->server;
    (void)why;
    connection->is_finished = true;
    while (!list_empty(&connection->exchanges)) {
        exchange_detach(CONTAINER_OF(connection->exchanges.next, struct http_exchange, node));
    }
    net_timer_stop(server->loop, &connection->timer);
    net_turn_cancel(&connection->pump);
    http2_close(connection);
    http1_release(&connection->http1);
    list_remove(&connection->node);
    sources_disconnect(connection->source);
    server->stats.connections--;
    free(connection);
    server_free_if_over(server);
}

const struct stream_handlers http_stream_handlers = {
    .accepted = on_accepted,
    .opened = on_opened,
    .received = on_received,
    .drained = on_drained,
    .closed = on_closed,
};
