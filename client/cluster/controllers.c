/* The controllers that we know of, and our sessions with them. */
#include <stdlib.h>
#include <string.h>

#include "client/cluster/internal.h"

static struct controller_peer *peer_add(struct cluster *cluster, const struct endpoint *endpoint,
                                        uint32_t id)
{
    if (cluster->peer_count == PEERS_MAX) {
        return NULL;
    }
    struct controller_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    peer->cluster = cluster;
    peer->endpoint = *endpoint;
    peer->id = id;
    list_init(&peer->waiters);
    cluster->peers[cluster->peer_count++] = peer;
    return peer;
}

void controllers_open(struct cluster *cluster, const struct endpoint *bootstrap, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct controller_peer *peer = peer_add(cluster, &bootstrap[i], 0);
        if (peer == NULL) {
            return;
        }
    }
}

void controllers_close(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->peer_count; i++) {
        if (cluster->peers[i]->session != NULL) {
            session_close(cluster->peers[i]->session, STATUS_CLOSING, "the client is closing");
        }
    }
}

size_t controller_of_id(const struct cluster *cluster, uint32_t id)
{
    size_t i = 0;
    while (i < cluster->peer_count && (id == 0 || cluster->peers[i]->id != id)) {
        i++;
    }
    return i;
}

size_t controller_next(struct cluster *cluster, size_t peer)
{
    return (peer + 1) % cluster->peer_count;
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void controllers_learn(struct cluster *cluster)
{
    const struct metadata *metadata = &cluster->metadata;
    for (size_t i = 0; i < metadata->controller_count; i++) {
        const struct metadata_controller *row = &metadata->controllers[i];
        struct endpoint endpoint = {.port = row->port};
        memcpy(endpoint.host, row->host, sizeof(endpoint.host));
        size_t at = controller_of_id(cluster, row->id);
        for (size_t j = 0; at == cluster->peer_count && j < cluster->peer_count; j++) {
            struct controller_peer *peer = cluster->peers[j];
            if (peer->id == 0 && same_endpoint(&peer->endpoint, &endpoint)) {
                peer->id = row->id;
                at = j;
            }
        }
        if (at < cluster->peer_count) {
            cluster->peers[at]->endpoint = endpoint;
        } else if (endpoint.port != 0) {
            /* Without memory for it the others must do. */
            struct controller_peer *peer = peer_add(cluster, &endpoint, row->id);
            if (peer == NULL) {
                return;
            }
        }
    }
    if (metadata->active_controller != 0) {
        cluster->active_hint = metadata->active_controller;
    }
}

static void wake_waiters(struct controller_peer *peer, bool open)
{
    struct list waiters;
    list_move(&waiters, &peer->waiters);
    while (!list_empty(&waiters)) {
        struct peer_waiter *waiter = CONTAINER_OF(list_pop(&waiters), struct peer_waiter, node);
        waiter->ready(waiter, open);
    }
}

static void opened(struct session *session)
{
    struct controller_peer *peer = session_data(session);
    peer->open = true;
    peer->refused = STATUS_OK;
    uint32_t id = session_peer(session)->id;
    size_t other = controller_of_id(peer->cluster, id);
    if (other < peer->cluster->peer_count && peer->cluster->peers[other] != peer) {
        peer->cluster->peers[other]->id = 0; /* it has moved, or is listed under two names */
    }
    peer->id = id;
    peer->cluster->trouble.text[0] = '\0';
    wake_waiters(peer, true);
}

/* These do not pass by themselves. */
static bool is_refusal(enum status status)
{
    return status == STATUS_WRONG_CLUSTER || status == STATUS_WRONG_IDENTITY ||
           status == STATUS_DENIED || status == STATUS_UNSUPPORTED;
}

static void closed(struct session *session, const struct error *why)
{
    struct controller_peer *peer = session_data(session);
    struct cluster *cluster = peer->cluster;
    if (!peer->open) {
        peer->refused = is_refusal(why->status) ? why->status : STATUS_OK;
        cluster->trouble = *why; /* kept for whoever fails because of it */
    }
    peer->session = NULL;
    peer->open = false;
    wake_waiters(peer, false);
}

static void called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "a client answers no calls");
}

static const struct session_handlers handlers = {.opened = opened,
                                                 .called = called,
                                                 .closed = closed};

bool controller_want(struct controller_peer *peer, struct peer_waiter *waiter)
{
    if (peer->open) {
        return true;
    }
    if (peer->session == NULL && !peer->cluster->closing) {
        struct session_options options = {.loop = peer->cluster->loop,
                                          .tls = peer->cluster->tls,
                                          .handlers = &handlers,
                                          .data = peer};
        peer->session = session_dial(&options, peer->endpoint.host, peer->endpoint.port,
                                     RPC_ROLE_CONTROLLER, 0);
        /* NULL: out of memory; the waiter's own timer lets it try again. */
    }
    list_push(&peer->waiters, &waiter->node);
    return false;
}
