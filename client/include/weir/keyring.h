/* The cluster's key ring: the keys of encryption at rest. For administrators (role `admin` of the
 * certificate). No secret of a key ever leaves the controllers.
 *
 * Errors beside those of <weir/admin.h>: UNSUPPORTED (the controllers have no cluster key, so there
 * is no key ring), KEY_NOT_FOUND, KEY_DISABLED, KEY_STATE (the key's state does not allow it),
 * EXISTS (the alias is another key's), LIMIT, INVALID. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    WEIR_RING_KEY_ID_BYTES = 37, /* with its zero */
    WEIR_RING_ARN_BYTES = 256,
    WEIR_RING_ALIAS_BYTES = 257,
    WEIR_RING_DESCRIPTION_BYTES = 1025,
};

enum weir_ring_state {
    WEIR_RING_ENABLED = 1,
    WEIR_RING_DISABLED = 2,         /* what it encrypted can neither be written nor read */
    WEIR_RING_PENDING_DELETION = 3, /* ditto, and it is destroyed when its time has come */
};

struct weir_ring_key {
    char id[WEIR_RING_KEY_ID_BYTES];
    char arn[WEIR_RING_ARN_BYTES];
    char description[WEIR_RING_DESCRIPTION_BYTES];
    enum weir_ring_state state;
    uint64_t created_ms, rotated_ms, deletion_ms; /* deletion_ms 0: it stays */
    uint32_t version;                             /* rises with each rotation */
    size_t alias_count;
    char (*aliases)[WEIR_RING_ALIAS_BYTES]; /* "alias/NAME", by name */
};

/* By id. */
struct weir_ring_key_list {
    size_t count;
    struct weir_ring_key *keys;
};
void weir_ring_key_list_free(struct weir_ring_key_list *list);

enum weir_ring_action {
    WEIR_RING_CREATE = 1,   /* `alias` and `description` may be NULL */
    WEIR_RING_LIST = 2,     /* all keys */
    WEIR_RING_DESCRIBE = 3, /* `key`, as the others */
    WEIR_RING_ENABLE = 4,
    WEIR_RING_DISABLE = 5,
    WEIR_RING_ROTATE = 6,          /* a new version encrypts from now on; all of them decrypt */
    WEIR_RING_DELETE = 7,          /* after `days`: 7 to 30, 0 means 30 */
    WEIR_RING_CANCEL_DELETION = 8, /* it is disabled then */
    WEIR_RING_ALIAS = 9,           /* `key` gets `alias`, whichever key had it */
    WEIR_RING_UNALIAS = 10,        /* `alias` is removed */
};

/* What is not needed is NULL or 0. A key is named by its id, an alias, or the ARN of either. */
struct weir_ring_request {
    enum weir_ring_action action;
    const char *key, *alias, *description;
    uint32_t days;
};

/* `keys` is NULL when error->status is not OK; it is the receiver's: the key that was changed, or
 * those that were asked for. */
typedef void weir_ring_fn(struct weir_ring_key_list *keys, const struct weir_error *error,
                          void *context);

WEIR_NODISCARD enum weir_status weir_ring(struct weir_client *client,
                                          const struct weir_ring_request *request,
                                          uint32_t timeout_ms, struct weir_ring_key_list **out,
                                          struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_ring_async(struct weir_client *client,
                                                const struct weir_ring_request *request,
                                                uint32_t timeout_ms, weir_ring_fn *got,
                                                void *context);

#ifdef __cplusplus
}
#endif
