#include "controller/db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "tests/unit/controller/command/script.h"

static const char rows[] = "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n> broker 3 zone=c\n"
                           "> create s shards=5 request=4\n> active 1/0\n> delete s\n"
                           "> create t shards=2 hours=50\n";
static const char show[] = "> show\n> show brokers\n> show streams\n> show shards\n> show drops\n";

static int open_script(void **state)
{
    static struct script script;
    script_open(&script);
    *state = &script;
    return 0;
}

static int close_script(void **state)
{
    script_close(*state);
    return 0;
}

static void path_in(const struct script *script, const char *name, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", script->dir, name);
}

static void rows_and_index_are_there_after_a_restart(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    char *before = strdup(script_run(script, show));
    struct db_meta meta = *db_meta(script->db);
    script_restart(script);
    assert_string_equal(script_run(script, show), before);
    assert_int_equal(db_meta(script->db)->applied_index, 8);
    assert_true(db_meta(script->db)->state_hash == meta.state_hash);
    assert_int_equal(db_meta(script->db)->next_stream, 3);
    free(before);
}

static void an_uncommitted_entry_leaves_nothing(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    char *before = strdup(script_run(script, show));
    db_begin(script->db);
    db_stream_delete(script->db, 2);
    struct db_stream stream;
    assert_false(db_stream_get(script->db, 2, &stream));
    script_restart(script); /* closes in the middle */
    assert_string_equal(script_run(script, show), before);
    free(before);
}

static void an_aborted_transaction_does_not_commit(void **state)
{
    struct script *script = *state;
    (void)script_run(script, "> bootstrap\n");
    db_begin(script->db);
    (void)db_producers_take(script->db, 5);
    db_abort(script->db, STATUS_NO_MEMORY, "the test wants it");
    struct error error;
    assert_int_equal(db_commit(script->db, 2, 0, &error), STATUS_NO_MEMORY);
    assert_non_null(strstr(error.text, "the test wants it"));
    script_restart(script);
    assert_int_equal(db_meta(script->db)->applied_index, 1);
    assert_int_equal(db_meta(script->db)->next_producer, 1);
}

static void a_copy_taken_meanwhile_restores_all_rows_elsewhere(void **state)
{
    struct script *script = *state;
    char copy[128];
    path_in(script, "copy", copy);
    (void)script_run(script, rows);
    char *before = strdup(script_run(script, show));
    uint64_t index = 0, hash = db_meta(script->db)->state_hash;
    assert_int_equal(db_copy(script->path, copy, &index, NULL), STATUS_OK);
    assert_int_equal(index, 8);
    (void)script_run(script, "> retention t hours=1\n> down 3\n");

    struct script other;
    script_open(&other);
    (void)script_run(&other, "> bootstrap cluster=5\n> producers\n");
    struct error error = {0};
    assert_int_equal(db_restore(other.db, copy, &error), STATUS_OK);
    other.index = db_meta(other.db)->applied_index;
    assert_int_equal(other.index, 8);
    assert_true(db_meta(other.db)->state_hash == hash);
    assert_string_equal(script_run(&other, show), before);
    /* The same log from there on gives the same state, now and after a restart. */
    (void)script_run(&other, "> retention t hours=1\n> down 3\n");
    script_restart(&other);
    assert_true(db_meta(other.db)->state_hash == db_meta(script->db)->state_hash);
    script_close(&other);
    (void)unlink(copy);
    free(before);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Overwrites the middle of a file. */
static void damage_file(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, st.st_size / 2, SEEK_SET), 0);
    for (int i = 0; i < 4096; i++) {
        assert_int_equal(fputc(0xa5, file), 0xa5);
    }
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_copy_is_refused_and_the_old_state_stays(void **state)
{
    struct script *script = *state;
    char copy[128];
    path_in(script, "copy", copy);
    (void)script_run(script, rows);
    char *before = strdup(script_run(script, show));
    uint64_t index = 0;
    struct error error;
    assert_int_equal(db_copy(script->path, copy, &index, NULL), STATUS_OK);
    damage_file(copy);
    assert_int_equal(db_restore(script->db, copy, &error), STATUS_CORRUPT);
    write_file(copy, "this is no database, whatever its name says, and it is long enough");
    assert_int_equal(db_restore(script->db, copy, &error), STATUS_CORRUPT);
    assert_int_equal(unlink(copy), 0);
    assert_int_equal(db_restore(script->db, copy, &error), STATUS_IO);
    assert_string_equal(script_run(script, show), before);
    free(before);
}

static void a_copy_that_cannot_be_written_leaves_no_file(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    uint64_t index = 77;
    struct error error;
    assert_int_equal(db_copy(script->path, "/nowhere/copy", &index, &error), STATUS_IO);
    assert_int_equal(index, 77);
    assert_int_equal(db_copy("/nowhere/state.db", "/nowhere/copy", &index, &error), STATUS_IO);
}

static void a_foreign_or_newer_file_is_refused(void **state)
{
    struct script *script = *state;
    char path[128];
    path_in(script, "other.db", path);
    struct db *db = NULL;
    struct error error;
    write_file(path, "this is no database, whatever its name says, and it is long enough");
    assert_int_equal(db_open(path, &db, &error), STATUS_CORRUPT);
    assert_int_equal(unlink(path), 0);

    sqlite3 *sql = NULL;
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(sql, "PRAGMA application_id = 7; CREATE TABLE t (a)", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_close(sql), SQLITE_OK);
    assert_int_equal(db_open(path, &db, &error), STATUS_CORRUPT);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(db_open(path, &db, &error), STATUS_OK);
    db_close(db);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, "PRAGMA user_version = 999", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(sql), SQLITE_OK);
    assert_int_equal(db_open(path, &db, &error), STATUS_UNSUPPORTED);
    assert_non_null(strstr(error.text, "newer"));
    assert_int_equal(unlink(path), 0);
}

static void a_write_that_fails_is_told_and_nothing_is_committed(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    struct db_meta before = *db_meta(script->db);
    /* A trigger stands for a disk that refuses. */
    sqlite3 *sql = NULL;
    assert_int_equal(sqlite3_open(script->path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql,
                                  "CREATE TRIGGER no BEFORE DELETE ON streams BEGIN "
                                  "SELECT raise(ABORT, 'no space, says the test'); END",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    db_begin(script->db);
    (void)db_producers_take(script->db, 5);
    db_stream_delete(script->db, 2);
    struct db_stream stream;
    assert_false(db_stream_get(script->db, 1, &stream)); /* finds nothing any more */
    struct error error;
    assert_int_equal(db_commit(script->db, before.applied_index + 1, 0, &error), STATUS_IO);
    assert_non_null(strstr(error.text, "no space, says the test"));
    script_restart(script);
    assert_memory_equal(&before, db_meta(script->db), sizeof(before));
    assert_int_equal(sqlite3_exec(sql, "DROP TRIGGER no", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(sql), SQLITE_OK);
}

static void the_wal_grows_until_a_checkpoint(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    uint32_t pages = db_wal_pages(script->db);
    assert_true(pages > 0);
    assert_int_equal(db_checkpoint(script->path, NULL), STATUS_OK);
    (void)script_run(script, "> producers\n");
    assert_true(db_wal_pages(script->db) < pages);
}

static void results_are_kept_up_to_a_number(void **state)
{
    struct script *script = *state;
    (void)script_run(script, "> bootstrap\n");
    uint8_t request[DB_REQUEST_BYTES] = {0};
    struct db_result result = {.status = STATUS_EXISTS, .text = "it is there"};
    db_begin(script->db);
    for (uint32_t i = 0; i < DB_REQUESTS_MAX + 2; i++) {
        put_u32(request, i);
        db_request_put(script->db, request, &result);
    }
    assert_int_equal(db_commit(script->db, 2, 0, NULL), STATUS_OK);
    struct db_result got;
    put_u32(request, 1);
    assert_false(db_request_get(script->db, request, &got));
    put_u32(request, 2);
    assert_true(db_request_get(script->db, request, &got));
    assert_int_equal(got.status, STATUS_EXISTS);
    assert_string_equal(got.text, "it is there");
    buf_release(&got.body);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_script, close_script)
    const struct CMUnitTest tests[] = {
        TEST(rows_and_index_are_there_after_a_restart),
        TEST(an_uncommitted_entry_leaves_nothing),
        TEST(an_aborted_transaction_does_not_commit),
        TEST(a_copy_taken_meanwhile_restores_all_rows_elsewhere),
        TEST(a_damaged_copy_is_refused_and_the_old_state_stays),
        TEST(a_copy_that_cannot_be_written_leaves_no_file),
        TEST(a_foreign_or_newer_file_is_refused),
        TEST(a_write_that_fails_is_told_and_nothing_is_committed),
        TEST(the_wal_grows_until_a_checkpoint),
        TEST(results_are_kept_up_to_a_number),
    };
    return cmocka_run_group_tests_name("db", tests, NULL, NULL);
}
