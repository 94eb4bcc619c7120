#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <pthread.h>

#include "base/rng.h"

/* ---- timers ---- */

enum { TIMERS = 500 };

struct alarm {
    struct net_timer timer;
    struct alarms *alarms;
};

struct alarms {
    struct net_loop *loop;
    struct alarm alarm[TIMERS];
    unsigned fired;
    uint64_t last_ms;
};

static void on_alarm(struct net_timer *timer)
{
    struct alarms *alarms = CONTAINER_OF(timer, struct alarm, timer)->alarms;
    assert_int_equal(timer->heap_index, 0);
    assert_true(timer->at_ms >= alarms->last_ms);
    assert_true(timer->at_ms <= net_now_ms(alarms->loop));
    alarms->last_ms = timer->at_ms;
    alarms->fired++;
}

static void timers_fire_in_order_and_stopped_ones_never(void **state)
{
    (void)state;
    struct alarms *alarms = calloc(1, sizeof(*alarms));
    struct rng rng;
    rng_init(&rng, 3);
    alarms->loop = net_loop_new(NULL);
    uint64_t now = net_now_ms(alarms->loop);
    unsigned stopped = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        alarms->alarm[i].alarms = alarms;
        assert_int_equal(net_timer_start(alarms->loop, &alarms->alarm[i].timer,
                                         now + rng_below(&rng, 60), on_alarm),
                         STATUS_OK);
    }
    for (size_t i = 0; i < TIMERS; i++) {
        if (rng_below(&rng, 3) == 0) {
            net_timer_stop(alarms->loop, &alarms->alarm[i].timer);
            net_timer_stop(alarms->loop, &alarms->alarm[i].timer);
            stopped++;
        } else if (rng_below(&rng, 2) == 0) {
            assert_int_equal(net_timer_start(alarms->loop, &alarms->alarm[i].timer,
                                             now + rng_below(&rng, 60), on_alarm),
                             STATUS_OK);
        }
    }
    for (int i = 0; i < 100000 && alarms->fired < TIMERS - stopped; i++) {
        (void)uv_run(net_loop_uv(alarms->loop), UV_RUN_ONCE);
    }
    assert_int_equal(alarms->fired, TIMERS - stopped);
    net_loop_free(alarms->loop);
    free(alarms);
}

/* ---- turns ---- */

struct turns {
    struct net_loop *loop;
    struct net_turn first, second;
    struct net_timer start;
    unsigned first_fired, second_fired;
};

static void on_first(struct net_turn *turn)
{
    struct turns *turns = CONTAINER_OF(turn, struct turns, first);
    turns->first_fired++;
    net_turn_schedule(turns->loop, &turns->second);
}

static void on_second(struct net_turn *turn)
{
    struct turns *turns = CONTAINER_OF(turn, struct turns, second);
    turns->second_fired++;
    if (turns->second_fired < 100) {
        net_turn_schedule(turns->loop, &turns->second); /* far beyond the rounds of one turn */
    } else {
        net_loop_stop(turns->loop);
    }
}

static void on_start(struct net_timer *timer)
{
    struct turns *turns = CONTAINER_OF(timer, struct turns, start);
    net_turn_schedule(turns->loop, &turns->first);
    net_turn_schedule(turns->loop, &turns->first);
    assert_int_equal(turns->first_fired, 0);
}

static void turns_run_once_at_the_end_and_none_is_forgotten(void **state)
{
    (void)state;
    struct turns turns = {.loop = net_loop_new(NULL)};
    net_turn_init(&turns.first, on_first);
    net_turn_init(&turns.second, on_second);
    assert_int_equal(
        net_timer_start(turns.loop, &turns.start, net_now_ms(turns.loop) + 1, on_start), STATUS_OK);
    net_loop_run(turns.loop);
    assert_int_equal(turns.first_fired, 1);
    assert_int_equal(turns.second_fired, 100);
    net_loop_free(turns.loop);
}

/* ---- mailboxes ---- */

enum { MAILS = 20000 };

struct post {
    struct net_loop *loop;
    struct net_mailbox *mailbox;
    unsigned received;
};

struct letter {
    struct net_mail mail;
    struct post *post;
    unsigned number;
};

static void on_letter(struct net_mail *mail)
{
    struct letter *letter = CONTAINER_OF(mail, struct letter, mail);
    assert_int_equal(letter->number, letter->post->received);
    if (++letter->post->received == MAILS) {
        net_loop_stop(letter->post->loop);
    }
    free(letter);
}

static void *send_letters(void *data)
{
    struct post *post = data;
    for (unsigned i = 0; i < MAILS; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        letter->post = post;
        letter->number = i;
        letter->mail.run = on_letter;
        net_mailbox_send(post->mailbox, &letter->mail);
    }
    return NULL;
}

static void mail_of_another_thread_arrives_in_order(void **state)
{
    (void)state;
    pthread_t thread;
    struct post post = {.loop = net_loop_new(NULL)};
    post.mailbox = net_mailbox_open(post.loop);
    assert_int_equal(pthread_create(&thread, NULL, send_letters, &post), 0);
    net_loop_run(post.loop);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(post.received, MAILS);
    net_mailbox_close(post.mailbox);
    net_loop_free(post.loop);
}

static void a_closing_mailbox_runs_what_is_left(void **state)
{
    (void)state;
    struct post post = {.loop = net_loop_new(NULL)};
    post.mailbox = net_mailbox_open(post.loop);
    struct letter *letter = calloc(1, sizeof(*letter));
    letter->post = &post;
    letter->mail.run = on_letter;
    net_mailbox_send(post.mailbox, &letter->mail);
    net_mailbox_close(post.mailbox);
    assert_int_equal(post.received, 0);
    net_loop_free(post.loop);
    assert_int_equal(post.received, 1);
}

/* ---- watches ---- */

struct watched {
    struct net_loop *loop;
    int fds[2];
    unsigned bytes;
};

static void on_ready(struct net_watch *watch, void *data)
{
    struct watched *watched = data;
    char byte;
    assert_int_equal(read(watched->fds[0], &byte, 1), 1);
    if (++watched->bytes == 3) {
        net_watch_close(watch);
        net_loop_stop(watched->loop);
    }
}

static void a_watch_tells_of_bytes(void **state)
{
    (void)state;
    struct watched watched = {.loop = net_loop_new(NULL)};
    assert_int_equal(pipe(watched.fds), 0);
    assert_non_null(net_watch_open(watched.loop, watched.fds[0], on_ready, &watched));
    assert_int_equal(write(watched.fds[1], "abc", 3), 3);
    net_loop_run(watched.loop);
    assert_int_equal(watched.bytes, 3);
    net_loop_free(watched.loop);
    (void)close(watched.fds[0]);
    (void)close(watched.fds[1]);
}

/* ---- a caller's loop ---- */

static void a_callers_loop_serves_as_well_and_stays_the_callers(void **state)
{
    (void)state;
    uv_loop_t uv;
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_int_equal(uv_loop_init(&uv), 0);
    bench_init(bench);
    /* The listener keeps the bench's loop; the dialler lives on the caller's, in this thread. */
    struct net_loop *loop = net_loop_new(&uv);
    struct session_options options = {
        .loop = loop,
        .tls = bench->dialer_tls,
        .handlers = &bench_handlers,
        .data = &bench->dialer,
    };
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0); /* an idle net_loop holds nobody up */
    assert_non_null(session_dial(&options, "127.0.0.1", bench->port, RPC_ROLE_BROKER, 2));
    for (int i = 0; i < 60000 && bench->dialer.opened == 0; i++) {
        (void)uv_run(&uv, UV_RUN_NOWAIT);
        bench_run_ms(bench, 1);
    }
    assert_int_equal(bench->dialer.opened, 1);
    session_close(bench->dialer.session, STATUS_CLOSING, "done");
    net_loop_free(loop);
    assert_int_equal(bench->dialer.closed, 1);
    assert_int_equal(uv_run(&uv, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&uv), 0);
    bench_release(bench);
    free(bench);
}

static void a_loop_may_be_stopped_before_it_runs(void **state)
{
    (void)state;
    struct net_loop *loop = net_loop_new(NULL);
    net_loop_stop(loop);
    net_loop_run(loop);
    net_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_stopped_ones_never),
        cmocka_unit_test(turns_run_once_at_the_end_and_none_is_forgotten),
        cmocka_unit_test(mail_of_another_thread_arrives_in_order),
        cmocka_unit_test(a_closing_mailbox_runs_what_is_left),
        cmocka_unit_test(a_watch_tells_of_bytes),
        cmocka_unit_test(a_callers_loop_serves_as_well_and_stays_the_callers),
        cmocka_unit_test(a_loop_may_be_stopped_before_it_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
