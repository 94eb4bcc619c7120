/* READ: whole batches below the commit, from the tail ring or from segments; waits for a record
 * when asked to. Any replica answers, up to the commit that it knows (docs/replication.md 2.10). */
#include <stdlib.h>

#include "base/check.h"
#include "broker/api/internal.h"

/* What is asked for. */
struct wish {
    uint64_t offset;
    uint32_t max_bytes, max_records;
    bool limited, tip;
};

/* A READ that could not be answered at once. */
struct pending_read {
    struct api *api;
    struct session_call *call;
    struct shard_reader reader; /* while it waits for a record */
    struct net_timer timer;
    struct log_read read; /* while it is read from segments */
    struct list queued;   /* on api->reads_queued */
    uint64_t shard;
    struct wish wish;
    uint32_t retries;
    struct pending_read *next; /* on the free list */
};

struct read_result {
    const struct bytes *pieces;
    uint32_t piece_count;
    uint64_t next_offset, last_ms; /* append time of the last batch */
    const struct log_read *read;   /* that brought it; NULL: from the tail */
};

/* What a reader takes of some batches: of the last one its share. */
struct taken {
    uint64_t bytes, records, left;
};

static void take_of(struct bytes data, uint64_t offset, struct taken *taken)
{
    struct batch_header h;
    while (data.size > 0 && taken->left > 0 && batch_header_decode(data, &h) == STATUS_OK &&
           batch_bytes(&h) <= data.size) {
        CHECK(h.count > 0); /* no header without a record decodes */
        uint64_t skipped = offset > h.base_offset ? offset - h.base_offset : 0;
        uint64_t count = skipped < h.count ? h.count - skipped : 0;
        uint64_t wanted = count < taken->left ? count : taken->left;
        if ((h.flags & BATCH_CONTROL) == 0) {
            taken->bytes += h.payload_bytes * wanted / h.count;
            taken->records += wanted;
            taken->left -= wanted;
        }
        data = bytes_of(data.data + batch_bytes(&h), data.size - batch_bytes(&h));
    }
}

/* Spends what a limit counts, and counts for the shard's metrics. */
static void spend(struct api *api, struct shard *shard, const struct wish *wish,
                  const struct read_result *result)
{
    struct taken taken = {.left = wish->max_records == 0 ? UINT64_MAX : wish->max_records};
    for (uint32_t i = 0; i < result->piece_count; i++) {
        take_of(result->pieces[i], wish->offset, &taken);
    }
    if (wish->limited) {
        const struct api_limits rates = api_limits_of(api, shard->id);
        limits_spend_read(api->limits, &rates, shard->id, net_now_ms(api->options.loop),
                          taken.bytes);
    }
    shard->counters.out_bytes += taken.bytes;
    shard->counters.out_records += taken.records;
    uint64_t now_ms = net_wall_ms();
    bool at_tip = result->next_offset >= shard->commit;
    shard->counters.iterator_age_ms =
        at_tip || now_ms < result->last_ms ? 0 : now_ms - result->last_ms;
}

/* Whether what is committed here is what is newest, as of a second ago at most. */
static bool knows_tip(const struct api *api, const struct shard *shard)
{
    return shard->open && shard->confirmed_ms != 0 &&
           net_now_ms(api->options.loop) <= shard->confirmed_ms + API_TIP_MS;
}

static void reply(const struct api *api, struct session_call *call, const struct shard *shard,
                  const struct read_result *result)
{
    Weir__ReadReply message = WEIR__READ_REPLY__INIT;
    message.next_offset = result->next_offset;
    message.commit = shard->commit;
    message.log_start = shard->log_start;
    if (result->next_offset < shard->commit) {
        /* Against the newest record, not the clock: it must not grow while nothing is written. */
        uint64_t newest_ms = shard_newest_ms(shard);
        uint64_t behind_ms = newest_ms > result->last_ms ? newest_ms - result->last_ms : 0;
        message.behind_ms = behind_ms == 0 ? 1 : behind_ms;
        message.behind_bytes =
            shard_log_bytes_between(shard->log, result->next_offset, shard->commit, result->read);
    } else {
        message.tip = knows_tip(api, shard);
    }
    if (shard->sealed && result->next_offset >= shard->seal_end) {
        message.ended = true; /* behind the SEAL there are control batches only */
        message.behind_ms = message.behind_bytes = 0;
        message.tip = true;
    }
    session_reply(call, (struct session_payload){.body = &message.base,
                                                 .pieces = result->pieces,
                                                 .piece_count = result->piece_count});
}

/* Decrypts what is encrypted, and replies. Compressed batches stay so: readers decompress. */
static void reply_plain(struct api *api, struct session_call *call, struct shard *shard,
                        const struct wish *wish, const struct read_result *result)
{
    struct read_result plain = *result;
    struct bytes opened;
    enum status status = api->options.vault == NULL
                             ? STATUS_UNSUPPORTED
                             : vault_open(api->options.vault, net_now_ms(api->options.loop),
                                          result->pieces, result->piece_count, &opened);
    if (status == STATUS_OK) {
        plain.pieces = &opened;
        plain.piece_count = 1;
    } else if (status != STATUS_UNSUPPORTED) { /* else nothing is encrypted */
        api_refuse(api, call, shard->id, status,
                   status == STATUS_CORRUPT ? "the encrypted records there have been tampered with"
                                            : status_text(status));
        return;
    }
    spend(api, shard, wish, &plain);
    reply(api, call, shard, &plain);
}

static void reply_empty(struct api *api, struct session_call *call, struct shard *shard,
                        uint64_t offset, bool leads)
{
    (void)leads; /* the shard knows */
    reply(api, call, shard, &(struct read_result){.next_offset = offset});
}

/* `tip`: the reader wants to know whether there is nothing, or whether nothing is known here. */
static void reply_nothing(struct api *api, struct session_call *call, struct shard *shard,
                          uint64_t offset, bool tip)
{
    shard->counters.iterator_age_ms = 0;
    if (tip && shard->open && !shard->sealed && !knows_tip(api, shard)) {
        api_confirm(api, call, shard, offset, reply_empty);
    } else {
        reply_empty(api, call, shard, offset, false);
    }
}

static void refuse_expired(struct session_call *call, const struct shard *shard, uint64_t offset)
{
    session_reply_error(call, STATUS_EXPIRED, NULL,
                        "offset %llu is no longer kept: the shard begins at %llu",
                        (unsigned long long)offset, (unsigned long long)shard->log_start);
}

/* False: the tail does not have the offset. */
static bool reply_from_tail(struct api *api, struct session_call *call, struct shard *shard,
                            const struct wish *wish)
{
    uint32_t count = shard_log_tail(shard->log, wish->offset, shard->commit, wish->max_bytes,
                                    api->batches, API_TAIL_BATCHES);
    if (count == 0) {
        return false;
    }
    uint32_t used = 0;
    uint64_t end = wish->max_records == 0 ? UINT64_MAX : wish->offset + wish->max_records;
    while (used < count && (used == 0 || api->batches[used].base < end)) {
        api->pieces[used] = api->batches[used].bytes;
        used++;
    }
    const struct log_batch *last = &api->batches[used - 1];
    const struct read_result result = {.pieces = api->pieces,
                                       .piece_count = used,
                                       .next_offset = last->base + last->count,
                                       .last_ms = last->append_ms};
    reply_plain(api, call, shard, wish, &result);
    return true;
}

/* ---- what waits ---- */

static struct pending_read *pending_read(struct api *api, struct session_call *call, uint64_t shard)
{
    struct pending_read *p = api->free_reads;
    if (p != NULL) {
        api->free_reads = p->next;
    } else {
        p = calloc(1, sizeof(*p));
        if (p == NULL) {
            session_reply_error(call, STATUS_NO_MEMORY, NULL, "broker-%u is out of memory",
                                api->options.broker);
            return NULL;
        }
        list_init(&p->queued);
    }
    p->api = api;
    p->call = call;
    p->shard = shard;
    p->retries = 0;
    p->read.hint = (struct log_read_hint){0};
    call->data = p;
    return p;
}

static void recycle(struct pending_read *p)
{
    net_timer_stop(p->api->options.loop, &p->timer);
    shard_wait_cancel(&p->reader);
    list_remove(&p->queued);
    p->call = NULL;
    p->next = p->api->free_reads;
    p->api->free_reads = p;
}

void api_free_reads(struct api *api)
{
    while (api->free_reads != NULL) {
        struct pending_read *p = api->free_reads;
        api->free_reads = p->next;
        buf_release(&p->read.data);
        free(p);
    }
}

/* The call's last reply has been given. */
static void refuse(struct pending_read *p, enum status status, const char *text)
{
    CHECK(p->call != NULL);
    p->call->cancelled = NULL;
    api_refuse(p->api, p->call, p->shard, status, text);
    recycle(p);
}

/* ---- segments ---- */

static void read_done(struct log_read *read);
static void serve(struct pending_read *p);

static void start_read(struct pending_read *p, struct shard *shard)
{
    struct log_read *read = &p->read;
    read->log = shard->log;
    read->offset = p->wish.offset;
    read->end = shard->commit;
    read->max_bytes = p->wish.max_bytes;
    read->done = read_done;
    read->owner = p;
    read->data.size = 0;
    enum status status = store_read(shards_store(p->api->options.shards), read);
    if (status != STATUS_OK) {
        /* NOT_FOUND: it left the tail and is not in segments yet */
        status = status == STATUS_NOT_FOUND ? STATUS_BUSY : status;
        refuse(p, status, status_text(status));
        return;
    }
    p->api->reading++;
}

static void start_queued(struct api *api)
{
    while (api->reading < API_READS_MAX && !list_empty(&api->reads_queued)) {
        struct pending_read *p =
            CONTAINER_OF(list_pop(&api->reads_queued), struct pending_read, queued);
        serve(p);
    }
}

void api_refuse_queued(struct api *api)
{
    while (!list_empty(&api->reads_queued)) {
        struct pending_read *p =
            CONTAINER_OF(list_pop(&api->reads_queued), struct pending_read, queued);
        refuse(p, STATUS_CLOSING, status_text(STATUS_CLOSING));
    }
}

/* The last header of a run of whole, checked batches. */
static uint64_t last_append_ms(struct bytes data)
{
    struct batch_header h = {0};
    while (data.size > 0 && batch_header_decode(data, &h) == STATUS_OK &&
           batch_bytes(&h) <= data.size) {
        data = bytes_of(data.data + batch_bytes(&h), data.size - batch_bytes(&h));
    }
    return h.append_ms;
}

static void reply_from_segments(struct pending_read *p, struct shard *shard)
{
    struct bytes data = buf_bytes(&p->read.data);
    p->call->cancelled = NULL;
    const struct read_result result = {.pieces = &data,
                                       .piece_count = 1,
                                       .next_offset = p->read.next,
                                       .last_ms = last_append_ms(data),
                                       .read = &p->read};
    reply_plain(p->api, p->call, shard, &p->wish, &result);
    recycle(p);
}

static void read_done(struct log_read *read)
{
    struct pending_read *p = read->owner;
    struct api *api = p->api;
    CHECK(api->reading > 0 && p->call != NULL);
    api->reading--;
    struct shard *shard = api->closing ? NULL : shards_find(api->options.shards, p->shard);
    if (p->call->gone) {
        refuse(p, STATUS_CANCELLED, status_text(STATUS_CANCELLED));
    } else if (read->status == STATUS_OK && shard != NULL) {
        reply_from_segments(p, shard);
    } else if (read->status == STATUS_NOT_FOUND && shard != NULL && p->retries++ < 3) {
        serve(p); /* trimmed meanwhile, or in the tail after all */
    } else if (read->status == STATUS_CORRUPT) {
        refuse(p, STATUS_CORRUPT,
               "the stored records there are damaged; another replica may serve");
    } else {
        enum status status = read->status == STATUS_OK          ? STATUS_CLOSING
                             : read->status == STATUS_NOT_FOUND ? STATUS_BUSY
                                                                : read->status;
        refuse(p, status, status_text(status));
    }
    if (!api->closing) {
        start_queued(api);
    }
}

static void queue_read(struct pending_read *p, struct shard *shard)
{
    if (p->api->reading >= API_READS_MAX) {
        list_push(&p->api->reads_queued, &p->queued);
    } else {
        start_read(p, shard);
    }
}

/* There is something below the commit at its offset, or it was trimmed. */
static void serve(struct pending_read *p)
{
    struct api *api = p->api;
    struct session_call *call = p->call;
    CHECK(call != NULL);
    struct shard *shard = api->closing ? NULL : shards_find(api->options.shards, p->shard);
    if (shard == NULL) {
        refuse(p, api->closing ? STATUS_CLOSING : STATUS_NOT_FOUND, "the shard is gone");
    } else if (p->wish.offset < shard->log_start) {
        call->cancelled = NULL;
        refuse_expired(call, shard, p->wish.offset);
        recycle(p);
    } else if (p->wish.offset >= shard->commit) {
        call->cancelled = NULL;
        reply_nothing(api, call, shard, p->wish.offset, p->wish.tip);
        recycle(p);
    } else if (reply_from_tail(api, call, shard, &p->wish)) {
        recycle(p);
    } else {
        queue_read(p, shard);
    }
}

/* ---- waiting for a record ---- */

static void woken(struct shard_reader *reader)
{
    struct pending_read *p = CONTAINER_OF(reader, struct pending_read, reader);
    net_timer_stop(p->api->options.loop, &p->timer);
    if (reader->status == STATUS_OK) {
        serve(p);
    } else {
        refuse(p, reader->status, status_text(reader->status));
    }
}

static void waited(struct net_timer *timer)
{
    struct pending_read *p = CONTAINER_OF(timer, struct pending_read, timer);
    shard_wait_cancel(&p->reader);
    serve(p);
}

static void cancelled(struct session_call *call)
{
    struct pending_read *p = call->data;
    if (p->reader.pending || !list_empty(&p->queued)) {
        refuse(p, STATUS_CANCELLED, status_text(STATUS_CANCELLED));
    } /* else the store has it: read_done() answers */
}

static struct wish wish_of(const Weir__Read *request)
{
    return (struct wish){.offset = request->offset,
                         .max_bytes = request->max_bytes,
                         .max_records = request->max_records,
                         .tip = request->tip,
                         .limited = request->limit != WEIR__READ__LIMIT__NONE};
}

static void wait_for_record(struct api *api, struct session_call *call, struct shard *shard,
                            const Weir__Read *request)
{
    struct pending_read *p = pending_read(api, call, shard->id);
    if (p == NULL) {
        return;
    }
    uint32_t wait_ms =
        request->wait_ms < API_WAIT_MS_MAX ? request->wait_ms : (uint32_t)API_WAIT_MS_MAX;
    p->wish = wish_of(request);
    p->reader.offset = request->offset;
    p->reader.woken = woken;
    enum status status = shard_wait(shard, &p->reader);
    if (status == STATUS_OK) {
        status = net_timer_start(api->options.loop, &p->timer,
                                 net_now_ms(api->options.loop) + wait_ms, waited);
    }
    if (status != STATUS_OK) {
        refuse(p, status,
               status == STATUS_BUSY ? "too many readers wait at this shard" : status_text(status));
        return;
    }
    call->cancelled = cancelled;
}

static void read_request(struct api *api, struct session_call *call, struct shard *shard,
                         const Weir__Read *request)
{
    struct wish wish = wish_of(request);
    if (shard->role == REPLICA_HALTED) {
        api_refuse(api, call, shard->id, STATUS_CORRUPT, "this replica is halted");
    } else if (request->offset < shard->log_start) {
        refuse_expired(call, shard, request->offset);
    } else if (request->offset >= shard->commit && !shard->sealed &&
               shards_are_out(api->options.shards)) {
        api_refuse(api, call, shard->id, STATUS_NOT_LEADER,
                   "this broker's disk is out: what is new is elsewhere");
    } else if (request->offset >= shard->commit && (request->wait_ms == 0 || shard->sealed)) {
        reply_nothing(api, call, shard, request->offset, request->tip);
    } else if (request->offset >= shard->commit) {
        wait_for_record(api, call, shard, request);
    } else if (!reply_from_tail(api, call, shard, &wish)) {
        struct pending_read *p = pending_read(api, call, shard->id);
        if (p != NULL) {
            p->wish = wish;
            call->cancelled = cancelled;
            queue_read(p, shard);
        }
    }
}

/* Slots and limits are the leader's business; a read that needs either goes nowhere else while
 * there is one. False: the call is answered. */
static bool may_read(struct api *api, struct session_call *call, struct shard *shard,
                     const Weir__Read *request)
{
    uint64_t now_ms = net_now_ms(api->options.loop);
    if (request->consumer != 0) {
        if (request->end) {
            slots_end(api->slots, shard->id, request->consumer, request->subscription);
            reply_nothing(api, call, shard, request->offset, false);
            return false;
        }
        enum status status = request->begin ? slots_begin(api->slots, shard->id, request->consumer,
                                                          request->subscription, now_ms)
                                            : slots_check(api->slots, shard->id, request->consumer,
                                                          request->subscription, now_ms);
        if (status != STATUS_OK) {
            api_refuse(api, call, shard->id, status,
                       "another subscription of this consumer to the shard has begun");
            return false;
        }
    }
    const struct api_limits rates = api_limits_of(api, shard->id);
    if (request->limit != WEIR__READ__LIMIT__NONE &&
        !limits_may_read(api->limits, &rates, shard->id, now_ms,
                         request->limit == WEIR__READ__LIMIT__CALL)) {
        shard->counters.read_exceeded++;
        api_refuse(api, call, shard->id, STATUS_THROTTLED, "the shard's limit is reached");
        return false;
    }
    return true;
}

void api_read(struct api *api, struct session_call *call)
{
    Weir__Read *request = weir__read__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "READ: the message cannot be decoded");
        return;
    }
    if (request->max_bytes == 0) {
        request->max_bytes = API_READ_BYTES;
    } else if (request->max_bytes > API_READ_BYTES_MAX) {
        request->max_bytes = API_READ_BYTES_MAX;
    }
    if (call->session != NULL && session_queued(call->session) > SESSION_QUEUE_MAX / 2) {
        session_reply_error(call, STATUS_BUSY, NULL, "earlier replies have not been taken yet");
    } else {
        struct shard *shard = api_shard(api, call, request->shard);
        if (shard != NULL && may_read(api, call, shard, request)) {
            read_request(api, call, shard, request);
        }
    }
    weir__read__free_unpacked(request, NULL);
}
