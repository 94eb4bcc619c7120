/* The HTTP front: HTTP/1.1 and HTTP/2 on the same ports, over TLS or in the clear, for a layer
 * above that sees whole requests and answers them when it likes.
 *
 * A server and all it calls back live on one loop. What a stranger can do before anybody has
 * checked a signature is bounded here: connections, time, headers, bodies, resets, answers that
 * nobody reads. What breaks HTTP is answered by the front itself (400, 408, 413, 414, 417, 431,
 * 501, 503, 505) and never reaches the layer above. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "proto/net/net.h"

struct http_server;

/* ---- requests ---- */

enum http_version { HTTP_VERSION_1_0, HTTP_VERSION_1_1, HTTP_VERSION_2 };

struct http_header {
    struct bytes name, value;
};

enum { HTTP_SOURCE_BYTES = 46 };

/* The handler's from `requested` until its last answer (http_respond() or http_stream_end()), also
 * when the client goes away in between: the answer then goes nowhere. Everything in it is the
 * request's and goes with it. */
struct http_request {
    struct bytes method; /* as sent: "POST" */
    struct bytes path;   /* raw, up to the first '?'; begins with '/', or is "*" */
    struct bytes query;  /* raw, behind it */
    enum http_version version;
    /* In the order in which they came. Names in lower case, values raw but for blanks around them.
     * HTTP/2's :authority is among them under that name, where it stood; transfer-encoding is not a
     * property of the request but stays listed. Names may repeat. */
    const struct http_header *headers;
    uint32_t header_count;
    struct bytes body; /* complete, freed of chunks */
    bool tls;
    const char *source; /* the other side's address, without its port */

    bool gone;  /* nobody waits for the answer any more */
    void *data; /* the handler's, as the two below; NULL at first */
    /* The client went away (a reset, a closed connection). A last answer is still due. */
    void (*cancelled)(struct http_request *request);
    /* After BUSY of http_stream_write(): there is room again. */
    void (*writable)(struct http_request *request);
};

/* The first header of that name (lower case), or NULL; *out_count (may be NULL) tells how many
 * there are. */
const struct http_header *http_header_find(const struct http_request *request, const char *name,
                                           uint32_t *out_count);

/* Whoever sent this is known by now: its body no longer counts as a stranger's. Otherwise it does
 * until the answer. */
void http_request_verified(struct http_request *request);

/* ---- answers ----
 *
 * The front adds Date, Content-Length or chunks, and Connection where it closes. Names are ours
 * and must be tokens; control characters in values become blanks. An answer to HEAD, and 204 and
 * 304, go out without their body. */

/* The whole answer. The bytes of `body` (NULL for none) are taken over, the buffer is left empty.
 * The request is gone afterwards. */
void http_respond(struct http_request *request, uint16_t status, const struct http_header *headers,
                  uint32_t header_count, struct buf *body);

/* An answer in pieces: the head now, any number of pieces, the end. */
void http_respond_begin(struct http_request *request, uint16_t status,
                        const struct http_header *headers, uint32_t header_count);

/* Takes over the bytes of `piece` and sends them at once as far as the client lets it.
 *
 * BUSY         the client has not read what waits already: keep the piece until `writable`
 * UNAVAILABLE  the client is gone */
NODISCARD enum status http_stream_write(struct http_request *request, struct buf *piece);

/* Bytes of this answer that the network has not taken. */
size_t http_stream_queued(const struct http_request *request);

/* No more pieces; the request is gone afterwards. With `aborted` the client can tell that something
 * is missing (RST_STREAM, or a connection that ends inside a chunk). */
void http_stream_end(struct http_request *request, bool aborted);

/* ---- the server ---- */

/* Each with its reason in http_limits_default. Times are in milliseconds, sizes in bytes. */
struct http_limits {
    uint32_t connections_max, connections_per_source_max;
    uint32_t header_ms;                /* from the first byte of a head to its last */
    uint32_t idle_ms;                  /* without any request */
    uint32_t body_grace_ms, body_rate; /* after the grace a body arrives at this many bytes/s */
    uint32_t stall_ms;                 /* a client that reads nothing of what it asked for */
    uint32_t stream_stall_ms;          /* the same for answers in pieces */
    uint32_t request_line_max, head_max, headers_max;
    size_t body_max;
    /* Bodies of requests that nobody has verified yet, together. */
    size_t unverified_per_connection, unverified_per_source, unverified_total;
    size_t answers_per_connection;     /* queued answers: beyond, requests wait or are refused */
    size_t stream_queue;               /* a stream with so much queued is BUSY */
    uint32_t pipeline_max;             /* HTTP/1.1 requests of one connection in flight */
    uint32_t streams_max;              /* HTTP/2 streams of one connection */
    uint32_t resets_max, controls_max; /* RST_STREAM; PING, SETTINGS, PRIORITY, empty DATA: both in
                                          10 s */
};
extern const struct http_limits http_limits_default;

struct http_handlers {
    /* A whole request. It may be answered at once. */
    void (*requested)(struct http_request *request, void *data);
    /* Unix milliseconds for the Date header; NULL for this machine's clock. */
    uint64_t (*wall_ms)(void *data);
};

struct http_options {
    struct net_loop *loop;
    struct http_limits limits;
    const struct http_handlers *handlers; /* borrowed */
    void *data;
};

/* NULL when out of memory. */
struct http_server *http_server_open(const struct http_options *options);

/* Serves on an address, any number of times, up to HTTP_LISTENERS_MAX: over TLS with a certificate
 * of net_tls_open_public() (borrowed until the server is closed), in the clear with NULL. Port 0
 * takes any; out_port (may be NULL) tells which. BUSY, IO or INVALID with a sentence. */
enum { HTTP_LISTENERS_MAX = 8 };
NODISCARD enum status http_server_listen(struct http_server *server, const char *host,
                                         uint16_t port, struct net_tls *tls, uint16_t *out_port,
                                         struct error *error);

/* Asks the clients there are to come by another connection, and goes on serving them and whoever
 * comes: the next answer of HTTP/1.1 has Connection: close, HTTP/2 gets a GOAWAY that refuses
 * nothing yet. A second or more before http_server_drain(), so that this has little to break. */
void http_server_warn(struct http_server *server);

/* Accepts no more connections and ends those there are, each when its requests are answered:
 * GOAWAY, or Connection: close on the next answer. `drained` (may be NULL) comes once, from the
 * loop, when none is left. */
void http_server_drain(struct http_server *server, void (*drained)(void *data));
/* While it drains: every connection has been sent all that it gets; some only wait for the client
 * to close its side. */
bool http_server_is_silent(const struct http_server *server);

/* Ends every connection now. Requests in flight are cancelled and still wait for their last
 * answer; the memory goes with the last of them. No `requested` comes any more. */
void http_server_close(struct http_server *server);

/* For status pages and metrics. */
struct http_stats {
    uint32_t connections, requests; /* now */
    uint64_t accepted, turned_away; /* connections since the start */
    uint64_t requested, refused;    /* requests: given to the handler, answered by the front */
    size_t unverified;              /* bytes now */
};
struct http_stats http_server_stats(const struct http_server *server);
