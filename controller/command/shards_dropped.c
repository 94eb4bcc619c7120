/* A broker has deleted its replicas of deleted shards, durably. */
#include "controller/command/internal.h"

void command_shards_dropped(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdShardsDropped *in = command->shards_dropped;
    bool any = false;
    for (size_t i = 0; i < in->n_shards; i++) {
        if (in->shards[i] <= INT64_MAX && db_drop_delete(db, in->broker, in->shards[i])) {
            any = true;
        }
    }
    if (any) {
        command_finish_deletions(db);
    }
}
