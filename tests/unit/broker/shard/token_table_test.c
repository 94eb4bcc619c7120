/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "base/rng.h"
#include "broker/shard/token_table.h"

static struct batch_header batch(uint64_t token, uint64_t base, uint32_t count, uint64_t ms)
{
    struct batch_header h = {.base_offset = base, .count = count, .append_ms = ms};
    /* As an HMAC spreads them. */
    put_u64(h.dedup_token, token * UINT64_C(0x9e3779b97f4a7c15) + 1);
    put_u64(h.dedup_token + 8, token);
    return h;
}

static void add(struct token_table *t, uint64_t token, uint64_t base, uint32_t count, uint64_t ms)
{
    struct batch_header h = batch(token, base, count, ms);
    assert_int_equal(token_table_add(t, &h), STATUS_OK);
}

/* Its offset, or -1. */
static int64_t offset_of(const struct token_table *t, uint64_t token, uint32_t count)
{
    struct batch_header h = batch(token, 0, count, 0);
    const struct token_entry *e = token_table_find(t, &h);
    return e == NULL ? -1 : (int64_t)e->base;
}

static void a_batch_is_found_by_its_token_and_count(void **state)
{
    (void)state;
    struct token_table t = {0};
    assert_int_equal(offset_of(&t, 1, 3), -1);
    add(&t, 1, 10, 3, 1000);
    add(&t, 2, 13, 1, 1000);
    assert_int_equal(offset_of(&t, 1, 3), 10);
    assert_int_equal(offset_of(&t, 2, 1), 13);
    assert_int_equal(offset_of(&t, 1, 2), -1); /* other records under that token */
    assert_int_equal(offset_of(&t, 3, 1), -1);
    token_table_clear(&t);
}

static void batches_without_token_or_with_a_producer_are_not_kept(void **state)
{
    (void)state;
    struct token_table t = {0};
    struct batch_header h = {.count = 1};
    assert_int_equal(token_table_add(&t, &h), STATUS_OK);
    h = batch(5, 0, 1, 0);
    h.producer_id = 9;
    assert_int_equal(token_table_add(&t, &h), STATUS_OK);
    assert_int_equal(t.count, 0);
    token_table_clear(&t);
}

static void ten_minutes_of_log_time_are_kept(void **state)
{
    (void)state;
    struct token_table t = {0};
    add(&t, 1, 0, 1, 1000);
    add(&t, 2, 1, 1, 2000);
    add(&t, 3, 2, 1, 1000 + TOKEN_EXPIRY_MS);
    assert_int_equal(offset_of(&t, 1, 1), 0);
    add(&t, 4, 3, 1, 1001 + TOKEN_EXPIRY_MS);
    assert_int_equal(offset_of(&t, 1, 1), -1);
    assert_int_equal(offset_of(&t, 2, 1), 1);
    token_table_clear(&t);
}

static void what_is_truncated_is_forgotten(void **state)
{
    (void)state;
    struct token_table t = {0};
    for (uint64_t i = 0; i < 100; i++) {
        add(&t, i + 1, i * 2, 2, i);
    }
    token_table_truncate(&t, 101); /* in the middle of the batch at 100 */
    assert_int_equal(offset_of(&t, 50, 2), 98);
    assert_int_equal(offset_of(&t, 51, 2), -1);
    token_table_truncate(&t, 0);
    assert_int_equal(t.count, 0);
    token_table_clear(&t);
}

static void no_more_than_the_bound_are_kept(void **state)
{
    (void)state;
    struct token_table t = {0};
    for (uint64_t i = 0; i < TOKENS_MAX + 1000; i++) {
        add(&t, i + 1, i, 1, 5);
    }
    assert_int_equal(t.count, TOKENS_MAX);
    assert_int_equal(offset_of(&t, 1000, 1), -1);
    for (uint64_t i = 1000; i < TOKENS_MAX + 1000; i++) {
        assert_int_equal(offset_of(&t, i + 1, 1), i);
    }
    token_table_clear(&t);
}

static void a_table_survives_its_bytes(void **state)
{
    (void)state;
    struct token_table t = {0}, u = {0};
    for (uint64_t i = 0; i < 50; i++) {
        add(&t, i + 1, i, 1, i);
    }
    struct buf bytes = {0};
    assert_int_equal(token_table_encode(&t, 40, &bytes), STATUS_OK);
    struct reader reader = reader_of(buf_bytes(&bytes));
    assert_int_equal(token_table_decode(&u, &reader), STATUS_OK);
    assert_int_equal(reader.rest.size, 0);
    assert_int_equal(u.count, 40);
    assert_int_equal(offset_of(&u, 40, 1), 39);
    assert_int_equal(offset_of(&u, 41, 1), -1);
    token_table_clear(&u);
    for (size_t cut = 0; cut < bytes.size; cut += 7) {
        reader = reader_of(bytes_of(bytes.data, cut));
        assert_int_equal(token_table_decode(&u, &reader), STATUS_CORRUPT);
        token_table_clear(&u);
    }
    buf_release(&bytes);
    token_table_clear(&t);
}

/* Against a list, with tokens that come again, truncations and expiry. */
static void it_behaves_as_a_list_would(void **state)
{
    (void)state;
    enum { MOST = 4000 };
    struct rng rng;
    rng_init(&rng, 7);
    struct token_table t = {0};
    static struct {
        uint64_t token, base, ms;
    } list[MOST];
    uint32_t first = 0, last = 0;
    uint64_t base = 0, ms = 1;
    for (uint32_t step = 0; step < MOST - 1; step++) {
        if (rng_once_in(&rng, 10) && last > first) {
            uint32_t cut = (uint32_t)rng_between(&rng, last - first > 5 ? last - 5 : first, last);
            base = cut < last ? list[cut].base : base;
            last = cut;
            token_table_truncate(&t, base);
            continue;
        }
        ms += rng_below(&rng, 2000);
        uint64_t token = 1 + step * 2 + rng_below(&rng, 2);
        add(&t, token, base, 1, ms);
        while (first < last && list[first].ms + TOKEN_EXPIRY_MS < ms) {
            first++;
        }
        list[last].token = token;
        list[last].base = base++;
        list[last++].ms = ms;
        uint32_t probe = (uint32_t)rng_between(&rng, first, last - 1);
        assert_int_equal(offset_of(&t, list[probe].token, 1), list[probe].base);
        assert_int_equal(t.count, last - first);
    }
    token_table_clear(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_found_by_its_token_and_count),
        cmocka_unit_test(batches_without_token_or_with_a_producer_are_not_kept),
        cmocka_unit_test(ten_minutes_of_log_time_are_kept),
        cmocka_unit_test(what_is_truncated_is_forgotten),
        cmocka_unit_test(no_more_than_the_bound_are_kept),
        cmocka_unit_test(a_table_survives_its_bytes),
        cmocka_unit_test(it_behaves_as_a_list_would),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
