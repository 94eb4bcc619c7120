/* Controllers' nodes on one real loop, with mutual TLS over loopback and their logs on disk. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <uv.h>

#include "base/check.h"
#include "base/trace.h"
#include "controller/raft/raft.h"
#include "proto/net/net.h"
#include "tests/unit/proto/net/certs.h"

enum { NODES_MAX = 5, COMMANDS_MAX = 20000, FIRST_PORT = 24710 };

struct cluster;

struct controller {
    struct cluster *cluster;
    uint32_t id;
    struct net_tls *tls;
    struct net_listener *listener;
    struct raft_node *node;
    /* the state machine: what was applied, in order; `lock` for the snapshot's thread */
    pthread_mutex_t lock;
    uint64_t indexes[COMMANDS_MAX], commands[COMMANDS_MAX];
    uint64_t count;
    bool active;
    uint32_t leader;
    unsigned restores, snapshots, failures;
    enum status failure;
};

struct cluster {
    char dir[64];
    struct certs certs;
    struct net_loop *loop;
    struct session_handlers handlers;
    struct controller controllers[NODES_MAX];
    struct raft_node_server servers[NODES_MAX];
    uint32_t count;
    uint32_t snapshot_entries;
    uint64_t next_command;
    unsigned acknowledged, uncertain, reads;
    uint64_t latency_us[COMMANDS_MAX];
};

struct request {
    struct raft_node_request request;
    struct cluster *cluster;
    uint64_t started_us;
    bool done;
    enum status status;
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

/* ---- the state machine ---- */

static enum status on_apply(void *data, const struct raft_node_command *command,
                            struct error *error)
{
    struct controller *self = data;
    (void)error;
    assert_true(self->count < COMMANDS_MAX);
    pthread_mutex_lock(&self->lock);
    self->indexes[self->count] = command->index;
    self->commands[self->count] = get_u64(command->entry.data);
    self->count++;
    pthread_mutex_unlock(&self->lock);
    return STATUS_OK;
}

static enum status on_snapshot(void *data, const char *path, uint64_t *out_index,
                               struct error *error)
{
    struct controller *self = data;
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return error_set(error, STATUS_IO, "%s", path);
    }
    pthread_mutex_lock(&self->lock);
    size_t put = fwrite(self->indexes, sizeof(uint64_t), self->count, file);
    put += fwrite(self->commands, sizeof(uint64_t), self->count, file);
    bool all = put == 2 * self->count;
    *out_index = self->indexes[self->count - 1];
    pthread_mutex_unlock(&self->lock);
    self->snapshots++;
    return fclose(file) == 0 && all ? STATUS_OK : STATUS_IO;
}

static enum status on_restore(void *data, const char *path, uint64_t index, struct error *error)
{
    struct controller *self = data;
    FILE *file = fopen(path, "rb");
    (void)error;
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    self->count = (uint64_t)ftell(file) / 16;
    rewind(file);
    assert_int_equal(fread(self->indexes, 8, self->count, file), self->count);
    assert_int_equal(fread(self->commands, 8, self->count, file), self->count);
    assert_int_equal(self->indexes[self->count - 1], index);
    assert_int_equal(fclose(file), 0);
    self->restores++;
    return STATUS_OK;
}

static void on_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    struct controller *self = data;
    (void)term;
    self->active = active;
    self->leader = leader;
}

static void on_failed(void *data, const struct error *why)
{
    struct controller *self = data;
    self->failures++;
    self->failure = why->status;
}

static const struct raft_node_handlers machine = {.apply = on_apply,
                                                  .snapshot = on_snapshot,
                                                  .restore = on_restore,
                                                  .changed = on_changed,
                                                  .failed = on_failed};

/* ---- the server's part: a listener that hands messages over ---- */

static void on_message(struct session *session, enum rpc_method method, struct bytes body,
                       struct bytes attachment)
{
    struct controller *self = session_data(session);
    assert_int_equal(method, RPC_RAFT);
    if (self->node != NULL) {
        assert_int_equal(raft_node_receive(self->node, session_peer(session)->id, body, attachment),
                         STATUS_OK);
    }
}

static void on_call(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "no calls here");
}

static void on_closed(struct session *session, const struct error *why)
{
    (void)session;
    (void)why;
}

static void start(struct cluster *cluster, uint32_t id)
{
    struct controller *self = &cluster->controllers[id - 1];
    char dir[128];
    struct error error = {0};
    (void)snprintf(dir, sizeof(dir), "%s/%u", cluster->dir, id);
    self->count = 0; /* it has lost everything that a snapshot does not hold */
    struct session_options listen = {.loop = cluster->loop,
                                     .tls = self->tls,
                                     .boot = 1,
                                     .handlers = &cluster->handlers,
                                     .data = self};
    struct raft_node_options options = {.loop = cluster->loop,
                                        .tls = self->tls,
                                        .boot = 1,
                                        .id = id,
                                        .servers = cluster->servers,
                                        .server_count = cluster->count,
                                        .dir = dir,
                                        .snapshot_entries = cluster->snapshot_entries,
                                        .trailing_entries = cluster->snapshot_entries / 4,
                                        .handlers = &machine,
                                        .data = self};
    if (net_listener_open(&listen, "127.0.0.1", cluster->servers[id - 1].port, 100, &self->listener,
                          &error) != STATUS_OK ||
        raft_node_open(&options, &self->node, &error) != STATUS_OK ||
        raft_node_start(self->node, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

static void stop(struct cluster *cluster, uint32_t id)
{
    struct controller *self = &cluster->controllers[id - 1];
    if (self->node != NULL) {
        raft_node_close(self->node);
        net_listener_close(self->listener);
        self->node = NULL;
        self->active = false;
    }
}

static struct cluster *cluster_new(uint32_t count, uint32_t snapshot_entries)
{
    struct cluster *cluster = calloc(1, sizeof(*cluster));
    assert_non_null(cluster);
    (void)snprintf(cluster->dir, sizeof(cluster->dir), "/tmp/weir-raft-node-XXXXXX");
    assert_non_null(mkdtemp(cluster->dir));
    certs_init(&cluster->certs);
    cluster->loop = net_loop_new(NULL);
    cluster->handlers =
        (struct session_handlers){.called = on_call, .messaged = on_message, .closed = on_closed};
    cluster->count = count;
    cluster->snapshot_entries = snapshot_entries;
    uint16_t port = (uint16_t)(FIRST_PORT + getpid() % 4000 * 5);
    for (uint32_t id = 1; id <= count; id++) {
        struct controller *self = &cluster->controllers[id - 1];
        char name[32], dir[128];
        (void)snprintf(name, sizeof(name), "controller-%u", id);
        (void)snprintf(dir, sizeof(dir), "%s/%u", cluster->dir, id);
        assert_int_equal(mkdir(dir, 0700), 0);
        self->cluster = cluster;
        self->id = id;
        pthread_mutex_init(&self->lock, NULL);
        self->tls = certs_tls(&cluster->certs, CLUSTER_ONE, "controller", name);
        cluster->servers[id - 1].id = id;
        cluster->servers[id - 1].port = (uint16_t)(port + id);
        (void)snprintf(cluster->servers[id - 1].host, HOST_BYTES, "127.0.0.1");
    }
    for (uint32_t id = 1; id <= count; id++) {
        start(cluster, id);
    }
    return cluster;
}

static void cluster_free(struct cluster *cluster)
{
    char command[128];
    for (uint32_t id = 1; id <= cluster->count; id++) {
        stop(cluster, id);
    }
    net_loop_free(cluster->loop);
    for (uint32_t id = 1; id <= cluster->count; id++) {
        assert_int_equal(cluster->controllers[id - 1].failures, 0);
        net_tls_close(cluster->controllers[id - 1].tls);
        pthread_mutex_destroy(&cluster->controllers[id - 1].lock);
    }
    certs_release(&cluster->certs);
    (void)snprintf(command, sizeof(command), "rm -rf -- '%s'", cluster->dir);
    assert_int_equal(system(command), 0);
    free(cluster);
}

/* ---- driving it ---- */

static void turn(struct cluster *cluster)
{
    (void)uv_run(net_loop_uv(cluster->loop), UV_RUN_NOWAIT);
    usleep(50);
}

static uint32_t active_of(struct cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->count; id++) {
        const struct controller *self = &cluster->controllers[id - 1];
        if (self->node != NULL && raft_node_is_active(self->node)) {
            return id;
        }
    }
    return 0;
}

static uint32_t wait_active(struct cluster *cluster, unsigned ms)
{
    uint64_t until = now_us() + ms * 1000ULL;
    while (active_of(cluster) == 0 && now_us() < until) {
        turn(cluster);
    }
    assert_int_not_equal(active_of(cluster), 0);
    return active_of(cluster);
}

static void was_done(struct raft_node_request *raft_request, enum status status)
{
    struct request *request = CONTAINER_OF(raft_request, struct request, request);
    request->done = true;
    request->status = status;
}

/* One command, until it is acknowledged. */
static void put_one(struct cluster *cluster)
{
    for (;;) {
        uint32_t id = wait_active(cluster, 10000);
        uint8_t entry[200] = {0};
        put_u64(entry, cluster->next_command + 1);
        struct request request = {.cluster = cluster};
        uint64_t started = now_us();
        if (raft_node_submit(cluster->controllers[id - 1].node, bytes_of(entry, sizeof(entry)),
                             &request.request, was_done) != STATUS_OK) {
            turn(cluster);
            continue;
        }
        assert_false(request.done);
        while (!request.done) {
            (void)uv_run(net_loop_uv(cluster->loop), UV_RUN_ONCE);
        }
        if (request.status == STATUS_OK) {
            cluster->next_command++;
            cluster->latency_us[cluster->acknowledged++] = now_us() - started;
            return;
        }
        cluster->uncertain++;
        cluster->next_command++;
    }
}

static void put_many(struct cluster *cluster, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put_one(cluster);
    }
}

static void wait_equal(struct cluster *cluster, unsigned ms)
{
    uint64_t until = now_us() + ms * 1000ULL;
    bool equal = false;
    while (!equal && now_us() < until) {
        const struct controller *active = &cluster->controllers[wait_active(cluster, 5000) - 1];
        equal = true;
        for (uint32_t id = 1; id <= cluster->count; id++) {
            const struct controller *self = &cluster->controllers[id - 1];
            equal = equal && (self->node == NULL || self->count == active->count);
        }
        turn(cluster);
    }
    const struct controller *active = &cluster->controllers[active_of(cluster) - 1];
    assert_true(active->count >= cluster->acknowledged);
    for (uint32_t id = 1; id <= cluster->count; id++) {
        const struct controller *self = &cluster->controllers[id - 1];
        if (self->node != NULL) {
            assert_int_equal(self->count, active->count);
            assert_memory_equal(self->indexes, active->indexes, 8 * active->count);
            assert_memory_equal(self->commands, active->commands, 8 * active->count);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
    return one < two ? -1 : one > two;
}

static void print_latency(struct cluster *cluster, const char *what)
{
    qsort(cluster->latency_us, cluster->acknowledged, 8, by_size);
    print_message("%s: %u commits, p50 %llu us, p99 %llu us, worst %llu us\n", what,
                  cluster->acknowledged,
                  (unsigned long long)cluster->latency_us[cluster->acknowledged / 2],
                  (unsigned long long)cluster->latency_us[cluster->acknowledged * 99 / 100],
                  (unsigned long long)cluster->latency_us[cluster->acknowledged - 1]);
}

static void sets_of_1_3_and_5_commit_and_apply_everywhere(void **state)
{
    (void)state;
    for (uint32_t count = 1; count <= 5; count += 2) {
        struct cluster *cluster = cluster_new(count, 0);
        char what[32];
        put_many(cluster, 300);
        wait_equal(cluster, 5000);
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
    stop(cluster, 1);
    start(cluster, 1);
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
        uint32_t old = wait_active(cluster, 5000);
        stop(cluster, old);
        uint64_t stopped = now_us();
        put_one(cluster);
        uint64_t gap = now_us() - stopped;
        worst = gap > worst ? gap : worst;
        put_many(cluster, 20);
        start(cluster, old);
        put_many(cluster, 5);
        wait_equal(cluster, 5000);
    }
    print_message("longest time from the end of the active controller to the next commit: %llu "
                  "ms\n",
                  (unsigned long long)worst / 1000);
    assert_true(worst < 2000000);
    cluster_free(cluster);
}

static void a_controller_that_was_away_gets_a_snapshot(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 100);
    put_many(cluster, 20);
    uint32_t away = wait_active(cluster, 1000) % 3 + 1;
    stop(cluster, away);
    put_many(cluster, 600);
    unsigned restores = cluster->controllers[away - 1].restores;
    start(cluster, away);
    wait_equal(cluster, 10000);
    assert_true(cluster->controllers[away - 1].restores > restores);
    put_many(cluster, 20);
    wait_equal(cluster, 5000);
    cluster_free(cluster);
}

static void reads_are_confirmed_by_a_majority(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    put_many(cluster, 5);
    uint32_t id = wait_active(cluster, 1000), other = id % 3 + 1;
    struct request read = {.cluster = cluster};
    assert_int_equal(
        raft_node_read_barrier(cluster->controllers[other - 1].node, &read.request, was_done),
        STATUS_NOT_ACTIVE);
    assert_int_equal(
        raft_node_read_barrier(cluster->controllers[id - 1].node, &read.request, was_done),
        STATUS_OK);
    assert_false(read.done);
    uint64_t started = now_us();
    while (!read.done && now_us() < started + 3000000) {
        (void)uv_run(net_loop_uv(cluster->loop), UV_RUN_ONCE);
    }
    assert_true(read.done && read.status == STATUS_OK);
    print_message("a read was confirmed in %llu us\n", (unsigned long long)(now_us() - started));
    /* without the others nothing is confirmed */
    stop(cluster, other);
    stop(cluster, other % 3 + 1);
    read = (struct request){.cluster = cluster};
    if (raft_node_read_barrier(cluster->controllers[id - 1].node, &read.request, was_done) ==
        STATUS_OK) {
        started = now_us();
        while (!read.done && now_us() < started + 5000000) {
            turn(cluster);
        }
        assert_true(read.done && read.status == STATUS_NOT_ACTIVE);
    }
    cluster_free(cluster);
}

static void what_waits_is_answered_when_the_node_is_closed(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    uint32_t id = wait_active(cluster, 5000);
    struct request entry = {.cluster = cluster}, read = entry, forgotten = entry;
    struct raft_node *node = cluster->controllers[id - 1].node;
    assert_int_equal(raft_node_submit(node, bytes_of("12345678", 8), &entry.request, was_done),
                     STATUS_OK);
    assert_int_equal(raft_node_submit(node, bytes_of("12345678", 8), &forgotten.request, was_done),
                     STATUS_OK);
    assert_int_equal(raft_node_read_barrier(node, &read.request, was_done), STATUS_OK);
    raft_node_forget(&forgotten.request);
    stop(cluster, id);
    assert_true(entry.done && entry.status == STATUS_UNCERTAIN);
    assert_true(read.done && read.status == STATUS_CLOSING);
    assert_false(forgotten.done);
    cluster_free(cluster);
}

static void leadership_moves_on_request_and_status_tells(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(3, 0);
    put_many(cluster, 10);
    wait_equal(cluster, 3000);
    uint32_t old = wait_active(cluster, 1000), to = old % 3 + 1;
    struct raft_node_status status;
    raft_node_status(cluster->controllers[old - 1].node, &status);
    assert_true(status.active);
    assert_string_equal(status.state, "leader");
    assert_int_equal(status.server_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(status.servers[i].connected && status.servers[i].voter);
        assert_int_equal(status.servers[i].match, status.last);
    }
    assert_int_equal(raft_node_transfer(cluster->controllers[old - 1].node, to), STATUS_OK);
    uint64_t until = now_us() + 3000000;
    while (active_of(cluster) != to && now_us() < until) {
        turn(cluster);
    }
    assert_int_equal(active_of(cluster), to);
    put_many(cluster, 10);
    wait_equal(cluster, 3000);
    assert_int_equal(cluster->controllers[old - 1].leader, to);
    cluster_free(cluster);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    struct raft_node *node;
    struct error error;
    struct raft_node_server servers[2] = {{.id = 1}, {.id = 2}};
    struct raft_node_options options = {
        .id = 1, .servers = servers, .server_count = 2, .dir = "/tmp", .handlers = &machine};
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
    uint64_t until = now_us() + 5000000;
    while ((self->failures == 0 || !entry.done) && now_us() < until) {
        turn(cluster);
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
    stop(cluster, 1);
    start(cluster, 1);
    put_many(cluster, 1);
    assert_true(self->count == 11);
    cluster_free(cluster);
}

static void a_shorter_log_than_the_state_machine_is_refused(void **state)
{
    (void)state;
    struct cluster *cluster = cluster_new(1, 0);
    put_many(cluster, 10);
    stop(cluster, 1);
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
                                        .handlers = &machine,
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
