#include "broker/server/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/leave.h"
#include "broker/server/loads.h"
#include "broker/server/mend.h"
#include "broker/server/quarantine.h"
#include "broker/server/retention.h"
#include "broker/server/server_internal.h"

enum { HOUSEKEEPING_MS = 1000 };

static uint64_t now(const struct server *s)
{
    return net_now_ms(s->loop);
}

/* ---- turns and timers ---- */

void server_schedule(void *context)
{
    struct server *s = context;
    if (!s->closing) {
        net_turn_schedule(s->loop, &s->turn);
    }
}

static void on_deadline(struct net_timer *timer);

static void arm(struct server *s)
{
    uint64_t at_ms = shards_deadline(s->shards);
    if (at_ms == s->armed_ms) {
        return;
    }
    s->armed_ms = at_ms;
    if (at_ms == UINT64_MAX) {
        net_timer_stop(s->loop, &s->deadline);
    } else {
        status_ignore(net_timer_start(s->loop, &s->deadline, at_ms, on_deadline),
                      "housekeeping arms it again");
    }
}

static void on_deadline(struct net_timer *timer)
{
    struct server *s = CONTAINER_OF(timer, struct server, deadline);
    s->armed_ms = UINT64_MAX;
    shards_tick(s->shards);
    arm(s);
}

static void on_turn(struct net_turn *turn)
{
    struct server *s = CONTAINER_OF(turn, struct server, turn);
    if (s->closing) {
        return;
    }
    shards_turn(s->shards); /* the disk first: its write runs beside the sending */
    tips_turn(s->tips);
    peers_turn(s->peers);
    controllers_turn(s->controllers);
    arm(s);
}

static void tell_when_out(struct server *s)
{
    if (shards_are_out(s->shards) && !s->out_told) {
        s->out_told = true;
        controllers_beat_now(s->controllers);
    }
}

/* Until others lead, and the process is started again. */
static void resign_while_out(struct server *s)
{
    if (shards_are_out(s->shards)) {
        shards_resign(s->shards);
    }
}

static void on_disk(struct net_watch *watch, void *data)
{
    (void)watch;
    struct server *s = data;
    shards_poll(s->shards);
    peers_drain(s->peers);
    tell_when_out(s);
}

/* A damaged journal may have lost promises. The metadata of our registration or later have every
 * epoch that we can have promised in an earlier boot (docs/replication.md 2.9). */
static void tell_floors(struct server *s)
{
    uint64_t version = s->controllers == NULL ? 0 : controllers_floor_version(s->controllers);
    if (s->floors_known || version == 0 || route_version(s->route) < version) {
        return;
    }
    s->floors_known = true;
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        const struct route_shard *row = route_shard(s->route, shard->id);
        enum status status = row == NULL ? STATUS_STALE : shard_floor(shard, row->epoch);
        s->floors_known = s->floors_known && (status == STATUS_OK || status == STATUS_STALE);
    }
}

static void on_housekeeping(struct net_timer *timer)
{
    struct server *s = CONTAINER_OF(timer, struct server, housekeeping);
    server_check_space(s);
    observe_count(s);
    health_look(s);
    tell_when_out(s);
    resign_while_out(s);
    tell_floors(s);
    quarantine_run(s);
    mend_tell(s);
    peers_drain(s->peers);
    if (now(s) >= s->retention_ms) {
        s->retention_ms = now(s) + RETENTION_EVERY_MS;
        retention_run(s->shards, s->route, s->peers, now(s), health_retention_ms(s));
    }
    loads_run(s, now(s));
    arm(s);
    status_ignore(net_timer_start(s->loop, timer, now(s) + HOUSEKEEPING_MS, on_housekeeping),
                  "a timer that has just fired has its room");
}

/* ---- what the links say ---- */

static void open_children(struct server *s)
{
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        const struct route_shard *row = route_shard(s->route, shard->id);
        if (row != NULL && row->open && shard->waits_for_parents) {
            shard_open_child(shard);
        }
    }
}

static void route_changed(void *context)
{
    struct server *s = context;
    peers_sync(s->peers, s->route);
    if (route_version(s->route) != 0) {
        open_children(s);
        tell_floors(s);
    }
    if (s->kinesis != NULL) {
        kinesis_route_changed(s->kinesis);
    }
}

static void reset_changed(void *context)
{
    struct server *s = context;
    if (s->controllers != NULL) {
        controllers_beat_now(s->controllers);
    }
}

static void registered(void *context)
{
    tell_floors(context);
}

static void refused(void *context, const struct error *why)
{
    struct server *s = context;
    if (s->refused.status == STATUS_OK) {
        (void)error_set(&s->refused, why->status, "the controllers refuse this broker: %s",
                        why->text);
        net_loop_stop(s->loop);
    }
}

static void confirm(void *context, struct api_tip *tip)
{
    tips_confirm(((struct server *)context)->tips, tip);
}

/* ---- the listener's sessions ---- */

static bool is_broker(const struct session *session)
{
    return session_peer(session)->role == RPC_ROLE_BROKER;
}

static void opened(struct session *session)
{
    struct server *s = session_data(session);
    if (is_broker(session)) {
        peers_incoming_opened(s->peers, session);
    }
}

static void called(struct session *session, struct session_call *call)
{
    struct server *s = session_data(session);
    if (!process_called(&s->observe.process, call) && !repairs_called(s->repairs, call) &&
        !tips_called(s->tips, call) && !api_called(s->api, call)) {
        session_reply_error(call, STATUS_UNSUPPORTED, NULL, "brokers do not answer this method");
    }
}

static void messaged(struct session *session, enum rpc_method method, struct bytes body,
                     struct bytes attachment)
{
    struct server *s = session_data(session);
    if (s->closing) {
        return;
    }
    if (is_broker(session) && session_peer(session)->id != s->config->id) {
        peers_incoming(s->peers, session, method, body, attachment);
    } else if (session_peer(session)->role == RPC_ROLE_CONTROLLER) {
        session_close(session, STATUS_INVALID, "orders come on the broker's own connection");
    } else {
        session_close(session, STATUS_DENIED, "only other brokers send messages here");
    }
}

static void closed(struct session *session, const struct error *why)
{
    struct server *s = session_data(session);
    trace(TRACE_DEBUG, "server", "a connection ended: %s", why->text);
    peers_incoming_closed(s->peers, session);
}

static const struct session_handlers handlers = {.opened = opened,
                                                 .called = called,
                                                 .messaged = messaged,
                                                 .closed = closed};

/* ---- opening ---- */

NODISCARD static enum status open_parts(struct server *s, struct error *error)
{
    const struct server_config *config = s->config;
    s->route = route_new(net_tls_identity(s->tls)->cluster);
    s->keys = keys_new();
    struct shards_hooks hooks = server_shards_hooks;
    hooks.context = s;
    enum status status =
        s->route == NULL || s->keys == NULL
            ? STATUS_NO_MEMORY
            : data_key_fetch_open(&s->data_keys, s->loop, s->route, config->data_key_refresh_ms,
                                  config->data_key_life_ms);
    status = status == STATUS_OK ? shards_open(s->store, &hooks, config->id, &s->shards) : status;
    if (status != STATUS_OK) {
        return error_set(error, status, "the shards cannot be opened: %s", status_text(status));
    }
    s->data_keys.shards = s->shards;
    const struct peers_options peers = {.loop = s->loop,
                                        .tls = s->tls,
                                        .boot = s->boot,
                                        .broker = config->id,
                                        .shards = s->shards,
                                        .copy_bytes = config->copy_bandwidth,
                                        .context = s,
                                        .schedule = server_schedule,
                                        .reset_changed = reset_changed};
    s->peers = peers_new(&peers);
    s->tips = tips_new(s->shards, s->peers, s, server_schedule);
    const struct api_options api = {
        .loop = s->loop,
        .shards = s->shards,
        .route = s->route,
        .broker = config->id,
        .confirm = confirm,
        .vault = s->data_keys.vault,
        .context = s,
        .limits = {.write_bytes = config->limit_write_bytes,
                   .write_records = config->limit_write_records,
                   .read_bytes = config->limit_read_bytes,
                   .read_calls = config->limit_read_calls,
                   .iterator_calls = config->limit_iterator_calls,
                   .subscription_bytes = config->limit_subscription_bytes}
    };
    s->api = api_new(&api);
    return s->peers == NULL || s->tips == NULL || s->api == NULL || mend_open(s) != STATUS_OK
               ? error_set(error, STATUS_NO_MEMORY, "out of memory")
               : STATUS_OK;
}

NODISCARD static enum status open_controllers(struct server *s, struct error *error)
{
    struct store_info info;
    store_info(s->store, &info);
    struct controllers_options options = {
        .loop = s->loop,
        .tls = s->tls,
        .boot = s->boot,
        .broker = s->config->id,
        .zone = s->config->zone,
        .host = s->advertised_host,
        .port =
            s->config->advertised_port != 0 ? s->config->advertised_port : s->config->listen_port,
        .shards = s->shards,
        .peers = s->peers,
        .route = s->route,
        .keys = s->keys,
        .data_keys = &s->data_keys,
        .clock = &s->health.clock,
        .context = s,
        .schedule = server_schedule,
        .route_changed = route_changed,
        .registered = registered,
        .refused = refused,
    };
    memcpy(options.disk_id, info.disk_id, DISK_ID_BYTES);
    if (getrandom(options.process, sizeof(options.process), 0) != sizeof(options.process)) {
        return error_set(error, STATUS_IO, "the system gives no random bytes");
    }
    return controllers_open(&options, s->config->controllers, &s->controllers, error);
}

NODISCARD static enum status open_listener(struct server *s, struct error *error)
{
    const struct session_options options = {
        .loop = s->loop, .tls = s->tls, .boot = s->boot, .handlers = &handlers, .data = s};
    const struct net_source_limits limits = {.connections = s->config->source_connections,
                                             .handshakes = s->config->source_handshakes};
    enum status status = net_listener_open(&options, s->config->listen_host, s->config->listen_port,
                                           s->config->connections_max, &s->listener, error);
    if (status == STATUS_OK && net_listener_limit(s->listener, &limits) != STATUS_OK) {
        status = error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    return status;
}

static void on_signal(uv_signal_t *handle, int signal_number)
{
    struct server *s = handle->data;
    trace(TRACE_INFO, "server", "stopping: %s",
          signal_number == SIGTERM ? "SIGTERM" : "interrupted");
    leave_begin(s);
}

NODISCARD static enum status open_loop_parts(struct server *s, struct error *error)
{
    struct uv_loop_s *uv = net_loop_uv(s->loop);
    net_turn_init(&s->turn, on_turn);
    s->armed_ms = UINT64_MAX;
    bool ok = uv_signal_init(uv, &s->term) == 0 && uv_signal_init(uv, &s->interrupt) == 0;
    CHECK(ok); /* they only fill in the handles */
    s->has_signals = true;
    s->term.data = s->interrupt.data = s;
    ok = uv_signal_start(&s->term, on_signal, SIGTERM) == 0 &&
         uv_signal_start(&s->interrupt, on_signal, SIGINT) == 0;
    s->disk_watch = net_watch_open(s->loop, store_event_fd(s->store), on_disk, s);
    if (!ok || s->disk_watch == NULL ||
        net_timer_start(s->loop, &s->housekeeping, now(s) + HOUSEKEEPING_MS, on_housekeeping) !=
            STATUS_OK) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

NODISCARD static enum status open_all(struct server *s, struct error *error)
{
    enum status status = server_open_identity(s, error);
    status = status == STATUS_OK ? server_open_store(s, error) : status;
    if (status != STATUS_OK) {
        return status;
    }
    server_trace_store(s);
    server_choose_host(s);
    status = open_loop_parts(s, error);
    status = status == STATUS_OK ? open_parts(s, error) : status;
    status = status == STATUS_OK ? open_listener(s, error) : status;
    status = status == STATUS_OK ? server_open_front(s, error) : status;
    if (status == STATUS_OK) {
        net_reload_add(&s->reload, s->tls);
        net_reload_add(&s->reload, s->public_tls);
        if (net_reload_start(&s->reload, s->loop, (uint32_t)s->config->certificate_check_ms) !=
            STATUS_OK) {
            status = error_set(error, STATUS_NO_MEMORY, "out of memory");
        }
    }
    status = status == STATUS_OK ? open_controllers(s, error) : status;
    return status == STATUS_OK ? observe_open(s, error) : status;
}

enum status server_open(const struct server_config *config, struct server **out,
                        struct error *error)
{
    struct server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    s->config = config;
    s->loop = net_loop_new(NULL);
    health_open(s);
    enum status status =
        s->loop == NULL ? error_set(error, STATUS_NO_MEMORY, "out of memory") : open_all(s, error);
    if (status != STATUS_OK) {
        server_close(s);
        return status;
    }
    server_check_space(s);
    trace(TRACE_INFO, "server", "ready: broker-%u in zone %s serves %s:%u", config->id,
          config->zone, config->listen_host, config->listen_port);
    *out = s;
    return STATUS_OK;
}

enum status server_run(struct server *s, struct error *error)
{
    server_schedule(s); /* what recovery left to read */
    net_loop_run(s->loop);
    if (s->refused.status != STATUS_OK) {
        *error = s->refused;
    }
    return s->refused.status;
}

void server_stop(struct server *s)
{
    net_loop_stop(s->loop);
}

/* ---- closing ---- */

/* Answers whoever waits, then ends the connections. */
static void close_traffic(struct server *s)
{
    s->closing = true;
    observe_close(s);
    if (s->kinesis != NULL) {
        kinesis_close(s->kinesis);
    }
    mend_close(s);
    tips_close(s->tips);
    if (s->api != NULL) {
        api_close(s->api);
    }
    shards_close(s->shards);
    if (s->controllers != NULL) {
        controllers_close(s->controllers);
    }
    if (s->peers != NULL) {
        peers_close(s->peers);
    }
    if (s->listener != NULL) {
        net_listener_close(s->listener);
    }
    net_timer_stop(s->loop, &s->deadline);
    net_timer_stop(s->loop, &s->housekeeping);
    net_reload_stop(&s->reload);
    net_timer_stop(s->loop, &s->leave_timer);
    list_remove(&s->turn.node);
    if (s->disk_watch != NULL) {
        net_watch_close(s->disk_watch);
    }
    if (s->has_signals) {
        uv_close((uv_handle_t *)&s->term, NULL);
        uv_close((uv_handle_t *)&s->interrupt, NULL);
    }
}

void server_close(struct server *s)
{
    if (s == NULL) {
        return;
    }
    if (s->loop != NULL) {
        if (s->turn.node.next == NULL) {
            net_turn_init(&s->turn, on_turn); /* opening did not come this far */
        }
        close_traffic(s);
    }
    store_close(s->store); /* ends the reads that are under way: their calls are answered here */
    net_loop_free(s->loop);
    kinesis_free(s->kinesis);
    shards_free(s->shards);
    api_free(s->api);
    tips_free(s->tips);
    mend_free(s);
    peers_free(s->peers);
    controllers_free(s->controllers);
    keys_free(s->keys);
    data_key_fetch_release(&s->data_keys);
    held_release(&s->held);
    route_free(s->route);
    observe_release(s);
    if (s->tls != NULL) {
        net_tls_close(s->tls);
    }
    if (s->public_tls != NULL) {
        net_tls_close(s->public_tls);
    }
    free(s);
}
