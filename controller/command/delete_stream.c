/* A stream goes: its shards are DELETED at once, and every broker that holds a replica owes its
 * deletion (docs/replication.md R16). The stream's rows go when all brokers alive have confirmed.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "controller/command/internal.h"

/* Adds to the drops what a configuration's brokers hold. */
static void drop_replicas(struct db *db, uint64_t shard, const struct db_config *config)
{
    for (uint32_t v = 0; v < config->voter_count; v++) {
        db_drop_put(db, config->voter[v].broker, shard);
    }
}

void command_drop_shard(struct db *db, const struct db_shard *shard)
{
    drop_replicas(db, shard->id, &shard->cfg);
    drop_replicas(db, shard->id, &shard->prev_cfg);
    if (shard->move.state != 0) {
        struct db_shard still = *shard;
        still.move = (struct db_move){0};
        db_drop_put(db, shard->move.to.broker, shard->id);
        bool joined = false;
        for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
            joined = joined || (shard->cfg.voter[v].broker == shard->move.to.broker &&
                                shard->cfg.voter[v].disk_gen == shard->move.to.disk_gen);
        }
        db_broker_load_add(db, joined ? shard->move.from.broker : shard->move.to.broker, -1, 0);
        db_shard_move_put(db, &still);
    }
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        db_broker_load_add(db, shard->cfg.voter[v].broker, -1, 0);
    }
    db_broker_load_add(db, shard->preferred, 0, -1);
    struct db_shard row = *shard;
    row.phase = DB_SHARD_DELETED;
    row.leader = (struct db_replica){0};
    row.leader_boot = 0;
    db_shard_put(db, &row);
}

static void delete_shard(const struct db_shard *shard, void *context)
{
    if (shard->phase != DB_SHARD_DELETED) { /* else it has expired before */
        command_drop_shard(context, shard);
    }
}

void command_begin_deletion(struct db *db, struct db_stream *stream, struct db_result *result)
{
    stream->state = DB_STREAM_DELETING;
    db_stream_put(db, stream);
    db_reshard_delete(db, stream->id);
    db_shard_each(db, stream->id, delete_shard, db);
    command_answer_stream(db, result, stream);
    command_finish_deletions(db); /* nobody who holds it may be alive */
}

void command_delete_stream(struct db *db, const Weir__Command *command, struct db_result *result)
{
    struct db_stream stream;
    if (!command_name_is_good(command->delete_stream->name, result)) {
        return;
    }
    if (!db_stream_find(db, command->delete_stream->name, &stream)) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no stream %s",
                       command->delete_stream->name);
        return;
    }
    if (stream.state == DB_STREAM_DELETING) {
        command_refuse(result, STATUS_BUSY, "stream %s is being deleted already", stream.name);
        return;
    }
    command_begin_deletion(db, &stream, result);
}

struct deleting {
    uint32_t *id;
    size_t count, capacity;
};

static void add_deleting(const struct db_stream *stream, void *context)
{
    struct deleting *deleting = context;
    if (stream->state != DB_STREAM_DELETING) {
        return;
    }
    if (deleting->count == deleting->capacity) {
        size_t capacity = deleting->capacity == 0 ? 64 : 2 * deleting->capacity;
        uint32_t *grown = realloc(deleting->id, capacity * sizeof(*grown));
        CHECK(grown != NULL); /* half a list would make controllers differ */
        deleting->id = grown;
        deleting->capacity = capacity;
    }
    deleting->id[deleting->count++] = stream->id;
}

static void deleting_release(struct deleting *deleting)
{
    free(deleting->id);
}

void command_finish_deletions(struct db *db)
{
    AUTO(deleting_release) struct deleting deleting = {0};
    db_stream_each(db, add_deleting, &deleting);
    for (size_t i = 0; i < deleting.count; i++) {
        if (!db_stream_has_drops(db, deleting.id[i])) {
            db_stream_delete(db, deleting.id[i]);
        }
    }
}
