/* Asking processes about themselves, each over a connection of its own. */
#include <weir/process.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/handle/handle.h"
#include "proto/schema/process.pb-c.h"

struct ask {
    struct processes *all;
    const struct weir_process_ask *from;
    struct weir_process_answer *answer;
    enum rpc_role role;
    uint32_t id;
    struct session *session; /* until it is closed */
    struct session_request request;
    Weir__SetLogLevel level;
    bool answered;
};

struct processes {
    struct net_mail mail;
    struct weir_client *client;
    struct ask *asks;
    size_t count, left;
    uint64_t deadline_ms; /* handle_now_ms() */
    struct net_timer timer;
    struct waiter waiter;
};

void weir_process_answers_release(struct weir_process_answer *answers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(answers[i].config);
        free(answers[i].text);
        answers[i].config = answers[i].text = NULL;
    }
}

static void fail(struct ask *ask, enum status status, const char *text)
{
    if (!ask->answered) {
        ask->answered = true;
        (void)handle_error(&ask->answer->error, status, "%s: %s", ask->from->name, text);
    }
}

static void over(struct ask *ask)
{
    struct processes *all = ask->all;
    all->left--;
    if (all->left == 0) {
        net_timer_stop(all->client->loop, &all->timer);
        waiter_wake(&all->waiter, NULL, NULL);
    }
}

/* NULL: out of memory. */
static char *copy_text(const void *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        if (size > 0) {
            memcpy(copy, data, size);
        }
        copy[size] = '\0';
    }
    return copy;
}

static void take_formats(struct weir_process_answer *out, const Weir__ProcessState *state)
{
    for (size_t i = 0; i < state->n_formats && out->format_count < WEIR_FORMATS_MAX; i++) {
        struct weir_format *format = &out->formats[out->format_count++];
        (void)snprintf(format->name, sizeof(format->name), "%s", state->formats[i]->name);
        format->version = state->formats[i]->version;
        format->oldest = state->formats[i]->oldest;
    }
}

/* False: malformed, or out of memory. */
static bool take_state(struct weir_process_answer *out, const struct session_reply *reply)
{
    Weir__ProcessState *state =
        weir__process_state__unpack(NULL, reply->body.size, reply->body.data);
    if (state == NULL) {
        return false;
    }
    out->ready = state->ready;
    (void)snprintf(out->why, sizeof(out->why), "%s", state->why);
    (void)snprintf(out->software, sizeof(out->software), "%s", state->software);
    take_formats(out, state);
    weir__process_state__free_unpacked(state, NULL);
    out->text = copy_text(reply->attachment.data, reply->attachment.size);
    out->text_bytes = reply->attachment.size;
    return out->text != NULL;
}

static bool take_log(struct weir_process_answer *out, const struct session_reply *reply)
{
    Weir__ProcessConfig *config =
        weir__process_config__unpack(NULL, reply->body.size, reply->body.data);
    if (config == NULL) {
        return false;
    }
    (void)snprintf(out->software, sizeof(out->software), "%s", config->software);
    out->config = copy_text(config->config, strlen(config->config));
    weir__process_config__free_unpacked(config, NULL);
    out->text = copy_text(reply->attachment.data, reply->attachment.size);
    out->text_bytes = reply->attachment.size;
    return out->text != NULL && out->config != NULL;
}

static bool take_level(struct weir_process_answer *out, const struct session_reply *reply)
{
    Weir__LogLevel *level = weir__log_level__unpack(NULL, reply->body.size, reply->body.data);
    if (level != NULL) {
        (void)snprintf(out->before, sizeof(out->before), "%s", level->before);
        weir__log_level__free_unpacked(level, NULL);
    }
    return level != NULL;
}

static void replied(struct session_request *request, const struct session_reply *reply)
{
    struct ask *ask = CONTAINER_OF(request, struct ask, request);
    if (reply->status != STATUS_OK) {
        fail(ask, reply->status, reply->error.text);
    } else {
        bool good = ask->from->question == WEIR_PROCESS_METRICS ? take_state(ask->answer, reply)
                    : ask->from->question == WEIR_PROCESS_LOG   ? take_log(ask->answer, reply)
                                                                : take_level(ask->answer, reply);
        if (good) {
            ask->answered = true;
        } else {
            fail(ask, STATUS_INTERNAL, "its answer is malformed, or memory ran out");
        }
    }
    if (ask->session != NULL) {
        session_close(ask->session, STATUS_CLOSING, "answered");
    }
}

static void opened(struct session *session)
{
    struct ask *ask = session_data(session);
    static const enum rpc_method methods[] = {RPC_PROCESS_METRICS, RPC_PROCESS_LOG, RPC_LOG_LEVEL};
    uint64_t now = handle_now_ms(), deadline = ask->all->deadline_ms;
    struct session_payload payload = {0};
    if (ask->from->question == WEIR_PROCESS_LOG_LEVEL) {
        payload.body = &ask->level.base;
    }
    enum status status =
        session_call(session, methods[ask->from->question], payload,
                     deadline > now ? (uint32_t)(deadline - now) : 1, &ask->request, replied);
    if (status != STATUS_OK) {
        fail(ask, status, status_text(status));
        session_close(session, status, "it cannot be asked");
    }
}

static void closed(struct session *session, const struct error *why)
{
    struct ask *ask = session_data(session);
    ask->session = NULL;
    fail(ask, why->status == STATUS_CLOSING ? STATUS_UNAVAILABLE : why->status, why->text);
    over(ask);
}

static void called(struct session *session, struct session_call *call)
{
    (void)session;
    session_reply_error(call, STATUS_UNSUPPORTED, NULL, "clients serve nothing");
}

static const struct session_handlers handlers = {.opened = opened,
                                                 .called = called,
                                                 .closed = closed};

static void too_late(struct net_timer *timer)
{
    struct processes *all = CONTAINER_OF(timer, struct processes, timer);
    for (size_t i = 0; i < all->count; i++) {
        if (all->asks[i].session != NULL) {
            fail(&all->asks[i], STATUS_UNAVAILABLE, "no answer in time");
            session_close(all->asks[i].session, STATUS_TIMEOUT, "no answer in time");
        }
    }
}

static void begin(struct net_mail *mail)
{
    struct processes *all = CONTAINER_OF(mail, struct processes, mail);
    struct weir_client *client = all->client;
    size_t count = all->count;
    all->left = count + 1; /* until all are begun */
    handle_timer(client, &all->timer, all->deadline_ms, too_late);
    for (size_t i = 0; i < count; i++) {
        struct ask *ask = &all->asks[i];
        const struct session_options options = {
            .loop = client->loop, .tls = client->tls, .handlers = &handlers, .data = ask};
        ask->session = session_dial(&options, ask->from->host, ask->from->port, ask->role, ask->id);
        if (ask->session == NULL) {
            fail(ask, STATUS_NO_MEMORY, "out of memory");
            all->left--;
        }
    }
    all->left--;
    if (all->left == 0) {
        net_timer_stop(client->loop, &all->timer);
        waiter_wake(&all->waiter, NULL, NULL);
    }
}

/* Roles and ids by the names. */
static enum status prepare(struct processes *all, const struct weir_process_ask *asks,
                           struct weir_process_answer *answers, struct error *error)
{
    for (size_t i = 0; i < all->count; i++) {
        struct ask *ask = &all->asks[i];
        ask->all = all;
        ask->from = &asks[i];
        ask->answer = &answers[i];
        ask->id = cluster_node_id(asks[i].name, "broker");
        ask->role = ask->id != 0 ? RPC_ROLE_BROKER : RPC_ROLE_CONTROLLER;
        ask->id = ask->id != 0 ? ask->id : cluster_node_id(asks[i].name, "controller");
        weir__set_log_level__init(&ask->level);
        ask->level.level = (char *)(uintptr_t)asks[i].level; /* protobuf-c has no const */
        if (ask->id == 0) {
            return error_set(error, STATUS_INVALID,
                             "'%.60s' is no process: they are named like broker-3, controller-1",
                             asks[i].name);
        }
    }
    return STATUS_OK;
}

enum weir_status weir_processes_ask(struct weir_client *client, const struct weir_process_ask *asks,
                                    size_t count, uint32_t timeout_ms,
                                    struct weir_process_answer *answers, struct weir_error *error)
{
    enum weir_status may = handle_check_blocking(client, error);
    if (may != WEIR_OK) {
        return may;
    }
    struct processes all = {.client = client,
                            .count = count,
                            .deadline_ms = handle_now_ms() + handle_timeout(timeout_ms)};
    struct error why = {0};
    all.asks = calloc(count + 1, sizeof(*all.asks));
    enum status status = all.asks == NULL ? error_set(&why, STATUS_NO_MEMORY, "out of memory")
                                          : prepare(&all, asks, answers, &why);
    if (status == STATUS_OK) {
        memset(answers, 0, count * sizeof(*answers));
    }
    all.mail.run = begin;
    waiter_init(&all.waiter);
    if (status == STATUS_OK) {
        net_mailbox_send(client->mailbox, &all.mail);
    }
    enum weir_status done = waiter_wait_begun(&all.waiter, status, &why, NULL, error);
    free(all.asks);
    return done;
}
