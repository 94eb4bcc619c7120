/* Memory of one request: taken piece by piece, given back at once. One thread at a time.
 *
 * A failed take is remembered, so that code which builds an answer checks once, at its end. */
#pragma once

#include <stdarg.h>

#include "base/bytes.h"

struct arena_chunk;

/* A zeroed struct with `limit` set is an empty arena. */
struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t taken, limit;        /* bytes asked of malloc; 0: no limit */
    bool failed;
};

/* What a request may take: the largest body's text, decoded, twice over, and its values. */
enum { ARENA_REQUEST_LIMIT = 64 * 1024 * 1024 };

/* Zeroed and aligned for any of our types; NULL (and `failed`) beyond the limit or out of memory.
 */
void *arena_take(struct arena *arena, size_t size);

/* The same, neither zeroed nor aligned: for text. */
uint8_t *arena_take_bytes(struct arena *arena, size_t size);

/* A copy with a zero behind it (not counted). {NULL, 0} when out of memory. */
struct bytes arena_copy(struct arena *arena, struct bytes bytes);

/* Formatted, with a zero behind it. {NULL, 0} when out of memory. */
struct bytes arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
struct bytes arena_format_list(struct arena *arena, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

/* Frees everything; the arena is as new. */
void arena_release(struct arena *arena);
