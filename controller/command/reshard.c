/* RESHARD: a split, a merge, or a number of shards with equal ranges (docs/replication.md 2.12).
 * The first step's children are made here; what follows, when they have leaders and their parents
 * are closed, is in reshard_advance.c. */
#include "controller/command/reshard.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/attributes.h"
#include "controller/command/stream_control.h"

struct request {
    struct db *db;
    const Weir__Reshard *in;
    struct db_result *result;
    struct db_stream stream;
    struct open_shards open;
    Weir__ClusterSettings *settings;
    Weir__StreamAttributes *attributes;
};

static void request_release(struct request *r)
{
    open_shards_release(&r->open);
    settings_free(&r->settings);
    attributes_free(&r->attributes);
}

static bool find_stream(struct request *r)
{
    const char *account = settings_account(r->settings);
    static const char *const names[] = {
        [DB_STREAM_CREATING] = "CREATING",
        [DB_STREAM_ACTIVE] = "ACTIVE",
        [DB_STREAM_DELETING] = "DELETING",
        [DB_STREAM_UPDATING] = "UPDATING",
    };
    if (!db_stream_find(r->db, r->in->name, &r->stream) ||
        (r->in->stream != 0 && r->in->stream != r->stream.id)) {
        command_refuse(r->result, STATUS_NOT_FOUND, "Stream %s under account %s not found.",
                       r->in->name, account);
        return false;
    }
    if (r->stream.state != DB_STREAM_ACTIVE) {
        command_refuse(r->result, STATUS_IN_USE,
                       "Stream %s under account %s not ACTIVE, instead in state %s", r->in->name,
                       account, names[r->stream.state]);
        return false;
    }
    if (r->in->limited && r->attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND) {
        command_refuse(r->result, STATUS_VALIDATION,
                       "Request is invalid. Stream %s under account %s is in On-Demand mode.",
                       r->in->name, account);
        return false;
    }
    return true;
}

/* The open shard with this number; NULL: refused. */
static const struct reshard_shard *find_shard(struct request *r, uint32_t number)
{
    for (size_t i = 0; i < r->open.count; i++) {
        if (r->open.shard[i].number == number) {
            return &r->open.shard[i];
        }
    }
    const char *account = settings_account(r->settings);
    struct db_shard row;
    if (db_shard_get(r->db, db_shard_id(r->stream.id, number), &row) &&
        row.phase != DB_SHARD_DELETED) {
        command_refuse(
            r->result, STATUS_INVALID,
            "Shard shardId-%012u in stream %s under account %s is not open: it was split "
            "or merged",
            number, r->in->name, account);
    } else {
        command_refuse(r->result, STATUS_NOT_FOUND,
                       "Could not find shard shardId-%012u in stream %s under account %s.", number,
                       r->in->name, account);
    }
    return NULL;
}

static bool step_alloc(struct request *r, size_t children, struct reshard_step *out)
{
    out->child = calloc(children, sizeof(*out->child));
    if (out->child == NULL) {
        r->result->status = STATUS_NO_MEMORY;
        return false;
    }
    out->count = children;
    out->last = true;
    return true;
}

static bool plan_split(struct request *r, const Weir__Reshard__Split *in, struct reshard_step *out)
{
    const struct reshard_shard *shard = find_shard(r, in->shard);
    if (shard == NULL) {
        return false;
    }
    if (in->at.len != 0 && in->at.len != HASH_KEY_BYTES) {
        command_refuse(r->result, STATUS_INVALID, "a hash key has %d bytes", HASH_KEY_BYTES);
        return false;
    }
    struct hash_key at =
        in->at.len == 0 ? reshard_middle(shard->range) : hash_key_from_bytes(in->at.data);
    struct hash_range halves[2];
    bool fits = reshard_split(shard->range, at, halves) == STATUS_OK;
    /* AWS wants more than one key in the first child, and in the second. */
    bool narrow = fits && r->in->limited &&
                  (hash_key_compare(halves[0].first, halves[0].last) == 0 ||
                   hash_key_compare(halves[1].first, halves[1].last) == 0);
    if (!fits || narrow) {
        char first[HASH_KEY_DECIMAL_BYTES], last[HASH_KEY_DECIMAL_BYTES],
            wanted[HASH_KEY_DECIMAL_BYTES];
        hash_key_to_decimal(shard->range.first, first);
        hash_key_to_decimal(shard->range.last, last);
        hash_key_to_decimal(at, wanted);
        command_refuse(
            r->result, STATUS_INVALID,
            "NewStartingHashKey %s used in SplitShard() on shard shardId-%012u in stream "
            "%s under account %s is not both greater than one plus the shard's "
            "StartingHashKey %s and less than the shard's EndingHashKey %s.",
            wanted, in->shard, r->in->name, settings_account(r->settings), first, last);
        return false;
    }
    if (!step_alloc(r, 2, out)) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        out->child[i] =
            (struct reshard_child){.range = halves[i], .parent_count = 1, .parent = {in->shard}};
    }
    return true;
}

static bool plan_merge(struct request *r, const Weir__Reshard__Merge *in, struct reshard_step *out)
{
    const struct reshard_shard *a = find_shard(r, in->shard);
    const struct reshard_shard *b = a == NULL ? NULL : find_shard(r, in->with);
    if (a == NULL || b == NULL) {
        return false;
    }
    if (!r->in->limited && reshard_adjacent(b->range, a->range)) {
        const struct reshard_shard *lower = b; /* people name them in any order */
        b = a;
        a = lower;
    }
    if (!reshard_adjacent(a->range, b->range)) {
        command_refuse(r->result, STATUS_INVALID,
                       "Shards shardId-%012u and shardId-%012u in stream %s under account %s are "
                       "not an adjacent pair of shards eligible for merging",
                       in->shard, in->with, r->in->name, settings_account(r->settings));
        return false;
    }
    if (!step_alloc(r, 1, out)) {
        return false;
    }
    out->child[0] = (struct reshard_child){
        .range = {.first = a->range.first, .last = b->range.last},
        .parent_count = 2,
        .parent = {a->number,               b->number            },
    };
    return true;
}

static bool count_is_good(struct request *r, const Weir__Reshard__Count *in)
{
    size_t open = r->open.count;
    if (in->shards < 1 || in->shards > SHARDS_PER_STREAM_MAX) {
        command_refuse(r->result, r->in->limited ? STATUS_LIMIT : STATUS_INVALID,
                       "a stream has 1 to %d shards", SHARDS_PER_STREAM_MAX);
        return false;
    }
    if (in->within_double && in->shards > 2 * open) {
        command_refuse(r->result, r->in->limited ? STATUS_LIMIT : STATUS_INVALID,
                       "UpdateShardCount cannot scale up over double your current open shard "
                       "count. Current open shard count: %zu Target shard count: %u",
                       open, in->shards);
        return false;
    }
    if (in->within_double && 2 * (uint64_t)in->shards < open) {
        command_refuse(r->result, r->in->limited ? STATUS_LIMIT : STATUS_INVALID,
                       "UpdateShardCount cannot scale down below half your current open shard "
                       "count. Current open shard count: %zu Target shard count: %u",
                       open, in->shards);
        return false;
    }
    return true;
}

/* More open shards than the account may have. */
static bool account_allows(struct request *r, size_t target)
{
    uint32_t limit = control_limit(r->settings->shard_limit, COMMAND_SHARDS_MAX);
    if (!r->in->limited || limit == UINT32_MAX || target <= r->open.count) {
        return true;
    }
    uint64_t now = db_shards_open(r->db), more = target - r->open.count;
    if (now + more <= limit) {
        return true;
    }
    command_refuse(r->result, STATUS_LIMIT,
                   "This request would exceed the shard limit for the account %s in %s. Current "
                   "shard count for the account: %llu. Limit: %u. Number of additional shards that "
                   "would have resulted from this request: %llu.",
                   settings_account(r->settings), settings_region(r->settings),
                   (unsigned long long)now, limit, (unsigned long long)more);
    return false;
}

/* The first step of what is wanted; *out_target as in db_reshard_put(). */
static bool plan(struct request *r, struct reshard_step *out, uint32_t *out_target)
{
    const Weir__Reshard *in = r->in;
    *out_target = 0;
    if (in->kind_case == WEIR__RESHARD__KIND_SPLIT) {
        return plan_split(r, in->split, out) && account_allows(r, r->open.count + 1);
    }
    if (in->kind_case == WEIR__RESHARD__KIND_MERGE) {
        return plan_merge(r, in->merge, out);
    }
    if (!count_is_good(r, in->count) || !account_allows(r, in->count->shards)) {
        return false;
    }
    *out_target = in->count->shards;
    enum status status = reshard_next_step(r->open.shard, r->open.count, in->count->shards, out);
    if (status != STATUS_OK) {
        command_refuse(r->result, status,
                       status == STATUS_NO_MEMORY ? "out of memory"
                                                  : "the open shards of %s do not cover all keys",
                       in->name);
    }
    return status == STATUS_OK;
}

static void carry_out(struct request *r, const struct reshard_step *step, uint32_t target)
{
    if (step->count > 0) { /* else it has those shards already */
        if (r->stream.shard_count > (uint32_t)RESHARD_SHARDS_EVER_MAX - step->count) {
            command_refuse(r->result, STATUS_LIMIT, "a stream has %d shards in its whole life",
                           RESHARD_SHARDS_EVER_MAX);
            return;
        }
        r->stream.state = DB_STREAM_UPDATING;
        db_reshard_put(r->db, r->stream.id, step->last ? 0 : target);
        if (!reshard_begin_step(r->db, &r->stream, step, r->result)) {
            return;
        }
    }
    command_answer_stream(r->db, r->result, &r->stream);
}

void command_reshard(struct db *db, const Weir__Command *command, struct db_result *result)
{
    AUTO(request_release)
    struct request r = {.db = db,
                        .in = command->reshard->reshard,
                        .result = result,
                        .settings = db_settings_get(db)};
    if (r.settings != NULL && db_stream_find(db, r.in->name, &r.stream)) {
        r.attributes = db_attributes_get(db, r.stream.id);
    } else {
        r.attributes = db_attributes_get(db, 0);
    }
    if (r.settings == NULL || r.attributes == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    if (!find_stream(&r)) {
        return;
    }
    if (command_waits_for_held(db, result)) {
        return;
    }
    open_shards_load(db, r.stream.id, &r.open);
    AUTO(reshard_step_release) struct reshard_step step = {0};
    uint32_t target;
    if (r.open.failed) {
        result->status = STATUS_NO_MEMORY;
    } else if (plan(&r, &step, &target)) {
        carry_out(&r, &step, target);
    }
}
