/* A head through llhttp, where it is packaged. */
#include <llhttp.h>

#include "broker/gateway/http1.h"

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    head->target = bytes_of(at, size);
    return HPE_OK;
}

static int on_name(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    if (head->header_count == head->header_capacity) {
        return HPE_USER;
    }
    uint8_t *name = head->buf.data + ((const uint8_t *)at - head->buf.data);
    for (size_t i = 0; i < size; i++) {
        name[i] = name[i] >= 'A' && name[i] <= 'Z' ? (uint8_t)(name[i] | 0x20) : name[i];
    }
    head->headers[head->header_count++] = (struct http_header){.name = bytes_of(name, size)};
    return HPE_OK;
}

static int on_value(llhttp_t *parser, const char *at, size_t size)
{
    struct http1_head *head = parser->data;
    if (head->header_count == 0) {
        return HPE_USER;
    }
    head->headers[head->header_count - 1].value = http_trim(bytes_of(at, size));
    return HPE_OK;
}

/* What follows is not the parser's: our own rules frame the body. */
static int on_complete(llhttp_t *parser)
{
    (void)parser;
    return HPE_PAUSED;
}

enum status http1_head_parse(struct http1_head *head)
{
    llhttp_settings_t settings;
    llhttp_t parser;
    llhttp_settings_init(&settings);
    settings.on_url = on_url;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_headers_complete = on_complete;
    head->header_count = 0;
    llhttp_init(&parser, HTTP_REQUEST, &settings);
    parser.data = head;
    llhttp_errno_t rc = llhttp_execute(&parser, (const char *)head->buf.data, head->buf.size);
    if (rc != HPE_PAUSED) {
        return rc == HPE_USER ? STATUS_TOO_LARGE : STATUS_INVALID;
    }
    const char *method = llhttp_method_name((llhttp_method_t)llhttp_get_method(&parser));
    head->method = bytes_of(head->buf.data, strlen(method));
    head->version = llhttp_get_http_minor(&parser) == 0 ? HTTP_VERSION_1_0 : HTTP_VERSION_1_1;
    return STATUS_OK;
}
