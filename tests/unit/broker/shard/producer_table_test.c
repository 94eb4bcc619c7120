#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/shard/producer_table.h"

static struct batch_header batch(uint64_t id, uint16_t epoch, uint32_t seq, uint32_t count,
                                 uint64_t base)
{
    return (struct batch_header){.producer_id = id,
                                 .producer_epoch = epoch,
                                 .producer_seq = seq,
                                 .count = count,
                                 .base_offset = base,
                                 .append_ms = 1000000};
}

static enum status check(struct producer_table *t, struct batch_header h, uint64_t commit,
                         uint64_t *original)
{
    return producer_table_check(t, &h, commit, original);
}

static void add(struct producer_table *t, struct batch_header h)
{
    assert_int_equal(producer_table_add(t, &h), STATUS_OK);
}

static void a_producer_begins_at_zero_and_goes_on_without_a_gap(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 77;
    assert_int_equal(check(t, batch(5, 0, 3, 1, 0), 0, &original), STATUS_UNKNOWN_PRODUCER);
    assert_int_equal(check(t, batch(5, 0, 0, 2, 0), 0, &original), STATUS_OK);
    add(t, batch(5, 0, 0, 2, 100));
    assert_int_equal(check(t, batch(5, 0, 3, 1, 0), 0, &original), STATUS_OUT_OF_ORDER);
    assert_int_equal(check(t, batch(5, 0, 2, 1, 0), 0, &original), STATUS_OK);
    assert_int_equal(original, 77);
    producer_table_free(t);
}

static void a_retry_gets_the_offset_of_the_original(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    for (uint32_t i = 0; i < 64; i++) {
        add(t, batch(5, 0, i * 2, 2, 100 + i * 3));
    }
    for (uint32_t i = 0; i < 64; i++) {
        uint64_t original = 0;
        assert_int_equal(check(t, batch(5, 0, i * 2, 2, 0), 1000, &original), STATUS_EXISTS);
        assert_int_equal(original, 100 + i * 3);
        struct batch_header retry = batch(5, 0, i * 2, 2, 0);
        assert_int_equal(producer_table_original_ms(t, &retry), 1000000);
    }
    uint64_t original = 0;
    assert_int_equal(check(t, batch(5, 0, 1, 2, 0), 1000, &original), STATUS_OUT_OF_ORDER);
    producer_table_free(t);
}

static void a_newer_epoch_fences_the_older_one(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 0;
    add(t, batch(5, 1, 0, 1, 0));
    assert_int_equal(check(t, batch(5, 2, 1, 1, 0), 9, &original), STATUS_OUT_OF_ORDER);
    assert_int_equal(check(t, batch(5, 2, 0, 1, 0), 9, &original), STATUS_OK);
    add(t, batch(5, 2, 0, 1, 1));
    assert_int_equal(check(t, batch(5, 1, 1, 1, 0), 9, &original), STATUS_PRODUCER_FENCED);
    producer_table_free(t);
}

static void truncation_takes_back_batches_and_epochs(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 0;
    add(t, batch(5, 0, 0, 1, 0));
    add(t, batch(5, 0, 1, 1, 1));
    add(t, batch(5, 1, 0, 1, 2));
    add(t, batch(6, 0, 0, 1, 3));
    producer_table_truncate(t, 2);
    assert_int_equal(producer_table_count(t), 1);
    assert_int_equal(check(t, batch(5, 0, 1, 1, 0), 9, &original), STATUS_EXISTS);
    assert_int_equal(check(t, batch(5, 0, 2, 1, 0), 9, &original), STATUS_OK);
    assert_int_equal(check(t, batch(6, 0, 0, 1, 0), 9, &original), STATUS_OK);
    producer_table_truncate(t, 0);
    assert_int_equal(producer_table_count(t), 0);
    producer_table_free(t);
}

static void what_is_not_committed_is_bounded_so_that_roll_back_is_exact(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 0;
    uint32_t seq = 0;
    for (; seq < 500; seq++) {
        add(t, batch(5, 0, seq, 1, seq));
    }
    for (uint32_t i = 0; i < PRODUCER_UNCOMMITTED_MAX; i++, seq++) {
        assert_int_equal(check(t, batch(5, 0, seq, 1, 0), 500, &original), STATUS_OK);
        add(t, batch(5, 0, seq, 1, seq));
    }
    assert_int_equal(check(t, batch(5, 0, seq, 1, 0), 500, &original), STATUS_BUSY);
    assert_int_equal(check(t, batch(5, 0, seq, 1, 0), 501, &original), STATUS_OK);
    producer_table_truncate(t, 500);
    assert_int_equal(check(t, batch(5, 0, 500, 1, 0), 500, &original), STATUS_OK);
    assert_int_equal(check(t, batch(5, 0, 499, 1, 0), 500, &original), STATUS_EXISTS);
    assert_int_equal(original, 499);
    producer_table_free(t);
}

static void sequences_wrap(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 0;
    add(t, batch(5, 0, UINT32_MAX, 2, 10));
    assert_int_equal(check(t, batch(5, 0, 1, 1, 0), 99, &original), STATUS_OK);
    assert_int_equal(check(t, batch(5, 0, 2, 1, 0), 99, &original), STATUS_OUT_OF_ORDER);
    producer_table_free(t);
}

static void the_longest_silent_goes_first(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    uint64_t original = 0;
    for (uint64_t id = 1; id <= PRODUCERS_MAX; id++) {
        add(t, batch(id, 0, 0, 1, id));
    }
    add(t, batch(1, 0, 1, 1, 20000)); /* 1 speaks again, so 2 is the silent one */
    add(t, batch(PRODUCERS_MAX + 1, 0, 0, 1, 20001));
    assert_int_equal(producer_table_count(t), PRODUCERS_MAX);
    assert_int_equal(check(t, batch(2, 0, 1, 1, 0), 30000, &original), STATUS_UNKNOWN_PRODUCER);
    assert_int_equal(check(t, batch(1, 0, 2, 1, 0), 30000, &original), STATUS_OK);
    struct batch_header later = batch(7, 0, 1, 1, 20002);
    later.append_ms += PRODUCER_EXPIRY_MS + 1;
    add(t, later);
    assert_int_equal(producer_table_count(t), 1); /* a day of the log's time later */
    producer_table_free(t);
}

static void it_survives_encoding(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    for (uint64_t id = 1; id <= 40; id++) {
        for (uint32_t seq = 0; seq < id * 5; seq++) {
            add(t, batch(id, 3, seq, 1, id * 1000 + seq));
        }
    }
    struct buf buf = {0};
    assert_int_equal(producer_table_encode(t, UINT64_MAX, &buf), STATUS_OK);
    struct producer_table *u = producer_table_new();
    assert_int_equal(producer_table_decode(u, buf_bytes(&buf)), STATUS_OK);
    uint64_t original = 0;
    for (uint64_t id = 1; id <= 40; id++) {
        uint32_t last = (uint32_t)(id * 5 - 1);
        assert_int_equal(check(u, batch(id, 3, last, 1, 0), 99999, &original), STATUS_EXISTS);
        assert_int_equal(original, id * 1000 + last);
    }
    struct buf again = {0};
    assert_int_equal(producer_table_encode(u, UINT64_MAX, &again), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&buf), buf_bytes(&again)));
    for (size_t cut = 0; cut < buf.size; cut += 7) {
        assert_int_equal(producer_table_decode(u, bytes_of(buf.data, cut)), STATUS_CORRUPT);
        assert_int_equal(producer_table_count(u), 0);
    }
    buf_release(&again);
    buf_release(&buf);
    producer_table_free(u);
    producer_table_free(t);
}

/* A snapshot at an offset and the batches above it give what the whole log gives. */
static void a_snapshot_below_an_offset_leaves_out_what_lies_above(void **state)
{
    (void)state;
    struct producer_table *t = producer_table_new();
    for (uint32_t seq = 0; seq < 20; seq++) {
        add(t, batch(1, 0, seq, 1, seq));
    }
    add(t, batch(2, 0, 0, 1, 20));
    struct buf at_10 = {0}, whole = {0}, rebuilt = {0};
    assert_int_equal(producer_table_encode(t, 10, &at_10), STATUS_OK);
    assert_int_equal(producer_table_encode(t, UINT64_MAX, &whole), STATUS_OK);
    struct producer_table *u = producer_table_new();
    assert_int_equal(producer_table_decode(u, buf_bytes(&at_10)), STATUS_OK);
    assert_int_equal(producer_table_count(u), 1);
    for (uint32_t seq = 10; seq < 20; seq++) {
        add(u, batch(1, 0, seq, 1, seq));
    }
    add(u, batch(2, 0, 0, 1, 20));
    assert_int_equal(producer_table_encode(u, UINT64_MAX, &rebuilt), STATUS_OK);
    assert_true(bytes_equal(buf_bytes(&whole), buf_bytes(&rebuilt)));
    buf_release(&at_10);
    buf_release(&whole);
    buf_release(&rebuilt);
    producer_table_free(u);
    producer_table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_producer_begins_at_zero_and_goes_on_without_a_gap),
        cmocka_unit_test(a_retry_gets_the_offset_of_the_original),
        cmocka_unit_test(a_newer_epoch_fences_the_older_one),
        cmocka_unit_test(truncation_takes_back_batches_and_epochs),
        cmocka_unit_test(what_is_not_committed_is_bounded_so_that_roll_back_is_exact),
        cmocka_unit_test(sequences_wrap),
        cmocka_unit_test(the_longest_silent_goes_first),
        cmocka_unit_test(it_survives_encoding),
        cmocka_unit_test(a_snapshot_below_an_offset_leaves_out_what_lies_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
