/* Repair of damaged pieces of segments from other replicas (docs/replication.md 2.9), and the other
 * brokers' part of it.
 *
 * A read, or the scrubber, has met bytes that are not what was written. Here the piece is found,
 * other replicas are asked for it one after another (REPAIR_GET), and what comes is written if its
 * chain of checksums closes exactly (store_patch()). Reads wait meanwhile, REPAIR_WAIT_MS at most.
 * What nobody can give now is tried again and again, and told: it is an alarm.
 *
 * What is known to be damaged is in the shard's log (shard_log_note_hole()) and in its core, which
 * reports it to controllers and begins no epoch before it is repaired; what others say that they do
 * not have goes to the core, too (shard_absent()).
 *
 * One repair of a shard at a time, REPAIRS_MAX in all. One home thread, that of the loop. */
#pragma once

#include "broker/route/route.h"
#include "broker/server/peers.h"
#include "broker/shard/shard.h"
#include "proto/net/net.h"

enum {
    REPAIRS_MAX = 32,
    REPAIR_WAIT_MS = 5000,       /* of a read */
    REPAIR_CALL_MS = 1500,       /* of a question to another broker */
    REPAIR_AGAIN_MS = 250,       /* between rounds of all replicas, while reads wait */
    REPAIR_LATER_MS = 10 * 1000, /* and afterwards */
    REPAIR_BYTES = 1024 * 1024,  /* of the first question; each further one asks for twice that */
    REPAIR_BYTES_MAX = 8 * 1024 * 1024,
    REPAIR_SERVES_MAX = 16, /* questions of others that are answered from segments at a time */
};

struct repairs_options {
    struct net_loop *loop;
    struct shards *shards;
    const struct route *route;
    struct peers *peers;
    uint32_t broker;
};

/* Since the broker started. */
struct repair_counters {
    uint64_t found, repaired, bytes; /* damaged pieces; bytes written over them */
    uint64_t refused; /* answers of other replicas that did not fit, or could not be given */
    uint64_t served;  /* questions of others that were answered */
};

struct repairs;

/* Sets the store's repairer. NULL: out of memory. Everything in the options is borrowed. */
struct repairs *repairs_new(const struct repairs_options *options);
/* Before the loop's sessions are closed: nothing new is begun. */
void repairs_close(struct repairs *set);
/* After the store and the loop's sessions are closed. NULL is fine. */
void repairs_free(struct repairs *set);

/* The batch at `offset`, or one not far behind it, is damaged. */
void repairs_damaged(struct repairs *set, struct shard_log *log, uint64_t offset);

/* Goes on with what an earlier boot has left. */
void repairs_resume(struct repairs *set);

/* Where the first damaged piece is that is known and not repaired yet. False: none. */
bool repairs_hole(const struct repairs *set, uint64_t shard, uint64_t *out_offset);
uint32_t repairs_holes(const struct repairs *set); /* shards with one */
void repairs_counters(const struct repairs *set, struct repair_counters *out);

/* False: the call is none of ours. */
bool repairs_called(struct repairs *set, struct session_call *call);
