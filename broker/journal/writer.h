/* One synced write at a time, that completes by an eventfd: through io_uring, or by a thread of its
 * own where io_uring is forbidden, or where the write is buffered and needs a sync behind it
 * (io_uring would hand both to a worker anyway). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/disk/disk.h"
#include "broker/journal/journal.h"

struct writer;

/* `direct`: files are opened with O_DIRECT | O_DSYNC; else every write is followed by a sync. */
NODISCARD enum status writer_open(const struct disk *disk, enum journal_backend backend,
                                  bool direct, int event_fd, struct writer **out);
/* No write may be in flight. */
void writer_close(struct writer *w);

bool writer_is_uring(const struct writer *w);

/* No write may be in flight; `data` stays untouched until it is done. */
void writer_submit(struct writer *w, int fd, const void *data, size_t size, uint64_t at);

/* Whether the write has ended, and how; false when none is in flight. */
bool writer_poll(struct writer *w, enum status *out);

/* Blocks until it has. */
NODISCARD enum status writer_wait(struct writer *w);
