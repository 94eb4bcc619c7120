#include "client/cli/multilang.h"

#include <stdio.h>
#include <string.h>

/* ---- ours -------------------------------------------------------------------------------------
 */

void multilang_initialize(struct json *json, const char *shard, const char *sequence,
                          uint32_t sub_sequence)
{
    json_object_begin(json, NULL);
    json_string(json, "action", "initialize");
    json_string(json, "shardId", shard);
    json_string(json, "sequenceNumber", sequence);
    json_number(json, "subSequenceNumber", sub_sequence);
    json_object_end(json);
    json_line_end(json);
}

void multilang_process_records(struct json *json, const struct weir_read_record *records,
                               size_t count, uint64_t behind_ms)
{
    json_object_begin(json, NULL);
    json_string(json, "action", "processRecords");
    json_array_begin(json, "records");
    for (size_t i = 0; i < count; i++) {
        const struct weir_read_record *record = &records[i];
        char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
        weir_sequence_number(&record->position, sequence);
        json_object_begin(json, NULL);
        json_string(json, "action", "record");
        json_base64(json, "data", bytes_of(record->data, record->data_size));
        json_text(json, "partitionKey", bytes_of(record->key, record->key_size));
        json_string(json, "sequenceNumber", sequence);
        json_number(json, "subSequenceNumber", record->sub_sequence);
        json_number(json, "approximateArrivalTimestamp", record->position.arrival_ms);
        json_object_end(json);
    }
    json_array_end(json);
    json_number(json, "millisBehindLatest", behind_ms);
    json_object_end(json);
    json_line_end(json);
}

void multilang_notice(struct json *json, const char *action)
{
    json_object_begin(json, NULL);
    json_string(json, "action", action);
    json_object_end(json);
    json_line_end(json);
}

void multilang_checkpointed(struct json *json, const struct multilang_message *checkpoint,
                            const char *problem)
{
    json_object_begin(json, NULL);
    json_string(json, "action", "checkpoint");
    if (checkpoint->sequence[0] != '\0') {
        json_string(json, "sequenceNumber", checkpoint->sequence);
    } else {
        json_null(json, "sequenceNumber");
    }
    if (checkpoint->has_sub_sequence) {
        json_number(json, "subSequenceNumber", checkpoint->sub_sequence);
    } else {
        json_null(json, "subSequenceNumber");
    }
    if (problem != NULL) {
        json_string(json, "error", problem);
    } else {
        json_null(json, "error");
    }
    json_object_end(json);
    json_line_end(json);
}

/* ---- theirs -----------------------------------------------------------------------------------
 */

/* A JSON text from `at` on; `failed` once it is none. */
struct scan {
    const uint8_t *at, *end;
    bool failed;
};

static uint8_t peek(struct scan *s)
{
    while (s->at < s->end &&
           (*s->at == ' ' || *s->at == '\t' || *s->at == '\r' || *s->at == '\n')) {
        s->at++;
    }
    return s->at < s->end ? *s->at : 0;
}

static bool take(struct scan *s, uint8_t byte)
{
    if (peek(s) != byte) {
        return false;
    }
    s->at++;
    return true;
}

static void add(char *out, size_t size, size_t *used, char c)
{
    if (*used + 1 < size) {
        out[(*used)++] = c;
    }
}

/* A string, cut to `size`; what is not ASCII matters to nothing here. */
static void take_string(struct scan *s, char *out, size_t size)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    size_t used = 0;
    bool open = take(s, '"');
    s->failed |= !open;
    while (open && s->at < s->end && *s->at != '"') {
        char c = (char)*s->at++;
        if (c == '\\' && s->at < s->end) {
            c = (char)*s->at++;
            const char *letter = strchr(from, c);
            if (c == 'u') {
                s->at += s->end - s->at < 4 ? s->end - s->at : 4;
                c = '?';
            } else if (letter != NULL && c != '\0') {
                c = to[letter - from];
            }
        }
        add(out, size, &used, c);
    }
    out[used] = '\0';
    s->failed |= s->at == s->end;
    s->at += s->at < s->end;
}

/* A number, true, false or null as it is written. */
static void take_word(struct scan *s, char *out, size_t size)
{
    size_t used = 0;
    (void)peek(s);
    while (s->at < s->end && strchr(",}] \t\r\n", (char)*s->at) == NULL) {
        add(out, size, &used, (char)*s->at++);
    }
    out[used] = '\0';
    s->failed |= used == 0;
}

static void take_field(struct scan *s, struct multilang_message *out, char action[32])
{
    char name[32], value[64];
    take_string(s, name, sizeof(name));
    s->failed |= !take(s, ':');
    uint8_t first = peek(s);
    bool quoted = first == '"';
    if (s->failed || first == '{' || first == '[') {
        s->failed = true; /* no message has such a value */
        return;
    }
    if (quoted) {
        take_string(s, value, sizeof(value));
    } else {
        take_word(s, value, sizeof(value));
    }
    bool null = !quoted && strcmp(value, "null") == 0;
    if (strcmp(name, "action") == 0 && quoted) {
        (void)snprintf(action, 32, "%.31s", value);
    } else if (strcmp(name, "responseFor") == 0 && quoted) {
        (void)snprintf(out->response_for, sizeof(out->response_for), "%.31s", value);
    } else if (strcmp(name, "sequenceNumber") == 0 && !null) {
        (void)snprintf(out->sequence, sizeof(out->sequence), "%s", value);
    } else if (strcmp(name, "subSequenceNumber") == 0 && !null) {
        out->has_sub_sequence = true;
        out->sub_sequence = 0;
        for (const char *at = value; *at >= '0' && *at <= '9'; at++) {
            out->sub_sequence = out->sub_sequence * 10 + (uint64_t)(*at - '0');
        }
    }
}

enum status multilang_parse(struct bytes line, struct multilang_message *out, struct error *error)
{
    struct multilang_message message = {0};
    struct scan s = {.at = line.data, .end = line.data + line.size};
    char action[32] = "";
    if (!take(&s, '{')) {
        return STATUS_INVALID;
    }
    if (peek(&s) != '}') {
        do {
            take_field(&s, &message, action);
        } while (!s.failed && take(&s, ','));
    }
    if (s.failed || !take(&s, '}') || peek(&s) != 0) {
        return STATUS_INVALID;
    }
    if (strcmp(action, "status") == 0 && message.response_for[0] != '\0') {
        message.action = MULTILANG_STATUS;
    } else if (strcmp(action, "checkpoint") == 0) {
        message.action = MULTILANG_CHECKPOINT;
    } else {
        return error_set(error, STATUS_UNSUPPORTED,
                         "'%.31s' is no action of a record processor: \"status\" with "
                         "\"responseFor\", or \"checkpoint\"",
                         action);
    }
    *out = message;
    return STATUS_OK;
}
