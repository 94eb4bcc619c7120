/* SHARD_STATUS: what this broker's replicas say of themselves, for operators and tests. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/api/internal.h"

/* One shard's answer with all that it points to. */
struct status_row {
    Weir__ShardStatus message;
    Weir__MemberStatus member[REPLICA_VOTERS_MAX], *members[REPLICA_VOTERS_MAX];
    Weir__ReplicaId id[REPLICA_VOTERS_MAX];
    Weir__ShardMetrics metrics;
    char role[16];
};

/* A broker that died, or came back with another disk, does not hold what the voter held (R14),
 * though it may be connected again. */
static bool has_its_disk(const struct api *api, struct replica_id id)
{
    const struct route_broker *broker = route_broker(api->options.route, id.broker);
    return broker == NULL || (broker->alive && broker->disk_gen == id.disk_gen);
}

static void add_member(const struct api *api, struct status_row *row,
                       const struct replica_member_view *member, uint64_t commit)
{
    size_t i = row->message.n_members++;
    weir__replica_id__init(&row->id[i]);
    row->id[i].broker = member->id.broker;
    row->id[i].disk_gen = member->id.disk_gen;
    weir__member_status__init(&row->member[i]);
    row->member[i].replica = &row->id[i];
    row->member[i].match = member->match;
    row->member[i].connected = member->connected;
    row->member[i].in_sync =
        member->connected && member->match >= commit && has_its_disk(api, member->id);
    row->members[i] = &row->member[i];
}

static const char *role_name(enum replica_role role)
{
    return role == REPLICA_LEADING ? "leading" : role == REPLICA_HALTED ? "halted" : "following";
}

static void add_metrics(const struct api *api, struct status_row *row, const struct shard *shard)
{
    const struct route_stream *stream =
        route_stream(api->options.route, (uint32_t)(shard->id >> 32));
    uint32_t enabled = stream == NULL ? 0 : stream->attributes->monitoring;
    const struct shard_counters *c = &shard->counters;
    const uint64_t values[] = {c->in_bytes,       c->in_records,     c->out_bytes,
                               c->out_records,    c->write_exceeded, c->read_exceeded,
                               c->iterator_age_ms};
    uint64_t *const fields[] = {&row->metrics.in_bytes,       &row->metrics.in_records,
                                &row->metrics.out_bytes,      &row->metrics.out_records,
                                &row->metrics.write_exceeded, &row->metrics.read_exceeded,
                                &row->metrics.iterator_age_ms};
    if (enabled == 0) {
        return;
    }
    weir__shard_metrics__init(&row->metrics);
    row->metrics.enabled = enabled;
    for (uint32_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        *fields[i] = (enabled & 1U << i) != 0 ? values[i] : 0;
    }
    row->message.metrics = &row->metrics;
}

static void fill(const struct api *api, struct status_row *row, const struct shard *shard)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    weir__shard_status__init(&row->message);
    row->message.shard = shard->id;
    (void)snprintf(row->role, sizeof(row->role), "%s", role_name(view.role));
    row->message.role = row->role;
    row->message.open = view.open;
    row->message.epoch = view.epoch;
    row->message.promised = view.promised;
    row->message.log_start = view.log_start;
    row->message.commit = view.commit;
    row->message.durable_end = view.durable_end;
    row->message.end = view.last.end;
    row->message.uncertain = view.uncertain;
    row->message.members = row->members;
    add_metrics(api, row, shard);
    if (view.role == REPLICA_LEADING) {
        const struct replica_member_view self = {
            .id = shard->self, .match = view.durable_end, .connected = true};
        add_member(api, row, &self, view.commit);
        for (uint32_t i = 0; i < view.member_count; i++) {
            add_member(api, row, &view.member[i], view.commit);
        }
    }
}

static size_t fill_all(struct api *api, const Weir__ShardStatusRequest *request,
                       struct status_row *rows, size_t capacity)
{
    struct shards *set = api->options.shards;
    size_t count = 0;
    for (size_t i = 0; i < request->n_shards && count < capacity; i++) {
        const struct shard *shard = shards_find(set, request->shards[i]);
        if (shard != NULL) {
            fill(api, &rows[count++], shard);
        }
    }
    if (request->n_shards == 0) {
        for (struct shard *shard = shards_next(set, NULL); shard != NULL && count < capacity;
             shard = shards_next(set, shard)) {
            fill(api, &rows[count++], shard);
        }
    }
    return count;
}

static void answer(struct api *api, struct session_call *call,
                   const Weir__ShardStatusRequest *request)
{
    uint32_t leading;
    size_t held = shards_count(api->options.shards, &leading);
    size_t capacity = request->n_shards == 0 ? held : request->n_shards;
    capacity = capacity < API_STATUS_SHARDS_MAX ? capacity : (size_t)API_STATUS_SHARDS_MAX;
    struct status_row *rows = calloc(capacity + 1, sizeof(*rows));
    Weir__ShardStatus **messages = calloc(capacity + 1, sizeof(Weir__ShardStatus *));
    if (rows == NULL || messages == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "broker-%u is out of memory",
                            api->options.broker);
    } else {
        size_t count = fill_all(api, request, rows, capacity);
        for (size_t i = 0; i < count; i++) {
            messages[i] = &rows[i].message;
        }
        Weir__ShardStatusReply reply = WEIR__SHARD_STATUS_REPLY__INIT;
        reply.n_shards = count;
        reply.shards = messages;
        session_reply(call, (struct session_payload){.body = &reply.base});
    }
    free(rows);
    free(messages);
}

void api_shard_status(struct api *api, struct session_call *call)
{
    Weir__ShardStatusRequest *request =
        weir__shard_status_request__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL,
                            "SHARD_STATUS: the message cannot be decoded");
        return;
    }
    answer(api, call, request);
    weir__shard_status_request__free_unpacked(request, NULL);
}
