/* Which replicas should move, in the same zone or to one that the shard has no replica in: those
 * that lessen the squares of all brokers' loads most, the loads by number, writes and bytes each
 * for itself. That sum only falls, so nothing moves in circles. */
#include <stdio.h>

#include "controller/balance/internal.h"

enum {
    MARGIN = 16,      /* what a move must be worth: a part in so many of the mean, of each moved */
    BEGUN_HALVES = 2, /* as in leaders.c */
    LEADER_COSTS = 2, /* the leader's own replica moves where it helps so many times more */
};

struct best {
    size_t shard;
    uint32_t voter;
    uint16_t to;
    double gain;
};

struct reasons {
    bool rests, zones, disk, busy;
};

static uint32_t gap_percent(const struct model *m)
{
    double widest = 0;
    for (int k = 0; k < HOLD_KINDS; k++) {
        double most = 0, least = -1;
        for (size_t i = 0; i < m->in->broker_count; i++) {
            const struct model_broker *b = &m->brokers[i];
            if (m->in->brokers[i].here && b->holding[k] > most) {
                most = b->holding[k];
            }
            if (b->no_replicas == NULL && (least < 0 || b->holding[k] < least)) {
                least = b->holding[k];
            }
        }
        widest = least >= 0 && most - least > widest ? most - least : widest;
    }
    return (uint32_t)(widest * 100);
}

static uint32_t zones_with(const struct model *m, size_t s, uint32_t voter, uint16_t to)
{
    uint32_t zone[ELECTION_VOTERS_MAX], different = 0;
    for (uint32_t v = 0; v < m->in->shards[s].cfg.voter_count; v++) {
        uint16_t at = v == voter ? to : m->shards[s].voter[v];
        zone[v] = at == MODEL_NOBODY ? UINT32_MAX : m->brokers[at].zone;
        bool seen = false;
        for (uint32_t i = 0; i < v && !seen; i++) {
            seen = zone[i] == zone[v];
        }
        different += seen ? 0 : 1;
    }
    return different;
}

static bool holds(const struct model *m, size_t s, uint16_t broker)
{
    for (uint32_t v = 0; v < m->in->shards[s].cfg.voter_count; v++) {
        if (m->shards[s].voter[v] == broker) {
            return true;
        }
    }
    return false;
}

static bool fits_disk(const struct model *m, size_t s, uint16_t to)
{
    const struct balance_broker *broker = &m->in->brokers[to];
    uint64_t bytes = m->shards[s].log_bytes;
    uint64_t left = broker->free_bytes > bytes ? broker->free_bytes - bytes : 0;
    return broker->disk_bytes == 0 ||
           left >= broker->disk_bytes / 100 * (100 - BALANCE_DISK_FULL_PERCENT);
}

/* By how much the squares of both brokers' loads fall; 0: it is not worth it. */
static double worth(const struct model *m, const struct model_shard *shard, uint16_t from,
                    uint16_t to, double gap)
{
    double falls = 0, moved = 0, widest = 0;
    for (int k = 0; k < HOLD_KINDS; k++) {
        double a = m->brokers[from].holding[k], b = m->brokers[to].holding[k];
        double goes = model_holding(m, shard, from, k), comes = model_holding(m, shard, to, k);
        falls += 2 * a * goes - goes * goes - 2 * b * comes - comes * comes;
        moved += goes + comes;
        widest = a - b > widest ? a - b : widest;
    }
    return widest >= gap && falls * MARGIN > moved ? falls : 0;
}

/* 0: it may not, or it is not worth it. */
static double gain_of(const struct model *m, size_t s, uint32_t v, uint16_t to, double gap,
                      struct reasons *reasons)
{
    const struct model_shard *shard = &m->shards[s];
    uint16_t from = shard->voter[v];
    if (m->brokers[to].no_replicas != NULL || holds(m, s, to)) {
        return 0;
    }
    double gain = worth(m, shard, from, to, gap);
    if (gain <= 0) {
        return 0;
    }
    if (shard->rests) {
        reasons->rests = true;
    } else if (m->brokers[to].learners >= BALANCE_LEARNERS_MAX) {
        reasons->busy = true;
    } else if (zones_with(m, s, v, to) < zones_with(m, s, v, from)) {
        reasons->zones = true;
    } else if (!fits_disk(m, s, to)) {
        reasons->disk = true;
    } else {
        return from == shard->leader ? gain / LEADER_COSTS : gain;
    }
    return 0;
}

static bool find_best(const struct model *m, double gap, struct best *best, struct reasons *reasons)
{
    *best = (struct best){.gain = 0};
    for (size_t s = 0; s < m->in->shard_count; s++) {
        const struct balance_shard *row = &m->in->shards[s];
        for (uint32_t v = 0; row->free && v < row->cfg.voter_count; v++) {
            uint16_t from = m->shards[s].voter[v];
            if (from == MODEL_NOBODY || !m->in->brokers[from].here) {
                continue;
            }
            for (size_t to = 0; to < m->in->broker_count; to++) {
                double gain = gain_of(m, s, v, (uint16_t)to, gap, reasons);
                if (gain > best->gain) {
                    *best = (struct best){.shard = s, .voter = v, .to = (uint16_t)to, .gain = gain};
                }
            }
        }
    }
    return best->gain > 0;
}

static uint32_t percent_of(const struct model *m, uint16_t broker)
{
    return (uint32_t)(model_held(m, broker) * 100);
}

static void take(struct model *m, const struct best *best, struct balance_half *out)
{
    struct model_shard *shard = &m->shards[best->shard];
    uint16_t from = shard->voter[best->voter];
    out->moves[out->count++] = (struct balance_move){
        .shard = m->in->shards[best->shard].shard,
        .from = m->in->shards[best->shard].cfg.voter[best->voter],
        .to = m->in->brokers[best->to].id,
        .from_percent = percent_of(m, from),
        .to_percent = percent_of(m, best->to),
    };
    for (int k = 0; k < HOLD_KINDS; k++) {
        m->brokers[from].holding[k] -= model_holding(m, shard, from, k);
        m->brokers[best->to].holding[k] += model_holding(m, shard, best->to, k);
    }
    m->brokers[best->to].learners++;
    shard->voter[best->voter] = best->to;
    shard->rests = true;
}

static void explain(const struct reasons *why, uint32_t threshold, struct balance_half *out)
{
    if (out->percent < threshold) {
        (void)snprintf(out->text, sizeof(out->text),
                       "balanced: the greatest gap is %u %% of the mean", out->percent);
    } else if (why->rests || why->busy || why->zones || why->disk) {
        (void)snprintf(out->text, sizeof(out->text),
                       "a gap of %u %% of the mean; what would narrow it %s", out->percent,
                       why->busy    ? "waits for copies to the same broker"
                       : why->rests ? "has moved lately and rests"
                       : why->disk  ? "would fill a disk"
                                    : "would put replicas of a shard into one zone");
    } else {
        (void)snprintf(out->text, sizeof(out->text),
                       "a gap of %u %% of the mean, which no replica that could move narrows",
                       out->percent);
    }
}

void plan_replicas(const struct balance *b, struct model *m, bool begun, struct balance_half *out)
{
    const struct balance_settings *settings = &b->settings;
    struct reasons reasons = {0};
    struct best best;
    double gap = settings->replica_threshold / 100.0;
    gap = begun ? gap / BEGUN_HALVES : gap;
    uint32_t moving = m->in->replicas_moving;
    uint32_t most = settings->replica_moves > moving ? settings->replica_moves - moving : 0;
    most = most < BALANCE_MOVES_MAX ? most : BALANCE_MOVES_MAX;
    out->count = 0;
    out->percent = gap_percent(m);
    if (m->in->replicas_wait != NULL) {
        (void)snprintf(out->text, sizeof(out->text), "waits: %s", m->in->replicas_wait);
        return;
    }
    while (out->count < most && find_best(m, gap, &best, &reasons)) {
        take(m, &best, out);
    }
    if (out->count == 0 && most == 0) {
        (void)snprintf(out->text, sizeof(out->text),
                       "a gap of %u %% of the mean; %u replicas move, no more at a time",
                       out->percent, moving);
    } else if (out->count == 0) {
        explain(&reasons, settings->replica_threshold, out);
    }
}
