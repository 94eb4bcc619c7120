/* The broker's configuration keys; docs/configuration.md explains them. */
#include <stddef.h>
#include <string.h>

#include "base/config.h"
#include "broker/server/quarantine.h"
#include "broker/server/server.h"
#include "proto/net/process_config.h"

#define KEY(name, type, field, fallback, help)                            \
    {                                                                     \
        name, type, offsetof(struct server_config, field), fallback, help \
    }

static const struct config_key keys[] = {
    KEY("id", CONFIG_U32, id, NULL, "number of this broker; its certificate names broker-ID"),
    KEY("data-dir", CONFIG_STRING, data_dir, NULL,
        "directory of journal and segments; made when missing, its parent must exist"),
    KEY("zone", CONFIG_STRING, zone, NULL,
        "failure domain: replicas of a shard lie in different zones"),
    KEY("controllers", CONFIG_STRING, controllers, NULL,
        "addresses of all controllers: host:port,host:port (or id=host:port)"),
    KEY("listen-host", CONFIG_STRING, listen_host, "0.0.0.0", "address to listen on"),
    KEY("listen-port", CONFIG_PORT, listen_port, "7311", "port to listen on"),
    KEY("advertised-host", CONFIG_STRING, advertised_host, "",
        "name under which others reach this broker; empty: listen-host, or the host's name"),
    KEY("advertised-port", CONFIG_PORT, advertised_port, "0",
        "port under which others reach this broker; 0: listen-port"),
    KEY("ca-file", CONFIG_STRING, ca_file, NULL, "PEM: the authority that signs the cluster"),
    KEY("cert-file", CONFIG_STRING, cert_file, NULL, "PEM: this broker's certificate"),
    KEY("key-file", CONFIG_STRING, key_file, NULL, "PEM: its key"),
    KEY("certificate-check", CONFIG_DURATION, certificate_check_ms, "1m",
        "how often these files and those of the Kinesis interface are looked at, and read again "
        "when they have changed; 0ms: only on SIGHUP"),
    KEY("segment-bytes", CONFIG_BYTES, segment_bytes, "64MiB", "size of a segment file"),
    KEY("journal-file-bytes", CONFIG_BYTES, journal_file_bytes, "64MiB", "size of a journal file"),
    KEY("journal-files", CONFIG_U32, journal_files, "8", "journal files at most, at least 3"),
    KEY("ring-bytes", CONFIG_BYTES, ring_bytes, "64MiB",
        "memory for the newest part of the journal, a power of two"),
    KEY("block-bytes", CONFIG_BYTES, block_bytes, "1MiB", "largest journal write"),
    KEY("disk-reserve", CONFIG_STRING, disk_reserve, "auto",
        "puts are refused below this much free space; auto: 2 percent, at least 4 GiB"),
    KEY("copy-bandwidth", CONFIG_BYTES, copy_bandwidth, "256MiB",
        "bytes a second that are read from segments to feed replicas that lag or are new; 0: no limit"),
    KEY("slow-factor", CONFIG_U32, slow_factor, "10",
        "this broker's leaderships move away when its journal writes, or it itself, are so many "
        "times slower than the others' for 10 s; 0: never"),
    KEY("scrub-period", CONFIG_DURATION, scrub_period_ms, "7d",
        "every byte of every segment is read again and checked once in so long; 0ms: never"),
    KEY("scrub-rate", CONFIG_BYTES, scrub_rate, "32MiB",
        "bytes a second that this may read at most; 0: no limit"),
    KEY("shutdown-handover", CONFIG_DURATION, shutdown_handover_ms, "10s",
        "when stopping, time in which leaderships are handed over first; 0ms: none"),
    KEY("shutdown-drain", CONFIG_DURATION, shutdown_drain_ms, "5s",
        "then, time in which requests of Kinesis clients that are under way may end; 0ms: none"),
    KEY("quarantine-after", CONFIG_DURATION, quarantine_after_ms, "10m",
        "a shard that the controllers do not list for so long goes to quarantine"),
    KEY("quarantine-keep", CONFIG_DURATION, quarantine_keep_ms, "7d",
        "it is removed from there after so long, at least 7 days"),
    KEY("io-backend", CONFIG_STRING, io_backend, "auto",
        "how the journal is written: auto, uring, threads"),
    KEY("direct-io", CONFIG_BOOL, direct_io, "true", "write the journal past the page cache"),
    KEY("connections-max", CONFIG_U32, connections_max, "4096", "connections served at a time"),
    KEY("source-connections", CONFIG_U32, source_connections, "512",
        "of these, connections from one address (IPv6: one /64); 0: no limit"),
    KEY("source-handshakes", CONFIG_U32, source_handshakes, "100",
        "new connections a second from one address, 5 seconds' worth at once; 0: no limit"),
    KEY("kinesis-listen-host", CONFIG_STRING, kinesis_listen_host, "",
        "address for clients of the Kinesis interface; empty: listen-host"),
    KEY("kinesis-listen-port", CONFIG_PORT, kinesis_listen_port, "0",
        "its port for HTTPS; 0: not served"),
    KEY("kinesis-cleartext-port", CONFIG_PORT, kinesis_cleartext_port, "0",
        "its port for HTTP without TLS, for networks that are trusted; 0: not served"),
    KEY("kinesis-cert-file", CONFIG_STRING, kinesis_cert_file, "",
        "PEM: the certificate chain that its clients see; empty: cert-file"),
    KEY("kinesis-key-file", CONFIG_STRING, kinesis_key_file, "", "PEM: its key"),
    KEY("kinesis-deduplicate", CONFIG_BOOL, kinesis_deduplicate, "true",
        "a put that an AWS SDK sends again is not stored again, for ten minutes"),
    KEY("limit-write-bytes", CONFIG_BYTES, limit_write_bytes, "1MiB",
        "bytes a second that Kinesis clients put into a shard; 0: no limit"),
    KEY("limit-write-records", CONFIG_U32, limit_write_records, "1000",
        "records a second that they put into a shard; 0: no limit"),
    KEY("limit-read-bytes", CONFIG_BYTES, limit_read_bytes, "2MiB",
        "bytes a second that their GetRecords read of a shard; 0: no limit"),
    KEY("limit-read-calls", CONFIG_U32, limit_read_calls, "5",
        "calls of GetRecords a second for a shard; 0: no limit"),
    KEY("limit-iterator-calls", CONFIG_U32, limit_iterator_calls, "5",
        "calls of GetShardIterator a second for a shard, at each broker; 0: no limit"),
    KEY("limit-subscription-bytes", CONFIG_BYTES, limit_subscription_bytes, "2MiB",
        "bytes a second that a subscription of a consumer to a shard gets; 0: no limit"),
    KEY("limit-operations", CONFIG_STRING, limit_operations, "aws",
        "calls a second of other operations, at each broker: aws, off, or exceptions from aws: "
        "DescribeStream=20,CreateStream=0 (0: no limit)"),
    KEY("data-key-refresh", CONFIG_DURATION, data_key_refresh_ms, "5m",
        "keys of encrypted streams are asked for again after so long"),
    KEY("data-key-life", CONFIG_DURATION, data_key_life_ms, "1h",
        "without controllers they are forgotten after so long: those streams stop then"),
    PROCESS_CONFIG_KEYS,
};

static const struct config_spec spec = {
    .program = "weir-broker",
    .summary = "Serves the shards of streams and replicates them.",
    .version = WEIR_VERSION,
    .keys = keys,
    .key_count = sizeof(keys) / sizeof(keys[0]),
};

NODISCARD static enum status check(const void *config, struct error *error)
{
    const struct server_config *c = config;
    if (c->id == 0) {
        return error_set(error, STATUS_INVALID, "id: brokers count from 1");
    }
    if (strcmp(c->io_backend, "auto") != 0 && strcmp(c->io_backend, "uring") != 0 &&
        strcmp(c->io_backend, "threads") != 0) {
        return error_set(error, STATUS_INVALID, "io-backend: '%s' is not auto, uring or threads",
                         c->io_backend);
    }
    if (c->ring_bytes == 0 || (c->ring_bytes & (c->ring_bytes - 1)) != 0) {
        return error_set(error, STATUS_INVALID, "ring-bytes: not a power of two");
    }
    if ((c->kinesis_cert_file[0] == '\0') != (c->kinesis_key_file[0] == '\0')) {
        return error_set(error, STATUS_INVALID,
                         "kinesis-cert-file and kinesis-key-file: one does not go without the "
                         "other");
    }
    if (c->limit_write_bytes > UINT32_MAX || c->limit_read_bytes > UINT32_MAX ||
        c->limit_subscription_bytes > UINT32_MAX) {
        return error_set(error, STATUS_INVALID,
                         "limit-write-bytes, limit-read-bytes, limit-subscription-bytes: too "
                         "large");
    }
    if (c->quarantine_keep_ms < QUARANTINE_KEEP_MIN_MS) {
        return error_set(error, STATUS_INVALID, "quarantine-keep: less than 7 days");
    }
    if (c->copy_bandwidth != 0 && c->copy_bandwidth < 1024 * 1024) {
        return error_set(error, STATUS_INVALID, "copy-bandwidth: less than 1 MiB; 0 is no limit");
    }
    if (c->slow_factor == 1) {
        return error_set(error, STATUS_INVALID,
                         "slow-factor: 1 would call half of the brokers slow; at least 2, or 0");
    }
    if ((c->scrub_period_ms != 0 && c->scrub_period_ms < 1000) ||
        (c->scrub_rate != 0 && c->scrub_rate < 64 * 1024)) {
        return error_set(error, STATUS_INVALID,
                         "scrub-period: less than a second, or scrub-rate: less than 64 KiB");
    }
    if (c->quarantine_after_ms < 1000) {
        return error_set(error, STATUS_INVALID, "quarantine-after: less than a second");
    }
    if (c->data_key_refresh_ms < 1000 || c->data_key_life_ms < c->data_key_refresh_ms) {
        return error_set(error, STATUS_INVALID,
                         "data-key-refresh: less than a second, or more than data-key-life");
    }
    if (c->block_bytes > UINT32_MAX) {
        return error_set(error, STATUS_INVALID, "block-bytes: too large");
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
