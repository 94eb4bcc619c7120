/* What follows from the loads. */
#include <stdlib.h>

#include "controller/scaling/internal.h"

static int compare_shards(const void *a, const void *b)
{
    const struct reshard_shard *left = a, *right = b;
    return hash_key_compare(left->range.first, right->range.first);
}

static uint64_t shard_id(uint32_t stream, uint32_t number)
{
    return (uint64_t)stream << 32 | number;
}

/* Reported lately, for a whole window at least. */
static const struct track *known(const struct scaling *s, uint64_t now_ms, uint64_t shard)
{
    const struct track *t = scaling_track(s, shard);
    return t != NULL && t->has_mean && now_ms - t->last_ms <= 2 * s->config.window_ms ? t : NULL;
}

static bool is_hot(const struct track *t)
{
    return t != NULL && t->mean >= SCALING_SPLIT_PERMILLE;
}

static void add_split(struct scaling_plan *plan, uint32_t shard, struct hash_key at)
{
    plan->split[plan->split_count++] = (struct scaling_split){.shard = shard, .at = at};
}

static void plan_splits(const struct scaling *s, uint64_t now_ms, uint32_t stream,
                        const struct reshard_shard *open, size_t count, struct scaling_plan *plan)
{
    for (size_t i = 0; i < count && plan->split_count < SCALING_STEP_MAX &&
                       count + plan->split_count < s->config.shards_max;
         i++) {
        const struct track *t = known(s, now_ms, shard_id(stream, open[i].number));
        struct hash_range halves[2];
        if (is_hot(t) && t->can_split &&
            reshard_split(open[i].range, t->split, halves) == STATUS_OK) {
            add_split(plan, open[i].number, t->split);
        }
    }
}

static struct hash_key width(struct hash_range range)
{
    struct hash_key w = {.low = range.last.low - range.first.low};
    w.high = range.last.high - range.first.high - (range.last.low < range.first.low);
    return w;
}

static int compare_widths(const void *a, const void *b)
{
    const struct reshard_shard *left = a, *right = b;
    int order = hash_key_compare(width(right->range), width(left->range));
    return order != 0 ? order : left->number < right->number ? -1 : left->number > right->number;
}

/* Halves the widest ones until there are `least`, or each was halved once. */
static void plan_growth(const struct scaling *s, struct reshard_shard *open, size_t count,
                        uint32_t least, struct scaling_plan *plan)
{
    uint32_t wanted = least < s->config.shards_max ? least : s->config.shards_max;
    qsort(open, count, sizeof(*open), compare_widths);
    for (size_t i = 0;
         i < count && count + plan->split_count < wanted && plan->split_count < SCALING_STEP_MAX;
         i++) {
        struct hash_range halves[2];
        struct hash_key middle = reshard_middle(open[i].range);
        if (reshard_split(open[i].range, middle, halves) == STATUS_OK) {
            add_split(plan, open[i].number, middle);
        }
    }
}

static uint32_t peak_of(const struct track *t)
{
    uint32_t peak = t->mean;
    for (uint32_t i = 0; i < SCALING_IDLE_PARTS; i++) {
        peak = t->peak[i] > peak ? t->peak[i] : peak;
    }
    return peak;
}

/* Both were seen for all of the time that must have been quiet, and it was. */
static bool are_quiet(const struct scaling *s, const struct track *a, const struct track *b)
{
    return a != NULL && b != NULL && a->last_ms - a->first_ms >= s->config.idle_ms &&
           b->last_ms - b->first_ms >= s->config.idle_ms &&
           peak_of(a) + peak_of(b) < SCALING_MERGE_PERMILLE;
}

static void plan_merges(const struct scaling *s, uint64_t now_ms, uint32_t stream,
                        const struct reshard_shard *open, size_t count, uint32_t least,
                        struct scaling_plan *plan)
{
    for (size_t i = 0;
         i + 1 < count && plan->merge_count < SCALING_STEP_MAX && count - plan->merge_count > least;
         i++) {
        const struct track *a = known(s, now_ms, shard_id(stream, open[i].number));
        const struct track *b = known(s, now_ms, shard_id(stream, open[i + 1].number));
        if (are_quiet(s, a, b) && reshard_adjacent(open[i].range, open[i + 1].range)) {
            plan->merge[plan->merge_count++] =
                (struct scaling_merge){.shard = open[i].number, .with = open[i + 1].number};
            i++;
        }
    }
}

bool scaling_judge(struct scaling *s, uint64_t now_ms, uint32_t stream, struct reshard_shard *open,
                   size_t count, uint32_t least, struct scaling_plan *out)
{
    uint64_t since_ms;
    out->split_count = out->merge_count = 0;
    if (count == 0 ||
        (scaling_rest_of(s, stream, &since_ms) && now_ms - since_ms < s->config.cooldown_ms)) {
        return false;
    }
    qsort(open, count, sizeof(*open), compare_shards);
    plan_splits(s, now_ms, stream, open, count, out);
    if (out->split_count == 0 && count < least) {
        plan_growth(s, open, count, least, out);
    } else if (out->split_count == 0) {
        plan_merges(s, now_ms, stream, open, count, least, out);
    }
    bool any = out->split_count + out->merge_count > 0;
    if (any) {
        scaling_rest(s, now_ms, stream);
    }
    return any;
}
