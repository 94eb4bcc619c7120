/* The tail ring: memory in which position p of the journal's byte stream lies at p % size, mapped
 * twice in a row so that no block is ever split. */
#pragma once

#include <stdint.h>

#include "base/status.h"

struct ring {
    uint8_t *memory;
    uint64_t size;
};

/* `size`: a power of two, at least a page. NO_MEMORY. */
NODISCARD enum status journal_ring_init(struct ring *ring, uint64_t size);
void journal_ring_release(struct ring *ring);

static inline uint8_t *journal_ring_at(const struct ring *ring, uint64_t position)
{
    return ring->memory + (position & (ring->size - 1));
}
