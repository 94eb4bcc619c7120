#include "fixture.h"

/* A leads `epoch` with the log it has; replicates to B; both logs must end equal. Returns how many
 * appends that took. */
static uint32_t reconcile(uint32_t epoch)
{
    struct wire wire;
    fence(&A, epoch);
    synced(&A);
    grant(&A, epoch);
    propose(&A, 1);
    synced(&A);
    uint32_t appends = 0;
    while (strcmp(next_append(&A, &B, &wire), "NOT_FOUND") != 0) {
        appends++;
        assert_true(appends < 40);
        deliver(&B, &wire);
        if (strstr(B.text, "answer") == NULL) {
            synced(&B);
        }
        answered(&A, &B);
    }
    assert_int_equal(view_of(&A).commit, view_of(&A).last.end);
    assert_int_equal(A.batches, B.batches);
    for (uint32_t i = 0; i < A.batches; i++) {
        assert_int_equal(A.batch[i].crc, B.batch[i].crc);
    }
    return appends;
}

static void a_follower_that_lags_needs_one_refusal(void **state)
{
    (void)state;
    host_has(&A, 1, 5);
    host_has(&A, 3, 5);
    host_recover(&A, 3, 0);
    host_has(&B, 1, 3);
    host_recover(&B, 1, 0);
    assert_int_equal(reconcile(4), 2);
}

static void a_deposed_leaders_suffix_is_cut(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&A, 3, 2);
    host_recover(&A, 3, 0);
    host_has(&B, 1, 2);
    host_has(&B, 2, 9);
    host_recover(&B, 2, 2);
    assert_int_equal(reconcile(4), 2);
}

static void only_epochs_that_both_hold_are_compared(void **state)
{
    (void)state; /* gaps on both sides: 5 and 7 were granted and never used by the other */
    host_has(&A, 2, 3);
    host_has(&A, 6, 2);
    host_has(&A, 8, 1);
    host_recover(&A, 8, 0);
    host_has(&B, 2, 4);
    host_has(&B, 5, 2);
    host_has(&B, 7, 3);
    host_recover(&B, 7, 0);
    assert_int_equal(reconcile(9), 2);
}

static void equal_epochs_of_different_length_meet_at_the_shorter_end(void **state)
{
    (void)state;
    host_has(&A, 1, 1);
    host_has(&A, 4, 6);
    host_has(&A, 6, 1);
    host_recover(&A, 6, 0);
    host_has(&B, 1, 1);
    host_has(&B, 4, 3);
    host_has(&B, 5, 8);
    host_recover(&B, 5, 0);
    assert_int_equal(reconcile(7), 2);
}

static void a_long_history_without_a_common_epoch_is_searched_in_steps(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&A, 100, 90);
    host_recover(&A, 100, 0);
    host_has(&B, 1, 2);
    for (uint32_t epoch = 2; epoch < 80; epoch++) {
        host_has(&B, epoch, 1);
    }
    host_recover(&B, 80, 0);
    assert_true(reconcile(101) <= 5);
}

static void logs_with_nothing_in_common_meet_at_the_start(void **state)
{
    (void)state;
    host_has(&A, 5, 3);
    host_recover(&A, 5, 0);
    host_has(&B, 2, 4);
    host_recover(&B, 2, 0);
    assert_true(reconcile(6) <= 3);
}

static void a_nonsensical_refusal_still_ends(void **state)
{
    (void)state;
    struct wire wire;
    host_has(&A, 1, 4);
    host_has(&A, 3, 4);
    host_recover(&A, 3, 0);
    fence(&A, 4);
    synced(&A);
    grant(&A, 4);
    propose(&A, 1);
    uint32_t appends = 0;
    while (strcmp(next_append(&A, &B, &wire), "NOT_FOUND") != 0 && wire.append.prev.end > 0) {
        assert_true(++appends < 12);
        B.answer = (struct replica_answer){
            .epoch = 4,
            .boot = B.boot,
            .end = 1000,
            .probed = wire.append.prev.end,
            .history_count = 2,
            .history = {{3, 500}, {1, 600}}
        };
        answered(&A, &B);
    }
    assert_int_equal(wire.append.prev.end, 0);
}

static void a_trimmed_leader_probes_its_log_start_last(void **state)
{
    (void)state;
    struct wire wire;
    host_has(&A, 1, 2);
    host_has(&A, 4, 4);
    A.log_start = 3;
    host_recover(&A, 4, 3);
    host_has(&B, 1, 2);
    host_has(&B, 2, 5); /* diverged below A's log start */
    host_recover(&B, 2, 0);
    fence(&A, 5);
    synced(&A);
    grant(&A, 5);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    answered(&A, &B);
    assert_string_equal(next_append(&A, &B, &wire), "(4, 3) + 4, commit 3");
    deliver(&B, &wire);
    answered(&A, &B);
    assert_string_equal(next_append(&A, &B, &wire), "(4, 3) + 0, commit 3");
    assert_true(view_of(&A).member[0].needs_copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(a_follower_that_lags_needs_one_refusal),
        TEST(a_deposed_leaders_suffix_is_cut),
        TEST(only_epochs_that_both_hold_are_compared),
        TEST(equal_epochs_of_different_length_meet_at_the_shorter_end),
        TEST(a_long_history_without_a_common_epoch_is_searched_in_steps),
        TEST(logs_with_nothing_in_common_meet_at_the_start),
        TEST(a_nonsensical_refusal_still_ends),
        TEST(a_trimmed_leader_probes_its_log_start_last),
    };
    return cmocka_run_group_tests_name("broker/replica/search", tests, NULL, NULL);
}
