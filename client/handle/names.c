/* Statuses, shard ids and sequence numbers of the public interface. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <weir/client.h>
#include <weir/status.h>

#include "base/limits.h"
#include "base/status.h"
#include "proto/wire/seqnum.h"

#define X(number, name, text) \
    static_assert((int)WEIR_##name == (number), "the numbers of the wire");
STATUS_TABLE(X)
#undef X
static_assert((int)WEIR_ERROR_TEXT_BYTES == (int)ERROR_TEXT_BYTES, "a text fits");
static_assert((int)WEIR_SEQUENCE_NUMBER_BYTES >= (int)SEQNUM_DECIMAL_BYTES, "a number fits");
static_assert((int)WEIR_STREAM_NAME_BYTES == (int)STREAM_NAME_MAX + 1, "a name fits");
static_assert((int)WEIR_NODE_NAME_BYTES == (int)NODE_NAME_BYTES, "a name fits");
static_assert((int)WEIR_ZONE_BYTES == (int)ZONE_BYTES, "a zone fits");
static_assert((int)WEIR_HOST_BYTES == (int)HOST_BYTES, "a host fits");

const char *weir_status_name(enum weir_status status)
{
    return status_name((enum status)status);
}

const char *weir_status_text(enum weir_status status)
{
    return status_text((enum status)status);
}

void weir_sequence_number(const struct weir_position *position,
                          char out[WEIR_SEQUENCE_NUMBER_BYTES])
{
    struct seqnum seqnum = {.created_s = position->shard_created_s,
                            .shard_number = position->shard,
                            .generation = position->generation,
                            .offset = position->offset,
                            .record_s = position->arrival_ms / 1000};
    seqnum_to_decimal(&seqnum, out);
}

enum weir_status weir_sequence_number_parse(const char *text, struct weir_position *out)
{
    struct seqnum seqnum;
    if (seqnum_from_decimal(text, &seqnum) != STATUS_OK) {
        return WEIR_INVALID;
    }
    *out = (struct weir_position){.shard_created_s = seqnum.created_s,
                                  .shard = seqnum.shard_number,
                                  .generation = seqnum.generation,
                                  .offset = seqnum.offset,
                                  .arrival_ms = seqnum.record_s * 1000};
    return WEIR_OK;
}

void weir_shard_id(uint32_t shard, char out[WEIR_SHARD_ID_BYTES])
{
    (void)snprintf(out, WEIR_SHARD_ID_BYTES, "shardId-%012u", shard);
}

enum weir_status weir_shard_parse(const char *id, uint32_t *out)
{
    const char *digits = strncmp(id, "shardId-", 8) == 0 ? id + 8 : id;
    uint64_t number = 0;
    size_t length = strlen(digits);
    if (length == 0 || length > 12) {
        return WEIR_INVALID;
    }
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return WEIR_INVALID;
        }
        number = number * 10 + (uint64_t)(digits[i] - '0');
    }
    if (number > UINT32_MAX) {
        return WEIR_INVALID;
    }
    *out = (uint32_t)number;
    return WEIR_OK;
}
