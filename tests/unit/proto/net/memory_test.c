/* The n-th allocation of ours fails, for every n: nothing crashes, nothing leaks (under the address
 * sanitizer), and every call is answered one way or another. malloc and its family are wrapped by
 * the linker, so that only our code and the generated one are hit, not libuv and OpenSSL. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static unsigned until_failure; /* 0 = never */

static bool fails(void)
{
    return until_failure > 0 && --until_failure == 0;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return fails() ? NULL : __real_realloc(old, size);
}

struct story {
    unsigned opened, closed, called, done;
    struct session *session;
    struct session_request request;
    uint8_t *large;
};

enum { LARGE_BYTES = 200000 };

static void on_done(struct session_request *request, const struct session_reply *reply)
{
    struct story *story = CONTAINER_OF(request, struct story, request);
    CHECK(!reply->more);
    story->done++;
}

static void on_opened(struct session *session)
{
    struct story *story = session_data(session);
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    struct bytes piece = bytes_of(story->large, LARGE_BYTES);
    struct session_payload payload = {.body = &resolve.base, .pieces = &piece, .piece_count = 1};
    story->opened++;
    if (session_call(session, RPC_RESOLVE, payload, 2000, &story->request, on_done) != STATUS_OK) {
        story->done++;
    }
}

static void on_closed(struct session *session, const struct error *why)
{
    struct story *story = session_data(session);
    CHECK(why->status != STATUS_OK);
    story->closed++;
    story->session = NULL;
}

static void on_called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply(call, (struct session_payload){.pieces = &call->attachment, .piece_count = 1});
}

static const struct session_handlers dialer_handlers = {.opened = on_opened, .closed = on_closed};
static const struct session_handlers listener_handlers = {.called = on_called};

/* One connection and one large call, with the n-th allocation failing. Whether it was reached. */
static bool run_story(struct bench *bench, unsigned n)
{
    struct story story = {.large = calloc(1, LARGE_BYTES)};
    struct net_listener *listener = NULL;
    struct error error;
    struct session_options options = {
        .loop = net_loop_new(NULL), .tls = bench->listener_tls, .handlers = &listener_handlers};
    assert_int_equal(net_listener_open(&options, "127.0.0.1", 0, 5, &listener, &error), STATUS_OK);
    until_failure = n;
    options.tls = bench->dialer_tls;
    options.handlers = &dialer_handlers;
    options.data = &story;
    story.session =
        session_dial(&options, "127.0.0.1", net_listener_port(listener), RPC_ROLE_BROKER, 2);
    for (int i = 0; i < 100000 && story.session != NULL && story.done == 0; i++) {
        (void)uv_run(net_loop_uv(options.loop), UV_RUN_ONCE);
    }
    bool was_reached = until_failure == 0;
    until_failure = 0;
    if (story.session != NULL) {
        session_close(story.session, STATUS_CLOSING, "over");
    }
    net_listener_close(listener);
    net_loop_free(options.loop);
    assert_null(story.session);
    assert_int_equal(story.done, story.opened);
    free(story.large);
    return was_reached;
}

static void any_allocation_may_fail(void **state)
{
    struct bench bench;
    (void)state;
    bench_init(&bench);
    unsigned n = 1;
    while (run_story(&bench, n)) {
        n++;
    }
    assert_in_range(n, 10, 1000);
    bench_release(&bench);
}

static void a_loop_may_find_no_memory(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 2; n++) {
        until_failure = n;
        assert_null(net_loop_new(NULL));
    }
    until_failure = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_loop_may_find_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
