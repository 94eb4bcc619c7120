#include "broker/log/segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/formats.h"

enum {
    INDEX_MAGIC = 0x58444957,
    INDEX_FORMAT = FORMAT_INDEX,
    INDEX_HEADER_BYTES = 32,
    INDEX_ENTRY_BYTES = 24
};

void log_path_join(char out[STORE_PATH_BYTES], const char *dir, const char *name)
{
    int length = snprintf(out, STORE_PATH_BYTES, "%s/%s", dir, name);
    CHECK(length > 0 && length < STORE_PATH_BYTES);
}

void log_path_shard(char out[STORE_PATH_BYTES], const char *dir, uint64_t shard)
{
    int length = snprintf(out, STORE_PATH_BYTES, "%s/shards/%u-%u", dir, (unsigned)(shard >> 32),
                          (unsigned)shard);
    CHECK(length > 0 && length < STORE_PATH_BYTES);
}

void log_path_segment(char out[STORE_PATH_BYTES], const char *dir, uint64_t shard, uint64_t base,
                      const char *suffix)
{
    int length =
        snprintf(out, STORE_PATH_BYTES, "%s/shards/%u-%u/%020llu.%s", dir, (unsigned)(shard >> 32),
                 (unsigned)shard, (unsigned long long)base, suffix);
    CHECK(length > 0 && length < STORE_PATH_BYTES);
}

/* Takes a decimal number off *text. */
static bool take_number(const char **text, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    const char *at = *text;
    while (*at >= '0' && *at <= '9') {
        uint64_t digit = (uint64_t)(*at - '0');
        if (value > (max - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
        at++;
    }
    bool any = at != *text;
    *text = at;
    *out = value;
    return any;
}

bool log_name_is_shard(const char *name, uint64_t *out_shard)
{
    uint64_t stream, number;
    if (!take_number(&name, UINT32_MAX, &stream) || *name++ != '-' ||
        !take_number(&name, UINT32_MAX, &number) || *name != '\0') {
        return false;
    }
    *out_shard = stream << 32 | number;
    return true;
}

bool log_name_is_segment(const char *name, const char *suffix, uint64_t *out_base)
{
    uint64_t base;
    if (strlen(name) != 21 + strlen(suffix) || !take_number(&name, UINT64_MAX, &base) ||
        *name++ != '.' || strcmp(name, suffix) != 0) {
        return false;
    }
    *out_base = base;
    return true;
}

enum status segment_index_reserve(struct segment_index *index)
{
    if (index->count < index->capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = index->capacity == 0 ? 16 : 2 * index->capacity;
    struct index_entry *grown = realloc(index->entry, capacity * sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NO_MEMORY;
    }
    index->entry = grown;
    index->capacity = capacity;
    return STATUS_OK;
}

void segment_index_note(struct segment_index *index, uint64_t offset, uint64_t ms, uint64_t at)
{
    if (index->count > 0 && at < index->entry[index->count - 1].at + INDEX_EVERY_BYTES) {
        return;
    }
    CHECK(index->count < index->capacity);
    index->entry[index->count++] = (struct index_entry){.offset = offset, .ms = ms, .at = at};
}

void segment_index_cut(struct segment_index *index, uint64_t at)
{
    while (index->count > 0 && index->entry[index->count - 1].at >= at) {
        index->count--;
    }
    index->from = index->from > at ? at : index->from;
}

void segment_index_release(struct segment_index *index)
{
    free(index->entry);
    *index = (struct segment_index){0};
}

const struct index_entry *segment_index_by_offset(const struct segment_index *index,
                                                  uint64_t offset)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entry[middle].offset <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : &index->entry[low - 1];
}

const struct index_entry *segment_index_by_time(const struct segment_index *index, uint64_t ms)
{
    uint32_t low = 0, high = index->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (index->entry[middle].ms < ms) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? NULL : &index->entry[low - 1];
}

enum status segment_index_write(const struct disk *disk, const char *path, uint64_t base,
                                uint64_t bytes, const struct segment_index *index)
{
    size_t size = INDEX_HEADER_BYTES + (size_t)index->count * INDEX_ENTRY_BYTES;
    AUTO(free_pointer) uint8_t *file = calloc(1, size);
    if (file == NULL) {
        return STATUS_NO_MEMORY;
    }
    put_u32(file, INDEX_MAGIC);
    put_u32(file + 8, INDEX_FORMAT);
    put_u32(file + 12, index->count);
    put_u64(file + 16, base);
    put_u64(file + 24, bytes);
    for (uint32_t i = 0; i < index->count; i++) {
        uint8_t *at = file + INDEX_HEADER_BYTES + (size_t)i * INDEX_ENTRY_BYTES;
        put_u64(at, index->entry[i].offset);
        put_u64(at + 8, index->entry[i].ms);
        put_u64(at + 16, index->entry[i].at);
    }
    put_u32(file + 4, crc32c(0, file + 8, size - 8));
    int fd = disk->open(disk->context, path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return disk_status(fd);
    }
    enum status status = disk_write_all(disk, fd, file, size, 0);
    (void)disk->close(disk->context, fd); /* not synced: a bad index is rebuilt */
    return status;
}

static enum status index_decode(const uint8_t *file, size_t size, uint64_t base, uint64_t bytes,
                                struct segment_index *out)
{
    uint32_t count = get_u32(file + 12);
    if (get_u32(file) != INDEX_MAGIC || get_u32(file + 8) != INDEX_FORMAT ||
        size != INDEX_HEADER_BYTES + (size_t)count * INDEX_ENTRY_BYTES ||
        get_u32(file + 4) != crc32c(0, file + 8, size - 8) || get_u64(file + 16) != base ||
        get_u64(file + 24) != bytes) {
        return STATUS_CORRUPT;
    }
    struct index_entry *entry = calloc(count > 0 ? count : 1, sizeof(*entry));
    if (entry == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = file + INDEX_HEADER_BYTES + (size_t)i * INDEX_ENTRY_BYTES;
        entry[i] = (struct index_entry){
            .offset = get_u64(at), .ms = get_u64(at + 8), .at = get_u64(at + 16)};
    }
    *out = (struct segment_index){.entry = entry, .count = count, .capacity = count};
    return STATUS_OK;
}

enum status segment_index_read(const struct disk *disk, const char *path, uint64_t base,
                               uint64_t bytes, struct segment_index *out)
{
    int fd = disk->open(disk->context, path, O_RDONLY);
    if (fd < 0) {
        return disk_status(fd);
    }
    int64_t size = disk->size(disk->context, fd);
    enum status status =
        size < INDEX_HEADER_BYTES || size > 64 * 1024 * 1024 ? STATUS_CORRUPT : STATUS_OK;
    AUTO(free_pointer) uint8_t *file = status == STATUS_OK ? malloc((size_t)size) : NULL;
    if (status == STATUS_OK && file == NULL) {
        status = STATUS_NO_MEMORY;
    }
    size_t got = 0;
    if (status == STATUS_OK) {
        status = disk_read_all(disk, fd, file, (size_t)size, 0, &got);
    }
    (void)disk->close(disk->context, fd);
    if (status != STATUS_OK) {
        return status;
    }
    return got == (size_t)size ? index_decode(file, got, base, bytes, out) : STATUS_CORRUPT;
}

enum status segment_scan_open(struct segment_scan *s, const struct disk *disk, const char *path,
                              uint64_t shard)
{
    int fd = disk->open(disk->context, path, O_RDONLY);
    if (fd < 0) {
        return disk_status(fd);
    }
    int64_t size = disk->size(disk->context, fd);
    if (size < 0) {
        (void)disk->close(disk->context, fd);
        return disk_status(size);
    }
    *s = (struct segment_scan){
        .disk = disk, .fd = fd, .shard = shard, .limit = (uint64_t)size, .payloads = true};
    return STATUS_OK;
}

void segment_scan_close(struct segment_scan *s)
{
    if (s->disk != NULL) {
        (void)s->disk->close(s->disk->context, s->fd);
    }
    buf_release(&s->chunk);
    *s = (struct segment_scan){0};
}

/* Makes `size` bytes at s->at lie in the chunk; *out_have is less only at the limit. */
static enum status scan_have(struct segment_scan *s, size_t size, size_t *out_have)
{
    uint64_t chunk_end = s->chunk_at + s->chunk.size;
    if (s->at < s->chunk_at || s->at + size > chunk_end) {
        size_t want = size > SCAN_CHUNK_BYTES ? size : SCAN_CHUNK_BYTES;
        uint64_t rest = s->limit - s->at;
        want = rest < want ? (size_t)rest : want;
        s->chunk.size = 0;
        enum status status = buf_reserve(&s->chunk, want > 0 ? want : 1);
        if (status != STATUS_OK) {
            return status;
        }
        size_t got = 0;
        status = disk_read_all(s->disk, s->fd, s->chunk.data, want, s->at, &got);
        if (status != STATUS_OK) {
            return status;
        }
        s->chunk.size = got;
        s->chunk_at = s->at;
        chunk_end = s->chunk_at + got;
    }
    uint64_t have = chunk_end - s->at;
    *out_have = have < size ? (size_t)have : size;
    return STATUS_OK;
}

enum status segment_scan_next(struct segment_scan *s, struct batch_header *out,
                              struct bytes *out_batch)
{
    if (s->at >= s->limit) {
        return STATUS_MORE;
    }
    size_t have = 0;
    enum status status = scan_have(s, BATCH_HEADER_BYTES, &have);
    if (status != STATUS_OK) {
        return status;
    }
    struct batch_header h;
    if (have < BATCH_HEADER_BYTES ||
        batch_header_decode(bytes_of(s->chunk.data + (s->at - s->chunk_at), have), &h) !=
            STATUS_OK ||
        h.shard != s->shard || batch_bytes(&h) > s->limit - s->at) {
        return STATUS_CORRUPT;
    }
    if (s->has_point && (h.base_offset != s->point.end || h.prev_crc != s->point.crc)) {
        return STATUS_CORRUPT;
    }
    size_t size = s->payloads ? batch_bytes(&h) : BATCH_HEADER_BYTES;
    status = scan_have(s, size, &have);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes batch = bytes_of(s->chunk.data + (s->at - s->chunk_at), size);
    if (have < size || (s->payloads && batch_decode(batch, &h) != STATUS_OK)) {
        return STATUS_CORRUPT;
    }
    s->at += batch_bytes(&h);
    s->has_point = true;
    s->point = (struct log_point){.end = batch_end(&h), .epoch = h.epoch, .crc = h.header_crc};
    *out = h;
    *out_batch = batch;
    return STATUS_OK;
}

enum status segment_index_build(const struct disk *disk, const char *path, uint64_t shard,
                                uint64_t bytes, struct segment_index *out)
{
    struct segment_scan scan = {0};
    enum status status = segment_scan_open(&scan, disk, path, shard);
    if (status != STATUS_OK) {
        return status;
    }
    scan.payloads = false;
    scan.limit = scan.limit < bytes ? scan.limit : bytes;
    struct segment_index index = {0};
    for (;;) {
        uint64_t at = scan.at;
        struct batch_header h;
        struct bytes batch;
        status = segment_scan_next(&scan, &h, &batch);
        if (status == STATUS_OK) {
            status = segment_index_reserve(&index);
        }
        if (status != STATUS_OK) {
            break;
        }
        segment_index_note(&index, h.base_offset, h.append_ms, at);
    }
    bool whole = status == STATUS_MORE && scan.at == bytes;
    segment_scan_close(&scan);
    if (!whole) {
        segment_index_release(&index);
        return status == STATUS_MORE ? STATUS_CORRUPT : status;
    }
    *out = index;
    return STATUS_OK;
}

/* Damage has no length of its own: the next header that is one ends it. Anything else in a payload
 * that looks like the magic fails the header's checksum. */
bool segment_scan_resync(struct segment_scan *s, uint64_t at, uint64_t above, uint64_t *out)
{
    uint8_t magic[4];
    put_u32(magic, BATCH_MAGIC);
    struct buf chunk = {0};
    bool found = false;
    while (!found && at + BATCH_HEADER_BYTES <= s->limit &&
           buf_reserve(&chunk, SCAN_CHUNK_BYTES) == STATUS_OK) {
        uint64_t rest = s->limit - at;
        size_t want = rest < SCAN_CHUNK_BYTES ? (size_t)rest : SCAN_CHUNK_BYTES, got = 0;
        if (disk_read_all(s->disk, s->fd, chunk.data, want, at, &got) != STATUS_OK ||
            got < BATCH_HEADER_BYTES) {
            break;
        }
        size_t from = 0, last = got - BATCH_HEADER_BYTES;
        while (!found && from <= last) {
            const uint8_t *hit = memmem(chunk.data + from, got - from, magic, sizeof(magic));
            size_t hit_at = hit == NULL ? SIZE_MAX : (size_t)(hit - chunk.data);
            if (hit_at > last) {
                break;
            }
            struct batch_header h;
            found = batch_header_decode(bytes_of(hit, got - hit_at), &h) == STATUS_OK &&
                    h.shard == s->shard && h.base_offset > above;
            *out = found ? h.base_offset : *out;
            from = hit_at + 1;
        }
        at += last + 1;
    }
    buf_release(&chunk);
    return found;
}
