/* What the parts of this folder offer one another. Private.
 *
 *     shards.c          the set: opening, finding, creating, dropping, the turn
 *     effects.c         stepping the core and carrying its effects out
 *     disk.c            which effects the disk holds: SYNCED
 *     deadlines.c       one heap of deadlines for all shards
 *     put.c             batches of producers
 *     receive.c         appends, answers, fences and grants
 *     resign.c          leaders that cannot go on
 *     move.c            learners, leaders that hand over, installed copies
 *     rebuild.c         the producer table of a log that was found on the disk */
#pragma once

#include "broker/kept/kept.h"
#include "broker/shard/shard.h"
#include "proto/codec/codec.h"

/* What the journal holds once `lsn` is synced. */
struct pending_sync {
    uint64_t lsn;
    struct shard *shard;
    uint64_t seq; /* 0: the shard's DELETE */
};

/* The batches that belong to an input, for its WRITE: `parts_each` pieces for each header. */
struct input_batches {
    const struct batch_header *headers;
    const struct bytes *parts;
    uint32_t parts_each;
    struct bytes producers; /* of an append that installs a copy */
};

/* Memory that every received append uses again. */
struct scratch {
    struct batch_header *headers;
    struct bytes *parts;
    struct replica_batch *batches;
    uint32_t capacity;
};

enum { REBUILDS_AT_ONCE = 4 };
struct rebuild {
    struct log_read read;
    struct shards *set;
    struct shard *shard; /* NULL: free, or its shard is gone */
    bool reading;        /* the store has `read` */
    uint64_t truncations;
    uint64_t damaged_at; /* offset of the read that failed last, +1 */
};

struct shards {
    struct store *store;
    struct shards_hooks hooks;
    uint32_t broker;
    uint64_t boot;
    bool out, closing, scheduled;
    uint32_t count, leading;

    struct pending_sync *syncs; /* a ring; lsns rise */
    uint32_t sync_capacity, sync_first, sync_count;
    struct list synced; /* shards with SYNCED due */

    struct shard **heap; /* from index 1 */
    uint32_t heap_count, heap_capacity;

    struct list finished; /* puts to answer */
    struct list woken;    /* readers */

    struct list jobs; /* shards whose table or last batch must be read */
    struct rebuild rebuilds[REBUILDS_AT_ONCE];

    struct scratch scratch;
    struct kept kept;
    struct coder coder;             /* of compressed batches that are put */
    struct replica_input input;     /* of the step under way: too large for the stack's taste */
    struct replica_effects effects; /* ditto */
};

void shards_schedule(struct shards *set);
/* A write failed: nothing more can be made durable. */
void shards_fail(struct shards *set, enum status status, const char *what);

/* effects.c: steps the core with set->input, whose type and fields the caller has filled in. */
struct replica_input *shard_input(struct shard *shard, enum replica_input_type type);
NODISCARD enum status shard_step(struct shard *shard, const struct input_batches *batches);

/* disk.c */
NODISCARD enum status syncs_reserve(struct shards *set, uint32_t more);
void syncs_push(struct shards *set, struct shard *shard, uint64_t lsn, uint64_t seq);
void syncs_done(struct shards *set, uint64_t lsn);

/* deadlines.c */
NODISCARD enum status deadlines_reserve(struct shards *set, uint32_t shards);
void deadline_set(struct shard *shard, uint64_t at_ms);
uint64_t deadline_next(const struct shard *shard); /* what it has to be set to */

static inline uint32_t batch_flags_for_core(const struct batch_header *h)
{
    uint32_t flags = (h->flags & BATCH_CONTROL) != 0 ? REPLICA_BATCH_CONTROL : 0;
    return h->control_type == BATCH_SEAL ? flags | REPLICA_BATCH_SEAL : flags;
}

/* put.c */
void puts_committed(struct shard *shard, uint64_t end);
void puts_fail(struct shard *shard, enum status status);
void readers_wake(struct shard *shard, uint64_t commit, enum status status);
/* EPOCH_START of the epoch that we were granted. */
void shard_start_epoch(struct shard *shard, uint32_t epoch);

/* SEAL, as the core asked for it. */
void shard_append_seal(struct shard *shard, uint32_t epoch);

/* resign.c: at STEP_DOWN, and after each step. */
void resign_stepped_down(struct shard *shard, uint32_t epoch);
void resign_check(struct shard *shard, const struct replica_view *view);

/* rebuild.c */
void rebuild_queue(struct shard *shard, bool first);
void rebuild_forget(struct shard *shard);
void rebuild_pump(struct shards *set); /* starts what waits */
/* The last batch is known to be damaged: when it was appended is not to be had before the core has
 * seen to it, so that a grant must not wait. */
bool rebuild_awaits_repair(const struct shard *shard);
void rebuild_give_grant(struct shard *shard); /* the one that waits, if any */
/* The log has these batches now, or ends at `end`. */
void producers_wrote(struct shard *shard, const struct batch_header *h, bool rolled);
void producers_truncated(struct shard *shard, uint64_t end);
/* The log begins at `start` now; what producers wrote before is in `table`, or unknown. */
void producers_installed(struct shard *shard, uint64_t start, struct bytes table);
