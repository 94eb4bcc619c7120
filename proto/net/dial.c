/* How a connection begins: names to addresses, one address after another; or accepted. */
#include <stdio.h>
#include <string.h>

#include <netinet/in.h>

#include "base/check.h"
#include "proto/net/conn.h"

static void connect_next(struct conn *conn);

static void name_socket(const struct sockaddr *address, char out[CONN_ADDRESS_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        (void)uv_ip6_name(v6, host, sizeof(host));
        (void)snprintf(out, CONN_ADDRESS_BYTES, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        (void)uv_ip4_name(v4, host, sizeof(host));
        (void)snprintf(out, CONN_ADDRESS_BYTES, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    }
}

/* A failed socket cannot be used again. */
static void on_failed_socket_closed(uv_handle_t *handle)
{
    struct conn *conn = CONTAINER_OF(handle, struct conn, tcp);
    CHECK(uv_tcp_init(conn->loop->uv, &conn->tcp) == 0);
    if (conn->is_closing) {
        conn->is_closing = false; /* closed while there was no socket: begin again, to end */
        conn_close(conn);
        return;
    }
    connect_next(conn);
}

static void connect_failed(struct conn *conn, int rc)
{
    if (conn->is_closing) {
        return;
    }
    if (conn->address_next < conn->address_count) {
        uv_close((uv_handle_t *)&conn->tcp, on_failed_socket_closed);
        return;
    }
    conn_fail(conn, STATUS_UNAVAILABLE, "%s: cannot connect: %s", conn->address, uv_strerror(rc));
}

static void on_connected(uv_connect_t *connect, int rc)
{
    struct conn *conn = CONTAINER_OF(connect, struct conn, connect);
    if (rc == UV_ECANCELED || conn->is_closing) {
        return;
    }
    if (rc < 0) {
        connect_failed(conn, rc);
        return;
    }
    conn_start(conn);
}

static void connect_next(struct conn *conn)
{
    CHECK(conn->address_next < conn->address_count);
    const struct sockaddr *address =
        (const struct sockaddr *)&conn->addresses[conn->address_next++];
    int rc = uv_tcp_connect(&conn->connect, &conn->tcp, address, on_connected);
    if (rc != 0) {
        connect_failed(conn, rc);
    }
}

static void on_resolved(uv_getaddrinfo_t *resolve, int rc, struct addrinfo *found)
{
    struct conn *conn = CONTAINER_OF(resolve, struct conn, resolve);
    conn->is_resolving = false;
    for (const struct addrinfo *at = found; at != NULL && conn->address_count < CONN_ADDRESSES_MAX;
         at = at->ai_next) {
        if (at->ai_addrlen <= sizeof(conn->addresses[0])) {
            memcpy(&conn->addresses[conn->address_count++], at->ai_addr, at->ai_addrlen);
        }
    }
    uv_freeaddrinfo(found);
    if (conn->is_closing) {
        if (conn->is_tcp_closed) {
            conn->loop->objects--;
            conn->events->closed(conn);
        }
        return;
    }
    if (rc != 0 || conn->address_count == 0) {
        conn_fail(conn, STATUS_UNAVAILABLE, "%s: the name cannot be resolved: %s", conn->address,
                  rc == 0 ? "no address" : uv_strerror(rc));
        return;
    }
    connect_next(conn);
}

static bool parse_numeric(struct conn *conn, const char *host, uint16_t port)
{
    struct sockaddr_storage *address = &conn->addresses[0];
    if (uv_ip4_addr(host, port, (struct sockaddr_in *)(void *)address) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)(void *)address) != 0) {
        return false;
    }
    conn->address_count = 1;
    return true;
}

void conn_dial(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
               const struct conn_events *events, const char *host, uint16_t port)
{
    conn_init(conn, loop, tls, events, true);
    CHECK(uv_tcp_init(loop->uv, &conn->tcp) == 0);
    (void)snprintf(conn->address, sizeof(conn->address), "%.255s:%u", host, (unsigned)port);
    if (parse_numeric(conn, host, port)) {
        connect_next(conn);
        return;
    }
    char service[8];
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    (void)snprintf(service, sizeof(service), "%u", (unsigned)port);
    int rc = uv_getaddrinfo(loop->uv, &conn->resolve, on_resolved, host, service, &hints);
    if (rc != 0) {
        conn_fail(conn, STATUS_UNAVAILABLE, "%s: the name cannot be resolved: %s", conn->address,
                  uv_strerror(rc));
        return;
    }
    conn->is_resolving = true;
}

void conn_accept(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
                 const struct conn_events *events, uv_stream_t *from)
{
    conn_init(conn, loop, tls, events, false);
    CHECK(uv_tcp_init(loop->uv, &conn->tcp) == 0);
    int rc = uv_accept(from, (uv_stream_t *)&conn->tcp);
    if (rc != 0) {
        conn_fail(conn, STATUS_UNAVAILABLE, "cannot accept: %s", uv_strerror(rc));
        return;
    }
    struct sockaddr_storage address = {0};
    int size = sizeof(address);
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &size) == 0) {
        name_socket((const struct sockaddr *)&address, conn->address);
    }
    conn_start(conn);
}
