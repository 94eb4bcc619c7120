/* One shard: its reader, what it hands to the program, and the program's checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/consumer/consumer.h"
#include "client/reader/reader.h"

struct weir_lease *lease_new(struct weir_consumer *consumer, const char *stream, uint64_t shard)
{
    struct weir_lease *lease = calloc(1, sizeof(*lease));
    if (lease == NULL) {
        return NULL;
    }
    lease->consumer = consumer;
    lease->number = (uint32_t)shard;
    (void)snprintf(lease->stream, sizeof(lease->stream), "%s", stream);
    weir_shard_id(lease->number, lease->shard_id);
    list_init(&lease->checkpoint);
    list_init(&lease->job);
    return lease;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static void on_opened(struct weir_reader *reader, const struct weir_error *error, void *context)
{
    struct weir_lease *lease = context;
    struct weir_consumer *consumer = lease->consumer;
    uint64_t now = handle_now_ms();
    if (reader != NULL && reader->stream != (uint32_t)(lease->core.shard >> 32)) {
        weir_reader_close(reader); /* the lease of the old one goes away soon */
        consumer_trouble(consumer, lease, STATUS_NOT_FOUND,
                         "the stream was deleted, and another of its name made");
        core_open_failed(&consumer->core, &lease->core, now);
    } else if (reader != NULL) {
        lease->reader = reader;
        lease->trouble.status = WEIR_OK;
        struct mark from = lease->core.from;
        lease->skipped |= from.kind == MARK_AT && reader->offset > from.offset;
        core_opened(&consumer->core, &lease->core, reader->offset, now);
    } else {
        consumer_trouble(consumer, lease, (enum status)error->status, error->text);
        core_open_failed(&consumer->core, &lease->core, now);
    }
    consumer_pump(consumer);
}

/* Its row in the metadata; NULL while it has not come. */
static const struct metadata_shard *row_of(const struct weir_lease *lease)
{
    const struct metadata *metadata = cluster_metadata(lease->consumer->client->cluster);
    const struct metadata_stream *stream =
        metadata_stream(metadata, (uint32_t)(lease->core.shard >> 32));
    return stream != NULL && lease->number < stream->shard_count &&
                   stream->shards[lease->number].known
               ? &stream->shards[lease->number]
               : NULL;
}

static void options_of(const struct weir_lease *lease, char sequence[WEIR_SEQUENCE_NUMBER_BYTES],
                       struct weir_reader_options *out)
{
    const struct weir_consumer *consumer = lease->consumer;
    const struct mark from = lease->core.from;
    *out = (struct weir_reader_options){.read_bytes = core_read_bytes(&consumer->core),
                                        .deaggregate = true,
                                        .push = consumer->push};
    if (from.kind == MARK_NEWEST) {
        out->from = WEIR_LATEST;
    } else if (from.kind == MARK_TIME) {
        out->from = WEIR_AT_TIMESTAMP;
        out->timestamp_ms = from.time_ms;
    } else if (from.kind == MARK_AT) {
        const struct weir_position position = {
            .shard_created_s = lease->created_s, .shard = lease->number, .offset = from.offset};
        weir_sequence_number(&position, sequence);
        out->from = WEIR_AT_SEQUENCE_NUMBER;
        out->sequence_number = sequence;
    }
}

void lease_open(struct weir_lease *lease)
{
    struct weir_consumer *consumer = lease->consumer;
    const struct metadata_shard *row = row_of(lease);
    if (row == NULL) {
        cluster_doubt(consumer->client->cluster, (uint32_t)(lease->core.shard >> 32));
        core_open_failed(&consumer->core, &lease->core, handle_now_ms());
        return;
    }
    char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
    struct weir_reader_options options;
    lease->created_s = row->created_s;
    options_of(lease, sequence, &options);
    enum weir_status status = weir_reader_open_async(consumer->client, lease->stream, lease->number,
                                                     &options, OPEN_READER_MS, on_opened, lease);
    if (status != WEIR_OK) {
        consumer_trouble(consumer, lease, (enum status)status, weir_status_text(status));
        core_open_failed(&consumer->core, &lease->core, handle_now_ms());
    }
}

static void note_lag(struct weir_lease *lease, const struct weir_records *records)
{
    lease->tip_records = records->records_behind;
    lease->tip_bytes = records->bytes_behind;
    lease->tip_ms = records->millis_behind;
    if (records->count > 0) {
        lease->newest_ms = records->records[records->count - 1].position.arrival_ms;
    }
}

/* Keys and data. */
static uint64_t bytes_of_records(const struct weir_read_record *records, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        bytes += records[i].key_size + records[i].data_size;
    }
    return bytes;
}

static void keep(struct weir_lease *lease, struct weir_records *records)
{
    struct weir_consumer *consumer = lease->consumer;
    struct fetched *fetched = calloc(1, sizeof(*fetched));
    if (fetched == NULL) {
        weir_records_free(records);
        core_fetch_failed(&consumer->core, &lease->core, handle_now_ms());
        return;
    }
    fetched->records = records;
    fetched->core.records = records->records;
    fetched->core.count = (uint32_t)records->count;
    fetched->left = bytes_of_records(records->records, records->count);
    fetched->core.bytes = fetched->left + records->count * sizeof(records->records[0]);
    lease->skipped |= records->skipped;
    lease->lost |= records->lost;
    core_fetched(&consumer->core, &lease->core, &fetched->core, records->next_offset);
    fetched->left -= bytes_of_records(records->records, fetched->core.taken); /* at a checkpoint */
}

static void on_got(struct weir_records *records, const struct weir_error *error, void *context)
{
    struct weir_lease *lease = context;
    struct weir_consumer *consumer = lease->consumer;
    if (records == NULL) {
        if (error->status != WEIR_CANCELLED) {
            consumer_trouble(consumer, lease, (enum status)error->status, error->text);
        }
        core_fetch_failed(&consumer->core, &lease->core, handle_now_ms());
    } else if (records->ended) {
        weir_records_free(records);
        lease->tip_records = lease->tip_bytes = lease->tip_ms = 0;
        core_ended(&consumer->core, &lease->core);
    } else {
        note_lag(lease, records);
        if (records->count > 0) {
            keep(lease, records);
        } else {
            weir_records_free(records);
            core_fetched_nothing(&consumer->core, &lease->core);
        }
    }
    consumer_pump(consumer);
}

void lease_fetch(struct weir_lease *lease)
{
    enum weir_status status = weir_reader_get_async(lease->reader, FETCH_WAIT_MS, on_got, lease);
    CHECK(status == WEIR_OK); /* the core asks for one at a time */
}

void lease_close(struct weir_lease *lease)
{
    weir_reader_close(lease->reader);
    lease->reader = NULL;
}

void lease_drop(struct core_batch *batch)
{
    struct fetched *fetched = CONTAINER_OF(batch, struct fetched, core);
    weir_records_free(fetched->records);
    free(fetched);
}

/* ---- delivering -------------------------------------------------------------------------------
 */

/* Of what was read and not handed over yet. */
static uint64_t bytes_ahead(const struct weir_lease *lease)
{
    uint64_t bytes = 0;
    LIST_FOR_EACH (node, &lease->core.batches) {
        struct core_batch *batch = CONTAINER_OF(node, struct core_batch, node);
        bytes += CONTAINER_OF(batch, struct fetched, core)->left;
    }
    return bytes;
}

static void fill_delivery(struct weir_lease *lease, const struct core_effect *effect)
{
    struct weir_delivery *delivery = &lease->delivery;
    const struct weir_read_record *records = effect->batch->records + effect->first;
    uint64_t arrival_ms = records[effect->count - 1].position.arrival_ms;
    uint64_t ahead = lease->core.queued_records; /* read, and behind these */
    CONTAINER_OF(effect->batch, struct fetched, core)->left -=
        bytes_of_records(records, effect->count);
    *delivery = (struct weir_delivery){
        .count = effect->count,
        .records = records,
        .behind_records = lease->tip_records + ahead,
        .behind_bytes = lease->tip_bytes + bytes_ahead(lease),
        .behind_ms = lease->tip_ms,
        .skipped = lease->skipped,
        .lost = lease->lost,
    };
    if (ahead > 0) {
        delivery->behind_ms += lease->newest_ms > arrival_ms ? lease->newest_ms - arrival_ms : 1;
    }
    lease->skipped = lease->lost = false;
}

void lease_deliver(struct weir_lease *lease, const struct core_effect *effect)
{
    lease->kind = effect->job;
    lease->hand_over = effect->hand_over;
    lease->start = (struct weir_lease_start){.fresh = lease->core.start.kind != MARK_AT,
                                             .offset = lease->core.start.offset,
                                             .sub_sequence = lease->core.start.sub,
                                             .shard_created_s = lease->created_s,
                                             .pending = lease->core.has_pending,
                                             .pending_end = lease->core.pending.kind == MARK_END,
                                             .pending_offset = lease->core.pending.offset,
                                             .pending_sub_sequence = lease->core.pending.sub};
    if (effect->job == JOB_RECORDS) {
        fill_delivery(lease, effect);
    }
    consumer_run(lease);
}

/* ---- the program's side -----------------------------------------------------------------------
 */

const char *weir_lease_stream(const struct weir_lease *lease)
{
    return lease->stream;
}

const char *weir_lease_shard(const struct weir_lease *lease)
{
    return lease->shard_id;
}

uint32_t weir_lease_shard_number(const struct weir_lease *lease)
{
    return lease->number;
}

struct weir_consumer *weir_lease_consumer(const struct weir_lease *lease)
{
    return lease->consumer;
}

void weir_lease_set_data(struct weir_lease *lease, void *data)
{
    lease->data = data;
}

void *weir_lease_data(const struct weir_lease *lease)
{
    return lease->data;
}

struct checkpoint_call {
    struct core_request request;
    struct net_mail mail;
    struct weir_lease *lease;
    weir_done_fn *done;
    void *context;
};

void lease_answer(struct core_request *request)
{
    struct checkpoint_call *call = CONTAINER_OF(request, struct checkpoint_call, request);
    struct weir_error error = {.status = WEIR_OK};
    if (request->status != STATUS_OK) {
        (void)handle_error(&error, request->status, "%s: %s", call->lease->shard_id, request->text);
    }
    if (call->done != NULL) {
        call->done(&error, call->context);
    }
    free(call);
}

static void on_checkpoint(struct net_mail *mail)
{
    struct checkpoint_call *call = CONTAINER_OF(mail, struct checkpoint_call, mail);
    struct weir_consumer *consumer = call->lease->consumer;
    core_checkpoint(&consumer->core, &call->lease->core, &call->request, handle_now_ms());
    consumer_pump(consumer);
}

/* Which of the calls it is. */
enum phase { CHECKPOINT, PREPARE, COMMIT };

NODISCARD static enum weir_status send_checkpoint(struct weir_lease *lease,
                                                  const struct weir_read_record *record,
                                                  enum phase phase, weir_done_fn *done,
                                                  void *context)
{
    struct checkpoint_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return WEIR_NO_MEMORY;
    }
    call->lease = lease;
    call->done = done;
    call->context = context;
    call->request.last = record == NULL;
    call->request.prepare = phase == PREPARE;
    call->request.commit = phase == COMMIT;
    if (record != NULL) {
        call->request.mark = record->aggregated
                                 ? mark_at(record->position.offset, record->sub_sequence + 1)
                                 : mark_at(record->position.offset + 1, 0);
    }
    call->mail.run = on_checkpoint;
    net_mailbox_send(lease->consumer->client->mailbox, &call->mail);
    return WEIR_OK;
}

NODISCARD static enum weir_status wait_checkpoint(struct weir_lease *lease,
                                                  const struct weir_read_record *record,
                                                  enum phase phase, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(lease->consumer->client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct waiter waiter;
    waiter_init(&waiter);
    status = send_checkpoint(lease, record, phase, waiter_done, &waiter);
    if (status != WEIR_OK) {
        struct weir_error refused;
        (void)handle_error(&refused, STATUS_NO_MEMORY, "out of memory");
        waiter_wake(&waiter, NULL, &refused);
    }
    return waiter_wait(&waiter, NULL, error);
}

enum weir_status weir_lease_checkpoint_async(struct weir_lease *lease,
                                             const struct weir_read_record *record,
                                             weir_done_fn *done, void *context)
{
    return send_checkpoint(lease, record, CHECKPOINT, done, context);
}

enum weir_status weir_lease_checkpoint(struct weir_lease *lease,
                                       const struct weir_read_record *record,
                                       struct weir_error *error)
{
    return wait_checkpoint(lease, record, CHECKPOINT, error);
}

enum weir_status weir_lease_prepare(struct weir_lease *lease, const struct weir_read_record *record,
                                    struct weir_error *error)
{
    return wait_checkpoint(lease, record, PREPARE, error);
}

enum weir_status weir_lease_prepare_async(struct weir_lease *lease,
                                          const struct weir_read_record *record, weir_done_fn *done,
                                          void *context)
{
    return send_checkpoint(lease, record, PREPARE, done, context);
}

enum weir_status weir_lease_commit(struct weir_lease *lease, struct weir_error *error)
{
    return wait_checkpoint(lease, NULL, COMMIT, error);
}

enum weir_status weir_lease_commit_async(struct weir_lease *lease, weir_done_fn *done,
                                         void *context)
{
    return send_checkpoint(lease, NULL, COMMIT, done, context);
}
