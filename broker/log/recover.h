/* What the journal and the segments together say of every shard, without writing anything; then,
 * for a broker that starts, the same made durable in segments.
 *
 * Segments never hold what the journal has not synced, and a journal file is not reused before its
 * batches are synced in segments. So a shard's log is: its segments up to the point that the state
 * at the head of the oldest journal file calls durable; behind it what segments hold with good
 * checksums and an unbroken chain; and over that, record by record, what the journal says. A batch
 * that both have is the same batch. Journal damage is harmless to a shard whose segments have what
 * was lost, unless the lost block names the shard: what it lost may be a promise or a truncation,
 * so the shard is uncertain. */
#pragma once

#include "broker/log/private.h"

#define IN_SEGMENT UINT32_MAX

/* A batch of the log behind `known`. */
struct recovered_batch {
    uint64_t base, ms, at; /* `at`: in its segment, or in the journal's file */
    uint64_t segment_base; /* when it lies in one */
    uint32_t count, epoch, crc, prev_crc, bytes;
    uint32_t file; /* of the journal, or IN_SEGMENT */
};

struct recovering {
    struct located known; /* durable in segments */
    struct recovered_batch *batch;
    uint32_t count, capacity;
    uint64_t want_end; /* where the journal says that the log ends */
    bool damaged;
    /* `known` is the start of the oldest segment left: trimmed since the state was written, or the
     * point that the state names cannot be read. The journal may say more about it. */
    bool front;
    bool fresh; /* deleted and created again: what its directory holds is the old one's */
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

/* Derives log->last, history and marks from what was replayed. */
NODISCARD enum status recovery_settle(struct recovery *recovery, struct shard_log *log);

/* materialize.c: makes segments equal to the log, not synced yet; cuts what is beyond. */
NODISCARD enum status recovery_materialize(struct recovery *recovery, struct shard_log *log);
void recovering_free(struct shard_log *log);
void recovery_release(struct recovery *recovery);

/* Removes what was deleted, moves to quarantine what no shard owns (R16). */
NODISCARD enum status recovery_sweep(struct recovery *recovery, uint32_t *out_quarantined);

/* Lists the segments of a shard, oldest first, with the time of each one's first batch. */
NODISCARD enum status segments_list(struct shard_log *log);

bool id_has(const struct id_list *list, uint64_t id);
NODISCARD enum status id_add(struct id_list *list, uint64_t id);
