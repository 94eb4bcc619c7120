#include "controller/raft/node.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/trace.h"

enum {
    LIBRAFT_MIN = 2200,            /* 0.22.0, as RAFT_VERSION_NUMBER counts */
    TAIL_BYTES = 32 * 1024 * 1024, /* of the log in memory */
};

#if RAFT_VERSION_NUMBER < 2200
#    error "libraft 0.22 or later is required: older releases are not a correct Raft"
#endif

/* ---- what the core asks for ---- */

static enum status op_save_vote(void *data, uint64_t term, uint64_t voted_for)
{
    return raft_store_save_vote(((struct raft_node *)data)->store, term, voted_for);
}

static enum status op_append(void *data, uint64_t from, const struct raft_entry_view *entries,
                             uint32_t count, uint64_t *out_write)
{
    return raft_store_append(((struct raft_node *)data)->store, from, entries, count, out_write);
}

static enum status op_save_snapshot(void *data, const struct raft_snapshot_info *snapshot,
                                    uint64_t *out_write)
{
    return raft_store_save_snapshot(((struct raft_node *)data)->store, snapshot, out_write);
}

static enum status op_compact(void *data, uint64_t upto)
{
    return raft_store_compact(((struct raft_node *)data)->store, upto);
}

static enum status op_install(void *data, const struct raft_snapshot_info *snapshot,
                              uint64_t *out_write)
{
    return raft_store_install(((struct raft_node *)data)->store, snapshot, out_write);
}

static enum status op_load(void *data, uint64_t index, uint64_t *out_term, uint32_t *out_type,
                           struct buf *buf)
{
    return raft_store_load(((struct raft_node *)data)->store, index, out_term, out_type, buf);
}

static enum status op_read_snapshot(void *data, uint64_t offset, uint8_t *out, size_t size)
{
    struct raft_node *node = data;
    return raft_snapshot_read(&node->files, node->core.snapshot.index, offset, out, size);
}

static enum status op_receive_begin(void *data)
{
    return raft_snapshot_receive_begin(&((struct raft_node *)data)->files);
}

static enum status op_receive_append(void *data, struct bytes chunk)
{
    return raft_snapshot_receive_append(&((struct raft_node *)data)->files, chunk);
}

static enum status op_receive_end(void *data, const uint8_t hash[RAFT_HASH_BYTES])
{
    return raft_snapshot_receive_end(&((struct raft_node *)data)->files, hash);
}

static void op_send(void *data, uint32_t to, const struct raft_packet *packet)
{
    raft_peers_send(data, to, packet);
}

static enum status op_apply(void *data, const struct raft_node_command *command,
                            struct error *error)
{
    struct raft_node *node = data;
    return node->options.handlers->apply(node->options.data, command, error);
}

static enum status op_restore(void *data, uint64_t index, struct error *error)
{
    struct raft_node *node = data;
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_path(node->dir, index, path);
    trace(TRACE_INFO, "raft", "the state machine takes over the snapshot at %llu",
          (unsigned long long)index);
    node->snapshots++;
    return node->options.handlers->restore(node->options.data, path, index, error);
}

static void op_changed(void *data, bool active, uint64_t term, uint32_t leader)
{
    struct raft_node *node = data;
    node->options.handlers->changed(node->options.data, active, term, leader);
}

/* ---- snapshots of the state machine ---- */

static enum status make_snapshot(struct raft_snapshot_job *job)
{
    struct raft_node *node = job->node;
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    raft_snapshot_taking_path(node->dir, path);
    (void)unlink(path);
    enum status status =
        node->options.handlers->snapshot(node->options.data, path, &job->info.index, &job->error);
    if (status == STATUS_OK) {
        status = raft_snapshot_measure(path, true, &job->info.bytes, job->info.hash, &job->error);
    }
    if (status == STATUS_OK) {
        status = raft_snapshot_publish_taking(node->dir, job->info.index, &job->error);
    }
    return status;
}

static void *snapshot_thread(void *data)
{
    struct raft_snapshot_job *job = data;
    job->status = make_snapshot(job);
    net_mailbox_send(job->node->mailbox, &job->mail);
    return NULL;
}

static void snapshot_made(struct net_mail *mail)
{
    struct raft_snapshot_job *job = CONTAINER_OF(mail, struct raft_snapshot_job, mail);
    struct raft_node *node = job->node;
    if (node->job == job) {
        pthread_join(job->thread, NULL);
        node->job = NULL;
    }
    if (job->status != STATUS_OK) {
        trace(TRACE_WARNING, "raft", "no snapshot could be taken: %s", job->error.text);
    } else if (!node->closing) {
        node->snapshots++;
        trace(TRACE_INFO, "raft", "snapshot at %llu, %llu bytes",
              (unsigned long long)job->info.index, (unsigned long long)job->info.bytes);
    }
    if (!node->closing) {
        raft_core_snapshot_taken(&node->core, net_now_ms(node->options.loop), job->status,
                                 &job->info);
        raft_node_settle(node);
    }
    free(job);
}

static enum status op_take_snapshot(void *data)
{
    struct raft_node *node = data;
    CHECK(node->job == NULL);
    struct raft_snapshot_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return STATUS_NO_MEMORY;
    }
    job->node = node;
    job->mail.run = snapshot_made;
    if (pthread_create(&job->thread, NULL, snapshot_thread, job) != 0) {
        free(job);
        return STATUS_NO_MEMORY;
    }
    node->job = job;
    return STATUS_OK;
}

static const struct raft_core_ops ops = {
    .save_vote = op_save_vote,
    .append = op_append,
    .save_snapshot = op_save_snapshot,
    .compact = op_compact,
    .install = op_install,
    .load = op_load,
    .take_snapshot = op_take_snapshot,
    .read_snapshot = op_read_snapshot,
    .receive_begin = op_receive_begin,
    .receive_append = op_receive_append,
    .receive_end = op_receive_end,
    .send = op_send,
    .apply = op_apply,
    .restore = op_restore,
    .changed = op_changed,
};

/* ---- the loop ---- */

static void on_turn(struct net_turn *turn)
{
    struct raft_node *node = CONTAINER_OF(turn, struct raft_node, turn);
    if (node->closing || !node->started) {
        return;
    }
    if (raft_core_deadline(&node->core) <= net_now_ms(node->options.loop)) {
        raft_core_tick(&node->core, net_now_ms(node->options.loop));
    }
    raft_node_settle(node);
}

static void on_timer(struct net_timer *timer)
{
    struct raft_node *node = CONTAINER_OF(timer, struct raft_node, timer);
    if (!node->closing) {
        raft_core_tick(&node->core, net_now_ms(node->options.loop));
        raft_node_settle(node);
    }
}

void raft_node_settle(struct raft_node *node)
{
    if (node->closing) {
        return;
    }
    raft_peers_follow(node);
    if (!raft_core_alive(&node->core) && !node->told_failed) {
        node->told_failed = true;
        trace(TRACE_ERROR, "raft", "%s", node->core.error.text);
        node->options.handlers->failed(node->options.data, &node->core.error);
    }
    uint64_t at = raft_core_deadline(&node->core);
    uint64_t now = net_now_ms(node->options.loop);
    if (at <= now) {
        net_turn_schedule(node->options.loop, &node->turn);
    } else if (at == UINT64_MAX) {
        net_timer_stop(node->options.loop, &node->timer);
    } else if (node->timer.at_ms != at || node->timer.heap_index == 0) {
        enum status status = net_timer_start(node->options.loop, &node->timer, at, on_timer);
        if (status != STATUS_OK) {
            raft_core_fail(&node->core, status, "no timer could be started");
            net_turn_schedule(node->options.loop, &node->turn);
        }
    }
}

static void on_written(struct net_mail *mail)
{
    struct raft_node *node = CONTAINER_OF(mail, struct raft_node, written);
    __atomic_store_n(&node->written_queued, 0, __ATOMIC_SEQ_CST);
    if (node->closing || !node->core_ready) {
        return;
    }
    uint64_t write = 0;
    struct error error = {.status = STATUS_OK};
    enum status status = raft_store_written(node->store, &write, &error);
    if (status != STATUS_OK) {
        raft_core_fail(&node->core, status, "%s", error.text);
    } else {
        raft_core_written(&node->core, net_now_ms(node->options.loop), write);
    }
    raft_node_settle(node);
}

/* On the writer's thread. */
static void store_wrote(void *data)
{
    struct raft_node *node = data;
    if (__atomic_exchange_n(&node->written_queued, 1, __ATOMIC_SEQ_CST) == 0) {
        net_mailbox_send(node->mailbox, &node->written);
    }
}

/* ---- opening ---- */

/* configure checked the header; this checks the library that is loaded. libraft 0.22 hides
 * raft_version_number(), and older ones have no raft_step(), so that the program would not start
 * with them at all. */
static enum status check_library(struct error *error)
{
    void *found = dlsym(RTLD_DEFAULT, "raft_version_number");
    int (*version)(void) = NULL;
    memcpy(&version, &found, sizeof(version));
    if (dlsym(RTLD_DEFAULT, "raft_step") == NULL || (version != NULL && version() < LIBRAFT_MIN)) {
        return error_set(error, STATUS_UNSUPPORTED,
                         "the libraft that is installed is older than 0.22 and not a correct "
                         "Raft: install libraft0 0.22 or later");
    }
    return STATUS_OK;
}

/* A new cluster; one that has a log may have grown. */
static bool begins(const struct raft_node_options *options)
{
    char path[RAFT_SNAPSHOT_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/raft.db", options->dir);
    return !options->join && access(path, F_OK) != 0;
}

static enum status check_options(const struct raft_node_options *options, struct error *error)
{
    if (options->server_count % 2 == 0 && begins(options)) {
        return error_set(error, STATUS_INVALID,
                         "controllers: a new cluster has 1, 3 or 5 controllers, not %u (one that "
                         "joins a cluster needs join = true)",
                         options->server_count);
    }
    if (options->server_count == 0 || options->server_count > RAFT_NODE_SERVERS_MAX) {
        return error_set(error, STATUS_INVALID, "there must be 1 to %d controllers",
                         RAFT_NODE_SERVERS_MAX);
    }
    bool found = false;
    for (uint32_t i = 0; i < options->server_count; i++) {
        found = found || options->servers[i].id == options->id;
        for (uint32_t j = 0; j < i; j++) {
            if (options->servers[i].id == options->servers[j].id) {
                return error_set(error, STATUS_INVALID, "controller-%u is named twice",
                                 options->servers[i].id);
            }
        }
        if (options->servers[i].id == 0) {
            return error_set(error, STATUS_INVALID, "a controller's id must not be 0");
        }
    }
    if (!found) {
        return error_set(error, STATUS_INVALID, "controller-%u is not among the controllers",
                         options->id);
    }
    uint32_t election = options->election_ms, heartbeat = options->heartbeat_ms;
    if (election != 0 && heartbeat != 0 && heartbeat * 2 > election) {
        return error_set(error, STATUS_INVALID,
                         "the election timeout must be at least two heartbeats");
    }
    return STATUS_OK;
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value == 0 ? otherwise : value;
}

static enum status open_core(struct raft_node *node, struct error *error)
{
    const struct raft_node_options *options = &node->options;
    uint32_t ids[RAFT_NODE_SERVERS_MAX];
    for (uint32_t i = 0; i < options->server_count; i++) {
        ids[i] = options->servers[i].id;
    }
    struct raft_store_options store = {.dir = node->dir,
                                       .id = options->id,
                                       .ids = ids,
                                       .id_count = options->server_count,
                                       .join = options->join,
                                       .restored = options->restored,
                                       .written = store_wrote,
                                       .data = node};
    struct raft_core_state state;
    enum status status = raft_store_open(&store, &state, &node->store, error);
    if (status != STATUS_OK) {
        return status;
    }
    unsigned seed = options->id;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        seed = options->id; /* controllers still differ, and that is all that elections need */
    }
    struct raft_core_options core = {
        .ops = &ops,
        .data = node,
        .id = options->id,
        .election_ms = or_default(options->election_ms, RAFT_NODE_ELECTION_MS),
        .heartbeat_ms = or_default(options->heartbeat_ms, RAFT_NODE_HEARTBEAT_MS),
        .snapshot_entries = or_default(options->snapshot_entries, RAFT_NODE_SNAPSHOT_ENTRIES),
        .trailing_entries = or_default(options->trailing_entries, RAFT_NODE_TRAILING_ENTRIES),
        .snapshot_bytes = or_default(options->snapshot_bytes, RAFT_NODE_SNAPSHOT_BYTES),
        .tail_bytes = TAIL_BYTES,
        .chunk_bytes = RAFT_CHUNK_BYTES,
        .seed = seed,
    };
    state.applied = options->applied;
    status = raft_core_init(&node->core, &core, &state, net_now_ms(options->loop), error);
    raft_store_loaded(node->store);
    node->core_ready = status == STATUS_OK;
    return status;
}

void raft_node_free_when_done(struct raft_node *node)
{
    if (node->mail_done && node->sessions_left == 0) {
        free(node->dir);
        free(node);
    }
}

static void on_last_mail(struct net_mail *mail)
{
    struct raft_node *node = CONTAINER_OF(mail, struct raft_node, last_mail);
    node->mail_done = true;
    raft_node_free_when_done(node);
}

static void release(struct raft_node *node)
{
    node->closing = true;
    raft_peers_close(node);
    net_timer_stop(node->options.loop, &node->timer);
    list_remove(&node->turn.node);
    if (node->job != NULL) {
        pthread_join(node->job->thread, NULL);
        node->job = NULL; /* its mail is on the way, and frees it */
    }
    if (node->store != NULL) {
        raft_store_close(node->store);
        node->store = NULL;
    }
    if (node->core_ready) {
        raft_core_release(&node->core);
    }
    raft_snapshot_io_release(&node->files);
    node->last_mail.run = on_last_mail;
    net_mailbox_send(node->mailbox, &node->last_mail);
    net_mailbox_close(node->mailbox);
}

enum status raft_node_open(const struct raft_node_options *options, struct raft_node **out,
                           struct error *error)
{
    enum status status = check_library(error);
    if (status == STATUS_OK) {
        status = check_options(options, error);
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct raft_node *node = calloc(1, sizeof(*node));
    if (node == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    node->options = *options;
    node->written.run = on_written;
    net_turn_init(&node->turn, on_turn);
    node->dir = strdup(options->dir);
    node->mailbox = net_mailbox_open(options->loop);
    raft_snapshot_io_init(&node->files, node->dir);
    if (node->dir == NULL || node->mailbox == NULL) {
        net_mailbox_close(node->mailbox);
        free(node->dir);
        free(node);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    status = open_core(node, error);
    if (status == STATUS_OK) {
        status = raft_peers_open(node, error);
    }
    if (status != STATUS_OK) {
        release(node);
        return status;
    }
    *out = node;
    return STATUS_OK;
}

enum status raft_node_start(struct raft_node *node, struct error *error)
{
    CHECK(!node->started);
    node->started = true;
    raft_core_tick(&node->core, net_now_ms(node->options.loop));
    raft_node_settle(node);
    if (!raft_core_alive(&node->core)) {
        return error_set(error, node->core.error.status, "%s", node->core.error.text);
    }
    return STATUS_OK;
}

void raft_node_close(struct raft_node *node)
{
    release(node);
}

/* ---- requests ---- */

enum status raft_node_submit(struct raft_node *node, struct bytes entry,
                             struct raft_node_request *request,
                             void (*done)(struct raft_node_request *request, enum status status))
{
    request->done = done;
    enum status status =
        raft_core_submit(&node->core, net_now_ms(node->options.loop), entry, request);
    raft_node_settle(node);
    return status;
}

enum status raft_node_read_barrier(struct raft_node *node, struct raft_node_request *request,
                                   void (*done)(struct raft_node_request *request,
                                                enum status status))
{
    request->done = done;
    enum status status = raft_core_read(&node->core, net_now_ms(node->options.loop), request);
    raft_node_settle(node);
    return status;
}

void raft_node_forget(struct raft_node_request *request)
{
    if (request->node.next != NULL) {
        list_remove(&request->node);
    }
}

enum status raft_node_transfer(struct raft_node *node, uint32_t to)
{
    enum status status = raft_core_transfer(&node->core, net_now_ms(node->options.loop), to);
    raft_node_settle(node);
    return status;
}

enum status raft_node_change(struct raft_node *node, const struct raft_node_change *change,
                             struct raft_node_request *request,
                             void (*done)(struct raft_node_request *request, enum status status))
{
    request->done = done;
    enum status status =
        raft_core_change(&node->core, net_now_ms(node->options.loop), change, request);
    raft_node_settle(node);
    return status;
}

void raft_node_removed(struct raft_node *node, uint32_t from, uint64_t index)
{
    /* Late, and we were added again since; or we lead. */
    const struct raft_configuration *known = &node->core.raft.configuration_committed;
    for (unsigned i = 0; i < known->n; i++) {
        if (known->servers[i].id == node->options.id &&
            node->core.raft.configuration_committed_index >= index) {
            return;
        }
    }
    if (node->started && !raft_core_is_active(&node->core)) {
        raft_core_fail(&node->core, STATUS_CORRUPT,
                       "this controller was removed from the cluster, says controller-%u: its "
                       "directory is of no use any more, and its id must not be used again",
                       from);
        raft_node_settle(node);
    }
}

void raft_node_restored_path(const char *dir, uint64_t index, char out[RAFT_NODE_PATH_BYTES])
{
    raft_snapshot_path(dir, index, out);
}

enum status raft_node_receive(struct raft_node *node, uint32_t from, struct bytes body,
                              struct bytes attachment)
{
    /* We may not know yet who has joined, and must hear them all the same; who is active knows. */
    if (raft_peer_of(node, from) == NULL && node->started && raft_core_is_active(&node->core) &&
        node->core.raft.configuration_uncommitted_index == 0) {
        return STATUS_NOT_FOUND;
    }
    struct raft_packet packet;
    enum status status = raft_packet_parse(body, attachment, &packet);
    if (status != STATUS_OK) {
        return status;
    }
    if (from != node->options.id && node->started) {
        raft_core_receive(&node->core, net_now_ms(node->options.loop), from, &packet);
        raft_node_settle(node);
    }
    raft_packet_release(&packet);
    return STATUS_OK;
}

/* ---- status ---- */

bool raft_node_is_active(const struct raft_node *node)
{
    return raft_core_is_active(&node->core);
}

uint32_t raft_node_leader(const struct raft_node *node)
{
    return raft_core_leader(&node->core);
}

uint64_t raft_node_term(const struct raft_node *node)
{
    return raft_current_term(&node->core.raft);
}

uint64_t raft_node_applied(const struct raft_node *node)
{
    return node->core.cursor;
}

int raft_node_exit_code(enum status status)
{
    return status == STATUS_CORRUPT ? RAFT_NODE_EXIT_REPLACE : RAFT_NODE_EXIT_RETRY;
}
