/* What a leader is told that asks whether it is followed still (docs/replication.md 2.10). */
#include "broker/replica/core.h"

bool replica_follows(const struct replica *r, uint32_t epoch)
{
    bool promised = r->promised <= epoch || MUTANT(TIP_OF_PROMISED);
    return promised && !r->needs_floor && r->role != REPLICA_HALTED;
}
