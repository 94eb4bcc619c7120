/* Counts the words of a stream: any number of these share its shards.
 *
 *     eval "$(weir-local env --dir DIR)"
 *     weir-wordcount APPLICATION STREAM
 *
 * Each shard has its own counts, so no lock is needed. They are kept in memory; a checkpoint is
 * made when a shard leaves this worker, and its counts are printed then: "WORD COUNT". A worker
 * that dies before has printed nothing and checkpointed nothing, so the next owner counts those
 * records. */
#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

enum { BUCKETS = 4096 };

struct word {
    struct word *next;
    uint64_t count;
    size_t size;
    char text[];
};

struct counts {
    struct word *buckets[BUCKETS];
};

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void clear(struct counts *counts)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        while (counts->buckets[i] != NULL) {
            struct word *word = counts->buckets[i];
            counts->buckets[i] = word->next;
            free(word);
        }
    }
}

static int count_word(struct counts *counts, const char *text, size_t size)
{
    size_t hash = 5381;
    for (size_t i = 0; i < size; i++) {
        hash = hash * 33 + (unsigned char)text[i];
    }
    struct word **at = &counts->buckets[hash % BUCKETS];
    while (*at != NULL && ((*at)->size != size || memcmp((*at)->text, text, size) != 0)) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = calloc(1, sizeof(**at) + size);
        if (*at == NULL) {
            return -1;
        }
        (*at)->size = size;
        memcpy((*at)->text, text, size);
    }
    (*at)->count++;
    return 0;
}

/* The shard begins, or begins again at its checkpoint after a failure. */
static enum weir_processed on_initialised(struct weir_lease *lease,
                                          const struct weir_lease_start *start, void *context)
{
    (void)start;
    (void)context;
    struct counts *counts = weir_lease_data(lease);
    if (counts == NULL) {
        counts = calloc(1, sizeof(*counts));
        weir_lease_set_data(lease, counts);
    } else {
        clear(counts);
    }
    return counts != NULL ? WEIR_PROCESSED : WEIR_FAILED;
}

static enum weir_processed on_records(struct weir_lease *lease,
                                      const struct weir_delivery *delivery, void *context)
{
    struct counts *counts = weir_lease_data(lease);
    (void)context;
    for (size_t i = 0; i < delivery->count; i++) {
        const char *text = (const char *)delivery->records[i].data;
        size_t size = delivery->records[i].data_size;
        for (size_t at = 0; at < size;) {
            size_t begin = at;
            while (at < size && isalnum((unsigned char)text[at])) {
                at++;
            }
            if (at > begin && count_word(counts, text + begin, at - begin) != 0) {
                return WEIR_FAILED; /* out of memory: nothing is skipped */
            }
            at += at == begin;
        }
    }
    return WEIR_PROCESSED;
}

/* Prints what was counted, then says that it is. (Between the two a crash prints twice: a program
 * that cannot bear that stores its result and the position in one transaction of its own.) */
static void finish(struct weir_lease *lease)
{
    struct counts *counts = weir_lease_data(lease);
    struct weir_error error;
    if (counts == NULL) {
        return; /* there was no memory to begin */
    }
    (void)pthread_mutex_lock(&output);
    for (size_t i = 0; i < BUCKETS; i++) {
        for (const struct word *word = counts->buckets[i]; word != NULL; word = word->next) {
            (void)printf("%.*s %" PRIu64 "\n", (int)word->size, word->text, word->count);
        }
    }
    (void)fflush(stdout);
    (void)pthread_mutex_unlock(&output);
    if (weir_lease_checkpoint(lease, NULL, &error) != WEIR_OK) {
        (void)fprintf(stderr, "wordcount: %s\n", error.text);
    }
    clear(counts);
}

static enum weir_processed on_ended(struct weir_lease *lease, void *context)
{
    (void)context;
    finish(lease);
    return WEIR_PROCESSED;
}

static void on_shutdown(struct weir_lease *lease, enum weir_shutdown why, void *context)
{
    (void)why;
    (void)context;
    finish(lease);
}

static void on_closed(struct weir_lease *lease, void *context)
{
    struct counts *counts = weir_lease_data(lease);
    (void)context;
    if (counts != NULL) {
        clear(counts);
        free(counts);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: weir-wordcount APPLICATION STREAM\n"
                              "counts the words of a stream until SIGINT or SIGTERM\n");
        return 2;
    }
    /* Signals are for the main thread: blocked before the library starts its own. */
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGINT);
    (void)sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);

    const char *streams[] = {argv[2]};
    const struct weir_consumer_options options = {
        .application = argv[1], .streams = streams, .stream_count = 1, .checkpoint_self = true};
    const struct weir_processor processor = {.initialised = on_initialised,
                                             .records = on_records,
                                             .ended = on_ended,
                                             .shutdown = on_shutdown,
                                             .closed = on_closed};
    struct weir_options connection;
    struct weir_client *client = NULL;
    struct weir_consumer *consumer = NULL;
    struct weir_error error;
    if (weir_options_from_env(&connection, &error) != WEIR_OK ||
        weir_client_open(&connection, &client, &error) != WEIR_OK ||
        weir_consumer_open(client, &options, &processor, 0, &consumer, &error) != WEIR_OK) {
        (void)fprintf(stderr, "wordcount: %s\n", error.text);
        weir_client_close(client);
        return 1;
    }
    int number;
    (void)sigwait(&signals, &number);
    weir_consumer_close(consumer); /* hands its shards over */
    weir_client_close(client);
    return 0;
}
