#include "broker/keys/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/check.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, PRINCIPAL_MAX = 64, ID_MAX = 32 };

struct signing_day {
    char date[SIGV4_DATE_BYTES];
    uint8_t key[SIGV4_KEY_BYTES];
};

struct signing_key {
    char id[ID_MAX + 1], principal[PRINCIPAL_MAX + 1];
    uint32_t day_count;
    struct signing_day day[KEYS_DAYS];
};

struct keys {
    bool taken; /* the controllers have answered, with keys or that there are none */
    uint64_t version;
    uint32_t count;
    struct signing_key *key; /* by id */
    char dates[KEYS_DAYS][SIGV4_DATE_BYTES];
    uint32_t date_count; /* that were asked for */
    struct token_key token[KEYS_TOKENS_MAX];
    struct token_keys tokens;
};

struct keys *keys_new(void)
{
    return calloc(1, sizeof(struct keys));
}

static void wipe_keys(struct signing_key *key, uint32_t count)
{
    if (key != NULL) {
        OPENSSL_cleanse(key, count * sizeof(*key));
        free(key);
    }
}

void keys_free(struct keys *keys)
{
    if (keys != NULL) {
        wipe_keys(keys->key, keys->count);
        OPENSSL_cleanse(keys, sizeof(*keys));
        free(keys);
    }
}

void keys_dates(uint64_t wall_ms, char out[KEYS_DAYS][SIGV4_DATE_BYTES])
{
    for (uint64_t d = 0; d < KEYS_DAYS; d++) {
        sigv4_date(wall_ms + d * DAY_MS - DAY_MS, out[d]);
    }
}

/* ---- taking
 * --------------------------------------------------------------------------------------- */

NODISCARD static bool take_key(struct signing_key *to, const Weir__SigningKeys__Key *from)
{
    if (strlen(from->id) > ID_MAX || strlen(from->principal) > PRINCIPAL_MAX ||
        from->n_days > KEYS_DAYS) {
        return false;
    }
    memcpy(to->id, from->id, strlen(from->id));
    memcpy(to->principal, from->principal, strlen(from->principal));
    for (size_t d = 0; d < from->n_days; d++) {
        const Weir__SigningKeys__Day *day = from->days[d];
        if (day->key.len != SIGV4_KEY_BYTES || strlen(day->date) != SIGV4_DATE_BYTES - 1) {
            return false;
        }
        memcpy(to->day[d].date, day->date, SIGV4_DATE_BYTES);
        memcpy(to->day[d].key, day->key.data, SIGV4_KEY_BYTES);
    }
    to->day_count = (uint32_t)from->n_days;
    return true;
}

static bool tokens_are_good(const Weir__SigningKeys *reply)
{
    bool good = reply->n_tokens <= KEYS_TOKENS_MAX;
    for (size_t i = 0; good && i < reply->n_tokens; i++) {
        good = reply->tokens[i]->key.len == TOKEN_KEY_BYTES;
    }
    return good;
}

static void take_tokens(struct keys *keys, const Weir__SigningKeys *reply)
{
    for (size_t i = 0; i < reply->n_tokens; i++) {
        keys->token[i].id = reply->tokens[i]->id;
        memcpy(keys->token[i].bytes, reply->tokens[i]->key.data, TOKEN_KEY_BYTES);
    }
    keys->tokens = (struct token_keys){.keys = keys->token, .count = (uint32_t)reply->n_tokens};
}

/* Every key has all the days that were asked for. Without keys the next answer tells them. */
static void take_dates(struct keys *keys)
{
    keys->date_count = keys->count == 0 ? 0 : keys->key[0].day_count;
    for (uint32_t d = 0; d < keys->date_count; d++) {
        memcpy(keys->dates[d], keys->key[0].day[d].date, SIGV4_DATE_BYTES);
    }
}

enum status keys_take(struct keys *keys, const Weir__SigningKeys *reply)
{
    if (reply->n_keys > KEYS_MAX || !tokens_are_good(reply)) {
        return STATUS_INVALID;
    }
    uint32_t count = (uint32_t)reply->n_keys;
    struct signing_key *key = calloc(count + 1, sizeof(*key));
    if (key == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!take_key(&key[i], reply->keys[i]) ||
            (i > 0 && strcmp(key[i - 1].id, key[i].id) >= 0)) {
            wipe_keys(key, count);
            return STATUS_INVALID;
        }
    }
    wipe_keys(keys->key, keys->count);
    keys->key = key;
    keys->count = count;
    keys->version = reply->version;
    keys->taken = true;
    take_tokens(keys, reply);
    take_dates(keys);
    return STATUS_OK;
}

void keys_take_none(struct keys *keys)
{
    keys->taken = true;
}

/* ---- asking
 * --------------------------------------------------------------------------------------- */

static bool has_date(const struct keys *keys, const char *date)
{
    for (uint32_t d = 0; d < keys->date_count; d++) {
        if (strcmp(keys->dates[d], date) == 0) {
            return true;
        }
    }
    return false;
}

bool keys_are_due(const struct keys *keys, uint64_t version, uint64_t wall_ms)
{
    if (!keys->taken || keys->version != version || keys->tokens.count == 0) {
        return true;
    }
    char dates[KEYS_DAYS][SIGV4_DATE_BYTES];
    keys_dates(wall_ms, dates);
    bool due = false;
    for (uint32_t d = 0; d < KEYS_DAYS && !due; d++) {
        due = keys->count > 0 && !has_date(keys, dates[d]);
    }
    return due;
}

/* ---- looking up
 * ----------------------------------------------------------------------------------- */

static int compare_id(const void *id, const void *key)
{
    return strcmp(id, ((const struct signing_key *)key)->id);
}

enum sigv4_key keys_signing_key(const char *access_key, const char *date, struct bytes token,
                                uint8_t key[SIGV4_KEY_BYTES], char principal[SIGV4_PRINCIPAL_BYTES],
                                void *data)
{
    const struct keys *keys = data;
    if (!keys->taken) {
        return SIGV4_KEY_UNAVAILABLE;
    }
    const struct signing_key *found = keys->count == 0 ? NULL
                                                       : bsearch(access_key, keys->key, keys->count,
                                                                 sizeof(*keys->key), compare_id);
    if (found == NULL || token.size > 0) {
        return SIGV4_KEY_UNKNOWN;
    }
    for (uint32_t d = 0; d < found->day_count; d++) {
        if (strcmp(found->day[d].date, date) == 0) {
            memcpy(key, found->day[d].key, SIGV4_KEY_BYTES);
            (void)snprintf(principal, SIGV4_PRINCIPAL_BYTES, "%s", found->principal);
            return SIGV4_KEY_FOUND;
        }
    }
    return SIGV4_KEY_UNAVAILABLE;
}

const struct token_keys *keys_tokens(const struct keys *keys)
{
    return keys->tokens.count == 0 ? NULL : &keys->tokens;
}
