/* The active controller judges a broker dead. It carries no shard's fate: elections do. */
#include "controller/command/internal.h"

void command_broker_down(struct db *db, const Weir__Command *command, struct db_result *result)
{
    const Weir__CmdBrokerDown *in = command->broker_down;
    struct db_broker broker;
    if (!db_broker_get(db, in->broker, &broker)) {
        command_refuse(result, STATUS_NOT_FOUND, "there is no broker-%u", in->broker);
        return;
    }
    if (broker.boot != in->boot) {
        command_refuse(result, STATUS_STALE, "broker-%u has registered again", in->broker);
        return;
    }
    if (broker.alive) {
        broker.alive = false;
        broker.down_ms = db_meta(db)->time_ms;
        db_broker_put(db, &broker);
        db_broker_plan_put(db, &broker);
        command_finish_deletions(db); /* what waited for it alone */
    }
}
