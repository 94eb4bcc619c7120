/* Streams: create, describe, list, delete; and what operators want to see of a cluster.
 *
 * Every call finds the active controller, follows it when it changes, and tries again with back-off
 * until its deadline (`timeout_ms`; 0: 30 s). Changes carry a request id, so that a repeated try is
 * never a second change.
 *
 * Errors of all calls: UNAVAILABLE (no controller answered in time), UNCERTAIN (a change was sent
 * and its outcome is unknown), DENIED (the certificate's role), INVALID (a bad name or number),
 * NO_MEMORY, CLOSING. Further ones are named at each call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum weir_stream_state {
    WEIR_STREAM_NONE = 0,
    WEIR_STREAM_CREATING = 1,
    WEIR_STREAM_ACTIVE = 2,
    WEIR_STREAM_DELETING = 3,
    WEIR_STREAM_UPDATING = 4, /* ACTIVE, and a change of it is under way */
};
/* "ACTIVE" ... */
const char *weir_stream_state_name(enum weir_stream_state state);

struct weir_create_options {
    uint32_t shards;          /* 1 to 10,000 */
    uint32_t retention_hours; /* 0: 24 */
    bool allow_fewer_zones;   /* replicas may share a failure domain (never a broker) */
    bool no_wait;             /* return when the controllers have it, before it is ACTIVE */
    uint32_t timeout_ms;
};

/* EXISTS     a stream of this name exists
 * PLACEMENT  the brokers that are there cannot hold three replicas in three zones
 * TIMEOUT    it was created but did not become ACTIVE in time */
WEIR_NODISCARD enum weir_status weir_stream_create(struct weir_client *client, const char *name,
                                                   const struct weir_create_options *options,
                                                   struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_stream_create_async(struct weir_client *client,
                                                         const char *name,
                                                         const struct weir_create_options *options,
                                                         weir_done_fn *done, void *context);

/* `wait`: until the stream is gone. NOT_FOUND: no such stream. */
WEIR_NODISCARD enum weir_status weir_stream_delete(struct weir_client *client, const char *name,
                                                   bool wait, uint32_t timeout_ms,
                                                   struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_stream_delete_async(struct weir_client *client,
                                                         const char *name, bool wait,
                                                         uint32_t timeout_ms, weir_done_fn *done,
                                                         void *context);

/* NOT_FOUND: no such stream. INVALID: not 24 to 8,760 hours. */
WEIR_NODISCARD enum weir_status weir_stream_retention(struct weir_client *client, const char *name,
                                                      uint32_t hours, uint32_t timeout_ms,
                                                      struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_stream_retention_async(struct weir_client *client,
                                                            const char *name, uint32_t hours,
                                                            uint32_t timeout_ms, weir_done_fn *done,
                                                            void *context);

/* Limits of each shard of a stream, a second, for clients of the Kinesis interface. */
#define WEIR_CLUSTER_LIMIT UINT64_C(0) /* what the brokers' configuration says */
#define WEIR_NO_LIMIT      UINT64_MAX
struct weir_stream_limits {
    uint64_t write_bytes, write_records;
    uint64_t read_bytes, read_calls; /* of GetRecords */
    uint64_t iterator_calls;         /* GetShardIterator */
    uint64_t subscription_bytes;     /* of each consumer */
};
/* NOT_FOUND: no such stream. */
WEIR_NODISCARD enum weir_status weir_stream_limits_get(struct weir_client *client, const char *name,
                                                       uint32_t timeout_ms,
                                                       struct weir_stream_limits *out,
                                                       struct weir_error *error);
/* All of them at once. IN_USE: the stream is changing otherwise just now. */
WEIR_NODISCARD enum weir_status weir_stream_limits_set(struct weir_client *client, const char *name,
                                                       const struct weir_stream_limits *limits,
                                                       uint32_t timeout_ms,
                                                       struct weir_error *error);
/* `limits` is NULL when error->status is not OK; borrowed for the call. */
typedef void weir_stream_limits_fn(const struct weir_stream_limits *limits,
                                   const struct weir_error *error, void *context);
WEIR_NODISCARD enum weir_status weir_stream_limits_get_async(struct weir_client *client,
                                                             const char *name, uint32_t timeout_ms,
                                                             weir_stream_limits_fn *got,
                                                             void *context);
WEIR_NODISCARD enum weir_status weir_stream_limits_set_async(
    struct weir_client *client, const char *name, const struct weir_stream_limits *limits,
    uint32_t timeout_ms, weir_stream_limits_fn *got, void *context);

enum weir_reshard_type {
    WEIR_SPLIT = 1, /* .shard becomes two; .hash_key is the first of the second, NULL: the middle */
    WEIR_MERGE,     /* .shard and .neighbour become one */
    WEIR_SHARD_COUNT, /* the stream gets .shards shards with equal ranges of hash keys */
};
struct weir_reshard {
    enum weir_reshard_type type;
    uint32_t shard, neighbour, shards;
    const char *hash_key; /* decimal */
    bool no_wait;         /* return when it has begun, not when it is done */
    uint32_t timeout_ms;
};

/* Puts and reads go on meanwhile: for each partition key the records of a closed shard come before
 * those of its children.
 *
 * NOT_FOUND  no such stream or shard
 * IN_USE     another change of the stream is under way
 * INVALID    the shard is closed, the shards are no neighbours, the key lies outside of the shard
 * TIMEOUT    it has begun, and goes on by itself */
WEIR_NODISCARD enum weir_status weir_stream_reshard(struct weir_client *client, const char *name,
                                                    const struct weir_reshard *change,
                                                    struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_stream_reshard_async(struct weir_client *client,
                                                          const char *name,
                                                          const struct weir_reshard *change,
                                                          weir_done_fn *done, void *context);

struct weir_replica {
    char broker[WEIR_NODE_NAME_BYTES];
    char zone[WEIR_ZONE_BYTES];
    uint32_t broker_id, disk_gen;
    bool alive; /* the broker, as the controllers see it */
    bool leader;
    bool known;     /* the leader told about this replica: the fields below are valid */
    bool connected; /* to the leader */
    bool in_sync;   /* it holds everything that is committed */
    uint64_t match; /* durable and verified up to here */
    uint64_t lag;   /* records behind the leader's end */
};

/* What is counted of a shard, in the order of the names: IncomingBytes, IncomingRecords,
 * OutgoingBytes, OutgoingRecords, WriteProvisionedThroughputExceeded (records),
 * ReadProvisionedThroughputExceeded (calls), IteratorAgeMilliseconds (of the last record of the
 * last read). */
enum { WEIR_METRICS = 7 };

struct weir_shard {
    char id[WEIR_SHARD_ID_BYTES];
    uint32_t number;
    char hash_first[WEIR_HASH_KEY_BYTES], hash_last[WEIR_HASH_KEY_BYTES]; /* both included */
    char first_sequence_number[WEIR_SEQUENCE_NUMBER_BYTES];
    /* "ACTIVE", "ELECTING", "NO_QUORUM"; of splits and merges: "WAITING" for its parents to be
     * closed, "SEALING", "SEALED" (closed: its children take the records), "DELETED" (expired) */
    const char *state;
    bool takes_records;
    uint32_t parent_count;
    uint32_t parents[2]; /* numbers, the lower range first */
    uint64_t closed_ms;  /* SEALED: when */
    uint32_t epoch;
    char leader[WEIR_NODE_NAME_BYTES]; /* "" when there is none */
    bool status_known;                 /* the leader answered: the four below are valid */
    bool open;
    uint64_t log_start, commit, end;
    uint32_t metrics_enabled;       /* bits in the order above; with status_known */
    uint64_t metrics[WEIR_METRICS]; /* since the leader's process began; 0 where not enabled */
    uint32_t replica_count;
    struct weir_replica replicas[WEIR_REPLICAS_MAX];
};

struct weir_stream {
    uint32_t id;
    char name[WEIR_STREAM_NAME_BYTES];
    enum weir_stream_state state;
    uint64_t created_ms; /* Unix milliseconds */
    uint32_t retention_hours;
    uint64_t version; /* of the metadata that says so */
    uint32_t shard_count;
    struct weir_shard *shards; /* by number; NULL in a list of streams */
};
void weir_stream_free(struct weir_stream *stream);

/* `ask_leaders`: the shards' leaders are asked for replicas and lag; one that does not answer in a
 * second leaves status_known false. NOT_FOUND: no such stream. */
WEIR_NODISCARD enum weir_status weir_stream_describe(struct weir_client *client, const char *name,
                                                     bool ask_leaders, uint32_t timeout_ms,
                                                     struct weir_stream **out,
                                                     struct weir_error *error);
/* `stream` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_stream_fn(struct weir_stream *stream, const struct weir_error *error,
                            void *context);
WEIR_NODISCARD enum weir_status weir_stream_describe_async(struct weir_client *client,
                                                           const char *name, bool ask_leaders,
                                                           uint32_t timeout_ms, weir_stream_fn *got,
                                                           void *context);

/* All streams by name, without their shards. */
struct weir_stream_list {
    uint64_t version;
    size_t count;
    struct weir_stream *streams;
};
void weir_stream_list_free(struct weir_stream_list *list);
WEIR_NODISCARD enum weir_status weir_stream_list(struct weir_client *client, uint32_t timeout_ms,
                                                 struct weir_stream_list **out,
                                                 struct weir_error *error);
typedef void weir_stream_list_fn(struct weir_stream_list *list, const struct weir_error *error,
                                 void *context);
WEIR_NODISCARD enum weir_status weir_stream_list_async(struct weir_client *client,
                                                       uint32_t timeout_ms,
                                                       weir_stream_list_fn *got, void *context);

struct weir_controller_status {
    uint32_t id;
    char name[WEIR_NODE_NAME_BYTES], host[WEIR_HOST_BYTES];
    uint16_t port;
    char state[16]; /* "active", "follower", "candidate", "unreachable" */
    uint64_t term, last_index, commit_index, applied_index, match_index;
    uint64_t compared_index; /* the newest entry after which its state was compared; 0: never */
    bool differs;            /* and was another than the answering controller's */
    bool voter;              /* else it gets the log and does not vote */
    char software[64];       /* "weir 0.1.0"; "": it is not connected */
    uint32_t protocol;       /* version that it and the active controller speak */
};

struct weir_broker_status {
    uint32_t id, disk_gen;
    char name[WEIR_NODE_NAME_BYTES], zone[WEIR_ZONE_BYTES], host[WEIR_HOST_BYTES];
    uint16_t port;
    bool alive, session; /* committed state; a session with the active controller right now */
    uint64_t beat_age_ms, boot;
    uint32_t replicas, leaders;
    uint64_t disk_bytes, disk_free_bytes;
    char disk_state[16]; /* "ok", "full", "out" */
    /* Replicas on its disk that the cluster's metadata do not list; things in its quarantine, where
     * such replicas go; and of these, replicas that the metadata list again. */
    uint32_t unlisted, quarantined, reclaimed;
    /* Replicas with damage that no other replica could repair yet; damaged pieces that were found
     * since it started, and of these, that are repaired; segments that differ from another
     * replica's although both have good checksums: never, one hopes. */
    uint32_t holes;
    uint64_t damage_found, damage_repaired, segments_differ;
    /* How often every byte was checked; when the last such pass ended (Unix, 0: none yet), how far
     * this one is, and whether it takes longer than it should. */
    uint64_t scrub_passes, scrub_finished_ms;
    uint32_t scrub_permille;
    bool scrub_late;
    char software[64]; /* as of controllers */
    uint32_t protocol;
    bool held;      /* silent, but so are too many: see WEIR_CONSENT_FAILOVER */
    char unfit[16]; /* why its leaderships move away: "slow disk", "slow", "clock off", "disk full";
                     * "": it may lead */
    int64_t clock_offset_ms;    /* of its clock to cluster time, the middle of the controllers' */
    uint32_t sync_us, stall_us; /* lately 99 of 100 of its journal writes took no longer; and the
                                 * latest that it was with what it does */
    uint64_t isolated_ms; /* for so long other brokers have reached it and the controllers have not;
                           * 0: it is not so. After 30 s it is failed over */
};

struct weir_cluster {
    char id[37]; /* uuid */
    char software[64];
    uint64_t version; /* of the metadata */
    uint32_t active_controller;
    uint32_t streams, shards, shards_without_leader;
    size_t controller_count, broker_count;
    struct weir_controller_status *controllers;
    struct weir_broker_status *brokers;
};
void weir_cluster_free(struct weir_cluster *cluster);
WEIR_NODISCARD enum weir_status weir_cluster_status(struct weir_client *client, uint32_t timeout_ms,
                                                    struct weir_cluster **out,
                                                    struct weir_error *error);
typedef void weir_cluster_fn(struct weir_cluster *cluster, const struct weir_error *error,
                             void *context);
WEIR_NODISCARD enum weir_status weir_cluster_status_async(struct weir_client *client,
                                                          uint32_t timeout_ms, weir_cluster_fn *got,
                                                          void *context);

#ifdef __cplusplus
}
#endif
