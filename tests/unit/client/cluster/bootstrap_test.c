/* The list of controllers; and names of things in the public interface. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/bootstrap.h"

static void a_list_is_taken_apart(void **state)
{
    (void)state;
    struct endpoint endpoints[BOOTSTRAP_MAX];
    size_t count;
    struct error error;
    assert_int_equal(
        bootstrap_parse("127.0.0.1:7001, host.example:65535 [::1]:1,", endpoints, &count, &error),
        STATUS_OK);
    assert_int_equal(count, 3);
    assert_string_equal(endpoints[0].host, "127.0.0.1");
    assert_int_equal(endpoints[0].port, 7001);
    assert_string_equal(endpoints[1].host, "host.example");
    assert_int_equal(endpoints[1].port, 65535);
    assert_string_equal(endpoints[2].host, "::1");
}

static void mistakes_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      " ,",        "host",       "host:",    "host:0",
                                      ":7001", "a:65536",   "a:7001x",    "::1:7001", "a:-1",
                                      "a:7,b", "[::1]7001", "a:000007001"};
    struct endpoint endpoints[BOOTSTRAP_MAX];
    size_t count;
    struct error error;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        error.text[0] = '\0';
        assert_int_equal(bootstrap_parse(bad[i], endpoints, &count, &error), STATUS_INVALID);
        assert_true(error.text[0] != '\0');
    }
}

static void there_is_a_limit(void **state)
{
    (void)state;
    char text[BOOTSTRAP_MAX * 8 + 8] = "";
    struct endpoint endpoints[BOOTSTRAP_MAX];
    size_t count;
    struct error error;
    for (int i = 0; i < BOOTSTRAP_MAX; i++) {
        strncat(text, "h:7001,", sizeof(text) - strlen(text) - 1);
    }
    assert_int_equal(bootstrap_parse(text, endpoints, &count, &error), STATUS_OK);
    assert_int_equal(count, BOOTSTRAP_MAX);
    strncat(text, "h:7001", sizeof(text) - strlen(text) - 1);
    assert_int_equal(bootstrap_parse(text, endpoints, &count, &error), STATUS_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_taken_apart),
        cmocka_unit_test(mistakes_are_told),
        cmocka_unit_test(there_is_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
