/* HELD_SHARDS: what brokers have that the rows do not, after the restore of a backup. Outside of
 * that there is nothing new in it, and nothing is proposed. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"

enum { STREAMS_MAX = 4000 /* of one message */ };

static bool is_news(const struct controller *c, const Weir__HeldStream *held)
{
    const struct db_stream *stream = watch_stream(c->watch, held->stream);
    return stream != NULL && held->number >= stream->shard_count;
}

static bool any_news(const struct controller *c, const Weir__HeldShards *in)
{
    bool any = false;
    for (size_t i = 0; i < in->n_streams; i++) {
        any = any || is_news(c, in->streams[i]);
    }
    return any;
}

/* A controller does not know what would be proposed. */
static bool has_to_wait(struct controller *c, char why[GATE_TEXT_BYTES])
{
    uint32_t version =
        command_field_version(&weir__command__descriptor, WEIR__COMMAND__KIND_HELD_SHARDS);
    return members_hold_back(c, version, why);
}

static void answer_told(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    (void)body;
    reply_empty(call);
}

/* Answered when it is committed: a part that a controller took with it to its end is told again,
 * and the last one cannot count without those before it. */
static void propose(struct controller *c, uint32_t broker, const Weir__HeldShards *in, bool last,
                    struct session_call *call)
{
    AUTO(free_pointer)
    Weir__HeldStream **news = calloc(in->n_streams + 1, sizeof(Weir__HeldStream *));
    if (news == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    Weir__CmdHeldShards held;
    weir__cmd_held_shards__init(&held);
    held.broker = broker;
    held.last = last;
    held.streams = news;
    for (size_t i = 0; i < in->n_streams; i++) {
        if (is_news(c, in->streams[i])) {
            trace(
                TRACE_WARNING, "restore",
                "broker-%u has shard %u of stream %u, which is not known any more: its number, and "
                "those below, are used up",
                broker, in->streams[i]->number, in->streams[i]->stream);
            news[held.n_streams++] = in->streams[i];
        }
    }
    if (last) {
        trace(TRACE_INFO, "restore", "broker-%u has told what it holds", broker);
    }
    Weir__Command command;
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_HELD_SHARDS;
    command.held_shards = &held;
    command_for_call(c, call, &command, (uint32_t)held.n_streams + 1, answer_told);
}

static void take(struct controller *c, const struct client *client, const Weir__HeldShards *in,
                 struct session_call *call)
{
    char why[GATE_TEXT_BYTES];
    uint64_t version = 0;
    bool counts = client->broker != 0 && in->boot == client->boot;
    bool waits = counts && db_restored_waits(c->db, client->broker, &version);
    bool last = waits && !in->more && in->version >= version;
    if (!counts || (!last && !any_news(c, in))) {
        reply_empty(call);
    } else if (has_to_wait(c, why)) {
        session_reply_error(call, STATUS_UNAVAILABLE, NULL, "%s", why); /* begins again */
    } else {
        propose(c, client->broker, in, last, call);
    }
}

void handle_held_shards(struct controller *c, struct client *client, struct session_call *call)
{
    Weir__HeldShards *in = weir__held_shards__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL || in->n_streams > STREAMS_MAX) {
        reply_malformed(call);
    } else if (!c->active) {
        reply_not_active(c, call);
    } else {
        take(c, client, in, call);
    }
    weir__held_shards__free_unpacked(in, NULL);
}
