/* The consumers of weir bench: a connection each, with a reader for every shard. Everything happens
 * in the callbacks of its handle. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "client/cli/bench.h"

enum { WAIT_MS = 5000 };

static void got(struct weir_records *records, const struct weir_error *error, void *context);

static void note_problem(struct bench_consumer *c, const char *text)
{
    (void)pthread_mutex_lock(&c->lock);
    if (c->problem[0] == '\0' && !c->closing) {
        (void)snprintf(c->problem, sizeof(c->problem), "%s", text);
    }
    (void)pthread_mutex_unlock(&c->lock);
}

static void ask(struct bench_shard *shard)
{
    enum weir_status status = weir_reader_get_async(shard->reader, WAIT_MS, got, shard);
    if (status != WEIR_OK) {
        note_problem(shard->consumer, weir_status_text(status));
    }
}

static void opened(struct weir_reader *reader, const struct weir_error *error, void *context)
{
    struct bench_shard *shard = context;
    struct bench_consumer *c = shard->consumer;
    (void)pthread_mutex_lock(&c->lock);
    shard->reader = reader;
    c->opening--;
    (void)pthread_mutex_unlock(&c->lock);
    if (reader != NULL) {
        ask(shard);
    } else {
        note_problem(c, error->text);
    }
}

static void open_shard(struct bench_consumer *c, uint32_t number, enum weir_from from)
{
    struct bench_shard *shard = calloc(1, sizeof(*shard));
    bool taken = false;
    (void)pthread_mutex_lock(&c->lock);
    if (shard != NULL && c->shard_count < BENCH_SHARDS_MAX && !c->closing) {
        *shard = (struct bench_shard){.consumer = c, .number = number};
        c->shards[c->shard_count++] = shard;
        c->opening++;
        taken = true;
    }
    (void)pthread_mutex_unlock(&c->lock);
    if (!taken) {
        free(shard);
        note_problem(c, "too many shards");
        return;
    }
    const struct weir_reader_options options = {.from = from, .deaggregate = true};
    enum weir_status status = weir_reader_open_async(c->client, c->bench->stream, number, &options,
                                                     c->bench->program->timeout_ms, opened, shard);
    if (status != WEIR_OK) {
        struct weir_error error = {.status = status};
        (void)snprintf(error.text, sizeof(error.text), "%s", weir_status_text(status));
        opened(NULL, &error, shard);
    }
}

static void count(struct bench_consumer *c, const struct weir_records *records)
{
    uint64_t now_us = bench_now_us();
    (void)pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < records->count; i++) {
        const struct weir_read_record *record = &records->records[i];
        if (record->data_size >= BENCH_HEAD_BYTES && get_u64(record->data) == c->bench->run) {
            uint64_t put_us = get_u64(record->data + 8);
            c->records++;
            c->bytes += record->data_size;
            weir_latency_count(&c->latencies, (double)(now_us - put_us) / 1000);
        }
    }
    c->lag_ms = records->millis_behind;
    c->lag_most_ms = c->lag_ms > c->lag_most_ms ? c->lag_ms : c->lag_most_ms;
    (void)pthread_mutex_unlock(&c->lock);
}

static void got(struct weir_records *records, const struct weir_error *error, void *context)
{
    struct bench_shard *shard = context;
    struct bench_consumer *c = shard->consumer;
    if (records == NULL) {
        note_problem(c, error->text);
        return;
    }
    count(c, records);
    if (!records->ended) {
        ask(shard);
    }
    for (size_t i = 0; records->ended && i < records->child_count; i++) {
        const struct weir_child *child = &records->children[i];
        if (child->parents[0] == shard->number) { /* a child of two is read once */
            open_shard(c, child->shard, WEIR_TRIM_HORIZON);
        }
    }
    weir_records_free(records);
}

int bench_consumers_open(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->options.consumers; i++) {
        struct bench_consumer *c = &bench->consumers[i];
        struct weir_error error;
        struct weir_stream *stream;
        c->bench = bench;
        (void)pthread_mutex_init(&c->lock, NULL);
        if (program_connect(bench->program, &c->client, &error) != WEIR_OK ||
            weir_stream_describe(c->client, bench->stream, false, bench->program->timeout_ms,
                                 &stream, &error) != WEIR_OK) {
            return program_error(bench->program, &error);
        }
        for (uint32_t s = 0; s < stream->shard_count; s++) {
            if (stream->shards[s].takes_records) {
                open_shard(c, s, WEIR_LATEST);
            }
        }
        weir_stream_free(stream);
    }
    return EXIT_CODE_OK;
}

void bench_consumers_close(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->options.consumers; i++) {
        struct bench_consumer *c = &bench->consumers[i];
        if (c->client == NULL) {
            continue;
        }
        (void)pthread_mutex_lock(&c->lock);
        c->closing = true;
        uint32_t shards = c->shard_count;
        (void)pthread_mutex_unlock(&c->lock);
        for (uint32_t s = 0; s < shards; s++) {
            weir_reader_close(c->shards[s]->reader);
        }
        weir_client_close(c->client);
        for (uint32_t s = 0; s < shards; s++) {
            free(c->shards[s]);
        }
        (void)pthread_mutex_destroy(&c->lock);
    }
}
