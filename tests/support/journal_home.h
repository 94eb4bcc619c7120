/* A journal in a directory of its own, for tests: opened, recovered, started, stopped and removed.
 */
#pragma once

#include "broker/journal/journal.h"

enum { JOURNAL_HOME_SHARDS = 100 /* numbers 1000 and on */ };

struct journal_home {
    char dir[128];
    struct journal_options
        options; /* may be changed before journal_home_format(), and while stopped */
    struct journal *journal;
    struct journal_shard shard[JOURNAL_HOME_SHARDS];
    struct journal_recovery recovery;
};

/* Makes the directory, and options that fit most tests. `home` must stay where it is. */
void journal_home_init(struct journal_home *home, const struct disk *disk);
void journal_home_format(struct journal_home *home);
/* Fails the test when something is wrong. */
void journal_home_recover(struct journal_home *home, const struct journal_visitor *visitor);
void journal_home_start(struct journal_home *home, const struct journal_visitor *visitor);
void journal_home_stop(struct journal_home *home);
/* Stops it, and removes the directory. */
void journal_home_release(struct journal_home *home);

/* A batch of one record; in memory that the next one takes. */
struct bytes journal_home_batch(uint64_t shard, size_t payload);
