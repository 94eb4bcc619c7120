#include "controller/reshard/reshard.h"

#include <stdlib.h>

#include "base/cleanup.h"

void reshard_step_release(struct reshard_step *step)
{
    free(step->child);
    *step = (struct reshard_step){0};
}

static struct hash_key plus_one(struct hash_key key)
{
    key.low++;
    key.high += key.low == 0;
    return key;
}

static struct hash_key minus_one(struct hash_key key)
{
    key.high -= key.low == 0;
    key.low--;
    return key;
}

bool reshard_adjacent(struct hash_range a, struct hash_range b)
{
    bool last = a.last.high == UINT64_MAX && a.last.low == UINT64_MAX;
    return !last && hash_key_compare(plus_one(a.last), b.first) == 0;
}

enum status reshard_split(struct hash_range range, struct hash_key at, struct hash_range out[2])
{
    if (hash_key_compare(at, range.first) <= 0 || hash_key_compare(at, range.last) > 0) {
        return STATUS_INVALID;
    }
    out[0] = (struct hash_range){.first = range.first, .last = minus_one(at)};
    out[1] = (struct hash_range){.first = at, .last = range.last};
    return STATUS_OK;
}

struct hash_key reshard_middle(struct hash_range range)
{
    /* first + (last - first) / 2 + 1, which is at most last. */
    uint64_t low = range.last.low - range.first.low;
    uint64_t high = range.last.high - range.first.high - (range.last.low < range.first.low);
    low = low >> 1 | high << 63;
    high >>= 1;
    struct hash_key middle = {.low = range.first.low + low};
    middle.high = range.first.high + high + (middle.low < low);
    return hash_key_compare(middle, range.last) < 0 ? plus_one(middle) : middle;
}

static int compare_shards(const void *a, const void *b)
{
    const struct reshard_shard *left = a, *right = b;
    return hash_key_compare(left->range.first, right->range.first);
}

static bool covers_all(const struct reshard_shard *open, size_t count)
{
    if (count == 0 || open[0].range.first.high != 0 || open[0].range.first.low != 0) {
        return false;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        if (!reshard_adjacent(open[i].range, open[i + 1].range)) {
            return false;
        }
    }
    return open[count - 1].range.last.high == UINT64_MAX &&
           open[count - 1].range.last.low == UINT64_MAX;
}

/* Which shards a range lies over: [*first, *last]. `from`: not before that one. */
static void find_over(const struct reshard_shard *open, struct hash_range range, size_t from,
                      size_t *first, size_t *last)
{
    while (hash_key_compare(open[from].range.last, range.first) < 0) {
        from++;
    }
    *first = from;
    while (hash_key_compare(open[from].range.last, range.last) < 0) {
        from++;
    }
    *last = from;
}

/* Merges for ranges over more than two shards: as many at once as have no shard in common. */
static size_t plan_merges(const struct reshard_shard *open, uint32_t target, bool *used,
                          struct reshard_child *child)
{
    size_t made = 0, first = 0, last = 0;
    for (uint32_t t = 0; t < target; t++) {
        find_over(open, hash_range_of(t, target), first, &first, &last);
        size_t removed = 0;
        for (size_t i = first; last - first >= 2 && i < last && removed < last - first - 1; i++) {
            if (used[i] || used[i + 1]) {
                continue;
            }
            used[i] = used[i + 1] = true;
            removed++;
            child[made++] = (struct reshard_child){
                .range = {.first = open[i].range.first, .last = open[i + 1].range.last},
                .parent_count = 2,
                .parent = {open[i].number,               open[i + 1].number            }
            };
        }
        first = last;
    }
    return made;
}

static size_t plan_direct(const struct reshard_shard *open, uint32_t target,
                          struct reshard_child *child)
{
    size_t made = 0, first = 0, last = 0;
    for (uint32_t t = 0; t < target; t++) {
        struct hash_range range = hash_range_of(t, target);
        find_over(open, range, first, &first, &last);
        bool is_one = first == last &&
                      hash_key_compare(open[first].range.first, range.first) == 0 &&
                      hash_key_compare(open[first].range.last, range.last) == 0;
        if (!is_one) {
            child[made++] = (struct reshard_child){
                .range = range,
                .parent_count = first == last ? 1 : 2,
                .parent = {open[first].number, open[last].number}
            };
        }
        first = last;
    }
    return made;
}

enum status reshard_next_step(struct reshard_shard *open, size_t count, uint32_t target,
                              struct reshard_step *out)
{
    if (count > 0) {
        qsort(open, count, sizeof(*open), compare_shards);
    }
    if (target == 0 || !covers_all(open, count)) {
        return STATUS_INVALID;
    }
    AUTO(free_pointer) bool *used = calloc(count, sizeof(*used));
    struct reshard_step step = {.child = calloc(count + target, sizeof(*step.child))};
    if (used == NULL || step.child == NULL) {
        reshard_step_release(&step);
        return STATUS_NO_MEMORY;
    }
    step.count = plan_merges(open, target, used, step.child);
    if (step.count == 0) {
        step.count = plan_direct(open, target, step.child);
        step.last = true;
    }
    uint32_t components;
    enum status status = reshard_components(step.child, step.count, &components);
    if (status != STATUS_OK) {
        reshard_step_release(&step);
        return status;
    }
    *out = step;
    return STATUS_OK;
}

/* ---- components
 * ------------------------------------------------------------------------------------ */

struct use {
    uint32_t parent;
    size_t child;
};

static int compare_uses(const void *a, const void *b)
{
    const struct use *left = a, *right = b;
    if (left->parent != right->parent) {
        return left->parent < right->parent ? -1 : 1;
    }
    return left->child < right->child ? -1 : left->child > right->child;
}

static uint32_t root_of(const uint32_t *above, uint32_t at)
{
    while (above[at] != at) {
        at = above[at];
    }
    return at;
}

enum status reshard_components(struct reshard_child *child, size_t count, uint32_t *out_components)
{
    AUTO(free_pointer)
    struct use *use = calloc(RESHARD_PARENTS_MAX * count + 1, sizeof(*use));
    AUTO(free_pointer) uint32_t *above = calloc(count + 1, sizeof(*above));
    if (use == NULL || above == NULL) {
        return STATUS_NO_MEMORY;
    }
    size_t uses = 0;
    for (size_t i = 0; i < count; i++) {
        above[i] = (uint32_t)i;
        for (uint32_t p = 0; p < child[i].parent_count; p++) {
            use[uses++] = (struct use){.parent = child[i].parent[p], .child = i};
        }
    }
    qsort(use, uses, sizeof(*use), compare_uses);
    for (size_t i = 1; i < uses; i++) {
        if (use[i].parent == use[i - 1].parent) {
            uint32_t a = root_of(above, (uint32_t)use[i - 1].child);
            uint32_t b = root_of(above, (uint32_t)use[i].child);
            above[a > b ? a : b] = a > b ? b : a; /* roots are the first of their component */
        }
    }
    uint32_t components = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t root = root_of(above, (uint32_t)i);
        child[i].component = root == i ? components++ : child[root].component;
    }
    *out_components = components;
    return STATUS_OK;
}
