/* What a broker's disk takes: appends batches of 64 KiB to 12 shards of one store, as fast as it
 * admits them or at a rate, and tells how often and for how long the store said BUSY. A stall here
 * is a producer that waits.
 *
 * usage: weir_bench_store DIR [SECONDS [MIB_PER_SECOND]]      (defaults: 10, as fast as it goes) */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/crc32c.h"
#include "broker/log/log.h"

enum { SHARDS = 12, PAYLOAD = 64 * 1024, STALLS_MAX = 100000 };

static double now_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu_s(void)
{
    struct rusage u;
    (void)getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void must(enum status status, const char *what)
{
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "weir_bench_store: %s: %s\n", what, status_text(status));
        exit(1);
    }
}

static void turn(struct store *store, int wait_ms)
{
    uint64_t synced;
    struct pollfd fd = {.fd = store_event_fd(store), .events = POLLIN};
    store_flush(store);
    (void)poll(&fd, 1, wait_ms);
    must(store_poll(store, &synced), "the disk is out");
}

static void append(struct shard_log *log, uint64_t *next, uint32_t *crc, uint8_t *batch)
{
    struct batch_header h = {.payload_crc = crc32c(0, batch + BATCH_HEADER_BYTES, PAYLOAD),
                             .payload_bytes = PAYLOAD,
                             .shard = shard_log_id(log),
                             .epoch = 1,
                             .count = 64,
                             .base_offset = *next,
                             .prev_crc = *crc,
                             .append_ms = 1};
    batch_header_encode(&h, batch);
    struct bytes part = bytes_of(batch, BATCH_HEADER_BYTES + PAYLOAD);
    struct log_appended appended;
    must(shard_log_append(log, &h, &part, 1, &appended), "append");
    *next += h.count;
    *crc = h.header_crc;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

int main(int argc, char **argv)
{
    static uint8_t batch[BATCH_HEADER_BYTES + PAYLOAD];
    static double stall[STALLS_MAX];
    if (argc < 2) {
        (void)fprintf(stderr, "usage: weir_bench_store DIR [SECONDS [MIB_PER_SECOND]]\n");
        return 2;
    }
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 10;
    double rate = argc > 3 ? strtod(argv[3], NULL) * 1048576 : 0;
    struct store_options options;
    store_options_init(&options);
    options.dir = argv[1];
    options.broker = 1;
    struct store *store;
    struct error error = {0};
    if (store_open(&options, &store, &error) != STATUS_OK) {
        (void)fprintf(stderr, "weir_bench_store: %s\n", error.text);
        return 1;
    }
    struct shard_log *log[SHARDS];
    uint64_t next[SHARDS] = {0}, lsn;
    uint32_t crc[SHARDS] = {0}, stalls = 0;
    for (uint32_t i = 0; i < SHARDS; i++) {
        must(store_create_shard(store, i + 1, 1, 0, &log[i], &lsn), "create");
    }
    double begin = now_s(), cpu = cpu_s(), bytes = 0, stalled = 0;
    for (uint64_t n = 0; now_s() - begin < seconds; n++) {
        while (rate > 0 && bytes > (now_s() - begin) * rate) {
            turn(store, 1);
        }
        double from = now_s();
        bool busy = false;
        while (store_admit(store, sizeof(batch) + 64) == STATUS_BUSY) {
            busy = true;
            turn(store, 100);
        }
        if (busy && stalls < STALLS_MAX) {
            stall[stalls] = now_s() - from;
            stalled += stall[stalls++];
        }
        append(log[n % SHARDS], &next[n % SHARDS], &crc[n % SHARDS], batch);
        bytes += sizeof(batch);
        if (n % 8 == 7) {
            turn(store, 0);
        }
    }
    double took = now_s() - begin;
    qsort(stall, stalls, sizeof(stall[0]), by_size);
    (void)printf(
        "%.0f MiB/s, %.2f CPU s/GiB, %u stalls, %.1f%% of the time, p50 %.1f p99 %.1f max %.1f ms\n",
        bytes / 1048576 / took, (cpu_s() - cpu) / (bytes / 1073741824), stalls,
        100 * stalled / took, stalls ? stall[stalls / 2] * 1e3 : 0,
        stalls ? stall[stalls * 99 / 100] * 1e3 : 0, stalls ? stall[stalls - 1] * 1e3 : 0);
    store_close(store);
    return 0;
}
