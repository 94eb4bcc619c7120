/* Checkpoints move only forward, and only by the owner with its present counter; operators may
 * reset them, which takes the lease from its owner first (docs/leases.md). */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/command/leases.h"
#include "controller/lease/mutant.h"

/* ---- checkpoints
 * ----------------------------------------------------------------------------------- */

/* Positions that are not an offset are below every one. */
static int rank_of(enum db_position_type type)
{
    return type == DB_SHARD_END ? 2 : type == DB_AT_OFFSET ? 1 : 0;
}

static bool is_below(const struct db_position *a, const struct db_position *b)
{
    int ra = rank_of(a->type), rb = rank_of(b->type);
    if (ra != rb || ra != 1) {
        return ra < rb;
    }
    return a->offset != b->offset ? a->offset < b->offset : a->sub_sequence < b->sub_sequence;
}

/* False: not a position that an owner may store. */
static bool read_position(const Weir__LeasePosition *in, struct db_position *out)
{
    bool end = in->type == WEIR__LEASE_POSITION_TYPE__LEASE_SHARD_END;
    if (!end &&
        (in->type != WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET || in->offset > INT64_MAX)) {
        return false;
    }
    *out = (struct db_position){.type = end ? DB_SHARD_END : DB_AT_OFFSET,
                                .offset = end ? 0 : in->offset,
                                .sub_sequence = end ? 0 : in->sub_sequence};
    return true;
}

static bool is_closed(struct db *db, uint64_t id)
{
    struct db_shard shard;
    /* A reader may know that the SEAL is committed before we do. */
    return !db_shard_get(db, id, &shard) || shard.phase == DB_SHARD_DELETED ||
           shard.lineage.state == DB_SHARD_SEALING || shard.lineage.state == DB_SHARD_CLOSED;
}

static enum status judge(struct db *db, const struct db_lease_worker *worker,
                         const Weir__LeaseCheckpointItem *item)
{
    struct db_lease lease;
    struct db_position to = {0}, pending = {0};
    bool moves = item->checkpoint != NULL, waits = item->pending != NULL;
    if (!db_lease_get(db, worker->application, item->shard, &lease) ||
        (lease.counter != item->counter && !LEASE_MUTANT(MUTANT_UNFENCED_CHECKPOINT))) {
        return STATUS_FENCED;
    }
    if ((!moves && !waits) || (moves && !read_position(item->checkpoint, &to)) ||
        (waits && !read_position(item->pending, &pending))) {
        return STATUS_INVALID;
    }
    if (lease.worker != worker->id) { /* with this counter it can only have finished */
        return moves && to.type == DB_SHARD_END && lease.checkpoint.type == DB_SHARD_END
                   ? STATUS_OK
                   : STATUS_FENCED;
    }
    const struct db_position *least = moves ? &to : &lease.checkpoint;
    if ((moves && is_below(&to, &lease.checkpoint) && !LEASE_MUTANT(MUTANT_CHECKPOINT_GOES_BACK)) ||
        (waits && is_below(&pending, least))) {
        return STATUS_INVALID;
    }
    if (moves && to.type == DB_SHARD_END && !is_closed(db, item->shard)) {
        return STATUS_VALIDATION;
    }
    if (moves) {
        lease.checkpoint = to;
        lease.checkpoint_ms = db_meta(db)->time_ms;
    }
    lease.has_pending = waits && to.type != DB_SHARD_END;
    lease.pending = pending;
    if (to.type == DB_SHARD_END) {
        lease.worker = 0; /* it keeps its counter: who repeats this is told the same again */
        lease.owned_ms = db_meta(db)->time_ms;
    }
    db_lease_put(db, &lease);
    return STATUS_OK;
}

/* Refuses who is not in. */
static bool find_worker(struct db *db, const Weir__LeaseCheckpoint *in,
                        struct db_lease_worker *worker, struct db_result *result)
{
    struct db_application application;
    if (!db_application_find(db, in->application, &application) ||
        !db_lease_worker_find(db, application.id, in->worker, worker)) {
        command_refuse(result, STATUS_EXPIRED,
                       "worker %s of application %s is not in: it was silent for too long, or the "
                       "application was deleted; join again",
                       in->worker, in->application);
        return false;
    }
    if (in->incarnation.len != DB_INCARNATION_BYTES ||
        memcmp(in->incarnation.data, worker->incarnation, DB_INCARNATION_BYTES) != 0) {
        command_refuse(result, STATUS_FENCED,
                       "another process has joined application %s as worker %s: give every process "
                       "a name of its own",
                       in->application, in->worker);
        return false;
    }
    return true;
}

void command_lease_checkpoint(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__LeaseCheckpoint *in = command->lease_checkpoint->checkpoint;
    struct db_lease_worker worker;
    Weir__LeaseCheckpointReply reply = WEIR__LEASE_CHECKPOINT_REPLY__INIT;
    if (in->n_items < 1 || in->n_items > COMMAND_CHECKPOINT_ITEMS_MAX) {
        command_refuse(result, STATUS_INVALID, "a call has 1 to %d checkpoints",
                       COMMAND_CHECKPOINT_ITEMS_MAX);
        return;
    }
    if (!find_worker(db, in, &worker, result)) {
        return;
    }
    uint32_t results[COMMAND_CHECKPOINT_ITEMS_MAX];
    for (size_t i = 0; i < in->n_items; i++) {
        results[i] = (uint32_t)judge(db, &worker, in->items[i]);
    }
    reply.results = results;
    reply.n_results = in->n_items;
    command_answer(result, &reply.base);
}

/* ---- operators
 * ------------------------------------------------------------------------------------- */

struct reset {
    struct db *db;
    uint64_t application;
    struct db_position position;
    const char *stream; /* "": all */
    bool found;
    uint32_t changed;
    struct db_lease_stream rows[COMMAND_APPLICATION_STREAMS_MAX];
    size_t count;
};

static void collect_stream(const struct db_lease_stream *row, void *context)
{
    struct reset *reset = context;
    if (reset->count < COMMAND_APPLICATION_STREAMS_MAX) {
        reset->rows[reset->count++] = *row;
    }
}

static bool forget_lease(const struct db_lease *lease, void *context)
{
    db_lease_delete(context, lease->application, lease->shard);
    return true;
}

static void reset_stream(struct reset *reset, uint32_t id)
{
    struct db_stream stream;
    if (!db_stream_get(reset->db, id, &stream) || stream.state == DB_STREAM_DELETING ||
        (reset->stream[0] != '\0' && strcmp(reset->stream, stream.name) != 0)) {
        return;
    }
    reset->found = true;
    db_lease_each(reset->db, reset->application, db_shard_id(id, 0), db_shard_id(id + 1, 0),
                  forget_lease, reset->db);
    reset->changed += lease_stream_begin(reset->db, reset->application, &stream, reset->position);
}

static void reset_shard(struct reset *reset, uint64_t shard, struct db_result *result)
{
    struct db_lease lease;
    if (!db_lease_get(reset->db, reset->application, shard, &lease)) {
        command_refuse(result, STATUS_NOT_FOUND,
                       "the application has no lease of shardId-%012u of that stream",
                       (unsigned)shard);
        return;
    }
    lease.checkpoint = reset->position;
    lease.has_pending = false;
    lease.checkpoint_ms = 0;
    lease_give(reset->db, &lease, 0);
    reset->changed = 1;
}

static void reset_application(struct db *db, const Weir__AppControl *in,
                              const struct db_application *application, struct db_result *result)
{
    struct reset reset = {.db = db, .application = application->id, .stream = in->stream};
    bool at_offset =
        in->position != NULL && in->position->type == WEIR__LEASE_POSITION_TYPE__LEASE_AT_OFFSET;
    if (at_offset && in->has_shard) {
        if (!read_position(in->position, &reset.position)) {
            command_refuse(result, STATUS_INVALID, "no such offset");
            return;
        }
    } else if (at_offset) {
        command_refuse(result, STATUS_INVALID,
                       "an offset is a place in one shard: name the shard that is reset to it");
        return;
    } else if (!lease_initial_is_good(in->position, &reset.position, result)) {
        return;
    }
    if (in->has_shard) {
        reset_shard(&reset, in->shard, result);
    } else {
        db_lease_stream_each(db, application->id, collect_stream, &reset);
        for (size_t i = 0; i < reset.count; i++) {
            reset_stream(&reset, reset.rows[i].stream);
        }
        if (!reset.found) {
            command_refuse(result, STATUS_NOT_FOUND, "application %s reads no stream %s",
                           application->name, in->stream);
        }
    }
    if (result->status == STATUS_OK) {
        Weir__AppReply reply = WEIR__APP_REPLY__INIT;
        reply.changed = reset.changed;
        command_answer(result, &reply.base);
    }
}

void command_app_control(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__AppControl *in = command->app_control->control;
    struct db_application application;
    if (!db_application_find(db, in->application, &application)) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no application %s", in->application);
        return;
    }
    if (in->action == WEIR__APP_CONTROL__ACTION__RESET) {
        reset_application(db, in, &application, result);
        return;
    }
    uint64_t workers = db_lease_worker_count(db, application.id);
    if (in->action != WEIR__APP_CONTROL__ACTION__DELETE) {
        command_refuse(result, STATUS_INVALID, "nothing that can be done with an application");
    } else if (workers > 0 && !in->force) {
        command_refuse(result, STATUS_IN_USE,
                       "application %s has %llu workers: stop them first, or force it",
                       application.name, (unsigned long long)workers);
    } else {
        db_application_delete(db, application.id);
        Weir__AppReply reply = WEIR__APP_REPLY__INIT;
        command_answer(result, &reply.base);
    }
}
