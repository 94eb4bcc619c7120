/* Changes of the configuration: who gets the log, and who votes. libraft appends and counts; what
 * it takes for granted is asked here. One voter is added or removed at a time, so that any majority
 * of the old set meets any majority of the new one (Raft dissertation, 4.1), and only once
 * something of the own term is committed: until then a change of an earlier leader may still win.
 */
#include <stdio.h>
#include <string.h>

#include "controller/raft/core.h"

enum {
    PROMOTE_LAG = 64,  /* entries */
    BARRIER_BYTES = 8, /* libraft's own no-op has as many */
    ADDRESS_BYTES = 32 + HOST_BYTES,
};

static const struct raft_server *server_of(const struct raft_core *core, uint32_t id)
{
    for (unsigned i = 0; i < core->raft.configuration.n; i++) {
        if (core->raft.configuration.servers[i].id == id) {
            return &core->raft.configuration.servers[i];
        }
    }
    return NULL;
}

/* The first controllers are "controller-2", and their addresses lie in each one's configuration;
 * those that came later bring theirs along. */
static int add_new(struct raft_configuration *to, const struct raft_node_server *server)
{
    char address[ADDRESS_BYTES];
    (void)snprintf(address, sizeof(address), "controller-%u %s:%u", server->id, server->host,
                   (unsigned)server->port);
    return raft_configuration_add(to, server->id, address, RAFT_STANDBY);
}

bool raft_core_address(const char *text, struct raft_node_server *out)
{
    const char *host = strchr(text, ' ');
    const char *colon = host == NULL ? NULL : strrchr(host, ':');
    if (colon == NULL || colon == host + 1 || (size_t)(colon - host - 1) >= sizeof(out->host)) {
        return false;
    }
    uint32_t port = 0;
    for (const char *digit = colon + 1; *digit != '\0'; digit++) {
        if (*digit < '0' || *digit > '9' || port > UINT16_MAX) {
            return false;
        }
        port = port * 10 + (uint32_t)(*digit - '0');
    }
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    memset(out->host, 0, sizeof(out->host));
    memcpy(out->host, host + 1, (size_t)(colon - host - 1));
    out->port = (uint16_t)port;
    return true;
}

static enum status check(const struct raft_core *core, const struct raft_node_change *change)
{
    const struct raft_server *server = server_of(core, change->server.id);
    raft_index match = 0;
    switch (change->kind) {
    case RAFT_CHANGE_ADD:
        return server != NULL                                        ? STATUS_EXISTS
               : core->raft.configuration.n == RAFT_NODE_SERVERS_MAX ? STATUS_TOO_LARGE
                                                                     : STATUS_OK;
    case RAFT_CHANGE_PROMOTE:
        if (server == NULL || server->role == RAFT_VOTER) {
            return server == NULL ? STATUS_NOT_FOUND : STATUS_EXISTS;
        }
        /* It must know that it is a member: a stranger does not vote. */
        return raft_match_index(&core->raft, change->server.id, &match) == 0 && match > 0 &&
                       match >= core->raft.configuration_committed_index &&
                       match + PROMOTE_LAG >= raft_core_last(core)
                   ? STATUS_OK
                   : STATUS_BUSY;
    case RAFT_CHANGE_REMOVE:
        return server == NULL                          ? STATUS_NOT_FOUND
               : change->server.id == core->options.id ? STATUS_INVALID
                                                       : STATUS_OK;
    }
    return STATUS_INVALID;
}

static int changed(const struct raft_core *core, const struct raft_node_change *change,
                   struct raft_configuration *out)
{
    int rv = 0;
    for (unsigned i = 0; rv == 0 && i < core->raft.configuration.n; i++) {
        const struct raft_server *server = &core->raft.configuration.servers[i];
        bool meant = server->id == change->server.id;
        if (meant && change->kind == RAFT_CHANGE_REMOVE) {
            continue;
        }
        rv = raft_configuration_add(
            out, server->id, server->address,
            meant && change->kind == RAFT_CHANGE_PROMOTE ? RAFT_VOTER : (int)server->role);
    }
    return rv == 0 && change->kind == RAFT_CHANGE_ADD ? add_new(out, &change->server) : rv;
}

/* Whether an entry of our term is committed; if not, one is written. */
static bool own_term(struct raft_core *core)
{
    if (raft_core_term_of(core, raft_commit_index(&core->raft)) == raft_current_term(&core->raft)) {
        return true;
    }
    void *batch = raft_calloc(1, BARRIER_BYTES);
    if (batch != NULL && raft_core_last(core) == raft_commit_index(&core->raft)) {
        status_ignore(raft_core_append(core, RAFT_BARRIER, batch, BARRIER_BYTES, NULL),
                      "the caller asks again");
    } else {
        raft_free(batch);
    }
    return false;
}

enum status raft_core_change(struct raft_core *core, uint64_t now,
                             const struct raft_node_change *change,
                             struct raft_node_request *request)
{
    if (!raft_core_is_active(core)) {
        return raft_core_alive(core) ? STATUS_NOT_ACTIVE : STATUS_UNAVAILABLE;
    }
    if (now > core->now) {
        core->now = now;
    }
    enum status status = check(core, change);
    if (status != STATUS_OK) {
        return status;
    }
    if (core->raft.configuration_uncommitted_index != 0 || raft_transferee(&core->raft) != 0 ||
        raft_core_last(core) - core->cursor >= RAFT_NODE_INFLIGHT_MAX || !own_term(core)) {
        return STATUS_BUSY;
    }
    struct raft_configuration configuration;
    struct raft_buffer encoded = {0};
    raft_configuration_init(&configuration);
    int rv = changed(core, change, &configuration);
    if (rv == 0) {
        rv = raft_configuration_encode(&configuration, &encoded);
    }
    raft_configuration_close(&configuration);
    if (rv != 0) {
        return rv == RAFT_NOMEM ? STATUS_NO_MEMORY : STATUS_INVALID;
    }
    if (encoded.len > sizeof(core->snapshot.configuration)) {
        raft_free(encoded.base);
        return STATUS_TOO_LARGE;
    }
    return raft_core_append(core, RAFT_CHANGE, encoded.base, encoded.len, request);
}
