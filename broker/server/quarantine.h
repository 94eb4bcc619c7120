/* Replicas that the controllers do not list (docs/replication.md R16): said, after a while moved to
 * DATA-DIR/quarantine/, kept there for days. Never deleted because metadata are missing. */
#pragma once

#include <stdint.h>

struct server;

enum {
    QUARANTINE_EVERY_MS = 60000, /* how often what lies there is looked at */
    QUARANTINE_SOON_MS = 3000,   /* ... after something has been moved there */
};
#define QUARANTINE_KEEP_MIN_MS (UINT64_C(7) * 24 * 3600 * 1000)

/* About once a second, on the loop. Moves nothing before the metadata are as new as the broker's
 * registration, nor without a controller; removes nothing while no other broker's clock agrees. */
void quarantine_run(struct server *server);
