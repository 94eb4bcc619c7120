/* Automatic balancing: told, and changed. */
#include <weir/balance.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/admin/admin.h"
#include "proto/schema/balance.pb-c.h"

enum { CHANGES_MAX = 16, KEY_BYTES = 64 };

struct balance_job {
    struct admin_job *job;
    bool set;
    Weir__Empty empty;
    Weir__BalanceControl control;
    Weir__BalanceChange change[CHANGES_MAX], *changes[CHANGES_MAX];
    char key[CHANGES_MAX][KEY_BYTES];
    weir_balance_fn *got;
    void *context;
};

void weir_balance_free(struct weir_balance *balance)
{
    if (balance != NULL) {
        free(balance->leaders.moves);
        free(balance->replicas.moves);
        free(balance->brokers);
        free(balance->waits);
        free(balance);
    }
}

static void finish(struct balance_job *b, enum status status, const char *text,
                   const struct weir_balance *balance)
{
    struct weir_error error;
    (void)handle_error(&error, status, "%s", status == STATUS_OK ? "" : text);
    b->got(balance, &error, b->context);
    free(b->job);
    free(b);
}

static void take_settings(const Weir__BalanceSettings *from, struct weir_balance_settings *out)
{
    *out = (struct weir_balance_settings){
        .leaders = !from->leaders_off,
        .replicas = !from->replicas_off,
        .interval_ms = from->interval_ms,
        .rest_ms = from->rest_ms,
        .leader_threshold = from->leader_threshold,
        .leader_lasts_ms = from->leader_lasts_ms,
        .leader_moves = from->leader_moves,
        .replica_threshold = from->replica_threshold,
        .replica_lasts_ms = from->replica_lasts_ms,
        .replica_moves = from->replica_moves,
    };
}

static bool take_half(const Weir__BalanceHalf *from, struct weir_balance_half *out)
{
    out->now = from->now;
    out->percent = from->percent;
    out->moved = from->moved;
    (void)snprintf(out->text, sizeof(out->text), "%s", from->text);
    out->moves = calloc(from->n_moves + 1, sizeof(*out->moves));
    if (out->moves == NULL) {
        return false;
    }
    out->move_count = from->n_moves;
    for (size_t i = 0; i < from->n_moves; i++) {
        out->moves[i] = (struct weir_balance_move){.shard = from->moves[i]->shard,
                                                   .from = from->moves[i]->from,
                                                   .to = from->moves[i]->to,
                                                   .from_percent = from->moves[i]->from_percent,
                                                   .to_percent = from->moves[i]->to_percent};
    }
    return true;
}

static void take_broker(const Weir__BalanceBroker *from, struct weir_balance_broker *out)
{
    *out = (struct weir_balance_broker){
        .broker = from->broker,
        .leaders = from->leaders,
        .replicas = from->replicas,
        .leader_percent = from->leader_percent,
        .replica_percent = from->replica_percent,
    };
    if (from->traffic != NULL) {
        out->in = from->traffic->in;
        out->out = from->traffic->out;
        out->requests = from->traffic->requests;
    }
    (void)snprintf(out->no_leaders, sizeof(out->no_leaders), "%s", from->no_leaders);
    (void)snprintf(out->no_replicas, sizeof(out->no_replicas), "%s", from->no_replicas);
}

static bool take(const Weir__BalanceStatus *from, struct weir_balance *out)
{
    if (from->settings == NULL || from->leaders == NULL || from->replicas == NULL) {
        return false;
    }
    out->brokers = calloc(from->n_brokers + 1, sizeof(*out->brokers));
    out->waits = calloc(from->n_restored_wait + 1, sizeof(*out->waits));
    if (out->brokers == NULL || out->waits == NULL) {
        return false;
    }
    out->age_ms = from->age_ms;
    out->broker_count = from->n_brokers;
    for (size_t i = 0; i < from->n_brokers; i++) {
        take_broker(from->brokers[i], &out->brokers[i]);
    }
    out->wait_count = from->n_restored_wait;
    for (size_t i = 0; i < from->n_restored_wait; i++) {
        out->waits[i] = from->restored_wait[i];
    }
    take_settings(from->settings, &out->settings);
    return take_half(from->leaders, &out->leaders) && take_half(from->replicas, &out->replicas);
}

/* NULL: malformed, or out of memory. */
static struct weir_balance *parse(const Weir__BalanceStatus *from)
{
    struct weir_balance *out = from == NULL ? NULL : calloc(1, sizeof(*out));
    if (out != NULL && !take(from, out)) {
        weir_balance_free(out);
        out = NULL;
    }
    return out;
}

static void answered(struct cluster_call *call, const struct cluster_reply *reply)
{
    struct balance_job *b = CONTAINER_OF(call, struct admin_job, call)->context;
    if (reply->status != STATUS_OK) {
        finish(b, reply->status, reply->text, NULL);
        return;
    }
    Weir__BalanceStatus *from =
        weir__balance_status__unpack(NULL, reply->body.size, reply->body.data);
    struct weir_balance *balance = parse(from);
    weir__balance_status__free_unpacked(from, NULL);
    finish(b, balance != NULL ? STATUS_OK : STATUS_INTERNAL,
           "the controller's answer is malformed, or memory ran out", balance);
    weir_balance_free(balance);
}

static void ask(struct net_mail *mail)
{
    struct admin_job *job = CONTAINER_OF(mail, struct admin_job, mail);
    struct balance_job *b = job->context;
    enum status status = cluster_call(job->client->cluster, &job->call,
                                      b->set ? RPC_BALANCE_CONTROL : RPC_BALANCE_STATUS,
                                      b->set ? &b->control.base : &b->empty.base, b->set,
                                      admin_left_ms(job->deadline_ms), answered);
    if (status != STATUS_OK) {
        finish(b, status, status_text(status), NULL);
    }
}

static enum status fill(struct balance_job *b, const struct weir_balance_change *changes,
                        size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(changes[i].key) >= KEY_BYTES) {
            return error_set(error, STATUS_INVALID, "there is no setting with so long a name");
        }
        weir__balance_change__init(&b->change[i]);
        memcpy(b->key[i], changes[i].key, strlen(changes[i].key) + 1);
        b->change[i].key = b->key[i];
        b->change[i].value = changes[i].value;
        b->changes[i] = &b->change[i];
    }
    b->control.changes = b->changes;
    b->control.n_changes = count;
    b->control.request =
        (ProtobufCBinaryData){.data = b->job->request, .len = sizeof(b->job->request)};
    return STATUS_OK;
}

/* `changes` NULL: it is asked for. */
static enum status begin(struct weir_client *client, const struct weir_balance_change *changes,
                         size_t count, uint32_t timeout_ms, weir_balance_fn *got, void *context,
                         struct error *error)
{
    if (count > CHANGES_MAX) {
        return error_set(error, STATUS_INVALID, "at most %d changes at a time", CHANGES_MAX);
    }
    struct balance_job *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    enum status status = admin_job_new(client, NULL, timeout_ms, &b->job, error);
    weir__empty__init(&b->empty);
    weir__balance_control__init(&b->control);
    if (status == STATUS_OK && changes != NULL) {
        b->set = true;
        status = fill(b, changes, count, error);
    }
    if (status != STATUS_OK) {
        free(b->job);
        free(b);
        return status;
    }
    b->got = got;
    b->context = context;
    b->job->context = b;
    b->job->mail.run = ask;
    net_mailbox_send(client->mailbox, &b->job->mail);
    return STATUS_OK;
}

/* ---- waiting ---- */

static bool copy_half(const struct weir_balance_half *from, struct weir_balance_half *out)
{
    out->moves = calloc(from->move_count + 1, sizeof(*out->moves));
    if (out->moves != NULL) {
        memcpy(out->moves, from->moves, from->move_count * sizeof(*out->moves));
    }
    return out->moves != NULL;
}

static struct weir_balance *copy(const struct weir_balance *from)
{
    struct weir_balance *out = malloc(sizeof(*out));
    if (out == NULL) {
        return NULL;
    }
    *out = *from;
    out->leaders.moves = out->replicas.moves = NULL;
    out->brokers = calloc(from->broker_count + 1, sizeof(*out->brokers));
    out->waits = calloc(from->wait_count + 1, sizeof(*out->waits));
    if (out->brokers == NULL || out->waits == NULL || !copy_half(&from->leaders, &out->leaders) ||
        !copy_half(&from->replicas, &out->replicas)) {
        weir_balance_free(out);
        return NULL;
    }
    memcpy(out->brokers, from->brokers, from->broker_count * sizeof(*out->brokers));
    memcpy(out->waits, from->waits, from->wait_count * sizeof(*out->waits));
    return out;
}

struct waiting {
    struct waiter waiter;
    bool wanted;
};

static void for_waiter(const struct weir_balance *balance, const struct weir_error *error,
                       void *context)
{
    struct waiting *waiting = context;
    struct weir_balance *result = balance != NULL && waiting->wanted ? copy(balance) : NULL;
    struct weir_error memory;
    if (balance != NULL && waiting->wanted && result == NULL) {
        (void)handle_error(&memory, STATUS_NO_MEMORY, "out of memory");
        error = &memory;
    }
    waiter_wake(&waiting->waiter, result, error);
}

static enum weir_status wait(struct weir_client *client, const struct weir_balance_change *changes,
                             size_t count, uint32_t timeout_ms, struct weir_balance **out,
                             struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct waiting waiting = {.wanted = out != NULL};
    struct error why = {0};
    void *result = NULL;
    waiter_init(&waiting.waiter);
    enum status begun = begin(client, changes, count, timeout_ms, for_waiter, &waiting, &why);
    enum weir_status status = waiter_wait_begun(&waiting.waiter, begun, &why, &result, error);
    if (status == WEIR_OK && out != NULL) {
        *out = result;
    }
    return status;
}

enum weir_status weir_balance_status(struct weir_client *client, uint32_t timeout_ms,
                                     struct weir_balance **out, struct weir_error *error)
{
    return wait(client, NULL, 0, timeout_ms, out, error);
}

enum weir_status weir_balance_set(struct weir_client *client,
                                  const struct weir_balance_change *changes, size_t count,
                                  uint32_t timeout_ms, struct weir_balance **out,
                                  struct weir_error *error)
{
    return wait(client, changes, count, timeout_ms, out, error);
}

enum weir_status weir_balance_status_async(struct weir_client *client, uint32_t timeout_ms,
                                           weir_balance_fn *got, void *context)
{
    return public_status(begin(client, NULL, 0, timeout_ms, got, context, NULL));
}

enum weir_status weir_balance_set_async(struct weir_client *client,
                                        const struct weir_balance_change *changes, size_t count,
                                        uint32_t timeout_ms, weir_balance_fn *got, void *context)
{
    return public_status(begin(client, changes, count, timeout_ms, got, context, NULL));
}
