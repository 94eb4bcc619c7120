#include "broker/journal/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "broker/journal/block.h"
#include "proto/wire/batch.h"
#include "tests/support/fake_disk.h"
#include "tests/support/journal_home.h"

enum { SHARDS = JOURNAL_HOME_SHARDS, PAYLOAD = 700, SEEN_MAX = 20000, DAMAGED_MAX = 256 };

/* A journal, and what its recovery tells. */
struct fixture {
    struct journal_home home;
    struct {
        enum journal_type type;
        uint64_t shard, a;
    } seen[SEEN_MAX];
    uint32_t seen_count;
    uint64_t damaged[DAMAGED_MAX];
    uint32_t damaged_count;
    bool all_damaged;
    uint64_t synced;
};

static enum status on_record(void *context, const struct journal_record *record)
{
    struct fixture *f = context;
    if (record->type == JOURNAL_STATE || record->type == JOURNAL_STATE_END) {
        return STATUS_OK;
    }
    assert_true(f->seen_count < SEEN_MAX);
    f->seen[f->seen_count].type = record->type;
    f->seen[f->seen_count].shard = record->shard;
    f->seen[f->seen_count++].a = record->a;
    if (record->type == JOURNAL_DATA) {
        uint8_t copy[BATCH_HEADER_BYTES + 64];
        assert_int_equal(
            journal_read(f->home.journal, record->file, record->offset, copy, sizeof(copy)),
            STATUS_OK);
        assert_memory_equal(copy, record->body.data, sizeof(copy));
    }
    return STATUS_OK;
}

static enum status on_damage(void *context, uint64_t shard, bool all)
{
    struct fixture *f = context;
    f->all_damaged = f->all_damaged || all;
    if (!all && f->damaged_count < DAMAGED_MAX) {
        f->damaged[f->damaged_count++] = shard;
    }
    return STATUS_OK;
}

static void start(struct fixture *f)
{
    struct journal_visitor visitor = {.context = f, .record = on_record, .damage = on_damage};
    f->seen_count = f->damaged_count = 0;
    f->all_damaged = false;
    f->synced = 0;
    journal_home_start(&f->home, &visitor);
}

static void init(struct fixture *f, const struct disk *disk)
{
    memset(f, 0, sizeof(*f));
    journal_home_init(&f->home, disk);
    journal_home_format(&f->home);
    start(f);
}

static void stop(struct fixture *f)
{
    journal_home_stop(&f->home);
}

static void release(struct fixture *f)
{
    journal_home_release(&f->home);
}

/* Everything synced is done with: as if segments had it. */
static void release_synced(struct fixture *f)
{
    uint64_t position = journal_synced_position(f->home.journal);
    journal_release(f->home.journal, position, position);
}

static enum status append(struct fixture *f, uint32_t shard, size_t payload, uint64_t *out_lsn)
{
    struct bytes batch = journal_home_batch(f->home.shard[shard].id, payload);
    struct journal_span span;
    enum status status = journal_admit(f->home.journal, batch.size);
    if (status == STATUS_OK) {
        assert_int_equal(
            journal_append_data(f->home.journal, &f->home.shard[shard], &batch, 1, &span),
            STATUS_OK);
        assert_memory_equal(span.body, batch.data, batch.size);
        *out_lsn = span.lsn;
    }
    return status;
}

static void note(struct fixture *f, uint32_t shard, uint64_t value)
{
    struct journal_span span;
    assert_int_equal(journal_append(f->home.journal, &f->home.shard[shard], JOURNAL_LOG_START,
                                    value, 0, 0, &span),
                     STATUS_OK);
}

static void a_flush_writes_what_has_gathered_in_one_block(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    struct journal_view before, after;
    journal_view(f->home.journal, &before);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(append(f, i, PAYLOAD, &lsn), STATUS_OK);
    }
    journal_flush(f->home.journal);
    while (journal_synced_lsn(f->home.journal) < lsn) {
        struct pollfd fd = {.fd = f->home.options.event_fd, .events = POLLIN};
        assert_true(poll(&fd, 1, 10000) > 0);
        assert_int_equal(journal_poll(f->home.journal), STATUS_OK);
    }
    journal_view(f->home.journal, &after);
    assert_int_equal(after.writes - before.writes, 1);
    release(f);
    free(f);
}

static void both_backends(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        struct fixture *f = calloc(1, sizeof(*f));
        init(f, NULL);
        stop(f);
        f->home.options.backend = round == 0 ? JOURNAL_BACKEND_AUTO : JOURNAL_BACKEND_THREAD;
        f->home.options.buffered = round == 2;
        start(f);
        struct journal_view view;
        journal_view(f->home.journal, &view);
        assert_false(round > 0 && view.uring);
        assert_false(round == 2 && view.direct);
        uint64_t lsn = 0;
        /* So few that one file holds them: a second one would free the first. */
        for (uint32_t i = 0; i < 100; i++) {
            assert_int_equal(append(f, i % SHARDS, PAYLOAD, &lsn), STATUS_OK);
            journal_flush(f->home.journal);
            status_ignore(journal_poll(f->home.journal), "checked below");
            release_synced(f);
        }
        assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
        assert_int_equal(journal_synced_lsn(f->home.journal), lsn);
        stop(f);
        start(f);
        assert_int_equal(f->seen_count, 100);
        assert_int_equal(f->home.recovery.damaged_blocks + f->home.recovery.torn_blocks, 0);
        release(f);
        free(f);
    }
}

static void files_are_used_again_and_old_blocks_stay_dead(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < 12000; i++) { /* 10 MB through 3 to 6 files of 1 MiB */
        enum status status;
        while ((status = append(f, i % SHARDS, PAYLOAD, &lsn)) == STATUS_BUSY) {
            assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
            release_synced(f);
            uint32_t number = journal_wants_file(f->home.journal);
            if (number != UINT32_MAX) {
                assert_int_equal(journal_make_file(&f->home.options, number), STATUS_OK);
                assert_int_equal(journal_add_file(f->home.journal, number), STATUS_OK);
            }
            assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
        }
        assert_int_equal(status, STATUS_OK);
    }
    struct journal_view view;
    journal_view(f->home.journal, &view);
    assert_in_range(view.files, 3, 6);
    stop(f);
    start(f);
    assert_false(f->all_damaged);
    assert_int_equal(f->home.recovery.damaged_blocks + f->home.recovery.torn_blocks, 0);
    assert_in_range(f->seen_count, 1, 5000); /* only what was not released */
    assert_int_equal(f->seen[f->seen_count - 1].shard, 1000 + 11999 % SHARDS);
    release(f);
    free(f);
}

static void data_leaves_room_for_promises(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    uint64_t lsn;
    enum status status;
    do { /* nothing is released: segments lag */
        status = append(f, 3, PAYLOAD, &lsn);
        assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    } while (status == STATUS_OK);
    assert_int_equal(status, STATUS_BUSY);
    for (uint32_t i = 0; i < 1000; i++) {
        note(f, i % SHARDS, i);
    }
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    assert_int_equal(append(f, 3, PAYLOAD, &lsn), STATUS_BUSY);
    release_synced(f);
    assert_int_equal(append(f, 3, PAYLOAD, &lsn), STATUS_OK);
    release(f);
    free(f);
}

static void the_largest_batch_fits(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    stop(f);
    f->home.options.file_bytes = 32 * 1024 * 1024;
    f->home.options.ring_bytes = 64 * 1024 * 1024;
    f->home.options.block_bytes = 1024 * 1024;
    start(f);
    uint64_t lsn;
    /* Files of another size went, and new ones are made. */
    assert_int_equal(append(f, 1, PAYLOAD, &lsn), STATUS_BUSY);
    for (uint32_t number; (number = journal_wants_file(f->home.journal)) != UINT32_MAX;) {
        assert_int_equal(journal_make_file(&f->home.options, number), STATUS_OK);
        assert_int_equal(journal_add_file(f->home.journal, number), STATUS_OK);
    }
    assert_int_equal(append(f, 1, PAYLOAD, &lsn), STATUS_OK);
    assert_int_equal(append(f, 2, BATCH_PAYLOAD_MAX, &lsn), STATUS_OK);
    assert_int_equal(append(f, 3, PAYLOAD, &lsn), STATUS_OK);
    stop(f);
    start(f);
    assert_int_equal(f->seen_count, 3);
    assert_int_equal(f->seen[1].shard, 1002);
    release(f);
    free(f);
}

static void a_failed_write_ends_the_journal_for_good(void **state)
{
    (void)state;
    for (int what = 0; what < 2; what++) {
        struct fixture *f = calloc(1, sizeof(*f));
        struct fake_disk fake;
        fake_disk_init(&fake, 3);
        init(f, &fake.disk);
        uint64_t lsn;
        assert_int_equal(append(f, 1, PAYLOAD, &lsn), STATUS_OK);
        assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
        if (what == 0) {
            fake.fail_write = fake.writes + 1;
        } else {
            fake.fail_sync = fake.syncs + 1;
        }
        assert_int_equal(append(f, 2, PAYLOAD, &lsn), STATUS_OK);
        uint64_t synced = journal_synced_lsn(f->home.journal);
        assert_int_equal(journal_sync(f->home.journal), STATUS_IO);
        /* The disk works again. Nobody asks it. */
        assert_int_equal(append(f, 3, PAYLOAD, &lsn), STATUS_IO);
        assert_int_equal(journal_poll(f->home.journal), STATUS_IO);
        assert_int_equal(journal_sync(f->home.journal), STATUS_IO);
        assert_int_equal(journal_synced_lsn(f->home.journal), synced);
        stop(f);
        start(f);
        assert_in_range(f->seen_count, 1, 2);
        release(f);
        fake_disk_release(&fake);
        free(f);
    }
}

/* The last block, of 5 shards and several sectors, with only its first `sectors` written. */
static void torn_after(uint64_t sectors, uint64_t *out_block_sectors)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct fake_disk fake;
    fake_disk_init(&fake, 5);
    init(f, &fake.disk);
    uint64_t lsn;
    assert_int_equal(append(f, 50, PAYLOAD, &lsn), STATUS_OK);
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    uint64_t from = journal_synced_position(f->home.journal);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(append(f, i, PAYLOAD, &lsn), STATUS_OK);
    }
    fake.die_write = fake.writes + 1;
    fake.die_sectors = sectors;
    uint64_t size = block_align(journal_next_position(f->home.journal) - from + BLOCK_SECTOR, 4096);
    *out_block_sectors = size / BLOCK_SECTOR;
    assert_int_equal(journal_sync(f->home.journal), STATUS_IO);
    stop(f);
    fake_disk_power(&fake, FAKE_LOSE_ALL);
    start(f);
    assert_int_equal(f->damaged_count, 0);
    assert_false(f->all_damaged);
    /* The body may be whole although the trailer is not: then it is taken. */
    bool body =
        sectors + 1 >= *out_block_sectors ||
        sectors * BLOCK_SECTOR >= BLOCK_SECTOR + 5 * (RECORD_FRAME_BYTES + 128 + PAYLOAD + 4);
    assert_int_equal(f->seen_count, body ? 6 : 1);
    release(f);
    fake_disk_release(&fake);
    free(f);
}

static void a_block_torn_at_any_sector_is_dropped_and_nothing_else(void **state)
{
    (void)state;
    uint64_t size = 1;
    for (uint64_t sectors = 0; sectors <= size; sectors++) {
        torn_after(sectors, &size);
    }
    assert_true(size > 8);
}

/* Finds the block whose first record is of `shard`, in the files of a stopped journal. */
static bool find_block(const struct fixture *f, uint64_t shard, int *out_fd, uint64_t *out_at,
                       struct block_header *out)
{
    for (uint32_t file = 0; file < f->home.options.files_max; file++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%04u", f->home.dir, file);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        for (uint64_t at = 0; fd >= 0 && at < f->home.options.file_bytes; at += BLOCK_UNIT) {
            uint8_t bytes[BLOCK_SECTOR + RECORD_FRAME_BYTES];
            assert_int_equal(pread(fd, bytes, sizeof(bytes), (off_t)at), sizeof(bytes));
            if (journal_header_decode(bytes, f->home.options.id, out) == STATUS_OK &&
                out->used > 0 && bytes[BLOCK_SECTOR + 4] == JOURNAL_DATA &&
                get_u64(bytes + BLOCK_SECTOR + 8) == shard) {
                *out_fd = fd;
                *out_at = at;
                return true;
            }
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return false;
}

static void flip(int fd, uint64_t at)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
}

enum spot { SPOT_HEADER, SPOT_FRAME, SPOT_PAYLOAD, SPOT_TRAILER };

static void damage_block(const struct fixture *f, uint64_t shard, enum spot spot)
{
    int fd = -1;
    uint64_t at = 0;
    struct block_header h = {0};
    assert_true(find_block(f, shard, &fd, &at, &h));
    const uint64_t spots[] = {
        [SPOT_HEADER] = 100,
        [SPOT_FRAME] = BLOCK_SECTOR + 9,
        [SPOT_PAYLOAD] = BLOCK_SECTOR + RECORD_FRAME_BYTES + BATCH_HEADER_BYTES + 10,
        [SPOT_TRAILER] = h.bytes - 100,
    };
    flip(fd, at + spots[spot]);
    (void)close(fd);
}

/* Three synced blocks: shards 10 to 12, 20 to 22, 30 to 32. */
static void three_blocks(struct fixture *f)
{
    uint64_t lsn;
    for (uint32_t block = 1; block <= 3; block++) {
        for (uint32_t i = 0; i < 3; i++) {
            assert_int_equal(append(f, 10 * block + i, PAYLOAD, &lsn), STATUS_OK);
        }
        assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    }
    stop(f);
}

static void damage_in_the_middle_is_confined_to_the_blocks_shards(void **state)
{
    (void)state;
    static const enum spot spots[] = {SPOT_HEADER, SPOT_FRAME, SPOT_PAYLOAD, SPOT_TRAILER};
    for (size_t i = 0; i < sizeof(spots) / sizeof(spots[0]); i++) {
        struct fixture *f = calloc(1, sizeof(*f));
        init(f, NULL);
        three_blocks(f);
        damage_block(f, 1020, spots[i]);
        start(f);
        assert_false(f->all_damaged);
        assert_int_equal(f->home.recovery.torn_blocks, 0);
        if (spots[i] == SPOT_TRAILER) { /* everything that counts is there */
            assert_int_equal(f->damaged_count, 0);
            assert_int_equal(f->seen_count, 9);
        } else if (spots[i] == SPOT_PAYLOAD) { /* one batch */
            assert_int_equal(f->damaged_count, 1);
            assert_int_equal(f->damaged[0], 1020);
            assert_int_equal(f->seen_count, 8);
        } else {
            assert_int_equal(f->damaged_count, 3);
            assert_int_equal(f->damaged[0], 1020);
            assert_int_equal(f->damaged[2], 1022);
            assert_int_equal(f->seen_count, 6);
        }
        release(f);
        free(f);
    }
}

static void damage_to_the_newest_block_is_never_called_torn(void **state)
{
    (void)state;
    static const enum spot spots[] = {SPOT_HEADER, SPOT_FRAME, SPOT_PAYLOAD};
    for (size_t i = 0; i < sizeof(spots) / sizeof(spots[0]); i++) {
        struct fixture *f = calloc(1, sizeof(*f));
        init(f, NULL);
        three_blocks(f);
        damage_block(f, 1030, spots[i]);
        for (int round = 0; round < 2; round++) { /* also when recovery itself is cut short */
            struct error error;
            struct journal_visitor v = {.context = f, .record = on_record, .damage = on_damage};
            f->seen_count = f->damaged_count = 0;
            assert_int_equal(journal_open(&f->home.options, &f->home.journal, &error), STATUS_OK);
            assert_int_equal(journal_recover(f->home.journal, &v, &f->home.recovery, &error),
                             STATUS_OK);
            assert_int_equal(f->home.recovery.torn_blocks, 0);
            assert_false(f->all_damaged);
            assert_int_equal(f->damaged_count, spots[i] == SPOT_PAYLOAD ? 1 : 3);
            assert_int_equal(f->damaged[0], 1030);
            assert_int_equal(f->seen_count, spots[i] == SPOT_PAYLOAD ? 8 : 6);
            stop(f);
        }
        start(f);
        stop(f);
        start(f); /* the new run stands alone */
        assert_int_equal(f->damaged_count, 0);
        release(f);
        free(f);
    }
}

static void a_block_of_many_shards_is_still_confined(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    uint64_t lsn;
    assert_int_equal(append(f, 0, PAYLOAD, &lsn), STATUS_OK);
    for (uint32_t i = 1; i <= 90; i++) { /* more than the header and the trailer hold */
        note(f, i, 5);
    }
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    assert_int_equal(append(f, 95, PAYLOAD, &lsn), STATUS_OK);
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    stop(f);
    damage_block(f, 1000, SPOT_FRAME);
    start(f);
    assert_false(f->all_damaged);
    assert_int_equal(f->damaged_count, 91);
    assert_int_equal(f->seen_count, 1);
    release(f);
    free(f);
}

static void lazy_records_wait_for_others(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    struct journal_span span;
    struct journal_view before, after;
    journal_view(f->home.journal, &before);
    assert_int_equal(
        journal_append(f->home.journal, &f->home.shard[1], JOURNAL_COMMIT_HINT, 9, 0, 0, &span),
        STATUS_OK);
    journal_flush(f->home.journal);
    journal_view(f->home.journal, &after);
    assert_int_equal(before.writes, after.writes);
    note(f, 1, 1);
    journal_flush(f->home.journal);
    journal_view(f->home.journal, &after);
    assert_int_equal(before.writes + 1, after.writes);
    release(f);
    free(f);
}

static void a_journal_that_is_gone_is_not_an_empty_one(void **state)
{
    (void)state;
    struct fixture *f = calloc(1, sizeof(*f));
    init(f, NULL);
    stop(f);
    struct journal_visitor v = {.context = f, .record = on_record, .damage = on_damage};
    struct error error;
    f->home.options.id[0] ^= 1;
    assert_int_equal(journal_open(&f->home.options, &f->home.journal, &error), STATUS_OK);
    assert_int_equal(journal_recover(f->home.journal, &v, &f->home.recovery, &error),
                     STATUS_CORRUPT);
    release(f);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flush_writes_what_has_gathered_in_one_block),
        cmocka_unit_test(both_backends),
        cmocka_unit_test(files_are_used_again_and_old_blocks_stay_dead),
        cmocka_unit_test(data_leaves_room_for_promises),
        cmocka_unit_test(the_largest_batch_fits),
        cmocka_unit_test(a_failed_write_ends_the_journal_for_good),
        cmocka_unit_test(a_block_torn_at_any_sector_is_dropped_and_nothing_else),
        cmocka_unit_test(damage_in_the_middle_is_confined_to_the_blocks_shards),
        cmocka_unit_test(damage_to_the_newest_block_is_never_called_torn),
        cmocka_unit_test(a_block_of_many_shards_is_still_confined),
        cmocka_unit_test(lazy_records_wait_for_others),
        cmocka_unit_test(a_journal_that_is_gone_is_not_an_empty_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
