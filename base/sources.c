#include "base/sources.h"

#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/check.h"

void sources_init(struct sources *sources, uint64_t seed)
{
    sources->seed = seed;
    for (unsigned i = 0; i < SOURCE_BUCKETS; i++) {
        list_init(&sources->buckets[i]);
    }
}

void sources_release(struct sources *sources)
{
    for (unsigned i = 0; i < SOURCE_BUCKETS; i++) {
        CHECK(list_empty(&sources->buckets[i]));
    }
}

static void normalize(const char *address, char out[46])
{
    struct in6_addr in6;
    enum { PREFIX_BYTES = 8 };
    size_t size = strnlen(address, 45);
    memcpy(out, address, size);
    out[size] = '\0';
    if (inet_pton(AF_INET6, out, &in6) == 1) {
        memset(in6.s6_addr + PREFIX_BYTES, 0, sizeof(in6.s6_addr) - PREFIX_BYTES);
        CHECK(inet_ntop(AF_INET6, &in6, out, 46) != NULL);
    }
}

/* FNV-1a from a secret start, mixed at the end. */
static unsigned bucket_of(uint64_t seed, const char *name, unsigned buckets)
{
    uint64_t hash = seed ^ 0xcbf29ce484222325u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    hash = (hash ^ hash >> 32) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * (seed | 1);
    return (unsigned)((hash ^ hash >> 31) >> 16) % buckets;
}

enum status sources_connect(struct sources *sources, const char *address, uint32_t connections_max,
                            struct source **out)
{
    char name[46];
    normalize(address, name);
    struct list *bucket = &sources->buckets[bucket_of(sources->seed, name, SOURCE_BUCKETS)];
    LIST_FOR_EACH (node, bucket) {
        struct source *source = CONTAINER_OF(node, struct source, node);
        if (strcmp(source->name, name) == 0) {
            if (source->connections >= connections_max) {
                return STATUS_BUSY;
            }
            source->connections++;
            *out = source;
            return STATUS_OK;
        }
    }
    if (connections_max == 0) {
        return STATUS_BUSY;
    }
    struct source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return STATUS_NO_MEMORY;
    }
    memcpy(source->name, name, sizeof(name));
    source->connections = 1;
    list_push(bucket, &source->node);
    *out = source;
    return STATUS_OK;
}

static void free_if_idle(struct source *source)
{
    if (source->connections == 0 && source->unverified == 0) {
        list_remove(&source->node);
        free(source);
    }
}

void sources_disconnect(struct source *source)
{
    CHECK(source->connections > 0);
    source->connections--;
    free_if_idle(source);
}

void sources_charge(struct source *source, size_t bytes)
{
    source->unverified += bytes;
}

void sources_discharge(struct source *source, size_t bytes)
{
    CHECK(source->unverified >= bytes);
    source->unverified -= bytes;
    free_if_idle(source);
}

bool source_rates_take(struct source_rates *rates, uint64_t seed, const char *address,
                       uint64_t now_ms, uint32_t per_second)
{
    char name[46];
    normalize(address, name);
    struct source_rate *rate = &rates->rate[bucket_of(seed, name, SOURCE_RATES)];
    uint64_t passed_ms = now_ms - rate->at_ms;
    uint64_t regained = passed_ms > UINT32_MAX ? UINT64_MAX : passed_ms * per_second;
    rate->used = rate->used > regained ? rate->used - regained : 0;
    rate->at_ms = now_ms;
    if (rate->used + 1000 > (uint64_t)per_second * SOURCE_BURST_S * 1000) {
        return false;
    }
    rate->used += 1000;
    return true;
}
