#include "base/bytes.h"

#include <stdlib.h>

enum { BUF_CAPACITY_MIN = 256 };

enum status buf_reserve(struct buf *buf, size_t more)
{
    if (more > SIZE_MAX / 2 - buf->size) {
        return STATUS_NO_MEMORY;
    }
    size_t needed = buf->size + more;
    if (needed <= buf->capacity) {
        return STATUS_OK;
    }
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity;
    while (capacity < needed) {
        capacity *= 2;
    }
    uint8_t *data = realloc(buf->data, capacity);
    if (data == NULL) {
        return STATUS_NO_MEMORY;
    }
    buf->data = data;
    buf->capacity = capacity;
    return STATUS_OK;
}

enum status buf_append(struct buf *buf, const void *data, size_t size)
{
    if (size == 0) {
        return STATUS_OK;
    }
    enum status status = buf_reserve(buf, size);
    if (status != STATUS_OK) {
        return status;
    }
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return STATUS_OK;
}

void buf_consume(struct buf *buf, size_t count)
{
    if (count >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + count, buf->size - count);
    buf->size -= count;
}

void buf_release(struct buf *buf)
{
    free(buf->data);
    *buf = (struct buf){0};
}

struct bytes reader_take(struct reader *reader, size_t size)
{
    if (reader->failed || size > reader->rest.size) {
        reader->failed = true;
        return (struct bytes){0};
    }
    struct bytes taken = bytes_of(reader->rest.data, size);
    reader->rest.data += size;
    reader->rest.size -= size;
    return taken;
}

uint8_t reader_u8(struct reader *reader)
{
    struct bytes b = reader_take(reader, 1);
    return b.size == 0 ? 0 : b.data[0];
}

uint16_t reader_u16(struct reader *reader)
{
    struct bytes b = reader_take(reader, 2);
    return b.size == 0 ? 0 : get_u16(b.data);
}

uint32_t reader_u32(struct reader *reader)
{
    struct bytes b = reader_take(reader, 4);
    return b.size == 0 ? 0 : get_u32(b.data);
}

uint64_t reader_u64(struct reader *reader)
{
    struct bytes b = reader_take(reader, 8);
    return b.size == 0 ? 0 : get_u64(b.data);
}
