#include "proto/net/pages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/list.h"
#include "proto/net/page_request.h"
#include "proto/net/stream.h"

enum { ADDRESS_BYTES = HOST_BYTES + 8, HEAD_BYTES = 256 };

struct pages {
    struct pages_options options;
    struct stream_listener *listener;
    struct list visitors;
    uint32_t count;
    bool closing;
};

struct visitor {
    struct list node;
    struct pages *pages;
    struct stream *stream;
    struct net_timer deadline;
    bool answered;
};

static void free_if_done(struct pages *pages)
{
    if (pages->closing && pages->count == 0) {
        free(pages);
    }
}

static void too_slow(struct net_timer *timer)
{
    struct visitor *visitor = CONTAINER_OF(timer, struct visitor, deadline);
    stream_close(visitor->stream, STATUS_TIMEOUT, "too slow");
}

static bool accepted(struct stream *stream, void *listener_data)
{
    struct pages *pages = listener_data;
    struct visitor *visitor = pages->closing || pages->count >= PAGES_CONNECTIONS_MAX
                                  ? NULL
                                  : calloc(1, sizeof(*visitor));
    struct net_loop *loop = pages->options.loop;
    if (visitor == NULL || net_timer_start(loop, &visitor->deadline, net_now_ms(loop) + PAGES_MS,
                                           too_slow) != STATUS_OK) {
        free(visitor);
        return false;
    }
    visitor->pages = pages;
    visitor->stream = stream;
    stream_set_data(stream, visitor);
    list_push(&pages->visitors, &visitor->node);
    pages->count++;
    return true;
}

static const char *reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *text;
    } reasons[] = {
        {200, "OK"                             },
        {400, "Bad Request"                    },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {414, "URI Too Long"                   },
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"          },
        {503, "Service Unavailable"            },
        {505, "HTTP Version Not Supported"     },
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].text;
        }
    }
    return "Status";
}

static void send_page(struct visitor *visitor, struct page *page)
{
    char head[HEAD_BYTES];
    if (page->body.size == 0) {
        const char *text = reason(page->status);
        if (buf_append(&page->body, text, strlen(text)) != STATUS_OK ||
            buf_append(&page->body, "\n", 1) != STATUS_OK) {
            stream_close(visitor->stream, STATUS_NO_MEMORY, "out of memory");
            return;
        }
    }
    int size = snprintf(head, sizeof(head),
                        "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                        "Cache-Control: no-store\r\nConnection: close\r\n%s\r\n",
                        (unsigned)page->status, reason(page->status),
                        page->type == NULL ? "text/plain; charset=utf-8" : page->type,
                        page->body.size, page->status == 405 ? "Allow: GET\r\n" : "");
    stream_send(visitor->stream, bytes_of(head, (size_t)size));
    stream_send(visitor->stream, buf_bytes(&page->body));
    stream_finish(visitor->stream, "answered");
}

static size_t received(struct stream *stream, struct bytes bytes)
{
    struct visitor *visitor = stream_data(stream);
    char path[PAGE_PATH_BYTES];
    if (visitor->answered) {
        return bytes.size;
    }
    struct page page = {.status = page_request_parse(bytes, path)};
    if (page.status == 0) {
        return 0;
    }
    visitor->answered = true;
    if (page.status == 200) {
        page.status = 404;
        visitor->pages->options.answer(visitor->pages->options.data, path, &page);
    }
    send_page(visitor, &page);
    buf_release(&page.body);
    return bytes.size;
}

static void opened(struct stream *stream)
{
    (void)stream;
}

static void drained(struct stream *stream)
{
    (void)stream;
}

static void closed(struct stream *stream, const struct error *why)
{
    (void)why;
    struct visitor *visitor = stream_data(stream);
    struct pages *pages = visitor->pages;
    net_timer_stop(pages->options.loop, &visitor->deadline);
    list_remove(&visitor->node);
    pages->count--;
    free(visitor);
    free_if_done(pages);
}

static const struct stream_handlers handlers = {.accepted = accepted,
                                                .opened = opened,
                                                .received = received,
                                                .drained = drained,
                                                .closed = closed};

NODISCARD static enum status split_address(const char *address, char host[ADDRESS_BYTES],
                                           uint16_t *out_port)
{
    const char *colon = strrchr(address, ':'), *digits = colon == NULL ? address : colon + 1;
    const char *begin = colon == NULL ? "127.0.0.1" : address;
    size_t size = colon == NULL ? strlen(begin) : (size_t)(colon - address);
    struct error why;
    if (size >= 2 && begin[0] == '[' && begin[size - 1] == ']') {
        begin++;
        size -= 2;
    } else if (memchr(begin, ':', size) != NULL) {
        return STATUS_INVALID;
    }
    if (size == 0 || size >= ADDRESS_BYTES || digits[0] == '\0' ||
        config_value_parse(CONFIG_PORT, digits, out_port, &why) != STATUS_OK) {
        return STATUS_INVALID;
    }
    memcpy(host, begin, size);
    host[size] = '\0';
    return STATUS_OK;
}

enum status pages_open(const struct pages_options *options, const char *address, struct pages **out,
                       struct error *error)
{
    char host[ADDRESS_BYTES];
    uint16_t port = 0;
    if (split_address(address, host, &port) != STATUS_OK) {
        return error_set(error, STATUS_INVALID,
                         "'%.100s' is not HOST:PORT, such as 127.0.0.1:9311 or [::1]:9311",
                         address);
    }
    struct pages *pages = calloc(1, sizeof(*pages));
    if (pages == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    pages->options = *options;
    list_init(&pages->visitors);
    const struct stream_options streams = {
        .loop = options->loop, .handlers = &handlers, .listener_data = pages};
    enum status status = stream_listen(&streams, host, port, &pages->listener, error);
    if (status != STATUS_OK) {
        free(pages);
        return status;
    }
    *out = pages;
    return STATUS_OK;
}

uint16_t pages_port(const struct pages *pages)
{
    return stream_listener_port(pages->listener);
}

void pages_close(struct pages *pages)
{
    if (pages == NULL || pages->closing) {
        return;
    }
    pages->closing = true;
    stream_listener_close(pages->listener);
    LIST_FOR_EACH_SAFE (node, &pages->visitors) {
        stream_close(CONTAINER_OF(node, struct visitor, node)->stream, STATUS_CLOSING,
                     "the process is ending");
    }
    free_if_done(pages);
}
