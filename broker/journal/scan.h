/* What lies in the journal's files: every sector that is a header or a trailer of this journal. */
#pragma once

#include "broker/journal/private.h"

enum { SCAN_UNREADABLE_MAX = 64 };

struct found_header {
    struct block_header h;
    uint32_t file;
    uint64_t offset;
};

struct found_trailer {
    struct block_trailer t;
    uint32_t file;
    uint64_t offset; /* of the end of the block */
};

struct scan {
    struct found_header *header; /* by number */
    struct found_trailer *trailer;
    uint32_t header_count, header_capacity, trailer_count, trailer_capacity;
    uint64_t oldest;       /* number of the block where recovery begins */
    uint32_t other_format; /* of blocks that this version does not know; 0: there are none */
    /* Units that the disk would not give; past the array's end they count as everywhere. */
    struct {
        uint32_t file;
        uint64_t offset;
    } unreadable[SCAN_UNREADABLE_MAX];
    uint32_t unreadable_count;
};

NODISCARD enum status journal_scan_files(struct journal *j, struct scan *out);
void journal_scan_release(struct scan *scan);

/* Whether a sector that no known block covers could not be read: it may hold the newest block. */
bool journal_scan_is_blind(const struct scan *scan);

/* NULL: none. */
const struct found_header *journal_scan_header(const struct scan *scan, uint64_t number);
const struct found_trailer *journal_scan_trailer(const struct scan *scan, uint64_t number);
