/* Replicas that move, as rows: docs/replication.md R14 to R16, 2.9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/moves/move.h"
#include "tests/unit/controller/command/rows.h"

static enum status control(Weir__BrokerControl__Action action, uint32_t broker)
{
    Weir__BrokerControl in = WEIR__BROKER_CONTROL__INIT;
    Weir__CmdBrokerControl cmd = WEIR__CMD_BROKER_CONTROL__INIT;
    in.action = action;
    in.broker = broker;
    cmd.control = &in;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_BROKER_CONTROL;
    command.broker_control = &cmd;
    return rows_apply(&command);
}

/* One shard; broker 4 is in zone a, too. */
static int set_up(void **state)
{
    (void)state;
    rows_open();
    rows_begin(1);
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_OK);
    rows_elect(0, 1, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rows_close();
    return 0;
}

/* Whoever leads is not broker 1. */
static void led_by_another(void)
{
    if (rows_shard(0).leader.broker == 1) {
        rows_electing(0);
        rows_elect(0, rows_place(2), false);
    }
}

static void a_replica_moves_by_a_joint_epoch(void **state)
{
    (void)state;
    led_by_another();
    uint32_t epoch = rows_shard(0).epoch;
    rows_move_begin(1, 1, 4);
    assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
    assert_int_equal(rows_broker(4).replicas, 1);
    rows_move_join(epoch - 1);
    assert_int_equal(rows_shard(0).epoch, epoch); /* of another epoch (R17) */
    rows_move_join(epoch);
    assert_int_equal(rows_shard(0).epoch, epoch + 1);
    assert_int_equal(rows_shard(0).phase, DB_SHARD_ELECTING);
    assert_true(rows_votes(4));
    assert_int_equal(rows_shard(0).prev_cfg.voter_count, 3);
    rows_elect(0, rows_place(2), false);
    assert_int_equal(db_drops_count(rows.db, 1, 0), 0); /* not before it is stable (R15) */
    rows_stable();
    assert_int_equal(rows_shard(0).move.state, 0);
    assert_int_equal(db_drops_count(rows.db, 1, rows_shard(0).id), 1);
    assert_false(rows_votes(1));
    assert_int_equal(rows_broker(1).replicas, 0);
    assert_int_equal(rows_broker(4).replicas, 1);
    rows_move_begin(4, 1, 1);
    assert_int_equal(rows_shard(0).move.state, 0); /* what broker 1 has is still to be deleted */
}

static void a_joint_epoch_that_falls_back_keeps_the_old_replica(void **state)
{
    (void)state;
    led_by_another();
    rows_move_begin(1, 1, 4);
    rows_move_join(rows_shard(0).epoch);
    rows_elect(0, 0, true);
    rows_stable();
    assert_true(rows_votes(1));
    assert_false(rows_votes(4));
    assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
    assert_int_equal(db_drops_count(rows.db, 1, 0), 0);
    rows_move_end();
    assert_int_equal(db_drops_count(rows.db, 4, rows_shard(0).id), 1);
    assert_int_equal(rows_broker(4).replicas, 0);
}

static void what_leads_does_not_go(void **state)
{
    (void)state;
    uint32_t leader = rows_shard(0).leader.broker, epoch = rows_shard(0).epoch;
    assert_int_equal(rows_add_broker(5, "b", 1), STATUS_OK);
    assert_int_equal(rows_add_broker(6, "c", 1), STATUS_OK);
    rows_move_begin(leader, 1, leader == 1 ? 4 : leader == 2 ? 5 : 6);
    assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
    rows_move_join(epoch);
    assert_int_equal(rows_shard(0).epoch, epoch);
}

static void moves_that_would_be_unsafe_do_not_begin(void **state)
{
    (void)state;
    rows_move_begin(2, 1, 4); /* two replicas in zone a */
    assert_int_equal(rows_shard(0).move.state, 0);
    rows_move_begin(1, 1, 2); /* two on one broker */
    assert_int_equal(rows_shard(0).move.state, 0);
    rows_move_begin(1, 2, 4); /* not that disk */
    assert_int_equal(rows_shard(0).move.state, 0);
    rows_move_begin(1, 1, 9);
    assert_int_equal(rows_shard(0).move.state, 0);
}

static void a_new_disk_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    led_by_another();
    assert_int_equal(rows_add_broker(1, "a", 2), STATUS_OK);
    rows_move_begin(1, 1, 1);
    assert_int_equal(rows_shard(0).move.to.disk_gen, 2);
    rows_move_join(rows_shard(0).epoch);
    rows_elect(0, rows_place(2), false);
    rows_stable();
    assert_true(rows_votes(1));
    assert_int_equal(db_drops_count(rows.db, 1, 0), 0); /* or it would delete the new one */
    assert_int_equal(rows_broker(1).replicas, 1);
}

static void brokers_are_drained_and_removed_if_that_is_safe(void **state)
{
    (void)state;
    led_by_another();
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__DRAIN, 2), STATUS_PLACEMENT);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__DRAIN, 9), STATUS_NOT_FOUND);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__REPLACE, 1), STATUS_INVALID);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__REMOVE, 1), STATUS_IN_USE);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__DRAIN, 1), STATUS_OK);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__DRAIN, 1), STATUS_OK);
    assert_int_equal(rows_broker(1).mode, DB_BROKER_DRAINING);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__REMOVE, 4), STATUS_OK);
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_STALE);
    assert_int_equal(rows_add_broker(4, "a", 2), STATUS_OK); /* an empty disk is welcome */
    assert_int_equal(rows_broker(4).mode, DB_BROKER_NORMAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_replica_moves_by_a_joint_epoch),
        TEST(a_joint_epoch_that_falls_back_keeps_the_old_replica),
        TEST(what_leads_does_not_go),
        TEST(moves_that_would_be_unsafe_do_not_begin),
        TEST(a_new_disk_takes_the_place_of_the_old_one),
        TEST(brokers_are_drained_and_removed_if_that_is_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
