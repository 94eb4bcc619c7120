#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "broker/journal/private.h"

enum { ZEROS_BYTES = 1024 * 1024 };

void journal_file_path(const struct journal_options *options, uint32_t number,
                       char out[JOURNAL_PATH_BYTES])
{
    int length = snprintf(out, JOURNAL_PATH_BYTES, "%s/%04u", options->dir, number);
    CHECK(length > 0 && length < JOURNAL_PATH_BYTES);
}

/* Every byte is written, because a write into a merely allocated extent costs the filesystem a
 * commit of its own. The file gets its name only when it is complete. */
static enum status prewrite(const struct disk *disk, int fd, uint64_t bytes)
{
    AUTO(free_pointer) uint8_t *zeros = aligned_alloc(BLOCK_UNIT, ZEROS_BYTES);
    if (zeros == NULL) {
        return STATUS_NO_MEMORY;
    }
    memset(zeros, 0, ZEROS_BYTES);
    for (uint64_t at = 0; at < bytes; at += ZEROS_BYTES) {
        uint64_t size = bytes - at < ZEROS_BYTES ? bytes - at : ZEROS_BYTES;
        enum status status = disk_write_all(disk, fd, zeros, size, at);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return disk_status(disk->sync(disk->context, fd));
}

enum status journal_make_file(const struct journal_options *options, uint32_t number)
{
    const struct disk *disk = options->disk != NULL ? options->disk : disk_os();
    char path[JOURNAL_PATH_BYTES], temporary[JOURNAL_PATH_BYTES + 8];
    journal_file_path(options, number, path);
    (void)snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = disk->open(disk->context, temporary, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return disk_status(fd);
    }
    enum status status = prewrite(disk, fd, options->file_bytes);
    int closed = disk->close(disk->context, fd);
    if (status == STATUS_OK) {
        status = disk_status(closed);
    }
    if (status != STATUS_OK) {
        (void)disk->unlink(disk->context, temporary);
        return status;
    }
    status = disk_status(disk->rename(disk->context, temporary, path));
    return status != STATUS_OK ? status : disk_status(disk->sync_dir(disk->context, options->dir));
}

static int file_flags(const struct journal *j, bool direct)
{
    int flags = j->options.read_only ? O_RDONLY : O_RDWR;
    return direct ? flags | O_DIRECT | O_DSYNC : flags;
}

/* O_DIRECT where the filesystem can; else every write is followed by a sync. */
static enum status file_open(struct journal *j, uint32_t number)
{
    const struct disk *disk = j->disk;
    char path[JOURNAL_PATH_BYTES];
    journal_file_path(&j->options, number, path);
    int fd = disk->open(disk->context, path, file_flags(j, j->direct));
    if (fd == -EINVAL && j->direct && !j->started) {
        j->direct = false;
        fd = disk->open(disk->context, path, file_flags(j, false));
    }
    if (fd < 0) {
        return disk_status(fd);
    }
    int64_t size = disk->size(disk->context, fd);
    if (size < 0) {
        (void)disk->close(disk->context, fd);
        return disk_status(size);
    }
    j->file[number] = (struct journal_file){
        .state = FILE_OLD, .fd = fd, .bytes = (uint64_t)size / BLOCK_UNIT * BLOCK_UNIT};
    if (number >= j->file_count) {
        j->file_count = number + 1;
    }
    return STATUS_OK;
}

struct names {
    bool present[JOURNAL_FILES_LIMIT];
};

static int each_name(void *arg, const char *name)
{
    struct names *names = arg;
    unsigned number = 0;
    if (strlen(name) != 4) {
        return 0;
    }
    for (int i = 0; i < 4; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return 0;
        }
        number = number * 10 + (unsigned)(name[i] - '0');
    }
    if (number < JOURNAL_FILES_LIMIT) {
        names->present[number] = true;
    }
    return 0;
}

enum status journal_files_open(struct journal *j, struct error *error)
{
    struct names names = {0};
    int listed = j->disk->list(j->disk->context, j->options.dir, each_name, &names);
    if (listed < 0) {
        return error_set(error, disk_status(listed), "cannot list %s: %s", j->options.dir,
                         strerror(-listed));
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < JOURNAL_FILES_LIMIT; i++) {
        if (!names.present[i]) {
            continue;
        }
        enum status status = file_open(j, i);
        if (status != STATUS_OK) {
            return error_set(error, status, "cannot open journal file %s/%04u: %s", j->options.dir,
                             i, status_text(status));
        }
        found++;
    }
    if (found == 0) {
        return error_set(error, STATUS_NOT_FOUND, "%s holds no journal file", j->options.dir);
    }
    return STATUS_OK;
}

void journal_files_close(struct journal *j)
{
    for (uint32_t i = 0; i < j->file_count; i++) {
        if (j->file[i].state != FILE_ABSENT) {
            (void)j->disk->close(j->disk->context, j->file[i].fd);
            j->file[i].state = FILE_ABSENT;
        }
    }
}

uint32_t journal_wants_file(const struct journal *j)
{
    uint32_t present = 0, free_files = 0, gap = UINT32_MAX;
    for (uint32_t i = 0; i < j->file_count; i++) {
        present += j->file[i].state != FILE_ABSENT ? 1 : 0;
        free_files += j->file[i].state == FILE_FREE ? 1 : 0;
        if (j->file[i].state == FILE_ABSENT && gap == UINT32_MAX) {
            gap = i;
        }
    }
    if (!j->start_done || j->out != STATUS_OK || free_files >= 3 ||
        present >= j->options.files_max) {
        return UINT32_MAX;
    }
    return gap != UINT32_MAX ? gap : j->file_count;
}

enum status journal_add_file(struct journal *j, uint32_t number)
{
    CHECK(number < JOURNAL_FILES_LIMIT);
    CHECK(j->file[number].state == FILE_ABSENT);
    enum status status = file_open(j, number);
    if (status == STATUS_OK) {
        j->file[number].state = FILE_FREE;
    }
    return status;
}
