/* A broker's data directory: the logs of all shards of one disk.
 *
 *     DIR/identity            which cluster, broker and disk this is; three copies
 *     DIR/boot                the boot id, raised and synced before any other work (R6)
 *     DIR/lock                one process at a time
 *     DIR/damage              what is known to be damaged in segments (broker/log/holes.c)
 *     DIR/journal/            broker/journal/journal.h
 *     DIR/shards/S-N/         stream S, shard N; created with its first segment
 *        OFFSET.log           a segment: batches back to back, as they travel
 *        OFFSET.index         sparse index of a full segment, rebuilt when missing or bad
 *        OFFSET.producers     the shell's snapshot of the producer table at OFFSET
 *     DIR/quarantine/         what metadata no longer knows (R16)
 *
 * An append goes to the journal; a background thread writes segments behind it, from the journal's
 * ring. Reads come from the ring while it has the batch (shard_log_tail), else from segments on a
 * second thread (store_read). Which segment takes a batch depends on the log's bytes alone, so the
 * files of two replicas are equal.
 *
 * Every function belongs to the one home thread that opened the store. Only open, close and
 * shard_log_point_at() for old offsets block. The caller's loop watches store_event_fd() for
 * reading and then calls store_poll(); at the end of each turn in which it appended,
 * store_flush(). No timers. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/status.h"
#include "broker/disk/disk.h"
#include "broker/journal/journal.h"
#include "broker/replica/replica.h"
#include "proto/wire/batch.h"

enum { DISK_ID_BYTES = 16 };

struct store;
struct shard_log;

struct store_options {
    const char *dir;                      /* created if missing; its parent must exist */
    const struct disk *disk;              /* NULL: the operating system's */
    uint32_t broker;                      /* id of this broker, not 0 */
    uint8_t cluster_id[CLUSTER_ID_BYTES]; /* all zero: not known yet, see store_join_cluster() */
    uint64_t segment_bytes;
    uint64_t journal_file_bytes;
    uint32_t journal_files;
    uint64_t ring_bytes;
    uint32_t block_bytes;
    uint64_t
        reserve_bytes; /* data is refused while less is free; UINT64_MAX: max of 2 % and 4 GiB */
    enum journal_backend backend;
    bool buffered; /* the journal without O_DIRECT */
};

/* The defaults: segments of 64 MiB, journal of at most 8 files of 64 MiB, ring of 64 MiB, blocks of
 * 1 MiB. */
void store_options_init(struct store_options *options);

/* Opens the directory, formats it if it is empty, raises the boot id, recovers, and makes what the
 * journal held durable in segments. With a sentence in *error:
 *
 * INVALID         options; the directory belongs to another broker
 * WRONG_CLUSTER   the directory belongs to another cluster
 * BUSY            another process has it open
 * UNSUPPORTED     a newer version wrote it
 * CORRUPT         identity, boot id or the whole journal cannot be read: an operator must decide
 * DENIED, DISK_FULL, IO, NO_MEMORY */
NODISCARD enum status store_open(const struct store_options *options, struct store **out,
                                 struct error *error);

/* Syncs the journal, writes segments, ends the threads; shard logs and tail pointers are gone.
 * Callbacks of unfinished reads run with CANCELLED. NULL is fine. */
void store_close(struct store *store);

struct store_info {
    uint8_t cluster_id[CLUSTER_ID_BYTES], disk_id[DISK_ID_BYTES];
    uint32_t broker;
    uint64_t boot_id;
    struct journal_recovery recovery;
    uint32_t shards, uncertain_shards, quarantined; /* as recovery found them */
};
void store_info(const struct store *store, struct store_info *out);

/* Writes the cluster's id into the identity when it has none. WRONG_CLUSTER when it has another.
 * Blocks for a sync. */
NODISCARD enum status store_join_cluster(struct store *store, const uint8_t id[CLUSTER_ID_BYTES],
                                         struct error *error);

/* The loop's part. */
int store_event_fd(const struct store *store);
void store_flush(struct store *store);

/* Takes what has completed: runs the callbacks of reads, moves segments along, writes the next
 * block of the journal. Everything with an lsn <= *out_synced is durable. IO once the disk is out:
 * every later append fails; reads may still work. */
NODISCARD enum status store_poll(struct store *store, uint64_t *out_synced);
uint64_t store_synced(const struct store *store);

/* Begins to write and sync what the segments lack, however little that is, and goes on in the
 * background: it makes a store_sync() that follows short. */
void store_settle(struct store *store);

/* Blocks until everything appended is durable, in the journal; with `segments`, also there. For
 * shutdown, tools and tests. */
NODISCARD enum status store_sync(struct store *store, bool segments);

struct store_status {
    bool out;  /* a write or sync failed: the disk is out until the process is started again */
    bool full; /* below the reserve: data is refused, promises and truncations are not */
    uint64_t free_bytes, reserve_bytes;
    uint64_t unapplied_bytes; /* in the journal, not yet in segments */
    struct journal_view journal;
};
/* Asks the filesystem for its free space (cheap), retries segments that met a full disk. Call it
 * about once a second while the broker is busy, or to see whether space has returned. */
void store_check_space(struct store *store);
void store_status(const struct store *store, struct store_status *out);

/* Whether `bytes` of batches (64 more for each) would be taken now, so that a leader refuses before
 * it proposes, and a follower before it steps. After OK, appends of as many bytes in all cannot
 * fail in this turn, except with IO and NO_MEMORY.
 * BUSY  segments lag or the journal is full: what waits to be written with more is written now;
 * DISK_FULL  below the reserve;  IO  the disk is out */
NODISCARD enum status store_admit(struct store *store, size_t bytes);
/* Ditto for a control batch (128 bytes and a little): the reserve is there for it, so that a full
 * disk stops neither elections nor reads. Never DISK_FULL. */
NODISCARD enum status store_admit_control(struct store *store, size_t bytes);

/* Shards. A log pointer is valid until the shard is deleted or the store closed. */
struct shard_log *store_find_shard(struct store *store, uint64_t shard);        /* NULL: none */
struct shard_log *store_next_shard(struct store *store, struct shard_log *log); /* NULL: first */

/* Journals CREATE; costs no file. `promised`: the shard may have had a replica here before, and the
 * new one must refuse the leaders that the old one refused. EXISTS (with the log in *out),
 * NO_MEMORY, BUSY, IO. */
NODISCARD enum status store_create_shard(struct store *store, uint64_t shard, uint32_t disk_gen,
                                         uint32_t promised, struct shard_log **out,
                                         uint64_t *out_lsn);

/* Journals DELETE and removes the files behind it, or moves them to quarantine/ (R16: metadata is
 * merely missing). Unfinished reads end with CANCELLED. */
NODISCARD enum status store_delete_shard(struct store *store, struct shard_log *log,
                                         bool quarantine, uint64_t *out_lsn);

/* What lies in quarantine/. With a clock (wall_ms not 0) also stamps what has newly come there, and
 * removes what was stamped at least keep_ms before; some at a call. `each` may be NULL: it is
 * called with the shard of every thing there, perhaps several times. Blocks: for once a minute, not
 * for the append path. NO_MEMORY, IO. */
struct quarantine_info {
    uint32_t count;     /* that stay there */
    uint32_t removed;   /* by this call */
    uint64_t oldest_ms; /* the first stamp, 0: none */
};
NODISCARD enum status store_quarantine(struct store *store, uint64_t wall_ms, uint64_t keep_ms,
                                       void (*each)(void *context, uint64_t shard), void *context,
                                       struct quarantine_info *out);

uint64_t shard_log_id(const struct shard_log *log);
uint32_t shard_log_disk_gen(const struct shard_log *log);

/* For replica_new(): all but self.broker and boot. The history is valid until the next append or
 * truncation. */
void shard_log_recovered(const struct shard_log *log, struct replica_recovered *out);

/* The owner's pointer, NULL at first. */
void shard_log_set_owner(struct shard_log *log, void *owner);
void *shard_log_owner(const struct shard_log *log);

struct log_appended {
    uint64_t lsn;
    const uint8_t *bytes; /* the copy in the ring: see struct log_batch */
    bool rolled; /* the batch begins a segment: shard_log_put_producers(base_offset) may be called
                  * with the table as it was before this batch */
};

/* Appends a batch with a final header at the log's end; `parts` are its bytes in order, the first
 * with the whole header, which decodes to *header. It must continue the log (CHECKed: offset and
 * prev_crc). Errors as store_admit(). */
NODISCARD enum status shard_log_append(struct shard_log *log, const struct batch_header *header,
                                       const struct bytes *parts, uint32_t part_count,
                                       struct log_appended *out);

/* The effects of the core. DISK_FULL is never returned for these, BUSY only when the disk hangs. */
NODISCARD enum status shard_log_promise(struct shard_log *log, uint32_t epoch, uint64_t *out_lsn);

/* `end` must be a batch boundary (CORRUPT when the log cannot tell; CHECK: end <= log end). What
 * lay above is gone from every read at once. */
NODISCARD enum status shard_log_truncate(struct shard_log *log, uint64_t end, uint32_t epoch,
                                         uint64_t *out_lsn);
NODISCARD enum status shard_log_set_uncertain(struct shard_log *log, bool uncertain, uint64_t end,
                                              uint64_t *out_lsn);

/* The log begins and ends at `start` (docs/replication.md 2.8): all that it held goes, once the
 * record is durable. */
NODISCARD enum status shard_log_install(struct shard_log *log, const struct log_point *start,
                                        uint64_t *out_lsn);

/* Lazy: travels with the next block that is written anyway. */
void shard_log_commit_hint(struct shard_log *log, uint64_t offset);

/* log_start rises to `offset` (no boundary needed); segments wholly below it are removed once the
 * record is durable. Never above the log's end. */
NODISCARD enum status shard_log_trim(struct shard_log *log, uint64_t offset, uint64_t *out_lsn);

/* The greatest segment boundary <= limit such that every record below it is older than
 * `cutoff_ms`; log_start when there is none. The guards of 2.12 are the caller's. */
uint64_t shard_log_retention(const struct shard_log *log, uint64_t cutoff_ms, uint64_t limit);
uint64_t shard_log_segment_bytes(const struct shard_log *log); /* of all its segments */

/* The point at which a batch ends, for struct replica_log. In memory for everything in the tail
 * and where segments were just read; blocks for a disk read elsewhere. NOT_FOUND: no batch ends
 * there. CORRUPT: it cannot be read, and the repairer was told. */
NODISCARD enum status shard_log_point_at(void *log, uint64_t end, struct log_point *out);
struct replica_log shard_log_points(struct shard_log *log);

/* A batch in the tail ring. `bytes` stay valid until the journal has been appended to by
 * (ring_bytes - the distance from its end): in practice for the rest of the turn and longer; check
 * with shard_log_tail_has() before use in a later turn. */
struct log_batch {
    uint64_t base, append_ms, position;
    uint32_t count, epoch, crc, prev_crc;
    uint32_t keeper; /* a broker that has its payload; 0: none is known */
    struct bytes bytes;
};

/* Batches from the one that holds `offset` on, wholly below `end`, until `max_bytes` (but one at
 * least) or `capacity`. 0 when the tail does not have `offset`: store_read() does, or it is at the
 * end. */
uint32_t shard_log_tail(struct shard_log *log, uint64_t offset, uint64_t end, size_t max_bytes,
                        struct log_batch *out, uint32_t capacity);
/* That broker has the payload of the newest batch, which begins at `base`. Not stored. */
void shard_log_tail_kept(struct shard_log *log, uint64_t base, uint32_t broker);
bool shard_log_tail_has(const struct shard_log *log, uint64_t position);
uint64_t shard_log_tail_start(struct shard_log *log); /* the log's end when the tail is empty */

/* The bytes of the batches from `from` up to `to`, where batches begin or the log ends, as they are
 * stored. Exact when `from` is in the tail, or a read from segments (`read`, else NULL) has just
 * come to it; else up to 64 KiB and a batch too many. 0 when one of them is not in the log. */
struct log_read;
uint64_t shard_log_bytes_between(const struct shard_log *log, uint64_t from, uint64_t to,
                                 const struct log_read *read);

/* A read from segments. The caller owns the struct and keeps it until `done` runs, from
 * store_poll() or store_close(), never from within store_read(). Zero it, then fill in the first
 * part. */
struct log_read {
    struct shard_log *log;
    uint64_t offset;  /* where to begin: the batch that holds it */
    uint64_t end;     /* batches wholly below this only */
    size_t max_bytes; /* but one batch at least */
    void (*done)(struct log_read *read);
    void *owner;
    bool no_wait; /* damage is told at once: the owner can do without, or is repairing */

    /* OK         `data` has whole batches, each with good checksums, from first_base to next
     * NOT_FOUND  as store_read(): the log was cut or trimmed meanwhile
     * CORRUPT    the bytes there are damaged and could not be repaired in time: never served
     * CANCELLED  the shard was deleted, the store closed;  IO, NO_MEMORY */
    enum status status;
    struct buf data; /* the caller's, to release or to reuse for the next read */
    uint64_t first_base, next;

    struct log_read_hint {
        uint64_t offset, segment, at;
        struct log_point point;
    } hint; /* private: reusing the struct for the offsets behind saves the look-up in the index */
};
/* OK: `done` will run. Else it will not:
 * NOT_FOUND  offset < log start, or >= end, or not in segments yet: the tail has it
 * NO_MEMORY */
NODISCARD enum status store_read(struct store *store, struct log_read *read);

/* The first batch that was appended at or after `time_ms`: *offset is its base; where there is
 * none, the end of the log; never above `end`. Completes like a read; NO_MEMORY at once. */
struct log_seek {
    struct shard_log *log;
    uint64_t time_ms, end;
    void (*done)(struct log_seek *seek);
    void *owner;

    enum status status; /* OK, CORRUPT, CANCELLED, IO, NO_MEMORY */
    uint64_t offset;
};
NODISCARD enum status store_seek(struct store *store, struct log_seek *seek);

/* ---- damage (docs/replication.md 2.9): finding it, and writing what other replicas have ---- */

/* Told whenever a read has met bytes that are not what was written, or cannot be read: the read
 * waits until shard_log_repaired(), and then begins anew, or ends with CORRUPT. Called from
 * store_poll(). Without one nothing waits. */
struct store_repairer {
    void *context;
    void (*damaged)(void *context, struct shard_log *log, uint64_t offset);
};
void store_set_repairer(struct store *store, const struct store_repairer *repairer);
void shard_log_repaired(struct shard_log *log, bool repaired);

/* Known damage: whoever meets it notes it, and takes it back when it is repaired, or was none. What
 * is cut or trimmed counts no more. Kept over restarts, a moment after the call. */
void shard_log_note_hole(struct shard_log *log, uint64_t begin, uint64_t end);
void shard_log_clear_hole(struct shard_log *log, uint64_t begin, uint64_t end);
void shard_log_holes(const struct shard_log *log, struct replica_holes *out);

/* The segment with the smallest base >= `from`. `whole`: full, and all of it is written. */
struct log_segment {
    uint64_t base, end, bytes; /* bytes: those that are written */
    bool whole;
};
bool shard_log_segment(const struct shard_log *log, uint64_t from, struct log_segment *out);

/* Checks every byte of a piece of one segment: both checksums of each batch, offsets, the chain.
 * Runs and completes like a read. Zero it, fill in the first part; used again as it comes back it
 * goes on where it was. */
struct log_check {
    struct shard_log *log;
    uint64_t segment;       /* its base */
    uint64_t at;            /* where a batch begins; moves along, to a damaged one at most */
    struct log_point point; /* the log below `at`; moves along */
    bool has_point; /* else only point.end is to be believed, and at must be 0, or `near` set */
    bool near;      /* begin with the batch that holds `offset`, or a little before */
    uint64_t offset;
    size_t max_bytes;
    struct evp_md_ctx_st *digest; /* of all bytes that were good; NULL: none */
    void (*done)(struct log_check *check);
    void *owner;

    /* OK         all good, and there is more
     * MORE       all good up to the end of the segment, as far as it is written
     * CORRUPT    what lies at `at`, behind `point`, is damaged; good batches begin again at about
     *            the offset `hole_end`
     * NOT_FOUND  the segment is gone, or shorter now;  CANCELLED, NO_MEMORY */
    enum status status;
    uint64_t bytes; /* checked */
    uint64_t hole_end;
};
/* NO_MEMORY: `done` does not follow. */
NODISCARD enum status store_check(struct store *store, struct log_check *check);

/* Writes what another replica has over a damaged piece, in place and synced, if it is exactly what
 * belongs there: whole batches with good checksums whose chain begins with what lies before and
 * closes with what lies behind. The same bytes lie in the same places on all replicas, so nothing
 * but damage is written over, and a crash leaves damage that is found again. */
enum { LOG_PATCH_BYTES_MAX = 256 * 1024 * 1024 };
struct log_patch {
    struct shard_log *log;
    uint64_t segment, at; /* as the check left them */
    struct log_point point;
    bool has_point;
    struct bytes data; /* whole batches from point.end on; borrowed until `done` */
    bool partial; /* all that there is: what does not close the gap is written as far as its batches
                   * have the epochs that our history says, which makes them the same (R6, I2) */
    void (*done)(struct log_patch *patch);
    void *owner;

    /* OK         durable
     * MORE       good, but what follows is damaged as well: come with the batches behind, too.
     *            Never with `partial`
     * CORRUPT    it is not what belongs there
     * BUSY       the segment behind is damaged where it begins, at `blocked`: repair that first
     * NOT_FOUND  the log was cut or trimmed meanwhile;  TOO_LARGE, CANCELLED, IO, NO_MEMORY */
    enum status status;
    uint64_t blocked, end; /* end: how far the log is good again */
};
/* NOT_FOUND, TOO_LARGE, NO_MEMORY: `done` does not follow. */
NODISCARD enum status store_patch(struct store *store, struct log_patch *patch);

/* What a whole segment's bytes hash to, kept as long as it is open here: to compare replicas. */
enum { LOG_HASH_BYTES = 32 };
void shard_log_set_hash(struct shard_log *log, uint64_t base, const uint8_t hash[LOG_HASH_BYTES]);
/* False: there is no such segment, or it was not hashed. */
bool shard_log_hash(const struct shard_log *log, uint64_t base, uint64_t end,
                    uint8_t out[LOG_HASH_BYTES]);

/* The shell's producer table at a segment's base: kept beside the segment, removed with it. Copied;
 * written in the background. */
NODISCARD enum status shard_log_put_producers(struct shard_log *log, uint64_t base,
                                              struct bytes table);

/* The newest readable one at or below the log's end; NOT_FOUND: rebuild from log_start. Blocks; for
 * start-up. */
NODISCARD enum status shard_log_get_producers(struct shard_log *log, struct buf *out,
                                              uint64_t *out_base);

/* The one that was written at this base: what an installed copy takes along. NOT_FOUND, CORRUPT,
 * IO, NO_MEMORY. Blocks for one small file. */
NODISCARD enum status shard_log_producers_at(struct shard_log *log, uint64_t base, struct buf *out);

/* What a stopped broker's directory holds, without changing it; one call of `each` per shard. */
struct log_summary {
    uint64_t shard, log_start, end, commit_hint, batches, records, bytes;
    uint32_t last_epoch, last_crc, promised, disk_gen;
    bool uncertain, corrupt;
    uint64_t encrypted;           /* batches */
    uint32_t first_key, last_key; /* data key versions of the first and the last of them */
    uint32_t bytes_crc;       /* CRC-32C over all batches from the first at or above log_start */
    uint8_t bytes_sha256[32]; /* of the same */
};
NODISCARD enum status store_inspect(const char *dir, const struct disk *disk,
                                    void (*each)(void *context, const struct log_summary *summary),
                                    void *context, struct store_info *out, struct error *error);
