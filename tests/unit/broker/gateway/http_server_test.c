/* The whole front on a real loop, over loopback: a client that blocks in this thread, the server's
 * loop in another. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include "base/check.h"
#include "broker/gateway/http.h"
#include "proto/net/stream.h"
#include "tests/unit/proto/net/certs.h"

enum { ANSWER_BYTES = 64 * 1024, TIMEOUT_S = 5 };

struct bench {
    struct certs certs;
    struct net_tls *tls;
    struct net_loop *loop;
    struct http_server *server;
    uint16_t tls_port, clear_port;
    pthread_t thread;
    bool is_drained;
    struct http_request *held; /* of "/hold", answered by "/release" */
    unsigned cancelled;
};

/* ---- the server's side ---- */

static void on_cancelled(struct http_request *request)
{
    struct bench *bench = request->data;
    bench->cancelled++;
    bench->held = NULL;
    assert_true(request->gone);
    http_respond(request, 500, NULL, 0, NULL);
}

static void respond_text(struct http_request *request, const char *text, size_t size)
{
    struct buf body = {0};
    assert_int_equal(buf_append(&body, text, size), STATUS_OK);
    http_respond(request, 200, NULL, 0, &body);
    assert_null(body.data);
}

static void respond_in_pieces(struct http_request *request)
{
    struct http_header type = {bytes_of_string("content-type"), bytes_of_string("text/event")};
    http_respond_begin(request, 200, &type, 1);
    for (int i = 0; i < 3; i++) {
        struct buf piece = {0};
        assert_int_equal(buf_append(&piece, "piece", 5), STATUS_OK);
        assert_int_equal(http_stream_write(request, &piece), STATUS_OK);
    }
    http_stream_end(request, false);
}

static bool path_is(const struct http_request *request, const char *path)
{
    return bytes_equal(request->path, bytes_of_string(path));
}

static void on_requested(struct http_request *request, void *data)
{
    struct bench *bench = data;
    http_request_verified(request);
    if (path_is(request, "/hold")) {
        bench->held = request;
        request->data = bench;
        request->cancelled = on_cancelled;
    } else if (path_is(request, "/pieces")) {
        respond_in_pieces(request);
    } else {
        struct http_request *held = bench->held;
        bench->held = NULL;
        respond_text(request, (const char *)request->body.data, request->body.size);
        if (held != NULL) {
            respond_text(held, "held", 4);
        }
    }
}

static uint64_t wall_ms(void *data)
{
    (void)data;
    return 784111777000;
}

static void on_drained(void *data)
{
    struct bench *bench = data;
    bench->is_drained = true;
    http_server_close(bench->server);
    net_loop_stop(bench->loop);
}

static void *run(void *data)
{
    struct bench *bench = data;
    net_loop_run(bench->loop);
    return NULL;
}

struct order {
    struct net_mail mail;
    struct bench *bench;
};

static void drain(struct net_mail *mail)
{
    struct order *order = CONTAINER_OF(mail, struct order, mail);
    http_server_drain(order->bench->server, on_drained);
}

static uint16_t serve(struct bench *bench, struct net_tls *tls)
{
    struct error error;
    uint16_t port = 0;
    assert_int_equal(http_server_listen(bench->server, "127.0.0.1", 0, tls, &port, &error),
                     STATUS_OK);
    return port;
}

static int set_up(void **state)
{
    static const struct http_handlers handlers = {.requested = on_requested, .wall_ms = wall_ms};
    struct bench *bench = calloc(1, sizeof(*bench));
    assert_non_null(bench);
    certs_init(&bench->certs);
    certs_make(&bench->certs, "front", NULL, (struct certs_dates){-60, 60});
    char cert[2 * CERTS_PATH_BYTES];
    char key[2 * CERTS_PATH_BYTES];
    struct error error;
    (void)snprintf(cert, sizeof(cert), "%s/front.pem", bench->certs.dir);
    (void)snprintf(key, sizeof(key), "%s/front.key", bench->certs.dir);
    assert_int_equal(net_tls_open_public(cert, key, &bench->tls, &error), STATUS_OK);
    bench->loop = net_loop_new(NULL);
    assert_non_null(bench->loop);
    const struct http_options options = {
        .loop = bench->loop,
        .limits = http_limits_default,
        .handlers = &handlers,
        .data = bench,
    };
    bench->server = http_server_open(&options);
    assert_non_null(bench->server);
    bench->tls_port = serve(bench, bench->tls);
    bench->clear_port = serve(bench, NULL);
    *state = bench;
    return 0;
}

/* Once per test, when all its clients have gone: the drain must find its end. */
static int tear_down(void **state)
{
    struct bench *bench = *state;
    net_loop_free(bench->loop);
    net_tls_close(bench->tls);
    certs_release(&bench->certs);
    free(bench);
    return 0;
}

static struct net_mailbox *start(struct bench *bench)
{
    struct net_mailbox *mailbox = net_mailbox_open(bench->loop);
    assert_non_null(mailbox);
    assert_int_equal(pthread_create(&bench->thread, NULL, run, bench), 0);
    return mailbox;
}

static void stop(struct bench *bench, struct net_mailbox *mailbox)
{
    struct order order = {.mail = {.run = drain}, .bench = bench};
    net_mailbox_send(mailbox, &order.mail);
    assert_int_equal(pthread_join(bench->thread, NULL), 0);
    assert_true(bench->is_drained);
    net_mailbox_close(mailbox);
}

/* ---- the client's side ---- */

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

static struct client client_open(uint16_t port, bool is_tls, const char *protocol)
{
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    assert_int_equal(
        connect(client.fd, (const struct sockaddr *)(const void *)&address, sizeof(address)), 0);
    if (is_tls) {
        client.ctx = SSL_CTX_new(TLS_client_method());
        client.ssl = SSL_new(client.ctx);
        assert_int_equal(SSL_set_fd(client.ssl, client.fd), 1);
        assert_int_equal(SSL_set_alpn_protos(client.ssl, (const unsigned char *)protocol,
                                             (unsigned)strlen(protocol)),
                         0);
        assert_int_equal(SSL_connect(client.ssl), 1);
    }
    return client;
}

static void client_close(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    assert_int_equal(close(client->fd), 0);
}

static void client_send(struct client *client, const void *data, size_t size)
{
    if (client->ssl != NULL) {
        assert_int_equal(SSL_write(client->ssl, data, (int)size), size);
    } else {
        assert_int_equal(send(client->fd, data, size, MSG_NOSIGNAL), size);
    }
}

static size_t client_receive(struct client *client, void *data, size_t size)
{
    ssize_t rc = client->ssl != NULL ? SSL_read(client->ssl, data, (int)size)
                                     : recv(client->fd, data, size, 0);
    return rc < 0 ? 0 : (size_t)rc;
}

static void receive_until(struct client *client, const char *end, char out[ANSWER_BYTES])
{
    size_t size = 0;
    out[0] = '\0';
    while (strstr(out, end) == NULL) {
        size_t more = client_receive(client, out + size, ANSWER_BYTES - 1 - size);
        assert_int_not_equal(more, 0);
        size += more;
        out[size] = '\0';
    }
}

static void send_text(struct client *client, const char *text)
{
    client_send(client, text, strlen(text));
}

/* ---- HTTP/1.1 ---- */

static void an_answer_is_byte_for_byte_what_we_expect(void **state)
{
    struct bench *bench = *state;
    struct net_mailbox *mailbox = start(bench);
    char answer[ANSWER_BYTES];
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct client client =
            client_open(is_tls ? bench->tls_port : bench->clear_port, is_tls, "\x08http/1.1");
        send_text(&client, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
        receive_until(&client, "hello", answer);
        assert_string_equal(answer, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                    "Content-Length: 5\r\n\r\nhello");
        send_text(&client, "GET /pieces HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        receive_until(&client, "0\r\n\r\n", answer);
        assert_string_equal(answer, "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                                    "content-type: text/event\r\nTransfer-Encoding: chunked\r\n"
                                    "Connection: close\r\n\r\n"
                                    "5\r\npiece\r\n5\r\npiece\r\n5\r\npiece\r\n0\r\n\r\n");
        assert_int_equal(client_receive(&client, answer, 1), 0);
        client_close(&client);
    }
    stop(bench, mailbox);
}

static void a_later_answer_waits_for_the_first(void **state)
{
    struct bench *bench = *state;
    struct net_mailbox *mailbox = start(bench);
    char answer[ANSWER_BYTES];
    struct client client = client_open(bench->clear_port, false, "");
    /* The second request answers the first, after itself. */
    send_text(&client, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n"
                       "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nsecond");
    receive_until(&client, "second", answer);
    assert_non_null(strstr(answer, "held"));
    assert_true(strstr(answer, "held") < strstr(answer, "second"));
    client_close(&client);
    stop(bench, mailbox);
}

static void a_client_that_goes_cancels(void **state)
{
    struct bench *bench = *state;
    struct net_mailbox *mailbox = start(bench);
    char answer[ANSWER_BYTES];
    struct client client = client_open(bench->tls_port, true, "\x08http/1.1");
    send_text(&client, "GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n"
                       "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    receive_until(&client, "0\r\n\r\n", answer);
    /* The drain would wait for ever for a request that nobody answers. */
    client_close(&client);
    stop(bench, mailbox);
    assert_null(bench->held);
    assert_int_equal(bench->cancelled, 1);
}

/* ---- HTTP/2, by nghttp2's client ---- */

struct h2_client {
    struct client *client;
    char status[4];
    char body[64];
    size_t body_size;
    bool is_closed;
};

static ssize_t h2_send(nghttp2_session *session, const uint8_t *data, size_t size, int flags,
                       void *user_data)
{
    struct h2_client *h2 = user_data;
    (void)session;
    (void)flags;
    client_send(h2->client, data, size);
    return (ssize_t)size;
}

static int h2_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    struct h2_client *h2 = user_data;
    (void)session;
    (void)frame;
    (void)flags;
    if (name_size == 7 && memcmp(name, ":status", 7) == 0 && value_size == 3) {
        memcpy(h2->status, value, 3);
    }
    return 0;
}

static int h2_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    struct h2_client *h2 = user_data;
    (void)session;
    (void)flags;
    (void)stream_id;
    assert_true(h2->body_size + size < sizeof(h2->body));
    memcpy(h2->body + h2->body_size, data, size);
    h2->body_size += size;
    return 0;
}

static int h2_closed(nghttp2_session *session, int32_t stream_id, uint32_t code, void *user_data)
{
    struct h2_client *h2 = user_data;
    (void)session;
    (void)stream_id;
    assert_int_equal(code, NGHTTP2_NO_ERROR);
    h2->is_closed = true;
    return 0;
}

static nghttp2_session *h2_open(struct h2_client *h2)
{
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_send_callback(callbacks, h2_send);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_closed);
    assert_int_equal(nghttp2_session_client_new(&session, callbacks, h2), 0);
    nghttp2_session_callbacks_del(callbacks);
    assert_int_equal(nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, NULL, 0), 0);
    return session;
}

static nghttp2_nv pair(const char *name, const char *value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .namelen = strlen(name),
        .value = (uint8_t *)(uintptr_t)value,
        .valuelen = strlen(value),
    };
}

static void h2_get(struct h2_client *h2, nghttp2_session *session, const char *path)
{
    const nghttp2_nv pairs[] = {pair(":method", "GET"), pair(":scheme", "https"),
                                pair(":authority", "h"), pair(":path", path)};
    uint8_t data[4096];
    h2->is_closed = false;
    h2->body_size = 0;
    assert_true(nghttp2_submit_request(session, NULL, pairs, 4, NULL, NULL) > 0);
    while (!h2->is_closed) {
        assert_int_equal(nghttp2_session_send(session), 0);
        size_t size = client_receive(h2->client, data, sizeof(data));
        assert_int_not_equal(size, 0);
        assert_int_equal(nghttp2_session_mem_recv(session, data, size), size);
    }
}

static void http2_is_served_by_alpn_and_by_its_first_bytes(void **state)
{
    struct bench *bench = *state;
    struct net_mailbox *mailbox = start(bench);
    for (int is_tls = 0; is_tls < 2; is_tls++) {
        struct client client =
            client_open(is_tls ? bench->tls_port : bench->clear_port, is_tls, "\x02h2");
        struct h2_client h2 = {.client = &client};
        nghttp2_session *session = h2_open(&h2);
        for (int i = 0; i < 3; i++) {
            h2_get(&h2, session, "/pieces");
            assert_string_equal(h2.status, "200");
            assert_int_equal(h2.body_size, 15);
            assert_memory_equal(h2.body, "piecepiecepiece", 15);
        }
        nghttp2_session_del(session);
        client_close(&client);
    }
    stop(bench, mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_byte_for_byte_what_we_expect, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_later_answer_waits_for_the_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_goes_cancels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(http2_is_served_by_alpn_and_by_its_first_bytes, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
