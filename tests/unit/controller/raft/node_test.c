/* Controllers' nodes on one real loop. */
#include "node_cluster.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/trace.h"

static void sets_of_1_3_and_5_commit_and_apply_everywhere(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 5; count += 2) {
        struct cluster *cluster = cluster_new(count, 0);
        char what[32];
        put_many(cluster, 300);
        wait_equal(cluster);
        (void)snprintf(what, sizeof(what), "%u controllers", count);
        print_latency(cluster, what);
        cluster_free(cluster);
    }
}

static void a_single_controller_restarts_with_what_it_acknowledged(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(1, 50);
    put_many(cluster, 130);
    controller_stop(cluster, 1);
    controller_start(cluster, 1);
    put_many(cluster, 5);
    assert_int_equal(cluster->controllers[0].count, 135);
    assert_true(cluster->controllers[0].restores > 0);
    cluster_free(cluster);
}

static void a_closed_leader_is_replaced_and_catches_up_again(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    put_many(cluster, 50);
    uint64_t worst = 0;
    for (int round = 0; round < 5; round++) {
        uint32_t old = wait_active(cluster);
        controller_stop(cluster, old);
        uint64_t stopped = now_us();
        put_one(cluster);
        uint64_t gap = now_us() - stopped;
        worst = gap > worst ? gap : worst;
        put_many(cluster, 20);
        controller_start(cluster, old);
        put_many(cluster, 5);
        wait_equal(cluster);
    }
    print_message("longest time from the end of the active controller to the next commit: %llu "
                  "ms\n",
                  (unsigned long long)worst / 1000);
    cluster_free(cluster);
}

static void a_controller_that_was_away_gets_a_snapshot(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 100);
    put_many(cluster, 20);
    uint32_t away = wait_active(cluster) % 3 + 1;
    controller_stop(cluster, away);
    put_many(cluster, 600);
    unsigned restores = cluster->controllers[away - 1].restores;
    controller_start(cluster, away);
    wait_equal(cluster);
    assert_true(cluster->controllers[away - 1].restores > restores);
    put_many(cluster, 20);
    wait_equal(cluster);
    cluster_free(cluster);
}

static bool is_done(struct cluster *cluster, const void *request)
{
    (void)cluster;
    return ((const struct request *)request)->done;
}

/* What a read at the active controller becomes. */
static enum status read_at(struct cluster *cluster, uint32_t id)
{
    struct request read = {.cluster = cluster};
    enum status status =
        raft_node_read_barrier(cluster->controllers[id - 1].node, &read.request, was_done);
    if (status != STATUS_OK) {
        return status;
    }
    assert_false(read.done);
    assert_true(wait_until(cluster, is_done, &read));
    return read.status;
}

static void reads_are_confirmed_by_a_majority(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    put_many(cluster, 5);
    uint32_t id = wait_active(cluster);
    assert_int_equal(read_at(cluster, id % 3 + 1), STATUS_NOT_ACTIVE);
    uint64_t until = now_us() + PATIENCE_MS * 1000ULL, started = now_us();
    /* A slow machine may have elected somebody else meanwhile. */
    while (read_at(cluster, id) != STATUS_OK && now_us() < until) {
        id = wait_active(cluster);
        started = now_us();
    }
    assert_true(now_us() < until);
    print_message("a read was confirmed in %llu us\n", (unsigned long long)(now_us() - started));
    /* without the others nothing is confirmed */
    controller_stop(cluster, id % 3 + 1);
    controller_stop(cluster, (id + 1) % 3 + 1);
    assert_int_equal(read_at(cluster, id), STATUS_NOT_ACTIVE);
    cluster_free(cluster);
}

static void what_waits_is_answered_when_the_node_is_closed(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    uint32_t id = wait_active(cluster);
    struct request entry = {.cluster = cluster}, read = entry, forgotten = entry;
    struct raft_node *node = cluster->controllers[id - 1].node;
    assert_int_equal(raft_node_submit(node, bytes_of("12345678", 8), &entry.request, was_done),
                     STATUS_OK);
    assert_int_equal(raft_node_submit(node, bytes_of("12345678", 8), &forgotten.request, was_done),
                     STATUS_OK);
    assert_int_equal(raft_node_read_barrier(node, &read.request, was_done), STATUS_OK);
    raft_node_forget(&forgotten.request);
    controller_stop(cluster, id);
    assert_true(entry.done && entry.status == STATUS_UNCERTAIN);
    assert_true(read.done && read.status == STATUS_CLOSING);
    assert_false(forgotten.done);
    cluster_free(cluster);
}

static bool tells_that_all_is_well(struct cluster *cluster, const void *context)
{
    (void)context;
    uint32_t id = active_of(cluster);
    if (id == 0) {
        return false;
    }
    struct raft_node_status status;
    raft_node_status(cluster->controllers[id - 1].node, &status);
    assert_true(status.active);
    assert_string_equal(status.state, "leader");
    assert_int_equal(status.server_count, 3);
    bool well = true;
    for (uint32_t i = 0; i < 3; i++) {
        well = well && status.servers[i].connected && status.servers[i].voter &&
               status.servers[i].match == status.last;
    }
    return well;
}

/* Whoever else leads, a slow machine's elections included, is asked to hand over. */
static bool is_led_by(struct cluster *cluster, const void *context)
{
    uint32_t to = *(const uint32_t *)context, id = active_of(cluster);
    if (id != 0 && id != to) {
        status_ignore(raft_node_transfer(cluster->controllers[id - 1].node, to), "asked again");
    }
    return id == to;
}

static bool knows_the_leader(struct cluster *cluster, const void *context)
{
    uint32_t id = *(const uint32_t *)context;
    return active_of(cluster) != 0 && cluster->controllers[id - 1].leader == active_of(cluster);
}

static void leadership_moves_on_request_and_status_tells(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    put_many(cluster, 10);
    wait_equal(cluster);
    assert_true(wait_until(cluster, tells_that_all_is_well, NULL));
    uint32_t old = active_of(cluster), to = old % 3 + 1;
    assert_int_equal(raft_node_transfer(cluster->controllers[old - 1].node, to), STATUS_OK);
    assert_true(wait_until(cluster, is_led_by, &to));
    put_many(cluster, 10);
    wait_equal(cluster);
    assert_true(wait_until(cluster, knows_the_leader, &old));
    cluster_free(cluster);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct raft_node *node;
    struct error error;
    struct raft_node_server servers[2] = {{.id = 1}, {.id = 2}};
    struct raft_node_options options = {.id = 1,
                                        .servers = servers,
                                        .server_count = 2,
                                        .dir = "/tmp",
                                        .handlers = &cluster_machine};
    assert_int_equal(raft_node_open(&options, &node, &error), STATUS_INVALID);
    options.server_count = 0;
    assert_int_equal(raft_node_open(&options, &node, &error), STATUS_INVALID);
    options.server_count = 1;
    options.id = 2;
    assert_int_equal(raft_node_open(&options, &node, &error), STATUS_INVALID);
    options.id = 1;
    options.dir = "/nowhere/at/all";
    options.loop = net_loop_new(NULL);
    assert_int_equal(raft_node_open(&options, &node, &error), STATUS_IO);
    net_loop_free(options.loop);
    assert_int_equal(raft_node_exit_code(STATUS_CORRUPT), RAFT_NODE_EXIT_REPLACE);
    assert_int_equal(raft_node_exit_code(STATUS_IO), RAFT_NODE_EXIT_RETRY);
}

static void a_failing_disk_ends_the_node(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(1, 0);
    struct controller *self = &cluster->controllers[0];
    put_many(cluster, 10);
    struct rlimit before, limit;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct request entry = {.cluster = cluster}, read = entry;
    assert_int_equal(
        raft_node_submit(self->node, bytes_of("12345678", 8), &entry.request, was_done), STATUS_OK);
    uint64_t until = now_us() + PATIENCE_MS * 1000ULL;
    while ((self->failures == 0 || !entry.done) && now_us() < until) {
        cluster_turn(cluster);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(self->failures, 1);
    assert_true(self->failure == STATUS_IO || self->failure == STATUS_DISK_FULL);
    assert_true(entry.done && entry.status == STATUS_UNCERTAIN);
    assert_false(self->active);
    assert_int_equal(self->count, 10);
    assert_int_equal(
        raft_node_submit(self->node, bytes_of("12345678", 8), &entry.request, was_done),
        STATUS_UNAVAILABLE);
    assert_int_equal(raft_node_read_barrier(self->node, &read.request, was_done),
                     STATUS_UNAVAILABLE);
    struct raft_node_status status;
    raft_node_status(self->node, &status);
    assert_string_equal(status.state, "failed");
    self->failures = 0;
    controller_stop(cluster, 1);
    controller_start(cluster, 1);
    put_many(cluster, 1);
    assert_true(self->count == 11);
    cluster_free(cluster);
}

static void a_shorter_log_than_the_state_machine_is_refused(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(1, 0);
    put_many(cluster, 10);
    controller_stop(cluster, 1);
    char dir[128];
    struct error error;
    struct raft_node *node;
    (void)snprintf(dir, sizeof(dir), "%s/1", cluster->dir);
    struct raft_node_options options = {.loop = cluster->loop,
                                        .id = 1,
                                        .servers = cluster->servers,
                                        .server_count = 1,
                                        .dir = dir,
                                        .applied = 5000,
                                        .handlers = &cluster_machine,
                                        .data = &cluster->controllers[0]};
    assert_int_equal(raft_node_open(&options, &node, &error), STATUS_CORRUPT);
    assert_non_null(strstr(error.text, "must be replaced"));
    cluster_free(cluster);
}

int main(void)
{
    trace_set_level(TRACE_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_1_3_and_5_commit_and_apply_everywhere),
        cmocka_unit_test(a_single_controller_restarts_with_what_it_acknowledged),
        cmocka_unit_test(a_closed_leader_is_replaced_and_catches_up_again),
        cmocka_unit_test(a_controller_that_was_away_gets_a_snapshot),
        cmocka_unit_test(reads_are_confirmed_by_a_majority),
        cmocka_unit_test(what_waits_is_answered_when_the_node_is_closed),
        cmocka_unit_test(leadership_moves_on_request_and_status_tells),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(a_failing_disk_ends_the_node),
        cmocka_unit_test(a_shorter_log_than_the_state_machine_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
