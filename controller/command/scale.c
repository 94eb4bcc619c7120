/* SCALE: splits and merges of a stream in on-demand mode, in one step. The active controller found
 * them by the load that it knew; what has changed since is seen here, and then nothing is done. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/command/attributes.h"
#include "controller/command/reshard.h"

struct scale {
    struct open_shards open;
    bool *used; /* for each of them: it is a parent already */
    struct reshard_step step;
};

static void scale_release(struct scale *s)
{
    open_shards_release(&s->open);
    free(s->used);
    reshard_step_release(&s->step);
}

/* The open shard with this number, which becomes a parent; NULL: it cannot. */
static const struct reshard_shard *take(struct scale *s, uint32_t number)
{
    for (size_t i = 0; i < s->open.count; i++) {
        if (s->open.shard[i].number == number && !s->used[i]) {
            s->used[i] = true;
            return &s->open.shard[i];
        }
    }
    return NULL;
}

static bool add_split(struct scale *s, const Weir__Reshard__Split *in)
{
    const struct reshard_shard *shard = take(s, in->shard);
    struct hash_range halves[2];
    if (shard == NULL || in->at.len != HASH_KEY_BYTES ||
        reshard_split(shard->range, hash_key_from_bytes(in->at.data), halves) != STATUS_OK) {
        return false;
    }
    for (uint32_t i = 0; i < 2; i++) {
        s->step.child[s->step.count++] =
            (struct reshard_child){.range = halves[i], .parent_count = 1, .parent = {in->shard}};
    }
    return true;
}

static bool add_merge(struct scale *s, const Weir__Reshard__Merge *in)
{
    const struct reshard_shard *a = take(s, in->shard);
    const struct reshard_shard *b = a == NULL ? NULL : take(s, in->with);
    if (b == NULL || !reshard_adjacent(a->range, b->range)) {
        return false;
    }
    s->step.child[s->step.count++] = (struct reshard_child){
        .range = {.first = a->range.first, .last = b->range.last},
        .parent_count = 2,
        .parent = {a->number,               b->number            },
    };
    return true;
}

static bool fill(struct scale *s, const Weir__CmdScale *in)
{
    bool fits = true;
    for (size_t i = 0; i < in->n_splits && fits; i++) {
        fits = add_split(s, in->splits[i]);
    }
    for (size_t i = 0; i < in->n_merges && fits; i++) {
        fits = add_merge(s, in->merges[i]);
    }
    s->step.last = true;
    return fits && s->step.count > 0;
}

static bool is_on_demand(struct db *db, uint32_t stream, struct db_result *result)
{
    AUTO(attributes_free) Weir__StreamAttributes *attributes = db_attributes_get(db, stream);
    if (attributes == NULL) {
        result->status = STATUS_NO_MEMORY;
    }
    return attributes != NULL && attributes->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND;
}

void command_scale(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdScale *in = command->scale;
    struct db_stream stream;
    if (!db_stream_get(db, in->stream, &stream) || stream.state != DB_STREAM_ACTIVE ||
        !is_on_demand(db, in->stream, result)) {
        return;
    }
    struct db_result waits = {0};
    if (command_waits_for_held(db, &waits)) {
        return; /* the load will still be there */
    }
    AUTO(scale_release) struct scale scale = {0};
    open_shards_load(db, stream.id, &scale.open);
    scale.used = calloc(scale.open.count + 1, sizeof(*scale.used));
    scale.step.child = calloc(2 * in->n_splits + in->n_merges + 1, sizeof(*scale.step.child));
    if (scale.open.failed || scale.used == NULL || scale.step.child == NULL) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    if (!fill(&scale, in) || stream.shard_count > RESHARD_SHARDS_EVER_MAX - scale.step.count) {
        return;
    }
    stream.state = DB_STREAM_UPDATING;
    db_reshard_put(db, stream.id, 0);
    if (!reshard_begin_step(db, &stream, &scale.step, result)) {
        result->status = STATUS_NO_MEMORY; /* which ends the transaction, and the process */
    }
}
