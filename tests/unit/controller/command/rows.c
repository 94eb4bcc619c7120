/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "tests/unit/controller/command/rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/command/command.h"

struct rows rows;

static char said[ERROR_TEXT_BYTES];

enum status rows_apply(Weir__Command *command)
{
    Weir__CommandList list = WEIR__COMMAND_LIST__INIT;
    list.n_commands = 1;
    list.commands = &command;
    command->time_ms = rows.clock_ms;
    size_t size = weir__command_list__get_packed_size(&list);
    uint8_t *packed = malloc(size + 1);
    assert_non_null(packed);
    weir__command_list__pack(&list, packed);
    struct command_results results = {0};
    struct error error = {.text = ""};
    assert_int_equal(
        command_apply(rows.db, rows.next_index++, bytes_of(packed, size), &results, &error),
        STATUS_OK);
    enum status status = results.result[0].status;
    (void)snprintf(said, sizeof(said), "%s", results.result[0].text);
    command_results_release(&results);
    db_changes_clear(db_changes(rows.db));
    free(packed);
    return status;
}

const char *rows_said(void)
{
    return said;
}

/* ---- life ---- */

void rows_open(void)
{
    struct error error;
    uint8_t cluster[CLUSTER_ID_BYTES] = {1};
    rows = (struct rows){.next_index = 1, .clock_ms = 1700000000000};
    (void)snprintf(rows.path, sizeof(rows.path), "/dev/shm/weir-rows-%d", (int)getpid());
    (void)unlink(rows.path);
    assert_int_equal(db_open(rows.path, &rows.db, &error), STATUS_OK);
    Weir__CmdBootstrap in = WEIR__CMD_BOOTSTRAP__INIT;
    in.cluster = (ProtobufCBinaryData){.data = cluster, .len = sizeof(cluster)};
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_BOOTSTRAP;
    command.bootstrap = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

void rows_close(void)
{
    static const char *const suffix[] = {"", "-wal", "-shm"};
    db_close(rows.db);
    for (size_t i = 0; i < sizeof(suffix) / sizeof(suffix[0]); i++) {
        char file[sizeof(rows.path) + 8];
        (void)snprintf(file, sizeof(file), "%s%s", rows.path, suffix[i]);
        (void)unlink(file);
    }
}

void rows_begin(uint32_t shards)
{
    char name[] = "orders";
    assert_int_equal(rows_add_broker(1, "a", 1), STATUS_OK);
    assert_int_equal(rows_add_broker(2, "b", 1), STATUS_OK);
    assert_int_equal(rows_add_broker(3, "c", 1), STATUS_OK);
    Weir__CmdCreateStream in = WEIR__CMD_CREATE_STREAM__INIT;
    in.name = name;
    in.shards = shards;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_CREATE_STREAM;
    command.create_stream = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

/* ---- brokers ---- */

enum status rows_add_broker(uint32_t id, const char *zone, uint8_t disk_number)
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
    return rows_apply(&command);
}

struct db_broker rows_broker(uint32_t id)
{
    struct db_broker out;
    assert_true(db_broker_get(rows.db, id, &out));
    return out;
}

/* ---- shards ---- */

struct db_shard rows_shard(uint32_t number)
{
    struct db_shard shard;
    assert_true(db_shard_get(rows.db, db_shard_id(1, number), &shard));
    return shard;
}

bool rows_votes(uint32_t broker)
{
    return rows_place(broker) < rows_shard(0).cfg.voter_count;
}

uint32_t rows_place(uint32_t broker)
{
    struct db_shard shard = rows_shard(0);
    uint32_t v = 0;
    while (v < shard.cfg.voter_count && shard.cfg.voter[v].broker != broker) {
        v++;
    }
    return v;
}

/* ---- elections ---- */

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

void rows_electing(uint32_t number)
{
    Weir__CmdElecting__Shard item = WEIR__CMD_ELECTING__SHARD__INIT, *items[] = {&item};
    item.shard = rows_shard(number).id;
    item.epoch = rows_shard(number).epoch + 1;
    Weir__CmdElecting in = WEIR__CMD_ELECTING__INIT;
    in.n_shards = 1;
    in.shards = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_ELECTING;
    command.electing = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

void rows_elect(uint32_t number, uint32_t at, bool swapped)
{
    struct db_shard shard = rows_shard(number);
    const struct db_config *cfg = swapped ? &shard.prev_cfg : &shard.cfg;
    const struct db_config *prev = swapped ? &shard.cfg : &shard.prev_cfg;
    Weir__ReplicaConfig config[2];
    Weir__ReplicaId voter[2][DB_VOTERS_MAX], *voters[2][DB_VOTERS_MAX] = {0};
    Weir__CmdActive__Shard item = WEIR__CMD_ACTIVE__SHARD__INIT, *items[] = {&item};
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
    assert_int_equal(rows_apply(&command), STATUS_OK);
    assert_int_equal(rows_shard(number).phase, DB_SHARD_ACTIVE);
}

void rows_stable(void)
{
    Weir__CmdStable__Shard item = WEIR__CMD_STABLE__SHARD__INIT, *items[] = {&item};
    item.shard = rows_shard(0).id;
    item.epoch = rows_shard(0).epoch;
    Weir__CmdStable in = WEIR__CMD_STABLE__INIT;
    in.n_shards = 1;
    in.shards = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_STABLE;
    command.stable = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

/* ---- moves ---- */

void rows_move_begin(uint32_t from, uint32_t from_gen, uint32_t to)
{
    Weir__CmdMoveBegin__Item item = WEIR__CMD_MOVE_BEGIN__ITEM__INIT, *items[] = {&item};
    Weir__ReplicaId id = WEIR__REPLICA_ID__INIT;
    id.broker = from;
    id.disk_gen = from_gen;
    item.shard = rows_shard(0).id;
    item.from = &id;
    item.to = to;
    Weir__CmdMoveBegin in = WEIR__CMD_MOVE_BEGIN__INIT;
    in.n_items = 1;
    in.items = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_BEGIN;
    command.move_begin = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

void rows_move_join(uint32_t epoch)
{
    Weir__CmdMoveJoin__Item item = WEIR__CMD_MOVE_JOIN__ITEM__INIT, *items[] = {&item};
    Weir__ReplicaId id = WEIR__REPLICA_ID__INIT;
    id.broker = rows_shard(0).move.to.broker;
    id.disk_gen = rows_shard(0).move.to.disk_gen;
    item.shard = rows_shard(0).id;
    item.epoch = epoch;
    item.to = &id;
    Weir__CmdMoveJoin in = WEIR__CMD_MOVE_JOIN__INIT;
    in.n_items = 1;
    in.items = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_JOIN;
    command.move_join = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

void rows_move_end(void)
{
    uint64_t shard = rows_shard(0).id;
    Weir__CmdMoveEnd in = WEIR__CMD_MOVE_END__INIT;
    in.n_shards = 1;
    in.shards = &shard;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_MOVE_END;
    command.move_end = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}
