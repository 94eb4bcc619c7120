#include "tests/support/fake_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

enum { SECTOR = 512 };

static struct fake_disk *enter(void *context)
{
    struct fake_disk *fake = context;
    (void)pthread_mutex_lock(&fake->mutex);
    return fake;
}

static int leave(struct fake_disk *fake, int result)
{
    (void)pthread_mutex_unlock(&fake->mutex);
    return result;
}

static void undo_push(struct fake_disk *fake, const struct fake_undo *undo)
{
    if (fake->undo_count == fake->undo_capacity) {
        fake->undo_capacity = fake->undo_capacity == 0 ? 64 : 2 * fake->undo_capacity;
        fake->undo = realloc(fake->undo, fake->undo_capacity * sizeof(*fake->undo));
        CHECK(fake->undo != NULL);
    }
    fake->undo[fake->undo_count++] = *undo;
}

static uint64_t inode(int fd)
{
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    return st.st_ino;
}

static void forget(struct fake_disk *fake, bool all, uint64_t ino)
{
    size_t kept = 0;
    for (size_t i = 0; i < fake->undo_count; i++) {
        if (all || fake->undo[i].ino == ino) {
            (void)close(fake->undo[i].fd);
            free(fake->undo[i].before);
        } else {
            fake->undo[kept++] = fake->undo[i];
        }
    }
    fake->undo_count = kept;
}

static int fake_open(void *context, const char *path, int flags)
{
    struct fake_disk *fake = enter(context);
    const struct disk *os = disk_os();
    bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
    if ((flags & O_ACCMODE) == O_WRONLY) {
        flags = (flags & ~O_ACCMODE) | O_RDWR; /* what is overwritten is read first */
    }
    return leave(fake, fake->dead && changes ? -EIO : os->open(os->context, path, flags));
}

static int fake_close(void *context, int fd)
{
    struct fake_disk *fake = enter(context);
    return leave(fake, disk_os()->close(NULL, fd));
}

static ssize_t fake_read(void *context, int fd, void *to, size_t size, uint64_t at)
{
    struct fake_disk *fake = context;
    (void)fake;
    return disk_os()->read(NULL, fd, to, size, at);
}

static void remember(struct fake_disk *fake, int fd, uint64_t at, size_t size)
{
    struct fake_undo undo = {.fd = dup(fd), .at = at, .size = size, .ino = inode(fd)};
    CHECK(undo.fd >= 0);
    undo.before = calloc(1, size + 1);
    CHECK(undo.before != NULL);
    ssize_t had = pread(fd, undo.before, size, (off_t)at);
    CHECK(had >= 0);
    undo.had = (size_t)had;
    undo_push(fake, &undo);
}

static ssize_t fake_write(void *context, int fd, const struct iovec *from, int count, uint64_t at)
{
    struct fake_disk *fake = enter(context);
    size_t size = 0;
    for (int i = 0; i < count; i++) {
        size += from[i].iov_len;
    }
    if (fake->dead) {
        return leave(fake, -EIO);
    }
    fake->writes++;
    if (fake->writes == fake->fail_write) {
        return leave(fake, -fake->fail_errno);
    }
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    uint64_t had = (uint64_t)st.st_size;
    uint64_t growth = at + size > had ? at + size - had : 0;
    if (growth > 0 && fake->grown + growth > fake->full_after) {
        return leave(fake, -ENOSPC);
    }
    fake->grown += growth;
    remember(fake, fd, at, size);
    ssize_t put = disk_os()->write(NULL, fd, from, count, at);
    if (fake->writes == fake->die_write) {
        fake->dead = true;
        put = -EIO;
    }
    (void)pthread_mutex_unlock(&fake->mutex);
    return put;
}

static int fake_sync(void *context, int fd)
{
    struct fake_disk *fake = enter(context);
    if (fake->dead) {
        return leave(fake, -EIO);
    }
    if (++fake->syncs == fake->fail_sync) {
        return leave(fake, -fake->fail_errno);
    }
    forget(fake, false, inode(fd));
    return leave(fake, 0);
}

static void fake_begin_sync(void *context, int fd, uint64_t at, uint64_t size)
{
    (void)context;
    (void)fd;
    (void)at;
    (void)size;
}

static int fake_sync_all(void *context, int fd)
{
    struct fake_disk *fake = enter(context);
    (void)fd;
    if (fake->dead) {
        return leave(fake, -EIO);
    }
    if (++fake->syncs == fake->fail_sync) {
        return leave(fake, -fake->fail_errno);
    }
    forget(fake, true, 0);
    return leave(fake, 0);
}

static int fake_sync_dir(void *context, const char *path)
{
    struct fake_disk *fake = enter(context);
    struct stat st;
    return leave(fake, fake->dead ? -EIO : stat(path, &st) < 0 ? -errno : 0);
}

static int fake_resize(void *context, int fd, uint64_t size)
{
    struct fake_disk *fake = enter(context);
    if (fake->dead) {
        return leave(fake, -EIO);
    }
    struct stat st;
    CHECK(fstat(fd, &st) == 0);
    uint64_t had = (uint64_t)st.st_size;
    if (had > size) {
        remember(fake, fd, size, (size_t)(had - size));
    }
    struct fake_undo undo = {.fd = dup(fd), .resize = true, .at = had, .ino = (uint64_t)st.st_ino};
    CHECK(undo.fd >= 0);
    undo_push(fake, &undo);
    return leave(fake, disk_os()->resize(NULL, fd, size));
}

static int64_t fake_size(void *context, int fd)
{
    (void)context;
    return disk_os()->size(NULL, fd);
}

static int fake_rename(void *context, const char *from, const char *to)
{
    struct fake_disk *fake = enter(context);
    return leave(fake, fake->dead ? -EIO : disk_os()->rename(NULL, from, to));
}

static int fake_unlink(void *context, const char *path)
{
    struct fake_disk *fake = enter(context);
    return leave(fake, fake->dead ? -EIO : disk_os()->unlink(NULL, path));
}

static int fake_mkdir(void *context, const char *path)
{
    struct fake_disk *fake = enter(context);
    return leave(fake, fake->dead ? -EIO : disk_os()->mkdir(NULL, path));
}

static int fake_rmdir(void *context, const char *path)
{
    struct fake_disk *fake = enter(context);
    return leave(fake, fake->dead ? -EIO : disk_os()->rmdir(NULL, path));
}

static int fake_space(void *context, const char *path, struct disk_space *out)
{
    struct fake_disk *fake = enter(context);
    int result = disk_os()->space(NULL, path, out);
    if (fake->free_bytes != UINT64_MAX) {
        out->free_bytes = fake->free_bytes;
    }
    return leave(fake, result);
}

static int fake_list(void *context, const char *path, int (*each)(void *arg, const char *name),
                     void *arg)
{
    (void)context;
    return disk_os()->list(NULL, path, each, arg);
}

static void no_faults(struct fake_disk *fake)
{
    fake->dead = false;
    fake->writes = fake->syncs = fake->grown = 0;
    fake->fail_write = fake->fail_sync = fake->die_write = 0;
    fake->fail_errno = EIO;
    fake->die_sectors = UINT64_MAX;
    fake->free_bytes = UINT64_MAX;
    fake->full_after = UINT64_MAX;
}

void fake_disk_init(struct fake_disk *fake, uint64_t seed)
{
    *fake = (struct fake_disk){
        .disk =
            {
                   .context = fake,
                   .open = fake_open,
                   .close = fake_close,
                   .read = fake_read,
                   .write = fake_write,
                   .sync = fake_sync,
                   .begin_sync = fake_begin_sync,
                   .sync_all = fake_sync_all,
                   .sync_dir = fake_sync_dir,
                   .resize = fake_resize,
                   .size = fake_size,
                   .rename = fake_rename,
                   .unlink = fake_unlink,
                   .mkdir = fake_mkdir,
                   .rmdir = fake_rmdir,
                   .space = fake_space,
                   .list = fake_list,
                   },
    };
    (void)pthread_mutex_init(&fake->mutex, NULL);
    rng_init(&fake->rng, seed);
    no_faults(fake);
}

static void put_back(const struct fake_undo *undo, size_t at, size_t size)
{
    size_t had = undo->had > at ? undo->had - at : 0;
    size_t restore = size < had ? size : had;
    if (restore > 0) {
        CHECK(pwrite(undo->fd, undo->before + at, restore, (off_t)(undo->at + at)) ==
              (ssize_t)restore);
    }
    if (size > restore) {
        static const uint8_t zeros[SECTOR];
        for (size_t i = restore; i < size; i += SECTOR) {
            size_t part = size - i < SECTOR ? size - i : SECTOR;
            CHECK(pwrite(undo->fd, zeros, part, (off_t)(undo->at + at + i)) == (ssize_t)part);
        }
    }
}

/* Undoes the sectors of one write that did not reach the medium. */
static void lose(struct fake_disk *fake, const struct fake_undo *undo, bool last,
                 enum fake_loss loss)
{
    if (undo->resize) {
        if (loss == FAKE_LOSE_ALL || (loss == FAKE_TEAR && rng_once_in(&fake->rng, 2))) {
            CHECK(ftruncate(undo->fd, (off_t)undo->at) == 0);
        }
        return;
    }
    /* Sectors of the file, not of the write. */
    size_t at = 0;
    for (uint64_t sector = 0; at < undo->size; sector++) {
        size_t part = SECTOR - (size_t)((undo->at + at) % SECTOR);
        part = undo->size - at < part ? undo->size - at : part;
        bool lost = loss == FAKE_LOSE_ALL;
        if (last && fake->die_sectors != UINT64_MAX) {
            lost = sector >= fake->die_sectors;
        } else if (loss == FAKE_TEAR) {
            lost = rng_once_in(&fake->rng, 2) != 0;
        }
        if (lost) {
            put_back(undo, at, part);
        }
        at += part;
    }
}

void fake_disk_power(struct fake_disk *fake, enum fake_loss loss)
{
    for (size_t i = fake->undo_count; i > 0; i--) {
        lose(fake, &fake->undo[i - 1], i == fake->undo_count, loss);
    }
    forget(fake, true, 0);
    no_faults(fake);
}

void fake_disk_release(struct fake_disk *fake)
{
    forget(fake, true, 0);
    free(fake->undo);
    (void)pthread_mutex_destroy(&fake->mutex);
}
