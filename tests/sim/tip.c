/* Leaders are asked what is newest, and make sure that they lead first: broker/server/tips.c, with
 * the real broker/tip/tip.h. What they say must not lie below anything that was committed
 * before they were asked (docs/replication.md 2.10, I17). */
#include "tests/sim/world.h"

static struct tip_question *free_place(struct world *w, const struct broker *b)
{
    for (uint32_t i = 0; i < TIPS_MAX; i++) {
        struct tip_question *q = &w->tip[b->id][i];
        if (q->number == 0 || w->now_us >= q->until_us) {
            return q;
        }
    }
    return NULL;
}

/* As of now: what any leader has committed. */
static uint64_t committed(const struct world *w, uint32_t shard)
{
    return log_end(&w->truth[shard].log);
}

static void answer(struct world *w, struct broker *b, struct tip_question *q)
{
    enum tip_verdict verdict = MUTANT(TIP_UNCONFIRMED) ? TIP_LEADS : tip_verdict(&q->round);
    if (verdict == TIP_OPEN) {
        return;
    }
    const struct replica_shell *r = &b->replica[q->shard];
    struct replica_view view;
    replica_view(r->core, &view);
    bool leads = view.role == REPLICA_LEADING && view.open && view.epoch == q->round.epoch;
    SEEN_IF(w, TIP_UNKNOWN, verdict == TIP_UNKNOWN || !leads);
    if (verdict == TIP_LEADS && leads) {
        SEEN(w, TIP_TOLD);
        if (r->commit < q->committed) {
            violated(
                w,
                "I17: broker %u, epoch %u, says that shard %u ends at %llu; %llu was committed "
                "before it was asked",
                b->id, view.epoch, q->shard, (unsigned long long)r->commit,
                (unsigned long long)q->committed);
        }
    }
    q->number = 0;
}

void tip_ask(struct world *w, struct broker *b, uint32_t shard)
{
    struct tip_question *q = free_place(w, b);
    struct replica_view view;
    replica_view(b->replica[shard].core, &view);
    if (view.role != REPLICA_LEADING || !view.open || q == NULL) {
        return;
    }
    if (b->old) { /* I17 holds for who confirms */
        SEEN(w, TIP_OF_OLD);
        return;
    }
    SEEN_IF(w, TIP_OF_DEPOSED, view.epoch < w->metadata.row[shard].epoch);
    *q = (struct tip_question){.number = ++w->next_tip,
                               .boot = b->boot,
                               .shard = shard,
                               .until_us = w->now_us + SECOND,
                               .committed = committed(w, shard)};
    tip_begin(&q->round, &view);
    for (uint32_t i = 0; i < q->round.count; i++) {
        struct message *m = message_new(w, MESSAGE_CONFIRM, b->id, q->round.voter[i].broker, shard);
        m->sender = broker_rid(b);
        m->as.tip.number = q->number;
        m->as.tip.epoch = q->round.epoch;
        m->as.tip.voter = q->round.voter[i];
        m->as.tip.unknown = m->as.tip.by_status = false;
        network_send(w, m);
    }
    answer(w, b, q); /* of one replica */
}

/* A voter is asked; SHARD_STATUS, that is, one that does not know CONFIRM. */
void tip_on_confirm(struct world *w, struct broker *b, const struct message *m)
{
    const struct replica_shell *r = &b->replica[m->shard];
    struct message *reply = message_new(w, MESSAGE_CONFIRMED, b->id, m->from, m->shard);
    reply->sender = broker_rid(b);
    reply->as.tip = m->as.tip;
    reply->as.tip.unknown = b->old && !m->as.tip.by_status;
    reply->as.tip.follows = false;
    if (m->as.tip.by_status && r->core != NULL) {
        struct replica_view view;
        replica_view(r->core, &view);
        const struct tip_status status = {.follows = view.role == REPLICA_FOLLOWING,
                                          .uncertain = view.uncertain,
                                          .epoch = view.epoch,
                                          .promised = view.promised};
        reply->as.tip.follows = tip_follows_by_status(&status, m->as.tip.epoch);
    } else if (!reply->as.tip.unknown) {
        reply->as.tip.follows = r->core != NULL &&
                                replica_id_equal(broker_rid(b), m->as.tip.voter) &&
                                replica_follows(r->core, m->as.tip.epoch);
    }
    network_send(w, reply);
}

static void ask_status(struct world *w, struct broker *b, const struct message *m)
{
    SEEN(w, CONFIRM_UNKNOWN);
    struct message *again = message_new(w, MESSAGE_CONFIRM, b->id, m->from, m->shard);
    again->sender = broker_rid(b);
    again->as.tip = m->as.tip;
    again->as.tip.by_status = true;
    network_send(w, again);
}

void tip_on_confirmed(struct world *w, struct broker *b, const struct message *m)
{
    for (uint32_t i = 0; i < TIPS_MAX; i++) {
        struct tip_question *q = &w->tip[b->id][i];
        if (q->number == m->as.tip.number && q->boot == b->boot && w->now_us < q->until_us &&
            b->replica[m->shard].core != NULL) {
            if (m->as.tip.unknown) {
                ask_status(w, b, m);
                return;
            }
            uint64_t told = w->seen[SITUATION_TIP_TOLD];
            tip_heard(&q->round, m->as.tip.voter, m->as.tip.follows);
            answer(w, b, q);
            SEEN_IF(w, TIP_BY_STATUS, m->as.tip.by_status && w->seen[SITUATION_TIP_TOLD] > told);
            return;
        }
    }
}
