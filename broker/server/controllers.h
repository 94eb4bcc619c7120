/* The link to the controllers.
 *
 * The broker dials all of them, registers with the active one, beats to it, watches the metadata
 * there, and obeys fences, grants and drops from any of them: those are sent only after they are
 * committed (R1), and what is late is void (R17). Without controllers everything else goes on with
 * the last image.
 *
 *     clocks.c         what time it is at the controllers
 *     controllers.c    links, registration, beats, the watch
 *     orders.c         fences, grants, seals, drops; reports, leaderships, drops done
 *
 * One home thread, that of the loop. */
#pragma once

#include "broker/health/clock.h"
#include "broker/keys/keys.h"
#include "broker/route/route.h"
#include "broker/server/data_keys.h"
#include "broker/server/peers.h"
#include "broker/shard/shard.h"
#include "proto/net/net.h"

enum { CONTROLLERS_MAX = 16, BEAT_EVERY_MS = 100, SEEK_EVERY_MS = 100 };

struct controllers_options {
    struct net_loop *loop;
    struct net_tls *tls;
    uint64_t boot;
    uint32_t broker;
    uint8_t disk_id[DISK_ID_BYTES];
    uint8_t process[DISK_ID_BYTES]; /* random: of this process */
    const char *zone, *host;        /* as others reach us */
    uint16_t port;
    struct shards *shards;
    struct peers *peers;
    struct route *route;
    struct keys *keys; /* NULL: no signatures are checked here */
    struct data_key_fetch *data_keys;
    struct cluster_clock *clock; /* is told what the controllers' clocks say */
    void *context;
    void (*schedule)(void *context);
    void (*route_changed)(void *context);
    /* The first registration is done. */
    void (*registered)(void *context);
    /* The controllers refuse this broker for good: the process must end with this sentence. */
    void (*refused)(void *context, const struct error *why);
};

struct controllers;

/* `addresses`: "host:port,host:port". INVALID with a sentence. On NO_MEMORY *out may be set: then
 * it is to be closed and freed like one that is open. */
NODISCARD enum status controllers_open(const struct controllers_options *options,
                                       const char *addresses, struct controllers **out,
                                       struct error *error);
void controllers_close(struct controllers *c);
void controllers_free(struct controllers *c); /* after the loop's objects are gone */

/* From struct shards_hooks. */
void controllers_report(struct controllers *c, const struct shard *shard, uint32_t epoch,
                        const struct replica_report *report);
void controllers_leading(struct controllers *c, uint64_t shard, uint32_t epoch);
void controllers_sealed(struct controllers *c, const struct shard *shard, uint64_t end,
                        uint64_t time_ms);
void controllers_dropped(struct controllers *c, uint64_t shard);
void controllers_resign(struct controllers *c, uint64_t shard, uint32_t epoch, uint32_t promised,
                        uint32_t heir);
void controllers_learned(struct controllers *c, const struct shard *shard,
                         struct replica_id learner);

/* Metadata from this version on have every epoch that was fenced before this boot; 0 while not yet
 * registered. */
uint64_t controllers_floor_version(const struct controllers *c);

/* A session to the active controller, or NULL while none is known. */
struct session *controllers_session(const struct controllers *c);

/* Whether a controller tells us of every change of the metadata. */
bool controllers_is_watching(const struct controllers *c);

/* Fetches access keys because one is unknown: signing_ask(). */
bool controllers_ask_keys(struct controllers *c);

/* Sends what the turn has gathered. */
void controllers_turn(struct controllers *c);

/* Size of the disk's filesystem, for the beats. */
void controllers_set_disk_bytes(struct controllers *c, uint64_t total_bytes);

/* What the disk has that metadata do not list, for the beats. */
struct controllers_strays {
    uint32_t unlisted, quarantined, reclaimed; /* as in proto/schema/control.proto */
};
void controllers_set_strays(struct controllers *c, const struct controllers_strays *strays);

/* Something that should not wait for the next beat: a lost peer, a disk that is out. */
void controllers_beat_now(struct controllers *c);

/* Damage of segments, and how far the scrubber is, for the beats. */
struct controllers_damage {
    uint32_t holes, scrub_permille; /* as in proto/schema/control.proto */
    uint64_t found, repaired, differ, scrub_passes, scrub_finished_ms;
    bool scrub_late;
};
void controllers_set_damage(struct controllers *c, const struct controllers_damage *damage);

/* How this broker is, for the beats: proto/schema/control.proto. */
struct controllers_health {
    uint32_t unfit, sync_us, stall_us;
    int64_t clock_offset_ms;
};
void controllers_set_health(struct controllers *c, const struct controllers_health *health);
