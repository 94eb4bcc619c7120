/* Private to controller/scaling. */
#pragma once

#include "controller/scaling/scaling.h"

/* A shard's load as the reports tell it. */
struct track {
    uint64_t shard; /* 0 and no `used`: a free slot */
    bool used;
    bool has_mean; /* a whole window has been seen */
    bool can_split;
    uint64_t first_ms, last_ms; /* reports */
    uint64_t window_ms;         /* when the present window began */
    uint64_t weight, time_ms;   /* permille x ms, ms: of the window so far */
    uint32_t mean;              /* of the last whole window */
    struct hash_key split;
    uint64_t part_ms;                  /* when peak[0] began */
    uint32_t peak[SCALING_IDLE_PARTS]; /* greatest means, newest first */
};

struct rest {
    uint32_t stream;
    uint64_t since_ms;
};

struct scaling {
    struct scaling_config config;
    struct track *track; /* open addressing, a power of two */
    size_t capacity, used;
    struct rest *rest; /* ascending by stream */
    size_t rest_count, rest_capacity;
};

const struct track *scaling_track(const struct scaling *scaling, uint64_t shard); /* NULL */
/* When the stream's rest began; false: never. */
bool scaling_rest_of(const struct scaling *scaling, uint32_t stream, uint64_t *out_ms);
