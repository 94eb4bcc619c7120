#include "controller/reshard/reshard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SHARDS = 4096 };

static struct reshard_shard open_shards[SHARDS];
static size_t open_count;
static uint32_t next_number;

static void start(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        open_shards[i] = (struct reshard_shard){.number = i, .range = hash_range_of(i, count)};
    }
    open_count = count;
    next_number = count;
}

static const struct reshard_shard *find_open(uint32_t number)
{
    for (size_t i = 0; i < open_count; i++) {
        if (open_shards[i].number == number) {
            return &open_shards[i];
        }
    }
    return NULL;
}

static bool is_parent(const struct reshard_step *step, uint32_t number)
{
    for (size_t i = 0; i < step->count; i++) {
        for (uint32_t p = 0; p < step->child[i].parent_count; p++) {
            if (step->child[i].parent[p] == number) {
                return true;
            }
        }
    }
    return false;
}

/* A child's keys are its parents', and it has keys of each of them. */
static void check_child(const struct reshard_child *child)
{
    assert_in_range(child->parent_count, 1, RESHARD_PARENTS_MAX);
    const struct reshard_shard *low = find_open(child->parent[0]);
    const struct reshard_shard *high = find_open(child->parent[child->parent_count - 1]);
    assert_non_null(low);
    assert_non_null(high);
    assert_true(hash_range_has(low->range, child->range.first));
    assert_true(hash_range_has(high->range, child->range.last));
    if (child->parent_count == 2) {
        assert_true(reshard_adjacent(low->range, high->range));
    }
}

/* What the controllers do with a step; returns how many children it made. */
static size_t take(const struct reshard_step *step)
{
    size_t kept = 0;
    struct reshard_shard *after = calloc(open_count + step->count, sizeof(*after));
    assert_non_null(after);
    for (size_t i = 0; i < step->count; i++) {
        check_child(&step->child[i]);
    }
    for (size_t i = 0; i < open_count; i++) {
        if (!is_parent(step, open_shards[i].number)) {
            after[kept++] = open_shards[i];
        }
    }
    for (size_t i = 0; i < step->count; i++) {
        after[kept++] =
            (struct reshard_shard){.number = next_number++, .range = step->child[i].range};
    }
    assert_true(kept <= SHARDS);
    memcpy(open_shards, after, kept * sizeof(*after));
    open_count = kept;
    free(after);
    return step->count;
}

struct way {
    size_t steps, made, most_open;
};

static struct way go(uint32_t target)
{
    struct way way = {.most_open = open_count};
    for (;;) {
        struct reshard_step step = {0};
        assert_int_equal(reshard_next_step(open_shards, open_count, target, &step), STATUS_OK);
        bool last = step.last;
        if (step.count == 0) {
            reshard_step_release(&step);
            break;
        }
        way.made += take(&step);
        way.steps++;
        way.most_open = open_count > way.most_open ? open_count : way.most_open;
        reshard_step_release(&step);
        assert_true(way.steps < 20);
        assert_true(!last || open_count == target);
    }
    assert_int_equal(open_count, target);
    for (uint32_t i = 0; i < target; i++) { /* next_step() has sorted them */
        struct hash_range range = hash_range_of(i, target);
        assert_memory_equal(&open_shards[i].range, &range, sizeof(range));
    }
    return way;
}

static void more_shards_take_one_step_and_no_intermediate_ones(void **state)
{
    (void)state;
    for (uint32_t n = 1; n <= 12; n++) {
        for (uint32_t m = n + 1; m <= 2 * n + 30; m++) {
            start(n);
            struct way way = go(m);
            assert_int_equal(way.steps, 1);
            assert_true(way.made <= m);
        }
    }
}

static void four_become_three_directly(void **state)
{
    (void)state;
    start(4);
    struct reshard_step step = {0};
    assert_int_equal(reshard_next_step(open_shards, 4, 3, &step), STATUS_OK);
    assert_int_equal(step.count, 3);
    assert_true(step.last);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(step.child[i].parent_count, 2);
        assert_int_equal(step.child[i].parent[0], i);
        assert_int_equal(step.child[i].parent[1], i + 1);
        assert_int_equal(step.child[i].component, 0); /* they depend on each other */
    }
    reshard_step_release(&step);
}

static void halves_and_doubles_do_not_wait_for_each_other(void **state)
{
    (void)state;
    start(8);
    struct reshard_step step = {0};
    assert_int_equal(reshard_next_step(open_shards, 8, 4, &step), STATUS_OK);
    assert_int_equal(step.count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(step.child[i].component, i);
    }
    reshard_step_release(&step);
    assert_int_equal(reshard_next_step(open_shards, 8, 16, &step), STATUS_OK);
    assert_int_equal(step.count, 16);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(step.child[i].component, i / 2);
    }
    reshard_step_release(&step);
}

/* The fewest intermediate shards: k - 2 for a range over k shards. */
static size_t fewest(uint32_t n, uint32_t m)
{
    size_t sum = 0;
    for (uint32_t t = 0; t < m; t++) {
        struct hash_range range = hash_range_of(t, m);
        size_t over = 0;
        for (uint32_t i = 0; i < n; i++) {
            struct hash_range shard = hash_range_of(i, n);
            over += hash_key_compare(shard.first, range.last) <= 0 &&
                    hash_key_compare(range.first, shard.last) <= 0;
        }
        sum += over > 2 ? over - 2 : 0;
    }
    return sum;
}

static void fewer_shards_make_the_fewest_intermediate_ones(void **state)
{
    (void)state;
    for (uint32_t n = 2; n <= 24; n++) {
        for (uint32_t m = 1; m < n; m++) {
            start(n);
            struct way way = go(m);
            size_t direct = 0;
            for (uint32_t t = 0; t < m; t++) { /* all but what is a shard already */
                direct += 1;
            }
            assert_true(way.made <= direct + fewest(n, m));
            assert_true(way.most_open <= n);
        }
    }
}

static void uneven_shards_become_even(void **state)
{
    (void)state;
    srandom(7);
    for (int round = 0; round < 50; round++) {
        start(3);
        for (int i = 0; i < 40; i++) { /* splits at random keys, crowded together */
            size_t at = (size_t)random() % open_count;
            struct reshard_shard *shard = &open_shards[at];
            struct hash_key key = {.high = shard->range.first.high + (uint64_t)random(),
                                   .low = (uint64_t)random()};
            struct hash_range halves[2];
            if (reshard_split(shard->range, key, halves) == STATUS_OK) {
                shard->range = halves[0];
                open_shards[open_count++] =
                    (struct reshard_shard){.number = next_number++, .range = halves[1]};
            }
        }
        (void)go((uint32_t)random() % 60 + 1);
    }
}

static void nothing_is_done_when_all_is_as_wanted(void **state)
{
    (void)state;
    start(7);
    assert_int_equal(go(7).steps, 0);
}

static void holes_and_overlaps_are_refused(void **state)
{
    (void)state;
    struct reshard_step step = {0};
    start(4);
    assert_int_equal(reshard_next_step(open_shards, 4, 0, &step), STATUS_INVALID);
    assert_int_equal(reshard_next_step(open_shards, 0, 4, &step), STATUS_INVALID);
    assert_int_equal(reshard_next_step(open_shards, 3, 4, &step), STATUS_INVALID);
    open_shards[1].range.last.low--;
    assert_int_equal(reshard_next_step(open_shards, 4, 2, &step), STATUS_INVALID);
    open_shards[1].range.last.low += 2;
    assert_int_equal(reshard_next_step(open_shards, 4, 2, &step), STATUS_INVALID);
}

static void a_split_leaves_no_half_empty(void **state)
{
    (void)state;
    struct hash_range range = {
        .first = {1, 0},
          .last = {1, 1}
    };
    struct hash_range halves[2];
    assert_int_equal(reshard_split(range, range.first, halves), STATUS_INVALID);
    assert_int_equal(reshard_split(range, (struct hash_key){1, 2}, halves), STATUS_INVALID);
    assert_int_equal(reshard_split(range, range.last, halves), STATUS_OK);
    assert_int_equal(hash_key_compare(halves[0].last, range.first), 0);
    assert_int_equal(hash_key_compare(reshard_middle(range), range.last), 0);
    struct hash_range all = hash_range_of(0, 1);
    struct hash_key middle = {.high = (uint64_t)1 << 63};
    assert_int_equal(hash_key_compare(reshard_middle(all), middle), 0);
    struct hash_range upper = {.first = middle, .last = all.last};
    struct hash_key third = {.high = (uint64_t)3 << 62};
    assert_int_equal(hash_key_compare(reshard_middle(upper), third), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(more_shards_take_one_step_and_no_intermediate_ones),
        cmocka_unit_test(four_become_three_directly),
        cmocka_unit_test(halves_and_doubles_do_not_wait_for_each_other),
        cmocka_unit_test(fewer_shards_make_the_fewest_intermediate_ones),
        cmocka_unit_test(uneven_shards_become_even),
        cmocka_unit_test(nothing_is_done_when_all_is_as_wanted),
        cmocka_unit_test(holes_and_overlaps_are_refused),
        cmocka_unit_test(a_split_leaves_no_half_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
