/* Private to controller/rpc: consumer leases, shared by the files that serve them. */
#pragma once

#include "controller/rpc/internal.h"
#include "proto/schema/lease.pb-c.h"

/* Proposes it; *under_way counts it until it is answered. Nothing when there is no room: what has
 * not happened is proposed again. */
void lease_command(struct controller *c, Weir__Command *command, uint32_t weight,
                   uint32_t *under_way);

Weir__LeasePosition lease_position_message(const struct db_position *position);
/* How many. */
size_t lease_parents(const struct controller *c, uint64_t id, uint64_t out[DB_PARENTS_MAX]);
