/* What is counted of shards, and the limits that hold for them. */
#include "broker/api/internal.h"

enum { FORGET_MS = 60 * 1000 };

static bool is_on_demand(const struct route_stream *stream)
{
    return stream != NULL && stream->attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND;
}

static const struct route_stream *stream_of(const struct api *api, uint64_t shard)
{
    return route_stream(api->options.route, (uint32_t)(shard >> 32));
}

/* ---- limits ---- */

static uint64_t limit(uint64_t own, uint64_t fallback)
{
    return own == 0 ? fallback : own == UINT64_MAX ? 0 : own > UINT32_MAX ? UINT32_MAX : own;
}

struct api_limits api_limits_of(const struct api *api, uint64_t shard)
{
    struct api_limits limits = api->options.limits;
    const struct route_stream *stream = stream_of(api, shard);
    const Weir__StreamLimits *own = stream == NULL ? NULL : stream->attributes->limits;
    if (own != NULL) {
        limits.write_bytes = limit(own->write_bytes, limits.write_bytes);
        limits.write_records = limit(own->write_records, limits.write_records);
        limits.read_bytes = limit(own->read_bytes, limits.read_bytes);
        limits.read_calls = limit(own->read_calls, limits.read_calls);
        limits.iterator_calls = limit(own->iterator_calls, limits.iterator_calls);
        limits.subscription_bytes = limit(own->subscription_bytes, limits.subscription_bytes);
    }
    return limits;
}

bool api_may_iterate(struct api *api, uint64_t shard)
{
    const struct api_limits rates = api_limits_of(api, shard);
    return limits_may_iterate(api->limits, &rates, shard, net_now_ms(api->options.loop));
}

/* ---- puts ---- */

static void note(struct api *api, const struct route_shard *row, const struct record *record)
{
    struct hash_key key = record->hash_key;
    if (!record->has_hash_key && hash_key_of_partition_key(record->key, &key) != STATUS_OK) {
        return;
    }
    loads_note(api->loads, row->shard, row->range, key, record->data.size + record->key.size);
}

void api_measure(struct api *api, struct pending_put *p)
{
    const struct route_shard *row =
        is_on_demand(stream_of(api, p->shard)) ? route_shard(api->options.route, p->shard) : NULL;
    const uint32_t every = p->put.count / LOAD_SAMPLES_MAX + 1;
    struct bytes records = p->put.records;
    struct record record;
    p->bytes = p->records = 0;
    while (records.size > 0 && record_next(&records, &record) == STATUS_OK) {
        p->bytes += record.data.size + record.key.size;
        if (row != NULL && p->records % every == 0) {
            note(api, row, &record);
        }
        p->records++;
    }
}

/* ---- what others ask ---- */

void api_stats(const struct api *api, struct api_stats *out)
{
    *out = (struct api_stats){.committed = api->committed,
                              .reading = api->reading,
                              .subscriptions = api->subscription_count};
    LIST_FOR_EACH (node, &api->reads_queued) {
        out->reads_queued++;
    }
}

void api_metrics_each(const struct api *api,
                      void (*visit)(const struct api_shard_metrics *metrics, void *context),
                      void *context)
{
    struct shards *set = api->options.shards;
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        const struct route_stream *stream = stream_of(api, shard->id);
        if (stream != NULL && stream->attributes->monitoring != 0) {
            const struct api_shard_metrics metrics = {.shard = shard->id,
                                                      .enabled = stream->attributes->monitoring,
                                                      .counters = shard->counters};
            visit(&metrics, context);
        }
    }
}

uint32_t api_loads(struct api *api, uint64_t *cursor, struct api_load *out, uint32_t capacity)
{
    struct shards *set = api->options.shards;
    uint64_t now_ms = net_now_ms(api->options.loop);
    uint32_t count = 0;
    struct shard *shard = shards_next(set, *cursor == 0 ? NULL : shards_find(set, *cursor));
    for (; shard != NULL && count < capacity; shard = shards_next(set, shard)) {
        const struct route_shard *row = route_shard(api->options.route, shard->id);
        if (row == NULL || !row->open || !shard->open || !is_on_demand(stream_of(api, shard->id))) {
            continue;
        }
        const struct api_limits limits = api_limits_of(api, shard->id);
        count += loads_take(api->loads, shard->id, row->range, now_ms, &shard->counters, &limits,
                            &out[count]);
        *cursor = shard->id;
    }
    if (shard == NULL) {
        *cursor = 0;
        loads_tidy(api->loads, now_ms > FORGET_MS ? now_ms - FORGET_MS : 0);
    }
    return count;
}
