/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/rng.h"
#include "proto/wire/seqnum.h"

struct vector {
    const char *decimal;
    struct seqnum seqnum;
};

/* Computed independently from the published layout. */
static const struct vector vectors[] = {
    {"49646437577175378652512468275250536580403374760793210930",
     {.created_s = 1700000000, .shard_number = 3, .offset = 0, .record_s = 1700000000} },
    {"49646437577175378652512468275301311464827197638626508850",
     {.created_s = 1700000000, .shard_number = 3, .offset = 42, .record_s = 1700000123}},
    {"49646437577186529025111733586820095513720331702487744562",
     {.created_s = 1700000000,
      .shard_number = 3,
      .generation = 0x7fff,
      .offset = 0xffffffffffff,
      .record_s = 1700003600}                                                          },
};

static void known_numbers_come_out_as_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        char decimal[SEQNUM_DECIMAL_BYTES];
        seqnum_to_decimal(&vectors[i].seqnum, decimal);
        assert_string_equal(decimal, vectors[i].decimal);
        struct seqnum back = {0};
        assert_int_equal(seqnum_from_decimal(decimal, &back), STATUS_OK);
        assert_int_equal(seqnum_compare(&back, &vectors[i].seqnum), 0);
        assert_int_equal(back.shard_number, 3);
        assert_int_equal(back.offset, vectors[i].seqnum.offset);
    }
}

static void closing_number_is_above_every_record(void **state)
{
    (void)state;
    struct seqnum closing = seqnum_closing(1700000000, 3, 1700003600);
    char decimal[SEQNUM_DECIMAL_BYTES];
    seqnum_to_decimal(&closing, decimal);
    assert_string_equal(decimal, vectors[2].decimal);
    assert_true(seqnum_compare(&vectors[1].seqnum, &closing) < 0);
}

static void any_fields_survive_the_way_there_and_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        struct seqnum a = {
            .created_s = rng_below(&rng, (uint64_t)1 << 36),
            .shard_number = (uint32_t)rng_next(&rng) >> rng_below(&rng, 32),
            .generation = (uint32_t)rng_below(&rng, 0x8000),
            .offset = rng_below(&rng, (uint64_t)1 << 48),
            .record_s = rng_below(&rng, (uint64_t)1 << 36),
        };
        char decimal[SEQNUM_DECIMAL_BYTES];
        seqnum_to_decimal(&a, decimal);
        assert_int_equal(strlen(decimal), SEQNUM_DECIMAL_BYTES - 1);
        struct seqnum b;
        assert_int_equal(seqnum_from_decimal(decimal, &b), STATUS_OK);
        assert_int_equal(a.created_s, b.created_s);
        assert_int_equal(a.shard_number, b.shard_number);
        assert_int_equal(a.generation, b.generation);
        assert_int_equal(a.offset, b.offset);
        assert_int_equal(a.record_s, b.record_s);
    }
}

static int sign(int n)
{
    return n < 0 ? -1 : n > 0;
}

static void fields_compare_as_the_decimal_numbers_do(void **state)
{
    (void)state;
    struct rng rng;
    rng_init(&rng, 11);
    for (int i = 0; i < 20000; i++) {
        struct seqnum pair[2];
        char decimal[2][SEQNUM_DECIMAL_BYTES];
        for (int k = 0; k < 2; k++) {
            pair[k] = (struct seqnum){
                .created_s = 1700000000 + rng_below(&rng, 2),
                .shard_number = (uint32_t)rng_below(&rng, 40),
                .generation = (uint32_t)rng_below(&rng, 2),
                .offset = rng_below(&rng, 3),
                .record_s = rng_below(&rng, 3),
            };
            seqnum_to_decimal(&pair[k], decimal[k]);
        }
        assert_int_equal(sign(seqnum_compare(&pair[0], &pair[1])),
                         sign(strcmp(decimal[0], decimal[1])));
    }
}

static void a_higher_generation_is_later_than_any_offset(void **state)
{
    (void)state;
    struct seqnum before = {.created_s = 1, .generation = 1, .offset = 0xffffffffffff};
    struct seqnum after = {.created_s = 1, .generation = 2, .offset = 0};
    assert_true(seqnum_compare(&before, &after) < 0);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "42",
        "-9646437577175378652512468275250536580403374760793210930",
        "4964643757717537865251246827525053658040337476079321093",   /* a digit short */
        "496464375771753786525124682752505365804033747607932109300", /* one too many */
        "049646437577175378652512468275250536580403374760793210930",
        " 9646437577175378652512468275250536580403374760793210930",
        "4964643757717537865251246827525053658040337476079321093x",
        "49646437577175378652512468275250536580403374760793210931", /* version 3 */
        "99999999999999999999999999999999999999999999999999999999",
        "10000000000000000000000000000000000000000000000000000002",
        "49646437577175378652512468275250536580403374760793210946", /* shard 4 with modulo 3 */
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct seqnum out = {.offset = 77};
        assert_int_equal(seqnum_from_decimal(texts[i], &out), STATUS_INVALID);
        assert_int_equal(out.offset, 77);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers_come_out_as_published),
        cmocka_unit_test(closing_number_is_above_every_record),
        cmocka_unit_test(any_fields_survive_the_way_there_and_back),
        cmocka_unit_test(fields_compare_as_the_decimal_numbers_do),
        cmocka_unit_test(a_higher_generation_is_later_than_any_offset),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
