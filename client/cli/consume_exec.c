/* weir consume-exec: record processors in any language, one child process for each shard, by the
 * MultiLangDaemon protocol. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/child.h"
#include "client/cli/multilang.h"
#include "client/cli/worker.h"

enum { RECORDS_DEFAULT = 1000, CHILDREN_MAX = 1024 };

struct daemon {
    struct program *program;
    char *const *command;
    enum weir_from from;
    uint32_t timeout_ms; /* of an answer; 0: none */
};

/* A shard and its child; the lease's data. */
struct processor {
    struct daemon *daemon;
    struct weir_lease *lease;
    struct child *child; /* NULL: it failed */
    uint64_t created_s;
    bool noise_told; /* it prints what is no message, and that was said */
    bool end_stored;
    struct json json;
};

static enum weir_processed fail(struct processor *p, const char *action, const char *why)
{
    worker_say(p->lease, "the record processor failed in %s: %s", action, why);
    child_end(p->child, true);
    p->child = NULL;
    return WEIR_FAILED;
}

/* As the Kinesis Client Library names them. NULL: it is stored. */
static const char *problem_of(enum weir_status status)
{
    switch ((unsigned)status) {
    case WEIR_OK:
        return NULL;
    case WEIR_FENCED:
        return "ShutdownException";
    case WEIR_INVALID:
        return "IllegalArgumentException";
    case WEIR_CANCELLED:
        return "InvalidStateException";
    default:
        return "KinesisClientLibDependencyException";
    }
}

static enum weir_status store_checkpoint(struct processor *p,
                                         const struct multilang_message *message,
                                         struct weir_error *error)
{
    if (message->sequence[0] == '\0') {
        return weir_lease_checkpoint(p->lease, NULL, error);
    }
    struct weir_read_record record = {.aggregated = message->has_sub_sequence,
                                      .sub_sequence = (uint32_t)message->sub_sequence};
    if (weir_sequence_number_parse(message->sequence, &record.position) != WEIR_OK ||
        record.position.shard != weir_lease_shard_number(p->lease) ||
        record.position.shard_created_s != p->created_s) {
        (void)snprintf(error->text, sizeof(error->text), "'%s' is not a sequence number of %s",
                       message->sequence, weir_lease_shard(p->lease));
        error->status = WEIR_INVALID;
        return WEIR_INVALID;
    }
    return weir_lease_checkpoint(p->lease, &record, error);
}

NODISCARD static enum status answer_checkpoint(struct processor *p, const char *action,
                                               const struct multilang_message *message,
                                               struct error *error)
{
    struct weir_error why = {.status = WEIR_OK};
    enum weir_status status = store_checkpoint(p, message, &why);
    if (status != WEIR_OK) {
        worker_say(p->lease, "no checkpoint: %s", why.text);
    } else if (strcmp(action, "shardEnded") == 0 && message->sequence[0] == '\0') {
        p->end_stored = true;
    }
    p->json.out.size = 0;
    multilang_checkpointed(&p->json, message, problem_of(status));
    return child_write(p->child, buf_bytes(&p->json.out), p->daemon->timeout_ms, error);
}

/* What libraries of the child print by accident is told once, and left out. */
static void note_noise(struct processor *p, struct bytes line)
{
    bool blank = true;
    for (size_t i = 0; i < line.size; i++) {
        blank = blank && (line.data[i] == ' ' || line.data[i] == '\r' || line.data[i] == '\t');
    }
    if (!blank && !p->noise_told) {
        p->noise_told = true;
        worker_say(p->lease,
                   "the record processor prints to standard output, which belongs to the protocol "
                   "(print to standard error): %.*s",
                   (int)(line.size < 120 ? line.size : 120), (const char *)line.data);
    }
}

/* Until it says that it is done with `action`. */
static enum weir_processed await(struct processor *p, const char *action)
{
    struct error error = {0};
    enum status status = STATUS_OK;
    while (status == STATUS_OK) {
        struct bytes line;
        struct multilang_message message;
        status = child_read(p->child, p->daemon->timeout_ms, &line, &error);
        if (status != STATUS_OK) {
            break;
        }
        status = multilang_parse(line, &message, &error);
        if (status == STATUS_INVALID) {
            note_noise(p, line);
            status = STATUS_OK;
        } else if (status == STATUS_OK && message.action == MULTILANG_CHECKPOINT) {
            status = answer_checkpoint(p, action, &message, &error);
        } else if (status == STATUS_OK && strcmp(message.response_for, action) == 0) {
            return WEIR_PROCESSED;
        } else if (status == STATUS_OK) {
            status = error_set(&error, STATUS_OUT_OF_ORDER, "it answers '%s', which was not asked",
                               message.response_for);
        }
    }
    return fail(p, action, error.text);
}

/* Sends what p->json has. */
static enum weir_processed ask(struct processor *p, const char *action)
{
    struct error error = {0};
    if (p->json.failed) {
        p->json.failed = false;
        return fail(p, action, "out of memory");
    }
    if (child_write(p->child, buf_bytes(&p->json.out), p->daemon->timeout_ms, &error) !=
        STATUS_OK) {
        return fail(p, action, error.text);
    }
    return await(p, action);
}

static enum weir_processed notice(struct processor *p, const char *action)
{
    p->json.out.size = 0;
    multilang_notice(&p->json, action);
    return ask(p, action);
}

/* ---- callbacks --------------------------------------------------------------------------------
 */

static struct processor *processor_of(struct weir_lease *lease, struct daemon *daemon)
{
    struct processor *p = weir_lease_data(lease);
    if (p == NULL) {
        p = calloc(1, sizeof(*p));
        if (p != NULL) {
            p->daemon = daemon;
            p->lease = lease;
            weir_lease_set_data(lease, p);
        }
    }
    return p;
}

/* The last record that is processed, or where the application begins. */
static void start_of(const struct daemon *daemon, const struct weir_lease *lease,
                     const struct weir_lease_start *start,
                     char sequence[WEIR_SEQUENCE_NUMBER_BYTES], uint32_t *out_sub)
{
    struct weir_position position = {.shard_created_s = start->shard_created_s,
                                     .shard = weir_lease_shard_number(lease),
                                     .offset = start->offset};
    *out_sub = 0;
    if (start->fresh || (start->offset == 0 && start->sub_sequence == 0)) {
        const char *name = daemon->from == WEIR_LATEST         ? "LATEST"
                           : daemon->from == WEIR_AT_TIMESTAMP ? "AT_TIMESTAMP"
                                                               : "TRIM_HORIZON";
        (void)snprintf(sequence, WEIR_SEQUENCE_NUMBER_BYTES, "%s", name);
        return;
    }
    if (start->sub_sequence > 0) {
        *out_sub = start->sub_sequence - 1;
    } else {
        position.offset--;
    }
    weir_sequence_number(&position, sequence);
}

static enum weir_processed on_initialised(struct weir_lease *lease,
                                          const struct weir_lease_start *start, void *context)
{
    struct daemon *daemon = context;
    struct processor *p = processor_of(lease, daemon);
    struct error error = {0};
    if (p == NULL) {
        return WEIR_FAILED;
    }
    child_end(p->child, true); /* of a run that another failure ended */
    p->child = NULL;
    p->end_stored = false;
    p->created_s = start->shard_created_s;
    if (child_start(daemon->command, &p->child, &error) != STATUS_OK) {
        worker_say(lease, "%s", error.text);
        return WEIR_FAILED;
    }
    char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
    uint32_t sub;
    start_of(daemon, lease, start, sequence, &sub);
    p->json.out.size = 0;
    multilang_initialize(&p->json, weir_lease_shard(lease), sequence, sub);
    return ask(p, "initialize");
}

static enum weir_processed on_records(struct weir_lease *lease,
                                      const struct weir_delivery *delivery, void *context)
{
    struct processor *p = weir_lease_data(lease);
    (void)context;
    if (delivery->skipped) {
        worker_say(lease, "records before these had passed their retention and were skipped");
    }
    if (delivery->lost) {
        worker_say(lease, "records are missing here: they were lost, and the shard went on by a "
                          "forced recovery");
    }
    p->json.out.size = 0;
    multilang_process_records(&p->json, delivery->records, delivery->count, delivery->behind_ms);
    return ask(p, "processRecords");
}

static enum weir_processed on_ended(struct weir_lease *lease, void *context)
{
    struct processor *p = weir_lease_data(lease);
    (void)context;
    enum weir_processed result = notice(p, "shardEnded");
    if (result == WEIR_PROCESSED && !p->end_stored) {
        return fail(p, "shardEnded",
                    "it must checkpoint (without a sequence number) before it answers, or the "
                    "children of the shard never begin");
    }
    return result;
}

static void on_shutdown(struct weir_lease *lease, enum weir_shutdown why, void *context)
{
    struct processor *p = weir_lease_data(lease);
    (void)why;
    (void)context;
    if (p != NULL && p->child != NULL) {
        (void)notice(p, "shutdownRequested");
    }
}

static void on_lost(struct weir_lease *lease, void *context)
{
    struct processor *p = weir_lease_data(lease);
    (void)context;
    if (p != NULL && p->child != NULL) {
        (void)notice(p, "leaseLost");
    }
}

static void on_closed(struct weir_lease *lease, void *context)
{
    struct processor *p = weir_lease_data(lease);
    (void)context;
    if (p != NULL) {
        child_end(p->child, false);
        json_release(&p->json);
        free(p);
    }
}

int run_consume_exec(struct program *program, const char *const *words)
{
    struct daemon daemon = {.program = program, .command = program->rest};
    struct worker_names names;
    struct weir_consumer_options options;
    struct error bad;
    if (daemon.command == NULL || daemon.command[0] == NULL) {
        return program_fail(program, WEIR_INVALID,
                            "what to run? weir consume-exec APP STREAM [options] -- COMMAND...");
    }
    enum status status = worker_options(program, words[0], words[1], &names, &options, &bad);
    if (status == STATUS_OK && program->answer_within != NULL) {
        status = args_duration(program->answer_within, "--answer-within", &daemon.timeout_ms, &bad);
    }
    if (status != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    options.checkpoint_self = true;
    options.threads = CHILDREN_MAX; /* each waits for its child */
    options.records_max = options.records_max != 0 ? options.records_max : RECORDS_DEFAULT;
    daemon.from = options.from;
    const struct weir_processor processor = {.context = &daemon,
                                             .initialised = on_initialised,
                                             .records = on_records,
                                             .ended = on_ended,
                                             .shutdown = on_shutdown,
                                             .lost = on_lost,
                                             .closed = on_closed,
                                             .trouble = worker_trouble};
    return worker_run(program, &options, &processor);
}
