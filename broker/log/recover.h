/* What the journal and the segments together say of every shard, without writing anything; then,
 * for a broker that starts, the same made durable in segments.
 *
 * Replay (recover.c) follows the journal alone. The state at the head of the oldest file that is
 * still needed says where a shard's log ended then; whatever lay below was durable in segments
 * before the file before it was reused. Truncations may lower that end, batches follow behind it:
 *
 *        | in segments            base | from the journal: batches, perhaps with gaps
 *
 * Resolution (resolve.c) finds `base` in the segments, and how much of what follows they have too.
 * Segments never hold what the journal had not synced, so they may also fill a gap that damage to
 * the journal has left, if the chain of checksums closes. A shard named by a lost block is
 * uncertain all the same: the block may have held a promise or a truncation. */
#pragma once

#include "broker/log/private.h"

#define IN_SEGMENT UINT32_MAX

struct recovered_batch {
    uint64_t base, ms, at; /* `at`: in its segment, or in the journal's file */
    uint64_t segment_base; /* when it lies in one */
    uint32_t count, epoch, crc, prev_crc, bytes;
    uint32_t file; /* of the journal, or IN_SEGMENT */
    bool seal;
};

struct batch_list {
    struct recovered_batch *item;
    uint32_t count, capacity;
};

struct recovering {
    struct log_point base;   /* replay: the log below it is in segments */
    struct batch_list batch; /* behind it; after resolution those in segments come first */
    struct located known;    /* resolution: where `base`, or what stands for it, lies */
    struct located synced;   /* the newest point that the state calls durable in segments */
    uint64_t want_end;       /* a later state's end: more than was replayed, if damage hid it */
    bool damaged;
    bool truncated; /* since the state */
    bool fresh;     /* deleted and created again: what its directory holds is the old one's */
};

struct id_list {
    uint64_t *id;
    uint32_t count, capacity;
};

struct recovery {
    struct store *store;
    bool any_damage;
    bool all_damaged;           /* lost blocks may have named any shard */
    struct id_list damaged;     /* those that they did name */
    struct id_list deleted;     /* since the oldest state */
    struct id_list kept;        /* those of them whose directories go to quarantine */
    struct epoch_pair *history; /* for decoding STATE */
    bool changed;               /* files were */
};

/* Fills store->shards with `recovering` set; store->journal is open and not recovered. */
NODISCARD enum status recovery_replay(struct recovery *recovery, struct journal_recovery *out,
                                      struct error *error);

/* Derives log->last and the marks, with a look at the segments. Writes nothing. */
NODISCARD enum status recovery_resolve(struct shard_log *log);

/* materialize.c: makes segments equal to the log, not synced yet; cuts what is beyond. */
NODISCARD enum status recovery_materialize(struct recovery *recovery, struct shard_log *log);
void recovering_free(struct shard_log *log);
void recovery_release(struct recovery *recovery);

/* Removes what was deleted, moves to quarantine what no shard owns (R16). */
NODISCARD enum status recovery_sweep(struct recovery *recovery, uint32_t *out_quarantined);

/* Where the part of the log ends that segments have, and how many of the batches it includes. */
struct located recovering_files_end(const struct recovering *r, uint32_t *out_count);

/* Lists the segments of a shard, oldest first, with the time of each one's first batch. */
NODISCARD enum status log_segments_list(struct shard_log *log);

bool id_list_has(const struct id_list *list, uint64_t id);
NODISCARD enum status id_list_add(struct id_list *list, uint64_t id);
NODISCARD enum status recovered_list_add(struct batch_list *list,
                                         const struct recovered_batch *batch);

static inline struct log_point batch_point(const struct recovered_batch *batch)
{
    return (struct log_point){
        .end = batch->base + batch->count, .epoch = batch->epoch, .crc = batch->crc};
}
