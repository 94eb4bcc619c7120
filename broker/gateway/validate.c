#include "broker/gateway/validate.h"

#include <inttypes.h>
#include <stdio.h>

#include "broker/gateway/api_text.h"

enum { QUOTED_MAX = 4096 };

/* Where a value is: its member, or its place in a list, and what that is part of. */
struct place {
    const struct place *parent;
    const char *member; /* NULL in a list */
    uint32_t number;    /* in a list, from 1 */
};

/* What has been found so far. A text that does not fit in memory is noted and given up. */
struct faults {
    struct buf text;
    unsigned count;
    bool no_memory;
};

static void add(struct faults *faults, struct bytes text)
{
    if (!faults->no_memory && buf_append(&faults->text, text.data, text.size) != STATUS_OK) {
        faults->no_memory = true;
    }
}

static void add_text(struct faults *faults, const char *text)
{
    add(faults, bytes_of_string(text));
}

static void add_number(struct faults *faults, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, number);
    add_text(faults, text);
}

/* As deep as the shape. */
static void add_place(struct faults *faults, const struct place *place)
{
    if (place->parent) {
        add_place(faults, place->parent);
        add_text(faults, ".");
    }
    if (place->member) {
        char first = place->member[0];
        char lower = first >= 'A' && first <= 'Z' ? (char)(first + 'a' - 'A') : first;
        add(faults, bytes_of(&lower, 1));
        add_text(faults, place->member + 1);
    } else {
        add_number(faults, place->number);
        add_text(faults, ".member");
    }
}

/* ---- values as the texts quote them ---- */

static void add_quoted(struct faults *faults, const struct shape *shape, const struct value *value,
                       size_t limit);

/* "[a, b]" or "{a=b, c=d}". */
static void add_quoted_items(struct faults *faults, const struct shape *shape,
                             const struct value *value, size_t limit)
{
    bool is_map = shape->type == SHAPE_MAP;
    add_text(faults, is_map ? "{" : "[");
    VALUE_FOR_EACH(item, value)
    {
        if (item != value->items.first) {
            add_text(faults, ", ");
        }
        if (faults->text.size >= limit) {
            add_text(faults, "...");
            break;
        }
        if (is_map) {
            add(faults, utf8_cut(item->name, limit - faults->text.size));
            add_text(faults, "=");
        }
        add_quoted(faults, shape->element, item, limit);
    }
    add_text(faults, is_map ? "}" : "]");
}

/* `limit` is for the size of the whole text so far; a little more is no harm. */
static void add_quoted(struct faults *faults, const struct shape *shape, const struct value *value,
                       size_t limit)
{
    char text[96];
    switch (value->kind) {
    case VALUE_NULL:
        add_text(faults, "null");
        return;
    case VALUE_BOOL:
        add_text(faults, value->truth ? "true" : "false");
        return;
    case VALUE_INT:
    case VALUE_TIME:
        add_number(faults, value->number);
        return;
    case VALUE_STRING: {
        size_t room = limit > faults->text.size ? limit - faults->text.size : 0;
        add(faults, utf8_cut(value->bytes, room));
        add_text(faults, value->bytes.size > room ? "..." : "");
        return;
    }
    case VALUE_BLOB:
        (void)snprintf(text, sizeof text, "java.nio.HeapByteBuffer[pos=0 lim=%zu cap=%zu]",
                       value->bytes.size, value->bytes.size);
        add_text(faults, text);
        return;
    case VALUE_STRUCT:
        add_text(faults, "com.amazonaws.kinesis.v20131202.");
        add_text(faults, shape->name);
        return;
    case VALUE_LIST:
    case VALUE_MAP:
        add_quoted_items(faults, shape, value, limit);
        return;
    }
}

/* "Value 'x' at 'y' failed to satisfy constraint: "; the constraint comes next. False: enough. */
static bool fault(struct faults *faults, const struct place *place, const struct shape *shape,
                  const struct value *value)
{
    if (faults->count == VALIDATE_FAULTS_MAX) {
        return false;
    }
    add_text(faults, faults->count++ ? "; Value " : "Value ");
    if (value && value->kind != VALUE_NULL) {
        add_text(faults, "'");
        add_quoted(faults, shape, value, faults->text.size + QUOTED_MAX);
        add_text(faults, "'");
    } else {
        add_text(faults, "null");
    }
    add_text(faults, " at '");
    add_place(faults, place);
    add_text(faults, "' failed to satisfy constraint: ");
    return true;
}

/* ---- constraints ---- */

static int64_t measure(const struct value *value)
{
    switch (value->kind) {
    case VALUE_STRING:
        return utf8_length(value->bytes);
    case VALUE_BLOB:
        return (int64_t)value->bytes.size;
    case VALUE_LIST:
    case VALUE_MAP:
        return value->count;
    case VALUE_INT:
    case VALUE_TIME:
        return value->number;
    case VALUE_NULL:
    case VALUE_BOOL:
    case VALUE_STRUCT:
        break;
    }
    return 0;
}

static bool is_word(const struct shape *shape, struct bytes text)
{
    const char *const *word = shape->words;
    while (*word && !bytes_equal(text, bytes_of_string(*word))) {
        word++;
    }
    return *word != NULL;
}

static bool too_small(const struct shape *shape, int64_t size)
{
    return shape->min != SHAPE_NO_LIMIT && size < shape->min;
}

static bool too_large(const struct shape *shape, int64_t size)
{
    return shape->max != SHAPE_NO_LIMIT && size > shape->max;
}

static void add_words(struct faults *faults, const struct shape *shape)
{
    add_text(faults, "Member must satisfy enum value set: [");
    for (const char *const *word = shape->words; *word; word++) {
        add_text(faults, word == shape->words ? "" : ", ");
        add_text(faults, *word);
    }
    add_text(faults, "]");
}

static void add_pattern(struct faults *faults, const struct shape *shape)
{
    add_text(faults, "Member must satisfy regular expression pattern: ");
    add_text(faults, pattern_text(shape->pattern));
}

static void add_bound(struct faults *faults, const struct shape *shape, bool upper)
{
    bool is_number = shape->type == SHAPE_INTEGER || shape->type == SHAPE_LONG;
    add_text(faults, is_number ? "Member must have value " : "Member must have length ");
    add_text(faults, upper ? "less than or equal to " : "greater than or equal to ");
    add_number(faults, upper ? shape->max : shape->min);
}

static bool fits(const struct shape *shape, struct bytes text)
{
    int64_t length = utf8_length(text);
    return !too_small(shape, length) && !too_large(shape, length) &&
           (!shape->words || is_word(shape, text)) && pattern_matches(shape->pattern, text);
}

/* All that a string must satisfy, as the texts of lists and maps have it. */
static void add_all(struct faults *faults, const char *what, const struct shape *shape)
{
    const char *between = "";
    add_text(faults, what);
    add_text(faults, " must satisfy constraint: [");
    if (shape->max != SHAPE_NO_LIMIT) {
        add_bound(faults, shape, true);
        between = ", ";
    }
    if (shape->min != SHAPE_NO_LIMIT) {
        add_text(faults, between);
        add_bound(faults, shape, false);
        between = ", ";
    }
    if (shape->pattern != PATTERN_NONE) {
        add_text(faults, between);
        add_pattern(faults, shape);
    }
    if (shape->words) {
        add_text(faults, between);
        add_words(faults, shape);
    }
    add_text(faults, "]");
}

static void check_value(struct faults *faults, const struct place *place, const struct shape *shape,
                        const struct value *value);

static void check_bounds(struct faults *faults, const struct place *place,
                         const struct shape *shape, const struct value *value)
{
    int64_t size = measure(value);
    if (too_small(shape, size) && fault(faults, place, shape, value)) {
        add_bound(faults, shape, false);
    }
    if (too_large(shape, size) && fault(faults, place, shape, value)) {
        add_bound(faults, shape, true);
    }
}

static void check_string(struct faults *faults, const struct place *place,
                         const struct shape *shape, const struct value *value)
{
    if (!pattern_matches(shape->pattern, value->bytes) && fault(faults, place, shape, value)) {
        add_pattern(faults, shape);
    }
    check_bounds(faults, place, shape, value);
    if (shape->words && !is_word(shape, value->bytes) && fault(faults, place, shape, value)) {
        add_words(faults, shape);
    }
}

/* Items that are strings are judged together, structures each. */
static void check_list(struct faults *faults, const struct place *place, const struct shape *shape,
                       const struct value *list)
{
    check_bounds(faults, place, shape, list);
    if (shape->max != SHAPE_NO_LIMIT && list->count > shape->max) {
        return; /* AWS says no more of a list that is too long */
    }
    bool all_fit = true;
    struct place item_place = {.parent = place};
    VALUE_FOR_EACH(item, list)
    {
        item_place.number++;
        if (item->kind == VALUE_NULL) {
            if (fault(faults, &item_place, shape->element, item)) {
                add_text(faults, "Member must not be null");
            }
        } else if (item->kind == VALUE_STRING) {
            all_fit = all_fit && fits(shape->element, item->bytes);
        } else {
            check_value(faults, &item_place, shape->element, item);
        }
    }
    if (!all_fit && fault(faults, place, shape, list)) {
        add_all(faults, "Member", shape->element);
    }
}

static void check_map(struct faults *faults, const struct place *place, const struct shape *shape,
                      const struct value *map)
{
    check_bounds(faults, place, shape, map);
    bool keys_fit = true;
    bool values_fit = true;
    VALUE_FOR_EACH(item, map)
    {
        keys_fit = keys_fit && fits(shape->key, item->name);
        values_fit = values_fit && item->kind == VALUE_STRING && fits(shape->element, item->bytes);
    }
    if (!keys_fit && fault(faults, place, shape, map)) {
        add_all(faults, "Map keys", shape->key);
    }
    if (!values_fit && fault(faults, place, shape, map)) {
        add_all(faults, "Map value", shape->element);
    }
}

static void check_members(struct faults *faults, const struct place *place,
                          const struct shape *shape, const struct value *structure)
{
    for (uint32_t i = 0; i < shape->member_count; i++) {
        const struct shape_member *member = &shape->members[i];
        const struct value *value = value_get(structure, member->name);
        struct place member_place = {.parent = place, .member = member->name};
        if (value) {
            check_value(faults, &member_place, member->shape, value);
        } else if (member->required && fault(faults, &member_place, member->shape, NULL)) {
            add_text(faults, "Member must not be null");
        }
    }
}

static void check_value(struct faults *faults, const struct place *place, const struct shape *shape,
                        const struct value *value)
{
    switch (shape->type) {
    case SHAPE_STRUCTURE:
        check_members(faults, place, shape, value);
        return;
    case SHAPE_LIST:
        check_list(faults, place, shape, value);
        return;
    case SHAPE_MAP:
        check_map(faults, place, shape, value);
        return;
    case SHAPE_STRING:
        check_string(faults, place, shape, value);
        return;
    case SHAPE_BLOB:
    case SHAPE_INTEGER:
    case SHAPE_LONG:
        check_bounds(faults, place, shape, value);
        return;
    case SHAPE_BOOLEAN:
    case SHAPE_TIMESTAMP:
        return;
    }
}

enum status validate(const struct shape *shape, const struct value *value, struct arena *arena,
                     struct api_error *error)
{
    struct faults faults = {0};
    check_members(&faults, NULL, shape, value);
    enum status status = STATUS_OK;
    if (faults.no_memory) {
        status = api_error_of_status(error, STATUS_NO_MEMORY);
    } else if (faults.count) {
        status = api_error_set(error, arena, EXCEPTION_VALIDATION,
                               "%u validation error%s detected: %.*s", faults.count,
                               faults.count > 1 ? "s" : "", PRINT_BYTES(buf_bytes(&faults.text)));
    }
    buf_release(&faults.text);
    return status;
}
