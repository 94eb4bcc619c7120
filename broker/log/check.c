/* Checking what lies in segments, a piece at a time, on the reader thread. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "base/check.h"
#include "broker/log/private.h"

struct check_job {
    struct task task;
    struct check_log on;
    struct store *store;
    struct log_check *check;
    uint64_t cuts;
    /* The reader's. */
    char path[STORE_PATH_BYTES], index_path[STORE_PATH_BYTES];
    uint64_t shard, limit, segment_bytes, end;
    bool whole;
};

static void start_near(const struct check_job *job, struct log_check *check)
{
    struct segment_index index = {0};
    check->at = 0;
    check->has_point = false;
    check->point = (struct log_point){.end = check->segment};
    if (segment_index_read(job->store->disk, job->index_path, check->segment, job->segment_bytes,
                           &index) != STATUS_OK) {
        return;
    }
    const struct index_entry *entry = segment_index_by_offset(&index, check->offset);
    if (entry != NULL && entry->at < job->limit) {
        check->at = entry->at;
        check->point.end = entry->offset;
    }
    segment_index_release(&index);
}

/* From where the check is, for as long as what it finds is good. */
static enum status walk(const struct check_job *job, struct log_check *check)
{
    if (job->limit == 0) {
        return STATUS_MORE; /* all of it is in the journal still: there may be no file */
    }
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, job->store->disk, job->path, job->shard);
    if (status != STATUS_OK) {
        check->hole_end = job->end;
        return status == STATUS_NO_MEMORY ? status : STATUS_CORRUPT;
    }
    scan.at = check->at;
    scan.limit = job->limit < scan.limit ? job->limit : scan.limit;
    scan.has_point = check->has_point;
    scan.point = check->point;
    size_t done = 0;
    while (done < check->max_bytes) {
        struct batch_header h;
        struct bytes batch;
        status = segment_scan_next(&scan, &h, &batch);
        if (status != STATUS_OK) {
            break;
        }
        if (!check->has_point && h.base_offset != check->point.end) {
            status = STATUS_CORRUPT;
            break;
        }
        if (check->digest != NULL && EVP_DigestUpdate(check->digest, batch.data, batch.size) != 1) {
            status = STATUS_NO_MEMORY;
            break;
        }
        done += batch.size;
        check->at = scan.at;
        check->point = scan.point;
        check->has_point = true;
    }
    check->bytes += done;
    status = status == STATUS_IO ? STATUS_CORRUPT : status;
    bool short_of_it = check->at < job->limit || (job->whole && check->point.end != job->end);
    status = status == STATUS_MORE && short_of_it ? STATUS_CORRUPT : status;
    if (status == STATUS_CORRUPT &&
        !segment_scan_resync(&scan, check->at + 1, check->point.end, &check->hole_end)) {
        check->hole_end = job->end;
    }
    segment_scan_close(&scan);
    return status;
}

static void check_run(struct task *task)
{
    struct check_job *job = CONTAINER_OF(task, struct check_job, task);
    struct log_check *check = job->check;
    check->bytes = 0;
    bool near = check->near;
    if (near) {
        start_near(job, check);
        check->near = false;
    }
    check->status = walk(job, check);
    if (check->status == STATUS_CORRUPT && near && !check->has_point && check->at > 0) {
        /* The batch that the index names is the damaged one, or it is not there. */
        check->at = 0;
        check->point = (struct log_point){.end = check->segment};
        check->status = walk(job, check);
    }
}

static bool is_there(const struct shard_log *log, uint64_t base)
{
    const struct segment *segment = log_segment_holding(log, base, NULL);
    return segment != NULL && segment->base == base;
}

static void check_done(struct task *task)
{
    struct check_job *job = CONTAINER_OF(task, struct check_job, task);
    struct log_check *check = job->check;
    if (job->on.log == NULL || job->store->closing) {
        check->status = STATUS_CANCELLED;
    } else if (job->cuts != job->on.log->cuts || !is_there(job->on.log, check->segment)) {
        /* What was read may be of before the log was cut, or is no longer kept. */
        check->status = STATUS_NOT_FOUND;
    }
    list_remove(&job->on.link);
    free(job);
    check->done(check);
}

static void not_there(struct task *task)
{
    struct check_job *job = CONTAINER_OF(task, struct check_job, task);
    job->check->status = STATUS_NOT_FOUND;
}

enum status store_check(struct store *store, struct log_check *check)
{
    struct shard_log *log = check->log;
    struct check_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint32_t index;
    struct segment *segment = log_segment_holding(log, check->segment, &index);
    job->store = store;
    job->on.log = log;
    job->check = check;
    job->cuts = log->cuts;
    job->task.run = not_there;
    job->task.done = check_done;
    if (segment != NULL && segment->base == check->segment && check->at <= segment->written) {
        job->shard = log->journal.id;
        job->limit = segment->written;
        job->segment_bytes = segment->bytes;
        job->end = segment->end;
        job->whole = index + 1 < log->segment_count && segment->written == segment->bytes;
        job->task.run = check_run;
        log_path_segment(job->path, store->dir, job->shard, segment->base, "log");
        log_path_segment(job->index_path, store->dir, job->shard, segment->base, "index");
    }
    list_push(&store->checks, &job->on.link);
    disk_worker_submit(&store->reader, &job->task);
    return STATUS_OK;
}

void log_checks_cancel(struct store *store, struct shard_log *log)
{
    LIST_FOR_EACH (node, &store->checks) {
        struct check_log *on = CONTAINER_OF(node, struct check_log, link);
        on->log = on->log == log ? NULL : on->log;
    }
}
