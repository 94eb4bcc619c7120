/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "proto/wire/batch.h"

static const struct batch_slot slot = {
    .shard = (uint64_t)5 << 32 | 2,
    .base_offset = 1000,
    .append_ms = 1700000000123,
    .epoch = 9,
    .prev_crc = 0xdeadbeef,
    .generation = 1,
};

static void add(struct batch_builder *b, const char *key, const char *data)
{
    struct record record = {.key = bytes_of_string(key), .data = bytes_of_string(data)};
    assert_int_equal(batch_builder_add(b, &record), STATUS_OK);
}

/* Three records, one of them with an explicit hash key and one empty. */
static struct bytes build(struct batch_builder *b)
{
    struct record explicit = {
        .key = bytes_of_string("k2"),
        .data = bytes_of_string("with a hash key"),
        .hash_key = {1, 2},
        .has_hash_key = true,
    };
    add(b, "k1", "first");
    assert_int_equal(batch_builder_add(b, &explicit), STATUS_OK);
    add(b, "k3", "");
    return batch_builder_finish(b, 77, 3, 500);
}

static struct bytes payload_of(struct bytes batch)
{
    return bytes_of(batch.data + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES);
}

static void what_is_built_is_decoded(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    struct batch_header h;
    struct record record;
    struct bytes batch = build(&b);
    assert_int_equal(batch_decode(batch, &h), STATUS_OK);
    assert_int_equal(batch_bytes(&h), batch.size);
    assert_int_equal(h.count, 3);
    assert_int_equal(h.producer_id, 77);
    assert_int_equal(h.producer_epoch, 3);
    assert_int_equal(h.producer_seq, 500);
    assert_int_equal(h.shard, 0);
    struct bytes payload = payload_of(batch);
    assert_int_equal(batch_check_records(&h, payload, NULL), STATUS_OK);
    assert_int_equal(record_next(&payload, &record), STATUS_OK);
    assert_true(bytes_equal(record.data, bytes_of_string("first")));
    assert_false(record.has_hash_key);
    assert_int_equal(record_next(&payload, &record), STATUS_OK);
    assert_true(record.has_hash_key);
    assert_int_equal(record.hash_key.low, 2);
    assert_int_equal(record_next(&payload, &record), STATUS_OK);
    assert_true(bytes_equal(record.key, bytes_of_string("k3")));
    assert_int_equal(record.data.size, 0);
    assert_int_equal(payload.size, 0);
    assert_int_equal(record_next(&payload, &record), STATUS_CORRUPT);
    batch_builder_release(&b);
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    struct batch_header h;
    struct bytes batch = build(&b);
    uint8_t *copy = malloc(batch.size);
    assert_non_null(copy);
    memcpy(copy, batch.data, batch.size);
    batch_assign(copy, &slot, &h);
    for (size_t bit = 0; bit < batch.size * 8; bit++) {
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_int_equal(batch_decode(bytes_of(copy, batch.size), &h), STATUS_CORRUPT);
        copy[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_int_equal(batch_decode(bytes_of(copy, batch.size), &h), STATUS_OK);
    free(copy);
    batch_builder_release(&b);
}

static void less_than_a_batch_asks_for_more(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    struct batch_header h = {.count = 99};
    struct bytes batch = build(&b);
    for (size_t size = 0; size < batch.size; size++) {
        assert_int_equal(batch_decode(bytes_of(batch.data, size), &h), STATUS_MORE);
    }
    assert_int_equal(h.count, 99);
    batch_builder_release(&b);
}

static void a_leader_fills_its_part_and_leaves_the_payload(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    struct batch_header before, after, decoded;
    struct bytes batch = build(&b);
    assert_int_equal(batch_decode(batch, &before), STATUS_OK);
    batch_assign(b.buf.data, &slot, &after);
    assert_int_equal(batch_decode(batch, &decoded), STATUS_OK);
    assert_int_equal(decoded.header_crc, after.header_crc);
    assert_true(decoded.shard == slot.shard);
    assert_int_equal(decoded.base_offset, 1000);
    assert_int_equal(batch_end(&decoded), 1003);
    assert_int_equal(decoded.epoch, 9);
    assert_int_equal(decoded.prev_crc, 0xdeadbeef);
    assert_int_equal(decoded.generation, 1);
    assert_true(decoded.append_ms == slot.append_ms);
    assert_int_equal(decoded.payload_crc, before.payload_crc);
    assert_int_equal(decoded.producer_seq, before.producer_seq);
    batch_builder_release(&b);
}

/* A header with good checksums and these fields, decoded. */
static enum status decode(struct batch_header h)
{
    uint8_t at[BATCH_HEADER_BYTES];
    struct batch_header out;
    batch_header_encode(&h, at);
    return batch_header_decode(bytes_of(at, sizeof(at)), &out);
}

static void a_good_checksum_does_not_make_nonsense_legal(void **state)
{
    (void)state;
    uint64_t last = BATCH_OFFSET_MAX - 1;
    assert_int_equal(decode((struct batch_header){.count = 1}), STATUS_OK);
    assert_int_equal(decode((struct batch_header){.count = 0}), STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = BATCH_RECORDS_MAX}), STATUS_OK);
    assert_int_equal(decode((struct batch_header){.count = BATCH_RECORDS_MAX + 1}), STATUS_CORRUPT);
    assert_int_equal(
        decode((struct batch_header){.count = 1, .payload_bytes = BATCH_PAYLOAD_MAX + 1}),
        STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .base_offset = last}), STATUS_OK);
    assert_int_equal(decode((struct batch_header){.count = 2, .base_offset = last}),
                     STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .base_offset = UINT64_MAX}),
                     STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .generation = 0x8000}),
                     STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .flags = 4}), STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .flags = BATCH_CONTROL}),
                     STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){.count = 1, .control_type = BATCH_EPOCH_START}),
                     STATUS_CORRUPT);
    assert_int_equal(decode((struct batch_header){
                         .count = 1, .flags = BATCH_CONTROL, .control_type = BATCH_SEAL}),
                     STATUS_OK);
    assert_int_equal(decode((struct batch_header){
                         .count = 2, .flags = BATCH_CONTROL, .control_type = BATCH_SEAL}),
                     STATUS_CORRUPT);
}

static void records_that_break_the_rules_are_refused(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    struct batch_header h;
    struct error error;
    struct bytes batch = build(&b);
    assert_int_equal(batch_decode(batch, &h), STATUS_OK);
    h.count = 2;
    assert_int_equal(batch_check_records(&h, payload_of(batch), &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "follow the last"));
    h.count = 4;
    assert_int_equal(batch_check_records(&h, payload_of(batch), &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "record 4 of 4"));
    h.count = 3;
    h.flags = BATCH_CONTROL;
    assert_int_equal(batch_check_records(&h, payload_of(batch), NULL), STATUS_INVALID);
    batch_builder_release(&b);

    static const uint8_t bad[][10] = {
        {1,    0,   0, 0,    0,    0, 0,       0,      'd',              0}, /* no key */
        {1,    0,       0,    0, 1, 0, 2,       0,            'k',                     'd'}, /* an unknown flag */
        {1, 0,    0,     0,        1,        0,    0,   1, 'k','d'}, /* reserved */
        {2, 0, 0,  0,      1,         0,         0,              0,              'k',                             'd'}, /* beyond the end */
        {1,   0,   0, 0,     1,         0,       1,0,'k','d'}, /* a hash key beyond the end */
        {0xff,   0xff,     0xff,   0xff,    1,        0,0,    0,             1                                                  }, /* 4 GiB */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bytes payload = bytes_of(bad[i], sizeof(bad[i]));
        struct record record;
        assert_int_equal(record_next(&payload, &record), STATUS_CORRUPT);
        assert_int_equal(payload.size, sizeof(bad[i]));
    }
}

static void the_builder_keeps_every_limit(void **state)
{
    (void)state;
    struct batch_builder b = {0};
    uint8_t *large = calloc(1, RECORD_BYTES_MAX);
    assert_non_null(large);
    struct record record = {.key = bytes_of_string("k"), .data = bytes_of(large, 1)};
    assert_int_equal(batch_builder_size(&b), BATCH_HEADER_BYTES);
    record.key.size = 0;
    assert_int_equal(batch_builder_add(&b, &record), STATUS_INVALID);
    record.key = bytes_of(large, PARTITION_KEY_BYTES_MAX + 1);
    assert_int_equal(batch_builder_add(&b, &record), STATUS_TOO_LARGE);
    record.key = bytes_of_string("k");
    record.data.size = RECORD_BYTES_MAX;
    assert_int_equal(batch_builder_add(&b, &record), STATUS_TOO_LARGE);
    record.data.size = RECORD_BYTES_MAX - 1;
    assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    assert_int_equal(batch_builder_add(&b, &record), STATUS_BUSY);
    assert_int_equal(b.count, 1);
    struct batch_header h;
    struct bytes batch = batch_builder_finish(&b, 0, 0, 0);
    assert_int_equal(batch.size, batch_builder_size(&b));
    assert_int_equal(batch_decode(batch, &h), STATUS_OK);
    assert_int_equal(batch_check_records(&h, payload_of(batch), NULL), STATUS_OK);
    batch_builder_reset(&b);
    assert_int_equal(batch_builder_size(&b), BATCH_HEADER_BYTES);
    record.data.size = 0;
    for (int i = 0; i < BATCH_RECORDS_MAX; i++) {
        assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    }
    assert_int_equal(batch_builder_add(&b, &record), STATUS_BUSY);
    assert_int_equal(batch_decode(batch_builder_finish(&b, 0, 0, 0), &h), STATUS_OK);
    batch_builder_release(&b);
    free(large);
}

static void an_epoch_start_is_a_control_batch_that_tells_its_leader(void **state)
{
    (void)state;
    uint8_t at[BATCH_HEADER_BYTES + EPOCH_START_BYTES];
    struct batch_header made, h;
    struct epoch_start start = {
        .epoch = 9, .cfg_ver = 2, .broker = 3, .disk_gen = 4, .boot_id = 5, .time_ms = 6};
    struct epoch_start back = {0};
    memset(start.salt, 7, sizeof(start.salt));
    batch_make_epoch_start(&start, &slot, at, &made);
    assert_int_equal(batch_decode(bytes_of(at, sizeof(at)), &h), STATUS_OK);
    assert_int_equal(h.control_type, BATCH_EPOCH_START);
    assert_int_equal(h.count, 1);
    assert_int_equal(h.header_crc, made.header_crc);
    struct bytes payload = bytes_of(at + BATCH_HEADER_BYTES, EPOCH_START_BYTES);
    assert_int_equal(epoch_start_decode(payload, &back), STATUS_OK);
    assert_memory_equal(&start, &back, sizeof(start));
    payload.size--;
    assert_int_equal(epoch_start_decode(payload, &back), STATUS_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_built_is_decoded),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(less_than_a_batch_asks_for_more),
        cmocka_unit_test(a_leader_fills_its_part_and_leaves_the_payload),
        cmocka_unit_test(a_good_checksum_does_not_make_nonsense_legal),
        cmocka_unit_test(records_that_break_the_rules_are_refused),
        cmocka_unit_test(the_builder_keeps_every_limit),
        cmocka_unit_test(an_epoch_start_is_a_control_batch_that_tells_its_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
