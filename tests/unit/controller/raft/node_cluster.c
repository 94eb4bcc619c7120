#include "node_cluster.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

uint64_t now_us(void)
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

const struct raft_node_handlers cluster_machine = {.apply = on_apply,
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

void controller_start(struct cluster *cluster, uint32_t id)
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
                                        .handlers = &cluster_machine,
                                        .data = self};
    if (net_listener_open(&listen, "127.0.0.1", cluster->servers[id - 1].port, 100, &self->listener,
                          &error) != STATUS_OK ||
        raft_node_open(&options, &self->node, &error) != STATUS_OK ||
        raft_node_start(self->node, &error) != STATUS_OK) {
        fail_msg("%s", error.text);
    }
}

void controller_stop(struct cluster *cluster, uint32_t id)
{
    struct controller *self = &cluster->controllers[id - 1];
    if (self->node != NULL) {
        raft_node_close(self->node);
        net_listener_close(self->listener);
        self->node = NULL;
        self->active = false;
    }
}

static bool is_free(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)), 0);
    bool bound = bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    assert_int_equal(close(fd), 0);
    return bound;
}

/* The first of NODES_MAX that nobody uses, below those that the system gives to whoever connects.
 */
static uint16_t free_ports(void)
{
    enum { FIRST = 12000, PLACES = 4000 };
    for (uint32_t i = 0; i < PLACES; i++) {
        uint32_t first = FIRST + ((uint32_t)getpid() + i) % PLACES * NODES_MAX;
        uint32_t good = 0;
        while (good < NODES_MAX && is_free((uint16_t)(first + good))) {
            good++;
        }
        if (good == NODES_MAX) {
            return (uint16_t)first;
        }
    }
    fail_msg("no free ports");
    return 0;
}

struct cluster *cluster_new(uint32_t count, uint32_t snapshot_entries)
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
    uint16_t port = free_ports();
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
        cluster->servers[id - 1].port = (uint16_t)(port + id - 1);
        (void)snprintf(cluster->servers[id - 1].host, HOST_BYTES, "127.0.0.1");
    }
    for (uint32_t id = 1; id <= count; id++) {
        controller_start(cluster, id);
    }
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    char command[128];
    for (uint32_t id = 1; id <= cluster->count; id++) {
        controller_stop(cluster, id);
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

void cluster_turn(struct cluster *cluster)
{
    (void)uv_run(net_loop_uv(cluster->loop), UV_RUN_NOWAIT);
    usleep(50);
}

uint32_t active_of(struct cluster *cluster)
{
    for (uint32_t id = 1; id <= cluster->count; id++) {
        const struct controller *self = &cluster->controllers[id - 1];
        if (self->node != NULL && raft_node_is_active(self->node)) {
            return id;
        }
    }
    return 0;
}

bool wait_until(struct cluster *cluster,
                bool (*holds)(struct cluster *cluster, const void *context), const void *context)
{
    uint64_t until = now_us() + PATIENCE_MS * 1000ULL;
    while (!holds(cluster, context)) {
        if (now_us() >= until) {
            return false;
        }
        cluster_turn(cluster);
    }
    return true;
}

static bool has_active(struct cluster *cluster, const void *context)
{
    (void)context;
    return active_of(cluster) != 0;
}

uint32_t wait_active(struct cluster *cluster)
{
    assert_true(wait_until(cluster, has_active, NULL));
    return active_of(cluster);
}

void was_done(struct raft_node_request *raft_request, enum status status)
{
    struct request *request = CONTAINER_OF(raft_request, struct request, request);
    request->done = true;
    request->status = status;
}

/* One command, until it is acknowledged. */
void put_one(struct cluster *cluster)
{
    for (;;) {
        uint32_t id = wait_active(cluster);
        uint8_t entry[200] = {0};
        put_u64(entry, cluster->next_command + 1);
        struct request request = {.cluster = cluster};
        uint64_t started = now_us();
        if (raft_node_submit(cluster->controllers[id - 1].node, bytes_of(entry, sizeof(entry)),
                             &request.request, was_done) != STATUS_OK) {
            cluster_turn(cluster);
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

void put_many(struct cluster *cluster, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        put_one(cluster);
    }
}

static bool are_equal(struct cluster *cluster, const void *context)
{
    (void)context;
    uint32_t id = active_of(cluster);
    bool equal = id != 0;
    for (uint32_t i = 0; i < cluster->count && equal; i++) {
        const struct controller *self = &cluster->controllers[i];
        equal = self->node == NULL || self->count == cluster->controllers[id - 1].count;
    }
    return equal;
}

void wait_equal(struct cluster *cluster)
{
    assert_true(wait_until(cluster, are_equal, NULL));
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

void print_latency(struct cluster *cluster, const char *what)
{
    qsort(cluster->latency_us, cluster->acknowledged, 8, by_size);
    print_message("%s: %u commits, p50 %llu us, p99 %llu us, worst %llu us\n", what,
                  cluster->acknowledged,
                  (unsigned long long)cluster->latency_us[cluster->acknowledged / 2],
                  (unsigned long long)cluster->latency_us[cluster->acknowledged * 99 / 100],
                  (unsigned long long)cluster->latency_us[cluster->acknowledged - 1]);
}
