/* Changes of streams by STREAM_CONTROL. */
#include <weir/control.h>

#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"

/* A change under way. */
struct change_job {
    struct admin_job *job;
    Weir__StreamControl body;
    union {
        Weir__StreamControl__Encryption encryption;
        Weir__StreamControl__Mode mode;
        Weir__StreamControl__MaxRecord max_record;
        Weir__StreamControl__Monitoring monitoring;
        Weir__StreamControl__Tags tags;
        Weir__StreamControl__Register enter;
        Weir__StreamControl__Deregister leave;
    } part;
    Weir__Tag tag, *tags[1];
    char *text, *value, *texts[1];
    weir_done_fn *done;
    void *context;
};

static void change_free(struct change_job *change)
{
    free(change->text);
    free(change->value);
    free(change->job);
    free(change);
}

static void finished(const struct weir_error *error, void *context)
{
    struct change_job *change = context;
    change->job = NULL; /* its end is the job's last word */
    change->done(error, change->context);
    change_free(change);
}

/* Nothing of it is under way any more: the brokers have been told. */
static bool is_settled(const Weir__StreamInfo *stream)
{
    bool settled = admin_is_active(stream);
    for (size_t i = 0; settled && stream->attributes != NULL && i < stream->attributes->n_consumers;
         i++) {
        settled = stream->attributes->consumers[i]->state == WEIR__CONSUMER_STATE__CONSUMER_ACTIVE;
    }
    return settled;
}

static const struct admin_wait told = {
    .every_ms = 20,
    .is_settled = is_settled,
    .late = "the change is made, but not all brokers know of it yet",
};

static void ask(struct net_mail *mail)
{
    struct change_job *change = CONTAINER_OF(mail, struct admin_job, mail)->context;
    admin_call(change->job, RPC_STREAM_CONTROL, &change->body.base, true, admin_begun);
}

/* ---- what is asked for ---- */

static void take_encryption(struct change_job *change, bool encrypt)
{
    weir__stream_control__encryption__init(&change->part.encryption);
    change->part.encryption.encrypt = encrypt;
    change->part.encryption.key_id = change->text;
    change->body.kind_case = WEIR__STREAM_CONTROL__KIND_ENCRYPTION;
    change->body.encryption = &change->part.encryption;
}

static void take_mode(struct change_job *change, bool on_demand)
{
    weir__stream_control__mode__init(&change->part.mode);
    change->part.mode.mode =
        on_demand ? WEIR__STREAM_MODE__STREAM_ON_DEMAND : WEIR__STREAM_MODE__STREAM_PROVISIONED;
    change->body.kind_case = WEIR__STREAM_CONTROL__KIND_MODE;
    change->body.mode = &change->part.mode;
}

static void take_monitoring(struct change_job *change, uint32_t enable, uint32_t disable)
{
    weir__stream_control__monitoring__init(&change->part.monitoring);
    change->part.monitoring.enable = enable;
    change->part.monitoring.disable = disable;
    change->body.kind_case = WEIR__STREAM_CONTROL__KIND_MONITORING;
    change->body.monitoring = &change->part.monitoring;
}

static void take_tag(struct change_job *change, bool set)
{
    weir__stream_control__tags__init(&change->part.tags);
    weir__tag__init(&change->tag);
    change->tag.key = change->text;
    change->tag.value = change->value;
    change->tags[0] = &change->tag;
    change->texts[0] = change->text;
    change->part.tags.set = change->tags;
    change->part.tags.n_set = set ? 1 : 0;
    change->part.tags.remove = change->texts;
    change->part.tags.n_remove = set ? 0 : 1;
    change->body.kind_case = WEIR__STREAM_CONTROL__KIND_TAGS;
    change->body.tags = &change->part.tags;
}

static void take_consumer(struct change_job *change, bool enter)
{
    if (enter) {
        weir__stream_control__register__init(&change->part.enter);
        change->part.enter.consumer = change->text;
        change->body.kind_case = WEIR__STREAM_CONTROL__KIND_REGISTER_CONSUMER;
        change->body.register_consumer = &change->part.enter;
    } else {
        weir__stream_control__deregister__init(&change->part.leave);
        change->part.leave.consumer = change->text;
        change->body.kind_case = WEIR__STREAM_CONTROL__KIND_DEREGISTER_CONSUMER;
        change->body.deregister_consumer = &change->part.leave;
    }
}

NODISCARD static enum status take_change(struct change_job *change, const struct weir_change *from,
                                         struct error *error)
{
    switch (from->type) {
    case WEIR_CHANGE_ENCRYPT:
    case WEIR_CHANGE_DECRYPT:
        take_encryption(change, from->type == WEIR_CHANGE_ENCRYPT);
        return STATUS_OK;
    case WEIR_CHANGE_MODE:
        take_mode(change, from->on_demand);
        return STATUS_OK;
    case WEIR_CHANGE_MAX_RECORD:
        weir__stream_control__max_record__init(&change->part.max_record);
        change->part.max_record.kib = from->number;
        change->body.kind_case = WEIR__STREAM_CONTROL__KIND_MAX_RECORD;
        change->body.max_record = &change->part.max_record;
        return STATUS_OK;
    case WEIR_CHANGE_MONITOR:
        take_monitoring(change, from->number, 0);
        return STATUS_OK;
    case WEIR_CHANGE_UNMONITOR:
        take_monitoring(change, 0, from->number);
        return STATUS_OK;
    case WEIR_CHANGE_TAG:
    case WEIR_CHANGE_UNTAG:
        take_tag(change, from->type == WEIR_CHANGE_TAG);
        return STATUS_OK;
    case WEIR_CHANGE_REGISTER:
    case WEIR_CHANGE_DEREGISTER:
        take_consumer(change, from->type == WEIR_CHANGE_REGISTER);
        return STATUS_OK;
    default:
        return error_set(error, STATUS_INVALID, "not a change of a stream");
    }
}

NODISCARD static enum status begin(struct weir_client *client, const char *name,
                                   const struct weir_change *from, weir_done_fn *done,
                                   void *context, struct error *error)
{
    struct change_job *change = calloc(1, sizeof(*change));
    if (change == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    change->text = strdup(from->text == NULL ? "" : from->text);
    change->value = strdup(from->value == NULL ? "" : from->value);
    enum status status = change->text == NULL || change->value == NULL
                             ? error_set(error, STATUS_NO_MEMORY, "out of memory")
                             : admin_job_new(client, name, from->timeout_ms, &change->job, error);
    if (status == STATUS_OK) {
        weir__stream_control__init(&change->body);
        status = take_change(change, from, error);
    }
    if (status != STATUS_OK) {
        change_free(change);
        return status;
    }
    struct admin_job *job = change->job;
    change->body.name = job->name;
    change->body.request = (ProtobufCBinaryData){.data = job->request, .len = sizeof(job->request)};
    change->done = done;
    change->context = context;
    job->wait = !from->no_wait;
    job->wait_for = &told;
    job->done = finished;
    job->context = change;
    job->mail.run = ask;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_change_async(struct weir_client *client, const char *name,
                                          const struct weir_change *change, weir_done_fn *done,
                                          void *context)
{
    return public_status(begin(client, name, change, done, context, NULL));
}

enum weir_status weir_stream_change(struct weir_client *client, const char *name,
                                    const struct weir_change *change, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = begin(client, name, change, waiter_done, &waiter, &why);
    return waiter_wait_begun(&waiter, begun, &why, NULL, error);
}
