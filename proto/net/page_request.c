#include "proto/net/page_request.h"

#include <string.h>
#include <strings.h>

/* Up to CR LF, which is taken, too. False: there is none, or a control character before it. */
static bool take_line(struct bytes *in, struct bytes *out)
{
    for (size_t i = 0; i < in->size; i++) {
        uint8_t c = in->data[i];
        if (c == '\r' && i + 1 < in->size && in->data[i + 1] == '\n') {
            *out = bytes_of(in->data, i);
            *in = bytes_of(in->data + i + 2, in->size - i - 2);
            return true;
        }
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return false;
}

static bool is_token(struct bytes text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.size; i++) {
        char c = (char)text.data[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c != '\0' && strchr(others, c) != NULL);
        if (!good) {
            return false;
        }
    }
    return text.size > 0;
}

/* Up to the first `separator`; what is behind it becomes the rest. False: there is none. */
static bool split(struct bytes *rest, char separator, struct bytes *out)
{
    const uint8_t *at = rest->size == 0 ? NULL : memchr(rest->data, separator, rest->size);
    if (at == NULL) {
        return false;
    }
    size_t size = (size_t)(at - rest->data);
    *out = bytes_of(rest->data, size);
    *rest = bytes_of(at + 1, rest->size - size - 1);
    return true;
}

static bool is(struct bytes text, const char *other)
{
    return text.size == strlen(other) &&
           strncasecmp((const char *)text.data, other, text.size) == 0;
}

static struct bytes trim(struct bytes text)
{
    while (text.size > 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

static uint16_t parse_request_line(struct bytes line, char out[PAGE_PATH_BYTES])
{
    struct bytes method, target;
    if (!split(&line, ' ', &method) || !split(&line, ' ', &target) || !is_token(method) ||
        target.size == 0 || target.data[0] != '/') {
        return 400;
    }
    if (!bytes_equal(line, bytes_of_string("HTTP/1.1")) &&
        !bytes_equal(line, bytes_of_string("HTTP/1.0"))) {
        return line.size == 8 && memcmp(line.data, "HTTP/", 5) == 0 ? 505 : 400;
    }
    if (!bytes_equal(method, bytes_of_string("GET"))) {
        return 405;
    }
    const uint8_t *query = memchr(target.data, '?', target.size);
    size_t size = query == NULL ? target.size : (size_t)(query - target.data);
    if (size >= PAGE_PATH_BYTES) {
        return 414;
    }
    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7f) {
            return 400;
        }
    }
    memcpy(out, target.data, size);
    out[size] = '\0';
    return 200;
}

/* False: the request is refused. */
static bool check_header(struct bytes line, uint32_t *hosts)
{
    struct bytes name;
    if (!split(&line, ':', &name) || !is_token(name)) {
        return false;
    }
    *hosts += is(name, "host") ? 1 : 0;
    return !is(name, "transfer-encoding") &&
           (!is(name, "content-length") || bytes_equal(trim(line), bytes_of_string("0")));
}

uint16_t page_request_parse(struct bytes in, char out[PAGE_PATH_BYTES])
{
    if (in.size == 0) {
        return 0;
    }
    bool whole = memmem(in.data, in.size, "\r\n\r\n", 4) != NULL;
    if (!whole) {
        return in.size > PAGE_HEAD_MAX ? 431 : 0;
    }
    struct bytes all = in, line;
    char path[PAGE_PATH_BYTES];
    if (!take_line(&in, &line)) {
        return 400;
    }
    bool is_old = line.size > 3 && memcmp(line.data + line.size - 3, "1.0", 3) == 0;
    uint16_t status = parse_request_line(line, path);
    uint32_t hosts = 0;
    while (status == 200) {
        if (!take_line(&in, &line)) {
            return 400;
        }
        if (line.size == 0) {
            break;
        }
        status = check_header(line, &hosts) ? 200 : 400;
    }
    if (status != 200) {
        return status;
    }
    if (all.size - in.size > PAGE_HEAD_MAX) {
        return 431;
    }
    if (hosts > 1 || (hosts == 0 && !is_old)) {
        return 400;
    }
    memcpy(out, path, sizeof(path));
    return 200;
}
