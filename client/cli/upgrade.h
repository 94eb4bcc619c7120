/* What an operator must know before one more process of a running cluster is stopped, for what its
 * processes run: releases too far apart, an order that is not the documented one, formats that the
 * others do not read; and which process is next. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/process.h>

struct upgrade_process {
    const char *name;     /* "broker-3" */
    const char *software; /* "weir 0.2.0"; "": not known */
    bool is_controller, is_active;
    const struct weir_format *formats; /* none: it is too old to tell, or did not answer */
    size_t format_count;
};

enum upgrade_word {
    UPGRADE_AGAINST, /* nothing may be stopped before this is put right */
    UPGRADE_CAREFUL, /* worth knowing; no reason to stop */
    UPGRADE_NEXT,    /* the name of the process that is to be upgraded next */
};

typedef void upgrade_say(void *to, enum upgrade_word word, const char *text);

/* Brokers before controllers, the active one last; within each, in the order given. */
void upgrade_judge(const struct upgrade_process *processes, size_t count, upgrade_say *say,
                   void *to);
