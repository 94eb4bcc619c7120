#include "client/cli/worker.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { STOP_WITHIN_MS = 20000, RECORDS_MAX = 100000 };

/* Posted when the worker should stop, or has. One worker a process. */
static sem_t news;

void worker_stop(void)
{
    int keep = errno;
    (void)sem_post(&news);
    errno = keep;
}

static void on_signal(int number)
{
    (void)number;
    worker_stop();
}

static void on_stopped(const struct weir_error *error, void *context)
{
    (void)error;
    (void)context;
    worker_stop();
}

void worker_say(const struct weir_lease *lease, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (lease != NULL) {
        (void)fprintf(stderr, "weir: %s of %s: %s\n", weir_lease_shard(lease),
                      weir_lease_stream(lease), text);
    } else {
        (void)fprintf(stderr, "weir: %s\n", text);
    }
}

void worker_trouble(const struct weir_lease *lease, const struct weir_error *error, void *context)
{
    (void)context;
    worker_say(lease, "%s (it is tried again)",
               error->text[0] != '\0' ? error->text : weir_status_text(error->status));
}

NODISCARD static enum status take_streams(const char *list, struct worker_names *names,
                                          size_t *out_count, struct error *error)
{
    size_t count = 0;
    if (strlen(list) >= sizeof(names->text)) {
        return error_set(error, STATUS_INVALID, "too many streams");
    }
    (void)snprintf(names->text, sizeof(names->text), "%s", list);
    for (char *at = names->text; at != NULL;) {
        char *comma = strchr(at, ',');
        if (count == WORKER_STREAMS_MAX) {
            return error_set(error, STATUS_INVALID, "a worker reads at most %d streams",
                             WORKER_STREAMS_MAX);
        }
        if (comma != NULL) {
            *comma++ = '\0';
        }
        names->streams[count++] = at;
        at = comma;
    }
    *out_count = count;
    return STATUS_OK;
}

enum status worker_options(const struct program *program, const char *application,
                           const char *streams, struct worker_names *names,
                           struct weir_consumer_options *out, struct error *error)
{
    size_t count = 0; /* gcc cannot see that it is set */
    enum status status = take_streams(streams, names, &count, error);
    if (status != STATUS_OK) {
        return status;
    }
    *out = (struct weir_consumer_options){.application = application,
                                          .worker = program->worker,
                                          .streams = names->streams,
                                          .stream_count = count,
                                          .push = program->push};
    const char *from = program->from != NULL ? program->from : "trim-horizon";
    if (strcmp(from, "latest") == 0) {
        out->from = WEIR_LATEST;
    } else if (strcmp(from, "at-timestamp") == 0) {
        out->from = WEIR_AT_TIMESTAMP;
        if (text_parse_time(program->from_what, &out->timestamp_ms) != STATUS_OK) {
            return error_set(error, STATUS_INVALID,
                             "'%.60s' is not a time: seconds since 1970, or 2026-03-01T12:00:00Z",
                             program->from_what);
        }
    } else if (strcmp(from, "trim-horizon") != 0) {
        return error_set(error, STATUS_INVALID,
                         "an application begins at trim-horizon, latest or at-timestamp TIME, not "
                         "'%.60s'",
                         from);
    }
    if (program->records_max != NULL) {
        uint64_t most;
        status = args_number(program->records_max, "--records-max", 1, RECORDS_MAX, &most, error);
        if (status != STATUS_OK) {
            return status;
        }
        out->records_max = (uint32_t)most;
    }
    return STATUS_OK;
}

int worker_run(struct program *program, const struct weir_consumer_options *options,
               const struct weir_processor *processor)
{
    struct weir_processor with_end = *processor;
    with_end.stopped = on_stopped;
    (void)sem_init(&news, 0, 0);
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    struct weir_consumer *consumer;
    struct weir_error error;
    if (weir_consumer_open(program->client, options, &with_end, program->timeout_ms, &consumer,
                           &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    while (sem_wait(&news) != 0 && errno == EINTR) {
    }
    weir_consumer_stop(consumer, STOP_WITHIN_MS);
    int code = EXIT_CODE_OK;
    if (weir_consumer_wait(consumer, &error) != WEIR_OK) {
        code = program_error(program, &error);
    }
    weir_consumer_close(consumer);
    return code;
}
