#include "broker/server/repair_serve.h"

#include <stdlib.h>
#include <string.h>

#include "broker/server/repair.h"
#include "proto/schema/repair.pb-c.h"

enum { TAIL_BATCHES = 256 };

struct served {
    struct log_read read;
    struct repair_serve *serve;
    struct session_call *call;
    uint64_t shard;
};

void repair_serve_init(struct repair_serve *serve, struct shards *shards, uint64_t *served)
{
    *serve = (struct repair_serve){.shards = shards, .served = served};
}

/* Who has forgotten promises (2.9) has none that counts. */
static void describe(const struct shard *shard, Weir__RepairData *data)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    data->end = view.last.end;
    data->last_epoch = view.last.epoch;
    data->promised = view.promise_is_durable && !view.needs_floor ? view.promised : 0;
    data->disk_gen = shard->self.disk_gen;
    data->log_start = view.log_start;
}

/* It is not here: did it never come, or was it trimmed, or is it damaged, too? */
static void reply_without(struct repair_serve *serve, struct session_call *call, uint64_t shard_id,
                          uint64_t offset, bool damaged)
{
    Weir__RepairData data;
    weir__repair_data__init(&data);
    const struct shard *shard = shards_find(serve->shards, shard_id);
    if (shard == NULL) {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no replica here");
        return;
    }
    describe(shard, &data);
    uint32_t count;
    const struct epoch_pair *history = replica_history(shard->replica, &count);
    for (uint32_t i = 0; i < count && damaged && history[i].start <= offset; i++) {
        data.gone_epoch = history[i].epoch;
    }
    data.gone = damaged || offset < data.log_start;
    data.absent = !data.gone;
    session_reply(call, (struct session_payload){.body = &data.base});
}

static void reply(struct repair_serve *serve, struct session_call *call, uint64_t shard_id,
                  const struct bytes *pieces, uint32_t count, uint64_t next)
{
    Weir__RepairData data;
    weir__repair_data__init(&data);
    data.next = next;
    const struct shard *shard = shards_find(serve->shards, shard_id);
    if (shard != NULL) {
        describe(shard, &data);
    }
    ++*serve->served;
    session_reply(
        call, (struct session_payload){.body = &data.base, .pieces = pieces, .piece_count = count});
}

static void read_done(struct log_read *read)
{
    struct served *s = read->owner;
    s->serve->reading--;
    if (read->status == STATUS_CORRUPT || read->status == STATUS_IO) {
        reply_without(s->serve, s->call, s->shard, read->offset, true);
    } else if (read->status != STATUS_OK) {
        session_reply_error(s->call, read->status, NULL, "it cannot be read here: %s",
                            status_text(read->status));
    } else if (read->first_base != read->offset) {
        reply_without(s->serve, s->call, s->shard, read->offset, false);
    } else {
        struct bytes piece = buf_bytes(&read->data);
        reply(s->serve, s->call, s->shard, &piece, 1, read->next);
    }
    buf_release(&read->data);
    free(s);
}

static bool from_tail(struct repair_serve *serve, struct session_call *call,
                      const struct shard *shard, uint64_t offset, size_t max_bytes)
{
    struct log_batch batch[TAIL_BATCHES];
    struct bytes piece[TAIL_BATCHES];
    uint32_t count = shard_log_tail(shard->log, offset, shard->end, max_bytes, batch, TAIL_BATCHES);
    if (count == 0) {
        return false;
    }
    if (batch[0].base != offset) {
        reply_without(serve, call, shard->id, offset, false);
        return true;
    }
    for (uint32_t i = 0; i < count; i++) {
        piece[i] = batch[i].bytes;
    }
    reply(serve, call, shard->id, piece, count, batch[count - 1].base + batch[count - 1].count);
    return true;
}

static void from_segments(struct repair_serve *serve, struct session_call *call,
                          const struct shard *shard, uint64_t offset, size_t max_bytes)
{
    struct served *s = serve->reading < REPAIR_SERVES_MAX ? calloc(1, sizeof(*s)) : NULL;
    if (s == NULL) {
        session_reply_error(call, STATUS_BUSY, NULL, "too many repairs at a time");
        return;
    }
    s->serve = serve;
    s->call = call;
    s->shard = shard->id;
    s->read = (struct log_read){.log = shard->log,
                                .offset = offset,
                                .end = shard->end,
                                .max_bytes = max_bytes,
                                .done = read_done,
                                .owner = s,
                                .no_wait = true};
    enum status status = store_read(shards_store(serve->shards), &s->read);
    if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "it cannot be read here: %s", status_text(status));
        free(s);
        return;
    }
    serve->reading++;
}

static void repair_get(struct repair_serve *serve, struct session_call *call)
{
    Weir__RepairGet *get = weir__repair_get__unpack(NULL, call->body.size, call->body.data);
    if (get == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "no RepairGet");
        return;
    }
    const struct shard *shard = shards_find(serve->shards, get->shard);
    size_t max_bytes = get->max_bytes < REPAIR_BYTES_MAX ? get->max_bytes : REPAIR_BYTES_MAX;
    if (shard == NULL) {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no replica here");
    } else if (get->offset >= shard->end || get->offset < shard->log_start) {
        reply_without(serve, call, shard->id, get->offset, false);
    } else if (!from_tail(serve, call, shard, get->offset, max_bytes)) {
        from_segments(serve, call, shard, get->offset, max_bytes);
    }
    weir__repair_get__free_unpacked(get, NULL);
}

static void segment_hash(struct repair_serve *serve, struct session_call *call)
{
    Weir__SegmentHash *ask = weir__segment_hash__unpack(NULL, call->body.size, call->body.data);
    if (ask == NULL || ask->hash.len != LOG_HASH_BYTES) {
        session_reply_error(call, STATUS_INVALID, NULL, "no SegmentHash");
        weir__segment_hash__free_unpacked(ask, NULL);
        return;
    }
    const struct shard *shard = shards_find(serve->shards, ask->shard);
    uint8_t hash[LOG_HASH_BYTES];
    Weir__SegmentHashReply answer;
    weir__segment_hash_reply__init(&answer);
    answer.known = shard != NULL && shard_log_hash(shard->log, ask->segment, ask->end, hash);
    answer.equal = answer.known && memcmp(hash, ask->hash.data, LOG_HASH_BYTES) == 0;
    session_reply(call, (struct session_payload){.body = &answer.base});
    weir__segment_hash__free_unpacked(ask, NULL);
}

bool repair_serve_called(struct repair_serve *serve, struct session_call *call)
{
    if (call->method == RPC_REPAIR_GET) {
        repair_get(serve, call);
    } else if (call->method == RPC_SEGMENT_HASH) {
        segment_hash(serve, call);
    } else {
        return false;
    }
    return true;
}
