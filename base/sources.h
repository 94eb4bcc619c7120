/* Who is connected, by address: how many connections each has, how often it comes, and how many
 * bytes of bodies that nobody has verified. Pure.
 *
 * An IPv6 source is its /64: the smallest network that one customer gets. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/status.h"

struct source {
    struct list node; /* in its bucket */
    char name[46];
    uint32_t connections;
    size_t unverified;
};

enum { SOURCE_BUCKETS = 1024 };

struct sources {
    struct list buckets[SOURCE_BUCKETS];
    uint64_t seed; /* a secret of the process, so that nobody can fill one bucket */
};

void sources_init(struct sources *sources, uint64_t seed);
void sources_release(struct sources *sources); /* every source must be gone */

/* Counts a connection from an address. BUSY when it has `connections_max` already, NO_MEMORY. */
NODISCARD enum status sources_connect(struct sources *sources, const char *address,
                                      uint32_t connections_max, struct source **out);
/* The source goes with its last connection and its last unverified byte. */
void sources_disconnect(struct source *source);
/* How often each address does something: a token bucket of SOURCE_BURST_S seconds' worth. Fixed in
 * size; addresses that fall together share a bucket. Zeroed: all buckets are full. */
enum { SOURCE_RATES = 4096, SOURCE_BURST_S = 5 };

struct source_rates {
    struct source_rate {
        uint64_t at_ms;
        uint64_t used; /* thousandths of what is allowed, at at_ms */
    } rate[SOURCE_RATES];
};

/* Whether the address may do it now. `now_ms` never goes back. */
bool source_rates_take(struct source_rates *rates, uint64_t seed, const char *address,
                       uint64_t now_ms, uint32_t per_second);

void sources_charge(struct source *source, size_t bytes);
void sources_discharge(struct source *source, size_t bytes);
