/* The shell around the lease core (controller/lease): rows in, commands out; and the calls of
 * consumers. The core decides, rows are the truth (docs/leases.md). */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"
#include "controller/rpc/leases.h"

static_assert((int)LEASE_NAME_BYTES == DB_LEASE_NAME_BYTES &&
                  (int)LEASE_INCARNATION_BYTES == DB_INCARNATION_BYTES &&
                  (int)LEASE_PARENTS_MAX == DB_PARENTS_MAX &&
                  (int)LEASE_STREAMS_MAX == COMMAND_LEASE_STREAMS_MAX,
              "rows are copied");

enum { CHANGE_ITEMS_MAX = 1000 };

/* ---- rows into the core
 * ---------------------------------------------------------------------------- */

static void feed(struct controller *c, const struct lease_input *input)
{
    enum status status = lease_step(c->leases, controller_now(c), input, &c->lease_effects);
    if (status == STATUS_NO_MEMORY) {
        trace(TRACE_ERROR, "leases", "out of memory");
    }
}

struct snapshot {
    struct lease_worker_row *worker;
    struct lease_stream_row *stream;
    size_t worker_count, stream_count, worker_capacity, stream_capacity;
};

static void add_worker(const struct db_lease_worker *row, void *context)
{
    struct snapshot *snapshot = context;
    if (snapshot->worker_count < snapshot->worker_capacity) {
        struct lease_worker_row *worker = &snapshot->worker[snapshot->worker_count++];
        worker->id = row->id;
        memcpy(worker->name, row->name, sizeof(worker->name));
        memcpy(worker->incarnation, row->incarnation, sizeof(worker->incarnation));
    }
}

static void add_stream(const struct db_lease_stream *row, void *context)
{
    struct snapshot *snapshot = context;
    if (snapshot->stream_count < snapshot->stream_capacity) {
        snapshot->stream[snapshot->stream_count++] =
            (struct lease_stream_row){.stream = row->stream, .next_shard = row->next_shard};
    }
}

static void feed_application(struct controller *c, uint64_t id)
{
    struct db_application row;
    if (!db_application_get(c->db, id, &row)) {
        feed(c, &(struct lease_input){.type = LEASE_APPLICATION, .application = id, .gone = true});
        return;
    }
    struct snapshot snapshot = {.worker_capacity = db_lease_worker_count(c->db, id),
                                .stream_capacity = db_lease_stream_count(c->db, id)};
    AUTO(free_pointer)
    struct lease_worker_row *workers = calloc(snapshot.worker_capacity + 1, sizeof(*workers));
    AUTO(free_pointer)
    struct lease_stream_row *streams = calloc(snapshot.stream_capacity + 1, sizeof(*streams));
    if (workers == NULL || streams == NULL) {
        trace(TRACE_ERROR, "leases", "out of memory");
        return;
    }
    snapshot.worker = workers;
    snapshot.stream = streams;
    db_lease_worker_each(c->db, id, add_worker, &snapshot);
    db_lease_stream_each(c->db, id, add_stream, &snapshot);
    feed(c, &(struct lease_input){.type = LEASE_APPLICATION,
                                  .application = id,
                                  .name = row.name,
                                  .workers = workers,
                                  .worker_count = snapshot.worker_count,
                                  .streams = streams,
                                  .stream_count = snapshot.stream_count});
}

static bool feed_lease(const struct db_lease *lease, void *context)
{
    struct controller *c = context;
    const struct db_shard *shard = watch_shard(c->watch, lease->shard);
    struct lease_row row = {.shard = lease->shard,
                            .worker = lease->worker,
                            .counter = lease->counter,
                            .finished = lease->checkpoint.type == DB_SHARD_END};
    if (shard != NULL) {
        row.parent_count = shard->lineage.parent_count;
        for (uint32_t i = 0; i < row.parent_count; i++) {
            row.parent[i] = db_shard_id((uint32_t)(shard->id >> 32), shard->lineage.parent[i]);
        }
    }
    feed(c,
         &(struct lease_input){.type = LEASE_ROW, .application = lease->application, .row = &row});
    if (shard == NULL || shard->phase == DB_SHARD_DELETED) {
        feed(c, &(struct lease_input){.type = LEASE_SHARD_GONE, .shard = lease->shard});
    }
    return true;
}

static void feed_stream(struct controller *c, uint32_t id)
{
    const struct db_stream *stream = watch_stream(c->watch, id);
    bool gone = stream == NULL || stream->state == DB_STREAM_DELETING;
    feed(c, &(struct lease_input){.type = LEASE_STREAM,
                                  .stream = id,
                                  .gone = gone,
                                  .shards = gone ? 0 : stream->shard_count});
}

void leases_changed(struct controller *c, const struct db_changes *changes)
{
    struct db_lease lease;
    for (size_t i = 0; i < changes->applications.count; i++) {
        feed_application(c, changes->applications.id[i]);
    }
    for (size_t i = 0; i < changes->leases.count; i++) {
        const struct db_lease_key *key = &changes->leases.key[i];
        if (db_lease_get(c->db, key->application, key->shard, &lease)) {
            (void)feed_lease(&lease, c);
        } else {
            feed(c, &(struct lease_input){.type = LEASE_ROW,
                                          .application = key->application,
                                          .shard = key->shard,
                                          .gone = true});
        }
    }
    for (size_t i = 0; i < changes->streams.count; i++) {
        feed_stream(c, (uint32_t)changes->streams.id[i]);
    }
    for (size_t i = 0; i < changes->deleted_streams.count; i++) {
        feed_stream(c, (uint32_t)changes->deleted_streams.id[i]);
    }
    for (size_t i = 0; i < changes->shards.count; i++) {
        const struct db_shard *shard = watch_shard(c->watch, changes->shards.id[i]);
        if (shard != NULL && shard->phase == DB_SHARD_DELETED) {
            feed(c, &(struct lease_input){.type = LEASE_SHARD_GONE, .shard = shard->id});
        }
    }
    leases_flush(c);
}

static void load_application(const struct db_application *application, void *context)
{
    struct controller *c = context;
    feed_application(c, application->id);
    db_lease_each(c->db, application->id, 0, INT64_MAX, feed_lease, c);
}

struct stream_list {
    struct controller *c;
};

static void load_stream_of_application(const struct db_lease_stream *row, void *context)
{
    /* Also of streams that were deleted while nobody was active. */
    feed_stream(((struct stream_list *)context)->c, row->stream);
}

static void load_streams(const struct db_application *application, void *context)
{
    struct stream_list list = {.c = context};
    db_lease_stream_each(list.c->db, application->id, load_stream_of_application, &list);
}

void leases_activate(struct controller *c)
{
    feed(c, &(struct lease_input){.type = LEASE_ACTIVATED});
    size_t count = 0;
    const struct db_stream *streams = watch_streams(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        feed_stream(c, streams[i].id);
    }
    db_application_each(c->db, load_application, c);
    db_application_each(c->db, load_streams, c);
    feed(c, &(struct lease_input){.type = LEASE_LOADED});
    leases_flush(c);
}

void leases_deactivate(struct controller *c)
{
    feed(c, &(struct lease_input){.type = LEASE_DEACTIVATED});
    lease_effects_clear(&c->lease_effects);
    net_timer_stop(c->options.loop, &c->lease_timer);
}

/* ---- effects into commands
 * ------------------------------------------------------------------------- */

/* The lists of one command under construction. */
struct change {
    Weir__CmdLeaseChange__Assign assign[CHANGE_ITEMS_MAX], *assigns[CHANGE_ITEMS_MAX];
    uint32_t grown[CHANGE_ITEMS_MAX], gone_streams[CHANGE_ITEMS_MAX];
    uint64_t gone_shards[CHANGE_ITEMS_MAX], workers[CHANGE_ITEMS_MAX];
};

static void gather_change(const struct lease_effect *effect, struct change *change,
                          Weir__CmdLeaseChange *out, Weir__CmdLeaseGone *out_gone)
{
    Weir__CmdLeaseChange__Assign *assign;
    switch (effect->type) {
    case LEASE_ASSIGN:
        assign = &change->assign[out->n_assigns];
        weir__cmd_lease_change__assign__init(assign);
        assign->shard = effect->shard;
        assign->counter = effect->counter;
        assign->worker = effect->worker;
        change->assigns[out->n_assigns++] = assign;
        break;
    case LEASE_GONE:
        change->workers[out_gone->n_workers++] = effect->worker;
        break;
    case LEASE_GROW:
        change->grown[out->n_grown_streams++] = effect->stream;
        break;
    case LEASE_FORGET:
        change->gone_shards[out->n_gone_shards++] = effect->shard;
        break;
    case LEASE_FORGET_STREAM:
        change->gone_streams[out->n_gone_streams++] = effect->stream;
        break;
    default:
        break;
    }
}

/* A command of ours, counted until it is answered. */
struct lease_command {
    struct pipeline_request request;
    uint32_t *under_way;
};

static void lease_command_done(struct pipeline_request *request, const struct db_result *result)
{
    struct lease_command *own = CONTAINER_OF(request, struct lease_command, request);
    (void)result;
    --*own->under_way;
    free(own);
}

void lease_command(struct controller *c, Weir__Command *command, uint32_t weight,
                   uint32_t *under_way)
{
    struct lease_command *own = calloc(1, sizeof(*own));
    command->time_ms = net_wall_ms();
    if (own == NULL || pipeline_submit(&c->pipeline, command, weight, &own->request,
                                       lease_command_done) != STATUS_OK) {
        free(own);
        return;
    }
    own->under_way = under_way;
    ++*under_way;
    controller_wake(c);
}

/* Effects of one application: who goes, goes first. */
static void carry_out(struct controller *c, const struct lease_effect *effects, size_t count,
                      struct change *change)
{
    Weir__CmdLeaseChange changes = WEIR__CMD_LEASE_CHANGE__INIT;
    Weir__CmdLeaseGone gone = WEIR__CMD_LEASE_GONE__INIT;
    changes.application = gone.application = effects[0].application;
    for (size_t i = 0; i < count; i++) {
        gather_change(&effects[i], change, &changes, &gone);
    }
    c->counts.leases_assigned += changes.n_assigns;
    c->counts.lease_workers_gone += gone.n_workers;
    Weir__Command command = WEIR__COMMAND__INIT;
    if (gone.n_workers > 0) {
        gone.workers = change->workers;
        command.kind_case = WEIR__COMMAND__KIND_LEASE_GONE;
        command.lease_gone = &gone;
        lease_command(c, &command, (uint32_t)(gone.n_workers * 100), &c->lease_commands);
    }
    if (gone.n_workers == count) {
        return;
    }
    changes.assigns = change->assigns;
    changes.grown_streams = change->grown;
    changes.gone_shards = change->gone_shards;
    changes.gone_streams = change->gone_streams;
    command.kind_case = WEIR__COMMAND__KIND_LEASE_CHANGE;
    command.lease_change = &changes;
    size_t streams = changes.n_grown_streams + changes.n_gone_streams;
    lease_command(c, &command, (uint32_t)(count + streams * 100), &c->lease_commands);
}

/* On a slow disk. What is under way must not be proposed once more behind itself, or the queue
 * would grow for as long as it is slow. And workers whose join is under way should get their share
 * of free leases at once; for those nobody waits long. */
static bool must_wait(struct controller *c)
{
    uint64_t now = controller_now(c);
    if (c->lease_commands > 0) {
        return true;
    }
    if (list_empty(&c->lease_joins)) {
        return false;
    }
    c->lease_waits_ms = c->lease_waits_ms == 0 ? now : c->lease_waits_ms;
    return now < c->lease_waits_ms + LEASE_GATHER_MAX_MS;
}

static void lease_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, lease_timer);
    if (must_wait(c)) {
        status_ignore(net_timer_start(c->options.loop, &c->lease_timer,
                                      controller_now(c) + LEASE_TICK_MS, lease_fired),
                      "the next change of a lease starts it");
        return;
    }
    c->lease_waits_ms = 0;
    feed(c, &(struct lease_input){.type = LEASE_TICK});
    leases_flush(c);
}

void leases_flush(struct controller *c)
{
    struct lease_effects *effects = &c->lease_effects;
    AUTO(free_pointer) struct change *change = effects->count == 0 ? NULL : malloc(sizeof(*change));
    for (size_t first = 0; change != NULL && first < effects->count;) {
        size_t end = first + 1;
        while (end < effects->count && end - first < CHANGE_ITEMS_MAX &&
               effects->effect[end].application == effects->effect[first].application) {
            end++;
        }
        carry_out(c, effects->effect + first, end - first, change);
        first = end;
    }
    lease_effects_clear(effects); /* what is lost is proposed again */
    uint64_t deadline = lease_deadline(c->leases);
    if (c->active && deadline != UINT64_MAX) {
        status_ignore(net_timer_start(c->options.loop, &c->lease_timer, deadline, lease_fired),
                      "the next change of a lease starts it");
    } else {
        net_timer_stop(c->options.loop, &c->lease_timer);
    }
}

/* ---- messages of positions
 * ------------------------------------------------------------------------- */

Weir__LeasePosition lease_position_message(const struct db_position *position)
{
    Weir__LeasePosition message;
    weir__lease_position__init(&message);
    message.type = (Weir__LeasePositionType)position->type;
    message.offset = position->offset;
    message.sub_sequence = position->sub_sequence;
    message.timestamp_ms = position->timestamp_ms;
    return message;
}

size_t lease_parents(const struct controller *c, uint64_t id, uint64_t out[DB_PARENTS_MAX])
{
    const struct db_shard *shard = watch_shard(c->watch, id);
    size_t count = shard == NULL ? 0 : shard->lineage.parent_count;
    for (size_t i = 0; i < count; i++) {
        out[i] = db_shard_id((uint32_t)(id >> 32), shard->lineage.parent[i]);
    }
    return count;
}
