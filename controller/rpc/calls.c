/* Replies, and commands on behalf of a call. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/rpc/internal.h"

void reply_message(struct session_call *call, const ProtobufCMessage *message)
{
    session_reply(call, (struct session_payload){.body = message});
}

void reply_empty(struct session_call *call)
{
    Weir__Empty empty;
    weir__empty__init(&empty);
    reply_message(call, &empty.base);
}

void reply_malformed(struct session_call *call)
{
    session_reply_error(call, STATUS_INVALID, NULL, "the body of %s does not parse",
                        rpc_method_name(call->method));
}

void leader_name(const struct controller *controller, char out[NODE_NAME_BYTES])
{
    out[0] = '\0';
    if (controller->leader != 0 &&
        (controller->active || controller->leader != controller->options.id)) {
        (void)snprintf(out, NODE_NAME_BYTES, "controller-%u", controller->leader);
    }
}

void reply_not_active(const struct controller *controller, struct session_call *call)
{
    char hint[NODE_NAME_BYTES];
    leader_name(controller, hint);
    session_reply_error(call, STATUS_NOT_ACTIVE, hint,
                        "controller-%u is not the active controller%s%s", controller->options.id,
                        hint[0] == '\0' ? "; nobody is at the moment" : ", ask ", hint);
}

struct command_call {
    struct pipeline_request request;
    struct controller *controller;
    struct session_call *call;
    void (*answer)(struct controller *c, struct session_call *call, struct bytes body);
};

static void call_done(struct pipeline_request *request, const struct db_result *result)
{
    struct command_call *waiting = CONTAINER_OF(request, struct command_call, request);
    struct session_call *call = waiting->call;
    if (result->status == STATUS_OK) {
        waiting->answer(waiting->controller, call, buf_bytes(&result->body));
    } else if (result->status == STATUS_NOT_ACTIVE) {
        reply_not_active(waiting->controller, call);
    } else {
        session_reply_error(call, result->status, NULL, "%s",
                            result->text[0] != '\0' ? result->text : status_text(result->status));
    }
    free(waiting);
}

void command_for_call(struct controller *c, struct session_call *call, Weir__Command *command,
                      uint32_t weight,
                      void (*answer)(struct controller *c, struct session_call *call,
                                     struct bytes body))
{
    if (!c->active) {
        reply_not_active(c, call);
        return;
    }
    struct command_call *waiting = calloc(1, sizeof(*waiting));
    if (waiting == NULL) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "the controller is out of memory");
        return;
    }
    command->time_ms = net_wall_ms();
    enum status status =
        pipeline_submit(&c->pipeline, command, weight, &waiting->request, call_done);
    if (status != STATUS_OK) {
        char why[GATE_TEXT_BYTES];
        free(waiting);
        if (status == STATUS_UNSUPPORTED &&
            members_hold_back(c, command_version(&command->base), why)) {
            session_reply_error(call, status, NULL, "%s", why);
            return;
        }
        session_reply_error(call, status, NULL, "the controller cannot take the request now: %s",
                            status_text(status));
        return;
    }
    waiting->controller = c;
    waiting->call = call;
    waiting->answer = answer;
    controller_wake(c);
}

static void own_done(struct pipeline_request *request, const struct db_result *result)
{
    (void)result;
    free(request);
}

void command_of_ours(struct controller *c, Weir__Command *command, uint32_t weight)
{
    struct pipeline_request *request = calloc(1, sizeof(*request));
    command->time_ms = net_wall_ms();
    enum status status = request == NULL
                             ? STATUS_NO_MEMORY
                             : pipeline_submit(&c->pipeline, command, weight, request, own_done);
    if (status != STATUS_OK) {
        char why[GATE_TEXT_BYTES];
        free(request);
        if (status == STATUS_UNSUPPORTED) {
            (void)members_hold_back(c, command_version(&command->base), why); /* for the log */
        }
        return;
    }
    controller_wake(c);
}
