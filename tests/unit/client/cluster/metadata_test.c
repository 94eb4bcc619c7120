/* The client's image of the cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/metadata.h"

enum { SHARDS = 3 };

/* An update with one broker, one stream and its shards; the fields are changed by the tests. */
struct sample {
    Weir__MetadataUpdate update;
    Weir__BrokerInfo broker, *brokers[1];
    Weir__StreamInfo stream, *streams[1];
    Weir__ShardInfo shard[SHARDS], *shards[SHARDS];
    Weir__ReplicaId leader[SHARDS], voter[3], *voters[3];
    Weir__ReplicaConfig config;
    Weir__Address address;
    uint8_t range[SHARDS][2][HASH_KEY_BYTES];
    uint8_t cluster[CLUSTER_ID_BYTES];
    char host[32], name[32], stream_name[200];
};

static void sample_init(struct sample *s)
{
    memset(s, 0, sizeof(*s));
    weir__metadata_update__init(&s->update);
    weir__broker_info__init(&s->broker);
    weir__stream_info__init(&s->stream);
    weir__replica_config__init(&s->config);
    weir__address__init(&s->address);
    (void)snprintf(s->host, sizeof(s->host), "127.0.0.1");
    (void)snprintf(s->name, sizeof(s->name), "broker-1");
    (void)snprintf(s->stream_name, sizeof(s->stream_name), "orders");
    s->address.host = s->host;
    s->address.port = 7001;
    s->broker.id = 1;
    s->broker.name = s->name;
    s->broker.address = &s->address;
    s->stream.id = 9;
    s->stream.name = s->stream_name;
    s->stream.shard_count = SHARDS;
    for (uint32_t i = 0; i < 3; i++) {
        weir__replica_id__init(&s->voter[i]);
        s->voter[i].broker = i + 1;
        s->voter[i].disk_gen = 1;
        s->voters[i] = &s->voter[i];
    }
    s->config.voters = s->voters;
    s->config.n_voters = 3;
    for (uint32_t i = 0; i < SHARDS; i++) {
        weir__shard_info__init(&s->shard[i]);
        weir__replica_id__init(&s->leader[i]);
        struct hash_range range = hash_range_of(i, SHARDS);
        hash_key_to_bytes(range.first, s->range[i][0]);
        hash_key_to_bytes(range.last, s->range[i][1]);
        s->leader[i].broker = i + 1;
        s->shard[i].stream = 9;
        s->shard[i].number = i;
        s->shard[i].hash_first = (ProtobufCBinaryData){HASH_KEY_BYTES, s->range[i][0]};
        s->shard[i].hash_last = (ProtobufCBinaryData){HASH_KEY_BYTES, s->range[i][1]};
        s->shard[i].epoch = 1;
        s->shard[i].leader = &s->leader[i];
        s->shard[i].config = &s->config;
        s->shards[i] = &s->shard[i];
    }
    s->brokers[0] = &s->broker;
    s->streams[0] = &s->stream;
    s->update.full = true;
    s->update.version = 100;
    s->update.cluster = (ProtobufCBinaryData){CLUSTER_ID_BYTES, s->cluster};
    s->update.brokers = s->brokers;
    s->update.n_brokers = 1;
    s->update.streams = s->streams;
    s->update.n_streams = 1;
    s->update.shards = s->shards;
    s->update.n_shards = SHARDS;
}

static void an_image_is_taken_whole(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    struct metadata m = {0};
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    assert_true(m.known);
    assert_int_equal(m.version, 100);
    assert_string_equal(metadata_broker(&m, 1)->host, "127.0.0.1");
    assert_int_equal(metadata_broker(&m, 1)->port, 7001);
    assert_null(metadata_broker(&m, 2));
    const struct metadata_stream *stream = metadata_stream_by_name(&m, "orders");
    assert_ptr_equal(stream, metadata_stream(&m, 9));
    assert_true(metadata_stream_is_whole(stream));
    assert_int_equal(stream->shards[2].leader, 3);
    assert_int_equal(stream->shards[2].voter_count, 3);
    metadata_release(&m);
}

static void changes_follow_their_version_and_no_other(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    struct metadata m = {0};
    s.update.full = false;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_STALE); /* nothing known yet */
    s.update.full = true;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    s.update.full = false;
    s.update.n_brokers = 0;
    s.update.n_streams = 0;
    s.update.n_shards = 1;
    s.leader[0].broker = 2;
    s.shard[0].epoch = 2;
    s.update.from_version = 99;
    s.update.version = 101;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_STALE);
    assert_int_equal(metadata_stream(&m, 9)->shards[0].leader, 1);
    s.update.from_version = 100;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    assert_int_equal(metadata_stream(&m, 9)->shards[0].leader, 2);
    assert_int_equal(m.version, 101);
    metadata_release(&m);
}

static void a_deleted_stream_is_gone_with_its_shards(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    struct metadata m = {0};
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    uint32_t deleted[] = {5, 9};
    s.update.full = false;
    s.update.from_version = 100;
    s.update.version = 101;
    s.update.n_brokers = s.update.n_streams = s.update.n_shards = 0;
    s.update.deleted_streams = deleted;
    s.update.n_deleted_streams = 2;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    assert_null(metadata_stream(&m, 9));
    assert_null(metadata_stream_by_name(&m, "orders"));
    metadata_release(&m);
}

static void rows_that_no_controller_sends_are_refused(void **state)
{
    (void)state;
    struct metadata m = {0};
    for (int wrong = 0; wrong < 8; wrong++) {
        struct sample s;
        sample_init(&s);
        switch (wrong) {
        case 0:
            s.shard[1].number = SHARDS;
            break;
        case 1:
            s.shard[1].hash_first.len = 15;
            break;
        case 2:
            s.shard[1].stream = 8;
            break;
        case 3:
            s.update.cluster.len = 3;
            break;
        case 4:
            memset(s.stream_name, 'x', sizeof(s.stream_name) - 1);
            break;
        case 5:
            s.stream.shard_count = UINT32_MAX;
            break;
        case 6:
            s.address.port = 70000;
            break;
        default:
            s.shard[1].hash_last = s.shard[0].hash_last;
            break;
        }
        assert_int_equal(metadata_apply(&m, &s.update), STATUS_CORRUPT);
        assert_int_equal(m.known, false);
    }
    struct sample s;
    sample_init(&s);
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK); /* an image repairs all */
    metadata_release(&m);
}

static void a_stream_with_a_hole_or_a_missing_row_is_not_whole(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    struct metadata m = {0};
    s.update.n_shards = SHARDS - 1;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    assert_false(metadata_stream_is_whole(metadata_stream(&m, 9)));
    s.update.n_shards = SHARDS;
    s.range[1][0][HASH_KEY_BYTES - 1]++;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    assert_false(metadata_stream_is_whole(metadata_stream(&m, 9)));
    metadata_release(&m);
}

static void newer_leaders_from_elsewhere_are_taken_older_ones_not(void **state)
{
    (void)state;
    struct sample s;
    sample_init(&s);
    struct metadata m = {0};
    s.shard[0].epoch = 5;
    assert_int_equal(metadata_apply(&m, &s.update), STATUS_OK);
    s.leader[0].broker = 3;
    assert_false(metadata_apply_leaders(&m, &s.update)); /* the same version */
    s.update.version = 101;
    s.shard[0].epoch = 4;
    assert_false(metadata_apply_leaders(&m, &s.update));
    s.shard[0].epoch = 6;
    assert_true(metadata_apply_leaders(&m, &s.update));
    assert_int_equal(metadata_stream(&m, 9)->shards[0].leader, 3);
    assert_int_equal(m.version, 100);
    metadata_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_taken_whole),
        cmocka_unit_test(changes_follow_their_version_and_no_other),
        cmocka_unit_test(a_deleted_stream_is_gone_with_its_shards),
        cmocka_unit_test(rows_that_no_controller_sends_are_refused),
        cmocka_unit_test(a_stream_with_a_hole_or_a_missing_row_is_not_whole),
        cmocka_unit_test(newer_leaders_from_elsewhere_are_taken_older_ones_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
