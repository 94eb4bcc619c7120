/* AWS Signature Version 4: who sent a request, proven by an HMAC over what they sent.
 *
 * The one verifier, called before anything else looks at a request; nobody else reads credentials.
 * Only the Authorization header counts: signatures in the query, of other versions and of unsigned
 * bodies are refused. Pure but for libcrypto's digests: the caller gives time and keys. Any thread.
 *
 * docs/security.md; AWS's "Signature Version 4 signing process". */
#pragma once

#include "broker/gateway/api_error.h"

enum {
    SIGV4_KEY_BYTES = 32,
    SIGV4_DATE_BYTES = 9, /* "20150830" */
    SIGV4_ACCESS_KEY_MAX = 128,
    SIGV4_PRINCIPAL_BYTES = 256,
    SIGV4_SKEW_DEFAULT_MS = 5 * 60 * 1000,
};

struct sigv4_header {
    struct bytes name, value; /* name in lower case; HTTP/2's :authority under that name */
};

struct sigv4_request {
    struct bytes method, path, query;   /* raw, as received */
    const struct sigv4_header *headers; /* all, in their order */
    uint32_t header_count;
    uint8_t body_hash[32]; /* SHA-256 of the bytes that will be parsed */
};

struct sigv4_result {
    char access_key[SIGV4_ACCESS_KEY_MAX + 1];
    char principal[SIGV4_PRINCIPAL_BYTES]; /* as the key's owner is called; the lookup filled it */
    uint64_t signed_ms;
};

enum sigv4_key {
    SIGV4_KEY_FOUND,
    SIGV4_KEY_UNKNOWN,     /* also: disabled, deleted, a token that is not of this key */
    SIGV4_KEY_EXPIRED,     /* the session's life is over */
    SIGV4_KEY_UNAVAILABLE, /* cannot be told now: 503 */
};

struct sigv4_rules {
    const char *region, *service;
    uint64_t now_ms; /* the cluster's time */
    uint32_t skew_ms;
    /* The signing key of an access key for that day (and our region and service). `token` is the
     * session token, {NULL, 0} without one: the lookup decides whether it belongs to the key. On
     * FOUND it has filled `key` and may have filled `principal` (a C string; empty before). */
    enum sigv4_key (*lookup)(const char *access_key, const char *date, struct bytes token,
                             uint8_t key[SIGV4_KEY_BYTES], char principal[SIGV4_PRINCIPAL_BYTES],
                             void *data);
    void *data;
};

/* INVALID: *error says what AWS would. UNAVAILABLE: the lookup could not tell; NO_MEMORY: OpenSSL
 * could not allocate; *error is filled as well. */
NODISCARD enum status sigv4_verify(const struct sigv4_request *request,
                                   const struct sigv4_rules *rules, struct arena *arena,
                                   struct sigv4_result *out, struct api_error *error);

/* What is derived from a secret for one day, region and service. NO_MEMORY. */
NODISCARD enum status sigv4_signing_key(struct bytes secret, const char *date, const char *region,
                                        const char *service, uint8_t out[SIGV4_KEY_BYTES]);

/* "20150830" of a time; for those who keep keys by day. */
void sigv4_date(uint64_t unix_ms, char out[SIGV4_DATE_BYTES]);
