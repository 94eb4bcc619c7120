#include "fixture.h"

static void a_batch_commits_when_a_majority_has_synced_it(void **state)
{
    (void)state;
    struct wire to_b, to_c;
    lead(&A, 1, &B, &C);
    assert_string_equal(propose(&A, 3), "write up to 4\nwake 2\nwake 3\n");
    assert_string_equal(next_append(&A, &B, &to_b), "(1, 1) + 1, commit 1");
    assert_string_equal(next_append(&A, &B, &to_b), "NOT_FOUND");
    assert_string_equal(next_append(&A, &C, &to_c), "(1, 1) + 1, commit 1");
    assert_string_equal(deliver(&B, &to_b), "write up to 4\ncommit 1\n");
    assert_string_equal(synced(&B), "answer 1: ok 4 in 1\n");
    assert_string_equal(answered(&A, &B), ""); /* our own copy is not synced: one of three */
    assert_string_equal(synced(&A), "commit 4\n");
    assert_string_equal(deliver(&C, &to_c), "write up to 4\n");
    assert_string_equal(synced(&C), "answer 1: ok 4 in 1\n");
    assert_string_equal(answered(&A, &C), "");
}

static void two_followers_commit_without_the_leaders_disk(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    next_append(&A, &C, &wire);
    deliver(&C, &wire);
    synced(&C);
    assert_string_equal(answered(&A, &B), "");
    assert_string_equal(answered(&A, &C), "commit 2\n");
    assert_int_equal(view_of(&A).durable_end, 1);
    assert_string_equal(synced(&A), "");
}

static void an_epoch_opens_when_its_first_record_is_committed(void **state)
{
    (void)state;
    struct wire wire;
    assert_string_equal(fence(&A, 1), "promise 1\n");
    assert_string_equal(synced(&A), "report 1: (0, 0), committed 0\n");
    assert_string_equal(grant(&A, 1), "start epoch 1 at 0\n");
    assert_string_equal(propose(&A, 1), "write up to 1\nwake 2\nwake 3\n");
    assert_string_equal(synced(&A), "");
    assert_false(view_of(&A).open);
    assert_string_equal(next_append(&A, &B, &wire), "(0, 0) + 1, commit 0");
    assert_string_equal(deliver(&B, &wire), "promise 1\nwrite up to 1\n");
    assert_string_equal(synced(&B), "answer 1: ok 1 in 1\n");
    assert_string_equal(answered(&A, &B), "commit 1\nlead 1\n");
    assert_true(view_of(&A).open);
    assert_string_equal(grant(&A, 1), ""); /* a new active controller repeats it */
}

static void an_idle_shard_has_no_deadline(void **state)
{
    (void)state;
    struct wire wire;
    assert_true(replica_deadline(B.replica) == UINT64_MAX);
    lead(&A, 1, &B, &C);
    assert_int_equal(replica_deadline(A.replica), REPLICA_COMMIT_IDLE_MS);
    assert_string_equal(tick_at(&A, REPLICA_COMMIT_IDLE_MS), "wake 2\n"); /* C heard with its own */
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 0, commit 1");
    assert_string_equal(deliver(&B, &wire), "commit 1\nanswer 1: ok 1 in 1\n");
    assert_string_equal(answered(&A, &B), "");
    assert_true(replica_deadline(A.replica) == UINT64_MAX);
    assert_true(replica_deadline(B.replica) == UINT64_MAX);
    assert_int_equal(view_of(&C).commit, 1);
}

static void what_is_recovered_is_durable_and_implies_its_promise(void **state)
{
    (void)state;
    host_has(&A, 3, 2);
    host_recover(&A, 1, 7);
    struct replica_view view = view_of(&A);
    assert_int_equal(view.promised, 3);
    assert_int_equal(view.durable_end, 2);
    assert_int_equal(view.commit, 2); /* never above the end */
    assert_int_equal(view.verified_end, 0);
    assert_string_equal(fence(&A, 2), "report: refuses 2, promised 3\n");
}

static void what_was_trimmed_was_committed(void **state)
{
    (void)state;
    host_has(&A, 1, 4);
    A.log_start = 3;
    host_recover(&A, 1, 2); /* the hint is older */
    assert_int_equal(view_of(&A).commit, 3);
}

static void a_single_voter_commits_what_it_has_synced(void **state)
{
    (void)state;
    struct replica_input in = {.type = REPLICA_GRANT, .epoch = 1, .id = A.id, .boot = A.boot};
    in.config = (struct replica_config){.version = 1, .voter_count = 1, .voter = {A.id}};
    fence(&A, 1);
    synced(&A);
    assert_string_equal(step(&A, in), "start epoch 1 at 0\n");
    assert_string_equal(propose(&A, 1), "write up to 1\n");
    assert_string_equal(synced(&A), "commit 1\nlead 1\n");
    assert_true(replica_deadline(A.replica) == UINT64_MAX);
}

static void retention_travels_with_appends_and_never_passes_the_commit(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    struct replica_input retain = {.type = REPLICA_RETAIN, .offset = 2};
    assert_string_equal(step(&A, retain), "INVALID");
    synced(&A);
    replicate(&A, &B);
    assert_string_equal(step(&A, retain), "log start 2\n");
    assert_string_equal(step(&A, retain), "STALE");
    assert_string_equal(step(&B, retain), "NOT_LEADER");
    tick_at(&A, REPLICA_COMMIT_IDLE_MS);
    assert_string_equal(next_append(&A, &B, &wire), "(1, 2) + 0, commit 2");
    assert_string_equal(deliver(&B, &wire), "commit 2\nlog start 2\nanswer 1: ok 2 in 1\n");
    /* C lags: it drops nothing that it has not matched */
    assert_string_equal(next_append(&A, &C, &wire), "(1, 2) + 0, commit 2");
    assert_true(view_of(&A).member[1].needs_copy);
}

static void a_halted_replica_takes_part_in_nothing(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    host_has(&C, 1, 3);
    C.batch[0].crc = 7; /* not what was committed */
    host_recover(&C, 1, 4);
    propose(&A, 1);
    peer(&A, &C, REPLICA_PEER_UP);
    next_append(&A, &C, &wire);
    assert_string_equal(deliver(&C, &wire), "halt\n");
    assert_int_equal(view_of(&C).role, REPLICA_HALTED);
    assert_string_equal(fence(&C, 5), "STALE");
    assert_string_equal(grant(&C, 1), "STALE");
    assert_string_equal(deliver(&C, &wire), "STALE");
    assert_string_equal(tick_at(&C, 1), "STALE");
    assert_string_equal(propose(&C, 1), "NOT_LEADER");
    assert_true(replica_deadline(C.replica) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(a_batch_commits_when_a_majority_has_synced_it),
        TEST(two_followers_commit_without_the_leaders_disk),
        TEST(an_epoch_opens_when_its_first_record_is_committed),
        TEST(an_idle_shard_has_no_deadline),
        TEST(what_is_recovered_is_durable_and_implies_its_promise),
        TEST(what_was_trimmed_was_committed),
        TEST(a_single_voter_commits_what_it_has_synced),
        TEST(retention_travels_with_appends_and_never_passes_the_commit),
        TEST(a_halted_replica_takes_part_in_nothing),
    };
    return cmocka_run_group_tests_name("broker/replica/replica", tests, NULL, NULL);
}
