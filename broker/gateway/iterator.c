#include "broker/gateway/iterator.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "broker/gateway/api_text.h"
#include "broker/gateway/api_time.h"

/* A token: version (8, big-endian, 1), key id (4), time of issue (8), payload, HMAC (32).
 * Big-endian as AWS's begin: the version makes ours begin like theirs. */
enum {
    VERSION = 1,
    HEAD_BYTES = 8 + 4 + 8,
    MAC_BYTES = 32,
    PURPOSE_MAX = 64,
    TOKEN_BYTES_MAX = HEAD_BYTES + TOKEN_PAYLOAD_MAX + MAC_BYTES,
    ITERATOR_PAYLOAD = 4 + 4 + 1 + 8,
};

static const char iterator_purpose[] = "shard iterator";

static void put_big(uint8_t *at, uint64_t number, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[size - 1 - i] = (uint8_t)(number >> (8 * i));
    }
}

static uint64_t get_big(const uint8_t *at, size_t size)
{
    uint64_t number = 0;
    for (size_t i = 0; i < size; i++) {
        number = number << 8 | at[i];
    }
    return number;
}

/* Over the purpose, a zero, and the token without its end: no purpose is another's beginning. */
static enum status mac_of(const struct token_key *key, const char *purpose, struct bytes token,
                          uint8_t out[MAC_BYTES])
{
    uint8_t text[PURPOSE_MAX + 1 + HEAD_BYTES + TOKEN_PAYLOAD_MAX];
    size_t size = strnlen(purpose, PURPOSE_MAX) + 1;
    memcpy(text, purpose, size - 1);
    text[size - 1] = 0;
    memcpy(text + size, token.data, token.size);
    size += token.size;
    unsigned mac_size = MAC_BYTES;
    return HMAC(EVP_sha256(), key->bytes, TOKEN_KEY_BYTES, text, size, out, &mac_size)
               ? STATUS_OK
               : STATUS_NO_MEMORY;
}

enum status token_seal(const struct token_keys *keys, const char *purpose, uint64_t issued_ms,
                       struct bytes payload, char out[TOKEN_TEXT_BYTES])
{
    if (payload.size > TOKEN_PAYLOAD_MAX) {
        return STATUS_TOO_LARGE;
    }
    uint8_t token[TOKEN_BYTES_MAX];
    put_big(token, VERSION, 8);
    put_big(token + 8, keys->keys[0].id, 4);
    put_big(token + 12, issued_ms, 8);
    if (payload.size) {
        memcpy(token + HEAD_BYTES, payload.data, payload.size);
    }
    size_t size = HEAD_BYTES + payload.size;
    enum status status = mac_of(&keys->keys[0], purpose, bytes_of(token, size), token + size);
    if (status != STATUS_OK) {
        return status;
    }
    size += MAC_BYTES;
    base64_encode(bytes_of(token, size), (uint8_t *)out);
    out[base64_encoded_size(size)] = 0;
    return STATUS_OK;
}

/* Checks everything but the age. `token` has room for the largest one. */
static enum status open_token(const struct token_keys *keys, const char *purpose, struct bytes text,
                              uint8_t *token, size_t *out_size)
{
    size_t size = 0;
    if (text.size > base64_encoded_size(TOKEN_BYTES_MAX) ||
        base64_decode(text, token, &size) != BASE64_OK || size < HEAD_BYTES + MAC_BYTES ||
        size > TOKEN_BYTES_MAX || get_big(token, 8) != VERSION) {
        return STATUS_INVALID;
    }
    size -= MAC_BYTES;
    for (uint32_t i = 0; i < keys->count; i++) {
        uint8_t mac[MAC_BYTES];
        if (keys->keys[i].id != get_big(token + 8, 4)) {
            continue;
        }
        enum status status = mac_of(&keys->keys[i], purpose, bytes_of(token, size), mac);
        if (status != STATUS_OK) {
            return status;
        }
        if (CRYPTO_memcmp(mac, token + size, MAC_BYTES) == 0) {
            *out_size = size;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

enum status token_open(const struct token_keys *keys, const char *purpose, struct bytes text,
                       uint64_t now_ms, uint64_t life_ms, uint8_t *out, size_t *out_size)
{
    uint8_t token[TOKEN_BYTES_MAX + 3];
    size_t size;
    enum status status = open_token(keys, purpose, text, token, &size);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t issued_ms = get_big(token + 12, 8);
    if (life_ms && now_ms > issued_ms && now_ms - issued_ms > life_ms) {
        return STATUS_EXPIRED;
    }
    memcpy(out, token + HEAD_BYTES, size - HEAD_BYTES);
    *out_size = size - HEAD_BYTES;
    return STATUS_OK;
}

/* ---- shard iterators ---- */

enum status iterator_seal(const struct token_keys *keys, const struct iterator *iterator,
                          char out[ITERATOR_TEXT_BYTES])
{
    uint8_t payload[ITERATOR_PAYLOAD];
    put_big(payload, iterator->stream, 4);
    put_big(payload + 4, iterator->shard, 4);
    payload[8] = (uint8_t)iterator->position;
    put_big(payload + 9, iterator->at, 8);
    char text[TOKEN_TEXT_BYTES];
    enum status status = token_seal(keys, iterator_purpose, iterator->issued_ms,
                                    bytes_of(payload, sizeof payload), text);
    if (status == STATUS_OK) {
        memcpy(out, text, strlen(text) + 1);
    }
    return status;
}

enum status iterator_open(const struct token_keys *keys, struct bytes text, struct iterator *out)
{
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        text = bytes_of(text.data + 1, text.size - 2);
    }
    uint8_t token[TOKEN_BYTES_MAX + 3];
    size_t size;
    enum status status = open_token(keys, iterator_purpose, text, token, &size);
    if (status != STATUS_OK) {
        return status;
    }
    const uint8_t *payload = token + HEAD_BYTES;
    if (size != HEAD_BYTES + ITERATOR_PAYLOAD || payload[8] < ITERATOR_TRIM_HORIZON ||
        payload[8] > ITERATOR_TIMESTAMP) {
        return STATUS_INVALID;
    }
    *out = (struct iterator){.stream = (uint32_t)get_big(payload, 4),
                             .shard = (uint32_t)get_big(payload + 4, 4),
                             .position = (enum iterator_position)payload[8],
                             .at = get_big(payload + 9, 8),
                             .issued_ms = get_big(token + 12, 8)};
    return STATUS_OK;
}

bool iterator_expired(const struct iterator *iterator, uint64_t now_ms)
{
    return now_ms > iterator->issued_ms && now_ms - iterator->issued_ms > ITERATOR_LIFE_MS;
}

void iterator_time(uint64_t unix_ms, char out[ITERATOR_TIME_BYTES])
{
    static const char days[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct moment m = moment_of(unix_ms);
    (void)snprintf(out, ITERATOR_TIME_BYTES, "%s %s %02d %02d:%02d:%02d UTC %04d",
                   days[unix_ms / 86400000 % 7], months[m.month - 1], m.day, m.hour, m.minute,
                   m.second, m.year);
}
