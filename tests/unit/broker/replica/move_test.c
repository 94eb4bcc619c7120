/* Learners, hand-overs, and copies that are installed: docs/replication.md R14, 2.8, 2.9. */
#include "fixture.h"

static struct host D = {
    .id = {.broker = 4, .disk_gen = 1}
};

static int start(void **state)
{
    hosts_start(state);
    D = (struct host){
        .id = {.broker = 4, .disk_gen = 1},
          .boot = 9
    };
    host_recover(&D, 0, 0);
    return 0;
}

static int stop(void **state)
{
    replica_free(D.replica);
    D.replica = NULL;
    return hosts_stop(state);
}

static const char *learn(struct host *h, uint32_t epoch, const struct host *learner)
{
    struct replica_input in = {.type = REPLICA_LEARN, .epoch = epoch};
    if (learner != NULL) {
        in.config.voter[in.config.voter_count++] = learner->id;
    }
    return step(h, in);
}

static const char *hand_over(struct host *h, const struct host *to)
{
    return step(h, (struct replica_input){.type = REPLICA_HANDOVER, .id = to->id});
}

static void a_learner_is_fed_and_told_of_when_it_is_near(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 3);
    synced(&A);
    replicate(&A, &B);
    assert_string_equal(learn(&A, 1, &D), "wake 4\n");
    replicate(&A, &D);
    assert_int_equal(view_of(&D).last.end, view_of(&A).last.end);
    assert_string_equal(learn(&A, 1, &D), "learned 4\n"); /* whoever asks may not have heard */
    assert_string_equal(learn(&A, 2, &D), "STALE");
    assert_string_equal(learn(&B, 1, &D), "NOT_LEADER");
}

static void what_only_a_learner_holds_is_not_committed(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    uint64_t commit = view_of(&A).commit;
    learn(&A, 1, &D);
    replicate(&A, &D);
    propose(&A, 3);
    synced(&A);
    replicate(&A, &D);
    assert_int_equal(view_of(&D).last.end, view_of(&A).last.end);
    assert_int_equal(view_of(&A).commit, commit);
    replicate(&A, &B);
    assert_int_equal(view_of(&A).commit, view_of(&A).last.end);
}

static void a_learner_that_is_not_listed_any_more_is_forgotten(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    learn(&A, 1, &D);
    assert_int_equal(view_of(&A).member_count, 3);
    assert_string_equal(learn(&A, 1, NULL), "");
    assert_int_equal(view_of(&A).member_count, 2);
}

static void a_learner_that_was_made_again_starts_from_nothing(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 3);
    synced(&A);
    replicate(&A, &B);
    learn(&A, 1, &D);
    replicate(&A, &D);
    D.batches = 0; /* dropped, and made again by the same process */
    D.boot--;
    host_recover(&D, 1, 0);
    propose(&A, 2);
    synced(&A);
    replicate(&A, &B);
    replicate(&A, &D);
    assert_int_equal(view_of(&D).last.end, view_of(&A).last.end);
}

static void whoever_lacks_what_is_trimmed_installs_a_copy(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 3);
    propose(&A, 3);
    synced(&A);
    replicate(&A, &B);
    uint64_t start = view_of(&A).last.end - 3;
    assert_string_equal(step(&A, (struct replica_input){.type = REPLICA_RETAIN, .offset = start}),
                        "log start 4\n");
    learn(&A, 1, &D);
    struct wire wire;
    assert_non_null(next_append(&A, &D, &wire)); /* the probe at its end */
    deliver(&D, &wire);
    synced(&D);
    answered(&A, &D);
    next_append(&A, &D, &wire);
    while (!wire.append.install) { /* the log start is probed, once */
        deliver(&D, &wire);
        answered(&A, &D);
        next_append(&A, &D, &wire);
    }
    assert_int_equal(wire.append.prev.end, start);
    assert_non_null(strstr(deliver(&D, &wire), "install at 4\ncommit 4\n"));
    assert_int_equal(D.answer.end, 0); /* nothing counts before it is durable (R9) */
    assert_non_null(strstr(synced(&D), "ok 4 in 1"));
    answered(&A, &D);
    replicate(&A, &D);
    assert_int_equal(view_of(&D).last.end, view_of(&A).last.end);
    assert_int_equal(view_of(&D).log_start, start);
}

static void a_late_install_changes_nothing(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 3);
    synced(&A);
    replicate(&A, &B);
    step(&A, (struct replica_input){.type = REPLICA_RETAIN, .offset = 1});
    learn(&A, 1, &D);
    replicate(&A, &D);
    struct wire late = {
        .append = {.epoch = 1,
                   .leader = A.id,
                   .leader_boot = A.boot,
                   .prev = {.end = 1, .epoch = 1, .crc = A.batch[0].crc},
                   .commit = 4,
                   .log_start = 1,
                   .leader_end = 4,
                   .install = true}
    };
    assert_null(strstr(deliver(&D, &late), "install"));
    assert_int_equal(view_of(&D).last.end, 4);
}

static void a_leader_hands_over_when_its_heir_has_everything(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    propose(&A, 3);
    assert_string_equal(hand_over(&A, &B), "");
    struct replica_slot slot;
    assert_int_equal(replica_slot(A.replica, &slot), STATUS_BUSY);
    synced(&A);
    struct wire wire;
    next_append(&A, &B, &wire);
    deliver(&B, &wire);
    synced(&B);
    assert_non_null(strstr(answered(&A, &B), "handed to 2 in 1\n"));
    tick_at(&A, A.now_ms + REPLICA_HANDOVER_MS); /* nobody came: it goes on */
    assert_int_equal(replica_slot(A.replica, &slot), STATUS_OK);
}

static void nobody_is_handed_over_to_who_is_away_or_no_voter(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    assert_string_equal(hand_over(&B, &A), "NOT_LEADER");
    assert_string_equal(hand_over(&A, &D), "NOT_FOUND");
    learn(&A, 1, &D);
    replicate(&A, &D);
    assert_string_equal(hand_over(&A, &D), "NOT_FOUND");
    peer(&A, &B, REPLICA_PEER_DOWN);
    assert_string_equal(hand_over(&A, &B), "BUSY");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_learner_is_fed_and_told_of_when_it_is_near),
        TEST(what_only_a_learner_holds_is_not_committed),
        TEST(a_learner_that_is_not_listed_any_more_is_forgotten),
        TEST(a_learner_that_was_made_again_starts_from_nothing),
        TEST(whoever_lacks_what_is_trimmed_installs_a_copy),
        TEST(a_late_install_changes_nothing),
        TEST(a_leader_hands_over_when_its_heir_has_everything),
        TEST(nobody_is_handed_over_to_who_is_away_or_no_voter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
