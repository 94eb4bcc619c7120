#include "base/hash_key.h"

#include <string.h>

#include <openssl/evp.h>
#include <pthread.h>

__extension__ typedef unsigned __int128 u128;

static u128 to_u128(struct hash_key key)
{
    return (u128)key.high << 64 | key.low;
}

static struct hash_key from_u128(u128 n)
{
    return (struct hash_key){.high = (uint64_t)(n >> 64), .low = (uint64_t)n};
}

/* Fetched once: OpenSSL 3 otherwise looks the algorithm up in every call. */
static EVP_MD *md5;
static pthread_once_t md5_once = PTHREAD_ONCE_INIT;

static void fetch_md5(void)
{
    md5 = EVP_MD_fetch(NULL, "MD5", NULL);
}

enum status hash_key_of_partition_key(struct bytes key, struct hash_key *out)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    (void)pthread_once(&md5_once, fetch_md5);
    if (md5 == NULL || EVP_Digest(key.data, key.size, digest, &size, md5, NULL) != 1 ||
        size != HASH_KEY_BYTES) {
        return STATUS_NO_MEMORY;
    }
    *out = hash_key_from_bytes(digest);
    return STATUS_OK;
}

struct hash_range hash_range_of(uint32_t index, uint32_t count)
{
    /* floor(2^128 / count), which does not fit the type when count is 1. */
    u128 all = ~(u128)0;
    u128 width = count == 1 ? 0 : all / count + (all % count + 1 == count ? 1 : 0);
    u128 first = width * index;
    u128 last = index + 1 == count ? all : first + width - 1;
    return (struct hash_range){.first = from_u128(first), .last = from_u128(last)};
}

void hash_key_to_decimal(struct hash_key key, char *out)
{
    char digits[HASH_KEY_DECIMAL_BYTES];
    size_t at = sizeof(digits);
    u128 n = to_u128(key);
    digits[--at] = '\0';
    do {
        digits[--at] = (char)('0' + (int)(n % 10));
        n /= 10;
    } while (n != 0);
    memcpy(out, digits + at, sizeof(digits) - at);
}

enum status hash_key_from_decimal(const char *text, struct hash_key *out)
{
    /* The first 38 digits cannot overflow: two halves, each in a register. */
    enum { HALF = 19, DIGITS_MAX = 39 };
    static const u128 tenth = ~(u128)0 / 10; /* of the largest, which ends in 5 */
    uint64_t half[2] = {0}, scale = 1;
    size_t digits = 0;
    for (; digits < 2 * (size_t)HALF && text[digits] != '\0'; digits++) {
        unsigned digit = (unsigned)(unsigned char)text[digits] - '0';
        if (digit > 9) {
            return STATUS_INVALID;
        }
        half[digits / HALF] = half[digits / HALF] * 10 + digit;
        scale = digits < HALF ? 1 : scale * 10;
    }
    u128 n = (u128)half[0] * scale + half[1];
    if (digits == DIGITS_MAX - 1 && text[digits] != '\0') {
        unsigned digit = (unsigned)(unsigned char)text[digits++] - '0';
        if (digit > 9 || text[digits] != '\0' || n > tenth || (n == tenth && digit > 5)) {
            return STATUS_INVALID;
        }
        n = n * 10 + digit;
    }
    if (digits == 0) {
        return STATUS_INVALID;
    }
    *out = from_u128(n);
    return STATUS_OK;
}

void hash_key_to_bytes(struct hash_key key, uint8_t out[HASH_KEY_BYTES])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(key.high >> (56 - 8 * i));
        out[8 + i] = (uint8_t)(key.low >> (56 - 8 * i));
    }
}

struct hash_key hash_key_from_bytes(const uint8_t bytes[HASH_KEY_BYTES])
{
    struct hash_key key = {0};
    for (int i = 0; i < 8; i++) {
        key.high = key.high << 8 | bytes[i];
        key.low = key.low << 8 | bytes[8 + i];
    }
    return key;
}
