/* A TLS connection as a stream of plaintext each way: no frames, no identities. With tls == NULL
 * the bytes travel as they are; such a connection is established from its start, without the event.
 *
 * Outwards: plaintext gathers in `tx` until the turn ends, is then encrypted into as few records as
 * possible, and leaves in one write. Large pieces go past `tx`, straight into the encryption. What
 * the kernel does not take waits in `out`.
 *
 * Inwards: OpenSSL decrypts into `rx`, where the reader parses it in place; a frame is always
 * contiguous there.
 *
 * No call of this interface calls an event; events come from the loop. The one exception is
 * `failed`, which must only take note and start closing. */
#pragma once

#include <uv.h>

#include "proto/net/loop.h"
#include "proto/net/tls.h"

enum { CONN_ADDRESSES_MAX = 4, CONN_ADDRESS_BYTES = HOST_BYTES + 8 };

struct conn;

struct conn_events {
    void (*established)(struct conn *conn); /* the handshake is over */
    /* New bytes in rx [begin, end). The reader advances `begin` over what it has taken and sets
     * rx_wanted to the bytes that it needs to see together before it can go on. */
    void (*received)(struct conn *conn);
    void (*drained)(struct conn *conn); /* the kernel took some of what was queued */
    void (*failed)(struct conn *conn, enum status status, const char *why);
    void (*closed)(struct conn *conn); /* the last event; the memory may go */
};

struct conn {
    struct net_loop *loop;
    struct net_tls *tls;
    const struct conn_events *events;
    bool is_dialer, is_connected, is_established, is_closing, is_lingering, is_paused;

    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolve;
    bool is_resolving, is_tcp_closed;
    struct sockaddr_storage addresses[CONN_ADDRESSES_MAX];
    unsigned address_count, address_next;
    char address[CONN_ADDRESS_BYTES]; /* of the other side, for people */

    SSL *ssl;
    struct bytes in; /* ciphertext of the current read that OpenSSL has not seen */
    struct chunk *rx;
    size_t rx_wanted;

    struct chunk *tx;
    struct list out; /* chunks of ciphertext */
    size_t out_bytes;
    uint64_t taken;     /* bytes of ciphertext that have left, or may have */
    uint64_t key_bytes; /* plaintext written under the current key */
    uv_write_t write;
    size_t writing_bytes; /* of `out`, in a uv_write; 0 = none is under way */
    struct net_turn flush;
};

/* dial.c: the two ways to begin. Failures are told by `failed`. */
void conn_dial(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
               const struct conn_events *events, const char *host, uint16_t port);
void conn_accept(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
                 const struct conn_events *events, uv_stream_t *from);

/* For dial.c: the socket is connected; the handshake begins. */
void conn_start(struct conn *conn);
void conn_init(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
               const struct conn_events *events, bool is_dialer);
void conn_fail(struct conn *conn, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Contiguous room for `size` bytes of plaintext, at most CHUNK_BYTES; conn_commit() sends them.
 * NULL when out of memory. */
uint8_t *conn_reserve(struct conn *conn, size_t size);
void conn_commit(struct conn *conn, size_t size);

/* Plaintext of any size, copied or encrypted before it returns. */
void conn_send(struct conn *conn, struct bytes bytes);

size_t conn_queued(const struct conn *conn);

/* Where in the stream of ciphertext the next plaintext will begin, at the earliest. */
uint64_t conn_position(const struct conn *conn);

void conn_pause(struct conn *conn); /* stops reading */
void conn_resume(struct conn *conn);

/* `closed` follows. conn_linger() first sends what is queued and waits for the other side to close
 * (the caller has a deadline and then calls conn_close()), because a close while bytes are still
 * arriving would discard at the other side what it has not read. */
void conn_close(struct conn *conn);
void conn_linger(struct conn *conn);
void conn_release(struct conn *conn);
