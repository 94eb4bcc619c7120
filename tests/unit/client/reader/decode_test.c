/* Taking the batches of a read apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "client/reader/decode.h"
#include "proto/wire/batch.h"

static const uint64_t shard = UINT64_C(7) << 32 | 3;

/* Adds a batch of `count` records "data-0" ... with keys "key". */
static void add_batch(struct buf *log, uint64_t base, uint32_t count)
{
    struct batch_builder builder = {0};
    for (uint32_t i = 0; i < count; i++) {
        uint8_t data[8] = "data-0";
        data[5] = (uint8_t)('0' + i);
        struct record record = {.key = bytes_of_string("key"), .data = bytes_of(data, 6)};
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
    }
    struct bytes bytes = batch_builder_finish(&builder, 0, 0, 0);
    size_t at = log->size;
    assert_int_equal(buf_append(log, bytes.data, bytes.size), STATUS_OK);
    struct batch_slot slot = {.shard = shard,
                              .base_offset = base,
                              .append_ms = 1700000000123,
                              .epoch = 2,
                              .generation = 1};
    struct batch_header h;
    batch_assign(log->data + at, &slot, &h);
    batch_builder_release(&builder);
}

static void add_epoch_start(struct buf *log, uint64_t base)
{
    uint8_t at[BATCH_HEADER_BYTES + EPOCH_START_BYTES];
    struct epoch_start start = {.epoch = 2};
    struct batch_slot slot = {.shard = shard, .base_offset = base, .epoch = 2};
    struct batch_header h;
    batch_make_epoch_start(&start, &slot, at, &h);
    assert_int_equal(buf_append(log, at, sizeof(at)), STATUS_OK);
}

static struct decode_source from(uint64_t offset)
{
    return (struct decode_source){.shard = shard, .created_s = 1600000000, .offset = offset};
}

static void control_batches_are_left_out(void **state)
{
    (void)state;
    struct buf log = {0};
    add_epoch_start(&log, 0);
    add_batch(&log, 1, 2);
    add_epoch_start(&log, 3);
    struct decode_source source = from(0);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_OK);
    assert_int_equal(decoded.count, 2);
    assert_int_equal(decoded.next_offset, 4);
    assert_false(decoded.skipped);
    assert_int_equal(decoded.records[0].position.offset, 1);
    assert_int_equal(decoded.records[1].position.offset, 2);
    assert_int_equal(decoded.records[1].position.shard, 3);
    assert_int_equal(decoded.records[1].position.generation, 1);
    assert_int_equal(decoded.records[1].position.shard_created_s, 1600000000);
    assert_int_equal(decoded.records[1].position.arrival_ms, 1700000000123);
    assert_memory_equal(decoded.records[1].data, "data-1", 6);
    assert_memory_equal(decoded.records[1].key, "key", 3);
    free(decoded.records);
    buf_release(&log);
}

static void only_control_batches_still_move_on(void **state)
{
    (void)state;
    struct buf log = {0};
    add_epoch_start(&log, 10);
    struct decode_source source = from(10);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_OK);
    assert_int_equal(decoded.count, 0);
    assert_int_equal(decoded.next_offset, 11);
    buf_release(&log);
}

static void records_below_the_wanted_one_are_left_out(void **state)
{
    (void)state;
    struct buf log = {0};
    add_batch(&log, 100, 5);
    add_batch(&log, 105, 1);
    struct decode_source source = from(103);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_OK);
    assert_int_equal(decoded.count, 3);
    assert_int_equal(decoded.records[0].position.offset, 103);
    assert_memory_equal(decoded.records[0].data, "data-3", 6);
    assert_int_equal(decoded.next_offset, 106);
    free(decoded.records);
    buf_release(&log);
}

static void nothing_stays_where_it_is(void **state)
{
    (void)state;
    struct decode_source source = from(42);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(bytes_of(NULL, 0), &source, &decoded), STATUS_OK);
    assert_int_equal(decoded.count, 0);
    assert_int_equal(decoded.next_offset, 42);
}

static void a_start_above_the_wanted_one_is_told(void **state)
{
    (void)state;
    struct buf log = {0};
    add_batch(&log, 100, 1);
    struct decode_source source = from(50);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_OK);
    assert_true(decoded.skipped);
    free(decoded.records);
    buf_release(&log);
}

static void every_damaged_byte_and_every_cut_is_refused(void **state)
{
    (void)state;
    struct buf log = {0};
    add_batch(&log, 0, 2);
    add_batch(&log, 2, 1);
    size_t second = log.size;
    struct decode_source source = from(0);
    struct decoded decoded = {0};
    for (size_t i = 0; i < log.size; i++) {
        log.data[i] ^= 0x40;
        assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_CORRUPT);
        log.data[i] ^= 0x40;
    }
    struct batch_header h;
    assert_int_equal(batch_header_decode(buf_bytes(&log), &h), STATUS_OK);
    for (size_t size = 1; size < second; size++) {
        if (size != batch_bytes(&h)) {
            assert_int_equal(decode_batches(bytes_of(log.data, size), &source, &decoded),
                             STATUS_CORRUPT);
        }
    }
    assert_null(decoded.records);
    buf_release(&log);
}

static void a_gap_and_another_shard_are_refused(void **state)
{
    (void)state;
    struct buf log = {0};
    add_batch(&log, 0, 1);
    add_batch(&log, 2, 1);
    struct decode_source source = from(0);
    struct decoded decoded = {0};
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_CORRUPT);
    log.size = 0;
    add_batch(&log, 0, 1);
    source.shard++;
    assert_int_equal(decode_batches(buf_bytes(&log), &source, &decoded), STATUS_CORRUPT);
    buf_release(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_batches_are_left_out),
        cmocka_unit_test(only_control_batches_still_move_on),
        cmocka_unit_test(records_below_the_wanted_one_are_left_out),
        cmocka_unit_test(nothing_stays_where_it_is),
        cmocka_unit_test(a_start_above_the_wanted_one_is_told),
        cmocka_unit_test(every_damaged_byte_and_every_cut_is_refused),
        cmocka_unit_test(a_gap_and_another_shard_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
