#include <stdlib.h>

#include "controller/election/election.h"

static int compare(const void *left, const void *right)
{
    const struct election_effect *a = left, *b = right;
    if (a->type != b->type) {
        return a->type < b->type ? -1 : 1;
    }
    if (a->broker != b->broker) {
        return a->broker < b->broker ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

void election_effects_group(struct election_effects *effects)
{
    if (effects->count > 1) {
        qsort(effects->effect, effects->count, sizeof *effects->effect, compare);
    }
}

void election_effects_clear(struct election_effects *effects)
{
    effects->count = 0;
}

void election_effects_release(struct election_effects *effects)
{
    free(effects->effect);
    *effects = (struct election_effects){.count = 0};
}
