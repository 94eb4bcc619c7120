#include "client/producer/delivery.h"

void delivery_init(struct delivery *delivery, uint32_t window, struct rng *rng)
{
    *delivery = (struct delivery){.window = window, .rng = rng};
    list_init(&delivery->queue);
}

void delivery_add(struct delivery *delivery, struct delivery_batch *batch)
{
    if (list_empty(&delivery->queue)) {
        delivery->retry_ms = 0; /* those that failed are over: the new one may try at once */
        delivery->failures = 0;
    }
    batch->state = DELIVERY_WAITING;
    batch->numbered = false;
    batch->maybe = false;
    batch->attempts = 0;
    list_push(&delivery->queue, &batch->node);
}

void delivery_route(struct delivery *delivery, uint64_t route)
{
    if (delivery->route == route) {
        return;
    }
    delivery->route = route;
    delivery->retry_ms = 0; /* a new leader: no reason to wait for */
    delivery->failures = 0;
    if (delivery->on_its_way > 0) {
        delivery->settling = true;
        delivery->cancelling = true;
    }
}

/* The leader says that it has not taken the batch. Not so NOT_LEADER: that may come from one that
 * took it and lost its leadership before the commit. */
static bool is_refusal(enum status status)
{
    switch ((unsigned)status) {
    case STATUS_OUT_OF_ORDER:
    case STATUS_UNKNOWN_PRODUCER:
    case STATUS_BUSY:
    case STATUS_THROTTLED:
    case STATUS_DISK_FULL:
    case STATUS_NOT_FOUND:
        return true;
    default:
        return false;
    }
}

/* No repetition can help. */
static bool is_final(enum status status)
{
    switch ((unsigned)status) {
    case STATUS_INVALID:
    case STATUS_TOO_LARGE:
    case STATUS_DENIED:
    case STATUS_UNSUPPORTED:
    case STATUS_WRONG_CLUSTER:
    case STATUS_WRONG_IDENTITY:
    case STATUS_PRODUCER_FENCED:
        return true;
    default:
        return false;
    }
}

static void back_off(struct delivery *delivery, uint64_t now_ms)
{
    uint32_t doubled = delivery->failures < 7 ? delivery->failures : 7;
    uint64_t ms = (uint64_t)DELIVERY_BACKOFF_MIN_MS << doubled;
    if (ms > DELIVERY_BACKOFF_MAX_MS) {
        ms = DELIVERY_BACKOFF_MAX_MS;
    }
    delivery->failures++;
    delivery->retry_ms = now_ms + rng_between(delivery->rng, ms / 2, ms);
}

enum delivery_outcome delivery_reply(struct delivery *delivery, struct delivery_batch *batch,
                                     enum status status, uint64_t now_ms)
{
    CHECK(batch->state != DELIVERY_WAITING);
    CHECK(delivery->on_its_way > 0);
    delivery->on_its_way--;
    bool cancelled = batch->state == DELIVERY_CANCELLING;
    batch->state = DELIVERY_WAITING;
    if (status == STATUS_OK) {
        list_remove(&batch->node);
        delivery->failures = 0;
        return DELIVERY_ACKED;
    }
    if (is_final(status)) {
        list_remove(&batch->node); /* those behind it will be refused, and numbered anew */
        return DELIVERY_FAILED;
    }
    if (status == STATUS_SEALED) {
        batch->maybe = false; /* retries are recognised first: it is not there, and never will be */
        delivery->sealed = true;
    } else if (!is_refusal(status)) {
        batch->maybe = true;
    }
    bool gap = status == STATUS_OUT_OF_ORDER || status == STATUS_UNKNOWN_PRODUCER;
    if (gap && delivery->queue.next == &batch->node) {
        /* Nothing before it is missing: the brokers remember something else than we. */
        delivery->renumber = true;
    }
    if (!delivery->settling && !cancelled) {
        back_off(delivery, now_ms);
    }
    delivery->settling = true;
    return DELIVERY_KEPT;
}

static bool cancel_next(struct delivery *delivery, struct delivery_effect *out)
{
    LIST_FOR_EACH (node, &delivery->queue) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->state == DELIVERY_ON_ITS_WAY) {
            batch->state = DELIVERY_CANCELLING;
            *out = (struct delivery_effect){.type = DELIVERY_DO_CANCEL, .batch = batch};
            return true;
        }
    }
    delivery->cancelling = false;
    return false;
}

static bool fail(struct delivery_batch *batch, enum status status, struct delivery_effect *out)
{
    list_remove(&batch->node);
    *out = (struct delivery_effect){.type = DELIVERY_DO_FAIL, .batch = batch, .status = status};
    return true;
}

/* The oldest one's time is over. */
static bool expire_next(struct delivery *delivery, uint64_t now_ms, struct delivery_effect *out)
{
    if (list_empty(&delivery->queue)) {
        return false;
    }
    struct delivery_batch *head = CONTAINER_OF(delivery->queue.next, struct delivery_batch, node);
    if (now_ms < head->deadline_ms || head->state == DELIVERY_CANCELLING) {
        return false;
    }
    if (head->state == DELIVERY_ON_ITS_WAY) {
        head->state = DELIVERY_CANCELLING;
        *out = (struct delivery_effect){.type = DELIVERY_DO_CANCEL, .batch = head};
        return true;
    }
    return fail(head, head->maybe ? STATUS_UNCERTAIN : STATUS_TIMEOUT, out);
}

/* Everything has its outcome. False: still to be told that a batch's end is unknown. */
static bool start_new_epoch(struct delivery *delivery, struct delivery_effect *out)
{
    bool fenced = delivery->epoch == UINT16_MAX;
    LIST_FOR_EACH (node, &delivery->queue) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->maybe || fenced) {
            return !fail(batch, batch->maybe ? STATUS_UNCERTAIN : STATUS_PRODUCER_FENCED, out);
        }
        batch->numbered = false;
    }
    if (!fenced) {
        delivery->epoch++;
        delivery->next_sequence = 0;
    }
    delivery->renumber = false;
    return true;
}

static void number(struct delivery *delivery, struct delivery_batch *batch)
{
    if (!batch->numbered) {
        batch->numbered = true;
        batch->epoch = delivery->epoch;
        batch->sequence = delivery->next_sequence;
        delivery->next_sequence += batch->count;
    }
}

/* After two rounds without success one batch at a time asks whether things are better. */
static uint32_t window_now(const struct delivery *delivery)
{
    return delivery->failures < 2 ? delivery->window : 1;
}

bool delivery_has_room(const struct delivery *delivery)
{
    return delivery->route != 0 && !delivery->sealed && !delivery->settling &&
           delivery->retry_ms == 0 && delivery->pace_ms == 0 &&
           delivery->on_its_way < window_now(delivery);
}

static bool send_next(struct delivery *delivery, uint64_t now_ms, struct delivery_effect *out)
{
    if (delivery->route == 0 || now_ms < delivery->retry_ms || delivery->pace_ms != 0 ||
        delivery->on_its_way >= window_now(delivery)) {
        return false;
    }
    delivery->retry_ms = 0;
    LIST_FOR_EACH (node, &delivery->queue) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->state == DELIVERY_WAITING && delivery->sealed && !batch->maybe) {
            return false;
        }
        if (batch->state == DELIVERY_WAITING) {
            number(delivery, batch);
            batch->state = DELIVERY_ON_ITS_WAY;
            batch->attempts++;
            batch->sent_ms = now_ms;
            delivery->on_its_way++;
            *out = (struct delivery_effect){.type = DELIVERY_DO_SEND, .batch = batch};
            return true;
        }
    }
    return false;
}

bool delivery_next(struct delivery *delivery, uint64_t now_ms, struct delivery_effect *out)
{
    if (now_ms >= delivery->pace_ms) {
        delivery->pace_ms = 0;
    }
    if (delivery->cancelling && cancel_next(delivery, out)) {
        return true;
    }
    if (expire_next(delivery, now_ms, out)) {
        return true;
    }
    if (delivery->settling) {
        if (delivery->on_its_way > 0) {
            return false;
        }
        if (delivery->renumber && !start_new_epoch(delivery, out)) {
            return true;
        }
        delivery->settling = false;
    }
    return send_next(delivery, now_ms, out);
}

uint64_t delivery_deadline(const struct delivery *delivery)
{
    if (list_empty(&delivery->queue)) {
        return UINT64_MAX;
    }
    const struct delivery_batch *head =
        CONTAINER_OF(delivery->queue.next, struct delivery_batch, node);
    uint64_t at = head->state == DELIVERY_CANCELLING ? UINT64_MAX : head->deadline_ms;
    bool will_retry = !delivery->settling && delivery->route != 0 && delivery->retry_ms != 0;
    at = will_retry && delivery->retry_ms < at ? delivery->retry_ms : at;
    bool is_paced = delivery->pace_ms != 0 && delivery->route != 0;
    return is_paced && delivery->pace_ms < at ? delivery->pace_ms : at;
}

void delivery_pace(struct delivery *delivery, uint64_t until_ms)
{
    if (until_ms > delivery->pace_ms) {
        delivery->pace_ms = until_ms;
    }
}

/* A number that was given out must be used, or those behind it are refused. */
struct delivery_batch *delivery_unsent(struct delivery *delivery, struct delivery_batch *after)
{
    struct list *from = after != NULL ? &after->node : &delivery->queue;
    for (struct list *node = from->next; node != &delivery->queue; node = node->next) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->state == DELIVERY_WAITING && !batch->numbered && !batch->maybe) {
            return batch;
        }
    }
    return NULL;
}

void delivery_drop(struct delivery *delivery, struct delivery_batch *batch)
{
    CHECK(batch->state == DELIVERY_WAITING && !batch->numbered && !batch->maybe);
    CHECK(!list_empty(&delivery->queue));
    list_remove(&batch->node);
}

void delivery_seal(struct delivery *delivery)
{
    delivery->sealed = true;
}

bool delivery_is_over(struct delivery *delivery)
{
    if (!delivery->sealed || delivery->on_its_way > 0) {
        return false;
    }
    bool absent = false;
    LIST_FOR_EACH (node, &delivery->queue) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->maybe && !absent) {
            return false;
        }
        absent = true;
        batch->maybe = false; /* without the one before it, it cannot be there */
    }
    return true;
}

struct delivery_batch *delivery_take(struct delivery *delivery)
{
    CHECK(delivery_is_over(delivery));
    if (list_empty(&delivery->queue)) {
        return NULL;
    }
    return CONTAINER_OF(list_pop(&delivery->queue), struct delivery_batch, node);
}

void delivery_abandon(struct delivery *delivery)
{
    LIST_FOR_EACH (node, &delivery->queue) {
        struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        batch->deadline_ms = 0;
    }
    delivery->cancelling = delivery->on_its_way > 0;
    delivery->settling = delivery->cancelling;
    delivery->route = 0;
}
