/* Links to the other controllers. Each side sends on the link that it dialled. */
#include "controller/raft/node.h"

#include "base/trace.h"

static void peer_closed(struct session *session, const struct error *why)
{
    const struct raft_peer *peer = session_data(session);
    struct raft_node *node = peer->node;
    trace(TRACE_DEBUG, "raft", "the link to controller-%u ended: %s", peer->server.id, why->text);
    if (node->closing) {
        node->sessions_left--;
        raft_node_free_when_done(node);
        return;
    }
    if (node->started) {
        raft_core_suspect(&node->core, net_now_ms(node->options.loop), peer->server.id);
        raft_node_settle(node);
    }
}

static void peer_messaged(struct session *session, enum rpc_method method, struct bytes body,
                          struct bytes attachment)
{
    const struct raft_peer *peer = session_data(session);
    if (peer->node->closing) {
        return;
    }
    if (method != RPC_RAFT ||
        raft_node_receive(peer->node, peer->server.id, body, attachment) == STATUS_INVALID) {
        session_close(session, STATUS_INVALID, "malformed Raft message");
    }
}

static void peer_called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "call the controller on its own port");
}

enum status raft_peers_open(struct raft_node *node, struct error *error)
{
    node->handlers = (struct session_handlers){
        .called = peer_called, .messaged = peer_messaged, .closed = peer_closed};
    for (uint32_t i = 0; i < node->options.server_count; i++) {
        struct raft_peer *peer = &node->peers[i];
        peer->node = node;
        peer->server = node->options.servers[i];
        node->peer_count = i + 1;
        if (peer->server.id == node->options.id) {
            continue;
        }
        struct session_options options = {.loop = node->options.loop,
                                          .tls = node->options.tls,
                                          .boot = node->options.boot,
                                          .handlers = &node->handlers,
                                          .data = peer};
        peer->link = net_link_open(&options, peer->server.host, peer->server.port,
                                   RPC_ROLE_CONTROLLER, peer->server.id);
        if (peer->link == NULL) {
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return STATUS_OK;
}

void raft_peers_close(struct raft_node *node)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        if (node->peers[i].link != NULL) {
            node->sessions_left += net_link_is_busy(node->peers[i].link) ? 1 : 0;
            net_link_close(node->peers[i].link);
            node->peers[i].link = NULL;
        }
    }
}

bool raft_peer_is_connected(const struct raft_peer *peer)
{
    return peer->link == NULL || net_link_session(peer->link) != NULL;
}

/* Loses what cannot go out now: Raft sends again. */
void raft_peers_send(struct raft_node *node, uint32_t to, const struct raft_packet *packet)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct raft_peer *peer = &node->peers[i];
        struct session *session = peer->link == NULL ? NULL : net_link_session(peer->link);
        if (peer->server.id != to || session == NULL ||
            session_queued(session) > RAFT_PEER_QUEUE_MAX) {
            continue;
        }
        raft_frame_fill(&node->frame, packet);
        struct session_payload payload = {.body = &node->frame.body.base,
                                          .pieces = node->frame.pieces,
                                          .piece_count = node->frame.piece_count};
        status_ignore(session_send(session, RPC_RAFT, payload), "Raft sends again");
    }
}

void raft_node_tell(struct raft_node *node, enum rpc_method method, const ProtobufCMessage *body)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        const struct raft_peer *peer = &node->peers[i];
        struct session *session = peer->link == NULL ? NULL : net_link_session(peer->link);
        if (session != NULL && session_queued(session) <= RAFT_PEER_QUEUE_MAX) {
            status_ignore(session_send(session, method, (struct session_payload){.body = body}),
                          "the caller says it again");
        }
    }
}
