/* Tells the active controller how much of their capacity the shards in on-demand mode use that this
 * broker leads. One home thread, that of the loop. */
#pragma once

#include "broker/api/api.h"
#include "proto/net/net.h"

enum { LOADS_EVERY_MS = 500, LOADS_IN_MESSAGE = 2000 };

/* `boot`: ours, as we registered. Without a session nothing is asked or told. */
void loads_send(struct api *api, struct session *session, uint64_t boot);
