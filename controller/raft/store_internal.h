/* What the store's three files share: opening and checking, the queue, the writer. */
#pragma once

#include <pthread.h>
#include <sqlite3.h>

#include "base/list.h"
#include "controller/raft/store.h"

enum store_job_kind {
    STORE_VOTE,
    STORE_APPEND,
    STORE_SNAPSHOT,
    STORE_COMPACT,
    STORE_INSTALL,
};

struct store_job {
    struct list node;
    enum store_job_kind kind;
    uint64_t write;
    uint64_t term, voted_for;
    uint64_t index; /* APPEND: from; COMPACT: up to */
    struct raft_snapshot_info snapshot;
    struct raft_entry_view *entries; /* their data are in `data` */
    uint32_t count;
    uint8_t *data;
};

struct store_meta {
    uint64_t generation, term, voted_for;
};

enum store_statement {
    STORE_BEGIN,
    STORE_COMMIT,
    STORE_ROLLBACK,
    STORE_PUT_ENTRY,
    STORE_CUT_END,
    STORE_CUT_BEGINNING,
    STORE_PUT_META,
    STORE_PUT_SNAPSHOT,
    STORE_STATEMENTS,
};

struct raft_store {
    struct raft_store_options options;
    char *dir;
    int lock_fd, mark_fd, dir_fd;
    struct raft_entry_view *loaded;
    uint32_t loaded_count;
    bool joined;     /* it began without a configuration */
    bool other_list; /* the options name others than it began with */

    sqlite3 *reader; /* the loop's */
    sqlite3_stmt *read_entry;

    /* the writer's, once it runs */
    sqlite3 *db;
    sqlite3_stmt *statements[STORE_STATEMENTS];
    struct store_meta meta;

    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct list jobs;
    uint64_t queued, durable;
    bool stopping;
    struct error error;
};

/* SQLite's result as ours; writes the sentence. */
enum status store_error(sqlite3 *db, int rc, const char *what, struct error *error);

uint32_t store_entry_crc(const struct raft_entry_view *entry);
uint32_t store_meta_crc(const struct store_meta *meta);
uint32_t store_snapshot_crc(const struct raft_snapshot_info *info);

/* store_load.c: opens and checks everything; fills the store and *state. */
enum status store_load(struct raft_store *store, struct raft_core_state *state,
                       struct error *error);

/* store_writer.c */
enum status store_prepare(struct raft_store *store, struct error *error);
enum status store_run(struct raft_store *store, enum store_statement statement,
                      struct error *error);
enum status store_put_entry(struct raft_store *store, const struct raft_entry_view *entry,
                            struct error *error);
enum status store_put_snapshot(struct raft_store *store, const struct raft_snapshot_info *info,
                               struct error *error);
enum status store_put_meta(struct raft_store *store, struct error *error);
enum status store_put_mark(struct raft_store *store, bool sync, struct error *error);
void *store_writer(void *data);
void store_job_free(struct store_job *job);
