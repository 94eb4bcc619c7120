/* The beginning and the end of a producer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/producer/producer.h"

enum {
    DEFAULT_DELIVERY_TIMEOUT_MS = 120000,
    DEFAULT_BUFFER_BYTES = 64 * 1024 * 1024,
    DEFAULT_BUFFER_RECORDS = 500000,
    DEFAULT_BATCH_BYTES = 128 * 1024,
    MAX_BATCH_BYTES = 8 * 1024 * 1024,
    DEFAULT_LINGER_MS = 2,
    DEFAULT_IN_FLIGHT = 8,
    MAX_GATHER_MS = 60000,
};

/* An opening under way: find the stream, then get an id. */
struct opening {
    struct net_mail mail;
    struct weir_client *client;
    char name[STREAM_NAME_MAX + 1];
    struct weir_producer_options options;
    uint32_t timeout_ms;
    uint64_t deadline_ms; /* handle_now_ms() */
    weir_producer_opened_fn *opened;
    void *context;
    struct stream_find find;
    uint32_t stream;
    struct cluster_call call;
    Weir__AllocateProducers body;
    uint8_t request[REQUEST_ID_BYTES];
};

static void fail(struct opening *opening, enum status status, const char *text)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", text);
    opening->opened(NULL, &error, opening->context);
    free(opening);
}

static int compare_routes(const void *a, const void *b)
{
    const struct lane_route *left = a, *right = b;
    return hash_key_compare(left->range.first, right->range.first);
}

NODISCARD static enum status make_lanes(struct weir_producer *producer,
                                        const struct metadata_stream *stream)
{
    producer->routes = calloc(stream->shard_count, sizeof(*producer->routes));
    if (producer->routes == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (!metadata_shard_is_open(&stream->shards[i])) {
            continue;
        }
        struct lane *lane = producer_lane_add(producer, i, &stream->shards[i]);
        if (lane == NULL) {
            return STATUS_NO_MEMORY;
        }
        producer->routes[producer->route_count++] =
            (struct lane_route){.range = lane->range, .lane = lane};
    }
    qsort(producer->routes, producer->route_count, sizeof(*producer->routes), compare_routes);
    return producer->lane_count > 0 ? STATUS_OK : STATUS_SEALED;
}

static void finish(struct opening *opening)
{
    struct weir_client *client = opening->client;
    const struct metadata_stream *stream =
        metadata_stream(cluster_metadata(client->cluster), opening->stream);
    if (stream == NULL) {
        fail(opening, STATUS_NOT_FOUND, "the stream was deleted in this moment");
        return;
    }
    struct weir_producer *producer = calloc(1, sizeof(*producer));
    if (producer == NULL) {
        fail(opening, STATUS_NO_MEMORY, "out of memory");
        return;
    }
    producer->client = client;
    producer->options = opening->options;
    producer->stream = opening->stream;
    producer->encoding = (struct encoding){
        .codec = (enum codec)opening->options.compression,
        .aggregate_bytes = opening->options.aggregate ? opening->options.aggregate_bytes : 0};
    producer->id = client->next_producer++;
    client->producers_left--;
    CHECK(pthread_mutex_init(&producer->lock, NULL) == 0);
    CHECK(pthread_cond_init(&producer->room, NULL) == 0);
    list_init(&producer->dirty);
    list_init(&producer->outstanding);
    list_init(&producer->flushes);
    list_init(&producer->done);
    list_init(&producer->watcher.node);
    producer->wake.run = producer_on_wake;
    producer->watcher.changed = producer_on_change;
    enum status status = make_lanes(producer, stream);
    if (status != STATUS_OK) {
        producer_free(producer);
        fail(opening, status, status_text(status));
        return;
    }
    cluster_watch(client->cluster, &producer->watcher);
    for (uint32_t i = 0; i < producer->lane_count; i++) {
        lane_route(producer->lanes[i]); /* dials the leaders before the first record comes */
    }
    opening->opened(producer, &(struct weir_error){.status = WEIR_OK}, opening->context);
    free(opening);
}

static void allocated(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct opening *opening = CONTAINER_OF(call, struct opening, call);
    struct weir_client *client = opening->client;
    if (reply->status != STATUS_OK) {
        fail(opening, reply->status, reply->text);
        return;
    }
    Weir__ProducerIds *ids = weir__producer_ids__unpack(NULL, reply->body.size, reply->body.data);
    if (ids == NULL || ids->count == 0 || ids->first == 0) {
        weir__producer_ids__free_unpacked(ids, NULL);
        fail(opening, STATUS_INTERNAL, "the controllers' answer with producer ids is malformed");
        return;
    }
    client->next_producer = ids->first;
    client->producers_left = ids->count;
    weir__producer_ids__free_unpacked(ids, NULL);
    finish(opening);
}

static void found(struct stream_find *find, uint32_t stream, const struct error *error)
{
    struct opening *opening = CONTAINER_OF(find, struct opening, find);
    struct weir_client *client = opening->client;
    if (error->status != STATUS_OK) {
        fail(opening, error->status, error->text);
        return;
    }
    opening->stream = stream;
    if (client->producers_left > 0) {
        finish(opening);
        return;
    }
    handle_random(opening->request, sizeof(opening->request));
    weir__allocate_producers__init(&opening->body);
    opening->body.request.data = opening->request;
    opening->body.request.len = sizeof(opening->request);
    uint64_t now = handle_now_ms();
    uint32_t left = opening->deadline_ms > now ? (uint32_t)(opening->deadline_ms - now) : 1;
    enum status status = cluster_call(client->cluster, &opening->call, RPC_ALLOCATE_PRODUCERS,
                                      &opening->body.base, false, left, allocated);
    if (status != STATUS_OK) {
        fail(opening, status, status_text(status));
    }
}

static void begin(struct net_mail *mail)
{
    struct opening *opening = CONTAINER_OF(mail, struct opening, mail);
    stream_find(opening->client, &opening->find, opening->name, opening->timeout_ms, found);
}

static void set_defaults(struct weir_producer_options *o)
{
    o->delivery_timeout_ms =
        o->delivery_timeout_ms != 0 ? o->delivery_timeout_ms : DEFAULT_DELIVERY_TIMEOUT_MS;
    o->buffer_bytes = o->buffer_bytes != 0 ? o->buffer_bytes : DEFAULT_BUFFER_BYTES;
    o->buffer_records = o->buffer_records != 0 ? o->buffer_records : DEFAULT_BUFFER_RECORDS;
    o->batch_bytes = o->batch_bytes != 0 ? o->batch_bytes : DEFAULT_BATCH_BYTES;
    o->linger_ms = o->linger_ms != 0 ? o->linger_ms : DEFAULT_LINGER_MS;
    o->in_flight = o->in_flight != 0 ? o->in_flight : DEFAULT_IN_FLIGHT;
    o->batch_records = o->batch_records != 0 ? o->batch_records : BATCH_RECORDS_MAX;
    o->linger_ms = o->linger_ms < o->gather_ms ? o->gather_ms : o->linger_ms;
    o->aggregate_bytes = o->aggregate_bytes != 0 ? o->aggregate_bytes : ENCODE_AGGREGATE_BYTES;
}

static bool options_are_good(const struct weir_producer_options *o)
{
    return o->in_flight <= DELIVERY_WINDOW_MAX && o->batch_bytes <= MAX_BATCH_BYTES &&
           o->batch_records <= BATCH_RECORDS_MAX && o->gather_ms <= MAX_GATHER_MS &&
           o->aggregate_bytes <= ENCODE_AGGREGATE_BYTES_MAX &&
           (unsigned)o->compression <= WEIR_COMPRESSION_LZ4 &&
           (unsigned)o->when_full <= WEIR_WHEN_FULL_DROP_OLDEST;
}

static_assert((int)WEIR_COMPRESSION_ZSTD == (int)CODEC_ZSTD &&
                  (int)WEIR_COMPRESSION_LZ4 == (int)CODEC_LZ4,
              "options name the codecs of batches");

enum weir_status weir_producer_open_async(struct weir_client *client, const char *stream,
                                          const struct weir_producer_options *options,
                                          uint32_t timeout_ms, weir_producer_opened_fn *opened,
                                          void *context)
{
    struct error error;
    struct weir_producer_options chosen = {0};
    if (options != NULL) {
        chosen = *options;
    }
    set_defaults(&chosen);
    enum status status = check_stream_name(stream, &error);
    if (status != STATUS_OK || !options_are_good(&chosen)) {
        return WEIR_INVALID;
    }
    struct opening *opening = calloc(1, sizeof(*opening));
    if (opening == NULL) {
        return WEIR_NO_MEMORY;
    }
    *opening = (struct opening){.mail = {.run = begin},
                                .client = client,
                                .options = chosen,
                                .timeout_ms = handle_timeout(timeout_ms),
                                .opened = opened,
                                .context = context};
    opening->deadline_ms = handle_now_ms() + opening->timeout_ms;
    (void)snprintf(opening->name, sizeof(opening->name), "%s", stream);
    net_mailbox_send(client->mailbox, &opening->mail);
    return WEIR_OK;
}

static void opened_for_waiter(struct weir_producer *producer, const struct weir_error *error,
                              void *context)
{
    waiter_wake(context, producer, error);
}

enum weir_status weir_producer_open(struct weir_client *client, const char *stream,
                                    const struct weir_producer_options *options,
                                    uint32_t timeout_ms, struct weir_producer **out,
                                    struct weir_error *error)
{
    enum weir_status status = handle_check_blocking(client, error);
    if (status != WEIR_OK) {
        return status;
    }
    struct error bad;
    enum status checked = check_stream_name(stream, &bad);
    if (checked != STATUS_OK) {
        return handle_error(error, checked, "%s", bad.text);
    }
    struct waiter waiter;
    waiter_init(&waiter);
    status =
        weir_producer_open_async(client, stream, options, timeout_ms, opened_for_waiter, &waiter);
    if (status != WEIR_OK) {
        struct weir_error refused;
        (void)handle_error(&refused, (enum status)status, "%s",
                           status == WEIR_INVALID ? "a producer's option is beyond its limit"
                                                  : weir_status_text(status));
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

static void on_close(struct net_mail *mail)
{
    struct weir_producer *producer = CONTAINER_OF(mail, struct weir_producer, close);
    producer->ending = true;
    producer_abandon(producer);
    producer_tell(producer);
}

void weir_producer_close(struct weir_producer *producer)
{
    if (producer == NULL) {
        return;
    }
    struct weir_client *client = producer->client;
    bool wait = client->own_thread && !handle_is_own_thread(client);
    struct waiter waiter;
    if (wait) {
        waiter_init(&waiter);
        producer->closer = &waiter;
    }
    (void)pthread_mutex_lock(&producer->lock);
    producer->closing = true;
    (void)pthread_cond_broadcast(&producer->room);
    (void)pthread_mutex_unlock(&producer->lock);
    producer->close.run = on_close;
    net_mailbox_send(client->mailbox, &producer->close);
    if (wait) {
        enum weir_status status = waiter_wait(&waiter, NULL, NULL);
        CHECK(status == WEIR_OK);
    }
}
