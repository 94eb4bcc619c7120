/* All processes of a cluster, asked at once. */
#pragma once

#include "client/cli/program.h"

struct processes {
    struct weir_cluster *cluster;
    size_t count; /* controllers first, then brokers, as in the cluster's status */
    struct weir_process_ask *asks;
    struct weir_process_answer *answers;
};

/* `node`: "broker-3", or NULL or "all" for all of them. `timeout_ms` of each process. On any status
 * but OK nothing is left to release. NOT_FOUND: no such process; else as weir_cluster_status() and
 * weir_processes_ask(). */
NODISCARD enum weir_status processes_ask(struct program *program,
                                         enum weir_process_question question, const char *node,
                                         const char *level, uint32_t timeout_ms,
                                         struct processes *out, struct weir_error *error);
void processes_release(struct processes *processes);

/* The answer of that process; NULL: it was not asked, or did not answer. */
const struct weir_process_answer *processes_answer(const struct processes *processes,
                                                   const char *name);
