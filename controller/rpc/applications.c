/* APP_CONTROL: applications that consume streams, for who operates them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "controller/rpc/leases.h"
#include "proto/net/net.h"

enum { PAGE_LEASES = 5000, STUCK_BYTES = 200 };

/* ---- applications
 * ---------------------------------------------------------------------------------- */

struct stream_message {
    Weir__LeaseStream message;
    Weir__LeasePosition initial;
    char name[STREAM_NAME_MAX + 1];
};

struct app_message {
    Weir__AppInfo message;
    uint64_t id;
    char name[DB_LEASE_NAME_BYTES];
    const struct controller *c;
    struct stream_message *stream;
    Weir__LeaseStream **streams;
};

static bool count_lease(const struct db_lease *lease, void *context)
{
    struct app_message *app = context;
    struct lease_view view = {0};
    if (lease->checkpoint.type == DB_SHARD_END) {
        app->message.finished++;
        return true;
    }
    app->message.leases++;
    bool waits = lease_view(app->c->leases, controller_now(app->c), lease->application,
                            lease->shard, &view) == STATUS_OK &&
                 view.waits_for_parents;
    app->message.unowned += lease->worker == 0 && !waits;
    return true;
}

static void fill_stream(const struct db_lease_stream *row, void *context)
{
    struct app_message *app = context;
    const struct db_stream *stream = watch_stream(app->c->watch, row->stream);
    if (app->message.n_streams >= COMMAND_APPLICATION_STREAMS_MAX) {
        return;
    }
    struct stream_message *out = &app->stream[app->message.n_streams];
    weir__lease_stream__init(&out->message);
    (void)snprintf(out->name, sizeof(out->name), "%s", stream == NULL ? "" : stream->name);
    out->initial = lease_position_message(&row->initial);
    out->message.name = out->name;
    out->message.initial = &out->initial;
    app->streams[app->message.n_streams++] = &out->message;
}

static bool fill_app(struct controller *c, const struct db_application *row,
                     struct app_message *out)
{
    weir__app_info__init(&out->message);
    out->c = c;
    out->id = row->id;
    memcpy(out->name, row->name, sizeof(out->name));
    out->message.name = out->name;
    out->message.created_ms = row->created_ms;
    out->message.workers = (uint32_t)db_lease_worker_count(c->db, row->id);
    uint64_t streams = db_lease_stream_count(c->db, row->id);
    out->stream = calloc(streams + 1, sizeof(*out->stream));
    out->streams = calloc(streams + 1, sizeof(Weir__LeaseStream *));
    if (out->stream == NULL || out->streams == NULL) {
        return false;
    }
    db_lease_stream_each(c->db, row->id, fill_stream, out);
    out->message.streams = out->streams;
    db_lease_each(c->db, row->id, 0, INT64_MAX, count_lease, out);
    return true;
}

static void app_release(struct app_message *app)
{
    free(app->stream);
    free((void *)app->streams);
}

struct listing {
    struct db_application *row;
    size_t count, capacity;
};

static void add_application(const struct db_application *application, void *context)
{
    struct listing *listing = context;
    if (listing->count < listing->capacity) {
        listing->row[listing->count++] = *application;
    }
}

/* Now: the time of the newest command stands still while nothing changes, and lags would with it.
 */
static uint64_t cluster_time(const struct controller *c)
{
    uint64_t applied = db_meta(c->db)->time_ms;
    uint64_t wall = net_wall_ms();
    return wall > applied ? wall : applied;
}

static void fill_common(const struct controller *c, Weir__AppReply *reply)
{
    weir__app_reply__init(reply);
    reply->term_ms = c->options.lease_term_ms;
    reply->time_ms = cluster_time(c);
}

static void list_applications(struct controller *c, struct session_call *call)
{
    struct listing listing = {.capacity = db_application_count(c->db)};
    AUTO(free_pointer)
    struct db_application *rows = calloc(listing.capacity + 1, sizeof(*rows));
    AUTO(free_pointer)
    struct app_message *apps = calloc(listing.capacity + 1, sizeof(*apps));
    AUTO(free_pointer)
    Weir__AppInfo **list = calloc(listing.capacity + 1, sizeof(Weir__AppInfo *));
    bool good = rows != NULL && apps != NULL && list != NULL;
    Weir__AppReply reply;
    if (good) {
        listing.row = rows;
        db_application_each(c->db, add_application, &listing);
        fill_common(c, &reply);
    }
    for (size_t i = 0; good && i < listing.count; i++) {
        good = fill_app(c, &rows[i], &apps[i]);
        list[i] = &apps[i].message;
    }
    if (good) {
        reply.applications = list;
        reply.n_applications = listing.count;
        reply_message(call, &reply.base);
    } else {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
    }
    for (size_t i = 0; apps != NULL && i < listing.count; i++) {
        app_release(&apps[i]);
    }
}

/* ---- one of them
 * ----------------------------------------------------------------------------------- */

struct lease_message {
    Weir__LeaseInfo message;
    Weir__LeasePosition checkpoint, pending;
    uint64_t parents[DB_PARENTS_MAX];
    char stream[STREAM_NAME_MAX + 1], worker[DB_LEASE_NAME_BYTES], stuck[STUCK_BYTES];
};

struct worker_message {
    Weir__LeaseWorkerInfo message;
    char name[DB_LEASE_NAME_BYTES];
};

struct description {
    struct controller *c;
    struct lease_message *lease;
    Weir__LeaseInfo **leases;
    struct worker_message *worker;
    Weir__LeaseWorkerInfo **workers;
    size_t lease_count, worker_count, worker_capacity;
    bool more;
};

static void description_release(struct description *d)
{
    free(d->lease);
    free((void *)d->leases);
    free(d->worker);
    free((void *)d->workers);
}

static void say_why_stuck(const struct controller *c, const struct db_lease *lease,
                          const struct lease_view *view, char out[STUCK_BYTES])
{
    uint64_t now = cluster_time(c);
    uint64_t age = now > lease->owned_ms ? now - lease->owned_ms : 0;
    out[0] = '\0';
    if (lease->checkpoint.type == DB_SHARD_END) {
        return;
    }
    if (view->waits_for_parents) {
        (void)snprintf(out, STUCK_BYTES, "waits for its parent shardId-%012u to be finished",
                       (unsigned)view->waits_for);
    } else if (lease->worker == 0 && view->nobody_reads) {
        (void)snprintf(out, STUCK_BYTES, "no worker that reads its stream is there");
    } else if (lease->worker == 0 && age > 3 * (uint64_t)c->options.lease_term_ms) {
        (void)snprintf(out, STUCK_BYTES, "nobody has taken it for %llu s",
                       (unsigned long long)(age / 1000));
    } else if (lease->worker != 0 && !view->confirmed && age > c->options.lease_term_ms) {
        (void)snprintf(out, STUCK_BYTES, "its worker has not said that it processes it");
    }
}

static bool add_lease(const struct db_lease *row, void *context)
{
    struct description *d = context;
    if (d->lease_count == PAGE_LEASES) {
        d->more = true;
        return false;
    }
    struct controller *c = d->c;
    struct lease_message *out = &d->lease[d->lease_count];
    Weir__LeaseInfo *info = &out->message;
    const struct db_stream *stream = watch_stream(c->watch, (uint32_t)(row->shard >> 32));
    struct db_lease_worker worker = {0};
    struct lease_view view = {0};
    status_ignore(lease_view(c->leases, controller_now(c), row->application, row->shard, &view),
                  "then nothing more is known of it");
    if (row->worker != 0) {
        (void)db_lease_worker_get(c->db, row->worker, &worker);
    }
    weir__lease_info__init(info);
    (void)snprintf(out->stream, sizeof(out->stream), "%s", stream == NULL ? "" : stream->name);
    (void)snprintf(out->worker, sizeof(out->worker), "%s", worker.name);
    say_why_stuck(c, row, &view, out->stuck);
    out->checkpoint = lease_position_message(&row->checkpoint);
    out->pending = lease_position_message(&row->pending);
    info->shard = row->shard;
    info->stream = out->stream;
    info->worker = out->worker;
    info->counter = row->counter;
    info->checkpoint = &out->checkpoint;
    info->pending = row->has_pending ? &out->pending : NULL;
    info->checkpoint_ms = row->checkpoint_ms;
    info->owned_ms = row->owned_ms;
    info->bytes_per_s = view.bytes_per_s;
    info->confirmed = view.confirmed;
    info->hand_over_ms = view.hand_over_ms;
    info->waits_for_parents = view.waits_for_parents;
    info->n_parents = lease_parents(c, row->shard, out->parents);
    info->parents = out->parents;
    info->stuck = out->stuck;
    d->leases[d->lease_count++] = info;
    return true;
}

static void add_worker(const struct db_lease_worker *row, void *context)
{
    struct description *d = context;
    if (d->worker_count == d->worker_capacity) {
        return;
    }
    struct worker_message *out = &d->worker[d->worker_count];
    struct lease_worker_view view = {0};
    status_ignore(
        lease_worker_view(d->c->leases, controller_now(d->c), row->application, row->id, &view),
        "then it has just come or gone");
    weir__lease_worker_info__init(&out->message);
    memcpy(out->name, row->name, sizeof(out->name));
    out->message.name = out->name;
    out->message.joined_ms = row->joined_ms;
    out->message.seen = view.seen;
    out->message.age_ms = view.age_ms;
    out->message.leases = view.leases;
    out->message.bytes_per_s = view.bytes_per_s;
    out->message.draining = view.draining;
    d->workers[d->worker_count++] = &out->message;
}

static bool description_init(struct description *d, struct controller *c, uint64_t application)
{
    d->c = c;
    d->worker_capacity = db_lease_worker_count(c->db, application);
    d->lease = calloc(PAGE_LEASES, sizeof(*d->lease));
    d->leases = calloc(PAGE_LEASES, sizeof(Weir__LeaseInfo *));
    d->worker = calloc(d->worker_capacity + 1, sizeof(*d->worker));
    d->workers = calloc(d->worker_capacity + 1, sizeof(Weir__LeaseWorkerInfo *));
    return d->lease != NULL && d->leases != NULL && d->worker != NULL && d->workers != NULL;
}

static void describe(struct controller *c, struct session_call *call, const Weir__AppControl *in)
{
    struct db_application row;
    if (!db_application_find(c->db, in->application, &row)) {
        session_reply_error(call, STATUS_NOT_FOUND, NULL, "there is no application %s",
                            in->application);
        return;
    }
    AUTO(description_release) struct description d = {0};
    AUTO(app_release) struct app_message app = {0};
    if (!description_init(&d, c, row.id) || !fill_app(c, &row, &app)) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    uint64_t first = in->has_after && in->after < INT64_MAX ? in->after + 1 : 0;
    db_lease_each(c->db, row.id, first, INT64_MAX, add_lease, &d);
    Weir__AppReply reply;
    Weir__AppInfo *apps[] = {&app.message};
    fill_common(c, &reply);
    reply.applications = apps;
    reply.n_applications = 1;
    if (!in->has_after) {
        db_lease_worker_each(c->db, row.id, add_worker, &d);
        reply.workers = d.workers;
        reply.n_workers = d.worker_count;
    }
    reply.leases = d.leases;
    reply.n_leases = d.lease_count;
    reply.more = d.more;
    reply_message(call, &reply.base);
}

/* ---- changes
 * --------------------------------------------------------------------------------------- */

static void answer_control(struct controller *c, struct session_call *call, struct bytes body)
{
    Weir__AppReply *made = weir__app_reply__unpack(NULL, body.size, body.data);
    if (made == NULL) {
        session_reply_error(call, STATUS_INTERNAL, NULL,
                            "the result of the first request with this id is not an application's");
        return;
    }
    Weir__AppReply reply;
    fill_common(c, &reply);
    reply.changed = made->changed;
    reply_message(call, &reply.base);
    weir__app_reply__free_unpacked(made, NULL);
}

static void change(struct controller *c, struct session_call *call, Weir__AppControl *in)
{
    Weir__CmdAppControl control = WEIR__CMD_APP_CONTROL__INIT;
    control.control = in;
    Weir__Command command = WEIR__COMMAND__INIT;
    command.request = in->request;
    command.kind_case = WEIR__COMMAND__KIND_APP_CONTROL;
    command.app_control = &control;
    command_for_call(c, call, &command, 1000, answer_control);
}

void handle_app_control(struct controller *c, struct client *client, struct session_call *call)
{
    (void)client;
    Weir__AppControl *in = weir__app_control__unpack(NULL, call->body.size, call->body.data);
    if (in == NULL) {
        reply_malformed(call);
        return;
    }
    if (!c->active) {
        reply_not_active(c, call);
    } else if (in->action == WEIR__APP_CONTROL__ACTION__LIST) {
        list_applications(c, call);
    } else if (in->action == WEIR__APP_CONTROL__ACTION__DESCRIBE) {
        describe(c, call, in);
    } else if (in->action == WEIR__APP_CONTROL__ACTION__RESET ||
               in->action == WEIR__APP_CONTROL__ACTION__DELETE) {
        change(c, call, in);
    } else {
        session_reply_error(call, STATUS_INVALID, NULL,
                            "nothing that can be done with an application");
    }
    weir__app_control__free_unpacked(in, NULL);
}
