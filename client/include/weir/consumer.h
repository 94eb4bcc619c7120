/* Reads whole streams with any number of workers: each shard is processed by one worker at a time,
 * in order, and goes on where its last checkpoint says when the worker ends or dies.
 *
 * Workers of one application (a name of your choice) share the shards of its streams among them;
 * the controllers keep who has which lease, and the checkpoints. A worker that leaves hands its
 * shards over; one that dies loses them when its term is over. Shards that come from splits and
 * merges appear by themselves, after all records of their parents have been processed and
 * checkpointed.
 *
 * Every record is processed at least once: again are those that were processed and not checkpointed
 * when a shard changed its worker. A checkpoint of a worker that has lost the shard fails with
 * FENCED.
 *
 * The callbacks of one shard, one at a time:
 *
 *     initialised -> records* -> ended    -> closed     the shard was split or merged, all was read
 *                            \-> shutdown -> closed     somebody else goes on, or this worker stops
 *                            \-> lost     -> closed     somebody else has it: no checkpoint any
 * more
 *
 * (`ended` may be followed by `shutdown` or `lost` before its end was checkpointed.) Those of
 * different shards run at the same time, on threads of the library, of the caller, or in
 * weir_consumer_poll(). They may block, and use all functions of the library. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/reader.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_consumer;
struct weir_lease; /* a shard that this worker processes; valid until `closed` has returned */

enum weir_processed {
    WEIR_PROCESSED = 0,
    WEIR_FAILED = 1, /* nothing is skipped: after a pause (0.2 s, doubling, at most 30 s) the shard
                      * begins again at its checkpoint, with `initialised` */
};

enum weir_shutdown {
    WEIR_HAND_OVER = 1, /* another worker gets the shard */
    WEIR_STOPPING = 2,  /* weir_consumer_stop() */
};

/* Where a shard begins. */
struct weir_lease_start {
    bool fresh;               /* nothing is checkpointed: at the application's beginning */
    uint64_t offset;          /* of the first record wanted, unless fresh ... */
    uint32_t sub_sequence;    /* ... and of that record the first user record */
    uint64_t shard_created_s; /* as in weir_position */
    /* Who had the shard before, or this worker before a failure, has prepared a checkpoint and not
     * committed it: weir_lease_prepare(). What lies between the checkpoint and that comes again. */
    bool pending;
    bool pending_end;              /* the shard's end; else */
    uint64_t pending_offset;       /* as offset ... */
    uint32_t pending_sub_sequence; /* ... and sub_sequence */
};

/* Some records of one shard, in order. Borrowed for the callback. */
struct weir_delivery {
    size_t count;
    const struct weir_read_record *records; /* aggregated ones are taken apart */
    /* How far the last of them is behind the shard's newest record, when the newest was read: all 0
     * at the tip, also when nothing was written for long. Bytes are the keys and data of what was
     * read ahead, and of what was not read yet the bytes as they are stored: compressed, with the
     * headers of batches (exact, see weir/reader.h). */
    uint64_t behind_records, behind_bytes, behind_ms;
    bool skipped; /* records before these had passed their retention, unread */
    bool lost;    /* a forced recovery of the shard lost records, see weir/reader.h */
};

/* What to call; `records` is needed, all others may be NULL. */
struct weir_processor {
    void *context; /* given to all of them */
    enum weir_processed (*initialised)(struct weir_lease *lease,
                                       const struct weir_lease_start *start, void *context);
    enum weir_processed (*records)(struct weir_lease *lease, const struct weir_delivery *delivery,
                                   void *context);
    /* Everything was delivered. Checkpoint (weir_lease_checkpoint() with NULL) when everything is
     * processed, here or later: only then the children of the shard begin. */
    enum weir_processed (*ended)(struct weir_lease *lease, void *context);
    /* The last chance to checkpoint; no records follow. */
    void (*shutdown)(struct weir_lease *lease, enum weir_shutdown why, void *context);
    void (*lost)(struct weir_lease *lease, void *context);
    /* Nothing of the lease follows; the place to free its data. */
    void (*closed)(struct weir_lease *lease, void *context);
    /* Something that is tried again and again, and why: a deleted stream, records that cannot be
     * read. `lease` is NULL when it is not about one shard. On the handle's thread: must not block.
     */
    void (*trouble)(const struct weir_lease *lease, const struct weir_error *error, void *context);
    /* The worker has ended: error->status is OK when it was told to. On the handle's thread. */
    void (*stopped)(const struct weir_error *error, void *context);
};

/* A zero field takes its default. Strings are copied. */
struct weir_consumer_options {
    const char *application; /* 1 to 128 of a-z A-Z 0-9 _ . - */
    const char *worker; /* its name, of which there is one at a time; ditto, and : / @. NULL: host
                         * name, process id and a random part */
    const char *const *streams;
    size_t stream_count; /* 1 to 64 */
    enum weir_from from; /* WEIR_TRIM_HORIZON, WEIR_LATEST or WEIR_AT_TIMESTAMP: where the
                          * application begins in a stream that it has never read */
    uint64_t timestamp_ms;

    bool push; /* brokers send records as they are committed; else they are asked, and wait
                * for records with the answer */
    uint64_t prefetch_bytes; /* what all shards together read ahead; 64 MiB. At least 256 KiB for
                              * each shard, and one batch */
    uint32_t records_max;    /* of one callback; 0: as they come */

    bool checkpoint_self; /* the library checkpoints nothing by itself. Else what was processed is
                           * checkpointed ... */
    uint32_t checkpoint_every_ms; /* ... at most so often; 1,000 */

    /* Who runs the callbacks: `threads` of the library (started when there is work; 4), or ... */
    uint32_t threads;
    bool poll; /* ... weir_consumer_poll(), or ... */
    /* ... the caller's: `run(job)` must be called once, on any other thread. Comes on the handle's
     * thread, must not block. */
    void (*execute)(void (*run)(void *job), void *job, void *context);
    void *execute_context;
};

/* Opens a worker, once the controllers have taken it in, waiting up to `timeout_ms` (0: 30 s).
 * `processor` is copied.
 *
 * NOT_FOUND    one of the streams does not exist
 * INVALID      bad options
 * UNAVAILABLE  no controller answered in time
 * LIMIT        too many applications, workers or streams */
WEIR_NODISCARD enum weir_status weir_consumer_open(struct weir_client *client,
                                                   const struct weir_consumer_options *options,
                                                   const struct weir_processor *processor,
                                                   uint32_t timeout_ms, struct weir_consumer **out,
                                                   struct weir_error *error);

/* `consumer` is NULL when error->status is not OK. */
typedef void weir_consumer_opened_fn(struct weir_consumer *consumer, const struct weir_error *error,
                                     void *context);
WEIR_NODISCARD enum weir_status weir_consumer_open_async(
    struct weir_client *client, const struct weir_consumer_options *options,
    const struct weir_processor *processor, uint32_t timeout_ms, weir_consumer_opened_fn *opened,
    void *context);

/* With options.poll: runs one callback that is due, waiting up to `wait_ms` for one; any number of
 * threads may. TIMEOUT: there was none. CLOSING: the worker has stopped, there will be none. */
WEIR_NODISCARD enum weir_status weir_consumer_poll(struct weir_consumer *consumer,
                                                   uint32_t wait_ms);

/* Begins to stop: nothing more is delivered, `shutdown` is called for each shard, and all leases
 * are handed over; those whose callbacks take longer than `within_ms` (0: 30 s) are given up. Any
 * thread, callbacks included; harmless twice. */
void weir_consumer_stop(struct weir_consumer *consumer, uint32_t within_ms);

/* Waits until it has stopped: OK when it was told to. FENCED: another process has taken the
 * worker's name. Others: why the controllers refuse it. Not from callbacks. */
WEIR_NODISCARD enum weir_status weir_consumer_wait(struct weir_consumer *consumer,
                                                   struct weir_error *error);

struct weir_consumer_counters {
    uint64_t records, bytes; /* delivered */
    uint64_t checkpoints;    /* stored */
    uint64_t checkpoints_failed;
    uint64_t failures; /* callbacks that returned WEIR_FAILED */
    uint32_t leases;   /* held now */
    uint32_t leases_lost;
    uint64_t queued_records, queued_bytes; /* read ahead */
};
void weir_consumer_counters(struct weir_consumer *consumer, struct weir_consumer_counters *out);

/* Stops it if need be, waits for the last callback, and frees it. Not from callbacks. On a caller's
 * loop it must have stopped before. NULL is fine. */
void weir_consumer_close(struct weir_consumer *consumer);

/* ---- a shard ------------------------------------------------------------------------------------
 */

const char *weir_lease_stream(const struct weir_lease *lease);
const char *weir_lease_shard(const struct weir_lease *lease); /* "shardId-000000000000" */
uint32_t weir_lease_shard_number(const struct weir_lease *lease);
struct weir_consumer *weir_lease_consumer(const struct weir_lease *lease);

/* The caller's, for whatever belongs to the shard. */
void weir_lease_set_data(struct weir_lease *lease, void *data);
void *weir_lease_data(const struct weir_lease *lease);

/* Everything up to and including `record` (NULL: up to what was delivered last, or the shard's end
 * once `ended` was called) is processed. `record` may be a user record of an aggregated one. Waits
 * until the controllers have it stored.
 *
 * FENCED     the shard is somebody else's: stop processing it
 * INVALID    beyond what was delivered, or before what is checkpointed
 * CANCELLED  the shard begins again after a failure
 * UNAVAILABLE, UNCERTAIN  no controller answered in time: it is tried again with the next one */
WEIR_NODISCARD enum weir_status weir_lease_checkpoint(struct weir_lease *lease,
                                                      const struct weir_read_record *record,
                                                      struct weir_error *error);
/* `done` comes once, on the handle's thread. NO_MEMORY: it does not. */
WEIR_NODISCARD enum weir_status weir_lease_checkpoint_async(struct weir_lease *lease,
                                                            const struct weir_read_record *record,
                                                            weir_done_fn *done, void *context);

/* A checkpoint in two phases, for what is done outside and can be found out afterwards (a file that
 * is renamed, a transaction elsewhere):
 *
 *     weir_lease_prepare(lease, record)   "I am about to"    durable, but no checkpoint yet
 *     ... do it ...
 *     weir_lease_commit(lease)            "it is done"       the checkpoint is where was prepared
 *
 * If the worker dies between, the shard begins at its checkpoint, and `initialised` is told what
 * was prepared: look there whether it was done. Any checkpoint that is stored ends the preparation.
 *
 * Statuses as weir_lease_checkpoint(); INVALID also without .checkpoint_self, which would commit by
 * itself what is only prepared, and from weir_lease_commit() when nothing is prepared. Preparing is
 * not tried again by itself. CANCELLED: another one was prepared before this was sent. */
WEIR_NODISCARD enum weir_status weir_lease_prepare(struct weir_lease *lease,
                                                   const struct weir_read_record *record,
                                                   struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_lease_prepare_async(struct weir_lease *lease,
                                                         const struct weir_read_record *record,
                                                         weir_done_fn *done, void *context);
WEIR_NODISCARD enum weir_status weir_lease_commit(struct weir_lease *lease,
                                                  struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_lease_commit_async(struct weir_lease *lease,
                                                        weir_done_fn *done, void *context);

#ifdef __cplusplus
}
#endif
