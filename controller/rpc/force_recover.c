/* FORCE_RECOVER: whether an administrator may give up what a shard's other replicas have. */
#include "controller/rpc/internal.h"
#include "proto/schema/moves.pb-c.h"

/* Of the voters: connected with the disk that counts; and gone for good as far as anybody knows. */
struct voters {
    uint32_t here, gone, majority;
    struct db_replica survivor; /* broker 0: it is no voter */
    bool survivor_here;
};

static struct voters count(const struct controller *c, const struct db_shard *row,
                           uint32_t survivor)
{
    struct voters out = {.majority = row->cfg.voter_count / 2 + 1};
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        const struct db_replica *voter = &row->cfg.voter[v];
        const struct db_broker *broker = watch_broker(c->watch, voter->broker);
        bool gone = broker == NULL || broker->disk_gen != voter->disk_gen ||
                    broker->mode == DB_BROKER_REMOVED;
        bool here = !gone && brokers_client(c, voter->broker) != NULL;
        out.gone += gone ? 1 : 0;
        out.here += here ? 1 : 0;
        if (voter->broker == survivor && !gone) {
            out.survivor = *voter;
            out.survivor_here = here;
        }
    }
    return out;
}

/* NULL: it may. */
static const char *objection(const Weir__LeaderControl *in, const struct voters *voters)
{
    if (!in->accept_loss) {
        return "what only the other replicas have is lost for ever: say --accept-loss";
    }
    if (voters->survivor.broker == 0) {
        return "that broker has no replica of the shard, or has lost its disk";
    }
    if (voters->here >= voters->majority) {
        return "a majority of the shard's replicas is there: it needs no forced recovery";
    }
    if (!voters->survivor_here) {
        return "that broker is not there";
    }
    uint32_t all = voters->majority * 2 - 1; /* of an odd number, as ever but after a recovery */
    if (!in->insist && all - voters->gone >= voters->majority) {
        return "a majority of the shard's replicas may come back: their disks are not known to be "
               "lost. Start those brokers; or, if they are lost, say --insist";
    }
    return NULL;
}

static void answer(struct controller *c, struct session_call *call, struct bytes body)
{
    (void)c;
    Weir__LeaderMoved *moved = weir__leader_moved__unpack(NULL, body.size, body.data);
    if (moved == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL, "the recovery's result is not one");
        return;
    }
    reply_message(call, &moved->base);
    weir__leader_moved__free_unpacked(moved, NULL);
}

static void recover(struct controller *c, struct session_call *call, const Weir__LeaderControl *in)
{
    const struct db_stream *stream = watch_stream_find(c->watch, in->stream);
    const struct db_shard *row =
        stream == NULL ? NULL : watch_shard(c->watch, db_shard_id(stream->id, in->shard));
    if (row == NULL || row->phase == DB_SHARD_DELETED) {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no shard %u of stream %s",
                            in->shard, in->stream);
        return;
    }
    const struct voters voters = count(c, row, in->broker);
    const char *why = objection(in, &voters);
    if (why != NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "%s", why);
        return;
    }
    Weir__ReplicaId survivor;
    weir__replica_id__init(&survivor);
    survivor.broker = voters.survivor.broker;
    survivor.disk_gen = voters.survivor.disk_gen;
    Weir__CmdForceRecover force;
    weir__cmd_force_recover__init(&force);
    force.shard = row->id;
    force.epoch = row->epoch;
    force.survivor = &survivor;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_FORCE_RECOVER;
    command.force_recover = &force;
    command_for_call(c, call, &command, 1, answer);
}

void handle_force_recover(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    Weir__LeaderControl *in = weir__leader_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    recover(c, call, in);
    weir__leader_control__free_unpacked(in, NULL);
}
