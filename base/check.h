/* CHECK guards our own logic and stays on in production: a process that has broken an invariant
 * must stop before it acknowledges anything. Never CHECK bytes that came from a socket or a disk:
 * those return a status. One condition per CHECK. */
#pragma once

#define CHECK(expr)   ((expr) ? (void)0 : check_failed(__FILE__, __LINE__, #expr))
#define UNREACHABLE() check_failed(__FILE__, __LINE__, "unreachable")

/* Prints where and what, then aborts (the core dump is the evidence). Any thread. */
_Noreturn void check_failed(const char *file, int line, const char *expr);
