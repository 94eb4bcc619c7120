#include "broker/server/tips.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "broker/tip/tip.h"
#include "proto/schema/data.pb-c.h"

/* Of one shard in a round. */
struct entry {
    uint64_t shard;
    struct tip_round votes;
    struct list tips; /* api_tip.node: empty once it is decided */
};

/* One CONFIRM to one broker: its items are `item[i]`, those of entry entry_of[i]. */
struct ask {
    struct session_request request;
    struct round *round;
    uint32_t broker;
    bool under_way;
    uint32_t count;
    uint32_t *entry_of;
    Weir__ConfirmShard *item, **items;
};

struct round {
    struct list node;
    struct tips *tips;
    uint32_t count, asks, under_way;
    struct entry *entry;
    struct ask *ask; /* one for each broker that has a voter */
};

struct tips {
    struct shards *shards;
    struct peers *peers;
    void *context;
    void (*schedule)(void *context);
    struct list waiting, rounds;
    uint32_t round_count;
    bool closing;
};

static void round_free(struct round *round)
{
    for (uint32_t i = 0; i < round->asks; i++) {
        free(round->ask[i].entry_of);
        free(round->ask[i].item);
        free(round->ask[i].items);
    }
    free(round->ask);
    free(round->entry);
    free(round);
}

static void answer(struct list *tips, bool leads)
{
    while (!list_empty(tips)) {
        struct api_tip *tip = CONTAINER_OF(list_pop(tips), struct api_tip, node);
        tip->done(tip, leads);
    }
}

/* ---- answers ---- */

static void decide(struct tips *tips, struct entry *entry)
{
    enum tip_verdict verdict = tip_verdict(&entry->votes);
    if (verdict == TIP_OPEN || list_empty(&entry->tips)) {
        return;
    }
    struct shard *shard = shards_find(tips->shards, entry->shard);
    bool leads =
        verdict == TIP_LEADS && shard != NULL && shard->open && shard->epoch == entry->votes.epoch;
    answer(&entry->tips, leads);
}

/* What this broker says of its i-th shard. */
static void take_one(struct ask *ask, uint32_t i, bool follows)
{
    struct entry *entry = &ask->round->entry[ask->entry_of[i]];
    const struct replica_id from = {.broker = ask->broker, .disk_gen = ask->item[i].disk_gen};
    tip_heard(&entry->votes, from, follows);
    decide(ask->round->tips, entry);
}

/* What this broker has said; what it has not, it will not say. */
static void take(struct ask *ask, const Weir__Confirmed *said)
{
    for (uint32_t i = 0; i < ask->count; i++) {
        take_one(ask, i, said != NULL && i < said->n_follows && said->follows[i]);
    }
}

static void end_if_over(struct round *round)
{
    if (round->under_way > 0) {
        return;
    }
    struct tips *tips = round->tips;
    for (uint32_t i = 0; i < round->count; i++) {
        answer(&round->entry[i].tips, false);
    }
    list_remove(&round->node);
    tips->round_count--;
    round_free(round);
    if (!tips->closing && !list_empty(&tips->waiting)) {
        tips->schedule(tips->context);
    }
}

/* What SHARD_STATUS says of one of the shards; nothing of those that are not there. */
static bool status_follows(const Weir__ShardStatusReply *said, const Weir__ConfirmShard *item)
{
    for (size_t i = 0; said != NULL && i < said->n_shards; i++) {
        const Weir__ShardStatus *s = said->shards[i];
        if (s->shard == item->shard) {
            const struct tip_status status = {.follows = strcmp(s->role, "following") == 0,
                                              .uncertain = s->uncertain,
                                              .epoch = s->epoch,
                                              .promised = s->promised};
            return tip_follows_by_status(&status, item->epoch);
        }
    }
    return false;
}

static void status_answered(struct session_request *request, const struct session_reply *reply)
{
    struct ask *ask = CONTAINER_OF(request, struct ask, request);
    struct round *round = ask->round;
    Weir__ShardStatusReply *said =
        reply->status == STATUS_OK
            ? weir__shard_status_reply__unpack(NULL, reply->body.size, reply->body.data)
            : NULL;
    ask->under_way = false;
    round->under_way--;
    for (uint32_t i = 0; i < ask->count; i++) {
        take_one(ask, i, status_follows(said, &ask->item[i]));
    }
    if (said != NULL) {
        weir__shard_status_reply__free_unpacked(said, NULL);
    }
    end_if_over(round);
}

/* A broker of the version before does not know CONFIRM; it does know SHARD_STATUS, and that says
 * enough. Without it nobody would learn what is newest as long as two of a shard's three brokers
 * wait for their upgrade. */
static bool ask_status(struct ask *ask)
{
    struct tips *tips = ask->round->tips;
    struct session *session = tips->closing ? NULL : peers_session(tips->peers, ask->broker);
    AUTO(free_pointer) uint64_t *shard = calloc(ask->count + (size_t)1, sizeof(*shard));
    if (session == NULL || shard == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < ask->count; i++) {
        shard[i] = ask->item[i].shard;
    }
    Weir__ShardStatusRequest message;
    weir__shard_status_request__init(&message);
    message.shards = shard;
    message.n_shards = ask->count;
    return session_call(session, RPC_SHARD_STATUS, (struct session_payload){.body = &message.base},
                        TIPS_PATIENCE_MS, &ask->request, status_answered) == STATUS_OK;
}

static void answered(struct session_request *request, const struct session_reply *reply)
{
    struct ask *ask = CONTAINER_OF(request, struct ask, request);
    struct round *round = ask->round;
    if (reply->status == STATUS_UNSUPPORTED && ask_status(ask)) {
        return;
    }
    Weir__Confirmed *said = reply->status == STATUS_OK
                                ? weir__confirmed__unpack(NULL, reply->body.size, reply->body.data)
                                : NULL;
    ask->under_way = false;
    round->under_way--;
    take(ask, said);
    if (said != NULL) {
        weir__confirmed__free_unpacked(said, NULL);
    }
    end_if_over(round);
}

/* ---- questions ---- */

/* NULL: out of memory. */
static struct ask *ask_of(struct round *round, uint32_t broker)
{
    for (uint32_t i = 0; i < round->asks; i++) {
        if (round->ask[i].broker == broker) {
            return &round->ask[i];
        }
    }
    struct ask *grown = realloc(round->ask, (round->asks + (size_t)1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    round->ask = grown;
    struct ask *ask = &grown[round->asks];
    *ask = (struct ask){.broker = broker,
                        .entry_of = calloc(round->count, sizeof(*ask->entry_of)),
                        .item = calloc(round->count, sizeof(*ask->item)),
                        .items = calloc(round->count, sizeof(Weir__ConfirmShard *))};
    if (ask->entry_of == NULL || ask->item == NULL || ask->items == NULL) {
        free(ask->entry_of);
        free(ask->item);
        free(ask->items);
        return NULL;
    }
    round->asks++;
    return ask;
}

static void add_voters(struct round *round, uint32_t at)
{
    struct entry *entry = &round->entry[at];
    for (uint32_t v = 0; v < entry->votes.count; v++) {
        struct replica_id id = entry->votes.voter[v];
        struct ask *ask = ask_of(round, id.broker);
        if (ask == NULL) {
            tip_heard(&entry->votes, id, false);
            continue;
        }
        Weir__ConfirmShard *item = &ask->item[ask->count];
        weir__confirm_shard__init(item);
        item->shard = entry->shard;
        item->epoch = entry->votes.epoch;
        item->disk_gen = id.disk_gen;
        ask->entry_of[ask->count++] = at;
    }
}

static void send(struct ask *ask)
{
    struct round *round = ask->round;
    struct session *session = peers_session(round->tips->peers, ask->broker);
    Weir__Confirm message;
    weir__confirm__init(&message);
    for (uint32_t i = 0; i < ask->count; i++) {
        ask->items[i] = &ask->item[i];
    }
    message.shards = ask->items;
    message.n_shards = ask->count;
    ask->under_way =
        session != NULL &&
        session_call(session, RPC_CONFIRM, (struct session_payload){.body = &message.base},
                     TIPS_PATIENCE_MS, &ask->request, answered) == STATUS_OK;
    if (ask->under_way) {
        round->under_way++;
    } else {
        take(ask, NULL);
    }
}

/* The entry of the tip's shard; a new one where there is none. NULL: the round is full. */
static struct entry *entry_for(struct round *round, uint64_t shard)
{
    for (uint32_t i = 0; i < round->count; i++) {
        if (round->entry[i].shard == shard) {
            return &round->entry[i];
        }
    }
    if (round->count == TIPS_SHARDS_MAX) {
        return NULL;
    }
    struct entry *entry = &round->entry[round->count++];
    *entry = (struct entry){.shard = shard};
    list_init(&entry->tips);
    return entry;
}

/* Takes up what waits, up to a round full of it. */
static void fill(struct tips *tips, struct round *round)
{
    while (!list_empty(&tips->waiting)) {
        struct api_tip *tip = CONTAINER_OF(tips->waiting.next, struct api_tip, node);
        const struct shard *shard = shards_find(tips->shards, tip->shard);
        if (shard == NULL || !shard->open) {
            list_remove(&tip->node);
            tip->done(tip, false);
            continue;
        }
        uint32_t before = round->count;
        struct entry *entry = entry_for(round, tip->shard);
        if (entry == NULL) {
            return;
        }
        if (round->count > before) {
            struct replica_view view;
            replica_view(shard->replica, &view);
            tip_begin(&entry->votes, &view);
        }
        list_remove(&tip->node);
        list_push(&entry->tips, &tip->node);
    }
}

static void begin(struct tips *tips)
{
    struct round *round = calloc(1, sizeof(*round));
    struct entry *entries = calloc(TIPS_SHARDS_MAX, sizeof(*entries));
    if (round == NULL || entries == NULL) {
        free(round);
        free(entries);
        answer(&tips->waiting, false);
        return;
    }
    round->entry = entries;
    round->tips = tips;
    list_init(&round->node);
    list_push(&tips->rounds, &round->node);
    tips->round_count++;
    fill(tips, round);
    for (uint32_t i = 0; i < round->count; i++) {
        add_voters(round, i);
    }
    for (uint32_t i = 0; i < round->asks; i++) {
        round->ask[i].round = round; /* none of them moves from here on */
        send(&round->ask[i]);
    }
    for (uint32_t i = 0; i < round->count; i++) {
        decide(tips, &round->entry[i]); /* of one replica, or nobody to ask */
    }
    end_if_over(round);
}

void tips_confirm(struct tips *tips, struct api_tip *tip)
{
    list_init(&tip->node);
    list_push(&tips->waiting, &tip->node);
    tips->schedule(tips->context);
}

void tips_turn(struct tips *tips)
{
    while (!tips->closing && !list_empty(&tips->waiting) && tips->round_count < TIPS_ROUNDS_MAX) {
        begin(tips);
    }
}

/* ---- the other side ---- */

static bool follows(const struct tips *tips, const Weir__ConfirmShard *item)
{
    const struct shard *shard = shards_find(tips->shards, item->shard);
    return shard != NULL && !tips->closing && shard->self.disk_gen == item->disk_gen &&
           replica_follows(shard->replica, item->epoch);
}

bool tips_called(struct tips *tips, struct session_call *call)
{
    if (call->method != RPC_CONFIRM) {
        return false;
    }
    Weir__Confirm *in = weir__confirm__unpack(NULL, call->body.size, call->body.data);
    AUTO(free_pointer)
    protobuf_c_boolean *said = in == NULL || in->n_shards > TIPS_SHARDS_MAX
                                   ? NULL
                                   : calloc(in->n_shards + 1, sizeof(*said));
    if (said == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "CONFIRM cannot be decoded");
    } else {
        Weir__Confirmed reply;
        weir__confirmed__init(&reply);
        for (size_t i = 0; i < in->n_shards; i++) {
            said[i] = follows(tips, in->shards[i]);
        }
        reply.follows = said;
        reply.n_follows = in->n_shards;
        session_reply(call, (struct session_payload){.body = &reply.base});
    }
    if (in != NULL) {
        weir__confirm__free_unpacked(in, NULL);
    }
    return true;
}

/* ---- life ---- */

struct tips *tips_new(struct shards *shards, struct peers *peers, void *context,
                      void (*schedule)(void *context))
{
    struct tips *tips = calloc(1, sizeof(*tips));
    if (tips != NULL) {
        tips->shards = shards;
        tips->peers = peers;
        tips->context = context;
        tips->schedule = schedule;
        list_init(&tips->waiting);
        list_init(&tips->rounds);
    }
    return tips;
}

void tips_close(struct tips *tips)
{
    if (tips == NULL) {
        return;
    }
    tips->closing = true;
    answer(&tips->waiting, false);
    LIST_FOR_EACH (node, &tips->rounds) {
        struct round *round = CONTAINER_OF(node, struct round, node);
        for (uint32_t i = 0; i < round->count; i++) {
            answer(&round->entry[i].tips, false);
        }
    }
}

void tips_free(struct tips *tips)
{
    while (tips != NULL && !list_empty(&tips->rounds)) {
        round_free(CONTAINER_OF(list_pop(&tips->rounds), struct round, node));
    }
    free(tips);
}
