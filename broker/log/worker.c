#include "broker/log/worker.h"

#include <sys/eventfd.h>

static void *worker_main(void *arg)
{
    struct disk_worker *w = arg;
    (void)pthread_mutex_lock(&w->mutex);
    while (!w->stop) {
        if (list_empty(&w->waiting)) {
            (void)pthread_cond_wait(&w->changed, &w->mutex);
            continue;
        }
        struct task *task = CONTAINER_OF(list_pop(&w->waiting), struct task, link);
        w->busy = true;
        (void)pthread_mutex_unlock(&w->mutex);
        task->run(task);
        (void)pthread_mutex_lock(&w->mutex);
        w->busy = false;
        list_push(&w->finished, &task->link);
        (void)pthread_cond_broadcast(&w->changed);
        (void)eventfd_write(w->event_fd, 1);
    }
    (void)pthread_mutex_unlock(&w->mutex);
    return NULL;
}

enum status disk_worker_open(struct disk_worker *w, int event_fd)
{
    *w = (struct disk_worker){.event_fd = event_fd};
    list_init(&w->waiting);
    list_init(&w->finished);
    (void)pthread_mutex_init(&w->mutex, NULL);
    (void)pthread_cond_init(&w->changed, NULL);
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
        (void)pthread_cond_destroy(&w->changed);
        (void)pthread_mutex_destroy(&w->mutex);
        return STATUS_NO_MEMORY;
    }
    w->running = true;
    return STATUS_OK;
}

void disk_worker_close(struct disk_worker *w)
{
    if (!w->running) {
        return;
    }
    (void)pthread_mutex_lock(&w->mutex);
    w->stop = true;
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
    (void)pthread_join(w->thread, NULL);
    w->running = false;
    while (!list_empty(&w->waiting)) {
        list_push(&w->finished, list_pop(&w->waiting));
    }
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->mutex);
}

void disk_worker_submit(struct disk_worker *w, struct task *task)
{
    (void)pthread_mutex_lock(&w->mutex);
    list_push(&w->waiting, &task->link);
    (void)pthread_cond_broadcast(&w->changed);
    (void)pthread_mutex_unlock(&w->mutex);
}

void disk_worker_reap(struct disk_worker *w)
{
    struct list finished;
    list_init(&finished);
    if (w->running) {
        (void)pthread_mutex_lock(&w->mutex);
    }
    list_move(&finished, &w->finished);
    if (w->running) {
        (void)pthread_mutex_unlock(&w->mutex);
    }
    while (!list_empty(&finished)) {
        struct task *task = CONTAINER_OF(list_pop(&finished), struct task, link);
        task->done(task);
    }
}

void disk_worker_wait(struct disk_worker *w)
{
    (void)pthread_mutex_lock(&w->mutex);
    while (list_empty(&w->finished) && (w->busy || !list_empty(&w->waiting))) {
        (void)pthread_cond_wait(&w->changed, &w->mutex);
    }
    (void)pthread_mutex_unlock(&w->mutex);
}
