/* What is remembered of shards and streams; what follows from it is in plan.c. */
#include "controller/scaling/scaling.h"

#include <stdlib.h>
#include <string.h>

#include "controller/scaling/internal.h"

struct scaling *scaling_new(const struct scaling_config *config)
{
    struct scaling *s = calloc(1, sizeof(*s));
    if (s != NULL) {
        s->config = *config;
    }
    return s;
}

void scaling_free(struct scaling *s)
{
    if (s != NULL) {
        free(s->track);
        free(s->rest);
        free(s);
    }
}

void scaling_clear(struct scaling *s)
{
    if (s->track != NULL) {
        memset(s->track, 0, s->capacity * sizeof(*s->track));
    }
    s->used = 0;
    s->rest_count = 0;
}

/* ---- shards ---- */

/* The shard's slot, or the free one where it belongs. There always is one. */
static struct track *slot_of(struct track *track, size_t capacity, uint64_t shard)
{
    uint64_t hash = (shard ^ shard >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    size_t at = (size_t)(hash >> 32) & (capacity - 1);
    while (track[at].used && track[at].shard != shard) {
        at = (at + 1) & (capacity - 1);
    }
    return &track[at];
}

/* Moves all that were heard of since `since_ms` into a table with room for twice as many. */
static bool rebuild(struct scaling *s, uint64_t since_ms)
{
    size_t kept = 0, capacity = 64;
    for (size_t i = 0; i < s->capacity; i++) {
        kept += s->track[i].used && s->track[i].last_ms >= since_ms;
    }
    while (capacity < 4 * (kept + 1)) {
        capacity *= 2;
    }
    struct track *table = calloc(capacity, sizeof(*table));
    if (table == NULL) {
        return false;
    }
    for (size_t i = 0; i < s->capacity; i++) {
        if (s->track[i].used && s->track[i].last_ms >= since_ms) {
            *slot_of(table, capacity, s->track[i].shard) = s->track[i];
        }
    }
    free(s->track);
    s->track = table;
    s->capacity = capacity;
    s->used = kept;
    return true;
}

const struct track *scaling_track(const struct scaling *s, uint64_t shard)
{
    if (s->capacity == 0) {
        return NULL;
    }
    const struct track *track = slot_of(s->track, s->capacity, shard);
    return track->used ? track : NULL;
}

static uint64_t part_length(const struct scaling *s)
{
    uint64_t length = s->config.idle_ms / SCALING_IDLE_PARTS;
    return length == 0 ? 1 : length;
}

static void advance_parts(const struct scaling *s, struct track *t, uint64_t now_ms)
{
    uint64_t length = part_length(s);
    while (now_ms >= t->part_ms + length) {
        memmove(t->peak + 1, t->peak, sizeof(t->peak) - sizeof(t->peak[0]));
        t->peak[0] = t->mean; /* until the next window ends, it goes on like that */
        t->part_ms += length;
    }
}

static void end_window(const struct scaling *s, struct track *t, uint64_t now_ms)
{
    if (now_ms - t->window_ms < s->config.window_ms || t->time_ms == 0) {
        return;
    }
    t->mean = (uint32_t)(t->weight / t->time_ms);
    t->has_mean = true;
    t->window_ms = now_ms;
    t->weight = t->time_ms = 0;
    if (t->mean > t->peak[0]) {
        t->peak[0] = t->mean;
    }
}

enum status scaling_report(struct scaling *s, uint64_t now_ms, const struct scaling_report *report)
{
    if (2 * (s->used + 1) > s->capacity && !rebuild(s, 0)) {
        return STATUS_NO_MEMORY;
    }
    struct track *t = slot_of(s->track, s->capacity, report->shard);
    /* Who was silent for so long has been led elsewhere, or by nobody: what was is not what is. */
    bool fresh = !t->used || now_ms - t->last_ms > 4 * s->config.window_ms;
    if (fresh) {
        s->used += !t->used;
        *t = (struct track){.shard = report->shard,
                            .used = true,
                            .first_ms = now_ms,
                            .last_ms = now_ms,
                            .window_ms = now_ms,
                            .part_ms = now_ms};
        return STATUS_OK; /* for which time it speaks is not known */
    }
    uint64_t elapsed_ms = now_ms - t->last_ms;
    uint32_t permille = report->permille < 100000 ? report->permille : 100000;
    t->weight += permille * elapsed_ms;
    t->time_ms += elapsed_ms;
    t->last_ms = now_ms;
    t->can_split = report->can_split;
    t->split = report->split;
    end_window(s, t, now_ms);
    advance_parts(s, t, now_ms);
    return STATUS_OK;
}

/* ---- streams ---- */

/* Where the stream's row is, or belongs. */
static size_t rest_place(const struct scaling *s, uint32_t stream)
{
    size_t low = 0, high = s->rest_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (s->rest[middle].stream < stream) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool scaling_rest_of(const struct scaling *s, uint32_t stream, uint64_t *out_ms)
{
    size_t at = rest_place(s, stream);
    bool found = at < s->rest_count && s->rest[at].stream == stream;
    if (found) {
        *out_ms = s->rest[at].since_ms;
    }
    return found;
}

void scaling_rest(struct scaling *s, uint64_t now_ms, uint32_t stream)
{
    size_t at = rest_place(s, stream);
    if (at == s->rest_count || s->rest[at].stream != stream) {
        if (s->rest_count == s->rest_capacity) {
            size_t capacity = s->rest_capacity == 0 ? 16 : 2 * s->rest_capacity;
            struct rest *grown = realloc(s->rest, capacity * sizeof(*grown));
            if (grown == NULL) {
                return; /* it may be asked sooner than it should; the command still judges */
            }
            s->rest = grown;
            s->rest_capacity = capacity;
        }
        memmove(&s->rest[at + 1], &s->rest[at], (s->rest_count - at) * sizeof(*s->rest));
        s->rest_count++;
        s->rest[at].stream = stream;
    }
    s->rest[at].since_ms = now_ms;
}

void scaling_tidy(struct scaling *s, uint64_t now_ms)
{
    const struct scaling_config *c = &s->config;
    uint64_t longest = c->idle_ms + c->cooldown_ms + 8 * c->window_ms;
    uint64_t since_ms = now_ms > longest ? now_ms - longest : 0;
    size_t kept = 0;
    for (size_t i = 0; i < s->rest_count; i++) {
        if (s->rest[i].since_ms >= since_ms) {
            s->rest[kept++] = s->rest[i];
        }
    }
    s->rest_count = kept;
    for (size_t i = 0; i < s->capacity; i++) {
        if (s->track[i].used && s->track[i].last_ms < since_ms) {
            (void)rebuild(s, since_ms); /* without memory they stay until the next time */
            return;
        }
    }
}
