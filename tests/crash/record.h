/* Records what this process does to the files below a directory: the program that is linked with
 * record.c has its own open(), pwrite(), fsync() and so on, which also libraries get (SQLite's
 * among them; stdio's not). One recording at a time. Threads may be at it. */
#pragma once

#include "tests/crash/trace.h"

/* `root` must be as trace->base says. */
void record_begin(const char *root, struct trace *trace);
void record_end(void);
void record_note(uint64_t what, uint64_t value);

/* The n-th call from now that changes something below the root fails with this errno, once; 0:
 * none. A sync that fails drops what it should have written. With record_begin() only. */
void record_fail(uint64_t n, int error);
uint64_t record_calls(void); /* that could have failed, since record_fail() */

/* For tests of the tests: syncs of directories whose path has this in it do nothing, yet say that
 * they did. NULL: none. */
void record_forget_directories(const char *below);
