/* Orders about replicas and leaderships that move, and what is told about them. */
#include "base/trace.h"
#include "broker/server/controllers_internal.h"
#include "proto/schema/moves.pb-c.h"

static struct replica_id id_of(const Weir__ReplicaId *m)
{
    return m == NULL ? (struct replica_id){0}
                     : (struct replica_id){.broker = m->broker, .disk_gen = m->disk_gen};
}

/* A learner is made whenever it is missing: it counts for nothing yet, and it has promised all that
 * a replica that was here before can have promised (R14, R2). */
static void make(struct controllers *c, const Weir__LearnShard *m)
{
    struct replica_id id = id_of(m->make);
    if (id.broker != c->options.broker || c->disk_gen == 0 || id.disk_gen != c->disk_gen ||
        m->epoch == 0 || shards_find(c->options.shards, m->shard) != NULL ||
        shards_is_dropping(c->options.shards, m->shard)) {
        return;
    }
    struct shard *shard;
    enum status status = shards_create(c->options.shards, m->shard, c->disk_gen, m->epoch, &shard);
    trace(status == STATUS_OK ? TRACE_INFO : TRACE_WARNING, "controllers",
          "shard %016llx: a learner is made: %s", (unsigned long long)m->shard,
          status_text(status));
}

static void learn(struct controllers *c, const Weir__LearnShard *m)
{
    struct shard *shard = shards_find(c->options.shards, m->shard);
    if (m->make != NULL) {
        make(c, m);
        return;
    }
    struct replica_config learners = {0};
    if (shard == NULL || m->n_learners > REPLICA_LEARNERS_MAX) {
        return;
    }
    for (size_t i = 0; i < m->n_learners; i++) {
        learners.voter[learners.voter_count++] = id_of(m->learners[i]);
    }
    enum status status = shard_learn(shard, m->epoch, &learners);
    if (status != STATUS_OK) {
        trace(TRACE_DEBUG, "controllers", "shard %016llx: learners of epoch %u: %s",
              (unsigned long long)m->shard, m->epoch, status_name(status));
    }
}

static bool on_learn(struct controllers *c, struct bytes body)
{
    Weir__Learn *message = weir__learn__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        learn(c, message->shards[i]);
    }
    weir__learn__free_unpacked(message, NULL);
    return true;
}

static bool on_handover(struct controllers *c, struct bytes body)
{
    Weir__Handover *message = weir__handover__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        const Weir__HandoverShard *m = message->shards[i];
        struct shard *shard = shards_find(c->options.shards, m->shard);
        if (shard != NULL && shard->open && shard->epoch == m->epoch) {
            status_ignore(shard_hand_over(shard, id_of(m->heir)), "the controllers ask again");
        }
    }
    weir__handover__free_unpacked(message, NULL);
    return true;
}

bool moves_obey(struct controllers *c, enum rpc_method method, struct bytes body)
{
    return method == RPC_LEARN ? on_learn(c, body) : on_handover(c, body);
}

void controllers_learned(struct controllers *c, const struct shard *shard,
                         struct replica_id learner)
{
    struct learned *l = controllers_gather(c, &c->learned, sizeof(*l));
    if (l != NULL) {
        *l = (struct learned){.shard = shard->id, .epoch = shard->epoch, .learner = learner};
    }
}
