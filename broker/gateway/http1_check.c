/* What a head must say for us to read the body behind it the way its sender means it. */
#include "broker/gateway/http1.h"

struct framing {
    uint32_t hosts, lengths, encodings, expects;
    bool is_encoding_chunked, is_chunked_last, is_expect_known, is_host_valid, is_length_valid;
};

struct bytes http_trim(struct bytes value)
{
    while (value.size > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = bytes_of(value.data + 1, value.size - 1);
    }
    while (value.size > 0 &&
           (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) {
        value.size--;
    }
    return value;
}

bool http_name_equals(struct bytes name, const char *lower_case)
{
    return bytes_equal(name, bytes_of_string(lower_case));
}

static uint8_t to_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool equals_ignoring_case(struct bytes value, const char *lower_case)
{
    if (value.size != strlen(lower_case)) {
        return false;
    }
    for (size_t i = 0; i < value.size; i++) {
        if (to_lower(value.data[i]) != (uint8_t)lower_case[i]) {
            return false;
        }
    }
    return true;
}

bool http_parse_length(struct bytes text, uint64_t *out)
{
    enum { DIGITS_MAX = 18 };
    uint64_t value = 0;
    if (text.size == 0 || text.size > DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = value;
    return true;
}

bool http_target_is_valid(struct bytes target)
{
    if (target.size == 0 || (target.data[0] != '/' && !bytes_equal(target, bytes_of("*", 1)))) {
        return false;
    }
    for (size_t i = 0; i < target.size; i++) {
        uint8_t c = target.data[i];
        if (c <= 0x20 || c >= 0x7f || c == '#') {
            return false;
        }
    }
    return true;
}

static bool host_is_valid(struct bytes host)
{
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i];
        if (c <= 0x20 || c >= 0x7f || strchr("/?#@\\,\"<>", c) != NULL) {
            return false;
        }
    }
    return host.size > 0;
}

/* One of the words of a comma separated list, and what is behind it. */
static struct bytes next_word(struct bytes *list)
{
    const uint8_t *comma = list->size == 0 ? NULL : memchr(list->data, ',', list->size);
    size_t size = comma == NULL ? list->size : (size_t)(comma - list->data);
    struct bytes word = http_trim(bytes_of(list->data, size));
    size_t skip = comma == NULL ? size : size + 1;
    *list = bytes_of(list->data + skip, list->size - skip);
    return word;
}

static bool list_ends_with(struct bytes list, const char *lower_case)
{
    struct bytes last = {0};
    while (list.size > 0) {
        last = next_word(&list);
    }
    return equals_ignoring_case(last, lower_case);
}

static bool list_has(struct bytes list, const char *lower_case)
{
    while (list.size > 0) {
        if (equals_ignoring_case(next_word(&list), lower_case)) {
            return true;
        }
    }
    return false;
}

static void note_header(struct http1_head *head, struct framing *framing,
                        const struct http_header *header)
{
    if (http_name_equals(header->name, "host")) {
        framing->hosts++;
        framing->is_host_valid = host_is_valid(header->value);
    } else if (http_name_equals(header->name, "content-length")) {
        framing->lengths++;
        framing->is_length_valid = http_parse_length(header->value, &head->body_bytes);
    } else if (http_name_equals(header->name, "transfer-encoding")) {
        framing->encodings++;
        framing->is_encoding_chunked = equals_ignoring_case(header->value, "chunked");
        framing->is_chunked_last = list_ends_with(header->value, "chunked");
    } else if (http_name_equals(header->name, "expect")) {
        framing->expects++;
        framing->is_expect_known = equals_ignoring_case(header->value, "100-continue");
    } else if (http_name_equals(header->name, "connection")) {
        head->closes = head->closes || list_has(header->value, "close");
    }
}

static enum status refuse(uint16_t status, const char *why, struct http_refusal *out_refusal)
{
    *out_refusal = (struct http_refusal){.status = status, .why = why};
    return STATUS_INVALID;
}

static struct bytes request_line(const struct http1_head *head)
{
    const uint8_t *end = memchr(head->buf.data, '\r', head->buf.size);
    return bytes_of(head->buf.data, end == NULL ? 0 : (size_t)(end - head->buf.data));
}

enum { VERSION_BYTES = 8 };

enum status http1_version_check(const struct http1_head *head, struct http_refusal *out_refusal)
{
    struct bytes line = request_line(head);
    size_t at = line.size < VERSION_BYTES ? 0 : line.size - VERSION_BYTES;
    const uint8_t *version = line.data + at;
    if (line.size < VERSION_BYTES || memcmp(version, "HTTP/", 5) != 0 || version[6] != '.') {
        return refuse(400, "The request line is not well formed.", out_refusal);
    }
    if (version[5] != '1' || (version[7] != '1' && version[7] != '0')) {
        return refuse(505, "HTTP/1.1 and HTTP/2 are spoken here.", out_refusal);
    }
    return STATUS_OK;
}

/* RFC 9112, 3: exactly one blank between the three parts. */
static enum status check_line(const struct http1_head *head, struct http_refusal *out_refusal)
{
    struct bytes line = request_line(head);
    size_t expected = head->method.size + 1 + head->target.size + 1;
    if (line.size != expected + VERSION_BYTES || !http_is_token(head->method) ||
        line.data[head->method.size] != ' ' || line.data[expected - 1] != ' ') {
        return refuse(400, "The request line is not well formed.", out_refusal);
    }
    if (!http_target_is_valid(head->target)) {
        return refuse(400, "The request target must be a path.", out_refusal);
    }
    return STATUS_OK;
}

/* RFC 9112, 6.1 and 6.3. */
static enum status check_encoding(const struct http1_head *head, const struct framing *framing,
                                  struct http_refusal *out_refusal)
{
    if (framing->encodings > 1 || framing->lengths > 0 || head->version == HTTP_VERSION_1_0 ||
        !framing->is_chunked_last) {
        return refuse(400, "The length of the request's body is ambiguous.", out_refusal);
    }
    if (!framing->is_encoding_chunked) {
        return refuse(501, "The only transfer coding here is chunked.", out_refusal);
    }
    return STATUS_OK;
}

enum status http1_head_check(struct http1_head *head, struct http_refusal *out_refusal)
{
    struct framing framing = {0};
    enum status status = check_line(head, out_refusal);
    if (status != STATUS_OK) {
        return status;
    }
    head->body_bytes = 0;
    head->closes = head->version == HTTP_VERSION_1_0;
    for (uint32_t i = 0; i < head->header_count; i++) {
        note_header(head, &framing, &head->headers[i]);
    }
    if (framing.hosts > 1 || (framing.hosts == 1 && !framing.is_host_valid) ||
        (framing.hosts == 0 && head->version == HTTP_VERSION_1_1)) {
        return refuse(400, "There must be exactly one valid Host header.", out_refusal);
    }
    if (framing.lengths > 1 || (framing.lengths == 1 && !framing.is_length_valid)) {
        return refuse(400, "There must be at most one valid Content-Length header.", out_refusal);
    }
    if (framing.encodings > 0) {
        status = check_encoding(head, &framing, out_refusal);
        if (status != STATUS_OK) {
            return status;
        }
        head->is_chunked = true;
    }
    if (framing.expects > 0 && (framing.expects > 1 || !framing.is_expect_known)) {
        return refuse(417, "The only expectation here is 100-continue.", out_refusal);
    }
    head->expects_continue = framing.expects > 0 && head->version == HTTP_VERSION_1_1;
    return STATUS_OK;
}

const char *http_reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *phrase;
    } reasons[] = {
        {100, "Continue"                       },
        {200, "OK"                             },
        {204, "No Content"                     },
        {304, "Not Modified"                   },
        {400, "Bad Request"                    },
        {403, "Forbidden"                      },
        {404, "Not Found"                      },
        {405, "Method Not Allowed"             },
        {408, "Request Timeout"                },
        {413, "Content Too Large"              },
        {414, "URI Too Long"                   },
        {417, "Expectation Failed"             },
        {429, "Too Many Requests"              },
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"          },
        {501, "Not Implemented"                },
        {503, "Service Unavailable"            },
        {505, "HTTP Version Not Supported"     },
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].phrase;
        }
    }
    return "";
}
