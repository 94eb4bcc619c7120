/* What <weir/producer.h> promises beyond a plain put, against a running cluster; built by
 * ../library.py against the installed library. The brokers are frozen and go on meanwhile.
 *
 * usage: producer_cases STREAM BROKER_PID...
 *
 * Prints one line for each case and exits with how many failed. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir/weir.h>

static struct weir_client *client;
static const char *stream;
static pid_t brokers[8];
static int broker_count, failures;

#define EXPECT(condition, ...)                \
    do {                                      \
        if (!(condition)) {                   \
            printf("FAILED  %s: ", __func__); \
            printf(__VA_ARGS__);              \
            printf("\n");                     \
            failures++;                       \
            return;                           \
        }                                     \
    } while (0)

static void signal_brokers(int number)
{
    for (int i = 0; i < broker_count; i++) {
        (void)kill(brokers[i], number);
    }
}

static struct weir_producer *open_producer(struct weir_producer_options options)
{
    struct weir_producer *producer = NULL;
    struct weir_error error;
    if (weir_producer_open(client, stream, &options, 0, &producer, &error) != WEIR_OK) {
        printf("FAILED  producer: %s\n", error.text);
        exit(99);
    }
    return producer;
}

static struct weir_record record_of(const char *data)
{
    return (struct weir_record){.key = "k", .key_size = 1, .data = data, .data_size = strlen(data)};
}

/* Of callbacks: how many came with which status. */
struct tally {
    atomic_uint ok, cancelled, timeout, uncertain, other;
};

static void count(const struct weir_ack *ack, void *context)
{
    struct tally *tally = context;
    atomic_uint *counter = ack->status == WEIR_OK          ? &tally->ok
                           : ack->status == WEIR_CANCELLED ? &tally->cancelled
                           : ack->status == WEIR_TIMEOUT   ? &tally->timeout
                           : ack->status == WEIR_UNCERTAIN ? &tally->uncertain
                                                           : &tally->other;
    atomic_fetch_add(counter, 1);
}

static void futures(void)
{
    struct weir_producer *producer =
        open_producer((struct weir_producer_options){.aggregate = true, .gather_ms = 20});
    struct weir_future *waiting[100];
    struct weir_record record = record_of("of a future");
    struct weir_ack ack;
    struct weir_position last = {0};
    for (int i = 0; i < 100; i++) {
        EXPECT(weir_put_future(producer, &record, &waiting[i]) == WEIR_OK, "put %d", i);
    }
    unsigned aggregated = 0;
    for (int i = 0; i < 100; i++) {
        EXPECT(weir_future_wait(waiting[i], 10000, &ack) == WEIR_OK && ack.status == WEIR_OK,
               "%d: %s", i, ack.text);
        EXPECT(ack.attempts >= 1 && ack.attempts_kept >= 1, "%d: no history", i);
        EXPECT(ack.history[0].broker != 0 && ack.history[0].status == WEIR_OK,
               "%d: the history says nothing", i);
        EXPECT(ack.position.offset > last.offset ||
                   (ack.position.offset == last.offset && (i == 0 || ack.aggregated)),
               "%d: out of order", i);
        last = ack.position;
        aggregated += ack.aggregated;
        weir_future_free(waiting[i]);
    }
    EXPECT(aggregated > 50, "only %u of 100 were aggregated", aggregated);

    signal_brokers(SIGSTOP);
    enum weir_status status = weir_put_future(producer, &record, &waiting[0]);
    enum weir_status early = weir_future_wait(waiting[0], 300, &ack);
    signal_brokers(SIGCONT);
    EXPECT(status == WEIR_OK && early == WEIR_TIMEOUT, "before there is an outcome: %d",
           (int)early);
    EXPECT(weir_future_wait(waiting[0], 30000, &ack) == WEIR_OK && ack.status == WEIR_OK,
           "afterwards: %s", ack.text);
    weir_future_free(waiting[0]);
    EXPECT(weir_put_future(producer, &record, &waiting[0]) == WEIR_OK, "the last put");
    weir_future_free(waiting[0]); /* put all the same */
    struct weir_error error;
    EXPECT(weir_producer_flush(producer, &error) == WEIR_OK, "flush: %s", error.text);
    struct weir_producer_stats stats;
    weir_producer_stats(producer, &stats);
    EXPECT(stats.records_acked == 102 && stats.records_pending == 0, "%llu acknowledged",
           (unsigned long long)stats.records_acked);
    weir_producer_close(producer);
    printf("ok      futures\n");
}

static void full_fails(void)
{
    struct tally tally = {0};
    struct weir_producer *producer = open_producer(
        (struct weir_producer_options){.buffer_records = 50, .when_full = WEIR_WHEN_FULL_FAIL});
    struct weir_record record = record_of("x");
    struct weir_error error;
    record.context = &tally;
    signal_brokers(SIGSTOP);
    unsigned taken = 0;
    enum weir_status status = WEIR_OK;
    while (status == WEIR_OK && taken < 1000) {
        status = weir_put(producer, &record, count);
        taken += status == WEIR_OK;
    }
    signal_brokers(SIGCONT);
    EXPECT(status == WEIR_BUSY && taken == 50, "%u were taken, then %d", taken, (int)status);
    EXPECT(weir_producer_flush(producer, &error) == WEIR_OK, "flush: %s", error.text);
    EXPECT(tally.ok == taken, "%u of %u were stored", tally.ok, taken);
    EXPECT(weir_put(producer, &record, count) == WEIR_OK, "room again, and yet refused");
    weir_producer_close(producer);
    printf("ok      full_fails\n");
}

static void *continue_later(void *unused)
{
    (void)unused;
    (void)usleep(700 * 1000);
    signal_brokers(SIGCONT);
    return NULL;
}

static void full_waits(void)
{
    struct tally tally = {0};
    struct weir_producer *producer =
        open_producer((struct weir_producer_options){.buffer_records = 50});
    struct weir_record record = record_of("x");
    struct weir_error error;
    pthread_t later;
    record.context = &tally;
    signal_brokers(SIGSTOP);
    EXPECT(pthread_create(&later, NULL, continue_later, NULL) == 0, "no thread");
    enum weir_status status = WEIR_OK;
    for (int i = 0; i < 500 && status == WEIR_OK; i++) {
        status = weir_put(producer, &record, count);
    }
    (void)pthread_join(later, NULL);
    EXPECT(status == WEIR_OK, "a put that should wait returned %d", (int)status);
    EXPECT(weir_producer_flush(producer, &error) == WEIR_OK && tally.ok == 500,
           "%u of 500 were stored", tally.ok);
    weir_producer_close(producer);
    printf("ok      full_waits\n");
}

static void oldest_are_dropped(void)
{
    struct tally tally = {0};
    struct weir_producer *producer =
        open_producer((struct weir_producer_options){.buffer_records = 100,
                                                     .batch_records = 10,
                                                     .in_flight = 1,
                                                     .when_full = WEIR_WHEN_FULL_DROP_OLDEST});
    struct weir_record record = record_of("x");
    struct weir_error error;
    record.context = &tally;
    signal_brokers(SIGSTOP);
    enum weir_status status = WEIR_OK;
    for (int i = 0; i < 1000 && status == WEIR_OK; i++) {
        status = weir_put(producer, &record, count);
    }
    signal_brokers(SIGCONT);
    EXPECT(status == WEIR_OK, "a put returned %d", (int)status);
    EXPECT(weir_producer_flush(producer, &error) == WEIR_OK, "flush: %s", error.text);
    struct weir_producer_stats stats;
    weir_producer_stats(producer, &stats);
    EXPECT(tally.ok + tally.cancelled == 1000 && tally.cancelled >= 800, "%u stored, %u dropped",
           tally.ok, tally.cancelled);
    EXPECT(stats.records_dropped == tally.cancelled, "the statistics say %llu",
           (unsigned long long)stats.records_dropped);
    weir_producer_close(producer);
    printf("ok      oldest_are_dropped\n");
}

static void deadlines(void)
{
    struct tally tally = {0};
    struct weir_producer *producer =
        open_producer((struct weir_producer_options){.delivery_timeout_ms = 1500, .in_flight = 1});
    struct weir_record record = record_of("too late");
    struct weir_ack ack;
    struct weir_future *future = NULL;
    struct weir_error error;
    EXPECT(weir_put_wait(producer, &record, NULL, &error) == WEIR_OK, "%s", error.text);
    signal_brokers(SIGSTOP);
    /* The first occupies the way to the broker; the second cannot be sent within its own time. */
    record.context = &tally;
    enum weir_status first = weir_put(producer, &record, count);
    (void)usleep(100 * 1000);
    record.timeout_ms = 300;
    enum weir_status second = weir_put_future(producer, &record, &future);
    enum weir_status outcome = weir_future_wait(future, 1200, &ack);
    enum weir_status flushed = weir_producer_flush(producer, &error);
    signal_brokers(SIGCONT);
    EXPECT(first == WEIR_OK && second == WEIR_OK, "not taken");
    EXPECT(outcome == WEIR_OK && ack.status == WEIR_TIMEOUT && ack.attempts == 0,
           "its own time: %d", (int)ack.status);
    EXPECT(flushed == WEIR_OK && tally.uncertain == 1, "sent, and nobody knows: %u uncertain",
           tally.uncertain);
    weir_future_free(future);
    weir_producer_close(producer);
    printf("ok      deadlines\n");
}

static void closing_gives_up(void)
{
    struct tally tally = {0};
    struct weir_producer *producer =
        open_producer((struct weir_producer_options){.in_flight = 1, .batch_records = 10});
    struct weir_record record = record_of("x");
    struct weir_error error;
    EXPECT(weir_put_wait(producer, &record, NULL, &error) == WEIR_OK, "%s", error.text);
    record.context = &tally;
    signal_brokers(SIGSTOP);
    unsigned taken = 0;
    for (int i = 0; i < 100; i++) {
        taken += weir_put(producer, &record, count) == WEIR_OK;
    }
    (void)usleep(200 * 1000);
    weir_producer_close(producer);
    unsigned told = tally.cancelled + tally.uncertain;
    signal_brokers(SIGCONT);
    EXPECT(taken == 100 && told == 100 && tally.cancelled > 0 && tally.uncertain > 0,
           "%u cancelled, %u uncertain", tally.cancelled, tally.uncertain);
    printf("ok      closing_gives_up\n");
}

int main(int argc, char **argv)
{
    struct weir_options options;
    struct weir_error error;
    if (argc < 3 || argc > 9) {
        return fprintf(stderr, "usage: producer_cases STREAM BROKER_PID...\n"), 98;
    }
    stream = argv[1];
    for (int i = 2; i < argc; i++) {
        brokers[broker_count++] = (pid_t)strtol(argv[i], NULL, 10);
    }
    if (weir_options_from_env(&options, &error) != WEIR_OK ||
        weir_client_open(&options, &client, &error) != WEIR_OK) {
        return fprintf(stderr, "%s\n", error.text), 97;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    futures();
    full_fails();
    full_waits();
    oldest_are_dropped();
    deadlines();
    closing_gives_up();
    weir_client_close(client);
    return failures;
}
