/* What streams may take and give, and what is counted of their shards. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

/* ---- stream limits ---- */

enum { LIMITS = 6 };

struct row {
    const char *name, *option, *given, *unit;
    uint64_t *value;
};

static void rows_of(const struct program *p, struct weir_stream_limits *limits,
                    struct row rows[LIMITS])
{
    const struct row all[LIMITS] = {
        {"write_bytes",        "--write-bytes",        p->limits.write_bytes,        "B/s",       &limits->write_bytes},
        {"write_records",      "--write-records",      p->limits.write_records,      "records/s",
         &limits->write_records                                                                                       },
        {"read_bytes",         "--read-bytes",         p->limits.read_bytes,         "B/s",       &limits->read_bytes },
        {"read_calls",         "--read-calls",         p->limits.read_calls,         "calls/s",   &limits->read_calls },
        {"iterator_calls",     "--iterator-calls",     p->limits.iterator_calls,     "calls/s",
         &limits->iterator_calls                                                                                      },
        {"subscription_bytes", "--subscription-bytes", p->limits.subscription_bytes, "B/s",
         &limits->subscription_bytes                                                                                  },
    };
    memcpy(rows, all, sizeof(all));
}

/* "none", "cluster", "4096", "64KiB", "2MiB". False: a sentence was printed. */
static bool take_limit(const struct program *program, const struct row *row)
{
    static const struct {
        const char *unit;
        uint64_t factor;
    } units[] = {
        {"KiB", 1024       },
        {"MiB", 1024 * 1024}
    };
    if (strcmp(row->given, "none") == 0 || strcmp(row->given, "cluster") == 0) {
        *row->value = row->given[0] == 'n' ? WEIR_NO_LIMIT : WEIR_CLUSTER_LIMIT;
        return true;
    }
    char digits[24];
    uint64_t factor = 1, number = 0;
    size_t size = strlen(row->given);
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        size_t tail = strlen(units[i].unit);
        if (strcmp(row->unit, "B/s") == 0 && size > tail &&
            strcmp(row->given + size - tail, units[i].unit) == 0) {
            factor = units[i].factor;
            size -= tail;
            break;
        }
    }
    struct error bad;
    bool fits = size < sizeof(digits);
    if (fits) {
        memcpy(digits, row->given, size);
        digits[size] = '\0';
        fits = args_number(digits, row->option, 1, UINT32_MAX, &number, &bad) == STATUS_OK &&
               number * factor <= UINT32_MAX;
    }
    if (!fits) {
        (void)program_fail(program, WEIR_INVALID,
                           "%s: '%.60s' is not a number from 1 to %u%s, nor none or cluster",
                           row->option, row->given, UINT32_MAX,
                           strcmp(row->unit, "B/s") == 0 ? " (KiB and MiB are understood)" : "");
        return false;
    }
    *row->value = number * factor;
    return true;
}

static int print_limits(const struct program *program, const char *stream,
                        const struct row rows[LIMITS])
{
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "stream", stream);
    for (int i = 0; i < LIMITS; i++) {
        uint64_t value = *rows[i].value;
        const char *word = value == WEIR_CLUSTER_LIMIT ? "cluster"
                           : value == WEIR_NO_LIMIT    ? "none"
                                                       : NULL;
        if (word != NULL) {
            json_string(&json, rows[i].name, word);
        } else {
            json_number(&json, rows[i].name, value);
        }
        if (!program->json && word != NULL) {
            (void)printf("%-20s %s\n", rows[i].name, word);
        } else if (!program->json) {
            (void)printf("%-20s %" PRIu64 " %s\n", rows[i].name, value, rows[i].unit);
        }
    }
    json_object_end(&json);
    if (program->json) {
        return program_print_json(program, &json);
    }
    json_release(&json);
    return EXIT_CODE_OK;
}

int run_stream_limits(struct program *program, const char *const *words)
{
    struct weir_stream_limits limits;
    struct weir_error error;
    struct row rows[LIMITS];
    bool changes = false;
    rows_of(program, &limits, rows);
    if (weir_stream_limits_get(program->client, words[0], program->timeout_ms, &limits, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    for (int i = 0; i < LIMITS; i++) {
        if (rows[i].given != NULL && !take_limit(program, &rows[i])) {
            return EXIT_CODE_USAGE;
        }
        changes = changes || rows[i].given != NULL;
    }
    if (!changes) {
        return print_limits(program, words[0], rows);
    }
    if (weir_stream_limits_set(program->client, words[0], &limits, program->timeout_ms, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    return EXIT_CODE_OK;
}

/* ---- shard metrics ---- */

static const char *const metric_names[WEIR_METRICS] = {"IncomingBytes",
                                                       "IncomingRecords",
                                                       "OutgoingBytes",
                                                       "OutgoingRecords",
                                                       "WriteProvisionedThroughputExceeded",
                                                       "ReadProvisionedThroughputExceeded",
                                                       "IteratorAgeMilliseconds"};

static bool is_enabled(const struct weir_shard *shard, int metric)
{
    return (shard->metrics_enabled >> metric & 1) != 0;
}

static int metrics_as_json(const struct program *program, const struct weir_stream *stream)
{
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "stream", stream->name);
    json_array_begin(&json, "shards");
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct weir_shard *shard = &stream->shards[i];
        if (!shard->status_known) {
            continue;
        }
        json_object_begin(&json, NULL);
        json_string(&json, "shard", shard->id);
        json_string(&json, "leader", shard->leader);
        json_object_begin(&json, "metrics");
        for (int m = 0; m < WEIR_METRICS; m++) {
            if (is_enabled(shard, m)) {
                json_number(&json, metric_names[m], shard->metrics[m]);
            }
        }
        json_object_end(&json);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static int metrics_as_table(const struct program *program, const struct weir_stream *stream)
{
    static const char *const headings[] = {"SHARD",          "LEADER",        ">IN BYTES",
                                           ">IN RECORDS",    ">OUT BYTES",    ">OUT RECORDS",
                                           ">WRITE REFUSED", ">READ REFUSED", ">AGE MS"};
    uint32_t shown = 0;
    struct table table;
    table_init(&table, headings, sizeof(headings) / sizeof(headings[0]));
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct weir_shard *shard = &stream->shards[i];
        if (!shard->status_known || shard->metrics_enabled == 0) {
            continue;
        }
        table_add(&table, TABLE_PLAIN, "%s", shard->id);
        table_add(&table, TABLE_PLAIN, "%s", shard->leader);
        for (int m = 0; m < WEIR_METRICS; m++) {
            if (is_enabled(shard, m)) {
                table_add(&table, TABLE_PLAIN, "%" PRIu64, shard->metrics[m]);
            } else {
                table_add(&table, TABLE_FAINT, "-");
            }
        }
        shown++;
    }
    if (shown == 0) {
        table_release(&table);
        (void)printf(
            "No metrics are enabled for the shards of %s (EnableEnhancedMonitoring), or no "
            "leader answers.\n",
            stream->name);
        return EXIT_CODE_OK;
    }
    return program_print_table(program, &table);
}

int run_shard_metrics(struct program *program, const char *const *words)
{
    struct weir_error error;
    struct weir_stream *stream;
    if (weir_stream_describe(program->client, words[0], true, program->timeout_ms, &stream,
                             &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = program->json ? metrics_as_json(program, stream) : metrics_as_table(program, stream);
    weir_stream_free(stream);
    return code;
}
