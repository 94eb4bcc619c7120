#include "broker/server/leave.h"

#include "base/trace.h"
#include "broker/server/server_internal.h"

enum {
    LEAVE_EVERY_MS = 10,
    LEAVE_AT_ONCE = 256,   /* hand-overs under way */
    LEAVE_STUCK_MS = 2000, /* without any progress: the others may be leaving, too */
};

static uint32_t hand_over(struct server *s)
{
    uint32_t led = 0;
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        if (shard->open && led < LEAVE_AT_ONCE) {
            enum status status = shard_hand_over(shard, (struct replica_id){0});
            led += status != STATUS_NOT_LEADER; /* anything else is tried again */
        }
    }
    return led;
}

static void leave_fired(struct net_timer *timer)
{
    struct server *s = CONTAINER_OF(timer, struct server, leave_timer);
    uint64_t now_ms = net_now_ms(s->loop);
    /* Asked again, a hand-over that is under way changes nothing. */
    bool can = !shards_are_out(s->shards) && controllers_session(s->controllers) != NULL;
    uint32_t led = can ? hand_over(s) : 0, leading = 0;
    (void)shards_count(s->shards, &leading);
    if (leading != s->leave_leading) {
        s->leave_leading = leading;
        s->leave_progress_ms = now_ms;
    }
    if (led == 0 || now_ms >= s->leave_until_ms ||
        now_ms >= s->leave_progress_ms + LEAVE_STUCK_MS) {
        trace(leading == 0 ? TRACE_INFO : TRACE_WARNING, "server", "stops, leading %u shards",
              leading); /* those left elect somebody when we are gone */
        server_stop(s);
        return;
    }
    status_ignore(net_timer_start(s->loop, timer, now_ms + LEAVE_EVERY_MS, leave_fired),
                  "a timer that has just fired has its room");
}

void leave_begin(struct server *s)
{
    uint32_t leading = 0;
    (void)shards_count(s->shards, &leading);
    uint64_t now_ms = net_now_ms(s->loop);
    bool again = s->leave_until_ms != 0;
    s->leave_leading = leading;
    s->leave_progress_ms = now_ms;
    s->leave_until_ms = now_ms + s->config->shutdown_handover_ms;
    if (again || leading == 0 || s->config->shutdown_handover_ms == 0 ||
        controllers_session(s->controllers) == NULL ||
        net_timer_start(s->loop, &s->leave_timer, now_ms, leave_fired) != STATUS_OK) {
        server_stop(s);
        return;
    }
    trace(TRACE_INFO, "server", "hands %u leaderships over", leading);
}
