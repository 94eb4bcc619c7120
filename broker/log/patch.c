/* Writing over damage what another replica has. First, on the reader thread: is it what belongs
 * there? Then, on the writer thread and in its turn among the other changes of files: the write.
 *
 * Nothing but a damaged piece is written to, between a good batch (or the segment's beginning) and
 * a good batch (or the segment's end), so a crash at any moment leaves a damaged piece there, or a
 * repaired one. A sector that is shared with a good neighbour gets the neighbour's bytes back as
 * they are. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"

struct patch_job {
    struct task task;
    struct check_log on;
    struct store *store;
    struct log_patch *patch;
    uint64_t cuts;
    /* The reader's. */
    char path[STORE_PATH_BYTES], next_path[STORE_PATH_BYTES];
    uint64_t shard, limit;
    uint64_t end; /* of the log, at the end of what is written of the segment */
    uint32_t end_crc;
    bool end_known; /* end_crc is; else, with `whole`, the segment behind says it */
    bool whole;
    bool contradicts; /* it ends where ours does, and is something else */
    size_t take;      /* so many bytes close the gap */
    uint64_t good_to;
};

/* What the batch behind this segment says of the one before it. */
static enum status closing_crc(struct patch_job *job)
{
    struct segment_scan scan;
    struct batch_header h = {0};
    struct bytes batch;
    enum status status = segment_scan_open(&scan, job->store->disk, job->next_path, job->shard);
    if (status == STATUS_OK) {
        status = segment_scan_next(&scan, &h, &batch);
        segment_scan_close(&scan);
    }
    if (status != STATUS_OK || h.base_offset != job->end) {
        return STATUS_BUSY;
    }
    job->end_crc = h.prev_crc;
    job->end_known = true;
    return STATUS_OK;
}

/* Whether a good batch lies at `at` that follows this one. */
static bool joins(const struct patch_job *job, uint64_t at, const struct log_point *point)
{
    struct segment_scan scan;
    if (segment_scan_open(&scan, job->store->disk, job->path, job->shard) != STATUS_OK) {
        return false;
    }
    struct batch_header h;
    struct bytes batch;
    scan.at = at;
    scan.limit = job->limit < scan.limit ? job->limit : scan.limit;
    scan.has_point = true;
    scan.point = *point;
    enum status status = segment_scan_next(&scan, &h, &batch);
    segment_scan_close(&scan);
    return status == STATUS_OK;
}

/* OK: closed. MORE: it is not, yet. */
static enum status closes(struct patch_job *job, uint64_t at, const struct log_point *point)
{
    if (point->end > job->end) {
        return STATUS_CORRUPT;
    }
    if (point->end < job->end) {
        return joins(job, at, point) ? STATUS_OK : STATUS_MORE;
    }
    if (!job->end_known && job->whole) {
        enum status status = closing_crc(job);
        if (status != STATUS_OK) {
            return status;
        }
    }
    bool right = job->end_known && job->end_crc == point->crc && (job->whole || at == job->limit);
    job->contradicts = job->end_known && !right;
    return right ? STATUS_OK : STATUS_CORRUPT;
}

static void patch_run(struct task *task)
{
    struct patch_job *job = CONTAINER_OF(task, struct patch_job, task);
    const struct log_patch *patch = job->patch;
    struct log_point point = patch->point;
    bool has_point = patch->has_point;
    enum status status = STATUS_MORE;
    size_t used = 0;
    while (status == STATUS_MORE && used < patch->data.size) {
        struct bytes rest = bytes_of(patch->data.data + used, patch->data.size - used);
        struct batch_header h;
        bool fits = batch_decode(rest, &h) == STATUS_OK && h.shard == job->shard &&
                    h.base_offset == point.end && (!has_point || h.prev_crc == point.crc);
        if (!fits) {
            status = STATUS_CORRUPT;
            break;
        }
        used += batch_bytes(&h);
        point = (struct log_point){.end = batch_end(&h), .epoch = h.epoch, .crc = h.header_crc};
        has_point = true;
        status = closes(job, patch->at + used, &point);
    }
    job->take = used;
    job->good_to = point.end;
    job->patch->status = status;
}

static void finish(struct patch_job *job, enum status status)
{
    struct log_patch *patch = job->patch;
    patch->status = status;
    patch->end = job->good_to;
    patch->blocked = job->end;
    free(job);
    patch->done(patch);
}

/* What does not close the gap is written all the same as far as its epochs are those of our
 * history: one process wrote all of an epoch, so what begins where ours began, in the same epoch,
 * is ours (docs/replication.md R6, I2). */
static bool take_known_epochs(struct patch_job *job)
{
    const struct log_patch *patch = job->patch;
    size_t good = 0;
    struct batch_header h;
    while (good < job->take) {
        struct bytes rest = bytes_of(patch->data.data + good, patch->data.size - good);
        if (batch_header_decode(rest, &h) != STATUS_OK || batch_end(&h) > job->end ||
            log_history_before(job->on.log, batch_end(&h)) != h.epoch ||
            log_history_before(job->on.log, h.base_offset + 1) != h.epoch) {
            break;
        }
        good += batch_bytes(&h);
        job->good_to = batch_end(&h);
    }
    job->take = good;
    return good > 0 && patch->at + good <= job->limit;
}

/* The log as it is now still has the gap: the write takes its turn behind the changes of files that
 * were ordered before. */
static enum status order_write(struct patch_job *job)
{
    struct store *store = job->store;
    struct shard_log *log = job->on.log;
    if (log == NULL || store->closing) {
        return STATUS_CANCELLED;
    }
    struct segment *segment = log_segment_holding(log, job->patch->segment, NULL);
    if (job->cuts != log->cuts || segment == NULL || segment->base != job->patch->segment) {
        return STATUS_NOT_FOUND;
    }
    if (store->out != STATUS_OK) {
        return store->out;
    }
    enum status status = log_ops_reserve(store, 1);
    if (status == STATUS_OK) {
        log_ops_push(store, &(struct op){.type = OP_PATCH,
                                         .lsn = store->last_lsn,
                                         .position = store->last_position,
                                         .shard = job->shard,
                                         .segment = segment,
                                         .at = job->patch->at,
                                         .data = job});
        log_apply_advance(store, false);
    }
    return status;
}

static void patch_checked(struct task *task)
{
    struct patch_job *job = CONTAINER_OF(task, struct patch_job, task);
    enum status status = job->patch->status;
    if (job->on.log == NULL || job->store->closing) {
        status = STATUS_CANCELLED;
    } else if (job->patch->partial && !job->contradicts &&
               (status == STATUS_MORE || status == STATUS_BUSY || status == STATUS_CORRUPT)) {
        status = take_known_epochs(job) ? STATUS_OK : STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        status = order_write(job);
        if (status == STATUS_OK) {
            list_remove(&job->on.link);
            list_push(&job->store->checks, &job->on.link); /* until it is written */
            return;
        }
    }
    list_remove(&job->on.link);
    finish(job, status);
}

enum status patch_write(struct store *store, const struct patch_job *job, int fd)
{
    const struct disk *disk = store->disk;
    enum status status = disk_write_all(disk, fd, job->patch->data.data, job->take, job->patch->at);
    return status == STATUS_OK ? disk_status(disk->sync(disk->context, fd)) : status;
}

void patch_written(struct patch_job *job, enum status status)
{
    struct shard_log *log = job->on.log;
    list_remove(&job->on.link);
    struct segment *segment =
        log == NULL ? NULL : log_segment_holding(log, job->patch->segment, NULL);
    uint64_t end = job->patch->at + job->take;
    if (status == STATUS_OK && job->whole && job->good_to == job->end && segment != NULL &&
        segment->base == job->patch->segment && segment->written != end) {
        segment->bytes = segment->written = end; /* it had been cut off, or was lost */
        segment->index.from = end;
    }
    finish(job, log == NULL ? STATUS_CANCELLED : status);
}

/* What the home thread knows of where the gap has to close. */
static void aim(struct patch_job *job, const struct shard_log *log, const struct segment *segment,
                uint32_t index)
{
    job->limit = segment->written;
    job->whole = index + 1 < log->segment_count && segment->written == segment->bytes;
    job->end = segment->end;
    log_path_segment(job->path, log->store->dir, job->shard, segment->base, "log");
    if (!job->whole) {
        job->end = log->applied.point.end;
        job->end_crc = log->applied.point.crc;
        job->end_known = log->applied.segment_base == segment->base &&
                         log->applied.segment_bytes == segment->written;
        return;
    }
    const struct segment *next = log->segment[index + 1];
    log_path_segment(job->next_path, log->store->dir, job->shard, next->base, "log");
    uint32_t entry = log_tail_find(log, next->base);
    const struct tail_entry *first = entry == UINT32_MAX ? NULL : log_tail_entry(log, entry);
    if (first != NULL && first->base == next->base) {
        job->end_crc = first->prev_crc;
        job->end_known = true;
    }
}

enum status store_patch(struct store *store, struct log_patch *patch)
{
    if (patch->data.size > LOG_PATCH_BYTES_MAX) {
        return STATUS_TOO_LARGE;
    }
    struct shard_log *log = patch->log;
    uint32_t index;
    const struct segment *segment = log_segment_holding(log, patch->segment, &index);
    if (segment == NULL || segment->base != patch->segment || patch->at > segment->written) {
        return STATUS_NOT_FOUND;
    }
    struct patch_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->store = store;
    job->on.log = log;
    job->patch = patch;
    job->cuts = log->cuts;
    job->shard = log->journal.id;
    aim(job, log, segment, index);
    job->task.run = patch_run;
    job->task.done = patch_checked;
    list_push(&store->checks, &job->on.link);
    disk_worker_submit(&store->reader, &job->task);
    return STATUS_OK;
}
