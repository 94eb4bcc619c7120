/* A disk for tests: real files in a real directory, with faults, and with a power switch. What was
 * not synced when the power fails is lost, kept or torn at 512-byte boundaries, as a seeded
 * generator decides. Names (creation, rename, removal) are durable at once. Any thread. */
#pragma once

#include <pthread.h>

#include "base/rng.h"
#include "broker/disk/disk.h"

enum fake_loss { FAKE_LOSE_ALL, FAKE_KEEP_ALL, FAKE_TEAR };

struct fake_undo {
    int fd;      /* a duplicate */
    bool resize; /* the file had `at` bytes before */
    uint64_t at, ino;
    size_t size, had; /* `had`: bytes that existed before */
    uint8_t *before;
};

struct fake_disk {
    struct disk disk; /* hand out &fake->disk */
    pthread_mutex_t mutex;
    struct rng rng;
    struct fake_undo *undo;
    size_t undo_count, undo_capacity;
    bool dead; /* the power is off: everything fails, nothing changes */

    /* Counted since fake_disk_init() or the last fake_disk_power(). */
    uint64_t writes, syncs;
    /* The n-th from then fails with this errno; 0: none. */
    uint64_t fail_write, fail_sync;
    int fail_errno;
    /* The power fails in the n-th write, of which each 512-byte sector is written or not as the
     * generator says; with die_sectors != UINT64_MAX just the first so many sectors are. */
    uint64_t die_write, die_sectors;
    uint64_t free_bytes; /* what space() says; UINT64_MAX: the truth */
    uint64_t full_after; /* files may grow by this many bytes in all, then ENOSPC */
    uint64_t grown;
};

/* Threads of the store may be at it. */
#define FAKE_SET(fake, field, value)                \
    do {                                            \
        (void)pthread_mutex_lock(&(fake)->mutex);   \
        (fake)->field = (value);                    \
        (void)pthread_mutex_unlock(&(fake)->mutex); \
    } while (0)

void fake_disk_init(struct fake_disk *fake, uint64_t seed);
/* After the store is closed: what was not synced meets its fate, then the power is back and all
 * faults are gone. */
void fake_disk_power(struct fake_disk *fake, enum fake_loss loss);
void fake_disk_release(struct fake_disk *fake);
