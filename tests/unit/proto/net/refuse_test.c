#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/trace.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/frame.h"

static void swallow(enum trace_level level, const char *part, const char *text)
{
    (void)level;
    (void)part;
    (void)text;
}

static int set_up(void **state)
{
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    trace_set_sink(swallow);
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

/* Dials with this certificate and checks how both sides tell of the end. */
static void expect_refusal(struct bench *bench, struct net_tls *tls, enum rpc_role role,
                           uint32_t id, enum status dialer_why, enum status listener_why)
{
    (void)bench_dial(bench, tls, role, id);
    bench_until(bench, &bench->dialer.closed, 1);
    bench_until(bench, &bench->accepted.closed, 1);
    assert_int_equal(bench->dialer.opened, 0);
    assert_int_equal(bench->accepted.opened, 0);
    assert_string_equal(status_name(bench->dialer.why), status_name(dialer_why));
    assert_string_equal(status_name(bench->accepted.why), status_name(listener_why));
}

static void a_certificate_of_another_authority_is_refused_by_the_dialler(void **state)
{
    struct bench *bench = *state;
    struct certs other;
    certs_init(&other);
    struct net_tls *tls = certs_tls(&other, CLUSTER_ONE, "broker", "broker-1");
    expect_refusal(bench, tls, RPC_ROLE_BROKER, 2, STATUS_DENIED, STATUS_DENIED);
    assert_non_null(strstr(bench->dialer.why_text, "a certificate that we do not accept"));
    assert_non_null(strstr(bench->accepted.why_text, "refused our certificate"));
    net_tls_close(tls);
    certs_release(&other);
}

static void a_certificate_of_another_authority_is_refused_by_the_listener(void **state)
{
    struct bench *bench = *state;
    struct certs other;
    struct net_tls *tls = NULL;
    struct error error;
    certs_init(&other);
    certs_make(&other, "broker-1", "spiffe://" CLUSTER_ONE "/broker/broker-1",
               (struct certs_dates){-3600, 3600});
    /* It trusts the listener's authority, but the listener does not trust its own. */
    assert_int_equal(certs_open(&other, &bench->certs, "broker-1", &tls, &error), STATUS_OK);
    expect_refusal(bench, tls, RPC_ROLE_BROKER, 2, STATUS_DENIED, STATUS_DENIED);
    assert_non_null(strstr(bench->accepted.why_text, "a certificate that we do not accept"));
    assert_non_null(strstr(bench->dialer.why_text, "refused our certificate"));
    net_tls_close(tls);
    certs_release(&other);
}

static void another_cluster_is_refused(void **state)
{
    struct bench *bench = *state;
    struct net_tls *tls = certs_tls(&bench->certs, CLUSTER_TWO, "broker", "broker-1");
    expect_refusal(bench, tls, RPC_ROLE_BROKER, 2, STATUS_WRONG_CLUSTER, STATUS_UNAVAILABLE);
    net_tls_close(tls);
}

static void somebody_else_at_the_address_is_refused(void **state)
{
    struct bench *bench = *state;
    expect_refusal(bench, bench->dialer_tls, RPC_ROLE_BROKER, 3, STATUS_WRONG_IDENTITY,
                   STATUS_UNAVAILABLE);
    assert_non_null(strstr(bench->dialer.why_text, "we expected broker-3 there"));
}

static void another_role_at_the_address_is_refused(void **state)
{
    struct bench *bench = *state;
    expect_refusal(bench, bench->dialer_tls, RPC_ROLE_CONTROLLER, 0, STATUS_WRONG_IDENTITY,
                   STATUS_UNAVAILABLE);
    assert_non_null(strstr(bench->dialer.why_text, "we expected controller there"));
}

static void an_expired_certificate_is_not_even_opened(void **state)
{
    struct bench *bench = *state;
    struct net_tls *tls = NULL;
    struct error error;
    certs_make(&bench->certs, "old", "spiffe://" CLUSTER_ONE "/broker/broker-1",
               (struct certs_dates){-7200, -3600});
    assert_int_equal(certs_open(&bench->certs, &bench->certs, "old", &tls, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "has expired"));
    certs_make(&bench->certs, "new", "spiffe://" CLUSTER_ONE "/broker/broker-1",
               (struct certs_dates){3600, 7200});
    assert_int_equal(certs_open(&bench->certs, &bench->certs, "new", &tls, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "not valid yet"));
}

static void bad_files_are_named(void **state)
{
    struct bench *bench = *state;
    struct net_tls *tls = NULL;
    struct error error;
    assert_int_equal(certs_open(&bench->certs, &bench->certs, "missing", &tls, &error),
                     STATUS_INVALID);
    assert_non_null(strstr(error.text, "missing.pem"));
    certs_make(&bench->certs, "plain", NULL, (struct certs_dates){-3600, 3600});
    assert_int_equal(certs_open(&bench->certs, &bench->certs, "plain", &tls, &error),
                     STATUS_INVALID);
    assert_non_null(strstr(error.text, "SAN URI"));
    certs_make(&bench->certs, "odd", "spiffe://x/broker/broker-1",
               (struct certs_dates){-3600, 3600});
    assert_int_equal(certs_open(&bench->certs, &bench->certs, "odd", &tls, &error), STATUS_INVALID);
    char cert[2 * CERTS_PATH_BYTES], key[2 * CERTS_PATH_BYTES], ca[2 * CERTS_PATH_BYTES];
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", bench->certs.dir);
    (void)snprintf(cert, sizeof(cert), "%s/broker-1.pem", bench->certs.dir);
    (void)snprintf(key, sizeof(key), "%s/broker-2.key", bench->certs.dir);
    assert_int_equal(net_tls_open(ca, cert, key, &tls, &error), STATUS_INVALID);
    assert_non_null(strstr(error.text, "broker-2.key"));
}

/* ---- a hostile other side, with blocking sockets of its own ---- */

static int raw_connect(struct bench *bench)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(bench->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void garbage_instead_of_tls_ends_the_connection_only(void **state)
{
    struct bench *bench = *state;
    static const char *const garbage[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "\x16\x03\x01\xff\xff\x01garbage that claims to be a hello",
        "\x00\x00\x00\x00\x00\x00\x00\x00",
    };
    static const size_t sizes[] = {27, 38, 8};
    for (unsigned i = 0; i < 3; i++) {
        int fd = raw_connect(bench);
        assert_int_equal(write(fd, garbage[i], sizes[i]), (ssize_t)sizes[i]);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        bench_until(bench, &bench->accepted.closed, i + 1);
        assert_int_equal(close(fd), 0);
    }
    bench_connect(bench);
}

static void a_half_open_connection_is_noticed(void **state)
{
    struct bench *bench = *state;
    int fd = raw_connect(bench);
    bench_run_ms(bench, 20);
    assert_int_equal(bench->accepted.closed, 0);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    bench_until(bench, &bench->accepted.closed, 1);
    assert_int_equal(bench->accepted.why, STATUS_UNAVAILABLE);
    assert_int_equal(close(fd), 0);
}

/* A TLS client with a good certificate that then sends what it likes. */
struct hostile {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
};

static void hostile_open(struct bench *bench, struct hostile *hostile)
{
    char path[2 * CERTS_PATH_BYTES];
    hostile->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(hostile->ctx);
    (void)snprintf(path, sizeof(path), "%s/broker-1.pem", bench->certs.dir);
    assert_int_equal(SSL_CTX_use_certificate_file(hostile->ctx, path, SSL_FILETYPE_PEM), 1);
    (void)snprintf(path, sizeof(path), "%s/broker-1.key", bench->certs.dir);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(hostile->ctx, path, SSL_FILETYPE_PEM), 1);
    hostile->fd = raw_connect(bench);
    struct timeval brief = {.tv_usec = 2000};
    assert_int_equal(setsockopt(hostile->fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief)), 0);
    hostile->ssl = SSL_new(hostile->ctx);
    assert_non_null(hostile->ssl);
    assert_int_equal(SSL_set_fd(hostile->ssl, hostile->fd), 1);
    for (int i = 0; i < 60000 && SSL_connect(hostile->ssl) != 1; i++) {
        bench_run_ms(bench, 1);
    }
    assert_int_equal(SSL_is_init_finished(hostile->ssl), 1);
}

static void hostile_send(struct hostile *hostile, const void *data, size_t size)
{
    size_t written = 0;
    assert_int_equal(SSL_write_ex(hostile->ssl, data, size, &written), 1);
    assert_int_equal(written, size);
}

static void hostile_hello_range(struct hostile *hostile, const char *name, uint32_t from,
                                uint32_t to)
{
    uint8_t cluster[CLUSTER_ID_BYTES], frame[512];
    char name_copy[64], software[] = "hostile";
    assert_int_equal(rpc_cluster_id_parse(CLUSTER_ONE, cluster), STATUS_OK);
    (void)snprintf(name_copy, sizeof(name_copy), "%s", name);
    Weir__Hello hello;
    weir__hello__init(&hello);
    hello.cluster.data = cluster;
    hello.cluster.len = sizeof(cluster);
    hello.name = name_copy;
    hello.protocol_min = from;
    hello.protocol_max = to;
    hello.software = software;
    size_t size = weir__hello__pack(&hello, frame + FRAME_HEADER_BYTES);
    struct frame_header h = {
        .kind = FRAME_CALL, .call = 1, .method = RPC_HELLO, .body_bytes = (uint32_t)size};
    frame_encode(&h, frame);
    hostile_send(hostile, frame, FRAME_HEADER_BYTES + size);
}

static void hostile_hello(struct hostile *hostile, const char *name, uint32_t version)
{
    hostile_hello_range(hostile, name, version, version);
}

/* The status of the reply that it gets. */
static enum status hostile_reply(struct bench *bench, struct hostile *hostile)
{
    uint8_t frame[4096];
    size_t size = 0;
    for (int i = 0; i < 60000; i++) {
        bench_run_ms(bench, 1);
        if (SSL_read_ex(hostile->ssl, frame, sizeof(frame), &size) == 1) {
            struct frame_header h;
            assert_int_equal(frame_parse(bytes_of(frame, size), &h), STATUS_OK);
            assert_int_equal(h.kind, FRAME_REPLY);
            return status_from_wire(h.status);
        }
    }
    fail_msg("no reply came");
    return STATUS_TIMEOUT;
}

static void hostile_close(struct hostile *hostile)
{
    SSL_free(hostile->ssl);
    SSL_CTX_free(hostile->ctx);
    assert_int_equal(close(hostile->fd), 0);
}

static void expect_end(struct bench *bench, struct hostile *hostile, enum status why)
{
    uint8_t byte;
    size_t size;
    /* It reads to the end, as a sound program would; the listener may be lingering for that. */
    for (int i = 0; i < 60000 && bench->accepted.closed == 0; i++) {
        bench_run_ms(bench, 1);
        if (SSL_read_ex(hostile->ssl, &byte, 1, &size) != 1 &&
            SSL_get_error(hostile->ssl, 0) == SSL_ERROR_ZERO_RETURN) {
            (void)shutdown(hostile->fd, SHUT_WR);
        }
    }
    assert_int_equal(bench->accepted.closed, 1);
    assert_string_equal(status_name(bench->accepted.why), status_name(why));
    hostile_close(hostile);
}

static void a_name_that_is_not_the_certificates_is_refused(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    hostile_open(bench, &hostile);
    hostile_hello(&hostile, "broker-9", 1);
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_WRONG_IDENTITY);
    expect_end(bench, &hostile, STATUS_WRONG_IDENTITY);
}

static void a_protocol_of_the_future_is_refused(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    hostile_open(bench, &hostile);
    hostile_hello(&hostile, "broker-1", 7);
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_UNSUPPORTED);
    expect_end(bench, &hostile, STATUS_UNSUPPORTED);
}

/* The release after this one speaks ours, too: the newest version that both know counts. */
static void a_newer_release_is_spoken_to_as_before(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    hostile_open(bench, &hostile);
    hostile_hello_range(&hostile, "broker-1", FORMAT_PROTOCOL, FORMAT_PROTOCOL + 1);
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_OK);
    assert_int_equal(session_protocol(bench->accepted.session), FORMAT_PROTOCOL);
    assert_string_equal(session_software(bench->accepted.session), "hostile");
    assert_int_equal(session_commands(bench->accepted.session), 1); /* it does not say */
    assert_int_equal(SSL_shutdown(hostile.ssl), 0);
    expect_end(bench, &hostile, STATUS_UNAVAILABLE);
}

static void anything_before_hello_ends_the_connection(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES];
    struct frame_header h = {.kind = FRAME_MESSAGE, .method = RPC_PING};
    hostile_open(bench, &hostile);
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    expect_end(bench, &hostile, STATUS_CORRUPT);
    assert_int_equal(bench->accepted.messaged, 0);
}

/* Past HELLO, as broker-1. */
static void hostile_enter(struct bench *bench, struct hostile *hostile)
{
    hostile_open(bench, hostile);
    hostile_hello(hostile, "broker-1", 1);
    assert_int_equal(hostile_reply(bench, hostile), STATUS_OK);
}

static void a_bad_frame_ends_the_connection(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES];
    memset(frame, 'x', sizeof(frame));
    hostile_enter(bench, &hostile);
    hostile_send(&hostile, frame, sizeof(frame));
    expect_end(bench, &hostile, STATUS_CORRUPT);
}

static void a_frame_that_says_it_is_huge_ends_the_connection(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES];
    struct frame_header h = {
        .kind = FRAME_MESSAGE, .method = RPC_PING, .attachment_bytes = 0xf0000000};
    hostile_enter(bench, &hostile);
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    expect_end(bench, &hostile, STATUS_TOO_LARGE);
}

static void a_message_that_its_role_may_not_send_ends_the_connection(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES];
    struct frame_header h = {.kind = FRAME_MESSAGE, .method = RPC_FENCE};
    hostile_enter(bench, &hostile);
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    expect_end(bench, &hostile, STATUS_DENIED);
}

static void a_call_outside_the_table_is_answered_and_the_connection_stays(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES];
    struct frame_header h = {.kind = FRAME_CALL, .call = 5, .method = 999};
    hostile_enter(bench, &hostile);
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_UNSUPPORTED);
    h.method = RPC_REGISTER_BROKER;
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_DENIED);
    h.method = RPC_PING;
    frame_encode(&h, frame);
    hostile_send(&hostile, frame, sizeof(frame));
    assert_int_equal(hostile_reply(bench, &hostile), STATUS_INVALID);
    assert_int_equal(bench->accepted.called, 0);
    assert_int_equal(bench->accepted.closed, 0);
    hostile_close(&hostile);
    bench_until(bench, &bench->accepted.closed, 1);
}

/* A frame of which one byte comes at a time. */
static void a_frame_in_single_bytes_is_a_frame(void **state)
{
    struct bench *bench = *state;
    struct hostile hostile;
    uint8_t frame[FRAME_HEADER_BYTES + 5] = {0};
    struct frame_header h = {.kind = FRAME_MESSAGE, .method = RPC_PING, .attachment_bytes = 5};
    hostile_enter(bench, &hostile);
    frame_encode(&h, frame);
    for (size_t i = 0; i < sizeof(frame); i++) {
        hostile_send(&hostile, frame + i, 1);
        assert_int_equal(bench->accepted.messaged, 0);
        bench_run_ms(bench, 1);
    }
    bench_until(bench, &bench->accepted.messaged, 1);
    hostile_close(&hostile);
    bench_until(bench, &bench->accepted.closed, 1);
}

/* Calls with a large attachment, which the listener echoes, written as far as the socket takes
 * them; nothing is read unless `reads`. Until all are written, or nothing moves any more. */
static void pump(struct bench *bench, struct hostile *hostile, const uint8_t *calls, size_t size,
                 size_t *written, bool reads)
{
    static uint8_t sink[65536];
    for (unsigned idle = 0; idle < 50 && (*written < size || reads); idle++) {
        size_t done = 0;
        while (*written < size && SSL_write_ex(hostile->ssl, calls + *written, 65536, &done) == 1) {
            *written += done;
            idle = 0;
        }
        while (reads && SSL_read_ex(hostile->ssl, sink, sizeof(sink), &done) == 1) {
            idle = 0;
        }
        bench_run_ms(bench, 1);
    }
}

static void who_does_not_read_its_replies_is_not_read_either(void **state)
{
    enum { CALLS = 120, CALL_BYTES = 1 << 20 };
    struct bench *bench = *state;
    struct hostile hostile;
    size_t size = (size_t)CALLS * CALL_BYTES, written = 0;
    uint8_t *calls = calloc(1, size);
    assert_non_null(calls);
    for (uint64_t i = 0; i < CALLS; i++) {
        struct frame_header h = {.kind = FRAME_CALL,
                                 .call = i + 1,
                                 .method = RPC_RESOLVE,
                                 .attachment_bytes = CALL_BYTES - FRAME_HEADER_BYTES};
        frame_encode(&h, calls + i * CALL_BYTES);
    }
    hostile_enter(bench, &hostile);
    (void)SSL_set_mode(hostile.ssl,
                       SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    assert_int_equal(fcntl(hostile.fd, F_SETFL, O_NONBLOCK), 0);
    pump(bench, &hostile, calls, size, &written, false);
    assert_true(written < size);
    assert_in_range(session_queued(bench->accepted.session), SESSION_QUEUE_MAX,
                    SESSION_QUEUE_MAX + 2 * CALL_BYTES);
    assert_true(bench->accepted.called < CALLS);
    pump(bench, &hostile, calls, size, &written, true);
    assert_int_equal(written, size);
    assert_int_equal(bench->accepted.called, CALLS);
    assert_int_equal(session_queued(bench->accepted.session), 0);
    hostile_close(&hostile);
    bench_until(bench, &bench->accepted.closed, 1);
    free(calls);
}

static void connections_beyond_the_limit_are_turned_away(void **state)
{
    struct bench *bench = *state;
    struct net_listener *small = NULL;
    struct error error;
    struct side side = {0};
    struct session_options options = {
        .loop = bench->loop,
        .tls = bench->listener_tls,
        .boot = 1,
        .handlers = &bench_handlers,
        .data = &side,
    };
    assert_int_equal(net_listener_open(&options, bench_own_name(), 0, 1, &small, &error),
                     STATUS_OK);
    bench->port = net_listener_port(small);
    bench_connect_to(bench, bench_own_name(), &side);
    struct side second = {0};
    options.tls = bench->dialer_tls;
    options.data = &second;
    for (int i = 0; i < 5; i++) {
        assert_non_null(session_dial(&options, "127.0.0.1", bench->port, RPC_ROLE_BROKER, 2));
    }
    bench_until(bench, &second.closed, 5);
    assert_int_equal(second.opened, 0);
    assert_int_equal(second.why, STATUS_UNAVAILABLE);
    assert_int_equal(side.closed, 0);
    net_listener_close(small);
    bench_until(bench, &side.closed, 1);
    assert_int_equal(side.why, STATUS_CLOSING);
}

static void an_address_in_use_is_named(void **state)
{
    struct bench *bench = *state;
    struct net_listener *listener = NULL;
    struct error error;
    struct session_options options = {
        .loop = bench->loop, .tls = bench->listener_tls, .handlers = &bench_handlers};
    assert_int_equal(net_listener_open(&options, "127.0.0.1", bench->port, 1, &listener, &error),
                     STATUS_IO);
    assert_non_null(strstr(error.text, "127.0.0.1:"));
    assert_non_null(strstr(error.text, "in use"));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_certificate_of_another_authority_is_refused_by_the_dialler),
        T(a_certificate_of_another_authority_is_refused_by_the_listener),
        T(another_cluster_is_refused),
        T(somebody_else_at_the_address_is_refused),
        T(another_role_at_the_address_is_refused),
        T(an_expired_certificate_is_not_even_opened),
        T(bad_files_are_named),
        T(garbage_instead_of_tls_ends_the_connection_only),
        T(a_half_open_connection_is_noticed),
        T(a_name_that_is_not_the_certificates_is_refused),
        T(a_protocol_of_the_future_is_refused),
        T(a_newer_release_is_spoken_to_as_before),
        T(anything_before_hello_ends_the_connection),
        T(a_bad_frame_ends_the_connection),
        T(a_frame_that_says_it_is_huge_ends_the_connection),
        T(a_message_that_its_role_may_not_send_ends_the_connection),
        T(a_call_outside_the_table_is_answered_and_the_connection_stays),
        T(a_frame_in_single_bytes_is_a_frame),
        T(who_does_not_read_its_replies_is_not_read_either),
        T(connections_beyond_the_limit_are_turned_away),
        T(an_address_in_use_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
