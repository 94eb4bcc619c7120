#include "controller/fitness/fitness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static int open_it(void **state)
{
    static struct fitness f;
    fitness_init(&f);
    *state = &f;
    return 0;
}

static int release(void **state)
{
    fitness_release(*state);
    return 0;
}

static void beat(struct fitness *f, uint64_t now_ms, uint32_t id, uint32_t why, size_t brokers)
{
    assert_int_equal(fitness_beat(f, now_ms, id, why, brokers), STATUS_OK);
}

static void who_says_so_is_unfit_until_it_says_otherwise(void **state)
{
    struct fitness *f = *state;
    beat(f, 100, 2, FITNESS_WELL, 3);
    assert_int_equal(fitness_of(f, 2), FITNESS_WELL);
    beat(f, 200, 2, FITNESS_CLOCK, 3);
    assert_int_equal(fitness_of(f, 2), FITNESS_CLOCK);
    assert_int_equal(fitness_of(f, 1), FITNESS_WELL);
    beat(f, 300, 2, FITNESS_WELL, 3);
    assert_int_equal(fitness_of(f, 2), FITNESS_WELL);
    beat(f, 400, 2, 77, 3); /* of a newer version */
    assert_int_equal(fitness_of(f, 2), FITNESS_DISK);
}

static void no_more_than_a_third_are_unfit_at_once(void **state)
{
    struct fitness *f = *state;
    beat(f, 100, 1, FITNESS_DISK, 6);
    beat(f, 100, 2, FITNESS_DISK, 6);
    beat(f, 100, 3, FITNESS_DISK, 6);
    assert_int_equal(fitness_of(f, 1), FITNESS_DISK);
    assert_int_equal(fitness_of(f, 2), FITNESS_DISK);
    assert_int_equal(fitness_of(f, 3), FITNESS_WELL);
    beat(f, 200, 1, FITNESS_WELL, 6); /* makes room */
    beat(f, 200, 3, FITNESS_DISK, 6);
    assert_int_equal(fitness_of(f, 3), FITNESS_DISK);
}

static void of_two_brokers_one_may_be_unfit(void **state)
{
    struct fitness *f = *state;
    beat(f, 100, 1, FITNESS_DISK, 2);
    beat(f, 100, 2, FITNESS_DISK, 2);
    assert_int_equal(fitness_of(f, 1), FITNESS_DISK);
    assert_int_equal(fitness_of(f, 2), FITNESS_WELL);
}

static void a_tenth_of_what_it_led_moves_in_a_second(void **state)
{
    struct fitness *f = *state;
    assert_int_equal(fitness_share(f, 100, 2, 100), 0);
    beat(f, 100, 2, FITNESS_DISK, 3);
    assert_int_equal(fitness_share(f, 1000, 2, 100), 10);
    assert_int_equal(fitness_share(f, 1500, 2, 95), 0);
    assert_int_equal(fitness_share(f, 2000, 2, 90), 10); /* of what it led at first */
    assert_int_equal(fitness_share(f, 3000, 2, 4), 4);
    assert_int_equal(fitness_share(f, 4000, 2, 0), 0);
}

static void of_few_leaderships_one_moves_in_a_second(void **state)
{
    struct fitness *f = *state;
    beat(f, 100, 2, FITNESS_DISK, 3);
    assert_int_equal(fitness_share(f, 1000, 2, 3), 1);
    assert_int_equal(fitness_share(f, 2000, 2, 2), 1);
}

static void what_a_silent_broker_said_last_is_forgotten(void **state)
{
    struct fitness *f = *state;
    beat(f, 100, 2, FITNESS_DISK, 3);
    fitness_forget_silent(f, 100 + FITNESS_SILENT_MS - 1);
    assert_int_equal(fitness_of(f, 2), FITNESS_DISK);
    fitness_forget_silent(f, 100 + FITNESS_SILENT_MS);
    assert_int_equal(fitness_of(f, 2), FITNESS_WELL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_it, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_says_so_is_unfit_until_it_says_otherwise),
        TEST(no_more_than_a_third_are_unfit_at_once),
        TEST(of_two_brokers_one_may_be_unfit),
        TEST(a_tenth_of_what_it_led_moves_in_a_second),
        TEST(of_few_leaderships_one_moves_in_a_second),
        TEST(what_a_silent_broker_said_last_is_forgotten),
    };
    return cmocka_run_group_tests_name("fitness", tests, NULL, NULL);
}
