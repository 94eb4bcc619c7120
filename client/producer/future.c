/* Puts whose outcome is asked for later. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "client/producer/producer.h"

/* Of two owners, the caller and the acknowledgement: the last one frees it. */
struct weir_future {
    pthread_t loop; /* which must not wait */
    pthread_mutex_t lock;
    pthread_cond_t over;
    unsigned owners;
    bool done;
    struct weir_ack ack;
    struct weir_attempt history[WEIR_ATTEMPTS_KEPT];
    char text[224];
};

static void disown(struct weir_future *future)
{
    (void)pthread_mutex_lock(&future->lock);
    bool last = --future->owners == 0;
    (void)pthread_mutex_unlock(&future->lock);
    if (last) {
        (void)pthread_cond_destroy(&future->over);
        (void)pthread_mutex_destroy(&future->lock);
        free(future);
    }
}

static void future_acked(const struct weir_ack *ack, void *context)
{
    struct weir_future *future = context;
    (void)pthread_mutex_lock(&future->lock);
    future->ack = *ack;
    for (uint32_t i = 0; i < ack->attempts_kept; i++) {
        future->history[i] = ack->history[i];
    }
    future->ack.history = future->history;
    if (ack->text != NULL) {
        (void)snprintf(future->text, sizeof(future->text), "%s", ack->text);
        future->ack.text = future->text;
    }
    future->done = true;
    (void)pthread_cond_broadcast(&future->over);
    (void)pthread_mutex_unlock(&future->lock);
    disown(future);
}

enum weir_status weir_put_future(struct weir_producer *producer, const struct weir_record *record,
                                 struct weir_future **out)
{
    if (!producer->client->own_thread) {
        return WEIR_INVALID;
    }
    struct weir_future *future = calloc(1, sizeof(*future));
    if (future == NULL) {
        return WEIR_NO_MEMORY;
    }
    pthread_condattr_t clock;
    CHECK(pthread_condattr_init(&clock) == 0);
    CHECK(pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_mutex_init(&future->lock, NULL) == 0);
    CHECK(pthread_cond_init(&future->over, &clock) == 0);
    (void)pthread_condattr_destroy(&clock);
    future->loop = producer->client->thread;
    future->owners = 2;
    struct weir_record waited = *record;
    waited.context = future;
    enum weir_status status = weir_put(producer, &waited, future_acked);
    if (status != WEIR_OK) {
        future->owners = 1;
        disown(future);
        return status;
    }
    *out = future;
    return WEIR_OK;
}

enum weir_status weir_future_wait(struct weir_future *future, uint32_t timeout_ms,
                                  struct weir_ack *out)
{
    if (timeout_ms > 0 && pthread_equal(pthread_self(), future->loop) != 0) {
        return WEIR_INVALID;
    }
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + timeout_ms * UINT64_C(1000000);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    (void)pthread_mutex_lock(&future->lock);
    while (!future->done && timeout_ms > 0 &&
           pthread_cond_timedwait(&future->over, &future->lock, &until) != ETIMEDOUT) {
    }
    bool done = future->done;
    if (done) {
        *out = future->ack;
    }
    (void)pthread_mutex_unlock(&future->lock);
    return done ? WEIR_OK : WEIR_TIMEOUT;
}

void weir_future_free(struct weir_future *future)
{
    if (future != NULL) {
        disown(future);
    }
}
