/* All streams; and the state of the cluster. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"

/* One question and its answer: what differs is how the answer is taken apart. */
struct question {
    struct admin_job *job;
    enum rpc_method method;
    const ProtobufCMessage *body;
    /* Makes the public struct; NULL: malformed, or out of memory. */
    void *(*parse)(struct bytes body);
    void (*got)(struct question *question, void *result, const struct weir_error *error);
    weir_stream_list_fn *got_list;
    weir_cluster_fn *got_cluster;
    void *context;
};

static void finish(struct question *question, enum status status, const char *text, void *result)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    question->got(question, result, &error);
    free(question->job);
    free(question);
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct admin_job *job = CONTAINER_OF(call, struct admin_job, call);
    struct question *question = job->context;
    if (reply->status != STATUS_OK) {
        finish(question, reply->status, reply->text, NULL);
        return;
    }
    void *result = question->parse(reply->body);
    finish(question, result != NULL ? STATUS_OK : STATUS_INTERNAL,
           "the controller's answer is malformed, or memory ran out", result);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct question *question = job->context;
    enum status status =
        cluster_call(job->client->cluster, &job->call, question->method, question->body, false,
                     admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(question, status, status_text(status), NULL);
    }
}

NODISCARD static enum status question_new(struct weir_client *client, uint32_t timeout_ms,
                                          struct question **out)
{
    struct question *question = calloc(1, sizeof(*question));
    if (question == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = admin_job_new(client, NULL, timeout_ms, &question->job, NULL);
    if (status != STATUS_OK) {
        free(question);
        return status;
    }
    question->job->context = question;
    question->job->mail.run = ask;
    *out = question;
    return STATUS_OK;
}

/* Blocks until the question that `begin` asks is answered. */
NODISCARD static enum weir_status wait_for(struct weir_client *client, uint32_t timeout_ms,
                                           enum weir_status (*begin)(struct weir_client *client,
                                                                     uint32_t timeout_ms,
                                                                     struct waiter *waiter),
                                           void **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = (enum status)begin(client, timeout_ms, &waiter);
    return waiter_wait_begun(&waiter, begun, &why, out, error);
}

/* ---- streams ----------------------------------------------------------------------------------
 */

void weir_stream_list_free(struct weir_stream_list *list)
{
    if (list != NULL) {
        free(list->streams);
        free(list);
    }
}

static int compare_names(const void *a, const void *b)
{
    const struct weir_stream *left = a;
    const struct weir_stream *right = b;
    return strcmp(left->name, right->name);
}

static void *parse_list(struct bytes body)
{
    Weir__MetadataUpdate *update = weir__metadata_update__unpack(NULL, body.size, body.data);
    struct weir_stream_list *list = calloc(1, sizeof(*list));
    struct weir_stream *streams =
        calloc(update != NULL ? update->n_streams + 1 : 1, sizeof(*streams));
    if (update == NULL || list == NULL || streams == NULL) {
        weir__metadata_update__free_unpacked(update, NULL);
        free(list);
        free(streams);
        return NULL;
    }
    for (size_t i = 0; i < update->n_streams; i++) {
        const Weir__StreamInfo *info = update->streams[i];
        streams[i].id = info->id;
        (void)snprintf(streams[i].name, sizeof(streams[i].name), "%s", info->name);
        streams[i].state = (enum weir_stream_state)info->state;
        streams[i].created_ms = info->created_ms;
        streams[i].retention_hours = info->retention_hours;
        streams[i].shard_count = info->shard_count;
        streams[i].version = update->version;
    }
    list->version = update->version;
    list->count = update->n_streams;
    list->streams = streams;
    weir__metadata_update__free_unpacked(update, NULL);
    qsort(streams, list->count, sizeof(*streams), compare_names);
    return list;
}

static void give_list(struct question *question, void *result, const struct weir_error *error)
{
    question->got_list(result, error, question->context);
}

enum weir_status weir_stream_list_async(struct weir_client *client, uint32_t timeout_ms,
                                        weir_stream_list_fn *got, void *context)
{
    struct question *question;
    enum status status = question_new(client, timeout_ms, &question);
    if (status != STATUS_OK) {
        return public_status(status);
    }
    question->method = RPC_GET_METADATA;
    weir__get_metadata__init(&question->job->body.get);
    question->body = &question->job->body.get.base;
    question->parse = parse_list;
    question->got = give_list;
    question->got_list = got;
    question->context = context;
    net_mailbox_send(client->mailbox, &question->job->mail);
    return WEIR_OK;
}

static void list_for_waiter(struct weir_stream_list *list, const struct weir_error *error,
                            void *context)
{
    waiter_wake(context, list, error);
}

NODISCARD static enum weir_status begin_list(struct weir_client *client, uint32_t timeout_ms,
                                             struct waiter *waiter)
{
    return weir_stream_list_async(client, timeout_ms, list_for_waiter, waiter);
}

enum weir_status weir_stream_list(struct weir_client *client, uint32_t timeout_ms,
                                  struct weir_stream_list **out, struct weir_error *error)
{
    void *result = NULL;
    enum weir_status status = wait_for(client, timeout_ms, begin_list, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}

/* ---- the cluster ------------------------------------------------------------------------------
 */

void weir_cluster_free(struct weir_cluster *cluster)
{
    if (cluster != NULL) {
        free(cluster->controllers);
        free(cluster->brokers);
        free(cluster);
    }
}

static void fill_controller(const Weir__ControllerStatus *from, struct weir_controller_status *out)
{
    out->id = from->id;
    (void)snprintf(out->name, sizeof(out->name), "%s", from->name);
    (void)snprintf(out->state, sizeof(out->state), "%s", from->state);
    if (from->address != NULL) {
        (void)snprintf(out->host, sizeof(out->host), "%s", from->address->host);
        out->port = (uint16_t)from->address->port;
    }
    out->term = from->term;
    out->last_index = from->last_index;
    out->commit_index = from->commit_index;
    out->applied_index = from->applied_index;
    out->match_index = from->match_index;
    out->compared_index = from->compared_index;
    out->differs = from->differs;
    out->voter = from->voter;
    out->protocol = from->protocol;
    (void)snprintf(out->software, sizeof(out->software), "%s", from->software);
}

static void fill_broker(const Weir__BrokerStatus *from, struct weir_broker_status *out)
{
    const Weir__BrokerInfo *info = from->info;
    if (info != NULL) {
        out->id = info->id;
        out->disk_gen = info->disk_gen;
        out->alive = info->alive;
        out->boot = info->boot;
        (void)snprintf(out->name, sizeof(out->name), "%s", info->name);
        (void)snprintf(out->zone, sizeof(out->zone), "%s", info->zone);
    }
    if (info != NULL && info->address != NULL) {
        (void)snprintf(out->host, sizeof(out->host), "%s", info->address->host);
        out->port = (uint16_t)info->address->port;
    }
    out->session = from->session;
    out->protocol = from->protocol;
    (void)snprintf(out->software, sizeof(out->software), "%s", from->software);
    out->beat_age_ms = from->beat_age_ms;
    out->replicas = from->replicas;
    out->leaders = from->leaders;
    out->unlisted = from->unlisted;
    out->quarantined = from->quarantined;
    out->reclaimed = from->reclaimed;
    out->holes = from->holes;
    out->held = from->held;
    out->isolated_ms = from->isolated_ms;
    (void)snprintf(out->unfit, sizeof(out->unfit), "%s", from->unfit);
    out->clock_offset_ms = from->clock_offset_ms;
    out->sync_us = from->sync_us;
    out->stall_us = from->stall_us;
    out->damage_found = from->damage_found;
    out->damage_repaired = from->damage_repaired;
    out->segments_differ = from->segments_differ;
    out->scrub_passes = from->scrub_passes;
    out->scrub_finished_ms = from->scrub_finished_ms;
    out->scrub_permille = from->scrub_permille;
    out->scrub_late = from->scrub_late;
    out->disk_bytes = from->disk_bytes;
    out->disk_free_bytes = from->disk_free_bytes;
    (void)snprintf(out->disk_state, sizeof(out->disk_state), "%s", from->disk_state);
}

NODISCARD static enum status fill_cluster(const Weir__ClusterStatus *from, struct weir_cluster *out)
{
    out->controllers = calloc(from->n_controllers + 1, sizeof(*out->controllers));
    out->brokers = calloc(from->n_brokers + 1, sizeof(*out->brokers));
    if (out->controllers == NULL || out->brokers == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (from->cluster.len == CLUSTER_ID_BYTES) {
        rpc_cluster_id_format(from->cluster.data, out->id);
    }
    (void)snprintf(out->software, sizeof(out->software), "%s", from->software);
    out->version = from->version;
    out->active_controller = from->active_controller;
    out->streams = from->streams;
    out->shards = from->shards;
    out->shards_without_leader = from->shards_without_leader;
    out->controller_count = from->n_controllers;
    out->broker_count = from->n_brokers;
    for (size_t i = 0; i < from->n_controllers; i++) {
        fill_controller(from->controllers[i], &out->controllers[i]);
    }
    for (size_t i = 0; i < from->n_brokers; i++) {
        fill_broker(from->brokers[i], &out->brokers[i]);
    }
    return STATUS_OK;
}

static void *parse_cluster(struct bytes body)
{
    Weir__ClusterStatus *status = weir__cluster_status__unpack(NULL, body.size, body.data);
    struct weir_cluster *cluster = status != NULL ? calloc(1, sizeof(*cluster)) : NULL;
    if (cluster != NULL && fill_cluster(status, cluster) != STATUS_OK) {
        weir_cluster_free(cluster);
        cluster = NULL;
    }
    weir__cluster_status__free_unpacked(status, NULL);
    return cluster;
}

static void give_cluster(struct question *question, void *result, const struct weir_error *error)
{
    question->got_cluster(result, error, question->context);
}

enum weir_status weir_cluster_status_async(struct weir_client *client, uint32_t timeout_ms,
                                           weir_cluster_fn *got, void *context)
{
    struct question *question;
    enum status status = question_new(client, timeout_ms, &question);
    if (status != STATUS_OK) {
        return public_status(status);
    }
    question->method = RPC_CLUSTER_STATUS;
    weir__empty__init(&question->job->body.empty);
    question->body = &question->job->body.empty.base;
    question->parse = parse_cluster;
    question->got = give_cluster;
    question->got_cluster = got;
    question->context = context;
    net_mailbox_send(client->mailbox, &question->job->mail);
    return WEIR_OK;
}

static void cluster_for_waiter(struct weir_cluster *cluster, const struct weir_error *error,
                               void *context)
{
    waiter_wake(context, cluster, error);
}

NODISCARD static enum weir_status begin_cluster(struct weir_client *client, uint32_t timeout_ms,
                                                struct waiter *waiter)
{
    return weir_cluster_status_async(client, timeout_ms, cluster_for_waiter, waiter);
}

enum weir_status weir_cluster_status(struct weir_client *client, uint32_t timeout_ms,
                                     struct weir_cluster **out, struct weir_error *error)
{
    void *result = NULL;
    enum weir_status status = wait_for(client, timeout_ms, begin_cluster, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}
