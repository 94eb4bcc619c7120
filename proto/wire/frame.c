#include "proto/wire/frame.h"

enum {
    AT_BYTES = 0,
    AT_MAGIC = 4,
    AT_VERSION = 5,
    AT_KIND = 6,
    AT_FLAGS = 7,
    AT_CALL = 8,
    AT_METHOD = 16,
    AT_STATUS = 18,
    AT_BODY_BYTES = 20,
    AT_TIMEOUT_MS = 24,
    AT_RESERVED = 28,
};

/* Fields that have no meaning for the kind must be zero, so that they can get one later. */
static bool fields_fit_kind(const struct frame_header *h)
{
    if ((h->call == 0) != (h->kind == FRAME_MESSAGE) ||
        (h->timeout_ms != 0 && h->kind != FRAME_CALL)) {
        return false;
    }
    if (h->kind != FRAME_REPLY) {
        return h->flags == 0 && h->status == 0 &&
               (h->kind != FRAME_CANCEL || frame_bytes(h) == FRAME_HEADER_BYTES);
    }
    /* An error is always the last reply. */
    return (h->flags & ~(unsigned)FRAME_FLAGS_KNOWN) == 0 && (h->flags == 0 || h->status == 0);
}

enum status frame_parse(struct bytes in, struct frame_header *out)
{
    if (in.size < FRAME_HEADER_BYTES) {
        return STATUS_MORE;
    }
    const uint8_t *at = in.data;
    if (at[AT_MAGIC] != FRAME_MAGIC) {
        return STATUS_CORRUPT;
    }
    if (at[AT_VERSION] != FRAME_VERSION) {
        return STATUS_UNSUPPORTED;
    }
    uint32_t bytes = get_u32(at + AT_BYTES);
    uint32_t body_bytes = get_u32(at + AT_BODY_BYTES);
    if (bytes < FRAME_HEADER_BYTES || body_bytes > bytes - FRAME_HEADER_BYTES ||
        at[AT_KIND] < FRAME_CALL || at[AT_KIND] > FRAME_MESSAGE || get_u32(at + AT_RESERVED) != 0) {
        return STATUS_CORRUPT;
    }
    struct frame_header h = {
        .kind = (enum frame_kind)at[AT_KIND],
        .flags = at[AT_FLAGS],
        .call = get_u64(at + AT_CALL),
        .method = get_u16(at + AT_METHOD),
        .status = get_u16(at + AT_STATUS),
        .body_bytes = body_bytes,
        .attachment_bytes = bytes - FRAME_HEADER_BYTES - body_bytes,
        .timeout_ms = get_u32(at + AT_TIMEOUT_MS),
    };
    if (h.body_bytes > FRAME_BODY_MAX || h.attachment_bytes > FRAME_ATTACHMENT_MAX) {
        return STATUS_TOO_LARGE;
    }
    if (!fields_fit_kind(&h)) {
        return STATUS_CORRUPT;
    }
    *out = h;
    return STATUS_OK;
}

void frame_encode(const struct frame_header *h, uint8_t at[FRAME_HEADER_BYTES])
{
    put_u32(at + AT_BYTES, (uint32_t)frame_bytes(h));
    at[AT_MAGIC] = FRAME_MAGIC;
    at[AT_VERSION] = FRAME_VERSION;
    at[AT_KIND] = (uint8_t)h->kind;
    at[AT_FLAGS] = h->flags;
    put_u64(at + AT_CALL, h->call);
    put_u16(at + AT_METHOD, h->method);
    put_u16(at + AT_STATUS, h->status);
    put_u32(at + AT_BODY_BYTES, h->body_bytes);
    put_u32(at + AT_TIMEOUT_MS, h->timeout_ms);
    put_u32(at + AT_RESERVED, 0);
}
