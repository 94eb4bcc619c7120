/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "broker/kinesis/attempt.h"

/* Broker 1 leads in epoch 4 and was asked, nothing has changed. */
static const struct attempt quiet =
    {.asked = 1, .asked_epoch = 4, .leader = 1, .epoch = 4, .attempts = 1, .since_ms = 100};

static void an_attempt_waits_while_nothing_has_changed(void **state)
{
    (void)state;
    struct attempt a = quiet;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
    a.since_ms = 7000;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
    assert_false(attempt_is_vain(&a));
}

static void a_new_leader_is_asked_at_once(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.leader = 2;
    a.epoch = 5;
    assert_int_equal(attempt_judge(&a), ATTEMPT_AGAIN);
    a.cut_off = true;
    a.since_ms = 7000; /* there is a reason to try */
    assert_int_equal(attempt_judge(&a), ATTEMPT_AGAIN);
}

static void nobody_is_asked_before_somebody_leads(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.leader = 0;
    a.epoch = 5;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
}

static void a_leader_that_was_elected_again_is_waited_for(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.epoch = 6;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
}

static void an_image_older_than_a_hint_takes_nothing_back(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.asked = 3; /* as the refusal of broker 1 said */
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
    a.leader = 3;
    a.epoch = 5; /* it knows by now */
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
}

static void a_broker_that_hears_nobody_gives_up_after_a_while(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.cut_off = true;
    a.since_ms = ATTEMPT_CUT_OFF_MS - 1;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
    assert_false(attempt_is_vain(&a));
    a.since_ms = ATTEMPT_CUT_OFF_MS;
    assert_int_equal(attempt_judge(&a), ATTEMPT_OVER);
    assert_true(attempt_is_vain(&a));
}

static void readers_ask_every_replica_first(void **state)
{
    (void)state;
    struct attempt a = quiet;
    a.cut_off = true;
    a.any_replica = true;
    a.since_ms = 5000;
    a.attempts = ATTEMPT_ROUND - 1;
    assert_int_equal(attempt_judge(&a), ATTEMPT_WAIT);
    a.attempts = ATTEMPT_ROUND;
    assert_int_equal(attempt_judge(&a), ATTEMPT_OVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_attempt_waits_while_nothing_has_changed),
        cmocka_unit_test(a_new_leader_is_asked_at_once),
        cmocka_unit_test(nobody_is_asked_before_somebody_leads),
        cmocka_unit_test(a_leader_that_was_elected_again_is_waited_for),
        cmocka_unit_test(an_image_older_than_a_hint_takes_nothing_back),
        cmocka_unit_test(a_broker_that_hears_nobody_gives_up_after_a_while),
        cmocka_unit_test(readers_ask_every_replica_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
