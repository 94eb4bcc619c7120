/* Private to controller/balance: what is remembered, and the model that both plans are made from.
 */
#pragma once

#include "controller/balance/balance.h"

enum { BALANCE_FORGET_MS = 60 * 1000, BALANCE_ZONES_MAX = BALANCE_BROKERS_MAX };

struct known_shard {
    uint64_t shard, log_bytes;
    struct balance_traffic traffic; /* smoothed */
    uint64_t slow_in;               /* ditto over minutes: replicas do not run after what swings */
    uint32_t reporter, missing;     /* reporter 0: nobody lists it any more */
    uint64_t reported_ms;
    uint64_t moved_ms; /* 0: never */
};

struct known_broker {
    uint32_t id;
    uint64_t boot;
    uint64_t here_ms;               /* since when it is there without a break, in this boot */
    uint64_t above_ms, below_ms;    /* since when every look found what it leads above or below the
                                     * mean; 0: the last did not */
    uint64_t reported_ms;           /* 0: never */
    struct balance_traffic traffic; /* smoothed */
    struct balance_traffic rest;    /* of each shard that it leads and does not list */
    uint64_t rest_bytes;            /* ditto */
};

/* How long there has been something to do, and whether it has begun. */
struct patience {
    uint64_t since_ms; /* 0: there is nothing */
    bool begun;
};

struct balance {
    struct balance_settings settings;
    struct known_shard *shards; /* ascending */
    size_t shard_count, shard_capacity;
    struct known_broker *brokers; /* ascending */
    size_t broker_count, broker_capacity;
    struct patience leaders, replicas;
};

/* A shard, with its brokers as places in the input. */
struct model_shard {
    uint16_t leader; /* MODEL_NOBODY: a broker that is not there */
    uint16_t voter[ELECTION_VOTERS_MAX];
    uint32_t weight; /* of its leadership, at most UINT32_MAX */
    bool rests;
    uint32_t missing; /* as reported */
    uint64_t slow_in, log_bytes;
};

enum { MODEL_NOBODY = UINT16_MAX };

/* What replicas cost: their number, the writes, the bytes of their logs. Each is balanced for
 * itself. The mean of all brokers is 1. */
enum { HOLD_COUNT, HOLD_WRITES, HOLD_BYTES, HOLD_KINDS };

struct model_broker {
    double leading;
    double holding[HOLD_KINDS];
    double capacity;   /* of its disk, of the mean */
    uint32_t zone;     /* number; equal for equal zones */
    uint32_t learners; /* on their way to it, those of this plan included */
    const char *no_leaders, *no_replicas;
};

struct model {
    const struct balance_input *in;
    struct model_shard *shards;
    struct model_broker *brokers;
    double mean_leading;
    double mean[HOLD_KINDS]; /* of brokers, in replicas, bytes a second and bytes; 0: too little to
                              * matter */
};

const struct known_shard *balance_known_shard(const struct balance *balance, uint64_t shard);
struct known_broker *balance_known_broker(const struct balance *b, uint32_t id);
NODISCARD enum status model_make(struct balance *balance, uint64_t now_ms,
                                 const struct balance_input *in, struct model *out);
void model_release(struct model *model);
/* What a replica of the shard is of the mean, there. */
double model_holding(const struct model *model, const struct model_shard *shard, uint16_t broker,
                     int kind);
/* All kinds together; the mean is about 1. */
double model_held(const struct model *model, size_t broker);

void plan_leaders(const struct balance *balance, struct model *model, bool begun,
                  struct balance_half *out);
void plan_replicas(const struct balance *balance, struct model *model, bool begun,
                   struct balance_half *out);
