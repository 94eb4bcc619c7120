#include "broker/journal/writer.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/check.h"

enum job { JOB_NONE, JOB_WAITING, JOB_DONE };

struct journal_writer {
    const struct disk *disk;
    bool direct, uring;
    const uint8_t *known; /* memory that the kernel has at hand, NULL = none */
    size_t known_bytes;
    int event_fd;
    bool in_flight, refused;
    /* The write, or what is left of it after a short one. Thread: guarded by the mutex. */
    int fd;
    const uint8_t *data;
    size_t size;
    uint64_t at;

    struct io_uring ring;

    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum job job;
    enum status result;
    bool stop;
};

static void uring_queue(struct journal_writer *w)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&w->ring);
    CHECK(sqe != NULL);
    bool known = w->known != NULL && w->data >= w->known &&
                 w->size <= w->known_bytes - (size_t)(w->data - w->known);
    if (known) {
        io_uring_prep_write_fixed(sqe, w->fd, w->data, (unsigned)w->size, w->at, 0);
    } else {
        io_uring_prep_write(sqe, w->fd, w->data, (unsigned)w->size, w->at);
    }
    int submitted;
    do {
        submitted = io_uring_submit(&w->ring);
    } while (submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY);
    if (submitted != 1) {
        w->refused = true; /* no completion will come */
        (void)eventfd_write(w->event_fd, 1);
    }
}

/* Takes a completion. False when a short write goes on. */
static bool uring_take(struct journal_writer *w, int result, enum status *out)
{
    if (result == -EINTR || result == -EAGAIN) {
        uring_queue(w);
        return false;
    }
    if (result > 0 && (size_t)result < w->size) {
        w->data += result;
        w->size -= (size_t)result;
        w->at += (uint64_t)result;
        uring_queue(w);
        return false;
    }
    *out = result == 0 ? STATUS_IO : disk_status(result);
    w->in_flight = false;
    return true;
}

static void *writer_main(void *arg)
{
    struct journal_writer *w = arg;
    (void)pthread_mutex_lock(&w->mutex);
    for (;;) {
        while (w->job != JOB_WAITING && !w->stop) {
            (void)pthread_cond_wait(&w->changed, &w->mutex);
        }
        if (w->stop) {
            break;
        }
        (void)pthread_mutex_unlock(&w->mutex);
        enum status status = disk_write_all(w->disk, w->fd, w->data, w->size, w->at);
        if (status == STATUS_OK && !w->direct) {
            status = disk_status(w->disk->sync(w->disk->context, w->fd));
        }
        (void)pthread_mutex_lock(&w->mutex);
        w->result = status;
        w->job = JOB_DONE;
        (void)pthread_cond_broadcast(&w->changed);
        (void)eventfd_write(w->event_fd, 1);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

static bool uring_open(struct journal_writer *w)
{
    if (io_uring_queue_init(8, &w->ring, 0) < 0) {
        return false;
    }
    if (io_uring_register_eventfd(&w->ring, w->event_fd) < 0) {
        io_uring_queue_exit(&w->ring);
        return false;
    }
    return true;
}

enum status journal_writer_open(const struct disk *disk, enum journal_backend backend, bool direct,
                                int event_fd, struct journal_writer **out)
{
    struct journal_writer *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return STATUS_NO_MEMORY;
    }
    w->disk = disk;
    w->direct = direct;
    w->event_fd = event_fd;
    w->uring = disk->is_os && direct && backend == JOURNAL_BACKEND_AUTO && uring_open(w);
    if (!w->uring) {
        (void)pthread_mutex_init(&w->mutex, NULL);
        (void)pthread_cond_init(&w->changed, NULL);
        if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
            (void)pthread_cond_destroy(&w->changed);
            (void)pthread_mutex_destroy(&w->mutex);
            free(w);
            return STATUS_NO_MEMORY;
        }
    }
    *out = w;
    return STATUS_OK;
}

void journal_writer_close(struct journal_writer *w)
{
    if (w == NULL) {
        return;
    }
    CHECK(!w->in_flight);
    if (w->uring) {
        io_uring_queue_exit(&w->ring);
    } else {
        (void)pthread_mutex_lock(&w->mutex);
        w->stop = true;
        (void)pthread_cond_broadcast(&w->changed);
        (void)pthread_mutex_unlock(&w->mutex);
        (void)pthread_join(w->thread, NULL);
        (void)pthread_cond_destroy(&w->changed);
        (void)pthread_mutex_destroy(&w->mutex);
    }
    free(w);
}

void journal_writer_know(struct journal_writer *w, const void *memory, size_t bytes)
{
    if (!w->uring || w->known != NULL) {
        return;
    }
    const struct iovec all = disk_iovec(memory, bytes);
    if (io_uring_register_buffers(&w->ring, &all, 1) == 0) {
        w->known = memory;
        w->known_bytes = bytes;
    } /* else it looks the pages up for every write, as ever: RLIMIT_MEMLOCK is too low */
}

bool journal_writer_is_uring(const struct journal_writer *w)
{
    return w->uring;
}

void journal_writer_submit(struct journal_writer *w, int fd, const void *data, size_t size,
                           uint64_t at)
{
    CHECK(!w->in_flight);
    w->in_flight = true;
    if (w->uring) {
        w->fd = fd;
        w->data = data;
        w->size = size;
        w->at = at;
        uring_queue(w);
        return;
    }
    (void)pthread_mutex_lock(&w->mutex);
    w->fd = fd;
    w->data = data;
    w->size = size;
    w->at = at;
    w->job = JOB_WAITING;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
}

static bool thread_take(struct journal_writer *w, bool wait, enum status *out)
{
    (void)pthread_mutex_lock(&w->mutex);
    while (wait && w->job != JOB_DONE) {
        (void)pthread_cond_wait(&w->changed, &w->mutex);
    }
    bool done = w->job == JOB_DONE;
    if (done) {
        *out = w->result;
        w->job = JOB_NONE;
        w->in_flight = false;
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return done;
}

bool journal_writer_poll(struct journal_writer *w, enum status *out)
{
    if (!w->in_flight) {
        return false;
    }
    if (!w->uring) {
        return thread_take(w, false, out);
    }
    if (w->refused) {
        w->in_flight = false;
        *out = STATUS_IO;
        return true;
    }
    struct io_uring_cqe *cqe;
    if (io_uring_peek_cqe(&w->ring, &cqe) != 0) {
        return false;
    }
    int result = cqe->res;
    io_uring_cqe_seen(&w->ring, cqe);
    return uring_take(w, result, out);
}

enum status journal_writer_wait(struct journal_writer *w)
{
    CHECK(w->in_flight);
    enum status status = STATUS_IO;
    if (!w->uring) {
        CHECK(thread_take(w, true, &status));
        return status;
    }
    while (!journal_writer_poll(w, &status)) {
        struct io_uring_cqe *cqe;
        int result = io_uring_wait_cqe(&w->ring, &cqe);
        CHECK(result == 0 || result == -EINTR || result == -EAGAIN);
    }
    return status;
}
