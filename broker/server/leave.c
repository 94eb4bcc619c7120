#include "broker/server/leave.h"

#include "base/trace.h"
#include "broker/server/server_internal.h"

enum {
    LEAVE_EVERY_MS = 10,
    LEAVE_AT_ONCE = 256,    /* hand-overs under way */
    LEAVE_STUCK_MS = 2000,  /* without any progress: the others may be leaving, too */
    LEAVE_NOTICE_MS = 1000, /* between the word that connections end and their end */
    LEAVE_SETTLE_MS = 200,  /* between two calls to bring the segments up to date */
    LEAVE_SILENT_MS = 50,   /* for the last bytes on their way, before sockets are closed */
};

static void leave_fired(struct net_timer *timer);

static void look_again(struct server *s)
{
    status_ignore(net_timer_start(s->loop, &s->leave_timer, net_now_ms(s->loop) + LEAVE_EVERY_MS,
                                  leave_fired),
                  "a timer that has just fired has its room");
}

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

/* True: no leadership is left to hand over, or there is no time for it. */
static bool has_handed_over(struct server *s, uint64_t now_ms)
{
    /* Asked again, a hand-over that is under way changes nothing. */
    bool can = s->config->shutdown_handover_ms != 0 && !shards_are_out(s->shards) &&
               controllers_session(s->controllers) != NULL;
    uint32_t led = can ? hand_over(s) : 0, leading = 0;
    (void)shards_count(s->shards, &leading);
    if (leading != s->leave_leading) {
        s->leave_leading = leading;
        s->leave_progress_ms = now_ms;
    }
    return led == 0 || now_ms >= s->leave_until_ms ||
           now_ms >= s->leave_progress_ms + LEAVE_STUCK_MS;
}

/* What closing the store would have to write while nobody is served. */
static void settle(struct server *s, uint64_t now_ms)
{
    if (now_ms >= s->settle_ms) {
        s->settle_ms = now_ms + LEAVE_SETTLE_MS;
        store_settle(s->store);
    }
}

static void stop(struct server *s)
{
    trace(s->leave_leading == 0 ? TRACE_INFO : TRACE_WARNING, "server", "stops, leading %u shards",
          s->leave_leading); /* those left elect somebody when we are gone */
    server_stop(s);
}

static void drain(struct server *s, uint64_t now_ms)
{
    if (s->drain_until_ms == 0) {
        s->drain_until_ms = now_ms + s->config->shutdown_drain_ms;
        kinesis_drain(s->kinesis);
    }
    if (s->silent_ms == 0 && kinesis_is_drained(s->kinesis)) {
        s->silent_ms = now_ms;
    }
    bool is_silent = s->silent_ms != 0 && now_ms >= s->silent_ms + LEAVE_SILENT_MS;
    if (!is_silent && now_ms >= s->drain_until_ms) {
        trace(TRACE_WARNING, "server",
              "requests of Kinesis clients are broken off: they take "
              "longer than shutdown-drain");
    }
    if (is_silent || now_ms >= s->drain_until_ms) {
        stop(s);
    } else {
        look_again(s);
    }
}

static void leave_fired(struct net_timer *timer)
{
    struct server *s = CONTAINER_OF(timer, struct server, leave_timer);
    uint64_t now_ms = net_now_ms(s->loop);
    settle(s, now_ms);
    if (s->drain_until_ms != 0) {
        drain(s, now_ms);
        return;
    }
    bool has_clients = s->kinesis != NULL && s->config->shutdown_drain_ms != 0 &&
                       kinesis_connections(s->kinesis) > 0;
    /* Leaderships may come back as long as we are there. */
    if (!has_handed_over(s, now_ms) || (has_clients && now_ms < s->leave_notice_ms)) {
        look_again(s);
    } else if (has_clients) {
        drain(s, now_ms);
    } else {
        stop(s);
    }
}

void leave_begin(struct server *s)
{
    uint32_t leading = 0;
    (void)shards_count(s->shards, &leading);
    uint64_t now_ms = net_now_ms(s->loop);
    if (s->leave_until_ms != 0) { /* asked twice */
        server_stop(s);
        return;
    }
    s->leave_leading = leading;
    s->leave_progress_ms = now_ms;
    s->leave_until_ms = now_ms + s->config->shutdown_handover_ms;
    if (s->kinesis != NULL && s->config->shutdown_drain_ms != 0 &&
        controllers_session(s->controllers) != NULL) {
        /* Without controllers the whole cluster ends, and nobody has anywhere to go. */
        s->leave_notice_ms = now_ms + LEAVE_NOTICE_MS;
        kinesis_warn(s->kinesis);
    }
    if (leading > 0) {
        trace(TRACE_INFO, "server", "hands %u leaderships over", leading);
    }
    if (net_timer_start(s->loop, &s->leave_timer, now_ms, leave_fired) != STATUS_OK) {
        server_stop(s);
    }
}
