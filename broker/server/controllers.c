#include "broker/server/controllers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/controllers_internal.h"

enum { BEAT_PEERS_MAX = 256, CALL_TIMEOUT_MS = 3000 };

static uint64_t now(const struct controllers *c)
{
    return net_now_ms(c->options.loop);
}

static void start_timer(struct controllers *c, uint64_t after_ms);
static void seek(struct controllers *c);
static void watch(struct controllers *c);

/* ---- beats ---- */

static void beat(struct controllers *c)
{
    if (c->active == NULL || c->active->session == NULL) {
        return;
    }
    uint32_t reachable[BEAT_PEERS_MAX], reset[BEAT_PEERS_MAX];
    struct store_status disk;
    store_status(shards_store(c->options.shards), &disk);
    static char states[3][8] = {"ok", "full", "out"};
    Weir__BrokerBeat message;
    weir__broker_beat__init(&message);
    message.boot = c->options.boot;
    message.sequence = ++c->beat_sequence;
    message.n_reachable = peers_reachable(c->options.peers, reachable, BEAT_PEERS_MAX);
    message.reachable = reachable;
    message.n_reset = peers_reset(c->options.peers, reset, BEAT_PEERS_MAX);
    message.reset = reset;
    message.disk_state = shards_are_out(c->options.shards) ? states[2] : states[disk.full];
    message.disk_bytes = c->disk_bytes;
    message.disk_free_bytes = disk.free_bytes;
    message.replicas = shards_count(c->options.shards, &message.leaders);
    message.time_ms = net_wall_ms();
    message.unlisted = c->strays.unlisted;
    message.quarantined = c->strays.quarantined;
    message.reclaimed = c->strays.reclaimed;
    message.holes = c->damage.holes;
    message.damage_found = c->damage.found;
    message.damage_repaired = c->damage.repaired;
    message.segments_differ = c->damage.differ;
    message.scrub_passes = c->damage.scrub_passes;
    message.scrub_finished_ms = c->damage.scrub_finished_ms;
    message.scrub_permille = c->damage.scrub_permille;
    message.scrub_late = c->damage.scrub_late;
    message.unfit = c->health.unfit;
    message.clock_offset_ms = c->health.clock_offset_ms;
    message.sync_us = c->health.sync_us;
    message.stall_us = c->health.stall_us;
    status_ignore(session_send(c->active->session, RPC_BROKER_BEAT,
                               (struct session_payload){.body = &message.base}),
                  "the next beat follows soon");
}

void controllers_set_strays(struct controllers *c, const struct controllers_strays *strays)
{
    c->strays = *strays;
}

void controllers_set_damage(struct controllers *c, const struct controllers_damage *damage)
{
    c->damage = *damage;
}

void controllers_set_health(struct controllers *c, const struct controllers_health *health)
{
    c->health = *health;
}

bool controllers_is_watching(const struct controllers *c)
{
    return c->watched != NULL && c->watched->session != NULL;
}

uint64_t controllers_floor_version(const struct controllers *c)
{
    return c->floor_version;
}

void controllers_set_disk_bytes(struct controllers *c, uint64_t total_bytes)
{
    c->disk_bytes = total_bytes;
}

void controllers_beat_now(struct controllers *c)
{
    if (!c->closing) {
        beat(c);
    }
}

bool controllers_ask_keys(struct controllers *c)
{
    return !c->closing && signing_ask(&c->signing, c->active == NULL ? NULL : c->active->session);
}

static void on_timer(struct net_timer *timer)
{
    struct controllers *c = CONTAINER_OF(timer, struct controllers, timer);
    if (c->active == NULL) {
        seek(c);
        start_timer(c, SEEK_EVERY_MS);
        return;
    }
    beat(c);
    signing_look(&c->signing, c->active->session);
    data_key_fetch_look(c->options.data_keys, c->active->session, false);
    if (c->watched == NULL) {
        watch(c);
    }
    start_timer(c, c->beat_every_ms);
}

static void start_timer(struct controllers *c, uint64_t after_ms)
{
    status_ignore(net_timer_start(c->options.loop, &c->timer, now(c) + after_ms, on_timer),
                  "a timer that was started once has its room");
}

/* ---- the watch ---- */

static bool is_at(const struct controller *at, const Weir__ControllerInfo *info)
{
    return (strcmp(at->host, info->address->host) == 0 && at->port == info->address->port) ||
           (at->session != NULL && session_peer(at->session)->id == info->id);
}

static bool is_listed(const struct controller *at, const Weir__MetadataUpdate *update)
{
    for (size_t i = 0; i < update->n_controllers; i++) {
        if (update->controllers[i]->address != NULL && is_at(at, update->controllers[i])) {
            return true;
        }
    }
    return false;
}

static bool open_link(struct controllers *c, struct controller *at);

/* The set of controllers may be another one than in our configuration: who has joined is dialled,
 * in the place of one that is not listed any more when there are too many. */
static void learn_controllers(struct controllers *c, const Weir__MetadataUpdate *update)
{
    for (size_t i = 0; i < update->n_controllers; i++) {
        const Weir__ControllerInfo *info = update->controllers[i];
        bool known = info->address == NULL || info->address->host[0] == '\0' ||
                     strlen(info->address->host) >= HOST_BYTES || info->address->port == 0 ||
                     info->address->port > UINT16_MAX;
        for (uint32_t j = 0; !known && j < c->count; j++) {
            known = is_at(&c->controller[j], info);
        }
        if (known) {
            continue;
        }
        uint32_t slot = c->count;
        for (uint32_t j = 0; slot == CONTROLLERS_MAX && j < c->count; j++) {
            const struct controller *at = &c->controller[j];
            slot = at->session == NULL && !is_listed(at, update) ? j : slot;
        }
        if (slot == CONTROLLERS_MAX) {
            return;
        }
        struct controller *at = &c->controller[slot];
        (void)snprintf(at->host, sizeof(at->host), "%s", info->address->host);
        at->port = (uint16_t)info->address->port;
        trace(TRACE_INFO, "controllers", "controller-%u is at %s:%u", info->id, at->host, at->port);
        if (slot < c->count) {
            net_link_move(at->link, at->host, at->port);
        } else if (open_link(c, at)) {
            c->count++;
        }
    }
}

static void take_update(struct controllers *c, struct bytes body)
{
    Weir__MetadataUpdate *update = weir__metadata_update__unpack(NULL, body.size, body.data);
    struct error error = {.status = STATUS_INVALID, .text = "the update cannot be decoded"};
    enum status status = STATUS_INVALID;
    uint32_t active = 0;
    if (update != NULL) {
        status = route_apply(c->options.route, update, &error);
        active = update->active_controller;
        if (status == STATUS_OK) {
            learn_controllers(c, update);
        }
        weir__metadata_update__free_unpacked(update, NULL);
    }
    if (status == STATUS_WRONG_CLUSTER) {
        c->options.refused(c->options.context, &error);
        return;
    }
    if (status != STATUS_OK) {
        trace(TRACE_WARNING, "controllers", "metadata: %s: watching anew", error.text);
        session_cancel(&c->watch);
        return;
    }
    c->options.route_changed(c->options.context);
    signing_look(&c->signing, c->active == NULL ? NULL : c->active->session);
    data_key_fetch_look(c->options.data_keys, c->active == NULL ? NULL : c->active->session, true);
    if (active != 0 && c->active != NULL && c->active->session != NULL &&
        session_peer(c->active->session)->id != active) {
        trace(TRACE_INFO, "controllers", "controller-%u is the active one now", active);
        c->active = NULL;
        seek(c);
    }
}

static void watch_done(struct session_request *request, const struct session_reply *reply)
{
    struct controllers *c = CONTAINER_OF(request, struct controllers, watch);
    if (!reply->more) {
        c->watched = NULL; /* before a callback that may watch again */
    }
    if (c->closing) {
        return;
    }
    if (reply->status == STATUS_OK) {
        if (reply->body.size > 0) {
            take_update(c, reply->body);
        }
    } else {
        trace(TRACE_DEBUG, "controllers", "watch: %s", reply->error.text);
    }
}

static void watch_at(struct controllers *c, struct controller *at)
{
    if (c->watched != NULL || at == NULL || at->session == NULL) {
        return;
    }
    Weir__Watch message = WEIR__WATCH__INIT;
    message.from_version = route_version(c->options.route);
    if (session_call(at->session, RPC_WATCH, (struct session_payload){.body = &message.base}, 0,
                     &c->watch, watch_done) == STATUS_OK) {
        c->watched = at;
    }
}

static void watch(struct controllers *c)
{
    watch_at(c, c->active);
}

/* ---- registration ---- */

static bool is_final(enum status status)
{
    return status == STATUS_STALE || status == STATUS_WRONG_IDENTITY ||
           status == STATUS_WRONG_CLUSTER || status == STATUS_INVALID || status == STATUS_DENIED ||
           status == STATUS_EXISTS || status == STATUS_UNSUPPORTED;
}

static void take_registration(struct controllers *c, struct controller *at, struct bytes body)
{
    Weir__RegisterBrokerReply *reply =
        weir__register_broker_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL || reply->disk_gen == 0) {
        trace(TRACE_WARNING, "controllers", "the reply to our registration cannot be decoded");
    } else {
        bool first = c->disk_gen == 0;
        c->disk_gen = reply->disk_gen;
        c->beat_every_ms = reply->beat_every_ms == 0 ? BEAT_EVERY_MS : reply->beat_every_ms;
        c->active = at;
        c->floor_version = first ? reply->version : c->floor_version;
        trace(TRACE_INFO, "controllers", "registered with %s: disk generation %u",
              session_peer(at->session)->name, c->disk_gen);
        beat(c);
        if (c->watched != NULL && c->watched != at) {
            session_cancel(&c->watch); /* the timer watches here when that has ended */
        }
        watch(c);
        start_timer(c, c->beat_every_ms);
        if (first) {
            c->options.registered(c->options.context);
        }
    }
    if (reply != NULL) {
        weir__register_broker_reply__free_unpacked(reply, NULL);
    }
}

/* "controller-2": ask there next, if we reach it. */
static bool follow_hint(struct controllers *c, const char *hint)
{
    for (uint32_t i = 0; hint != NULL && i < c->count; i++) {
        struct session *session = c->controller[i].session;
        if (session != NULL && strcmp(session_peer(session)->name, hint) == 0) {
            c->next = i;
            return true;
        }
    }
    return false;
}

static void registration_done(struct session_request *request, const struct session_reply *reply)
{
    struct controllers *c = CONTAINER_OF(request, struct controllers, registration);
    struct controller *at = c->asked;
    c->asked = NULL;
    if (c->closing) {
        return;
    }
    if (reply->status == STATUS_OK && at->session != NULL) {
        take_registration(c, at, reply->body);
    } else if (is_final(reply->status)) {
        c->options.refused(c->options.context, &reply->error);
    } else {
        trace(TRACE_DEBUG, "controllers", "%s:%u: %s", at->host, at->port, reply->error.text);
        if (reply->status == STATUS_NOT_ACTIVE && follow_hint(c, reply->hint)) {
            seek(c); /* else the timer asks around */
        } else if (reply->status == STATUS_NOT_ACTIVE) {
            watch_at(c, at); /* who is active may have joined lately: any controller knows where */
        }
    }
}

static void ask(struct controllers *c, struct controller *at)
{
    Weir__Address address;
    weir__address__init(&address);
    char host[HOST_BYTES], zone[ZONE_BYTES], software[] = "weir " WEIR_VERSION;
    (void)snprintf(host, sizeof(host), "%s", c->options.host);
    (void)snprintf(zone, sizeof(zone), "%s", c->options.zone);
    address.host = host;
    address.port = c->options.port;
    Weir__RegisterBroker message;
    weir__register_broker__init(&message);
    message.broker = c->options.broker;
    message.boot = c->options.boot;
    message.disk = (ProtobufCBinaryData){.len = DISK_ID_BYTES, .data = c->options.disk_id};
    message.process = (ProtobufCBinaryData){.len = DISK_ID_BYTES, .data = c->options.process};
    message.zone = zone;
    message.address = &address;
    message.software = software;
    if (session_call(at->session, RPC_REGISTER_BROKER,
                     (struct session_payload){.body = &message.base}, CALL_TIMEOUT_MS,
                     &c->registration, registration_done) == STATUS_OK) {
        c->asked = at;
    }
}

/* Asks the next controller that we reach whether it is the active one. */
static void seek(struct controllers *c)
{
    for (uint32_t i = 0; i < c->count && c->asked == NULL && c->active == NULL; i++) {
        struct controller *at = &c->controller[c->next % c->count];
        c->next = (c->next + 1) % c->count;
        if (at->session != NULL) {
            ask(c, at);
        }
    }
}

/* The one that we beat to may have stopped without its connection ending: nothing else would tell.
 */
void controllers_summoned(struct controllers *c, struct controller *by)
{
    if (by == c->active || by == c->asked || by->session == NULL) {
        return;
    }
    trace(TRACE_INFO, "controllers", "%s says that it is active", session_peer(by->session)->name);
    c->active = NULL;
    c->next = (uint32_t)(by - c->controller);
    if (c->asked != NULL) {
        session_cancel(&c->registration); /* the timer asks the next one */
    } else {
        seek(c);
    }
}

/* ---- sessions ---- */

static void opened(struct session *session)
{
    struct controller *at = session_data(session);
    at->session = session;
    trace(TRACE_DEBUG, "controllers", "%s: connected", session_peer(session)->name);
    clocks_ask(at);
    seek(at->all);
}

static void closed(struct session *session, const struct error *why)
{
    struct controller *at = session_data(session);
    struct controllers *c = at->all;
    if (at->session != session) {
        trace(TRACE_DEBUG, "controllers", "%s:%u: %s", at->host, at->port, why->text);
        if (!c->closing &&
            (why->status == STATUS_WRONG_CLUSTER || why->status == STATUS_WRONG_IDENTITY)) {
            trace(TRACE_ERROR, "controllers", "%s:%u: %s", at->host, at->port, why->text);
        }
        return;
    }
    at->session = NULL;
    if (c->fencer == at) {
        c->fencer = NULL;
    }
    if (c->active == at) {
        c->active = NULL;
        if (!c->closing) {
            trace(TRACE_INFO, "controllers", "the active controller is gone: %s", why->text);
            seek(c);
        }
    }
}

static void messaged(struct session *session, enum rpc_method method, struct bytes body,
                     struct bytes attachment)
{
    (void)attachment;
    struct controller *at = session_data(session);
    if (!at->all->closing && !controllers_obey(at->all, at, method, body)) {
        session_close(session, STATUS_INVALID, "this message cannot be decoded");
    }
}

static void called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "call on a connection of your own");
}

static const struct session_handlers handlers = {.opened = opened,
                                                 .called = called,
                                                 .messaged = messaged,
                                                 .closed = closed};

/* ---- life ---- */

/* "host:port"; an IPv6 address stands in brackets. */
NODISCARD static bool parse_address(const char *text, size_t length, struct controller *out)
{
    const char *colon = memrchr(text, ':', length);
    if (colon == NULL) {
        return false;
    }
    const char *host = text, *host_end = colon;
    if (host_end - host >= 2 && host[0] == '[' && host_end[-1] == ']') {
        host++;
        host_end--;
    }
    size_t size = (size_t)(host_end - host);
    if (size == 0 || size >= sizeof(out->host)) {
        return false;
    }
    memcpy(out->host, host, size);
    out->host[size] = '\0';
    uint32_t port = 0;
    for (const char *digit = colon + 1; digit < text + length; digit++) {
        if (*digit < '0' || *digit > '9' || port > UINT16_MAX) {
            return false;
        }
        port = port * 10 + (uint32_t)(*digit - '0');
    }
    out->port = (uint16_t)port;
    return port != 0 && port <= UINT16_MAX;
}

NODISCARD static enum status parse_addresses(struct controllers *c, const char *text,
                                             struct error *error)
{
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        size_t blank = strspn(text, " ");
        if (blank < length) {
            if (c->count == CONTROLLERS_MAX) {
                return error_set(error, STATUS_INVALID, "controllers: more than %d",
                                 CONTROLLERS_MAX);
            }
            const char *address = text + blank;
            size_t size = length - blank, id = strspn(address, "0123456789");
            if (id < size && address[id] == '=') { /* as the controllers list themselves */
                address += id + 1;
                size -= id + 1;
            }
            if (!parse_address(address, size, &c->controller[c->count])) {
                return error_set(error, STATUS_INVALID, "controllers: '%.*s' is not host:port",
                                 (int)length, text);
            }
            c->count++;
        }
        text += length + (text[length] == ',');
    }
    return c->count > 0 ? STATUS_OK
                        : error_set(error, STATUS_INVALID, "controllers: no address given");
}

static bool open_link(struct controllers *c, struct controller *at)
{
    at->all = c;
    const struct session_options options = {.loop = c->options.loop,
                                            .tls = c->options.tls,
                                            .boot = c->options.boot,
                                            .handlers = &handlers,
                                            .data = at};
    at->link = net_link_open(&options, at->host, at->port, RPC_ROLE_CONTROLLER, 0);
    return at->link != NULL;
}

static bool open_links(struct controllers *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (!open_link(c, &c->controller[i])) {
            return false;
        }
    }
    return true;
}

enum status controllers_open(const struct controllers_options *options, const char *addresses,
                             struct controllers **out, struct error *error)
{
    struct controllers *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    c->options = *options;
    c->signing =
        (struct signing){.loop = options->loop, .keys = options->keys, .route = options->route};
    c->beat_every_ms = BEAT_EVERY_MS;
    enum status status = parse_addresses(c, addresses, error);
    if (status != STATUS_OK) {
        free(c);
        return status;
    }
    /* From here on the loop knows it: whoever fails closes it and frees it after the loop. */
    *out = c;
    if (!open_links(c) ||
        net_timer_start(c->options.loop, &c->timer, now(c) + SEEK_EVERY_MS, on_timer) !=
            STATUS_OK ||
        clocks_start(c) != STATUS_OK) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    return STATUS_OK;
}

struct session *controllers_session(const struct controllers *c)
{
    return c->active == NULL ? NULL : c->active->session;
}

void controllers_close(struct controllers *c)
{
    c->closing = true;
    net_timer_stop(c->options.loop, &c->timer);
    net_timer_stop(c->options.loop, &c->clock_timer);
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->controller[i].link != NULL) {
            net_link_close(c->controller[i].link);
            c->controller[i].link = NULL;
        }
    }
}

void controllers_free(struct controllers *c)
{
    if (c != NULL) {
        controllers_release_gathered(c);
        free(c);
    }
}
