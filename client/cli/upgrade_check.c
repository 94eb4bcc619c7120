/* Whether it is safe to go on with the next process of a rolling restart or upgrade. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli/processes.h"
#include "client/cli/upgrade.h"

enum { STREAM_REPLICAS = 3, ANSWER_MS = 5000, WARNINGS_MAX = 64 };

/* What speaks against stopping one more process now. */
struct verdict {
    struct json json;
    bool as_json;
    unsigned reasons, warnings;
    char *warning[WARNINGS_MAX];
    char next[WEIR_NODE_NAME_BYTES]; /* "": all run the same */
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

/* Processes that answer as the ones that the cluster's status has; each also says itself whether
 * one may go on. */
static void judge_processes(struct verdict *v, const struct processes *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct weir_process_answer *answer = &p->answers[i];
        if (answer->error.status != WEIR_OK) {
            against(v, "%s does not answer: %s", p->asks[i].name, answer->error.text);
        } else if (!answer->ready) {
            against(v, "%s is not ready: %s", p->asks[i].name, answer->why);
        }
    }
}

static void said(void *to, enum upgrade_word word, const char *text)
{
    struct verdict *v = to;
    switch (word) {
    case UPGRADE_AGAINST:
        against(v, "%s", text);
        break;
    case UPGRADE_NEXT:
        (void)snprintf(v->next, sizeof(v->next), "%s", text);
        break;
    case UPGRADE_CAREFUL:
        if (v->warnings < WARNINGS_MAX && (v->warning[v->warnings] = strdup(text)) != NULL) {
            v->warnings++;
        }
        break;
    }
}

static enum weir_status judge_releases(struct verdict *v, const struct processes *p,
                                       struct weir_error *error)
{
    const struct weir_cluster *cluster = p->cluster;
    struct upgrade_process *all = calloc(p->count + 1, sizeof(*all));
    if (all == NULL) {
        *error = (struct weir_error){.status = WEIR_NO_MEMORY};
        return WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < p->count; i++) {
        const struct weir_process_answer *answer = &p->answers[i];
        bool controls = i < cluster->controller_count;
        const char *told = controls ? cluster->controllers[i].software
                                    : cluster->brokers[i - cluster->controller_count].software;
        all[i] = (struct upgrade_process){
            .name = p->asks[i].name,
            .software = answer->error.status == WEIR_OK ? answer->software : told,
            .is_controller = controls,
            .is_active = controls && strcmp(cluster->controllers[i].state, "active") == 0,
            .formats = answer->formats,
            .format_count = answer->format_count,
        };
    }
    upgrade_judge(all, p->count, said, v);
    free(all);
    return WEIR_OK;
}

/* ---- what runs where ---- */

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

static const struct weir_format *same_format(const struct weir_process_answer *answer,
                                             const struct weir_format *as)
{
    for (size_t i = 0; i < answer->format_count; i++) {
        const struct weir_format *f = &answer->formats[i];
        if (strcmp(f->name, as->name) == 0 && f->version == as->version &&
            f->oldest == as->oldest) {
            return f;
        }
    }
    return NULL;
}

/* One row for all processes that agree. */
static void format_row(struct table *table, const struct processes *p, size_t first,
                       const struct weir_format *format)
{
    char who[TABLE_CELL_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (same_format(&p->answers[i], format) == NULL) {
            continue;
        }
        if (i < first) {
            return; /* it has its row */
        }
        int size =
            snprintf(who + used, sizeof(who) - used, "%s%s", used == 0 ? "" : " ", p->asks[i].name);
        if (size < 0 || (size_t)size >= sizeof(who) - used) {
            break; /* the row tells that there are many */
        }
        used += (size_t)size;
    }
    table_add(table, TABLE_PLAIN, "%s", format->name);
    table_add(table, TABLE_PLAIN, "%u", format->version);
    if (format->oldest == format->version) {
        table_add(table, TABLE_PLAIN, "%u", format->version);
    } else {
        table_add(table, TABLE_PLAIN, "%u-%u", format->oldest, format->version);
    }
    table_add(table, TABLE_PLAIN, "%s", who);
}

static int print_formats(const struct program *program, const struct processes *p)
{
    static const char *const headings[] = {"FORMAT", ">WRITES", ">READS", "PROCESSES"};
    struct table table;
    table_init(&table, headings, 4);
    for (size_t i = 0; i < p->count; i++) {
        for (size_t k = 0; k < p->answers[i].format_count; k++) {
            format_row(&table, p, i, &p->answers[i].formats[k]);
        }
    }
    return program_print_table(program, &table);
}

static void json_process(struct json *json, const char *name, const char *software,
                         uint32_t protocol, const struct weir_process_answer *answer)
{
    json_object_begin(json, NULL);
    json_string(json, "name", name);
    json_string(json, "software", software);
    json_number(json, "protocol", protocol);
    json_array_begin(json, "formats");
    for (size_t i = 0; answer != NULL && i < answer->format_count; i++) {
        json_object_begin(json, NULL);
        json_string(json, "name", answer->formats[i].name);
        json_number(json, "writes", answer->formats[i].version);
        json_number(json, "oldest", answer->formats[i].oldest);
        json_object_end(json);
    }
    json_array_end(json);
    json_object_end(json);
}

static void json_processes(struct json *json, const struct processes *p)
{
    const struct weir_cluster *cluster = p->cluster;
    json_array_begin(json, "processes");
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_controller_status *c = &cluster->controllers[i];
        json_process(json, c->name, c->software, c->protocol, processes_answer(p, c->name));
    }
    for (size_t i = 0; i < cluster->broker_count; i++) {
        const struct weir_broker_status *b = &cluster->brokers[i];
        json_process(json, b->name, b->software, b->protocol, processes_answer(p, b->name));
    }
    json_array_end(json);
}

/* ---- the verdict ---- */

static enum weir_status judge_all(struct program *program, struct verdict *v,
                                  const struct processes *p, struct weir_error *error)
{
    judge_controllers(v, p->cluster);
    judge_brokers(v, p->cluster);
    judge_processes(v, p);
    enum weir_status status = judge_releases(v, p, error);
    status = status == WEIR_OK ? judge_moves(program, v, error) : status;
    return status == WEIR_OK ? judge_shards(program, v, error) : status;
}

static int print_json(struct program *program, struct verdict *v)
{
    json_array_end(&v->json);
    json_array_begin(&v->json, "warnings");
    for (unsigned i = 0; i < v->warnings; i++) {
        json_string(&v->json, NULL, v->warning[i]);
    }
    json_array_end(&v->json);
    if (v->next[0] != '\0') {
        json_string(&v->json, "next", v->next);
    }
    json_bool(&v->json, "safe", v->reasons == 0);
    json_object_end(&v->json);
    return program_print_json(program, &v->json);
}

static void print_verdict(const struct verdict *v)
{
    for (unsigned i = 0; i < v->warnings; i++) {
        (void)printf("careful: %s\n", v->warning[i]);
    }
    if (v->reasons == 0 && v->next[0] != '\0') {
        (void)printf("safe: one process may be stopped now; the next to upgrade is %s\n", v->next);
    } else if (v->reasons == 0) {
        (void)printf("safe: one process may be stopped now\n");
    }
}

static int check_all(struct program *program, struct verdict *v, const struct processes *p)
{
    struct weir_error error;
    if (v->as_json) {
        json_object_begin(&v->json, NULL);
        json_processes(&v->json, p);
        json_array_begin(&v->json, "reasons");
    } else if (print_processes(program, p->cluster) != EXIT_CODE_OK ||
               print_formats(program, p) != EXIT_CODE_OK) {
        return EXIT_CODE_FAILED;
    }
    if (judge_all(program, v, p, &error) != WEIR_OK) {
        json_release(&v->json);
        return program_error(program, &error);
    }
    int code = v->reasons == 0 ? EXIT_CODE_OK : EXIT_CODE_FAILED;
    if (v->as_json) {
        int printed = print_json(program, v);
        return printed == EXIT_CODE_OK ? code : printed;
    }
    print_verdict(v);
    return code;
}

int run_upgrade_check(struct program *program, const char *const *words)
{
    (void)words;
    struct processes processes;
    struct weir_error error;
    uint32_t each_ms = program->timeout_ms < ANSWER_MS ? program->timeout_ms : ANSWER_MS;
    if (processes_ask(program, WEIR_PROCESS_METRICS, NULL, NULL, each_ms, &processes, &error) !=
        WEIR_OK) {
        return program_error(program, &error);
    }
    struct verdict v = {.as_json = program->json};
    int code = check_all(program, &v, &processes);
    for (unsigned i = 0; i < v.warnings; i++) {
        free(v.warning[i]);
    }
    processes_release(&processes);
    return code;
}
