/* What a program did to the files below one directory, in order, and what a power failure at any
 * moment may leave of it.
 *
 * A write or a new size is on the medium once its file was synced, a name once its directory was;
 * syncfs takes all. What was not synced may be there or not, each write sector by sector, each in
 * any combination: stricter than any one filesystem, so that what holds here holds on all of them.
 * Only a rename is one step. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

enum { TRACE_SECTOR = 512, TRACE_NAME_BYTES = 64, TRACE_ROOT = 0 };

enum trace_kind {
    TRACE_WRITE,  /* node, at, data */
    TRACE_RESIZE, /* node, at: the new size */
    TRACE_LINK,   /* dir, name: a new file or directory `node` */
    TRACE_UNLINK, /* dir, name: was `node` */
    TRACE_RENAME, /* dir, name -> to_dir, to_name */
    TRACE_SYNC,   /* node: a file or a directory */
    TRACE_SYNC_ALL,
    TRACE_SYNC_FAILED, /* node: what was not written is dropped, and will never be (fsyncgate) */
    TRACE_NOTE,        /* at, size: the recorded program's own */
};

struct trace_op {
    enum trace_kind kind;
    uint32_t node, dir, to_dir;
    bool is_dir;
    char name[TRACE_NAME_BYTES], to_name[TRACE_NAME_BYTES];
    uint64_t at, size;
    uint8_t *data;
};

struct trace_node {
    bool is_dir;
    uint8_t *data;
    uint64_t size, capacity;
};

struct trace_entry {
    uint32_t dir, node;
    char name[TRACE_NAME_BYTES];
};

/* A directory tree in memory. */
struct image {
    struct trace_node *node;
    uint32_t node_count, node_capacity;
    struct trace_entry *entry;
    uint32_t entry_count, entry_capacity;
};

void image_init(struct image *image);                 /* the root only */
void image_load(const char *path, struct image *out); /* what lies in a directory */
void image_copy(const struct image *from, struct image *out);
void image_release(struct image *image);
struct trace_entry *image_find(const struct image *image, uint32_t dir, const char *name);
/* NULL: no such file. The path is relative to the root. */
struct trace_node *image_file(const struct image *image, const char *path);
/* Makes the directory `path` this tree; what it held before goes. */
void image_store(const struct image *image, const char *path);
uint64_t image_hash(const struct image *image);

struct trace {
    struct image base; /* as recording began */
    struct trace_op *op;
    uint32_t count, capacity;
};
void trace_init(struct trace *trace, const struct image *base); /* NULL: an empty directory */
void trace_release(struct trace *trace);
/* Takes op->data. */
void trace_add(struct trace *trace, const struct trace_op *op);

/* Goes along a trace: what is surely on the medium after the first `at` steps, and what is not. */
struct medium {
    const struct trace *trace;
    struct image durable;
    uint32_t at;
    uint32_t *pending; /* indices into the trace, oldest first */
    uint8_t *synced;   /* of a rename: 1 its old directory was, 2 the new one */
    uint32_t pending_count, pending_capacity;
};
void medium_init(struct medium *medium, const struct trace *trace);
void medium_release(struct medium *medium);
void medium_step(struct medium *medium);

/* Which sectors of which steps reached the medium: `keep` is asked for every sector of a write (by
 * number within the write) and once, with sector 0, for everything else. */
struct fate {
    bool (*keep)(void *context, uint32_t pending, const struct trace_op *op, uint32_t sector);
    void *context;
};
void medium_crash(const struct medium *medium, const struct fate *fate, struct image *out);

/* How many sectors of its file a write touches. */
uint32_t trace_sectors(const struct trace_op *op);
