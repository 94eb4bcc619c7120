/* Closing a shard against real stores: docs/replication.md 2.12. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/trace.h"
#include "tests/unit/broker/shard/world.h"

static void a_sealed_shard_answers_retries_and_refuses_the_rest(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put first, put;
    world_put(&w, 1, world_batch(3, 77, 0, 0), &first);
    world_settle(&w);
    assert_int_equal(first.put.base_offset, 1);
    assert_int_equal(shard_seal(world_shard(&w, 1)), STATUS_OK);
    world_put(&w, 1, world_batch(1, 77, 0, 3), &put);
    assert_int_equal(put.refused, STATUS_BUSY); /* the seal may still be truncated */
    world_settle(&w);
    assert_int_equal(w.broker[1].seals, 1);
    assert_int_equal(w.broker[1].sealed_end, 5);
    assert_true(world_shard(&w, 2)->sealed); /* after the leader's flush, or at the next append */
    world_put(&w, 1, world_batch(1, 77, 0, 3), &put);
    assert_int_equal(put.refused, STATUS_SEALED);
    assert_int_equal(put.done, 0);
    world_put(&w, 1, world_batch(3, 77, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_settle(&w);
    assert_int_equal(put.put.base_offset, first.put.base_offset);
    assert_true(put.put.duplicate);
    assert_int_equal(shard_seal(world_shard(&w, 1)), STATUS_OK);
    assert_int_equal(w.broker[1].seals, 2); /* asked again, told again */
    world_close(&w);
}

static void the_seal_outlives_restarts_and_leaders(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct world_put put;
    world_put(&w, 1, world_batch(3, 77, 0, 0), &put);
    assert_int_equal(shard_seal(world_shard(&w, 1)), STATUS_OK);
    world_settle(&w);
    for (uint32_t id = 1; id <= 3; id++) {
        world_restart(&w, id);
    }
    assert_int_equal(world_shard(&w, 2)->seal_end, 5);
    world_elect(&w, 2, 2);
    world_settle(&w);
    assert_true(world_shard(&w, 2)->open);
    assert_true(world_shard(&w, 2)->sealed);
    world_put(&w, 2, world_batch(1, 77, 0, 3), &put);
    assert_int_equal(put.refused, STATUS_SEALED);
    world_put(&w, 2, world_batch(3, 77, 0, 0), &put);
    world_settle(&w);
    assert_true(put.put.duplicate);
    assert_int_equal(put.put.base_offset, 1);
    assert_int_equal(shard_seal(world_shard(&w, 2)), STATUS_OK);
    assert_int_equal(w.broker[2].sealed_end, 5);
    world_close(&w);
}

static void a_child_takes_no_puts_before_its_parents_are_sealed(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *child = world_shard(&w, 1);
    child->waits_for_parents = true; /* as a grant says */
    struct world_put put;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_BUSY);
    shard_open_child(child);
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_close(&w);
}

struct end_reader {
    struct shard_reader reader;
    int woken;
};

static void woken(struct shard_reader *reader)
{
    ((struct end_reader *)(void *)reader)->woken++;
}

static void who_waits_for_a_record_is_told_of_the_end(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct end_reader reader = {
        .reader = {.offset = 1, .woken = woken}
    };
    assert_int_equal(shard_wait(world_shard(&w, 1), &reader.reader), STATUS_OK);
    assert_int_equal(shard_seal(world_shard(&w, 1)), STATUS_OK);
    world_settle(&w);
    assert_int_equal(reader.woken, 1);
    assert_int_equal(reader.reader.status, STATUS_OK);
    world_close(&w);
}

static void who_does_not_lead_cannot_seal(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    assert_int_equal(shard_seal(world_shard(&w, 2)), STATUS_NOT_LEADER);
    world_close(&w);
}

static void ignore_trace(enum trace_level level, const char *part, const char *text)
{
    (void)level;
    (void)part;
    (void)text;
}

int main(void)
{
    trace_set_sink(ignore_trace);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_shard_answers_retries_and_refuses_the_rest),
        cmocka_unit_test(the_seal_outlives_restarts_and_leaders),
        cmocka_unit_test(a_child_takes_no_puts_before_its_parents_are_sealed),
        cmocka_unit_test(who_waits_for_a_record_is_told_of_the_end),
        cmocka_unit_test(who_does_not_lead_cannot_seal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
