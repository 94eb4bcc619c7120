/* HTTP/2 on a connection: requests in; http2_answer.c has the way out. nghttp2 checks what RFC 9113
 * demands of frames and of headers; counted here is what is legal and too much. */
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#include "base/check.h"
#include "broker/gateway/http2.h"
#include "broker/gateway/http_internal.h"

enum {
    STREAM_WINDOW = 1024 * 1024, /* of each body that comes in */
    CONNECTION_WINDOW = 16 * 1024 * 1024,
    CONTINUATIONS_MAX = 4,
    SETTINGS_MAX = 32,       /* in one frame */
    HEADER_OVERHEAD = 32,    /* RFC 9113, 6.5.2 */
    REFUSED_HEADERS_MAX = 4, /* times head_max: who sends so much more is not read further */
};

static struct http_exchange *exchange_on(nghttp2_session *session, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(session, stream_id);
}

/* ---- too much ---- */

/* False when there were more than `max` within the time over which they are counted. */
static bool count(struct http_counter *counter, uint64_t now, uint32_t max)
{
    if (now - counter->since_ms >= HTTP_COUNT_MS) {
        counter->since_ms = now;
        counter->count = 0;
    }
    return ++counter->count <= max;
}

static int calm(struct http_connection *connection)
{
    connection->is_leaving = true;
    return nghttp2_session_terminate_session(connection->session, NGHTTP2_ENHANCE_YOUR_CALM) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

int http2_count_reset(struct http_connection *connection)
{
    bool is_fine =
        count(&connection->resets, http_now(connection), connection->server->limits.resets_max);
    return is_fine ? 0 : calm(connection);
}

static int count_control(struct http_connection *connection)
{
    bool is_fine =
        count(&connection->controls, http_now(connection), connection->server->limits.controls_max);
    return is_fine ? 0 : calm(connection);
}

/* ---- heads ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct http_connection *connection = user_data;
    if (connection->head_since_ms == 0) {
        connection->head_since_ms = http_now(connection);
        connection_arm(connection,
                       connection->head_since_ms + connection->server->limits.header_ms);
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0; /* trailers: their end is told */
    }
    struct http_exchange *exchange = exchange_new(connection);
    if (exchange == NULL) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    exchange->stream_id = frame->hd.stream_id;
    exchange->request.version = HTTP_VERSION_2;
    if (nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, exchange) != 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

/* A head gathers as sizes and bytes, because the buffer may move until its end. */
static enum status gather(struct buf *head, const uint8_t *data, size_t size)
{
    uint8_t prefix[sizeof(uint32_t)];
    put_u32(prefix, (uint32_t)size);
    enum status status = buf_append(head, prefix, sizeof(prefix));
    return status == STATUS_OK ? buf_append(head, data, size) : status;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    struct http_connection *connection = user_data;
    const struct http_limits *limits = &connection->server->limits;
    struct http_exchange *exchange = exchange_on(session, frame->hd.stream_id);
    (void)flags;
    if (exchange == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    exchange->header_bytes += name_size + value_size + HEADER_OVERHEAD;
    exchange->request.header_count++;
    size_t head_max = (size_t)limits->head_max + limits->request_line_max;
    if (exchange->header_bytes > REFUSED_HEADERS_MAX * head_max) {
        return calm(connection); /* HPACK makes megabytes out of a frame */
    }
    bool is_path = name_size == 5 && memcmp(name, ":path", 5) == 0;
    if (is_path && value_size > limits->request_line_max) {
        exchange->refusal = (struct http_refusal){414, "The path is too long."};
    } else if (exchange->header_bytes > head_max ||
               exchange->request.header_count > limits->headers_max + 4) {
        exchange->refusal =
            (struct http_refusal){431, "The request's headers are too large or too many."};
    }
    if (exchange->refusal.status != 0) {
        return 0;
    }
    if (gather(&exchange->head, name, name_size) != STATUS_OK ||
        gather(&exchange->head, value, value_size) != STATUS_OK) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

static void place_header(struct http_exchange *exchange, struct bytes name, struct bytes value)
{
    struct http_request *request = &exchange->request;
    if (http_name_equals(name, ":method")) {
        request->method = value;
    } else if (http_name_equals(name, ":path")) {
        exchange_set_target(exchange, value);
    } else if (!http_name_equals(name, ":scheme")) {
        exchange->headers[request->header_count++] =
            (struct http_header){.name = name, .value = http_trim(value)};
    }
}

/* What was gathered, in place. */
static bool read_head(struct http_exchange *exchange)
{
    struct reader reader = reader_of(buf_bytes(&exchange->head));
    exchange->headers = calloc(exchange->request.header_count + 1, sizeof(*exchange->headers));
    if (exchange->headers == NULL) {
        return false;
    }
    exchange->request.headers = exchange->headers;
    exchange->request.header_count = 0;
    while (reader.rest.size > 0) {
        struct bytes name = reader_take(&reader, reader_u32(&reader));
        struct bytes value = reader_take(&reader, reader_u32(&reader));
        CHECK(!reader.failed);
        place_header(exchange, name, value);
    }
    return true;
}

static struct http_refusal check_head(const struct http_exchange *exchange)
{
    const struct http_request *request = &exchange->request;
    const struct http_limits *limits = &exchange->server->limits;
    uint32_t hosts;
    uint32_t authorities;
    uint64_t length = 0;
    const struct http_header *stated = http_header_find(request, "content-length", NULL);
    (void)http_header_find(request, "host", &hosts);
    (void)http_header_find(request, ":authority", &authorities);
    struct bytes target = bytes_of(request->path.data, request->path.size);
    if (request->query.data != NULL) {
        target.size = (size_t)(request->query.data - request->path.data) + request->query.size;
    }
    if (exchange->refusal.status != 0) {
        return exchange->refusal;
    }
    if (!http_target_is_valid(target) || !http_is_token(request->method)) {
        return (struct http_refusal){400, "The request target must be a path."};
    }
    if (hosts > 1 || (hosts == 0 && authorities == 0)) {
        return (struct http_refusal){400, "The request must name one host."};
    }
    if (request->header_count > limits->headers_max) {
        return (struct http_refusal){431, "The request's headers are too large or too many."};
    }
    if (stated != NULL && !http_parse_length(stated->value, &length)) {
        return (struct http_refusal){400, "The Content-Length is not a number."};
    }
    if (length > limits->body_max) {
        return (struct http_refusal){413, "The request's body is too large."};
    }
    return (struct http_refusal){0};
}

static int ask_for_body(nghttp2_session *session, const struct http_exchange *exchange)
{
    static const nghttp2_nv go_on = {
        .name = (uint8_t *)(uintptr_t) ":status",
        .value = (uint8_t *)(uintptr_t) "100",
        .namelen = 7,
        .valuelen = 3,
    };
    const struct http_header *expect = http_header_find(&exchange->request, "expect", NULL);
    if (expect == NULL || !http_name_equals(expect->value, "100-continue")) {
        return 0;
    }
    int32_t rc = nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, exchange->stream_id, NULL,
                                        &go_on, 1, NULL);
    return rc < 0 ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int head_is_complete(nghttp2_session *session, struct http_connection *connection,
                            struct http_exchange *exchange, bool has_body)
{
    exchange->is_complete = !has_body;
    exchange->began_ms = http_now(connection);
    if (!read_head(exchange)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    struct http_refusal refusal = check_head(exchange);
    if (refusal.status != 0) {
        exchange_refuse(exchange, refusal);
        return 0;
    }
    if (connection->queued > connection->server->limits.answers_per_connection) {
        http2_reset(exchange, NGHTTP2_REFUSED_STREAM); /* nothing was done: it may be repeated */
        return 0;
    }
    if (!has_body) {
        exchange_deliver(exchange);
        return 0;
    }
    connection_arm(connection, exchange_body_deadline(exchange));
    return ask_for_body(session, exchange);
}

/* ---- frames ---- */

static int on_headers(nghttp2_session *session, struct http_connection *connection,
                      const nghttp2_frame *frame)
{
    struct http_exchange *exchange = exchange_on(session, frame->hd.stream_id);
    bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    connection->head_since_ms = 0;
    if (exchange == NULL) {
        return 0;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        return head_is_complete(session, connection, exchange, !is_end);
    }
    /* Nobody signs trailers. */
    exchange->is_complete = is_end;
    if (!exchange->is_refused) {
        exchange_refuse(exchange, (struct http_refusal){400, "Trailers are not accepted."});
    }
    return 0;
}

static int on_data(nghttp2_session *session, struct http_connection *connection,
                   const nghttp2_frame *frame)
{
    struct http_exchange *exchange = exchange_on(session, frame->hd.stream_id);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return frame->hd.length == 0 ? count_control(connection) : 0;
    }
    if (exchange == NULL) {
        return 0;
    }
    exchange->is_complete = true;
    if (!exchange->is_refused) {
        exchange_deliver(exchange);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct http_connection *connection = user_data;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        return on_headers(session, connection, frame);
    case NGHTTP2_DATA:
        return on_data(session, connection, frame);
    case NGHTTP2_RST_STREAM:
        return http2_count_reset(connection);
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PRIORITY:
        return count_control(connection);
    default:
        return 0;
    }
}

static int on_body(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    struct http_exchange *exchange = exchange_on(session, stream_id);
    (void)flags;
    (void)user_data;
    if (exchange != NULL) {
        (void)exchange_receive(exchange, bytes_of(data, size)); /* it refuses by itself */
    }
    return 0;
}

static int on_stream_closed(nghttp2_session *session, int32_t stream_id, uint32_t code,
                            void *user_data)
{
    struct http_exchange *exchange = exchange_on(session, stream_id);
    (void)code;
    (void)user_data;
    if (exchange != NULL) {
        exchange_detach(exchange);
    }
    return 0;
}

/* ---- the session ---- */

static nghttp2_session_callbacks *make_callbacks(void)
{
    nghttp2_session_callbacks *callbacks = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) {
        return NULL;
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_body);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_closed);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, http2_on_sent);
    return callbacks;
}

static nghttp2_option *make_options(void)
{
    nghttp2_option *option = NULL;
    if (nghttp2_option_new(&option) != 0) {
        return NULL;
    }
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_settings(option, SETTINGS_MAX);
#ifdef WEIR_NGHTTP2_CONTINUATIONS
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
#endif
    return option;
}

static enum status say_hello(struct http_connection *connection)
{
    const struct http_limits *limits = &connection->server->limits;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max                        },
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,    STREAM_WINDOW                              },
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,   limits->head_max + limits->request_line_max},
    };
    bool ok = nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, settings,
                                      sizeof(settings) / sizeof(settings[0])) == 0 &&
              nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0,
                                                    CONNECTION_WINDOW) == 0;
    return ok ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status http2_open(struct http_connection *connection)
{
    nghttp2_session_callbacks *callbacks = make_callbacks();
    nghttp2_option *option = make_options();
    int rc = NGHTTP2_ERR_NOMEM;
    if (callbacks != NULL && option != NULL) {
        rc = nghttp2_session_server_new2(&connection->session, callbacks, connection, option);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (rc != 0) {
        connection->session = NULL;
        return STATUS_NO_MEMORY;
    }
    return say_hello(connection);
}

void http2_close(struct http_connection *connection)
{
    nghttp2_session_del(connection->session);
    connection->session = NULL;
}

size_t http2_received(struct http_connection *connection, struct bytes bytes)
{
    ssize_t rc = nghttp2_session_mem_recv(connection->session, bytes.data, bytes.size);
    if (rc < 0) {
        connection_abort(connection, STATUS_CORRUPT, nghttp2_strerror((int)rc));
    } else {
        connection_pump_soon(connection);
    }
    return bytes.size;
}
