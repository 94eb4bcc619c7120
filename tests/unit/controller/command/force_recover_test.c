/* A shard that goes on with one voter, by an administrator's word: docs/replication.md 2.9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "controller/moves/move.h"
#include "proto/wire/batch.h"
#include "tests/unit/controller/command/rows.h"

static int set_up(void **state)
{
    (void)state;
    rows_open();
    rows_begin(2);
    rows_elect(0, 0, false);
    rows_elect(1, 0, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rows_close();
    return 0;
}

static enum status recover_as(uint64_t shard, uint32_t epoch, uint32_t broker, uint32_t disk_gen)
{
    Weir__ReplicaId survivor = WEIR__REPLICA_ID__INIT;
    survivor.broker = broker;
    survivor.disk_gen = disk_gen;
    Weir__CmdForceRecover in = WEIR__CMD_FORCE_RECOVER__INIT;
    in.shard = shard;
    in.epoch = epoch;
    in.survivor = broker == 0 ? NULL : &survivor;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_FORCE_RECOVER;
    command.force_recover = &in;
    return rows_apply(&command);
}

static enum status recover(uint32_t broker)
{
    return recover_as(rows_shard(0).id, rows_shard(0).epoch, broker, 1);
}

static void made(uint32_t broker)
{
    Weir__CmdReplicasMade__Replica item = WEIR__CMD_REPLICAS_MADE__REPLICA__INIT;
    Weir__CmdReplicasMade__Replica *items[] = {&item};
    Weir__ReplicaId id = WEIR__REPLICA_ID__INIT;
    id.broker = broker;
    id.disk_gen = 1;
    item.shard = rows_shard(0).id;
    item.replica = &id;
    Weir__CmdReplicasMade in = WEIR__CMD_REPLICAS_MADE__INIT;
    in.n_replicas = 1;
    in.replicas = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_REPLICAS_MADE;
    command.replicas_made = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

static void the_survivor_is_the_only_voter_of_a_new_epoch_and_generation(void **state)
{
    (void)state;
    made(3);
    struct db_shard before = rows_shard(0);
    struct db_shard other = rows_shard(1);
    assert_int_equal(recover(3), STATUS_OK);
    struct db_shard after = rows_shard(0);
    assert_int_equal(after.phase, DB_SHARD_ELECTING);
    assert_int_equal(after.epoch, before.epoch + 1);
    assert_int_equal(after.generation, before.generation + 1);
    assert_int_equal(after.cfg.version, before.cfg.version + 1);
    assert_int_equal(after.cfg.voter_count, 1);
    assert_int_equal(after.cfg.voter[0].broker, 3);
    assert_int_equal(after.cfg.voter[0].disk_gen, 1);
    assert_true(after.cfg.voter[0].made); /* or its broker would be asked for a new, empty one */
    assert_int_equal(after.prev_cfg.voter_count, 0);
    assert_int_equal(after.leader.broker, 0);
    assert_int_equal(after.leader_boot, 0);
    assert_int_equal(after.preferred, 3);
    /* Nothing of another shard. */
    struct db_shard same = rows_shard(1);
    assert_int_equal(same.epoch, other.epoch);
    assert_int_equal(same.cfg.voter_count, 3);
    rows_elect(0, 0, false);
    assert_int_equal(rows_shard(0).leader.broker, 3);
}

static void the_others_owe_the_deletion_of_what_they_have(void **state)
{
    (void)state;
    uint32_t replicas = rows_broker(1).replicas;
    assert_int_equal(recover(3), STATUS_OK);
    assert_int_equal(db_drops_count(rows.db, 1, rows_shard(0).id), 1);
    assert_int_equal(db_drops_count(rows.db, 2, rows_shard(0).id), 1);
    assert_int_equal(db_drops_count(rows.db, 3, rows_shard(0).id), 0);
    assert_int_equal(rows_broker(1).replicas, replicas - 1);
    assert_int_equal(rows_broker(2).replicas, replicas - 1);
    assert_int_equal(rows_broker(3).replicas, replicas);
}

static void what_was_wanted_of_the_leader_follows_the_survivor(void **state)
{
    (void)state;
    uint32_t was = rows_shard(0).preferred;
    uint32_t survivor = was == 3 ? 2 : 3;
    uint32_t wanted = rows_broker(was).preferred, wanted_now = rows_broker(survivor).preferred;
    assert_int_equal(recover(survivor), STATUS_OK);
    assert_int_equal(rows_broker(was).preferred, wanted - 1);
    assert_int_equal(rows_broker(survivor).preferred, wanted_now + 1);
    assert_int_equal(recover(survivor), STATUS_OK); /* once more: nothing is counted twice */
    assert_int_equal(rows_broker(survivor).preferred, wanted_now + 1);
}

static void a_replica_that_was_on_its_way_is_given_up(void **state)
{
    (void)state;
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_OK);
    rows_move_begin(1, 1, 4);
    assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
    assert_int_equal(recover(2), STATUS_OK);
    assert_int_equal(rows_shard(0).move.state, 0);
    assert_int_equal(rows_broker(4).replicas, 0);
    assert_int_equal(db_drops_count(rows.db, 4, rows_shard(0).id), 1);
    rows_elect(0, 0, false);
    rows_move_join(rows_shard(0).epoch); /* of before: changes nothing */
    assert_int_equal(rows_shard(0).cfg.voter_count, 1);
}

static void a_joint_configuration_is_over(void **state)
{
    (void)state;
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_OK);
    if (rows_shard(0).leader.broker == 1) {
        rows_electing(0);
        rows_elect(0, rows_place(2), false);
    }
    rows_move_begin(1, 1, 4);
    rows_move_join(rows_shard(0).epoch);
    assert_int_equal(rows_shard(0).prev_cfg.voter_count, 3);
    assert_int_equal(recover(4), STATUS_OK);
    assert_int_equal(rows_shard(0).cfg.voter_count, 1);
    assert_int_equal(rows_shard(0).cfg.voter[0].broker, 4);
    assert_int_equal(rows_shard(0).prev_cfg.voter_count, 0);
    assert_int_equal(rows_shard(0).move.state, 0);
    assert_int_equal(db_drops_count(rows.db, 4, rows_shard(0).id), 0); /* it survives */
    assert_int_equal(db_drops_count(rows.db, 2, rows_shard(0).id), 1);
}

/* Nothing that changed since the administrator looked is overridden. */
static void what_does_not_fit_the_rows_changes_nothing(void **state)
{
    (void)state;
    struct db_shard row = rows_shard(0);
    assert_int_equal(recover_as(row.id, row.epoch - 1, 3, 1), STATUS_STALE);
    assert_int_equal(recover_as(row.id, row.epoch + 1, 3, 1), STATUS_STALE);
    assert_int_equal(recover_as(row.id, row.epoch, 0, 0), STATUS_STALE);
    assert_int_equal(recover_as(db_shard_id(9, 0), row.epoch, 3, 1), STATUS_STALE);
    assert_int_equal(recover_as(UINT64_MAX, row.epoch, 3, 1), STATUS_STALE);
    assert_int_equal(recover_as(row.id, row.epoch, 4, 1), STATUS_INVALID);
    assert_non_null(strstr(rows_said(), "broker-4"));
    assert_int_equal(recover_as(row.id, row.epoch, 3, 2), STATUS_INVALID); /* another disk */
    struct db_shard now = rows_shard(0);
    assert_int_equal(now.epoch, row.epoch);
    assert_int_equal(now.generation, row.generation);
    assert_int_equal(now.cfg.voter_count, 3);
    assert_int_equal(now.phase, DB_SHARD_ACTIVE);
    assert_int_equal(db_drops_count(rows.db, 1, 0), 0);
}

/* A batch has BATCH_GENERATION_MAX in its header at most. */
static void generations_do_not_wrap(void **state)
{
    (void)state;
    for (uint32_t i = rows_shard(0).generation; i < BATCH_GENERATION_MAX; i++) {
        assert_int_equal(recover(3), STATUS_OK);
    }
    assert_int_equal(recover(3), STATUS_STALE);
    assert_int_equal(rows_shard(0).generation, BATCH_GENERATION_MAX);
}

static void replicas_are_added_until_there_are_three_again(void **state)
{
    (void)state;
    assert_int_equal(recover(3), STATUS_OK);
    rows_elect(0, 0, false);
    rows_move_begin(0, 0, 1); /* still owes the deletion of what it has */
    assert_int_equal(rows_shard(0).move.state, 0);
    for (uint32_t id = 4; id <= 5; id++) {
        assert_int_equal(rows_add_broker(id, id == 4 ? "a" : "b", 1), STATUS_OK);
        rows_move_begin(0, 0, 3); /* votes already */
        assert_int_equal(rows_shard(0).move.state, 0);
        rows_move_begin(0, 0, id);
        assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
        assert_int_equal(rows_shard(0).move.from.broker, 0);
        rows_move_join(rows_shard(0).epoch);
        assert_int_equal(rows_shard(0).cfg.voter_count, id - 2);
        assert_int_equal(rows_shard(0).prev_cfg.voter_count, id - 3);
        rows_elect(0, rows_place(3), false);
        rows_stable();
        assert_int_equal(rows_shard(0).move.state, 0);
        assert_true(rows_votes(id));
        assert_true(rows_votes(3));
        assert_int_equal(rows_broker(id).replicas, 1);
        assert_int_equal(db_drops_count(rows.db, 3, 0), 0); /* nobody had to go */
    }
    assert_int_equal(rows_add_broker(6, "a", 1), STATUS_OK);
    rows_move_begin(0, 0, 6); /* three are enough */
    assert_int_equal(rows_shard(0).move.state, 0);
    rows_move_begin(4, 1, 6); /* and replicas move as ever */
    assert_int_equal(rows_shard(0).move.state, MOVE_COPYING);
}

static void an_addition_that_is_given_up_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(recover(3), STATUS_OK);
    rows_elect(0, 0, false);
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_OK);
    rows_move_begin(0, 0, 4);
    rows_move_end();
    assert_int_equal(rows_shard(0).move.state, 0);
    assert_int_equal(rows_shard(0).cfg.voter_count, 1);
    assert_int_equal(rows_broker(4).replicas, 0);
    assert_int_equal(db_drops_count(rows.db, 4, rows_shard(0).id), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_survivor_is_the_only_voter_of_a_new_epoch_and_generation),
        TEST(the_others_owe_the_deletion_of_what_they_have),
        TEST(what_was_wanted_of_the_leader_follows_the_survivor),
        TEST(a_replica_that_was_on_its_way_is_given_up),
        TEST(a_joint_configuration_is_over),
        TEST(what_does_not_fit_the_rows_changes_nothing),
        TEST(generations_do_not_wrap),
        TEST(replicas_are_added_until_there_are_three_again),
        TEST(an_addition_that_is_given_up_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
