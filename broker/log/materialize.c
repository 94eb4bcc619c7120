/* The second half of recovery: files made equal to what was replayed. Runs before any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/recover.h"
#include "broker/log/shard_log.h"

struct listing {
    uint64_t *base;
    uint32_t count, capacity;
    enum status status;
};

static int list_segment(void *arg, const char *name)
{
    struct listing *listing = arg;
    uint64_t base;
    if (!log_name_is_segment(name, "log", &base)) {
        return 0;
    }
    if (listing->count == listing->capacity) {
        uint32_t capacity = listing->capacity == 0 ? 16 : 2 * listing->capacity;
        uint64_t *grown = realloc(listing->base, capacity * sizeof(*grown));
        if (grown == NULL) {
            listing->status = STATUS_NO_MEMORY;
            return 1;
        }
        listing->base = grown;
        listing->capacity = capacity;
    }
    listing->base[listing->count++] = base;
    return 0;
}

static int by_base(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

static enum status segment_found(struct shard_log *log, uint64_t base)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, log->journal.id, base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, log->journal.id);
    if (status != STATUS_OK) {
        return status;
    }
    struct batch_header h = {0};
    struct bytes batch;
    scan.payloads = false;
    if (segment_scan_next(&scan, &h, &batch) != STATUS_OK) {
        h.append_ms = 0; /* damaged, or empty */
    }
    uint64_t size = 0;
    size = scan.limit;
    segment_scan_close(&scan);
    status = log_segment_reserve(log);
    struct segment *segment;
    if (status == STATUS_OK) {
        status = log_segment_new(log, base, &segment);
    }
    if (status == STATUS_OK) {
        segment->bytes = segment->written = size;
        segment->first_ms = segment->last_ms = h.append_ms;
        segment->index.from = size;
        if (log->segment_count > 0) {
            log->segment[log->segment_count - 1]->end = base;
        }
        log->segment[log->segment_count++] = segment;
    }
    return status;
}

enum status log_segments_list(struct shard_log *log)
{
    char dir[STORE_PATH_BYTES];
    log_path_shard(dir, log->store->dir, log->journal.id);
    struct listing listing = {.status = STATUS_OK};
    int listed = log->store->disk->list(log->store->disk->context, dir, list_segment, &listing);
    enum status status = listing.status;
    if (status == STATUS_OK && listed < 0 && listed != -ENOENT) {
        status = disk_status(listed);
    }
    if (listing.count > 0) {
        qsort(listing.base, listing.count, sizeof(*listing.base), by_base);
    }
    for (uint32_t i = 0; status == STATUS_OK && i < listing.count; i++) {
        status = segment_found(log, listing.base[i]);
    }
    free(listing.base);
    return status;
}

/* Takes a segment's files away. Behind damage nothing is thrown away: they go to quarantine. */
static enum status segment_remove(struct recovery *recovery, struct shard_log *log,
                                  struct segment *segment)
{
    static const char *const suffix[] = {"index", "producers", "log"};
    struct store *store = recovery->store;
    const struct disk *disk = store->disk;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof(suffix) / sizeof(suffix[0]); i++) {
        char path[STORE_PATH_BYTES], dir[STORE_PATH_BYTES], to[STORE_PATH_BYTES + 64];
        log_path_segment(path, store->dir, segment->shard, segment->base, suffix[i]);
        int result;
        if (log->uncertain && segment->base >= log->log_start && i == 2) {
            log_path_join(dir, store->dir, "quarantine");
            (void)disk->mkdir(disk->context, dir);
            (void)snprintf(to, sizeof(to), "%s/%u-%u-%020llu.boot%llu.log", dir,
                           (unsigned)(segment->shard >> 32), (unsigned)segment->shard,
                           (unsigned long long)segment->base,
                           (unsigned long long)store->info.boot_id);
            result = disk->rename(disk->context, path, to);
        } else {
            result = disk->unlink(disk->context, path);
        }
        status = result == -ENOENT ? STATUS_OK : disk_status(result);
    }
    recovery->changed = true;
    log_segment_drop(segment);
    return status;
}

static enum status segment_shorten(struct recovery *recovery, struct segment *segment,
                                   uint64_t bytes)
{
    if (segment->bytes == bytes) {
        return STATUS_OK;
    }
    CHECK(segment->bytes > bytes);
    const struct disk *disk = recovery->store->disk;
    char path[STORE_PATH_BYTES];
    log_path_segment(path, recovery->store->dir, segment->shard, segment->base, "log");
    int fd = disk->open(disk->context, path, O_RDWR);
    if (fd < 0) {
        return disk_status(fd);
    }
    int result = disk->resize(disk->context, fd, bytes);
    (void)disk->close(disk->context, fd);
    recovery->changed = true;
    segment->bytes = segment->written = bytes;
    return disk_status(result);
}

struct located recovering_files_end(const struct recovering *r, uint32_t *out_count)
{
    uint32_t count = 0;
    while (count < r->batch.count && r->batch.item[count].file == IN_SEGMENT) {
        count++;
    }
    *out_count = count;
    if (count == 0) {
        return r->known;
    }
    const struct recovered_batch *b = &r->batch.item[count - 1];
    return (struct located){
        .point = {.end = b->base + b->count, .epoch = b->epoch, .crc = b->crc},
        .segment_base = b->segment_base,
        .segment_bytes = b->at + b->bytes,
        .last_at = b->at,
    };
}

static enum status cut_files(struct recovery *recovery, struct shard_log *log,
                             const struct located *end)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && log->segment_count > 0) {
        struct segment *segment = log->segment[log->segment_count - 1];
        if (end->point.end > 0 && segment->base == end->segment_base) {
            segment->end = end->point.end;
            return segment_shorten(recovery, segment, end->segment_bytes);
        }
        log->segment_count--;
        status = segment_remove(recovery, log, segment);
    }
    return status;
}

static enum status trim_files(struct recovery *recovery, struct shard_log *log)
{
    enum status status = STATUS_OK;
    while (status == STATUS_OK && log->segment_count > 1 &&
           log->segment[1]->base <= log->log_start) {
        struct segment *first = log->segment[0];
        log->segment_count--;
        memmove(log->segment, log->segment + 1, log->segment_count * sizeof(struct segment *));
        status = segment_remove(recovery, log, first);
    }
    return status;
}

/* The index of what was read while scanning. */
static enum status index_scanned(struct shard_log *log, uint32_t count)
{
    const struct recovering *r = log->recovering;
    struct segment *segment = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const struct recovered_batch *b = &r->batch.item[i];
        if (segment == NULL || segment->base != b->segment_base) {
            segment = log_segment_holding(log, b->base, NULL);
            CHECK(segment != NULL);
            segment->index.from = b->at;
        }
        enum status status = segment_index_reserve(&segment->index);
        if (status != STATUS_OK) {
            return status;
        }
        segment_index_note(&segment->index, b->base, b->ms, b->at);
        segment->last_ms = b->ms;
    }
    return STATUS_OK;
}

static enum status next_segment(struct shard_log *log, const struct recovered_batch *b, int *fd)
{
    struct store *store = log->store;
    const struct disk *disk = store->disk;
    if (*fd >= 0) {
        (void)disk->close(disk->context, *fd);
        *fd = -1;
    }
    struct segment *segment = NULL;
    enum status status = STATUS_OK;
    bool same = log->segment_count > 0 &&
                !log_segment_is_full(store, log->segment[log->segment_count - 1], b->bytes);
    if (same) {
        segment = log->segment[log->segment_count - 1];
    } else {
        status = log_segment_reserve(log);
        if (status == STATUS_OK) {
            status = log_segment_new(log, b->base, &segment);
        }
        if (status != STATUS_OK) {
            return status;
        }
        segment->first_ms = b->ms;
        log->segment[log->segment_count++] = segment;
    }
    char path[STORE_PATH_BYTES];
    log_path_shard(path, store->dir, segment->shard);
    (void)disk->mkdir(disk->context, path);
    log_path_segment(path, store->dir, segment->shard, segment->base, "log");
    *fd = disk->open(disk->context, path, O_RDWR | O_CREAT);
    return *fd < 0 ? disk_status(*fd) : STATUS_OK;
}

static enum status write_batch(struct shard_log *log, const struct recovered_batch *b, int fd,
                               struct buf *buf)
{
    struct store *store = log->store;
    buf->size = 0;
    enum status status = buf_reserve(buf, b->bytes);
    if (status == STATUS_OK) {
        status = journal_read(store->journal, b->file, b->at, buf->data, b->bytes);
    }
    struct batch_header h;
    if (status == STATUS_OK) {
        status = batch_decode(bytes_of(buf->data, b->bytes), &h);
    }
    if (status == STATUS_OK && h.header_crc != b->crc) {
        status = STATUS_CORRUPT;
    }
    struct segment *segment = log->segment[log->segment_count - 1];
    if (status == STATUS_OK) {
        status = segment_index_reserve(&segment->index);
    }
    if (status == STATUS_OK) {
        status = disk_write_all(store->disk, fd, buf->data, b->bytes, segment->bytes);
    }
    if (status != STATUS_OK) {
        return status;
    }
    segment_index_note(&segment->index, b->base, b->ms, segment->bytes);
    log->applied = (struct located){
        .point = {.end = batch_end(&h), .epoch = h.epoch, .crc = h.header_crc},
        .segment_base = segment->base,
        .segment_bytes = segment->bytes + b->bytes,
        .last_at = segment->bytes,
    };
    segment->bytes += b->bytes;
    segment->written = segment->bytes;
    segment->end = batch_end(&h);
    segment->last_ms = h.append_ms;
    return STATUS_OK;
}

static enum status write_rest(struct recovery *recovery, struct shard_log *log, uint32_t from)
{
    const struct recovering *r = log->recovering;
    const struct disk *disk = recovery->store->disk;
    struct buf buf = {0};
    int fd = -1;
    enum status status = STATUS_OK;
    for (uint32_t i = from; status == STATUS_OK && i < r->batch.count; i++) {
        const struct recovered_batch *b = &r->batch.item[i];
        if (fd < 0 ||
            log_segment_is_full(recovery->store, log->segment[log->segment_count - 1], b->bytes)) {
            status = next_segment(log, b, &fd);
        }
        if (status == STATUS_OK) {
            status = write_batch(log, b, fd, &buf);
        }
        recovery->changed = true;
    }
    if (fd >= 0) {
        (void)disk->close(disk->context, fd);
    }
    buf_release(&buf);
    return status;
}

enum status recovery_materialize(struct recovery *recovery, struct shard_log *log)
{
    struct recovering *r = log->recovering;
    enum status status = STATUS_OK;
    if (r->fresh) {
        uint64_t shard = log->journal.id;
        recovery->changed = true;
        status = id_list_has(&recovery->kept, shard) ? log_dir_quarantine(recovery->store, shard, 0)
                                                     : log_dir_remove(recovery->store, shard);
    }
    uint32_t count;
    struct located end = recovering_files_end(r, &count);
    if (status == STATUS_OK) {
        status = cut_files(recovery, log, &end);
    }
    if (status == STATUS_OK) {
        status = index_scanned(log, count);
    }
    log->applied = end;
    if (status == STATUS_OK) {
        status = write_rest(recovery, log, count);
    }
    if (status == STATUS_OK) {
        status = trim_files(recovery, log);
    }
    log->durable = log->applied;
    return status;
}

struct strays {
    struct recovery *recovery;
    struct id_list found;
    enum status status;
};

static int list_shard(void *arg, const char *name)
{
    struct strays *strays = arg;
    uint64_t shard;
    if (log_name_is_shard(name, &shard) &&
        shard_map_get(&strays->recovery->store->map, shard) == NULL) {
        strays->status = id_list_add(&strays->found, shard);
    }
    return strays->status == STATUS_OK ? 0 : 1;
}

enum status recovery_sweep(struct recovery *recovery, uint32_t *out_quarantined)
{
    struct store *store = recovery->store;
    char dir[STORE_PATH_BYTES];
    log_path_join(dir, store->dir, "shards");
    struct strays strays = {.recovery = recovery, .status = STATUS_OK};
    int listed = store->disk->list(store->disk->context, dir, list_shard, &strays);
    enum status status = strays.status;
    if (status == STATUS_OK && listed < 0) {
        status = disk_status(listed);
    }
    uint32_t quarantined = 0;
    for (uint32_t i = 0; status == STATUS_OK && i < strays.found.count; i++) {
        uint64_t shard = strays.found.id[i];
        bool remove =
            id_list_has(&recovery->deleted, shard) && !id_list_has(&recovery->kept, shard);
        status = remove ? log_dir_remove(store, shard) : log_dir_quarantine(store, shard, 0);
        quarantined += remove ? 0 : 1;
        recovery->changed = true;
    }
    free(strays.found.id);
    if (status == STATUS_OK) {
        *out_quarantined = quarantined;
    }
    return status;
}
