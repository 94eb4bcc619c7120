/* The shard's row, and the election core's choice. The core is asked afresh each time: what it
 * would know of this shard is told to a new one, and what it proposes is taken. */
#include <string.h>

#include "base/check.h"
#include "tests/model/model.h"

static void begin_election(struct world *w)
{
    w->row.epoch++;
    w->row.phase = ELECTION_ELECTING;
    w->row.leader = (struct election_replica){0};
    w->row.leader_boot = 0;
    w->opened = false;
}

void controllers_elect(struct world *w)
{
    begin_election(w);
}

/* R15: by a new epoch, one voter at a time, and not before the last change is stable. */
bool controllers_reconfigure(struct world *w, uint32_t leaves, uint32_t comes)
{
    struct election_row *row = &w->row;
    if (row->phase != ELECTION_ACTIVE || row->prev_cfg.voter_count > 0) {
        return false;
    }
    struct election_config next = row->cfg;
    next.version++;
    bool found = false;
    for (uint32_t i = 0; i < next.voter_count; i++) {
        if (next.voter[i].broker == comes + 1) {
            return false;
        }
        if (next.voter[i].broker == leaves + 1) {
            next.voter[i] =
                (struct election_replica){.broker = comes + 1, .disk_gen = w->site[comes].disk_gen};
            found = true;
        }
    }
    if (!found || !w->site[comes].exists || w->site[comes].core.uncertain) {
        return false;
    }
    row->prev_cfg = row->cfg;
    row->cfg = next;
    w->reconfigurations++;
    begin_election(w);
    return true;
}

static void add_voters(struct replica_config *out, const struct election_config *cfg)
{
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        struct replica_id id = {.broker = cfg->voter[i].broker, .disk_gen = cfg->voter[i].disk_gen};
        bool there = false;
        for (uint32_t j = 0; j < out->voter_count; j++) {
            there = there || replica_id_equal(out->voter[j], id);
        }
        if (!there) {
            CHECK(out->voter_count < REPLICA_VOTERS_MAX);
            out->voter[out->voter_count++] = id;
        }
    }
}

struct replica_config controllers_fence_list(const struct world *w)
{
    struct replica_config list = {.version = w->row.cfg.version};
    add_voters(&list, &w->row.cfg);
    add_voters(&list, &w->row.prev_cfg);
    return list;
}

void controllers_hear(struct world *w, uint32_t s, uint32_t epoch,
                      const struct replica_report *report)
{
    if (!report->ok) {
        return; /* a late fence: the row is ahead already */
    }
    w->report[s] = (struct election_report){
        .replica = {.broker = s + 1, .disk_gen = w->site[s].disk_gen},
        .epoch = epoch,
        .ok = true,
        .certain = report->certain,
        .promised = report->promised,
        .last_epoch = report->last_epoch,
        .boot = report->boot,
        .end = report->end,
    };
}

/* ---- asking the core ---- */

struct question {
    struct election *core;
    struct election_effects effects;
    uint64_t now_ms;
};

static void feed(struct question *q, const struct election_input *in)
{
    status_ignore(election_step(q->core, q->now_ms, in, &q->effects), "its effects are the answer");
}

static void feed_reports(struct question *q, const struct world *w, uint32_t epoch)
{
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        const struct election_report *r = &w->report[s];
        if (r->epoch == epoch && epoch > 0) {
            feed(q, &(struct election_input){.type = ELECTION_REPORT,
                                             .broker = s + 1,
                                             .shard = w->row.shard,
                                             .report = *r});
        }
    }
}

static const struct election_effect *proposal(const struct question *q,
                                              enum election_effect_type type, uint32_t epoch)
{
    for (size_t i = 0; i < q->effects.count; i++) {
        if (q->effects.effect[i].type == type && q->effects.effect[i].epoch == epoch) {
            return &q->effects.effect[i];
        }
    }
    return NULL;
}

static void ask(struct question *q, const struct world *w)
{
    static struct election *kept; /* one core serves all questions: DEACTIVATED forgets */
    if (kept == NULL) {
        kept = election_new();
        CHECK(kept != NULL);
    }
    *q = (struct question){.core = kept};
    feed(q, &(struct election_input){.type = ELECTION_ACTIVATED});
    /* The boots of the reports: that one of them has restarted since, the controllers learn late.
     */
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        if (w->report[s].epoch > 0) {
            feed(q, &(struct election_input){.type = ELECTION_BROKER_UP,
                                             .broker = s + 1,
                                             .boot = w->report[s].boot,
                                             .disk_gen = w->report[s].replica.disk_gen});
        }
    }
}

static void release(struct question *q)
{
    feed(q, &(struct election_input){.type = ELECTION_DEACTIVATED});
    election_effects_release(&q->effects);
}

static void take_grant(struct world *w, const struct election_effect *e)
{
    w->row.phase = ELECTION_ACTIVE;
    w->row.leader = e->leader;
    w->row.leader_boot = e->boot;
    w->row.cfg = e->cfg;
    w->row.prev_cfg = e->prev_cfg;
    struct grant *g = &w->grant[e->epoch];
    *g = (struct grant){
        .made = true,
        .leader = {.broker = e->leader.broker, .disk_gen = e->leader.disk_gen},
        .boot = (uint32_t)e->boot
    };
    g->config.version = e->cfg.version;
    add_voters(&g->config, &e->cfg);
}

bool controllers_choose(struct world *w, uint32_t preferred)
{
    if (w->row.phase != ELECTION_ELECTING) {
        return false;
    }
    struct question q;
    ask(&q, w);
    struct election_row row = w->row;
    row.preferred = preferred + 1;
    /* What was said to the fence before: it must not count (R3). */
    if (row.epoch > 1) {
        row.epoch--;
        feed(&q, &(struct election_input){.type = ELECTION_ROW, .shard = row.shard, .row = &row});
        feed_reports(&q, w, row.epoch);
        election_effects_clear(&q.effects);
        row.epoch++;
    }
    feed(&q, &(struct election_input){.type = ELECTION_ROW, .shard = row.shard, .row = &row});
    feed_reports(&q, w, row.epoch);
    const struct election_effect *e = proposal(&q, ELECTION_PROPOSE_ACTIVE, row.epoch);
    for (int i = 0; e == NULL && i < 3; i++) { /* patience, and what waits for it */
        q.now_ms += ELECTION_AVOID_MS;
        feed(&q, &(struct election_input){.type = ELECTION_TICK});
        e = proposal(&q, ELECTION_PROPOSE_ACTIVE, row.epoch);
    }
    if (e != NULL) {
        take_grant(w, e);
    }
    release(&q);
    return e != NULL;
}

bool controllers_settle(struct world *w)
{
    if (w->row.phase != ELECTION_ACTIVE || w->row.prev_cfg.voter_count == 0) {
        return false;
    }
    struct question q;
    ask(&q, w);
    feed(&q, &(struct election_input){.type = ELECTION_BROKER_UP,
                                      .broker = w->row.leader.broker,
                                      .boot = w->row.leader_boot,
                                      .disk_gen = w->row.leader.disk_gen});
    feed(&q, &(struct election_input){.type = ELECTION_ROW, .shard = w->row.shard, .row = &w->row});
    if (w->opened) {
        feed(&q, &(struct election_input){.type = ELECTION_OPENED,
                                          .broker = w->row.leader.broker,
                                          .boot = w->row.leader_boot,
                                          .shard = w->row.shard,
                                          .epoch = w->row.epoch});
    }
    bool stable = proposal(&q, ELECTION_PROPOSE_STABLE, w->row.epoch) != NULL;
    if (stable) {
        w->row.prev_cfg = (struct election_config){0};
    }
    release(&q);
    return stable;
}
