/* What is counted of puts. One broker of three leads a shard of a stream in on-demand mode. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/trace.h"
#include "broker/api/api.h"
#include "proto/codec/codec.h"
#include "proto/schema/data.pb-c.h"
#include "tests/unit/broker/api/fake_net.h"
#include "tests/unit/broker/shard/world.h"

enum { RECORDS = 4, DATA_BYTES = 200 };

struct bench {
    struct world world;
    struct route *route;
    struct api *api;
};

static void fill_route(struct route *route)
{
    static char stream[] = "s";
    uint8_t first[HASH_KEY_BYTES] = {0}, last[HASH_KEY_BYTES];
    memset(last, 0xff, sizeof(last));
    Weir__StreamInfo streams, *streams_at = &streams;
    Weir__StreamAttributes attributes;
    Weir__ShardInfo shard, *shard_at = &shard;
    weir__stream_info__init(&streams);
    weir__stream_attributes__init(&attributes);
    weir__shard_info__init(&shard);
    attributes.mode = WEIR__STREAM_MODE__STREAM_ON_DEMAND;
    streams.id = shard.stream = (uint32_t)(SHARD_ID >> 32);
    streams.name = stream;
    streams.shard_count = 4;
    streams.attributes = &attributes;
    shard.number = (uint32_t)SHARD_ID;
    shard.hash_first = (ProtobufCBinaryData){HASH_KEY_BYTES, first};
    shard.hash_last = (ProtobufCBinaryData){HASH_KEY_BYTES, last};
    Weir__MetadataUpdate update;
    weir__metadata_update__init(&update);
    update.full = true;
    update.version = 1;
    update.n_streams = update.n_shards = 1;
    update.streams = &streams_at;
    update.shards = &shard_at;
    assert_int_equal(route_apply(route, &update, NULL), STATUS_OK);
}

static void bench_open(struct bench *b)
{
    static const uint8_t cluster[CLUSTER_ID_BYTES];
    *b = (struct bench){0};
    world_open(&b->world);
    b->route = route_new(cluster);
    fill_route(b->route);
    const struct api_options options = {
        .shards = b->world.broker[1].shards, .route = b->route, .broker = 1};
    b->api = api_new(&options);
    assert_non_null(b->api);
    world_elect(&b->world, 1, 1);
}

static void bench_close(struct bench *b)
{
    api_close(b->api);
    world_close(&b->world);
    api_free(b->api);
    route_free(b->route);
}

static void put(struct bench *b, struct bytes batch, struct fake_call *call)
{
    Weir__Put message;
    weir__put__init(&message);
    message.shard = SHARD_ID;
    fake_call_init(call, RPC_PUT, &message.base, batch);
    assert_true(api_called(b->api, &call->call));
}

/* Records that go to the middles of four equal parts of the shard, as one batch. */
static void make_batch(enum codec codec, struct buf *out)
{
    static uint8_t text[DATA_BYTES];
    struct batch_builder builder = {0};
    for (uint64_t i = 0; i < RECORDS; i++) {
        const struct record record = {.key = bytes_of_string("key"),
                                      .data = bytes_of(text, sizeof(text)),
                                      .has_hash_key = true,
                                      .hash_key = {.high = i << 62 | UINT64_C(1) << 61}};
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
    }
    struct bytes plain = batch_builder_finish(&builder, 0, 0, 0);
    assert_int_equal(buf_append(out, plain.data, plain.size), STATUS_OK);
    if (codec != CODEC_NONE) {
        struct batch_header h;
        struct coder coder = {0};
        assert_int_equal(batch_decode(plain, &h), STATUS_OK);
        out->size = BATCH_HEADER_BYTES;
        assert_int_equal(codec_compress(&coder, codec,
                                        bytes_of(plain.data + BATCH_HEADER_BYTES, h.payload_bytes),
                                        out),
                         STATUS_OK);
        h.codec = (uint8_t)codec;
        h.payload_bytes = (uint32_t)(out->size - BATCH_HEADER_BYTES);
        h.payload_crc = crc32c(0, out->data + BATCH_HEADER_BYTES, h.payload_bytes);
        batch_header_encode(&h, out->data);
        coder_release(&coder);
    }
    batch_builder_release(&builder);
}

/* The load of the only shard; false: there is nothing to compare with. */
static bool take_load(struct bench *b, struct api_load *out)
{
    uint64_t cursor = 0;
    return api_loads(b->api, &cursor, out, 1) == 1;
}

static void compressed_records_count_as_others_do_and_show_where_the_load_halves(void **state)
{
    (void)state;
    static const enum codec codecs[] = {CODEC_NONE, CODEC_ZSTD, CODEC_LZ4};
    for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
        struct bench b;
        bench_open(&b);
        struct api_load load;
        assert_false(take_load(&b, &load));
        struct buf batch = {0};
        make_batch(codecs[i], &batch);
        struct fake_call call;
        put(&b, buf_bytes(&batch), &call);
        world_settle(&b.world);
        assert_int_equal(call.status, STATUS_OK);
        const struct shard_counters *counters = &world_shard(&b.world, 1)->counters;
        assert_int_equal(counters->in_records, RECORDS);
        assert_int_equal(counters->in_bytes, RECORDS * (DATA_BYTES + strlen("key")));
        fake_timers_fire(1000 * (i + 1));
        assert_true(take_load(&b, &load));
        assert_true(load.can_split);
        assert_true(load.split.high > UINT64_C(3) << 61 && load.split.high <= UINT64_C(5) << 61);
        fake_call_release(&call);
        buf_release(&batch);
        bench_close(&b);
    }
}

static void a_put_that_is_committed_when_its_shard_is_dropped_is_answered(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call call;
    put(&b, world_batch(1, 0, 0, 0), &call);
    world_commit(&b.world, 1, 2);
    assert_int_equal(call.replies, 0);
    assert_int_equal(shards_drop(b.world.broker[1].shards, world_shard(&b.world, 1)), STATUS_OK);
    /* Its end may be on the disk, and the shard gone, before the turn ends. */
    store_flush(b.world.broker[1].store);
    for (int i = 0; i < 20000 && b.world.broker[1].dropped == 0; i++) {
        struct pollfd fd = {.fd = store_event_fd(b.world.broker[1].store), .events = POLLIN};
        assert_true(poll(&fd, 1, 10) >= 0);
        shards_poll(b.world.broker[1].shards);
    }
    assert_int_equal(b.world.broker[1].dropped, 1);
    world_turn(&b.world, 1);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.status, STATUS_OK);
    fake_call_release(&call);
    bench_close(&b);
}

int main(void)
{
    trace_set_level(TRACE_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compressed_records_count_as_others_do_and_show_where_the_load_halves),
        cmocka_unit_test(a_put_that_is_committed_when_its_shard_is_dropped_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
