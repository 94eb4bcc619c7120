/* What the configurations of all processes have in common: some keys, what their values must be,
 * and that all of it can be read again while the process runs.
 *
 * For one thread: that of main(), then that of the loop. */
#pragma once

#include <stdbool.h>

#include "base/config.h"

/* The last rows of a table, by its KEY(name, type, field, fallback, help); its struct has
 * char *metrics_listen, *log_level and *log_format. */
#define PROCESS_CONFIG_KEYS                                                                      \
    KEY("metrics-listen", CONFIG_STRING, metrics_listen, "",                                     \
        "HOST:PORT for /metrics, /healthz and /readyz over plain HTTP, open to whoever reaches " \
        "it; a port alone: on 127.0.0.1; empty: not served"),                                    \
        KEY("log-level", CONFIG_STRING, log_level, "info", "error, warning, info or debug"),     \
        KEY("log-format", CONFIG_STRING, log_format, "text", "text or json")

/* One for each program, static. */
struct process_config {
    const struct config_spec *spec;
    /* What must hold of a struct that config_load() has filled; ends with process_config_check().
     * INVALID with a sentence. */
    enum status (*check)(const void *config, struct error *error);
    /* The command line, from the first load on; the words themselves are borrowed. */
    int argc;
    char **argv;
};

/* config_load(), then the check. *out_exit: --help or --version was answered. The struct is empty
 * then, and after an error. INVALID and others as config_load(). */
NODISCARD enum status process_config_load(struct process_config *program, int argc, char **argv,
                                          void *config, bool *out_exit, struct error *error);

/* Reads everything once more, from where the first load read it, for what its check sets: the log.
 * `scratch` is a zeroed struct, and empty again afterwards. With an error nothing changes.
 * NO_MEMORY too when nothing was loaded before. */
NODISCARD enum status process_config_again(struct process_config *program, void *scratch,
                                           struct error *error);

/* Looks at the keys that all have, and when all are good sets the log by them. INVALID with a
 * sentence. */
NODISCARD enum status process_config_check(uint64_t certificate_check_ms, const char *log_level,
                                           const char *log_format, struct error *error);
