/* The writer thread: whatever waits becomes one transaction and one sync. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store_internal.h"

enum { MARK_BYTES = 12 };

static const char *const texts[STORE_STATEMENTS] = {
    [STORE_BEGIN] = "BEGIN IMMEDIATE",
    [STORE_COMMIT] = "COMMIT",
    [STORE_ROLLBACK] = "ROLLBACK",
    [STORE_PUT_ENTRY] = "INSERT INTO log(idx, term, type, data, crc) VALUES (?, ?, ?, ?, ?)",
    [STORE_CUT_END] = "DELETE FROM log WHERE idx >= ?",
    [STORE_CUT_BEGINNING] = "DELETE FROM log WHERE idx <= ?",
    [STORE_PUT_META] = "REPLACE INTO meta(one, generation, term, voted_for, crc) "
                       "VALUES (1, ?, ?, ?, ?)",
    [STORE_PUT_SNAPSHOT] = "REPLACE INTO snapshot(one, idx, term, configuration_index, "
                           "configuration, bytes, hash, crc) VALUES (1, ?, ?, ?, ?, ?, ?, ?)",
};

enum status store_prepare(struct raft_store *store, struct error *error)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        int rc = sqlite3_prepare_v3(store->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &store->statements[i], NULL);
        if (rc != SQLITE_OK) {
            return store_error(store->db, rc, "preparing", error);
        }
    }
    return STATUS_OK;
}

enum status store_run(struct raft_store *store, enum store_statement statement, struct error *error)
{
    int rc = sqlite3_step(store->statements[statement]);
    enum status status = STATUS_OK;
    if (rc != SQLITE_DONE) {
        status = store_error(store->db, rc, "writing", error);
    }
    (void)sqlite3_reset(store->statements[statement]);
    return status;
}

static void bind_blob(sqlite3_stmt *statement, int at, struct bytes bytes)
{
    /* An empty blob, not NULL. */
    sqlite3_bind_blob64(statement, at, bytes.size == 0 ? "" : (const void *)bytes.data, bytes.size,
                        SQLITE_STATIC);
}

enum status store_put_entry(struct raft_store *store, const struct raft_entry_view *entry,
                            struct error *error)
{
    sqlite3_stmt *statement = store->statements[STORE_PUT_ENTRY];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)entry->index);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)entry->term);
    sqlite3_bind_int64(statement, 3, entry->type);
    bind_blob(statement, 4, entry->data);
    sqlite3_bind_int64(statement, 5, store_entry_crc(entry));
    return store_run(store, STORE_PUT_ENTRY, error);
}

enum status store_put_meta(struct raft_store *store, struct error *error)
{
    sqlite3_stmt *statement = store->statements[STORE_PUT_META];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)store->meta.generation);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)store->meta.term);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)store->meta.voted_for);
    sqlite3_bind_int64(statement, 4, store_meta_crc(&store->meta));
    return store_run(store, STORE_PUT_META, error);
}

enum status store_put_snapshot(struct raft_store *store, const struct raft_snapshot_info *info,
                               struct error *error)
{
    sqlite3_stmt *statement = store->statements[STORE_PUT_SNAPSHOT];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)info->index);
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)info->term);
    sqlite3_bind_int64(statement, 3, (sqlite3_int64)info->configuration_index);
    bind_blob(statement, 4, bytes_of(info->configuration, info->configuration_size));
    sqlite3_bind_int64(statement, 5, (sqlite3_int64)info->bytes);
    bind_blob(statement, 6, bytes_of(info->hash, sizeof(info->hash)));
    sqlite3_bind_int64(statement, 7, store_snapshot_crc(info));
    return store_run(store, STORE_PUT_SNAPSHOT, error);
}

static enum status cut(struct raft_store *store, enum store_statement statement, uint64_t index,
                       struct error *error)
{
    sqlite3_bind_int64(store->statements[statement], 1, (sqlite3_int64)index);
    return store_run(store, statement, error);
}

enum status store_put_mark(struct raft_store *store, bool sync, struct error *error)
{
    uint8_t mark[MARK_BYTES];
    put_u64(mark, store->meta.generation);
    put_u32(mark + 8, crc32c(0, mark, 8));
    ssize_t written = pwrite(store->mark_fd, mark, sizeof(mark), 0);
    if (written != (ssize_t)sizeof(mark) || (sync && fsync(store->mark_fd) != 0)) {
        return error_set(error, errno == ENOSPC ? STATUS_DISK_FULL : STATUS_IO, "raft.mark: %s",
                         written < 0 ? strerror(errno) : "short write");
    }
    return STATUS_OK;
}

static enum status append(struct raft_store *store, const struct store_job *job,
                          struct error *error)
{
    enum status status = cut(store, STORE_CUT_END, job->index, error);
    for (uint32_t i = 0; status == STATUS_OK && i < job->count; i++) {
        status = store_put_entry(store, &job->entries[i], error);
    }
    return status;
}

static enum status do_job(struct raft_store *store, const struct store_job *job,
                          struct error *error)
{
    enum status status = STATUS_INTERNAL;
    switch (job->kind) {
    case STORE_VOTE:
        store->meta.term = job->term;
        store->meta.voted_for = job->voted_for;
        return STATUS_OK;
    case STORE_APPEND:
        return append(store, job, error);
    case STORE_SNAPSHOT:
        return store_put_snapshot(store, &job->snapshot, error);
    case STORE_COMPACT:
        return cut(store, STORE_CUT_BEGINNING, job->index, error);
    case STORE_INSTALL:
        /* The file must be there, whole, before the log that it replaces goes. */
        status = raft_snapshot_publish_incoming(store->dir, job->snapshot.index, error);
        if (status == STATUS_OK) {
            status = store_put_snapshot(store, &job->snapshot, error);
        }
        return status != STATUS_OK ? status : cut(store, STORE_CUT_END, 0, error);
    }
    return status;
}

static enum status do_jobs(struct raft_store *store, struct list *jobs, struct error *error)
{
    uint64_t snapshot = 0;
    enum status status = store_run(store, STORE_BEGIN, error);
    LIST_FOR_EACH (node, jobs) {
        const struct store_job *job = CONTAINER_OF(node, struct store_job, node);
        if (status == STATUS_OK) {
            status = do_job(store, job, error);
        }
        if (job->kind == STORE_SNAPSHOT || job->kind == STORE_INSTALL) {
            snapshot = job->snapshot.index;
        }
    }
    if (status == STATUS_OK) {
        store->meta.generation++;
        status = store_put_meta(store, error);
    }
    if (status == STATUS_OK) {
        status = store_run(store, STORE_COMMIT, error);
    }
    if (status == STATUS_OK) {
        status = store_put_mark(store, false, error);
    }
    if (status == STATUS_OK && snapshot != 0) {
        raft_snapshot_remove_others(store->dir, snapshot);
    }
    return status;
}

void *store_writer(void *data)
{
    struct raft_store *store = data;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (list_empty(&store->jobs) && !store->stopping) {
            pthread_cond_wait(&store->changed, &store->lock);
        }
        if (list_empty(&store->jobs) || store->error.status != STATUS_OK) {
            break;
        }
        struct list jobs;
        list_move(&jobs, &store->jobs);
        uint64_t last = store->queued;
        pthread_mutex_unlock(&store->lock);

        struct error error = {.status = STATUS_OK};
        enum status status = do_jobs(store, &jobs, &error);
        while (!list_empty(&jobs)) {
            store_job_free(CONTAINER_OF(list_pop(&jobs), struct store_job, node));
        }

        pthread_mutex_lock(&store->lock);
        if (status == STATUS_OK) {
            store->durable = last;
        } else {
            store->error = error;
        }
        pthread_cond_broadcast(&store->changed);
        pthread_mutex_unlock(&store->lock);
        store->options.written(store->options.data);
        pthread_mutex_lock(&store->lock);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}
