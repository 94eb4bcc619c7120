#include <string.h>

#include "tests/sim/world.h"

void journal_append(struct world *w, struct broker *b, const struct op *op)
{
    struct journal *j = &b->journal;
    (void)w;
    j->op = grow(j->op, &j->capacity, j->count + 1, sizeof *j->op);
    j->op[j->count++] = *op;
}

/* Group commit: the next sync begins when the last one ends, and takes all that has gathered. */
void journal_kick(struct world *w, struct broker *b)
{
    struct journal *j = &b->journal;
    if (j->in_flight || j->count == 0) {
        return;
    }
    j->in_flight = true;
    j->syncing = knob(w, KNOB_SYNC_OF_PART) ? (uint32_t)draw(w, 1, j->count) : j->count;
    while (j->syncing < j->count && j->op[j->syncing].seq == j->op[j->syncing - 1].seq &&
           j->op[j->syncing].shard == j->op[j->syncing - 1].shard) {
        j->syncing++; /* one effect is never synced in part */
    }
    uint64_t takes_us = draw(w, w->plan.sync_us / 2, 2 * w->plan.sync_us);
    if (w->plan.fault[FAULT_SLOW_SYNC] && !w->healing && chance(w, 10)) {
        takes_us = draw(w, 0, w->plan.slow_sync_us);
        SEEN(w, SYNC_SLOW);
    } else if (j->hangs && !w->healing) {
        takes_us = draw(w, 1, 8) * SECOND;
        SEEN(w, SYNC_HUNG);
    } else if (knob(w, KNOB_SYNC_WAITS)) {
        takes_us += draw(w, 0, 20 * MS);
    }
    j->hangs = false;
    schedule(w, takes_us, (struct event){.type = EVENT_SYNCED, .a = b->id, .c = b->boot});
}

/* What lies below an installed start is trimmed: nobody reads it, and the checks compare whole
 * logs, so it is taken from what was committed. */
void install_copy(struct log *to, const struct log *truth, uint64_t end)
{
    log_copy(to, truth);
    log_truncate(to, end);
    CHECK(log_end(to) == end);
}

static void apply(struct medium *m, const struct log *truth, const struct op *op)
{
    switch (op->type) {
    case OP_WRITE:
        log_overwrite(&m->log, &op->batch);
        m->commit_hint = op->commit > m->commit_hint ? op->commit : m->commit_hint;
        if (op->batch.core.epoch > m->promised) {
            m->promised = op->batch.core.epoch;
        }
        return;
    case OP_TRUNCATE:
        log_truncate(&m->log, op->end);
        return;
    case OP_PROMISE:
        m->promised = op->epoch > m->promised ? op->epoch : m->promised;
        return;
    case OP_UNCERTAIN:
        m->uncertain = op->flag;
        m->uncertain_end = op->end;
        return;
    case OP_LOG_START:
        m->log_start = op->end;
        return;
    case OP_INSTALL:
        install_copy(&m->log, truth, op->end);
        m->log_start = op->end;
        return;
    case OP_NONE:
        return;
    }
    UNREACHABLE();
}

void disk_break(struct world *w, struct broker *b)
{
    b->journal.fails = !w->healing;
}

void disk_hang(struct world *w, struct broker *b)
{
    b->journal.hangs = !w->healing;
}

/* Never tried again: what was written may be lost, and is "clean" in memory. The disk is out, and
 * its replicas with it, until somebody restarts the broker (2.9). */
static bool sync_fails(struct world *w, struct broker *b)
{
    struct journal *j = &b->journal;
    if (!j->fails || w->healing) {
        return false;
    }
    j->fails = false;
    SEEN(w, SYNC_FAILED);
    TRACE(w, "broker %u: a sync failed, its disk is out", b->id);
    if (MUTANT(SYNC_RETRIED)) {
        for (uint32_t i = 0; i < j->syncing; i++) {
            j->op[i].lost = true; /* the second try finds nothing to write, and succeeds */
        }
        return false;
    }
    b->out = true;
    schedule(w, draw(w, 0, 800 * MS),
             (struct event){.type = EVENT_CRASH, .a = b->id, .b = CRASH_PLAIN, .c = b->boot});
    return true;
}

void journal_on_synced(struct world *w, struct broker *b, uint64_t boot)
{
    struct journal *j = &b->journal;
    if (!b->up || b->boot != boot) {
        return;
    }
    CHECK(j->in_flight);
    if (b->out || sync_fails(w, b)) {
        return;
    }
    uint64_t newest[SHARDS_MAX] = {0};
    uint32_t done = j->syncing;
    for (uint32_t i = 0; i < done; i++) {
        if (j->op[i].lost) {
            j->op[i].type = OP_NONE;
        }
        apply(&b->replica[j->op[i].shard].medium, &w->truth[j->op[i].shard].log, &j->op[i]);
        uint64_t *seq = &newest[j->op[i].shard];
        *seq = j->op[i].seq > *seq ? j->op[i].seq : *seq;
    }
    j->count -= done;
    memmove(j->op, j->op + done, j->count * sizeof *j->op);
    j->in_flight = false;
    j->syncing = 0;
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (newest[s] > 0 && b->replica[s].core != NULL) {
            struct replica_input in = {.type = REPLICA_SYNCED, .seq = newest[s]};
            status_ignore(broker_step(w, b, s, &in, NULL), "a halted replica is found elsewhere");
        }
    }
    journal_kick(w, b);
}

/* Every voter still has its disk. */
static bool all_present(const struct world *w, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    const struct election_config *cfg[2] = {&row->cfg, &row->prev_cfg};
    for (uint32_t c = 0; c < 2; c++) {
        for (uint32_t i = 0; i < cfg[c]->voter_count; i++) {
            struct election_replica v = cfg[c]->voter[i];
            if (w->broker[v.broker].disk_gen != v.disk_gen ||
                !w->broker[v.broker].replica[shard].exists) {
                return false;
            }
        }
    }
    return true;
}

/* The fault model lets one replica at a time lose what it acknowledged: all others are there and
 * undamaged, and one of them holds whatever was committed. */
static bool may_lose(const struct world *w, const struct broker *b, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct log_point committed = log_last(&w->truth[shard].log);
    bool kept = false;
    if (!is_voter(row, broker_rid(b))) {
        return true;
    }
    if (!all_present(w, shard) || row->phase != ELECTION_ACTIVE || holes_beside(w, shard, b)) {
        return false;
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        const struct broker *other = &w->broker[id];
        if (!is_voter(row, broker_rid(other))) {
            continue;
        }
        const struct medium *m = &other->replica[shard].medium;
        if (m->uncertain) {
            return false;
        }
        kept = kept || (id != b->id && log_holds(&m->log, committed));
    }
    return kept;
}

/* A torn tail that recovery cannot tell from a damaged one: 2.9, case 3. */
static void tear(struct world *w, struct broker *b, uint32_t shard)
{
    struct medium *m = &b->replica[shard].medium;
    if (!m->uncertain && all_present(w, shard) && b->replica[shard].exists) {
        m->uncertain = true;
        m->uncertain_end = log_end(&m->log);
        b->replica[shard].uncertain_epoch = w->metadata.row[shard].epoch;
        SEEN(w, CRASH_TORN);
        TRACE(w, "broker %u shard %u: ambiguous tail at %llu", b->id, shard,
              (unsigned long long)m->uncertain_end);
    }
}

static void note_crash(struct world *w, const struct broker *b, uint32_t keep)
{
    const struct journal *j = &b->journal;
    SEEN_IF(w, CRASH_IN_SYNC, j->in_flight);
    SEEN_IF(w, CRASH_KEPT_ALL, j->count > 0 && keep == j->count);
    SEEN_IF(w, CRASH_KEPT_SOME, keep > 0 && keep < j->count);
    SEEN_IF(w, CRASH_LOST_ALL, j->count > 0 && keep == 0);
    for (uint32_t i = keep; i < j->count; i++) {
        SEEN_IF(w, CRASH_LOST_PROMISE, j->op[i].type == OP_PROMISE);
        SEEN_IF(w, CRASH_LOST_TRUNCATION, j->op[i].type == OP_TRUNCATE);
        SEEN_IF(w, INSTALL_LOST, j->op[i].type == OP_INSTALL);
    }
}

void journal_crash(struct world *w, struct broker *b)
{
    struct journal *j = &b->journal;
    uint32_t keep = 0;
    switch (draw(w, 0, 2)) {
    case 0:
        break;
    case 1:
        keep = j->count;
        break;
    default:
        keep = (uint32_t)draw(w, 0, j->count);
    }
    note_crash(w, b, keep);
    for (uint32_t i = 0; i < keep; i++) {
        apply(&b->replica[j->op[i].shard].medium, &w->truth[j->op[i].shard].log, &j->op[i]);
    }
    if (keep < j->count && chance(w, 10 * w->plan.ambiguous)) {
        tear(w, b, j->op[keep].shard);
    }
    j->count = j->syncing = 0;
    j->in_flight = false;
}

/* What is unreadable may have held promises, too: back to an older one, but a batch implies its
 * own.
 */
static void lose_promises(struct world *w, struct broker *b, uint32_t shard)
{
    struct medium *m = &b->replica[shard].medium;
    uint32_t least = log_last(&m->log).epoch;
    b->replica[shard].uncertain_epoch = w->metadata.row[shard].epoch;
    if (m->promised > least && chance(w, 700)) {
        SEEN(w, DAMAGED_PROMISES);
        m->promised = (uint32_t)draw(w, least, m->promised - 1);
        TRACE(w, "broker %u shard %u: promises are unreadable, the last that is left is %u", b->id,
              shard, m->promised);
    }
}

/* An election is under way, or batches may not go: only promises are lost. */
static bool medium_forgets(struct world *w, struct broker *b, uint32_t shard)
{
    const struct election_row *row = &w->metadata.row[shard];
    if (!all_present(w, shard) || !is_voter(row, broker_rid(b))) {
        return false;
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        const struct broker *other = &w->broker[id];
        if (is_voter(row, broker_rid(other)) && other->replica[shard].medium.uncertain) {
            return false;
        }
    }
    struct medium *m = &b->replica[shard].medium;
    m->uncertain = true;
    m->uncertain_end = log_end(&m->log);
    w->count.damages++;
    TRACE(w, "broker %u shard %u: a block without batches is unreadable", b->id, shard);
    lose_promises(w, b, shard);
    return true;
}

bool medium_damage(struct world *w, struct broker *b, uint32_t shard)
{
    struct medium *m = &b->replica[shard].medium;
    if (w->healing || m->log.count == 0 || m->uncertain) {
        return false;
    }
    if (!may_lose(w, b, shard) || !is_voter(&w->metadata.row[shard], broker_rid(b)) ||
        chance(w, 200)) {
        return medium_forgets(w, b, shard);
    }
    ghost_add(w, broker_rid(b), shard, &m->log);
    uint64_t most = chance(w, 500) ? 6 : 60;
    uint64_t lost = draw(w, 1, m->log.count < most ? m->log.count : most);
    while (lost > 1 && log_end(&m->log) - m->log.batch[m->log.count - lost].core.base >
                           log_end(&m->log) - m->log_start) {
        lost--; /* what is trimmed cannot be damaged */
    }
    m->log.count -= (uint32_t)lost;
    if (log_end(&m->log) < m->log_start) {
        m->log.count += (uint32_t)lost;
        return medium_forgets(w, b, shard);
    }
    m->uncertain = true;
    m->uncertain_end = log_end(&m->log);
    w->count.damages++;
    SEEN(w, DAMAGED_BATCHES);
    TRACE(w, "broker %u shard %u: %llu synced batches unreadable, log ends at %llu", b->id, shard,
          (unsigned long long)lost, (unsigned long long)m->uncertain_end);
    lose_promises(w, b, shard);
    return true;
}

bool disk_may_go(const struct world *w, const struct broker *b)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        if (!may_lose(w, b, s)) {
            return false;
        }
    }
    return !w->healing;
}

void disk_lose(struct world *w, struct broker *b)
{
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        struct replica_shell *r = &b->replica[s];
        if (r->exists) {
            ghost_add(w, broker_rid(b), s, &r->medium.log);
        }
        SEEN_IF(w, DISK_LOST_BY_LEADER, w->metadata.row[s].leader.broker == b->id);
        r->exists = r->was_here = false;
        r->told_promise = 0;
        log_release(&r->medium.log);
        r->medium = (struct medium){0};
        schedule(w, draw(w, 300 * MS, 4 * SECOND), (struct event){.type = EVENT_REPLACE, .b = s});
    }
    SEEN(w, DISK_LOST);
    b->disk_gen++;
    w->count.disks_lost++;
    TRACE(w, "broker %u: new disk, generation %u", b->id, b->disk_gen);
}
