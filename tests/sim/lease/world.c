/* Streams and shards, the controllers' log, and the controller that is active. */
#include "tests/sim/lease/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* ---- rows into the core, as controller/rpc/leases.c does it
 * --------------------------------------------- */

static void feed(struct world *w, struct lease_input input)
{
    enum status status = lease_step(w->leases, w->now_ms, &input, &w->effects);
    CHECK(status == STATUS_OK || status == STATUS_NOT_FOUND);
}

struct rows {
    struct lease_worker_row worker[2 * WORKERS];
    struct lease_stream_row stream[STREAMS];
    size_t workers, streams;
};

static void add_worker(const struct db_lease_worker *row, void *context)
{
    struct rows *rows = context;
    struct lease_worker_row *worker = &rows->worker[rows->workers++];
    worker->id = row->id;
    memcpy(worker->name, row->name, sizeof(worker->name));
    memcpy(worker->incarnation, row->incarnation, sizeof(worker->incarnation));
}

static void add_stream(const struct db_lease_stream *row, void *context)
{
    struct rows *rows = context;
    rows->stream[rows->streams++] =
        (struct lease_stream_row){.stream = row->stream, .next_shard = row->next_shard};
}

static void feed_application(struct world *w, uint64_t id)
{
    struct db_application row;
    struct rows rows = {0};
    if (!db_application_get(w->db, id, &row)) {
        feed(w, (struct lease_input){.type = LEASE_APPLICATION, .application = id, .gone = true});
        return;
    }
    db_lease_worker_each(w->db, id, add_worker, &rows);
    db_lease_stream_each(w->db, id, add_stream, &rows);
    feed(w, (struct lease_input){.type = LEASE_APPLICATION,
                                 .application = id,
                                 .name = row.name,
                                 .workers = rows.worker,
                                 .worker_count = rows.workers,
                                 .streams = rows.stream,
                                 .stream_count = rows.streams});
}

static bool feed_lease(const struct db_lease *lease, void *context)
{
    struct world *w = context;
    struct db_shard shard;
    CHECK(db_shard_get(w->db, lease->shard, &shard));
    struct lease_row row = {.shard = lease->shard,
                            .worker = lease->worker,
                            .counter = lease->counter,
                            .finished = lease->checkpoint.type == DB_SHARD_END,
                            .parent_count = shard.lineage.parent_count};
    for (uint32_t i = 0; i < row.parent_count; i++) {
        row.parent[i] = db_shard_id((uint32_t)(lease->shard >> 32), shard.lineage.parent[i]);
    }
    feed(w,
         (struct lease_input){.type = LEASE_ROW, .application = lease->application, .row = &row});
    if (shard.phase == DB_SHARD_DELETED) {
        feed(w, (struct lease_input){.type = LEASE_SHARD_GONE, .shard = lease->shard});
    }
    return true;
}

static void feed_stream(const struct db_stream *stream, void *context)
{
    feed(context, (struct lease_input){
                      .type = LEASE_STREAM, .stream = stream->id, .shards = stream->shard_count});
}

static void load_application(const struct db_application *application, void *context)
{
    struct world *w = context;
    feed_application(w, application->id);
    db_lease_each(w->db, application->id, 0, INT64_MAX, feed_lease, w);
}

void controller_feed_all(struct world *w)
{
    feed(w, (struct lease_input){.type = LEASE_ACTIVATED});
    db_stream_each(w->db, feed_stream, w);
    db_application_each(w->db, load_application, w);
    feed(w, (struct lease_input){.type = LEASE_LOADED});
}

static void feed_changes(struct world *w)
{
    const struct db_changes *changes = db_changes(w->db);
    struct db_lease lease;
    struct db_stream stream;
    struct db_shard shard;
    for (size_t i = 0; i < changes->applications.count; i++) {
        feed_application(w, changes->applications.id[i]);
    }
    for (size_t i = 0; i < changes->leases.count; i++) {
        const struct db_lease_key *key = &changes->leases.key[i];
        if (db_lease_get(w->db, key->application, key->shard, &lease)) {
            (void)feed_lease(&lease, w);
        } else {
            feed(w, (struct lease_input){.type = LEASE_ROW,
                                         .application = key->application,
                                         .shard = key->shard,
                                         .gone = true});
        }
    }
    for (size_t i = 0; i < changes->streams.count; i++) {
        if (db_stream_get(w->db, (uint32_t)changes->streams.id[i], &stream)) {
            feed_stream(&stream, w);
        }
    }
    for (size_t i = 0; i < changes->shards.count; i++) {
        if (db_shard_get(w->db, changes->shards.id[i], &shard) && shard.phase == DB_SHARD_DELETED) {
            feed(w, (struct lease_input){.type = LEASE_SHARD_GONE, .shard = shard.id});
        }
    }
}

/* ---- the log
 * --------------------------------------------------------------------------------------- */

void command_later(struct world *w, const Weir__Command *command, struct mail *answer)
{
    CHECK(w->command_count < COMMANDS_MAX);
    Weir__Command copy = *command;
    Weir__Command *commands[] = {&copy};
    Weir__CommandList list = WEIR__COMMAND_LIST__INIT;
    copy.time_ms = w->now_ms;
    list.commands = commands;
    list.n_commands = 1;
    struct pending_command *later = &w->command[w->command_count++];
    *later = (struct pending_command){.answer = answer};
    uint64_t last = w->command_count > 1 ? w->command[w->command_count - 2].due_ms : 0;
    later->due_ms = w->now_ms + rng_between(&w->rng, 1, 40);
    later->due_ms = later->due_ms < last ? last : later->due_ms; /* a log has an order */
    size_t size = weir__command_list__get_packed_size(&list);
    CHECK(buf_reserve(&later->packed, size) == STATUS_OK);
    later->packed.size = weir__command_list__pack(&list, later->packed.data);
}

static void apply(struct world *w, struct pending_command *command)
{
    struct command_results results = {0};
    struct error error;
    check_before(w);
    Weir__CommandList *list =
        weir__command_list__unpack(NULL, command->packed.size, command->packed.data);
    w->resetting = list->commands[0]->kind_case == WEIR__COMMAND__KIND_APP_CONTROL;
    weir__command_list__free_unpacked(list, NULL);
    CHECK(command_apply(w->db, ++w->index, buf_bytes(&command->packed), &results, &error) ==
          STATUS_OK);
    w->commands++;
    w->hash = (w->hash ^ db_meta(w->db)->state_hash) * 0x100000001b3u;
    check_after(w);
    if (w->active) {
        feed_changes(w);
    }
    db_changes_clear(db_changes(w->db));
    if (command->answer != NULL) {
        command_answered(w, command->answer, &results.result[0]);
    }
    command_results_release(&results);
}

void commands_run(struct world *w, bool all)
{
    while (w->command_count > 0 && (all || w->command[0].due_ms <= w->now_ms)) {
        struct pending_command first = w->command[0];
        w->command_count--;
        memmove(w->command, w->command + 1, w->command_count * sizeof(first));
        apply(w, &first);
        buf_release(&first.packed);
    }
}

static void carry_out(struct world *w, const struct lease_effect *effect)
{
    Weir__CmdLeaseChange__Assign assign = WEIR__CMD_LEASE_CHANGE__ASSIGN__INIT;
    Weir__CmdLeaseChange__Assign *assigns[] = {&assign};
    Weir__CmdLeaseChange change = WEIR__CMD_LEASE_CHANGE__INIT;
    Weir__CmdLeaseGone gone = WEIR__CMD_LEASE_GONE__INIT;
    Weir__Command command = WEIR__COMMAND__INIT;
    uint64_t number = effect->type == LEASE_GONE ? effect->worker : effect->shard;
    uint32_t stream = effect->stream;
    command.kind_case = WEIR__COMMAND__KIND_LEASE_CHANGE;
    command.lease_change = &change;
    change.application = gone.application = effect->application;
    switch (effect->type) {
    case LEASE_ASSIGN:
        assign.shard = effect->shard;
        assign.counter = effect->counter;
        assign.worker = effect->worker;
        change.assigns = assigns;
        change.n_assigns = 1;
        break;
    case LEASE_GONE:
        gone.workers = &number;
        gone.n_workers = 1;
        command.kind_case = WEIR__COMMAND__KIND_LEASE_GONE;
        command.lease_gone = &gone;
        break;
    case LEASE_GROW:
        change.grown_streams = &stream;
        change.n_grown_streams = 1;
        break;
    case LEASE_FORGET:
        change.gone_shards = &number;
        change.n_gone_shards = 1;
        break;
    case LEASE_FORGET_STREAM:
    default:
        change.gone_streams = &stream;
        change.n_gone_streams = 1;
        break;
    }
    command_later(w, &command, NULL);
}

void controller_tick(struct world *w)
{
    if (!w->active) {
        return;
    }
    if (w->now_ms >= lease_deadline(w->leases)) {
        feed(w, (struct lease_input){.type = LEASE_TICK});
    }
    for (size_t i = 0; i < w->effects.count && w->command_count < COMMANDS_MAX / 2; i++) {
        bool lost = !w->quiet && rng_once_in(&w->rng, 50);
        if (!w->quiet && w->late_at_ms == 0 && rng_once_in(&w->rng, 10)) {
            w->late = w->effects.effect[i];
            w->late_at_ms = w->now_ms + rng_between(&w->rng, 500, 8000);
        }
        for (int k = lost ? 1 : 0; k < 2; k++) {
            carry_out(w, &w->effects.effect[i]);
            if (w->quiet || !rng_once_in(&w->rng, 30)) { /* else twice */
                break;
            }
        }
    }
    if (w->late_at_ms != 0 && w->now_ms >= w->late_at_ms) {
        w->late_at_ms = 0;
        carry_out(w, &w->late);
    }
    lease_effects_clear(&w->effects);
}

/* The active one is lost: of what it proposed a beginning is in the log, the rest is not. */
void controller_change(struct world *w)
{
    if (w->active) {
        size_t kept = w->command_count == 0 ? 0 : rng_below(&w->rng, w->command_count + 1);
        for (size_t i = kept; i < w->command_count; i++) {
            if (w->command[i].answer != NULL) {
                w->command[i].answer->used = false;
            }
            buf_release(&w->command[i].packed);
        }
        w->command_count = kept;
        feed(w, (struct lease_input){.type = LEASE_DEACTIVATED});
        lease_effects_clear(&w->effects);
        w->active = false;
        w->change_ms = w->now_ms + rng_between(&w->rng, 100, 1500);
        note(w, "no active controller");
        return;
    }
    commands_run(w, true);
    w->active = true;
    w->active_since_ms = w->now_ms;
    w->takeovers++;
    w->change_ms = w->now_ms + rng_between(&w->rng, 3000, 40000);
    controller_feed_all(w);
    note(w, "a new active controller");
}

/* ---- shards
 * ---------------------------------------------------------------------------------------- */

static void commit_rows(struct world *w)
{
    struct error error;
    CHECK(db_commit(w->db, ++w->index, 0, &error) == STATUS_OK);
    if (w->active) {
        feed_changes(w);
    }
    db_changes_clear(db_changes(w->db));
}

static void add_shard(struct world *w, struct db_stream *stream, const struct db_lineage *lineage)
{
    struct db_shard shard = {.id = db_shard_id(stream->id, stream->shard_count++),
                             .phase = DB_SHARD_ACTIVE,
                             .granted = true,
                             .lineage = *lineage};
    db_shard_put(w->db, &shard);
    db_shard_lineage_put(w->db, &shard);
    db_stream_put(w->db, stream);
    w->track[w->shard_count] =
        (struct track){.bytes_per_s = rng_once_in(&w->rng, 4) ? rng_below(&w->rng, 100000)
                                                              : rng_below(&w->rng, 10000),
                       .parent_count = lineage->parent_count};
    for (uint32_t i = 0; i < lineage->parent_count; i++) {
        w->track[w->shard_count].parent[i] = db_shard_id(stream->id, lineage->parent[i]);
    }
    w->shard[w->shard_count++] = shard.id;
}

size_t world_shard(const struct world *w, uint64_t id)
{
    for (size_t i = 0; i < w->shard_count; i++) {
        if (w->shard[i] == id) {
            return i;
        }
    }
    CHECK(false);
    return 0;
}

static void close_shard(struct world *w, size_t at)
{
    struct db_shard shard;
    CHECK(db_shard_get(w->db, w->shard[at], &shard));
    shard.lineage.state = DB_SHARD_CLOSED;
    shard.lineage.final_offset = 1000;
    shard.lineage.closed_ms = w->now_ms;
    db_shard_lineage_put(w->db, &shard);
    w->track[at].closed_ms = w->now_ms;
}

void world_split_or_merge(struct world *w)
{
    size_t open[SHARDS_MAX], count = 0;
    uint32_t stream_id = (uint32_t)rng_between(&w->rng, 1, STREAMS);
    struct db_stream stream;
    for (size_t i = 0; i < w->shard_count; i++) {
        if (w->track[i].closed_ms == 0 && w->shard[i] >> 32 == stream_id) {
            open[count++] = i;
        }
    }
    if (count < 2 || w->shard_count + 2 > SHARDS_MAX || !db_stream_get(w->db, stream_id, &stream)) {
        return;
    }
    size_t first = rng_below(&w->rng, count), second = (first + 1) % count;
    bool split = rng_once_in(&w->rng, 2);
    struct db_lineage lineage = {
        .state = DB_SHARD_OPEN,
        .parent_count = split ? 1 : 2,
        .parent = {(uint32_t)w->shard[open[first]], split ? 0 : (uint32_t)w->shard[open[second]]}
    };
    db_begin(w->db);
    close_shard(w, open[first]);
    add_shard(w, &stream, &lineage);
    if (split) {
        add_shard(w, &stream, &lineage);
    } else {
        close_shard(w, open[second]);
    }
    commit_rows(w);
    w->reshards++;
    note(w, "%s in stream %u", split ? "a split" : "a merge", stream_id);
}

/* The records of a shard that was closed long ago are not kept any more. */
void world_expire_shard(struct world *w)
{
    for (size_t i = 0; i < w->shard_count; i++) {
        struct db_shard shard;
        struct track *track = &w->track[i];
        if (track->closed_ms == 0 || track->gone_ms != 0 || w->now_ms < track->closed_ms + 15000) {
            continue;
        }
        CHECK(db_shard_get(w->db, w->shard[i], &shard));
        shard.phase = DB_SHARD_DELETED;
        track->gone_ms = w->now_ms;
        db_begin(w->db);
        db_shard_put(w->db, &shard);
        commit_rows(w);
        return;
    }
}

void world_open(struct world *w)
{
    struct error error;
    CHECK(db_open(":memory:", &w->db, &error) == STATUS_OK);
    w->leases = leases_new(
        &(struct lease_limits){.term_ms = TERM_MS, .hand_over_ms = HAND_OVER_MS, .moves = MOVES});
    CHECK(w->leases != NULL);
    uint8_t cluster[CLUSTER_ID_BYTES] = {1};
    w->now_ms = 1000;
    db_begin(w->db);
    db_cluster_set(w->db, cluster);
    for (uint32_t s = 0; s < STREAMS; s++) {
        struct db_stream stream = {.id = db_stream_id_take(w->db), .state = DB_STREAM_ACTIVE};
        (void)snprintf(stream.name, sizeof(stream.name), "s%u", stream.id);
        stream.retention_hours = 24;
        uint64_t shards = rng_between(&w->rng, 2, 12);
        for (uint64_t i = 0; i < shards; i++) {
            add_shard(w, &stream, &(struct db_lineage){0});
        }
    }
    commit_rows(w);
    w->reset_ms = w->now_ms + rng_between(&w->rng, 5000, 120000);
    w->reshard_ms = w->now_ms + rng_between(&w->rng, 3000, 20000);
    controller_change(w);
}

void world_close(struct world *w)
{
    for (size_t i = 0; i < w->command_count; i++) {
        buf_release(&w->command[i].packed);
    }
    leases_free(w->leases);
    lease_effects_release(&w->effects);
    db_close(w->db);
}
