/* A backup of the controllers' state: a head of text lines, filled up with line feeds, and behind
 * it the database of the state machine as it was after one entry of the log.
 *
 *     weir controllers backup 1
 *     cluster UUID
 *     index N          the last entry that is in it
 *     term N
 *     bytes N          of the database
 *     sha256 HEX       ditto
 *     time N           when it was taken, Unix milliseconds
 *     software TEXT
 *
 * Secrets in it are sealed under the cluster key, which is not in it. Any thread. */
#pragma once

#include <stdint.h>

#include "base/limits.h"
#include "base/status.h"

enum {
    BACKUP_HEAD_BYTES = 1024,
    BACKUP_HASH_BYTES = 32,
    BACKUP_SOFTWARE_BYTES = 64,
};

struct backup_head {
    uint8_t cluster[CLUSTER_ID_BYTES];
    uint64_t index, term, bytes, time_ms;
    uint8_t hash[BACKUP_HASH_BYTES];
    char software[BACKUP_SOFTWARE_BYTES];
};

void backup_head_write(const struct backup_head *head, char out[BACKUP_HEAD_BYTES]);

/* INVALID: it is no backup. UNSUPPORTED: one of a newer format. */
NODISCARD enum status backup_head_read(const char text[BACKUP_HEAD_BYTES], struct backup_head *out,
                                       struct error *error);

/* Size and SHA-256 of what an open file has from its position on. With `copy_fd` >= 0 it is written
 * there as well. IO, DISK_FULL. */
NODISCARD enum status backup_measure(int fd, int copy_fd, uint64_t *out_bytes,
                                     uint8_t out_hash[BACKUP_HASH_BYTES], struct error *error);
