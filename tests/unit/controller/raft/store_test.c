/* The log on disk: what was acknowledged is there after a crash, and damage is never overlooked. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "controller/raft/snapshot_file.h"
#include "controller/raft/store.h"

struct place {
    char dir[64], copy[64];
    struct raft_store *store;
    struct raft_core_state state;
    struct error error;
};

static const uint32_t three[] = {1, 2, 3};

static void wrote(void *data)
{
    (void)data;
}

static enum status place_open(struct place *place, const char *dir)
{
    struct raft_store_options options = {
        .dir = dir, .id = 2, .ids = three, .id_count = 3, .written = wrote};
    return raft_store_open(&options, &place->state, &place->store, &place->error);
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    (void)snprintf(place->dir, sizeof(place->dir), "/tmp/weir-raft-store-XXXXXX");
    (void)snprintf(place->copy, sizeof(place->copy), "/tmp/weir-raft-copy-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    assert_non_null(mkdtemp(place->copy));
    *state = place;
    return 0;
}

static void remove_dir(const char *dir)
{
    char command[512];
    (void)snprintf(command, sizeof(command), "rm -rf -- '%s'", dir);
    assert_int_equal(system(command), 0);
}

static int tear_down(void **state)
{
    struct place *place = *state;
    remove_dir(place->dir);
    remove_dir(place->copy);
    free(place);
    return 0;
}

static void wait_for(struct place *place, uint64_t write)
{
    uint64_t done = 0;
    while (done < write) {
        assert_int_equal(raft_store_written(place->store, &done, &place->error), STATUS_OK);
        usleep(500);
    }
}

/* Entries [from, to] of `term`, each holding its index and the term. */
static uint64_t put(struct place *place, uint64_t from, uint64_t to, uint64_t term)
{
    uint64_t write = 0;
    for (uint64_t index = from; index <= to; index++) {
        uint8_t data[600] = {0};
        put_u64(data, index);
        put_u64(data + 8, term);
        struct raft_entry_view entry = {
            .index = index, .term = term, .type = RAFT_COMMAND, .data = bytes_of(data, 600)};
        assert_int_equal(raft_store_append(place->store, index, &entry, 1, &write), STATUS_OK);
    }
    return write;
}

/* What a power failure or kill -9 now would leave behind. */
static void copy_as_it_is(struct place *place)
{
    char command[256];
    (void)snprintf(command, sizeof(command), "rm -rf '%s' && cp -a '%s' '%s'", place->copy,
                   place->dir, place->copy);
    assert_int_equal(system(command), 0);
}

static void assert_entry(struct place *place, uint64_t index, uint64_t term)
{
    struct buf data = {0};
    uint64_t got = 0;
    uint32_t type = 0;
    assert_int_equal(raft_store_load(place->store, index, &got, &type, &data), STATUS_OK);
    assert_int_equal(got, term);
    assert_int_equal(get_u64(data.data), index);
    assert_int_equal(get_u64(data.data + 8), term);
    buf_release(&data);
}

static void an_empty_directory_is_bootstrapped_with_the_initial_set(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.term, 1);
    assert_int_equal(place->state.voted_for, 0);
    assert_int_equal(place->state.first, 1);
    assert_int_equal(place->state.count, 1);
    assert_int_equal(place->state.entries[0].type, RAFT_CHANGE);
    assert_true(raft_configuration_is_sound(place->state.entries[0].data));
    raft_store_close(place->store);
    /* and only once */
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.count, 1);
    raft_store_close(place->store);
}

static void what_was_acknowledged_survives_a_crash(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(raft_store_save_vote(place->store, 4, 3), STATUS_OK);
    wait_for(place, put(place, 2, 200, 4));
    copy_as_it_is(place);
    raft_store_close(place->store);
    assert_int_equal(place_open(place, place->copy), STATUS_OK);
    assert_int_equal(place->state.term, 4);
    assert_int_equal(place->state.voted_for, 3);
    assert_int_equal(place->state.count, 200);
    assert_entry(place, 2, 4);
    assert_entry(place, 200, 4);
    raft_store_close(place->store);
}

/* The mark has its name before the database is made. */
static void a_crash_during_the_first_start_leaves_nothing_behind(void **state)
{
    struct place *place = *state;
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/raft.mark", place->dir);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.count, 1);
    raft_store_close(place->store);
    /* but not when it has a word in it */
    (void)snprintf(path, sizeof(path), "%s/raft.db", place->dir);
    assert_int_equal(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/raft.db-wal", place->dir);
    (void)unlink(path);
    assert_int_equal(place_open(place, place->dir), STATUS_CORRUPT);
}

static void later_entries_replace_the_end(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    (void)put(place, 2, 50, 1);
    wait_for(place, put(place, 21, 30, 2));
    raft_store_close(place->store);
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.count, 30);
    assert_entry(place, 20, 1);
    assert_entry(place, 21, 2);
    assert_entry(place, 30, 2);
    struct buf data = {0};
    uint64_t term;
    uint32_t type;
    assert_int_equal(raft_store_load(place->store, 31, &term, &type, &data), STATUS_CORRUPT);
    buf_release(&data);
    raft_store_close(place->store);
}

static void make_snapshot(struct place *place, struct raft_snapshot_info *info, uint64_t index)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    struct raft_entry_view *first = &place->state.entries[0];
    *info = (struct raft_snapshot_info){.index = index, .term = 1, .configuration_index = 1};
    memcpy(info->configuration, first->data.data, first->data.size);
    info->configuration_size = first->data.size;
    raft_snapshot_taking_path(place->dir, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) {
        (void)fprintf(file, "%d of %llu\n", i, (unsigned long long)index);
    }
    assert_int_equal(fclose(file), 0);
    assert_int_equal(raft_snapshot_measure(path, true, &info->bytes, info->hash, &place->error),
                     STATUS_OK);
    assert_int_equal(raft_snapshot_publish_taking(place->dir, index, &place->error), STATUS_OK);
}

static void snapshots_let_the_log_be_compacted(void **state)
{
    struct place *place = *state;
    struct raft_snapshot_info info;
    uint64_t write;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    (void)put(place, 2, 100, 1);
    make_snapshot(place, &info, 80);
    assert_int_equal(raft_store_save_snapshot(place->store, &info, &write), STATUS_OK);
    wait_for(place, write);
    assert_int_equal(raft_store_compact(place->store, 70), STATUS_OK);
    make_snapshot(place, &info, 90);
    assert_int_equal(raft_store_save_snapshot(place->store, &info, &write), STATUS_OK);
    wait_for(place, write);
    raft_store_close(place->store);
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(place->dir, 80, path);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.snapshot.index, 90);
    assert_int_equal(place->state.first, 71);
    assert_int_equal(place->state.count, 30);
    raft_store_close(place->store);
    /* a damaged snapshot */
    raft_snapshot_path(place->dir, 90, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "X", 1, 50), 1);
    close(fd);
    assert_int_equal(place_open(place, place->dir), STATUS_CORRUPT);
    assert_non_null(strstr(place->error.text, "damaged"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(place_open(place, place->dir), STATUS_CORRUPT);
    assert_non_null(strstr(place->error.text, "missing"));
}

static void a_received_snapshot_replaces_the_log(void **state)
{
    struct place *place = *state;
    struct raft_snapshot_info info;
    struct raft_snapshot_io io;
    uint64_t write;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    (void)put(place, 2, 100, 1);
    make_snapshot(place, &info, 500);
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(place->dir, 500, path);
    raft_snapshot_io_init(&io, place->dir);
    /* the wrong bytes, then the right ones, in pieces */
    assert_int_equal(raft_snapshot_receive_begin(&io), STATUS_OK);
    assert_int_equal(raft_snapshot_receive_append(&io, bytes_of("wrong", 5)), STATUS_OK);
    assert_int_equal(raft_snapshot_receive_end(&io, info.hash), STATUS_CORRUPT);
    assert_int_equal(raft_snapshot_receive_begin(&io), STATUS_OK);
    for (uint64_t at = 0; at < info.bytes; at += 1000) {
        uint8_t piece[1000];
        size_t size = info.bytes - at < 1000 ? info.bytes - at : 1000;
        assert_int_equal(raft_snapshot_read(&io, 500, at, piece, size), STATUS_OK);
        assert_int_equal(raft_snapshot_receive_append(&io, bytes_of(piece, size)), STATUS_OK);
    }
    assert_int_equal(raft_snapshot_receive_end(&io, info.hash), STATUS_OK);
    raft_snapshot_io_release(&io);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(raft_store_install(place->store, &info, &write), STATUS_OK);
    wait_for(place, write);
    (void)put(place, 501, 502, 1);
    raft_store_close(place->store);
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.snapshot.index, 500);
    assert_int_equal(place->state.first, 501);
    assert_int_equal(place->state.count, 2);
    raft_store_close(place->store);
}

static off_t size_of(const char *dir, const char *name)
{
    char path[128];
    struct stat stat_of;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    return stat(path, &stat_of) == 0 ? stat_of.st_size : 0;
}

static void flip(const char *dir, const char *name, off_t at)
{
    char path[128];
    uint8_t byte = 0;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void a_flipped_byte_in_the_write_ahead_log_is_not_a_shorter_log(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    for (uint64_t index = 2; index < 60; index++) {
        wait_for(place, put(place, index, index, 1));
    }
    copy_as_it_is(place);
    off_t size = size_of(place->copy, "raft.db-wal");
    assert_true(size > 100000);
    raft_store_close(place->store);
    for (off_t at = size / 3; at < size; at += size / 7) {
        char command[256];
        (void)snprintf(command, sizeof(command), "rm -rf '%s.x' && cp -a '%s' '%s.x'", place->copy,
                       place->copy, place->copy);
        assert_int_equal(system(command), 0);
        (void)snprintf(command, sizeof(command), "%s.x", place->copy);
        flip(command, "raft.db-wal", at);
        assert_int_equal(place_open(place, command), STATUS_CORRUPT);
        assert_non_null(strstr(place->error.text, "replace"));
        remove_dir(command);
    }
    /* unharmed, it opens */
    assert_int_equal(place_open(place, place->copy), STATUS_OK);
    assert_int_equal(place->state.count, 59);
    raft_store_close(place->store);
}

static void a_lost_write_ahead_log_is_found(void **state)
{
    struct place *place = *state;
    char path[128];
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    wait_for(place, put(place, 2, 20, 1));
    copy_as_it_is(place);
    raft_store_close(place->store);
    (void)snprintf(path, sizeof(path), "%s/raft.db-wal", place->copy);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(place_open(place, place->copy), STATUS_CORRUPT);
}

/* After a clean end everything is in raft.db; without its log SQLite must take it as it is. */
static void close_and_forget_write_ahead_log(struct place *place)
{
    char path[128];
    raft_store_close(place->store);
    (void)snprintf(path, sizeof(path), "%s/raft.db-wal", place->dir);
    assert_int_equal(unlink(path), 0);
}

static void a_flipped_byte_in_the_database_is_found(void **state)
{
    struct place *place = *state;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    wait_for(place, put(place, 2, 100, 1));
    close_and_forget_write_ahead_log(place);
    off_t size = size_of(place->dir, "raft.db");
    assert_true(size > 60000);
    unsigned found = 0, tried = 0;
    for (off_t at = 4096; at < size; at += 997) {
        copy_as_it_is(place);
        flip(place->copy, "raft.db", at);
        tried++;
        enum status status = place_open(place, place->copy);
        if (status == STATUS_OK) {
            /* A byte that means nothing: the log must be all there. */
            assert_int_equal(place->state.count, 100);
            assert_entry(place, 100, 1);
            raft_store_close(place->store);
        } else {
            assert_int_equal(status, STATUS_CORRUPT);
            found++;
        }
    }
    assert_true(found > tried / 2);
}

static void a_cut_database_is_found(void **state)
{
    struct place *place = *state;
    char path[128];
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    wait_for(place, put(place, 2, 100, 1));
    close_and_forget_write_ahead_log(place);
    (void)snprintf(path, sizeof(path), "%s/raft.db", place->dir);
    assert_int_equal(truncate(path, size_of(place->dir, "raft.db") / 2), 0);
    assert_int_equal(place_open(place, place->dir), STATUS_CORRUPT);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(place_open(place, place->dir), STATUS_CORRUPT);
}

static void the_directory_of_another_is_refused(void **state)
{
    struct place *place = *state;
    const uint32_t others[] = {1, 2, 4};
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    struct raft_store *store;
    struct raft_store_options options = {
        .dir = place->dir, .id = 2, .ids = three, .id_count = 3, .written = wrote};
    assert_int_equal(raft_store_open(&options, &place->state, &store, &place->error),
                     STATUS_INVALID); /* it is open */
    raft_store_close(place->store);
    options.id = 3;
    assert_int_equal(raft_store_open(&options, &place->state, &store, &place->error),
                     STATUS_INVALID);
    assert_non_null(strstr(place->error.text, "belongs to controller-2"));
    options.id = 2;
    options.ids = others;
    assert_int_equal(raft_store_open(&options, &place->state, &store, &place->error),
                     STATUS_INVALID);
}

static void a_failed_write_stops_the_store(void **state)
{
    struct place *place = *state;
    struct rlimit limit, before;
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    wait_for(place, put(place, 2, 5, 1));
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)size_of(place->dir, "raft.db-wal") + 100;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)put(place, 6, 6, 1);
    uint64_t done = 0;
    enum status status;
    do {
        usleep(1000);
        status = raft_store_written(place->store, &done, &place->error);
    } while (status == STATUS_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(status == STATUS_IO || status == STATUS_DISK_FULL);
    /* and for good, though there would be space again */
    assert_int_not_equal(raft_store_save_vote(place->store, 9, 1), STATUS_OK);
    uint8_t data[8] = {0};
    struct raft_entry_view entry = {
        .index = 6, .term = 1, .type = RAFT_COMMAND, .data = bytes_of(data, 8)};
    assert_int_not_equal(raft_store_append(place->store, 6, &entry, 1, &done), STATUS_OK);
    raft_store_close(place->store);
    /* a restart finds what was acknowledged */
    assert_int_equal(place_open(place, place->dir), STATUS_OK);
    assert_int_equal(place->state.term, 1);
    assert_int_equal(place->state.count, 5);
    raft_store_close(place->store);
}

static ssize_t write_to(int fd, const void *data, size_t size)
{
    return write(fd, data, size);
}

/* The child of the next test: appends for ever, and reports through `fd` what is written. */
static _Noreturn void write_and_report(struct place *place, int fd)
{
    if (place_open(place, place->dir) != STATUS_OK) {
        _exit(1);
    }
    uint64_t next = place->state.first + place->state.count;
    for (;;) {
        uint64_t write = put(place, next, next + 2, 1), done = 0;
        next += 3;
        while (done < write) {
            status_ignore(raft_store_written(place->store, &done, NULL), "a child");
        }
        uint64_t reported = next - 1;
        if (write_to(fd, &reported, sizeof(reported)) < 0) {
            _exit(1);
        }
    }
}

/* kill -9 in the middle of writing: everything that the child reported is there. */
static void a_killed_process_loses_nothing_that_it_reported(void **state)
{
    struct place *place = *state;
    for (int round = 0; round < 5; round++) {
        int pipe_fds[2];
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipe_fds[0]);
            write_and_report(place, pipe_fds[1]);
        }
        close(pipe_fds[1]);
        uint64_t reported = 0;
        for (int i = 0; i < 40 + 13 * round; i++) {
            assert_int_equal(read(pipe_fds[0], &reported, sizeof(reported)), sizeof(reported));
        }
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        while (read(pipe_fds[0], &reported, sizeof(reported)) == sizeof(reported)) {
        }
        close(pipe_fds[0]);
        assert_int_equal(place_open(place, place->dir), STATUS_OK);
        assert_true(place->state.first + place->state.count - 1 >= reported);
        raft_store_close(place->store);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(an_empty_directory_is_bootstrapped_with_the_initial_set),
        TEST(what_was_acknowledged_survives_a_crash),
        TEST(a_crash_during_the_first_start_leaves_nothing_behind),
        TEST(later_entries_replace_the_end),
        TEST(snapshots_let_the_log_be_compacted),
        TEST(a_received_snapshot_replaces_the_log),
        TEST(a_flipped_byte_in_the_write_ahead_log_is_not_a_shorter_log),
        TEST(a_lost_write_ahead_log_is_found),
        TEST(a_flipped_byte_in_the_database_is_found),
        TEST(a_cut_database_is_found),
        TEST(the_directory_of_another_is_refused),
        TEST(a_failed_write_stops_the_store),
        TEST(a_killed_process_loses_nothing_that_it_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
