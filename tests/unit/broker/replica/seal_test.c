/* Closing a shard: docs/replication.md 2.12. */
#include "fixture.h"

static const char *seal(struct host *h)
{
    return step(h, (struct replica_input){.type = REPLICA_SEAL});
}

static const char *propose_seal(struct host *h)
{
    return propose_flags(h, REPLICA_BATCH_CONTROL | REPLICA_BATCH_SEAL);
}

static void a_seal_is_for_good_once_it_is_committed(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    assert_string_equal(seal(&A), "seal at 1\n");
    assert_int_equal(view_of(&A).seal_end, 0); /* nothing is sealed by being asked */
    propose_seal(&A);
    assert_int_equal(view_of(&A).seal_end, 2);
    assert_false(view_of(&A).sealed);
    assert_string_equal(seal(&A), ""); /* under way */
    synced(&A);
    replicate(&A, &B);
    assert_true(view_of(&A).sealed);
    assert_string_equal(seal(&A), "sealed 2\n"); /* whoever asks again is told again */
    tick_at(&A, 10);
    replicate(&A, &B);
    assert_true(view_of(&B).sealed); /* followers know, from the log */
}

/* Else a copy of the log that begins behind it would take records again (the model check's find).
 */
static void retention_leaves_the_seal(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    propose_seal(&A);
    synced(&A);
    replicate(&A, &B);
    struct replica_input retain = {.type = REPLICA_RETAIN, .offset = 3};
    assert_string_equal(step(&A, retain), "SEALED");
    retain.offset = 2;
    assert_string_equal(step(&A, retain), "log start 2\n");
}

static void only_control_batches_follow_a_seal(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose_seal(&A);
    assert_string_equal(propose(&A, 1), "SEALED");
    assert_string_equal(propose_seal(&A), "SEALED"); /* nor a second one */
    replicate(&A, &B);
    fence(&B, 2);
    synced(&B);
    grant(&B, 2);
    propose_flags(&B, REPLICA_BATCH_CONTROL); /* EPOCH_START */
    synced(&B);
    replicate(&B, &C);
    assert_true(view_of(&B).open);
    assert_true(view_of(&B).sealed);
    assert_int_equal(view_of(&B).seal_end, 2);
    assert_string_equal(propose(&B, 1), "SEALED");
}

static void a_seal_that_is_truncated_opens_the_shard_again(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose_seal(&A);
    synced(&A); /* and reaches nobody */
    fence(&B, 2);
    synced(&B);
    grant(&B, 2);
    propose_flags(&B, REPLICA_BATCH_CONTROL);
    synced(&B);
    replicate(&B, &C);
    replicate(&B, &A);
    assert_int_equal(view_of(&A).seal_end, 0);
    assert_string_equal(propose(&B, 1), "write up to 3\nwake 1\nwake 3\n");
    assert_string_equal(seal(&B), "seal at 3\n");
}

static void a_restart_finds_the_seal_in_the_log(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose_seal(&A);
    synced(&A);
    replicate(&A, &B);
    host_recover(&B, 1, 1);
    assert_int_equal(view_of(&B).seal_end, 2);
    assert_false(view_of(&B).sealed); /* its commit hint is lower */
    fence(&B, 2);
    synced(&B);
    grant(&B, 2);
    assert_string_equal(seal(&B), "NOT_LEADER"); /* not before EPOCH_START is committed */
    propose_flags(&B, REPLICA_BATCH_CONTROL);
    synced(&B);
    replicate(&B, &C);
    assert_true(view_of(&B).sealed); /* committed by EPOCH_START above it */
    assert_string_equal(seal(&B), "sealed 2\n");
}

static void who_does_not_lead_does_not_seal(void **state)
{
    (void)state;
    assert_string_equal(seal(&A), "NOT_LEADER");
    lead(&A, 1, &B, &C);
    assert_string_equal(seal(&B), "NOT_LEADER");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_seal_is_for_good_once_it_is_committed, hosts_start,
                                        hosts_stop),
        cmocka_unit_test_setup_teardown(retention_leaves_the_seal, hosts_start, hosts_stop),
        cmocka_unit_test_setup_teardown(only_control_batches_follow_a_seal, hosts_start,
                                        hosts_stop),
        cmocka_unit_test_setup_teardown(a_seal_that_is_truncated_opens_the_shard_again, hosts_start,
                                        hosts_stop),
        cmocka_unit_test_setup_teardown(a_restart_finds_the_seal_in_the_log, hosts_start,
                                        hosts_stop),
        cmocka_unit_test_setup_teardown(who_does_not_lead_does_not_seal, hosts_start, hosts_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
