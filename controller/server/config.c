#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/config.h"
#include "controller/server/server.h"
#include "proto/net/process_config.h"

#define KEY(name, type, field, fallback, help)                            \
    {                                                                     \
        name, type, offsetof(struct server_config, field), fallback, help \
    }

static const struct config_key keys[] = {
    KEY("id", CONFIG_U32, id, NULL,
        "number of this controller; its certificate names controller-ID"),
    KEY("data-dir", CONFIG_STRING, data_dir, NULL,
        "directory of the log and the state; made when missing, its parent must exist"),
    KEY("controllers", CONFIG_STRING, controllers, NULL,
        "all controllers, this one included, as others reach them: 1=host:port,2=host:port,3=..."),
    KEY("join", CONFIG_BOOL, join, "false",
        "an empty data directory waits until weirctl controller add takes it in, instead of "
        "beginning a new cluster"),
    KEY("restore-file", CONFIG_STRING, restore_file, "",
        "an empty data directory begins with this backup; the same on all controllers"),
    KEY("listen-host", CONFIG_STRING, listen_host, "0.0.0.0", "address to listen on"),
    KEY("listen-port", CONFIG_PORT, listen_port, "0",
        "port to listen on; 0: the port of this controller in the list of controllers"),
    KEY("ca-file", CONFIG_STRING, ca_file, NULL, "PEM: the authority that signs the cluster"),
    KEY("cert-file", CONFIG_STRING, cert_file, NULL, "PEM: this controller's certificate"),
    KEY("key-file", CONFIG_STRING, key_file, NULL, "PEM: its key"),
    KEY("certificate-check", CONFIG_DURATION, certificate_check_ms, "1m",
        "how often these files are looked at, and read again when they have changed; 0ms: only on "
        "SIGHUP"),
    KEY("cluster-key-file", CONFIG_STRING, cluster_key_file, "",
        "keys that encrypt secrets in the state: 64 hex digits a line, the first encrypts, all "
        "decrypt; the same on all controllers; without it there are no access keys"),
    KEY("account-id", CONFIG_STRING, account_id, "000000000000",
        "12 digits, the account in the cluster's ARNs; counts when the cluster is made"),
    KEY("region", CONFIG_STRING, region, "us-east-1",
        "the region in ARNs and signatures; counts when the cluster is made"),
    KEY("connections-max", CONFIG_U32, connections_max, "4096", "connections served at a time"),
    KEY("source-connections", CONFIG_U32, source_connections, "512",
        "of these, connections from one address (IPv6: one /64); 0: no limit"),
    KEY("source-handshakes", CONFIG_U32, source_handshakes, "100",
        "new connections a second from one address, 5 seconds' worth at once; 0: no limit"),
    KEY("broker-timeout", CONFIG_DURATION, broker_timeout_ms, "1s",
        "a broker whose beats stop for so long is dead"),
    KEY("session-grace", CONFIG_DURATION, session_grace_ms, "300ms",
        "a broker that lost its connection and is not back after so long is dead"),
    KEY("beat-every", CONFIG_DURATION, beat_every_ms, "100ms", "how often brokers are to beat"),
    KEY("election-timeout", CONFIG_DURATION, election_timeout_ms, "500ms",
        "controllers elect another active one after so long without its heartbeats"),
    KEY("heartbeat", CONFIG_DURATION, heartbeat_ms, "50ms", "between controllers"),
    KEY("snapshot-entries", CONFIG_U32, snapshot_entries, "20000",
        "log entries after which the state is copied and the log is cut"),
    KEY("snapshot-bytes", CONFIG_BYTES, snapshot_bytes, "64MiB",
        "log bytes after which the state is copied and the log is cut"),
    KEY("trailing-entries", CONFIG_U32, trailing_entries, "5000",
        "log entries kept behind a snapshot for controllers that lag"),
    KEY("scaling-window", CONFIG_DURATION, scaling_window_ms, "1m",
        "a shard of an on-demand stream is split after half of its capacity was used for so long"),
    KEY("scaling-idle", CONFIG_DURATION, scaling_idle_ms, "6h",
        "neighbours are merged that together used less than a quarter of a shard for so long"),
    KEY("scaling-cooldown", CONFIG_DURATION, scaling_cooldown_ms, "1m",
        "time between two steps of an on-demand stream"),
    KEY("scaling-shards-max", CONFIG_U32, scaling_shards_max, "200",
        "open shards of an on-demand stream at most; 0: shards never follow the load"),
    KEY("replace-after", CONFIG_DURATION, replace_after_ms, "15m",
        "replicas of a broker that is dead for so long are made anew on others"),
    KEY("moves-at-once", CONFIG_U32, moves_at_once, "8",
        "replicas that move from broker to broker at a time"),
    KEY("compare-entries", CONFIG_U32, compare_entries, "1024",
        "log entries after which the controllers compare their states; the same on all of them"),
    KEY("lease-term", CONFIG_DURATION, lease_term_ms, "10s",
        "a consumer's worker that is silent for so long loses its leases"),
    KEY("lease-hand-over", CONFIG_DURATION, lease_hand_over_ms, "30s",
        "a worker that is asked for a lease has so long to finish what it has in hand"),
    KEY("lease-moves", CONFIG_U32, lease_moves, "0",
        "leases of an application that are moved at a time to balance its workers; 0: one in 50 of "
        "them, and 4 at least"),
    PROCESS_CONFIG_KEYS,
};

static const struct config_spec spec = {
    .program = "weir-controller",
    .summary = "Keeps the cluster's metadata, watches its brokers and elects leaders of shards.",
    .version = WEIR_VERSION,
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

NODISCARD static enum status check(const void *config, struct error *error)
{
    const struct server_config *c = config;
    const struct {
        const char *name;
        uint64_t value, least;
    } times[] = {
        {"broker-timeout",   c->broker_timeout_ms,   2 * c->beat_every_ms},
        {"session-grace",    c->session_grace_ms,    1                   },
        {"beat-every",       c->beat_every_ms,       10                  },
        {"election-timeout", c->election_timeout_ms, 2 * c->heartbeat_ms },
        {"heartbeat",        c->heartbeat_ms,        1                   },
        {"lease-term",       c->lease_term_ms,       1000                },
        {"lease-hand-over",  c->lease_hand_over_ms,  100                 },
    };
    if (c->scaling_window_ms < 500 || c->scaling_idle_ms < 1000 || c->scaling_cooldown_ms == 0) {
        return error_set(error, STATUS_INVALID,
                         "scaling-window must be 500ms or more, scaling-idle 1s or more, "
                         "scaling-cooldown above 0");
    }
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (times[i].value < times[i].least || times[i].value > 3600000) {
            return error_set(error, STATUS_INVALID, "%s: must be between %llums and 1h",
                             times[i].name, (unsigned long long)times[i].least);
        }
    }
    if (c->id == 0) {
        return error_set(error, STATUS_INVALID, "id: controllers count from 1");
    }
    if (c->snapshot_bytes < 1024 || c->snapshot_bytes > UINT32_MAX) {
        return error_set(error, STATUS_INVALID, "snapshot-bytes: must be between 1KiB and 4GiB");
    }
    if (c->connections_max == 0 || c->snapshot_entries == 0 || c->trailing_entries == 0) {
        return error_set(error, STATUS_INVALID,
                         "connections-max, snapshot-entries and trailing-entries must not be 0");
    }
    if (c->replace_after_ms < 1000) {
        return error_set(error, STATUS_INVALID, "replace-after: less than a second");
    }
    if (c->moves_at_once == 0 || c->moves_at_once > 1000) {
        return error_set(error, STATUS_INVALID, "moves-at-once: must be between 1 and 1000");
    }
    if (c->join && c->restore_file[0] != '\0') {
        return error_set(error, STATUS_INVALID,
                         "restore-file: a controller that joins gets its state from the others");
    }
    if (c->lease_moves > 1000) {
        return error_set(error, STATUS_INVALID,
                         "lease-moves: must be between 1 and 1000, or 0 for one in 50 leases");
    }
    return process_config_check(c->certificate_check_ms, c->log_level, c->log_format, error);
}

static struct process_config program = {.spec = &spec, .check = check};

enum status server_config_load(int argc, char **argv, struct server_config *out, bool *out_exit,
                               struct error *error)
{
    return process_config_load(&program, argc, argv, out, out_exit, error);
}

void server_config_release(struct server_config *config)
{
    config_release(&spec, config);
}

const struct config_spec *server_config_spec(void)
{
    return &spec;
}

enum status server_config_reload_log(struct error *error)
{
    struct server_config again = {0};
    return process_config_again(&program, &again, error); /* the check sets the log */
}

/* ---- the list of controllers
 * ----------------------------------------------------------------------- */

static bool parse_number(const char *text, size_t size, uint32_t max, uint32_t *out)
{
    uint32_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > max) {
            return false;
        }
        value = value * 10 + (uint32_t)(text[i] - '0');
    }
    *out = value;
    return size > 0 && size < 10 && value > 0 && value <= max;
}

/* "3=host:port"; an IPv6 address stands in brackets. */
static bool parse_server(const char *text, size_t size, struct raft_node_server *out)
{
    const char *equals = memchr(text, '=', size);
    const char *colon = memrchr(text, ':', size);
    if (equals == NULL || colon == NULL || colon < equals) {
        return false;
    }
    const char *host = equals + 1, *end = colon, *rest = text + size;
    uint32_t port = 0;
    if (end - host >= 2 && host[0] == '[' && end[-1] == ']') {
        host++;
        end--;
    }
    struct raft_node_server server = {0};
    if (end <= host || (size_t)(end - host) >= sizeof(server.host) ||
        !parse_number(text, (size_t)(equals - text), INT32_MAX / 10, &server.id) ||
        !parse_number(colon + 1, (size_t)(rest - colon - 1), UINT16_MAX, &port)) {
        return false;
    }
    memcpy(server.host, host, (size_t)(end - host));
    server.port = (uint16_t)port;
    *out = server;
    return true;
}

enum status server_list_read(const char *text, struct raft_node_server out[RAFT_NODE_SERVERS_MAX],
                             uint32_t *out_count, struct error *error)
{
    uint32_t count = 0;
    while (*text != '\0') {
        text += strspn(text, " ,");
        size_t size = strcspn(text, " ,");
        if (size == 0) {
            break;
        }
        if (count == RAFT_NODE_SERVERS_MAX) {
            return error_set(error, STATUS_INVALID, "controllers: more than %d",
                             RAFT_NODE_SERVERS_MAX);
        }
        if (!parse_server(text, size, &out[count])) {
            return error_set(error, STATUS_INVALID, "controllers: '%.*s' is not ID=HOST:PORT",
                             (int)(size < 100 ? size : 100), text);
        }
        if (count > 0 && out[count].id <= out[count - 1].id) {
            return error_set(error, STATUS_INVALID, "controllers: ids must rise along the list");
        }
        count++;
        text += size;
    }
    if (count == 0) {
        return error_set(error, STATUS_INVALID,
                         "controllers: the list must have 1, 3 or 5 controllers, not 0");
    }
    *out_count = count;
    return STATUS_OK;
}

enum status server_list_parse(const char *text, struct raft_node_server out[RAFT_NODE_SERVERS_MAX],
                              uint32_t *out_count, struct error *error)
{
    uint32_t count = 0;
    enum status status = server_list_read(text, out, &count, error);
    if (status == STATUS_OK && count != 1 && count != 3 && count != 5) {
        return error_set(error, STATUS_INVALID,
                         "controllers: the list must have 1, 3 or 5 controllers, not %u", count);
    }
    if (status == STATUS_OK) {
        *out_count = count;
    }
    return status;
}
