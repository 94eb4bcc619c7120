/* HTTP/1.1 heads and bodies: however the bytes are cut, the reader says the same of them. */
#include <stdlib.h>
#include <string.h>

#include "broker/gateway/http1.h"
#include "tests/fuzz/fuzz.h"

enum { TRANSCRIPT_BYTES = 1 << 16 };

static const struct http_limits limits = {.request_line_max = 256,
                                          .head_max = 2048,
                                          .headers_max = 32,
                                          .body_max = 4096};

struct transcript {
    uint8_t bytes[TRANSCRIPT_BYTES];
    size_t size;
    bool over;
};

static void say(struct transcript *t, const void *data, size_t size)
{
    size_t room = sizeof(t->bytes) - t->size;
    size = size < room ? size : room;
    if (size > 0) {
        memcpy(t->bytes + t->size, data, size);
        t->size += size;
    }
}

static void say_head(struct transcript *t, const struct http1_head *head)
{
    say(t, "H", 1);
    say(t, head->method.data, head->method.size);
    say(t, head->target.data, head->target.size);
    say(t, &head->body_bytes, sizeof(head->body_bytes));
    CHECK(head->target.size > 0 && head->method.size > 0);
    CHECK(!(head->is_chunked && head->body_bytes > 0));
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *h = &head->headers[i];
        CHECK(h->name.size > 0 && http_is_token(h->name));
        CHECK(memchr(h->value.data, '\r', h->value.size) == NULL || h->value.size == 0);
        CHECK(memchr(h->value.data, '\n', h->value.size) == NULL || h->value.size == 0);
        say(t, h->name.data, h->name.size);
        say(t, h->value.data, h->value.size);
    }
}

static void feed(struct http1 *http1, struct bytes in, struct transcript *t)
{
    while (!t->over) {
        switch (http1_next(http1, &in)) {
        case HTTP1_MORE:
            CHECK(in.size == 0);
            return;
        case HTTP1_HEAD:
            say_head(t, &http1->head);
            break;
        case HTTP1_BODY:
            say(t, http1->piece.data, http1->piece.size);
            break;
        case HTTP1_END:
            say(t, "|", 1);
            break;
        case HTTP1_REFUSED:
            CHECK(http1->refusal.status >= 400 && http1->refusal.why != NULL);
            say(t, &http1->refusal.status, sizeof(http1->refusal.status));
            t->over = true;
            break;
        case HTTP1_FAILED:
            abort();
        }
    }
}

static void read_all(struct bytes in, size_t piece, struct transcript *out)
{
    struct http1 http1;
    http1_init(&http1, &limits);
    out->size = 0;
    out->over = false;
    while (in.size > 0) {
        size_t size = in.size < piece ? in.size : piece;
        feed(&http1, bytes_of(in.data, size), out);
        in = bytes_of(in.data + size, in.size - size);
    }
    http1_release(&http1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct transcript whole, cut;
    struct bytes in = bytes_of(data, size);
    read_all(in, size + 1, &whole);
    read_all(in, 1, &cut);
    CHECK(whole.size == cut.size && memcmp(whole.bytes, cut.bytes, whole.size) == 0);
    read_all(in, size == 0 ? 1 : 1 + data[size - 1] % 31, &cut);
    CHECK(whole.size == cut.size && memcmp(whole.bytes, cut.bytes, whole.size) == 0);
    return 0;
}
