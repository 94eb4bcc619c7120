#include "broker/kinesis/kinesis.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/kinesis/internal.h"

static void (*const handlers[API_OPERATIONS])(struct request *r) = {
#define OPERATION(name, handler, input, output, answer, resource, rate) \
    [API_##name] = handle_##handler,
#include "broker/gateway/api.def"
};

/* ---- requests ---- */

uint64_t request_wall_ms(const struct request *r)
{
    (void)r;
    return net_wall_ms();
}

uint64_t request_now_ms(const struct request *r)
{
    return net_now_ms(r->k->options.loop);
}

uint64_t request_age_ms(const struct request *r)
{
    return (net_clock_us() - r->came_us) / 1000;
}

bool random_bytes(void *to, size_t size)
{
    bool ok = getrandom(to, size, 0) == (ssize_t)size; /* whole up to 256 bytes */
    if (!ok) {
        trace(TRACE_ERROR, "kinesis", "the system gives no random bytes");
    }
    return ok;
}

const char *kinesis_account(const struct kinesis *k)
{
    const char *account = route_settings(k->options.route)->account_id;
    return account == NULL || account[0] == '\0' ? "000000000000" : account;
}

const char *kinesis_region(const struct kinesis *k)
{
    const char *region = route_settings(k->options.route)->region;
    return region == NULL || region[0] == '\0' ? "us-east-1" : region;
}

void request_run(struct request *r)
{
    handlers[r->operation](r);
}

static void request_free(struct request *r)
{
    net_timer_stop(r->k->options.loop, &r->timer);
    list_remove(&r->waiting);
    list_remove(&r->node);
    arena_release(&r->arena);
    free(r);
}

void request_settle(struct request *r)
{
    if (r->http == NULL && r->running == 0) {
        request_free(r);
    }
}

/* ---- life ---- */

static const struct http_handlers http_handlers = {.requested = door_requested};

struct kinesis *kinesis_new(const struct kinesis_options *options)
{
    struct kinesis *k = calloc(1, sizeof(*k));
    if (k == NULL) {
        return NULL;
    }
    struct error error;
    k->options = *options;
    if (calls_init(&k->calls, options->operation_limits, &error) != STATUS_OK) {
        free(k);
        return NULL;
    }
    list_init(&k->requests);
    list_init(&k->waiting);
    list_init(&k->subscriptions);
    const struct http_options http = {.loop = options->loop,
                                      .limits = http_limits_default,
                                      .handlers = &http_handlers,
                                      .data = k};
    k->server = http_server_open(&http);
    if (k->server == NULL) {
        free(k);
        return NULL;
    }
    return k;
}

enum status kinesis_listen(struct kinesis *k, const char *host, uint16_t port, struct net_tls *tls,
                           struct error *error)
{
    return http_server_listen(k->server, host, port, tls, NULL, error);
}

void kinesis_route_changed(struct kinesis *k)
{
    uint64_t version = route_version(k->options.route);
    struct list ready;
    list_init(&ready);
    LIST_FOR_EACH_SAFE (node, &k->waiting) {
        struct request *r = CONTAINER_OF(node, struct request, waiting);
        if (version >= r->version) {
            list_remove(node);
            list_push(&ready, node);
        }
    }
    while (!list_empty(&ready)) {
        struct request *r = CONTAINER_OF(list_pop(&ready), struct request, waiting);
        net_timer_stop(k->options.loop, &r->timer);
        r->step(r);
    }
}

void kinesis_metrics(struct kinesis *k, struct metrics *m)
{
    struct http_stats front = {0};
    if (k->server != NULL) {
        front = http_server_stats(k->server);
    }
    metrics_one(m, "weir_http_connections", METRIC_GAUGE, "Connections of Kinesis clients.",
                front.connections);
    metrics_one(m, "weir_http_requests", METRIC_GAUGE, "Their requests under way.", front.requests);
    metrics_one(m, "weir_http_connections_accepted_total", METRIC_COUNTER,
                "Connections of Kinesis clients.", (double)front.accepted);
    metrics_one(m, "weir_http_connections_turned_away_total", METRIC_COUNTER,
                "Connections of Kinesis clients above a limit.", (double)front.turned_away);
    metrics_one(m, "weir_http_requests_refused_total", METRIC_COUNTER,
                "Requests that were no good HTTP, or beyond a limit of it.", (double)front.refused);
    metrics_one(m, "weir_http_unverified_bytes", METRIC_GAUGE,
                "Bodies of requests whose signature is not checked yet.", (double)front.unverified);
    stats_write(&k->stats, k->options.route, m);
}

void kinesis_warn(struct kinesis *k)
{
    http_server_warn(k->server);
}

void kinesis_drain(struct kinesis *k)
{
    k->draining = true;
    http_server_drain(k->server, NULL);
    subscriptions_end(k);
}

bool kinesis_is_drained(const struct kinesis *k)
{
    return http_server_is_silent(k->server);
}

uint32_t kinesis_connections(const struct kinesis *k)
{
    return http_server_stats(k->server).connections;
}

void kinesis_close(struct kinesis *k)
{
    k->closing = true;
    http_server_close(k->server);
    k->server = NULL;
    struct list waiting;
    list_move(&waiting, &k->waiting);
    while (!list_empty(&waiting)) {
        struct request *r = CONTAINER_OF(list_pop(&waiting), struct request, waiting);
        net_timer_stop(k->options.loop, &r->timer);
        answer_status(r, STATUS_CLOSING, NULL);
    }
}

void kinesis_free(struct kinesis *k)
{
    if (k == NULL) {
        return;
    }
    while (!list_empty(&k->requests)) {
        struct request *r = CONTAINER_OF(k->requests.next, struct request, node);
        trace(TRACE_WARNING, "kinesis", "request %s was never answered", r->id);
        request_free(r);
    }
    coder_release(&k->coder);
    stats_release(&k->stats);
    free(k);
}
