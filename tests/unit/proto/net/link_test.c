#include "bench.h"

#include <stdlib.h>
#include <string.h>

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

static struct net_link *open_link(struct bench *bench, uint16_t port)
{
    struct session_options options = {
        .loop = bench->loop,
        .tls = bench->dialer_tls,
        .boot = 11,
        .handlers = &bench_handlers,
        .data = &bench->dialer,
    };
    struct net_link *link = net_link_open(&options, "127.0.0.1", port, RPC_ROLE_BROKER, 2);
    assert_non_null(link);
    return link;
}

static void open_listener(struct bench *bench, uint16_t port)
{
    struct error error;
    struct session_options options = {
        .loop = bench->loop,
        .tls = bench->listener_tls,
        .boot = 23,
        .handlers = &bench_handlers,
        .data = &bench->accepted,
    };
    assert_int_equal(net_listener_open(&options, "127.0.0.1", port, 10, &bench->listener, &error),
                     STATUS_OK);
}

static void a_link_comes_back_when_the_listener_does(void **state)
{
    struct bench *bench = *state;
    struct net_link *link = open_link(bench, bench->port);
    assert_null(net_link_session(link));
    bench_until(bench, &bench->dialer.opened, 1);
    assert_non_null(net_link_session(link));
    assert_ptr_equal(net_link_session(link), bench->dialer.session);

    net_listener_close(bench->listener);
    bench_until(bench, &bench->dialer.closed, 3);
    assert_null(net_link_session(link));
    open_listener(bench, bench->port);
    bench_until(bench, &bench->dialer.opened, 2);
    assert_int_equal(session_peer(net_link_session(link))->boot, 23);

    unsigned closed = bench->dialer.closed;
    net_link_close(link);
    bench_until(bench, &bench->dialer.closed, closed + 1);
    bench_run_ms(bench, 100);
    assert_int_equal(bench->dialer.opened, 2);
    assert_int_equal(bench->dialer.closed, closed + 1);
}

static void a_link_waits_longer_and_longer_for_who_does_not_come(void **state)
{
    struct bench *bench = *state;
    uint16_t port = bench->port;
    net_listener_close(bench->listener);
    bench->listener = NULL;
    struct net_link *link = open_link(bench, port);
    bench_run_ms(bench, 700);
    /* 20, 40, 80, 160, 320, 640 ms, each at least half: between 6 and 10 attempts. */
    assert_in_range(bench->dialer.closed, 4, 11);
    assert_int_equal(bench->dialer.why, STATUS_UNAVAILABLE);
    assert_non_null(strstr(bench->dialer.why_text, "refused"));
    net_link_close(link);
    open_listener(bench, 0);
}

static void a_link_to_nobody_may_be_closed_at_once(void **state)
{
    struct bench *bench = *state;
    struct net_link *link = open_link(bench, bench->port);
    net_link_close(link);
    bench_run_ms(bench, 20);
    assert_int_equal(bench->dialer.opened, 0);
    assert_int_equal(bench->dialer.closed, 0);
}

static void a_session_that_lived_long_is_redialled_at_once(void **state)
{
    struct bench *bench = *state;
    struct net_link *link = open_link(bench, bench->port);
    bench_until(bench, &bench->dialer.opened, 1);
    uint64_t took_ms = UINT64_MAX;
    /* Once of a few times: the machine may be slow. */
    for (unsigned opened = 2; took_ms > 500 && opened < 12; opened++) {
        bench_run_ms(bench, 1100);
        uint64_t before = net_now_ms(bench->loop);
        session_close(bench->accepted.session, STATUS_CLOSING, "goodbye");
        bench_until(bench, &bench->dialer.opened, opened);
        took_ms = net_now_ms(bench->loop) - before;
    }
    assert_in_range(took_ms, 0, 500);
    net_link_close(link);
}

static void a_link_moves_to_another_address(void **state)
{
    struct bench *bench = *state;
    struct net_listener *first = bench->listener;
    uint16_t first_port = bench->port;
    open_listener(bench, 0);
    struct net_link *link = open_link(bench, first_port);
    bench_until(bench, &bench->dialer.opened, 1);
    assert_int_equal(session_peer(net_link_session(link))->boot, 22);
    net_link_move(link, "127.0.0.1", first_port);
    net_link_move(link, bench_own_name(), net_listener_port(bench->listener));
    bench_until(bench, &bench->dialer.opened, 2);
    assert_int_equal(session_peer(net_link_session(link))->boot, 23);
    net_listener_close(first);
    net_link_close(link);
}

static void a_name_that_nobody_has_is_told(void **state)
{
    struct bench *bench = *state;
    struct session_options options = {
        .loop = bench->loop,
        .tls = bench->dialer_tls,
        .handlers = &bench_handlers,
        .data = &bench->dialer,
    };
    assert_non_null(session_dial(&options, "no such host.invalid", 1, RPC_ROLE_BROKER, 0));
    bench_until(bench, &bench->dialer.closed, 1);
    assert_int_equal(bench->dialer.why, STATUS_UNAVAILABLE);
    assert_non_null(strstr(bench->dialer.why_text, "cannot be resolved"));
    /* And closing while the name is being looked up. */
    struct session *session = session_dial(&options, "no such host.invalid", 1, RPC_ROLE_BROKER, 0);
    session_close(session, STATUS_CLOSING, "changed our mind");
    bench_until(bench, &bench->dialer.closed, 2);
    assert_int_equal(bench->dialer.why, STATUS_CLOSING);
}

static void each_open_session_of_a_listener_is_visited(struct session *session, void *context)
{
    unsigned *count = context;
    assert_true(session_is_open(session));
    (*count)++;
}

static void a_listener_knows_its_sessions(void **state)
{
    struct bench *bench = *state;
    unsigned count = 0;
    bench_connect(bench);
    net_listener_each(bench->listener, each_open_session_of_a_listener_is_visited, &count);
    assert_int_equal(count, 1);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_link_comes_back_when_the_listener_does),
        T(a_link_waits_longer_and_longer_for_who_does_not_come),
        T(a_link_to_nobody_may_be_closed_at_once),
        T(a_session_that_lived_long_is_redialled_at_once),
        T(a_link_moves_to_another_address),
        T(a_name_that_nobody_has_is_told),
        T(a_listener_knows_its_sessions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
