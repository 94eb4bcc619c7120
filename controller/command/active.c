/* ACTIVE(epoch, leader, boot, configurations): the outcome of an election. The grant goes out only
 * after this (docs/replication.md 2.7). What does not fit the row changes nothing. */
#include "controller/command/internal.h"

static bool read_config(const Weir__ReplicaConfig *in, struct db_config *out)
{
    *out = (struct db_config){0};
    if (in == NULL) {
        return true;
    }
    if (in->n_voters > DB_VOTERS_MAX) {
        return false;
    }
    out->version = in->version;
    out->voter_count = (uint32_t)in->n_voters;
    for (size_t v = 0; v < in->n_voters; v++) {
        out->voter[v] = (struct db_replica){.broker = in->voters[v]->broker,
                                            .disk_gen = in->voters[v]->disk_gen};
    }
    return true;
}

static bool config_equal(const struct db_config *a, const struct db_config *b)
{
    bool equal = a->version == b->version && a->voter_count == b->voter_count;
    for (uint32_t v = 0; equal && v < a->voter_count; v++) {
        equal = a->voter[v].broker == b->voter[v].broker &&
                a->voter[v].disk_gen == b->voter[v].disk_gen;
    }
    return equal;
}

static bool config_has(const struct db_config *config, const Weir__ReplicaId *replica)
{
    for (uint32_t v = 0; v < config->voter_count; v++) {
        if (config->voter[v].broker == replica->broker &&
            config->voter[v].disk_gen == replica->disk_gen) {
            return true;
        }
    }
    return false;
}

/* The configurations stay as they are, or change places when only the previous one can have
 * committed anything (R5). */
static bool fits(const struct db_shard *row, const struct db_config *cfg,
                 const struct db_config *prev)
{
    return (config_equal(cfg, &row->cfg) && config_equal(prev, &row->prev_cfg)) ||
           (row->prev_cfg.voter_count > 0 && config_equal(cfg, &row->prev_cfg) &&
            config_equal(prev, &row->cfg));
}

/* The stream is ACTIVE when each of its shards has had a leader. */
static void count_first_leader(struct db *db, uint32_t stream_id)
{
    struct db_stream stream;
    if (!db_stream_get(db, stream_id, &stream) || stream.waiting == 0) {
        return;
    }
    stream.waiting--;
    if (stream.waiting == 0 && stream.state == DB_STREAM_CREATING) {
        stream.state = DB_STREAM_ACTIVE;
    }
    db_stream_put(db, &stream);
}

static void activate(struct db *db, const Weir__CmdActive__Shard *in, struct db_result *result)
{
    struct db_shard row;
    struct db_config cfg, prev;
    if (in->shard > INT64_MAX || in->leader == NULL || in->boot > INT64_MAX ||
        !read_config(in->config, &cfg) || !read_config(in->prev_config, &prev) ||
        !db_shard_get(db, in->shard, &row)) {
        return;
    }
    if (in->epoch != row.epoch ||
        (row.phase != DB_SHARD_ELECTING && row.phase != DB_SHARD_NO_QUORUM) ||
        !fits(&row, &cfg, &prev) || !config_has(&cfg, in->leader)) {
        return;
    }
    bool swapped = !config_equal(&cfg, &row.cfg);
    bool first = !row.granted;
    row.phase = DB_SHARD_ACTIVE;
    row.granted = true;
    row.leader =
        (struct db_replica){.broker = in->leader->broker, .disk_gen = in->leader->disk_gen};
    row.leader_boot = in->boot;
    if (swapped) {
        cfg = row.prev_cfg;
        prev = row.cfg;
        row.cfg = cfg;
        row.prev_cfg = prev;
        db_shard_configs_put(db, &row);
    }
    db_shard_put(db, &row);
    for (size_t i = 0; i < in->n_made; i++) {
        db_replica_made(db, row.id, in->made[i]->broker, in->made[i]->disk_gen);
    }
    if (first) {
        count_first_leader(db, (uint32_t)(row.id >> 32));
    }
    if (first && row.lineage.state == DB_SHARD_WAITING) {
        command_reshard_advance(db, (uint32_t)(row.id >> 32), result);
    }
}

void command_active(struct db *db, const Weir__Command *command, struct db_result *result)
{
    for (size_t i = 0; i < command->active->n_shards; i++) {
        activate(db, command->active->shards[i], result);
    }
}
