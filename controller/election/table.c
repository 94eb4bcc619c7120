#include "controller/election/table.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static size_t hash(uint64_t key)
{
    key ^= key >> 33;
    key *= 0xff51afd7ed558ccdull;
    key ^= key >> 33;
    return (size_t)key;
}

/* Where `key` is in the index, or the empty place where it belongs. */
static size_t place_of(const struct election *e, uint64_t key)
{
    size_t at = hash(key) & (e->index_size - 1);
    while (e->index[at] != 0 && e->shard[e->index[at] - 1]->row.shard != key) {
        at = (at + 1) & (e->index_size - 1);
    }
    return at;
}

struct shard *table_find(const struct election *e, uint64_t key)
{
    if (e->index_size == 0) {
        return NULL;
    }
    uint32_t position = e->index[place_of(e, key)];
    return position == 0 ? NULL : e->shard[position - 1];
}

static void reindex(struct election *e)
{
    memset(e->index, 0, e->index_size * sizeof *e->index);
    for (size_t i = 0; i < e->shard_count; i++) {
        e->index[place_of(e, e->shard[i]->row.shard)] = (uint32_t)(i + 1);
    }
}

static bool grow(struct election *e)
{
    size_t capacity = e->shard_capacity == 0 ? 64 : 2 * e->shard_capacity;
    struct shard **shard = realloc(e->shard, capacity * sizeof(struct shard *));
    if (shard == NULL) {
        return false;
    }
    e->shard = shard;
    struct shard **pending = realloc(e->pending, capacity * sizeof(struct shard *));
    if (pending == NULL) {
        return false;
    }
    e->pending = pending;
    uint32_t *index = realloc(e->index, 2 * capacity * sizeof *index);
    if (index == NULL) {
        return false;
    }
    e->index = index;
    e->index_size = 2 * capacity;
    e->shard_capacity = capacity;
    reindex(e);
    return true;
}

struct shard *table_add(struct election *e, uint64_t key)
{
    if (e->shard_count == e->shard_capacity && !grow(e)) {
        return NULL;
    }
    struct shard *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->row.shard = key;
    e->index[place_of(e, key)] = (uint32_t)(e->shard_count + 1);
    e->shard[e->shard_count++] = s;
    return s;
}

void table_remove(struct election *e, struct shard *s)
{
    for (size_t i = 0; i < e->pending_count; i++) {
        if (e->pending[i] == s) {
            e->pending[i] = e->pending[--e->pending_count];
            break;
        }
    }
    size_t position = e->index[place_of(e, s->row.shard)];
    CHECK(position != 0);
    e->shard[position - 1] = e->shard[--e->shard_count];
    free(s);
    reindex(e); /* rare: streams are deleted by people */
}

void table_clear(struct election *e)
{
    for (size_t i = 0; i < e->shard_count; i++) {
        free(e->shard[i]);
    }
    e->shard_count = e->pending_count = e->broker_count = 0;
    if (e->index != NULL) {
        reindex(e);
    }
}

void table_release(struct election *e)
{
    table_clear(e);
    free(e->shard);
    free(e->pending);
    free(e->index);
    free(e->broker);
}

struct broker *table_broker(const struct election *e, uint32_t id)
{
    for (size_t i = 0; i < e->broker_count; i++) {
        if (e->broker[i].id == id) {
            return &e->broker[i];
        }
    }
    return NULL;
}

struct broker *table_broker_add(struct election *e, uint32_t id)
{
    struct broker *known = table_broker(e, id);
    if (known != NULL) {
        return known;
    }
    if (e->broker_count == e->broker_capacity) {
        size_t capacity = e->broker_capacity == 0 ? 8 : 2 * e->broker_capacity;
        struct broker *broker = realloc(e->broker, capacity * sizeof *broker);
        if (broker == NULL) {
            return NULL;
        }
        e->broker = broker;
        e->broker_capacity = capacity;
    }
    e->broker[e->broker_count] = (struct broker){.id = id};
    return &e->broker[e->broker_count++];
}
