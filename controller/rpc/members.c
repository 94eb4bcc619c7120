/* CONTROLLER_CONTROL: who is a controller. What would leave the set less able to lose one of its
 * own than it is, is refused with the reason. The caller asks step by step: added, then promoted
 * when the log has reached it, then the old one removed; so that an end in the middle leaves a set
 * that works, and asking again goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/formats.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"
#include "proto/schema/life.pb-c.h"
#include "proto/schema/raft.pb-c.h"

enum {
    MEMBERS_SAFE = 3,      /* voters that may lose one */
    MEMBER_LAG_MAX = 1000, /* entries behind, of one that counts as being there */
};

struct member_call {
    struct raft_node_request request;
    struct controller *controller;
    struct session_call *call;
};

static void change_done(struct raft_node_request *request, enum status status)
{
    struct member_call *m = CONTAINER_OF(request, struct member_call, request);
    if (status == STATUS_OK) {
        reply_empty(m->call);
    } else {
        session_reply_error(m->call, STATUS_UNCERTAIN, NULL,
                            "the leadership of the controllers was lost: ask again");
    }
    free(m);
}

/* False: answered. */
static bool may_add(const struct raft_node_status *raft, const Weir__ControllerControl *in,
                    struct session_call *call)
{
    const Weir__Address *address = in->address;
    if (address == NULL || address->host[0] == '\0' || strlen(address->host) >= HOST_BYTES / 2 ||
        strpbrk(address->host, " ,=") != NULL || address->port == 0 || address->port > UINT16_MAX) {
        session_reply_error(call, STATUS_INVALID, NULL,
                            "a new controller needs an address, host:port");
        return false;
    }
    for (uint32_t i = 0; i < raft->server_count; i++) {
        const struct raft_node_server *server = &raft->servers[i].server;
        bool same_place = strcmp(server->host, address->host) == 0 && server->port == address->port;
        if (server->id != in->id && same_place) {
            session_reply_error(call, STATUS_INVALID, NULL, "controller-%u is at %s:%u already",
                                server->id, server->host, (unsigned)server->port);
            return false;
        }
        if (server->id == in->id && !same_place) {
            session_reply_error(call, STATUS_INVALID, NULL,
                                "controller-%u is a member already, at %s:%u", server->id,
                                server->host, (unsigned)server->port);
            return false;
        }
    }
    return true;
}

/* False: answered. */
static bool may_remove(const struct raft_node_status *raft, const Weir__ControllerControl *in,
                       struct session_call *call)
{
    uint32_t before = 0, after = 0, there = 0;
    bool votes = false;
    for (uint32_t i = 0; i < raft->server_count; i++) {
        const struct raft_node_server_status *server = &raft->servers[i];
        if (!server->voter) {
            continue;
        }
        before++;
        if (server->server.id == in->id) {
            votes = true;
            continue;
        }
        after++;
        there += server->server.id == raft->id ||
                         (server->connected && server->match + MEMBER_LAG_MAX >= raft->last)
                     ? 1
                     : 0;
    }
    if (!votes) {
        return true; /* one that only learns, or is none */
    }
    if (after == 0) {
        session_reply_error(call, STATUS_IN_USE, NULL, "controller-%u is the only one", in->id);
        return false;
    }
    if (there * 2 <= after) {
        session_reply_error(call, STATUS_IN_USE, NULL,
                            "without controller-%u there would be %u controllers, of which %u are "
                            "there and have the log: that is no majority. Bring the others back "
                            "first",
                            in->id, after, there);
        return false;
    }
    if (after < MEMBERS_SAFE && before >= MEMBERS_SAFE && !in->force) {
        session_reply_error(call, STATUS_IN_USE, NULL,
                            "without controller-%u there would be %u controllers, none of which "
                            "may fail: replace it by another one, or add one first (--force "
                            "removes it all the same)",
                            in->id, after);
        return false;
    }
    return true;
}

static void refuse(struct controller *c, struct session_call *call, enum status status,
                   const Weir__ControllerControl *in)
{
    bool removes = in->action == WEIR__CONTROLLER_CONTROL__ACTION__REMOVE;
    if (status == STATUS_EXISTS || (status == STATUS_NOT_FOUND && removes)) {
        reply_empty(call); /* it is so already */
    } else if (status == STATUS_NOT_FOUND) {
        session_reply_error(call, status, NULL, "there is no controller-%u", in->id);
    } else if (status == STATUS_NOT_ACTIVE) {
        reply_not_active(c, call);
    } else if (status == STATUS_BUSY) {
        session_reply_error(call, status, NULL,
                            in->action == WEIR__CONTROLLER_CONTROL__ACTION__PROMOTE
                                ? "it does not have the log yet, or another change is under way"
                                : "another change is under way");
    } else if (status == STATUS_TOO_LARGE) {
        session_reply_error(call, status, NULL, "there are %d controllers, and no more may be",
                            RAFT_NODE_SERVERS_MAX);
    } else {
        session_reply_error(call, status, NULL, "%s", status_text(status));
    }
}

static void change(struct controller *c, struct session_call *call,
                   const Weir__ControllerControl *in)
{
    static const enum raft_change_kind kinds[] = {
        [WEIR__CONTROLLER_CONTROL__ACTION__ADD] = RAFT_CHANGE_ADD,
        [WEIR__CONTROLLER_CONTROL__ACTION__PROMOTE] = RAFT_CHANGE_PROMOTE,
        [WEIR__CONTROLLER_CONTROL__ACTION__REMOVE] = RAFT_CHANGE_REMOVE,
    };
    struct raft_node_change wanted = {.kind = kinds[in->action], .server = {.id = in->id}};
    if (in->address != NULL) {
        wanted.server.port = (uint16_t)in->address->port;
        memcpy(wanted.server.host, in->address->host, strlen(in->address->host) + 1);
    }
    struct member_call *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    m->controller = c;
    m->call = call;
    enum status status = raft_node_change(c->raft, &wanted, &m->request, change_done);
    if (status != STATUS_OK) {
        refuse(c, call, status, in);
        free(m);
    }
}

static void judge(struct controller *c, struct session_call *call,
                  const Weir__ControllerControl *in)
{
    struct raft_node_status raft;
    raft_node_status(c->raft, &raft);
    if (in->id == 0 || in->id > INT32_MAX / 10) {
        session_reply_error(call, STATUS_INVALID, NULL, "controllers count from 1");
        return;
    }
    if (in->action == WEIR__CONTROLLER_CONTROL__ACTION__ADD && !may_add(&raft, in, call)) {
        return;
    }
    if (in->action == WEIR__CONTROLLER_CONTROL__ACTION__REMOVE) {
        if (!may_remove(&raft, in, call)) {
            return;
        }
        if (in->id == c->options.id) {
            /* The next one does it; the caller finds it. */
            status_ignore(raft_node_transfer(c->raft, 0), "the caller asks again");
            session_reply_error(call, STATUS_NOT_ACTIVE, NULL,
                                "the active controller hands over first");
            return;
        }
    }
    if (in->action < WEIR__CONTROLLER_CONTROL__ACTION__ADD ||
        in->action > WEIR__CONTROLLER_CONTROL__ACTION__REMOVE) {
        session_reply_error(call, STATUS_UNSUPPORTED, NULL,
                            "this version does not know the change");
        return;
    }
    change(c, call, in);
}

void handle_controller_control(struct controller *c, struct client *client,
                               struct session_call *call)
{
    (void)client;
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    Weir__ControllerControl *in =
        weir__controller_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    judge(c, call, in);
    weir__controller_control__free_unpacked(in, NULL);
}

/* It tried to take part: it does not know. */
void members_refuse(struct controller *c, struct session *session)
{
    struct raft_node_status raft;
    raft_node_status(c->raft, &raft);
    Weir__Removed message;
    weir__removed__init(&message);
    message.index = raft.configuration;
    status_ignore(
        session_send(session, RPC_REMOVED, (struct session_payload){.body = &message.base}),
        "it tries again, and is told again");
}

struct session *members_session(void *data, uint32_t id)
{
    const struct controller *c = data;
    LIST_FOR_EACH (node, &c->clients) {
        struct session *session = CONTAINER_OF(node, struct client, node)->session;
        if (session_is_open(session) && session_peer(session)->role == RPC_ROLE_CONTROLLER &&
            session_peer(session)->id == id) {
            return session;
        }
    }
    return NULL;
}

/* ---- which commands all of them know ---- */

void members_gate_init(struct controller *c)
{
    uint32_t ids[RAFT_NODE_SERVERS_MAX];
    for (uint32_t i = 0; i < c->options.server_count; i++) {
        ids[i] = c->server[i].id;
    }
    gate_init(&c->gate, c->options.id);
    gate_follow(&c->gate, ids, c->options.server_count);
}

void members_heard(struct controller *c, const struct session *session)
{
    if (session_peer(session)->role == RPC_ROLE_CONTROLLER) {
        gate_heard(&c->gate, session_peer(session)->id, session_commands(session));
    }
}

static void follow(struct controller *c, const struct raft_node_status *raft)
{
    uint32_t ids[RAFT_NODE_SERVERS_MAX];
    for (uint32_t i = 0; i < raft->server_count; i++) {
        ids[i] = raft->servers[i].server.id;
    }
    gate_follow(&c->gate, ids, raft->server_count);
    LIST_FOR_EACH (node, &c->clients) { /* who joins was here before; the newest comes last */
        members_heard(c, CONTAINER_OF(node, struct client, node)->session);
    }
}

bool members_hold_back(struct controller *c, uint32_t version, char out[GATE_TEXT_BYTES])
{
    const struct gate_member *holder = gate_holder(&c->gate, version);
    if (holder != NULL) {
        gate_text(holder, out);
        if (holder->id != c->gate_told) {
            trace(TRACE_INFO, "upgrade", "what is new since then waits: %s", out);
        }
        c->gate_told = holder->id;
    } else if (c->gate_told != 0 && gate_holder(&c->gate, FORMAT_COMMAND) == NULL) {
        trace(TRACE_INFO, "upgrade", "every controller knows all that this one does");
        c->gate_told = 0;
    }
    return holder != NULL;
}

void members_changed(void *data)
{
    struct controller *c = data;
    struct watch_controller list[WATCH_CONTROLLERS_MAX];
    struct raft_node_status raft;
    size_t voters = 0;
    raft_node_status(c->raft, &raft);
    memset(list, 0, sizeof(list));
    for (uint32_t i = 0; i < raft.server_count; i++) {
        const struct raft_node_server *server = &raft.servers[i].server;
        voters += raft.servers[i].voter ? 1 : 0;
        list[i].id = server->id;
        list[i].port = server->port;
        (void)snprintf(list[i].name, sizeof(list[i].name), "controller-%u", server->id);
        (void)snprintf(list[i].host, sizeof(list[i].host), "%s", server->host);
    }
    watch_controllers_set(c->watch, list, raft.server_count);
    agreement_voters(&c->agreement, (uint32_t)voters);
    follow(c, &raft);
    c->image_changed = true;
    controller_wake(c);
}
