/* Applications that consume streams (<weir/consumer.h>), for who operates them: which worker has
 * which shard, how far it has got, and beginning again elsewhere.
 *
 * Errors beside those of <weir/admin.h>: NOT_FOUND (no such application, stream or lease), IN_USE
 * (deleting one that has workers), INVALID. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WEIR_APP_NAME_BYTES = 129, WEIR_APP_STREAM_BYTES = 129, WEIR_APP_STUCK_BYTES = 256 };

enum weir_app_position_type {
    WEIR_APP_TRIM_HORIZON = 0,
    WEIR_APP_LATEST = 1,
    WEIR_APP_AT_TIMESTAMP = 2,
    WEIR_APP_AT_OFFSET = 3, /* everything below `offset` is processed, and of the record at it the
                             * user records whose index is below `sub_sequence` */
    WEIR_APP_SHARD_END = 4,
};
struct weir_app_position {
    enum weir_app_position_type type;
    uint64_t offset;
    uint32_t sub_sequence;
    uint64_t timestamp_ms;
};

struct weir_app_lease {
    uint32_t stream_id, shard;
    char stream[WEIR_APP_STREAM_BYTES]; /* "": it was deleted */
    char owner[WEIR_APP_NAME_BYTES];    /* "": nobody */
    uint64_t counter;                   /* of this tenure alone */
    struct weir_app_position checkpoint, pending;
    bool has_pending;
    uint64_t checkpoint_ms; /* Unix milliseconds of the last one; 0: never */
    uint64_t owned_ms;      /* ditto: since when it has its owner, or none */
    uint64_t bytes_per_s;   /* as the owner measured it */
    bool confirmed;         /* the owner's last call listed it */
    uint64_t hand_over_ms;  /* the owner was asked for it and has so long; 0: it was not */
    bool waits_for_parents;
    char stuck[WEIR_APP_STUCK_BYTES]; /* why it does not go forward; "": nothing is known */
};

struct weir_app_worker {
    char name[WEIR_APP_NAME_BYTES];
    uint64_t joined_ms; /* Unix milliseconds */
    bool seen;          /* by the controller that is active now */
    uint64_t age_ms;    /* of its last renewal */
    uint32_t leases;
    uint64_t bytes_per_s;
    bool draining; /* it is about to leave */
};

struct weir_app {
    char name[WEIR_APP_NAME_BYTES];
    uint64_t created_ms;
    uint32_t workers;
    uint32_t leases, finished; /* shards to be read; read to their end */
    uint32_t unowned;          /* of `leases`, that could have an owner and have none */
};

/* What the controllers said. */
struct weir_apps {
    size_t app_count, worker_count, lease_count;
    struct weir_app *apps;
    struct weir_app_worker *workers;
    struct weir_app_lease *leases; /* by stream and shard */
    bool more;                     /* leases: ask again with the last one's `after` */
    uint64_t term_ms;              /* silent for so long, a worker loses its leases */
    uint64_t time_ms;              /* of the controllers' clock */
    uint32_t changed;              /* RESET: leases */
};
void weir_apps_free(struct weir_apps *apps);

enum weir_app_action {
    WEIR_APP_LIST = 1,     /* all applications, by name */
    WEIR_APP_DESCRIBE = 2, /* one, its workers and its leases, some thousands at a time */
    WEIR_APP_RESET = 3,    /* begin again at `position`; AT_OFFSET needs a shard */
    WEIR_APP_DELETE = 4,   /* everything that is known of it */
};
struct weir_app_request {
    enum weir_app_action action;
    const char *application; /* of all but LIST */
    struct weir_app_position position;
    const char *stream; /* RESET: only this one; NULL: all */
    bool has_shard;     /* RESET: only this lease */
    uint32_t stream_id, shard;
    bool force;     /* DELETE: although it has workers */
    bool has_after; /* DESCRIBE: leases behind this one */
    uint32_t after_stream_id, after_shard;
};

/* Blocks. */
WEIR_NODISCARD enum weir_status weir_app(struct weir_client *client,
                                         const struct weir_app_request *request,
                                         uint32_t timeout_ms, struct weir_apps **out,
                                         struct weir_error *error);

/* `apps` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_app_fn(struct weir_apps *apps, const struct weir_error *error, void *context);
WEIR_NODISCARD enum weir_status weir_app_async(struct weir_client *client,
                                               const struct weir_app_request *request,
                                               uint32_t timeout_ms, weir_app_fn *got,
                                               void *context);

#ifdef __cplusplus
}
#endif
