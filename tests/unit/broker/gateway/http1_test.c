/* HTTP/1.1 heads and bodies: what is read, what is refused, at every split of the input. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>

#include "broker/gateway/http1.h"

enum { TRANSCRIPT_BYTES = 4096 };

/* What a reader says about some input, as text. */
struct transcript {
    char text[TRANSCRIPT_BYTES];
    size_t size;
    bool is_over;
};

static void say(struct transcript *transcript, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct transcript *transcript, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(transcript->text + transcript->size,
                         sizeof(transcript->text) - transcript->size, format, args);
    va_end(args);
    assert_true(size >= 0 && transcript->size + (size_t)size < sizeof(transcript->text));
    transcript->size += (size_t)size;
}

static void say_head(struct transcript *transcript, const struct http1_head *head)
{
    say(transcript, "%.*s %.*s 1.%d%s%s", (int)head->method.size, (const char *)head->method.data,
        (int)head->target.size, (const char *)head->target.data,
        head->version == HTTP_VERSION_1_1 ? 1 : 0, head->closes ? " closes" : "",
        head->expects_continue ? " expects" : "");
    for (uint32_t i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        say(transcript, " %.*s=%.*s", (int)header->name.size, (const char *)header->name.data,
            (int)header->value.size, (const char *)header->value.data);
    }
    say(transcript, "\n");
}

/* Feeds one piece of the input. */
static void feed(struct http1 *http1, struct bytes in, struct transcript *transcript)
{
    while (!transcript->is_over) {
        switch (http1_next(http1, &in)) {
        case HTTP1_MORE:
            assert_int_equal(in.size, 0);
            return;
        case HTTP1_HEAD:
            say_head(transcript, &http1->head);
            break;
        case HTTP1_BODY:
            say(transcript, "%.*s", (int)http1->piece.size, (const char *)http1->piece.data);
            break;
        case HTTP1_END:
            say(transcript, "|\n");
            break;
        case HTTP1_REFUSED:
            say(transcript, "%u\n", (unsigned)http1->refusal.status);
            transcript->is_over = true;
            break;
        case HTTP1_FAILED:
            fail();
        }
    }
}

static void read_in_pieces(struct bytes in, size_t piece, const struct http_limits *limits,
                           struct transcript *out)
{
    struct http1 http1;
    http1_init(&http1, limits);
    *out = (struct transcript){0};
    while (in.size > 0) {
        size_t size = in.size < piece ? in.size : piece;
        /* An exact copy, so that a read beyond the piece is seen. */
        uint8_t *copy = malloc(size);
        assert_non_null(copy);
        memcpy(copy, in.data, size);
        feed(&http1, bytes_of(copy, size), out);
        free(copy);
        in = bytes_of(in.data + size, in.size - size);
    }
    http1_release(&http1);
}

static void expect_within(struct bytes in, const struct http_limits *limits, const char *expected)
{
    struct transcript transcript;
    read_in_pieces(in, in.size, limits, &transcript);
    assert_string_equal(transcript.text, expected);
    /* At every byte boundary, and in every stride. */
    for (size_t piece = 1; piece < in.size && piece < 32; piece++) {
        read_in_pieces(in, piece, limits, &transcript);
        assert_string_equal(transcript.text, expected);
    }
    for (size_t split = 1; split < in.size; split++) {
        struct http1 http1;
        struct transcript halves = {0};
        http1_init(&http1, limits);
        feed(&http1, bytes_of(in.data, split), &halves);
        feed(&http1, bytes_of(in.data + split, in.size - split), &halves);
        assert_string_equal(halves.text, expected);
        http1_release(&http1);
    }
}

static const struct http_limits limits = {
    .request_line_max = 64,
    .head_max = 256,
    .headers_max = 4,
    .body_max = 100,
};

static void expect(const char *in, const char *expected)
{
    expect_within(bytes_of_string(in), &limits, expected);
}

/* A request whose head has these lines besides Host. */
static void expect_lines(const char *lines, const char *expected)
{
    char in[512];
    (void)snprintf(in, sizeof(in), "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n", lines);
    expect(in, expected);
}

static void expect_chunks(const char *chunks, const char *expected_body)
{
    char in[512];
    char expected[512];
    (void)snprintf(in, sizeof(in),
                   "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s", chunks);
    (void)snprintf(expected, sizeof(expected), "POST / 1.1 host=h transfer-encoding=chunked\n%s",
                   expected_body);
    expect(in, expected);
}

static void a_request_is_read(void **state)
{
    (void)state;
    expect("POST /a%2Fb?c=d HTTP/1.1\r\nHost: h:1\r\nX-Amz-Target:  Kinesis Put \t\r\n"
           "Content-Length: 5\r\n\r\nhello",
           "POST /a%2Fb?c=d 1.1 host=h:1 x-amz-target=Kinesis Put content-length=5\nhello|\n");
    expect("GET / HTTP/1.1\r\nHost: h\r\nEmpty:\r\n\r\n", "GET / 1.1 host=h empty=\n|\n");
    expect("GET / HTTP/1.1\r\nHost: h\r\nNear:x\r\nUtf: \xc3\xa9\r\n\r\n",
           "GET / 1.1 host=h near=x utf=\xc3\xa9\n|\n");
    expect("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * 1.1 host=h\n|\n");
    expect("GET / HTTP/1.0\r\n\r\n", "GET / 1.0 closes\n|\n");
}

static void requests_may_follow_each_other(void **state)
{
    (void)state;
    expect("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
           "GET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
           "POST /3 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
           "GET /4 HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n",
           "POST /1 1.1 host=h content-length=3\nabc|\n"
           "GET /2 1.1 host=h\n|\n"
           "POST /3 1.1 host=h transfer-encoding=chunked\nde|\n"
           "GET /4 1.1 closes host=h connection=x, Close\n|\n");
    /* One empty line between them is forgiven, two are not. */
    expect("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
           "GET / 1.1 host=h\n|\nGET / 1.1 host=h\n|\n");
    expect("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
}

static void a_body_has_one_length(void **state)
{
    (void)state;
    expect_lines("Content-Length: 3\r\nContent-Length: 3\r\n", "400\n");
    expect_lines("Content-Length: 3\r\nContent-Length: 4\r\n", "400\n");
    expect_lines("Content-Length: 3, 3\r\n", "400\n");
    expect_lines("Content-Length: +3\r\n", "400\n");
    expect_lines("Content-Length: -3\r\n", "400\n");
    expect_lines("Content-Length: 0x3\r\n", "400\n");
    expect_lines("Content-Length: 3 3\r\n", "400\n");
    expect_lines("Content-Length:\r\n", "400\n");
    expect_lines("Content-Length: 18446744073709551616\r\n", "400\n");
    expect_lines("Content-Length: 999999999999999999999999\r\n", "400\n");
    expect_lines("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "400\n");
    expect_lines("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "400\n");
    expect_lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "400\n");
    expect_lines("Transfer-Encoding: gzip, chunked\r\n", "501\n");
    expect_lines("Transfer-Encoding: chunked, identity\r\n", "400\n");
    expect_lines("Transfer-Encoding: xchunked\r\n", "400\n");
    expect_lines("Transfer-Encoding: \"chunked\"\r\n", "400\n");
    expect("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400\n");
}

static void lines_are_as_the_grammar_has_them(void **state)
{
    (void)state;
    expect_lines("A: b\nC: d\r\n", "400\n");
    expect_lines("A: b\rC: d\r\n", "400\n");
    expect_lines(" folded: x\r\n", "400\n");
    expect_lines("A: b\r\n\tfolded\r\n", "400\n");
    expect_lines("A : b\r\n", "400\n");
    expect_lines("A\t: b\r\n", "400\n");
    expect_lines(": b\r\n", "400\n");
    expect_lines("A b: c\r\n", "400\n");
    expect_lines("no colon\r\n", "400\n");
    expect_lines("A: \x01\r\n", "400\n");
    expect_lines("A: \x7f\r\n", "400\n");
    expect_lines("A\x80: b\r\n", "400\n");
    expect_lines("\r\r\n", "400\n");
    expect("GET / HTTP/1.1\nHost: h\n\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: h\r\n\n", "400\n");
    static const char zero[] = "GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n";
    expect_within(bytes_of(zero, sizeof(zero) - 1), &limits, "400\n");
}

static void the_request_line_is_as_the_grammar_has_it(void **state)
{
    (void)state;
    expect("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", "400\n");
    expect(" GET / HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET / a HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET /\r\n\r\n", "400\n");
    expect("GET HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET /#a HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("get / HTTP/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET / http/1.1\r\nHost: h\r\n\r\n", "400\n");
    expect("GET / HTTP/1.10\r\nHost: h\r\n\r\n", "400\n");
}

static void other_versions_are_not_spoken(void **state)
{
    (void)state;
    expect("GET / HTTP/2.0\r\nHost: h\r\n\r\n", "505\n");
    expect("GET / HTTP/0.9\r\nHost: h\r\n\r\n", "505\n");
    expect("GET / HTTP/1.2\r\nHost: h\r\n\r\n", "505\n");
    expect("GET / HTTP/1-1\r\nHost: h\r\n\r\n", "400\n");
    expect("A\r\n\r\n", "400\n");
}

static void there_is_one_host(void **state)
{
    (void)state;
    expect("GET / HTTP/1.1\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost:\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400\n");
    expect("GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n", "GET / 1.1 host=[::1]:1\n|\n");
}

static void chunks_are_read(void **state)
{
    (void)state;
    expect_chunks("0\r\n\r\n", "|\n");
    expect_chunks("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde|\n");
    expect_chunks("A\r\n0123456789\r\n00\r\n\r\n", "0123456789|\n");
    expect_chunks("00000001\r\nx\r\n0\r\n\r\n", "x|\n");
}

static void chunks_are_as_the_grammar_has_them(void **state)
{
    (void)state;
    expect_chunks("3;a=b\r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("3 \r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks(" 3\r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("3\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("0x3\r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("-3\r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("\r\nabc\r\n0\r\n\r\n", "400\n");
    expect_chunks("000000001\r\nx\r\n0\r\n\r\n", "400\n");
    expect_chunks("FFFFFFFFFFFFFFFFF\r\n", "400\n");
    expect_chunks("0\r\nTrailer: x\r\n\r\n", "400\n");
    expect_chunks("0\r\n\n", "400\n");
    expect_chunks("0\r\n\rX", "400\n");
    expect_chunks("0\rX", "400\n");
}

static void a_chunk_ends_where_it_says(void **state)
{
    (void)state;
    struct transcript transcript;
    static const char in[] = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                             "3\r\nabcX\r\n0\r\n\r\n";
    for (size_t piece = 1; piece < sizeof(in); piece++) {
        read_in_pieces(bytes_of(in, sizeof(in) - 1), piece, &limits, &transcript);
        assert_string_equal(transcript.text,
                            "POST / 1.1 host=h transfer-encoding=chunked\nabc400\n");
    }
}

static void expectations_are_known_or_refused(void **state)
{
    (void)state;
    expect_lines("Expect: 100-Continue\r\nContent-Length: 1\r\n",
                 "POST / 1.1 expects host=h expect=100-Continue content-length=1\n");
    expect_lines("Expect: 200-ok\r\n", "417\n");
    expect_lines("Expect: 100-continue\r\nExpect: 100-continue\r\n", "417\n");
}

static void limits_are_kept(void **state)
{
    (void)state;
    char in[1024];
    /* 64 bytes are the line with its end. */
    (void)snprintf(in, sizeof(in), "GET /%.*s HTTP/1.1\r\nHost: h\r\n\r\n", 48,
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    struct transcript transcript;
    read_in_pieces(bytes_of_string(in), 7, &limits, &transcript);
    assert_memory_equal(transcript.text, "GET /aaa", 8);
    (void)snprintf(in, sizeof(in), "GET /%.*s HTTP/1.1\r\nHost: h\r\n\r\n", 49,
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    expect(in, "414\n");
    /* Without an end of the line, too. */
    expect("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
           "414\n");
    expect_lines("A: 1\r\nB: 2\r\nC: 3\r\n", "POST / 1.1 host=h a=1 b=2 c=3\n|\n");
    expect_lines("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n", "431\n");
    memset(in, 'v', 400);
    memcpy(in, "GET / HTTP/1.1\r\nHost: h\r\nA: ", 28);
    in[400] = '\0';
    expect(in, "431\n");
    expect_lines("Content-Length: 101\r\n", "413\n");
    expect_lines("Content-Length: 100\r\n", "POST / 1.1 host=h content-length=100\n");
}

static void nothing_follows_a_refusal(void **state)
{
    (void)state;
    struct http1 http1;
    http1_init(&http1, &limits);
    struct bytes in = bytes_of_string("BAD\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(http1_next(&http1, &in), HTTP1_REFUSED);
    assert_int_equal(http1_next(&http1, &in), HTTP1_REFUSED);
    http1_release(&http1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(requests_may_follow_each_other),
        cmocka_unit_test(a_body_has_one_length),
        cmocka_unit_test(lines_are_as_the_grammar_has_them),
        cmocka_unit_test(the_request_line_is_as_the_grammar_has_it),
        cmocka_unit_test(other_versions_are_not_spoken),
        cmocka_unit_test(there_is_one_host),
        cmocka_unit_test(chunks_are_read),
        cmocka_unit_test(chunks_are_as_the_grammar_has_them),
        cmocka_unit_test(a_chunk_ends_where_it_says),
        cmocka_unit_test(expectations_are_known_or_refused),
        cmocka_unit_test(limits_are_kept),
        cmocka_unit_test(nothing_follows_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
