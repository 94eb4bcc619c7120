/* The replica's state, and what its parts offer one another. Private to this folder.
 *
 *     replica.c    new, free, the switch over inputs, views
 *     fence.c      promises and reports (R2, R3, R14), the floor of lost promises (2.9)
 *     leader.c     grants, proposals, the commit rule, timers (R6 … R9)
 *     member.c     what a leader knows of each other voter, and what to send it next
 *     follower.c   appends (R10 … R12)
 *     move.c       learners (R14), handing the leadership over, installing a copy (2.8)
 *     holes.c      known damage below the end (2.9)
 *     uncertain.c  the mark of a damaged log (2.9, R13)
 *     durable.c    which effects the disk holds
 *     history.c    where epochs begin in the log
 *     search.c     the divergence search (2.8) */
#pragma once

#include "broker/replica/mutant.h"
#include "broker/replica/replica.h"

#define REPLICA_NEVER UINT64_MAX

/* A write that the disk does not hold yet: once `seq` is synced, the log is durable up to `end`. */
struct pending_write {
    uint64_t seq, end;
};

/* Oldest first in pending[head, tail); both numbers rise. */
struct pending_writes {
    struct pending_write *pending;
    uint32_t head, tail, capacity;
};

struct epoch_history {
    struct epoch_pair *pair; /* oldest first */
    uint32_t count, capacity;
};

enum member_state {
    MEMBER_PROBE,  /* one append at a time, until one is accepted */
    MEMBER_STREAM, /* appends follow each other without waiting */
};

/* Another voter, as the leader of an epoch sees it. */
struct member {
    struct replica_id id;
    uint64_t boot;       /* of its last answer in this epoch, else 0 */
    uint64_t up_boot;    /* of its session, else 0: answers of earlier ones come too late (R17) */
    uint64_t match;      /* durable and verified there, in this epoch and boot */
    uint64_t next;       /* where the next append begins; a probe in flight began here too */
    uint64_t probe_end;  /* where that probe ended */
    uint64_t waiting_ms; /* since when something is unanswered, else REPLICA_NEVER */
    uint64_t told_commit, told_log_start;
    uint64_t heard;        /* the commit that it says it was told, in this boot */
    uint64_t greeted_boot; /* that we told our end to */
    /* Of the last replica_next_append(). */
    uint64_t offer_from, offer_commit, offer_log_start, offer_boot;
    /* The window: bytes sent, and how many of those were sent before `mark` was reached. */
    uint64_t bytes_sent, bytes_acked, mark, mark_bytes;
    enum member_state state;
    bool connected, woken;
    bool offered;    /* replica_sent() is to come; nothing overtook what was offered */
    bool probing;    /* PROBE: an append is unanswered */
    bool bare;       /* PROBE: a guess, so without batches */
    bool flush;      /* has to hear of a commit or a log start, with or without batches */
    bool greet;      /* uncertain, and has to hear our end (2.9) */
    bool fenced;     /* promised a higher epoch: it never answers this one again */
    bool needs_copy; /* lacks what lies below our log start: what is sent next is an install */
    bool learner;    /* not a voter: fed, never counted (R14) */
    bool uncertain;  /* says its last answer (2.9) */
    bool told_near;  /* LEARNED was said since the last LEARN */
};

/* A voter that a leader with a hole asks for what it lacks. */
struct asked_voter {
    struct replica_id id;
    bool answered, gone; /* it does not have it; it had */
};

struct replica {
    const struct replica_log *log;
    uint64_t shard, boot;
    struct replica_id self;
    enum replica_role role;

    /* The log and what is known of it. */
    uint32_t promised;
    struct log_point last;
    uint64_t log_start, commit;
    uint64_t seal_end;    /* of the log's SEAL, 0: none */
    uint64_t commit_hint; /* the highest commit ever known: above `commit` on a damaged log only */
    struct epoch_history history;

    /* The disk. */
    uint64_t next_seq, synced_seq, promise_seq, durable_end;
    struct pending_writes writes;

    /* A fence whose report waits for the disk (R3). */
    bool report_pending;
    uint64_t report_seq;
    struct replica_report report;

    /* The epoch that we lead or follow; 0 when we only promised. */
    uint32_t epoch, cfg_ver;
    struct replica_id leader;
    uint64_t leader_boot;
    uint64_t leader_commit; /* the highest it told in this epoch, perhaps above `verified` */
    uint64_t verified;      /* our log is equal to the leader's up to here (R11) */
    uint64_t acked;         /* the last end we acknowledged in this epoch */
    bool owes_answer; /* to an append that brought nothing to write; the promise is not synced */

    bool uncertain, has_clear_at;
    bool needs_floor; /* promises may be lost, too: silent until the controllers' epoch is known */
    uint64_t uncertain_end, clear_at; /* H of 2.9 */
    struct replica_holes holes;

    /* As a leader. */
    uint32_t granted; /* the highest epoch that this process was granted */
    bool open, stalled;
    bool filling; /* holes: nothing is written or sent before they are filled */
    struct asked_voter asked[REPLICA_VOTERS_MAX]; /* all others that may hold something committed */
    uint32_t asked_count;
    uint64_t epoch_base; /* records from here on are of our epoch (R8) */
    uint64_t progress_ms, flush_ms, start_retry_ms;
    uint32_t voter_count, member_count;
    struct member member[REPLICA_MEMBERS_MAX];
    struct replica_id heir; /* who is to lead next, broker 0: nobody is (2.9, planned moves) */
    bool handed;            /* HANDED was said */
    uint64_t handover_ms;   /* until when proposals are refused for it */
};

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* replica.c */
struct replica_effect *replica_emit(struct replica_effects *out, enum replica_effect_type type);
NODISCARD enum status replica_point_at(const struct replica *r, uint64_t end,
                                       struct log_point *out);
/* The log ends at *at, which is below its end: in the journal before whatever comes next (R10). */
void replica_truncate(struct replica *r, const struct log_point *at, struct replica_effects *out);
/* Appends to the log in memory and emits WRITE; room must be reserved. */
void replica_write(struct replica *r, const struct replica_batch *batch, uint32_t first,
                   uint32_t count, struct replica_effects *out);
void replica_commit(struct replica *r, uint64_t end, struct replica_effects *out);
void replica_move_log_start(struct replica *r, uint64_t offset, struct replica_effects *out);
/* Neither leads nor follows any more; emits STEP_DOWN if it led. */
void replica_leave_epoch(struct replica *r, struct replica_effects *out);
void replica_halt(struct replica *r, struct replica_effects *out);

/* durable.c. A write needs durable_reserve() first; NO_MEMORY changes nothing. */
NODISCARD enum status durable_reserve(struct replica *r);
uint64_t durable_take_seq(struct replica *r);
void durable_write(struct replica *r, uint64_t seq, uint64_t end);
void durable_truncate(struct replica *r, uint64_t end);
void durable_synced(struct replica *r, uint64_t seq);
void durable_restart(struct replica *r); /* what was written before an INSTALL is of no account */
void durable_release(struct replica *r);

/* history.c. history_add() needs history_reserve() of one pair for each new epoch first. */
NODISCARD enum status history_reserve(struct epoch_history *h, uint32_t more);
void history_add(struct epoch_history *h, uint32_t epoch, uint64_t start);
void history_cut(struct epoch_history *h, uint64_t end);
void history_trim(struct epoch_history *h, uint64_t log_start);
/* The epoch of the batch that ends at `end`, 0 if unknown. */
uint32_t history_epoch_below(const struct epoch_history *h, uint64_t end);
/* One pair: the epoch of the batch below `end`; room is reserved. */
void history_restart(struct epoch_history *h, uint32_t epoch, uint64_t end);
void history_release(struct epoch_history *h);

/* search.c. The follower's side: pairs at or below what was refused. The leader's: where to probe
 * next, always below what was refused; *out_guess when the two logs have no epoch in common there.
 */
void search_describe(const struct replica *r, uint64_t probed, struct replica_answer *answer);
uint64_t search_next(const struct replica *r, const struct replica_answer *no, bool *out_guess);

/* uncertain.c */
void uncertain_greeted(struct replica *r, const struct replica_append *append);
void uncertain_received(struct replica *r, const struct replica_append *append,
                        struct replica_effects *out);
void uncertain_check(struct replica *r, struct replica_effects *out);
void uncertain_clear(struct replica *r, struct replica_effects *out);

/* holes.c */
NODISCARD enum status holes_on_damage(struct replica *r, const struct replica_input *in,
                                      struct replica_effects *out);
NODISCARD enum status holes_on_absent(struct replica *r, const struct replica_input *in,
                                      struct replica_effects *out);
/* Leader, when it was granted an epoch: whom to ask, and whether it has to. */
void holes_on_grant(struct replica *r, const struct replica_input *in);
void holes_ask(struct replica *r, uint64_t now_ms, struct replica_effects *out);
/* The log was cut at `end`, or begins at `log_start` now. */
void holes_cut(struct replica *r, uint64_t end);
void holes_trim(struct replica *r, uint64_t log_start);
/* Up to where a copy of ours may count for a commit. */
uint64_t holes_limit(const struct replica *r);

/* fence.c */
NODISCARD enum status fence_on_fence(struct replica *r, const struct replica_input *in,
                                     struct replica_effects *out);
NODISCARD enum status fence_on_floor(struct replica *r, const struct replica_input *in,
                                     struct replica_effects *out);
void fence_promise(struct replica *r, uint32_t epoch, struct replica_effects *out);
void fence_synced(struct replica *r, struct replica_effects *out);

/* move.c */
NODISCARD enum status move_on_learn(struct replica *r, const struct replica_input *in,
                                    struct replica_effects *out);
NODISCARD enum status move_on_handover(struct replica *r, const struct replica_input *in,
                                       struct replica_effects *out);
/* After an answer of `m`, or anything that moved the commit: says LEARNED and HANDED. */
void move_learned(struct replica *r, struct member *m, uint64_t now_ms,
                  struct replica_effects *out);
void move_handed(struct replica *r, struct replica_effects *out);
/* Follower: the log begins at the append's `prev`, and nothing else of it is left. */
void move_install(struct replica *r, const struct replica_append *append,
                  struct replica_effects *out);

/* follower.c */
NODISCARD enum status follower_on_append(struct replica *r, const struct replica_append *append,
                                         struct replica_effects *out);
void follower_synced(struct replica *r, struct replica_effects *out);
/* Acknowledges what it could not before. */
void follower_repaired(struct replica *r, struct replica_effects *out);

/* leader.c */
NODISCARD enum status leader_on_grant(struct replica *r, const struct replica_input *in,
                                      struct replica_effects *out);
NODISCARD enum status leader_on_proposed(struct replica *r, const struct replica_input *in,
                                         struct replica_effects *out);
NODISCARD enum status leader_on_retain(struct replica *r, const struct replica_input *in,
                                       struct replica_effects *out);
NODISCARD enum status leader_on_seal(struct replica *r, struct replica_effects *out);
NODISCARD enum status leader_on_answer(struct replica *r, const struct replica_input *in,
                                       struct replica_effects *out);
void leader_on_tick(struct replica *r, uint64_t now_ms, struct replica_effects *out);
void leader_synced(struct replica *r, uint64_t now_ms, struct replica_effects *out);
/* Appends EPOCH_START, which nothing hinders any more. */
void leader_begin_epoch(struct replica *r, uint64_t now_ms, struct replica_effects *out);
void leader_plan_flush(struct replica *r, uint64_t now_ms);
uint64_t leader_deadline(const struct replica *r);

/* member.c */
void member_init(struct member *m, struct replica_id id, uint64_t next);
struct member *member_find(struct replica *r, struct replica_id id);
bool member_is_reachable(const struct member *m);
bool member_has_news(const struct replica *r, const struct member *m);
void member_wake(struct replica *r, struct member *m, struct replica_effects *out);
void member_restart(struct member *m, uint64_t next); /* it was told nothing in this epoch */
void member_wake_all(struct replica *r, struct replica_effects *out);
void member_up(struct replica *r, uint32_t broker, uint64_t boot, struct replica_effects *out);
void member_down(struct replica *r, uint32_t broker);
void member_timeout(struct replica *r, struct member *m, struct replica_effects *out);
/* STALE: it says nothing that is not known. */
NODISCARD enum status member_answered(struct replica *r, struct member *m,
                                      const struct replica_answer *answer, uint64_t now_ms);
