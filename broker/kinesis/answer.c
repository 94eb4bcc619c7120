/* What goes back. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/trace.h"
#include "broker/gateway/api_text.h"
#include "broker/kinesis/internal.h"

enum { ID_2_BYTES = 72 };

static void add(struct http_header *headers, uint32_t *count, const char *name, struct bytes value)
{
    headers[*count] = (struct http_header){.name = bytes_of_string(name), .value = value};
    (*count)++;
}

/* x-amz-id-2: nothing that anybody reads, but there. */
static struct bytes second_id(struct request *r)
{
    uint8_t noise[ID_2_BYTES] = {0};
    size_t size = base64_encoded_size(sizeof(noise));
    uint8_t *text = arena_take_bytes(&r->arena, size);
    if (text == NULL || !random_bytes(noise, sizeof(noise))) {
        return bytes_of_string("-");
    }
    base64_encode(bytes_of(noise, sizeof(noise)), text);
    return bytes_of(text, size);
}

uint32_t answer_headers(struct request *r, const char *type,
                        struct http_header headers[ANSWER_HEADERS_MAX])
{
    uint32_t count = 0;
    add(headers, &count, "x-amzn-RequestId", bytes_of_string(r->id));
    add(headers, &count, "x-amz-id-2", second_id(r));
    if (type != NULL) {
        add(headers, &count, "Content-Type", bytes_of_string(type));
    }
    if (http_header_find(r->http, "origin", NULL) != NULL) {
        add(headers, &count, "Access-Control-Allow-Origin", bytes_of_string("*"));
        add(headers, &count, "Access-Control-Expose-Headers",
            bytes_of_string("x-amzn-RequestId,x-amzn-ErrorType,x-amz-request-id,x-amz-id-2,"
                            "x-amzn-ErrorMessage,Date"));
    }
    return count;
}

static void respond(struct request *r, uint16_t status, const char *type, const char *error_type,
                    struct buf *body)
{
    struct http_header headers[ANSWER_HEADERS_MAX];
    uint32_t count = answer_headers(r, type, headers);
    if (error_type != NULL) {
        add(headers, &count, "x-amzn-ErrorType", bytes_of_string(error_type));
    }
    stats_answered(&r->k->stats, r->operation, status, net_clock_us() - r->came_us);
    struct http_request *http = r->http;
    r->http = NULL;
    http->cancelled = NULL;
    http_respond(http, status, headers, count, body);
    buf_release(body);
    request_settle(r);
}

void answer_error(struct request *r)
{
    struct buf body = {0};
    uint16_t status = exception_http(r->error.exception);
    if (status >= 500) {
        trace(TRACE_WARNING, "kinesis", "%s: %s: %.*s",
              r->operation < API_OPERATIONS ? api_operations[r->operation].name : "request",
              exception_name(r->error.exception), PRINT_BYTES(r->error.text));
    }
    if (api_encode_error(r->encoding, &r->error, &body) != STATUS_OK) {
        buf_release(&body); /* the status alone */
    }
    respond(r, status, api_content_type(r->encoding), exception_name(r->error.exception), &body);
}

void answer_refuse(struct request *r, enum exception exception, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct bytes text = arena_format_list(&r->arena, format, arguments);
    va_end(arguments);
    status_ignore(api_error_set(&r->error, &r->arena, exception, "%.*s", PRINT_BYTES(text)),
                  "it is INVALID, which we know");
    answer_error(r);
}

void answer_status(struct request *r, enum status status, const char *text)
{
    if (text == NULL) {
        status_ignore(api_error_of_status(&r->error, status), "as above");
        answer_error(r);
    } else {
        answer_refuse(r, exception_of_status(status), "%s", text);
    }
}

void answer_plain(struct request *r, uint16_t status, const char *type, const char *text)
{
    struct buf body = {0};
    if (text != NULL && buf_append(&body, text, strlen(text)) != STATUS_OK) {
        buf_release(&body);
    }
    respond(r, status, type, NULL, &body);
}

void answer(struct request *r, const struct value *output)
{
    struct buf body = {0};
    enum status status =
        r->arena.failed ? STATUS_NO_MEMORY : api_encode(r->encoding, output, &body);
    if (status != STATUS_OK) {
        buf_release(&body);
        answer_status(r, status, NULL);
        return;
    }
    respond(r, 200, api_content_type(r->encoding), NULL, &body);
}

void answer_empty(struct request *r)
{
    struct buf none = {0};
    respond(r, 200, api_content_type(r->encoding), NULL, &none);
}
