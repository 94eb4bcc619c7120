#include "broker/log/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

bool id_has(const struct id_list *list, uint64_t id)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->id[i] == id) {
            return true;
        }
    }
    return false;
}

enum status id_add(struct id_list *list, uint64_t id)
{
    if (id_has(list, id)) {
        return STATUS_OK;
    }
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        uint64_t *grown = realloc(list->id, capacity * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->id = grown;
        list->capacity = capacity;
    }
    list->id[list->count++] = id;
    return STATUS_OK;
}

static enum status batch_push(struct recovering *r, const struct recovered_batch *batch)
{
    if (r->count == r->capacity) {
        uint32_t capacity = r->capacity == 0 ? 64 : 2 * r->capacity;
        struct recovered_batch *grown = realloc(r->batch, capacity * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        r->batch = grown;
        r->capacity = capacity;
    }
    r->batch[r->count++] = *batch;
    return STATUS_OK;
}

static struct log_point log_end(const struct recovering *r)
{
    if (r->count == 0) {
        return r->known.point;
    }
    const struct recovered_batch *last = &r->batch[r->count - 1];
    return (struct log_point){
        .end = last->base + last->count, .epoch = last->epoch, .crc = last->crc};
}

/* Index of the batch that begins at `base`; count when the log ends there; UINT32_MAX: none. */
static uint32_t batch_at(const struct recovering *r, uint64_t base)
{
    uint32_t low = 0, high = r->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (r->batch[middle].base < base) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < r->count) {
        return r->batch[low].base == base ? low : UINT32_MAX;
    }
    return log_end(r).end == base ? low : UINT32_MAX;
}

/* Reads what segments hold behind `known`, as far as checks and chain reach. */
static enum status scan_segment(struct shard_log *log, const struct segment *segment, uint64_t from,
                                bool *out_whole)
{
    struct recovering *r = log->recovering;
    char path[STORE_PATH_BYTES];
    path_segment(path, log->store->dir, segment->shard, segment->base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, segment->shard);
    if (status != STATUS_OK) {
        return status;
    }
    scan.at = from;
    scan.has_point = true;
    scan.point = log_end(r);
    for (;;) {
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
                                        .file = IN_SEGMENT};
        status = batch_push(r, &batch);
        if (status != STATUS_OK) {
            break;
        }
    }
    segment_scan_close(&scan);
    *out_whole = status == STATUS_MORE;
    /* A sector that cannot be read ends the log like one that is wrong. */
    return status == STATUS_NO_MEMORY ? status : STATUS_OK;
}

static enum status scan_from_known(struct shard_log *log)
{
    const struct recovering *r = log->recovering;
    bool whole = true;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < log->segment_count && whole && status == STATUS_OK; i++) {
        const struct segment *segment = log->segment[i];
        uint64_t end = log_end(r).end;
        bool first = segment->base == r->known.segment_base && r->known.point.end > 0;
        if (!first && segment->base != end) {
            continue; /* older than known, or not the next one */
        }
        status = scan_segment(log, segment, first ? r->known.segment_bytes : 0, &whole);
    }
    return status;
}

/* Whether the batch that the state calls the last durable one is there. */
static bool known_is_there(const struct shard_log *log, const struct located *known)
{
    if (known->point.end == 0) {
        return true;
    }
    char path[STORE_PATH_BYTES];
    path_segment(path, log->store->dir, log->journal.id, known->segment_base, "log");
    struct segment_scan scan;
    if (segment_scan_open(&scan, log->store->disk, path, log->journal.id) != STATUS_OK) {
        return false;
    }
    bool there = scan.limit >= known->segment_bytes;
    if (there && known->segment_bytes > 0) {
        struct batch_header h;
        struct bytes batch;
        scan.at = known->last_at;
        there = segment_scan_next(&scan, &h, &batch) == STATUS_OK &&
                scan.at == known->segment_bytes && scan.point.end == known->point.end &&
                scan.point.crc == known->point.crc;
    }
    segment_scan_close(&scan);
    return there;
}

/* Without a trusted point: from the beginning of the oldest segment, whose first batch says what
 * came before it. */
static enum status scan_from_start(struct shard_log *log)
{
    struct recovering *r = log->recovering;
    r->known = (struct located){0};
    r->count = 0;
    if (log->segment_count == 0) {
        return STATUS_OK;
    }
    const struct segment *first = log->segment[0];
    if (first->base > 0) {
        char path[STORE_PATH_BYTES];
        path_segment(path, log->store->dir, first->shard, first->base, "log");
        struct segment_scan scan;
        struct batch_header h;
        struct bytes batch;
        if (segment_scan_open(&scan, log->store->disk, path, first->shard) != STATUS_OK) {
            return STATUS_OK;
        }
        enum status status = segment_scan_next(&scan, &h, &batch);
        segment_scan_close(&scan);
        if (status != STATUS_OK || h.base_offset != first->base) {
            return STATUS_OK; /* nothing readable: the log is empty, and the shard uncertain */
        }
        uint32_t epoch = 0;
        for (uint32_t i = 0; i < log->history_count && log->history[i].start < first->base; i++) {
            epoch = log->history[i].epoch;
        }
        r->known.point = (struct log_point){.end = first->base, .epoch = epoch, .crc = h.prev_crc};
        r->known.segment_base = first->base;
        r->front = true;
    }
    return scan_from_known(log);
}

static enum status history_set(struct shard_log *log, const struct epoch_pair *pairs,
                               uint32_t count)
{
    log_history_drop(log, log->history_count);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        status = log_history_reserve(log);
        if (status == STATUS_OK) {
            log_history_note(log, pairs[i].epoch, pairs[i].start);
        }
    }
    return status;
}

static enum status shard_begin(struct recovery *recovery, uint64_t shard, struct shard_log **out)
{
    struct shard_log *log;
    enum status status = shard_new(recovery->store, shard, &log);
    if (status != STATUS_OK) {
        return status;
    }
    log->listed = true;
    log->recovering = calloc(1, sizeof(*log->recovering));
    if (log->recovering == NULL) {
        return STATUS_NO_MEMORY;
    }
    log->recovering->damaged = recovery->all_damaged || id_has(&recovery->damaged, shard);
    *out = log;
    return STATUS_OK;
}

/* The oldest state that is left: segments are read from where it says that they are durable. */
static enum status state_first(struct recovery *recovery, uint64_t shard,
                               const struct journal_state *state)
{
    struct shard_log *log;
    enum status status = shard_begin(recovery, shard, &log);
    if (status != STATUS_OK) {
        return status;
    }
    log->disk_gen = state->disk_gen;
    log->promised = state->promised;
    log->log_start = state->log_start;
    log->commit_hint = state->commit_hint;
    log->uncertain = state->uncertain;
    log->uncertain_end = state->uncertain_end;
    log->recovering->want_end = state->last.end;
    status = history_set(log, state->history, state->history_count);
    if (status == STATUS_OK) {
        status = segments_list(log);
    }
    if (status != STATUS_OK) {
        return status;
    }
    log->recovering->known = (struct located){.point = state->synced,
                                              .segment_base = state->segment_base,
                                              .segment_bytes = state->segment_bytes,
                                              .last_at = state->last_at};
    return known_is_there(log, &log->recovering->known) ? scan_from_known(log)
                                                        : scan_from_start(log);
}

static enum status cut(struct shard_log *log, uint64_t end);

/* A later state says what the records before it said; where they were damaged it says more. */
static enum status state_again(const struct recovery *recovery, struct shard_log *log,
                               const struct journal_state *state)
{
    struct recovering *r = log->recovering;
    log->promised = state->promised > log->promised ? state->promised : log->promised;
    log->log_start = state->log_start > log->log_start ? state->log_start : log->log_start;
    log->commit_hint =
        state->commit_hint > log->commit_hint ? state->commit_hint : log->commit_hint;
    log->uncertain = state->uncertain;
    log->uncertain_end = state->uncertain_end;
    r->want_end = state->last.end;
    uint32_t next = batch_at(r, state->last.end);
    if (!recovery->any_damage || next == UINT32_MAX || next == 0 ||
        r->batch[next - 1].crc == state->last.crc) {
        return STATUS_OK;
    }
    r->damaged = true; /* a truncation was lost: what is here belongs to another log */
    return cut(log, r->batch[next - 1].base);
}

static enum status on_state(struct recovery *recovery, const struct journal_record *record)
{
    struct journal_state state;
    enum status status = journal_state_decode(record->body, recovery->history, &state);
    if (status != STATUS_OK) {
        return status;
    }
    struct shard_log *log = map_get(&recovery->store->map, record->shard);
    return log == NULL ? state_first(recovery, record->shard, &state)
                       : state_again(recovery, log, &state);
}

/* The log ends at `end`, or earlier when no batch is known to end there. */
static enum status cut(struct shard_log *log, uint64_t end)
{
    struct recovering *r = log->recovering;
    if (end >= r->known.point.end) {
        while (r->count > 0 && r->batch[r->count - 1].base + r->batch[r->count - 1].count > end) {
            r->count--;
        }
        return STATUS_OK;
    }
    if (r->front) {
        return STATUS_OK; /* the batches that follow in the journal settle it */
    }
    r->count = 0;
    struct located located;
    enum status status = locate_end(log, end, &located);
    if (status == STATUS_OK) {
        r->known = located;
        return STATUS_OK;
    }
    if (status != STATUS_CORRUPT && status != STATUS_NOT_FOUND) {
        return status;
    }
    r->damaged = true;
    status = scan_from_start(log);
    return status == STATUS_OK ? cut(log, end > r->known.point.end ? end : r->known.point.end)
                               : status;
}

/* A batch below the oldest segment that is left. Where it ends at that segment's base it says which
 * log the segment must continue. */
static enum status data_in_front(struct recovering *r, const struct batch_header *h)
{
    if (batch_end(h) < r->known.point.end) {
        return STATUS_OK;
    }
    if (batch_end(h) > r->known.point.end) {
        r->damaged = true;
        return STATUS_OK;
    }
    if (h->header_crc != r->known.point.crc) {
        r->count = 0;
    }
    r->known.point =
        (struct log_point){.end = batch_end(h), .epoch = h->epoch, .crc = h->header_crc};
    return STATUS_OK;
}

static enum status on_data(struct recovery *recovery, const struct journal_record *record)
{
    struct batch_header h;
    enum status status = batch_header_decode(record->body, &h);
    if (status != STATUS_OK) {
        return status;
    }
    struct shard_log *log = map_get(&recovery->store->map, record->shard);
    if (log == NULL) {
        return STATUS_OK; /* its creation was lost: the directory goes to quarantine */
    }
    struct recovering *r = log->recovering;
    log->promised = h.epoch > log->promised ? h.epoch : log->promised;
    r->want_end = batch_end(&h);
    if (h.base_offset < r->known.point.end && r->front) {
        return data_in_front(r, &h);
    }
    if (h.base_offset < r->known.point.end) {
        /* Only behind a truncation that was lost. */
        r->damaged = true;
        status = cut(log, h.base_offset);
        if (status != STATUS_OK) {
            return status;
        }
    }
    uint32_t next = batch_at(r, h.base_offset);
    if (next == UINT32_MAX) {
        return STATUS_OK; /* what was before it is lost; want_end remembers */
    }
    if (next < r->count && r->batch[next].crc == h.header_crc) {
        return STATUS_OK;
    }
    uint32_t crc = next == 0 ? r->known.point.crc : r->batch[next - 1].crc;
    if (crc != h.prev_crc) {
        return STATUS_OK; /* ditto */
    }
    r->count = next;
    struct recovered_batch batch = {.base = h.base_offset,
                                    .ms = h.append_ms,
                                    .at = record->offset,
                                    .count = h.count,
                                    .epoch = h.epoch,
                                    .crc = h.header_crc,
                                    .prev_crc = h.prev_crc,
                                    .bytes = (uint32_t)record->body.size,
                                    .file = record->file};
    return batch_push(r, &batch);
}

static enum status on_create(struct recovery *recovery, const struct journal_record *record)
{
    if (map_get(&recovery->store->map, record->shard) != NULL) {
        return STATUS_OK;
    }
    struct shard_log *log;
    enum status status = shard_begin(recovery, record->shard, &log);
    if (status == STATUS_OK) {
        log->disk_gen = (uint32_t)record->a;
        log->recovering->fresh = id_has(&recovery->deleted, record->shard);
        status = log->recovering->fresh ? STATUS_OK : segments_list(log);
    }
    return status == STATUS_OK ? scan_from_known(log) : status;
}

static enum status on_shard_record(struct shard_log *log, const struct journal_record *record)
{
    switch (record->type) {
    case JOURNAL_PROMISE:
        log->promised = record->b > log->promised ? record->b : log->promised;
        return STATUS_OK;
    case JOURNAL_TRUNCATE:
        log->recovering->want_end = record->a;
        return cut(log, record->a);
    case JOURNAL_UNCERTAIN:
        log->uncertain = record->b != 0;
        log->uncertain_end = record->a;
        log->recovering->damaged = log->recovering->damaged && record->b != 0;
        return STATUS_OK;
    case JOURNAL_LOG_START:
        log->log_start = record->a > log->log_start ? record->a : log->log_start;
        return STATUS_OK;
    case JOURNAL_COMMIT_HINT:
        log->commit_hint = record->a > log->commit_hint ? record->a : log->commit_hint;
        return STATUS_OK;
    case JOURNAL_DATA:
    case JOURNAL_CREATE:
    case JOURNAL_DELETE:
    case JOURNAL_STATE:
    case JOURNAL_STATE_END:
    case JOURNAL_SHARDS:
        break;
    }
    UNREACHABLE();
}

/* The directory is left: what was deleted goes at the end, with all that no shard owns. */
static enum status on_delete(struct recovery *recovery, const struct journal_record *record)
{
    struct shard_log *log = map_get(&recovery->store->map, record->shard);
    if (log != NULL) {
        recovering_free(log);
        shard_free(log);
    }
    enum status status = id_add(&recovery->deleted, record->shard);
    return status == STATUS_OK && record->b != 0 ? id_add(&recovery->kept, record->shard) : status;
}

static enum status on_record(void *context, const struct journal_record *record)
{
    struct recovery *recovery = context;
    struct store *store = recovery->store;
    switch (record->type) {
    case JOURNAL_DATA:
        return on_data(recovery, record);
    case JOURNAL_STATE:
        return on_state(recovery, record);
    case JOURNAL_CREATE:
        return on_create(recovery, record);
    case JOURNAL_DELETE:
        return on_delete(recovery, record);
    case JOURNAL_STATE_END:
    case JOURNAL_SHARDS:
        return STATUS_OK;
    case JOURNAL_PROMISE:
    case JOURNAL_TRUNCATE:
    case JOURNAL_UNCERTAIN:
    case JOURNAL_LOG_START:
    case JOURNAL_COMMIT_HINT: {
        struct shard_log *log = map_get(&store->map, record->shard);
        return log == NULL ? STATUS_OK : on_shard_record(log, record);
    }
    }
    return STATUS_CORRUPT;
}

static enum status on_damage(void *context, uint64_t shard, bool all)
{
    struct recovery *recovery = context;
    recovery->any_damage = true;
    recovery->all_damaged = recovery->all_damaged || all;
    if (!all && id_add(&recovery->damaged, shard) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    LIST_FOR_EACH (node, &recovery->store->shards) {
        struct shard_log *log = CONTAINER_OF(node, struct shard_log, link);
        if (all || log->journal.id == shard) {
            log->recovering->damaged = true;
        }
    }
    return STATUS_OK;
}

enum status recovery_replay(struct recovery *recovery, struct journal_recovery *out,
                            struct error *error)
{
    recovery->history = calloc(JOURNAL_HISTORY_MAX, sizeof(*recovery->history));
    if (recovery->history == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    struct journal_visitor visitor = {
        .context = recovery, .record = on_record, .damage = on_damage};
    enum status status = journal_recover(recovery->store->journal, &visitor, out, error);
    free(recovery->history);
    recovery->history = NULL;
    return status;
}

static enum status settle_history(struct shard_log *log)
{
    const struct recovering *r = log->recovering;
    log_history_cut(log, r->known.point.end);
    for (uint32_t i = 0; i < r->count; i++) {
        enum status status = log_history_reserve(log);
        if (status != STATUS_OK) {
            return status;
        }
        log_history_note(log, r->batch[i].epoch, r->batch[i].base);
    }
    uint32_t drop = 0;
    while (drop + 1 < log->history_count && log->history[drop + 1].start <= log->log_start) {
        drop++;
    }
    log_history_drop(log, drop);
    return STATUS_OK;
}

enum status recovery_settle(struct recovery *recovery, struct shard_log *log)
{
    struct recovering *r = log->recovering;
    log->last = log_end(r);
    bool short_of = r->want_end > log->last.end || r->want_end < r->known.point.end;
    if (r->damaged || short_of) {
        log->uncertain_end = log->uncertain && log->uncertain_end < log->last.end
                                 ? log->uncertain_end
                                 : log->last.end;
        log->uncertain = true;
    }
    if (log->log_start > log->last.end) {
        /* Only behind damage: what is left is below what was trimmed. */
        log->uncertain = true;
        log->uncertain_end = log->last.end;
        log->log_start = log->last.end;
    }
    (void)recovery;
    return settle_history(log);
}

void recovery_release(struct recovery *recovery)
{
    LIST_FOR_EACH (node, &recovery->store->shards) {
        recovering_free(CONTAINER_OF(node, struct shard_log, link));
    }
    free(recovery->damaged.id);
    free(recovery->deleted.id);
    free(recovery->kept.id);
    *recovery = (struct recovery){.store = recovery->store};
}

void recovering_free(struct shard_log *log)
{
    if (log->recovering != NULL) {
        free(log->recovering->batch);
        free(log->recovering);
        log->recovering = NULL;
    }
}
