#include "controller/db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

static void run(const char *path, const char *sql)
{
    sqlite3 *file = NULL;
    assert_int_equal(sqlite3_open(path, &file), SQLITE_OK);
    char *text = NULL;
    int code = sqlite3_exec(file, sql, NULL, NULL, &text);
    assert_string_equal(text == NULL ? "" : text, "");
    assert_int_equal(code, SQLITE_OK);
    assert_int_equal(sqlite3_close(file), SQLITE_OK);
}

static struct db *open_db(const char *path)
{
    struct db *db = NULL;
    struct error error = {0};
    enum status status = db_open(path, &db, &error);
    assert_string_equal(error.text, "");
    assert_int_equal(status, STATUS_OK);
    return db;
}

static void commit(struct db *db, uint64_t index)
{
    struct error error = {0};
    assert_int_equal(db_commit(db, index, 0, &error), STATUS_OK);
}

/* The first format had none of these tables. */
static void make_old(const char *path)
{
    run(path, "DROP TABLE stream_attributes; DROP TABLE settings; DROP TABLE access_keys;"
              "DROP TABLE token_keys; UPDATE meta SET format = 1; PRAGMA user_version = 1;");
}

static void uses_all(struct db *db, uint64_t index)
{
    Weir__StreamAttributes *attributes = db_attributes_get(db, 3);
    Weir__ClusterSettings *settings = db_settings_get(db);
    assert_non_null(attributes);
    assert_non_null(settings);
    assert_int_equal(attributes->change, 0);
    attributes->change = 9;
    settings->keys_version = 8;
    db_begin(db);
    db_attributes_put(db, 3, attributes);
    db_settings_put(db, settings);
    db_key_put(db, &(struct db_key){.id = "WEIRAAAAAAAAAAAAAAAA", .name = "joe"});
    db_token_key_add(db, bytes_of("x", 1));
    commit(db, index);
    weir__stream_attributes__free_unpacked(attributes, NULL);
    weir__cluster_settings__free_unpacked(settings, NULL);
    assert_int_equal(db_key_count(db), 1);
}

static void an_older_file_gets_the_tables_that_it_lacks(void **state)
{
    const char *path = *state;
    struct db *db = open_db(path);
    db_begin(db);
    commit(db, 1);
    db_close(db);
    make_old(path);
    db = open_db(path);
    assert_int_equal(db_meta(db)->applied_index, 1);
    uses_all(db, 2);
    db_close(db);
    db = open_db(path);
    Weir__StreamAttributes *attributes = db_attributes_get(db, 3);
    assert_int_equal(attributes->change, 9);
    weir__stream_attributes__free_unpacked(attributes, NULL);
    db_close(db);
}

static void so_does_a_copy_of_an_older_controller(void **state)
{
    const char *path = *state;
    char copy[128];
    uint64_t index = 0;
    struct error error = {0};
    (void)snprintf(copy, sizeof(copy), "%s.copy", path);
    struct db *db = open_db(path);
    db_begin(db);
    commit(db, 5);
    assert_int_equal(db_copy(path, copy, &index, &error), STATUS_OK);
    make_old(copy);
    uses_all(db, 6);
    assert_int_equal(db_restore(db, copy, &error), STATUS_OK);
    assert_int_equal(db_meta(db)->applied_index, 5);
    assert_int_equal(db_key_count(db), 0);
    uses_all(db, 6);
    db_close(db);
    (void)unlink(copy);
}

static char dir[64], file[96];

static int make_directory(void **state)
{
    (void)snprintf(dir, sizeof(dir), "/tmp/weir-upgrade-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof(file), "%s/state.db", dir);
    *state = file;
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s%s", file, suffixes[i]);
        (void)unlink(path);
    }
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_older_file_gets_the_tables_that_it_lacks, make_directory,
                                        remove_directory),
        cmocka_unit_test_setup_teardown(so_does_a_copy_of_an_older_controller, make_directory,
                                        remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
