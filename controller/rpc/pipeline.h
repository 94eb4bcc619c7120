/* The way of commands into the Raft log: everything that waits goes into one entry, one entry is in
 * flight, and each command gets its own result. Entries are what Raft costs, so the batches form by
 * themselves under load, without a timer.
 *
 * Thread: the loop's. */
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "controller/command/command.h"
#include "controller/raft/raft.h"
#include "controller/rpc/gate.h"
#include "proto/schema/command.pb-c.h"

enum {
    PIPELINE_WAITING_MAX = 16384,          /* commands; then BUSY */
    PIPELINE_WAITING_BYTES_MAX = 64 << 20, /* ditto */
    PIPELINE_ENTRY_WEIGHT_MAX = 10000,     /* rows that one entry may make: bounds its time */
};

/* A command under way; embedded in what waits for it, the pipeline's until `done`. */
struct pipeline_request {
    struct list node;
    struct buf packed; /* its element of CommandList */
    uint32_t weight;
    /* Once, from the loop. The result is borrowed. Beside the command's own results:
     *   NOT_ACTIVE  it was not proposed
     *   UNCERTAIN   it may have been applied, or may be later */
    void (*done)(struct pipeline_request *request, const struct db_result *result);
};

struct pipeline {
    struct raft_node *raft;
    const struct gate *gate; /* who has to know what is proposed */
    struct list waiting, flying;
    size_t waiting_count, waiting_bytes, flying_count;
    struct buf entry;
    bool in_flight;
    struct raft_node_request raft_request;
    uint64_t submitted_us;          /* of the entry in flight */
    struct histogram committed;     /* from there to its being applied here */
    struct command_results results; /* of the entry in flight, once applied */
};

void pipeline_init(struct pipeline *pipeline, const struct gate *gate);
/* The node must have been closed: its requests have been answered. */
void pipeline_release(struct pipeline *pipeline);

/* `weight` is about how many rows the command makes. BUSY, TOO_LARGE, NO_MEMORY, UNSUPPORTED (we,
 * or a controller that the gate knows, could not apply it): `done` does not come. */
NODISCARD enum status pipeline_submit(struct pipeline *pipeline, const Weir__Command *command,
                                      uint32_t weight, struct pipeline_request *request,
                                      void (*done)(struct pipeline_request *request,
                                                   const struct db_result *result));

/* Proposes what waits, unless an entry is in flight: at the end of a turn of the loop. */
void pipeline_flush(struct pipeline *pipeline);

/* An entry was applied; takes the results when it is ours. */
void pipeline_applied(struct pipeline *pipeline, const struct raft_node_request *request,
                      struct command_results *results);

/* No longer active: what waits is answered. What flies is answered by the node. */
void pipeline_refuse(struct pipeline *pipeline, enum status status, const char *text);
