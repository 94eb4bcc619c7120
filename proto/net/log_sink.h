/* Where the traces of our programs go: one line each to standard error, with wall-clock time.
 *
 *   2026-11-22T21:07:25.123Z info net: broker-2 connected
 *   {"time": "2026-11-22T21:07:25.123Z", "level": "info", "part": "net", "text": "..."}
 *
 * Control characters are escaped in both, so that nobody can forge a line. A line is written by one
 * system call: lines of several threads never mix. */
#pragma once

#include "base/status.h"

enum log_format { LOG_TEXT, LOG_JSON };

/* Installs the sink. Before other threads trace. */
void log_sink_install(enum log_format format);

/* Appends the newest lines, LOG_KEPT_BYTES at most, whole ones. Any thread. NO_MEMORY. */
enum { LOG_KEPT_BYTES = 256 * 1024 };
struct buf;
NODISCARD enum status log_recent(struct buf *out);

/* "text", "json"; INVALID for anything else. */
NODISCARD enum status log_format_parse(const char *name, enum log_format *out);

/* "error", "warning", "info", "debug": sets the level; INVALID for anything else. */
NODISCARD enum status log_level_set(const char *name);
