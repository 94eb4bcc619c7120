/* Access keys: one call for all that can be done with them. */
#include <weir/keys.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"

/* A KEY_CONTROL under way. */
struct key_job {
    struct admin_job *job;
    Weir__KeyControl body;
    char id[WEIR_KEY_ID_BYTES], name[WEIR_KEY_NAME_BYTES];
    weir_key_fn *got;
    void *context;
};

void weir_key_list_free(struct weir_key_list *list)
{
    if (list != NULL) {
        explicit_bzero(list->keys, list->count * sizeof(*list->keys));
        free(list->keys);
        free(list);
    }
}

static void finish(struct key_job *keys, enum status status, const char *text,
                   struct weir_key_list *list)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    keys->got(list, &error, keys->context);
    free(keys->job);
    free(keys);
}

/* NULL: malformed, or out of memory. */
static struct weir_key_list *parse(struct bytes body)
{
    Weir__AccessKeys *from = weir__access_keys__unpack(NULL, body.size, body.data);
    struct weir_key_list *list = from != NULL ? calloc(1, sizeof(*list)) : NULL;
    if (list != NULL) {
        list->keys = calloc(from->n_keys + 1, sizeof(*list->keys));
        list->count = list->keys != NULL ? from->n_keys : 0;
        for (size_t i = 0; i < list->count; i++) {
            struct weir_key *key = &list->keys[i];
            (void)snprintf(key->id, sizeof(key->id), "%s", from->keys[i]->id);
            (void)snprintf(key->name, sizeof(key->name), "%s", from->keys[i]->name);
            (void)snprintf(key->secret, sizeof(key->secret), "%s", from->keys[i]->secret);
            key->enabled = from->keys[i]->enabled;
            key->created_ms = from->keys[i]->created_ms;
            explicit_bzero(from->keys[i]->secret, strlen(from->keys[i]->secret));
        }
        if (list->keys == NULL) {
            free(list);
            list = NULL;
        }
    }
    weir__access_keys__free_unpacked(from, NULL);
    return list;
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct key_job *keys = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(keys, reply->status, reply->text, NULL);
        return;
    }
    struct weir_key_list *list = parse(reply->body);
    finish(keys, list != NULL ? STATUS_OK : STATUS_INTERNAL,
           "the controller's answer is malformed, or memory ran out", list);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct key_job *keys = job->context;
    bool is_change = keys->body.action != WEIR__KEY_CONTROL__ACTION__LIST;
    enum status status =
        cluster_call(job->client->cluster, &job->call, RPC_KEY_CONTROL, &keys->body.base, is_change,
                     admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(keys, status, status_text(status), NULL);
    }
}

static enum status begin(struct weir_client *client, Weir__KeyControl__Action action,
                         const char *id, const char *name, uint32_t timeout_ms, weir_key_fn *got,
                         void *context, struct error *error)
{
    if (strlen(id) >= WEIR_KEY_ID_BYTES || strlen(name) >= WEIR_KEY_NAME_BYTES) {
        return error_set(error, STATUS_INVALID, "an id has at most %d characters, a name %d",
                         WEIR_KEY_ID_BYTES - 1, WEIR_KEY_NAME_BYTES - 1);
    }
    struct key_job *keys = calloc(1, sizeof(*keys));
    if (keys == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = admin_job_new(client, NULL, timeout_ms, &keys->job, error);
    if (status != STATUS_OK) {
        free(keys);
        return status;
    }
    memcpy(keys->id, id, strlen(id) + 1);
    memcpy(keys->name, name, strlen(name) + 1);
    weir__key_control__init(&keys->body);
    keys->body.action = action;
    keys->body.id = keys->id;
    keys->body.name = keys->name;
    keys->body.request =
        (ProtobufCBinaryData){.data = keys->job->request, .len = sizeof(keys->job->request)};
    keys->got = got;
    keys->context = context;
    keys->job->context = keys;
    keys->job->mail.run = ask;
    net_mailbox_send(client->mailbox, &keys->job->mail);
    return STATUS_OK;
}

static void for_waiter(struct weir_key_list *list, const struct weir_error *error, void *context)
{
    waiter_wake(context, list, error);
}

static enum weir_status wait(struct weir_client *client, Weir__KeyControl__Action action,
                             const char *id, const char *name, uint32_t timeout_ms,
                             struct weir_key_list **out, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiter waiter;
    struct error why = {0};
    waiter_init(&waiter);
    enum status begun = begin(client, action, id, name, timeout_ms, for_waiter, &waiter, &why);
    void *result = NULL;
    enum weir_status status = waiter_wait_begun(&waiter, begun, &why, &result, error);
    if (status == WEIR_OK) {
        *out = result;
    }
    return status;
}

/* ---- the interface
 * --------------------------------------------------------------------------------- */

enum weir_status weir_key_create_async(struct weir_client *client, const char *name,
                                       uint32_t timeout_ms, weir_key_fn *got, void *context)
{
    return public_status(
        begin(client, WEIR__KEY_CONTROL__ACTION__CREATE, "", name, timeout_ms, got, context, NULL));
}

enum weir_status weir_key_create(struct weir_client *client, const char *name, uint32_t timeout_ms,
                                 struct weir_key *out, struct weir_error *error)
{
    struct weir_key_list *list = NULL;
    enum weir_status status =
        wait(client, WEIR__KEY_CONTROL__ACTION__CREATE, "", name, timeout_ms, &list, error);
    if (status == WEIR_OK && list->count != 1) {
        status = handle_error(error, STATUS_INTERNAL, "the controller's answer has no key");
    } else if (status == WEIR_OK) {
        *out = list->keys[0];
    }
    weir_key_list_free(list);
    return status;
}

enum weir_status weir_key_list_async(struct weir_client *client, uint32_t timeout_ms,
                                     weir_key_fn *got, void *context)
{
    return public_status(
        begin(client, WEIR__KEY_CONTROL__ACTION__LIST, "", "", timeout_ms, got, context, NULL));
}

enum weir_status weir_key_list(struct weir_client *client, uint32_t timeout_ms,
                               struct weir_key_list **out, struct weir_error *error)
{
    return wait(client, WEIR__KEY_CONTROL__ACTION__LIST, "", "", timeout_ms, out, error);
}

static Weir__KeyControl__Action switching(bool enabled)
{
    return enabled ? WEIR__KEY_CONTROL__ACTION__ENABLE : WEIR__KEY_CONTROL__ACTION__DISABLE;
}

enum weir_status weir_key_enable_async(struct weir_client *client, const char *id, bool enabled,
                                       uint32_t timeout_ms, weir_key_fn *got, void *context)
{
    return public_status(begin(client, switching(enabled), id, "", timeout_ms, got, context, NULL));
}

enum weir_status weir_key_enable(struct weir_client *client, const char *id, bool enabled,
                                 uint32_t timeout_ms, struct weir_error *error)
{
    struct weir_key_list *list = NULL;
    enum weir_status status = wait(client, switching(enabled), id, "", timeout_ms, &list, error);
    weir_key_list_free(list);
    return status;
}

enum weir_status weir_key_delete_async(struct weir_client *client, const char *id,
                                       uint32_t timeout_ms, weir_key_fn *got, void *context)
{
    return public_status(
        begin(client, WEIR__KEY_CONTROL__ACTION__DELETE, id, "", timeout_ms, got, context, NULL));
}

enum weir_status weir_key_delete(struct weir_client *client, const char *id, uint32_t timeout_ms,
                                 struct weir_error *error)
{
    struct weir_key_list *list = NULL;
    enum weir_status status =
        wait(client, WEIR__KEY_CONTROL__ACTION__DELETE, id, "", timeout_ms, &list, error);
    weir_key_list_free(list);
    return status;
}
