/* The real tables of producers and of tokens (broker/shard), one of each leader that was asked:
 * built from its log, kept in step with it, and taken back when it is truncated. */
#include "base/bytes.h"
#include "broker/shard/producer_table.h"
#include "tests/sim/world.h"

static struct batch_header header_of(const struct batch *b)
{
    struct batch_header h = {.base_offset = b->core.base,
                             .count = b->core.count,
                             .append_ms = b->append_ms,
                             .producer_id = b->producer,
                             .producer_seq = b->seq,
                             .producer_epoch = b->producer_epoch};
    put_u64(h.dedup_token, b->token);
    return h;
}

void dedup_add(struct replica_shell *r, const struct batch *batch)
{
    if (r->producers != NULL) {
        struct batch_header h = header_of(batch);
        CHECK(producer_table_add(r->producers, &h) == STATUS_OK);
    }
}

void dedup_truncate(struct replica_shell *r, uint64_t end)
{
    if (r->producers != NULL && !MUTANT(DEDUP_NOT_ROLLED_BACK)) {
        producer_table_truncate(r->producers, end);
    }
}

void dedup_forget(struct replica_shell *r)
{
    producer_table_free(r->producers);
    r->producers = NULL;
}

/* As a restart does it: a snapshot of some moment, and the batches behind it. */
static void through_snapshot(struct world *w, struct replica_shell *r, uint32_t upto)
{
    struct buf bytes = {0};
    uint64_t end = upto == 0 ? 0 : r->live.batch[upto - 1].core.base + 1;
    uint32_t ahead = upto < r->live.count ? (uint32_t)draw(w, upto, r->live.count - 1) : upto;
    for (uint32_t i = 0; i < upto; i++) {
        dedup_add(r, &r->live.batch[i]);
        end = r->live.batch[i].core.base + r->live.batch[i].core.count;
    }
    for (uint32_t i = upto; i < ahead; i++) { /* above the snapshot: not in it */
        dedup_add(r, &r->live.batch[i]);
    }
    CHECK(producer_table_encode(r->producers, end, &bytes) == STATUS_OK);
    CHECK(producer_table_decode(r->producers, buf_bytes(&bytes)) == STATUS_OK);
    buf_release(&bytes);
}

static void build(struct world *w, struct broker *b, uint32_t shard)
{
    struct replica_shell *r = &b->replica[shard];
    uint32_t first = 0;
    r->producers = producer_table_new();
    CHECK(r->producers != NULL);
    if (MUTANT(INSTALL_WITHOUT_PRODUCERS)) {
        while (first < r->live.count && r->live.batch[first].core.base < r->medium.log_start) {
            first++;
        }
    } else if (r->live.count > 0 && chance(w, 300)) {
        SEEN(w, PRODUCERS_FROM_SNAPSHOT);
        first = (uint32_t)draw(w, 0, r->live.count);
        through_snapshot(w, r, first);
    }
    for (uint32_t i = first; i < r->live.count; i++) {
        dedup_add(r, &r->live.batch[i]);
    }
}

enum status dedup_check(struct world *w, struct broker *b, uint32_t shard, const struct message *m,
                        uint64_t *out_original)
{
    struct replica_shell *r = &b->replica[shard];
    struct batch batch = {.core.count = m->as.put.count,
                          .producer = m->as.put.producer,
                          .producer_epoch = m->as.put.producer_epoch,
                          .seq = m->as.put.seq,
                          .token = m->as.put.token};
    if (batch.producer == 0 && batch.token == 0) {
        return STATUS_OK;
    }
    if (r->producers == NULL) {
        build(w, b, shard);
    }
    struct batch_header h = header_of(&batch);
    return producer_table_check(r->producers, &h, r->commit, out_original);
}
