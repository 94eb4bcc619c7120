#include "broker/gateway/value.h"

/* ---- reading ---- */

static bool is_container(const struct value *value)
{
    return value->kind == VALUE_LIST || value->kind == VALUE_MAP || value->kind == VALUE_STRUCT;
}

static struct value *find(const struct value *of, struct bytes name)
{
    for (struct value *item = of->items.first; item; item = item->next) {
        /* Most of a structure's names differ in their size or in their first character. */
        if (item->name.size == name.size &&
            (!name.size || (item->name.data[0] == name.data[0] && bytes_equal(item->name, name)))) {
            return item;
        }
    }
    return NULL;
}

const struct value *value_get_bytes(const struct value *of, struct bytes name)
{
    if (!of || !is_container(of)) {
        return NULL;
    }
    const struct value *item = find(of, name);
    return item && item->kind != VALUE_NULL ? item : NULL;
}

struct bytes value_own_bytes(const struct value *value)
{
    if (!value || (value->kind != VALUE_STRING && value->kind != VALUE_BLOB)) {
        return bytes_of(NULL, 0);
    }
    return value->bytes;
}

struct bytes value_bytes(const struct value *of, const char *name)
{
    return value_own_bytes(value_get(of, name));
}

const char *value_text(struct arena *arena, const struct value *of, const char *name)
{
    const struct value *item = value_get(of, name);
    if (!item || item->kind != VALUE_STRING ||
        (item->bytes.size && memchr(item->bytes.data, 0, item->bytes.size))) {
        return NULL;
    }
    return (const char *)arena_copy(arena, item->bytes).data;
}

bool value_is(const struct value *of, const char *name, const char *text)
{
    const struct value *item = value_get(of, name);
    return item && item->kind == VALUE_STRING && bytes_equal(item->bytes, bytes_of_string(text));
}

int64_t value_int(const struct value *of, const char *name, int64_t fallback)
{
    const struct value *item = value_get(of, name);
    return item && (item->kind == VALUE_INT || item->kind == VALUE_TIME) ? item->number : fallback;
}

bool value_bool(const struct value *of, const char *name, bool fallback)
{
    const struct value *item = value_get(of, name);
    return item && item->kind == VALUE_BOOL ? item->truth : fallback;
}

uint32_t value_count(const struct value *container)
{
    return container && is_container(container) ? container->count : 0;
}

/* The shapes are not recursive: the depth is small. */
bool value_equal(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind || !bytes_equal(a->name, b->name)) {
        return false;
    }
    switch (a->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->truth == b->truth;
    case VALUE_INT:
    case VALUE_TIME:
        return a->number == b->number;
    case VALUE_STRING:
    case VALUE_BLOB:
        return bytes_equal(a->bytes, b->bytes);
    case VALUE_LIST:
    case VALUE_MAP:
    case VALUE_STRUCT:
        break;
    }
    const struct value *left = a->items.first;
    const struct value *right = b->items.first;
    while (left && right && value_equal(left, right)) {
        left = left->next;
        right = right->next;
    }
    return !left && !right;
}

/* ---- building ---- */

struct value *value_new(struct arena *arena, enum value_kind kind)
{
    struct value *value = arena_take(arena, sizeof *value);
    if (value) {
        value->kind = kind;
    }
    return value;
}

void value_append(struct value *container, struct bytes name, struct value *item)
{
    if (!container || !item) {
        return;
    }
    item->name = name;
    item->next = NULL;
    if (container->items.last) {
        container->items.last->next = item;
    } else {
        container->items.first = item;
    }
    container->items.last = item;
    container->count++;
}

struct value *value_put(struct value *container, struct bytes name, struct value *item)
{
    if (!container || !item) {
        return NULL;
    }
    struct value *old = find(container, name);
    if (!old) {
        value_append(container, name, item);
        return item;
    }
    struct value *next = old->next;
    *old = *item;
    old->name = name;
    old->next = next;
    return old;
}

static struct value *add(struct arena *arena, struct value *to, const char *name,
                         enum value_kind kind)
{
    struct value *value = value_new(arena, kind);
    if (name) {
        return value_put(to, bytes_of_string(name), value);
    }
    value_append(to, bytes_of(NULL, 0), value);
    return to ? value : NULL;
}

struct value *value_add_struct(struct arena *arena, struct value *to, const char *name)
{
    return add(arena, to, name, VALUE_STRUCT);
}

struct value *value_add_list(struct arena *arena, struct value *to, const char *name)
{
    return add(arena, to, name, VALUE_LIST);
}

struct value *value_add_map(struct arena *arena, struct value *to, const char *name)
{
    return add(arena, to, name, VALUE_MAP);
}

void value_add_bool(struct arena *arena, struct value *to, const char *name, bool truth)
{
    struct value *value = add(arena, to, name, VALUE_BOOL);
    if (value) {
        value->truth = truth;
    }
}

static void add_number(struct arena *arena, struct value *to, const char *name,
                       enum value_kind kind, int64_t number)
{
    struct value *value = add(arena, to, name, kind);
    if (value) {
        value->number = number;
    }
}

void value_add_int(struct arena *arena, struct value *to, const char *name, int64_t number)
{
    add_number(arena, to, name, VALUE_INT, number);
}

void value_add_time(struct arena *arena, struct value *to, const char *name, int64_t ms)
{
    add_number(arena, to, name, VALUE_TIME, ms);
}

static void add_bytes(struct arena *arena, struct value *to, const char *name, enum value_kind kind,
                      struct bytes bytes)
{
    struct value *value = add(arena, to, name, kind);
    if (value) {
        value->bytes = bytes;
    }
}

void value_add_blob(struct arena *arena, struct value *to, const char *name, struct bytes bytes)
{
    add_bytes(arena, to, name, VALUE_BLOB, bytes);
}

void value_add_bytes(struct arena *arena, struct value *to, const char *name, struct bytes text)
{
    add_bytes(arena, to, name, VALUE_STRING, text);
}

void value_add_text(struct arena *arena, struct value *to, const char *name, const char *text)
{
    if (text) {
        add_bytes(arena, to, name, VALUE_STRING, arena_copy(arena, bytes_of_string(text)));
    }
}

void value_add_format(struct arena *arena, struct value *to, const char *name, const char *format,
                      ...)
{
    va_list arguments;
    va_start(arguments, format);
    struct bytes text = arena_format_list(arena, format, arguments);
    va_end(arguments);
    add_bytes(arena, to, name, VALUE_STRING, text);
}
