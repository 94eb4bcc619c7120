/* Does what the core says. */
#include "client/consumer/consumer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_lease *lease_of(struct core_lease *core)
{
    return CONTAINER_OF(core, struct weir_lease, core);
}

void consumer_trouble(struct weir_consumer *consumer, struct weir_lease *lease, enum status status,
                      const char *text)
{
    struct weir_error *told = lease != NULL ? &lease->trouble : &consumer->sync_trouble;
    struct weir_error error;
    (void)handle_error(&error, status, "%s", text);
    if (told->status == error.status && strcmp(told->text, error.text) == 0) {
        return; /* once is enough while it lasts */
    }
    *told = error;
    if (consumer->processor.trouble != NULL) {
        consumer->processor.trouble(lease, &error, consumer->processor.context);
    }
}

static void on_timer(struct net_timer *timer)
{
    struct weir_consumer *consumer = CONTAINER_OF(timer, struct weir_consumer, timer);
    core_tick(&consumer->core, handle_now_ms());
    consumer_pump(consumer);
}

static void opening_over(struct weir_consumer *consumer)
{
    weir_consumer_opened_fn *opened = consumer->opening.opened;
    consumer->opening.opened = NULL;
    net_timer_stop(consumer->client->loop, &consumer->opening.patience);
    if (opened != NULL) {
        opened(consumer, &(struct weir_error){.status = WEIR_OK}, consumer->opening.context);
    }
}

/* The core's last effect: the consumer may be freed by another thread from the end of this on. */
static void stopped(struct weir_consumer *consumer)
{
    struct weir_error why = {.status = WEIR_OK};
    if (consumer->core.failed != STATUS_OK) {
        (void)handle_error(&why, consumer->core.failed, "%s", consumer->core.failed_text);
    }
    net_timer_stop(consumer->client->loop, &consumer->timer);
    net_timer_stop(consumer->client->loop, &consumer->opening.patience);
    weir_consumer_opened_fn *opened = consumer->opening.opened;
    void *context = consumer->opening.context;
    consumer->opening.opened = NULL;
    if (opened == NULL && consumer->processor.stopped != NULL) {
        consumer->processor.stopped(&why, consumer->processor.context);
    }
    (void)pthread_mutex_lock(&consumer->lock);
    consumer->why = why;
    consumer->stopped = true;
    consumer->quit = true;
    (void)pthread_cond_broadcast(&consumer->news);
    (void)pthread_cond_broadcast(&consumer->over);
    (void)pthread_mutex_unlock(&consumer->lock);
    if (opened != NULL) { /* it never came in: nobody else knows it, and no thread was started */
        consumer_pool_release(consumer);
        consumer_sync_release(consumer);
        free(consumer);
        opened(NULL, &why, context);
    }
}

/* False: the consumer may be gone. */
static bool act(struct weir_consumer *consumer, const struct core_effect *effect)
{
    struct weir_lease *lease = effect->lease != NULL ? lease_of(effect->lease) : NULL;
    switch (effect->kind) {
    case EFFECT_SYNC:
        consumer_sync(consumer);
        break;
    case EFFECT_OPEN:
        lease_open(lease);
        break;
    case EFFECT_FETCH:
        lease_fetch(lease);
        break;
    case EFFECT_CLOSE:
        lease_close(lease);
        break;
    case EFFECT_RUN:
        lease_deliver(lease, effect);
        break;
    case EFFECT_DROP:
        lease_drop(effect->batch);
        break;
    case EFFECT_CHECKPOINT:
        CHECK(lease != NULL);
        list_push(&consumer->checkpoints, &lease->checkpoint);
        break;
    case EFFECT_ANSWER:
        lease_answer(effect->request);
        break;
    case EFFECT_FREE:
        CHECK(lease != NULL);
        (void)pthread_mutex_lock(&consumer->lock);
        consumer->counters.leases--;
        consumer->counters.leases_lost += lease->core.phase == CORE_LOST;
        (void)pthread_mutex_unlock(&consumer->lock);
        free(lease);
        break;
    case EFFECT_STOPPED:
        stopped(consumer);
        return false;
    default:
        CHECK(false); /* no such effect */
    }
    return true;
}

static void note_queued(struct weir_consumer *consumer)
{
    uint64_t records = 0, bytes = 0;
    LIST_FOR_EACH (node, &consumer->core.leases) {
        const struct core_lease *lease = CONTAINER_OF(node, struct core_lease, node);
        records += lease->queued_records;
        bytes += lease->queued_bytes;
    }
    (void)pthread_mutex_lock(&consumer->lock);
    consumer->counters.queued_records = records;
    consumer->counters.queued_bytes = bytes;
    (void)pthread_mutex_unlock(&consumer->lock);
}

/* Effects may bring new inputs at once: those wait for the outer call. */
void consumer_pump(struct weir_consumer *consumer)
{
    if (consumer->pumping) {
        return;
    }
    consumer->pumping = true;
    struct core_effect effect;
    while (core_next(&consumer->core, handle_now_ms(), &effect)) {
        if (!act(consumer, &effect)) {
            return;
        }
    }
    consumer->pumping = false;
    consumer_checkpoint(consumer);
    note_queued(consumer);
    handle_timer(consumer->client, &consumer->timer, core_next_ms(&consumer->core, handle_now_ms()),
                 on_timer);
    if (consumer->core.joined) {
        opening_over(consumer);
    }
}

void consumer_on_stop(struct net_mail *mail)
{
    struct weir_consumer *consumer = CONTAINER_OF(mail, struct weir_consumer, stop_mail);
    uint64_t now = handle_now_ms();
    if (!consumer->core.stopped) {
        core_stop(&consumer->core, now, now + consumer->stop_within_ms);
        consumer_pump(consumer);
    }
}
