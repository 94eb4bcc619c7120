#include "controller/secret/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/sha.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/formats.h"
#include "base/trace.h"

enum {
    FORMAT = FORMAT_SEALED,
    KEY_ID_BYTES = 4,
    NONCE_BYTES = 12,
    TAG_BYTES = 16,
    LINE_BYTES = 256
};

struct ring_key {
    uint8_t id[KEY_ID_BYTES];
    uint8_t key[SECRET_KEY_BYTES]; /* derived: the file's own key is not kept */
};

struct secret_ring {
    struct ring_key key[SECRET_RING_MAX];
    size_t count;
    uint8_t cluster[CLUSTER_ID_BYTES];
};

void secret_wipe(void *data, size_t size)
{
    OPENSSL_cleanse(data, size);
}

enum status secret_random(void *out, size_t size)
{
    CHECK(size <= 256); /* whole up to there */
    return getrandom(out, size, 0) == (ssize_t)size ? STATUS_OK : STATUS_IO;
}

/* ---- the ring
 * ------------------------------------------------------------------------------------- */

/* HKDF (RFC 5869) over the file's key, for one use. */
static bool derive(const uint8_t from[SECRET_KEY_BYTES], const char *use, uint8_t *out, size_t size)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    bool done =
        context != NULL && EVP_PKEY_derive_init(context) > 0 &&
        EVP_PKEY_CTX_set_hkdf_md(context, EVP_sha256()) > 0 &&
        EVP_PKEY_CTX_set1_hkdf_key(context, from, SECRET_KEY_BYTES) > 0 &&
        EVP_PKEY_CTX_add1_hkdf_info(context, (const unsigned char *)use, (int)strlen(use)) > 0 &&
        EVP_PKEY_derive(context, out, &size) > 0;
    EVP_PKEY_CTX_free(context);
    return done;
}

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool parse_key(const char *text, uint8_t out[SECRET_KEY_BYTES])
{
    size_t length = strcspn(text, " \t\r\n");
    if (length != (size_t)2 * SECRET_KEY_BYTES || text[length + strspn(text + length, " \t\r\n")]) {
        return false;
    }
    for (size_t i = 0; i < SECRET_KEY_BYTES; i++) {
        int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static enum status add_key(struct secret_ring *ring, const char *path, const char *line,
                           struct error *error)
{
    uint8_t key[SECRET_KEY_BYTES];
    if (!parse_key(line, key)) {
        return error_set(error, STATUS_INVALID,
                         "%s: a line is not a key of %d hex digits (openssl rand -hex %d)", path,
                         2 * SECRET_KEY_BYTES, SECRET_KEY_BYTES);
    }
    if (ring->count == SECRET_RING_MAX) {
        secret_wipe(key, sizeof(key));
        return error_set(error, STATUS_INVALID, "%s: more than %d keys", path, SECRET_RING_MAX);
    }
    struct ring_key *to = &ring->key[ring->count++];
    bool done = derive(key, "weir cluster key id", to->id, sizeof(to->id)) &&
                derive(key, "weir cluster key aes-256-gcm", to->key, sizeof(to->key));
    secret_wipe(key, sizeof(key));
    return done ? STATUS_OK : error_set(error, STATUS_NO_MEMORY, "out of memory");
}

static enum status read_keys(struct secret_ring *ring, FILE *file, const char *path,
                             struct error *error)
{
    char line[LINE_BYTES];
    enum status status = STATUS_OK;
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer that nobody wipes */
    while (status == STATUS_OK && fgets(line, sizeof(line), file) != NULL) {
        if (line[0] != '#' && line[strspn(line, " \t\r\n")] != '\0') {
            status = add_key(ring, path, line, error);
        }
    }
    secret_wipe(line, sizeof(line));
    if (status == STATUS_OK && ferror(file)) {
        status = error_set(error, STATUS_IO, "%s: %s", path, strerror(errno));
    }
    if (status == STATUS_OK && ring->count == 0) {
        status = error_set(error, STATUS_INVALID, "%s: has no key", path);
    }
    return status;
}

/* Pages of its own, which neither swap nor core dumps get, where the limits allow it. */
static struct secret_ring *ring_new(const uint8_t cluster[CLUSTER_ID_BYTES])
{
    struct secret_ring *ring =
        mmap(NULL, sizeof(*ring), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        return NULL;
    }
    (void)mlock(ring, sizeof(*ring));
    (void)madvise(ring, sizeof(*ring), MADV_DONTDUMP);
    memcpy(ring->cluster, cluster, CLUSTER_ID_BYTES);
    return ring;
}

enum status secret_ring_of_key(struct bytes key, const struct secret_ring *cluster,
                               struct secret_ring **out)
{
    CHECK(key.size == SECRET_KEY_BYTES);
    struct secret_ring *ring = ring_new(cluster->cluster);
    if (ring == NULL || !derive(key.data, "weir ring key id", ring->key[0].id, KEY_ID_BYTES) ||
        !derive(key.data, "weir ring key aes-256-gcm", ring->key[0].key, SECRET_KEY_BYTES)) {
        secret_ring_free(ring);
        return STATUS_NO_MEMORY;
    }
    ring->count = 1;
    *out = ring;
    return STATUS_OK;
}

enum status secret_ring_open(const char *path, const uint8_t cluster[CLUSTER_ID_BYTES],
                             struct secret_ring **out, struct error *error)
{
    if (path == NULL || path[0] == '\0') {
        *out = NULL;
        return STATUS_OK;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return error_set(error, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                         "cluster-key-file: %s: %s", path, strerror(errno));
    }
    struct stat st;
    if (fstat(fileno(file), &st) == 0 && (st.st_mode & (S_IROTH | S_IWOTH | S_IWGRP)) != 0) {
        trace(TRACE_WARNING, "secret", "%s: others can read or change it; chmod 600", path);
    }
    struct secret_ring *ring = ring_new(cluster);
    enum status status = ring == NULL ? STATUS_NO_MEMORY : read_keys(ring, file, path, error);
    (void)fclose(file);
    if (status != STATUS_OK) {
        secret_ring_free(ring);
        return status;
    }
    *out = ring;
    return STATUS_OK;
}

void secret_ring_free(struct secret_ring *ring)
{
    if (ring != NULL) {
        secret_wipe(ring, sizeof(*ring));
        (void)munmap(ring, sizeof(*ring));
    }
}

/* ---- sealing
 * -------------------------------------------------------------------------------------- */

static void free_cipher(EVP_CIPHER_CTX **context)
{
    EVP_CIPHER_CTX_free(*context);
}

/* What the text is bound to: format and key id, cluster, purpose and name, each with its end. */
static bool add_context(EVP_CIPHER_CTX *context, bool sealing, const struct secret_ring *ring,
                        const uint8_t *head, const char *purpose, const char *name)
{
    const struct bytes parts[] = {
        bytes_of(head, 1 + KEY_ID_BYTES),
        bytes_of(ring->cluster, CLUSTER_ID_BYTES),
        bytes_of(purpose, strlen(purpose) + 1),
        bytes_of(name, strlen(name) + 1),
    };
    bool good = true;
    int size = 0;
    for (size_t i = 0; good && i < sizeof(parts) / sizeof(parts[0]); i++) {
        good = (sealing ? EVP_EncryptUpdate(context, NULL, &size, parts[i].data, (int)parts[i].size)
                        : EVP_DecryptUpdate(context, NULL, &size, parts[i].data,
                                            (int)parts[i].size)) > 0;
    }
    return good;
}

enum status secret_seal(const struct secret_ring *ring, const char *purpose, const char *name,
                        struct bytes plain, uint8_t out[SECRET_SEALED_MAX], size_t *out_size)
{
    CHECK(plain.size <= SECRET_PLAIN_MAX);
    const struct ring_key *key = &ring->key[0];
    uint8_t *nonce = out + 1 + KEY_ID_BYTES, *text = nonce + NONCE_BYTES;
    int size = 0, rest = 0;
    out[0] = FORMAT;
    memcpy(out + 1, key->id, KEY_ID_BYTES);
    if (secret_random(nonce, NONCE_BYTES) != STATUS_OK) {
        return STATUS_IO;
    }
    AUTO(free_cipher) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    if (context == NULL ||
        EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key->key, nonce) <= 0 ||
        !add_context(context, true, ring, out, purpose, name) ||
        EVP_EncryptUpdate(context, text, &size, plain.data, (int)plain.size) <= 0 ||
        EVP_EncryptFinal_ex(context, text + size, &rest) <= 0 ||
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, text + plain.size) <= 0) {
        return STATUS_NO_MEMORY;
    }
    *out_size = plain.size + SECRET_OVERHEAD;
    return STATUS_OK;
}

static const struct ring_key *find_key(const struct secret_ring *ring, const uint8_t *id)
{
    for (size_t i = 0; i < ring->count; i++) {
        if (memcmp(ring->key[i].id, id, KEY_ID_BYTES) == 0) {
            return &ring->key[i];
        }
    }
    return NULL;
}

enum status secret_open(const struct secret_ring *ring, const char *purpose, const char *name,
                        struct bytes sealed, uint8_t out[SECRET_PLAIN_MAX], size_t *out_size)
{
    if (sealed.size < SECRET_OVERHEAD || sealed.size > SECRET_SEALED_MAX ||
        sealed.data[0] != FORMAT) {
        return STATUS_CORRUPT;
    }
    const struct ring_key *key = find_key(ring, sealed.data + 1);
    if (key == NULL) {
        return STATUS_NOT_FOUND;
    }
    const uint8_t *nonce = sealed.data + 1 + KEY_ID_BYTES, *text = nonce + NONCE_BYTES;
    size_t length = sealed.size - SECRET_OVERHEAD;
    uint8_t tag[TAG_BYTES], plain[SECRET_PLAIN_MAX];
    int size = 0, rest = 0;
    memcpy(tag, text + length, TAG_BYTES);
    AUTO(free_cipher) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context != NULL &&
                EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key->key, nonce) > 0 &&
                add_context(context, false, ring, sealed.data, purpose, name) &&
                EVP_DecryptUpdate(context, plain, &size, text, (int)length) > 0 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) > 0 &&
                EVP_DecryptFinal_ex(context, plain + size, &rest) > 0;
    if (good) {
        memcpy(out, plain, length);
        *out_size = length;
    }
    secret_wipe(plain, sizeof(plain));
    return good ? STATUS_OK : STATUS_CORRUPT;
}

/* ---- access keys
 * ---------------------------------------------------------------------------------- */

enum status secret_access_key(char out_id[SECRET_ACCESS_KEY_TEXT + 1],
                              char out_secret[SECRET_ACCESS_SECRET_TEXT + 1])
{
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char prefix[] = "WEIR";
    uint8_t random[SECRET_ACCESS_KEY_TEXT + SECRET_ACCESS_SECRET_TEXT];
    if (secret_random(random, sizeof(random)) != STATUS_OK) {
        return STATUS_IO;
    }
    for (size_t i = 0; i < SECRET_ACCESS_KEY_TEXT; i++) {
        out_id[i] = i < 4 ? prefix[i] : base32[random[i] & 31];
    }
    for (size_t i = 0; i < SECRET_ACCESS_SECRET_TEXT; i++) {
        out_secret[i] = base64[random[SECRET_ACCESS_KEY_TEXT + i] & 63];
    }
    out_id[SECRET_ACCESS_KEY_TEXT] = out_secret[SECRET_ACCESS_SECRET_TEXT] = '\0';
    secret_wipe(random, sizeof(random));
    return STATUS_OK;
}

static bool hmac(const uint8_t *key, size_t key_size, const char *text,
                 uint8_t out[SECRET_KEY_BYTES])
{
    unsigned size = 0;
    return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), out,
                &size) != NULL;
}

enum status secret_signing_key(struct bytes secret, const char *date, const char *region,
                               const char *service, uint8_t out[SECRET_KEY_BYTES])
{
    CHECK(secret.size <= SECRET_PLAIN_MAX);
    uint8_t first[4 + SECRET_PLAIN_MAX] = "AWS4";
    uint8_t a[SECRET_KEY_BYTES], b[SECRET_KEY_BYTES];
    memcpy(first + 4, secret.data, secret.size);
    bool done = hmac(first, 4 + secret.size, date, a) && hmac(a, sizeof(a), region, b) &&
                hmac(b, sizeof(b), service, a) && hmac(a, sizeof(a), "aws4_request", b);
    if (done) {
        memcpy(out, b, sizeof(b));
    }
    secret_wipe(first, sizeof(first));
    secret_wipe(a, sizeof(a));
    secret_wipe(b, sizeof(b));
    return done ? STATUS_OK : STATUS_NO_MEMORY;
}
