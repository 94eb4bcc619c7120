#include "broker/kinesis/stats.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct stream_stats *stats_stream(struct stats *stats, uint32_t stream)
{
    uint32_t low = 0, high = stats->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stats->stream[middle].stream < stream) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < stats->count && stats->stream[low].stream == stream) {
        return &stats->stream[low];
    }
    struct stream_stats *grown =
        stats->count == STATS_STREAMS_MAX
            ? NULL
            : realloc(stats->stream, (stats->count + (size_t)1) * sizeof(*grown));
    if (grown == NULL) {
        return &stats->rest;
    }
    stats->stream = grown;
    memmove(grown + low + 1, grown + low, (stats->count - low) * sizeof(*grown));
    stats->count++;
    grown[low] = (struct stream_stats){.stream = stream};
    return &grown[low];
}

void stats_answered(struct stats *stats, enum api_operation_id operation, uint16_t status,
                    uint64_t us)
{
    if (operation >= API_OPERATIONS) {
        return; /* no operation of ours: the front's counts have it */
    }
    struct operation_stats *o = &stats->operation[operation];
    o->answered[status < 300 ? 0 : status < 500 ? 1 : 2]++;
    histogram_note(&o->took, us);
}

/* ---- pages ---- */

static const struct {
    const char *name;
    enum metric_type type;
    size_t offset;
    const char *help;
} fields[] = {
    {"kinesis_put_record_bytes_total",                        METRIC_COUNTER, offsetof(struct stream_stats, put_bytes),
     "PutRecord.Bytes."                                                                                                                                                  },
    {"kinesis_put_record_success_total",                      METRIC_COUNTER, offsetof(struct stream_stats, put_success),
     "PutRecord.Success: requests."                                                                                                                                      },
    {"kinesis_put_record_latency_milliseconds_total",         METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          put_ms),
     "PutRecord.Latency: the sum; divide by kinesis_put_record_success_total."                                                                                           },
    {"kinesis_put_records_bytes_total",                       METRIC_COUNTER, offsetof(struct stream_stats, puts_bytes),
     "PutRecords.Bytes."                                                                                                                                                 },
    {"kinesis_put_records_success_total",                     METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_success),
     "PutRecords.Success: requests with at least one record stored."                                                                                                     },
    {"kinesis_put_records_latency_milliseconds_total",        METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_ms),
     "PutRecords.Latency: the sum over all that were answered with 200."                                                                                                 },
    {"kinesis_put_records_total_records_total",               METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_records),       "PutRecords.TotalRecords."              },
    {"kinesis_put_records_successful_records_total",          METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_ok),            "PutRecords.SuccessfulRecords."         },
    {"kinesis_put_records_failed_records_total",              METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_failed),
     "PutRecords.FailedRecords: refused because of an error."                                                                                                            },
    {"kinesis_put_records_throttled_records_total",           METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          puts_throttled),
     "PutRecords.ThrottledRecords: refused by a limit."                                                                                                                  },
    {"kinesis_get_records_bytes_total",                       METRIC_COUNTER, offsetof(struct stream_stats, get_bytes),
     "GetRecords.Bytes."                                                                                                                                                 },
    {"kinesis_get_records_records_total",                     METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          get_records),        "GetRecords.Records."                   },
    {"kinesis_get_records_success_total",                     METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          get_success),        "GetRecords.Success: requests."         },
    {"kinesis_get_records_latency_milliseconds_total",        METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          get_ms),
     "GetRecords.Latency: the sum; divide by kinesis_get_records_success_total."                                                                                         },
    {"kinesis_get_records_iterator_age_milliseconds",         METRIC_GAUGE,
     offsetof(struct stream_stats,                                                                          get_age_ms),
     "GetRecords.IteratorAgeMilliseconds: how far the last answer was behind the tip."                                                                                   },
    {"kinesis_subscribe_to_shard_success_total",              METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          subscribe_success),
     "SubscribeToShard.Success: subscriptions that began."                                                                                                               },
    {"kinesis_subscribe_to_shard_rate_exceeded_total",        METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          subscribe_exceeded),
     "SubscribeToShard.RateExceeded: refused because another is active, or by a limit."                                                                                  },
    {"kinesis_subscribe_to_shard_event_success_total",        METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          event_success),      "SubscribeToShardEvent.Success: events."},
    {"kinesis_subscribe_to_shard_event_bytes_total",          METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          event_bytes),        "SubscribeToShardEvent.Bytes."          },
    {"kinesis_subscribe_to_shard_event_records_total",        METRIC_COUNTER,
     offsetof(struct stream_stats,                                                                          event_records),      "SubscribeToShardEvent.Records."        },
    {"kinesis_subscribe_to_shard_event_millis_behind_latest", METRIC_GAUGE,
     offsetof(struct stream_stats,                                                                          event_behind_ms),
     "SubscribeToShardEvent.MillisBehindLatest of the last event."                                                                                                       },
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static void write_operations(const struct stats *stats, struct metrics *m)
{
    static const char *const codes[] = {"2xx", "4xx", "5xx"};
    metrics_family(m, "weir_kinesis_requests_total", METRIC_COUNTER,
                   "Requests of Kinesis clients that were answered, by operation and status.");
    for (uint32_t i = 0; i < API_OPERATIONS; i++) {
        for (uint32_t code = 0; stats->operation[i].took.count > 0 && code < 3; code++) {
            metrics_put(m, (double)stats->operation[i].answered[code], "operation",
                        api_operations[i].name, "code", codes[code], NULL);
        }
    }
    metrics_family(
        m, "weir_kinesis_request_seconds", METRIC_HISTOGRAM,
        "From a request's last byte to its answer; SubscribeToShard: to its first event.");
    for (uint32_t i = 0; i < API_OPERATIONS; i++) {
        if (stats->operation[i].took.count > 0) {
            metrics_put_histogram(m, &stats->operation[i].took, "operation", api_operations[i].name,
                                  NULL);
        }
    }
}

void stats_write(struct stats *stats, const struct route *route, struct metrics *m)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < stats->count; i++) {
        if (route_stream(route, stats->stream[i].stream) != NULL) {
            stats->stream[kept++] = stats->stream[i];
        }
    }
    stats->count = kept;
    write_operations(stats, m);
    for (uint32_t f = 0; f < FIELDS; f++) {
        metrics_family(m, fields[f].name, fields[f].type, fields[f].help);
        for (uint32_t i = 0; i < stats->count; i++) {
            const void *field = (const char *)&stats->stream[i] + fields[f].offset;
            metrics_put(m, (double)*(const uint64_t *)field, "stream",
                        route_stream(route, stats->stream[i].stream)->name, NULL);
        }
    }
}

void stats_release(struct stats *stats)
{
    free(stats->stream);
}
