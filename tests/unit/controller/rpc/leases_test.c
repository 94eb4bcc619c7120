/* LEASE_SYNC, LEASE_CHECKPOINT and APP_CONTROL against a real controller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/schema/lease.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "tests/unit/controller/rpc/rig.h"

static char stream_name[] = "orders", app_name[] = "app";

static int open_rig(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig_open(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig_broker_up(rig, id, 1);
    }
    Weir__CreateStream create = WEIR__CREATE_STREAM__INIT;
    create.name = stream_name;
    create.shards = 3;
    assert_int_equal(rig_call(rig, RPC_CREATE_STREAM, &create.base), STATUS_OK);
    *state = rig;
    return 0;
}

static int close_rig(void **state)
{
    rig_close(*state);
    free(*state);
    return 0;
}

struct worker {
    char name[8];
    uint8_t incarnation[16];
    uint64_t shard[8], counter[8], bytes[8];
    size_t count;
};

static enum status call_sync(struct rig *rig, struct worker *worker, bool join, bool leaving)
{
    Weir__LeaseStream stream = WEIR__LEASE_STREAM__INIT, *streams[] = {&stream};
    Weir__LeaseSync sync = WEIR__LEASE_SYNC__INIT;
    stream.name = stream_name;
    sync.application = app_name;
    sync.worker = worker->name;
    sync.incarnation = (ProtobufCBinaryData){.data = worker->incarnation, .len = 16};
    sync.join = join;
    sync.leaving = leaving;
    sync.streams = streams;
    sync.n_streams = 1;
    sync.shards = worker->shard;
    sync.counters = worker->counter;
    sync.bytes_per_s = worker->bytes;
    sync.n_shards = sync.n_counters = sync.n_bytes_per_s = worker->count;
    return rig_call(rig, RPC_LEASE_SYNC, &sync.base);
}

/* Joins, and calls until it has `count` leases. */
static void join_and_start(struct rig *rig, struct worker *worker, size_t count)
{
    assert_int_equal(call_sync(rig, worker, true, false), STATUS_OK);
    for (int tries = 0; tries < 300 && worker->count < count; tries++) {
        assert_int_equal(call_sync(rig, worker, false, false), STATUS_OK);
        Weir__LeaseSyncReply *reply =
            weir__lease_sync_reply__unpack(NULL, rig->reply.size, rig->reply.body);
        assert_non_null(reply);
        for (size_t i = 0; i < reply->n_assigned; i++) {
            assert_string_equal(reply->assigned[i]->stream, stream_name);
            worker->shard[worker->count] = reply->assigned[i]->shard;
            worker->counter[worker->count++] = reply->assigned[i]->counter;
        }
        weir__lease_sync_reply__free_unpacked(reply, NULL);
        rig_run_ms(rig, 20);
    }
    assert_int_equal(worker->count, count);
}

/* What the item gets; the call's own status when it fails as a whole. */
static enum status checkpoint(struct rig *rig, struct worker *worker, size_t at, uint64_t counter,
                              uint64_t offset, bool end)
{
    Weir__LeasePosition position = WEIR__LEASE_POSITION__INIT;
    Weir__LeaseCheckpointItem item = WEIR__LEASE_CHECKPOINT_ITEM__INIT, *items[] = {&item};
    Weir__LeaseCheckpoint call = WEIR__LEASE_CHECKPOINT__INIT;
    position.type = end ? WEIR__LEASE_POSITION_TYPE__LEASE_SHARD_END
                        : WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET;
    position.offset = offset;
    item.shard = worker->shard[at];
    item.counter = counter;
    item.checkpoint = &position;
    call.application = app_name;
    call.worker = worker->name;
    call.incarnation = (ProtobufCBinaryData){.data = worker->incarnation, .len = 16};
    call.items = items;
    call.n_items = 1;
    enum status status = rig_call(rig, RPC_LEASE_CHECKPOINT, &call.base);
    if (status != STATUS_OK) {
        return status;
    }
    Weir__LeaseCheckpointReply *reply =
        weir__lease_checkpoint_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(reply);
    assert_int_equal(reply->n_results, 1);
    status = (enum status)reply->results[0];
    weir__lease_checkpoint_reply__free_unpacked(reply, NULL);
    return status;
}

static enum status control(struct rig *rig, Weir__AppControl__Action action, bool force)
{
    Weir__AppControl call = WEIR__APP_CONTROL__INIT;
    Weir__LeasePosition position = WEIR__LEASE_POSITION__INIT;
    call.action = action;
    call.application = app_name;
    call.force = force;
    call.position = &position;
    return rig_call(rig, RPC_APP_CONTROL, &call.base);
}

/* The answer to what must succeed. */
static Weir__AppReply *told(struct rig *rig, Weir__AppControl__Action action)
{
    assert_int_equal(control(rig, action, false), STATUS_OK);
    Weir__AppReply *reply = weir__app_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(reply);
    return reply;
}

static void leases_go_to_who_joins_and_their_checkpoints_only_forward(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w1", .incarnation = {1}};
    join_and_start(rig, &worker, 3);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 10, false), STATUS_OK);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 10, false), STATUS_OK);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 9, false), STATUS_INVALID);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[1], 11, false), STATUS_FENCED);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 0, true), STATUS_VALIDATION);
    Weir__AppReply *reply = told(rig, WEIR__APP_CONTROL__ACTION__DESCRIBE);
    assert_int_equal(reply->n_leases, 3);
    assert_int_equal(reply->n_workers, 1);
    for (size_t i = 0; i < reply->n_leases; i++) {
        bool moved = reply->leases[i]->shard == worker.shard[0];
        assert_string_equal(reply->leases[i]->worker, "w1");
        assert_int_equal(reply->leases[i]->checkpoint->offset, moved ? 10 : 0);
        assert_string_equal(reply->leases[i]->stuck, "");
    }
    weir__app_reply__free_unpacked(reply, NULL);
}

static void a_second_process_of_the_same_name_fences_the_first(void **state)
{
    struct rig *rig = *state;
    struct worker first = {.name = "w", .incarnation = {1}},
                  second = {.name = "w", .incarnation = {2}};
    join_and_start(rig, &first, 3);
    assert_int_equal(call_sync(rig, &second, true, false), STATUS_OK);
    assert_int_equal(call_sync(rig, &first, false, false), STATUS_FENCED);
    assert_int_equal(checkpoint(rig, &first, 0, first.counter[0], 10, false), STATUS_FENCED);
    join_and_start(rig, &second, 3);
}

static void who_leaves_frees_its_leases_at_once_and_is_out(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w1", .incarnation = {1}};
    join_and_start(rig, &worker, 3);
    assert_int_equal(call_sync(rig, &worker, false, true), STATUS_OK);
    Weir__AppReply *reply = told(rig, WEIR__APP_CONTROL__ACTION__DESCRIBE);
    assert_int_equal(reply->n_workers, 0);
    assert_string_equal(reply->leases[0]->worker, "");
    assert_true(reply->leases[0]->stuck[0] != '\0');
    weir__app_reply__free_unpacked(reply, NULL);
    assert_int_equal(call_sync(rig, &worker, false, false), STATUS_EXPIRED);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 10, false), STATUS_EXPIRED);
}

static void a_reset_takes_leases_from_their_owners_first(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w1", .incarnation = {1}};
    join_and_start(rig, &worker, 3);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 10, false), STATUS_OK);
    Weir__AppReply *reply = told(rig, WEIR__APP_CONTROL__ACTION__RESET);
    assert_int_equal(reply->changed, 3);
    weir__app_reply__free_unpacked(reply, NULL);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 11, false), STATUS_FENCED);
    worker.count = 0;
    join_and_start(rig, &worker, 3);
    assert_int_equal(checkpoint(rig, &worker, 0, worker.counter[0], 1, false), STATUS_OK);
}

static void an_application_with_workers_is_deleted_by_force_only(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w1", .incarnation = {1}};
    assert_int_equal(control(rig, WEIR__APP_CONTROL__ACTION__DELETE, false), STATUS_NOT_FOUND);
    join_and_start(rig, &worker, 3);
    assert_int_equal(control(rig, WEIR__APP_CONTROL__ACTION__DELETE, false), STATUS_IN_USE);
    assert_int_equal(control(rig, WEIR__APP_CONTROL__ACTION__DELETE, true), STATUS_OK);
    assert_int_equal(call_sync(rig, &worker, false, false), STATUS_EXPIRED);
    Weir__AppReply *reply = told(rig, WEIR__APP_CONTROL__ACTION__LIST);
    assert_int_equal(reply->n_applications, 0);
    weir__app_reply__free_unpacked(reply, NULL);
}

static void leases_and_owners_outlive_a_restart_of_the_controller(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w1", .incarnation = {1}};
    join_and_start(rig, &worker, 3);
    assert_int_equal(checkpoint(rig, &worker, 1, worker.counter[1], 77, false), STATUS_OK);
    rig_restart(rig);
    enum status status = STATUS_NOT_ACTIVE;
    for (int tries = 0; tries < 300 && status != STATUS_OK; tries++) {
        rig_run_ms(rig, 20);
        status = call_sync(rig, &worker, false, false);
    }
    assert_int_equal(status, STATUS_OK);
    Weir__LeaseSyncReply *reply =
        weir__lease_sync_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_int_equal(reply->n_lost, 0);
    weir__lease_sync_reply__free_unpacked(reply, NULL);
    assert_int_equal(checkpoint(rig, &worker, 1, worker.counter[1], 76, false), STATUS_INVALID);
    assert_int_equal(checkpoint(rig, &worker, 1, worker.counter[1], 78, false), STATUS_OK);
}

static void bad_calls_are_refused_with_a_reason(void **state)
{
    struct rig *rig = *state;
    struct worker worker = {.name = "w 1", .incarnation = {1}};
    assert_int_equal(call_sync(rig, &worker, true, false), STATUS_INVALID);
    assert_non_null(strstr(rig->reply.text, "a worker's name"));
    Weir__LeaseSync sync = WEIR__LEASE_SYNC__INIT;
    assert_int_equal(rig_call(rig, RPC_LEASE_SYNC, &sync.base), STATUS_INVALID);
    stream_name[0] = 'X';
    (void)snprintf(worker.name, sizeof(worker.name), "w1");
    assert_int_equal(call_sync(rig, &worker, true, false), STATUS_NOT_FOUND);
    assert_non_null(strstr(rig->reply.text, "there is no stream Xrders"));
    stream_name[0] = 'o';
    assert_int_equal(control(rig, WEIR__APP_CONTROL__ACTION__NONE, false), STATUS_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)
    const struct CMUnitTest tests[] = {
        TEST(leases_go_to_who_joins_and_their_checkpoints_only_forward),
        TEST(a_second_process_of_the_same_name_fences_the_first),
        TEST(who_leaves_frees_its_leases_at_once_and_is_out),
        TEST(a_reset_takes_leases_from_their_owners_first),
        TEST(an_application_with_workers_is_deleted_by_force_only),
        TEST(leases_and_owners_outlive_a_restart_of_the_controller),
        TEST(bad_calls_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
