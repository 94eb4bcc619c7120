/* Secrets under a key of the cluster: what the controllers' state and log hold is encrypted, with a
 * key that is in neither.
 *
 * Sealed: format (1 byte), id of the cluster key (4), nonce (12), ciphertext, tag (16), by
 * AES-256-GCM with a random nonce under a key that HKDF-SHA256 derives from the cluster key. What
 * it is for (an access key's id, a stream's) is authenticated with it, so that one cannot be
 * put in the place of another (docs/security.md).
 *
 * Thread: any; the ring never changes. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"

enum {
    SECRET_KEY_BYTES = 32,
    SECRET_RING_MAX = 8,
    SECRET_OVERHEAD = 1 + 4 + 12 + 16,
    SECRET_PLAIN_MAX = 64,
    SECRET_SEALED_MAX = SECRET_PLAIN_MAX + SECRET_OVERHEAD,

    SECRET_ACCESS_KEY_TEXT = 20,    /* characters of an access key's id … */
    SECRET_ACCESS_SECRET_TEXT = 40, /* … and of its secret */
};

struct secret_ring;

/* One key of 64 hex digits a line; the first seals, all of them open; lines that begin with # are
 * skipped. NULL path: *out is NULL, there is no ring. INVALID, NOT_FOUND, IO with a sentence. */
NODISCARD enum status secret_ring_open(const char *path, const uint8_t cluster[CLUSTER_ID_BYTES],
                                       struct secret_ring **out, struct error *error);
/* A ring of one key of SECRET_KEY_BYTES that is not in a file: a key of the key ring, which wraps
 * data keys. NO_MEMORY. */
NODISCARD enum status secret_ring_of_key(struct bytes key, const struct secret_ring *cluster,
                                         struct secret_ring **out);
/* Wipes it. NULL is fine. */
void secret_ring_free(struct secret_ring *ring);

/* `purpose` and `name` must be the same again to open it. IO: no randomness; NO_MEMORY. */
NODISCARD enum status secret_seal(const struct secret_ring *ring, const char *purpose,
                                  const char *name, struct bytes plain,
                                  uint8_t out[SECRET_SEALED_MAX], size_t *out_size);

/* The plaintext's size is the sealed one's less SECRET_OVERHEAD.
 * NOT_FOUND: under a key that the ring has not. CORRUPT: changed, or of another purpose or name. */
NODISCARD enum status secret_open(const struct secret_ring *ring, const char *purpose,
                                  const char *name, struct bytes sealed,
                                  uint8_t out[SECRET_PLAIN_MAX], size_t *out_size);

/* Fresh ones, from the system's randomness: "WEIR" and 16 of A-Z2-7; 40 of base64's characters. IO.
 */
NODISCARD enum status secret_access_key(char out_id[SECRET_ACCESS_KEY_TEXT + 1],
                                        char out_secret[SECRET_ACCESS_SECRET_TEXT + 1]);
NODISCARD enum status secret_random(void *out, size_t size);

/* SigV4's signing key: HMACs of date, region, service and "aws4_request". NO_MEMORY. */
NODISCARD enum status secret_signing_key(struct bytes secret, const char *date, const char *region,
                                         const char *service, uint8_t out[SECRET_KEY_BYTES]);

void secret_wipe(void *data, size_t size);
