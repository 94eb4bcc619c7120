/* A handle on a cluster: what all producers, readers and admin calls of a process share.
 *
 * It knows the cluster by watching a controller, keeps one connection to each broker that it needs,
 * and finds new leaders by itself. Two modes:
 *
 * - own thread (options.loop is NULL): the handle runs a thread; every function may be called from
 *   any thread. Callbacks come on the handle's thread and must not block; the blocking functions
 *   (those without `_async`) return WEIR_INVALID when called from there.
 * - the caller's loop (options.loop is set): everything, callbacks included, happens on the thread
 *   that runs the loop, and only that thread may call. There are no blocking functions: they return
 *   WEIR_INVALID.
 *
 * A callback never comes from inside the function that was given it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct weir_client;

/* All strings are borrowed until weir_client_open() returns. */
struct weir_options {
    const char *bootstrap;  /* controllers: "host:port,host:port"; any one that answers is enough */
    const char *ca_file;    /* PEM: the authority of the cluster */
    const char *cert_file;  /* PEM: our certificate */
    const char *key_file;   /* PEM: its key */
    struct uv_loop_s *loop; /* NULL: the handle runs its own thread */
};

/* Fills `out` from WEIR_BOOTSTRAP, WEIR_CA, WEIR_CERT and WEIR_KEY. The strings belong to the
 * environment. INVALID: one of them is not set; the text says which. */
WEIR_NODISCARD enum weir_status weir_options_from_env(struct weir_options *out,
                                                      struct weir_error *error);

/* Does not wait for the cluster: it is looked for in the background, and every call has its own
 * deadline for finding it.
 *
 * INVALID    a malformed bootstrap list; a file that cannot be read; a key that does not fit
 * NO_MEMORY */
WEIR_NODISCARD enum weir_status weir_client_open(const struct weir_options *options,
                                                 struct weir_client **out,
                                                 struct weir_error *error);

/* Producers and readers must be closed before. Calls that still wait are answered CLOSING. Blocks
 * until every connection is closed; on a caller's loop it runs that loop for as long, so it must
 * not be called from one of its callbacks. NULL is fine. */
void weir_client_close(struct weir_client *client);

/* Receives the end of an asynchronous call: error->status is WEIR_OK when it succeeded. `error` is
 * borrowed for the call. */
typedef void weir_done_fn(const struct weir_error *error, void *context);

/* Names and positions of records. */
enum {
    WEIR_STREAM_NAME_BYTES = 129,
    WEIR_NODE_NAME_BYTES = 64,
    WEIR_ZONE_BYTES = 64,
    WEIR_HOST_BYTES = 256,
    WEIR_SHARD_ID_BYTES = 24,        /* "shardId-000000000000" */
    WEIR_SEQUENCE_NUMBER_BYTES = 64, /* 56 digits today */
    WEIR_HASH_KEY_BYTES = 40,        /* 39 digits and the zero */
    WEIR_REPLICAS_MAX = 6,           /* three, and three more while replicas move */
};

/* Where a record is. Numbers, so that nobody pays for text that is not wanted. */
struct weir_position {
    uint64_t shard_created_s; /* Unix seconds: part of the shard's sequence numbers */
    uint32_t shard;           /* number */
    uint32_t generation;      /* recovery generation */
    uint64_t offset;
    uint64_t arrival_ms; /* Unix milliseconds: when the leader took it */
};

/* The sequence number in decimal, as Kinesis prints it: compare them as integers. */
void weir_sequence_number(const struct weir_position *position,
                          char out[WEIR_SEQUENCE_NUMBER_BYTES]);

/* The other way: shard_created_s, shard, generation and offset; arrival_ms in whole seconds.
 * INVALID: not a sequence number. */
WEIR_NODISCARD enum weir_status weir_sequence_number_parse(const char *text,
                                                           struct weir_position *out);

/* "shardId-000000000007" */
void weir_shard_id(uint32_t shard, char out[WEIR_SHARD_ID_BYTES]);

/* The number in "shardId-000000000007", "shardId-7" or "7". INVALID: none of these. */
WEIR_NODISCARD enum weir_status weir_shard_parse(const char *id, uint32_t *out);

#ifdef __cplusplus
}
#endif
