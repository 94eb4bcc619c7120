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
#include "client/cli/text.h"
#include "client/cli/worker.h"

enum { FOLLOW_WAIT_MS = 10000, OUTPUT_BYTES = 256 * 1024 };

struct get;

struct shard_get {
    struct list node;       /* on get.arrived */
    struct shard_get *next; /* of all that were begun */
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

    struct shard_get *shards; /* begun */
    uint32_t busy;            /* of them: something is to arrive */
    bool one_shard;           /* and not its children */
    bool *ended;              /* by number: nothing more comes from there that is wanted */
    uint32_t ended_count;
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
    if (records->lost) {
        (void)program_fail(get->program, WEIR_UNCERTAIN,
                           "%s: records are missing here: they were lost, and the shard went on by "
                           "a forced recovery",
                           shard->id);
    }
    int code = EXIT_CODE_OK;
    for (size_t i = 0; code == EXIT_CODE_OK && i < records->count && get->left > 0; i++) {
        if (get->program->json) {
            print_record(&get->json, shard->id, &records->records[i]);
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

NODISCARD static enum status mark_ended(struct get *get, uint32_t shard)
{
    if (shard >= get->ended_count) {
        uint32_t count = shard < 64 ? 128 : 2 * shard;
        bool *grown = realloc(get->ended, count * sizeof(*grown));
        if (grown == NULL) {
            return STATUS_NO_MEMORY;
        }
        memset(grown + get->ended_count, 0, count - get->ended_count);
        get->ended = grown;
        get->ended_count = count;
    }
    get->ended[shard] = true;
    return STATUS_OK;
}

static bool is_begun(const struct get *get, uint32_t shard)
{
    for (const struct shard_get *s = get->shards; s != NULL; s = s->next) {
        if (s->shard == shard) {
            return true;
        }
    }
    return false;
}

static int begin(struct get *get, uint32_t shard, const struct weir_reader_options *from)
{
    struct shard_get *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return program_fail(get->program, WEIR_NO_MEMORY, "out of memory");
    }
    s->get = get;
    s->shard = shard;
    weir_shard_id(shard, s->id);
    s->next = get->shards;
    get->shards = s;
    get->busy++;
    enum weir_status status = weir_reader_open_async(get->program->client, get->stream, shard, from,
                                                     get->program->timeout_ms, opened, s);
    if (status != WEIR_OK) {
        /* Those that were begun still come: they must find their place. */
        struct weir_error error = {.status = status};
        (void)snprintf(error.text, sizeof(error.text), "%s", weir_status_text(status));
        arrive(s, &error);
    }
    return EXIT_CODE_OK;
}

/* A shard was split or merged: its children follow, each when all its parents have been read. */
static int follow_children(struct get *get, const struct shard_get *shard)
{
    struct weir_reader_options from = get->from;
    from.sequence_number = NULL;
    if (from.from != WEIR_AT_TIMESTAMP) {
        from.from = WEIR_TRIM_HORIZON;
    }
    int code = EXIT_CODE_OK;
    if (mark_ended(get, shard->shard) != STATUS_OK) {
        return program_fail(get->program, WEIR_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; code == EXIT_CODE_OK && i < shard->records->child_count; i++) {
        const struct weir_child *child = &shard->records->children[i];
        bool ready = !is_begun(get, child->shard);
        for (uint32_t p = 0; p < child->parent_count; p++) {
            ready = ready && child->parents[p] < get->ended_count && get->ended[child->parents[p]];
        }
        if (ready) {
            code = begin(get, child->shard, &from);
        }
    }
    return code;
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
        if (code == EXIT_CODE_OK && shard->records->ended && !get->one_shard && get->left > 0) {
            code = follow_children(get, shard);
        }
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

static void close_all(struct get *get)
{
    for (struct shard_get *shard = get->shards; shard != NULL; shard = shard->next) {
        weir_reader_close(shard->reader);
        shard->reader = NULL;
    }
}

static int get_all(struct get *get)
{
    int code = EXIT_CODE_OK;
    while (get->busy > 0) {
        bool more = false;
        struct shard_get *shard = wait_for_one(get);
        if (code == EXIT_CODE_OK && get->left > 0 && !get->reader_gone) {
            code = take(shard, &more);
        } else {
            weir_records_free(shard->records);
            shard->records = NULL;
        }
        get->busy -= !more;
        if (code != EXIT_CODE_OK || get->left == 0 || get->reader_gone) {
            close_all(get); /* the others are not waited for: that answers them */
        }
    }
    close_all(get);
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

/* Where to begin: at the shards whose parents are gone, or from LATEST at those that take records.
 * Everything else follows from their ends. */
static bool is_first(const struct get *get, const struct weir_stream *stream, uint32_t number)
{
    const struct weir_shard *shard = &stream->shards[number];
    if (strcmp(shard->state, "DELETED") == 0 || strcmp(shard->state, "WAITING") == 0) {
        return false;
    }
    if (get->from.from == WEIR_LATEST) {
        return shard->takes_records;
    }
    for (uint32_t p = 0; p < shard->parent_count; p++) {
        if (strcmp(stream->shards[shard->parents[p]].state, "DELETED") != 0) {
            return false;
        }
    }
    return true;
}

/* What is not read from the beginning on has ended, as far as its children are concerned. */
static bool is_over(const struct get *get, const struct weir_shard *shard)
{
    bool latest = get->from.from == WEIR_LATEST && strcmp(shard->state, "SEALED") == 0;
    return latest || strcmp(shard->state, "DELETED") == 0;
}

NODISCARD static int begin_all(struct get *get, const struct weir_stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        if (is_over(get, &stream->shards[i]) && mark_ended(get, i) != STATUS_OK) {
            return program_fail(get->program, WEIR_NO_MEMORY, "out of memory");
        }
    }
    int code = EXIT_CODE_OK;
    for (uint32_t i = 0; code == EXIT_CODE_OK && i < stream->shard_count; i++) {
        code = is_first(get, stream, i) ? begin(get, i, &get->from) : EXIT_CODE_OK;
    }
    return code;
}

static int make_shards(struct get *get, uint32_t shard)
{
    struct weir_error error;
    struct weir_stream *stream;
    if (weir_stream_describe(get->program->client, get->stream, false, get->program->timeout_ms,
                             &stream, &error) != WEIR_OK) {
        return program_error(get->program, &error);
    }
    int code;
    if (!get->one_shard) {
        code = begin_all(get, stream);
    } else if (shard < stream->shard_count && strcmp(stream->shards[shard].state, "DELETED") != 0) {
        code = begin(get, shard, &get->from);
    } else {
        code = program_fail(get->program, WEIR_NOT_FOUND, "'%s' has no shard %u: it has %u",
                            get->stream, shard, stream->shard_count);
    }
    weir_stream_free(stream);
    return code;
}

static void get_release(struct get *get)
{
    while (get->shards != NULL) {
        struct shard_get *shard = get->shards;
        get->shards = shard->next;
        free(shard);
    }
    free(get->ended);
    json_release(&get->json);
}

int run_get(struct program *program, const char *const *words)
{
    struct get get = {.program = program, .stream = words[0]};
    struct error bad;
    uint32_t shard = 0;
    if (take_options(&get, program, &shard, &get.one_shard, &bad) != STATUS_OK) {
        return program_fail(program, WEIR_INVALID, "%s", bad.text);
    }
    get.from.confirm_tip = !program->follow;
    get.from.deaggregate = program->deaggregate;
    list_init(&get.arrived);
    (void)pthread_mutex_init(&get.lock, NULL);
    (void)pthread_cond_init(&get.news, NULL);
    int code = make_shards(&get, shard);
    if (code != EXIT_CODE_OK) {
        get.left = 0; /* what was begun comes, and is closed */
    }
    int last = get_all(&get);
    code = code != EXIT_CODE_OK ? code : last;
    if (isatty(STDERR_FILENO) != 0 && isatty(STDOUT_FILENO) == 0 && !program->quiet) {
        (void)fprintf(stderr, "%" PRIu64 " records\n", get.printed);
    }
    get_release(&get);
    return code;
}
