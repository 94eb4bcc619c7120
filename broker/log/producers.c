#include "broker/log/producers.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "broker/log/private.h"

enum { PRODUCERS_MAGIC = 0x4f525057, PRODUCERS_HEADER = 16, PRODUCERS_MAX = 64 * 1024 * 1024 };

void log_producers_write(const struct disk *disk, const char *dir, uint64_t shard, uint64_t base,
                         struct bytes table)
{
    uint8_t header[PRODUCERS_HEADER];
    put_u32(header, PRODUCERS_MAGIC);
    put_u64(header + 8, base);
    uint32_t crc = crc32c(0, header + 8, 8);
    put_u32(header + 4, crc32c(crc, table.data, table.size));
    char path[STORE_PATH_BYTES];
    log_path_segment(path, dir, shard, base, "producers");
    int fd = disk->open(disk->context, path, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return;
    }
    struct iovec parts[2] = {disk_iovec(header, sizeof(header)),
                             disk_iovec(table.data, table.size)};
    status_ignore(disk_writev_all(disk, fd, parts, table.size > 0 ? 2 : 1, 0),
                  "a bad table is as good as none");
    (void)disk->close(disk->context, fd);
}

enum status log_producers_read(const struct disk *disk, const char *dir, uint64_t shard,
                               uint64_t base, struct buf *out)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, dir, shard, base, "producers");
    int fd = disk->open(disk->context, path, O_RDONLY);
    if (fd < 0) {
        return disk_status(fd);
    }
    int64_t size = disk->size(disk->context, fd);
    enum status status =
        size < PRODUCERS_HEADER || size > PRODUCERS_MAX ? STATUS_CORRUPT : STATUS_OK;
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
    if (got < PRODUCERS_HEADER || get_u32(file) != PRODUCERS_MAGIC || get_u64(file + 8) != base ||
        get_u32(file + 4) != crc32c(0, file + 8, got - 8)) {
        return STATUS_CORRUPT;
    }
    out->size = 0;
    return buf_append(out, file + PRODUCERS_HEADER, got - PRODUCERS_HEADER);
}

enum status shard_log_put_producers(struct shard_log *log, uint64_t base, struct bytes table)
{
    CHECK(log->segment_count > 0);
    struct segment *segment = log->segment[log->segment_count - 1];
    CHECK(segment->base == base);
    if (table.size > PRODUCERS_MAX - PRODUCERS_HEADER) {
        return STATUS_TOO_LARGE;
    }
    enum status status = log_ops_reserve(log->store, 1);
    void *copy = status == STATUS_OK ? malloc(table.size > 0 ? table.size : 1) : NULL;
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (table.size > 0) {
        memcpy(copy, table.data, table.size);
    }
    /* Behind the record that began the segment: what is durable of that, is decided there. */
    struct op op = {.type = OP_PRODUCERS,
                    .lsn = log->store->last_lsn,
                    .position = log->store->last_position,
                    .at = table.size,
                    .shard = log->journal.id,
                    .segment = segment,
                    .data = copy,
                    .point = {.end = base}};
    log_ops_push(log->store, &op);
    return STATUS_OK;
}

enum status shard_log_get_producers(struct shard_log *log, struct buf *out, uint64_t *out_base)
{
    for (uint32_t i = log->segment_count; i > 0; i--) {
        uint64_t base = log->segment[i - 1]->base;
        enum status status =
            log_producers_read(log->store->disk, log->store->dir, log->journal.id, base, out);
        if (status == STATUS_OK) {
            *out_base = base;
            return STATUS_OK;
        }
        if (status != STATUS_NOT_FOUND && status != STATUS_CORRUPT) {
            return status;
        }
    }
    return STATUS_NOT_FOUND;
}

enum status shard_log_producers_at(struct shard_log *log, uint64_t base, struct buf *out)
{
    return log_producers_read(log->store->disk, log->store->dir, log->journal.id, base, out);
}
