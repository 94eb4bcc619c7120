/* Where the replayed log and the segments meet. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/recover.h"

/* Good batches of one segment from byte `from` on, behind *point; both move along. Stops behind
 * the first batch that reaches `until`. *out_whole: the segment had nothing else. A sector that
 * cannot be read ends it like one that is wrong. */
static enum status scan_segment(struct shard_log *log, const struct segment *segment, uint64_t from,
                                uint64_t until, struct located *point, struct batch_list *out,
                                bool *out_whole)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, segment->shard, segment->base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, segment->shard);
    if (status != STATUS_OK) {
        *out_whole = false;
        return status == STATUS_NO_MEMORY ? status : STATUS_OK;
    }
    scan.at = from;
    scan.has_point = true;
    scan.point = point->point;
    while (scan.point.end < until) {
        struct batch_header h;
        struct bytes bytes;
        uint64_t at = scan.at;
        status = segment_scan_next(&scan, &h, &bytes);
        if (status != STATUS_OK) {
            break;
        }
        struct recovered_batch batch = {.base = h.base_offset,
                                        .ms = h.append_ms,
                                        .at = at,
                                        .segment_base = segment->base,
                                        .count = h.count,
                                        .epoch = h.epoch,
                                        .crc = h.header_crc,
                                        .prev_crc = h.prev_crc,
                                        .bytes = (uint32_t)batch_bytes(&h),
                                        .file = IN_SEGMENT,
                                        .seal = h.control_type == BATCH_SEAL};
        status = out != NULL ? recovered_list_add(out, &batch) : STATUS_OK;
        if (status != STATUS_OK) {
            break;
        }
        *point = (struct located){.point = scan.point,
                                  .segment_base = segment->base,
                                  .segment_bytes = scan.at,
                                  .last_at = at};
    }
    segment_scan_close(&scan);
    *out_whole = status == STATUS_MORE;
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

/* Behind *point, from segment to segment as long as they join. */
static enum status scan_segments(struct shard_log *log, uint64_t until, struct located *point,
                                 struct batch_list *out)
{
    bool whole = true;
    enum status status = STATUS_OK;
    struct located from = *point;
    for (uint32_t i = 0; status == STATUS_OK && whole && i < log->segment_count; i++) {
        const struct segment *segment = log->segment[i];
        if (point->point.end >= until) {
            break;
        }
        bool here = from.point.end > 0 && segment->base == from.segment_base;
        if (here || segment->base == point->point.end) {
            status = scan_segment(log, segment, here ? from.segment_bytes : 0, until, point, out,
                                  &whole);
        }
    }
    return status;
}

static bool segment_begins(const struct shard_log *log, uint64_t base)
{
    const struct segment *segment = log_segment_holding(log, base, NULL);
    return segment != NULL && segment->base == base;
}

/* Whether the batch before a point is there, as it was. */
static bool point_is_there(const struct shard_log *log, const struct located *at)
{
    if (at->segment_bytes == 0) {
        return at->point.end == 0 || segment_begins(log, at->point.end);
    }
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, log->journal.id, at->segment_base, "log");
    struct segment_scan scan;
    if (segment_scan_open(&scan, log->store->disk, path, log->journal.id) != STATUS_OK) {
        return false;
    }
    bool there = scan.limit >= at->segment_bytes;
    if (there) {
        struct batch_header h;
        struct bytes batch;
        scan.at = at->last_at;
        there = segment_scan_next(&scan, &h, &batch) == STATUS_OK && scan.at == at->segment_bytes &&
                scan.point.end == at->point.end && scan.point.crc == at->point.crc;
    }
    segment_scan_close(&scan);
    return there;
}

static bool same_point(const struct log_point *a, const struct log_point *b)
{
    return a->end == b->end && a->crc == b->crc;
}

/* Finds r->base in the segments. *out_found is false when it is not there as replay says. */
static enum status find_base(struct shard_log *log, struct located *out, bool *out_found)
{
    const struct recovering *r = log->recovering;
    *out_found = true;
    if (r->base.end == 0) {
        *out = (struct located){0};
        return STATUS_OK;
    }
    struct located found = {0};
    enum status status = STATUS_OK;
    if (r->synced.point.end <= r->base.end && point_is_there(log, &r->synced)) {
        found = r->synced;
        status = scan_segments(log, r->base.end, &found, NULL);
    }
    if (status == STATUS_OK && !same_point(&found.point, &r->base)) {
        status = log_locate_end(log, r->base.end, &found);
        if (status == STATUS_CORRUPT || status == STATUS_NOT_FOUND || status == STATUS_IO) {
            *out_found = false;
            return STATUS_OK;
        }
        if (status == STATUS_OK && !point_is_there(log, &found)) {
            found = (struct located){0}; /* its header is, its payload is not */
        }
    }
    *out_found = status == STATUS_OK && same_point(&found.point, &r->base);
    *out = found;
    return status;
}

/* Without the part in segments below `base`: it was trimmed away. The log is taken up where the
 * oldest segment begins, or else at a batch of the journal at or below log_start. False when
 * something between log_start and the journal's first batch is missing. */
static bool skip_to_front(struct shard_log *log, struct located *out)
{
    struct recovering *r = log->recovering;
    if (r->base.end > log->log_start) {
        return false;
    }
    struct log_point start = r->base;
    uint32_t skip = 0;
    for (uint32_t i = 0; i < r->batch.count; i++) {
        const struct recovered_batch *b = &r->batch.item[i];
        if (b->base > log->log_start) {
            break;
        }
        start = (struct log_point){
            .end = b->base, .epoch = log_history_before(log, b->base), .crc = b->prev_crc};
        skip = i;
        if (segment_begins(log, b->base)) {
            break;
        }
        if (b->base + b->count == log->log_start) {
            start = batch_point(b);
            skip = i + 1;
        }
    }
    r->batch.count -= skip;
    if (skip > 0) {
        memmove(r->batch.item, r->batch.item + skip, r->batch.count * sizeof(*r->batch.item));
    }
    *out = (struct located){.point = start, .segment_base = start.end};
    return true;
}

/* What is left when the durable part of a log is damaged: as much of the segments as joins. */
static enum status rescue(struct shard_log *log, struct located *out)
{
    struct recovering *r = log->recovering;
    r->damaged = true;
    r->batch.count = 0;
    struct located point = {0};
    if (log->segment_count > 0 && log->segment[0]->base > 0) {
        const struct segment *first = log->segment[0];
        struct segment_scan scan;
        struct batch_header h;
        struct bytes batch;
        char path[STORE_PATH_BYTES];
        log_path_segment(path, log->store->dir, first->shard, first->base, "log");
        point.point.end = point.segment_base = first->base;
        if (segment_scan_open(&scan, log->store->disk, path, first->shard) == STATUS_OK) {
            if (segment_scan_next(&scan, &h, &batch) == STATUS_OK) {
                point.point.crc = h.prev_crc;
                point.point.epoch = log_history_before(log, first->base);
            }
            segment_scan_close(&scan);
        }
    }
    enum status status = scan_segments(log, r->base.end, &point, NULL);
    *out = point;
    return status;
}

struct merge {
    struct batch_list out;
    const struct batch_list *files;
    uint32_t next; /* of `files` */
    bool joined;   /* the log so far is what the files hold */
    struct log_point end;
};

static enum status merge_take(struct merge *m, const struct recovered_batch *batch)
{
    enum status status = recovered_list_add(&m->out, batch);
    m->end = batch_point(batch);
    return status;
}

/* Takes batches of the files up to one that ends at `end` with `crc`; false when there is none. */
static bool merge_fill(struct merge *m, uint64_t end, uint32_t crc, enum status *status)
{
    uint32_t last = m->next;
    while (m->joined && last < m->files->count && batch_point(&m->files->item[last]).end < end) {
        last++;
    }
    if (!m->joined || last >= m->files->count || batch_point(&m->files->item[last]).end != end ||
        m->files->item[last].crc != crc) {
        return false;
    }
    while (*status == STATUS_OK && m->next <= last) {
        *status = merge_take(m, &m->files->item[m->next++]);
    }
    return true;
}

static enum status merge_batch(struct merge *m, const struct recovered_batch *batch, bool *out_gap)
{
    enum status status = STATUS_OK;
    bool follows = batch->base == m->end.end && batch->prev_crc == m->end.crc;
    if (!follows && !merge_fill(m, batch->base, batch->prev_crc, &status)) {
        *out_gap = true;
        return status;
    }
    if (status != STATUS_OK) {
        return status;
    }
    if (m->joined && m->next < m->files->count && m->files->item[m->next].base == batch->base &&
        m->files->item[m->next].crc == batch->crc) {
        return merge_take(m, &m->files->item[m->next++]);
    }
    m->joined = false;
    return merge_take(m, batch);
}

/* The journal's batches, taken from segments where they have them; and from segments what damage
 * took from the journal. */
static enum status merge(struct shard_log *log, const struct batch_list *files)
{
    struct recovering *r = log->recovering;
    struct merge m = {.files = files, .joined = true, .end = r->known.point};
    bool gap = false;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && !gap && i < r->batch.count; i++) {
        status = merge_batch(&m, &r->batch.item[i], &gap);
    }
    /* A truncation may have left what is behind; without one it is the log's. */
    while (status == STATUS_OK && !gap && r->damaged && !r->truncated && m.joined &&
           m.next < files->count) {
        status = merge_take(&m, &files->item[m.next++]);
    }
    r->damaged = r->damaged || gap;
    if (status != STATUS_OK) {
        free(m.out.item);
        return status;
    }
    free(r->batch.item);
    r->batch = m.out;
    log->last = m.end;
    return STATUS_OK;
}

/* A SEAL that lies behind what is there is gone; one that only the segments knew has come back. */
static void settle_seal(struct shard_log *log)
{
    const struct recovering *r = log->recovering;
    log->seal_end = log->seal_end <= log->last.end ? log->seal_end : 0;
    for (uint32_t i = 0; i < r->batch.count && r->damaged; i++) {
        if (r->batch.item[i].seal) {
            log->seal_end = r->batch.item[i].base + r->batch.item[i].count;
        }
    }
}

/* The history of what is there, where replay had to be corrected. */
static enum status settle_history(struct shard_log *log)
{
    const struct recovering *r = log->recovering;
    if (r->damaged) {
        log_history_cut(log, r->known.point.end);
        for (uint32_t i = 0; i < r->batch.count; i++) {
            enum status status = log_history_reserve(log);
            if (status != STATUS_OK) {
                return status;
            }
            log_history_note(log, r->batch.item[i].epoch, r->batch.item[i].base);
        }
    }
    uint32_t drop = 0;
    while (drop + 1 < log->history_count && log->history[drop + 1].start < log->log_start) {
        drop++;
    }
    log_history_drop(log, drop);
    return STATUS_OK;
}

static enum status settle(struct shard_log *log)
{
    struct recovering *r = log->recovering;
    if (log->log_start > log->last.end) {
        r->damaged = true;
        log->log_start = log->last.end;
    }
    if (r->want_end > log->last.end) {
        r->damaged = true;
    }
    if (r->damaged) {
        bool lower = log->uncertain && log->uncertain_end < log->last.end;
        log->uncertain_end = lower ? log->uncertain_end : log->last.end;
        log->uncertain = true;
    }
    settle_seal(log);
    return settle_history(log);
}

enum status recovery_resolve(struct shard_log *log)
{
    struct recovering *r = log->recovering;
    enum status status = r->fresh ? STATUS_OK : log_segments_list(log);
    bool found = false;
    if (status == STATUS_OK) {
        status = find_base(log, &r->known, &found);
    }
    if (status == STATUS_OK && !found && !skip_to_front(log, &r->known)) {
        status = rescue(log, &r->known);
    }
    struct batch_list files = {0};
    struct located point = r->known;
    if (status == STATUS_OK) {
        status = scan_segments(log, UINT64_MAX, &point, &files);
    }
    if (status == STATUS_OK) {
        status = merge(log, &files);
    }
    free(files.item);
    return status == STATUS_OK ? settle(log) : status;
}
