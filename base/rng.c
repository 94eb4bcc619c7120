#include "base/rng.h"

#include "base/check.h"

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        rng->state[i] = z ^ (z >> 31);
    }
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    CHECK(limit > 0);
    uint64_t threshold =
        (0 - limit) % limit; /* values below it would make small results likelier */
    for (;;) {
        uint64_t n = rng_next(rng);
        if (n >= threshold) {
            return n % limit;
        }
    }
}

uint64_t rng_between(struct rng *rng, uint64_t low, uint64_t high)
{
    CHECK(low <= high);
    return low == 0 && high == UINT64_MAX ? rng_next(rng) : low + rng_below(rng, high - low + 1);
}

int rng_once_in(struct rng *rng, uint64_t one_in)
{
    return one_in != 0 && rng_below(rng, one_in) == 0;
}
