/* Order and retries of a shard's batches: scenes first, then a broker that misbehaves at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/producer/delivery.h"

enum { BATCHES = 6 };

struct scene {
    struct rng rng;
    struct delivery delivery;
    struct delivery_batch batch[BATCHES];
    uint64_t now;
    char log[256]; /* what it wanted, in order: "send 0/0, cancel 1, fail 2 TIMEOUT" */
};

static void run(struct scene *scene)
{
    struct delivery_effect effect;
    scene->log[0] = '\0';
    while (delivery_next(&scene->delivery, scene->now, &effect)) {
        long index = effect.batch - scene->batch;
        size_t used = strlen(scene->log);
        char *at = scene->log + used;
        size_t room = sizeof(scene->log) - used;
        const char *comma = used > 0 ? ", " : "";
        switch (effect.type) {
        case DELIVERY_DO_SEND:
            (void)snprintf(at, room, "%ssend %ld=%u.%u", comma, index, effect.batch->epoch,
                           effect.batch->sequence);
            break;
        case DELIVERY_DO_CANCEL:
            (void)snprintf(at, room, "%scancel %ld", comma, index);
            break;
        case DELIVERY_DO_FAIL:
            (void)snprintf(at, room, "%sfail %ld %s", comma, index, status_name(effect.status));
            break;
        }
    }
}

/* `count` batches of 10 records, on route 1. */
static void begin(struct scene *scene, unsigned count)
{
    *scene = (struct scene){.now = 1000};
    rng_init(&scene->rng, 7);
    delivery_init(&scene->delivery, 3, &scene->rng);
    delivery_route(&scene->delivery, 1);
    for (unsigned i = 0; i < count; i++) {
        scene->batch[i].count = 10;
        scene->batch[i].deadline_ms = 10000 + i;
        delivery_add(&scene->delivery, &scene->batch[i]);
    }
    run(scene);
}

static void reply(struct scene *scene, unsigned index, enum status status,
                  enum delivery_outcome expected)
{
    assert_int_equal(delivery_reply(&scene->delivery, &scene->batch[index], status, scene->now),
                     expected);
}

static void batches_go_in_order_up_to_the_window(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 5);
    assert_string_equal(s.log, "send 0=0.0, send 1=0.10, send 2=0.20");
    assert_false(delivery_has_room(&s.delivery));
    reply(&s, 0, STATUS_OK, DELIVERY_ACKED);
    run(&s);
    assert_string_equal(s.log, "send 3=0.30");
    for (unsigned i = 1; i <= 3; i++) {
        reply(&s, i, STATUS_OK, DELIVERY_ACKED);
    }
    run(&s);
    assert_string_equal(s.log, "send 4=0.40");
    reply(&s, 4, STATUS_OK, DELIVERY_ACKED);
    assert_true(delivery_idle(&s.delivery));
    assert_true(delivery_deadline(&s.delivery) == UINT64_MAX);
}

static void nothing_goes_without_a_route(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 0);
    delivery_route(&s.delivery, 0);
    s.batch[0] = (struct delivery_batch){.count = 1, .deadline_ms = 5000};
    delivery_add(&s.delivery, &s.batch[0]);
    run(&s);
    assert_string_equal(s.log, "");
    delivery_route(&s.delivery, 9);
    run(&s);
    assert_string_equal(s.log, "send 0=0.0");
    reply(&s, 0, STATUS_OK, DELIVERY_ACKED);
}

static void a_refusal_sends_all_again_from_the_oldest_with_the_same_numbers(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 3);
    reply(&s, 0, STATUS_BUSY, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, ""); /* 1 and 2 have no outcome yet */
    reply(&s, 1, STATUS_OUT_OF_ORDER, DELIVERY_KEPT);
    reply(&s, 2, STATUS_OUT_OF_ORDER, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, ""); /* backing off */
    uint64_t at = delivery_deadline(&s.delivery);
    assert_in_range(at, s.now + DELIVERY_BACKOFF_MIN_MS / 2, s.now + DELIVERY_BACKOFF_MIN_MS);
    s.now = at;
    run(&s);
    assert_string_equal(s.log, "send 0=0.0, send 1=0.10, send 2=0.20");
    assert_int_equal(s.delivery.epoch, 0);
}

static void after_two_rounds_without_success_one_batch_asks(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 3);
    for (int round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            reply(&s, i, STATUS_NO_QUORUM, DELIVERY_KEPT);
        }
        run(&s);
        s.now = delivery_deadline(&s.delivery);
        run(&s);
    }
    assert_string_equal(s.log, "send 0=0.0");
    reply(&s, 0, STATUS_OK, DELIVERY_ACKED);
    run(&s);
    assert_string_equal(s.log, "send 1=0.10, send 2=0.20");
}

static void a_new_leader_gets_all_at_once_without_waiting_for_the_old(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    delivery_route(&s.delivery, 2);
    run(&s);
    assert_string_equal(s.log, "cancel 0, cancel 1");
    reply(&s, 0, STATUS_CANCELLED, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, "");
    reply(&s, 1, STATUS_CANCELLED, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, "send 0=0.0, send 1=0.10");
}

static void an_answer_of_the_old_leader_still_counts(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    delivery_route(&s.delivery, 2);
    run(&s);
    reply(&s, 0, STATUS_OK, DELIVERY_ACKED);
    reply(&s, 1, STATUS_CANCELLED, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, "send 1=0.10");
}

static void an_oldest_batch_out_of_time_fails_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    s.now = 10000;
    run(&s);
    assert_string_equal(s.log, "cancel 0");
    reply(&s, 0, STATUS_CANCELLED, DELIVERY_KEPT);
    run(&s);
    assert_string_equal(s.log, "fail 0 UNCERTAIN");
    reply(&s, 1, STATUS_OK, DELIVERY_ACKED);
}

static void a_batch_that_never_left_fails_as_timeout_without_a_gap(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 0);
    delivery_route(&s.delivery, 0);
    for (unsigned i = 0; i < 2; i++) {
        s.batch[i] = (struct delivery_batch){.count = 10, .deadline_ms = 2000 + i * 1000};
        delivery_add(&s.delivery, &s.batch[i]);
    }
    assert_int_equal(delivery_deadline(&s.delivery), 2000);
    s.now = 2000;
    run(&s);
    assert_string_equal(s.log, "fail 0 TIMEOUT");
    delivery_route(&s.delivery, 1);
    run(&s);
    assert_string_equal(s.log, "send 1=0.0");
}

static void a_gap_at_the_oldest_starts_a_new_epoch(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 3);
    reply(&s, 0, STATUS_TOO_LARGE, DELIVERY_FAILED);
    reply(&s, 1, STATUS_OUT_OF_ORDER, DELIVERY_KEPT);
    reply(&s, 2, STATUS_OUT_OF_ORDER, DELIVERY_KEPT);
    run(&s);
    s.now += DELIVERY_BACKOFF_MIN_MS;
    run(&s);
    assert_string_equal(s.log, "send 1=1.0, send 2=1.10");
}

static void a_forgotten_producer_goes_on_under_a_new_epoch(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    s.batch[0].sequence = 500; /* long ago there were others */
    reply(&s, 0, STATUS_UNKNOWN_PRODUCER, DELIVERY_KEPT);
    reply(&s, 1, STATUS_UNKNOWN_PRODUCER, DELIVERY_KEPT);
    s.now += DELIVERY_BACKOFF_MIN_MS;
    run(&s);
    assert_string_equal(s.log, "send 0=1.0, send 1=1.10");
}

static void an_unknown_producer_behind_a_lost_first_batch_is_only_a_gap(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    reply(&s, 1, STATUS_UNKNOWN_PRODUCER, DELIVERY_KEPT);
    reply(&s, 0, STATUS_BUSY, DELIVERY_KEPT);
    s.now += DELIVERY_BACKOFF_MIN_MS;
    run(&s);
    assert_string_equal(s.log, "send 0=0.0, send 1=0.10");
}

static void what_may_be_stored_is_never_numbered_anew(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 2);
    reply(&s, 0, STATUS_UNCERTAIN, DELIVERY_KEPT);
    reply(&s, 1, STATUS_BUSY, DELIVERY_KEPT);
    s.now += DELIVERY_BACKOFF_MIN_MS;
    run(&s);
    assert_string_equal(s.log, "send 0=0.0, send 1=0.10");
    reply(&s, 0, STATUS_UNKNOWN_PRODUCER, DELIVERY_KEPT);
    reply(&s, 1, STATUS_UNKNOWN_PRODUCER, DELIVERY_KEPT);
    s.now += 1000;
    run(&s);
    assert_string_equal(s.log, "fail 0 UNCERTAIN, send 1=1.0");
}

static void a_final_refusal_says_whether_it_may_be_stored(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 1);
    reply(&s, 0, STATUS_UNCERTAIN, DELIVERY_KEPT);
    s.now += DELIVERY_BACKOFF_MIN_MS;
    run(&s);
    reply(&s, 0, STATUS_DENIED, DELIVERY_FAILED);
    assert_true(s.batch[0].maybe);
    assert_true(delivery_idle(&s.delivery));
}

static void abandoning_ends_everything(void **state)
{
    (void)state;
    struct scene s;
    begin(&s, 5);
    delivery_abandon(&s.delivery);
    run(&s);
    assert_string_equal(s.log, "cancel 0, cancel 1, cancel 2");
    for (unsigned i = 0; i < 3; i++) {
        reply(&s, i, i == 0 ? STATUS_OK : STATUS_CANCELLED,
              i == 0 ? DELIVERY_ACKED : DELIVERY_KEPT);
    }
    run(&s);
    assert_string_equal(s.log,
                        "fail 1 UNCERTAIN, fail 2 UNCERTAIN, fail 3 TIMEOUT, fail 4 TIMEOUT");
    assert_true(delivery_idle(&s.delivery));
}

/* ---- a broker at random -------------------------------------------------------------------- */

enum { WORLD_BATCHES = 60, WORLD_LOG = 4096 };

struct stored {
    unsigned index;
    uint16_t epoch;
    uint32_t sequence;
};

/* One shard: what is committed, what only the present leader has, and what is between us. */
struct world {
    struct rng rng;
    struct delivery delivery;
    struct delivery_batch batch[WORLD_BATCHES];
    struct stored log[WORLD_LOG];
    unsigned log_count, committed;
    struct message {
        struct stored as;
        bool given_up; /* it arrives, but nobody waits for the answer */
    } sent[256];       /* on the wire to the leader, in order */
    unsigned sent_count;
    int outcome[WORLD_BATCHES]; /* 0 none, 1 acknowledged, 2 failed surely, 3 uncertain */
    uint64_t now, route;
    bool forgetful; /* brokers forget producers now and then */
    bool forgot;
};

static enum status check(const struct world *w, const struct stored *batch)
{
    if (w->log_count == 0 || w->forgot) {
        return batch->sequence == 0 ? STATUS_OK : STATUS_UNKNOWN_PRODUCER;
    }
    const struct stored *last = &w->log[w->log_count - 1];
    if (batch->epoch != last->epoch) {
        return batch->epoch < last->epoch ? STATUS_PRODUCER_FENCED
               : batch->sequence == 0     ? STATUS_OK
                                          : STATUS_OUT_OF_ORDER;
    }
    if (batch->sequence == last->sequence + 1) {
        return STATUS_OK;
    }
    for (unsigned i = w->log_count; i-- > 0 && w->log[i].epoch == batch->epoch;) {
        if (w->log[i].sequence == batch->sequence) {
            return STATUS_EXISTS;
        }
    }
    return STATUS_OUT_OF_ORDER;
}

static void answer(struct world *w, unsigned index, enum status status)
{
    switch (delivery_reply(&w->delivery, &w->batch[index], status, w->now)) {
    case DELIVERY_ACKED:
        w->outcome[index] = 1;
        break;
    case DELIVERY_FAILED:
        w->outcome[index] = w->batch[index].maybe ? 3 : 2;
        break;
    case DELIVERY_KEPT:
        break;
    }
}

/* The leader takes the oldest message on the wire. */
static void broker_turn(struct world *w)
{
    struct message message = w->sent[0];
    w->sent_count--;
    memmove(w->sent, w->sent + 1, w->sent_count * sizeof(w->sent[0]));
    enum status status = rng_once_in(&w->rng, 12) ? STATUS_BUSY : check(w, &message.as);
    if (status == STATUS_OK) {
        assert_true(w->log_count < WORLD_LOG);
        w->log[w->log_count++] = message.as;
        w->forgot = false;
    }
    if (status == STATUS_OK || status == STATUS_EXISTS) {
        if (rng_once_in(&w->rng, 15)) {
            status = STATUS_UNCERTAIN; /* stored here; will it be committed? */
        } else {
            w->committed = w->log_count;
            status = STATUS_OK;
        }
    }
    if (!message.given_up) {
        answer(w, message.as.index, status);
    }
}

/* A producer that is forgotten while its very first batch is being retried could only be caught by
 * a longer memory of the brokers: they keep theirs for a day, a batch is retried for minutes. */
static bool may_forget(const struct world *w)
{
    LIST_FOR_EACH (node, &w->delivery.queue) {
        const struct delivery_batch *batch = CONTAINER_OF(node, struct delivery_batch, node);
        if (batch->numbered && batch->sequence == 0) {
            return false;
        }
    }
    return w->forgetful;
}

static void new_leader(struct world *w)
{
    w->log_count = (unsigned)rng_between(&w->rng, w->committed, w->log_count);
    w->committed = w->log_count;
    for (unsigned i = 0; i < w->sent_count; i++) { /* the old one's connection is gone */
        if (!w->sent[i].given_up) {
            answer(w, w->sent[i].as.index, STATUS_UNCERTAIN);
        }
    }
    w->sent_count = 0;
    if (may_forget(w) && rng_once_in(&w->rng, 2)) {
        w->forgot = true;
    }
    delivery_route(&w->delivery, rng_once_in(&w->rng, 3) ? 0 : ++w->route);
}

static void client_turn(struct world *w)
{
    struct delivery_effect effect;
    while (delivery_next(&w->delivery, w->now, &effect)) {
        unsigned index = (unsigned)(effect.batch - w->batch);
        switch (effect.type) {
        case DELIVERY_DO_SEND:
            assert_true(w->sent_count < 256);
            w->sent[w->sent_count++] = (struct message){
                .as = {index, effect.batch->epoch, effect.batch->sequence}
            };
            break;
        case DELIVERY_DO_CANCEL:
            for (unsigned i = 0; i < w->sent_count; i++) {
                w->sent[i].given_up |= w->sent[i].as.index == index;
            }
            answer(w, index, STATUS_CANCELLED);
            break;
        case DELIVERY_DO_FAIL:
            w->outcome[index] = effect.status == STATUS_UNCERTAIN ? 3 : 2;
            break;
        }
    }
}

static void expect_exactly_once_and_in_order(const struct world *w)
{
    unsigned times[WORLD_BATCHES] = {0};
    int last = -1;
    for (unsigned i = 0; i < w->log_count; i++) {
        times[w->log[i].index]++;
        assert_true((int)w->log[i].index > last);
        last = (int)w->log[i].index;
    }
    for (unsigned i = 0; i < WORLD_BATCHES; i++) {
        assert_int_not_equal(w->outcome[i], 0);
        assert_true(times[i] <= 1);
        assert_true(w->outcome[i] != 1 || times[i] == 1);
        assert_true(w->outcome[i] != 2 || times[i] == 0);
    }
}

static void world_run(uint64_t seed, bool forgetful, bool short_of_time, unsigned *out_acked)
{
    static struct world w;
    w = (struct world){.now = 1000, .forgetful = forgetful};
    rng_init(&w.rng, seed);
    delivery_init(&w.delivery, 8, &w.rng);
    delivery_route(&w.delivery, ++w.route);
    unsigned added = 0;
    for (int turn = 0; turn < 20000 && (added < WORLD_BATCHES || !delivery_idle(&w.delivery));
         turn++) {
        if (added < WORLD_BATCHES && rng_once_in(&w.rng, 2)) {
            w.batch[added] = (struct delivery_batch){
                .count = 1, .deadline_ms = w.now + (short_of_time ? 40 : 1000000)};
            delivery_add(&w.delivery, &w.batch[added++]);
        }
        client_turn(&w);
        if (w.sent_count > 0 && !rng_once_in(&w.rng, 4)) {
            broker_turn(&w);
        }
        if (rng_once_in(&w.rng, 25) || (w.delivery.route == 0 && rng_once_in(&w.rng, 3))) {
            new_leader(&w);
        }
        w.now += rng_below(&w.rng, 5);
    }
    assert_true(delivery_idle(&w.delivery));
    expect_exactly_once_and_in_order(&w);
    for (unsigned i = 0; i < WORLD_BATCHES; i++) {
        *out_acked += w.outcome[i] == 1;
    }
}

static void every_batch_is_stored_once_and_in_order_whatever_fails(void **state)
{
    (void)state;
    unsigned acked = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        world_run(seed, false, false, &acked);
    }
    assert_int_equal(acked, 2000 * WORLD_BATCHES); /* time and memory enough: all get there */
}

static void batches_out_of_time_are_reported_truly(void **state)
{
    (void)state;
    unsigned acked = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        world_run(seed, false, true, &acked);
    }
    assert_in_range(acked, 2000 * WORLD_BATCHES / 4, 2000 * WORLD_BATCHES - 1);
}

static void forgotten_producers_cost_certainty_but_never_a_duplicate(void **state)
{
    (void)state;
    unsigned acked = 0;
    for (uint64_t seed = 0; seed < 2000; seed++) {
        world_run(seed, true, seed % 2 == 0, &acked);
    }
    assert_in_range(acked, 2000 * WORLD_BATCHES / 4, 2000 * WORLD_BATCHES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_go_in_order_up_to_the_window),
        cmocka_unit_test(nothing_goes_without_a_route),
        cmocka_unit_test(a_refusal_sends_all_again_from_the_oldest_with_the_same_numbers),
        cmocka_unit_test(after_two_rounds_without_success_one_batch_asks),
        cmocka_unit_test(a_new_leader_gets_all_at_once_without_waiting_for_the_old),
        cmocka_unit_test(an_answer_of_the_old_leader_still_counts),
        cmocka_unit_test(an_oldest_batch_out_of_time_fails_and_the_rest_goes_on),
        cmocka_unit_test(a_batch_that_never_left_fails_as_timeout_without_a_gap),
        cmocka_unit_test(a_gap_at_the_oldest_starts_a_new_epoch),
        cmocka_unit_test(a_forgotten_producer_goes_on_under_a_new_epoch),
        cmocka_unit_test(an_unknown_producer_behind_a_lost_first_batch_is_only_a_gap),
        cmocka_unit_test(what_may_be_stored_is_never_numbered_anew),
        cmocka_unit_test(a_final_refusal_says_whether_it_may_be_stored),
        cmocka_unit_test(abandoning_ends_everything),
        cmocka_unit_test(every_batch_is_stored_once_and_in_order_whatever_fails),
        cmocka_unit_test(batches_out_of_time_are_reported_truly),
        cmocka_unit_test(forgotten_producers_cost_certainty_but_never_a_duplicate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
