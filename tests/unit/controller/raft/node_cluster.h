/* Controllers' nodes on one real loop, with mutual TLS over loopback and their logs on disk. */
#pragma once

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <uv.h>

#include "controller/raft/raft.h"
#include "proto/net/net.h"
#include "tests/unit/proto/net/certs.h"

enum { NODES_MAX = 5, COMMANDS_MAX = 20000 };

/* What takes milliseconds is given so long: machines may be slow, and are shared. */
enum { PATIENCE_MS = 60000 };

struct cluster;

struct controller {
    struct cluster *cluster;
    uint32_t id;
    struct net_tls *tls;
    struct net_listener *listener;
    struct raft_node *node;
    /* the state machine: what was applied, in order; `lock` for the snapshot's thread */
    pthread_mutex_t lock;
    uint64_t indexes[COMMANDS_MAX], commands[COMMANDS_MAX];
    uint64_t count;
    bool active;
    uint32_t leader;
    unsigned restores, snapshots, failures;
    enum status failure;
};

struct cluster {
    char dir[64];
    struct certs certs;
    struct net_loop *loop;
    struct session_handlers handlers;
    struct controller controllers[NODES_MAX];
    struct raft_node_server servers[NODES_MAX];
    uint32_t count;
    uint32_t snapshot_entries;
    uint64_t next_command;
    unsigned acknowledged, uncertain, reads;
    uint64_t latency_us[COMMANDS_MAX];
};

struct request {
    struct raft_node_request request;
    struct cluster *cluster;
    uint64_t started_us;
    bool done;
    enum status status;
};

extern const struct raft_node_handlers cluster_machine;

uint64_t now_us(void);
void controller_start(struct cluster *cluster, uint32_t id);
void controller_stop(struct cluster *cluster, uint32_t id);
struct cluster *cluster_new(uint32_t count, uint32_t snapshot_entries);
void cluster_free(struct cluster *cluster);
void cluster_turn(struct cluster *cluster);
uint32_t active_of(struct cluster *cluster);
/* Until one is active, which it tells. */
uint32_t wait_active(struct cluster *cluster);
/* Turns until it holds; whether it does. */
bool wait_until(struct cluster *cluster,
                bool (*holds)(struct cluster *cluster, const void *context), const void *context);
void was_done(struct raft_node_request *raft_request, enum status status);
void put_one(struct cluster *cluster);
void put_many(struct cluster *cluster, unsigned count);
/* Until all have applied the same. */
void wait_equal(struct cluster *cluster);
void print_latency(struct cluster *cluster, const char *what);
