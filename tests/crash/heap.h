/* The process's own malloc(), for tests of what happens when it gives nothing. Not with sanitizers,
 * which have theirs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

bool heap_is_ours(void);
void heap_fail(uint64_t n); /* the n-th allocation from now gives NULL, once; 0: none */
bool heap_failed(void);     /* it has, since heap_fail() */
int64_t heap_live(void);    /* allocations that were not freed */
