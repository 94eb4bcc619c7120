/* Reads that have met damage wait here until the caller has repaired it, or given up. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "broker/log/private.h"

enum { REPAIRS_PER_READ_MAX = 64 };

void store_set_repairer(struct store *store, const struct store_repairer *repairer)
{
    store->repairer = *repairer;
}

/* A sector that cannot be read is damage like one that is wrong. */
bool damage_parks(struct store *store, struct shard_log *log, enum status status, uint32_t tries)
{
    return (status == STATUS_CORRUPT || status == STATUS_IO) && store->repairer.damaged != NULL &&
           !store->closing && store->out == STATUS_OK && tries < REPAIRS_PER_READ_MAX &&
           log->segment_count > 0;
}

void damage_met(struct shard_log *log, uint64_t offset)
{
    const struct store_repairer *repairer = &log->store->repairer;
    repairer->damaged(repairer->context, log, offset);
}

void shard_log_repaired(struct shard_log *log, bool repaired)
{
    log_reads_resume(log->store, log, repaired);
}

bool shard_log_segment(const struct shard_log *log, uint64_t from, struct log_segment *out)
{
    for (uint32_t i = 0; i < log->segment_count; i++) {
        const struct segment *segment = log->segment[i];
        if (segment->base >= from) {
            *out = (struct log_segment){.base = segment->base,
                                        .end = segment->end,
                                        .bytes = segment->written,
                                        .whole = i + 1 < log->segment_count &&
                                                 segment->written == segment->bytes};
            return true;
        }
    }
    return false;
}

static struct segment *segment_at(const struct shard_log *log, uint64_t base)
{
    struct segment *segment = log_segment_holding(log, base, NULL);
    return segment != NULL && segment->base == base ? segment : NULL;
}

void shard_log_set_hash(struct shard_log *log, uint64_t base, const uint8_t hash[LOG_HASH_BYTES])
{
    struct segment *segment = segment_at(log, base);
    if (segment == NULL) {
        return;
    }
    if (segment->hash == NULL) {
        segment->hash = malloc(LOG_HASH_BYTES);
    }
    if (segment->hash != NULL) {
        memcpy(segment->hash, hash, LOG_HASH_BYTES);
    }
}

bool shard_log_hash(const struct shard_log *log, uint64_t base, uint64_t end,
                    uint8_t out[LOG_HASH_BYTES])
{
    const struct segment *segment = segment_at(log, base);
    if (segment == NULL || segment->hash == NULL || segment->end != end) {
        return false;
    }
    memcpy(out, segment->hash, LOG_HASH_BYTES);
    return true;
}
