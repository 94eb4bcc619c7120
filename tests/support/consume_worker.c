/* A worker of an application that writes down all that happens to it, for tests and measurements:
 * one line an event, monotonic nanoseconds first (comparable between processes of one machine),
 * each callback's lines in one write.
 *
 *     NS I SHARD OFFSET PENDING  initialised, from this offset; what was prepared, or -
 *     NS R SHARD OFFSET KEY DATA a record is processed
 *     NS C SHARD OFFSET STATUS ASKED_NS   a checkpoint below this offset was answered
 *     NS P SHARD OFFSET STATUS   ... was prepared
 *     NS B SHARD RECORDS BYTES   (with `behind`) so far behind the newest were those
 *     NS E|S|L|X SHARD           ended, shutdown, lost, closed
 *
 * usage: weir-consume-worker APP STREAM LOG [push] [threads N] [sleep-us N] [every N] [records-max
 * N] [quiet] [behind] [automatic] [prepare N]
 * automatic the library checkpoints
 * prepare N checkpoints in two phases, and stops for good between those of the Nth
 * quiet     records are only counted, and their data is the nanosecond of their put: at
 * the end "NS Q COUNT P50_US P99_US MAX_US" */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <weir/weir.h>

enum { LATENCIES_MAX = 8 * 1024 * 1024 };

struct worker {
    int log;
    uint32_t sleep_us, every;   /* a checkpoint after so many callbacks of a shard */
    uint32_t prepare, prepared; /* 0: one phase; how many were */
    bool quiet, behind, automatic;
    pthread_mutex_t lock;
    uint32_t *latencies; /* us */
    size_t latency_count;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void write_out(const struct worker *worker, const char *text, size_t size)
{
    if (size > 0 && write(worker->log, text, size) != (ssize_t)size) {
        perror("weir-consume-worker: the log cannot be written");
        _exit(1);
    }
}

static void event(const struct worker *worker, char what, const struct weir_lease *lease,
                  uint64_t offset, const char *more)
{
    char line[160];
    int size = snprintf(line, sizeof(line), "%" PRIu64 " %c %u %" PRIu64 " %s\n", now_ns(), what,
                        weir_lease_shard_number(lease), offset, more);
    write_out(worker, line, (size_t)size);
}

static enum weir_processed on_initialised(struct weir_lease *lease,
                                          const struct weir_lease_start *start, void *context)
{
    weir_lease_set_data(lease, NULL);
    char pending[24] = "-";
    if (start->pending) {
        (void)snprintf(pending, sizeof(pending), "%" PRIu64, start->pending_offset);
    }
    event(context, 'I', lease, start->fresh ? 0 : start->offset, pending);
    return WEIR_PROCESSED;
}

static void checkpoint(const struct worker *worker, struct weir_lease *lease,
                       const struct weir_read_record *record)
{
    struct weir_error error;
    uint64_t asked_ns = now_ns();
    enum weir_status status = weir_lease_checkpoint(lease, record, &error);
    char more[80];
    (void)snprintf(more, sizeof(more), "%s %" PRIu64, weir_status_name(status), asked_ns);
    event(worker, 'C', lease, record != NULL ? record->position.offset + 1 : UINT64_MAX, more);
}

static void checkpoint_in_two_phases(struct worker *worker, struct weir_lease *lease,
                                     const struct weir_read_record *record)
{
    struct weir_error error;
    uint64_t offset = record->position.offset + 1;
    enum weir_status status = weir_lease_prepare(lease, record, &error);
    event(worker, 'P', lease, offset, weir_status_name(status));
    while (++worker->prepared == worker->prepare) {
        (void)pause(); /* to be killed */
        worker->prepared--;
    }
    char more[80];
    uint64_t asked_ns = now_ns();
    status = weir_lease_commit(lease, &error);
    (void)snprintf(more, sizeof(more), "%s %" PRIu64, weir_status_name(status), asked_ns);
    event(worker, 'C', lease, offset, more);
}

static void note_latencies(struct worker *worker, const struct weir_delivery *delivery)
{
    uint64_t now = now_ns();
    (void)pthread_mutex_lock(&worker->lock);
    for (size_t i = 0; i < delivery->count && worker->latency_count < LATENCIES_MAX; i++) {
        const struct weir_read_record *record = &delivery->records[i];
        uint64_t put_us = 0;
        if (record->data_size >= 16) {
            memcpy(&put_us, record->data + 8, sizeof(put_us));
        }
        worker->latencies[worker->latency_count++] = (uint32_t)(now / 1000 - put_us);
    }
    (void)pthread_mutex_unlock(&worker->lock);
}

static void write_records(const struct worker *worker, const struct weir_lease *lease,
                          const struct weir_delivery *delivery)
{
    uint64_t now = now_ns();
    size_t size = 0;
    size_t used = 0;
    for (size_t i = 0; i < delivery->count; i++) {
        size += delivery->records[i].key_size + delivery->records[i].data_size + 80;
    }
    char *text = malloc(size + 1); /* one of no records is no failure */
    if (text == NULL) {
        _exit(1);
    }
    for (size_t i = 0; i < delivery->count; i++) {
        const struct weir_read_record *record = &delivery->records[i];
        used += (size_t)snprintf(
            text + used, size - used, "%" PRIu64 " R %u %" PRIu64 " %.*s %.*s\n", now,
            weir_lease_shard_number(lease), record->position.offset, (int)record->key_size,
            (const char *)record->key, (int)record->data_size, (const char *)record->data);
    }
    write_out(worker, text, used);
    free(text);
}

static enum weir_processed on_records(struct weir_lease *lease,
                                      const struct weir_delivery *delivery, void *context)
{
    struct worker *worker = context;
    if (worker->quiet) {
        note_latencies(worker, delivery);
        return WEIR_PROCESSED;
    }
    write_records(worker, lease, delivery);
    if (worker->behind) {
        char bytes[24];
        (void)snprintf(bytes, sizeof(bytes), "%" PRIu64, delivery->behind_bytes);
        event(worker, 'B', lease, delivery->behind_records, bytes);
    }
    if (worker->sleep_us > 0) {
        (void)usleep(worker->sleep_us);
    }
    uintptr_t calls = (uintptr_t)weir_lease_data(lease) + 1;
    weir_lease_set_data(lease, (void *)calls); /* NOLINT(performance-no-int-to-ptr): a count */
    if (worker->automatic) {
        return WEIR_PROCESSED;
    }
    if (calls % worker->every == 0 && worker->prepare > 0) {
        checkpoint_in_two_phases(worker, lease, &delivery->records[delivery->count - 1]);
    } else if (calls % worker->every == 0) {
        checkpoint(worker, lease, &delivery->records[delivery->count - 1]);
    }
    return WEIR_PROCESSED;
}

static enum weir_processed on_ended(struct weir_lease *lease, void *context)
{
    const struct worker *worker = context;
    event(worker, 'E', lease, 0, "");
    if (!worker->quiet && !worker->automatic) {
        checkpoint(worker, lease, NULL);
    }
    return WEIR_PROCESSED;
}

static void on_shutdown(struct weir_lease *lease, enum weir_shutdown why, void *context)
{
    event(context, 'S', lease, 0, why == WEIR_HAND_OVER ? "hand-over" : "stopping");
}

static void on_lost(struct weir_lease *lease, void *context)
{
    event(context, 'L', lease, 0, "");
}

static void on_closed(struct weir_lease *lease, void *context)
{
    event(context, 'X', lease, 0, "");
}

static int compare(const void *a, const void *b)
{
    const uint32_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static void report(struct worker *worker)
{
    size_t n = worker->latency_count;
    qsort(worker->latencies, n, sizeof(*worker->latencies), compare);
    char line[160];
    int size =
        snprintf(line, sizeof(line), "%" PRIu64 " Q %zu %u %u %u\n", now_ns(), n,
                 n > 0 ? worker->latencies[n / 2] : 0, n > 0 ? worker->latencies[n * 99 / 100] : 0,
                 n > 0 ? worker->latencies[n - 1] : 0);
    write_out(worker, line, (size_t)size);
}

static void count(struct worker *worker)
{
    (void)pthread_mutex_lock(&worker->lock);
    size_t n = worker->latency_count;
    (void)pthread_mutex_unlock(&worker->lock);
    char line[64];
    int size = snprintf(line, sizeof(line), "%" PRIu64 " N %zu\n", now_ns(), n);
    write_out(worker, line, (size_t)size);
}

static void take_options(int argc, char **argv, struct worker *worker,
                         struct weir_consumer_options *options)
{
    for (int i = 4; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "push") == 0) {
            options->push = true;
        } else if (strcmp(argv[i], "quiet") == 0) {
            worker->quiet = true;
        } else if (strcmp(argv[i], "automatic") == 0) {
            worker->automatic = true;
        } else if (strcmp(argv[i], "behind") == 0) {
            worker->behind = true;
        } else if (strcmp(argv[i], "prepare") == 0) {
            worker->prepare = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "threads") == 0) {
            options->threads = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "sleep-us") == 0) {
            worker->sleep_us = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "every") == 0) {
            worker->every = (uint32_t)strtoul(value, NULL, 10);
        } else if (strcmp(argv[i], "records-max") == 0) {
            options->records_max = (uint32_t)strtoul(value, NULL, 10);
        }
    }
    options->checkpoint_self = !worker->quiet && !worker->automatic;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: weir-consume-worker APP STREAM LOG [options]\n");
        return 2;
    }
    struct worker worker = {.every = 1};
    const char *streams[] = {argv[2]};
    struct weir_consumer_options options = {
        .application = argv[1], .streams = streams, .stream_count = 1};
    take_options(argc, argv, &worker, &options);
    worker.log = open(argv[3], O_WRONLY | O_CREAT | O_APPEND, 0644);
    worker.latencies = worker.quiet ? calloc(LATENCIES_MAX, sizeof(*worker.latencies)) : NULL;
    (void)pthread_mutex_init(&worker.lock, NULL);
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    const struct weir_processor processor = {.context = &worker,
                                             .initialised = on_initialised,
                                             .records = on_records,
                                             .ended = on_ended,
                                             .shutdown = on_shutdown,
                                             .lost = on_lost,
                                             .closed = on_closed};
    struct weir_options connection;
    struct weir_client *client;
    struct weir_consumer *consumer;
    struct weir_error error;
    if (worker.log < 0 || weir_options_from_env(&connection, &error) != WEIR_OK ||
        weir_client_open(&connection, &client, &error) != WEIR_OK ||
        weir_consumer_open(client, &options, &processor, 0, &consumer, &error) != WEIR_OK) {
        (void)fprintf(stderr, "weir-consume-worker: %s\n", worker.log < 0 ? argv[3] : error.text);
        return 1;
    }
    const struct timespec second = {.tv_sec = 1};
    while (sigtimedwait(&signals, NULL, &second) < 0) {
        if (worker.quiet) {
            count(&worker);
        }
    }
    weir_consumer_close(consumer);
    weir_client_close(client);
    if (worker.quiet) {
        report(&worker);
        free(worker.latencies);
    }
    return 0;
}
