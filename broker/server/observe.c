#include "broker/server/observe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/server_internal.h"

/* ---- counting ---- */

static void add(struct shard_counters *to, const struct shard_counters *more)
{
    to->in_bytes += more->in_bytes;
    to->in_records += more->in_records;
    to->out_bytes += more->out_bytes;
    to->out_records += more->out_records;
    to->write_exceeded += more->write_exceeded;
    to->read_exceeded += more->read_exceeded;
    to->iterator_age_ms =
        more->iterator_age_ms > to->iterator_age_ms ? more->iterator_age_ms : to->iterator_age_ms;
}

/* NULL: too many streams, or no memory; what is counted of it is in the sum of all only. */
static struct stream_counts *counts_of(struct observe *o, uint32_t stream)
{
    uint32_t low = 0, high = o->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (o->streams[middle].stream < stream) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < o->count && o->streams[low].stream == stream) {
        return &o->streams[low];
    }
    struct stream_counts *grown =
        o->count == OBSERVE_STREAMS_MAX
            ? NULL
            : realloc(o->streams, (o->count + (size_t)1) * sizeof(*o->streams));
    if (grown == NULL) {
        return NULL;
    }
    o->streams = grown;
    memmove(grown + low + 1, grown + low, (o->count - low) * sizeof(*grown));
    o->count++;
    grown[low] = (struct stream_counts){.stream = stream};
    return &grown[low];
}

/* Forgets deleted streams. */
static void tidy(struct server *s)
{
    struct observe *o = &s->observe;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < o->count; i++) {
        if (route_stream(s->route, o->streams[i].stream) != NULL) {
            o->streams[kept++] = o->streams[i];
        }
    }
    o->count = kept;
}

void observe_count(struct server *s)
{
    struct observe *o = &s->observe;
    tidy(s);
    for (uint32_t i = 0; i < o->count; i++) {
        o->streams[i].counters.iterator_age_ms = 0; /* a maximum of now, not of ever */
    }
    o->all.iterator_age_ms = 0;
    for (struct shard *shard = shards_next(s->shards, NULL); shard != NULL;
         shard = shards_next(s->shards, shard)) {
        struct shard_counters more;
        shard_observe(shard, &more);
        shard->traffic.in_bytes += more.in_bytes;
        shard->traffic.out_bytes += more.out_bytes;
        shard->traffic.records += more.in_records + more.out_records;
        struct stream_counts *counts = counts_of(o, (uint32_t)(shard->id >> 32));
        if (counts != NULL) {
            add(&counts->counters, &more);
        }
        add(&o->all, &more);
    }
}

/* ---- readiness ---- */

static bool is_ready(void *context, char why[PROCESS_WHY_BYTES])
{
    struct server *s = context;
    const char *text = NULL;
    if (s->closing || s->leave_until_ms != 0) {
        text = "it is stopping";
    } else if (shards_are_out(s->shards)) {
        text = "its disk is out";
    } else if (controllers_floor_version(s->controllers) == 0 ||
               controllers_session(s->controllers) == NULL) {
        text = "it is not registered with the active controller";
    } else if (!controllers_is_watching(s->controllers) ||
               route_version(s->route) < controllers_floor_version(s->controllers)) {
        text = "its image of the metadata is not current";
    }
    if (text != NULL) {
        (void)snprintf(why, PROCESS_WHY_BYTES, "%s", text);
        return false;
    }
    return peers_are_whole(s->peers, s->route, why, PROCESS_WHY_BYTES);
}

/* ---- life ---- */

static void on_hang_up(uv_signal_t *handle, int signal_number)
{
    (void)signal_number;
    struct server *s = handle->data;
    struct error error;
    net_reload_now(&s->reload);
    if (server_config_reload_log(&error) != STATUS_OK) {
        trace(TRACE_ERROR, "server", "SIGHUP: nothing changes: %s", error.text);
    } else {
        trace(TRACE_WARNING, "server", "SIGHUP: log-level and log-format are read again");
    }
}

enum status observe_open(struct server *s, struct error *error)
{
    struct observe *o = &s->observe;
    (void)snprintf(o->name, sizeof(o->name), "broker-%u", s->config->id);
    const struct process_options options = {
        .loop = s->loop,
        .name = o->name,
        .boot = s->boot,
        .role = FORMAT_OF_BROKERS,
        .spec = server_config_spec(),
        .config = s->config,
        .context = s,
        .metrics = observe_write_metrics,
        .ready = is_ready,
    };
    CHECK(uv_signal_init(net_loop_uv(s->loop), &o->hang_up) == 0);
    o->has_signal = true;
    o->hang_up.data = s;
    if (uv_signal_start(&o->hang_up, on_hang_up, SIGHUP) != 0) {
        return error_set(error, STATUS_INTERNAL, "cannot wait for signals");
    }
    return process_open(&o->process, &options, s->config->metrics_listen, error);
}

void observe_close(struct server *s)
{
    struct observe *o = &s->observe;
    process_close(&o->process);
    if (o->has_signal) {
        uv_close((uv_handle_t *)&o->hang_up, NULL);
        o->has_signal = false;
    }
}

void observe_release(struct server *s)
{
    free(s->observe.streams);
}
