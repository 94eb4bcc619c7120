/* The only source of randomness in pure code: seeded, so that a run can be repeated bit for bit.
 * xoshiro256**, seeded by splitmix64 (Blackman and Vigna, 2018). Not for secrets. */
#pragma once

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* Uniform in [0, limit); limit must not be 0. */
uint64_t rng_below(struct rng *rng, uint64_t limit);

/* Uniform in [low, high], both included. */
uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high);

/* True once in `one_in` times on average; never when it is 0. */
int rng_once_in(struct rng *rng, uint64_t one_in);
