/* What weir consume and weir consume-exec share: options of a worker, signals that stop it, its
 * errors.
 */
#pragma once

#include "client/cli/program.h"
#include "client/cli/text.h"

enum { WORKER_STREAMS_MAX = 64 };

struct worker_names {
    char text[WEIR_STREAM_NAME_BYTES * WORKER_STREAMS_MAX];
    const char *streams[WORKER_STREAMS_MAX];
};

/* Fills `out` from the command line: application, streams ("a,b"), --worker, --from, --push,
 * --records. Both borrow `names`. INVALID with a sentence. */
NODISCARD enum status worker_options(const struct program *program, const char *application,
                                     const char *streams, struct worker_names *names,
                                     struct weir_consumer_options *out, struct error *error);

/* "weir: shardId-000000000003: TEXT" to standard error. Any thread. */
void worker_say(const struct weir_lease *lease, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* weir_processor.trouble */
void worker_trouble(const struct weir_lease *lease, const struct weir_error *error, void *context);

/* Opens a worker and runs it until SIGINT, SIGTERM or worker_stop(), or until the controllers
 * refuse it: the exit code. */
int worker_run(struct program *program, const struct weir_consumer_options *options,
               const struct weir_processor *processor);
void worker_stop(void); /* any thread; a signal handler, too */

/* One object: shard, sequence_number, partition_key, arrival_ms, data or data_base64 (print.c). */
void print_record(struct json *json, const char *shard, const struct weir_read_record *record);
