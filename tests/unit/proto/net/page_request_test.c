/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "proto/net/page_request.h"

static uint16_t parse(const char *text, char path[PAGE_PATH_BYTES])
{
    return page_request_parse(bytes_of_string(text), path);
}

static void a_get_has_its_path(void **state)
{
    (void)state;
    char path[PAGE_PATH_BYTES];
    assert_int_equal(parse("GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", path), 200);
    assert_string_equal(path, "/metrics");
    assert_int_equal(parse("GET /readyz?verbose=1 HTTP/1.0\r\n\r\n", path), 200);
    assert_string_equal(path, "/readyz");
    assert_int_equal(parse("GET / HTTP/1.1\r\nHOST:\r\ncontent-length: 0 \r\n\r\n", path), 200);
}

static void every_beginning_of_a_head_waits_for_more(void **state)
{
    (void)state;
    static const char text[] = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
    char path[PAGE_PATH_BYTES];
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        assert_int_equal(page_request_parse(bytes_of(text, i), path), 0);
    }
    assert_int_equal(page_request_parse(bytes_of(text, sizeof(text) - 1), path), 200);
}

static void what_is_no_good_http_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint16_t status;
    } cases[] = {
        {"hello\r\n\r\n",                                                          400},
        {"\r\n\r\n",                                                               400},
        {"GET metrics HTTP/1.1\r\nHost: a\r\n\r\n",                                400},
        {"GET  /metrics HTTP/1.1\r\nHost: a\r\n\r\n",                              400},
        {"GET /metrics  HTTP/1.1\r\nHost: a\r\n\r\n",                              400},
        {"GET /metrics\r\nHost: a\r\n\r\n",                                        400},
        {"GET /metrics HTTP/2.0\r\nHost: a\r\n\r\n",                               505},
        {"GET /metrics http/1.1\r\nHost: a\r\n\r\n",                               400},
        {"POST /metrics HTTP/1.1\r\nHost: a\r\n\r\n",                              405},
        {"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n",                              405},
        {"get /metrics HTTP/1.1\r\nHost: a\r\n\r\n",                               405},
        {"GET /metrics HTTP/1.1\r\n\r\n",                                          400},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",                    400},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",     400},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET /metrics HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",                    400},
        {"GET /metrics HTTP/1.1\r\nHost : a\r\n\r\n",                              400},
        {"GET /metrics HTTP/1.1\r\n: a\r\n\r\n",                                   400},
        {"GET /metrics HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",                         400},
        {"GET /metrics HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",                         400},
        {"GET /met\x01rics HTTP/1.1\r\nHost: a\r\n\r\n",                           400},
        {"GET /m\xc3\xa9trics HTTP/1.1\r\nHost: a\r\n\r\n",                        400},
    };
    char path[PAGE_PATH_BYTES];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint16_t status = parse(cases[i].text, path);
        if (status != cases[i].status) {
            fail_msg("'%s': %u, not %u", cases[i].text, status, cases[i].status);
        }
    }
    static const char zero[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(page_request_parse(bytes_of(zero, sizeof(zero) - 1), path), 400);
}

static void long_ones_are_refused(void **state)
{
    (void)state;
    static char text[2 * PAGE_HEAD_MAX];
    char path[PAGE_PATH_BYTES];
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    assert_int_equal(page_request_parse(bytes_of(text, PAGE_HEAD_MAX), path), 0);
    assert_int_equal(page_request_parse(bytes_of(text, PAGE_HEAD_MAX + 1), path), 431);
    static const char end[] = " HTTP/1.0\r\n\r\n";
    memcpy(text + 4 + PAGE_PATH_BYTES, end, sizeof(end) - 1);
    assert_int_equal(
        page_request_parse(bytes_of(text, 4 + PAGE_PATH_BYTES + sizeof(end) - 1), path), 414);
    memcpy(text + 3 + PAGE_PATH_BYTES, end, sizeof(end) - 1);
    assert_int_equal(
        page_request_parse(bytes_of(text, 3 + PAGE_PATH_BYTES + sizeof(end) - 1), path), 200);
    assert_int_equal(strlen(path), PAGE_PATH_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_has_its_path),
        cmocka_unit_test(every_beginning_of_a_head_waits_for_more),
        cmocka_unit_test(what_is_no_good_http_is_refused),
        cmocka_unit_test(long_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
