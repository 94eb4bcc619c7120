/* Known damage, shard by shard: kept in DIR/damage over restarts, so that a broker knows its holes
 * before it reports to a fence (docs/replication.md 2.9).
 *
 * The file only says where to look. It is written beside the old one, synced and renamed, on the
 * reader thread; one that is damaged, old or of another disk is as good as none. What it names and
 * is good all the same (it was repaired just before a crash) is found to be good.
 *
 *    0 u32 magic "WDMG"   4 u32 crc over the rest   8 u32 format   12 u32 holes
 *   16 u8[16] disk id    32 holes: u64 shard, u32 disk generation, u32 0, u64 begin, u64 end */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/formats.h"
#include "broker/log/private.h"

enum {
    HOLES_MAGIC = 0x474d4457,
    HOLES_FORMAT = FORMAT_DAMAGE,
    HOLES_HEAD = 32,
    HOLE_BYTES = 32,
    HOLES_OF_SHARD = 32, /* the nearest ones become one beyond that */
    HOLES_IN_FILE = 8192,
};

struct holes_job {
    struct task task;
    struct store *store;
    struct buf file;
    enum status status;
};

/* ---- the list of one shard: ordered, apart from one another ---- */

/* Two neighbours become one. */
static void merge_nearest(struct shard_log *log)
{
    uint32_t at = 0;
    for (uint32_t i = 1; i + 1 < log->hole_count; i++) {
        uint64_t gap = log->hole[i + 1].begin - log->hole[i].end;
        at = gap < log->hole[at + 1].begin - log->hole[at].end ? i : at;
    }
    log->hole[at].end = log->hole[at + 1].end;
    log->hole_count--;
    memmove(&log->hole[at + 1], &log->hole[at + 2],
            (log->hole_count - at - 1) * sizeof(*log->hole));
}

/* False: out of memory. */
static bool insert(struct shard_log *log, uint64_t begin, uint64_t end)
{
    if (log->hole == NULL) {
        log->hole = calloc(HOLES_OF_SHARD + 1, sizeof(*log->hole));
    }
    if (log->hole == NULL) {
        return false;
    }
    uint32_t at = 0, kept;
    while (at < log->hole_count && log->hole[at].end < begin) {
        at++;
    }
    for (kept = at; kept < log->hole_count && log->hole[kept].begin <= end; kept++) {
        begin = log->hole[kept].begin < begin ? log->hole[kept].begin : begin;
        end = log->hole[kept].end > end ? log->hole[kept].end : end;
    }
    memmove(&log->hole[at + 1], &log->hole[kept], (log->hole_count - kept) * sizeof(*log->hole));
    log->hole[at] = (struct log_hole){.begin = begin, .end = end};
    log->hole_count = log->hole_count - (kept - at) + 1;
    if (log->hole_count > HOLES_OF_SHARD) {
        merge_nearest(log);
    }
    return true;
}

/* Without what lies in [begin, end). */
static bool clear(struct shard_log *log, uint64_t begin, uint64_t end)
{
    bool changed = false;
    uint32_t kept = 0;
    struct log_hole behind = {0}; /* of one that is cut in two */
    for (uint32_t i = 0; i < log->hole_count; i++) {
        struct log_hole h = log->hole[i];
        bool touched = h.begin < end && h.end > begin;
        changed = changed || touched;
        if (touched && h.begin < begin && h.end > end) {
            behind = (struct log_hole){.begin = end, .end = h.end};
        }
        if (touched && h.begin < begin) {
            h.end = begin;
        } else if (touched) {
            h.begin = end;
        }
        if (h.begin < h.end) {
            log->hole[kept++] = h;
        }
    }
    log->hole_count = kept;
    return changed && (behind.end == 0 || insert(log, behind.begin, behind.end));
}

void shard_log_holes(const struct shard_log *log, struct replica_holes *out)
{
    *out = (struct replica_holes){0};
    for (uint32_t i = 0; i < log->hole_count; i++) {
        uint64_t begin = log->hole[i].begin, end = log->hole[i].end;
        begin = begin > log->log_start ? begin : log->log_start;
        end = end < log->last.end ? end : log->last.end;
        if (begin >= end) {
            continue; /* it was cut, or trimmed */
        }
        out->begin = out->count == 0 ? begin : out->begin;
        out->end = end;
        out->count++;
    }
}

/* ---- the file ---- */

static void path_of(const struct store *store, char out[STORE_PATH_BYTES], const char *name)
{
    log_path_join(out, store->dir, name);
}

static enum status write_file(struct store *store, struct bytes file)
{
    const struct disk *disk = store->disk;
    char path[STORE_PATH_BYTES], temporary[STORE_PATH_BYTES];
    path_of(store, path, "damage");
    path_of(store, temporary, "damage.new");
    int fd = disk->open(disk->context, temporary, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return disk_status(fd);
    }
    enum status status = disk_write_all(disk, fd, file.data, file.size, 0);
    if (status == STATUS_OK) {
        status = disk_status(disk->sync(disk->context, fd));
    }
    (void)disk->close(disk->context, fd);
    if (status == STATUS_OK) {
        status = disk_status(disk->rename(disk->context, temporary, path));
    }
    return status == STATUS_OK ? disk_status(disk->sync_dir(disk->context, store->dir)) : status;
}

static enum status encode(struct store *store, struct buf *out)
{
    uint8_t head[HOLES_HEAD] = {0};
    uint32_t count = 0;
    enum status status = buf_append(out, head, sizeof(head));
    LIST_FOR_EACH (node, &store->shards) {
        const struct shard_log *log = CONTAINER_OF(node, struct shard_log, link);
        for (uint32_t i = 0; i < log->hole_count && count < HOLES_IN_FILE; i++) {
            uint8_t entry[HOLE_BYTES] = {0};
            put_u64(entry, log->journal.id);
            put_u32(entry + 8, log->disk_gen);
            put_u64(entry + 16, log->hole[i].begin);
            put_u64(entry + 24, log->hole[i].end);
            status = status == STATUS_OK ? buf_append(out, entry, sizeof(entry)) : status;
            count++;
        }
    }
    if (status == STATUS_OK) {
        put_u32(out->data, HOLES_MAGIC);
        put_u32(out->data + 8, HOLES_FORMAT);
        put_u32(out->data + 12, count);
        memcpy(out->data + 16, store->info.disk_id, DISK_ID_BYTES);
        put_u32(out->data + 4, crc32c(0, out->data + 8, out->size - 8));
    }
    return status;
}

static void holes_run(struct task *task)
{
    struct holes_job *job = CONTAINER_OF(task, struct holes_job, task);
    job->status = write_file(job->store, buf_bytes(&job->file));
}

static void save(struct store *store);

static void holes_done(struct task *task)
{
    struct holes_job *job = CONTAINER_OF(task, struct holes_job, task);
    struct store *store = job->store;
    if (job->status == STATUS_IO) {
        store->out = STATUS_IO; /* a write or a sync has failed: never tried again (2.9) */
    }
    buf_release(&job->file);
    free(job);
    store->holes_saving = false;
    if (store->holes_changed && !store->closing && store->out == STATUS_OK) {
        save(store);
    }
}

/* For what there is no room now, or no memory, is written with the next change; until then it is
 * known in memory. */
static void save(struct store *store)
{
    store->holes_changed = true;
    if (store->holes_saving || store->out != STATUS_OK) {
        return;
    }
    struct holes_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return;
    }
    if (encode(store, &job->file) != STATUS_OK) {
        buf_release(&job->file);
        free(job);
        return;
    }
    store->holes_changed = false;
    store->holes_saving = true;
    job->store = store;
    job->task.run = holes_run;
    job->task.done = holes_done;
    disk_worker_submit(&store->reader, &job->task);
}

void shard_log_note_hole(struct shard_log *log, uint64_t begin, uint64_t end)
{
    if (begin >= end) {
        return;
    }
    for (uint32_t i = 0; i < log->hole_count; i++) {
        if (log->hole[i].begin <= begin && log->hole[i].end >= end) {
            return;
        }
    }
    if (insert(log, begin, end)) {
        save(log->store);
    }
}

void shard_log_clear_hole(struct shard_log *log, uint64_t begin, uint64_t end)
{
    if (begin < end && clear(log, begin, end)) {
        save(log->store);
    }
}

static bool is_good(const struct store *store, const uint8_t *file, size_t size)
{
    return size >= HOLES_HEAD && get_u32(file) == HOLES_MAGIC &&
           get_u32(file + 4) == crc32c(0, file + 8, size - 8) &&
           get_u32(file + 8) == HOLES_FORMAT &&
           get_u32(file + 12) == (size - HOLES_HEAD) / HOLE_BYTES &&
           memcmp(file + 16, store->info.disk_id, DISK_ID_BYTES) == 0;
}

void log_holes_load(struct store *store)
{
    const struct disk *disk = store->disk;
    char path[STORE_PATH_BYTES];
    path_of(store, path, "damage");
    int fd = disk->open(disk->context, path, O_RDONLY);
    int64_t size = fd < 0 ? -1 : disk->size(disk->context, fd);
    struct buf file = {0};
    size_t got = 0;
    if (size >= HOLES_HEAD && size <= HOLES_HEAD + HOLES_IN_FILE * HOLE_BYTES &&
        buf_reserve(&file, (size_t)size) == STATUS_OK &&
        disk_read_all(disk, fd, file.data, (size_t)size, 0, &got) == STATUS_OK &&
        is_good(store, file.data, got)) {
        for (const uint8_t *at = file.data + HOLES_HEAD; at < file.data + got; at += HOLE_BYTES) {
            struct shard_log *log = store_find_shard(store, get_u64(at));
            uint64_t begin = get_u64(at + 16), end = get_u64(at + 24);
            if (log != NULL && log->disk_gen == get_u32(at + 8) && begin < end) {
                (void)insert(log, begin, end); /* no memory: found again by reading */
            }
        }
    }
    buf_release(&file);
    if (fd >= 0) {
        (void)disk->close(disk->context, fd);
    }
}
