#include "broker/gateway/http1.h"

#include <stdlib.h>

#include "base/check.h"

enum state {
    START,      /* before a request line */
    START_LF,   /* the LF of an empty line there */
    LINE,       /* in the request line */
    LINE_LF,    /* the LF at the end of a line of the head */
    FIELD,      /* at the beginning of a line behind the first */
    NAME,       /* in a field's name */
    VALUE,      /* in its value */
    LAST_LF,    /* the LF of the empty line that ends the head */
    BODY,       /* `left` bytes of it to come */
    CHUNK_SIZE, /* in the digits of a chunk's size */
    CHUNK_LF,   /* the LF behind them */
    CHUNK,      /* `left` bytes of the chunk to come */
    CHUNK_CR,   /* the CRLF behind it */
    CHUNK_END,
    LAST_CHUNK_CR, /* the CRLF behind the last chunk, where trailers would be */
    LAST_CHUNK_END,
    DONE, /* END is due */
    REFUSED,
};

enum { CHUNK_DIGITS_MAX = 8 };

static bool is_tchar(uint8_t c)
{
    bool is_alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    return is_alnum || (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http_is_token(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        if (!is_tchar(name.data[i])) {
            return false;
        }
    }
    return name.size > 0;
}

static enum http1_event refuse(struct http1 *http1, uint16_t status, const char *why)
{
    http1->state = REFUSED;
    http1->refusal = (struct http_refusal){.status = status, .why = why};
    return HTTP1_REFUSED;
}

/* ---- the head, line by line ---- */

/* Takes note of one byte of the head and moves on. False when it must not stand there. */
static bool step_head(struct http1 *http1, uint8_t c)
{
    switch ((enum state)http1->state) {
    case LINE:
        http1->state = c == '\r' ? LINE_LF : LINE;
        return c == '\r' || (c >= 0x20 && c < 0x7f);
    case LINE_LF:
        http1->state = FIELD;
        return c == '\n';
    case FIELD:
        http1->state = c == '\r' ? LAST_LF : NAME;
        return c == '\r' || is_tchar(c); /* a blank would fold the line onto the one before */
    case NAME:
        http1->state = c == ':' ? VALUE : NAME;
        return c == ':' || is_tchar(c);
    case VALUE:
        http1->state = c == '\r' ? LINE_LF : VALUE;
        return c == '\r' || c == '\t' || (c >= 0x20 && c != 0x7f);
    case LAST_LF:
        return c == '\n';
    case START:
    case START_LF:
    case BODY:
    case CHUNK_SIZE:
    case CHUNK_LF:
    case CHUNK:
    case CHUNK_CR:
    case CHUNK_END:
    case LAST_CHUNK_CR:
    case LAST_CHUNK_END:
    case DONE:
    case REFUSED:
        break;
    }
    UNREACHABLE();
}

static enum http1_event head_is_complete(struct http1 *http1)
{
    struct http1_head *head = &http1->head;
    head->header_capacity = http1->head_lines;
    head->headers = calloc(http1->head_lines + 1, sizeof(*head->headers));
    if (head->headers == NULL) {
        return HTTP1_FAILED;
    }
    struct http_refusal refusal;
    if (http1_version_check(head, &refusal) != STATUS_OK) {
        return refuse(http1, refusal.status, refusal.why);
    }
    /* The packaged parser must find the same lines that the rules above have found. */
    if (http1_head_parse(head) != STATUS_OK || head->header_count != http1->head_lines) {
        return refuse(http1, 400, "The request's head is not well formed.");
    }
    if (http1_head_check(head, &refusal) != STATUS_OK) {
        return refuse(http1, refusal.status, refusal.why);
    }
    if (!head->is_chunked && head->body_bytes > http1->limits->body_max) {
        return refuse(http1, 413, "The request's body is too large.");
    }
    http1->left = head->body_bytes;
    http1->state = head->is_chunked ? CHUNK_SIZE : http1->left > 0 ? BODY : DONE;
    http1->digits = 0;
    return HTTP1_HEAD;
}

/* The number of header lines is known by the time of the last. */
static enum http1_event check_head_limits(struct http1 *http1, size_t head_bytes)
{
    const struct http_limits *limits = http1->limits;
    if (http1->state == LINE || http1->head_lines == 0) {
        if (http1->line_bytes > limits->request_line_max) {
            return refuse(http1, 414, "The request line is too long.");
        }
    }
    if (head_bytes - http1->line_bytes > limits->head_max ||
        http1->head_lines > limits->headers_max) {
        return refuse(http1, 431, "The request's headers are too large or too many.");
    }
    return HTTP1_MORE;
}

static enum http1_event next_of_head(struct http1 *http1, struct bytes *in)
{
    struct http1_head *head = &http1->head;
    size_t begin = head->buf.size, taken = 0;
    bool is_complete = false;
    enum http1_event event = HTTP1_MORE;
    while (taken < in->size && !is_complete && event == HTTP1_MORE) {
        uint8_t c = in->data[taken++];
        enum state before = http1->state;
        if (!step_head(http1, c)) {
            return refuse(http1, 400, "The request's head is not well formed.");
        }
        http1->line_bytes += http1->head_lines == 0 && before <= LINE_LF;
        http1->head_lines += before == FIELD && c != '\r';
        is_complete = before == LAST_LF;
        event = check_head_limits(http1, begin + taken);
    }
    if (event != HTTP1_MORE) {
        return event;
    }
    if (buf_append(&head->buf, in->data, taken) != STATUS_OK) {
        return HTTP1_FAILED;
    }
    *in = bytes_of(in->data + taken, in->size - taken);
    return is_complete ? head_is_complete(http1) : HTTP1_MORE;
}

/* One empty line in front of a request is somebody's extra line end (RFC 9112, 2.2); HTTP1_END
 * means that a request begins here. */
static enum http1_event skip_empty_line(struct http1 *http1, struct bytes *in)
{
    while (in->size > 0) {
        uint8_t c = in->data[0];
        if (http1->state == START && (c != '\r' || http1->has_skipped_line)) {
            http1->state = LINE;
            http1->line_bytes = http1->head_lines = 0;
            http1->has_skipped_line = false;
            return c == '\r' ? refuse(http1, 400, "The request line is missing.") : HTTP1_END;
        }
        if (http1->state == START_LF) {
            if (c != '\n') {
                return refuse(http1, 400, "The request line is missing.");
            }
            http1->has_skipped_line = true;
        }
        http1->state = http1->state == START ? START_LF : START;
        *in = bytes_of(in->data + 1, in->size - 1);
    }
    return HTTP1_MORE;
}

/* ---- the body ---- */

static enum http1_event next_piece(struct http1 *http1, struct bytes *in, enum state then)
{
    size_t take = in->size < http1->left ? in->size : (size_t)http1->left;
    if (take == 0) {
        return HTTP1_MORE;
    }
    http1->piece = bytes_of(in->data, take);
    *in = bytes_of(in->data + take, in->size - take);
    http1->left -= take;
    if (http1->left == 0) {
        http1->state = (uint8_t)then;
    }
    return HTTP1_BODY;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* One byte around the chunks. False when it must not stand there. */
static bool step_chunk(struct http1 *http1, uint8_t c)
{
    int digit;
    switch ((enum state)http1->state) {
    case CHUNK_SIZE:
        if (c == '\r' && http1->digits > 0) {
            http1->state = CHUNK_LF;
            return true;
        }
        digit = hex_digit(c);
        if (digit < 0 || http1->digits == CHUNK_DIGITS_MAX) {
            return false;
        }
        http1->left = http1->left << 4 | (uint64_t)digit;
        http1->digits++;
        return true;
    case CHUNK_LF:
        http1->state = http1->left > 0 ? CHUNK : LAST_CHUNK_CR;
        return c == '\n';
    case CHUNK_CR:
        http1->state = CHUNK_END;
        return c == '\r';
    case CHUNK_END:
        http1->state = CHUNK_SIZE;
        http1->digits = 0;
        return c == '\n';
    case LAST_CHUNK_CR:
        http1->state = LAST_CHUNK_END;
        return c == '\r';
    case LAST_CHUNK_END:
        http1->state = DONE;
        return c == '\n';
    case START:
    case START_LF:
    case LINE:
    case LINE_LF:
    case FIELD:
    case NAME:
    case VALUE:
    case LAST_LF:
    case BODY:
    case CHUNK:
    case DONE:
    case REFUSED:
        break;
    }
    UNREACHABLE();
}

static enum http1_event next_of_chunks(struct http1 *http1, struct bytes *in)
{
    while (in->size > 0 && http1->state != CHUNK && http1->state != DONE) {
        if (!step_chunk(http1, in->data[0])) {
            return refuse(http1, 400, "The chunks of the request's body are not well formed.");
        }
        *in = bytes_of(in->data + 1, in->size - 1);
    }
    return HTTP1_MORE;
}

/* ---- the reader ---- */

void http1_init(struct http1 *http1, const struct http_limits *limits)
{
    *http1 = (struct http1){.limits = limits};
}

void http1_head_release(struct http1_head *head)
{
    buf_release(&head->buf);
    free(head->headers);
    *head = (struct http1_head){0};
}

void http1_release(struct http1 *http1)
{
    http1_head_release(&http1->head);
}

bool http1_is_in_head(const struct http1 *http1)
{
    return http1->state >= START_LF && http1->state <= LAST_LF;
}

enum http1_event http1_next(struct http1 *http1, struct bytes *in)
{
    for (;;) {
        enum http1_event event = HTTP1_MORE;
        enum state before = http1->state;
        if (before == START || before == START_LF) {
            event = skip_empty_line(http1, in);
            if (event == HTTP1_END) {
                http1_head_release(&http1->head);
                continue;
            }
            return event;
        }
        if (before <= LAST_LF) {
            return next_of_head(http1, in);
        }
        if (before == DONE) {
            http1->state = START;
            return HTTP1_END;
        }
        if (before == REFUSED) {
            return HTTP1_REFUSED;
        }
        if (before == BODY) {
            return next_piece(http1, in, DONE);
        }
        if (before == CHUNK) {
            return next_piece(http1, in, CHUNK_CR);
        }
        event = next_of_chunks(http1, in);
        if (event != HTTP1_MORE || in->size == 0) {
            if (event == HTTP1_MORE && http1->state == DONE) {
                continue;
            }
            return event;
        }
    }
}
