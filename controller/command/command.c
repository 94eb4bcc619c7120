#include "controller/command/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "controller/command/internal.h"

void command_results_release(struct command_results *results)
{
    for (size_t i = 0; i < results->count; i++) {
        buf_release(&results->result[i].body);
    }
    free(results->result);
    *results = (struct command_results){0};
}

void command_refuse(struct db_result *result, enum status status, const char *format, ...)
{
    CHECK(status != STATUS_OK);
    result->status = status;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(result->text, sizeof(result->text), format, arguments);
    va_end(arguments);
}

void command_answer(struct db_result *result, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    if (buf_reserve(&result->body, size) != STATUS_OK) {
        result->status = STATUS_NO_MEMORY;
        return;
    }
    result->body.size += protobuf_c_message_pack(message, result->body.data + result->body.size);
}

/* A request that came before gets what it got then; else the command is applied and its result
 * kept. */
static void apply_one(struct db *db, const Weir__Command *command, struct db_result *result)
{
    db_time_advance(db, command->time_ms);
    bool named = command->request.len == DB_REQUEST_BYTES;
    if (named && db_request_get(db, command->request.data, result)) {
        return;
    }
    if (command->request.len != 0 && !named) {
        command_refuse(result, STATUS_INVALID, "a request id has %d bytes", DB_REQUEST_BYTES);
        return;
    }
    if (!db_meta(db)->has_cluster && command->kind_case != WEIR__COMMAND__KIND_BOOTSTRAP) {
        command_refuse(result, STATUS_UNAVAILABLE, "the cluster has not been bootstrapped yet");
        return;
    }
    switch (command->kind_case) {
#define X(name, kind)                        \
    case WEIR__COMMAND__KIND_##kind:         \
        command_##name(db, command, result); \
        break;
        COMMAND_KINDS(X)
#undef X
    case WEIR__COMMAND__KIND__NOT_SET:
    case _WEIR__COMMAND__KIND__CASE_IS_INT_SIZE:
    default:
        UNREACHABLE(); /* check_kinds() */
    }
    if (named) {
        db_request_put(db, command->request.data, result);
    }
}

/* A command that this version does not know has no kind; guessing would make controllers differ. */
static enum status check_kinds(const Weir__CommandList *list, uint64_t index, struct error *error)
{
    for (size_t i = 0; i < list->n_commands; i++) {
        const Weir__Command *command = list->commands[i];
        if (!command_is_known(&command->base) ||
            command->kind_case == WEIR__COMMAND__KIND__NOT_SET ||
            (command->kind_case == WEIR__COMMAND__KIND_RESHARD &&
             (command->reshard->reshard == NULL ||
              command->reshard->reshard->kind_case == WEIR__RESHARD__KIND__NOT_SET)) ||
            (command->kind_case == WEIR__COMMAND__KIND_LEASE_CHECKPOINT &&
             command->lease_checkpoint->checkpoint == NULL) ||
            (command->kind_case == WEIR__COMMAND__KIND_APP_CONTROL &&
             command->app_control->control == NULL) ||
            (command->kind_case == WEIR__COMMAND__KIND_BROKER_CONTROL &&
             command->broker_control->control == NULL) ||
            (command->kind_case == WEIR__COMMAND__KIND_BALANCE &&
             command->balance->control == NULL) ||
            (command->kind_case == WEIR__COMMAND__KIND_STREAM_CONTROL &&
             (command->stream_control->control == NULL ||
              command->stream_control->control->kind_case ==
                  WEIR__STREAM_CONTROL__KIND__NOT_SET))) {
            return error_set(error, STATUS_UNSUPPORTED,
                             "entry %llu has a command that this version does not know: it was "
                             "written by a newer Weir",
                             (unsigned long long)index);
        }
    }
    return STATUS_OK;
}

static uint32_t hash_result(uint32_t hash, const struct db_result *result)
{
    uint32_t status = (uint32_t)result->status;
    hash = crc32c(hash, &status, sizeof(status));
    hash = crc32c(hash, result->text, strlen(result->text));
    return result->body.size == 0 ? hash : crc32c(hash, result->body.data, result->body.size);
}

static enum status apply_list(struct db *db, uint64_t index, struct bytes entry,
                              const Weir__CommandList *list, struct command_results *results,
                              struct error *error)
{
    uint32_t hash = crc32c(0, entry.data, entry.size);
    db_begin(db);
    for (size_t i = 0; i < list->n_commands; i++) {
        apply_one(db, list->commands[i], &results->result[i]);
        if (results->result[i].status == STATUS_NO_MEMORY) {
            db_abort(db, STATUS_NO_MEMORY, "out of memory");
        }
        hash = hash_result(hash, &results->result[i]);
    }
    return db_commit(db, index, hash, error);
}

static void free_list(Weir__CommandList **list)
{
    weir__command_list__free_unpacked(*list, NULL);
}

enum status command_apply(struct db *db, uint64_t index, struct bytes entry,
                          struct command_results *out, struct error *error)
{
    if (index <= db_meta(db)->applied_index) {
        *out = (struct command_results){0};
        return STATUS_OK;
    }
    AUTO(free_list)
    Weir__CommandList *list = weir__command_list__unpack(NULL, entry.size, entry.data);
    if (list == NULL) {
        return error_set(error, STATUS_CORRUPT, "entry %llu is not a list of commands",
                         (unsigned long long)index);
    }
    enum status status = check_kinds(list, index, error);
    if (status != STATUS_OK) {
        return status;
    }
    struct command_results results = {.count = list->n_commands};
    results.result = calloc(results.count + 1, sizeof(*results.result));
    if (results.result == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    status = apply_list(db, index, entry, list, &results, error);
    if (status != STATUS_OK) {
        command_results_release(&results);
        return status;
    }
    *out = results;
    return STATUS_OK;
}
