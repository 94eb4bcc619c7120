/* Replicas and leaderships that move: three methods with one way of asking. */
#include <weir/moves.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"
#include "proto/schema/moves.pb-c.h"

enum { ZONE_TEXT_BYTES = 128 };

const char *weir_broker_mode_name(enum weir_broker_mode mode)
{
    switch (mode) {
    case WEIR_BROKER_NORMAL:
        return "";
    case WEIR_BROKER_DRAINING:
        return "draining";
    case WEIR_BROKER_REPLACED:
        return "replaced";
    case WEIR_BROKER_REMOVED:
        return "removed";
    }
    return "unknown";
}

/* A call under way. */
struct moves_job {
    struct admin_job *job;
    enum rpc_method method;
    Weir__Empty empty;
    Weir__BrokerControl control;
    Weir__LeaderControl leader;
    char zone[ZONE_TEXT_BYTES], stream[STREAM_NAME_MAX + 1];
    weir_moves_fn *got;
    void *context;
};

void weir_moves_free(struct weir_moves *moves)
{
    if (moves != NULL) {
        free(moves->brokers);
        free(moves->moves);
        free(moves);
    }
}

static void finish(struct moves_job *m, enum status status, const char *text,
                   const struct weir_moves *moves, const struct weir_leader_moved *leader)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    m->got(moves, leader, &error, m->context);
    free(m->job);
    free(m);
}

static void fill(struct weir_moves *out, const Weir__MovesStatus *from)
{
    for (size_t i = 0; i < from->n_brokers; i++) {
        out->brokers[i] = (struct weir_broker_plan){
            .broker = from->brokers[i]->broker,
            .mode = (enum weir_broker_mode)from->brokers[i]->mode,
            .replicas = from->brokers[i]->replicas,
            .leaders = from->brokers[i]->leaders,
            .drops = from->brokers[i]->drops,
            .down_since_ms = from->brokers[i]->down_since_ms,
        };
    }
    for (size_t i = 0; i < from->n_moves; i++) {
        const Weir__BrokerMove *move = from->moves[i];
        out->moves[i] = (struct weir_move){
            .shard = move->shard,
            .from = move->from == NULL ? 0 : move->from->broker,
            .to = move->to == NULL ? 0 : move->to->broker,
            .joining = move->joining,
            .started_ms = move->started_ms,
        };
    }
    out->broker_count = from->n_brokers;
    out->move_count = from->n_moves;
    out->rebalancing = from->rebalancing;
    out->under_replicated = from->under_replicated;
    (void)snprintf(out->waits_for, sizeof(out->waits_for), "%s", from->waits_for);
}

/* NULL: malformed, or out of memory. */
static struct weir_moves *parse(struct bytes body)
{
    Weir__MovesStatus *from = weir__moves_status__unpack(NULL, body.size, body.data);
    struct weir_moves *out = from != NULL ? calloc(1, sizeof(*out)) : NULL;
    if (out != NULL) {
        out->brokers = calloc(from->n_brokers + 1, sizeof(*out->brokers));
        out->moves = calloc(from->n_moves + 1, sizeof(*out->moves));
        if (out->brokers == NULL || out->moves == NULL) {
            weir_moves_free(out);
            out = NULL;
        } else {
            fill(out, from);
        }
    }
    weir__moves_status__free_unpacked(from, NULL);
    return out;
}

static void leader_answered(struct moves_job *m, struct bytes body)
{
    Weir__LeaderMoved *from = weir__leader_moved__unpack(NULL, body.size, body.data);
    if (from == NULL) {
        finish(m, STATUS_INTERNAL, "the controller's answer is malformed", NULL, NULL);
        return;
    }
    const struct weir_leader_moved moved = {.broker = from->broker,
                                            .before = from->before,
                                            .pause_ms = from->pause_ms,
                                            .under_way = from->under_way};
    weir__leader_moved__free_unpacked(from, NULL);
    finish(m, STATUS_OK, "", NULL, &moved);
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct moves_job *m = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(m, reply->status, reply->text, NULL, NULL);
    } else if (m->method == RPC_LEADER_CONTROL || m->method == RPC_FORCE_RECOVER) {
        leader_answered(m, reply->body);
    } else {
        struct weir_moves *moves = parse(reply->body);
        finish(m, moves != NULL ? STATUS_OK : STATUS_INTERNAL,
               "the controller's answer is malformed, or memory ran out", moves, NULL);
        weir_moves_free(moves);
    }
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct moves_job *m = job->context;
    const ProtobufCMessage *body =
        m->method == RPC_BROKER_CONTROL                                     ? &m->control.base
        : m->method == RPC_LEADER_CONTROL || m->method == RPC_FORCE_RECOVER ? &m->leader.base
                                                                            : &m->empty.base;
    enum status status =
        cluster_call(job->client->cluster, &job->call, m->method, body,
                     m->method == RPC_BROKER_CONTROL || m->method == RPC_FORCE_RECOVER,
                     admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(m, status, status_text(status), NULL, NULL);
    }
}

/* On OK the job is ready to be sent. */
static enum status prepare(struct weir_client *client, enum rpc_method method, uint32_t timeout_ms,
                           weir_moves_fn *got, void *context, struct moves_job **out,
                           struct error *error)
{
    struct moves_job *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = admin_job_new(client, NULL, timeout_ms, &m->job, error);
    if (status != STATUS_OK) {
        free(m);
        return status;
    }
    weir__empty__init(&m->empty);
    weir__broker_control__init(&m->control);
    weir__leader_control__init(&m->leader);
    m->control.request =
        (ProtobufCBinaryData){.data = m->job->request, .len = sizeof(m->job->request)};
    m->control.zone = m->zone;
    m->leader.stream = m->stream;
    m->leader.request = m->control.request;
    m->method = method;
    m->got = got;
    m->context = context;
    m->job->context = m;
    m->job->mail.run = ask;
    *out = m;
    return STATUS_OK;
}

static enum status begin_status(struct weir_client *client, uint32_t timeout_ms, weir_moves_fn *got,
                                void *context, struct error *error)
{
    struct moves_job *m = NULL;
    enum status status = prepare(client, RPC_MOVES_STATUS, timeout_ms, got, context, &m, error);
    if (status == STATUS_OK) {
        net_mailbox_send(client->mailbox, &m->job->mail);
    }
    return status;
}

static enum status begin_control(struct weir_client *client, enum weir_broker_action action,
                                 uint32_t broker, const char *zone, uint32_t timeout_ms,
                                 weir_moves_fn *got, void *context, struct error *error)
{
    struct moves_job *m = NULL;
    if (zone != NULL && strlen(zone) >= ZONE_TEXT_BYTES) {
        return error_set(error, STATUS_INVALID, "the zone's name is too long");
    }
    enum status status = prepare(client, RPC_BROKER_CONTROL, timeout_ms, got, context, &m, error);
    if (status == STATUS_OK) {
        m->control.action = (Weir__BrokerControl__Action)action;
        m->control.broker = broker;
        (void)snprintf(m->zone, sizeof(m->zone), "%s", zone == NULL ? "" : zone);
        net_mailbox_send(client->mailbox, &m->job->mail);
    }
    return status;
}

static enum status begin_leader(struct weir_client *client, const char *stream, uint32_t shard,
                                uint32_t broker, uint32_t timeout_ms, weir_moves_fn *got,
                                void *context, struct error *error)
{
    struct moves_job *m = NULL;
    if (stream != NULL && (stream[0] == '\0' || strlen(stream) > STREAM_NAME_MAX)) {
        return error_set(error, STATUS_INVALID, "a stream's name has 1 to %d characters",
                         STREAM_NAME_MAX);
    }
    enum status status = prepare(client, RPC_LEADER_CONTROL, timeout_ms, got, context, &m, error);
    if (status == STATUS_OK) {
        m->leader.shard = shard;
        m->leader.broker = broker;
        (void)snprintf(m->stream, sizeof(m->stream), "%s", stream == NULL ? "" : stream);
        net_mailbox_send(client->mailbox, &m->job->mail);
    }
    return status;
}

static enum status begin_recover(struct weir_client *client, const char *stream, uint32_t shard,
                                 uint32_t survivor, unsigned flags, uint32_t timeout_ms,
                                 weir_moves_fn *got, void *context, struct error *error)
{
    struct moves_job *m = NULL;
    if (stream == NULL || stream[0] == '\0' || strlen(stream) > STREAM_NAME_MAX) {
        return error_set(error, STATUS_INVALID, "a stream's name has 1 to %d characters",
                         STREAM_NAME_MAX);
    }
    enum status status = prepare(client, RPC_FORCE_RECOVER, timeout_ms, got, context, &m, error);
    if (status == STATUS_OK) {
        m->leader.shard = shard;
        m->leader.broker = survivor;
        m->leader.accept_loss = (flags & WEIR_RECOVER_ACCEPT_LOSS) != 0;
        m->leader.insist = (flags & WEIR_RECOVER_INSIST) != 0;
        (void)snprintf(m->stream, sizeof(m->stream), "%s", stream);
        net_mailbox_send(client->mailbox, &m->job->mail);
    }
    return status;
}

/* ---- waiting
 * --------------------------------------------------------------------------------------- */

/* What the callback brings out to the thread that waits. */
struct waiting {
    struct waiter waiter;
    bool wants_moves;
    struct weir_leader_moved leader;
};

static struct weir_moves *copy(const struct weir_moves *moves)
{
    struct weir_moves *out = malloc(sizeof(*out));
    if (out == NULL) {
        return NULL;
    }
    *out = *moves;
    out->brokers = calloc(moves->broker_count + 1, sizeof(*out->brokers));
    out->moves = calloc(moves->move_count + 1, sizeof(*out->moves));
    if (out->brokers == NULL || out->moves == NULL) {
        weir_moves_free(out);
        return NULL;
    }
    memcpy(out->brokers, moves->brokers, moves->broker_count * sizeof(*out->brokers));
    memcpy(out->moves, moves->moves, moves->move_count * sizeof(*out->moves));
    return out;
}

static void for_waiter(const struct weir_moves *moves, const struct weir_leader_moved *leader,
                       const struct weir_error *error, void *context)
{
    struct waiting *waiting = context;
    struct weir_moves *result = moves != NULL && waiting->wants_moves ? copy(moves) : NULL;
    if (leader != NULL) {
        waiting->leader = *leader;
    }
    if (moves != NULL && waiting->wants_moves && result == NULL) {
        struct weir_error memory;
        (void)handle_error(&memory, STATUS_NO_MEMORY, "out of memory");
        waiter_wake(&waiting->waiter, NULL, &memory);
        return;
    }
    waiter_wake(&waiting->waiter, result, error);
}

enum weir_status weir_moves_status(struct weir_client *client, uint32_t timeout_ms,
                                   struct weir_moves **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiting waiting = {.wants_moves = true};
    struct error why = {0};
    void *result = NULL;
    waiter_init(&waiting.waiter);
    enum status begun = begin_status(client, timeout_ms, for_waiter, &waiting, &why);
    enum weir_status status = waiter_wait_begun(&waiting.waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}

enum weir_status weir_broker_control(struct weir_client *client, enum weir_broker_action action,
                                     uint32_t broker, const char *zone, uint32_t timeout_ms,
                                     struct weir_moves **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiting waiting = {.wants_moves = out != NULL};
    struct error why = {0};
    void *result = NULL;
    waiter_init(&waiting.waiter);
    enum status begun =
        begin_control(client, action, broker, zone, timeout_ms, for_waiter, &waiting, &why);
    enum weir_status status = waiter_wait_begun(&waiting.waiter, begun, &why, &result, error);
    if (status == WEIR_OK && out != NULL) {
        *out = result;
    }
    return status;
}

enum weir_status weir_leader_move(struct weir_client *client, const char *stream, uint32_t shard,
                                  uint32_t broker, uint32_t timeout_ms,
                                  struct weir_leader_moved *out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiting waiting = {0};
    struct error why = {0};
    void *result = NULL;
    waiter_init(&waiting.waiter);
    enum status begun =
        begin_leader(client, stream, shard, broker, timeout_ms, for_waiter, &waiting, &why);
    enum weir_status status = waiter_wait_begun(&waiting.waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = waiting.leader;
    }
    return status;
}

enum weir_status weir_shard_force_recover(struct weir_client *client, const char *stream,
                                          uint32_t shard, uint32_t survivor, unsigned flags,
                                          uint32_t timeout_ms, struct weir_leader_moved *out,
                                          struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiting waiting = {0};
    struct error why = {0};
    void *result = NULL;
    waiter_init(&waiting.waiter);
    enum status begun = begin_recover(client, stream, shard, survivor, flags, timeout_ms,
                                      for_waiter, &waiting, &why);
    enum weir_status status = waiter_wait_begun(&waiting.waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = waiting.leader;
    }
    return status;
}

enum weir_status weir_moves_status_async(struct weir_client *client, uint32_t timeout_ms,
                                         weir_moves_fn *got, void *context)
{
    return public_status(begin_status(client, timeout_ms, got, context, NULL));
}

enum weir_status weir_broker_control_async(struct weir_client *client,
                                           enum weir_broker_action action, uint32_t broker,
                                           const char *zone, uint32_t timeout_ms,
                                           weir_moves_fn *got, void *context)
{
    return public_status(
        begin_control(client, action, broker, zone, timeout_ms, got, context, NULL));
}

enum weir_status weir_leader_move_async(struct weir_client *client, const char *stream,
                                        uint32_t shard, uint32_t broker, uint32_t timeout_ms,
                                        weir_moves_fn *got, void *context)
{
    return public_status(
        begin_leader(client, stream, shard, broker, timeout_ms, got, context, NULL));
}
