#include "broker/gateway/sigv4.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "broker/gateway/sigv4_private.h"

#define MISMATCH                                                                                 \
    "The request signature we calculated does not match the signature you provided. Check your " \
    "AWS Secret Access Key and signing method. Consult the service documentation for details."

/* ---- keys ---- */

static enum status hmac(const void *key, size_t key_size, struct bytes text, uint8_t out[32])
{
    static const uint8_t nothing[1];
    unsigned size = 32;
    const uint8_t *data = text.data ? text.data : nothing;
    return key_size <= INT32_MAX &&
                   HMAC(EVP_sha256(), key, (int)key_size, data, text.size, out, &size)
               ? STATUS_OK
               : STATUS_NO_MEMORY;
}

enum status sigv4_signing_key(struct bytes secret, const char *date, const char *region,
                              const char *service, uint8_t out[SIGV4_KEY_BYTES])
{
    static const char prefix[] = "AWS4";
    uint8_t first[sizeof prefix - 1 + 256];
    uint8_t key[SIGV4_KEY_BYTES];
    if (secret.size > sizeof first - (sizeof prefix - 1)) {
        return STATUS_NO_MEMORY; /* no secret of ours is so long */
    }
    memcpy(first, prefix, sizeof prefix - 1);
    if (secret.size) {
        memcpy(first + sizeof prefix - 1, secret.data, secret.size);
    }
    enum status status = hmac(first, sizeof prefix - 1 + secret.size, bytes_of_string(date), key);
    const char *const steps[] = {region, service, "aws4_request"};
    for (size_t i = 0; status == STATUS_OK && i < sizeof steps / sizeof *steps; i++) {
        status = hmac(key, sizeof key, bytes_of_string(steps[i]), key);
    }
    if (status == STATUS_OK) {
        memcpy(out, key, sizeof key);
    }
    OPENSSL_cleanse(first, sizeof first);
    OPENSSL_cleanse(key, sizeof key);
    return status;
}

/* ---- limits and what must be there ---- */

static enum status refuse(struct api_error *error, struct arena *arena, const char *why)
{
    return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE, "%s", why);
}

static bool has_prefix(struct bytes text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

static enum status check_limits(const struct sigv4_request *request, struct arena *arena,
                                struct api_error *error)
{
    size_t block = 0;
    for (uint32_t i = 0; i < request->header_count; i++) {
        block += request->headers[i].name.size + request->headers[i].value.size + 4;
    }
    if (request->header_count > SIGV4_HEADERS_MAX || block > SIGV4_HEADER_BLOCK_MAX) {
        return refuse(error, arena, "The request has too many or too long headers.");
    }
    static const char *const once[] = {
        "host", ":authority",           "authorization", "content-length",       "content-type",
        "date", "x-amz-content-sha256", "x-amz-date",    "x-amz-security-token", "x-amz-target"};
    for (size_t i = 0; i < sizeof once / sizeof *once; i++) {
        uint32_t count;
        (void)sigv4_find(request, once[i], &count);
        if (count > 1) {
            return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                                 "The header '%s' occurs more than once.", once[i]);
        }
    }
    return STATUS_OK;
}

static bool query_is_signed(struct bytes query)
{
    static const char name[] = "X-Amz-Algorithm";
    return query.size && memmem(query.data, query.size, name, sizeof name - 1) != NULL;
}

/* Where the credentials are: in one Authorization header, and nowhere else. */
static enum status check_place(const struct sigv4_request *request, struct arena *arena,
                               struct api_error *error)
{
    const struct sigv4_header *authorization = sigv4_find(request, "authorization", NULL);
    if (query_is_signed(request->query)) {
        return refuse(error, arena,
                      authorization
                          ? "Found both 'X-Amz-Algorithm' as a query-string param and "
                            "'Authorization' as HTTP header."
                          : "Signatures in the query string are not accepted: sign by the "
                            "Authorization header.");
    }
    if (!authorization || !authorization->value.size) {
        return api_error_set(error, arena, EXCEPTION_MISSING_AUTHENTICATION,
                             "Missing Authentication Token");
    }
    if (authorization->value.size > SIGV4_AUTHORIZATION_MAX) {
        return refuse(error, arena, "The Authorization header is too long.");
    }
    if (!bytes_equal(request->path, bytes_of_string("/")) || request->query.size) {
        return refuse(error, arena, "The path of a request is / and it has no query.");
    }
    if (sigv4_find(request, "content-encoding", NULL)) {
        return refuse(error, arena, "Content-Encoding is not accepted.");
    }
    return STATUS_OK;
}

/* The header that a signed name means: HTTP/2 has :authority where HTTP/1.1 has host, and clients
 * sign either. */
static const struct sigv4_header *signed_header(const struct sigv4_request *request,
                                                struct bytes name, bool *is_host)
{
    *is_host = bytes_equal(name, bytes_of_string("host")) ||
               bytes_equal(name, bytes_of_string(":authority"));
    const struct sigv4_header *other = NULL;
    for (uint32_t i = 0; i < request->header_count; i++) {
        const struct sigv4_header *header = &request->headers[i];
        if (bytes_equal(header->name, name)) {
            return header;
        }
        if (*is_host && (bytes_equal(header->name, bytes_of_string("host")) ||
                         bytes_equal(header->name, bytes_of_string(":authority")))) {
            other = header;
        }
    }
    return other;
}

static bool is_signed(const struct sigv4_parts *parts, struct bytes name)
{
    for (uint32_t i = 0; i < parts->name_count; i++) {
        if (bytes_equal(parts->names[i], name)) {
            return true;
        }
    }
    return false;
}

static enum status not_signed(struct bytes name, struct arena *arena, struct api_error *error)
{
    return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                         "'%.*s' must be a 'SignedHeader' in the AWS Authorization.",
                         PRINT_BYTES(name));
}

/* What decides about the request is signed; what is signed is there. */
static enum status check_signed(const struct sigv4_request *request,
                                const struct sigv4_parts *parts, struct arena *arena,
                                struct api_error *error)
{
    bool any_host = false;
    for (uint32_t i = 0; i < parts->name_count; i++) {
        bool is_host;
        if (!signed_header(request, parts->names[i], &is_host)) {
            return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                                 "The signed header '%.*s' is missing.",
                                 PRINT_BYTES(parts->names[i]));
        }
        any_host = any_host || is_host;
    }
    if (!any_host) {
        return not_signed(bytes_of_string("Host"), arena, error);
    }
    const struct sigv4_header *host = sigv4_find(request, "host", NULL);
    const struct sigv4_header *authority = sigv4_find(request, ":authority", NULL);
    if (host && authority && !bytes_equal(host->value, authority->value)) {
        return refuse(error, arena, "'Host' and ':authority' differ.");
    }
    bool amz_date = sigv4_find(request, "x-amz-date", NULL) != NULL;
    if (!amz_date && !is_signed(parts, bytes_of_string("date"))) {
        return not_signed(bytes_of_string("Date"), arena, error);
    }
    for (uint32_t i = 0; i < request->header_count; i++) {
        struct bytes name = request->headers[i].name;
        if (has_prefix(name, "x-amz-") && !is_signed(parts, name)) {
            return not_signed(name, arena, error);
        }
    }
    return STATUS_OK;
}

static void hex(const uint8_t bytes[32], char out[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[64] = 0;
}

/* The hash that the client names, where it does, is that of what came. */
static enum status check_body(const struct sigv4_request *request, struct arena *arena,
                              struct api_error *error)
{
    const struct sigv4_header *named = sigv4_find(request, "x-amz-content-sha256", NULL);
    if (!named) {
        return STATUS_OK;
    }
    if (has_prefix(named->value, "UNSIGNED-") || has_prefix(named->value, "STREAMING-")) {
        return refuse(error, arena, "Unsigned and streamed payloads are not accepted.");
    }
    char ours[65];
    hex(request->body_hash, ours);
    return bytes_equal(named->value, bytes_of_string(ours))
               ? STATUS_OK
               : refuse(error, arena,
                        "The provided 'x-amz-content-sha256' header does not match what was "
                        "computed.");
}

/* ---- scope and time ---- */

/* What a text repeats of the request. */
static struct bytes short_form(struct bytes text)
{
    enum { SHOWN_MAX = 64 };
    return bytes_of(text.data, text.size < SHOWN_MAX ? text.size : SHOWN_MAX);
}

static enum status check_scope(const struct sigv4_parts *parts, const struct sigv4_time *when,
                               const struct sigv4_rules *rules, struct arena *arena,
                               struct api_error *error)
{
    if (!bytes_equal(parts->region, bytes_of_string(rules->region))) {
        struct bytes shown = short_form(parts->region);
        return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                             "Credential should be scoped to a valid region, not '%.*s'.",
                             PRINT_BYTES(shown));
    }
    if (!bytes_equal(parts->service, bytes_of_string(rules->service))) {
        return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                             "Credential should be scoped to correct service: '%s'.",
                             rules->service);
    }
    if (!bytes_equal(parts->term, bytes_of_string("aws4_request"))) {
        struct bytes shown = short_form(parts->term);
        return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                             "Credential should be scoped with a valid terminator: "
                             "'aws4_request', not '%.*s'.",
                             PRINT_BYTES(shown));
    }
    if (parts->date.size != SIGV4_DATE_BYTES - 1 ||
        memcmp(parts->date.data, when->text, parts->date.size) != 0) {
        struct bytes shown = short_form(parts->date);
        return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                             "Date in Credential scope does not match YYYYMMDD from ISO-8601 "
                             "version of date from HTTP: '%.*s' != '%.8s', from '%s'.",
                             PRINT_BYTES(shown), when->text, when->text);
    }
    return STATUS_OK;
}

static enum status check_time(const struct sigv4_time *when, const struct sigv4_rules *rules,
                              struct arena *arena, struct api_error *error)
{
    uint64_t now = rules->now_ms;
    uint64_t skew = rules->skew_ms;
    uint64_t oldest = now > skew ? now - skew : 0;
    bool expired = when->unix_ms < oldest - oldest % 1000;
    if (!expired && when->unix_ms <= now + skew) {
        return STATUS_OK;
    }
    char edge_text[SIGV4_TIME_BYTES];
    char now_text[SIGV4_TIME_BYTES];
    sigv4_time_text(now, now_text);
    sigv4_time_text(expired ? oldest : now + skew, edge_text);
    return api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                         expired ? "Signature expired: %s is now earlier than %s (%s - %u min.)"
                                 : "Signature not yet current: %s is still later than %s (%s + %u "
                                   "min.)",
                         when->text, edge_text, now_text, rules->skew_ms / 60000);
}

/* ---- the signature ---- */

static void feed(EVP_MD_CTX *digest, const void *data, size_t size, bool *ok)
{
    *ok = *ok && (size == 0 || EVP_DigestUpdate(digest, data, size) == 1);
}

/* Blanks around a value go, those within become one. */
static void feed_value(EVP_MD_CTX *digest, struct bytes value, bool *ok)
{
    size_t at = 0;
    bool first = true;
    while (at < value.size) {
        size_t blanks = 0;
        while (at < value.size && (value.data[at] == ' ' || value.data[at] == '\t')) {
            at++;
            blanks++;
        }
        size_t end = at;
        while (end < value.size && value.data[end] != ' ' && value.data[end] != '\t') {
            end++;
        }
        if (end > at && blanks && !first) {
            feed(digest, " ", 1, ok);
        }
        feed(digest, value.data + at, end - at, ok);
        first = false;
        at = end;
    }
}

/* name:value,value\n */
static void feed_header(EVP_MD_CTX *digest, const struct sigv4_request *request, struct bytes name,
                        bool *ok)
{
    bool is_host;
    const struct sigv4_header *header = signed_header(request, name, &is_host);
    feed(digest, name.data, name.size, ok);
    feed(digest, ":", 1, ok);
    feed_value(digest, header->value, ok);
    const struct sigv4_header *end = request->headers + request->header_count;
    for (const struct sigv4_header *other = header + 1; other < end; other++) {
        if (!is_host && bytes_equal(other->name, name)) {
            feed(digest, ",", 1, ok);
            feed_value(digest, other->value, ok);
        }
    }
    feed(digest, "\n", 1, ok);
}

/* SHA-256 of the canonical request: the bytes as they came. */
static bool hash_request(const struct sigv4_request *request, const struct sigv4_parts *parts,
                         uint8_t out[32])
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool ok = digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    feed(digest, request->method.data, request->method.size, &ok);
    feed(digest, "\n/\n\n", 4, &ok); /* the path is / and the query empty */
    for (uint32_t i = 0; ok && i < parts->name_count; i++) {
        feed_header(digest, request, parts->names[i], &ok);
    }
    feed(digest, "\n", 1, &ok);
    feed(digest, parts->signed_headers.data, parts->signed_headers.size, &ok);
    feed(digest, "\n", 1, &ok);
    char body[65];
    hex(request->body_hash, body);
    feed(digest, body, 64, &ok);
    unsigned size = 32;
    ok = ok && EVP_DigestFinal_ex(digest, out, &size) == 1;
    EVP_MD_CTX_free(digest);
    return ok;
}

static enum status sign(const struct sigv4_request *request, const struct sigv4_parts *parts,
                        const struct sigv4_time *when, const struct sigv4_rules *rules,
                        const uint8_t key[SIGV4_KEY_BYTES], uint8_t out[32])
{
    uint8_t hash[32];
    if (!hash_request(request, parts, hash)) {
        return STATUS_NO_MEMORY;
    }
    char hash_text[65];
    hex(hash, hash_text);
    char text[512];
    int size = snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%.8s/%s/%s/aws4_request\n%s",
                        when->text, when->text, rules->region, rules->service, hash_text);
    if (size < 0 || (size_t)size >= sizeof text) {
        return STATUS_NO_MEMORY; /* no region of ours is so long */
    }
    return hmac(key, SIGV4_KEY_BYTES, bytes_of(text, (size_t)size), out);
}

static enum status no_key(enum sigv4_key found, struct arena *arena, struct api_error *error)
{
    if (found == SIGV4_KEY_UNAVAILABLE) {
        return api_error_of_status(error, STATUS_UNAVAILABLE);
    }
    if (found == SIGV4_KEY_EXPIRED) {
        return api_error_set(error, arena, EXCEPTION_EXPIRED_TOKEN,
                             "The security token included in the request is expired");
    }
    return api_error_set(error, arena, EXCEPTION_UNRECOGNIZED_CLIENT,
                         "The security token included in the request is invalid.");
}

static enum status check_signature(const struct sigv4_request *request,
                                   const struct sigv4_parts *parts, const struct sigv4_time *when,
                                   const struct sigv4_rules *rules, struct arena *arena,
                                   struct sigv4_result *out, struct api_error *error)
{
    struct sigv4_result result = {.signed_ms = when->unix_ms};
    memcpy(result.access_key, parts->access_key.data, parts->access_key.size);
    const struct sigv4_header *token = sigv4_find(request, "x-amz-security-token", NULL);
    char date[SIGV4_DATE_BYTES] = {0};
    memcpy(date, when->text, sizeof date - 1);
    uint8_t key[SIGV4_KEY_BYTES] = {0};
    enum sigv4_key found =
        rules->lookup(result.access_key, date, token ? token->value : bytes_of(NULL, 0), key,
                      result.principal, rules->data);
    /* An unknown key takes the same time: its HMAC is made too, with whatever `key` holds. */
    uint8_t ours[32];
    enum status status = sign(request, parts, when, rules, key, ours);
    OPENSSL_cleanse(key, sizeof key);
    if (status != STATUS_OK) {
        return api_error_of_status(error, status);
    }
    bool same = CRYPTO_memcmp(ours, parts->signature_bytes, sizeof ours) == 0;
    if (found != SIGV4_KEY_FOUND) {
        return no_key(found, arena, error);
    }
    if (!same) {
        return refuse(error, arena, MISMATCH);
    }
    *out = result;
    return STATUS_OK;
}

enum status sigv4_verify(const struct sigv4_request *request, const struct sigv4_rules *rules,
                         struct arena *arena, struct sigv4_result *out, struct api_error *error)
{
    struct sigv4_parts parts;
    struct sigv4_time when;
    enum status status = check_limits(request, arena, error);
    if (status == STATUS_OK) {
        status = check_place(request, arena, error);
    }
    if (status == STATUS_OK) {
        status = sigv4_parse(request, arena, &parts, &when, error);
    }
    if (status == STATUS_OK) {
        status = check_signed(request, &parts, arena, error);
    }
    if (status == STATUS_OK) {
        status = check_time(&when, rules, arena, error);
    }
    if (status == STATUS_OK) {
        status = check_scope(&parts, &when, rules, arena, error);
    }
    if (status == STATUS_OK) {
        status = check_body(request, arena, error);
    }
    if (status == STATUS_OK) {
        status = check_signature(request, &parts, &when, rules, arena, out, error);
    }
    return status;
}
