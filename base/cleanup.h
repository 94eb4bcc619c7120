/* Resources released where they are declared. The only macro of the project that hides control
 * flow:
 *
 *     AUTO(buf_release) struct buf body = {0};
 *     AUTO(close_fd) int fd = open(...);
 *     AUTO(free_pointer) char *text = strdup(...);
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#define AUTO(release) __attribute__((cleanup(release)))

static inline void close_fd(const int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
    }
}

/* Ownership moves to the caller; the source forgets the descriptor. */
static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* For AUTO on any pointer from malloc. */
static inline void free_pointer(void *pointer)
{
    free(*(void **)pointer);
}
