/* The controllers themselves: who they are, and copies of what they keep. For administrators (role
 * `admin` of the certificate). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum weir_controller_action {
    WEIR_CONTROLLER_ADD = 1,     /* it gets the log, and does not vote */
    WEIR_CONTROLLER_PROMOTE = 2, /* it votes; waits until it has the log */
    WEIR_CONTROLLER_REMOVE = 3,  /* it is none any more, and ends */
};

struct weir_controller_change {
    enum weir_controller_action action;
    uint32_t id;
    const char *host; /* of ADD; else NULL */
    uint16_t port;
    bool force; /* REMOVE although fewer than three are left */
};

/* Waits until the change is committed. What is so already is OK, so that asking again is safe.
 * IN_USE: it would make the set less safe (the sentence says why). INVALID, NOT_FOUND, TOO_LARGE.
 */
WEIR_NODISCARD enum weir_status weir_controller_change(struct weir_client *client,
                                                       const struct weir_controller_change *change,
                                                       uint32_t timeout_ms,
                                                       struct weir_error *error);

struct weir_backup {
    uint64_t bytes;   /* of the file */
    uint64_t index;   /* the last change that is in it, as the controllers count */
    uint64_t time_ms; /* when it was taken, Unix */
};

/* A consistent copy of the controllers' state, piece by piece and checked at the end: what was
 * given to `write` is a backup only when this returns OK. `write` returns false to give up. Secrets
 * are in it as they are stored: sealed under the cluster key, which is not in it. EXPIRED: begin
 * again. */
WEIR_NODISCARD enum weir_status weir_controllers_backup(
    struct weir_client *client, bool (*write)(const void *data, size_t size, void *context),
    void *context, uint32_t timeout_ms, struct weir_backup *out, struct weir_error *error);

#ifdef __cplusplus
}
#endif
