#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/route/route.h"

static const uint8_t cluster[CLUSTER_ID_BYTES] = {1, 2, 3};

struct rows {
    Weir__BrokerInfo broker[3], *brokers[3];
    Weir__Address address;
    Weir__StreamInfo stream, *streams[1];
    Weir__ShardInfo shard[4], *shards[4];
    Weir__ReplicaId leader;
    uint8_t first[4][HASH_KEY_BYTES], last[4][HASH_KEY_BYTES];
    Weir__MetadataUpdate update;
};

/* Three brokers and one stream of four shards, all led by broker 2. */
static struct rows *rows(uint64_t version)
{
    static struct rows r;
    static char names[][16] = {"broker-3", "broker-1", "broker-2"};
    static char host[] = "127.0.0.1", zone[] = "a", stream[] = "orders";
    r = (struct rows){.update = WEIR__METADATA_UPDATE__INIT};
    weir__address__init(&r.address);
    r.address.host = host;
    r.address.port = 7000;
    for (uint32_t i = 0; i < 3; i++) {
        weir__broker_info__init(&r.broker[i]);
        r.broker[i].id = i == 0 ? 3 : i;
        r.broker[i].name = names[i];
        r.broker[i].zone = zone;
        r.broker[i].address = &r.address;
        r.brokers[i] = &r.broker[i];
    }
    weir__stream_info__init(&r.stream);
    r.stream.id = 9;
    r.stream.name = stream;
    r.stream.shard_count = 4;
    r.stream.retention_hours = 24;
    r.streams[0] = &r.stream;
    weir__replica_id__init(&r.leader);
    r.leader.broker = 2;
    for (uint32_t i = 0; i < 4; i++) {
        struct hash_range range = hash_range_of(i, 4);
        hash_key_to_bytes(range.first, r.first[i]);
        hash_key_to_bytes(range.last, r.last[i]);
        weir__shard_info__init(&r.shard[i]);
        r.shard[i].stream = 9;
        r.shard[i].number = i;
        r.shard[i].hash_first = (ProtobufCBinaryData){HASH_KEY_BYTES, r.first[i]};
        r.shard[i].hash_last = (ProtobufCBinaryData){HASH_KEY_BYTES, r.last[i]};
        r.shard[i].phase = WEIR__SHARD_PHASE__SHARD_ACTIVE;
        r.shard[i].leader = &r.leader;
        r.shards[i] = &r.shard[i];
    }
    r.update.full = true;
    r.update.version = version;
    r.update.n_brokers = 3;
    r.update.brokers = r.brokers;
    r.update.n_streams = 1;
    r.update.streams = r.streams;
    r.update.n_shards = 4;
    r.update.shards = r.shards;
    return &r;
}

static void an_image_is_found_by_name_id_and_hash_key(void **state)
{
    (void)state;
    struct route *route = route_new(cluster);
    assert_int_equal(route_apply(route, &rows(7)->update, NULL), STATUS_OK);
    assert_int_equal(route_version(route), 7);
    assert_int_equal(route_broker_count(route), 3);
    assert_int_equal(route_broker_at(route, 0)->id, 1);
    assert_string_equal(route_broker(route, 3)->name, "broker-3");
    assert_null(route_broker(route, 4));
    const struct route_stream *s = route_stream_by_name(route, "orders");
    assert_ptr_equal(s, route_stream(route, 9));
    for (uint32_t i = 0; i < 4; i++) {
        uint64_t id = UINT64_C(9) << 32 | i;
        assert_int_equal(route_find(s, hash_range_of(i, 4).last)->shard, id);
        assert_string_equal(route_leader_name(route, id), "broker-2");
    }
    assert_null(route_shard(route, UINT64_C(9) << 32 | 4));
    assert_string_equal(route_leader_name(route, 1), "");
    route_free(route);
}

static void changes_follow_the_version_or_are_refused(void **state)
{
    (void)state;
    struct route *route = route_new(cluster);
    struct rows *r = rows(7);
    r->update.full = false;
    assert_int_equal(route_apply(route, &r->update, NULL), STATUS_STALE);
    assert_int_equal(route_apply(route, &rows(7)->update, NULL), STATUS_OK);
    r = rows(9);
    r->update.full = false;
    r->update.from_version = 6;
    assert_int_equal(route_apply(route, &r->update, NULL), STATUS_STALE);
    assert_int_equal(route_version(route), 7);
    r->update.from_version = 7;
    r->leader.broker = 3;
    r->update.n_brokers = r->update.n_streams = 0;
    assert_int_equal(route_apply(route, &r->update, NULL), STATUS_OK);
    assert_int_equal(route_version(route), 9);
    assert_string_equal(route_leader_name(route, UINT64_C(9) << 32), "broker-3");
    route_free(route);
}

static void an_image_in_parts_counts_when_its_last_part_is_there(void **state)
{
    (void)state;
    struct route *route = route_new(cluster);
    struct rows *r = rows(7);
    r->update.partial = true;
    r->update.n_shards = 2;
    assert_int_equal(route_apply(route, &r->update, NULL), STATUS_OK);
    assert_int_equal(route_version(route), 0);
    assert_non_null(route_shard(route, UINT64_C(9) << 32 | 1));
    assert_null(route_shard(route, UINT64_C(9) << 32 | 2));
    r = rows(7);
    r->update.full = false;
    r->update.from_version = 7;
    assert_int_equal(route_apply(route, &r->update, NULL), STATUS_OK);
    assert_int_equal(route_version(route), 7);
    assert_non_null(route_shard(route, UINT64_C(9) << 32 | 3));
    route_free(route);
}

static void a_deleted_stream_goes_with_its_shards(void **state)
{
    (void)state;
    struct route *route = route_new(cluster);
    assert_int_equal(route_apply(route, &rows(7)->update, NULL), STATUS_OK);
    uint32_t gone[] = {9, 10};
    Weir__MetadataUpdate update = WEIR__METADATA_UPDATE__INIT;
    update.from_version = 7;
    update.version = 8;
    update.n_deleted_streams = 2;
    update.deleted_streams = gone;
    assert_int_equal(route_apply(route, &update, NULL), STATUS_OK);
    assert_null(route_stream(route, 9));
    assert_null(route_shard(route, UINT64_C(9) << 32));
    route_free(route);
}

static void metadata_of_another_cluster_or_malformed_is_refused(void **state)
{
    (void)state;
    struct route *route = route_new(cluster);
    struct error error;
    struct rows *r = rows(7);
    uint8_t other[CLUSTER_ID_BYTES] = {9};
    r->update.cluster = (ProtobufCBinaryData){CLUSTER_ID_BYTES, other};
    assert_int_equal(route_apply(route, &r->update, &error), STATUS_WRONG_CLUSTER);
    r = rows(7);
    r->shard[2].number = 4; /* beyond the stream's count */
    assert_int_equal(route_apply(route, &r->update, &error), STATUS_INVALID);
    assert_int_equal(route_version(route), 0);
    r = rows(7);
    r->shard[1].hash_last.len = 15;
    assert_int_equal(route_apply(route, &r->update, &error), STATUS_INVALID);
    assert_int_equal(route_apply(route, &rows(7)->update, &error), STATUS_OK);
    route_free(route);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_found_by_name_id_and_hash_key),
        cmocka_unit_test(changes_follow_the_version_or_are_refused),
        cmocka_unit_test(an_image_in_parts_counts_when_its_last_part_is_there),
        cmocka_unit_test(a_deleted_stream_goes_with_its_shards),
        cmocka_unit_test(metadata_of_another_cluster_or_malformed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
