/* Changes of streams that take effect at the brokers: a stream is UPDATING, a consumer CREATING or
 * DELETING, until every broker that is there has been sent the change. */
#include "controller/rpc/internal.h"

static bool is_waiting(const Weir__StreamAttributes *a)
{
    if (a == NULL) {
        return false;
    }
    bool waiting = a->updating != 0;
    for (size_t i = 0; i < a->n_consumers && !waiting; i++) {
        waiting = a->consumers[i]->state != WEIR__CONSUMER_STATE__CONSUMER_ACTIVE;
    }
    return waiting;
}

static void settle_fired(struct net_timer *timer);

static void arm(struct controller *c)
{
    status_ignore(net_timer_start(c->options.loop, &c->settle_timer, controller_now(c) + SETTLE_MS,
                                  settle_fired),
                  "the next change of a stream starts it");
}

static void settle(struct controller *c, uint32_t stream, uint64_t change)
{
    Weir__CmdStreamSettled settled = WEIR__CMD_STREAM_SETTLED__INIT;
    settled.stream = stream;
    settled.change = change;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.kind_case = WEIR__COMMAND__KIND_STREAM_SETTLED;
    command.stream_settled = &settled;
    command_of_ours(c, &command, 1);
}

/* Goes on until nothing waits: a command of ours may get lost. */
static void settle_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, settle_timer);
    uint64_t now = controller_now(c);
    bool told = watchers_are_told(c) || now >= c->settle_until_ms;
    bool any = false;
    size_t count = 0;
    const struct db_stream *streams = watch_streams(c->watch, &count);
    for (size_t i = 0; i < count; i++) {
        const Weir__StreamAttributes *a = watch_attributes(c->watch, streams[i].id);
        if (streams[i].state != DB_STREAM_DELETING && is_waiting(a)) {
            any = true;
            if (told) {
                settle(c, streams[i].id, a->change);
            }
        }
    }
    c->settle_until_ms = !any ? 0 : told ? now + SETTLE_WAIT_MS : c->settle_until_ms;
    if (any) {
        arm(c);
    }
}

static void begin(struct controller *c)
{
    if (c->settle_until_ms == 0) {
        c->settle_until_ms = controller_now(c) + SETTLE_WAIT_MS;
        arm(c);
    }
}

void settle_changed(struct controller *c, uint32_t stream)
{
    if (is_waiting(watch_attributes(c->watch, stream))) {
        begin(c);
    }
}

void settle_activate(struct controller *c)
{
    c->settle_until_ms = 0;
    begin(c);
}
