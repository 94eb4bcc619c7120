/* The end of a closed shard's log, over truncations and restarts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/store_fixture.h"

#define SHARD_ID ((uint64_t)3 << 32 | 7)

static struct shard_log *open_log(struct store_fixture *f)
{
    fixture_init(f);
    fixture_open(f);
    struct shard_log *log;
    uint64_t lsn;
    assert_int_equal(store_create_shard(f->store, SHARD_ID, 1, 0, &log, &lsn), STATUS_OK);
    fixture_wait(f, lsn);
    return log;
}

static void append_seal(struct store_fixture *f, struct shard_log *log, uint32_t epoch)
{
    struct log_point last = fixture_last(log);
    struct batch_slot slot = {.shard = SHARD_ID,
                              .base_offset = last.end,
                              .append_ms = 1000 + last.end,
                              .epoch = epoch,
                              .prev_crc = last.crc};
    uint8_t batch[BATCH_HEADER_BYTES + SEAL_BYTES];
    struct batch_header header;
    batch_make_seal(&slot, batch, &header);
    struct bytes part = bytes_of(batch, sizeof(batch));
    struct log_appended appended;
    assert_int_equal(shard_log_append(log, &header, &part, 1, &appended), STATUS_OK);
    fixture_wait(f, appended.lsn);
}

static uint64_t seal_of(const struct shard_log *log)
{
    struct replica_recovered recovered;
    shard_log_recovered(log, &recovered);
    return recovered.seal_end;
}

static struct shard_log *restart(struct store_fixture *f)
{
    fixture_close(f);
    fixture_open(f);
    return store_find_shard(f->store, SHARD_ID);
}

static void a_seal_is_known_after_restarts(void **state)
{
    (void)state;
    struct store_fixture f;
    struct shard_log *log = open_log(&f);
    fixture_wait(&f, fixture_append(&f, log, 1, 5, 1000));
    assert_int_equal(seal_of(log), 0);
    append_seal(&f, log, 1);
    assert_int_equal(seal_of(log), 6);
    log = restart(&f);
    assert_int_equal(seal_of(log), 6);
    fixture_wait(&f, fixture_append(&f, log, 2, 1, 64)); /* as an EPOCH_START would */
    for (int i = 0; i < 3; i++) {
        log = restart(&f);
        assert_int_equal(seal_of(log), 6);
    }
    fixture_release(&f);
}

/* Its record is long gone from the journal: the state at the head of each file says it. */
static void a_seal_is_known_when_the_journal_has_gone_on(void **state)
{
    (void)state;
    struct store_fixture f;
    struct shard_log *log = open_log(&f), *other;
    uint64_t lsn;
    append_seal(&f, log, 1);
    assert_int_equal(store_create_shard(f.store, SHARD_ID + 1, 1, 0, &other, &lsn), STATUS_OK);
    for (int i = 0; i < 4000; i++) {
        lsn = fixture_append(&f, other, 1, 1, 4000);
    }
    fixture_wait(&f, lsn);
    log = restart(&f);
    assert_int_equal(seal_of(log), 1);
    assert_int_equal(seal_of(store_find_shard(f.store, SHARD_ID + 1)), 0);
    fixture_release(&f);
}

static void a_seal_that_is_truncated_is_gone(void **state)
{
    (void)state;
    struct store_fixture f;
    struct shard_log *log = open_log(&f);
    fixture_wait(&f, fixture_append(&f, log, 1, 5, 1000));
    append_seal(&f, log, 1);
    uint64_t lsn;
    assert_int_equal(shard_log_truncate(log, 5, 2, &lsn), STATUS_OK);
    fixture_wait(&f, lsn);
    assert_int_equal(seal_of(log), 0);
    log = restart(&f);
    assert_int_equal(seal_of(log), 0);
    fixture_wait(&f, fixture_append(&f, log, 2, 3, 100));
    append_seal(&f, log, 2);
    log = restart(&f);
    assert_int_equal(seal_of(log), 9);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seal_is_known_after_restarts),
        cmocka_unit_test(a_seal_is_known_when_the_journal_has_gone_on),
        cmocka_unit_test(a_seal_that_is_truncated_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
