/* Leaders that cannot go on: docs/replication.md 2.9, "partition isolating the leader". The
 * controllers may see this broker well while it reaches no follower: nobody else would tell them.
 */
#include "base/trace.h"
#include "broker/shard/internal.h"

/* The step under way ended our leadership. When a majority has promised more, the controllers may
 * not know: their state may be an older copy. Other reasons come from them. */
void resign_stepped_down(struct shard *shard, uint32_t epoch)
{
    const struct replica_input *in = &shard->set->input;
    if (in->type == REPLICA_RECEIVE_ANSWER && in->answer.epoch > epoch) {
        shard->left_epoch = epoch;
        shard->left_promised = in->answer.epoch;
    }
}

static void say(struct shard *shard, uint32_t epoch, uint32_t promised)
{
    struct shards *set = shard->set;
    trace(TRACE_INFO, "shards", "shard %016llx: resigns epoch %u: %s",
          (unsigned long long)shard->id, epoch,
          set->out          ? "the disk is out"
          : shard->is_alone ? "no other replica answers"
          : promised == 0   ? "nothing was committed for a while"
                            : "a majority promised a higher one");
    set->hooks.resign(set->hooks.context, shard, epoch, promised, 0);
}

void shards_resign(struct shards *set)
{
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        if (shard->role == REPLICA_LEADING) {
            say(shard, shard->epoch, 0);
        }
    }
}

void resign_check(struct shard *shard, const struct replica_view *view)
{
    uint64_t now_ms = shard->set->hooks.now_ms(shard->set->hooks.context);
    struct replica_slot slot;
    shard->is_alone = shard->is_alone && shard->open;
    bool stalled = shard->is_alone || replica_slot(shard->replica, &slot) == STATUS_NO_QUORUM;
    if (view->role != REPLICA_FOLLOWING || view->promised != shard->left_epoch) {
        shard->left_epoch = 0; /* whoever we promised more to knows */
    }
    shard->is_stalled = shard->is_stalled && stalled;
    if (!stalled && shard->left_epoch == 0) {
        shard->resign_ms = UINT64_MAX;
    } else if (shard->resign_ms == UINT64_MAX || now_ms >= shard->resign_ms) {
        shard->resign_ms = now_ms + SHARD_RESIGN_MS;
        if (stalled && !shard->is_stalled) {
            /* They may be committed yet; but whoever sent them should look for another leader. */
            shard->is_stalled = true;
            puts_fail(shard, STATUS_UNCERTAIN);
        }
        say(shard, stalled ? view->epoch : shard->left_epoch, stalled ? 0 : shard->left_promised);
    }
}

void shard_alone(struct shard *shard, bool alone)
{
    if (!shard->open || shard->is_alone == alone) {
        return;
    }
    struct replica_view view;
    shard->is_alone = alone;
    replica_view(shard->replica, &view);
    resign_check(shard, &view);
    deadline_set(shard, deadline_next(shard));
    shards_schedule(shard->set);
}
