/* Changes of a stream beside its shards and its retention: what the Kinesis operations
 * StartStreamEncryption, UpdateStreamMode, UpdateMaxRecordSize, EnableEnhancedMonitoring,
 * AddTagsToStream, RegisterStreamConsumer and their opposites do.
 *
 * Errors beside those of <weir/admin.h>: NOT_FOUND (no such stream or consumer), IN_USE (another
 * change of it is under way), LIMIT, VALIDATION, INVALID, and the KEY_ ones of <weir/keyring.h>. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/admin.h>
#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum weir_change_type {
    WEIR_CHANGE_ENCRYPT = 1, /* with `text`, a key of the ring: id, alias or ARN */
    WEIR_CHANGE_DECRYPT,     /* ditto: the key that it is encrypted with; what is stored stays so */
    WEIR_CHANGE_MODE,        /* `on_demand` */
    WEIR_CHANGE_MAX_RECORD,  /* `number` KiB: 1024 to 10240 */
    WEIR_CHANGE_MONITOR,     /* `number`: bits of the metrics to enable (WEIR_METRIC_) */
    WEIR_CHANGE_UNMONITOR,   /* ditto, to disable */
    WEIR_CHANGE_TAG,         /* `text` gets the value `value` */
    WEIR_CHANGE_UNTAG,       /* tag `text` is removed */
    WEIR_CHANGE_REGISTER,    /* consumer `text`, for enhanced fan-out */
    WEIR_CHANGE_DEREGISTER,
};

/* Spelt as AWS spells them. NOLINTBEGIN(readability-identifier-naming) */
enum weir_metric {
    WEIR_METRIC_IncomingBytes = 1,
    WEIR_METRIC_IncomingRecords = 2,
    WEIR_METRIC_OutgoingBytes = 4,
    WEIR_METRIC_OutgoingRecords = 8,
    WEIR_METRIC_WriteProvisionedThroughputExceeded = 16,
    WEIR_METRIC_ReadProvisionedThroughputExceeded = 32,
    WEIR_METRIC_IteratorAgeMilliseconds = 64,
    WEIR_METRIC_ALL = 127,
};
/* NOLINTEND(readability-identifier-naming) */

/* What is not needed is NULL or 0. */
struct weir_change {
    enum weir_change_type type;
    const char *text, *value;
    uint32_t number;
    bool on_demand;
    bool no_wait;        /* do not wait until the stream is ACTIVE again */
    uint32_t timeout_ms; /* 0: 30 s */
};

WEIR_NODISCARD enum weir_status weir_stream_change(struct weir_client *client, const char *name,
                                                   const struct weir_change *change,
                                                   struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_stream_change_async(struct weir_client *client,
                                                         const char *name,
                                                         const struct weir_change *change,
                                                         weir_done_fn *done, void *context);

#ifdef __cplusplus
}
#endif
