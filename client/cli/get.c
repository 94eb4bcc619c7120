/* weir get: the records of a stream, or of one shard, to standard output.
 *
 * Each shard has a reader; what they bring waits in one list for the main thread, which prints it
 * and lets the reader go on. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "client/cli/program.h"
#include "client/cli/text.h"

enum { FOLLOW_WAIT_MS = 10000, OUTPUT_BYTES = 256 * 1024 };

struct get;

struct shard_get {
    struct list node; /* on get.arrived */
    struct get *get;
    uint32_t shard;
    char id[WEIR_SHARD_ID_BYTES];
    struct weir_reader *opened; /* as it arrived */
    struct weir_reader *reader; /* the main thread's */
    struct weir_records *records;
    struct weir_error error;
};

struct get {
    struct program *program;
    const char *stream;
    struct weir_reader_options from;
    uint64_t left; /* records still wanted; UINT64_MAX: no end */
    uint64_t printed;
    struct json json;
    bool reader_gone; /* of our output */

    pthread_mutex_t lock;
    pthread_cond_t news;
    struct list arrived; /* under the lock */

    uint32_t count;
    struct shard_get *shards;
};

/* ---- the handle's thread ----------------------------------------------------------------------
 */

static void arrive(struct shard_get *shard, const struct weir_error *error)
{
    struct get *get = shard->get;
    shard->error = *error;
    (void)pthread_mutex_lock(&get->lock);
    list_push(&get->arrived, &shard->node);
    (void)pthread_cond_signal(&get->news);
    (void)pthread_mutex_unlock(&get->lock);
}

static void opened(struct weir_reader *reader, const struct weir_error *error, void *context)
{
    struct shard_get *shard = context;
    shard->opened = reader;
    arrive(shard, error);
}

static void got(struct weir_records *records, const struct weir_error *error, void *context)
{
    struct shard_get *shard = context;
    shard->records = records;
    arrive(shard, error);
}

/* ---- printing ---------------------------------------------------------------------------------
 */

static void add_json(struct get *get, const struct shard_get *shard,
                     const struct weir_read_record *record)
{
    struct json *json = &get->json;
    char sequence[WEIR_SEQUENCE_NUMBER_BYTES];
    struct bytes data = bytes_of(record->data, record->data_size);
    weir_sequence_number(&record->position, sequence);
    json_object_begin(json, NULL);
    json_string(json, "shard", shard->id);
    json_string(json, "sequence_number", sequence);
    json_text(json, "partition_key", bytes_of(record->key, record->key_size));
    json_number(json, "arrival_ms", record->position.arrival_ms);
    if (text_is_utf8(data)) {
        json_text(json, "data", data);
    } else {
        json_base64(json, "data_base64", data);
    }
    json_object_end(json);
    json_line_end(json);
}

static void add_plain(struct get *get, const struct weir_read_record *record)
{
    struct buf *out = &get->json.out;
    get->json.failed |= buf_append(out, record->data, record->data_size) != STATUS_OK ||
                        buf_append(out, "\n", 1) != STATUS_OK;
}

/* The exit code. */
static int write_out(struct get *get)
{
    struct buf *out = &get->json.out;
    if (get->json.failed) {
        return program_fail(get->program, WEIR_NO_MEMORY, "out of memory");
    }
    if (out->size > 0 &&
        (fwrite(out->data, 1, out->size, stdout) != out->size || fflush(stdout) != 0)) {
        if (errno == EPIPE) {
            get->reader_gone = true; /* it has all it wanted */
            return EXIT_CODE_OK;
        }
        return program_fail(get->program, WEIR_IO, "standard output cannot be written: %s",
                            strerror(errno));
    }
    out->size = 0;
    return EXIT_CODE_OK;
}

static int print_records(struct get *get, const struct shard_get *shard)
{
    const struct weir_records *records = shard->records;
    if (records->skipped) {
        (void)program_fail(get->program, WEIR_EXPIRED,
                           "%s: records before these had passed their retention and were skipped",
                           shard->id);
    }
    int code = EXIT_CODE_OK;
    for (size_t i = 0; code == EXIT_CODE_OK && i < records->count && get->left > 0; i++) {
        if (get->program->json) {
            add_json(get, shard, &records->records[i]);
        } else {
            add_plain(get, &records->records[i]);
        }
        get->left -= get->left != UINT64_MAX;
        get->printed++;
        if (get->json.out.size >= OUTPUT_BYTES) {
            code = write_out(get);
        }
    }
    return code == EXIT_CODE_OK ? write_out(get) : code;
}

/* ---- the main thread --------------------------------------------------------------------------
 */

static int ask(struct shard_get *shard)
{
    struct get *get = shard->get;
    uint32_t wait_ms = get->program->follow ? FOLLOW_WAIT_MS : 0;
    enum weir_status status = weir_reader_get_async(shard->reader, wait_ms, got, shard);
    if (status != WEIR_OK) {
        return program_fail(get->program, status, "%s: %s", shard->id, weir_status_text(status));
    }
    return EXIT_CODE_OK;
}

/* What a shard brought. *out_more: it has been asked for more. */
static int take(struct shard_get *shard, bool *out_more)
{
    struct get *get = shard->get;
    *out_more = false;
    if (shard->error.status != WEIR_OK) {
        return program_fail(get->program, shard->error.status, "%s: %s", shard->id,
                            shard->error.text);
    }
    bool over = false;
    int code = EXIT_CODE_OK;
    if (shard->records != NULL) {
        code = print_records(get, shard);
        over = shard->records->ended || (shard->records->at_tip && !get->program->follow);
        weir_records_free(shard->records);
        shard->records = NULL;
    }
    if (code == EXIT_CODE_OK && !over && get->left > 0 && !get->reader_gone) {
        code = ask(shard);
        *out_more = code == EXIT_CODE_OK;
    }
    return code;
}

static struct shard_get *wait_for_one(struct get *get)
{
    (void)pthread_mutex_lock(&get->lock);
    while (list_empty(&get->arrived)) {
        (void)pthread_cond_wait(&get->news, &get->lock);
    }
    struct shard_get *shard = CONTAINER_OF(list_pop(&get->arrived), struct shard_get, node);
    (void)pthread_mutex_unlock(&get->lock);
    if (shard->opened != NULL) {
        shard->reader = shard->opened;
        shard->opened = NULL;
    }
    return shard;
}

static int begin(struct get *get)
{
    for (uint32_t i = 0; i < get->count; i++) {
        struct shard_get *shard = &get->shards[i];
        enum weir_status status =
            weir_reader_open_async(get->program->client, get->stream, shard->shard, &get->from,
                                   get->program->timeout_ms, opened, shard);
        if (status != WEIR_OK) {
            /* Those that were begun still come: they must find their place. */
            struct weir_error error = {.status = status};
            (void)snprintf(error.text, sizeof(error.text), "%s", weir_status_text(status));
            arrive(shard, &error);
        }
    }
    return EXIT_CODE_OK;
}

static int get_all(struct get *get)
{
    int code = begin(get);
    uint32_t busy = get->count;
    while (busy > 0) {
        bool more = false;
        struct shard_get *shard = wait_for_one(get);
        if (code == EXIT_CODE_OK && get->left > 0 && !get->reader_gone) {
            code = take(shard, &more);
        } else {
            weir_records_free(shard->records);
            shard->records = NULL;
        }
        busy -= !more;
        if (code != EXIT_CODE_OK || get->left == 0 || get->reader_gone) {
            /* The others are not waited for: closing their readers answers them. */
            for (uint32_t i = 0; i < get->count; i++) {
                weir_reader_close(get->shards[i].reader);
                get->shards[i].reader = NULL;
            }
        }
    }
    for (uint32_t i = 0; i < get->count; i++) {
        weir_reader_close(get->shards[i].reader);
    }
    return code;
}

/* ---- options ----------------------------------------------------------------------------------
 */

NODISCARD static enum status take_from(struct get *get, const struct program *program,
                                       uint32_t *out_shard, bool *out_one_shard,
                                       struct error *error)
{
    static const struct {
        const char *name;
        enum weir_from from;
    } kinds[] = {
        {"trim-horizon",   WEIR_TRIM_HORIZON         },
        {"latest",         WEIR_LATEST               },
        {"at-timestamp",   WEIR_AT_TIMESTAMP         },
        {"at-sequence",    WEIR_AT_SEQUENCE_NUMBER   },
        {"after-sequence", WEIR_AFTER_SEQUENCE_NUMBER},
    };
    const char *name = program->from != NULL ? program->from : "trim-horizon";
    size_t i = 0;
    while (i < sizeof(kinds) / sizeof(kinds[0]) && strcmp(kinds[i].name, name) != 0) {
        i++;
    }
    if (i == sizeof(kinds) / sizeof(kinds[0])) {
        return error_set(error, STATUS_INVALID,
                         "--from is trim-horizon, latest, at-timestamp TIME, at-sequence NUMBER or "
                         "after-sequence NUMBER, not '%.60s'",
                         name);
    }
    get->from.from = kinds[i].from;
    if (kinds[i].from == WEIR_AT_TIMESTAMP &&
        text_parse_time(program->from_what, &get->from.timestamp_ms) != STATUS_OK) {
        return error_set(error, STATUS_INVALID,
                         "'%.60s' is not a time: seconds since 1970, or 2026-03-01T12:00:00Z",
                         program->from_what);
    }
    if (kinds[i].from == WEIR_AT_SEQUENCE_NUMBER || kinds[i].from == WEIR_AFTER_SEQUENCE_NUMBER) {
        struct weir_position position;
        get->from.sequence_number = program->from_what;
        if (weir_sequence_number_parse(program->from_what, &position) != WEIR_OK) {
            return error_set(error, STATUS_INVALID, "'%.80s' is not a sequence number",
                             program->from_what);
        }
        *out_shard = position.shard; /* the number says of which shard it is */
        *out_one_shard = true;
    }
    return STATUS_OK;
}

NODISCARD static enum status take_options(struct get *get, const struct program *program,
                                          uint32_t *out_shard, bool *out_one_shard,
                                          struct error *error)
{
    enum status status = take_from(get, program, out_shard, out_one_shard, error);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t shard;
    if (program->shard != NULL) {
        if (weir_shard_parse(program->shard, &shard) != WEIR_OK) {
            return error_set(error, STATUS_INVALID,
                             "'%.60s' is not a shard: shardId-000000000000, or its number",
                             program->shard);
        }
        if (*out_one_shard && shard != *out_shard) {
            return error_set(error, STATUS_INVALID, "the sequence number is of shard %u",
                             *out_shard);
        }
        *out_shard = shard;
        *out_one_shard = true;
    }
    get->left = UINT64_MAX;
    if (program->count != NULL) {
        return args_number(program->count, "--count", 1, UINT64_MAX - 1, &get->left, error);
    }
    return STATUS_OK;
}

NODISCARD static enum weir_status make_shards(struct get *get, bool one_shard, uint32_t shard,
                                              struct weir_error *error)
{
    struct weir_stream *stream;
    enum weir_status status = weir_stream_describe(get->program->client, get->stream, false,
                                                   get->program->timeout_ms, &stream, error);
    if (status != WEIR_OK) {
        return status;
    }
    uint32_t count = stream->shard_count;
    weir_stream_free(stream);
    if (one_shard && shard >= count) {
        error->status = WEIR_NOT_FOUND;
        (void)snprintf(error->text, sizeof(error->text), "'%s' has no shard %u: it has %u",
                       get->stream, shard, count);
        return WEIR_NOT_FOUND;
    }
    get->count = one_shard ? 1 : count;
    get->shards = calloc(get->count + (size_t)1, sizeof(*get->shards));
    if (get->shards == NULL) {
        error->status = WEIR_NO_MEMORY;
        error->text[0] = '\0';
        return WEIR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < get->count; i++) {
        get->shards[i].get = get;
        get->shards[i].shard = one_shard ? shard : i;
        weir_shard_id(get->shards[i].shard, get->shards[i].id);
    }
    return WEIR_OK;
}

int run_get(struct program *program, const char *const *words)
{
    struct get get = {.program = program, .stream = words[0]};
    struct error bad;
    struct weir_error error;
    uint32_t shard = 0;
    bool one_shard = false;
    if (take_options(&get, program, &shard, &one_shard, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    get.from.confirm_tip = !program->follow;
    list_init(&get.arrived);
    (void)pthread_mutex_init(&get.lock, NULL);
    (void)pthread_cond_init(&get.news, NULL);
    if (make_shards(&get, one_shard, shard, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = get_all(&get);
    if (isatty(STDERR_FILENO) != 0 && isatty(STDOUT_FILENO) == 0 && !program->quiet) {
        (void)fprintf(stderr, "%" PRIu64 " records\n", get.printed);
    }
    json_release(&get.json);
    free(get.shards);
    return code;
}
