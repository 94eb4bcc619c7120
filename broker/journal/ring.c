#include "broker/journal/ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cleanup.h"

enum status journal_ring_init(struct ring *ring, uint64_t size)
{
    CHECK((size & (size - 1)) == 0);
    AUTO(close_fd) int fd = memfd_create("weir-ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        return STATUS_NO_MEMORY;
    }
    void *space = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (space == MAP_FAILED) {
        return STATUS_NO_MEMORY;
    }
    uint8_t *memory = space;
    for (int half = 0; half < 2; half++) {
        void *at = memory + (uint64_t)half * size;
        if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
            (void)munmap(space, 2 * size);
            return STATUS_NO_MEMORY;
        }
    }
    *ring = (struct ring){.memory = memory, .size = size};
    return STATUS_OK;
}

void journal_ring_release(struct ring *ring)
{
    if (ring->memory != NULL) {
        (void)munmap(ring->memory, 2 * ring->size);
    }
    *ring = (struct ring){0};
}
