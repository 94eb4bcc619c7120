/* What shards ask of their broker. */
#include <sys/random.h>

#include "broker/server/mend.h"
#include "broker/server/server_internal.h"

static uint64_t hook_now_ms(void *context)
{
    return net_now_ms(((struct server *)context)->loop);
}

static uint64_t hook_wall_ms(void *context)
{
    return health_append_ms(context);
}

static bool hook_random(void *context, uint8_t *to, size_t size)
{
    (void)context;
    return getrandom(to, size, 0) == (ssize_t)size; /* whole up to 256 bytes */
}

static void hook_wake(void *context, struct shard_peer *peer)
{
    peers_wake(((struct server *)context)->peers, peer);
}

static void hook_forget(void *context, struct shard_peer *peer)
{
    peers_forget(((struct server *)context)->peers, peer);
}

static void hook_answer(void *context, const struct shard *shard, struct replica_id to,
                        const struct replica_answer *answer)
{
    peers_answer(((struct server *)context)->peers, shard, to, answer);
}

static void hook_report(void *context, const struct shard *shard, uint32_t epoch,
                        const struct replica_report *report)
{
    controllers_report(((struct server *)context)->controllers, shard, epoch, report);
}

static void hook_leading(void *context, const struct shard *shard, uint32_t epoch)
{
    controllers_leading(((struct server *)context)->controllers, shard->id, epoch);
}

static void hook_sealed(void *context, const struct shard *shard, uint64_t end, uint64_t time_ms)
{
    controllers_sealed(((struct server *)context)->controllers, shard, end, time_ms);
}

static void hook_resign(void *context, const struct shard *shard, uint32_t epoch, uint32_t promised,
                        uint32_t heir)
{
    controllers_resign(((struct server *)context)->controllers, shard->id, epoch, promised, heir);
}

static void hook_learned(void *context, const struct shard *shard, struct replica_id learner)
{
    controllers_learned(((struct server *)context)->controllers, shard, learner);
}

static void hook_dropped(void *context, uint64_t shard)
{
    controllers_dropped(((struct server *)context)->controllers, shard);
}

static enum status hook_seal(void *context, const struct shard *shard, bool must,
                             struct batch_header *h, struct bytes *payload, struct error *error)
{
    return data_key_seal(&((struct server *)context)->data_keys, shard, must, h, payload, error);
}

static bool hook_is_connected(void *context, uint32_t broker)
{
    return peers_is_connected(((struct server *)context)->peers, broker);
}

const struct shards_hooks server_shards_hooks = {
    .now_ms = hook_now_ms,
    .wall_ms = hook_wall_ms,
    .random = hook_random,
    .wake = hook_wake,
    .forget = hook_forget,
    .answer = hook_answer,
    .report = hook_report,
    .leading = hook_leading,
    .sealed = hook_sealed,
    .resign = hook_resign,
    .learned = hook_learned,
    .repair = mend_repair,
    .dropped = hook_dropped,
    .seal = hook_seal,
    .is_connected = hook_is_connected,
    .schedule = server_schedule,
};
