/* The commands about streams and shards. */
#include <inttypes.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

int run_stream_create(struct program *program, const char *const *words)
{
    struct error bad;
    uint64_t shards = 1;
    uint64_t hours = 0;
    if ((program->shards != NULL &&
         args_number(program->shards, "--shards", 1, 10000, &shards, &bad) != STATUS_OK) ||
        (program->retention != NULL &&
         args_number(program->retention, "--retention", 1, 8760, &hours, &bad) != STATUS_OK)) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    struct weir_create_options options = {.shards = (uint32_t)shards,
                                          .retention_hours = (uint32_t)hours,
                                          .allow_fewer_zones = program->allow_fewer_zones,
                                          .no_wait = program->no_wait,
                                          .timeout_ms = program->timeout_ms};
    struct weir_error error;
    if (weir_stream_create(program->client, words[0], &options, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return EXIT_CODE_OK;
}

int run_stream_delete(struct program *program, const char *const *words)
{
    struct weir_error error;
    if (weir_stream_delete(program->client, words[0], !program->no_wait, program->timeout_ms,
                           &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return EXIT_CODE_OK;
}

int run_stream_retention(struct program *program, const char *const *words)
{
    struct error bad;
    uint64_t hours;
    if (args_number(words[1], "HOURS", 1, 8760, &hours, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    struct weir_error error;
    if (weir_stream_retention(program->client, words[0], (uint32_t)hours, program->timeout_ms,
                              &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return EXIT_CODE_OK;
}

static int change_shards(struct program *program, const char *stream, struct weir_reshard *change)
{
    change->no_wait = program->no_wait;
    change->timeout_ms = program->timeout_ms;
    struct weir_error error;
    if (weir_stream_reshard(program->client, stream, change, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return EXIT_CODE_OK;
}

int run_stream_reshard(struct program *program, const char *const *words)
{
    struct error bad;
    uint64_t shards;
    if (args_number(words[1], "SHARDS", 1, 10000, &shards, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    struct weir_reshard change = {.type = WEIR_SHARD_COUNT, .shards = (uint32_t)shards};
    return change_shards(program, words[0], &change);
}

static bool take_shard(const struct program *program, const char *word, uint32_t *out)
{
    if (weir_shard_parse(word, out) == WEIR_OK) {
        return true;
    }
    (void)program_fail(program, WEIR_INVALID,
                       "'%.60s' is not a shard: shardId-000000000000, or its number", word);
    return false;
}

int run_shard_split(struct program *program, const char *const *words)
{
    struct weir_reshard change = {.type = WEIR_SPLIT, .hash_key = program->at};
    return take_shard(program, words[1], &change.shard) ? change_shards(program, words[0], &change)
                                                        : EXIT_CODE_USAGE;
}

int run_shard_merge(struct program *program, const char *const *words)
{
    struct weir_reshard change = {.type = WEIR_MERGE};
    return take_shard(program, words[1], &change.shard) &&
                   take_shard(program, words[2], &change.neighbour)
               ? change_shards(program, words[0], &change)
               : EXIT_CODE_USAGE;
}

static void stream_fields(struct json *json, const struct weir_stream *stream)
{
    char created[TEXT_TIME_BYTES];
    text_time(stream->created_ms, created);
    json_string(json, "name", stream->name);
    json_number(json, "id", stream->id);
    json_string(json, "state", weir_stream_state_name(stream->state));
    json_number(json, "shard_count", stream->shard_count);
    json_number(json, "retention_hours", stream->retention_hours);
    json_number(json, "created_ms", stream->created_ms);
    json_string(json, "created", created);
}

static enum table_colour state_colour(enum weir_stream_state state)
{
    return state == WEIR_STREAM_ACTIVE || state == WEIR_STREAM_UPDATING ? TABLE_GOOD : TABLE_BAD;
}

static int print_list(const struct program *program, const struct weir_stream_list *list)
{
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_number(&json, "metadata_version", list->version);
        json_array_begin(&json, "streams");
        for (size_t i = 0; i < list->count; i++) {
            json_object_begin(&json, NULL);
            stream_fields(&json, &list->streams[i]);
            json_object_end(&json);
        }
        json_array_end(&json);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    static const char *const headings[] = {"STREAM", "STATE", ">SHARDS", ">RETENTION", "CREATED"};
    struct table table;
    table_init(&table, headings, 5);
    for (size_t i = 0; i < list->count; i++) {
        const struct weir_stream *stream = &list->streams[i];
        char created[TEXT_TIME_BYTES];
        text_time(stream->created_ms, created);
        table_add(&table, TABLE_PLAIN, "%s", stream->name);
        table_add(&table, state_colour(stream->state), "%s", weir_stream_state_name(stream->state));
        table_add(&table, TABLE_PLAIN, "%u", stream->shard_count);
        table_add(&table, TABLE_PLAIN, "%u h", stream->retention_hours);
        table_add(&table, TABLE_FAINT, "%s", created);
    }
    return program_print_table(program, &table);
}

int run_stream_list(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_stream_list *list;
    if (weir_stream_list(program->client, program->timeout_ms, &list, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = print_list(program, list);
    weir_stream_list_free(list);
    return code;
}

/* ---- shards -----------------------------------------------------------------------------------
 */

static void replica_fields(struct json *json, const struct weir_replica *replica)
{
    json_object_begin(json, NULL);
    json_string(json, "broker", replica->broker);
    json_string(json, "zone", replica->zone);
    json_number(json, "disk_gen", replica->disk_gen);
    json_bool(json, "leader", replica->leader);
    json_bool(json, "alive", replica->alive);
    json_bool(json, "in_sync", replica->known && replica->in_sync);
    if (replica->known) {
        json_bool(json, "connected", replica->connected);
        json_number(json, "match", replica->match);
        json_number(json, "lag", replica->lag);
    } else {
        json_null(json, "connected");
        json_null(json, "match");
        json_null(json, "lag");
    }
    json_object_end(json);
}

static void shard_fields(struct json *json, const struct weir_shard *shard)
{
    json_object_begin(json, NULL);
    json_string(json, "id", shard->id);
    if (shard->leader[0] != '\0') {
        json_string(json, "leader", shard->leader);
    } else {
        json_null(json, "leader");
    }
    json_number(json, "epoch", shard->epoch);
    json_string(json, "state", shard->state);
    json_bool(json, "takes_records", shard->takes_records);
    json_array_begin(json, "parents");
    for (uint32_t i = 0; i < shard->parent_count; i++) {
        char id[WEIR_SHARD_ID_BYTES];
        weir_shard_id(shard->parents[i], id);
        json_string(json, NULL, id);
    }
    json_array_end(json);
    if (shard->closed_ms != 0) {
        json_number(json, "closed_ms", shard->closed_ms);
    }
    json_string(json, "hash_first", shard->hash_first);
    json_string(json, "hash_last", shard->hash_last);
    json_string(json, "first_sequence_number", shard->first_sequence_number);
    if (shard->status_known) {
        json_bool(json, "open", shard->open);
        json_number(json, "log_start", shard->log_start);
        json_number(json, "commit", shard->commit);
        json_number(json, "end", shard->end);
    } else {
        json_null(json, "open");
        json_null(json, "log_start");
        json_null(json, "commit");
        json_null(json, "end");
    }
    json_array_begin(json, "replicas");
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        replica_fields(json, &shard->replicas[i]);
    }
    json_array_end(json);
    json_object_end(json);
}

static int shards_as_json(const struct program *program, const struct weir_stream *stream,
                          bool with_stream)
{
    struct json json = {0};
    json_object_begin(&json, NULL);
    if (with_stream) {
        stream_fields(&json, stream);
    } else {
        json_string(&json, "stream", stream->name);
    }
    json_number(&json, "metadata_version", stream->version);
    json_array_begin(&json, "shards");
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        shard_fields(&json, &stream->shards[i]);
    }
    json_array_end(&json);
    json_object_end(&json);
    return program_print_json(program, &json);
}

/* "broker-2 b +0", with a mark for what is wrong. */
static void add_replica(struct table *table, const struct weir_replica *replica)
{
    if (!replica->known) {
        table_add(table, TABLE_BAD, "%s (%s) unknown", replica->broker, replica->zone);
    } else if (!replica->connected) {
        table_add(table, TABLE_BAD, "%s (%s) away", replica->broker, replica->zone);
    } else if (!replica->in_sync) {
        table_add(table, TABLE_BAD, "%s (%s) -%" PRIu64, replica->broker, replica->zone,
                  replica->lag);
    } else {
        table_add(table, TABLE_GOOD, "%s (%s)", replica->broker, replica->zone);
    }
}

static int shards_as_table(const struct program *program, const struct weir_stream *stream)
{
    static const char *const headings[] = {"SHARD",   "STATE",   "LEADER",  ">EPOCH", ">COMMIT",
                                           "PARENTS", "REPLICA", "REPLICA", "REPLICA"};
    enum { COLUMNS = 9, REPLICAS = 3 };
    struct table table;
    table_init(&table, headings, COLUMNS);
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct weir_shard *shard = &stream->shards[i];
        bool active = strcmp(shard->state, "ACTIVE") == 0;
        bool closed = strcmp(shard->state, "SEALED") == 0;
        if (strcmp(shard->state, "DELETED") == 0) {
            continue; /* expired: only its number is left */
        }
        table_add(&table, closed ? TABLE_FAINT : TABLE_PLAIN, "%s", shard->id);
        table_add(&table,
                  active   ? TABLE_GOOD
                  : closed ? TABLE_FAINT
                           : TABLE_BAD,
                  "%s", shard->state);
        table_add(&table, TABLE_PLAIN, "%s", shard->leader[0] != '\0' ? shard->leader : "none");
        table_add(&table, TABLE_PLAIN, "%u", shard->epoch);
        if (shard->status_known) {
            table_add(&table, TABLE_PLAIN, "%" PRIu64, shard->commit);
        } else {
            table_add(&table, TABLE_BAD, "?");
        }
        if (shard->parent_count == 2) {
            table_add(&table, TABLE_FAINT, "%u %u", shard->parents[0], shard->parents[1]);
        } else if (shard->parent_count == 1) {
            table_add(&table, TABLE_FAINT, "%u", shard->parents[0]);
        } else {
            table_add(&table, TABLE_FAINT, "-");
        }
        for (uint32_t j = 0; j < REPLICAS; j++) {
            if (j < shard->replica_count) {
                add_replica(&table, &shard->replicas[j]);
            } else {
                table_add(&table, TABLE_PLAIN, "-");
            }
        }
    }
    return program_print_table(program, &table);
}

static int describe(struct program *program, const char *name, bool with_stream)
{
    struct weir_error error;
    struct weir_stream *stream;
    if (weir_stream_describe(program->client, name, true, program->timeout_ms, &stream, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    int code = EXIT_CODE_OK;
    if (program->json) {
        code = shards_as_json(program, stream, with_stream);
    } else {
        if (with_stream) {
            char created[TEXT_TIME_BYTES];
            text_time(stream->created_ms, created);
            (void)printf("stream     %s\nstate      %s\nshards     %u\nretention  %u h\n"
                         "created    %s\nmetadata   version %" PRIu64 "\n\n",
                         stream->name, weir_stream_state_name(stream->state), stream->shard_count,
                         stream->retention_hours, created, stream->version);
        }
        code = shards_as_table(program, stream);
    }
    weir_stream_free(stream);
    return code;
}

int run_stream_describe(struct program *program, const char *const *words)
{
    return describe(program, words[0], true);
}

int run_shard_list(struct program *program, const char *const *words)
{
    return describe(program, words[0], false);
}
