/* Taking aggregated records apart. */
#include "proto/wire/kpl.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAGIC_BYTES = 4,
    MD5_BYTES = HASH_KEY_BYTES,
    ENTRIES_MAX = 1 << 20, /* of a table; more than 10 MiB of honest data have */
    FIELD_KEY = 1,
    FIELD_HASH_KEY = 2,
    FIELD_RECORD = 3,
    RECORD_KEY_INDEX = 1,
    RECORD_HASH_KEY_INDEX = 2,
    RECORD_DATA = 3,
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,
};

static const uint8_t magic[MAGIC_BYTES] = {0xf3, 0x89, 0x9a, 0xc2};

/* One field of a message: its number, and a number or bytes. */
struct field {
    uint32_t number;
    unsigned wire;
    uint64_t value;
    struct bytes bytes;
};

static uint64_t take_varint(struct reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = reader_u8(r);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            return value;
        }
    }
    r->failed = true;
    return 0;
}

/* False: the end, or nonsense (then r->failed). */
static bool take_field(struct reader *r, struct field *out)
{
    if (r->rest.size == 0 || r->failed) {
        return false;
    }
    uint64_t tag = take_varint(r);
    struct field field = {.number = (uint32_t)(tag >> 3), .wire = (unsigned)(tag & 7)};
    switch (field.wire) {
    case WIRE_VARINT:
        field.value = take_varint(r);
        break;
    case WIRE_FIXED64:
        (void)reader_take(r, 8);
        break;
    case WIRE_FIXED32:
        (void)reader_take(r, 4);
        break;
    case WIRE_BYTES:
        field.value = take_varint(r);
        r->failed |= field.value > r->rest.size;
        field.bytes = reader_take(r, r->failed ? 0 : (size_t)field.value);
        break;
    default:
        r->failed = true;
        break;
    }
    r->failed |= tag >> 3 == 0 || tag >> 32 != 0;
    *out = field;
    return !r->failed;
}

/* Counts the tables' entries and the records. False: no message. */
static bool count_entries(struct bytes message, struct kpl_view *view)
{
    struct reader r = reader_of(message);
    struct field field;
    while (take_field(&r, &field)) {
        if (field.number > FIELD_RECORD) {
            continue;
        }
        if (field.wire != WIRE_BYTES) {
            return false;
        }
        view->key_count += field.number == FIELD_KEY;
        view->hash_key_count += field.number == FIELD_HASH_KEY;
        view->count += field.number == FIELD_RECORD;
    }
    return !r.failed && view->count > 0 && view->key_count > 0 && view->key_count <= ENTRIES_MAX &&
           view->hash_key_count <= ENTRIES_MAX;
}

static bool parse_hash_key(struct bytes text, struct hash_key *out)
{
    char copy[HASH_KEY_DECIMAL_BYTES];
    if (text.size == 0 || text.size >= sizeof(copy) || memchr(text.data, 0, text.size) != NULL) {
        return false;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return hash_key_from_decimal(copy, out) == STATUS_OK;
}

static bool fill_tables(struct kpl_view *view)
{
    struct reader r = reader_of(view->message);
    struct field field;
    uint32_t keys = 0, hash_keys = 0;
    while (take_field(&r, &field)) {
        if (field.number == FIELD_KEY) {
            view->keys[keys++] = field.bytes;
        } else if (field.number == FIELD_HASH_KEY &&
                   !parse_hash_key(field.bytes, &view->hash_keys[hash_keys++])) {
            return false;
        }
    }
    return true;
}

/* Its fields may come in any order; of those that come twice the last counts, as in any protobuf.
 */
static bool parse_record(const struct kpl_view *view, struct bytes message, struct kpl_record *out)
{
    struct reader r = reader_of(message);
    struct field field;
    struct kpl_record record = {0};
    bool has_key = false, has_data = false;
    while (take_field(&r, &field)) {
        if (field.number == RECORD_DATA && field.wire == WIRE_BYTES) {
            record.data = field.bytes;
            has_data = true;
        } else if (field.number == RECORD_KEY_INDEX && field.wire == WIRE_VARINT &&
                   field.value < view->key_count) {
            record.key = view->keys[field.value];
            has_key = true;
        } else if (field.number == RECORD_HASH_KEY_INDEX && field.wire == WIRE_VARINT &&
                   field.value < view->hash_key_count) {
            record.hash_key = view->hash_keys[field.value];
            record.has_hash_key = true;
        } else if (field.number <= RECORD_DATA) {
            return false; /* of another type, or beyond its table */
        }
    }
    *out = record;
    return !r.failed && has_key && has_data;
}

bool kpl_next(struct kpl_view *view, struct kpl_record *out)
{
    struct reader r = reader_of(view->rest);
    struct field field;
    bool found = false;
    while (!found && take_field(&r, &field)) {
        found = field.number == FIELD_RECORD;
    }
    view->rest = r.rest;
    struct kpl_record record;
    if (!found || !parse_record(view, field.bytes, &record)) {
        return false;
    }
    record.sub_sequence = view->next++;
    *out = record;
    return true;
}

static bool records_are_good(const struct kpl_view *view)
{
    struct kpl_view copy = *view;
    struct kpl_record record;
    while (kpl_next(&copy, &record)) {
    }
    return copy.next == view->count;
}

/* MD5 read as a number and written again. */
NODISCARD static enum status check_md5(struct bytes message, const uint8_t *expected)
{
    struct hash_key number;
    uint8_t digest[MD5_BYTES];
    enum status status = hash_key_of_partition_key(message, &number);
    if (status != STATUS_OK) {
        return status;
    }
    hash_key_to_bytes(number, digest);
    return memcmp(digest, expected, sizeof(digest)) == 0 ? STATUS_OK : STATUS_INVALID;
}

enum status kpl_open(struct bytes data, struct kpl_view *out)
{
    if (data.size <= MAGIC_BYTES + MD5_BYTES || memcmp(data.data, magic, MAGIC_BYTES) != 0) {
        return STATUS_INVALID;
    }
    struct bytes message = bytes_of(data.data + MAGIC_BYTES, data.size - MAGIC_BYTES - MD5_BYTES);
    struct kpl_view view = {.message = message, .rest = message};
    enum status status = check_md5(message, message.data + message.size);
    if (status != STATUS_OK) {
        return status;
    }
    if (!count_entries(message, &view)) {
        return STATUS_INVALID;
    }
    view.keys = calloc(view.key_count, sizeof(*view.keys));
    view.hash_keys = calloc(view.hash_key_count + (size_t)1, sizeof(*view.hash_keys));
    if (view.keys == NULL || view.hash_keys == NULL) {
        status = STATUS_NO_MEMORY;
    } else if (!fill_tables(&view) || !records_are_good(&view)) {
        status = STATUS_INVALID;
    }
    if (status != STATUS_OK) {
        kpl_release(&view);
        return status;
    }
    *out = view;
    return STATUS_OK;
}

void kpl_release(struct kpl_view *view)
{
    free(view->keys);
    free(view->hash_keys);
    *view = (struct kpl_view){0};
}

bool kpl_in_range(const struct kpl_record *record, struct hash_range range)
{
    struct hash_key key = record->hash_key;
    if (!record->has_hash_key && hash_key_of_partition_key(record->key, &key) != STATUS_OK) {
        return true; /* out of memory: twice is better than never */
    }
    return hash_range_has(range, key);
}
