/* Which leaderships and replicas should move, case by case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "controller/balance/balance.h"

enum { BROKERS = 4, SHARDS = 12, MIB = 1024 * 1024 };

#define GIB (UINT64_C(1024) * MIB)

static struct balance *core;
static struct balance_broker brokers[BROKERS];
static struct balance_shard shards[SHARDS];
static struct balance_report_shard loads[SHARDS];
static struct balance_state states[BROKERS];
static struct balance_plan plan;
static struct balance_input in;
static uint64_t now_ms;

/* Brokers 1 to 3 in zones a, b, c; all shards on all three, led by 1. */
static int set_up(void **state)
{
    (void)state;
    static const char *const zones[] = {"a", "b", "c", "a"};
    core = balance_new();
    assert_non_null(core);
    now_ms = 1000;
    in = (struct balance_input){
        .brokers = brokers, .broker_count = 3, .shards = shards, .shard_count = SHARDS};
    memset(loads, 0, sizeof(loads));
    for (uint32_t i = 0; i < BROKERS; i++) {
        brokers[i] = (struct balance_broker){.id = i + 1,
                                             .disk_gen = 1,
                                             .boot = 1,
                                             .zone = zones[i],
                                             .here = true,
                                             .disk_good = true,
                                             .disk_bytes = 100 * GIB,
                                             .free_bytes = 90 * GIB};
    }
    for (uint32_t s = 0; s < SHARDS; s++) {
        shards[s] = (struct balance_shard){
            .shard = s + 1,
            .free = true,
            .preferred = 1,
            .leader = {.broker = 1, .disk_gen = 1},
            .cfg = {.voter_count = 3          }
        };
        for (uint32_t v = 0; v < 3; v++) {
            shards[s].cfg.voter[v] = (struct election_replica){.broker = v + 1, .disk_gen = 1};
        }
        loads[s].shard = s + 1;
    }
    plan = (struct balance_plan){.brokers = states};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    balance_free(core);
    return 0;
}

static void report(void)
{
    for (size_t b = 0; b < in.broker_count; b++) {
        struct balance_report_shard own[SHARDS];
        struct balance_report r = {.broker = brokers[b].id, .shards = own};
        for (size_t s = 0; s < in.shard_count; s++) {
            if (shards[s].leader.broker == brokers[b].id) {
                own[r.shard_count++] = loads[s];
                r.leaders++;
                r.led_bytes += loads[s].log_bytes;
                r.traffic.in += loads[s].traffic.in;
                r.traffic.out += loads[s].traffic.out;
            }
        }
        if (brokers[b].here) {
            assert_int_equal(balance_report(core, now_ms, &r), STATUS_OK);
        }
    }
}

/* Looks every ten seconds for so long; what is to be done is not. */
static void look_for(uint32_t seconds)
{
    for (uint32_t s = 0; s <= seconds; s += 2) {
        report();
        if (s % 10 == 0) {
            assert_int_equal(balance_look(core, now_ms, &in, &plan), STATUS_OK);
            if (plan.leaders.now || plan.replicas.now) {
                return;
            }
        }
        now_ms += 2000;
    }
}

static void all_loaded(uint64_t bytes)
{
    for (uint32_t s = 0; s < SHARDS; s++) {
        loads[s].traffic.in = bytes;
    }
}

static void leaderships_spread_once_it_lasts(void **state)
{
    (void)state;
    all_loaded(MIB);
    look_for(40);
    assert_false(plan.leaders.now);
    assert_true(plan.leaders.count > 0); /* told what would be done, and why it is not yet */
    assert_non_null(strstr(plan.leaders.text, "it counts after 30 s"));
    look_for(60);
    assert_true(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 8);
    assert_int_equal(plan.leaders.percent, 300);
    uint32_t to[BROKERS + 1] = {0};
    for (size_t i = 0; i < plan.leaders.count; i++) {
        assert_int_equal(plan.leaders.moves[i].from.broker, 1);
        to[plan.leaders.moves[i].to]++;
    }
    assert_int_equal(to[2], 4);
    assert_int_equal(to[3], 4);
}

static void idle_leaderships_are_counted(void **state)
{
    (void)state;
    look_for(60);
    assert_true(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 8);
}

static void no_more_than_so_many_move_at_a_time(void **state)
{
    (void)state;
    struct balance_settings settings = balance_defaults();
    settings.leader_moves = 3;
    balance_configure(core, &settings);
    all_loaded(MIB);
    look_for(60);
    assert_true(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 3);
}

static void one_hot_shard_stays_where_it_is(void **state)
{
    (void)state;
    for (uint32_t s = 0; s < SHARDS; s++) {
        shards[s].leader.broker = s % 3 + 1;
        loads[s].traffic.in = 100;
    }
    loads[0].traffic.in = 100 * MIB;
    look_for(60);
    assert_false(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 0);
    assert_true(plan.leaders.percent > 200);
    assert_non_null(strstr(plan.leaders.text, "no leadership that could move"));
}

static void expect_no_target(uint32_t broker)
{
    all_loaded(MIB);
    look_for(60);
    assert_true(plan.leaders.now);
    for (size_t i = 0; i < plan.leaders.count; i++) {
        assert_int_not_equal(plan.leaders.moves[i].to, broker);
    }
    assert_non_null(states[broker - 1].no_leaders);
}

static void nothing_goes_to_who_is_away(void **state)
{
    (void)state;
    brokers[1].here = false;
    expect_no_target(2);
}

static void nothing_goes_to_who_is_drained(void **state)
{
    (void)state;
    brokers[1].leaves = true;
    expect_no_target(2);
}

static void nothing_goes_to_a_bad_disk(void **state)
{
    (void)state;
    brokers[2].disk_good = false;
    expect_no_target(3);
}

static void nothing_goes_to_who_is_unfit(void **state)
{
    (void)state;
    brokers[2].unfit = "slow disk";
    expect_no_target(3);
    assert_string_equal(states[2].no_leaders, "slow disk");
}

static void nothing_goes_to_a_replica_on_another_disk(void **state)
{
    (void)state;
    brokers[1].disk_gen = 2;
    all_loaded(MIB);
    look_for(60);
    for (size_t i = 0; i < plan.leaders.count; i++) {
        assert_int_equal(plan.leaders.moves[i].to, 3);
    }
}

static void nothing_goes_to_a_replica_that_lags(void **state)
{
    (void)state;
    all_loaded(MIB);
    for (uint32_t s = 0; s < SHARDS; s++) {
        loads[s].missing = 2;
    }
    look_for(60);
    assert_true(plan.leaders.count > 0);
    for (size_t i = 0; i < plan.leaders.count; i++) {
        assert_int_equal(plan.leaders.moves[i].to, 3);
    }
}

static void a_broker_that_came_back_waits(void **state)
{
    (void)state;
    all_loaded(MIB);
    look_for(20);
    brokers[1].boot = 2;
    brokers[2].boot = 2;
    look_for(10);
    assert_int_equal(plan.leaders.count, 0);
    assert_string_equal(states[1].no_leaders, "it has just come");
}

static void what_was_moved_rests(void **state)
{
    (void)state;
    all_loaded(MIB);
    for (uint32_t s = 0; s < SHARDS; s++) {
        balance_moved(core, now_ms, s + 1);
    }
    look_for(120);
    assert_false(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 0);
    assert_non_null(strstr(plan.leaders.text, "rests"));
    look_for(400);
    assert_true(plan.leaders.now);
}

static void what_is_switched_off_is_only_told(void **state)
{
    (void)state;
    struct balance_settings settings = balance_defaults();
    settings.leaders = false;
    balance_configure(core, &settings);
    all_loaded(MIB);
    look_for(120);
    assert_false(plan.leaders.now);
    assert_true(plan.leaders.count > 0);
    assert_non_null(strstr(plan.leaders.text, "switched off"));
}

/* Where who should lead is as good as another, it is taken. */
static void the_preferred_broker_wins_among_equals(void **state)
{
    (void)state;
    in.shard_count = 3;
    for (uint32_t s = 0; s < 3; s++) {
        shards[s].preferred = 3;
    }
    look_for(60);
    assert_true(plan.leaders.now);
    assert_int_equal(plan.leaders.moves[0].to, 3);
}

/* ---- replicas ---- */

static void lead_evenly(void)
{
    for (uint32_t s = 0; s < SHARDS; s++) {
        shards[s].leader.broker = s % 3 + 1;
    }
}

static void a_new_broker_gets_replicas_of_its_zone(void **state)
{
    (void)state;
    lead_evenly();
    in.broker_count = 4;
    look_for(300);
    assert_false(plan.replicas.now);
    assert_true(plan.replicas.count > 0);
    look_for(600);
    assert_true(plan.replicas.now);
    assert_int_equal(plan.replicas.count, 2);
    for (size_t i = 0; i < plan.replicas.count; i++) {
        assert_int_equal(plan.replicas.moves[i].from.broker, 1); /* zone a */
        assert_int_equal(plan.replicas.moves[i].to, 4);
        assert_int_not_equal(shards[plan.replicas.moves[i].shard - 1].leader.broker, 1);
    }
}

static void replicas_wait_for_what_comes_first(void **state)
{
    (void)state;
    lead_evenly();
    in.broker_count = 4;
    in.replicas_wait = "replicas are missing";
    look_for(900);
    assert_false(plan.replicas.now);
    assert_int_equal(plan.replicas.count, 0);
    assert_string_equal(plan.replicas.text, "waits: replicas are missing");
}

static void leaderships_wait_for_who_does_not_know_where_they_belong(void **state)
{
    (void)state;
    all_loaded(MIB);
    in.leaders_wait = "controller-3 is older";
    look_for(900);
    assert_false(plan.leaders.now);
    assert_int_equal(plan.leaders.count, 0);
    assert_string_equal(plan.leaders.text, "waits: controller-3 is older");
    in.leaders_wait = NULL;
    look_for(60);
    assert_true(plan.leaders.now);
}

static void no_replica_goes_to_a_disk_that_is_nearly_full(void **state)
{
    (void)state;
    lead_evenly();
    in.broker_count = 4;
    brokers[3].free_bytes = 15 * GIB;
    look_for(900);
    assert_false(plan.replicas.now);
    assert_int_equal(plan.replicas.count, 0);
    assert_string_equal(states[3].no_replicas, "its disk is nearly full");
    assert_null(states[3].no_leaders);
}

static void a_replica_that_would_fill_the_disk_stays(void **state)
{
    (void)state;
    lead_evenly();
    in.broker_count = 4;
    brokers[3].free_bytes = 25 * GIB;
    for (uint32_t s = 0; s < SHARDS; s++) {
        loads[s].log_bytes = s == 5 ? GIB : 10 * GIB;
    }
    look_for(900);
    assert_true(plan.replicas.now);
    assert_int_equal(plan.replicas.count, 1);
    assert_int_equal(plan.replicas.moves[0].shard, 6);
}

static void those_under_way_count(void **state)
{
    (void)state;
    lead_evenly();
    in.broker_count = 4;
    look_for(900);
    assert_true(plan.replicas.now);
    in.replicas_moving = 1;
    now_ms += 10000;
    report();
    assert_int_equal(balance_look(core, now_ms, &in, &plan), STATUS_OK);
    assert_int_equal(plan.replicas.count, 1);
    in.replicas_moving = 2;
    now_ms += 10000;
    report();
    assert_int_equal(balance_look(core, now_ms, &in, &plan), STATUS_OK);
    assert_int_equal(plan.replicas.count, 0);
    in.replicas_moving = 0; /* what has begun goes on without waiting again */
    now_ms += 10000;
    report();
    assert_int_equal(balance_look(core, now_ms, &in, &plan), STATUS_OK);
    assert_true(plan.replicas.now);
    assert_true(plan.replicas.count > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(leaderships_spread_once_it_lasts),
        CASE(idle_leaderships_are_counted),
        CASE(no_more_than_so_many_move_at_a_time),
        CASE(one_hot_shard_stays_where_it_is),
        CASE(nothing_goes_to_who_is_away),
        CASE(nothing_goes_to_who_is_drained),
        CASE(nothing_goes_to_a_bad_disk),
        CASE(nothing_goes_to_who_is_unfit),
        CASE(nothing_goes_to_a_replica_on_another_disk),
        CASE(nothing_goes_to_a_replica_that_lags),
        CASE(a_broker_that_came_back_waits),
        CASE(what_was_moved_rests),
        CASE(what_is_switched_off_is_only_told),
        CASE(the_preferred_broker_wins_among_equals),
        CASE(a_new_broker_gets_replicas_of_its_zone),
        CASE(replicas_wait_for_what_comes_first),
        CASE(leaderships_wait_for_who_does_not_know_where_they_belong),
        CASE(no_replica_goes_to_a_disk_that_is_nearly_full),
        CASE(a_replica_that_would_fill_the_disk_stays),
        CASE(those_under_way_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
