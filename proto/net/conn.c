#include "proto/net/conn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <sys/socket.h>

#include "base/check.h"

enum {
    IOV_MAX_PER_WRITE = 64,
    DIRECT_BYTES = 8 * 1024,        /* from here on encrypting in place beats gathering */
    EARLY_WRITE_BYTES = 256 * 1024, /* so much does not wait for the turn's end */
    KEEPALIVE_S = 15,
};

/* Both sides may encrypt 2^24.5 records under a key (RFC 8446, 5.5); a new one long before. */
static const uint64_t key_bytes_max = (uint64_t)32 << 30;

void conn_fail(struct conn *conn, enum status status, const char *format, ...)
{
    char why[ERROR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    conn->events->failed(conn, status, why);
}

/* ---- OpenSSL's side of the buffers ---- */

int conn_bio_read(BIO *bio, char *data, int size)
{
    struct conn *conn = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (conn->in.size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t take = conn->in.size < (size_t)size ? conn->in.size : (size_t)size;
    memcpy(data, conn->in.data, take);
    conn->in.data += take;
    conn->in.size -= take;
    return (int)take;
}

static struct chunk *out_tail(struct conn *conn)
{
    if (!list_empty(&conn->out)) {
        struct chunk *tail = CONTAINER_OF(conn->out.prev, struct chunk, node);
        if (tail->end < tail->capacity) {
            return tail;
        }
    }
    struct chunk *chunk = chunk_new(conn->loop, CHUNK_BYTES);
    if (chunk != NULL) {
        list_push(&conn->out, &chunk->node);
    }
    return chunk;
}

static bool out_append(struct conn *conn, const uint8_t *data, size_t size)
{
    while (size > 0) {
        struct chunk *tail = out_tail(conn);
        if (tail == NULL) {
            return false;
        }
        size_t room = tail->capacity - tail->end;
        size_t take = size < room ? size : room;
        memcpy(tail->data + tail->end, data, take);
        tail->end += take;
        conn->out_bytes += take;
        data += take;
        size -= take;
    }
    return true;
}

int conn_bio_write(BIO *bio, const char *data, int size)
{
    struct conn *conn = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    return out_append(conn, (const uint8_t *)data, (size_t)size) ? size : -1;
}

static bool make_ssl(struct conn *conn)
{
    conn->ssl = SSL_new(conn->tls->ctx);
    BIO *bio = BIO_new(conn->tls->bio);
    if (conn->ssl == NULL || bio == NULL) {
        BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, conn);
    BIO_set_init(bio, 1);
    SSL_set_bio(conn->ssl, bio, bio);
    if (conn->is_dialer) {
        SSL_set_connect_state(conn->ssl);
    } else {
        SSL_set_accept_state(conn->ssl);
    }
    return true;
}

/* ---- outwards ---- */

static void encrypt(struct conn *conn, const uint8_t *data, size_t size)
{
    if (size == 0 || conn->is_closing || conn->is_lingering) {
        return;
    }
    if (conn->ssl == NULL) {
        if (!out_append(conn, data, size)) {
            conn_fail(conn, STATUS_NO_MEMORY, "%s: out of memory", conn->address);
        }
        return;
    }
    ERR_clear_error();
    conn->key_bytes += size;
    if (conn->key_bytes > key_bytes_max && SSL_version(conn->ssl) >= TLS1_3_VERSION) {
        conn->key_bytes = 0;
        (void)SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
    }
    size_t written = 0;
    if (SSL_write_ex(conn->ssl, data, size, &written) != 1 || written != size) {
        char reason[TLS_REASON_BYTES];
        tls_reason(reason);
        conn_fail(conn, STATUS_IO, "%s: cannot encrypt: %s", conn->address, reason);
    }
}

static void encrypt_tx(struct conn *conn)
{
    struct chunk *tx = conn->tx;
    if (tx != NULL) {
        conn->tx = NULL;
        encrypt(conn, tx->data, tx->end);
        chunk_free(conn->loop, tx);
    }
}

/* Drops `count` bytes from the front of `out`. */
static void out_consume(struct conn *conn, size_t count)
{
    CHECK(count <= conn->out_bytes);
    conn->out_bytes -= count;
    while (count > 0) {
        struct chunk *head = CONTAINER_OF(conn->out.next, struct chunk, node);
        size_t take = head->end - head->begin < count ? head->end - head->begin : count;
        head->begin += take;
        count -= take;
        if (head->begin == head->end) {
            list_remove(&head->node);
            chunk_free(conn->loop, head);
        }
    }
}

static unsigned out_buffers(struct conn *conn, uv_buf_t bufs[IOV_MAX_PER_WRITE], size_t *out_bytes)
{
    unsigned count = 0;
    size_t bytes = 0;
    LIST_FOR_EACH (node, &conn->out) {
        struct chunk *chunk = CONTAINER_OF(node, struct chunk, node);
        if (count == IOV_MAX_PER_WRITE) {
            break;
        }
        size_t size = chunk->end - chunk->begin;
        bufs[count++] = uv_buf_init((char *)chunk->data + chunk->begin, (unsigned)size);
        bytes += size;
    }
    *out_bytes = bytes;
    return count;
}

static void write_failed(struct conn *conn, int rc)
{
    conn_fail(conn, STATUS_UNAVAILABLE, "%s: connection lost: %s", conn->address, uv_strerror(rc));
}

static void write_out(struct conn *conn);

static void on_written(uv_write_t *write, int rc)
{
    struct conn *conn = CONTAINER_OF(write, struct conn, write);
    size_t bytes = conn->writing_bytes;
    conn->writing_bytes = 0;
    if (conn->is_closing) {
        return;
    }
    if (rc < 0) {
        write_failed(conn, rc);
        return;
    }
    out_consume(conn, bytes);
    write_out(conn);
    conn->events->drained(conn);
}

static void linger_if_flushed(struct conn *conn)
{
    if (conn->is_lingering && conn->out_bytes == 0) {
        uv_os_fd_t fd;
        if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0) {
            (void)shutdown(fd, SHUT_WR); /* if it fails, the deadline ends the wait */
        }
    }
}

/* Writes what the kernel takes at once; the rest waits for the socket to become writable. */
static void write_out(struct conn *conn)
{
    uv_buf_t bufs[IOV_MAX_PER_WRITE];
    while (conn->out_bytes > 0 && conn->writing_bytes == 0 && !conn->is_closing) {
        size_t bytes;
        unsigned count = out_buffers(conn, bufs, &bytes);
        int rc = uv_try_write((uv_stream_t *)&conn->tcp, bufs, count);
        if (rc >= 0) {
            conn->taken += (uint64_t)rc;
            out_consume(conn, (size_t)rc);
            if ((size_t)rc == bytes) {
                continue;
            }
            count = out_buffers(conn, bufs, &bytes);
        } else if (rc != UV_EAGAIN) {
            write_failed(conn, rc);
            return;
        }
        rc = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, bufs, count, on_written);
        if (rc != 0) {
            write_failed(conn, rc);
            return;
        }
        conn->writing_bytes = bytes;
        conn->taken += bytes;
    }
    linger_if_flushed(conn);
}

static void on_turn_end(struct net_turn *turn)
{
    struct conn *conn = CONTAINER_OF(turn, struct conn, flush);
    if (!conn->is_connected || conn->is_closing) {
        return;
    }
    encrypt_tx(conn);
    write_out(conn);
    if (!conn->is_closing) {
        conn->events->drained(conn);
    }
}

uint8_t *conn_reserve(struct conn *conn, size_t size)
{
    CHECK(size <= CHUNK_BYTES);
    if (conn->tx != NULL && conn->tx->capacity - conn->tx->end < size) {
        encrypt_tx(conn);
    }
    if (conn->tx == NULL) {
        conn->tx = chunk_new(conn->loop, CHUNK_BYTES);
    }
    return conn->tx == NULL ? NULL : conn->tx->data + conn->tx->end;
}

static void sent(struct conn *conn)
{
    net_turn_schedule(conn->loop, &conn->flush);
    if (conn->out_bytes > EARLY_WRITE_BYTES && conn->writing_bytes == 0) {
        write_out(conn);
    }
}

void conn_commit(struct conn *conn, size_t size)
{
    conn->tx->end += size;
    sent(conn);
}

void conn_send(struct conn *conn, struct bytes bytes)
{
    uint8_t *at = bytes.size < DIRECT_BYTES ? conn_reserve(conn, bytes.size) : NULL;
    if (at != NULL) {
        if (bytes.size > 0) {
            memcpy(at, bytes.data, bytes.size);
        }
        conn_commit(conn, bytes.size);
        return;
    }
    encrypt_tx(conn);
    encrypt(conn, bytes.data, bytes.size);
    sent(conn);
}

size_t conn_queued(const struct conn *conn)
{
    return conn->out_bytes + (conn->tx == NULL ? 0 : conn->tx->end);
}

uint64_t conn_position(const struct conn *conn)
{
    /* Bytes in a uv_write are counted as taken already. */
    return conn->taken + conn->out_bytes - conn->writing_bytes;
}

/* ---- inwards ---- */

/* Room behind rx->end, and for rx_wanted bytes together. */
static bool rx_make_room(struct conn *conn)
{
    struct chunk *rx = conn->rx;
    if (rx == NULL) {
        conn->rx = chunk_new(conn->loop, CHUNK_BYTES);
        return conn->rx != NULL;
    }
    size_t filled = rx->end - rx->begin;
    if (rx->capacity - rx->begin >= conn->rx_wanted && rx->end < rx->capacity) {
        return true;
    }
    if (rx->capacity > filled && rx->capacity >= conn->rx_wanted) {
        memmove(rx->data, rx->data + rx->begin, filled);
        rx->begin = 0;
        rx->end = filled;
        return true;
    }
    /* With room for one more record, so that the frame's last one is decrypted in one piece. */
    struct chunk *larger = chunk_new(conn->loop, conn->rx_wanted + SSL3_RT_MAX_PLAIN_LENGTH);
    if (larger == NULL) {
        return false;
    }
    memcpy(larger->data, rx->data + rx->begin, filled);
    larger->end = filled;
    chunk_free(conn->loop, rx);
    conn->rx = larger;
    return true;
}

/* A large frame's memory goes when the frame has been taken, everything else's when it is empty. */
static void rx_give_back(struct conn *conn)
{
    if (conn->rx != NULL && conn->rx->begin == conn->rx->end) {
        chunk_free(conn->loop, conn->rx);
        conn->rx = NULL;
    }
}

static void read_failed(struct conn *conn, int ssl_error)
{
    char reason[TLS_REASON_BYTES];
    if (ssl_error == SSL_ERROR_ZERO_RETURN) {
        conn_fail(conn, STATUS_UNAVAILABLE, "%s closed the connection", conn->address);
        return;
    }
    long verified = SSL_get_verify_result(conn->ssl);
    unsigned long last = ERR_peek_last_error();
    int code = ERR_GET_REASON(last);
    tls_reason(reason);
    if (last == 0) {
        /* Not OpenSSL's complaint but conn_bio_write()'s. */
        conn_fail(conn, STATUS_NO_MEMORY, "%s: out of memory for TLS", conn->address);
    } else if (!conn->is_established && verified != X509_V_OK) {
        conn_fail(conn, STATUS_DENIED, "%s has a certificate that we do not accept: %s",
                  conn->address, X509_verify_cert_error_string(verified));
    } else if (code == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
        conn_fail(conn, STATUS_DENIED, "%s showed no certificate", conn->address);
    } else if (code > SSL_AD_REASON_OFFSET) {
        conn_fail(conn, STATUS_DENIED, "%s refused our certificate or our TLS: %s", conn->address,
                  reason);
    } else {
        conn_fail(conn, STATUS_CORRUPT, "%s does not speak our TLS: %s", conn->address, reason);
    }
}

static void read_plaintext(struct conn *conn)
{
    while (!conn->is_closing && !conn->is_lingering) {
        if (!rx_make_room(conn)) {
            conn_fail(conn, STATUS_NO_MEMORY, "%s: out of memory for a frame of %zu bytes",
                      conn->address, conn->rx_wanted);
            return;
        }
        ERR_clear_error();
        size_t size = 0;
        struct chunk *rx = conn->rx;
        int rc = SSL_read_ex(conn->ssl, rx->data + rx->end, rx->capacity - rx->end, &size);
        if (rc != 1) {
            int ssl_error = SSL_get_error(conn->ssl, rc);
            rx_give_back(conn);
            if (ssl_error != SSL_ERROR_WANT_READ) {
                read_failed(conn, ssl_error);
            }
            return;
        }
        rx->end += size;
        conn->events->received(conn);
        rx_give_back(conn);
    }
}

/* Without TLS: what was read is what was sent. */
static void read_cleartext(struct conn *conn)
{
    while (conn->in.size > 0 && !conn->is_closing && !conn->is_lingering) {
        if (!rx_make_room(conn)) {
            conn_fail(conn, STATUS_NO_MEMORY, "%s: out of memory", conn->address);
            return;
        }
        struct chunk *rx = conn->rx;
        size_t room = rx->capacity - rx->end;
        size_t take = conn->in.size < room ? conn->in.size : room;
        memcpy(rx->data + rx->end, conn->in.data, take);
        rx->end += take;
        conn->in = bytes_of(conn->in.data + take, conn->in.size - take);
        conn->events->received(conn);
        rx_give_back(conn);
    }
}

static void step(struct conn *conn)
{
    if (conn->ssl == NULL) {
        read_cleartext(conn);
        return;
    }
    if (!conn->is_established) {
        ERR_clear_error();
        int rc = SSL_do_handshake(conn->ssl);
        net_turn_schedule(conn->loop, &conn->flush);
        if (rc != 1) {
            int ssl_error = SSL_get_error(conn->ssl, rc);
            if (ssl_error != SSL_ERROR_WANT_READ) {
                read_failed(conn, ssl_error);
            }
            return;
        }
        conn->is_established = true;
        conn->events->established(conn);
    }
    read_plaintext(conn);
    if (conn->out_bytes > 0 && !conn->is_closing) {
        net_turn_schedule(conn->loop, &conn->flush); /* a key update, an alert */
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *conn = CONTAINER_OF(handle, struct conn, tcp);
    (void)suggested;
    *buf = uv_buf_init((char *)conn->loop->read_buffer, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct conn *conn = CONTAINER_OF(stream, struct conn, tcp);
    if (conn->is_closing || size == 0) {
        return;
    }
    if (size < 0 && conn->is_lingering) {
        conn_close(conn);
    } else if (size == UV_EOF) {
        conn_fail(conn, STATUS_UNAVAILABLE, "%s closed the connection", conn->address);
    } else if (size < 0) {
        conn_fail(conn, STATUS_UNAVAILABLE, "%s: connection lost: %s", conn->address,
                  uv_strerror((int)size));
    } else if (!conn->is_lingering) {
        conn->in = bytes_of(buf->base, (size_t)size);
        step(conn);
        conn->in = (struct bytes){0};
    }
}

void conn_pause(struct conn *conn)
{
    if (!conn->is_paused && !conn->is_closing) {
        conn->is_paused = true;
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    }
}

void conn_resume(struct conn *conn)
{
    if (conn->is_paused && !conn->is_closing) {
        conn->is_paused = false;
        int rc = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
        if (rc != 0) {
            conn_fail(conn, STATUS_IO, "%s: cannot read: %s", conn->address, uv_strerror(rc));
        }
    }
}

/* ---- life ---- */

void conn_init(struct conn *conn, struct net_loop *loop, struct net_tls *tls,
               const struct conn_events *events, bool is_dialer)
{
    *conn = (struct conn){
        .loop = loop,
        .tls = tls,
        .events = events,
        .is_dialer = is_dialer,
    };
    list_init(&conn->out);
    net_turn_init(&conn->flush, on_turn_end);
    loop->objects++;
}

static void set_socket_options(struct conn *conn)
{
    /* bbr, the usual default of large machines, paces even loopback and local networks. */
    static const char cubic[] = "cubic";
    uv_os_fd_t fd;
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    (void)uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S);
    if (uv_fileno((uv_handle_t *)&conn->tcp, &fd) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, cubic, sizeof(cubic) - 1);
    }
}

void conn_start(struct conn *conn)
{
    conn->is_connected = true;
    set_socket_options(conn);
    if (conn->tls != NULL && !make_ssl(conn)) {
        conn_fail(conn, STATUS_NO_MEMORY, "%s: out of memory for TLS", conn->address);
        return;
    }
    int rc = uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
    if (rc != 0) {
        conn_fail(conn, STATUS_IO, "%s: cannot read: %s", conn->address, uv_strerror(rc));
        return;
    }
    if (conn->ssl == NULL) {
        conn->is_established = true;
    } else if (conn->is_dialer) {
        step(conn);
    }
}

static void closed_if_done(struct conn *conn)
{
    if (conn->is_tcp_closed && !conn->is_resolving) {
        conn->loop->objects--;
        conn->events->closed(conn);
    }
}

static void on_tcp_closed(uv_handle_t *handle)
{
    struct conn *conn = CONTAINER_OF(handle, struct conn, tcp);
    conn->is_tcp_closed = true;
    closed_if_done(conn);
}

void conn_close(struct conn *conn)
{
    if (conn->is_closing) {
        return;
    }
    conn->is_closing = true;
    net_turn_cancel(&conn->flush);
    if (conn->is_resolving) {
        (void)uv_cancel((uv_req_t *)&conn->resolve); /* its callback comes in any case */
    }
    if (!uv_is_closing((uv_handle_t *)&conn->tcp)) {
        uv_close((uv_handle_t *)&conn->tcp, on_tcp_closed);
    }
}

void conn_linger(struct conn *conn)
{
    if (conn->is_closing || !conn->is_connected) {
        conn_close(conn);
        return;
    }
    encrypt_tx(conn);
    if (conn->ssl != NULL) {
        ERR_clear_error();
        (void)SSL_shutdown(conn->ssl);
    }
    conn->is_lingering = true;
    conn_resume(conn);
    net_turn_schedule(conn->loop, &conn->flush);
}

void conn_release(struct conn *conn)
{
    net_turn_cancel(&conn->flush); /* whoever sent after the close may have scheduled it again */
    SSL_free(conn->ssl);
    chunk_free(conn->loop, conn->rx);
    chunk_free(conn->loop, conn->tx);
    while (!list_empty(&conn->out)) {
        chunk_free(conn->loop, CONTAINER_OF(list_pop(&conn->out), struct chunk, node));
    }
}
