/* What the active controller proposes while not all controllers are known to apply it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "controller/rpc/gate.h"

static struct gate gate;

/* Three, of which we are controller-2. */
static int set_up(void **state)
{
    (void)state;
    static const uint32_t ids[] = {1, 2, 3};
    gate_init(&gate, 2);
    gate_follow(&gate, ids, 3);
    return 0;
}

/* 0: nobody. */
static uint32_t holder(uint32_t version)
{
    const struct gate_member *member = gate_holder(&gate, version);
    return member == NULL ? 0 : member->id;
}

static void what_there_has_always_been_never_waits(void **state)
{
    (void)state;
    assert_int_equal(holder(1), 0);
    gate_heard(&gate, 1, 1);
    assert_int_equal(holder(1), 0);
}

static void who_has_not_been_heard_of_holds_back(void **state)
{
    (void)state;
    char text[GATE_TEXT_BYTES];
    assert_int_equal(holder(2), 1);
    gate_heard(&gate, 1, 2);
    assert_int_equal(holder(2), 3);
    gate_text(gate_holder(&gate, 2), text);
    assert_string_equal(text,
                        "controller-3 has not been heard of yet and may run an older version: "
                        "bring it back, or remove it");
    gate_heard(&gate, 3, 2);
    assert_int_equal(holder(2), 0);
}

static void an_older_one_holds_back_until_it_is_upgraded(void **state)
{
    (void)state;
    char text[GATE_TEXT_BYTES];
    gate_heard(&gate, 1, 2);
    gate_heard(&gate, 3, 1);
    assert_int_equal(holder(2), 3);
    gate_text(gate_holder(&gate, 2), text);
    assert_string_equal(text, "controller-3 runs an older version, which does not know this "
                              "change: upgrade it first");
    gate_heard(&gate, 3, 2);
    assert_int_equal(holder(2), 0);
    assert_int_equal(holder(3), 1); /* and so on, with the next release */
}

static void one_that_goes_back_holds_back_again(void **state)
{
    (void)state;
    gate_heard(&gate, 1, 2);
    gate_heard(&gate, 3, 2);
    assert_int_equal(holder(2), 0);
    gate_heard(&gate, 1, 1);
    assert_int_equal(holder(2), 1);
}

static void a_newer_one_holds_nothing_back(void **state)
{
    (void)state;
    gate_heard(&gate, 1, 9);
    gate_heard(&gate, 3, 2);
    assert_int_equal(holder(2), 0);
}

static void who_joins_holds_back_and_who_leaves_does_not(void **state)
{
    (void)state;
    static const uint32_t with[] = {1, 2, 3, 4}, without[] = {1, 2, 3};
    gate_heard(&gate, 1, 2);
    gate_heard(&gate, 3, 2);
    gate_heard(&gate, 4, 2); /* no member yet: it says so again */
    gate_follow(&gate, with, 4);
    assert_int_equal(holder(2), 4);
    gate_heard(&gate, 4, 2);
    assert_int_equal(holder(2), 0);
    gate_heard(&gate, 4, 1);
    gate_follow(&gate, without, 3);
    assert_int_equal(holder(2), 0); /* the others are remembered */
    gate_follow(&gate, with, 4);
    assert_int_equal(holder(2), 4); /* it is not */
}

static void a_single_controller_waits_for_nobody(void **state)
{
    (void)state;
    static const uint32_t alone[] = {2};
    gate_follow(&gate, alone, 1);
    assert_int_equal(holder(7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_there_has_always_been_never_waits, set_up),
        cmocka_unit_test_setup(who_has_not_been_heard_of_holds_back, set_up),
        cmocka_unit_test_setup(an_older_one_holds_back_until_it_is_upgraded, set_up),
        cmocka_unit_test_setup(one_that_goes_back_holds_back_again, set_up),
        cmocka_unit_test_setup(a_newer_one_holds_nothing_back, set_up),
        cmocka_unit_test_setup(who_joins_holds_back_and_who_leaves_does_not, set_up),
        cmocka_unit_test_setup(a_single_controller_waits_for_nobody, set_up),
    };
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
