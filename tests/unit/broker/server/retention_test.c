#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/server/retention.h"
#include "tests/unit/broker/shard/world.h"

static const uint64_t HOUR_MS = UINT64_C(3600) * 1000;

/* Instead of the links: what the other brokers' clocks say. */
static uint64_t others_ms[WORLD_BROKERS + 1];

bool peers_wall_ms(const struct peers *peers, uint32_t broker, uint64_t *out_ms)
{
    (void)peers;
    *out_ms = others_ms[broker];
    return others_ms[broker] != 0;
}

struct bench {
    struct world world;
    struct route *route;
    uint64_t now_ms;
};

static void set_retention(struct bench *b, uint32_t hours)
{
    static char name[] = "s";
    Weir__StreamInfo stream = WEIR__STREAM_INFO__INIT, *streams = &stream;
    stream.id = (uint32_t)(SHARD_ID >> 32);
    stream.name = name;
    stream.retention_hours = hours;
    Weir__MetadataUpdate update = WEIR__METADATA_UPDATE__INIT;
    update.full = true;
    update.version = 1;
    update.n_streams = 1;
    update.streams = &streams;
    assert_int_equal(route_apply(b->route, &update, NULL), STATUS_OK);
}

/* About ten segments of 256 KiB, all of one hour. */
static void bench_open(struct bench *b)
{
    static const uint8_t cluster[CLUSTER_ID_BYTES];
    static uint8_t data[100 * 1024];
    *b = (struct bench){.now_ms = 1000000};
    world_open(&b->world);
    b->route = route_new(cluster);
    set_retention(b, 24);
    world_elect(&b->world, 1, 1);
    struct batch_builder builder = {0};
    const struct record record = {.key = bytes_of_string("k"),
                                  .data = bytes_of(data, sizeof(data))};
    for (int i = 0; i < 25; i++) {
        batch_builder_reset(&builder);
        assert_int_equal(batch_builder_add(&builder, &record), STATUS_OK);
        struct world_put put;
        world_put(&b->world, 1, batch_builder_finish(&builder, 0, 0, 0), &put);
        world_settle(&b->world);
        assert_int_equal(put.done, 1);
    }
    batch_builder_release(&builder);
}

static void bench_close(struct bench *b)
{
    world_close(&b->world);
    route_free(b->route);
}

/* Runs retention at the leader; how many segments' worth of offsets went. */
static uint64_t run(struct bench *b, uint64_t wall_ms, uint64_t second, uint64_t third)
{
    others_ms[2] = second;
    others_ms[3] = third;
    uint64_t before = world_shard(&b->world, 1)->log_start;
    retention_run(b->world.broker[1].shards, b->route, NULL, b->now_ms, wall_ms);
    world_settle(&b->world);
    return world_shard(&b->world, 1)->log_start - before;
}

static void one_clock_deletes_nothing(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    uint64_t year_2099 = UINT64_C(4070908800000), real = b.world.wall_ms;
    assert_int_equal(run(&b, year_2099, real, real), 0);
    assert_int_equal(run(&b, year_2099, 0, 0), 0); /* nobody answers */
    assert_int_equal(run(&b, year_2099, real, year_2099 - 3000), 0);
    assert_true(run(&b, year_2099, real, year_2099 - 1000) > 0); /* two agree */
    bench_close(&b);
}

static void what_is_young_stays_and_old_segments_go_two_a_minute(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    uint64_t wall = b.world.wall_ms + 23 * HOUR_MS;
    assert_int_equal(run(&b, wall, wall, wall), 0);
    wall += 2 * HOUR_MS;
    uint64_t first = run(&b, wall, wall, wall);
    assert_in_range(first, 2, 6); /* two segments of two or three batches */
    assert_int_equal(run(&b, wall, wall, wall), 0);
    b.now_ms += 60000;
    assert_in_range(run(&b, wall, wall, wall), 2, 6);
    for (int i = 0; i < 20; i++) {
        b.now_ms += 60000;
        (void)run(&b, wall, wall, wall);
    }
    struct shard *shard = world_shard(&b.world, 1);
    assert_true(shard->log_start > 15);
    assert_true(shard->log_start < shard->commit); /* the last segment is never cut */
    assert_int_equal(world_shard(&b.world, 3)->log_start, shard->log_start);
    bench_close(&b);
}

static void lowered_retention_takes_effect_at_once(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    uint64_t wall = b.world.wall_ms + 2 * HOUR_MS;
    assert_int_equal(run(&b, wall, wall, wall), 0);
    set_retention(&b, 1);
    assert_true(run(&b, wall, wall, wall) > 15);
    bench_close(&b);
}

static void without_metadata_nothing_is_deleted(void **state)
{
    (void)state;
    struct bench b;
    bench_open(&b);
    Weir__MetadataUpdate nothing = WEIR__METADATA_UPDATE__INIT;
    nothing.full = true;
    nothing.version = 2;
    assert_int_equal(route_apply(b.route, &nothing, NULL), STATUS_OK);
    uint64_t wall = b.world.wall_ms + 1000 * HOUR_MS;
    assert_int_equal(run(&b, wall, wall, wall), 0);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_clock_deletes_nothing),
        cmocka_unit_test(what_is_young_stays_and_old_segments_go_two_a_minute),
        cmocka_unit_test(lowered_retention_takes_effect_at_once),
        cmocka_unit_test(without_metadata_nothing_is_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
