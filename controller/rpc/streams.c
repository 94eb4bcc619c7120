/* Streams and producer ids: calls that become commands. */
#include "controller/rpc/internal.h"

static void answer_empty(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    (void)body;
    reply_message(call, NULL);
}

static void answer_stream(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    Weir__StreamReply *reply = weir__stream_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not a stream's");
        return;
    }
    reply_message(call, &reply->base);
    weir__stream_reply__free_unpacked(reply, NULL);
}

static void answer_producers(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    Weir__ProducerIds *reply = weir__producer_ids__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not a producer's");
        return;
    }
    reply_message(call, &reply->base);
    weir__producer_ids__free_unpacked(reply, NULL);
}

void handle_create_stream(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__CreateStream *in = weir__create_stream__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    Weir__CmdCreateStream create;
    weir__cmd_create_stream__init(&create);
    create.name = in->name;
    create.shards = in->shards;
    create.retention_hours = in->retention_hours;
    create.allow_fewer_zones = in->allow_fewer_zones;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_CREATE_STREAM;
    command.create_stream = &create;
    command_for_call(c, call, &command, in->shards, answer_stream);
    weir__create_stream__free_unpacked(in, NULL);
}

/* How many rows a command on this stream touches. */
static uint32_t weight_of(const struct controller *c, const char *name)
{
    const struct db_stream *stream = watch_stream_find(c->watch, name);
    return stream == NULL ? 1 : stream->shard_count;
}

void handle_delete_stream(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__DeleteStream *in = weir__delete_stream__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    Weir__CmdDeleteStream delete;
    weir__cmd_delete_stream__init(&delete);
    delete.name = in->name;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_DELETE_STREAM;
    command.delete_stream = &delete;
    command_for_call(c, call, &command, weight_of(c, in->name), answer_empty);
    weir__delete_stream__free_unpacked(in, NULL);
}

void handle_change_retention(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__ChangeRetention *in =
        weir__change_retention__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    Weir__CmdChangeRetention change;
    weir__cmd_change_retention__init(&change);
    change.name = in->name;
    change.retention_hours = in->retention_hours;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_CHANGE_RETENTION;
    command.change_retention = &change;
    command_for_call(c, call, &command, 1, answer_empty);
    weir__change_retention__free_unpacked(in, NULL);
}

void handle_allocate_producers(struct controller *c, struct client *client,
                               struct session_call *call)
{
    (void)client;
    Weir__AllocateProducers *in =
        weir__allocate_producers__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    Weir__CmdAllocateProducers allocate = WEIR__CMD_ALLOCATE_PRODUCERS__INIT;
    allocate.count = DB_PRODUCER_BLOCK;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_ALLOCATE_PRODUCERS;
    command.allocate_producers = &allocate;
    command_for_call(c, call, &command, 1, answer_producers);
    weir__allocate_producers__free_unpacked(in, NULL);
}
