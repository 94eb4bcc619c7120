/* The commands about applications that consume streams. Where a worker has got is the controllers'
 * word; how far that is behind, the brokers' (their shards are asked, and a record is read). */
#include <weir/app.h>

#include <stdlib.h>
#include <string.h>

#include "client/cli/program.h"
#include "client/cli/text.h"

enum { STUCK_MS = 5 * 60 * 1000, LAG_READ_BYTES = 64 * 1024, POSITION_BYTES = 72 };

/* What is worked out of a lease. Unknown: nobody who knows has answered, or it begins at LATEST. */
struct lag {
    bool known, records_known;
    uint64_t ms, records;
    char sequence_number[WEIR_SEQUENCE_NUMBER_BYTES];
};

struct description {
    struct weir_app app;
    struct weir_app_worker *workers;
    size_t worker_count;
    struct weir_app_lease *leases;
    struct lag *lags;
    size_t lease_count;
    uint64_t time_ms;
};

static void description_release(struct description *d)
{
    free(d->workers);
    free(d->leases);
    free(d->lags);
}

/* ---- asking
 * ---------------------------------------------------------------------------------------- */

static enum weir_status add_page(struct description *d, struct weir_apps *page)
{
    struct weir_app_lease *grown =
        realloc(d->leases, (d->lease_count + page->lease_count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return WEIR_NO_MEMORY;
    }
    d->leases = grown;
    memcpy(d->leases + d->lease_count, page->leases, page->lease_count * sizeof(*grown));
    d->lease_count += page->lease_count;
    if (d->workers == NULL) {
        d->workers = page->workers;
        d->worker_count = page->worker_count;
        page->workers = NULL;
    }
    if (page->app_count > 0) {
        d->app = page->apps[0];
    }
    d->time_ms = page->time_ms;
    return WEIR_OK;
}

static int describe(struct program *program, const char *name, struct description *d)
{
    struct weir_error error;
    struct weir_app_request request = {.action = WEIR_APP_DESCRIBE, .application = name};
    for (bool more = true; more;) {
        struct weir_apps *page = NULL;
        if (weir_app(program->client, &request, program->timeout_ms, &page, &error) != WEIR_OK) {
            return program_error(program, &error);
        }
        more = page->more && page->lease_count > 0;
        enum weir_status status = add_page(d, page);
        weir_apps_free(page);
        if (status != WEIR_OK) {
            return program_fail(program, status, "out of memory");
        }
        if (more) {
            request.has_after = true;
            request.after_stream_id = d->leases[d->lease_count - 1].stream_id;
            request.after_shard = d->leases[d->lease_count - 1].shard;
        }
    }
    d->lags = calloc(d->lease_count + 1, sizeof(*d->lags));
    return d->lags != NULL ? EXIT_CODE_OK : program_fail(program, WEIR_NO_MEMORY, "out of memory");
}

/* How long the first record that is not processed has waited, at `time_ms` of the controllers. */
static void read_lag(struct program *program, const struct weir_app_lease *lease,
                     const struct weir_shard *shard, uint64_t time_ms, struct lag *lag)
{
    struct weir_reader_options options = {
        .from = WEIR_TRIM_HORIZON, .read_bytes = LAG_READ_BYTES, .confirm_tip = true};
    struct weir_reader *reader = NULL;
    struct weir_records *records = NULL;
    struct weir_error error;
    if (lease->checkpoint.type == WEIR_APP_AT_TIMESTAMP) {
        options.from = WEIR_AT_TIMESTAMP;
        options.timestamp_ms = lease->checkpoint.timestamp_ms;
    } else if (lease->checkpoint.type == WEIR_APP_AT_OFFSET &&
               lease->checkpoint.offset > shard->log_start) {
        options.from = WEIR_AT_SEQUENCE_NUMBER;
        options.sequence_number = lag->sequence_number;
    }
    if (weir_reader_open(program->client, lease->stream, lease->shard, &options,
                         program->timeout_ms, &reader, &error) != WEIR_OK) {
        return;
    }
    if (weir_reader_get(reader, 0, &records, &error) == WEIR_OK) {
        if (records->count > 0) {
            uint64_t first = records->records[0].position.arrival_ms;
            lag->ms = time_ms > first ? time_ms - first : 0;
            lag->known = true;
        } else if (records->ended || records->at_tip) {
            lag->known = true;
            lag->records = 0;
        }
        weir_records_free(records);
    }
    weir_reader_close(reader);
}

static void work_out_lag(struct program *program, const struct weir_app_lease *lease,
                         const struct weir_stream *stream, uint64_t time_ms, struct lag *lag)
{
    const struct weir_app_position *at = &lease->checkpoint;
    if (at->type == WEIR_APP_SHARD_END) {
        lag->known = lag->records_known = true;
        return;
    }
    if (stream == NULL || lease->shard >= stream->shard_count) {
        return;
    }
    const struct weir_shard *shard = &stream->shards[lease->shard];
    struct weir_position position;
    if (at->type == WEIR_APP_AT_OFFSET &&
        weir_sequence_number_parse(shard->first_sequence_number, &position) == WEIR_OK) {
        position.offset = at->offset;
        weir_sequence_number(&position, lag->sequence_number);
    }
    if (!shard->status_known || at->type == WEIR_APP_LATEST) {
        return;
    }
    if (at->type != WEIR_APP_AT_TIMESTAMP) {
        uint64_t from = at->type == WEIR_APP_AT_OFFSET && at->offset > shard->log_start
                            ? at->offset
                            : shard->log_start;
        lag->records_known = true;
        lag->records = shard->commit > from ? shard->commit - from : 0;
        lag->known = lag->records == 0;
    }
    if (!lag->known) {
        read_lag(program, lease, shard, time_ms, lag);
    }
}

/* Leases are by stream: each is described once. */
static void work_out_lags(struct program *program, struct description *d)
{
    struct weir_stream *stream = NULL;
    struct weir_error error;
    for (size_t i = 0; i < d->lease_count; i++) {
        const struct weir_app_lease *lease = &d->leases[i];
        if (i == 0 || lease->stream_id != d->leases[i - 1].stream_id) {
            weir_stream_free(stream);
            stream = NULL;
            if (lease->stream[0] != '\0' &&
                weir_stream_describe(program->client, lease->stream, true, program->timeout_ms,
                                     &stream, &error) != WEIR_OK) {
                stream = NULL;
            }
        }
        work_out_lag(program, lease, stream, d->time_ms, &d->lags[i]);
    }
    weir_stream_free(stream);
}

/* ---- showing
 * --------------------------------------------------------------------------------------- */

static void position_text(const struct weir_app_position *at, const struct lag *lag,
                          char out[POSITION_BYTES])
{
    static const char *const names[] = {"TRIM_HORIZON", "LATEST", "AT_TIMESTAMP", "", "SHARD_END"};
    if (at->type != WEIR_APP_AT_OFFSET && at->type <= WEIR_APP_SHARD_END) {
        (void)snprintf(out, POSITION_BYTES, "%s", names[at->type]);
    } else if (lag != NULL && lag->sequence_number[0] != '\0') {
        (void)snprintf(out, POSITION_BYTES, "%s", lag->sequence_number);
    } else {
        (void)snprintf(out, POSITION_BYTES, "offset %llu", (unsigned long long)at->offset);
    }
}

/* Records wait, somebody should process them, and nothing was checkpointed for long. */
static void stuck_text(const struct description *d, size_t at, char out[WEIR_APP_STUCK_BYTES])
{
    const struct weir_app_lease *lease = &d->leases[at];
    const struct lag *lag = &d->lags[at];
    uint64_t since =
        lease->checkpoint_ms > lease->owned_ms ? lease->checkpoint_ms : lease->owned_ms;
    (void)snprintf(out, WEIR_APP_STUCK_BYTES, "%s", lease->stuck);
    if (lease->stuck[0] == '\0' && lease->owner[0] != '\0' && lag->known && lag->ms > STUCK_MS &&
        d->time_ms > since + STUCK_MS) {
        (void)snprintf(out, WEIR_APP_STUCK_BYTES,
                       "%s has checkpointed nothing for %llu s, and records wait", lease->owner,
                       (unsigned long long)((d->time_ms - since) / 1000));
    }
}

static void string_or_null(struct json *json, const char *key, const char *text)
{
    if (text[0] == '\0') {
        json_null(json, key);
    } else {
        json_string(json, key, text);
    }
}

static void number_or_null(struct json *json, const char *key, bool known, uint64_t number)
{
    if (known) {
        json_number(json, key, number);
    } else {
        json_null(json, key);
    }
}

static void lease_json(struct json *json, const struct description *d, size_t at)
{
    const struct weir_app_lease *lease = &d->leases[at];
    const struct lag *lag = &d->lags[at];
    char shard[32], position[POSITION_BYTES], stuck[WEIR_APP_STUCK_BYTES];
    (void)snprintf(shard, sizeof(shard), "shardId-%012u", lease->shard);
    position_text(&lease->checkpoint, lag, position);
    stuck_text(d, at, stuck);
    json_object_begin(json, NULL);
    json_string(json, "shard", shard);
    string_or_null(json, "stream", lease->stream);
    string_or_null(json, "owner", lease->owner);
    json_number(json, "counter", lease->counter);
    json_string(json, "checkpoint", position);
    number_or_null(json, "offset", lease->checkpoint.type == WEIR_APP_AT_OFFSET,
                   lease->checkpoint.offset);
    json_number(json, "sub_sequence", lease->checkpoint.sub_sequence);
    number_or_null(json, "pending_offset",
                   lease->has_pending && lease->pending.type == WEIR_APP_AT_OFFSET,
                   lease->pending.offset);
    number_or_null(json, "checkpoint_ms", lease->checkpoint_ms != 0, lease->checkpoint_ms);
    json_number(json, "owned_ms", lease->owned_ms);
    number_or_null(json, "lag_ms", lag->known, lag->ms);
    number_or_null(json, "lag_records", lag->records_known, lag->records);
    json_number(json, "bytes_per_s", lease->bytes_per_s);
    json_bool(json, "handing_over", lease->hand_over_ms != 0);
    json_bool(json, "waits_for_parents", lease->waits_for_parents);
    string_or_null(json, "stuck", stuck);
    json_object_end(json);
}

static int print_json(const struct program *program, const struct description *d)
{
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "application", d->app.name);
    json_number(&json, "created_ms", d->app.created_ms);
    json_array_begin(&json, "workers");
    for (size_t i = 0; i < d->worker_count; i++) {
        const struct weir_app_worker *worker = &d->workers[i];
        json_object_begin(&json, NULL);
        json_string(&json, "worker", worker->name);
        json_number(&json, "joined_ms", worker->joined_ms);
        number_or_null(&json, "renewal_age_ms", worker->seen, worker->age_ms);
        json_number(&json, "leases", worker->leases);
        json_number(&json, "bytes_per_s", worker->bytes_per_s);
        json_bool(&json, "draining", worker->draining);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_array_begin(&json, "leases");
    for (size_t i = 0; i < d->lease_count; i++) {
        lease_json(&json, d, i);
    }
    json_array_end(&json);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static int print_workers(const struct program *program, const struct description *d)
{
    static const char *const headings[] = {"WORKER", ">LEASES", ">BYTES/S", ">LAST RENEWAL",
                                           "STATE"};
    struct table table;
    table_init(&table, headings, 5);
    for (size_t i = 0; i < d->worker_count; i++) {
        const struct weir_app_worker *worker = &d->workers[i];
        table_add(&table, TABLE_PLAIN, "%s", worker->name);
        table_add(&table, TABLE_PLAIN, "%u", worker->leases);
        table_add(&table, TABLE_PLAIN, "%llu", (unsigned long long)worker->bytes_per_s);
        if (worker->seen) {
            table_add(&table, TABLE_PLAIN, "%.1f s ago", (double)worker->age_ms / 1000);
        } else {
            table_add(&table, TABLE_FAINT, "not heard of yet");
        }
        table_add(&table, TABLE_PLAIN, "%s", worker->draining ? "leaving" : "in");
    }
    return program_print_table(program, &table);
}

static int print_leases(const struct program *program, const struct description *d)
{
    static const char *const headings[] = {"STREAM",  "SHARD", "OWNER",    ">COUNTER",
                                           ">OFFSET", ">LAG",  ">RECORDS", "STUCK"};
    struct table table;
    table_init(&table, headings, 8);
    for (size_t i = 0; i < d->lease_count; i++) {
        const struct weir_app_lease *lease = &d->leases[i];
        const struct lag *lag = &d->lags[i];
        char position[POSITION_BYTES], stuck[WEIR_APP_STUCK_BYTES];
        position_text(&lease->checkpoint, NULL, position);
        stuck_text(d, i, stuck);
        table_add(&table, TABLE_PLAIN, "%s", lease->stream[0] == '\0' ? "-" : lease->stream);
        table_add(&table, TABLE_PLAIN, "shardId-%012u", lease->shard);
        table_add(&table, TABLE_PLAIN, "%s", lease->owner[0] == '\0' ? "-" : lease->owner);
        table_add(&table, TABLE_FAINT, "%llu", (unsigned long long)lease->counter);
        table_add(&table, TABLE_PLAIN, "%s",
                  strncmp(position, "offset ", 7) == 0 ? position + 7 : position);
        if (lag->known) {
            table_add(&table, TABLE_PLAIN, "%.1f s", (double)lag->ms / 1000);
        } else {
            table_add(&table, TABLE_FAINT, "?");
        }
        if (lag->records_known) {
            table_add(&table, TABLE_PLAIN, "%llu", (unsigned long long)lag->records);
        } else {
            table_add(&table, TABLE_FAINT, "?");
        }
        table_add(&table, stuck[0] == '\0' ? TABLE_PLAIN : TABLE_BAD, "%s", stuck);
    }
    return program_print_table(program, &table);
}

/* ---- commands
 * -------------------------------------------------------------------------------------- */

int run_app_list(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_error error;
    struct weir_apps *apps;
    struct weir_app_request request = {.action = WEIR_APP_LIST};
    if (weir_app(program->client, &request, program->timeout_ms, &apps, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    static const char *const headings[] = {"APPLICATION", ">WORKERS", ">LEASES", ">WITHOUT OWNER",
                                           ">FINISHED"};
    struct json json = {0};
    struct table table;
    table_init(&table, headings, 5);
    json_object_begin(&json, NULL);
    json_array_begin(&json, "applications");
    for (size_t i = 0; i < apps->app_count; i++) {
        const struct weir_app *app = &apps->apps[i];
        json_object_begin(&json, NULL);
        json_string(&json, "application", app->name);
        json_number(&json, "created_ms", app->created_ms);
        json_number(&json, "workers", app->workers);
        json_number(&json, "leases", app->leases);
        json_number(&json, "unowned", app->unowned);
        json_number(&json, "finished", app->finished);
        json_object_end(&json);
        table_add(&table, TABLE_PLAIN, "%s", app->name);
        table_add(&table, TABLE_PLAIN, "%u", app->workers);
        table_add(&table, TABLE_PLAIN, "%u", app->leases);
        table_add(&table, app->unowned > 0 ? TABLE_BAD : TABLE_PLAIN, "%u", app->unowned);
        table_add(&table, TABLE_PLAIN, "%u", app->finished);
    }
    json_array_end(&json);
    json_object_end(&json);
    weir_apps_free(apps);
    if (program->json) {
        table_release(&table);
        return program_print_json(program, &json);
    }
    json_release(&json);
    return program_print_table(program, &table);
}

int run_app_describe(struct program *program, const char *const *words)
{
    struct description d = {0};
    int code = describe(program, words[0], &d);
    if (code == EXIT_CODE_OK) {
        work_out_lags(program, &d);
        if (program->json) {
            code = print_json(program, &d);
        } else {
            (void)printf("application  %s\n\n", d.app.name);
            code = print_workers(program, &d);
            (void)printf("\n");
            code = code == EXIT_CODE_OK ? print_leases(program, &d) : code;
        }
    }
    description_release(&d);
    return code;
}

static int take_position(const struct program *program, struct weir_app_position *out)
{
    if (program->from == NULL) {
        return program_fail(program, WEIR_INVALID,
                            "app reset needs --from trim-horizon, latest or at-timestamp TIME");
    }
    if (strcmp(program->from, "trim-horizon") == 0) {
        out->type = WEIR_APP_TRIM_HORIZON;
    } else if (strcmp(program->from, "latest") == 0) {
        out->type = WEIR_APP_LATEST;
    } else if (strcmp(program->from, "at-timestamp") == 0) {
        out->type = WEIR_APP_AT_TIMESTAMP;
        if (text_parse_time(program->from_what, &out->timestamp_ms) != STATUS_OK) {
            return program_fail(program, WEIR_INVALID, "'%.60s' is not a time", program->from_what);
        }
    } else {
        return program_fail(program, WEIR_INVALID,
                            "--from '%.60s' is not trim-horizon, latest or at-timestamp TIME",
                            program->from);
    }
    return EXIT_CODE_OK;
}

/* The lease of one shard of --stream, or of the application's only stream. */
static int take_shard(struct program *program, const char *name, struct weir_app_request *request)
{
    uint32_t shard = 0;
    const struct weir_app_lease *lease = NULL;
    struct description d = {0};
    if (weir_shard_parse(program->shard, &shard) != WEIR_OK) {
        return program_fail(program, WEIR_INVALID,
                            "--shard is shardId-000000000003, or just 3, and not '%.60s'",
                            program->shard);
    }
    int code = describe(program, name, &d);
    for (size_t i = 0; code == EXIT_CODE_OK && i < d.lease_count; i++) {
        const struct weir_app_lease *one = &d.leases[i];
        if (one->shard != shard ||
            (program->stream != NULL && strcmp(one->stream, program->stream) != 0)) {
            continue;
        }
        if (lease != NULL) {
            code = program_fail(program, WEIR_INVALID,
                                "%s reads several streams with a shard %u: say which with --stream",
                                name, shard);
        }
        lease = one;
    }
    if (code == EXIT_CODE_OK && lease == NULL) {
        code = program_fail(program, WEIR_NOT_FOUND, "%s has no lease of shard %u%s%s", name, shard,
                            program->stream == NULL ? "" : " of ",
                            program->stream == NULL ? "" : program->stream);
    } else if (code == EXIT_CODE_OK) {
        request->has_shard = true;
        request->stream_id = lease->stream_id;
        request->shard = shard;
    }
    description_release(&d);
    return code;
}

int run_app_reset(struct program *program, const char *const *words)
{
    struct weir_error error;
    struct weir_apps *apps;
    struct weir_app_request request = {
        .action = WEIR_APP_RESET, .application = words[0], .stream = program->stream};
    int code = take_position(program, &request.position);
    if (code == EXIT_CODE_OK && program->shard != NULL) {
        code = take_shard(program, words[0], &request);
    }
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (weir_app(program->client, &request, program->timeout_ms, &apps, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    (void)printf(apps->changed == 1 ? "%u shard begins again\n" : "%u shards begin again\n",
                 apps->changed);
    weir_apps_free(apps);
    return EXIT_CODE_OK;
}

int run_app_delete(struct program *program, const char *const *words)
{
    struct weir_error error;
    struct weir_apps *apps;
    struct weir_app_request request = {
        .action = WEIR_APP_DELETE, .application = words[0], .force = program->force};
    if (weir_app(program->client, &request, program->timeout_ms, &apps, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    weir_apps_free(apps);
    return EXIT_CODE_OK;
}
