#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/schema/metadata.pb-c.h"
#include "tests/unit/controller/rpc/rig.h"

static char name[] = "orders";

static int open_rig(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig_open(rig);
    for (uint32_t id = 1; id <= 3; id++) {
        rig_broker_up(rig, id, 1);
    }
    Weir__CreateStream create = WEIR__CREATE_STREAM__INIT;
    create.name = name;
    create.shards = 2;
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

/* The stream's row in a fresh image; the caller frees it. */
static Weir__MetadataUpdate *image(struct rig *rig)
{
    Weir__GetMetadata get = WEIR__GET_METADATA__INIT;
    assert_int_equal(rig_call(rig, RPC_GET_METADATA, &get.base), STATUS_OK);
    Weir__MetadataUpdate *update =
        weir__metadata_update__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_non_null(update);
    assert_int_equal(update->n_streams, 1);
    return update;
}

/* Asks until the stream is ACTIVE and its consumers are settled. */
static Weir__MetadataUpdate *settled(struct rig *rig)
{
    for (int tries = 0; tries < 200; tries++) {
        Weir__MetadataUpdate *update = image(rig);
        const Weir__StreamInfo *stream = update->streams[0];
        bool ready = stream->state == WEIR__STREAM_STATE__STREAM_ACTIVE;
        for (size_t i = 0; i < stream->attributes->n_consumers; i++) {
            ready = ready && stream->attributes->consumers[i]->state ==
                                 WEIR__CONSUMER_STATE__CONSUMER_ACTIVE;
        }
        if (ready) {
            return update;
        }
        weir__metadata_update__free_unpacked(update, NULL);
        rig_run_ms(rig, 10);
    }
    fail_msg("%s", "the stream does not settle");
    return NULL;
}

static Weir__StreamControl control_of(void)
{
    Weir__StreamControl control = WEIR__STREAM_CONTROL__INIT;
    control.name = name;
    return control;
}

static void a_change_is_told_and_settles_by_itself(void **state)
{
    struct rig *rig = *state;
    weir__metadata_update__free_unpacked(settled(rig), NULL);
    Weir__StreamControl control = control_of();
    Weir__StreamControl__MaxRecord record = WEIR__STREAM_CONTROL__MAX_RECORD__INIT;
    record.kib = 2048;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_MAX_RECORD;
    control.max_record = &record;
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_OK);
    Weir__StreamReply *reply = weir__stream_reply__unpack(NULL, rig->reply.size, rig->reply.body);
    assert_int_equal(reply->stream->state, WEIR__STREAM_STATE__STREAM_UPDATING);
    assert_int_equal(reply->before->max_record_kib, 0);
    weir__stream_reply__free_unpacked(reply, NULL);
    Weir__MetadataUpdate *update = settled(rig);
    const Weir__StreamAttributes *a = update->streams[0]->attributes;
    assert_int_equal(a->max_record_kib, 2048);
    assert_int_equal(strlen(a->stream_id), 24);
    assert_int_equal(a->stream_id[20], '-');
    assert_string_equal(update->settings->account_id, "000000000000");
    assert_string_equal(update->settings->region, "us-east-1");
    weir__metadata_update__free_unpacked(update, NULL);
}

static void a_consumer_becomes_active_and_goes(void **state)
{
    struct rig *rig = *state;
    static char consumer[] = "reader";
    weir__metadata_update__free_unpacked(settled(rig), NULL);
    Weir__StreamControl control = control_of();
    Weir__StreamControl__Register reg = WEIR__STREAM_CONTROL__REGISTER__INIT;
    reg.consumer = consumer;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_REGISTER_CONSUMER;
    control.register_consumer = &reg;
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_OK);
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_IN_USE);
    Weir__MetadataUpdate *update = settled(rig);
    assert_int_equal(update->streams[0]->attributes->n_consumers, 1);
    weir__metadata_update__free_unpacked(update, NULL);
    Weir__StreamControl__Deregister dereg = WEIR__STREAM_CONTROL__DEREGISTER__INIT;
    dereg.consumer = consumer;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_DEREGISTER_CONSUMER;
    control.deregister_consumer = &dereg;
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_OK);
    update = settled(rig);
    assert_int_equal(update->streams[0]->attributes->n_consumers, 0);
    weir__metadata_update__free_unpacked(update, NULL);
}

/* Whoever became active before it was done does it. */
static void a_new_active_controller_settles_what_was_left(void **state)
{
    struct rig *rig = *state;
    weir__metadata_update__free_unpacked(settled(rig), NULL);
    Weir__StreamControl control = control_of();
    Weir__StreamControl__Monitoring monitoring = WEIR__STREAM_CONTROL__MONITORING__INIT;
    monitoring.enable = 3;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_MONITORING;
    control.monitoring = &monitoring;
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_OK);
    rig_restart(rig);
    Weir__MetadataUpdate *update = settled(rig);
    assert_int_equal(update->streams[0]->attributes->monitoring, 3);
    weir__metadata_update__free_unpacked(update, NULL);
}

/* It must not get into the log: controllers that do not know it could not apply it. */
static void a_change_of_an_unknown_kind_is_refused(void **state)
{
    struct rig *rig = *state;
    Weir__StreamControl control = control_of();
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_UNSUPPORTED);
    weir__metadata_update__free_unpacked(settled(rig), NULL);
}

static void limits_are_for_administrators(void **state)
{
    struct rig *rig = *state;
    Weir__StreamControl control = control_of();
    Weir__ClusterLimits limits = WEIR__CLUSTER_LIMITS__INIT;
    limits.shard_limit = 10;
    control.kind_case = WEIR__STREAM_CONTROL__KIND_LIMITS;
    control.limits = &limits;
    assert_int_equal(rig_call_on(rig, rig->broker[1].session, RPC_STREAM_CONTROL, &control.base),
                     STATUS_DENIED);
    assert_int_equal(rig_call(rig, RPC_STREAM_CONTROL, &control.base), STATUS_OK);
}

static void without_a_cluster_key_there_are_no_access_keys(void **state)
{
    struct rig *rig = *state;
    static char who[] = "joe";
    Weir__KeyControl key = WEIR__KEY_CONTROL__INIT;
    key.action = WEIR__KEY_CONTROL__ACTION__CREATE;
    key.name = who;
    assert_int_equal(rig_call(rig, RPC_KEY_CONTROL, &key.base), STATUS_UNSUPPORTED);
    assert_non_null(strstr(rig->reply.text, "cluster-key-file"));
    Weir__GetSigningKeys signing = WEIR__GET_SIGNING_KEYS__INIT;
    assert_int_equal(rig_call_on(rig, rig->broker[1].session, RPC_SIGNING_KEYS, &signing.base),
                     STATUS_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_change_is_told_and_settles_by_itself, open_rig,
                                        close_rig),
        cmocka_unit_test_setup_teardown(a_consumer_becomes_active_and_goes, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(a_new_active_controller_settles_what_was_left, open_rig,
                                        close_rig),
        cmocka_unit_test_setup_teardown(a_change_of_an_unknown_kind_is_refused, open_rig,
                                        close_rig),
        cmocka_unit_test_setup_teardown(limits_are_for_administrators, open_rig, close_rig),
        cmocka_unit_test_setup_teardown(without_a_cluster_key_there_are_no_access_keys, open_rig,
                                        close_rig),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
