/* The messages of the MultiLangDaemon protocol: JSON objects, one a line, between a consumer and a
 * record processor in any language. Pure.
 *
 * We ask (initialize, processRecords, leaseLost, shardEnded, shutdownRequested); the processor
 * answers each with a status, and may ask for checkpoints before. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/reader.h>

#include "base/bytes.h"
#include "base/status.h"
#include "client/cli/json.h"

/* `sequence` is a number, or "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP". */
void multilang_initialize(struct json *json, const char *shard, const char *sequence,
                          uint32_t sub_sequence);
void multilang_process_records(struct json *json, const struct weir_read_record *records,
                               size_t count, uint64_t behind_ms);
/* "leaseLost", "shardEnded", "shutdownRequested" */
void multilang_notice(struct json *json, const char *action);

enum multilang_action { MULTILANG_STATUS = 1, MULTILANG_CHECKPOINT };
struct multilang_message {
    enum multilang_action action;
    char response_for[32]; /* of a status */
    /* Of a checkpoint: */
    char sequence[64]; /* "": at what was delivered last */
    bool has_sub_sequence;
    uint64_t sub_sequence;
};

/* One line of the processor's output.
 * INVALID      no JSON object: something else that it printed
 * UNSUPPORTED  an object that is no message of the protocol, with a sentence */
NODISCARD enum status multilang_parse(struct bytes line, struct multilang_message *out,
                                      struct error *error);

/* `problem` NULL: it is stored. Else the name of the error, as the Kinesis Client Library has them.
 */
void multilang_checkpointed(struct json *json, const struct multilang_message *checkpoint,
                            const char *problem);
