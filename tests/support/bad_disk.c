/* LD_PRELOAD: a disk that forgets, fails and dawdles, for tests of real processes (tests/fault/).
 *
 * Everything below $BAD_DISK_ROOT is watched. What a write, truncation, creation, rename or removal
 * replaced goes to the log $BAD_DISK_LOG before it happens, and each sync that succeeded after it
 * happened. Whoever kills the process can then take back all that was not synced, as a power cut
 * would (tests/fault/power.py); removed and replaced files are kept by hard links in
 * $BAD_DISK_KEEP until then. The caches of the kernel survive a killed process, so this is the only
 * difference between the two.
 *
 *     $BAD_DISK_CONTROL/eio         exists: writes and syncs fail with EIO
 *     $BAD_DISK_CONTROL/eio-write   exists: writes do, syncs succeed
 *     $BAD_DISK_CONTROL/eio-sync    exists: syncs do, and writes that are synced with it
 *     $BAD_DISK_CONTROL/slow        exists: each sync takes $BAD_DISK_SLOW_MS (200) longer
 *     $BAD_DISK_CONTROL/hang        while it exists, writes and syncs do not return
 *     $BAD_DISK_CONTROL/lies        exists: syncs say that they succeeded and count for nothing
 *
 * One lock makes the log's order the order of the changes; syncs run outside it. What the process
 * writes through mappings, stdio or io_uring is not seen: brokers need io-backend = threads. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { FD_MAX = 65536, SLOW_MS = 200, HUNG_LOOK_US = 5000, OLD_MAX = 64 * 1024 * 1024 };

enum kind {
    KIND_WRITE = 1, /* a: position, b: size, c: size of the file before; bytes: what was there */
    KIND_RESIZE,    /* a: new size, c: size before; bytes: the tail that goes */
    KIND_SYNC,      /* of the file or directory; a: log position when it began */
    KIND_SYNC_ALL,
    KIND_CREATE, /* bytes: path */
    KIND_RENAME, /* bytes: from, to, where the replaced file is kept or "" (each with its 0) */
    KIND_REMOVE, /* bytes: path, where it is kept */
    KIND_MKDIR,
    KIND_SYNCED, /* a: position in the log of a write that was synced with it (O_DSYNC) */
};

struct entry {
    uint32_t kind, size;
    uint64_t inode, a, b, c;
};

static struct {
    pthread_mutex_t lock;
    char root[PATH_MAX];
    int log, eio;
    uint64_t at, kept;
    char keep[PATH_MAX], control[PATH_MAX];
    bool watched[FD_MAX];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER, .log = -1};

/* POSIX wants this to work; ISO C knows no such conversion. */
static void next(const char *name, void *out_function)
{
    *(void **)out_function = dlsym(RTLD_NEXT, name);
}

#define REAL(name, type)   \
    static type *real;     \
    if (real == NULL) {    \
        next(name, &real); \
    }

typedef ssize_t pwrite_fn(int, const void *, size_t, off_t);
typedef ssize_t pwritev_fn(int, const struct iovec *, int, off_t);
typedef ssize_t write_fn(int, const void *, size_t);
typedef int fd_fn(int);
typedef int path_fn(const char *);
typedef int two_paths_fn(const char *, const char *);
typedef int open_fn(const char *, int, ...);
typedef int openat_fn(int, const char *, int, ...);
typedef int renameat_fn(int, const char *, int, const char *);
typedef int unlinkat_fn(int, const char *, int);
typedef int mkdir_fn(const char *, mode_t);
typedef int truncate_fn(int, off_t);

static const char *setting(const char *name, char *out)
{
    const char *value = getenv(name);
    (void)snprintf(out, PATH_MAX, "%s", value == NULL ? "" : value);
    return out;
}

__attribute__((constructor)) static void begin(void)
{
    char path[PATH_MAX];
    REAL("open", open_fn)
    setting("BAD_DISK_ROOT", disk.root);
    setting("BAD_DISK_KEEP", disk.keep);
    setting("BAD_DISK_CONTROL", disk.control);
    if (disk.root[0] != '\0' && setting("BAD_DISK_LOG", path)[0] != '\0') {
        int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC;
        disk.log = real(path, flags, 0600);
        disk.at = disk.log < 0 ? 0 : (uint64_t)lseek(disk.log, 0, SEEK_END);
    }
}

static bool ordered(const char *what)
{
    char path[PATH_MAX + 16];
    int saved = errno;
    (void)snprintf(path, sizeof(path), "%s/%s", disk.control, what);
    bool yes = disk.control[0] != '\0' && access(path, F_OK) == 0;
    errno = saved;
    return yes;
}

static void dawdle(void)
{
    const char *text = getenv("BAD_DISK_SLOW_MS");
    long ms = text == NULL ? 0 : strtol(text, NULL, 10);
    (void)usleep((useconds_t)(ms > 0 ? ms : SLOW_MS) * 1000);
}

/* Whether a call fails, `kind` of which is ordered to; a disk that hangs holds it up before. */
static bool is_out(const char *kind)
{
    while (ordered("hang")) {
        (void)usleep(HUNG_LOOK_US);
    }
    if (!ordered("eio") && !ordered(kind)) {
        return false;
    }
    errno = EIO;
    return true;
}

static bool is_watched(int fd)
{
    return disk.log >= 0 && fd >= 0 && fd < FD_MAX && disk.watched[fd];
}

static bool is_below(const char *path)
{
    size_t size = strlen(disk.root);
    return disk.log >= 0 && strncmp(path, disk.root, size) == 0 && path[size] == '/';
}

/* With the lock held. A log that cannot be written makes the test worthless: the process ends. */
static void note(struct entry entry, const void *bytes)
{
    REAL("write", write_fn)
    struct iovec parts[2] = {
        {.iov_base = &entry,        .iov_len = sizeof(entry)},
        {.iov_base = (void *)bytes, .iov_len = entry.size   }
    };
    for (int i = 0; i < 2; i++) {
        if (parts[i].iov_len > 0 &&
            real(disk.log, parts[i].iov_base, parts[i].iov_len) != (ssize_t)parts[i].iov_len) {
            abort();
        }
        disk.at += parts[i].iov_len;
    }
}

static void note_old(int fd, uint32_t kind, uint64_t at, uint64_t size)
{
    struct stat st;
    char link[64];
    REAL("open", open_fn)
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return;
    }
    struct entry entry = {.kind = kind, .inode = st.st_ino, .a = at, .b = size};
    entry.c = (uint64_t)st.st_size;
    uint64_t end = kind == KIND_RESIZE || at + size > entry.c ? entry.c : at + size;
    uint64_t old = end > at ? end - at : 0;
    if (old > OLD_MAX) {
        abort();
    }
    entry.size = (uint32_t)old;
    char *bytes = NULL;
    if (old >
        0) { /* through a descriptor of our own: theirs may be O_DIRECT, or for writing only */
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        int own = real(link, O_RDONLY | O_CLOEXEC);
        bytes = malloc(old);
        if (own < 0 || bytes == NULL || pread(own, bytes, old, (off_t)at) != (ssize_t)old) {
            abort();
        }
        (void)close(own);
    }
    note(entry, bytes);
    free(bytes);
}

static void note_paths(uint32_t kind, const char *one, const char *two, const char *three)
{
    char bytes[3 * PATH_MAX];
    const char *paths[] = {one, two, three};
    uint32_t size = 0;
    for (int i = 0; i < 3; i++) {
        size_t length = paths[i] == NULL ? 0 : strlen(paths[i]) + 1;
        if (length > 0) {
            memcpy(bytes + size, paths[i], length);
        }
        size += (uint32_t)length;
    }
    note((struct entry){.kind = kind, .size = size}, bytes);
}

static void keep(const char *path, char *out)
{
    (void)snprintf(out, PATH_MAX, "%.4000s/%ld.%llu", disk.keep, (long)getpid(),
                   (unsigned long long)disk.kept++);
    if (link(path, out) != 0) {
        out[0] = '\0';
    }
}

/* The path from the root of what is called NAME in the directory AT. */
static const char *whole(int at, const char *name, char *out)
{
    char link[64];
    if (name[0] == '/' || at == AT_FDCWD) {
        (void)snprintf(out, PATH_MAX, "%s", name);
        return out;
    }
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", at);
    ssize_t size = readlink(link, out, PATH_MAX / 2);
    size = size < 0 ? 0 : size;
    (void)snprintf(out + size, (size_t)(PATH_MAX - size), "/%s", name);
    return out;
}

static int open_at(int at, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];
    struct stat st;
    REAL("openat", openat_fn)
    if (!is_below(whole(at, name, path))) {
        return real(at, name, flags, mode);
    }
    (void)pthread_mutex_lock(&disk.lock);
    bool made = (flags & O_CREAT) != 0 && stat(path, &st) != 0;
    if ((flags & O_TRUNC) != 0 && !made) { /* as a resize, so that the old bytes are kept */
        int own = real(at, name, O_RDWR | O_CLOEXEC);
        if (own >= 0) {
            note_old(own, KIND_RESIZE, 0, 0);
            (void)close(own);
        }
    }
    if (made) {
        note_paths(KIND_CREATE, path, NULL, NULL);
    }
    int fd = real(at, name, flags, mode);
    if (fd >= 0 && fd < FD_MAX) {
        disk.watched[fd] = true;
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return fd;
}

#define OPEN(name)                                                       \
    int name(const char *path, int flags, ...)                           \
    {                                                                    \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                    \
        return open_at(AT_FDCWD, path, flags, mode);                     \
    }

#define OPENAT(name)                                                     \
    int name(int at, const char *path, int flags, ...)                   \
    {                                                                    \
        va_list more;                                                    \
        va_start(more, flags);                                           \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                    \
        return open_at(at, path, flags, mode);                           \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

int close(int fd)
{
    REAL("close", fd_fn)
    if (fd >= 0 && fd < FD_MAX) {
        disk.watched[fd] = false;
    }
    return real(fd);
}

static ssize_t write_at(int fd, const struct iovec *from, int count, off_t at)
{
    REAL("pwritev", pwritev_fn)
    if (!is_watched(fd)) {
        return real(fd, from, count, at);
    }
    bool synced = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    if (is_out("eio-write") || (synced && is_out("eio-sync"))) {
        return -1;
    }
    uint64_t size = 0;
    for (int i = 0; i < count; i++) {
        size += from[i].iov_len;
    }
    if (synced && ordered("slow")) {
        dawdle();
    }
    (void)pthread_mutex_lock(&disk.lock);
    uint64_t noted = disk.at;
    note_old(fd, KIND_WRITE, (uint64_t)at, size);
    ssize_t put = real(fd, from, count, at);
    if (synced && !ordered("lies") && put == (ssize_t)size) {
        note((struct entry){.kind = KIND_SYNCED, .a = noted}, NULL);
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return put;
}

ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at)
{
    return write_at(fd, from, count, at);
}

ssize_t pwritev64(int fd, const struct iovec *from, int count, off_t at)
{
    return write_at(fd, from, count, at);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    return write_at(fd, &(struct iovec){.iov_base = (void *)from, .iov_len = size}, 1, at);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off_t at)
{
    return write_at(fd, &(struct iovec){.iov_base = (void *)from, .iov_len = size}, 1, at);
}

ssize_t write(int fd, const void *from, size_t size)
{
    REAL("write", write_fn)
    if (!is_watched(fd)) {
        return real(fd, from, size);
    }
    if (is_out("eio-write")) {
        return -1;
    }
    bool append = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
    (void)pthread_mutex_lock(&disk.lock);
    off_t at = lseek(fd, 0, append ? SEEK_END : SEEK_CUR);
    if (at >= 0) {
        note_old(fd, KIND_WRITE, (uint64_t)at, size);
    }
    ssize_t put = real(fd, from, size);
    (void)pthread_mutex_unlock(&disk.lock);
    return put;
}

static int resize(int fd, off_t size)
{
    REAL("ftruncate", truncate_fn)
    if (!is_watched(fd)) {
        return real(fd, size);
    }
    if (is_out("eio-write")) {
        return -1;
    }
    (void)pthread_mutex_lock(&disk.lock);
    note_old(fd, KIND_RESIZE, (uint64_t)size, 0);
    int result = real(fd, size);
    (void)pthread_mutex_unlock(&disk.lock);
    return result;
}

int ftruncate(int fd, off_t size)
{
    return resize(fd, size);
}

int ftruncate64(int fd, off_t size)
{
    return resize(fd, size);
}

static int sync_it(int fd, fd_fn *real, uint32_t kind)
{
    struct stat st;
    if (is_out("eio-sync")) {
        return -1;
    }
    if (ordered("slow")) {
        dawdle();
    }
    if (disk.log < 0 || fstat(fd, &st) != 0) {
        return real(fd);
    }
    if (ordered("lies")) {
        return 0;
    }
    (void)pthread_mutex_lock(&disk.lock);
    uint64_t began = disk.at;
    (void)pthread_mutex_unlock(&disk.lock);
    int result = real(fd);
    if (result == 0) {
        (void)pthread_mutex_lock(&disk.lock);
        note((struct entry){.kind = kind, .inode = st.st_ino, .a = began}, NULL);
        (void)pthread_mutex_unlock(&disk.lock);
    }
    return result;
}

int fdatasync(int fd)
{
    REAL("fdatasync", fd_fn)
    return sync_it(fd, real, KIND_SYNC);
}

int fsync(int fd)
{
    REAL("fsync", fd_fn)
    return sync_it(fd, real, KIND_SYNC);
}

int syncfs(int fd)
{
    REAL("syncfs", fd_fn)
    return sync_it(fd, real, KIND_SYNC_ALL);
}

static int rename_at(int from_dir, const char *from, int to_dir, const char *to)
{
    char one[PATH_MAX], two[PATH_MAX], kept[PATH_MAX];
    REAL("renameat", renameat_fn)
    if (!is_below(whole(from_dir, from, one)) || !is_below(whole(to_dir, to, two))) {
        return real(from_dir, from, to_dir, to);
    }
    (void)pthread_mutex_lock(&disk.lock);
    keep(two, kept);
    note_paths(KIND_RENAME, one, two, kept);
    int result = real(from_dir, from, to_dir, to);
    (void)pthread_mutex_unlock(&disk.lock);
    return result;
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return rename_at(from_dir, from, to_dir, to);
}

int rename(const char *from, const char *to)
{
    return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}

static int remove_at(int dir, const char *name, int flags)
{
    char path[PATH_MAX], kept[PATH_MAX];
    REAL("unlinkat", unlinkat_fn)
    if (flags != 0 || !is_below(whole(dir, name, path))) {
        return real(dir, name, flags);
    }
    (void)pthread_mutex_lock(&disk.lock);
    keep(path, kept);
    if (kept[0] != '\0') {
        note_paths(KIND_REMOVE, path, kept, NULL);
    }
    int result = real(dir, name, flags);
    (void)pthread_mutex_unlock(&disk.lock);
    return result;
}

int unlinkat(int dir, const char *name, int flags)
{
    return remove_at(dir, name, flags);
}

int unlink(const char *path)
{
    return remove_at(AT_FDCWD, path, 0);
}

int mkdir(const char *path, mode_t mode)
{
    REAL("mkdir", mkdir_fn)
    if (!is_below(path)) {
        return real(path, mode);
    }
    (void)pthread_mutex_lock(&disk.lock);
    int result = real(path, mode);
    if (result == 0) {
        note_paths(KIND_MKDIR, path, NULL, NULL);
    }
    (void)pthread_mutex_unlock(&disk.lock);
    return result;
}
