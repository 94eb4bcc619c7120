/* Changes: create, delete, retention. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"

enum status admin_job_new(struct weir_client *client, const char *name, uint32_t timeout_ms,
                          struct admin_job **out, struct error *error)
{
    enum status status = name != NULL ? check_stream_name(name, error) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    struct admin_job *job = calloc(1, sizeof(*job));
    if (job == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    job->client = client;
    job->deadline_ms = handle_now_ms() + handle_timeout(timeout_ms);
    (void)snprintf(job->name, sizeof(job->name), "%s", name != NULL ? name : "");
    handle_random(job->request, sizeof(job->request));
    *out = job;
    return STATUS_OK;
}

void admin_job_free(struct admin_job *job)
{
    free(job);
}

uint32_t admin_left_ms(uint64_t deadline_ms)
{
    uint64_t now = handle_now_ms();
    return deadline_ms > now ? (uint32_t)(deadline_ms - now) : 1;
}

void admin_finish(struct admin_job *job, enum status status, const char *text)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    net_timer_stop(job->client->loop, &job->timer);
    job->done(&error, job->context);
    free(job);
}

static ProtobufCBinaryData request_id(struct admin_job *job)
{
    return (ProtobufCBinaryData){.data = job->request, .len = sizeof(job->request)};
}

void admin_call(struct admin_job *job, enum rpc_method method, const ProtobufCMessage *body,
                bool is_change,
                void (*done)(struct cluster_call *call, const struct cluster_reply *reply))
{
    enum status status = cluster_call(job->client->cluster, &job->call, method, body, is_change,
                                      admin_left_ms(job->deadline_ms), done);
    if (status != STATUS_OK) {
        admin_finish(job, status, status_text(status));
    }
}

/* ---- create -----------------------------------------------------------------------------------
 */

static void active(struct stream_find *find, uint32_t stream, const struct error *error)
{
    struct admin_job *job = CONTAINER_OF(find, struct admin_job, find);
    (void)stream;
    admin_finish(job, error->status, error->text);
}

static void created(struct cluster_call *done, const struct cluster_reply *reply)
{
    struct admin_job *job = CONTAINER_OF(done, struct admin_job, call);
    if (reply->status != STATUS_OK || !job->wait) {
        admin_finish(job, reply->status, reply->text);
        return;
    }
    stream_find(job->client, &job->find, job->name, admin_left_ms(job->deadline_ms), active);
}

static void create(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    admin_call(job, RPC_CREATE_STREAM, &job->body.create.base, true, created);
}

NODISCARD static enum status create_begin(struct weir_client *client, const char *name,
                                          const struct weir_create_options *options,
                                          weir_done_fn *done, void *context, struct error *error)
{
    if (options->shards == 0 || options->shards > SHARDS_PER_STREAM_MAX) {
        return error_set(error, STATUS_INVALID, "a stream has 1 to %d shards",
                         SHARDS_PER_STREAM_MAX);
    }
    struct admin_job *job;
    enum status status = admin_job_new(client, name, options->timeout_ms, &job, error);
    if (status != STATUS_OK) {
        return status;
    }
    weir__create_stream__init(&job->body.create);
    job->body.create.name = job->name;
    job->body.create.shards = options->shards;
    job->body.create.retention_hours = options->retention_hours;
    job->body.create.allow_fewer_zones = options->allow_fewer_zones;
    job->body.create.request = request_id(job);
    job->wait = !options->no_wait;
    job->done = done;
    job->context = context;
    job->mail.run = create;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_create_async(struct weir_client *client, const char *name,
                                          const struct weir_create_options *options,
                                          weir_done_fn *done, void *context)
{
    return public_status(create_begin(client, name, options, done, context, NULL));
}

enum weir_status weir_stream_create(struct weir_client *client, const char *name,
                                    const struct weir_create_options *options,
                                    struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = create_begin(client, name, options, waiter_done, &waiter, &why);
    return waiter_wait_begun(&waiter, begun, &why, NULL, error);
}

/* ---- delete -----------------------------------------------------------------------------------
 */

static const struct admin_wait gone = {
    .every_ms = 100,
    .late = "the stream is being deleted, but is not gone yet: a broker that is down still has "
            "replicas of it, and drops them when it is back",
};

static void delete_stream(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    admin_call(job, RPC_DELETE_STREAM, &job->body.remove.base, true, admin_begun);
}

NODISCARD static enum status delete_begin(struct weir_client *client, const char *name, bool wait,
                                          uint32_t timeout_ms, weir_done_fn *done, void *context,
                                          struct error *error)
{
    struct admin_job *job;
    enum status status = admin_job_new(client, name, timeout_ms, &job, error);
    if (status != STATUS_OK) {
        return status;
    }
    weir__delete_stream__init(&job->body.remove);
    job->body.remove.name = job->name;
    job->body.remove.request = request_id(job);
    job->wait = wait;
    job->wait_for = &gone;
    job->done = done;
    job->context = context;
    job->mail.run = delete_stream;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_delete_async(struct weir_client *client, const char *name, bool wait,
                                          uint32_t timeout_ms, weir_done_fn *done, void *context)
{
    return public_status(delete_begin(client, name, wait, timeout_ms, done, context, NULL));
}

enum weir_status weir_stream_delete(struct weir_client *client, const char *name, bool wait,
                                    uint32_t timeout_ms, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = delete_begin(client, name, wait, timeout_ms, waiter_done, &waiter, &why);
    return waiter_wait_begun(&waiter, begun, &why, NULL, error);
}

/* ---- retention --------------------------------------------------------------------------------
 */

static void changed(struct cluster_call *done, const struct cluster_reply *reply)
{
    admin_finish(CONTAINER_OF(done, struct admin_job, call), reply->status, reply->text);
}

static void change_retention(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    admin_call(job, RPC_CHANGE_RETENTION, &job->body.retention.base, true, changed);
}

NODISCARD static enum status retention_begin(struct weir_client *client, const char *name,
                                             uint32_t hours, uint32_t timeout_ms,
                                             weir_done_fn *done, void *context, struct error *error)
{
    struct admin_job *job;
    enum status status = admin_job_new(client, name, timeout_ms, &job, error);
    if (status != STATUS_OK) {
        return status;
    }
    weir__change_retention__init(&job->body.retention);
    job->body.retention.name = job->name;
    job->body.retention.retention_hours = hours;
    job->body.retention.request = request_id(job);
    job->done = done;
    job->context = context;
    job->mail.run = change_retention;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_retention_async(struct weir_client *client, const char *name,
                                             uint32_t hours, uint32_t timeout_ms,
                                             weir_done_fn *done, void *context)
{
    return public_status(retention_begin(client, name, hours, timeout_ms, done, context, NULL));
}

enum weir_status weir_stream_retention(struct weir_client *client, const char *name, uint32_t hours,
                                       uint32_t timeout_ms, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun =
        retention_begin(client, name, hours, timeout_ms, waiter_done, &waiter, &why);
    return waiter_wait_begun(&waiter, begun, &why, NULL, error);
}
