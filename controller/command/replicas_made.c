/* Replicas that reported to a fence after their shard's election was decided. */
#include "controller/command/internal.h"

void command_replicas_made(struct db *db, const Weir__Command *command, struct db_result *result)
{
    (void)result;
    const Weir__CmdReplicasMade *in = command->replicas_made;
    for (size_t i = 0; i < in->n_replicas; i++) {
        const Weir__ReplicaId *replica = in->replicas[i]->replica;
        if (replica != NULL && in->replicas[i]->shard <= INT64_MAX) {
            db_replica_made(db, in->replicas[i]->shard, replica->broker, replica->disk_gen);
        }
    }
}
