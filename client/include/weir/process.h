/* What one process says of itself: its metrics, its log and configuration; and how much it logs.
 *
 * Each process is asked over a connection of its own, all of them at once, without the controllers:
 * addresses come from weir_cluster_status(). Metrics are for administrators and users, the rest is
 * for administrators. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum weir_process_question {
    WEIR_PROCESS_METRICS,   /* .ready, .why, and .text: metrics as Prometheus reads them */
    WEIR_PROCESS_LOG,       /* .config, a line "key = value" each, and .text: the newest lines */
    WEIR_PROCESS_LOG_LEVEL, /* from now on it logs at .level; .before is what it did */
};

struct weir_process_ask {
    enum weir_process_question question;
    char name[WEIR_NODE_NAME_BYTES]; /* "broker-3", "controller-1" */
    char host[WEIR_HOST_BYTES];
    uint16_t port;
    char level[16]; /* error, warning, info, debug */
};

/* A version of something that a process writes, on the wire or on its disk ("journal"), and the
 * oldest one that it reads. */
struct weir_format {
    char name[24];
    uint32_t version, oldest;
};
#define WEIR_FORMATS_MAX 32

struct weir_process_answer {
    struct weir_error error; /* status WEIR_OK: the rest is valid */
    bool ready;
    char why[200]; /* not ready: a sentence */
    char software[64], before[16];
    struct weir_format formats[WEIR_FORMATS_MAX]; /* 0: it is too old to tell */
    size_t format_count;
    char *config; /* with a zero at the end; never has a secret. Or NULL */
    char *text;   /* with a zero behind `text_bytes`. Or NULL */
    size_t text_bytes;
};

/* Asks `count` processes and waits for all; `answers` has room for as many. OK though some, or all,
 * did not answer: each answer has its own error. INVALID (a name), NO_MEMORY, and when the caller
 * may not wait: nothing is filled in. */
WEIR_NODISCARD enum weir_status weir_processes_ask(struct weir_client *client,
                                                   const struct weir_process_ask *asks,
                                                   size_t count, uint32_t timeout_ms,
                                                   struct weir_process_answer *answers,
                                                   struct weir_error *error);
/* Frees what the answers point to. */
void weir_process_answers_release(struct weir_process_answer *answers, size_t count);

#ifdef __cplusplus
}
#endif
