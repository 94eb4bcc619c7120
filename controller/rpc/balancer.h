/* Private to controller/rpc: what balance.c and balance_status.c share. */
#pragma once

#include "controller/balance/balance.h"
#include "proto/net/net.h"

struct controller;

struct balancer_move { /* of a leadership, under way */
    uint64_t shard;
    uint32_t from, to;
    uint64_t began_ms, asked_ms;
};

struct balancer {
    struct controller *controller;
    struct balance *core;
    struct net_timer timer;
    uint64_t look_ms, looked_ms;
    struct balance_plan plan; /* of the last look */
    size_t broker_count;      /* of plan.brokers; 0: there was no look */
    struct balancer_move moves[BALANCE_MOVES_MAX];
    size_t move_count;
    uint64_t leaders_moved, replicas_moved; /* since we are active */
};

/* What holds: what was set, and defaults. */
void balancer_settings(struct controller *c, struct balance_settings *out);
/* Looks now, by the newest settings, and does what is to be done. */
void balancer_look(struct controller *c);
