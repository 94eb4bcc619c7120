/* After the restore of a backup: shards may exist that the rows do not have, because they were made
 * by a split or merge after the backup was taken. Their numbers must not be given out again: their
 * records lie on brokers, and in the hands of those who have read them. So no shard gets a number
 * before every broker has told what it holds; numbers that are found become rows of shards that are
 * gone, without replicas (docs/replication.md R16: they delete nothing). */
#include <stdio.h>
#include <stdlib.h>

#include "controller/command/internal.h"
#include "controller/command/reshard.h"

enum { NAMED_MAX = 8 };

bool command_waits_for_held(struct db *db, struct db_result *result)
{
    uint32_t brokers[NAMED_MAX];
    size_t count = db_restored_each(db, brokers, NAMED_MAX);
    if (count == 0) {
        return false;
    }
    char names[NAMED_MAX * NODE_NAME_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%sbroker-%u",
                                 i == 0 ? "" : ", ", brokers[i]);
    }
    command_refuse(result, STATUS_IN_USE,
                   "the state was restored from a backup, and shards that were made after it are "
                   "not known: %s%s must tell first what they hold. Start them, or, if they are "
                   "gone for good, weirctl broker replace and remove them",
                   names, count == NAMED_MAX ? " and perhaps others" : "");
    return true;
}

static void use_up(struct db *db, const Weir__HeldStream *in)
{
    struct db_stream stream;
    if (!db_stream_get(db, in->stream, &stream) || stream.state == DB_STREAM_DELETING ||
        in->number < stream.shard_count || in->number >= RESHARD_SHARDS_EVER_MAX) {
        return;
    }
    for (uint32_t number = stream.shard_count; number <= in->number; number++) {
        struct db_shard shard = {
            .id = db_shard_id(stream.id, number),
            .phase = DB_SHARD_DELETED,
            .granted = true,
            .lineage = {.state = DB_SHARD_CLOSED, .closed_ms = db_meta(db)->time_ms},
        };
        db_shard_put(db, &shard);
        db_shard_lineage_put(db, &shard);
    }
    stream.shard_count = in->number + 1;
    db_stream_put(db, &stream);
}

struct resumed {
    struct db *db;
    struct db_result *result;
    uint32_t *streams;
    size_t count, capacity;
};

static void note_stream(const struct db_stream *stream, void *context)
{
    struct resumed *r = context;
    uint32_t target;
    if (r->count < r->capacity && db_reshard_get(r->db, stream->id, &target)) {
        r->streams[r->count++] = stream->id;
    }
}

static void count_stream(const struct db_stream *stream, void *context)
{
    (void)stream;
    ((struct resumed *)context)->capacity++;
}

/* What was on its way to another number of shards goes on. */
static void resume(struct db *db, struct db_result *result)
{
    struct resumed r = {.db = db, .result = result};
    db_stream_each(db, count_stream, &r);
    r.streams = calloc(r.capacity + 1, sizeof(*r.streams));
    if (r.streams == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    db_stream_each(db, note_stream, &r);
    for (size_t i = 0; i < r.count; i++) {
        command_reshard_advance(db, r.streams[i], result);
    }
    free(r.streams);
}

void command_held_told(struct db *db, uint32_t broker, struct db_result *result)
{
    uint64_t version;
    uint32_t any;
    if (db_restored_waits(db, broker, &version)) {
        db_restored_told(db, broker);
        if (db_restored_each(db, &any, 1) == 0) {
            resume(db, result);
        }
    }
}

void command_held_shards(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdHeldShards *in = command->held_shards;
    for (size_t i = 0; i < in->n_streams; i++) {
        use_up(db, in->streams[i]);
    }
    if (in->last) {
        command_held_told(db, in->broker, result);
    }
}
