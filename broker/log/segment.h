/* Segment files: names, the sparse index, and walking over batches with every check that their
 * bytes allow. Nothing here knows about the journal. */
#pragma once

#include "broker/log/log.h"

enum { INDEX_EVERY_BYTES = 64 * 1024, SCAN_CHUNK_BYTES = 1024 * 1024, STORE_PATH_BYTES = 512 };

void log_path_join(char out[STORE_PATH_BYTES], const char *dir, const char *name);
/* DIR/shards/S-N, with /OFFSET.suffix unless suffix is NULL. */
void log_path_shard(char out[STORE_PATH_BYTES], const char *dir, uint64_t shard);
void log_path_segment(char out[STORE_PATH_BYTES], const char *dir, uint64_t shard, uint64_t base,
                      const char *suffix);
/* "S-N" -> the shard; "OFFSET.suffix" -> the offset. False for other names. */
bool log_name_is_shard(const char *name, uint64_t *out_shard);
bool log_name_is_segment(const char *name, const char *suffix, uint64_t *out_base);

/* One batch about every 64 KiB: the first offset, its time, and where it lies. */
struct index_entry {
    uint64_t offset, ms, at;
};
struct segment_index {
    struct index_entry *entry;
    uint32_t count, capacity;
    uint64_t from; /* what lies before this byte is not indexed */
};
NODISCARD enum status segment_index_reserve(struct segment_index *index);
/* After segment_index_reserve(). */
void segment_index_note(struct segment_index *index, uint64_t offset, uint64_t ms, uint64_t at);
void segment_index_cut(struct segment_index *index, uint64_t at);
void segment_index_release(struct segment_index *index);
/* The last entry with offset <= `offset`, or with ms < `ms`; NULL: none. */
const struct index_entry *segment_index_by_offset(const struct segment_index *index,
                                                  uint64_t offset);
const struct index_entry *segment_index_by_time(const struct segment_index *index, uint64_t ms);

/* OFFSET.index:
 *   0 u32 magic "WIDX"  4 u32 crc over the rest  8 u32 format  12 u32 entries
 *  16 u64 base  24 u64 bytes of the segment  32 entries: u64 offset, u64 ms, u64 at */
NODISCARD enum status segment_index_write(const struct disk *disk, const char *path, uint64_t base,
                                          uint64_t bytes, const struct segment_index *index);
/* CORRUPT, NOT_FOUND: scan the segment instead. */
NODISCARD enum status segment_index_read(const struct disk *disk, const char *path, uint64_t base,
                                         uint64_t bytes, struct segment_index *out);

/* From the first `bytes` of the segment itself. */
NODISCARD enum status segment_index_build(const struct disk *disk, const char *path, uint64_t shard,
                                          uint64_t bytes, struct segment_index *out);

/* Walks over the batches of one segment file, from `at` to `limit`. */
struct segment_scan {
    const struct disk *disk;
    int fd;
    uint64_t shard, at, limit;
    bool
        has_point; /* `point` is known: offsets and the chain are checked from the first batch on */
    bool payloads; /* check them too */
    struct log_point point; /* after the last batch */
    struct buf chunk;
    uint64_t chunk_at;
};
/* NOT_FOUND, IO ... */
NODISCARD enum status segment_scan_open(struct segment_scan *s, const struct disk *disk,
                                        const char *path, uint64_t shard);
void segment_scan_close(struct segment_scan *s);
/* MORE: the limit is reached, also when less than a batch is left before it and the file ends.
 * CORRUPT: no good batch lies there. `*out_batch` is valid until the next call; only with payloads
 * does it have more than the header. */
NODISCARD enum status segment_scan_next(struct segment_scan *s, struct batch_header *out,
                                        struct bytes *out_batch);
/* The offset of the first batch behind `at` that looks good by its header and lies above `above`;
 * false: there is none below the limit, or it cannot be read. */
bool segment_scan_resync(struct segment_scan *s, uint64_t at, uint64_t above, uint64_t *out);
