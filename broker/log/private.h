/* What the files of the store share. Fields belong to the home thread but where a comment says
 * otherwise. */
#pragma once

#include "base/list.h"
#include "broker/log/log.h"
#include "broker/log/segment.h"
#include "broker/log/worker.h"

enum {
    APPLY_BYTES_MAX = 8 * 1024 * 1024, /* in the ring before segments are written */
    DIRTY_SEGMENTS_MAX = 256,          /* open, written and not synced */
    DIRTY_DIRS_MAX = 64,
    SPACE_EVERY_BYTES = 16 * 1024 * 1024, /* appended between two looks at the free space */
    READ_POINTS = 8,
};

struct segment {
    uint64_t shard, base;
    uint64_t end, bytes; /* of the log: appended, perhaps not written yet */
    uint64_t first_ms, last_ms;
    uint64_t written; /* bytes of the file that hold what the log says */
    uint64_t cut_lsn; /* of the newest OP_CUT in the queue; 0 none */
    struct segment_index index;
    uint32_t refs; /* operations in the queue */
    bool removed;  /* off its log; freed with the last operation */
    uint8_t *hash; /* of a whole one, once somebody said so; NULL */
    /* The writer thread's. */
    int fd; /* -1: closed */
    bool dirty;
    uint32_t first_op, last_op; /* of the job's chain of writes, counted from 1 */
};

/* A batch that the ring may still hold. */
struct tail_entry {
    uint64_t base, append_ms, position, at;
    uint32_t count, epoch, crc, prev_crc, bytes;
    uint32_t keeper; /* see struct log_batch */
};

/* Where a batch ends, and where it lies. */
struct located {
    struct log_point point;
    uint64_t segment_base, segment_bytes, last_at;
};

/* Offsets that are known to be damaged. */
struct log_hole {
    uint64_t begin, end;
};

struct recovering; /* recover.h */

struct shard_log {
    struct journal_shard journal; /* first: the id */
    struct store *store;
    struct list link; /* store.shards */
    void *owner;
    uint32_t disk_gen, promised;
    struct log_point last;
    uint64_t log_start, commit_hint, uncertain_end;
    uint64_t seal_end; /* where the log's SEAL ends, 0: it has none */
    bool uncertain;
    bool listed; /* its CREATE is journaled: states of shards include it */

    struct epoch_pair *history;
    uint32_t history_count, history_capacity;

    struct segment **segment; /* oldest first; the last takes appends */
    uint32_t segment_count, segment_capacity;

    struct tail_entry *tail; /* a circle; capacity is a power of two */
    uint32_t tail_head, tail_count, tail_capacity;

    /* How far segments hold the log: written; being synced; and synced, once that is done. */
    struct located applied, syncing, durable;
    uint64_t cut_lsn; /* of the newest truncation: older writes do not move `applied` */
    bool touched;     /* on store.touched: written since the last sync began */
    struct list touched_link, syncing_link; /* syncing_link: in store.syncing, or nowhere */

    uint64_t cuts; /* truncations so far: reads in flight start again */
    struct log_point read_point[READ_POINTS];
    uint32_t read_point_next;
    struct log_hole *hole; /* NULL: there was none yet */
    uint32_t hole_count;
    struct recovering *recovering;
};

enum op_type {
    OP_WRITE,     /* bytes at ring position -> segment at `at` */
    OP_CUT,       /* the segment ends at `at` */
    OP_UNLINK,    /* the segment and what belongs to it goes */
    OP_PATCH,     /* `data` (struct patch_job) is written over damage at `at`, and synced */
    OP_SEAL,      /* the segment is full: write its index (`data`: struct segment_index) */
    OP_PRODUCERS, /* `data`: the table, `at`: how many bytes */
    OP_CLOSE,     /* its directory goes: forget it */
    OP_REMOVE,    /* the directory of `shard` goes */
    OP_QUARANTINE,
};

/* Something to do to files once the record that asked for it is synced. */
struct op {
    uint64_t lsn, position, at, shard;
    struct segment *segment;
    void *data;
    struct log_point point; /* OP_WRITE: after the batch */
    uint32_t bytes;
    enum op_type type;
};

/* A slice of the operations for the writer thread. One at a time. */
struct apply_job {
    struct task task;
    struct store *store;
    struct op *op;
    uint32_t *next; /* the writer thread's: chains of writes to one segment */
    uint32_t count, capacity;
    bool sync; /* what is dirty goes to the syncer afterwards */
    bool in_flight;
    uint64_t position;  /* the journal below is done with, if all goes well */
    uint32_t make_file; /* a journal file to make, or UINT32_MAX */
    /* Results. */
    uint32_t done;
    enum status status, made;
};

/* What was written and not synced. */
struct dirty {
    struct segment *segment[DIRTY_SEGMENTS_MAX];
    uint64_t dir[DIRTY_DIRS_MAX]; /* shards with new or removed names */
    uint32_t segment_count, dir_count;
    bool shards_dir, all; /* `all`: more directories than the list holds */
};

/* The same, taken over by the sync, so that the writer goes on without it. Owns the descriptors. */
struct unsynced {
    int fd[DIRTY_SEGMENTS_MAX];
    uint64_t dir[DIRTY_DIRS_MAX];
    uint32_t fd_count, dir_count;
    bool shards_dir, all;
};

/* Makes durable what a finished job of the writer has written. One at a time. */
struct sync_job {
    struct task task;
    struct store *store;
    bool in_flight;
    uint64_t position; /* the journal below is done with afterwards */
    /* Filled in by the writer thread, at the end of the job before. */
    struct unsynced unsynced;
    enum status status;
};

struct shard_map {
    struct shard_log **slot;
    uint32_t count, capacity; /* a power of two */
};

struct store {
    struct store_options options;
    char dir[STORE_PATH_BYTES], journal_dir[STORE_PATH_BYTES];
    const struct disk *disk;
    struct store_info info;
    struct journal_options journal_options;
    struct journal *journal;
    int lock_fd, event_fd;

    struct shard_map map;
    struct list shards;
    uint64_t state_bytes; /* of the STATE records of all shards */

    struct op *op; /* a circle: operations in the order of the journal */
    uint32_t op_head, op_count, op_capacity;
    uint64_t op_bytes;                /* of OP_WRITE in it */
    uint64_t last_lsn, last_position; /* of the newest record that has an operation */
    uint32_t op_urgent;               /* operations that give space back */
    uint64_t written, durable;
    struct apply_job job;
    struct sync_job sync;
    struct list touched, syncing; /* logs */
    bool file_refused; /* a journal file could not be made: not tried again before a look at the
                          disk */
    bool stalled;      /* segments met a full disk: retried by store_check_space() */
    bool room_wanted; /* somebody was told BUSY: what waits for more to write with it holds the ring
                       */

    struct disk_worker writer, syncer, reader;
    struct dirty dirty; /* the writer thread's */

    struct list reads;   /* on the reader thread, or finished and not delivered */
    struct list damaged; /* that wait for a repair */
    struct list checks;  /* struct check_log: on the reader thread */
    struct store_repairer repairer;
    bool holes_changed, holes_saving; /* DIR/damage is not what is known; ... is being written */
    enum status out;
    bool full, closing;
    struct disk_space space;
    uint64_t reserve_bytes, space_checked_at; /* next_position then */
};

/* shards.c */
NODISCARD enum status shard_map_put(struct shard_map *map, struct shard_log *log);
struct shard_log *shard_map_get(const struct shard_map *map, uint64_t shard);
void shard_map_remove(struct shard_map *map, uint64_t shard);
NODISCARD enum status shard_log_new(struct store *store, uint64_t shard, struct shard_log **out);
void shard_log_free(struct shard_log *log);
NODISCARD enum status log_history_reserve(struct shard_log *log);
void log_history_note(struct shard_log *log, uint32_t epoch, uint64_t start);
void log_history_cut(struct shard_log *log, uint64_t end);
void log_history_drop(struct shard_log *log, uint32_t count); /* the oldest */
/* The epoch of the batch that ends there. */
uint32_t log_history_before(const struct shard_log *log, uint64_t end);
enum status store_write_state(void *context, struct journal *journal);
uint64_t store_state_bytes(void *context);
NODISCARD enum status log_segment_new(struct shard_log *log, uint64_t base, struct segment **out);
NODISCARD enum status log_segment_reserve(struct shard_log *log);
void log_segment_free(struct segment *segment);
void log_segment_drop(struct segment *segment); /* frees it unless operations refer to it */
/* The segment with base <= offset; NULL: before the first. */
struct segment *log_segment_holding(const struct shard_log *log, uint64_t offset,
                                    uint32_t *out_index);

/* write.c: the writer thread */
void log_apply_run(struct task *task);
void store_dirty_close(struct store *store);
NODISCARD enum status log_dir_remove(struct store *store, uint64_t shard);
/* `serial` makes the name unique within a boot. */
NODISCARD enum status log_dir_quarantine(struct store *store, uint64_t shard, uint64_t serial);

/* sync.c: the syncer's thread, but where it says otherwise */
NODISCARD enum status store_sync_files(struct store *store);
/* Everything in it becomes durable: contents, then names. Closes the descriptors. */
NODISCARD enum status unsynced_sync(struct store *store, struct unsynced *unsynced);
void unsynced_close(struct store *store, struct unsynced *unsynced);
/* Home thread: what the writer left in store.sync.unsynced, up to there in the journal. */
void log_sync_start(struct store *store, uint64_t position);

/* apply.c */
NODISCARD enum status log_ops_reserve(struct store *store, uint32_t more);
void log_ops_push(struct store *store, const struct op *op); /* after log_ops_reserve() */
/* Starts a job if there is reason to, and tells the journal what may be reused. */
void log_apply_advance(struct store *store, bool all);
void log_apply_release(struct store *store);

/* read.c */
void log_reads_cancel(struct store *store, struct shard_log *log);
/* Where the batch that ends at `end` lies, in segments. Blocks. */
NODISCARD enum status log_locate_end(struct shard_log *log, uint64_t end, struct located *out);

/* What the reader thread looks at. `log` is not the reader's; NULL: deleted since. */
struct check_log {
    struct list link; /* store.checks */
    struct shard_log *log;
};

/* damage.c, check.c */
bool damage_parks(struct store *store, struct shard_log *log, enum status status, uint32_t tries);
void damage_met(struct shard_log *log, uint64_t offset);
void log_checks_cancel(struct store *store, struct shard_log *log);
void log_reads_resume(struct store *store, struct shard_log *log, bool repaired); /* read.c */

/* holes.c: what an earlier boot knew of. A file that is not good is not believed. */
void log_holes_load(struct store *store);

/* patch.c */
struct patch_job;
NODISCARD enum status patch_write(struct store *store, const struct patch_job *job, int fd);
void patch_written(struct patch_job *job, enum status status);

/* tail.c */
NODISCARD enum status log_tail_reserve(struct shard_log *log);
void log_tail_push(struct shard_log *log, const struct tail_entry *entry);
void log_tail_cut(struct shard_log *log, uint64_t end);
void log_tail_prune(struct shard_log *log);
struct tail_entry *log_tail_entry(const struct shard_log *log, uint32_t index);
/* Index of the entry that holds `offset`, or UINT32_MAX. */
uint32_t log_tail_find(const struct shard_log *log, uint64_t offset);
