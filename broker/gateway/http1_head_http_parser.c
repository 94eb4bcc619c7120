/* A head through http-parser, where llhttp is not packaged. It reads more than we accept; http1.c
 * has refused the rest before. */
#include <http_parser.h>

#include "broker/gateway/http1.h"

static int on_url(http_parser *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    head->target = bytes_of(at, size);
    return 0;
}

static int on_name(http_parser *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    if (head->header_count == head->header_capacity) {
        return 1;
    }
    uint8_t *name = head->buf.data + ((const uint8_t *)at - head->buf.data);
    for (size_t i = 0; i < size; i++) {
        name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] | 0x20) : name[i];
    }
    head->headers[head->header_count++] = (struct http_header){.name = bytes_of(name, size)};
    return 0;
}

static int on_value(http_parser *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    if (head->header_count == 0) {
        return 1;
    }
    head->headers[head->header_count - 1].value = http_trim(bytes_of(at, size));
    return 0;
}

/* What follows is not the parser's: our own rules frame the body. */
static int on_complete(http_parser *parser)
{
    http_parser_pause(parser, 1);
    return 0;
}

enum status http1_head_parse(struct http1_head *head)
{
    static const http_parser_settings settings = {
        .on_url = on_url,
        .on_header_field = on_name,
        .on_header_value = on_value,
        .on_headers_complete = on_complete,
    };
    http_parser parser;
    head->header_count = 0;
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = head;
    (void)http_parser_execute(&parser, &settings, (const char *)head->buf.data, head->buf.size);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_PAUSED) {
        return HTTP_PARSER_ERRNO(&parser) == HPE_CB_header_field ? STATUS_TOO_LARGE
                                                                 : STATUS_INVALID;
    }
    const char *method = http_method_str((enum http_method)parser.method);
    head->method = bytes_of(head->buf.data, strlen(method));
    head->version = parser.http_minor == 0 ? HTTP_VERSION_1_0 : HTTP_VERSION_1_1;
    return STATUS_OK;
}
