/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

static void expect_page(struct metrics *m, const char *text)
{
    assert_false(m->failed);
    assert_int_equal(buf_append(&m->out, "", 1), STATUS_OK);
    assert_string_equal((const char *)m->out.data, text);
    metrics_release(m);
}

static void a_family_has_its_help_its_type_and_its_samples(void **state)
{
    (void)state;
    struct metrics m = {0};
    metrics_family(&m, "weir_things_total", METRIC_COUNTER, "Things.");
    metrics_put(&m, 3, NULL);
    metrics_put(&m, 0.25, "kind", "half", "of", "two", NULL);
    expect_page(&m, "# HELP weir_things_total Things.\n"
                    "# TYPE weir_things_total counter\n"
                    "weir_things_total 3\n"
                    "weir_things_total{kind=\"half\",of=\"two\"} 0.25\n");
}

static void large_counters_keep_all_their_digits(void **state)
{
    (void)state;
    struct metrics m = {0};
    metrics_one(&m, "a", METRIC_GAUGE, "A.", 9007199254740991.0);
    metrics_put(&m, 1795396080.25, NULL);
    metrics_put(&m, -2, NULL);
    expect_page(&m, "# HELP a A.\n# TYPE a gauge\na 9007199254740991\na 1795396080.25\na -2\n");
}

static void values_of_labels_are_escaped(void **state)
{
    (void)state;
    struct metrics m = {0};
    metrics_family(&m, "a", METRIC_GAUGE, "A.");
    metrics_put(&m, 1, "label", "back\\slash \"quoted\"\nnext line", NULL);
    expect_page(&m, "# HELP a A.\n# TYPE a gauge\n"
                    "a{label=\"back\\\\slash \\\"quoted\\\"\\nnext line\"} 1\n");
}

static void a_histogram_sums_its_buckets_up(void **state)
{
    (void)state;
    struct metrics m = {0};
    struct histogram h = {0};
    histogram_note(&h, 0);
    histogram_note(&h, 100); /* a bound belongs to its bucket */
    histogram_note(&h, 101);
    histogram_note(&h, 10000000);
    histogram_note(&h, 10000001); /* beyond all bounds */
    metrics_family(&m, "t", METRIC_HISTOGRAM, "T.");
    metrics_put_histogram(&m, &h, "op", "x", NULL);
    assert_false(m.failed);
    assert_int_equal(buf_append(&m.out, "", 1), STATUS_OK);
    const char *page = (const char *)m.out.data;
    assert_non_null(strstr(page, "t_bucket{op=\"x\",le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(page, "t_bucket{op=\"x\",le=\"0.00025\"} 3\n"));
    assert_non_null(strstr(page, "t_bucket{op=\"x\",le=\"5\"} 3\n"));
    assert_non_null(strstr(page, "t_bucket{op=\"x\",le=\"10\"} 4\n"));
    assert_non_null(strstr(page, "t_bucket{op=\"x\",le=\"+Inf\"} 5\n"));
    assert_non_null(strstr(page, "t_sum{op=\"x\"} 20.000202\n"));
    assert_non_null(strstr(page, "t_count{op=\"x\"} 5\n"));
    metrics_release(&m);
}

static void a_full_family_leaves_samples_out_and_says_so(void **state)
{
    (void)state;
    struct metrics m = {0};
    char name[16];
    metrics_family(&m, "a", METRIC_GAUGE, "A.");
    for (uint32_t i = 0; i < METRICS_SERIES_MAX + 5; i++) {
        (void)snprintf(name, sizeof(name), "s%u", i);
        metrics_put(&m, i, "stream", name, NULL);
    }
    metrics_family(&m, "b", METRIC_GAUGE, "B.");
    metrics_put(&m, 1, NULL); /* the next family has room of its own */
    metrics_finish(&m);
    assert_int_equal(buf_append(&m.out, "", 1), STATUS_OK);
    const char *page = (const char *)m.out.data;
    assert_non_null(strstr(page, "a{stream=\"s1999\"} 1999\n"));
    assert_null(strstr(page, "a{stream=\"s2000\"}"));
    assert_non_null(strstr(page, "\nb 1\n"));
    assert_non_null(strstr(page, "\nweir_metrics_left_out 5\n"));
    metrics_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_has_its_help_its_type_and_its_samples),
        cmocka_unit_test(large_counters_keep_all_their_digits),
        cmocka_unit_test(values_of_labels_are_escaped),
        cmocka_unit_test(a_histogram_sums_its_buckets_up),
        cmocka_unit_test(a_full_family_leaves_samples_out_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
