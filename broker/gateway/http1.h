/* HTTP/1.1 requests out of a stream of bytes: heads through the packaged parser, framing by rules
 * of our own that leave two readers nothing to disagree about (RFC 9112, section 11.2).
 *
 * Pure: no I/O, no clock. Strict where the standard lets a recipient be lenient: every line ends
 * with CRLF, no folded lines, no blanks around names, one Host, at most one Content-Length of
 * digits, Transfer-Encoding only "chunked" and never beside a Content-Length, chunks without
 * extensions, no trailers. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "broker/gateway/http.h"

/* What a head says; everything points into its buffer. */
struct http1_head {
    struct buf buf;
    struct bytes method, target;
    enum http_version version;
    struct http_header *headers; /* owned */
    uint32_t header_count, header_capacity;
    bool is_chunked, expects_continue, closes;
    uint64_t body_bytes; /* Content-Length; 0 without */
};
void http1_head_release(struct http1_head *head);

/* http1_head_*.c, one of them by what the distribution packages: fills method, target, version and
 * headers from a whole head in head->buf, which ends with its empty line and obeys http1.c's rules
 * for lines already. Names get lower case in place.
 *
 * INVALID, TOO_LARGE for more than head->header_capacity headers */
NODISCARD enum status http1_head_parse(struct http1_head *head);

/* Why a request is refused. */
struct http_refusal {
    uint16_t status;
    const char *why; /* a sentence; static */
};

/* Before a parser may stumble over it: whether the first line names a version that we speak. */
NODISCARD enum status http1_version_check(const struct http1_head *head,
                                          struct http_refusal *out_refusal);

/* Checks a parsed head and fills the rest of it. OK, or INVALID with *out_refusal. */
NODISCARD enum status http1_head_check(struct http1_head *head, struct http_refusal *out_refusal);

/* Whether a request target (or HTTP/2's :path) is one that we serve. */
bool http_target_is_valid(struct bytes target);
bool http_is_token(struct bytes name);
/* The value without blanks around it. */
struct bytes http_trim(struct bytes value);
bool http_name_equals(struct bytes name, const char *lower_case);
/* 1 to 18 digits. */
bool http_parse_length(struct bytes text, uint64_t *out);

enum http1_event {
    HTTP1_MORE,    /* everything was consumed; feed more */
    HTTP1_HEAD,    /* `head` is there; the caller may take it */
    HTTP1_BODY,    /* `piece` is the next of the body, borrowed from the input */
    HTTP1_END,     /* the request is complete */
    HTTP1_REFUSED, /* `refusal` says why; nothing more comes of this reader */
    HTTP1_FAILED,  /* out of memory */
};

struct http1 {
    const struct http_limits *limits; /* borrowed */
    uint8_t state;                    /* of http1.c */
    uint8_t digits;                   /* of a chunk's size */
    uint32_t line_bytes, head_lines;
    uint64_t left; /* of the body, or of the chunk */
    bool has_skipped_line;
    struct http1_head head;
    struct bytes piece;
    struct http_refusal refusal;
};

void http1_init(struct http1 *http1, const struct http_limits *limits);
void http1_release(struct http1 *http1);

/* Consumes bytes from the front of *in up to the next event. */
enum http1_event http1_next(struct http1 *http1, struct bytes *in);

/* Whether a head has begun and is not complete. */
bool http1_is_in_head(const struct http1 *http1);

/* "HTTP/1.1 200 OK": the phrase, "" for a status we do not use. */
const char *http_reason(uint16_t status);
