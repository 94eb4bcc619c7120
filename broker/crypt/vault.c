#include "broker/crypt/vault.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/crypt/data_keys.h"

struct vault {
    struct crypt *crypt;
    struct data_keys *keys;
    struct buf text; /* of the last call: ciphertext, or what was decrypted */
    void (*want)(void *context, uint32_t stream);
    void *context;
};

struct vault *vault_new(uint64_t refresh_ms, uint64_t life_ms,
                        void (*want)(void *context, uint32_t stream), void *context)
{
    struct vault *vault = calloc(1, sizeof(*vault));
    if (vault == NULL) {
        return NULL;
    }
    vault->crypt = crypt_new();
    vault->keys = data_keys_new(refresh_ms, life_ms);
    vault->want = want;
    vault->context = context;
    if (vault->crypt == NULL || vault->keys == NULL) {
        vault_free(vault);
        return NULL;
    }
    return vault;
}

void vault_free(struct vault *vault)
{
    if (vault != NULL) {
        crypt_free(vault->crypt);
        data_keys_free(vault->keys);
        if (vault->text.size > 0) {
            OPENSSL_cleanse(vault->text.data, vault->text.size);
        }
        buf_release(&vault->text);
        free(vault);
    }
}

enum status vault_take(struct vault *vault, const Weir__DataKeys *reply, uint64_t asked_ms)
{
    bool lost = false;
    enum status status = data_keys_take(vault->keys, reply, asked_ms, &lost);
    if (lost) {
        crypt_forget(vault->crypt);
    }
    return status;
}

void vault_tick(struct vault *vault, uint64_t now_ms)
{
    if (data_keys_expire(vault->keys, now_ms)) {
        crypt_forget(vault->crypt);
    }
}

bool vault_is_due(const struct vault *vault, uint32_t stream, uint32_t newest,
                  uint64_t ring_version, uint64_t now_ms)
{
    return data_keys_are_due(vault->keys, stream, newest, ring_version, now_ms);
}

static uint32_t stream_of(const struct batch_header *h)
{
    return (uint32_t)(h->shard >> 32);
}

static enum status missed(struct vault *vault, const struct batch_header *h, enum status status)
{
    if (status == STATUS_KEY_UNAVAILABLE) {
        vault->want(vault->context, stream_of(h));
    }
    return status;
}

enum status vault_seal(struct vault *vault, uint64_t now_ms, struct batch_header *h,
                       struct bytes *payload)
{
    const uint8_t *key = NULL;
    struct batch_header sealed = *h;
    enum status status = data_keys_newest(vault->keys, stream_of(h), now_ms, &sealed.key_id, &key);
    if (status != STATUS_OK) {
        return missed(vault, h, status);
    }
    vault->text.size = 0;
    status = buf_reserve(&vault->text, payload->size + BATCH_SEAL_BYTES);
    if (status == STATUS_OK) {
        status = crypt_seal(vault->crypt, key, *payload, &sealed, vault->text.data);
    }
    if (status == STATUS_OK) {
        *h = sealed;
        *payload = bytes_of(vault->text.data, sealed.payload_bytes);
    }
    return status;
}

/* ---- for readers ---- */

static bool any_is_encrypted(const struct bytes *pieces, uint32_t piece_count, size_t *out_size)
{
    bool any = false;
    size_t size = 0;
    for (uint32_t i = 0; i < piece_count; i++) {
        struct bytes data = pieces[i];
        struct batch_header h;
        size += data.size;
        while (!any && batch_header_decode(data, &h) == STATUS_OK && batch_bytes(&h) <= data.size) {
            any = (h.flags & BATCH_ENCRYPTED) != 0;
            data = bytes_of(data.data + batch_bytes(&h), data.size - batch_bytes(&h));
        }
    }
    *out_size = size;
    return any;
}

/* The first batch of *data, to the end of the text. */
NODISCARD static enum status open_next(struct vault *vault, uint64_t now_ms, struct bytes *data)
{
    struct batch_header h;
    if (batch_header_decode(*data, &h) != STATUS_OK || batch_bytes(&h) > data->size) {
        return STATUS_CORRUPT;
    }
    size_t size = batch_bytes(&h);
    struct bytes batch = bytes_of(data->data, size);
    uint8_t *to = vault->text.data + vault->text.size;
    if ((h.flags & BATCH_ENCRYPTED) == 0) {
        memcpy(to, batch.data, batch.size);
    } else {
        const uint8_t *key = NULL;
        enum status status = data_keys_find(vault->keys, stream_of(&h), h.key_id, now_ms, &key);
        if (status != STATUS_OK) {
            return missed(vault, &h, status);
        }
        struct bytes payload = bytes_of(batch.data + BATCH_HEADER_BYTES, h.payload_bytes);
        uint64_t offset = h.base_offset;
        status = crypt_open(vault->crypt, key, payload, &h, to + BATCH_HEADER_BYTES);
        if (status != STATUS_OK) {
            trace(TRACE_ERROR, "crypt",
                  "ALARM: shard %016llx: the encrypted batch at offset %llu is not what its leader "
                  "wrote, or not of data key %u: it is not given to readers",
                  (unsigned long long)h.shard, (unsigned long long)offset, h.key_id);
            return status;
        }
        batch_header_encode(&h, to);
    }
    vault->text.size += batch_bytes(&h);
    *data = bytes_of(data->data + size, data->size - size);
    return STATUS_OK;
}

enum status vault_open(struct vault *vault, uint64_t now_ms, const struct bytes *pieces,
                       uint32_t piece_count, struct bytes *out)
{
    size_t size = 0;
    if (!any_is_encrypted(pieces, piece_count, &size)) {
        return STATUS_UNSUPPORTED;
    }
    vault->text.size = 0;
    enum status status = buf_reserve(&vault->text, size);
    for (uint32_t i = 0; i < piece_count && status == STATUS_OK; i++) {
        struct bytes data = pieces[i];
        while (data.size > 0 && status == STATUS_OK) {
            status = open_next(vault, now_ms, &data);
        }
    }
    if (status == STATUS_OK) {
        *out = buf_bytes(&vault->text);
    }
    return status;
}
