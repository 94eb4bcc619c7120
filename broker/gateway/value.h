/* One tree for what a client asks and what it is answered, whatever the encoding. Every value lives
 * in the arena of its request and hangs in at most one container.
 *
 * Null is the absence of a member; only a list or a map from outside can hold VALUE_NULL, and
 * validation refuses it there. */
#pragma once

#include "base/bytes.h"
#include "broker/gateway/api_arena.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT,    /* 32 and 64 bits */
    VALUE_STRING, /* UTF-8, may hold zero characters */
    VALUE_BLOB,
    VALUE_TIME, /* Unix milliseconds */
    VALUE_LIST,
    VALUE_MAP,    /* names are the client's */
    VALUE_STRUCT, /* names are members of a shape */
};

struct value {
    enum value_kind kind;
    uint32_t count;     /* of a container's items */
    struct bytes name;  /* in a map or a structure */
    struct value *next; /* in the container */
    union {
        bool truth;
        int64_t number;     /* VALUE_INT, VALUE_TIME */
        struct bytes bytes; /* VALUE_STRING, VALUE_BLOB: borrowed from the request or the arena */
        struct {
            struct value *first, *last;
        } items; /* in their order */
    };
};

/* NOLINTBEGIN(bugprone-macro-parentheses): the name of a variable takes none */
#define VALUE_FOR_EACH(item, container)                                                  \
    for (const struct value *item = (container) ? (container)->items.first : NULL; item; \
         item = item->next)
/* NOLINTEND(bugprone-macro-parentheses) */

/* ---- reading ----
 *
 * `of` may be NULL or absent itself: everything below it is then absent too. */

/* The member or the entry of that name; NULL when absent or null. */
const struct value *value_get_bytes(const struct value *of, struct bytes name);

/* Here, so that the compiler measures names that it knows. */
static inline const struct value *value_get(const struct value *of, const char *name)
{
    return value_get_bytes(of, bytes_of_string(name));
}

static inline bool value_has(const struct value *of, const char *name)
{
    return value_get(of, name) != NULL;
}

/* A string's or a blob's bytes; {NULL, 0} when absent. */
struct bytes value_bytes(const struct value *of, const char *name);

/* The same of a value itself. */
struct bytes value_own_bytes(const struct value *value);

/* With a zero behind it, from the arena. NULL when absent, out of memory (the arena remembers), or
 * when it holds a zero character: no name of ours does. */
const char *value_text(struct arena *arena, const struct value *of, const char *name);

/* Whether the member is there and is this text: for members with an enumeration. */
bool value_is(const struct value *of, const char *name, const char *text);

/* Numbers and times; `fallback` when absent. */
int64_t value_int(const struct value *of, const char *name, int64_t fallback);
bool value_bool(const struct value *of, const char *name, bool fallback);

/* Items of a list, a map or a structure; 0 when absent. */
uint32_t value_count(const struct value *container);

/* Same kind, names, order and contents. */
bool value_equal(const struct value *a, const struct value *b);

/* ---- building ----
 *
 * `name` is a member's, or NULL in a list. The container may be NULL and the answer may be NULL:
 * that is an arena that failed, and the encoder says so at the end. Bytes are borrowed unless the
 * function says that it copies; names of members are borrowed for ever. */

struct value *value_new(struct arena *arena, enum value_kind kind);

/* Appends, or replaces the item of the same name where it stands: the last of two wins. Returns
 * where the value is now; NULL when one of the two was. */
struct value *value_put(struct value *container, struct bytes name, struct value *item);

/* Appends without looking for the name: for names that come once, and for lists. */
void value_append(struct value *container, struct bytes name, struct value *item);

struct value *value_add_struct(struct arena *arena, struct value *to, const char *name);
struct value *value_add_list(struct arena *arena, struct value *to, const char *name);
struct value *value_add_map(struct arena *arena, struct value *to, const char *name);
void value_add_bool(struct arena *arena, struct value *to, const char *name, bool truth);
void value_add_int(struct arena *arena, struct value *to, const char *name, int64_t number);
void value_add_time(struct arena *arena, struct value *to, const char *name, int64_t ms);
void value_add_blob(struct arena *arena, struct value *to, const char *name, struct bytes bytes);
void value_add_bytes(struct arena *arena, struct value *to, const char *name, struct bytes text);
/* A C string, copied; nothing is added when it is NULL. */
void value_add_text(struct arena *arena, struct value *to, const char *name, const char *text);
void value_add_format(struct arena *arena, struct value *to, const char *name, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));
