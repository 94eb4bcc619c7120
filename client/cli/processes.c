/* Asking processes about themselves: log-level, metrics. */
#include "client/cli/processes.h"

#include <stdlib.h>
#include <string.h>

enum { PROCESS_TIMEOUT_MS = 5000 };

static void add(struct processes *p, const char *name, const char *host, uint16_t port,
                const char *node)
{
    if (node != NULL && strcmp(node, "all") != 0 && strcmp(node, name) != 0) {
        return;
    }
    struct weir_process_ask *ask = &p->asks[p->count++];
    (void)snprintf(ask->name, sizeof(ask->name), "%s", name);
    (void)snprintf(ask->host, sizeof(ask->host), "%s", host);
    ask->port = port;
}

enum weir_status processes_ask(struct program *program, enum weir_process_question question,
                               const char *node, const char *level, uint32_t timeout_ms,
                               struct processes *out, struct weir_error *error)
{
    struct processes p = {0};
    enum weir_status status =
        weir_cluster_status(program->client, program->timeout_ms, &p.cluster, error);
    if (status != WEIR_OK) {
        return status;
    }
    size_t most = p.cluster->controller_count + p.cluster->broker_count;
    p.asks = calloc(most + 1, sizeof(*p.asks));
    p.answers = calloc(most + 1, sizeof(*p.answers));
    if (p.asks == NULL || p.answers == NULL) {
        processes_release(&p);
        error->text[0] = '\0';
        return error->status = WEIR_NO_MEMORY;
    }
    for (size_t i = 0; i < p.cluster->controller_count; i++) {
        const struct weir_controller_status *one = &p.cluster->controllers[i];
        add(&p, one->name, one->host, one->port, node);
    }
    for (size_t i = 0; i < p.cluster->broker_count; i++) {
        const struct weir_broker_status *one = &p.cluster->brokers[i];
        add(&p, one->name, one->host, one->port, node);
    }
    for (size_t i = 0; i < p.count; i++) {
        p.asks[i].question = question;
        (void)snprintf(p.asks[i].level, sizeof(p.asks[i].level), "%s", level == NULL ? "" : level);
    }
    if (p.count == 0) {
        (void)snprintf(error->text, sizeof(error->text),
                       "there is no process '%.60s': they are named like broker-3, controller-1",
                       node == NULL ? "" : node);
        status = error->status = WEIR_NOT_FOUND;
    } else {
        status = weir_processes_ask(program->client, p.asks, p.count, timeout_ms, p.answers, error);
    }
    if (status != WEIR_OK) {
        processes_release(&p);
        return status;
    }
    *out = p;
    return WEIR_OK;
}

void processes_release(struct processes *p)
{
    if (p->answers != NULL) {
        weir_process_answers_release(p->answers, p->count);
    }
    weir_cluster_free(p->cluster);
    free(p->asks);
    free(p->answers);
    *p = (struct processes){0};
}

const struct weir_process_answer *processes_answer(const struct processes *p, const char *name)
{
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->asks[i].name, name) == 0) {
            return p->answers[i].error.status == WEIR_OK ? &p->answers[i] : NULL;
        }
    }
    return NULL;
}

static bool is_level(const char *word)
{
    static const char *const levels[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(word, levels[i]) == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t patience(const struct program *program)
{
    return program->timeout_ms < PROCESS_TIMEOUT_MS ? program->timeout_ms : PROCESS_TIMEOUT_MS;
}

int run_log_level(struct program *program, const char *const *words)
{
    struct weir_error error = {0};
    struct processes p;
    int code = EXIT_CODE_OK;
    if (!is_level(words[1])) {
        return program_fail(program, WEIR_INVALID, "'%s' is not error, warning, info or debug",
                            words[1]);
    }
    if (processes_ask(program, WEIR_PROCESS_LOG_LEVEL, words[0], words[1], patience(program), &p,
                      &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    struct json json = {0};
    json_array_begin(&json, NULL);
    for (size_t i = 0; i < p.count; i++) {
        const struct weir_process_answer *answer = &p.answers[i];
        if (answer->error.status != WEIR_OK) {
            code = program_error(program, &answer->error);
        } else if (program->json) {
            json_object_begin(&json, NULL);
            json_string(&json, "name", p.asks[i].name);
            json_string(&json, "before", answer->before);
            json_string(&json, "now", words[1]);
            json_object_end(&json);
        } else {
            (void)printf("%s logs at %s; before: %s\n", p.asks[i].name, words[1], answer->before);
        }
    }
    json_array_end(&json);
    processes_release(&p);
    if (!program->json) {
        json_release(&json);
        return code;
    }
    int printed = program_print_json(program, &json);
    return printed == EXIT_CODE_OK ? code : printed;
}

int run_metrics(struct program *program, const char *const *words)
{
    struct weir_error error = {0};
    struct processes p;
    if (processes_ask(program, WEIR_PROCESS_METRICS, words[0], NULL, patience(program), &p,
                      &error) != WEIR_OK) {
        return program_error(program, &error);
    }
    int code = EXIT_CODE_OK;
    for (size_t i = 0; i < p.count; i++) {
        if (p.answers[i].error.status != WEIR_OK) {
            code = program_error(program, &p.answers[i].error);
        } else {
            (void)fwrite(p.answers[i].text, 1, p.answers[i].text_bytes, stdout);
        }
    }
    processes_release(&p);
    return code;
}
