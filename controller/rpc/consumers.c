/* LEASE_SYNC and LEASE_CHECKPOINT: what consumers call (proto/schema/lease.proto). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/rpc/leases.h"

enum { HELD_MAX = 100000 };

/* ---- the answer to a LEASE_SYNC
 * -------------------------------------------------------------------- */

struct assigned_message {
    Weir__LeaseAssigned message;
    Weir__LeasePosition checkpoint, pending;
    uint64_t parents[DB_PARENTS_MAX];
    char stream[STREAM_NAME_MAX + 1];
};

struct sync_reply {
    Weir__LeaseSyncReply message;
    struct assigned_message *assigned;
    Weir__LeaseAssigned **assigned_list;
    Weir__LeaseHandOver *hand_over;
    Weir__LeaseHandOver **hand_over_list;
    char **missing;
};

static void sync_reply_release(struct sync_reply *reply)
{
    free(reply->assigned);
    free((void *)reply->assigned_list);
    free(reply->hand_over);
    free((void *)reply->hand_over_list);
    free((void *)reply->missing);
}

static bool sync_reply_init(struct sync_reply *reply, const struct lease_answer *answer,
                            size_t streams)
{
    reply->assigned = calloc(answer->assigned_count + 1, sizeof(*reply->assigned));
    reply->assigned_list = calloc(answer->assigned_count + 1, sizeof(Weir__LeaseAssigned *));
    reply->hand_over = calloc(answer->hand_over_count + 1, sizeof(*reply->hand_over));
    reply->hand_over_list = calloc(answer->hand_over_count + 1, sizeof(Weir__LeaseHandOver *));
    reply->missing = calloc(streams + 1, sizeof(char *));
    return reply->assigned != NULL && reply->assigned_list != NULL && reply->hand_over != NULL &&
           reply->hand_over_list != NULL && reply->missing != NULL;
}

static bool fill_assigned(const struct controller *c, uint64_t application, uint64_t shard,
                          struct assigned_message *out)
{
    struct db_lease lease;
    const struct db_stream *stream = watch_stream(c->watch, (uint32_t)(shard >> 32));
    if (stream == NULL || !db_lease_get(c->db, application, shard, &lease)) {
        return false; /* about to go */
    }
    weir__lease_assigned__init(&out->message);
    (void)snprintf(out->stream, sizeof(out->stream), "%s", stream->name);
    out->checkpoint = lease_position_message(&lease.checkpoint);
    out->message.shard = shard;
    out->message.stream = out->stream;
    out->message.counter = lease.counter;
    out->message.checkpoint = &out->checkpoint;
    if (lease.has_pending) {
        out->pending = lease_position_message(&lease.pending);
        out->message.pending = &out->pending;
    }
    out->message.n_parents = lease_parents(c, shard, out->parents);
    out->message.parents = out->parents;
    return true;
}

static bool is_there(const struct controller *c, const char *name)
{
    const struct db_stream *stream = watch_stream_find(c->watch, name);
    return stream != NULL && stream->state != DB_STREAM_DELETING;
}

static void fill(const struct controller *c, const Weir__LeaseSync *in,
                 const struct lease_answer *answer, struct sync_reply *out)
{
    Weir__LeaseSyncReply *message = &out->message;
    weir__lease_sync_reply__init(message);
    message->term_ms = c->options.lease_term_ms;
    message->next_sync_ms = answer->next_sync_ms;
    message->workers = answer->workers;
    message->leases = answer->leases;
    for (size_t i = 0; i < answer->assigned_count; i++) {
        if (fill_assigned(c, answer->application, answer->assigned[i],
                          &out->assigned[message->n_assigned])) {
            out->assigned_list[message->n_assigned] = &out->assigned[message->n_assigned].message;
            message->n_assigned++;
        }
    }
    for (size_t i = 0; i < answer->hand_over_count; i++) {
        weir__lease_hand_over__init(&out->hand_over[i]);
        out->hand_over[i].shard = answer->hand_over[i].shard;
        out->hand_over[i].counter = answer->hand_over[i].counter;
        out->hand_over[i].within_ms = answer->hand_over[i].within_ms;
        out->hand_over_list[i] = &out->hand_over[i];
    }
    for (size_t i = 0; i < in->n_streams; i++) {
        if (!is_there(c, in->streams[i]->name)) {
            out->missing[message->n_missing++] = in->streams[i]->name;
        }
    }
    message->assigned = out->assigned_list;
    message->lost = answer->lost;
    message->n_lost = answer->lost_count;
    message->hand_over = out->hand_over_list;
    message->n_hand_over = answer->hand_over_count;
    message->missing = out->missing;
}

static void reply_error(struct session_call *call, const Weir__LeaseSync *in, enum status status)
{
    if (status == STATUS_EXPIRED) {
        session_reply_error(call, status, NULL,
                            "worker %s of application %s is not in: it was silent for too long, or "
                            "the application was deleted; join again",
                            in->worker, in->application);
    } else if (status == STATUS_FENCED) {
        session_reply_error(call, status, NULL,
                            "another process has joined application %s as worker %s: give every "
                            "process a name of its own",
                            in->application, in->worker);
    } else {
        session_reply_error(call, status, NULL, "the controller cannot take the call: %s",
                            status_text(status));
    }
}

/* ---- LEASE_SYNC
 * ------------------------------------------------------------------------------------ */

/* A call for the core; its lists are those of the message. */
static void make_call(const struct controller *c, const Weir__LeaseSync *in,
                      uint32_t streams[LEASE_STREAMS_MAX], struct lease_call *out)
{
    *out = (struct lease_call){
        .application = in->application,
        .worker = in->worker,
        .streams = streams,
        .shards = in->shards,
        .counters = in->counters,
        .bytes_per_s = in->bytes_per_s,
        .held_count = in->n_shards,
        .released = in->released,
        .released_count = in->n_released,
        .draining = in->draining,
        .leaving = in->leaving,
    };
    memcpy(out->incarnation, in->incarnation.data, sizeof(out->incarnation));
    for (size_t i = 0; i < in->n_streams; i++) {
        if (is_there(c, in->streams[i]->name)) {
            streams[out->stream_count++] = watch_stream_find(c->watch, in->streams[i]->name)->id;
        }
    }
}

static void fill_join(const Weir__LeaseSync *in, Weir__CmdLeaseJoin *join, Weir__Command *command)
{
    weir__cmd_lease_join__init(join);
    join->application = in->application;
    join->streams = in->streams;
    join->n_streams = in->n_streams;
    weir__command__init(command);
    command->kind_case = WEIR__COMMAND__KIND_LEASE_JOIN;
    command->lease_join = join;
}

struct join_call {
    struct pipeline_request request;
    struct list node; /* of controller.lease_joins */
    struct controller *controller;
    struct session_call *call;
    Weir__LeaseSync *in;
    bool begins; /* an application, or streams of it */
};

/* Whether a join that is under way makes the leases already. */
static bool is_begun(const struct controller *c, const char *application, const char *stream)
{
    LIST_FOR_EACH (node, &c->lease_joins) {
        const struct join_call *join = CONTAINER_OF(node, struct join_call, node);
        for (size_t i = 0; join->begins && i < join->in->n_streams; i++) {
            if (strcmp(join->in->application, application) == 0 &&
                strcmp(join->in->streams[i]->name, stream) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Leases are made by the first who names a stream. Others, hundreds of which may come at once, go
 * into one entry. */
static uint32_t join_weight(const struct controller *c, const Weir__LeaseSync *in)
{
    struct db_application application = {0};
    struct db_lease_stream row;
    uint32_t weight = 1;
    (void)db_application_find(c->db, in->application, &application);
    for (size_t i = 0; i < in->n_streams; i++) {
        const struct db_stream *stream = watch_stream_find(c->watch, in->streams[i]->name);
        if (stream != NULL && !db_lease_stream_get(c->db, application.id, stream->id, &row) &&
            !is_begun(c, in->application, in->streams[i]->name)) {
            weight += stream->shard_count;
        }
    }
    return weight;
}

/* A stream that was not there when the application began, or was made again since. */
static void begin_new_streams(struct controller *c, const Weir__LeaseSync *in, uint64_t application,
                              const struct lease_call *call)
{
    struct db_lease_stream row;
    bool fresh = false;
    for (size_t i = 0; i < call->stream_count && !fresh && c->lease_begins == 0; i++) {
        fresh = !db_lease_stream_get(c->db, application, call->streams[i], &row);
    }
    if (fresh) {
        Weir__CmdLeaseJoin join;
        Weir__Command command;
        fill_join(in, &join, &command);
        join.lenient = true;
        lease_command(c, &command, join_weight(c, in), &c->lease_begins);
    }
}

static void answer_left(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)body;
    Weir__LeaseSyncReply reply = WEIR__LEASE_SYNC_REPLY__INIT;
    reply.term_ms = c->options.lease_term_ms;
    reply_message(call, &reply.base);
}

static void leave(struct controller *c, struct session_call *call,
                  const struct lease_answer *answer)
{
    uint64_t workers[1] = {answer->worker};
    Weir__CmdLeaseGone gone = WEIR__CMD_LEASE_GONE__INIT;
    gone.application = answer->application;
    gone.workers = workers;
    gone.n_workers = 1;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_LEASE_GONE;
    command.lease_gone = &gone;
    command_for_call(c, call, &command, 100, answer_left);
}

static void sync_now(struct controller *c, struct session_call *call, const Weir__LeaseSync *in)
{
    uint32_t streams[LEASE_STREAMS_MAX];
    struct lease_call asked;
    AUTO(lease_answer_release) struct lease_answer answer = {0};
    AUTO(sync_reply_release) struct sync_reply reply = {0};
    make_call(c, in, streams, &asked);
    enum status status =
        lease_sync(c->leases, controller_now(c), &asked, &c->lease_effects, &answer);
    if (status == STATUS_OK && in->leaving) {
        leave(c, call, &answer); /* the core's own proposal is the same */
        lease_effects_clear(&c->lease_effects);
        return;
    }
    if (status == STATUS_OK && !sync_reply_init(&reply, &answer, in->n_streams)) {
        status = STATUS_NO_MEMORY;
    }
    if (status != STATUS_OK) {
        reply_error(call, in, status);
    } else {
        begin_new_streams(c, in, answer.application, &asked);
        fill(c, in, &answer, &reply);
        reply_message(call, &reply.message.base);
    }
    if (c->lease_effects.count > 0) {
        leases_flush(c);
    }
}

static void join_done(struct pipeline_request *request, const struct db_result *result)
{
    struct join_call *join = CONTAINER_OF(request, struct join_call, request);
    struct controller *c = join->controller;
    if (result->status == STATUS_NOT_ACTIVE || (result->status == STATUS_OK && !c->active)) {
        reply_not_active(c, join->call);
    } else if (result->status != STATUS_OK) {
        session_reply_error(join->call, result->status, NULL, "%s",
                            result->text[0] != '\0' ? result->text : status_text(result->status));
    } else {
        sync_now(c, join->call, join->in);
    }
    list_remove(&join->node);
    weir__lease_sync__free_unpacked(join->in, NULL);
    free(join);
}

/* Takes over `in` on OK. */
static enum status begin_join(struct controller *c, struct session_call *call, Weir__LeaseSync *in)
{
    struct join_call *join = calloc(1, sizeof(*join));
    if (join == NULL) {
        return STATUS_NO_MEMORY;
    }
    *join = (struct join_call){.controller = c, .call = call, .in = in};
    Weir__CmdLeaseJoin message;
    Weir__Command command;
    fill_join(in, &message, &command);
    message.worker = in->worker;
    message.incarnation = in->incarnation;
    command.time_ms = net_wall_ms();
    uint32_t weight = join_weight(c, in);
    join->begins = weight > 1;
    enum status status = pipeline_submit(&c->pipeline, &command, weight, &join->request, join_done);
    if (status != STATUS_OK) {
        free(join);
        return status;
    }
    list_push(&c->lease_joins, &join->node);
    controller_wake(c);
    return STATUS_OK;
}

/* What the core and the command take for granted; false: answered. */
static bool sync_is_good(struct session_call *call, const Weir__LeaseSync *in)
{
    const char *what = NULL;
    if (in->incarnation.len != LEASE_INCARNATION_BYTES) {
        what = "an incarnation has 16 bytes";
    } else if (in->n_shards != in->n_counters || in->n_shards != in->n_bytes_per_s) {
        what = "shards, counters and bytes_per_s are lists of one length";
    } else if (in->n_shards > HELD_MAX || in->n_released > HELD_MAX) {
        what = "a worker has 100000 leases at most";
    } else if (in->worker[0] == '\0') {
        what = "a worker has a name";
    } else if (in->n_streams == 0) {
        what = "a worker reads a stream at least";
    }
    if (what != NULL || in->n_streams > LEASE_STREAMS_MAX) {
        session_reply_error(call, what != NULL ? STATUS_INVALID : STATUS_LIMIT, NULL, "%s",
                            what != NULL ? what : "a worker reads 100 streams at most");
        return false;
    }
    return true;
}

void handle_lease_sync(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__LeaseSync *in = weir__lease_sync__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (!c->active) {
        reply_not_active(c, call);
    } else if (sync_is_good(call, in)) {
        if (!in->join) {
            sync_now(c, call, in);
        } else {
            enum status status = begin_join(c, call, in);
            if (status == STATUS_OK) {
                return;
            }
            reply_error(call, in, status);
        }
    }
    weir__lease_sync__free_unpacked(in, NULL);
}

/* ---- LEASE_CHECKPOINT
 * ------------------------------------------------------------------------------ */

static void answer_checkpoint(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    Weir__LeaseCheckpointReply *reply =
        weir__lease_checkpoint_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    reply_message(call, &reply->base);
    weir__lease_checkpoint_reply__free_unpacked(reply, NULL);
}

void handle_lease_checkpoint(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__LeaseCheckpoint *in =
        weir__lease_checkpoint__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (in->n_items > COMMAND_CHECKPOINT_ITEMS_MAX) { /* not into the log */
        session_reply_error(call, STATUS_INVALID, NULL, "a call has 1 to %d checkpoints",
                            COMMAND_CHECKPOINT_ITEMS_MAX);
    } else {
        Weir__CmdLeaseCheckpoint checkpoint = WEIR__CMD_LEASE_CHECKPOINT__INIT;
        checkpoint.checkpoint = in;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.kind_case = WEIR__COMMAND__KIND_LEASE_CHECKPOINT;
        command.lease_checkpoint = &checkpoint;
        command_for_call(c, call, &command, (uint32_t)in->n_items, answer_checkpoint);
    }
    weir__lease_checkpoint__free_unpacked(in, NULL);
}
