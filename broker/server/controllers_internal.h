/* What controllers.c and orders.c share. Private. */
#pragma once

#include "broker/server/controllers.h"
#include "broker/server/signing.h"
#include "proto/schema/control.pb-c.h"

struct controller {
    struct controllers *all;
    char host[HOST_BYTES];
    uint16_t port;
    struct net_link *link;
    struct session *session; /* while it is open */
    struct session_request time;
    bool time_asked;
    uint64_t time_asked_ms;
};

struct leading {
    uint64_t shard;
    uint32_t epoch;
};

struct sealed {
    uint64_t shard, end, time_ms;
    uint32_t epoch;
};

struct resignation {
    uint64_t shard;
    uint32_t epoch, promised, heir;
};

struct learned {
    uint64_t shard;
    uint32_t epoch;
    struct replica_id learner;
};

/* Gathered in a turn: a growing array. */
struct gathered {
    void *items;
    uint32_t count, capacity;
};

struct controllers {
    struct controllers_options options;
    struct controller controller[CONTROLLERS_MAX];
    uint32_t count;
    bool closing;

    struct controller *active; /* we are registered with it */
    uint32_t disk_gen;         /* of our disk, as the controllers count; 0: not known yet */
    uint64_t disk_bytes;
    struct controllers_strays strays;
    struct controllers_damage damage;
    struct controllers_health health;
    uint64_t floor_version; /* of the first registration of this boot */

    struct controller *asked; /* a registration is under way there */
    struct session_request registration;
    uint32_t next; /* whom to ask next */

    struct session_request watch;
    struct controller *watched; /* where the watch runs */

    struct signing signing;

    struct net_timer timer, clock_timer;
    uint64_t beat_sequence, beat_every_ms;

    struct controller *fencer; /* who fenced last: reports go there */
    struct gathered reports, leadings, resignations, seals, learned, drops;
};

/* A controller says that it has become the active one: registers there. */
void controllers_summoned(struct controllers *c, struct controller *by);

/* clocks.c: asks all controllers what time it is, from now on; one that was just connected, now. */
NODISCARD enum status clocks_start(struct controllers *c);
void clocks_ask(struct controller *at);

/* orders.c. False: the message cannot be decoded. */
bool controllers_obey(struct controllers *c, struct controller *from, enum rpc_method method,
                      struct bytes body);
/* Room for one more item; NULL when out of memory (the controllers ask again). */
void *controllers_gather(struct controllers *c, struct gathered *g, size_t item_bytes);

/* moves.c: LEARN and HANDOVER. */
bool moves_obey(struct controllers *c, enum rpc_method method, struct bytes body);

void controllers_release_gathered(struct controllers *c);
