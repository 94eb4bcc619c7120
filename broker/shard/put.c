/* Batches of producers, and who waits for a commit. */
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/trace.h"
#include "broker/crypt/crypt.h"
#include "broker/shard/internal.h"
#include "broker/shard/token_table.h"

static uint64_t append_time(const struct shard *shard)
{
    uint64_t wall_ms = shard->set->hooks.wall_ms(shard->set->hooks.context);
    return wall_ms > shard->last_ms ? wall_ms : shard->last_ms;
}

/* How long producers should wait before they send more: from half of the bound on, rising. */
static uint32_t pace_ms(const struct shard *shard)
{
    uint32_t calm = SHARD_PUTS_MAX / 2;
    uint32_t over = shard->put_count > calm ? shard->put_count - calm : 0;
    return over * SHARD_PACE_MS_MAX / (SHARD_PUTS_MAX - calm);
}

static void finish(struct shard_put *put, enum status status)
{
    put->pace_ms = pace_ms(put->shard);
    put->status = status;
    list_push(&put->shard->set->finished, &put->node);
    shards_schedule(put->shard->set);
}

void shard_confirmed(struct shard *shard, uint64_t at_ms)
{
    shard->confirmed_ms = at_ms > shard->confirmed_ms ? at_ms : shard->confirmed_ms;
}

void puts_committed(struct shard *shard, uint64_t end)
{
    if (shard->mark_end != 0 && shard->mark_end <= end) {
        shard_confirmed(shard, shard->mark_ms);
        shard->mark_end = 0;
    }
    while (!list_empty(&shard->puts)) {
        struct shard_put *put = CONTAINER_OF(shard->puts.next, struct shard_put, node);
        if (put->end > end) {
            return;
        }
        list_remove(&put->node);
        shard->put_count--;
        finish(put, STATUS_OK);
    }
}

void puts_fail(struct shard *shard, enum status status)
{
    while (!list_empty(&shard->puts)) {
        shard->put_count--;
        finish(CONTAINER_OF(list_pop(&shard->puts), struct shard_put, node), status);
    }
}

/* By rising end: a retry waits for an original that came before others. */
static void wait_for_commit(struct shard *shard, struct shard_put *put)
{
    struct list *at = shard->puts.prev;
    while (at != &shard->puts && CONTAINER_OF(at, struct shard_put, node)->end > put->end) {
        at = at->prev;
    }
    list_push(at->next, &put->node); /* before the next one */
    shard->put_count++;
}

/* What a producer may send: its header is good, it is data, and it has what this version reads. */
NODISCARD static enum status check_header(struct bytes batch, struct batch_header *h,
                                          struct error *error)
{
    enum status status = batch_header_decode(batch, h);
    if (status != STATUS_OK || batch_bytes(h) != batch.size) {
        return error_set(error, STATUS_CORRUPT, "the attachment is not one whole batch");
    }
    if ((h->flags & BATCH_CONTROL) != 0 || h->control_type != BATCH_CONTROL_NONE) {
        return error_set(error, STATUS_INVALID, "a producer may not send control batches");
    }
    if (h->flags != 0 || h->key_id != 0) {
        return error_set(error, STATUS_UNSUPPORTED, "a producer may not send encrypted batches");
    }
    return STATUS_OK;
}

/* Readers trust every batch that is in the log: what cannot be read must not come in. */
NODISCARD static enum status check_payload(struct coder *coder, const struct batch_header *h,
                                           struct bytes payload, bool checked, struct bytes *out,
                                           struct error *error)
{
    if (checked && h->codec == CODEC_NONE) {
        *out = payload;
        return STATUS_OK;
    }
    if (crc32c(0, payload.data, payload.size) != h->payload_crc) {
        return error_set(error, STATUS_CORRUPT, "the batch's payload was damaged on its way");
    }
    struct bytes records;
    enum status status = codec_open(coder, h, payload, &records);
    if (status == STATUS_UNSUPPORTED) {
        return error_set(error, status, "this version cannot read codec %u", (unsigned)h->codec);
    }
    if (status == STATUS_CORRUPT) {
        return error_set(error, STATUS_INVALID,
                         "the batch does not decompress (%s) to the %zu bytes that it says",
                         codec_name(h->codec), codec_plain_bytes(h, payload));
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "%s", status_text(status));
    }
    status = batch_check_records(h, records, error);
    if (status == STATUS_OK) {
        *out = records;
    }
    return status;
}

/* OK: append it. EXISTS: *out_original. */
NODISCARD static enum status check_producer(struct shard *shard, const struct batch_header *h,
                                            uint64_t *out_original, struct error *error)
{
    if (h->producer_id == 0 && !token_is_set(h)) {
        return STATUS_OK;
    }
    if (!shard->producers_built) {
        rebuild_queue(shard, true);
        return error_set(error, STATUS_BUSY,
                         "the shard is still reading what it knows of its producers; retry");
    }
    enum status status = producer_table_check(shard->producers, h, shard->commit, out_original);
    if (status == STATUS_OK || status == STATUS_EXISTS) {
        return status;
    }
    return error_set(error, status, "producer %llu epoch %u sequence %u: %s",
                     (unsigned long long)h->producer_id, h->producer_epoch, h->producer_seq,
                     status_text(status));
}

static void answer_duplicate(struct shard *shard, const struct batch_header *h, uint64_t original,
                             struct shard_put *put)
{
    put->base_offset = original;
    put->end = original + h->count;
    put->append_ms = producer_table_original_ms(shard->producers, h);
    put->duplicate = true;
    if (put->end <= shard->commit) {
        finish(put, STATUS_OK);
    } else {
        wait_for_commit(shard, put); /* an original that is not committed may still be truncated */
    }
}

NODISCARD static enum status check_leader(struct shard *shard, struct replica_slot *slot,
                                          struct error *error)
{
    if (shard->set->out) {
        return error_set(error, STATUS_IO, "the disk of broker-%u is out", shard->set->broker);
    }
    if (shard->set->closing) {
        return error_set(error, STATUS_CLOSING, "broker-%u is stopping", shard->set->broker);
    }
    if (!shard->open) {
        return error_set(error, STATUS_NOT_LEADER, "broker-%u does not lead this shard",
                         shard->set->broker);
    }
    if (shard->is_alone) {
        return error_set(error, STATUS_NO_QUORUM, "broker-%u hears no other replica of this shard",
                         shard->set->broker);
    }
    enum status status = replica_slot(shard->replica, slot);
    if (status != STATUS_OK) {
        return error_set(error, status, "%s", status_text(status));
    }
    if (shard->put_count >= SHARD_PUTS_MAX) {
        return error_set(error, STATUS_BUSY, "%u batches of this shard wait for their commit",
                         shard->put_count);
    }
    return STATUS_OK;
}

/* Fills in the leader's fields and proposes. The core's WRITE copies the batch into the journal. */
NODISCARD static enum status propose(struct shard *shard, const struct replica_slot *slot,
                                     const struct bytes *parts, uint32_t part_count,
                                     const struct batch_header *h)
{
    struct replica_input *in = shard_input(shard, REPLICA_PROPOSED);
    in->batch = (struct replica_batch){.base = slot->base_offset,
                                       .count = h->count,
                                       .epoch = h->epoch,
                                       .crc = h->header_crc,
                                       .prev_crc = h->prev_crc,
                                       .bytes = (uint32_t)batch_bytes(h),
                                       .flags = batch_flags_for_core(h)};
    const struct input_batches batches = {.headers = h, .parts = parts, .parts_each = part_count};
    if (shard->mark_end == 0) { /* whoever acknowledges it follows us after now */
        shard->mark_end = batch_end(h);
        shard->mark_ms = shard->set->hooks.now_ms(shard->set->hooks.context);
    }
    return shard_step(shard, &batches);
}

static struct batch_slot slot_of(const struct shard *shard, const struct replica_slot *slot)
{
    return (struct batch_slot){.shard = shard->id,
                               .base_offset = slot->base_offset,
                               .append_ms = append_time(shard),
                               .epoch = slot->epoch,
                               .prev_crc = slot->prev_crc,
                               .generation = shard->generation};
}

/* The salt for the next batch. IO: there is no randomness. */
NODISCARD static enum status take_salt(struct shard *shard, struct batch_header *h)
{
    struct shard_salt *salt = &shard->salt;
    if (salt->epoch != h->epoch || salt->batches >= CRYPT_SALT_BATCHES_MAX ||
        salt->bytes + h->payload_bytes > CRYPT_SALT_BYTES_MAX) {
        *salt = (struct shard_salt){.epoch = h->epoch};
        if (!shard->set->hooks.random(shard->set->hooks.context, salt->salt, BATCH_SALT_BYTES)) {
            salt->epoch = 0;
            return STATUS_IO;
        }
    }
    salt->batches++;
    salt->bytes += h->payload_bytes;
    memcpy(h->key_salt, salt->salt, BATCH_SALT_BYTES);
    return STATUS_OK;
}

/* Encrypts the batch where its stream wants that; `head` is its header anew. */
NODISCARD static enum status seal(struct shard *shard, bool must, struct batch_header *h,
                                  struct bytes *payload, uint8_t *head, struct error *error)
{
    if (shard->set->hooks.seal == NULL) {
        return STATUS_OK;
    }
    struct batch_header sealed = *h;
    enum status status = take_salt(shard, &sealed);
    if (status != STATUS_OK) {
        return error_set(error, status, "the system gives no random bytes");
    }
    status =
        shard->set->hooks.seal(shard->set->hooks.context, shard, must, &sealed, payload, error);
    if (status == STATUS_OK && (sealed.flags & BATCH_ENCRYPTED) != 0) {
        batch_header_encode(&sealed, head);
        *h = sealed;
    }
    return status;
}

NODISCARD static enum status append(struct shard *shard, const struct replica_slot *slot,
                                    struct bytes batch, struct shard_put *put, struct error *error)
{
    enum status status = store_admit(shard->set->store, batch.size + BATCH_SEAL_BYTES);
    if (status != STATUS_OK) {
        return error_set(error, status, "broker-%u: %s", shard->set->broker, status_text(status));
    }
    uint8_t head[BATCH_HEADER_BYTES];
    memcpy(head, batch.data, sizeof(head));
    struct batch_slot fields = slot_of(shard, slot);
    struct batch_header h;
    batch_assign(head, &fields, &h);
    struct bytes payload = bytes_of(batch.data + sizeof(head), batch.size - sizeof(head));
    status = seal(shard, put->encrypt, &h, &payload, head, error);
    if (status != STATUS_OK) {
        return status;
    }
    const struct bytes parts[2] = {bytes_of(head, sizeof(head)), payload};
    put->base_offset = h.base_offset;
    put->end = batch_end(&h);
    put->append_ms = h.append_ms;
    put->duplicate = false;
    /* Waits before the step: in a shard of one replica the step may already commit it. */
    wait_for_commit(shard, put);
    status = propose(shard, slot, parts, 2, &h);
    if (status != STATUS_OK) {
        list_remove(&put->node);
        shard->put_count--;
        shard->salt.epoch = 0; /* its offset goes to another batch: never with the same key */
        return error_set(error, status, "%s", status_text(status));
    }
    if (put->keeper != 0 && (h.flags & BATCH_ENCRYPTED) == 0) {
        shard_log_tail_kept(shard->log, h.base_offset, put->keeper);
    }
    return STATUS_OK;
}

/* After the look-up of retries: a retry of what is in the log is answered, not sent to a child
 * (docs/replication.md 2.12). A SEAL that is not committed may still be truncated; only a committed
 * one says that the batch will never be here. */
NODISCARD static enum status check_open(const struct shard *shard, struct error *error)
{
    if (shard->sealed) {
        return error_set(error, STATUS_SEALED, "the shard is closed: its children take the record");
    }
    if (shard->seal_end != 0) {
        return error_set(error, STATUS_BUSY, "the shard is being closed; retry");
    }
    if (shard->waits_for_parents) {
        return error_set(error, STATUS_BUSY, "the shard's parents are still being closed; retry");
    }
    return STATUS_OK;
}

enum status shard_put(struct shard *shard, struct bytes batch, struct shard_put *put,
                      struct error *error)
{
    struct replica_slot slot;
    enum status status = check_leader(shard, &slot, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct batch_header h;
    status = check_header(batch, &h, error);
    if (status != STATUS_OK) {
        return status;
    }
    put->shard = shard;
    put->generation = shard->generation;
    put->count = h.count;
    put->records = (struct bytes){0};
    uint64_t original;
    status = check_producer(shard, &h, &original, error);
    if (status == STATUS_EXISTS) {
        answer_duplicate(shard, &h, original, put);
        return STATUS_OK;
    }
    if (status == STATUS_OK) {
        status = check_open(shard, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes payload =
        bytes_of(batch.data + BATCH_HEADER_BYTES, batch.size - BATCH_HEADER_BYTES);
    status = check_payload(&shard->set->coder, &h, payload, put->checked, &put->records, error);
    return status == STATUS_OK ? append(shard, &slot, batch, put, error) : status;
}

bool shard_has(const struct shard *shard, const struct batch_header *h)
{
    uint64_t original;
    return shard->producers_built &&
           producer_table_check(shard->producers, h, shard->commit, &original) == STATUS_EXISTS;
}

void shard_append_seal(struct shard *shard, uint32_t epoch)
{
    struct shards *set = shard->set;
    struct replica_slot slot;
    uint8_t batch[BATCH_HEADER_BYTES + SEAL_BYTES];
    /* Whatever is missing now, the controllers ask again. */
    if (set->out || replica_slot(shard->replica, &slot) != STATUS_OK || slot.epoch != epoch ||
        store_admit_control(set->store, sizeof(batch)) != STATUS_OK) {
        return;
    }
    struct batch_slot fields = slot_of(shard, &slot);
    struct batch_header h;
    batch_make_seal(&fields, batch, &h);
    const struct bytes part = bytes_of(batch, sizeof(batch));
    enum status status = propose(shard, &slot, &part, 1, &h);
    trace(status == STATUS_OK ? TRACE_INFO : TRACE_WARNING, "shards",
          "shard %016llx: SEAL at offset %llu: %s", (unsigned long long)shard->id,
          (unsigned long long)h.base_offset, status_text(status));
}

void shard_start_epoch(struct shard *shard, uint32_t epoch)
{
    struct shards *set = shard->set;
    struct replica_slot slot;
    struct replica_view view;
    if (!shard->is_last_ms_known) {
        rebuild_queue(shard, true); /* it was damaged; the core asks again */
        return;
    }
    replica_view(shard->replica, &view);
    struct epoch_start start = {.epoch = epoch,
                                .cfg_ver = view.cfg_ver,
                                .broker = shard->self.broker,
                                .disk_gen = shard->self.disk_gen,
                                .boot_id = set->boot,
                                .time_ms = append_time(shard),
                                .lineage = shard->log_generation < shard->generation};
    uint8_t batch[BATCH_HEADER_BYTES + EPOCH_START_BYTES];
    /* Whatever is missing now, the core asks again (its tick). */
    if (set->out || replica_slot(shard->replica, &slot) != STATUS_OK || slot.epoch != epoch ||
        store_admit_control(set->store, sizeof(batch)) != STATUS_OK ||
        !set->hooks.random(set->hooks.context, start.salt, sizeof(start.salt))) {
        return;
    }
    struct batch_slot fields = slot_of(shard, &slot);
    struct batch_header h;
    batch_make_epoch_start(&start, &fields, batch, &h);
    const struct bytes part = bytes_of(batch, sizeof(batch));
    enum status status = propose(shard, &slot, &part, 1, &h);
    if (status == STATUS_OK && start.lineage) {
        trace(TRACE_ERROR, "shards",
              "shard %016llx: forced recovery %u: what other replicas had from offset %llu on is "
              "lost; new records begin at offset %llu",
              (unsigned long long)shard->id, shard->generation, (unsigned long long)h.base_offset,
              (unsigned long long)batch_end(&h));
    }
    if (status != STATUS_OK) {
        trace(TRACE_WARNING, "shards", "shard %016llx: EPOCH_START of %u: %s",
              (unsigned long long)shard->id, epoch, status_text(status));
    }
}

/* ---- readers ---- */

void readers_wake(struct shard *shard, uint64_t commit, enum status status)
{
    LIST_FOR_EACH_SAFE (node, &shard->readers) {
        struct shard_reader *reader = CONTAINER_OF(node, struct shard_reader, node);
        if (reader->offset < commit) {
            list_remove(&reader->node);
            shard->reader_count--;
            reader->status = status;
            reader->shard = NULL;
            list_push(&shard->set->woken, &reader->node);
            shards_schedule(shard->set);
        }
    }
}

enum status shard_wait(struct shard *shard, struct shard_reader *reader)
{
    CHECK(reader->offset >= shard->commit);
    CHECK(!shard->sealed);
    if (shard->reader_count >= SHARD_READERS_MAX) {
        return STATUS_BUSY;
    }
    if (shard->set->closing) {
        return STATUS_CLOSING;
    }
    if (shard->set->out) {
        return STATUS_NOT_LEADER; /* nothing new comes here */
    }
    reader->shard = shard;
    reader->pending = true;
    list_push(&shard->readers, &reader->node);
    shard->reader_count++;
    return STATUS_OK;
}

void shard_wait_cancel(struct shard_reader *reader)
{
    if (!reader->pending) {
        return;
    }
    list_remove(&reader->node);
    reader->pending = false;
    if (reader->shard != NULL) { /* else the next turn would have woken it */
        reader->shard->reader_count--;
        reader->shard = NULL;
    }
}
