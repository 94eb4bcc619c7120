#include "bench.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

enum { WAIT_MS = 60000 };

static struct side *side_of(struct session *session)
{
    return session_data(session);
}

static void on_opened(struct session *session)
{
    struct side *side = side_of(session);
    side->opened++;
    side->session = session;
}

static void on_closed(struct session *session, const struct error *why)
{
    struct side *side = side_of(session);
    side->closed++;
    side->session = NULL;
    side->why = why->status;
    memcpy(side->why_text, why->text, sizeof(side->why_text));
}

static void keep(struct side *side, struct bytes attachment)
{
    uint8_t *copy = malloc(attachment.size + 1);
    CHECK(copy != NULL);
    if (attachment.size > 0) {
        memcpy(copy, attachment.data, attachment.size);
    }
    free((void *)(uintptr_t)side->attachment.data);
    side->attachment = bytes_of(copy, attachment.size);
}

static void on_messaged(struct session *session, enum rpc_method method, struct bytes body,
                        struct bytes attachment)
{
    (void)body;
    CHECK(method == RPC_PING || method == RPC_APPEND);
    side_of(session)->messaged++;
    keep(side_of(session), attachment);
}

static void on_cancelled(struct session_call *call)
{
    struct side *side = call->data;
    side->cancelled++;
}

static void reply_position(struct session_call *call, uint64_t offset, struct bytes attachment,
                           bool more)
{
    Weir__Position position = WEIR__POSITION__INIT;
    position.offset = offset;
    struct session_payload payload = {
        .body = &position.base,
        .pieces = &attachment,
        .piece_count = 1,
    };
    if (more) {
        CHECK(session_reply_more(call, payload) == STATUS_OK);
    } else {
        session_reply(call, payload);
    }
}

static void on_called(struct session *session, struct session_call *call)
{
    struct side *side = side_of(session);
    side->called++;
    keep(side, call->attachment);
    Weir__Resolve *resolve = weir__resolve__unpack(NULL, call->body.size, call->body.data);
    CHECK(resolve != NULL);
    uint64_t offset = resolve->offset;
    weir__resolve__free_unpacked(resolve, NULL);
    switch (side->answer) {
    case ANSWER_ECHO:
        reply_position(call, offset, call->attachment, false);
        return;
    case ANSWER_LATER:
        call->data = side;
        call->cancelled = on_cancelled;
        side->call = call;
        return;
    case ANSWER_ERROR:
        session_reply_error(call, STATUS_NOT_LEADER, "broker-7", "shard %d is elsewhere", 5);
        return;
    case ANSWER_STREAM:
        for (uint64_t i = 0; i < 3; i++) {
            reply_position(call, i, call->attachment, i < 2);
        }
        return;
    }
}

static void on_writable(struct session *session)
{
    side_of(session)->writable++;
}

const struct session_handlers bench_handlers = {
    .opened = on_opened,
    .called = on_called,
    .messaged = on_messaged,
    .writable = on_writable,
    .closed = on_closed,
};

static struct session_options options_of(struct bench *bench, struct net_tls *tls, uint64_t boot,
                                         struct side *side)
{
    return (struct session_options){
        .loop = bench->loop,
        .tls = tls,
        .boot = boot,
        .handlers = &bench_handlers,
        .data = side,
    };
}

void bench_init(struct bench *bench)
{
    *bench = (struct bench){0};
    certs_init(&bench->certs);
    bench->loop = net_loop_new(NULL);
    assert_non_null(bench->loop);
    bench->dialer_tls = certs_tls(&bench->certs, CLUSTER_ONE, "broker", "broker-1");
    bench->listener_tls = certs_tls(&bench->certs, CLUSTER_ONE, "broker", "broker-2");
    struct session_options options = options_of(bench, bench->listener_tls, 22, &bench->accepted);
    struct error error;
    assert_int_equal(net_listener_open(&options, "127.0.0.1", 0, 100, &bench->listener, &error),
                     STATUS_OK);
    bench->port = net_listener_port(bench->listener);
}

void bench_release(struct bench *bench)
{
    if (bench->dialer.session != NULL) {
        session_close(bench->dialer.session, STATUS_CLOSING, "the test is over");
    }
    net_listener_close(bench->listener);
    net_loop_free(bench->loop);
    net_tls_close(bench->dialer_tls);
    net_tls_close(bench->listener_tls);
    free((void *)(uintptr_t)bench->dialer.attachment.data);
    free((void *)(uintptr_t)bench->accepted.attachment.data);
    certs_release(&bench->certs);
}

struct session *bench_dial(struct bench *bench, struct net_tls *tls, enum rpc_role role,
                           uint32_t id)
{
    struct session_options options = options_of(bench, tls, 11, &bench->dialer);
    struct session *session = session_dial(&options, "127.0.0.1", bench->port, role, id);
    assert_non_null(session);
    return session;
}

void bench_connect(struct bench *bench)
{
    (void)bench_dial(bench, bench->dialer_tls, RPC_ROLE_BROKER, 2);
    bench_until(bench, &bench->dialer.opened, 1);
    bench_until(bench, &bench->accepted.opened, 1);
}

void bench_connect_to(struct bench *bench, const char *host, struct side *accepted)
{
    struct session_options options = options_of(bench, bench->dialer_tls, 11, &bench->dialer);
    assert_non_null(session_dial(&options, host, bench->port, RPC_ROLE_BROKER, 2));
    bench_until(bench, &bench->dialer.opened, 1);
    bench_until(bench, &accepted->opened, 1);
}

struct guard {
    struct net_timer timer;
    bool rang;
};

static void on_guard(struct net_timer *timer)
{
    CONTAINER_OF(timer, struct guard, timer)->rang = true;
}

void bench_until(struct bench *bench, const unsigned *what, unsigned count)
{
    struct guard guard = {0};
    uv_update_time(net_loop_uv(bench->loop));
    assert_int_equal(
        net_timer_start(bench->loop, &guard.timer, net_now_ms(bench->loop) + WAIT_MS, on_guard),
        STATUS_OK);
    while (*what < count && !guard.rang) {
        (void)uv_run(net_loop_uv(bench->loop), UV_RUN_ONCE);
    }
    net_timer_stop(bench->loop, &guard.timer);
    assert_true(*what >= count);
}

void bench_until_done(struct bench *bench, const struct outcome *outcome)
{
    for (int i = 0; i < WAIT_MS && !outcome->done; i++) {
        bench_run_ms(bench, 1);
    }
    assert_true(outcome->done);
}

void bench_run_ms(struct bench *bench, unsigned ms)
{
    struct guard guard = {0};
    uv_update_time(net_loop_uv(bench->loop));
    assert_int_equal(
        net_timer_start(bench->loop, &guard.timer, net_now_ms(bench->loop) + ms, on_guard),
        STATUS_OK);
    while (!guard.rang) {
        (void)uv_run(net_loop_uv(bench->loop), UV_RUN_ONCE);
    }
}

void bench_done(struct session_request *request, const struct session_reply *reply)
{
    struct outcome *outcome = CONTAINER_OF(request, struct outcome, request);
    assert_false(outcome->done);
    outcome->replies++;
    outcome->done = !reply->more;
    outcome->status = reply->status;
    outcome->attachment_bytes = reply->attachment.size;
    if (reply->status != STATUS_OK) {
        (void)snprintf(outcome->text, sizeof(outcome->text), "%s", reply->error.text);
        (void)snprintf(outcome->hint, sizeof(outcome->hint), "%s", reply->hint);
        return;
    }
    Weir__Position *position = weir__position__unpack(NULL, reply->body.size, reply->body.data);
    assert_non_null(position);
    outcome->offset = position->offset;
    weir__position__free_unpacked(position, NULL);
}

static struct bytes pattern(size_t bytes)
{
    uint8_t *data = malloc(bytes + 1);
    CHECK(data != NULL);
    for (size_t i = 0; i < bytes; i++) {
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    return bytes_of(data, bytes);
}

enum status bench_call(struct session *session, struct outcome *outcome, uint64_t offset,
                       size_t bytes, uint32_t timeout_ms)
{
    struct bytes attachment = pattern(bytes);
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    resolve.offset = offset;
    struct session_payload payload = {
        .body = &resolve.base,
        .pieces = &attachment,
        .piece_count = 1,
    };
    *outcome = (struct outcome){0};
    enum status status =
        session_call(session, RPC_RESOLVE, payload, timeout_ms, &outcome->request, bench_done);
    free((void *)(uintptr_t)attachment.data);
    return status;
}

enum status bench_message(struct session *session, size_t bytes)
{
    struct bytes attachment = pattern(bytes);
    Weir__Append append = WEIR__APPEND__INIT;
    struct session_payload payload = {
        .body = &append.base,
        .pieces = &attachment,
        .piece_count = 1,
    };
    enum status status = session_send(session, RPC_APPEND, payload);
    free((void *)(uintptr_t)attachment.data);
    return status;
}

const char *bench_own_name(void)
{
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &found) != 0) {
        return "127.0.0.1";
    }
    freeaddrinfo(found);
    return "localhost";
}
