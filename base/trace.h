/* What a process says about itself: one line per event, with a level and the part that speaks.
 *
 * Library folders return statuses and stay silent; the shells of the two servers trace. Base has no
 * clock: the sink that main() installs adds time and format. Any thread, if the sink allows it. */
#pragma once

enum trace_level { TRACE_ERROR, TRACE_WARNING, TRACE_INFO, TRACE_DEBUG };

typedef void trace_sink_fn(enum trace_level level, const char *part, const char *text);

/* Replaces the default sink, which prints "LEVEL part: text" to standard error. Not while other
 * threads trace. */
void trace_set_sink(trace_sink_fn *sink);

/* Events above `level` are dropped before they are formatted. The default is TRACE_INFO. */
void trace_set_level(enum trace_level level);

enum trace_level trace_get_level(void);

/* "error", "warning", "info", "debug". */
const char *trace_level_name(enum trace_level level);

void trace(enum trace_level level, const char *part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
