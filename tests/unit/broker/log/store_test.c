#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

#define SHARD_ID ((uint64_t)3 << 32 | 7)

static void batches_are_read_back_from_the_tail(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
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
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        lsn = fixture_append(&f, log, 1 + i / 1000, 2, 1000 + i % 100);
    }
    assert_int_equal(shard_log_promise(log, 9, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(fixture_check_log(&f, log), 6000);
    for (uint64_t round = 0; round < 3; round++) {
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

/* A frame of batches is admitted as a whole; wherever in files and ring that falls, every one of
 * them is then taken. */
static void what_was_admitted_together_fits_together(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    f.options.journal_files = 3;
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    uint32_t busy = 0;
    for (uint32_t round = 0; round < 400; round++) {
        uint32_t count = 1 + round * 7 % 90;
        while (store_admit(f.store, (size_t)count * (1128 + 64)) == STATUS_BUSY) {
            busy++;
            store_flush(f.store);
            (void)usleep(100);
            assert_int_equal(store_poll(f.store, &f.synced), STATUS_OK);
        }
        for (uint32_t i = 0; i < count; i++) {
            struct batch_header header;
            struct bytes batch = test_batch(log, 1, 1, 1000, 5, &header);
            struct log_appended appended;
            assert_int_equal(shard_log_append(log, &header, &batch, 1, &appended), STATUS_OK);
        }
    }
    assert_true(busy > 0);
    fixture_release(&f);
}

/* Little waits to be written with more; what needs nearly the whole ring must not wait for that
 * more for ever: nothing else comes while it is refused. */
static void what_waits_for_company_makes_room_for_what_is_large(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    f.options.ring_bytes = 1024 * 1024;
    f.options.block_bytes = 64 * 1024;
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_wait(&f, fixture_append(&f, log, 1, 1, 100 * 1024));
    size_t large = 800 * 1024;
    assert_int_equal(store_admit(f.store, large), STATUS_BUSY);
    for (int i = 0; i < 60000 && store_admit(f.store, large) == STATUS_BUSY; i++) {
        store_flush(f.store);
        (void)usleep(1000);
        assert_int_equal(store_poll(f.store, &f.synced), STATUS_OK);
    }
    assert_int_equal(store_admit(f.store, large), STATUS_OK);
    fixture_release(&f);
}

static void a_thousand_shards_cost_no_file(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    uint64_t lsn = 0;
    struct shard_log *log;
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(store_create_shard(f.store, i, 1, 0, &log, &lsn), STATUS_OK);
    }
    assert_int_equal(store_create_shard(f.store, 5, 1, 0, &log, &lsn), STATUS_EXISTS);
    fixture_wait(&f, lsn);
    assert_int_equal(fixture_files_in(&f, "shards"), 0);
    fixture_close(&f);
    fixture_open(&f);
    uint32_t count = 0;
    for (log = NULL; (log = store_next_shard(f.store, log)) != NULL;) {
        count++;
    }
    assert_int_equal(count, 1000);
    assert_int_equal(fixture_files_in(&f, "shards"), 0);
    fixture_release(&f);
}

static void a_truncation_is_gone_at_once_and_after_a_restart(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 1500, 1000);
    uint64_t lsn;
    struct log_point point;
    assert_int_equal(shard_log_point_at(log, 400, &point), STATUS_OK); /* long out of the ring */
    assert_int_equal(shard_log_truncate(log, 400, 2, &lsn), STATUS_OK);
    assert_int_equal(fixture_last(log).crc, point.crc);
    assert_int_equal(fixture_check_log(&f, log), 400);
    fixture_append_many(&f, log, 2, 30, 500);
    assert_int_equal(fixture_check_log(&f, log), 460);
    for (int round = 0; round < 2; round++) {
        fixture_close(&f);
        fixture_open(&f);
        log = store_find_shard(f.store, SHARD_ID);
        assert_int_equal(fixture_check_log(&f, log), 460);
        struct replica_recovered r;
        shard_log_recovered(log, &r);
        assert_int_equal(r.history_count, 2);
        assert_int_equal(r.history[1].start, 400);
    }
    assert_int_equal(shard_log_point_at(log, 401, &point), STATUS_NOT_FOUND); /* inside a batch */
    assert_int_equal(shard_log_point_at(log, 461, &point), STATUS_NOT_FOUND);
    assert_int_equal(shard_log_truncate(log, 0, 2, &lsn), STATUS_OK);
    fixture_append_many(&f, log, 3, 3, 500);
    fixture_close(&f);
    fixture_open(&f);
    assert_int_equal(fixture_check_log(&f, store_find_shard(f.store, SHARD_ID)), 6);
    fixture_release(&f);
}

static void read_ended(struct log_read *read)
{
    *(bool *)read->owner = true;
}

static void check_epochs(const struct log_read *read)
{
    for (struct bytes rest = buf_bytes(&read->data); rest.size > 0;) {
        struct batch_header h;
        assert_int_equal(batch_decode(rest, &h), STATUS_OK);
        assert_int_equal(h.epoch, h.base_offset < 40 ? 1 : 2);
        rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
    }
}

/* Writes of the old log are on their way to the segment when it is cut, and so is a read: what they
 * leave there must not be taken for the new log. */
static void a_cut_beats_the_writes_and_reads_before_it(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    f.options.block_bytes = 256 * 1024; /* all of it in one block, so that one job writes it */
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 30, 1000);
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    fixture_append_many(&f, log, 1, 130, 1000); /* enough to set the writer going */
    bool ended = false;
    struct log_read read = {.log = log,
                            .offset = 10,
                            .end = UINT64_MAX,
                            .max_bytes = 1000000,
                            .done = read_ended,
                            .owner = &ended};
    assert_int_equal(store_read(f.store, &read), STATUS_OK);
    uint64_t lsn;
    assert_int_equal(shard_log_truncate(log, 40, 2, &lsn), STATUS_OK);
    for (uint32_t i = 0; i < 30; i++) {
        lsn = fixture_append(&f, log, 2, 2, 1000);
    }
    fixture_wait(&f, lsn);
    (void)usleep(50000);
    while (!ended) {
        assert_int_equal(store_poll(f.store, &f.synced), STATUS_OK);
    }
    check_epochs(&read);
    assert_int_equal(fixture_read(&f, &read), STATUS_OK);
    check_epochs(&read);
    buf_release(&read.data);
    fixture_release(&f);
}

static void retention_drops_whole_segments(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 1500, 1000); /* offset o has time 1000 + o */
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    uint32_t before = fixture_files_in(&f, "shards/3-7");
    assert_int_equal(shard_log_retention(log, 999, 3000), 0);
    uint64_t start = shard_log_retention(log, 1000 + 1600, 3000);
    assert_in_range(start, 1, 1601);
    assert_int_equal(shard_log_retention(log, UINT64_MAX, 1), 0); /* never above the limit */
    uint64_t bytes = shard_log_segment_bytes(log), lsn;
    assert_int_equal(shard_log_trim(log, start, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    assert_true(shard_log_segment_bytes(log) < bytes);
    assert_true(fixture_files_in(&f, "shards/3-7") < before);
    struct log_read read = {.log = log, .offset = start - 1, .end = UINT64_MAX, .max_bytes = 5000};
    assert_int_equal(fixture_read(&f, &read), STATUS_NOT_FOUND);
    assert_int_equal(fixture_check_log(&f, log), 3000);
    fixture_close(&f);
    fixture_open(&f);
    log = store_find_shard(f.store, SHARD_ID);
    assert_int_equal(fixture_check_log(&f, log), 3000);
    assert_int_equal(shard_log_tail_start(log), 3000); /* nothing in the ring: read from segments */
    fixture_release(&f);
}

static void sought(struct log_seek *seek)
{
    *(bool *)seek->owner = true;
}

static uint64_t seek_time(struct store_fixture *f, struct shard_log *log, uint64_t ms)
{
    bool ended = false;
    struct log_seek seek = {
        .log = log, .time_ms = ms, .end = UINT64_MAX, .done = sought, .owner = &ended};
    assert_int_equal(store_seek(f->store, &seek), STATUS_OK);
    while (!ended) {
        (void)usleep(200);
        assert_int_equal(store_poll(f->store, &f->synced), STATUS_OK);
    }
    assert_int_equal(seek.status, STATUS_OK);
    return seek.offset;
}

static void a_time_finds_the_first_batch_at_or_after_it(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 1500, 1000);
    for (int round = 0; round < 2; round++) {
        static const uint64_t offsets[] = {0, 1, 2, 777, 778, 1501, 2400, 2998};
        for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
            uint64_t expect = (offsets[i] + 1) / 2 * 2; /* batches of two */
            assert_int_equal(seek_time(&f, log, 1000 + offsets[i]), expect);
        }
        assert_int_equal(seek_time(&f, log, 5), 0);
        assert_int_equal(seek_time(&f, log, 999999), 3000);
        fixture_close(&f);
        fixture_open(&f);
        log = store_find_shard(f.store, SHARD_ID);
    }
    fixture_release(&f);
}

static void a_missing_or_bad_index_is_made_again(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 1500, 1000);
    fixture_close(&f);
    char command[512];
    (void)snprintf(
        command, sizeof(command),
        "cd %s/shards/3-7 && rm $(ls *.index | head -1) && "
        "for i in *.index; do printf x | dd of=$i bs=1 seek=70 conv=notrunc status=none; done",
        f.dir);
    assert_int_equal(system(command), 0);
    fixture_open(&f);
    log = store_find_shard(f.store, SHARD_ID);
    struct log_point point;
    for (uint64_t end = 2; end <= 3000; end += 2 * 37) {
        assert_int_equal(shard_log_point_at(log, end, &point), STATUS_OK);
        struct log_read read = {.log = log, .offset = end - 1, .end = end, .max_bytes = 1};
        assert_int_equal(fixture_read(&f, &read), STATUS_OK);
        assert_int_equal(read.first_base, end - 2);
        assert_int_equal(read.next, end);
        buf_release(&read.data);
    }
    assert_int_equal(fixture_check_log(&f, log), 3000);
    fixture_release(&f);
}

static void producer_tables_come_back_with_their_segment(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    uint64_t newest = 0, before = 0;
    for (uint32_t i = 0; i < 600; i++) {
        struct batch_header header;
        struct bytes batch = test_batch(log, 1, 1, 1000, 5, &header);
        struct log_appended appended;
        fixture_admit(&f, batch.size);
        assert_int_equal(shard_log_append(log, &header, &batch, 1, &appended), STATUS_OK);
        assert_int_equal(appended.rolled,
                         shard_log_tail_start(log) == header.base_offset || appended.rolled);
        if (appended.rolled) {
            char table[32];
            (void)snprintf(table, sizeof(table), "table at %u", (unsigned)header.base_offset);
            assert_int_equal(
                shard_log_put_producers(log, header.base_offset, bytes_of_string(table)),
                STATUS_OK);
            before = newest;
            newest = header.base_offset;
        }
        fixture_wait(&f, appended.lsn);
    }
    assert_true(before > 0);
    fixture_close(&f);
    fixture_open(&f);
    log = store_find_shard(f.store, SHARD_ID);
    struct buf table = {0};
    uint64_t base;
    char text[32];
    assert_int_equal(shard_log_get_producers(log, &table, &base), STATUS_OK);
    assert_int_equal(base, newest);
    (void)snprintf(text, sizeof(text), "table at %u", (unsigned)base);
    assert_true(bytes_equal(buf_bytes(&table), bytes_of_string(text)));
    uint64_t lsn;
    assert_int_equal(shard_log_truncate(log, newest, 2, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(shard_log_get_producers(log, &table, &base), STATUS_OK);
    assert_int_equal(base, before);
    buf_release(&table);
    fixture_release(&f);
}

static void deletion_removes_and_quarantine_keeps(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *kept = fixture_create(&f, 1), *gone = fixture_create(&f, 2);
    fixture_append_many(&f, kept, 1, 400, 1000);
    fixture_append_many(&f, gone, 1, 400, 1000);
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    assert_int_equal(fixture_files_in(&f, "shards"), 2);
    uint64_t lsn;
    assert_int_equal(store_delete_shard(f.store, kept, true, &lsn), STATUS_OK);
    assert_int_equal(store_delete_shard(f.store, gone, false, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    assert_int_equal(fixture_files_in(&f, "shards"), 0);
    assert_int_equal(fixture_files_in(&f, "quarantine"), 1);
    gone = fixture_create(&f, 2); /* the same name, another replica */
    fixture_append_many(&f, gone, 5, 10, 1000);
    fixture_close(&f);
    fixture_open(&f);
    assert_null(store_find_shard(f.store, 1));
    assert_int_equal(fixture_check_log(&f, store_find_shard(f.store, 2)), 20);
    fixture_release(&f);
}

static void what_no_shard_owns_goes_to_quarantine(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    fixture_close(&f);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/shards/9-9", f.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    fixture_open(&f);
    struct store_info info;
    store_info(f.store, &info);
    assert_int_equal(info.quarantined, 1);
    assert_int_equal(fixture_files_in(&f, "shards"), 0);
    assert_int_equal(fixture_files_in(&f, "quarantine"), 1);
    fixture_release(&f);
}

static void a_read_of_a_deleted_shard_is_cancelled(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 1500, 1000);
    bool ended = false;
    struct log_seek seek = {
        .log = log, .time_ms = 1500, .end = 3000, .done = sought, .owner = &ended};
    assert_int_equal(store_seek(f.store, &seek), STATUS_OK);
    uint64_t lsn;
    assert_int_equal(store_delete_shard(f.store, log, false, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    while (!ended) {
        assert_int_equal(store_poll(f.store, &f.synced), STATUS_OK);
    }
    assert_int_equal(seek.status, STATUS_CANCELLED);
    fixture_release(&f);
}

static void keep_summary(void *context, const struct log_summary *summary)
{
    *(struct log_summary *)context = *summary;
}

static struct log_summary inspect(const struct store_fixture *f)
{
    struct log_summary summary = {0};
    struct store_info info;
    struct error error = {0};
    if (store_inspect(f->dir, NULL, keep_summary, &summary, &info, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
    return summary;
}

static void copy_tail(struct store_fixture *to, struct shard_log *into, struct shard_log *from)
{
    struct log_batch batch;
    while (shard_log_tail(from, fixture_last(into).end, UINT64_MAX, 1, &batch, 1) == 1) {
        struct batch_header header;
        struct log_appended appended;
        assert_int_equal(batch_decode(batch.bytes, &header), STATUS_OK);
        fixture_admit(to, batch.bytes.size);
        assert_int_equal(shard_log_append(into, &header, &batch.bytes, 1, &appended), STATUS_OK);
        fixture_wait(to, appended.lsn);
    }
}

static void replicas_have_equal_bytes_whatever_their_past(void **state)
{
    (void)state;
    struct store_fixture a, b;
    fixture_init(&a);
    fixture_init(&b);
    b.options.journal_file_bytes *= 2;
    fixture_open(&a);
    fixture_open(&b);
    struct shard_log *from = fixture_create(&a, SHARD_ID), *into = fixture_create(&b, SHARD_ID);
    fixture_append_many(&b, into, 1, 330, 1000); /* of a leader that nobody followed */
    uint64_t lsn;
    assert_int_equal(shard_log_truncate(into, 0, 2, &lsn), STATUS_OK);
    for (uint32_t i = 0; i < 40; i++) {
        fixture_append_many(&a, from, 2, 20, 1000);
        copy_tail(&b, into, from);
    }
    fixture_close(&a);
    fixture_close(&b);
    struct log_summary x = inspect(&a), y = inspect(&b);
    assert_int_equal(x.end, 1600);
    assert_int_equal(y.end, 1600);
    assert_int_equal(x.records, 1600);
    assert_false(x.corrupt);
    assert_false(y.corrupt);
    assert_int_equal(x.last_crc, y.last_crc);
    assert_int_equal(x.bytes_crc, y.bytes_crc);
    assert_memory_equal(x.bytes_sha256, y.bytes_sha256, sizeof(x.bytes_sha256));
    char command[400];
    (void)snprintf(command, sizeof(command), "diff -r '%s/shards' '%s/shards' -x '*.index'", a.dir,
                   b.dir);
    assert_int_equal(system(command), 0);
    struct log_summary again = inspect(&b); /* looking changes nothing */
    assert_memory_equal(&again, &y, sizeof(y));
    fixture_release(&a);
    fixture_release(&b);
}

static void inspection_needs_a_stopped_broker(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    struct store_info info;
    struct error error = {0};
    assert_int_equal(store_inspect(f.dir, NULL, keep_summary, NULL, &info, &error), STATUS_BUSY);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_read_back_from_the_tail),
        cmocka_unit_test(what_was_synced_is_there_after_a_restart),
        cmocka_unit_test(what_was_admitted_together_fits_together),
        cmocka_unit_test(what_waits_for_company_makes_room_for_what_is_large),
        cmocka_unit_test(a_thousand_shards_cost_no_file),
        cmocka_unit_test(a_truncation_is_gone_at_once_and_after_a_restart),
        cmocka_unit_test(a_cut_beats_the_writes_and_reads_before_it),
        cmocka_unit_test(retention_drops_whole_segments),
        cmocka_unit_test(a_time_finds_the_first_batch_at_or_after_it),
        cmocka_unit_test(a_missing_or_bad_index_is_made_again),
        cmocka_unit_test(producer_tables_come_back_with_their_segment),
        cmocka_unit_test(deletion_removes_and_quarantine_keeps),
        cmocka_unit_test(what_no_shard_owns_goes_to_quarantine),
        cmocka_unit_test(a_read_of_a_deleted_shard_is_cancelled),
        cmocka_unit_test(replicas_have_equal_bytes_whatever_their_past),
        cmocka_unit_test(inspection_needs_a_stopped_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
