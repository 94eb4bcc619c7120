/* The producers of weir bench: a thread and a connection each. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "client/cli/bench.h"

enum { SLACK_US = 1000 /* a thread sleeps no shorter */ };

int bench_producers_open(struct bench *bench)
{
    struct weir_error error;
    for (uint32_t i = 0; i < bench->options.producers; i++) {
        struct bench_producer *p = &bench->producers[i];
        p->bench = bench;
        if (program_connect(bench->program, &p->client, &error) != WEIR_OK ||
            weir_producer_open(p->client, bench->stream, &bench->options.producer,
                               bench->program->timeout_ms, &p->producer, &error) != WEIR_OK) {
            return program_error(bench->program, &error);
        }
    }
    return EXIT_CODE_OK;
}

/* ---- made-up records ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Text that looks like a log's: words, and numbers that do not repeat. */
static void fill(uint8_t *at, size_t size, uint64_t *random)
{
    static const char *const words[] = {"level=info ", "user=",    "request ",  "path=/orders/",
                                        "status=200 ", "took=",    "region=a ", "session=",
                                        "accepted ",   "retry=0 ", "queue=",    "shard="};
    size_t done = 0;
    while (done < size) {
        uint64_t z = next_random(random);
        char text[48];
        int length = snprintf(text, sizeof(text), "%s%" PRIu64 " ",
                              words[z % (sizeof(words) / sizeof(words[0]))], z >> 44);
        size_t some = (size_t)length < size - done ? (size_t)length : size - done;
        memcpy(at + done, text, some);
        done += some;
    }
}

/* ---- a producer's thread ---- */

/* How many of its records are due. */
static uint64_t due(const struct bench *bench, uint64_t now_us)
{
    if (bench->options.rate == 0) {
        return UINT64_MAX;
    }
    double seconds = (double)(now_us - bench->begin_us) / 1e6;
    return (uint64_t)(seconds * (double)bench->options.rate / bench->options.producers) + 1;
}

static void *put_records(void *data)
{
    struct bench_producer *p = data;
    const struct bench *bench = p->bench;
    const struct bench_options *o = &bench->options;
    uint64_t random = bench->run ^ (uint64_t)(uintptr_t)p, sent = 0;
    size_t pool_bytes = (size_t)o->record_bytes * 64;
    uint8_t *pool = malloc(pool_bytes + o->record_bytes);
    uint8_t *record = malloc(o->record_bytes);
    if (pool == NULL || record == NULL) {
        p->status = WEIR_NO_MEMORY;
    } else {
        fill(pool, pool_bytes + o->record_bytes, &random);
    }
    uint64_t end_us = bench->begin_us + o->duration_ms * UINT64_C(1000);
    uint64_t now_us;
    while (p->status == WEIR_OK && (now_us = bench_now_us()) < end_us) {
        if (sent >= due(bench, now_us)) {
            (void)nanosleep(&(struct timespec){.tv_nsec = SLACK_US * 1000}, NULL);
            continue;
        }
        uint64_t z = next_random(&random);
        char key[32];
        int key_size = snprintf(key, sizeof(key), "key-%" PRIu64, z % o->keys);
        memcpy(record, pool + (z >> 20) % pool_bytes, o->record_bytes);
        put_u64(record, bench->run);
        put_u64(record + 8, now_us);
        put_u64(record + 16, sent);
        const struct weir_record one = {
            .key = key, .key_size = (size_t)key_size, .data = record, .data_size = o->record_bytes};
        p->status = weir_put(p->producer, &one, NULL);
        sent++;
    }
    free(pool);
    free(record);
    return NULL;
}

int bench_producers_start(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->options.producers; i++) {
        struct bench_producer *p = &bench->producers[i];
        if (pthread_create(&p->thread, NULL, put_records, p) != 0) {
            return program_fail(bench->program, WEIR_NO_MEMORY, "no thread can be started");
        }
        p->running = true;
    }
    return EXIT_CODE_OK;
}

int bench_producers_join(struct bench *bench)
{
    int code = EXIT_CODE_OK;
    for (uint32_t i = 0; i < bench->options.producers; i++) {
        struct bench_producer *p = &bench->producers[i];
        struct weir_error error;
        if (!p->running) {
            continue;
        }
        (void)pthread_join(p->thread, NULL);
        p->running = false;
        if (p->status != WEIR_OK) {
            code = program_fail(bench->program, p->status, "producer %u: %s", i + 1,
                                weir_status_text(p->status));
        }
        if (weir_producer_flush(p->producer, &error) != WEIR_OK) {
            code = program_error(bench->program, &error);
        }
    }
    return code;
}

void bench_producers_close(struct bench *bench)
{
    for (uint32_t i = 0; i < bench->options.producers; i++) {
        weir_producer_close(bench->producers[i].producer);
        weir_client_close(bench->producers[i].client);
    }
}
