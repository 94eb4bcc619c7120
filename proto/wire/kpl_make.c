/* Making aggregated records. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "proto/wire/kpl.h"

enum {
    MAGIC_BYTES = 4,
    MD5_BYTES = HASH_KEY_BYTES,
    VARINT_MAX = 10,
    SLOTS_MIN = 64,
    /* Tags: field number << 3 | wire type. */
    TAG_KEY = 1 << 3 | 2,
    TAG_HASH_KEY = 2 << 3 | 2,
    TAG_RECORD = 3 << 3 | 2,
    TAG_KEY_INDEX = 1 << 3,
    TAG_HASH_KEY_INDEX = 2 << 3,
    TAG_DATA = 3 << 3 | 2,
};

/* An entry of one of the tables; `of` NULL: a free slot. */
struct kpl_slot {
    const struct buf *of; /* the table: its bytes are at `at` there */
    uint32_t at, size, hash, index;
};

static size_t varint_bytes(uint64_t value)
{
    size_t bytes = 1;
    while (value >= 0x80) {
        value >>= 7;
        bytes++;
    }
    return bytes;
}

/* The buffer has room. */
static void add_varint(struct buf *buf, uint64_t value)
{
    while (value >= 0x80) {
        buf->data[buf->size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    buf->data[buf->size++] = (uint8_t)value;
}

static void add_bytes(struct buf *buf, uint8_t tag, struct bytes bytes)
{
    buf->data[buf->size++] = tag;
    add_varint(buf, bytes.size);
    if (bytes.size > 0) {
        memcpy(buf->data + buf->size, bytes.data, bytes.size);
        buf->size += bytes.size;
    }
}

size_t kpl_builder_size(const struct kpl_builder *b)
{
    return MAGIC_BYTES + b->keys.size + b->hash_keys.size + b->records.size + MD5_BYTES;
}

/* ---- the tables ---- */

/* The slot that has `text`, or a free one where it belongs. There is always a free one. */
static struct kpl_slot *find_slot(const struct kpl_builder *b, const struct buf *table,
                                  struct bytes text, uint32_t hash)
{
    uint32_t mask = b->slot_count - 1;
    for (uint32_t i = hash & mask;; i = (i + 1) & mask) {
        struct kpl_slot *slot = &b->slots[i];
        if (slot->of == NULL || (slot->of == table && slot->hash == hash &&
                                 bytes_equal(bytes_of(table->data + slot->at, slot->size), text))) {
            return slot;
        }
    }
}

/* Two more entries leave at least half of the slots free. */
NODISCARD static enum status grow_slots(struct kpl_builder *b)
{
    if (b->slot_count > 0 && (b->used + 2) * 2 <= b->slot_count) {
        return STATUS_OK;
    }
    uint32_t count = b->slot_count == 0 ? SLOTS_MIN : b->slot_count * 2;
    struct kpl_slot *slots = calloc(count, sizeof(*slots));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < b->slot_count; i++) {
        if (b->slots[i].of != NULL) {
            uint32_t at = b->slots[i].hash & (count - 1);
            while (slots[at].of != NULL) {
                at = (at + 1) & (count - 1);
            }
            slots[at] = b->slots[i];
        }
    }
    free(b->slots);
    b->slots = slots;
    b->slot_count = count;
    return STATUS_OK;
}

static uint32_t hash_of(struct bytes text)
{
    return crc32c(0, text.data, text.size) * 2654435761U;
}

/* Where `text` is in its table. */
struct entry {
    struct bytes text;
    uint32_t hash, index;
    size_t more; /* bytes that the table grows by; 0: it has the text */
};

static struct entry look_up(const struct kpl_builder *b, const struct buf *table, uint32_t count,
                            struct bytes text)
{
    struct entry entry = {.text = text, .hash = hash_of(text)};
    const struct kpl_slot *slot = find_slot(b, table, text, entry.hash);
    entry.index = slot->of != NULL ? slot->index : count;
    entry.more = slot->of != NULL ? 0 : 1 + varint_bytes(text.size) + text.size;
    return entry;
}

/* The table and the slots have room. */
static void insert(struct kpl_builder *b, struct buf *table, uint8_t tag, const struct entry *entry)
{
    if (entry->more == 0) {
        return;
    }
    struct kpl_slot *slot = find_slot(b, table, entry->text, entry->hash);
    add_bytes(table, tag, entry->text);
    *slot = (struct kpl_slot){.of = table,
                              .at = (uint32_t)(table->size - entry->text.size),
                              .size = (uint32_t)entry->text.size,
                              .hash = entry->hash,
                              .index = entry->index};
    b->used++;
}

/* ---- records ---- */

NODISCARD static enum status reserve(struct kpl_builder *b, size_t key, size_t hash_key,
                                     size_t record)
{
    enum status status = buf_reserve(&b->keys, key);
    if (status == STATUS_OK) {
        status = buf_reserve(&b->hash_keys, hash_key);
    }
    return status == STATUS_OK ? buf_reserve(&b->records, record) : status;
}

enum status kpl_builder_add(struct kpl_builder *b, const struct record *record, size_t max_bytes)
{
    enum status status = grow_slots(b);
    if (status != STATUS_OK) {
        return status;
    }
    char decimal[HASH_KEY_DECIMAL_BYTES];
    struct entry key = look_up(b, &b->keys, b->key_count, record->key);
    struct entry hash_key = {0};
    size_t inner =
        1 + varint_bytes(key.index) + 1 + varint_bytes(record->data.size) + record->data.size;
    if (record->has_hash_key) {
        hash_key_to_decimal(record->hash_key, decimal);
        hash_key = look_up(b, &b->hash_keys, b->hash_key_count, bytes_of_string(decimal));
        inner += 1 + varint_bytes(hash_key.index);
    }
    size_t outer = 1 + varint_bytes(inner) + inner;
    if (kpl_builder_size(b) + key.more + hash_key.more + outer > max_bytes) {
        return STATUS_BUSY;
    }
    status = reserve(b, key.more, hash_key.more, outer);
    if (status != STATUS_OK) {
        return status;
    }
    insert(b, &b->keys, TAG_KEY, &key);
    b->key_count += key.more > 0;
    insert(b, &b->hash_keys, TAG_HASH_KEY, &hash_key);
    b->hash_key_count += hash_key.more > 0;
    struct buf *out = &b->records;
    out->data[out->size++] = TAG_RECORD;
    add_varint(out, inner);
    out->data[out->size++] = TAG_KEY_INDEX;
    add_varint(out, key.index);
    if (record->has_hash_key) {
        out->data[out->size++] = TAG_HASH_KEY_INDEX;
        add_varint(out, hash_key.index);
    }
    add_bytes(out, TAG_DATA, record->data);
    b->count++;
    return STATUS_OK;
}

enum status kpl_builder_finish(struct kpl_builder *b, struct bytes *out)
{
    static const uint8_t magic[MAGIC_BYTES] = {0xf3, 0x89, 0x9a, 0xc2};
    CHECK(b->count > 0);
    b->out.size = 0;
    enum status status = buf_append(&b->out, magic, sizeof(magic));
    const struct buf *pieces[] = {&b->keys, &b->hash_keys, &b->records};
    for (size_t i = 0; status == STATUS_OK && i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        status = buf_append(&b->out, pieces[i]->data, pieces[i]->size);
    }
    struct hash_key md5; /* which is MD5 read as a number */
    uint8_t digest[MD5_BYTES];
    if (status == STATUS_OK) {
        status = hash_key_of_partition_key(
            bytes_of(b->out.data + MAGIC_BYTES, b->out.size - MAGIC_BYTES), &md5);
    }
    if (status == STATUS_OK) {
        hash_key_to_bytes(md5, digest);
        status = buf_append(&b->out, digest, sizeof(digest));
    }
    if (status == STATUS_OK) {
        *out = buf_bytes(&b->out);
    }
    return status;
}

void kpl_builder_reset(struct kpl_builder *b)
{
    b->keys.size = b->hash_keys.size = b->records.size = b->out.size = 0;
    if (b->used > 0) {
        memset(b->slots, 0, b->slot_count * sizeof(*b->slots));
    }
    b->used = b->key_count = b->hash_key_count = b->count = 0;
}

void kpl_builder_release(struct kpl_builder *b)
{
    buf_release(&b->keys);
    buf_release(&b->hash_keys);
    buf_release(&b->records);
    buf_release(&b->out);
    free(b->slots);
    *b = (struct kpl_builder){0};
}
