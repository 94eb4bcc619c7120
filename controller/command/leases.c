/* Who reads what: workers come and go, leases get owners, streams and shards appear and disappear.
 * The active controller decides (controller/lease); here is what holds whoever decides. */
#include "controller/command/leases.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "controller/lease/mutant.h"

bool lease_name_is_good(const char *what, const char *name, const char *more,
                        struct db_result *result)
{
    char allowed[80];
    (void)snprintf(allowed, sizeof(allowed),
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-%s", more);
    size_t length = strlen(name);
    if (length >= 1 && length < DB_LEASE_NAME_BYTES && strspn(name, allowed) == length) {
        return true;
    }
    command_refuse(result, STATUS_INVALID,
                   "%s's name has 1 to %d characters of a-z A-Z 0-9 _ . -%s", what,
                   DB_LEASE_NAME_BYTES - 1, more[0] == '\0' ? "" : " : / @");
    return false;
}

bool lease_initial_is_good(const Weir__LeasePosition *in, struct db_position *out,
                           struct db_result *result)
{
    *out = (struct db_position){0};
    if (in == NULL) {
        return true; /* TRIM_HORIZON */
    }
    if (in->type != WEIR__LEASE_POSITION_TYPE__LEASE_TRIM_HORIZON &&
        in->type != WEIR__LEASE_POSITION_TYPE__LEASE_LATEST &&
        in->type != WEIR__LEASE_POSITION_TYPE__LEASE_AT_TIMESTAMP) {
        command_refuse(result, STATUS_INVALID,
                       "a stream is begun at TRIM_HORIZON, LATEST or AT_TIMESTAMP");
        return false;
    }
    out->type = (enum db_position_type)in->type;
    if (out->type == DB_AT_TIMESTAMP) {
        if (in->timestamp_ms > INT64_MAX) {
            command_refuse(result, STATUS_INVALID, "no such time: %llu ms",
                           (unsigned long long)in->timestamp_ms);
            return false;
        }
        out->timestamp_ms = in->timestamp_ms;
    }
    return true;
}

void lease_give(struct db *db, struct db_lease *lease, uint64_t worker)
{
    lease->worker = worker;
    lease->counter = db_lease_number_take(db);
    lease->owned_ms = db_meta(db)->time_ms;
    db_lease_put(db, lease);
}

void lease_worker_remove(struct db *db, const struct db_lease_worker *worker)
{
    struct db_lease lease = {0};
    uint64_t from = 0;
    while (db_lease_of_worker(db, worker->application, worker->id, from, &lease)) {
        lease_give(db, &lease, 0);
        from = lease.shard + 1;
    }
    db_lease_worker_delete(db, worker);
}

/* ---- streams and their shards
 * ---------------------------------------------------------------------- */

struct beginning {
    struct db *db;
    uint64_t application;
    struct db_position initial;
    uint32_t from; /* shards below this number are not new */
    bool all_from_horizon;
    uint32_t made;
};

static void begin_shard(const struct db_shard *shard, void *context)
{
    struct beginning *b = context;
    const struct db_lineage *lineage = &shard->lineage;
    struct db_lease lease = {.application = b->application, .shard = shard->id};
    if (shard->phase == DB_SHARD_DELETED || (uint32_t)shard->id < b->from) {
        return;
    }
    if (!b->all_from_horizon) {
        bool closed = lineage->state == DB_SHARD_CLOSED;
        if (closed &&
            (b->initial.type == DB_LATEST || (b->initial.type == DB_AT_TIMESTAMP &&
                                              lineage->closed_ms < b->initial.timestamp_ms))) {
            return; /* nothing to read in it */
        }
        /* Whoever reads a shard to its end misses nothing of its children. */
        if (lineage->state != DB_SHARD_WAITING) {
            lease.checkpoint = b->initial;
        }
    }
    lease_give(b->db, &lease, 0);
    b->made++;
}

uint32_t lease_stream_begin(struct db *db, uint64_t application, const struct db_stream *stream,
                            struct db_position initial)
{
    struct beginning b = {.db = db, .application = application, .initial = initial};
    db_shard_each(db, stream->id, begin_shard, &b);
    db_lease_stream_put(db, application,
                        &(struct db_lease_stream){.stream = stream->id,
                                                  .initial = initial,
                                                  .next_shard = stream->shard_count});
    return b.made;
}

/* Shards that splits and merges have made since. */
static void grow(struct db *db, uint64_t application, uint32_t stream_id)
{
    struct db_stream stream;
    struct db_lease_stream row;
    if (!db_stream_get(db, stream_id, &stream) ||
        !db_lease_stream_get(db, application, stream_id, &row) ||
        row.next_shard >= stream.shard_count) {
        return;
    }
    struct beginning b = {
        .db = db, .application = application, .from = row.next_shard, .all_from_horizon = true};
    db_shard_each(db, stream_id, begin_shard, &b);
    row.next_shard = stream.shard_count;
    db_lease_stream_put(db, application, &row);
}

/* ---- joining
 * --------------------------------------------------------------------------------------- */

static bool streams_are_good(struct db *db, const Weir__CmdLeaseJoin *in, struct db_result *result)
{
    struct db_stream stream;
    struct db_position initial;
    if (in->n_streams < 1 || in->n_streams > COMMAND_LEASE_STREAMS_MAX) {
        command_refuse(result, in->n_streams < 1 ? STATUS_INVALID : STATUS_LIMIT,
                       "a worker reads 1 to %d streams", COMMAND_LEASE_STREAMS_MAX);
        return false;
    }
    for (size_t i = 0; i < in->n_streams; i++) {
        if (!command_name_is_good(in->streams[i]->name, result) ||
            !lease_initial_is_good(in->streams[i]->initial, &initial, result)) {
            return false;
        }
        bool there =
            db_stream_find(db, in->streams[i]->name, &stream) && stream.state != DB_STREAM_DELETING;
        if (!there && !in->lenient) {
            command_refuse(result, STATUS_NOT_FOUND, "there is no stream %s", in->streams[i]->name);
            return false;
        }
    }
    return true;
}

static bool join_is_good(struct db *db, const Weir__CmdLeaseJoin *in,
                         const struct db_application *application, struct db_result *result)
{
    struct db_lease_worker worker;
    bool known = application->id != 0;
    if (!known && db_application_count(db) >= COMMAND_APPLICATIONS_MAX) {
        command_refuse(result, STATUS_LIMIT,
                       "there are %d applications already: delete one that is not used any more",
                       COMMAND_APPLICATIONS_MAX);
        return false;
    }
    if (known && in->worker[0] != '\0' &&
        !db_lease_worker_find(db, application->id, in->worker, &worker) &&
        db_lease_worker_count(db, application->id) >= COMMAND_LEASE_WORKERS_MAX) {
        command_refuse(result, STATUS_LIMIT, "application %s has %d workers already",
                       application->name, COMMAND_LEASE_WORKERS_MAX);
        return false;
    }
    return true;
}

static void join_worker(struct db *db, const Weir__CmdLeaseJoin *in, uint64_t application)
{
    struct db_lease_worker worker = {0};
    if (db_lease_worker_find(db, application, in->worker, &worker)) {
        if (memcmp(worker.incarnation, in->incarnation.data, DB_INCARNATION_BYTES) == 0) {
            return;
        }
        lease_worker_remove(db, &worker);
    }
    worker = (struct db_lease_worker){.id = db_lease_number_take(db),
                                      .application = application,
                                      .joined_ms = db_meta(db)->time_ms};
    (void)snprintf(worker.name, sizeof(worker.name), "%s", in->worker);
    memcpy(worker.incarnation, in->incarnation.data, DB_INCARNATION_BYTES);
    db_lease_worker_put(db, &worker);
}

static void join_streams(struct db *db, const Weir__CmdLeaseJoin *in,
                         const struct db_application *application, struct db_result *result)
{
    struct db_stream stream;
    struct db_lease_stream row;
    struct db_position initial;
    for (size_t i = 0; i < in->n_streams; i++) {
        if (!db_stream_find(db, in->streams[i]->name, &stream) ||
            stream.state == DB_STREAM_DELETING ||
            db_lease_stream_get(db, application->id, stream.id, &row) ||
            !lease_initial_is_good(in->streams[i]->initial, &initial, result)) {
            continue;
        }
        /* More than a worker may name: of workers that name different ones. */
        if (db_lease_stream_count(db, application->id) >= COMMAND_APPLICATION_STREAMS_MAX) {
            command_refuse(result, STATUS_LIMIT, "application %s has %d streams already",
                           application->name, COMMAND_APPLICATION_STREAMS_MAX);
            return;
        }
        (void)lease_stream_begin(db, application->id, &stream, initial);
    }
}

void command_lease_join(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdLeaseJoin *in = command->lease_join;
    struct db_application application = {0};
    bool joins = in->worker[0] != '\0';
    if (!lease_name_is_good("an application", in->application, "", result) ||
        (joins && !lease_name_is_good("a worker", in->worker, ":/@", result))) {
        return;
    }
    if (joins && in->incarnation.len != DB_INCARNATION_BYTES) {
        command_refuse(result, STATUS_INVALID, "an incarnation has %d bytes", DB_INCARNATION_BYTES);
        return;
    }
    bool known = db_application_find(db, in->application, &application);
    if (!known && !joins) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no application %s", in->application);
        return;
    }
    if (!streams_are_good(db, in, result) || !join_is_good(db, in, &application, result)) {
        return;
    }
    if (!known) {
        application.id = db_lease_number_take(db);
        application.created_ms = db_meta(db)->time_ms;
        (void)snprintf(application.name, sizeof(application.name), "%s", in->application);
        db_application_put(db, &application);
    }
    join_streams(db, in, &application, result);
    if (joins && result->status == STATUS_OK) {
        join_worker(db, in, application.id);
    }
}

/* ---- the active controller's decisions
 * ------------------------------------------------------------- */

void command_lease_gone(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdLeaseGone *in = command->lease_gone;
    struct db_lease_worker worker;
    for (size_t i = 0; i < in->n_workers; i++) {
        if (db_lease_worker_get(db, in->workers[i], &worker) &&
            worker.application == in->application) {
            lease_worker_remove(db, &worker);
        }
    }
}

static void assign(struct db *db, uint64_t application, const Weir__CmdLeaseChange__Assign *in)
{
    struct db_lease lease;
    struct db_lease_worker worker;
    if (!db_lease_get(db, application, in->shard, &lease) ||
        (lease.counter != in->counter && !LEASE_MUTANT(MUTANT_ASSIGN_IGNORES_COUNTER)) ||
        lease.checkpoint.type == DB_SHARD_END || lease.worker == in->worker) {
        return; /* somebody was faster */
    }
    if (in->worker != 0 &&
        (!db_lease_worker_get(db, in->worker, &worker) || worker.application != application)) {
        return;
    }
    lease_give(db, &lease, in->worker);
}

static void remove_shard(struct db *db, uint64_t application, uint64_t id)
{
    struct db_shard shard;
    struct db_lease lease;
    bool kept = db_shard_get(db, id, &shard) && shard.phase != DB_SHARD_DELETED;
    if (!kept && db_lease_get(db, application, id, &lease)) {
        db_lease_delete(db, application, id);
    }
}

static bool remove_lease(const struct db_lease *lease, void *context)
{
    db_lease_delete(context, lease->application, lease->shard);
    return true;
}

static void remove_stream(struct db *db, uint64_t application, uint32_t id)
{
    struct db_stream stream;
    struct db_lease_stream row;
    bool kept = db_stream_get(db, id, &stream) && stream.state != DB_STREAM_DELETING;
    if (!kept && id < INT32_MAX && db_lease_stream_get(db, application, id, &row)) {
        db_lease_each(db, application, db_shard_id(id, 0), db_shard_id(id + 1, 0), remove_lease,
                      db);
        db_lease_stream_delete(db, application, id);
    }
}

void command_lease_change(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdLeaseChange *in = command->lease_change;
    struct db_application application;
    if (!db_application_get(db, in->application, &application)) {
        return;
    }
    for (size_t i = 0; i < in->n_assigns; i++) {
        assign(db, in->application, in->assigns[i]);
    }
    for (size_t i = 0; i < in->n_grown_streams; i++) {
        grow(db, in->application, in->grown_streams[i]);
    }
    for (size_t i = 0; i < in->n_gone_shards; i++) {
        remove_shard(db, in->application, in->gone_shards[i]);
    }
    for (size_t i = 0; i < in->n_gone_streams; i++) {
        remove_stream(db, in->application, in->gone_streams[i]);
    }
}
