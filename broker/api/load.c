#include "broker/api/load.h"

#include <stdlib.h>

enum {
    TABLE_SLOTS = 1024,
    AWS_WRITE_BYTES = 1024 * 1024,
    AWS_WRITE_RECORDS = 1000,
    AWS_READ_BYTES = 2 * 1024 * 1024,
    PERMILLE_MAX = 100000,
    HOT_KEY_PERCENT = 60, /* a key with so much of the load cannot be helped by a split */
};

struct entry {
    struct entry *next;
    uint64_t shard, asked_ms;
    bool has_before;
    struct shard_counters before;
    uint64_t bucket[LOAD_BUCKETS], total;
    /* The one key that may have more than half of the load (Boyer and Moore's majority vote): by
     * how much it outweighs all others. */
    struct hash_key top;
    uint64_t top_lead;
};

struct loads {
    struct entry *slots[TABLE_SLOTS];
};

struct loads *loads_new(void)
{
    return calloc(1, sizeof(struct loads));
}

void loads_free(struct loads *loads)
{
    for (uint32_t i = 0; loads != NULL && i < TABLE_SLOTS; i++) {
        while (loads->slots[i] != NULL) {
            struct entry *e = loads->slots[i];
            loads->slots[i] = e->next;
            free(e);
        }
    }
    free(loads);
}

/* NULL: out of memory. */
static struct entry *find(struct loads *loads, uint64_t shard)
{
    uint64_t hash = (shard ^ shard >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    struct entry **at = &loads->slots[hash >> 54];
    while (*at != NULL && (*at)->shard != shard) {
        at = &(*at)->next;
    }
    if (*at == NULL && (*at = calloc(1, sizeof(**at))) != NULL) {
        (*at)->shard = shard;
    }
    return *at;
}

void loads_tidy(struct loads *loads, uint64_t since_ms)
{
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        struct entry **at = &loads->slots[i];
        while (*at != NULL) {
            struct entry *e = *at;
            if (e->asked_ms < since_ms) {
                *at = e->next;
                free(e);
            } else {
                at = &e->next;
            }
        }
    }
}

/* ---- places in a range ---- */

static struct hash_key minus(struct hash_key a, struct hash_key b)
{
    return (struct hash_key){.low = a.low - b.low, .high = a.high - b.high - (a.low < b.low)};
}

/* A range's buckets have (step + 1) << shift keys each; the last one may have fewer. */
struct scale {
    uint64_t step;
    uint32_t shift;
};

static struct hash_key shift_right(struct hash_key key, uint32_t shift)
{
    if (shift == 0) {
        return key;
    }
    if (shift >= 64) {
        return (struct hash_key){.low = key.high >> (shift - 64)};
    }
    return (struct hash_key){.low = key.low >> shift | key.high << (64 - shift),
                             .high = key.high >> shift};
}

static struct scale scale_of(struct hash_range range)
{
    struct hash_key width = minus(range.last, range.first);
    uint32_t shift = 0;
    while (shift_right(width, shift).high != 0) {
        shift++;
    }
    return (struct scale){.step = shift_right(width, shift).low / LOAD_BUCKETS, .shift = shift};
}

static uint32_t bucket_of(struct hash_range range, struct hash_key key)
{
    struct scale scale = scale_of(range);
    uint64_t at = shift_right(minus(key, range.first), scale.shift).low;
    at = scale.step == UINT64_MAX ? 0 : at / (scale.step + 1);
    return at < LOAD_BUCKETS ? (uint32_t)at : LOAD_BUCKETS - 1;
}

/* The first key of a bucket; false: the range ends before. */
static bool bucket_first(struct hash_range range, uint32_t bucket, struct hash_key *out)
{
    struct scale scale = scale_of(range);
    uint64_t steps = (scale.step + 1) * bucket; /* step + 1 <= 2^58 + 1 */
    struct hash_key distance = {.low = steps << scale.shift % 64, .high = 0};
    if (scale.shift >= 64) {
        distance = (struct hash_key){.high = steps << (scale.shift - 64)};
    } else if (scale.shift > 0) {
        distance.high = steps >> (64 - scale.shift);
    }
    struct hash_key first = {.low = range.first.low + distance.low};
    first.high = range.first.high + distance.high + (first.low < distance.low);
    *out = first;
    return hash_key_compare(minus(range.last, range.first), distance) >= 0;
}

/* ---- records ---- */

void loads_note(struct loads *loads, uint64_t shard, struct hash_range range, struct hash_key key,
                uint64_t bytes)
{
    struct entry *e = hash_range_has(range, key) ? find(loads, shard) : NULL;
    if (e == NULL) {
        return;
    }
    uint64_t weight = bytes + 1;
    e->bucket[bucket_of(range, key)] += weight;
    e->total += weight;
    if (e->top_lead == 0 || hash_key_compare(e->top, key) == 0) {
        e->top = key;
        e->top_lead += weight;
    } else if (e->top_lead >= weight) {
        e->top_lead -= weight;
    } else {
        e->top = key;
        e->top_lead = weight - e->top_lead;
    }
}

/* ---- the answer ---- */

static uint64_t permille(uint64_t amount, uint64_t elapsed_ms, uint64_t capacity)
{
    uint64_t used = amount * 1000 / elapsed_ms * 1000 / capacity;
    return used < PERMILLE_MAX ? used : PERMILLE_MAX;
}

static uint64_t greater(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t or_aws(uint64_t limit, uint64_t aws)
{
    return limit == 0 ? aws : limit;
}

/* The boundary that divides what was noted most evenly. */
static void find_split(const struct entry *e, struct hash_range range, struct api_load *out)
{
    uint64_t below = 0, best = UINT64_MAX;
    if (e->total == 0 || e->top_lead * 100 >= e->total * HOT_KEY_PERCENT) {
        return;
    }
    for (uint32_t b = 1; b < LOAD_BUCKETS; b++) {
        below += e->bucket[b - 1];
        uint64_t above = e->total - below;
        uint64_t apart = below > above ? below - above : above - below;
        struct hash_key at;
        if (apart < best && bucket_first(range, b, &at)) {
            best = apart;
            out->split = at;
            out->can_split = true;
        }
    }
}

static void forget_half(struct entry *e)
{
    e->total = 0;
    for (uint32_t b = 0; b < LOAD_BUCKETS; b++) {
        e->bucket[b] /= 2;
        e->total += e->bucket[b];
    }
    e->top_lead /= 2;
}

bool loads_take(struct loads *loads, uint64_t shard, struct hash_range range, uint64_t now_ms,
                const struct shard_counters *counters, const struct api_limits *capacity,
                struct api_load *out)
{
    struct entry *e = find(loads, shard);
    if (e == NULL) {
        return false;
    }
    struct shard_counters before = e->before;
    uint64_t elapsed_ms = now_ms - e->asked_ms;
    bool known = e->has_before && elapsed_ms > 0;
    e->has_before = true;
    e->before = *counters;
    e->asked_ms = now_ms;
    if (!known) {
        return false;
    }
    uint64_t records = counters->in_records - before.in_records +
                       (counters->write_exceeded - before.write_exceeded);
    uint64_t used = permille(counters->in_bytes - before.in_bytes, elapsed_ms,
                             or_aws(capacity->write_bytes, AWS_WRITE_BYTES));
    used = greater(
        used, permille(records, elapsed_ms, or_aws(capacity->write_records, AWS_WRITE_RECORDS)));
    used = greater(used, permille(counters->out_bytes - before.out_bytes, elapsed_ms,
                                  or_aws(capacity->read_bytes, AWS_READ_BYTES)));
    *out = (struct api_load){.shard = shard, .permille = (uint32_t)used};
    find_split(e, range, out);
    forget_half(e);
    return true;
}
