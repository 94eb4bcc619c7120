/* Recoveries that were themselves cut off by a crash. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/journal/block.h"
#include "tests/support/journal_home.h"

enum { SHARDS = 3, PAYLOAD = 3000, FILE_BYTES = 64 * 1024 };

struct fixture {
    struct journal_home home;
    uint32_t records[SHARDS], damaged[SHARDS];
    bool all_damaged;
};

static enum status on_record(void *context, const struct journal_record *record)
{
    struct fixture *f = context;
    if (record->type == JOURNAL_DATA) {
        f->records[record->shard - 1000]++;
    }
    return STATUS_OK;
}

static enum status on_damage(void *context, uint64_t shard, bool all)
{
    struct fixture *f = context;
    f->all_damaged = f->all_damaged || all;
    if (!all) {
        f->damaged[shard - 1000]++;
    }
    return STATUS_OK;
}

static struct journal_visitor visitor_of(struct fixture *f)
{
    memset(f->records, 0, sizeof(f->records));
    memset(f->damaged, 0, sizeof(f->damaged));
    f->all_damaged = false;
    return (struct journal_visitor){.context = f, .record = on_record, .damage = on_damage};
}

static void recover(struct fixture *f)
{
    const struct journal_visitor visitor = visitor_of(f);
    journal_home_recover(&f->home, &visitor);
}

static void start(struct fixture *f)
{
    const struct journal_visitor visitor = visitor_of(f);
    journal_home_start(&f->home, &visitor);
}

static void stop(struct fixture *f)
{
    journal_home_stop(&f->home);
}

static void init(struct fixture *f)
{
    *f = (struct fixture){0};
    journal_home_init(&f->home, NULL);
    f->home.options.file_bytes = FILE_BYTES;
    f->home.options.ring_bytes = 256 * 1024;
    f->home.options.block_bytes = 16 * 1024;
    f->home.options.buffered = true;
    journal_home_format(&f->home);
    start(f);
}

static void release(struct fixture *f)
{
    journal_home_release(&f->home);
}

static void append(struct fixture *f, uint32_t shard)
{
    struct bytes batch = journal_home_batch(1000 + shard, PAYLOAD);
    struct journal_span span;
    assert_int_equal(journal_append_data(f->home.journal, &f->home.shard[shard], &batch, 1, &span),
                     STATUS_OK);
}

static void erase(int fd, uint64_t at, size_t size)
{
    static const uint8_t zeros[4096];
    for (; size > 0; size -= size < sizeof(zeros) ? size : sizeof(zeros)) {
        size_t part = size < sizeof(zeros) ? size : sizeof(zeros);
        assert_int_equal(pwrite(fd, zeros, part, (off_t)(at + size - part)), part);
    }
}

static void each_block(const struct fixture *f,
                       void (*each)(void *context, int fd, uint64_t at,
                                    const struct block_header *h),
                       void *context)
{
    for (uint32_t file = 0; file < f->home.options.files_max; file++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%04u", f->home.dir, file);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        for (uint64_t at = 0; fd >= 0 && at < FILE_BYTES; at += BLOCK_UNIT) {
            uint8_t sector[BLOCK_SECTOR];
            struct block_header h;
            assert_int_equal(pread(fd, sector, sizeof(sector), (off_t)at), sizeof(sector));
            if (journal_header_decode(sector, f->home.options.id, &h) == STATUS_OK) {
                each(context, fd, at, &h);
            }
        }
        if (fd >= 0) {
            (void)close(fd);
        }
    }
}

static void note_newest(void *context, int fd, uint64_t at, const struct block_header *h)
{
    uint64_t *newest = context;
    (void)fd;
    (void)at;
    *newest = h->number > *newest ? h->number : *newest;
}

static uint64_t newest_block(const struct fixture *f)
{
    uint64_t newest = 0;
    each_block(f, note_newest, &newest);
    return newest;
}

struct crash {
    uint64_t number; /* the block that was under way; of later ones nothing is left */
    bool header, end, trailer;
};

static void tear_block(void *context, int fd, uint64_t at, const struct block_header *h)
{
    const struct crash *crash = context;
    size_t body = h->bytes - BLOCK_SECTOR;
    if (h->number > crash->number) {
        erase(fd, at, h->bytes);
    }
    if (h->number != crash->number) {
        return;
    }
    if (!crash->header) {
        erase(fd, at, BLOCK_SECTOR);
    }
    if (!crash->end) {
        erase(fd, at + BLOCK_SECTOR + h->used / 4 * 3, h->used / 4);
    }
    if (!crash->trailer) {
        erase(fd, at + body, BLOCK_SECTOR);
    }
}

static void crash(const struct fixture *f, struct crash what)
{
    each_block(f, tear_block, &what);
}

/* One block with a record of shard 0, synced; one with records of the shards 1 and 2, torn in that
 * of shard 2. A recovery has dropped it, and written what it found behind it. Returns its first
 * block's number. */
static uint64_t recovered_once(struct fixture *f)
{
    init(f);
    append(f, 0);
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    append(f, 1);
    append(f, 2);
    assert_int_equal(journal_sync(f->home.journal), STATUS_OK);
    stop(f);
    uint64_t torn = newest_block(f);
    crash(f, (struct crash){.number = torn, .header = true});
    start(f);
    assert_int_equal(f->home.recovery.torn_blocks, 1);
    assert_int_equal(f->records[0], 1);
    assert_int_equal(f->records[1], 0);
    stop(f);
    uint64_t last = newest_block(f);
    assert_int_equal(last, torn + 3); /* one left out, the state, what makes it count */
    return torn + 2;
}

/* The same as the first found; and the state's own shard is uncertain when the mark is there. */
static void finds_the_same(const struct fixture *f, bool marked)
{
    assert_int_equal(f->records[0], 1);
    assert_int_equal(f->records[1], 0);
    assert_int_equal(f->records[2], 0);
    assert_false(f->all_damaged);
    assert_int_equal(f->damaged[0], marked ? 1 : 0);
    assert_int_equal(f->damaged[1], 0);
    assert_int_equal(f->damaged[2], 0);
    assert_int_equal(f->home.recovery.damaged_blocks, marked ? 1 : 0);
}

static void a_dropped_block_stays_dropped_wherever_the_next_recovery_is_cut(void **state)
{
    (void)state;
    for (unsigned left = 0; left < 8; left++) {
        struct fixture f;
        struct crash what = {
            .number = recovered_once(&f),
            .header = (left & 1) != 0,
            .end = (left & 2) != 0,
            .trailer = (left & 4) != 0,
        };
        crash(&f, what);
        if (!what.header && !what.trailer) {
            release(&f); /* nothing says that there was a recovery: the block is torn as before */
            continue;
        }
        bool marked = what.trailer && !(what.header && what.end);
        recover(&f);
        finds_the_same(&f, marked);
        stop(&f);
        /* A third one, cut off before its block counts, after the state. */
        uint64_t newest = what.number;
        start(&f);
        stop(&f);
        assert_int_equal(newest_block(&f), newest + 3);
        crash(&f,
              (struct crash){.number = newest + 2, .header = true, .end = true, .trailer = true});
        recover(&f);
        finds_the_same(&f, marked);
        release(&f);
    }
}

static void a_third_recovery_cut_to_its_trailer_finds_the_same(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t number = recovered_once(&f);
    crash(&f, (struct crash){.number = number, .trailer = true});
    start(&f);
    stop(&f);
    crash(&f, (struct crash){.number = number + 2, .trailer = true});
    recover(&f);
    assert_int_equal(f.records[0], 1);
    assert_int_equal(f.records[1] + f.records[2], 0);
    assert_false(f.all_damaged);
    assert_int_equal(f.damaged[0], 2); /* both states' */
    assert_int_equal(f.damaged[1] + f.damaged[2], 0);
    release(&f);
}

static void a_recovery_that_ended_stands_alone(void **state)
{
    (void)state;
    struct fixture f;
    (void)recovered_once(&f);
    recover(&f);
    assert_int_equal(f.records[0] + f.records[1] + f.records[2], 0); /* segments have them */
    assert_int_equal(f.home.recovery.damaged_blocks + f.home.recovery.torn_blocks, 0);
    assert_false(f.all_damaged);
    release(&f);
}

/* What was on its way when the process died may arrive when its journal has been read already. */
static void a_block_that_arrives_late_counts_for_nothing(void **state)
{
    (void)state;
    struct fixture f;
    init(&f);
    append(&f, 0);
    assert_int_equal(journal_sync(f.home.journal), STATUS_OK);
    append(&f, 1);
    assert_int_equal(journal_sync(f.home.journal), STATUS_OK);
    stop(&f);
    uint64_t late = newest_block(&f);
    struct late_block {
        int fd;
        uint64_t at;
        uint8_t bytes[2 * BLOCK_UNIT];
    } block = {.fd = -1};
    for (uint32_t file = 0; block.fd < 0; file++) {
        char path[256];
        (void)snprintf(path, sizeof(path), "%s/%04u", f.home.dir, file);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        for (uint64_t at = 0; block.fd < 0 && at + sizeof(block.bytes) <= FILE_BYTES;
             at += BLOCK_UNIT) {
            struct block_header h;
            assert_int_equal(pread(fd, block.bytes, sizeof(block.bytes), (off_t)at),
                             sizeof(block.bytes));
            if (journal_header_decode(block.bytes, f.home.options.id, &h) == STATUS_OK &&
                h.number == late) {
                assert_true(h.bytes <= sizeof(block.bytes));
                block.fd = fd;
                block.at = at;
                memset(block.bytes + h.bytes, 0, sizeof(block.bytes) - h.bytes);
            }
        }
        if (block.fd < 0) {
            (void)close(fd);
        }
    }
    erase(block.fd, block.at, sizeof(block.bytes));
    start(&f);
    assert_int_equal(f.records[1], 0);
    stop(&f);
    assert_int_equal(pwrite(block.fd, block.bytes, sizeof(block.bytes), (off_t)block.at),
                     sizeof(block.bytes));
    (void)close(block.fd);
    for (int both = 0; both < 2; both++) {
        recover(&f);
        assert_int_equal(f.records[1], 0);
        assert_int_equal(f.home.recovery.damaged_blocks, 0);
        assert_false(f.all_damaged);
        stop(&f);
        crash(&f, (struct crash){/* as if the recovery had been cut off behind its state */
                                 .number = late + 1,
                                 .header = true,
                                 .end = true,
                                 .trailer = true});
    }
    recover(&f);
    release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dropped_block_stays_dropped_wherever_the_next_recovery_is_cut),
        cmocka_unit_test(a_third_recovery_cut_to_its_trailer_finds_the_same),
        cmocka_unit_test(a_recovery_that_ended_stands_alone),
        cmocka_unit_test(a_block_that_arrives_late_counts_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
