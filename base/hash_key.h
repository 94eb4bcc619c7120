/* The unsigned 128-bit numbers that partition keys hash to, and ranges of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

enum { HASH_KEY_BYTES = 16, HASH_KEY_DECIMAL_BYTES = 40 /* 39 digits and the zero */ };

struct hash_key {
    uint64_t high, low;
};

/* Both ends are part of the range, as Kinesis has it. */
struct hash_range {
    struct hash_key first, last;
};

static inline int hash_key_compare(struct hash_key a, struct hash_key b)
{
    if (a.high != b.high) {
        return a.high < b.high ? -1 : 1;
    }
    return a.low == b.low ? 0 : a.low < b.low ? -1 : 1;
}

static inline bool hash_range_has(struct hash_range range, struct hash_key key)
{
    return hash_key_compare(range.first, key) <= 0 && hash_key_compare(key, range.last) <= 0;
}

/* MD5 of the partition key, read as a big-endian number: where Kinesis puts a record that names no
 * explicit hash key. Any thread. NO_MEMORY when OpenSSL cannot allocate. */
NODISCARD enum status hash_key_of_partition_key(struct bytes key, struct hash_key *out);

/* Range `index` of `count` equal ones over the whole space; the last takes what the division
 * leaves. */
struct hash_range hash_range_of(uint32_t index, uint32_t count);

/* Decimal, without leading zeros, as the API prints it; out has HASH_KEY_DECIMAL_BYTES. */
void hash_key_to_decimal(struct hash_key key, char *out);

/* INVALID: not 1 to 39 decimal digits, or not below 2^128. */
NODISCARD enum status hash_key_from_decimal(const char *text, struct hash_key *out);

/* Big-endian, as it travels in messages. */
void hash_key_to_bytes(struct hash_key key, uint8_t out[HASH_KEY_BYTES]);
struct hash_key hash_key_from_bytes(const uint8_t bytes[HASH_KEY_BYTES]);
