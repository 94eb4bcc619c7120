/* Signatures. The input is an Authorization header that must not verify, and a change of a request
 * that botocore signed (tests/unit/broker/gateway/sigv4_vectors.py): changed in what is signed, it
 * must not verify either. */
#include <stdio.h>
#include <string.h>

#include "broker/gateway/sigv4.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/broker/gateway/sigv4_vectors.h"

#define NOW_MS UINT64_C(1440938160000) /* 2015-08-30T12:36:00Z */

enum { VECTORS = sizeof(vectors) / sizeof(vectors[0]), VALUE_MAX = 2048 };

struct signed_request {
    struct sigv4_request request;
    struct sigv4_header headers[VECTOR_HEADERS_MAX];
    char values[VECTOR_HEADERS_MAX][VALUE_MAX];
    struct sigv4_rules rules;
};

static enum sigv4_key lookup(const char *access_key, const char *date, struct bytes token,
                             uint8_t key[SIGV4_KEY_BYTES], char principal[SIGV4_PRINCIPAL_BYTES],
                             void *data)
{
    const struct signed_request *r = data;
    static const char secret[] = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    (void)token;
    (void)principal;
    if (strcmp(access_key, "AKIDEXAMPLE") != 0) {
        return SIGV4_KEY_UNKNOWN;
    }
    CHECK(sigv4_signing_key(bytes_of_string(secret), date, r->rules.region, r->rules.service,
                            key) == STATUS_OK);
    return SIGV4_KEY_FOUND;
}

static void take_vector(struct signed_request *r, const struct vector *vector)
{
    *r = (struct signed_request){
        .request = {.method = bytes_of_string(vector->method),
                    .path = bytes_of_string("/"),
                    .headers = r->headers},
        .rules = { .region = vector->region,
                    .service = vector->service,
                    .now_ms = NOW_MS,
                    .skew_ms = SIGV4_SKEW_DEFAULT_MS,
                    .lookup = lookup,
                    .data = r}
    };
    for (uint32_t i = 0; vector->headers[i][0] != NULL; i++) {
        (void)snprintf(r->values[i], VALUE_MAX, "%s", vector->headers[i][1]);
        r->headers[i] = (struct sigv4_header){bytes_of_string(vector->headers[i][0]),
                                              bytes_of_string(r->values[i])};
        r->request.header_count++;
    }
    for (size_t i = 0; i < sizeof(r->request.body_hash); i++) {
        unsigned byte = 0;
        CHECK(sscanf(vector->body_hash + 2 * i, "%2x", &byte) == 1);
        r->request.body_hash[i] = (uint8_t)byte;
    }
}

static bool verifies(const struct signed_request *r)
{
    struct arena arena = {.limit = ARENA_REQUEST_LIMIT};
    struct sigv4_result result;
    struct api_error error = {0};
    enum status status = sigv4_verify(&r->request, &r->rules, &arena, &result, &error);
    CHECK(status == STATUS_OK || status == STATUS_INVALID);
    arena_release(&arena);
    return status == STATUS_OK;
}

static bool is_signed(const struct signed_request *r, struct bytes name)
{
    for (uint32_t i = 0; i < r->request.header_count; i++) {
        const char *list = strstr(r->values[i], "SignedHeaders=");
        if (!bytes_equal(r->headers[i].name, bytes_of_string("authorization")) || list == NULL) {
            continue;
        }
        char wanted[80];
        (void)snprintf(wanted, sizeof(wanted), "%.*s", PRINT_BYTES(name));
        size_t length = strlen(wanted);
        list += strlen("SignedHeaders=");
        for (const char *at = strstr(list, wanted); at != NULL; at = strstr(at + 1, wanted)) {
            if ((at[-1] == '=' || at[-1] == ';') &&
                (at[length] == ';' || at[length] == ',' || at[length] == ' ')) {
                return true;
            }
        }
    }
    return false;
}

/* Blanks are folded before they are signed: one for another is no change. */
static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* A digit of the signature itself. */
static void change_signature(struct signed_request *r, char *value, const uint8_t data[4])
{
    char *digits = strstr(value, "Signature=");
    if (digits != NULL && strlen(digits) > 10) {
        digits += 10;
        char *at = &digits[data[2] % strlen(digits)];
        *at = *at == '0' + data[3] % 10 ? 'f' : (char)('0' + data[3] % 10);
        CHECK(!verifies(r));
    }
}

static void change_one(struct signed_request *r, const uint8_t data[4])
{
    uint32_t which = data[1] % (r->request.header_count + 1);
    if (which == r->request.header_count) {
        r->request.body_hash[data[2] % 32] ^= (uint8_t)(1U << data[3] % 8);
        CHECK(!verifies(r));
        return;
    }
    char *value = r->values[which];
    size_t length = strlen(value);
    if (bytes_equal(r->headers[which].name, bytes_of_string("authorization"))) {
        change_signature(r, value, data);
        return;
    }
    if (length == 0 || !is_signed(r, r->headers[which].name)) {
        return;
    }
    char *at = &value[data[2] * length / 256];
    char before = *at;
    *at = (char)(before ^ (char)(1 + data[3] % 127));
    if (*at != '\0' && !is_blank(*at) && !is_blank(before)) {
        CHECK(!verifies(r));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct signed_request r;
    if (size < 4) {
        return 0;
    }
    take_vector(&r, &vectors[data[0] % VECTORS]);
    CHECK(verifies(&r));
    change_one(&r, data);

    /* A header of the input's own. */
    take_vector(&r, &vectors[data[0] % VECTORS]);
    struct bytes own = bytes_of(data + 4, size - 4);
    for (uint32_t i = 0; i < r.request.header_count; i++) {
        if (bytes_equal(r.headers[i].name, bytes_of_string("authorization"))) {
            if (bytes_equal(own, r.headers[i].value)) {
                return 0;
            }
            r.headers[i].value = own;
        }
    }
    (void)verifies(&r); /* blanks and the order of its parts may differ from the original's */
    return 0;
}
