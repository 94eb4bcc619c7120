/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "client/cli/prom.h"

static const char page[] = "# HELP a_total A.\n"
                           "# TYPE a_total counter\n"
                           "a_total{stream=\"one\",shard=\"s\"} 3\n"
                           "a_total{stream=\"t\\\"w\\\\o\"} 4.5\n"
                           "a_total_more 100\n"
                           "b 7\n"
                           "c{broken\n"
                           "d 1";

static void samples_of_a_name_are_summed_up(void **state)
{
    (void)state;
    assert_true(prom_sum(page, "a_total") == 7.5);
    assert_true(prom_max(page, "a_total") == 4.5);
    assert_true(prom_sum(page, "b") == 7);
    assert_true(prom_sum(page, "a") == 0);
    assert_true(prom_sum(page, "c") == 0);
    assert_true(prom_sum(page, "d") == 1); /* no line end behind it */
    assert_true(prom_sum("", "a") == 0);
}

static void labels_lose_their_escapes(void **state)
{
    (void)state;
    const char *at = page;
    char label[PROM_LABEL_BYTES];
    double value = 0;
    assert_true(prom_next(&at, "a_total", "stream", label, &value));
    assert_string_equal(label, "one");
    assert_true(value == 3);
    assert_true(prom_next(&at, "a_total", "stream", label, &value));
    assert_string_equal(label, "t\"w\\o");
    assert_false(prom_next(&at, "a_total", "stream", label, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_of_a_name_are_summed_up),
        cmocka_unit_test(labels_lose_their_escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
