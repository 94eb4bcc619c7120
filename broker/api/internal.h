/* What the operations share. Private. */
#pragma once

#include "broker/api/api.h"
#include "broker/api/limits.h"
#include "broker/api/load.h"
#include "broker/api/slots.h"
#include "proto/codec/codec.h"
#include "proto/schema/data.pb-c.h"

enum { API_TAIL_BATCHES = 1024 };

struct pending_put {
    struct shard_put put;
    struct session_call *call;
    struct api *api;
    uint64_t shard;
    uint64_t bytes, records; /* that will count */
    uint64_t came_us;
    uint32_t refused_count; /* of a limited put */
    uint8_t refused[LIMITS_RECORDS_MAX / 8];
    struct pending_put *next; /* on the free list */
};

struct pending_read;

struct api {
    struct api_options options;
    bool closing;

    struct pending_put *free_puts; /* used again: no allocation per put */
    struct pending_read *free_reads;

    uint32_t reading;         /* reads that the store has */
    struct list reads_queued; /* pending_read.queued */
    struct list subscriptions;
    uint32_t subscription_count;

    struct histogram committed; /* puts, from their coming to their commit */
    struct limits *limits;
    struct loads *loads;
    struct slots *slots;
    struct batch_builder kept; /* of a batch, the records that no limit refuses */
    struct coder coder;        /* of compressed ones, to judge their records */

    /* Of one reply from the tail. */
    struct log_batch batches[API_TAIL_BATCHES];
    struct bytes pieces[API_TAIL_BATCHES];
};

/* Finds the shard or answers the call: NOT_LEADER with a hint when other brokers have it, NOT_FOUND
 * when nobody does. */
struct shard *api_shard(struct api *api, struct session_call *call, uint64_t id);

/* Answers with the leader's name as hint, where that helps. */
void api_refuse(struct api *api, struct session_call *call, uint64_t shard, enum status status,
                const char *text);

/* metrics.c: what was just put, before anything else is. */
void api_measure(struct api *api, struct pending_put *p);

/* tip.c: `answer` comes later, unless the shard has gone, which is answered here. */
void api_confirm(struct api *api, struct session_call *call, const struct shard *shard,
                 uint64_t offset,
                 void (*answer)(struct api *api, struct session_call *call, struct shard *shard,
                                uint64_t offset, bool leads));

void api_put(struct api *api, struct session_call *call);
void api_read(struct api *api, struct session_call *call);
void api_resolve(struct api *api, struct session_call *call);
void api_shard_status(struct api *api, struct session_call *call);

void api_subscribe(struct api *api, struct session_call *call);
void api_subscribe_credit(struct api *api, struct session_call *call);
void api_end_subscriptions(struct api *api);

void api_refuse_queued(struct api *api);
void api_free_reads(struct api *api);
