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

#include "base/trace.h"
#include "proto/net/process_config.h"

struct settings {
    uint32_t id;
    uint64_t check_ms;
    char *metrics_listen, *log_level, *log_format;
};

#define KEY(name, type, field, fallback, help)                       \
    {                                                                \
        name, type, offsetof(struct settings, field), fallback, help \
    }

static const struct config_key keys[] = {
    KEY("id", CONFIG_U32, id, "1", "a number"),
    KEY("certificate-check", CONFIG_DURATION, check_ms, "1m", "a time"),
    PROCESS_CONFIG_KEYS,
};

static const struct config_spec spec = {
    .program = "weir-test",
    .summary = "Nothing.",
    .version = "0",
    .env_prefix = "WEIR_TEST_",
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

static enum status check(const void *config, struct error *error)
{
    const struct settings *s = config;
    return s->id == 0 ? error_set(error, STATUS_INVALID, "id: from 1 on")
                      : process_config_check(s->check_ms, s->log_level, s->log_format, error);
}

static char path[] = "/tmp/weir-process-config-XXXXXX";

static void write_config(const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int begin(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int end(void **state)
{
    (void)state;
    trace_set_level(TRACE_INFO);
    return unlink(path);
}

static enum status load(struct process_config *program, struct settings *out, struct error *error)
{
    static char name[] = "weir-test", option[] = "--config";
    char *words[] = {name, option, path, NULL};
    bool exits = true;
    enum status status = process_config_load(program, 3, words, out, &exits, error);
    assert_false(exits && status == STATUS_OK);
    return status;
}

static void what_is_read_again_sets_the_log(void **state)
{
    (void)state;
    struct process_config program = {.spec = &spec, .check = check};
    struct settings settings, again = {0};
    struct error error;
    write_config("log-level = warning\n");
    assert_int_equal(load(&program, &settings, &error), STATUS_OK);
    assert_int_equal(trace_get_level(), TRACE_WARNING);
    assert_int_equal(settings.check_ms, 60000);
    write_config("log-level = debug\n");
    assert_int_equal(process_config_again(&program, &again, &error), STATUS_OK);
    assert_int_equal(trace_get_level(), TRACE_DEBUG);
    assert_null(again.log_level);
    /* As often as one likes: the words are not used up. */
    write_config("log-level = error\n");
    assert_int_equal(process_config_again(&program, &again, &error), STATUS_OK);
    assert_int_equal(trace_get_level(), TRACE_ERROR);
    config_release(&spec, &settings);
    free(program.argv);
}

static void what_has_become_bad_changes_nothing(void **state)
{
    (void)state;
    struct process_config program = {.spec = &spec, .check = check};
    struct settings settings, again = {0};
    struct error error;
    write_config("log-level = warning\n");
    assert_int_equal(load(&program, &settings, &error), STATUS_OK);
    static const char *const bad[][2] = {
        {"log-level = debug\nid = 0\n",                   "id: from 1 on"               },
        {"log-level = debug\nid = x\n",                   "id"                          },
        {"log-level = loud\n",                            "'loud' is not error, warning"},
        {"log-level = debug\nlog-format = xml\n",         "'xml' is not text or json"   },
        {"log-level = debug\ncertificate-check = 99ms\n", "must be 100ms or more"       },
        {"log-level = debug\nlog-volume = 3\n",           "log-volume"                  },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        write_config(bad[i][0]);
        assert_int_equal(process_config_again(&program, &again, &error), STATUS_INVALID);
        assert_non_null(strstr(error.text, bad[i][1]));
        assert_int_equal(trace_get_level(), TRACE_WARNING);
        assert_null(again.log_level);
    }
    config_release(&spec, &settings);
    free(program.argv);
}

static void nothing_was_loaded_before(void **state)
{
    (void)state;
    struct process_config program = {.spec = &spec, .check = check};
    struct settings again = {0};
    struct error error;
    assert_int_equal(process_config_again(&program, &again, &error), STATUS_NO_MEMORY);
}

static void zero_switches_the_look_at_certificates_off(void **state)
{
    (void)state;
    struct error error;
    assert_int_equal(process_config_check(0, "info", "text", &error), STATUS_OK);
    assert_int_equal(process_config_check(100, "info", "text", &error), STATUS_OK);
    assert_int_equal(process_config_check((uint64_t)UINT32_MAX + 1, "info", "text", &error),
                     STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_read_again_sets_the_log),
        cmocka_unit_test(what_has_become_bad_changes_nothing),
        cmocka_unit_test(nothing_was_loaded_before),
        cmocka_unit_test(zero_switches_the_look_at_certificates_off),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
