#include "controller/moves/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"

uint32_t plan_zones(const char *const *zones, uint32_t count)
{
    uint32_t different = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < i && !seen; j++) {
            seen = strcmp(zones[i], zones[j]) == 0;
        }
        different += seen ? 0 : 1;
    }
    return different;
}

static struct plan_broker *find_broker(const struct plan_input *in, uint32_t id)
{
    size_t low = 0, high = in->broker_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (in->brokers[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < in->broker_count && in->brokers[low].id == id ? &in->brokers[low] : NULL;
}

static bool is_voter(const struct plan_shard *shard, uint32_t broker)
{
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        if (shard->cfg.voter[v].broker == broker) {
            return true;
        }
    }
    return false;
}

/* The replicas are in no fewer zones with `to` in the place of voter `at`. */
static bool keeps_zones(const struct plan_input *in, const struct plan_shard *shard, uint32_t at,
                        const struct plan_broker *to)
{
    const char *now[ELECTION_VOTERS_MAX], *then[ELECTION_VOTERS_MAX];
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        const struct plan_broker *b = find_broker(in, shard->cfg.voter[v].broker);
        now[v] = b == NULL ? "" : b->zone;
        then[v] = v == at ? to->zone : now[v];
    }
    return plan_zones(then, shard->cfg.voter_count) >= plan_zones(now, shard->cfg.voter_count);
}

static bool is_new_zone(const struct plan_input *in, const struct plan_shard *shard,
                        const struct plan_broker *to)
{
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        const struct plan_broker *b = find_broker(in, shard->cfg.voter[v].broker);
        if (b != NULL && strcmp(b->zone, to->zone) == 0) {
            return false;
        }
    }
    return true;
}

enum urgency { STAYS, LEAVES, DEAD, DISK_LOST };

static enum urgency urgency_of(const struct plan_input *in, struct election_replica voter)
{
    const struct plan_broker *b = find_broker(in, voter.broker);
    if (b == NULL) {
        return STAYS; /* it has never registered: there is nothing to move from */
    }
    if (b->alive && b->disk_gen != voter.disk_gen) {
        return DISK_LOST;
    }
    if (!b->alive && (b->leaves || (b->dead_ms > 0 && b->dead_ms >= in->replace_after_ms))) {
        return DEAD;
    }
    return b->alive && b->leaves ? LEAVES : STAYS;
}

static const char *const reasons[] = {
    [STAYS] = "to even out",
    [LEAVES] = "its broker is drained",
    [DEAD] = "its broker is dead",
    [DISK_LOST] = "its disk is gone",
};

/* The least loaded broker that may take it; *out_full: one could, but has its hands full. */
static struct plan_broker *choose_target(const struct plan_input *in,
                                         const struct plan_shard *shard, uint32_t at,
                                         enum urgency why, bool *out_full)
{
    struct plan_broker *best = NULL;
    struct plan_broker *own = find_broker(in, shard->cfg.voter[at].broker);
    *out_full = false;
    for (size_t i = 0; i < in->broker_count; i++) {
        struct plan_broker *b = &in->brokers[i];
        bool here = why == DISK_LOST && b == own; /* the empty disk is the natural place */
        if (!b->alive || !b->takes || (!here && is_voter(shard, b->id)) ||
            !keeps_zones(in, shard, at, b)) {
            continue;
        }
        if (b->learners >= PLAN_LEARNERS_MAX) {
            *out_full = true;
        } else if (best != own && (here || best == NULL || b->replicas < best->replicas)) {
            best = b;
        }
    }
    return best;
}

static void add(const struct plan_input *in, struct plan_output *out,
                const struct plan_shard *shard, uint32_t at, struct plan_broker *to,
                const char *reason)
{
    struct plan_broker *from = find_broker(in, shard->cfg.voter[at].broker);
    out->moves[out->count++] = (struct plan_move){
        .shard = shard->shard, .from = shard->cfg.voter[at], .to = to->id, .reason = reason};
    to->replicas++;
    to->learners++;
    if (from != NULL && from->replicas > 0) {
        from->replicas--;
    }
}

static bool has_room(const struct plan_input *in, const struct plan_output *out)
{
    return in->under_way + out->count < in->at_once;
}

static bool is_planned(const struct plan_output *out, uint64_t shard)
{
    for (size_t i = 0; i < out->count; i++) {
        if (out->moves[i].shard == shard) {
            return true;
        }
    }
    return false;
}

/* Replicas of this urgency. */
static void plan_urgent(const struct plan_input *in, enum urgency urgency, struct plan_output *out)
{
    for (size_t s = 0; s < in->shard_count; s++) {
        const struct plan_shard *shard = &in->shards[s];
        for (uint32_t at = 0; at < shard->cfg.voter_count; at++) {
            if (urgency_of(in, shard->cfg.voter[at]) != urgency) {
                continue;
            }
            out->missing++;
            if (!shard->free || !has_room(in, out) || is_planned(out, shard->shard)) {
                continue;
            }
            bool full = false;
            struct plan_broker *to = choose_target(in, shard, at, urgency, &full);
            if (to != NULL) {
                add(in, out, shard, at, to, reasons[urgency]);
            } else if (!full && out->waits_for[0] == '\0') {
                (void)snprintf(
                    out->waits_for, sizeof(out->waits_for),
                    "a replica on broker-%u (%s) finds no broker that is alive, has none "
                    "of the shard, and keeps its replicas in as many zones",
                    shard->cfg.voter[at].broker, reasons[urgency]);
            }
        }
    }
}

/* A shard whose replica on `from` may go to `to`. */
static bool move_one(const struct plan_input *in, struct plan_output *out, uint32_t from,
                     struct plan_broker *to)
{
    for (size_t s = 0; s < in->shard_count; s++) {
        const struct plan_shard *shard = &in->shards[s];
        for (uint32_t at = 0; at < shard->cfg.voter_count; at++) {
            if (shard->cfg.voter[at].broker == from && shard->free && !is_voter(shard, to->id) &&
                !is_planned(out, shard->shard) && keeps_zones(in, shard, at, to)) {
                add(in, out, shard, at, to, reasons[STAYS]);
                return true;
            }
        }
    }
    return false;
}

/* From whoever has most to whoever has least, as far as zones allow. */
static bool even_out(const struct plan_input *in, struct plan_output *out)
{
    struct plan_broker *best_to = NULL;
    uint32_t best_gap = 1;
    const struct plan_broker *best_from = NULL;
    bool blocked = false;
    for (size_t i = 0; i < in->broker_count; i++) {
        for (size_t j = 0; j < in->broker_count; j++) {
            const struct plan_broker *from = &in->brokers[i];
            struct plan_broker *to = &in->brokers[j];
            if (!from->alive || !from->takes || !to->alive || !to->takes ||
                from->replicas < to->replicas + 2 || from->replicas - to->replicas <= best_gap) {
                continue;
            }
            if (to->learners >= PLAN_LEARNERS_MAX) {
                blocked = true;
                continue;
            }
            /* Whether any shard fits is known when one is moved: pairs that none fits are tried
             * last, by the plain loop below. */
            best_gap = from->replicas - to->replicas;
            best_from = from;
            best_to = to;
        }
    }
    if (best_to != NULL && move_one(in, out, best_from->id, best_to)) {
        return true;
    }
    for (size_t i = 0; i < in->broker_count && best_to != NULL; i++) {
        for (size_t j = 0; j < in->broker_count; j++) {
            const struct plan_broker *from = &in->brokers[i];
            struct plan_broker *to = &in->brokers[j];
            if (from->alive && from->takes && to->alive && to->takes &&
                from->replicas >= to->replicas + 2 && to->learners < PLAN_LEARNERS_MAX &&
                move_one(in, out, from->id, to)) {
                return true;
            }
        }
    }
    out->even = !blocked;
    return false;
}

/* Shards that a forced recovery left with fewer replicas than they should have. */
static void plan_missing(const struct plan_input *in, struct plan_output *out)
{
    for (size_t s = 0; s < in->shard_count; s++) {
        const struct plan_shard *shard = &in->shards[s];
        if (shard->cfg.voter_count == 0 || shard->cfg.voter_count >= REPLICAS_PER_SHARD) {
            continue;
        }
        out->missing++;
        struct plan_broker *best = NULL;
        bool best_zone = false;
        for (size_t i = 0; i < in->broker_count && shard->free; i++) {
            struct plan_broker *b = &in->brokers[i];
            if (!b->alive || !b->takes || is_voter(shard, b->id) ||
                b->learners >= PLAN_LEARNERS_MAX) {
                continue;
            }
            bool zone = is_new_zone(in, shard, b);
            if (best == NULL || (zone && !best_zone) ||
                (zone == best_zone && b->replicas < best->replicas)) {
                best = b;
                best_zone = zone;
            }
        }
        if (best != NULL && has_room(in, out) && !is_planned(out, shard->shard)) {
            out->moves[out->count++] = (struct plan_move){
                .shard = shard->shard, .to = best->id, .reason = "it has too few replicas"};
            best->replicas++;
            best->learners++;
        }
    }
}

void plan_moves(const struct plan_input *in, struct plan_output *out)
{
    out->count = 0;
    out->missing = 0;
    out->even = false;
    out->waits_for[0] = '\0';
    plan_missing(in, out);
    for (int urgency = DISK_LOST; urgency >= LEAVES; urgency--) {
        plan_urgent(in, (enum urgency)urgency, out);
    }
    while (in->rebalance && out->missing == 0 && has_room(in, out) && even_out(in, out)) {
    }
    out->even = out->even && in->under_way + out->count == 0;
}
