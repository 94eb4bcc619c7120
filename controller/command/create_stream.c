/* A new stream: its shards, their places, and the first epoch of each, in one step. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/internal.h"
#include "controller/placement/placement.h"

bool command_name_is_good(const char *name, struct db_result *result)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t length = strlen(name);
    if (length >= 1 && length <= STREAM_NAME_MAX && strspn(name, allowed) == length) {
        return true;
    }
    command_refuse(result, STATUS_INVALID,
                   "a stream's name has 1 to %d characters of a-z A-Z 0-9 _ . -", STREAM_NAME_MAX);
    return false;
}

void command_answer_stream(struct db *db, struct db_result *result, const struct db_stream *stream)
{
    /* Not const there, and not changed. */
    char name[STREAM_NAME_MAX + 1];
    memcpy(name, stream->name, sizeof(name));
    Weir__StreamInfo info;
    weir__stream_info__init(&info);
    info.id = stream->id;
    info.name = name;
    info.state = (Weir__StreamState)stream->state;
    info.created_ms = stream->created_ms;
    info.retention_hours = stream->retention_hours;
    info.shard_count = stream->shard_count;
    Weir__StreamReply reply = WEIR__STREAM_REPLY__INIT;
    reply.stream = &info;
    reply.version = db_next_version(db);
    command_answer(result, &reply.base);
}

static bool request_is_good(struct db *db, const Weir__CmdCreateStream *in,
                            struct db_result *result)
{
    struct db_stream other;
    if (!command_name_is_good(in->name, result)) {
        return false;
    }
    if (in->shards < 1 || in->shards > SHARDS_PER_STREAM_MAX) {
        command_refuse(result, STATUS_INVALID, "a stream has 1 to %d shards",
                       SHARDS_PER_STREAM_MAX);
        return false;
    }
    if (in->retention_hours > COMMAND_RETENTION_HOURS_MAX) {
        command_refuse(result, STATUS_INVALID, "records are kept for 1 to %d hours",
                       COMMAND_RETENTION_HOURS_MAX);
        return false;
    }
    if (db_stream_find(db, in->name, &other)) {
        command_refuse(result, STATUS_EXISTS,
                       other.state == DB_STREAM_DELETING ? "stream %s is still being deleted"
                                                         : "there is a stream %s already",
                       in->name);
        return false;
    }
    return true;
}

struct alive_brokers {
    struct db_broker *row;
    struct placement_broker *broker;
    uint32_t count, capacity;
    bool failed;
};

static void add_alive(const struct db_broker *broker, void *context)
{
    struct alive_brokers *alive = context;
    if (!broker->alive || alive->failed) {
        return;
    }
    if (alive->count == alive->capacity) {
        uint32_t capacity = alive->capacity == 0 ? 16 : 2 * alive->capacity;
        struct db_broker *grown = realloc(alive->row, capacity * sizeof(*grown));
        if (grown == NULL) {
            alive->failed = true;
            return;
        }
        alive->row = grown;
        alive->capacity = capacity;
    }
    alive->row[alive->count++] = *broker;
}

static void alive_release(struct alive_brokers *alive)
{
    free(alive->row);
    free(alive->broker);
}

static void alive_load(struct db *db, struct alive_brokers *alive)
{
    db_broker_each(db, add_alive, alive);
    alive->broker = calloc((size_t)alive->count + 1, sizeof(*alive->broker));
    alive->failed = alive->failed || alive->broker == NULL;
    for (uint32_t i = 0; i < alive->count && !alive->failed; i++) {
        alive->broker[i] = (struct placement_broker){
            .id = alive->row[i].id,
            .zone = alive->row[i].zone,
            .replicas = alive->row[i].replicas,
            .preferred = alive->row[i].preferred,
        };
    }
}

static uint32_t disk_gen_of(const struct alive_brokers *alive, uint32_t broker)
{
    for (uint32_t i = 0; i < alive->count; i++) {
        if (alive->row[i].id == broker) {
            return alive->row[i].disk_gen;
        }
    }
    return 0;
}

static void put_shard(struct db *db, const struct db_stream *stream, uint32_t number,
                      const struct alive_brokers *alive, const struct placement_choice *choice)
{
    struct db_shard shard = {
        .id = db_shard_id(stream->id, number),
        .range = hash_range_of(number, stream->shard_count),
        .created_s = stream->created_ms / 1000,
        .phase = DB_SHARD_ELECTING,
        .epoch = 1,
        .generation = 0,
        .preferred = choice->broker[0],
        .cfg = {.version = 1, .voter_count = REPLICAS_PER_SHARD},
    };
    for (uint32_t r = 0; r < REPLICAS_PER_SHARD; r++) {
        shard.cfg.voter[r] = (struct db_replica){.broker = choice->broker[r],
                                                 .disk_gen = disk_gen_of(alive, choice->broker[r])};
    }
    db_shard_put(db, &shard);
    db_shard_configs_put(db, &shard);
}

/* Only what the choices added to each broker. */
static void put_loads(struct db *db, const struct alive_brokers *alive)
{
    for (uint32_t i = 0; i < alive->count; i++) {
        uint32_t replicas = alive->broker[i].replicas - alive->row[i].replicas;
        uint32_t preferred = alive->broker[i].preferred - alive->row[i].preferred;
        if (replicas != 0 || preferred != 0) {
            db_broker_load_add(db, alive->row[i].id, replicas, preferred);
        }
    }
}

void command_create_stream(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdCreateStream *in = command->create_stream;
    if (!request_is_good(db, in, result)) {
        return;
    }
    AUTO(alive_release) struct alive_brokers alive = {0};
    alive_load(db, &alive);
    AUTO(free_pointer)
    struct placement_choice *choices = calloc(in->shards, sizeof(*choices));
    if (alive.failed || choices == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    struct error error;
    enum status status = placement_choose(alive.broker, alive.count, in->shards,
                                          in->allow_fewer_zones, choices, &error);
    if (status != STATUS_OK) {
        command_refuse(result, status, "%s", error.text);
        return;
    }
    struct db_stream stream = {
        .id = db_stream_id_take(db),
        .state = DB_STREAM_CREATING,
        .created_ms = db_meta(db)->time_ms,
        .retention_hours = in->retention_hours == 0 ? COMMAND_RETENTION_HOURS : in->retention_hours,
        .shard_count = in->shards,
        .waiting = in->shards,
    };
    memcpy(stream.name, in->name, strlen(in->name) + 1);
    db_stream_put(db, &stream);
    for (uint32_t s = 0; s < in->shards; s++) {
        put_shard(db, &stream, s, &alive, &choices[s]);
    }
    put_loads(db, &alive);
    command_answer_stream(db, result, &stream);
}
