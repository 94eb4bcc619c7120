/* The links between this broker and all others.
 *
 * Each broker dials each other one. On the session that it dialled a leader sends APPENDs and
 * PINGs; answers and PONGs come back on the same session. Appends of many shards travel in one
 * frame, gathered at the end of each turn of the loop; so do answers.
 *
 *     peers.c      links, liveness
 *     appends.c    leader: gathering and sending
 *     receive.c    follower: taking appends apart; leader: taking answers
 *     whole.c      whether all replicas of what lies here are where they should be
 *
 * One home thread, that of the loop. */
#pragma once

#include "base/list.h"
#include "broker/route/route.h"
#include "broker/shard/shard.h"
#include "proto/net/net.h"

enum {
    PING_EVERY_MS = 200,
    PEER_HEARD_MS = 1000, /* a ping sent this long ago was answered: the broker is heard */
    PEER_REACHED_MS =
        600, /* ditto, as the controllers hear it: less than they wait for its beats */
    PEER_SILENT_MS = 3000, /* then the session is dialled anew: TCP alone would wait for minutes */

    FRAME_SHARDS_MAX = 512,
    FRAME_BYTES = 2 * 1024 * 1024,      /* of batches in one frame; one batch may be larger */
    FRAME_PIECES_MAX = 4096,            /* batches in one frame */
    PEER_QUEUE_BYTES = 8 * 1024 * 1024, /* waiting in a session: then sending pauses */
    PEER_READS_MAX = 4,                 /* segment reads at a time for one slow follower */
    PEER_READ_BYTES = 1024 * 1024,
    PEER_PRODUCERS_BYTES_MAX = 8 * 1024 * 1024, /* a larger table does not go with an install */
    BACKLOG_BYTES_MAX = 64 * 1024 * 1024,       /* appends that wait for room in the journal */
};

struct peers_options {
    struct net_loop *loop;
    struct net_tls *tls;
    uint64_t boot;
    uint32_t broker;
    struct shards *shards; /* may be set later, before the first session */
    uint64_t copy_bytes;   /* a second, read from segments for followers that lag; 0: no limit */
    void *context;
    /* End of turn, please: peers_turn(). */
    void (*schedule)(void *context);
    /* A session to a broker was reset or refused, or such a one is back. */
    void (*reset_changed)(void *context);
};

struct slow_figures;
struct peers;

struct peers *peers_new(const struct peers_options *options);
/* Closes all links; call it while the loop still runs. Then peers_free(), after the loop's objects
 * are gone. */
void peers_close(struct peers *peers);
void peers_free(struct peers *peers);

/* Dials whoever is new in the image, and follows changed addresses. */
void peers_sync(struct peers *peers, const struct route *route);

/* From struct shards_hooks. */
void peers_wake(struct peers *peers, struct shard_peer *to);
void peers_forget(struct peers *peers, struct shard_peer *to);
void peers_answer(struct peers *peers, const struct shard *shard, struct replica_id to,
                  const struct replica_answer *answer);
/* The session to that broker; NULL while there is none open. */
struct session *peers_session(const struct peers *peers, uint32_t broker);
bool peers_is_connected(const struct peers *peers, uint32_t broker);

/* The listener's: a broker's session to us. */
void peers_incoming_opened(struct peers *peers, struct session *session);
void peers_incoming_closed(struct peers *peers, struct session *session);
void peers_incoming(struct peers *peers, struct session *session, enum rpc_method method,
                    struct bytes body, struct bytes attachment);

/* Sends what the turn has gathered. */
void peers_turn(struct peers *peers);
/* Appends that waited for room in the journal. */
void peers_drain(struct peers *peers);

/* It answered a ping that was sent within the last second. */
bool peers_is_heard(const struct peers *peers, uint32_t broker);

/* Brokers that answered a ping of the last PEER_REACHED_MS, brokers whose session was reset or
 * refused and is not back; at most `capacity`. */
size_t peers_reachable(const struct peers *peers, uint32_t *out, size_t capacity);
size_t peers_reset(const struct peers *peers, uint32_t *out, size_t capacity);

/* Its wall clock as its last PONG said, carried on to now. False: not heard lately. */
bool peers_wall_ms(const struct peers *peers, uint32_t broker, uint64_t *out_ms);

/* How slow we are, for the PONGs; how slow those are that are heard, at most `capacity`. */
void peers_set_figures(struct peers *peers, const struct slow_figures *figures);
size_t peers_figures(const struct peers *peers, struct slow_figures *out, size_t capacity);
/* The latest that our timer was since this was asked last. */
uint64_t peers_take_stall_us(struct peers *peers);

/* Shards that we lead and that are not whole (broker/shard/shard.h), as the last pings told. */
uint32_t peers_lacking(const struct peers *peers);

/* Whether every shard that has a replica here has an open leader and all its replicas, as far as we
 * and its leader know: then this broker may be stopped without a shard being down to one. Else
 * `why` has a sentence. */
bool peers_are_whole(const struct peers *peers, const struct route *route, char *why, size_t size);
