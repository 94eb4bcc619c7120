/* What administrators want done with brokers: kept here, carried out by whichever controller is
 * active. What would leave shards less safe than they are is refused, with the reason. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "controller/command/internal.h"
#include "controller/moves/plan.h"
#include "controller/row/row.h"

enum { BROKERS_SEEN_MAX = 1024 };

/* Brokers that may take replicas, but for one. */
struct others {
    uint32_t without, count;
    uint32_t zone_count;
    char zone[BROKERS_SEEN_MAX][ZONE_BYTES];
};

static void add_other(const struct db_broker *broker, void *context)
{
    struct others *others = context;
    if (broker->id == others->without || !broker->alive || broker->mode != DB_BROKER_NORMAL) {
        return;
    }
    others->count++;
    uint32_t at = 0;
    while (at < others->zone_count && strcmp(others->zone[at], broker->zone) != 0) {
        at++;
    }
    if (at == others->zone_count && at < BROKERS_SEEN_MAX) {
        memcpy(others->zone[others->zone_count++], broker->zone, ZONE_BYTES);
    }
}

/* Shards that have a replica on a broker, and how many zones their replicas have. */
struct held {
    struct db *db;
    uint32_t broker;
    const char *zone; /* the broker's, as it would be; NULL: as it is */
    uint32_t shards, most_zones, worse;
};

static void add_held(const struct db_shard *shard, void *context)
{
    struct held *held = context;
    const char *now[DB_VOTERS_MAX], *then[DB_VOTERS_MAX];
    struct db_broker broker[DB_VOTERS_MAX];
    bool holds = false;
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        bool here = shard->cfg.voter[v].broker == held->broker;
        holds = holds || here;
        memset(&broker[v], 0, sizeof(broker[v]));
        (void)db_broker_get(held->db, shard->cfg.voter[v].broker, &broker[v]);
        now[v] = broker[v].zone;
        then[v] = here && held->zone != NULL ? held->zone : broker[v].zone;
    }
    if (shard->phase == DB_SHARD_DELETED || !holds) {
        return;
    }
    uint32_t zones = plan_zones(now, shard->cfg.voter_count);
    held->shards++;
    held->most_zones = zones > held->most_zones ? zones : held->most_zones;
    held->worse += plan_zones(then, shard->cfg.voter_count) < zones ? 1 : 0;
}

/* Whether the replicas of a broker can go elsewhere, and be as far apart as they are. */
static bool others_suffice(struct db *db, const struct db_broker *broker, const char *verb,
                           struct db_result *result)
{
    static struct others others; /* too large for the stack; commands are applied on one thread */
    struct held held = {.db = db, .broker = broker->id};
    others = (struct others){.without = broker->id};
    db_broker_each(db, add_other, &others);
    db_shard_each(db, 0, add_held, &held);
    if (held.shards == 0) {
        return true;
    }
    if (others.count < REPLICAS_PER_SHARD) {
        command_refuse(result, STATUS_PLACEMENT,
                       "broker-%u cannot be %s: its %u replicas need %d other brokers that are "
                       "alive, and there are %u; add a broker first",
                       broker->id, verb, held.shards, REPLICAS_PER_SHARD, others.count);
        return false;
    }
    if (others.zone_count < held.most_zones) {
        command_refuse(result, STATUS_PLACEMENT,
                       "broker-%u cannot be %s: replicas are in %u zones, the other brokers that "
                       "are alive only in %u; add a broker in zone %s first",
                       broker->id, verb, held.most_zones, others.zone_count, broker->zone);
        return false;
    }
    return true;
}

static void drain(struct db *db, struct db_broker *broker, struct db_result *result)
{
    if (broker->mode != DB_BROKER_DRAINING && others_suffice(db, broker, "drained", result)) {
        broker->mode = DB_BROKER_DRAINING;
        db_broker_plan_put(db, broker);
    }
}

static void replace(struct db *db, struct db_broker *broker, struct db_result *result)
{
    if (broker->alive) {
        command_refuse(result, STATUS_INVALID,
                       "broker-%u is alive: drain it; only the replicas of a dead broker are "
                       "replaced",
                       broker->id);
    } else if (broker->mode != DB_BROKER_REPLACED &&
               others_suffice(db, broker, "replaced", result)) {
        broker->mode = DB_BROKER_REPLACED;
        db_broker_plan_put(db, broker);
    }
}

static void remove_broker(struct db *db, struct db_broker *broker, struct db_result *result)
{
    struct held held = {.db = db, .broker = broker->id};
    db_shard_each(db, 0, add_held, &held);
    uint32_t drops = broker->alive ? db_drops_count(db, broker->id, 0) : 0;
    if (held.shards + db_moves_to(db, broker->id) > 0) {
        command_refuse(result, STATUS_IN_USE, "broker-%u has %u replicas: %s it first", broker->id,
                       held.shards + db_moves_to(db, broker->id),
                       broker->alive ? "drain" : "replace");
    } else if (drops > 0) {
        command_refuse(result, STATUS_IN_USE, "broker-%u still deletes %u replicas: try again soon",
                       broker->id, drops);
    } else if (broker->mode != DB_BROKER_REMOVED) {
        command_held_told(db, broker->id, result);
        broker->mode = DB_BROKER_REMOVED;
        broker->alive = false;
        broker->down_ms = 0;
        db_broker_put(db, broker);
        db_broker_plan_put(db, broker);
    }
}

static bool zone_is_good(const char *zone)
{
    size_t length = strlen(zone);
    for (size_t i = 0; i < length; i++) {
        if (zone[i] <= ' ' || zone[i] > '~') {
            return false;
        }
    }
    return length > 0 && length < ZONE_BYTES;
}

static void label(struct db *db, struct db_broker *broker, const char *zone,
                  struct db_result *result)
{
    if (!zone_is_good(zone)) {
        command_refuse(result, STATUS_INVALID,
                       "a zone has 1 to %d printable characters without spaces", ZONE_BYTES - 1);
        return;
    }
    struct held held = {.db = db, .broker = broker->id, .zone = zone};
    db_shard_each(db, 0, add_held, &held);
    if (held.worse > 0) {
        command_refuse(result, STATUS_PLACEMENT,
                       "in zone %s broker-%u would share a zone with another replica of %u shards "
                       "that are in zones of their own now: drain it first",
                       zone, broker->id, held.worse);
        return;
    }
    (void)snprintf(broker->label, sizeof(broker->label), "%s", zone);
    (void)snprintf(broker->zone, sizeof(broker->zone), "%s", zone);
    db_broker_put(db, broker);
    db_broker_plan_put(db, broker);
}

static void cancel(struct db *db, struct db_broker *broker)
{
    if (broker->mode == DB_BROKER_DRAINING || broker->mode == DB_BROKER_REPLACED) {
        broker->mode = DB_BROKER_NORMAL;
        db_broker_plan_put(db, broker);
    }
}

static void control(struct db *db, const Weir__BrokerControl *in, struct db_result *result)
{
    struct db_broker broker;
    if (!db_broker_get(db, in->broker, &broker)) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no broker-%u", in->broker);
        return;
    }
    if (broker.mode == DB_BROKER_REMOVED && in->action != WEIR__BROKER_CONTROL__ACTION__REMOVE) {
        command_refuse(result, STATUS_NOT_FOUND, "broker-%u was removed", in->broker);
        return;
    }
    switch (in->action) {
    case WEIR__BROKER_CONTROL__ACTION__DRAIN:
        drain(db, &broker, result);
        return;
    case WEIR__BROKER_CONTROL__ACTION__CANCEL:
        cancel(db, &broker);
        return;
    case WEIR__BROKER_CONTROL__ACTION__REPLACE:
        replace(db, &broker, result);
        return;
    case WEIR__BROKER_CONTROL__ACTION__REMOVE:
        remove_broker(db, &broker, result);
        return;
    case WEIR__BROKER_CONTROL__ACTION__LABEL:
        label(db, &broker, in->zone, result);
        return;
    case WEIR__BROKER_CONTROL__ACTION__NONE:
    case WEIR__BROKER_CONTROL__ACTION__REBALANCE:
    case WEIR__BROKER_CONTROL__ACTION__STOP_REBALANCE:
    case WEIR__BROKER_CONTROL__ACTION__CONSENT_FAILOVER:
    case _WEIR__BROKER_CONTROL__ACTION_IS_INT_SIZE:
    default:
        command_refuse(result, STATUS_INVALID, "this cannot be asked of a broker");
        return;
    }
}

void command_broker_control(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__BrokerControl *in = command->broker_control->control;
    if (in->action == WEIR__BROKER_CONTROL__ACTION__REBALANCE ||
        in->action == WEIR__BROKER_CONTROL__ACTION__STOP_REBALANCE) {
        db_rebalancing_set(db, in->action == WEIR__BROKER_CONTROL__ACTION__REBALANCE);
        return;
    }
    control(db, in, result);
}

void command_rebalanced(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)command;
    (void)result;
    db_rebalancing_set(db, false);
}
