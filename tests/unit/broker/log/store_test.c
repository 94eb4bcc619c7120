#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

enum { SHARD = 7 };
#define SHARD_ID ((uint64_t)3 << 32 | SHARD)

static struct shard_log *create(struct store_fixture *f, uint64_t id)
{
    struct shard_log *log;
    uint64_t lsn;
    assert_int_equal(store_create_shard(f->store, id, 1, &log, &lsn), STATUS_OK);
    fixture_wait(f, lsn);
    return log;
}

static void batches_are_read_back_from_the_tail(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = create(&f, SHARD_ID);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < 100; i++) {
        lsn = fixture_append(&f, log, 1, 1 + i % 3, 100 + i);
    }
    fixture_wait(&f, lsn);
    assert_int_equal(shard_log_tail_start(log), 0);
    assert_int_equal(fixture_check_log(&f, log), 199);
    fixture_release(&f);
}

static void what_was_synced_is_there_after_a_restart(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = create(&f, SHARD_ID);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        lsn = fixture_append(&f, log, 1 + i / 1000, 2, 1000 + i % 100);
    }
    assert_int_equal(shard_log_promise(log, 9, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(fixture_check_log(&f, log), 6000);
    for (int round = 0; round < 3; round++) {
        fixture_close(&f);
        fixture_open(&f);
        log = store_find_shard(f.store, SHARD_ID);
        assert_non_null(log);
        struct replica_recovered r;
        shard_log_recovered(log, &r);
        assert_int_equal(r.last.end, 6000);
        assert_int_equal(r.promised, 9);
        assert_int_equal(r.history_count, 3);
        assert_int_equal(r.history[1].start, 2000);
        assert_false(r.uncertain);
        assert_int_equal(r.boot, round + 2);
        assert_int_equal(fixture_check_log(&f, log), 6000);
    }
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_read_back_from_the_tail),
        cmocka_unit_test(what_was_synced_is_there_after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
