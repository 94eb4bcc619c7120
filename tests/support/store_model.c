#include "tests/support/store_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

uint64_t store_model_shard(uint32_t i)
{
    return (uint64_t)9 << 32 | i;
}

void store_model_record(struct store_model *m, uint64_t lsn)
{
    /* Records of state at a file's head take numbers too: nothing changes by them. */
    while (m->last_lsn < lsn) {
        m->last_lsn++;
        if (m->last_lsn < lsn) {
            memcpy(m->after[m->last_lsn], m->after[m->last_lsn - 1], sizeof(m->now));
        }
    }
    memcpy(m->after[lsn], m->now, sizeof(m->now));
}

static struct shard_log *some_shard(struct store_model *m, uint32_t *out_index)
{
    uint32_t i = (uint32_t)rng_below(&m->rng, MODEL_SHARDS);
    *out_index = i;
    return store_find_shard(m->f->store, store_model_shard(i));
}

static enum status do_append(struct store_model *m, struct shard_log *log, struct model_shard *e,
                             uint64_t *lsn)
{
    uint32_t epoch = e->promised + (rng_once_in(&m->rng, 20) ? 1 : 0);
    epoch = epoch > 0 ? epoch : 1;
    size_t payload = rng_once_in(&m->rng, 30) ? m->large_payload : rng_below(&m->rng, 3000);
    struct batch_header header;
    struct bytes batch = test_batch(log, epoch, 1 + (uint32_t)rng_below(&m->rng, 3), payload,
                                    1000 + e->last.end, &header);
    struct log_appended appended;
    enum status status = store_admit(m->f->store, batch.size);
    if (status == STATUS_OK) {
        status = shard_log_append(log, &header, &batch, 1, &appended);
        assert_true(status == STATUS_OK || status == STATUS_IO);
    }
    if (status == STATUS_OK && appended.rolled) {
        uint8_t table[8];
        put_u64(table, header.base_offset);
        status = shard_log_put_producers(log, header.base_offset, bytes_of(table, sizeof(table)));
        assert_int_equal(status, STATUS_OK);
    }
    if (status == STATUS_OK) {
        *lsn = appended.lsn;
        e->promised = epoch > e->promised ? epoch : e->promised;
        e->last =
            (struct log_point){.end = batch_end(&header), .epoch = epoch, .crc = header.header_crc};
    }
    return status;
}

static enum status do_truncate(struct store_model *m, struct shard_log *log, struct model_shard *e,
                               uint64_t *lsn)
{
    uint64_t span = e->last.end - e->log_start;
    if (rng_below(&m->rng, 4) != 0) {
        span = span < 40 ? span : 40;
    }
    uint64_t end = e->last.end - rng_below(&m->rng, span + 1);
    struct log_point point;
    if (end < e->log_start || shard_log_point_at(log, end, &point) != STATUS_OK) {
        return STATUS_BUSY;
    }
    enum status status = shard_log_truncate(log, end, e->promised, lsn);
    if (status == STATUS_OK) {
        e->last = point;
        assert_int_equal(fixture_last(log).crc, point.crc);
    }
    return status;
}

/* A copy of another replica is taken from there on. */
static enum status do_install(struct store_model *m, struct shard_log *log, struct model_shard *e,
                              uint64_t *lsn)
{
    struct log_point start = {.end = e->last.end + 1 + rng_below(&m->rng, 50),
                              .epoch = e->promised > 0 ? e->promised : 1,
                              .crc = (uint32_t)rng_next(&m->rng)};
    enum status status = shard_log_install(log, &start, lsn);
    if (status == STATUS_OK) {
        e->last = start;
        e->log_start = start.end;
    }
    return status;
}

static enum status do_trim(struct store_model *m, struct shard_log *log, struct model_shard *e,
                           uint64_t *lsn)
{
    uint64_t offset =
        shard_log_retention(log, e->last.end > 50 ? 950 + e->last.end : 0, e->last.end);
    if (rng_once_in(&m->rng, 2) || offset == e->log_start) {
        return STATUS_BUSY;
    }
    enum status status = shard_log_trim(log, offset, lsn);
    e->log_start = status == STATUS_OK ? offset : e->log_start;
    return status;
}

enum status store_model_step(struct store_model *m)
{
    uint32_t i;
    struct shard_log *log = some_shard(m, &i);
    struct model_shard *e = &m->now[i];
    uint64_t lsn = 0;
    enum status status = STATUS_BUSY;
    uint64_t what = rng_below(&m->rng, 100);
    if (log == NULL) {
        status =
            store_create_shard(m->f->store, store_model_shard(i), ++e->generation, 0, &log, &lsn);
        uint32_t generation = e->generation;
        if (status == STATUS_OK) {
            *e = (struct model_shard){.exists = true, .generation = generation};
        }
    } else if (what < 80) {
        status = do_append(m, log, e, &lsn);
    } else if (what < 86) {
        status = do_truncate(m, log, e, &lsn);
    } else if (what < 92) {
        status = shard_log_promise(log, e->promised + 1, &lsn);
        e->promised += status == STATUS_OK ? 1 : 0;
    } else if (what < 95) {
        status = do_trim(m, log, e, &lsn);
    } else if (what < 96) {
        status = shard_log_set_uncertain(log, !e->uncertain, e->last.end, &lsn);
        e->uncertain = status == STATUS_OK ? !e->uncertain : e->uncertain;
    } else if (what < 97 && rng_once_in(&m->rng, 10)) {
        status = store_delete_shard(m->f->store, log, rng_once_in(&m->rng, 2) != 0, &lsn);
        e->exists = status == STATUS_OK ? false : e->exists;
    } else if (what < 98 && rng_once_in(&m->rng, 3)) {
        status = do_install(m, log, e, &lsn);
    } else {
        shard_log_commit_hint(log, e->last.end);
    }
    if (status == STATUS_OK) {
        store_model_record(m, lsn);
    }
    return status;
}

bool store_model_shard_is(struct store_model *m, uint32_t i, const struct model_shard *e,
                          bool damage)
{
    struct shard_log *log = store_find_shard(m->f->store, store_model_shard(i));
    if (log == NULL || !e->exists) {
        return log == NULL && !e->exists;
    }
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    return r.last.end == e->last.end && r.last.crc == e->last.crc &&
           r.last.epoch == e->last.epoch && r.promised == e->promised &&
           r.log_start == e->log_start &&
           (r.uncertain == e->uncertain || (damage && r.uncertain)) &&
           r.self.disk_gen == e->generation;
}

bool store_model_is(struct store_model *m, const struct model_shard *after)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        if (!store_model_shard_is(m, i, &after[i], false)) {
            return false;
        }
    }
    return true;
}

void store_model_explain(struct store_model *m, uint64_t synced)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(m->f->store, store_model_shard(i));
        struct replica_recovered r = {0};
        if (log != NULL) {
            shard_log_recovered(log, &r);
        }
        const struct model_shard *s = &m->after[synced][i], *l = &m->after[m->last_lsn][i];
        print_error(
            "shard %u: found %d end %llu crc %x promised %u start %llu uncertain %d gen %u\n"
            "   synced %d end %llu crc %x promised %u start %llu uncertain %d gen %u\n"
            "   last   %d end %llu crc %x promised %u start %llu uncertain %d gen %u\n",
            i, log != NULL, (unsigned long long)r.last.end, r.last.crc, r.promised,
            (unsigned long long)r.log_start, r.uncertain, r.self.disk_gen, s->exists,
            (unsigned long long)s->last.end, s->last.crc, s->promised,
            (unsigned long long)s->log_start, s->uncertain, s->generation, l->exists,
            (unsigned long long)l->last.end, l->last.crc, l->promised,
            (unsigned long long)l->log_start, l->uncertain, l->generation);
    }
}
