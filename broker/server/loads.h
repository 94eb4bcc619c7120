/* Tells the active controller what this broker carries: how much of their capacity the shards in
 * on-demand mode use that it leads (SHARD_LOADS), and, in a message of fixed size, the traffic of
 * all that it leads (BROKER_LOAD). One home thread, that of the loop. */
#pragma once

#include "broker/api/api.h"
#include "proto/net/net.h"

struct server;

enum {
    LOADS_EVERY_MS = 500,
    LOADS_IN_MESSAGE = 2000,
    TRAFFIC_EVERY_MS = 2000,
    TRAFFIC_BUSY_MAX = 48,  /* shards with most traffic that are told, … */
    TRAFFIC_LARGE_MAX = 16, /* … and those with most bytes */
};

/* `boot`: ours, as we registered. Without a session nothing is asked or told. */
void loads_send(struct api *api, struct session *session, uint64_t boot);

/* From housekeeping: what is due. */
void loads_run(struct server *server, uint64_t now_ms);
