/* Leaving in good order: before this broker stops it hands its leaderships to other voters, so that
 * a rolling restart costs each shard a pause of milliseconds instead of a failover; then it lets
 * requests of Kinesis clients end, each with the word that the connection is over. Thread: the
 * loop's. */
#pragma once

struct server;

/* Stops the loop when that is done, or when `shutdown-handover` and then `shutdown-drain` have
 * passed. A second call stops at once. */
void leave_begin(struct server *s);
