/* What server.c and open.c share. Private. */
#pragma once

#include <uv.h>

#include "broker/api/api.h"
#include "broker/kinesis/kinesis.h"
#include "broker/server/controllers.h"
#include "broker/server/health.h"
#include "broker/server/held.h"
#include "broker/server/observe.h"
#include "broker/server/peers.h"
#include "broker/server/repair.h"
#include "broker/server/scrub.h"
#include "broker/server/server.h"
#include "broker/server/tips.h"

struct server {
    const struct server_config *config;
    struct net_loop *loop;
    struct net_tls *tls;
    struct net_reload reload; /* of the certificates */
    struct store *store;
    struct route *route;
    struct keys *keys;               /* what signatures are checked with */
    struct data_key_fetch data_keys; /* what records are encrypted with */
    struct shards *shards;
    struct peers *peers;
    struct tips *tips;
    struct controllers *controllers;
    struct repairs *repairs;
    struct scrub *scrub;
    struct api *api;
    struct kinesis *kinesis;    /* NULL: not served here */
    struct net_tls *public_tls; /* its certificate */
    struct net_listener *listener;
    struct net_watch *disk_watch;

    struct net_turn turn;
    struct net_timer deadline, housekeeping, leave_timer;
    uint64_t leave_until_ms, leave_progress_ms; /* 0: it stays; when leave_leading changed last */
    uint64_t leave_notice_ms, drain_until_ms; /* clients are told until then; 0: not draining yet */
    uint64_t settle_ms;                       /* when segments are brought up to date again */
    uint64_t silent_ms;                       /* since when nothing is left to be sent; 0: it is */
    uint32_t leave_leading;
    uint64_t armed_ms, retention_ms; /* what `deadline` is set to; when retention runs next */
    uint64_t loads_ms;               /* when the controllers hear of loads next */
    uint64_t traffic_ms;             /* when they heard of all shards' traffic last; 0: never */
    bool traffic_asked;              /* ... and have not answered yet */
    struct session_request traffic_request;
    uv_signal_t term, interrupt;
    bool has_signals;
    bool closing, out_told;
    bool image_known;       /* the image is as new as our first registration, or newer */
    bool floors_known;      /* every damaged replica has been told the epoch of its shard */
    uint64_t quarantine_ms; /* when quarantine is looked at next */
    struct controllers_strays strays;
    struct held held;
    struct observe observe;
    struct health health;
    char advertised_host[HOST_BYTES];
    uint64_t boot;
    struct error refused; /* status OK: nobody has */
};

/* open.c, in this order. On failure server_close() cleans up. */
NODISCARD enum status server_open_identity(struct server *s, struct error *error);
NODISCARD enum status server_open_store(struct server *s, struct error *error);
void server_trace_store(struct server *s); /* also notes the boot id */
void server_choose_host(struct server *s);
void server_check_space(struct server *s); /* of its disk; once a second */

/* server.c: what was left for later is done in the next turn. The context is the server. */
void server_schedule(void *context);

/* hooks.c; their context is the server. */
extern const struct shards_hooks server_shards_hooks;

/* front.c: the Kinesis interface, where the configuration wants it. */
NODISCARD enum status server_open_front(struct server *s, struct error *error);
