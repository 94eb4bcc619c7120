/* A record batch: built once by its producer, then sent, stored, replicated and read as the same
 * bytes.
 *
 * Header, little-endian, 128 bytes; the payload follows without padding:
 *
 *   0  u32  magic          "WBAT"
 *   4  u32  header_crc     CRC-32C over bytes [8, 128)
 *   8  u32  payload_crc    CRC-32C over the payload
 *  12  u32  payload_bytes
 *  16  u64  shard          stream id << 32 | shard number           (leader)
 *  24  u32  epoch          of the leader that appended it           (leader)
 *  28  u32  count          records, at least 1; each takes an offset
 *  32  u64  base_offset    offset of the first record               (leader)
 *  40  u32  prev_crc       header_crc of the batch before, 0 if none (leader): the hash chain
 *  44  u16  flags          BATCH_CONTROL ...
 *  46  u8   format         1
 *  47  u8   codec          of the payload: 0 = none, 1 = zstd, 2 = lz4 (proto/codec/codec.h)
 *  48  u64  append_ms      arrival time of its records, Unix milliseconds (leader)
 *  56  u64  producer_id    0 = not idempotent
 *  64  u32  producer_seq   of the first record
 *  68  u16  producer_epoch
 *  70  u16  control_type   enum batch_control when BATCH_CONTROL is set, else 0
 *  72  u32  key_id         version of the stream's data key, 0 = none         (leader)
 *  76  u32  generation     recovery generation of the shard         (leader)
 *  80  16 B dedup_token    zero when unused
 *  96  16 B key_salt       salt of the derived key, zero without key_id       (leader)
 * 112  16 B reserved, zero
 *
 * "(leader)": filled by the shard's leader when it appends; a producer leaves them zero. header_crc
 * covers payload_crc, so the chain of header_crc through prev_crc covers every byte of the log.
 *
 * With BATCH_ENCRYPTED the payload is what broker/crypt made of it, BATCH_SEAL_BYTES longer, and
 * the checksums are over that. Brokers decrypt for readers: then the flag is gone, key_id still
 * tells that the records are stored encrypted.
 *
 * Payload of a data batch, once it is decompressed: `count` records, one after another:
 *
 *   0  u32  data_bytes
 *   4  u16  key_bytes      1 to PARTITION_KEY_BYTES_MAX
 *   6  u8   flags          1 = an explicit hash key of 16 bytes (big-endian) follows
 *   7  u8   reserved, 0
 *   8  [16] explicit hash key, then the key, then the data
 *
 * Pure: no I/O, no clock. Decoders accept any bytes and return CORRUPT for what they refuse. */
#pragma once

#include <stdint.h>

#include "base/bytes.h"
#include "base/formats.h"
#include "base/hash_key.h"
#include "base/limits.h"

enum {
    BATCH_MAGIC = 0x54414257,
    BATCH_FORMAT = FORMAT_BATCH,
    RECORD_HEADER_BYTES = 8,
    BATCH_SALT_BYTES = 16,
    BATCH_SEAL_BYTES = 16, /* by which encryption makes a payload longer */
};

/* What fits a sequence number's index (proto/wire/seqnum.h): 48 bits of offset, 15 of generation.
 */
#define BATCH_OFFSET_MAX ((uint64_t)1 << 48)
enum { BATCH_GENERATION_MAX = 0x7fff };

enum batch_flags {
    BATCH_CONTROL = 1,   /* holds one control record, invisible to consumers */
    BATCH_ENCRYPTED = 2, /* the payload is ciphertext (broker/crypt) */
};

enum batch_control {
    BATCH_CONTROL_NONE = 0,
    BATCH_EPOCH_START = 1, /* first batch of an epoch; payload: see epoch_start below */
    BATCH_SEAL = 2,        /* the shard is closed: only control batches follow; payload below */
    BATCH_LINEAGE = 3,     /* EPOCH_START of a forced recovery: payload as there */
};

/* A LINEAGE takes so many offsets: more than can have been lost. So no offset, and no sequence
 * number, is ever given twice, and whoever asks for a lost one is told. */
#define BATCH_LINEAGE_OFFSETS ((uint32_t)1 << 31)

struct batch_header {
    uint32_t header_crc, payload_crc, payload_bytes;
    uint64_t shard;
    uint32_t epoch, count;
    uint64_t base_offset;
    uint32_t prev_crc;
    uint16_t flags;
    uint8_t codec;
    uint64_t append_ms, producer_id;
    uint32_t producer_seq;
    uint16_t producer_epoch, control_type;
    uint32_t key_id, generation;
    uint8_t dedup_token[16];
    uint8_t key_salt[BATCH_SALT_BYTES];
};

static inline uint64_t batch_end(const struct batch_header *h)
{
    return h->base_offset + h->count;
}

static inline size_t batch_bytes(const struct batch_header *h)
{
    return BATCH_HEADER_BYTES + (size_t)h->payload_bytes;
}

/* Decodes and checks a header: magic, format, header_crc, limits, reserved bytes zero.
 * MORE     `in` is shorter than a header
 * CORRUPT  anything else is wrong; *out is untouched */
NODISCARD enum status batch_header_decode(struct bytes in, struct batch_header *out);

/* batch_header_decode(), then the payload behind it: MORE when it is not all there, CORRUPT when
 * its CRC differs. On OK the batch is the first batch_bytes(out) bytes of `in`. */
NODISCARD enum status batch_decode(struct bytes in, struct batch_header *out);

/* Writes the header's 128 bytes to `at`, computing header_crc (also into h->header_crc).
 * payload_crc must be right already: the leader fills in its fields without touching the payload.
 */
void batch_header_encode(struct batch_header *h, uint8_t *at);

/* What a leader adds to a producer's batch. */
struct batch_slot {
    uint64_t shard, base_offset, append_ms;
    uint32_t epoch, prev_crc, generation;
};

/* Puts the slot into the encoded header at `at` and encodes it again; *out is the result. The
 * header must have passed batch_header_decode(). */
void batch_assign(uint8_t *at, const struct batch_slot *slot, struct batch_header *out);

/* One record, borrowed from a payload. */
struct record {
    struct bytes key, data;
    struct hash_key hash_key; /* valid when has_hash_key */
    bool has_hash_key;
};

/* Takes the next record off `payload`. CORRUPT: the payload is malformed. */
NODISCARD enum status record_next(struct bytes *payload, struct record *out);

/* Checks that a producer's data batch decodes to exactly h->count records with legal sizes;
 * `payload` is what codec_open() gives.
 * INVALID with a sentence in *error (may be NULL) when not. */
NODISCARD enum status batch_check_records(const struct batch_header *h, struct bytes payload,
                                          struct error *error);

/* Collects records into one batch. A zeroed struct is an empty builder. */
struct batch_builder {
    struct buf buf; /* header space, then the payload so far */
    uint32_t count;
};

/* What a record takes in a batch. */
static inline size_t batch_record_bytes(const struct record *record)
{
    return RECORD_HEADER_BYTES + (record->has_hash_key ? (size_t)HASH_KEY_BYTES : 0) +
           record->key.size + record->data.size;
}

/* Room for records of so many bytes (batch_record_bytes()) beside those that are there: a help,
 * with which the builder does not grow step by step. NO_MEMORY: the builder is as before. */
NODISCARD enum status batch_builder_reserve(struct batch_builder *b, size_t bytes);

/* INVALID    the key is empty
 * TOO_LARGE  the key or the record alone breaks a limit
 * BUSY       it does not fit this batch any more: finish it and start another
 * NO_MEMORY  the builder is as before */
NODISCARD enum status batch_builder_add(struct batch_builder *b, const struct record *record);

/* Bytes the batch would have if finished now; BATCH_HEADER_BYTES when empty. */
size_t batch_builder_size(const struct batch_builder *b);

/* Encodes the header (payload_crc included; leader's fields zero) in front of the records.
 * `producer_id` 0 means not idempotent. The builder keeps the memory until batch_builder_reset().
 * count must be > 0. */
struct bytes batch_builder_finish(struct batch_builder *b, uint64_t producer_id,
                                  uint16_t producer_epoch, uint32_t producer_seq);

void batch_builder_reset(struct batch_builder *b); /* empties it, keeps the memory */
void batch_builder_release(struct batch_builder *b);

/* The payload of EPOCH_START, 64 bytes:
 *   0 u32 epoch  4 u32 cfg_ver  8 u32 leader broker  12 u32 leader disk generation
 *  16 u64 leader boot id  24 u64 time_ms  32 32 B salt */
enum { EPOCH_START_BYTES = 64 };
struct epoch_start {
    uint32_t epoch, cfg_ver, broker, disk_gen;
    uint64_t boot_id, time_ms;
    uint8_t salt[32];
    bool lineage; /* not in the payload: make it a LINEAGE */
};

/* A whole control batch of BATCH_HEADER_BYTES + EPOCH_START_BYTES at `at`, with `slot` filled in.
 */
void batch_make_epoch_start(const struct epoch_start *start, const struct batch_slot *slot,
                            uint8_t at[BATCH_HEADER_BYTES + EPOCH_START_BYTES],
                            struct batch_header *out);

/* The payload of SEAL, 8 bytes: 0 u64 time_ms, the append time again. A whole control batch at
 * `at`, with `slot` filled in. */
enum { SEAL_BYTES = 8 };
void batch_make_seal(const struct batch_slot *slot, uint8_t at[BATCH_HEADER_BYTES + SEAL_BYTES],
                     struct batch_header *out);

/* CORRUPT: not EPOCH_START_BYTES long. The payload's CRC is the caller's (batch_decode()). */
NODISCARD enum status epoch_start_decode(struct bytes payload, struct epoch_start *out);
