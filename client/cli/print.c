/* A record as a JSON object. */
#include "client/cli/text.h"
#include "client/cli/worker.h"

void print_record(struct json *json, const char *shard, const struct weir_read_record *record)
{
    char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
    struct bytes data = bytes_of(record->data, record->data_size);
    weir_sequence_number(&record->position, sequence);
    json_object_begin(json, NULL);
    json_string(json, "shard", shard);
    json_string(json, "sequence_number", sequence);
    if (record->aggregated) {
        json_number(json, "sub_sequence", record->sub_sequence);
    }
    json_text(json, "partition_key", bytes_of(record->key, record->key_size));
    json_number(json, "arrival_ms", record->position.arrival_ms);
    if (text_is_utf8(data)) {
        json_text(json, "data", data);
    } else {
        json_base64(json, "data_base64", data);
    }
    json_object_end(json);
    json_line_end(json);
}
