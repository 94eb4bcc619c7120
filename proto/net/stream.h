/* Accepted byte streams for protocols of other people: TLS 1.2 or 1.3 without client certificates,
 * or cleartext. HTTP runs on them.
 *
 * A stream lives on its listener's loop and is touched only from its thread. Callbacks come from
 * the loop, never from inside the call that caused them. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "proto/net/net.h"

enum {
    STREAM_HANDSHAKE_MS = 10000,
    STREAM_LINGER_MS = 2000,  /* how long a closing stream waits for the other side to read */
    STREAM_SOURCE_BYTES = 46, /* an IPv6 address as text, with its zero */
};

struct stream;

struct stream_handlers {
    /* Somebody connected. False turns the connection away at once, before any TLS; no other
     * callback comes for it then. The place to call stream_set_data(). */
    bool (*accepted)(struct stream *stream, void *listener_data);
    /* The handshake is over, or there is none. */
    void (*opened)(struct stream *stream);
    /* Returns how many of the bytes it has taken. The rest is shown again, with more behind it when
     * more has come, or after stream_resume(). A handler that leaves bytes because it can not take
     * them should stream_pause(); else what it leaves grows with what comes. */
    size_t (*received)(struct stream *stream, struct bytes bytes);
    /* The kernel took some of what was queued. */
    void (*drained)(struct stream *stream);
    /* The last callback; the stream is freed when it returns. */
    void (*closed)(struct stream *stream, const struct error *why);
};

/* ---- certificates ---- */

/* A certificate chain and key (PEM files) to show to strangers: TLS 1.2 with AEAD suites and 1.3;
 * no renegotiation, no compression, no 0-RTT, no tickets. ALPN answers "h2" or "http/1.1", in that
 * order of preference; a client that offers others only is refused, one that offers nothing is
 * not. Close it with net_tls_close() after every stream that uses it. INVALID with a sentence. */
NODISCARD enum status net_tls_open_public(const char *cert_file, const char *key_file,
                                          struct net_tls **out, struct error *error);

/* ---- streams ---- */

struct stream_listener;

struct stream_options {
    struct net_loop *loop;
    struct net_tls *tls; /* of net_tls_open_public(), borrowed; NULL for cleartext */
    const struct stream_handlers *handlers; /* borrowed */
    void *listener_data;
};

/* Listens on a numeric address or a name; port 0 takes any. IO or INVALID with a sentence. */
NODISCARD enum status stream_listen(const struct stream_options *options, const char *host,
                                    uint16_t port, struct stream_listener **out,
                                    struct error *error);
uint16_t stream_listener_port(const struct stream_listener *listener);
/* Accepts no more; its streams live on. */
void stream_listener_close(struct stream_listener *listener);

void stream_set_data(struct stream *stream, void *data);
void *stream_data(const struct stream *stream);
bool stream_is_tls(const struct stream *stream);
/* The other side: "127.0.0.1", and "127.0.0.1:50123". */
const char *stream_source(const struct stream *stream);
const char *stream_address(const struct stream *stream);
/* What ALPN agreed on: "h2", "http/1.1", or empty. Valid once opened. */
struct bytes stream_protocol(const struct stream *stream);

/* Queues bytes; they are copied or encrypted before it returns. Dropped when the stream is closing.
 * The queue has no bound of its own: look at stream_queued() and wait for `drained`. */
void stream_send(struct stream *stream, struct bytes bytes);
size_t stream_queued(const struct stream *stream);
/* Bytes that the kernel has taken since the beginning: it grows while the other side reads. */
uint64_t stream_taken(const struct stream *stream);

void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Ends it; `closed` follows. The first sends what is queued and then waits up to STREAM_LINGER_MS
 * for the other side to close, discarding what it sends meanwhile. Harmless twice. */
void stream_finish(struct stream *stream, const char *why);
void stream_close(struct stream *stream, enum status status, const char *why);
