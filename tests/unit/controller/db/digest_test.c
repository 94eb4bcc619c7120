#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "controller/db/db.h"
#include "tests/unit/controller/command/script.h"

static const char rows[] = "> bootstrap\n> broker 1 zone=a\n> broker 2 zone=b\n> broker 3 zone=c\n"
                           "> create s shards=5 request=4\n> active 1/0\n> delete s\n"
                           "> create t shards=2 hours=50\n";

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

static uint64_t digest_of(const char *path)
{
    struct db_digest *digest = NULL;
    struct error error = {0};
    uint64_t value = 0;
    assert_int_equal(db_digest_begin(path, &digest, &error), STATUS_OK);
    assert_int_equal(db_digest_run(digest, &value, &error), STATUS_OK);
    db_digest_free(digest);
    return value;
}

static void edit(const char *path, const char *text)
{
    sqlite3 *sql = NULL;
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sql, text, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(sql), SQLITE_OK);
}

static void the_same_entries_give_the_same_digest(void **state)
{
    struct script *script = *state;
    struct script other;
    script_open(&other);
    (void)script_run(script, rows);
    (void)script_run(&other, rows);
    uint64_t digest = digest_of(script->path);
    assert_true(digest == digest_of(other.path));
    script_restart(&other);
    assert_true(digest == digest_of(other.path));
    (void)script_run(&other, "> retention t hours=51\n");
    assert_true(digest != digest_of(other.path));
    (void)script_run(script, "> retention t hours=51\n");
    assert_true(digest_of(script->path) == digest_of(other.path));
    script_close(&other);
}

static void a_copy_has_the_digest_of_what_was_copied(void **state)
{
    const struct script *script = *state;
    char copy[128];
    uint64_t index = 0;
    (void)script_run(*state, rows);
    (void)snprintf(copy, sizeof(copy), "%s/copy", script->dir);
    assert_int_equal(db_copy(script->path, copy, &index, NULL), STATUS_OK);
    assert_true(digest_of(copy) == digest_of(script->path));
}

static void one_changed_value_shows_and_its_way_back_too(void **state)
{
    const struct script *script = *state;
    (void)script_run(*state, rows);
    uint64_t digest = digest_of(script->path);
    edit(script->path, "UPDATE streams SET retention_hours = retention_hours + 1 WHERE id = 2");
    assert_true(digest != digest_of(script->path));
    edit(script->path, "UPDATE streams SET retention_hours = retention_hours - 1 WHERE id = 2");
    assert_true(digest == digest_of(script->path));
    edit(script->path, "DELETE FROM shards WHERE id = (SELECT max(id) FROM shards)");
    assert_true(digest != digest_of(script->path));
}

static void the_view_is_that_of_the_beginning(void **state)
{
    struct script *script = *state;
    (void)script_run(script, rows);
    uint64_t before = digest_of(script->path), value = 0;
    struct db_digest *digest = NULL;
    struct error error = {0};
    assert_int_equal(db_digest_begin(script->path, &digest, &error), STATUS_OK);
    (void)script_run(script, "> retention t hours=51\n> down 3\n");
    assert_int_equal(db_digest_run(digest, &value, &error), STATUS_OK);
    db_digest_free(digest);
    assert_true(value == before);
    assert_true(digest_of(script->path) != before);
}

static void a_file_that_is_no_database_gives_none(void **state)
{
    struct db_digest *digest = NULL;
    struct error error = {0};
    (void)state;
    assert_int_equal(db_digest_begin("/nowhere/state.db", &digest, &error), STATUS_IO);
    assert_null(digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_entries_give_the_same_digest, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(a_copy_has_the_digest_of_what_was_copied, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(one_changed_value_shows_and_its_way_back_too, open_script,
                                        close_script),
        cmocka_unit_test_setup_teardown(the_view_is_that_of_the_beginning, open_script,
                                        close_script),
        cmocka_unit_test(a_file_that_is_no_database_gives_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
