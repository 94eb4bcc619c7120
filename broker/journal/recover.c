/* Replay, and what to make of blocks that are not as they were written: replication.md 2.9.
 *
 * The newest block names the oldest one needed, and every header and every trailer names the block
 * before, so the blocks that count are found by walking back from the newest; whatever else carries
 * this journal's id was torn once and dropped, or is of a file's earlier use. A block that one
 * recovery dropped is thus dropped by the next as well, though only the trailer of what that one
 * wrote may have reached the disk. Forward again:
 *
 *   a block of the chain is missing or bad, a newer one exists     synced data is damaged (case 1)
 *   the newest is bad, without its trailer                         torn, dropped        (case 2)
 *   the newest is bad, with its trailer; a trailer alone           ambiguous: damaged   (case 3)
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/formats.h"
#include "broker/journal/private.h"
#include "broker/journal/scan.h"
#include "proto/wire/batch.h"

/* A block that somebody names: what is left of it. Neither: it is gone. */
struct link {
    uint64_t number;
    const struct found_header *header;
    const struct found_trailer *trailer;
};

struct replay {
    struct journal *j;
    const struct journal_visitor *visitor;
    struct journal_recovery result;
    struct scan scan;
    struct link *chain; /* newest first */
    uint32_t chain_count;
    uint64_t newest; /* the greatest number of which anything exists */
    uint8_t *block;
    size_t block_capacity;
};

static enum status damage_all(struct replay *r)
{
    r->result.damage_spread = true;
    return r->visitor->damage(r->visitor->context, 0, true);
}

static enum status damage_listed(struct replay *r, const uint64_t *shards, uint32_t count)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++) {
        status = r->visitor->damage(r->visitor->context, shards[i], false);
    }
    return status;
}

/* Reads the whole block; bytes that the disk refuses become zeros, which no checksum accepts. */
static enum status read_block(struct replay *r, const struct found_header *f)
{
    if (f->h.bytes > r->block_capacity) {
        uint8_t *grown = aligned_alloc(BLOCK_UNIT, f->h.bytes);
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        free(r->block);
        r->block = grown;
        r->block_capacity = f->h.bytes;
    }
    const struct journal_file *file = &r->j->file[f->file];
    uint64_t rest = file->bytes - f->offset;
    size_t size = f->h.bytes < rest ? f->h.bytes : (size_t)rest;
    size_t got = 0;
    memset(r->block, 0, f->h.bytes);
    if (disk_read_all(r->j->disk, file->fd, r->block, size, f->offset, &got) == STATUS_OK) {
        return STATUS_OK;
    }
    for (size_t at = 0; at < size; at += BLOCK_UNIT) {
        if (disk_read_all(r->j->disk, file->fd, r->block + at, BLOCK_UNIT, f->offset + at, &got) !=
            STATUS_OK) {
            memset(r->block + at, 0, BLOCK_UNIT);
        }
    }
    return STATUS_OK;
}

/* Whether the framing of a block is as written; *all_good also says so of every batch. */
static bool block_is_good(const struct replay *r, const struct found_header *f, bool *all_good)
{
    struct bytes rest = bytes_of(r->block + BLOCK_SECTOR, f->h.used);
    uint64_t offset = 0;
    uint32_t crc = 0, records = 0;
    bool good = true;
    while (rest.size > 0) {
        struct journal_record record;
        const uint8_t *frame = rest.data;
        if (journal_record_take(&rest, f->file, &offset, &record) != STATUS_OK) {
            return false;
        }
        crc = crc32c(crc, frame, journal_record_covered(record.type, record.body.size));
        records++;
        if (record.type == JOURNAL_DATA && !journal_record_batch_is_good(&record)) {
            good = false;
        }
    }
    *all_good = good;
    return crc == f->h.records_crc && records == f->h.records;
}

/* The shards of block `number`, as the header of the block behind it, `next`, lists them. */
static enum status damage_from_next(struct replay *r, const struct found_header *next)
{
    if (next->h.prev_shard_count != BLOCK_SHARDS_FAR) {
        return damage_listed(r, next->h.prev_shards, next->h.prev_shard_count);
    }
    enum status status = read_block(r, next);
    if (status != STATUS_OK) {
        return status;
    }
    bool all_good;
    struct bytes rest = bytes_of(r->block + BLOCK_SECTOR, next->h.used);
    uint64_t offset = 0;
    struct journal_record record;
    if (!block_is_good(r, next, &all_good) ||
        journal_record_take(&rest, next->file, &offset, &record) != STATUS_OK ||
        record.type != JOURNAL_SHARDS || record.a != next->h.prev_number) {
        return damage_all(r);
    }
    for (size_t at = 0; status == STATUS_OK && at + 8 <= record.body.size; at += 8) {
        status = r->visitor->damage(r->visitor->context, get_u64(record.body.data + at), false);
    }
    return status;
}

static enum status damage_block(struct replay *r, const struct link *link, const struct link *next)
{
    r->result.damaged_blocks++;
    if (link->trailer != NULL && link->trailer->t.shard_count != BLOCK_SHARDS_FAR) {
        return damage_listed(r, link->trailer->t.shards, link->trailer->t.shard_count);
    }
    if (next != NULL && next->header != NULL && next->header->h.prev_number == link->number) {
        return damage_from_next(r, next->header);
    }
    return damage_all(r);
}

/* With the block, those before it that only it could name are gone, too. */
static enum status damage_lost(struct replay *r, const struct link *before, const struct link *link,
                               const struct link *next)
{
    bool alone =
        before != NULL ? before->number + 1 == link->number : link->number == r->scan.oldest;
    if (alone) {
        return damage_block(r, link, next);
    }
    r->result.damaged_blocks++;
    return damage_all(r);
}

static enum status deliver_records(struct replay *r, const struct found_header *f)
{
    struct bytes rest = bytes_of(r->block + BLOCK_SECTOR, f->h.used);
    uint64_t offset = f->offset + BLOCK_SECTOR;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && rest.size > 0) {
        struct journal_record record;
        status = journal_record_take(&rest, f->file, &offset, &record);
        if (status != STATUS_OK) {
            return status;
        }
        r->result.records++;
        if (record.type == JOURNAL_DATA && !journal_record_batch_is_good(&record)) {
            r->result.damaged_records++;
            status = r->visitor->damage(r->visitor->context, record.shard, false);
        } else if (record.type != JOURNAL_SHARDS) {
            status = r->visitor->record(r->visitor->context, &record);
        }
    }
    return status;
}

/* The new run's first header lists the shards of the last block of this one. */
static void remember_last(struct journal *j, const struct found_trailer *t)
{
    j->prev_shards.count = 0;
    j->prev_shards.incomplete = t == NULL || t->t.shard_count == BLOCK_SHARDS_FAR;
    if (j->prev_shards.incomplete || t->t.shard_count == 0) {
        return;
    }
    uint64_t *id = realloc(j->prev_shards.id, BLOCK_TRAILER_SHARDS * sizeof(*id));
    if (id == NULL) {
        j->prev_shards.incomplete = true;
        return;
    }
    memcpy(id, t->t.shards, 8 * (size_t)t->t.shard_count);
    j->prev_shards.id = id;
    j->prev_shards.count = t->t.shard_count;
    j->prev_shards.capacity = BLOCK_TRAILER_SHARDS;
}

/* The new run goes on behind this block, also when it is damaged: a second recovery is to find that
 * again. */
static void accept_last(struct replay *r, const struct link *link)
{
    r->j->prev_number = link->number;
    r->j->prev_crc = link->header != NULL    ? link->header->h.crc
                     : link->trailer != NULL ? link->trailer->t.header_crc
                                             : 0;
    remember_last(r->j, link->trailer);
}

static enum status replay_block(struct replay *r, const struct link *link, const struct link *next)
{
    const struct found_header *f = link->header;
    enum status status = read_block(r, f);
    if (status != STATUS_OK) {
        return status;
    }
    r->result.blocks++;
    r->result.bytes += f->h.bytes;
    bool all_good = false;
    bool good = block_is_good(r, f, &all_good);
    bool marked = link->trailer != NULL && link->trailer->t.header_crc == f->h.crc;
    if (link->number == r->newest && !(good && all_good) && !marked) {
        r->result.torn_blocks++;
        return STATUS_OK;
    }
    accept_last(r, link);
    return good ? deliver_records(r, f) : damage_block(r, link, next);
}

/* The next lower number of which anything is left; 0: none. */
static uint64_t number_below(const struct scan *scan, uint64_t number)
{
    uint64_t below = 0;
    for (uint32_t i = 0; i < scan->header_count && scan->header[i].h.number < number; i++) {
        below = scan->header[i].h.number;
    }
    for (uint32_t i = 0; i < scan->trailer_count && scan->trailer[i].t.number < number; i++) {
        below = scan->trailer[i].t.number > below ? scan->trailer[i].t.number : below;
    }
    return below;
}

/* Walks back from the newest block. Behind one that is gone it goes on with the next lower number
 * that exists; damage is reported there in any case. */
static enum status find_chain(struct replay *r, bool *out_headers)
{
    const struct scan *scan = &r->scan;
    /* Not two in a row are gone. */
    size_t most = 2 * ((size_t)scan->header_count + scan->trailer_count);
    r->chain = calloc(most, sizeof(*r->chain));
    if (r->chain == NULL) {
        return STATUS_NO_MEMORY;
    }
    bool headers = false;
    uint64_t number = r->newest;
    while (number > 0 && number >= scan->oldest) {
        CHECK(r->chain_count < most);
        struct link *link = &r->chain[r->chain_count++];
        *link = (struct link){.number = number,
                              .header = journal_scan_header(scan, number),
                              .trailer = journal_scan_trailer(scan, number)};
        headers = headers || link->header != NULL;
        number = link->header != NULL    ? link->header->h.prev_number
                 : link->trailer != NULL ? link->trailer->t.prev_number
                                         : number_below(scan, number);
    }
    *out_headers = headers;
    return STATUS_OK;
}

static enum status replay_link(struct replay *r, const struct link *before, const struct link *link,
                               const struct link *next)
{
    enum status status = STATUS_OK;
    if (before == NULL && link->number != r->scan.oldest) {
        r->result.damaged_blocks++;
        status = damage_all(r);
    }
    if (status != STATUS_OK || link->header == NULL) {
        accept_last(r, link);
        return status != STATUS_OK     ? status
               : link->trailer == NULL ? damage_lost(r, before, link, next)
                                       : damage_block(r, link, next);
    }
    if (before != NULL && before->header != NULL &&
        link->header->h.prev_crc != before->header->h.crc) {
        status = damage_block(r, before, link);
    }
    return status == STATUS_OK ? replay_block(r, link, next) : status;
}

static enum status replay_chain(struct replay *r)
{
    enum status status = STATUS_OK;
    const struct link *chain = r->chain;
    CHECK(chain != NULL);
    for (uint32_t i = r->chain_count; status == STATUS_OK && i > 0; i--) {
        status = replay_link(r, i < r->chain_count ? &chain[i] : NULL, &chain[i - 1],
                             i > 1 ? &chain[i - 2] : NULL);
    }
    /* Sectors that cannot be read may have held a newer block. */
    if (status == STATUS_OK && journal_scan_is_blind(&r->scan)) {
        r->result.damaged_blocks++;
        status = damage_all(r);
    }
    return status;
}

static void settle_files(struct replay *r)
{
    struct journal *j = r->j;
    for (uint32_t i = 0; i < j->file_count; i++) {
        if (j->file[i].state == FILE_OLD) {
            j->file[i].state = FILE_FREE;
        }
    }
    for (uint32_t i = 0; i < r->scan.header_count; i++) {
        const struct found_header *f = &r->scan.header[i];
        if (f->h.number >= r->scan.oldest) {
            j->file[f->file].state = FILE_OLD;
        }
        j->run = f->h.run >= j->run ? f->h.run + 1 : j->run;
    }
    for (uint32_t i = 0; i < r->scan.trailer_count; i++) {
        if (r->scan.trailer[i].t.number >= r->scan.oldest) {
            j->file[r->scan.trailer[i].file].state = FILE_OLD;
        }
    }
    j->oldest_at_start = r->scan.oldest;
    /* The one between is left out: a block that was on its way when the process died may reach the
     * disk after all, and must not have the number of another. */
    j->next_number = r->newest + 2;
}

static enum status replay_all(struct replay *r, struct error *error)
{
    enum status status = journal_scan_files(r->j, &r->scan);
    if (status != STATUS_OK) {
        return error_set(error, status, "cannot read the journal in %s: %s", r->j->options.dir,
                         status_text(status));
    }
    if (r->scan.other_format != 0) {
        return format_refuse(error, r->j->options.dir, r->scan.other_format, FORMAT_JOURNAL,
                             OLDEST_JOURNAL);
    }
    if (r->scan.header_count == 0) {
        return error_set(error, STATUS_CORRUPT,
                         "%s holds no block of this disk's journal: its promises are lost",
                         r->j->options.dir);
    }
    r->newest = r->scan.header[r->scan.header_count - 1].h.number;
    if (r->scan.trailer_count > 0) {
        uint64_t marked = r->scan.trailer[r->scan.trailer_count - 1].t.number;
        r->newest = marked > r->newest ? marked : r->newest;
    }
    bool headers = false;
    status = find_chain(r, &headers);
    if (status == STATUS_OK && !headers) {
        return error_set(error, STATUS_CORRUPT, "the journal in %s has lost its newest blocks",
                         r->j->options.dir);
    }
    if (status == STATUS_OK) {
        status = replay_chain(r);
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "the journal in %s cannot be replayed: %s",
                         r->j->options.dir, status_text(status));
    }
    settle_files(r);
    return STATUS_OK;
}

enum status journal_recover(struct journal *j, const struct journal_visitor *visitor,
                            struct journal_recovery *out, struct error *error)
{
    CHECK(!j->recovered);
    struct replay r = {.j = j, .visitor = visitor};
    enum status status = replay_all(&r, error);
    journal_scan_release(&r.scan);
    free(r.chain);
    free(r.block);
    if (status == STATUS_OK) {
        j->recovered = true;
        *out = r.result;
    }
    return status;
}

enum status journal_read(struct journal *j, uint32_t file, uint64_t offset, void *to, size_t size)
{
    CHECK(file < j->file_count);
    CHECK(!j->started);
    uint64_t from = offset / BLOCK_UNIT * BLOCK_UNIT;
    size_t span = (size_t)block_align(offset + size - from, BLOCK_UNIT);
    AUTO(free_pointer) uint8_t *aligned = aligned_alloc(BLOCK_UNIT, span);
    if (aligned == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t got = 0;
    enum status status = disk_read_all(j->disk, j->file[file].fd, aligned, span, from, &got);
    if (status == STATUS_OK && got < offset - from + size) {
        status = STATUS_CORRUPT;
    }
    if (status == STATUS_OK) {
        memcpy(to, aligned + (offset - from), size);
    }
    return status;
}

enum status journal_format(const struct journal_options *options, struct error *error)
{
    const struct disk *disk = options->disk != NULL ? options->disk : disk_os();
    int made = disk->mkdir(disk->context, options->dir);
    enum status status = disk_status(made);
    if (status == STATUS_EXISTS) {
        status = STATUS_OK;
    }
    for (uint32_t i = 0; status == STATUS_OK && i < JOURNAL_FILES_MIN; i++) {
        status = journal_make_file(options, i);
    }
    struct journal *j = NULL;
    if (status == STATUS_OK) {
        status = journal_open(options, &j, error);
        if (status != STATUS_OK) {
            return status;
        }
    }
    AUTO(free_pointer) uint8_t *block = aligned_alloc(BLOCK_UNIT, BLOCK_UNIT);
    if (status == STATUS_OK && block == NULL) {
        status = STATUS_NO_MEMORY;
    }
    if (status == STATUS_OK) {
        memset(block, 0, BLOCK_UNIT);
        struct block_header header = {.number = 1, .oldest = 1, .bytes = BLOCK_UNIT};
        journal_header_encode(&header, options->id, block);
        struct block_trailer trailer = {.number = 1, .oldest = 1, .header_crc = header.crc};
        journal_trailer_encode(&trailer, options->id, block + BLOCK_UNIT - BLOCK_SECTOR);
        status = disk_write_all(disk, j->file[0].fd, block, BLOCK_UNIT, 0);
        if (status == STATUS_OK) {
            status = disk_status(disk->sync(disk->context, j->file[0].fd));
        }
    }
    journal_close(j);
    return status == STATUS_OK ? STATUS_OK
                               : error_set(error, status, "cannot write the journal in %s: %s",
                                           options->dir, status_text(status));
}
