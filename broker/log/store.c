#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "broker/log/identity.h"
#include "broker/log/open.h"
#include "broker/log/private.h"
#include "broker/log/recover.h"

enum { DIR_BYTES_MAX = 200, RESERVE_PART = 50 };
#define RESERVE_BYTES ((uint64_t)4 * 1024 * 1024 * 1024)

void store_options_init(struct store_options *options)
{
    *options = (struct store_options){
        .segment_bytes = 64 * 1024 * 1024,
        .journal_file_bytes = 64 * 1024 * 1024,
        .journal_files = 8,
        .ring_bytes = 64 * 1024 * 1024,
        .block_bytes = 1024 * 1024,
        .reserve_bytes = UINT64_MAX,
    };
}

static enum status make_dir(const struct disk *disk, const char *path, struct error *error)
{
    int made = disk->mkdir(disk->context, path);
    if (made < 0 && made != -EEXIST) {
        return error_set(error, disk_status(made), "cannot make the directory %s: %s", path,
                         strerror(-made));
    }
    return STATUS_OK;
}

static enum status take_lock(struct store *store, struct error *error)
{
    char path[STORE_PATH_BYTES];
    log_path_join(path, store->dir, "lock");
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (store->lock_fd < 0) {
        return error_set(error, disk_status(-errno), "cannot write to %s: %s", store->dir,
                         strerror(errno));
    }
    if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        return error_set(error, STATUS_BUSY, "another process uses the data directory %s",
                         store->dir);
    }
    return STATUS_OK;
}

static int any_name(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return 1;
}

/* A new directory. The identity comes last, so that a crash in between leaves none. */
static enum status format(struct store *store, struct identity *out, struct error *error)
{
    char path[STORE_PATH_BYTES];
    log_path_join(path, store->dir, "shards");
    int shards = store->disk->list(store->disk->context, path, any_name, NULL);
    if (shards > 0) {
        return error_set(error, STATUS_CORRUPT,
                         "%s holds shards but its identity is gone: restore the file `identity`, "
                         "or empty the directory and let the broker begin as a new replica",
                         store->dir);
    }
    enum status status = make_dir(store->disk, path, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct identity identity = {.broker = store->options.broker};
    memcpy(identity.cluster_id, store->options.cluster_id, CLUSTER_ID_BYTES);
    if (RAND_bytes(identity.disk_id, DISK_ID_BYTES) != 1) {
        return error_set(error, STATUS_INTERNAL, "no random numbers for a disk id");
    }
    memcpy(store->journal_options.id, identity.disk_id, JOURNAL_ID_BYTES);
    status = journal_format(&store->journal_options, error);
    if (status == STATUS_OK) {
        status = disk_boot_write(store->disk, store->dir, &identity, 0);
        if (status == STATUS_OK) {
            status = disk_identity_write(store->disk, store->dir, &identity);
        }
        if (status != STATUS_OK) {
            return error_set(error, status, "cannot write to %s: %s", store->dir,
                             status_text(status));
        }
        *out = identity;
    }
    return status;
}

static enum status identity_explain(const struct store *store, enum status status, uint32_t found,
                                    struct error *error)
{
    switch ((int)status) {
    case STATUS_UNSUPPORTED:
        return format_refuse(error, store->dir, found, FORMAT_DIRECTORY, OLDEST_DIRECTORY);
    case STATUS_CORRUPT:
        return error_set(error, status, "all three copies of %s/identity are damaged", store->dir);
    default:
        return error_set(error, status, "cannot read %s/identity: %s", store->dir,
                         status_text(status));
    }
}

static bool is_zero(const uint8_t *id, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (id[i] != 0) {
            return false;
        }
    }
    return true;
}

static enum status identity_check(const struct store *store, const struct identity *identity,
                                  struct error *error)
{
    if (identity->broker != store->options.broker) {
        return error_set(error, STATUS_INVALID,
                         "the data directory %s belongs to broker %u, this is broker %u",
                         store->dir, identity->broker, store->options.broker);
    }
    if (!is_zero(store->options.cluster_id, CLUSTER_ID_BYTES) &&
        !is_zero(identity->cluster_id, CLUSTER_ID_BYTES) &&
        memcmp(store->options.cluster_id, identity->cluster_id, CLUSTER_ID_BYTES) != 0) {
        return error_set(error, STATUS_WRONG_CLUSTER,
                         "the data directory %s belongs to another cluster", store->dir);
    }
    return STATUS_OK;
}

/* Who we are, and for the how-manieth time: before any other work (R6). */
static enum status identify(struct store *store, struct error *error)
{
    struct identity identity = {0};
    enum status status = disk_identity_read(store->disk, store->dir, &identity);
    if (status == STATUS_NOT_FOUND) {
        status = format(store, &identity, error);
        if (status != STATUS_OK) {
            return status;
        }
    } else if (status != STATUS_OK) {
        return identity_explain(store, status, identity.format, error);
    }
    status = identity_check(store, &identity, error);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t boot;
    status = disk_boot_read(store->disk, store->dir, &identity, &boot);
    if (status != STATUS_OK) {
        return error_set(error, STATUS_CORRUPT,
                         "the boot id in %s/boot cannot be read (%s): the broker could come back "
                         "as an earlier incarnation of itself",
                         store->dir, status_text(status));
    }
    status = disk_boot_write(store->disk, store->dir, &identity, boot + 1);
    if (status != STATUS_OK) {
        return error_set(error, status, "cannot write %s/boot: %s", store->dir,
                         status_text(status));
    }
    store->info.broker = identity.broker;
    store->info.boot_id = boot + 1;
    memcpy(store->info.cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
    memcpy(store->info.disk_id, identity.disk_id, DISK_ID_BYTES);
    memcpy(store->journal_options.id, identity.disk_id, JOURNAL_ID_BYTES);
    return STATUS_OK;
}

static enum status settle_all(struct recovery *recovery, struct error *error)
{
    struct store *store = recovery->store;
    enum status status = STATUS_OK;
    LIST_FOR_EACH (node, &store->shards) {
        struct shard_log *log = CONTAINER_OF(node, struct shard_log, link);
        status = recovery_resolve(log);
        if (status == STATUS_OK) {
            status = recovery_materialize(recovery, log);
        }
        if (status != STATUS_OK) {
            return error_set(error, status, "cannot recover shard %u-%u in %s: %s",
                             (unsigned)(log->journal.id >> 32), (unsigned)log->journal.id,
                             store->dir, status_text(status));
        }
        store->info.shards++;
        store->info.uncertain_shards += log->uncertain ? 1 : 0;
    }
    status = recovery_sweep(recovery, &store->info.quarantined);
    /* Also what was found may be in the page cache only, left there by a process that was killed.
     */
    if (status == STATUS_OK && (recovery->changed || store->info.shards > 0)) {
        status = store_sync_files(store);
    }
    return status == STATUS_OK
               ? STATUS_OK
               : error_set(error, status, "cannot tidy up %s: %s", store->dir, status_text(status));
}

static enum status recover(struct store *store, struct error *error)
{
    struct recovery recovery = {.store = store};
    enum status status = recovery_replay(&recovery, &store->info.recovery, error);
    if (status == STATUS_OK) {
        status = settle_all(&recovery, error);
    }
    recovery_release(&recovery);
    store_dirty_close(store);
    return status;
}

/* What inspection shares with a broker's start. */
enum status store_new(const struct store_options *options, struct store **out, struct error *error)
{
    size_t length = options->dir == NULL ? 0 : strlen(options->dir);
    if (length == 0 || length > DIR_BYTES_MAX) {
        return error_set(error, STATUS_INVALID, "the data directory needs a name of 1 to %d bytes",
                         DIR_BYTES_MAX);
    }
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    store->options = *options;
    memcpy(store->dir, options->dir, length + 1);
    log_path_join(store->journal_dir, store->dir, "journal");
    store->disk = options->disk != NULL ? options->disk : disk_os();
    store->lock_fd = store->event_fd = -1;
    list_init(&store->shards);
    list_init(&store->touched);
    list_init(&store->syncing);
    list_init(&store->reads);
    list_init(&store->damaged);
    list_init(&store->checks);
    store->journal_options = (struct journal_options){
        .disk = store->disk,
        .dir = store->journal_dir,
        .file_bytes = options->journal_file_bytes,
        .files_max = options->journal_files,
        .ring_bytes = options->ring_bytes,
        .block_bytes = options->block_bytes,
        .backend = options->backend,
        .buffered = options->buffered,
        .event_fd = -1,
        .write_state = store_write_state,
        .state_bytes = store_state_bytes,
        .context = store,
    };
    *out = store;
    return STATUS_OK;
}

static enum status open_threads(struct store *store, struct error *error)
{
    enum status status = disk_worker_open(&store->writer, store->event_fd);
    if (status == STATUS_OK) {
        status = disk_worker_open(&store->syncer, store->event_fd);
    }
    if (status == STATUS_OK) {
        status = disk_worker_open(&store->reader, store->event_fd);
    }
    return status == STATUS_OK ? STATUS_OK : error_set(error, status, "cannot start a thread");
}

static enum status options_check(const struct store_options *o, struct error *error)
{
    if (o->broker == 0) {
        return error_set(error, STATUS_INVALID, "a broker's id must not be 0");
    }
    if (o->segment_bytes < 64 * 1024 || o->segment_bytes > UINT32_MAX) {
        return error_set(error, STATUS_INVALID, "segments must be 64 KiB to 4 GiB");
    }
    return STATUS_OK;
}

static enum status open_all(struct store *store, struct error *error)
{
    enum status status = make_dir(store->disk, store->dir, error);
    if (status == STATUS_OK) {
        status = take_lock(store, error);
    }
    store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (status == STATUS_OK && store->event_fd < 0) {
        status = error_set(error, STATUS_NO_MEMORY, "no eventfd: %s", strerror(errno));
    }
    store->journal_options.event_fd = store->event_fd;
    if (status == STATUS_OK) {
        status = identify(store, error);
    }
    if (status == STATUS_OK) {
        status = journal_open(&store->journal_options, &store->journal, error);
        if (status == STATUS_NOT_FOUND) {
            status = error_set(error, STATUS_CORRUPT,
                               "the journal of %s is gone, and with it what this broker promised: "
                               "empty the directory and let it begin as a new replica",
                               store->dir);
        }
    }
    if (status == STATUS_OK) {
        status = recover(store, error);
    }
    if (status == STATUS_OK) {
        log_holes_load(store);
        status = journal_start(store->journal, error);
    }
    if (status == STATUS_OK) {
        status = open_threads(store, error);
    }
    return status;
}

enum status store_open(const struct store_options *options, struct store **out, struct error *error)
{
    enum status status = options_check(options, error);
    struct store *store = NULL;
    if (status == STATUS_OK) {
        status = store_new(options, &store, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    status = open_all(store, error);
    if (status != STATUS_OK) {
        store_free(store);
        return status;
    }
    store->written = store->durable = journal_synced_position(store->journal);
    store_check_space(store);
    *out = store;
    return STATUS_OK;
}

void store_free(struct store *store)
{
    disk_worker_close(&store->writer);
    disk_worker_close(&store->syncer);
    disk_worker_close(&store->reader);
    store_dirty_close(store);
    unsynced_close(store, &store->sync.unsynced);
    journal_close(store->journal); /* before the shards: it may write their state */
    while (!list_empty(&store->shards)) {
        struct shard_log *log = CONTAINER_OF(store->shards.next, struct shard_log, link);
        recovering_free(log);
        shard_log_free(log);
    }
    log_ops_release(store);
    free(store->map.slot);
    if (store->event_fd >= 0) {
        (void)close(store->event_fd);
    }
    if (store->lock_fd >= 0) {
        (void)close(store->lock_fd);
    }
    free(store);
}

void store_close(struct store *store)
{
    if (store == NULL) {
        return;
    }
    status_ignore(store_sync(store, true), "what could not be written is in the journal, or lost");
    store->closing = true;
    log_reads_cancel(store, NULL);
    disk_worker_close(&store->reader);
    disk_worker_reap(&store->reader);
    disk_worker_close(&store->writer);
    disk_worker_reap(&store->writer); /* may have something for the syncer */
    disk_worker_close(&store->syncer);
    disk_worker_reap(&store->syncer);
    store_free(store);
}

void store_info(const struct store *store, struct store_info *out)
{
    *out = store->info;
}

enum status store_join_cluster(struct store *store, const uint8_t id[CLUSTER_ID_BYTES],
                               struct error *error)
{
    if (memcmp(store->info.cluster_id, id, CLUSTER_ID_BYTES) == 0) {
        return STATUS_OK;
    }
    if (!is_zero(store->info.cluster_id, CLUSTER_ID_BYTES)) {
        return error_set(error, STATUS_WRONG_CLUSTER,
                         "the data directory %s belongs to another cluster", store->dir);
    }
    struct identity identity = {.broker = store->info.broker};
    memcpy(identity.cluster_id, id, CLUSTER_ID_BYTES);
    memcpy(identity.disk_id, store->info.disk_id, DISK_ID_BYTES);
    enum status status = disk_identity_write(store->disk, store->dir, &identity);
    if (status != STATUS_OK) {
        return error_set(error, status, "cannot write %s/identity: %s", store->dir,
                         status_text(status));
    }
    memcpy(store->info.cluster_id, id, CLUSTER_ID_BYTES);
    return STATUS_OK;
}

uint64_t store_default_reserve(const struct disk_space *space)
{
    uint64_t part = space->total_bytes / RESERVE_PART;
    return part > RESERVE_BYTES ? part : RESERVE_BYTES;
}
