/* The parts of a session that its files share: session.c (life, calls of ours), dispatch.c (what
 * comes in), hello.c (who is who); and for listener.c and link.c. */
#pragma once

#include "base/formats.h"
#include "proto/net/conn.h"
#include "proto/rpc/calls.h"
#include "proto/wire/frame.h"

enum {
    PROTOCOL_VERSION = FORMAT_PROTOCOL,     /* of the messages that this build prefers */
    PROTOCOL_VERSION_MIN = OLDEST_PROTOCOL, /* the release before this one speaks it */
    SOFTWARE_BYTES = 64,
    OPENING_MS = 10000,           /* connect, handshake and HELLO together */
    LINGER_MS = 1000,             /* for the other side to read why it was refused */
    HELLO_FRAME_MAX = 4096,       /* before we know who they are */
    REPLIES_QUEUE_MAX_FACTOR = 4, /* of SESSION_QUEUE_MAX: then a reader of no reply is cut off */
};

enum session_state {
    SESSION_CONNECTING, /* until the handshake is over */
    SESSION_HELLO,
    SESSION_OPEN,
    SESSION_CLOSING,
};

struct session {
    struct conn conn;
    struct session_options options;
    enum session_state state;
    struct rpc_identity peer;
    char software[SOFTWARE_BYTES]; /* of its HELLO */
    uint32_t protocol;             /* both speak it */
    uint32_t commands;             /* of a controller's HELLO */
    enum rpc_role want_role;       /* of a dialler */
    uint32_t want_id;
    struct net_timer deadline; /* of the opening, then of lingering */
    struct error why;

    struct rpc_calls calls; /* of session_request */
    struct list cancelled;  /* of session_request, to be told */
    struct net_turn tell_cancelled;
    struct session_request hello;

    struct list incoming; /* of struct incoming, until the last reply */
    uint32_t incoming_count;
    bool is_busy; /* BUSY was told, `writable` is due */

    struct net_listener *listener; /* or NULL */
    struct source *source;         /* its address, where the listener counts; or NULL */
    struct list listener_node;
    struct net_link *link; /* or NULL */
};

struct incoming {
    struct session_call call;
    struct list node; /* in session->incoming while call.session is set */
    uint64_t id, came_us;
};

/* Both are for listener.c and link.c; no callback from inside. NULL: out of memory. */
struct session *session_accept(const struct session_options *options, struct net_listener *listener,
                               uv_stream_t *from);
struct session *session_dial_for(const struct session_options *options, const char *host,
                                 uint16_t port, enum rpc_role role, uint32_t id,
                                 struct net_link *link);

/* As session_close(), but what is queued goes out first. */
void session_refuse(struct session *session, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "broker-3 (127.0.0.1:7001)", or the address alone while the name is not known. */
enum { SESSION_LABEL_BYTES = CONN_ADDRESS_BYTES + NODE_NAME_BYTES + 4 };
void session_label(const struct session *session, char out[SESSION_LABEL_BYTES]);

/* Encodes and queues a frame; fills in h's sizes. TOO_LARGE, NO_MEMORY. */
NODISCARD enum status session_put_frame(struct session *session, struct frame_header *h,
                                        struct session_payload payload);

/* Registers a request and sends its call, in whatever state the session is. */
NODISCARD enum status session_put_call(struct session *session, enum rpc_method method,
                                       struct session_payload payload, uint32_t timeout_ms,
                                       struct session_request *request,
                                       void (*done)(struct session_request *request,
                                                    const struct session_reply *reply));
void session_put_error(struct session *session, uint64_t call, unsigned method, enum status status,
                       const char *hint, const char *text);

/* Hands a request its last reply. It must be out of the table. */
void session_finish(struct session *session, struct session_request *request, enum status status,
                    const char *text);

/* dispatch.c */
void session_received(struct conn *conn);
void session_end_incoming(struct session *session);

/* hello.c */
void session_established(struct conn *conn);
void session_on_hello(struct session *session, const struct frame_header *h, struct bytes body);
void session_opened(struct session *session);

/* listener.c and link.c, told when the session has ended; it is freed afterwards. */
void listener_session_ended(struct net_listener *listener, struct session *session);
void link_session_opened(struct net_link *link, struct session *session);
void link_session_ended(struct net_link *link, struct session *session);
