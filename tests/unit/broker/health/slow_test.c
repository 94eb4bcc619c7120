#include "broker/health/slow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct disk {
    struct slow slow;
    struct histogram syncs;
    uint64_t now_ms;
};

static struct disk disk_new(uint32_t factor)
{
    struct disk d = {.now_ms = 1000};
    slow_init(&d.slow, factor);
    slow_look(&d.slow, d.now_ms, &d.syncs, 0, NULL, 0);
    return d;
}

static const struct slow_figures quick[2] = {
    {.sync_us = 1000, .stall_us = 1000},
    {.sync_us = 2500, .stall_us = 0   }
};

/* Seconds in each of which `count` syncs take `us`. */
static void pass(struct disk *d, uint32_t seconds, uint32_t count, uint64_t us,
                 const struct slow_figures *peers, size_t peer_count)
{
    for (uint32_t s = 0; s < seconds; s++) {
        for (uint32_t i = 0; i < count; i++) {
            histogram_note(&d->syncs, us);
        }
        d->now_ms += 1000;
        slow_look(&d->slow, d->now_ms, &d->syncs, 0, peers, peer_count);
    }
}

static void a_disk_that_is_slow_alone_for_10_s_is_slow(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    pass(&d, 20, 100, 900, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
    pass(&d, 10, 100, 240000, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
    pass(&d, 1, 100, 240000, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_DISK);
    assert_int_equal(slow_figures(&d.slow).sync_us, 250000);
}

static void it_stays_so_for_5_min_after_it_is_over(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    pass(&d, 12, 10, 240000, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_DISK);
    pass(&d, 290, 10, 900, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_DISK);
    pass(&d, 15, 10, 900, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void one_that_is_as_slow_as_the_others_is_not_slow(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    const struct slow_figures slow_too[2] = {{.sync_us = 100000}, {.sync_us = 50000}};
    pass(&d, 30, 100, 240000, slow_too, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void the_middle_of_the_others_counts_and_not_the_slowest_or_quickest(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    const struct slow_figures one_quick[3] = {
        {.sync_us = 100}, {.sync_us = 100000}, {.sync_us = 100000}};
    pass(&d, 30, 100, 240000, one_quick, 3);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
    const struct slow_figures one_slow[3] = {
        {.sync_us = 1000}, {.sync_us = 1000}, {.sync_us = 10000000}};
    pass(&d, 12, 100, 240000, one_slow, 3);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_DISK);
}

static void below_the_floor_nothing_is_slow(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    const struct slow_figures very_quick[1] = {{.sync_us = 100}};
    pass(&d, 30, 100, 45000, very_quick, 1);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void alone_nobody_is_slow(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    const struct slow_figures silent[2] = {{0}, {0}};
    pass(&d, 30, 100, 9000000, NULL, 0);
    pass(&d, 30, 100, 9000000, silent, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void a_single_hiccup_is_nothing(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    pass(&d, 1, 1, 5000000, quick, 2);
    pass(&d, 60, 1, 500, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void what_lay_before_the_first_look_does_not_count(void **state)
{
    (void)state;
    struct disk d = {.now_ms = 1000};
    slow_init(&d.slow, 10);
    histogram_note(&d.syncs, 9000000); /* recovery */
    slow_look(&d.slow, d.now_ms, &d.syncs, 0, quick, 2);
    assert_int_equal(slow_figures(&d.slow).sync_us, 0);
}

static void a_write_that_hangs_counts_although_it_does_not_end(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    for (uint32_t s = 0; s < 12; s++) {
        d.now_ms += 1000;
        slow_look(&d.slow, d.now_ms, &d.syncs, (s + 1) * UINT64_C(1000000), quick, 2);
    }
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_DISK);
}

static void a_process_that_is_late_alone_is_slow(void **state)
{
    (void)state;
    struct disk d = disk_new(10);
    for (uint32_t s = 0; s < 12; s++) {
        slow_note_stall(&d.slow, 900000);
        slow_note_stall(&d.slow, 1000);
        pass(&d, 1, 10, 900, quick, 2);
    }
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_LOOP);
}

static void it_can_be_switched_off(void **state)
{
    (void)state;
    struct disk d = disk_new(0);
    pass(&d, 30, 100, 9000000, quick, 2);
    assert_int_equal(slow_is(&d.slow, d.now_ms), SLOW_NOT);
}

static void one_of_a_hundred_may_take_longer(void **state)
{
    (void)state;
    struct histogram h = {0};
    assert_int_equal(slow_p99_us(&h), 0);
    for (uint32_t i = 0; i < 99; i++) {
        histogram_note(&h, 90);
    }
    histogram_note(&h, 4000000);
    assert_int_equal(slow_p99_us(&h), 100);
    histogram_note(&h, 4000000);
    assert_int_equal(slow_p99_us(&h), 5000000);
    for (uint32_t i = 0; i < 10; i++) {
        histogram_note(&h, 40000000);
    }
    assert_int_equal(slow_p99_us(&h), UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_is_slow_alone_for_10_s_is_slow),
        cmocka_unit_test(it_stays_so_for_5_min_after_it_is_over),
        cmocka_unit_test(one_that_is_as_slow_as_the_others_is_not_slow),
        cmocka_unit_test(the_middle_of_the_others_counts_and_not_the_slowest_or_quickest),
        cmocka_unit_test(below_the_floor_nothing_is_slow),
        cmocka_unit_test(alone_nobody_is_slow),
        cmocka_unit_test(a_single_hiccup_is_nothing),
        cmocka_unit_test(what_lay_before_the_first_look_does_not_count),
        cmocka_unit_test(a_write_that_hangs_counts_although_it_does_not_end),
        cmocka_unit_test(a_process_that_is_late_alone_is_slow),
        cmocka_unit_test(it_can_be_switched_off),
        cmocka_unit_test(one_of_a_hundred_may_take_longer),
    };
    return cmocka_run_group_tests_name("slow", tests, NULL, NULL);
}
