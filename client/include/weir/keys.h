/* Access keys: what clients of the Kinesis API sign their requests with. For administrators (role
 * `admin` of the certificate).
 *
 * Errors beside those of <weir/admin.h>: UNSUPPORTED (the controllers have no cluster key, so there
 * are no access keys), NOT_FOUND (no such key), LIMIT (too many keys), INVALID (a bad name). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_KEY_ID_BYTES = 33, /* with its zero */
    WEIR_KEY_NAME_BYTES = 65,
    WEIR_KEY_SECRET_BYTES = 65,
};

struct weir_key {
    char id[WEIR_KEY_ID_BYTES];         /* AWS_ACCESS_KEY_ID */
    char name[WEIR_KEY_NAME_BYTES];     /* whose it is */
    char secret[WEIR_KEY_SECRET_BYTES]; /* AWS_SECRET_ACCESS_KEY: only when it was made just now */
    bool enabled;
    uint64_t created_ms;
};

/* By id. */
struct weir_key_list {
    size_t count;
    struct weir_key *keys;
};
/* Wipes the secrets. */
void weir_key_list_free(struct weir_key_list *list);

/* `keys` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_key_fn(struct weir_key_list *keys, const struct weir_error *error, void *context);

/* A new key for `name` (1 to 64 characters of a-z A-Z 0-9 _ . - + = , @). Nobody can tell its
 * secret again: keep it. */
WEIR_NODISCARD enum weir_status weir_key_create(struct weir_client *client, const char *name,
                                                uint32_t timeout_ms, struct weir_key *out,
                                                struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_key_create_async(struct weir_client *client, const char *name,
                                                      uint32_t timeout_ms, weir_key_fn *got,
                                                      void *context);

WEIR_NODISCARD enum weir_status weir_key_list(struct weir_client *client, uint32_t timeout_ms,
                                              struct weir_key_list **out, struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_key_list_async(struct weir_client *client, uint32_t timeout_ms,
                                                    weir_key_fn *got, void *context);

/* Requests that are signed with a disabled key are refused, within two seconds at every broker that
 * reaches the controllers. */
WEIR_NODISCARD enum weir_status weir_key_enable(struct weir_client *client, const char *id,
                                                bool enabled, uint32_t timeout_ms,
                                                struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_key_enable_async(struct weir_client *client, const char *id,
                                                      bool enabled, uint32_t timeout_ms,
                                                      weir_key_fn *got, void *context);

WEIR_NODISCARD enum weir_status weir_key_delete(struct weir_client *client, const char *id,
                                                uint32_t timeout_ms, struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_key_delete_async(struct weir_client *client, const char *id,
                                                      uint32_t timeout_ms, weir_key_fn *got,
                                                      void *context);

#ifdef __cplusplus
}
#endif
