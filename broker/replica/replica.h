/* Agreement on one shard's log: Raft's log rules with elections run by the controllers.
 *
 * docs/replication.md is the protocol; R1 … R17 are its rules, I1 … I16 its invariants. This core
 * is a pure state machine: no I/O, no clock, no threads, no randomness. It never sees a record's
 * bytes; it counts offsets and compares (epoch, crc) pairs at the ends of batches. Batches are
 * indivisible: every boundary it names is the end of a batch (or 0).
 *
 *     replica_step(now, input) -> effects        what happened -> what the shell must do, in order
 *     replica_next_append()                      a peer's link has room: what to send it
 *     replica_deadline()                         when to feed REPLICA_TICK; never, if idle
 *
 * Durability. Effects that change the disk (WRITE, TRUNCATE, PROMISE, UNCERTAIN, INSTALL) carry a
 * rising `seq`; the shell puts them into the journal in that order and, after the sync that covers
 * them, feeds REPLICA_SYNCED with the newest covered seq. Nothing that R2, R3, R9 or R11 forbids is
 * sent earlier.
 *
 * One input at a time, never re-entered; one home thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    REPLICA_VOTERS_MAX = 6,   /* three voters, and three more while a configuration changes */
    REPLICA_LEARNERS_MAX = 2, /* that a leader feeds beside its voters (R14) */
    REPLICA_MEMBERS_MAX = REPLICA_VOTERS_MAX + REPLICA_LEARNERS_MAX,
    REPLICA_HISTORY_SENT = 32, /* epoch pairs in a refusal: 2.8 */
    REPLICA_EFFECTS_MAX = 24,
    REPLICA_RESEND_MS = 500,    /* unanswered appends are sent again from `match` after this */
    REPLICA_COMMIT_IDLE_MS = 5, /* a commit that no append carries is told after this */
    REPLICA_STALL_MS = 2000,    /* a leader that cannot commit for this long refuses proposals */
    REPLICA_WINDOW_BYTES = 8 << 20, /* sent to one follower and not yet acknowledged: 2.9 */
    REPLICA_NEAR_BYTES = 1 << 20,   /* who lags less, and less than … */
    REPLICA_NEAR_MS = 1000,         /* … this, may become a voter, or the leader: 2.9 */
    REPLICA_HANDOVER_MS = 1000,     /* a leader that hands over goes on if nobody came by then */
};

/* A replica is a broker with one particular disk: a new or wiped disk is a different replica (R14).
 */
struct replica_id {
    uint32_t broker, disk_gen;
};

static inline bool replica_id_equal(struct replica_id a, struct replica_id b)
{
    return a.broker == b.broker && a.disk_gen == b.disk_gen;
}

/* The log up to `end`: the last batch below it has this epoch and header crc. {0, 0, 0} is empty.
 */
struct log_point {
    uint64_t end;
    uint32_t epoch, crc;
};

/* The batches of `epoch` begin at offset `start`. */
struct epoch_pair {
    uint32_t epoch;
    uint64_t start;
};

struct replica_config {
    uint32_t version;
    uint32_t voter_count;
    struct replica_id voter[REPLICA_VOTERS_MAX];
};

/* What the core may ask of the log that the shell keeps: the point at which a batch ends. Answers
 * for every boundary in [log start, end]. Reads only.
 *
 * NOT_FOUND  no batch ends there
 * CORRUPT    what lies there cannot be read, so nobody can say: damaged is not absent (2.9). The
 *            shell sees to its repair, and feeds DAMAGE when that has changed anything */
struct replica_log {
    void *context;
    enum status (*point_at)(void *context, uint64_t end, struct log_point *out);
};

/* Known damage below the end of a log (2.9): from the first damaged offset to behind the last. Its
 * size does not grow with what is damaged. */
struct replica_holes {
    uint32_t count; /* pieces; 0: none is known */
    uint64_t begin, end;
};

enum replica_batch_flags {
    REPLICA_BATCH_CONTROL = 1, /* not a producer's: allowed behind a SEAL */
    REPLICA_BATCH_SEAL = 2,    /* the SEAL (2.12) */
};

/* A batch as the core sees it. */
struct replica_batch {
    uint64_t base;
    uint32_t count, epoch, crc, prev_crc, bytes;
    uint32_t flags;
};

/* APPEND: leader -> follower. `prev` is what must match (R10); `batches` follow it without a gap.
 */
struct replica_append {
    uint32_t epoch, cfg_ver;
    struct replica_id leader;
    uint64_t leader_boot;
    struct log_point prev;
    uint64_t commit, log_start, leader_end;
    uint64_t
        to_boot; /* the follower's boot id as its last answer in this epoch gave it, else 0 (2.9) */
    bool install; /* what the follower lacks below `prev` is trimmed: its log begins there (2.8) */
    const struct replica_batch *batches; /* borrowed for the step */
    uint32_t batch_count;
};

/* APPEND_OK and APPEND_NO: follower -> leader. */
struct replica_answer {
    bool ok;
    bool uncertain;
    uint32_t epoch; /* OK: of the append. NO: what I have promised */
    uint64_t boot;
    uint64_t end;           /* OK: durable and verified (R11). NO: the end of my log */
    uint64_t heard;         /* OK: the highest commit that the epoch's leader has told this boot;
                             * UINT64_MAX: it does not say, as the version before */
    uint64_t probed;        /* NO: the prev.end that was refused, 0 for an epoch refusal */
    uint32_t history_count; /* NO: epoch pairs at or below `probed`, newest first (2.8) */
    struct epoch_pair history[REPLICA_HISTORY_SENT];
};

/* FENCE_OK: what a controller counts towards an election. Promise and report are one step (R3). */
struct replica_report {
    bool ok; /* false: promised is higher than the fence's epoch; `promised` says by how much */
    bool certain;
    uint32_t promised, last_epoch;
    uint64_t boot, end, log_start, commit_hint;
    struct replica_holes holes; /* the promise and `end` stand all the same (2.9) */
};

enum replica_input_type {
    REPLICA_FENCE,    /* a controller asks for a promise: .epoch, .config (every voter of every
                       * configuration that is still possible; STALE if we are not among them, R14) */
    REPLICA_GRANT,    /* we lead: .epoch, .id, .boot, .config (the voters of the epoch), .previous
                       * (those of the configuration before, while that is possible). Every voter
                       * counts as connected until PEER_DOWN says otherwise */
    REPLICA_PROPOSED, /* the shell built a batch in the slot of replica_slot(): .batch */
    REPLICA_SYNCED,   /* the disk holds every effect up to .seq */
    REPLICA_RECEIVE_APPEND,
    REPLICA_RECEIVE_ANSWER, /* .from */
    REPLICA_PEER_UP,   /* a session with broker .from.broker began, in whose boot .boot (0: any):
                        * nothing sent before it counts, and no answer of an earlier boot */
    REPLICA_PEER_DOWN, /* it ended */
    REPLICA_FLOOR,     /* .epoch: at least every epoch that this replica can have promised in an
                        * earlier boot, as the controllers' committed rows say (2.9). STALE unless
                        * .needs_floor */
    REPLICA_RETAIN,    /* leader: retention allows to drop what lies below .offset, a batch boundary
                        * <= commit. Followers learn it from appends */
    REPLICA_SEAL,      /* leader: the controllers want the shard closed (2.12) */
    REPLICA_LEARN,     /* leader: .config.voter are the learners of .epoch from now on, at most
                        * REPLICA_LEARNERS_MAX, none of them a voter: they are fed, and count for
                        * nothing. Those that are near are told again (LEARNED). STALE: of another
                        * epoch */
    REPLICA_HANDOVER,  /* leader: proposals are refused (BUSY) until .id, a voter, holds all of the
                        * log and all of it is committed (HANDED); for REPLICA_HANDOVER_MS at most.
                        * NOT_FOUND: no voter. BUSY: it is not near enough, or not connected */
    REPLICA_DAMAGE,    /* .holes: what is known to be damaged now; all of it, whenever it changes */
    REPLICA_ABSENT,    /* leader whose holes are to be filled: the voter .from, which has durably
                        * promised .epoch, was asked for the batch at .offset and does not have it.
                        * .gone: something was there, but it is trimmed (.log_start is above) or
                        * damaged, too (then it was of .gone_epoch; 0: unknown). A leader that waits
                        * for    nothing drops a hole that .from has dropped. STALE: of another epoch,
                        * another hole, or nobody waits */
    REPLICA_TICK,      /* replica_deadline() has passed */
};

struct replica_input {
    enum replica_input_type type;
    uint64_t now_ms; /* monotonic */
    uint32_t epoch;
    struct replica_id from, id;
    uint64_t boot, seq, offset, log_start;
    bool gone;
    uint32_t gone_epoch;
    struct replica_holes holes;
    struct replica_config config, previous;
    struct replica_batch batch;
    struct replica_append append;
    struct replica_answer answer;
};

enum replica_effect_type {
    REPLICA_DO_PROMISE,   /* journal: .epoch is promised */
    REPLICA_DO_TRUNCATE,  /* journal: the log ends at .end now, because of .epoch */
    REPLICA_DO_WRITE,     /* journal: batches [first, first + count) of the input's append; the log
                           * then ends at .end. For PROPOSED: the proposed batch */
    REPLICA_DO_UNCERTAIN, /* journal: the uncertain mark is .flag, valid end .end */
    REPLICA_DO_START_EPOCH, /* build EPOCH_START in replica_slot() and feed it as PROPOSED, now */
    REPLICA_DO_SEAL,        /* build SEAL in replica_slot() and feed it as PROPOSED, now */
    REPLICA_DO_WAKE,   /* .to has something coming: call replica_next_append() when there is room,
                        * until it says NOT_FOUND. Not repeated before it is called */
    REPLICA_DO_ANSWER, /* send .answer to .to */
    REPLICA_DO_REPORT, /* send .report to the controllers */
    REPLICA_DO_COMMIT, /* everything below .end is committed: answer those puts, wake readers */
    REPLICA_DO_SEALED, /* the SEAL that ends at .end is committed: readers are done there. Answers
                        * REPLICA_SEAL too, when that was so before */
    REPLICA_DO_LEAD,   /* EPOCH_START of .epoch is committed: open; send ACTIVE_OK */
    REPLICA_DO_STEP_DOWN, /* lead no longer: fail waiting puts with UNCERTAIN's retry semantics */
    REPLICA_DO_LOG_START, /* journal (lazily): log_start is .end; files below may go */
    REPLICA_DO_INSTALL,   /* journal: the log begins and ends at .end, where the batch before has
                           * .epoch and .crc. All older batches go, once this is durable (2.8) */
    REPLICA_DO_LEARNED,   /* the learner .to is near: it may become a voter (2.9) */
    REPLICA_DO_HANDED,    /* .to has everything and nothing waits: tell the controllers */
    REPLICA_DO_REPAIR,    /* leader: nothing is written before the holes, from .end on, are filled:
                           * ask all voters of all possible configurations for them. Repeated */
    REPLICA_DO_HALT,      /* R12 broken: stop serving the shard, keep all files, raise an alarm */
};

struct replica_effect {
    enum replica_effect_type type;
    uint64_t seq; /* of PROMISE, TRUNCATE, WRITE, UNCERTAIN, INSTALL */
    struct replica_id to;
    uint32_t epoch, first, count, crc;
    uint64_t end;
    bool flag;
    struct replica_answer answer;
    struct replica_report report;
};

struct replica_effects {
    uint32_t count;
    struct replica_effect effect[REPLICA_EFFECTS_MAX];
};

enum replica_role { REPLICA_FOLLOWING, REPLICA_LEADING, REPLICA_HALTED };

/* What recovery found on the disk; the start of every replica's life. */
struct replica_recovered {
    uint64_t shard;
    struct replica_id self;
    uint64_t boot; /* of this process (R6) */
    uint32_t promised;
    struct log_point last; /* all of it is durable */
    uint64_t log_start, commit_hint;
    bool uncertain; /* 2.9: synced batches above uncertain_end may be missing, and promises: until
                     * FLOOR, appends, fences and grants are STALE */
    uint64_t uncertain_end;
    uint64_t seal_end;                /* where the log's SEAL ends; 0: it has none */
    struct replica_holes holes;       /* that an earlier boot had met, and not repaired */
    const struct epoch_pair *history; /* oldest first, epochs and starts rising; copied */
    uint32_t history_count;
};

struct replica; /* about 1 KiB, and 16 bytes for each epoch that the log still holds */

/* NULL when out of memory. `log` is borrowed for the replica's life. */
struct replica *replica_new(const struct replica_recovered *recovered,
                            const struct replica_log *log);
void replica_free(struct replica *r);

/* Takes one input and lists what must be done, in order.
 *
 * OK          effects are to be carried out
 * STALE       the message is of an older epoch, boot or session, or not for this replica, or the
 *             replica is halted: nothing changed (R17). A refusal that the sender needs is an
 *             effect of OK, not this
 * INVALID     the message contradicts itself: nothing changed
 * BUSY        RETAIN where the log is damaged: to be repaired first
 * NOT_LEADER  PROPOSED, RETAIN or LEARN while not leading; SEAL or HANDOVER before EPOCH_START is
 *             committed (R7)
 * SEALED      PROPOSED, and the log has a SEAL behind which only control batches may follow; RETAIN
 *             past the SEAL, which stays until the shard is dropped
 * NO_MEMORY   nothing changed */
NODISCARD enum status replica_step(struct replica *r, const struct replica_input *in,
                                   struct replica_effects *out);

/* Where the next proposed batch goes. NOT_LEADER; BUSY while it hands over, or fills its holes;
 * NO_QUORUM while a leader is stalled (2.9, "partition isolating the leader": REPLICA_STALL_MS
 * without progress). */
struct replica_slot {
    uint64_t base_offset;
    uint32_t epoch, prev_crc;
};
NODISCARD enum status replica_slot(const struct replica *r, struct replica_slot *out);

/* What to send to `to` next: *out has everything but the batches, which are the log's [prev.end,
 * *end). The shell sends as many of them as it likes, perhaps none, and reports how far it went
 * with replica_sent(). NOT_FOUND: nothing to say to that peer now. */
NODISCARD enum status replica_next_append(struct replica *r, struct replica_id to, uint64_t now_ms,
                                          struct replica_append *out, uint64_t *end);
/* `upto`: end of the last batch sent (prev.end if none); `bytes`: what they weigh. Steps may come
 * between the two calls (batches that must be read from disk take time). */
void replica_sent(struct replica *r, struct replica_id to, uint64_t upto, uint64_t bytes,
                  uint64_t now_ms);

/* When to feed TICK, on the clock of now_ms; UINT64_MAX for never. */
uint64_t replica_deadline(const struct replica *r);

/* Whether this replica has promised nothing above that epoch, and can be believed about it: what a
 * leader is told that makes sure of its leadership (broker/tip, 2.10). */
bool replica_follows(const struct replica *r, uint32_t epoch);

/* For readers, status pages and invariants. */
struct replica_member_view {
    struct replica_id id;
    uint64_t match; /* leader: durable and verified there */
    bool connected;
    bool fenced;     /* it has promised a higher epoch */
    bool needs_copy; /* what it lacks is below our log start: it is sent an install (2.8) */
    bool learner;    /* counts for nothing (R14) */
};
struct replica_view {
    enum replica_role role;
    bool open; /* leading, and EPOCH_START is committed (R7) */
    bool uncertain;
    bool needs_floor; /* waits for FLOOR */
    bool filling;     /* leading, and nothing is written before known holes are filled */
    bool promise_is_durable;
    struct replica_holes holes;
    uint32_t epoch; /* of the leadership we hold or follow; 0 if none yet */
    uint32_t promised, cfg_ver;
    struct replica_id leader; /* broker 0: unknown */
    struct log_point last;
    uint64_t durable_end, verified_end, commit, log_start;
    uint64_t seal_end; /* where the SEAL ends; 0: there is none in the log */
    bool sealed;       /* ... and it is committed: for good */
    uint32_t member_count;
    struct replica_member_view member[REPLICA_MEMBERS_MAX];
};
void replica_view(const struct replica *r, struct replica_view *out);

/* The epoch pairs of the log, oldest first; valid until the next step. For the journal's state
 * record. */
const struct epoch_pair *replica_history(const struct replica *r, uint32_t *count);
