/* Cluster time: each controller is asked what its clock says, once a second and when it is
 * connected (broker/health/clock.h). */
#include "broker/server/controllers_internal.h"

static void heard(struct session_request *request, const struct session_reply *reply)
{
    struct controller *at = CONTAINER_OF(request, struct controller, time);
    struct controllers *c = at->all;
    at->time_asked = false;
    if (c->closing || reply->status != STATUS_OK) {
        return;
    }
    Weir__ClusterTime *time = weir__cluster_time__unpack(NULL, reply->body.size, reply->body.data);
    if (time != NULL && time->time_ms != 0) {
        cluster_clock_heard(c->options.clock, (uint32_t)(at - c->controller), c->count,
                            at->time_asked_ms, net_now_ms(c->options.loop), time->time_ms,
                            net_wall_ms());
    }
    if (time != NULL) {
        weir__cluster_time__free_unpacked(time, NULL);
    }
}

void clocks_ask(struct controller *at)
{
    struct controllers *c = at->all;
    if (at->session == NULL || at->time_asked) {
        return;
    }
    Weir__ClusterTime empty;
    weir__cluster_time__init(&empty);
    at->time_asked_ms = net_now_ms(c->options.loop);
    at->time_asked =
        session_call(at->session, RPC_CLUSTER_TIME, (struct session_payload){.body = &empty.base},
                     CLUSTER_CLOCK_TRIP_MS_MAX, &at->time, heard) == STATUS_OK;
}

static void clock_fired(struct net_timer *timer)
{
    struct controllers *c = CONTAINER_OF(timer, struct controllers, clock_timer);
    for (uint32_t i = 0; i < c->count; i++) {
        clocks_ask(&c->controller[i]);
    }
    status_ignore(net_timer_start(c->options.loop, timer,
                                  net_now_ms(c->options.loop) + CLUSTER_CLOCK_EVERY_MS,
                                  clock_fired),
                  "a timer that has just fired has its room");
}

enum status clocks_start(struct controllers *c)
{
    return net_timer_start(c->options.loop, &c->clock_timer,
                           net_now_ms(c->options.loop) + CLUSTER_CLOCK_EVERY_MS, clock_fired);
}
