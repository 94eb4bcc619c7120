/* Compression of a batch's payload, by the `codec` byte of its header (proto/wire/batch.h).
 *
 * A compressed payload:
 *
 *   0  u32  plain_bytes    of the records, 1 to BATCH_PAYLOAD_MAX
 *   4  ...  one zstd frame (codec 1), or one lz4 block (codec 2), to the end
 *
 * Whoever stores a batch keeps it as it came; whoever looks at its records opens it with
 * codec_open(). With encryption at rest the order is: compress, then encrypt; so decrypt, then
 * codec_open().
 *
 * No I/O, no clock, no threads; it links libzstd and liblz4. Takes any bytes: what is decompressed
 * never needs more memory than plain_bytes, which is checked before anything is allocated. */
#pragma once

#include "base/bytes.h"
#include "base/status.h"
#include "proto/wire/batch.h"

enum codec { CODEC_NONE = 0, CODEC_ZSTD = 1, CODEC_LZ4 = 2 };

/* "none", "zstd", "lz4"; "unknown" for other numbers. */
const char *codec_name(unsigned codec);

/* INVALID: none of these names. */
NODISCARD enum status codec_from_name(const char *name, enum codec *out);

/* What is worth keeping between calls. Zeroed it is ready; of one thread at a time. */
struct coder {
    void *zstd_in, *zstd_out; /* ZSTD_DCtx, ZSTD_CCtx */
    struct buf plain;         /* of codec_open() */
};

void coder_release(struct coder *coder);

/* The records of a data batch whose CRC was checked: `payload` itself when it is not compressed,
 * else bytes of the coder, valid until its next use.
 *
 * UNSUPPORTED  a codec that this version does not know
 * CORRUPT      it does not decompress to exactly as many bytes as it says, or says too many
 * NO_MEMORY */
NODISCARD enum status codec_open(struct coder *coder, const struct batch_header *h,
                                 struct bytes payload, struct bytes *out);

/* How many bytes codec_open() will give for it, by its own word: 0 when that is not to be believed.
 */
size_t codec_plain_bytes(const struct batch_header *h, struct bytes payload);

/* Appends the compressed payload of these records to `out`.
 *
 * TOO_LARGE    it would not be smaller than `plain`; `out` is as before
 * NO_MEMORY    the same
 * INVALID      `codec` is none that compresses, or there is nothing to compress */
NODISCARD enum status codec_compress(struct coder *coder, enum codec codec, struct bytes plain,
                                     struct buf *out);
