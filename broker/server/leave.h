/* Leaving in good order: before this broker stops it hands its leaderships to other voters, so that
 * a rolling restart costs each shard a pause of milliseconds instead of a failover. Thread: the
 * loop's. */
#pragma once

struct server;

/* Hands over what it leads, and stops the loop when it leads nothing any more or
 * `shutdown-handover` has passed. A second call stops at once. */
void leave_begin(struct server *s);
