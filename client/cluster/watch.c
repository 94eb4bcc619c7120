/* The watch: one controller sends the metadata and every change of it. */
#include <string.h>

#include "client/cluster/internal.h"

static void step(struct metadata_watch *watch);

static void on_retry(struct net_timer *timer)
{
    step(CONTAINER_OF(timer, struct metadata_watch, retry));
}

static void next_controller(struct metadata_watch *watch)
{
    struct cluster *cluster = watch->cluster;
    watch->peer = controller_next(cluster, watch->peer);
    uint32_t rounds = watch->failures++ / (uint32_t)cluster->peer_count;
    uint64_t ms = (uint64_t)CALL_BACKOFF_MIN_MS << (rounds < 7 ? rounds : 7);
    if (ms > WATCH_BACKOFF_MAX_MS) {
        ms = WATCH_BACKOFF_MAX_MS;
    }
    /* Without memory for a timer the watch stays down; calls that doubt start it again. */
    status_ignore(net_timer_start(
                      cluster->loop, &watch->retry,
                      net_now_ms(cluster->loop) + rng_between(&cluster->rng, ms / 2, ms), on_retry),
                  "see above");
}

static void on_patience(struct net_timer *timer)
{
    next_controller(CONTAINER_OF(timer, struct metadata_watch, retry));
}

enum taken { TAKEN, TAKE_AN_IMAGE, TAKE_FROM_ANOTHER };

/* A controller that lags behind the one we watched before would take us back in time. Only when
 * none has more do we believe it. */
static bool is_behind(const struct cluster *cluster, const Weir__MetadataUpdate *update)
{
    const struct metadata *known = &cluster->metadata;
    return update->full && known->known && update->version < known->version &&
           update->cluster.len == sizeof(known->cluster) &&
           memcmp(update->cluster.data, known->cluster, sizeof(known->cluster)) == 0 &&
           cluster->watch.failures < 3 * cluster->peer_count;
}

static enum taken take(struct cluster *cluster, struct bytes body)
{
    Weir__MetadataUpdate *update = weir__metadata_update__unpack(NULL, body.size, body.data);
    if (update == NULL) {
        return TAKE_FROM_ANOTHER;
    }
    enum taken taken = TAKE_FROM_ANOTHER;
    if (!is_behind(cluster, update)) {
        taken = metadata_apply(&cluster->metadata, update) == STATUS_OK ? TAKEN : TAKE_AN_IMAGE;
    }
    weir__metadata_update__free_unpacked(update, NULL);
    if (taken == TAKEN) {
        cluster->watch.failures = 0;
        controllers_learn(cluster);
        brokers_learn(cluster);
        cluster_changed(cluster);
    }
    return taken;
}

static void on_reply(struct session_request *request, const struct session_reply *reply)
{
    struct metadata_watch *watch = CONTAINER_OF(request, struct metadata_watch, request);
    struct cluster *cluster = watch->cluster;
    watch->asking = reply->status == STATUS_OK && reply->more;
    if (cluster->closing) {
        return;
    }
    if (reply->status == STATUS_OK) {
        enum taken taken = take(cluster, reply->body);
        watch->wants_image |= taken == TAKE_AN_IMAGE;
        if (taken != TAKEN && watch->asking) {
            session_cancel(request); /* its last reply goes on to the next controller */
        }
    }
    if (watch->asking) {
        return;
    }
    uint32_t id = reply->hint != NULL ? cluster_node_id(reply->hint, "controller") : 0;
    size_t hinted = controller_of_id(cluster, id);
    if (hinted < cluster->peer_count && hinted != watch->peer) {
        watch->peer = (hinted + cluster->peer_count - 1) % cluster->peer_count; /* it is next */
    }
    next_controller(watch);
}

static void ask(struct metadata_watch *watch)
{
    struct cluster *cluster = watch->cluster;
    Weir__Watch body = WEIR__WATCH__INIT;
    bool know = cluster->metadata.known && !watch->wants_image;
    body.from_version = know ? cluster->metadata.version : 0;
    struct session_payload payload = {.body = &body.base};
    if (session_call(cluster->peers[watch->peer]->session, RPC_WATCH, payload, 0, &watch->request,
                     on_reply) == STATUS_OK) {
        watch->asking = true;
        watch->wants_image = false;
    } else {
        next_controller(watch);
    }
}

static void on_ready(struct peer_waiter *waiter, bool open)
{
    struct metadata_watch *watch = CONTAINER_OF(waiter, struct metadata_watch, waiter);
    net_timer_stop(watch->cluster->loop, &watch->retry);
    if (watch->cluster->closing) {
        return;
    }
    if (open) {
        ask(watch);
    } else {
        next_controller(watch);
    }
}

static void step(struct metadata_watch *watch)
{
    struct cluster *cluster = watch->cluster;
    if (cluster->closing || watch->asking) {
        return;
    }
    list_remove(&watch->waiter.node);
    if (controller_want(cluster->peers[watch->peer], &watch->waiter)) {
        ask(watch);
        return;
    }
    status_ignore(net_timer_start(cluster->loop, &watch->retry,
                                  net_now_ms(cluster->loop) + DIAL_PATIENCE_MS, on_patience),
                  "as in next_controller()");
}

void watch_open(struct cluster *cluster)
{
    struct metadata_watch *watch = &cluster->watch;
    watch->cluster = cluster;
    watch->waiter.ready = on_ready;
    list_init(&watch->waiter.node);
    watch->peer = rng_below(&cluster->rng, cluster->peer_count);
    /* Fails only out of memory; cluster_doubt() starts it again. */
    status_ignore(
        net_timer_start(cluster->loop, &watch->retry, net_now_ms(cluster->loop), on_retry),
        "see above");
}

void watch_close(struct cluster *cluster)
{
    struct metadata_watch *watch = &cluster->watch;
    net_timer_stop(cluster->loop, &watch->retry);
    net_timer_stop(cluster->loop, &cluster->behind);
    list_remove(&watch->waiter.node);
    if (watch->asking) {
        session_cancel(&watch->request);
    }
}

void watch_elsewhere(struct cluster *cluster)
{
    struct metadata_watch *watch = &cluster->watch;
    if (watch->asking) {
        session_cancel(&watch->request); /* its reply goes to the next one */
    } else if (watch->retry.heap_index == 0) {
        next_controller(watch);
    }
}

/* ---- doubt ------------------------------------------------------------------------------------
 */

static void still_behind(struct net_timer *timer)
{
    struct cluster *cluster = CONTAINER_OF(timer, struct cluster, behind);
    if (cluster->metadata.version < cluster->ahead_version) {
        watch_elsewhere(cluster);
    }
}

static void on_doubt(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct cluster *cluster = CONTAINER_OF(call, struct cluster, doubt);
    cluster->doubting = false;
    if (reply->status != STATUS_OK || cluster->closing) {
        return;
    }
    Weir__MetadataUpdate *update =
        weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
    if (update == NULL) {
        return;
    }
    if (metadata_apply_leaders(&cluster->metadata, update)) {
        cluster_changed(cluster);
    }
    if (update->version > cluster->metadata.version) {
        cluster->ahead_version = update->version;
        status_ignore(net_timer_start(cluster->loop, &cluster->behind,
                                      net_now_ms(cluster->loop) + BEHIND_PATIENCE_MS, still_behind),
                      "the next doubt looks again");
    }
    weir__metadata_update__free_unpacked(update, NULL);
}

void cluster_doubt(struct cluster *cluster, uint32_t stream)
{
    uint64_t now = net_now_ms(cluster->loop);
    const struct metadata_stream *row = metadata_stream(&cluster->metadata, stream);
    if (cluster->doubting || cluster->closing || now < cluster->next_doubt_ms) {
        return;
    }
    cluster->next_doubt_ms = now + DOUBT_EVERY_MS;
    if (!cluster->watch.asking) {
        watch_elsewhere(cluster); /* unless it is on its way to do so */
    }
    if (row == NULL) {
        return;
    }
    memcpy(cluster->doubt_stream, row->name, sizeof(cluster->doubt_stream));
    weir__get_metadata__init(&cluster->doubt_body);
    cluster->doubt_body.stream = cluster->doubt_stream;
    cluster->doubt_body.stale_ok = true;
    cluster->doubting =
        cluster_call(cluster, &cluster->doubt, RPC_GET_METADATA, &cluster->doubt_body.base, false,
                     DOUBT_TIMEOUT_MS, on_doubt) == STATUS_OK;
    /* What the watched one knew, it would have told. */
    cluster->doubt_peer = controller_next(cluster, cluster->doubt_peer);
    if (cluster->doubt_peer == cluster->watch.peer) {
        cluster->doubt_peer = controller_next(cluster, cluster->doubt_peer);
    }
    cluster->doubt.anybody = true;
    cluster->doubt.peer = cluster->doubt_peer;
}
