/* The operating system's files as a broker uses them: one seam, so that tests can fail the n-th
 * write, tear it, lose what was not synced, or fill the disk (tests/support/fake_disk.h).
 *
 * Every function returns a result >= 0 or a negated errno, and may be called from any thread.
 * Paths are as the caller gives them. Short reads and writes are the caller's to continue;
 * disk_read_all() and disk_write_all() do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/status.h"

struct disk_space {
    uint64_t free_bytes; /* for an unprivileged process */
    uint64_t total_bytes;
};

struct disk {
    void *context;
    bool is_os; /* descriptors are the kernel's own: io_uring may write to them */
    int (*open)(void *context, const char *path, int flags);
    int (*close)(void *context, int fd);
    ssize_t (*read)(void *context, int fd, void *to, size_t size, uint64_t at);
    ssize_t (*write)(void *context, int fd, const struct iovec *from, int count, uint64_t at);
    int (*sync)(void *context, int fd); /* fdatasync */
    /* Starts writing a range out, without waiting and without promising anything: the sync that
     * comes later has less to do. */
    void (*begin_sync)(void *context, int fd, uint64_t at, uint64_t size);
    int (*sync_all)(void *context, int fd);              /* syncfs of the file's filesystem */
    int (*sync_dir)(void *context, const char *path);    /* names in a directory */
    int (*resize)(void *context, int fd, uint64_t size); /* ftruncate */
    int64_t (*size)(void *context, int fd);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*mkdir)(void *context, const char *path);
    int (*rmdir)(void *context, const char *path);
    int (*space)(void *context, const char *path, struct disk_space *out);
    /* Calls `each` with every name but "." and "..", in no order, until it returns non-zero. */
    int (*list)(void *context, const char *path, int (*each)(void *arg, const char *name),
                void *arg);
};

/* The real one. */
const struct disk *disk_os(void);

/* struct iovec has no const; writing does not change what it points to. */
static inline struct iovec disk_iovec(const void *data, size_t size)
{
    union {
        const void *in;
        void *out;
    } pointer = {.in = data};
    return (struct iovec){.iov_base = pointer.out, .iov_len = size};
}

/* OK for >= 0; DISK_FULL for ENOSPC and EDQUOT; NOT_FOUND for ENOENT; EXISTS; DENIED for EACCES,
 * EPERM and EROFS; NO_MEMORY; BUSY for EMFILE and ENFILE; else IO. */
enum status disk_status(int64_t result);

/* Reads up to `size` bytes, fewer only at the end of the file; *out_got says how many. */
NODISCARD enum status disk_read_all(const struct disk *disk, int fd, void *to, size_t size,
                                    uint64_t at, size_t *out_got);
/* The iovec array is used up. */
NODISCARD enum status disk_writev_all(const struct disk *disk, int fd, struct iovec *iov, int count,
                                      uint64_t at);
NODISCARD enum status disk_write_all(const struct disk *disk, int fd, const void *from, size_t size,
                                     uint64_t at);

/* Replaces `path` as one step that survives a crash: path.tmp, sync, rename, sync of `dir`. */
NODISCARD enum status disk_replace_file(const struct disk *disk, const char *dir, const char *path,
                                        const void *data, size_t size);
