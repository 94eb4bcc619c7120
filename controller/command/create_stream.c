/* A new stream: its shards, their places, and the first epoch of each, in one step. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/place.h"
#include "controller/command/stream_control.h"

bool command_name_is_good(const char *name, struct db_result *result)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    size_t length = strlen(name);
    if (length >= 1 && length <= STREAM_NAME_MAX && strspn(name, allowed) == length) {
        return true;
    }
    command_refuse(result, STATUS_INVALID,
                   "a stream's name has 1 to %d characters of a-z A-Z 0-9 _ . -", STREAM_NAME_MAX);
    return false;
}

void command_answer_change(struct db *db, struct db_result *result, const struct db_stream *stream,
                           const Weir__StreamAttributes *attributes,
                           const Weir__StreamAttributes *before, const Weir__Consumer *consumer)
{
    /* Packing changes nothing, but the fields are not const: hence copies. */
    static char empty_text[1];
    Weir__StreamAttributes shown = *attributes;
    Weir__StreamAttributes old = WEIR__STREAM_ATTRIBUTES__INIT;
    Weir__Consumer one = WEIR__CONSUMER__INIT;
    char name[STREAM_NAME_MAX + 1];
    memcpy(name, stream->name, sizeof(name));
    shown.n_tags = shown.n_consumers = shown.n_data_keys = 0;
    shown.policy = empty_text;
    Weir__StreamInfo info;
    weir__stream_info__init(&info);
    info.id = stream->id;
    info.name = name;
    info.state = (Weir__StreamState)stream->state;
    info.created_ms = stream->created_ms;
    info.retention_hours = stream->retention_hours;
    info.shard_count = stream->shard_count;
    info.attributes = &shown;
    Weir__StreamReply reply = WEIR__STREAM_REPLY__INIT;
    reply.stream = &info;
    reply.version = db_next_version(db);
    if (before != NULL) {
        old = *before;
        reply.before = &old;
    }
    if (consumer != NULL) {
        one = *consumer;
        one.n_tags = 0;
        one.policy = empty_text;
        reply.consumer = &one;
    }
    command_answer(result, &reply.base);
}

void command_answer_stream(struct db *db, struct db_result *result, const struct db_stream *stream)
{
    AUTO(attributes_free) Weir__StreamAttributes *attributes = db_attributes_get(db, stream->id);
    if (attributes == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    command_answer_change(db, result, stream, attributes, NULL, NULL);
}

static bool stream_id_is_good(const char *id)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    return strlen(id) == 24 && strspn(id, allowed) == 20 && id[20] == '-' &&
           strspn(id + 21, allowed) == 3;
}

static void count_creating(const struct db_stream *stream, void *context)
{
    *(uint32_t *)context += stream->state == DB_STREAM_CREATING;
}

/* The limits of the account, and its texts. */
static bool account_allows(struct control *c, const Weir__CmdCreateStream *in)
{
    const Weir__ClusterSettings *s = c->settings;
    uint32_t creating_limit = control_limit(s->creating_stream_limit, COMMAND_STREAMS_CREATING_MAX);
    uint32_t shard_limit = control_limit(s->shard_limit, COMMAND_SHARDS_MAX);
    uint32_t creating = 0;
    if (db_stream_find(c->db, in->name, &c->stream)) {
        command_refuse(c->result, STATUS_IN_USE, "Stream %s under account %s already exists.",
                       in->name, settings_account(s));
        return false;
    }
    db_stream_each(c->db, count_creating, &creating);
    if (creating_limit != UINT32_MAX && creating >= creating_limit) {
        command_refuse(c->result, STATUS_LIMIT,
                       "Account %s has %u streams in state CREATING; the limit is %u.",
                       settings_account(s), creating, creating_limit);
        return false;
    }
    uint64_t open = db_shards_open(c->db);
    if (shard_limit != UINT32_MAX && open + in->shards > shard_limit) {
        command_refuse(c->result, STATUS_LIMIT,
                       "This request would exceed the shard limit for the account %s in %s. "
                       "Current shard count for the account: %llu. Limit: %u. Number of additional "
                       "shards that would have resulted from this request: %u.",
                       settings_account(s), settings_region(s), (unsigned long long)open,
                       shard_limit, in->shards);
        return false;
    }
    return in->mode != WEIR__STREAM_MODE__STREAM_ON_DEMAND || control_may_be_on_demand(c);
}

static void control_release(struct control *c)
{
    attributes_free(&c->attributes);
    settings_free(&c->settings);
}

/* Attributes of the new stream in c->attributes. */
static bool make_attributes(struct control *c, const Weir__CmdCreateStream *in)
{
    if (c->settings == NULL || c->attributes == NULL) {
        return control_no_memory(c);
    }
    if ((in->limited && !account_allows(c, in)) ||
        (in->warm_mibps != 0 && !control_warm_is_good(c, in->mode, in->warm_mibps))) {
        return false;
    }
    Weir__StreamAttributes *a = c->attributes;
    a->mode = in->mode;
    a->max_record_kib = in->max_record_kib;
    a->warm_mibps = in->warm_mibps;
    if (!text_set(&a->stream_id, in->stream_id)) {
        return control_no_memory(c);
    }
    if (!tags_set(&a->tags, &a->n_tags, in->tags, in->n_tags, c->result)) {
        return false;
    }
    if (a->n_tags > TAGS_MAX) {
        command_refuse(c->result, STATUS_INVALID, "A stream has at most %d tags.", TAGS_MAX);
        return false;
    }
    return true;
}

static bool request_is_good(struct db *db, const Weir__CmdCreateStream *in,
                            struct db_result *result)
{
    struct db_stream other;
    if (!command_name_is_good(in->name, result)) {
        return false;
    }
    if (in->shards < 1 || in->shards > SHARDS_PER_STREAM_MAX) {
        command_refuse(result, STATUS_INVALID, "a stream has 1 to %d shards",
                       SHARDS_PER_STREAM_MAX);
        return false;
    }
    if (in->retention_hours > COMMAND_RETENTION_HOURS_MAX) {
        command_refuse(result, STATUS_INVALID, "records are kept for 1 to %d hours",
                       COMMAND_RETENTION_HOURS_MAX);
        return false;
    }
    if (in->stream_id[0] != '\0' && !stream_id_is_good(in->stream_id)) {
        command_refuse(result, STATUS_INVALID, "a stream id is 20 characters, a dash, 3 more");
        return false;
    }
    if (in->max_record_kib != 0 && !control_max_record_is_good(result, in->max_record_kib)) {
        return false;
    }
    if (!in->limited && db_stream_find(db, in->name, &other)) {
        command_refuse(result, STATUS_EXISTS,
                       other.state == DB_STREAM_DELETING ? "stream %s is still being deleted"
                                                         : "there is a stream %s already",
                       in->name);
        return false;
    }
    return true;
}

void command_create_stream(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdCreateStream *in = command->create_stream;
    if (!request_is_good(db, in, result)) {
        return;
    }
    AUTO(control_release)
    struct control control = {.db = db,
                              .result = result,
                              .settings = db_settings_get(db),
                              .attributes = db_attributes_get(db, 0)}; /* of no stream: empty */
    if (!make_attributes(&control, in)) {
        return;
    }
    AUTO(place_release) struct place alive = {0};
    place_load(db, &alive);
    AUTO(free_pointer)
    struct placement_choice *choices = calloc(in->shards, sizeof(*choices));
    if (alive.failed || choices == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    struct error error;
    enum status status = placement_choose(alive.broker, alive.count, in->shards,
                                          in->allow_fewer_zones, choices, &error);
    if (status != STATUS_OK) {
        command_refuse(result, status, "%s", error.text);
        return;
    }
    struct db_stream stream = {
        .id = db_stream_id_take(db),
        .state = DB_STREAM_CREATING,
        .created_ms = db_meta(db)->time_ms,
        .retention_hours = in->retention_hours == 0 ? COMMAND_RETENTION_HOURS : in->retention_hours,
        .shard_count = in->shards,
        .waiting = in->shards,
    };
    memcpy(stream.name, in->name, strlen(in->name) + 1);
    db_stream_put(db, &stream);
    db_attributes_put(db, stream.id, control.attributes);
    for (uint32_t s = 0; s < in->shards; s++) {
        struct db_shard shard = {
            .id = db_shard_id(stream.id, s),
            .range = hash_range_of(s, stream.shard_count),
            .created_s = stream.created_ms / 1000,
        };
        place_shard(db, &alive, &choices[s], &shard);
    }
    place_loads(db, &alive);
    command_answer_stream(db, result, &stream);
}
