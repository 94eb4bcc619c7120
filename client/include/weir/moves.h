/* Replicas and leaderships that move: brokers that are drained, replaced, removed, labelled; even
 * numbers of replicas. For administrators (role `admin` of the certificate).
 *
 * What is asked is kept by the controllers, goes on by itself, and is safe to ask again. Errors
 * beside those of <weir/admin.h>: NOT_FOUND (no such broker, stream or shard), PLACEMENT (it would
 * leave replicas less safe than they are: the sentence says why), IN_USE (the broker still has
 * replicas), INVALID. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum weir_broker_action {
    WEIR_BROKER_DRAIN = 1,   /* its replicas move to others, and none comes */
    WEIR_BROKER_CANCEL = 2,  /* of DRAIN or REPLACE: as if it had not been asked */
    WEIR_BROKER_REPLACE = 3, /* it is dead: its replicas are made anew on others, now */
    WEIR_BROKER_REMOVE = 4,  /* it has no replicas: it may come back with an empty disk only */
    WEIR_BROKER_LABEL = 5,   /* its failure domain is `zone`, whatever its configuration says */
    WEIR_REBALANCE = 6,      /* all brokers: even numbers of replicas */
    WEIR_REBALANCE_STOP = 7,
    WEIR_CONSENT_FAILOVER = 8, /* brokers that are held (weir/admin.h) are dead: fail over */
};

enum weir_broker_mode {
    WEIR_BROKER_NORMAL = 0,
    WEIR_BROKER_DRAINING = 1,
    WEIR_BROKER_REPLACED = 2,
    WEIR_BROKER_REMOVED = 3,
};
/* "" for NORMAL, "draining" ... */
const char *weir_broker_mode_name(enum weir_broker_mode mode);

struct weir_broker_plan {
    uint32_t broker;
    enum weir_broker_mode mode;
    uint32_t replicas, leaders; /* as the shards' configurations have it */
    uint32_t drops;             /* replicas that it has still to delete */
    uint64_t down_since_ms;     /* Unix; 0: it is alive */
};

struct weir_move {
    uint64_t shard; /* stream id << 32 | shard number */
    uint32_t from, to;
    bool joining; /* it has all of the log, and is taken in by an election */
    uint64_t started_ms;
};

struct weir_moves {
    size_t broker_count, move_count;
    struct weir_broker_plan *brokers; /* by id */
    struct weir_move *moves;          /* by shard */
    bool rebalancing;
    uint32_t under_replicated; /* shards with a replica whose broker or disk is not there */
    char waits_for[160];       /* why something does not begin; "": nothing waits */
};
void weir_moves_free(struct weir_moves *moves); /* NULL is fine */

/* What moves now. */
WEIR_NODISCARD enum weir_status weir_moves_status(struct weir_client *client, uint32_t timeout_ms,
                                                  struct weir_moves **out,
                                                  struct weir_error *error);

/* `broker` 0 for the REBALANCE actions and CONSENT_FAILOVER; `zone` for LABEL, else NULL. *out: how
 * things are then; NULL if that is of no interest. */
WEIR_NODISCARD enum weir_status weir_broker_control(struct weir_client *client,
                                                    enum weir_broker_action action, uint32_t broker,
                                                    const char *zone, uint32_t timeout_ms,
                                                    struct weir_moves **out,
                                                    struct weir_error *error);

struct weir_leader_moved {
    uint32_t broker, before; /* who leads, and who led; 0 of all of them */
    uint32_t pause_ms;       /* from the order to the new leader's first commit, about */
    uint32_t under_way;      /* of all: how many are still where they should not be */
};
/* One leadership to a broker with a replica (0: the preferred one); with `stream` NULL all go back
 * to the brokers that should have them. TIMEOUT: the leader did not hand over and goes on. */
WEIR_NODISCARD enum weir_status weir_leader_move(struct weir_client *client, const char *stream,
                                                 uint32_t shard, uint32_t broker,
                                                 uint32_t timeout_ms, struct weir_leader_moved *out,
                                                 struct weir_error *error);

/* The shard goes on with what `survivor`, one of its brokers, has, and with it alone until others
 * have copied that. What only the others had is lost for ever; readers are told (weir/reader.h,
 * `lost`). Refused without ACCEPT_LOSS, while a majority of the replicas is there, and without
 * INSIST while the disks of a majority are not known to be lost. *out: before and the survivor. */
enum { WEIR_RECOVER_ACCEPT_LOSS = 1, WEIR_RECOVER_INSIST = 2 };
WEIR_NODISCARD enum weir_status weir_shard_force_recover(
    struct weir_client *client, const char *stream, uint32_t shard, uint32_t survivor,
    unsigned flags, uint32_t timeout_ms, struct weir_leader_moved *out, struct weir_error *error);

/* The same without waiting. The result is the callback's until it returns; NULL on an error. */
typedef void weir_moves_fn(const struct weir_moves *moves, const struct weir_leader_moved *leader,
                           const struct weir_error *error, void *context);
WEIR_NODISCARD enum weir_status weir_moves_status_async(struct weir_client *client,
                                                        uint32_t timeout_ms, weir_moves_fn *got,
                                                        void *context);
WEIR_NODISCARD enum weir_status weir_broker_control_async(struct weir_client *client,
                                                          enum weir_broker_action action,
                                                          uint32_t broker, const char *zone,
                                                          uint32_t timeout_ms, weir_moves_fn *got,
                                                          void *context);
WEIR_NODISCARD enum weir_status weir_leader_move_async(struct weir_client *client,
                                                       const char *stream, uint32_t shard,
                                                       uint32_t broker, uint32_t timeout_ms,
                                                       weir_moves_fn *got, void *context);

#ifdef __cplusplus
}
#endif
