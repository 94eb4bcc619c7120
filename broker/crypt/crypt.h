/* Encryption at rest: the leader encrypts the payload of each batch once; the log, the tail ring,
 * the journal and all replicas hold that ciphertext, and whoever serves a reader decrypts a copy
 * (docs/security.md, docs/replication.md 2.3).
 *
 * A batch is encrypted by AES-256-GCM under
 *
 *   K = HKDF-SHA256(data key, salt = key_salt, info = "weir batch 1" shard epoch key_id)
 *
 * with the nonce epoch (4 bytes) | base offset (8 bytes), both little-endian. Authenticated with it
 * is the header from payload_bytes on: everything but magic and checksums.
 *
 * A nonce is never used twice with one K. Within an epoch, offsets that a leader writes only rise:
 * an epoch has one leader (docs/replication.md R1 to R3), which never truncates what it wrote in
 * its own epoch (R6, R10), and shard and epoch are in the derivation. Should an epoch come again
 * after all (controllers restored from a backup), or a leader's batch fail before it is in its log
 * and its offset be given to another, the salt is another one: 128 random bits for each leadership,
 * and again after each failed append. For the bounds of GCM the salt changes after
 * CRYPT_SALT_BATCHES_MAX batches or CRYPT_SALT_BYTES_MAX bytes.
 *
 * Pure but for libcrypto: no I/O, no clock. One home thread. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "proto/wire/batch.h"

enum { CRYPT_KEY_BYTES = 32 };
#define CRYPT_SALT_BATCHES_MAX ((uint64_t)1 << 32)
#define CRYPT_SALT_BYTES_MAX   ((uint64_t)1 << 36)

/* Contexts of libcrypto, and the keys that were derived last. */
struct crypt;

/* NULL when out of memory. */
struct crypt *crypt_new(void);
/* Wipes it. NULL is fine. */
void crypt_free(struct crypt *crypt);
/* Wipes the derived keys: after a data key was taken away. */
void crypt_forget(struct crypt *crypt);

/* Encrypts `payload` to `out`, which has room for BATCH_SEAL_BYTES more, and makes *h the header of
 * that: flags, payload_bytes and payload_crc change. All else, key_id and key_salt included, must
 * be as it will be stored. NO_MEMORY, or INTERNAL when libcrypto fails: *h is as it was. */
NODISCARD enum status crypt_seal(struct crypt *crypt, const uint8_t data_key[CRYPT_KEY_BYTES],
                                 struct bytes payload, struct batch_header *h, uint8_t *out);

/* Decrypts the payload of an encrypted batch to `out` (BATCH_SEAL_BYTES shorter). *h becomes the
 * header of the decrypted batch: without flag and salt, with the sizes and checksum of the
 * plaintext; key_id stays. CORRUPT: the header, the ciphertext or the key is another one, nothing
 * of `out` is left; NO_MEMORY. */
NODISCARD enum status crypt_open(struct crypt *crypt, const uint8_t data_key[CRYPT_KEY_BYTES],
                                 struct bytes payload, struct batch_header *h, uint8_t *out);

/* Pages of their own for keys: not swapped, not in core dumps, where the limits allow it. Zeroed;
 * NULL when out of memory. */
void *crypt_pages(size_t size);
/* Wipes them. NULL is fine. */
void crypt_pages_free(void *pages, size_t size);
