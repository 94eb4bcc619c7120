#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "controller/rpc/agreement.h"

static void hear(struct agreement *a, uint32_t id, uint64_t index, uint64_t rows)
{
    const struct agreement_mark mark = {.index = index, .rolling = 7, .rows = rows};
    agreement_heard(a, id, &mark);
}

static enum agreement_verdict judge(const struct agreement *a, uint64_t *out_index)
{
    *out_index = 0;
    return agreement_judge(a, out_index);
}

static void equal_states_are_no_news(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    bool differs = true;
    agreement_init(&a, 1, 3);
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    assert_null(agreement_newest(&a));
    hear(&a, 2, 100, 5);
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    hear(&a, 1, 100, 5);
    hear(&a, 3, 100, 5);
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    assert_int_equal(agreement_with(&a, 2, &differs), 100);
    assert_false(differs);
    assert_int_equal(agreement_newest(&a)->index, 100);
}

static void who_is_alone_against_a_majority_is_wrong(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    agreement_init(&a, 1, 3);
    hear(&a, 1, 100, 6);
    hear(&a, 2, 100, 5);
    assert_int_equal(judge(&a, &at), AGREEMENT_OTHER); /* one against one: nobody can tell */
    hear(&a, 3, 100, 5);
    assert_int_equal(judge(&a, &at), AGREEMENT_OURS);
    assert_int_equal(at, 100);
}

static void who_is_with_the_majority_only_tells(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    bool differs = false;
    agreement_init(&a, 1, 5);
    for (uint32_t id = 1; id <= 4; id++) {
        hear(&a, id, 100, 5);
    }
    hear(&a, 5, 100, 9);
    assert_int_equal(judge(&a, &at), AGREEMENT_OTHER);
    assert_int_equal(agreement_with(&a, 5, &differs), 100);
    assert_true(differs);
    assert_int_equal(agreement_with(&a, 4, &differs), 100);
    assert_false(differs);
}

static void two_of_five_that_agree_are_no_majority(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    agreement_init(&a, 1, 5);
    hear(&a, 1, 100, 5);
    hear(&a, 2, 100, 6);
    hear(&a, 3, 100, 6);
    assert_int_equal(judge(&a, &at), AGREEMENT_OTHER);
    hear(&a, 4, 100, 7);
    hear(&a, 5, 100, 8);
    assert_int_equal(judge(&a, &at), AGREEMENT_OTHER);
}

static void only_marks_of_the_same_entry_are_compared(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    bool differs = true;
    agreement_init(&a, 1, 3);
    hear(&a, 1, 100, 6);
    hear(&a, 2, 200, 5);
    hear(&a, 3, 200, 5);
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    assert_int_equal(agreement_with(&a, 2, &differs), 0);
    hear(&a, 1, 200, 5); /* late */
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    assert_int_equal(agreement_with(&a, 2, &differs), 200);
    assert_false(differs);
}

static void old_marks_make_room_and_a_mark_of_zero_is_nothing(void **state)
{
    (void)state;
    struct agreement a;
    uint64_t at;
    agreement_init(&a, 1, 3);
    hear(&a, 1, 0, 1);
    hear(&a, 2, 0, 2);
    hear(&a, 3, 0, 2);
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE);
    hear(&a, 2, 100, 5);
    hear(&a, 3, 100, 5);
    hear(&a, 1, 100, 6);
    for (uint64_t i = 2; i <= 1 + AGREEMENT_MARKS; i++) {
        hear(&a, 1, 100 * i, 5);
    }
    assert_int_equal(judge(&a, &at), AGREEMENT_NONE); /* the mark at 100 is forgotten */
    for (uint32_t id = 4; id < 30; id++) {
        hear(&a, id, 300, 77); /* more than there can be */
    }
    assert_int_equal(a.count, RAFT_NODE_SERVERS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_states_are_no_news),
        cmocka_unit_test(who_is_alone_against_a_majority_is_wrong),
        cmocka_unit_test(who_is_with_the_majority_only_tells),
        cmocka_unit_test(two_of_five_that_agree_are_no_majority),
        cmocka_unit_test(only_marks_of_the_same_entry_are_compared),
        cmocka_unit_test(old_marks_make_room_and_a_mark_of_zero_is_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
