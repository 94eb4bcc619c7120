/* The files of snapshots: snapshot-INDEX is ours; snapshot.taking and snapshot.incoming are on
 * their way to become it. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"
#include "controller/raft/core.h"

enum { RAFT_SNAPSHOT_PATH_BYTES = 4096 };

void raft_snapshot_path(const char *dir, uint64_t index, char out[RAFT_SNAPSHOT_PATH_BYTES]);
void raft_snapshot_taking_path(const char *dir, char out[RAFT_SNAPSHOT_PATH_BYTES]);

/* Size and SHA-256 of a whole file, which is synced first when `sync`. Any thread. */
NODISCARD enum status raft_snapshot_measure(const char *path, bool sync, uint64_t *out_bytes,
                                            uint8_t out_hash[RAFT_HASH_BYTES], struct error *error);

/* CORRUPT: snapshot-INDEX is missing or is not what `info` says. */
NODISCARD enum status raft_snapshot_check(const char *dir, const struct raft_snapshot_info *info,
                                          struct error *error);

/* snapshot.taking, which is synced, becomes snapshot-INDEX, durably. Any thread. */
NODISCARD enum status raft_snapshot_publish_taking(const char *dir, uint64_t index,
                                                   struct error *error);
/* The same for snapshot.incoming, which it syncs. The writer's thread. */
NODISCARD enum status raft_snapshot_publish_incoming(const char *dir, uint64_t index,
                                                     struct error *error);

/* Removes the files of all older snapshots and, at start, leftovers. Never fails: they only cost
 * space. */
void raft_snapshot_remove_others(const char *dir, uint64_t keep);

/* Reading ours and receiving another; the loop's thread. */
struct raft_snapshot_io {
    const char *dir;
    int read_fd;
    uint64_t read_index;
    int incoming_fd;
    void *hash; /* EVP_MD_CTX */
};
void raft_snapshot_io_init(struct raft_snapshot_io *io, const char *dir);
void raft_snapshot_io_release(struct raft_snapshot_io *io);
NODISCARD enum status raft_snapshot_read(struct raft_snapshot_io *io, uint64_t index,
                                         uint64_t offset, uint8_t *out, size_t size);
NODISCARD enum status raft_snapshot_receive_begin(struct raft_snapshot_io *io);
NODISCARD enum status raft_snapshot_receive_append(struct raft_snapshot_io *io, struct bytes chunk);
NODISCARD enum status raft_snapshot_receive_end(struct raft_snapshot_io *io,
                                                const uint8_t hash[RAFT_HASH_BYTES]);
