/* Clients that store: to whom they believe to lead, or who used to. What they want stored, they try
 * until it is answered; only plain ones never try again. */
#include <string.h>

#include "tests/sim/world.h"

static bool tries_again(const struct client *c)
{
    return c->kind == CLIENT_NATIVE || c->kind == CLIENT_SDK;
}

void client_init(struct world *w, uint32_t client)
{
    static const enum client_kind kinds[8] = {CLIENT_PLAIN, CLIENT_PLAIN,  CLIENT_PLAIN,
                                              CLIENT_PLAIN, CLIENT_NATIVE, CLIENT_NATIVE,
                                              CLIENT_SDK,   CLIENT_READER};
    struct client *c = &w->client[client];
    *c = (struct client){.kind = kinds[draw(w, 0, w->plan.only_plain ? 3 : 7)],
                         .producer = 1 + client};
    c->window = (uint32_t)draw(w, 2, CLIENT_OPS_MAX);
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        c->view |= w->metadata.parents[s] == 0 ? 1u << s : 0;
    }
}

/* ------------------------------------------------------------------------- sending */

static bool believe(struct world *w, uint32_t client, uint32_t shard, uint32_t *out)
{
    uint32_t *belief = &w->client[client].belief[shard];
    if (*belief == 0 || chance(w, w->healing ? 500 : 60)) {
        *belief = w->metadata.row[shard].leader.broker;
    }
    *out = knob(w, KNOB_RETRY_ELSEWHERE) ? (uint32_t)draw(w, 1, w->plan.brokers) : *belief;
    return *out != 0;
}

static struct message *put_to(struct world *w, uint32_t client, uint32_t shard, uint32_t broker,
                              uint64_t id, uint32_t count)
{
    struct message *m = message_new(w, MESSAGE_PUT, CLIENTS, broker, shard);
    memset(&m->as.put, 0, sizeof m->as.put);
    m->as.put.attempt = id;
    m->as.put.client = client;
    m->as.put.count = count;
    return m;
}

uint64_t client_put(struct world *w, uint32_t client, uint32_t shard)
{
    uint32_t to;
    if (!believe(w, client, shard, &to)) {
        return 0;
    }
    uint64_t id = ++w->next_id;
    network_send(w, put_to(w, client, shard, to, id, (uint32_t)draw(w, 1, 4)));
    return id;
}

/* Any number with this id: tables use it as a hash. */
static uint64_t token_of(uint64_t id)
{
    uint64_t x = id * 0x9e3779b97f4a7c15u;
    x ^= x >> 32;
    return (x * 0xd6e8feb86659fd93u) | 1;
}

static void try(struct world *w, uint32_t client, struct put_op *op)
{
    struct client *c = &w->client[client];
    uint32_t to;
    op->due_us = w->now_us + draw(w, 50, 1200) * MS;
    if (knob(w, KNOB_EARLY_RETRY)) {
        op->due_us = w->now_us + draw(w, 0, 4 * MS);
    }
    if (!believe(w, client, op->shard, &to)) {
        return;
    }
    SEEN_IF(w, RETRY_SENT, op->tries > 0);
    op->tries++;
    struct message *m = put_to(w, client, op->shard, to, op->id, op->count);
    if (c->kind == CLIENT_NATIVE) {
        m->as.put.producer = c->producer;
        m->as.put.producer_epoch = op->producer_epoch;
        m->as.put.seq = op->seq;
    } else {
        m->as.put.token = token_of(op->id);
    }
    network_send(w, m);
}

/* ---------------------------------------------------------------------- operations */

static uint32_t any_open_shard(struct world *w, struct client *c)
{
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    bool wrong = chance(w, 20); /* a view may be wrong */
    while ((c->closed >> shard & 1) != 0 || ((c->view >> shard & 1) == 0 && !wrong)) {
        shard = (shard + 1) % w->plan.shards;
    }
    return shard;
}

static void assign(struct client *c, struct put_op *op, uint32_t shard)
{
    op->shard = shard;
    op->producer_epoch = c->producer_epoch;
    op->seq = c->next_seq[shard];
    c->next_seq[shard] += op->count;
}

static void begin_operation(struct world *w, uint32_t client)
{
    struct client *c = &w->client[client];
    struct put_op *op = NULL;
    for (uint32_t i = 0; i < c->window; i++) {
        op = c->op[i].id == 0 ? &c->op[i] : op;
    }
    if (op == NULL) {
        return;
    }
    *op = (struct put_op){.id = ++w->next_id, .count = (uint32_t)draw(w, 1, 4)};
    check_operation(w, op->id);
    assign(c, op, any_open_shard(w, c));
    try(w, client, op);
}

/* The process ended, another one goes on: it does not know what became of the operations. */
static void producer_restarts(struct world *w, struct client *c)
{
    SEEN(w, PRODUCER_EPOCH);
    c->producer_epoch++;
    memset(c->op, 0, sizeof c->op);
    memset(c->next_seq, 0, sizeof c->next_seq);
}

static void retry_due(struct world *w, uint32_t client)
{
    struct client *c = &w->client[client];
    for (uint32_t i = 0; i < CLIENT_OPS_MAX; i++) {
        if (c->op[i].id != 0 && w->now_us >= c->op[i].due_us) {
            try(w, client, &c->op[i]);
        }
    }
}

bool clients_are_done(const struct world *w)
{
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        for (uint32_t k = 0; k < CLIENT_OPS_MAX; k++) {
            if (w->client[i].op[k].id != 0) {
                return false;
            }
        }
    }
    return true;
}

static void store(struct world *w, uint32_t client)
{
    struct client *c = &w->client[client];
    uint32_t burst = chance(w, 100) ? 4 : 1;
    if (c->kind == CLIENT_PLAIN) {
        uint32_t shard = any_open_shard(w, c);
        for (uint32_t i = 0; i < burst && !w->healing; i++) {
            client_put(w, client, shard);
        }
        return;
    }
    retry_due(w, client);
    if (!w->healing && c->kind == CLIENT_NATIVE && chance(w, 3)) {
        producer_restarts(w, c);
    }
    for (uint32_t i = 0; i < burst && !w->healing; i++) {
        begin_operation(w, client);
    }
}

void client_on_event(struct world *w, uint32_t client)
{
    struct client *c = &w->client[client];
    if (c->kind == CLIENT_READER) {
        reader_turn(w, c);
    } else {
        store(w, client);
    }
    if (!w->healing || c->kind != CLIENT_PLAIN) {
        schedule(w, draw_exponential(w, w->plan.put_us),
                 (struct event){.type = EVENT_CLIENT, .a = client});
    }
}

/* ------------------------------------------------------------------------- answers */

/* Where the records of a closed shard's keys go. */
static uint32_t child_of(struct world *w, const struct client *c, uint32_t shard)
{
    uint32_t first = (uint32_t)draw(w, 0, w->plan.shards - 1), found = shard;
    for (uint32_t i = 0; i < w->plan.shards; i++) {
        uint32_t s = (first + i) % w->plan.shards;
        found = (w->metadata.parents[s] >> shard & 1) != 0 ? s : found;
    }
    bool on = found != shard && (c->closed >> found & 1) != 0;
    return on ? child_of(w, c, found) : found;
}

/* The shard is closed, and the operation not in it: nor is any behind it, because the log takes a
 * producer's batches in their order (client/producer/delivery.h). They go to the children. */
static void reroute(struct world *w, uint32_t client, const struct put_op *first)
{
    struct client *c = &w->client[client];
    uint32_t shard = first->shard, seq = first->seq;
    for (uint32_t i = 0; i < CLIENT_OPS_MAX; i++) {
        struct put_op *next = NULL; /* in their order, each into its child's */
        for (uint32_t k = 0; k < CLIENT_OPS_MAX; k++) {
            struct put_op *op = &c->op[k];
            bool here = op->id != 0 && op->shard == shard && op->seq >= seq;
            next = here && (next == NULL || op->seq < next->seq) ? op : next;
        }
        if (next != NULL) {
            SEEN(w, RETRY_IN_CHILD);
            next->due_us = w->now_us;
            assign(c, next, child_of(w, c, shard));
        }
        if (c->kind != CLIENT_NATIVE) {
            return; /* only of a native client's do we know more than was said */
        }
    }
}

static void on_sealed(struct world *w, uint32_t client, uint32_t shard)
{
    struct client *c = &w->client[client];
    SEEN(w, SEAL_REFUSED_PUT);
    c->view &= ~(1u << shard);
    c->closed |= 1u << shard;
    for (uint32_t s = 0; s < w->plan.shards; s++) {
        c->view |= (w->metadata.parents[s] >> shard & 1) != 0 ? 1u << s : 0;
    }
}

static void operation_answered(struct world *w, uint32_t client, struct put_op *op,
                               const struct message *m)
{
    const struct op_record *record = &w->operation[op->id];
    enum status status = m->as.put.status;
    if (status == STATUS_OK) {
        if (!record->committed || record->offset != m->as.put.offset || record->shard != m->shard) {
            violated(w, "I10: operation %llu is said to be at %llu of shard %u, and is not",
                     (unsigned long long)op->id, (unsigned long long)m->as.put.offset, m->shard);
        }
        *op = (struct put_op){0};
    } else if (status == STATUS_SEALED) {
        reroute(w, client, op);
    } else if (op->due_us > w->now_us) {
        op->due_us = w->now_us + draw(w, 0, 100 * MS);
    }
    SEEN_IF(w, PRODUCER_OUT_OF_ORDER, status == STATUS_OUT_OF_ORDER);
    SEEN_IF(w, PRODUCER_UNKNOWN, status == STATUS_UNKNOWN_PRODUCER);
    if (status == STATUS_PRODUCER_FENCED) {
        violated(w, "I11: producer %u is fenced in its newest epoch", client + 1);
    }
}

static void note_answer(struct world *w, const struct message *m)
{
    enum status status = m->as.put.status;
    if (status == STATUS_OK) {
        w->count.puts_acked++;
        SEEN(w, PUT_ACKED);
        SEEN_IF(w, ACKED_WITHOUT_CONTROLLERS, metadata_is_cut(w));
    }
    SEEN_IF(w, PUT_UNCERTAIN, status == STATUS_UNCERTAIN);
    SEEN_IF(w, PUT_BUSY, status == STATUS_BUSY);
    SEEN_IF(w, PUT_STALLED, status == STATUS_NO_QUORUM);
    SEEN_IF(w, PRODUCER_FENCED, status == STATUS_PRODUCER_FENCED);
}

void client_on_done(struct world *w, const struct message *m)
{
    uint32_t client = m->as.put.client;
    struct client *c = &w->client[client];
    enum status status = m->as.put.status;
    TRACE(w, "client %u: operation %llu at broker %u shard %u: %s", client,
          (unsigned long long)m->as.put.attempt, m->from, m->shard, status_text(status));
    note_answer(w, m);
    if (status == STATUS_OK || status == STATUS_SEALED) { /* SEALED: an answer, and for good */
        ending_on_acked(w, m->shard, m->as.put.attempt);
    } else if (status != STATUS_UNCERTAIN) {
        c->belief[m->shard] = w->metadata.row[m->shard].leader.broker;
    }
    if (status == STATUS_SEALED) {
        on_sealed(w, client, m->shard);
    }
    for (uint32_t i = 0; i < CLIENT_OPS_MAX && tries_again(c); i++) {
        if (c->op[i].id == m->as.put.attempt && c->op[i].shard == m->shard) {
            operation_answered(w, client, &c->op[i], m);
            break;
        }
    }
}
