/* The invariants of docs/replication.md 2.15, at every step that could break them. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

struct written {
    uint64_t end;
    uint32_t shard, epoch, crc;
    bool used;
};

void check_init(struct world *w)
{
    w->writtens_capacity = 1024;
    w->written = sim_alloc(w->writtens_capacity * sizeof *w->written);
}

void check_release(struct world *w)
{
    free(w->written);
    for (uint32_t i = 0; i < w->ghosts; i++) {
        log_release(&w->ghost[i].log);
    }
    free(w->ghost);
    free(w->operation);
    for (uint32_t s = 0; s < SHARDS_MAX; s++) {
        log_release(&w->truth[s].log);
        free(w->truth[s].by_epoch);
        free(w->led[s]);
    }
}

void ghost_add(struct world *w, struct replica_id id, uint32_t shard, const struct log *log)
{
    w->ghost = grow(w->ghost, &w->ghosts_capacity, w->ghosts + 1, sizeof *w->ghost);
    struct ghost *g = &w->ghost[w->ghosts++];
    *g = (struct ghost){.id = id, .shard = shard};
    log_copy(&g->log, log);
}

/* ------------------------------------------------------------------- I2, I5: the logs */

static struct written *written_place(struct world *w, const struct written *key)
{
    uint64_t x = key->end * 0x9e3779b97f4a7c15u ^ (uint64_t)key->epoch << 20 ^ key->shard;
    x ^= x >> 31;
    uint32_t at = (uint32_t)x & (w->writtens_capacity - 1);
    while (w->written[at].used &&
           (w->written[at].end != key->end || w->written[at].epoch != key->epoch ||
            w->written[at].shard != key->shard)) {
        at = (at + 1) & (w->writtens_capacity - 1);
    }
    return &w->written[at];
}

static void written_grow(struct world *w)
{
    struct written *old = w->written;
    uint32_t old_capacity = w->writtens_capacity;
    w->writtens_capacity *= 2;
    w->written = sim_alloc(w->writtens_capacity * sizeof *w->written);
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].used) {
            *written_place(w, &old[i]) = old[i];
        }
    }
    free(old);
}

/* I12 */
static void check_parents(struct world *w, const struct broker *b, uint32_t shard)
{
    for (uint32_t p = 0; p < w->plan.shards; p++) {
        if ((w->metadata.parents[shard] >> p & 1) != 0 && committed_seal(w, p) == 0) {
            violated(w, "I12: broker %u writes into shard %u before its parent %u is closed", b->id,
                     shard, p);
        }
    }
}

void check_write(struct world *w, struct broker *b, uint32_t shard, const struct batch *batch)
{
    struct log_point last = log_last(&b->replica[shard].live);
    const struct replica_batch *c = &batch->core;
    if (c->base != last.end || c->prev_crc != last.crc) {
        violated(w,
                 "I2: broker %u shard %u writes %llu behind a log that ends at %llu, or not of "
                 "its chain",
                 b->id, shard, (unsigned long long)c->base, (unsigned long long)last.end);
    }
    if ((c->flags & REPLICA_BATCH_CONTROL) == 0) {
        check_parents(w, b, shard);
    }
    if (c->epoch < last.epoch) {
        violated(w, "I5: broker %u shard %u writes epoch %u behind epoch %u", b->id, shard,
                 c->epoch, last.epoch);
    }
    struct written key = {
        .end = c->base + c->count, .shard = shard, .epoch = c->epoch, .crc = c->crc, .used = true};
    struct written *known = written_place(w, &key);
    if (known->used && known->crc != c->crc) {
        violated(w, "I2: two batches end at %llu of shard %u in epoch %u",
                 (unsigned long long)key.end, shard, c->epoch);
    }
    if (!known->used) {
        *known = key;
        w->writtens++;
        if (2 * w->writtens > w->writtens_capacity) {
            written_grow(w);
        }
    }
}

void check_recovered(struct world *w, struct broker *b, uint32_t shard)
{
    const struct replica_shell *r = &b->replica[shard];
    struct log_point last = {0};
    for (uint32_t i = 0; i < r->medium.log.count; i++) {
        const struct replica_batch *c = &r->medium.log.batch[i].core;
        if (c->base != last.end || c->prev_crc != last.crc) {
            violated(w, "I2: broker %u shard %u recovers a splice at %llu", b->id, shard,
                     (unsigned long long)c->base);
        }
        if (c->epoch < last.epoch) {
            violated(w, "I5: broker %u shard %u recovers epoch %u behind epoch %u", b->id, shard,
                     c->epoch, last.epoch);
        }
        last = (struct log_point){.end = c->base + c->count, .epoch = c->epoch, .crc = c->crc};
    }
    if (r->medium.promised < r->told_promise && !r->medium.uncertain) {
        violated(w, "I4: broker %u shard %u told of promise %u, recovers promise %u", b->id, shard,
                 r->told_promise, r->medium.promised);
    }
}

/* -------------------------------------------------------------- I1: one leader an epoch */

static void once(struct world *w, struct granted **array, uint32_t *capacity, uint32_t shard,
                 uint32_t epoch, const struct granted *now)
{
    uint32_t old = *capacity;
    *array = grow(*array, capacity, epoch + 1, sizeof **array);
    memset(*array + old, 0, (*capacity - old) * sizeof **array);
    struct granted *known = &(*array)[epoch];
    if (known->leader.broker == 0) {
        *known = *now;
    } else if (known->leader.broker != now->leader.broker ||
               known->leader.disk_gen != now->leader.disk_gen || known->boot != now->boot) {
        violated(w, "I1: epoch %u of shard %u has two leaders, %u.%u boot %llu and %u.%u boot %llu",
                 epoch, shard, known->leader.broker, known->leader.disk_gen,
                 (unsigned long long)known->boot, now->leader.broker, now->leader.disk_gen,
                 (unsigned long long)now->boot);
    }
}

void check_granted(struct world *w, const struct election_row *row)
{
    uint32_t shard = (uint32_t)row->shard;
    struct granted now = {.leader = row->leader, .boot = row->leader_boot, .cfg = row->cfg};
    once(w, &w->metadata.granted[shard], &w->metadata.granted_capacity[shard], shard, row->epoch,
         &now);
}

/* ----------------------------------------- I13, I14: configurations, and what is dropped */

static bool is_possible(const struct election_row *row, uint32_t version)
{
    return row->cfg.version == version ||
           (row->prev_cfg.voter_count > 0 && row->prev_cfg.version == version);
}

/* A third configuration only when the first is possible no more. */
void check_row(struct world *w, uint32_t shard, const struct election_row *row)
{
    const struct election_row *old = &w->metadata.row[shard];
    if (old->prev_cfg.voter_count == 0 || old->epoch == 0) {
        return;
    }
    if (!is_possible(old, row->cfg.version) ||
        (row->prev_cfg.voter_count > 0 && !is_possible(old, row->prev_cfg.version))) {
        violated(w, "I13: configuration v%u of shard %u while v%u and v%u are possible",
                 row->cfg.version, shard, old->cfg.version, old->prev_cfg.version);
    }
}

/* Nothing is deleted but by a positive record (R16). */
void check_drop(struct world *w, struct broker *b, uint32_t shard)
{
    if ((w->metadata.drops[shard] >> b->id & 1) == 0) {
        violated(w, "I14: broker %u deletes its replica of shard %u, which nobody has ordered",
                 b->id, shard);
    }
}

/* Nothing is dropped before its time: by the true clock, less what clocks may be apart. */
void check_trim(struct world *w, struct broker *b, uint32_t shard, uint64_t end)
{
    const struct log *live = &b->replica[shard].live;
    uint32_t at = log_find_base(live, end);
    if (at == 0 || at > live->count) {
        return;
    }
    uint64_t age_ms = (w->now_us - live->batch[at - 1].stored_us) / MS;
    if (age_ms + 3000 < w->plan.keep_ms) {
        violated(w,
                 "2.12: broker %u drops a record of shard %u that is %llu ms old, to keep for %llu",
                 b->id, shard, (unsigned long long)age_ms, (unsigned long long)w->plan.keep_ms);
    }
}

/* Whoever begins to lead has filled the holes that it knows of; but what another voter has dropped
 * nobody can give. */
static void check_holes_filled(struct world *w, const struct broker *b, uint32_t shard,
                               uint32_t epoch)
{
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    uint64_t dropped = 0;
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        const struct replica_shell *r = &w->broker[id].replica[shard];
        bool more = r->exists && r->medium.log_start > dropped;
        dropped = more ? r->medium.log_start : dropped;
    }
    if (view.holes.count > 0 && view.holes.begin >= dropped) {
        violated(w, "2.9: broker %u leads epoch %u of shard %u with a hole at %llu", b->id, epoch,
                 shard, (unsigned long long)view.holes.begin);
    }
}

/* I1, and I3's half: whoever begins to lead has all that was committed before. */
void check_lead(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch)
{
    struct granted now = {
        .leader = {b->id, b->disk_gen},
          .boot = b->boot
    };
    once(w, &w->led[shard], &w->led_capacity[shard], shard, epoch, &now);
    if (epoch >= w->metadata.granted_capacity[shard] ||
        w->metadata.granted[shard][epoch].leader.broker == 0) {
        violated(w, "R1: broker %u leads epoch %u of shard %u, which nobody granted", b->id, epoch,
                 shard);
    }
    check_holes_filled(w, b, shard, epoch);
    const struct log *truth = &w->truth[shard].log;
    for (uint32_t i = truth->count; i > 0; i--) {
        const struct replica_batch *c = &truth->batch[i - 1].core;
        if (w->truth[shard].by_epoch[i - 1] < epoch) {
            struct log_point point = {.end = c->base + c->count, .epoch = c->epoch, .crc = c->crc};
            if (!log_holds(&b->replica[shard].live, point)) {
                violated(w,
                         "I3: broker %u leads epoch %u of shard %u without the batch of epoch "
                         "%u that ends at %llu and was committed in epoch %u",
                         b->id, epoch, shard, c->epoch, (unsigned long long)point.end,
                         w->truth[shard].by_epoch[i - 1]);
            }
            return;
        }
    }
}

/* ------------------------------------------------------- I3, I8, I9: what is committed */

static bool on_medium(const struct world *w, struct replica_id id, uint32_t shard,
                      struct log_point point)
{
    const struct broker *b = &w->broker[id.broker];
    if (b->disk_gen == id.disk_gen && b->replica[shard].exists &&
        log_holds(&b->replica[shard].medium.log, point)) {
        return true;
    }
    for (uint32_t i = 0; i < w->ghosts; i++) {
        const struct ghost *g = &w->ghost[i];
        if (g->shard == shard && replica_id_equal(g->id, id) && log_holds(&g->log, point)) {
            return true;
        }
    }
    return false;
}

static void check_copies(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch,
                         struct log_point point)
{
    struct replica_config cfg = core_config(&w->metadata.granted[shard][epoch].cfg);
    uint32_t copies = 0;
    for (uint32_t i = 0; i < cfg.voter_count; i++) {
        copies += on_medium(w, cfg.voter[i], shard, point);
    }
    if (copies <= cfg.voter_count / 2) {
        violated(w, "I8: broker %u commits shard %u up to %llu with %u copies on disk", b->id,
                 shard, (unsigned long long)point.end, copies);
    }
}

/* ---------------------------------------------------------- 2.12: the end of a shard */

uint64_t committed_seal(const struct world *w, uint32_t shard)
{
    return w->seal_end[shard];
}

/* What is told of a shard's end is true for good. */
void check_sealed(struct world *w, struct broker *b, uint32_t shard, uint64_t end)
{
    w->count.seals++;
    if (committed_seal(w, shard) != end) {
        violated(w, "2.12: broker %u tells that shard %u ends at %llu; the committed seal is %llu",
                 b->id, shard, (unsigned long long)end,
                 (unsigned long long)committed_seal(w, shard));
    }
}

/* ----------------------------------------- I10, I11: what may be stored once at most */

void check_operation(struct world *w, uint64_t id)
{
    uint32_t old = w->operations_capacity;
    w->operation =
        grow(w->operation, &w->operations_capacity, (uint32_t)id + 1, sizeof *w->operation);
    memset(w->operation + old, 0, (w->operations_capacity - old) * sizeof *w->operation);
    w->operation[id].once = true;
}

static void check_once(struct world *w, uint32_t shard, const struct batch *batch)
{
    if (batch->producer == 0 && batch->token == 0) {
        return;
    }
    struct op_record *record = &w->operation[batch->id];
    if (record->committed) {
        violated(w, "I11: operation %llu is at %llu of shard %u and at %llu of shard %u",
                 (unsigned long long)batch->id, (unsigned long long)record->offset, record->shard,
                 (unsigned long long)batch->core.base, shard);
    }
    record->committed = true;
    record->offset = batch->core.base;
    record->shard = shard;
}

static void check_behind_seal(struct world *w, uint32_t shard, const struct replica_batch *c)
{
    uint64_t seal = committed_seal(w, shard);
    if (seal != 0 && (c->base + c->count > seal) && (c->flags & REPLICA_BATCH_CONTROL) == 0) {
        violated(w, "2.12: the record at %llu of shard %u is committed behind its seal at %llu",
                 (unsigned long long)c->base, shard, (unsigned long long)seal);
    }
    if (seal != 0 && (c->flags & REPLICA_BATCH_SEAL) != 0 && c->base + c->count != seal) {
        violated(w, "2.12: shard %u has a second seal", shard);
    }
}

static void extend_truth(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch,
                         uint64_t end)
{
    const struct log *live = &b->replica[shard].live;
    struct log *truth = &w->truth[shard].log;
    if (!log_holds(live, log_last(truth))) {
        violated(w, "I3: broker %u commits another history of shard %u than was committed", b->id,
                 shard);
    }
    for (uint32_t i = log_find_base(live, log_end(truth)); log_end(truth) < end; i++) {
        log_push(truth, &live->batch[i]);
        check_once(w, shard, &live->batch[i]);
        bool seals = (live->batch[i].core.flags & REPLICA_BATCH_SEAL) != 0;
        w->seal_end[shard] = seals && w->seal_end[shard] == 0 ? log_end(truth) : w->seal_end[shard];
        if (w->plan.reshard_us != 0) {
            check_behind_seal(w, shard, &live->batch[i].core);
        }
        w->truth[shard].by_epoch = grow(w->truth[shard].by_epoch, &w->truth[shard].capacity,
                                        truth->count, sizeof *w->truth[shard].by_epoch);
        w->truth[shard].by_epoch[truth->count - 1] = epoch;
    }
}

static void note_commit(struct world *w, const struct broker *b, uint32_t shard, uint32_t epoch,
                        struct log_point point)
{
    const struct election_row *row = &w->metadata.row[shard];
    const struct log *live = &b->replica[shard].live;
    uint32_t first = log_find_base(live, log_end(&w->truth[shard].log));
    SEEN_IF(w, COMMITTED_WITHOUT_OWN, !log_holds(&b->replica[shard].medium.log, point));
    SEEN_IF(w, COMMITTED_OLDER, first < live->count && live->batch[first].core.epoch < epoch);
    SEEN_IF(w, COMMITTED_JOINTLY, row->prev_cfg.voter_count > 0);
    SEEN_IF(w, COMMITTED_DEPOSED, epoch < row->epoch);
}

void check_commit(struct world *w, struct broker *b, uint32_t shard, uint64_t end)
{
    const struct replica_shell *r = &b->replica[shard];
    const struct batch *batch = log_batch_ending(&r->live, end);
    w->count.commits++;
    if (batch == NULL) {
        violated(w, "I7: broker %u commits shard %u up to %llu, where no batch of its ends", b->id,
                 shard, (unsigned long long)end);
    }
    struct log_point point = {.end = end, .epoch = batch->core.epoch, .crc = batch->core.crc};
    struct log *truth = &w->truth[shard].log;
    if (end > log_end(truth)) {
        struct replica_view view;
        replica_view(r->core, &view);
        if (view.role != REPLICA_LEADING) {
            violated(w, "I9: broker %u shard %u takes %llu for committed before any leader did",
                     b->id, shard, (unsigned long long)end);
        }
        check_copies(w, b, shard, view.epoch, point);
        note_commit(w, b, shard, view.epoch, point);
        extend_truth(w, b, shard, view.epoch, end);
    } else if (SEEN_IF(w, COMMITTED_LATE, end >= r->commit + 20), !log_holds(truth, point)) {
        violated(w, "I3: broker %u shard %u takes another batch for committed at %llu", b->id,
                 shard, (unsigned long long)end);
    }
}

void check_acked(struct world *w, uint32_t shard, uint64_t attempt, uint64_t offset, uint32_t epoch)
{
    const struct log *truth = &w->truth[shard].log;
    uint32_t at = log_find_base(truth, offset);
    if (at == truth->count || truth->batch[at].id != attempt ||
        (epoch != 0 && truth->batch[at].core.epoch != epoch)) {
        violated(w, "I10: offset %llu of shard %u is acknowledged to one put and holds another",
                 (unsigned long long)offset, shard);
    }
}

/* ---------------------------------------------- I4, I6, I7: what a replica says of itself */

static bool is_in_config(const struct election_config *cfg, struct election_replica id)
{
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        if (cfg->voter[i].broker == id.broker && cfg->voter[i].disk_gen == id.disk_gen) {
            return true;
        }
    }
    return false;
}

static void tell_promise(struct replica_shell *r, uint32_t epoch)
{
    r->told_promise = epoch > r->told_promise ? epoch : r->told_promise;
}

/* NULL when it leads no longer. */
static const struct log *log_of_leader(const struct world *w, uint32_t shard, uint32_t epoch)
{
    CHECK(epoch < w->led_capacity[shard]);
    const struct granted *led = &w->led[shard][epoch];
    const struct broker *b = &w->broker[led->leader.broker];
    struct replica_view view;
    if (b->boot != led->boot || b->replica[shard].core == NULL) {
        return NULL;
    }
    replica_view(b->replica[shard].core, &view);
    bool leads = view.role == REPLICA_LEADING && view.epoch == epoch;
    return leads ? &b->replica[shard].live : NULL;
}

void check_answer(struct world *w, struct broker *b, uint32_t shard,
                  const struct replica_answer *answer)
{
    struct replica_shell *r = &b->replica[shard];
    const struct medium *m = &r->medium;
    if (!answer->ok) {
        return;
    }
    struct log_point point;
    if (!log_point_at(&r->live, answer->end, &point) || !log_holds(&m->log, point)) {
        violated(w, "I6: broker %u shard %u acknowledges %llu, its medium ends at %llu", b->id,
                 shard, (unsigned long long)answer->end, (unsigned long long)log_end(&m->log));
    }
    const struct log *leads = log_of_leader(w, shard, answer->epoch);
    if (leads != NULL && !log_holds(leads, point)) {
        violated(w,
                 "R11: broker %u shard %u acknowledges %llu, where the leader of epoch %u has "
                 "something else",
                 b->id, shard, (unsigned long long)answer->end, answer->epoch);
    }
    for (uint32_t i = log_find_base(&r->live, r->commit);
         i < r->live.count && r->live.batch[i].core.base < answer->end; i++) {
        if (r->live.batch[i].rot != ROT_NONE && r->live.batch[i].told) {
            violated(w, "R9: broker %u shard %u acknowledges %llu, and knows of damage at %llu",
                     b->id, shard, (unsigned long long)answer->end,
                     (unsigned long long)r->live.batch[i].core.base);
        }
    }
    struct replica_view view;
    replica_view(r->core, &view);
    SEEN_IF(w, HOLE_NOT_ACKED,
            view.holes.count > 0 && answer->end < view.verified_end &&
                answer->end < view.durable_end);
    if (m->promised < answer->epoch) {
        violated(w, "R2: broker %u shard %u acknowledges in epoch %u, its medium promises %u",
                 b->id, shard, answer->epoch, m->promised);
    }
    tell_promise(r, answer->epoch);
}

/* Whatever was told once, in this boot or an earlier one, and is neither repaired nor gone. */
static void check_reported_holes(struct world *w, const struct broker *b, uint32_t shard,
                                 const struct replica_report *report)
{
    const struct replica_shell *r = &b->replica[shard];
    for (uint32_t i = 0; i < r->medium.log.count && w->plan.fault[FAULT_ROT]; i++) {
        const struct batch *disk = &r->medium.log.batch[i];
        uint64_t end = disk->core.base + disk->core.count;
        bool hole = disk->rot != ROT_NONE && disk->told && disk->core.base >= report->log_start &&
                    end <= report->end;
        if (hole && (report->holes.count == 0 || report->holes.begin > disk->core.base ||
                     report->holes.end < end)) {
            violated(w, "2.9: broker %u shard %u does not report the hole at %llu", b->id, shard,
                     (unsigned long long)disk->core.base);
        }
    }
}

void check_choice(struct world *w, const struct election_effect *active)
{
    uint32_t shard = (uint32_t)active->shard, epoch = active->epoch;
    const struct election_row *row = &w->metadata.row[shard];
    const struct replica_shell *leader = &w->broker[active->leader.broker].replica[shard];
    if (row->epoch != epoch || leader->reported_epoch != epoch) {
        return;
    }
    bool above = leader->reported_holes_end > 0, better = false;
    for (uint32_t i = 0; i < active->reported_count; i++) {
        const struct replica_shell *r = &w->broker[active->reported[i].broker].replica[shard];
        above = above && (r == leader || (r->reported_epoch == epoch &&
                                          r->reported_end < leader->reported_holes_end));
        better = better || (r->reported_epoch == epoch && r->reported_holes_end > 0 &&
                            r->reported_end > leader->reported_end);
    }
    SEEN_IF(w, ELECTED_BESIDE_HOLES, better && leader->reported_holes_end == 0);
    uint32_t voters = row->cfg.voter_count;
    for (uint32_t i = 0; i < row->prev_cfg.voter_count; i++) {
        voters += is_in_config(&row->cfg, row->prev_cfg.voter[i]) ? 0 : 1;
    }
    /* Controllers of the version before do not wait, as they did not. */
    if (above && active->reported_count < voters && !w->version.controllers_too) {
        violated(w,
                 "2.9: broker %u is to lead epoch %u of shard %u with a hole below %llu that "
                 "nobody who replied can fill",
                 active->leader.broker, epoch, shard,
                 (unsigned long long)leader->reported_holes_end);
    }
}

void check_report(struct world *w, struct broker *b, uint32_t shard, uint32_t epoch,
                  const struct replica_report *report)
{
    struct replica_shell *r = &b->replica[shard];
    const struct medium *m = &r->medium;
    if (report->commit_hint > log_end(&w->truth[shard].log)) {
        violated(w, "I7: broker %u shard %u knows of commit %llu", b->id, shard,
                 (unsigned long long)report->commit_hint);
    }
    if (!report->ok) {
        return;
    }
    if (m->promised < epoch) {
        violated(w, "R2: broker %u shard %u reports promise %u, its medium holds %u", b->id, shard,
                 epoch, m->promised);
    }
    if (r->reported_epoch != epoch || report->holes.end < r->reported_holes_end) {
        r->reported_holes_end = report->holes.end;
    }
    if (r->reported_epoch != epoch || report->end > r->reported_end) {
        r->reported_end = report->end;
    }
    r->reported_epoch = epoch;
    check_reported_holes(w, b, shard, report);
    const struct batch *last = log_batch_ending(&m->log, report->end);
    if (report->end > 0 && (last == NULL || last->core.epoch != report->last_epoch)) {
        violated(w, "R3: broker %u shard %u reports end %llu, its medium ends at %llu", b->id,
                 shard, (unsigned long long)report->end, (unsigned long long)log_end(&m->log));
    }
    tell_promise(r, epoch);
}

void check_view(struct world *w, struct broker *b, uint32_t shard)
{
    const struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    replica_view(r->core, &view);
    if (view.promised < r->told_promise && !view.needs_floor) {
        violated(w, "I4: broker %u shard %u promises %u after it told of %u", b->id, shard,
                 view.promised, r->told_promise);
    }
    bool ordered = view.log_start <= view.commit && view.commit <= view.last.end &&
                   view.durable_end <= view.last.end && view.verified_end <= view.last.end;
    if (!ordered || view.commit != r->commit || view.last.end != log_end(&r->live)) {
        violated(w, "I7: broker %u shard %u: log start %llu, commit %llu, durable %llu, end %llu",
                 b->id, shard, (unsigned long long)view.log_start, (unsigned long long)view.commit,
                 (unsigned long long)view.durable_end, (unsigned long long)view.last.end);
    }
    if (view.durable_end > log_end(&r->medium.log)) {
        violated(w, "I6: broker %u shard %u calls %llu durable, its medium ends at %llu", b->id,
                 shard, (unsigned long long)view.durable_end,
                 (unsigned long long)log_end(&r->medium.log));
    }
}
