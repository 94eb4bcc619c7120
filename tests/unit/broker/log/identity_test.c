/* A data directory that is not ours, or not whole, is refused with a sentence. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "tests/support/fake_disk.h"
#include "tests/support/store_fixture.h"

static enum status try_open(struct store_fixture *f, const char *sentence)
{
    struct error error = {0};
    struct store *store = NULL;
    enum status status = store_open(&f->options, &store, &error);
    if (status == STATUS_OK) {
        store_close(store);
    } else {
        assert_non_null(strstr(error.text, sentence));
    }
    return status;
}

static int open_file(const struct store_fixture *f, const char *name)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", f->dir, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void spoil(const struct store_fixture *f, const char *name, off_t at)
{
    int fd = open_file(f, name);
    assert_int_equal(pwrite(fd, "spoiled", 7, at), 7);
    (void)close(fd);
}

static void setup(struct store_fixture *f)
{
    fixture_init(f);
    fixture_open(f);
    struct shard_log *log;
    uint64_t lsn;
    assert_int_equal(store_create_shard(f->store, 1, 1, 0, &log, &lsn), STATUS_OK);
    fixture_wait(f, fixture_append(f, log, 1, 1, 100));
    fixture_close(f);
}

static void another_brokers_directory(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    f.options.broker = 2;
    assert_int_equal(try_open(&f, "belongs to broker 1, this is broker 2"), STATUS_INVALID);
    f.options.broker = 0;
    assert_int_equal(try_open(&f, "must not be 0"), STATUS_INVALID);
    fixture_release(&f);
}

static void another_clusters_directory(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    static const uint8_t ours[CLUSTER_ID_BYTES] = {1}, theirs[CLUSTER_ID_BYTES] = {2};
    struct error error;
    assert_int_equal(store_join_cluster(f.store, ours, &error), STATUS_OK);
    assert_int_equal(store_join_cluster(f.store, ours, &error), STATUS_OK);
    assert_int_equal(store_join_cluster(f.store, theirs, &error), STATUS_WRONG_CLUSTER);
    fixture_close(&f);
    memcpy(f.options.cluster_id, theirs, CLUSTER_ID_BYTES);
    assert_int_equal(try_open(&f, "another cluster"), STATUS_WRONG_CLUSTER);
    memcpy(f.options.cluster_id, ours, CLUSTER_ID_BYTES);
    assert_int_equal(try_open(&f, ""), STATUS_OK);
    fixture_release(&f);
}

static void two_processes(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    fixture_open(&f);
    assert_int_equal(try_open(&f, "another process"), STATUS_BUSY);
    fixture_release(&f);
}

static void one_good_copy_of_the_identity_is_enough(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    spoil(&f, "identity", 20);
    spoil(&f, "identity", 8192 + 20);
    assert_int_equal(try_open(&f, ""), STATUS_OK);
    spoil(&f, "identity", 4096 + 20);
    assert_int_equal(try_open(&f, "damaged"), STATUS_CORRUPT);
    fixture_release(&f);
}

static void an_identity_that_is_gone_is_not_an_empty_directory(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/identity", f.dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(&f, "identity is gone"), STATUS_CORRUPT);
    fixture_release(&f);
}

static void a_newer_format(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    int fd = open_file(&f, "identity");
    uint8_t sector[512];
    for (off_t at = 0; at < 3 * 4096; at += 4096) {
        assert_int_equal(pread(fd, sector, sizeof(sector), at), sizeof(sector));
        put_u32(sector + 8, 2);
        put_u32(sector + 4, crc32c(0, sector + 8, sizeof(sector) - 8));
        assert_int_equal(pwrite(fd, sector, sizeof(sector), at), sizeof(sector));
    }
    (void)close(fd);
    assert_int_equal(try_open(&f, "written by a newer Weir"), STATUS_UNSUPPORTED);
    fixture_release(&f);
}

static void a_journal_that_is_gone(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f);
    char command[256];
    (void)snprintf(command, sizeof(command), "rm '%s'/journal/*", f.dir);
    assert_int_equal(system(command), 0);
    assert_int_equal(try_open(&f, "journal"), STATUS_CORRUPT);
    fixture_release(&f);
}

static void the_boot_id_rises_and_survives_one_bad_slot(void **state)
{
    (void)state;
    struct store_fixture f;
    setup(&f); /* boot 1, slot 1 */
    struct store_info info;
    for (uint64_t boot = 2; boot < 5; boot++) {
        fixture_open(&f);
        store_info(f.store, &info);
        assert_int_equal(info.boot_id, boot);
        fixture_close(&f);
    }
    spoil(&f, "boot", 4096 + 8); /* slot of 3; the newest, 4, is in the other */
    fixture_open(&f);
    store_info(f.store, &info);
    assert_int_equal(info.boot_id, 7); /* for all that can be told, 5 was in it */
    fixture_close(&f);
    spoil(&f, "boot", 4096 + 8); /* the newest */
    fixture_open(&f);
    store_info(f.store, &info);
    assert_true(info.boot_id > 7);
    fixture_close(&f);
    spoil(&f, "boot", 8);
    spoil(&f, "boot", 4096 + 8);
    assert_int_equal(try_open(&f, "boot id"), STATUS_CORRUPT);
    fixture_release(&f);
}

static void a_directory_that_cannot_be_made(void **state)
{
    (void)state;
    struct store_fixture f;
    fixture_init(&f);
    f.options.dir = "/proc/weir-no-such";
    assert_int_equal(try_open(&f, "cannot make the directory"), STATUS_NOT_FOUND);
    f.options.dir = f.dir;
    fixture_release(&f);
}

/* Every write and every sync of the first start fails once; the next start must then succeed. */
static void a_first_start_that_fails_anywhere_can_be_repeated(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 60; n++) {
        struct store_fixture f;
        struct fake_disk fake;
        fake_disk_init(&fake, n);
        fixture_init(&f);
        f.options.disk = &fake.disk;
        fake.fail_write = n % 2 == 0 ? n / 2 : 0;
        fake.fail_sync = n % 2 == 1 ? n / 2 + 1 : 0;
        struct error error;
        struct store *store = NULL;
        enum status status = store_open(&f.options, &store, &error);
        if (status == STATUS_OK) {
            store_close(store);
        } else {
            assert_int_equal(status, STATUS_IO);
        }
        fake_disk_power(&fake, FAKE_LOSE_ALL);
        fixture_open(&f);
        fixture_release(&f);
        fake_disk_release(&fake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_brokers_directory),
        cmocka_unit_test(another_clusters_directory),
        cmocka_unit_test(two_processes),
        cmocka_unit_test(one_good_copy_of_the_identity_is_enough),
        cmocka_unit_test(an_identity_that_is_gone_is_not_an_empty_directory),
        cmocka_unit_test(a_newer_format),
        cmocka_unit_test(a_journal_that_is_gone),
        cmocka_unit_test(the_boot_id_rises_and_survives_one_bad_slot),
        cmocka_unit_test(a_directory_that_cannot_be_made),
        cmocka_unit_test(a_first_start_that_fails_anywhere_can_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
