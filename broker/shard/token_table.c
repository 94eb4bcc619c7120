#include "broker/shard/token_table.h"

#include <stdlib.h>
#include <string.h>

enum { RING_MIN = 16, ENCODED_BYTES = 16 + 8 + 8 + 4 };

bool token_is_set(const struct batch_header *h)
{
    static const uint8_t none[sizeof(h->dedup_token)];
    return h->producer_id == 0 && memcmp(h->dedup_token, none, sizeof(none)) != 0;
}

static struct token_entry *entry_at(const struct token_table *table, uint32_t index)
{
    return &table->ring[(table->first + index) & (table->capacity - 1)];
}

/* Tokens are made by an HMAC: any part of one is a hash. */
static uint32_t slot_of(const struct token_table *table, const uint8_t *token)
{
    return get_u32(token) & (table->slot_count - 1);
}

static bool same(const struct token_entry *e, const uint8_t *token)
{
    return memcmp(e->token, token, sizeof(e->token)) == 0;
}

/* The slot with the newest entry of that token, or the empty one where it would be. */
static uint32_t *find_slot(const struct token_table *table, const uint8_t *token)
{
    uint32_t at = slot_of(table, token);
    while (table->slots[at] != 0 && !same(&table->ring[table->slots[at] - 1], token)) {
        at = (at + 1) & (table->slot_count - 1);
    }
    return &table->slots[at];
}

const struct token_entry *token_table_find(const struct token_table *table,
                                           const struct batch_header *h)
{
    uint32_t slot = table->slot_count == 0 ? 0 : *find_slot(table, h->dedup_token);
    const struct token_entry *e = slot == 0 ? NULL : &table->ring[slot - 1];
    return e != NULL && e->count == h->count ? e : NULL;
}

static void index_entry(struct token_table *table, uint32_t index)
{
    const struct token_entry *e = entry_at(table, index);
    *find_slot(table, e->token) = (uint32_t)(e - table->ring) + 1;
}

/* Takes the slot of an entry away, unless it is a newer one's of the same token. */
static void unindex(struct token_table *table, const struct token_entry *e)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t *slot = find_slot(table, e->token);
    if (*slot != (uint32_t)(e - table->ring) + 1) {
        return;
    }
    uint32_t hole = (uint32_t)(slot - table->slots), at = hole;
    table->slots[hole] = 0;
    /* Whoever probed past the hole moves up. */
    for (;;) {
        at = (at + 1) & mask;
        if (table->slots[at] == 0) {
            return;
        }
        uint32_t home = slot_of(table, table->ring[table->slots[at] - 1].token);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            table->slots[at] = 0;
            hole = at;
        }
    }
}

static void drop_first(struct token_table *table)
{
    unindex(table, entry_at(table, 0));
    table->first = (table->first + 1) & (table->capacity - 1);
    table->count--;
}

NODISCARD static enum status grow(struct token_table *table)
{
    uint32_t capacity = table->capacity == 0 ? RING_MIN : table->capacity * 2;
    struct token_entry *ring = malloc(capacity * sizeof(*ring));
    uint32_t *slots = calloc((size_t)capacity * 2, sizeof(*slots));
    if (ring == NULL || slots == NULL) {
        free(ring);
        free(slots);
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < table->count; i++) {
        ring[i] = *entry_at(table, i);
    }
    free(table->ring);
    free(table->slots);
    table->ring = ring;
    table->slots = slots;
    table->capacity = capacity;
    table->slot_count = capacity * 2;
    table->first = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        index_entry(table, i);
    }
    return STATUS_OK;
}

enum status token_table_add(struct token_table *table, const struct batch_header *h)
{
    while (table->count > 0 && (table->count == TOKENS_MAX ||
                                entry_at(table, 0)->append_ms + TOKEN_EXPIRY_MS < h->append_ms)) {
        drop_first(table);
    }
    if (!token_is_set(h)) {
        return STATUS_OK;
    }
    if (table->count == table->capacity) {
        enum status status = grow(table);
        if (status != STATUS_OK) {
            return status;
        }
    }
    struct token_entry *e = entry_at(table, table->count++);
    *e = (struct token_entry){.base = h->base_offset, .append_ms = h->append_ms, .count = h->count};
    memcpy(e->token, h->dedup_token, sizeof(e->token));
    index_entry(table, table->count - 1);
    return STATUS_OK;
}

void token_table_truncate(struct token_table *table, uint64_t end)
{
    while (table->count > 0) {
        const struct token_entry *e = entry_at(table, table->count - 1);
        if (e->base + e->count <= end) {
            return;
        }
        unindex(table, e);
        table->count--;
    }
}

void token_table_clear(struct token_table *table)
{
    free(table->ring);
    free(table->slots);
    *table = (struct token_table){0};
}

enum status token_table_encode(const struct token_table *table, uint64_t end, struct buf *out)
{
    uint32_t count = table->count;
    while (count > 0 &&
           entry_at(table, count - 1)->base + entry_at(table, count - 1)->count > end) {
        count--;
    }
    enum status status = buf_reserve(out, 4 + (size_t)count * ENCODED_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *at = out->data + out->size;
    put_u32(at, count);
    at += 4;
    for (uint32_t i = 0; i < count; i++, at += ENCODED_BYTES) {
        const struct token_entry *e = entry_at(table, i);
        memcpy(at, e->token, sizeof(e->token));
        put_u64(at + 16, e->base);
        put_u64(at + 24, e->append_ms);
        put_u32(at + 32, e->count);
    }
    out->size += 4 + (size_t)count * ENCODED_BYTES;
    return STATUS_OK;
}

enum status token_table_decode(struct token_table *table, struct reader *reader)
{
    uint32_t count = reader_u32(reader);
    if (reader->failed || count > TOKENS_MAX || reader->rest.size < (size_t)count * ENCODED_BYTES) {
        return STATUS_CORRUPT;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct batch_header h = {0};
        struct bytes token = reader_take(reader, sizeof(h.dedup_token));
        h.base_offset = reader_u64(reader);
        h.append_ms = reader_u64(reader);
        h.count = reader_u32(reader);
        if (reader->failed || h.count == 0) {
            return STATUS_CORRUPT;
        }
        memcpy(h.dedup_token, token.data, sizeof(h.dedup_token));
        enum status status = token_table_add(table, &h);
        if (status != STATUS_OK) {
            return status;
        }
    }
    return STATUS_OK;
}
