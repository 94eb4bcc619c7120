#include "proto/codec/codec.h"

#include <lz4.h>
#include <string.h>
#include <zstd.h>

enum {
    SIZE_BYTES = 4,
    ZSTD_LEVEL = 1,       /* a producer compresses on its way: speed before the last percent */
    KEPT_BYTES = 1 << 20, /* a larger buffer goes back after its batch */
};

static_assert(BATCH_PAYLOAD_MAX <= LZ4_MAX_INPUT_SIZE, "lz4 counts in int");

static const char *const names[] =
    {[CODEC_NONE] = "none", [CODEC_ZSTD] = "zstd", [CODEC_LZ4] = "lz4"};

const char *codec_name(unsigned codec)
{
    return codec < sizeof(names) / sizeof(names[0]) ? names[codec] : "unknown";
}

enum status codec_from_name(const char *name, enum codec *out)
{
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (enum codec)i;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}

void coder_release(struct coder *coder)
{
    (void)ZSTD_freeDCtx(coder->zstd_in);
    (void)ZSTD_freeCCtx(coder->zstd_out);
    buf_release(&coder->plain);
    *coder = (struct coder){0};
}

size_t codec_plain_bytes(const struct batch_header *h, struct bytes payload)
{
    if (h->codec == CODEC_NONE) {
        return payload.size;
    }
    uint32_t size = payload.size > SIZE_BYTES ? get_u32(payload.data) : 0;
    return size <= BATCH_PAYLOAD_MAX ? size : 0;
}

NODISCARD static enum status zstd_open(struct coder *coder, struct bytes in, size_t size)
{
    if (coder->zstd_in == NULL) {
        coder->zstd_in = ZSTD_createDCtx();
    }
    if (coder->zstd_in == NULL) {
        return STATUS_NO_MEMORY;
    }
    /* Exactly one frame: the function would take several, and frames to be skipped. */
    size_t first = ZSTD_findFrameCompressedSize(in.data, in.size);
    if (ZSTD_isError(first) != 0 || first != in.size) {
        return STATUS_CORRUPT;
    }
    size_t got = ZSTD_decompressDCtx(coder->zstd_in, coder->plain.data, size, in.data, in.size);
    return ZSTD_isError(got) == 0 && got == size ? STATUS_OK : STATUS_CORRUPT;
}

NODISCARD static enum status lz4_open(struct coder *coder, struct bytes in, size_t size)
{
    int got = LZ4_decompress_safe((const char *)in.data, (char *)coder->plain.data, (int)in.size,
                                  (int)size);
    return got >= 0 && (size_t)got == size ? STATUS_OK : STATUS_CORRUPT;
}

enum status codec_open(struct coder *coder, const struct batch_header *h, struct bytes payload,
                       struct bytes *out)
{
    if (h->codec == CODEC_NONE) {
        *out = payload;
        return STATUS_OK;
    }
    if (h->codec != CODEC_ZSTD && h->codec != CODEC_LZ4) {
        return STATUS_UNSUPPORTED;
    }
    size_t size = codec_plain_bytes(h, payload);
    if (size == 0 || payload.size > BATCH_PAYLOAD_MAX) {
        return STATUS_CORRUPT;
    }
    if (coder->plain.capacity > KEPT_BYTES && size <= KEPT_BYTES) {
        buf_release(&coder->plain);
    }
    coder->plain.size = 0;
    enum status status = buf_reserve(&coder->plain, size);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes in = bytes_of(payload.data + SIZE_BYTES, payload.size - SIZE_BYTES);
    status = h->codec == CODEC_ZSTD ? zstd_open(coder, in, size) : lz4_open(coder, in, size);
    if (status == STATUS_OK) {
        coder->plain.size = size;
        *out = buf_bytes(&coder->plain);
    }
    return status;
}

/* Into `room` bytes at `at`; 0: it does not fit. */
NODISCARD static enum status compress(struct coder *coder, enum codec codec, struct bytes plain,
                                      uint8_t *at, size_t room, size_t *out)
{
    size_t got;
    if (codec == CODEC_LZ4) {
        int size =
            LZ4_compress_default((const char *)plain.data, (char *)at, (int)plain.size, (int)room);
        got = size > 0 ? (size_t)size : 0;
    } else {
        if (coder->zstd_out == NULL) {
            coder->zstd_out = ZSTD_createCCtx();
        }
        if (coder->zstd_out == NULL) {
            return STATUS_NO_MEMORY;
        }
        got = ZSTD_compressCCtx(coder->zstd_out, at, room, plain.data, plain.size, ZSTD_LEVEL);
        got = ZSTD_isError(got) != 0 ? 0 : got;
    }
    if (got == 0) {
        return STATUS_TOO_LARGE;
    }
    *out = got;
    return STATUS_OK;
}

enum status codec_compress(struct coder *coder, enum codec codec, struct bytes plain,
                           struct buf *out)
{
    if ((codec != CODEC_ZSTD && codec != CODEC_LZ4) || plain.size == 0 ||
        plain.size > BATCH_PAYLOAD_MAX) {
        return STATUS_INVALID;
    }
    if (plain.size <= SIZE_BYTES + 1) {
        return STATUS_TOO_LARGE;
    }
    enum status status = buf_reserve(out, plain.size);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *at = out->data + out->size;
    size_t size = 0;
    status = compress(coder, codec, plain, at + SIZE_BYTES, plain.size - 1 - SIZE_BYTES, &size);
    if (status != STATUS_OK) {
        return status;
    }
    put_u32(at, (uint32_t)plain.size);
    out->size += SIZE_BYTES + size;
    return STATUS_OK;
}
