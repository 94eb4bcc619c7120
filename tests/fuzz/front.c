/* A whole connection to the HTTP front, in the clear: HTTP/1.1, HTTP/2 and what is neither.
 * Whatever comes, requests are well formed, each is answered once, and the connection ends with the
 * client. */
#include <string.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "broker/gateway/http1.h"
#include "tests/fuzz/fuzz.h"

enum { TURNS_MAX = 400, QUIET_TURNS = 12 };

static struct net_loop *loop;
static struct http_server *server;
static uint16_t port;
static unsigned live;

static void requested(struct http_request *request, void *data)
{
    (void)data;
    live++;
    CHECK(request->method.size > 0 && http_is_token(request->method));
    CHECK(request->path.size > 0 && (request->path.data[0] == '/' || request->path.data[0] == '*'));
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct bytes name = request->headers[i].name, value = request->headers[i].value;
        CHECK(name.size > 0);
        for (size_t k = 0; k < name.size; k++) {
            CHECK(name.data[k] > ' ' && (name.data[k] < 'A' || name.data[k] > 'Z'));
        }
        for (size_t k = 0; k < value.size; k++) {
            CHECK(value.data[k] != '\r' && value.data[k] != '\n' && value.data[k] != '\0');
        }
    }
    struct buf body = {0};
    CHECK(buf_append(&body, "hello", 5) == STATUS_OK);
    if (request->body.size % 2 == 0) {
        http_respond(request, 200, NULL, 0, &body);
    } else {
        http_respond_begin(request, 200, NULL, 0);
        (void)!http_stream_write(request, &body);
        buf_release(&body);
        http_stream_end(request, request->body.size % 3 == 0);
    }
    live--;
}

static void start(void)
{
    static const struct http_handlers handlers = {.requested = requested};
    struct http_options options = {.limits = http_limits_default, .handlers = &handlers};
    struct error error;
    loop = net_loop_new(NULL);
    CHECK(loop != NULL);
    options.loop = loop;
    options.limits.request_line_max = 512;
    options.limits.body_max = 64 * 1024;
    server = http_server_open(&options);
    CHECK(server != NULL);
    CHECK(http_server_listen(server, "127.0.0.1", 0, NULL, &port, &error) == STATUS_OK);
}

static void turn(void)
{
    (void)uv_run(net_loop_uv(loop), UV_RUN_NOWAIT);
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct linger hard = {.l_onoff = 1}; /* no TIME_WAIT: ports would run out */
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (server == NULL) {
        start();
    }
    if (size == 0 || size > 16 * 1024) {
        return 0;
    }
    /* The first byte says how the rest is cut. */
    size_t piece = data[0] == 0 ? size : 1 + data[0] * 5U;
    int fd = dial();
    for (size_t at = 1; at < size; at += piece) {
        size_t left = size - at;
        (void)!send(fd, data + at, left < piece ? left : piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        turn();
    }
    char drop[4096];
    unsigned quiet = 0;
    for (unsigned i = 0; i < TURNS_MAX && quiet < QUIET_TURNS; i++) {
        turn();
        quiet = recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0 ? 0 : quiet + 1;
    }
    (void)close(fd);
    for (unsigned i = 0; i < TURNS_MAX && http_server_stats(server).connections > 0; i++) {
        turn();
    }
    struct http_stats stats = http_server_stats(server);
    CHECK(stats.connections == 0 && stats.requests == 0 && stats.unverified == 0 && live == 0);
    return 0;
}
