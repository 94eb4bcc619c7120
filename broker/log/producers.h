/* OFFSET.producers: the shell's table, with a checksum.
 *   0 u32 magic "WPRO"  4 u32 crc over the rest  8 u64 offset  16 table */
#pragma once

#include "broker/log/log.h"

/* Not synced: a bad one is as good as none. */
void log_producers_write(const struct disk *disk, const char *dir, uint64_t shard, uint64_t base,
                         struct bytes table);
/* NOT_FOUND, CORRUPT, IO, NO_MEMORY. */
NODISCARD enum status log_producers_read(const struct disk *disk, const char *dir, uint64_t shard,
                                         uint64_t base, struct buf *out);
