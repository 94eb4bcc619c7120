#include <stdlib.h>

#include <openssl/rand.h>

#include "base/check.h"
#include "broker/gateway/http_internal.h"

const struct http_limits http_limits_default = {
    .connections_max = 50000,
    .connections_per_source_max = 512,
    .header_ms = 5000,
    .idle_ms = 75000,
    .body_grace_ms = 5000,
    .body_rate = 1024, /* less is a client that wants to be slow */
    .stall_ms = 75000,
    .stream_stall_ms = 300000, /* a subscriber may think for as long as a subscription lives */
    .request_line_max = 8 * 1024,
    .head_max = 16 * 1024,
    .headers_max = 64,
    /* 10 MiB of records are 14 MiB in base64, with room for keys and syntax. */
    .body_max = 15 * 1024 * 1024,
    .unverified_per_connection = 32 * 1024 * 1024,
    .unverified_per_source = 32 * 1024 * 1024,
    .unverified_total = (size_t)1 << 30,
    .answers_per_connection = 64 * 1024 * 1024,
    .stream_queue = 1024 * 1024,
    .pipeline_max = 16,
    .streams_max = 1000, /* one subscription to a shard is one stream */
    .resets_max = 200,
    .controls_max = 1000,
};

uint64_t http_now(const struct http_connection *connection)
{
    return net_now_ms(connection->server->loop);
}

const char *http_server_date(struct http_server *server)
{
    uint64_t wall_ms =
        server->handlers->wall_ms == NULL ? net_wall_ms() : server->handlers->wall_ms(server->data);
    uint64_t wall_s = wall_ms / 1000;
    if (server->date_s != wall_s || server->date[0] == '\0') {
        server->date_s = wall_s;
        http_date(wall_s, server->date);
    }
    return server->date;
}

static void on_ended(struct net_turn *turn)
{
    struct http_server *server = CONTAINER_OF(turn, struct http_server, ended);
    void (*drained)(void *data) = server->drained;
    server->drained = NULL;
    if (drained != NULL) {
        drained(server->data);
    }
}

struct http_server *http_server_open(const struct http_options *options)
{
    struct http_server *server = calloc(1, sizeof(*server));
    uint64_t seed;
    if (server == NULL || RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1) {
        free(server);
        return NULL;
    }
    CHECK(options->limits.body_rate > 0);
    server->loop = options->loop;
    server->limits = options->limits;
    server->handlers = options->handlers;
    server->data = options->data;
    list_init(&server->connections);
    net_turn_init(&server->ended, on_ended);
    sources_init(&server->sources, seed);
    return server;
}

enum status http_server_listen(struct http_server *server, const char *host, uint16_t port,
                               struct net_tls *tls, uint16_t *out_port, struct error *error)
{
    const struct stream_options options = {
        .loop = server->loop,
        .tls = tls,
        .handlers = &http_stream_handlers,
        .listener_data = server,
    };
    if (server->listener_count == HTTP_LISTENERS_MAX || server->is_draining) {
        return error_set(error, STATUS_BUSY, "%s:%u: no more than %u addresses are served", host,
                         (unsigned)port, (unsigned)HTTP_LISTENERS_MAX);
    }
    struct stream_listener *listener;
    enum status status = stream_listen(&options, host, port, &listener, error);
    if (status != STATUS_OK) {
        return status;
    }
    server->listeners[server->listener_count++] = listener;
    if (out_port != NULL) {
        *out_port = stream_listener_port(listener);
    }
    return STATUS_OK;
}

static void stop_listening(struct http_server *server)
{
    while (server->listener_count > 0) {
        stream_listener_close(server->listeners[--server->listener_count]);
    }
}

void server_free_if_over(struct http_server *server)
{
    if (!list_empty(&server->connections)) {
        return;
    }
    if (server->is_closed && server->stats.requests == 0) {
        net_turn_cancel(&server->ended);
        sources_release(&server->sources);
        free(server);
        return;
    }
    if (server->drained != NULL) {
        net_turn_schedule(server->loop, &server->ended);
    }
}

void http_server_warn(struct http_server *server)
{
    server->is_warning = true;
    LIST_FOR_EACH (node, &server->connections) {
        connection_warn(CONTAINER_OF(node, struct http_connection, node));
    }
}

bool http_server_is_silent(const struct http_server *server)
{
    LIST_FOR_EACH (node, &server->connections) {
        if (!CONTAINER_OF(node, struct http_connection, node)->is_finished) {
            return false;
        }
    }
    return server->stats.requests == 0;
}

void http_server_drain(struct http_server *server, void (*drained)(void *data))
{
    server->is_draining = true;
    server->drained = drained;
    stop_listening(server);
    LIST_FOR_EACH (node, &server->connections) {
        connection_leave(CONTAINER_OF(node, struct http_connection, node));
    }
    server_free_if_over(server);
}

void http_server_close(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    server->is_draining = server->is_closed = true;
    server->drained = NULL;
    stop_listening(server);
    LIST_FOR_EACH (node, &server->connections) {
        connection_abort(CONTAINER_OF(node, struct http_connection, node), STATUS_CLOSING,
                         "the server is closing");
    }
    server_free_if_over(server);
}

struct http_stats http_server_stats(const struct http_server *server)
{
    return server->stats;
}
