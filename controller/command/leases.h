/* Private to controller/command: what the commands of consumer leases share (docs/leases.md). */
#pragma once

#include "controller/command/internal.h"

/* Whether an application or a worker may be called so; else refuses. */
bool lease_name_is_good(const char *what, const char *name, const char *more,
                        struct db_result *result);

/* Whether an application may begin there; else refuses. */
bool lease_initial_is_good(const Weir__LeasePosition *in, struct db_position *out,
                           struct db_result *result);

/* The lease gets this owner (0: none) and a new counter. */
void lease_give(struct db *db, struct db_lease *lease, uint64_t worker);

/* The worker's row goes, and nobody owns its leases. */
void lease_worker_remove(struct db *db, const struct db_lease_worker *worker);

/* The application begins the stream, or begins it anew: leases for all shards that it has to read.
 * Returns how many. */
uint32_t lease_stream_begin(struct db *db, uint64_t application, const struct db_stream *stream,
                            struct db_position initial);
