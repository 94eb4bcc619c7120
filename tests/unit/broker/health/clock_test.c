#include "broker/health/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { HOUR = 3600 * 1000 };

/* 2026, and a monotonic clock that began lately. */
static const uint64_t TRUE_MS = UINT64_C(1790000000000), NOW = 50000;

/* Controller `i` of three says what its clock is, off by so much; the way takes `trip_ms`. */
static void hear(struct cluster_clock *c, uint32_t i, uint64_t now_ms, int64_t off_ms,
                 uint64_t trip_ms, uint64_t wall_ms)
{
    uint64_t theirs_ms = TRUE_MS + (now_ms - NOW) + (uint64_t)off_ms - trip_ms / 2;
    cluster_clock_heard(c, i, 3, now_ms - trip_ms, now_ms, theirs_ms, wall_ms);
}

static struct cluster_clock known(void)
{
    struct cluster_clock c;
    cluster_clock_init(&c);
    for (uint32_t i = 0; i < 3; i++) {
        hear(&c, i, NOW, 0, 2, TRUE_MS);
    }
    return c;
}

static void without_controllers_it_is_the_wall_clock(void **state)
{
    (void)state;
    struct cluster_clock c;
    cluster_clock_init(&c);
    assert_int_equal(cluster_clock_ms(&c, NOW, 12345678), 12345678);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, 12345678), 12345678);
    assert_int_equal(cluster_clock_offset_ms(&c, NOW, 12345678), 0);
    assert_false(cluster_clock_is_far(&c, NOW));
}

static void it_is_the_middle_one_of_the_controllers_clocks(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    assert_int_equal(cluster_clock_ms(&c, NOW, 0), TRUE_MS);
    hear(&c, 0, NOW + 1000, HOUR, 2, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, NOW + 1000, 0), TRUE_MS + 1000);
    hear(&c, 2, NOW + 1000, -40, 2, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, NOW + 1000, 0), TRUE_MS + 1000);
    hear(&c, 1, NOW + 1000, 30, 2, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, NOW + 1000, 0), TRUE_MS + 1030);
}

static void half_of_the_way_there_and_back_is_taken_off(void **state)
{
    (void)state;
    struct cluster_clock c;
    cluster_clock_init(&c);
    hear(&c, 0, NOW, 0, 400, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, NOW, 0), TRUE_MS);
    cluster_clock_heard(&c, 1, 3, NOW, NOW + 1001, TRUE_MS, TRUE_MS); /* too long a way */
    assert_false(c.source[1].known);
}

static void a_long_way_does_not_replace_a_short_one(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    for (uint32_t i = 0; i < 3; i++) {
        /* 900 ms of the way lay behind the controller's answer */
        cluster_clock_heard(&c, i, 3, NOW + 100, NOW + 1000, TRUE_MS + 100, TRUE_MS);
    }
    assert_int_equal(cluster_clock_ms(&c, NOW + 1000, 0), TRUE_MS + 1000);
}

static void the_wall_clock_is_clamped(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, TRUE_MS + HOUR), TRUE_MS + 500);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, TRUE_MS - HOUR), TRUE_MS - 500);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, TRUE_MS + 499), TRUE_MS + 499);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, TRUE_MS - 499), TRUE_MS - 499);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW, 0), TRUE_MS - 500);
}

static void time_goes_on_while_controllers_are_away_and_the_wall_clock_jumps(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    assert_int_equal(cluster_clock_ms(&c, NOW + HOUR, 0), TRUE_MS + HOUR);
    assert_int_equal(cluster_clock_clamped_ms(&c, NOW + HOUR, 5), TRUE_MS + HOUR - 500);
}

static void less_than_half_of_the_controllers_change_nothing(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    uint64_t later = NOW + CLUSTER_CLOCK_FRESH_MS + 1000; /* the other two are away */
    hear(&c, 1, later, HOUR, 2, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, later, 0), TRUE_MS + (later - NOW));
}

static void of_two_the_one_that_changes_less(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    uint64_t later = NOW + CLUSTER_CLOCK_FRESH_MS + 1000;
    hear(&c, 0, later, HOUR, 2, TRUE_MS);
    hear(&c, 1, later, 20, 2, TRUE_MS);
    assert_int_equal(cluster_clock_ms(&c, later, 0), TRUE_MS + (later - NOW) + 20);
}

static void a_clock_that_is_2_s_off_is_far_and_for_5_min_afterwards(void **state)
{
    (void)state;
    struct cluster_clock c = known();
    hear(&c, 0, NOW + 1000, 0, 2, TRUE_MS + 1000 + 1900);
    assert_false(cluster_clock_is_far(&c, NOW + 1000));
    hear(&c, 0, NOW + 2000, 0, 2, TRUE_MS + 2000 - 2100);
    assert_true(cluster_clock_is_far(&c, NOW + 2000));
    assert_int_equal(cluster_clock_offset_ms(&c, NOW + 2000, TRUE_MS + 2000 - 2100), -2100);
    hear(&c, 0, NOW + 3000, 0, 2, TRUE_MS + 3000);
    assert_true(cluster_clock_is_far(&c, NOW + 3000));
    uint64_t over = NOW + 2000 + CLUSTER_CLOCK_HOLD_MS;
    hear(&c, 0, over, 0, 2, TRUE_MS + (over - NOW));
    assert_false(cluster_clock_is_far(&c, over));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_controllers_it_is_the_wall_clock),
        cmocka_unit_test(it_is_the_middle_one_of_the_controllers_clocks),
        cmocka_unit_test(half_of_the_way_there_and_back_is_taken_off),
        cmocka_unit_test(a_long_way_does_not_replace_a_short_one),
        cmocka_unit_test(the_wall_clock_is_clamped),
        cmocka_unit_test(time_goes_on_while_controllers_are_away_and_the_wall_clock_jumps),
        cmocka_unit_test(less_than_half_of_the_controllers_change_nothing),
        cmocka_unit_test(of_two_the_one_that_changes_less),
        cmocka_unit_test(a_clock_that_is_2_s_off_is_far_and_for_5_min_afterwards),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
