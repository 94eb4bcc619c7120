#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/watch/internal.h"

void *rows_at(const struct rows *rows, size_t index)
{
    CHECK(index < rows->count);
    return (char *)rows->row + index * rows->size;
}

size_t rows_lower(const struct rows *rows, uint64_t id)
{
    size_t low = 0, high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows->id(rows_at(rows, middle)) < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void *rows_get(const struct rows *rows, uint64_t id)
{
    size_t at = rows_lower(rows, id);
    return at < rows->count && rows->id(rows_at(rows, at)) == id ? rows_at(rows, at) : NULL;
}

enum status rows_put(struct rows *rows, const void *row)
{
    size_t at = rows_lower(rows, rows->id(row));
    bool there = at < rows->count && rows->id(rows_at(rows, at)) == rows->id(row);
    if (!there) {
        if (rows->count == rows->capacity) {
            size_t capacity = rows->capacity == 0 ? 16 : 2 * rows->capacity;
            void *grown = realloc(rows->row, capacity * rows->size);
            if (grown == NULL) {
                return STATUS_NO_MEMORY;
            }
            rows->row = grown;
            rows->capacity = capacity;
        }
        char *place = (char *)rows->row + at * rows->size;
        memmove(place + rows->size, place, (rows->count - at) * rows->size);
        rows->count++;
    }
    memcpy(rows_at(rows, at), row, rows->size);
    return STATUS_OK;
}

void rows_delete(struct rows *rows, uint64_t first, uint64_t end)
{
    size_t from = rows_lower(rows, first), to = rows_lower(rows, end);
    if (from < to) {
        char *place = (char *)rows->row + from * rows->size;
        memmove(place, place + (to - from) * rows->size, (rows->count - to) * rows->size);
        rows->count -= to - from;
    }
}
