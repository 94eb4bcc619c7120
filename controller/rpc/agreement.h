/* Whether the controllers' states are the same: each says what it has at certain indexes, and the
 * odd one out must go (docs/replication.md 2.13).
 *
 * Pure: no clock, no I/O. One thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "controller/raft/raft.h"

enum { AGREEMENT_MARKS = 4 /* kept of each controller: they do not all arrive at one together */ };

struct agreement_mark {
    uint64_t index;   /* of the entry after which it was taken; 0: none */
    uint64_t rolling; /* hash of all entries and results so far */
    uint64_t rows;    /* digest of all rows */
};

struct agreement_member {
    uint32_t id;
    uint32_t next;
    struct agreement_mark mark[AGREEMENT_MARKS];
};

struct agreement {
    uint32_t self, voters;
    uint32_t count;
    struct agreement_member member[RAFT_NODE_SERVERS_MAX];
};

enum agreement_verdict {
    AGREEMENT_NONE,  /* nothing to compare, or all that can be compared is equal */
    AGREEMENT_OTHER, /* others differ, and they are not the majority */
    AGREEMENT_OURS,  /* a majority of the voters has the same at an index, and we have not */
};

void agreement_init(struct agreement *agreement, uint32_t self, uint32_t voters);
void agreement_voters(struct agreement *agreement, uint32_t voters); /* the set has changed */

/* Controller `id` (ourselves, or another) has this mark. A mark that is known changes nothing. */
void agreement_heard(struct agreement *agreement, uint32_t id, const struct agreement_mark *mark);

/* *out_index: where they differ; unchanged for NONE. */
enum agreement_verdict agreement_judge(const struct agreement *agreement, uint64_t *out_index);

/* The newest index at which both we and `id` have a mark, 0: none; *out_differs says whether they
 * differ there. */
uint64_t agreement_with(const struct agreement *agreement, uint32_t id, bool *out_differs);

/* The newest mark of our own; NULL: none. */
const struct agreement_mark *agreement_newest(const struct agreement *agreement);
