/* The 32-byte header of a frame; proto/rpc/rpc.h has its table. Pure: parses any bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/formats.h"
#include "base/limits.h"

enum { FRAME_MAGIC = 0x57, FRAME_VERSION = FORMAT_FRAME, FRAME_FLAGS_KNOWN = 1 };

/* As rpc_kind of proto/rpc/rpc.h has them, which lies above this folder. */
enum frame_kind { FRAME_CALL = 1, FRAME_REPLY = 2, FRAME_CANCEL = 3, FRAME_MESSAGE = 4 };

struct frame_header {
    enum frame_kind kind;
    uint8_t flags;
    uint64_t call;
    uint16_t method, status;
    uint32_t body_bytes, attachment_bytes, timeout_ms;
};

static inline size_t frame_bytes(const struct frame_header *h)
{
    return FRAME_HEADER_BYTES + (size_t)h->body_bytes + h->attachment_bytes;
}

/* Parses and checks the header at the front of `in`.
 * MORE         `in` is shorter than a header
 * UNSUPPORTED  a version of the format that we do not speak
 * TOO_LARGE    body or attachment is beyond base/limits.h
 * CORRUPT      anything else is wrong: magic, kind, a field that its kind leaves zero, sizes that
 *              do not add up */
NODISCARD enum status frame_parse(struct bytes in, struct frame_header *out);

void frame_encode(const struct frame_header *h, uint8_t at[FRAME_HEADER_BYTES]);
