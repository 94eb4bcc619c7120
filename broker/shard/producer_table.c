#include "broker/shard/producer_table.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/list.h"
#include "broker/shard/token_table.h"

enum {
    SLOTS_MIN = 16,
    RING_MIN = 4,
    /* id, last_ms, count; then each batch */
    PRODUCER_ENCODED_BYTES = 8 + 8 + 4,
    ENTRY_ENCODED_BYTES = 8 + 8 + 4 + 2 + 2,
};

struct entry {
    uint64_t base, append_ms;
    uint32_t seq;
    uint16_t epoch;
    uint16_t count;
};
static_assert(BATCH_RECORDS_MAX <= UINT16_MAX, "a batch's count fits its entry");

struct producer {
    struct list lru; /* on producer_table.lru, the longest silent first */
    uint64_t id;
    uint64_t last_ms;      /* append time of its newest batch */
    uint32_t capacity;     /* a power of two */
    uint32_t first, count; /* the ring: oldest entry, entries */
    struct entry *ring;
};

struct producer_table {
    struct producer **slots; /* open addressing, linear probing */
    uint32_t slot_count;     /* a power of two, or 0 */
    uint32_t count;
    struct list lru;
    struct token_table tokens; /* of batches without a producer id */
};

static uint64_t mix(uint64_t id)
{
    id ^= id >> 33;
    id *= UINT64_C(0xff51afd7ed558ccd);
    id ^= id >> 33;
    id *= UINT64_C(0xc4ceb9fe1a85ec53);
    return id ^ id >> 33;
}

struct producer_table *producer_table_new(void)
{
    struct producer_table *table = calloc(1, sizeof(*table));
    if (table != NULL) {
        list_init(&table->lru);
    }
    return table;
}

static void producer_free(struct producer *p)
{
    list_remove(&p->lru);
    free(p->ring);
    free(p);
}

static void clear(struct producer_table *table)
{
    while (!list_empty(&table->lru)) {
        producer_free(CONTAINER_OF(table->lru.next, struct producer, lru));
    }
    free(table->slots);
    table->slots = NULL;
    table->slot_count = 0;
    table->count = 0;
    token_table_clear(&table->tokens);
}

void producer_table_free(struct producer_table *table)
{
    if (table != NULL) {
        clear(table);
        free(table);
    }
}

static struct producer *find(const struct producer_table *table, uint64_t id)
{
    if (table->slot_count == 0) {
        return NULL;
    }
    uint32_t mask = table->slot_count - 1;
    for (uint32_t i = (uint32_t)mix(id) & mask;; i = (i + 1) & mask) {
        struct producer *p = table->slots[i];
        if (p == NULL || p->id == id) {
            return p;
        }
    }
}

static void place(struct producer **slots, uint32_t slot_count, struct producer *p)
{
    uint32_t i = (uint32_t)mix(p->id) & (slot_count - 1);
    while (slots[i] != NULL) {
        i = (i + 1) & (slot_count - 1);
    }
    slots[i] = p;
}

NODISCARD static enum status grow_slots(struct producer_table *table)
{
    if (table->count * 2 < table->slot_count) {
        return STATUS_OK;
    }
    uint32_t slot_count = table->slot_count == 0 ? SLOTS_MIN : table->slot_count * 2;
    struct producer **slots = calloc(slot_count, sizeof(struct producer *));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < table->slot_count; i++) {
        if (table->slots[i] != NULL) {
            place(slots, slot_count, table->slots[i]);
        }
    }
    free(table->slots);
    table->slots = slots;
    table->slot_count = slot_count;
    return STATUS_OK;
}

static void forget(struct producer_table *table, struct producer *p)
{
    uint32_t mask = table->slot_count - 1;
    uint32_t i = (uint32_t)mix(p->id) & mask;
    while (table->slots[i] != p) {
        i = (i + 1) & mask;
    }
    table->slots[i] = NULL;
    /* Whoever probed past the hole moves up. */
    for (i = (i + 1) & mask; table->slots[i] != NULL; i = (i + 1) & mask) {
        struct producer *moved = table->slots[i];
        table->slots[i] = NULL;
        place(table->slots, table->slot_count, moved);
    }
    producer_free(p);
    table->count--;
}

static struct entry *entry_at(const struct producer *p, uint32_t index)
{
    return &p->ring[(p->first + index) & (p->capacity - 1)];
}

static const struct entry *newest(const struct producer *p)
{
    CHECK(p->count > 0);
    return entry_at(p, p->count - 1);
}

/* The entry of this very batch, NULL if none is remembered. */
static const struct entry *original(const struct producer *p, const struct batch_header *h)
{
    for (uint32_t i = p->count; i-- > 0;) {
        const struct entry *e = entry_at(p, i);
        if (e->epoch != h->producer_epoch) {
            return NULL;
        }
        if (e->seq == h->producer_seq && e->count == h->count) {
            return e;
        }
    }
    return NULL;
}

uint64_t producer_table_original_ms(const struct producer_table *table,
                                    const struct batch_header *h)
{
    if (h->producer_id == 0) {
        const struct token_entry *known = token_table_find(&table->tokens, h);
        CHECK(known != NULL);
        return known->append_ms;
    }
    const struct producer *p = find(table, h->producer_id);
    const struct entry *e = p != NULL ? original(p, h) : NULL;
    CHECK(e != NULL);
    return e->append_ms;
}

static uint32_t uncommitted(const struct producer *p, uint64_t commit)
{
    uint32_t n = 0;
    while (n < p->count) {
        const struct entry *e = entry_at(p, p->count - 1 - n);
        if (e->base + e->count <= commit) {
            break;
        }
        n++;
    }
    return n;
}

enum status producer_table_check(const struct producer_table *table, const struct batch_header *h,
                                 uint64_t commit, uint64_t *out_original)
{
    if (h->producer_id == 0) {
        const struct token_entry *known =
            token_is_set(h) ? token_table_find(&table->tokens, h) : NULL;
        if (known == NULL) {
            return STATUS_OK;
        }
        *out_original = known->base;
        return STATUS_EXISTS;
    }
    const struct producer *p = find(table, h->producer_id);
    if (p == NULL) {
        return h->producer_seq == 0 ? STATUS_OK : STATUS_UNKNOWN_PRODUCER;
    }
    const struct entry *last = newest(p);
    if (h->producer_epoch < last->epoch) {
        return STATUS_PRODUCER_FENCED;
    }
    if (h->producer_epoch > last->epoch) {
        if (h->producer_seq != 0) {
            return STATUS_OUT_OF_ORDER; /* a new epoch begins at 0 */
        }
    } else if (h->producer_seq != last->seq + last->count) { /* sequences wrap at 2^32 */
        const struct entry *e = original(p, h);
        if (e == NULL) {
            return STATUS_OUT_OF_ORDER;
        }
        *out_original = e->base;
        return STATUS_EXISTS;
    }
    return uncommitted(p, commit) >= PRODUCER_UNCOMMITTED_MAX ? STATUS_BUSY : STATUS_OK;
}

NODISCARD static enum status ring_room(struct producer *p)
{
    if (p->count < p->capacity) {
        return STATUS_OK;
    }
    if (p->capacity == PRODUCER_BATCHES) {
        p->first = (p->first + 1) & (p->capacity - 1);
        p->count--;
        return STATUS_OK;
    }
    uint32_t capacity = p->capacity == 0 ? RING_MIN : p->capacity * 2;
    struct entry *ring = malloc(capacity * sizeof(*ring));
    if (ring == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        ring[i] = *entry_at(p, i);
    }
    free(p->ring);
    p->ring = ring;
    p->capacity = capacity;
    p->first = 0;
    return STATUS_OK;
}

NODISCARD static enum status producer_new(struct producer_table *table, uint64_t id,
                                          struct producer **out)
{
    enum status status = grow_slots(table);
    if (status != STATUS_OK) {
        return status;
    }
    struct producer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return STATUS_NO_MEMORY;
    }
    p->id = id;
    list_push(&table->lru, &p->lru);
    place(table->slots, table->slot_count, p);
    table->count++;
    *out = p;
    return STATUS_OK;
}

/* Too many, or silent for too long by the log's own time. */
static void expire(struct producer_table *table, uint64_t log_ms)
{
    while (!list_empty(&table->lru)) {
        struct producer *p = CONTAINER_OF(table->lru.next, struct producer, lru);
        bool old = log_ms > PRODUCER_EXPIRY_MS && p->last_ms < log_ms - PRODUCER_EXPIRY_MS;
        if (!old && table->count <= PRODUCERS_MAX) {
            return;
        }
        forget(table, p);
    }
}

enum status producer_table_add(struct producer_table *table, const struct batch_header *h)
{
    if (h->producer_id == 0) {
        return token_table_add(&table->tokens, h);
    }
    struct producer *p = find(table, h->producer_id);
    if (p == NULL) {
        enum status status = producer_new(table, h->producer_id, &p);
        if (status != STATUS_OK) {
            return status;
        }
    }
    enum status status = ring_room(p);
    if (status != STATUS_OK) {
        if (p->count == 0) {
            forget(table, p);
        }
        return status;
    }
    p->count++;
    *entry_at(p, p->count - 1) = (struct entry){.base = h->base_offset,
                                                .append_ms = h->append_ms,
                                                .seq = h->producer_seq,
                                                .epoch = h->producer_epoch,
                                                .count = (uint16_t)h->count};
    p->last_ms = h->append_ms;
    list_remove(&p->lru);
    list_push(&table->lru, &p->lru);
    expire(table, h->append_ms);
    return STATUS_OK;
}

void producer_table_truncate(struct producer_table *table, uint64_t end)
{
    token_table_truncate(&table->tokens, end);
    LIST_FOR_EACH_SAFE (node, &table->lru) {
        struct producer *p = CONTAINER_OF(node, struct producer, lru);
        while (p->count > 0 && newest(p)->base + newest(p)->count > end) {
            p->count--;
        }
        if (p->count == 0) {
            forget(table, p);
        }
    }
}

uint32_t producer_table_count(const struct producer_table *table)
{
    return table->count;
}

/* How many of its entries end at or below `end`. */
static uint32_t entries_below(const struct producer *p, uint64_t end)
{
    uint32_t n = p->count;
    while (n > 0 && entry_at(p, n - 1)->base + entry_at(p, n - 1)->count > end) {
        n--;
    }
    return n;
}

static uint8_t *encode_producer(const struct producer *p, uint32_t entries, uint8_t *at)
{
    put_u64(at, p->id);
    put_u64(at + 8, p->last_ms);
    put_u32(at + 16, entries);
    at += PRODUCER_ENCODED_BYTES;
    for (uint32_t i = 0; i < entries; i++, at += ENTRY_ENCODED_BYTES) {
        const struct entry *e = entry_at(p, i);
        put_u64(at, e->base);
        put_u64(at + 8, e->append_ms);
        put_u32(at + 16, e->seq);
        put_u16(at + 20, e->epoch);
        put_u16(at + 22, e->count);
    }
    return at;
}

enum status producer_table_encode(const struct producer_table *table, uint64_t end, struct buf *out)
{
    size_t size = 4;
    LIST_FOR_EACH (node, &table->lru) {
        size += PRODUCER_ENCODED_BYTES +
                (size_t)CONTAINER_OF(node, struct producer, lru)->count * ENTRY_ENCODED_BYTES;
    }
    enum status status = buf_reserve(out, size);
    if (status != STATUS_OK) {
        return status;
    }
    uint8_t *start = out->data + out->size, *at = start + 4;
    uint32_t count = 0;
    LIST_FOR_EACH (node, &table->lru) {
        const struct producer *p = CONTAINER_OF(node, struct producer, lru);
        uint32_t entries = entries_below(p, end);
        if (entries > 0) {
            at = encode_producer(p, entries, at);
            count++;
        }
    }
    put_u32(start, count);
    size_t written = (size_t)(at - start);
    out->size += written;
    status = token_table_encode(&table->tokens, end, out);
    if (status != STATUS_OK) {
        out->size -= written;
    }
    return status;
}

NODISCARD static enum status decode_producer(struct producer_table *table, struct reader *reader)
{
    uint64_t id = reader_u64(reader);
    uint64_t last_ms = reader_u64(reader);
    uint32_t count = reader_u32(reader);
    if (reader->failed || id == 0 || count == 0 || count > PRODUCER_BATCHES ||
        find(table, id) != NULL) {
        return STATUS_CORRUPT;
    }
    struct producer *p;
    enum status status = producer_new(table, id, &p);
    if (status != STATUS_OK) {
        return status;
    }
    p->last_ms = last_ms;
    for (uint32_t i = 0; i < count; i++) {
        status = ring_room(p);
        if (status != STATUS_OK) {
            return status;
        }
        struct entry e = {.base = reader_u64(reader)};
        e.append_ms = reader_u64(reader);
        e.seq = reader_u32(reader);
        e.epoch = reader_u16(reader);
        e.count = reader_u16(reader);
        *entry_at(p, p->count++) = e;
        if (reader->failed || e.count == 0) {
            return STATUS_CORRUPT;
        }
    }
    return STATUS_OK;
}

enum status producer_table_decode(struct producer_table *table, struct bytes in)
{
    clear(table);
    struct reader reader = reader_of(in);
    uint32_t count = reader_u32(&reader);
    enum status status = reader.failed || count > PRODUCERS_MAX ? STATUS_CORRUPT : STATUS_OK;
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++) {
        status = decode_producer(table, &reader);
    }
    if (status == STATUS_OK && reader.rest.size > 0) { /* older tables end here */
        status = token_table_decode(&table->tokens, &reader);
    }
    if (status == STATUS_OK && reader.rest.size != 0) {
        status = STATUS_CORRUPT;
    }
    if (status != STATUS_OK) {
        clear(table);
    }
    return status;
}
