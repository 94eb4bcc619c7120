/* Who is connected, by address: how many connections each has, and how many bytes of bodies that
 * nobody has verified. Pure.
 *
 * An IPv6 source is its /64: the smallest network that one customer gets. */
#pragma once

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
void sources_charge(struct source *source, size_t bytes);
void sources_discharge(struct source *source, size_t bytes);
