#include "fixture.h"

static void records_of_an_older_epoch_do_not_commit_by_counting(void **state)
{
    (void)state; /* Figure 8 of the Raft paper */
    struct wire wire;
    host_has(&A, 2, 2); /* of an epoch that A led and could not replicate */
    host_recover(&A, 3, 0);
    fence(&A, 4);
    synced(&A);
    grant(&A, 4);
    propose(&A, 1); /* EPOCH_START, at offset 2 */
    next_append(&A, &B, &wire);
    wire.append.batch_count = 0; /* what the probe carries is cut down to nothing: */
    assert_string_equal(deliver(&B, &wire),
                        "promise 4\nanswer 1: no, promised 4, end 0, probed 2\n");
    assert_string_equal(answered(&A, &B), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(0, 0) + 3, commit 0");
    wire.append.batch_count = 2; /* the old records arrive, EPOCH_START does not */
    assert_string_equal(deliver(&B, &wire), "write up to 2\n");
    assert_string_equal(synced(&B), "answer 1: ok 2 in 4\n");
    assert_string_equal(synced(&A), "");
    assert_string_equal(answered(&A, &B), ""); /* on two of three disks, and not committed */
    wire.append.batch_count = 3;
    assert_string_equal(deliver(&B, &wire), "write up to 3\n");
    assert_string_equal(synced(&B), "answer 1: ok 3 in 4\n");
    assert_string_equal(answered(&A, &B), "commit 3\nlead 4\n");
}

static void a_grant_is_void_without_its_promise_or_for_another_boot(void **state)
{
    (void)state;
    struct replica_input in = {
        .type = REPLICA_GRANT, .epoch = 2, .id = A.id, .boot = A.boot, .config = voters()};
    assert_string_equal(step(&A, in), "STALE"); /* nothing promised */
    fence(&A, 2);
    synced(&A);
    in.boot--;
    assert_string_equal(step(&A, in), "STALE");
    in.boot++;
    in.id = B.id;
    assert_string_equal(step(&A, in), "STALE");
    in.id = A.id;
    in.config.voter[1] = in.config.voter[2];
    assert_string_equal(step(&A, in), "INVALID"); /* a voter twice would count twice */
    in.config = voters();
    fence(&A, 3);
    assert_string_equal(step(&A, in), "STALE"); /* promised higher */
}

static void a_restarted_leader_does_not_resume_its_epoch(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    host_recover(&A, 1, 0);
    struct replica_input old = {
        .type = REPLICA_GRANT, .epoch = 1, .id = A.id, .boot = A.boot - 1, .config = voters()};
    assert_string_equal(step(&A, old), "STALE");
    assert_string_equal(propose(&A, 1), "NOT_LEADER");
}

static void an_unanswered_append_is_asked_about_and_sent_again(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    propose(&A, 1);
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 2, commit 1"); /* lost */
    assert_int_equal(replica_deadline(A.replica), REPLICA_RESEND_MS);
    assert_string_equal(tick_at(&A, REPLICA_RESEND_MS), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 3) + 0, commit 1");
    assert_string_equal(next_append(&A, &B, &wire), "NOT_FOUND"); /* one at a time */
    assert_string_equal(deliver(&B, &wire), "answer 1: no, promised 1, end 1, probed 3, 1@0\n");
    assert_string_equal(answered(&A, &B), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 2, commit 1");
    assert_string_equal(deliver(&B, &wire), "write up to 3\ncommit 1\n");
}

static void a_slow_disk_does_not_get_everything_twice(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire); /* and its sync takes seconds */
    for (uint64_t now = REPLICA_RESEND_MS; now < 1400; now += REPLICA_RESEND_MS) {
        assert_string_equal(tick_at(&A, now), "wake 2\n");
        assert_string_equal(next_append(&A, &B, &wire), "(1, 2) + 0, commit 1");
        assert_string_equal(deliver(&B, &wire), "answer 1: ok 1 in 1\n");
        answered(&A, &B);
    }
    synced(&A);
    synced(&B);
    assert_string_equal(answered(&A, &B), "commit 2\n");
}

static void a_stale_refusal_changes_nothing(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    B.answer = (struct replica_answer){.epoch = 1, .boot = B.boot, .end = 0, .probed = 1};
    assert_string_equal(answered(&A, &B), "STALE"); /* matched since */
    B.answer.epoch = 0;
    assert_string_equal(answered(&A, &B), "STALE");
    B.answer = (struct replica_answer){.ok = true, .epoch = 1, .boot = B.boot - 1, .end = 1};
    assert_string_equal(answered(&A, &B), "STALE"); /* an earlier boot */
    B.answer = (struct replica_answer){.ok = true, .epoch = 1, .boot = B.boot, .end = 9};
    assert_string_equal(answered(&A, &B), "STALE"); /* more than we have */
    B.answer.history_count = REPLICA_HISTORY_SENT + 1;
    assert_string_equal(answered(&A, &B), "INVALID");
    assert_string_equal(next_append(&A, &B, &wire), "NOT_FOUND");
}

static void answers_of_another_disk_do_not_count(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    synced(&A);
    struct host other = B;
    other.id.disk_gen = 2;
    other.answer = (struct replica_answer){.ok = true, .epoch = 1, .boot = B.boot, .end = 2};
    assert_string_equal(answered(&A, &other), "STALE");
    assert_int_equal(view_of(&A).commit, 1);
}

static void a_new_session_starts_with_a_probe(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire); /* lost with its session */
    assert_string_equal(peer(&A, &B, REPLICA_PEER_DOWN), "");
    assert_false(view_of(&A).member[0].connected);
    assert_string_equal(next_append(&A, &B, &wire), "NOT_FOUND");
    assert_string_equal(propose(&A, 1), "write up to 3\n"); /* C was woken, and did not call */
    assert_string_equal(peer(&A, &B, REPLICA_PEER_UP), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 2, commit 1");
    propose(&A, 1);
    assert_string_equal(next_append(&A, &B, &wire), "NOT_FOUND");
    assert_string_equal(peer(&B, &A, REPLICA_PEER_UP), "");
}

static void a_new_boot_must_show_again_what_it_holds(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    answered(&A, &B);
    assert_int_equal(view_of(&A).member[0].match, 2);
    B.batches = 1; /* a damaged disk */
    host_recover_uncertain(&B, 1, 0);
    peer(&A, &B, REPLICA_PEER_UP);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    answered(&A, &B);
    assert_int_equal(view_of(&A).member[0].match, 0);
    assert_string_equal(synced(&A), ""); /* one synced copy, not two */
    replicate(&A, &B);
    assert_int_equal(view_of(&A).commit, 2);
}

static void a_leader_that_cannot_commit_refuses_proposals(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    tick_at(&A, 50);
    A.now_ms = 100;
    propose(&A, 1);
    synced(&A);
    assert_int_equal(replica_deadline(A.replica), 100 + REPLICA_STALL_MS);
    tick_at(&A, 99 + REPLICA_STALL_MS);
    assert_string_equal(propose(&A, 1), "write up to 3\n");
    tick_at(&A, 100 + REPLICA_STALL_MS);
    assert_string_equal(propose(&A, 1), "NO_QUORUM");
    replicate(&A, &B);
    assert_int_equal(view_of(&A).commit, 2);
    assert_string_equal(propose(&A, 1), "write up to 4\nwake 2\n");
}

static void two_fenced_followers_end_a_leadership_one_does_not(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    fence(&B, 2);
    fence(&C, 2);
    deliver(&B, &wire);
    assert_string_equal(answered(&A, &B), "");
    assert_string_equal(answered(&A, &B), "STALE");
    assert_true(view_of(&A).member[0].fenced);
    assert_string_equal(propose(&A, 1), "write up to 3\n");
    next_append(&A, &C, &wire);
    deliver(&C, &wire);
    assert_string_equal(answered(&A, &C), "step down from 1\n");
    assert_string_equal(grant(&A, 1), "STALE"); /* a late copy does not revive it */
}

static void a_follower_below_our_log_start_is_sent_a_copy(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, NULL);
    propose(&A, 1);
    synced(&A);
    replicate(&A, &B);
    step(&A, (struct replica_input){.type = REPLICA_RETAIN, .offset = 2});
    assert_string_equal(next_append(&A, &C, &wire), "(1, 2) + 0, commit 2");
    assert_true(view_of(&A).member[1].needs_copy);
    assert_string_equal(propose(&A, 1), "write up to 3\nwake 2\n");
    synced(&A);
    replicate(&A, &B);
    assert_int_equal(view_of(&A).commit, 3);
}

static void the_window_bounds_what_is_unacknowledged(void **state)
{
    (void)state;
    struct replica_append append;
    uint64_t end;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_OK);
    assert_int_equal(end, 2);
    replica_sent(A.replica, B.id, 2, REPLICA_WINDOW_BYTES, 0);
    assert_string_equal(propose(&A, 1), "write up to 3\n");
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_NOT_FOUND);
    B.answer = (struct replica_answer){.ok = true, .epoch = 1, .boot = B.boot, .end = 2};
    assert_string_equal(answered(&A, &B), "wake 2\n");
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_OK);
}

static void a_send_that_was_overtaken_is_forgotten(void **state)
{
    (void)state;
    struct replica_append append;
    uint64_t end;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_OK);
    peer(&A, &B, REPLICA_PEER_UP); /* while its batches were read from the disk */
    replica_sent(A.replica, B.id, end, 100, 0);
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 1, commit 1");
    fence(&A, 2);
    replica_sent(A.replica, B.id, end, 100, 0);
    assert_int_equal(replica_next_append(A.replica, B.id, 0, &append, &end), STATUS_NOT_FOUND);
}

static void epoch_start_is_asked_for_again_until_it_is_proposed(void **state)
{
    (void)state;
    fence(&A, 1);
    synced(&A);
    grant(&A, 1);
    assert_int_equal(replica_deadline(A.replica), REPLICA_RESEND_MS);
    assert_string_equal(tick_at(&A, REPLICA_RESEND_MS), "start epoch 1 at 0\n");
    propose(&A, 1);
    assert_string_equal(tick_at(&A, REPLICA_RESEND_MS * 2), "");
}

static void a_grant_to_a_log_that_lost_a_committed_record_halts_it(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_recover_uncertain(&A, 1, 3);
    fence(&A, 2);
    synced(&A);
    assert_string_equal(grant(&A, 2), "halt\n");
}

/* The append that tells a commit may be lost while an answer to another one is still to come. */
static void a_late_answer_does_not_stop_the_timer_of_a_lost_commit(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    synced(&A);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    assert_string_equal(answered(&A, &B), "commit 2\n");
    assert_string_equal(tick_at(&A, REPLICA_COMMIT_IDLE_MS), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 2) + 0, commit 2"); /* lost */
    struct host late = B;
    late.answer.end = late.answer.heard = 1;
    answered(&A, &late);
    answered(&A, &B);
    uint64_t at_ms = REPLICA_COMMIT_IDLE_MS + REPLICA_RESEND_MS;
    assert_int_equal(replica_deadline(A.replica), at_ms);
    assert_string_equal(tick_at(&A, at_ms), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &wire), "(1, 2) + 0, commit 2");
    deliver(&B, &wire);
    assert_int_equal(view_of(&B).commit, 2);
    answered(&A, &B);
    assert_int_equal(replica_deadline(A.replica), UINT64_MAX);
}

/* The version before: whatever it confirms, it has heard. Else it would be asked for ever. */
static void an_answer_that_does_not_say_what_it_heard_ends_the_wait(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    synced(&A);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    answered(&A, &B);
    assert_string_equal(tick_at(&A, REPLICA_COMMIT_IDLE_MS), "wake 2\n");
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    B.answer.heard = UINT64_MAX;
    answered(&A, &B);
    assert_int_equal(replica_deadline(A.replica), UINT64_MAX);
    B.answer.heard = 0;
    answered(&A, &B);
    assert_int_equal(replica_deadline(A.replica), UINT64_MAX);
}

static void an_answer_of_a_boot_before_the_session_is_late(void **state)
{
    (void)state;
    struct wire wire;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    struct host late = B;
    host_recover(&B, 1, 0);
    peer(&A, &B, REPLICA_PEER_UP);
    assert_string_equal(next_append(&A, &B, &wire), "(1, 1) + 1, commit 1"); /* lost */
    assert_string_equal(answered(&A, &late), "STALE");
    assert_string_equal(tick_at(&A, REPLICA_RESEND_MS), "wake 2\n");
    replicate(&A, &B);
    assert_int_equal(view_of(&A).member[0].match, 2);
}

/* What came too early is sent again when the refusal comes, not when the timer ends. */
static void an_append_that_overtook_is_sent_again_at_once(void **state)
{
    (void)state;
    struct wire first, second;
    lead(&A, 1, &B, &C);
    propose(&A, 1);
    next_append(&A, &B, &first);
    propose(&A, 1);
    next_append(&A, &B, &second);
    deliver(&B, &second);
    struct host refusal = B;
    deliver(&B, &first);
    synced(&B);
    answered(&A, &B);
    assert_string_equal(answered(&A, &refusal), "wake 2\n");
    assert_string_equal(next_append(&A, &B, &second), "(1, 2) + 1, commit 1");
    deliver(&B, &second);
    synced(&B);
    answered(&A, &B);
    assert_string_equal(answered(&A, &refusal), "STALE"); /* nothing is missing any more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(records_of_an_older_epoch_do_not_commit_by_counting),
        TEST(a_grant_is_void_without_its_promise_or_for_another_boot),
        TEST(a_restarted_leader_does_not_resume_its_epoch),
        TEST(an_unanswered_append_is_asked_about_and_sent_again),
        TEST(a_slow_disk_does_not_get_everything_twice),
        TEST(a_stale_refusal_changes_nothing),
        TEST(answers_of_another_disk_do_not_count),
        TEST(a_new_session_starts_with_a_probe),
        TEST(a_new_boot_must_show_again_what_it_holds),
        TEST(a_leader_that_cannot_commit_refuses_proposals),
        TEST(two_fenced_followers_end_a_leadership_one_does_not),
        TEST(a_follower_below_our_log_start_is_sent_a_copy),
        TEST(the_window_bounds_what_is_unacknowledged),
        TEST(a_send_that_was_overtaken_is_forgotten),
        TEST(epoch_start_is_asked_for_again_until_it_is_proposed),
        TEST(a_grant_to_a_log_that_lost_a_committed_record_halts_it),
        TEST(a_late_answer_does_not_stop_the_timer_of_a_lost_commit),
        TEST(an_answer_that_does_not_say_what_it_heard_ends_the_wait),
        TEST(an_answer_of_a_boot_before_the_session_is_late),
        TEST(an_append_that_overtook_is_sent_again_at_once),
    };
    return cmocka_run_group_tests_name("broker/replica/leader", tests, NULL, NULL);
}
