#include "broker/server/quarantine.h"

#include "base/trace.h"
#include "broker/server/retention.h"
#include "broker/server/server_internal.h"

/* 0: nobody confirms our clock now. */
static uint64_t confirmed_wall_ms(const struct server *s)
{
    uint64_t wall_ms = net_wall_ms();
    uint32_t count = route_broker_count(s->route);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t other_ms;
        uint32_t id = route_broker_at(s->route, i)->id;
        if (id != s->config->id && peers_wall_ms(s->peers, id, &other_ms)) {
            uint64_t apart = other_ms > wall_ms ? other_ms - wall_ms : wall_ms - other_ms;
            if (apart <= RETENTION_CLOCKS_APART_MS) {
                return wall_ms;
            }
        }
    }
    return count <= 1 ? wall_ms : 0; /* a cluster of one broker has one clock */
}

/* Whether "not listed" means anything: the image is complete, as new as what was fenced before this
 * boot, and somebody can tell us better. */
static bool metadata_are_good(const struct server *s)
{
    uint64_t floor = controllers_floor_version(s->controllers);
    return floor != 0 && route_version(s->route) >= floor &&
           controllers_session(s->controllers) != NULL;
}

static void move(struct server *s, struct shard *shard)
{
    uint64_t id = shard->id;
    enum status status = shards_quarantine(s->shards, shard);
    trace(TRACE_ERROR, "quarantine",
          "shard %u of stream %u (%016llx) is not in the metadata: moved to %s/quarantine: %s",
          (unsigned)id, (unsigned)(id >> 32), (unsigned long long)id, s->config->data_dir,
          status_text(status));
    if (status == STATUS_OK) {
        uint64_t soon_ms = net_now_ms(s->loop) + QUARANTINE_SOON_MS; /* its time is to be stamped */
        s->quarantine_ms = s->quarantine_ms < soon_ms ? s->quarantine_ms : soon_ms;
    }
}

static void look_at_replicas(struct server *s, uint64_t now_ms)
{
    uint32_t unlisted = 0;
    struct shard *next;
    held_clear(&s->held.disk);
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL; shard = next) {
        next = shards_next(s->shards, shard);
        if (held_is_listed(s, shard->id)) {
            shard->unlisted_ms = 0;
            continue;
        }
        held_note(&s->held.disk, shard->id);
        if (shard->unlisted_ms == 0) {
            shard->unlisted_ms = now_ms;
            unlisted++;
        } else if (now_ms - shard->unlisted_ms < s->config->quarantine_after_ms) {
            unlisted++;
        } else {
            move(s, shard);
        }
    }
    if (unlisted > s->strays.unlisted) {
        trace(TRACE_WARNING, "quarantine",
              "%u shards on this disk are not in the metadata: unless they are listed within %llu "
              "s, they go to quarantine",
              unlisted, (unsigned long long)(s->config->quarantine_after_ms / 1000));
    }
    s->strays.unlisted = unlisted;
}

/* It was given up, and the controllers count on it again. */
static void look_at_quarantined(void *context, uint64_t id)
{
    struct server *s = context;
    const struct route_shard *row = route_shard(s->route, id);
    bool ours = false;
    held_note(&s->held.quarantine, id);
    for (uint32_t i = 0; row != NULL && i < row->replica_count; i++) {
        ours = ours || row->replica_brokers[i] == s->config->id;
    }
    if (!ours || shards_find(s->shards, id) != NULL) {
        return;
    }
    s->strays.reclaimed++;
    trace(TRACE_ERROR, "quarantine",
          "shard %u of stream %u (%016llx) is listed again, but this broker's replica lies in "
          "%s/quarantine: it does not vote; let the others restore it, or an operator decide",
          (unsigned)id, (unsigned)(id >> 32), (unsigned long long)id, s->config->data_dir);
}

static void look_at_quarantine(struct server *s)
{
    struct quarantine_info info;
    s->strays.reclaimed = 0;
    held_clear(&s->held.quarantine);
    s->held.quarantine_known = false;
    enum status status =
        store_quarantine(s->store, confirmed_wall_ms(s), s->config->quarantine_keep_ms,
                         look_at_quarantined, s, &info);
    if (status != STATUS_OK) {
        trace(TRACE_WARNING, "quarantine", "%s/quarantine cannot be looked at: %s",
              s->config->data_dir, status_text(status));
        return;
    }
    s->held.quarantine_known = true;
    if (info.count != s->strays.quarantined || info.removed > 0) {
        trace(TRACE_WARNING, "quarantine",
              "%u shards or segments lie in %s/quarantine; %u were removed after %llu days",
              info.count, s->config->data_dir, info.removed,
              (unsigned long long)(s->config->quarantine_keep_ms / 86400000));
    }
    s->strays.quarantined = info.count;
}

void quarantine_run(struct server *s)
{
    uint64_t now_ms = net_now_ms(s->loop);
    if (shards_are_out(s->shards) || !metadata_are_good(s)) {
        return;
    }
    look_at_replicas(s, now_ms);
    if (now_ms >= s->quarantine_ms) {
        look_at_quarantine(s);
        s->quarantine_ms = now_ms + QUARANTINE_EVERY_MS;
    }
    held_tell(s, now_ms);
    controllers_set_strays(s->controllers, &s->strays);
}
