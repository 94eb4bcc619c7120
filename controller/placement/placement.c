#include "controller/placement/placement.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"

/* "a, b" of the zones that there are, each once, in the order of the brokers. */
static uint32_t list_zones(const struct placement_broker *brokers, uint32_t count, char *out,
                           size_t size)
{
    uint32_t zones = 0;
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i && !seen; j++) {
            seen = strcmp(brokers[i].zone, brokers[j].zone) == 0;
        }
        if (seen) {
            continue;
        }
        zones++;
        if (used < size) {
            int added =
                snprintf(out + used, size - used, "%s%s", zones == 1 ? "" : ", ", brokers[i].zone);
            used += added > 0 ? (size_t)added : 0;
        }
    }
    return zones;
}

static enum status check_possible(const struct placement_broker *brokers, uint32_t count,
                                  bool fewer_zones, struct error *error)
{
    char zones[128];
    uint32_t zone_count = list_zones(brokers, count, zones, sizeof(zones));
    if (count < REPLICAS_PER_SHARD) {
        return error_set(error, STATUS_PLACEMENT,
                         "%d replicas need %d brokers; %u are alive, in zones: %s",
                         REPLICAS_PER_SHARD, REPLICAS_PER_SHARD, count, count == 0 ? "-" : zones);
    }
    if (zone_count < REPLICAS_PER_SHARD && !fewer_zones) {
        return error_set(error, STATUS_PLACEMENT,
                         "%d replicas need brokers in %d zones; alive brokers are in: %s",
                         REPLICAS_PER_SHARD, REPLICAS_PER_SHARD, zones);
    }
    return STATUS_OK;
}

/* How many of the brokers chosen so far are in the same zone; UINT32_MAX for one chosen already. */
static uint32_t crowd(const struct placement_broker *brokers, uint32_t candidate,
                      const uint32_t *chosen, uint32_t chosen_count)
{
    uint32_t same = 0;
    for (uint32_t i = 0; i < chosen_count; i++) {
        if (chosen[i] == candidate) {
            return UINT32_MAX;
        }
        same += strcmp(brokers[chosen[i]].zone, brokers[candidate].zone) == 0 ? 1 : 0;
    }
    return same;
}

/* The next replica: the least crowded zone first, then the least loaded broker; among equals the
 * one that prefers to lead least, so that neighbours in the list do not always travel together;
 * then the lowest id. */
static uint32_t choose_one(const struct placement_broker *brokers, uint32_t count,
                           const uint32_t *chosen, uint32_t chosen_count)
{
    uint32_t best = UINT32_MAX, best_crowd = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t c = crowd(brokers, i, chosen, chosen_count);
        if (c == UINT32_MAX) {
            continue;
        }
        const struct placement_broker *a = &brokers[i];
        const struct placement_broker *b = best == UINT32_MAX ? NULL : &brokers[best];
        if (b == NULL || c < best_crowd ||
            (c == best_crowd && (a->replicas < b->replicas ||
                                 (a->replicas == b->replicas && a->preferred < b->preferred)))) {
            best = i;
            best_crowd = c;
        }
    }
    CHECK(best != UINT32_MAX);
    return best;
}

static struct placement_choice choose_shard(struct placement_broker *brokers, uint32_t count)
{
    uint32_t chosen[REPLICAS_PER_SHARD];
    uint32_t leader = 0;
    for (uint32_t r = 0; r < REPLICAS_PER_SHARD; r++) {
        chosen[r] = choose_one(brokers, count, chosen, r);
        brokers[chosen[r]].replicas++;
        if (brokers[chosen[r]].preferred < brokers[chosen[leader]].preferred) {
            leader = r;
        }
    }
    brokers[chosen[leader]].preferred++;
    struct placement_choice choice;
    for (uint32_t r = 0; r < REPLICAS_PER_SHARD; r++) {
        choice.broker[r] = brokers[chosen[(leader + r) % REPLICAS_PER_SHARD]].id;
    }
    return choice;
}

enum status placement_choose(struct placement_broker *brokers, uint32_t broker_count,
                             uint32_t shard_count, bool fewer_zones,
                             struct placement_choice *out_choices, struct error *error)
{
    enum status status = check_possible(brokers, broker_count, fewer_zones, error);
    if (status != STATUS_OK) {
        return status;
    }
    for (uint32_t s = 0; s < shard_count; s++) {
        out_choices[s] = choose_shard(brokers, broker_count);
    }
    return STATUS_OK;
}
