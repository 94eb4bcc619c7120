#include "broker/disk/disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"

static int os_open(void *context, const char *path, int flags)
{
    (void)context;
    int fd = open(path, flags | O_CLOEXEC, 0640);
    return fd < 0 ? -errno : fd;
}

static int os_close(void *context, int fd)
{
    (void)context;
    return close(fd) < 0 ? -errno : 0;
}

static ssize_t os_read(void *context, int fd, void *to, size_t size, uint64_t at)
{
    (void)context;
    ssize_t got = pread(fd, to, size, (off_t)at);
    return got < 0 ? -errno : got;
}

static ssize_t os_write(void *context, int fd, const struct iovec *from, int count, uint64_t at)
{
    (void)context;
    ssize_t put = pwritev(fd, from, count, (off_t)at);
    return put < 0 ? -errno : put;
}

static int os_sync(void *context, int fd)
{
    (void)context;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static void os_begin_sync(void *context, int fd, uint64_t at, uint64_t size)
{
    (void)context;
    (void)sync_file_range(fd, (off_t)at, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

static int os_sync_all(void *context, int fd)
{
    (void)context;
    return syncfs(fd) < 0 ? -errno : 0;
}

static int os_sync_dir(void *context, const char *path)
{
    (void)context;
    AUTO(close_fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int os_resize(void *context, int fd, uint64_t size)
{
    (void)context;
    return ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
}

static int64_t os_size(void *context, int fd)
{
    (void)context;
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : st.st_size;
}

static int os_rename(void *context, const char *from, const char *to)
{
    (void)context;
    return rename(from, to) < 0 ? -errno : 0;
}

static int os_unlink(void *context, const char *path)
{
    (void)context;
    return unlink(path) < 0 ? -errno : 0;
}

static int os_mkdir(void *context, const char *path)
{
    (void)context;
    return mkdir(path, 0750) < 0 ? -errno : 0;
}

static int os_rmdir(void *context, const char *path)
{
    (void)context;
    return rmdir(path) < 0 ? -errno : 0;
}

static int os_space(void *context, const char *path, struct disk_space *out)
{
    (void)context;
    struct statvfs st;
    if (statvfs(path, &st) < 0) {
        return -errno;
    }
    *out = (struct disk_space){.free_bytes = (uint64_t)st.f_bavail * st.f_frsize,
                               .total_bytes = (uint64_t)st.f_blocks * st.f_frsize};
    return 0;
}

static int os_list(void *context, const char *path, int (*each)(void *arg, const char *name),
                   void *arg)
{
    (void)context;
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return -errno;
    }
    int result = 0;
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = each(arg, entry->d_name);
        }
    }
    (void)closedir(dir);
    return result;
}

const struct disk *disk_os(void)
{
    static const struct disk os = {
        .is_os = true,
        .open = os_open,
        .close = os_close,
        .read = os_read,
        .write = os_write,
        .sync = os_sync,
        .begin_sync = os_begin_sync,
        .sync_all = os_sync_all,
        .sync_dir = os_sync_dir,
        .resize = os_resize,
        .size = os_size,
        .rename = os_rename,
        .unlink = os_unlink,
        .mkdir = os_mkdir,
        .rmdir = os_rmdir,
        .space = os_space,
        .list = os_list,
    };
    return &os;
}

enum status disk_status(int64_t result)
{
    if (result >= 0) {
        return STATUS_OK;
    }
    switch (-result) {
    case ENOSPC:
    case EDQUOT:
        return STATUS_DISK_FULL;
    case ENOENT:
        return STATUS_NOT_FOUND;
    case EEXIST:
    case ENOTEMPTY:
        return STATUS_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return STATUS_DENIED;
    case ENOMEM:
        return STATUS_NO_MEMORY;
    case EMFILE:
    case ENFILE:
        return STATUS_BUSY;
    default:
        return STATUS_IO;
    }
}

enum status disk_read_all(const struct disk *disk, int fd, void *to, size_t size, uint64_t at,
                          size_t *out_got)
{
    size_t got = 0;
    while (got < size) {
        ssize_t n = disk->read(disk->context, fd, (uint8_t *)to + got, size - got, at + got);
        if (n == -EINTR) {
            continue;
        }
        if (n < 0) {
            return disk_status(n);
        }
        if (n == 0) {
            break;
        }
        got += (size_t)n;
    }
    *out_got = got;
    return STATUS_OK;
}

enum status disk_writev_all(const struct disk *disk, int fd, struct iovec *iov, int count,
                            uint64_t at)
{
    while (count > 0) {
        ssize_t n = disk->write(disk->context, fd, iov, count < IOV_MAX ? count : IOV_MAX, at);
        if (n == -EINTR) {
            continue;
        }
        if (n <= 0) {
            return n == 0 ? STATUS_IO : disk_status(n);
        }
        at += (uint64_t)n;
        size_t left = (size_t)n;
        while (count > 0 && left >= iov->iov_len) {
            left -= iov->iov_len;
            iov++;
            count--;
        }
        if (count > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + left;
            iov->iov_len -= left;
        }
    }
    return STATUS_OK;
}

enum status disk_write_all(const struct disk *disk, int fd, const void *from, size_t size,
                           uint64_t at)
{
    struct iovec iov = disk_iovec(from, size);
    return disk_writev_all(disk, fd, &iov, size > 0 ? 1 : 0, at);
}

enum status disk_replace_file(const struct disk *disk, const char *dir, const char *path,
                              const void *data, size_t size)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof(temporary), "%s.tmp", path);
    if (length < 0 || (size_t)length >= sizeof(temporary)) {
        return STATUS_INVALID;
    }
    int fd = disk->open(disk->context, temporary, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return disk_status(fd);
    }
    enum status status = disk_write_all(disk, fd, data, size, 0);
    if (status == STATUS_OK) {
        status = disk_status(disk->sync(disk->context, fd));
    }
    int closed = disk->close(disk->context, fd);
    if (status == STATUS_OK) {
        status = disk_status(closed);
    }
    if (status == STATUS_OK) {
        status = disk_status(disk->rename(disk->context, temporary, path));
    }
    if (status == STATUS_OK) {
        status = disk_status(disk->sync_dir(disk->context, dir));
    }
    return status;
}
