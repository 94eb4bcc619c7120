/* Which replicas move, and where to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "controller/moves/move.h"
#include "controller/moves/plan.h"

enum { MOVES = 4 };

static struct plan_broker broker[8];
static struct plan_shard shard[16];
static struct plan_move moves[MOVES];
static struct plan_input in;
static struct plan_output out;

static void add_broker(uint32_t id, const char *zone)
{
    broker[in.broker_count++] =
        (struct plan_broker){.id = id, .disk_gen = 1, .zone = zone, .alive = true, .takes = true};
}

static void add_shard(uint32_t a, uint32_t b, uint32_t c)
{
    struct plan_shard *s = &shard[in.shard_count++];
    const uint32_t id[3] = {a, b, c};
    *s = (struct plan_shard){.shard = in.shard_count, .free = true, .cfg = {.voter_count = 3}};
    for (uint32_t v = 0; v < 3; v++) {
        s->cfg.voter[v] = (struct election_replica){.broker = id[v], .disk_gen = 1};
        broker[id[v] - 1].replicas++;
    }
}

/* Brokers 1 to 4 in zones a, b, c, a; four shards on the first three. */
static int set_up(void **state)
{
    (void)state;
    memset(&out, 0, sizeof(out));
    in = (struct plan_input){
        .brokers = broker, .shards = shard, .replace_after_ms = 1000, .at_once = MOVES};
    add_broker(1, "a");
    add_broker(2, "b");
    add_broker(3, "c");
    add_broker(4, "a");
    for (int i = 0; i < 4; i++) {
        add_shard(1, 2, 3);
    }
    return 0;
}

static void plan(void)
{
    out.moves = moves;
    plan_moves(&in, &out);
}

static void nothing_moves_without_a_reason(void **state)
{
    (void)state;
    plan();
    assert_int_equal(out.count, 0);
    assert_int_equal(out.missing, 0);
}

static void a_drained_broker_is_left_two_at_a_time(void **state)
{
    (void)state;
    broker[0].leaves = true;
    broker[0].takes = false;
    plan();
    assert_int_equal(out.missing, 4);
    assert_int_equal(out.count, PLAN_LEARNERS_MAX);
    assert_int_equal(moves[0].from.broker, 1);
    assert_int_equal(moves[0].to, 4);
    assert_int_equal(moves[1].shard, 2);
}

static void a_dead_broker_is_left_after_a_while(void **state)
{
    (void)state;
    broker[0].alive = broker[0].takes = false;
    broker[0].dead_ms = 999;
    plan();
    assert_int_equal(out.count, 0);
    in.brokers[0].dead_ms = 1000;
    plan();
    assert_int_equal(out.count, PLAN_LEARNERS_MAX);
}

static void zones_are_kept_and_the_reason_for_waiting_is_told(void **state)
{
    (void)state;
    broker[1].alive = broker[1].takes = false; /* the only one in zone b */
    broker[1].dead_ms = 5000;
    plan();
    assert_int_equal(out.count, 0);
    assert_int_equal(out.missing, 4);
    assert_non_null(strstr(out.waits_for, "broker-2"));
}

static void an_empty_disk_gets_its_own_replicas_back(void **state)
{
    (void)state;
    broker[2].disk_gen = 2;
    plan();
    assert_int_equal(out.count, PLAN_LEARNERS_MAX);
    assert_int_equal(moves[0].from.broker, 3);
    assert_int_equal(moves[0].from.disk_gen, 1);
    assert_int_equal(moves[0].to, 3);
}

static void a_shard_that_moves_already_waits(void **state)
{
    (void)state;
    broker[0].leaves = true;
    broker[0].takes = false;
    shard[0].free = false;
    in.under_way = MOVES - 1;
    plan();
    assert_int_equal(out.count, 1);
    assert_int_equal(moves[0].shard, 2);
}

static void an_added_broker_gets_its_share(void **state)
{
    (void)state;
    in.rebalance = true;
    plan();
    assert_int_equal(out.count, 2);
    for (size_t i = 0; i < out.count; i++) {
        assert_int_equal(moves[i].from.broker, 1); /* the other zones would lose one */
        assert_int_equal(moves[i].to, 4);
    }
    assert_false(out.even);
    for (uint32_t s = 0; s < 2; s++) {
        shard[s].cfg.voter[0].broker = 4;
    }
    for (uint32_t b = 0; b < 4; b++) {
        broker[b].learners = 0;
    }
    plan();
    assert_int_equal(out.count, 0);
    assert_true(out.even);
}

static void a_move_joins_when_its_leader_stays_and_is_over_when_stable(void **state)
{
    (void)state;
    struct move move = {
        .state = MOVE_COPYING, .from = {1, 1},
             .to = {4, 1}
    };
    struct election_row row = {
        .phase = ELECTION_ACTIVE, .epoch = 5, .leader = {1, 1},
                .preferred = 1
    };
    row.cfg = shard[0].cfg;
    row.cfg.version = 3;
    assert_int_equal(move_next(&move, &row), MOVE_COPY);
    assert_false(move_may_join(&move, &row));
    row.leader.broker = 2;
    assert_true(move_may_join(&move, &row));
    move_join(&move, &row);
    move.state = MOVE_JOINING;
    assert_int_equal(row.epoch, 6);
    assert_int_equal(row.phase, ELECTION_ELECTING);
    assert_int_equal(row.cfg.version, 4);
    assert_int_equal(row.cfg.voter[0].broker, 4);
    assert_int_equal(row.prev_cfg.voter[0].broker, 1);
    assert_int_equal(row.preferred, 4);
    row.phase = ELECTION_ACTIVE;
    assert_int_equal(move_next(&move, &row), MOVE_WAIT); /* R15 */
    struct election_row stable = row;
    stable.prev_cfg.voter_count = 0;
    assert_int_equal(move_next(&move, &stable), MOVE_DONE);
    stable.cfg = row.prev_cfg; /* it fell back (R5) */
    assert_int_equal(move_next(&move, &stable), MOVE_AGAIN);
    stable.cfg.voter[0].broker = 7;
    assert_int_equal(move_next(&move, &stable), MOVE_VOID);
}

/* A forced recovery leaves one voter: two are added, from nobody. */
static void a_shard_with_too_few_replicas_gets_more(void **state)
{
    (void)state;
    shard[0].cfg.voter_count = 1;
    shard[0].cfg.voter[0] = (struct election_replica){.broker = 3, .disk_gen = 1};
    plan();
    assert_int_equal(out.count, 1); /* one at a time */
    assert_int_equal(moves[0].shard, 1);
    assert_int_equal(moves[0].from.broker, 0);
    assert_int_not_equal(moves[0].to, 3);
    assert_non_null(moves[0].reason);
    /* The first of them took zone a: the second goes to zone b, whoever has fewer replicas. */
    shard[0].cfg.voter_count = 2;
    shard[0].cfg.voter[1] = (struct election_replica){.broker = 4, .disk_gen = 1};
    plan();
    assert_int_equal(out.count, 1);
    assert_int_equal(moves[0].to, 2);
    /* And nothing, where nobody is left to take it. */
    broker[1].takes = broker[0].takes = false;
    plan();
    assert_int_equal(out.count, 0);
    assert_int_equal(out.missing, 1);
}

static void an_added_replica_joins_behind_the_others(void **state)
{
    (void)state;
    struct move move = {
        .state = MOVE_COPYING, .to = {4, 1}
    };
    struct election_row row = {
        .phase = ELECTION_ACTIVE, .epoch = 5, .leader = {3, 1},
                .preferred = 3
    };
    row.cfg = (struct election_config){.version = 7, .voter_count = 1, .voter = {{3, 1}}};
    assert_int_equal(move_next(&move, &row), MOVE_COPY);
    assert_true(move_may_join(&move, &row)); /* the leader need not go */
    move_join(&move, &row);
    move.state = MOVE_JOINING;
    assert_int_equal(row.cfg.voter_count, 2);
    assert_int_equal(row.cfg.voter[0].broker, 3);
    assert_int_equal(row.cfg.voter[1].broker, 4);
    assert_int_equal(row.cfg.version, 8);
    assert_int_equal(row.prev_cfg.voter_count, 1);
    assert_int_equal(row.preferred, 3);
    assert_int_equal(row.epoch, 6);
    assert_int_equal(move_next(&move, &row), MOVE_WAIT); /* R15 */
    row.phase = ELECTION_ACTIVE;
    struct election_row stable = row;
    stable.prev_cfg.voter_count = 0;
    assert_int_equal(move_next(&move, &stable), MOVE_DONE);
    stable.cfg = row.prev_cfg; /* it fell back (R5) */
    assert_int_equal(move_next(&move, &stable), MOVE_AGAIN);
    stable.cfg = shard[0].cfg; /* three others meanwhile */
    assert_int_equal(move_next(&move, &stable), MOVE_VOID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_shard_with_too_few_replicas_gets_more, set_up),
        cmocka_unit_test_setup(an_added_replica_joins_behind_the_others, set_up),
        cmocka_unit_test_setup(nothing_moves_without_a_reason, set_up),
        cmocka_unit_test_setup(a_drained_broker_is_left_two_at_a_time, set_up),
        cmocka_unit_test_setup(a_dead_broker_is_left_after_a_while, set_up),
        cmocka_unit_test_setup(zones_are_kept_and_the_reason_for_waiting_is_told, set_up),
        cmocka_unit_test_setup(an_empty_disk_gets_its_own_replicas_back, set_up),
        cmocka_unit_test_setup(a_shard_that_moves_already_waits, set_up),
        cmocka_unit_test_setup(an_added_broker_gets_its_share, set_up),
        cmocka_unit_test_setup(a_move_joins_when_its_leader_stays_and_is_over_when_stable, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
