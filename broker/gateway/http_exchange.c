#include <stdlib.h>

#include "base/check.h"
#include "broker/gateway/http_internal.h"

struct http_exchange *exchange_new(struct http_connection *connection)
{
    struct http_exchange *exchange = calloc(1, sizeof(*exchange));
    if (exchange == NULL) {
        return NULL;
    }
    const char *source = stream_source(connection->stream);
    exchange->connection = connection;
    exchange->server = connection->server;
    exchange->began_ms = exchange->progress_ms = http_now(connection);
    list_init(&exchange->pieces);
    memcpy(exchange->source_name, source, strnlen(source, HTTP_SOURCE_BYTES - 1));
    exchange->request.source = exchange->source_name;
    exchange->request.tls = stream_is_tls(connection->stream);
    list_push(&connection->exchanges, &exchange->node);
    connection->exchange_count++;
    return exchange;
}

void exchange_set_target(struct http_exchange *exchange, struct bytes target)
{
    const uint8_t *mark = memchr(target.data, '?', target.size);
    size_t path = mark == NULL ? target.size : (size_t)(mark - target.data);
    size_t skip = mark == NULL ? path : path + 1;
    exchange->request.path = bytes_of(target.data, path);
    exchange->request.query = bytes_of(target.data + skip, target.size - skip);
}

/* ---- bodies of strangers ---- */

static bool charge(struct http_exchange *exchange, size_t bytes)
{
    struct http_connection *connection = exchange->connection;
    const struct http_limits *limits = &exchange->server->limits;
    struct http_stats *stats = &exchange->server->stats;
    if (bytes > limits->unverified_per_connection - connection->unverified ||
        bytes > limits->unverified_per_source - connection->source->unverified ||
        bytes > limits->unverified_total - stats->unverified) {
        return false;
    }
    connection->unverified += bytes;
    stats->unverified += bytes;
    exchange->charged += bytes;
    sources_charge(connection->source, bytes);
    return true;
}

static void discharge(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    size_t bytes = exchange->charged;
    if (connection != NULL && bytes > 0) {
        exchange->charged = 0;
        connection->unverified -= bytes;
        exchange->server->stats.unverified -= bytes;
        sources_discharge(connection->source, bytes);
    }
}

void http_request_verified(struct http_request *request)
{
    discharge(CONTAINER_OF(request, struct http_exchange, request));
}

void exchange_expect(struct http_exchange *exchange, uint64_t bytes)
{
    enum { AT_ONCE_MAX = 1024 * 1024 };
    status_ignore(buf_reserve(&exchange->body, bytes < AT_ONCE_MAX ? (size_t)bytes : AT_ONCE_MAX),
                  "it grows with what comes");
}

bool exchange_receive(struct http_exchange *exchange, struct bytes piece)
{
    const struct http_limits *limits = &exchange->server->limits;
    if (exchange->is_refused) {
        return false;
    }
    exchange->wants_continue = false;
    if (piece.size > limits->body_max - exchange->received) {
        exchange_refuse(exchange, (struct http_refusal){413, "The request's body is too large."});
        return false;
    }
    if (!charge(exchange, piece.size) ||
        buf_append(&exchange->body, piece.data, piece.size) != STATUS_OK) {
        exchange_refuse(exchange,
                        (struct http_refusal){503, "Too much is being received at once."});
        return false;
    }
    exchange->received += piece.size;
    exchange->connection->bodies += piece.size;
    return true;
}

uint64_t exchange_body_deadline(const struct http_exchange *exchange)
{
    const struct http_limits *limits = &exchange->server->limits;
    if (exchange->is_complete || exchange->is_refused) {
        return UINT64_MAX;
    }
    uint64_t earned_ms = (uint64_t)exchange->received * 1000 / limits->body_rate;
    return exchange->began_ms + limits->body_grace_ms + earned_ms;
}

uint64_t exchange_stall_deadline(const struct http_exchange *exchange)
{
    const struct http_limits *limits = &exchange->server->limits;
    if (exchange->queued == 0) {
        return UINT64_MAX;
    }
    return exchange->progress_ms +
           (exchange->is_streaming ? limits->stream_stall_ms : limits->stall_ms);
}

/* ---- life ---- */

void exchange_deliver(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    exchange->is_complete = true;
    exchange->is_delivered = true;
    exchange->request.body = buf_bytes(&exchange->body);
    server->stats.requests++;
    server->stats.requested++;
    server->handlers->requested(&exchange->request, server->data);
}

void exchange_refuse(struct http_exchange *exchange, struct http_refusal refusal)
{
    static const struct http_header text = {
        .name = {(const uint8_t *)"content-type",              12},
        .value = {(const uint8_t *)"text/plain; charset=utf-8", 25},
    };
    CHECK(!exchange->is_delivered);
    struct buf body = {0};
    exchange->is_refused = true;
    exchange->closes = true;
    exchange->server->stats.refused++;
    discharge(exchange);
    exchange->connection->bodies -= exchange->received;
    exchange->received = 0;
    buf_release(&exchange->body);
    if (exchange->is_begun) {
        return; /* an earlier refusal is on its way */
    }
    if (buf_append(&body, refusal.why, strlen(refusal.why)) != STATUS_OK ||
        buf_append(&body, "\n", 1) != STATUS_OK) {
        buf_release(&body); /* the status says enough */
    }
    exchange_answer(exchange, refusal.status, &text, 1, &body);
}

static void exchange_free(struct http_exchange *exchange)
{
    exchange_release_pieces(exchange);
    buf_release(&exchange->head);
    buf_release(&exchange->body);
    buf_release(&exchange->answer_head);
    free(exchange->headers);
    free(exchange);
}

void exchange_detach(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    discharge(exchange);
    list_remove(&exchange->node);
    connection->exchange_count--;
    connection->queued -= exchange->queued;
    connection->bodies -= exchange->received;
    connection->busy_count -= exchange->has_been_busy;
    if (connection->incoming == exchange) {
        connection->incoming = NULL;
    }
    if (connection->exchange_count == 0) {
        connection->idle_since_ms = http_now(connection);
        connection_arm(connection, connection->idle_since_ms + exchange->server->limits.idle_ms);
    }
    exchange->connection = NULL;
    if (!exchange->is_delivered) {
        exchange_free(exchange);
        return;
    }
    exchange->request.gone = true;
    if (exchange->request.cancelled != NULL) {
        exchange->request.cancelled(&exchange->request);
    }
}

void exchange_undeliver(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    CHECK(exchange->is_delivered);
    exchange->is_delivered = false;
    server->stats.requests--;
    if (exchange->connection == NULL) {
        exchange_free(exchange);
        server_free_if_over(server);
        return;
    }
    /* The request is over: its memory need not wait for the answer to be read. */
    discharge(exchange);
    exchange->connection->bodies -= exchange->received;
    exchange->received = 0;
    buf_release(&exchange->body);
}

const struct http_header *http_header_find(const struct http_request *request, const char *name,
                                           uint32_t *out_count)
{
    const struct http_header *first = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (http_name_equals(request->headers[i].name, name)) {
            first = first == NULL ? &request->headers[i] : first;
            count++;
        }
    }
    if (out_count != NULL) {
        *out_count = count;
    }
    return first;
}
