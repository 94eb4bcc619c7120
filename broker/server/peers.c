#include "broker/server/peers.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/peers_internal.h"

static uint64_t now(const struct peers *peers)
{
    return net_now_ms(peers->options.loop);
}

/* ---- finding ---- */

static uint32_t lower_bound(const struct peers *peers, uint32_t broker)
{
    uint32_t i = 0;
    while (i < peers->count && peers->peer[i]->id < broker) {
        i++;
    }
    return i;
}

struct peer *peers_find(const struct peers *peers, uint32_t broker)
{
    uint32_t i = lower_bound(peers, broker);
    return i < peers->count && peers->peer[i]->id == broker ? peers->peer[i] : NULL;
}

static struct peer *find_or_add(struct peers *peers, uint32_t broker)
{
    struct peer *peer = peers_find(peers, broker);
    if (peer != NULL) {
        return peer;
    }
    struct peer **grown = realloc(peers->peer, (peers->count + 1) * sizeof(struct peer *));
    if (grown == NULL) {
        return NULL;
    }
    peers->peer = grown;
    peer = calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return NULL;
    }
    peer->peers = peers;
    peer->id = broker;
    list_init(&peer->ready);
    list_init(&peer->behind);
    uint32_t i = lower_bound(peers, broker);
    memmove(grown + i + 1, grown + i, (peers->count - i) * sizeof(struct peer *));
    grown[i] = peer;
    peers->count++;
    return peer;
}

/* ---- our sessions ---- */

static void set_reset(struct peer *peer, bool reset)
{
    if (peer->reset != reset) {
        peer->reset = reset;
        peer->peers->options.reset_changed(peer->peers->options.context);
    }
}

static void ping(struct peer *peer)
{
    Weir__Ping message = WEIR__PING__INIT;
    message.sequence = peer->ping_sequence + 1;
    message.boot = peer->peers->options.boot;
    message.lacking = peer->lacking;
    if (session_send(peer->session, RPC_PING, (struct session_payload){.body = &message.base}) ==
        STATUS_OK) {
        peer->ping_sequence++;
        peer->ping_sent_ms = now(peer->peers);
    }
}

static void link_opened(struct session *session)
{
    struct peer *peer = session_data(session);
    trace(TRACE_INFO, "peers", "broker-%u: connected, its boot is %llu", peer->id,
          (unsigned long long)session_peer(session)->boot);
    peer->session = session;
    peer->pong_ms = now(peer->peers);
    set_reset(peer, false);
    peers_count_lacking(peer->peers);
    ping(peer);
    shards_peer_up(peer->peers->options.shards, peer->id, session_peer(session)->boot);
}

static void link_closed(struct session *session, const struct error *why)
{
    struct peer *peer = session_data(session);
    bool was_open = peer->session == session;
    if (was_open) {
        peer->session = NULL;
        peer_drop_ready(peer);
        trace(TRACE_INFO, "peers", "broker-%u: disconnected: %s", peer->id, why->text);
    } else {
        trace(TRACE_DEBUG, "peers", "broker-%u: %s", peer->id, why->text);
    }
    if (peer->peers->closing) {
        return;
    }
    /* Silence may be a pause or a cut cable; a reset or a refusal comes from a machine that is up
     * while the broker is not. */
    if (why->status != STATUS_TIMEOUT) {
        set_reset(peer, true);
    }
    if (was_open) {
        shards_peer_down(peer->peers->options.shards, peer->id);
    }
}

static void on_pong(struct peer *peer, struct bytes body)
{
    Weir__Pong *pong = weir__pong__unpack(NULL, body.size, body.data);
    if (pong == NULL) {
        session_close(peer->session, STATUS_INVALID, "PONG cannot be decoded");
        return;
    }
    peer->pong_ms = now(peer->peers);
    peer->pong_wall_ms = pong->time_ms;
    peer->figures = (struct slow_figures){.sync_us = pong->sync_us, .stall_us = pong->stall_us};
    if (pong->sequence == peer->ping_sequence) {
        peer->heard_ms = peer->ping_sent_ms;
    }
    weir__pong__free_unpacked(pong, NULL);
}

static void link_messaged(struct session *session, enum rpc_method method, struct bytes body,
                          struct bytes attachment)
{
    (void)attachment;
    struct peer *peer = session_data(session);
    if (method == RPC_PONG) {
        on_pong(peer, body);
    } else if (method == RPC_APPEND_ANSWERS) {
        peers_receive_answers(peer->peers, peer->id, session_peer(session)->boot, body);
    } else {
        session_close(session, STATUS_INVALID, "this message has no meaning on this connection");
    }
}

static void link_called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "call on a connection of your own");
}

static void link_writable(struct session *session)
{
    struct peer *peer = session_data(session);
    peer->peers->options.schedule(peer->peers->options.context);
}

static const struct session_handlers link_handlers = {
    .opened = link_opened,
    .called = link_called,
    .messaged = link_messaged,
    .writable = link_writable,
    .closed = link_closed,
};

static void dial(struct peer *peer, const struct route_broker *row)
{
    struct peers *peers = peer->peers;
    memcpy(peer->host, row->host, sizeof(peer->host));
    peer->port = row->port;
    if (peer->link != NULL) {
        net_link_move(peer->link, peer->host, peer->port);
        return;
    }
    const struct session_options options = {.loop = peers->options.loop,
                                            .tls = peers->options.tls,
                                            .boot = peers->options.boot,
                                            .handlers = &link_handlers,
                                            .data = peer};
    peer->link = net_link_open(&options, peer->host, peer->port, RPC_ROLE_BROKER, peer->id);
    if (peer->link == NULL) {
        trace(TRACE_ERROR, "peers", "broker-%u: out of memory", peer->id);
    }
}

void peers_sync(struct peers *peers, const struct route *route)
{
    for (uint32_t i = 0; i < route_broker_count(route) && !peers->closing; i++) {
        const struct route_broker *row = route_broker_at(route, i);
        if (row->id == peers->options.broker || row->port == 0) {
            continue;
        }
        struct peer *peer = find_or_add(peers, row->id);
        if (peer != NULL) {
            peer->disk_gen = row->disk_gen;
        }
        if (peer != NULL &&
            (peer->link == NULL || peer->port != row->port || strcmp(peer->host, row->host) != 0)) {
            dial(peer, row);
        }
    }
}

/* ---- their sessions ---- */

void peers_incoming_opened(struct peers *peers, struct session *session)
{
    struct peer *peer = find_or_add(peers, session_peer(session)->id);
    if (peer != NULL) {
        peer->incoming = session;
        if (peer->link != NULL && peer->session == NULL) {
            net_link_hurry(peer->link); /* it is back: do not wait for our back-off */
        }
    }
}

void peers_incoming_closed(struct peers *peers, struct session *session)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        if (peers->peer[i]->incoming == session) {
            peers->peer[i]->incoming = NULL;
            peers->peer[i]->answer_count = 0;
        }
    }
}

static void on_ping(struct peers *peers, struct session *session, struct bytes body)
{
    Weir__Ping *message = weir__ping__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        session_close(session, STATUS_INVALID, "PING cannot be decoded");
        return;
    }
    struct peer *peer = find_or_add(peers, session_peer(session)->id);
    if (peer != NULL) {
        peer->lacks = message->lacking;
        peer->lacks_ms = now(peers);
    }
    Weir__Pong pong = WEIR__PONG__INIT;
    pong.sequence = message->sequence;
    pong.boot = message->boot;
    pong.time_ms = net_wall_ms();
    pong.sync_us = peers->figures.sync_us;
    pong.stall_us = peers->figures.stall_us;
    weir__ping__free_unpacked(message, NULL);
    status_ignore(session_send(session, RPC_PONG, (struct session_payload){.body = &pong.base}),
                  "the next ping asks again");
}

void peers_incoming(struct peers *peers, struct session *session, enum rpc_method method,
                    struct bytes body, struct bytes attachment)
{
    const struct rpc_identity *from = session_peer(session);
    if (method == RPC_PING) {
        on_ping(peers, session, body);
    } else if (method == RPC_APPEND) {
        struct peer *peer = find_or_add(peers, from->id);
        if (peer != NULL) {
            peer->incoming = session; /* whichever speaks */
        }
        peers_receive_append(peers, from->id, from->boot, body, attachment);
    } else {
        session_close(session, STATUS_INVALID, "this message has no meaning on this connection");
    }
}

/* ---- liveness ---- */

static void on_timer(struct net_timer *timer)
{
    struct peers *peers = CONTAINER_OF(timer, struct peers, timer);
    uint64_t late_ms = now(peers) > timer->at_ms ? now(peers) - timer->at_ms : 0;
    peers->stall_ms = late_ms > peers->stall_ms ? late_ms : peers->stall_ms;
    peers_count_lacking(peers);
    peers_find_alone(peers);
    for (uint32_t i = 0; i < peers->count; i++) {
        struct peer *peer = peers->peer[i];
        if (peer->session == NULL) {
            continue;
        }
        if (now(peers) >= peer->pong_ms + PEER_SILENT_MS) {
            session_close(peer->session, STATUS_TIMEOUT, "no answer to pings");
        } else {
            ping(peer);
            peer_next_behind(peer);
        }
    }
    status_ignore(
        net_timer_start(peers->options.loop, &peers->timer, now(peers) + PING_EVERY_MS, on_timer),
        "a timer that has just fired has its room");
}

struct session *peers_session(const struct peers *peers, uint32_t broker)
{
    const struct peer *peer = peers_find(peers, broker);
    return peer == NULL ? NULL : peer->session;
}

bool peers_is_connected(const struct peers *peers, uint32_t broker)
{
    const struct peer *peer = peers_find(peers, broker);
    return peer != NULL && peer->session != NULL;
}

static bool is_heard_since(const struct peer *peer, uint64_t ago_ms)
{
    return peer->session != NULL && peer->heard_ms != 0 &&
           now(peer->peers) < peer->heard_ms + ago_ms;
}

static bool is_heard(const struct peer *peer)
{
    return is_heard_since(peer, PEER_HEARD_MS);
}

bool peers_is_heard(const struct peers *peers, uint32_t broker)
{
    const struct peer *peer = peers_find(peers, broker);
    return peer != NULL && is_heard(peer);
}

size_t peers_reachable(const struct peers *peers, uint32_t *out, size_t capacity)
{
    size_t count = 0;
    for (uint32_t i = 0; i < peers->count && count < capacity; i++) {
        if (is_heard_since(peers->peer[i], PEER_REACHED_MS)) {
            out[count++] = peers->peer[i]->id;
        }
    }
    return count;
}

size_t peers_reset(const struct peers *peers, uint32_t *out, size_t capacity)
{
    size_t count = 0;
    for (uint32_t i = 0; i < peers->count && count < capacity; i++) {
        if (peers->peer[i]->reset) {
            out[count++] = peers->peer[i]->id;
        }
    }
    return count;
}

bool peers_wall_ms(const struct peers *peers, uint32_t broker, uint64_t *out_ms)
{
    const struct peer *peer = peers_find(peers, broker);
    if (peer == NULL || !is_heard(peer)) {
        return false;
    }
    *out_ms = peer->pong_wall_ms + (now(peers) - peer->pong_ms);
    return true;
}

void peers_set_figures(struct peers *peers, const struct slow_figures *figures)
{
    peers->figures = *figures;
}

size_t peers_figures(const struct peers *peers, struct slow_figures *out, size_t capacity)
{
    size_t count = 0;
    for (uint32_t i = 0; i < peers->count && count < capacity; i++) {
        if (is_heard(peers->peer[i])) {
            out[count++] = peers->peer[i]->figures;
        }
    }
    return count;
}

uint64_t peers_take_stall_us(struct peers *peers)
{
    uint64_t stall_us = peers->stall_ms * 1000;
    peers->stall_ms = 0;
    return stall_us;
}

/* ---- life ---- */

struct peers *peers_new(const struct peers_options *options)
{
    struct peers *peers = calloc(1, sizeof(*peers));
    if (peers == NULL) {
        return NULL;
    }
    peers->options = *options;
    list_init(&peers->backlogs);
    list_init(&peers->catch_ups);
    if (net_timer_start(options->loop, &peers->timer, net_now_ms(options->loop) + PING_EVERY_MS,
                        on_timer) != STATUS_OK) {
        free(peers);
        return NULL;
    }
    return peers;
}

void peers_close(struct peers *peers)
{
    peers->closing = true;
    net_timer_stop(peers->options.loop, &peers->timer);
    peers_copy_stop(peers);
    for (uint32_t i = 0; i < peers->count; i++) {
        if (peers->peer[i]->link != NULL) {
            net_link_close(peers->peer[i]->link);
            peers->peer[i]->link = NULL;
        }
    }
}

void peers_free(struct peers *peers)
{
    if (peers == NULL) {
        return;
    }
    CHECK(list_empty(&peers->catch_ups));
    while (!list_empty(&peers->backlogs)) {
        free(CONTAINER_OF(list_pop(&peers->backlogs), struct backlog, node));
    }
    for (uint32_t i = 0; i < peers->count; i++) {
        free(peers->peer[i]->answers);
        free(peers->peer[i]);
    }
    free(peers->peer);
    free(peers);
}

void peers_turn(struct peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        peer_send_appends(peers->peer[i]);
        peer_send_answers(peers->peer[i]);
    }
}
