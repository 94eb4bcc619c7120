/* The C library's calls, recorded. Each does its work by the kernel's own call, under one lock, so
 * that the order of the trace is the order of events. */
#include "tests/crash/record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/check.h"
#include "tests/crash/turns.h"

enum { FDS = 4096, NONE = -1 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct trace *trace;
    char root[256];
    size_t root_length;
    struct image live;     /* names only */
    int32_t node[FDS];     /* 1 + the node that a descriptor stands for, 0: none of ours */
    bool direct[FDS];      /* O_DSYNC */
    bool forgettable[FDS]; /* a directory whose sync is forgotten */
    uint64_t offset[FDS];  /* of write() */
    uint32_t nodes;
    uint64_t calls, fail_at;
    int fail_errno;
    const char *forget;
} rec;

void record_begin(const char *root, struct trace *trace)
{
    (void)pthread_mutex_lock(&mutex);
    CHECK(rec.trace == NULL);
    memset(rec.node, 0, sizeof(rec.node));
    rec.trace = trace;
    (void)snprintf(rec.root, sizeof(rec.root), "%s", root);
    rec.root_length = strlen(rec.root);
    image_copy(&trace->base, &rec.live);
    rec.nodes = rec.live.node_count;
    rec.calls = rec.fail_at = 0;
    (void)pthread_mutex_unlock(&mutex);
}

void record_end(void)
{
    (void)pthread_mutex_lock(&mutex);
    image_release(&rec.live);
    rec.trace = NULL;
    (void)pthread_mutex_unlock(&mutex);
}

void record_note(uint64_t what, uint64_t value)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    if (rec.trace != NULL) {
        struct trace_op op = {.kind = TRACE_NOTE, .at = what, .size = value};
        trace_add(rec.trace, &op);
    }
    (void)pthread_mutex_unlock(&mutex);
}

void record_fail(uint64_t n, int error)
{
    (void)pthread_mutex_lock(&mutex);
    rec.calls = 0;
    rec.fail_at = n;
    rec.fail_errno = error;
    (void)pthread_mutex_unlock(&mutex);
}

uint64_t record_calls(void)
{
    return rec.calls;
}

void record_forget_directories(const char *below)
{
    rec.forget = below;
}

/* ---- under the lock ---- */

static bool fails(void)
{
    rec.calls++;
    if (rec.calls != rec.fail_at) {
        return false;
    }
    errno = rec.fail_errno;
    return true;
}

/* The directory's node and the last part of a path below the root; false: another path. */
static bool resolve(const char *path, uint32_t *out_dir, char out_name[TRACE_NAME_BYTES])
{
    if (rec.trace == NULL || strncmp(path, rec.root, rec.root_length) != 0 ||
        (path[rec.root_length] != '/' && path[rec.root_length] != '\0')) {
        return false;
    }
    path += rec.root_length;
    uint32_t dir = TRACE_ROOT;
    out_name[0] = '\0';
    while (*path != '\0') {
        while (*path == '/') {
            path++;
        }
        size_t length = strcspn(path, "/");
        CHECK(length < TRACE_NAME_BYTES);
        if (out_name[0] != '\0') {
            const struct trace_entry *entry = image_find(&rec.live, dir, out_name);
            if (entry == NULL) {
                return false; /* the real call has failed, or will */
            }
            dir = entry->node;
        }
        memcpy(out_name, path, length);
        out_name[length] = '\0';
        path += length;
    }
    *out_dir = dir;
    return true;
}

static void add(struct trace_op op)
{
    trace_add(rec.trace, &op);
}

static void link_node(uint32_t dir, const char *name, uint32_t node, bool is_dir)
{
    struct trace_op op = {.kind = TRACE_LINK, .node = node, .dir = dir, .is_dir = is_dir};
    (void)snprintf(op.name, sizeof(op.name), "%s", name);
    add(op);
    struct image *live = &rec.live;
    if (live->entry_count == live->entry_capacity) {
        live->entry_capacity = 2 * live->entry_capacity + 64;
        live->entry = realloc(live->entry, live->entry_capacity * sizeof(*live->entry));
        CHECK(live->entry != NULL);
    }
    struct trace_entry *entry = &live->entry[live->entry_count++];
    *entry = (struct trace_entry){.dir = dir, .node = node};
    memcpy(entry->name, op.name, sizeof(entry->name));
}

static bool is_below_data(uint32_t dir, const char *name)
{
    size_t length = strlen(name);
    (void)dir; /* SQLite's shared memory: no file, as far as a power failure goes */
    return length > 4 && strcmp(name + length - 4, "-shm") == 0;
}

static int open_recorded(const char *path, int flags, mode_t mode)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    uint32_t dir = 0;
    char name[TRACE_NAME_BYTES];
    bool ours = resolve(path, &dir, name) && !is_below_data(dir, name);
    const struct trace_entry *entry =
        ours && name[0] != '\0' ? image_find(&rec.live, dir, name) : NULL;
    bool creates = ours && name[0] != '\0' && entry == NULL && (flags & O_CREAT) != 0;
    int fd = creates && fails() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0 && fd < FDS) {
        rec.node[fd] = 0;
    }
    if (fd >= 0 && ours) {
        CHECK(fd < FDS);
        uint32_t node = TRACE_ROOT;
        if (entry != NULL) {
            node = entry->node;
        } else if (creates) {
            node = rec.nodes++;
            link_node(dir, name, node, false);
        }
        if (entry != NULL && (flags & O_TRUNC) != 0) {
            add((struct trace_op){.kind = TRACE_RESIZE, .node = node});
        }
        rec.node[fd] = 1 + (int32_t)node;
        rec.direct[fd] = (flags & (O_DSYNC | O_SYNC)) != 0;
        rec.offset[fd] = 0;
        rec.forgettable[fd] = rec.forget != NULL && (flags & O_DIRECTORY) != 0 &&
                              strstr(path + rec.root_length, rec.forget) != NULL;
    }
    (void)pthread_mutex_unlock(&mutex);
    return fd;
}

static int node_of(int fd)
{
    return rec.trace != NULL && fd >= 0 && fd < FDS ? rec.node[fd] - 1 : NONE;
}

static void add_write(int fd, const struct iovec *from, int count, uint64_t at, size_t size)
{
    uint8_t *data = malloc(size + 1);
    CHECK(data != NULL);
    size_t done = 0;
    for (int i = 0; i < count && done < size; i++) {
        size_t part = from[i].iov_len < size - done ? from[i].iov_len : size - done;
        memcpy(data + done, from[i].iov_base, part);
        done += part;
    }
    uint32_t node = (uint32_t)node_of(fd);
    add((struct trace_op){.kind = TRACE_WRITE, .node = node, .at = at, .size = size, .data = data});
    if (rec.direct[fd]) {
        add((struct trace_op){.kind = TRACE_SYNC, .node = node});
    }
}

static ssize_t write_recorded(int fd, const struct iovec *from, int count, off_t at)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    bool ours = node_of(fd) != NONE;
    bool at_place = at < 0;
    uint64_t to = at_place && ours ? rec.offset[fd] : (uint64_t)at;
    ssize_t put = -1;
    if (!ours || !fails()) {
        put = at_place ? syscall(SYS_writev, fd, from, count)
                       : syscall(SYS_pwritev, fd, from, count, at, 0);
    }
    if (ours && put > 0) {
        add_write(fd, from, count, to, (size_t)put);
        rec.offset[fd] += at_place ? (uint64_t)put : 0;
    }
    (void)pthread_mutex_unlock(&mutex);
    return put;
}

static int sync_recorded(int fd, long call)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    int node = node_of(fd);
    int result = 0;
    if (node == NONE) {
        result = (int)syscall(call, fd);
    } else if (fails()) {
        add((struct trace_op){.kind = TRACE_SYNC_FAILED, .node = (uint32_t)node});
        result = -1;
    } else {
        /* Memory is behind it: nothing to wait for. */
        if (!rec.forgettable[fd]) {
            add((struct trace_op){.kind = call == SYS_syncfs ? TRACE_SYNC_ALL : TRACE_SYNC,
                                  .node = (uint32_t)node});
        }
    }
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

static int resize_recorded(int fd, off_t size)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    int node = node_of(fd);
    int result = node != NONE && fails() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0 && node != NONE) {
        add((struct trace_op){.kind = TRACE_RESIZE, .node = (uint32_t)node, .at = (uint64_t)size});
    }
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

static void forget_name(uint32_t dir, const char *name)
{
    struct trace_entry *entry = image_find(&rec.live, dir, name);
    if (entry != NULL) {
        *entry = rec.live.entry[--rec.live.entry_count];
    }
}

static int unlink_recorded(const char *path, int flags)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    uint32_t dir = 0;
    char name[TRACE_NAME_BYTES];
    const struct trace_entry *entry =
        resolve(path, &dir, name) ? image_find(&rec.live, dir, name) : NULL;
    int result = entry != NULL && fails() ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, flags);
    if (result == 0 && entry != NULL) {
        struct trace_op op = {.kind = TRACE_UNLINK, .node = entry->node, .dir = dir};
        memcpy(op.name, name, sizeof(name));
        add(op);
        forget_name(dir, name);
    }
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

static int rename_recorded(const char *from, const char *to)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    struct trace_op op = {.kind = TRACE_RENAME};
    const struct trace_entry *entry =
        resolve(from, &op.dir, op.name) ? image_find(&rec.live, op.dir, op.name) : NULL;
    bool ours = entry != NULL && resolve(to, &op.to_dir, op.to_name);
    int result = ours && fails() ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
    if (result == 0 && ours) {
        op.node = entry->node;
        forget_name(op.to_dir, op.to_name);
        struct trace_entry *moved = image_find(&rec.live, op.dir, op.name);
        moved->dir = op.to_dir;
        memcpy(moved->name, op.to_name, sizeof(moved->name));
        add(op);
    }
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

static int mkdir_recorded(const char *path, mode_t mode)
{
    turns_pass();
    (void)pthread_mutex_lock(&mutex);
    uint32_t dir = 0;
    char name[TRACE_NAME_BYTES];
    bool ours = resolve(path, &dir, name) && name[0] != '\0';
    bool there = ours && image_find(&rec.live, dir, name) != NULL;
    int result = ours && !there && fails() ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0 && ours) {
        link_node(dir, name, rec.nodes++, true);
    }
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

/* ---- what programs and libraries call: parameters have the names that glibc gives them ---- */

#define MODE_OF(flags, mode)                          \
    do {                                              \
        if (((flags) & (O_CREAT | O_TMPFILE)) != 0) { \
            va_list list;                             \
            va_start(list, flags);                    \
            (mode) = (mode_t)va_arg(list, unsigned);  \
            va_end(list);                             \
        }                                             \
    } while (0)

int open(const char *file, int oflag, ...)
{
    mode_t mode = 0;
    MODE_OF(oflag, mode);
    return open_recorded(file, oflag, mode);
}

int open64(const char *file, int oflag, ...)
{
    mode_t mode = 0;
    MODE_OF(oflag, mode);
    return open_recorded(file, oflag, mode);
}

int close(int fd)
{
    (void)pthread_mutex_lock(&mutex);
    if (fd >= 0 && fd < FDS) {
        rec.node[fd] = 0;
    }
    int result = (int)syscall(SYS_close, fd);
    (void)pthread_mutex_unlock(&mutex);
    return result;
}

static struct iovec one(const void *from, size_t size)
{
    union {
        const void *in;
        void *out;
    } pointer = {.in = from};
    return (struct iovec){.iov_base = pointer.out, .iov_len = size};
}

ssize_t write(int fd, const void *buf, size_t n)
{
    struct iovec iov = one(buf, n);
    return write_recorded(fd, &iov, 1, -1);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    struct iovec iov = one(buf, n);
    return write_recorded(fd, &iov, 1, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off_t offset)
{
    return pwrite(fd, buf, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iovec, int count, off_t offset)
{
    return write_recorded(fd, iovec, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *iovec, int count, off_t offset)
{
    return write_recorded(fd, iovec, count, offset);
}

int fsync(int fd)
{
    return sync_recorded(fd, SYS_fsync);
}

int fdatasync(int fildes)
{
    return sync_recorded(fildes, SYS_fdatasync);
}

int syncfs(int fd)
{
    return sync_recorded(fd, SYS_syncfs);
}

int ftruncate(int fd, off_t length)
{
    return resize_recorded(fd, length);
}

int ftruncate64(int fd, off_t length)
{
    return resize_recorded(fd, length);
}

int unlink(const char *name)
{
    return unlink_recorded(name, 0);
}

int rmdir(const char *path)
{
    return unlink_recorded(path, AT_REMOVEDIR);
}

int rename(const char *old, const char *new)
{
    return rename_recorded(old, new);
}

int mkdir(const char *path, mode_t mode)
{
    return mkdir_recorded(path, mode);
}

/* snapshot_file.c removes by descriptor. */
int unlinkat(int fd, const char *name, int flag)
{
    char path[512];
    char link[64];
    char dir_path[256];
    if (fd == AT_FDCWD || name[0] == '/') {
        return unlink_recorded(name, flag);
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, dir_path, sizeof(dir_path) - 1);
    if (length < 0) {
        return (int)syscall(SYS_unlinkat, fd, name, flag);
    }
    dir_path[length] = '\0';
    (void)snprintf(path, sizeof(path), "%s/%s", dir_path, name);
    return unlink_recorded(path, flag);
}
