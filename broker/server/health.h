/* How this broker is: slow where others are not, its clock far off (broker/health). Looked at once
 * a second; told to the others and to the controllers, which have other brokers lead then. Private
 * to the folder. */
#pragma once

#include "base/metrics.h"
#include "broker/health/clock.h"
#include "broker/health/slow.h"

struct server;

struct health {
    struct slow slow;
    struct cluster_clock clock;
    uint32_t told; /* as BrokerBeat.unfit: what was told to the log */
};

void health_open(struct server *s);
void health_look(struct server *s);

/* What a new record is stamped with at most and at least; and what time it is, for what deletes by
 * age: the earlier one of our clock and the cluster's. */
uint64_t health_append_ms(const struct server *s);
uint64_t health_retention_ms(const struct server *s);

void health_metrics(const struct server *s, struct metrics *m);
