#include "client/cli/upgrade.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { HEARD_MAX = 16, TEXT_MAX = 400 };

struct heard {
    size_t count;
    enum upgrade_word word[HEARD_MAX];
    char text[HEARD_MAX][TEXT_MAX];
};

static void hear(void *to, enum upgrade_word word, const char *text)
{
    struct heard *heard = to;
    assert_true(heard->count < HEARD_MAX);
    heard->word[heard->count] = word;
    (void)snprintf(heard->text[heard->count++], TEXT_MAX, "%s", text);
}

/* "controller-1*" is the active one. */
static struct upgrade_process process(const char *name, const char *software)
{
    return (struct upgrade_process){.name = name,
                                    .software = software,
                                    .is_controller = name[0] == 'c',
                                    .is_active = strchr(name, '*') != NULL};
}

static void expect(const struct heard *heard, size_t at, enum upgrade_word word, const char *text)
{
    assert_true(at < heard->count);
    assert_int_equal(heard->word[at], word);
    if (strstr(heard->text[at], text) == NULL) {
        fail_msg("\"%s\" does not have \"%s\"", heard->text[at], text);
    }
}

static void a_cluster_of_one_release_has_nothing_to_tell(void **state)
{
    (void)state;
    const struct upgrade_process all[] = {process("controller-1*", "weir 0.1.0"),
                                          process("broker-1", "weir 0.1.0"),
                                          process("broker-2", "")};
    struct heard heard = {0};
    upgrade_judge(all, 3, hear, &heard);
    assert_int_equal(heard.count, 0);
    upgrade_judge(all, 0, hear, &heard);
    assert_int_equal(heard.count, 0);
}

static void brokers_are_next_then_controllers_then_the_active_one(void **state)
{
    (void)state;
    struct upgrade_process all[] = {
        process("controller-1*", "weir 0.9.10"), process("controller-2", "weir 0.9.10"),
        process("broker-1", "weir 0.10.0"), process("broker-2", "weir 0.9.10")};
    static const char *const order[] = {"broker-2", "controller-2", "controller-1*"};
    for (size_t i = 0; i < 3; i++) {
        struct heard heard = {0};
        upgrade_judge(all, 4, hear, &heard);
        assert_int_equal(heard.count, 1);
        expect(&heard, 0, UPGRADE_NEXT, order[i]);
        for (size_t k = 0; k < 4; k++) {
            if (strcmp(all[k].name, order[i]) == 0) {
                all[k].software = "weir 0.10.0";
            }
        }
    }
}

static void a_controller_before_the_brokers_is_told(void **state)
{
    (void)state;
    const struct upgrade_process all[] = {process("controller-1", "weir 0.2.0"),
                                          process("controller-2*", "weir 0.1.0"),
                                          process("broker-1", "weir 0.1.0")};
    struct heard heard = {0};
    upgrade_judge(all, 3, hear, &heard);
    assert_int_equal(heard.count, 2);
    expect(&heard, 0, UPGRADE_CAREFUL,
           "controller-1 runs weir 0.2.0 and broker-1 still weir 0.1.0");
    expect(&heard, 1, UPGRADE_NEXT, "broker-1");
}

static void the_active_controller_before_the_others_is_told(void **state)
{
    (void)state;
    const struct upgrade_process all[] = {process("controller-1*", "weir 0.2.0"),
                                          process("controller-2", "weir 0.1.0"),
                                          process("broker-1", "weir 0.2.0")};
    struct heard heard = {0};
    upgrade_judge(all, 3, hear, &heard);
    assert_int_equal(heard.count, 2);
    expect(&heard, 0, UPGRADE_CAREFUL, "the active controller is upgraded last");
    expect(&heard, 1, UPGRADE_NEXT, "controller-2");
}

static void three_releases_at_once_are_one_too_many(void **state)
{
    (void)state;
    const struct upgrade_process all[] = {process("controller-1*", "weir 0.2.0"),
                                          process("broker-1", "weir 0.1.0"),
                                          process("broker-2", "weir 0.3.0")};
    struct heard heard = {0};
    upgrade_judge(all, 3, hear, &heard);
    expect(&heard, 0, UPGRADE_AGAINST, "more than two releases run at once");
    expect(&heard, 0, UPGRADE_AGAINST, "upgrade broker-1 first");
}

static void protocols_too_far_apart_are_one_reason(void **state)
{
    (void)state;
    const struct weir_format newer[] =
        {
            {"protocol", 3, 2}
    },
                             older[] = {{"protocol", 1, 1}}, between[] = {{"protocol", 2, 1}};
    struct upgrade_process all[] = {process("controller-1*", "weir 0.3.0"),
                                    process("broker-1", "weir 0.3.0")};
    all[0].formats = older;
    all[1].formats = newer;
    all[0].format_count = all[1].format_count = 1;
    struct heard heard = {0};
    upgrade_judge(all, 2, hear, &heard);
    assert_int_equal(heard.count, 1);
    expect(&heard, 0, UPGRADE_AGAINST, "broker-1 speaks protocol 2 to 3 and controller-1* only 1");
    all[0].formats = between;
    heard.count = 0;
    upgrade_judge(all, 2, hear, &heard);
    assert_int_equal(heard.count, 0);
}

static void a_state_that_another_controller_cannot_take_is_told(void **state)
{
    (void)state;
    const struct weir_format newer[] =
        {
            {"state", 5, 1}
    },
                             older[] = {{"state", 4, 1}};
    struct upgrade_process all[] = {process("controller-1*", "weir 0.1.0"),
                                    process("controller-2", "weir 0.1.0")};
    all[0].formats = newer;
    all[1].formats = older;
    all[0].format_count = all[1].format_count = 1;
    struct heard heard = {0};
    upgrade_judge(all, 2, hear, &heard);
    assert_int_equal(heard.count, 1);
    expect(&heard, 0, UPGRADE_CAREFUL, "writes state 5, controller-2 reads up to 4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_of_one_release_has_nothing_to_tell),
        cmocka_unit_test(brokers_are_next_then_controllers_then_the_active_one),
        cmocka_unit_test(a_controller_before_the_brokers_is_told),
        cmocka_unit_test(the_active_controller_before_the_others_is_told),
        cmocka_unit_test(three_releases_at_once_are_one_too_many),
        cmocka_unit_test(protocols_too_far_apart_are_one_reason),
        cmocka_unit_test(a_state_that_another_controller_cannot_take_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
