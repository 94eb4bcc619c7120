/* Gathering records into batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/producer/batcher.h"

static const struct batcher_limits limits = {.batch_bytes = 1000,
                                             .batch_records = BATCH_RECORDS_MAX,
                                             .linger_ms = 5};

static struct record record_of(const char *key, size_t size)
{
    static uint8_t zeros[BATCH_PAYLOAD_MAX];
    return (struct record){.key = bytes_of_string(key), .data = bytes_of(zeros, size)};
}

/* Puts a record in, with a new batch where one is needed. Returns the news. */
static bool put(struct batcher *batcher, size_t size, uint64_t now, uintptr_t context)
{
    struct record record = record_of("k", size);
    struct batcher_batch *fresh = NULL;
    if (batcher_needs_batch(batcher, &record, now)) {
        fresh = malloc(sizeof(*fresh));
        batcher_batch_init(fresh);
    }
    struct batcher_token token = {.context = (void *)context};
    bool news = false;
    assert_int_equal(batcher_add(batcher, &record, token, now, fresh, &news), STATUS_OK);
    return news;
}

static uint32_t drop(struct batcher_batch *batch)
{
    uint32_t count = batch->builder.count;
    batcher_batch_release(batch);
    free(batch);
    return count;
}

static void a_record_goes_at_once_when_nothing_is_on_its_way(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    assert_null(batcher_take(&batcher, 0, true, true, true));
    assert_true(put(&batcher, 10, 100, 1));
    struct batcher_batch *batch = batcher_take(&batcher, 100, true, true, false);
    assert_non_null(batch);
    assert_ptr_equal(batch->tokens[0].context, (void *)1);
    assert_int_equal(drop(batch), 1);
    assert_true(batcher_deadline(&batcher, false) == UINT64_MAX);
}

static void records_gather_while_others_are_on_their_way(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    assert_true(put(&batcher, 10, 100, 1));
    assert_false(put(&batcher, 10, 101, 2));
    assert_null(batcher_take(&batcher, 104, false, true, false));
    assert_int_equal(batcher_deadline(&batcher, false), 105);
    assert_null(batcher_take(&batcher, 105, false, false, false)); /* no room */
    struct batcher_batch *batch = batcher_take(&batcher, 105, false, true, false);
    assert_int_equal(drop(batch), 2);
}

static void a_flush_does_not_wait_for_more(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    put(&batcher, 10, 100, 1);
    assert_int_equal(drop(batcher_take(&batcher, 100, false, true, true)), 1);
}

static void a_full_batch_goes_though_others_are_on_their_way(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    assert_true(put(&batcher, 500, 100, 1));
    assert_true(put(&batcher, 500, 100, 2)); /* full: news */
    assert_true(put(&batcher, 500, 100, 3)); /* the first of another */
    assert_int_equal(drop(batcher_take(&batcher, 100, false, false, false)), 2);
    assert_null(batcher_take(&batcher, 100, false, false, false));
    assert_int_equal(drop(batcher_take(&batcher, 105, false, true, false)), 1);
}

static void a_batch_does_not_gather_for_longer_than_its_span(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    put(&batcher, 1, 100, 1);
    assert_false(put(&batcher, 1, 100 + BATCHER_SPAN_MS - 1, 2));
    assert_true(put(&batcher, 1, 100 + BATCHER_SPAN_MS, 3));
    assert_int_equal(drop(batcher_take(&batcher, 2000, false, false, false)), 2);
    assert_int_equal(drop(batcher_take(&batcher, 3000, true, true, false)), 1);
}

static void a_record_beyond_the_limits_changes_nothing(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &limits);
    struct record record = record_of("k", RECORD_BYTES_MAX);
    assert_true(batcher_needs_batch(&batcher, &record, 0));
    struct batcher_batch fresh;
    batcher_batch_init(&fresh);
    bool news = false;
    struct batcher_token token = {0};
    assert_int_equal(batcher_add(&batcher, &record, token, 0, &fresh, &news), STATUS_TOO_LARGE);
    struct record no_key = record_of("", 1);
    assert_int_equal(batcher_add(&batcher, &no_key, token, 0, &fresh, &news), STATUS_INVALID);
    assert_null(batcher.open);
    assert_false(news);
    batcher_batch_release(&fresh);
}

static void the_largest_records_take_a_batch_each(void **state)
{
    (void)state;
    struct batcher batcher;
    batcher_init(&batcher, &(struct batcher_limits){.batch_bytes = BATCH_PAYLOAD_MAX,
                                                    .batch_records = BATCH_RECORDS_MAX});
    put(&batcher, RECORD_BYTES_MAX - 1, 100, 1);
    assert_true(put(&batcher, RECORD_BYTES_MAX - 1, 100, 2));
    assert_int_equal(drop(batcher_take(&batcher, 100, false, false, false)), 1);
    assert_int_equal(drop(batcher_take(&batcher, 100, true, true, false)), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_goes_at_once_when_nothing_is_on_its_way),
        cmocka_unit_test(records_gather_while_others_are_on_their_way),
        cmocka_unit_test(a_flush_does_not_wait_for_more),
        cmocka_unit_test(a_full_batch_goes_though_others_are_on_their_way),
        cmocka_unit_test(a_batch_does_not_gather_for_longer_than_its_span),
        cmocka_unit_test(a_record_beyond_the_limits_changes_nothing),
        cmocka_unit_test(the_largest_records_take_a_batch_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
