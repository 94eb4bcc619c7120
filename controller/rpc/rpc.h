/* A running controller: its state machine behind the Raft node, its elections and liveness while it
 * is the active one, and the methods that it serves (proto/rpc/methods.def).
 *
 * Every controller serves WATCH and stale metadata from what it has applied; everything that
 * changes or must be current is for the active one, the others answer NOT_ACTIVE with its name as
 * the hint.
 *
 * Thread: the loop's. */
#pragma once

#include "base/limits.h"
#include "base/status.h"
#include "controller/raft/raft.h"
#include "controller/scaling/scaling.h"

struct config_spec;
struct controller;
struct net_loop;
struct net_tls;
struct secret_ring;

enum {
    CONTROLLER_BEAT_EVERY_MS = 100,
    CONTROLLER_BROKER_TIMEOUT_MS = 1000,
    CONTROLLER_SESSION_GRACE_MS = 300,
    CONTROLLER_CONNECTIONS_MAX = 4096,
    CONTROLLER_COMPARE_ENTRIES = 1024,
    CONTROLLER_REPLACE_AFTER_MS = 15 * 60 * 1000,
    CONTROLLER_MOVES_AT_ONCE = 8,
    CONTROLLER_SCALING_WINDOW_MS = 60 * 1000,
    CONTROLLER_SCALING_IDLE_MS = 6 * 60 * 60 * 1000,
    CONTROLLER_SCALING_COOLDOWN_MS = 60 * 1000,
};

struct controller_options {
    struct net_loop *loop;
    struct net_tls *tls;               /* borrowed; its identity is ours, its cluster the cluster */
    const struct secret_ring *secrets; /* borrowed; NULL: no access keys */
    const char *account_id, *region;   /* borrowed: of a cluster that is made; NULL: defaults */
    uint64_t boot;
    uint32_t id;
    const char *dir;  /* state.db and Raft's files; must exist, and be ours alone */
    const char *host; /* to listen on */
    uint16_t port;
    uint32_t connections_max;                       /* 0 for the defaults above, as those below */
    uint32_t source_connections, source_handshakes; /* of one address; 0: no limit */
    const struct raft_node_server *servers;         /* the initial set, ourselves included */
    uint32_t server_count;
    bool join;                          /* as in struct raft_node_options */
    struct raft_node_restored restored; /* ditto */
    uint32_t beat_every_ms, broker_timeout_ms, session_grace_ms;
    uint32_t lease_term_ms, lease_hand_over_ms, lease_moves; /* 0: of controller/lease/lease.h */
    uint32_t election_ms, heartbeat_ms;                      /* 0: of raft.h */
    uint32_t snapshot_entries, snapshot_bytes, trailing_entries; /* ditto */
    uint32_t compare_entries;   /* the controllers compare their states so often; 0: the default */
    uint64_t replace_after_ms;  /* replicas of a broker that is dead for so long move; 0: 15 min */
    uint32_t moves_at_once;     /* replicas on their way; 0: the default */
    const char *metrics_listen; /* as pages_open(); NULL or empty: none */
    const struct config_spec *spec;
    const void *config;            /* and the values: what is told of them to operators; or NULL */
    struct scaling_config scaling; /* window_ms 0: the defaults above */
    /* The controller cannot go on: the process must end soon, with this code. */
    void (*failed)(void *data, int exit_code, const struct error *why);
    void *data;
};

/* Nothing is opened yet. NULL when out of memory. */
struct controller *controller_new(const struct controller_options *options);

/* Opens the state, joins the others and listens. Whatever it returns, controller_close() follows
 * one day. Errors as db_open(), raft_node_open() and net_listener_open(); WRONG_CLUSTER when the
 * state is another cluster's. */
NODISCARD enum status controller_open(struct controller *controller, struct error *error);

bool controller_is_active(const struct controller *controller);

/* Asks another controller to become the active one; false when there is nothing to hand over. */
bool controller_retire(struct controller *controller);

/* Answers what waits, ends the sessions and closes the files. Not from inside a callback. */
void controller_close(struct controller *controller);

/* After the loop has run its last callbacks (net_loop_free() does). NULL is accepted. */
void controller_free(struct controller *controller);
