/* Links to the other controllers. Each side sends on the link that it dialled. */
#include "controller/raft/node.h"

#include "base/trace.h"
#include "proto/schema/raft.pb-c.h"

static void peer_closed(struct session *session, const struct error *why)
{
    struct raft_peer *peer = session_data(session);
    struct raft_node *node = peer->node;
    trace(TRACE_DEBUG, "raft", "the link to controller-%u ended: %s", peer->server.id, why->text);
    bool left = peer->leaving;
    peer->leaving = false;
    if (node->closing) {
        node->sessions_left--;
        raft_node_free_when_done(node);
        return;
    }
    if (node->started && !left) {
        raft_core_suspect(&node->core, net_now_ms(node->options.loop), peer->server.id);
        raft_node_settle(node);
    }
}

static bool take_removed(struct raft_peer *peer, struct bytes body)
{
    Weir__Removed *message = weir__removed__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    raft_node_removed(peer->node, peer->server.id, message->index);
    weir__removed__free_unpacked(message, NULL);
    return true;
}

static void peer_messaged(struct session *session, enum rpc_method method, struct bytes body,
                          struct bytes attachment)
{
    struct raft_peer *peer = session_data(session);
    if (peer->node->closing || peer->leaving) {
        return;
    }
    bool good = method == RPC_REMOVED
                    ? take_removed(peer, body)
                    : method == RPC_RAFT && raft_node_receive(peer->node, peer->server.id, body,
                                                              attachment) != STATUS_INVALID;
    if (!good) {
        session_close(session, STATUS_INVALID, "malformed Raft message");
    }
}

static void peer_called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "call the controller on its own port");
}

const struct raft_peer *raft_peer_of(const struct raft_node *node, uint32_t id)
{
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        if (node->peers[i].used && node->peers[i].server.id == id) {
            return &node->peers[i];
        }
    }
    return NULL;
}

NODISCARD static enum status peer_add(struct raft_node *node, const struct raft_node_server *server)
{
    struct raft_peer *peer = NULL;
    for (uint32_t i = 0; i < RAFT_PEERS_MAX && peer == NULL; i++) {
        peer = node->peers[i].used || node->peers[i].leaving ? NULL : &node->peers[i];
    }
    if (peer == NULL) {
        return STATUS_BUSY;
    }
    struct net_link *link = NULL;
    if (server->id != node->options.id) {
        struct session_options options = {.loop = node->options.loop,
                                          .tls = node->options.tls,
                                          .boot = node->options.boot,
                                          .handlers = &node->handlers,
                                          .data = peer};
        link = net_link_open(&options, server->host, server->port, RPC_ROLE_CONTROLLER, server->id);
        if (link == NULL) {
            return STATUS_NO_MEMORY;
        }
    }
    *peer = (struct raft_peer){.node = node, .server = *server, .link = link, .used = true};
    return STATUS_OK;
}

static void peer_leave(struct raft_peer *peer)
{
    peer->used = false;
    if (peer->link != NULL) {
        peer->leaving = net_link_is_busy(peer->link);
        net_link_close(peer->link);
        peer->link = NULL;
    }
}

enum status raft_peers_open(struct raft_node *node, struct error *error)
{
    node->handlers = (struct session_handlers){
        .called = peer_called, .messaged = peer_messaged, .closed = peer_closed};
    for (uint32_t i = 0; i < node->options.server_count; i++) {
        if (peer_add(node, &node->options.servers[i]) != STATUS_OK) {
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
    }
    return STATUS_OK;
}

/* Whoever was added brought an address; of the first ones it is in our own list. */
static bool address_of(const struct raft_node *node, const struct raft_server *server,
                       struct raft_node_server *out)
{
    for (uint32_t i = 0; i < node->options.server_count; i++) {
        if (node->options.servers[i].id == server->id) {
            *out = node->options.servers[i];
            return true;
        }
    }
    *out = (struct raft_node_server){.id = (uint32_t)server->id};
    return raft_core_address(server->address, out);
}

static bool is_member(const struct raft_configuration *configuration, uint32_t id)
{
    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == id) {
            return true;
        }
    }
    return false;
}

void raft_peers_follow(struct raft_node *node)
{
    const struct raft *raft = &node->core.raft;
    /* One without us is of a time before we joined. */
    if (!node->core_ready || !is_member(&raft->configuration, node->options.id) ||
        (node->followed && node->followed_committed == raft->configuration_committed_index &&
         node->followed_uncommitted == raft->configuration_uncommitted_index)) {
        return;
    }
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        struct raft_peer *peer = &node->peers[i];
        if (peer->used && peer->server.id != node->options.id &&
            !is_member(&raft->configuration, peer->server.id)) {
            trace(TRACE_INFO, "raft", "controller-%u is no member", peer->server.id);
            peer_leave(peer);
        }
    }
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        struct raft_node_server server;
        uint32_t id = (uint32_t)raft->configuration.servers[i].id;
        if (raft_peer_of(node, id) != NULL) {
            continue;
        }
        if (!address_of(node, &raft->configuration.servers[i], &server)) {
            trace(TRACE_WARNING, "raft", "the list of controllers has no address of controller-%u",
                  id);
        } else if (peer_add(node, &server) != STATUS_OK) {
            return; /* the next call tries again */
        }
    }
    node->followed = true;
    node->followed_committed = raft->configuration_committed_index;
    node->followed_uncommitted = raft->configuration_uncommitted_index;
    if (node->options.handlers->configured != NULL) {
        node->options.handlers->configured(node->options.data);
    }
}

void raft_peers_close(struct raft_node *node)
{
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        struct raft_peer *peer = &node->peers[i];
        peer_leave(peer);
        node->sessions_left += peer->leaving ? 1 : 0;
    }
}

bool raft_peer_is_connected(const struct raft_peer *peer)
{
    return peer->link == NULL || net_link_session(peer->link) != NULL;
}

/* Loses what cannot go out now: Raft sends again. */
void raft_peers_send(struct raft_node *node, uint32_t to, const struct raft_packet *packet)
{
    const struct raft_peer *peer = raft_peer_of(node, to);
    struct session *session =
        peer == NULL || peer->link == NULL ? NULL : net_link_session(peer->link);
    if (session == NULL && node->options.handlers->session != NULL) {
        session = node->options.handlers->session(node->options.data, to);
    }
    if (session == NULL || session_queued(session) > RAFT_PEER_QUEUE_MAX) {
        return;
    }
    raft_frame_fill(&node->frame, packet);
    struct session_payload payload = {.body = &node->frame.body.base,
                                      .pieces = node->frame.pieces,
                                      .piece_count = node->frame.piece_count};
    status_ignore(session_send(session, RPC_RAFT, payload), "Raft sends again");
}

void raft_node_tell(struct raft_node *node, enum rpc_method method, const ProtobufCMessage *body)
{
    for (uint32_t i = 0; i < RAFT_PEERS_MAX; i++) {
        const struct raft_peer *peer = &node->peers[i];
        struct session *session = peer->link == NULL ? NULL : net_link_session(peer->link);
        if (session != NULL && session_queued(session) <= RAFT_PEER_QUEUE_MAX) {
            status_ignore(session_send(session, method, (struct session_payload){.body = body}),
                          "the caller says it again");
        }
    }
}
