/* What the journal's files share. */
#pragma once

#include "broker/journal/block.h"
#include "broker/journal/journal.h"
#include "broker/journal/ring.h"
#include "broker/journal/writer.h"

enum {
    JOURNAL_FILES_LIMIT = 256,
    JOURNAL_FILES_MIN = 3,
    JOURNAL_PATH_BYTES = 512,
    JOURNAL_RESERVE_MAX = 8 * 1024 * 1024,
};

enum file_state {
    FILE_ABSENT,
    FILE_OLD,      /* of the run that is being recovered, perhaps needed */
    FILE_FREE,     /* may be overwritten */
    FILE_USED,     /* in journal.order */
    FILE_RELEASED, /* free once a synced header says that recovery begins behind it */
};

struct journal_file {
    enum file_state state;
    int fd;
    uint64_t bytes;
    uint64_t first_number; /* of its first block */
    uint64_t end_position; /* of its last block, once it is full */
    uint64_t state_lsn;    /* of STATE_END at its head, 0 before */
    uint64_t freed_by;     /* RELEASED: number of the block that frees it */
};

/* A closed block: waits for its write, or is in flight. */
struct block {
    uint64_t number, position, offset, last_lsn;
    uint32_t bytes, file;
};

struct shard_list {
    uint64_t *id;
    uint32_t count, capacity;
    bool incomplete; /* out of memory: the list says "any" */
};

struct journal {
    struct journal_options options;
    const struct disk *disk;
    bool direct, started, start_done, recovered;
    enum status out; /* OK until a write fails */
    struct ring ring;
    struct journal_writer *writer;

    struct journal_file file[JOURNAL_FILES_LIMIT];
    uint32_t file_count;                 /* one more than the highest number */
    uint32_t order[JOURNAL_FILES_LIMIT]; /* files in use, oldest first; the last is current */
    uint32_t order_count;
    uint64_t file_used; /* of the current file */

    struct {
        bool active;
        bool eager; /* has a record that somebody waits for */
        uint64_t position, number, last_lsn;
        uint32_t fill, records, crc;
    } open;
    struct shard_list shards, prev_shards; /* of the open block, and of the one before it */

    struct block *queue; /* closed, not written: a circle */
    uint32_t queue_capacity, queue_head, queue_count;
    bool in_flight;
    struct block flight;

    uint64_t next_position, next_number, prev_number, oldest_at_start;
    uint32_t prev_crc, run;
    uint64_t lsn, synced_lsn, synced_position;
    uint64_t written, durable;
    bool note_oldest; /* a file is RELEASED and no header says so yet */
    bool rolling;
    uint64_t writes, bytes_written;
    uint64_t flight_us; /* when it began, on a clock of its own */
    struct histogram took;
};

/* files.c */
NODISCARD enum status journal_files_open(struct journal *j, struct error *error);
void journal_files_close(struct journal *j);
void journal_file_path(const struct journal_options *options, uint32_t number,
                       char out[JOURNAL_PATH_BYTES]);

/* recover.c fills in next_number, prev_number, prev_crc, run, oldest_at_start and the files'
 * states. */
