/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

#include "broker/kinesis/put.h"

enum { STREAM = 3, SHARDS = 4 };

static const uint8_t cluster[CLUSTER_ID_BYTES] = {1, 2, 3};

/* A stream with four open shards. */
static struct route *route_of_four(const struct route_stream **out)
{
    struct route *route = route_new(cluster);
    assert_non_null(route);
    uint8_t first[SHARDS][HASH_KEY_BYTES], last[SHARDS][HASH_KEY_BYTES];
    Weir__ShardInfo shard[SHARDS], *shards[SHARDS];
    char name[] = "s";
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct hash_range range = hash_range_of(i, SHARDS);
        hash_key_to_bytes(range.first, first[i]);
        hash_key_to_bytes(range.last, last[i]);
        weir__shard_info__init(&shard[i]);
        shard[i].stream = STREAM;
        shard[i].number = i;
        shard[i].phase = WEIR__SHARD_PHASE__SHARD_ACTIVE;
        shard[i].created_s = 1700000000 + i;
        shard[i].hash_first = (ProtobufCBinaryData){.len = HASH_KEY_BYTES, .data = first[i]};
        shard[i].hash_last = (ProtobufCBinaryData){.len = HASH_KEY_BYTES, .data = last[i]};
        shards[i] = &shard[i];
    }
    Weir__StreamInfo info, *infos[] = {&info};
    weir__stream_info__init(&info);
    info.id = STREAM;
    info.name = name;
    info.state = WEIR__STREAM_STATE__STREAM_ACTIVE;
    info.shard_count = SHARDS;
    Weir__MetadataUpdate update;
    weir__metadata_update__init(&update);
    update.full = true;
    update.version = 1;
    update.n_streams = 1;
    update.streams = infos;
    update.n_shards = SHARDS;
    update.shards = shards;
    struct error error;
    assert_int_equal(route_apply(route, &update, &error), STATUS_OK);
    *out = route_stream(route, STREAM);
    assert_non_null(*out);
    return route;
}

static uint64_t shard_id(uint32_t number)
{
    return (uint64_t)STREAM << 32 | number;
}

/* An entry for each letter, with an explicit hash key in the shard of that digit. */
static void fill(struct put_entry *entries, const char *shards)
{
    memset(entries, 0, strlen(shards) * sizeof(*entries));
    for (size_t i = 0; shards[i] != '\0'; i++) {
        entries[i].record =
            (struct record){.key = bytes_of("key", 3), .data = bytes_of(shards + i, 1)};
        entries[i].hash = hash_range_of((uint32_t)(shards[i] - '0'), SHARDS).last;
    }
}

static void records_are_grouped_by_shard_in_their_order(void **state)
{
    (void)state;
    const struct route_stream *stream;
    struct route *route = route_of_four(&stream);
    struct put_entry e[6];
    fill(e, "021020");
    put_entries_route(e, 6, stream, UINT64_MAX);
    struct batch_builder b = {0};
    assert_int_equal(put_entries_batch(e, 6, shard_id(0), &b), STATUS_OK);
    assert_int_equal(b.count, 3);
    assert_int_equal(e[0].state, PUT_SENT);
    assert_int_equal(e[1].state, PUT_ROUTED);
    assert_int_equal(e[3].state, PUT_SENT);
    assert_int_equal(e[5].state, PUT_SENT);
    const struct put_outcome outcome = {.base_offset = 100, .append_ms = 5, .generation = 2};
    put_entries_settle(e, 6, shard_id(0), &outcome);
    assert_int_equal(e[0].offset, 100);
    assert_int_equal(e[3].offset, 101);
    assert_int_equal(e[5].offset, 102);
    assert_int_equal(e[5].state, PUT_DONE);
    assert_int_equal(e[5].created_s, 1700000000);
    assert_int_equal(e[1].state, PUT_ROUTED);
    batch_builder_release(&b);
    route_free(route);
}

static void refused_records_take_no_offset(void **state)
{
    (void)state;
    const struct route_stream *stream;
    struct route *route = route_of_four(&stream);
    struct put_entry e[5];
    fill(e, "31333");
    put_entries_route(e, 5, stream, UINT64_MAX);
    struct batch_builder b = {0};
    assert_int_equal(put_entries_batch(e, 5, shard_id(3), &b), STATUS_OK);
    const uint8_t refused[] = {1U << 1 | 1U << 2};
    const struct put_outcome outcome = {.base_offset = 7, .refused = bytes_of(refused, 1)};
    put_entries_settle(e, 5, shard_id(3), &outcome);
    assert_int_equal(e[0].state, PUT_DONE);
    assert_int_equal(e[0].offset, 7);
    assert_int_equal(e[2].state, PUT_THROTTLED);
    assert_int_equal(e[3].state, PUT_THROTTLED);
    assert_int_equal(e[4].state, PUT_DONE);
    assert_int_equal(e[4].offset, 8);
    batch_builder_release(&b);
    route_free(route);
}

static void what_meets_a_closed_shard_waits_and_is_routed_again(void **state)
{
    (void)state;
    const struct route_stream *stream;
    struct route *route = route_of_four(&stream);
    struct put_entry e[2];
    fill(e, "12");
    put_entries_route(e, 2, stream, UINT64_MAX);
    struct batch_builder b = {0};
    assert_int_equal(put_entries_batch(e, 2, shard_id(1), &b), STATUS_OK);
    put_entries_settle(e, 2, shard_id(1), &(struct put_outcome){.status = STATUS_SEALED});
    assert_int_equal(e[0].state, PUT_WAITING);
    assert_int_equal(e[1].state, PUT_ROUTED);
    put_entries_route(e, 2, stream, UINT64_MAX);
    assert_int_equal(e[0].state, PUT_ROUTED);
    batch_builder_release(&b);
    route_free(route);
}

/* Shard 1 closed at 5000, its child 4 at 6000, and 5 is open now; the ranges are shard 1's. */
static void make_generations(struct route *route)
{
    uint8_t first[HASH_KEY_BYTES], last[HASH_KEY_BYTES];
    struct hash_range range = hash_range_of(1, SHARDS);
    hash_key_to_bytes(range.first, first);
    hash_key_to_bytes(range.last, last);
    Weir__ShardInfo shard[3], *shards[3];
    const uint32_t numbers[] = {1, 4, 5};
    for (uint32_t i = 0; i < 3; i++) {
        weir__shard_info__init(&shard[i]);
        shard[i].stream = STREAM;
        shard[i].number = numbers[i];
        shard[i].hash_first = (ProtobufCBinaryData){.len = HASH_KEY_BYTES, .data = first};
        shard[i].hash_last = (ProtobufCBinaryData){.len = HASH_KEY_BYTES, .data = last};
        shard[i].phase = i < 2 ? WEIR__SHARD_PHASE__SHARD_SEALED : WEIR__SHARD_PHASE__SHARD_ACTIVE;
        shard[i].closed_ms = i < 2 ? 5000 + 1000 * i : 0;
        shards[i] = &shard[i];
    }
    Weir__StreamInfo info, *infos[] = {&info};
    char name[] = "s";
    weir__stream_info__init(&info);
    info.id = STREAM;
    info.name = name;
    info.state = WEIR__STREAM_STATE__STREAM_ACTIVE;
    info.shard_count = 6;
    Weir__MetadataUpdate update;
    weir__metadata_update__init(&update);
    update.from_version = 1;
    update.version = 2;
    update.n_streams = 1;
    update.streams = infos;
    update.n_shards = 3;
    update.shards = shards;
    struct error error;
    assert_int_equal(route_apply(route, &update, &error), STATUS_OK);
}

static void a_retry_asks_the_shards_that_were_closed_meanwhile(void **state)
{
    (void)state;
    const struct route_stream *stream;
    struct route *route = route_of_four(&stream);
    make_generations(route);
    stream = route_stream(route, STREAM);
    static const uint32_t want[] = {1, 4, 5};
    struct put_entry e[1];
    fill(e, "1");
    for (int i = 0; i < 3; i++) {
        put_entries_route(e, 1, stream, 4000);
        assert_int_equal(e[0].shard, shard_id(want[i]));
        assert_int_equal(e[0].was_closed, i < 2);
        e[0].state = PUT_SENT;
        put_entries_settle(e, 1, e[0].shard, &(struct put_outcome){.status = STATUS_SEALED});
    }
    fill(e, "1");
    put_entries_route(e, 1, stream, 5500); /* the first one was closed too long ago */
    assert_int_equal(e[0].shard, shard_id(4));
    fill(e, "1");
    put_entries_route(e, 1, stream, UINT64_MAX); /* not a retry */
    assert_int_equal(e[0].shard, shard_id(5));
    route_free(route);
}

static void failures_are_of_their_group_alone(void **state)
{
    (void)state;
    const struct route_stream *stream;
    struct route *route = route_of_four(&stream);
    struct put_entry e[3];
    fill(e, "010");
    put_entries_route(e, 3, stream, UINT64_MAX);
    struct batch_builder b = {0}, c = {0};
    assert_int_equal(put_entries_batch(e, 3, shard_id(0), &b), STATUS_OK);
    assert_int_equal(put_entries_batch(e, 3, shard_id(1), &c), STATUS_OK);
    put_entries_settle(e, 3, shard_id(0), &(struct put_outcome){.status = STATUS_DISK_FULL});
    put_entries_settle(e, 3, shard_id(1), &(struct put_outcome){.status = STATUS_THROTTLED});
    assert_int_equal(e[0].state, PUT_FAILED);
    assert_int_equal(e[0].status, STATUS_DISK_FULL);
    assert_int_equal(e[1].state, PUT_THROTTLED);
    assert_int_equal(e[2].state, PUT_FAILED);
    batch_builder_release(&b);
    batch_builder_release(&c);
    route_free(route);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_grouped_by_shard_in_their_order),
        cmocka_unit_test(refused_records_take_no_offset),
        cmocka_unit_test(what_meets_a_closed_shard_waits_and_is_routed_again),
        cmocka_unit_test(a_retry_asks_the_shards_that_were_closed_meanwhile),
        cmocka_unit_test(failures_are_of_their_group_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
