/* Whole stories of faults. Each is the kind of day on which one rule of docs/replication.md is what
 * saves the records; chance alone would bring them together too rarely. */
#include "tests/sim/world.h"

enum story {
    STORY_LONE_HOLDER,  /* a follower lags, the other one loses what it had, the leader dies */
    STORY_DEPOSED,      /* a leader is cut off, writes on, and comes back */
    STORY_SHORT_REIGNS, /* leader after leader dies as it begins */
    STORY_LATE_GRANT,   /* a leader restarts before a second copy of its grant arrives */
    STORY_MOVED_AWAY,   /* a voter is replaced while the holders of a record are cut off */
    STORY_RETURN,       /* the cut-off leader's followers take turns, then it returns */
    STORY_FIGURE_8,     /* of the Raft paper, section 5.4.2 */
    STORIES,
    STORY_HOLE, /* a leader writes alone and comes back with a hole; not drawn with the others */
};

struct cast {
    uint32_t shard, leader, first, second;
};

static uint64_t pack(struct cast c)
{
    return (uint64_t)c.shard << 24 | (uint64_t)c.leader << 16 | (uint64_t)c.first << 8 | c.second;
}

static struct cast unpack(uint64_t c)
{
    return (struct cast){.shard = (uint32_t)(c >> 24),
                         .leader = (uint32_t)(c >> 16 & 255),
                         .first = (uint32_t)(c >> 8 & 255),
                         .second = (uint32_t)(c & 255)};
}

static void next_step(struct world *w, enum story story, uint32_t step, struct cast c,
                      uint64_t delay_us)
{
    schedule(w, delay_us,
             (struct event){.type = EVENT_NEMESIS, .a = story, .b = step, .c = pack(c)});
}

static bool draw_cast(struct world *w, struct cast *out)
{
    struct cast c = {.shard = (uint32_t)draw(w, 0, w->plan.shards - 1)};
    const struct election_row *row = &w->metadata.row[c.shard];
    if (row->phase != ELECTION_ACTIVE) {
        return false;
    }
    c.leader = row->leader.broker;
    uint32_t turn = (uint32_t)draw(w, 0, 2);
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t id = row->cfg.voter[(i + turn) % 3].broker;
        if (id != c.leader) {
            *(c.first == 0 ? &c.first : &c.second) = id;
        }
    }
    *out = c;
    return c.second != 0;
}

static void cut(struct world *w, uint32_t a, uint32_t b, uint64_t for_us)
{
    network_block(w, a, b, for_us);
    network_block(w, b, a, for_us);
}

static void cut_off(struct world *w, uint32_t id, uint64_t for_us)
{
    for (uint32_t other = 1; other <= w->plan.brokers; other++) {
        if (other != id) {
            cut(w, id, other, for_us);
        }
    }
}

static void cut_from_controllers(struct world *w, uint32_t id, uint64_t for_us)
{
    for (uint32_t i = 0; i < w->plan.controllers; i++) {
        cut(w, id, controller_endpoint(i), for_us);
    }
}

/* Its links open again. */
static void open_to(struct world *w, uint32_t id, uint64_t after_us)
{
    cut_from_controllers(w, id, after_us);
    for (uint32_t other = 1; other <= w->plan.brokers; other++) {
        if (w->link[id][other].blocked || w->link[other][id].blocked) {
            cut(w, id, other, after_us);
        }
    }
}

static void crash_soon(struct world *w, uint32_t id, enum crash_how how, uint64_t delay_us)
{
    schedule(
        w, delay_us,
        (struct event){.type = EVENT_CRASH, .a = id, .b = (uint32_t)how, .c = w->broker[id].boot});
}

static enum crash_how draw_loss(struct world *w)
{
    static const enum crash_how how[4] = {CRASH_PLAIN, CRASH_DAMAGED, CRASH_DAMAGED,
                                          CRASH_DISK_LOST};
    return how[draw(w, 0, 3)];
}

static void lone_holder(struct world *w, uint32_t step, struct cast c)
{
    enum crash_how how;
    switch (step) {
    case 0: /* the second follower hears nothing for a while */
        cut(w, c.second, c.leader, draw(w, 300, 900) * MS);
        next_step(w, STORY_LONE_HOLDER, 1, c, draw(w, 50, 400) * MS);
        return;
    case 1: /* the first one comes back with less; nemesis_on_connect() goes on */
        w->nemesis.first[c.shard] = c.first;
        w->nemesis.leader[c.shard] = c.leader;
        how = draw_loss(w);
        broker_crash(w, &w->broker[c.first], how, draw(w, 200, 5 * MS));
        next_step(w, STORY_LONE_HOLDER, 2, c, draw(w, 20, 60) * MS);
        return;
    case 2:
        w->nemesis.first[c.shard] = 0;
        broker_crash(w, &w->broker[c.leader], CRASH_PLAIN, draw(w, 300, 1500) * MS);
        cut(w, c.second, c.leader, 1);
        return;
    default:
        UNREACHABLE();
    }
}

/* While the leader feeds the follower what it lost, one or both of them die. */
void nemesis_on_connect(struct world *w, uint32_t a, uint32_t b)
{
    for (uint32_t s = 0; s < w->plan.shards && !w->healing; s++) {
        uint32_t first = w->nemesis.first[s], leader = w->nemesis.leader[s];
        if (first == 0 || first + leader != a + b || (first != a && first != b)) {
            continue;
        }
        uint64_t after_us = draw(w, 0, 8 * w->plan.delay_us + 2 * w->plan.sync_us);
        crash_soon(w, leader, CRASH_PLAIN, after_us);
        if (chance(w, 300)) {
            crash_soon(w, first, CRASH_PLAIN, after_us);
        }
    }
}

static void deposed(struct world *w, uint32_t step, struct cast c)
{
    uint64_t for_us = draw(w, 50, 800) * MS;
    switch (step) {
    case 0:
        cut_off(w, c.leader, for_us);
        if (chance(w, 700)) {
            next_step(w, STORY_DEPOSED, 1, c, draw(w, 1, 100) * MS);
        }
        if (chance(w, 600)) { /* it dies just after it has come back */
            crash_soon(w, c.leader, CRASH_PLAIN, for_us + draw(w, 0, 60 * MS));
        }
        if (chance(w, 500)) {
            next_step(w, STORY_DEPOSED, 2, c, for_us + draw(w, 0, 200 * MS));
        }
        return;
    case 1:
        controller_false_down(w, c.leader);
        return;
    case 2:
        broker_crash(w, &w->broker[chance(w, 500) ? c.first : c.second], CRASH_PLAIN, 0);
        return;
    default:
        UNREACHABLE();
    }
}

static void short_reigns(struct world *w, uint32_t step, struct cast c)
{
    if (step == 0) {
        w->nemesis.reigns[c.shard] = (uint32_t)draw(w, 2, 8);
        broker_crash(w, &w->broker[c.leader], CRASH_PLAIN, draw(w, 1, 200) * MS);
    }
}

static void late_grant(struct world *w, uint32_t step, struct cast c)
{
    if (step == 0) {
        w->nemesis.grants[c.shard] = (uint32_t)draw(w, 1, 3);
        broker_crash(w, &w->broker[c.leader], CRASH_PLAIN, draw(w, 1, 200) * MS);
    }
}

/* The slot of the voter on this broker in the shard's configuration. */
static uint32_t slot_on(const struct world *w, uint32_t shard, uint32_t broker)
{
    const struct election_config *cfg = &w->metadata.row[shard].cfg;
    uint32_t slot = 0;
    while (slot < cfg->voter_count && cfg->voter[slot].broker != broker) {
        slot++;
    }
    return slot;
}

static void moved_away(struct world *w, uint32_t step, struct cast c)
{
    uint64_t for_us = draw(w, 400, 1500) * MS;
    switch (step) {
    case 0:
        cut(w, c.second, c.leader, draw(w, 100, 400) * MS);
        next_step(w, STORY_MOVED_AWAY, 1, c, draw(w, 50, 300) * MS);
        return;
    case 1: {
        uint32_t slot = slot_on(w, c.shard, c.first);
        uint32_t to = (uint32_t)draw(w, 1, w->plan.brokers);
        if (slot < 3 && metadata_reconfigure(w, c.shard, slot, to, chance(w, 700))) {
            cut_from_controllers(w, c.leader, for_us);
            if (chance(w, 700)) {
                cut_from_controllers(w, c.first, for_us);
            }
        }
        return;
    }
    default:
        UNREACHABLE();
    }
}

static void come_and_go(struct world *w, uint32_t step, struct cast c)
{
    switch (step) {
    case 0:
        cut_off(w, c.leader, draw(w, 400, 1200) * MS);
        controller_false_down(w, c.leader);
        next_step(w, STORY_RETURN, 1, c, draw(w, 30, 300) * MS);
        return;
    case 1: { /* a later leader writes alone, too, and dies; the first one is back */
        struct broker *now = leader_of(w, c.shard);
        if (now != NULL) {
            cut_off(w, now->id, draw(w, 20, 200) * MS);
            crash_soon(w, now->id, CRASH_PLAIN, draw(w, 10, 150) * MS);
        }
        return;
    }
    default:
        UNREACHABLE();
    }
}

/* The old leader keeps records that nobody else has. The next one gets no further than its own
 * EPOCH_START. The old one leads again, spreads those records, and dies before its own EPOCH_START
 * is anywhere else: then the second one comes back. */
static void figure_8(struct world *w, uint32_t step, struct cast c)
{
    switch (step) {
    case 0:
        w->nemesis.returns[c.shard] = c.leader;
        cut_off(w, c.leader, 2 * SECOND);
        next_step(w, STORY_FIGURE_8, 1, c, draw(w, 5, 60) * MS);
        next_step(w, STORY_FIGURE_8, 2, c, 1500 * MS);
        return;
    case 1:
        cut_from_controllers(w, c.leader, 2 * SECOND);
        controller_false_down(w, c.leader);
        return;
    case 2:
        w->nemesis.returns[c.shard] = 0;
        return;
    default:
        UNREACHABLE();
    }
}

static void figure_8_on_lead(struct world *w, struct broker *b, uint32_t shard)
{
    uint32_t old = w->nemesis.returns[shard];
    if (b->id == old) {
        w->nemesis.returns[shard] = 0;
        crash_soon(w, old, CRASH_PLAIN, draw(w, 0, 16 * w->plan.delay_us + 2 * w->plan.sync_us));
        for (uint32_t id = 1; id <= w->plan.brokers; id++) {
            open_to(w, id, draw(w, 1, 20) * MS);
        }
        return;
    }
    open_to(w, old, 1);
    cut_off(w, b->id, SECOND);
    next_step(w, STORY_FIGURE_8, 1, (struct cast){.shard = shard, .leader = b->id},
              draw(w, 1, 10) * MS);
}

/* What a leader wrote alone is damaged when it comes back; the third voter is away, or does not
 * know what it has. */
static void hole(struct world *w, uint32_t step, struct cast c)
{
    uint64_t for_us = draw(w, 60, 500) * MS;
    struct broker *old = &w->broker[c.leader];
    switch (step) {
    case 0:
        cut(w, c.first, c.leader, for_us);
        if (chance(w, 700)) {
            cut(w, c.second, c.leader, for_us);
        }
        next_step(w, STORY_HOLE, 1, c, draw(w, 10, for_us / MS) * MS);
        return;
    case 1:
        broker_crash(w, old, CRASH_PLAIN, draw(w, 1, 60) * MS);
        if (holes_rot_tail(w, old, c.shard, chance(w, 800)) && chance(w, 700)) {
            enum crash_how how = chance(w, 500) ? CRASH_DAMAGED : CRASH_PLAIN;
            broker_crash(w, &w->broker[c.second], how, draw(w, 50, 800) * MS);
        }
        return;
    default:
        UNREACHABLE();
    }
}

void nemesis_hole(struct world *w)
{
    struct cast c;
    if (draw_cast(w, &c)) {
        nemesis_on_event(w, STORY_HOLE, 0, pack(c));
    }
}

void nemesis_on_event(struct world *w, uint32_t story, uint32_t step, uint64_t context)
{
    struct cast c = unpack(context);
    if (w->healing) {
        return;
    }
    TRACE(w, "story %u, step %u: shard %u, leader %u, followers %u and %u", story, step, c.shard,
          c.leader, c.first, c.second);
    switch ((enum story)story) {
    case STORY_LONE_HOLDER:
        lone_holder(w, step, c);
        return;
    case STORY_DEPOSED:
        deposed(w, step, c);
        return;
    case STORY_SHORT_REIGNS:
        short_reigns(w, step, c);
        return;
    case STORY_LATE_GRANT:
        late_grant(w, step, c);
        return;
    case STORY_MOVED_AWAY:
        moved_away(w, step, c);
        return;
    case STORY_RETURN:
        come_and_go(w, step, c);
        return;
    case STORY_FIGURE_8:
        figure_8(w, step, c);
        return;
    case STORY_HOLE:
        hole(w, step, c);
        return;
    case STORIES:
        break;
    }
    UNREACHABLE();
}

void nemesis_start(struct world *w)
{
    struct cast c;
    if (draw_cast(w, &c)) {
        nemesis_on_event(w, (uint32_t)draw(w, 0, STORIES - 1), 0, pack(c));
    }
}

/* A leader has written its EPOCH_START, which nobody has heard of yet. */
void nemesis_on_lead(struct world *w, struct broker *b, uint32_t shard)
{
    if (w->healing) {
        return;
    }
    if (w->nemesis.returns[shard] > 0) {
        figure_8_on_lead(w, b, shard);
    } else if (w->nemesis.reigns[shard] > 0) {
        w->nemesis.reigns[shard]--;
        if (chance(w, 300)) {
            cut_off(w, b->id, draw(w, 1, 60) * MS);
        }
        crash_soon(w, b->id, CRASH_PLAIN, draw(w, 0, chance(w, 500) ? 3 * MS : 60 * MS));
    } else if (w->nemesis.grants[shard] > 0) {
        w->nemesis.grants[shard]--;
        crash_soon(w, b->id, CRASH_PLAIN, draw(w, 100, 20 * MS));
    }
}

/* The controllers' network doubles a grant, and holds the copy back. */
void nemesis_on_control(struct world *w, const struct message *m)
{
    if (w->healing || m->type != MESSAGE_GRANT || w->nemesis.grants[m->shard] == 0) {
        return;
    }
    struct message *copy = message_new(w, m->type, m->from, m->to, m->shard);
    *copy = *m;
    schedule(w, draw(w, 2, 60) * MS, (struct event){.type = EVENT_MESSAGE, .payload = copy});
}

/* A leader has appended a SEAL that nobody has heard of yet: it is cut off with it, and replaced.
 */
void nemesis_on_seal(struct world *w, struct broker *b)
{
    if (!w->healing && w->plan.fault[FAULT_NEMESIS] && chance(w, 300)) {
        uint64_t for_us = draw(w, 300, 1500) * MS;
        cut_off(w, b->id, for_us);
        cut_from_controllers(w, b->id, for_us);
        controller_false_down(w, b->id);
    }
}
