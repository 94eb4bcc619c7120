/* What a producer has done, in numbers. */
#include "client/producer/producer.h"

/* 0 to 7 each have a bucket; from there on every doubling has four. */
enum { EXACT = 8, EACH = 4, FIRST_BIT = 3 };

uint32_t latency_bucket(uint32_t tenths)
{
    if (tenths < EXACT) {
        return tenths;
    }
    uint32_t bit = 31U - (uint32_t)__builtin_clz(tenths);
    uint32_t part = (tenths >> (bit - 2)) & (EACH - 1);
    return EXACT + (bit - FIRST_BIT) * EACH + part;
}

static_assert(EXACT + (32 - FIRST_BIT) * EACH <= WEIR_LATENCY_BUCKETS,
              "every latency has a bucket");

/* The first value behind a bucket, in tenths. */
static double bucket_end(uint32_t bucket)
{
    if (bucket < EXACT) {
        return bucket + 1;
    }
    uint32_t bit = (bucket - EXACT) / EACH + FIRST_BIT, part = (bucket - EXACT) % EACH;
    return (double)(UINT64_C(1) << bit) * (EACH + part + 1) / EACH;
}

double weir_latency_ms(const struct weir_producer_stats *stats, double quantile)
{
    uint64_t total = 0, below = 0;
    for (uint32_t i = 0; i < WEIR_LATENCY_BUCKETS; i++) {
        total += stats->latency[i];
    }
    for (uint32_t i = 0; i < WEIR_LATENCY_BUCKETS && total > 0; i++) {
        below += stats->latency[i];
        if (stats->latency[i] > 0 && (double)below >= quantile * (double)total) {
            return bucket_end(i) / 10;
        }
    }
    return 0;
}

void weir_latency_count(struct weir_producer_stats *stats, double ms)
{
    double tenths = ms <= 0 ? 0 : ms * 10;
    stats->latency[latency_bucket(tenths < UINT32_MAX ? (uint32_t)tenths : UINT32_MAX)]++;
}

void weir_producer_stats(struct weir_producer *producer, struct weir_producer_stats *out)
{
    (void)pthread_mutex_lock(&producer->lock);
    *out = producer->stats;
    (void)pthread_mutex_unlock(&producer->lock);
}
