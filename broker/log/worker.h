/* A thread with a queue: tasks run on it one after another and come back to the home thread. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/status.h"

struct task {
    struct list link;
    void (*run)(struct task *task);  /* on the worker's thread */
    void (*done)(struct task *task); /* on the home thread, from disk_worker_reap() */
};

struct disk_worker {
    pthread_t thread;
    bool running;
    int event_fd;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct list waiting, finished;
    bool busy, stop;
};

/* `event_fd` is written to whenever a task has finished. NO_MEMORY. */
NODISCARD enum status disk_worker_open(struct disk_worker *w, int event_fd);

/* Ends the thread; tasks that have not begun are finished without being run. A zeroed worker is
 * fine. Reap afterwards. */
void disk_worker_close(struct disk_worker *w);

void disk_worker_submit(struct disk_worker *w, struct task *task);

/* Calls done() of every finished task. */
void disk_worker_reap(struct disk_worker *w);

/* Blocks until a task has finished or none is left. */
void disk_worker_wait(struct disk_worker *w);
