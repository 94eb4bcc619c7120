/* What watches a process, whichever it is: its pages (/metrics, /healthz, /readyz) and the calls
 * LOG_LEVEL, PROCESS_METRICS and PROCESS_LOG (proto/rpc/methods.def).
 *
 * One home thread, that of the loop. */
#pragma once

#include "base/config.h"
#include "base/formats.h"
#include "base/metrics.h"
#include "proto/net/net.h"
#include "proto/net/pages.h"

enum { PROCESS_WHY_BYTES = 200 };

struct process_options {
    struct net_loop *loop;
    const char *name; /* "broker-3" */
    uint64_t boot;
    enum format_role role;
    const struct config_spec
        *spec; /* NULL, or with its values: what is told of the configuration */
    const void *config;
    void *context;
    /* Everything but what process_write_metrics() adds. */
    void (*metrics)(void *context, struct metrics *m);
    /* Whether it is safe to go on to the next process of a rolling update; else why not. */
    bool (*ready)(void *context, char why[PROCESS_WHY_BYTES]);
};

/* Embedded in its owner; zeroed, then process_open(). */
struct process {
    struct process_options options; /* all borrowed */
    struct pages *pages;            /* NULL: no address was given */
    uint64_t started_ms;            /* Unix */
};

/* `address`: as pages_open(); "" for none. Errors as there. */
NODISCARD enum status process_open(struct process *process, const struct process_options *options,
                                   const char *address, struct error *error);
void process_close(struct process *process); /* harmless before process_open() */

/* False: the method is another; the call is untouched. */
bool process_called(struct process *process, struct session_call *call);
