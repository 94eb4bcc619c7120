/* A leader that leaves gives its leadership away against real stores, and does not take it for
 * ever. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/trace.h"
#include "tests/unit/broker/shard/world.h"

static const struct replica_id anybody;

static void a_leadership_that_came_back_is_kept_until_the_end(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    assert_int_equal(shard_hand_over(world_shard(&w, 1), anybody), STATUS_OK);
    world_settle(&w);
    assert_int_equal(w.broker[1].resignations, 1);
    world_elect(&w, 2, 2);
    assert_int_equal(shard_hand_over(world_shard(&w, 2), anybody), STATUS_OK);
    world_settle(&w);
    world_elect(&w, 1, 3); /* 2 leaves, too */
    assert_true(world_shard(&w, 1)->open);
    assert_int_equal(shard_hand_over(world_shard(&w, 1), anybody), STATUS_NOT_LEADER);
    world_settle(&w);
    assert_int_equal(w.broker[1].resignations, 1);
    world_close(&w);
}

static void a_hand_over_that_did_not_succeed_is_tried_again(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    w.broker[2].cut = w.broker[3].cut = true;
    assert_int_equal(shard_hand_over(world_shard(&w, 1), anybody), STATUS_OK);
    world_settle(&w);
    assert_int_not_equal(shard_hand_over(world_shard(&w, 1), anybody), STATUS_NOT_LEADER);
    world_close(&w);
}

static void an_heir_that_is_named_gets_it_however_often(void **state)
{
    (void)state;
    struct world w = {0};
    world_open(&w);
    world_elect(&w, 1, 1);
    assert_int_equal(shard_hand_over(world_shard(&w, 1), anybody), STATUS_OK);
    world_settle(&w);
    world_elect(&w, 1, 2);
    struct replica_id heir = w.config.voter[1];
    assert_int_equal(heir.broker, 2);
    assert_int_equal(shard_hand_over(world_shard(&w, 1), heir), STATUS_OK);
    world_settle(&w);
    assert_int_equal(w.broker[1].resignations, 2);
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
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_leadership_that_came_back_is_kept_until_the_end),
        cmocka_unit_test(a_hand_over_that_did_not_succeed_is_tried_again),
        cmocka_unit_test(an_heir_that_is_named_gets_it_however_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
