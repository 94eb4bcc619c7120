/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/trace.h"
#include "proto/net/log_sink.h"
#include "proto/net/pages.h"

struct bench {
    struct net_loop *loop;
    struct pages *pages;
    uint32_t asked;
};

static void answer(void *data, const char *path, struct page *out)
{
    struct bench *bench = data;
    bench->asked++;
    if (strcmp(path, "/ok") == 0) {
        out->status = 200;
        assert_int_equal(buf_append(&out->body, "body\n", 5), STATUS_OK);
    } else if (strcmp(path, "/not-ready") == 0) {
        out->status = 503;
    }
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    struct error error;
    assert_non_null(bench);
    bench->loop = net_loop_new(NULL);
    const struct pages_options options = {.loop = bench->loop, .answer = answer, .data = bench};
    assert_int_equal(pages_open(&options, "127.0.0.1:0", &bench->pages, &error), STATUS_OK);
    *state = bench;
    return 0;
}

static int tear_down(void **state)
{
    struct bench *bench = *state;
    pages_close(bench->pages);
    net_loop_free(bench->loop);
    free(bench);
    return 0;
}

static int dial(const struct bench *bench)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(pages_port(bench->pages)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Until the server closes the connection; `text` has room for 1024 bytes. */
static void finish(struct bench *bench, int fd, char *text)
{
    size_t size = 0;
    for (;;) {
        (void)uv_run(net_loop_uv(bench->loop), UV_RUN_NOWAIT);
        ssize_t got = recv(fd, text + size, 1023 - size, MSG_DONTWAIT);
        if (got == 0) {
            break;
        }
        size += got > 0 ? (size_t)got : 0;
        (void)usleep(1000);
    }
    text[size] = '\0';
    (void)close(fd);
}

static void ask(struct bench *bench, const char *request, char *text)
{
    int fd = dial(bench);
    assert_int_equal(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    finish(bench, fd, text);
}

static void pages_are_answered_and_the_connection_ends(void **state)
{
    struct bench *bench = *state;
    char text[1024];
    ask(bench, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n", text);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(text, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nbody\n"));
    ask(bench, "GET /not-ready HTTP/1.1\r\nHost: a\r\n\r\n", text);
    assert_non_null(strstr(text, "HTTP/1.1 503 "));
    ask(bench, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n", text);
    assert_non_null(strstr(text, "HTTP/1.1 404 "));
    assert_int_equal(bench->asked, 3);
    ask(bench, "PUT /ok HTTP/1.1\r\nHost: a\r\n\r\n", text);
    assert_non_null(strstr(text, "HTTP/1.1 405 "));
    assert_non_null(strstr(text, "\r\nAllow: GET\r\n"));
    assert_int_equal(bench->asked, 3);
}

static void who_comes_beyond_the_limit_is_turned_away(void **state)
{
    struct bench *bench = *state;
    char text[1024];
    int fd[PAGES_CONNECTIONS_MAX];
    for (uint32_t i = 0; i < PAGES_CONNECTIONS_MAX; i++) {
        fd[i] = dial(bench);
        for (int turn = 0; turn < 5; turn++) {
            (void)uv_run(net_loop_uv(bench->loop), UV_RUN_NOWAIT);
        }
    }
    finish(bench, dial(bench), text);
    assert_string_equal(text, "");
    assert_int_equal(send(fd[0], "GET /ok HTTP/1.0\r\n\r\n", 20, 0), 20);
    finish(bench, fd[0], text);
    assert_non_null(strstr(text, "200 OK"));
    for (uint32_t i = 1; i < PAGES_CONNECTIONS_MAX; i++) {
        (void)close(fd[i]);
    }
}

static void addresses_are_checked(void **state)
{
    struct bench *bench = *state;
    static const char *const bad[] = {"a:b",      ":9311",   "127.0.0.1:", "127.0.0.1:65536",
                                      "::1:9311", "[]:9311", "port"};
    const struct pages_options options = {.loop = bench->loop, .answer = answer, .data = bench};
    struct pages *pages = NULL;
    struct error error;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (pages_open(&options, bad[i], &pages, &error) != STATUS_INVALID) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
    assert_int_equal(pages_open(&options, "0", &pages, &error), STATUS_OK);
    pages_close(pages);
}

static void the_newest_lines_of_the_log_are_kept_whole(void **state)
{
    (void)state;
    struct buf log = {0};
    int out = dup(STDERR_FILENO), null = open("/dev/null", 1);
    (void)dup2(null, STDERR_FILENO);
    log_sink_install(LOG_TEXT);
    for (int i = 0; i < 10000; i++) {
        trace(TRACE_INFO, "test", "line %d, which is long enough to be dropped some day", i);
    }
    (void)dup2(out, STDERR_FILENO);
    (void)close(out);
    (void)close(null);
    assert_int_equal(log_recent(&log), STATUS_OK);
    assert_true(log.size > LOG_KEPT_BYTES / 2 && log.size <= LOG_KEPT_BYTES);
    assert_int_equal(log.data[0], '2'); /* of a year: the first line is whole */
    assert_int_equal(log.data[log.size - 1], '\n');
    assert_non_null(memmem(log.data, log.size, "line 9999,", 10));
    assert_null(memmem(log.data, log.size, "line 1,", 7));
    buf_release(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_are_answered_and_the_connection_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(who_comes_beyond_the_limit_is_turned_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(addresses_are_checked, set_up, tear_down),
        cmocka_unit_test(the_newest_lines_of_the_log_are_kept_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
