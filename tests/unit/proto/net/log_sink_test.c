/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/trace.h"
#include "proto/net/log_sink.h"

enum { LINE_BYTES = 16384 };

/* What a trace prints to standard error, by way of a pipe in its place. */
static void capture(enum trace_level level, const char *text, char out[LINE_BYTES])
{
    int pipe_fds[2];
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(dup2(pipe_fds[1], STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(pipe_fds[1]), 0);
    trace(level, "net", "%s", text);
    assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    assert_int_equal(close(saved), 0);
    ssize_t size = read(pipe_fds[0], out, LINE_BYTES - 1);
    assert_true(size >= 0);
    out[size] = '\0';
    assert_int_equal(close(pipe_fds[0]), 0);
}

static void a_text_line_has_time_level_and_part(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    log_sink_install(LOG_TEXT);
    capture(TRACE_WARNING, "hello", line);
    int year, ms;
    char zone;
    assert_int_equal(sscanf(line, "%d-%*d-%*dT%*d:%*d:%*d.%3d%c", &year, &ms, &zone), 3);
    assert_true(year >= 2024);
    assert_int_equal(zone, 'Z');
    assert_string_equal(line + strlen("2026-01-01T00:00:00.000Z"), " warning net: hello\n");
}

static void nobody_can_forge_a_line(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    log_sink_install(LOG_TEXT);
    capture(TRACE_INFO, "name\n2026 error net: \x1b[2J\\", line);
    assert_non_null(strstr(line, "name\\u000a2026 error net: \\u001b[2J\\\\\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void a_json_line_is_an_object(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    log_sink_install(LOG_JSON);
    capture(TRACE_ERROR, "a \"b\" \\ \t", line);
    assert_non_null(strstr(line, "\"level\": \"error\", \"part\": \"net\", "
                                 "\"text\": \"a \\\"b\\\" \\\\ \\u0009\"}\n"));
    assert_int_equal(strncmp(line, "{\"time\": \"2", 11), 0);
}

static void the_longest_text_still_ends_its_object(void **state)
{
    (void)state;
    char line[LINE_BYTES], text[2000];
    memset(text, '\1', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_sink_install(LOG_JSON);
    capture(TRACE_ERROR, text, line);
    assert_string_equal(line + strlen(line) - 3, "\"}\n");
}

static void levels_and_formats_have_names(void **state)
{
    (void)state;
    char line[LINE_BYTES];
    enum log_format format;
    assert_int_equal(log_format_parse("json", &format), STATUS_OK);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(log_format_parse("text", &format), STATUS_OK);
    assert_int_equal(format, LOG_TEXT);
    assert_int_equal(log_format_parse("xml", &format), STATUS_INVALID);
    log_sink_install(LOG_TEXT);
    assert_int_equal(log_level_set("error"), STATUS_OK);
    capture(TRACE_WARNING, "quiet", line);
    assert_string_equal(line, "");
    assert_int_equal(log_level_set("debug"), STATUS_OK);
    capture(TRACE_DEBUG, "loud", line);
    assert_non_null(strstr(line, "loud"));
    assert_int_equal(log_level_set("silly"), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_line_has_time_level_and_part),
        cmocka_unit_test(nobody_can_forge_a_line),
        cmocka_unit_test(a_json_line_is_an_object),
        cmocka_unit_test(the_longest_text_still_ends_its_object),
        cmocka_unit_test(levels_and_formats_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
