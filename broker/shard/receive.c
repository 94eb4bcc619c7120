/* What others send: appends of a leader, answers of followers, fences and grants of controllers. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/shard/internal.h"

enum {
    /* What the journal may add to received batches: to each, and for blocks and a change of file.
     */
    ADMIT_BATCH_BYTES = 64,
    ADMIT_BLOCK_BYTES = 64 * 1024,
};

NODISCARD static enum status scratch_reserve(struct scratch *s, uint32_t count)
{
    if (count <= s->capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = s->capacity == 0 ? 256 : s->capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    struct batch_header *headers = realloc(s->headers, capacity * sizeof(*headers));
    s->headers = headers != NULL ? headers : s->headers;
    struct bytes *parts = realloc(s->parts, capacity * sizeof(*parts));
    s->parts = parts != NULL ? parts : s->parts;
    struct replica_batch *batches = realloc(s->batches, capacity * sizeof(*batches));
    s->batches = batches != NULL ? batches : s->batches;
    if (headers == NULL || parts == NULL || batches == NULL) {
        return STATUS_NO_MEMORY;
    }
    s->capacity = capacity;
    return STATUS_OK;
}

/* One batch off *data into the scratch arrays: whole, undamaged, of this shard, and in its chain.
 */
NODISCARD static enum status take_batch(struct scratch *s, uint64_t shard, struct bytes *data,
                                        uint32_t at)
{
    enum status status = scratch_reserve(s, at + 1);
    if (status != STATUS_OK) {
        return status;
    }
    struct batch_header *h = &s->headers[at];
    if (batch_decode(*data, h) != STATUS_OK || h->shard != shard ||
        (at > 0 && h->prev_crc != s->headers[at - 1].header_crc)) {
        return STATUS_CORRUPT;
    }
    size_t size = batch_bytes(h);
    s->parts[at] = bytes_of(data->data, size);
    s->batches[at] = (struct replica_batch){.base = h->base_offset,
                                            .count = h->count,
                                            .epoch = h->epoch,
                                            .crc = h->header_crc,
                                            .prev_crc = h->prev_crc,
                                            .bytes = (uint32_t)size,
                                            .flags = batch_flags_for_core(h)};
    *data = bytes_of(data->data + size, data->size - size);
    return STATUS_OK;
}

/* All of `data` into the scratch arrays. */
NODISCARD static enum status take_batches(struct shard *shard, struct bytes data,
                                          uint32_t *out_count)
{
    uint32_t count = 0;
    while (data.size > 0) {
        enum status status = take_batch(&shard->set->scratch, shard->id, &data, count);
        if (status != STATUS_OK) {
            return status;
        }
        count++;
    }
    *out_count = count;
    return STATUS_OK;
}

/* Whether the journal takes them all: a step cannot be taken back. Below the disk reserve only the
 * control batches in front are: a slow follower that still hears of epochs and commits. */
NODISCARD static enum status admit_batches(struct shard *shard, size_t bytes, uint32_t *count)
{
    struct shards *set = shard->set;
    size_t most = bytes + *count * (size_t)ADMIT_BATCH_BYTES + ADMIT_BLOCK_BYTES;
    enum status status = *count == 0 ? STATUS_OK : store_admit(set->store, most);
    if (status == STATUS_DISK_FULL) {
        uint32_t control = 0;
        while (control < *count && (set->scratch.headers[control].flags & BATCH_CONTROL) != 0) {
            control++;
        }
        *count = control;
        status = control == 0 ? STATUS_OK : store_admit_control(set->store, most);
    }
    if (status == STATUS_IO) {
        shards_fail(set, status, "journal");
    }
    return status;
}

enum status shard_receive(struct shard *shard, const struct replica_append *head, struct bytes data)
{
    struct shards *set = shard->set;
    if (set->out || set->closing) {
        return STATUS_IO;
    }
    uint32_t count = 0;
    enum status status = head->install ? STATUS_OK : take_batches(shard, data, &count);
    if (status == STATUS_OK) {
        status = admit_batches(shard, data.size, &count);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct replica_input *in = shard_input(shard, REPLICA_RECEIVE_APPEND);
    in->append = *head;
    in->append.batches = set->scratch.batches;
    in->append.batch_count = count;
    const struct input_batches batches = {.headers = set->scratch.headers,
                                          .parts = set->scratch.parts,
                                          .parts_each = 1,
                                          .producers = head->install ? data : bytes_of(NULL, 0)};
    return shard_step(shard, &batches);
}

/* What an append looks like that comes after one which was lost: the core refuses it and says where
 * its log ends, so that its leader goes back there. */
NODISCARD static enum status receive_gap(struct shard *shard, const struct replica_append *head,
                                         const struct batch_header *h)
{
    struct replica_append after = *head;
    after.prev = (struct log_point){.end = batch_end(h), .epoch = h->epoch, .crc = h->header_crc};
    return shard_receive(shard, &after, bytes_of(NULL, 0));
}

enum status shard_receive_header(struct shard *shard, const struct replica_append *head,
                                 struct bytes header)
{
    struct batch_header h;
    if (header.size != BATCH_HEADER_BYTES || head->install ||
        batch_header_decode(header, &h) != STATUS_OK || h.shard != shard->id) {
        return STATUS_CORRUPT;
    }
    struct kept_batch *kept = kept_find(&shard->set->kept, &h);
    if (kept == NULL) {
        return receive_gap(shard, head, &h);
    }
    /* The leader's header takes the place of ours for so long: ours is needed if the put is tried
     * again. Its checksum, and so that of the payload, is then looked at as ever. */
    uint8_t ours[BATCH_HEADER_BYTES];
    memcpy(ours, kept->buf.data, sizeof(ours));
    memcpy(kept->buf.data, header.data, sizeof(ours));
    enum status status = shard_receive(shard, head, buf_bytes(&kept->buf));
    memcpy(kept->buf.data, ours, sizeof(ours));
    if (status != STATUS_BUSY) { /* else it is tried again */
        kept_forget(kept);
    }
    return status == STATUS_CORRUPT ? receive_gap(shard, head, &h) : status;
}

enum status shard_answered(struct shard *shard, struct replica_id from,
                           const struct replica_answer *answer)
{
    struct replica_input *in = shard_input(shard, REPLICA_RECEIVE_ANSWER);
    in->from = from;
    in->answer = *answer;
    return shard_step(shard, NULL);
}

enum status shard_fence(struct shard *shard, uint32_t epoch, const struct replica_config *config)
{
    if (shard->set->out || shard->set->closing) {
        return STATUS_IO;
    }
    struct replica_input *in = shard_input(shard, REPLICA_FENCE);
    in->epoch = epoch;
    in->config = *config;
    return shard_step(shard, NULL);
}

enum status shard_floor(struct shard *shard, uint32_t epoch)
{
    if (shard->set->out || shard->set->closing) {
        return STATUS_IO;
    }
    shard_input(shard, REPLICA_FLOOR)->epoch = epoch;
    return shard_step(shard, NULL);
}

/* A new leader takes every voter for connected until it is told otherwise. */
static void tell_who_is_away(struct shard *shard, const struct replica_config *config)
{
    struct shards *set = shard->set;
    for (uint32_t i = 0; i < config->voter_count; i++) {
        uint32_t broker = config->voter[i].broker;
        if (broker == set->broker || set->hooks.is_connected(set->hooks.context, broker)) {
            continue;
        }
        shard_input(shard, REPLICA_PEER_DOWN)->from = config->voter[i];
        status_ignore(shard_step(shard, NULL), "nothing to refuse");
    }
}

enum status shard_grant(struct shard *shard, const struct shard_grant *grant)
{
    if (shard->set->out || shard->set->closing) {
        return STATUS_IO;
    }
    if (!shard->is_last_ms_known && !rebuild_awaits_repair(shard)) {
        /* Append times never go back: first the last batch is read. The newest grant counts. */
        struct shard_grant *copy = malloc(sizeof(*copy));
        if (copy == NULL) {
            return STATUS_NO_MEMORY; /* the controllers grant again */
        }
        *copy = *grant;
        free(shard->waiting_grant);
        shard->waiting_grant = copy;
        rebuild_queue(shard, true);
        return STATUS_OK;
    }
    shard->generation = grant->generation;
    shard->waits_for_parents = grant->waits_for_parents && !shard->was_opened;
    struct replica_input *in = shard_input(shard, REPLICA_GRANT);
    in->epoch = grant->epoch;
    in->id = grant->replica;
    in->boot = grant->boot;
    in->config = grant->config;
    in->previous = grant->previous;
    enum status status = shard_step(shard, NULL);
    if (status == STATUS_OK && shard->role == REPLICA_LEADING) {
        tell_who_is_away(shard, &grant->config);
        if (!shard->producers_built) {
            rebuild_queue(shard, true);
        }
    }
    return status;
}

void shard_damaged(struct shard *shard)
{
    if (shard->set->out || shard->set->closing) {
        return;
    }
    shard_log_holes(shard->log, &shard_input(shard, REPLICA_DAMAGE)->holes);
    status_ignore(shard_step(shard, NULL), "STALE: halted; no memory: said again with the next");
    if (rebuild_awaits_repair(shard)) {
        rebuild_give_grant(shard);
    }
}

void shard_absent(struct shard *shard, const struct shard_absence *absence)
{
    if (shard->set->out || shard->set->closing) {
        return;
    }
    struct replica_input *in = shard_input(shard, REPLICA_ABSENT);
    in->from = absence->from;
    in->epoch = absence->promised;
    in->offset = absence->offset;
    in->log_start = absence->log_start;
    in->gone = absence->gone;
    in->gone_epoch = absence->gone_epoch;
    status_ignore(shard_step(shard, NULL), "STALE: nobody waits for it");
    shard_damaged(shard); /* the log may have been cut or trimmed for it */
}

enum status shard_seal(struct shard *shard)
{
    if (shard->set->out || shard->set->closing) {
        return STATUS_IO;
    }
    (void)shard_input(shard, REPLICA_SEAL);
    return shard_step(shard, NULL);
}

void shard_open_child(struct shard *shard)
{
    shard->waits_for_parents = false;
    shard->was_opened = true;
}

enum status shard_retain(struct shard *shard, uint64_t offset)
{
    if (shard->set->out) {
        return STATUS_IO;
    }
    shard_input(shard, REPLICA_RETAIN)->offset = offset;
    return shard_step(shard, NULL);
}

void shard_sent(struct shard_peer *peer, uint64_t upto, uint64_t bytes)
{
    struct shard *shard = peer->shard;
    replica_sent(shard->replica, peer->id, upto, bytes,
                 shard->set->hooks.now_ms(shard->set->hooks.context));
    deadline_set(shard, deadline_next(shard));
}

uint64_t shard_newest_ms(const struct shard *shard)
{
    return shard->is_last_ms_known ? shard->last_ms : 0;
}
