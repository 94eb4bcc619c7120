/* Which shards of an on-demand stream are split and merged, and when. */
#include "controller/scaling/scaling.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { STREAM = 7, SHARDS = 8 };

static const struct scaling_config config = {.window_ms = 1000,
                                             .idle_ms = 8000,
                                             .cooldown_ms = 3000,
                                             .shards_max = 12};

struct world {
    struct scaling *scaling;
    uint64_t now_ms;
    struct reshard_shard open[SHARDS];
    uint32_t permille[SHARDS];
    size_t count;
    bool can_split;
    struct scaling_plan plan;
};

static void begin(struct world *w, size_t count)
{
    *w = (struct world){
        .scaling = scaling_new(&config), .now_ms = 50000, .count = count, .can_split = true};
    assert_non_null(w->scaling);
    for (uint32_t i = 0; i < count; i++) {
        w->open[i] =
            (struct reshard_shard){.number = i, .range = hash_range_of(i, (uint32_t)count)};
    }
}

static void end(struct world *w)
{
    scaling_free(w->scaling);
}

/* Reports every 250 ms, as leaders do. */
static void run(struct world *w, uint64_t ms)
{
    for (uint64_t until = w->now_ms + ms; w->now_ms < until;) {
        w->now_ms += 250;
        for (uint32_t i = 0; i < w->count; i++) {
            struct scaling_report report = {.shard = (uint64_t)STREAM << 32 | i,
                                            .permille = w->permille[i],
                                            .can_split = w->can_split};
            for (size_t k = 0; k < w->count; k++) {
                if (w->open[k].number == i) {
                    report.split = w->open[k].range.first;
                }
            }
            report.split.low += 1000; /* where its load halves */
            assert_int_equal(scaling_report(w->scaling, w->now_ms, &report), STATUS_OK);
        }
    }
}

static bool judge(struct world *w, uint32_t least)
{
    return scaling_judge(w->scaling, w->now_ms, STREAM, w->open, w->count, least, &w->plan);
}

static void a_shard_that_is_half_used_for_a_window_is_split_where_its_load_halves(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    w.permille[2] = 500;
    run(&w, 1000);
    assert_false(judge(&w, 4)); /* the first report says for which time nothing is known */
    run(&w, 500);
    assert_true(judge(&w, 4));
    assert_int_equal(w.plan.split_count, 1);
    assert_int_equal(w.plan.merge_count, 0);
    assert_int_equal(w.plan.split[0].shard, 2);
    assert_int_equal(w.plan.split[0].at.low, hash_range_of(2, 4).first.low + 1000);
    end(&w);
}

static void a_short_burst_splits_nothing(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    run(&w, 1250);
    for (int i = 0; i < 6; i++) {
        w.permille[0] = 1000;
        run(&w, 250);
        w.permille[0] = 0;
        run(&w, 750);
        assert_false(judge(&w, 4));
    }
    end(&w);
}

static void all_are_split_when_all_are_hot_but_never_beyond_the_limit(void **state)
{
    (void)state;
    struct world w;
    begin(&w, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        w.permille[i] = 1200;
    }
    run(&w, 1500);
    assert_true(judge(&w, 4));
    assert_int_equal(w.plan.split_count, config.shards_max - SHARDS);
    end(&w);
}

static void a_stream_rests_between_two_steps(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    w.permille[1] = 900;
    run(&w, 1500);
    assert_true(judge(&w, 4));
    run(&w, 2750);
    assert_false(judge(&w, 4));
    run(&w, 500);
    assert_true(judge(&w, 4));
    end(&w);
}

static void a_shard_with_one_hot_key_is_left_alone(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    w.permille[1] = 1000;
    w.can_split = false;
    run(&w, 1500);
    assert_false(judge(&w, 4));
    end(&w);
}

static void quiet_neighbours_are_merged_after_the_whole_quiet_time(void **state)
{
    (void)state;
    struct world w;
    begin(&w, SHARDS);
    for (size_t i = 0; i < SHARDS; i++) {
        w.permille[i] = 100;
    }
    run(&w, 7750);
    assert_false(judge(&w, 4));
    run(&w, 750);
    assert_true(judge(&w, 4));
    assert_int_equal(w.plan.split_count, 0);
    assert_int_equal(w.plan.merge_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(w.plan.merge[i].shard, 2 * i);
        assert_int_equal(w.plan.merge[i].with, 2 * i + 1);
    }
    end(&w);
}

static void a_stream_keeps_its_least_number_of_shards(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 6);
    run(&w, 9000);
    assert_true(judge(&w, 4));
    assert_int_equal(w.plan.merge_count, 2);
    end(&w);
    begin(&w, 4);
    run(&w, 9000);
    assert_false(judge(&w, 4));
    end(&w);
}

static void one_busy_window_within_the_quiet_time_keeps_a_shard(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 6);
    run(&w, 4000);
    for (size_t i = 0; i < 6; i++) {
        w.permille[i] = 200; /* each alone would be quiet */
    }
    run(&w, 1500);
    for (size_t i = 0; i < 6; i++) {
        w.permille[i] = 0;
    }
    run(&w, 4000);
    assert_false(judge(&w, 4));
    run(&w, 8000);
    assert_true(judge(&w, 4));
    end(&w);
}

static void what_was_reported_before_a_silence_does_not_count(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 6);
    run(&w, 8500);
    w.now_ms += 5000;
    run(&w, 1500);
    assert_false(judge(&w, 4));
    end(&w);
}

static void a_stream_gets_the_shards_that_its_warm_throughput_needs(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    assert_true(judge(&w, 7));
    assert_int_equal(w.plan.split_count, 3);
    assert_false(judge(&w, 7)); /* it rests */
    end(&w);
    begin(&w, 2);
    assert_true(judge(&w, 100)); /* step by step: each shard once */
    assert_int_equal(w.plan.split_count, 2);
    end(&w);
}

static void what_was_not_heard_of_for_long_is_dropped_and_the_rest_kept(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 4);
    for (uint64_t i = 0; i < 5000; i++) {
        struct scaling_report report = {.shard = UINT64_C(9) << 32 | i};
        assert_int_equal(scaling_report(w.scaling, w.now_ms, &report), STATUS_OK);
    }
    w.now_ms += 100000;
    w.permille[3] = 800;
    run(&w, 1500);
    scaling_tidy(w.scaling, w.now_ms);
    assert_true(judge(&w, 4));
    assert_int_equal(w.plan.split[0].shard, 3);
    scaling_clear(w.scaling);
    w.now_ms += 10000;
    assert_false(judge(&w, 4));
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_that_is_half_used_for_a_window_is_split_where_its_load_halves),
        cmocka_unit_test(a_short_burst_splits_nothing),
        cmocka_unit_test(all_are_split_when_all_are_hot_but_never_beyond_the_limit),
        cmocka_unit_test(a_stream_rests_between_two_steps),
        cmocka_unit_test(a_shard_with_one_hot_key_is_left_alone),
        cmocka_unit_test(quiet_neighbours_are_merged_after_the_whole_quiet_time),
        cmocka_unit_test(a_stream_keeps_its_least_number_of_shards),
        cmocka_unit_test(one_busy_window_within_the_quiet_time_keeps_a_shard),
        cmocka_unit_test(what_was_reported_before_a_silence_does_not_count),
        cmocka_unit_test(a_stream_gets_the_shards_that_its_warm_throughput_needs),
        cmocka_unit_test(what_was_not_heard_of_for_long_is_dropped_and_the_rest_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
