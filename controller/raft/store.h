/* raft.db: the log, the term and vote, and what is known of the snapshot, on disk.
 *
 * Every row carries a CRC, and every transaction a number, which is also kept in raft.mark: SQLite
 * takes a damaged frame of its write-ahead log for the end of it and forgets, without a word, all
 * that was committed behind. A controller that forgot must never vote again, so a database that is
 * older than its mark is CORRUPT, like a wrong CRC, a gap, or a log that does not fit its snapshot.
 *
 * Writes are queued and grouped by one writer thread: all that waits goes into one transaction,
 * with one sync. The rest belongs to the loop's thread. */
#pragma once

#include <stdint.h>

#include "base/status.h"
#include "controller/raft/core.h"

struct raft_store;

struct raft_store_options {
    const char *dir;
    uint32_t id;
    const uint32_t *ids; /* of the initial set, ours included */
    uint32_t id_count;
    bool join;                          /* an empty directory begins without a configuration */
    struct raft_node_restored restored; /* ... or with this snapshot, whose file is there */
    /* On the writer's thread, after every transaction and after a failure: look at
     * raft_store_written(). */
    void (*written)(void *data);
    void *data;
};

/* Opens or bootstraps, and reads and checks all. *out_state borrows from the store until
 * raft_store_loaded(). Errors as raft_node_open(). */
NODISCARD enum status raft_store_open(const struct raft_store_options *options,
                                      struct raft_core_state *out_state, struct raft_store **out,
                                      struct error *error);
void raft_store_loaded(struct raft_store *store);

/* Writes what is queued, stops the writer, and frees. */
void raft_store_close(struct raft_store *store);

/* The operations of struct raft_core_ops. After a failure all of them fail with it. */
NODISCARD enum status raft_store_save_vote(struct raft_store *store, uint64_t term,
                                           uint64_t voted_for);
NODISCARD enum status raft_store_append(struct raft_store *store, uint64_t from,
                                        const struct raft_entry_view *entries, uint32_t count,
                                        uint64_t *out_write);
NODISCARD enum status raft_store_save_snapshot(struct raft_store *store,
                                               const struct raft_snapshot_info *snapshot,
                                               uint64_t *out_write);
NODISCARD enum status raft_store_compact(struct raft_store *store, uint64_t upto);
NODISCARD enum status raft_store_install(struct raft_store *store,
                                         const struct raft_snapshot_info *snapshot,
                                         uint64_t *out_write);
NODISCARD enum status raft_store_load(struct raft_store *store, uint64_t index, uint64_t *out_term,
                                      uint32_t *out_type, struct buf *buf);

/* The last write that is durable; or the failure (in *error). */
NODISCARD enum status raft_store_written(struct raft_store *store, uint64_t *out_write,
                                         struct error *error);
