/* HTTP/1.1 on a connection: requests one behind the other, answers in their order. */
#include <stdio.h>

#include "base/check.h"
#include "broker/gateway/http_internal.h"

/* ---- requests ---- */

/* Whether the next request has to wait until answers to earlier ones have gone out. */
static bool must_hold(const struct http_connection *connection)
{
    const struct http_limits *limits = &connection->server->limits;
    return connection->exchange_count >= limits->pipeline_max ||
           connection->queued > limits->answers_per_connection ||
           connection->bodies > limits->body_max;
}

static void refuse(struct http_connection *connection, struct http_refusal refusal)
{
    struct http_exchange *exchange = connection->incoming;
    connection->incoming = NULL;
    connection->is_leaving = true;
    connection->head_since_ms = 0;
    if (exchange == NULL) {
        exchange = exchange_new(connection);
    }
    if (exchange == NULL) {
        connection_abort(connection, STATUS_NO_MEMORY, "no memory for a request");
        return;
    }
    exchange_refuse(exchange, refusal);
}

void http1_timeout(struct http_connection *connection, const char *why)
{
    refuse(connection, (struct http_refusal){408, why});
}

/* The head moves from the reader into an exchange. */
static void begin_request(struct http_connection *connection)
{
    struct http1_head *head = &connection->http1.head;
    struct http_exchange *exchange = exchange_new(connection);
    connection->head_since_ms = 0;
    if (exchange == NULL) {
        connection_abort(connection, STATUS_NO_MEMORY, "no memory for a request");
        return;
    }
    connection->incoming = exchange;
    exchange->head = head->buf;
    exchange->headers = head->headers;
    exchange->closes = head->closes;
    exchange->wants_continue = head->expects_continue;
    exchange->request.method = head->method;
    exchange->request.version = head->version;
    exchange->request.headers = head->headers;
    exchange->request.header_count = head->header_count;
    exchange_set_target(exchange, head->target);
    if (!head->is_chunked && head->body_bytes > 0) {
        exchange_expect(exchange, head->body_bytes);
    }
    head->buf = (struct buf){0};
    head->headers = NULL;
    connection_arm(connection, exchange_body_deadline(exchange));
    if (exchange->wants_continue) {
        connection_pump_soon(connection);
    }
}

static void end_request(struct http_connection *connection)
{
    struct http_exchange *exchange = connection->incoming;
    connection->incoming = NULL;
    connection->is_leaving = connection->is_leaving || exchange->closes;
    exchange_deliver(exchange);
}

static void receive_piece(struct http_connection *connection, struct bytes piece)
{
    if (!exchange_receive(connection->incoming, piece)) {
        connection->incoming = NULL;
        connection->is_leaving = true;
    }
}

static void note_head(struct http_connection *connection)
{
    if (connection->head_since_ms == 0 && http1_is_in_head(&connection->http1)) {
        connection->head_since_ms = http_now(connection);
        connection_arm(connection,
                       connection->head_since_ms + connection->server->limits.header_ms);
    }
}

size_t http1_received(struct http_connection *connection, struct bytes bytes)
{
    struct bytes in = bytes;
    while (!connection->is_finished) {
        bool is_between = connection->incoming == NULL && !http1_is_in_head(&connection->http1);
        if (is_between && connection->is_leaving) {
            return bytes.size; /* what comes after the last request is not ours to read */
        }
        if (is_between && in.size > 0 && must_hold(connection)) {
            connection->is_held = true;
            stream_pause(connection->stream);
            return bytes.size - in.size;
        }
        switch (http1_next(&connection->http1, &in)) {
        case HTTP1_MORE:
            note_head(connection);
            return bytes.size;
        case HTTP1_HEAD:
            begin_request(connection);
            break;
        case HTTP1_BODY:
            receive_piece(connection, connection->http1.piece);
            break;
        case HTTP1_END:
            end_request(connection);
            break;
        case HTTP1_REFUSED:
            refuse(connection, connection->http1.refusal);
            return bytes.size;
        case HTTP1_FAILED:
            connection_abort(connection, STATUS_NO_MEMORY, "no memory for a request");
            break;
        }
    }
    return bytes.size;
}

/* ---- answers ---- */

enum { LINE_BYTES = 96 };

static enum status add_text(struct buf *out, const char *text)
{
    return buf_append(out, text, strlen(text));
}

/* A control character would end the line, and let whoever wrote the value write headers. */
static enum status add_value(struct buf *out, struct bytes value)
{
    size_t at = out->size;
    enum status status = buf_append(out, value.data, value.size);
    for (; status == STATUS_OK && at < out->size; at++) {
        out->data[at] = out->data[at] < 0x20 || out->data[at] == 0x7f ? ' ' : out->data[at];
    }
    return status;
}

static enum status add_header(struct buf *out, const struct http_header *header)
{
    CHECK(http_is_token(header->name));
    enum status status = buf_append(out, header->name.data, header->name.size);
    if (status == STATUS_OK) {
        status = add_text(out, ": ");
    }
    if (status == STATUS_OK) {
        status = add_value(out, header->value);
    }
    return status == STATUS_OK ? add_text(out, "\r\n") : status;
}

/* How the client will find the end of the body, and whether more can follow. */
static enum status add_framing(struct http_exchange *exchange, uint16_t status, int64_t length)
{
    struct http_connection *connection = exchange->connection;
    struct buf *out = &exchange->answer_head;
    char line[LINE_BYTES] = "";
    bool is_last = exchange->node.next == &connection->exchanges;
    if (length != HTTP_LENGTH_UNKNOWN && status >= 200 && status != 204) {
        (void)snprintf(line, sizeof(line), "Content-Length: %lld\r\n", (long long)length);
    } else if (!exchange->is_headless && exchange->request.version == HTTP_VERSION_1_1) {
        exchange->is_chunked = true;
        (void)snprintf(line, sizeof(line), "Transfer-Encoding: chunked\r\n");
    } else if (!exchange->is_headless) {
        exchange->closes = true;
    }
    bool is_ending = connection->is_leaving || connection->is_warned;
    exchange->closes = exchange->closes || (is_ending && is_last);
    connection->is_leaving = connection->is_leaving || exchange->closes;
    enum status rc = add_text(out, line);
    if (rc == STATUS_OK && exchange->closes) {
        rc = add_text(out, "Connection: close\r\n");
    }
    return rc == STATUS_OK ? add_text(out, "\r\n") : rc;
}

enum status http1_begin_answer(struct http_exchange *exchange, uint16_t status,
                               const struct http_header *headers, uint32_t header_count,
                               int64_t length)
{
    struct buf *out = &exchange->answer_head;
    char line[LINE_BYTES];
    (void)snprintf(line, sizeof(line), "HTTP/1.1 %03u %s\r\nDate: %s\r\n", (unsigned)status % 1000,
                   http_reason(status), http_server_date(exchange->server));
    enum status rc = add_text(out, line);
    for (uint32_t i = 0; rc == STATUS_OK && i < header_count; i++) {
        rc = add_header(out, &headers[i]);
    }
    return rc == STATUS_OK ? add_framing(exchange, status, length) : rc;
}

static void send_text(struct http_connection *connection, const char *text)
{
    stream_send(connection->stream, bytes_of_string(text));
}

static void send_piece(struct http_connection *connection, struct http_exchange *exchange,
                       struct http_piece *piece)
{
    char size_line[LINE_BYTES];
    size_t left = piece->buf.size - piece->sent;
    size_t take = left < HTTP_SLICE_BYTES ? left : HTTP_SLICE_BYTES;
    if (exchange->is_chunked && piece->sent == 0) {
        (void)snprintf(size_line, sizeof(size_line), "%zx\r\n", piece->buf.size);
        send_text(connection, size_line);
    }
    stream_send(connection->stream, bytes_of(piece->buf.data + piece->sent, take));
    if (exchange->is_chunked && take == left) {
        send_text(connection, "\r\n");
    }
    exchange_sent(exchange, piece, take);
}

static void end_answer(struct http_connection *connection, struct http_exchange *exchange)
{
    if (exchange->is_aborted) {
        connection_abort(connection, STATUS_CLOSING, "an answer was broken off");
        return;
    }
    if (exchange->is_chunked && !exchange->is_headless) {
        send_text(connection, "0\r\n\r\n");
    }
    connection->is_leaving = connection->is_leaving || exchange->closes;
    exchange_detach(exchange);
}

/* Does the next thing for the first answer; false when there is nothing to do. */
static bool pump_once(struct http_connection *connection)
{
    struct http_exchange *exchange =
        CONTAINER_OF(connection->exchanges.next, struct http_exchange, node);
    if (exchange->wants_continue) {
        exchange->wants_continue = false;
        send_text(connection, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    if (!exchange->is_begun) {
        return false;
    }
    if (exchange->answer_head.size > 0) {
        stream_send(connection->stream, buf_bytes(&exchange->answer_head));
        buf_release(&exchange->answer_head);
    }
    struct http_piece *piece = exchange_front(exchange);
    if (piece != NULL) {
        send_piece(connection, exchange, piece);
    } else if (exchange->is_ended) {
        end_answer(connection, exchange);
    } else {
        return false;
    }
    return true;
}

void http1_pump(struct http_connection *connection)
{
    while (!connection->is_finished && !list_empty(&connection->exchanges) &&
           stream_queued(connection->stream) < HTTP_WRITE_AHEAD && pump_once(connection)) {
    }
    if (connection->is_held && !must_hold(connection)) {
        connection->is_held = false;
        stream_resume(connection->stream);
    }
}
