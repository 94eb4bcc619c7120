/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/status.h"

static void every_status_has_a_name_and_a_sentence(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= STATUS_VALIDATION; n++) {
        enum status status = status_from_wire(n);
        assert_int_equal(status, n);
        assert_string_not_equal(status_name(status), "UNKNOWN");
        assert_true(strlen(status_text(status)) > 1);
    }
    assert_string_equal(status_name(STATUS_NOT_LEADER), "NOT_LEADER");
    assert_int_equal(STATUS_INTERNAL, 32);
    assert_int_equal(STATUS_VALIDATION, 35); /* numbers travel: they never change */
}

static void a_number_from_the_future_becomes_internal(void **state)
{
    (void)state;
    assert_int_equal(status_from_wire(999), STATUS_INTERNAL);
    assert_int_equal(status_from_wire(65535), STATUS_INTERNAL);
    assert_string_equal(status_name((enum status)1000), "UNKNOWN");
}

static void what_may_succeed_elsewhere_is_retryable(void **state)
{
    (void)state;
    assert_true(status_is_retryable(STATUS_BUSY));
    assert_true(status_is_retryable(STATUS_UNCERTAIN));
    assert_true(status_is_retryable(STATUS_NOT_LEADER));
    assert_false(status_is_retryable(STATUS_OK));
    assert_false(status_is_retryable(STATUS_INVALID));
    assert_false(status_is_retryable(STATUS_DENIED));
}

static void an_error_is_cut_and_may_be_nowhere(void **state)
{
    (void)state;
    struct error error;
    char text[400];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(error_set(&error, STATUS_IO, "%s", text), STATUS_IO);
    assert_int_equal(error.status, STATUS_IO);
    assert_int_equal(strlen(error.text), ERROR_TEXT_BYTES - 1);
    assert_int_equal(error_set(NULL, STATUS_BUSY, "%s", text), STATUS_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_name_and_a_sentence),
        cmocka_unit_test(a_number_from_the_future_becomes_internal),
        cmocka_unit_test(what_may_succeed_elsewhere_is_retryable),
        cmocka_unit_test(an_error_is_cut_and_may_be_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
