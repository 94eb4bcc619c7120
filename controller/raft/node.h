/* The shell around the core: loop, store, files, links, threads. */
#pragma once

#include <pthread.h>

#include "controller/raft/core.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store.h"
#include "proto/net/net.h"

enum {
    RAFT_PEER_QUEUE_MAX = 8 * 1024 * 1024,      /* to one of the others; beyond it we drop */
    RAFT_PEERS_MAX = 4 * RAFT_NODE_SERVERS_MAX, /* with those that are leaving */
};

struct raft_peer {
    struct raft_node *node;
    struct raft_node_server server;
    struct net_link *link; /* NULL for ourselves, and for one that has left */
    bool used;             /* a member */
    bool leaving;          /* its link was closed, and its session's end is still to come */
};

/* A copy of the state machine being made by its own thread. */
struct raft_snapshot_job {
    struct net_mail mail;
    struct raft_node *node;
    pthread_t thread;
    enum status status;
    struct error error;
    struct raft_snapshot_info info;
};

struct raft_node {
    struct raft_node_options options;
    char *dir;
    struct raft_core core;
    bool core_ready, started, closing, told_failed;
    struct raft_store *store;
    struct raft_snapshot_io files;
    struct raft_peer peers[RAFT_PEERS_MAX];
    uint64_t followed_committed, followed_uncommitted; /* configurations that the peers are of */
    bool followed;
    struct session_handlers handlers;
    struct raft_frame frame;

    struct net_timer timer;
    struct net_turn turn;
    struct net_mailbox *mailbox;
    struct net_mail written; /* from the writer; one at a time */
    int written_queued;      /* atomic */
    struct raft_snapshot_job *job;
    uint64_t snapshots; /* taken or received */

    /* A closed node lives until the loop has brought its last callbacks. */
    struct net_mail last_mail;
    uint32_t sessions_left;
    bool mail_done;
};

void raft_node_free_when_done(struct raft_node *node);

/* Something was asked of the core: look at its deadline and its health. */
void raft_node_settle(struct raft_node *node);

/* peers.c: NO_MEMORY */
NODISCARD enum status raft_peers_open(struct raft_node *node, struct error *error);
void raft_peers_close(struct raft_node *node);
void raft_peers_send(struct raft_node *node, uint32_t to, const struct raft_packet *packet);
bool raft_peer_is_connected(const struct raft_peer *peer);
/* A member; NULL. */
const struct raft_peer *raft_peer_of(const struct raft_node *node, uint32_t id);
/* Dials who has become a member, and leaves who is none any more. */
void raft_peers_follow(struct raft_node *node);
