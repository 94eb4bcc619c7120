/* What is counted of a loop's sessions, as metrics. */
#include "base/metrics.h"

#include "proto/net/loop.h"

static const struct {
    enum rpc_method method;
    const char *name;
} calls[] = {
#define X(number, NAME, kind, from, to, what) {RPC_##NAME, #NAME},
#include "proto/rpc/methods.def"
    RPC_METHODS(X)
#undef X
};

enum { CALLS = sizeof(calls) / sizeof(calls[0]) };

void net_metrics(const struct net_loop *loop, struct metrics *m)
{
    const struct net_stats *stats = &loop->stats;
    metrics_one(m, "weir_connections_accepted_total", METRIC_COUNTER,
                "Connections of other processes and of native clients.", (double)stats->accepted);
    metrics_one(m, "weir_connections_turned_away_total", METRIC_COUNTER,
                "Connections above a limit.", (double)stats->turned_away);
    metrics_one(m, "weir_tls_handshakes_refused_total", METRIC_COUNTER,
                "Connections that ended before their TLS handshake was over.",
                (double)stats->refused);
    metrics_family(m, "weir_rpc_calls_total", METRIC_COUNTER,
                   "Calls of the native protocol that were answered.");
    for (size_t i = 0; i < CALLS; i++) {
        if (stats->method[calls[i].method].calls > 0) {
            metrics_put(m, (double)stats->method[calls[i].method].calls, "method", calls[i].name,
                        NULL);
        }
    }
    metrics_family(m, "weir_rpc_errors_total", METRIC_COUNTER,
                   "Of these, with another status than OK.");
    for (size_t i = 0; i < CALLS; i++) {
        if (stats->method[calls[i].method].calls > 0) {
            metrics_put(m, (double)stats->method[calls[i].method].failed, "method", calls[i].name,
                        NULL);
        }
    }
    metrics_family(m, "weir_rpc_seconds", METRIC_HISTOGRAM,
                   "Time from a call to its last answer; of READ with its waiting for records.");
    for (size_t i = 0; i < CALLS; i++) {
        if (stats->method[calls[i].method].calls > 0) {
            metrics_put_histogram(m, &stats->method[calls[i].method].answered, "method",
                                  calls[i].name, NULL);
        }
    }
}
