#include "broker/crypt/crypt.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include "base/check.h"
#include "base/crc32c.h"

enum {
    NONCE_BYTES = 12,
    AAD_FROM = 12, /* behind magic and the two checksums */
    AAD_BYTES = BATCH_HEADER_BYTES - AAD_FROM,
    SLOTS = 256, /* derived keys, a power of two */
};

/* What a derived key is for. */
struct slot {
    bool used;
    uint64_t shard;
    uint32_t epoch, key_id;
    uint8_t salt[BATCH_SALT_BYTES];
    uint8_t data_key[CRYPT_KEY_BYTES];
    uint8_t key[CRYPT_KEY_BYTES];
};

struct crypt {
    EVP_CIPHER_CTX *context;
    EVP_CIPHER *cipher;
    struct slot *slots; /* pages of their own */
};

void *crypt_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
        return NULL;
    }
    (void)mlock(pages, size);
    (void)madvise(pages, size, MADV_DONTDUMP);
    return pages;
}

void crypt_pages_free(void *pages, size_t size)
{
    if (pages != NULL) {
        OPENSSL_cleanse(pages, size);
        (void)munmap(pages, size);
    }
}

struct crypt *crypt_new(void)
{
    struct crypt *crypt = calloc(1, sizeof(*crypt));
    if (crypt == NULL) {
        return NULL;
    }
    crypt->context = EVP_CIPHER_CTX_new();
    crypt->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    crypt->slots = crypt_pages(SLOTS * sizeof(struct slot));
    if (crypt->context == NULL || crypt->cipher == NULL || crypt->slots == NULL) {
        crypt_free(crypt);
        return NULL;
    }
    return crypt;
}

void crypt_free(struct crypt *crypt)
{
    if (crypt != NULL) {
        EVP_CIPHER_CTX_free(crypt->context); /* wipes its schedule */
        EVP_CIPHER_free(crypt->cipher);
        crypt_pages_free(crypt->slots, SLOTS * sizeof(struct slot));
        free(crypt);
    }
}

void crypt_forget(struct crypt *crypt)
{
    OPENSSL_cleanse(crypt->slots, SLOTS * sizeof(struct slot));
    (void)EVP_CIPHER_CTX_reset(crypt->context);
}

/* ---- derived keys ---- */

NODISCARD static bool derive(const uint8_t data_key[CRYPT_KEY_BYTES], const struct batch_header *h,
                             uint8_t out[CRYPT_KEY_BYTES])
{
    static const char label[12] = {'w', 'e', 'i', 'r', ' ', 'b', 'a', 't', 'c', 'h', ' ', '1'};
    uint8_t info[sizeof(label) + 16];
    memcpy(info, label, sizeof(label));
    put_u64(info + sizeof(label), h->shard);
    put_u32(info + sizeof(label) + 8, h->epoch);
    put_u32(info + sizeof(label) + 12, h->key_id);
    size_t size = CRYPT_KEY_BYTES;
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    bool done = context != NULL && EVP_PKEY_derive_init(context) > 0 &&
                EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
                EVP_PKEY_CTX_set1_hkdf_salt(context, h->key_salt, BATCH_SALT_BYTES) > 0 &&
                EVP_PKEY_CTX_set1_hkdf_key(context, data_key, CRYPT_KEY_BYTES) > 0 &&
                EVP_PKEY_CTX_add1_hkdf_info(context, info, (int)sizeof(info)) > 0 &&
                EVP_PKEY_derive(context, out, &size) > 0;
    EVP_PKEY_CTX_free(context);
    return done;
}

/* The salt is random, so its bits spread the slots; whoever comes later takes the place. */
static const struct slot *derived(struct crypt *crypt, const uint8_t data_key[CRYPT_KEY_BYTES],
                                  const struct batch_header *h)
{
    struct slot *slot = &crypt->slots[h->key_salt[0] & (SLOTS - 1)];
    if (slot->used && slot->shard == h->shard && slot->epoch == h->epoch &&
        slot->key_id == h->key_id && memcmp(slot->salt, h->key_salt, BATCH_SALT_BYTES) == 0 &&
        CRYPTO_memcmp(slot->data_key, data_key, CRYPT_KEY_BYTES) == 0) {
        return slot;
    }
    slot->used = false;
    if (!derive(data_key, h, slot->key)) {
        return NULL;
    }
    slot->shard = h->shard;
    slot->epoch = h->epoch;
    slot->key_id = h->key_id;
    memcpy(slot->salt, h->key_salt, BATCH_SALT_BYTES);
    memcpy(slot->data_key, data_key, CRYPT_KEY_BYTES);
    slot->used = true;
    return slot;
}

/* ---- batches ---- */

static void make_nonce(const struct batch_header *h, uint8_t out[NONCE_BYTES])
{
    put_u32(out, h->epoch);
    put_u64(out + 4, h->base_offset);
}

/* The header as it is stored. */
static void make_aad(const struct batch_header *h, uint8_t head[BATCH_HEADER_BYTES])
{
    struct batch_header copy = *h;
    batch_header_encode(&copy, head);
}

enum status crypt_seal(struct crypt *crypt, const uint8_t data_key[CRYPT_KEY_BYTES],
                       struct bytes payload, struct batch_header *h, uint8_t *out)
{
    CHECK((h->flags & BATCH_ENCRYPTED) == 0 && h->key_id != 0);
    CHECK(payload.size > 0 && payload.size <= BATCH_PAYLOAD_MAX);
    struct batch_header sealed = *h;
    uint8_t head[BATCH_HEADER_BYTES], nonce[NONCE_BYTES];
    int size = 0, rest = 0;
    const struct slot *slot = derived(crypt, data_key, h);
    if (slot == NULL) {
        return STATUS_NO_MEMORY;
    }
    sealed.flags |= BATCH_ENCRYPTED;
    sealed.payload_bytes = (uint32_t)payload.size + BATCH_SEAL_BYTES;
    make_aad(&sealed, head);
    make_nonce(&sealed, nonce);
    EVP_CIPHER_CTX *context = crypt->context;
    if (EVP_EncryptInit_ex2(context, crypt->cipher, slot->key, nonce, NULL) <= 0 ||
        EVP_EncryptUpdate(context, NULL, &size, head + AAD_FROM, AAD_BYTES) <= 0 ||
        EVP_EncryptUpdate(context, out, &size, payload.data, (int)payload.size) <= 0 ||
        EVP_EncryptFinal_ex(context, out + size, &rest) <= 0 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, BATCH_SEAL_BYTES, out + payload.size) <=
            0) {
        OPENSSL_cleanse(out, payload.size);
        return STATUS_INTERNAL;
    }
    sealed.payload_crc = crc32c(0, out, sealed.payload_bytes);
    *h = sealed;
    return STATUS_OK;
}

enum status crypt_open(struct crypt *crypt, const uint8_t data_key[CRYPT_KEY_BYTES],
                       struct bytes payload, struct batch_header *h, uint8_t *out)
{
    if ((h->flags & BATCH_ENCRYPTED) == 0 || payload.size != h->payload_bytes ||
        payload.size <= BATCH_SEAL_BYTES) {
        return STATUS_CORRUPT;
    }
    const struct slot *slot = derived(crypt, data_key, h);
    if (slot == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint8_t head[BATCH_HEADER_BYTES], nonce[NONCE_BYTES], tag[BATCH_SEAL_BYTES];
    size_t plain = payload.size - BATCH_SEAL_BYTES;
    int size = 0, rest = 0;
    make_aad(h, head);
    make_nonce(h, nonce);
    memcpy(tag, payload.data + plain, sizeof(tag));
    EVP_CIPHER_CTX *context = crypt->context;
    if (EVP_DecryptInit_ex2(context, crypt->cipher, slot->key, nonce, NULL) <= 0 ||
        EVP_DecryptUpdate(context, NULL, &size, head + AAD_FROM, AAD_BYTES) <= 0 ||
        EVP_DecryptUpdate(context, out, &size, payload.data, (int)plain) <= 0 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, sizeof(tag), tag) <= 0 ||
        EVP_DecryptFinal_ex(context, out + size, &rest) <= 0) {
        OPENSSL_cleanse(out, plain); /* nothing that was not authenticated gets out */
        return STATUS_CORRUPT;
    }
    h->flags &= (uint16_t)~BATCH_ENCRYPTED;
    h->payload_bytes = (uint32_t)plain;
    h->payload_crc = crc32c(0, out, plain);
    memset(h->key_salt, 0, sizeof(h->key_salt));
    return STATUS_OK;
}
