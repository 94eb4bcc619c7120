#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/trace.h"
#include "broker/api/api.h"
#include "proto/schema/data.pb-c.h"
#include "tests/unit/broker/api/fake_net.h"
#include "tests/unit/broker/shard/world.h"

/* Three brokers, of which 1 leads, each with its operations. */
struct bench {
    struct world world;
    struct route *route;
    struct api *api[WORLD_BROKERS + 1];
    bool heard;
};

static void confirm(void *context, struct api_tip *tip)
{
    tip->done(tip, ((struct bench *)context)->heard);
}

static void fill_route(struct route *route)
{
    static char names[WORLD_BROKERS][16] = {"broker-1", "broker-2", "broker-3"}, stream[] = "s";
    Weir__BrokerInfo info[WORLD_BROKERS], *infos[WORLD_BROKERS];
    for (uint32_t i = 0; i < WORLD_BROKERS; i++) {
        weir__broker_info__init(&info[i]);
        info[i].id = i + 1;
        info[i].name = names[i];
        info[i].alive = true;
        info[i].disk_gen = 1;
        infos[i] = &info[i];
    }
    Weir__StreamInfo streams, *streams_at = &streams;
    weir__stream_info__init(&streams);
    streams.id = 7;
    streams.name = stream;
    streams.shard_count = 4;
    uint8_t key[HASH_KEY_BYTES] = {0};
    Weir__ShardInfo shard = WEIR__SHARD_INFO__INIT, *shard_at = &shard;
    Weir__ReplicaId leader = WEIR__REPLICA_ID__INIT;
    leader.broker = 3;
    shard.stream = 7;
    shard.number = 3; /* known to the metadata, on no broker of the test */
    shard.hash_first = shard.hash_last = (ProtobufCBinaryData){HASH_KEY_BYTES, key};
    shard.leader = &leader;
    Weir__MetadataUpdate update = WEIR__METADATA_UPDATE__INIT;
    update.full = true;
    update.version = 1;
    update.n_brokers = WORLD_BROKERS;
    update.brokers = infos;
    update.n_streams = update.n_shards = 1;
    update.streams = &streams_at;
    update.shards = &shard_at;
    assert_int_equal(route_apply(route, &update, NULL), STATUS_OK);
}

static void open_api(struct bench *b, uint32_t id)
{
    const struct api_options options = {.shards = b->world.broker[id].shards,
                                        .route = b->route,
                                        .broker = id,
                                        .confirm = confirm,
                                        .context = b};
    b->api[id] = api_new(&options);
    assert_non_null(b->api[id]);
}

static void bench_open(struct bench *b)
{
    static const uint8_t cluster[CLUSTER_ID_BYTES];
    *b = (struct bench){.heard = true};
    world_open(&b->world);
    b->route = route_new(cluster);
    fill_route(b->route);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        open_api(b, id);
    }
    world_elect(&b->world, 1, 1);
}

static void bench_close(struct bench *b)
{
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        api_close(b->api[id]);
    }
    world_close(&b->world);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        api_free(b->api[id]);
    }
    assert_int_equal(fake_timers_count(), 0);
    route_free(b->route);
}

static void put(struct bench *b, uint32_t broker, uint64_t shard, struct bytes batch,
                struct fake_call *call)
{
    Weir__Put message = WEIR__PUT__INIT;
    message.shard = shard;
    fake_call_init(call, RPC_PUT, &message.base, batch);
    assert_true(api_called(b->api[broker], &call->call));
}

/* Puts records one batch at a time and waits for each. */
static void fill(struct bench *b, uint32_t batches, uint32_t records)
{
    for (uint32_t i = 0; i < batches; i++) {
        struct fake_call call;
        put(b, 1, SHARD_ID, world_batch(records, 0, 0, i), &call);
        world_settle(&b->world);
        assert_int_equal(call.replies, 1);
        assert_int_equal(call.status, STATUS_OK);
        fake_call_release(&call);
    }
}

static void read_at(struct bench *b, uint32_t broker, uint64_t offset, uint32_t wait_ms,
                    struct fake_call *call)
{
    Weir__Read message = WEIR__READ__INIT;
    message.shard = SHARD_ID;
    message.offset = offset;
    message.wait_ms = wait_ms;
    fake_call_init(call, RPC_READ, &message.base, (struct bytes){0});
    assert_true(api_called(b->api[broker], &call->call));
}

static Weir__ReadReply read_reply(const struct fake_call *call)
{
    assert_int_equal(call->replies, 1);
    if (call->status != STATUS_OK) {
        fail_msg("%s: %s", status_name(call->status), call->text);
    }
    Weir__ReadReply *m = weir__read_reply__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(m);
    Weir__ReadReply copy = *m;
    weir__read_reply__free_unpacked(m, NULL);
    return copy;
}

static void resolve(struct bench *b, uint32_t broker, Weir__PositionType type, uint64_t offset,
                    uint64_t time_ms, struct fake_call *call)
{
    Weir__Resolve message = WEIR__RESOLVE__INIT;
    message.shard = SHARD_ID;
    message.type = type;
    message.offset = offset;
    message.timestamp_ms = time_ms;
    fake_call_init(call, RPC_RESOLVE, &message.base, (struct bytes){0});
    assert_true(api_called(b->api[broker], &call->call));
    world_settle(&b->world);
    assert_int_equal(call->replies, 1);
}

static uint64_t position(struct fake_call *call)
{
    assert_int_equal(call->status, STATUS_OK);
    Weir__Position *m = weir__position__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(m);
    uint64_t offset = m->offset;
    weir__position__free_unpacked(m, NULL);
    fake_call_release(call);
    return offset;
}

/* ---- tests ---- */

static void a_put_is_answered_once_with_its_offset(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call call;
    put(&b, 1, SHARD_ID, world_batch(3, 0, 0, 0), &call);
    assert_int_equal(call.replies, 0);
    world_settle(&b.world);
    assert_int_equal(call.replies, 1);
    Weir__PutReply *reply = weir__put_reply__unpack(NULL, call.body.size, call.body.data);
    assert_int_equal(reply->base_offset, 1);
    assert_int_equal(reply->append_ms, b.world.wall_ms);
    assert_int_equal(reply->generation, 0);
    assert_false(reply->duplicate);
    weir__put_reply__free_unpacked(reply, NULL);
    fake_call_release(&call);
    bench_close(&b);
}

static void a_put_elsewhere_is_answered_with_a_hint(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call call;
    put(&b, 2, SHARD_ID, world_batch(1, 0, 0, 0), &call);
    assert_int_equal(call.status, STATUS_NOT_LEADER);
    assert_string_equal(call.hint, "broker-1"); /* as the follower has heard from its leader */
    put(&b, 1, UINT64_C(7) << 32 | 3, world_batch(1, 0, 0, 0), &call);
    assert_int_equal(call.status, STATUS_NOT_LEADER);
    assert_string_equal(call.hint, "broker-3"); /* as the metadata say */
    put(&b, 1, UINT64_C(8) << 32, world_batch(1, 0, 0, 0), &call);
    assert_int_equal(call.status, STATUS_NOT_FOUND);
    put(&b, 1, SHARD_ID, bytes_of("nonsense", 8), &call);
    assert_int_equal(call.status, STATUS_CORRUPT);
    call = (struct fake_call){.call.method = RPC_PUT, .call.body = bytes_of("\xff\xff\xff", 3)};
    assert_true(api_called(b.api[1], &call.call));
    assert_int_equal(call.status, STATUS_INVALID);
    call = (struct fake_call){.call.method = RPC_WATCH};
    assert_false(api_called(b.api[1], &call.call));
    bench_close(&b);
}

static void a_read_gives_whole_batches_below_the_commit_from_any_replica(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    fill(&b, 5, 2);
    for (uint32_t id = 1; id <= WORLD_BROKERS; id++) {
        struct fake_call call;
        read_at(&b, id, 4, 0, &call);
        Weir__ReadReply reply = read_reply(&call);
        assert_int_equal(reply.next_offset, 11);
        assert_int_equal(reply.commit, 11);
        assert_int_equal(reply.log_start, 0);
        assert_int_equal(reply.behind_ms, 0);
        struct batch_header h;
        assert_int_equal(batch_decode(buf_bytes(&call.attachment), &h), STATUS_OK);
        assert_int_equal(h.base_offset, 3); /* the batch that has 4 */
        fake_call_release(&call);
        read_at(&b, id, 11, 0, &call);
        assert_int_equal(read_reply(&call).next_offset, 11);
        assert_int_equal(call.attachment.size, 0);
        fake_call_release(&call);
    }
    bench_close(&b);
}

static void a_read_waits_for_a_record_or_its_time(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call woken, late, cancelled;
    fake_timers_fire(5000);
    read_at(&b, 1, 1, 1000, &woken);
    read_at(&b, 1, 2, 1000, &late);
    read_at(&b, 1, 1, 1000, &cancelled);
    assert_int_equal(woken.replies, 0);
    cancelled.call.gone = true;
    cancelled.call.cancelled(&cancelled.call);
    assert_int_equal(cancelled.replies, 1);
    fill(&b, 1, 1);
    assert_int_equal(read_reply(&woken).next_offset, 2);
    assert_true(woken.attachment.size > 0);
    assert_int_equal(late.replies, 0);
    fake_timers_fire(5999);
    assert_int_equal(late.replies, 0);
    fake_timers_fire(6000);
    assert_int_equal(read_reply(&late).next_offset, 2);
    assert_int_equal(late.attachment.size, 0);
    assert_int_equal(cancelled.replies, 1);
    fake_call_release(&woken);
    fake_call_release(&late);
    fake_call_release(&cancelled);
    bench_close(&b);
}

static void closing_answers_readers_that_wait(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call call;
    read_at(&b, 1, 1, 1000, &call);
    bench_close(&b);
    assert_int_equal(call.replies, 1);
    assert_int_equal(call.status, STATUS_CLOSING);
}

static void subscribe(struct bench *b, uint64_t offset, uint64_t credit, struct fake_call *call)
{
    static int session; /* an address is all that matters of it */
    Weir__Subscribe message = WEIR__SUBSCRIBE__INIT;
    message.shard = SHARD_ID;
    message.offset = offset;
    message.id = 9;
    message.credit = credit;
    fake_call_init(call, RPC_SUBSCRIBE, &message.base, (struct bytes){0});
    call->call.session = (struct session *)(void *)&session;
    assert_true(api_called(b->api[1], &call->call));
}

static uint64_t sent_up_to(const struct fake_call *call)
{
    assert_int_equal(call->status, STATUS_OK);
    Weir__ReadReply *m = weir__read_reply__unpack(NULL, call->body.size, call->body.data);
    assert_non_null(m);
    uint64_t next = m->next_offset;
    weir__read_reply__free_unpacked(m, NULL);
    return next;
}

static void a_subscription_sends_what_is_committed_as_long_as_it_has_credit(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call pushed, credit;
    fake_timers_fire(5000);
    subscribe(&b, 1, 1, &pushed); /* for one batch, whatever its size */
    assert_int_equal(pushed.replies, 0);
    fill(&b, 1, 1);
    assert_int_equal(pushed.replies, 1);
    assert_int_equal(sent_up_to(&pushed), 2);
    assert_true(pushed.attachment.size > 1);
    fill(&b, 1, 1);
    fake_timers_fire(5000);
    assert_int_equal(pushed.replies, 2); /* that it is alive, and nothing more */
    assert_int_equal(pushed.attachment.size, 0);
    assert_int_equal(sent_up_to(&pushed), 2);
    Weir__SubscribeCredit more = WEIR__SUBSCRIBE_CREDIT__INIT;
    more.id = 9;
    more.bytes = 1024 * 1024;
    fake_call_init(&credit, RPC_SUBSCRIBE_CREDIT, &more.base, (struct bytes){0});
    credit.call.session = pushed.call.session;
    assert_true(api_called(b.api[1], &credit.call));
    assert_int_equal(credit.status, STATUS_OK);
    assert_int_equal(sent_up_to(&pushed), 3);
    fake_timers_fire(5000);
    int before = pushed.replies;
    fake_timers_fire(8000); /* nothing came for so long */
    assert_int_equal(pushed.replies, before + 1);
    assert_false(pushed.over);
    pushed.call.gone = true;
    pushed.call.cancelled(&pushed.call);
    fake_timers_fire(8000);
    assert_true(pushed.over);
    assert_int_equal(pushed.status, STATUS_CANCELLED);
    fake_call_release(&pushed);
    fake_call_release(&credit);
    bench_close(&b);
}

static void closing_ends_subscriptions(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call waits, starves;
    subscribe(&b, 1, 1000, &waits);
    fill(&b, 1, 1);
    subscribe(&b, 1, 1, &starves);
    fake_timers_fire(0);
    bench_close(&b);
    assert_true(waits.over);
    assert_int_equal(waits.status, STATUS_CLOSING);
    assert_true(starves.over);
    assert_int_equal(starves.status, STATUS_CLOSING);
    fake_call_release(&waits);
    fake_call_release(&starves);
}

static void a_subscription_needs_credit_and_a_shard(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    struct fake_call call;
    subscribe(&b, 1, 0, &call);
    assert_true(call.over);
    assert_int_equal(call.status, STATUS_INVALID);
    bench_close(&b);
}

/* Big enough that the tail ring of 4 MiB has come round, and several segments of 256 KiB. */
static void fill_segments(struct bench *b, uint32_t batches)
{
    static uint8_t data[100 * 1024];
    struct batch_builder builder = {0};
    for (uint32_t i = 0; i < batches; i++) {
        const struct record record = {.key = bytes_of_string("k"),
                                      .data = bytes_of(data, sizeof(data))};
        batch_builder_reset(&builder);
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
        struct fake_call call;
        b->world.wall_ms += 1000;
        put(b, 1, SHARD_ID, batch_builder_finish(&builder, 0, 0, 0), &call);
        world_settle(&b->world);
        assert_int_equal(call.status, STATUS_OK);
        assert_int_equal(call.replies, 1);
        fake_call_release(&call);
    }
    batch_builder_release(&builder);
}

static void old_records_are_read_from_segments_until_they_are_trimmed(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    fill_segments(&b, 60);
    struct shard *shard = world_shard(&b.world, 1);
    assert_true(shard_log_tail_start(shard->log) > 1);
    struct fake_call call;
    uint64_t next = 0, bytes = 0, total = 0;
    while (next < shard->commit) {
        read_at(&b, 1, next, 0, &call);
        world_settle(&b.world);
        Weir__ReadReply reply = read_reply(&call);
        assert_true(reply.next_offset > next);
        total = total == 0 ? call.attachment.size + reply.behind_bytes : total;
        assert_int_equal(bytes + call.attachment.size + reply.behind_bytes, total);
        assert_true((reply.behind_ms == 0) == (reply.next_offset == shard->commit));
        bytes += call.attachment.size;
        next = reply.next_offset;
        fake_call_release(&call);
    }
    assert_true(bytes > 60 * 100 * 1024);
    assert_int_equal(bytes, total); /* so each answer knew what was to come */

    uint64_t cutoff_ms = b.world.wall_ms - 30000;
    uint64_t start = shard_log_retention(shard->log, cutoff_ms, shard->commit);
    assert_true(start > 10);
    assert_int_equal(shard_retain(shard, start), STATUS_OK);
    world_settle(&b.world);
    assert_int_equal(shard->log_start, start);
    assert_int_equal(world_shard(&b.world, 2)->log_start, start); /* followers follow */
    read_at(&b, 1, 1, 0, &call);
    assert_int_equal(call.status, STATUS_EXPIRED);
    bench_close(&b);
}

static void positions_are_resolved(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    uint64_t t0 = b.world.wall_ms;
    fill_segments(&b, 8); /* offsets 1 to 8, appended at t0 + 1000 ... t0 + 8000 */
    struct fake_call call;
    resolve(&b, 2, WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON, 0, 0, &call);
    assert_int_equal(position(&call), 0);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_LATEST, 0, 0, &call);
    assert_int_equal(position(&call), 9);
    resolve(&b, 2, WEIR__POSITION_TYPE__POSITION_LATEST, 0, 0, &call);
    assert_int_equal(call.status, STATUS_NOT_LEADER);
    assert_string_equal(call.hint, "broker-1");
    b.heard = false;
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_LATEST, 0, 0, &call);
    assert_int_equal(call.status, STATUS_UNAVAILABLE);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AT_OFFSET, 50, 0, &call);
    assert_int_equal(call.status, STATUS_UNAVAILABLE); /* another one may have it */
    b.heard = true;
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AT_OFFSET, 5, 0, &call);
    assert_int_equal(position(&call), 5);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AFTER_OFFSET, 5, 0, &call);
    assert_int_equal(position(&call), 6);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AT_OFFSET, 50, 0, &call);
    assert_int_equal(call.status, STATUS_INVALID);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, 0, t0 + 4000, &call);
    assert_int_equal(position(&call), 4);
    resolve(&b, 3, WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, 0, t0 + 4001, &call);
    assert_int_equal(position(&call), 5);
    resolve(&b, 1, WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, 0, t0 + 9000, &call);
    assert_int_equal(position(&call), 9);
    resolve(&b, 2, WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, 0, t0 + 9000, &call);
    assert_int_equal(call.status, STATUS_NOT_LEADER);
    resolve(&b, 1, (Weir__PositionType)77, 0, 0, &call);
    assert_int_equal(call.status, STATUS_INVALID);
    bench_close(&b);
}

static void the_status_of_shards_is_told(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    fill(&b, 1, 4);
    struct fake_call call;
    Weir__ShardStatusRequest request = WEIR__SHARD_STATUS_REQUEST__INIT;
    fake_call_init(&call, RPC_SHARD_STATUS, &request.base, (struct bytes){0});
    assert_true(api_called(b.api[1], &call.call));
    assert_int_equal(call.status, STATUS_OK);
    Weir__ShardStatusReply *reply =
        weir__shard_status_reply__unpack(NULL, call.body.size, call.body.data);
    assert_int_equal(reply->n_shards, 1);
    assert_int_equal(reply->shards[0]->shard, SHARD_ID);
    assert_string_equal(reply->shards[0]->role, "leading");
    assert_true(reply->shards[0]->open);
    assert_int_equal(reply->shards[0]->commit, 5);
    assert_int_equal(reply->shards[0]->n_members, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(reply->shards[0]->members[i]->in_sync);
        assert_int_equal(reply->shards[0]->members[i]->match, 5);
    }
    weir__shard_status_reply__free_unpacked(reply, NULL);
    fake_call_release(&call);
    bench_close(&b);
}

/* The metadata say of broker 2 that it has another disk, or that it is dead. */
static void note_broker_2(struct bench *b, bool alive, uint32_t disk_gen)
{
    static uint64_t version = 1;
    static char name[] = "broker-2";
    Weir__BrokerInfo info = WEIR__BROKER_INFO__INIT, *infos[] = {&info};
    info.id = 2;
    info.name = name;
    info.alive = alive;
    info.disk_gen = disk_gen;
    Weir__MetadataUpdate update = WEIR__METADATA_UPDATE__INIT;
    update.from_version = version;
    update.version = ++version;
    update.n_brokers = 1;
    update.brokers = infos;
    assert_int_equal(route_apply(b->route, &update, NULL), STATUS_OK);
}

/* Of broker 1's answer: which of the three hold everything, as bits by id. */
static unsigned in_sync(struct bench *b)
{
    Weir__ShardStatusRequest message = WEIR__SHARD_STATUS_REQUEST__INIT;
    struct fake_call call;
    fake_call_init(&call, RPC_SHARD_STATUS, &message.base, (struct bytes){0});
    assert_true(api_called(b->api[1], &call.call));
    assert_int_equal(call.status, STATUS_OK);
    Weir__ShardStatusReply *reply =
        weir__shard_status_reply__unpack(NULL, call.body.size, call.body.data);
    assert_non_null(reply);
    assert_int_equal(reply->n_shards, 1);
    assert_int_equal(reply->shards[0]->n_members, WORLD_BROKERS);
    unsigned bits = 0;
    for (size_t i = 0; i < reply->shards[0]->n_members; i++) {
        const Weir__MemberStatus *member = reply->shards[0]->members[i];
        assert_true(member->connected);
        bits |= member->in_sync ? 1U << member->replica->broker : 0;
    }
    weir__shard_status_reply__free_unpacked(reply, NULL);
    fake_call_release(&call);
    return bits;
}

static void a_replica_whose_disk_is_gone_is_not_in_sync(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    assert_int_equal(in_sync(&b), 1 << 1 | 1 << 2 | 1 << 3);
    note_broker_2(&b, false, 1); /* dead, though its connection may come again first */
    assert_int_equal(in_sync(&b), 1 << 1 | 1 << 3);
    note_broker_2(&b, true, 2); /* and here with an empty disk */
    assert_int_equal(in_sync(&b), 1 << 1 | 1 << 3);
    note_broker_2(&b, true, 1);
    assert_int_equal(in_sync(&b), 1 << 1 | 1 << 2 | 1 << 3);
    bench_close(&b);
}

int main(void)
{
    trace_set_level(TRACE_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_whose_disk_is_gone_is_not_in_sync),
        cmocka_unit_test(a_put_is_answered_once_with_its_offset),
        cmocka_unit_test(a_put_elsewhere_is_answered_with_a_hint),
        cmocka_unit_test(a_read_gives_whole_batches_below_the_commit_from_any_replica),
        cmocka_unit_test(a_read_waits_for_a_record_or_its_time),
        cmocka_unit_test(closing_answers_readers_that_wait),
        cmocka_unit_test(a_subscription_sends_what_is_committed_as_long_as_it_has_credit),
        cmocka_unit_test(closing_ends_subscriptions),
        cmocka_unit_test(a_subscription_needs_credit_and_a_shard),
        cmocka_unit_test(old_records_are_read_from_segments_until_they_are_trimmed),
        cmocka_unit_test(positions_are_resolved),
        cmocka_unit_test(the_status_of_shards_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
