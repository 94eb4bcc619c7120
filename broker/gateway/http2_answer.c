#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "broker/gateway/http2.h"
#include "broker/gateway/http_internal.h"

enum { GOODBYE_MS = 1000 /* a round trip and more: requests on their way still count */ };

/* ---- heads ---- */

static nghttp2_nv pair(struct bytes name, struct bytes value)
{
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.data,
        .namelen = name.size,
        .value = (uint8_t *)(uintptr_t)value.data,
        .valuelen = value.size,
    };
}

static nghttp2_nv text_pair(const char *name, const char *value)
{
    return pair(bytes_of_string(name), bytes_of_string(value));
}

/* HTTP/2 has no such headers (RFC 9113, 8.2.2). */
static bool is_of_connection(struct bytes name)
{
    return http_name_equals(name, "connection") || http_name_equals(name, "transfer-encoding") ||
           http_name_equals(name, "keep-alive");
}

/* The names in lower case and the values without control characters, one after the other. */
static enum status clean(const struct http_header *headers, uint32_t count, struct buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        CHECK(http_is_token(headers[i].name));
        size_t name_at = out->size;
        size_t value_at = name_at + headers[i].name.size;
        if (buf_append(out, headers[i].name.data, headers[i].name.size) != STATUS_OK ||
            buf_append(out, headers[i].value.data, headers[i].value.size) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        for (size_t at = name_at; at < value_at; at++) {
            uint8_t c = out->data[at];
            out->data[at] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
        }
        for (size_t at = value_at; at < out->size; at++) {
            out->data[at] = out->data[at] < 0x20 || out->data[at] == 0x7f ? ' ' : out->data[at];
        }
    }
    return STATUS_OK;
}

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t room,
                           uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct http_exchange *exchange = source->ptr;
    size_t filled = 0;
    (void)session;
    (void)stream_id;
    (void)user_data;
    struct http_piece *piece;
    while (filled < room && (piece = exchange_front(exchange)) != NULL) {
        size_t left = piece->buf.size - piece->sent;
        size_t take = left < room - filled ? left : room - filled;
        memcpy(out + filled, piece->buf.data + piece->sent, take);
        filled += take;
        exchange_sent(exchange, piece, take);
    }
    if (exchange_front(exchange) == NULL && exchange->is_ended) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    } else if (filled == 0) {
        return NGHTTP2_ERR_DEFERRED;
    }
    return (ssize_t)filled;
}

static enum status submit(struct http_exchange *exchange, const nghttp2_nv *pairs, size_t count)
{
    const nghttp2_data_provider provider = {
        .source = {.ptr = exchange},
        .read_callback = read_answer,
    };
    int rc = nghttp2_submit_response(exchange->connection->session, exchange->stream_id, pairs,
                                     count, exchange->is_headless ? NULL : &provider);
    return rc == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status http2_begin_answer(struct http_exchange *exchange, uint16_t status,
                               const struct http_header *headers, uint32_t header_count,
                               int64_t length)
{
    enum { OWN_PAIRS = 3, NUMBER_BYTES = 24 };
    struct buf cleaned = {0};
    char status_text[NUMBER_BYTES];
    char length_text[NUMBER_BYTES];
    nghttp2_nv *pairs = calloc((size_t)header_count + OWN_PAIRS, sizeof(*pairs));
    enum status rc = pairs == NULL ? STATUS_NO_MEMORY : clean(headers, header_count, &cleaned);
    if (rc == STATUS_OK) {
        size_t count = 0;
        const uint8_t *at = cleaned.data;
        (void)snprintf(status_text, sizeof(status_text), "%03u", (unsigned)status % 1000);
        (void)snprintf(length_text, sizeof(length_text), "%lld", (long long)length);
        pairs[count++] = text_pair(":status", status_text);
        pairs[count++] = text_pair("date", http_server_date(exchange->server));
        for (uint32_t i = 0; i < header_count; i++) {
            struct bytes name = bytes_of(at, headers[i].name.size);
            struct bytes value = bytes_of(at + name.size, headers[i].value.size);
            at += name.size + value.size;
            if (!is_of_connection(name)) {
                pairs[count++] = pair(name, value);
            }
        }
        if (length != HTTP_LENGTH_UNKNOWN && status >= 200 && status != 204) {
            pairs[count++] = text_pair("content-length", length_text);
        }
        rc = submit(exchange, pairs, count);
    }
    free(pairs);
    buf_release(&cleaned);
    return rc;
}

/* ---- what follows ---- */

void http2_continue_answer(struct http_exchange *exchange)
{
    nghttp2_session *session = exchange->connection->session;
    if (exchange->is_aborted) {
        http2_reset(exchange, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    int rc = nghttp2_session_resume_data(session, exchange->stream_id);
    /* INVALID_ARGUMENT: it is not waiting, because it has never begun or the window is closed. */
    if (rc != 0 && rc != NGHTTP2_ERR_INVALID_ARGUMENT) {
        connection_abort(exchange->connection, STATUS_NO_MEMORY, nghttp2_strerror(rc));
    }
}

void http2_reset(struct http_exchange *exchange, uint32_t code)
{
    struct http_connection *connection = exchange->connection;
    exchange->is_refused = true;
    int rc = nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, exchange->stream_id,
                                       code);
    if (rc != 0) {
        connection_abort(connection, STATUS_NO_MEMORY, nghttp2_strerror(rc));
        return;
    }
    connection_pump_soon(connection);
}

/* The answer is out and the client still sends: it need not. */
static int stop_request(nghttp2_session *session, int32_t stream_id)
{
    const struct http_exchange *exchange = nghttp2_session_get_stream_user_data(session, stream_id);
    if (exchange == NULL || exchange->is_complete) {
        return 0;
    }
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR) == 0
               ? 0
               : NGHTTP2_ERR_CALLBACK_FAILURE;
}

/* A reset that a client has provoked counts as its own. */
static bool is_provoked(uint32_t code)
{
    return code == NGHTTP2_PROTOCOL_ERROR || code == NGHTTP2_FLOW_CONTROL_ERROR ||
           code == NGHTTP2_STREAM_CLOSED || code == NGHTTP2_FRAME_SIZE_ERROR ||
           code == NGHTTP2_COMPRESSION_ERROR || code == NGHTTP2_REFUSED_STREAM;
}

int http2_on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct http_connection *connection = user_data;
    bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (frame->hd.type == NGHTTP2_RST_STREAM && is_provoked(frame->rst_stream.error_code)) {
        return http2_count_reset(connection);
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) && is_end) {
        return stop_request(session, frame->hd.stream_id);
    }
    return 0;
}

void http2_pump(struct http_connection *connection)
{
    while (!connection->is_finished && stream_queued(connection->stream) < HTTP_WRITE_AHEAD) {
        const uint8_t *data = NULL;
        ssize_t size = nghttp2_session_mem_send(connection->session, &data);
        if (size < 0) {
            connection_abort(connection, STATUS_NO_MEMORY, nghttp2_strerror((int)size));
        }
        if (size <= 0) {
            return;
        }
        stream_send(connection->stream, bytes_of(data, (size_t)size));
    }
}

/* ---- goodbye ---- */

void http2_say_goodbye(struct http_connection *connection)
{
    if (connection->session == NULL || nghttp2_submit_shutdown_notice(connection->session) != 0) {
        connection_abort(connection, STATUS_CLOSING, "the server is closing");
        return;
    }
    connection->goodbye_ms = http_now(connection) + GOODBYE_MS;
    connection_arm(connection, connection->goodbye_ms);
}

void http2_say_last_goodbye(struct http_connection *connection)
{
    nghttp2_session *session = connection->session;
    int32_t last = nghttp2_session_get_last_proc_stream_id(session);
    if (nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0) != 0) {
        connection_abort(connection, STATUS_NO_MEMORY, "no memory for a GOAWAY");
        return;
    }
    connection_pump_soon(connection);
}

bool http2_is_over(const struct http_connection *connection)
{
    return nghttp2_session_want_read(connection->session) == 0 &&
           nghttp2_session_want_write(connection->session) == 0;
}
