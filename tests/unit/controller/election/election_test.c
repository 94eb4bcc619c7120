/* The life of a leadership, and everything that may come late, twice or never. */
#include "tests/unit/controller/election/conversation.h"

/* Shard 1 is ELECTING epoch 5 and all three have been fenced. */
static void electing_epoch_5(void)
{
    all_up();
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_ELECTING, 5))),
           "fence to 1 shard 1 epoch 5\n"
           "fence to 2 shard 1 epoch 5\n"
           "fence to 3 shard 1 epoch 5\n");
}

static void a_new_shard_is_elected_granted_and_then_needs_nothing(void **state)
{
    (void)state;
    all_up();
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_IDLE, 0))), "electing shard 1 epoch 1\n");
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_ELECTING, 1))),
           "fence to 1 shard 1 epoch 1\n"
           "fence to 2 shard 1 epoch 1\n"
           "fence to 3 shard 1 epoch 1\n");
    EXPECT(STATUS_OK, (report(2, 1, 0, 0)), "");
    EXPECT(STATUS_OK, (report(3, 1, 0, 0)), ""); /* everybody's replica is made by it */
    assert_int_equal(election_deadline(e), now_ms + ELECTION_PATIENCE_MS);
    now_ms += ELECTION_PATIENCE_MS;
    EXPECT(STATUS_OK, (tick()), "active shard 1 epoch 1 leader 2.1 boot 20 v1\n");
    EXPECT(STATUS_OK, (ROW(active_row(1, 1, 2, 20))),
           "grant to 2 shard 1 epoch 1 leader 2.1 boot 20 v1\n");
    EXPECT(STATUS_OK, (said(ELECTION_OPENED, 2, 20, 1, 1)), "");
    now_ms += 600;
    EXPECT(STATUS_OK, (tick()), "");
    assert_int_equal(election_deadline(e), UINT64_MAX);
}

static void nothing_is_fenced_before_its_epoch_is_committed(void **state)
{
    (void)state;
    all_up();
    EXPECT(STATUS_OK, (ROW(active_row(1, 4, 1, 10))),
           "grant to 1 shard 1 epoch 4 leader 1.1 boot 10 v1\n");
    EXPECT(STATUS_OK, (down(1)), "electing shard 1 epoch 5\n");
    EXPECT(STATUS_OK, (down(2)), "");
    now_ms += ELECTION_PROPOSE_MS;
    EXPECT(STATUS_OK, (tick()), "electing shard 1 epoch 5\n");
}

static void the_greatest_last_epoch_wins_over_the_longest_log(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (report(1, 5, 3, 900)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 200)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
}

static void the_longer_log_wins_in_one_epoch(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (report(1, 5, 4, 200)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 201)), "active shard 1 epoch 5 leader 2.1 boot 20 v1\n");
}

static void among_equals_the_broker_that_leads_least_wins_then_the_preferred_one(void **state)
{
    (void)state;
    all_up();
    for (uint32_t shard = 11; shard <= 13; shard++) {
        struct election_row led = active_row(shard, 1, shard - 10, 10 * (shard - 10));
        assert_int_equal(feed(row_input(&led)), STATUS_OK);
    }
    struct election_row row = new_row(1, ELECTION_ELECTING, 5);
    row.preferred = 3;
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (report(1, 5, 4, 7)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 7)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
    struct election_row won = active_row(1, 5, 3, 30);
    assert_int_equal(feed(row_input(&won)), STATUS_OK);
    row.epoch = 6; /* now broker 3 leads two, the others one */
    row.shard = 2;
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    struct election_input three = report(3, 6, 4, 7), two = report(2, 6, 4, 7);
    three.shard = two.shard = 2;
    EXPECT(STATUS_OK, (three), "");
    EXPECT(STATUS_OK, (two), "active shard 2 epoch 6 leader 2.1 boot 20 v1\n");
}

static void the_preferred_leader_gets_a_moment_to_reply_and_no_more(void **state)
{
    (void)state;
    all_up();
    struct election_row row = new_row(1, ELECTION_ELECTING, 5);
    row.preferred = 3;
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (report(1, 5, 4, 7)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 7)), "");
    assert_int_equal(election_deadline(e), now_ms + ELECTION_PATIENCE_MS);
    now_ms += ELECTION_PATIENCE_MS;
    EXPECT(STATUS_OK, (tick()), "active shard 1 epoch 5 leader 1.1 boot 10 v1\n");
    row.epoch = 6;
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (report(1, 6, 4, 7)), "");
    EXPECT(STATUS_OK, (report(2, 6, 4, 7)), "");
    EXPECT(STATUS_OK, (report(3, 6, 4, 7)), "active shard 1 epoch 6 leader 3.1 boot 30 v1\n");
    row.epoch = 7;
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (report(1, 7, 4, 7)), "");
    EXPECT(STATUS_OK, (report(2, 7, 4, 7)), "");
    EXPECT(STATUS_OK, (down(3)), "active shard 1 epoch 7 leader 1.1 boot 10 v1\n");
}

static void a_lost_broker_s_shards_are_spread_before_any_of_them_commits(void **state)
{
    (void)state;
    all_up();
    uint32_t chosen[4] = {0};
    for (uint32_t shard = 1; shard <= 10; shard++) {
        struct election_row row = new_row(shard, ELECTION_ELECTING, 2);
        assert_int_equal(feed(row_input(&row)), STATUS_OK);
        for (uint32_t id = 1; id <= 2; id++) {
            struct election_input in = report(id, 2, 1, 50);
            in.shard = shard;
            assert_int_equal(feed(in), STATUS_OK);
        }
        assert_int_equal(effects.count, 1);
        chosen[effects.effect[0].leader.broker]++;
    }
    assert_int_equal(chosen[1], 5);
    assert_int_equal(chosen[2], 5);
}

static void an_uncertain_reply_counts_only_when_everybody_has_replied(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (uncertain(report(1, 5, 4, 90))), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 80)), "");
    EXPECT(STATUS_OK, (uncertain(report(3, 5, 4, 85))),
           "active shard 1 epoch 5 leader 1.1 boot 10 v1\n");
}

static void two_certain_replies_do_without_the_uncertain_one(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (uncertain(report(1, 5, 4, 90))), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 80)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 95)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
}

static void a_best_log_with_holes_is_set_aside_while_the_other_replies_suffice(void **state)
{
    (void)state;
    all_up();
    struct election_row row = new_row(1, ELECTION_ELECTING, 5);
    row.preferred = 3; /* so that the third reply is waited for */
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (holed(report(1, 5, 4, 90), 20)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 80)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 85)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
    row.epoch = 6; /* without the holed one there is no majority of certain replies */
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (holed(report(1, 6, 4, 90), 20)), "");
    EXPECT(STATUS_OK, (report(2, 6, 4, 80)), "");
    EXPECT(STATUS_OK, (uncertain(report(3, 6, 4, 85))),
           "active shard 1 epoch 6 leader 1.1 boot 10 v1\n");
}

static void holes_above_every_other_end_wait_for_all_voters(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (holed(report(1, 5, 4, 90), 81)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 80)), "");
    now_ms += 2 * ELECTION_PATIENCE_MS;
    assert_int_equal(feed(tick()), STATUS_OK);
    assert_null(strstr(text, "active"));
    EXPECT(STATUS_OK, (uncertain(report(3, 5, 4, 85))),
           "active shard 1 epoch 5 leader 1.1 boot 10 v1\n");
    struct election_row row = new_row(1, ELECTION_ELECTING, 6);
    assert_int_equal(feed(row_input(&row)), STATUS_OK);
    EXPECT(STATUS_OK, (holed(report(1, 6, 4, 90), 80)), ""); /* the second has what is missing */
    EXPECT(STATUS_OK, (report(2, 6, 4, 80)), "active shard 1 epoch 6 leader 1.1 boot 10 v1\n");
}

static void replies_of_other_boots_epochs_and_replicas_do_not_count(void **state)
{
    (void)state;
    electing_epoch_5();
    struct election_input old_boot = report(1, 5, 4, 9), other_disk = report(1, 5, 4, 9);
    old_boot.report.boot = 9;
    other_disk.report.replica.disk_gen = 2;
    EXPECT(STATUS_STALE, (old_boot), "");
    EXPECT(STATUS_STALE, (other_disk), "");
    EXPECT(STATUS_STALE, (report(1, 4, 4, 9)), "");
    struct election_input in = report(1, 5, 4, 9);
    in.broker = 2;
    EXPECT(STATUS_INVALID, (in), "");
    in = report(1, 5, 4, 9);
    in.shard = 99;
    EXPECT(STATUS_NOT_FOUND, (in), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 9)), ""); /* the first that counts */
}

static void a_reply_is_forgotten_when_its_broker_restarts_or_dies(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (report(1, 5, 4, 9)), "");
    EXPECT(STATUS_OK, (up(1, 11)), "fence to 1 shard 1 epoch 5\n");
    EXPECT(STATUS_OK, (report(2, 5, 4, 8)), "");
    EXPECT(STATUS_OK, (down(2)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 7)), "");
    EXPECT(STATUS_OK, (up(2, 20)), "fence to 2 shard 1 epoch 5\n");
    EXPECT(STATUS_OK, (report(2, 5, 4, 8)), "active shard 1 epoch 5 leader 2.1 boot 20 v1\n");
}

static void a_voter_with_a_new_disk_is_neither_fenced_nor_counted(void **state)
{
    (void)state;
    all_up();
    struct election_input wiped = up(3, 31);
    wiped.disk_gen = 2;
    EXPECT(STATUS_OK, (wiped), "");
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_ELECTING, 5))),
           "fence to 1 shard 1 epoch 5\n"
           "fence to 2 shard 1 epoch 5\n");
    struct election_input in = report(3, 5, 0, 0);
    in.report.replica.disk_gen = 2;
    in.report.boot = 31;
    EXPECT(STATUS_STALE, (in), "");
}

static void a_leader_that_restarts_is_replaced_even_if_nobody_saw_it_die(void **state)
{
    (void)state;
    all_up();
    EXPECT(STATUS_OK, (ROW(active_row(1, 4, 1, 10))),
           "grant to 1 shard 1 epoch 4 leader 1.1 boot 10 v1\n");
    EXPECT(STATUS_OK, (said(ELECTION_OPENED, 1, 10, 1, 4)), "");
    EXPECT(STATUS_OK, (up(2, 21)), "");
    EXPECT(STATUS_OK, (up(1, 11)), "electing shard 1 epoch 5\n");
    EXPECT(STATUS_STALE, (up(1, 10)), "");
}

static void a_new_active_controller_takes_up_what_it_finds(void **state)
{
    (void)state;
    EXPECT(STATUS_OK, (ROW(active_row(1, 4, 1, 10))), ""); /* it may well be leading */
    EXPECT(STATUS_OK, (ROW(new_row(2, ELECTION_ELECTING, 7))), "");
    EXPECT(STATUS_OK, (up(1, 10)),
           "fence to 1 shard 2 epoch 7\n"
           "grant to 1 shard 1 epoch 4 leader 1.1 boot 10 v1\n");
    EXPECT(STATUS_OK, (up(2, 20)), "fence to 2 shard 2 epoch 7\n");
    EXPECT(STATUS_OK, ((struct election_input){.type = ELECTION_DEACTIVATED}), "");
    EXPECT(STATUS_NOT_ACTIVE, (up(3, 30)), "");
    struct election_view view;
    assert_int_equal(election_view(e, 1, &view), STATUS_NOT_FOUND);
}

static void fences_and_grants_go_again_ever_more_slowly(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (report(2, 5, 4, 9)), "");
    uint64_t wait_ms = ELECTION_RESEND_MS;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(election_deadline(e), now_ms + wait_ms);
        now_ms += wait_ms - 1;
        EXPECT(STATUS_OK, (tick()), "");
        now_ms++;
        EXPECT(STATUS_OK, (tick()),
               "fence to 1 shard 1 epoch 5\n"
               "fence to 3 shard 1 epoch 5\n");
        wait_ms = 2 * wait_ms > ELECTION_RESEND_MAX_MS ? wait_ms : 2 * wait_ms;
    }
    EXPECT(STATUS_OK, (ROW(active_row(1, 5, 2, 20))),
           "grant to 2 shard 1 epoch 5 leader 2.1 boot 20 v1\n");
    now_ms += ELECTION_RESEND_MS;
    EXPECT(STATUS_OK, (tick()), "grant to 2 shard 1 epoch 5 leader 2.1 boot 20 v1\n");
}

static void a_lost_proposal_is_decided_anew(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (report(1, 5, 4, 9)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 8)), "active shard 1 epoch 5 leader 1.1 boot 10 v1\n");
    EXPECT(STATUS_OK, (report(3, 5, 4, 12)), "");
    now_ms += ELECTION_PROPOSE_MS;
    EXPECT(STATUS_OK, (tick()), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
}

static void a_refused_fence_jumps_above_the_higher_promise(void **state)
{
    (void)state;
    electing_epoch_5();
    struct election_input no = report(1, 5, 4, 9);
    no.report.ok = false;
    no.report.promised = 5;
    EXPECT(STATUS_INVALID, (no), "");
    no.report.promised = 40;
    EXPECT(STATUS_OK, (no), "electing shard 1 epoch 1048616\n");
    no.report.promised = UINT32_MAX;
    EXPECT(STATUS_OK, (no), "electing shard 1 epoch 4294967295\n");
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_ELECTING, UINT32_MAX))),
           "fence to 1 shard 1 epoch 4294967295\n"
           "fence to 2 shard 1 epoch 4294967295\n"
           "fence to 3 shard 1 epoch 4294967295\n");
}

/* cfg v2 = {1, 2, 4} replaces v1 = {1, 2, 3}. */
static struct election_row joint_row(uint32_t epoch)
{
    struct election_row row = new_row(1, ELECTION_ELECTING, epoch);
    row.prev_cfg = row.cfg;
    row.cfg = config(2, 1, 2, 4);
    return row;
}

static void a_changing_configuration_needs_a_quorum_of_both(void **state)
{
    (void)state;
    all_up();
    EXPECT(STATUS_OK, (up(4, 40)), "");
    EXPECT(STATUS_OK, (ROW(joint_row(5))),
           "fence to 1 shard 1 epoch 5\n"
           "fence to 2 shard 1 epoch 5\n"
           "fence to 3 shard 1 epoch 5\n"
           "fence to 4 shard 1 epoch 5\n");
    EXPECT(STATUS_OK, (report(4, 5, 0, 0)), "");
    EXPECT(STATUS_OK, (report(1, 5, 4, 9)), ""); /* 2 of v2, but 1 of v1 */
    EXPECT(STATUS_OK, (report(3, 5, 4, 9)), "active shard 1 epoch 5 leader 1.1 boot 10 v2\n");
    struct election_row row = joint_row(5);
    row.phase = ELECTION_ACTIVE;
    row.leader = (struct election_replica){1, 1};
    row.leader_boot = 10;
    EXPECT(STATUS_OK, (row_input(&row)), "grant to 1 shard 1 epoch 5 leader 1.1 boot 10 v2\n");
    EXPECT(STATUS_OK, (said(ELECTION_OPENED, 1, 10, 1, 5)), "stable shard 1 epoch 5\n");
    row.prev_cfg.voter_count = 0;
    EXPECT(STATUS_OK, (row_input(&row)), "");
}

static void the_best_log_outside_the_new_configuration_leads_under_the_previous_one(void **state)
{
    (void)state;
    all_up();
    assert_int_equal(feed(ROW(joint_row(5))), STATUS_OK);
    EXPECT(STATUS_OK, (report(1, 5, 4, 8)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 9)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 8)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
    assert_int_equal(effects.effect[0].prev_cfg.version, 2);
}

static void deleted_and_sealed_shards_are_left_alone(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (ROW(new_row(2, ELECTION_SEALED, 3))), "");
    EXPECT(STATUS_STALE, (ROW(new_row(1, ELECTION_ELECTING, 4))), "");
    EXPECT(STATUS_OK, (ROW(new_row(1, ELECTION_DELETED, 5))), "");
    EXPECT(STATUS_NOT_FOUND, (report(1, 5, 4, 8)), "");
    now_ms += 5000;
    EXPECT(STATUS_OK, (tick()), "");
    EXPECT(STATUS_OK, (down(1)), "");
    EXPECT(STATUS_OK, (ROW(new_row(3, ELECTION_DELETED, 1))), ""); /* never heard of */
}

static void a_row_beyond_the_limits_is_refused(void **state)
{
    (void)state;
    struct election_row row = new_row(1, ELECTION_ELECTING, 5);
    row.cfg.voter_count = ELECTION_VOTERS_MAX + 1;
    EXPECT(STATUS_INVALID, (row_input(&row)), "");
}

static void five_thousand_shards_fail_over_with_one_message_run_per_broker(void **state)
{
    (void)state;
    enum { SHARDS = 5000 };
    all_up();
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct election_row row = active_row(s, 4, 1, 10);
        struct election_input in = row_input(&row);
        assert_int_equal(election_step(e, now_ms, &in, &effects), STATUS_OK);
    }
    for (uint32_t s = 0; s < SHARDS; s += 7) { /* the table survives removals */
        struct election_row row = new_row(s, ELECTION_DELETED, 4);
        struct election_input in = row_input(&row);
        assert_int_equal(election_step(e, now_ms, &in, &effects), STATUS_OK);
    }
    uint32_t left = SHARDS - (SHARDS + 6) / 7;
    assert_int_equal(feed(down(1)), STATUS_OK);
    assert_int_equal(effects.count, left);
    election_effects_clear(&effects);
    for (uint32_t s = 0; s < SHARDS; s++) {
        struct election_row row = new_row(s, ELECTION_ELECTING, 5);
        struct election_input in = row_input(&row);
        if (s % 7 != 0) {
            assert_int_equal(election_step(e, now_ms, &in, &effects), STATUS_OK);
        }
    }
    election_effects_group(&effects);
    assert_int_equal(effects.count, 2 * left);
    for (size_t i = 0; i < effects.count; i++) {
        assert_int_equal(effects.effect[i].type, ELECTION_FENCE);
        assert_int_equal(effects.effect[i].broker, i < left ? 2 : 3);
        if (i % left > 0) {
            assert_true(effects.effect[i].shard > effects.effect[i - 1].shard);
        }
    }
}

static void a_view_tells_how_far_an_election_is(void **state)
{
    (void)state;
    electing_epoch_5();
    EXPECT(STATUS_OK, (uncertain(report(2, 5, 4, 9))), "");
    struct election_view view;
    assert_int_equal(election_view(e, 1, &view), STATUS_OK);
    assert_int_equal(view.epoch, 5);
    assert_int_equal(view.voters, 3);
    assert_int_equal(view.replied, 1);
    assert_int_equal(view.certain, 0);
    assert_false(view.opened);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_new_shard_is_elected_granted_and_then_needs_nothing),
        TEST(nothing_is_fenced_before_its_epoch_is_committed),
        TEST(the_greatest_last_epoch_wins_over_the_longest_log),
        TEST(the_longer_log_wins_in_one_epoch),
        TEST(among_equals_the_broker_that_leads_least_wins_then_the_preferred_one),
        TEST(the_preferred_leader_gets_a_moment_to_reply_and_no_more),
        TEST(a_lost_broker_s_shards_are_spread_before_any_of_them_commits),
        TEST(an_uncertain_reply_counts_only_when_everybody_has_replied),
        TEST(two_certain_replies_do_without_the_uncertain_one),
        TEST(a_best_log_with_holes_is_set_aside_while_the_other_replies_suffice),
        TEST(holes_above_every_other_end_wait_for_all_voters),
        TEST(replies_of_other_boots_epochs_and_replicas_do_not_count),
        TEST(a_reply_is_forgotten_when_its_broker_restarts_or_dies),
        TEST(a_voter_with_a_new_disk_is_neither_fenced_nor_counted),
        TEST(a_leader_that_restarts_is_replaced_even_if_nobody_saw_it_die),
        TEST(a_new_active_controller_takes_up_what_it_finds),
        TEST(fences_and_grants_go_again_ever_more_slowly),
        TEST(a_lost_proposal_is_decided_anew),
        TEST(a_refused_fence_jumps_above_the_higher_promise),
        TEST(a_changing_configuration_needs_a_quorum_of_both),
        TEST(the_best_log_outside_the_new_configuration_leads_under_the_previous_one),
        TEST(deleted_and_sealed_shards_are_left_alone),
        TEST(a_row_beyond_the_limits_is_refused),
        TEST(five_thousand_shards_fail_over_with_one_message_run_per_broker),
        TEST(a_view_tells_how_far_an_election_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
