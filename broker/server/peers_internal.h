/* What peers.c, appends.c and receive.c share. Private. */
#pragma once

#include "broker/health/slow.h"
#include "broker/server/peers.h"
#include "proto/schema/data.pb-c.h"

enum { ANSWERS_MAX = 512 /* gathered for one frame; then it is sent at once */ };

struct pending_answer {
    uint64_t shard;
    uint32_t disk_gen;
    struct replica_answer answer;
};

/* One frame of answers under construction; one for all peers. */
struct answer_frame {
    Weir__ShardAnswer shard[ANSWERS_MAX], *shards[ANSWERS_MAX];
    Weir__HistoryPair pair[REPLICA_HISTORY_SENT], *pairs[REPLICA_HISTORY_SENT];
};

/* Another broker. */
struct peer {
    struct peers *peers;
    uint32_t id;
    struct net_link *link; /* NULL: it has dialled us and is not in the metadata yet */
    char host[HOST_BYTES];
    uint16_t port;
    struct session *session;  /* ours to it, while it is open */
    struct session *incoming; /* its newest to us, while it is open */

    /* Liveness. */
    uint64_t ping_sequence, ping_sent_ms; /* of the newest ping */
    uint64_t heard_ms;                    /* when the newest answered ping was sent */
    uint64_t pong_ms;                     /* when the last answer of any age came */
    uint64_t pong_wall_ms;                /* its wall clock then */
    struct slow_figures figures;          /* as its last PONG said */
    bool reset;                           /* reset or refused, and not back */
    uint32_t lacking;                     /* what we tell it: as Ping.lacking */
    uint32_t lacks;                       /* what its newest ping told us */
    uint64_t lacks_ms;                    /* when that came; 0: never */

    /* Leader to follower. */
    struct list ready;  /* shard_peer.node: may have something to send */
    struct list behind; /* ditto: must be read from segments first */
    uint32_t reads;
    uint32_t disk_gen;    /* of the disk that it runs on, as the metadata say; 0: not known */
    uint64_t complain_ms; /* when a read that failed may be told again */

    /* Follower to leader. */
    struct pending_answer *answers;
    uint32_t answer_count;
};

/* One frame under construction; one for all peers. */
struct append_frame {
    uint32_t shard_count, piece_count;
    size_t bytes;
    Weir__ShardAppend shard[FRAME_SHARDS_MAX], *shards[FRAME_SHARDS_MAX];
    struct shard_peer *to[FRAME_SHARDS_MAX];
    uint64_t upto[FRAME_SHARDS_MAX];
    struct bytes pieces[FRAME_PIECES_MAX];
    struct log_batch batches[FRAME_PIECES_MAX];
};

/* A received frame, or what is left of one, that waits for room in the journal. */
struct backlog {
    struct list node;
    uint32_t broker;
    uint64_t boot;
    size_t first_shard, first_byte; /* where to go on */
    struct bytes body, attachment;  /* behind this struct */
};

struct peers {
    struct peers_options options;
    struct peer **peer; /* rising ids */
    uint32_t count;
    struct net_timer timer;
    bool closing;
    struct append_frame frame, install;
    struct answer_frame answers;
    struct list backlogs;
    size_t backlog_bytes;
    struct list catch_ups; /* all that the store has; appends.c */
    /* What may be read for catching up: refilled with time, spent by reads, down to below 0. */
    int64_t copy_credit;
    uint64_t copy_ms; /* when it was refilled */
    struct net_timer copy_timer;
    uint32_t lacking;            /* shards that we lead and that lack a replica */
    struct slow_figures figures; /* ours, for PONGs */
    uint64_t stall_ms;           /* the latest that the timer was since it was asked for */
    uint32_t alone;              /* shards led here of which no other voter is heard */
    uint32_t missing;            /* a broker that has such a replica; 0: none */
};

struct peer *peers_find(const struct peers *peers, uint32_t broker);

/* whole.c: counts what we lead and what it lacks, for all peers. */
void peers_count_lacking(struct peers *peers);

/* alone.c: which leaders here no follower answers; shard_alone(). */
void peers_find_alone(struct peers *peers);

/* appends.c */
void peer_send_appends(struct peer *peer);
void peer_next_behind(struct peer *peer);
void peers_copy_stop(struct peers *peers);
void peer_drop_ready(struct peer *peer); /* its session is gone */

/* receive.c */
void peers_receive_append(struct peers *peers, uint32_t broker, uint64_t boot, struct bytes body,
                          struct bytes attachment);
void peers_receive_answers(struct peers *peers, uint32_t broker, uint64_t boot, struct bytes body);
void peer_send_answers(struct peer *peer);
