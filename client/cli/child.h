/* A child process that is asked and answers in lines: its standard input and output are ours, its
 * standard error is not touched. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

struct child;

/* In a process group of its own, so that a Ctrl-C at the terminal is ours alone. IO with a
 * sentence: it cannot be started. */
NODISCARD enum status child_start(char *const *command, struct child **out, struct error *error);

/* Writes all of `text`, and meanwhile keeps what it prints.
 * IO        it has closed its standard input, or exited
 * TIMEOUT   it takes nothing for `timeout_ms` (0: for ever) */
NODISCARD enum status child_write(struct child *child, struct bytes text, uint32_t timeout_ms,
                                  struct error *error);

/* The next line, without its end; borrowed until the next call. IO: it has exited; TOO_LARGE: no
 * line within 16 MiB; TIMEOUT. */
NODISCARD enum status child_read(struct child *child, uint32_t timeout_ms, struct bytes *out,
                                 struct error *error);

/* Closes its input, and waits for its end: 5 s, then it is told to (SIGTERM), 2 s later killed; at
 * once with `now`. NULL is fine. */
void child_end(struct child *child, bool now);
