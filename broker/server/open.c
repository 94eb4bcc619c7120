/* The first steps of opening a broker: who it is, its disk, how others reach it. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/config.h"
#include "base/trace.h"
#include "broker/server/server_internal.h"

enum status server_open_identity(struct server *s, struct error *error)
{
    const struct server_config *config = s->config;
    enum status status =
        net_tls_open(config->ca_file, config->cert_file, config->key_file, &s->tls, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct rpc_identity *self = net_tls_identity(s->tls);
    if (self->role != RPC_ROLE_BROKER || self->id != config->id) {
        return error_set(error, STATUS_WRONG_IDENTITY,
                         "%s is the certificate of %s, not of broker-%u", config->cert_file,
                         self->name, config->id);
    }
    return STATUS_OK;
}

NODISCARD static enum status parse_reserve(const char *text, uint64_t *out, struct error *error)
{
    if (strcmp(text, "auto") == 0) {
        *out = UINT64_MAX;
        return STATUS_OK;
    }
    struct error why;
    if (config_value_parse(CONFIG_BYTES, text, out, &why) != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "disk-reserve: %s", why.text);
    }
    return STATUS_OK;
}

enum status server_open_store(struct server *s, struct error *error)
{
    const struct server_config *config = s->config;
    struct store_options options;
    store_options_init(&options);
    options.dir = config->data_dir;
    options.broker = config->id;
    memcpy(options.cluster_id, net_tls_identity(s->tls)->cluster, CLUSTER_ID_BYTES);
    options.segment_bytes = config->segment_bytes;
    options.journal_file_bytes = config->journal_file_bytes;
    options.journal_files = config->journal_files;
    options.ring_bytes = config->ring_bytes;
    options.block_bytes = (uint32_t)config->block_bytes;
    options.backend =
        strcmp(config->io_backend, "threads") == 0 ? JOURNAL_BACKEND_THREAD : JOURNAL_BACKEND_AUTO;
    options.buffered = !config->direct_io;
    enum status status = parse_reserve(config->disk_reserve, &options.reserve_bytes, error);
    if (status == STATUS_OK) {
        status = store_open(&options, &s->store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct store_status disk;
    store_status(s->store, &disk);
    if (strcmp(config->io_backend, "uring") == 0 && !disk.journal.uring) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "io-backend: this machine does not allow io_uring; use auto or threads");
    }
    return STATUS_OK;
}

void server_trace_store(struct server *s)
{
    struct store_info info;
    struct store_status disk;
    store_info(s->store, &info);
    store_status(s->store, &disk);
    s->boot = info.boot_id;
    trace(TRACE_INFO, "server",
          "%s: boot %llu, %u shards (%u uncertain, %u in quarantine), journal by %s%s",
          s->config->data_dir, (unsigned long long)info.boot_id, info.shards, info.uncertain_shards,
          info.quarantined, disk.journal.uring ? "io_uring" : "a thread",
          disk.journal.direct ? ", direct" : "");
    if (info.recovery.damaged_blocks > 0) {
        trace(TRACE_ERROR, "server",
              "%llu blocks of the journal were damaged after they had been synced",
              (unsigned long long)info.recovery.damaged_blocks);
    }
}

/* How others reach us. */
void server_choose_host(struct server *s)
{
    const char *host = s->config->advertised_host;
    if (host[0] == '\0') {
        host = s->config->listen_host;
    }
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        if (gethostname(s->advertised_host, sizeof(s->advertised_host) - 1) == 0) {
            return;
        }
        host = "localhost";
    }
    (void)snprintf(s->advertised_host, sizeof(s->advertised_host), "%s", host);
}

void server_check_space(struct server *s)
{
    struct statvfs fs;
    store_check_space(s->store);
    if (statvfs(s->config->data_dir, &fs) == 0) {
        controllers_set_disk_bytes(s->controllers, (uint64_t)fs.f_blocks * fs.f_frsize);
    }
}
