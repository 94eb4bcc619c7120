/* weir bench STREAM: made-up records in and out, and how fast that went. */
#include "client/cli/bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    OPEN_WAIT_MS = 30000,  /* until all consumers are at the tip */
    DRAIN_WAIT_MS = 20000, /* until they have what was put */
    VIEW_MS = 500,
    LOOK_MS = 20,
};

uint64_t bench_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void nap(uint32_t ms)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = (long)ms * 1000000}, NULL);
}

/* All producers and consumers at one moment. */
struct totals {
    uint64_t at_us;
    struct weir_producer_stats put;
    struct weir_producer_stats get; /* only .latency */
    uint64_t got, got_bytes, lag_ms, lag_most_ms;
    uint32_t opening;
    const char *problem; /* NULL: none */
};

static void add_stats(struct weir_producer_stats *sum, const struct weir_producer_stats *one)
{
    sum->records_put += one->records_put;
    sum->records_acked += one->records_acked;
    sum->records_failed += one->records_failed;
    sum->bytes_put += one->bytes_put;
    sum->records_pending += one->records_pending;
    sum->batches_sent += one->batches_sent;
    sum->batches_resent += one->batches_resent;
    sum->records_sent += one->records_sent;
    sum->bytes_sent += one->bytes_sent;
    sum->throttled += one->throttled;
    for (uint32_t i = 0; i < WEIR_LATENCY_BUCKETS; i++) {
        sum->latency[i] += one->latency[i];
    }
}

static void look(struct bench *bench, struct totals *out)
{
    struct weir_producer_stats one;
    *out = (struct totals){.at_us = bench_now_us()};
    for (uint32_t i = 0; i < bench->options.producers; i++) {
        weir_producer_stats(bench->producers[i].producer, &one);
        add_stats(&out->put, &one);
    }
    for (uint32_t i = 0; i < bench->options.consumers; i++) {
        struct bench_consumer *c = &bench->consumers[i];
        (void)pthread_mutex_lock(&c->lock);
        out->got += c->records;
        out->got_bytes += c->bytes;
        out->lag_ms = c->lag_ms > out->lag_ms ? c->lag_ms : out->lag_ms;
        out->lag_most_ms = c->lag_most_ms > out->lag_most_ms ? c->lag_most_ms : out->lag_most_ms;
        out->opening += c->opening;
        out->problem = c->problem[0] != '\0' ? c->problem : out->problem;
        add_stats(&out->get, &c->latencies);
        (void)pthread_mutex_unlock(&c->lock);
    }
}

/* ---- the live view ---- */

/* Of the latencies that came between two looks. */
static double recent_ms(const struct weir_producer_stats *now,
                        const struct weir_producer_stats *before, double quantile)
{
    struct weir_producer_stats difference = *now;
    for (uint32_t i = 0; i < WEIR_LATENCY_BUCKETS; i++) {
        difference.latency[i] -= before->latency[i];
    }
    return weir_latency_ms(&difference, quantile);
}

static void view(const struct bench *bench, const struct totals *before, const struct totals *now)
{
    double seconds = (double)(now->at_us - before->at_us) / 1e6;
    double put = (double)(now->put.records_acked - before->put.records_acked) / seconds;
    double got = (double)(now->got - before->got) / seconds;
    (void)printf(
        "\r\033[K%5.1f s  put %9.0f/s %7.2f MB/s  p50 %6.1f  p99 %7.1f ms  waiting %" PRIu64
        "  failed %" PRIu64 "\n\033[K         get %9.0f/s %7.2f MB/s  p50 %6.1f  p99 %7.1f "
        "ms  lag %" PRIu64 " ms\033[A\r",
        (double)(now->at_us - bench->begin_us) / 1e6, put, put * bench->options.record_bytes / 1e6,
        recent_ms(&now->put, &before->put, 0.5), recent_ms(&now->put, &before->put, 0.99),
        now->put.records_pending, now->put.records_failed, got,
        (double)(now->got_bytes - before->got_bytes) / seconds / 1e6,
        recent_ms(&now->get, &before->get, 0.5), recent_ms(&now->get, &before->get, 0.99),
        now->lag_ms);
    (void)fflush(stdout);
}

/* ---- the run ---- */

static int wait_for_consumers(struct bench *bench)
{
    struct totals totals;
    uint64_t until_us = bench_now_us() + OPEN_WAIT_MS * UINT64_C(1000);
    do {
        look(bench, &totals);
        if (totals.problem != NULL) {
            return program_fail(bench->program, WEIR_UNAVAILABLE, "a consumer: %s", totals.problem);
        }
        if (totals.opening == 0) {
            return EXIT_CODE_OK;
        }
        nap(LOOK_MS);
    } while (bench_now_us() < until_us);
    return program_fail(bench->program, WEIR_TIMEOUT, "the shards have no leaders");
}

static void watch(struct bench *bench)
{
    bool live = isatty(STDOUT_FILENO) != 0 && !bench->program->json && !bench->program->quiet;
    uint64_t end_us = bench->begin_us + bench->options.duration_ms * UINT64_C(1000);
    struct totals before, now;
    look(bench, &before);
    while (bench_now_us() < end_us) {
        nap(LOOK_MS);
        if (live && bench_now_us() - before.at_us >= VIEW_MS * UINT64_C(1000)) {
            look(bench, &now);
            view(bench, &before, &now);
            before = now;
        }
    }
    if (live) {
        (void)printf("\r\033[K\n\033[K\033[A");
    }
}

/* Until the consumers have what was stored, or it takes too long. */
static void drain(struct bench *bench, struct totals *out)
{
    uint64_t until_us = bench_now_us() + DRAIN_WAIT_MS * UINT64_C(1000);
    look(bench, out);
    while (bench->options.producers > 0 && out->problem == NULL && bench_now_us() < until_us &&
           out->got < out->put.records_acked * bench->options.consumers) {
        nap(LOOK_MS);
        look(bench, out);
    }
}

static uint64_t cpu_us(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec;
}

/* ---- the result ---- */

struct result {
    struct totals totals;
    double seconds; /* from the first put to the last acknowledgement */
    uint64_t cpu_us;
};

static uint64_t in_us(double ms)
{
    return (uint64_t)(ms * 1000);
}

static void add_latencies(struct json *json, const struct weir_producer_stats *stats)
{
    json_number(json, "p50_us", in_us(weir_latency_ms(stats, 0.5)));
    json_number(json, "p99_us", in_us(weir_latency_ms(stats, 0.99)));
    json_number(json, "p999_us", in_us(weir_latency_ms(stats, 0.999)));
}

static int print_json(const struct bench *bench, const struct result *r)
{
    const struct bench_options *o = &bench->options;
    const struct weir_producer_stats *put = &r->totals.put;
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "stream", bench->stream);
    json_number(&json, "producers", o->producers);
    json_number(&json, "consumers", o->consumers);
    json_number(&json, "record_bytes", o->record_bytes);
    json_number(&json, "milliseconds", (uint64_t)(r->seconds * 1000));
    json_number(&json, "cpu_us", r->cpu_us);
    json_object_begin(&json, "put");
    json_number(&json, "records", put->records_acked);
    json_number(&json, "failed", put->records_failed);
    json_number(&json, "per_second", (uint64_t)((double)put->records_acked / r->seconds));
    json_number(&json, "records_sent", put->records_sent);
    json_number(&json, "bytes_sent", put->bytes_sent);
    json_number(&json, "batches_sent", put->batches_sent);
    json_number(&json, "batches_resent", put->batches_resent);
    json_number(&json, "throttled", put->throttled);
    add_latencies(&json, put);
    json_object_end(&json);
    json_object_begin(&json, "get");
    json_number(&json, "records", r->totals.got);
    json_number(&json, "bytes", r->totals.got_bytes);
    json_number(&json, "lag_most_ms", r->totals.lag_most_ms);
    add_latencies(&json, &r->totals.get);
    json_object_end(&json);
    json_object_end(&json);
    return program_print_json(bench->program, &json);
}

static void print_text(const struct bench *bench, const struct result *r)
{
    const struct weir_producer_stats *put = &r->totals.put;
    double bytes = (double)put->records_acked * bench->options.record_bytes;
    double cpu = put->records_acked + r->totals.got == 0
                     ? 0
                     : (double)r->cpu_us / (double)(put->records_acked + r->totals.got);
    (void)printf("put  %" PRIu64 " records in %.1f s: %.0f a second, %.2f MB/s; %" PRIu64
                 " failed\n     latency p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms\n"
                 "     on the wire: %" PRIu64 " records, %.1f MB (%.0f %% of the data), %" PRIu64
                 " batches, %" PRIu64 " of them again, throttled %" PRIu64 " times\n",
                 put->records_acked, r->seconds, (double)put->records_acked / r->seconds,
                 bytes / r->seconds / 1e6, put->records_failed, weir_latency_ms(put, 0.5),
                 weir_latency_ms(put, 0.99), weir_latency_ms(put, 0.999), put->records_sent,
                 (double)put->bytes_sent / 1e6,
                 bytes > 0 ? 100 * (double)put->bytes_sent / bytes : 0, put->batches_sent,
                 put->batches_resent, put->throttled);
    if (bench->options.consumers > 0) {
        (void)printf(
            "get  %" PRIu64 " records by %u consumers\n"
            "     from put to consumer p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms; lag at most "
            "%" PRIu64 " ms\n",
            r->totals.got, bench->options.consumers, weir_latency_ms(&r->totals.get, 0.5),
            weir_latency_ms(&r->totals.get, 0.99), weir_latency_ms(&r->totals.get, 0.999),
            r->totals.lag_most_ms);
    }
    (void)printf("cpu  %.2f s of this process: %.2f s for a million records put or got\n",
                 (double)r->cpu_us / 1e6, cpu);
}

static int run(struct bench *bench)
{
    int code = bench_consumers_open(bench);
    code = code == EXIT_CODE_OK ? bench_producers_open(bench) : code;
    code = code == EXIT_CODE_OK ? wait_for_consumers(bench) : code;
    if (code != EXIT_CODE_OK) {
        return code;
    }
    struct result result = {.cpu_us = cpu_us()};
    bench->begin_us = bench_now_us();
    code = bench_producers_start(bench);
    if (code == EXIT_CODE_OK) {
        watch(bench);
    }
    int last = bench_producers_join(bench);
    code = code == EXIT_CODE_OK ? last : code;
    result.seconds = (double)(bench_now_us() - bench->begin_us) / 1e6;
    drain(bench, &result.totals);
    result.cpu_us = cpu_us() - result.cpu_us;
    if (bench->program->json) {
        last = print_json(bench, &result);
        code = code == EXIT_CODE_OK ? last : code;
    } else {
        print_text(bench, &result);
    }
    if (result.totals.problem != NULL) {
        return program_fail(bench->program, WEIR_UNAVAILABLE, "a consumer: %s",
                            result.totals.problem);
    }
    bool lost = bench->options.producers > 0 &&
                result.totals.got < result.totals.put.records_acked * bench->options.consumers;
    if (lost) {
        return program_fail(bench->program, WEIR_TIMEOUT,
                            "the consumers have not got everything in %d s", DRAIN_WAIT_MS / 1000);
    }
    return code == EXIT_CODE_OK && result.totals.put.records_failed > 0 ? EXIT_CODE_FAILED : code;
}

/* ---- options ---- */

NODISCARD static enum status take_number(const char *text, const char *what, uint64_t low,
                                         uint64_t high, uint32_t *out, struct error *error)
{
    uint64_t value = 0;
    if (text == NULL) {
        return STATUS_OK;
    }
    enum status status = args_number(text, what, low, high, &value, error);
    if (status == STATUS_OK) {
        *out = (uint32_t)value;
    }
    return status;
}

NODISCARD static enum status take_options(const struct program *p, struct bench_options *o,
                                          struct error *error)
{
    *o = (struct bench_options){
        .producers = 1, .consumers = 1, .record_bytes = 1024, .keys = 1000, .duration_ms = 10000};
    enum status status = take_encoding(p, &o->producer, error);
    if (status == STATUS_OK) {
        status = take_number(p->producers, "--producers", 0, BENCH_SIDES_MAX, &o->producers, error);
    }
    if (status == STATUS_OK) {
        status = take_number(p->consumers, "--consumers", 0, BENCH_SIDES_MAX, &o->consumers, error);
    }
    if (status == STATUS_OK) {
        status = take_number(p->record_bytes, "--record-bytes", BENCH_HEAD_BYTES, 1024 * 1024,
                             &o->record_bytes, error);
    }
    if (status == STATUS_OK) {
        status = take_number(p->keys, "--keys", 1, 100000000, &o->keys, error);
    }
    if (status == STATUS_OK && p->rate != NULL) {
        status = args_number(p->rate, "--rate", 1, 1000000000, &o->rate, error);
    }
    if (status == STATUS_OK && p->duration != NULL) {
        status = args_duration(p->duration, "--duration", &o->duration_ms, error);
    }
    if (status == STATUS_OK && o->producers + o->consumers == 0) {
        return error_set(error, STATUS_INVALID, "--producers 0 --consumers 0 leaves nothing to do");
    }
    return status;
}

int run_bench(struct program *program, const char *const *words)
{
    static struct bench bench;
    struct error error;
    bench = (struct bench){.program = program, .stream = words[0]};
    if (take_options(program, &bench.options, &error) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", error.text);
    }
    if (getrandom(&bench.run, sizeof(bench.run), 0) != (ssize_t)sizeof(bench.run)) {
        return program_fail(program, WEIR_IO, "the kernel gives no random bytes");
    }
    int code = run(&bench);
    bench_producers_close(&bench);
    bench_consumers_close(&bench);
    return code;
}
