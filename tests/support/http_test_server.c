/* A server over the HTTP front for tests/integration/http_front.py:
 *
 *   http_test_server CERT KEY [LIMIT=NUMBER ...]
 *
 * prints "TLS-PORT CLEAR-PORT" and answers by path: /echo says what it has seen, /size?N sends N
 * bytes, /slow?MS waits, /stream?COUNTxBYTES sends pieces, /events?MS one piece each MS
 * milliseconds for ever, /broken breaks off, /inject tries to write headers, /stats tells counts,
 * /drain and /quit end the server. */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "broker/gateway/http.h"
#include "proto/net/stream.h"

enum { LINE_BYTES = 512 };

struct app {
    struct net_loop *loop;
    struct http_server *server;
    struct net_tls *tls;
    unsigned cancelled, busy, writable, streams;
    size_t queued_max;
};

/* An answer that takes time. */
struct job {
    struct app *app;
    struct http_request *request;
    struct net_timer timer;
    uint64_t count, bytes, every_ms;
};

static struct app app;

static void add(struct buf *out, const char *text)
{
    CHECK(buf_append(out, text, strlen(text)) == STATUS_OK);
}

static void add_line(struct buf *out, const char *name, struct bytes value)
{
    add(out, name);
    add(out, ": ");
    CHECK(buf_append(out, value.data, value.size) == STATUS_OK);
    add(out, "\n");
}

static void add_number(struct buf *out, const char *name, uint64_t value)
{
    char text[LINE_BYTES];
    (void)snprintf(text, sizeof(text), "%s: %llu\n", name, (unsigned long long)value);
    add(out, text);
}

static struct http_header header(const char *name, const char *value)
{
    return (struct http_header){.name = bytes_of_string(name), .value = bytes_of_string(value)};
}

static uint64_t number_of(struct bytes text, struct bytes *out_rest)
{
    uint64_t value = 0;
    while (text.size > 0 && text.data[0] >= '0' && text.data[0] <= '9') {
        value = value * 10 + (uint64_t)(text.data[0] - '0');
        text = bytes_of(text.data + 1, text.size - 1);
    }
    *out_rest = text;
    return value;
}

static void echo(struct http_request *request)
{
    static const char *const versions[] = {"1.0", "1.1", "2"};
    struct http_header headers[] = {header("Content-Type", "text/plain"),
                                    header("x-amzn-RequestId", "7")};
    struct buf out = {0};
    add_line(&out, "method", request->method);
    add_line(&out, "path", request->path);
    add_line(&out, "query", request->query);
    add_line(&out, "version", bytes_of_string(versions[request->version]));
    add_line(&out, "tls", bytes_of_string(request->tls ? "yes" : "no"));
    add_line(&out, "source", bytes_of_string(request->source));
    add_number(&out, "body", request->body.size);
    add_number(&out, "crc", crc32c(0, request->body.data, request->body.size));
    for (uint32_t i = 0; i < request->header_count; i++) {
        add(&out, "header ");
        CHECK(buf_append(&out, request->headers[i].name.data, request->headers[i].name.size) ==
              STATUS_OK);
        add_line(&out, "", request->headers[i].value);
    }
    http_respond(request, 200, headers, 2, &out);
}

static void fill(struct buf *out, uint64_t bytes)
{
    CHECK(buf_reserve(out, (size_t)bytes + 1) == STATUS_OK);
    memset(out->data, 'x', (size_t)bytes);
    out->size = (size_t)bytes;
}

static struct job *job_new(struct http_request *request)
{
    struct job *job = calloc(1, sizeof(*job));
    CHECK(job != NULL);
    job->app = &app;
    job->request = request;
    request->data = job;
    return job;
}

static void job_free(struct job *job)
{
    net_timer_stop(app.loop, &job->timer);
    free(job);
}

static void on_cancelled(struct http_request *request)
{
    app.cancelled++;
    struct job *job = request->data;
    if (job->bytes > 0) {
        app.streams--;
        http_stream_end(request, false);
    } else {
        http_respond(request, 500, NULL, 0, NULL);
    }
    job_free(job);
}

static void on_slow(struct net_timer *timer)
{
    struct job *job = CONTAINER_OF(timer, struct job, timer);
    echo(job->request);
    job_free(job);
}

static void start(struct job *job, void (*fire)(struct net_timer *timer))
{
    CHECK(net_timer_start(app.loop, &job->timer, net_now_ms(app.loop) + job->every_ms, fire) ==
          STATUS_OK);
}

static void note_queued(const struct http_request *request)
{
    size_t queued = http_stream_queued(request);
    app.queued_max = queued > app.queued_max ? queued : app.queued_max;
}

static void send_pieces(struct http_request *request)
{
    struct job *job = request->data;
    while (job->count > 0) {
        struct buf piece = {0};
        fill(&piece, job->bytes);
        enum status status = http_stream_write(request, &piece);
        note_queued(request);
        if (status == STATUS_BUSY) {
            app.busy++;
            buf_release(&piece);
            return;
        }
        CHECK(status == STATUS_OK);
        job->count--;
    }
    app.streams--;
    http_stream_end(request, false);
    job_free(job);
}

static void on_writable(struct http_request *request)
{
    app.writable++;
    send_pieces(request);
}

static void on_event(struct net_timer *timer)
{
    struct job *job = CONTAINER_OF(timer, struct job, timer);
    struct buf piece = {0};
    add(&piece, "event\n");
    if (http_stream_write(job->request, &piece) != STATUS_OK) {
        buf_release(&piece);
    }
    start(job, on_event);
}

static void begin_stream(struct http_request *request, struct job *job)
{
    struct http_header type = header("content-type", "application/vnd.amazon.eventstream");
    request->cancelled = on_cancelled;
    app.streams++;
    job->bytes = job->bytes == 0 ? 1 : job->bytes;
    http_respond_begin(request, 200, &type, 1);
}

static void stats(struct http_request *request)
{
    struct http_stats now = http_server_stats(app.server);
    struct buf out = {0};
    add_number(&out, "connections", now.connections);
    add_number(&out, "requests", now.requests);
    add_number(&out, "accepted", now.accepted);
    add_number(&out, "turned_away", now.turned_away);
    add_number(&out, "requested", now.requested);
    add_number(&out, "refused", now.refused);
    add_number(&out, "unverified", now.unverified);
    add_number(&out, "cancelled", app.cancelled);
    add_number(&out, "busy", app.busy);
    add_number(&out, "writable", app.writable);
    add_number(&out, "streams", app.streams);
    add_number(&out, "queued_max", app.queued_max);
    http_respond(request, 200, NULL, 0, &out);
}

static void on_drained(void *data)
{
    (void)data;
    http_server_close(app.server);
    app.server = NULL;
    net_loop_stop(app.loop);
}

static bool path_is(const struct http_request *request, const char *path)
{
    return bytes_equal(request->path, bytes_of_string(path));
}

static void respond_slowly(struct http_request *request, struct bytes rest)
{
    struct job *job = job_new(request);
    job->every_ms = number_of(rest, &rest);
    if (path_is(request, "/slow")) {
        request->cancelled = on_cancelled;
        start(job, on_slow);
    } else if (path_is(request, "/events")) {
        begin_stream(request, job);
        start(job, on_event);
    } else {
        job->count = job->every_ms;
        job->every_ms = 0;
        if (rest.size > 0) {
            job->bytes = number_of(bytes_of(rest.data + 1, rest.size - 1), &rest);
        }
        request->writable = on_writable;
        begin_stream(request, job);
        send_pieces(request);
    }
}

static void on_requested(struct http_request *request, void *data)
{
    struct buf body = {0};
    struct bytes rest = request->query;
    (void)data;
    if (path_is(request, "/size")) {
        fill(&body, number_of(rest, &rest));
        http_respond(request, 200, NULL, 0, &body);
    } else if (path_is(request, "/slow") || path_is(request, "/events") ||
               path_is(request, "/stream")) {
        respond_slowly(request, rest);
    } else if (path_is(request, "/broken")) {
        http_respond_begin(request, 200, NULL, 0);
        add(&body, "half");
        CHECK(http_stream_write(request, &body) == STATUS_OK);
        http_stream_end(request, true);
    } else if (path_is(request, "/inject")) {
        struct http_header bad = header("x-text", "a\r\nx-evil: 1");
        http_respond(request, 200, &bad, 1, NULL);
    } else if (path_is(request, "/empty")) {
        http_respond(request, 204, NULL, 0, NULL);
    } else if (path_is(request, "/stats")) {
        stats(request);
    } else if (path_is(request, "/drain")) {
        http_server_drain(app.server, on_drained);
        http_respond(request, 200, NULL, 0, NULL);
    } else if (path_is(request, "/quit")) {
        http_respond(request, 200, NULL, 0, NULL);
        http_server_close(app.server);
        app.server = NULL;
        net_loop_stop(app.loop);
    } else {
        echo(request);
    }
}

/* "header_ms=300" */
static void set_limit(struct http_limits *limits, const char *text)
{
    const struct {
        const char *name;
        uint32_t *number;
        size_t *size;
    } known[] = {
        {"connections_max",            &limits->connections_max,            NULL                          },
        {"connections_per_source_max", &limits->connections_per_source_max, NULL                          },
        {"header_ms",                  &limits->header_ms,                  NULL                          },
        {"idle_ms",                    &limits->idle_ms,                    NULL                          },
        {"body_grace_ms",              &limits->body_grace_ms,              NULL                          },
        {"stall_ms",                   &limits->stall_ms,                   NULL                          },
        {"stream_stall_ms",            &limits->stream_stall_ms,            NULL                          },
        {"streams_max",                &limits->streams_max,                NULL                          },
        {"body_max",                   NULL,                                &limits->body_max             },
        {"unverified_per_source",      NULL,                                &limits->unverified_per_source},
        {"stream_queue",               NULL,                                &limits->stream_queue         },
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t size = strlen(known[i].name);
        if (strncmp(text, known[i].name, size) == 0 && text[size] == '=') {
            struct bytes rest;
            uint64_t value = number_of(bytes_of_string(text + size + 1), &rest);
            if (known[i].number != NULL) {
                *known[i].number = (uint32_t)value;
            } else {
                *known[i].size = (size_t)value;
            }
            return;
        }
    }
    fprintf(stderr, "unknown limit: %s\n", text);
    exit(2);
}

static uint16_t serve(struct net_tls *tls)
{
    struct error error;
    uint16_t port;
    if (http_server_listen(app.server, "127.0.0.1", 0, tls, &port, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", error.text);
        exit(1);
    }
    return port;
}

int main(int argc, char **argv)
{
    static const struct http_handlers handlers = {.requested = on_requested};
    struct error error;
    if (argc < 3 || net_tls_open_public(argv[1], argv[2], &app.tls, &error) != STATUS_OK) {
        fprintf(stderr, "%s\n", argc < 3 ? "http_test_server CERT KEY" : error.text);
        return 1;
    }
    struct http_options options = {.limits = http_limits_default, .handlers = &handlers};
    for (int i = 3; i < argc; i++) {
        set_limit(&options.limits, argv[i]);
    }
    app.loop = net_loop_new(NULL);
    CHECK(app.loop != NULL);
    options.loop = app.loop;
    app.server = http_server_open(&options);
    CHECK(app.server != NULL);
    uint16_t tls_port = serve(app.tls);
    printf("%u %u\n", tls_port, serve(NULL));
    (void)fflush(stdout);
    net_loop_run(app.loop);
    net_loop_free(app.loop);
    net_tls_close(app.tls);
    return 0;
}
