#include "broker/server/retention.h"

#include "base/trace.h"

static const uint64_t HOUR_MS = UINT64_C(3600) * 1000;
static const uint64_t MINUTE_MS = UINT64_C(60) * 1000;

bool retention_clock_is_confirmed(const struct shard *shard, const struct peers *peers,
                                  uint64_t wall_ms)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    for (uint32_t i = 0; i < view.member_count; i++) {
        uint64_t other_ms;
        if (peers_wall_ms(peers, view.member[i].id.broker, &other_ms)) {
            uint64_t apart = other_ms > wall_ms ? other_ms - wall_ms : wall_ms - other_ms;
            if (apart <= RETENTION_CLOCKS_APART_MS) {
                return true;
            }
        }
    }
    return view.member_count == 0; /* a shard of one replica has only one clock */
}

/* The next segment boundary above `from` of those up to `last`, which is one. */
static uint64_t next_boundary(const struct shard *shard, uint64_t from, uint64_t last,
                              uint64_t cutoff_ms)
{
    uint64_t low = from, high = last;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t found = shard_log_retention(shard->log, cutoff_ms, middle);
        if (found > from) {
            high = found < middle ? found : middle;
        } else {
            low = middle;
        }
    }
    return high;
}

static void note_retention(struct shard *shard, uint32_t hours)
{
    if (shard->retention_hours != 0 && hours < shard->retention_hours) {
        shard->retention_lowered = true;
    }
    shard->retention_hours = hours;
}

/* Up to where the log may be dropped now; log_start when nowhere. */
static uint64_t due(struct shard *shard, uint64_t now_ms, uint64_t wall_ms)
{
    uint64_t keep_ms = shard->retention_hours * HOUR_MS;
    if (keep_ms == 0 || wall_ms <= keep_ms) {
        return shard->log_start;
    }
    uint64_t cutoff_ms = wall_ms - keep_ms;
    uint64_t limit = shard->commit;
    if (shard->seal_end != 0 && limit >= shard->seal_end) {
        limit = shard->seal_end - 1; /* the SEAL is the last to go, with the shard */
    }
    uint64_t last = shard_log_retention(shard->log, cutoff_ms, limit);
    if (last <= shard->log_start) {
        shard->retention_lowered = false;
        return shard->log_start;
    }
    if (shard->retention_lowered) {
        return last;
    }
    if (now_ms >= shard->trimmed_minute_ms + MINUTE_MS) {
        shard->trimmed_minute_ms = now_ms;
        shard->trimmed_segments = 0;
    }
    uint64_t at = shard->log_start;
    while (at < last && shard->trimmed_segments < RETENTION_SEGMENTS_PER_MINUTE) {
        at = next_boundary(shard, at, last, cutoff_ms);
        shard->trimmed_segments++;
    }
    return at;
}

void retention_run(struct shards *shards, const struct route *route, const struct peers *peers,
                   uint64_t now_ms, uint64_t wall_ms)
{
    for (struct shard *shard = shards_next(shards, NULL); shard != NULL;
         shard = shards_next(shards, shard)) {
        const struct route_stream *stream = route_stream(route, (uint32_t)(shard->id >> 32));
        if (stream == NULL || !shard->open) {
            continue; /* without metadata nothing is dropped (R16) */
        }
        note_retention(shard, stream->retention_hours);
        if (shard->commit == shard->log_start ||
            !retention_clock_is_confirmed(shard, peers, wall_ms)) {
            continue;
        }
        uint64_t offset = due(shard, now_ms, wall_ms);
        if (offset <= shard->log_start) {
            continue;
        }
        enum status status = shard_retain(shard, offset);
        trace(status == STATUS_OK ? TRACE_INFO : TRACE_WARNING, "retention",
              "shard %016llx: records below offset %llu are older than %u h: %s",
              (unsigned long long)shard->id, (unsigned long long)offset, shard->retention_hours,
              status == STATUS_OK ? "dropped" : status_text(status));
    }
}
