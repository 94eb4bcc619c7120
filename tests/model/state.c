#include <string.h>

#include "tests/model/model.h"

struct bounds bounds;

static void point_into(struct world *w)
{
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        struct site *site = &w->site[s];
        site->log.context = &site->live;
        site->core.log = &site->log;
        site->core.history.pair = site->history;
        site->core.writes.pending = site->pending;
    }
}

void world_copy(struct world *to, const struct world *from)
{
    memcpy(to, from,
           offsetof(struct world, message) + from->message_count * sizeof(struct message));
    point_into(to);
}

void world_init(struct world *w)
{
    memset(w, 0, sizeof *w);
    w->row = (struct election_row){.shard = 1, .phase = ELECTION_IDLE};
    w->row.cfg.version = 1;
    w->row.cfg.voter_count = 3;
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        w->site[s].exists = true;
        w->site[s].disk_gen = w->site[s].boot = 1;
        if (s < 3) {
            w->row.cfg.voter[s] = (struct election_replica){.broker = s + 1, .disk_gen = 1};
        }
        site_recover(w, s);
    }
    point_into(w);
    if (bounds.settled) {
        actions_settle(w);
    }
}

/* ---- fingerprints ---- */

struct mixer {
    uint64_t low, high;
};

static inline void mix(struct mixer *m, uint64_t word)
{
    m->low = (m->low ^ word) * 0x9E3779B97F4A7C15ull;
    m->low ^= m->low >> 29;
    m->high = (m->high + word + 0x51) * 0xff51afd7ed558ccdull;
    m->high ^= m->high >> 32;
}

static const struct mixer fresh = {0x243F6A8885A308D3ull, 0x13198A2E03707344ull};

/* place[s + 1] is the name of site s in the renamed world; broker 0 is nobody. */
static inline uint64_t renamed(const uint32_t *place, struct replica_id id)
{
    return (uint64_t)place[id.broker] << 8 | id.disk_gen;
}

static void mix_log(struct mixer *m, const struct log *log)
{
    mix(m, (uint64_t)log->start << 8 | log->end);
    for (uint32_t x = log->start > 0 ? log->start - 1 : 0; x < log->end; x++) {
        mix(m, (uint64_t)log->entry[x].crc << 16 | (uint64_t)log->entry[x].epoch << 8 |
                   log->entry[x].flags);
    }
}

static void mix_disk(struct mixer *m, const struct site *site)
{
    const struct medium *disk = &site->disk;
    mix(m, (uint64_t)site->exists << 60 | (uint64_t)site->disk_gen << 50 |
               (uint64_t)site->boot << 40 | (uint64_t)disk->promised << 24 |
               (uint64_t)disk->uncertain << 20 | (uint64_t)disk->uncertain_end << 8 |
               disk->commit_hint);
    mix_log(m, &disk->log);
    mix_log(m, &site->live);
    for (uint32_t i = 0; i < site->op_count; i++) {
        const struct op *op = &site->op[i];
        mix(m, (uint64_t)op->type << 56 | (uint64_t)op->epoch << 48 | (uint64_t)op->flag << 40 |
                   (uint64_t)op->end << 32 | op->crc);
        mix(m,
            (uint64_t)(op->seq == 0 ? 0 : op->seq - site->core.synced_seq) << 32 | op->entry.crc);
        mix(m, (uint64_t)op->entry.epoch << 8 | op->entry.flags);
    }
}

static void mix_core(struct mixer *m, const struct replica *r, const uint32_t *place)
{
    mix(m, (uint64_t)r->role | (uint64_t)r->report_pending << 4 | (uint64_t)r->owes_answer << 5 |
               (uint64_t)r->uncertain << 6 | (uint64_t)r->has_clear_at << 7 |
               (uint64_t)r->needs_floor << 8 | (uint64_t)r->open << 9 |
               (uint64_t)(r->flush_ms != REPLICA_NEVER) << 10 |
               (uint64_t)(r->promise_seq > r->synced_seq) << 11 | (uint64_t)r->promised << 16 |
               (uint64_t)r->epoch << 24 | (uint64_t)r->granted << 32 | (uint64_t)r->cfg_ver << 40);
    mix(m, r->commit << 48 | r->commit_hint << 40 | r->durable_end << 32 | r->log_start << 24 |
               r->seal_end << 16 | r->leader_commit << 8 | r->verified);
    mix(m, r->acked << 48 | r->uncertain_end << 40 | r->clear_at << 32 | r->epoch_base << 24 |
               r->leader_boot << 16 | r->last.end);
    mix(m, renamed(place, r->leader) << 32 | r->last.crc);
    if (r->report_pending) {
        mix(m, (r->report_seq > r->synced_seq ? r->report_seq - r->synced_seq : 0) << 32 |
                   (uint64_t)r->report.promised << 24 | (uint64_t)r->report.last_epoch << 16 |
                   r->report.end << 8 | r->report.certain);
    }
    for (uint32_t i = 0; i < r->history.count; i++) {
        mix(m, (uint64_t)r->history.pair[i].epoch << 32 | r->history.pair[i].start);
    }
    for (uint32_t i = r->writes.head; i < r->writes.tail; i++) {
        mix(m, (r->writes.pending[i].seq - r->synced_seq) << 32 | r->writes.pending[i].end);
    }
}

/* Renamed, the other voters may be in another order: they are added up. */
static void mix_members(struct mixer *m, const struct replica *r, const uint32_t *place)
{
    uint64_t low = 0, high = 0;
    for (uint32_t i = 0; i < r->member_count; i++) {
        const struct member *v = &r->member[i];
        struct mixer one = fresh;
        mix(&one, renamed(place, v->id) << 32 | (uint64_t)v->state << 16 | (uint64_t)v->connected |
                      (uint64_t)v->woken << 1 | (uint64_t)v->probing << 2 | (uint64_t)v->bare << 3 |
                      (uint64_t)v->flush << 4 | (uint64_t)v->greet << 5 | (uint64_t)v->fenced << 6 |
                      (uint64_t)v->needs_copy << 7 | (uint64_t)v->learner << 8 |
                      (uint64_t)v->uncertain << 9 | (uint64_t)v->told_near << 10);
        mix(&one, v->boot << 56 | v->greeted_boot << 48 | v->match << 40 | v->next << 32 |
                      v->probe_end << 24 | v->told_commit << 16 | v->told_log_start << 8);
        low += one.low;
        high += one.high;
    }
    mix(m, low);
    mix(m, high);
}

static void mix_message(struct mixer *m, const struct message *g, const uint32_t *place)
{
    mix(m, (uint64_t)g->kind | (uint64_t)place[g->from + 1] << 4 | (uint64_t)place[g->to + 1] << 8 |
               (uint64_t)g->count << 12 | (uint64_t)g->ok << 20 | (uint64_t)g->uncertain << 21 |
               (uint64_t)g->install << 22 | (uint64_t)g->from_gen << 24 |
               (uint64_t)g->to_gen << 28 | (uint64_t)g->epoch << 32 | (uint64_t)g->cfg_ver << 40 |
               (uint64_t)g->boot << 48 | (uint64_t)g->to_boot << 56);
    mix(m, (uint64_t)g->commit | (uint64_t)g->log_start << 8 | (uint64_t)g->leader_end << 16 |
               (uint64_t)g->end << 24 | (uint64_t)g->probed << 32 | g->prev.end << 40 |
               (uint64_t)g->prev.epoch << 48);
    mix(m, g->prev.crc);
    for (uint32_t i = 0; i < g->count; i++) {
        if (g->kind == MESSAGE_APPEND) {
            mix(m, (uint64_t)g->entry[i].crc << 16 | (uint64_t)g->entry[i].epoch << 8 |
                       g->entry[i].flags);
        } else {
            mix(m, (uint64_t)g->pair[i].epoch << 32 | g->pair[i].start);
        }
    }
}

static uint64_t renamed_voters(const struct world *w, const struct election_config *cfg,
                               const uint32_t *place)
{
    (void)w;
    uint64_t mask = 0;
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        mask |= 1ull << (place[cfg->voter[i].broker] * 4 + cfg->voter[i].disk_gen - 1);
    }
    return mask << 8 | cfg->version;
}

static void mix_controllers(struct mixer *m, const struct world *w, const uint32_t *place)
{
    mix(m, (uint64_t)w->row.epoch | (uint64_t)w->row.phase << 4 | (uint64_t)w->crashes << 8 |
               (uint64_t)w->corruptions << 12 | (uint64_t)w->disks << 16 |
               (uint64_t)w->reconfigurations << 20 | (uint64_t)w->records << 24 |
               (uint64_t)w->opened << 28 | (uint64_t)w->trimmed << 29 |
               (uint64_t)w->seal_end << 32);
    mix(m, renamed_voters(w, &w->row.cfg, place));
    mix(m, renamed_voters(w, &w->row.prev_cfg, place));
    for (uint32_t e = 1; e <= w->row.epoch; e++) {
        const struct grant *g = &w->grant[e];
        mix(m, g->made
                   ? renamed(place, g->leader) << 16 | (uint64_t)g->boot << 8 | g->config.version
                   : 0);
    }
    for (uint32_t x = 0; x < w->committed_count; x++) {
        mix(m, (uint64_t)w->committed[x].crc << 8 | w->committed[x].by);
    }
}

/* Of an earlier fence: the election must not look at it (R3), so it is no difference. */
static bool report_counts(const struct world *w, uint32_t s)
{
    uint32_t epoch = w->report[s].epoch;
#if defined(WEIR_MUTANT) && WEIR_MUTANT == 2 /* report-without-fence: it does look */
    return epoch + 1 >= w->row.epoch && epoch > 0;
#else
    return epoch == w->row.epoch && w->row.phase == ELECTION_ELECTING && epoch > 0;
#endif
}

static void mix_report(struct mixer *m, const struct world *w, uint32_t s)
{
    if (report_counts(w, s)) {
        const struct election_report *r = &w->report[s];
        mix(m, 1ull << 60 | (uint64_t)r->epoch << 48 | (uint64_t)r->certain << 40 |
                   (uint64_t)r->last_epoch << 32 | (uint64_t)r->boot << 16 | r->end);
    }
}

static struct fingerprint fingerprint_of(const struct world *w, const uint32_t *order)
{
    uint32_t place[MODEL_REPLICAS + 1] = {0};
    for (uint32_t a = 0; a < bounds.replicas; a++) {
        place[order[a] + 1] = a + 1;
    }
    struct mixer m = fresh;
    mix_controllers(&m, w, place);
    for (uint32_t a = 0; a < bounds.replicas; a++) {
        const struct site *site = &w->site[order[a]];
        mix(&m, 0xABCDull + a);
        mix_disk(&m, site);
        if (site->exists) {
            mix_core(&m, &site->core, place);
            mix_members(&m, &site->core, place);
        }
        mix_report(&m, w, order[a]);
    }
    uint64_t low = 0, high = 0;
    for (uint32_t i = 0; i < w->message_count; i++) {
        struct mixer one = fresh;
        mix_message(&one, &w->message[i], place);
        low += one.low;
        high += one.high;
    }
    mix(&m, low);
    mix(&m, high);
    return (struct fingerprint){m.low, m.high};
}

/* What can be told of a site without names, so that few orders have to be tried. */
static uint64_t signature(const struct world *w, uint32_t s)
{
    const struct site *site = &w->site[s];
    struct mixer m = fresh;
    mix_disk(&m, site);
    mix_report(&m, w, s);
    mix(&m, (uint64_t)site->core.role << 48 | (uint64_t)site->core.promised << 40 |
                (uint64_t)site->core.epoch << 32 | site->core.commit << 16 | site->core.verified);
    mix(&m, site->core.acked);
    return m.low;
}

static bool lower(struct fingerprint a, struct fingerprint b)
{
    return a.low != b.low ? a.low < b.low : a.high < b.high;
}

/* The lowest over all orders that agree with the signatures. */
static void try_orders(const struct world *w, const uint64_t *sign, uint32_t *order, uint32_t from,
                       struct fingerprint *best)
{
    if (from == bounds.replicas) {
        struct fingerprint f = fingerprint_of(w, order);
        if (lower(f, *best)) {
            *best = f;
        }
        return;
    }
    for (uint32_t i = from; i < bounds.replicas; i++) {
        bool lowest = true;
        for (uint32_t j = from; j < bounds.replicas; j++) {
            lowest = lowest && sign[order[i]] <= sign[order[j]];
        }
        if (!lowest) {
            continue;
        }
        uint32_t chosen = order[i];
        order[i] = order[from];
        order[from] = chosen;
        try_orders(w, sign, order, from + 1, best);
        order[from] = order[i];
        order[i] = chosen;
    }
}

struct fingerprint world_fingerprint(const struct world *w)
{
    uint64_t sign[MODEL_REPLICAS];
    uint32_t order[MODEL_REPLICAS] = {0};
    for (uint32_t s = 0; s < bounds.replicas; s++) {
        sign[s] = signature(w, s);
        order[s] = s;
    }
    struct fingerprint best = {UINT64_MAX, UINT64_MAX};
    try_orders(w, sign, order, 0, &best);
    return best;
}
