#include "broker/gateway/api_arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHUNK_BYTES = 16 * 1024, LARGE_BYTES = CHUNK_BYTES / 4 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) uint8_t data[];
};

static struct arena_chunk *chunk_new(struct arena *arena, size_t size)
{
    size_t whole = sizeof(struct arena_chunk) + size;
    size_t limit = arena->limit ? arena->limit : SIZE_MAX;
    struct arena_chunk *chunk = NULL;
    if (!arena->failed && whole > size && whole <= limit - arena->taken) {
        chunk = malloc(whole);
    }
    if (!chunk) {
        arena->failed = true;
        return NULL;
    }
    arena->taken += whole;
    *chunk = (struct arena_chunk){.size = size};
    return chunk;
}

/* Large pieces get a chunk of their own, behind the newest: what is left of that stays in use. */
static uint8_t *take(struct arena *arena, size_t size, size_t align)
{
    struct arena_chunk *newest = arena->chunks;
    if (newest) {
        size_t at = (newest->used + align - 1) & ~(align - 1);
        if (at <= newest->size && size <= newest->size - at) {
            newest->used = at + size;
            return newest->data + at;
        }
    }
    bool large = size > LARGE_BYTES;
    struct arena_chunk *chunk = chunk_new(arena, large ? size : CHUNK_BYTES);
    if (!chunk) {
        return NULL;
    }
    chunk->used = size;
    if (large && newest) {
        chunk->next = newest->next;
        newest->next = chunk;
    } else {
        chunk->next = newest;
        arena->chunks = chunk;
    }
    return chunk->data;
}

void *arena_take(struct arena *arena, size_t size)
{
    uint8_t *data = take(arena, size, alignof(max_align_t));
    if (data) {
        memset(data, 0, size);
    }
    return data;
}

uint8_t *arena_take_bytes(struct arena *arena, size_t size)
{
    return take(arena, size, 1);
}

struct bytes arena_copy(struct arena *arena, struct bytes bytes)
{
    if (bytes.size == SIZE_MAX) {
        arena->failed = true;
        return bytes_of(NULL, 0);
    }
    uint8_t *data = arena_take_bytes(arena, bytes.size + 1);
    if (!data) {
        return bytes_of(NULL, 0);
    }
    if (bytes.size) {
        memcpy(data, bytes.data, bytes.size);
    }
    data[bytes.size] = 0;
    return bytes_of(data, bytes.size);
}

struct bytes arena_format_list(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    uint8_t *data = NULL;
    if (length >= 0) {
        data = arena_take_bytes(arena, (size_t)length + 1);
    } else {
        arena->failed = true;
    }
    if (data) {
        (void)vsnprintf((char *)data, (size_t)length + 1, format, again);
    }
    va_end(again);
    return bytes_of(data, data ? (size_t)length : 0);
}

struct bytes arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct bytes text = arena_format_list(arena, format, arguments);
    va_end(arguments);
    return text;
}

void arena_release(struct arena *arena)
{
    struct arena_chunk *chunk = arena->chunks;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    *arena = (struct arena){.limit = arena->limit};
}
