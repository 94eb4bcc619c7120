/* Borrowed bytes, owned buffers, and little-endian readers and writers over them. No thread of its
 * own: an object belongs to whoever holds it. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

/* Borrowed: never freed through this struct. `data` may be NULL when `size` is 0. */
struct bytes {
    const uint8_t *data;
    size_t size;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
    return (struct bytes){.data = data, .size = size};
}

static inline struct bytes bytes_of_string(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Owned and growing. A zeroed struct is an empty buffer; buf_release() accepts it. */
struct buf {
    uint8_t *data;
    size_t size, capacity;
};

/* Room for `more` bytes behind `size`. NO_MEMORY: the buffer is as before. */
NODISCARD enum status buf_reserve(struct buf *buf, size_t more);

NODISCARD enum status buf_append(struct buf *buf, const void *data, size_t size);

/* Drops the first `count` bytes (all of them when there are fewer). */
void buf_consume(struct buf *buf, size_t count);

void buf_release(struct buf *buf);

static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->data, buf->size);
}

/* Fixed-width little-endian fields at an address with room for them. */
static inline void put_u16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static inline void put_u32(uint8_t *at, uint32_t v)
{
    put_u16(at, (uint16_t)v);
    put_u16(at + 2, (uint16_t)(v >> 16));
}

static inline void put_u64(uint8_t *at, uint64_t v)
{
    put_u32(at, (uint32_t)v);
    put_u32(at + 4, (uint32_t)(v >> 32));
}

static inline uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)get_u16(at) | (uint32_t)get_u16(at + 2) << 16;
}

static inline uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

/* Reads fields one after another; a field beyond the end sets `failed` and yields zero, so that a
 * decoder checks once, at its end. */
struct reader {
    struct bytes rest;
    bool failed;
};

static inline struct reader reader_of(struct bytes bytes)
{
    return (struct reader){.rest = bytes};
}

/* The next `size` bytes, borrowed from the input; {NULL, 0} and `failed` when there are fewer. */
struct bytes reader_take(struct reader *reader, size_t size);
uint8_t reader_u8(struct reader *reader);
uint16_t reader_u16(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
