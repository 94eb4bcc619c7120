#include "fixture.h"

static void damage_shows_in_reports_and_answers(void **state)
{
    (void)state;
    host_has(&B, 1, 2);
    host_recover_uncertain(&B, 1, 0);
    assert_string_equal(fence(&B, 2), "promise 2\n");
    assert_string_equal(synced(&B), "report 2: (1, 2), committed 0, uncertain\n");
    assert_true(view_of(&B).uncertain);
}

static void it_is_cleared_when_all_that_the_leader_had_is_durable_and_verified(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 2);
    synced(&A);
    replicate(&A, &B);
    B.batches = 1; /* the disk lost what B acknowledged */
    host_recover_uncertain(&B, 1, 1);
    peer(&A, &B, REPLICA_PEER_UP);
    next_append(&A, &B, &wire); /* names no boot of B, or an older one: its end proves nothing */
    assert_string_equal(deliver(&B, &wire),
                        "answer 1: no, promised 1, end 1, probed 3, 1@0, uncertain\n");
    assert_string_equal(answered(&A, &B), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 1, commit 3");
    assert_int_equal(wire.append.to_boot, B.boot);
    assert_string_equal(deliver(&B, &wire), "write up to 3\ncommit 3\n");
    assert_true(view_of(&B).uncertain); /* received is not durable */
    assert_string_equal(synced(&B), "uncertain cleared\nanswer 1: ok 3 in 1\n");
    assert_false(view_of(&B).uncertain);
}

static void an_end_from_before_the_damage_was_known_does_not_clear_it(void **state)
{
    (void)state;
    struct wire early;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &early); /* to B's earlier boot */
    propose(&A, 1);
    replicate(&A, &B);
    B.batches = 1;
    host_recover_uncertain(&B, 1, 1);
    deliver(&B, &early);
    assert_string_equal(synced(&B), "answer 1: ok 2 in 1, uncertain\n");
    assert_true(view_of(&B).uncertain);
}

static void an_idle_leader_greets_an_uncertain_follower(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    host_recover_uncertain(&B, 1, 1);
    peer(&A, &B, REPLICA_PEER_UP);
    next_append(&A, &B, &wire);
    assert_string_equal(deliver(&B, &wire), "answer 1: ok 1 in 1, uncertain\n");
    assert_string_equal(answered(&A, &B), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 0, commit 1");
    assert_string_equal(deliver(&B, &wire), "uncertain cleared\nanswer 1: ok 1 in 1\n");
    assert_string_equal(answered(&A, &B), "");
}

static void an_elected_uncertain_replica_is_cleared_by_its_own_commit(void **state)
{
    (void)state;
    struct wire wire;
    host_has(&A, 1, 2);
    host_recover_uncertain(&A, 1, 0);
    fence(&A, 2);
    synced(&A);
    grant(&A, 2);
    propose(&A, 1);
    assert_string_equal(synced(&A), "");
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    answered(&A, &B);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    assert_string_equal(answered(&A, &B), "commit 3\nlead 2\nuncertain cleared\n");
}

static void a_new_epoch_starts_the_handshake_anew(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    synced(&A);
    replicate(&A, &B);
    B.batches = 1;
    host_recover_uncertain(&B, 1, 1);
    peer(&A, &B, REPLICA_PEER_UP);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    answered(&A, &B);
    next_append(&A, &B, &wire);
    deliver(&B, &wire); /* greeted in epoch 1; the end of that epoch's leader is 2 */
    fence(&B, 2);
    assert_string_equal(synced(&B), "report 2: (1, 2), committed 2, uncertain\n");
    assert_true(view_of(&B).uncertain);
}

static void a_report_before_the_clearing_is_durable_is_not_certain(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    host_recover_uncertain(&B, 1, 1);
    peer(&A, &B, REPLICA_PEER_UP);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    answered(&A, &B);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    assert_string_equal(fence(&B, 2), "promise 2\n");
    assert_string_equal(synced_to(&B, 1), ""); /* the clearing; the promise is still to come */
    assert_string_equal(synced_to(&B, 2), "report 2: (1, 1), committed 1\n");
}

static void it_says_nothing_before_it_knows_what_it_may_have_promised(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    host_recover_unaware(&B, 1, 0);
    assert_true(view_of(&B).needs_floor);
    assert_string_equal(deliver(&B, &wire), "STALE");
    assert_string_equal(fence(&B, 1), "STALE");
    assert_string_equal(fence(&B, 5), "STALE");
    assert_int_equal(view_of(&B).promised, 1);
}

static void a_lost_promise_is_made_up_for_by_the_epoch_of_the_controllers(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    host_recover_unaware(&B, 1, 0); /* it had promised 2, and that is lost */
    assert_string_equal(floor_at(&B, 2), "promise 2\n");
    assert_string_equal(synced(&B), ""); /* nobody had asked */
    assert_false(view_of(&B).needs_floor);
    assert_string_equal(deliver(&B, &wire),
                        "answer 1: no, promised 2, end 1, probed 0, uncertain\n");
    assert_string_equal(floor_at(&B, 3), "STALE"); /* once */
}

static void a_floor_that_is_not_higher_lets_the_same_leader_go_on(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    host_recover_unaware(&B, 1, 0);
    assert_string_equal(floor_at(&B, 1), "");
    assert_string_equal(deliver(&B, &wire), "write up to 2\ncommit 1\n");
    assert_string_equal(synced(&B), "answer 1: ok 2 in 1, uncertain\n");
}

static void an_undamaged_replica_needs_no_floor(void **state)
{
    (void)state;
    host_recover(&B, 1, 0);
    assert_false(view_of(&B).needs_floor);
    assert_string_equal(floor_at(&B, 7), "STALE");
    assert_int_equal(view_of(&B).promised, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(damage_shows_in_reports_and_answers),
        TEST(it_is_cleared_when_all_that_the_leader_had_is_durable_and_verified),
        TEST(an_end_from_before_the_damage_was_known_does_not_clear_it),
        TEST(an_idle_leader_greets_an_uncertain_follower),
        TEST(an_elected_uncertain_replica_is_cleared_by_its_own_commit),
        TEST(a_new_epoch_starts_the_handshake_anew),
        TEST(a_report_before_the_clearing_is_durable_is_not_certain),
        TEST(it_says_nothing_before_it_knows_what_it_may_have_promised),
        TEST(a_lost_promise_is_made_up_for_by_the_epoch_of_the_controllers),
        TEST(a_floor_that_is_not_higher_lets_the_same_leader_go_on),
        TEST(an_undamaged_replica_needs_no_floor),
    };
    return cmocka_run_group_tests_name("broker/replica/uncertain", tests, NULL, NULL);
}
