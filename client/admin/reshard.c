/* Splits, merges, and other numbers of shards. */
#include <stdio.h>
#include <string.h>

#include "client/admin/admin.h"

/* The stream is ACTIVE again when the children have taken over. */
static const struct admin_wait children_take_over = {
    .every_ms = 20,
    .is_settled = admin_is_active,
    .late = "the change is under way, but not done yet: it goes on by itself, as soon as every "
            "shard that it closes has a leader",
};

static void reshard(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    admin_call(job, RPC_RESHARD, &job->body.reshard.base, true, admin_begun);
}

NODISCARD static enum status take_change(struct admin_job *job, const struct weir_reshard *change,
                                         struct error *error)
{
    Weir__Reshard *body = &job->body.reshard;
    if (change->type == WEIR_SPLIT) {
        body->kind_case = WEIR__RESHARD__KIND_SPLIT;
        body->split = &job->reshard.split;
        weir__reshard__split__init(body->split);
        body->split->shard = change->shard;
        struct hash_key at;
        if (change->hash_key != NULL) {
            if (hash_key_from_decimal(change->hash_key, &at) != STATUS_OK) {
                return error_set(error, STATUS_INVALID, "'%.60s' is not a hash key: 0 to 2^128 - 1",
                                 change->hash_key);
            }
            hash_key_to_bytes(at, job->hash_key);
            body->split->at.data = job->hash_key;
            body->split->at.len = sizeof(job->hash_key);
        }
    } else if (change->type == WEIR_MERGE) {
        body->kind_case = WEIR__RESHARD__KIND_MERGE;
        body->merge = &job->reshard.merge;
        weir__reshard__merge__init(body->merge);
        body->merge->shard = change->shard;
        body->merge->with = change->neighbour;
    } else if (change->type == WEIR_SHARD_COUNT) {
        body->kind_case = WEIR__RESHARD__KIND_COUNT;
        body->count = &job->reshard.count;
        weir__reshard__count__init(body->count);
        body->count->shards = change->shards;
    } else {
        return error_set(error, STATUS_INVALID, "a split, a merge or a number of shards");
    }
    return STATUS_OK;
}

NODISCARD static enum status reshard_begin(struct weir_client *client, const char *name,
                                           const struct weir_reshard *change, weir_done_fn *done,
                                           void *context, struct error *error)
{
    struct admin_job *job;
    enum status status = admin_job_new(client, name, change->timeout_ms, &job, error);
    if (status != STATUS_OK) {
        return status;
    }
    weir__reshard__init(&job->body.reshard);
    job->body.reshard.name = job->name;
    job->body.reshard.request =
        (ProtobufCBinaryData){.data = job->request, .len = sizeof(job->request)};
    status = take_change(job, change, error);
    if (status != STATUS_OK) {
        admin_job_free(job);
        return status;
    }
    job->wait = !change->no_wait;
    job->wait_for = &children_take_over;
    job->done = done;
    job->context = context;
    job->mail.run = reshard;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

enum weir_status weir_stream_reshard_async(struct weir_client *client, const char *name,
                                           const struct weir_reshard *change, weir_done_fn *done,
                                           void *context)
{
    return public_status(reshard_begin(client, name, change, done, context, NULL));
}

enum weir_status weir_stream_reshard(struct weir_client *client, const char *name,
                                     const struct weir_reshard *change, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun_status = reshard_begin(client, name, change, waiter_done, &waiter, &why);
    return waiter_wait_begun(&waiter, begun_status, &why, NULL, error);
}
