#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "broker/journal/block.h"

static const uint8_t id[JOURNAL_ID_BYTES] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

static struct block_header some_header(void)
{
    return (struct block_header){
        .number = 77,
        .prev_number = 75,
        .oldest = 60,
        .prev_crc = 0xdeadbeef,
        .records_crc = 0x12345678,
        .bytes = 8192,
        .used = 5000,
        .records = 3,
        .run = 9,
        .prev_shard_count = 2,
        .prev_shards = {11, 12}
    };
}

static void a_header_comes_back_as_it_went(void **state)
{
    (void)state;
    struct block_header h = some_header(), got;
    uint8_t sector[BLOCK_SECTOR];
    journal_header_encode(&h, id, sector);
    assert_int_equal(journal_header_decode(sector, id, &got), STATUS_OK);
    assert_memory_equal(&h, &got, sizeof(h));
}

static void a_trailer_comes_back_as_it_went(void **state)
{
    (void)state;
    struct block_trailer t = {
        .number = 77,
        .prev_number = 75,
        .oldest = 60,
        .header_crc = 5,
        .shard_count = 3,
        .shards = {7, 8, 9}
    };
    struct block_trailer got;
    uint8_t sector[BLOCK_SECTOR];
    journal_trailer_encode(&t, id, sector);
    assert_int_equal(journal_trailer_decode(sector, id, &got), STATUS_OK);
    assert_memory_equal(&t, &got, sizeof(t));
}

static void no_flipped_bit_passes(void **state)
{
    (void)state;
    struct block_header h = some_header(), got;
    struct block_trailer t = {.number = 77, .header_crc = 5, .shard_count = 1, .shards = {7}}, seen;
    uint8_t header[BLOCK_SECTOR], trailer[BLOCK_SECTOR];
    journal_header_encode(&h, id, header);
    journal_trailer_encode(&t, id, trailer);
    for (size_t bit = 0; bit < 8 * (size_t)BLOCK_SECTOR; bit++) {
        uint8_t mask = (uint8_t)(1u << bit % 8);
        header[bit / 8] ^= mask;
        trailer[bit / 8] ^= mask;
        assert_int_equal(journal_header_decode(header, id, &got), STATUS_CORRUPT);
        assert_int_equal(journal_trailer_decode(trailer, id, &seen), STATUS_CORRUPT);
        header[bit / 8] ^= mask;
        trailer[bit / 8] ^= mask;
    }
}

static void another_journals_block_is_not_ours(void **state)
{
    (void)state;
    struct block_header h = some_header(), got;
    uint8_t sector[BLOCK_SECTOR], other[JOURNAL_ID_BYTES] = {9};
    journal_header_encode(&h, other, sector);
    assert_int_equal(journal_header_decode(sector, id, &got), STATUS_CORRUPT);
}

static void random_bytes_are_refused_without_a_crash(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 4);
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[512];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            bytes[i] = (uint8_t)rng_below(&rng, round % 2 == 0 ? 256 : 12);
        }
        struct bytes rest = bytes_of(bytes, sizeof(bytes));
        uint64_t offset = 0;
        struct journal_record record;
        while (journal_record_take(&rest, 0, &offset, &record) == STATUS_OK) {
            assert_true(record.body.size <= sizeof(bytes));
            struct epoch_pair history[JOURNAL_HISTORY_MAX];
            struct journal_state got;
            status_ignore(journal_state_decode(record.body, history, &got), "any answer will do");
        }
    }
}

static void a_state_comes_back_as_it_went(void **state)
{
    (void)state;
    struct epoch_pair pairs[2] = {
        {.epoch = 1, .start = 0  },
        {.epoch = 5, .start = 100}
    };
    struct journal_state s = {
        .disk_gen = 4,
        .promised = 6,
        .last = {.end = 200, .epoch = 5, .crc = 99},
        .log_start = 10,
        .commit_hint = 150,
        .uncertain = true,
        .uncertain_end = 180,
        .synced = {.end = 160, .epoch = 5, .crc = 98},
        .segment_base = 100,
        .segment_bytes = 4000,
        .last_at = 3000,
        .history = pairs,
        .history_count = 2
    };
    uint8_t body[STATE_FIXED_BYTES + 2 * STATE_PAIR_BYTES];
    assert_int_equal(sizeof(body) + RECORD_FRAME_BYTES, journal_state_size(2));
    journal_state_encode(&s, body);
    struct epoch_pair history[JOURNAL_HISTORY_MAX];
    struct journal_state got;
    assert_int_equal(journal_state_decode(bytes_of(body, sizeof(body)), history, &got), STATUS_OK);
    assert_memory_equal(history, pairs, sizeof(pairs));
    got.history = pairs;
    assert_memory_equal(&got, &s, sizeof(s));
    assert_int_equal(journal_state_decode(bytes_of(body, sizeof(body) - 1), history, &got),
                     STATUS_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_comes_back_as_it_went),
        cmocka_unit_test(a_trailer_comes_back_as_it_went),
        cmocka_unit_test(no_flipped_bit_passes),
        cmocka_unit_test(another_journals_block_is_not_ours),
        cmocka_unit_test(random_bytes_are_refused_without_a_crash),
        cmocka_unit_test(a_state_comes_back_as_it_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
