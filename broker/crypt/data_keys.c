#include "broker/crypt/data_keys.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 200 }; /* after an answer that lacked the newest key */

struct data_key {
    uint32_t version;
    enum status status; /* OK: `bytes` is it */
    uint8_t bytes[CRYPT_KEY_BYTES];
};

/* One stream's, in pages of its own. */
struct entry {
    uint32_t stream, count;
    uint64_t asked_ms, ring_version;
    struct data_key *key; /* by version */
};

struct data_keys {
    uint64_t refresh_ms, life_ms;
    struct entry *entry; /* by stream */
    size_t count, capacity;
};

struct data_keys *data_keys_new(uint64_t refresh_ms, uint64_t life_ms)
{
    struct data_keys *keys = calloc(1, sizeof(*keys));
    if (keys != NULL) {
        keys->refresh_ms = refresh_ms;
        keys->life_ms = life_ms;
    }
    return keys;
}

static size_t pages_of(uint32_t count)
{
    return (count == 0 ? 1 : count) * sizeof(struct data_key);
}

static void wipe(struct entry *entry)
{
    crypt_pages_free(entry->key, pages_of(entry->count));
    entry->key = NULL;
    entry->count = 0;
}

void data_keys_free(struct data_keys *keys)
{
    if (keys != NULL) {
        for (size_t i = 0; i < keys->count; i++) {
            wipe(&keys->entry[i]);
        }
        free(keys->entry);
        free(keys);
    }
}

/* Where it is, or belongs. */
static size_t place(const struct data_keys *keys, uint32_t stream)
{
    size_t low = 0, high = keys->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (keys->entry[middle].stream < stream) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct entry *find(const struct data_keys *keys, uint32_t stream)
{
    size_t at = place(keys, stream);
    return at < keys->count && keys->entry[at].stream == stream ? &keys->entry[at] : NULL;
}

NODISCARD static struct entry *find_or_add(struct data_keys *keys, uint32_t stream)
{
    struct entry *there = find(keys, stream);
    if (there != NULL) {
        return there;
    }
    if (keys->count == keys->capacity) {
        size_t capacity = keys->capacity == 0 ? 16 : 2 * keys->capacity;
        struct entry *grown = realloc(keys->entry, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        keys->entry = grown;
        keys->capacity = capacity;
    }
    struct entry *to = &keys->entry[place(keys, stream)];
    memmove(to + 1, to, (size_t)(&keys->entry[keys->count] - to) * sizeof(*to));
    *to = (struct entry){.stream = stream};
    keys->count++;
    return to;
}

/* ---- taking ---- */

static bool is_good(const Weir__DataKeys__Stream *stream)
{
    bool good = stream->stream != 0 && stream->n_keys <= DATA_KEYS_PER_STREAM_MAX;
    for (size_t i = 0; good && i < stream->n_keys; i++) {
        const Weir__DataKeys__Key *key = stream->keys[i];
        enum status status = status_from_wire(key->status);
        good = key->version != 0 && (i == 0 || key->version > stream->keys[i - 1]->version) &&
               (status == STATUS_OK ? key->key.len == CRYPT_KEY_BYTES : status_is_of_key(status));
    }
    return good;
}

static bool loses(const struct entry *entry, const Weir__DataKeys__Stream *from)
{
    for (uint32_t i = 0; i < entry->count; i++) {
        bool kept = entry->key[i].status != STATUS_OK;
        for (size_t j = 0; j < from->n_keys && !kept; j++) {
            kept = from->keys[j]->version == entry->key[i].version && from->keys[j]->status == 0;
        }
        if (!kept) {
            return true;
        }
    }
    return false;
}

NODISCARD static enum status take_stream(struct data_keys *keys, const Weir__DataKeys__Stream *from,
                                         uint64_t ring_version, uint64_t asked_ms, bool *out_lost)
{
    struct entry *to = find_or_add(keys, from->stream);
    struct data_key *key = to == NULL ? NULL : crypt_pages(pages_of((uint32_t)from->n_keys));
    if (key == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (size_t i = 0; i < from->n_keys; i++) {
        key[i].version = from->keys[i]->version;
        key[i].status = status_from_wire(from->keys[i]->status);
        if (key[i].status == STATUS_OK) {
            memcpy(key[i].bytes, from->keys[i]->key.data, CRYPT_KEY_BYTES);
        }
    }
    *out_lost = loses(to, from) || *out_lost;
    wipe(to);
    to->key = key;
    to->count = (uint32_t)from->n_keys;
    to->asked_ms = asked_ms;
    to->ring_version = ring_version;
    return STATUS_OK;
}

enum status data_keys_take(struct data_keys *keys, const Weir__DataKeys *reply, uint64_t asked_ms,
                           bool *out_lost)
{
    bool lost = false;
    for (size_t i = 0; i < reply->n_streams; i++) {
        if (!is_good(reply->streams[i])) {
            return STATUS_INVALID;
        }
    }
    enum status status = STATUS_OK;
    for (size_t i = 0; i < reply->n_streams && status == STATUS_OK; i++) {
        status = take_stream(keys, reply->streams[i], reply->ring_version, asked_ms, &lost);
    }
    *out_lost = lost;
    return status;
}

static bool is_over(const struct data_keys *keys, const struct entry *entry, uint64_t now_ms)
{
    return now_ms >= entry->asked_ms + keys->life_ms;
}

bool data_keys_expire(struct data_keys *keys, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < keys->count; i++) {
        if (is_over(keys, &keys->entry[i], now_ms)) {
            wipe(&keys->entry[i]);
        } else {
            keys->entry[kept++] = keys->entry[i];
        }
    }
    bool any = kept < keys->count;
    keys->count = kept;
    return any;
}

/* ---- asking ---- */

bool data_keys_are_due(const struct data_keys *keys, uint32_t stream, uint32_t newest,
                       uint64_t ring_version, uint64_t now_ms)
{
    const struct entry *entry = find(keys, stream);
    if (entry == NULL || entry->ring_version < ring_version ||
        now_ms >= entry->asked_ms + keys->refresh_ms) {
        return true;
    }
    bool behind = entry->count == 0 || entry->key[entry->count - 1].version < newest;
    return behind && now_ms >= entry->asked_ms + AGAIN_MS;
}

/* ---- looking up ---- */

enum status data_keys_find(const struct data_keys *keys, uint32_t stream, uint32_t version,
                           uint64_t now_ms, const uint8_t **out)
{
    const struct entry *entry = find(keys, stream);
    if (entry == NULL || is_over(keys, entry, now_ms)) {
        return STATUS_KEY_UNAVAILABLE;
    }
    for (uint32_t i = entry->count; i > 0; i--) {
        const struct data_key *key = &entry->key[i - 1];
        if (key->version == version) {
            if (key->status == STATUS_OK) {
                *out = key->bytes;
            }
            return key->status;
        }
    }
    return STATUS_KEY_UNAVAILABLE;
}

enum status data_keys_newest(const struct data_keys *keys, uint32_t stream, uint64_t now_ms,
                             uint32_t *out_version, const uint8_t **out)
{
    const struct entry *entry = find(keys, stream);
    if (entry == NULL || entry->count == 0) {
        return STATUS_KEY_UNAVAILABLE;
    }
    uint32_t version = entry->key[entry->count - 1].version;
    enum status status = data_keys_find(keys, stream, version, now_ms, out);
    if (status == STATUS_OK) {
        *out_version = version;
    }
    return status;
}
