/* Automatic balancing: what the active controller sees of brokers' loads, what it moves or would
 * move, and the settings that decide it (docs/configuration.md). Changes are for administrators
 * (role `admin` of the certificate), hold at once and for all controllers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_BALANCE_DEFAULT UINT64_MAX

struct weir_balance_change {
    const char *key; /* "leaders", "replicas": 0 or 1; else as in docs/configuration.md */
    uint64_t value;  /* times in milliseconds; WEIR_BALANCE_DEFAULT: the default again */
};

struct weir_balance_settings {
    bool leaders, replicas; /* whether they are balanced by themselves */
    uint32_t interval_ms, rest_ms;
    uint32_t leader_threshold, leader_lasts_ms, leader_moves;
    uint32_t replica_threshold, replica_lasts_ms, replica_moves;
};

struct weir_balance_broker {
    uint32_t broker, leaders, replicas;
    uint64_t in, out, requests;               /* a second, of the shards that it leads */
    uint32_t leader_percent, replica_percent; /* of the mean load */
    char no_leaders[64], no_replicas[64];     /* why it is given none; "": it may be */
};

struct weir_balance_move {
    uint64_t shard; /* stream id << 32 | shard number */
    uint32_t from, to;
    uint32_t from_percent, to_percent; /* of the mean load, before it */
};

struct weir_balance_half {
    bool now;         /* the moves were begun; else they are what would be moved */
    uint32_t percent; /* the greatest difference of two brokers' loads, of the mean */
    char text[200];   /* how things are, and why nothing is moved */
    uint64_t moved;   /* since the controller became active */
    size_t move_count;
    struct weir_balance_move *moves;
};

struct weir_balance {
    struct weir_balance_settings settings;
    struct weir_balance_half leaders, replicas;
    size_t broker_count, wait_count;
    struct weir_balance_broker *brokers; /* by id */
    uint32_t *waits; /* brokers that have not told what they hold since a backup was restored */
    uint32_t age_ms; /* since it was looked at */
};
void weir_balance_free(struct weir_balance *balance); /* NULL is fine */

WEIR_NODISCARD enum weir_status weir_balance_status(struct weir_client *client, uint32_t timeout_ms,
                                                    struct weir_balance **out,
                                                    struct weir_error *error);

/* All of the changes, or none: INVALID says which is not good. *out: how things are then; `out`
 * NULL if that is of no interest. */
WEIR_NODISCARD enum weir_status weir_balance_set(struct weir_client *client,
                                                 const struct weir_balance_change *changes,
                                                 size_t count, uint32_t timeout_ms,
                                                 struct weir_balance **out,
                                                 struct weir_error *error);

/* The same without waiting. The result is the callback's until it returns; NULL on an error. */
typedef void weir_balance_fn(const struct weir_balance *balance, const struct weir_error *error,
                             void *context);
WEIR_NODISCARD enum weir_status weir_balance_status_async(struct weir_client *client,
                                                          uint32_t timeout_ms, weir_balance_fn *got,
                                                          void *context);
WEIR_NODISCARD enum weir_status weir_balance_set_async(struct weir_client *client,
                                                       const struct weir_balance_change *changes,
                                                       size_t count, uint32_t timeout_ms,
                                                       weir_balance_fn *got, void *context);

#ifdef __cplusplus
}
#endif
