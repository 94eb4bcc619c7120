/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"

struct settings {
    char *data_dir, *name;
    uint32_t shards;
    uint64_t count, segment_bytes, timeout_ms;
    uint16_t port;
    bool sync;
};

static const struct config_key keys[] = {
    {"data-dir",     CONFIG_STRING,   offsetof(struct settings, data_dir),      NULL,    "where"   },
    {"name",         CONFIG_STRING,   offsetof(struct settings, name),          "",      "who"     },
    {"shards",       CONFIG_U32,      offsetof(struct settings, shards),        "4",     "how many"},
    {"count",        CONFIG_U64,      offsetof(struct settings, count),         "0",     "of what" },
    {"segment-size", CONFIG_BYTES,    offsetof(struct settings, segment_bytes), "64MiB", "size"    },
    {"timeout",      CONFIG_DURATION, offsetof(struct settings, timeout_ms),    "500ms", "time"    },
    {"port",         CONFIG_PORT,     offsetof(struct settings, port),          "7000",  "port"    },
    {"sync",         CONFIG_BOOL,     offsetof(struct settings, sync),          "false", "really?" },
};

static const struct config_spec spec = {
    .program = "weir-test",
    .summary = "Tests configuration.",
    .version = "1.2.3",
    .env_prefix = "WEIRTEST_",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

static const struct config_spec spec_with_operands = {
    .program = "weir-test",
    .summary = "Tests configuration.",
    .version = "1.2.3",
    .operands = "STREAM",
    .env_prefix = "WEIRTEST_",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

enum { WORDS_MAX = 16 };

/* One load from a command line in one string; it is split at spaces. */
struct attempt {
    struct settings settings;
    struct error error;
    enum status status;
    enum config_action action;
    char line[512];
    char *argv[WORDS_MAX + 1];
    int argc;
};

static void load(struct attempt *attempt, const struct config_spec *with, const char *line)
{
    *attempt = (struct attempt){.action = CONFIG_RUN};
    (void)snprintf(attempt->line, sizeof(attempt->line), "%s", line);
    char *saved = NULL;
    for (char *word = strtok_r(attempt->line, " ", &saved); word != NULL;
         word = strtok_r(NULL, " ", &saved)) {
        attempt->argv[attempt->argc++] = word;
    }
    attempt->status = config_load(with, &attempt->argc, attempt->argv, &attempt->settings,
                                  &attempt->action, &attempt->error);
}

static void expect_error(const char *line, const char *text)
{
    struct attempt attempt;
    load(&attempt, &spec, line);
    assert_int_equal(attempt.status, STATUS_INVALID);
    if (strstr(attempt.error.text, text) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", text, attempt.error.text);
    }
    assert_null(attempt.settings.data_dir);
}

static char path[64];

static void write_file(const char *text)
{
    (void)snprintf(path, sizeof(path), "/tmp/weir-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
}

static void expect_file_error(const char *content, const char *text)
{
    char line[128];
    write_file(content);
    (void)snprintf(line, sizeof(line), "p --data-dir x --config %s", path);
    expect_error(line, text);
    assert_int_equal(unlink(path), 0);
}

static void defaults_fill_what_nobody_sets(void **state)
{
    (void)state;
    struct attempt attempt;
    load(&attempt, &spec, "p --data-dir /var/lib/x");
    assert_int_equal(attempt.status, STATUS_OK);
    assert_int_equal(attempt.action, CONFIG_RUN);
    const struct settings *settings = &attempt.settings;
    assert_string_equal(settings->data_dir, "/var/lib/x");
    assert_string_equal(settings->name, "");
    assert_int_equal(settings->shards, 4);
    assert_int_equal(settings->segment_bytes, 64 << 20);
    assert_int_equal(settings->timeout_ms, 500);
    assert_int_equal(settings->port, 7000);
    assert_false(settings->sync);
    config_release(&spec, &attempt.settings);
    config_release(&spec, &attempt.settings);
    assert_null(attempt.settings.data_dir);
}

static void each_source_beats_the_one_before(void **state)
{
    (void)state;
    char line[256];
    struct attempt attempt;
    write_file(
        "# a comment\n\n ; another\n  data-dir =  /from file  \nport=1\nshards = 1\ncount = 1");
    assert_int_equal(setenv("WEIRTEST_PORT", "2", 1), 0);
    assert_int_equal(setenv("WEIRTEST_SHARDS", "2", 1), 0);
    assert_int_equal(setenv("WEIRTEST_CONFIG", path, 1), 0);
    (void)snprintf(line, sizeof(line), "p --shards=3 --sync --timeout 3s");
    load(&attempt, &spec, line);
    assert_int_equal(attempt.status, STATUS_OK);
    assert_string_equal(attempt.settings.data_dir, "/from file");
    assert_int_equal(attempt.settings.count, 1);
    assert_int_equal(attempt.settings.port, 2);
    assert_int_equal(attempt.settings.shards, 3);
    assert_int_equal(attempt.settings.timeout_ms, 3000);
    assert_true(attempt.settings.sync);
    config_release(&spec, &attempt.settings);
    assert_int_equal(unsetenv("WEIRTEST_PORT"), 0);
    assert_int_equal(unsetenv("WEIRTEST_SHARDS"), 0);
    assert_int_equal(unsetenv("WEIRTEST_CONFIG"), 0);
    assert_int_equal(unlink(path), 0);
}

static void mistakes_in_a_file_name_place_and_key(void **state)
{
    (void)state;
    expect_file_error("port = 1\nsegmentsize = 3\n",
                      ":2: there is no key \"segmentsize\"; did you mean \"segment-size\"?");
    expect_file_error("port = 70000\n", ":1: port: \"70000\" is not a port");
    expect_file_error("\n\nport 7000\n", ":3: expected \"key = value\"");
    expect_file_error("= 7000\n", ":1: expected \"key = value\"");
    expect_file_error("port = 1\nport = 2\n", ":2: port was set in line 1 already");
    expect_file_error("[section]\n", ":1: expected");
}

static void mistakes_elsewhere_are_named_as_well(void **state)
{
    (void)state;
    struct attempt attempt;
    expect_error("p", "data-dir is required");
    expect_error("p --data-dir x --prot 1", "did you mean \"port\"?");
    expect_error("p --data-dir x --port", "--port needs a value");
    expect_error("p --data-dir x operand", "\"operand\" is not an option");
    assert_int_equal(setenv("WEIRTEST_TIMEOUT", "soon", 1), 0);
    expect_error("p --data-dir x", "environment variable WEIRTEST_TIMEOUT: timeout: \"soon\"");
    assert_int_equal(unsetenv("WEIRTEST_TIMEOUT"), 0);
    load(&attempt, &spec, "p --config /nowhere/at/all");
    assert_int_equal(attempt.status, STATUS_NOT_FOUND);
    assert_non_null(strstr(attempt.error.text, "/nowhere/at/all"));
}

static void values_are_checked_to_the_last_character(void **state)
{
    (void)state;
    static const struct {
        enum config_type type;
        const char *text;
        uint64_t value;
        bool ok;
    } cases[] = {
        {CONFIG_BYTES,    "0",                     0,                   true },
        {CONFIG_BYTES,    "4096",                  4096,                true },
        {CONFIG_BYTES,    "3KiB",                  3072,                true },
        {CONFIG_BYTES,    "2TiB",                  (uint64_t)2 << 40,   true },
        {CONFIG_BYTES,    "3KB",                   0,                   false},
        {CONFIG_BYTES,    "3 KiB",                 0,                   false},
        {CONFIG_BYTES,    "KiB",                   0,                   false},
        {CONFIG_BYTES,    "16777216TiB",           0,                   false},
        {CONFIG_BYTES,    "16777215TiB",           16777215ull << 40,   true },
        {CONFIG_DURATION, "7d",                    7ull * 86400 * 1000, true },
        {CONFIG_DURATION, "5m",                    300000,              true },
        {CONFIG_DURATION, "5",                     0,                   false},
        {CONFIG_DURATION, "",                      0,                   false},
        {CONFIG_DURATION, "-5s",                   0,                   false},
        {CONFIG_U64,      "18446744073709551615",  UINT64_MAX,          true },
        {CONFIG_U64,      "18446744073709551616",  0,                   false},
        {CONFIG_U64,      "184467440737095516150", 0,                   false},
        {CONFIG_U64,      "0x10",                  0,                   false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t value = 77;
        enum status status = config_value_parse(cases[i].type, cases[i].text, &value, NULL);
        assert_int_equal(status, cases[i].ok ? STATUS_OK : STATUS_INVALID);
        assert_true(value == (cases[i].ok ? cases[i].value : 77));
    }
    uint32_t number = 5;
    assert_int_equal(config_value_parse(CONFIG_U32, "4294967296", &number, NULL), STATUS_INVALID);
    assert_int_equal(number, 5);
    bool flag = false;
    assert_int_equal(config_value_parse(CONFIG_BOOL, "yes", &flag, NULL), STATUS_OK);
    assert_true(flag);
    assert_int_equal(config_value_parse(CONFIG_BOOL, "maybe", &flag, NULL), STATUS_INVALID);
}

static void operands_are_left_over(void **state)
{
    (void)state;
    struct attempt attempt;
    load(&attempt, &spec_with_operands, "p first --data-dir x second --sync third -- --port");
    assert_int_equal(attempt.status, STATUS_OK);
    assert_int_equal(attempt.argc, 5);
    assert_string_equal(attempt.argv[1], "first");
    assert_string_equal(attempt.argv[2], "second");
    assert_string_equal(attempt.argv[3], "third");
    assert_string_equal(attempt.argv[4], "--port");
    assert_true(attempt.settings.sync);
    config_release(&spec, &attempt.settings);
}

static void help_names_every_key(void **state)
{
    (void)state;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_non_null(to);
    config_print_help(&spec, to);
    assert_int_equal(fclose(to), 0);
    for (size_t i = 0; i < spec.key_count; i++) {
        assert_non_null(strstr(text, keys[i].name));
        assert_non_null(strstr(text, keys[i].help));
    }
    assert_non_null(strstr(text, "required"));
    assert_non_null(strstr(text, "default: 64MiB"));
    free(text);
    struct attempt attempt;
    load(&attempt, &spec, "p --version --nonsense");
    assert_int_equal(attempt.status, STATUS_OK);
    assert_int_equal(attempt.action, CONFIG_EXIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_fill_what_nobody_sets),
        cmocka_unit_test(each_source_beats_the_one_before),
        cmocka_unit_test(mistakes_in_a_file_name_place_and_key),
        cmocka_unit_test(mistakes_elsewhere_are_named_as_well),
        cmocka_unit_test(values_are_checked_to_the_last_character),
        cmocka_unit_test(operands_are_left_over),
        cmocka_unit_test(help_names_every_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
