/* The decisions of a consumer's worker: which leases it holds, what it reads ahead, which callback
 * of which shard runs next, what may be checkpointed, when it must stop. Pure: times come in,
 * effects go out.
 *
 *                 opened (and, at LATEST or a time, checkpointed where it begins)
 *     assigned ------------> RUNNING --- shard ended, told, checkpointed ---------> FINISHED --+
 *                             |  ^ |                                                            |
 *                a failure: --+--+ +--- asked for, or stopping --> DRAINING -- told --> RELEASED
 * +--> gone again from the         |                                  |                         |
 *           checkpoint             +------ taken, or fenced ----------+--------> LOST ----------+
 *
 * For one lease at most one callback is under way. Whatever comes in: call the function for it,
 * then core_next() until it has no more effects, then set a timer for core_next_ms().
 *
 * The protocol with the controllers, and who may checkpoint: proto/schema/lease.proto. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <weir/reader.h>

#include "base/list.h"
#include "base/status.h"

/* How far a shard is processed: everything below it. In rising order, the first three alike. */
enum mark_kind {
    MARK_OLDEST, /* nothing is checkpointed: from the oldest record, */
    MARK_NEWEST, /* from the tip, */
    MARK_TIME,   /* or from the first record at time_ms */
    MARK_AT,     /* all before `offset`, and of the record there the first `sub` user records */
    MARK_END,    /* all of a closed shard */
};
struct mark {
    enum mark_kind kind;
    uint32_t sub;
    uint64_t offset, time_ms;
};
/* Less than, equal to, greater than 0. */
int mark_compare(struct mark a, struct mark b);

static inline struct mark mark_at(uint64_t offset, uint32_t sub)
{
    return (struct mark){.kind = MARK_AT, .offset = offset, .sub = sub};
}

/* What was read at once. Its records are its owner's; these fields are set before core_fetched()
 * and the core's from then on. */
struct core_batch {
    struct list node;
    uint32_t count, taken; /* records, and those that were handed to the processor */
    uint64_t bytes;
    const struct weir_read_record *records;
};

/* Somebody who waits for a checkpoint. Embedded; the core's until EFFECT_ANSWER. */
struct core_request {
    struct list node;
    struct mark mark;
    bool last;          /* at what was handed over last, whatever `mark` says */
    bool prepare;       /* the first of two phases: only a pending checkpoint */
    bool commit;        /* the second: at what was prepared, whatever `mark` says */
    enum status status; /* with EFFECT_ANSWER */
    const char *text;   /* a sentence when it is not OK */
};

enum core_phase { CORE_RUNNING, CORE_DRAINING, CORE_RELEASED, CORE_FINISHED, CORE_LOST };
enum core_reader { READER_NONE, READER_OPENING, READER_OPEN, READER_FETCHING, READER_CLOSING };
enum core_job {
    JOB_NONE,
    JOB_INITIALISED,
    JOB_RECORDS,
    JOB_ENDED,
    JOB_SHUTDOWN,
    JOB_LOST,
    JOB_CLOSED
};

struct core;

/* Embedded in the shell's lease. Read what you like; written by the core. */
struct core_lease {
    struct list node, dirty; /* core.leases; core.dirty */
    uint64_t shard, counter;
    enum core_phase phase;
    enum core_reader reader;
    enum core_job job;     /* under way */
    struct mark stored;    /* what the controllers have */
    struct mark delivered; /* what the processor was given, at most */
    struct mark wanted;    /* to be checkpointed; `stored` when nothing is */
    struct mark sent;      /* ... on its way */
    bool sending;
    struct mark pending;        /* beside `stored`, what the controllers tell the next owner ... */
    bool has_pending, prepared; /* ... if so; it is of this run */
    struct mark preparing;      /* to be made pending, ... */
    bool to_prepare, sending_prepare; /* ... if so; `sent` is that */
    uint64_t due_ms;                  /* no checkpoint and no opening before */
    uint64_t opened_due_ms;
    struct mark start; /* where this run began: user records below it are left out */
    struct mark from;  /* where the next reader begins */
    bool reopen;       /* the reader is of no use any more */
    bool begun;        /* JOB_INITIALISED of this run was given */
    bool owed;         /* ... of any run: so is JOB_CLOSED */
    bool told_end, told_last, closed;
    bool over;         /* the reader has come to the shard's end */
    bool restart;      /* from `stored`, once nothing is under way */
    bool named;        /* RELEASED, and the last sync said so */
    uint32_t failures; /* of callbacks, in a row */
    uint32_t open_failures;
    uint64_t checkpointed_ms;
    struct list batches, dropped; /* core_batch */
    uint64_t queued_bytes, queued_records;
    struct list requests, answered; /* core_request */
    uint64_t bytes_processed;       /* ever */
    double bytes_per_s;             /* of late */
    uint64_t rate_ms, rate_bytes;   /* when it was measured last */
};

struct core_options {
    uint64_t prefetch_bytes; /* of all shards together */
    uint32_t records_max;    /* of one callback; 0: as they come */
    bool automatic;          /* checkpoints what was processed by itself ... */
    uint32_t automatic_ms;   /* ... at most every so often */
};

enum { CORE_READ_BYTES_MAX = 1024 * 1024, CORE_READ_BYTES_MIN = 64 * 1024 };

struct core {
    struct core_options options;
    struct list leases, dirty;
    uint32_t lease_count;
    bool joined; /* the controllers know this incarnation */
    bool syncing, sync_again;
    uint64_t sync_sent_ms, sync_at_ms, sure_until_ms, term_ms;
    uint32_t sync_failures;
    bool stopping, leaving, stopped;
    bool leave_sent, left; /* the last sync says it; it was answered, or nobody will */
    uint64_t stop_by_ms;
    enum status failed; /* why it ended by itself; OK: it did not */
    const char *failed_text;
};

enum core_effect_kind {
    EFFECT_SYNC,  /* send LEASE_SYNC: core_sync_sent(), later core_synced() or core_sync_failed() */
    EFFECT_OPEN,  /* a reader at lease->from: core_opened() or core_open_failed() */
    EFFECT_FETCH, /* core_fetched(), core_fetched_nothing(), core_ended() or core_fetch_failed() */
    EFFECT_CLOSE, /* the reader; a fetch under way is answered nevertheless */
    EFFECT_RUN,   /* the callback for `job`: core_processed() */
    EFFECT_DROP,  /* free `batch` */
    EFFECT_CHECKPOINT, /* lease->sent, with sending_prepare as the pending one: core_checkpointed()
                        */
    EFFECT_ANSWER,     /* `request` is its owner's again */
    EFFECT_FREE,       /* the lease is gone: free it */
    EFFECT_STOPPED,    /* the last effect; core->failed says why */
};
struct core_effect {
    enum core_effect_kind kind;
    struct core_lease *lease;
    enum core_job job;
    struct core_batch *batch;
    uint32_t first, count; /* JOB_RECORDS: of the batch */
    bool hand_over;        /* JOB_SHUTDOWN: another worker wants it; false: this one stops */
    struct core_request *request;
};

void core_init(struct core *core, const struct core_options *options);

/* False: nothing to do now. */
bool core_next(struct core *core, uint64_t now, struct core_effect *out);
uint64_t core_next_ms(const struct core *core, uint64_t now);
/* A timer that core_next_ms() asked for. */
void core_tick(struct core *core, uint64_t now);

/* How much a reader should read at once, so that all of them keep within their budget. */
uint32_t core_read_bytes(const struct core *core);

/* ---- the controllers --------------------------------------------------------------------------
 */

/* Whether the lease belongs into the lists of a sync. */
bool core_holds(const struct core_lease *lease);
void core_sync_sent(struct core *core, uint64_t now);
/* A lease that was assigned. False: not taken: it is known, or an earlier tenure of its shard has
 * not ended here; the controllers will say it again. */
bool core_assigned(struct core *core, struct core_lease *lease, uint64_t shard, uint64_t counter,
                   struct mark checkpoint, uint64_t now);
/* ... and beside its checkpoint there was a pending one. Right after core_assigned(). */
void core_assigned_pending(struct core_lease *lease, struct mark pending);
void core_lost(struct core *core, uint64_t counter);
void core_hand_over(struct core *core, uint64_t counter, uint64_t now);
/* The rest of the reply, last. */
void core_synced(struct core *core, uint64_t now, uint64_t term_ms, uint64_t next_ms);
/* `text` must live on. */
void core_sync_failed(struct core *core, uint64_t now, enum status status, const char *text);

/* ---- reading ----------------------------------------------------------------------------------
 */

/* `offset`: where it begins, a record or the tip. */
void core_opened(struct core *core, struct core_lease *lease, uint64_t offset, uint64_t now);
void core_open_failed(struct core *core, struct core_lease *lease, uint64_t now);
/* `next`: the offset behind all that was read. */
void core_fetched(struct core *core, struct core_lease *lease, struct core_batch *batch,
                  uint64_t next);
void core_fetched_nothing(struct core *core, struct core_lease *lease);
void core_ended(struct core *core, struct core_lease *lease);
/* The reader is of no use any more: it is closed, and another opened where it was. */
void core_fetch_failed(struct core *core, struct core_lease *lease, uint64_t now);

/* ---- processing -------------------------------------------------------------------------------
 */

/* The callback has returned; `good` false: begin again at the checkpoint, after a pause. */
void core_processed(struct core *core, struct core_lease *lease, bool good, uint64_t now);

/* FENCED    the lease is lost
 * INVALID   beyond what was handed over, before what is checkpointed, the end of a shard that has
 *           not been told to have ended; prepared while the core checkpoints by itself; committed
 *           and not prepared
 * Everything else: as the controllers answer, as EFFECT_ANSWER. */
void core_checkpoint(struct core *core, struct core_lease *lease, struct core_request *request,
                     uint64_t now);
void core_checkpointed(struct core *core, struct core_lease *lease, enum status status,
                       uint64_t now);

/* Hands everything over, and leaves; at `by_ms` whatever is still under way. */
void core_stop(struct core *core, uint64_t now, uint64_t by_ms);
/* Ends at once, without a word to the controllers. */
void core_fail(struct core *core, enum status status, const char *text);
