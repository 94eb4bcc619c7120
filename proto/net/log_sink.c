#include "proto/net/log_sink.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/trace.h"

enum { LINE_BYTES = 8192, STAMP_BYTES = 40, ESCAPE_BYTES = 6 };

/* "2026-11-22T21:07:25.123Z" */
static void stamp(char out[STAMP_BYTES])
{
    struct timespec now = {0};
    struct tm utc = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    size_t size = strftime(out, STAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out + size, STAMP_BYTES - size, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

struct line {
    size_t size;
    char text[LINE_BYTES];
};

static void line_add(struct line *line, const char *text)
{
    size_t room = LINE_BYTES - 1 - line->size; /* the last byte is the line's end */
    size_t size = strnlen(text, room);
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

/* Escaped as JSON has it, in both formats; quotes only need it there. */
static void line_add_escaped(struct line *line, const char *text, bool quotes)
{
    for (; *text != '\0'; text++) {
        char escape[ESCAPE_BYTES + 1] = {*text, '\0'};
        unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f) {
            (void)snprintf(escape, sizeof(escape), "\\u%04x", (unsigned)c);
        } else if (c == '\\' || (quotes && c == '"')) {
            (void)snprintf(escape, sizeof(escape), "\\%c", *text);
        }
        line_add(line, escape);
    }
}

/* The newest lines, for whoever asks from afar: a circle, beside what was written out. */
static struct {
    pthread_mutex_t lock;
    uint64_t end; /* bytes ever put in */
    char text[LOG_KEPT_BYTES];
} kept = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void keep(const char *text, size_t size)
{
    (void)pthread_mutex_lock(&kept.lock);
    while (size > 0) {
        size_t at = (size_t)(kept.end % LOG_KEPT_BYTES);
        size_t fits = size < LOG_KEPT_BYTES - at ? size : LOG_KEPT_BYTES - at;
        memcpy(kept.text + at, text, fits);
        text += fits;
        size -= fits;
        kept.end += fits;
    }
    (void)pthread_mutex_unlock(&kept.lock);
}

enum status log_recent(struct buf *out)
{
    enum status status = buf_reserve(out, LOG_KEPT_BYTES);
    if (status != STATUS_OK) {
        return status;
    }
    (void)pthread_mutex_lock(&kept.lock);
    uint64_t from = kept.end > LOG_KEPT_BYTES ? kept.end - LOG_KEPT_BYTES : 0;
    bool cut = from > 0; /* the first line is not whole any more */
    for (; from < kept.end; from++) {
        char c = kept.text[from % LOG_KEPT_BYTES];
        if (!cut) {
            out->data[out->size++] = (uint8_t)c;
        }
        cut = cut && c != '\n';
    }
    (void)pthread_mutex_unlock(&kept.lock);
    return STATUS_OK;
}

static void line_write(struct line *line)
{
    line->text[line->size++] = '\n';
    keep(line->text, line->size);
    ssize_t written = write(STDERR_FILENO, line->text, line->size);
    (void)written; /* nowhere to tell */
}

static void write_text(enum trace_level level, const char *part, const char *text)
{
    char time_text[STAMP_BYTES];
    struct line line;
    line.size = 0;
    stamp(time_text);
    line_add(&line, time_text);
    line_add(&line, " ");
    line_add(&line, trace_level_name(level));
    line_add(&line, " ");
    line_add_escaped(&line, part, false);
    line_add(&line, ": ");
    line_add_escaped(&line, text, false);
    line_write(&line);
}

static void write_json(enum trace_level level, const char *part, const char *text)
{
    char time_text[STAMP_BYTES];
    struct line line;
    line.size = 0;
    stamp(time_text);
    line_add(&line, "{\"time\": \"");
    line_add(&line, time_text);
    line_add(&line, "\", \"level\": \"");
    line_add(&line, trace_level_name(level));
    line_add(&line, "\", \"part\": \"");
    line_add_escaped(&line, part, true);
    line_add(&line, "\", \"text\": \"");
    line_add_escaped(&line, text, true);
    line_add(&line, "\"}");
    line_write(&line);
}

void log_sink_install(enum log_format format)
{
    trace_set_sink(format == LOG_JSON ? write_json : write_text);
}

enum status log_format_parse(const char *name, enum log_format *out)
{
    if (strcmp(name, "text") == 0) {
        *out = LOG_TEXT;
    } else if (strcmp(name, "json") == 0) {
        *out = LOG_JSON;
    } else {
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

enum status log_level_set(const char *name)
{
    for (int level = TRACE_ERROR; level <= TRACE_DEBUG; level++) {
        if (strcmp(trace_level_name((enum trace_level)level), name) == 0) {
            trace_set_level((enum trace_level)level);
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}
