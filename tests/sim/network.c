#include <stdlib.h>

#include "tests/sim/world.h"

struct message *message_new(struct world *w, enum message_type type, uint32_t from, uint32_t to,
                            uint32_t shard)
{
    struct message *m = w->free_message;
    if (m != NULL) {
        w->free_message = m->next_free;
    } else {
        m = sim_alloc(sizeof *m);
        w->all_message = grow(w->all_message, &w->all_messages_capacity, w->all_messages + 1,
                              sizeof(struct message *));
        w->all_message[w->all_messages++] = m;
    }
    m->type = type;
    m->from = from;
    m->to = to;
    m->shard = shard;
    m->session = 0;
    m->sender = (struct replica_id){0};
    return m;
}

void message_free(struct world *w, struct message *m)
{
    if (m->type == MESSAGE_RAFT) {
        letter_drop(m->as.letter);
    }
    m->next_free = w->free_message;
    w->free_message = m;
}

static bool between_brokers(const struct message *m)
{
    return m->from <= BROKERS_MAX && m->to <= BROKERS_MAX;
}

static struct pair *numbered(struct world *w, uint32_t a, uint32_t b)
{
    return a < b ? &w->pair[a][b] : &w->pair[b][a];
}

static void deliver_later(struct world *w, struct message *m)
{
    uint64_t delay_us = draw(w, w->plan.delay_us / 2, 2 * w->plan.delay_us);
    if (!w->healing && chance(w, w->plan.late)) {
        delay_us += draw_exponential(w, w->plan.late_us);
        SEEN(w, MESSAGE_LATE);
    }
    struct link *link = &w->link[m->from][m->to];
    if (w->plan.ordered) {
        uint64_t at_us = w->now_us + delay_us;
        at_us = at_us > link->last_us ? at_us : link->last_us;
        link->last_us = at_us;
        delay_us = at_us - w->now_us;
    } else {
        SEEN_IF(w, MESSAGE_OVERTAKEN, w->now_us + delay_us < link->last_us);
        link->last_us = w->now_us + delay_us;
    }
    schedule(w, delay_us, (struct event){.type = EVENT_MESSAGE, .payload = m});
}

void network_send_copy(struct world *w, const struct message *m)
{
    struct message *copy = message_new(w, m->type, m->from, m->to, m->shard);
    *copy = *m;
    network_send(w, copy);
}

void network_send(struct world *w, struct message *m)
{
    w->count.messages++;
    version_on_send(w, m);
    if (between_brokers(m)) {
        m->session = numbered(w, m->from, m->to)->number;
    }
    bool lost = w->link[m->from][m->to].blocked ||
                (w->plan.ordered && between_brokers(m) && !w->pair[m->from][m->to].up) ||
                (!w->healing && chance(w, w->plan.loss));
    if (lost) {
        SEEN(w, MESSAGE_LOST);
        message_free(w, m);
        return;
    }
    if (!w->healing && chance(w, w->plan.duplicate)) {
        struct message *copy = message_new(w, m->type, m->from, m->to, m->shard);
        *copy = *m;
        if (m->type == MESSAGE_RAFT) {
            letter_take(m->as.letter);
        }
        SEEN(w, MESSAGE_DOUBLED);
        deliver_later(w, copy);
    }
    deliver_later(w, m);
}

void network_on_message(struct world *w, struct message *m)
{
    bool late = w->plan.ordered && between_brokers(m) &&
                (m->session != numbered(w, m->from, m->to)->number || !w->pair[m->to][m->from].up);
    SEEN_IF(w, MESSAGE_OF_OLD_SESSION, late);
    if (!late && !w->link[m->from][m->to].blocked) {
        version_on_receive(w, m);
        if (m->to <= BROKERS_MAX) {
            if (w->broker[m->to].up) {
                broker_on_message(w, &w->broker[m->to], m);
            }
        } else if (m->to == CLIENTS) {
            client_on_done(w, m);
        } else {
            controller_on_message(w, m->to - BROKERS_MAX - 1, m);
        }
    }
    message_free(w, m);
}

/* One side learns that the session ended, if it thought otherwise. */
static void lose_sight(struct world *w, uint32_t a, uint32_t b)
{
    if (w->pair[a][b].up) {
        w->pair[a][b].up = false;
        if (w->broker[a].up) {
            broker_on_peer(w, &w->broker[a], b, false);
        }
    }
}

static void reconnect_after(struct world *w, uint32_t a, uint32_t b, uint64_t delay_us)
{
    schedule(w, delay_us,
             (struct event){.type = EVENT_CONNECT, .a = a < b ? a : b, .b = a < b ? b : a});
}

void network_reset(struct world *w, uint32_t a, uint32_t b)
{
    if (w->pair[a][b].up || w->pair[b][a].up) {
        TRACE(w, "session %u-%u ends", a, b);
        numbered(w, a, b)->number++;
        lose_sight(w, a, b);
        lose_sight(w, b, a);
        reconnect_after(w, a, b, draw(w, 500, 20 * MS));
    }
}

void network_connect(struct world *w, uint32_t a, uint32_t b)
{
    struct broker *one = &w->broker[a], *other = &w->broker[b];
    if (!one->up || !other->up || (w->pair[a][b].up && w->pair[b][a].up)) {
        return; /* whoever starts, connects */
    }
    if (one->paused || other->paused || w->link[a][b].blocked || w->link[b][a].blocked) {
        reconnect_after(w, a, b, draw(w, 5 * MS, 100 * MS));
        return;
    }
    lose_sight(w, a, b);
    lose_sight(w, b, a);
    numbered(w, a, b)->number++;
    w->pair[a][b].up = w->pair[b][a].up = true;
    broker_on_peer(w, one, b, true);
    broker_on_peer(w, other, a, true);
    nemesis_on_connect(w, a, b);
    if (knob(w, KNOB_RESET_AT_ONCE)) {
        network_reset(w, a, b);
    }
}

void network_block(struct world *w, uint32_t from, uint32_t to, uint64_t for_us)
{
    if (from == to || w->healing) {
        return;
    }
    struct link *link = &w->link[from][to];
    if (!link->blocked) {
        TRACE(w, "link %u>%u blocked for %llu ms", from, to, (unsigned long long)(for_us / MS));
    }
    link->blocked = true;
    SEEN_IF(w, LINK_ONE_WAY, !w->link[to][from].blocked);
    link->unblock_us = w->now_us + for_us;
    schedule(w, for_us, (struct event){.type = EVENT_UNBLOCK, .a = from, .b = to});
    if (from <= BROKERS_MAX && to <= BROKERS_MAX && (w->plan.ordered || chance(w, 500))) {
        network_reset(w, from, to);
    }
}

void network_unblock(struct world *w, uint32_t from, uint32_t to)
{
    struct link *link = &w->link[from][to];
    if (link->blocked && w->now_us >= link->unblock_us) {
        link->blocked = false;
        TRACE(w, "link %u>%u open", from, to);
    }
}

/* The others see the connection reset, or (a host that vanished) nothing until it is back. */
void network_broker_gone(struct world *w, uint32_t id)
{
    for (uint32_t other = 1; other <= w->plan.brokers; other++) {
        if (other == id) {
            continue;
        }
        w->pair[id][other].up = false;
        numbered(w, id, other)->number++;
        if (chance(w, 700)) {
            lose_sight(w, other, id);
        }
    }
}

void network_broker_here(struct world *w, uint32_t id)
{
    for (uint32_t other = 1; other <= w->plan.brokers; other++) {
        if (other != id) {
            reconnect_after(w, id, other, draw(w, 500, 20 * MS));
        }
    }
}
