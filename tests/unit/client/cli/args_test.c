/* Command lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/args.h"

struct line {
    bool follow, json;
    const char *count, *from, *from_what;
    struct args args;
    struct error error;
};

static bool begins_with_at(const char *value)
{
    return strncmp(value, "at-", 3) == 0;
}

#define PARSE(line, ...) parse((line), (const char *[]){"weir", __VA_ARGS__, NULL})

static enum status parse(struct line *line, const char *const *argv)
{
    *line = (struct line){.follow = false};
    struct arg_option options[] = {
        args_flag("--follow", &line->follow),
        args_flag("--json", &line->json),
        args_value("--count", &line->count),
        args_value("--from", &line->from),
    };
    options[3].wants_more = begins_with_at;
    options[3].more = &line->from_what;
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    return args_parse(argc, argv, options, sizeof(options) / sizeof(options[0]), &line->args,
                      &line->error);
}

static void options_may_stand_anywhere(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(PARSE(&line, "--json", "get", "--count", "5", "orders", "--follow"),
                     STATUS_OK);
    assert_true(line.json && line.follow);
    assert_string_equal(line.count, "5");
    assert_int_equal(line.args.word_count, 2);
    assert_string_equal(line.args.words[1], "orders");
}

static void a_value_may_stand_behind_an_equals_sign(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(PARSE(&line, "--count=7", "--from=latest"), STATUS_OK);
    assert_string_equal(line.count, "7");
    assert_string_equal(line.from, "latest");
    assert_null(line.from_what);
}

static void some_values_take_another_word(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(PARSE(&line, "--from", "at-timestamp", "17", "orders"), STATUS_OK);
    assert_string_equal(line.from_what, "17");
    assert_int_equal(line.args.word_count, 1);
    assert_int_equal(PARSE(&line, "--from", "latest", "orders"), STATUS_OK);
    assert_null(line.from_what);
    assert_int_equal(PARSE(&line, "orders", "--from", "at-timestamp"), STATUS_INVALID);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(PARSE(&line, "--", "--json", "-"), STATUS_OK);
    assert_false(line.json);
    assert_int_equal(line.args.word_count, 2);
}

static void mistakes_are_told_in_a_sentence(void **state)
{
    (void)state;
    struct line line;
    assert_int_equal(PARSE(&line, "--jsonx"), STATUS_INVALID);
    assert_string_equal(line.error.text, "there is no option --jsonx (--help lists them)");
    assert_int_equal(PARSE(&line, "--count"), STATUS_INVALID);
    assert_string_equal(line.error.text, "--count needs a value");
    assert_int_equal(PARSE(&line, "--json=yes"), STATUS_INVALID);
    assert_int_equal(PARSE(&line, "--count", "1", "--count", "2"), STATUS_INVALID);
    assert_int_equal(PARSE(&line, "1", "2", "3", "4", "5", "6", "7", "8", "9"), STATUS_INVALID);
}

static void numbers_have_bounds(void **state)
{
    (void)state;
    struct error error;
    uint64_t value;
    assert_int_equal(args_number("10", "--shards", 1, 10, &value, &error), STATUS_OK);
    assert_int_equal(value, 10);
    static const char *const bad[] = {"", "0", "11", "-1", "1x", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(args_number(bad[i], "--shards", 1, 10, &value, &error), STATUS_INVALID);
    }
    assert_string_equal(error.text,
                        "--shards must be a number from 1 to 10, not '99999999999999999999999'");
}

static void durations_have_units(void **state)
{
    (void)state;
    struct error error;
    uint32_t ms;
    static const struct {
        const char *text;
        uint32_t ms;
    } good[] = {
        {"5",     5000   },
        {"500ms", 500    },
        {"30s",   30000  },
        {"5m",    300000 },
        {"1h",    3600000}
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(args_duration(good[i].text, "--timeout", &ms, &error), STATUS_OK);
        assert_int_equal(ms, good[i].ms);
    }
    static const char *const bad[] = {"", "0", "s", "5x", "-5", "99999999h"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(args_duration(bad[i], "--timeout", &ms, &error), STATUS_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_may_stand_anywhere),
        cmocka_unit_test(a_value_may_stand_behind_an_equals_sign),
        cmocka_unit_test(some_values_take_another_word),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(mistakes_are_told_in_a_sentence),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(durations_have_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
