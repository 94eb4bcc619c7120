/* A leader is asked to store something: broker/shard/put.c, without the bytes. */
#include "tests/sim/world.h"

/* By rising end: a retry waits for an original that came before others. */
static void wait_for_commit(struct replica_shell *r, const struct pending_put *put)
{
    r->put = grow(r->put, &r->puts_capacity, r->puts + 1, sizeof *r->put);
    uint32_t at = r->puts++;
    for (; at > 0 && r->put[at - 1].end > put->end; at--) {
        r->put[at] = r->put[at - 1];
    }
    r->put[at] = *put;
}

static void answer_duplicate(struct world *w, struct broker *b, const struct message *m,
                             uint64_t original, struct pending_put *put)
{
    struct replica_shell *r = &b->replica[m->shard];
    uint32_t at = log_find_base(&r->live, original);
    put->end = original + m->as.put.count;
    put->duplicate = true;
    SEEN(w, RETRY_ANSWERED);
    SEEN_IF(w, RETRY_OF_TOKEN, m->as.put.token != 0);
    SEEN_IF(w, RETRY_ACROSS_FAILOVER,
            at < r->live.count && r->live.batch[at].core.epoch != put->epoch);
    if (put->end <= r->commit || MUTANT(DEDUP_BEFORE_COMMIT)) {
        check_acked(w, m->shard, put->attempt, original, 0);
        broker_put_done(w, b, m->shard, put, STATUS_OK, original);
    } else {
        SEEN(w, RETRY_BEFORE_COMMIT);
        wait_for_commit(r, put);
    }
}

static void resign_stalled(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    struct replica_view view;
    if (w->now_us >= r->resigned_us + SECOND) {
        replica_view(r->core, &view);
        r->resigned_us = w->now_us;
        SEEN(w, RESIGNED_STALLED);
        SEEN_IF(w, HOLE_STALLED, view.filling);
        broker_tell(w, b, shard, MESSAGE_RESIGNED, view.epoch, 0, NULL, true);
    }
}

/* As broker/shard/put.c: a retry of what is in the log is answered, also by a closed shard; only a
 * committed SEAL says that a put will never be here (2.12). EXISTS: *out_original. */
static enum status admit(struct world *w, struct broker *b, const struct message *m,
                         struct replica_slot *out_slot, uint64_t *out_original)
{
    struct replica_shell *r = &b->replica[m->shard];
    enum status status = r->core == NULL ? STATUS_NOT_FOUND : replica_slot(r->core, out_slot);
    if (status != STATUS_OK) {
        return status;
    }
    struct replica_view view;
    replica_view(r->core, &view);
    if (view.sealed && MUTANT(SEALED_BEFORE_DEDUP)) {
        return STATUS_SEALED;
    }
    status = dedup_check(w, b, m->shard, m, out_original);
    if (status != STATUS_OK) {
        SEEN_IF(w, RETRY_AT_SEALED, status == STATUS_EXISTS && view.sealed);
        return status;
    }
    if (view.seal_end != 0 && !MUTANT(WRITES_BEHIND_SEAL)) {
        return view.sealed ? STATUS_SEALED : STATUS_BUSY;
    }
    if (reshard_waits(w, b, m->shard)) {
        SEEN(w, CHILD_WAITED);
        return STATUS_BUSY;
    }
    SEEN_IF(w, DISK_FULL_LEADER, b->full);
    return b->full ? STATUS_DISK_FULL : STATUS_OK;
}

static void note_put(struct world *w, const struct message *m, uint32_t epoch)
{
    bool again =
        m->as.put.attempt < w->operations_capacity && w->operation[m->as.put.attempt].stored;
    SEEN_IF(w, PUT_TO_DEPOSED, epoch < w->metadata.row[m->shard].epoch);
    SEEN_IF(w, RETRY_STORED_ANEW, again);
    if (m->as.put.producer != 0 || m->as.put.token != 0) {
        w->operation[m->as.put.attempt].stored = true;
    }
}

void broker_put(struct world *w, struct broker *b, const struct message *m)
{
    struct replica_shell *r = &b->replica[m->shard];
    struct pending_put put = {.attempt = m->as.put.attempt, .client = m->as.put.client};
    struct replica_slot slot = {0};
    uint64_t original = 0;
    enum status status = admit(w, b, m, &slot, &original);
    put.epoch = slot.epoch;
    if (status == STATUS_NO_QUORUM) {
        resign_stalled(w, b, m->shard);
    }
    if (status == STATUS_EXISTS) {
        answer_duplicate(w, b, m, original, &put);
        return;
    }
    if (status != STATUS_OK) {
        broker_put_done(w, b, m->shard, &put, status, 0);
        return;
    }
    put.end = slot.base_offset + m->as.put.count;
    wait_for_commit(r, &put);
    struct batch batch = {.id = put.attempt,
                          .producer = m->as.put.producer,
                          .producer_epoch = m->as.put.producer_epoch,
                          .seq = m->as.put.seq,
                          .token = m->as.put.token};
    note_put(w, m, slot.epoch);
    status = broker_propose(w, b, m->shard, &batch, m->as.put.count, 0, &slot);
    CHECK(status == STATUS_OK);
}
