/* The journal's block, little-endian; every offset and size a multiple of 8, the block's of 4 KiB.
 *
 *    header      512 bytes
 *    records     `used` bytes
 *    zeros
 *    trailer     the last 512 bytes: the persist mark of replication.md 2.9, a sector of its own
 *
 * Header:
 *   0 u32 magic "WJBH"      4 u32 crc over [8, 512)     8 16 B journal id
 *  24 u64 number            rises for ever; a reused file is known by the lower numbers in it
 *  32 u64 prev_number       the block before; numbers between were torn and dropped
 *  40 u32 prev_crc          its header's crc: the chain
 *  44 u32 records_crc       over what covers() says of each record, in order
 *  48 u32 bytes             of the whole block
 *  52 u32 used              of the records
 *  56 u32 records
 *  60 u32 run               rises with every start of the broker
 *  64 u64 oldest            number of the first block of the oldest file still needed
 *  72 u16 format  74 u16 0
 *  76 u32 prev_shards       how many follow; BLOCK_SHARDS_FAR: the first record lists them
 *  80 16 B reserved, zero
 *  96 52 x u64              the shards of the block before: damage there is theirs alone
 *
 * Trailer:
 *   0 u32 magic "WJBT"      4 u32 crc over [8, 512)     8 16 B journal id
 *  24 u64 number           32 u32 crc of the header    36 u32 shards, or BLOCK_SHARDS_FAR
 *  40 u64 oldest           48 u64 prev_number          56 57 x u64 the shards of this block
 *
 * Record, padded to a multiple of 8:
 *   0 u32 bytes of it without padding   4 u8 type   5 3 B zero   8 u64 shard
 *  16 u64 a                24 u32 b    28 u32 c     32 body
 *
 * A batch carries its own checksums, so that records_crc covers only its header: every byte is
 * summed once on its way in. Pure; decoders take any bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/formats.h"
#include "broker/journal/journal.h"

enum {
    BLOCK_SECTOR = 512,
    BLOCK_UNIT = 4096,
    BLOCK_FORMAT = FORMAT_JOURNAL,
    BLOCK_FORMAT_AT = 72, /* in a header of whatever format */
    BLOCK_HEADER_SHARDS = 52,
    BLOCK_TRAILER_SHARDS = 57,
    RECORD_FRAME_BYTES = 32,
    BLOCK_BYTES_MIN = BLOCK_UNIT,
};
#define BLOCK_SHARDS_FAR UINT32_MAX

struct block_header {
    uint64_t number, prev_number, oldest;
    uint32_t crc, prev_crc, records_crc, bytes, used, records, run;
    uint32_t prev_shard_count;
    uint64_t prev_shards[BLOCK_HEADER_SHARDS];
};

struct block_trailer {
    uint64_t number, prev_number, oldest;
    uint32_t header_crc, shard_count;
    uint64_t shards[BLOCK_TRAILER_SHARDS];
};

static inline uint64_t block_align(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Both compute the sector's crc; the header's also goes into h->crc. */
void journal_header_encode(struct block_header *h, const uint8_t id[JOURNAL_ID_BYTES], uint8_t *at);
void journal_trailer_encode(const struct block_trailer *t, const uint8_t id[JOURNAL_ID_BYTES],
                            uint8_t *at);

/* CORRUPT: not one of this journal's. UNSUPPORTED: another format. */
NODISCARD enum status journal_header_decode(const uint8_t *at, const uint8_t id[JOURNAL_ID_BYTES],
                                            struct block_header *out);
NODISCARD enum status journal_trailer_decode(const uint8_t *at, const uint8_t id[JOURNAL_ID_BYTES],
                                             struct block_trailer *out);

void journal_record_encode(const struct journal_record *record, size_t body_bytes,
                           uint8_t at[RECORD_FRAME_BYTES]);

/* How many of a record's bytes records_crc covers: the frame, and the body's beginning. */
size_t journal_record_covered(enum journal_type type, size_t body_bytes);

/* Takes the next record off `rest`, which begins at `offset` of its file. CORRUPT. */
NODISCARD enum status journal_record_take(struct bytes *rest, uint32_t file, uint64_t *offset,
                                          struct journal_record *out);

/* Whether a batch in a DATA record is whole and belongs to the record's shard. */
bool journal_record_batch_is_good(const struct journal_record *record);

/* STATE's body:
 *   0 u32 disk_gen  4 u32 promised  8 u32 flags (1 uncertain)  12 u32 history count
 *  16 u64 end  24 u32 epoch  28 u32 crc          the log
 *  32 u64 log_start  40 u64 commit_hint  48 u64 uncertain_end
 *  56 u64 end  64 u32 epoch  68 u32 crc          the part that is synced in segments
 *  72 u64 segment_base  80 u64 segment_bytes  88 u64 last_at
 *  96 u64 seal_end
 * 104 pairs: u32 epoch, u32 zero, u64 start */
enum { STATE_FIXED_BYTES = 104, STATE_PAIR_BYTES = 16 };
void journal_state_encode(const struct journal_state *state, uint8_t *at);
