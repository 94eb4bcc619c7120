/* One stream with its shards, and, when asked for, what their leaders say of the replicas. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"
#include "proto/schema/data.pb-c.h"
#include "proto/wire/seqnum.h"

enum { LEADERS_PATIENCE_MS = 1000 };

/* A leader to be asked about its shards of the stream. */
struct leader_ask {
    struct describe *describe;
    uint32_t broker;
    size_t shard_count;
    uint64_t *shards;
    struct session_request request;
    enum { ASK_TO_BE_SENT, ASK_SENT, ASK_OVER } state;
};

struct describe {
    struct admin_job *job;
    bool ask_leaders;
    weir_stream_fn *got;
    void *context;
    struct weir_stream *stream;
    size_t ask_count;
    struct leader_ask *asks;
    struct cluster_watcher watcher;
    struct net_timer patience;
};

void weir_stream_free(struct weir_stream *stream)
{
    if (stream != NULL) {
        free(stream->shards);
        free(stream);
    }
}

const char *weir_stream_state_name(enum weir_stream_state state)
{
    static const char *const names[] = {"NONE", "CREATING", "ACTIVE", "DELETING", "UPDATING"};
    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "UNKNOWN";
}

/* ---- rows to public structs -------------------------------------------------------------------
 */

static const char *phase_name(uint32_t phase)
{
    static const char *const names[] = {"IDLE",   "ELECTING",  "ACTIVE",
                                        "SEALED", "NO_QUORUM", "DELETED"};
    return phase < sizeof(names) / sizeof(names[0]) ? names[phase] : "UNKNOWN";
}

static void broker_name(const struct metadata *metadata, uint32_t id, char out[NODE_NAME_BYTES])
{
    const struct metadata_broker *broker = metadata_broker(metadata, id);
    if (broker != NULL) {
        (void)snprintf(out, NODE_NAME_BYTES, "%s", broker->name);
    } else {
        (void)snprintf(out, NODE_NAME_BYTES, "broker-%u", id);
    }
}

static void fill_replica(const struct metadata *metadata, const struct metadata_shard *row,
                         const struct metadata_voter *voter, struct weir_replica *out)
{
    const struct metadata_broker *broker = metadata_broker(metadata, voter->broker);
    out->broker_id = voter->broker;
    out->disk_gen = voter->disk_gen;
    out->leader = row->leader == voter->broker;
    out->alive = broker != NULL && broker->alive;
    broker_name(metadata, voter->broker, out->broker);
    (void)snprintf(out->zone, sizeof(out->zone), "%s", broker != NULL ? broker->zone : "");
}

static void fill_shard(const struct metadata *metadata, const struct metadata_shard *row,
                       uint32_t number, struct weir_shard *out)
{
    weir_shard_id(number, out->id);
    out->number = number;
    hash_key_to_decimal(row->range.first, out->hash_first);
    hash_key_to_decimal(row->range.last, out->hash_last);
    struct seqnum first = {
        .created_s = row->created_s, .shard_number = number, .record_s = row->created_s};
    seqnum_to_decimal(&first, out->first_sequence_number);
    bool led = row->phase == WEIR__SHARD_PHASE__SHARD_ACTIVE;
    out->state = row->waiting          ? "WAITING"
                 : row->sealing && led ? "SEALING"
                                       : phase_name(row->phase);
    out->takes_records = metadata_shard_is_open(row);
    out->parent_count = row->parent_count;
    memcpy(out->parents, row->parents, sizeof(out->parents));
    out->closed_ms = row->closed_ms;
    out->epoch = row->epoch;
    if (row->leader != 0) {
        broker_name(metadata, row->leader, out->leader);
    }
    out->replica_count = row->voter_count;
    for (uint32_t i = 0; i < row->voter_count; i++) {
        fill_replica(metadata, row, &row->voters[i], &out->replicas[i]);
    }
}

static void fill_stream(const struct metadata *metadata, const struct metadata_stream *row,
                        struct weir_stream *out)
{
    out->id = row->id;
    memcpy(out->name, row->name, sizeof(out->name));
    out->state = (enum weir_stream_state)row->state;
    out->created_ms = row->created_ms;
    out->retention_hours = row->retention_hours;
    out->version = metadata->version;
    out->shard_count = row->shard_count;
}

/* NULL: out of memory. */
static struct weir_stream *make_stream(const struct metadata *metadata,
                                       const struct metadata_stream *row)
{
    struct weir_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    fill_stream(metadata, row, stream);
    stream->shards = calloc(row->shard_count + (size_t)1, sizeof(*stream->shards));
    if (stream->shards == NULL) {
        weir_stream_free(stream);
        return NULL;
    }
    for (uint32_t i = 0; i < row->shard_count; i++) {
        fill_shard(metadata, &row->shards[i], i, &stream->shards[i]);
    }
    return stream;
}

NODISCARD static enum status parse_image(struct bytes body, struct metadata *out)
{
    Weir__MetadataUpdate *update = weir__metadata_update__unpack(NULL, body.size, body.data);
    if (update == NULL) {
        return STATUS_CORRUPT;
    }
    enum status status = metadata_apply(out, update);
    weir__metadata_update__free_unpacked(update, NULL);
    return status;
}

/* ---- asking the leaders -----------------------------------------------------------------------
 */

static void describe_free(struct describe *describe)
{
    struct weir_client *client = describe->job->client;
    cluster_unwatch(&describe->watcher);
    net_timer_stop(client->loop, &describe->patience);
    for (size_t i = 0; i < describe->ask_count; i++) {
        free(describe->asks[i].shards);
    }
    free(describe->asks);
    weir_stream_free(describe->stream);
    free(describe->job);
    free(describe);
}

static void finish(struct describe *describe, enum status status, const char *text)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    struct weir_stream *stream = describe->stream;
    describe->stream = NULL;
    if (status != STATUS_OK) {
        weir_stream_free(stream);
        stream = NULL;
    }
    describe->got(stream, &error, describe->context);
    describe_free(describe);
}

static bool all_over(const struct describe *describe)
{
    for (size_t i = 0; i < describe->ask_count; i++) {
        if (describe->asks[i].state != ASK_OVER) {
            return false;
        }
    }
    return true;
}

static void take_member(struct weir_shard *shard, const Weir__MemberStatus *member)
{
    for (uint32_t i = 0; i < shard->replica_count; i++) {
        struct weir_replica *replica = &shard->replicas[i];
        if (member->replica != NULL && replica->broker_id == member->replica->broker &&
            replica->disk_gen == member->replica->disk_gen) {
            replica->known = true;
            replica->connected = member->connected;
            replica->in_sync = member->in_sync;
            replica->match = member->match;
            replica->lag = shard->end > member->match ? shard->end - member->match : 0;
        }
    }
}

static void take_metrics(struct weir_shard *shard, const Weir__ShardMetrics *from)
{
    if (from != NULL) {
        const uint64_t values[WEIR_METRICS] = {
            from->in_bytes,       from->in_records,    from->out_bytes,      from->out_records,
            from->write_exceeded, from->read_exceeded, from->iterator_age_ms};
        shard->metrics_enabled = from->enabled;
        memcpy(shard->metrics, values, sizeof(values));
    }
}

static void take_status(struct weir_stream *stream, const Weir__ShardStatus *status)
{
    uint32_t number = (uint32_t)status->shard;
    if (status->shard >> 32 != stream->id || number >= stream->shard_count ||
        status->n_members == 0) {
        return;
    }
    struct weir_shard *shard = &stream->shards[number];
    shard->status_known = true;
    shard->open = status->open;
    shard->log_start = status->log_start;
    shard->commit = status->commit;
    shard->end = status->end;
    take_metrics(shard, status->metrics);
    for (size_t i = 0; i < status->n_members; i++) {
        take_member(shard, status->members[i]);
    }
}

static void leader_said(struct session_request *request, const struct session_reply *reply)
{
    struct leader_ask *ask = CONTAINER_OF(request, struct leader_ask, request);
    struct describe *describe = ask->describe;
    ask->state = ASK_OVER;
    if (reply->status == STATUS_OK) {
        Weir__ShardStatusReply *said =
            weir__shard_status_reply__unpack(NULL, reply->body.size, reply->body.data);
        for (size_t i = 0; said != NULL && i < said->n_shards; i++) {
            take_status(describe->stream, said->shards[i]);
        }
        weir__shard_status_reply__free_unpacked(said, NULL);
    }
    if (all_over(describe)) {
        finish(describe, STATUS_OK, "");
    }
}

static void send_asks(struct describe *describe)
{
    struct cluster *cluster = describe->job->client->cluster;
    for (size_t i = 0; i < describe->ask_count; i++) {
        struct leader_ask *ask = &describe->asks[i];
        uint32_t serial;
        struct session *session =
            ask->state == ASK_TO_BE_SENT ? cluster_broker(cluster, ask->broker, &serial) : NULL;
        if (session == NULL) {
            continue;
        }
        Weir__ShardStatusRequest body = WEIR__SHARD_STATUS_REQUEST__INIT;
        body.n_shards = ask->shard_count;
        body.shards = ask->shards;
        struct session_payload payload = {.body = &body.base};
        enum status status = session_call(session, RPC_SHARD_STATUS, payload, LEADERS_PATIENCE_MS,
                                          &ask->request, leader_said);
        ask->state = status == STATUS_OK ? ASK_SENT : ASK_OVER;
    }
    if (all_over(describe)) {
        finish(describe, STATUS_OK, "");
    }
}

static void brokers_changed(struct cluster_watcher *watcher)
{
    send_asks(CONTAINER_OF(watcher, struct describe, watcher));
}

/* Those that could not be reached stay unknown; those that were asked have their own time limit. */
static void out_of_patience(struct net_timer *timer)
{
    struct describe *describe = CONTAINER_OF(timer, struct describe, patience);
    for (size_t i = 0; i < describe->ask_count; i++) {
        if (describe->asks[i].state == ASK_TO_BE_SENT) {
            describe->asks[i].state = ASK_OVER;
        }
    }
    if (all_over(describe)) {
        finish(describe, STATUS_OK, "");
    }
}

/* The ask of a broker, made when there is none yet. */
static struct leader_ask *ask_of(struct describe *describe, uint32_t broker)
{
    for (size_t i = 0; i < describe->ask_count; i++) {
        if (describe->asks[i].broker == broker) {
            return &describe->asks[i];
        }
    }
    struct leader_ask *ask = &describe->asks[describe->ask_count++];
    ask->describe = describe;
    ask->broker = broker;
    return ask;
}

NODISCARD static enum status make_asks(struct describe *describe, const struct metadata *metadata,
                                       const struct metadata_stream *row)
{
    describe->asks = calloc(metadata->broker_count + row->shard_count + 1, sizeof(*describe->asks));
    if (describe->asks == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < row->shard_count; i++) {
        if (row->shards[i].leader == 0) {
            continue;
        }
        struct leader_ask *ask = ask_of(describe, row->shards[i].leader);
        uint64_t *shards = realloc(ask->shards, (ask->shard_count + 1) * sizeof(*shards));
        if (shards == NULL) {
            return STATUS_NO_MEMORY;
        }
        ask->shards = shards;
        ask->shards[ask->shard_count++] = (uint64_t)row->id << 32 | i;
    }
    return STATUS_OK;
}

static void begin_asking(struct describe *describe)
{
    struct weir_client *client = describe->job->client;
    describe->watcher.changed = brokers_changed;
    cluster_watch(client->cluster, &describe->watcher);
    handle_timer(client, &describe->patience, handle_now_ms() + LEADERS_PATIENCE_MS,
                 out_of_patience);
    send_asks(describe);
}

static void got_image(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct admin_job *job = CONTAINER_OF(call, struct admin_job, call);
    struct describe *describe = job->context;
    struct metadata metadata = {0};
    enum status status = reply->status;
    const char *text = reply->text;
    if (status == STATUS_OK) {
        status = parse_image(reply->body, &metadata);
        text = status_text(status);
    }
    const struct metadata_stream *row = NULL;
    if (status == STATUS_OK) {
        row = metadata_stream_by_name(&metadata, job->name);
        status = row == NULL ? STATUS_NOT_FOUND : STATUS_OK;
        text = "there is no stream of this name (weir stream list shows those that are)";
    }
    if (status == STATUS_OK) {
        describe->stream = make_stream(&metadata, row);
        status = describe->stream == NULL ? STATUS_NO_MEMORY : STATUS_OK;
        text = status_text(status);
    }
    if (status == STATUS_OK && describe->ask_leaders) {
        status = make_asks(describe, &metadata, row);
        text = status_text(status);
    }
    metadata_release(&metadata);
    if (status == STATUS_OK && describe->ask_leaders) {
        begin_asking(describe);
    } else {
        finish(describe, status, text);
    }
}

static void get_image(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    enum status status =
        cluster_call(job->client->cluster, &job->call, RPC_GET_METADATA, &job->body.get.base, false,
                     admin_left_ms(job->deadline_ms), got_image);
    if (status != STATUS_OK) {
        finish(job->context, status, status_text(status));
    }
}

NODISCARD static enum status describe_begin(struct weir_client *client, const char *name,
                                            bool ask_leaders, uint32_t timeout_ms,
                                            weir_stream_fn *got, void *context, struct error *error)
{
    struct describe *describe = calloc(1, sizeof(*describe));
    if (describe == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = admin_job_new(client, name, timeout_ms, &describe->job, error);
    if (status != STATUS_OK) {
        free(describe);
        return status;
    }
    describe->ask_leaders = ask_leaders;
    describe->got = got;
    describe->context = context;
    list_init(&describe->watcher.node);
    struct admin_job *job = describe->job;
    job->context = describe;
    weir__get_metadata__init(&job->body.get);
    job->body.get.stream = job->name;
    job->mail.run = get_image;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_describe_async(struct weir_client *client, const char *name,
                                            bool ask_leaders, uint32_t timeout_ms,
                                            weir_stream_fn *got, void *context)
{
    return public_status(describe_begin(client, name, ask_leaders, timeout_ms, got, context, NULL));
}

static void got_for_waiter(struct weir_stream *stream, const struct weir_error *error,
                           void *context)
{
    waiter_wake(context, stream, error);
}

enum weir_status weir_stream_describe(struct weir_client *client, const char *name,
                                      bool ask_leaders, uint32_t timeout_ms,
                                      struct weir_stream **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun =
        describe_begin(client, name, ask_leaders, timeout_ms, got_for_waiter, &waiter, &why);
    void *result = NULL;
    enum weir_status status = waiter_wait_begun(&waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}
