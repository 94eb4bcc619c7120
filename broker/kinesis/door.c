/* From an HTTP request to an operation: who asks is known before anything that they sent is read.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "base/check.h"
#include "broker/kinesis/internal.h"

enum { KEY_WAIT_MS = 50, KEY_TRIES = 10, KEY_TRIES_AT_START = 60 };

static void make_id(char out[REQUEST_ID_BYTES])
{
    uint8_t b[16] = {0};
    if (!random_bytes(b, sizeof(b))) {
        return; /* an id of zeros is better than no answer */
    }
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, REQUEST_ID_BYTES,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

static struct bytes header(const struct request *r, const char *name)
{
    const struct http_header *found = http_header_find(r->http, name, NULL);
    return found == NULL ? (struct bytes){0} : found->value;
}

static bool is(struct bytes text, const char *other)
{
    return bytes_equal(text, bytes_of_string(other));
}

/* ---- requests of browsers ---- */

static void answer_preflight(struct request *r)
{
    struct http_header headers[ANSWER_HEADERS_MAX];
    struct bytes asked = header(r, "access-control-request-headers");
    struct bytes method = header(r, "access-control-request-method");
    uint32_t count = answer_headers(r, NULL, headers);
    const struct http_header more[] = {
        {bytes_of_string("Access-Control-Allow-Headers"), asked                    },
        {bytes_of_string("Access-Control-Allow-Methods"), method                   },
        {bytes_of_string("Access-Control-Max-Age"),       bytes_of_string("172800")}
    };
    for (uint32_t i = 0; i < 3 && count < ANSWER_HEADERS_MAX; i++) {
        if (more[i].value.size > 0) {
            headers[count++] = more[i];
        }
    }
    struct buf none = {0};
    struct http_request *http = r->http;
    r->http = NULL;
    http_respond(http, 200, headers, count, &none);
    request_settle(r);
}

/* ---- signatures ---- */

NODISCARD static enum status check_signature(struct request *r)
{
    struct http_request *http = r->http;
    struct sigv4_header *headers =
        arena_take(&r->arena, (http->header_count + 1) * sizeof(*headers));
    struct sigv4_request request = {.method = http->method,
                                    .path = http->path,
                                    .query = http->query,
                                    .headers = headers,
                                    .header_count = http->header_count};
    if (headers == NULL || EVP_Digest(http->body.data, http->body.size, request.body_hash, NULL,
                                      EVP_sha256(), NULL) != 1) {
        return api_error_of_status(&r->error, STATUS_NO_MEMORY);
    }
    memcpy(r->body_hash, request.body_hash, sizeof(r->body_hash));
    for (uint32_t i = 0; i < http->header_count; i++) {
        headers[i] =
            (struct sigv4_header){.name = http->headers[i].name, .value = http->headers[i].value};
    }
    const struct kinesis_options *options = &r->k->options;
    const struct sigv4_rules rules = {.region = kinesis_region(r->k),
                                      .service = "kinesis",
                                      .now_ms = request_wall_ms(r),
                                      .skew_ms = SIGV4_SKEW_DEFAULT_MS,
                                      .lookup = options->signing_key,
                                      .data = options->context};
    return sigv4_verify(&request, &rules, &r->arena, &r->caller, &r->error);
}

/* The one place where it is decided who may do what: whoever has a valid key of this cluster may do
 * everything. The operation's action and resource are in api_operations. */
NODISCARD static bool is_authorized(const struct request *r)
{
    return r->caller.access_key[0] != '\0';
}

/* ---- the order of AWS ---- */

/* False: answered. */
static bool choose_encoding(struct request *r)
{
    struct bytes type = header(r, "content-type");
    if (api_encoding_of(type, &r->encoding)) {
        return true;
    }
    if (type.size >= 16 && is(bytes_of(type.data, 16), "application/json")) {
        answer_plain(r, 400, "application/json",
                     "{\"Output\":{\"__type\":\"com.amazon.coral.service#"
                     "UnknownOperationException\"},\"Version\":\"1.0\"}");
    } else {
        answer_plain(r, 404, "application/xml", "<UnknownOperationException/>\n");
    }
    return false;
}

/* False: answered. */
static bool enter(struct request *r)
{
    if (is(r->http->method, "OPTIONS")) {
        answer_preflight(r);
        return false;
    }
    if (!is(r->http->method, "POST")) {
        answer_plain(r, 403, "application/xml",
                     "<AccessDeniedException>\n  <Message>Unable to determine service/operation "
                     "name to be authorized</Message>\n</AccessDeniedException>\n");
        return false;
    }
    if (!choose_encoding(r)) {
        return false;
    }
    r->operation = api_operation_find(header(r, "x-amz-target"));
    if (r->operation == API_OPERATIONS) {
        r->error = (struct api_error){.exception = EXCEPTION_UNKNOWN_OPERATION};
        answer_error(r);
        return false;
    }
    return true;
}

/* False: answered. */
static bool may_run(struct request *r)
{
    http_request_verified(r->http);
    if (!is_authorized(r)) {
        answer_refuse(r, EXCEPTION_FORBIDDEN, "User: %s is not authorized to perform: %s",
                      r->caller.principal, api_operations[r->operation].action);
        return false;
    }
    if (!calls_allow(&r->k->calls, r->operation, request_now_ms(r))) {
        answer_refuse(r, EXCEPTION_LIMIT_EXCEEDED, "Rate exceeded for account %s.",
                      kinesis_account(r->k));
        return false;
    }
    return true;
}

static void run(struct request *r)
{
    if (!may_run(r)) {
        return;
    }
    if (api_parse(api_operations[r->operation].input, r->encoding, r->http->body, &r->arena,
                  &r->input, &r->error) != STATUS_OK) {
        answer_error(r);
    } else {
        request_run(r);
    }
}

/* A key may have been made a moment ago, or the broker has just started: the controllers are asked
 * before it is refused. What strangers can make of that is one question a second. */
static bool key_may_come(struct request *r)
{
    const struct kinesis_options *options = &r->k->options;
    if (r->error.exception == EXCEPTION_UNRECOGNIZED_CLIENT) {
        return r->key_tries < KEY_TRIES && options->ask_keys(options->context);
    }
    return r->error.exception == EXCEPTION_SERVICE_UNAVAILABLE && r->key_tries < KEY_TRIES_AT_START;
}

/* False: it waits, or is answered. */
static bool image_is_there(struct request *r, void (*next)(struct request *r))
{
    const struct kinesis_options *options = &r->k->options;
    if (options->knows_metadata(options->context)) {
        return true;
    }
    if (r->image_tries++ < KEY_TRIES_AT_START) {
        request_wait(r, UINT64_MAX, KEY_WAIT_MS, next);
    } else {
        answer_refuse(r, EXCEPTION_SERVICE_UNAVAILABLE,
                      "This broker does not know the cluster's metadata yet.");
    }
    return false;
}

static void verify(struct request *r)
{
    if (!image_is_there(r, verify)) {
        return;
    }
    if (check_signature(r) == STATUS_OK) {
        run(r);
    } else if (key_may_come(r)) {
        r->key_tries++;
        request_wait(r, UINT64_MAX, KEY_WAIT_MS, verify);
    } else {
        answer_error(r);
    }
}

void door_requested(struct http_request *http, void *data)
{
    struct kinesis *k = data;
    struct request *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        struct buf none = {0};
        http_respond(http, 503, NULL, 0, &none);
        return;
    }
    r->k = k;
    r->http = http;
    r->operation = API_OPERATIONS;
    r->arena.limit = ARENA_REQUEST_LIMIT;
    r->came_us = net_clock_us();
    r->deadline_ms = net_now_ms(k->options.loop) + REQUEST_MS;
    list_init(&r->waiting);
    list_push(&k->requests, &r->node);
    make_id(r->id);
    r->running++; /* until this returns: whoever answers must not take it away */
    if (k->closing) {
        answer_status(r, STATUS_CLOSING, NULL);
    } else if (enter(r)) {
        verify(r);
    }
    r->running--;
    request_settle(r);
}
