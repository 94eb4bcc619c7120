/* The scrubber: re-reads and checks every byte of every segment once in `period_ms`, at the pace
 * that this takes and never faster than `rate` (docs/replication.md 2.9). What it finds damaged is
 * repaired; what whole segments hash to is compared with the other replicas. Where it has come to
 * is kept in DIR/scrub, so that a restart goes on there.
 *
 * One home thread, that of the loop; reading is done by the store's reader thread. */
#pragma once

#include "broker/server/repair.h"

enum {
    SCRUB_TICK_MS = 100,
    SCRUB_PIECE_BYTES = 1024 * 1024,
    SCRUB_SAVE_MS = 30 * 1000,
    SCRUB_REPAIR_MS = 30 * 1000, /* it waits so long for a repair, then it goes on behind it */
};

struct scrub_options {
    struct net_loop *loop;
    struct shards *shards;
    const struct route *route;
    struct peers *peers;
    struct repairs *repairs;
    uint32_t broker;
    const char *data_dir;
    uint64_t period_ms; /* 0: never */
    uint64_t rate;      /* bytes a second; 0: no limit */
};

struct scrub_status {
    uint64_t passes;           /* finished, since the disk was formatted */
    uint64_t pass_started_ms;  /* Unix */
    uint64_t pass_finished_ms; /* Unix, of the last one; 0: none yet */
    uint64_t pass_bytes;       /* checked in this one */
    uint32_t permille;         /* of this one */
    uint64_t bytes, damaged;   /* since the broker started */
    uint64_t compared, differ; /* segments, with another replica */
    bool late;                 /* the last pass took longer than it may, or this one already has */
};

struct scrub;

/* NULL: out of memory. Everything in the options is borrowed. */
struct scrub *scrub_new(const struct scrub_options *options);
/* Before the store and the loop's sessions are closed. */
void scrub_close(struct scrub *scrub);
/* Afterwards. NULL is fine. */
void scrub_free(struct scrub *scrub);

void scrub_status(const struct scrub *scrub, struct scrub_status *out);
