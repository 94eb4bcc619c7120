/* Replicas that move, as rows: docs/replication.md R14 to R16, 2.9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/command/command.h"
#include "controller/moves/move.h"
#include "proto/schema/command.pb-c.h"

static struct db *db;
static char path[64];
static uint64_t next_index, clock_ms;

/* Applies one command; its result's status. */
static enum status apply(Weir__Command *command)
{
    Weir__CommandList list = WEIR__COMMAND_LIST__INIT;
    list.n_commands = 1;
    list.commands = &command;
    command->time_ms = clock_ms;
    size_t size = weir__command_list__get_packed_size(&list);
    uint8_t *packed = malloc(size + 1);
    assert_non_null(packed);
    weir__command_list__pack(&list, packed);
    struct command_results results = {0};
    struct error error = {.text = ""};
    assert_int_equal(command_apply(db, next_index++, bytes_of(packed, size), &results, &error),
                     STATUS_OK);
    enum status status = results.result[0].status;
    command_results_release(&results);
    db_changes_clear(db_changes(db));
    free(packed);
    return status;
}

static enum status add_broker(uint32_t id, const char *zone, uint8_t disk_number)
{
    uint8_t disk[DB_DISK_ID_BYTES] = {(uint8_t)id, disk_number};
    char zone_text[8], host[] = "::1";
    (void)snprintf(zone_text, sizeof(zone_text), "%s", zone);
    Weir__Address address = WEIR__ADDRESS__INIT;
    address.host = host;
    address.port = 7001;
    Weir__CmdRegisterBroker in = WEIR__CMD_REGISTER_BROKER__INIT;
    in.broker = id;
    in.boot = 1;
    in.disk = (ProtobufCBinaryData){.data = disk, .len = sizeof(disk)};
    in.zone = zone_text;
    in.address = &address;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_REGISTER_BROKER;
    command.register_broker = &in;
    return apply(&command);
}

static struct db_shard row(uint32_t number)
{
    struct db_shard shard;
    assert_true(db_shard_get(db, db_shard_id(1, number), &shard));
    return shard;
}

static Weir__ReplicaConfig *config_of(const struct db_config *from, Weir__ReplicaConfig *out,
                                      Weir__ReplicaId *voter, Weir__ReplicaId **voters)
{
    weir__replica_config__init(out);
    for (uint32_t v = 0; v < from->voter_count; v++) {
        weir__replica_id__init(&voter[v]);
        voter[v].broker = from->voter[v].broker;
        voter[v].disk_gen = from->voter[v].disk_gen;
        voters[v] = &voter[v];
    }
    out->version = from->version;
    out->n_voters = from->voter_count;
    out->voters = voters;
    return from->voter_count == 0 ? NULL : out;
}

/* The voter at `at` wins the election that is under way; `swapped`: under the old configuration. */
static void elect(uint32_t at, bool swapped)
{
    struct db_shard shard = row(0);
    const struct db_config *cfg = swapped ? &shard.prev_cfg : &shard.cfg;
    const struct db_config *prev = swapped ? &shard.cfg : &shard.prev_cfg;
    Weir__ReplicaConfig config[2];
    Weir__ReplicaId voter[2][DB_VOTERS_MAX], *voters[2][DB_VOTERS_MAX];
    Weir__CmdActive__Shard item = WEIR__CMD_ACTIVE__SHARD__INIT;
    Weir__CmdActive__Shard *items[] = {&item};
    item.shard = shard.id;
    item.epoch = shard.epoch;
    item.boot = 1;
    item.config = config_of(cfg, &config[0], voter[0], voters[0]);
    item.prev_config = config_of(prev, &config[1], voter[1], voters[1]);
    item.leader = voters[0][at];
    Weir__CmdActive in = WEIR__CMD_ACTIVE__INIT;
    in.n_shards = 1;
    in.shards = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_ACTIVE;
    command.active = &in;
    assert_int_equal(apply(&command), STATUS_OK);
    assert_int_equal(row(0).phase, DB_SHARD_ACTIVE);
}

static void stable(void)
{
    Weir__CmdStable__Shard item = WEIR__CMD_STABLE__SHARD__INIT, *items[] = {&item};
    item.shard = row(0).id;
    item.epoch = row(0).epoch;
    Weir__CmdStable in = WEIR__CMD_STABLE__INIT;
    in.n_shards = 1;
    in.shards = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_STABLE;
    command.stable = &in;
    assert_int_equal(apply(&command), STATUS_OK);
}

static void begin(uint32_t from, uint32_t from_gen, uint32_t to)
{
    Weir__CmdMoveBegin__Item item = WEIR__CMD_MOVE_BEGIN__ITEM__INIT, *items[] = {&item};
    Weir__ReplicaId id = WEIR__REPLICA_ID__INIT;
    id.broker = from;
    id.disk_gen = from_gen;
    item.shard = row(0).id;
    item.from = &id;
    item.to = to;
    Weir__CmdMoveBegin in = WEIR__CMD_MOVE_BEGIN__INIT;
    in.n_items = 1;
    in.items = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_BEGIN;
    command.move_begin = &in;
    assert_int_equal(apply(&command), STATUS_OK);
}

static void join(uint32_t epoch)
{
    Weir__CmdMoveJoin__Item item = WEIR__CMD_MOVE_JOIN__ITEM__INIT, *items[] = {&item};
    Weir__ReplicaId id = WEIR__REPLICA_ID__INIT;
    id.broker = row(0).move.to.broker;
    id.disk_gen = row(0).move.to.disk_gen;
    item.shard = row(0).id;
    item.epoch = epoch;
    item.to = &id;
    Weir__CmdMoveJoin in = WEIR__CMD_MOVE_JOIN__INIT;
    in.n_items = 1;
    in.items = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_JOIN;
    command.move_join = &in;
    assert_int_equal(apply(&command), STATUS_OK);
}

static void give_up(void)
{
    uint64_t shard = row(0).id;
    Weir__CmdMoveEnd in = WEIR__CMD_MOVE_END__INIT;
    in.n_shards = 1;
    in.shards = &shard;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_END;
    command.move_end = &in;
    assert_int_equal(apply(&command), STATUS_OK);
}

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
    return apply(&command);
}

static struct db_broker broker(uint32_t id)
{
    struct db_broker out;
    assert_true(db_broker_get(db, id, &out));
    return out;
}

/* One shard on brokers 1, 2 and 3 in zones a, b and c; broker 4 is in zone a, too. */
static int set_up(void **state)
{
    (void)state;
    struct error error;
    uint8_t cluster[CLUSTER_ID_BYTES] = {1};
    char name[] = "orders";
    (void)snprintf(path, sizeof(path), "/tmp/weir-moves-%d.db", (int)getpid());
    (void)unlink(path);
    next_index = 1;
    clock_ms = 1000000;
    assert_int_equal(db_open(path, &db, &error), STATUS_OK);
    Weir__CmdBootstrap bootstrap = WEIR__CMD_BOOTSTRAP__INIT;
    bootstrap.cluster = (ProtobufCBinaryData){.data = cluster, .len = sizeof(cluster)};
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_BOOTSTRAP;
    command.bootstrap = &bootstrap;
    assert_int_equal(apply(&command), STATUS_OK);
    assert_int_equal(add_broker(1, "a", 1), STATUS_OK);
    assert_int_equal(add_broker(2, "b", 1), STATUS_OK);
    assert_int_equal(add_broker(3, "c", 1), STATUS_OK);
    Weir__CmdCreateStream create = WEIR__CMD_CREATE_STREAM__INIT;
    create.name = name;
    create.shards = 1;
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_CREATE_STREAM;
    command.create_stream = &create;
    assert_int_equal(apply(&command), STATUS_OK);
    assert_int_equal(add_broker(4, "a", 1), STATUS_OK);
    elect(1, false);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char side[80];
    db_close(db);
    (void)unlink(path);
    (void)snprintf(side, sizeof(side), "%s-wal", path);
    (void)unlink(side);
    (void)snprintf(side, sizeof(side), "%s-shm", path);
    (void)unlink(side);
    return 0;
}

static bool votes(uint32_t id)
{
    struct db_shard shard = row(0);
    for (uint32_t v = 0; v < shard.cfg.voter_count; v++) {
        if (shard.cfg.voter[v].broker == id) {
            return true;
        }
    }
    return false;
}

static uint32_t place_of(uint32_t id)
{
    struct db_shard shard = row(0);
    uint32_t v = 0;
    while (shard.cfg.voter[v].broker != id) {
        v++;
    }
    return v;
}

/* Whoever leads is not broker 1. */
static void led_by_another(void)
{
    if (row(0).leader.broker == 1) {
        Weir__CmdElecting__Shard item = WEIR__CMD_ELECTING__SHARD__INIT, *items[] = {&item};
        item.shard = row(0).id;
        item.epoch = row(0).epoch + 1;
        Weir__CmdElecting in = WEIR__CMD_ELECTING__INIT;
        in.n_shards = 1;
        in.shards = items;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_ELECTING;
        command.electing = &in;
        assert_int_equal(apply(&command), STATUS_OK);
        elect(place_of(2), false);
    }
}

static void a_replica_moves_by_a_joint_epoch(void **state)
{
    (void)state;
    led_by_another();
    uint32_t epoch = row(0).epoch;
    begin(1, 1, 4);
    assert_int_equal(row(0).move.state, MOVE_COPYING);
    assert_int_equal(broker(4).replicas, 1);
    join(epoch - 1);
    assert_int_equal(row(0).epoch, epoch); /* of another epoch (R17) */
    join(epoch);
    assert_int_equal(row(0).epoch, epoch + 1);
    assert_int_equal(row(0).phase, DB_SHARD_ELECTING);
    assert_true(votes(4));
    assert_int_equal(row(0).prev_cfg.voter_count, 3);
    elect(place_of(2), false);
    assert_int_equal(db_drops_count(db, 1, 0), 0); /* not before it is stable (R15) */
    stable();
    assert_int_equal(row(0).move.state, 0);
    assert_int_equal(db_drops_count(db, 1, row(0).id), 1);
    assert_false(votes(1));
    assert_int_equal(broker(1).replicas, 0);
    assert_int_equal(broker(4).replicas, 1);
    begin(4, 1, 1);
    assert_int_equal(row(0).move.state, 0); /* what broker 1 has is still to be deleted */
}

static void a_joint_epoch_that_falls_back_keeps_the_old_replica(void **state)
{
    (void)state;
    led_by_another();
    begin(1, 1, 4);
    join(row(0).epoch);
    elect(0, true);
    stable();
    assert_true(votes(1));
    assert_false(votes(4));
    assert_int_equal(row(0).move.state, MOVE_COPYING);
    assert_int_equal(db_drops_count(db, 1, 0), 0);
    give_up();
    assert_int_equal(db_drops_count(db, 4, row(0).id), 1);
    assert_int_equal(broker(4).replicas, 0);
}

static void what_leads_does_not_go(void **state)
{
    (void)state;
    uint32_t leader = row(0).leader.broker, epoch = row(0).epoch;
    assert_int_equal(add_broker(5, "b", 1), STATUS_OK);
    assert_int_equal(add_broker(6, "c", 1), STATUS_OK);
    begin(leader, 1, leader == 1 ? 4 : leader == 2 ? 5 : 6);
    assert_int_equal(row(0).move.state, MOVE_COPYING);
    join(epoch);
    assert_int_equal(row(0).epoch, epoch);
}

static void moves_that_would_be_unsafe_do_not_begin(void **state)
{
    (void)state;
    begin(2, 1, 4); /* two replicas in zone a */
    assert_int_equal(row(0).move.state, 0);
    begin(1, 1, 2); /* two on one broker */
    assert_int_equal(row(0).move.state, 0);
    begin(1, 2, 4); /* not that disk */
    assert_int_equal(row(0).move.state, 0);
    begin(1, 1, 9);
    assert_int_equal(row(0).move.state, 0);
}

static void a_new_disk_takes_the_place_of_the_old_one(void **state)
{
    (void)state;
    led_by_another();
    assert_int_equal(add_broker(1, "a", 2), STATUS_OK);
    begin(1, 1, 1);
    assert_int_equal(row(0).move.to.disk_gen, 2);
    join(row(0).epoch);
    elect(place_of(2), false);
    stable();
    assert_true(votes(1));
    assert_int_equal(db_drops_count(db, 1, 0), 0); /* or it would delete the new one */
    assert_int_equal(broker(1).replicas, 1);
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
    assert_int_equal(broker(1).mode, DB_BROKER_DRAINING);
    assert_int_equal(control(WEIR__BROKER_CONTROL__ACTION__REMOVE, 4), STATUS_OK);
    assert_int_equal(add_broker(4, "a", 1), STATUS_STALE);
    assert_int_equal(add_broker(4, "a", 2), STATUS_OK); /* an empty disk is welcome */
    assert_int_equal(broker(4).mode, DB_BROKER_NORMAL);
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
