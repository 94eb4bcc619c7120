/* A log that begins anew where its leader's does, over restarts: docs/replication.md 2.8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

#define SHARD_ID ((uint64_t)3 << 32 | 7)

static const struct log_point start_at = {.end = 1000, .epoch = 4, .crc = 0x1234};

static struct shard_log *open_log(struct store_fixture *f, uint32_t promised)
{
    fixture_init(f);
    fixture_open(f);
    struct shard_log *log;
    uint64_t lsn;
    assert_int_equal(store_create_shard(f->store, SHARD_ID, 1, promised, &log, &lsn), STATUS_OK);
    fixture_wait(f, lsn);
    return log;
}

static struct shard_log *restart(struct store_fixture *f)
{
    fixture_close(f);
    fixture_open(f);
    return store_find_shard(f->store, SHARD_ID);
}

static void check_start(struct shard_log *log)
{
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    assert_int_equal(r.log_start, 1000);
    assert_int_equal(r.last.end, 1000);
    assert_int_equal(r.last.epoch, 4);
    assert_int_equal(r.last.crc, 0x1234);
    assert_int_equal(r.history_count, 1);
    assert_false(r.uncertain);
}

static void a_log_begins_anew_and_stays_so(void **state)
{
    (void)state;
    struct store_fixture f;
    struct shard_log *log = open_log(&f, 0);
    fixture_wait(&f, fixture_append(&f, log, 1, 5, 1000));
    fixture_wait(&f, fixture_append(&f, log, 2, 5, 1000));
    assert_int_equal(store_sync(f.store, true), STATUS_OK); /* segments of the old one are there */
    uint64_t lsn;
    assert_int_equal(shard_log_install(log, &start_at, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    check_start(log);
    log = restart(&f);
    check_start(log);
    fixture_wait(&f, fixture_append(&f, log, 5, 3, 500));
    fixture_wait(&f, fixture_append(&f, log, 5, 4, 500));
    assert_int_equal(fixture_last(log).end, 1007);
    struct log_point point;
    assert_int_equal(shard_log_point_at(log, 1000, &point), STATUS_OK);
    assert_int_equal(point.epoch, 4);
    assert_int_equal(point.crc, 0x1234);
    log = restart(&f);
    assert_int_equal(fixture_last(log).end, 1007);
    assert_int_equal(shard_log_point_at(log, 1003, &point), STATUS_OK);
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    assert_int_equal(r.log_start, 1000);
    assert_int_equal(r.history_count, 2);
    assert_false(r.uncertain);
    fixture_release(&f);
}

static void what_follows_at_once_is_kept(void **state)
{
    (void)state;
    struct store_fixture f;
    struct shard_log *log = open_log(&f, 0);
    fixture_wait(&f, fixture_append(&f, log, 1, 5, 1000));
    uint64_t lsn;
    assert_int_equal(shard_log_install(log, &start_at, &lsn), STATUS_OK);
    fixture_wait(&f, fixture_append(&f, log, 5, 3, 500));
    log = restart(&f);
    assert_int_equal(fixture_last(log).end, 1003);
    uint64_t cut;
    assert_int_equal(shard_log_truncate(log, 1000, 6, &cut), STATUS_OK);
    fixture_wait(&f, cut);
    log = restart(&f);
    check_start(log);
    fixture_release(&f);
}

static void a_new_replica_keeps_the_promise_of_the_one_before(void **state)
{
    (void)state;
    struct store_fixture f;
    (void)open_log(&f, 7);
    struct shard_log *log = restart(&f);
    struct replica_recovered r;
    shard_log_recovered(log, &r);
    assert_int_equal(r.promised, 7);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_begins_anew_and_stays_so),
        cmocka_unit_test(what_follows_at_once_is_kept),
        cmocka_unit_test(a_new_replica_keeps_the_promise_of_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
