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

static void note_shard(void *context, uint64_t shard)
{
    *(uint64_t *)context = shard;
}

static struct quarantine_info quarantine(struct store_fixture *f, uint64_t wall_ms,
                                         uint64_t keep_ms, uint64_t *out_shard)
{
    struct quarantine_info info;
    *out_shard = 0;
    assert_int_equal(store_quarantine(f->store, wall_ms, keep_ms, note_shard, out_shard, &info),
                     STATUS_OK);
    return info;
}

static void quarantine_counts_from_the_first_look_with_a_clock_and_over_restarts(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    uint64_t shard, lsn;
    assert_int_equal(quarantine(&f, 1000, 100, &shard).count, 0);
    struct shard_log *log = fixture_create(&f, SHARD_ID);
    fixture_append_many(&f, log, 1, 400, 1000);
    assert_int_equal(store_delete_shard(f.store, log, true, &lsn), STATUS_OK);
    assert_int_equal(store_sync(f.store, true), STATUS_OK);
    struct quarantine_info info = quarantine(&f, 0, 100, &shard); /* without a clock */
    assert_int_equal(info.count, 1);
    assert_int_equal(info.oldest_ms, 0);
    assert_int_equal(shard, SHARD_ID);
    assert_int_equal(quarantine(&f, 1000, 100, &shard).removed, 0); /* stamped now */
    fixture_close(&f);
    fixture_open(&f);
    info = quarantine(&f, 1099, 100, &shard);
    assert_int_equal(info.count, 1);
    assert_int_equal(info.oldest_ms, 1000);
    assert_int_equal(info.removed, 0);
    assert_int_equal(quarantine(&f, 900, 100, &shard).removed, 0); /* a clock that went back */
    assert_int_equal(quarantine(&f, 0, 100, &shard).removed, 0);   /* none */
    info = quarantine(&f, 1100, 100, &shard);
    assert_int_equal(info.removed, 1);
    assert_int_equal(info.count, 0);
    assert_int_equal(fixture_files_in(&f, "quarantine"), 0);
    fixture_release(&f);
}

static void quarantine_keeps_what_is_not_of_its_making(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    fixture_open(&f);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/quarantine", f.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/quarantine/notes.since-1", f.dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/quarantine/3-7-00000000000000000000.boot2.log.since-1",
                   f.dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    uint64_t shard;
    struct quarantine_info info = quarantine(&f, 1000, 100, &shard);
    assert_int_equal(info.removed, 1); /* the segment */
    assert_int_equal(fixture_files_in(&f, "quarantine"), 1);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quarantine_counts_from_the_first_look_with_a_clock_and_over_restarts),
        cmocka_unit_test(quarantine_keeps_what_is_not_of_its_making),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
