#include "bench.h"

#include <stdlib.h>
#include <string.h>

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    bench_init(bench);
    bench_connect(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    bench_release(*state);
    free(*state);
    return 0;
}

static void both_sides_know_who_the_other_is(void **state)
{
    struct bench *bench = *state;
    const struct rpc_identity *listener = session_peer(bench->dialer.session);
    const struct rpc_identity *dialer = session_peer(bench->accepted.session);
    assert_string_equal(listener->name, "broker-2");
    assert_int_equal(listener->id, 2);
    assert_int_equal(listener->boot, 22);
    assert_int_equal(listener->role, RPC_ROLE_BROKER);
    assert_string_equal(dialer->name, "broker-1");
    assert_int_equal(dialer->boot, 11);
}

static void a_call_gets_its_reply_whatever_its_size(void **state)
{
    struct bench *bench = *state;
    static const size_t sizes[] = {
        0, 1, 100, 8191, 8192, 16384, 65500, 65536, 65624, 70000, 1 << 20, FRAME_ATTACHMENT_MAX,
    };
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct outcome outcome;
        assert_int_equal(bench_call(bench->dialer.session, &outcome, i, sizes[i], 0), STATUS_OK);
        assert_false(outcome.done);
        bench_until_done(bench, &outcome);
        assert_int_equal(outcome.status, STATUS_OK);
        assert_int_equal(outcome.offset, i);
        assert_int_equal(outcome.attachment_bytes, sizes[i]);
        assert_int_equal(bench->accepted.attachment.size, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++) {
            if (bench->accepted.attachment.data[at] != (uint8_t)(at * 7 + (at >> 8))) {
                fail_msg("byte %zu of %zu differs", at, sizes[i]);
            }
        }
    }
}

static void calls_go_both_ways(void **state)
{
    struct bench *bench = *state;
    struct outcome there, back;
    assert_int_equal(bench_call(bench->dialer.session, &there, 1, 10, 0), STATUS_OK);
    assert_int_equal(bench_call(bench->accepted.session, &back, 2, 10, 0), STATUS_OK);
    bench_until_done(bench, &there);
    bench_until_done(bench, &back);
    assert_int_equal(there.offset, 1);
    assert_int_equal(back.offset, 2);
}

static void many_calls_at_once_find_their_replies(void **state)
{
    struct bench *bench = *state;
    enum { CALLS = SESSION_CALLS_MAX };
    struct outcome *outcomes = calloc(CALLS + 1, sizeof(*outcomes));
    assert_non_null(outcomes);
    for (uint64_t i = 0; i < CALLS; i++) {
        assert_int_equal(bench_call(bench->dialer.session, &outcomes[i], i, i % 300, 60000),
                         STATUS_OK);
    }
    assert_int_equal(bench_call(bench->dialer.session, &outcomes[CALLS], 0, 0, 0), STATUS_BUSY);
    for (uint64_t i = 0; i < CALLS; i++) {
        bench_until_done(bench, &outcomes[i]);
        assert_int_equal(outcomes[i].status, STATUS_OK);
        assert_int_equal(outcomes[i].offset, i);
        assert_int_equal(outcomes[i].attachment_bytes, i % 300);
    }
    free(outcomes);
}

static void an_error_brings_its_sentence_and_hint(void **state)
{
    struct bench *bench = *state;
    struct outcome outcome;
    bench->accepted.answer = ANSWER_ERROR;
    assert_int_equal(bench_call(bench->dialer.session, &outcome, 0, 0, 0), STATUS_OK);
    bench_until_done(bench, &outcome);
    assert_int_equal(outcome.status, STATUS_NOT_LEADER);
    assert_string_equal(outcome.text, "shard 5 is elsewhere");
    assert_string_equal(outcome.hint, "broker-7");
}

static void a_stream_has_many_replies_and_one_last(void **state)
{
    struct bench *bench = *state;
    struct outcome outcome;
    bench->accepted.answer = ANSWER_STREAM;
    assert_int_equal(bench_call(bench->dialer.session, &outcome, 0, 1000, 0), STATUS_OK);
    bench_until_done(bench, &outcome);
    assert_int_equal(outcome.replies, 3);
    assert_int_equal(outcome.offset, 2);
}

static void a_call_that_is_late_times_out_and_is_cancelled_there(void **state)
{
    struct bench *bench = *state;
    struct outcome outcome;
    bench->accepted.answer = ANSWER_LATER;
    assert_int_equal(bench_call(bench->dialer.session, &outcome, 0, 0, 30), STATUS_OK);
    bench_until_done(bench, &outcome);
    assert_int_equal(outcome.status, STATUS_TIMEOUT);
    bench_until(bench, &bench->accepted.cancelled, 1);
    assert_true(bench->accepted.call->gone);
    session_reply(bench->accepted.call, (struct session_payload){0});
    bench_run_ms(bench, 20);
    assert_int_equal(outcome.replies, 1);
    assert_non_null(bench->dialer.session);
}

static void cancelling_tells_both_sides_and_not_from_inside(void **state)
{
    struct bench *bench = *state;
    struct outcome outcome;
    bench->accepted.answer = ANSWER_LATER;
    assert_int_equal(bench_call(bench->dialer.session, &outcome, 0, 0, 60000), STATUS_OK);
    bench_until(bench, &bench->accepted.called, 1);
    session_cancel(&outcome.request);
    session_cancel(&outcome.request);
    assert_false(outcome.done);
    bench_until_done(bench, &outcome);
    assert_int_equal(outcome.status, STATUS_CANCELLED);
    bench_until(bench, &bench->accepted.cancelled, 1);
    assert_int_equal(session_reply_more(bench->accepted.call, (struct session_payload){0}),
                     STATUS_UNAVAILABLE);
    session_reply(bench->accepted.call, (struct session_payload){0});
}

static void the_end_of_a_session_ends_its_calls(void **state)
{
    struct bench *bench = *state;
    struct outcome sent, unsent;
    bench->accepted.answer = ANSWER_LATER;
    assert_int_equal(bench_call(bench->dialer.session, &sent, 0, 0, 0), STATUS_OK);
    bench_until(bench, &bench->accepted.called, 1);
    assert_int_equal(bench_call(bench->dialer.session, &unsent, 0, 0, 0), STATUS_OK);
    struct session *session = bench->dialer.session;
    session_close(session, STATUS_CLOSING, "enough");
    session_close(session, STATUS_IO, "again");
    assert_int_equal(bench->dialer.closed, 0);
    assert_int_equal(bench_message(session, 1), STATUS_UNAVAILABLE);
    bench_until(bench, &bench->dialer.closed, 1);
    assert_int_equal(bench->dialer.why, STATUS_CLOSING);
    assert_int_equal(sent.status, STATUS_UNCERTAIN);
    assert_int_equal(unsent.status, STATUS_UNAVAILABLE);
    bench_until(bench, &bench->accepted.closed, 1);
    assert_int_equal(bench->accepted.why, STATUS_UNAVAILABLE);
    assert_int_equal(bench->accepted.cancelled, 1);
    assert_null(bench->accepted.call->session);
    session_reply_error(bench->accepted.call, STATUS_INTERNAL, NULL, "nobody hears");
}

/* A call whose end makes its owner give up another. */
struct pair {
    struct session_request first;
    struct outcome second;
    unsigned done;
};

static void on_first_done(struct session_request *request, const struct session_reply *reply)
{
    struct pair *pair = CONTAINER_OF(request, struct pair, first);
    assert_int_equal(reply->status, STATUS_UNCERTAIN);
    pair->done++;
    session_cancel(&pair->second.request);
}

static void one_ending_call_may_cancel_another(void **state)
{
    struct bench *bench = *state;
    struct pair pair = {0};
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    bench->accepted.answer = ANSWER_LATER;
    assert_int_equal(session_call(bench->dialer.session, RPC_RESOLVE,
                                  (struct session_payload){.body = &resolve.base}, 0, &pair.first,
                                  on_first_done),
                     STATUS_OK);
    bench_until(bench, &bench->accepted.called, 1);
    session_reply(bench->accepted.call, (struct session_payload){0});
    assert_int_equal(bench_call(bench->dialer.session, &pair.second, 0, 0, 0), STATUS_OK);
    session_close(bench->accepted.session, STATUS_CLOSING, "before the reply has left");
    bench_until(bench, &bench->dialer.closed, 1);
    assert_int_equal(pair.done, 1);
    assert_true(pair.second.done);
    assert_int_equal(pair.second.status, STATUS_CANCELLED);
}

static void messages_arrive_in_order(void **state)
{
    struct bench *bench = *state;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(bench_message(bench->dialer.session, i), STATUS_OK);
    }
    bench_until(bench, &bench->accepted.messaged, 1000);
    assert_int_equal(bench->accepted.attachment.size, 999);
}

static void what_is_too_large_is_refused_at_the_source(void **state)
{
    struct bench *bench = *state;
    struct outcome outcome;
    assert_int_equal(bench_message(bench->dialer.session, (size_t)FRAME_ATTACHMENT_MAX + 1),
                     STATUS_TOO_LARGE);
    assert_int_equal(
        bench_call(bench->dialer.session, &outcome, 0, (size_t)FRAME_ATTACHMENT_MAX + 1, 100),
        STATUS_TOO_LARGE);
    bench_run_ms(bench, 150);
    assert_false(outcome.done);
    assert_int_equal(bench_message(bench->dialer.session, 5), STATUS_OK);
    bench_until(bench, &bench->accepted.messaged, 1);
}

static void a_method_that_the_roles_forbid_is_not_even_sent(void **state)
{
    struct bench *bench = *state;
    assert_int_equal(session_send(bench->dialer.session, RPC_FENCE, (struct session_payload){0}),
                     STATUS_DENIED);
}

static void a_slow_reader_makes_busy_and_then_writable(void **state)
{
    struct bench *bench = *state;
    enum status status = STATUS_OK;
    unsigned sent = 0;
    /* Nobody runs the loop, so nobody reads. */
    while (status == STATUS_OK && sent < 100) {
        status = bench_message(bench->dialer.session, 4 << 20);
        sent += status == STATUS_OK;
    }
    assert_int_equal(status, STATUS_BUSY);
    assert_true(session_queued(bench->dialer.session) > SESSION_QUEUE_MAX);
    assert_true(session_queued(bench->dialer.session) < SESSION_QUEUE_MAX + (5 << 20));
    assert_int_equal(bench->dialer.writable, 0);
    bench_until(bench, &bench->dialer.writable, 1);
    assert_true(session_queued(bench->dialer.session) < SESSION_QUEUE_MAX / 2);
    bench_until(bench, &bench->accepted.messaged, sent);
    assert_int_equal(bench_message(bench->dialer.session, 1), STATUS_OK);
    bench_until(bench, &bench->accepted.messaged, sent + 1);
    assert_int_equal(bench->dialer.writable, 1);
}

static void both_sides_may_be_busy_and_neither_waits_for_ever(void **state)
{
    struct bench *bench = *state;
    struct session *sides[] = {bench->dialer.session, bench->accepted.session};
    unsigned sent[2] = {0};
    for (int i = 0; i < 2; i++) {
        while (bench_message(sides[i], 4 << 20) == STATUS_OK) {
            sent[i]++;
        }
    }
    bench_until(bench, &bench->accepted.messaged, sent[0]);
    bench_until(bench, &bench->dialer.messaged, sent[1]);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(both_sides_know_who_the_other_is),
        T(a_call_gets_its_reply_whatever_its_size),
        T(calls_go_both_ways),
        T(many_calls_at_once_find_their_replies),
        T(an_error_brings_its_sentence_and_hint),
        T(a_stream_has_many_replies_and_one_last),
        T(a_call_that_is_late_times_out_and_is_cancelled_there),
        T(cancelling_tells_both_sides_and_not_from_inside),
        T(the_end_of_a_session_ends_its_calls),
        T(one_ending_call_may_cancel_another),
        T(messages_arrive_in_order),
        T(what_is_too_large_is_refused_at_the_source),
        T(a_method_that_the_roles_forbid_is_not_even_sent),
        T(a_slow_reader_makes_busy_and_then_writable),
        T(both_sides_may_be_busy_and_neither_waits_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
