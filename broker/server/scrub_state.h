/* DIR/scrub: where the scrubber has come to. Not synced: an older one only costs reading. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct scrub_state {
    uint64_t passes, started_ms, finished_ms, bytes; /* bytes: of this pass */
    uint64_t shard, segment;                         /* the next to check */
    bool late;
};

/* False: there is none, or it is damaged; *out is as after a format. */
bool scrub_state_read(const char *dir, struct scrub_state *out);
void scrub_state_write(const char *dir, const struct scrub_state *state);
