/* The controllers' state machine: one SQLite database, `state.db` (schema.c describes every
 * column).
 *
 * One transaction per entry of the Raft log, which also stores the entry's index; WAL with
 * synchronous=NORMAL, because what a power loss takes away is applied again from the log, which
 * does sync. Everything here is deterministic: no clock, no random(), and an ORDER BY wherever rows
 * meet code. Rows are changed only between db_begin() and db_commit(); what changed is gathered for
 * the watch.
 *
 * Failure is sticky: after an error of SQLite every read finds nothing, every write does nothing,
 * and db_commit() returns IO with the sentence. The process must then end: the log has the truth.
 *
 * Thread: one home thread, except db_copy(). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash_key.h"
#include "base/limits.h"
#include "base/status.h"
#include "proto/schema/balance.pb-c.h"
#include "proto/schema/keyring.pb-c.h"
#include "proto/schema/metadata.pb-c.h"

enum {
    DB_DISK_ID_BYTES = 16,
    DB_REQUEST_BYTES = 16,
    DB_VOTERS_MAX = 6,
    DB_REQUESTS_MAX = 65536,                 /* results kept for retries … */
    DB_REQUEST_AGE_MS = 24 * 60 * 60 * 1000, /* … and for how long, in cluster time */
    DB_PRODUCER_BLOCK = 1 << 20,             /* producer ids given out at a time */
    DB_KEY_ID_BYTES = 33,                    /* of access keys, with their zero */
    DB_KEY_NAME_BYTES = 65,
    DB_RING_ID_BYTES = 37,     /* of a key of the key ring, a uuid, with its zero */
    DB_SEALED_MAX = 160,       /* an encrypted secret */
    DB_LEASE_NAME_BYTES = 129, /* of applications and workers, with their zero */
    DB_INCARNATION_BYTES = 16,
};

struct db;

/* Opens or creates. UNSUPPORTED: written by a newer version of Weir. CORRUPT: not a database of
 * ours. IO. */
NODISCARD enum status db_open(const char *path, struct db **out, struct error *error);
void db_close(struct db *db);

/* Pages in the write-ahead log since its last checkpoint: who owns the loop runs db_checkpoint() on
 * another thread now and then (a checkpoint syncs, a commit must not). */
uint32_t db_wal_pages(const struct db *db);

/* Any thread, with a connection of its own. IO. */
NODISCARD enum status db_checkpoint(const char *path, struct error *error);

/* ANY THREAD, while the home thread goes on: a consistent copy of the database at `path` in the new
 * file `target`, and the index that it has applied. IO, CORRUPT. */
NODISCARD enum status db_copy(const char *path, const char *target, uint64_t *out_index,
                              struct error *error);

/* Makes a copy whose state may be behind what was given out since (a backup) fit to begin with: the
 * applied index, the image's version, producer and stream ids jump over
 * all that may be in use, by the same amounts wherever it is done; numbers of shards wait until
 * brokers have told which they hold (db_restored_waits()). Not while it is open. IO,
 * CORRUPT, UNSUPPORTED: of a newer version. */
#define DB_RENEW_ENTRIES (UINT64_C(1) << 40) /* also versions, and producer ids */
enum { DB_RENEW_STREAMS = 1 << 12 };
NODISCARD enum status db_renew(const char *path, uint64_t *out_index, struct error *error);

/* Replaces everything by the copy in `source` in one transaction: after a crash the old state or
 * the new one is there. Pending changes are forgotten: who has an image of the rows loads it again.
 * UNSUPPORTED: of a newer version. CORRUPT, IO. */
NODISCARD enum status db_restore(struct db *db, const char *source, struct error *error);

/* A digest of all rows, meta included: equal where the same entries were applied, in whatever order
 * the file has the rows. begin() on the home thread, outside a transaction: the digest is of the
 * state as it is then; it costs little. run(), which reads everything, may be on any thread while
 * the home thread goes on. IO, CORRUPT, NO_MEMORY. */
struct db_digest;
uint32_t db_format(void); /* digests of different formats cannot be compared */
NODISCARD enum status db_digest_begin(const char *path, struct db_digest **out,
                                      struct error *error);
NODISCARD enum status db_digest_run(struct db_digest *digest, uint64_t *out_digest,
                                    struct error *error);
void db_digest_free(struct db_digest *digest);

/* ---- the transaction of an entry
 * ------------------------------------------------------------------ */

struct db_meta {
    uint64_t applied_index;
    uint64_t version;    /* of the metadata image: rises by one in an entry that changed it */
    uint64_t time_ms;    /* cluster time: the greatest that a command carried */
    uint64_t state_hash; /* of everything applied so far: equal on all controllers at one index */
    uint64_t next_producer;
    uint32_t next_stream;
    bool has_cluster;
    uint8_t cluster[CLUSTER_ID_BYTES];
};
const struct db_meta *db_meta(const struct db *db);

void db_begin(struct db *db);
/* Stores `index` and ends the transaction. `mix` is a hash of the results, mixed into state_hash.
 * IO: the process must end. */
NODISCARD enum status db_commit(struct db *db, uint64_t index, uint32_t mix, struct error *error);

/* Fails the database by a fault of the caller's (out of memory, say): db_commit() will not commit.
 */
void db_abort(struct db *db, enum status status, const char *text);

/* The version that this transaction makes of the changes so far; the present one without any. */
uint64_t db_next_version(const struct db *db);

/* What the last transactions changed, each id once, ascending; the caller clears it. */
struct db_ids {
    uint64_t *id;
    size_t count, capacity;
};
struct db_lease_key {
    uint64_t application, shard;
};
struct db_lease_keys { /* as they changed, also more than once */
    struct db_lease_key *key;
    size_t count, capacity;
};
struct db_changes {
    struct db_ids brokers, streams, shards, deleted_streams;
    struct db_ids applications;  /* itself, its streams or its workers: not in the image */
    struct db_lease_keys leases; /* ditto; those of a deleted application are not listed */
    bool drops;                  /* rows of db_drop_put() came or went */
    bool settings;               /* db_settings_put() */
};
struct db_changes *db_changes(struct db *db);
bool db_changes_any(const struct db_changes *changes);
void db_changes_clear(struct db_changes *changes);

void db_time_advance(struct db *db, uint64_t time_ms);
void db_cluster_set(struct db *db, const uint8_t cluster[CLUSTER_ID_BYTES]);
uint32_t db_stream_id_take(struct db *db);
uint64_t db_producers_take(struct db *db, uint64_t count); /* the first of them */

/* ---- rows. A get is false when there is no such row; a put inserts or replaces.
 * -------------------- */

struct db_replica {
    uint32_t broker, disk_gen; /* broker 0: none */
    bool made; /* a voter that has reported to a fence: until then it may be made (R14) */
};

struct db_config {
    uint32_t version;
    uint32_t voter_count; /* 0: no configuration */
    struct db_replica voter[DB_VOTERS_MAX];
};

/* The numbers are those of proto/schema/moves.proto. */
enum db_broker_mode {
    DB_BROKER_NORMAL,
    DB_BROKER_DRAINING, /* its replicas move away, and none comes */
    DB_BROKER_REPLACED, /* dead, and its replicas are made anew elsewhere, until it is back */
    DB_BROKER_REMOVED,  /* without replicas; may come back with an empty disk only */
};

static inline const char *db_broker_mode_name(enum db_broker_mode mode)
{
    return mode == DB_BROKER_DRAINING   ? "draining"
           : mode == DB_BROKER_REPLACED ? "replaced"
           : mode == DB_BROKER_REMOVED  ? "removed"
                                        : "";
}

struct db_broker {
    uint64_t boot;
    uint64_t down_ms; /* cluster time when it was found dead; 0: it is alive */
    uint32_t id, disk_gen;
    uint32_t replicas;  /* placed on it, over all shards */
    uint32_t preferred; /* shards that it should lead when all is well */
    enum db_broker_mode mode;
    uint16_t port;
    bool alive;
    uint8_t disk[DB_DISK_ID_BYTES];
    char zone[ZONE_BYTES];
    char label[ZONE_BYTES]; /* the zone that an administrator gave it; empty: its own word counts */
    char host[HOST_BYTES];
};

struct db_disk {
    uint8_t id[DB_DISK_ID_BYTES];
    uint32_t broker, disk_gen;
    uint64_t boot;                     /* the highest that was registered with it */
    uint8_t process[DB_DISK_ID_BYTES]; /* of that boot: zeros when it did not say */
};

enum db_stream_state {
    DB_STREAM_CREATING = 1,
    DB_STREAM_ACTIVE = 2,
    DB_STREAM_DELETING = 3,
    DB_STREAM_UPDATING = 4, /* ACTIVE, and a change of it is under way */
};

struct db_stream {
    uint32_t id;
    char name[STREAM_NAME_MAX + 1];
    enum db_stream_state state;
    uint64_t created_ms;
    uint32_t retention_hours;
    uint32_t shard_count; /* shards ever made */
    uint32_t waiting;     /* shards that have never been ACTIVE */
};

/* The numbers are those of proto/schema/metadata.proto. */
enum db_shard_phase {
    DB_SHARD_IDLE,
    DB_SHARD_ELECTING,
    DB_SHARD_ACTIVE,
    DB_SHARD_SEALED,
    DB_SHARD_NO_QUORUM,
    DB_SHARD_DELETED,
};

enum { DB_PARENTS_MAX = 2 };

/* Where a shard is in the life that splits and merges give it; its phase is that of its elections,
 * which go on: who leads a closed shard answers retries of what it has, and its readers. */
enum db_shard_state {
    DB_SHARD_OPEN,
    DB_SHARD_WAITING, /* takes no records before its parents are closed */
    DB_SHARD_SEALING, /* takes records until its SEAL is committed; all children have leaders */
    DB_SHARD_CLOSED,  /* its children are open */
};

struct db_lineage {
    enum db_shard_state state;
    uint32_t parent_count;
    uint32_t parent[DB_PARENTS_MAX]; /* numbers, the lower range first */
    uint64_t final_offset; /* SEALING: 0 until its SEAL is known as committed. Where that ends */
    uint64_t closed_ms;    /* with final_offset: no record is younger */
};

/* A replica on its way (controller/moves/move.h). */
struct db_move {
    uint32_t state; /* enum move_state; 0: none */
    struct db_replica from, to;
    uint64_t started_ms;
};

struct db_shard {
    uint64_t id; /* stream id << 32 | number */
    struct hash_range range;
    uint64_t created_s; /* second in its sequence numbers */
    enum db_shard_phase phase;
    bool granted; /* has ever been ACTIVE: until then no record can exist anywhere */
    uint32_t epoch;
    uint32_t generation;
    uint32_t preferred; /* broker that should lead */
    struct db_replica leader;
    uint64_t leader_boot;
    struct db_config cfg, prev_cfg;
    struct db_lineage lineage;
    struct db_move move;
};

static inline uint64_t db_shard_id(uint32_t stream, uint32_t number)
{
    return (uint64_t)stream << 32 | number;
}

bool db_broker_get(struct db *db, uint32_t id, struct db_broker *out);
void db_broker_put(struct db *db, const struct db_broker *broker);
/* Ascending by id; the visitor must not change rows of the kind it visits. */
void db_broker_each(struct db *db, void (*visit)(const struct db_broker *broker, void *context),
                    void *context);
/* Adds to the counts of a broker's replicas and preferred leaderships; not a change for the watch.
 */
void db_broker_load_add(struct db *db, uint32_t id, int64_t replicas, int64_t preferred);

/* Only its mode, label and down_ms; db_broker_put() leaves those. */
void db_broker_plan_put(struct db *db, const struct db_broker *broker);
/* Whether numbers of replicas are being made even. */
bool db_rebalancing(struct db *db);
void db_rebalancing_set(struct db *db, bool rebalancing);

bool db_disk_get(struct db *db, const uint8_t id[DB_DISK_ID_BYTES], struct db_disk *out);
void db_disk_put(struct db *db, const struct db_disk *disk);
uint32_t db_disk_gen_max(struct db *db, uint32_t broker); /* 0: it has none */

bool db_stream_get(struct db *db, uint32_t id, struct db_stream *out);
bool db_stream_find(struct db *db, const char *name, struct db_stream *out);
void db_stream_put(struct db *db, const struct db_stream *stream);
/* With all its shards. */
void db_stream_delete(struct db *db, uint32_t id);
void db_stream_each(struct db *db, void (*visit)(const struct db_stream *stream, void *context),
                    void *context);

bool db_shard_get(struct db *db, uint64_t id, struct db_shard *out);
void db_shard_put(struct db *db, const struct db_shard *shard); /* leaves its configurations */
void db_shard_configs_put(struct db *db, const struct db_shard *shard); /* only those */
void db_shard_lineage_put(struct db *db, const struct db_shard *shard); /* only that */
void db_shard_move_put(struct db *db, const struct db_shard *shard);    /* ditto */
/* How many replicas are on their way to the broker. */
uint32_t db_moves_to(struct db *db, uint32_t broker);
/* The first shard of the stream whose number is at least `from` and whose state is `state`. */
bool db_shard_in_state(struct db *db, uint32_t stream, uint32_t from, enum db_shard_state state,
                       uint32_t *out_number);

/* A stream is on its way to `target` shards with equal ranges; 0: only to what has been begun. */
bool db_reshard_get(struct db *db, uint32_t stream, uint32_t *out_target);
void db_reshard_put(struct db *db, uint32_t stream, uint32_t target);
void db_reshard_delete(struct db *db, uint32_t stream);
/* The replica exists from now on, whichever configuration it is in. */
void db_replica_made(struct db *db, uint64_t shard, uint32_t broker, uint32_t disk_gen);
/* Ascending by id; of one stream, or of all when `stream` is 0. The visitor may put shards. */
void db_shard_each(struct db *db, uint32_t stream,
                   void (*visit)(const struct db_shard *shard, void *context), void *context);

/* Shards that take records, or will: neither sealed nor deleted. */
uint64_t db_shards_open(struct db *db);

/* Messages as rows. A get gives an empty message when there is no row; it is the caller's to free,
 * and NULL when out of memory (then db_commit() will not commit). */
Weir__StreamAttributes *db_attributes_get(struct db *db, uint32_t stream);
void db_attributes_put(struct db *db, uint32_t stream, const Weir__StreamAttributes *attributes);
Weir__ClusterSettings *db_settings_get(struct db *db);
void db_settings_put(struct db *db, const Weir__ClusterSettings *settings);
/* Of automatic balancing: not in the image. */
Weir__BalanceSettings *db_balance_get(struct db *db);
void db_balance_put(struct db *db, const Weir__BalanceSettings *settings);

/* Brokers that have not told, since the state was restored from a backup, which shards they hold
 * that it does not have: until they have, no shard gets a new number. The version is the image's
 * that they must compare with, at least. */
bool db_restored_waits(struct db *db, uint32_t broker, uint64_t *out_version);
void db_restored_told(struct db *db, uint32_t broker);
/* Up to `max` of them, ascending; returns how many. */
size_t db_restored_each(struct db *db, uint32_t *out_brokers, size_t max);

/* Not in the image: brokers ask for what is derived from them. */
struct db_key {
    char id[DB_KEY_ID_BYTES], name[DB_KEY_NAME_BYTES];
    bool enabled;
    uint64_t created_ms;
    uint8_t sealed[DB_SEALED_MAX];
    uint32_t sealed_bytes;
};
bool db_key_get(struct db *db, const char *id, struct db_key *out);
void db_key_put(struct db *db, const struct db_key *key);
bool db_key_delete(struct db *db, const char *id); /* whether it was there */
uint64_t db_key_count(struct db *db);
/* Ascending by id. */
void db_key_each(struct db *db, void (*visit)(const struct db_key *key, void *context),
                 void *context);
void db_token_key_add(struct db *db, struct bytes sealed);
/* The key ring. NULL: there is no such key, or memory ran out (then db_commit() will not commit).
 */
Weir__RingKey *db_ring_get(struct db *db, const char *id);
void db_ring_put(struct db *db, const Weir__RingKey *key);
void db_ring_delete(struct db *db, const char *id);
/* Ascending by id. The visitor must not use the ring. */
void db_ring_each(struct db *db, void (*visit)(const Weir__RingKey *key, void *context),
                  void *context);
/* Newest first. */
void db_token_key_each(struct db *db,
                       void (*visit)(uint32_t id, struct bytes sealed, void *context),
                       void *context);

/* ---- consumer leases (docs/leases.md)
 * -------------------------------------------------------------- */

/* The numbers are those of proto/schema/lease.proto. */
enum db_position_type {
    DB_TRIM_HORIZON,
    DB_LATEST,
    DB_AT_TIMESTAMP,
    DB_AT_OFFSET,
    DB_SHARD_END,
};

struct db_position {
    enum db_position_type type;
    uint64_t offset;       /* AT_OFFSET: records below are processed, … */
    uint32_t sub_sequence; /* … and so many user records of the one at it */
    uint64_t timestamp_ms; /* AT_TIMESTAMP */
};

struct db_application {
    uint64_t id;
    char name[DB_LEASE_NAME_BYTES];
    uint64_t created_ms;
};

struct db_lease_stream {
    uint32_t stream;
    struct db_position initial;
    uint32_t next_shard; /* shards below this number were leased, or need not be */
};

struct db_lease_worker {
    uint64_t id, application;
    char name[DB_LEASE_NAME_BYTES];
    uint8_t incarnation[DB_INCARNATION_BYTES];
    uint64_t joined_ms;
};

struct db_lease {
    uint64_t application, shard;
    uint64_t worker; /* 0: nobody */
    uint64_t counter;
    uint64_t owned_ms; /* cluster time when the tenure began */
    struct db_position checkpoint, pending;
    bool has_pending;
    uint64_t checkpoint_ms; /* 0: never */
};

/* For applications, workers and counters alike: no number is ever given out twice. */
uint64_t db_lease_number_take(struct db *db);

bool db_application_get(struct db *db, uint64_t id, struct db_application *out);
bool db_application_find(struct db *db, const char *name, struct db_application *out);
void db_application_put(struct db *db, const struct db_application *application);
/* With all that belongs to it. */
void db_application_delete(struct db *db, uint64_t id);
/* By name. */
void db_application_each(struct db *db,
                         void (*visit)(const struct db_application *application, void *context),
                         void *context);
uint64_t db_application_count(struct db *db);

bool db_lease_stream_get(struct db *db, uint64_t application, uint32_t stream,
                         struct db_lease_stream *out);
void db_lease_stream_put(struct db *db, uint64_t application, const struct db_lease_stream *stream);
void db_lease_stream_delete(struct db *db, uint64_t application, uint32_t stream);
void db_lease_stream_each(struct db *db, uint64_t application,
                          void (*visit)(const struct db_lease_stream *stream, void *context),
                          void *context);
uint64_t db_lease_stream_count(struct db *db, uint64_t application);

bool db_lease_worker_get(struct db *db, uint64_t id, struct db_lease_worker *out);
bool db_lease_worker_find(struct db *db, uint64_t application, const char *name,
                          struct db_lease_worker *out);
void db_lease_worker_put(struct db *db, const struct db_lease_worker *worker);
/* Leaves its leases as they are. */
void db_lease_worker_delete(struct db *db, const struct db_lease_worker *worker);
/* By name; the visitor must not change workers. */
void db_lease_worker_each(struct db *db, uint64_t application,
                          void (*visit)(const struct db_lease_worker *worker, void *context),
                          void *context);
uint64_t db_lease_worker_count(struct db *db, uint64_t application);

bool db_lease_get(struct db *db, uint64_t application, uint64_t shard, struct db_lease *out);
/* The first that `worker` owns, of shards from `from` on. */
bool db_lease_of_worker(struct db *db, uint64_t application, uint64_t worker, uint64_t from,
                        struct db_lease *out);
void db_lease_put(struct db *db, const struct db_lease *lease);
void db_lease_delete(struct db *db, uint64_t application, uint64_t shard);
/* Those of shards in [first, end), ascending, until the visitor says false; it may change leases.
 */
void db_lease_each(struct db *db, uint64_t application, uint64_t first, uint64_t end,
                   bool (*visit)(const struct db_lease *lease, void *context), void *context);

/* A broker was told to delete its replica of a shard and has not confirmed it. These rows are the
 * positive record that a deletion needs (docs/replication.md R16): they outlive the shard's. */
void db_drop_put(struct db *db, uint32_t broker, uint64_t shard);
bool db_drop_delete(struct db *db, uint32_t broker, uint64_t shard); /* whether it was there */
/* Up to `max` shards that `broker` is to drop, ascending, above `after`. */
size_t db_drops_get(struct db *db, uint32_t broker, uint64_t after, uint64_t *out_shards,
                    size_t max);
/* How many shards `broker` is to drop; with a shard: whether that one. */
uint32_t db_drops_count(struct db *db, uint32_t broker, uint64_t shard);
/* Whether a broker that is alive has still to drop a shard of the stream. */
bool db_stream_has_drops(struct db *db, uint32_t stream);

/* The first result of a request; bounded by number and age. `text` and `body` are the caller's to
 * release. */
struct db_result {
    enum status status;
    char text[ERROR_TEXT_BYTES];
    struct buf body;
};
bool db_request_get(struct db *db, const uint8_t request[DB_REQUEST_BYTES], struct db_result *out);
void db_request_put(struct db *db, const uint8_t request[DB_REQUEST_BYTES],
                    const struct db_result *result);
