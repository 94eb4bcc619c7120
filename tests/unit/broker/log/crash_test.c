/* Random work on a store whose power fails at a random moment; then everything that was synced must
 * be there, and nothing else but a prefix of what came after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/fake_disk.h"
#include "tests/support/store_model.h"

enum { STEPS_MAX = 4000, SEEDS = 60 };

struct world {
    struct store_fixture f;
    struct fake_disk fake;
    struct store_model m;
    bool dead, torn;
};

static void poll_some(struct world *w)
{
    enum status status = store_poll(w->f.store, &w->f.synced);
    w->dead = status != STATUS_OK;
}

/* The block that was being written left its trailer but not all of its body: it may have been
 * acknowledged for all that recovery can tell, so its shards are uncertain. Each has one of its
 * states since the sync. */
static void check_ambiguous(struct world *w, uint64_t synced, uint64_t seed)
{
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        uint64_t lsn = w->m.last_lsn;
        while (lsn > synced && !store_model_shard_is(&w->m, i, &w->m.after[lsn][i], true)) {
            lsn--;
        }
        if (!store_model_shard_is(&w->m, i, &w->m.after[lsn][i], true)) {
            store_model_explain(&w->m, synced);
            fail_msg("seed %llu: shard %u has a state that was never written",
                     (unsigned long long)seed, i);
        }
        w->m.now[i] = w->m.after[lsn][i];
        struct shard_log *log = store_find_shard(w->f.store, store_model_shard(i));
        struct replica_recovered r = {0};
        if (log != NULL) {
            shard_log_recovered(log, &r);
            (void)fixture_check_log(&w->f, log);
        }
        w->m.now[i].uncertain = r.uncertain;
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
        check_ambiguous(w, synced < w->m.last_lsn ? synced : w->m.last_lsn, seed);
        return;
    }
    synced = synced < w->m.last_lsn ? synced : w->m.last_lsn;
    for (uint64_t lsn = w->m.last_lsn + 1; lsn > synced && found == UINT64_MAX; lsn--) {
        found = store_model_is(&w->m, w->m.after[lsn - 1]) ? lsn - 1 : UINT64_MAX;
    }
    if (found == UINT64_MAX && !store_model_is(&w->m, w->m.after[synced])) {
        store_model_explain(&w->m, synced);
        fail_msg("seed %llu: the recovered state is none that was written; synced %llu of %llu",
                 (unsigned long long)seed, (unsigned long long)synced,
                 (unsigned long long)w->m.last_lsn);
    }
    found = found == UINT64_MAX ? synced : found;
    memcpy(w->m.now, w->m.after[found], sizeof(w->m.now));
    for (uint32_t i = 0; i < MODEL_SHARDS; i++) {
        struct shard_log *log = store_find_shard(w->f.store, store_model_shard(i));
        if (log != NULL) {
            (void)fixture_check_log(&w->f, log);
        }
    }
}

static void one_life(struct world *w, uint64_t seed)
{
    memcpy(w->m.after[0], w->m.now, sizeof(w->m.now));
    w->m.last_lsn = 0;
    w->dead = false;
    uint64_t die = rng_once_in(&w->m.rng, 4) ? 0 : 1 + rng_below(&w->m.rng, 400);
    FAKE_SET(&w->fake, die_write, die);
    uint64_t steps = 200 + rng_below(&w->m.rng, STEPS_MAX - 200);
    for (uint64_t step = 0; step < steps && !w->dead && w->m.last_lsn < 2 * STEPS_MAX - 100;
         step++) {
        enum status status = store_model_step(&w->m);
        if (status == STATUS_IO) {
            break;
        }
        if (status != STATUS_OK && status != STATUS_BUSY) {
            fail_msg("seed %llu: %s", (unsigned long long)seed, status_name(status));
        }
        if (rng_once_in(&w->m.rng, 7)) {
            store_flush(w->f.store);
        }
        if (rng_once_in(&w->m.rng, 5)) {
            poll_some(w);
        }
        if (!w->dead && rng_once_in(&w->m.rng, 300)) {
            if (store_sync(w->f.store, rng_once_in(&w->m.rng, 2) != 0) != STATUS_OK) {
                break;
            }
        }
    }
    uint64_t synced = store_synced(w->f.store);
    (void)pthread_mutex_lock(&w->fake.mutex);
    bool cut = w->fake.dead || rng_once_in(&w->m.rng, 3);
    w->fake.dead = cut;
    (void)pthread_mutex_unlock(&w->fake.mutex);
    fixture_close(&w->f);
    cut = cut || w->fake.dead; /* while closing */
    synced = cut ? synced : w->m.last_lsn;
    static const enum fake_loss loss[] = {FAKE_LOSE_ALL, FAKE_KEEP_ALL, FAKE_TEAR};
    enum fake_loss fate = loss[rng_below(&w->m.rng, 3)];
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
    w->m.after = calloc(2 * STEPS_MAX + 64, sizeof(*w->m.after));
    assert_non_null(w->m.after);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        memset(w->m.now, 0, sizeof(w->m.now));
        rng_init(&w->m.rng, seed);
        fake_disk_init(&w->fake, seed);
        fixture_init(&w->f);
        w->m.f = &w->f;
        w->m.large_payload = 60000;
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
    free(w->m.after);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_failure_loses_nothing_that_was_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
