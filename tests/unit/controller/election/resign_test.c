/* Leaders that cannot go on. */
#include "tests/unit/controller/election/conversation.h"

static void a_leader_that_resigns_is_replaced_by_a_new_election(void **state)
{
    (void)state;
    all_up();
    EXPECT(STATUS_OK, (ROW(active_row(1, 4, 1, 10))),
           "grant to 1 shard 1 epoch 4 leader 1.1 boot 10 v1\n");
    EXPECT(STATUS_STALE, (said(ELECTION_RESIGNED, 2, 20, 1, 4)), "");
    EXPECT(STATUS_STALE, (said(ELECTION_RESIGNED, 1, 9, 1, 4)), "");
    EXPECT(STATUS_STALE, (said(ELECTION_OPENED, 1, 10, 1, 3)), "");
    EXPECT(STATUS_OK, (said(ELECTION_RESIGNED, 1, 10, 1, 4)), "electing shard 1 epoch 5\n");
    now_ms += ELECTION_PROPOSE_MS; /* the proposal was lost: it is still wanted */
    EXPECT(STATUS_OK, (tick()), "electing shard 1 epoch 5\n");
}

static struct election_input stalled(uint32_t broker, uint64_t boot, uint32_t epoch)
{
    struct election_input in = said(ELECTION_RESIGNED, broker, boot, 1, epoch);
    in.stalled = true;
    return in;
}

/* Broker 1 led epoch 4, has stalled, and everybody is fenced for epoch 5. */
static void stall(void)
{
    all_up();
    feed(ROW(active_row(1, 4, 1, 10)));
    EXPECT(STATUS_OK, (said(ELECTION_OPENED, 1, 10, 1, 4)), "");
    EXPECT(STATUS_OK, (stalled(1, 10, 4)), "electing shard 1 epoch 5\n");
    feed(ROW(new_row(1, ELECTION_ELECTING, 5)));
}

static void a_stalled_leader_does_not_win_with_the_records_that_nobody_else_has(void **state)
{
    (void)state;
    stall();
    EXPECT(STATUS_OK, (report(1, 5, 4, 100)), "");
    EXPECT(STATUS_OK, (report(2, 5, 4, 50)), ""); /* a quorum, but only with the one that stalled */
    EXPECT(STATUS_OK, (report(3, 5, 4, 60)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
    struct election_row row = active_row(1, 5, 3, 30);
    feed(ROW(row));
    EXPECT(STATUS_OK, (down(3)), "electing shard 1 epoch 6\n");
    feed(ROW(new_row(1, ELECTION_ELECTING, 6)));
    EXPECT(STATUS_OK, (report(2, 6, 5, 70)), "");
    EXPECT(STATUS_OK, (report(1, 6, 5, 80)), /* what was held against it is forgotten */
           "active shard 1 epoch 6 leader 1.1 boot 10 v1\n");
}

static void a_stalled_leader_leads_again_when_the_others_are_no_quorum(void **state)
{
    (void)state;
    stall();
    EXPECT(STATUS_OK, (report(2, 5, 4, 50)), "");
    EXPECT(STATUS_OK, (report(1, 5, 4, 100)), "");
    now_ms += ELECTION_AVOID_MS - 1;
    EXPECT(STATUS_OK, (tick()), "");
    now_ms += 1;
    EXPECT(STATUS_OK, (tick()), "active shard 1 epoch 5 leader 1.1 boot 10 v1\n");
}

static void a_leader_that_goes_on_stalling_is_heard_once_in_a_while(void **state)
{
    (void)state;
    stall();
    EXPECT(STATUS_OK, (report(2, 5, 4, 50)), "");
    EXPECT(STATUS_OK, (report(1, 5, 4, 100)), "");
    now_ms += ELECTION_AVOID_MS;
    feed(tick());
    feed(ROW(active_row(1, 5, 1, 10)));
    EXPECT(STATUS_OK, (stalled(1, 10, 5)), "");
    now_ms += ELECTION_RESIGN_MS - ELECTION_AVOID_MS - 1;
    EXPECT(STATUS_OK, (stalled(1, 10, 5)), "");
    now_ms += 1;
    EXPECT(STATUS_OK, (stalled(1, 10, 5)), "electing shard 1 epoch 6\n");
}

static void leaders_that_never_open_do_not_replace_each_other_at_once(void **state)
{
    (void)state;
    stall();
    EXPECT(STATUS_OK, (report(2, 5, 4, 50)), "");
    EXPECT(STATUS_OK, (report(3, 5, 4, 60)), "active shard 1 epoch 5 leader 3.1 boot 30 v1\n");
    feed(ROW(active_row(1, 5, 3, 30)));
    now_ms += ELECTION_RESIGN_MS - 1;
    EXPECT(STATUS_OK, (stalled(3, 30, 5)), "");
    EXPECT(STATUS_OK, (said(ELECTION_OPENED, 3, 30, 1, 5)), "");
    EXPECT(STATUS_OK, (stalled(3, 30, 5)), "electing shard 1 epoch 6\n"); /* it did commit */
}

static void a_stalled_leader_stays_while_no_majority_is_up(void **state)
{
    (void)state;
    all_up();
    feed(ROW(active_row(1, 4, 1, 10)));
    feed(down(2));
    feed(down(3));
    EXPECT(STATUS_OK, (stalled(1, 10, 4)), "");
    EXPECT(STATUS_OK, (up(3, 31)), "");
    EXPECT(STATUS_OK, (stalled(1, 10, 4)), "electing shard 1 epoch 5\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
        TEST(a_leader_that_resigns_is_replaced_by_a_new_election),
        TEST(a_stalled_leader_does_not_win_with_the_records_that_nobody_else_has),
        TEST(a_stalled_leader_leads_again_when_the_others_are_no_quorum),
        TEST(a_leader_that_goes_on_stalling_is_heard_once_in_a_while),
        TEST(leaders_that_never_open_do_not_replace_each_other_at_once),
        TEST(a_stalled_leader_stays_while_no_majority_is_up),
    };
    return cmocka_run_group_tests_name("controller/election/resign", tests, NULL, NULL);
}
