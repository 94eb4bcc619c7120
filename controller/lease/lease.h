/* Who of an application's workers reads which shard (docs/leases.md), as the active controller
 * decides it.
 *
 * A pure state machine in the memory of the active controller: no I/O, no clock, no threads, no
 * randomness. What must survive is in rows, which the controllers' Raft commits: owners, counters,
 * checkpoints. What is here alone are renewals, measured throughput and hand-overs under way; a new
 * active controller gives every worker a full term and learns the rest again.
 *
 *     lease_step(l, now, input, effects)         a row was loaded or has committed, or time passed
 *     lease_sync(l, now, call, effects, answer)  a worker's call
 *     lease_deadline(l)                          when to feed LEASE_TICK
 *
 * Effects are proposals of commands. Any of them may be lost, doubled or too late: a row decides
 * only when its counter is the one that the effect names (controller/command/leases.c), and what
 * has not happened is asked for again. So the core never believes its own decisions, only rows.
 *
 * Applications, workers and counters are numbers that are never used twice. Not re-entrant; one
 * home thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum {
    LEASE_TERM_MS = 10000,
    LEASE_HAND_OVER_MS = 30000,
    LEASE_MOVES = 4,        /* at least, unless limited otherwise, ... */
    LEASE_MOVES_SHARE = 50, /* ... or one in so many of the application's leases */
    LEASE_PARENTS_MAX = 2,
    LEASE_STREAMS_MAX = 100, /* that a worker reads */
    LEASE_INCARNATION_BYTES = 16,
    LEASE_NAME_BYTES = 129,
    LEASE_PROPOSE_MS = 1000, /* a proposal that has not committed is made again */
    LEASE_TICK_MS = 200,
    LEASE_WHOLE_MS = 1000, /* while nothing happens to an application's leases, its loads are looked
                              at so often */
    LEASE_GATHER_MS = 300, /* after a join, for the other workers that are being started */
    LEASE_GATHER_MAX_MS = 2000,
    LEASE_NEXT_FAST_MS = 250,   /* until a worker's next call when something is about to happen */
    LEASE_NEXT_MS = 1000,       /* else, or more when there are many workers */
    LEASE_CALM_TERMS = 6,       /* a lease that was moved to balance stays so long */
    LEASE_BAND_PERCENT = 10,    /* of the mean: loads that differ by less are equal */
    LEASE_DAMPING_PERCENT = 60, /* of half the difference: what one move may carry at most, if a
                                   smaller lease is there */
};

struct lease_limits {
    uint32_t term_ms, hand_over_ms;
    uint32_t moves; /* of an application, that balancing has under way at a time; 0: as above */
};

struct lease_worker_row {
    uint64_t id;
    char name[LEASE_NAME_BYTES];
    uint8_t incarnation[LEASE_INCARNATION_BYTES];
};

/* The streams that an application has leases of. */
struct lease_stream_row {
    uint32_t stream;
    uint32_t next_shard; /* shards from this number on have no leases yet */
};

struct lease_row {
    uint64_t shard;  /* stream id << 32 | number */
    uint64_t worker; /* 0: nobody */
    uint64_t counter;
    bool finished;
    uint32_t parent_count;
    uint64_t parent[LEASE_PARENTS_MAX];
};

enum lease_input_type {
    LEASE_ACTIVATED, /* this controller became the active one: all rows follow, then LEASE_LOADED */
    LEASE_LOADED,
    LEASE_DEACTIVATED, /* everything is forgotten */
    LEASE_APPLICATION, /* .application: its row, workers and streams, all of them; or it is .gone */
    LEASE_ROW,         /* .application, .row; or .row's shard has no lease any more: .gone */
    LEASE_STREAM,      /* .stream has had .shards shards so far; or it is .gone */
    LEASE_SHARD_GONE,  /* .shard: its records are not kept any more */
    LEASE_TICK,        /* lease_deadline() has passed */
};

struct lease_input {
    enum lease_input_type type;
    bool gone;
    uint64_t application;
    const char *name; /* of the application */
    const struct lease_worker_row *workers;
    size_t worker_count;
    const struct lease_stream_row *streams;
    size_t stream_count;
    const struct lease_row *row;
    uint32_t stream, shards;
    uint64_t shard;
};

enum lease_effect_type {
    LEASE_ASSIGN, /* .shard's lease, if it has .counter, goes to .worker (0: to nobody) */
    LEASE_GONE, /* .worker was silent for a term, or has left: its row goes, its leases are free */
    LEASE_GROW, /* .stream has shards without leases */
    LEASE_FORGET,        /* .shard's records are not kept any more: its lease goes */
    LEASE_FORGET_STREAM, /* .stream was deleted: its leases go */
};

struct lease_effect {
    enum lease_effect_type type;
    uint64_t application, shard, counter, worker;
    uint32_t stream;
};

/* A zeroed struct is empty. Owned by the caller. */
struct lease_effects {
    struct lease_effect *effect;
    size_t count, capacity;
};
void lease_effects_clear(struct lease_effects *effects); /* keeps the memory */
void lease_effects_release(struct lease_effects *effects);

/* What a worker says. */
struct lease_call {
    const char *application, *worker;
    uint8_t incarnation[LEASE_INCARNATION_BYTES];
    const uint32_t *streams; /* ids of those that it reads and that exist */
    size_t stream_count;
    const uint64_t *shards, *counters, *bytes_per_s; /* held: three lists of one length */
    size_t held_count;
    const uint64_t *released; /* counters */
    size_t released_count;
    bool draining, leaving;
};

struct lease_hand_over {
    uint64_t shard, counter, within_ms;
};

/* A zeroed struct is empty. Owned by the caller. */
struct lease_answer {
    uint64_t application, worker; /* ids */
    uint64_t next_sync_ms;
    uint32_t workers, leases;
    uint64_t *assigned, *lost; /* shards; counters */
    struct lease_hand_over *hand_over;
    size_t assigned_count, lost_count, hand_over_count;
    size_t assigned_capacity, lost_capacity, hand_over_capacity;
};
void lease_answer_release(struct lease_answer *answer);

struct leases;

/* Inactive. NULL when out of memory. */
struct leases *leases_new(const struct lease_limits *limits);
void leases_free(struct leases *l); /* NULL is accepted */

/* OK, or
 * NOT_ACTIVE  this controller is not the active one (all but ACTIVATED)
 * NOT_FOUND   a row of an application that is not known
 * NO_MEMORY   the row was not taken in, or effects are missing: they come again with a TICK */
NODISCARD enum status lease_step(struct leases *l, uint64_t now_ms, const struct lease_input *in,
                                 struct lease_effects *out);

/* OK: the worker's leases are renewed, out_answer (emptied first) says what it must know.
 * EXPIRED     no such application or worker: it may join
 * FENCED      another incarnation has this name
 * INVALID     the lists differ in length
 * NOT_ACTIVE, NO_MEMORY */
NODISCARD enum status lease_sync(struct leases *l, uint64_t now_ms, const struct lease_call *call,
                                 struct lease_effects *out, struct lease_answer *out_answer);

/* When to feed TICK, on the clock of now_ms; UINT64_MAX for never. */
uint64_t lease_deadline(const struct leases *l);

/* ---- for status pages. NOT_FOUND, NOT_ACTIVE
 * ---------------------------------------------------------- */

struct lease_view {
    uint64_t bytes_per_s;
    bool confirmed;        /* its owner's last call listed it */
    uint64_t hand_over_ms; /* its owner was asked for it, and has so long; 0: it was not */
    bool waits_for_parents;
    uint64_t waits_for; /* one of them */
    bool nobody_reads;  /* no worker that is here reads its stream */
};
NODISCARD enum status lease_view(const struct leases *l, uint64_t now_ms, uint64_t application,
                                 uint64_t shard, struct lease_view *out);

struct lease_worker_view {
    bool seen;
    uint64_t age_ms;
    uint32_t leases;
    uint64_t bytes_per_s;
    bool draining;
};
NODISCARD enum status lease_worker_view(const struct leases *l, uint64_t now_ms,
                                        uint64_t application, uint64_t worker,
                                        struct lease_worker_view *out);
