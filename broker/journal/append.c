/* The append path: records into the open block, blocks into the queue, files one after another. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "broker/journal/append.h"

/* Framing that a record may cause besides itself: header, trailer, padding. */
enum { BLOCK_OVERHEAD = 2 * BLOCK_UNIT };

static enum status shard_list_add(struct shard_list *list, uint64_t id)
{
    if (list->count == list->capacity) {
        uint32_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
        uint64_t *grown = realloc(list->id, capacity * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->id = grown;
        list->capacity = capacity;
    }
    list->id[list->count++] = id;
    return STATUS_OK;
}

static bool list_is_far(const struct shard_list *list)
{
    return list->incomplete || list->count > BLOCK_HEADER_SHARDS;
}

static size_t far_list_bytes(const struct shard_list *list)
{
    return list_is_far(list) ? RECORD_FRAME_BYTES + 8 * (size_t)list->count : 0;
}

static uint64_t files_free(const struct journal *j)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < j->file_count; i++) {
        count += j->file[i].state == FILE_FREE ? 1 : 0;
    }
    return count;
}

static uint64_t file_rest(const struct journal *j)
{
    CHECK(j->order_count > 0);
    return j->file[j->order[j->order_count - 1]].bytes - j->file_used;
}

static uint64_t state_bytes(const struct journal *j)
{
    uint64_t bytes = j->options.state_bytes(j->options.context);
    /* Padding of records, and a header and trailer for every block. */
    return bytes + bytes / 4 + 4 * BLOCK_OVERHEAD;
}

/* What is covered by the records' checksum, and the bookkeeping of one record more. */
static void block_note(struct journal *j, struct journal_shard *shard, const uint8_t *frame,
                       size_t covered, size_t padded)
{
    j->open.crc = crc32c(j->open.crc, frame, covered);
    j->open.fill += (uint32_t)padded;
    j->open.records++;
    j->open.last_lsn = ++j->lsn;
    if (shard != NULL && shard->block != j->open.number) {
        shard->block = j->open.number;
        if (shard_list_add(&j->shards, shard->id) != STATUS_OK) {
            j->shards.incomplete = true;
        }
    }
}

/* The list of shards of the block before, when it does not fit the header. An incomplete list is
 * left out altogether: recovery then takes every shard for damaged. */
static void block_put_far_list(struct journal *j)
{
    const struct shard_list *list = &j->prev_shards;
    if (!list_is_far(list) || list->incomplete) {
        return;
    }
    uint8_t *at = journal_ring_at(&j->ring, j->open.position + j->open.fill);
    size_t body = 8 * (size_t)list->count;
    struct journal_record record = {.type = JOURNAL_SHARDS, .a = j->prev_number};
    journal_record_encode(&record, body, at);
    for (uint32_t i = 0; i < list->count; i++) {
        put_u64(at + RECORD_FRAME_BYTES + 8 * (size_t)i, list->id[i]);
    }
    size_t bytes = RECORD_FRAME_BYTES + body;
    block_note(j, NULL, at, bytes, bytes);
}

static void block_begin(struct journal *j)
{
    CHECK(!j->open.active);
    j->open.active = true;
    j->open.eager = false;
    j->open.position = j->next_position;
    j->open.number = j->next_number++;
    j->open.last_lsn = j->lsn;
    j->open.fill = BLOCK_SECTOR;
    j->open.records = 0;
    j->open.crc = 0;
    struct journal_file *file = &j->file[j->order[j->order_count - 1]];
    if (j->file_used == 0) {
        file->first_number = j->open.number;
    }
    block_put_far_list(j);
}

static uint64_t oldest_number(const struct journal *j)
{
    return j->start_done ? j->file[j->order[0]].first_number : j->oldest_at_start;
}

static void block_seal(struct journal *j, uint8_t *at, uint32_t bytes)
{
    struct block_header header = {
        .number = j->open.number,
        .prev_number = j->prev_number,
        .prev_crc = j->prev_crc,
        .oldest = oldest_number(j),
        .records_crc = j->open.crc,
        .bytes = bytes,
        .used = j->open.fill - BLOCK_SECTOR,
        .records = j->open.records,
        .run = j->run,
        .prev_shard_count = list_is_far(&j->prev_shards) ? BLOCK_SHARDS_FAR : j->prev_shards.count,
    };
    if (header.prev_shard_count != BLOCK_SHARDS_FAR && header.prev_shard_count > 0) {
        memcpy(header.prev_shards, j->prev_shards.id, 8 * (size_t)header.prev_shard_count);
    }
    journal_header_encode(&header, j->options.id, at);
    bool far = j->shards.incomplete || j->shards.count > BLOCK_TRAILER_SHARDS;
    struct block_trailer trailer = {
        .number = header.number,
        .prev_number = header.prev_number,
        .oldest = header.oldest,
        .header_crc = header.crc,
        .shard_count = far ? BLOCK_SHARDS_FAR : j->shards.count,
    };
    if (!far && trailer.shard_count > 0) {
        memcpy(trailer.shards, j->shards.id, 8 * (size_t)trailer.shard_count);
    }
    journal_trailer_encode(&trailer, j->options.id, at + bytes - BLOCK_SECTOR);
    j->prev_number = header.number;
    j->prev_crc = header.crc;
}

void journal_block_close(struct journal *j)
{
    CHECK(j->open.active);
    CHECK(j->queue_count < j->queue_capacity);
    uint32_t bytes = (uint32_t)block_align(j->open.fill + BLOCK_SECTOR, BLOCK_UNIT);
    uint8_t *at = journal_ring_at(&j->ring, j->open.position);
    memset(at + j->open.fill, 0, bytes - BLOCK_SECTOR - j->open.fill);
    block_seal(j, at, bytes);

    j->queue[(j->queue_head + j->queue_count++) % j->queue_capacity] = (struct block){
        .number = j->open.number,
        .position = j->open.position,
        .offset = j->file_used,
        .last_lsn = j->open.last_lsn,
        .bytes = bytes,
        .file = j->order[j->order_count - 1],
    };
    j->open.active = false;
    j->note_oldest = false;
    j->file_used += bytes;
    j->next_position += bytes;

    struct shard_list swap = j->prev_shards;
    j->prev_shards = j->shards;
    j->shards = swap;
    j->shards.count = 0;
    j->shards.incomplete = false;
}

/* Begins the next file with the state of all shards. BUSY, and nothing has changed, when no file is
 * free or the ring lacks room for the state. */
enum status journal_file_roll(struct journal *j)
{
    CHECK(!j->rolling);
    uint32_t next = UINT32_MAX;
    for (uint32_t i = 0; i < j->file_count && next == UINT32_MAX; i++) {
        next = j->file[i].state == FILE_FREE ? i : UINT32_MAX;
    }
    uint64_t need = state_bytes(j) + (j->open.active ? j->open.fill + BLOCK_OVERHEAD : 0);
    if (next == UINT32_MAX || need > j->file[next].bytes ||
        j->next_position + need > j->written + j->ring.size) {
        return STATUS_BUSY;
    }
    if (j->open.active && j->open.records > 0) {
        journal_block_close(j);
    }
    j->open.active = false;
    if (j->order_count > 0) {
        j->file[j->order[j->order_count - 1]].end_position = j->next_position;
    }
    j->order[j->order_count++] = next;
    struct journal_file *file = &j->file[next];
    file->state = FILE_USED;
    file->state_lsn = 0;
    file->end_position = 0;
    file->first_number = 0;
    j->file_used = 0;
    j->rolling = true;
    enum status status = j->options.write_state(j->options.context, j);
    struct journal_span end;
    if (status == STATUS_OK) {
        status = journal_append(j, NULL, JOURNAL_STATE_END, 0, 0, 0, &end);
    }
    j->rolling = false;
    if (status != STATUS_OK) {
        j->out = STATUS_INTERNAL; /* the reserve is there so that this cannot be */
        return j->out;
    }
    file->state_lsn = end.lsn;
    return STATUS_OK;
}

/* Makes an open block with room for a record of `bytes`. */
static enum status block_room(struct journal *j, size_t bytes)
{
    if (j->out != STATUS_OK) {
        return j->out;
    }
    if (!j->started) {
        return STATUS_INVALID;
    }
    size_t padded = block_align(bytes, 8);
    if (j->open.active && j->open.records > 0 &&
        j->open.fill + padded + BLOCK_SECTOR > j->options.block_bytes) {
        journal_block_close(j);
    }
    for (int attempt = 0;; attempt++) {
        uint64_t fill =
            j->open.active ? j->open.fill : BLOCK_SECTOR + far_list_bytes(&j->prev_shards);
        uint64_t total = block_align(fill + padded + BLOCK_SECTOR, BLOCK_UNIT);
        if (j->order_count > 0 && total <= file_rest(j)) {
            if (j->next_position + total > j->written + j->ring.size) {
                return STATUS_BUSY;
            }
            break;
        }
        if (j->rolling || attempt > 0) {
            return STATUS_TOO_LARGE;
        }
        enum status status = journal_file_roll(j);
        if (status != STATUS_OK) {
            return status;
        }
    }
    if (!j->open.active) {
        block_begin(j);
    }
    return STATUS_OK;
}

/* `admitted`: the caller asked before and was told that there is room. Framing and the state at the
 * head of a new file may have used more than was counted then; that much of the reserve is for it.
 */
static enum status admit(const struct journal *j, size_t bytes, bool admitted)
{
    if (j->out != STATUS_OK) {
        return j->out;
    }
    if (!j->start_done) {
        return STATUS_INVALID;
    }
    uint64_t state = state_bytes(j);
    uint64_t reserve =
        j->ring.size / 8 < JOURNAL_RESERVE_MAX ? j->ring.size / 8 : JOURNAL_RESERVE_MAX;
    uint64_t need = bytes + BLOCK_OVERHEAD + RECORD_FRAME_BYTES +
                    8 * ((uint64_t)j->shards.count + j->prev_shards.count);
    uint64_t open = j->open.active ? j->open.fill : 0;
    uint64_t spare = admitted ? state + reserve / 2 : 2 * state + reserve;
    if (need + state > j->options.file_bytes || need + 2 * state + reserve > j->ring.size) {
        return STATUS_TOO_LARGE;
    }
    if (j->next_position + open + need + spare > j->written + j->ring.size) {
        return STATUS_BUSY;
    }
    uint64_t files = files_free(j) + (open + need <= file_rest(j) ? 1 : 0);
    return files >= (admitted ? 1 : 2) ? STATUS_OK : STATUS_BUSY;
}

enum status journal_admit(const struct journal *j, size_t bytes)
{
    return admit(j, bytes, false);
}

enum status journal_append_data(struct journal *j, struct journal_shard *shard,
                                const struct bytes *parts, uint32_t part_count,
                                struct journal_span *out)
{
    CHECK(part_count > 0);
    size_t body = 0;
    for (uint32_t i = 0; i < part_count; i++) {
        body += parts[i].size;
    }
    enum status status = admit(j, body, true);
    if (status == STATUS_OK) {
        status = block_room(j, RECORD_FRAME_BYTES + body);
    }
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t position = j->open.position + j->open.fill;
    uint8_t *frame = journal_ring_at(&j->ring, position);
    uint8_t *at = frame + RECORD_FRAME_BYTES;
    struct journal_record record = {.type = JOURNAL_DATA, .shard = shard->id};
    journal_record_encode(&record, body, frame);
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(at, parts[i].data, parts[i].size);
            at += parts[i].size;
        }
    }
    size_t padded = block_align(RECORD_FRAME_BYTES + body, 8);
    memset(at, 0, padded - RECORD_FRAME_BYTES - body);
    block_note(j, shard, frame, journal_record_covered(JOURNAL_DATA, body), padded);
    j->open.eager = true;
    *out = (struct journal_span){.lsn = j->lsn,
                                 .position = position + RECORD_FRAME_BYTES,
                                 .body = frame + RECORD_FRAME_BYTES};
    return STATUS_OK;
}

enum status journal_append(struct journal *j, struct journal_shard *shard, enum journal_type type,
                           uint64_t a, uint32_t b, uint32_t c, struct journal_span *out)
{
    enum status status = block_room(j, RECORD_FRAME_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t position = j->open.position + j->open.fill;
    uint8_t *frame = journal_ring_at(&j->ring, position);
    struct journal_record record = {
        .type = type, .shard = shard != NULL ? shard->id : 0, .a = a, .b = b, .c = c};
    journal_record_encode(&record, 0, frame);
    block_note(j, shard, frame, RECORD_FRAME_BYTES, RECORD_FRAME_BYTES);
    j->open.eager = j->open.eager || type != JOURNAL_COMMIT_HINT;
    *out = (struct journal_span){.lsn = j->lsn,
                                 .position = position + RECORD_FRAME_BYTES,
                                 .body = frame + RECORD_FRAME_BYTES};
    return STATUS_OK;
}

enum status journal_append_state(struct journal *j, struct journal_shard *shard,
                                 const struct journal_state *state)
{
    CHECK(j->rolling);
    CHECK(state->history_count <= JOURNAL_HISTORY_MAX);
    size_t bytes = journal_state_size(state->history_count);
    enum status status = block_room(j, bytes);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *frame = journal_ring_at(&j->ring, j->open.position + j->open.fill);
    struct journal_record record = {.type = JOURNAL_STATE, .shard = shard->id};
    journal_record_encode(&record, bytes - RECORD_FRAME_BYTES, frame);
    journal_state_encode(state, frame + RECORD_FRAME_BYTES);
    block_note(j, shard, frame, bytes, bytes);
    j->open.eager = true;
    return STATUS_OK;
}
