/* A reader's questions to brokers, and what it makes of the answers. */
#include <string.h>

#include "client/reader/reader.h"

static const struct metadata_shard *shard_row(const struct weir_reader *reader)
{
    const struct metadata *metadata = cluster_metadata(reader->client->cluster);
    const struct metadata_stream *stream = metadata_stream(metadata, reader->stream);
    return stream != NULL && reader->shard < stream->shard_count ? &stream->shards[reader->shard]
                                                                 : NULL;
}

static bool is_deleted(const struct weir_reader *reader)
{
    const struct metadata *metadata = cluster_metadata(reader->client->cluster);
    return metadata->known && metadata_stream_alive(metadata, reader->stream) == NULL;
}

/* The leader; without one any replica with which we have a session, in turn. NULL: none yet. */
struct session *reader_choose(struct weir_reader *reader)
{
    struct cluster *cluster = reader->client->cluster;
    const struct metadata_shard *row = shard_row(reader);
    uint32_t serial;
    if (row == NULL) {
        return NULL;
    }
    bool trust_leader = reader->failures % 4 != 3; /* one that never answers is not the only one */
    struct session *session = cluster_broker(cluster, row->leader, &serial);
    if (session != NULL && trust_leader) {
        reader->target = row->leader;
        return session;
    }
    for (uint32_t i = 0; i < row->voter_count; i++) {
        uint32_t broker = row->voters[(reader->turns + i) % row->voter_count].broker;
        struct session *other = cluster_broker(cluster, broker, &serial);
        if (other != NULL && broker != row->leader) {
            reader->turns += i + 1;
            reader->target = broker;
            return other;
        }
    }
    reader->target = row->leader;
    return session;
}

static void on_retry(struct net_timer *timer)
{
    struct weir_reader *reader = CONTAINER_OF(timer, struct weir_reader, retry);
    reader_look(reader);
    reader_end_if_over(reader);
}

void reader_back_off(struct weir_reader *reader)
{
    uint32_t doubled = reader->failures < 6 ? reader->failures : 6;
    uint64_t ms = (uint64_t)READ_BACKOFF_MIN_MS << doubled;
    if (ms > READ_BACKOFF_MAX_MS) {
        ms = READ_BACKOFF_MAX_MS;
    }
    ms = rng_between(cluster_rng(reader->client->cluster), ms / 2, ms);
    reader->failures++;
    if (reader->failures > 1) {
        cluster_doubt(reader->client->cluster, reader->stream);
    }
    handle_timer(reader->client, &reader->retry, handle_now_ms() + ms, on_retry);
}

static void ask(struct weir_reader *reader, enum reader_question question, enum rpc_method method,
                const ProtobufCMessage *body, uint32_t timeout_ms)
{
    struct session *session = reader_choose(reader);
    struct session_payload payload = {.body = body};
    enum status status = STATUS_UNAVAILABLE;
    if (session != NULL) {
        status =
            session_call(session, method, payload, timeout_ms, &reader->request, reader_on_reply);
    }
    if (status == STATUS_OK) {
        reader->asked = question;
    } else if (status == STATUS_DENIED) {
        reader_fail(reader, status, "the certificate's role may not read");
    } else {
        reader_back_off(reader);
    }
}

static void ask_start(struct weir_reader *reader)
{
    static const Weir__PositionType types[] = {
        [WEIR_TRIM_HORIZON] = WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON,
        [WEIR_LATEST] = WEIR__POSITION_TYPE__POSITION_LATEST,
        [WEIR_AT_SEQUENCE_NUMBER] = WEIR__POSITION_TYPE__POSITION_AT_OFFSET,
        [WEIR_AFTER_SEQUENCE_NUMBER] = WEIR__POSITION_TYPE__POSITION_AFTER_OFFSET,
        [WEIR_AT_TIMESTAMP] = WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP,
    };
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    resolve.shard = (uint64_t)reader->stream << 32 | reader->shard;
    resolve.type = types[reader->opening.from];
    resolve.offset = reader->opening.position_offset;
    resolve.timestamp_ms = reader->opening.from_ms;
    ask(reader, ASK_START, RPC_RESOLVE, &resolve.base, ANSWER_MS);
}

static void ask_tip(struct weir_reader *reader)
{
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    resolve.shard = (uint64_t)reader->stream << 32 | reader->shard;
    resolve.type = WEIR__POSITION_TYPE__POSITION_LATEST;
    ask(reader, ASK_TIP, RPC_RESOLVE, &resolve.base, ANSWER_MS);
}

static void ask_read(struct weir_reader *reader)
{
    Weir__Read read = WEIR__READ__INIT;
    read.shard = (uint64_t)reader->stream << 32 | reader->shard;
    read.offset = reader->offset;
    read.max_bytes = reader->read_bytes;
    reader->is_long_poll = reader->caught_up && reader->polling;
    read.wait_ms = reader->is_long_poll ? LONG_POLL_MS : 0;
    ask(reader, ASK_READ, RPC_READ, &read.base, ANSWER_MS + read.wait_ms);
}

void reader_look(struct weir_reader *reader)
{
    if (reader->closing || reader->asked != ASK_NOTHING || reader->fault.status != WEIR_OK ||
        reader->ready != NULL || reader->retry.heap_index != 0) {
        return;
    }
    if (reader->at_end && !is_deleted(reader)) {
        if (reader->get.waiting && !reader_answer_end(reader)) {
            cluster_doubt(reader->client->cluster, reader->stream); /* the children come soon */
        }
        return;
    }
    if (is_deleted(reader)) {
        reader_fail(reader, STATUS_NOT_FOUND, "the stream was deleted");
    } else if (reader->opening.opened != NULL || reader->resolve_again) {
        ask_start(reader);
    } else if (reader->get.waiting && reader->get.confirm) {
        ask_tip(reader);
    } else if (reader->push.wanted) {
        reader_ask_push(reader);
    } else if (reader->get.waiting || reader->polling || !reader->caught_up) {
        ask_read(reader);
    }
}

void reader_start(struct weir_reader *reader)
{
    reader->watcher.changed = reader_changed;
    cluster_watch(reader->client->cluster, &reader->watcher);
    reader_look(reader);
}

/* A new leader, a lost session, a deleted stream. */
void reader_changed(struct cluster_watcher *watcher)
{
    struct weir_reader *reader = CONTAINER_OF(watcher, struct weir_reader, watcher);
    const struct metadata_shard *row = shard_row(reader);
    if (cluster_is_closing(reader->client->cluster)) {
        reader_fail(reader, STATUS_CLOSING, "the client is being closed");
        reader_end_if_over(reader);
        return;
    }
    if (reader->at_end) {
        reader_look(reader);
        reader_end_if_over(reader);
        return;
    }
    uint32_t serial;
    bool better = row != NULL && row->leader != 0 && row->leader != reader->target &&
                  cluster_broker(reader->client->cluster, row->leader, &serial) != NULL;
    if (reader->asked != ASK_NOTHING && (better || is_deleted(reader))) {
        session_cancel(&reader->request);
    } else if (reader->asked == ASK_NOTHING && reader->retry.heap_index != 0) {
        net_timer_stop(reader->client->loop, &reader->retry); /* no reason to wait longer */
        reader_look(reader);
        reader_end_if_over(reader);
    }
}

void reader_stop(struct weir_reader *reader)
{
    cluster_unwatch(&reader->watcher);
    net_timer_stop(reader->client->loop, &reader->retry);
    net_timer_stop(reader->client->loop, &reader->patience);
    reader_push_stop(reader);
    if (reader->asked != ASK_NOTHING) {
        session_cancel(&reader->request);
    }
}

/* ---- answers ----------------------------------------------------------------------------------
 */

NODISCARD static enum status take_start(struct weir_reader *reader, struct bytes body)
{
    Weir__Position *position = weir__position__unpack(NULL, body.size, body.data);
    if (position == NULL) {
        return STATUS_CORRUPT;
    }
    reader->offset = position->offset;
    weir__position__free_unpacked(position, NULL);
    reader->resolve_again = false;
    reader_opened(reader);
    return STATUS_OK;
}

NODISCARD static enum status take_tip(struct weir_reader *reader, struct bytes body)
{
    Weir__Position *position = weir__position__unpack(NULL, body.size, body.data);
    if (position == NULL) {
        return STATUS_CORRUPT;
    }
    uint64_t tip = position->offset;
    weir__position__free_unpacked(position, NULL);
    reader->get.confirm = false;
    if (reader->offset >= tip) {
        reader_answer(reader, true, 0);
    } else {
        reader->caught_up = false; /* whoever answered the read did not know of all yet */
        reader_back_off(reader);
    }
    return STATUS_OK;
}

static void nothing_there(struct weir_reader *reader, uint64_t behind_ms)
{
    reader->caught_up = true;
    if (!reader->get.waiting) {
        return;
    }
    if (reader->confirm_tip) {
        reader->get.confirm = true; /* reader_look() asks for it */
    } else if (reader->get.wait_ms == 0) {
        reader_answer(reader, true, behind_ms);
    }
}

NODISCARD static enum status take_read(struct weir_reader *reader, struct bytes body,
                                       struct bytes attachment)
{
    Weir__ReadReply *reply = weir__read_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        return STATUS_CORRUPT;
    }
    uint64_t behind_ms = reply->behind_ms;
    uint64_t behind_bytes = reply->behind_bytes;
    uint64_t commit = reply->commit;
    bool ended = reply->ended;
    weir__read_reply__free_unpacked(reply, NULL);
    uint64_t next = reader->offset;
    bool cut = false;
    enum status status = reader_keep(reader, attachment, &next, &cut);
    if (status != STATUS_OK) {
        return status;
    }
    if (cut && reader->asked == ASK_PUSH) {
        reader_push_end(reader, STATUS_OK); /* what it sends next does not follow */
    }
    ended = ended && !cut;
    reader->records_behind = commit > next ? commit - next : 0;
    behind_ms += cut && behind_ms == 0;
    reader->bytes_behind = behind_bytes + (cut ? attachment.size : 0);
    bool moved = next > reader->offset;
    reader->offset = next;
    reader->corrupt = 0;
    if (reader->kept != NULL) {
        reader->caught_up = false;
        reader->kept->millis_behind = behind_ms;
        reader->kept->records_behind = reader->records_behind;
        reader->kept->bytes_behind = reader->bytes_behind;
        reader->kept->next_offset = next;
        reader->kept->at_tip = next >= commit && !reader->confirm_tip && !ended;
        reader->at_end = ended; /* told with the next get */
        if (reader->get.waiting) {
            reader_answer(reader, false, behind_ms);
        }
    } else if (ended) {
        reader->at_end = true; /* reader_look() tells it */
    } else if (!moved) {
        if (reader->asked != ASK_PUSH || next >= commit) { /* else it waits for credit */
            nothing_there(reader, behind_ms);
        }
    } else {
        reader->caught_up = next >= commit; /* only control batches */
        if (reader->caught_up) {
            nothing_there(reader, behind_ms);
        }
    }
    return STATUS_OK;
}

/* No repetition and no other replica can help. */
static bool is_final(enum status status)
{
    return status == STATUS_INVALID || status == STATUS_DENIED || status == STATUS_UNSUPPORTED ||
           status == STATUS_WRONG_CLUSTER || status == STATUS_NO_MEMORY ||
           (status_is_of_key(status) && status != STATUS_KEY_UNAVAILABLE);
}

static void take_failure(struct weir_reader *reader, enum reader_question asked, enum status status,
                         const char *text)
{
    if (status == STATUS_CANCELLED) {
        reader->failures = 0; /* by ourselves: there is somebody better to ask */
    } else if (status == STATUS_EXPIRED && (asked == ASK_READ || asked == ASK_PUSH)) {
        /* Retention has overtaken us: go on at the oldest that is kept, and say so. */
        reader->skipped = true;
        reader->offset = 0;
        reader->caught_up = false;
        reader->opening.from = WEIR_TRIM_HORIZON;
        reader->resolve_again = true;
    } else if (is_final(status)) {
        reader_fail(reader, status, text);
    } else if (status == STATUS_CORRUPT && ++reader->corrupt >= CORRUPT_MAX) {
        reader_fail(reader, status, "the records there fail their checks on every replica");
    } else {
        reader_back_off(reader);
    }
}

void reader_on_reply(struct session_request *request, const struct session_reply *reply)
{
    struct weir_reader *reader = CONTAINER_OF(request, struct weir_reader, request);
    enum reader_question asked = reader->asked;
    enum status status = reply->status;
    if (asked == ASK_PUSH && !reader_push_reply(reader, reply->more, &status)) {
        return;
    }
    reader->asked = reply->more ? asked : ASK_NOTHING;
    if (status == STATUS_OK && !reader->closing) {
        reader->failures = 0;
        if (asked == ASK_START) {
            status = take_start(reader, reply->body);
        } else if (asked == ASK_TIP) {
            status = take_tip(reader, reply->body);
        } else {
            status = take_read(reader, reply->body, reply->attachment);
        }
    }
    if (status != STATUS_OK && reader->asked == ASK_PUSH) {
        reader_push_end(reader, status); /* its last reply says what became of it */
    } else if (status != STATUS_OK && !reader->closing) {
        const char *text = reply->error.text[0] != '\0' ? reply->error.text : status_text(status);
        take_failure(reader, asked, status, text);
    }
    reader_look(reader);
    reader_end_if_over(reader);
}
