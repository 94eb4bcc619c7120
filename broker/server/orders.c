/* What controllers tell, and what they are told about it. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/trace.h"
#include "broker/server/controllers_internal.h"
#include "proto/schema/moves.pb-c.h"

enum { GATHERED_MAX = 4096 /* shards in one message */ };

/* ---- gathering ---- */

struct report {
    uint64_t shard;
    uint32_t epoch;
    struct replica_id replica;
    struct replica_report report;
};

void *controllers_gather(struct controllers *c, struct gathered *g, size_t item_bytes)
{
    if (g->count == g->capacity) {
        uint32_t capacity = g->capacity == 0 ? 64 : g->capacity * 2;
        void *items = realloc(g->items, capacity * item_bytes);
        if (items == NULL) {
            return NULL;
        }
        g->items = items;
        g->capacity = capacity;
    }
    c->options.schedule(c->options.context);
    return (char *)g->items + g->count++ * item_bytes;
}

void controllers_release_gathered(struct controllers *c)
{
    free(c->reports.items);
    free(c->leadings.items);
    free(c->resignations.items);
    free(c->seals.items);
    free(c->learned.items);
    free(c->drops.items);
}

void controllers_report(struct controllers *c, const struct shard *shard, uint32_t epoch,
                        const struct replica_report *report)
{
    struct report *r = controllers_gather(c, &c->reports, sizeof(*r));
    if (r != NULL) {
        *r = (struct report){
            .shard = shard->id, .epoch = epoch, .replica = shard->self, .report = *report};
    }
}

void controllers_leading(struct controllers *c, uint64_t shard, uint32_t epoch)
{
    struct leading *l = controllers_gather(c, &c->leadings, sizeof(*l));
    if (l != NULL) {
        *l = (struct leading){.shard = shard, .epoch = epoch};
    }
}

void controllers_sealed(struct controllers *c, const struct shard *shard, uint64_t end,
                        uint64_t time_ms)
{
    struct sealed *s = controllers_gather(c, &c->seals, sizeof(*s));
    if (s != NULL) {
        *s = (struct sealed){
            .shard = shard->id, .end = end, .time_ms = time_ms, .epoch = shard->epoch};
    }
}

void controllers_resign(struct controllers *c, uint64_t shard, uint32_t epoch, uint32_t promised,
                        uint32_t heir)
{
    struct resignation *r = controllers_gather(c, &c->resignations, sizeof(*r));
    if (r != NULL) {
        *r = (struct resignation){
            .shard = shard, .epoch = epoch, .promised = promised, .heir = heir};
    }
}

void controllers_dropped(struct controllers *c, uint64_t shard)
{
    uint64_t *d = controllers_gather(c, &c->drops, sizeof(*d));
    if (d != NULL) {
        *d = shard;
    }
}

/* ---- sending ---- */

static void send_to(struct session *session, enum rpc_method method, const ProtobufCMessage *body)
{
    if (session != NULL) {
        status_ignore(session_send(session, method, (struct session_payload){.body = body}),
                      "the controllers ask again");
    }
}

/* One kind of what is gathered: a row of its message for each item. */
struct kind {
    size_t item_bytes, row_bytes; /* a row begins with the message that stands for the item */
    void (*fill)(void *row, const void *item);
    void (*send)(const struct controllers *c, void *rows, uint32_t count, struct session *to);
};

/* Sends all, as many messages as that takes. Out of memory: the controllers ask again. */
static void send_all(const struct controllers *c, const struct gathered *g, const struct kind *kind,
                     struct session *to)
{
    uint32_t capacity = g->count < GATHERED_MAX ? g->count : GATHERED_MAX;
    AUTO(free_pointer) char *rows = calloc(capacity, kind->row_bytes);
    AUTO(free_pointer) void **pointers = calloc(capacity, sizeof(void *));
    if (rows == NULL || pointers == NULL) {
        return;
    }
    for (uint32_t at = 0; at < g->count;) {
        uint32_t count = 0;
        for (; count < capacity && at < g->count; count++, at++) {
            pointers[count] = rows + count * kind->row_bytes;
            kind->fill(pointers[count], (const char *)g->items + at * kind->item_bytes);
        }
        kind->send(c, pointers, count, to);
    }
}

static void fill_id(Weir__ReplicaId *to, struct replica_id id)
{
    weir__replica_id__init(to);
    to->broker = id.broker;
    to->disk_gen = id.disk_gen;
}

struct report_row {
    Weir__ReportShard message;
    Weir__ReplicaId replica;
};

static void fill_report(void *to, const void *item)
{
    struct report_row *row = to;
    const struct report *r = item;
    fill_id(&row->replica, r->replica);
    weir__report_shard__init(&row->message);
    row->message.shard = r->shard;
    row->message.epoch = r->epoch;
    row->message.ok = r->report.ok;
    row->message.certain = r->report.certain;
    row->message.promised = r->report.promised;
    row->message.replica = &row->replica;
    row->message.last_epoch = r->report.last_epoch;
    row->message.end = r->report.end;
    row->message.log_start = r->report.log_start;
    row->message.commit_hint = r->report.commit_hint;
    row->message.holes = r->report.holes.count;
    row->message.holes_begin = r->report.holes.begin;
    row->message.holes_end = r->report.holes.end;
}

static void fill_leading(void *to, const void *item)
{
    Weir__LeadingShard *row = to;
    const struct leading *l = item;
    weir__leading_shard__init(row);
    row->shard = l->shard;
    row->epoch = l->epoch;
}

static void fill_sealed(void *to, const void *item)
{
    Weir__SealedShard *row = to;
    const struct sealed *s = item;
    weir__sealed_shard__init(row);
    row->shard = s->shard;
    row->epoch = s->epoch;
    row->end = s->end;
    row->time_ms = s->time_ms;
}

static void fill_resignation(void *to, const void *item)
{
    Weir__ResignShard *row = to;
    const struct resignation *r = item;
    weir__resign_shard__init(row);
    row->shard = r->shard;
    row->epoch = r->epoch;
    row->promised = r->promised;
    row->heir = r->heir;
}

struct learned_row {
    Weir__LearnedShard message;
    Weir__ReplicaId learner;
};

static void fill_learned(void *to, const void *item)
{
    struct learned_row *row = to;
    const struct learned *l = item;
    fill_id(&row->learner, l->learner);
    weir__learned_shard__init(&row->message);
    row->message.shard = l->shard;
    row->message.epoch = l->epoch;
    row->message.learner = &row->learner;
}

/* send_NAME(), and the kind that it makes with fill_ITEM(). */
#define KIND(name, item, row, Message, message_init, method)                               \
    static void send_##name(const struct controllers *c, void *rows, uint32_t count,       \
                            struct session *to)                                            \
    {                                                                                      \
        Message message;                                                                   \
        message_init(&message);                                                            \
        message.boot = c->options.boot;                                                    \
        message.n_shards = count;                                                          \
        message.shards = rows;                                                             \
        send_to(to, method, &message.base);                                                \
    }                                                                                      \
    static const struct kind name##_kind = {sizeof(struct item), sizeof(row), fill_##item, \
                                            send_##name}

KIND(reports, report, struct report_row, Weir__FenceReport, weir__fence_report__init,
     RPC_FENCE_REPORT);
KIND(leadings, leading, Weir__LeadingShard, Weir__Leading, weir__leading__init, RPC_LEADING);
KIND(seals, sealed, Weir__SealedShard, Weir__ShardsSealed, weir__shards_sealed__init,
     RPC_SHARDS_SEALED);
KIND(resignations, resignation, Weir__ResignShard, Weir__Resign, weir__resign__init, RPC_RESIGN);
KIND(learned, learned, struct learned_row, Weir__Learned, weir__learned__init, RPC_LEARNED);

static void send_drops(struct controllers *c, struct session *to)
{
    Weir__ShardsDropped message = WEIR__SHARDS_DROPPED__INIT;
    message.n_shards = c->drops.count;
    message.shards = c->drops.items;
    send_to(to, RPC_SHARDS_DROPPED, &message.base);
}

void controllers_turn(struct controllers *c)
{
    /* A report goes to whoever fenced; the rest to whom we are registered with. */
    struct session *active = c->active != NULL ? c->active->session : NULL;
    struct session *fencer = c->fencer != NULL ? c->fencer->session : active;
    if (c->reports.count > 0) {
        send_all(c, &c->reports, &reports_kind, fencer);
        c->reports.count = 0;
    }
    if (c->leadings.count > 0) {
        send_all(c, &c->leadings, &leadings_kind, active != NULL ? active : fencer);
        c->leadings.count = 0;
    }
    if (c->seals.count > 0) {
        send_all(c, &c->seals, &seals_kind, active != NULL ? active : fencer);
        c->seals.count = 0;
    }
    if (c->resignations.count > 0) {
        send_all(c, &c->resignations, &resignations_kind,
                 active); /* said again, if nobody is active now */
        c->resignations.count = 0;
    }
    if (c->learned.count > 0) {
        send_all(c, &c->learned, &learned_kind, active); /* asked again, if nobody is active now */
        c->learned.count = 0;
    }
    if (c->drops.count > 0) {
        send_drops(c, active != NULL ? active : fencer);
        c->drops.count = 0;
    }
}

/* ---- fences ---- */

static void add_voters(struct replica_config *config, const Weir__ReplicaConfig *from)
{
    for (size_t i = 0; from != NULL && i < from->n_voters; i++) {
        struct replica_id id = {.broker = from->voters[i]->broker,
                                .disk_gen = from->voters[i]->disk_gen};
        bool known = false;
        for (uint32_t j = 0; j < config->voter_count && !known; j++) {
            known = replica_id_equal(config->voter[j], id);
        }
        if (!known && config->voter_count < REPLICA_VOTERS_MAX) {
            config->voter[config->voter_count++] = id;
        }
    }
}

static struct replica_config config_of(const Weir__ReplicaConfig *from)
{
    struct replica_config config = {.version = from == NULL ? 0 : from->version};
    add_voters(&config, from);
    return config;
}

/* The replica that is meant. Made only when the controllers say that it may be (R14), never because
 * it is missing. */
static struct shard *fenced_shard(struct controllers *c, const Weir__FenceShard *m)
{
    const Weir__ReplicaId *meant = m->replica;
    if (meant == NULL || meant->broker != c->options.broker) {
        return NULL;
    }
    struct shard *shard = shards_find(c->options.shards, m->shard);
    if (shard != NULL) {
        shard->unlisted_ms = 0; /* metadata that list it are on their way */
        if (shard->self.disk_gen != meant->disk_gen) {
            trace(TRACE_WARNING, "controllers",
                  "shard %016llx: a fence for disk generation %u, ours is %u: not answered",
                  (unsigned long long)m->shard, meant->disk_gen, shard->self.disk_gen);
            return NULL;
        }
        return shard;
    }
    if (!m->fresh || c->disk_gen == 0 || meant->disk_gen != c->disk_gen) {
        trace(TRACE_WARNING, "controllers",
              "shard %016llx is not here and not new: not made, the fence is not answered",
              (unsigned long long)m->shard);
        return NULL;
    }
    enum status status = shards_create(c->options.shards, m->shard, c->disk_gen, 0, &shard);
    if (status != STATUS_OK) {
        trace(TRACE_WARNING, "controllers", "shard %016llx cannot be made: %s",
              (unsigned long long)m->shard, status_text(status));
        return NULL;
    }
    return shard;
}

static bool on_fence(struct controllers *c, struct controller *from, struct bytes body)
{
    Weir__Fence *message = weir__fence__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    if (message->n_shards == 0) {
        controllers_summoned(c, from);
    } else {
        c->fencer = from;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        const Weir__FenceShard *m = message->shards[i];
        struct shard *shard = fenced_shard(c, m);
        if (shard == NULL) {
            continue;
        }
        struct replica_config config = config_of(m->config);
        add_voters(&config, m->prev_config);
        enum status status = shard_fence(shard, m->epoch, &config);
        if (status != STATUS_OK) {
            trace(TRACE_DEBUG, "controllers", "shard %016llx: fence of epoch %u: %s",
                  (unsigned long long)m->shard, m->epoch, status_name(status));
        }
    }
    weir__fence__free_unpacked(message, NULL);
    return true;
}

/* ---- grants ---- */

static void grant(struct controllers *c, const Weir__GrantShard *m)
{
    struct shard *shard = shards_find(c->options.shards, m->shard);
    if (shard == NULL || m->replica == NULL) {
        return;
    }
    if (shard->open && shard->epoch == m->epoch) {
        controllers_leading(c, m->shard, m->epoch); /* a new active controller does not know yet */
        return;
    }
    const struct route_shard *row = route_shard(c->options.route, m->shard);
    if (row != NULL && row->open) {
        shard_open_child(shard); /* the grant may be older than the image */
    }
    const struct shard_grant order = {
        .epoch = m->epoch,
        .generation = m->generation,
        .waits_for_parents = m->waits_for_parents,
        .replica = {.broker = m->replica->broker, .disk_gen = m->replica->disk_gen},
        .boot = m->boot,
        .config = config_of(m->config),
        .previous = config_of(m->prev_config),
    };
    enum status status = shard_grant(shard, &order);
    if (status != STATUS_OK) {
        trace(TRACE_DEBUG, "controllers", "shard %016llx: grant of epoch %u: %s",
              (unsigned long long)m->shard, m->epoch, status_name(status));
    }
}

static bool on_grant(struct controllers *c, struct bytes body)
{
    Weir__Grant *message = weir__grant__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        grant(c, message->shards[i]);
    }
    weir__grant__free_unpacked(message, NULL);
    return true;
}

/* ---- seals ---- */

/* Only a leader can do it. Whoever is asked in vain says nothing: the controllers ask again. */
static bool on_seal(struct controllers *c, struct bytes body)
{
    Weir__SealShards *message = weir__seal_shards__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        struct shard *shard = shards_find(c->options.shards, message->shards[i]);
        enum status status = shard == NULL ? STATUS_NOT_FOUND : shard_seal(shard);
        if (status != STATUS_OK) {
            trace(TRACE_DEBUG, "controllers", "shard %016llx: seal: %s",
                  (unsigned long long)message->shards[i], status_name(status));
        }
    }
    weir__seal_shards__free_unpacked(message, NULL);
    return true;
}

/* ---- drops ---- */

/* From the controller that we are registered with alone: one that was deposed may not know that the
 * replica has been wanted back since. */
static bool on_drop(struct controllers *c, const struct controller *from, struct bytes body)
{
    if (from != c->active) {
        return true;
    }
    Weir__DropShards *message = weir__drop_shards__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        return false;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        struct shard *shard = shards_find(c->options.shards, message->shards[i]);
        if (shard == NULL) {
            if (!shards_is_dropping(c->options.shards, message->shards[i])) {
                controllers_dropped(c, message->shards[i]); /* before, or never here */
            }
            continue;
        }
        const struct route_shard *row = route_shard(c->options.route, message->shards[i]);
        bool keep = row != NULL && row->generation > shard->log_generation;
        /* A forced recovery went on without it: what it has may be wanted yet. When it is gone
         * from here the order comes once more, and is confirmed. */
        enum status status = keep ? shards_quarantine(c->options.shards, shard)
                                  : shards_drop(c->options.shards, shard);
        trace(status == STATUS_OK ? TRACE_INFO : TRACE_WARNING, "controllers",
              "shard %016llx %s: %s", (unsigned long long)message->shards[i],
              keep ? "goes to quarantine" : "is deleted", status_text(status));
    }
    weir__drop_shards__free_unpacked(message, NULL);
    return true;
}

bool controllers_obey(struct controllers *c, struct controller *from, enum rpc_method method,
                      struct bytes body)
{
    if (method == RPC_FENCE) {
        return on_fence(c, from, body);
    }
    if (method == RPC_GRANT) {
        return on_grant(c, body);
    }
    if (method == RPC_SEAL_SHARDS) {
        return on_seal(c, body);
    }
    if (method == RPC_LEARN || method == RPC_HANDOVER) {
        return moves_obey(c, method, body);
    }
    return method == RPC_DROP_SHARDS && on_drop(c, from, body);
}
