/* The commands about automatic balancing. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

static void half_fields(struct json *json, const char *key, bool on,
                        const struct weir_balance_half *half)
{
    json_object_begin(json, key);
    json_bool(json, "on", on);
    json_bool(json, "now", half->now);
    json_number(json, "gap_percent", half->percent);
    json_number(json, "moved", half->moved);
    json_string(json, "state", half->text);
    json_array_begin(json, "moves");
    for (size_t i = 0; i < half->move_count; i++) {
        json_object_begin(json, NULL);
        json_number(json, "stream", half->moves[i].shard >> 32);
        json_number(json, "shard", (uint32_t)half->moves[i].shard);
        json_number(json, "from", half->moves[i].from);
        json_number(json, "to", half->moves[i].to);
        json_number(json, "from_percent", half->moves[i].from_percent);
        json_number(json, "to_percent", half->moves[i].to_percent);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
}

static void settings_fields(struct json *json, const struct weir_balance_settings *s)
{
    json_object_begin(json, "settings");
    json_bool(json, "leaders", s->leaders);
    json_bool(json, "replicas", s->replicas);
    json_number(json, "interval_ms", s->interval_ms);
    json_number(json, "rest_ms", s->rest_ms);
    json_number(json, "leader_threshold", s->leader_threshold);
    json_number(json, "leader_lasts_ms", s->leader_lasts_ms);
    json_number(json, "leader_moves", s->leader_moves);
    json_number(json, "replica_threshold", s->replica_threshold);
    json_number(json, "replica_lasts_ms", s->replica_lasts_ms);
    json_number(json, "replica_moves", s->replica_moves);
    json_object_end(json);
}

static int print_json(const struct program *program, const struct weir_balance *balance)
{
    struct json json = {0};
    json_object_begin(&json, NULL);
    settings_fields(&json, &balance->settings);
    half_fields(&json, "leaders", balance->settings.leaders, &balance->leaders);
    half_fields(&json, "replicas", balance->settings.replicas, &balance->replicas);
    json_array_begin(&json, "brokers");
    for (size_t i = 0; i < balance->broker_count; i++) {
        const struct weir_balance_broker *broker = &balance->brokers[i];
        json_object_begin(&json, NULL);
        json_number(&json, "broker", broker->broker);
        json_number(&json, "leaders", broker->leaders);
        json_number(&json, "replicas", broker->replicas);
        json_number(&json, "in_bytes_per_second", broker->in);
        json_number(&json, "out_bytes_per_second", broker->out);
        json_number(&json, "records_per_second", broker->requests);
        json_number(&json, "leader_percent", broker->leader_percent);
        json_number(&json, "replica_percent", broker->replica_percent);
        json_string(&json, "no_leaders", broker->no_leaders);
        json_string(&json, "no_replicas", broker->no_replicas);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_array_begin(&json, "restored_wait");
    for (size_t i = 0; i < balance->wait_count; i++) {
        json_number(&json, NULL, balance->waits[i]);
    }
    json_array_end(&json);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static int print_brokers(const struct program *program, const struct weir_balance *balance)
{
    static const char *const headings[] = {"BROKER",    ">LEADERS",   ">IN/S",
                                           ">OUT/S",    ">RECORDS/S", ">LOAD %",
                                           ">REPLICAS", ">HELD %",    "TAKES"};
    struct table table;
    table_init(&table, headings, 9);
    for (size_t i = 0; i < balance->broker_count; i++) {
        const struct weir_balance_broker *broker = &balance->brokers[i];
        char in[TEXT_SIZE_BYTES], out[TEXT_SIZE_BYTES];
        text_size(broker->in, in);
        text_size(broker->out, out);
        table_add(&table, TABLE_PLAIN, "broker-%u", broker->broker);
        table_add(&table, TABLE_PLAIN, "%u", broker->leaders);
        table_add(&table, TABLE_PLAIN, "%s", in);
        table_add(&table, TABLE_PLAIN, "%s", out);
        table_add(&table, TABLE_PLAIN, "%" PRIu64, broker->requests);
        table_add(&table, TABLE_PLAIN, "%u", broker->leader_percent);
        table_add(&table, TABLE_PLAIN, "%u", broker->replicas);
        table_add(&table, TABLE_PLAIN, "%u", broker->replica_percent);
        const char *why = broker->no_leaders[0] != '\0' ? broker->no_leaders : broker->no_replicas;
        table_add(&table, why[0] == '\0' ? TABLE_GOOD : TABLE_FAINT, "%s",
                  why[0] == '\0' ? "yes" : why);
    }
    return program_print_table(program, &table);
}

static void print_half(const char *what, bool on, const struct weir_balance_half *half)
{
    (void)printf("%s (%s): %s; %" PRIu64 " moved so far\n", what, on ? "on" : "off", half->text,
                 half->moved);
    for (size_t i = 0; i < half->move_count; i++) {
        const struct weir_balance_move *move = &half->moves[i];
        (void)printf("  %s stream %u shard %u from broker-%u (%u %%) to broker-%u (%u %%)\n",
                     half->now ? "moves" : "would move", (unsigned)(move->shard >> 32),
                     (unsigned)move->shard, move->from, move->from_percent, move->to,
                     move->to_percent);
    }
}

static int print_balance(const struct program *program, const struct weir_balance *balance)
{
    if (program->json) {
        return print_json(program, balance);
    }
    const struct weir_balance_settings *s = &balance->settings;
    int code = print_brokers(program, balance);
    print_half("leaderships", s->leaders, &balance->leaders);
    print_half("replicas", s->replicas, &balance->replicas);
    (void)printf("settings: interval=%ums rest=%ums leader-threshold=%u leader-lasts=%ums "
                 "leader-moves=%u replica-threshold=%u replica-lasts=%ums replica-moves=%u\n",
                 s->interval_ms, s->rest_ms, s->leader_threshold, s->leader_lasts_ms,
                 s->leader_moves, s->replica_threshold, s->replica_lasts_ms, s->replica_moves);
    for (size_t i = 0; i < balance->wait_count; i++) {
        (void)printf("broker-%u has not told what it holds since a backup was restored: until it "
                     "has, nothing is split or merged\n",
                     balance->waits[i]);
    }
    return code;
}

static int set(struct program *program, const struct weir_balance_change *changes, size_t count)
{
    struct weir_error error;
    struct weir_balance *balance = NULL;
    if (weir_balance_set(program->client, changes, count, program->timeout_ms, &balance, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_balance(program, balance);
    weir_balance_free(balance);
    return code;
}

int run_balance_status(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_balance *balance = NULL;
    if (weir_balance_status(program->client, program->timeout_ms, &balance, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_balance(program, balance);
    weir_balance_free(balance);
    return code;
}

static int switch_to(struct program *program, const char *what, uint64_t value)
{
    const struct weir_balance_change both[] = {
        {"leaders",  value},
        {"replicas", value}
    };
    if (strcmp(what, "all") == 0) {
        return set(program, both, 2);
    }
    if (strcmp(what, "leaders") == 0) {
        return set(program, &both[0], 1);
    }
    if (strcmp(what, "replicas") == 0) {
        return set(program, &both[1], 1);
    }
    return program_fail(program, WEIR_INVALID, "leaders, replicas or all are switched on and off");
}

int run_balance_on(struct program *program, const char *const *words)
{
    return switch_to(program, words[0], 1);
}

int run_balance_off(struct program *program, const char *const *words)
{
    return switch_to(program, words[0], 0);
}

/* A number, a time, or "default". */
int run_balance_set(struct program *program, const char *const *words)
{
    struct weir_balance_change change = {.key = words[0]};
    bool is_time = strcmp(words[0], "interval") == 0 || strcmp(words[0], "rest") == 0 ||
                   strstr(words[0], "-lasts") != NULL;
    uint32_t ms = 0;
    char *end = NULL;
    struct error why;
    if (strcmp(words[1], "default") == 0) {
        change.value = WEIR_BALANCE_DEFAULT;
    } else if (is_time) {
        if (args_duration(words[1], words[0], &ms, &why) != STATUS_OK) {
            return program_fail(program, WEIR_INVALID, "%s", why.text);
        }
        change.value = ms;
    } else {
        change.value = strtoull(words[1], &end, 10);
        if (words[1][0] < '0' || words[1][0] > '9' || *end != '\0') {
            return program_fail(program, WEIR_INVALID, "%s: %.40s is neither a number nor default",
                                words[0], words[1]);
        }
    }
    return set(program, &change, 1);
}
