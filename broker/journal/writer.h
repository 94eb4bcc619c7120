/* One synced write at a time, that completes by an eventfd: through io_uring, or by a thread of its
 * own where io_uring is forbidden, or where the write is buffered and needs a sync behind it
 * (io_uring would hand both to a worker anyway). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "broker/disk/disk.h"
#include "broker/journal/journal.h"

struct journal_writer;

/* `direct`: files are opened with O_DIRECT | O_DSYNC; else every write is followed by a sync. */
NODISCARD enum status journal_writer_open(const struct disk *disk, enum journal_backend backend,
                                          bool direct, int event_fd, struct journal_writer **out);
/* No write may be in flight. */
void journal_writer_close(struct journal_writer *w);

/* Most writes will be of this memory, which stays where it is until journal_writer_close(): the
 * kernel pins it, so that it need not look its pages up for each write. Only a help; no write may
 * be in flight. */
void journal_writer_know(struct journal_writer *w, const void *memory, size_t bytes);

bool journal_writer_is_uring(const struct journal_writer *w);

/* No write may be in flight; `data` stays untouched until it is done. */
void journal_writer_submit(struct journal_writer *w, int fd, const void *data, size_t size,
                           uint64_t at);

/* Whether the write has ended, and how; false when none is in flight. */
bool journal_writer_poll(struct journal_writer *w, enum status *out);

/* Blocks until it has. */
NODISCARD enum status journal_writer_wait(struct journal_writer *w);
