/* CLUSTER_STATUS: what this controller knows of the cluster. Only the active one knows of sessions
 * and beats, so the others point to it; while there is none, anybody answers what it has. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/rpc/internal.h"

struct controller_message {
    Weir__ControllerStatus status;
    Weir__Address address;
    char name[NODE_NAME_BYTES], host[HOST_BYTES], state[16], software[64];
};

struct broker_message {
    Weir__BrokerStatus status;
    Weir__BrokerInfo info;
    Weir__Address address;
    char name[NODE_NAME_BYTES], zone[ZONE_BYTES], host[HOST_BYTES], disk_state[16], software[64];
    char unfit[16];
};

static void fill_controller(const struct controller *c, struct controller_message *out,
                            const struct raft_node_status *raft,
                            const struct raft_node_server_status *server)
{
    bool self = server->server.id == raft->id;
    weir__controller_status__init(&out->status);
    weir__address__init(&out->address);
    (void)snprintf(out->name, sizeof(out->name), "controller-%u", server->server.id);
    (void)snprintf(out->host, sizeof(out->host), "%s", server->server.host);
    const char *state = self                 ? (raft->active ? "active" : raft->state)
                        : !server->connected ? "unreachable"
                        : server->server.id == raft->leader ? "active"
                                                            : "follower";
    (void)snprintf(out->state, sizeof(out->state), "%s", state);
    out->address.host = out->host;
    out->address.port = server->server.port;
    out->status.id = server->server.id;
    out->status.name = out->name;
    out->status.address = &out->address;
    out->status.state = out->state;
    out->status.match_index = server->match;
    out->status.voter = server->voter;
    (void)snprintf(out->software, sizeof(out->software), "%s",
                   self ? WEIR_SOFTWARE : server->software);
    out->status.software = out->software;
    out->status.protocol = server->protocol;
    bool differs = false;
    out->status.compared_index = agreement_with(&c->agreement, server->server.id, &differs);
    out->status.differs = differs;
    if (self) {
        out->status.term = raft->term;
        out->status.last_index = raft->last;
        out->status.commit_index = raft->commit;
        out->status.applied_index = raft->applied;
        out->status.match_index = raft->stored;
    }
}

static void fill_info(struct broker_message *out, const struct db_broker *row)
{
    weir__broker_info__init(&out->info);
    weir__address__init(&out->address);
    (void)snprintf(out->name, sizeof(out->name), "broker-%u", row->id);
    (void)snprintf(out->zone, sizeof(out->zone), "%s", row->zone);
    (void)snprintf(out->host, sizeof(out->host), "%s", row->host);
    out->address.host = out->host;
    out->address.port = row->port;
    out->info.id = row->id;
    out->info.name = out->name;
    out->info.zone = out->zone;
    out->info.address = &out->address;
    out->info.boot = row->boot;
    out->info.disk_gen = row->disk_gen;
    out->info.alive = row->alive;
}

static void fill_broker(const struct controller *c, struct broker_message *out,
                        const struct db_broker *row)
{
    fill_info(out, row);
    weir__broker_status__init(&out->status);
    out->status.info = &out->info;
    out->status.disk_state = out->disk_state;
    out->status.unfit = out->unfit;
    out->status.software = out->software;
    const struct liveness_broker *live = liveness_get(&c->liveness, row->id);
    const struct client *client = brokers_client(c, row->id);
    if (live != NULL) {
        out->status.held = live->held;
        out->status.isolated_ms =
            live->isolated_ms == 0 || live->dead ? 0 : controller_now(c) - live->isolated_ms + 1;
        out->status.beat_age_ms = controller_now(c) - live->beat_ms;
    }
    if (client != NULL) {
        out->status.session = true;
        out->status.protocol = session_protocol(client->session);
        (void)snprintf(out->software, sizeof(out->software), "%s",
                       session_software(client->session));
        (void)snprintf(out->unfit, sizeof(out->unfit), "%s",
                       fitness_text(fitness_of(&c->fitness, row->id)));
        out->status.clock_offset_ms = client->clock_offset_ms;
        out->status.sync_us = client->sync_us;
        out->status.stall_us = client->stall_us;
        out->status.replicas = client->replicas;
        out->status.leaders = client->leaders;
        out->status.unlisted = client->unlisted;
        out->status.quarantined = client->quarantined;
        out->status.reclaimed = client->reclaimed;
        out->status.holes = client->damage.holes;
        out->status.damage_found = client->damage.found;
        out->status.damage_repaired = client->damage.repaired;
        out->status.segments_differ = client->damage.differ;
        out->status.scrub_passes = client->damage.scrub_passes;
        out->status.scrub_finished_ms = client->damage.scrub_finished_ms;
        out->status.scrub_permille = client->damage.scrub_permille;
        out->status.scrub_late = client->damage.scrub_late;
        out->status.disk_bytes = client->disk_bytes;
        out->status.disk_free_bytes = client->disk_free_bytes;
        (void)snprintf(out->disk_state, sizeof(out->disk_state), "%s", client->disk_state);
    }
}

static void count_shards(const struct controller *c, Weir__ClusterStatus *out)
{
    size_t streams = 0, shards = 0;
    (void)watch_streams(c->watch, &streams);
    const struct db_shard *shard = watch_shards(c->watch, &shards);
    out->streams = (uint32_t)streams;
    for (size_t i = 0; i < shards; i++) {
        bool wanted = shard[i].phase != DB_SHARD_DELETED;
        out->shards += wanted ? 1 : 0;
        out->shards_without_leader += wanted && shard[i].leader.broker == 0 ? 1 : 0;
    }
}

struct status_message {
    Weir__ClusterStatus status;
    struct raft_node_status raft;
    struct controller_message controller[RAFT_NODE_SERVERS_MAX];
    Weir__ControllerStatus *controllers[RAFT_NODE_SERVERS_MAX];
    struct broker_message *broker;
    Weir__BrokerStatus **brokers;
};

static enum status fill(const struct controller *c, struct status_message *out)
{
    size_t count = 0;
    const struct db_broker *rows = watch_brokers(c->watch, &count);
    out->broker = calloc(count + 1, sizeof(*out->broker));
    out->brokers = calloc(count + 1, sizeof(*out->brokers));
    if (out->broker == NULL || out->brokers == NULL) {
        return STATUS_NO_MEMORY;
    }
    weir__cluster_status__init(&out->status);
    raft_node_status(c->raft, &out->raft);
    for (uint32_t i = 0; i < out->raft.server_count; i++) {
        fill_controller(c, &out->controller[i], &out->raft, &out->raft.servers[i]);
        out->controllers[i] = &out->controller[i].status;
    }
    for (size_t i = 0; i < count; i++) {
        fill_broker(c, &out->broker[i], &rows[i]);
        out->brokers[i] = &out->broker[i].status;
    }
    out->status.version = watch_version(c->watch);
    out->status.active_controller = c->active ? c->options.id : 0;
    out->status.n_controllers = out->raft.server_count;
    out->status.controllers = out->controllers;
    out->status.n_brokers = count;
    out->status.brokers = out->brokers;
    count_shards(c, &out->status);
    return STATUS_OK;
}

void handle_cluster_status(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    if (!c->active && c->leader != 0 && c->leader != c->options.id) {
        reply_not_active(c, call);
        return;
    }
    uint8_t cluster[CLUSTER_ID_BYTES];
    char software[] = WEIR_SOFTWARE;
    struct status_message *message = calloc(1, sizeof(*message));
    enum status status = message == NULL ? STATUS_NO_MEMORY : fill(c, message);
    if (status == STATUS_OK) {
        memcpy(cluster, c->cluster, sizeof(cluster));
        message->status.cluster = (ProtobufCBinaryData){.data = cluster, .len = sizeof(cluster)};
        message->status.software = software;
        reply_message(call, &message->status.base);
    } else {
        session_reply_error(call, status, NULL, "the controller is out of memory");
    }
    if (message != NULL) {
        free(message->broker);
        free(message->brokers);
        free(message);
    }
}
