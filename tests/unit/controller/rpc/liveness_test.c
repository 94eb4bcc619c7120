#include "controller/rpc/liveness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* Sessions are only compared. */
static int sessions[8];

static int open_three(void **state)
{
    static struct liveness l;
    liveness_init(&l, 1000, 300);
    liveness_tick(&l, 5000);
    for (uint32_t id = 1; id <= 3; id++) {
        assert_int_equal(liveness_up(&l, 5000, id, id * 10, 1, &sessions[id]), STATUS_OK);
    }
    *state = &l;
    return 0;
}

static int release(void **state)
{
    liveness_release(*state);
    return 0;
}

/* The ids that are found dead, "2 3". */
static void expect_dead(struct liveness *l, uint64_t now, const char *text)
{
    char found[64] = "";
    const struct liveness_broker *dead;
    while ((dead = liveness_next_dead(l, now)) != NULL) {
        size_t used = strlen(found);
        (void)snprintf(found + used, sizeof(found) - used, "%s%u", used == 0 ? "" : " ", dead->id);
    }
    assert_string_equal(found, text);
}

/* Time passes in steps that are no stall of ours; those of `ids` beat in each of them. */
static uint64_t pass(struct liveness *l, uint64_t from, uint64_t to, const char *ids)
{
    for (uint64_t now = from; now <= to; now += 100) {
        liveness_tick(l, now);
        for (const char *id = ids; *id != '\0'; id++) {
            liveness_beat(l, now, (uint32_t)(*id - '0'), NULL, 0);
        }
    }
    return to;
}

static void a_broker_whose_beats_stop_is_dead_after_the_timeout(void **state)
{
    struct liveness *l = *state;
    (void)pass(l, 5100, 5900, "12");
    expect_dead(l, 5999, "");
    expect_dead(l, 6000, "3");
    expect_dead(l, 6001, ""); /* once */
}

static void a_lost_session_is_a_death_after_the_grace(void **state)
{
    struct liveness *l = *state;
    (void)pass(l, 5100, 5100, "123");
    liveness_lost(l, 5100, 2, &sessions[2]);
    (void)pass(l, 5200, 5300, "13");
    expect_dead(l, 5399, "");
    expect_dead(l, 5400, "2");
}

static void a_session_that_is_back_in_time_is_none(void **state)
{
    struct liveness *l = *state;
    liveness_lost(l, 5100, 2, &sessions[2]);
    assert_int_equal(liveness_up(l, 5300, 2, 20, 1, &sessions[5]), STATUS_OK);
    liveness_lost(l, 5350, 2, &sessions[2]); /* late news of the old one */
    (void)pass(l, 5300, 5800, "123");
    expect_dead(l, 5800, "");
    assert_ptr_equal(liveness_get(l, 2)->session, &sessions[5]);
}

static void two_who_lost_it_are_enough_at_once(void **state)
{
    struct liveness *l = *state;
    const uint32_t lost[] = {2};
    liveness_beat(l, 5100, 1, lost, 1);
    expect_dead(l, 5100, ""); /* the word of another broker alone */
    liveness_lost(l, 5101, 2, &sessions[2]);
    expect_dead(l, 5101, "2");
}

static void an_old_report_of_a_loss_says_nothing_of_the_new_process(void **state)
{
    struct liveness *l = *state;
    const uint32_t lost[] = {2};
    liveness_beat(l, 5100, 1, lost, 1);
    assert_int_equal(liveness_up(l, 5150, 2, 21, 1, &sessions[5]), STATUS_OK);
    liveness_lost(l, 5160, 2, &sessions[5]);
    expect_dead(l, 5160, "");
    liveness_beat(l, 5200, 1, lost, 1);
    expect_dead(l, 5200, "2");
}

static void the_word_of_the_dead_counts_for_nothing(void **state)
{
    struct liveness *l = *state;
    const uint32_t lost[] = {2};
    liveness_beat(l, 5100, 1, lost, 1);
    liveness_lost(l, 5110, 1, &sessions[1]);
    liveness_lost(l, 5120, 2, &sessions[2]);
    expect_dead(l, 5120, "");
}

static void a_new_active_controller_gives_everybody_a_full_timeout(void **state)
{
    struct liveness *l = *state;
    liveness_clear(l);
    liveness_tick(l, 9000);
    assert_int_equal(liveness_expect(l, 9000, 1, 10), STATUS_OK);
    assert_int_equal(liveness_expect(l, 9000, 2, 20), STATUS_OK);
    assert_int_equal(liveness_up(l, 9500, 2, 20, 1, &sessions[2]), STATUS_OK);
    (void)pass(l, 9100, 9900, "2");
    expect_dead(l, 9999, "");
    expect_dead(l, 10000, "1");
}

static void a_stall_of_our_own_counts_for_nobody(void **state)
{
    struct liveness *l = *state;
    l->total = 9; /* so that two may be dead at once */
    (void)pass(l, 5100, 5200, "123");
    liveness_lost(l, 5200, 3, &sessions[3]);
    liveness_tick(l, 25200); /* stopped for 20 s */
    expect_dead(l, 25200, "");
    (void)pass(l, 25250, 25450, "12");
    expect_dead(l, 25500, "3");
    (void)pass(l, 25550, 26150, "1");
    expect_dead(l, 26449, "");
    expect_dead(l, 26450, "2");
}

static void more_than_a_third_at_once_are_held_until_they_are_back(void **state)
{
    struct liveness *l = *state;
    (void)pass(l, 5100, 6100, "3");
    expect_dead(l, 6100, "1"); /* one of three */
    assert_int_equal(liveness_held(l), 1);
    assert_false(liveness_get(l, 2)->dead);
    (void)pass(l, 6200, 9000, "3");
    expect_dead(l, 9000, "");
    assert_int_equal(liveness_up(l, 9000, 2, 20, 1, &sessions[2]), STATUS_OK);
    expect_dead(l, 9000, "");
    assert_int_equal(liveness_held(l), 0);
}

static void one_that_comes_back_makes_room_for_another(void **state)
{
    struct liveness *l = *state;
    (void)pass(l, 5100, 6100, "3");
    expect_dead(l, 6100, "1");
    assert_int_equal(liveness_up(l, 6200, 1, 11, 1, &sessions[1]), STATUS_OK);
    expect_dead(l, 6200, "2");
    assert_int_equal(liveness_held(l), 0);
}

static void an_operator_may_consent(void **state)
{
    struct liveness *l = *state;
    assert_int_equal(liveness_consent(l), 0);
    (void)pass(l, 5100, 6100, "3");
    expect_dead(l, 6100, "1");
    assert_int_equal(liveness_consent(l), 1);
    expect_dead(l, 6101, "2");
    (void)pass(l, 6200, 7300, "");
    expect_dead(l, 7300, ""); /* that was about the other one */
    assert_int_equal(liveness_held(l), 1);
}

static void a_zone_of_three_is_within_the_budget(void **state)
{
    struct liveness *l = *state;
    for (uint32_t id = 4; id <= 7; id++) {
        assert_int_equal(liveness_up(l, 5000, id, id * 10, 1, &sessions[id]), STATUS_OK);
    }
    l->total = 9; /* two more are dead for long */
    assert_int_equal(liveness_was_dead(l, 5000, 8, 80, LIVENESS_BUDGET_MS + 1), STATUS_OK);
    assert_int_equal(liveness_was_dead(l, 5000, 9, 90, LIVENESS_BUDGET_MS + 1), STATUS_OK);
    (void)pass(l, 5100, 6100, "4567");
    expect_dead(l, 6100, "1 2 3");
    (void)pass(l, 6200, 7200, "567");
    expect_dead(l, 7200, "");
    assert_int_equal(liveness_held(l), 1);
    /* What is held stays held, however long ago the others died. */
    uint64_t now = pass(l, 7300, 7300 + 2 * (uint64_t)LIVENESS_BUDGET_MS, "567");
    expect_dead(l, now, "");
}

static void one_that_was_removed_is_not_counted(void **state)
{
    struct liveness *l = *state;
    liveness_removed(l, 1);
    (void)pass(l, 5100, 6100, "3");
    expect_dead(l, 6100, "1 2");
    assert_int_equal(liveness_held(l), 0);
    assert_int_equal(liveness_up(l, 6200, 1, 11, 1, &sessions[1]), STATUS_OK);
    (void)pass(l, 6300, 7300, "1"); /* and it is again when it is back */
    expect_dead(l, 7300, "");
    assert_int_equal(liveness_held(l), 1);
}

static void what_died_under_another_controller_counts(void **state)
{
    struct liveness *l = *state;
    liveness_clear(l);
    liveness_tick(l, 9000);
    assert_int_equal(liveness_was_dead(l, 9000, 1, 10, 1000), STATUS_OK);
    assert_int_equal(liveness_expect(l, 9000, 2, 20), STATUS_OK);
    assert_int_equal(liveness_up(l, 9000, 3, 30, 1, &sessions[3]), STATUS_OK);
    (void)pass(l, 9100, 10100, "3");
    expect_dead(l, 10100, "");
    assert_int_equal(liveness_held(l), 1);
}

/* Beats of 1 and 3 go on and say whom they reach; 2 is silent. */
static uint64_t pass_reaching(struct liveness *l, uint64_t from, uint64_t to, bool one, bool three)
{
    const uint32_t two[] = {2};
    for (uint64_t now = from; now <= to; now += 100) {
        liveness_tick(l, now);
        liveness_beat(l, now, 1, NULL, 0);
        liveness_reaches(l, 1, two, one ? 1 : 0);
        liveness_beat(l, now, 3, NULL, 0);
        liveness_reaches(l, 3, two, three ? 1 : 0);
    }
    return to;
}

static void zones(struct liveness *l, uint32_t one, uint32_t two, uint32_t three)
{
    liveness_in_zone(l, 1, one);
    liveness_in_zone(l, 2, two);
    liveness_in_zone(l, 3, three);
}

static void a_silent_broker_that_two_zones_reach_is_failed_over_after_30_s(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 6000, true, true);
    expect_dead(l, now, "");
    assert_int_equal(liveness_get(l, 2)->isolated_ms, 6000);
    assert_int_equal(liveness_held(l), 0);
    now = pass_reaching(l, 6100, 35900, true, true);
    expect_dead(l, now, "");
    now = pass_reaching(l, 36000, 36000, true, true);
    expect_dead(l, now, "2");
}

static void a_silent_broker_that_one_zone_of_two_reaches_is_dead(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 6000, true, false);
    expect_dead(l, now, "2");
}

static void where_only_one_zone_is_heard_its_word_is_enough(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 1);
    uint64_t now = pass_reaching(l, 5100, 6000, true, false);
    expect_dead(l, now, "");
}

static void an_isolated_broker_that_nobody_reaches_any_more_is_dead_at_once(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 7000, true, true);
    expect_dead(l, now, "");
    now = pass_reaching(l, 7100, 7100, true, false);
    expect_dead(l, now, "2");
}

static void the_word_of_brokers_that_are_silent_themselves_does_not_count(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 5200, false, true);
    expect_dead(l, now, "");
    (void)pass(l, 5300, 6300, "1"); /* 3 has gone silent, too */
    expect_dead(l, 6300, "2");
}

static void an_isolated_broker_that_beats_again_is_well(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 20000, true, true);
    expect_dead(l, now, "");
    liveness_beat(l, 20000, 2, NULL, 0);
    expect_dead(l, 20001, "");
    assert_int_equal(liveness_get(l, 2)->isolated_ms, 0);
    now = pass_reaching(l, 20100, 40000, true, true); /* the 30 s begin anew */
    expect_dead(l, now, "");
}

static void an_operator_may_say_that_an_isolated_broker_is_dead(void **state)
{
    struct liveness *l = *state;
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 7000, true, true);
    expect_dead(l, now, "");
    assert_int_equal(liveness_consent(l), 1);
    expect_dead(l, now, "2");
}

static void a_process_that_died_is_dead_though_others_have_not_noticed(void **state)
{
    struct liveness *l = *state;
    const uint32_t lost[] = {2};
    zones(l, 1, 2, 3);
    uint64_t now = pass_reaching(l, 5100, 5500, true, true);
    liveness_lost(l, now, 2, &sessions[2]);
    liveness_beat(l, now, 1, lost, 1);
    expect_dead(l, now, "2");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_three, release)
    const struct CMUnitTest tests[] = {
        TEST(a_broker_whose_beats_stop_is_dead_after_the_timeout),
        TEST(a_lost_session_is_a_death_after_the_grace),
        TEST(a_session_that_is_back_in_time_is_none),
        TEST(two_who_lost_it_are_enough_at_once),
        TEST(an_old_report_of_a_loss_says_nothing_of_the_new_process),
        TEST(the_word_of_the_dead_counts_for_nothing),
        TEST(a_new_active_controller_gives_everybody_a_full_timeout),
        TEST(a_stall_of_our_own_counts_for_nobody),
        TEST(more_than_a_third_at_once_are_held_until_they_are_back),
        TEST(one_that_comes_back_makes_room_for_another),
        TEST(an_operator_may_consent),
        TEST(a_zone_of_three_is_within_the_budget),
        TEST(one_that_was_removed_is_not_counted),
        TEST(what_died_under_another_controller_counts),
        TEST(a_silent_broker_that_two_zones_reach_is_failed_over_after_30_s),
        TEST(a_silent_broker_that_one_zone_of_two_reaches_is_dead),
        TEST(where_only_one_zone_is_heard_its_word_is_enough),
        TEST(an_isolated_broker_that_nobody_reaches_any_more_is_dead_at_once),
        TEST(the_word_of_brokers_that_are_silent_themselves_does_not_count),
        TEST(an_isolated_broker_that_beats_again_is_well),
        TEST(an_operator_may_say_that_an_isolated_broker_is_dead),
        TEST(a_process_that_died_is_dead_though_others_have_not_noticed),
    };
    return cmocka_run_group_tests_name("liveness", tests, NULL, NULL);
}
