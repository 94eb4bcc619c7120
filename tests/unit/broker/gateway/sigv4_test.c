#include "broker/gateway/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/gateway/api_time.h"
#include "tests/unit/broker/gateway/sigv4_vectors.h"

enum { VECTORS = sizeof vectors / sizeof *vectors };

#define NOW_MS   1440938160000u /* 2015-08-30T12:36:00Z */
#define MISMATCH "The request signature we calculated does not match the signature you provided."

static const char secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
static const char token[] = "FwoGZXIvYXdz/+=";
static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

/* ---- a request that can be changed ---- */

struct fixture {
    struct sigv4_request request;
    struct sigv4_header headers[80];
    char text[80][2048]; /* values, to be changed */
    struct sigv4_rules rules;
    enum sigv4_key answer; /* of the lookup, for a known key */
    unsigned lookups;
    struct sigv4_result result;
    struct api_error error;
};

static enum sigv4_key lookup(const char *access_key, const char *date, struct bytes session,
                             uint8_t key[SIGV4_KEY_BYTES], char principal[SIGV4_PRINCIPAL_BYTES],
                             void *data)
{
    struct fixture *f = data;
    f->lookups++;
    bool known = strcmp(access_key, "AKIDEXAMPLE") == 0 &&
                 (!session.size || bytes_equal(session, bytes_of_string(token)));
    if (!known) {
        return SIGV4_KEY_UNKNOWN;
    }
    assert_int_equal(
        sigv4_signing_key(bytes_of_string(secret), date, f->rules.region, f->rules.service, key),
        STATUS_OK);
    (void)snprintf(principal, SIGV4_PRINCIPAL_BYTES, "user/test");
    return f->answer;
}

static struct sigv4_header *add_header(struct fixture *f, const char *name, const char *value)
{
    uint32_t i = f->request.header_count++;
    (void)snprintf(f->text[i], sizeof f->text[i], "%s", value);
    f->headers[i] = (struct sigv4_header){bytes_of_string(name), bytes_of_string(f->text[i])};
    return &f->headers[i];
}

static struct sigv4_header *header(struct fixture *f, const char *name)
{
    for (uint32_t i = 0; i < f->request.header_count; i++) {
        if (bytes_equal(f->headers[i].name, bytes_of_string(name))) {
            return &f->headers[i];
        }
    }
    fail_msg("no header %s", name);
    return NULL;
}

static void set_header(struct fixture *f, const char *name, const char *value)
{
    struct sigv4_header *found = header(f, name);
    size_t i = (size_t)(found - f->headers);
    (void)snprintf(f->text[i], sizeof f->text[i], "%s", value);
    found->value = bytes_of_string(f->text[i]);
}

static void remove_header(struct fixture *f, const char *name)
{
    header(f, name)->name = bytes_of_string("x-removed");
}

static struct fixture *fixture(size_t number)
{
    static struct fixture f;
    const struct vector *vector = &vectors[number];
    f = (struct fixture){
        .request = {.method = bytes_of_string(vector->method),
                    .path = bytes_of_string("/"),
                    .headers = f.headers},
        .rules = { .region = vector->region,
                    .service = vector->service,
                    .now_ms = NOW_MS,
                    .skew_ms = SIGV4_SKEW_DEFAULT_MS,
                    .lookup = lookup,
                    .data = &f},
        .answer = SIGV4_KEY_FOUND,
    };
    for (size_t i = 0; vector->headers[i][0]; i++) {
        (void)add_header(&f, vector->headers[i][0], vector->headers[i][1]);
    }
    for (size_t i = 0; i < 32; i++) {
        unsigned byte;
        assert_int_equal(sscanf(vector->body_hash + 2 * i, "%2x", &byte), 1);
        f.request.body_hash[i] = (uint8_t)byte;
    }
    return &f;
}

static enum status verify(struct fixture *f)
{
    arena_release(&arena);
    return sigv4_verify(&f->request, &f->rules, &arena, &f->result, &f->error);
}

static void expect_refused(struct fixture *f, enum exception exception, const char *text)
{
    enum status status = verify(f);
    const char *got = (const char *)arena_copy(&arena, f->error.text).data;
    if (status != STATUS_INVALID || f->error.exception != exception || !strstr(got, text)) {
        fail_msg("status %d, %s: %s\nwanted: %s", (int)status, exception_name(f->error.exception),
                 got, text);
    }
}

/* ---- what is accepted ---- */

static void requests_signed_by_others_are_accepted(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        struct fixture *f = fixture(i);
        if (verify(f) != STATUS_OK) {
            fail_msg("%s: %.*s", vectors[i].name, PRINT_BYTES(f->error.text));
        }
        assert_string_equal(f->result.access_key, "AKIDEXAMPLE");
        assert_string_equal(f->result.principal, "user/test");
        assert_int_equal(f->result.signed_ms, NOW_MS);
        assert_int_equal(f->lookups, 1);
    }
}

static void headers_that_are_not_signed_do_not_matter(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    set_header(f, "user-agent", "another");
    (void)add_header(f, "x-extra", "a proxy put this here");
    (void)add_header(f, "amz-sdk-invocation-id", "1");
    assert_int_equal(verify(f), STATUS_OK);
}

static void host_and_authority_stand_for_each_other(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    header(f, "host")->name = bytes_of_string(":authority");
    assert_int_equal(verify(f), STATUS_OK);
    struct sigv4_header *both = add_header(f, "host", "kinesis.local:4567");
    assert_int_equal(verify(f), STATUS_OK);
    both->value = bytes_of_string("kinesis.local");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "differ");
    remove_header(f, ":authority");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, MISMATCH);
    remove_header(f, "host");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "The signed header 'host' is missing.");
}

static void the_clock_may_be_wrong_by_five_minutes(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    f->rules.now_ms = NOW_MS + 299999;
    assert_int_equal(verify(f), STATUS_OK);
    f->rules.now_ms = NOW_MS + 300999; /* the signed time has no milliseconds */
    assert_int_equal(verify(f), STATUS_OK);
    f->rules.now_ms = NOW_MS - 300000;
    assert_int_equal(verify(f), STATUS_OK);
    f->rules.now_ms = NOW_MS + 301000;
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z "
                   "(20150830T124101Z - 5 min.)");
    f->rules.now_ms = NOW_MS - 301000;
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Signature not yet current: 20150830T123600Z is still later than "
                   "20150830T123559Z (20150830T123059Z + 5 min.)");
    f->rules.skew_ms = 15 * 60 * 1000;
    assert_int_equal(verify(f), STATUS_OK);
    assert_int_equal(f->lookups, 4);
}

/* ---- what is refused ---- */

/* A bit in each byte of a header's value, one after the other. */
static void refuse_changed_header(struct fixture *f, const char *name, uint32_t i)
{
    for (size_t at = 0; at < f->headers[i].value.size; at++) {
        char *byte = &f->text[i][at];
        char old = *byte;
        if (old == ' ' || old == '\t') {
            continue; /* one blank is as good as another */
        }
        *byte = (char)(old ^ (1 << (at % 7)));
        if (verify(f) != STATUS_INVALID) {
            fail_msg("%s: byte %zu of %s", name, at, f->text[i]);
        }
        *byte = old;
    }
}

/* Every bit of every signed byte, and of the Authorization header. */
static void one_changed_bit_is_refused(void **state)
{
    (void)state;
    for (size_t v = 0; v < VECTORS; v++) {
        struct fixture *f = fixture(v);
        for (uint32_t i = 0; i < f->request.header_count; i++) {
            if (!bytes_equal(f->headers[i].name, bytes_of_string("user-agent"))) {
                refuse_changed_header(f, vectors[v].name, i);
            }
        }
        for (size_t at = 0; at < 256; at++) {
            f->request.body_hash[at / 8] ^= (uint8_t)(1 << at % 8);
            assert_int_equal(verify(f), STATUS_INVALID);
            f->request.body_hash[at / 8] ^= (uint8_t)(1 << at % 8);
        }
        assert_int_equal(verify(f), STATUS_OK);
        f->request.method = bytes_of_string("PUT");
        assert_int_equal(verify(f), STATUS_INVALID);
    }
}

static void a_signed_header_cannot_go_nor_a_deciding_one_come(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    remove_header(f, "x-amz-target");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "The signed header 'x-amz-target' is missing.");
    static const char *const twice[] = {"host", "x-amz-date", "x-amz-target", "content-type",
                                        "authorization"};
    for (size_t i = 0; i < sizeof twice / sizeof *twice; i++) {
        f = fixture(0);
        (void)add_header(f, twice[i], "x");
        expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "occurs more than once");
    }
    static const char *const unsigned_names[] = {"x-amz-security-token", "x-amz-content-sha256",
                                                 "x-amz-meta"};
    for (size_t i = 0; i < sizeof unsigned_names / sizeof *unsigned_names; i++) {
        f = fixture(0);
        (void)add_header(f, unsigned_names[i], "x");
        expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "must be a 'SignedHeader'");
    }
}

static void credentials_have_one_place(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    f->request.query = bytes_of_string("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as "
                   "HTTP header.");
    remove_header(f, "authorization");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "query string");
    f->request.query = bytes_of(NULL, 0);
    expect_refused(f, EXCEPTION_MISSING_AUTHENTICATION, "Missing Authentication Token");
    f = fixture(0);
    f->request.query = bytes_of_string("a=b");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "no query");
    f = fixture(0);
    f->request.path = bytes_of_string("//");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "path");
    f = fixture(0);
    (void)add_header(f, "content-encoding", "gzip");
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "Content-Encoding");
}

static void what_is_incomplete_is_told_part_by_part(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    set_header(f, "authorization", "AWS4-HMAC-SHA256 x");
    remove_header(f, "x-amz-date");
    expect_refused(f, EXCEPTION_INCOMPLETE_SIGNATURE,
                   "Authorization header requires 'Credential' parameter. Authorization header "
                   "requires 'Signature' parameter. Authorization header requires 'SignedHeaders' "
                   "parameter. Authorization header requires existence of either a 'X-Amz-Date' or "
                   "a 'Date' header.");
    f = fixture(0);
    remove_header(f, "x-amz-date");
    expect_refused(f, EXCEPTION_INCOMPLETE_SIGNATURE, "'X-Amz-Date' or a 'Date' header");
    static const struct {
        const char *value, *text;
        enum exception exception;
    } cases[] = {
        {"Basic abc",                                                                           "Unsupported AWS 'algorithm': 'Basic'", EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d/e",                                         "Unsupported AWS 'algorithm'",
         EXCEPTION_INCOMPLETE_SIGNATURE                                                                                                                               },
        {"AWS AKID:sig",                                                                        "Unsupported AWS 'algorithm': 'AWS'",   EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d, SignedHeaders=host, Signature=0",
         "Credential must have exactly 5",                                                                                              EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e/f, SignedHeaders=host, Signature=0",
         "Credential must have exactly 5",                                                                                              EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-HMAC-SHA256 Credential=/b/c/d/e, SignedHeaders=host, Signature=0",
         "Credential must have exactly 5",                                                                                              EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Credential=a/b/c/d/e, SignedHeaders=host, "
         "Signature=0",                                                                "a parameter twice",                    EXCEPTION_INCOMPLETE_SIGNATURE},
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=x-amz-date;host, Signature=0",
         "in order",                                                                                                                    EXCEPTION_INVALID_SIGNATURE   },
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;host, Signature=0",         "in order",
         EXCEPTION_INVALID_SIGNATURE                                                                                                                                  },
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=Host, Signature=0",              "lower case",
         EXCEPTION_INVALID_SIGNATURE                                                                                                                                  },
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;, Signature=0",             "in order",
         EXCEPTION_INVALID_SIGNATURE                                                                                                                                  },
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=content-type;x-amz-date, "
         "Signature=0",                                                                "'Host' must be a 'SignedHeader'",      EXCEPTION_INVALID_SIGNATURE   },
        {"AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;x-amz-target, Signature=0",
         "'x-amz-date' must be a 'SignedHeader'",                                                                                       EXCEPTION_INVALID_SIGNATURE   },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f = fixture(0);
        set_header(f, "authorization", cases[i].value);
        expect_refused(f, cases[i].exception, cases[i].text);
        assert_int_equal(f->lookups, 0);
    }
}

static void dates_have_one_form(void **state)
{
    (void)state;
    static const char *const dates[] = {"",
                                        "2015-08-30T12:36:00Z",
                                        "20150830T123600",
                                        "20150830T123600z",
                                        "20151330T123600Z",
                                        "20150832T123600Z",
                                        "20150830T243600Z",
                                        "20150830T126000Z",
                                        "20150830T123660Z",
                                        "2015083aT123600Z",
                                        "19690830T123600Z",
                                        "Sun, 30 Aug 2015 12:36:00 GMT"};
    for (size_t i = 0; i < sizeof dates / sizeof *dates; i++) {
        struct fixture *f = fixture(0);
        set_header(f, "x-amz-date", dates[i]);
        expect_refused(f, EXCEPTION_INCOMPLETE_SIGNATURE, "Date must be in ISO-8601");
    }
}

static void the_scope_is_ours(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    f->rules.region = "eu-west-3";
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Credential should be scoped to a valid region, not 'us-east-1'.");
    f = fixture(0);
    f->rules.service = "dynamodb";
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Credential should be scoped to correct service: 'dynamodb'.");
    f = fixture(0);
    *strstr(f->text[4], "aws4_request") = 'b';
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "with a valid terminator: 'aws4_request'");
    f = fixture(0);
    *strstr(f->text[4], "20150830") = '3';
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE,
                   "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of "
                   "date from HTTP: '30150830' != '20150830', from '20150830T123600Z'.");
    assert_int_equal(f->lookups, 0);
}

static void keys_are_told_apart_only_by_the_lookup(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    *strstr(f->text[4], "AKIDEXAMPLE") = 'B';
    expect_refused(f, EXCEPTION_UNRECOGNIZED_CLIENT,
                   "The security token included in the request is invalid.");
    f = fixture(1);
    set_header(f, "x-amz-security-token", "another");
    expect_refused(f, EXCEPTION_UNRECOGNIZED_CLIENT, "token");
    f = fixture(0);
    f->answer = SIGV4_KEY_EXPIRED;
    expect_refused(f, EXCEPTION_EXPIRED_TOKEN,
                   "The security token included in the request is expired");
    f->answer = SIGV4_KEY_UNAVAILABLE;
    assert_int_equal(verify(f), STATUS_UNAVAILABLE);
    assert_int_equal(f->error.exception, EXCEPTION_SERVICE_UNAVAILABLE);
}

static void bodies_are_hashed_by_us(void **state)
{
    (void)state;
    static const size_t javascript = 4;
    assert_string_equal(vectors[javascript].name, "JavaScript over HTTP/2");
    static const char *const values[] = {"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                                         "STREAMING-UNSIGNED-PAYLOAD-TRAILER"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct fixture *f = fixture(javascript);
        set_header(f, "x-amz-content-sha256", values[i]);
        expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "Unsigned and streamed payloads");
    }
    struct fixture *f = fixture(javascript);
    f->request.body_hash[0] ^= 1;
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "does not match what was computed");
    f = fixture(0);
    f->request.body_hash[0] ^= 1;
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, MISMATCH);
}

static void limits_come_first(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    while (f->request.header_count < 65) {
        (void)add_header(f, "x", "y");
    }
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "too many");
    f = fixture(0);
    static char block[16 * 1024];
    memset(block, 'b', sizeof block);
    add_header(f, "x", "y")->value = bytes_of(block, sizeof block);
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "too long");
    f = fixture(0);
    header(f, "authorization")->value = bytes_of(block, 2 * 1024 + 1);
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "The Authorization header is too long.");
    f = fixture(0);
    char names[1024] = "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Signature=0, SignedHeaders=";
    for (unsigned i = 0; i < 41; i++) {
        size_t size = strlen(names);
        (void)snprintf(names + size, sizeof names - size, "%sa%02u", i ? ";" : "", i);
    }
    set_header(f, "authorization", names);
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, "at most 40");
    assert_int_equal(f->lookups, 0);
}

static void a_signature_is_64_small_digits(void **state)
{
    (void)state;
    struct fixture *f = fixture(0);
    char *signature = strstr(f->text[4], "Signature=") + strlen("Signature=");
    for (char *c = signature; *c; c++) {
        *c = *c >= 'a' ? (char)(*c - 'a' + 'A') : *c;
    }
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, MISMATCH);
    f = fixture(0);
    f->headers[4].value.size -= 1;
    expect_refused(f, EXCEPTION_INVALID_SIGNATURE, MISMATCH);
}

static void signing_keys_are_those_of_aws(void **state)
{
    (void)state;
    /* Published with the derivation in AWS's documentation. */
    static const uint8_t want[SIGV4_KEY_BYTES] = {0xc4, 0xaf, 0xb1, 0xcc, 0x57, 0x71, 0xd8, 0x71,
                                                  0x76, 0x3a, 0x39, 0x3e, 0x44, 0xb7, 0x03, 0x57,
                                                  0x1b, 0x55, 0xcc, 0x28, 0x42, 0x4d, 0x1a, 0x5e,
                                                  0x86, 0xda, 0x6e, 0xd3, 0xc1, 0x54, 0xa4, 0xb9};
    uint8_t key[SIGV4_KEY_BYTES];
    assert_int_equal(
        sigv4_signing_key(bytes_of_string(secret), "20150830", "us-east-1", "iam", key), STATUS_OK);
    assert_memory_equal(key, want, sizeof want);
    char date[SIGV4_DATE_BYTES];
    sigv4_date(NOW_MS, date);
    assert_string_equal(date, "20150830");
    sigv4_date(951782399999, date);
    assert_string_equal(date, "20000228");
    sigv4_date(951782400000, date);
    assert_string_equal(date, "20000229");
}

static void the_calendar_goes_both_ways(void **state)
{
    (void)state;
    /* Every 13 hours and some from 1970 to 2500. */
    for (uint64_t ms = 0; ms < 16725225600000u; ms += 47123000) {
        struct moment moment = moment_of(ms);
        uint64_t back = 0;
        assert_true(moment_unix_ms(&moment, &back));
        assert_int_equal(back, ms);
    }
    struct moment moment = moment_of(4107542400000u);
    assert_int_equal(moment.year, 2100);
    assert_int_equal(moment.month, 3);
    assert_int_equal(moment.day, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(requests_signed_by_others_are_accepted, teardown),
        cmocka_unit_test_teardown(headers_that_are_not_signed_do_not_matter, teardown),
        cmocka_unit_test_teardown(host_and_authority_stand_for_each_other, teardown),
        cmocka_unit_test_teardown(the_clock_may_be_wrong_by_five_minutes, teardown),
        cmocka_unit_test_teardown(one_changed_bit_is_refused, teardown),
        cmocka_unit_test_teardown(a_signed_header_cannot_go_nor_a_deciding_one_come, teardown),
        cmocka_unit_test_teardown(credentials_have_one_place, teardown),
        cmocka_unit_test_teardown(what_is_incomplete_is_told_part_by_part, teardown),
        cmocka_unit_test_teardown(dates_have_one_form, teardown),
        cmocka_unit_test_teardown(the_scope_is_ours, teardown),
        cmocka_unit_test_teardown(keys_are_told_apart_only_by_the_lookup, teardown),
        cmocka_unit_test_teardown(bodies_are_hashed_by_us, teardown),
        cmocka_unit_test_teardown(limits_come_first, teardown),
        cmocka_unit_test_teardown(a_signature_is_64_small_digits, teardown),
        cmocka_unit_test_teardown(signing_keys_are_those_of_aws, teardown),
        cmocka_unit_test(the_calendar_goes_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
