#include <ctype.h>
#include <stdio.h>

#include "broker/gateway/api_time.h"
#include "broker/gateway/sigv4_private.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

const struct sigv4_header *sigv4_find(const struct sigv4_request *request, const char *name,
                                      uint32_t *out_count)
{
    const struct sigv4_header *found = NULL;
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->header_count; i++) {
        if (bytes_equal(request->headers[i].name, bytes_of_string(name))) {
            found = found ? found : &request->headers[i];
            count++;
        }
    }
    if (out_count) {
        *out_count = count;
    }
    return found;
}

/* ---- time ---- */

void sigv4_time_text(uint64_t unix_ms, char out[SIGV4_TIME_BYTES])
{
    struct moment m = moment_of(unix_ms);
    (void)snprintf(out, SIGV4_TIME_BYTES, "%04u%02u%02uT%02u%02u%02uZ", (unsigned)m.year % 10000,
                   (unsigned)m.month % 100, (unsigned)m.day % 100, (unsigned)m.hour % 100,
                   (unsigned)m.minute % 100, (unsigned)m.second % 100);
}

void sigv4_date(uint64_t unix_ms, char out[SIGV4_DATE_BYTES])
{
    char text[SIGV4_TIME_BYTES];
    sigv4_time_text(unix_ms, text);
    memcpy(out, text, SIGV4_DATE_BYTES - 1);
    out[SIGV4_DATE_BYTES - 1] = 0;
}

/* `count` digits at `at`; false when one is none. */
static bool digits(const uint8_t *at, size_t count, int *out)
{
    int number = 0;
    for (size_t i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        number = number * 10 + (at[i] - '0');
    }
    *out = number;
    return true;
}

/* 20150830T123600Z */
static bool parse_basic(struct bytes text, uint64_t *out)
{
    struct moment m;
    const uint8_t *at = text.data;
    return text.size == SIGV4_TIME_BYTES - 1 && at[8] == 'T' && at[15] == 'Z' &&
           digits(at, 4, &m.year) && digits(at + 4, 2, &m.month) && digits(at + 6, 2, &m.day) &&
           digits(at + 9, 2, &m.hour) && digits(at + 11, 2, &m.minute) &&
           digits(at + 13, 2, &m.second) && moment_unix_ms(&m, out);
}

/* Sun, 30 Aug 2015 12:36:00 GMT: the form of RFC 9110 that is not obsolete. */
static bool parse_http_date(struct bytes text, uint64_t *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct moment m = {0};
    const uint8_t *at = text.data;
    if (text.size != 29 || memcmp(at + 3, ", ", 2) != 0 || memcmp(at + 25, " GMT", 4) != 0 ||
        at[7] != ' ' || at[11] != ' ' || at[16] != ' ' || at[19] != ':' || at[22] != ':') {
        return false;
    }
    for (int i = 0; i < 12; i++) {
        if (memcmp(at + 8, months + i * 3, 3) == 0) {
            m.month = i + 1;
        }
    }
    return digits(at + 5, 2, &m.day) && digits(at + 12, 4, &m.year) &&
           digits(at + 17, 2, &m.hour) && digits(at + 20, 2, &m.minute) &&
           digits(at + 23, 2, &m.second) && moment_unix_ms(&m, out);
}

static enum status parse_time(const struct sigv4_header *header, struct arena *arena,
                              struct sigv4_time *out, struct api_error *error)
{
    uint64_t unix_ms;
    bool amz = bytes_equal(header->name, bytes_of_string("x-amz-date"));
    if (!parse_basic(header->value, &unix_ms) &&
        (amz || !parse_http_date(header->value, &unix_ms))) {
        struct bytes shown =
            bytes_of(header->value.data, header->value.size < 64 ? header->value.size : 64);
        return api_error_set(error, arena, EXCEPTION_INCOMPLETE_SIGNATURE,
                             "Date must be in ISO-8601 'basic format'. Got '%.*s'.",
                             PRINT_BYTES(shown));
    }
    out->unix_ms = unix_ms;
    sigv4_time_text(unix_ms, out->text);
    return STATUS_OK;
}

/* ---- the header ---- */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static struct bytes trimmed(struct bytes text)
{
    while (text.size && is_blank(text.data[0])) {
        text = bytes_of(text.data + 1, text.size - 1);
    }
    while (text.size && is_blank(text.data[text.size - 1])) {
        text.size--;
    }
    return text;
}

/* What stands before the first `byte`; *rest is what stands behind it, {NULL, 0} without one. */
static struct bytes split(struct bytes text, uint8_t byte, struct bytes *rest)
{
    const uint8_t *found = text.size ? memchr(text.data, byte, text.size) : NULL;
    if (!found) {
        *rest = bytes_of(NULL, 0);
        return text;
    }
    size_t size = (size_t)(found - text.data);
    *rest = bytes_of(found + 1, text.size - size - 1);
    return bytes_of(text.data, size);
}

/* "Credential=..., SignedHeaders=..., Signature=..." with or without blanks. False: something is
 * there twice. What is not known is passed over. */
static bool read_parameters(struct bytes text, struct sigv4_parts *parts)
{
    const struct {
        const char *name;
        struct bytes *value;
    } known[] = {
        {"Credential",    &parts->credential    },
        {"SignedHeaders", &parts->signed_headers},
        {"Signature",     &parts->signature     }
    };
    while (text.size) {
        struct bytes value;
        struct bytes name = trimmed(split(split(text, ',', &text), '=', &value));
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            if (!bytes_equal(name, bytes_of_string(known[i].name))) {
                continue;
            }
            if (known[i].value->size) {
                return false;
            }
            *known[i].value = trimmed(value);
        }
    }
    return true;
}

static enum status missing_parts(const struct sigv4_parts *parts, bool has_date,
                                 struct arena *arena, struct api_error *error)
{
    return api_error_set(
        error, arena, EXCEPTION_INCOMPLETE_SIGNATURE, "%s%s%s%s",
        parts->credential.size ? "" : "Authorization header requires 'Credential' parameter. ",
        parts->signature.size ? "" : "Authorization header requires 'Signature' parameter. ",
        parts->signed_headers.size ? ""
                                   : "Authorization header requires 'SignedHeaders' parameter. ",
        has_date ? ""
                 : "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' "
                   "header.");
}

static enum status read_credential(struct sigv4_parts *parts, struct arena *arena,
                                   struct api_error *error)
{
    struct bytes *const elements[] = {&parts->access_key, &parts->date, &parts->region,
                                      &parts->service, &parts->term};
    enum { ELEMENTS = sizeof elements / sizeof *elements };
    struct bytes rest = parts->credential;
    size_t count = 0;
    for (; count < ELEMENTS && rest.data; count++) {
        *elements[count] = split(rest, '/', &rest);
    }
    if (count != ELEMENTS || rest.data || !parts->access_key.size ||
        parts->access_key.size > SIGV4_ACCESS_KEY_MAX ||
        memchr(parts->access_key.data, 0, parts->access_key.size)) {
        struct bytes shown = bytes_of(parts->credential.data,
                                      parts->credential.size < 256 ? parts->credential.size : 256);
        return api_error_set(error, arena, EXCEPTION_INCOMPLETE_SIGNATURE,
                             "Credential must have exactly 5 slash-delimited elements, e.g. "
                             "keyid/date/region/service/term, got '%.*s'",
                             PRINT_BYTES(shown));
    }
    return STATUS_OK;
}

static int compare(struct bytes a, struct bytes b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* Lower case, in order, none twice. */
static enum status read_signed_headers(struct sigv4_parts *parts, struct arena *arena,
                                       struct api_error *error)
{
    struct bytes rest = parts->signed_headers;
    bool good = true;
    while (good && rest.data) {
        struct bytes name = split(rest, ';', &rest);
        good = name.size > 0 && parts->name_count < SIGV4_SIGNED_MAX;
        for (size_t i = 0; good && i < name.size; i++) {
            good = !isupper(name.data[i]) && name.data[i] > ' ' && name.data[i] < 0x7f;
        }
        if (good && parts->name_count) {
            good = compare(parts->names[parts->name_count - 1], name) < 0;
        }
        if (good) {
            parts->names[parts->name_count++] = name;
        }
    }
    return good ? STATUS_OK
                : api_error_set(error, arena, EXCEPTION_INVALID_SIGNATURE,
                                "SignedHeaders must be at most %d names in lower case, in order "
                                "and each once.",
                                SIGV4_SIGNED_MAX);
}

/* What is not 64 lower-case digits is a signature too, of nothing: it stays zero and will not
 * match. */
static void read_signature(struct sigv4_parts *parts)
{
    uint8_t out[SIGV4_SIGNATURE_BYTES];
    if (parts->signature.size != 2 * sizeof out) {
        return;
    }
    for (size_t i = 0; i < sizeof out; i++) {
        unsigned byte = 0;
        for (size_t k = 0; k < 2; k++) {
            uint8_t c = parts->signature.data[2 * i + k];
            if (c >= '0' && c <= '9') {
                byte = byte << 4 | (unsigned)(c - '0');
            } else if (c >= 'a' && c <= 'f') {
                byte = byte << 4 | (unsigned)(c - 'a' + 10);
            } else {
                return;
            }
        }
        out[i] = (uint8_t)byte;
    }
    memcpy(parts->signature_bytes, out, sizeof out);
}

/* Behind the algorithm's name. */
static enum status read_algorithm(struct bytes authorization, struct arena *arena,
                                  struct bytes *out_rest, struct api_error *error)
{
    struct bytes rest;
    struct bytes algorithm = split(authorization, ' ', &rest);
    if (!bytes_equal(algorithm, bytes_of_string(ALGORITHM))) {
        struct bytes shown = bytes_of(algorithm.data, algorithm.size < 64 ? algorithm.size : 64);
        return api_error_set(error, arena, EXCEPTION_INCOMPLETE_SIGNATURE,
                             "Unsupported AWS 'algorithm': '%.*s', only " ALGORITHM " is known.",
                             PRINT_BYTES(shown));
    }
    *out_rest = rest;
    return STATUS_OK;
}

enum status sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                        struct sigv4_parts *out, struct sigv4_time *out_time,
                        struct api_error *error)
{
    struct bytes authorization = sigv4_find(request, "authorization", NULL)->value;
    struct sigv4_parts parts = {0};
    struct bytes rest = {0};
    enum status status = read_algorithm(authorization, arena, &rest, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct sigv4_header *date = sigv4_find(request, "x-amz-date", NULL);
    if (!date) {
        date = sigv4_find(request, "date", NULL);
    }
    if (!read_parameters(rest, &parts)) {
        return api_error_set(error, arena, EXCEPTION_INCOMPLETE_SIGNATURE,
                             "Authorization header has a parameter twice.");
    }
    if (!parts.credential.size || !parts.signature.size || !parts.signed_headers.size || !date) {
        return missing_parts(&parts, date != NULL, arena, error);
    }
    status = parse_time(date, arena, out_time, error);
    if (status == STATUS_OK) {
        status = read_credential(&parts, arena, error);
    }
    if (status == STATUS_OK) {
        status = read_signed_headers(&parts, arena, error);
    }
    if (status == STATUS_OK) {
        read_signature(&parts);
        *out = parts;
    }
    return status;
}
