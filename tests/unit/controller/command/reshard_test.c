/* Splits, merges and other numbers of shards as rows: docs/replication.md 2.12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/controller/command/rows.h"

static void seal(uint32_t number, uint64_t end, uint64_t time_ms)
{
    Weir__CmdShardsSealed__Shard item = WEIR__CMD_SHARDS_SEALED__SHARD__INIT;
    Weir__CmdShardsSealed__Shard *items[] = {&item};
    item.shard = db_shard_id(1, number);
    item.end = end;
    item.time_ms = time_ms;
    Weir__CmdShardsSealed in = WEIR__CMD_SHARDS_SEALED__INIT;
    in.n_shards = 1;
    in.shards = items;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_SHARDS_SEALED;
    command.shards_sealed = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
}

static char orders[] = "orders";

static enum status reshard(Weir__Reshard *in)
{
    in->name = orders;
    Weir__CmdReshard cmd = WEIR__CMD_RESHARD__INIT;
    cmd.reshard = in;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_RESHARD;
    command.reshard = &cmd;
    return rows_apply(&command);
}

static enum status split(uint32_t shard)
{
    Weir__Reshard in;
    weir__reshard__init(&in);
    Weir__Reshard__Split body;
    weir__reshard__split__init(&body);
    body.shard = shard;
    in.kind_case = WEIR__RESHARD__KIND_SPLIT;
    in.split = &body;
    return reshard(&in);
}

static enum status merge(uint32_t a, uint32_t b, bool limited)
{
    Weir__Reshard in;
    weir__reshard__init(&in);
    Weir__Reshard__Merge body;
    weir__reshard__merge__init(&body);
    body.shard = a;
    body.with = b;
    in.limited = limited;
    in.kind_case = WEIR__RESHARD__KIND_MERGE;
    in.merge = &body;
    return reshard(&in);
}

static enum status count(uint32_t shards, bool within_double)
{
    Weir__Reshard in;
    weir__reshard__init(&in);
    Weir__Reshard__Count body;
    weir__reshard__count__init(&body);
    body.shards = shards;
    body.within_double = within_double;
    in.kind_case = WEIR__RESHARD__KIND_COUNT;
    in.count = &body;
    return reshard(&in);
}

static enum db_stream_state stream_state(void)
{
    struct db_stream stream;
    assert_true(db_stream_get(rows.db, 1, &stream));
    return stream.state;
}

/* Stream 1, ACTIVE, with so many shards on three brokers. */
static void begin(uint32_t shards)
{
    rows_open();
    rows_begin(shards);
    for (uint32_t i = 0; i < shards; i++) {
        rows_elect(i, 0, false);
    }
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
}

static void a_split_opens_its_children_when_the_parent_is_sealed(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(split(0), STATUS_OK);
    assert_int_equal(stream_state(), DB_STREAM_UPDATING);
    assert_int_equal(rows_shard(1).lineage.state, DB_SHARD_WAITING);
    assert_int_equal(rows_shard(2).lineage.state, DB_SHARD_WAITING);
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_OPEN); /* no child has a leader */
    rows_elect(1, 0, false);
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_OPEN);
    seal(0, 10, rows.clock_ms); /* nobody asked for that */
    assert_int_equal(rows_shard(0).lineage.final_offset, 0);
    rows_elect(2, 0, false);
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_SEALING);
    assert_int_equal(rows_shard(1).lineage.state, DB_SHARD_WAITING);
    seal(0, 10, rows.clock_ms + 2500); /* its clock is ahead */
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_CLOSED);
    assert_int_equal(rows_shard(0).lineage.final_offset, 10);
    for (uint32_t child = 1; child <= 2; child++) {
        struct db_shard shard = rows_shard(child);
        assert_int_equal(shard.lineage.state, DB_SHARD_OPEN);
        assert_int_equal(shard.lineage.parent_count, 1);
        assert_int_equal(shard.lineage.parent[0], 0);
        assert_int_equal(shard.created_s, rows.clock_ms / 1000 + 3); /* later than any record */
    }
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
    seal(0, 12, rows.clock_ms); /* late copies change nothing */
    assert_int_equal(rows_shard(0).lineage.final_offset, 10);
    rows_close();
}

static void a_merge_waits_for_both_parents(void **state)
{
    (void)state;
    begin(2);
    assert_int_equal(merge(1, 0, true), STATUS_INVALID); /* AWS wants the lower one first */
    assert_int_equal(merge(1, 0, false), STATUS_OK);
    assert_int_equal(merge(0, 1, false), STATUS_IN_USE);
    rows_elect(2, 0, false);
    seal(0, 5, rows.clock_ms);
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_SEALING);
    assert_int_equal(rows_shard(2).lineage.state, DB_SHARD_WAITING);
    seal(1, 7, rows.clock_ms);
    assert_int_equal(rows_shard(0).lineage.state, DB_SHARD_CLOSED);
    assert_int_equal(rows_shard(1).lineage.state, DB_SHARD_CLOSED);
    assert_int_equal(rows_shard(2).lineage.state, DB_SHARD_OPEN);
    assert_int_equal(rows_shard(2).lineage.parent[0], 0);
    assert_int_equal(rows_shard(2).lineage.parent[1], 1);
    assert_true(rows_shard(2).created_s > rows_shard(0).created_s);
    rows_close();
}

static void what_cannot_be_changes_nothing(void **state)
{
    (void)state;
    begin(3);
    assert_int_equal(split(7), STATUS_NOT_FOUND);
    assert_int_equal(merge(0, 2, false), STATUS_INVALID);
    assert_int_equal(merge(0, 0, false), STATUS_INVALID);
    assert_int_equal(count(0, false), STATUS_INVALID);
    assert_int_equal(count(7, true), STATUS_INVALID);
    assert_int_equal(count(1, true), STATUS_INVALID);
    assert_int_equal(count(3, true), STATUS_OK); /* it has them */
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
    struct db_stream stream;
    assert_true(db_stream_get(rows.db, 1, &stream));
    assert_int_equal(stream.shard_count, 3);
    rows_close();
}

static void a_number_of_shards_goes_on_by_itself(void **state)
{
    (void)state;
    begin(5);
    assert_int_equal(count(3, false), STATUS_OK); /* the middle third lies over three shards */
    struct db_stream stream;
    assert_true(db_stream_get(rows.db, 1, &stream));
    assert_int_equal(stream.shard_count, 6);
    rows_elect(5, 0, false);
    uint32_t closed = 0;
    for (uint32_t i = 0; i < 5; i++) {
        if (rows_shard(i).lineage.state == DB_SHARD_SEALING) {
            seal(i, 3, rows.clock_ms);
            closed++;
        }
    }
    assert_int_equal(closed, 2);
    assert_int_equal(stream_state(), DB_STREAM_UPDATING);
    assert_true(db_stream_get(rows.db, 1, &stream));
    assert_int_equal(stream.shard_count, 9); /* the last step has begun in the same command */
    for (uint32_t i = 6; i < 9; i++) {
        assert_int_equal(rows_shard(i).lineage.state, DB_SHARD_WAITING);
        rows_elect(i, 0, false);
    }
    for (uint32_t i = 0; i < 6; i++) {
        if (rows_shard(i).lineage.state == DB_SHARD_SEALING) {
            seal(i, 3, rows.clock_ms);
        }
    }
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
    for (uint32_t i = 0; i < 9; i++) {
        assert_int_equal(rows_shard(i).lineage.state, i < 6 ? DB_SHARD_CLOSED : DB_SHARD_OPEN);
    }
    rows_close();
}

static void set_mode(Weir__StreamMode mode)
{
    Weir__StreamControl__Mode part = WEIR__STREAM_CONTROL__MODE__INIT;
    part.mode = mode;
    Weir__StreamControl control = WEIR__STREAM_CONTROL__INIT;
    control.name = orders;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_MODE;
    control.mode = &part;
    Weir__CmdStreamControl in = WEIR__CMD_STREAM_CONTROL__INIT;
    in.control = &control;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_STREAM_CONTROL;
    command.stream_control = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    Weir__CmdStreamSettled settled = WEIR__CMD_STREAM_SETTLED__INIT;
    settled.stream = 1;
    settled.change = 1;
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_STREAM_SETTLED;
    command.stream_settled = &settled;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
}

/* Splits `shard` in its middle and merges two others: the state of the stream afterwards. */
static enum db_stream_state scale(uint32_t shard, uint32_t merged, uint32_t with)
{
    uint8_t at[HASH_KEY_BYTES];
    struct hash_range range = rows_shard(shard).range;
    struct hash_key middle = {.high = range.first.high / 2 + range.last.high / 2};
    hash_key_to_bytes(middle, at);
    Weir__Reshard__Split part = WEIR__RESHARD__SPLIT__INIT, *parts[] = {&part};
    part.shard = shard;
    part.at = (ProtobufCBinaryData){.data = at, .len = sizeof(at)};
    Weir__Reshard__Merge pair = WEIR__RESHARD__MERGE__INIT, *pairs[] = {&pair};
    pair.shard = merged;
    pair.with = with;
    Weir__CmdScale in = WEIR__CMD_SCALE__INIT;
    in.stream = 1;
    in.n_splits = in.n_merges = 1;
    in.splits = parts;
    in.merges = pairs;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_SCALE;
    command.scale = &in;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    return stream_state();
}

static void a_load_splits_and_merges_in_one_step_in_on_demand_mode_only(void **state)
{
    (void)state;
    begin(4);
    assert_int_equal(scale(0, 2, 3), DB_STREAM_ACTIVE); /* provisioned */
    set_mode(WEIR__STREAM_MODE__STREAM_ON_DEMAND);
    assert_int_equal(scale(0, 0, 1), DB_STREAM_ACTIVE); /* a shard twice */
    assert_int_equal(scale(0, 1, 3), DB_STREAM_ACTIVE); /* no neighbours */
    assert_int_equal(scale(0, 3, 2), DB_STREAM_ACTIVE); /* in the wrong order */
    struct db_shard shard;
    assert_false(db_shard_get(rows.db, db_shard_id(1, 4), &shard));

    assert_int_equal(scale(0, 2, 3), DB_STREAM_UPDATING);
    for (uint32_t n = 4; n < 7; n++) {
        rows_elect(n, 0, false);
    }
    seal(2, 10, rows.clock_ms);
    seal(3, 20, rows.clock_ms);
    assert_int_equal(rows_shard(6).lineage.state,
                     DB_SHARD_OPEN); /* it need not wait for the split */
    assert_int_equal(rows_shard(6).lineage.parent_count, 2);
    assert_int_equal(stream_state(), DB_STREAM_UPDATING);
    seal(0, 30, rows.clock_ms);
    assert_int_equal(rows_shard(4).lineage.state, DB_SHARD_OPEN);
    assert_int_equal(rows_shard(5).lineage.state, DB_SHARD_OPEN);
    assert_int_equal(rows_shard(1).lineage.state, DB_SHARD_OPEN);
    assert_int_equal(stream_state(), DB_STREAM_ACTIVE);
    rows_close();
}

static void a_closed_shard_goes_when_its_records_have_expired(void **state)
{
    (void)state;
    begin(1);
    assert_int_equal(split(0), STATUS_OK);
    rows_elect(1, 0, false);
    rows_elect(2, 0, false);
    seal(0, 10, rows.clock_ms);
    uint64_t shards[] = {db_shard_id(1, 0), db_shard_id(1, 1)};
    Weir__CmdExpireShards in = WEIR__CMD_EXPIRE_SHARDS__INIT;
    in.shards = shards;
    in.n_shards = 2;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_EXPIRE_SHARDS;
    command.expire_shards = &in;
    rows.clock_ms += 24 * 3600 * 1000;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    assert_int_equal(rows_shard(0).phase, DB_SHARD_ACTIVE); /* not yet */
    rows.clock_ms += 1;
    assert_int_equal(rows_apply(&command), STATUS_OK);
    assert_int_equal(rows_shard(0).phase, DB_SHARD_DELETED);
    assert_int_equal(rows_shard(1).phase, DB_SHARD_ACTIVE); /* open */
    uint64_t owed;
    assert_int_equal(db_drops_get(rows.db, 1, 0, &owed, 1), 1);
    assert_int_equal(owed, db_shard_id(1, 0));
    assert_int_equal(split(0), STATUS_NOT_FOUND);
    rows_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_split_opens_its_children_when_the_parent_is_sealed),
        cmocka_unit_test(a_merge_waits_for_both_parents),
        cmocka_unit_test(what_cannot_be_changes_nothing),
        cmocka_unit_test(a_number_of_shards_goes_on_by_itself),
        cmocka_unit_test(a_load_splits_and_merges_in_one_step_in_on_demand_mode_only),
        cmocka_unit_test(a_closed_shard_goes_when_its_records_have_expired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
