#include "fixture.h"

static void a_report_waits_for_the_promise_and_for_the_whole_log(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    uint64_t written = B.newest_seq;
    assert_string_equal(fence(&B, 2), "promise 2\n");
    assert_string_equal(synced_to(&B, written), ""); /* the batch is durable, the promise not */
    assert_string_equal(synced(&B), "report 2: (1, 2), committed 1\n");
}

static void a_fence_is_idempotent(void **state)
{
    (void)state;
    assert_string_equal(fence(&A, 3), "promise 3\n");
    assert_string_equal(fence(&A, 3), ""); /* one report is on its way already */
    assert_string_equal(synced(&A), "report 3: (0, 0), committed 0\n");
    assert_string_equal(fence(&A, 3), "report 3: (0, 0), committed 0\n");
}

static void a_higher_fence_replaces_a_report_that_waits(void **state)
{
    (void)state;
    fence(&A, 3);
    assert_string_equal(fence(&A, 4), "promise 4\n");
    assert_string_equal(synced_to(&A, 1), "");
    assert_string_equal(synced_to(&A, 2), "report 4: (0, 0), committed 0\n");
}

static void a_lower_fence_is_told_what_was_promised(void **state)
{
    (void)state;
    fence(&A, 5);
    assert_string_equal(fence(&A, 4), "report: refuses 4, promised 5\n");
    assert_string_equal(synced(&A), "report 5: (0, 0), committed 0\n");
}

static void nothing_below_a_promise_is_accepted(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &C, NULL);
    next_append(&A, &B, &wire);
    fence(&B, 2);
    assert_string_equal(deliver(&B, &wire), "answer 1: no, promised 2, end 0, probed 0\n");
    assert_int_equal(view_of(&B).last.end, 0);
}

static void a_fenced_leader_stops_before_it_promises(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 2);
    assert_string_equal(fence(&A, 2), "step down from 1\npromise 2\n");
    assert_string_equal(propose(&A, 1), "NOT_LEADER");
    assert_string_equal(step(&A, (struct replica_input){.type = REPLICA_PROPOSED}), "NOT_LEADER");
    assert_string_equal(answered(&A, &B), "STALE");
    assert_string_equal(synced(&A), "report 2: (1, 3), committed 1\n");
}

static void a_late_fence_of_our_own_epoch_does_not_depose_us(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    assert_string_equal(fence(&A, 1), "STALE");
    assert_int_equal(view_of(&A).role, REPLICA_LEADING);
}

static void a_waiting_report_ends_with_its_election(void **state)
{
    (void)state;
    struct wire wire;
    fence(&B, 1); /* not synced; A and C elect without it */
    lead(&A, 1, &C, NULL);
    next_append(&A, &B, &wire);
    assert_string_equal(deliver(&B, &wire), "write up to 1\ncommit 1\n");
    assert_string_equal(synced(&B), "answer 1: ok 1 in 1\n");
}

static void a_new_disk_neither_promises_nor_leads(void **state)
{
    (void)state;
    struct replica_input in = {.type = REPLICA_FENCE, .epoch = 1, .config = voters()};
    in.config.voter[0].disk_gen = 2; /* the controllers mean another disk of this broker */
    assert_string_equal(step(&A, in), "STALE");
    fence(&A, 1);
    in.type = REPLICA_GRANT;
    in.boot = A.boot;
    in.id = A.id;
    assert_string_equal(step(&A, in), "STALE");
    in.config = voters();
    in.id.disk_gen = 2;
    assert_string_equal(step(&A, in), "STALE");
    in.epoch = 0;
    assert_string_equal(step(&A, in), "INVALID");
    in.type = REPLICA_FENCE;
    assert_string_equal(step(&A, in), "INVALID");
}

static void a_promise_outlives_a_restart(void **state)
{
    (void)state;
    fence(&A, 7);
    synced(&A);
    host_recover(&A, 7, 0);
    assert_string_equal(fence(&A, 6), "report: refuses 6, promised 7\n");
    assert_string_equal(fence(&A, 7), "report 7: (0, 0), committed 0\n");
    assert_int_equal(A.effects.effect[0].report.boot, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(a_report_waits_for_the_promise_and_for_the_whole_log),
        TEST(a_fence_is_idempotent),
        TEST(a_higher_fence_replaces_a_report_that_waits),
        TEST(a_lower_fence_is_told_what_was_promised),
        TEST(nothing_below_a_promise_is_accepted),
        TEST(a_fenced_leader_stops_before_it_promises),
        TEST(a_late_fence_of_our_own_epoch_does_not_depose_us),
        TEST(a_waiting_report_ends_with_its_election),
        TEST(a_new_disk_neither_promises_nor_leads),
        TEST(a_promise_outlives_a_restart),
    };
    return cmocka_run_group_tests_name("broker/replica/fence", tests, NULL, NULL);
}
