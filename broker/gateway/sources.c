#include "broker/gateway/sources.h"

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
static unsigned bucket_of(const struct sources *sources, const char *name)
{
    uint64_t hash = sources->seed ^ 0xcbf29ce484222325u;
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    hash *= sources->seed | 1;
    return (unsigned)(hash >> 48) % SOURCE_BUCKETS;
}

enum status sources_connect(struct sources *sources, const char *address, uint32_t connections_max,
                            struct source **out)
{
    char name[46];
    normalize(address, name);
    struct list *bucket = &sources->buckets[bucket_of(sources, name)];
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
