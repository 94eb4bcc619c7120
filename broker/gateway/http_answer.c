#include <stdlib.h>

#include "base/check.h"
#include "broker/gateway/http_internal.h"

static struct http_exchange *exchange_of(struct http_request *request)
{
    return CONTAINER_OF(request, struct http_exchange, request);
}

/* ---- pieces ---- */

struct http_piece *exchange_front(struct http_exchange *exchange)
{
    return list_empty(&exchange->pieces)
               ? NULL
               : CONTAINER_OF(exchange->pieces.next, struct http_piece, node);
}

static void piece_free(struct http_piece *piece)
{
    list_remove(&piece->node);
    buf_release(&piece->buf);
    free(piece);
}

void exchange_sent(struct http_exchange *exchange, struct http_piece *piece, size_t bytes)
{
    piece->sent += bytes;
    exchange->queued -= bytes;
    exchange->connection->queued -= bytes;
    exchange->progress_ms = http_now(exchange->connection);
    if (piece->sent == piece->buf.size) {
        piece_free(piece);
    }
}

void exchange_release_pieces(struct http_exchange *exchange)
{
    while (!list_empty(&exchange->pieces)) {
        piece_free(CONTAINER_OF(exchange->pieces.next, struct http_piece, node));
    }
}

/* Takes the bytes. False when out of memory. */
static bool add_piece(struct http_exchange *exchange, struct buf *buf)
{
    struct http_connection *connection = exchange->connection;
    struct http_piece *piece = malloc(sizeof(*piece));
    if (piece == NULL) {
        return false;
    }
    *piece = (struct http_piece){.buf = *buf};
    *buf = (struct buf){0};
    if (exchange->queued == 0) {
        exchange->progress_ms = http_now(connection);
    }
    exchange->queued += piece->buf.size;
    connection->queued += piece->buf.size;
    list_push(&exchange->pieces, &piece->node);
    connection_arm(connection, exchange_stall_deadline(exchange));
    return true;
}

/* ---- answers ---- */

static void tell_protocol(struct http_exchange *exchange)
{
    if (exchange->connection->kind == HTTP_IS_2) {
        http2_continue_answer(exchange);
    }
    connection_pump_soon(exchange->connection);
}

static void begin(struct http_exchange *exchange, uint16_t status,
                  const struct http_header *headers, uint32_t header_count, int64_t length)
{
    CHECK(!exchange->is_begun);
    exchange->is_begun = true;
    exchange->wants_continue = false;
    exchange->is_headless = status < 200 || status == 204 || status == 304 ||
                            bytes_equal(exchange->request.method, bytes_of("HEAD", 4));
    enum status rc = exchange->connection->kind == HTTP_IS_2
                         ? http2_begin_answer(exchange, status, headers, header_count, length)
                         : http1_begin_answer(exchange, status, headers, header_count, length);
    if (rc != STATUS_OK) {
        connection_abort(exchange->connection, rc, "no memory for an answer");
    }
}

void exchange_answer(struct http_exchange *exchange, uint16_t status,
                     const struct http_header *headers, uint32_t header_count, struct buf *body)
{
    exchange->is_ended = true;
    begin(exchange, status, headers, header_count, (int64_t)body->size);
    if (body->size > 0 && !exchange->is_headless && !add_piece(exchange, body)) {
        connection_abort(exchange->connection, STATUS_NO_MEMORY, "no memory for an answer");
    }
    buf_release(body);
    tell_protocol(exchange);
}

void http_respond(struct http_request *request, uint16_t status, const struct http_header *headers,
                  uint32_t header_count, struct buf *body)
{
    struct http_exchange *exchange = exchange_of(request);
    struct buf none = {0};
    body = body == NULL ? &none : body;
    CHECK(!exchange->is_begun);
    if (exchange->connection == NULL) {
        buf_release(body);
    } else {
        exchange_answer(exchange, status, headers, header_count, body);
    }
    exchange_undeliver(exchange);
}

void http_respond_begin(struct http_request *request, uint16_t status,
                        const struct http_header *headers, uint32_t header_count)
{
    struct http_exchange *exchange = exchange_of(request);
    exchange->is_streaming = true;
    if (exchange->connection == NULL) {
        exchange->is_begun = true;
        return;
    }
    begin(exchange, status, headers, header_count, HTTP_LENGTH_UNKNOWN);
    tell_protocol(exchange);
}

enum status http_stream_write(struct http_request *request, struct buf *piece)
{
    struct http_exchange *exchange = exchange_of(request);
    struct http_connection *connection = exchange->connection;
    CHECK(exchange->is_streaming && exchange->is_begun);
    if (connection == NULL || connection->is_finished) {
        return STATUS_UNAVAILABLE;
    }
    if (exchange->queued >= exchange->server->limits.stream_queue) {
        connection->busy_count += !exchange->has_been_busy;
        exchange->has_been_busy = true;
        return STATUS_BUSY;
    }
    if (exchange->is_headless || piece->size == 0) {
        buf_release(piece);
        return STATUS_OK;
    }
    if (!add_piece(exchange, piece)) {
        return STATUS_NO_MEMORY;
    }
    tell_protocol(exchange);
    return STATUS_OK;
}

size_t http_stream_queued(const struct http_request *request)
{
    const struct http_exchange *exchange =
        (const struct http_exchange *)(const void *)((const char *)request -
                                                     offsetof(struct http_exchange, request));
    return exchange->queued;
}

void http_stream_end(struct http_request *request, bool aborted)
{
    struct http_exchange *exchange = exchange_of(request);
    CHECK(exchange->is_streaming && exchange->is_begun);
    exchange->is_ended = true;
    exchange->is_aborted = aborted;
    if (exchange->connection != NULL) {
        exchange->connection->busy_count -= exchange->has_been_busy;
        exchange->has_been_busy = false;
        tell_protocol(exchange);
    }
    exchange_undeliver(exchange);
}

void connection_tell_writable(struct http_connection *connection)
{
    LIST_FOR_EACH (node, &connection->exchanges) {
        if (connection->busy_count == 0) {
            return;
        }
        struct http_exchange *exchange = CONTAINER_OF(node, struct http_exchange, node);
        if (!exchange->has_been_busy ||
            exchange->queued > exchange->server->limits.stream_queue / 2) {
            continue;
        }
        exchange->has_been_busy = false;
        connection->busy_count--;
        if (exchange->request.writable != NULL) {
            exchange->request.writable(&exchange->request);
        }
    }
}
