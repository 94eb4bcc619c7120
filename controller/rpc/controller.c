/* The controller as a whole: its state machine for the Raft node, its sessions, its life. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uv.h>

#include "base/check.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"

enum { TEXT_BYTES = 64 };
uint64_t controller_now(const struct controller *controller)
{
    return net_now_ms(controller->options.loop);
}

void controller_wake(struct controller *controller)
{
    if (!controller->closing) {
        net_turn_schedule(controller->options.loop, &controller->turn);
    }
}

static void turn_fired(struct net_turn *turn)
{
    struct controller *c = CONTAINER_OF(turn, struct controller, turn);
    elections_flush(c);
    replicas_flush(c);
    if (c->active) {
        pipeline_flush(&c->pipeline);
    }
    if (c->image_changed) {
        watchers_flush(c);
    }
}

/* ---- the state machine of the Raft node
 * ------------------------------------------------------------ */

static enum status fsm_apply(void *data, const struct raft_node_command *command,
                             struct error *error)
{
    struct controller *c = data;
    struct command_results results;
    uint64_t before = db_meta(c->db)->applied_index;
    enum status status = command_apply(c->db, command->index, command->entry, &results, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct db_changes *changes = db_changes(c->db);
    status = watch_apply(c->watch, c->db, changes);
    if (status != STATUS_OK) {
        command_results_release(&results);
        return error_set(error, status, "the metadata image: %s", status_text(status));
    }
    if (c->active) {
        for (size_t i = 0; i < changes->shards.count; i++) {
            const struct db_shard *shard = watch_shard(c->watch, changes->shards.id[i]);
            if (shard != NULL) {
                elections_row(c, shard);
                reshards_row(c, shard);
            }
        }
        if (changes->shards.count > 0) {
            replicas_look_again(c);
        }
        if (changes->drops) {
            brokers_send_drops(c);
        }
        for (size_t i = 0; i < changes->streams.count; i++) {
            settle_changed(c, (uint32_t)changes->streams.id[i]);
        }
        leases_changed(c, changes);
    }
    if (db_changes_any(changes)) {
        c->image_changed = true;
        controller_wake(c);
    }
    db_changes_clear(changes);
    pipeline_applied(&c->pipeline, command->request, &results);
    command_results_release(&results);
    if (c->checkpoint == NULL && db_wal_pages(c->db) >= CHECKPOINT_PAGES) {
        checkpoint_start(c);
    }
    hashes_applied(c, before);
    return STATUS_OK;
}

/* On another thread: touches nothing but the path. */
static enum status fsm_snapshot(void *data, const char *path, uint64_t *out_index,
                                struct error *error)
{
    const struct controller *c = data;
    return db_copy(c->state_path, path, out_index, error);
}

static enum status fsm_restore(void *data, const char *path, uint64_t index, struct error *error)
{
    struct controller *c = data;
    enum status status = db_restore(c->db, path, error);
    if (status == STATUS_OK && db_meta(c->db)->applied_index < index) {
        status =
            error_set(error, STATUS_CORRUPT, "%s has index %llu, not %llu", path,
                      (unsigned long long)db_meta(c->db)->applied_index, (unsigned long long)index);
    }
    if (status == STATUS_OK) {
        status = watch_load(c->watch, c->db);
        trace(TRACE_INFO, "state", "restored from a snapshot at index %llu",
              (unsigned long long)db_meta(c->db)->applied_index);
        c->image_changed = true;
        controller_wake(c);
    }
    return status;
}

static void bootstrap(struct controller *c)
{
    Weir__CmdBootstrap first = WEIR__CMD_BOOTSTRAP__INIT;
    first.cluster = (ProtobufCBinaryData){.data = c->cluster, .len = CLUSTER_ID_BYTES};
    char account[TEXT_BYTES], region[TEXT_BYTES];
    const char *const given[] = {c->options.account_id, c->options.region};
    (void)snprintf(account, sizeof(account), "%s", given[0] == NULL ? "" : given[0]);
    (void)snprintf(region, sizeof(region), "%s", given[1] == NULL ? "" : given[1]);
    first.account_id = account;
    first.region = region;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_BOOTSTRAP;
    command.bootstrap = &first;
    command_of_ours(c, &command, 1);
}

static void fsm_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    struct controller *c = data;
    if (active && !c->active) {
        trace(TRACE_INFO, "controller", "active in term %llu", (unsigned long long)term);
    } else if (leader != c->leader && leader == 0) {
        trace(TRACE_INFO, "controller", "term %llu: nobody leads", (unsigned long long)term);
    } else if (leader != c->leader && leader != c->options.id) {
        trace(TRACE_INFO, "controller", "term %llu: controller-%u leads", (unsigned long long)term,
              leader);
    }
    c->leader = leader;
    if (active && !c->active) {
        c->active = true;
        c->counts.activations++;
        elections_activate(c);
        brokers_activate(c);
        reshards_activate(c);
        if (!db_meta(c->db)->has_cluster || watch_settings(c->watch)->region[0] == '\0') {
            bootstrap(c); /* also of a cluster that an older version made, without settings */
        }
        keys_activate(c);
        ring_activate(c);
        settle_activate(c);
        moves_activate(c);
        leases_activate(c);
        scaling_activate(c);
        balance_activate(c);
    } else if (!active && c->active) {
        c->active = false;
        brokers_deactivate(c);
        reshards_deactivate(c);
        moves_deactivate(c);
        leaders_deactivate(c);
        balance_deactivate(c);
        scaling_deactivate(c);
        leases_deactivate(c);
        elections_deactivate(c);
        net_timer_stop(c->options.loop, &c->settle_timer);
        pipeline_refuse(&c->pipeline, STATUS_NOT_ACTIVE, status_text(STATUS_NOT_ACTIVE));
    }
    /* A leader that is not ready yet would only say NOT_ACTIVE. */
    watch_active_set(c->watch, active || leader != c->options.id ? leader : 0);
    c->image_changed = true;
    controller_wake(c);
}

static void fsm_failed(void *data, const struct error *why)
{
    struct controller *c = data;
    c->active = false;
    c->options.failed(c->options.data, raft_node_exit_code(why->status), why);
}

static const struct raft_node_handlers fsm_handlers = {
    .apply = fsm_apply,
    .snapshot = fsm_snapshot,
    .restore = fsm_restore,
    .changed = fsm_changed,
    .configured = members_changed,
    .session = members_session,
    .failed = fsm_failed,
};

/* ---- sessions
 * -------------------------------------------------------------------------------------- */

/* A session's data is the controller's `nobody` until it is open, and its client from then on. */
static void on_opened(struct session *session)
{
    struct controller *c = ((struct client *)session_data(session))->controller;
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        session_close(session, STATUS_NO_MEMORY, "the controller is out of memory");
        return;
    }
    client->controller = c;
    client->session = session;
    list_push(&c->clients, &client->node);
    session_set_data(session, client);
    members_heard(c, session);
}

static void on_closed(struct session *session, const struct error *why)
{
    (void)why;
    struct client *client = session_data(session);
    if (client->session == NULL) {
        return;
    }
    list_remove(&client->node);
    if (!client->controller->closing) {
        brokers_session_lost(client->controller, client);
    }
    free(client);
}

static void on_called(struct session *session, struct session_call *call)
{
    static const struct {
        enum rpc_method method;
        void (*handle)(struct controller *c, struct client *client, struct session_call *call);
    } table[] = {
        {RPC_REGISTER_BROKER,    handle_register          },
        {RPC_WATCH,              handle_watch             },
        {RPC_CREATE_STREAM,      handle_create_stream     },
        {RPC_DELETE_STREAM,      handle_delete_stream     },
        {RPC_GET_METADATA,       handle_get_metadata      },
        {RPC_ALLOCATE_PRODUCERS, handle_allocate_producers},
        {RPC_CLUSTER_STATUS,     handle_cluster_status    },
        {RPC_CLUSTER_TIME,       handle_cluster_time      },
        {RPC_CONTROLLER_CONTROL, handle_controller_control},
        {RPC_BACKUP,             handle_backup            },
        {RPC_CHANGE_RETENTION,   handle_change_retention  },
        {RPC_RESHARD,            handle_reshard           },
        {RPC_STREAM_CONTROL,     handle_stream_control    },
        {RPC_FORCE_RECOVER,      handle_force_recover     },
        {RPC_BROKER_CONTROL,     handle_broker_control    },
        {RPC_LEADER_CONTROL,     handle_leader_control    },
        {RPC_MOVES_STATUS,       handle_moves_status      },
        {RPC_BALANCE_CONTROL,    handle_balance_control   },
        {RPC_BALANCE_STATUS,     handle_balance_status    },
        {RPC_BROKER_LOAD,        handle_broker_load       },
        {RPC_HELD_SHARDS,        handle_held_shards       },
        {RPC_KEY_CONTROL,        handle_key_control       },
        {RPC_SIGNING_KEYS,       handle_signing_keys      },
        {RPC_LEASE_SYNC,         handle_lease_sync        },
        {RPC_LEASE_CHECKPOINT,   handle_lease_checkpoint  },
        {RPC_APP_CONTROL,        handle_app_control       },
        {RPC_RING_CONTROL,       handle_ring_control      },
        {RPC_DATA_KEYS,          handle_data_keys         },
    };
    struct client *client = session_data(session);
    if (client->controller->closing) {
        session_reply_error(call, STATUS_CLOSING, NULL, "the controller is closing");
        return;
    }
    if (process_called(&client->controller->process, call)) {
        return;
    }
    for (size_t i = 0; client->session != NULL && i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].method == call->method) {
            table[i].handle(client->controller, client, call);
            return;
        }
    }
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "controllers do not serve %s",
                        rpc_method_name(call->method));
}

static void on_messaged(struct session *session, enum rpc_method method, struct bytes body,
                        struct bytes attachment)
{
    static const struct {
        enum rpc_method method;
        enum status (*handle)(struct controller *c, struct client *client, struct bytes body);
    } table[] = {
        {RPC_BROKER_BEAT,    handle_beat          },
        {RPC_FENCE_REPORT,   handle_fence_report  },
        {RPC_LEADING,        handle_leading       },
        {RPC_LEARNED,        handle_learned       },
        {RPC_RESIGN,         handle_resign        },
        {RPC_SHARDS_DROPPED, handle_shards_dropped},
        {RPC_SHARDS_SEALED,  handle_shards_sealed },
        {RPC_STATE_HASH,     handle_state_hash    },
        {RPC_SHARD_LOADS,    handle_shard_loads   },
    };
    struct client *client = session_data(session);
    enum status status = STATUS_UNSUPPORTED;
    if (client->session == NULL || client->controller->closing) {
        return;
    }
    if (method == RPC_RAFT) {
        status = raft_node_receive(client->controller->raft, session_peer(session)->id, body,
                                   attachment);
        if (status == STATUS_NOT_FOUND) {
            members_refuse(client->controller, session);
            return;
        }
    }
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].method == method) {
            status = table[i].handle(client->controller, client, body);
        }
    }
    if (status != STATUS_OK) {
        char text[ERROR_TEXT_BYTES];
        (void)snprintf(text, sizeof(text), "a message %s that controllers do not understand",
                       rpc_method_name(method));
        session_close(session, status, text);
    }
}

static const struct session_handlers session_handlers_of_ours = {
    .opened = on_opened,
    .called = on_called,
    .messaged = on_messaged,
    .closed = on_closed,
};

/* ---- life
 * ------------------------------------------------------------------------------------------ */

static void set_defaults(struct controller_options *options)
{
    static const struct {
        size_t offset;
        uint32_t value;
    } defaults[] = {
        {offsetof(struct controller_options, moves_at_once),      CONTROLLER_MOVES_AT_ONCE    },
        {offsetof(struct controller_options, connections_max),    CONTROLLER_CONNECTIONS_MAX  },
        {offsetof(struct controller_options, beat_every_ms),      CONTROLLER_BEAT_EVERY_MS    },
        {offsetof(struct controller_options, broker_timeout_ms),  CONTROLLER_BROKER_TIMEOUT_MS},
        {offsetof(struct controller_options, session_grace_ms),   CONTROLLER_SESSION_GRACE_MS },
        {offsetof(struct controller_options, lease_term_ms),      LEASE_TERM_MS               },
        {offsetof(struct controller_options, lease_hand_over_ms), LEASE_HAND_OVER_MS          },
        {offsetof(struct controller_options, compare_entries),    CONTROLLER_COMPARE_ENTRIES  },
    };
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        uint32_t *field = (uint32_t *)(void *)((char *)options + defaults[i].offset);
        *field = *field == 0 ? defaults[i].value : *field;
    }
    if (options->replace_after_ms == 0) {
        options->replace_after_ms = CONTROLLER_REPLACE_AFTER_MS;
    }
    if (options->scaling.window_ms == 0) {
        options->scaling = (struct scaling_config){.window_ms = CONTROLLER_SCALING_WINDOW_MS,
                                                   .idle_ms = CONTROLLER_SCALING_IDLE_MS,
                                                   .cooldown_ms = CONTROLLER_SCALING_COOLDOWN_MS,
                                                   .shards_max = SCALING_SHARDS_MAX};
    }
}

static void fill_controllers(struct controller *c)
{
    struct watch_controller list[WATCH_CONTROLLERS_MAX];
    memset(list, 0, sizeof(list));
    for (uint32_t i = 0; i < c->options.server_count; i++) {
        list[i].id = c->server[i].id;
        list[i].port = c->server[i].port;
        (void)snprintf(list[i].name, sizeof(list[i].name), "controller-%u", c->server[i].id);
        (void)snprintf(list[i].host, sizeof(list[i].host), "%s", c->server[i].host);
    }
    watch_controllers_set(c->watch, list, c->options.server_count);
}

struct controller *controller_new(const struct controller_options *options)
{
    CHECK(options->server_count <= RAFT_NODE_SERVERS_MAX);
    struct controller *c = calloc(1, sizeof(*c));
    size_t size = strlen(options->dir) + sizeof("/state.db");
    if (c == NULL) {
        return NULL;
    }
    c->options = *options;
    set_defaults(&c->options);
    memcpy(c->server, options->servers, options->server_count * sizeof(*options->servers));
    c->options.servers = c->server;
    memcpy(c->cluster, net_tls_identity(options->tls)->cluster, CLUSTER_ID_BYTES);
    c->nobody.controller = c;
    list_init(&c->clients);
    list_init(&c->watchers);
    list_init(&c->leader_calls);
    list_init(&c->lease_joins);
    net_turn_init(&c->turn, turn_fired);
    members_gate_init(c);
    pipeline_init(&c->pipeline, &c->gate);
    liveness_init(&c->liveness, c->options.broker_timeout_ms, c->options.session_grace_ms);
    c->state_path = malloc(size);
    c->watch = watch_new();
    c->election = election_new();
    c->leases = leases_new(&(struct lease_limits){.term_ms = c->options.lease_term_ms,
                                                  .hand_over_ms = c->options.lease_hand_over_ms,
                                                  .moves = c->options.lease_moves});
    c->scaling = scaling_new(&c->options.scaling);
    if (c->state_path == NULL || c->scaling == NULL || c->watch == NULL || c->election == NULL ||
        c->leases == NULL || !balance_open(c)) {
        controller_close(c);
        controller_free(c);
        return NULL;
    }
    (void)snprintf(c->state_path, size, "%s/state.db", options->dir);
    fill_controllers(c);
    return c;
}

static enum status open_state(struct controller *c, struct error *error)
{
    enum status status = db_open(c->state_path, &c->db, error);
    if (status == STATUS_OK) {
        status = watch_load(c->watch, c->db);
    }
    if (status == STATUS_OK && db_meta(c->db)->has_cluster &&
        memcmp(db_meta(c->db)->cluster, c->cluster, CLUSTER_ID_BYTES) != 0) {
        char theirs[CLUSTER_ID_TEXT_BYTES];
        rpc_cluster_id_format(db_meta(c->db)->cluster, theirs);
        status = error_set(error, STATUS_WRONG_CLUSTER,
                           "%s belongs to cluster %s, our certificate to another one",
                           c->state_path, theirs);
    }
    return status;
}

static enum status open_raft(struct controller *c, struct error *error)
{
    const struct controller_options *o = &c->options;
    struct raft_node_options options = {
        .loop = o->loop,
        .tls = o->tls,
        .boot = o->boot,
        .id = o->id,
        .servers = o->servers,
        .server_count = o->server_count,
        .join = o->join,
        .restored = o->restored,
        .dir = o->dir,
        .applied = db_meta(c->db)->applied_index,
        .election_ms = o->election_ms,
        .heartbeat_ms = o->heartbeat_ms,
        .snapshot_entries = o->snapshot_entries,
        .snapshot_bytes = o->snapshot_bytes,
        .trailing_entries = o->trailing_entries,
        .handlers = &fsm_handlers,
        .data = c,
    };
    enum status status = raft_node_open(&options, &c->raft, error);
    c->pipeline.raft = c->raft;
    return status;
}

static enum status open_listener(struct controller *c, struct error *error)
{
    const struct controller_options *o = &c->options;
    struct session_options options = {.loop = o->loop,
                                      .tls = o->tls,
                                      .boot = o->boot,
                                      .handlers = &session_handlers_of_ours,
                                      .data = &c->nobody};
    const struct net_source_limits limits = {.connections = o->source_connections,
                                             .handshakes = o->source_handshakes};
    enum status status =
        net_listener_open(&options, o->host, o->port, o->connections_max, &c->listener, error);
    if (status == STATUS_OK && net_listener_limit(c->listener, &limits) != STATUS_OK) {
        status = error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    return status;
}

enum status controller_open(struct controller *c, struct error *error)
{
    enum status status = hashes_open(c, error);
    if (status == STATUS_OK) {
        status = open_state(c, error);
    }
    if (status == STATUS_OK) {
        status = open_raft(c, error);
    }
    if (status == STATUS_OK) {
        status = open_listener(c, error);
    }
    if (status == STATUS_OK) {
        status = observe_open(c, error);
    }
    if (status == STATUS_OK) {
        status = raft_node_start(c->raft, error);
    }
    return status;
}

bool controller_retire(struct controller *c)
{
    return c->active && raft_node_transfer(c->raft, 0) == STATUS_OK;
}

bool controller_is_active(const struct controller *c)
{
    return c->active;
}

void controller_close(struct controller *c)
{
    while (c->checkpoint != NULL || c->hash_job != NULL || backup_under_way(c)) {
        (void)uv_run(net_loop_uv(c->options.loop), UV_RUN_ONCE);
    }
    c->closing = true;
    c->active = false;
    net_turn_cancel(&c->turn);
    process_close(&c->process);
    net_timer_stop(c->options.loop, &c->liveness_timer);
    net_timer_stop(c->options.loop, &c->fitness_timer);
    net_timer_stop(c->options.loop, &c->election_timer);
    net_timer_stop(c->options.loop, &c->drops_timer);
    net_timer_stop(c->options.loop, &c->ahead_timer);
    net_timer_stop(c->options.loop, &c->lease_timer);
    net_timer_stop(c->options.loop, &c->replicas_timer);
    reshards_deactivate(c);
    moves_deactivate(c);
    leaders_deactivate(c);
    balance_deactivate(c);
    net_timer_stop(c->options.loop, &c->scaling_timer);
    net_timer_stop(c->options.loop, &c->settle_timer);
    net_timer_stop(c->options.loop, &c->hashes_timer);
    watchers_close(c);
    if (c->raft != NULL) {
        raft_node_close(c->raft);
    }
    backup_release(c);
    pipeline_release(&c->pipeline);
    net_listener_close(c->listener);
    db_close(c->db);
    c->raft = NULL;
    c->db = NULL;
}

void controller_free(struct controller *c)
{
    if (c == NULL) {
        return;
    }
    CHECK(c->closing);
    CHECK(list_empty(&c->clients));
    watch_free(c->watch);
    election_free(c->election);
    scaling_free(c->scaling);
    balance_close(c);
    election_effects_release(&c->effects);
    leases_free(c->leases);
    lease_effects_release(&c->lease_effects);
    buf_release(&c->made);
    liveness_release(&c->liveness);
    fitness_release(&c->fitness);
    free(c->state_path);
    free(c);
}
