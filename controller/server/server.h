/* The parts of weir-controller's main program. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"
#include "controller/raft/raft.h"

/* ---- configuration: docs/configuration.md has every key
 * -------------------------------------------- */

struct server_config {
    uint32_t id;
    char *data_dir, *controllers, *listen_host;
    uint16_t listen_port;
    char *ca_file, *cert_file, *key_file;
    char *restore_file;
    bool join;
    uint64_t certificate_check_ms;
    char *cluster_key_file, *account_id, *region;
    uint32_t connections_max;
    uint64_t broker_timeout_ms, session_grace_ms, beat_every_ms;
    uint32_t compare_entries, source_connections, source_handshakes;
    uint64_t election_timeout_ms, heartbeat_ms;
    uint32_t snapshot_entries, trailing_entries;
    uint64_t snapshot_bytes;
    uint64_t lease_term_ms, lease_hand_over_ms;
    uint32_t lease_moves;
    uint64_t replace_after_ms;
    uint32_t moves_at_once;
    uint64_t scaling_window_ms, scaling_idle_ms, scaling_cooldown_ms;
    uint32_t scaling_shards_max;
    char *log_level, *log_format, *metrics_listen;
};

/* INVALID, NOT_FOUND, IO with a sentence. *out_exit: help or version was printed. */
NODISCARD enum status server_config_load(int argc, char **argv, struct server_config *out,
                                         bool *out_exit, struct error *error);
void server_config_release(struct server_config *config);

/* What keys there are. */
struct config_spec;
const struct config_spec *server_config_spec(void);
/* Reads everything again as server_config_load() did, and takes over how the log is written and
 * nothing else. Errors as there: nothing changes. */
NODISCARD enum status server_config_reload_log(struct error *error);

/* As below, and any number of them: of a cluster that has grown. */
NODISCARD enum status server_list_read(const char *text,
                                       struct raft_node_server out[RAFT_NODE_SERVERS_MAX],
                                       uint32_t *out_count, struct error *error);

/* "1=host:port,2=host:port,3=host:port": one, three or five, ids ascending from any number. INVALID
 * with a sentence. */
NODISCARD enum status server_list_parse(const char *text,
                                        struct raft_node_server out[RAFT_NODE_SERVERS_MAX],
                                        uint32_t *out_count, struct error *error);

/* ---- the data directory
 * ---------------------------------------------------------------------------- */

/* Makes it when it is missing, locks it for this process (until it ends), and checks that it
 * belongs to this controller of this cluster; an empty one is marked as such. Raises the boot id,
 * durably.
 *
 * BUSY            another process uses it
 * WRONG_CLUSTER   it is another cluster's
 * WRONG_IDENTITY  it is another controller's
 * CORRUPT         it has files but no identity, or one that cannot be read
 * IO */
NODISCARD enum status server_directory_open(const char *path,
                                            const uint8_t cluster[CLUSTER_ID_BYTES], uint32_t id,
                                            uint64_t *out_boot, struct error *error);

/* ---- a backup comes back
 * --------------------------------------------------------------------------- */

/* Puts the state of a backup (controller/backup/backup.h) into the directory, which is ours and has
 * no log yet, and says with what Raft begins. Numbers that may have been given out after the backup
 * are jumped over. When the directory was begun with this very backup before, nothing is done.
 *
 * INVALID        no backup, a newer one than this version understands, or the directory has a log
 * CORRUPT        it is damaged
 * WRONG_CLUSTER  it is of another cluster
 * IO */
NODISCARD enum status server_restore(const char *file, const char *directory,
                                     const uint8_t cluster[CLUSTER_ID_BYTES],
                                     struct raft_node_restored *out, struct error *error);
