/* The journal: the one file sequence through which everything durable on a disk goes.
 *
 * Batches, promises, truncations of all shards are appended as records to the open block, which
 * lies in the tail ring. When the write before it has completed, journal_flush() or
 * journal_poll() closes the block and writes it, straight from the ring, as one synced write: group
 * commit without a timer. A record is copied once, into the ring, and stays readable there until
 * the ring comes round.
 *
 *            low                    written      synced      next
 *     ring    |  segments have it, readable  |  being applied  | in flight, open block |
 *
 * Files are preallocated, prewritten with zeros and used again and again (journal/0000, 0001 ...);
 * a file may be reused once all its records are durable elsewhere (journal_release) and the
 * records of state at the head of the next file are synced. Block format: block.h. What recovery
 * makes of a bad block: docs/replication.md 2.9.
 *
 * One home thread; no call blocks but open, recover and close. After the first failed write the
 * journal is OUT: every append returns IO for ever, nothing is retried (2.9, "fsync EIO"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/metrics.h"
#include "base/status.h"
#include "broker/disk/disk.h"
#include "broker/replica/replica.h"

enum { JOURNAL_ID_BYTES = 16, JOURNAL_HISTORY_MAX = 1024 };

/* What a record says. `a`, `b`, `c` of struct journal_record by type: */
enum journal_type {
    JOURNAL_DATA = 1,    /* body: one batch */
    JOURNAL_PROMISE,     /* b: epoch */
    JOURNAL_TRUNCATE,    /* a: new end, b: epoch that ordered it, c: crc of the batch before */
    JOURNAL_UNCERTAIN,   /* a: valid end, b: 1 set, 0 cleared */
    JOURNAL_LOG_START,   /* a: offset */
    JOURNAL_COMMIT_HINT, /* a: offset */
    JOURNAL_CREATE,      /* a: disk generation of the replica, b: the epoch that it has promised */
    JOURNAL_DELETE,      /* b: 1 when the files go to quarantine instead */
    JOURNAL_STATE,       /* body: struct journal_state; at the head of every file, all shards */
    JOURNAL_STATE_END,   /* the set of STATE records is complete */
    JOURNAL_SHARDS,      /* body: u64 shards of the block before, where its header is too small */
    JOURNAL_INSTALL, /* a: where the log begins and ends, b, c: epoch and crc of the batch before */
};

/* Everything about a shard that its segments do not say. */
struct journal_state {
    uint32_t disk_gen, promised;
    struct log_point last; /* the log after every record before this one */
    uint64_t log_start, commit_hint;
    bool uncertain;
    uint64_t uncertain_end;
    uint64_t seal_end; /* of the log's SEAL, 0: it has none */
    /* How much of it is known durable in segments; the last batch lies at `last_at`. */
    struct log_point synced;
    uint64_t segment_base, segment_bytes, last_at;
    const struct epoch_pair *history; /* the newest JOURNAL_HISTORY_MAX at most, oldest first */
    uint32_t history_count;
};

/* A record as recovery sees it; `body` is borrowed for the call. */
struct journal_record {
    enum journal_type type;
    uint64_t shard, a;
    uint32_t b, c;
    struct bytes body;
    uint32_t file; /* where the body lies, for journal_read() */
    uint64_t offset;
};

/* Embedded in whatever the owner keeps per shard. */
struct journal_shard {
    uint64_t id;
    uint64_t block; /* the journal's: the newest block that names it */
};

enum journal_backend {
    JOURNAL_BACKEND_AUTO, /* io_uring, or a thread where it is forbidden or cannot help */
    JOURNAL_BACKEND_THREAD,
};

struct journal;

struct journal_options {
    const struct disk *disk; /* NULL: the operating system's */
    const char *dir;         /* created if missing */
    uint8_t id[JOURNAL_ID_BYTES];
    uint64_t file_bytes;  /* multiple of 4 KiB */
    uint32_t files_max;   /* at least 3; created when needed */
    uint64_t ring_bytes;  /* power of two */
    uint32_t block_bytes; /* a block is closed when it reaches this; one batch may be larger */
    enum journal_backend backend;
    bool buffered;  /* no O_DIRECT */
    bool read_only; /* for inspection: journal_start() is refused */
    int event_fd;   /* written to when journal_poll() has something to do */
    /* Appends a STATE record of every shard with journal_append_state(): a new file begins. */
    enum status (*write_state)(void *context, struct journal *journal);
    uint64_t (*state_bytes)(void *context); /* an upper bound of what write_state() will append */
    void *context;
};

/* What recovery tells, in the order of the journal. A callback's error ends it. */
struct journal_visitor {
    void *context;
    enum status (*record)(void *context, const struct journal_record *record);
    /* Synced records of `shard` may be missing here; with `all`, of every shard known so far or
     * created later. 2.9, cases 1 and 3. */
    enum status (*damage)(void *context, uint64_t shard, bool all);
};

struct journal_recovery {
    uint64_t blocks, records, bytes;
    uint64_t torn_blocks;    /* dropped: never synced, so never acknowledged */
    uint64_t damaged_blocks; /* synced and lost */
    uint64_t damaged_records;
    bool damage_spread; /* some damage could not be confined to a list of shards */
};

/* Creates an empty journal in options->dir; nothing may be there that a broker still needs. */
NODISCARD enum status journal_format(const struct journal_options *options, struct error *error);

/* Opens what is there for journal_recover(); appends are refused until journal_start().
 * NOT_FOUND  no file of the journal options->id */
NODISCARD enum status journal_open(const struct journal_options *options, struct journal **out,
                                   struct error *error);

/* Replays to `visitor`. Writes nothing: also for inspection of a stopped broker's disk. */
NODISCARD enum status journal_recover(struct journal *j, const struct journal_visitor *visitor,
                                      struct journal_recovery *out, struct error *error);

/* Reads `size` bytes of a record's body again, after journal_recover(), before journal_start(). */
NODISCARD enum status journal_read(struct journal *j, uint32_t file, uint64_t offset, void *to,
                                   size_t size);

/* Begins a new run: everything recovered must be durable elsewhere by now. Writes the state of all
 * shards (write_state) and syncs it; then the older files are free. Blocks. */
NODISCARD enum status journal_start(struct journal *j, struct error *error);

/* Waits for the write in flight, writes what is open, and frees all. NULL is fine. */
void journal_close(struct journal *j);

/* Where an appended record lies. */
struct journal_span {
    uint64_t lsn;        /* record number of this run, from 1 */
    uint64_t position;   /* in the byte stream of the journal */
    const uint8_t *body; /* in the ring; valid while position >= journal_low() */
};

/* Whether DATA of this size (the batches' bytes, 64 more for each batch) would be taken now.
 * BUSY  segments lag: the ring or the files are full;  IO  the journal is out;  TOO_LARGE */
NODISCARD enum status journal_admit(const struct journal *j, size_t bytes);

/* Appends a batch whose header is final. After journal_admit() of at least as many bytes in all,
 * and no other append between, it cannot fail (but for IO). `parts` are its bytes in order; the
 * first has the whole header. */
NODISCARD enum status journal_append_data(struct journal *j, struct journal_shard *shard,
                                          const struct bytes *parts, uint32_t part_count,
                                          struct journal_span *out);

/* Any type without a body. Takes from a reserve that data may not use, so that BUSY means that the
 * disk has been hanging for long. */
NODISCARD enum status journal_append(struct journal *j, struct journal_shard *shard,
                                     enum journal_type type, uint64_t a, uint32_t b, uint32_t c,
                                     struct journal_span *out);

/* From write_state() only. */
NODISCARD enum status journal_append_state(struct journal *j, struct journal_shard *shard,
                                           const struct journal_state *state);

/* What journal_append_state() will take, its framing included. */
size_t journal_state_size(uint32_t history_count);

/* Decodes a STATE record's body. `history` has JOURNAL_HISTORY_MAX pairs; out->history is it. */
NODISCARD enum status journal_state_decode(struct bytes body, struct epoch_pair *history,
                                           struct journal_state *out);

/* Writes the open block if no write is in flight. Called at the end of a turn of the loop. */
void journal_flush(struct journal *j);

/* Reaps completions and writes the next block. IO once the journal is out. Never blocks. */
NODISCARD enum status journal_poll(struct journal *j);

/* Blocks until everything appended is synced. For shutdown and tools. */
NODISCARD enum status journal_sync(struct journal *j);

uint64_t journal_synced_lsn(const struct journal *j);      /* everything up to it is durable */
uint64_t journal_synced_position(const struct journal *j); /* ditto, in bytes */
uint64_t journal_next_position(const struct journal *j);
uint64_t journal_low(const struct journal *j); /* below it the ring has been overwritten */
/* The bytes of the ring at a position >= journal_low(); no record is split. */
const uint8_t *journal_at(const struct journal *j, uint64_t position);

/* The end of the oldest file that waits for release, 0 when only the current file is in use: what
 * the owner should make durable next. */
uint64_t journal_wanted(const struct journal *j);

/* Files are added one by one as they are needed. The number of one that should be made now, or
 * UINT32_MAX; journal_make_file() prewrites it (blocks; any thread), then it is added. When making
 * fails, the journal goes on with what it has. */
uint32_t journal_wants_file(const struct journal *j);
NODISCARD enum status journal_make_file(const struct journal_options *options, uint32_t number);
NODISCARD enum status journal_add_file(struct journal *j, uint32_t number);

/* Everything below `written` has left the ring for segments; everything below `durable` is synced
 * there. Both only rise; durable <= written <= synced position. */
void journal_release(struct journal *j, uint64_t written, uint64_t durable);

struct journal_view {
    bool out; /* a write failed */
    enum status out_status;
    bool uring, direct; /* how it writes */
    uint32_t files, files_free;
    uint64_t writes, bytes_written; /* of this run */
    struct histogram synced;        /* from a block's write to its being durable */
    uint64_t in_flight_us;          /* for so long one is being written; 0: none is */
};
void journal_view(const struct journal *j, struct journal_view *out);
