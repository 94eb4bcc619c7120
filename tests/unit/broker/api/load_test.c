/* How much of a shard's capacity is used, and where its load halves. */
#include "broker/api/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { SHARD = 7, NOW = 1000 };

static const struct api_limits aws = {.write_bytes = 1 << 20,
                                      .write_records = 1000,
                                      .read_bytes = 2 << 20};

/* Of all keys, the one at `part` of 2^16. */
static struct hash_key key_at(uint64_t part)
{
    return (struct hash_key){.high = part << 48, .low = part};
}

static bool take(struct loads *loads, struct hash_range range, uint64_t now_ms,
                 const struct shard_counters *counters, struct api_load *out)
{
    return loads_take(loads, SHARD, range, now_ms, counters, &aws, out);
}

static void the_fullest_of_all_limits_counts(void **state)
{
    (void)state;
    struct loads *loads = loads_new();
    struct shard_counters counters = {0};
    struct hash_range all = hash_range_of(0, 1);
    struct api_load load;
    assert_false(take(loads, all, NOW, &counters, &load)); /* nothing to compare with */
    counters.in_bytes = 1 << 19;
    counters.in_records = 100;
    assert_true(take(loads, all, NOW + 1000, &counters, &load));
    assert_in_range(load.permille, 499, 500);
    counters.in_records += 200;
    assert_true(take(loads, all, NOW + 1500, &counters, &load));
    assert_int_equal(load.permille, 400);
    counters.out_bytes = 3 << 20;
    assert_true(take(loads, all, NOW + 2500, &counters, &load));
    assert_in_range(load.permille, 1499, 1500);
    counters.in_records += 1000; /* what was refused is wanted, too */
    counters.write_exceeded = 700;
    assert_true(take(loads, all, NOW + 3500, &counters, &load));
    assert_int_equal(load.permille, 1700);
    loads_free(loads);
}

static void the_split_lies_where_the_load_halves(void **state)
{
    (void)state;
    struct loads *loads = loads_new();
    struct shard_counters counters = {0};
    struct api_load load;
    for (uint32_t part = 0; part < 4; part++) {
        struct hash_range range = hash_range_of(part, 4);
        uint64_t shard = SHARD + part;
        assert_false(loads_take(loads, shard, range, NOW, &counters, &aws, &load));
        /* Three quarters of it in the last eighth, over many keys. */
        for (uint64_t i = 0; i < 4000; i++) {
            uint64_t at = i % 4 == 0 ? i * 4 : 14336 + i / 2;
            loads_note(loads, shard, range, key_at(part * 16384 + at % 16384), 100);
        }
        assert_true(loads_take(loads, shard, range, NOW + 1000, &counters, &aws, &load));
        assert_true(load.can_split);
        assert_true(hash_range_has(range, load.split));
        assert_true(hash_key_compare(load.split, key_at(part * 16384 + 13900)) > 0);
    }
    loads_free(loads);
}

static void a_load_of_one_key_cannot_be_split(void **state)
{
    (void)state;
    struct loads *loads = loads_new();
    struct shard_counters counters = {0};
    struct hash_range range = hash_range_of(1, 2);
    struct api_load load;
    assert_false(take(loads, range, NOW, &counters, &load));
    for (uint64_t i = 0; i < 1000; i++) {
        loads_note(loads, SHARD, range, key_at(i % 10 == 0 ? 32768 + i : 50000), 100);
    }
    assert_true(take(loads, range, NOW + 1000, &counters, &load));
    assert_false(load.can_split);
    for (uint64_t i = 0; i < 10000; i++) { /* that was long ago */
        loads_note(loads, SHARD, range, key_at(32768 + i), 100);
    }
    assert_true(take(loads, range, NOW + 2000, &counters, &load));
    assert_true(load.can_split);
    loads_free(loads);
}

static void narrow_ranges_have_their_places_too(void **state)
{
    (void)state;
    struct loads *loads = loads_new();
    struct shard_counters counters = {0};
    for (uint64_t width = 0; width < 200; width++) {
        struct hash_range range = {
            .first = {.high = 5, .low = UINT64_MAX - 3}
        };
        range.last = range.first;
        range.last.low += width;
        range.last.high += range.last.low < range.first.low;
        struct api_load load;
        assert_false(loads_take(loads, 1000 + width, range, NOW, &counters, &aws, &load));
        loads_note(loads, 1000 + width, range, range.first, 10);
        loads_note(loads, 1000 + width, range, range.last, 10);
        assert_true(loads_take(loads, 1000 + width, range, NOW + 1, &counters, &aws, &load));
        assert_int_equal(load.can_split, width > 0);
        if (width > 0) {
            assert_true(hash_key_compare(load.split, range.first) > 0);
            assert_true(hash_key_compare(load.split, range.last) <= 0);
        }
    }
    loads_tidy(loads, NOW + 2);
    loads_free(loads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fullest_of_all_limits_counts),
        cmocka_unit_test(the_split_lies_where_the_load_halves),
        cmocka_unit_test(a_load_of_one_key_cannot_be_split),
        cmocka_unit_test(narrow_ranges_have_their_places_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
