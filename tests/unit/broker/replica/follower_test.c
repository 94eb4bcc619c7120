#include "fixture.h"

/* An append of `count` batches of one record each, from a log that `from` holds. */
static struct wire from_log(const struct host *from, uint32_t epoch, uint64_t prev, uint32_t count)
{
    struct wire wire = {
        .append = {.epoch = epoch,
                   .cfg_ver = 1,
                   .leader = from->id,
                   .leader_boot = from->boot,
                   .leader_end = from->batches,
                   .batch_count = count}
    };
    if (prev > 0) {
        const struct replica_batch *b = &from->batch[prev - 1];
        wire.append.prev = (struct log_point){.end = prev, .epoch = b->epoch, .crc = b->crc};
    }
    memcpy(wire.batch, &from->batch[prev], count * sizeof(wire.batch[0]));
    return wire;
}

static void a_conflict_is_truncated_before_it_is_written_over(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&A, 3, 3); /* the leader: 1 1 3 3 3 */
    host_has(&B, 1, 2);
    host_has(&B, 2, 4); /* 1 1 2 2 2 2 */
    host_recover(&B, 2, 2);
    struct wire wire = from_log(&A, 3, 1, 4);
    assert_string_equal(deliver(&B, &wire), "promise 3\ntruncate to 2\nwrite up to 5\n");
    assert_true(B.effects.effect[1].seq < B.effects.effect[2].seq);
    assert_int_equal(view_of(&B).durable_end, 2);
    assert_string_equal(synced_to(&B, B.newest_seq - 1), "answer 1: ok 2 in 3\n");
    assert_string_equal(synced(&B), "answer 1: ok 5 in 3\n");
}

static void what_is_held_already_is_not_written_again(void **state)
{
    (void)state;
    host_has(&A, 1, 3);
    host_has(&B, 1, 5); /* a longer log, whose rest the leader said nothing about */
    host_recover(&B, 1, 0);
    struct wire wire = from_log(&A, 1, 0, 3);
    assert_string_equal(deliver(&B, &wire), "answer 1: ok 3 in 1\n"); /* never "my end": R11 */
    assert_int_equal(view_of(&B).last.end, 5);
    wire.append.commit = 5;
    assert_string_equal(deliver(&B, &wire), "commit 3\nanswer 1: ok 3 in 1\n");
}

static void a_commit_above_what_is_verified_is_remembered(void **state)
{
    (void)state;
    host_has(&A, 1, 5);
    struct wire wire = from_log(&A, 1, 0, 3);
    wire.append.commit = 5;
    assert_string_equal(deliver(&B, &wire), "promise 1\nwrite up to 3\ncommit 3\n");
    wire = from_log(&A, 1, 3, 2);
    assert_string_equal(deliver(&B, &wire), "write up to 5\ncommit 5\n");
}

static void an_append_beyond_our_end_is_refused_with_our_epochs(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&A, 4, 6);
    host_has(&B, 1, 1);
    host_has(&B, 2, 1);
    host_recover(&B, 2, 0);
    struct wire wire = from_log(&A, 4, 5, 2);
    assert_string_equal(deliver(&B, &wire),
                        "promise 4\nanswer 1: no, promised 4, end 2, probed 5, 2@1, 1@0\n");
    wire = from_log(&A, 4, 2, 2); /* there is an end, with another epoch */
    assert_string_equal(deliver(&B, &wire),
                        "answer 1: no, promised 4, end 2, probed 2, 2@1, 1@0\n");
}

static void an_acknowledgement_waits_for_the_promise(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&B, 1, 2);
    host_recover(&B, 1, 0);
    struct wire wire = from_log(&A, 2, 2, 0);
    assert_string_equal(deliver(&B, &wire), "promise 2\n");
    assert_string_equal(synced(&B), "answer 1: ok 2 in 2\n");
    assert_string_equal(deliver(&B, &wire), "answer 1: ok 2 in 2\n");
}

static void nothing_below_a_known_commit_is_given_up(void **state)
{
    (void)state;
    host_has(&A, 1, 1);
    host_has(&A, 3, 3);
    host_has(&B, 1, 1);
    host_has(&B, 2, 3);
    host_recover(&B, 2, 3);
    struct wire wire = from_log(&A, 3, 1, 3);
    assert_string_equal(deliver(&B, &wire), "promise 3\nhalt\n");
    assert_int_equal(B.batches, 4);
}

static void a_mismatch_below_a_known_commit_halts(void **state)
{
    (void)state;
    host_has(&A, 3, 4);
    host_has(&B, 2, 4);
    host_recover(&B, 2, 3);
    struct wire wire = from_log(&A, 3, 2, 1);
    assert_string_equal(deliver(&B, &wire), "promise 3\nhalt\n");
}

static void a_second_leader_of_an_epoch_is_not_followed(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    host_has(&C, 1, 2);
    struct wire wire = from_log(&A, 1, 0, 1);
    deliver(&B, &wire);
    struct wire other = from_log(&C, 1, 0, 1);
    assert_string_equal(deliver(&B, &other), "STALE");
    wire.append.leader_boot++;
    assert_string_equal(deliver(&B, &wire), "STALE");
}

static void an_append_of_the_epoch_that_we_lead_is_stale(void **state)
{
    (void)state;
    lead(&A, 1, &B, &C);
    host_has(&B, 1, 1);
    struct wire wire = from_log(&B, 1, 0, 1);
    assert_string_equal(deliver(&A, &wire), "STALE");
    wire.append.epoch = 2;
    assert_string_equal(deliver(&A, &wire), "step down from 1\npromise 2\n");
    assert_int_equal(view_of(&A).leader.broker, 2);
}

static void an_older_leader_is_told_the_promise(void **state)
{
    (void)state;
    host_has(&A, 1, 2);
    fence(&B, 5);
    struct wire wire = from_log(&A, 4, 0, 2);
    assert_string_equal(deliver(&B, &wire), "answer 1: no, promised 5, end 0, probed 0\n");
}

static void a_new_epoch_must_verify_again(void **state)
{
    (void)state;
    host_has(&A, 1, 3);
    host_has(&B, 1, 3);
    host_recover(&B, 1, 0);
    struct wire wire = from_log(&A, 1, 3, 0);
    assert_string_equal(deliver(&B, &wire), "answer 1: ok 3 in 1\n");
    host_has(&C, 1, 2);
    host_has(&C, 2, 1);
    wire = from_log(&C, 2, 1, 0);
    wire.append.commit = 3;
    assert_string_equal(deliver(&B, &wire), "promise 2\ncommit 1\n");
    assert_string_equal(synced(&B), "answer 3: ok 1 in 2\n");
}

static void a_malformed_append_changes_nothing(void **state)
{
    (void)state;
    host_has(&A, 1, 3);
    const struct wire good = from_log(&A, 1, 1, 2);
    struct wire bad = good;
    bad.append.epoch = 0;
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.batch[1].base++;
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.batch[1].prev_crc++;
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.batch[1].count = 0;
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.batch[0].epoch = 2; /* higher than the leader's */
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.append.leader_end = 2;
    assert_string_equal(deliver(&B, &bad), "INVALID");
    bad = good;
    bad.append.prev = (struct log_point){.crc = 1};
    assert_string_equal(deliver(&B, &bad), "INVALID");
    assert_int_equal(view_of(&B).promised, 0);
}

static void what_lies_below_our_log_start_counts_as_verified(void **state)
{
    (void)state;
    host_has(&A, 1, 6);
    host_has(&B, 1, 5);
    B.log_start = 3;
    host_recover(&B, 1, 4);
    struct wire wire = from_log(&A, 1, 1, 1);
    assert_string_equal(deliver(&B, &wire), "answer 1: ok 3 in 1\n");
    wire = from_log(&A, 1, 1, 5);
    assert_string_equal(deliver(&B, &wire), "write up to 6\n");
}

static void epochs_never_fall_along_a_log(void **state)
{
    (void)state;
    host_has(&A, 2, 3);
    host_has(&B, 5, 3);
    host_has(&B, 6, 1);
    B.log_start = 4; /* all of it is trimmed, and the shell has forgotten the point */
    host_recover(&B, 7, 4);
    struct wire wire = from_log(&A, 7, 2, 1);
    wire.append.leader_end = 5;
    wire.append.batch_count = 2;
    wire.batch[1] = (struct replica_batch){
        .base = 3, .count = 2, .epoch = 2, .crc = 1, .prev_crc = wire.batch[0].crc};
    assert_string_equal(deliver(&B, &wire), "halt\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, hosts_start, hosts_stop)
        TEST(a_conflict_is_truncated_before_it_is_written_over),
        TEST(what_is_held_already_is_not_written_again),
        TEST(a_commit_above_what_is_verified_is_remembered),
        TEST(an_append_beyond_our_end_is_refused_with_our_epochs),
        TEST(an_acknowledgement_waits_for_the_promise),
        TEST(nothing_below_a_known_commit_is_given_up),
        TEST(a_mismatch_below_a_known_commit_halts),
        TEST(a_second_leader_of_an_epoch_is_not_followed),
        TEST(an_append_of_the_epoch_that_we_lead_is_stale),
        TEST(an_older_leader_is_told_the_promise),
        TEST(a_new_epoch_must_verify_again),
        TEST(a_malformed_append_changes_nothing),
        TEST(what_lies_below_our_log_start_counts_as_verified),
        TEST(epochs_never_fall_along_a_log),
    };
    return cmocka_run_group_tests_name("broker/replica/follower", tests, NULL, NULL);
}
