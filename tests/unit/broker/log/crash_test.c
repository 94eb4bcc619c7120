/* Random work on a store whose power fails at a random moment; then everything that was synced must
 * be there, and nothing else but a prefix of what came after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_disk.h"
#include "tests/support/store_fixture.h"

enum { SHARDS = 5, STEPS_MAX = 4000, SEEDS = 60 };

/* What a shard must look like after a record. */
struct expected {
    bool exists, uncertain;
    uint32_t promised, generation;
    struct log_point last;
    uint64_t log_start;
};

struct world {
    struct store_fixture f;
    struct fake_disk fake;
    struct rng rng;
    struct expected now[SHARDS];
    /* By lsn: the whole world after that record. */
    struct expected (*after)[SHARDS];
    uint64_t first_lsn, last_lsn; /* in `after`; the entry before the first is index 0 */
    bool dead, torn;
};

static uint64_t id_of(uint32_t i)
{
    return (uint64_t)9 << 32 | i;
}

static void record(struct world *w, uint64_t lsn)
{
    /* Records of state at a file's head take numbers too: nothing changes by them. */
    while (w->last_lsn < lsn) {
        w->last_lsn++;
        if (w->last_lsn < lsn) {
            memcpy(w->after[w->last_lsn], w->after[w->last_lsn - 1], sizeof(w->now));
        }
    }
    memcpy(w->after[lsn], w->now, sizeof(w->now));
}

static struct shard_log *some_shard(struct world *w, uint32_t *out_index)
{
    uint32_t i = (uint32_t)rng_below(&w->rng, SHARDS);
    *out_index = i;
    return store_find_shard(w->f.store, id_of(i));
}

static enum status do_append(struct world *w, struct shard_log *log, struct expected *e,
                             uint64_t *lsn)
{
    uint32_t epoch = e->promised + (rng_once_in(&w->rng, 20) ? 1 : 0);
    epoch = epoch > 0 ? epoch : 1;
    size_t payload = rng_once_in(&w->rng, 30) ? 60000 : rng_below(&w->rng, 3000);
    struct batch_header header;
    struct bytes batch = test_batch(log, epoch, 1 + (uint32_t)rng_below(&w->rng, 3), payload,
                                    1000 + e->last.end, &header);
    struct log_appended appended;
    enum status status = store_admit(w->f.store, batch.size);
    if (status == STATUS_OK) {
        status = shard_log_append(log, &header, &batch, 1, &appended);
        assert_true(status == STATUS_OK || status == STATUS_IO);
    }
    if (status == STATUS_OK) {
        *lsn = appended.lsn;
        e->promised = epoch > e->promised ? epoch : e->promised;
        e->last =
            (struct log_point){.end = batch_end(&header), .epoch = epoch, .crc = header.header_crc};
    }
    return status;
}

static enum status do_truncate(struct world *w, struct shard_log *log, struct expected *e,
                               uint64_t *lsn)
{
    uint64_t span = e->last.end - e->log_start;
    if (rng_below(&w->rng, 4) != 0) {
        span = span < 40 ? span : 40;
    }
    uint64_t end = e->last.end - rng_below(&w->rng, span + 1);
    struct log_point point;
    if (end < e->log_start || !shard_log_point_at(log, end, &point)) {
        return STATUS_BUSY;
    }
    enum status status = shard_log_truncate(log, end, e->promised, lsn);
    if (status == STATUS_OK) {
        e->last = point;
        assert_int_equal(fixture_last(log).crc, point.crc);
    }
    return status;
}

static enum status do_trim(struct world *w, struct shard_log *log, struct expected *e,
                           uint64_t *lsn)
{
    uint64_t offset =
        shard_log_retention(log, e->last.end > 50 ? 950 + e->last.end : 0, e->last.end);
    if (rng_once_in(&w->rng, 2) || offset == e->log_start) {
        return STATUS_BUSY;
    }
    enum status status = shard_log_trim(log, offset, lsn);
    e->log_start = status == STATUS_OK ? offset : e->log_start;
    return status;
}

static enum status do_step(struct world *w)
{
    uint32_t i;
    struct shard_log *log = some_shard(w, &i);
    struct expected *e = &w->now[i];
    uint64_t lsn = 0;
    enum status status = STATUS_BUSY;
    uint64_t what = rng_below(&w->rng, 100);
    if (log == NULL) {
        status = store_create_shard(w->f.store, id_of(i), ++e->generation, 0, &log, &lsn);
        uint32_t generation = e->generation;
        if (status == STATUS_OK) {
            *e = (struct expected){.exists = true, .generation = generation};
        }
    } else if (what < 80) {
        status = do_append(w, log, e, &lsn);
    } else if (what < 86) {
        status = do_truncate(w, log, e, &lsn);
    } else if (what < 92) {
        status = shard_log_promise(log, e->promised + 1, &lsn);
        e->promised += status == STATUS_OK ? 1 : 0;
    } else if (what < 95) {
        status = do_trim(w, log, e, &lsn);
    } else if (what < 96) {
        status = shard_log_set_uncertain(log, !e->uncertain, e->last.end, &lsn);
        e->uncertain = status == STATUS_OK ? !e->uncertain : e->uncertain;
    } else if (what < 97 && rng_once_in(&w->rng, 10)) {
        status = store_delete_shard(w->f.store, log, rng_once_in(&w->rng, 2) != 0, &lsn);
        e->exists = status == STATUS_OK ? false : e->exists;
    } else {
        shard_log_commit_hint(log, e->last.end);
    }
    if (status == STATUS_OK) {
        record(w, lsn);
    }
    return status;
}

static void poll_some(struct world *w)
{
    enum status status = store_poll(w->f.store, &w->f.synced);
    w->dead = status != STATUS_OK;
}

/* `damage`: the shard may have been marked uncertain on top. */
static bool shard_matches(struct world *w, uint32_t i, const struct expected *e, bool damage)
{
    struct shard_log *log = store_find_shard(w->f.store, id_of(i));
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

static bool world_matches(struct world *w, const struct expected *after)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        if (!shard_matches(w, i, &after[i], false)) {
            return false;
        }
    }
    return true;
}

static void explain(struct world *w, uint64_t synced)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard_log *log = store_find_shard(w->f.store, id_of(i));
        struct replica_recovered r = {0};
        if (log != NULL) {
            shard_log_recovered(log, &r);
        }
        const struct expected *s = &w->after[synced][i], *l = &w->after[w->last_lsn][i];
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

/* The block that was being written left its trailer but not all of its body: it may have been
 * acknowledged for all that recovery can tell, so its shards are uncertain. Each has one of its
 * states since the sync. */
static void check_ambiguous(struct world *w, uint64_t synced, uint64_t seed)
{
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint64_t lsn = w->last_lsn;
        while (lsn > synced && !shard_matches(w, i, &w->after[lsn][i], true)) {
            lsn--;
        }
        if (!shard_matches(w, i, &w->after[lsn][i], true)) {
            explain(w, synced);
            fail_msg("seed %llu: shard %u has a state that was never written",
                     (unsigned long long)seed, i);
        }
        w->now[i] = w->after[lsn][i];
        struct shard_log *log = store_find_shard(w->f.store, id_of(i));
        struct replica_recovered r = {0};
        if (log != NULL) {
            shard_log_recovered(log, &r);
            (void)fixture_check_log(&w->f, log);
        }
        w->now[i].uncertain = r.uncertain;
    }
}

/* Recovered state = the state after some record at or behind the newest synced one. */
static void check_recovered(struct world *w, uint64_t synced, uint64_t seed)
{
    uint64_t found = UINT64_MAX;
    struct store_info info;
    store_info(w->f.store, &info);
    if (info.recovery.damaged_blocks + info.recovery.damaged_records > 0) {
        assert_true(w->torn);
        assert_true(info.recovery.damaged_blocks <= 1); /* one write is in flight at a time */
        check_ambiguous(w, synced < w->last_lsn ? synced : w->last_lsn, seed);
        return;
    }
    synced = synced < w->last_lsn ? synced : w->last_lsn;
    for (uint64_t lsn = w->last_lsn + 1; lsn > synced && found == UINT64_MAX; lsn--) {
        found = world_matches(w, w->after[lsn - 1]) ? lsn - 1 : UINT64_MAX;
    }
    if (found == UINT64_MAX && !world_matches(w, w->after[synced])) {
        explain(w, synced);
        fail_msg("seed %llu: the recovered state is none that was written; synced %llu of %llu",
                 (unsigned long long)seed, (unsigned long long)synced,
                 (unsigned long long)w->last_lsn);
    }
    found = found == UINT64_MAX ? synced : found;
    memcpy(w->now, w->after[found], sizeof(w->now));
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct shard_log *log = store_find_shard(w->f.store, id_of(i));
        if (log != NULL) {
            (void)fixture_check_log(&w->f, log);
        }
    }
}

static void one_life(struct world *w, uint64_t seed)
{
    memcpy(w->after[0], w->now, sizeof(w->now));
    w->last_lsn = 0;
    w->dead = false;
    uint64_t die = rng_once_in(&w->rng, 4) ? 0 : 1 + rng_below(&w->rng, 400);
    FAKE_SET(&w->fake, die_write, die);
    uint64_t steps = 200 + rng_below(&w->rng, STEPS_MAX - 200);
    for (uint64_t step = 0; step < steps && !w->dead && w->last_lsn < 2 * STEPS_MAX - 100; step++) {
        enum status status = do_step(w);
        if (status == STATUS_IO) {
            break;
        }
        if (status != STATUS_OK && status != STATUS_BUSY) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, status_name(status));
        }
        if (rng_once_in(&w->rng, 7)) {
            store_flush(w->f.store);
        }
        if (rng_once_in(&w->rng, 5)) {
            poll_some(w);
        }
        if (!w->dead && rng_once_in(&w->rng, 300)) {
            if (store_sync(w->f.store, rng_once_in(&w->rng, 2) != 0) != STATUS_OK) {
                break;
            }
        }
    }
    uint64_t synced = store_synced(w->f.store);
    (void)pthread_mutex_lock(&w->fake.mutex);
    bool cut = w->fake.dead || rng_once_in(&w->rng, 3);
    w->fake.dead = cut;
    (void)pthread_mutex_unlock(&w->fake.mutex);
    fixture_close(&w->f);
    cut = cut || w->fake.dead; /* while closing */
    synced = cut ? synced : w->last_lsn;
    static const enum fake_loss loss[] = {FAKE_LOSE_ALL, FAKE_KEEP_ALL, FAKE_TEAR};
    enum fake_loss fate = loss[rng_below(&w->rng, 3)];
    w->torn = cut && fate == FAKE_TEAR;
    fake_disk_power(&w->fake, fate);
    fixture_open(&w->f);
    check_recovered(w, synced, seed);
}

static void a_power_failure_loses_nothing_that_was_synced(void **state)
{
    (void)state;
    const char *from = getenv("CRASH_SEED");
    const char *count = getenv("CRASH_SEEDS");
    uint64_t first = from != NULL ? strtoull(from, NULL, 10) : 1;
    uint64_t seeds = count != NULL ? strtoull(count, NULL, 10) : SEEDS;
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    w->after = calloc(2 * STEPS_MAX + 64, sizeof(*w->after));
    assert_non_null(w->after);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        memset(w->now, 0, sizeof(w->now));
        rng_init(&w->rng, seed);
        fake_disk_init(&w->fake, seed);
        fixture_init(&w->f);
        w->f.options.disk = &w->fake.disk;
        w->f.options.journal_file_bytes = 512 * 1024;
        w->f.options.segment_bytes = 128 * 1024;
        w->f.options.journal_files = 4 + (uint32_t)(seed % 4);
        fixture_open(&w->f);
        for (int life = 0; life < 4; life++) {
            one_life(w, seed);
        }
        fixture_release(&w->f);
        fake_disk_release(&w->fake);
    }
    free(w->after);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_failure_loses_nothing_that_was_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
