#include "tests/crash/heap.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#if defined(__has_feature)
#    if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#        define HEAP_OF_SANITIZER
#    endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#    define HEAP_OF_SANITIZER
#endif

static atomic_uint_fast64_t until;
static atomic_bool failed;
static atomic_int_fast64_t live;

void heap_fail(uint64_t n)
{
    atomic_store(&failed, false);
    atomic_store(&until, n);
}

bool heap_failed(void)
{
    return atomic_load(&failed);
}

int64_t heap_live(void)
{
    return atomic_load(&live);
}

#ifdef HEAP_OF_SANITIZER
bool heap_is_ours(void)
{
    return false;
}
#else
bool heap_is_ours(void)
{
    return true;
}

/* glibc's own names for its heap. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *pointer);

static bool fails(void)
{
    uint_fast64_t left = atomic_load(&until);
    while (left > 0) {
        if (atomic_compare_exchange_weak(&until, &left, left - 1)) {
            if (left > 1) {
                return false;
            }
            atomic_store(&failed, true);
            errno = ENOMEM;
            return true;
        }
    }
    return false;
}

static void *counted(void *pointer)
{
    if (pointer != NULL) {
        atomic_fetch_add(&live, 1);
    }
    return pointer;
}

void *malloc(size_t size)
{
    return fails() ? NULL : counted(__libc_malloc(size));
}

void *calloc(size_t nmemb, size_t size)
{
    return fails() ? NULL : counted(__libc_calloc(nmemb, size));
}

void *realloc(void *ptr, size_t size)
{
    if (ptr == NULL) {
        return malloc(size);
    }
    return fails() ? NULL : __libc_realloc(ptr, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}

void *memalign(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}

int posix_memalign(void **memptr, size_t alignment, size_t size)
{
    void *pointer = aligned_alloc(alignment, size);
    if (pointer == NULL) {
        return ENOMEM;
    }
    *memptr = pointer;
    return 0;
}

void free(void *ptr)
{
    if (ptr != NULL) {
        atomic_fetch_sub(&live, 1);
        __libc_free(ptr);
    }
}
#endif
