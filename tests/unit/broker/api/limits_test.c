/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "broker/api/limits.h"
#include "broker/api/slots.h"
#include "proto/wire/batch.h"

enum { SHARD = 7, NOW = 1000000 };

static const struct api_limits config = {.write_bytes = 1000,
                                         .write_records = 10,
                                         .read_bytes = 2000,
                                         .read_calls = 5};

/* A payload of `count` records of `size` bytes with their keys of one byte. */
static struct bytes payload_of(struct batch_builder *b, uint32_t count, size_t size)
{
    static uint8_t data[4096];
    struct record record = {.key = bytes_of("k", 1), .data = bytes_of(data, size - 1)};
    batch_builder_reset(b);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(batch_builder_add(b, &record), STATUS_OK);
    }
    struct bytes batch = batch_builder_finish(b, 0, 0, 0);
    return bytes_of(batch.data + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES);
}

/* Puts and returns how many were refused. */
static uint32_t put_at(struct limits *limits, const struct api_limits *rates, uint64_t now_ms,
                       uint32_t count, size_t size)
{
    struct batch_builder b = {0};
    uint8_t refused[LIMITS_RECORDS_MAX / 8] = {0};
    struct limits_cost cost;
    uint32_t n =
        limits_judge(limits, rates, SHARD, now_ms, payload_of(&b, count, size), refused, &cost);
    limits_spend(limits, rates, SHARD, now_ms, &cost);
    batch_builder_release(&b);
    return n;
}

static uint32_t put(struct limits *limits, uint64_t now_ms, uint32_t count, size_t size)
{
    return put_at(limits, &config, now_ms, count, size);
}

static void a_second_of_records_passes_and_the_next_does_not(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    assert_non_null(limits);
    assert_int_equal(put(limits, NOW, 12, 10), 2);
    assert_int_equal(put(limits, NOW, 1, 10), 1);
    assert_int_equal(put(limits, NOW + 99, 1, 10), 1);
    assert_int_equal(put(limits, NOW + 100, 1, 10), 0);
    assert_int_equal(put(limits, NOW + 5000, 12, 10), 2);
    limits_free(limits);
}

static void records_are_judged_alone(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    struct batch_builder b = {0};
    static uint8_t data[1024];
    const size_t sizes[] = {600, 600, 300};
    batch_builder_reset(&b);
    for (int i = 0; i < 3; i++) {
        struct record record = {.key = bytes_of("k", 1), .data = bytes_of(data, sizes[i] - 1)};
        assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    }
    struct bytes batch = batch_builder_finish(&b, 0, 0, 0);
    struct bytes payload =
        bytes_of(batch.data + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES);
    uint8_t refused[LIMITS_RECORDS_MAX / 8] = {0};
    struct limits_cost cost;
    assert_int_equal(limits_judge(limits, &config, SHARD, NOW, payload, refused, &cost), 1);
    assert_int_equal(refused[0], 2); /* the second alone: the third fits */
    assert_int_equal(cost.bytes, 900);
    assert_int_equal(cost.records, 2);
    batch_builder_release(&b);
    limits_free(limits);
}

static void judging_alone_spends_nothing(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    struct batch_builder b = {0};
    struct limits_cost cost;
    for (int i = 0; i < 3; i++) {
        uint8_t refused[LIMITS_RECORDS_MAX / 8] = {0};
        assert_int_equal(
            limits_judge(limits, &config, SHARD, NOW, payload_of(&b, 10, 10), refused, &cost), 0);
    }
    batch_builder_release(&b);
    limits_free(limits);
}

static void a_record_larger_than_the_bucket_passes_a_full_one_and_leaves_a_debt(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    assert_int_equal(put(limits, NOW, 1, 3000), 0);
    assert_int_equal(put(limits, NOW + 2000, 1, 10), 1);
    assert_int_equal(put(limits, NOW + 2010, 1, 10), 0);
    limits_free(limits);
}

static void shards_have_buckets_of_their_own(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    assert_int_equal(put(limits, NOW, 10, 10), 0);
    for (uint64_t shard = 100; shard < 3000; shard++) {
        assert_true(limits_may_read(limits, &config, shard, NOW, true));
    }
    assert_int_equal(put(limits, NOW, 1, 10), 1);
    limits_free(limits);
}

static void five_calls_a_second(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    for (int i = 0; i < 5; i++) {
        assert_true(limits_may_read(limits, &config, SHARD, NOW, true));
    }
    assert_false(limits_may_read(limits, &config, SHARD, NOW, true));
    assert_true(limits_may_read(limits, &config, SHARD, NOW, false)); /* continues one */
    assert_true(limits_may_read(limits, &config, SHARD, NOW + 200, true));
    assert_false(limits_may_read(limits, &config, SHARD, NOW + 399, true));
    limits_free(limits);
}

static void a_large_reply_blocks_the_seconds_that_it_was_worth(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    assert_true(limits_may_read(limits, &config, SHARD, NOW, true));
    limits_spend_read(limits, &config, SHARD, NOW, 12000);
    assert_false(limits_may_read(limits, &config, SHARD, NOW + 5000, true));
    assert_true(limits_may_read(limits, &config, SHARD, NOW + 5001, true));
    limits_free(limits);
}

static void no_limit_is_no_limit(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    const struct api_limits none = {0};
    assert_int_equal(put_at(limits, &none, NOW, 500, 4000), 0);
    assert_int_equal(put_at(limits, &none, NOW, 500, 4000), 0);
    for (int i = 0; i < 100; i++) {
        assert_true(limits_may_iterate(limits, &none, SHARD, NOW));
    }
    for (int i = 0; i < 100; i++) {
        assert_true(limits_may_read(limits, &none, SHARD, NOW, true));
        limits_spend_read(limits, &none, SHARD, NOW, 1 << 30);
    }
    limits_free(limits);
}

static void five_iterators_a_second(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    const struct api_limits rates = {.iterator_calls = 5};
    for (int i = 0; i < 5; i++) {
        assert_true(limits_may_iterate(limits, &rates, SHARD, NOW));
    }
    assert_false(limits_may_iterate(limits, &rates, SHARD, NOW));
    assert_true(limits_may_iterate(limits, &rates, SHARD + 1, NOW));
    assert_true(limits_may_iterate(limits, &rates, SHARD, NOW + 200));
    assert_false(limits_may_iterate(limits, &rates, SHARD, NOW + 399));
    limits_free(limits);
}

static void a_stream_whose_limits_change_has_the_new_ones_at_once(void **state)
{
    (void)state;
    struct limits *limits = limits_new();
    const struct api_limits wide = {.write_records = 100}, narrow = {.write_records = 2};
    const struct api_limits reads = {.write_records = 2, .read_calls = 2};
    assert_int_equal(put_at(limits, &wide, NOW, 50, 10), 0);
    assert_int_equal(put_at(limits, &narrow, NOW + 1, 50, 10), 48);
    assert_int_equal(put_at(limits, &wide, NOW + 1001, 150, 10), 50);
    assert_true(limits_may_read(limits, &reads, SHARD, NOW + 1002, true)); /* a new one is full */
    assert_true(limits_may_read(limits, &reads, SHARD, NOW + 1002, true));
    assert_false(limits_may_read(limits, &reads, SHARD, NOW + 1002, true));
    limits_free(limits);
}

/* ---- subscriptions ---- */

static void a_second_subscription_waits_five_seconds_and_then_wins(void **state)
{
    (void)state;
    struct slots *slots = slots_new();
    assert_int_equal(slots_begin(slots, SHARD, 1, 11, NOW), STATUS_OK);
    assert_int_equal(slots_begin(slots, SHARD, 1, 12, NOW + 4999), STATUS_IN_USE);
    assert_int_equal(slots_check(slots, SHARD, 1, 11, NOW + 4999), STATUS_OK);
    assert_int_equal(slots_begin(slots, SHARD, 1, 12, NOW + 5000), STATUS_OK);
    assert_int_equal(slots_check(slots, SHARD, 1, 11, NOW + 5001), STATUS_IN_USE);
    assert_int_equal(slots_check(slots, SHARD, 1, 12, NOW + 5001), STATUS_OK);
    slots_free(slots);
}

static void a_subscription_that_ends_frees_its_place(void **state)
{
    (void)state;
    struct slots *slots = slots_new();
    assert_int_equal(slots_begin(slots, SHARD, 1, 11, NOW), STATUS_OK);
    slots_end(slots, SHARD, 1, 99); /* not its own */
    assert_int_equal(slots_begin(slots, SHARD, 1, 12, NOW), STATUS_IN_USE);
    slots_end(slots, SHARD, 1, 11);
    assert_int_equal(slots_begin(slots, SHARD, 1, 12, NOW), STATUS_OK);
    slots_free(slots);
}

static void a_retry_of_the_beginning_is_the_same_subscription(void **state)
{
    (void)state;
    struct slots *slots = slots_new();
    assert_int_equal(slots_begin(slots, SHARD, 1, 11, NOW), STATUS_OK);
    assert_int_equal(slots_begin(slots, SHARD, 1, 11, NOW + 1), STATUS_OK);
    slots_free(slots);
}

static void a_new_leader_takes_who_reads_first(void **state)
{
    (void)state;
    struct slots *slots = slots_new();
    assert_int_equal(slots_check(slots, SHARD, 1, 11, NOW), STATUS_OK);
    assert_int_equal(slots_check(slots, SHARD, 1, 12, NOW), STATUS_IN_USE);
    slots_free(slots);
}

static void many_consumers_do_not_disturb_each_other(void **state)
{
    (void)state;
    struct slots *slots = slots_new();
    for (uint64_t c = 1; c < 2000; c++) {
        assert_int_equal(slots_begin(slots, SHARD, c, c + 5000, NOW), STATUS_OK);
    }
    for (uint64_t c = 1; c < 2000; c++) {
        assert_int_equal(slots_check(slots, SHARD, c, c + 5000, NOW), STATUS_OK);
        assert_int_equal(slots_begin(slots, SHARD, c, 1, NOW), STATUS_IN_USE);
    }
    slots_free(slots);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_of_records_passes_and_the_next_does_not),
        cmocka_unit_test(records_are_judged_alone),
        cmocka_unit_test(judging_alone_spends_nothing),
        cmocka_unit_test(a_record_larger_than_the_bucket_passes_a_full_one_and_leaves_a_debt),
        cmocka_unit_test(shards_have_buckets_of_their_own),
        cmocka_unit_test(five_calls_a_second),
        cmocka_unit_test(a_large_reply_blocks_the_seconds_that_it_was_worth),
        cmocka_unit_test(no_limit_is_no_limit),
        cmocka_unit_test(five_iterators_a_second),
        cmocka_unit_test(a_stream_whose_limits_change_has_the_new_ones_at_once),
        cmocka_unit_test(a_second_subscription_waits_five_seconds_and_then_wins),
        cmocka_unit_test(a_subscription_that_ends_frees_its_place),
        cmocka_unit_test(a_retry_of_the_beginning_is_the_same_subscription),
        cmocka_unit_test(a_new_leader_takes_who_reads_first),
        cmocka_unit_test(many_consumers_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
