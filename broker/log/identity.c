#include "broker/log/identity.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "broker/log/private.h"

enum {
    IDENTITY_MAGIC = 0x59444957,
    BOOT_MAGIC = 0x4f4f4257,
    COPY_BYTES = 512,
    COPY_STRIDE = 4096,
    IDENTITY_COPIES = 3,
    BOOT_SLOTS = 2,
};

static enum status read_file(const struct disk *disk, const char *dir, const char *name,
                             uint8_t *to, size_t size, int64_t *out_size)
{
    memset(to, 0, size);
    char path[STORE_PATH_BYTES];
    log_path_join(path, dir, name);
    int fd = disk->open(disk->context, path, O_RDONLY);
    if (fd < 0) {
        return disk_status(fd);
    }
    size_t got = 0;
    for (size_t at = 0; at < size; at += COPY_STRIDE) {
        status_ignore(disk_read_all(disk, fd, to + at, COPY_BYTES, at, &got),
                      "an unreadable copy fails its check");
    }
    *out_size = disk->size(disk->context, fd);
    (void)disk->close(disk->context, fd);
    return STATUS_OK;
}

static bool copy_is_good(const uint8_t *at, uint32_t magic)
{
    return get_u32(at) == magic && get_u32(at + 4) == crc32c(0, at + 8, COPY_BYTES - 8);
}

enum status disk_identity_read(const struct disk *disk, const char *dir, struct identity *out)
{
    static_assert(CLUSTER_ID_BYTES == 16 && DISK_ID_BYTES == 16, "the layout above");
    uint8_t file[IDENTITY_COPIES * COPY_STRIDE];
    int64_t size = 0;
    enum status status = read_file(disk, dir, "identity", file, sizeof(file), &size);
    if (status != STATUS_OK) {
        return status;
    }
    status = STATUS_CORRUPT;
    for (size_t i = 0; i < IDENTITY_COPIES; i++) {
        const uint8_t *at = file + i * COPY_STRIDE;
        if (!copy_is_good(at, IDENTITY_MAGIC)) {
            continue;
        }
        if (get_u32(at + 8) != DIRECTORY_FORMAT) {
            status = STATUS_UNSUPPORTED;
            out->format = get_u32(at + 8);
            continue;
        }
        struct identity identity = {.broker = get_u32(at + 12), .format = DIRECTORY_FORMAT};
        memcpy(identity.cluster_id, at + 16, CLUSTER_ID_BYTES);
        memcpy(identity.disk_id, at + 32, DISK_ID_BYTES);
        *out = identity;
        return STATUS_OK;
    }
    return status;
}

enum status disk_identity_write(const struct disk *disk, const char *dir,
                                const struct identity *identity)
{
    uint8_t file[IDENTITY_COPIES * COPY_STRIDE] = {0};
    for (size_t i = 0; i < IDENTITY_COPIES; i++) {
        uint8_t *at = file + i * COPY_STRIDE;
        put_u32(at, IDENTITY_MAGIC);
        put_u32(at + 8, DIRECTORY_FORMAT);
        put_u32(at + 12, identity->broker);
        memcpy(at + 16, identity->cluster_id, CLUSTER_ID_BYTES);
        memcpy(at + 32, identity->disk_id, DISK_ID_BYTES);
        put_u32(at + 4, crc32c(0, at + 8, COPY_BYTES - 8));
    }
    char path[STORE_PATH_BYTES];
    log_path_join(path, dir, "identity");
    return disk_replace_file(disk, dir, path, file, sizeof(file));
}

enum status disk_boot_read(const struct disk *disk, const char *dir,
                           const struct identity *identity, uint64_t *out_boot)
{
    uint8_t file[BOOT_SLOTS * COPY_STRIDE];
    int64_t size = 0;
    enum status status = read_file(disk, dir, "boot", file, sizeof(file), &size);
    if (status != STATUS_OK) {
        return status;
    }
    bool found = false, lost = false;
    uint64_t boot = 0;
    for (size_t i = 0; i < BOOT_SLOTS; i++) {
        const uint8_t *at = file + i * COPY_STRIDE;
        if (copy_is_good(at, BOOT_MAGIC) &&
            memcmp(at + 16, identity->disk_id, DISK_ID_BYTES) == 0) {
            uint64_t value = get_u64(at + 8);
            boot = !found || value > boot ? value : boot;
            found = true;
        } else if (size < 0 || (uint64_t)size > i * COPY_STRIDE) {
            lost = true;
        }
    }
    if (!found) {
        return STATUS_CORRUPT;
    }
    /* The slot that is gone may have been the newer one, so that its number was used (R6). The next
     * but one goes into that slot again, so never over the good one. */
    *out_boot = boot + (lost ? 2 : 0);
    return STATUS_OK;
}

static enum status write_slot(const struct disk *disk, int fd, const struct identity *identity,
                              uint64_t boot)
{
    uint8_t slot[COPY_BYTES] = {0};
    put_u32(slot, BOOT_MAGIC);
    put_u64(slot + 8, boot);
    memcpy(slot + 16, identity->disk_id, DISK_ID_BYTES);
    put_u32(slot + 4, crc32c(0, slot + 8, COPY_BYTES - 8));
    enum status status =
        disk_write_all(disk, fd, slot, sizeof(slot), (boot % BOOT_SLOTS) * COPY_STRIDE);
    return status == STATUS_OK ? disk_status(disk->sync(disk->context, fd)) : status;
}

enum status disk_boot_write(const struct disk *disk, const char *dir,
                            const struct identity *identity, uint64_t boot)
{
    char path[STORE_PATH_BYTES];
    log_path_join(path, dir, "boot");
    int fd = disk->open(disk->context, path, O_RDWR | O_CREAT);
    if (fd < 0) {
        return disk_status(fd);
    }
    enum status status = write_slot(disk, fd, identity, boot);
    /* The other slot has this already, or is damaged: see disk_boot_read(). */
    if (status == STATUS_OK && boot > 0) {
        status = write_slot(disk, fd, identity, boot - 1);
    }
    (void)disk->close(disk->context, fd);
    return status == STATUS_OK ? disk_status(disk->sync_dir(disk->context, dir)) : status;
}
