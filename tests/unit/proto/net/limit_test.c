#include "bench.h"

#include <stdlib.h>

#include "base/sources.h"

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);

    bench_init(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    bench_release(*state);
    free(*state);
    return 0;
}

/* Opens a listener with these limits and dials it so often; returns how many were served. */
static unsigned dialled(struct bench *bench, const struct net_source_limits *limits, unsigned count,
                        struct side *side)
{
    struct net_listener *listener = NULL;
    struct error error;
    struct side theirs = {0};
    struct session_options options = {.loop = bench->loop,
                                      .tls = bench->listener_tls,
                                      .boot = 1,
                                      .handlers = &bench_handlers,
                                      .data = &theirs};
    assert_int_equal(net_listener_open(&options, "127.0.0.1", 0, 100, &listener, &error),
                     STATUS_OK);
    assert_int_equal(net_listener_limit(listener, limits), STATUS_OK);
    uint16_t port = net_listener_port(listener);
    options.tls = bench->dialer_tls;
    options.data = side;
    for (unsigned i = 0; i < count; i++) {
        assert_non_null(session_dial(&options, "127.0.0.1", port, RPC_ROLE_BROKER, 2));
    }
    for (int i = 0; i < 60000 && side->opened + side->closed < count; i++) {
        bench_run_ms(bench, 1);
    }
    unsigned opened = side->opened;
    net_listener_close(listener);
    bench_until(bench, &side->closed, count);
    return opened;
}

static void one_address_may_have_only_so_many_connections(void **state)
{
    struct side side = {0};
    const struct net_source_limits limits = {.connections = 3};
    assert_int_equal(dialled(*state, &limits, 8, &side), 3);
}

static void one_address_may_make_only_so_many_connections_a_second(void **state)
{
    struct side side = {0};
    const struct net_source_limits limits = {.handshakes = 1};
    unsigned opened = dialled(*state, &limits, 20, &side);
    assert_in_range(opened, SOURCE_BURST_S, SOURCE_BURST_S + 5); /* a second may pass meanwhile */
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(one_address_may_have_only_so_many_connections),
        T(one_address_may_make_only_so_many_connections_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
