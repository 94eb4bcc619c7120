/* The commands that change a stream: encryption, mode, sizes, metrics, tags, consumers. */
#include <stdio.h>
#include <string.h>

#include "client/cli/program.h"

/* Tells programs what was done; people are told of failures only. */
static int change_stream(struct program *program, const char *stream, struct weir_change *change)
{
    struct weir_error error;
    change->no_wait = program->no_wait;
    change->timeout_ms = program->timeout_ms;
    if (weir_stream_change(program->client, stream, change, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    if (!program->json) {
        return EXIT_CODE_OK;
    }
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "stream", stream);
    json_bool(&json, "settled", !program->no_wait);
    json_object_end(&json);
    return program_print_json(program, &json);
}

int run_stream_encrypt(struct program *program, const char *const *words)
{
    const char *key = program->key == NULL ? "alias/aws/kinesis" : program->key;
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_ENCRYPT, .text = key});
}

int run_stream_decrypt(struct program *program, const char *const *words)
{
    const char *key = program->key == NULL ? "alias/aws/kinesis" : program->key;
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_DECRYPT, .text = key});
}

int run_stream_mode(struct program *program, const char *const *words)
{
    bool on_demand = strcmp(words[1], "on-demand") == 0;
    if (!on_demand && strcmp(words[1], "provisioned") != 0) {
        return program_fail(program, WEIR_INVALID, "a stream's mode is provisioned or on-demand");
    }
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_MODE, .on_demand = on_demand});
}

int run_stream_record_size(struct program *program, const char *const *words)
{
    struct error bad;
    uint64_t kib;
    if (args_number(words[1], "KIB", 1024, 10240, &kib, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    return change_stream(
        program, words[0],
        &(struct weir_change){.type = WEIR_CHANGE_MAX_RECORD, .number = (uint32_t)kib});
}

/* "IncomingBytes,OutgoingBytes" or "ALL"; 0: a name is unknown. */
static uint32_t metrics_of(const char *list)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } metrics[] = {
#define METRIC(name) {#name, WEIR_METRIC_##name}
        METRIC(IncomingBytes),
        METRIC(IncomingRecords),
        METRIC(OutgoingBytes),
        METRIC(OutgoingRecords),
        METRIC(WriteProvisionedThroughputExceeded),
        METRIC(ReadProvisionedThroughputExceeded),
        METRIC(IteratorAgeMilliseconds),
        METRIC(ALL),
#undef METRIC
    };
    uint32_t bits = 0;
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        uint32_t bit = 0;
        for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
            if (strlen(metrics[i].name) == length && strncmp(metrics[i].name, list, length) == 0) {
                bit = metrics[i].bit;
            }
        }
        if (bit == 0) {
            return 0;
        }
        bits |= bit;
        list += length + (list[length] == ',' ? 1 : 0);
    }
    return bits;
}

static int monitor(struct program *program, const char *const *words, enum weir_change_type type)
{
    uint32_t bits = metrics_of(words[1]);
    if (bits == 0) {
        return program_fail(program, WEIR_INVALID,
                            "'%.100s' is not a list of metrics: IncomingBytes, IncomingRecords, "
                            "OutgoingBytes, OutgoingRecords, WriteProvisionedThroughputExceeded, "
                            "ReadProvisionedThroughputExceeded, IteratorAgeMilliseconds, ALL",
                            words[1]);
    }
    return change_stream(program, words[0], &(struct weir_change){.type = type, .number = bits});
}

int run_stream_monitor(struct program *program, const char *const *words)
{
    return monitor(program, words, WEIR_CHANGE_MONITOR);
}

int run_stream_unmonitor(struct program *program, const char *const *words)
{
    return monitor(program, words, WEIR_CHANGE_UNMONITOR);
}

int run_stream_tag(struct program *program, const char *const *words)
{
    char key[512];
    const char *value = strchr(words[1], '=');
    if (value == NULL || (size_t)(value - words[1]) >= sizeof(key)) {
        return program_fail(program, WEIR_INVALID, "a tag is KEY=VALUE");
    }
    (void)snprintf(key, sizeof(key), "%.*s", (int)(value - words[1]), words[1]);
    return change_stream(
        program, words[0],
        &(struct weir_change){.type = WEIR_CHANGE_TAG, .text = key, .value = value + 1});
}

int run_stream_untag(struct program *program, const char *const *words)
{
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_UNTAG, .text = words[1]});
}

int run_consumer_register(struct program *program, const char *const *words)
{
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_REGISTER, .text = words[1]});
}

int run_consumer_deregister(struct program *program, const char *const *words)
{
    return change_stream(program, words[0],
                         &(struct weir_change){.type = WEIR_CHANGE_DEREGISTER, .text = words[1]});
}
