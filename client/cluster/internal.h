/* What the files of this folder share. */
#pragma once

#include "client/cluster/cluster.h"

enum {
    PEERS_MAX = BOOTSTRAP_MAX + 16,
    DIAL_PATIENCE_MS = 1500,  /* then another controller is tried beside */
    READ_ATTEMPT_MS = 1000,   /* a question is cheap to ask again elsewhere */
    CHANGE_ATTEMPT_MS = 5000, /* a change may have work to do */
    CALL_BACKOFF_MIN_MS = 10, /* doubling */
    CALL_BACKOFF_MAX_MS = 500,
    WATCH_BACKOFF_MAX_MS = 400,
    DOUBT_EVERY_MS = 250,
    DOUBT_TIMEOUT_MS = 2500,
    BEHIND_PATIENCE_MS = 300, /* before we watch another controller than one that knows less */
    PARTS_BYTES_MAX = 256 * 1024 * 1024, /* a million shards */
};

/* A controller that we know of, by the bootstrap list or by the metadata. */
struct controller_peer {
    struct cluster *cluster;
    struct endpoint endpoint;
    uint32_t id; /* 0: not known yet */
    struct session *session;
    bool open;
    enum status refused; /* why it would never have us; OK when it would */
    struct list waiters;
};

struct broker_link {
    struct list node;
    struct cluster *cluster;
    uint32_t id, serial;
    struct net_link *link;
    bool open;
    struct endpoint endpoint;
    uint64_t boot; /* of the broker, when we last looked; 0 while it is down */
};

struct metadata_watch {
    struct cluster *cluster;
    struct session_request request;
    struct peer_waiter waiter;
    struct net_timer retry;
    bool asking; /* `request` is under way */
    bool wants_image;
    size_t peer;
    uint32_t failures;
};

struct cluster {
    struct net_loop *loop;
    struct net_tls *tls;
    struct rng rng;
    bool closing;

    struct controller_peer *peers[PEERS_MAX];
    size_t peer_count;
    uint32_t active_hint; /* id of the controller that should be active; 0: unknown */
    struct error trouble;
    struct list calls;

    struct metadata metadata;
    struct metadata_watch watch;
    struct list watchers;
    struct net_turn tell;

    struct cluster_call doubt;
    Weir__GetMetadata doubt_body;
    char doubt_stream[STREAM_NAME_MAX + 1];
    bool doubting;
    uint64_t next_doubt_ms;
    size_t doubt_peer;       /* who was asked last */
    uint64_t ahead_version;  /* a version that somebody else has */
    struct net_timer behind; /* runs while our watch has not told us of it */

    struct list brokers;
    uint32_t next_serial;
};

/* Tells the watchers at the end of this turn. */
void cluster_changed(struct cluster *cluster);

/* controllers.c */
void controllers_open(struct cluster *cluster, const struct endpoint *bootstrap, size_t count);
void controllers_close(struct cluster *cluster);
void controllers_learn(struct cluster *cluster); /* from new metadata */
/* Whether its session is open; if not, it is dialled, and `waiter` told. */
bool controller_want(struct controller_peer *peer, struct peer_waiter *waiter);
size_t controller_of_id(const struct cluster *cluster, uint32_t id); /* peer_count: none */
size_t controller_next(struct cluster *cluster, size_t peer);

/* calls.c */
void calls_close(struct cluster *cluster);

/* watch.c */
void watch_open(struct cluster *cluster);
void watch_close(struct cluster *cluster);
void watch_elsewhere(struct cluster *cluster);

/* brokers.c */
void brokers_close(struct cluster *cluster);
void brokers_learn(struct cluster *cluster); /* from new metadata */
