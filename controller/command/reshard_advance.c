/* What becomes of a split, a merge, or the way to another number of shards, as leaders come and
 * parents are closed. Everything is in the rows: whichever controller is active goes on with it.
 *
 *     children WAITING, made by the step     and its parents OPEN
 *       -> each child has had a leader        : parents SEALING   (the active controller asks their
 *                                                                  leaders to append SEAL)
 *       -> each parent's SEAL is committed    : parents CLOSED, children OPEN, in this very command
 *       -> no child waits, a target is set    : the next step, or ACTIVE
 *
 * The parts of a step that have no shard in common do not wait for each other. */
#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "controller/command/attributes.h"
#include "controller/command/place.h"
#include "controller/command/reshard.h"

/* ---- open shards
 * ----------------------------------------------------------------------------------- */

static void add_open(const struct db_shard *shard, void *context)
{
    struct open_shards *open = context;
    bool takes = shard->lineage.state == DB_SHARD_OPEN || shard->lineage.state == DB_SHARD_SEALING;
    if (!takes || shard->phase == DB_SHARD_DELETED || open->failed) {
        return;
    }
    if (open->count == open->capacity) {
        size_t capacity = open->capacity == 0 ? 16 : 2 * open->capacity;
        struct reshard_shard *grown = realloc(open->shard, capacity * sizeof(*grown));
        if (grown == NULL) {
            open->failed = true;
            return;
        }
        open->shard = grown;
        open->capacity = capacity;
    }
    open->shard[open->count++] =
        (struct reshard_shard){.number = (uint32_t)shard->id, .range = shard->range};
}

void open_shards_load(struct db *db, uint32_t stream, struct open_shards *open)
{
    db_shard_each(db, stream, add_open, open);
}

void open_shards_release(struct open_shards *open)
{
    free(open->shard);
}

/* ---- a step
 * ---------------------------------------------------------------------------------------- */

bool reshard_begin_step(struct db *db, struct db_stream *stream, const struct reshard_step *step,
                        struct db_result *result)
{
    AUTO(place_release) struct place place = {0};
    place_load(db, &place);
    AUTO(free_pointer)
    struct placement_choice *choices = calloc(step->count, sizeof(*choices));
    if (place.failed || choices == NULL) {
        result->status = STATUS_NO_MEMORY;
        return false;
    }
    /* Where the brokers that are alive cannot hold them by the rule, they go where their parents
     * are: those were placed by the rule that the stream was made with. */
    bool chosen = placement_choose(place.broker, place.count, (uint32_t)step->count, false, choices,
                                   NULL) == STATUS_OK;
    for (size_t i = 0; i < step->count; i++) {
        const struct reshard_child *child = &step->child[i];
        struct db_shard parent;
        struct db_shard shard = {
            .id = db_shard_id(stream->id, stream->shard_count + (uint32_t)i),
            .range = child->range,
            .created_s = db_meta(db)->time_ms / 1000, /* again when it opens */
            .lineage = {.state = DB_SHARD_WAITING, .parent_count = child->parent_count},
        };
        for (uint32_t p = 0; p < child->parent_count; p++) {
            shard.lineage.parent[p] = child->parent[p];
        }
        if (chosen) {
            place_shard(db, &place, &choices[i], &shard);
        } else if (db_shard_get(db, db_shard_id(stream->id, child->parent[0]), &parent)) {
            place_beside(db, &parent, &shard);
        }
        db_shard_lineage_put(db, &shard);
    }
    if (chosen) {
        place_loads(db, &place);
    }
    stream->shard_count += (uint32_t)step->count;
    db_stream_put(db, stream);
    return true;
}

/* ---- what may happen now
 * --------------------------------------------------------------------------- */

/* Children that wait, with the parents of each. */
struct family {
    struct db_shard child, parent[DB_PARENTS_MAX];
};

struct waiting {
    struct family *family;
    struct reshard_child *link; /* for reshard_components() */
    size_t count;
    uint32_t components;
};

static void waiting_release(struct waiting *w)
{
    free(w->family);
    free(w->link);
}

static bool add_family(struct db *db, uint32_t stream, uint32_t number, struct waiting *w)
{
    if ((w->count & (w->count - 1)) == 0) { /* full: capacities are powers of two */
        size_t capacity = w->count == 0 ? 1 : 2 * w->count;
        struct family *family = realloc(w->family, capacity * sizeof(*family));
        w->family = family != NULL ? family : w->family;
        struct reshard_child *link = realloc(w->link, capacity * sizeof(*link));
        w->link = link != NULL ? link : w->link;
        if (family == NULL || link == NULL) {
            return false;
        }
    }
    struct family *f = &w->family[w->count];
    struct reshard_child *link = &w->link[w->count];
    if (!db_shard_get(db, db_shard_id(stream, number), &f->child)) {
        return true; /* the database has failed */
    }
    *link = (struct reshard_child){.parent_count = f->child.lineage.parent_count};
    for (uint32_t p = 0; p < link->parent_count; p++) {
        link->parent[p] = f->child.lineage.parent[p];
        if (!db_shard_get(db, db_shard_id(stream, link->parent[p]), &f->parent[p])) {
            return true;
        }
    }
    w->count++;
    return true;
}

static bool load_waiting(struct db *db, uint32_t stream, struct waiting *w)
{
    uint32_t number = 0;
    while (db_shard_in_state(db, stream, number, DB_SHARD_WAITING, &number)) {
        if (!add_family(db, stream, number, w)) {
            return false;
        }
        number++;
    }
    return reshard_components(w->link, w->count, &w->components) == STATUS_OK;
}

/* All children of the component have had a leader, so its parents may be closed. */
static void begin_sealing(struct db *db, struct waiting *w, uint32_t component)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct family *f = &w->family[i];
        if (w->link[i].component == component && !f->child.granted) {
            return;
        }
    }
    for (size_t i = 0; i < w->count; i++) {
        struct family *f = &w->family[i];
        for (uint32_t p = 0; w->link[i].component == component && p < w->link[i].parent_count;
             p++) {
            if (f->parent[p].lineage.state == DB_SHARD_OPEN) {
                f->parent[p].lineage.state = DB_SHARD_SEALING;
                db_shard_lineage_put(db, &f->parent[p]);
            }
        }
    }
}

static bool is_sealed(const struct waiting *w, uint32_t component)
{
    for (size_t i = 0; i < w->count; i++) {
        for (uint32_t p = 0; w->link[i].component == component && p < w->link[i].parent_count;
             p++) {
            const struct db_lineage *parent = &w->family[i].parent[p].lineage;
            if (parent->state != DB_SHARD_SEALING || parent->final_offset == 0) {
                return false;
            }
        }
    }
    return true;
}

/* Sequence numbers begin with their shard's creation second: a child's must be later than its
 * parents', and later than their records'. */
static void open_child(struct db *db, struct family *f)
{
    uint64_t created_s = db_meta(db)->time_ms / 1000;
    for (uint32_t p = 0; p < f->child.lineage.parent_count; p++) {
        const struct db_shard *parent = &f->parent[p];
        uint64_t closed_s = parent->lineage.closed_ms / 1000;
        uint64_t after = (closed_s > parent->created_s ? closed_s : parent->created_s) + 1;
        created_s = after > created_s ? after : created_s;
    }
    f->child.created_s = created_s;
    f->child.lineage.state = DB_SHARD_OPEN;
    db_shard_put(db, &f->child);
    db_shard_lineage_put(db, &f->child);
}

/* Parents closed and children open, at once: the open shards cover every key at every version, and
 * whoever sees a closed parent sees its children. */
static void publish(struct db *db, struct waiting *w, uint32_t component)
{
    for (size_t i = 0; i < w->count; i++) {
        struct family *f = &w->family[i];
        if (w->link[i].component != component) {
            continue;
        }
        for (uint32_t p = 0; p < w->link[i].parent_count; p++) {
            struct db_shard *parent = &f->parent[p];
            parent->lineage.state = DB_SHARD_CLOSED;
            db_shard_lineage_put(db, parent);
        }
        open_child(db, f);
    }
}

/* The step is done. False: another one has begun, or memory is out. */
static bool finish(struct db *db, struct db_stream *stream, uint32_t target,
                   struct db_result *result)
{
    AUTO(open_shards_release) struct open_shards open = {0};
    AUTO(reshard_step_release) struct reshard_step step = {0};
    if (target != 0) {
        open_shards_load(db, stream->id, &open);
        enum status status = open.failed ? STATUS_NO_MEMORY
                                         : reshard_next_step(open.shard, open.count, target, &step);
        if (status == STATUS_NO_MEMORY) {
            result->status = status;
            return false;
        }
    }
    struct db_result waits = {0};
    if (step.count > 0 && command_waits_for_held(db, &waits)) {
        return false; /* command_held_told() comes here again */
    }
    if (step.count > 0) {
        db_reshard_put(db, stream->id, step.last ? 0 : target);
        return reshard_begin_step(db, stream, &step, result);
    }
    AUTO(attributes_free) Weir__StreamAttributes *attributes = db_attributes_get(db, stream->id);
    if (attributes == NULL) {
        result->status = STATUS_NO_MEMORY;
        return false;
    }
    db_reshard_delete(db, stream->id);
    if (stream->state == DB_STREAM_UPDATING && attributes->updating == 0) {
        stream->state = DB_STREAM_ACTIVE;
    }
    db_stream_put(db, stream);
    return true;
}

void command_reshard_advance(struct db *db, uint32_t stream_id, struct db_result *result)
{
    struct db_stream stream;
    uint32_t target;
    AUTO(waiting_release) struct waiting w = {0};
    if (!db_stream_get(db, stream_id, &stream) || stream.state == DB_STREAM_DELETING ||
        !db_reshard_get(db, stream_id, &target)) {
        return;
    }
    if (!load_waiting(db, stream_id, &w)) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    for (uint32_t c = 0; c < w.components; c++) {
        if (is_sealed(&w, c)) {
            publish(db, &w, c);
        } else {
            begin_sealing(db, &w, c);
        }
    }
    uint32_t number;
    if (!db_shard_in_state(db, stream_id, 0, DB_SHARD_WAITING, &number)) {
        (void)finish(db, &stream, target, result);
    }
}

/* ---- SHARDS_SEALED, EXPIRE_SHARDS
 * ------------------------------------------------------------------ */

/* A committed SEAL is for good, whoever tells of it and however late: the first is noted. */
static bool note_seal(struct db *db, const Weir__CmdShardsSealed__Shard *in)
{
    struct db_shard row;
    if (in->shard > INT64_MAX || in->end == 0 || in->end > INT64_MAX || in->time_ms > INT64_MAX ||
        !db_shard_get(db, in->shard, &row) || row.phase == DB_SHARD_DELETED ||
        row.lineage.state != DB_SHARD_SEALING || row.lineage.final_offset != 0) {
        return false;
    }
    row.lineage.final_offset = in->end;
    row.lineage.closed_ms = in->time_ms;
    db_shard_lineage_put(db, &row);
    return true;
}

void command_shards_sealed(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdShardsSealed *in = command->shards_sealed;
    uint32_t stream = 0;
    for (size_t i = 0; i < in->n_shards; i++) {
        if (!note_seal(db, in->shards[i])) {
            continue;
        }
        uint32_t of = (uint32_t)(in->shards[i]->shard >> 32);
        if (stream != 0 && of != stream) {
            command_reshard_advance(db, stream, result);
        }
        stream = of;
    }
    if (stream != 0) {
        command_reshard_advance(db, stream, result);
    }
}

void command_expire_shards(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdExpireShards *in = command->expire_shards;
    for (size_t i = 0; i < in->n_shards; i++) {
        struct db_shard row;
        struct db_stream stream;
        if (in->shards[i] > INT64_MAX || !db_shard_get(db, in->shards[i], &row) ||
            row.phase == DB_SHARD_DELETED || row.lineage.state != DB_SHARD_CLOSED ||
            !db_stream_get(db, (uint32_t)(row.id >> 32), &stream)) {
            continue;
        }
        uint64_t kept_ms = (uint64_t)stream.retention_hours * 3600 * 1000;
        if (row.lineage.closed_ms + kept_ms < db_meta(db)->time_ms) {
            command_drop_shard(db, &row);
        }
    }
}
