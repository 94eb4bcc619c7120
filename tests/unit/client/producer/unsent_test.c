/* Batches that may still be given up, and leaders that ask for less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/producer/batcher.h"
#include "client/producer/delivery.h"

static struct rng rng;

static void queue(struct delivery *delivery, struct delivery_batch *batches, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        batches[i] = (struct delivery_batch){.count = 1, .deadline_ms = 100000};
        delivery_add(delivery, &batches[i]);
    }
}

static uint32_t send_all(struct delivery *delivery, uint64_t now_ms)
{
    struct delivery_effect effect;
    uint32_t sent = 0;
    while (delivery_next(delivery, now_ms, &effect)) {
        assert_int_equal(effect.type, DELIVERY_DO_SEND);
        sent++;
    }
    return sent;
}

static void what_has_a_number_must_be_sent(void **state)
{
    (void)state;
    struct delivery delivery;
    struct delivery_batch batches[5];
    delivery_init(&delivery, 2, &rng);
    queue(&delivery, batches, 5);
    assert_ptr_equal(delivery_unsent(&delivery, NULL), &batches[0]);
    delivery_route(&delivery, 1);
    assert_int_equal(send_all(&delivery, 10), 2);
    assert_ptr_equal(delivery_unsent(&delivery, NULL), &batches[2]);
    assert_ptr_equal(delivery_unsent(&delivery, &batches[2]), &batches[3]);
    delivery_drop(&delivery, &batches[2]);
    assert_ptr_equal(delivery_unsent(&delivery, NULL), &batches[3]);

    /* Refused ones keep their numbers; those behind them have none yet. */
    assert_int_equal(delivery_reply(&delivery, &batches[0], STATUS_BUSY, 20), DELIVERY_KEPT);
    assert_int_equal(delivery_reply(&delivery, &batches[1], STATUS_OUT_OF_ORDER, 20),
                     DELIVERY_KEPT);
    assert_ptr_equal(delivery_unsent(&delivery, NULL), &batches[3]);
    delivery_drop(&delivery, &batches[3]);
    assert_int_equal(send_all(&delivery, 5000), 2);
    assert_int_equal(delivery_reply(&delivery, &batches[0], STATUS_OK, 5001), DELIVERY_ACKED);
    assert_int_equal(delivery_reply(&delivery, &batches[1], STATUS_OK, 5001), DELIVERY_ACKED);
    assert_int_equal(send_all(&delivery, 5002), 1);
    assert_int_equal(batches[4].sequence, 2); /* no gap where others were dropped */
    assert_null(delivery_unsent(&delivery, NULL));
}

static void a_paced_delivery_waits_and_goes_on_by_itself(void **state)
{
    (void)state;
    struct delivery delivery;
    struct delivery_batch batches[3];
    delivery_init(&delivery, 8, &rng);
    delivery_route(&delivery, 1);
    queue(&delivery, batches, 1);
    assert_int_equal(send_all(&delivery, 10), 1);
    assert_true(delivery_has_room(&delivery));
    delivery_pace(&delivery, 60);
    delivery_pace(&delivery, 40); /* the later one holds */
    assert_false(delivery_has_room(&delivery));
    queue(&delivery, &batches[1], 2);
    assert_int_equal(send_all(&delivery, 59), 0);
    assert_int_equal(delivery_deadline(&delivery), 60);
    assert_int_equal(send_all(&delivery, 60), 2);
    assert_true(delivery_has_room(&delivery));
}

static void a_batch_is_full_by_its_records_too(void **state)
{
    (void)state;
    struct batcher batcher;
    struct batcher_batch first, second;
    batcher_init(&batcher, &(struct batcher_limits){.batch_bytes = 1000, .batch_records = 2});
    batcher_batch_init(&first);
    batcher_batch_init(&second);
    struct record record = {.key = bytes_of("k", 1), .data = bytes_of("d", 1)};
    bool news = false;
    assert_int_equal(batcher_add(&batcher, &record, (struct batcher_token){0}, 1, &first, &news),
                     STATUS_OK);
    assert_int_equal(batcher_add(&batcher, &record, (struct batcher_token){0}, 1, NULL, &news),
                     STATUS_OK);
    assert_true(news);
    assert_true(batcher_needs_batch(&batcher, &record, 1));
    assert_ptr_equal(batcher_take(&batcher, 1, false, false, false), &first);
    batcher_batch_release(&first);
    batcher_batch_release(&second);
}

static void a_quiet_batch_waits_for_more_when_it_is_told_to(void **state)
{
    (void)state;
    struct batcher batcher;
    struct batcher_batch batch;
    const struct batcher_limits limits = {
        .batch_bytes = 1000, .batch_records = 100, .linger_ms = 20, .gather_ms = 10};
    batcher_init(&batcher, &limits);
    batcher_batch_init(&batch);
    struct record record = {.key = bytes_of("k", 1), .data = bytes_of("d", 1)};
    bool news;
    assert_int_equal(batcher_add(&batcher, &record, (struct batcher_token){0}, 100, &batch, &news),
                     STATUS_OK);
    assert_int_equal(batcher_deadline(&batcher, true), 110);
    assert_int_equal(batcher_deadline(&batcher, false), 120);
    assert_null(batcher_take(&batcher, 109, true, true, false));
    assert_null(batcher_take(&batcher, 110, false, true, false));
    assert_ptr_equal(batcher_take(&batcher, 110, true, true, false), &batch);
    batcher_batch_release(&batch);
}

int main(void)
{
    rng_init(&rng, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_a_number_must_be_sent),
        cmocka_unit_test(a_paced_delivery_waits_and_goes_on_by_itself),
        cmocka_unit_test(a_batch_is_full_by_its_records_too),
        cmocka_unit_test(a_quiet_batch_waits_for_more_when_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
