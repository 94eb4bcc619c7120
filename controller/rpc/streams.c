/* Streams and producer ids: calls that become commands. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/rpc/internal.h"
#include "controller/secret/secret.h"

enum { STREAM_ID_TEXT = 24 };

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

/* 20 characters, a dash, 3 more: as Kinesis has them. */
static void make_stream_id(char out[STREAM_ID_TEXT + 1])
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint8_t random[STREAM_ID_TEXT];
    if (secret_random(random, sizeof(random)) != STATUS_OK) {
        out[0] = '\0'; /* a stream can do without */
        return;
    }
    for (size_t i = 0; i < STREAM_ID_TEXT; i++) {
        out[i] = i == 20 ? '-' : characters[random[i] % (sizeof(characters) - 1)];
    }
    out[STREAM_ID_TEXT] = '\0';
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
    create.limited = in->limited;
    create.mode = in->mode;
    create.max_record_kib = in->max_record_kib;
    create.warm_mibps = in->warm_mibps;
    create.tags = in->tags;
    create.n_tags = in->n_tags;
    char stream_id[STREAM_ID_TEXT + 1];
    make_stream_id(stream_id);
    create.stream_id = stream_id;
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

/* Keys come from nobody but us. */
static enum status own_data_key(struct controller *c, Weir__StreamControl *in)
{
    Weir__StreamControl__Encryption *encryption = in->encryption;
    const struct db_stream *stream = watch_stream_find(c->watch, in->name);
    free(encryption->data_key.data);
    encryption->data_key = (ProtobufCBinaryData){0};
    if (encryption->ring_key != protobuf_c_empty_string) {
        free(encryption->ring_key);
    }
    encryption->ring_key = (char *)(uintptr_t)protobuf_c_empty_string;
    return c->active && encryption->encrypt && stream != NULL
               ? ring_data_key(c, stream->id, encryption)
               : STATUS_OK;
}

static enum status check_control(struct controller *c, const struct session_call *call,
                                 Weir__StreamControl *in)
{
    if (in->kind_case == WEIR__STREAM_CONTROL__KIND__NOT_SET) {
        return STATUS_UNSUPPORTED; /* a newer caller's: it must not get into the log */
    }
    if (in->kind_case == WEIR__STREAM_CONTROL__KIND_LIMITS && call->caller.role != RPC_ROLE_ADMIN) {
        return STATUS_DENIED;
    }
    return in->kind_case == WEIR__STREAM_CONTROL__KIND_ENCRYPTION ? own_data_key(c, in) : STATUS_OK;
}

void handle_stream_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__StreamControl *in = weir__stream_control__unpack(NULL, call->body.size, call->body.data);
    enum status status = in == NULL ? STATUS_INVALID : check_control(c, call, in);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "this change of a stream: %s", status_text(status));
    } else {
        Weir__CmdStreamControl control = WEIR__CMD_STREAM_CONTROL__INIT;
        control.control = in;
        Weir__Command command = WEIR__COMMAND__INIT;
        command.request = in->request;
        command.kind_case = WEIR__COMMAND__KIND_STREAM_CONTROL;
        command.stream_control = &control;
        bool deletes = in->kind_case == WEIR__STREAM_CONTROL__KIND_DELETE_STREAM;
        command_for_call(c, call, &command, deletes ? weight_of(c, in->name) : 1, answer_stream);
    }
    weir__stream_control__free_unpacked(in, NULL);
}
