#include "base/trace.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

enum { TRACE_TEXT_BYTES = 1024 };

const char *trace_level_name(enum trace_level level)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    return names[level];
}

static void print_to_stderr(enum trace_level level, const char *part, const char *text)
{
    (void)fprintf(stderr, "%s %s: %s\n", trace_level_name(level), part, text);
}

static trace_sink_fn *current_sink = print_to_stderr;
static atomic_int current_level = TRACE_INFO;

void trace_set_sink(trace_sink_fn *sink)
{
    current_sink = sink;
}

void trace_set_level(enum trace_level level)
{
    atomic_store(&current_level, (int)level);
}

enum trace_level trace_get_level(void)
{
    return (enum trace_level)atomic_load(&current_level);
}

void trace(enum trace_level level, const char *part, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed)) {
        return;
    }
    char text[TRACE_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    current_sink(level, part, text);
}
