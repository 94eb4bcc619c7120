/* A leader of a new recovery generation begins with LINEAGE: docs/replication.md 2.9. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/wire/batch.h"
#include "tests/unit/broker/shard/world.h"

/* Broker 1 alone is the configuration from here on. */
static void lose_the_others(struct world *w)
{
    w->broker[2].cut = w->broker[3].cut = true;
    w->config.voter_count = 1;
    w->config.version++;
}

static uint64_t boot_of(const struct world *w)
{
    struct store_info info;
    store_info(w->broker[1].store, &info);
    return info.boot_id;
}

static void elect_as(struct world *w, uint32_t epoch, uint32_t generation)
{
    struct shard *shard = world_shard(w, 1);
    assert_int_equal(shard_fence(shard, epoch, &w->config), STATUS_OK);
    world_settle(w);
    const struct shard_grant grant = {
        .epoch = epoch,
        .generation = generation,
        .replica = {.broker = 1, .disk_gen = 1},
        .boot = boot_of(w),
        .config = w->config
    };
    assert_int_equal(shard_grant(shard, &grant), STATUS_OK);
    world_settle(w);
    assert_true(shard->open);
}

/* The header of the committed batch at `base`. */
static struct batch_header batch_at(struct world *w, uint64_t base)
{
    struct buf all = {0};
    struct batch_header h = {0}, found = {0};
    world_read_all(w, 1, &all);
    struct bytes rest = buf_bytes(&all);
    while (rest.size > 0) {
        assert_int_equal(batch_decode(rest, &h), STATUS_OK);
        found = h.base_offset == base ? h : found;
        rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
    }
    buf_release(&all);
    assert_int_equal(found.base_offset, base);
    return found;
}

static void put_one(struct world *w, uint64_t wanted_base)
{
    struct world_put put;
    world_put(w, 1, world_batch(2, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_settle(w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_OK);
    assert_int_equal(put.put.base_offset, wanted_base);
}

static void the_first_leader_of_a_generation_says_so_in_the_log(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    put_one(&w, 1);
    assert_int_equal(world_shard(&w, 1)->commit, 3);
    assert_int_equal(batch_at(&w, 0).control_type, BATCH_EPOCH_START);
    assert_int_equal(batch_at(&w, 1).generation, 0);
    lose_the_others(&w);
    elect_as(&w, 2, 1);
    struct batch_header lineage = batch_at(&w, 3);
    assert_int_equal(lineage.flags & BATCH_CONTROL, BATCH_CONTROL);
    assert_int_equal(lineage.control_type, BATCH_LINEAGE);
    assert_int_equal(lineage.epoch, 2);
    assert_int_equal(lineage.generation, 1);
    /* So far away that no offset of what was lost comes again. */
    assert_int_equal(lineage.count, BATCH_LINEAGE_OFFSETS);
    assert_int_equal(world_shard(&w, 1)->commit, 3 + (uint64_t)BATCH_LINEAGE_OFFSETS);
    put_one(&w, 3 + (uint64_t)BATCH_LINEAGE_OFFSETS);
    assert_int_equal(batch_at(&w, 3 + (uint64_t)BATCH_LINEAGE_OFFSETS).generation, 1);
    world_close(&w);
}

static void later_leaders_of_that_generation_begin_as_ever(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    lose_the_others(&w);
    elect_as(&w, 2, 1);
    uint64_t end = world_shard(&w, 1)->commit;
    elect_as(&w, 3, 1);
    assert_int_equal(batch_at(&w, end).control_type, BATCH_EPOCH_START);
    assert_int_equal(batch_at(&w, end).count, 1);
    assert_int_equal(batch_at(&w, end).generation, 1);
    /* Nor after a restart: the log tells of which generation it is. */
    world_restart(&w, 1);
    elect_as(&w, 4, 1);
    assert_int_equal(batch_at(&w, end + 1).control_type, BATCH_EPOCH_START);
    put_one(&w, end + 2);
    /* A second recovery is another generation. */
    elect_as(&w, 5, 2);
    assert_int_equal(batch_at(&w, end + 4).control_type, BATCH_LINEAGE);
    assert_int_equal(batch_at(&w, end + 4).generation, 2);
    world_close(&w);
}

/* The grant alone changes nothing: what is not committed may be proposed once more by the next. */
static void a_lineage_that_was_not_committed_is_made_again(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    uint64_t end = world_shard(&w, 1)->commit;
    w.broker[2].cut = w.broker[3].cut = true; /* three voters: broker 1 alone commits nothing */
    struct shard *shard = world_shard(&w, 1);
    assert_int_equal(shard_fence(shard, 2, &w.config), STATUS_OK);
    world_settle(&w);
    struct shard_grant grant = {
        .epoch = 2,
        .generation = 1,
        .replica = {.broker = 1, .disk_gen = 1},
        .boot = boot_of(&w),
        .config = w.config
    };
    assert_int_equal(shard_grant(shard, &grant), STATUS_OK);
    world_settle(&w);
    assert_int_equal(shard->commit, end);
    assert_int_equal(shard->end, end + BATCH_LINEAGE_OFFSETS);
    lose_the_others(&w);
    elect_as(&w, 3, 1);
    assert_int_equal(batch_at(&w, end).control_type, BATCH_LINEAGE);
    assert_int_equal(batch_at(&w, end).epoch, 2);
    assert_int_equal(batch_at(&w, end + BATCH_LINEAGE_OFFSETS).control_type, BATCH_EPOCH_START);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_leader_of_a_generation_says_so_in_the_log),
        cmocka_unit_test(later_leaders_of_that_generation_begin_as_ever),
        cmocka_unit_test(a_lineage_that_was_not_committed_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
