/* Which leaderships, and which replicas, should move so that brokers carry similar loads.
 *
 * Brokers report what they carry in messages of fixed size: totals, and of their own shards those
 * with most traffic and those with most bytes; all others count with their average. From that and
 * the rows comes a plan: moves of leaderships between replicas that are there (a hand-over, some
 * milliseconds), and moves of replicas (a copy, controller/moves). It goes for the pairs of brokers
 * that are furthest apart, and only ever narrows the gap between the two.
 *
 * What keeps it from moving to and fro: loads are smoothed over reports; a gap counts from
 * `threshold` percent of the mean on and must last; once begun, it goes on down to half of that; a
 * move must leave the target below where the source was; a shard rests after it has moved, whoever
 * moved it, and a broker is given nothing before it has been there for a while.
 *
 * This is the only one who decides where a leadership belongs: a move of its makes the target the
 * shard's preferred broker.
 *
 * Pure: no I/O, no clock. One thread. It lives in the active controller's memory only: who becomes
 * active watches afresh. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "controller/election/election.h"

enum {
    BALANCE_REPORT_SHARDS_MAX = 64, /* in one report */
    BALANCE_REPORT_EVERY_MS = 2000,
    BALANCE_REPORT_OLD_MS = 10 * 1000, /* without a newer one nothing is known of the broker */
    BALANCE_BROKERS_MAX = 1024,
    BALANCE_MOVES_MAX = 64, /* of one plan */
    BALANCE_TEXT_BYTES = 200,
    BALANCE_LEARNERS_MAX = 2,       /* as PLAN_LEARNERS_MAX */
    BALANCE_DISK_FULL_PERCENT = 80, /* nothing is moved to a disk that it would fill so far */
    BALANCE_SHARD_WEIGHT = 1024,    /* what leading an idle shard counts, in bytes a second */
    BALANCE_REQUEST_WEIGHT = 128,   /* ditto, a record put or read */
};

struct balance_settings {
    bool leaders, replicas;     /* whether what is planned is done */
    uint32_t interval_ms;       /* between two plans; the caller's */
    uint32_t rest_ms;           /* of a shard after a move */
    uint32_t leader_threshold;  /* percent of the mean load */
    uint32_t leader_lasts_ms;   /* also the time after which a broker that came back is a target */
    uint32_t leader_moves;      /* of one plan */
    uint32_t replica_threshold; /* as leader_threshold */
    uint32_t replica_lasts_ms;
    uint32_t replica_moves; /* at a time */
};

/* The defaults (docs/configuration.md). */
struct balance_settings balance_defaults(void);

struct balance_traffic { /* bytes and requests a second */
    uint64_t in, out, requests;
};

struct balance_report_shard {
    uint64_t shard, log_bytes;
    struct balance_traffic traffic;
    uint32_t missing; /* a voter's broker that is away or behind; 0: none is */
};

struct balance_report {
    uint32_t broker;
    struct balance_traffic traffic;            /* of all shards that it leads */
    uint64_t led_bytes;                        /* logs of those */
    uint32_t leaders;                          /* how many they are */
    const struct balance_report_shard *shards; /* that it leads, no shard twice */
    size_t shard_count;                        /* at most BALANCE_REPORT_SHARDS_MAX */
};

struct balance_broker {
    uint32_t id, disk_gen;
    uint64_t boot;
    const char *zone;                /* borrowed */
    bool here;                       /* alive, and with a session */
    bool leaves;                     /* drained, replaced or removed */
    bool disk_good;                  /* neither full nor out */
    const char *unfit;               /* why it should lead nothing; NULL: it may. Of static life */
    uint64_t disk_bytes, free_bytes; /* 0: unknown */
    uint32_t learners;               /* on their way to it */
};

struct balance_shard {
    uint64_t shard;
    bool free; /* led, stable, and nothing of it moves */
    uint32_t preferred;
    struct election_replica leader;
    struct election_config cfg; /* as it will be when what moves has moved */
};

struct balance_input {
    const struct balance_broker *brokers; /* ascending by id, BALANCE_BROKERS_MAX at most */
    size_t broker_count;
    const struct balance_shard *shards; /* ascending by id */
    size_t shard_count;
    uint32_t replicas_moving;
    const char *leaders_wait;  /* why no leadership is to be moved for balance now; NULL: nothing */
    const char *replicas_wait; /* why no replica is to be moved for balance now; NULL: nothing */
};

struct balance_move {
    uint64_t shard;
    struct election_replica from;
    uint32_t to;
    uint32_t from_percent, to_percent; /* of the mean load, before it */
};

struct balance_half {
    struct balance_move moves[BALANCE_MOVES_MAX];
    size_t count;
    bool now;         /* they are to be done now; else they are what would be done */
    uint32_t percent; /* the greatest gap between two brokers, of the mean; the mean is 100 */
    char text[BALANCE_TEXT_BYTES]; /* how things are, and why nothing is done */
};

struct balance_state { /* of one broker, for people */
    uint32_t id, leaders, replicas;
    struct balance_traffic traffic;           /* smoothed, of what it leads */
    uint32_t leader_percent, replica_percent; /* of the mean */
    const char *no_leaders, *no_replicas;     /* why it is no target; NULL: it is. Of static life */
};

struct balance_plan {
    struct balance_half leaders, replicas;
    struct balance_state *brokers; /* the caller's, room for input.broker_count */
};

struct balance;

/* NULL when out of memory. */
struct balance *balance_new(void);
void balance_free(struct balance *balance); /* NULL is fine */
void balance_clear(struct balance *balance);
void balance_configure(struct balance *balance, const struct balance_settings *settings);
const struct balance_settings *balance_configured(const struct balance *balance);

/* A broker says what it carries. NO_MEMORY: nothing of it is taken. */
NODISCARD enum status balance_report(struct balance *balance, uint64_t now_ms,
                                     const struct balance_report *report);

/* Somebody else moves the shard: it rests. */
void balance_moved(struct balance *balance, uint64_t now_ms, uint64_t shard);

/* Looks at everything, once an interval. With `now` set in a half the caller carries its moves out:
 * their shards rest from here on. NO_MEMORY: *out is without moves. */
NODISCARD enum status balance_look(struct balance *balance, uint64_t now_ms,
                                   const struct balance_input *input, struct balance_plan *out);
