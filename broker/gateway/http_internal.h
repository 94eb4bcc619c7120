/* What the files of the HTTP front share: the server, its connections, and their exchanges: one
 * request and its answer each. */
#pragma once

#include "base/list.h"
#include "base/sources.h"
#include "broker/gateway/http.h"
#include "broker/gateway/http1.h"
#include "proto/net/stream.h"

struct nghttp2_session;
struct http_connection;

enum {
    HTTP_WRITE_AHEAD = 256 * 1024, /* so much of the answers goes to the stream ahead of the net */
    HTTP_SLICE_BYTES = 64 * 1024,  /* of a piece, at a time */
    HTTP_DATE_BYTES = 32,
    HTTP_COUNT_MS = 10000, /* resets and control frames are counted over so long */
};

struct http_server {
    struct net_loop *loop;
    struct http_limits limits;
    const struct http_handlers *handlers;
    void *data;
    struct stream_listener *listeners[HTTP_LISTENERS_MAX];
    uint32_t listener_count;
    struct sources sources;
    struct list connections;
    struct http_stats stats;
    uint64_t date_s; /* the second that `date` shows */
    char date[HTTP_DATE_BYTES];
    bool is_warning, is_draining, is_closed, is_drained;
    void (*drained)(void *data);
    struct net_turn ended; /* tells `drained`, frees what is over */
};

/* A piece of an answer's body on its way. */
struct http_piece {
    struct list node;
    struct buf buf;
    size_t sent;
};

struct http_exchange {
    struct http_request request;
    struct list node;                   /* in the connection's, in the order of arrival */
    struct http_connection *connection; /* NULL once it is gone */
    struct http_server *server;
    struct source *source; /* charged */
    size_t charged;
    struct buf head; /* what method, path, query and headers point into */
    struct http_header *headers;
    uint32_t header_capacity;
    struct buf body;
    char source_name[HTTP_SOURCE_BYTES];

    bool is_complete;                           /* the request has come whole */
    bool is_delivered;                          /* the handler has it, until its last answer */
    bool is_begun;                              /* there is the head of an answer */
    bool is_ended;                              /* nothing more will be added to the answer */
    bool is_aborted, is_streaming, is_headless; /* headless: an answer without a body */
    bool is_refused;                            /* the front answers; what still comes is dropped */
    bool has_been_busy;
    bool wants_continue; /* the client holds the body back until it is asked for */

    uint64_t began_ms;    /* when the body began to come */
    uint64_t progress_ms; /* when the network last took something of the answer */
    size_t received;      /* of the body */

    struct buf answer_head; /* HTTP/1.1: as it goes out */
    bool closes;            /* HTTP/1.1: the last of its connection */
    bool is_chunked;        /* the answer */
    struct list pieces;
    size_t queued; /* bytes of the pieces that have not gone to the stream */

    /* HTTP/2 */
    int32_t stream_id;
    size_t header_bytes;         /* as RFC 9113 counts them, with 32 more for each */
    struct http_refusal refusal; /* of a head that has not ended yet; status 0 = none */
};

/* How often something happened within HTTP_COUNT_MS. */
struct http_counter {
    uint64_t since_ms;
    uint32_t count;
};

enum http_kind { HTTP_SNIFFING, HTTP_IS_1, HTTP_IS_2 };

struct http_connection {
    struct list node; /* in the server's */
    struct http_server *server;
    struct stream *stream;
    struct source *source;
    enum http_kind kind;
    struct list exchanges;
    uint32_t exchange_count;
    size_t unverified;   /* charged for bodies */
    size_t bodies;       /* bytes of all bodies, verified or not */
    size_t queued;       /* of answers */
    uint32_t busy_count; /* exchanges that were told BUSY */
    struct net_timer timer;
    struct net_turn pump; /* moves answers into the stream */
    uint64_t idle_since_ms;
    uint64_t head_since_ms;   /* 0 = no head is under way */
    uint64_t taken, taken_ms; /* what the stream's network had taken, and since when */
    bool is_warned;           /* HTTP/1.1: the next answer is the last */
    bool is_leaving;          /* takes no more requests; ends when the answers are out */
    bool is_finished;         /* the stream is being closed */

    struct http1 http1;
    struct http_exchange *incoming; /* HTTP/1.1: whose body is coming */
    bool is_held;                   /* HTTP/1.1: reading waits for answers to go out */

    struct nghttp2_session *session;
    struct http_counter resets, controls;
    uint64_t goodbye_ms; /* when the second GOAWAY follows the first; 0 = not on its way */
};

/* ---- http_server.c ---- */

uint64_t http_now(const struct http_connection *connection);
/* Unix seconds as the Date header has them. */
const char *http_server_date(struct http_server *server);
void server_free_if_over(struct http_server *server);

/* ---- http_connection.c ---- */

extern const struct stream_handlers http_stream_handlers;

/* Takes no more requests, and ends when the answers have gone out. */
void connection_leave(struct http_connection *connection);
/* Asks the client to come by another one. */
void connection_warn(struct http_connection *connection);
/* Ends at once. */
void connection_abort(struct http_connection *connection, enum status status, const char *why);
/* Looks at the deadlines at `at_ms` at the latest. */
void connection_arm(struct http_connection *connection, uint64_t at_ms);
void connection_pump_soon(struct http_connection *connection);

/* ---- http_exchange.c ---- */

/* NULL when out of memory. */
struct http_exchange *exchange_new(struct http_connection *connection);
/* Takes it off its connection; frees it unless the handler has it, which is told. */
void exchange_detach(struct http_exchange *exchange);
/* Splits a target into path and query. */
void exchange_set_target(struct http_exchange *exchange, struct bytes target);
/* Its body will have so many bytes: memory is asked for once instead of growing under copies. Only
 * what has been written to is used up, so that what strangers announce costs nothing. */
void exchange_expect(struct http_exchange *exchange, uint64_t bytes);
/* More of its body. False: it has been refused. */
bool exchange_receive(struct http_exchange *exchange, struct bytes piece);
/* The request is whole: the handler's turn. */
void exchange_deliver(struct http_exchange *exchange);
/* The handler has given its last answer. */
void exchange_undeliver(struct http_exchange *exchange);
/* The front's own answer. */
void exchange_refuse(struct http_exchange *exchange, struct http_refusal refusal);
/* When its body comes too slowly. */
uint64_t exchange_body_deadline(const struct http_exchange *exchange);
/* When too little of its answer has been read. */
uint64_t exchange_stall_deadline(const struct http_exchange *exchange);

/* ---- http_answer.c ---- */

/* The first piece that has bytes left, or NULL; and that some of it went to the stream. */
struct http_piece *exchange_front(struct http_exchange *exchange);
void exchange_sent(struct http_exchange *exchange, struct http_piece *piece, size_t bytes);
void exchange_release_pieces(struct http_exchange *exchange);
/* The whole answer, of handlers and of the front. Takes the body's bytes. */
void exchange_answer(struct http_exchange *exchange, uint16_t status,
                     const struct http_header *headers, uint32_t header_count, struct buf *body);
/* Tells those who were BUSY and have room again. */
void connection_tell_writable(struct http_connection *connection);

/* ---- http_date.c ---- */

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7). Pure. */
void http_date(uint64_t unix_s, char out[HTTP_DATE_BYTES]);

/* ---- the two protocols: http1_conn.c; http2.c and http2_answer.c ---- */

enum { HTTP_LENGTH_UNKNOWN = -1 };

size_t http1_received(struct http_connection *connection, struct bytes bytes);
void http1_pump(struct http_connection *connection);
void http1_timeout(struct http_connection *connection, const char *why);
/* The head of an answer; `length` is that of its body, or HTTP_LENGTH_UNKNOWN. NO_MEMORY */
NODISCARD enum status http1_begin_answer(struct http_exchange *exchange, uint16_t status,
                                         const struct http_header *headers, uint32_t header_count,
                                         int64_t length);

NODISCARD enum status http2_open(struct http_connection *connection);
void http2_close(struct http_connection *connection);
size_t http2_received(struct http_connection *connection, struct bytes bytes);
void http2_pump(struct http_connection *connection);
NODISCARD enum status http2_begin_answer(struct http_exchange *exchange, uint16_t status,
                                         const struct http_header *headers, uint32_t header_count,
                                         int64_t length);
/* More of an answer is there, or its end. */
void http2_continue_answer(struct http_exchange *exchange);
void http2_reset(struct http_exchange *exchange, uint32_t code);
/* GOAWAY: at first without a last stream, a moment later with it. */
void http2_say_goodbye(struct http_connection *connection);
void http2_say_last_goodbye(struct http_connection *connection);
/* No stream is open and none will be. */
bool http2_is_over(const struct http_connection *connection);
