/* Private to controller/lease. */
#pragma once

#include "controller/lease/lease.h"
#include "controller/lease/mutant.h"

struct lease {
    struct lease_row row;
    uint64_t bytes_per_s; /* as its owner measured it; kept when it changes hands */
    bool measured;
    uint64_t listed_ms;   /* its owner listed it, or got it */
    bool confirmed;       /* by the last call of its owner */
    bool gone;            /* its records are not kept any more */
    uint64_t proposed_ms; /* a proposal that changes the owner is under way; 0: none */
    uint64_t proposed_worker;
    /* A hand-over under way. */
    bool asked;
    uint64_t asked_until_ms;
    uint64_t heir;            /* worker that shall have it next; 0: whoever fits */
    uint64_t avoid;           /* worker that has given it up, or did not take it; 0: none */
    uint64_t avoid_until_ms;  /* while somebody else can have it … */
    uint64_t avoid_wholly_ms; /* … and whoever is there */
    uint64_t calm_ms;         /* not moved to balance before */
    uint64_t finisher;        /* finished: who has read it to the end */
    struct lease *next_of_owner;
};

struct worker {
    struct lease_worker_row row;
    uint64_t renewed_ms;
    bool seen, draining, leaving;
    uint64_t proposed_ms;                /* its end is under way; 0: not */
    uint32_t streams[LEASE_STREAMS_MAX]; /* ascending */
    size_t stream_count;
    struct lease *first; /* that it owns: list_owned() */
    /* Worked out by count_loads(), as if all that is under way had happened. */
    uint32_t leases;
    uint64_t load;
    uint32_t incoming; /* of them, that it does not own yet */
};

struct app_stream {
    struct lease_stream_row row;
    uint64_t proposed_ms; /* a proposal to grow or forget it is under way; 0: none */
};

struct app {
    uint64_t id;
    char name[LEASE_NAME_BYTES];
    struct lease **lease; /* ascending by shard */
    size_t lease_count, lease_capacity;
    struct worker **worker; /* ascending by id */
    size_t worker_count;
    struct app_stream *stream; /* ascending */
    size_t stream_count;
    bool listed;       /* the workers' lists of leases are up to date */
    bool stirred;      /* something has changed, or waits for its time: look at all leases … */
    uint64_t whole_ms; /* … else again then */
    uint64_t gather_until_ms; /* free leases wait for more workers; 0: they do not */
    uint64_t gather_latest_ms;
    bool wait_for_known;      /* gathering ends when every known worker was seen */
    uint64_t uneven_since_ms; /* 0: loads are even enough */
    /* Worked out by count_loads(). */
    uint64_t mean_bytes_per_s;   /* of leases that were measured */
    uint32_t unfinished, takers; /* leases; workers that may get some */
};

struct known_stream {
    uint32_t stream, shards;
    bool gone;
};

struct leases {
    struct lease_limits limits;
    bool active;
    struct app **app; /* ascending by id */
    size_t app_count, app_capacity;
    struct known_stream *stream; /* ascending */
    size_t stream_count, stream_capacity;
    uint64_t next_tick_ms;
};

NODISCARD enum status effect_add(struct lease_effects *out, struct lease_effect effect);

struct app *app_get(const struct leases *l, uint64_t id);       /* NULL */
struct lease *lease_get(const struct app *app, uint64_t shard); /* NULL */
struct worker *worker_get(const struct app *app, uint64_t id);  /* NULL */
void leases_forget(struct leases *l);
bool stream_is_gone(const struct leases *l, uint32_t stream);
uint32_t stream_shards(const struct leases *l, uint32_t stream); /* 0: unknown */

bool worker_is_taker(const struct worker *worker);
/* May it get leases of this shard's stream now? */
bool worker_takes(const struct worker *worker, uint64_t shard);
/* NULL: all of the lease's parents are finished, or have no lease. Else one that is not. */
const struct lease *lease_parent_open(const struct app *app, const struct lease *lease);
bool is_proposed(uint64_t proposed_ms, uint64_t now);
/* Its load counts so much: bytes per second, with a floor that makes numbers of leases matter. */
uint64_t lease_weight(const struct app *app, const struct lease *lease);
/* Who has it when all that is under way has happened; 0: nobody. */
uint64_t lease_next_owner(const struct lease *lease, uint64_t now);
void list_owned(struct app *app);
void count_loads(struct app *app, uint64_t now);

/* Everything that the application needs now. NO_MEMORY: effects are missing. */
NODISCARD enum status app_run(struct leases *l, struct app *app, uint64_t now,
                              struct lease_effects *out);
/* Its owner has finished with it, or it has none: proposes who has it next, after count_loads(). */
NODISCARD enum status pass_on(struct app *app, struct lease *lease, uint64_t now,
                              struct lease_effects *out);
/* Asks owners for leases, so that loads become equal; after count_loads(). */
void app_balance(struct leases *l, struct app *app, uint64_t now);
