/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include "base/sources.h"

static struct source *connect_from(struct sources *sources, const char *address)
{
    struct source *source;
    assert_int_equal(sources_connect(sources, address, 2, &source), STATUS_OK);
    return source;
}

static void an_address_has_so_many_connections(void **state)
{
    (void)state;
    struct sources sources;
    struct source *more;
    sources_init(&sources, 1);
    struct source *a = connect_from(&sources, "10.0.0.1");
    assert_ptr_equal(connect_from(&sources, "10.0.0.1"), a);
    assert_int_equal(sources_connect(&sources, "10.0.0.1", 2, &more), STATUS_BUSY);
    struct source *b = connect_from(&sources, "10.0.0.2");
    assert_ptr_not_equal(a, b);
    sources_disconnect(a);
    assert_ptr_equal(connect_from(&sources, "10.0.0.1"), a);
    sources_disconnect(a);
    sources_disconnect(a);
    sources_disconnect(b);
    sources_release(&sources);
}

static void a_customers_whole_network_is_one_source(void **state)
{
    (void)state;
    struct sources sources;
    sources_init(&sources, 7);
    struct source *a = connect_from(&sources, "2001:db8:1:2:3:4:5:6");
    assert_ptr_equal(connect_from(&sources, "2001:db8:1:2::1"), a);
    struct source *b = connect_from(&sources, "2001:db8:1:3::1");
    assert_ptr_not_equal(a, b);
    sources_disconnect(a);
    sources_disconnect(a);
    sources_disconnect(b);
    sources_release(&sources);
}

static void a_source_stays_until_its_bytes_are_gone(void **state)
{
    (void)state;
    struct sources sources;
    sources_init(&sources, 0);
    struct source *a = connect_from(&sources, "10.0.0.1");
    sources_charge(a, 100);
    sources_disconnect(a);
    assert_int_equal(a->unverified, 100);
    assert_ptr_equal(connect_from(&sources, "10.0.0.1"), a);
    sources_discharge(a, 100);
    sources_disconnect(a);
    sources_release(&sources);
}

static uint32_t taken(struct source_rates *rates, const char *address, uint64_t now_ms)
{
    uint32_t count = 0;
    while (count < 10000 && source_rates_take(rates, 3, address, now_ms, 20)) {
        count++;
    }
    return count;
}

static void an_address_may_come_so_often_and_no_oftener(void **state)
{
    (void)state;
    struct source_rates *rates = calloc(1, sizeof(*rates));
    assert_non_null(rates);
    assert_int_equal(taken(rates, "10.0.0.1", 5), 20 * SOURCE_BURST_S);
    assert_int_equal(taken(rates, "10.0.0.1", 5), 0);
    assert_int_equal(taken(rates, "10.0.0.2", 5), 20 * SOURCE_BURST_S); /* not its fault */
    assert_int_equal(taken(rates, "10.0.0.1", 54), 0);
    assert_int_equal(taken(rates, "10.0.0.1", 55), 1);
    assert_int_equal(taken(rates, "10.0.0.1", 1055), 20);
    assert_int_equal(taken(rates, "10.0.0.1", UINT64_C(1) << 50), 20 * SOURCE_BURST_S);
    /* One customer's IPv6 addresses are one source. */
    assert_int_equal(taken(rates, "2001:db8:1:2::1", 5), 20 * SOURCE_BURST_S);
    assert_int_equal(taken(rates, "2001:db8:1:2:ffff::9", 5), 0);
    assert_int_equal(taken(rates, "2001:db8:1:3::1", 5), 20 * SOURCE_BURST_S);
    free(rates);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many_connections),
        cmocka_unit_test(a_customers_whole_network_is_one_source),
        cmocka_unit_test(a_source_stays_until_its_bytes_are_gone),
        cmocka_unit_test(an_address_may_come_so_often_and_no_oftener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
