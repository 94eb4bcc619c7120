/* Settings of balancing, where leaderships belong, and numbers of shards after a restore. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/controller/command/rows.h"

static int set_up(void **state)
{
    (void)state;
    rows_open();
    rows_begin(1);
    rows_elect(0, 1, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rows_close();
    return 0;
}

static enum status set(const char *key, uint64_t value)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s", key);
    Weir__BalanceChange change = WEIR__BALANCE_CHANGE__INIT, *changes[1] = {&change};
    Weir__BalanceControl control = WEIR__BALANCE_CONTROL__INIT;
    Weir__CmdBalance cmd = WEIR__CMD_BALANCE__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    change.key = name;
    change.value = value;
    control.n_changes = 1;
    control.changes = changes;
    cmd.control = &control;
    command.kind_case = WEIR__COMMAND__KIND_BALANCE;
    command.balance = &cmd;
    return rows_apply(&command);
}

static Weir__BalanceSettings settings(void)
{
    Weir__BalanceSettings *row = db_balance_get(rows.db);
    assert_non_null(row);
    Weir__BalanceSettings copy = *row;
    weir__balance_settings__free_unpacked(row, NULL);
    return copy;
}

static void settings_are_kept_and_checked(void **state)
{
    (void)state;
    assert_int_equal(settings().leaders_off, false);
    assert_int_equal(set("leaders", 0), STATUS_OK);
    assert_int_equal(set("leader-threshold", 55), STATUS_OK);
    assert_int_equal(set("interval", 1000), STATUS_OK);
    assert_int_equal(settings().leaders_off, true);
    assert_int_equal(settings().leader_threshold, 55);
    assert_int_equal(settings().interval_ms, 1000);
    assert_int_equal(set("leader-threshold", 2), STATUS_INVALID);
    assert_non_null(strstr(rows_said(), "must be from 5 to 1000"));
    assert_int_equal(set("speed", 2), STATUS_INVALID);
    assert_non_null(strstr(rows_said(), "there is no setting speed"));
    assert_int_equal(settings().leader_threshold, 55);
    assert_int_equal(set("leader-threshold", UINT64_MAX), STATUS_OK);
    assert_int_equal(set("leaders", UINT64_MAX), STATUS_OK);
    assert_int_equal(settings().leader_threshold, 0);
    assert_int_equal(settings().leaders_off, false);
}

static void prefer(uint32_t broker)
{
    Weir__CmdPrefer__Item item = WEIR__CMD_PREFER__ITEM__INIT, *items[1] = {&item};
    Weir__CmdPrefer cmd = WEIR__CMD_PREFER__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    item.shard = rows_shard(0).id;
    item.broker = broker;
    cmd.n_items = 1;
    cmd.items = items;
    command.kind_case = WEIR__COMMAND__KIND_PREFER;
    command.prefer = &cmd;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

static void a_leadership_belongs_where_it_was_moved(void **state)
{
    (void)state;
    uint32_t before = rows_shard(0).preferred, other = before % 3 + 1;
    prefer(other);
    assert_int_equal(rows_shard(0).preferred, other);
    assert_int_equal(rows_broker(other).preferred, 1);
    assert_int_equal(rows_broker(before).preferred, 0);
    prefer(4); /* has no replica of it */
    assert_int_equal(rows_shard(0).preferred, other);
}

/* ---- after a restore ---- */

static enum status split(void)
{
    char name[] = "orders";
    Weir__Reshard__Split half = WEIR__RESHARD__SPLIT__INIT;
    Weir__Reshard in = WEIR__RESHARD__INIT;
    Weir__CmdReshard cmd = WEIR__CMD_RESHARD__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    in.name = name;
    in.kind_case = WEIR__RESHARD__KIND_SPLIT;
    in.split = &half;
    cmd.reshard = &in;
    command.kind_case = WEIR__COMMAND__KIND_RESHARD;
    command.reshard = &cmd;
    return rows_apply(&command);
}

static void tell(uint32_t broker, uint32_t number, bool last)
{
    Weir__HeldStream held = WEIR__HELD_STREAM__INIT, *streams[1] = {&held};
    Weir__CmdHeldShards cmd = WEIR__CMD_HELD_SHARDS__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    held.stream = (uint32_t)(rows_shard(0).id >> 32);
    held.number = number;
    cmd.broker = broker;
    cmd.n_streams = number == 0 ? 0 : 1;
    cmd.streams = streams;
    cmd.last = last;
    command.kind_case = WEIR__COMMAND__KIND_HELD_SHARDS;
    command.held_shards = &cmd;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

/* As if the state were a backup that was restored. */
static void restore(void)
{
    struct error error = {0};
    char copy[80];
    uint64_t index = 0;
    (void)snprintf(copy, sizeof(copy), "%s.backup", rows.path);
    assert_int_equal(db_copy(rows.path, copy, &index, &error), STATUS_OK);
    assert_int_equal(db_renew(copy, &index, &error), STATUS_OK);
    assert_int_equal(db_restore(rows.db, copy, &error), STATUS_OK);
    rows.next_index = index + 1;
    (void)unlink(copy);
}

static uint32_t shard_count(void)
{
    struct db_stream stream;
    assert_true(db_stream_find(rows.db, "orders", &stream));
    return stream.shard_count;
}

static void after_a_restore_splits_wait_for_all_brokers(void **state)
{
    (void)state;
    uint32_t waits[4];
    restore();
    assert_int_equal(db_restored_each(rows.db, waits, 4), 3);
    assert_int_equal(split(), STATUS_IN_USE);
    assert_non_null(strstr(rows_said(), "broker-1, broker-2, broker-3 must tell first"));
    tell(1, 0, true);
    tell(2, 0, true);
    assert_int_equal(split(), STATUS_IN_USE);
    assert_non_null(strstr(rows_said(), "are not known: broker-3 must tell first"));
    tell(3, 0, true);
    assert_int_equal(split(), STATUS_OK);
    assert_int_equal(shard_count(), 3); /* nothing was lost: the next numbers */
    assert_int_equal(rows_shard(1).lineage.state, DB_SHARD_WAITING);
}

static void numbers_that_a_broker_holds_are_used_up(void **state)
{
    (void)state;
    restore();
    tell(1, 2, true);
    tell(2, 1, true); /* has not made its replica of the other child */
    tell(3, 2, true);
    assert_int_equal(shard_count(), 3);
    for (uint32_t number = 1; number <= 2; number++) {
        struct db_shard lost = rows_shard(number);
        assert_int_equal(lost.phase, DB_SHARD_DELETED);
        assert_int_equal(lost.lineage.state, DB_SHARD_CLOSED);
        assert_int_equal(lost.cfg.voter_count, 0);
        assert_int_equal(db_drops_count(rows.db, 1, lost.id), 0); /* nobody deletes it (R16) */
    }
    assert_int_equal(split(), STATUS_OK);
    assert_int_equal(shard_count(), 5);
    assert_int_equal(rows_shard(3).lineage.state, DB_SHARD_WAITING);
    assert_int_equal(rows_shard(4).lineage.parent[0], 0);
}

static void a_broker_that_is_removed_is_not_waited_for(void **state)
{
    (void)state;
    assert_int_equal(rows_add_broker(4, "a", 1), STATUS_OK);
    restore();
    tell(1, 0, true);
    tell(2, 0, true);
    tell(3, 0, true);
    assert_int_equal(split(), STATUS_IN_USE);
    Weir__BrokerControl in = WEIR__BROKER_CONTROL__INIT;
    Weir__CmdBrokerControl cmd = WEIR__CMD_BROKER_CONTROL__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    in.action = WEIR__BROKER_CONTROL__ACTION__REMOVE;
    in.broker = 4;
    cmd.control = &in;
    command.kind_case = WEIR__COMMAND__KIND_BROKER_CONTROL;
    command.broker_control = &cmd;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    assert_int_equal(split(), STATUS_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(settings_are_kept_and_checked),
        CASE(a_leadership_belongs_where_it_was_moved),
        CASE(after_a_restore_splits_wait_for_all_brokers),
        CASE(numbers_that_a_broker_holds_are_used_up),
        CASE(a_broker_that_is_removed_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
