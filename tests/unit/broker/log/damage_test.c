/* Bad disks under a store: what fails, fills up or rots is refused, never served, and said. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/fake_disk.h"
#include "tests/support/store_fixture.h"

struct world {
    struct store_fixture f;
    struct fake_disk fake;
    struct shard_log *log;
};

static void setup(struct world *w)
{
    fake_disk_init(&w->fake, 11);
    fixture_init(&w->f);
    w->f.options.disk = &w->fake.disk;
    fixture_open(&w->f);
    uint64_t lsn;
    assert_int_equal(store_create_shard(w->f.store, 1, 1, 0, &w->log, &lsn), STATUS_OK);
    fixture_wait(&w->f, lsn);
    /* The journal's spare files are made in the background: faults are for what follows. */
    assert_int_equal(store_sync(w->f.store, true), STATUS_OK);
}

static void teardown(struct world *w)
{
    fixture_release(&w->f);
    fake_disk_release(&w->fake);
}

static enum status append(struct world *w, size_t payload, uint64_t *out_lsn)
{
    struct batch_header header;
    struct bytes batch =
        test_batch(w->log, 1, 2, payload, 1000 + fixture_last(w->log).end, &header);
    struct log_appended appended;
    enum status status = store_admit(w->f.store, batch.size);
    if (status == STATUS_OK) {
        status = shard_log_append(w->log, &header, &batch, 1, &appended);
    }
    if (status == STATUS_OK) {
        *out_lsn = appended.lsn;
    }
    return status;
}

static void fill(struct world *w, uint32_t batches)
{
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < batches; i++) {
        lsn = fixture_append(&w->f, w->log, 1, 2, 1000);
    }
    fixture_wait(&w->f, lsn);
}

/* As a broker does: it looks for space from time to time, whatever an attempt that was still under
 * way says meanwhile. */
static void fill_once_there_is_space(struct world *w, uint32_t batches)
{
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < batches; i++) {
        enum status status;
        for (int tries = 0; (status = append(w, 1000, &lsn)) != STATUS_OK && tries < 10000;
             tries++) {
            store_check_space(w->f.store);
            store_flush(w->f.store);
            assert_int_equal(store_poll(w->f.store, &w->f.synced), STATUS_OK);
            (void)usleep(300);
        }
        assert_int_equal(status, STATUS_OK);
    }
    fixture_wait(&w->f, lsn);
}

static void below_the_reserve_data_is_refused_and_promises_are_not(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 10);
    w.f.options.reserve_bytes = 1000000;
    fixture_close(&w.f);
    FAKE_SET(&w.fake, free_bytes, 1000001);
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, 1);
    uint64_t lsn;
    assert_int_equal(append(&w, 100, &lsn), STATUS_OK);
    FAKE_SET(&w.fake, free_bytes, 999999);
    store_check_space(w.f.store);
    assert_int_equal(store_admit(w.f.store, 1), STATUS_DISK_FULL);
    assert_int_equal(append(&w, 100, &lsn), STATUS_DISK_FULL);
    struct store_status status;
    store_status(w.f.store, &status);
    assert_true(status.full);
    assert_false(status.out);
    assert_int_equal(shard_log_promise(w.log, 5, &lsn), STATUS_OK);
    assert_int_equal(shard_log_truncate(w.log, 20, 5, &lsn), STATUS_OK);
    fixture_wait(&w.f, lsn);
    assert_int_equal(fixture_check_log(&w.f, w.log), 20); /* reads are served */
    FAKE_SET(&w.fake, free_bytes, UINT64_MAX);
    store_check_space(w.f.store);
    assert_int_equal(append(&w, 100, &lsn), STATUS_OK);
    fixture_wait(&w.f, lsn);
    teardown(&w);
}

static void segments_that_meet_a_full_disk_go_on_when_space_returns(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 10);
    FAKE_SET(&w.fake, full_after, w.fake.grown + 300000);
    uint64_t lsn = 0;
    enum status status;
    do { /* the journal's files are there already: only segments grow */
        status = append(&w, 3000, &lsn);
        store_flush(w.f.store);
        assert_int_equal(store_poll(w.f.store, &w.f.synced), STATUS_OK);
        (void)usleep(status == STATUS_BUSY ? 300 : 0);
    } while (status == STATUS_OK || status == STATUS_BUSY);
    assert_int_equal(status, STATUS_DISK_FULL);
    store_check_space(w.f.store); /* in vain */
    fixture_wait(&w.f, lsn);      /* what was accepted is durable all the same */
    assert_int_equal(fixture_check_log(&w.f, w.log), fixture_last(w.log).end);
    FAKE_SET(&w.fake, full_after, UINT64_MAX);
    while (store_sync(w.f.store, true) == STATUS_DISK_FULL) {
        store_check_space(w.f.store); /* an attempt from before may still have been under way */
    }
    fill_once_there_is_space(&w, 500);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    assert_int_equal(fixture_check_log(&w.f, w.log), fixture_last(w.log).end);
    teardown(&w);
}

static void space_runs_out_under_segments_only(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 10);
    FAKE_SET(&w.fake, fail_errno, ENOSPC);
    FAKE_SET(&w.fake, fail_write,
             w.fake.writes + 1); /* nothing is open in the journal: a segment's */
    assert_int_equal(store_sync(w.f.store, true), STATUS_DISK_FULL);
    uint64_t lsn;
    assert_int_equal(append(&w, 100, &lsn), STATUS_DISK_FULL);
    assert_int_equal(shard_log_promise(w.log, 4, &lsn), STATUS_OK);
    store_check_space(w.f.store);
    fill(&w, 1000);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    assert_int_equal(fixture_check_log(&w.f, w.log), 2020);
    teardown(&w);
}

static void a_failed_segment_sync_takes_the_disk_out(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 10);
    FAKE_SET(&w.fake, fail_sync, w.fake.syncs + 1);
    assert_int_equal(store_sync(w.f.store, true), STATUS_IO);
    uint64_t lsn;
    assert_int_equal(append(&w, 100, &lsn), STATUS_IO);
    assert_int_equal(shard_log_promise(w.log, 4, &lsn), STATUS_IO);
    assert_int_equal(store_poll(w.f.store, &lsn), STATUS_IO);
    fixture_close(&w.f);
    fake_disk_power(&w.fake, FAKE_LOSE_ALL); /* what the failed sync dropped */
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, 1);
    assert_int_equal(fixture_check_log(&w.f, w.log), 20);
    teardown(&w);
}

static void a_failed_sync_of_the_list_of_damage_takes_the_disk_out(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 10);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    FAKE_SET(&w.fake, fail_sync, w.fake.syncs + 1);
    shard_log_note_hole(w.log, 4, 6);
    uint64_t lsn;
    enum status status = STATUS_OK;
    for (int tries = 0; tries < 30000 && status == STATUS_OK; tries++) {
        (void)usleep(1000);
        status = store_poll(w.f.store, &lsn);
    }
    assert_int_equal(status, STATUS_IO);
    assert_int_equal(append(&w, 100, &lsn), STATUS_IO);
    teardown(&w);
}

static void spoil(const struct world *w, const char *name, uint64_t at)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", w->f.dir, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    (void)close(fd);
}

static void rotten_bytes_are_refused_and_their_neighbours_served(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 1500);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    /* Batches of 1128 bytes: one at 50 in the oldest segment, payload; header of the one at 70. */
    spoil(&w, "shards/0-1/00000000000000000000.log", 50 * 1128 + 500);
    spoil(&w, "shards/0-1/00000000000000000000.log", 70 * 1128 + 33);
    struct log_read read = {.log = w.log, .offset = 90, .end = UINT64_MAX, .max_bytes = 100000};
    assert_int_equal(fixture_read(&w.f, &read), STATUS_OK);
    assert_int_equal(read.first_base, 90);
    assert_int_equal(read.next, 100);
    read.offset = 100;
    assert_int_equal(fixture_read(&w.f, &read), STATUS_CORRUPT);
    assert_int_equal(read.data.size, 0);
    read.offset = 102;
    assert_int_equal(fixture_read(&w.f, &read), STATUS_OK);
    assert_int_equal(read.next, 140);
    read.offset = 140;
    assert_int_equal(fixture_read(&w.f, &read), STATUS_CORRUPT);
    read.offset = 400; /* found by the index, behind the damage */
    assert_int_equal(fixture_read(&w.f, &read), STATUS_OK);
    assert_int_equal(read.first_base, 400);
    buf_release(&read.data);
    teardown(&w);
}

static void a_hole_below_the_end_is_refused_and_leaves_the_end_certain(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 100);
    fixture_close(&w.f);
    fixture_open(&w.f); /* a new run: the journal no longer has the batches */
    fixture_close(&w.f);
    spoil(&w, "shards/0-1/00000000000000000000.log", 50 * 1128 + 300);
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, 1);
    struct replica_recovered r;
    shard_log_recovered(w.log, &r);
    assert_false(r.uncertain);
    assert_int_equal(r.last.end, 200);
    struct log_read read = {.log = w.log, .offset = 101, .end = UINT64_MAX, .max_bytes = 100000};
    assert_int_equal(fixture_read(&w.f, &read), STATUS_CORRUPT);
    read.offset = 102;
    assert_int_equal(fixture_read(&w.f, &read), STATUS_OK);
    assert_int_equal(read.next, 200);
    buf_release(&read.data);
    fill(&w, 5);
    teardown(&w);
}

static void a_rotten_last_batch_makes_the_shard_uncertain(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 100);
    fixture_close(&w.f);
    fixture_open(&w.f);
    fixture_close(&w.f);
    spoil(&w, "shards/0-1/00000000000000000000.log", 99 * 1128 + 300);
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, 1);
    struct replica_recovered r;
    shard_log_recovered(w.log, &r);
    assert_true(r.uncertain);
    assert_int_equal(r.last.end, 198);
    assert_int_equal(r.uncertain_end, 198);
    assert_int_equal(fixture_check_log(&w.f, w.log), 198);
    uint64_t lsn;
    fill(&w, 3);
    assert_int_equal(shard_log_set_uncertain(w.log, false, 0, &lsn), STATUS_OK);
    fixture_wait(&w.f, lsn);
    for (int round = 0; round < 2; round++) {
        fixture_close(&w.f);
        fixture_open(&w.f);
        w.log = store_find_shard(w.f.store, 1);
        shard_log_recovered(w.log, &r);
        assert_false(r.uncertain);
        assert_int_equal(fixture_check_log(&w.f, w.log), 204);
    }
    teardown(&w);
}

/* Blocks of the journal are lost, but segments have the batches. */
static void segments_fill_what_the_journal_has_lost(void **state)
{
    (void)state;
    struct world w;
    setup(&w);
    fill(&w, 200);
    assert_int_equal(store_sync(w.f.store, true), STATUS_OK);
    fill(&w, 5);
    fixture_close(&w.f);
    uint32_t spoiled = 0;
    for (uint32_t file = 0; file < 6 && spoiled == 0; file++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "journal/%04u", file);
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%s", w.f.dir, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint8_t *bytes = calloc(1, 1024 * 1024);
        if (fd < 0 || pread(fd, bytes, 1024 * 1024, 0) != 1024 * 1024) {
            free(bytes);
            continue;
        }
        (void)close(fd);
        for (uint64_t at = 2 * 4096; at < 32 * 4096; at += 4096) {
            if (memcmp(bytes + at, "WJBH", 4) == 0 && get_u32(bytes + at + 52) > 1000) {
                spoil(&w, name, at + 100);
                spoiled++;
                break;
            }
        }
        free(bytes);
    }
    assert_int_equal(spoiled, 1);
    fixture_open(&w.f);
    w.log = store_find_shard(w.f.store, 1);
    struct store_info info;
    store_info(w.f.store, &info);
    assert_int_equal(info.recovery.damaged_blocks, 1);
    struct replica_recovered r;
    shard_log_recovered(w.log, &r);
    assert_true(r.uncertain); /* it may have held a promise */
    assert_int_equal(fixture_check_log(&w.f, w.log), 410);
    teardown(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(below_the_reserve_data_is_refused_and_promises_are_not),
        cmocka_unit_test(segments_that_meet_a_full_disk_go_on_when_space_returns),
        cmocka_unit_test(space_runs_out_under_segments_only),
        cmocka_unit_test(a_failed_segment_sync_takes_the_disk_out),
        cmocka_unit_test(a_failed_sync_of_the_list_of_damage_takes_the_disk_out),
        cmocka_unit_test(rotten_bytes_are_refused_and_their_neighbours_served),
        cmocka_unit_test(a_hole_below_the_end_is_refused_and_leaves_the_end_certain),
        cmocka_unit_test(a_rotten_last_batch_makes_the_shard_uncertain),
        cmocka_unit_test(segments_fill_what_the_journal_has_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
