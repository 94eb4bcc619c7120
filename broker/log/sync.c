/* Syncing of segments, on a thread of its own: a sync takes longer than the ring takes to fill at
 * full speed, so the writer must not stand still meanwhile. The files of a sync belong to it alone;
 * what a sync makes durable is what was written when it began (docs/replication.md R2). */
#include <errno.h>
#include <fcntl.h>

#include "base/check.h"
#include "broker/log/private.h"

enum { SYNC_EACH_MAX = 24 }; /* more files than this are synced by one syncfs */

enum status store_sync_files(struct store *store)
{
    const struct disk *disk = store->disk;
    int fd = disk->open(disk->context, store->dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        return disk_status(fd);
    }
    int synced = disk->sync_all(disk->context, fd);
    (void)disk->close(disk->context, fd);
    return disk_status(synced);
}

static enum status sync_each(struct store *store, const struct unsynced *unsynced)
{
    const struct disk *disk = store->disk;
    char path[STORE_PATH_BYTES];
    int result = 0;
    for (uint32_t i = 0; result >= 0 && i < unsynced->fd_count; i++) {
        result = disk->sync(disk->context, unsynced->fd[i]);
    }
    for (uint32_t i = 0; result >= 0 && i < unsynced->dir_count; i++) {
        log_path_shard(path, store->dir, unsynced->dir[i]);
        result = disk->sync_dir(disk->context, path);
        result = result == -ENOENT ? 0 : result; /* removed since */
    }
    if (result >= 0 && unsynced->shards_dir) {
        log_path_join(path, store->dir, "shards");
        result = disk->sync_dir(disk->context, path);
    }
    return disk_status(result);
}

void unsynced_close(struct store *store, struct unsynced *unsynced)
{
    for (uint32_t i = 0; i < unsynced->fd_count; i++) {
        (void)store->disk->close(store->disk->context, unsynced->fd[i]);
    }
    unsynced->fd_count = 0;
}

enum status unsynced_sync(struct store *store, struct unsynced *unsynced)
{
    bool many = unsynced->all || unsynced->fd_count + unsynced->dir_count > SYNC_EACH_MAX;
    enum status status = many ? store_sync_files(store) : sync_each(store, unsynced);
    unsynced_close(store, unsynced);
    return status == STATUS_DISK_FULL ? STATUS_IO : status; /* what was lost is unknown */
}

static void sync_run(struct task *task)
{
    struct sync_job *job = CONTAINER_OF(task, struct sync_job, task);
    job->status = unsynced_sync(job->store, &job->unsynced);
}

static void sync_done(struct task *task)
{
    struct sync_job *job = CONTAINER_OF(task, struct sync_job, task);
    struct store *store = job->store;
    job->in_flight = false;
    if (job->status != STATUS_OK) {
        store->out = STATUS_IO;
        return;
    }
    while (!list_empty(&store->syncing)) {
        struct shard_log *log =
            CONTAINER_OF(list_pop(&store->syncing), struct shard_log, syncing_link);
        log->durable = log->syncing;
    }
    store->durable = job->position > store->durable ? job->position : store->durable;
}

void log_sync_start(struct store *store, uint64_t position)
{
    struct sync_job *job = &store->sync;
    CHECK(!job->in_flight && list_empty(&store->syncing));
    while (!list_empty(&store->touched)) {
        struct shard_log *log =
            CONTAINER_OF(list_pop(&store->touched), struct shard_log, touched_link);
        log->touched = false;
        log->syncing = log->applied;
        list_push(&store->syncing, &log->syncing_link);
    }
    job->store = store;
    job->task.run = sync_run;
    job->task.done = sync_done;
    job->position = position;
    job->status = STATUS_CANCELLED; /* until it has run */
    job->in_flight = true;
    disk_worker_submit(&store->syncer, &job->task);
}
