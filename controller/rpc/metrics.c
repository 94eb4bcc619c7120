/* A controller's metrics: docs/metrics.md has them all. And whether it is ready. */
#include <stdio.h>

#include "controller/rpc/internal.h"

enum { READY_BEHIND_MAX = 100 /* entries */ };

static void write_peers(const struct controller *c, const struct raft_node_status *raft,
                        struct metrics *m)
{
    char name[NODE_NAME_BYTES];
    metrics_family(m, "weir_raft_connected", METRIC_GAUGE,
                   "1: our link to that controller is open.");
    for (uint32_t i = 0; i < raft->server_count; i++) {
        (void)snprintf(name, sizeof(name), "controller-%u", raft->servers[i].server.id);
        if (raft->servers[i].server.id != raft->id) {
            metrics_put(m, raft->servers[i].connected ? 1 : 0, "peer", name, NULL);
        }
    }
    metrics_family(m, "weir_state_hash_differs", METRIC_GAUGE,
                   "1: its state was another than ours when the two were compared last.");
    for (uint32_t i = 0; i < raft->server_count; i++) {
        bool differs = false;
        (void)snprintf(name, sizeof(name), "controller-%u", raft->servers[i].server.id);
        if (raft->servers[i].server.id != raft->id) {
            (void)agreement_with(&c->agreement, raft->servers[i].server.id, &differs);
            metrics_put(m, differs ? 1 : 0, "peer", name, NULL);
        }
    }
}

static void write_raft(const struct controller *c, struct metrics *m)
{
    struct raft_node_status raft;
    raft_node_status(c->raft, &raft);
    metrics_one(m, "weir_controller_active", METRIC_GAUGE, "1: this is the active controller.",
                c->active ? 1 : 0);
    metrics_one(m, "weir_controller_has_leader", METRIC_GAUGE, "1: it knows who is.",
                c->leader != 0 ? 1 : 0);
    metrics_one(m, "weir_controller_activations_total", METRIC_COUNTER,
                "How often this controller became the active one.", (double)c->counts.activations);
    metrics_one(m, "weir_raft_term", METRIC_GAUGE, "Its Raft term.", (double)raft.term);
    metrics_one(m, "weir_raft_commit_index", METRIC_GAUGE, "Committed up to here, as it knows.",
                (double)raft.commit);
    metrics_one(m, "weir_raft_applied_index", METRIC_GAUGE, "Applied up to here.",
                (double)raft.applied);
    metrics_one(m, "weir_raft_stored_index", METRIC_GAUGE, "Durable here up to here.",
                (double)raft.stored);
    metrics_one(m, "weir_raft_log_bytes", METRIC_GAUGE, "Of the log behind the last snapshot.",
                (double)raft.log_bytes);
    metrics_one(m, "weir_raft_snapshots_total", METRIC_COUNTER, "Snapshots taken or received.",
                (double)raft.snapshots);
    metrics_one(m, "weir_raft_snapshot_index", METRIC_GAUGE, "What the newest snapshot holds.",
                (double)raft.snapshot);
    metrics_family(m, "weir_raft_commit_seconds", METRIC_HISTOGRAM,
                   "From an entry's being proposed here to its being applied here.");
    metrics_put_histogram(m, &c->pipeline.committed, NULL);
    metrics_one(m, "weir_commands_waiting", METRIC_GAUGE,
                "Commands that wait for the entry in flight.", (double)c->pipeline.waiting_count);
    write_peers(c, &raft, m);
}

static void write_shards(const struct controller *c, struct metrics *m)
{
    static const char *const phases[] = {"idle",   "electing",  "active",
                                         "sealed", "no_quorum", "deleted"};
    enum { PHASES = sizeof(phases) / sizeof(phases[0]) };
    uint32_t count[PHASES] = {0}, leaderless = 0;
    size_t shards = 0, streams = 0;
    const struct db_shard *shard = watch_shards(c->watch, &shards);
    (void)watch_streams(c->watch, &streams);
    for (size_t i = 0; i < shards; i++) {
        count[(size_t)shard[i].phase < PHASES ? (size_t)shard[i].phase : 0]++;
        leaderless += shard[i].phase != DB_SHARD_DELETED && shard[i].leader.broker == 0 ? 1 : 0;
    }
    metrics_one(m, "weir_streams", METRIC_GAUGE, "Streams.", (double)streams);
    metrics_family(m, "weir_shards", METRIC_GAUGE, "Shards, by what the metadata say of them.");
    for (uint32_t i = 0; i < PHASES; i++) {
        metrics_put(m, count[i], "phase", phases[i], NULL);
    }
    metrics_one(m, "weir_shards_without_leader", METRIC_GAUGE, "Shards that nobody leads.",
                leaderless);
}

static void write_brokers(const struct controller *c, struct metrics *m)
{
    size_t count = 0;
    const struct db_broker *broker = watch_brokers(c->watch, &count);
    char name[NODE_NAME_BYTES];
    metrics_family(m, "weir_broker_up", METRIC_GAUGE, "1: the metadata say that it is alive.");
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(name, sizeof(name), "broker-%u", broker[i].id);
        metrics_put(m, broker[i].alive ? 1 : 0, "broker", name, "broker_zone", broker[i].zone,
                    NULL);
    }
    metrics_one(m, "weir_watch_version", METRIC_GAUGE, "Version of the metadata that it has.",
                (double)watch_version(c->watch));
}

static void write_work(const struct controller *c, struct metrics *m)
{
    const struct controller_counts *counts = &c->counts;
    metrics_one(m, "weir_elections_total", METRIC_COUNTER,
                "Elections of shards' leaders that it began, while it was active.",
                (double)counts->elections);
    metrics_one(m, "weir_leaders_opened_total", METRIC_COUNTER,
                "Leaders that have begun to take records.", (double)counts->leaders);
    metrics_one(m, "weir_brokers_lost_total", METRIC_COUNTER,
                "Brokers that it found dead or disconnected.", (double)counts->brokers_lost);
    metrics_one(m, "weir_lease_moves_total", METRIC_COUNTER,
                "Leases that it gave to a worker, or took away.", (double)counts->leases_assigned);
    metrics_one(m, "weir_lease_expiries_total", METRIC_COUNTER,
                "Workers that lost their leases because they were silent or left.",
                (double)counts->lease_workers_gone);
    metrics_one(m, "weir_replicas_to_move", METRIC_GAUGE,
                "Replicas that should move to other brokers and do not yet.",
                c->active ? c->moves_missing : 0);
    balance_metrics(c, m);
}

static void write_metrics(void *context, struct metrics *m)
{
    const struct controller *c = context;
    if (!c->closing) {
        write_raft(c, m);
        write_shards(c, m);
        write_brokers(c, m);
        write_work(c, m);
    }
}

/* What the active controller sees of the others. */
static bool others_are_well(const struct controller *c, const struct raft_node_status *raft,
                            char why[PROCESS_WHY_BYTES])
{
    for (uint32_t i = 0; i < raft->server_count; i++) {
        bool differs = false;
        uint32_t id = raft->servers[i].server.id;
        (void)agreement_with(&c->agreement, id, &differs);
        if (differs) {
            (void)snprintf(why, PROCESS_WHY_BYTES, "its state is another than controller-%u's", id);
            return false;
        }
        if (c->active && id != raft->id && !raft->servers[i].connected) {
            (void)snprintf(why, PROCESS_WHY_BYTES, "controller-%u is not connected", id);
            return false;
        }
    }
    return true;
}

static bool is_ready(void *context, char why[PROCESS_WHY_BYTES])
{
    const struct controller *c = context;
    struct raft_node_status raft;
    if (c->closing) {
        (void)snprintf(why, PROCESS_WHY_BYTES, "it is stopping");
        return false;
    }
    raft_node_status(c->raft, &raft);
    if (c->leader == 0 || (!c->active && raft.leader_commit == 0)) {
        (void)snprintf(why, PROCESS_WHY_BYTES, "no active controller is known");
        return false;
    }
    uint64_t commit =
        c->active || raft.commit > raft.leader_commit ? raft.commit : raft.leader_commit;
    if (raft.applied + READY_BEHIND_MAX < commit) {
        (void)snprintf(why, PROCESS_WHY_BYTES, "it has applied %llu of %llu committed entries",
                       (unsigned long long)raft.applied, (unsigned long long)commit);
        return false;
    }
    return others_are_well(c, &raft, why);
}

enum status observe_open(struct controller *c, struct error *error)
{
    (void)snprintf(c->name, sizeof(c->name), "controller-%u", c->options.id);
    const struct process_options options = {
        .loop = c->options.loop,
        .name = c->name,
        .boot = c->options.boot,
        .role = FORMAT_OF_CONTROLLERS,
        .spec = c->options.spec,
        .config = c->options.config,
        .context = c,
        .metrics = write_metrics,
        .ready = is_ready,
    };
    return process_open(&c->process, &options,
                        c->options.metrics_listen == NULL ? "" : c->options.metrics_listen, error);
}
