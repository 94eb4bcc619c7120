/* Which replies suffice (R4), who leads (R5), and what else is asked of rows and voters. */
#include "controller/election/table.h"

#include <string.h>

#include "base/check.h"

bool config_has(const struct election_config *cfg, struct election_replica id)
{
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        if (same_replica(cfg->voter[i], id)) {
            return true;
        }
    }
    return false;
}

struct slot *slot_of(struct shard *s, struct election_replica id)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (same_replica(s->slot[i].id, id)) {
            return &s->slot[i];
        }
    }
    return NULL;
}

static const struct slot *slot_find(const struct shard *s, struct election_replica id)
{
    for (uint32_t i = 0; i < s->slot_count; i++) {
        if (same_replica(s->slot[i].id, id)) {
            return &s->slot[i];
        }
    }
    return NULL;
}

static void add_voters(struct shard *s, const struct election_config *cfg)
{
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        if (slot_of(s, cfg->voter[i]) == NULL) {
            CHECK(s->slot_count < SLOTS_MAX);
            s->slot[s->slot_count++] = (struct slot){.id = cfg->voter[i]};
        }
    }
}

/* One empty slot for each voter of both configurations: what was reported to an earlier epoch's
 * fence counts no more (R3). */
void slots_reset(struct shard *s)
{
    struct slot old[SLOTS_MAX];
    uint32_t old_count = MUTANT(REPORT_WITHOUT_FENCE) ? s->slot_count : 0;
    memcpy(old, s->slot, old_count * sizeof *old);
    s->slot_count = 0;
    add_voters(s, &s->row.cfg);
    add_voters(s, &s->row.prev_cfg);
    for (uint32_t i = 0; i < old_count; i++) { /* only a mutant keeps them */
        struct slot *slot = slot_of(s, old[i].id);
        if (slot != NULL && old[i].replied) {
            *slot = old[i];
            slot->stale = true;
        }
    }
}

static bool suffices(const struct shard *s, const struct election_config *cfg, uint32_t without)
{
    uint32_t replied = 0, certain = 0, fresh = 0;
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        const struct slot *slot = slot_find(s, cfg->voter[i]);
        CHECK(slot != NULL);
        if (slot->id.broker == without) {
            continue;
        }
        replied += slot->replied;
        certain += slot->replied && (slot->certain || MUTANT(CORRUPT_TAIL_COUNTS));
        fresh += slot->replied && !slot->stale;
    }
    if (MUTANT(ONE_REPLY_ELECTS) && fresh > 0) {
        return true;
    }
    return fresh > 0 && (certain > cfg->voter_count / 2 || replied == cfg->voter_count);
}

/* R4: in each configuration that may have committed something, a majority is certain, or everybody
 * has replied (then at most one of the holders of a record can have lost it). */
bool quorum_replied(const struct shard *s, uint32_t without)
{
    if (!suffices(s, &s->row.cfg, without)) {
        return false;
    }
    return s->row.prev_cfg.voter_count == 0 || MUTANT(NO_JOINT_FENCE) ||
           suffices(s, &s->row.prev_cfg, without);
}

/* R5: the epoch of the last batch first, then the end. An end alone says nothing: a longer log of
 * an older epoch may lack what a later epoch committed. */
static int compare_logs(const struct slot *a, const struct slot *b)
{
    if (a->last_epoch != b->last_epoch && !MUTANT(LONGEST_LOG_WINS)) {
        return a->last_epoch < b->last_epoch ? -1 : 1;
    }
    return a->end == b->end ? 0 : a->end < b->end ? -1 : 1;
}

static bool is_up(const struct election *e, uint32_t id)
{
    const struct broker *b = table_broker(e, id);
    return b != NULL && b->up;
}

static bool is_unfit(const struct election *e, uint32_t id)
{
    const struct broker *b = table_broker(e, id);
    return b != NULL && b->unfit;
}

static uint32_t leading(const struct election *e, uint32_t id)
{
    const struct broker *b = table_broker(e, id);
    return b == NULL ? 0 : b->leading;
}

/* Among equal logs: whoever stays in the configuration, then one without holes, then the heir, then
 * one that is fit to lead, then who leads least, then who should. */
static bool suits_better(const struct election *e, const struct shard *s, const struct slot *a,
                         const struct slot *b)
{
    bool a_stays = config_has(&s->row.cfg, a->id), b_stays = config_has(&s->row.cfg, b->id);
    if (a_stays != b_stays) {
        return a_stays;
    }
    if ((a->holes == 0) != (b->holes == 0)) {
        return a->holes == 0;
    }
    if (s->heir != 0 && (a->id.broker == s->heir) != (b->id.broker == s->heir)) {
        return a->id.broker == s->heir;
    }
    if (is_unfit(e, a->id.broker) != is_unfit(e, b->id.broker)) {
        return !is_unfit(e, a->id.broker);
    }
    uint32_t a_leads = leading(e, a->id.broker), b_leads = leading(e, b->id.broker);
    if (a_leads != b_leads) {
        return a_leads < b_leads;
    }
    bool a_preferred = a->id.broker == s->row.preferred;
    bool b_preferred = b->id.broker == s->row.preferred;
    if (a_preferred != b_preferred) {
        return a_preferred;
    }
    return a->id.broker < b->id.broker;
}

const struct slot *choose_leader(const struct election *e, const struct shard *s, uint32_t without)
{
    const struct slot *best = NULL;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        const struct slot *slot = &s->slot[i];
        if (!slot->replied || slot->id.broker == without || !is_up(e, slot->id.broker)) {
            continue;
        }
        int order = best == NULL ? 1 : compare_logs(slot, best);
        if (MUTANT(HEIR_WITHOUT_ALL) && slot->id.broker == s->heir) {
            return slot;
        }
        if (order > 0 || (order == 0 && suits_better(e, s, slot, best))) {
            best = slot;
        }
    }
    return best;
}

/* To leave out a reply is always allowed, for it could have been lost as well (R4). */
const struct slot *choose_whole(const struct election *e, const struct shard *s,
                                const struct slot *best)
{
    if (best->holes == 0 || s->avoid != 0 || !quorum_replied(s, best->id.broker)) {
        return best;
    }
    const struct slot *other = choose_leader(e, s, best->id.broker);
    return other != NULL && other->holes == 0 ? other : best;
}

/* Then nobody who replied can fill it, and nobody can say that it was never committed. */
bool lacks_copies(const struct shard *s, const struct slot *best)
{
    bool above = best->holes > 0 && !MUTANT(HOLE_NOT_AWAITED), silent = false;
    for (uint32_t i = 0; i < s->slot_count; i++) {
        const struct slot *slot = &s->slot[i];
        silent = silent || !slot->replied;
        above = above && (slot == best || !slot->replied || slot->end < best->holes_end);
    }
    return above && silent;
}

const struct broker *reachable(const struct election *e, struct election_replica id)
{
    const struct broker *b = table_broker(e, id.broker);
    if (b == NULL || !b->up) {
        return NULL;
    }
    struct election_replica now = {.broker = b->id, .disk_gen = b->disk_gen};
    return same_replica(now, id) ? b : NULL;
}

static bool majority_is_up(const struct election *e, const struct election_config *cfg)
{
    uint32_t up = 0;
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        up += reachable(e, cfg->voter[i]) != NULL;
    }
    return cfg->voter_count == 0 || up > cfg->voter_count / 2;
}

bool hears_stalled(const struct election *e, struct shard *s, uint64_t now_ms, uint32_t broker)
{
    bool newly = s->opened && s->resigned_by != broker; /* it has been able to commit */
    if (!majority_is_up(e, &s->row.cfg) || !majority_is_up(e, &s->row.prev_cfg) ||
        (!newly && now_ms < s->resign_ms)) {
        return false;
    }
    s->resigned_by = broker;
    s->resign_ms = now_ms + ELECTION_RESIGN_MS;
    return true;
}

static bool same_config(const struct election_config *a, const struct election_config *b)
{
    bool same = a->version == b->version && a->voter_count == b->voter_count;
    for (uint32_t i = 0; same && i < a->voter_count; i++) {
        same = a->voter[i].broker == b->voter[i].broker &&
               a->voter[i].disk_gen == b->voter[i].disk_gen;
    }
    return same;
}

bool starts_afresh(const struct election_row *old, const struct election_row *row)
{
    return old->epoch != row->epoch || old->phase != row->phase ||
           (row->phase != ELECTION_ACTIVE &&
            (!same_config(&old->cfg, &row->cfg) || !same_config(&old->prev_cfg, &row->prev_cfg)));
}
