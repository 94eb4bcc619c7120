#include "broker/api/limits.h"

#include <stdlib.h>

#include "proto/wire/batch.h"

enum { TABLE_SLOTS = 1024, FORGET_MS = 60 * 1000 };

/* Thousandths, so that a millisecond's share is a whole number. */
struct bucket {
    int64_t tokens;
    uint64_t rate; /* of its last use */
};

struct entry {
    struct entry *next;
    uint64_t shard, seen_ms;
    struct bucket write_bytes, write_records, read_bytes, read_calls, iterator_calls;
};

struct limits {
    struct entry *slots[TABLE_SLOTS];
};

struct limits *limits_new(void)
{
    return calloc(1, sizeof(struct limits));
}

void limits_free(struct limits *limits)
{
    if (limits == NULL) {
        return;
    }
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        while (limits->slots[i] != NULL) {
            struct entry *e = limits->slots[i];
            limits->slots[i] = e->next;
            free(e);
        }
    }
    free(limits);
}

static int64_t capacity(uint64_t rate)
{
    return (int64_t)(rate * 1000);
}

static void refill(struct bucket *bucket, uint64_t rate, uint64_t elapsed_ms)
{
    int64_t most = capacity(rate);
    if (bucket->tokens > most || bucket->rate == 0) {
        bucket->tokens = most; /* the rate was lowered, or there was none */
    }
    bucket->rate = rate;
    uint64_t missing = (uint64_t)(most - bucket->tokens);
    if (rate == 0 || elapsed_ms > missing / rate) {
        bucket->tokens = most;
    } else {
        bucket->tokens += (int64_t)(rate * elapsed_ms);
    }
}

static bool is_idle(const struct entry *e, uint64_t now_ms)
{
    return now_ms - e->seen_ms > FORGET_MS && e->read_bytes.tokens >= 0 &&
           e->write_bytes.tokens >= 0;
}

/* The shard's buckets as of now; NULL when out of memory (then nothing is limited). Those that have
 * not been asked for lately go on the way. */
static struct entry *find(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                          uint64_t now_ms)
{
    uint64_t hash = (shard ^ shard >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    struct entry **at = &limits->slots[hash >> 54];
    while (*at != NULL && (*at)->shard != shard) {
        struct entry *e = *at;
        if (is_idle(e, now_ms)) {
            *at = e->next;
            free(e);
        } else {
            at = &e->next;
        }
    }
    struct entry *e = *at;
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        if (e == NULL) {
            return NULL;
        }
        *e = (struct entry){
            .shard = shard,
            .seen_ms = now_ms,
            .write_bytes = {capacity(rates->write_bytes),    rates->write_bytes   },
            .write_records = {capacity(rates->write_records),  rates->write_records },
            .read_bytes = {capacity(rates->read_bytes),     rates->read_bytes    },
            .read_calls = {capacity(rates->read_calls),     rates->read_calls    },
            .iterator_calls = {capacity(rates->iterator_calls), rates->iterator_calls}
        };
        *at = e;
        return e;
    }
    uint64_t elapsed_ms = now_ms - e->seen_ms;
    if (elapsed_ms > 0) {
        refill(&e->write_bytes, rates->write_bytes, elapsed_ms);
        refill(&e->write_records, rates->write_records, elapsed_ms);
        refill(&e->read_bytes, rates->read_bytes, elapsed_ms);
        refill(&e->read_calls, rates->read_calls, elapsed_ms);
        refill(&e->iterator_calls, rates->iterator_calls, elapsed_ms);
        e->seen_ms = now_ms;
    }
    return e;
}

/* Whether `cost` fits: what is larger than a full bucket fits a full one. */
static bool fits(int64_t tokens, uint64_t rate, uint64_t cost)
{
    int64_t need = (int64_t)(cost < rate ? cost : rate) * 1000;
    return rate == 0 || tokens >= need;
}

uint32_t limits_judge(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                      uint64_t now_ms, struct bytes payload, uint8_t *refused,
                      struct limits_cost *out_cost)
{
    *out_cost = (struct limits_cost){0};
    struct entry *e = rates->write_bytes == 0 && rates->write_records == 0
                          ? NULL
                          : find(limits, rates, shard, now_ms);
    if (e == NULL) {
        return 0;
    }
    int64_t bytes = e->write_bytes.tokens, records = e->write_records.tokens;
    uint32_t count = 0;
    struct record record;
    for (uint32_t i = 0; i < LIMITS_RECORDS_MAX && payload.size > 0; i++) {
        if (record_next(&payload, &record) != STATUS_OK) {
            break; /* the shard refuses the batch */
        }
        uint64_t size = record.data.size + record.key.size;
        if (fits(bytes, rates->write_bytes, size) && fits(records, rates->write_records, 1)) {
            bytes -= (int64_t)size * 1000;
            records -= 1000;
            out_cost->bytes += size;
            out_cost->records++;
        } else {
            refused[i / 8] = (uint8_t)(refused[i / 8] | 1U << i % 8);
            count++;
        }
    }
    return count;
}

void limits_spend(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                  uint64_t now_ms, const struct limits_cost *cost)
{
    struct entry *e = cost->records == 0 ? NULL : find(limits, rates, shard, now_ms);
    if (e != NULL) {
        e->write_bytes.tokens -= (int64_t)cost->bytes * 1000;
        e->write_records.tokens -= (int64_t)cost->records * 1000;
    }
}

bool limits_may_read(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                     uint64_t now_ms, bool is_new_call)
{
    struct entry *e = rates->read_bytes == 0 && rates->read_calls == 0
                          ? NULL
                          : find(limits, rates, shard, now_ms);
    if (e == NULL || !is_new_call) {
        return true;
    }
    if (!fits(e->read_calls.tokens, rates->read_calls, 1) ||
        !fits(e->read_bytes.tokens, rates->read_bytes, 1)) {
        return false;
    }
    e->read_calls.tokens -= rates->read_calls == 0 ? 0 : 1000;
    return true;
}

void limits_spend_read(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                       uint64_t now_ms, uint64_t bytes)
{
    struct entry *e = rates->read_bytes == 0 ? NULL : find(limits, rates, shard, now_ms);
    if (e != NULL) {
        e->read_bytes.tokens -= (int64_t)bytes * 1000;
    }
}

bool limits_may_iterate(struct limits *limits, const struct api_limits *rates, uint64_t shard,
                        uint64_t now_ms)
{
    struct entry *e = rates->iterator_calls == 0 ? NULL : find(limits, rates, shard, now_ms);
    if (e == NULL) {
        return true;
    }
    bool may = fits(e->iterator_calls.tokens, rates->iterator_calls, 1);
    e->iterator_calls.tokens -= may ? 1000 : 0;
    return may;
}
