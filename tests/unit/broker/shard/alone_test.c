/* A leader that no other voter answers, against real stores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/trace.h"
#include "tests/unit/broker/shard/world.h"

static void it_refuses_puts_at_once_and_resigns_until_somebody_answers(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *shard = world_shard(&w, 1);
    struct world_put waiting, put;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &waiting);
    world_settle(&w);
    assert_int_equal(waiting.done, 0);

    shard_alone(shard, true);
    world_settle(&w);
    assert_int_equal(waiting.done, 1); /* whoever sent it should look elsewhere */
    assert_int_equal(waiting.put.status, STATUS_UNCERTAIN);
    assert_int_equal(w.broker[1].resignations, 1);
    assert_int_equal(w.broker[1].resigned_promised, 0);
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_NO_QUORUM);
    shard_alone(shard, true);
    assert_int_equal(w.broker[1].resignations, 1);
    w.now_ms += SHARD_RESIGN_MS;
    assert_true(shards_deadline(w.broker[1].shards) <= w.now_ms);
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);

    w.broker[2].cut = w.broker[3].cut = false;
    shard_alone(shard, false);
    w.now_ms += REPLICA_RESEND_MS;
    shards_tick(w.broker[1].shards);
    world_settle(&w);
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(put.put.status, STATUS_OK);
    w.now_ms += UINT64_C(10) * SHARD_RESIGN_MS;
    shards_tick(w.broker[1].shards);
    assert_int_equal(w.broker[1].resignations, 2);
    world_close(&w);
}

static void one_that_does_not_lead_is_not_alone(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    shard_alone(world_shard(&w, 2), true);
    assert_false(world_shard(&w, 2)->is_alone);
    shard_alone(world_shard(&w, 1), true);
    world_elect(&w, 2, 2); /* somebody else leads: the next time is another one */
    assert_false(world_shard(&w, 1)->is_alone);
    world_elect(&w, 1, 3);
    struct world_put put;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    assert_int_equal(put.refused, STATUS_OK);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    world_close(&w);
}

static void a_commit_says_that_it_led_when_the_record_was_put(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    struct shard *shard = world_shard(&w, 1);
    struct world_put put;
    w.now_ms += 5000;
    uint64_t put_ms = w.now_ms;
    w.broker[2].cut = w.broker[3].cut = true;
    world_put(&w, 1, world_batch(1, 0, 0, 0), &put);
    world_settle(&w);
    assert_true(shard->confirmed_ms < put_ms);
    w.broker[2].cut = w.broker[3].cut = false;
    w.now_ms += REPLICA_RESEND_MS;
    shards_tick(w.broker[1].shards);
    world_settle(&w);
    assert_int_equal(put.done, 1);
    assert_int_equal(shard->confirmed_ms, put_ms); /* not when it was committed */
    world_elect(&w, 2, 2);
    assert_int_equal(shard->confirmed_ms, 0);
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
        cmocka_unit_test(it_refuses_puts_at_once_and_resigns_until_somebody_answers),
        cmocka_unit_test(one_that_does_not_lead_is_not_alone),
        cmocka_unit_test(a_commit_says_that_it_led_when_the_record_was_put),
    };
    return cmocka_run_group_tests_name("alone", tests, NULL, NULL);
}
