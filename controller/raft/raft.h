/* The controllers' replicated log: commands in, the same commands in the same order out on every
 * controller, and none lost that was acknowledged.
 *
 * A node holds libraft's pure core (raft_step()), a checksummed log in SQLite, and links to the
 * other controllers. It knows nothing of what a command means: that is the state machine of the
 * callbacks below. docs/decisions/0001-libraft.md says why it is built like this.
 *
 * Thread: everything belongs to the loop's thread, except the `snapshot` callback. Callbacks come
 * from the loop and never from inside raft_node_submit() or raft_node_read_barrier(); `apply`,
 * `restore` and `changed` may come from inside raft_node_open() and raft_node_start().
 *
 * Do not confuse this header with libraft's <raft.h>: our names begin with raft_node_. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/status.h"
#include "proto/rpc/rpc.h"

struct raft_node;
struct net_loop;
struct net_tls;
struct ProtobufCMessage;
struct session;

enum {
    RAFT_NODE_SERVERS_MAX = 9,
    RAFT_NODE_ENTRY_MAX = 1024 * 1024, /* one entry: gather commands into it, up to this */
    RAFT_NODE_INFLIGHT_MAX = 16,       /* entries submitted and not applied: then BUSY */

    RAFT_NODE_ELECTION_MS = 500, /* and up to twice that, at random */
    RAFT_NODE_HEARTBEAT_MS = 50,
    RAFT_NODE_SNAPSHOT_ENTRIES = 20000, /* applied since the last snapshot */
    RAFT_NODE_SNAPSHOT_BYTES = 64 * 1024 * 1024,
    RAFT_NODE_TRAILING_ENTRIES = 5000, /* kept behind a snapshot, for followers that lag */
};

/* A failed node ends its process: with one of these exit codes, so that a supervisor knows. */
enum {
    RAFT_NODE_EXIT_RETRY = 75,   /* the disk failed or is full: start again once it is well */
    RAFT_NODE_EXIT_REPLACE = 76, /* the log is damaged: never start this directory again, replace
                                    this controller by a fresh one under another id */
};

struct raft_node_server {
    uint32_t id; /* controller-3 has 3 */
    char host[HOST_BYTES];
    uint16_t port;
};

/* One submitted entry, or one read. Embedded in what waits for it; the node's from the call that
 * took it until `done`. The caller sets nothing but through raft_node_submit() and
 * raft_node_read_barrier(). */
struct raft_node_request {
    struct list node;
    uint64_t index, term;
    uint64_t round; /* of reads */
    /* OK         the entry is committed and applied here; or the read may be served from here now
     * UNCERTAIN  (entries) leadership was lost: it may be committed or not, now or later
     * NOT_ACTIVE (reads) leadership was lost: ask the active controller
     * CLOSING    (reads) the node was closed; entries get UNCERTAIN */
    void (*done)(struct raft_node_request *request, enum status status);
};

/* A committed command. Barriers and configurations are the node's own and never seen here, so
 * indexes rise but have gaps. */
struct raft_node_command {
    uint64_t index, term;
    struct bytes entry;                /* as it was submitted; borrowed for the call */
    struct raft_node_request *request; /* ours, when it was submitted here and is still waited for
                                          (done(OK) follows as soon as apply returns); else NULL */
};

struct raft_node_handlers {
    /* Applies one committed command. Must be deterministic, must record command->index in the same
     * transaction as its effects, and need not be durable: what is lost in a crash is applied
     * again. Any status but OK means that the state machine is broken, and fails the node; a
     * command that is refused by its own rules is OK. */
    enum status (*apply)(void *data, const struct raft_node_command *command, struct error *error);

    /* ON ANOTHER THREAD, while `apply` goes on: writes a consistent copy of the state machine (its
     * recorded index included) to the new file `path`, and tells that index. One at a time. With
     * SQLite: a connection of its own, "VACUUM INTO" or the backup API in one read transaction, the
     * index read from the copy. The node syncs the file. A failure is traced and tried again later.
     */
    enum status (*snapshot)(void *data, const char *path, uint64_t *out_index, struct error *error);

    /* Replaces the whole state machine by the copy at `path` (of another controller, perhaps),
     * which records `index`. The file stays the node's: copy it. Must survive a crash in the
     * middle: either the old or the new state is there afterwards; with the old one, restore comes
     * again. Any status but OK fails the node. */
    enum status (*restore)(void *data, const char *path, uint64_t index, struct error *error);

    /* Something of it changed: `active` only becomes true once an entry of the own term has been
     * committed and everything before it applied, so that the state machine is current. `leader` is
     * the id of the controller that leads the term, 0 when unknown. */
    void (*changed)(void *data, bool active, uint64_t term, uint32_t leader);

    /* The set of controllers, or what is known of it, is another one: raft_node_status(). */
    void (*configured)(void *data);

    /* A session that controller `id` opened to us, when there is one: whoever has been away does
     * not know who has joined since, but has to answer. May be NULL. */
    struct session *(*session)(void *data, uint32_t id);

    /* The node is dead: nothing more is acknowledged, sent or applied. The process must end soon
     * with raft_node_exit_code(); what it holds in memory must not be served any more. */
    void (*failed)(void *data, const struct error *why);
};

/* One change of who is a controller; one is under way at a time. */
enum raft_change_kind {
    RAFT_CHANGE_ADD,     /* as one that gets the log and does not vote */
    RAFT_CHANGE_PROMOTE, /* that one votes from now on */
    RAFT_CHANGE_REMOVE,  /* never ourselves: hand the leadership over first */
};
struct raft_node_change {
    enum raft_change_kind kind;
    struct raft_node_server server; /* the address counts for ADD only */
};

/* A directory that is new begins with this instead of an empty log: the state machine's file lies
 * in it as snapshot-INDEX (raft_node_restored_path()). */
struct raft_node_restored {
    uint64_t index, term; /* index 0: nothing is restored */
};

struct raft_node_options {
    struct net_loop *loop;
    struct net_tls *tls; /* borrowed */
    uint64_t boot;       /* for our HELLO */
    uint32_t id;         /* ours */
    /* The initial set: 1, 3 or 5 voters, this one included, the same list in the same order on each
     * of them. It bootstraps an empty directory; afterwards it only gives addresses. */
    const struct raft_node_server *servers;
    uint32_t server_count;
    bool join; /* an empty directory is not bootstrapped: the others add us (raft_node_change()) */
    struct raft_node_restored restored; /* ditto, when it is empty */
    const char *dir;                    /* raft.db, snapshot-*; must exist */
    uint64_t applied; /* the last index that the state machine records; 0 for an empty one */

    uint32_t election_ms, heartbeat_ms;                          /* 0 for the defaults above */
    uint32_t snapshot_entries, snapshot_bytes, trailing_entries; /* 0 for the defaults above */
    const struct raft_node_handlers *handlers;                   /* borrowed */
    void *data;
};

/* Opens and checks the log, bootstraps an empty directory, restores the state machine from the
 * snapshot when it records an older index, and dials the others. Nothing is sent or applied before
 * raft_node_start().
 *
 * INVALID      the options, or a directory of another controller or another initial set
 * CORRUPT      the log or the snapshot is damaged, or shorter than what the state machine applied:
 *              the controller must be replaced
 * IO           the disk
 * UNSUPPORTED  libraft is older than 0.22
 * NO_MEMORY */
NODISCARD enum status raft_node_open(const struct raft_node_options *options,
                                     struct raft_node **out, struct error *error);

/* Takes part from now on. A single controller becomes active at once. */
NODISCARD enum status raft_node_start(struct raft_node *node, struct error *error);

/* Waits for the writer and the snapshot thread; requests are answered, and the last callback has
 * come, when it returns. Its memory goes with the loop's next turns (net_loop_free() runs them).
 * Not from inside a callback. */
void raft_node_close(struct raft_node *node);

/* Appends one entry of at most RAFT_NODE_ENTRY_MAX bytes; the bytes are copied.
 * NOT_ACTIVE (raft_node_leader() is the hint), BUSY, TOO_LARGE, INVALID (empty), NO_MEMORY,
 * UNAVAILABLE (failed); `done` follows only after OK. */
NODISCARD enum status raft_node_submit(struct raft_node *node, struct bytes entry,
                                       struct raft_node_request *request,
                                       void (*done)(struct raft_node_request *request,
                                                    enum status status));

/* `done` comes with OK when everything that was acknowledged anywhere before this call is applied
 * here, and nobody else was active when it was made: then read the state machine at once.
 * NOT_ACTIVE, UNAVAILABLE; `done` follows only after OK. */
NODISCARD enum status raft_node_read_barrier(struct raft_node *node,
                                             struct raft_node_request *request,
                                             void (*done)(struct raft_node_request *request,
                                                          enum status status));

/* Forgets a request whose owner goes away: `done` does not come any more (an entry may still be
 * committed). Harmless for one that is done. */
void raft_node_forget(struct raft_node_request *request);

/* A RAFT message (proto/rpc/methods.def) that came in from controller `from`, by its certificate.
 * INVALID: malformed, end the session. NOT_FOUND: it is no member, and we are active and know: tell
 * it (REMOVED). Anything else that is wrong with it is dropped: Raft sends again. */
NODISCARD enum status raft_node_receive(struct raft_node *node, uint32_t from, struct bytes body,
                                        struct bytes attachment);

/* Sends a message of the caller's to the other controllers, on the links that are open and not
 * congested: it may get lost. They get it as what comes in from us. */
void raft_node_tell(struct raft_node *node, enum rpc_method method,
                    const struct ProtobufCMessage *body);

bool raft_node_is_active(const struct raft_node *node);
uint32_t raft_node_leader(const struct raft_node *node); /* 0: unknown; may be ourselves */
uint64_t raft_node_term(const struct raft_node *node);
uint64_t raft_node_applied(const struct raft_node *node);

struct raft_node_server_status {
    struct raft_node_server server;
    bool voter;        /* else it learns */
    bool connected;    /* our link to it is open; true for ourselves */
    char software[64]; /* what it runs; "": not connected, or ourselves */
    uint32_t protocol; /* that we both speak; 0: ditto */
    uint64_t match;    /* on the leader: what it is known to hold durably; else 0 */
};

struct raft_node_status {
    uint64_t configuration; /* index of the newest that is committed */
    uint32_t id, leader;
    bool active;
    const char *state; /* "follower", "candidate", "leader", "failed" */
    uint64_t term, first, last, stored, commit, applied, snapshot; /* indexes but the term */
    uint64_t leader_commit; /* as the leader said last; 0: it has not */
    uint64_t snapshots;     /* taken or received by this process */
    uint64_t log_bytes;
    struct raft_node_server_status servers[RAFT_NODE_SERVERS_MAX];
    uint32_t server_count;
};
void raft_node_status(const struct raft_node *node, struct raft_node_status *out);

/* Hands leadership to controller `to` (0: any voter that is up to date). NOT_ACTIVE; INVALID: no
 * such voter; BUSY: one is under way. Success shows in `changed`. */
NODISCARD enum status raft_node_transfer(struct raft_node *node, uint32_t to);

/* Changes the configuration; `done` as for an entry. NOT_ACTIVE; BUSY: another change, or a
 * transfer of the leadership, is under way, or the new leader has not committed anything of its own
 * yet, or the one to be promoted lags: ask again soon; EXISTS: it is so already; NOT_FOUND: no such
 * controller; INVALID: it cannot be done. `done` follows only after OK. */
NODISCARD enum status raft_node_change(struct raft_node *node,
                                       const struct raft_node_change *change,
                                       struct raft_node_request *request,
                                       void (*done)(struct raft_node_request *request,
                                                    enum status status));

/* A message REMOVED from the controller `from`: we are no member any more as of `index`. */
void raft_node_removed(struct raft_node *node, uint32_t from, uint64_t index);

/* Where the state machine's file of a directory that is restored has to lie. */
enum { RAFT_NODE_PATH_BYTES = 4096 };
void raft_node_restored_path(const char *dir, uint64_t index, char out[RAFT_NODE_PATH_BYTES]);

/* RAFT_NODE_EXIT_REPLACE for CORRUPT, RAFT_NODE_EXIT_RETRY for the rest. */
int raft_node_exit_code(enum status status);
