/* The key ring: one call for all that can be done with it. */
#include <weir/keyring.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"
#include "proto/schema/keyring.pb-c.h"

/* A RING_CONTROL under way. */
struct ring_job {
    struct admin_job *job;
    Weir__RingControl body;
    char *text; /* of the body's fields */
    weir_ring_fn *got;
    void *context;
};

void weir_ring_key_list_free(struct weir_ring_key_list *list)
{
    if (list != NULL) {
        for (size_t i = 0; i < list->count; i++) {
            free(list->keys[i].aliases);
        }
        free(list->keys);
        free(list);
    }
}

static void finish(struct ring_job *ring, enum status status, const char *text,
                   struct weir_ring_key_list *list)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    ring->got(list, &error, ring->context);
    free(ring->text);
    free(ring->job);
    free(ring);
}

NODISCARD static bool parse_key(const Weir__RingKey *from, struct weir_ring_key *to)
{
    (void)snprintf(to->id, sizeof(to->id), "%s", from->id);
    (void)snprintf(to->arn, sizeof(to->arn), "%s", from->arn);
    (void)snprintf(to->description, sizeof(to->description), "%s", from->description);
    to->state = (enum weir_ring_state)from->state;
    to->created_ms = from->created_ms;
    to->deletion_ms = from->deletion_ms;
    if (from->n_versions > 0) {
        to->version = from->versions[from->n_versions - 1]->version;
        to->rotated_ms = from->versions[from->n_versions - 1]->created_ms;
    }
    to->aliases = calloc(from->n_aliases + 1, sizeof(*to->aliases));
    to->alias_count = to->aliases != NULL ? from->n_aliases : 0;
    for (size_t i = 0; i < to->alias_count; i++) {
        (void)snprintf(to->aliases[i], sizeof(to->aliases[i]), "%s", from->aliases[i]);
    }
    return to->aliases != NULL;
}

/* NULL: malformed, or out of memory. */
static struct weir_ring_key_list *parse(struct bytes body)
{
    Weir__RingKeys *from = weir__ring_keys__unpack(NULL, body.size, body.data);
    struct weir_ring_key_list *list = from != NULL ? calloc(1, sizeof(*list)) : NULL;
    bool good = list != NULL;
    if (good) {
        list->keys = calloc(from->n_keys + 1, sizeof(*list->keys));
        good = list->keys != NULL;
        for (size_t i = 0; good && i < from->n_keys; i++) {
            good = parse_key(from->keys[i], &list->keys[i]);
            list->count = i + 1;
        }
    }
    weir__ring_keys__free_unpacked(from, NULL);
    if (!good) {
        weir_ring_key_list_free(list);
        return NULL;
    }
    return list;
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct ring_job *ring = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(ring, reply->status, reply->text, NULL);
        return;
    }
    struct weir_ring_key_list *list = parse(reply->body);
    finish(ring, list != NULL ? STATUS_OK : STATUS_INTERNAL,
           "the controller's answer is malformed, or memory ran out", list);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct ring_job *ring = job->context;
    bool is_change = ring->body.action != WEIR__RING_CONTROL__ACTION__LIST &&
                     ring->body.action != WEIR__RING_CONTROL__ACTION__DESCRIBE;
    enum status status =
        cluster_call(job->client->cluster, &job->call, RPC_RING_CONTROL, &ring->body.base,
                     is_change, admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(ring, status, status_text(status), NULL);
    }
}

/* The next of the texts, one behind another. */
static char *take_text(char **at, const char *from)
{
    char *text = *at;
    size_t size = strlen(from == NULL ? "" : from) + 1;
    memcpy(text, from == NULL ? "" : from, size);
    *at += size;
    return text;
}

static size_t length_of(const char *text)
{
    return text == NULL ? 0 : strlen(text);
}

NODISCARD static enum status begin(struct weir_client *client,
                                   const struct weir_ring_request *request, uint32_t timeout_ms,
                                   weir_ring_fn *got, void *context, struct error *error)
{
    struct ring_job *ring = calloc(1, sizeof(*ring));
    char *text = malloc(length_of(request->key) + length_of(request->alias) +
                        length_of(request->description) + 3);
    struct admin_job *job = NULL;
    enum status status = ring == NULL || text == NULL
                             ? error_set(error, STATUS_NO_MEMORY, "out of memory")
                             : admin_job_new(client, NULL, timeout_ms, &job, error);
    if (status != STATUS_OK) {
        free(ring);
        free(text);
        return status;
    }
    char *at = text;
    weir__ring_control__init(&ring->body);
    ring->body.action = (Weir__RingControl__Action)request->action;
    ring->body.key = take_text(&at, request->key);
    ring->body.alias = take_text(&at, request->alias);
    ring->body.description = take_text(&at, request->description);
    ring->body.days = request->days;
    ring->body.request = (ProtobufCBinaryData){.data = job->request, .len = sizeof(job->request)};
    ring->text = text;
    ring->job = job;
    ring->got = got;
    ring->context = context;
    job->context = ring;
    job->mail.run = ask;
    net_mailbox_send(client->mailbox, &job->mail);
    return STATUS_OK;
}

static void for_waiter(struct weir_ring_key_list *list, const struct weir_error *error,
                       void *context)
{
    waiter_wake(context, list, error);
}

enum weir_status weir_ring_async(struct weir_client *client,
                                 const struct weir_ring_request *request, uint32_t timeout_ms,
                                 weir_ring_fn *got, void *context)
{
    return public_status(begin(client, request, timeout_ms, got, context, NULL));
}

enum weir_status weir_ring(struct weir_client *client, const struct weir_ring_request *request,
                           uint32_t timeout_ms, struct weir_ring_key_list **out,
                           struct weir_error *error)
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
