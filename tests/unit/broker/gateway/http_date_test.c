/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <time.h>

#include "broker/gateway/http_internal.h"

static void known_dates_are_right(void **state)
{
    (void)state;
    static const struct {
        uint64_t unix_s;
        const char *text;
    } known[] = {
        {0,          "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777,  "Sun, 06 Nov 1994 08:49:37 GMT"},
        {951782400,  "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {UINT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        char date[HTTP_DATE_BYTES];
        http_date(known[i].unix_s, date);
        assert_string_equal(date, known[i].text);
    }
}

static void every_day_of_four_centuries_is_as_the_c_library_has_it(void **state)
{
    (void)state;
    for (uint64_t day = 0; day < 146097; day++) {
        char date[HTTP_DATE_BYTES];
        char expected[HTTP_DATE_BYTES];
        struct tm tm;
        time_t unix_s = (time_t)(day * 86400 + day % 86400);
        assert_non_null(gmtime_r(&unix_s, &tm));
        assert_int_not_equal(strftime(expected, sizeof(expected), "%a, %d %b %Y %H:%M:%S GMT", &tm),
                             0);
        http_date((uint64_t)unix_s, date);
        assert_string_equal(date, expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_dates_are_right),
        cmocka_unit_test(every_day_of_four_centuries_is_as_the_c_library_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
