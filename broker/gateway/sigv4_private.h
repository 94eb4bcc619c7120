/* Between sigv4.c (the checks and the HMAC) and sigv4_parse.c (what the header says). */
#pragma once

#include "broker/gateway/sigv4.h"

enum {
    SIGV4_HEADERS_MAX = 64,
    SIGV4_HEADER_BLOCK_MAX = 16 * 1024,
    SIGV4_AUTHORIZATION_MAX = 2 * 1024,
    SIGV4_SIGNED_MAX = 40,
    SIGV4_SIGNATURE_BYTES = 32,
    SIGV4_TIME_BYTES = 17, /* "20150830T123600Z" */
};

/* An Authorization header, taken apart; everything borrowed from it. */
struct sigv4_parts {
    struct bytes credential, signed_headers, signature;
    struct bytes access_key, date, region, service, term; /* of the credential */
    struct bytes names[SIGV4_SIGNED_MAX];                 /* of the signed headers */
    uint32_t name_count;
    uint8_t signature_bytes[SIGV4_SIGNATURE_BYTES];
};

struct sigv4_time {
    uint64_t unix_ms;
    char text[SIGV4_TIME_BYTES];
};

/* The first header of a name, or NULL; *out_count (may be NULL) tells how many there are. */
const struct sigv4_header *sigv4_find(const struct sigv4_request *request, const char *name,
                                      uint32_t *out_count);

/* The Authorization header's parts, and the time that the request says it was signed at. INVALID
 * with *error filled. */
NODISCARD enum status sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                                  struct sigv4_parts *out, struct sigv4_time *out_time,
                                  struct api_error *error);

/* "20150830T123600Z". */
void sigv4_time_text(uint64_t unix_ms, char out[SIGV4_TIME_BYTES]);
