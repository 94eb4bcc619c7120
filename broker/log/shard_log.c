/* What changes a shard's log: each change is a record in the journal, the new state in memory, and
 * operations on files that wait for the record's sync. Memory comes first, so that nothing is
 * journaled that cannot be followed up. */
#include "broker/log/shard_log.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"

uint64_t shard_log_id(const struct shard_log *log)
{
    return log->journal.id;
}

uint32_t shard_log_disk_gen(const struct shard_log *log)
{
    return log->disk_gen;
}

void shard_log_set_owner(struct shard_log *log, void *owner)
{
    log->owner = owner;
}

void *shard_log_owner(const struct shard_log *log)
{
    return log->owner;
}

void shard_log_recovered(const struct shard_log *log, struct replica_recovered *out)
{
    struct replica_recovered recovered = {
        .shard = log->journal.id,
        .self = {.broker = log->store->info.broker, .disk_gen = log->disk_gen},
        .boot = log->store->info.boot_id,
        .promised = log->promised,
        .last = log->last,
        .log_start = log->log_start,
        .commit_hint = log->commit_hint,
        .uncertain = log->uncertain,
        .uncertain_end = log->uncertain_end,
        .seal_end = log->seal_end,
        .history = log->history,
        .history_count = log->history_count,
    };
    shard_log_holes(log, &recovered.holes);
    *out = recovered;
}

static struct segment *last_segment(const struct shard_log *log)
{
    return log->segment_count > 0 ? log->segment[log->segment_count - 1] : NULL;
}

bool log_segment_is_full(const struct store *store, const struct segment *segment, uint64_t bytes)
{
    return segment->bytes > 0 && segment->bytes + bytes > store->options.segment_bytes;
}

/* The index of a full segment, for the writer thread; its file is written behind the last batch. */
static enum status seal_prepare(const struct segment *segment, struct op *out)
{
    struct segment_index *index = calloc(1, sizeof(*index));
    if (index == NULL) {
        return STATUS_NO_MEMORY;
    }
    *index = (struct segment_index){.count = segment->index.count,
                                    .capacity = segment->index.count,
                                    .from = segment->index.from};
    if (index->count > 0) {
        index->entry = malloc(index->count * sizeof(*index->entry));
        if (index->entry == NULL) {
            free(index);
            return STATUS_NO_MEMORY;
        }
        memcpy(index->entry, segment->index.entry, index->count * sizeof(*index->entry));
    }
    *out = (struct op){.type = OP_SEAL, .at = segment->bytes, .data = index};
    return STATUS_OK;
}

/* What an append needs besides the journal. */
struct append_plan {
    struct segment *segment; /* that takes the batch */
    bool rolled;
    bool seals;
    struct op seal;
};

static void plan_release(struct append_plan *plan)
{
    if (plan->rolled) {
        log_segment_free(plan->segment);
    }
    if (plan->seals) {
        struct segment_index *index = plan->seal.data;
        segment_index_release(index);
        free(index);
    }
}

static enum status plan_append(struct shard_log *log, const struct batch_header *h,
                               struct append_plan *out)
{
    struct append_plan plan = {.segment = last_segment(log)};
    bool full =
        plan.segment != NULL && log_segment_is_full(log->store, plan.segment, batch_bytes(h));
    enum status status = log_ops_reserve(log->store, 2);
    if (status == STATUS_OK) {
        status = log_tail_reserve(log);
    }
    if (status == STATUS_OK) {
        status = log_history_reserve(log);
    }
    if (status == STATUS_OK && full) {
        status = seal_prepare(plan.segment, &plan.seal);
        plan.seals = status == STATUS_OK;
    }
    if (status == STATUS_OK && (full || plan.segment == NULL)) {
        status = log_segment_reserve(log);
        if (status == STATUS_OK) {
            status = log_segment_new(log, h->base_offset, &plan.segment);
            plan.rolled = status == STATUS_OK;
        }
    }
    if (status == STATUS_OK) {
        status = segment_index_reserve(&plan.segment->index);
    }
    if (status != STATUS_OK) {
        plan_release(&plan);
        return status;
    }
    *out = plan;
    return STATUS_OK;
}

static void append_commit(struct shard_log *log, const struct batch_header *h,
                          struct append_plan *plan, const struct journal_span *span)
{
    struct store *store = log->store;
    struct segment *segment = plan->segment;
    if (plan->seals) {
        plan->seal.lsn = span->lsn;
        plan->seal.position = span->position;
        plan->seal.shard = log->journal.id;
        plan->seal.segment = last_segment(log);
        log_ops_push(store, &plan->seal);
    }
    if (plan->rolled) {
        segment->first_ms = h->append_ms;
        log->segment[log->segment_count++] = segment;
    }
    uint32_t bytes = (uint32_t)batch_bytes(h);
    struct log_point point = {.end = batch_end(h), .epoch = h->epoch, .crc = h->header_crc};
    struct op op = {.type = OP_WRITE,
                    .lsn = span->lsn,
                    .position = span->position,
                    .at = segment->bytes,
                    .shard = log->journal.id,
                    .segment = segment,
                    .bytes = bytes,
                    .point = point};
    log_ops_push(store, &op);
    struct tail_entry entry = {.base = h->base_offset,
                               .append_ms = h->append_ms,
                               .position = span->position,
                               .at = segment->bytes,
                               .count = h->count,
                               .epoch = h->epoch,
                               .crc = h->header_crc,
                               .prev_crc = h->prev_crc,
                               .bytes = bytes};
    log_tail_push(log, &entry);
    segment_index_note(&segment->index, h->base_offset, h->append_ms, segment->bytes);
    log_history_note(log, h->epoch, h->base_offset);
    segment->bytes += bytes;
    segment->end = point.end;
    segment->last_ms = h->append_ms;
    if (h->control_type == BATCH_SEAL) {
        log->seal_end = point.end;
    }
    log->last = point;
    log->promised = h->epoch > log->promised ? h->epoch : log->promised;
}

enum status shard_log_append(struct shard_log *log, const struct batch_header *header,
                             const struct bytes *parts, uint32_t part_count,
                             struct log_appended *out)
{
    CHECK(header->shard == log->journal.id);
    CHECK(header->base_offset == log->last.end);
    CHECK(header->prev_crc == log->last.crc);
    bool control = (header->flags & BATCH_CONTROL) != 0;
    bool full = log->store->full || log->store->stalled;
    enum status status = log->store->out != STATUS_OK ? log->store->out
                         : full && !control           ? STATUS_DISK_FULL
                                                      : STATUS_OK;
    struct append_plan plan;
    if (status == STATUS_OK) {
        status = plan_append(log, header, &plan);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct journal_span span;
    status = journal_append_data(log->store->journal, &log->journal, parts, part_count, &span);
    if (status != STATUS_OK) {
        plan_release(&plan);
        return status;
    }
    append_commit(log, header, &plan, &span);
    *out = (struct log_appended){.lsn = span.lsn, .bytes = span.body, .rolled = plan.rolled};
    return STATUS_OK;
}

/* A record without files behind it. */
static enum status note(struct shard_log *log, enum journal_type type, uint64_t a, uint32_t b,
                        uint32_t c, struct journal_span *out)
{
    enum status status = log->store->out;
    return status != STATUS_OK
               ? status
               : journal_append(log->store->journal, &log->journal, type, a, b, c, out);
}

enum status shard_log_promise(struct shard_log *log, uint32_t epoch, uint64_t *out_lsn)
{
    CHECK(epoch >= log->promised); /* I4 */
    struct journal_span span;
    enum status status = note(log, JOURNAL_PROMISE, 0, epoch, 0, &span);
    if (status == STATUS_OK) {
        log->promised = epoch;
        *out_lsn = span.lsn;
    }
    return status;
}

enum status shard_log_set_uncertain(struct shard_log *log, bool uncertain, uint64_t end,
                                    uint64_t *out_lsn)
{
    struct journal_span span;
    enum status status = note(log, JOURNAL_UNCERTAIN, end, uncertain ? 1 : 0, 0, &span);
    if (status == STATUS_OK) {
        log->uncertain = uncertain;
        log->uncertain_end = end;
        *out_lsn = span.lsn;
    }
    return status;
}

void shard_log_commit_hint(struct shard_log *log, uint64_t offset)
{
    struct journal_span span;
    if (offset > log->commit_hint &&
        note(log, JOURNAL_COMMIT_HINT, offset, 0, 0, &span) == STATUS_OK) {
        log->commit_hint = offset;
    }
}

/* The log begins with the oldest batch of the tail: that says what came before it. */
static enum status start_of_tail(const struct shard_log *log, struct located *out)
{
    const struct tail_entry *entry = log_tail_entry(log, 0);
    *out = (struct located){
        .point = {.end = entry->base,
                  .epoch = log_history_before(log, entry->base),
                  .crc = entry->prev_crc},
        .segment_base = entry->base
    };
    return STATUS_OK;
}

/* Where the log would end; `at` the bytes of the segment that then is the last. */
static enum status find_end(struct shard_log *log, uint64_t end, struct located *out)
{
    log_tail_prune(log);
    uint32_t index = end > 0 ? log_tail_find(log, end - 1) : UINT32_MAX;
    if (index == UINT32_MAX) {
        return log->tail_count > 0 && log_tail_entry(log, 0)->base == end && end > 0 &&
                       log->segment[0]->base == end
                   ? start_of_tail(log, out)
                   : log_locate_end(log, end, out);
    }
    const struct tail_entry *entry = log_tail_entry(log, index);
    if (entry->base + entry->count != end) {
        return STATUS_NOT_FOUND;
    }
    struct log_point point = {.end = end, .epoch = entry->epoch, .crc = entry->crc};
    const struct segment *segment = log_segment_holding(log, entry->base, NULL);
    if (segment == NULL) {
        /* Its segment was trimmed away; the log can only end where the oldest one left begins. */
        CHECK(log->segment[0]->base == end);
        *out = (struct located){.point = point, .segment_base = end};
        return STATUS_OK;
    }
    *out = (struct located){
        .point = point,
        .segment_base = segment->base,
        .segment_bytes = entry->at + entry->bytes,
        .last_at = entry->at,
    };
    return STATUS_OK;
}

/* The segments behind the cut go, the one it lies in gets shorter. */
static void cut_segments(struct shard_log *log, const struct located *cut,
                         const struct journal_span *span)
{
    struct op op = {.lsn = span->lsn, .position = span->position, .shard = log->journal.id};
    while (log->segment_count > 0) {
        struct segment *segment = last_segment(log);
        bool holds = cut->point.end > 0 && segment->base == cut->segment_base;
        op.segment = segment;
        op.type = holds ? OP_CUT : OP_UNLINK;
        op.at = cut->segment_bytes;
        if (holds) {
            if (segment->bytes > cut->segment_bytes) {
                log_ops_push(log->store, &op);
                segment->cut_lsn = span->lsn;
                segment->bytes = cut->segment_bytes;
                segment->end = cut->point.end;
                segment->written =
                    segment->written < segment->bytes ? segment->written : segment->bytes;
                segment_index_cut(&segment->index, segment->bytes);
            }
            return;
        }
        log_ops_push(log->store, &op);
        log->segment_count--;
        log_segment_drop(segment);
    }
}

enum status shard_log_truncate(struct shard_log *log, uint64_t end, uint32_t epoch,
                               uint64_t *out_lsn)
{
    CHECK(end <= log->last.end);
    if (end < log->log_start) {
        return STATUS_CORRUPT;
    }
    struct located cut = {.point = log->last};
    bool cuts = end < log->last.end;
    enum status status = cuts ? find_end(log, end, &cut) : STATUS_OK;
    if (status == STATUS_OK) {
        status = log_ops_reserve(log->store, log->segment_count + 1);
    }
    struct journal_span span;
    if (status == STATUS_OK) {
        status = note(log, JOURNAL_TRUNCATE, end, epoch, cut.point.crc, &span);
    }
    if (status != STATUS_OK) {
        return status;
    }
    *out_lsn = span.lsn;
    if (!cuts) {
        return STATUS_OK;
    }
    cut_segments(log, &cut, &span);
    log_tail_cut(log, end);
    log_history_cut(log, end);
    log->seal_end = log->seal_end <= end ? log->seal_end : 0;
    log->last = cut.point;
    log->cut_lsn = span.lsn;
    log->cuts++;
    if (log->applied.point.end > end) {
        log->applied = cut;
    }
    if (log->syncing.point.end > end) {
        log->syncing = cut; /* what lies below is being synced as well */
    }
    if (log->durable.point.end > end) {
        log->durable = cut;
    }
    memset(log->read_point, 0, sizeof(log->read_point));
    return STATUS_OK;
}

enum status shard_log_install(struct shard_log *log, const struct log_point *start,
                              uint64_t *out_lsn)
{
    CHECK(start->end > 0);
    enum status status = log_ops_reserve(log->store, log->segment_count);
    if (status == STATUS_OK) {
        status = log_history_reserve(log);
    }
    struct journal_span span;
    if (status == STATUS_OK) {
        status = note(log, JOURNAL_INSTALL, start->end, start->epoch, start->crc, &span);
    }
    if (status != STATUS_OK) {
        return status;
    }
    cut_segments(log, &(struct located){0}, &span);
    log_tail_cut(log, 0);
    log_history_cut(log, 0);
    log_history_note(log, start->epoch, start->end - 1); /* where it began nobody asks any more */
    log->seal_end = 0;
    log->last = *start;
    log->log_start = start->end;
    log->cut_lsn = span.lsn;
    log->cuts++;
    log->applied = log->syncing = log->durable =
        (struct located){.point = *start, .segment_base = start->end};
    memset(log->read_point, 0, sizeof(log->read_point));
    *out_lsn = span.lsn;
    return STATUS_OK;
}

/* Pairs that end below log_start; the one of the batch before it stays: a point there needs it. */
static void history_trim(struct shard_log *log)
{
    uint32_t drop = 0;
    while (drop + 1 < log->history_count && log->history[drop + 1].start < log->log_start) {
        drop++;
    }
    log_history_drop(log, drop);
}

enum status shard_log_trim(struct shard_log *log, uint64_t offset, uint64_t *out_lsn)
{
    CHECK(offset <= log->last.end); /* I7 */
    enum status status = log_ops_reserve(log->store, log->segment_count);
    struct journal_span span;
    if (status == STATUS_OK) {
        offset = offset > log->log_start ? offset : log->log_start;
        status = note(log, JOURNAL_LOG_START, offset, 0, 0, &span);
    }
    if (status != STATUS_OK) {
        return status;
    }
    log->log_start = offset;
    uint32_t drop = 0;
    while (drop + 1 < log->segment_count && log->segment[drop + 1]->base <= offset) {
        struct op op = {.type = OP_UNLINK,
                        .lsn = span.lsn,
                        .position = span.position,
                        .shard = log->journal.id,
                        .segment = log->segment[drop]};
        log_ops_push(log->store, &op);
        log_segment_drop(log->segment[drop++]);
    }
    log->segment_count -= drop;
    if (log->segment_count > 0) {
        memmove(log->segment, log->segment + drop, log->segment_count * sizeof(struct segment *));
    }
    history_trim(log);
    *out_lsn = span.lsn;
    return STATUS_OK;
}

uint64_t shard_log_retention(const struct shard_log *log, uint64_t cutoff_ms, uint64_t limit)
{
    uint64_t found = log->log_start;
    /* Times never fall within a shard, so a segment's records are no younger than the next one's
     * first. */
    for (uint32_t i = 0; i + 1 < log->segment_count; i++) {
        const struct segment *next = log->segment[i + 1];
        if (next->first_ms == 0 || next->first_ms > cutoff_ms || next->base > limit) {
            break;
        }
        found = next->base > found ? next->base : found;
    }
    return found;
}

uint64_t shard_log_segment_bytes(const struct shard_log *log)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < log->segment_count; i++) {
        bytes += log->segment[i]->bytes;
    }
    return bytes;
}

static bool point_in_memory(struct shard_log *log, uint64_t end, struct log_point *out)
{
    if (end == log->last.end) {
        *out = log->last;
        return true;
    }
    for (uint32_t i = 0; i < READ_POINTS; i++) {
        if (end > 0 && log->read_point[i].end == end) {
            *out = log->read_point[i];
            return true;
        }
    }
    return false;
}

/* What cannot be read for any reason is damaged, not absent: to take it for another log would cut
 * what may be committed (docs/replication.md R13). */
enum status shard_log_point_at(void *context, uint64_t end, struct log_point *out)
{
    struct shard_log *log = context;
    if (end > log->last.end || end < log->log_start) {
        return STATUS_NOT_FOUND;
    }
    if (point_in_memory(log, end, out)) {
        return STATUS_OK;
    }
    struct located located;
    enum status status = find_end(log, end, &located);
    if (status == STATUS_OK) {
        *out = located.point;
    } else if (status != STATUS_NOT_FOUND) {
        if (damage_parks(log->store, log, STATUS_CORRUPT, 0)) {
            damage_met(log, end - 1);
        }
        status = STATUS_CORRUPT;
    }
    return status;
}

struct replica_log shard_log_points(struct shard_log *log)
{
    return (struct replica_log){.context = log, .point_at = shard_log_point_at};
}
