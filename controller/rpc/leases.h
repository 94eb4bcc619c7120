/* Private to controller/rpc: consumer leases, shared by the files that serve them. */
#pragma once

#include "controller/rpc/internal.h"
#include "proto/schema/lease.pb-c.h"

Weir__LeasePosition lease_position_message(const struct db_position *position);
/* How many. */
size_t lease_parents(const struct controller *c, uint64_t shard, uint64_t out[DB_PARENTS_MAX]);
