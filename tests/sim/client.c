/* Clients that put without waiting, to whom they believe to lead; deposed leaders keep theirs for a
 * while. */
#include "tests/sim/world.h"

uint64_t client_put(struct world *w, uint32_t client, uint32_t shard)
{
    uint32_t *belief = &w->belief[client][shard];
    if (*belief == 0 || chance(w, w->healing ? 500 : 60)) {
        *belief = w->metadata.row[shard].leader.broker;
    }
    if (*belief == 0) {
        return 0;
    }
    struct message *m = message_new(w, MESSAGE_PUT, CLIENTS, *belief, shard);
    uint64_t attempt = ++w->next_id;
    m->as.put.attempt = attempt;
    m->as.put.client = client;
    m->as.put.count = (uint32_t)draw(w, 1, 4);
    network_send(w, m);
    return attempt;
}

void client_on_event(struct world *w, uint32_t client)
{
    if (w->healing) {
        return;
    }
    uint32_t burst = chance(w, 100) ? 4 : 1;
    uint32_t shard = (uint32_t)draw(w, 0, w->plan.shards - 1);
    for (uint32_t i = 0; i < burst; i++) {
        client_put(w, client, shard);
    }
    schedule(w, draw_exponential(w, w->plan.put_us),
             (struct event){.type = EVENT_CLIENT, .a = client});
}

void client_on_done(struct world *w, const struct message *m)
{
    if (m->as.put.status == STATUS_OK) {
        w->count.puts_acked++;
        ending_on_acked(w, m->shard, m->as.put.attempt);
    } else if (m->as.put.status == STATUS_SEALED) {
        ending_on_acked(w, m->shard, m->as.put.attempt); /* an answer, and for good */
    } else if (m->as.put.status != STATUS_UNCERTAIN) {
        w->belief[m->as.put.client][m->shard] = w->metadata.row[m->shard].leader.broker;
    }
}
