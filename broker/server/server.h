/* A broker: everything of it on one loop (docs/decisions/0002-one-loop-per-broker.md). */
#pragma once

#include <stdint.h>

#include "base/status.h"

struct config_spec;

struct server_config {
    uint32_t id;
    char *data_dir, *zone, *controllers;
    char *listen_host, *advertised_host;
    uint16_t listen_port, advertised_port;
    char *ca_file, *cert_file, *key_file;
    uint64_t certificate_check_ms;
    uint64_t segment_bytes, journal_file_bytes, ring_bytes, block_bytes;
    uint32_t journal_files, connections_max, source_connections, source_handshakes;
    uint64_t quarantine_after_ms, quarantine_keep_ms;
    uint64_t copy_bandwidth, shutdown_handover_ms, shutdown_drain_ms;
    uint32_t slow_factor;
    uint64_t scrub_period_ms, scrub_rate;
    char *disk_reserve, *io_backend, *log_level, *log_format, *metrics_listen;
    bool direct_io;
    /* The Kinesis interface; ports 0: not served. */
    char *kinesis_listen_host, *kinesis_cert_file, *kinesis_key_file;
    uint16_t kinesis_listen_port, kinesis_cleartext_port;
    bool kinesis_deduplicate;
    uint64_t limit_write_bytes, limit_read_bytes, limit_subscription_bytes;
    uint32_t limit_write_records, limit_read_calls, limit_iterator_calls;
    char *limit_operations;
    uint64_t data_key_refresh_ms, data_key_life_ms;
};

struct server;

/* Opens the data directory, the links and the listener. On failure nothing is left open, and *error
 * has the sentence with which the program ends. */
NODISCARD enum status server_open(const struct server_config *config, struct server **out,
                                  struct error *error);

/* Serves until server_stop(), SIGTERM or SIGINT (which hand over first what the broker leads), or
 * until the controllers refuse this broker for good: then the status and *error say why. */
NODISCARD enum status server_run(struct server *server, struct error *error);

/* From the loop's thread. */
void server_stop(struct server *server);

/* Makes everything durable and frees all. NULL is fine. */
void server_close(struct server *server);

/* config.c: from file, environment and command line. *out_exit: --help or --version was asked. */
NODISCARD enum status server_config_load(int argc, char **argv, struct server_config *out,
                                         bool *out_exit, struct error *error);
void server_config_release(struct server_config *config);

/* What keys there are. */
const struct config_spec *server_config_spec(void);
/* Reads everything again as server_config_load() did, and takes over how the log is written and
 * nothing else. Errors as there: nothing changes. */
NODISCARD enum status server_config_reload_log(struct error *error);
