/* The commands about the controllers' set and their backups, and whether it is safe to go on with
 * the next process of a rolling upgrade. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/program.h"

enum { BACKUP_PATH_BYTES = 4096, STREAM_REPLICAS = 3 };

struct controller_word {
    uint32_t id;
    char host[WEIR_HOST_BYTES]; /* "": none was given */
    uint16_t port;
};

/* "4", "controller-4", and with an address "4=host:port". */
static bool parse_controller(const char *word, bool with_address, struct controller_word *out)
{
    static const char prefix[] = "controller-";
    const char *digits =
        strncmp(word, prefix, sizeof(prefix) - 1) == 0 ? word + sizeof(prefix) - 1 : word;
    char *end = NULL;
    unsigned long id = strtoul(digits, &end, 10);
    if (digits[0] < '1' || digits[0] > '9' || id > INT32_MAX / 10) {
        return false;
    }
    *out = (struct controller_word){.id = (uint32_t)id};
    if (!with_address) {
        return *end == '\0';
    }
    const char *colon = strrchr(end, ':');
    if (*end != '=' || colon == NULL) {
        return false;
    }
    const char *host = end + 1, *host_end = colon;
    if (host_end - host >= 2 && host[0] == '[' && host_end[-1] == ']') {
        host++;
        host_end--;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (host_end <= host || (size_t)(host_end - host) >= sizeof(out->host) || *end != '\0' ||
        colon[1] < '1' || colon[1] > '9' || port > UINT16_MAX) {
        return false;
    }
    memcpy(out->host, host, (size_t)(host_end - host));
    out->port = (uint16_t)port;
    return true;
}

static void tell(const struct program *program, uint32_t id, const char *what)
{
    if (!program->json && !program->quiet) {
        (void)fprintf(stderr, "controller-%u: %s\n", id, what);
    }
}

static enum weir_status change(struct program *program, enum weir_controller_action action,
                               const struct controller_word *who, struct weir_error *error)
{
    const struct weir_controller_change wanted = {
        .action = action,
        .id = who->id,
        .host = who->host[0] == '\0' ? NULL : who->host,
        .port = who->port,
        .force = program->force,
    };
    return weir_controller_change(program->client, &wanted, program->timeout_ms, error);
}

static int done(const struct program *program, uint32_t added, uint32_t removed)
{
    if (!program->json) {
        return EXIT_CODE_OK;
    }
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_number(&json, "added", added);
    json_number(&json, "removed", removed);
    json_object_end(&json);
    return program_print_json(program, &json);
}

static enum weir_status add(struct program *program, const struct controller_word *who,
                            struct weir_error *error)
{
    tell(program, who->id, "gets the log");
    enum weir_status status = change(program, WEIR_CONTROLLER_ADD, who, error);
    if (status == WEIR_OK) {
        status = change(program, WEIR_CONTROLLER_PROMOTE, who, error);
    }
    if (status == WEIR_OK) {
        tell(program, who->id, "votes");
    }
    return status;
}

int run_controller_add(struct program *program, const char *const *words)
{
    struct controller_word who;
    struct weir_error error;
    if (!parse_controller(words[0], true, &who)) {
        return program_fail(program, WEIR_INVALID, "a new controller is named ID=HOST:PORT");
    }
    if (add(program, &who, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    return done(program, who.id, 0);
}

int run_controller_remove(struct program *program, const char *const *words)
{
    struct controller_word who;
    struct weir_error error;
    if (!parse_controller(words[0], false, &who)) {
        return program_fail(program, WEIR_INVALID,
                            "a controller is named like controller-2, or just 2");
    }
    if (change(program, WEIR_CONTROLLER_REMOVE, &who, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    tell(program, who.id, "is none any more");
    return done(program, 0, who.id);
}

/* Added before the other goes: at no moment are there fewer than before. */
int run_controller_replace(struct program *program, const char *const *words)
{
    struct controller_word old, new;
    struct weir_error error;
    if (!parse_controller(words[0], false, &old) || !parse_controller(words[1], true, &new)) {
        return program_fail(program, WEIR_INVALID,
                            "usage: controller replace OLD NEW=HOST:PORT, for instance 2 "
                            "4=10.0.0.4:7301");
    }
    if (old.id == new.id) {
        return program_fail(program, WEIR_INVALID,
                            "the new controller needs a number of its own: the old one may come "
                            "back with what it has forgotten");
    }
    if (add(program, &new, &error) != WEIR_OK ||
        change(program, WEIR_CONTROLLER_REMOVE, &old, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    tell(program, old.id, "is none any more");
    return done(program, new.id, old.id);
}

/* ---- backup
 * ------------------------------------------------------------------------------------------- */

static bool write_piece(const void *data, size_t size, void *context)
{
    const int *fd = context;
    const char *from = data;
    while (size > 0) {
        ssize_t put = write(*fd, from, size);
        if (put < 0 && errno != EINTR) {
            return false;
        }
        from += put < 0 ? 0 : put;
        size -= put < 0 ? 0 : (size_t)put;
    }
    return true;
}

/* The file is there whole or not at all. */
static int write_backup(struct program *program, const char *path, struct weir_backup *out)
{
    char new[BACKUP_PATH_BYTES];
    struct weir_error error;
    if (snprintf(new, sizeof(new), "%s.new", path) >= (int)sizeof(new)) {
        return program_fail(program, WEIR_INVALID, "--out: the name is too long");
    }
    int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        return program_fail(program, WEIR_INVALID, "%s: %s", new, strerror(errno));
    }
    errno = 0;
    enum weir_status status = weir_controllers_backup(program->client, write_piece, &fd,
                                                      program->timeout_ms, out, &error);
    int code = EXIT_CODE_OK;
    if (status == WEIR_CANCELLED) {
        code = program_fail(program, WEIR_IO, "%s: %s", new, strerror(errno));
    } else if (status != WEIR_OK) {
        code = program_error(program, &error);
    } else if (fsync(fd) != 0 || rename(new, path) != 0) {
        code = program_fail(program, WEIR_IO, "%s: %s", path, strerror(errno));
    }
    (void)close(fd);
    if (code != EXIT_CODE_OK) {
        (void)unlink(new);
    }
    return code;
}

int run_controller_backup(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_backup backup;
    if (program->out == NULL) {
        return program_fail(program, WEIR_INVALID, "say where to: --out FILE");
    }
    int code = write_backup(program, program->out, &backup);
    if (code != EXIT_CODE_OK) {
        return code;
    }
    if (program->json) {
        struct json json = {0};
        json_object_begin(&json, NULL);
        json_string(&json, "file", program->out);
        json_number(&json, "bytes", backup.bytes);
        json_number(&json, "index", backup.index);
        json_number(&json, "time_ms", backup.time_ms);
        json_object_end(&json);
        return program_print_json(program, &json);
    }
    (void)printf("%s: %" PRIu64 " bytes, the state after change %" PRIu64 "\n", program->out,
                 backup.bytes, backup.index);
    (void)printf(
        "keep the cluster key (cluster-key-file) with it, in another place: secrets in the "
        "backup are sealed under it\n");
    return EXIT_CODE_OK;
}

/* ---- upgrade check
 * ------------------------------------------------------------------------------------ */

/* What speaks against stopping one more process now. */
struct verdict {
    struct json json;
    bool as_json;
    unsigned reasons;
};

static void against(struct verdict *v, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void against(struct verdict *v, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    v->reasons++;
    if (v->as_json) {
        json_string(&v->json, NULL, text);
    } else {
        (void)printf("not now: %s\n", text);
    }
}

static void judge_controllers(struct verdict *v, const struct weir_cluster *cluster)
{
    unsigned voters = 0, there = 0;
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_controller_status *c = &cluster->controllers[i];
        if (!c->voter) {
            against(v, "%s gets the log and does not vote yet", c->name);
            continue;
        }
        voters++;
        if (strcmp(c->state, "unreachable") == 0) {
            against(v, "%s is not reached by the active controller", c->name);
        } else {
            there++;
        }
        if (c->differs) {
            against(v, "the state of %s differs from the others': replace it", c->name);
        }
    }
    if ((there - 1) * 2 <= voters && voters > 1) {
        against(v, "with one controller less there would be no majority: %u of %u are there", there,
                voters);
    }
}

static void judge_brokers(struct verdict *v, const struct weir_cluster *cluster)
{
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct weir_broker_status *b = &cluster->brokers[i];
        if (b->replicas > 0 || b->alive) {
            if (!b->alive || !b->session) {
                against(v, "%s is not there", b->name);
            } else if (strcmp(b->disk_state, "ok") != 0) {
                against(v, "the disk of %s is %s", b->name, b->disk_state);
            }
        }
    }
    if (cluster->shards_without_leader > 0) {
        against(v, "%" PRIu64 " shards have no leader", (uint64_t)cluster->shards_without_leader);
    }
}

/* Every open shard with all its replicas, and all of them up to date. */
static enum weir_status judge_shards(struct program *program, struct verdict *v,
                                     struct weir_error *error)
{
    struct weir_stream_list *list;
    enum weir_status status = weir_stream_list(program->client, program->timeout_ms, &list, error);
    if (status != WEIR_OK) {
        return status;
    }
    uint64_t lag = 0, few = 0, unknown = 0;
    for (size_t i = 0; i < list->count && status == WEIR_OK; i++) {
        struct weir_stream *stream;
        status = weir_stream_describe(program->client, list->streams[i].name, true,
                                      program->timeout_ms, &stream, error);
        if (status == WEIR_NOT_FOUND) {
            status = WEIR_OK; /* deleted meanwhile */
            continue;
        }
        for (uint32_t s = 0; status == WEIR_OK && s < stream->shard_count; s++) {
            const struct weir_shard *shard = &stream->shards[s];
            bool all = shard->replica_count >= STREAM_REPLICAS;
            unknown += shard->leader[0] != '\0' && !shard->status_known ? 1 : 0;
            for (uint32_t r = 0; shard->status_known && r < shard->replica_count; r++) {
                lag += shard->replicas[r].in_sync ? 0 : 1;
            }
            few += !all && strcmp(shard->state, "DELETED") != 0 ? 1 : 0;
        }
        if (status == WEIR_OK) {
            weir_stream_free(stream);
        }
    }
    weir_stream_list_free(list);
    if (lag > 0) {
        against(v, "%" PRIu64 " replicas do not have all that is committed", lag);
    }
    if (few > 0) {
        against(v, "%" PRIu64 " shards have fewer than %d replicas", few, STREAM_REPLICAS);
    }
    if (unknown > 0) {
        against(v, "the leaders of %" PRIu64 " shards do not answer", unknown);
    }
    return status;
}

static enum weir_status judge_moves(struct program *program, struct verdict *v,
                                    struct weir_error *error)
{
    struct weir_moves *moves;
    enum weir_status status =
        weir_moves_status(program->client, program->timeout_ms, &moves, error);
    if (status == WEIR_OK) {
        if (moves->under_replicated > 0) {
            against(v, "%u shards lack a replica", moves->under_replicated);
        }
        weir_moves_free(moves);
    }
    return status;
}

static void process_row(struct table *table, const char *name, const char *software,
                        uint32_t protocol)
{
    table_add(table, TABLE_PLAIN, "%s", name);
    table_add(table, software[0] == '\0' ? TABLE_FAINT : TABLE_PLAIN, "%s",
              software[0] == '\0' ? "?" : software);
    if (protocol == 0) {
        table_add(table, TABLE_FAINT, "-");
    } else {
        table_add(table, TABLE_PLAIN, "%u", protocol);
    }
}

static int print_processes(const struct program *program, const struct weir_cluster *cluster)
{
    static const char *const headings[] = {"PROCESS", "SOFTWARE", ">PROTOCOL"};
    struct table table;
    table_init(&table, headings, 3);
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_controller_status *c = &cluster->controllers[i];
        process_row(&table, c->name, c->software, c->protocol);
    }
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct weir_broker_status *b = &cluster->brokers[i];
        process_row(&table, b->name, b->software, b->protocol);
    }
    return program_print_table(program, &table);
}

static void json_process(struct json *json, const char *name, const char *software,
                         uint32_t protocol)
{
    json_object_begin(json, NULL);
    json_string(json, "name", name);
    json_string(json, "software", software);
    json_number(json, "protocol", protocol);
    json_object_end(json);
}

static void json_processes(struct json *json, const struct weir_cluster *cluster)
{
    json_array_begin(json, "processes");
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_controller_status *c = &cluster->controllers[i];
        json_process(json, c->name, c->software, c->protocol);
    }
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct weir_broker_status *b = &cluster->brokers[i];
        json_process(json, b->name, b->software, b->protocol);
    }
    json_array_end(json);
}

static int check_all(struct program *program, const struct weir_cluster *cluster)
{
    struct verdict v = {.as_json = program->json};
    struct weir_error error;
    if (v.as_json) {
        json_object_begin(&v.json, NULL);
        json_processes(&v.json, cluster);
        json_array_begin(&v.json, "reasons");
    } else if (print_processes(program, cluster) != EXIT_CODE_OK) {
        return EXIT_CODE_FAILED;
    }
    judge_controllers(&v, cluster);
    judge_brokers(&v, cluster);
    if (judge_moves(program, &v, &error) != WEIR_OK ||
        judge_shards(program, &v, &error) != WEIR_OK) {
        json_release(&v.json);
        return program_error(program, &error);
    }
    int code = v.reasons == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
    if (v.as_json) {
        json_array_end(&v.json);
        json_bool(&v.json, "safe", v.reasons == 0);
        json_object_end(&v.json);
        int printed = program_print_json(program, &v.json);
        return printed == EXIT_CODE_OK ? code : printed;
    }
    if (v.reasons == 0) {
        (void)printf("safe: one process may be stopped now\n");
    }
    return code;
}

int run_upgrade_check(struct program *program, const char *const *words)
{
    (void)words;
    struct weir_cluster *cluster;
    struct weir_error error;
    if (weir_cluster_status(program->client, program->timeout_ms, &cluster, &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = check_all(program, cluster);
    weir_cluster_free(cluster);
    return code;
}
