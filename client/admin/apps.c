/* Applications that consume streams: one call for all that can be done with them. */
#include <weir/app.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"
#include "proto/schema/lease.pb-c.h"

/* An APP_CONTROL under way. */
struct app_job {
    struct admin_job *job;
    Weir__AppControl body;
    Weir__LeasePosition position;
    char application[WEIR_APP_NAME_BYTES], stream[WEIR_APP_STREAM_BYTES];
    weir_app_fn *got;
    void *context;
};

void weir_apps_free(struct weir_apps *apps)
{
    if (apps != NULL) {
        free(apps->apps);
        free(apps->workers);
        free(apps->leases);
        free(apps);
    }
}

/* ---- the answer
 * ------------------------------------------------------------------------------------ */

static void parse_position(const Weir__LeasePosition *from, struct weir_app_position *to)
{
    if (from != NULL) {
        to->type = (enum weir_app_position_type)from->type;
        to->offset = from->offset;
        to->sub_sequence = from->sub_sequence;
        to->timestamp_ms = from->timestamp_ms;
    }
}

static void parse_app(const Weir__AppInfo *from, struct weir_app *to)
{
    (void)snprintf(to->name, sizeof(to->name), "%s", from->name);
    to->created_ms = from->created_ms;
    to->workers = from->workers;
    to->leases = from->leases;
    to->finished = from->finished;
    to->unowned = from->unowned;
}

static void parse_worker(const Weir__LeaseWorkerInfo *from, struct weir_app_worker *to)
{
    (void)snprintf(to->name, sizeof(to->name), "%s", from->name);
    to->joined_ms = from->joined_ms;
    to->seen = from->seen;
    to->age_ms = from->age_ms;
    to->leases = from->leases;
    to->bytes_per_s = from->bytes_per_s;
    to->draining = from->draining;
}

static void parse_lease(const Weir__LeaseInfo *from, struct weir_app_lease *to)
{
    to->stream_id = (uint32_t)(from->shard >> 32);
    to->shard = (uint32_t)from->shard;
    (void)snprintf(to->stream, sizeof(to->stream), "%s", from->stream);
    (void)snprintf(to->owner, sizeof(to->owner), "%s", from->worker);
    (void)snprintf(to->stuck, sizeof(to->stuck), "%s", from->stuck);
    to->counter = from->counter;
    parse_position(from->checkpoint, &to->checkpoint);
    parse_position(from->pending, &to->pending);
    to->has_pending = from->pending != NULL;
    to->checkpoint_ms = from->checkpoint_ms;
    to->owned_ms = from->owned_ms;
    to->bytes_per_s = from->bytes_per_s;
    to->confirmed = from->confirmed;
    to->hand_over_ms = from->hand_over_ms;
    to->waits_for_parents = from->waits_for_parents;
}

/* NULL: malformed, or out of memory. */
static struct weir_apps *parse(struct bytes body)
{
    Weir__AppReply *from = weir__app_reply__unpack(NULL, body.size, body.data);
    struct weir_apps *apps = from != NULL ? calloc(1, sizeof(*apps)) : NULL;
    if (apps != NULL) {
        apps->apps = calloc(from->n_applications + 1, sizeof(*apps->apps));
        apps->workers = calloc(from->n_workers + 1, sizeof(*apps->workers));
        apps->leases = calloc(from->n_leases + 1, sizeof(*apps->leases));
        if (apps->apps == NULL || apps->workers == NULL || apps->leases == NULL) {
            weir_apps_free(apps);
            apps = NULL;
        }
    }
    if (apps != NULL) {
        for (; apps->app_count < from->n_applications; apps->app_count++) {
            parse_app(from->applications[apps->app_count], &apps->apps[apps->app_count]);
        }
        for (; apps->worker_count < from->n_workers; apps->worker_count++) {
            parse_worker(from->workers[apps->worker_count], &apps->workers[apps->worker_count]);
        }
        for (; apps->lease_count < from->n_leases; apps->lease_count++) {
            parse_lease(from->leases[apps->lease_count], &apps->leases[apps->lease_count]);
        }
        apps->more = from->more;
        apps->term_ms = from->term_ms;
        apps->time_ms = from->time_ms;
        apps->changed = from->changed;
    }
    weir__app_reply__free_unpacked(from, NULL);
    return apps;
}

/* ---- the call
 * -------------------------------------------------------------------------------------- */

static void finish(struct app_job *app, enum status status, const char *text,
                   struct weir_apps *apps)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    app->got(apps, &error, app->context);
    free(app->job);
    free(app);
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct app_job *app = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(app, reply->status, reply->text, NULL);
        return;
    }
    struct weir_apps *apps = parse(reply->body);
    finish(app, apps != NULL ? STATUS_OK : STATUS_INTERNAL,
           "the controller's answer is malformed, or memory ran out", apps);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct app_job *app = job->context;
    bool is_change = app->body.action == WEIR__APP_CONTROL__ACTION__RESET ||
                     app->body.action == WEIR__APP_CONTROL__ACTION__DELETE;
    enum status status =
        cluster_call(job->client->cluster, &job->call, RPC_APP_CONTROL, &app->body.base, is_change,
                     admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(app, status, status_text(status), NULL);
    }
}

static void fill(struct app_job *app, const struct weir_app_request *request)
{
    Weir__AppControl *body = &app->body;
    weir__app_control__init(body);
    weir__lease_position__init(&app->position);
    body->action = (Weir__AppControl__Action)request->action;
    body->application = app->application;
    body->stream = app->stream;
    app->position.type = (Weir__LeasePositionType)request->position.type;
    app->position.offset = request->position.offset;
    app->position.sub_sequence = request->position.sub_sequence;
    app->position.timestamp_ms = request->position.timestamp_ms;
    body->position = &app->position;
    body->has_shard = request->has_shard;
    body->shard = (uint64_t)request->stream_id << 32 | request->shard;
    body->force = request->force;
    body->has_after = request->has_after;
    body->after = (uint64_t)request->after_stream_id << 32 | request->after_shard;
    body->request =
        (ProtobufCBinaryData){.data = app->job->request, .len = sizeof(app->job->request)};
}

NODISCARD static enum status begin(struct weir_client *client,
                                   const struct weir_app_request *request, uint32_t timeout_ms,
                                   weir_app_fn *got, void *context, struct error *error)
{
    const char *application = request->application == NULL ? "" : request->application;
    const char *stream = request->stream == NULL ? "" : request->stream;
    if (strlen(application) >= WEIR_APP_NAME_BYTES || strlen(stream) >= WEIR_APP_STREAM_BYTES ||
        (application[0] == '\0' && request->action != WEIR_APP_LIST)) {
        return error_set(error, STATUS_INVALID,
                         "names of applications and streams have 1 to 128 characters");
    }
    struct app_job *app = calloc(1, sizeof(*app));
    enum status status = app == NULL ? error_set(error, STATUS_NO_MEMORY, "out of memory")
                                     : admin_job_new(client, NULL, timeout_ms, &app->job, error);
    if (status != STATUS_OK) {
        free(app);
        return status;
    }
    (void)snprintf(app->application, sizeof(app->application), "%s", application);
    (void)snprintf(app->stream, sizeof(app->stream), "%s", stream);
    fill(app, request);
    app->got = got;
    app->context = context;
    app->job->context = app;
    app->job->mail.run = ask;
    net_mailbox_send(client->mailbox, &app->job->mail);
    return STATUS_OK;
}

static void for_waiter(struct weir_apps *apps, const struct weir_error *error, void *context)
{
    waiter_wake(context, apps, error);
}

enum weir_status weir_app_async(struct weir_client *client, const struct weir_app_request *request,
                                uint32_t timeout_ms, weir_app_fn *got, void *context)
{
    return public_status(begin(client, request, timeout_ms, got, context, NULL));
}

enum weir_status weir_app(struct weir_client *client, const struct weir_app_request *request,
                          uint32_t timeout_ms, struct weir_apps **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = begin(client, request, timeout_ms, for_waiter, &waiter, &why);
    void *result = NULL;
    enum weir_status status = waiter_wait_begun(&waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}
