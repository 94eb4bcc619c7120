#include "broker/log/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

bool id_list_has(const struct id_list *list, uint64_t id)
{
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->id[i] == id) {
            return true;
        }
    }
    return false;
}

enum status id_list_add(struct id_list *list, uint64_t id)
{
    if (id_list_has(list, id)) {
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

enum status recovered_list_add(struct batch_list *list, const struct recovered_batch *batch)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        struct recovered_batch *grown = realloc(list->item, capacity * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->item = grown;
        list->capacity = capacity;
    }
    list->item[list->count++] = *batch;
    return STATUS_OK;
}

static struct log_point replayed_end(const struct recovering *r)
{
    return r->batch.count == 0 ? r->base : batch_point(&r->batch.item[r->batch.count - 1]);
}

/* The log ends at `end`, where the batch before it has this crc. */
static void cut(struct shard_log *log, uint64_t end, uint32_t crc)
{
    struct recovering *r = log->recovering;
    while (r->batch.count > 0 && replayed_end(r).end > end) {
        r->batch.count--;
    }
    if (end < r->base.end) {
        log_history_cut(log, end);
        r->base = (struct log_point){.end = end, .epoch = log_history_before(log, end), .crc = crc};
    }
    r->truncated = true;
    log->seal_end = log->seal_end <= end ? log->seal_end : 0;
    log_history_cut(log, end);
}

static enum status shard_begin(struct recovery *recovery, uint64_t shard, struct shard_log **out)
{
    struct shard_log *log;
    enum status status = shard_log_new(recovery->store, shard, &log);
    if (status != STATUS_OK) {
        return status;
    }
    log->listed = true;
    log->recovering = calloc(1, sizeof(*log->recovering));
    if (log->recovering == NULL) {
        return STATUS_NO_MEMORY;
    }
    log->recovering->damaged = recovery->all_damaged || id_list_has(&recovery->damaged, shard);
    log->recovering->fresh = id_list_has(&recovery->deleted, shard);
    *out = log;
    return STATUS_OK;
}

/* The oldest state that is left. */
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
    log->seal_end = state->seal_end;
    log->recovering->base = state->last;
    log->recovering->synced = (struct located){.point = state->synced,
                                               .segment_base = state->segment_base,
                                               .segment_bytes = state->segment_bytes,
                                               .last_at = state->last_at};
    for (uint32_t i = 0; status == STATUS_OK && i < state->history_count; i++) {
        status = log_history_reserve(log);
        if (status == STATUS_OK) {
            log_history_note(log, state->history[i].epoch, state->history[i].start);
        }
    }
    return status;
}

/* A later state repeats what the records before it said; where they were damaged it says more. */
static enum status state_again(struct shard_log *log, const struct journal_state *state)
{
    struct recovering *r = log->recovering;
    log->promised = state->promised > log->promised ? state->promised : log->promised;
    log->log_start = state->log_start > log->log_start ? state->log_start : log->log_start;
    log->commit_hint =
        state->commit_hint > log->commit_hint ? state->commit_hint : log->commit_hint;
    log->uncertain = state->uncertain;
    log->uncertain_end = state->uncertain_end;
    struct log_point end = replayed_end(r);
    if (state->last.end < end.end || (state->last.end == end.end && state->last.crc != end.crc)) {
        r->damaged = true; /* a truncation was lost */
        cut(log, state->last.end, state->last.crc);
    }
    log->seal_end = state->seal_end;
    r->want_end = state->last.end;
    return STATUS_OK;
}

static enum status on_state(struct recovery *recovery, const struct journal_record *record)
{
    struct journal_state state;
    enum status status = journal_state_decode(record->body, recovery->history, &state);
    if (status != STATUS_OK) {
        return status;
    }
    struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
    return log == NULL ? state_first(recovery, record->shard, &state) : state_again(log, &state);
}

static enum status on_data(struct recovery *recovery, const struct journal_record *record)
{
    struct batch_header h;
    enum status status = batch_header_decode(record->body, &h);
    if (status != STATUS_OK) {
        return status;
    }
    struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
    if (log == NULL) {
        return STATUS_OK; /* its creation was lost: the directory goes to quarantine */
    }
    struct recovering *r = log->recovering;
    log->promised = h.epoch > log->promised ? h.epoch : log->promised;
    if (h.base_offset < replayed_end(r).end) {
        r->damaged = true; /* the truncation before it was lost */
        cut(log, h.base_offset, h.prev_crc);
    }
    r->want_end = 0;
    status = log_history_reserve(log);
    if (status != STATUS_OK) {
        return status;
    }
    log_history_note(log, h.epoch, h.base_offset);
    if (h.control_type == BATCH_SEAL) {
        log->seal_end = batch_end(&h);
    }
    struct recovered_batch batch = {.base = h.base_offset,
                                    .ms = h.append_ms,
                                    .at = record->offset,
                                    .count = h.count,
                                    .epoch = h.epoch,
                                    .crc = h.header_crc,
                                    .prev_crc = h.prev_crc,
                                    .bytes = (uint32_t)record->body.size,
                                    .seal = h.control_type == BATCH_SEAL,
                                    .file = record->file};
    return recovered_list_add(&r->batch, &batch);
}

static enum status on_create(struct recovery *recovery, const struct journal_record *record)
{
    struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
    enum status status = STATUS_OK;
    if (log == NULL) {
        status = shard_begin(recovery, record->shard, &log);
    }
    if (status == STATUS_OK) {
        log->disk_gen = (uint32_t)record->a;
        log->promised = record->b > log->promised ? record->b : log->promised;
    }
    return status;
}

/* Whatever the log held before is none of its business, in segments too: their removal may not have
 * come before the crash. */
static enum status on_install(struct shard_log *log, const struct journal_record *record)
{
    struct recovering *r = log->recovering;
    log_history_cut(log, 0);
    enum status status = log_history_reserve(log);
    if (status != STATUS_OK) {
        return status;
    }
    log_history_note(log, record->b, record->a - 1);
    r->base = (struct log_point){.end = record->a, .epoch = record->b, .crc = record->c};
    r->batch.count = 0;
    r->synced = (struct located){.point = r->base, .segment_base = record->a};
    r->want_end = 0;
    r->truncated = true;
    log->log_start = record->a;
    log->seal_end = 0;
    return STATUS_OK;
}

static void on_truncate(struct shard_log *log, const struct journal_record *record)
{
    log->recovering->want_end = 0;
    if (record->a < replayed_end(log->recovering).end) {
        cut(log, record->a, record->c);
    }
}

static void on_shard_record(struct shard_log *log, const struct journal_record *record)
{
    switch (record->type) {
    case JOURNAL_PROMISE:
        log->promised = record->b > log->promised ? record->b : log->promised;
        return;
    case JOURNAL_TRUNCATE:
        on_truncate(log, record);
        return;
    case JOURNAL_UNCERTAIN:
        log->uncertain = record->b != 0;
        log->uncertain_end = record->a;
        /* It cleared a mark of its time: damage that is found only now stays. What an earlier start
         * found lies below the journal's oldest block by the time that its mark is cleared. */
        return;
    case JOURNAL_LOG_START:
        log->log_start = record->a > log->log_start ? record->a : log->log_start;
        return;
    case JOURNAL_COMMIT_HINT:
        log->commit_hint = record->a > log->commit_hint ? record->a : log->commit_hint;
        return;
    case JOURNAL_DATA:
    case JOURNAL_CREATE:
    case JOURNAL_DELETE:
    case JOURNAL_STATE:
    case JOURNAL_STATE_END:
    case JOURNAL_SHARDS:
    case JOURNAL_INSTALL:
        break;
    }
    UNREACHABLE();
}

/* The directory is left for recovery_sweep(). */
static enum status on_delete(struct recovery *recovery, const struct journal_record *record)
{
    struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
    if (log != NULL) {
        recovering_free(log);
        shard_log_free(log);
    }
    enum status status = id_list_add(&recovery->deleted, record->shard);
    return status == STATUS_OK && record->b != 0 ? id_list_add(&recovery->kept, record->shard)
                                                 : status;
}

static enum status on_record(void *context, const struct journal_record *record)
{
    struct recovery *recovery = context;
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
    case JOURNAL_INSTALL: {
        struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
        return log == NULL ? STATUS_OK : record->a > 0 ? on_install(log, record) : STATUS_CORRUPT;
    }
    case JOURNAL_PROMISE:
    case JOURNAL_TRUNCATE:
    case JOURNAL_UNCERTAIN:
    case JOURNAL_LOG_START:
    case JOURNAL_COMMIT_HINT: {
        struct shard_log *log = shard_map_get(&recovery->store->map, record->shard);
        if (log != NULL) {
            on_shard_record(log, record);
        }
        return STATUS_OK;
    }
    }
    return STATUS_CORRUPT;
}

static enum status on_damage(void *context, uint64_t shard, bool all)
{
    struct recovery *recovery = context;
    recovery->any_damage = true;
    recovery->all_damaged = recovery->all_damaged || all;
    if (!all && id_list_add(&recovery->damaged, shard) != STATUS_OK) {
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

void recovering_free(struct shard_log *log)
{
    if (log->recovering != NULL) {
        free(log->recovering->batch.item);
        free(log->recovering);
        log->recovering = NULL;
    }
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
