/* Reads from segments. The reader thread gets everything it needs in its task; what comes back is
 * checked against the log as it is by then. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"

struct read_job {
    struct task task;
    struct list link; /* store.reads */
    struct store *store;
    struct shard_log *log; /* NULL: deleted since. Not the reader's */
    struct log_read *read; /* one of these */
    struct log_seek *seek;
    uint64_t cuts;
    uint32_t tries; /* repairs that it has waited for */
    /* For the reader. */
    char path[STORE_PATH_BYTES], index_path[STORE_PATH_BYTES];
    uint64_t shard, segment_base, segment_bytes, start, limit, offset, end, time_ms;
    size_t max_bytes;
    bool has_start;         /* else the index file says where to begin */
    bool whole;             /* the segment ends where the next begins: nothing may be missing */
    struct log_point point; /* before `start`; end 0: unknown */
    /* Results. */
    enum status status;
    struct buf data;
    uint64_t first_base, next, next_at;
    struct log_point last;
};

/* Where a scan for `offset` may begin, from the index in its file; a bad one is made again. */
static uint64_t start_from_file(const struct read_job *job)
{
    const struct disk *disk = job->store->disk;
    struct segment_index index = {0};
    if (segment_index_read(disk, job->index_path, job->segment_base, job->segment_bytes, &index) !=
        STATUS_OK) {
        if (job->limit != job->segment_bytes ||
            segment_index_build(disk, job->path, job->shard, job->segment_bytes, &index) !=
                STATUS_OK) {
            return 0;
        }
        status_ignore(segment_index_write(disk, job->index_path, job->segment_base,
                                          job->segment_bytes, &index),
                      "the next reader builds it again");
    }
    const struct index_entry *entry = job->seek != NULL
                                          ? segment_index_by_time(&index, job->time_ms)
                                          : segment_index_by_offset(&index, job->offset);
    uint64_t start = entry != NULL ? entry->at : 0;
    segment_index_release(&index);
    return start;
}

/* Moves the scan to the batch that holds job->offset. MORE: it is not here. */
static enum status seek_offset(struct segment_scan *scan, uint64_t offset)
{
    for (;;) {
        struct segment_scan before = *scan;
        struct batch_header h;
        struct bytes batch;
        scan->payloads = false;
        enum status status = segment_scan_next(scan, &h, &batch);
        if (status != STATUS_OK) {
            return status;
        }
        if (batch_end(&h) > offset) {
            scan->at = before.at;
            scan->has_point = before.has_point;
            scan->point = before.point;
            return h.base_offset <= offset ? STATUS_OK : STATUS_CORRUPT;
        }
    }
}

static enum status data_fill(struct read_job *job, const struct segment_scan *scan, size_t want)
{
    uint64_t rest = job->limit - scan->at;
    want = rest < want ? (size_t)rest : want;
    size_t have = job->data.size;
    if (want <= have) {
        return STATUS_OK;
    }
    enum status status = buf_reserve(&job->data, want - have);
    size_t got = 0;
    if (status == STATUS_OK) {
        status = disk_read_all(scan->disk, scan->fd, job->data.data + have, want - have,
                               scan->at + have, &got);
    }
    if (status == STATUS_OK) {
        job->data.size += got;
    }
    return status;
}

/* Whole, checked batches from scan->at on. */
static enum status take_batches(struct read_job *job, const struct segment_scan *scan)
{
    bool has_point = scan->has_point;
    struct log_point point = scan->point;
    size_t used = 0;
    enum status status = data_fill(job, scan, job->max_bytes);
    while (status == STATUS_OK && used < job->data.size) {
        struct bytes rest = bytes_of(job->data.data + used, job->data.size - used);
        struct batch_header h;
        status = batch_header_decode(rest, &h);
        if (status == STATUS_OK && used == 0 && batch_bytes(&h) > rest.size) {
            status = data_fill(job, scan, batch_bytes(&h)); /* at least one */
            rest = bytes_of(job->data.data, job->data.size);
        }
        if (status == STATUS_OK && batch_end(&h) > job->end) {
            break;
        }
        if (status == STATUS_OK) {
            status = batch_decode(rest, &h);
        }
        if (status == STATUS_OK &&
            (h.shard != job->shard ||
             (has_point && (h.base_offset != point.end || h.prev_crc != point.crc)))) {
            status = STATUS_CORRUPT;
        }
        if (status != STATUS_OK) {
            break;
        }
        job->first_base = used == 0 ? h.base_offset : job->first_base;
        point = (struct log_point){.end = batch_end(&h), .epoch = h.epoch, .crc = h.header_crc};
        has_point = true;
        used += batch_bytes(&h);
    }
    job->data.size = used;
    if (used > 0) {
        job->last = point;
        job->next = point.end;
        job->next_at = scan->at + used;
        return STATUS_OK; /* what stopped it will be met again by the next read */
    }
    if (status == STATUS_OK) {
        return STATUS_NOT_FOUND; /* the first batch reaches beyond `end` */
    }
    return status == STATUS_MORE ? STATUS_CORRUPT : status;
}

static void scan_from(struct read_job *job, struct segment_scan *scan, uint64_t start)
{
    scan->at = start;
    scan->limit = job->limit;
    scan->chunk.size = 0;
    scan->has_point = job->has_start && job->point.end > 0 && start == job->start;
    scan->point = job->point;
}

static void read_run(struct task *task)
{
    struct read_job *job = CONTAINER_OF(task, struct read_job, task);
    struct segment_scan scan;
    job->data.size = 0;
    job->status = segment_scan_open(&scan, job->store->disk, job->path, job->shard);
    if (job->status != STATUS_OK) {
        job->status = job->status == STATUS_NOT_FOUND ? STATUS_CORRUPT : job->status;
        return;
    }
    uint64_t start = job->has_start ? job->start : start_from_file(job);
    scan_from(job, &scan, start);
    if (!scan.has_point) {
        job->status = seek_offset(&scan, job->offset);
        if (job->status == STATUS_CORRUPT && start > 0) {
            scan_from(job, &scan, 0); /* the index may be what is wrong */
            job->status = seek_offset(&scan, job->offset);
        }
    }
    if (job->status == STATUS_OK) {
        job->status = take_batches(job, &scan);
    } else if (job->status == STATUS_MORE) {
        job->status = job->whole ? STATUS_CORRUPT : STATUS_NOT_FOUND;
    }
    segment_scan_close(&scan);
}

static void seek_run(struct task *task)
{
    struct read_job *job = CONTAINER_OF(task, struct read_job, task);
    struct segment_scan scan;
    job->status = segment_scan_open(&scan, job->store->disk, job->path, job->shard);
    if (job->status != STATUS_OK) {
        job->status = job->status == STATUS_NOT_FOUND ? STATUS_CORRUPT : job->status;
        return;
    }
    scan_from(job, &scan, job->has_start ? job->start : start_from_file(job));
    scan.has_point = false;
    scan.payloads = false;
    job->next = job->segment_base;
    struct batch_header h = {0};
    struct bytes batch;
    while ((job->status = segment_scan_next(&scan, &h, &batch)) == STATUS_OK &&
           h.append_ms < job->time_ms) {
        job->next = batch_end(&h);
    }
    if (job->status == STATUS_OK) {
        job->next = h.base_offset;
    }
    segment_scan_close(&scan);
}

/* Fills in the file, and where in it to begin. */
static void aim(struct read_job *job, const struct segment *segment,
                const struct index_entry *entry, bool sealed)
{
    log_path_segment(job->path, job->store->dir, segment->shard, segment->base, "log");
    log_path_segment(job->index_path, job->store->dir, segment->shard, segment->base, "index");
    job->shard = segment->shard;
    job->segment_base = segment->base;
    job->segment_bytes = segment->bytes;
    job->limit = segment->written;
    job->whole = sealed && segment->written == segment->bytes;
    job->has_start = entry != NULL || !sealed;
    job->start = entry != NULL ? entry->at : 0;
    job->point = (struct log_point){0};
    job->cuts = job->log->cuts;
}

static enum status read_aim(struct read_job *job)
{
    struct log_read *read = job->read;
    struct shard_log *log = job->log;
    uint64_t end = read->end < log->last.end ? read->end : log->last.end;
    if (read->offset < log->log_start || read->offset >= end) {
        return STATUS_NOT_FOUND;
    }
    uint32_t index;
    const struct segment *segment = log_segment_holding(log, read->offset, &index);
    if (segment == NULL) {
        return STATUS_CORRUPT; /* the segment that held it is gone */
    }
    if (segment->written == 0) {
        return STATUS_NOT_FOUND;
    }
    aim(job, segment, segment_index_by_offset(&segment->index, read->offset),
        index + 1 < log->segment_count);
    job->offset = read->offset;
    job->end = end;
    job->max_bytes = read->max_bytes > BATCH_HEADER_BYTES ? read->max_bytes : BATCH_HEADER_BYTES;
    const struct log_read_hint *hint = &read->hint;
    if (hint->point.end == read->offset && hint->offset == read->offset && read->offset > 0 &&
        hint->segment == segment->base && hint->at < segment->written) {
        job->has_start = true;
        job->start = hint->at;
        job->point = hint->point;
    }
    job->task.run = read_run;
    return STATUS_OK;
}

static void read_deliver(struct read_job *job)
{
    struct log_read *read = job->read;
    read->status = job->status;
    read->data = job->data;
    read->first_base = job->first_base;
    read->next = job->next;
    if (job->status == STATUS_OK) {
        struct shard_log *log = job->log;
        read->hint = (struct log_read_hint){.offset = job->next,
                                            .segment = job->segment_base,
                                            .at = job->next_at,
                                            .point = job->last};
        log->read_point[log->read_point_next++ % READ_POINTS] = job->last;
    } else {
        read->data.size = 0;
        read->hint = (struct log_read_hint){0};
    }
    free(job);
    read->done(read);
}

static void read_done(struct task *task)
{
    struct read_job *job = CONTAINER_OF(task, struct read_job, task);
    if (job->log == NULL || job->store->closing) {
        job->status = STATUS_CANCELLED;
    } else if (job->cuts != job->log->cuts) {
        /* The log was cut while the file was read: what came may be of before. */
        job->read->hint = (struct log_read_hint){0};
        job->status = read_aim(job);
        if (job->status == STATUS_OK) {
            disk_worker_submit(&job->store->reader, &job->task);
            return;
        }
    } else if ((job->status == STATUS_OK || job->status == STATUS_CORRUPT) &&
               job->log->log_start > job->offset) {
        job->status = STATUS_NOT_FOUND; /* trimmed meanwhile */
    }
    list_remove(&job->link);
    if (job->log != NULL && !job->read->no_wait &&
        damage_parks(job->store, job->log, job->status, job->tries)) {
        list_push(&job->store->damaged, &job->link);
        damage_met(job->log, job->offset);
        return;
    }
    read_deliver(job);
}

enum status store_read(struct store *store, struct log_read *read)
{
    struct read_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->store = store;
    job->log = read->log;
    job->read = read;
    enum status status = read_aim(job);
    if (status != STATUS_OK) {
        free(job);
        return status;
    }
    job->data = read->data;
    read->data = (struct buf){0};
    job->task.done = read_done;
    list_push(&store->reads, &job->link);
    disk_worker_submit(&store->reader, &job->task);
    return STATUS_OK;
}

/* The segment in which the first batch at or after `ms` lies, or behind which it begins. */
static const struct segment *segment_by_time(const struct shard_log *log, uint64_t ms,
                                             uint32_t *out_index)
{
    uint32_t low = 0, high = log->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (log->segment[middle]->first_ms < ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    *out_index = low - 1;
    return log->segment[low - 1];
}

/* The first in the tail at or after a time, when the tail reaches back before it. */
static bool seek_tail(struct shard_log *log, uint64_t ms, uint64_t from, uint64_t *out)
{
    log_tail_prune(log);
    for (uint32_t i = 0; i < log->tail_count; i++) {
        const struct tail_entry *entry = log_tail_entry(log, i);
        if (entry->base >= from && entry->append_ms >= ms) {
            *out = entry->base;
            return true;
        }
    }
    return false;
}

static void seek_nothing(struct task *task)
{
    struct read_job *job = CONTAINER_OF(task, struct read_job, task);
    job->status = STATUS_OK;
}

static void seek_aim(struct read_job *job)
{
    struct shard_log *log = job->log;
    uint64_t ms = job->time_ms;
    uint32_t index = 0;
    job->cuts = log->cuts;
    job->task.run = seek_nothing;
    log_tail_prune(log);
    bool in_tail = log->tail_count > 0 && (log_tail_entry(log, 0)->append_ms < ms ||
                                           log_tail_entry(log, 0)->base <= log->log_start);
    const struct segment *segment = in_tail ? NULL : segment_by_time(log, ms, &index);
    if (segment == NULL) {
        /* In the tail, or everything is younger. */
        job->next = log->log_start;
        if (in_tail && !seek_tail(log, ms, 0, &job->next)) {
            job->next = log->last.end;
        }
        return;
    }
    if (segment->written == 0) {
        job->next = segment->base;
        return;
    }
    aim(job, segment, segment_index_by_time(&segment->index, ms), index + 1 < log->segment_count);
    job->task.run = seek_run;
}

static void seek_done(struct task *task)
{
    struct read_job *job = CONTAINER_OF(task, struct read_job, task);
    struct shard_log *log = job->log;
    struct log_seek *seek = job->seek;
    if (log == NULL || job->store->closing) {
        job->status = STATUS_CANCELLED;
    } else if (job->cuts != log->cuts) {
        seek_aim(job);
        disk_worker_submit(&job->store->reader, &job->task);
        return;
    } else if (job->status == STATUS_MORE) {
        /* Not in what is written of the segment: behind it, which the tail has, or the next one. */
        job->status = STATUS_OK;
        uint64_t found = log->last.end;
        uint32_t index;
        const struct segment *next = log_segment_holding(log, job->next, &index);
        bool begins_next =
            next != NULL && next->base == job->next && next->base > job->segment_base;
        if (!begins_next && !seek_tail(log, job->time_ms, job->next, &found)) {
            found = log->last.end;
        }
        job->next = begins_next ? job->next : found;
    }
    if (job->status == STATUS_OK) {
        job->next = job->next < log->log_start ? log->log_start : job->next;
        seek->offset = job->next < seek->end ? job->next : seek->end;
    }
    list_remove(&job->link);
    if (log != NULL && damage_parks(job->store, log, job->status, job->tries)) {
        list_push(&job->store->damaged, &job->link);
        damage_met(log, job->next);
        return;
    }
    seek->status = job->status;
    free(job);
    seek->done(seek);
}

enum status store_seek(struct store *store, struct log_seek *seek)
{
    struct read_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->store = store;
    job->log = seek->log;
    job->seek = seek;
    job->time_ms = seek->time_ms;
    job->task.done = seek_done;
    seek_aim(job);
    list_push(&store->reads, &job->link);
    disk_worker_submit(&store->reader, &job->task);
    return STATUS_OK;
}

/* What waited for a repair of `log` begins anew. */
void log_reads_resume(struct store *store, struct shard_log *log, bool repaired)
{
    LIST_FOR_EACH_SAFE (node, &store->damaged) {
        struct read_job *job = CONTAINER_OF(node, struct read_job, link);
        if (job->log != log) {
            continue;
        }
        job->tries = repaired ? job->tries + 1 : UINT32_MAX;
        job->cuts = UINT64_MAX; /* it is aimed again */
        job->task.run = seek_nothing;
        list_remove(&job->link);
        list_push(&store->reads, &job->link);
        disk_worker_submit(&store->reader, &job->task);
    }
}

/* NULL: all. */
void log_reads_cancel(struct store *store, struct shard_log *log)
{
    LIST_FOR_EACH (node, &store->reads) {
        struct read_job *job = CONTAINER_OF(node, struct read_job, link);
        job->log = log == NULL || job->log == log ? NULL : job->log;
    }
    LIST_FOR_EACH (node, &store->damaged) {
        struct read_job *job = CONTAINER_OF(node, struct read_job, link);
        job->log = log == NULL || job->log == log ? NULL : job->log;
    }
    log_reads_resume(store, NULL, false);
}

/* The start of the first segment: of the batch before it only its crc is left, in the header of the
 * one after, and the history knows the epoch. */
static enum status locate_start(struct shard_log *log, const struct segment *segment,
                                struct located *out)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, segment->shard, segment->base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, segment->shard);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status; /* the file is gone */
    }
    struct batch_header h;
    struct bytes batch;
    status = segment_scan_next(&scan, &h, &batch);
    segment_scan_close(&scan);
    if (status != STATUS_OK || h.base_offset != segment->base) {
        return STATUS_CORRUPT;
    }
    uint32_t epoch = log_history_before(log, segment->base);
    *out = (struct located){
        .point = {.end = segment->base, .epoch = epoch, .crc = h.prev_crc},
        .segment_base = segment->base
    };
    return STATUS_OK;
}

/* MORE: not in this segment. NOT_FOUND: no batch ends there. CORRUPT: damage is in the way. */
static enum status locate_in(struct shard_log *log, const struct segment *segment, uint64_t end,
                             uint64_t start, struct located *out)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, segment->shard, segment->base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, segment->shard);
    if (status != STATUS_OK) {
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status; /* the file is gone */
    }
    scan.payloads = false;
    scan.at = start;
    scan.limit = segment->written < scan.limit ? segment->written : scan.limit;
    uint64_t at = start;
    do {
        struct batch_header h;
        struct bytes batch;
        at = scan.at;
        status = segment_scan_next(&scan, &h, &batch);
    } while (status == STATUS_OK && scan.point.end < end);
    struct located found = {.point = scan.point,
                            .segment_base = segment->base,
                            .segment_bytes = scan.at,
                            .last_at = at};
    segment_scan_close(&scan);
    if (status == STATUS_OK && found.point.end != end) {
        return STATUS_NOT_FOUND;
    }
    if (status == STATUS_OK) {
        *out = found;
    }
    return status;
}

enum status log_locate_end(struct shard_log *log, uint64_t end, struct located *out)
{
    if (end == 0) {
        *out = (struct located){0};
        return STATUS_OK;
    }
    uint32_t number;
    const struct segment *segment = log_segment_holding(log, end - 1, &number);
    if (segment == NULL) {
        return log->segment_count > 0 && log->segment[0]->base == end
                   ? locate_start(log, log->segment[0], out)
                   : STATUS_CORRUPT;
    }
    uint64_t start = 0;
    const struct index_entry *entry = segment_index_by_offset(&segment->index, end - 1);
    if (entry != NULL) {
        start = entry->at;
    } else if (number + 1 < log->segment_count) {
        char path[STORE_PATH_BYTES];
        log_path_segment(path, log->store->dir, segment->shard, segment->base, "index");
        struct segment_index index = {0};
        if (segment_index_read(log->store->disk, path, segment->base, segment->bytes, &index) ==
            STATUS_OK) {
            entry = segment_index_by_offset(&index, end - 1);
            start = entry != NULL ? entry->at : 0;
            segment_index_release(&index);
        }
    }
    enum status status = locate_in(log, segment, end, start, out);
    if ((status == STATUS_CORRUPT || status == STATUS_NOT_FOUND) && start > 0) {
        status = locate_in(log, segment, end, 0, out);
    }
    return status == STATUS_MORE ? STATUS_CORRUPT : status;
}
