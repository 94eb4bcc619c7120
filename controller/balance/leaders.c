/* Which leaderships should move: the ones that narrow the gap between two brokers most. */
#include <stdio.h>

#include "controller/balance/internal.h"

enum {
    MARGIN = 32,     /* the target stays below the source by a part in so many of the mean */
    TRIFLE = 4096,   /* what is less than this part of a gap does not close it */
    BEGUN_HALVES = 2 /* once begun, it goes on to this part of the threshold */
};

struct best {
    size_t shard;
    uint16_t to;
    double gain;
    bool preferred;
};

struct reasons { /* why what would help is not done */
    bool rests, behind;
};

/* The greatest gap between a broker that leads and one that might. */
static uint32_t gap_percent(const struct model *m)
{
    double most = 0, least = -1;
    for (size_t i = 0; i < m->in->broker_count; i++) {
        const struct model_broker *b = &m->brokers[i];
        if (m->in->brokers[i].here && b->leading > most) {
            most = b->leading;
        }
        if (b->no_leaders == NULL && (least < 0 || b->leading < least)) {
            least = b->leading;
        }
    }
    double gap = least >= 0 && m->mean_leading > 0 ? (most - least) * 100 / m->mean_leading : 0;
    return gap > 0 ? (uint32_t)gap : 0;
}

/* Whether the leadership of shard `s` may go to its voter `v`, and is worth it. */
static bool helps(const struct model *m, size_t s, uint32_t v, double gap, double *out_gain)
{
    const struct model_shard *shard = &m->shards[s];
    uint16_t to = shard->voter[v];
    if (to == MODEL_NOBODY || to == shard->leader || m->brokers[to].no_leaders != NULL ||
        m->in->shards[s].cfg.voter[v].disk_gen != m->in->brokers[to].disk_gen) {
        return false;
    }
    double apart = m->brokers[shard->leader].leading - m->brokers[to].leading;
    double left = apart - shard->weight;
    *out_gain = left * shard->weight;
    return apart >= gap && left > m->mean_leading / MARGIN &&
           (double)shard->weight * TRIFLE >= apart;
}

/* Whether what would help may be done now. */
static bool may(const struct model_shard *shard, const struct election_replica *to,
                struct reasons *reasons)
{
    if (shard->rests) {
        reasons->rests = true;
    } else if (shard->missing != 0 && shard->missing == to->broker) {
        reasons->behind = true;
    } else {
        return true;
    }
    return false;
}

static bool find_best(const struct model *m, double gap, struct best *best, struct reasons *reasons)
{
    *best = (struct best){.gain = 0};
    for (size_t s = 0; s < m->in->shard_count; s++) {
        const struct balance_shard *row = &m->in->shards[s];
        const struct model_shard *shard = &m->shards[s];
        for (uint32_t v = 0; row->free && shard->leader != MODEL_NOBODY && v < row->cfg.voter_count;
             v++) {
            double gain;
            if (!helps(m, s, v, gap, &gain) || !may(shard, &row->cfg.voter[v], reasons)) {
                continue;
            }
            bool preferred = row->preferred == row->cfg.voter[v].broker;
            if (gain > best->gain || (gain == best->gain && preferred && !best->preferred)) {
                *best = (struct best){
                    .shard = s, .to = shard->voter[v], .gain = gain, .preferred = preferred};
            }
        }
    }
    return best->gain > 0;
}

static uint32_t percent_of(const struct model *m, uint16_t broker)
{
    return m->mean_leading > 0 ? (uint32_t)(m->brokers[broker].leading * 100 / m->mean_leading)
                               : 100;
}

static void take(struct model *m, const struct best *best, struct balance_half *out)
{
    struct model_shard *shard = &m->shards[best->shard];
    out->moves[out->count++] = (struct balance_move){
        .shard = m->in->shards[best->shard].shard,
        .from = m->in->shards[best->shard].leader,
        .to = m->in->brokers[best->to].id,
        .from_percent = percent_of(m, shard->leader),
        .to_percent = percent_of(m, best->to),
    };
    m->brokers[shard->leader].leading -= shard->weight;
    m->brokers[best->to].leading += shard->weight;
    shard->leader = best->to;
    shard->rests = true;
}

static void explain(const struct reasons *reasons, uint32_t threshold, struct balance_half *out)
{
    if (out->percent < threshold) {
        (void)snprintf(out->text, sizeof(out->text),
                       "balanced: the greatest gap is %u %% of the mean", out->percent);
    } else if (reasons->rests || reasons->behind) {
        (void)snprintf(out->text, sizeof(out->text),
                       "a gap of %u %% of the mean; what would narrow it %s", out->percent,
                       reasons->rests ? "has moved lately and rests"
                                      : "has replicas that are away or lag");
    } else {
        (void)snprintf(out->text, sizeof(out->text),
                       "a gap of %u %% of the mean, which no leadership that could move narrows",
                       out->percent);
    }
}

void plan_leaders(const struct balance *b, struct model *m, bool begun, struct balance_half *out)
{
    const struct balance_settings *settings = &b->settings;
    struct reasons reasons = {0};
    struct best best;
    double gap = m->mean_leading * settings->leader_threshold / 100;
    gap = begun ? gap / BEGUN_HALVES : gap;
    uint32_t most =
        settings->leader_moves < BALANCE_MOVES_MAX ? settings->leader_moves : BALANCE_MOVES_MAX;
    out->count = 0;
    out->percent = gap_percent(m);
    if (m->in->leaders_wait != NULL) {
        (void)snprintf(out->text, sizeof(out->text), "waits: %s", m->in->leaders_wait);
        return;
    }
    while (out->count < most && find_best(m, gap, &best, &reasons)) {
        take(m, &best, out);
    }
    if (out->count == 0) {
        explain(&reasons, settings->leader_threshold, out);
    }
}
