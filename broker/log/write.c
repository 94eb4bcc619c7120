/* The writer thread: segments behind the journal. It touches the store only where private.h says
 * so, its job, and bytes of the ring that nobody overwrites before the job is done. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"
#include "broker/log/producers.h"

enum { WRITE_PARTS = 256, BEGIN_SYNC_BYTES = 256 * 1024 };

static void dirty_dir(struct store *store, uint64_t shard)
{
    struct dirty *dirty = &store->dirty;
    for (uint32_t i = 0; i < dirty->dir_count; i++) {
        if (dirty->dir[i] == shard) {
            return;
        }
    }
    if (dirty->dir_count == DIRTY_DIRS_MAX) {
        dirty->all = true;
        return;
    }
    dirty->dir[dirty->dir_count++] = shard;
}

static void dirty_forget(struct store *store, struct segment *segment)
{
    struct dirty *dirty = &store->dirty;
    for (uint32_t i = 0; segment->dirty && i < dirty->segment_count; i++) {
        if (dirty->segment[i] == segment) {
            dirty->segment[i] = dirty->segment[--dirty->segment_count];
            segment->dirty = false;
        }
    }
    if (segment->fd >= 0) {
        (void)store->disk->close(store->disk->context, segment->fd);
        segment->fd = -1;
    }
}

void store_dirty_close(struct store *store)
{
    while (store->dirty.segment_count > 0) {
        dirty_forget(store, store->dirty.segment[0]);
    }
    store->dirty = (struct dirty){0};
}

/* Everything written so far, to be synced: the writer opens anew what it needs. */
static void dirty_take(struct store *store, struct unsynced *out)
{
    struct dirty *dirty = &store->dirty;
    out->fd_count = 0;
    for (uint32_t i = 0; i < dirty->segment_count; i++) {
        struct segment *segment = dirty->segment[i];
        out->fd[out->fd_count++] = segment->fd;
        segment->fd = -1;
        segment->dirty = false;
    }
    memcpy(out->dir, dirty->dir, dirty->dir_count * sizeof(dirty->dir[0]));
    out->dir_count = dirty->dir_count;
    out->shards_dir = dirty->shards_dir;
    out->all = dirty->all;
    *dirty = (struct dirty){0};
}

/* More files than we keep open: synced here and now. */
static enum status dirty_sync(struct store *store)
{
    struct unsynced unsynced;
    dirty_take(store, &unsynced);
    return unsynced_sync(store, &unsynced);
}

static enum status segment_make(struct store *store, struct segment *segment, const char *path)
{
    const struct disk *disk = store->disk;
    int fd = disk->open(disk->context, path, O_RDWR | O_CREAT);
    if (fd == -ENOENT) {
        char dir[STORE_PATH_BYTES];
        log_path_shard(dir, store->dir, segment->shard);
        int made = disk->mkdir(disk->context, dir);
        if (made < 0 && made != -EEXIST) {
            return disk_status(made);
        }
        store->dirty.shards_dir = true;
        fd = disk->open(disk->context, path, O_RDWR | O_CREAT);
    }
    if (fd < 0) {
        return disk_status(fd);
    }
    segment->fd = fd;
    dirty_dir(store, segment->shard);
    return STATUS_OK;
}

/* NOT_FOUND without `make` when there is no such file. */
static enum status segment_open(struct store *store, struct segment *segment, bool make)
{
    if (segment->fd >= 0) {
        return STATUS_OK;
    }
    if (store->dirty.segment_count == DIRTY_SEGMENTS_MAX) {
        enum status status = dirty_sync(store);
        if (status != STATUS_OK) {
            return status;
        }
    }
    char path[STORE_PATH_BYTES];
    log_path_segment(path, store->dir, segment->shard, segment->base, "log");
    int fd = store->disk->open(store->disk->context, path, O_RDWR);
    if (fd >= 0) {
        segment->fd = fd;
    } else if (fd != -ENOENT || !make) {
        return disk_status(fd);
    } else {
        enum status status = segment_make(store, segment, path);
        if (status != STATUS_OK) {
            return status;
        }
    }
    segment->dirty = true;
    store->dirty.segment[store->dirty.segment_count++] = segment;
    return STATUS_OK;
}

/* The chain of writes to one segment that begins at operation `first`: they follow one another in
 * the file. */
static enum status write_chain(struct store *store, struct apply_job *job, uint32_t first)
{
    struct segment *segment = job->op[first].segment;
    enum status status = segment_open(store, segment, true);
    struct iovec part[WRITE_PARTS];
    uint32_t i = first;
    uint64_t from = job->op[first].at, to = from;
    while (status == STATUS_OK && i != UINT32_MAX) {
        uint64_t at = job->op[i].at, end = at;
        int parts = 0;
        for (; i != UINT32_MAX && parts < WRITE_PARTS && job->op[i].at == end; i = job->next[i]) {
            const struct op *op = &job->op[i];
            part[parts++] = disk_iovec(journal_at(store->journal, op->position), op->bytes);
            end += op->bytes;
        }
        status = disk_writev_all(store->disk, segment->fd, part, parts, at);
        to = end;
    }
    if (status == STATUS_OK && to - from >= BEGIN_SYNC_BYTES) {
        store->disk->begin_sync(store->disk->context, segment->fd, from, to - from);
    }
    return status;
}

/* Writes [from, to), all OP_WRITE, segment by segment. */
static enum status write_run(struct store *store, struct apply_job *job, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        job->op[i].segment->first_op = 0;
    }
    for (uint32_t i = from; i < to; i++) {
        struct segment *segment = job->op[i].segment;
        job->next[i] = UINT32_MAX;
        if (segment->first_op == 0) {
            segment->first_op = i + 1;
        } else {
            job->next[segment->last_op - 1] = i;
        }
        segment->last_op = i + 1;
    }
    enum status status = STATUS_OK;
    for (uint32_t i = from; status == STATUS_OK && i < to; i++) {
        if (job->op[i].segment->first_op == i + 1) {
            status = write_chain(store, job, i);
        }
    }
    return status;
}

static enum status run_cut(struct store *store, const struct op *op)
{
    enum status status = segment_open(store, op->segment, false);
    if (status == STATUS_NOT_FOUND) {
        return STATUS_OK; /* nothing of it was written */
    }
    if (status != STATUS_OK) {
        return status;
    }
    int64_t size = store->disk->size(store->disk->context, op->segment->fd);
    if (size < 0) {
        return disk_status(size);
    }
    return (uint64_t)size > op->at
               ? disk_status(store->disk->resize(store->disk->context, op->segment->fd, op->at))
               : STATUS_OK;
}

static enum status unlink_quietly(struct store *store, const char *path)
{
    int result = store->disk->unlink(store->disk->context, path);
    return result == -ENOENT ? STATUS_OK : disk_status(result);
}

static enum status run_unlink(struct store *store, const struct op *op)
{
    static const char *const suffix[] = {"log", "index", "producers"};
    dirty_forget(store, op->segment);
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof(suffix) / sizeof(suffix[0]); i++) {
        char path[STORE_PATH_BYTES];
        log_path_segment(path, store->dir, op->shard, op->segment->base, suffix[i]);
        status = unlink_quietly(store, path);
    }
    dirty_dir(store, op->shard);
    return status;
}

/* Only a help for readers: without it they scan. So nothing that fails here matters. */
static void run_seal(struct store *store, struct op *op)
{
    struct segment_index *index = op->data;
    char path[STORE_PATH_BYTES];
    log_path_segment(path, store->dir, op->shard, op->segment->base, "log");
    if (index->from > 0) {
        segment_index_release(index);
        if (segment_index_build(store->disk, path, op->shard, op->at, index) != STATUS_OK) {
            return;
        }
    }
    log_path_segment(path, store->dir, op->shard, op->segment->base, "index");
    status_ignore(segment_index_write(store->disk, path, op->segment->base, op->at, index),
                  "readers scan instead");
}

struct removal {
    struct store *store;
    const char *dir;
    enum status status;
};

static int remove_name(void *arg, const char *name)
{
    struct removal *removal = arg;
    char path[STORE_PATH_BYTES];
    log_path_join(path, removal->dir, name);
    removal->status = unlink_quietly(removal->store, path);
    return removal->status == STATUS_OK ? 0 : 1;
}

enum status log_dir_remove(struct store *store, uint64_t shard)
{
    char dir[STORE_PATH_BYTES];
    log_path_shard(dir, store->dir, shard);
    struct removal removal = {.store = store, .dir = dir, .status = STATUS_OK};
    int listed = store->disk->list(store->disk->context, dir, remove_name, &removal);
    if (listed == -ENOENT) {
        return STATUS_OK;
    }
    if (listed < 0 || removal.status != STATUS_OK) {
        return listed < 0 ? disk_status(listed) : removal.status;
    }
    store->dirty.shards_dir = true;
    return disk_status(store->disk->rmdir(store->disk->context, dir));
}

enum status log_dir_quarantine(struct store *store, uint64_t shard, uint64_t serial)
{
    char dir[STORE_PATH_BYTES], to_dir[STORE_PATH_BYTES], to[STORE_PATH_BYTES + 64];
    log_path_shard(dir, store->dir, shard);
    log_path_join(to_dir, store->dir, "quarantine");
    (void)snprintf(to, sizeof(to), "%s/%u-%u-boot%llu-%llu", to_dir, (unsigned)(shard >> 32),
                   (unsigned)shard, (unsigned long long)store->info.boot_id,
                   (unsigned long long)serial);
    int result = store->disk->mkdir(store->disk->context, to_dir);
    if (result < 0 && result != -EEXIST) {
        return disk_status(result);
    }
    result = store->disk->rename(store->disk->context, dir, to);
    if (result == -ENOENT) {
        return STATUS_OK; /* it never had a segment */
    }
    store->dirty.shards_dir = true;
    return result < 0 ? disk_status(result)
                      : disk_status(store->disk->sync_dir(store->disk->context, to_dir));
}

static enum status run_op(struct store *store, struct op *op)
{
    switch (op->type) {
    case OP_CUT:
        return run_cut(store, op);
    case OP_UNLINK:
        return run_unlink(store, op);
    case OP_SEAL:
        run_seal(store, op);
        return STATUS_OK;
    case OP_PRODUCERS:
        log_producers_write(store->disk, store->dir, op->shard, op->point.end,
                            bytes_of(op->data, op->at));
        return STATUS_OK;
    case OP_CLOSE: {
        /* Its directory may go to quarantine: what was written should be there. */
        enum status status =
            op->segment->fd < 0
                ? STATUS_OK
                : disk_status(store->disk->sync(store->disk->context, op->segment->fd));
        dirty_forget(store, op->segment);
        return status;
    }
    case OP_PATCH: {
        enum status status = segment_open(store, op->segment, true);
        return status == STATUS_OK ? patch_write(store, op->data, op->segment->fd) : status;
    }
    case OP_REMOVE:
        return log_dir_remove(store, op->shard);
    case OP_QUARANTINE:
        return log_dir_quarantine(store, op->shard, op->lsn);
    case OP_WRITE:
        break;
    }
    UNREACHABLE();
}

void log_apply_run(struct task *task)
{
    struct apply_job *job = CONTAINER_OF(task, struct apply_job, task);
    struct store *store = job->store;
    job->status = STATUS_OK;
    job->done = 0;
    while (job->done < job->count && job->status == STATUS_OK) {
        uint32_t from = job->done, to = from;
        while (to < job->count && job->op[to].type == OP_WRITE) {
            to++;
        }
        if (to > from) {
            job->status = write_run(store, job, from, to);
        } else {
            job->status = run_op(store, &job->op[from]);
            to = from + 1;
        }
        job->done = job->status == STATUS_OK ? to : from;
    }
    if (job->make_file != UINT32_MAX) {
        job->made = journal_make_file(&store->journal_options, job->make_file);
    }
    if (job->status == STATUS_OK && job->sync) {
        dirty_take(store, &store->sync.unsynced);
    }
}
