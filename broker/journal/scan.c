#include "broker/journal/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum { CHUNK_BYTES = 1024 * 1024 };

static enum status grow(void **array, uint32_t count, uint32_t *capacity, size_t item)
{
    if (count < *capacity) {
        return STATUS_OK;
    }
    uint32_t more = *capacity == 0 ? 256 : 2 * *capacity;
    void *grown = realloc(*array, more * item);
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    *array = grown;
    *capacity = more;
    return STATUS_OK;
}

static enum status note_header(struct scan *scan, const struct block_header *h, uint32_t file,
                               uint64_t offset)
{
    if (h->number < scan->oldest) {
        return STATUS_OK; /* of a file's earlier use */
    }
    void *array = scan->header;
    enum status status =
        grow(&array, scan->header_count, &scan->header_capacity, sizeof(*scan->header));
    if (status == STATUS_OK) {
        scan->header = array;
        scan->header[scan->header_count++] =
            (struct found_header){.h = *h, .file = file, .offset = offset};
        scan->oldest = h->oldest > scan->oldest ? h->oldest : scan->oldest;
    }
    return status;
}

static enum status note_trailer(struct scan *scan, const struct block_trailer *t, uint32_t file,
                                uint64_t offset)
{
    if (t->number < scan->oldest) {
        return STATUS_OK;
    }
    void *array = scan->trailer;
    enum status status =
        grow(&array, scan->trailer_count, &scan->trailer_capacity, sizeof(*scan->trailer));
    if (status == STATUS_OK) {
        scan->trailer = array;
        scan->trailer[scan->trailer_count++] =
            (struct found_trailer){.t = *t, .file = file, .offset = offset};
        scan->oldest = t->oldest > scan->oldest ? t->oldest : scan->oldest;
    }
    return status;
}

static enum status scan_chunk(const struct journal *j, struct scan *scan, const uint8_t *chunk,
                              size_t size, uint32_t file, uint64_t offset)
{
    for (size_t at = 0; at + BLOCK_UNIT <= size; at += BLOCK_UNIT) {
        struct block_header h;
        enum status status = journal_header_decode(chunk + at, j->options.id, &h);
        if (status == STATUS_OK) {
            status = note_header(scan, &h, file, offset + at);
            if (status != STATUS_OK) {
                return status;
            }
        } else if (status == STATUS_UNSUPPORTED) {
            scan->other_format = get_u16(chunk + at + BLOCK_FORMAT_AT);
        }
        struct block_trailer t;
        if (journal_trailer_decode(chunk + at + BLOCK_UNIT - BLOCK_SECTOR, j->options.id, &t) ==
            STATUS_OK) {
            status = note_trailer(scan, &t, file, offset + at + BLOCK_UNIT);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

/* A chunk with a bad sector is read unit by unit; what cannot be read is zeros. */
static void read_units(const struct journal *j, struct scan *scan, uint32_t file, uint8_t *chunk,
                       size_t size, uint64_t offset)
{
    for (size_t at = 0; at < size; at += BLOCK_UNIT) {
        size_t got = 0;
        if (disk_read_all(j->disk, j->file[file].fd, chunk + at, BLOCK_UNIT, offset + at, &got) !=
                STATUS_OK ||
            got < BLOCK_UNIT) {
            memset(chunk + at, 0, BLOCK_UNIT);
            if (scan->unreadable_count < SCAN_UNREADABLE_MAX) {
                scan->unreadable[scan->unreadable_count].file = file;
                scan->unreadable[scan->unreadable_count].offset = offset + at;
            }
            scan->unreadable_count++;
        }
    }
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = ((const struct found_header *)a)->h.number;
    uint64_t y = ((const struct found_header *)b)->h.number;
    return x < y ? -1 : x > y ? 1 : 0;
}

static int by_trailer_number(const void *a, const void *b)
{
    uint64_t x = ((const struct found_trailer *)a)->t.number;
    uint64_t y = ((const struct found_trailer *)b)->t.number;
    return x < y ? -1 : x > y ? 1 : 0;
}

static enum status scan_all(struct journal *j, struct scan *scan, uint8_t *chunk)
{
    for (uint32_t i = 0; i < j->file_count; i++) {
        const struct journal_file *file = &j->file[i];
        for (uint64_t at = 0; file->state != FILE_ABSENT && at < file->bytes; at += CHUNK_BYTES) {
            size_t size = (size_t)(file->bytes - at < CHUNK_BYTES ? file->bytes - at : CHUNK_BYTES);
            size_t got = 0;
            enum status status = disk_read_all(j->disk, file->fd, chunk, size, at, &got);
            if (status != STATUS_OK || got < size) {
                read_units(j, scan, i, chunk, size, at);
            }
            status = scan_chunk(j, scan, chunk, size, i, at);
            if (status != STATUS_OK) {
                return status;
            }
        }
    }
    return STATUS_OK;
}

enum status journal_scan_files(struct journal *j, struct scan *out)
{
    AUTO(free_pointer) uint8_t *chunk = aligned_alloc(BLOCK_UNIT, CHUNK_BYTES);
    if (chunk == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct scan scan = {0};
    enum status status = scan_all(j, &scan, chunk);
    if (status != STATUS_OK) {
        journal_scan_release(&scan);
        return status;
    }
    if (scan.header_count > 0) {
        qsort(scan.header, scan.header_count, sizeof(*scan.header), by_number);
    }
    if (scan.trailer_count > 0) {
        qsort(scan.trailer, scan.trailer_count, sizeof(*scan.trailer), by_trailer_number);
    }
    *out = scan;
    return STATUS_OK;
}

void journal_scan_release(struct scan *scan)
{
    free(scan->header);
    free(scan->trailer);
    *scan = (struct scan){0};
}

bool journal_scan_is_blind(const struct scan *scan)
{
    if (scan->unreadable_count > SCAN_UNREADABLE_MAX) {
        return true;
    }
    for (uint32_t i = 0; i < scan->unreadable_count; i++) {
        bool covered = false;
        for (uint32_t k = 0; k < scan->header_count && !covered; k++) {
            const struct found_header *f = &scan->header[k];
            covered = f->file == scan->unreadable[i].file &&
                      scan->unreadable[i].offset >= f->offset &&
                      scan->unreadable[i].offset - f->offset < f->h.bytes;
        }
        if (!covered) {
            return true;
        }
    }
    return false;
}

const struct found_header *journal_scan_header(const struct scan *scan, uint64_t number)
{
    struct found_header key = {.h = {.number = number}};
    return scan->header_count == 0
               ? NULL
               : bsearch(&key, scan->header, scan->header_count, sizeof(*scan->header), by_number);
}

const struct found_trailer *journal_scan_trailer(const struct scan *scan, uint64_t number)
{
    struct found_trailer key = {.t = {.number = number}};
    return scan->trailer_count == 0 ? NULL
                                    : bsearch(&key, scan->trailer, scan->trailer_count,
                                              sizeof(*scan->trailer), by_trailer_number);
}
