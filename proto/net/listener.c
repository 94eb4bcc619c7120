#include <stdlib.h>

#include <netinet/in.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/sources.h"
#include "base/trace.h"
#include "proto/net/session.h"

enum { BACKLOG = 1024, TELL_EVERY_MS = 10000 };

struct net_listener {
    uv_tcp_t tcp, spare; /* spare: to turn connections away with */
    struct session_options options;
    struct list sessions;
    uint32_t session_count, connections_max;
    bool is_closing, is_tcp_closed, is_spare_busy, is_waiting;

    struct net_source_limits limits;
    struct sources *sources;    /* NULL: nobody is counted */
    struct source_rates *rates; /* ditto */
    uint64_t turned_away_ms;    /* when that was last said */
    uint32_t turned_away;       /* since then */
};

static void free_if_done(struct net_listener *listener)
{
    if (listener->is_tcp_closed && !listener->is_spare_busy && list_empty(&listener->sessions)) {
        listener->options.loop->objects--;
        if (listener->sources != NULL) {
            sources_release(listener->sources);
        }
        free(listener->sources);
        free(listener->rates);
        free(listener);
    }
}

void listener_session_ended(struct net_listener *listener, struct session *session)
{
    if (session->peer.name[0] == '\0') {
        listener->options.loop->stats.refused++;
    }
    if (session->source != NULL) {
        sources_disconnect(session->source);
        session->source = NULL;
    }
    list_remove(&session->listener_node);
    listener->session_count--;
    free_if_done(listener);
}

static void on_connection(uv_stream_t *stream, int rc);

static void on_turned_away(uv_handle_t *handle)
{
    struct net_listener *listener = CONTAINER_OF(handle, struct net_listener, spare);
    listener->is_spare_busy = false;
    if (listener->is_waiting && !listener->is_closing) {
        listener->is_waiting = false;
        on_connection((uv_stream_t *)&listener->tcp, 0);
    }
    free_if_done(listener);
}

/* Accepts and closes: what is left in the backlog would keep its senders waiting. It needs no
 * memory, because uv accepts nothing more before this connection is taken; one at a time. */
static void turn_away(struct net_listener *listener, const char *why)
{
    if (listener->is_spare_busy) {
        listener->is_waiting = true;
        return;
    }
    listener->is_spare_busy = true;
    listener->options.loop->stats.turned_away++;
    CHECK(uv_tcp_init(listener->options.loop->uv, &listener->spare) == 0);
    (void)uv_accept((uv_stream_t *)&listener->tcp, (uv_stream_t *)&listener->spare);
    uv_close((uv_handle_t *)&listener->spare, on_turned_away);
    net_trace(listener->options.loop, "connection turned away: %s", why);
}

/* Once in a while: whoever comes too often must not fill the log as well. */
static void tell_turned_away(struct net_listener *listener, const char *address, const char *why)
{
    uint64_t now_ms = net_now_ms(listener->options.loop);
    listener->turned_away++;
    listener->options.loop->stats.turned_away++;
    if (listener->turned_away_ms == 0 || now_ms - listener->turned_away_ms >= TELL_EVERY_MS) {
        trace(TRACE_WARNING, "net", "%u connections turned away, the last from %s: %s",
              listener->turned_away, address, why);
        listener->turned_away_ms = now_ms;
        listener->turned_away = 0;
    }
}

/* The address is known only after accepting; nothing costly has happened by then. */
static void check_source(struct net_listener *listener, struct session *session)
{
    struct sockaddr_storage from = {0};
    int size = sizeof(from);
    char address[46] = "";
    if (listener->sources == NULL ||
        uv_tcp_getpeername(&session->conn.tcp, (struct sockaddr *)&from, &size) != 0 ||
        uv_ip_name((const struct sockaddr *)&from, address, sizeof(address)) != 0) {
        return; /* it has gone already, or is no address */
    }
    const struct net_source_limits *limits = &listener->limits;
    const char *why = NULL;
    if (limits->handshakes != 0 &&
        !source_rates_take(listener->rates, listener->sources->seed, address,
                           net_now_ms(listener->options.loop), limits->handshakes)) {
        why = "too many new connections a second from there";
    } else if (limits->connections != 0 &&
               sources_connect(listener->sources, address, limits->connections, &session->source) !=
                   STATUS_OK) {
        why = "too many connections from there";
    }
    if (why != NULL) {
        tell_turned_away(listener, address, why);
        session_close(session, STATUS_BUSY, why);
    }
}

static void on_connection(uv_stream_t *stream, int rc)
{
    struct net_listener *listener = CONTAINER_OF(stream, struct net_listener, tcp);
    if (rc < 0) {
        net_trace(listener->options.loop, "cannot accept a connection: %s", uv_strerror(rc));
        return;
    }
    if (listener->session_count >= listener->connections_max) {
        turn_away(listener, "the limit of connections is reached");
        return;
    }
    struct session *session = session_accept(&listener->options, listener, stream);
    if (session == NULL) {
        turn_away(listener, "out of memory");
        return;
    }
    list_push(&listener->sessions, &session->listener_node);
    listener->session_count++;
    listener->options.loop->stats.accepted++;
    check_source(listener, session);
}

static int bind_to(struct net_listener *listener, const char *host, uint16_t port)
{
    struct sockaddr_storage numeric = {0};
    const struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE,
    };
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)&numeric) == 0 ||
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)&numeric) == 0) {
        return uv_tcp_bind(&listener->tcp, (const struct sockaddr *)&numeric, 0);
    }
    uv_getaddrinfo_t resolve;
    int rc = uv_getaddrinfo(listener->options.loop->uv, &resolve, NULL, host, NULL, &hints);
    if (rc != 0) {
        return rc;
    }
    struct sockaddr *found = resolve.addrinfo->ai_addr;
    if (found->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)found)->sin6_port = htons(port);
    } else {
        ((struct sockaddr_in *)(void *)found)->sin_port = htons(port);
    }
    rc = uv_tcp_bind(&listener->tcp, found, 0);
    uv_freeaddrinfo(resolve.addrinfo);
    return rc;
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct net_listener *listener = CONTAINER_OF(handle, struct net_listener, tcp);
    listener->is_tcp_closed = true;
    free_if_done(listener);
}

enum status net_listener_open(const struct session_options *options, const char *host,
                              uint16_t port, uint32_t connections_max, struct net_listener **out,
                              struct error *error)
{
    struct net_listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    listener->options = *options;
    listener->connections_max = connections_max;
    list_init(&listener->sessions);
    CHECK(uv_tcp_init(options->loop->uv, &listener->tcp) == 0);
    options->loop->objects++;
    int rc = bind_to(listener, host, port);
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

enum status net_listener_limit(struct net_listener *listener,
                               const struct net_source_limits *limits)
{
    uint64_t seed = 0;
    listener->limits = *limits;
    if ((limits->connections == 0 && limits->handshakes == 0) || listener->sources != NULL) {
        return STATUS_OK;
    }
    listener->sources = malloc(sizeof(*listener->sources));
    listener->rates = calloc(1, sizeof(*listener->rates));
    if (listener->sources == NULL || listener->rates == NULL ||
        getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        free(listener->sources);
        free(listener->rates);
        listener->sources = NULL;
        listener->rates = NULL;
        return STATUS_NO_MEMORY;
    }
    sources_init(listener->sources, seed);
    return STATUS_OK;
}

void net_listener_close(struct net_listener *listener)
{
    if (listener == NULL || listener->is_closing) {
        return;
    }
    listener->is_closing = true;
    LIST_FOR_EACH (node, &listener->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, listener_node);
        session_close(session, STATUS_CLOSING, "the listener is closing");
    }
    uv_close((uv_handle_t *)&listener->tcp, on_listener_closed);
}

uint16_t net_listener_port(const struct net_listener *listener)
{
    struct sockaddr_storage address = {0};
    int size = sizeof(address);
    CHECK(uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &size) == 0);
    if (address.ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)&address)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)(const void *)&address)->sin_port);
}

void net_listener_each(struct net_listener *listener,
                       void (*visit)(struct session *session, void *context), void *context)
{
    LIST_FOR_EACH_SAFE (node, &listener->sessions) {
        struct session *session = CONTAINER_OF(node, struct session, listener_node);
        if (session_is_open(session)) {
            visit(session, context);
        }
    }
}
