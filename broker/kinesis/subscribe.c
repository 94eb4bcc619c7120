/* SubscribeToShard: an event stream fed by waiting reads of the shard's leader, which knows whose
 * turn it is (proto/schema/data.proto, `consumer`). */
#include <stdio.h>
#include <string.h>

#include "base/trace.h"
#include "broker/gateway/event_stream.h"
#include "broker/gateway/json.h"
#include "broker/kinesis/internal.h"

enum {
    LIFE_MS = 5 * 60 * 1000,
    HEARTBEAT_MS = 4000, /* an empty event when nothing has come for so long */
    PATIENCE_MS = HEARTBEAT_MS + ATTEMPT_MS,
    FAILURE_MS = 20 * 1000, /* without a leader, a subscription ends */
    CHILDREN_MS = 50,       /* until the children of a closed shard are known */
    EVENT_BYTES = 1024 * 1024,
    EVENT_RECORDS = 10000,
};

struct subscription {
    struct request *r;
    struct list node;
    uint32_t stream;
    uint64_t shard, created_s, offset;
    uint32_t generation;
    uint64_t consumer, id, ends_ms;
    bool begun; /* the answer's head is out */
    bool over;  /* nothing more is read */
    bool gone;  /* nobody listens any more */
    bool reading, stalled;
    int64_t credit;     /* bytes that may be sent now, thousandths */
    uint64_t credit_ms; /* as of when */
    struct position position;

    struct arena arena; /* of one read and its event */
    struct reach reach;
    Weir__Read read;
    Weir__Resolve resolve;
    struct buf piece; /* what the client has no room for */
};

static void read_next(struct subscription *s);

/* ---- the end ---- */

static void finish(struct subscription *s, bool aborted)
{
    struct request *r = s->r;
    struct http_request *http = r->http;
    list_remove(&s->node);
    buf_release(&s->piece);
    arena_release(&s->arena);
    net_timer_stop(r->k->options.loop, &r->timer);
    r->http = NULL;
    http->cancelled = NULL;
    http->writable = NULL;
    http_stream_end(http, aborted);
    request_settle(r);
}

static void slot_freed(struct reach *reach, const struct reach_reply *reply)
{
    (void)reply;
    finish(reach->owner, false);
}

/* Tells the leader that the consumer may come again at once. */
static void leave(struct subscription *s)
{
    struct request *r = s->r;
    s->over = true;
    if (r->k->closing) {
        finish(s, true);
        return;
    }
    s->read.begin = false;
    s->read.end = true;
    s->read.wait_ms = 0;
    arena_release(&s->arena);
    s->reach = (struct reach){.r = r,
                              .shard = s->shard,
                              .method = RPC_READ,
                              .done = slot_freed,
                              .owner = s,
                              .arena = &s->arena,
                              .deadline_ms = request_now_ms(r) + ATTEMPT_MS};
    reach_start(&s->reach, &s->read.base, (struct bytes){0});
}

static void cancelled(struct http_request *http)
{
    struct request *r = http->data;
    struct subscription *s = r->state;
    s->gone = true;
    if (s->over) {
        return;
    }
    if (s->reading) {
        s->over = true;
        reach_cancel(&s->reach);
    } else if (s->stalled || r->timer.heap_index != 0) {
        net_timer_stop(r->k->options.loop, &r->timer);
        leave(s);
    }
}

void subscriptions_end(struct kinesis *k)
{
    LIST_FOR_EACH_SAFE (node, &k->subscriptions) {
        struct subscription *s = CONTAINER_OF(node, struct subscription, node);
        if (s->over) {
            continue;
        }
        if (s->reading) {
            reach_cancel(&s->reach);
        } else if (s->stalled || s->r->timer.heap_index != 0) {
            net_timer_stop(k->options.loop, &s->r->timer);
            leave(s);
        }
    }
}

/* ---- sending ---- */

/* False: it goes on when there is room, or it is over. */
static bool send(struct subscription *s)
{
    enum status status = s->gone ? STATUS_UNAVAILABLE : http_stream_write(s->r->http, &s->piece);
    if (status == STATUS_BUSY && !s->gone) {
        s->stalled = true;
        return false;
    }
    buf_release(&s->piece);
    if (status != STATUS_OK || s->gone) {
        leave(s);
        return false;
    }
    return true;
}

static void rested(struct net_timer *timer)
{
    struct request *r = CONTAINER_OF(timer, struct request, timer);
    read_next(r->state);
}

/* How long the subscription must rest: a second's worth may go at once, more than that is paid back
 * before the next read. Heartbeats come in time whatever the rate. */
static uint64_t rest_ms(struct subscription *s)
{
    const struct request *r = s->r;
    uint64_t rate = api_limits_of(r->k->options.api, s->shard).subscription_bytes;
    uint64_t now_ms = request_now_ms(r), elapsed_ms = now_ms - s->credit_ms;
    if (rate == 0) {
        return 0;
    }
    int64_t most = (int64_t)(rate * 1000);
    uint64_t missing = s->credit < most ? (uint64_t)(most - s->credit) : 0;
    s->credit = elapsed_ms > missing / rate ? most : s->credit + (int64_t)(rate * elapsed_ms);
    s->credit_ms = now_ms;
    uint64_t rest = s->credit >= 0 ? 0 : (uint64_t)-s->credit / rate + 1;
    return rest < HEARTBEAT_MS ? rest : HEARTBEAT_MS;
}

static void go_on(struct subscription *s)
{
    struct request *r = s->r;
    uint64_t rest = s->over ? 0 : rest_ms(s);
    if (s->over || request_now_ms(r) >= s->ends_ms) {
        finish(s, false);
    } else if (rest == 0 || net_timer_start(r->k->options.loop, &r->timer, request_now_ms(r) + rest,
                                            rested) != STATUS_OK) {
        read_next(s);
    }
}

static void writable(struct http_request *http)
{
    struct request *r = http->data;
    struct subscription *s = r->state;
    if (s->stalled) {
        s->stalled = false;
        if (send(s)) {
            go_on(s);
        }
    }
}

NODISCARD static enum status begin_answer(struct subscription *s)
{
    struct request *r = s->r;
    struct http_header headers[ANSWER_HEADERS_MAX];
    uint32_t count = answer_headers(r, EVENT_STREAM_CONTENT_TYPE, headers);
    s->begun = true;
    stats_answered(&r->k->stats, r->operation, 200, net_clock_us() - r->came_us);
    stats_stream(&r->k->stats, s->stream)->subscribe_success++;
    r->http->cancelled = cancelled;
    r->http->writable = writable;
    http_respond_begin(r->http, 200, headers, count);
    return event_stream_initial(&s->piece);
}

/* The last event of a stream that fails, or an ordinary error when it has not begun. */
static void fail(struct subscription *s, enum exception exception, const char *text)
{
    struct request *r = s->r;
    s->over = true;
    if (s->gone) {
        finish(s, true);
        return;
    }
    if (!s->begun) {
        list_remove(&s->node);
        arena_release(&s->arena);
        buf_release(&s->piece);
        answer_refuse(r, exception, "%s", text);
        return;
    }
    struct api_error error;
    status_ignore(api_error_set(&error, &r->arena, exception, "%s", text), "it is INVALID");
    if (event_stream_exception(&error, &s->piece) != STATUS_OK) {
        finish(s, true);
    } else if (send(s)) {
        finish(s, false);
    }
}

/* ---- events ---- */

/* False: they are not known yet. */
static bool add_the_end(struct subscription *s, struct value *event)
{
    struct request *r = s->r;
    const struct route_stream *stream = route_stream(r->k->options.route, s->stream);
    uint32_t number = (uint32_t)s->shard;
    const struct route_shard *shard = route_shard(r->k->options.route, s->shard);
    if (stream == NULL || shard == NULL || shard->phase != WEIR__SHARD_PHASE__SHARD_SEALED ||
        route_next_child(stream, number, NULL) == NULL) {
        return false;
    }
    add_children(r, event, stream, number);
    return true;
}

static void add_continuation(struct subscription *s, struct value *event)
{
    const struct seqnum seqnum = {.created_s = s->created_s,
                                  .shard_number = (uint32_t)s->shard,
                                  .generation = s->generation,
                                  .offset = s->offset == 0 ? 0 : s->offset - 1,
                                  .record_s = request_wall_ms(s->r) / 1000};
    char text[SEQNUM_DECIMAL_BYTES];
    seqnum_to_decimal(&seqnum, text);
    value_add_text(&s->arena, event, "ContinuationSequenceNumber", text);
}

static void wait_for_children(struct net_timer *timer)
{
    struct request *r = CONTAINER_OF(timer, struct request, timer);
    read_next(r->state);
}

NODISCARD static enum status encode(struct subscription *s, const struct value *event)
{
    struct buf payload = {0};
    enum status status = s->arena.failed ? STATUS_NO_MEMORY : json_encode(event, &payload);
    if (status == STATUS_OK) {
        status = event_stream_event("SubscribeToShardEvent", buf_bytes(&payload), &s->piece);
    }
    buf_release(&payload);
    return status;
}

/* Puts the event of a read behind what waits to be sent. */
static void make_event(struct subscription *s, const Weir__ReadReply *reply,
                       const struct reach_reply *raw)
{
    struct request *r = s->r;
    const struct route_stream *stream = route_stream(r->k->options.route, s->stream);
    uint64_t now_ms = request_wall_ms(r), last_ms = 0;
    uint64_t kept_ms = stream == NULL ? now_ms : (uint64_t)stream->retention_hours * 3600 * 1000;
    struct value *event = value_new(&s->arena, VALUE_STRUCT);
    struct records records = {.coder = &r->k->coder,
                              .arena = &s->arena,
                              .list = value_add_list(&s->arena, event, "Records"),
                              .shard = s->shard,
                              .created_s = s->created_s,
                              .oldest_ms = now_ms > kept_ms ? now_ms - kept_ms : 0,
                              .offset = s->offset,
                              .count_max = EVENT_RECORDS,
                              .bytes_max = EVENT_BYTES};
    enum status status = records_take(&records, raw->pieces, raw->piece_count, &last_ms);
    if (status != STATUS_OK) {
        fail(s, EXCEPTION_INTERNAL_FAILURE, status_text(status));
        return;
    }
    s->offset = records.offset;
    s->credit -= (int64_t)records.bytes * 1000;
    uint64_t behind_ms = reply->behind_ms > 0 || reply->tip ? reply->behind_ms : 1;
    if (records.full) {
        behind_ms += last_ms > records.last_ms ? last_ms - records.last_ms : 1;
    } else if (reply->next_offset > s->offset) {
        s->offset = reply->next_offset;
    }
    bool ended = reply->ended && !records.full;
    if (ended && !add_the_end(s, event)) {
        ended = false;
        if (records.count == 0 && s->begun) {
            /* The end is told together with the children, and they are on their way. */
            if (net_timer_start(r->k->options.loop, &r->timer, request_now_ms(r) + CHILDREN_MS,
                                wait_for_children) != STATUS_OK) {
                fail(s, EXCEPTION_INTERNAL_FAILURE, status_text(STATUS_NO_MEMORY));
            }
            return;
        }
    }
    if (!ended) {
        add_continuation(s, event);
    }
    value_add_int(&s->arena, event, "MillisBehindLatest", (int64_t)behind_ms);
    s->over = ended;
    struct stream_stats *stats = stats_stream(&r->k->stats, s->stream);
    stats->event_success++;
    stats->event_bytes += records.bytes;
    stats->event_records += records.count;
    stats->event_behind_ms = behind_ms;
    status = s->begun ? STATUS_OK : begin_answer(s);
    status = status == STATUS_OK ? encode(s, event) : status;
    if (status != STATUS_OK) {
        fail(s, EXCEPTION_INTERNAL_FAILURE, status_text(status));
    } else if (send(s)) {
        go_on(s);
    }
}

/* ---- reading ---- */

static void refuse_read(struct subscription *s, const struct reach_reply *reply)
{
    if (reply->status == STATUS_IN_USE) {
        stats_stream(&s->r->k->stats, s->stream)->subscribe_exceeded++;
        fail(s, EXCEPTION_RESOURCE_IN_USE,
             "Another active subscription exists for this consumer and shard.");
    } else if (reply->status == STATUS_NOT_FOUND) {
        fail(s, EXCEPTION_RESOURCE_NOT_FOUND, "The shard does not exist any more.");
    } else {
        fail(s,
             status_is_of_key(reply->status) ? exception_of_status(reply->status)
                                             : EXCEPTION_INTERNAL_FAILURE,
             status_text(reply->status));
    }
}

static void resolved(struct reach *reach, const struct reach_reply *reply)
{
    struct subscription *s = reach->owner;
    s->reading = false;
    if (s->gone) {
        leave(s);
        return;
    }
    Weir__Position *at = reply->status != STATUS_OK
                             ? NULL
                             : weir__position__unpack(NULL, reply->body.size, reply->body.data);
    if (at == NULL) {
        refuse_read(s, reply);
        return;
    }
    s->offset = at->offset > s->offset ? at->offset : s->offset;
    weir__position__free_unpacked(at, NULL);
    read_next(s);
}

/* What was there is no longer kept. */
static void resolve(struct subscription *s)
{
    weir__resolve__init(&s->resolve);
    s->resolve.shard = s->shard;
    s->resolve.type = WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON;
    s->reading = true;
    s->reach = (struct reach){.r = s->r,
                              .shard = s->shard,
                              .method = RPC_RESOLVE,
                              .done = resolved,
                              .owner = s,
                              .arena = &s->arena,
                              .deadline_ms = request_now_ms(s->r) + FAILURE_MS};
    reach_start(&s->reach, &s->resolve.base, (struct bytes){0});
}

static void was_read(struct reach *reach, const struct reach_reply *reply)
{
    struct subscription *s = reach->owner;
    s->reading = false;
    if (s->gone || s->r->k->closing || s->r->k->draining) {
        if (s->begun) {
            leave(s);
        } else {
            fail(s, EXCEPTION_SERVICE_UNAVAILABLE, status_text(STATUS_CLOSING));
        }
        return;
    }
    if (reply->status == STATUS_EXPIRED) {
        resolve(s);
        return;
    }
    Weir__ReadReply *message =
        reply->status != STATUS_OK
            ? NULL
            : weir__read_reply__unpack(NULL, reply->body.size, reply->body.data);
    if (message == NULL) {
        refuse_read(s, reply);
        return;
    }
    s->read.begin = false;
    make_event(s, message, reply);
    weir__read_reply__free_unpacked(message, NULL);
}

static void read_next(struct subscription *s)
{
    struct request *r = s->r;
    arena_release(&s->arena);
    s->arena.limit = ARENA_REQUEST_LIMIT;
    s->read.offset = s->offset;
    s->read.wait_ms = s->begun ? HEARTBEAT_MS : 0;
    s->read.max_bytes = EVENT_BYTES;
    s->reading = true;
    s->reach = (struct reach){
        .r = r,
        .shard = s->shard,
        .method = RPC_READ,
        .done = was_read,
        .owner = s,
        .arena = &s->arena,
        .patience_ms = s->begun ? PATIENCE_MS : 0,
        .deadline_ms = request_now_ms(r) + (s->begun ? (uint64_t)FAILURE_MS : REQUEST_MS),
    };
    reach_start(&s->reach, &s->read.base, (struct bytes){0});
}

/* ---- the request ---- */

static void start(struct request *r, enum iterator_position position, uint64_t at)
{
    struct subscription *s = r->state;
    (void)position;
    s->offset = at;
    s->ends_ms = request_now_ms(r) + LIFE_MS;
    list_push(&r->k->subscriptions, &s->node);
    read_next(s);
}

/* FNV-1a of the consumer's ARN: by it leaders know a consumer. */
static uint64_t consumer_hash(struct bytes arn)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < arn.size; i++) {
        hash = (hash ^ arn.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash == 0 ? 1 : hash;
}

static struct subscription *subscription_new(struct request *r, const struct route_stream *stream,
                                             const struct route_shard *shard)
{
    const struct value *starting = value_get(r->input, "StartingPosition");
    struct subscription *s = arena_take(&r->arena, sizeof(*s));
    if (s == NULL || !random_bytes(&s->id, sizeof(s->id))) {
        answer_status(r, STATUS_NO_MEMORY, NULL);
        return NULL;
    }
    s->r = r;
    list_init(&s->node);
    s->stream = stream->id;
    s->shard = shard->shard;
    s->created_s = shard->created_s;
    s->generation = shard->generation;
    s->consumer = consumer_hash(value_bytes(r->input, "ConsumerARN"));
    weir__read__init(&s->read);
    s->read.tip = true;
    s->read.shard = s->shard;
    s->read.consumer = s->consumer;
    s->read.subscription = s->id;
    s->read.begin = true;
    (void)snprintf(s->position.stream, sizeof(s->position.stream), "%s", stream->name);
    s->position.type = value_text(&r->arena, starting, "Type");
    s->position.sequence = value_bytes(starting, "SequenceNumber");
    s->position.timestamp = value_get(starting, "Timestamp");
    s->position.done = start;
    r->state = s;
    r->http->data = r;
    return s;
}

void handle_subscribe_to_shard(struct request *r)
{
    const Weir__Consumer *consumer = NULL;
    const struct route_stream *stream =
        request_resource(r, value_bytes(r->input, "ConsumerARN"), &consumer);
    if (stream == NULL) {
        return;
    }
    if (consumer == NULL) {
        answer_refuse(r, EXCEPTION_INVALID_ARGUMENT, "ConsumerARN is not the ARN of a consumer.");
        return;
    }
    const struct route_shard *shard = request_shard(r, stream, value_bytes(r->input, "ShardId"));
    if (shard == NULL) {
        return;
    }
    if (consumer->state != WEIR__CONSUMER_STATE__CONSUMER_ACTIVE) {
        if (!request_refresh(r, bytes_of_string(stream->name))) {
            answer_refuse(r, EXCEPTION_RESOURCE_IN_USE,
                          "Consumer %s of stream %s under account %s is not ACTIVE.",
                          consumer->name, stream->name, kinesis_account(r->k));
        }
        return;
    }
    if (value_bool(r->input, "DryRun", false)) {
        answer_refuse(r, EXCEPTION_DRY_RUN, "The request would have succeeded.");
        return;
    }
    struct subscription *s = subscription_new(r, stream, shard);
    if (s != NULL) {
        position_resolve(r, &s->position, shard);
    }
}
