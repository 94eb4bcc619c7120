/* The store as its core sees it: a queue of writes, and reads. */
#include "controller/raft/store.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "controller/raft/store_internal.h"

enum status store_error(sqlite3 *db, int rc, const char *what, struct error *error)
{
    enum status status = STATUS_IO;
    switch (rc & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        status = STATUS_CORRUPT;
        break;
    case SQLITE_FULL:
        status = STATUS_DISK_FULL;
        break;
    case SQLITE_NOMEM:
        status = STATUS_NO_MEMORY;
        break;
    default:
        break;
    }
    return error_set(error, status, "raft.db: %s: %s", what,
                     db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
}

uint32_t store_entry_crc(const struct raft_entry_view *entry)
{
    uint8_t header[24];
    put_u64(header, entry->index);
    put_u64(header + 8, entry->term);
    put_u32(header + 16, entry->type);
    put_u32(header + 20, (uint32_t)entry->data.size);
    return crc32c(crc32c(0, header, sizeof(header)), entry->data.data, entry->data.size);
}

uint32_t store_meta_crc(const struct store_meta *meta)
{
    uint8_t fields[24];
    put_u64(fields, meta->generation);
    put_u64(fields + 8, meta->term);
    put_u64(fields + 16, meta->voted_for);
    return crc32c(0, fields, sizeof(fields));
}

uint32_t store_snapshot_crc(const struct raft_snapshot_info *info)
{
    uint8_t fields[32];
    put_u64(fields, info->index);
    put_u64(fields + 8, info->term);
    put_u64(fields + 16, info->configuration_index);
    put_u64(fields + 24, info->bytes);
    uint32_t crc = crc32c(0, fields, sizeof(fields));
    crc = crc32c(crc, info->hash, sizeof(info->hash));
    return crc32c(crc, info->configuration, info->configuration_size);
}

void store_job_free(struct store_job *job)
{
    if (job != NULL) {
        free(job->entries);
        free(job->data);
        free(job);
    }
}

static void release(struct raft_store *store)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
    }
    sqlite3_finalize(store->read_entry);
    /* The reader first: the last connection to close folds the write-ahead log in. */
    sqlite3_close(store->reader);
    sqlite3_close(store->db);
    raft_store_loaded(store);
    if (store->mark_fd >= 0) {
        (void)close(store->mark_fd);
    }
    if (store->dir_fd >= 0) {
        (void)close(store->dir_fd);
    }
    if (store->lock_fd >= 0) {
        (void)close(store->lock_fd);
    }
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store->dir);
    free(store);
}

enum status raft_store_open(const struct raft_store_options *options,
                            struct raft_core_state *out_state, struct raft_store **out,
                            struct error *error)
{
    struct raft_store *store = calloc(1, sizeof(*store));
    char *dir = strdup(options->dir);
    if (store == NULL || dir == NULL) {
        free(store);
        free(dir);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    store->options = *options;
    store->dir = dir;
    store->options.dir = dir;
    store->lock_fd = store->mark_fd = store->dir_fd = -1;
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->changed, NULL);
    list_init(&store->jobs);
    struct raft_core_state state = {0};
    enum status status = store_load(store, &state, error);
    if (status == STATUS_OK && pthread_create(&store->thread, NULL, store_writer, store) != 0) {
        status = error_set(error, STATUS_NO_MEMORY, "no thread could be started");
    }
    if (status != STATUS_OK) {
        release(store);
        return status;
    }
    store->running = true;
    *out_state = state;
    *out = store;
    return STATUS_OK;
}

void raft_store_loaded(struct raft_store *store)
{
    for (uint32_t i = 0; i < store->loaded_count; i++) {
        free((void *)(uintptr_t)store->loaded[i].data.data);
    }
    free(store->loaded);
    store->loaded = NULL;
    store->loaded_count = 0;
}

void raft_store_close(struct raft_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->stopping = true;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    if (store->running) {
        pthread_join(store->thread, NULL);
    }
    while (!list_empty(&store->jobs)) {
        store_job_free(CONTAINER_OF(list_pop(&store->jobs), struct store_job, node));
    }
    release(store);
}

/* ---- the queue ---- */

/* Takes the job. */
static enum status queue(struct raft_store *store, struct store_job *job, uint64_t *out_write)
{
    pthread_mutex_lock(&store->lock);
    enum status status = store->error.status;
    if (status == STATUS_OK) {
        job->write = ++store->queued;
        *out_write = job->write;
        list_push(&store->jobs, &job->node);
        job = NULL;
        pthread_cond_broadcast(&store->changed);
    }
    pthread_mutex_unlock(&store->lock);
    store_job_free(job);
    return status;
}

enum status raft_store_save_vote(struct raft_store *store, uint64_t term, uint64_t voted_for)
{
    struct store_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->kind = STORE_VOTE;
    job->term = term;
    job->voted_for = voted_for;
    uint64_t write = 0;
    enum status status = queue(store, job, &write);
    if (status != STATUS_OK) {
        return status;
    }
    pthread_mutex_lock(&store->lock);
    while (store->durable < write && store->error.status == STATUS_OK) {
        pthread_cond_wait(&store->changed, &store->lock);
    }
    status = store->error.status;
    pthread_mutex_unlock(&store->lock);
    return status;
}

enum status raft_store_append(struct raft_store *store, uint64_t from,
                              const struct raft_entry_view *entries, uint32_t count,
                              uint64_t *out_write)
{
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += entries[i].data.size;
    }
    struct store_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->kind = STORE_APPEND;
    job->index = from;
    job->count = count;
    job->entries = calloc((size_t)count + 1, sizeof(*job->entries));
    job->data = malloc(size + 1);
    if (job->entries == NULL || job->data == NULL) {
        store_job_free(job);
        return STATUS_NO_MEMORY;
    }
    uint8_t *at = job->data;
    for (uint32_t i = 0; i < count; i++) {
        job->entries[i] = entries[i];
        job->entries[i].data.data = at;
        if (entries[i].data.size > 0) {
            memcpy(at, entries[i].data.data, entries[i].data.size);
        }
        at += entries[i].data.size;
    }
    return queue(store, job, out_write);
}

static enum status queue_snapshot(struct raft_store *store, enum store_job_kind kind,
                                  const struct raft_snapshot_info *snapshot, uint64_t *out_write)
{
    struct store_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->kind = kind;
    job->snapshot = *snapshot;
    return queue(store, job, out_write);
}

enum status raft_store_save_snapshot(struct raft_store *store,
                                     const struct raft_snapshot_info *snapshot, uint64_t *out_write)
{
    return queue_snapshot(store, STORE_SNAPSHOT, snapshot, out_write);
}

enum status raft_store_install(struct raft_store *store, const struct raft_snapshot_info *snapshot,
                               uint64_t *out_write)
{
    return queue_snapshot(store, STORE_INSTALL, snapshot, out_write);
}

enum status raft_store_compact(struct raft_store *store, uint64_t upto)
{
    struct store_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->kind = STORE_COMPACT;
    job->index = upto;
    uint64_t write;
    return queue(store, job, &write);
}

enum status raft_store_written(struct raft_store *store, uint64_t *out_write, struct error *error)
{
    pthread_mutex_lock(&store->lock);
    enum status status = store->error.status;
    if (status == STATUS_OK) {
        *out_write = store->durable;
    } else if (error != NULL) {
        *error = store->error;
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

enum status raft_store_load(struct raft_store *store, uint64_t index, uint64_t *out_term,
                            uint32_t *out_type, struct buf *buf)
{
    sqlite3_stmt *statement = store->read_entry;
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)index);
    enum status status = STATUS_CORRUPT;
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        struct raft_entry_view entry = {
            .index = index,
            .term = (uint64_t)sqlite3_column_int64(statement, 0),
            .type = (uint32_t)sqlite3_column_int64(statement, 1),
            .data = bytes_of(sqlite3_column_blob(statement, 2),
                             (size_t)sqlite3_column_bytes(statement, 2)),
        };
        if (store_entry_crc(&entry) == (uint32_t)sqlite3_column_int64(statement, 3)) {
            status = buf_append(buf, entry.data.data, entry.data.size);
            *out_term = entry.term;
            *out_type = entry.type;
        }
    } else if (rc != SQLITE_DONE) {
        status = store_error(store->reader, rc, "reading", NULL);
    }
    (void)sqlite3_reset(statement);
    return status;
}
