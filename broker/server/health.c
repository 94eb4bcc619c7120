#include "broker/server/health.h"

#include "base/trace.h"
#include "broker/server/server_internal.h"

/* As BrokerBeat.unfit (proto/schema/control.proto). */
enum unfit { UNFIT_NOT, UNFIT_DISK, UNFIT_LOOP, UNFIT_CLOCK };

static uint64_t now(const struct server *s)
{
    return net_now_ms(s->loop);
}

void health_open(struct server *s)
{
    slow_init(&s->health.slow, s->config->slow_factor);
    cluster_clock_init(&s->health.clock);
}

static enum unfit unfit_for(const struct server *s)
{
    enum slowness slow = slow_is(&s->health.slow, now(s));
    return slow == SLOW_DISK                                ? UNFIT_DISK
           : slow == SLOW_LOOP                              ? UNFIT_LOOP
           : cluster_clock_is_far(&s->health.clock, now(s)) ? UNFIT_CLOCK
                                                            : UNFIT_NOT;
}

static int64_t offset_ms(const struct server *s)
{
    return cluster_clock_offset_ms(&s->health.clock, now(s), net_wall_ms());
}

static void tell(struct server *s, enum unfit unfit)
{
    if (unfit == s->health.told) {
        return;
    }
    s->health.told = unfit;
    struct slow_figures figures = slow_figures(&s->health.slow);
    if (unfit == UNFIT_DISK) {
        trace(TRACE_WARNING, "health",
              "this disk is slow and others are not: 1 of 100 journal writes takes %u ms or more; "
              "other brokers should lead",
              figures.sync_us / 1000);
    } else if (unfit == UNFIT_LOOP) {
        trace(TRACE_WARNING, "health",
              "this process is %u ms late and others are not: other brokers should lead",
              figures.stall_us / 1000);
    } else if (unfit == UNFIT_CLOCK) {
        trace(TRACE_ERROR, "health",
              "the clock of this machine is off by %lld ms from the controllers': other brokers "
              "should lead. Set it",
              (long long)offset_ms(s));
    } else {
        trace(TRACE_INFO, "health", "neither slow nor wrong about the time any more: may lead");
    }
}

void health_look(struct server *s)
{
    struct store_status disk;
    struct slow_figures peers[SLOW_PEERS_MAX];
    size_t count = peers_figures(s->peers, peers, SLOW_PEERS_MAX);
    store_status(s->store, &disk);
    slow_note_stall(&s->health.slow, peers_take_stall_us(s->peers));
    slow_look(&s->health.slow, now(s), &disk.journal.synced, disk.journal.in_flight_us, peers,
              count);
    struct slow_figures figures = slow_figures(&s->health.slow);
    peers_set_figures(s->peers, &figures);
    enum unfit unfit = unfit_for(s);
    const struct controllers_health told = {.unfit = unfit,
                                            .sync_us = figures.sync_us,
                                            .stall_us = figures.stall_us,
                                            .clock_offset_ms = offset_ms(s)};
    controllers_set_health(s->controllers, &told);
    tell(s, unfit);
}

uint64_t health_append_ms(const struct server *s)
{
    return cluster_clock_clamped_ms(&s->health.clock, now(s), net_wall_ms());
}

uint64_t health_retention_ms(const struct server *s)
{
    uint64_t wall_ms = net_wall_ms();
    uint64_t cluster_ms = cluster_clock_ms(&s->health.clock, now(s), wall_ms);
    return cluster_ms < wall_ms ? cluster_ms : wall_ms;
}

void health_metrics(const struct server *s, struct metrics *m)
{
    static const char *const why[] = {"", "slow_disk", "slow_process", "clock"};
    struct slow_figures figures = slow_figures(&s->health.slow);
    enum unfit unfit = unfit_for(s);
    metrics_one(m, "weir_clock_offset_seconds", METRIC_GAUGE,
                "How far this machine's clock is ahead of cluster time.",
                (double)offset_ms(s) / 1e3);
    metrics_one(m, "weir_sync_p99_seconds", METRIC_GAUGE,
                "Of the last seconds, 99 of 100 journal writes took no longer; 0: there were none.",
                figures.sync_us / 1e6);
    metrics_one(m, "weir_loop_late_seconds", METRIC_GAUGE,
                "The latest that this process was in the last seconds.", figures.stall_us / 1e6);
    metrics_family(m, "weir_unfit_to_lead", METRIC_GAUGE,
                   "1: this broker says that others should lead, because of this.");
    for (uint32_t i = UNFIT_DISK; i <= UNFIT_CLOCK; i++) {
        metrics_put(m, i == unfit ? 1 : 0, "reason", why[i], NULL);
    }
}
