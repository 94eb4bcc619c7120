#include "controller/server/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void a_list_of_controllers_is_read(void **state)
{
    (void)state;
    struct raft_node_server list[RAFT_NODE_SERVERS_MAX];
    uint32_t count = 0;
    assert_int_equal(
        server_list_parse("1=a.example:7301, 2=[::1]:7302,7=127.0.0.1:65535", list, &count, NULL),
        STATUS_OK);
    assert_int_equal(count, 3);
    assert_int_equal(list[0].id, 1);
    assert_string_equal(list[0].host, "a.example");
    assert_string_equal(list[1].host, "::1");
    assert_int_equal(list[1].port, 7302);
    assert_int_equal(list[2].id, 7);
    assert_int_equal(list[2].port, 65535);
    assert_int_equal(server_list_parse("9=h:1", list, &count, NULL), STATUS_OK);
    assert_int_equal(count, 1);
}

static void a_bad_list_is_refused_with_a_sentence(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } table[] = {
        {"",                                                             "must have 1, 3 or 5 controllers, not 0"},
        {"1=a:1,2=b:2",                                                  "not 2"                                 },
        {"1=a:1,2=b:2,3=c:3,4=d:4",                                      "not 4"                                 },
        {"1=a:1,1=b:2,3=c:3",                                            "ids must rise"                         },
        {"2=a:1,1=b:2,3=c:3",                                            "ids must rise"                         },
        {"a:1",                                                          "'a:1' is not ID=HOST:PORT"             },
        {"1=a",                                                          "is not ID=HOST:PORT"                   },
        {"1=:5",                                                         "is not ID=HOST:PORT"                   },
        {"0=a:5",                                                        "is not ID=HOST:PORT"                   },
        {"x=a:5",                                                        "is not ID=HOST:PORT"                   },
        {"1=a:0",                                                        "is not ID=HOST:PORT"                   },
        {"1=a:65536",                                                    "is not ID=HOST:PORT"                   },
        {"1=a:99999999999999999999",                                     "is not ID=HOST:PORT"                   },
        {"99999999999=a:1",                                              "is not ID=HOST:PORT"                   },
        {"1=[]:1",                                                       "is not ID=HOST:PORT"                   },
        {"1=a:1,2=b:2,3=c:3,4=d:1,5=e:1,6=f:1,7=g:1,8=h:1,9=i:1,10=j:1", "more than 9"                           },
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct raft_node_server list[RAFT_NODE_SERVERS_MAX];
        struct error error = {0};
        uint32_t count = 77;
        assert_int_equal(server_list_parse(table[i].text, list, &count, &error), STATUS_INVALID);
        assert_non_null(strstr(error.text, table[i].says));
        assert_int_equal(count, 77);
    }
}

/* In a process of its own, because a directory stays locked until its process ends. */
static int claim(const char *dir, uint8_t cluster, uint32_t id, uint64_t boot)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        uint8_t uuid[CLUSTER_ID_BYTES] = {cluster};
        uint64_t got = 0;
        enum status status = server_directory_open(dir, uuid, id, &got, NULL);
        _exit(status == STATUS_OK && got != boot ? 99 : (int)status);
    }
    int code = 0;
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_true(WIFEXITED(code));
    return WEXITSTATUS(code);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int make_dir(void **state)
{
    static char dir[64];
    (void)snprintf(dir, sizeof(dir), "/tmp/weir-directory-XXXXXX");
    *state = mkdtemp(dir);
    return *state == NULL;
}

static int remove_dir(void **state)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf %s", (const char *)*state);
    return system(command);
}

static void a_directory_belongs_to_one_controller_of_one_cluster(void **state)
{
    const char *dir = *state;
    assert_int_equal(claim(dir, 5, 2, 1), STATUS_OK);
    assert_int_equal(claim(dir, 5, 2, 2), STATUS_OK); /* the boot id rises */
    assert_int_equal(claim(dir, 6, 2, 0), STATUS_WRONG_CLUSTER);
    assert_int_equal(claim(dir, 5, 3, 0), STATUS_WRONG_IDENTITY);
    assert_int_equal(claim(dir, 5, 2, 3), STATUS_OK);
}

static void a_directory_is_made_but_not_its_parent(void **state)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/new", (const char *)*state);
    assert_int_equal(claim(path, 5, 2, 1), STATUS_OK);
    (void)snprintf(path, sizeof(path), "%s/no/new", (const char *)*state);
    assert_int_equal(claim(path, 5, 2, 1), STATUS_IO);
}

static void a_directory_in_use_is_refused(void **state)
{
    const char *dir = *state;
    uint8_t uuid[CLUSTER_ID_BYTES] = {5};
    uint64_t boot = 0;
    assert_int_equal(server_directory_open(dir, uuid, 2, &boot, NULL), STATUS_OK);
    assert_int_equal(claim(dir, 5, 2, 0), STATUS_BUSY);
}

static void a_directory_that_is_not_complete_is_refused(void **state)
{
    const char *dir = *state;
    write_file(dir, "raft.db", "");
    assert_int_equal(claim(dir, 5, 2, 0), STATUS_CORRUPT);
    write_file(dir, "identity", "something else\n");
    assert_int_equal(claim(dir, 5, 2, 0), STATUS_CORRUPT);
    write_file(dir, "identity",
               "weir controller 2\ncluster 05000000-0000-0000-0000-000000000000\nid 2\n");
    assert_int_equal(claim(dir, 5, 2, 0), STATUS_UNSUPPORTED);
    write_file(dir, "identity",
               "weir controller 1\ncluster 05000000-0000-0000-0000-000000000000\nid 2\n");
    assert_int_equal(claim(dir, 5, 2, 1), STATUS_OK);
    write_file(dir, "boot", "many\n");
    assert_int_equal(claim(dir, 5, 2, 0), STATUS_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_controllers_is_read),
        cmocka_unit_test(a_bad_list_is_refused_with_a_sentence),
        cmocka_unit_test_setup_teardown(a_directory_belongs_to_one_controller_of_one_cluster,
                                        make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_directory_is_made_but_not_its_parent, make_dir,
                                        remove_dir),
        cmocka_unit_test_setup_teardown(a_directory_in_use_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_directory_that_is_not_complete_is_refused, make_dir,
                                        remove_dir),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
