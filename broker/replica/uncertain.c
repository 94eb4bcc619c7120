/* Damaged is not absent (2.9, R13): a replica that lost synced batches stays uncertain until it
 * holds, durably and verified, all that a leader had when it learned of the damage. */
#include "broker/replica/core.h"

/* The leader names our boot only after it heard from it, so leader_end covers all that an earlier
 * boot of ours may have acknowledged in this epoch. The first such end is enough. */
void uncertain_greeted(struct replica *r, const struct replica_append *append)
{
    if (r->uncertain && !r->has_clear_at && append->to_boot == r->boot) {
        r->has_clear_at = true;
        r->clear_at = append->leader_end;
    }
}

void uncertain_received(struct replica *r, const struct replica_append *append,
                        struct replica_effects *out)
{
    if (MUTANT(CLEAR_ON_RECEIVE) && r->uncertain && append->batch_count > 0 &&
        append->batches[append->batch_count - 1].epoch == append->epoch) {
        uncertain_clear(r, out);
    }
}

void uncertain_check(struct replica *r, struct replica_effects *out)
{
    if (r->uncertain && r->has_clear_at && min_u64(r->verified, r->durable_end) >= r->clear_at) {
        uncertain_clear(r, out);
    }
}

void uncertain_clear(struct replica *r, struct replica_effects *out)
{
    r->uncertain = r->has_clear_at = false;
    struct replica_effect *e = replica_emit(out, REPLICA_DO_UNCERTAIN);
    e->seq = durable_take_seq(r);
    e->flag = false;
    e->end = r->uncertain_end;
}
