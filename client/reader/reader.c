/* The public functions of a reader: opening, gets, closing. */
#include "client/reader/reader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/reader/decode.h"
#include "proto/wire/seqnum.h"

/* ---- records ----------------------------------------------------------------------------------
 */

/* The records of one read and the bytes that they point to. */
struct records_block {
    struct list node; /* on reader.push.queue */
    size_t size;      /* of bytes[] */
    struct weir_records records;
    struct weir_read_record *rows;
    struct weir_child *children;
    uint8_t *plain; /* what was compressed */
    uint8_t bytes[];
};

void weir_records_free(struct weir_records *records)
{
    if (records != NULL) {
        struct records_block *block = CONTAINER_OF(records, struct records_block, records);
        free(block->rows);
        free(block->children);
        free(block->plain);
        free(block);
    }
}

/* Of all hash keys while the shard is not known. */
static struct hash_range range_of(const struct weir_reader *reader)
{
    const struct metadata_stream *stream =
        metadata_stream(cluster_metadata(reader->client->cluster), reader->stream);
    if (stream == NULL || reader->shard >= stream->shard_count ||
        !stream->shards[reader->shard].known) {
        return hash_range_of(0, 1);
    }
    return stream->shards[reader->shard].range;
}

enum status reader_keep(struct weir_reader *reader, struct bytes attachment, uint64_t *out_next,
                        bool *out_cut)
{
    struct records_block *block = calloc(1, sizeof(*block) + attachment.size);
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (attachment.size > 0) {
        memcpy(block->bytes, attachment.data, attachment.size);
    }
    reader->kept = NULL;
    struct decode_source source = {.shard = (uint64_t)reader->stream << 32 | reader->shard,
                                   .created_s = reader->created_s,
                                   .offset = reader->offset,
                                   .coder = &reader->coder,
                                   .plain_max = (size_t)reader->read_bytes * OPENED_TIMES,
                                   .deaggregate = reader->deaggregate,
                                   .range = range_of(reader)};
    struct decoded decoded = {0};
    enum status status = decode_batches(bytes_of(block->bytes, attachment.size), &source, &decoded);
    if (status != STATUS_OK) {
        free(block);
        return status;
    }
    block->size = attachment.size;
    *out_next = decoded.next_offset;
    *out_cut = decoded.cut;
    reader->skipped |= decoded.skipped;
    reader->lost |= decoded.lost;
    if (decoded.count == 0) {
        decoded_release(&decoded);
        free(block);
        reader_push_taken(reader, attachment.size);
        return STATUS_OK;
    }
    block->rows = decoded.records;
    block->plain = decoded.plain;
    block->records = (struct weir_records){.count = decoded.count,
                                           .records = decoded.records,
                                           .skipped = reader->skipped,
                                           .lost = reader->lost};
    reader->skipped = reader->lost = false;
    reader->kept = &block->records;
    if (reader->ready == NULL) {
        reader->ready = &block->records;
    } else {
        list_push(&reader->push.queue, &block->node);
    }
    return STATUS_OK;
}

/* ---- gets -------------------------------------------------------------------------------------
 */

static void give(struct weir_reader *reader, struct weir_records *records,
                 const struct weir_error *error)
{
    struct reader_get get = reader->get;
    reader->get = (struct reader_get){0};
    net_timer_stop(reader->client->loop, &reader->patience);
    (void)pthread_mutex_lock(&reader->lock);
    reader->busy = false;
    (void)pthread_mutex_unlock(&reader->lock);
    get.got(records, error, get.context);
}

/* What the next get is answered with; NULL: nothing has come. */
static struct weir_records *take_ready(struct weir_reader *reader)
{
    struct weir_records *records = reader->ready;
    struct list *queue = &reader->push.queue;
    reader->ready = NULL;
    if (records != NULL) {
        if (!list_empty(queue)) {
            reader->ready = &CONTAINER_OF(list_pop(queue), struct records_block, node)->records;
        }
        reader_push_taken(reader, CONTAINER_OF(records, struct records_block, records)->size);
    }
    return records;
}

void reader_answer(struct weir_reader *reader, bool at_tip, uint64_t behind_ms)
{
    struct weir_error ok = {.status = WEIR_OK};
    struct weir_records *records = take_ready(reader);
    if (records == NULL) {
        struct records_block *block = calloc(1, sizeof(*block));
        if (block == NULL) {
            struct weir_error error;
            (void)handle_error(&error, STATUS_NO_MEMORY, "out of memory");
            give(reader, NULL, &error);
            return;
        }
        records = &block->records;
        records->at_tip = at_tip;
        records->millis_behind = behind_ms;
        records->records_behind = reader->records_behind;
        records->bytes_behind = reader->bytes_behind;
        records->next_offset = reader->offset;
    }
    give(reader, records, &ok);
}

bool reader_answer_end(struct weir_reader *reader)
{
    const struct metadata *metadata = cluster_metadata(reader->client->cluster);
    const struct metadata_stream *stream = metadata_stream(metadata, reader->stream);
    if (stream == NULL || reader->shard >= stream->shard_count ||
        !metadata_shard_is_closed(&stream->shards[reader->shard])) {
        return false;
    }
    struct weir_error error = {.status = WEIR_OK};
    size_t count = 0;
    struct records_block *block = calloc(1, sizeof(*block));
    struct weir_child *children = calloc(stream->shard_count, sizeof(*children));
    if (block == NULL || children == NULL) {
        free(block);
        free(children);
        (void)handle_error(&error, STATUS_NO_MEMORY, "out of memory");
        give(reader, NULL, &error);
        return true;
    }
    for (uint32_t i = reader->shard + 1; i < stream->shard_count; i++) {
        const struct metadata_shard *row = &stream->shards[i];
        if (row->known && !row->waiting && metadata_is_parent(row, reader->shard)) {
            children[count] = (struct weir_child){.shard = i, .parent_count = row->parent_count};
            memcpy(children[count].parents, row->parents, sizeof(row->parents));
            count++;
        }
    }
    block->children = children;
    block->records = (struct weir_records){
        .at_tip = true, .ended = true, .child_count = count, .children = children};
    give(reader, &block->records, &error);
    return true;
}

void reader_fail(struct weir_reader *reader, enum status status, const char *text)
{
    (void)handle_error(&reader->fault, status, "%s", text);
    if (reader->opening.opened != NULL) {
        weir_reader_opened_fn *opened = reader->opening.opened;
        reader->opening.opened = NULL;
        reader->closing = true;
        reader_stop(reader);
        opened(NULL, &reader->fault, reader->opening.context);
    } else if (reader->get.waiting) {
        give(reader, NULL, &reader->fault);
    }
}

static void on_patience(struct net_timer *timer)
{
    struct weir_reader *reader = CONTAINER_OF(timer, struct weir_reader, patience);
    if (reader->opening.opened != NULL) {
        char text[WEIR_ERROR_TEXT_BYTES];
        (void)snprintf(text, sizeof(text),
                       "no broker told in time where to begin in shard %u of '%s': weirctl shard "
                       "list shows whether it has a leader",
                       reader->shard, reader->opening.name);
        reader_fail(reader, STATUS_TIMEOUT, text);
    } else if (reader->get.waiting) {
        reader_answer(reader, false, 0);
    }
    reader_end_if_over(reader);
}

static void on_get(struct net_mail *mail)
{
    struct weir_reader *reader = CONTAINER_OF(mail, struct weir_reader, get_mail);
    reader->get = reader->wanted;
    reader->get.waiting = true;
    reader->polling = reader->get.wait_ms > 0 && !reader->confirm_tip;
    if (reader->fault.status != WEIR_OK) {
        give(reader, NULL, &reader->fault);
    } else if (reader->ready != NULL) {
        reader_answer(reader, false, 0);
    } else if (reader->asked == ASK_PUSH && reader->get.wait_ms == 0 && reader->caught_up) {
        reader_answer(reader, true, 0);
    } else {
        if (reader->asked == ASK_READ && reader->is_long_poll && !reader->polling) {
            session_cancel(&reader->request); /* this get wants to know what is there now */
        }
        if (reader->get.wait_ms > 0) {
            handle_timer(reader->client, &reader->patience, handle_now_ms() + reader->get.wait_ms,
                         on_patience);
        }
    }
    reader_look(reader);
    reader_end_if_over(reader);
}

enum weir_status weir_reader_get_async(struct weir_reader *reader, uint32_t wait_ms,
                                       weir_records_fn *got, void *context)
{
    (void)pthread_mutex_lock(&reader->lock);
    bool busy = reader->busy;
    reader->busy = true;
    (void)pthread_mutex_unlock(&reader->lock);
    if (busy) {
        return WEIR_BUSY;
    }
    reader->wanted = (struct reader_get){.wait_ms = wait_ms, .got = got, .context = context};
    reader->get_mail.run = on_get;
    net_mailbox_send(reader->client->mailbox, &reader->get_mail);
    return WEIR_OK;
}

static void got_for_waiter(struct weir_records *records, const struct weir_error *error,
                           void *context)
{
    waiter_wake(context, records, error);
}

enum weir_status weir_reader_get(struct weir_reader *reader, uint32_t wait_ms,
                                 struct weir_records **out, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(reader->client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct waiter waiter;
    waiter_init(&waiter);
    status = weir_reader_get_async(reader, wait_ms, got_for_waiter, &waiter);
    if (status != WEIR_OK) {
        struct weir_error refused;
        (void)handle_error(&refused, (enum status)status, "another get of this reader still waits");
        waiter_wake(&waiter, NULL, &refused);
    }
    void *result = NULL;
    status = waiter_wait(&waiter, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

void reader_end_if_over(struct weir_reader *reader)
{
    if (!reader->closing || reader->asked != ASK_NOTHING || reader->push.granting) {
        return;
    }
    struct waiter *closer = reader->closer;
    cluster_unwatch(&reader->watcher);
    net_timer_stop(reader->client->loop, &reader->retry);
    net_timer_stop(reader->client->loop, &reader->patience);
    while (reader->ready != NULL) {
        weir_records_free(take_ready(reader));
    }
    (void)pthread_mutex_destroy(&reader->lock);
    coder_release(&reader->coder);
    free(reader);
    if (closer != NULL) {
        waiter_wake(closer, NULL, NULL);
    }
}

static void on_close(struct net_mail *mail)
{
    struct weir_reader *reader = CONTAINER_OF(mail, struct weir_reader, close_mail);
    reader_stop(reader);
    if (reader->get.waiting) {
        struct weir_error error;
        (void)handle_error(&error, STATUS_CANCELLED, "the reader was closed");
        give(reader, NULL, &error);
    }
    reader->closing = true;
    reader_end_if_over(reader);
}

void weir_reader_close(struct weir_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    struct weir_client *client = reader->client;
    struct waiter waiter;
    bool wait = client->own_thread && !handle_is_own_thread(client);
    if (wait) {
        waiter_init(&waiter);
        reader->closer = &waiter;
    }
    reader->close_mail.run = on_close;
    net_mailbox_send(client->mailbox, &reader->close_mail);
    if (wait) {
        enum weir_status status = waiter_wait(&waiter, NULL, NULL);
        CHECK(status == WEIR_OK);
    }
}

/* ---- the beginning ----------------------------------------------------------------------------
 */

void reader_opened(struct weir_reader *reader)
{
    weir_reader_opened_fn *opened = reader->opening.opened;
    if (opened != NULL) {
        reader->opening.opened = NULL;
        net_timer_stop(reader->client->loop, &reader->patience);
        opened(reader, &(struct weir_error){.status = WEIR_OK}, reader->opening.context);
    }
}

static void begin(struct weir_reader *reader, uint32_t stream)
{
    char text[WEIR_ERROR_TEXT_BYTES];
    const struct metadata_stream *row =
        metadata_stream(cluster_metadata(reader->client->cluster), stream);
    if (row == NULL || reader->shard >= row->shard_count) {
        (void)snprintf(text, sizeof(text), "'%s' has no shard %u: it has %u", reader->opening.name,
                       reader->shard, row != NULL ? row->shard_count : 0);
        reader_fail(reader, STATUS_NOT_FOUND, text);
        return;
    }
    reader->stream = stream;
    reader->created_s = row->shards[reader->shard].created_s;
    if (reader->opening.has_position && reader->opening.position_created_s != reader->created_s) {
        (void)snprintf(text, sizeof(text),
                       "the sequence number is not of this stream: perhaps of one of the same name "
                       "that was deleted");
        reader_fail(reader, STATUS_INVALID, text);
        return;
    }
    uint64_t left = reader->opening.find.deadline_ms - net_now_ms(reader->client->loop);
    handle_timer(reader->client, &reader->patience,
                 handle_now_ms() + (left <= reader->opening.timeout_ms ? left : 0), on_patience);
    reader_start(reader);
}

static void found(struct stream_find *find, uint32_t stream, const struct error *error)
{
    struct weir_reader *reader = CONTAINER_OF(find, struct weir_reader, opening.find);
    if (error->status != STATUS_OK) {
        reader_fail(reader, error->status, error->text);
    } else {
        begin(reader, stream);
    }
    reader_end_if_over(reader);
}

static void on_open(struct net_mail *mail)
{
    struct weir_reader *reader = CONTAINER_OF(mail, struct weir_reader, opening.mail);
    stream_find(reader->client, &reader->opening.find, reader->opening.name,
                reader->opening.timeout_ms, found);
}

NODISCARD static enum status take_options(struct weir_reader *reader,
                                          const struct weir_reader_options *options,
                                          struct error *error)
{
    reader->opening.from = options->from;
    reader->opening.from_ms = options->timestamp_ms;
    reader->read_bytes = options->read_bytes != 0 ? options->read_bytes : READ_BYTES;
    reader->confirm_tip = options->confirm_tip;
    reader_push_init(reader, options->push);
    if (options->push && options->confirm_tip) {
        return error_set(error, STATUS_INVALID, "a reader that confirms the tip asks for records");
    }
    reader->deaggregate = options->deaggregate;
    if (options->from > WEIR_AT_TIMESTAMP) {
        return error_set(error, STATUS_INVALID, "there is no such kind of starting point");
    }
    if (options->from != WEIR_AT_SEQUENCE_NUMBER && options->from != WEIR_AFTER_SEQUENCE_NUMBER) {
        return STATUS_OK;
    }
    struct seqnum seqnum;
    if (options->sequence_number == NULL ||
        seqnum_from_decimal(options->sequence_number, &seqnum) != STATUS_OK) {
        return error_set(error, STATUS_INVALID, "'%.80s' is not a sequence number",
                         options->sequence_number != NULL ? options->sequence_number : "");
    }
    if (seqnum.shard_number != reader->shard) {
        return error_set(error, STATUS_INVALID,
                         "the sequence number is of shard %u, not of shard %u", seqnum.shard_number,
                         reader->shard);
    }
    reader->opening.has_position = true;
    reader->opening.position_created_s = seqnum.created_s;
    reader->opening.position_offset = seqnum.offset;
    return STATUS_OK;
}

NODISCARD static enum status open_async(struct weir_client *client, const char *stream,
                                        uint32_t shard, const struct weir_reader_options *options,
                                        uint32_t timeout_ms, weir_reader_opened_fn *opened,
                                        void *context, struct error *error)
{
    static const struct weir_reader_options defaults = {.from = WEIR_TRIM_HORIZON};
    enum status status = check_stream_name(stream, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct weir_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    reader->shard = shard;
    status = take_options(reader, options != NULL ? options : &defaults, error);
    if (status != STATUS_OK) {
        free(reader);
        return status;
    }
    CHECK(pthread_mutex_init(&reader->lock, NULL) == 0);
    list_init(&reader->watcher.node);
    reader->client = client;
    reader->opening.mail.run = on_open;
    reader->opening.timeout_ms = handle_timeout(timeout_ms);
    reader->opening.opened = opened;
    reader->opening.context = context;
    (void)snprintf(reader->opening.name, sizeof(reader->opening.name), "%s", stream);
    net_mailbox_send(client->mailbox, &reader->opening.mail);
    return STATUS_OK;
}

enum weir_status weir_reader_open_async(struct weir_client *client, const char *stream,
                                        uint32_t shard, const struct weir_reader_options *options,
                                        uint32_t timeout_ms, weir_reader_opened_fn *opened,
                                        void *context)
{
    return public_status(
        open_async(client, stream, shard, options, timeout_ms, opened, context, NULL));
}

static void opened_for_waiter(struct weir_reader *reader, const struct weir_error *error,
                              void *context)
{
    waiter_wake(context, reader, error);
}

enum weir_status weir_reader_open(struct weir_client *client, const char *stream, uint32_t shard,
                                  const struct weir_reader_options *options, uint32_t timeout_ms,
                                  struct weir_reader **out, struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct waiter waiter;
    struct error bad = {0};
    waiter_init(&waiter);
    enum status begun =
        open_async(client, stream, shard, options, timeout_ms, opened_for_waiter, &waiter, &bad);
    void *result = NULL;
    status = waiter_wait_begun(&waiter, begun, &bad, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}
