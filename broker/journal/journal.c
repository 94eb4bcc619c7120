#include "broker/journal/journal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "broker/journal/append.h"
#include "broker/journal/private.h"

static enum status options_check(const struct journal_options *o, struct error *error)
{
    if (o->file_bytes % BLOCK_UNIT != 0 || o->file_bytes < 16 * BLOCK_UNIT) {
        return error_set(
            error, STATUS_INVALID,
            "the size of journal files must be a multiple of 4 KiB and at least 64 KiB");
    }
    if (o->files_max < JOURNAL_FILES_MIN || o->files_max > JOURNAL_FILES_LIMIT / 2) {
        return error_set(error, STATUS_INVALID, "the journal needs %d to %d files",
                         JOURNAL_FILES_MIN, JOURNAL_FILES_LIMIT / 2);
    }
    if ((o->ring_bytes & (o->ring_bytes - 1)) != 0 || o->ring_bytes < 64 * BLOCK_UNIT) {
        return error_set(error, STATUS_INVALID,
                         "the journal's ring must be a power of two and at least 256 KiB");
    }
    if (o->block_bytes < BLOCK_UNIT || o->block_bytes > o->ring_bytes / 4) {
        return error_set(error, STATUS_INVALID,
                         "the journal's blocks must be 4 KiB to a quarter of the ring");
    }
    return STATUS_OK;
}

enum status journal_open(const struct journal_options *options, struct journal **out,
                         struct error *error)
{
    enum status status = options_check(options, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct journal *j = calloc(1, sizeof(*j));
    if (j == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    j->options = *options;
    j->disk = options->disk != NULL ? options->disk : disk_os();
    j->direct = j->disk->is_os && !options->buffered;
    status = journal_files_open(j, error);
    if (status != STATUS_OK) {
        journal_close(j);
        return status;
    }
    *out = j;
    return STATUS_OK;
}

static uint64_t clock_us(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void submit_next(struct journal *j)
{
    CHECK(!j->in_flight);
    CHECK(j->queue_count > 0);
    j->flight = j->queue[j->queue_head];
    j->queue_head = (j->queue_head + 1) % j->queue_capacity;
    j->queue_count--;
    j->in_flight = true;
    j->writes++;
    j->bytes_written += j->flight.bytes;
    j->flight_us = clock_us();
    if (j->flight.position < j->ring.size && j->next_position >= j->ring.size) {
        /* The ring comes round: all of its memory is in use anyway, and will stay so. Of its second
         * image only what a block may reach into, for the pages would count twice. */
        uint64_t beyond = j->options.block_bytes < j->ring.size ? j->options.block_bytes : 0;
        journal_writer_know(j->writer, j->ring.memory, j->ring.size + beyond);
    }
    journal_writer_submit(j->writer, j->file[j->flight.file].fd,
                          journal_ring_at(&j->ring, j->flight.position), j->flight.bytes,
                          j->flight.offset);
}

/* A header with the new `oldest` must be durable before a released file is overwritten; where no
 * other block comes, an empty one says it. */
static void open_empty(struct journal *j)
{
    struct journal_span span;
    status_ignore(journal_append(j, NULL, JOURNAL_STATE_END, 0, 0, 0, &span),
                  "without room the next record carries it");
}

static void flush(struct journal *j, bool lazy)
{
    if (!j->started || j->in_flight || j->out != STATUS_OK) {
        return;
    }
    if (j->queue_count == 0) {
        if (j->note_oldest && !j->open.active) {
            open_empty(j);
        }
        if (!j->open.active ||
            !(j->open.eager || j->note_oldest || (lazy && j->open.records > 0))) {
            return;
        }
        journal_block_close(j);
    }
    submit_next(j);
}

void journal_flush(struct journal *j)
{
    flush(j, false);
}

/* Oldest first: a file goes when all its records are durable elsewhere and the state at the head of
 * the next one is synced. */
static void release_files(struct journal *j)
{
    while (j->order_count >= 2) {
        struct journal_file *file = &j->file[j->order[0]];
        const struct journal_file *next = &j->file[j->order[1]];
        if (j->durable < file->end_position || next->state_lsn == 0 ||
            next->state_lsn > j->synced_lsn) {
            return;
        }
        file->state = FILE_RELEASED;
        file->freed_by = j->open.active ? j->open.number : j->next_number;
        j->note_oldest = true;
        j->order_count--;
        memmove(j->order, j->order + 1, j->order_count * sizeof(j->order[0]));
    }
}

static void complete(struct journal *j, enum status status)
{
    j->in_flight = false;
    if (status != STATUS_OK) {
        j->out = STATUS_IO; /* for ever: what the disk holds now is unknown */
        return;
    }
    histogram_note(&j->took, clock_us() - j->flight_us);
    j->synced_lsn = j->flight.last_lsn;
    j->synced_position = j->flight.position + j->flight.bytes;
    for (uint32_t i = 0; i < j->file_count; i++) {
        if (j->file[i].state == FILE_RELEASED && j->file[i].freed_by <= j->flight.number) {
            j->file[i].state = FILE_FREE;
        }
    }
    release_files(j);
}

enum status journal_poll(struct journal *j)
{
    enum status status;
    if (j->in_flight && journal_writer_poll(j->writer, &status)) {
        complete(j, status);
        flush(j, false);
    }
    return j->out;
}

enum status journal_sync(struct journal *j)
{
    while (j->out == STATUS_OK && j->started &&
           (j->in_flight || j->queue_count > 0 || (j->open.active && j->open.records > 0))) {
        flush(j, true);
        if (j->in_flight) {
            complete(j, journal_writer_wait(j->writer));
        }
    }
    return j->out;
}

static enum status start_memory(struct journal *j)
{
    /* Every two blocks in the ring but the last ones of files have block_bytes between them. */
    j->queue_capacity =
        (uint32_t)(2 * j->options.ring_bytes / j->options.block_bytes) + 4 * JOURNAL_FILES_LIMIT;
    j->queue = calloc(j->queue_capacity, sizeof(*j->queue));
    if (j->queue == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = journal_ring_init(&j->ring, j->options.ring_bytes);
    if (status != STATUS_OK) {
        return status;
    }
    return journal_writer_open(j->disk, j->options.backend, j->direct, j->options.event_fd,
                               &j->writer);
}

/* A free file to begin in: what recovery still needs stays until the new state is synced. */
static enum status start_files(struct journal *j, struct error *error)
{
    uint32_t free_files = 0;
    for (uint32_t i = 0; i < j->file_count; i++) {
        if (j->file[i].state == FILE_FREE && j->file[i].bytes != j->options.file_bytes) {
            j->file[i].state = FILE_OLD; /* made with other options; removed below */
        }
        free_files += j->file[i].state == FILE_FREE ? 1 : 0;
    }
    for (uint32_t i = 0; free_files == 0 && i < JOURNAL_FILES_LIMIT; i++) {
        if (j->file[i].state != FILE_ABSENT) {
            continue;
        }
        enum status status = journal_make_file(&j->options, i);
        if (status == STATUS_OK) {
            status = journal_add_file(j, i);
        }
        if (status != STATUS_OK) {
            return error_set(error, status, "cannot add a journal file in %s: %s", j->options.dir,
                             status_text(status));
        }
        free_files++;
    }
    return free_files > 0 ? STATUS_OK
                          : error_set(error, STATUS_BUSY, "the journal has too many files");
}

/* Files of the run before are free now; those of another size go. */
static void old_files_free(struct journal *j)
{
    for (uint32_t i = 0; i < j->file_count; i++) {
        if (j->file[i].state != FILE_OLD) {
            continue;
        }
        j->file[i].state = FILE_FREE;
        if (j->file[i].bytes != j->options.file_bytes) {
            char path[JOURNAL_PATH_BYTES];
            journal_file_path(&j->options, i, path);
            (void)j->disk->close(j->disk->context, j->file[i].fd);
            (void)j->disk->unlink(j->disk->context, path);
            j->file[i].state = FILE_ABSENT;
        }
    }
}

enum status journal_start(struct journal *j, struct error *error)
{
    CHECK(j->recovered);
    CHECK(!j->started);
    if (j->options.read_only) {
        return error_set(error, STATUS_DENIED, "the journal is open for reading");
    }
    enum status status = start_files(j, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = start_memory(j);
    if (status != STATUS_OK) {
        return error_set(error, status, "out of memory for the journal's ring");
    }
    j->started = true;
    status = journal_file_roll(j);
    if (status == STATUS_OK) {
        status = journal_sync(j);
    }
    if (status != STATUS_OK) {
        return error_set(error, status, "cannot write the journal in %s: %s", j->options.dir,
                         status == STATUS_BUSY ? "the state of all shards does not fit a file"
                                               : status_text(status));
    }
    /* From here on recovery begins with this run, once a header says so. */
    j->start_done = true;
    j->written = j->durable = j->synced_position;
    open_empty(j);
    status = journal_sync(j);
    if (status != STATUS_OK) {
        return error_set(error, status, "cannot write the journal in %s: %s", j->options.dir,
                         status_text(status));
    }
    old_files_free(j);
    return STATUS_OK;
}

void journal_close(struct journal *j)
{
    if (j == NULL) {
        return;
    }
    status_ignore(journal_sync(j), "nobody waits for it any more");
    if (j->in_flight) {
        status_ignore(journal_writer_wait(j->writer), "the journal is out");
    }
    journal_writer_close(j->writer);
    journal_files_close(j);
    journal_ring_release(&j->ring);
    free(j->queue);
    free(j->shards.id);
    free(j->prev_shards.id);
    free(j);
}

uint64_t journal_synced_lsn(const struct journal *j)
{
    return j->synced_lsn;
}

uint64_t journal_synced_position(const struct journal *j)
{
    return j->synced_position;
}

uint64_t journal_next_position(const struct journal *j)
{
    return j->open.active ? j->open.position + j->open.fill : j->next_position;
}

uint64_t journal_low(const struct journal *j)
{
    /* The open block's trailer and padding may reach further than its records. */
    uint64_t top = j->open.active
                       ? j->open.position + block_align(j->open.fill + BLOCK_SECTOR, BLOCK_UNIT)
                       : j->next_position;
    return top > j->ring.size ? top - j->ring.size : 0;
}

const uint8_t *journal_at(const struct journal *j, uint64_t position)
{
    return journal_ring_at(&j->ring, position);
}

uint64_t journal_wanted(const struct journal *j)
{
    return j->order_count >= 2 ? j->file[j->order[j->order_count - 2]].end_position : 0;
}

void journal_release(struct journal *j, uint64_t written, uint64_t durable)
{
    CHECK(durable <= written);
    CHECK(written <= j->synced_position);
    CHECK(written >= j->written);
    CHECK(durable >= j->durable);
    j->written = written;
    j->durable = durable;
    release_files(j);
}

void journal_view(const struct journal *j, struct journal_view *out)
{
    *out = (struct journal_view){
        .out = j->out != STATUS_OK,
        .out_status = j->out,
        .uring = j->writer != NULL && journal_writer_is_uring(j->writer),
        .direct = j->direct,
        .writes = j->writes,
        .bytes_written = j->bytes_written,
        .synced = j->took,
        .in_flight_us = j->in_flight ? clock_us() - j->flight_us : 0,
    };
    for (uint32_t i = 0; i < j->file_count; i++) {
        out->files += j->file[i].state != FILE_ABSENT ? 1 : 0;
        out->files_free += j->file[i].state == FILE_FREE ? 1 : 0;
    }
}
