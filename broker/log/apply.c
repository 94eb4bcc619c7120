/* The home thread's side of writing segments behind the journal: the queue of operations, and what
 * the journal may reuse. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/open.h"
#include "broker/log/private.h"

enum { FRAME_BEFORE_BODY = 32 };

static struct op *op_at(const struct store *store, uint32_t index)
{
    return &store->op[(store->op_head + index) & (store->op_capacity - 1)];
}

enum status log_ops_reserve(struct store *store, uint32_t more)
{
    if (store->op_capacity - store->op_count >= more) {
        return STATUS_OK;
    }
    uint32_t capacity = store->op_capacity == 0 ? 64 : store->op_capacity;
    while (capacity - store->op_count < more) {
        capacity *= 2;
    }
    struct op *grown = calloc(capacity, sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < store->op_count; i++) {
        grown[i] = *op_at(store, i);
    }
    free(store->op);
    store->op = grown;
    store->op_head = 0;
    store->op_capacity = capacity;
    return STATUS_OK;
}

static bool op_is_urgent(const struct op *op)
{
    return op->type == OP_PATCH || op->type == OP_UNLINK || op->type == OP_REMOVE ||
           op->type == OP_QUARANTINE;
}

void log_ops_push(struct store *store, const struct op *op)
{
    CHECK(store->op_count < store->op_capacity);
    CHECK(op->lsn >= store->last_lsn);
    *op_at(store, store->op_count++) = *op;
    store->last_lsn = op->lsn;
    store->last_position = op->position;
    store->op_bytes += op->type == OP_WRITE ? op->bytes : 0;
    store->op_urgent += op_is_urgent(op) ? 1 : 0;
    if (op->segment != NULL) {
        op->segment->refs++;
    }
}

/* A write that is in the file now. Writes from before a truncation that was ordered since do not
 * count: the cut behind them settles what the file holds. */
static void write_done(struct store *store, const struct op *op)
{
    struct segment *segment = op->segment;
    if (!segment->removed && op->lsn > segment->cut_lsn) {
        segment->written = op->at + op->bytes;
    }
    struct shard_log *log = shard_map_get(&store->map, op->shard);
    if (segment->removed || log == NULL || op->lsn <= log->cut_lsn) {
        return;
    }
    log->applied = (struct located){.point = op->point,
                                    .segment_base = segment->base,
                                    .segment_bytes = op->at + op->bytes,
                                    .last_at = op->at};
    if (!log->touched) {
        log->touched = true;
        list_push(&store->touched, &log->touched_link);
    }
}

static void op_done(struct store *store, struct op *op)
{
    struct segment *segment = op->segment;
    switch (op->type) {
    case OP_WRITE:
        write_done(store, op);
        store->op_bytes -= op->bytes;
        break;
    case OP_CUT:
        if (!segment->removed && op->lsn == segment->cut_lsn) {
            segment->written = op->at; /* every write before it is done */
        }
        break;
    case OP_SEAL: {
        struct segment_index *index = op->data;
        if (!segment->removed && segment->bytes == op->at) {
            segment_index_release(&segment->index); /* readers take it from its file */
            segment->index.from = op->at;
        }
        segment_index_release(index);
        free(index);
        break;
    }
    case OP_PRODUCERS:
        free(op->data);
        break;
    case OP_PATCH:
        patch_written(op->data, STATUS_OK);
        break;
    case OP_UNLINK:
    case OP_CLOSE:
    case OP_REMOVE:
    case OP_QUARANTINE:
        break;
    }
    store->op_urgent -= op_is_urgent(op) ? 1 : 0;
    if (segment != NULL && --segment->refs == 0 && segment->removed) {
        log_segment_free(segment);
    }
}

static void job_done(struct task *task)
{
    struct apply_job *job = CONTAINER_OF(task, struct apply_job, task);
    struct store *store = job->store;
    job->in_flight = false;
    for (uint32_t i = 0; i < job->done; i++) {
        op_done(store, op_at(store, 0));
        store->op_head = (store->op_head + 1) & (store->op_capacity - 1);
        store->op_count--;
    }
    if (job->make_file != UINT32_MAX) {
        if (job->made == STATUS_OK) {
            job->made = journal_add_file(store->journal, job->make_file);
        }
        store->file_refused = job->made != STATUS_OK;
    }
    if (job->status == STATUS_DISK_FULL) {
        store->stalled = true;
        return;
    }
    if (job->status != STATUS_OK) {
        store->out = STATUS_IO;
        return;
    }
    if (job->position > store->written) {
        store->written = job->position;
    }
    if (job->sync) {
        log_sync_start(store, job->position);
    }
}

/* Operations whose records are synced. */
static uint32_t ops_ready(const struct store *store)
{
    uint64_t synced = journal_synced_lsn(store->journal);
    uint32_t low = 0, high = store->op_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (op_at(store, middle)->lsn <= synced) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum status job_reserve(struct apply_job *job, uint32_t count)
{
    if (count <= job->capacity) {
        return STATUS_OK;
    }
    struct op *op = realloc(job->op, count * sizeof(*op));
    if (op == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->op = op;
    uint32_t *next = realloc(job->next, count * sizeof(*next));
    if (next == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->next = next;
    job->capacity = count;
    return STATUS_OK;
}

static void job_start(struct store *store, uint32_t count, bool sync, uint32_t make_file)
{
    struct apply_job *job = &store->job;
    if (job_reserve(job, count) != STATUS_OK) {
        return; /* tried again at the next turn */
    }
    for (uint32_t i = 0; i < count; i++) {
        job->op[i] = *op_at(store, i);
    }
    uint64_t position = journal_synced_position(store->journal);
    if (count < store->op_count) {
        uint64_t next = op_at(store, count)->position - FRAME_BEFORE_BODY;
        position = next < position ? next : position;
    }
    job->store = store;
    job->task.run = log_apply_run;
    job->task.done = job_done;
    job->count = count;
    job->sync = sync;
    job->position = position;
    job->make_file = make_file;
    job->done = 0;
    job->status = job->made = STATUS_CANCELLED; /* until it has run */
    job->in_flight = true;
    disk_worker_submit(&store->writer, &job->task);
}

void log_apply_release(struct store *store)
{
    if (store->op_count == 0 && !store->job.in_flight) {
        store->written = journal_synced_position(store->journal);
    }
    journal_release(store->journal, store->written, store->durable);
}

void log_apply_advance(struct store *store, bool all)
{
    log_apply_release(store);
    if (store->job.in_flight || store->out != STATUS_OK || store->stalled) {
        return;
    }
    uint32_t ready = ops_ready(store);
    uint64_t wanted = journal_wanted(store->journal);
    uint64_t enough = store->options.ring_bytes / 8;
    enough = enough < APPLY_BYTES_MAX ? enough : APPLY_BYTES_MAX;
    bool behind = wanted > store->durable;
    bool sync = (behind || (all && store->durable < journal_synced_position(store->journal))) &&
                !store->sync.in_flight;
    uint32_t make_file = store->file_refused ? UINT32_MAX : journal_wants_file(store->journal);
    bool urgent = store->op_urgent > 0 || store->room_wanted;
    bool write = ready > 0 && (sync || urgent || store->op_bytes >= enough);
    if (store->op_count == 0 || (write && ready == store->op_count)) {
        store->room_wanted = false; /* all that held the ring goes now */
    }
    if (write || sync || make_file != UINT32_MAX) {
        job_start(store, write ? ready : 0, sync, make_file);
    }
}

void log_ops_release(struct store *store)
{
    for (uint32_t i = 0; i < store->op_count; i++) {
        struct op *op = op_at(store, i);
        if (op->type == OP_SEAL) {
            struct segment_index *index = op->data;
            segment_index_release(index);
        }
        if (op->type == OP_PATCH) {
            patch_written(op->data, STATUS_CANCELLED);
        } else {
            free(op->data);
        }
        if (op->segment != NULL && --op->segment->refs == 0 && op->segment->removed) {
            log_segment_free(op->segment);
        }
    }
    free(store->op);
    free(store->job.op);
    free(store->job.next);
    store->op = NULL;
    store->op_count = 0;
}
