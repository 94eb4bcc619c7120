/* weirctl top: what the cluster does right now. Plain ANSI sequences: nothing here needs more than
 * to clear, to colour, and to know the size of the terminal. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/processes.h"
#include "client/cli/prom.h"
#include "client/cli/text.h"

enum {
    DEFAULT_INTERVAL_MS = 2000,
    ANSWER_MS = 1000,
    STREAMS_MAX = 200,
    LINE_MAX_BYTES = 512,
    COLUMNS_DEFAULT = 80,
    ROWS_DEFAULT = 24,
};

/* ---- what is measured ---- */

struct broker_view {
    char name[WEIR_NODE_NAME_BYTES], zone[WEIR_ZONE_BYTES];
    bool up, known, ready; /* known: it answered */
    char why[200];
    uint32_t leaders, replicas, lacking;
    double in_bytes, in_records, out_bytes, out_records; /* sums */
    double commits, commit_s;
    double lag;
    uint64_t free_bytes;
};

struct stream_view {
    char name[PROM_LABEL_BYTES];
    double in_bytes, in_records, out_bytes, out_records;
};

struct view {
    struct processes processes;
    uint64_t at_ms;
    size_t broker_count, stream_count;
    struct broker_view *brokers;
    struct stream_view streams[STREAMS_MAX];
    uint32_t lacking;
};

static uint64_t now_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* NULL: there are too many. */
static struct stream_view *stream_of(struct view *view, const char *name)
{
    for (size_t i = 0; i < view->stream_count; i++) {
        if (strcmp(view->streams[i].name, name) == 0) {
            return &view->streams[i];
        }
    }
    if (view->stream_count == STREAMS_MAX) {
        return NULL;
    }
    struct stream_view *stream = &view->streams[view->stream_count++];
    *stream = (struct stream_view){0};
    (void)snprintf(stream->name, sizeof(stream->name), "%s", name);
    return stream;
}

static void take_streams(struct view *view, const char *text)
{
    static const char *const names[] = {
        "kinesis_incoming_bytes_total", "kinesis_incoming_records_total",
        "kinesis_outgoing_bytes_total", "kinesis_outgoing_records_total"};
    for (size_t i = 0; i < 4; i++) {
        const char *at = text;
        char name[PROM_LABEL_BYTES];
        double value = 0;
        while (prom_next(&at, names[i], "stream", name, &value)) {
            struct stream_view *stream = stream_of(view, name);
            if (stream != NULL) {
                double *const fields[] = {&stream->in_bytes, &stream->in_records,
                                          &stream->out_bytes, &stream->out_records};
                *fields[i] += value;
            }
        }
    }
}

static void take_broker(struct view *view, const struct weir_broker_status *status,
                        struct broker_view *out)
{
    (void)snprintf(out->name, sizeof(out->name), "%s", status->name);
    (void)snprintf(out->zone, sizeof(out->zone), "%s", status->zone);
    out->up = status->alive && status->session;
    out->leaders = status->leaders;
    out->replicas = status->replicas;
    out->free_bytes = status->disk_free_bytes;
    const struct weir_process_answer *answer = processes_answer(&view->processes, status->name);
    if (answer == NULL) {
        (void)snprintf(out->why, sizeof(out->why), "it does not answer");
        return;
    }
    const char *text = answer->text;
    out->known = true;
    out->ready = answer->ready;
    (void)snprintf(out->why, sizeof(out->why), "%s", answer->why);
    out->in_bytes = prom_sum(text, "weir_in_bytes_total");
    out->in_records = prom_sum(text, "weir_in_records_total");
    out->out_bytes = prom_sum(text, "weir_out_bytes_total");
    out->out_records = prom_sum(text, "weir_out_records_total");
    out->commits = prom_sum(text, "weir_commit_seconds_count");
    out->commit_s = prom_sum(text, "weir_commit_seconds_sum");
    out->lag = prom_max(text, "weir_third_copy_lag_records");
    out->lacking = (uint32_t)prom_sum(text, "weir_under_replicated_shards");
    view->lacking += out->lacking;
    take_streams(view, text);
}

static void view_free(struct view *view)
{
    if (view != NULL) {
        processes_release(&view->processes);
        free(view->brokers);
        free(view);
    }
}

/* NULL: *error says why. */
static struct view *view_take(struct program *program, struct weir_error *error)
{
    struct view *view = calloc(1, sizeof(*view));
    *error = (struct weir_error){.status = WEIR_NO_MEMORY};
    if (view == NULL || processes_ask(program, WEIR_PROCESS_METRICS, NULL, NULL, ANSWER_MS,
                                      &view->processes, error) != WEIR_OK) {
        free(view);
        return NULL;
    }
    view->at_ms = now_ms();
    view->broker_count = view->processes.cluster->broker_count;
    view->brokers = calloc(view->broker_count + 1, sizeof(*view->brokers));
    if (view->brokers == NULL) {
        view_free(view);
        *error = (struct weir_error){.status = WEIR_NO_MEMORY};
        return NULL;
    }
    for (size_t i = 0; i < view->broker_count; i++) {
        take_broker(view, &view->processes.cluster->brokers[i], &view->brokers[i]);
    }
    return view;
}

/* ---- rates ---- */

/* What the process lost by starting again does not count. */
static double rate(double now, double before, uint64_t ms)
{
    return ms == 0 || now < before ? 0 : (now - before) * 1000 / (double)ms;
}

static const struct broker_view *broker_before(const struct view *before, const char *name)
{
    for (size_t i = 0; i < before->broker_count; i++) {
        if (strcmp(before->brokers[i].name, name) == 0 && before->brokers[i].known) {
            return &before->brokers[i];
        }
    }
    return NULL;
}

/* Turns sums into rates; what has no sum before has none. */
static void broker_rates(const struct view *view, const struct view *before,
                         struct broker_view *broker)
{
    const struct broker_view *old = broker_before(before, broker->name);
    uint64_t ms = old == NULL || !broker->known ? 0 : view->at_ms - before->at_ms;
    const struct broker_view none = {0};
    old = old == NULL ? &none : old;
    broker->in_bytes = rate(broker->in_bytes, old->in_bytes, ms);
    broker->in_records = rate(broker->in_records, old->in_records, ms);
    broker->out_bytes = rate(broker->out_bytes, old->out_bytes, ms);
    broker->out_records = rate(broker->out_records, old->out_records, ms);
    double commits = rate(broker->commits, old->commits, ms);
    broker->commit_s = commits > 0 ? rate(broker->commit_s, old->commit_s, ms) / commits : 0;
}

static int by_bytes(const void *left, const void *right)
{
    const struct stream_view *a = left, *b = right;
    double x = a->in_bytes + a->out_bytes, y = b->in_bytes + b->out_bytes;
    return x < y ? 1 : x > y ? -1 : strcmp(a->name, b->name);
}

static void stream_rates(struct view *view, const struct view *before)
{
    for (size_t i = 0; i < view->stream_count; i++) {
        struct stream_view *stream = &view->streams[i];
        const struct stream_view *old = NULL;
        for (size_t j = 0; old == NULL && j < before->stream_count; j++) {
            old = strcmp(before->streams[j].name, stream->name) == 0 ? &before->streams[j] : NULL;
        }
        uint64_t ms = view->at_ms - before->at_ms; /* a stream that is new began at 0 */
        const struct stream_view none = {0};
        old = old == NULL ? &none : old;
        stream->in_bytes = rate(stream->in_bytes, old->in_bytes, ms);
        stream->in_records = rate(stream->in_records, old->in_records, ms);
        stream->out_bytes = rate(stream->out_bytes, old->out_bytes, ms);
        stream->out_records = rate(stream->out_records, old->out_records, ms);
    }
}

/* A copy of `view` with rates, its streams busiest first; NULL: out of memory. It borrows the
 * cluster from `view`: free() its brokers and it. */
static struct view *view_rates(const struct view *view, const struct view *before)
{
    struct view *rates = malloc(sizeof(*rates));
    struct broker_view *brokers = calloc(view->broker_count + 1, sizeof(*brokers));
    if (rates == NULL || brokers == NULL) {
        free(rates);
        free(brokers);
        return NULL;
    }
    *rates = *view;
    memcpy(brokers, view->brokers, view->broker_count * sizeof(*brokers));
    rates->brokers = brokers;
    for (size_t i = 0; i < rates->broker_count; i++) {
        broker_rates(view, before, &rates->brokers[i]);
    }
    stream_rates(rates, before);
    qsort(rates->streams, rates->stream_count, sizeof(rates->streams[0]), by_bytes);
    return rates;
}

/* ---- for programs ---- */

static void put_rates(struct json *json, double in_bytes, double in_records, double out_bytes,
                      double out_records)
{
    json_number(json, "in_bytes_per_s", (uint64_t)in_bytes);
    json_number(json, "in_records_per_s", (uint64_t)in_records);
    json_number(json, "out_bytes_per_s", (uint64_t)out_bytes);
    json_number(json, "out_records_per_s", (uint64_t)out_records);
}

static int print_json(const struct program *program, const struct view *view)
{
    const struct weir_cluster *cluster = view->processes.cluster;
    struct json json = {0};
    json_object_begin(&json, NULL);
    json_string(&json, "cluster", cluster->id);
    json_number(&json, "version", cluster->version);
    json_number(&json, "active_controller", cluster->active_controller);
    json_number(&json, "shards", cluster->shards);
    json_number(&json, "shards_without_leader", cluster->shards_without_leader);
    json_number(&json, "under_replicated_shards", view->lacking);
    json_array_begin(&json, "controllers");
    for (size_t i = 0; i < cluster->controller_count; i++) {
        const struct weir_process_answer *answer =
            processes_answer(&view->processes, cluster->controllers[i].name);
        json_object_begin(&json, NULL);
        json_string(&json, "name", cluster->controllers[i].name);
        json_string(&json, "state", cluster->controllers[i].state);
        json_bool(&json, "ready", answer != NULL && answer->ready);
        json_string(&json, "why", answer == NULL ? "it does not answer" : answer->why);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_array_begin(&json, "brokers");
    for (size_t i = 0; i < view->broker_count; i++) {
        const struct broker_view *b = &view->brokers[i];
        json_object_begin(&json, NULL);
        json_string(&json, "name", b->name);
        json_string(&json, "zone", b->zone);
        json_bool(&json, "up", b->up);
        json_bool(&json, "ready", b->ready);
        json_string(&json, "why", b->why);
        json_number(&json, "leaders", b->leaders);
        json_number(&json, "replicas", b->replicas);
        put_rates(&json, b->in_bytes, b->in_records, b->out_bytes, b->out_records);
        json_number(&json, "commit_us", (uint64_t)(b->commit_s * 1e6));
        json_number(&json, "third_copy_lag_records", (uint64_t)b->lag);
        json_number(&json, "under_replicated_shards", b->lacking);
        json_number(&json, "disk_free_bytes", b->free_bytes);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_array_begin(&json, "streams");
    for (size_t i = 0; i < view->stream_count; i++) {
        const struct stream_view *s = &view->streams[i];
        json_object_begin(&json, NULL);
        json_string(&json, "name", s->name);
        put_rates(&json, s->in_bytes, s->in_records, s->out_bytes, s->out_records);
        json_object_end(&json);
    }
    json_array_end(&json);
    json_object_end(&json);
    return program_print_json(program, &json);
}

/* ---- for people ---- */

struct screen {
    bool terminal; /* else nothing is cut, and nothing cleared */
    int columns, rows, used;
};

static void line(struct screen *screen, const char *colour, const char *text)
{
    if (screen->terminal && screen->used >= screen->rows - 1) {
        return;
    }
    screen->used++;
    bool coloured = screen->terminal && colour[0] != '\0' && getenv("NO_COLOR") == NULL;
    int most = screen->terminal ? screen->columns : (int)strlen(text);
    (void)printf("%s%.*s%s%s\n", coloured ? colour : "", most, text, coloured ? "\033[0m" : "",
                 screen->terminal ? "\033[K" : "");
}

static const char red[] = "\033[31m", faint[] = "\033[2m", bold[] = "\033[1m";

static void print_head(struct screen *screen, const struct view *view)
{
    const struct weir_cluster *cluster = view->processes.cluster;
    char text[LINE_MAX_BYTES];
    (void)snprintf(
        text, sizeof(text), "%u streams, %u shards; without leader: %u, under-replicated: %u",
        cluster->streams, cluster->shards, cluster->shards_without_leader, view->lacking);
    line(screen, cluster->shards_without_leader + view->lacking > 0 ? red : bold, text);
    int size = 0;
    for (size_t i = 0; i < cluster->controller_count && size < (int)sizeof(text); i++) {
        size +=
            snprintf(text + size, sizeof(text) - (size_t)size, "%scontroller-%u %s",
                     i == 0 ? "" : ", ", cluster->controllers[i].id, cluster->controllers[i].state);
    }
    line(screen, "", text);
    line(screen, "", "");
}

static void print_brokers(struct screen *screen, const struct view *view)
{
    char text[LINE_MAX_BYTES], in[TEXT_SIZE_BYTES], out[TEXT_SIZE_BYTES];
    (void)snprintf(text, sizeof(text), "%-10s %-5s %-6s %5s %5s %10s %7s %10s %7s %6s", "BROKER",
                   "ZONE", "STATE", "LEADS", "HOLDS", "IN/s", "RECORDS", "OUT/s", "COMMIT", "LAG");
    line(screen, faint, text);
    for (size_t i = 0; i < view->broker_count; i++) {
        const struct broker_view *b = &view->brokers[i];
        const char *state = !b->up ? "down" : !b->known ? "silent" : b->ready ? "ready" : "up";
        text_size((uint64_t)b->in_bytes, in);
        text_size((uint64_t)b->out_bytes, out);
        (void)snprintf(text, sizeof(text),
                       "%-10.10s %-5.5s %-6s %5u %5u %10s %7.0f %10s %5.1fms %6.0f", b->name,
                       b->zone, state, b->leaders, b->replicas, in, b->in_records, out,
                       b->commit_s * 1000, b->lag);
        line(screen, !b->up || !b->known ? red : "", text);
    }
    for (size_t i = 0; i < view->broker_count; i++) {
        if (!view->brokers[i].ready) {
            (void)snprintf(text, sizeof(text), "%s is not ready: %s", view->brokers[i].name,
                           view->brokers[i].why);
            line(screen, red, text);
        }
    }
    line(screen, "", "");
}

static void print_streams(struct screen *screen, const struct view *view)
{
    char text[LINE_MAX_BYTES], in[TEXT_SIZE_BYTES], out[TEXT_SIZE_BYTES];
    (void)snprintf(text, sizeof(text), "%-32s %10s %10s %10s %10s", "STREAM", "IN/s", "RECORDS/s",
                   "OUT/s", "RECORDS/s");
    line(screen, faint, text);
    for (size_t i = 0; i < view->stream_count; i++) {
        const struct stream_view *s = &view->streams[i];
        text_size((uint64_t)s->in_bytes, in);
        text_size((uint64_t)s->out_bytes, out);
        (void)snprintf(text, sizeof(text), "%-32.32s %10s %10.0f %10s %10.0f", s->name, in,
                       s->in_records, out, s->out_records);
        line(screen, "", text);
    }
}

static void print_view(struct screen *screen, const struct view *view)
{
    screen->used = 0;
    print_head(screen, view);
    print_brokers(screen, view);
    print_streams(screen, view);
    if (screen->terminal) {
        (void)printf("\033[J");
    }
    (void)fflush(stdout);
}

/* ---- the terminal ---- */

static volatile sig_atomic_t ended, resized;
static struct termios saved;

static void on_signal(int number)
{
    if (number == SIGWINCH) {
        resized = 1;
    } else {
        ended = 1;
    }
}

static void measure(struct screen *screen)
{
    struct winsize size = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    screen->columns = known ? size.ws_col : COLUMNS_DEFAULT;
    screen->rows = known ? size.ws_row : ROWS_DEFAULT;
}

static void terminal_begin(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)sigaction(SIGWINCH, &action, NULL);
    if (tcgetattr(STDIN_FILENO, &saved) == 0) {
        struct termios raw = saved;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    (void)printf("\033[?1049h\033[?25l\033[2J");
}

static void terminal_end(void)
{
    (void)printf("\033[?25h\033[?1049l");
    (void)fflush(stdout);
    if (isatty(STDIN_FILENO) != 0) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &saved);
    }
}

/* Until `until`, a key, or another size. False: it is over. */
static bool wait_until(uint64_t until)
{
    for (uint64_t now = now_ms(); now < until && ended == 0 && resized == 0; now = now_ms()) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        if (poll(&input, 1, (int)(until - now)) <= 0) {
            continue;
        }
        char key = 0;
        ssize_t got = read(STDIN_FILENO, &key, 1);
        if (got == 1 && (key == 'q' || key == 'Q')) {
            return false;
        }
        if (got <= 0) {
            return false; /* nobody is there any more */
        }
    }
    return ended == 0;
}

static int watch(struct program *program, uint32_t interval_ms)
{
    struct screen screen = {.terminal = true};
    struct weir_error error;
    struct view *before = view_take(program, &error);
    if (before == NULL) {
        return program_error(program, &error);
    }
    terminal_begin();
    struct view *rates = view_rates(before, before);
    for (bool on = true; on;) {
        measure(&screen);
        resized = 0;
        (void)printf("\033[H");
        if (rates != NULL) {
            print_view(&screen, rates);
        }
        on = wait_until(before->at_ms + interval_ms);
        if (!on || resized != 0) {
            continue;
        }
        struct view *view = view_take(program, &error);
        if (view == NULL) {
            (void)printf("\033[H\033[2J%s\n", error.text);
            (void)fflush(stdout);
            on = wait_until(now_ms() + interval_ms);
            continue;
        }
        if (rates != NULL) {
            free(rates->brokers);
            free(rates);
        }
        rates = view_rates(view, before);
        view_free(before);
        before = view;
    }
    terminal_end();
    if (rates != NULL) {
        free(rates->brokers);
        free(rates);
    }
    view_free(before);
    return EXIT_CODE_OK;
}

static int once(struct program *program, uint32_t interval_ms)
{
    struct weir_error error;
    struct view *before = view_take(program, &error);
    if (before == NULL) {
        return program_error(program, &error);
    }
    const struct timespec pause = {.tv_sec = interval_ms / 1000,
                                   .tv_nsec = (long)(interval_ms % 1000) * 1000000};
    (void)nanosleep(&pause, NULL);
    struct view *view = view_take(program, &error);
    struct view *rates = view == NULL ? NULL : view_rates(view, before);
    int code = EXIT_CODE_OK;
    if (view == NULL) {
        code = program_error(program, &error);
    } else if (rates == NULL) {
        code = program_fail(program, WEIR_NO_MEMORY, "out of memory");
    } else if (program->json) {
        code = print_json(program, rates);
    } else {
        print_view(&(struct screen){0}, rates);
    }
    if (rates != NULL) {
        free(rates->brokers);
        free(rates);
    }
    view_free(view);
    view_free(before);
    return code;
}

int run_top(struct program *program, const char *const *words)
{
    (void)words;
    uint32_t interval_ms = DEFAULT_INTERVAL_MS;
    struct error error;
    if (program->interval != NULL &&
        (args_duration(program->interval, "--interval", &interval_ms, &error) != STATUS_OK ||
         interval_ms < 100)) {
        return program_fail(program, WEIR_INVALID,
                            "--interval: '%s' is not a time of 100ms or more", program->interval);
    }
    if (!program->once && !program->json && isatty(STDOUT_FILENO) == 0) {
        return program_fail(program, WEIR_INVALID,
                            "standard output is no terminal: use --once, or --once --json");
    }
    return program->once || program->json ? once(program, interval_ms)
                                          : watch(program, interval_ms);
}
