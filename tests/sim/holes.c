/* Holes: batches of a synced log that become unreadable below its end, in the middle of it or near
 * it (bit rot, a write that went elsewhere or nowhere). They are found by whoever reads there, told
 * to the core, kept over restarts, and repaired from other replicas: broker/log/damage.c,
 * broker/log/patch.c and broker/server/repair.c, without the bytes.
 *
 * The fault model: of every batch that two voters have synced, one voter keeps a good copy. */
#include "tests/sim/world.h"

/* ------------------------------------------------------------------------------- what is known */

struct replica_holes holes_known(const struct log *log, uint64_t log_start)
{
    struct replica_holes out = {0};
    bool before = false;
    for (uint32_t i = 0; i < log->count; i++) {
        const struct batch *b = &log->batch[i];
        bool hole = b->rot != ROT_NONE && b->known && b->core.base >= log_start;
        if (hole) {
            out.begin = out.count == 0 ? b->core.base : out.begin;
            out.end = b->core.base + b->core.count;
            out.count += before ? 0 : 1;
        }
        before = hole;
    }
    return out;
}

bool log_is_whole(const struct log *log, uint64_t log_start)
{
    for (uint32_t i = 0; i < log->count; i++) {
        if (log->batch[i].rot != ROT_NONE && log->batch[i].core.base >= log_start) {
            return false;
        }
    }
    return true;
}

bool holes_beside(const struct world *w, uint32_t shard, const struct broker *b)
{
    if (!w->plan.fault[FAULT_ROT]) {
        return false;
    }
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        const struct broker *other = &w->broker[id];
        if (other != b && other->replica[shard].exists &&
            is_voter(&w->metadata.row[shard], broker_rid(other)) &&
            !log_is_whole(&other->replica[shard].medium.log, 0)) {
            return true;
        }
    }
    return false;
}

/* The same batch, on the disk. NULL: it is not there (any more, or yet). */
static struct batch *on_disk(struct replica_shell *r, const struct batch *batch)
{
    struct log *log = &r->medium.log;
    uint32_t at = log_find_base(log, batch->core.base);
    bool same = at < log->count && log->batch[at].core.crc == batch->core.crc;
    return same ? &log->batch[at] : NULL;
}

static void plan_repair(struct world *w, struct broker *b, uint32_t shard, uint64_t delay_us)
{
    struct replica_shell *r = &b->replica[shard];
    if (w->now_us + delay_us < r->repair_us) {
        r->repair_us = w->now_us + delay_us;
        schedule(w, delay_us,
                 (struct event){.type = EVENT_REPAIR, .a = b->id, .b = shard, .c = r->repair_us});
    }
}

void holes_found(struct world *w, struct broker *b, uint32_t shard, uint32_t index, enum found how)
{
    struct replica_shell *r = &b->replica[shard];
    struct batch *batch = &r->live.batch[index];
    if (!batch->known) {
        TRACE(w, "broker %u shard %u: what lies at %llu is found to be damaged", b->id, shard,
              (unsigned long long)batch->core.base);
        SEEN_IF(w, HOLE_FOUND_BY_READ, how == FOUND_BY_READ);
        SEEN_IF(w, HOLE_FOUND_BY_FEED, how == FOUND_BY_FEED);
        SEEN_IF(w, HOLE_FOUND_BY_SEARCH, how == FOUND_BY_SEARCH);
        SEEN_IF(w, HOLE_FOUND_BY_SCRUB, how == FOUND_BY_SCRUB);
        batch->known = true;
        struct batch *same = on_disk(r, batch);
        if (same != NULL) {
            same->known = true;
        }
    }
    plan_repair(w, b, shard, draw(w, 0, 3 * MS));
}

enum status holes_point_at(void *context, uint64_t end, struct log_point *out)
{
    const struct reading *reading = context;
    const struct replica_shell *r = &reading->broker->replica[reading->shard];
    const struct log *live = &r->live;
    struct replica_view view = {0};
    if (r->core != NULL) {
        replica_view(r->core, &view);
    }
    if (!log_point_at(live, end, out)) {
        return STATUS_NOT_FOUND;
    }
    uint32_t behind = end == log_end(live) ? live->count : log_find_base(live, end);
    /* What is trimmed is gone; its crc is in the header of the batch behind it. */
    uint32_t at = end == view.log_start ? behind : behind - 1;
    if (end > 0 && at < live->count && live->batch[at].rot == ROT_HEADER) {
        SEEN(reading->world, HOLE_IN_THE_WAY);
        holes_found(reading->world, reading->broker, reading->shard, at, FOUND_BY_SEARCH);
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

/* What was found is on the disk before anybody is told; but its list may be lost, too. */
void holes_recovered(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    r->repair_us = UINT64_MAX;
    bool any = holes_known(&r->medium.log, 0).count > 0;
    bool lost = any && !w->healing && chance(w, 50);
    lost = lost || b->old || b->was_old; /* the version before keeps no list */
    for (uint32_t i = 0; i < r->medium.log.count && any; i++) {
        struct batch *batch = &r->medium.log.batch[i];
        batch->known = batch->known && !lost;
        batch->told = batch->told && !lost;
        r->live.batch[i].known = batch->known && !MUTANT(DAMAGE_FORGOTTEN);
        r->live.batch[i].told = batch->told;
    }
    SEEN_IF(w, HOLES_FORGOTTEN, any && lost);
    SEEN_IF(w, HOLES_AT_START, any && !lost);
    if (any && !lost) {
        plan_repair(w, b, shard, draw(w, 0, 20 * MS));
    }
}

/* ------------------------------------------------------------------------------------ repair */

/* Tells the core what is known, if that is news; `filled`: something can be read again, which the
 * core may not even know to have been damaged. */
static void tell(struct world *w, struct broker *b, uint32_t shard, bool filled)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    replica_view(r->core, &view);
    struct replica_input in = {.type = REPLICA_DAMAGE,
                               .holes = holes_known(&r->live, view.log_start)};
    if (b->old) { /* its core hears of none, but whoever waited there is woken */
        in.holes = (struct replica_holes){0};
    }
    for (uint32_t i = 0; i < r->live.count && in.holes.count > 0; i++) {
        if (r->live.batch[i].known) {
            r->live.batch[i].told = true;
            struct batch *same = on_disk(r, &r->live.batch[i]);
            if (same != NULL) {
                same->told = true;
            }
        }
    }
    if (filled || in.holes.count != view.holes.count || in.holes.begin != view.holes.begin ||
        in.holes.end != view.holes.end) {
        SEEN_IF(w, HOLE_FILLED_BEFORE_ACTIVE, view.filling && in.holes.count == 0);
        status_ignore(broker_step(w, b, shard, &in, NULL), "a halted replica is found elsewhere");
    }
}

static uint32_t first_known(const struct replica_shell *r, uint64_t log_start)
{
    for (uint32_t i = 0; i < r->live.count; i++) {
        const struct batch *batch = &r->live.batch[i];
        if (batch->rot != ROT_NONE && batch->known && batch->core.base >= log_start) {
            return i;
        }
    }
    return r->live.count;
}

static void ask(struct world *w, struct broker *b, uint32_t shard, uint64_t offset)
{
    for (uint32_t id = 1; id <= w->plan.brokers; id++) {
        if (id != b->id && is_voter(&w->metadata.row[shard], broker_rid(&w->broker[id]))) {
            struct message *m = message_new(w, MESSAGE_REPAIR_GET, b->id, id, shard);
            m->sender = broker_rid(b);
            m->as.repair.offset = offset;
            network_send(w, m);
        }
    }
}

void holes_on_repair(struct world *w, struct broker *b, uint32_t shard, uint64_t due_us)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    if (!b->up || r->core == NULL || r->repair_us != due_us) {
        return;
    }
    r->repair_us = UINT64_MAX;
    tell(w, b, shard, false);
    replica_view(r->core, &view);
    uint32_t first = first_known(r, view.log_start);
    if (first < r->live.count) {
        ask(w, b, shard, r->live.batch[first].core.base);
        plan_repair(w, b, shard, draw(w, 10, 120) * MS);
    }
}

void holes_urge(struct world *w, struct broker *b, uint32_t shard)
{
    plan_repair(w, b, shard, draw(w, 0, MS));
}

/* What a replica has from there on, or why it has nothing. */
static void answer(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct replica_view view;
    if (r->core == NULL) {
        return;
    }
    replica_view(r->core, &view);
    uint64_t offset = m->as.repair.offset;
    uint32_t at = log_find_base(&r->live, offset);
    struct message *data = message_new(w, MESSAGE_REPAIR_DATA, b->id, m->from, m->shard);
    data->sender = broker_rid(b);
    data->as.repair.offset = offset;
    data->as.repair.log_start = view.log_start;
    data->as.repair.promised = view.promise_is_durable && !view.needs_floor ? view.promised : 0;
    data->as.repair.gone = offset < view.log_start;
    data->as.repair.gone_epoch = 0;
    data->as.repair.absent = !data->as.repair.gone && at == r->live.count;
    uint32_t count = 0;
    while (!data->as.repair.gone && at < r->live.count && count < APPEND_BATCHES_MAX &&
           r->live.batch[at].rot == ROT_NONE) {
        data->as.repair.batch[count++] = r->live.batch[at++];
    }
    if (count == 0 && at < r->live.count && !data->as.repair.gone) {
        data->as.repair.gone = true;
        data->as.repair.gone_epoch = r->live.batch[at].core.epoch;
        holes_found(w, b, m->shard, at, FOUND_BY_READ);
    }
    data->as.repair.count = count;
    network_send(w, data);
}

/* How many of the batches that came belong into the hole at `first`: all up to one that is followed
 * by what is good here; else, as far as the history says the same epochs. */
static uint32_t fits(const struct log *live, uint32_t first, const struct message *m,
                     bool *out_closes)
{
    uint32_t crc = first == 0 ? 0 : live->batch[first - 1].core.crc, same = 0;
    *out_closes = false;
    for (uint32_t i = 0; i < m->as.repair.count; i++) {
        const struct replica_batch *c = &m->as.repair.batch[i].core;
        uint64_t end = c->base + c->count;
        if (c->prev_crc != crc) {
            return same;
        }
        crc = c->crc;
        uint32_t behind = log_find_base(live, end);
        bool joins = behind < live->count ? live->batch[behind].rot == ROT_NONE &&
                                                live->batch[behind].core.prev_crc == crc
                                          : end == log_end(live) && log_last(live).crc == crc;
        if (joins) {
            *out_closes = true;
            return i + 1;
        }
        uint32_t own = 0;
        while (own < live->count &&
               live->batch[own].core.base + live->batch[own].core.count <= c->base) {
            own++;
        }
        bool epoch = own < live->count && live->batch[own].core.epoch == c->epoch;
        same = epoch && same == i ? i + 1 : same;
    }
    return same;
}

static void fill(struct world *w, struct broker *b, uint32_t shard, uint32_t first,
                 const struct batch *from, uint32_t count)
{
    struct replica_shell *r = &b->replica[shard];
    for (uint32_t i = 0; i < count && first + i < r->live.count; i++) {
        struct batch *batch = &r->live.batch[first + i];
        bool same = batch->core.base == from[i].core.base && batch->core.crc == from[i].core.crc;
        if (!same && !MUTANT(HOLE_FILLED_UNCHECKED)) {
            violated(w, "I2: broker %u shard %u fills its hole at %llu with another batch", b->id,
                     shard, (unsigned long long)batch->core.base);
        }
        if (batch->core.base != from[i].core.base || batch->core.count != from[i].core.count) {
            return;
        }
        struct batch *disk = on_disk(r, batch);
        *batch = from[i];
        if (disk != NULL) {
            *disk = from[i];
        }
    }
}

static void on_data(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct replica_view view;
    if (r->core == NULL) {
        return;
    }
    replica_view(r->core, &view);
    uint32_t first = first_known(r, view.log_start);
    if (first == r->live.count || r->live.batch[first].core.base != m->as.repair.offset) {
        return; /* late: it is filled, or cut */
    }
    bool closes = false;
    uint32_t count = fits(&r->live, first, m, &closes);
    if (MUTANT(HOLE_FILLED_UNCHECKED)) {
        count = m->as.repair.count;
    }
    if (count > 0) {
        TRACE(w, "broker %u shard %u: %u batches from %llu on are repaired by broker %u", b->id,
              m->shard, count, (unsigned long long)m->as.repair.offset, m->from);
        SEEN_IF(w, HOLE_FILLED, closes);
        SEEN_IF(w, HOLE_FILLED_FROM_OLD, !b->old && w->broker[m->from].old);
        SEEN_IF(w, HOLE_OF_OLD_FILLED, b->old && !w->broker[m->from].old);
        SEEN_IF(w, HOLE_FILLED_IN_PART, !closes);
        fill(w, b, m->shard, first, m->as.repair.batch, count);
        tell(w, b, m->shard, true);
        plan_repair(w, b, m->shard, draw(w, 0, 2 * MS));
        return;
    }
    SEEN_IF(w, HOLE_REFUSED, m->as.repair.count > 0);
    TRACE(w, "broker %u shard %u: broker %u, promise %u, %s what was at %llu", b->id, m->shard,
          m->from, m->as.repair.promised, m->as.repair.gone ? "lost" : "never had",
          (unsigned long long)m->as.repair.offset);
    struct replica_input in = {.type = REPLICA_ABSENT,
                               .from = m->sender,
                               .epoch = m->as.repair.promised,
                               .offset = m->as.repair.offset,
                               .log_start = m->as.repair.log_start,
                               .gone = m->as.repair.gone,
                               .gone_epoch = m->as.repair.gone_epoch};
    status_ignore(broker_step(w, b, m->shard, &in, NULL), "STALE: nobody waits for that");
}

void holes_on_message(struct world *w, struct broker *b, const struct message *m)
{
    if (m->type == MESSAGE_REPAIR_GET) {
        answer(w, b, m);
    } else {
        on_data(w, b, m);
    }
}

/* ------------------------------------------------------------------------------------ faults */

static bool is_in(const struct election_config *cfg, struct replica_id id)
{
    for (uint32_t i = 0; i < cfg->voter_count; i++) {
        if (cfg->voter[i].broker == id.broker && cfg->voter[i].disk_gen == id.disk_gen) {
            return true;
        }
    }
    return false;
}

/* Another voter, which stays one, has a good copy on its disk; or nobody else has any, and nobody
 * took it for committed. */
static bool may_rot(const struct world *w, const struct broker *b, uint32_t shard,
                    const struct batch *batch)
{
    const struct election_row *row = &w->metadata.row[shard];
    struct log_point point = {.end = batch->core.base + batch->core.count,
                              .epoch = batch->core.epoch,
                              .crc = batch->core.crc};
    bool good = false, any = false, here = true;
    for (uint32_t i = 0; i < row->cfg.voter_count; i++) {
        const struct broker *other = &w->broker[row->cfg.voter[i].broker];
        const struct replica_shell *r = &other->replica[shard];
        bool there = other->disk_gen == row->cfg.voter[i].disk_gen && r->exists;
        here = here && there;
        if (other == b || !there || !log_holds(&r->medium.log, point)) {
            continue;
        }
        any = true;
        bool stays = row->prev_cfg.voter_count == 0 || is_in(&row->prev_cfg, broker_rid(other));
        good = good || (stays && log_batch_ending(&r->medium.log, point.end)->rot == ROT_NONE);
    }
    bool alone =
        !any && here && row->prev_cfg.voter_count == 0 && !log_holds(&w->truth[shard].log, point);
    return good || alone;
}

/* `count` batches of the medium from `first` on, as far as the fault model allows. */
static bool rot(struct world *w, struct broker *b, uint32_t shard, uint32_t first, uint32_t count)
{
    struct replica_shell *r = &b->replica[shard];
    uint8_t kind = chance(w, 600) ? ROT_HEADER : ROT_PAYLOAD;
    bool any = false;
    for (uint32_t i = first; i < first + count && i < r->medium.log.count; i++) {
        struct batch *disk = &r->medium.log.batch[i];
        uint32_t at = log_find_base(&r->live, disk->core.base);
        bool lives = b->up && r->core != NULL;
        if (lives && (at == r->live.count || r->live.batch[at].core.crc != disk->core.crc)) {
            continue; /* it is cut already */
        }
        if (disk->rot != ROT_NONE || !may_rot(w, b, shard, disk)) {
            continue;
        }
        any = true;
        SEEN(w, HOLE_MADE);
        disk->rot = kind;
        if (lives && at + w->plan.hot < r->live.count) {
            r->live.batch[at].rot = kind;
        }
        TRACE(w, "broker %u shard %u: the batch at %llu becomes unreadable", b->id, shard,
              (unsigned long long)disk->core.base);
    }
    return any;
}

static void rot_somewhere(struct world *w)
{
    struct broker *b = &w->broker[draw(w, 1, w->plan.brokers)];
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    const struct medium *m = &b->replica[shard].medium;
    uint32_t count = (uint32_t)draw(w, 1, chance(w, 800) ? 3 : 20);
    uint32_t start = log_find_base(&m->log, m->log_start);
    if (!b->replica[shard].exists || !is_voter(&w->metadata.row[shard], broker_rid(b)) ||
        start >= m->log.count) {
        return;
    }
    if (chance(w, 500) && start + 40 < m->log.count) {
        start = m->log.count - 40;
    }
    uint32_t first = (uint32_t)draw(w, start, m->log.count - 1);
    status_ignore(rot(w, b, shard, first, count) ? STATUS_OK : STATUS_BUSY, "another time");
}

bool holes_rot_tail(struct world *w, struct broker *b, uint32_t shard, bool known)
{
    struct log *log = &b->replica[shard].medium.log;
    uint32_t back = (uint32_t)draw(w, 1, 12), count = (uint32_t)draw(w, 1, 3);
    if (log->count <= back || !b->replica[shard].exists) {
        return false;
    }
    bool any = rot(w, b, shard, log->count - back, count);
    for (uint32_t i = log->count - back; i < log->count && known; i++) {
        log->batch[i].known = log->batch[i].rot != ROT_NONE;
    }
    return any;
}

void holes_scrub(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    if (!b->up || b->paused || r->core == NULL) {
        return;
    }
    replica_view(r->core, &view);
    for (uint32_t i = 0; i < r->live.count; i++) {
        const struct batch *disk = on_disk(r, &r->live.batch[i]);
        if (disk != NULL && disk->rot != ROT_NONE) {
            r->live.batch[i].rot = disk->rot;
            if (disk->core.base >= view.log_start) {
                holes_found(w, b, shard, i, FOUND_BY_SCRUB);
            }
        }
    }
}

void holes_fault(struct world *w)
{
    uint64_t what = draw(w, 0, 99);
    if (what < 25) {
        nemesis_hole(w);
    } else if (what < 70) {
        rot_somewhere(w);
    } else {
        struct broker *b = &w->broker[draw(w, 1, w->plan.brokers)];
        holes_scrub(w, b, (uint32_t)draw(w, 0, w->plan.shards - 1));
    }
}
