/* Loads, as the reports and the rows give them. */
#include <stdlib.h>
#include <string.h>

#include "controller/balance/internal.h"

enum {
    MATTERS_BYTES = 256 * 1024 * 1024, /* of logs on a broker, for their size to matter */
    MATTERS_WRITES = 64 * 1024,        /* bytes a second written there, ditto */
};

static uint16_t place_of(const struct balance_input *in, uint32_t id)
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
    return low < in->broker_count && in->brokers[low].id == id ? (uint16_t)low : MODEL_NOBODY;
}

/* A leader sends what it takes to two followers; a follower only takes it. */
static uint32_t weight_of(const struct balance_traffic *t)
{
    uint64_t weight =
        2 * t->in + t->out + BALANCE_REQUEST_WEIGHT * t->requests + BALANCE_SHARD_WEIGHT;
    return weight < UINT32_MAX ? (uint32_t)weight : UINT32_MAX;
}

static void fill_shard(const struct balance *b, uint64_t now_ms, const struct balance_input *in,
                       const struct balance_shard *row, struct model_shard *out)
{
    const struct known_shard *known = balance_known_shard(b, row->shard);
    const struct known_broker *leader = balance_known_broker(b, row->leader.broker);
    struct balance_traffic traffic = {0};
    *out = (struct model_shard){
        .leader = row->leader.broker == 0 ? MODEL_NOBODY : place_of(in, row->leader.broker)};
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        out->voter[v] = place_of(in, row->cfg.voter[v].broker);
    }
    if (known != NULL && known->reporter != 0) {
        traffic = known->traffic;
        out->slow_in = known->slow_in;
        out->log_bytes = known->log_bytes;
        out->missing = known->missing;
    } else if (leader != NULL && leader->reported_ms != 0) {
        traffic = leader->rest;
        out->slow_in = leader->rest.in;
        out->log_bytes = leader->rest_bytes;
    }
    out->rests =
        known != NULL && known->moved_ms != 0 && now_ms - known->moved_ms < b->settings.rest_ms;
    out->weight = weight_of(&traffic);
}

/* ---- targets ---- */

static bool disk_is_near_full(const struct balance_broker *broker, uint64_t more)
{
    uint64_t left = broker->free_bytes > more ? broker->free_bytes - more : 0;
    return broker->disk_bytes != 0 &&
           left < broker->disk_bytes / 100 * (100 - BALANCE_DISK_FULL_PERCENT);
}

static void judge_target(const struct balance *b, uint64_t now_ms,
                         const struct balance_broker *broker, struct model_broker *out)
{
    const struct known_broker *known = balance_known_broker(b, broker->id);
    const char *why = NULL;
    if (!broker->here) {
        why = "it is not there";
    } else if (broker->leaves) {
        why = "it is drained";
    } else if (!broker->disk_good) {
        why = "its disk is full or out";
    } else if (known->reported_ms == 0 || now_ms - known->reported_ms > BALANCE_REPORT_OLD_MS) {
        why = "it has not told its load";
    } else if (broker->unfit != NULL) {
        why = broker->unfit;
    } else if (now_ms - known->here_ms < b->settings.leader_lasts_ms) {
        why = "it has just come";
    }
    out->no_leaders = out->no_replicas = why;
    if (why == NULL && disk_is_near_full(broker, 0)) {
        out->no_replicas = "its disk is nearly full";
    }
}

static void fill_brokers(const struct balance *b, uint64_t now_ms, struct model *m)
{
    const struct balance_input *in = m->in;
    double disks = 0;
    size_t known = 0;
    for (size_t i = 0; i < in->broker_count; i++) {
        disks += (double)in->brokers[i].disk_bytes;
        known += in->brokers[i].disk_bytes != 0 ? 1 : 0;
    }
    for (size_t i = 0; i < in->broker_count; i++) {
        const struct balance_broker *broker = &in->brokers[i];
        judge_target(b, now_ms, broker, &m->brokers[i]);
        m->brokers[i].capacity =
            broker->disk_bytes == 0 ? 1 : (double)broker->disk_bytes * (double)known / disks;
        m->brokers[i].learners = broker->learners;
        m->brokers[i].zone = (uint32_t)i;
        for (size_t j = 0; j < i; j++) {
            if (strcmp(in->brokers[j].zone, broker->zone) == 0) {
                m->brokers[i].zone = m->brokers[j].zone;
                break;
            }
        }
    }
}

/* ---- sums ---- */

double model_holding(const struct model *m, const struct model_shard *shard, uint16_t broker,
                     int kind)
{
    if (m->mean[kind] <= 0) {
        return 0;
    }
    double amount = kind == HOLD_COUNT    ? 1
                    : kind == HOLD_WRITES ? (double)shard->slow_in
                                          : (double)shard->log_bytes / m->brokers[broker].capacity;
    return amount / m->mean[kind];
}

double model_held(const struct model *m, size_t broker)
{
    double sum = 0;
    int kinds = 0;
    for (int k = 0; k < HOLD_KINDS; k++) {
        sum += m->brokers[broker].holding[k];
        kinds += m->mean[k] > 0 ? 1 : 0;
    }
    return kinds == 0 ? 0 : sum / kinds;
}

/* What is little everywhere does not matter. */
static void find_means(struct model *m)
{
    const struct balance_input *in = m->in;
    double leads = 0, holds = 0;
    for (size_t s = 0; s < in->shard_count; s++) {
        uint32_t voters = in->shards[s].cfg.voter_count;
        m->mean[HOLD_COUNT] += voters;
        m->mean[HOLD_WRITES] += (double)m->shards[s].slow_in * voters;
        m->mean[HOLD_BYTES] += (double)m->shards[s].log_bytes * voters;
        m->mean_leading += m->shards[s].leader != MODEL_NOBODY ? m->shards[s].weight : 0;
    }
    for (size_t i = 0; i < in->broker_count; i++) {
        leads += m->brokers[i].no_leaders == NULL ? 1 : 0;
        holds += in->brokers[i].here && !in->brokers[i].leaves ? 1 : 0;
    }
    m->mean_leading /= leads > 0 ? leads : 1;
    for (int k = 0; k < HOLD_KINDS; k++) {
        m->mean[k] /= holds > 0 ? holds : 1;
    }
    m->mean[HOLD_WRITES] = m->mean[HOLD_WRITES] < MATTERS_WRITES ? 0 : m->mean[HOLD_WRITES];
    m->mean[HOLD_BYTES] = m->mean[HOLD_BYTES] < MATTERS_BYTES ? 0 : m->mean[HOLD_BYTES];
}

static void sum_up(struct model *m)
{
    const struct balance_input *in = m->in;
    find_means(m);
    for (size_t s = 0; s < in->shard_count; s++) {
        const struct model_shard *shard = &m->shards[s];
        if (shard->leader != MODEL_NOBODY) {
            m->brokers[shard->leader].leading += shard->weight;
        }
        for (uint32_t v = 0; v < in->shards[s].cfg.voter_count; v++) {
            for (int k = 0; shard->voter[v] != MODEL_NOBODY && k < HOLD_KINDS; k++) {
                m->brokers[shard->voter[v]].holding[k] +=
                    model_holding(m, shard, shard->voter[v], k);
            }
        }
    }
}

static uint64_t since(uint64_t before_ms, uint64_t now_ms, bool still)
{
    return !still ? 0 : before_ms != 0 ? before_ms : now_ms;
}

/* Who is above the mean in one look only may be below it in the next. */
static void note_above(struct balance *b, uint64_t now_ms, const struct model *m)
{
    for (size_t i = 0; i < m->in->broker_count; i++) {
        struct known_broker *known = balance_known_broker(b, m->in->brokers[i].id);
        double leads = m->brokers[i].leading;
        known->above_ms = since(known->above_ms, now_ms, leads > m->mean_leading);
        known->below_ms = since(known->below_ms, now_ms, leads < m->mean_leading);
    }
}

enum status model_make(struct balance *b, uint64_t now_ms, const struct balance_input *in,
                       struct model *out)
{
    *out = (struct model){.in = in};
    out->shards = calloc(in->shard_count + 1, sizeof(*out->shards));
    out->brokers = calloc(in->broker_count + 1, sizeof(*out->brokers));
    if (out->shards == NULL || out->brokers == NULL) {
        model_release(out);
        return STATUS_NO_MEMORY;
    }
    fill_brokers(b, now_ms, out);
    for (size_t s = 0; s < in->shard_count; s++) {
        fill_shard(b, now_ms, in, &in->shards[s], &out->shards[s]);
    }
    sum_up(out);
    note_above(b, now_ms, out);
    return STATUS_OK;
}

void model_release(struct model *m)
{
    free(m->shards);
    free(m->brokers);
    *m = (struct model){0};
}
