#include "controller/rpc/pipeline.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "proto/net/net.h"

enum { ELEMENT_TAG = 0x0a /* field 1 of CommandList, length-delimited */, VARINT_MAX = 10 };

void pipeline_init(struct pipeline *pipeline, const struct gate *gate)
{
    *pipeline = (struct pipeline){.gate = gate};
    list_init(&pipeline->waiting);
    list_init(&pipeline->flying);
}

void pipeline_release(struct pipeline *pipeline)
{
    CHECK(!pipeline->in_flight);
    pipeline_refuse(pipeline, STATUS_CLOSING, "the controller is closing");
    command_results_release(&pipeline->results);
    buf_release(&pipeline->entry);
}

static size_t put_varint(uint8_t *at, size_t value)
{
    size_t size = 0;
    while (value >= 0x80) {
        at[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    at[size++] = (uint8_t)value;
    return size;
}

/* Entries are CommandLists, whose encoding is that of their elements one after another: so a
 * command is packed once, when it comes. */
static enum status pack(const Weir__Command *command, struct buf *out)
{
    size_t size = weir__command__get_packed_size(command);
    if (size + 1 + VARINT_MAX > COMMAND_ENTRY_BYTES_MAX) {
        return STATUS_TOO_LARGE;
    }
    enum status status = buf_reserve(out, size + 1 + VARINT_MAX);
    if (status == STATUS_OK) {
        out->data[out->size++] = ELEMENT_TAG;
        out->size += put_varint(out->data + out->size, size);
        out->size += weir__command__pack(command, out->data + out->size);
    }
    return status;
}

enum status pipeline_submit(struct pipeline *pipeline, const Weir__Command *command,
                            uint32_t weight, struct pipeline_request *request,
                            void (*done)(struct pipeline_request *request,
                                         const struct db_result *result))
{
    if (pipeline->waiting_count >= PIPELINE_WAITING_MAX ||
        pipeline->waiting_bytes >= PIPELINE_WAITING_BYTES_MAX) {
        return STATUS_BUSY;
    }
    if (!command_is_known(&command->base)) {
        return STATUS_UNSUPPORTED; /* of a newer client, passed on: no controller would get past it
                                    */
    }
    if (gate_holder(pipeline->gate, command_version(&command->base)) != NULL) {
        return STATUS_UNSUPPORTED;
    }
    struct buf packed = {0};
    enum status status = pack(command, &packed);
    if (status != STATUS_OK) {
        buf_release(&packed);
        return status;
    }
    *request = (struct pipeline_request){.packed = packed, .weight = weight, .done = done};
    list_push(&pipeline->waiting, &request->node);
    pipeline->waiting_count++;
    pipeline->waiting_bytes += packed.size;
    return STATUS_OK;
}

/* The request is its owner's again. */
static void answer(struct pipeline_request *request, const struct db_result *result)
{
    buf_release(&request->packed);
    request->done(request, result);
}

static void answer_all(struct list *requests, enum status status, const char *text)
{
    struct db_result result = {.status = status};
    (void)snprintf(result.text, sizeof(result.text), "%s", text);
    struct list mine;
    list_move(&mine, requests);
    while (!list_empty(&mine)) {
        answer(CONTAINER_OF(list_pop(&mine), struct pipeline_request, node), &result);
    }
}

void pipeline_refuse(struct pipeline *pipeline, enum status status, const char *text)
{
    pipeline->waiting_count = pipeline->waiting_bytes = 0;
    answer_all(&pipeline->waiting, status, text);
}

static void entry_done(struct raft_node_request *raft_request, enum status status)
{
    struct pipeline *pipeline = CONTAINER_OF(raft_request, struct pipeline, raft_request);
    struct command_results results = pipeline->results;
    pipeline->results = (struct command_results){0};
    pipeline->in_flight = false;
    struct list flown;
    list_move(&flown, &pipeline->flying);
    if (status != STATUS_OK) {
        answer_all(&flown, STATUS_UNCERTAIN,
                   "the active controller changed: the request may have been carried out or not, "
                   "send it again with the same request id");
    } else {
        CHECK(results.count == pipeline->flying_count);
        histogram_note(&pipeline->committed, net_clock_us() - pipeline->submitted_us);
        for (size_t i = 0; i < results.count; i++) {
            answer(CONTAINER_OF(list_pop(&flown), struct pipeline_request, node),
                   &results.result[i]);
        }
    }
    command_results_release(&results);
    pipeline_flush(pipeline);
}

/* Moves what fits into one entry from the waiting to the flying. */
static enum status gather(struct pipeline *pipeline)
{
    uint32_t weight = 0;
    pipeline->entry.size = 0;
    pipeline->flying_count = 0;
    while (!list_empty(&pipeline->waiting) && pipeline->flying_count < COMMAND_ENTRY_COMMANDS_MAX) {
        struct pipeline_request *next =
            CONTAINER_OF(pipeline->waiting.next, struct pipeline_request, node);
        bool first = pipeline->flying_count == 0;
        if (!first && (pipeline->entry.size + next->packed.size > COMMAND_ENTRY_BYTES_MAX ||
                       weight + next->weight > PIPELINE_ENTRY_WEIGHT_MAX)) {
            break;
        }
        enum status status = buf_append(&pipeline->entry, next->packed.data, next->packed.size);
        if (status != STATUS_OK) {
            return first ? status : STATUS_OK;
        }
        weight += next->weight;
        list_remove(&next->node);
        list_push(&pipeline->flying, &next->node);
        pipeline->flying_count++;
        pipeline->waiting_count--;
        pipeline->waiting_bytes -= next->packed.size;
    }
    return STATUS_OK;
}

void pipeline_flush(struct pipeline *pipeline)
{
    if (pipeline->in_flight || list_empty(&pipeline->waiting)) {
        return;
    }
    enum status status = gather(pipeline);
    if (status == STATUS_OK) {
        status = raft_node_submit(pipeline->raft, buf_bytes(&pipeline->entry),
                                  &pipeline->raft_request, entry_done);
    }
    if (status == STATUS_OK) {
        pipeline->in_flight = true;
        pipeline->submitted_us = net_clock_us();
        return;
    }
    /* Nothing was proposed: all of it may be asked again, here or elsewhere. */
    struct list refused;
    list_move(&refused, &pipeline->flying);
    answer_all(&refused, status, status_text(status));
    pipeline_refuse(pipeline, status, status_text(status));
}

void pipeline_applied(struct pipeline *pipeline, const struct raft_node_request *request,
                      struct command_results *results)
{
    if (pipeline->in_flight && request == &pipeline->raft_request) {
        CHECK(pipeline->results.result == NULL);
        pipeline->results = *results;
        *results = (struct command_results){0};
    }
}
