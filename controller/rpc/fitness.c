/* Brokers that should lead nothing, as they say in their beats (controller/fitness): the elections
 * prefer others, and what they lead is handed over, a tenth a second. And what brokers measure
 * cluster time by: our clock. */
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"
#include "controller/rpc/internal.h"

/* Whatever its clock says: a broker takes the middle one of all controllers'. */
void handle_cluster_time(struct controller *c, struct client *client, struct session_call *call)
{
    (void)c;
    (void)client;
    Weir__ClusterTime reply;
    weir__cluster_time__init(&reply);
    reply.time_ms = net_wall_ms();
    reply_message(call, &reply.base);
}

/* A full disk takes no records: its broker should not lead either, for as long as it is full. */
static uint32_t why_of(const Weir__BrokerBeat *beat)
{
    bool full = strcmp(beat->disk_state, "full") == 0;
    return beat->unfit != 0 ? beat->unfit : full ? (uint32_t)FITNESS_FULL : (uint32_t)FITNESS_WELL;
}

static void tell(struct controller *c, const struct fitness_broker *broker)
{
    if (broker->unfit) {
        trace(TRACE_WARNING, "brokers", "broker-%u: %s: its leaderships move away", broker->id,
              fitness_text(broker->why));
    } else {
        trace(TRACE_INFO, "brokers", "broker-%u may lead again", broker->id);
    }
    elections_feed(c, &(struct election_input){.type = ELECTION_BROKER_FIT,
                                               .broker = broker->id,
                                               .unfit = broker->unfit});
}

void fitness_note_beat(struct controller *c, const struct client *client,
                       const Weir__BrokerBeat *beat)
{
    if (fitness_beat(&c->fitness, controller_now(c), client->broker, why_of(beat),
                     c->liveness.total) != STATUS_OK) {
        trace(TRACE_WARNING, "brokers", "out of memory: how broker-%u is will be asked again",
              client->broker);
    }
}

bool brokers_may_lead(const struct controller *c, uint32_t broker)
{
    const struct client *client = brokers_client(c, broker);
    return client != NULL && strcmp(client->disk_state, "out") != 0 &&
           fitness_of(&c->fitness, broker) == FITNESS_WELL;
}

/* Who could lead instead: a voter that is there and well. 0: nobody. */
static uint32_t heir_of(const struct controller *c, const struct db_shard *row)
{
    uint32_t best = 0, best_leads = 0;
    for (uint32_t v = 0; v < row->cfg.voter_count; v++) {
        uint32_t id = row->cfg.voter[v].broker;
        const struct client *client = brokers_client(c, id);
        if (id == row->leader.broker || !brokers_may_lead(c, id) ||
            client->disk_gen != row->cfg.voter[v].disk_gen) {
            continue;
        }
        uint32_t leads = id == row->preferred ? 0 : client->leaders + 1;
        if (best == 0 || leads < best_leads) {
            best = id;
            best_leads = leads;
        }
    }
    return best;
}

static bool may_move(const struct controller *c, const struct db_shard *row, uint32_t broker)
{
    struct election_view view;
    return row->phase == DB_SHARD_ACTIVE && row->leader.broker == broker &&
           election_view(c->election, row->id, &view) == STATUS_OK &&
           view.phase == ELECTION_ACTIVE && view.opened;
}

/* Begins behind the last one that was asked: one that cannot move does not hold up the others. */
static void move_away(struct controller *c, struct fitness_broker *broker)
{
    size_t count = 0;
    const struct db_shard *rows = watch_shards(c->watch, &count);
    uint32_t leading = 0, asked = 0;
    for (size_t i = 0; i < count; i++) {
        leading += may_move(c, &rows[i], broker->id) ? 1 : 0;
    }
    uint32_t share = fitness_share(&c->fitness, controller_now(c), broker->id, leading);
    size_t first = 0;
    while (first < count && rows[first].id <= broker->asked) {
        first++;
    }
    for (size_t i = 0; i < count && asked < share; i++) {
        const struct db_shard *row = &rows[(first + i) % count];
        uint32_t heir = may_move(c, row, broker->id) ? heir_of(c, row) : 0;
        if (heir != 0 && moves_send_handover(c, row, heir)) {
            broker->asked = row->id;
            asked++;
        }
    }
}

static void fitness_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, fitness_timer);
    fitness_forget_silent(&c->fitness, controller_now(c));
    for (size_t i = 0; i < c->fitness.count; i++) {
        struct fitness_broker *broker = &c->fitness.broker[i];
        if (broker->unfit != broker->told) {
            broker->told = broker->unfit;
            tell(c, broker);
        }
        if (broker->unfit) {
            move_away(c, broker);
        }
    }
    status_ignore(net_timer_start(c->options.loop, timer, controller_now(c) + FITNESS_EVERY_MS,
                                  fitness_fired),
                  "the timer has had its place in the heap");
}

void fitness_activate(struct controller *c)
{
    fitness_clear(&c->fitness);
    fitness_fired(&c->fitness_timer);
}

void fitness_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->fitness_timer);
    fitness_clear(&c->fitness);
}
