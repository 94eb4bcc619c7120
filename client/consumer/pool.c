/* Runs callbacks: on threads of ours, in weir_consumer_poll(), or where the caller says. A lease
 * has at most one job, so one shard is never on two threads. */
#include <stdlib.h>
#include <time.h>

#include "client/consumer/consumer.h"

enum status consumer_pool_init(struct weir_consumer *consumer)
{
    list_init(&consumer->jobs);
    consumer->thread_ids = calloc(consumer->threads_max + 1, sizeof(*consumer->thread_ids));
    if (consumer->thread_ids == NULL) {
        return STATUS_NO_MEMORY;
    }
    pthread_condattr_t clock;
    CHECK(pthread_mutex_init(&consumer->lock, NULL) == 0);
    CHECK(pthread_condattr_init(&clock) == 0);
    CHECK(pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0);
    CHECK(pthread_cond_init(&consumer->news, &clock) == 0);
    CHECK(pthread_cond_init(&consumer->over, &clock) == 0);
    (void)pthread_condattr_destroy(&clock);
    return STATUS_OK;
}

void consumer_pool_release(struct weir_consumer *consumer)
{
    for (uint32_t i = 0; i < consumer->threads; i++) {
        (void)pthread_join(consumer->thread_ids[i], NULL);
    }
    free(consumer->thread_ids);
    (void)pthread_cond_destroy(&consumer->news);
    (void)pthread_cond_destroy(&consumer->over);
    (void)pthread_mutex_destroy(&consumer->lock);
}

/* ---- the processing thread --------------------------------------------------------------------
 */

static void count_delivery(struct weir_consumer *consumer, const struct weir_delivery *delivery)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < delivery->count; i++) {
        bytes += delivery->records[i].key_size + delivery->records[i].data_size;
    }
    (void)pthread_mutex_lock(&consumer->lock);
    consumer->counters.records += delivery->count;
    consumer->counters.bytes += bytes;
    (void)pthread_mutex_unlock(&consumer->lock);
}

static enum weir_processed call_program(struct weir_lease *lease)
{
    const struct weir_processor *p = &lease->consumer->processor;
    enum weir_shutdown why = lease->hand_over ? WEIR_HAND_OVER : WEIR_STOPPING;
    switch (lease->kind) {
    case JOB_INITIALISED:
        return p->initialised != NULL ? p->initialised(lease, &lease->start, p->context)
                                      : WEIR_PROCESSED;
    case JOB_RECORDS:
        count_delivery(lease->consumer, &lease->delivery);
        return p->records(lease, &lease->delivery, p->context);
    case JOB_ENDED:
        return p->ended != NULL ? p->ended(lease, p->context) : WEIR_PROCESSED;
    case JOB_SHUTDOWN:
        if (p->shutdown != NULL) {
            p->shutdown(lease, why, p->context);
        }
        return WEIR_PROCESSED;
    case JOB_LOST:
        if (p->lost != NULL) {
            p->lost(lease, p->context);
        }
        return WEIR_PROCESSED;
    case JOB_CLOSED:
        if (p->closed != NULL) {
            p->closed(lease, p->context);
        }
        return WEIR_PROCESSED;
    case JOB_NONE:
    default:
        CHECK(false); /* a job without a callback */
    }
    return WEIR_PROCESSED;
}

static void on_processed(struct net_mail *mail)
{
    struct weir_lease *lease = CONTAINER_OF(mail, struct weir_lease, processed);
    struct weir_consumer *consumer = lease->consumer;
    core_processed(&consumer->core, &lease->core, lease->good, handle_now_ms());
    consumer_pump(consumer);
}

static void run_job(void *data)
{
    struct weir_lease *lease = data;
    struct weir_consumer *consumer = lease->consumer;
    lease->good = call_program(lease) == WEIR_PROCESSED;
    if (!lease->good) {
        (void)pthread_mutex_lock(&consumer->lock);
        consumer->counters.failures++;
        (void)pthread_mutex_unlock(&consumer->lock);
    }
    lease->processed.run = on_processed;
    net_mailbox_send(consumer->client->mailbox, &lease->processed);
}

/* ---- the queue --------------------------------------------------------------------------------
 */

/* Under the lock. NULL: none. */
static struct weir_lease *next_job(struct weir_consumer *consumer)
{
    if (list_empty(&consumer->jobs)) {
        return NULL;
    }
    consumer->jobs_waiting--;
    return CONTAINER_OF(list_pop(&consumer->jobs), struct weir_lease, job);
}

static void *thread_main(void *data)
{
    struct weir_consumer *consumer = data;
    (void)pthread_mutex_lock(&consumer->lock);
    for (;;) {
        struct weir_lease *lease = next_job(consumer);
        if (lease != NULL) {
            (void)pthread_mutex_unlock(&consumer->lock);
            run_job(lease);
            (void)pthread_mutex_lock(&consumer->lock);
        } else if (consumer->quit) {
            break;
        } else {
            consumer->idle++;
            (void)pthread_cond_wait(&consumer->news, &consumer->lock);
            consumer->idle--;
        }
    }
    (void)pthread_mutex_unlock(&consumer->lock);
    return NULL;
}

/* Under the lock: one more when all are busy. */
static void grow(struct weir_consumer *consumer)
{
    if (consumer->jobs_waiting <= consumer->idle || consumer->threads == consumer->threads_max) {
        return;
    }
    pthread_t *id = &consumer->thread_ids[consumer->threads];
    if (pthread_create(id, NULL, thread_main, consumer) == 0) {
        consumer->threads++;
    } else {
        CHECK(consumer->threads > 0); /* those that there are do the work, later */
    }
}

void consumer_run(struct weir_lease *lease)
{
    struct weir_consumer *consumer = lease->consumer;
    if (consumer->execute != NULL) {
        consumer->execute(run_job, lease, consumer->execute_context);
        return;
    }
    (void)pthread_mutex_lock(&consumer->lock);
    list_push(&consumer->jobs, &lease->job);
    consumer->jobs_waiting++;
    if (!consumer->poll) {
        grow(consumer);
    }
    (void)pthread_cond_signal(&consumer->news);
    (void)pthread_mutex_unlock(&consumer->lock);
}

static void until(struct timespec *out, uint32_t wait_ms)
{
    (void)clock_gettime(CLOCK_MONOTONIC, out);
    out->tv_sec += wait_ms / 1000;
    out->tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (out->tv_nsec >= 1000000000) {
        out->tv_sec++;
        out->tv_nsec -= 1000000000;
    }
}

enum weir_status weir_consumer_poll(struct weir_consumer *consumer, uint32_t wait_ms)
{
    struct timespec end;
    until(&end, wait_ms);
    bool in_time = true;
    (void)pthread_mutex_lock(&consumer->lock);
    struct weir_lease *lease = next_job(consumer);
    while (lease == NULL && !consumer->quit && in_time && wait_ms > 0) {
        in_time = pthread_cond_timedwait(&consumer->news, &consumer->lock, &end) == 0;
        lease = next_job(consumer);
    }
    bool quit = consumer->quit;
    (void)pthread_mutex_unlock(&consumer->lock);
    if (lease != NULL) {
        run_job(lease);
        return WEIR_OK;
    }
    return quit ? WEIR_CLOSING : WEIR_TIMEOUT;
}
