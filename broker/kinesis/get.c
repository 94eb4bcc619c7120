/* GetRecords. */
#include <stdio.h>

#include "broker/kinesis/internal.h"

enum {
    READS_MAX = 10, /* of the leader, for one answer */
    READ_BYTES = 8 * 1024 * 1024,
    READ_BYTES_FEW = 1024 * 1024, /* when few records are wanted */
    FEW_RECORDS = 100,
    ANSWER_BYTES = 10 * 1024 * 1024,
    RECORDS_DEFAULT = 10000,
};

struct get {
    struct records records;
    struct value *output;
    uint32_t stream, reads;
    bool resolved;  /* where the shard begins has been asked for */
    bool asked_tip; /* whether what was read is all there is, ditto */
};

static void read_more(struct request *r, struct get *get);

/* ---- the answer ---- */

/* Whether the end of the shard may be told: whoever is told it gets the children, too. */
static bool add_end(struct request *r, const struct get *get)
{
    const struct route_stream *stream = route_stream(r->k->options.route, get->stream);
    const struct route_shard *shard = route_shard(r->k->options.route, get->records.shard);
    uint32_t number = (uint32_t)get->records.shard;
    if (stream == NULL || shard == NULL || shard->phase != WEIR__SHARD_PHASE__SHARD_SEALED ||
        route_next_child(stream, number, NULL) == NULL) {
        return false;
    }
    add_children(r, get->output, stream, number);
    return true;
}

static void finish(struct request *r, struct get *get, uint64_t behind_ms, bool ended)
{
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    const struct iterator next = {.stream = get->stream,
                                  .shard = (uint32_t)get->records.shard,
                                  .position = ITERATOR_OFFSET,
                                  .at = get->records.offset,
                                  .issued_ms = request_wall_ms(r)};
    if (!ended || !add_end(r, get)) {
        char text[ITERATOR_TEXT_BYTES];
        enum status status = keys == NULL ? STATUS_UNAVAILABLE : iterator_seal(keys, &next, text);
        if (status != STATUS_OK) {
            answer_status(r, status, NULL);
            return;
        }
        value_add_text(&r->arena, get->output, "NextShardIterator", text);
    }
    value_add_int(&r->arena, get->output, "MillisBehindLatest", (int64_t)behind_ms);
    struct stream_stats *stats = stats_stream(&r->k->stats, get->stream);
    stats->get_bytes += get->records.bytes;
    stats->get_records += get->records.count;
    stats->get_success++;
    stats->get_ms += request_age_ms(r);
    stats->get_age_ms = behind_ms;
    answer(r, get->output);
}

/* ---- reading ---- */

static void take(struct request *r, struct get *get, const Weir__ReadReply *reply,
                 const struct reach_reply *raw)
{
    uint64_t last_ms = 0;
    enum status status = records_take(&get->records, raw->pieces, raw->piece_count, &last_ms);
    if (status != STATUS_OK) {
        answer_status(r, status, NULL);
        return;
    }
    if (get->records.full) {
        uint64_t behind_ms = last_ms > get->records.last_ms ? last_ms - get->records.last_ms : 0;
        behind_ms += reply->behind_ms;
        finish(r, get, behind_ms == 0 ? 1 : behind_ms, false);
        return;
    }
    if (reply->next_offset > get->records.offset) {
        get->records.offset = reply->next_offset;
    }
    bool at_tip = get->records.offset >= reply->commit || reply->ended;
    if (at_tip && !reply->tip && !reply->ended && !get->asked_tip && get->reads < READS_MAX) {
        get->asked_tip = true; /* an empty read: a leader makes sure before it says so */
        read_more(r, get);
    } else if (at_tip || get->records.count >= get->records.count_max || get->reads >= READS_MAX) {
        /* Without a majority that confirms it nobody knows how far behind that is. */
        uint64_t unknown_ms = reply->tip || reply->ended ? 0 : 1;
        finish(r, get, at_tip ? unknown_ms : reply->behind_ms, reply->ended);
    } else {
        read_more(r, get);
    }
}

static void resolved(struct reach *reach, const struct reach_reply *reply)
{
    struct request *r = reach->r;
    struct get *get = reach->owner;
    Weir__Position *at = NULL;
    if (reply->status != STATUS_OK) {
        answer_status(r, reply->status, NULL);
        return;
    }
    at = weir__position__unpack(NULL, reply->body.size, reply->body.data);
    if (at == NULL) {
        answer_status(r, STATUS_INTERNAL, "a broker's reply cannot be read");
        return;
    }
    if (at->offset > get->records.offset) {
        get->records.offset = at->offset;
    }
    weir__position__free_unpacked(at, NULL);
    read_more(r, get);
}

/* What was there is no longer kept: goes on with the oldest that is. */
static void resolve(struct request *r, struct get *get)
{
    Weir__Resolve *message = arena_take(&r->arena, sizeof(*message));
    struct reach *reach = arena_take(&r->arena, sizeof(*reach));
    if (message == NULL || reach == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    get->resolved = true;
    weir__resolve__init(message);
    message->shard = get->records.shard;
    message->type = WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON;
    *reach = (struct reach){.r = r,
                            .shard = get->records.shard,
                            .method = RPC_RESOLVE,
                            .any_replica = true,
                            .done = resolved,
                            .owner = get};
    reach_start(reach, &message->base, (struct bytes){0});
}

static void was_read(struct reach *reach, const struct reach_reply *reply)
{
    struct request *r = reach->r;
    struct get *get = reach->owner;
    if (reply->status == STATUS_EXPIRED && !get->resolved) {
        resolve(r, get);
        return;
    }
    if (reply->status == STATUS_THROTTLED) {
        const struct route_stream *stream = route_stream(r->k->options.route, get->stream);
        refuse_throttled(r, get->records.shard, stream == NULL ? "" : stream->name);
        return;
    }
    if (reply->status == STATUS_NOT_FOUND) {
        answer_status(r, STATUS_NOT_FOUND, "The shard does not exist any more.");
        return;
    }
    if (reply->status != STATUS_OK) {
        answer_status(r, reply->status, NULL);
        return;
    }
    Weir__ReadReply *message = weir__read_reply__unpack(NULL, reply->body.size, reply->body.data);
    if (message == NULL) {
        answer_status(r, STATUS_INTERNAL, "a broker's reply cannot be read");
        return;
    }
    take(r, get, message, reply);
    weir__read_reply__free_unpacked(message, NULL);
}

static void read_more(struct request *r, struct get *get)
{
    Weir__Read *message = arena_take(&r->arena, sizeof(*message));
    struct reach *reach = arena_take(&r->arena, sizeof(*reach));
    if (message == NULL || reach == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    uint32_t wanted = get->records.count_max - get->records.count;
    weir__read__init(message);
    message->tip = true;
    message->shard = get->records.shard;
    message->offset = get->records.offset;
    message->max_bytes = wanted <= FEW_RECORDS ? READ_BYTES_FEW : READ_BYTES;
    /* One more than is wanted tells whether there is more. */
    message->max_records = wanted + 1;
    message->limit = get->reads == 0 ? WEIR__READ__LIMIT__CALL : WEIR__READ__LIMIT__CONTINUED;
    get->reads++;
    *reach = (struct reach){.r = r,
                            .shard = get->records.shard,
                            .method = RPC_READ,
                            .any_replica = true,
                            .done = was_read,
                            .owner = get};
    reach_start(reach, &message->base, (struct bytes){0});
}

/* ---- the request ---- */

/* False: answered. */
static bool open_iterator(struct request *r, struct iterator *out)
{
    const struct token_keys *keys = r->k->options.token_keys(r->k->options.context);
    uint64_t now_ms = request_wall_ms(r);
    if (keys == NULL) {
        answer_status(r, STATUS_UNAVAILABLE, NULL);
        return false;
    }
    if (iterator_open(keys, value_bytes(r->input, "ShardIterator"), out) != STATUS_OK) {
        answer_refuse(r, TEXT_ITERATOR_INVALID);
        return false;
    }
    if (iterator_expired(out, now_ms)) {
        char made[ITERATOR_TIME_BYTES], now[ITERATOR_TIME_BYTES];
        iterator_time(out->issued_ms, made);
        iterator_time(now_ms, now);
        answer_refuse(r, TEXT_ITERATOR_EXPIRED, made, now, (unsigned)ITERATOR_LIFE_MS);
        return false;
    }
    return true;
}

/* The stream of an iterator, which names it by its id. NULL: answered, or it goes on later. */
static const struct route_stream *stream_of(struct request *r, uint32_t id)
{
    const struct route_stream *stream = route_stream(r->k->options.route, id);
    struct arn arn;
    if (stream == NULL && request_refresh(r, bytes_of_string("-"))) {
        return NULL;
    }
    if (stream == NULL || stream->state == WEIR__STREAM_STATE__STREAM_DELETING) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", id);
        refuse_not_found(r, bytes_of_string(stream == NULL ? text : stream->name));
        return NULL;
    }
    struct bytes arn_text = value_bytes(r->input, "StreamARN");
    if (arn_text.size > 0 &&
        (!arn_parse(arn_text, &arn) || !bytes_equal(arn.stream, bytes_of_string(stream->name)))) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT,
                      "The ShardIterator is not one of the stream %.*s.", PRINT_BYTES(arn_text));
        return NULL;
    }
    return stream;
}

void handle_get_records(struct request *r)
{
    struct iterator iterator;
    if (!open_iterator(r, &iterator)) {
        return;
    }
    const struct route_stream *stream = stream_of(r, iterator.stream);
    if (stream == NULL) {
        return;
    }
    char id[SHARD_ID_BYTES];
    shard_id_text(iterator.shard, id);
    const struct route_shard *shard = request_shard(r, stream, bytes_of_string(id));
    if (shard == NULL) {
        return;
    }
    if (value_bool(r->input, "DryRun", false)) {
        answer_refuse(r, EXCEPTION_DRY_RUN, "The request would have succeeded.");
        return;
    }
    struct get *get = arena_take(&r->arena, sizeof(*get));
    if (get == NULL) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return;
    }
    uint64_t kept_ms = (uint64_t)stream->retention_hours * 3600 * 1000, now_ms = request_wall_ms(r);
    get->stream = iterator.stream;
    get->output = value_new(&r->arena, VALUE_STRUCT);
    get->records = (struct records){
        .coder = &r->k->coder,
        .arena = &r->arena,
        .list = value_add_list(&r->arena, get->output, "Records"),
        .shard = shard->shard,
        .created_s = shard->created_s,
        .oldest_ms = now_ms > kept_ms ? now_ms - kept_ms : 0,
        .offset = iterator.position == ITERATOR_OFFSET ? iterator.at : 0,
        .count_max = (uint32_t)value_int(r->input, "Limit", RECORDS_DEFAULT),
        .bytes_max = ANSWER_BYTES,
    };
    read_more(r, get);
}
