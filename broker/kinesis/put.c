/* PutRecord and PutRecords: records are grouped by shard, one batch each, sent to the leaders in
 * parallel. What meets a shard that has just been closed goes to its children. */
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "broker/kept/kept.h"
#include "broker/kinesis/internal.h"
#include "broker/kinesis/put.h"

enum {
    REQUEST_BYTES_MAX = 10 * 1024 * 1024,
    NEW_ROUTE_MS = 200,
    TOKEN_BYTES = 16,
    RETRY_MS = 10 * 60 * 1000, /* as long as shards remember tokens */
};

struct put {
    struct request *r;
    struct put_entry *entries;
    uint32_t count, calls; /* calls under way */
    bool single;
    bool is_retry;       /* the client says so: shards closed lately may have it */
    uint8_t request[32]; /* HMAC of what makes this request the same as its retries */
    char stream[STREAM_NAME_MAX + 1];
    bool encrypted;
};

/* A batch under way. */
struct group {
    struct reach reach;
    struct put *put;
    Weir__Put message;
    struct batch_builder batch;
    struct kept_batch *kept; /* has the batch's memory, if it may come back; else NULL */
    uint64_t shard;
};

/* ---- answers ---- */

static void sequence_of(const struct put_entry *e, char out[SEQNUM_DECIMAL_BYTES])
{
    const struct seqnum seqnum = {.created_s = e->created_s,
                                  .shard_number = (uint32_t)e->shard,
                                  .generation = e->generation,
                                  .offset = e->offset,
                                  .record_s = e->append_ms / 1000};
    seqnum_to_decimal(&seqnum, out);
}

static struct bytes shard_name(struct request *r, uint64_t shard)
{
    char id[SHARD_ID_BYTES];
    shard_id_text((uint32_t)shard, id);
    return arena_copy(&r->arena, bytes_of_string(id));
}

/* `id` is the shard's name, in the arena: records that follow one another share it. */
static void add_success(struct request *r, struct value *to, const struct put_entry *e,
                        struct bytes id)
{
    uint8_t *sequence = arena_take_bytes(&r->arena, SEQNUM_DECIMAL_BYTES);
    if (sequence == NULL) {
        return; /* the arena has failed, and so will the answer */
    }
    sequence_of(e, (char *)sequence);
    value_add_bytes(&r->arena, to, "SequenceNumber", bytes_of(sequence, SEQNUM_DECIMAL_BYTES - 1));
    value_add_bytes(&r->arena, to, "ShardId", id);
}

static void answer_one(struct put *put)
{
    struct request *r = put->r;
    const struct put_entry *e = &put->entries[0];
    if (e->state == PUT_THROTTLED) {
        refuse_throttled(r, e->shard, put->stream);
    } else if (e->state == PUT_FAILED) {
        answer_status(r, e->status, NULL);
    } else {
        struct value *output = value_new(&r->arena, VALUE_STRUCT);
        add_success(r, output, e, shard_name(r, e->shard));
        if (put->encrypted) {
            value_add_text(&r->arena, output, "EncryptionType", "KMS");
        }
        answer(r, output);
    }
}

static void add_failure(struct put *put, struct value *to, const struct put_entry *e)
{
    struct arena *arena = &put->r->arena;
    char id[SHARD_ID_BYTES];
    shard_id_text((uint32_t)e->shard, id);
    const char *account = kinesis_account(put->r->k);
    if (e->state == PUT_THROTTLED) {
        value_add_text(arena, to, "ErrorCode", "ProvisionedThroughputExceededException");
        value_add_format(arena, to, "ErrorMessage",
                         "Rate exceeded for shard %s in stream %s under account %s.", id,
                         put->stream, account);
    } else {
        value_add_text(arena, to, "ErrorCode", "InternalFailure");
        value_add_format(arena, to, "ErrorMessage",
                         "Internal service failure for shard %s in stream %s under account %s: %s.",
                         id, put->stream, account, status_text(e->status));
    }
}

static void answer_all(struct put *put)
{
    struct request *r = put->r;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < put->count; i++) {
        failed += put->entries[i].state != PUT_DONE;
        if (put->entries[i].state == PUT_FAILED && status_is_of_key(put->entries[i].status)) {
            /* As a whole, as at AWS: a retry finds what was stored. */
            answer_status(r, put->entries[i].status, NULL);
            return;
        }
    }
    struct value *output = value_new(&r->arena, VALUE_STRUCT);
    value_add_int(&r->arena, output, "FailedRecordCount", failed);
    struct value *list = value_add_list(&r->arena, output, "Records");
    struct bytes id = {0};
    uint64_t named = 0; /* the shard whose name `id` is */
    for (uint32_t i = 0; i < put->count; i++) {
        struct value *v = value_add_struct(&r->arena, list, NULL);
        if (put->entries[i].state == PUT_DONE) {
            if (id.size == 0 || put->entries[i].shard != named) {
                named = put->entries[i].shard;
                id = shard_name(r, named);
            }
            add_success(r, v, &put->entries[i], id);
        } else {
            add_failure(put, v, &put->entries[i]);
        }
    }
    if (put->encrypted) {
        value_add_text(&r->arena, output, "EncryptionType", "KMS");
    }
    answer(r, output);
}

/* ---- retries ---- */

static struct bytes header(const struct request *r, const char *name)
{
    const struct http_header *found = http_header_find(r->http, name, NULL);
    return found == NULL ? (struct bytes){0} : found->value;
}

/* What the request's batches are known by: the SDKs send one amz-sdk-invocation-id with all
 * attempts of a call. Without it, or where that is switched off, only our own attempts are the
 * same. False: no memory or no randomness. */
static bool make_request_key(struct put *put)
{
    struct request *r = put->r;
    struct bytes id = header(r, "amz-sdk-invocation-id");
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    if (id.size == 0 || keys == NULL || keys->count == 0 || !r->k->options.deduplicate) {
        return random_bytes(put->request, sizeof(put->request));
    }
    static const char attempt[] = "attempt=";
    struct bytes sdk = header(r, "amz-sdk-request");
    size_t skip = sizeof(attempt) - 1;
    put->is_retry = sdk.size > skip && memcmp(sdk.data, attempt, skip) == 0 &&
                    !(sdk.data[skip] == '1' && (sdk.size == skip + 1 || sdk.data[skip + 1] == ';'));
    struct buf text = {0};
    unsigned size = 0;
    bool ok =
        buf_append(&text, r->body_hash, sizeof(r->body_hash)) == STATUS_OK &&
        buf_append(&text, r->caller.access_key, strlen(r->caller.access_key) + 1) == STATUS_OK &&
        buf_append(&text, id.data, id.size) == STATUS_OK &&
        HMAC(EVP_sha256(), keys->keys[0].bytes, TOKEN_KEY_BYTES, text.data, text.size, put->request,
             &size) != NULL;
    buf_release(&text);
    return ok && size == sizeof(put->request);
}

/* Puts the token of this shard's part of the request into the batch. */
NODISCARD static enum status mark(const struct put *put, uint64_t shard, struct bytes batch)
{
    uint8_t text[sizeof(put->request) + 8], digest[32];
    struct batch_header h;
    memcpy(text, put->request, sizeof(put->request));
    put_u64(text + sizeof(put->request), shard);
    if (batch_header_decode(batch, &h) != STATUS_OK) {
        return STATUS_INTERNAL;
    }
    if (EVP_Digest(text, sizeof(text), digest, NULL, EVP_sha256(), NULL) != 1) {
        return STATUS_NO_MEMORY;
    }
    memcpy(h.dedup_token, digest, TOKEN_BYTES);
    batch_header_encode(&h, (uint8_t *)(uintptr_t)batch.data);
    return STATUS_OK;
}

/* ---- sending ---- */

static void send_all(struct put *put);

static void send_again(struct request *r)
{
    send_all(r->state);
}

/* All calls have ended: answers, or sends what found its shard closed. */
static void note_put(const struct put *put)
{
    struct kinesis *k = put->r->k;
    const struct route_stream *stream = route_stream_by_name(k->options.route, put->stream);
    if (stream == NULL) {
        return;
    }
    struct stream_stats *stats = stats_stream(&k->stats, stream->id);
    uint64_t bytes = 0, ok = 0, throttled = 0;
    for (uint32_t i = 0; i < put->count; i++) {
        const struct put_entry *e = &put->entries[i];
        ok += e->state == PUT_DONE ? 1 : 0;
        throttled += e->state == PUT_THROTTLED ? 1 : 0;
        bytes += e->state == PUT_DONE ? e->record.key.size + e->record.data.size : 0;
    }
    if (put->single && ok > 0) {
        stats->put_bytes += bytes;
        stats->put_success++;
        stats->put_ms += request_age_ms(put->r);
    } else if (!put->single) {
        stats->puts_bytes += bytes;
        stats->puts_success += ok > 0 ? 1 : 0;
        stats->puts_ms += request_age_ms(put->r);
        stats->puts_records += put->count;
        stats->puts_ok += ok;
        stats->puts_throttled += throttled;
        stats->puts_failed += put->count - ok - throttled;
    }
}

static void settle(struct put *put)
{
    struct request *r = put->r;
    bool left = false, unasked = false;
    for (uint32_t i = 0; i < put->count; i++) {
        left = left || put->entries[i].state == PUT_WAITING;
        unasked = unasked || (put->entries[i].state == PUT_WAITING && put->entries[i].was_closed);
    }
    if (unasked) {
        send_all(put); /* the next shard that may have it */
        return;
    }
    if (left && request_now_ms(r) + NEW_ROUTE_MS < r->deadline_ms) {
        request_wait(r, route_version(r->k->options.route) + 1, NEW_ROUTE_MS, send_again);
        return;
    }
    for (uint32_t i = 0; i < put->count; i++) {
        if (put->entries[i].state == PUT_WAITING) {
            put->entries[i].state = PUT_FAILED;
            put->entries[i].status = STATUS_UNAVAILABLE;
        }
    }
    note_put(put);
    if (put->single) {
        answer_one(put);
    } else {
        answer_all(put);
    }
}

static void group_done(struct reach *reach, const struct reach_reply *reply)
{
    struct group *group = reach->owner;
    struct put *put = group->put;
    Weir__PutReply *message = NULL;
    enum status status = reply->status;
    if (status == STATUS_OK) {
        message = weir__put_reply__unpack(NULL, reply->body.size, reply->body.data);
        status = message == NULL ? STATUS_INTERNAL : STATUS_OK;
    }
    struct put_outcome outcome = {.status = status};
    if (message != NULL) {
        outcome.base_offset = message->base_offset;
        outcome.append_ms = message->append_ms;
        outcome.generation = message->generation;
        outcome.refused = bytes_of(message->refused.data, message->refused.len);
    }
    put_entries_settle(put->entries, put->count, group->shard, &outcome);
    if (group->kept != NULL) {
        if (message == NULL || message->duplicate || message->refused.len > 0) {
            kept_forget(group->kept); /* it was not appended as it is */
        }
        kept_let_go(group->kept);
    }
    if (message != NULL) {
        weir__put_reply__free_unpacked(message, NULL);
    }
    batch_builder_release(&group->batch);
    put->calls--;
    if (put->calls == 0) {
        settle(put);
    }
}

/* Whether the shard's leader is elsewhere, and would replicate the batch to this broker. */
static bool comes_back(const struct kinesis *k, uint64_t shard)
{
    const struct route_shard *s = route_shard(k->options.route, shard);
    if (s == NULL || s->leader_broker == k->options.broker) {
        return false;
    }
    for (uint32_t i = 0; i < s->replica_count; i++) {
        if (s->replica_brokers[i] == k->options.broker) {
            return true;
        }
    }
    return false;
}

/* Sends all records of the shard of entry `first`. */
NODISCARD static enum status send_group(struct put *put, uint32_t first)
{
    struct request *r = put->r;
    struct group *group = arena_take(&r->arena, sizeof(*group));
    if (group == NULL) {
        return STATUS_NO_MEMORY;
    }
    group->shard = put->entries[first].shard;
    group->put = put;
    enum status status = put_entries_batch(put->entries, put->count, group->shard, &group->batch);
    if (status != STATUS_OK) {
        batch_builder_release(&group->batch);
        return status;
    }
    struct bytes batch = batch_builder_finish(&group->batch, 0, 0, 0);
    status = mark(put, group->shard, batch);
    if (status != STATUS_OK) {
        batch_builder_release(&group->batch);
        return status;
    }
    if (r->k->options.kept != NULL && !put->encrypted && comes_back(r->k, group->shard)) {
        group->kept = kept_add(r->k->options.kept, &group->batch.buf);
        batch = group->kept == NULL ? batch : buf_bytes(&group->kept->buf);
    }
    weir__put__init(&group->message);
    group->message.keeps = group->kept != NULL;
    group->message.shard = group->shard;
    group->message.limited = true;
    group->message.encrypt = put->encrypted;
    group->reach = (struct reach){
        .r = r, .shard = group->shard, .method = RPC_PUT, .done = group_done, .owner = group};
    put->calls++;
    reach_start(&group->reach, &group->message.base, batch);
    return STATUS_OK;
}

static void send_all(struct put *put)
{
    struct request *r = put->r;
    const struct route_stream *stream = route_stream_by_name(r->k->options.route, put->stream);
    if (stream == NULL || stream->state == WEIR__STREAM_STATE__STREAM_DELETING) {
        refuse_not_found(r, bytes_of_string(put->stream));
        return;
    }
    put->encrypted = stream->attributes->encrypted;
    uint64_t now_ms = request_wall_ms(r);
    put_entries_route(put->entries, put->count, stream,
                      put->is_retry && now_ms > RETRY_MS ? now_ms - RETRY_MS : UINT64_MAX);
    put->calls++; /* until all are sent */
    for (uint32_t i = 0; i < put->count; i++) {
        if (put->entries[i].state == PUT_ROUTED) {
            enum status status = send_group(put, i);
            if (status != STATUS_OK) {
                put->entries[i].state = PUT_FAILED;
                put->entries[i].status = status;
            }
        }
    }
    put->calls--;
    if (put->calls == 0) {
        settle(put);
    }
}

/* ---- requests ---- */

/* False: answered. */
static bool take_entry(struct put *put, const struct value *from, struct put_entry *out,
                       uint64_t record_max)
{
    struct request *r = put->r;
    struct bytes hash_key = value_bytes(from, "ExplicitHashKey");
    out->record.key = value_bytes(from, "PartitionKey");
    out->record.data = value_bytes(from, "Data");
    if (out->record.key.size + out->record.data.size > record_max) {
        answer_refuse(r, EXCEPTION_VALIDATION,
                      "1 validation error detected: Value at 'data' failed to satisfy constraint: "
                      "Member must have length less than or equal to %llu with its partition key",
                      (unsigned long long)record_max);
        return false;
    }
    char text[HASH_KEY_DECIMAL_BYTES];
    enum status status = STATUS_OK;
    if (hash_key.size > 0) {
        out->record.has_hash_key = true;
        status = hash_key.size < sizeof(text) ? STATUS_OK : STATUS_INVALID;
        if (status == STATUS_OK) {
            memcpy(text, hash_key.data, hash_key.size);
            text[hash_key.size] = '\0';
            status = hash_key_from_decimal(text, &out->record.hash_key);
        }
        if (status != STATUS_OK) {
            answer_refuse(r, TEXT_EXPLICIT_HASH_KEY, PRINT_BYTES(hash_key));
            return false;
        }
        out->hash = out->record.hash_key;
    } else {
        status = hash_key_of_partition_key(out->record.key, &out->hash);
    }
    if (status != STATUS_OK) {
        answer_status(r, status, NULL);
        return false;
    }
    return true;
}

/* It only says that the number which comes must be greater, and they all rise. False: answered. */
static bool ordering_is_good(struct request *r, const struct route_stream *stream)
{
    struct bytes text = value_bytes(r->input, "SequenceNumberForOrdering");
    if (text.size == 0) {
        return true;
    }
    char copy[131];
    struct seqnum seqnum;
    bool good = text.size < sizeof(copy);
    if (good) {
        memcpy(copy, text.data, text.size);
        copy[text.size] = '\0';
        good = seqnum_from_decimal(copy, &seqnum) == STATUS_OK &&
               seqnum.shard_number < stream->shard_count &&
               seqnum.created_s == stream->shards[seqnum.shard_number].created_s &&
               seqnum.record_s <= request_wall_ms(r) / 1000 + 2;
    }
    if (!good) {
        answer_refuse(r, TEXT_ORDERING_NUMBER, PRINT_BYTES(text),
                      PRINT_BYTES(bytes_of_string(stream->name)), kinesis_account(r->k));
    }
    return good;
}

static uint64_t record_bytes_max(const struct route_stream *stream)
{
    uint32_t kib = stream->attributes->max_record_kib;
    return (uint64_t)(kib == 0 ? 1024 : kib) * 1024;
}

static struct put *put_new(struct request *r, const struct route_stream *stream, uint32_t count)
{
    struct put *put = arena_take(&r->arena, sizeof(*put));
    struct put_entry *entries = arena_take(&r->arena, count * sizeof(*entries));
    if (put == NULL || entries == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    put->r = r;
    put->entries = entries;
    put->count = count;
    memcpy(put->stream, stream->name, sizeof(put->stream));
    r->state = put;
    return put;
}

static void send_unless_dry(struct request *r, struct put *put)
{
    if (value_bool(r->input, "DryRun", false)) {
        answer_refuse(r, EXCEPTION_DRY_RUN, "The request would have succeeded.");
    } else if (!make_request_key(put)) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
    } else {
        send_all(put);
    }
}

void handle_put_record(struct request *r)
{
    const struct route_stream *stream = request_data_stream(r);
    struct put *put = stream == NULL ? NULL : put_new(r, stream, 1);
    if (put == NULL || !ordering_is_good(r, stream)) {
        return;
    }
    put->single = true;
    if (take_entry(put, r->input, &put->entries[0], record_bytes_max(stream))) {
        send_unless_dry(r, put);
    }
}

void handle_put_records(struct request *r)
{
    const struct route_stream *stream = request_data_stream(r);
    const struct value *records = value_get(r->input, "Records");
    struct put *put = stream == NULL ? NULL : put_new(r, stream, value_count(records));
    if (put == NULL) {
        return;
    }
    uint64_t record_max = record_bytes_max(stream);
    uint32_t at = 0;
    size_t bytes = 0;
    VALUE_FOR_EACH(one, records)
    {
        struct put_entry *e = &put->entries[at++];
        if (!take_entry(put, one, e, record_max)) {
            return;
        }
        bytes += e->record.key.size + e->record.data.size;
    }
    if (bytes > REQUEST_BYTES_MAX) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "Records size exceeds 10 MB limit");
        return;
    }
    send_unless_dry(r, put);
}
