/* A replication core with a log in memory, and its effects as text, one a line. A test drives it as
 * the broker's shell would, but decides itself what is synced, delivered and lost. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker/replica/replica.h"

enum { HOST_BATCHES = 128, HOST_TEXT = 4096 };

struct host {
    struct replica *replica;
    struct replica_id id;
    uint64_t boot, now_ms, newest_seq;
    struct replica_batch batch[HOST_BATCHES];
    uint32_t batches;
    uint64_t log_start;
    uint64_t unreadable; /* the batch that ends there cannot be read; 0: all can */
    struct replica_log log;
    struct replica_answer answer; /* the last one it gave */
    struct replica_effects effects;
    char text[HOST_TEXT];
};

/* An APPEND with its batches, as it would travel. */
struct wire {
    struct replica_append append;
    struct replica_batch batch[HOST_BATCHES];
};

extern struct host A, B, C; /* brokers 1, 2 and 3, disk generation 1, boot 10 */

int hosts_start(void **state); /* three empty replicas; a cmocka set-up */
int hosts_stop(void **state);

/* Batches put into the log of a stopped host, before host_recover(): epoch, then record counts. */
void host_has(struct host *h, uint32_t epoch, uint32_t batches);
/* Starts it anew from its log: `boot` rises by one, everything in the log is durable. */
void host_recover(struct host *h, uint32_t promised, uint64_t commit_hint);
void host_recover_uncertain(struct host *h, uint32_t promised, uint64_t commit_hint);
/* ... and nobody has told it yet which epoch its shard is in. The one above knows: `promised`. */
void host_recover_unaware(struct host *h, uint32_t promised, uint64_t commit_hint);
const char *floor_at(struct host *h, uint32_t epoch);

/* Inputs. Each returns the effects, or the status if it is not OK. The batch of EPOCH_START is not
 * built by itself: propose it. */
const char *step(struct host *h, struct replica_input in);
const char *fence(struct host *h, uint32_t epoch);
const char *grant(struct host *h, uint32_t epoch);
const char *propose(struct host *h, uint32_t count);
const char *propose_flags(struct host *h, uint32_t flags); /* ... of one record, as it is told */
const char *synced(struct host *h);                        /* all that was written */
const char *synced_to(struct host *h, uint64_t seq);
const char *tick_at(struct host *h, uint64_t now_ms);
const char *deliver(struct host *to, const struct wire *wire);
const char *answered(struct host *to, const struct host *from); /* delivers from->answer */
const char *peer(struct host *h, const struct host *other, enum replica_input_type up_or_down);
const char *next_append(struct host *h, const struct host *to, struct wire *out);

/* Next append, delivery, sync and answer, both ways, until `leader` has nothing to say. */
void replicate(struct host *leader, struct host *follower);
/* promise, sync, grant, EPOCH_START, and both followers replicate: `h` leads `epoch`, open. */
void lead(struct host *h, uint32_t epoch, struct host *first, struct host *second);

struct replica_config voters(void); /* A, B and C */
struct replica_view view_of(const struct host *h);
