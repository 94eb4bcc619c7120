/* Loops, timers, mailboxes, and sessions: TLS 1.3 connections that carry calls and messages both
 * ways.
 *
 * One uv loop per thread; every object here lives on one loop and is touched only from its thread,
 * except net_mailbox_send() and net_loop_stop(). Callbacks come from the loop, never from inside
 * the call that caused them. This folder alone includes OpenSSL's TLS headers; programs may use uv
 * through net_loop_uv() for what is not here. */
#pragma once

#include <stdint.h>

#include <protobuf-c/protobuf-c.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/status.h"
#include "proto/rpc/rpc.h"

struct uv_loop_s;

/* ---- loops
 * --------------------------------------------------------------------------------------- */

struct net_loop;

/* `borrowed` is a caller's loop to live on, or NULL for one of our own. NULL when out of memory.
 * SIGPIPE is ignored from then on. */
struct net_loop *net_loop_new(struct uv_loop_s *borrowed);
struct uv_loop_s *net_loop_uv(struct net_loop *loop);

/* Runs our own loop until net_loop_stop(). */
void net_loop_run(struct net_loop *loop);
void net_loop_stop(struct net_loop *loop); /* any thread */

/* Everything on the loop must be closed; runs the loop until the last close callbacks have come. */
void net_loop_free(struct net_loop *loop);

/* Monotonic milliseconds, read once per turn of the loop; and Unix milliseconds. */
uint64_t net_now_ms(const struct net_loop *loop);
uint64_t net_wall_ms(void);
/* Monotonic microseconds, read now: to measure with. */
uint64_t net_clock_us(void);

struct metrics;
/* What was counted on this loop: connections, and calls of others by method. */
void net_metrics(const struct net_loop *loop, struct metrics *m);

/* A deadline in the loop's one heap of them. Zero it before first use; starting it again moves it.
 */
struct net_timer {
    uint64_t at_ms;
    void (*fire)(struct net_timer *timer);
    uint32_t heap_index; /* 0 = not started */
};
NODISCARD enum status net_timer_start(struct net_loop *loop, struct net_timer *timer,
                                      uint64_t at_ms, void (*fire)(struct net_timer *timer));
void net_timer_stop(struct net_loop *loop, struct net_timer *timer);

/* Runs `fire` once at the end of this turn of the loop, before it sleeps: the place to flush what
 * the turn has gathered. Scheduling it twice in a turn runs it once. */
struct net_turn {
    struct list node;
    void (*fire)(struct net_turn *turn);
};
void net_turn_init(struct net_turn *turn, void (*fire)(struct net_turn *turn));
void net_turn_schedule(struct net_loop *loop, struct net_turn *turn);
void net_turn_cancel(struct net_turn *turn); /* before its owner is freed; harmless otherwise */

/* Calls `ready` whenever `fd` is readable, until closed. `fd` stays the caller's. */
struct net_watch;
struct net_watch *net_watch_open(struct net_loop *loop, int fd,
                                 void (*ready)(struct net_watch *watch, void *data), void *data);
void net_watch_close(struct net_watch *watch);

/* ---- mailboxes: messages between threads --------------------------------------------------------
 */

struct net_mailbox;
struct net_mail {
    struct list node;
    void (*run)(struct net_mail *mail); /* on the mailbox's loop; the mail is the receiver's then */
};
struct net_mailbox *net_mailbox_open(struct net_loop *loop);
void net_mailbox_send(struct net_mailbox *mailbox, struct net_mail *mail); /* any thread */
void net_mailbox_close(
    struct net_mailbox *mailbox); /* nobody may send any more; runs what is left */

/* ---- TLS
 * ------------------------------------------------------------------------------------------ */

/* Our certificate, our key and the authority that signs everybody's: PEM files. Immutable; any
 * number of sessions on one loop share it. TLS 1.3 only, client certificates demanded, no tickets,
 * no 0-RTT. INVALID with a sentence for a file that cannot be read, a key that does not fit, a
 * certificate without our SAN URI or out of its dates. */
struct net_tls;
NODISCARD enum status net_tls_open(const char *ca_file, const char *cert_file, const char *key_file,
                                   struct net_tls **out, struct error *error);
void net_tls_close(struct net_tls *tls);
/* What our own certificate says (boot is 0). */
const struct rpc_identity *net_tls_identity(const struct net_tls *tls);

/* Reads the files again, for the connections that are opened from now on. They must be good, name
 * the same identity, and the certificate must be signed by the authority. INVALID with a sentence:
 * what was read before goes on counting. */
NODISCARD enum status net_tls_reload(struct net_tls *tls, struct error *error);
/* Whether a file is another one than when it was last read, or tried to be. */
bool net_tls_is_changed(const struct net_tls *tls);

/* Certificates that change while a process runs: looks at the files now and then, and when told.
 * What happens is traced. Embedded in its owner; the loop's thread. */
enum { NET_RELOAD_MAX = 2 };
struct net_reload {
    struct net_loop *loop;
    struct net_tls *tls[NET_RELOAD_MAX]; /* borrowed */
    uint32_t count, every_ms;
    struct net_timer timer;
};
/* `every_ms` 0: never by itself. NO_MEMORY. */
NODISCARD enum status net_reload_start(struct net_reload *reload, struct net_loop *loop,
                                       uint32_t every_ms);
void net_reload_add(struct net_reload *reload, struct net_tls *tls);
void net_reload_now(struct net_reload *all);     /* SIGHUP */
void net_reload_stop(struct net_reload *reload); /* harmless before the start */

/* ---- sessions
 * ------------------------------------------------------------------------------------- */

struct session;
struct session_payload;

/* A call that came in. Owned by the handler from `called` until it replies for the last time; it
 * stays valid when the session ends meanwhile (a reply then goes nowhere). body and attachment are
 * borrowed and valid only during `called`. */
struct session_call {
    struct session *session; /* NULL once the session has ended */
    struct rpc_identity caller;
    enum rpc_method method;
    struct bytes body, attachment;
    uint64_t deadline_ms; /* on net_now_ms(); UINT64_MAX for none */
    void *data;           /* the handler's */
    void (*cancelled)(
        struct session_call *call); /* set by the handler, may be NULL: the caller gave up
                                       or the session ended; a last reply is still due */
    bool gone;                      /* nobody waits for the reply any more */
    /* NULL for calls from sessions. A process that asks itself fills in method, caller, body,
     * attachment and this, and hands the call to whoever serves such calls: the reply comes here,
     * from inside session_reply(), and the call is its maker's again. `error` is set and `payload`
     * NULL when the status is not OK; both are borrowed. Such calls get no session_reply_more(). */
    void (*local)(struct session_call *call, const struct session_payload *payload,
                  const struct error *error, const char *hint);
};

struct session_handlers {
    /* Both HELLOs are verified. May be NULL. */
    void (*opened)(struct session *session);
    void (*called)(struct session *session, struct session_call *call);
    /* body and attachment are borrowed for the call. May be NULL when the table allows no messages.
     */
    void (*messaged)(struct session *session, enum rpc_method method, struct bytes body,
                     struct bytes attachment);
    /* The queue fell below half of its limit again after a BUSY. May be NULL. */
    void (*writable)(struct session *session);
    /* The last callback; the session is freed when it returns. All calls of ours have been answered
     * with UNAVAILABLE (or UNCERTAIN when they had been sent) before. */
    void (*closed)(struct session *session, const struct error *why);
};

struct session_options {
    struct net_loop *loop;
    struct net_tls *tls;                     /* borrowed for the session's life */
    uint64_t boot;                           /* ours */
    const struct session_handlers *handlers; /* borrowed */
    void *data;
};

void *session_data(const struct session *session);
const struct rpc_identity *session_peer(const struct session *session); /* valid once opened */
/* Ditto: what the other side runs ("weir 0.1.0"), and the version of the protocol that both speak.
 */
const char *session_software(const struct session *session);
uint32_t session_protocol(const struct session *session);
/* Ditto, of a controller: the newest version of commands in the Raft log that it can apply, at
 * least
 * 1. What others say means nothing. */
uint32_t session_commands(const struct session *session);
struct net_loop *session_loop(const struct session *session);
bool session_is_open(const struct session *session);

/* Dials. The certificate of the other side must have `role`, and `id` unless that is 0. Failure to
 * connect, a wrong certificate, another cluster: `closed` with the reason. NULL when out of memory.
 */
struct session *session_dial(const struct session_options *options, const char *host, uint16_t port,
                             enum rpc_role role, uint32_t id);

/* Ends it: what is queued is dropped, `closed` follows from the loop. Harmless twice. */
void session_close(struct session *session, enum status status, const char *why);

/* Bytes that the network has not taken yet. */
size_t session_queued(const struct session *session);

/* What goes out: a protobuf message (NULL for an empty body) and any number of attachment pieces,
 * which become one attachment. All of it is copied or encrypted before the function returns. */
struct session_payload {
    const ProtobufCMessage *body;
    const struct bytes *pieces;
    uint32_t piece_count;
};

/* BUSY         more than SESSION_QUEUE_MAX is queued: wait for `writable`
 * UNAVAILABLE  the session is not open
 * TOO_LARGE    a limit of base/limits.h */
NODISCARD enum status session_send(struct session *session, enum rpc_method method,
                                   struct session_payload payload);

/* A call of ours; embedded in what waits for it, owned by the session until its last `done`. */
struct session_reply {
    enum status status;
    struct error error; /* when status is not OK: the sentence of the other side or ours */
    const char *hint;   /* NOT_ACTIVE, NOT_LEADER: "controller-2" / "broker-3", or "" */
    struct bytes body, attachment; /* borrowed for the callback */
    bool more;                     /* another reply follows */
};
struct session_request {
    struct list node;
    uint64_t id;
    struct session *session;
    struct net_timer timeout;
    uint64_t sent_from; /* where in the stream its bytes begin, at the earliest */
    void (*done)(struct session_request *request, const struct session_reply *reply);
};

/* `done` comes exactly once (or, for streams, last with more == false), never from inside the call;
 * on any status but OK it does not come at all. timeout_ms 0: no limit. Errors as session_send(),
 * and BUSY at SESSION_CALLS_MAX. */
NODISCARD enum status session_call(struct session *session, enum rpc_method method,
                                   struct session_payload payload, uint32_t timeout_ms,
                                   struct session_request *request,
                                   void (*done)(struct session_request *request,
                                                const struct session_reply *reply));

/* Gives up: the other side is told, `done` comes with CANCELLED. */
void session_cancel(struct session_request *request);

/* Replies; the call is gone afterwards. */
void session_reply(struct session_call *call, struct session_payload payload);
/* `hint` may be NULL. */
void session_reply_error(struct session_call *call, enum status status, const char *hint,
                         const char *format, ...) __attribute__((format(printf, 4, 5)));
/* One reply of several; the call stays. BUSY as session_send(): the stream should pause or end. */
NODISCARD enum status session_reply_more(struct session_call *call, struct session_payload payload);

/* ---- listeners and links
 * -------------------------------------------------------------------------- */

struct net_listener;

/* Accepts sessions on an address ("127.0.0.1", "::", a name). `data` becomes each session's data
 * until the handler changes it with session_set_data(). At most `connections_max` at a time; a
 * handshake may take 10 s. IO or INVALID with a sentence ("127.0.0.1:7001: address already in
 * use"). */
NODISCARD enum status net_listener_open(const struct session_options *options, const char *host,
                                        uint16_t port, uint32_t connections_max,
                                        struct net_listener **out, struct error *error);
/* What one address (of IPv6 a /64) may have: so many connections at a time, and so many new ones,
 * each with its handshake, in a second, several seconds' worth at once. 0: as many as it likes. Who
 * has more is turned away, which a dialler sees as a connection that ends; it comes back later. To
 * be called before the loop runs. NO_MEMORY. */
struct net_source_limits {
    uint32_t connections, handshakes;
};
NODISCARD enum status net_listener_limit(struct net_listener *listener,
                                         const struct net_source_limits *limits);
void net_listener_close(struct net_listener *listener); /* its sessions are closed with CLOSING */
void session_set_data(struct session *session, void *data);
uint16_t net_listener_port(
    const struct net_listener *listener); /* the real one, when 0 was asked */

/* Every open session of the listener, for status pages and broadcasts. */
void net_listener_each(struct net_listener *listener,
                       void (*visit)(struct session *session, void *context), void *context);

/* A dialled session that comes back: redialled at once after a loss, then with back-off and jitter
 * (20 ms doubling to 1 s). handlers->opened and ->closed come for each session in turn. */
struct net_link;
struct net_link *net_link_open(const struct session_options *options, const char *host,
                               uint16_t port, enum rpc_role role, uint32_t id);
struct session *net_link_session(const struct net_link *link); /* NULL while there is none open */
/* Whether a session of it exists, open or being dialled: its `closed` is still to come, also after
 * net_link_close(), which this must be asked before. */
bool net_link_is_busy(const struct net_link *link);
void net_link_move(struct net_link *link, const char *host, uint16_t port); /* another address */
/* The other side is known to be up: dials now if it is waiting to dial again. */
void net_link_hurry(struct net_link *link);
void net_link_close(struct net_link *link); /* no callback comes after the session's `closed` */
