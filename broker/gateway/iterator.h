/* Tokens that clients carry: shard iterators and the NextTokens of lists. Sealed by an HMAC under a
 * key of the cluster: any broker can check one, none can be made or changed by a client, and each
 * kind is good for its own purpose only. They are not secret: they tell what the client asked for.
 *
 * An HMAC, not AES-GCM: every GetRecords makes a token, and random nonces would wear a GCM key out
 * within hours (NIST SP 800-38D). Pure but for libcrypto. Any thread. */
#pragma once

#include "base/bytes.h"

enum {
    TOKEN_KEY_BYTES = 32,
    ITERATOR_TEXT_BYTES = 128, /* with its zero; clients allow 512 */
    ITERATOR_LIFE_MS = 300 * 1000,
    TOKEN_PAYLOAD_MAX = 2048,
    TOKEN_TEXT_BYTES = 2816, /* of the largest payload, with its zero */
};

/* Keys of the cluster, newest first: it seals, all of them open. */
struct token_key {
    uint32_t id;
    uint8_t bytes[TOKEN_KEY_BYTES];
};
struct token_keys {
    const struct token_key *keys;
    uint32_t count; /* at least 1 to seal */
};

enum iterator_position {
    ITERATOR_TRIM_HORIZON = 1, /* the oldest record kept when it is read */
    ITERATOR_OFFSET = 2,       /* `at` is the offset of the next record */
    ITERATOR_TIMESTAMP = 3,    /* `at` is a time: no record was that late yet */
};

struct iterator {
    uint32_t stream; /* its id, which names the incarnation */
    uint32_t shard;  /* its number */
    enum iterator_position position;
    uint64_t at;
    uint64_t issued_ms; /* the cluster's time */
};

/* Base64, a different text at each time of issue. NO_MEMORY. */
NODISCARD enum status iterator_seal(const struct token_keys *keys, const struct iterator *iterator,
                                    char out[ITERATOR_TEXT_BYTES]);

/* INVALID: not one of ours. The age is the caller's to check: iterator_expired(). A pair of double
 * quotes around the text is accepted, as AWS does. */
NODISCARD enum status iterator_open(const struct token_keys *keys, struct bytes text,
                                    struct iterator *out);

/* Times ahead of `now_ms` are not expired: brokers' clocks differ a little. */
bool iterator_expired(const struct iterator *iterator, uint64_t now_ms);

/* "Sat Nov 22 20:45:01 UTC 2025", as the text of ExpiredIteratorException has times. */
enum { ITERATOR_TIME_BYTES = 32 };
void iterator_time(uint64_t unix_ms, char out[ITERATOR_TIME_BYTES]);

/* ---- any other token ---- */

/* `purpose` (up to 64 characters: "ListShards") is not in the text but must be the same to open it.
 * TOO_LARGE beyond TOKEN_PAYLOAD_MAX, NO_MEMORY. */
NODISCARD enum status token_seal(const struct token_keys *keys, const char *purpose,
                                 uint64_t issued_ms, struct bytes payload,
                                 char out[TOKEN_TEXT_BYTES]);

/* INVALID: not one of ours, or of another purpose. EXPIRED: ours, but older than `life_ms` (0: for
 * ever). The payload goes to `out`, whose memory is the caller's: TOKEN_PAYLOAD_MAX bytes. */
NODISCARD enum status token_open(const struct token_keys *keys, const char *purpose,
                                 struct bytes text, uint64_t now_ms, uint64_t life_ms, uint8_t *out,
                                 size_t *out_size);
