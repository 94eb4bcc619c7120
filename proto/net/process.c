#include "proto/net/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "base/trace.h"
#include "proto/net/log_sink.h"
#include "proto/schema/common.pb-c.h"
#include "proto/schema/process.pb-c.h"

enum { FORMAT_MESSAGES_MAX = 32 };

/* ---- metrics of any process ---- */

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static void write_usage(const struct process *p, struct metrics *m)
{
    struct rusage usage;
    metrics_one(m, "process_start_time_seconds", METRIC_GAUGE, "Unix time when it began.",
                (double)p->started_ms / 1000);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        metrics_one(m, "process_cpu_seconds_total", METRIC_COUNTER, "User and system time.",
                    seconds(usage.ru_utime) + seconds(usage.ru_stime));
    }
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL) {
        /* NOLINTNEXTLINE(cert-err34-c): the kernel prints no number that is too large for it */
        if (fscanf(file, "%lu %lu", &size, &resident) == 2) {
            metrics_one(m, "process_resident_memory_bytes", METRIC_GAUGE, "Memory that it has.",
                        (double)resident * (double)sysconf(_SC_PAGESIZE));
        }
        (void)fclose(file);
    }
}

static void write_metrics(const struct process *p, struct metrics *m)
{
    char why[PROCESS_WHY_BYTES] = "";
    metrics_family(m, "weir_build_info", METRIC_GAUGE, "Which process and version this is.");
    metrics_put(m, 1, "process", p->options.name, "version", WEIR_SOFTWARE, NULL);
    metrics_one(m, "weir_ready", METRIC_GAUGE,
                "Whether it is safe to go on to the next process of a rolling update.",
                p->options.ready(p->options.context, why) ? 1 : 0);
    metrics_one(m, "weir_boot", METRIC_GAUGE, "Its boot id: rises with every start.",
                (double)p->options.boot);
    write_usage(p, m);
    net_metrics(p->options.loop, m);
    p->options.metrics(p->options.context, m);
    metrics_finish(m);
}

/* ---- pages ---- */

static void answer_page(void *data, const char *path, struct page *out)
{
    const struct process *p = data;
    char why[PROCESS_WHY_BYTES] = "";
    if (strcmp(path, "/metrics") == 0) {
        struct metrics m = {0};
        write_metrics(p, &m);
        out->status = m.failed ? 500 : 200;
        out->type = "text/plain; version=0.0.4; charset=utf-8";
        if (m.failed) {
            metrics_release(&m);
        } else {
            out->body = m.out;
        }
    } else if (strcmp(path, "/healthz") == 0) {
        out->status = 200; /* the loop turns: it has just answered */
    } else if (strcmp(path, "/readyz") == 0) {
        out->status = p->options.ready(p->options.context, why) ? 200 : 503;
        if (out->status != 200 && (buf_append(&out->body, why, strlen(why)) != STATUS_OK ||
                                   buf_append(&out->body, "\n", 1) != STATUS_OK)) {
            buf_release(&out->body); /* the status says it */
        }
    }
}

/* ---- calls ---- */

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c has no const; it is only packed */
}

static void reply(struct session_call *call, const ProtobufCMessage *body, struct bytes attachment)
{
    session_reply(call,
                  (struct session_payload){.body = body, .pieces = &attachment, .piece_count = 1});
}

static void set_level(const struct process *p, struct session_call *call)
{
    Weir__SetLogLevel *request =
        weir__set_log_level__unpack(NULL, call->body.size, call->body.data);
    if (request == NULL) {
        session_reply_error(call, STATUS_INVALID, NULL, "LOG_LEVEL: the message cannot be decoded");
        return;
    }
    const char *before = trace_level_name(trace_get_level());
    if (log_level_set(request->level) != STATUS_OK) {
        session_reply_error(call, STATUS_INVALID, NULL,
                            "'%.20s' is not error, warning, info or debug", request->level);
    } else {
        Weir__LogLevel answer;
        weir__log_level__init(&answer);
        answer.before = text_of(before);
        trace(TRACE_WARNING, "process", "%s: %s sets the log level from %s to %s", p->options.name,
              call->caller.name, before, request->level);
        session_reply(call, (struct session_payload){.body = &answer.base});
    }
    weir__set_log_level__free_unpacked(request, NULL);
}

/* What of the table in base/formats.h is this process's. */
struct format_messages {
    Weir__FormatVersion message[FORMAT_MESSAGES_MAX], *list[FORMAT_MESSAGES_MAX];
};

static void fill_formats(const struct process *p, struct format_messages *all,
                         Weir__ProcessState *out)
{
    CHECK(format_count <= FORMAT_MESSAGES_MAX);
    for (size_t i = 0; i < format_count; i++) {
        if ((formats[i].who & (unsigned)p->options.role) != 0) {
            Weir__FormatVersion *message = &all->message[out->n_formats];
            weir__format_version__init(message);
            message->name = text_of(formats[i].name);
            message->version = formats[i].version;
            message->oldest = formats[i].oldest;
            all->list[out->n_formats++] = message;
        }
    }
    out->formats = all->list;
}

static void tell_metrics(const struct process *p, struct session_call *call)
{
    char why[PROCESS_WHY_BYTES] = "";
    struct metrics m = {0};
    struct format_messages all;
    Weir__ProcessState state;
    weir__process_state__init(&state);
    state.name = text_of(p->options.name);
    state.software = text_of(WEIR_SOFTWARE);
    state.boot = p->options.boot;
    state.ready = p->options.ready(p->options.context, why);
    state.why = why;
    fill_formats(p, &all, &state);
    write_metrics(p, &m);
    if (m.failed) {
        session_reply_error(call, STATUS_NO_MEMORY, NULL, "%s is out of memory", p->options.name);
    } else {
        reply(call, &state.base, buf_bytes(&m.out));
    }
    metrics_release(&m);
}

static void tell_log(const struct process *p, struct session_call *call)
{
    struct buf log = {0}, config = {0};
    enum status status = p->options.spec == NULL
                             ? STATUS_OK
                             : config_write(p->options.spec, p->options.config, &config);
    status = status == STATUS_OK ? buf_append(&config, "", 1) : status;
    status = status == STATUS_OK ? log_recent(&log) : status;
    if (status != STATUS_OK) {
        session_reply_error(call, status, NULL, "%s is out of memory", p->options.name);
    } else {
        Weir__ProcessConfig answer;
        weir__process_config__init(&answer);
        answer.name = text_of(p->options.name);
        answer.software = text_of(WEIR_SOFTWARE);
        answer.config = (char *)config.data;
        reply(call, &answer.base, buf_bytes(&log));
    }
    buf_release(&log);
    buf_release(&config);
}

bool process_called(struct process *p, struct session_call *call)
{
    if (call->method == RPC_LOG_LEVEL) {
        set_level(p, call);
    } else if (call->method == RPC_PROCESS_METRICS) {
        tell_metrics(p, call);
    } else if (call->method == RPC_PROCESS_LOG) {
        tell_log(p, call);
    } else {
        return false;
    }
    return true;
}

/* ---- life ---- */

enum status process_open(struct process *p, const struct process_options *options,
                         const char *address, struct error *error)
{
    p->options = *options;
    p->started_ms = net_wall_ms();
    if (address[0] == '\0') {
        return STATUS_OK;
    }
    const struct pages_options pages = {.loop = options->loop, .answer = answer_page, .data = p};
    struct error why;
    enum status status = pages_open(&pages, address, &p->pages, &why);
    return status == STATUS_OK ? status : error_set(error, status, "metrics-listen: %s", why.text);
}

void process_close(struct process *p)
{
    pages_close(p->pages);
    p->pages = NULL;
}
