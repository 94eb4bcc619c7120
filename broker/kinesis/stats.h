/* What is counted of requests, under the names of Kinesis's metrics. Private to this folder.
 *
 * Counting allocates only for a stream that it meets for the first time, and never for more than
 * STATS_STREAMS_MAX. One home thread, that of the loop. */
#pragma once

#include "base/metrics.h"
#include "broker/gateway/api.h"
#include "broker/route/route.h"

enum { STATS_STREAMS_MAX = 500 };

struct operation_stats {
    uint64_t answered[3]; /* 2xx, 4xx, 5xx */
    struct histogram took;
};

/* Of one stream, requests that came to this broker. */
struct stream_stats {
    uint32_t stream;
    uint64_t put_bytes, put_success, put_ms;
    uint64_t puts_bytes, puts_success, puts_ms, puts_records, puts_ok, puts_failed, puts_throttled;
    uint64_t get_bytes, get_records, get_success, get_ms, get_age_ms;
    uint64_t subscribe_success, subscribe_exceeded;
    uint64_t event_success, event_bytes, event_records, event_behind_ms;
};

struct stats {
    struct operation_stats operation[API_OPERATIONS];
    struct stream_stats *stream; /* rising ids */
    uint32_t count;
    struct stream_stats rest; /* of streams beyond the maximum: told nowhere */
};

/* Never NULL; valid until the next call. */
struct stream_stats *stats_stream(struct stats *stats, uint32_t stream);
void stats_answered(struct stats *stats, enum api_operation_id operation, uint16_t status,
                    uint64_t us);
/* Also forgets streams that are not there any more. */
void stats_write(struct stats *stats, const struct route *route, struct metrics *m);
void stats_release(struct stats *stats);
