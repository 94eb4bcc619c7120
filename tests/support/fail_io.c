/* LD_PRELOAD: writes and syncs of a process fail with EIO as soon as the file $FAIL_IO_DIR/PID
 * exists. For tests of processes whose disk goes out (tests/integration/spine.py). */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_out(void)
{
    const char *dir = getenv("FAIL_IO_DIR");
    char path[512];
    if (dir == NULL) {
        return 0;
    }
    int saved = errno;
    (void)snprintf(path, sizeof(path), "%s/%ld", dir, (long)getpid());
    int out = access(path, F_OK) == 0;
    errno = out ? EIO : saved;
    return out;
}

typedef ssize_t pwritev_fn(int, const struct iovec *, int, off_t);
typedef int sync_fn(int);

/* POSIX wants this to work; ISO C knows no such conversion. */
static void next(const char *name, void *out_function)
{
    *(void **)out_function = dlsym(RTLD_NEXT, name);
}

ssize_t pwritev(int fd, const struct iovec *from, int count, off_t at)
{
    pwritev_fn *real;
    next("pwritev", &real);
    return is_out() ? -1 : real(fd, from, count, at);
}

int fdatasync(int fd)
{
    sync_fn *real;
    next("fdatasync", &real);
    return is_out() ? -1 : real(fd);
}

int syncfs(int fd)
{
    sync_fn *real;
    next("syncfs", &real);
    return is_out() ? -1 : real(fd);
}
