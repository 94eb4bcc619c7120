#include "broker/journal/ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cleanup.h"

enum { LARGE_PAGE_BYTES = 2 * 1024 * 1024 };

enum status journal_ring_init(struct ring *ring, uint64_t size)
{
    CHECK((size & (size - 1)) == 0);
    AUTO(close_fd) int fd = memfd_create("weir-ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0) {
        return STATUS_NO_MEMORY;
    }
    /* Where the system has large pages for shared memory, they need the address to fit them. */
    uint64_t fit = size >= LARGE_PAGE_BYTES ? LARGE_PAGE_BYTES : 0;
    void *space = mmap(NULL, 2 * size + fit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (space == MAP_FAILED) {
        return STATUS_NO_MEMORY;
    }
    uint64_t before = fit > 0 ? -(uint64_t)(uintptr_t)space & (fit - 1) : 0;
    uint8_t *memory = (uint8_t *)space + before;
    if (before > 0) {
        (void)munmap(space, before);
    }
    if (fit > before) {
        (void)munmap(memory + 2 * size, fit - before);
    }
    for (int half = 0; half < 2; half++) {
        void *at = memory + (uint64_t)half * size;
        if (mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
            (void)munmap(memory, 2 * size);
            return STATUS_NO_MEMORY;
        }
        (void)madvise(at, size, MADV_HUGEPAGE); /* or small ones */
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
