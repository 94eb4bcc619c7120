/* The head of a backup, and what a controller refuses to begin with. */
#include "controller/backup/backup.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "controller/server/server.h"

static const char CONTENT[] = "this is no database, but its sum is right";
static const uint8_t ours[CLUSTER_ID_BYTES] = {1, 2, 3};

struct place {
    char dir[64], file[96], state[96];
};

static struct backup_head head_of(int fd)
{
    struct backup_head head = {.index = 77, .term = 5, .time_ms = 1700000000123};
    struct error error = {0};
    memcpy(head.cluster, ours, sizeof(ours));
    (void)snprintf(head.software, sizeof(head.software), "weir 1.2 test");
    assert_int_equal(backup_measure(fd, -1, &head.bytes, head.hash, &error), STATUS_OK);
    return head;
}

static int set_up(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    assert_non_null(place);
    (void)snprintf(place->dir, sizeof(place->dir), "/tmp/weir-backup-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    (void)snprintf(place->file, sizeof(place->file), "%s/backup", place->dir);
    (void)snprintf(place->state, sizeof(place->state), "%s/restore.db", place->dir);
    int fd = open(place->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    char text[BACKUP_HEAD_BYTES];
    assert_int_equal(pwrite(fd, CONTENT, sizeof(CONTENT), BACKUP_HEAD_BYTES), sizeof(CONTENT));
    assert_int_equal(lseek(fd, BACKUP_HEAD_BYTES, SEEK_SET), BACKUP_HEAD_BYTES);
    struct backup_head head = head_of(fd);
    backup_head_write(&head, text);
    assert_int_equal(pwrite(fd, text, sizeof(text), 0), sizeof(text));
    close(fd);
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    (void)unlink(place->file);
    (void)unlink(place->state);
    assert_int_equal(rmdir(place->dir), 0);
    free(place);
    return 0;
}

static void a_head_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct backup_head head = {.index = 1, .term = UINT32_MAX, .bytes = 1ULL << 40, .time_ms = 9};
    struct backup_head again;
    struct error error = {0};
    char text[BACKUP_HEAD_BYTES];
    memset(head.hash, 0xa7, sizeof(head.hash));
    memset(head.software, 's', sizeof(head.software) - 1);
    backup_head_write(&head, text);
    assert_int_equal(text[BACKUP_HEAD_BYTES - 1], '\n');
    assert_null(memchr(text, '\0', sizeof(text)));
    assert_int_equal(backup_head_read(text, &again, &error), STATUS_OK);
    assert_memory_equal(&again, &head, sizeof(head));
}

static void a_head_that_is_wrong_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *find, *put, *says;
    } table[] = {
        {"weir c",    "weir k",     "no backup"  },
        {"backup 1",  "backup 2",   "newer Weir" },
        {"backup 1",  "backup x",   "no back"    },
        {"cluster 0", "cluster g",  "head cannot"},
        {"index 8",   "index 0",    "head cann"  },
        {"term 3",    "term 0",     "head cannot"},
        {"bytes 4",   "bytes 0",    "head cann"  },
        {"sha256 00", "sha256 0Z",  "head cannot"},
        {"sha256 00", "sha256 0\n", "head"       },
        {"time",      "tine",       "head cannot"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct backup_head head = {.index = 8, .term = 3, .bytes = 4, .software = "s"};
        struct backup_head out = {.index = 1234};
        struct error error = {0};
        char text[BACKUP_HEAD_BYTES + 1] = "";
        backup_head_write(&head, text);
        char *at = strstr(text, table[i].find);
        assert_non_null(at);
        memcpy(at, table[i].put, strlen(table[i].put));
        bool newer = strcmp(table[i].put, "backup 2") == 0;
        assert_int_equal(backup_head_read(text, &out, &error),
                         newer ? STATUS_UNSUPPORTED : STATUS_INVALID);
        assert_non_null(strstr(error.text, table[i].says));
        assert_int_equal(out.index, 1234);
    }
}

static void a_copy_is_measured_as_it_is_made(void **state)
{
    const struct place *place = *state;
    char got[BACKUP_HEAD_BYTES + sizeof(CONTENT) + 1];
    uint8_t hash[BACKUP_HASH_BYTES], again[BACKUP_HASH_BYTES];
    uint64_t bytes = 0;
    struct error error = {0};
    int fd = open(place->file, O_RDONLY | O_CLOEXEC);
    int to = open(place->state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(backup_measure(fd, to, &bytes, hash, &error), STATUS_OK);
    assert_int_equal(bytes, BACKUP_HEAD_BYTES + sizeof(CONTENT));
    assert_int_equal(pread(to, got, sizeof(got), 0), bytes);
    assert_int_equal(lseek(to, 0, SEEK_SET), 0);
    assert_int_equal(backup_measure(to, -1, &bytes, again, &error), STATUS_OK);
    assert_memory_equal(hash, again, sizeof(hash));
    close(to);
    to = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(backup_measure(fd, to, &bytes, hash, &error), STATUS_DISK_FULL);
    close(to);
    close(fd);
}

static void assert_refused(const struct place *place, const uint8_t *cluster, enum status status,
                           const char *says)
{
    struct raft_node_restored out = {.index = 4321};
    struct error error = {0};
    assert_int_equal(server_restore(place->file, place->dir, cluster, &out, &error), status);
    if (strstr(error.text, says) == NULL) {
        fail_msg("'%s' does not say '%s'", error.text, says);
    }
    assert_int_equal(out.index, 4321);
}

static void a_backup_of_another_cluster_is_refused(void **state)
{
    static const uint8_t theirs[CLUSTER_ID_BYTES] = {9};
    const struct place *place = *state;
    assert_refused(place, theirs, STATUS_WRONG_CLUSTER, "is a backup of cluster 01020300-");
}

static void a_damaged_backup_is_refused(void **state)
{
    const struct place *place = *state;
    int fd = open(place->file, O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "T", 1, BACKUP_HEAD_BYTES), 1);
    assert_refused(place, ours, STATUS_CORRUPT, "is damaged");
    assert_int_equal(pwrite(fd, CONTENT, 1, BACKUP_HEAD_BYTES), 1);
    /* its sum is right: it is the database that is refused */
    struct raft_node_restored out;
    struct error error = {0};
    assert_int_not_equal(server_restore(place->file, place->dir, ours, &out, &error), STATUS_OK);
    assert_null(strstr(error.text, "its content is not what its head says"));
    /* longer and shorter */
    assert_int_equal(pwrite(fd, "x", 1, BACKUP_HEAD_BYTES + (off_t)sizeof(CONTENT)), 1);
    assert_refused(place, ours, STATUS_CORRUPT, "is damaged");
    assert_int_equal(ftruncate(fd, BACKUP_HEAD_BYTES + (off_t)sizeof(CONTENT) - 1), 0);
    assert_refused(place, ours, STATUS_CORRUPT, "is damaged");
    assert_int_equal(ftruncate(fd, BACKUP_HEAD_BYTES - 1), 0);
    assert_refused(place, ours, STATUS_INVALID, "no backup of Weir's controllers");
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_refused(place, ours, STATUS_INVALID, "no backup of Weir's controllers");
    close(fd);
    assert_int_equal(unlink(place->file), 0);
    assert_refused(place, ours, STATUS_IO, "No such file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_is_read_as_it_was_written),
        cmocka_unit_test(a_head_that_is_wrong_is_refused),
        cmocka_unit_test_setup_teardown(a_copy_is_measured_as_it_is_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_backup_of_another_cluster_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_backup_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
