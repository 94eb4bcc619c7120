/* Replicas that have never been made.
 *
 * A replica is made by a fence that calls it fresh, and by nothing else (docs/replication.md R14),
 * and an election needs only a majority: a broker that was away then has no replica, and no
 * election may come for a long time. So a voter that has never reported is fenced again in the
 * epoch that is led, which changes nothing for the others. That it has reported is committed; from
 * then on a replica that is missing is a lost disk. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "controller/rpc/internal.h"

static const struct db_replica *find_voter(const struct db_config *config, uint32_t broker,
                                           uint32_t disk_gen)
{
    for (uint32_t v = 0; v < config->voter_count; v++) {
        if (config->voter[v].broker == broker && config->voter[v].disk_gen == disk_gen) {
            return &config->voter[v];
        }
    }
    return NULL;
}

static const struct db_replica *voter_of(const struct db_shard *shard, uint32_t broker,
                                         uint32_t disk_gen)
{
    const struct db_replica *voter = find_voter(&shard->cfg, broker, disk_gen);
    return voter != NULL ? voter : find_voter(&shard->prev_cfg, broker, disk_gen);
}

bool replica_is_made(const struct db_shard *shard, uint32_t broker, uint32_t disk_gen)
{
    const struct db_replica *voter = voter_of(shard, broker, disk_gen);
    return voter != NULL && voter->made;
}

/* ---- fencing them
 * ---------------------------------------------------------------------------------- */

/* A shard's part of a fence, with all that it points to. */
struct fence_item {
    Weir__FenceShard shard;
    Weir__ReplicaConfig config[2];
    Weir__ReplicaId self, voter[2][DB_VOTERS_MAX];
    Weir__ReplicaId *voters[2][DB_VOTERS_MAX];
};

static Weir__ReplicaConfig *fill_config(struct fence_item *item, int which,
                                        const struct db_config *config)
{
    if (config->voter_count == 0) {
        return NULL;
    }
    Weir__ReplicaConfig *out = &item->config[which];
    weir__replica_config__init(out);
    out->version = config->version;
    out->n_voters = config->voter_count;
    out->voters = item->voters[which];
    for (uint32_t v = 0; v < config->voter_count; v++) {
        Weir__ReplicaId *voter = &item->voter[which][v];
        weir__replica_id__init(voter);
        voter->broker = config->voter[v].broker;
        voter->disk_gen = config->voter[v].disk_gen;
        item->voters[which][v] = voter;
    }
    return out;
}

static void fill(struct fence_item *item, const struct db_shard *shard, const struct client *client)
{
    weir__fence_shard__init(&item->shard);
    weir__replica_id__init(&item->self);
    item->self.broker = client->broker;
    item->self.disk_gen = client->disk_gen;
    item->shard.shard = shard->id;
    item->shard.epoch = shard->epoch;
    item->shard.config = fill_config(item, 0, &shard->cfg);
    item->shard.prev_config = fill_config(item, 1, &shard->prev_cfg);
    item->shard.replica = &item->self;
    item->shard.fresh = true;
}

static bool lacks(const struct db_shard *shard, const struct client *client)
{
    const struct db_replica *voter = voter_of(shard, client->broker, client->disk_gen);
    return voter != NULL && !voter->made;
}

static bool lacks_any(const struct db_shard *shard)
{
    bool lacks = false;
    for (uint32_t v = 0; v < shard->cfg.voter_count; v++) {
        lacks = lacks || !shard->cfg.voter[v].made;
    }
    for (uint32_t v = 0; v < shard->prev_cfg.voter_count; v++) {
        lacks = lacks || !shard->prev_cfg.voter[v].made;
    }
    return lacks && shard->phase == DB_SHARD_ACTIVE;
}

/* Shards that are led and lack a replica, up to a frame of them. */
struct lacking {
    const struct db_shard **shard;
    size_t count;
};

static void lacking_release(struct lacking *lacking)
{
    free(lacking->shard);
}

static bool find_lacking(const struct controller *c, struct lacking *out)
{
    size_t shard_count = 0;
    const struct db_shard *shards = watch_shards(c->watch, &shard_count);
    for (size_t i = 0; i < shard_count && out->count < ELECTION_FRAME_SHARDS_MAX; i++) {
        if (!lacks_any(&shards[i])) {
            continue;
        }
        if (out->shard == NULL) {
            out->shard = calloc(ELECTION_FRAME_SHARDS_MAX, sizeof(*out->shard));
        }
        if (out->shard == NULL) {
            return false;
        }
        out->shard[out->count++] = &shards[i];
    }
    return true;
}

/* Whether the broker lacks anything. */
static bool fence_lacking(const struct controller *c, const struct client *client,
                          const struct lacking *lacking)
{
    AUTO(free_pointer) struct fence_item *items = calloc(lacking->count, sizeof(*items));
    AUTO(free_pointer)
    Weir__FenceShard **pointers = calloc(lacking->count, sizeof(Weir__FenceShard *));
    size_t count = 0;
    for (size_t i = 0; items != NULL && pointers != NULL && i < lacking->count; i++) {
        if (lacks(lacking->shard[i], client)) {
            fill(&items[count], lacking->shard[i], client);
            pointers[count] = &items[count].shard;
            count++;
        }
    }
    Weir__Fence fence = WEIR__FENCE__INIT;
    fence.controller = c->options.id;
    fence.n_shards = count;
    fence.shards = pointers;
    if (count > 0) {
        status_ignore(
            session_send(client->session, RPC_FENCE, (struct session_payload){.body = &fence.base}),
            "it is fenced again");
    }
    return count > 0;
}

static void look(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, replicas_timer);
    AUTO(lacking_release) struct lacking lacking = {0};
    bool again = !find_lacking(c, &lacking);
    for (size_t i = 0; lacking.count > 0 && i < c->liveness.count; i++) {
        const struct liveness_broker *broker = &c->liveness.broker[i];
        if (broker->here) {
            again = fence_lacking(c, broker->session, &lacking) || again;
        }
    }
    if (again) {
        replicas_look_again(c);
    }
}

void replicas_look_again(struct controller *c)
{
    if (c->replicas_timer.heap_index == 0) {
        status_ignore(net_timer_start(c->options.loop, &c->replicas_timer,
                                      controller_now(c) + REPLICAS_LOOK_MS, look),
                      "the next change of a shard starts it");
    }
}

void replicas_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->replicas_timer);
    c->made.size = 0;
}

/* ---- noting that they are there
 * -------------------------------------------------------------------- */

void replicas_reported(struct controller *c, uint64_t shard, struct db_replica replica)
{
    const struct db_shard *row = watch_shard(c->watch, shard);
    if (row == NULL || row->phase != DB_SHARD_ACTIVE) {
        return; /* an election notes its own replies */
    }
    const struct db_replica *voter = voter_of(row, replica.broker, replica.disk_gen);
    struct made_replica made = {
        .shard = shard, .broker = replica.broker, .disk_gen = replica.disk_gen};
    if (voter != NULL && !voter->made) {
        status_ignore(buf_append(&c->made, &made, sizeof(made)), "it is fenced again");
        controller_wake(c);
    }
}

void replicas_flush(struct controller *c)
{
    size_t count = c->made.size / sizeof(struct made_replica);
    if (count == 0) {
        return;
    }
    const struct made_replica *made = (const struct made_replica *)(const void *)c->made.data;
    AUTO(free_pointer)
    Weir__CmdReplicasMade__Replica *items = calloc(count, sizeof(*items));
    AUTO(free_pointer) Weir__ReplicaId *replicas = calloc(count, sizeof(*replicas));
    AUTO(free_pointer)
    Weir__CmdReplicasMade__Replica **pointers =
        calloc(count, sizeof(Weir__CmdReplicasMade__Replica *));
    if (items == NULL || replicas == NULL || pointers == NULL) {
        c->made.size = 0;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        weir__cmd_replicas_made__replica__init(&items[i]);
        weir__replica_id__init(&replicas[i]);
        replicas[i].broker = made[i].broker;
        replicas[i].disk_gen = made[i].disk_gen;
        items[i].shard = made[i].shard;
        items[i].replica = &replicas[i];
        pointers[i] = &items[i];
    }
    Weir__CmdReplicasMade all = WEIR__CMD_REPLICAS_MADE__INIT;
    all.n_replicas = count;
    all.replicas = pointers;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_REPLICAS_MADE;
    command.replicas_made = &all;
    command_of_ours(c, &command, (uint32_t)count);
    c->made.size = 0;
}
