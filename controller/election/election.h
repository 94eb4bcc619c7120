/* Elections of shard leaders, as the active controller runs them: docs/replication.md R1, R3 … R6,
 * R15 and 2.9.
 *
 * A pure state machine in the memory of the active controller: no I/O, no clock, no threads, no
 * randomness. What must survive is in the shards' rows, which the controllers' Raft commits; the
 * rest is learned again from the brokers. The caller feeds what happened and carries out the
 * effects; every effect may be lost or doubled, and is asked for again after a while.
 *
 *     election_step(e, now, input, effects)    what happened -> what is to be done
 *     election_deadline(e)                     when to feed ELECTION_TICK
 *
 * The life of a leadership:
 *
 *     row IDLE, or the leader's broker is down or has restarted
 *       -> PROPOSE_ELECTING   commits as row ELECTING(epoch)         (R1: committed before use)
 *       -> FENCE to voters    come back as REPORT                    (R3: promise + log, one step)
 *       -> PROPOSE_ACTIVE     commits as row ACTIVE(epoch, leader)   (R4 quorum, R5 choice)
 *       -> GRANT to leader    comes back as OPENED
 *       -> PROPOSE_STABLE     if a previous configuration is still possible (R15)
 *
 * A leader that resigns leads the next epoch only if the others alone are no quorum within
 * ELECTION_AVOID_MS: its log may well be the best, but it has just failed to commit. A stalled one
 * is heard only when a majority of the voters is up here, else an election would change nothing;
 * and only ELECTION_RESIGN_MS after the last one, if it is the same broker or has never opened.
 *
 * A log with known holes is no worse a log (2.9), but who leads with it has to fill them first. So
 * its replica is set aside as long as the others alone are a quorum, and when it is needed and a
 * hole lies above every other log, all voters have to reply: one of them may have what is missing.
 *
 * A leader that hands over names its heir, which wins among equal logs.
 *
 * Effects append, so that the items of one frame, or all rows of a committed entry, can be fed one
 * after another and carried out together: election_effects_group() brings what belongs to one
 * broker side by side.
 *
 * Broker ids are at least 1. Not re-entrant; one home thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    ELECTION_VOTERS_MAX = 6,
    ELECTION_RESEND_MS = 500,      /* an unanswered FENCE or GRANT goes again; doubles from here */
    ELECTION_RESEND_MAX_MS = 4000, /* up to here */
    ELECTION_PROPOSE_MS = 1000,    /* a proposal that has not committed is made again */
    ELECTION_PATIENCE_MS = 20,     /* with a quorum, for the preferred leader's reply too */
    ELECTION_AVOID_MS = 1000,    /* with a quorum that needs the resigned leader, for the others */
    ELECTION_RESIGN_MS = 5000,   /* between elections that a shard's stalled leaders ask for */
    ELECTION_HEADROOM = 1 << 20, /* above a promise that our rows do not know (2.9) */
};

/* A broker with one particular disk; a new or wiped disk is another replica (R14). */
struct election_replica {
    uint32_t broker, disk_gen;
};

struct election_config {
    uint32_t version;
    uint32_t voter_count; /* 0: no configuration */
    struct election_replica voter[ELECTION_VOTERS_MAX];
};

enum election_phase {
    ELECTION_IDLE, /* created, never led */
    ELECTION_ELECTING,
    ELECTION_ACTIVE,
    ELECTION_SEALED,    /* takes no more records: no elections */
    ELECTION_NO_QUORUM, /* as ELECTING; the name is for operators */
    ELECTION_DELETED,
};

/* A shard's committed row. */
struct election_row {
    uint64_t shard; /* stream id << 32 | shard number */
    enum election_phase phase;
    uint32_t epoch; /* the newest that was ever committed for the shard */
    struct election_config cfg, prev_cfg;
    struct election_replica leader; /* ACTIVE */
    uint64_t leader_boot;           /* ACTIVE (R6) */
    uint32_t preferred;             /* broker that should lead when all else is equal; 0: none */
};

/* One item of a FENCE_OK. */
struct election_report {
    struct election_replica replica;
    uint32_t epoch;   /* of the fence that it answers */
    bool ok, certain; /* !ok: refused, `promised` is higher */
    uint32_t promised, last_epoch;
    uint64_t boot, end;
    uint32_t holes;     /* known damaged pieces below `end` ... */
    uint64_t holes_end; /* ... and where the last of them ends */
};

enum election_input_type {
    ELECTION_ACTIVATED,   /* this controller became the active one: .row of every shard follows */
    ELECTION_DEACTIVATED, /* it is no longer: everything is forgotten */
    ELECTION_ROW,         /* .row was loaded, or has committed */
    ELECTION_BROKER_UP,   /* the control session of .broker, .boot, .disk_gen is established */
    ELECTION_BROKER_DOWN, /* liveness judges .broker dead (not: one session was lost) */
    ELECTION_REPORT,      /* .broker answers a fence: .shard, .report */
    ELECTION_OPENED,      /* ACTIVE_OK: the leader .broker, .boot has committed EPOCH_START of
                             .epoch for .shard */
    ELECTION_RESIGNED,    /* the leader .broker, .boot of .shard, .epoch cannot go on; .promised is
                             the highest promise it met, or 0; .stalled: it has not stepped down,
                             but cannot reach a majority; .heir: it hands over to that broker,
                             which has all of the log, 0: it does not */
    ELECTION_BROKER_FIT,  /* .broker should lead nothing if others can (.unfit), or may again */
    ELECTION_TICK,        /* election_deadline() has passed */
};

struct election_input {
    enum election_input_type type;
    uint32_t broker, disk_gen;
    uint64_t boot;
    uint64_t shard;
    uint32_t epoch, promised, heir;
    bool stalled, unfit;
    const struct election_row *row; /* borrowed for the step */
    struct election_report report;
};

/* Proposals become commands of the controllers' Raft. When a command is applied, the row decides:
 *   PROPOSE_ELECTING  only if row.epoch < .epoch, and the row is not SEALED or DELETED
 *   PROPOSE_ACTIVE    only if row.epoch == .epoch and the row is ELECTING (or NO_QUORUM)
 *   PROPOSE_STABLE    only if row.epoch == .epoch and the row is ACTIVE: drops prev_cfg
 * else it changes nothing. So a number is used once (R1), whoever proposes and however often.
 *
 * A command that changes the voters makes the row ELECTING with the next epoch, the new voters as
 * .cfg and the old ones as .prev_cfg (R15). It applies only to an ACTIVE row without a prev_cfg,
 * replaces one voter, leaves no two voters on one broker, and takes in no uncertain replica. */
enum election_effect_type {
    ELECTION_PROPOSE_ELECTING, /* .shard, .epoch; configurations stay */
    ELECTION_PROPOSE_ACTIVE,   /* .shard, .epoch, .leader, .boot, .cfg, .prev_cfg */
    ELECTION_PROPOSE_STABLE,   /* .shard, .epoch */
    ELECTION_FENCE, /* to .broker: .shard, .epoch; names the voters of .cfg and .prev_cfg */
    ELECTION_GRANT, /* to .broker: .shard, .epoch, .leader, .boot, .cfg, .prev_cfg */
};

struct election_effect {
    enum election_effect_type type;
    uint32_t broker; /* FENCE, GRANT */
    uint32_t epoch;
    uint64_t shard, boot, order;
    struct election_replica leader;
    struct election_config cfg, prev_cfg;
    uint32_t reported_count; /* PROPOSE_ACTIVE: the voters whose replies made the choice */
    struct election_replica reported[2 * ELECTION_VOTERS_MAX];
};

/* A zeroed struct is empty. Owned by the caller. */
struct election_effects {
    struct election_effect *effect;
    size_t count, capacity;
};

/* Orders them by type, then broker, then as they were asked for: one message per run. */
void election_effects_group(struct election_effects *effects);
void election_effects_clear(struct election_effects *effects); /* keeps the memory */
void election_effects_release(struct election_effects *effects);

struct election;

/* Inactive. NULL when out of memory. */
struct election *election_new(void);
void election_free(struct election *e); /* NULL is accepted */

/* Takes one input and appends what is to be done to *out.
 *
 * OK
 * STALE      of an older epoch, boot or session, or not of a voter: nothing changed (R17)
 * NOT_FOUND  no such shard
 * NOT_ACTIVE this controller is not the active one (all but ACTIVATED)
 * INVALID    a row or report that breaks this header's limits: nothing changed
 * NO_MEMORY  a new row or broker was not taken in: feed it again. Or effects are missing from
 *            *out: they come again with a TICK. */
NODISCARD enum status election_step(struct election *e, uint64_t now_ms,
                                    const struct election_input *in, struct election_effects *out);

/* When to feed TICK, on the clock of now_ms; UINT64_MAX for never. Costs nothing to ask. */
uint64_t election_deadline(const struct election *e);

/* For status pages. */
struct election_view {
    enum election_phase phase;
    uint32_t epoch;
    uint32_t voters, replied, certain; /* ELECTING: over both configurations */
    bool opened;                       /* ACTIVE: the leader has said so */
    bool
        awaits_copy; /* ELECTING: there is a quorum, and its best log has a hole above all others */
};
NODISCARD enum status election_view(const struct election *e, uint64_t shard,
                                    struct election_view *out);
