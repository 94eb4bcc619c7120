#include "proto/net/stream.h"

#include <stdlib.h>

#include <netinet/in.h>

#include "base/check.h"
#include "proto/net/conn.h"

enum { BACKLOG = 1024 };

struct stream {
    struct conn conn;
    const struct stream_handlers *handlers;
    void *data;
    struct net_timer timer; /* of the handshake, then of lingering */
    struct net_turn again;  /* shows what is left in rx after a pause */
    struct error why;
    char source[STREAM_SOURCE_BYTES];
    bool is_tls, is_turned_away, is_ending;
};

struct stream_listener {
    uv_tcp_t tcp;
    struct stream_options options;
    bool is_closing;
};

static struct stream *stream_of(struct conn *conn)
{
    return CONTAINER_OF(conn, struct stream, conn);
}

/* ---- what the connection tells ---- */

static void on_established(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    net_timer_stop(conn->loop, &stream->timer);
    if (!stream->is_ending) {
        stream->handlers->opened(stream);
    }
}

static void show(struct stream *stream)
{
    struct conn *conn = &stream->conn;
    struct chunk *rx = conn->rx;
    if (stream->is_ending || rx == NULL || rx->begin == rx->end) {
        return;
    }
    struct bytes bytes = bytes_of(rx->data + rx->begin, rx->end - rx->begin);
    size_t taken = stream->handlers->received(stream, bytes);
    CHECK(taken <= bytes.size);
    rx->begin += taken;
    conn->rx_wanted = taken == bytes.size ? 0 : bytes.size - taken + 1;
}

static void on_received(struct conn *conn)
{
    if (!conn->is_paused) {
        show(stream_of(conn));
    } else {
        conn->rx_wanted = conn->rx->end - conn->rx->begin + 1;
    }
}

static void on_again(struct net_turn *turn)
{
    struct stream *stream = CONTAINER_OF(turn, struct stream, again);
    if (!stream->conn.is_paused) {
        show(stream);
    }
}

static void on_drained(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    if (!stream->is_ending && !stream->is_turned_away && conn->is_established) {
        stream->handlers->drained(stream);
    }
}

static void on_failed(struct conn *conn, enum status status, const char *why)
{
    stream_close(stream_of(conn), status, why);
}

static void on_closed(struct conn *conn)
{
    struct stream *stream = stream_of(conn);
    net_timer_stop(conn->loop, &stream->timer);
    net_turn_cancel(&stream->again);
    if (!stream->is_turned_away) {
        stream->handlers->closed(stream, &stream->why);
    }
    conn_release(conn);
    free(stream);
}

static const struct conn_events events = {
    .established = on_established,
    .received = on_received,
    .drained = on_drained,
    .failed = on_failed,
    .closed = on_closed,
};

/* ---- ending ---- */

static void on_timeout(struct net_timer *timer)
{
    struct stream *stream = CONTAINER_OF(timer, struct stream, timer);
    stream_close(stream, STATUS_TIMEOUT, "the TLS handshake took too long");
}

void stream_close(struct stream *stream, enum status status, const char *why)
{
    if (stream->conn.is_closing) {
        return;
    }
    if (!stream->is_ending) {
        stream->is_ending = true;
        status_ignore(error_set(&stream->why, status, "%s", why), "it is for `closed`");
    }
    net_timer_stop(stream->conn.loop, &stream->timer);
    net_turn_cancel(&stream->again);
    conn_close(&stream->conn);
}

void stream_finish(struct stream *stream, const char *why)
{
    struct net_loop *loop = stream->conn.loop;
    if (stream->is_ending) {
        return;
    }
    uint64_t at_ms = net_now_ms(loop) + STREAM_LINGER_MS;
    if (!stream->conn.is_established ||
        net_timer_start(loop, &stream->timer, at_ms, on_timeout) != STATUS_OK) {
        stream_close(stream, STATUS_CLOSING, why);
        return;
    }
    stream->is_ending = true;
    status_ignore(error_set(&stream->why, STATUS_CLOSING, "%s", why), "it is for `closed`");
    net_turn_cancel(&stream->again);
    conn_linger(&stream->conn);
}

/* ---- the rest of a stream ---- */

void stream_set_data(struct stream *stream, void *data)
{
    stream->data = data;
}

void *stream_data(const struct stream *stream)
{
    return stream->data;
}

bool stream_is_tls(const struct stream *stream)
{
    return stream->is_tls;
}

const char *stream_source(const struct stream *stream)
{
    return stream->source;
}

const char *stream_address(const struct stream *stream)
{
    return stream->conn.address;
}

struct bytes stream_protocol(const struct stream *stream)
{
    const unsigned char *name = NULL;
    unsigned size = 0;
    if (stream->conn.ssl != NULL) {
        SSL_get0_alpn_selected(stream->conn.ssl, &name, &size);
    }
    return bytes_of(name, size);
}

void stream_send(struct stream *stream, struct bytes bytes)
{
    if (!stream->is_ending) {
        conn_send(&stream->conn, bytes);
    }
}

size_t stream_queued(const struct stream *stream)
{
    return conn_queued(&stream->conn);
}

uint64_t stream_taken(const struct stream *stream)
{
    return stream->conn.taken - stream->conn.writing_bytes;
}

void stream_pause(struct stream *stream)
{
    if (!stream->is_ending) {
        conn_pause(&stream->conn);
    }
}

void stream_resume(struct stream *stream)
{
    if (!stream->is_ending && stream->conn.is_paused) {
        conn_resume(&stream->conn);
        if (!stream->is_ending) {
            net_turn_schedule(stream->conn.loop, &stream->again);
        }
    }
}

/* ---- listening ---- */

static void find_source(struct stream *stream)
{
    struct sockaddr_storage address = {0};
    int size = sizeof(address);
    if (uv_tcp_getpeername(&stream->conn.tcp, (struct sockaddr *)&address, &size) != 0) {
        return; /* gone already: reading will tell */
    }
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&address;
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
            (void)uv_inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, stream->source,
                               sizeof(stream->source));
        } else {
            (void)uv_ip6_name(in6, stream->source, sizeof(stream->source));
        }
    } else {
        (void)uv_ip4_name((const struct sockaddr_in *)(const void *)&address, stream->source,
                          sizeof(stream->source));
    }
}

static void refuse_now(struct stream *stream)
{
    stream->is_turned_away = true;
    stream_close(stream, STATUS_BUSY, "turned away");
}

static void on_connection(uv_stream_t *from, int rc)
{
    struct stream_listener *listener = CONTAINER_OF(from, struct stream_listener, tcp);
    const struct stream_options *options = &listener->options;
    if (rc < 0) {
        net_trace(options->loop, "cannot accept a connection: %s", uv_strerror(rc));
        return;
    }
    struct stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return; /* it waits in uv, and the next connection takes its turn */
    }
    stream->handlers = options->handlers;
    stream->is_tls = options->tls != NULL;
    net_turn_init(&stream->again, on_again);
    conn_accept(&stream->conn, options->loop, options->tls, &events, from);
    find_source(stream);
    if (stream->is_ending || !options->handlers->accepted(stream, options->listener_data)) {
        refuse_now(stream);
        return;
    }
    if (!stream->is_tls) {
        stream->handlers->opened(stream);
        return;
    }
    uint64_t at_ms = net_now_ms(options->loop) + STREAM_HANDSHAKE_MS;
    if (net_timer_start(options->loop, &stream->timer, at_ms, on_timeout) != STATUS_OK) {
        stream_close(stream, STATUS_NO_MEMORY, "out of memory for a timer");
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct stream_listener *listener = CONTAINER_OF(handle, struct stream_listener, tcp);
    listener->options.loop->objects--;
    free(listener);
}

/* uv's own error numbers, for a sentence. */
static int find_address(struct net_loop *loop, const char *host, uint16_t port,
                        struct sockaddr_storage *out)
{
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)out) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)out) == 0) {
        return 0;
    }
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t resolve;
    int rc = uv_getaddrinfo(loop->uv, &resolve, NULL, host, NULL, &hints);
    if (rc != 0) {
        return rc;
    }
    CHECK(resolve.addrinfo->ai_addrlen <= sizeof(*out));
    memcpy(out, resolve.addrinfo->ai_addr, resolve.addrinfo->ai_addrlen);
    uv_freeaddrinfo(resolve.addrinfo);
    if (out->ss_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)out)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)(void *)out)->sin_port = htons(port);
    }
    return 0;
}

enum status stream_listen(const struct stream_options *options, const char *host, uint16_t port,
                          struct stream_listener **out, struct error *error)
{
    struct sockaddr_storage address = {0};
    struct stream_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    listener->options = *options;
    CHECK(uv_tcp_init(options->loop->uv, &listener->tcp) == 0);
    options->loop->objects++;
    int rc = find_address(options->loop, host, port, &address);
    if (rc == 0) {
        rc = uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&address, 0);
    }
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&listener->tcp, BACKLOG, on_connection);
    }
    if (rc != 0) {
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
        enum status status = rc == UV_EAI_NONAME || rc == UV_EINVAL ? STATUS_INVALID : STATUS_IO;
        return error_set(error, status, "%s:%u: %s", host, (unsigned)port, uv_strerror(rc));
    }
    *out = listener;
    return STATUS_OK;
}

uint16_t stream_listener_port(const struct stream_listener *listener)
{
    struct sockaddr_storage address = {0};
    int size = sizeof(address);
    CHECK(uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &size) == 0);
    if (address.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

void stream_listener_close(struct stream_listener *listener)
{
    if (listener != NULL && !listener->is_closing) {
        listener->is_closing = true;
        uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
    }
}
