/* What a node says of itself and of the others. */
#include <stdio.h>

#include "controller/raft/node.h"

static void fill_server(const struct raft_node *node, const struct raft_peer *peer, bool voter,
                        struct raft_node_server_status *out)
{
    raft_index match = 0;
    out->server = peer->server;
    out->voter = voter;
    out->connected = raft_peer_is_connected(peer);
    const struct session *session = peer->link == NULL ? NULL : net_link_session(peer->link);
    if (session != NULL) {
        out->protocol = session_protocol(session);
        (void)snprintf(out->software, sizeof(out->software), "%s", session_software(session));
    }
    if (raft_match_index(&node->core.raft, peer->server.id, &match) == 0) {
        out->match = match;
    }
}

void raft_node_status(const struct raft_node *node, struct raft_node_status *out)
{
    const struct raft_core *core = &node->core;
    *out = (struct raft_node_status){
        .id = node->options.id,
        .leader = raft_core_leader(core),
        .active = raft_core_is_active(core),
        .state = raft_core_alive(core) ? raft_state_name(core->raft.state) : "failed",
        .term = raft_current_term(&core->raft),
        .first = core->raft.trail.offset + 1,
        .last = raft_core_last(core),
        .stored = core->raft.last_stored,
        .commit = raft_commit_index(&core->raft),
        .applied = core->cursor,
        .snapshot = core->snapshot.index,
        .log_bytes = core->bytes_since_snapshot,
        .configuration = core->raft.configuration_committed_index,
        .leader_commit = core->heard_commit,
        .snapshots = node->snapshots,
    };
    const struct raft_configuration *configuration = &core->raft.configuration;
    for (unsigned i = 0; i < configuration->n && i < RAFT_NODE_SERVERS_MAX; i++) {
        const struct raft_peer *peer = raft_peer_of(node, (uint32_t)configuration->servers[i].id);
        if (peer != NULL) {
            fill_server(node, peer, configuration->servers[i].role == RAFT_VOTER,
                        &out->servers[out->server_count++]);
        }
    }
    /* One that joins has not been told of anybody: those of its own list. */
    for (uint32_t i = 0; configuration->n == 0 && i < node->options.server_count; i++) {
        const struct raft_peer *peer = raft_peer_of(node, node->options.servers[i].id);
        if (peer != NULL) {
            fill_server(node, peer, peer->server.id != node->options.id,
                        &out->servers[out->server_count++]);
        }
    }
}
