/* A stream's own limits: told, and changed. */
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"

struct limits_job {
    struct admin_job *job;
    bool set;
    struct weir_stream_limits limits;
    Weir__StreamLimits body;
    Weir__StreamControl control;
    weir_stream_limits_fn *got;
    void *context;
};

static void finish(struct limits_job *l, enum status status, const char *text)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    l->got(status == STATUS_OK ? &l->limits : NULL, &error, l->context);
    free(l->job);
    free(l);
}

static void changed(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct limits_job *l = CONTAINER_OF(call, struct admin_job, call)->context;
    finish(l, reply->status, reply->text);
}

static void take(const Weir__StreamLimits *from, struct weir_stream_limits *out)
{
    *out = (struct weir_stream_limits){.write_bytes = from->write_bytes,
                                       .write_records = from->write_records,
                                       .read_bytes = from->read_bytes,
                                       .read_calls = from->read_calls,
                                       .iterator_calls = from->iterator_calls,
                                       .subscription_bytes = from->subscription_bytes};
}

static void looked(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct limits_job *l = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(l, reply->status, reply->text);
        return;
    }
    Weir__MetadataUpdate *update =
        weir__metadata_update__unpack(NULL, reply->body.size, reply->body.data);
    bool good = update != NULL && update->n_streams == 1;
    if (good && update->streams[0]->attributes != NULL &&
        update->streams[0]->attributes->limits != NULL) {
        take(update->streams[0]->attributes->limits, &l->limits);
    }
    weir__metadata_update__free_unpacked(update, NULL);
    finish(l, good ? STATUS_OK : STATUS_INTERNAL, "the controller's answer is malformed");
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct limits_job *l = job->context;
    weir__get_metadata__init(&job->body.get);
    job->body.get.stream = job->name;
    enum status status =
        l->set ? cluster_call(job->client->cluster, &job->call, RPC_STREAM_CONTROL,
                              &l->control.base, true, admin_left_ms(job->deadline_ms), changed)
               : cluster_call(job->client->cluster, &job->call, RPC_GET_METADATA,
                              &job->body.get.base, false, admin_left_ms(job->deadline_ms), looked);
    if (status != STATUS_OK) {
        finish(l, status, status_text(status));
    }
}

static void fill(struct limits_job *l, const struct weir_stream_limits *limits)
{
    l->set = true;
    l->limits = *limits;
    weir__stream_limits__init(&l->body);
    l->body.write_bytes = limits->write_bytes;
    l->body.write_records = limits->write_records;
    l->body.read_bytes = limits->read_bytes;
    l->body.read_calls = limits->read_calls;
    l->body.iterator_calls = limits->iterator_calls;
    l->body.subscription_bytes = limits->subscription_bytes;
    weir__stream_control__init(&l->control);
    l->control.name = l->job->name;
    l->control.request =
        (ProtobufCBinaryData){.data = l->job->request, .len = sizeof(l->job->request)};
    l->control.kind_case = WEIR__STREAM_CONTROL__KIND_STREAM_LIMITS;
    l->control.stream_limits = &l->body;
}

/* `limits` NULL: they are asked for. */
static enum status begin(struct weir_client *client, const char *name,
                         const struct weir_stream_limits *limits, uint32_t timeout_ms,
                         weir_stream_limits_fn *got, void *context, struct error *error)
{
    struct limits_job *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = admin_job_new(client, name, timeout_ms, &l->job, error);
    if (status != STATUS_OK) {
        free(l);
        return status;
    }
    if (limits != NULL) {
        fill(l, limits);
    }
    l->got = got;
    l->context = context;
    l->job->context = l;
    l->job->mail.run = ask;
    net_mailbox_send(client->mailbox, &l->job->mail);
    return STATUS_OK;
}

struct answer {
    struct waiter waiter;
    struct weir_stream_limits limits;
};

static void for_waiter(const struct weir_stream_limits *limits, const struct weir_error *error,
                       void *context)
{
    struct answer *answer = context;
    if (limits != NULL) {
        answer->limits = *limits;
    }
    waiter_wake(&answer->waiter, NULL, error);
}

static enum weir_status wait(struct weir_client *client, const char *name,
                             const struct weir_stream_limits *limits, uint32_t timeout_ms,
                             struct weir_stream_limits *out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct answer answer;
    struct error why = {0};
    waiter_init(&answer.waiter);
    enum status begun = begin(client, name, limits, timeout_ms, for_waiter, &answer, &why);
    enum weir_status status = waiter_wait_begun(&answer.waiter, begun, &why, NULL, error);
    if (status == WEIR_OK && out != NULL) {
        *out = answer.limits;
    }
    return status;
}

enum weir_status weir_stream_limits_get(struct weir_client *client, const char *name,
                                        uint32_t timeout_ms, struct weir_stream_limits *out,
                                        struct weir_error *error)
{
    return wait(client, name, NULL, timeout_ms, out, error);
}

enum weir_status weir_stream_limits_get_async(struct weir_client *client, const char *name,
                                              uint32_t timeout_ms, weir_stream_limits_fn *got,
                                              void *context)
{
    return public_status(begin(client, name, NULL, timeout_ms, got, context, NULL));
}

enum weir_status weir_stream_limits_set(struct weir_client *client, const char *name,
                                        const struct weir_stream_limits *limits,
                                        uint32_t timeout_ms, struct weir_error *error)
{
    return wait(client, name, limits, timeout_ms, NULL, error);
}

enum weir_status weir_stream_limits_set_async(struct weir_client *client, const char *name,
                                              const struct weir_stream_limits *limits,
                                              uint32_t timeout_ms, weir_stream_limits_fn *got,
                                              void *context)
{
    return public_status(begin(client, name, limits, timeout_ms, got, context, NULL));
}
