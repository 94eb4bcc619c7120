/* weir-controller: reads its configuration, claims its directory, serves until SIGTERM or SIGINT.
 *
 * Exit codes: 0 after a signal, 1 when it could not start, RAFT_NODE_EXIT_RETRY (75) and
 * RAFT_NODE_EXIT_REPLACE (76) when it must not go on. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/trace.h"
#include "controller/rpc/rpc.h"
#include "controller/secret/secret.h"
#include "controller/server/server.h"
#include "proto/net/net.h"

enum { RETIRE_MS = 500, RETIRE_POLL_MS = 5, SIGNALS = 3 };

struct server {
    struct server_config config;
    struct raft_node_server list[RAFT_NODE_SERVERS_MAX];
    uint32_t list_count;
    struct net_loop *loop;
    struct net_tls *tls;
    struct secret_ring *secrets; /* NULL: no cluster key was given */
    struct controller *controller;
    uint64_t boot;
    uv_signal_t signal[SIGNALS];
    struct net_reload reload;
    struct raft_node_restored restored;
    struct net_timer retire_timer;
    uint64_t retire_until_ms;
};

/* ---- ending
 * ---------------------------------------------------------------------------------------- */

static void retire_fired(struct net_timer *timer)
{
    struct server *server = CONTAINER_OF(timer, struct server, retire_timer);
    uint64_t now = net_now_ms(server->loop);
    if (now >= server->retire_until_ms || !controller_is_active(server->controller) ||
        net_timer_start(server->loop, timer, now + RETIRE_POLL_MS, retire_fired) != STATUS_OK) {
        net_loop_stop(server->loop);
    }
}

static void on_hang_up(struct server *server)
{
    struct error error;
    net_reload_now(&server->reload);
    if (server_config_reload_log(&error) != STATUS_OK) {
        trace(TRACE_ERROR, "server", "SIGHUP: nothing changes: %s", error.text);
    } else {
        trace(TRACE_WARNING, "server", "SIGHUP: log-level and log-format are read again");
    }
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    if (number == SIGHUP) {
        on_hang_up(server);
        return;
    }
    trace(TRACE_INFO, "server", "%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (server->retire_until_ms == 0 && controller_retire(server->controller)) {
        server->retire_until_ms = net_now_ms(server->loop) + RETIRE_MS;
        retire_fired(&server->retire_timer);
        return;
    }
    net_loop_stop(server->loop);
}

/* What is in memory must not be served any more, nor written: the process ends as it stands. */
static void on_failed(void *data, int exit_code, const struct error *why)
{
    (void)data;
    trace(TRACE_ERROR, "server", "%s: %s", status_name(why->status), why->text);
    _exit(exit_code);
}

static bool start_signals(struct server *server)
{
    static const int numbers[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < SIGNALS; i++) {
        server->signal[i].data = server;
        if (uv_signal_init(net_loop_uv(server->loop), &server->signal[i]) != 0 ||
            uv_signal_start(&server->signal[i], on_signal, numbers[i]) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- starting
 * -------------------------------------------------------------------------------------- */

static const struct raft_node_server *self_in_list(const struct server *server)
{
    for (uint32_t i = 0; i < server->list_count; i++) {
        if (server->list[i].id == server->config.id) {
            return &server->list[i];
        }
    }
    return NULL;
}

static enum status check_certificate(const struct server *server, struct error *error)
{
    const struct rpc_identity *who = net_tls_identity(server->tls);
    if (who->role != RPC_ROLE_CONTROLLER || who->id != server->config.id) {
        return error_set(error, STATUS_WRONG_IDENTITY,
                         "%s: the certificate is of the %s '%s', not of controller-%u",
                         server->config.cert_file, rpc_role_name(who->role), who->name,
                         server->config.id);
    }
    return STATUS_OK;
}

static enum status open_controller(struct server *server, struct error *error)
{
    const struct server_config *config = &server->config;
    const struct raft_node_server *self = self_in_list(server);
    const struct controller_options options = {
        .loop = server->loop,
        .tls = server->tls,
        .secrets = server->secrets,
        .account_id = config->account_id,
        .region = config->region,
        .boot = server->boot,
        .id = config->id,
        .dir = config->data_dir,
        .host = config->listen_host,
        .port = config->listen_port != 0 ? config->listen_port : self->port,
        .connections_max = config->connections_max,
        .source_connections = config->source_connections,
        .source_handshakes = config->source_handshakes,
        .servers = server->list,
        .server_count = server->list_count,
        .join = config->join,
        .restored = server->restored,
        .beat_every_ms = (uint32_t)config->beat_every_ms,
        .lease_term_ms = (uint32_t)config->lease_term_ms,
        .lease_hand_over_ms = (uint32_t)config->lease_hand_over_ms,
        .lease_moves = config->lease_moves,
        .replace_after_ms = config->replace_after_ms,
        .moves_at_once = config->moves_at_once,
        .broker_timeout_ms = (uint32_t)config->broker_timeout_ms,
        .session_grace_ms = (uint32_t)config->session_grace_ms,
        .election_ms = (uint32_t)config->election_timeout_ms,
        .heartbeat_ms = (uint32_t)config->heartbeat_ms,
        .snapshot_entries = config->snapshot_entries,
        .snapshot_bytes = (uint32_t)config->snapshot_bytes,
        .trailing_entries = config->trailing_entries,
        .compare_entries = config->compare_entries,
        .scaling = {.window_ms = config->scaling_window_ms,
                    .idle_ms = config->scaling_idle_ms,
                    .cooldown_ms = config->scaling_cooldown_ms,
                    .shards_max = config->scaling_shards_max},
        .metrics_listen = config->metrics_listen,
        .spec = server_config_spec(),
        .config = config,
        .failed = on_failed,
        .data = server,
    };
    server->controller = controller_new(&options);
    if (server->controller == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = controller_open(server->controller, error);
    if (status == STATUS_OK) {
        trace(TRACE_INFO, "server", "ready: controller-%u serves on %s:%u, boot %llu", config->id,
              options.host, (unsigned)options.port, (unsigned long long)server->boot);
    }
    return status;
}

static enum status start(struct server *server, struct error *error)
{
    const struct server_config *config = &server->config;
    enum status status =
        server_list_read(config->controllers, server->list, &server->list_count, error);
    if (status != STATUS_OK) {
        return status;
    }
    if (self_in_list(server) == NULL) {
        return error_set(error, STATUS_INVALID, "controllers: the list has no controller %u, us",
                         config->id);
    }
    status =
        net_tls_open(config->ca_file, config->cert_file, config->key_file, &server->tls, error);
    if (status == STATUS_OK) {
        status = check_certificate(server, error);
    }
    if (status == STATUS_OK) {
        status = server_directory_open(config->data_dir, net_tls_identity(server->tls)->cluster,
                                       config->id, &server->boot, error);
    }
    if (status == STATUS_OK && config->restore_file[0] != '\0') {
        status = server_restore(config->restore_file, config->data_dir,
                                net_tls_identity(server->tls)->cluster, &server->restored, error);
    }
    if (status == STATUS_OK) {
        status = secret_ring_open(config->cluster_key_file, net_tls_identity(server->tls)->cluster,
                                  &server->secrets, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    server->loop = net_loop_new(NULL);
    if (server->loop == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    net_reload_add(&server->reload, server->tls);
    status =
        net_reload_start(&server->reload, server->loop, (uint32_t)config->certificate_check_ms);
    return status == STATUS_OK ? open_controller(server, error)
                               : error_set(error, status, "out of memory");
}

static void end(struct server *server)
{
    if (server->controller != NULL) {
        controller_close(server->controller);
    }
    net_loop_free(server->loop);
    controller_free(server->controller);
    net_tls_close(server->tls);
    secret_ring_free(server->secrets);
    server_config_release(&server->config);
}

int main(int argc, char **argv)
{
    struct server server = {0};
    struct error error = {0};
    bool exit_now = false;
    enum status status = server_config_load(argc, argv, &server.config, &exit_now, &error);
    if (status == STATUS_OK && exit_now) {
        return EXIT_SUCCESS;
    }
    if (status == STATUS_OK) {
        status = start(&server, &error);
    }
    if (status == STATUS_OK && !start_signals(&server)) {
        status = error_set(&error, STATUS_INTERNAL, "cannot wait for signals");
    }
    if (status != STATUS_OK) {
        (void)fprintf(stderr, "weir-controller: %s\n", error.text);
        /* No clean-up: whatever failed to start leaves nothing that needs it. */
        _exit(status == STATUS_CORRUPT ? RAFT_NODE_EXIT_REPLACE : EXIT_FAILURE);
    }
    net_loop_run(server.loop);
    net_reload_stop(&server.reload);
    for (size_t i = 0; i < SIGNALS; i++) {
        uv_close((uv_handle_t *)&server.signal[i], NULL);
    }
    net_timer_stop(server.loop, &server.retire_timer);
    end(&server);
    return EXIT_SUCCESS;
}
