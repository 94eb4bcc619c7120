#include "tests/crash/trace.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"

static void *grown(void *array, uint32_t count, uint32_t *capacity, size_t item)
{
    if (count < *capacity) {
        return array;
    }
    *capacity = *capacity == 0 ? 64 : 2 * *capacity;
    array = realloc(array, *capacity * item);
    CHECK(array != NULL);
    return array;
}

/* ---- images ---- */

static struct trace_node *node_at(struct image *image, uint32_t node)
{
    while (image->node_count <= node) {
        image->node =
            grown(image->node, image->node_count, &image->node_capacity, sizeof(*image->node));
        image->node[image->node_count++] = (struct trace_node){0};
    }
    return &image->node[node];
}

void image_init(struct image *image)
{
    *image = (struct image){0};
    node_at(image, TRACE_ROOT)->is_dir = true;
}

static void node_resize(struct trace_node *node, uint64_t size)
{
    if (size > node->capacity) {
        node->capacity = size < 2 * node->capacity ? 2 * node->capacity : size;
        node->data = realloc(node->data, node->capacity);
        CHECK(node->data != NULL);
    }
    if (size > node->size) {
        memset(node->data + node->size, 0, size - node->size);
    }
    node->size = size;
}

void image_copy(const struct image *from, struct image *out)
{
    *out = (struct image){0};
    for (uint32_t i = 0; i < from->node_count; i++) {
        struct trace_node *node = node_at(out, i);
        node->is_dir = from->node[i].is_dir;
        if (from->node[i].size > 0) {
            node_resize(node, from->node[i].size);
            memcpy(node->data, from->node[i].data, from->node[i].size);
        }
    }
    out->entry_count = out->entry_capacity = from->entry_count;
    out->entry = malloc(from->entry_count * sizeof(*out->entry) + 1);
    CHECK(out->entry != NULL);
    if (from->entry_count > 0) {
        memcpy(out->entry, from->entry, from->entry_count * sizeof(*out->entry));
    }
}

void image_release(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++) {
        free(image->node[i].data);
    }
    free(image->node);
    free(image->entry);
    *image = (struct image){0};
}

struct trace_entry *image_find(const struct image *image, uint32_t dir, const char *name)
{
    for (uint32_t i = 0; i < image->entry_count; i++) {
        if (image->entry[i].dir == dir && strcmp(image->entry[i].name, name) == 0) {
            return &image->entry[i];
        }
    }
    return NULL;
}

struct trace_node *image_file(const struct image *image, const char *path)
{
    uint32_t node = TRACE_ROOT;
    char name[TRACE_NAME_BYTES];
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        (void)snprintf(name, sizeof(name), "%.*s", (int)length, path);
        const struct trace_entry *entry = image_find(image, node, name);
        if (entry == NULL) {
            return NULL;
        }
        node = entry->node;
        path += length + (path[length] == '/' ? 1 : 0);
    }
    return &image->node[node];
}

static void link_name(struct image *image, uint32_t dir, const char *name, uint32_t node)
{
    struct trace_entry *entry = image_find(image, dir, name);
    if (entry == NULL) {
        image->entry =
            grown(image->entry, image->entry_count, &image->entry_capacity, sizeof(*image->entry));
        entry = &image->entry[image->entry_count++];
        entry->dir = dir;
        (void)snprintf(entry->name, sizeof(entry->name), "%s", name);
    }
    entry->node = node;
}

static void unlink_name(struct image *image, uint32_t dir, const char *name, uint32_t node)
{
    struct trace_entry *entry = image_find(image, dir, name);
    if (entry != NULL && entry->node == node) {
        *entry = image->entry[--image->entry_count];
    }
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char below[512];
        struct stat facts;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        (void)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (lstat(below, &facts) == 0 && S_ISDIR(facts.st_mode)) {
            remove_tree(below);
            CHECK(rmdir(below) == 0);
        } else {
            CHECK(unlink(below) == 0);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
}

static void store_below(const struct image *image, uint32_t dir, const char *path)
{
    for (uint32_t i = 0; i < image->entry_count; i++) {
        if (image->entry[i].dir != dir) {
            continue;
        }
        const struct trace_node *node = &image->node[image->entry[i].node];
        char below[512];
        (void)snprintf(below, sizeof(below), "%s/%s", path, image->entry[i].name);
        if (node->is_dir) {
            CHECK(mkdir(below, 0750) == 0);
            store_below(image, image->entry[i].node, below);
            continue;
        }
        int fd = open(below, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        CHECK(fd >= 0);
        CHECK(node->size == 0 || pwrite(fd, node->data, node->size, 0) == (ssize_t)node->size);
        (void)close(fd);
    }
}

static void load_below(struct image *image, uint32_t dir, const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        char below[512];
        struct stat facts;
        (void)snprintf(below, sizeof(below), "%s/%s", path, name);
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && stat(below, &facts) == 0) {
            uint32_t node = image->node_count;
            node_at(image, node)->is_dir = S_ISDIR(facts.st_mode);
            link_name(image, dir, name, node);
            if (S_ISDIR(facts.st_mode)) {
                load_below(image, node, below);
            } else {
                node_resize(&image->node[node], (uint64_t)facts.st_size);
                int fd = open(below, O_RDONLY | O_CLOEXEC);
                CHECK(fd >= 0);
                CHECK(facts.st_size == 0 ||
                      pread(fd, image->node[node].data, (size_t)facts.st_size, 0) == facts.st_size);
                (void)close(fd);
            }
        }
        free(names[i]);
    }
    free(names);
}

void image_load(const char *path, struct image *out)
{
    image_init(out);
    load_below(out, TRACE_ROOT, path);
}

void image_store(const struct image *image, const char *path)
{
    remove_tree(path);
    store_below(image, TRACE_ROOT, path);
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *at = data;
    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    for (; size > 0; size--, at++) {
        hash = (hash ^ *at) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

static uint64_t hash_node(const struct image *image, uint32_t node, int depth)
{
    const struct trace_node *it = &image->node[node];
    uint64_t hash = hash_bytes(it->is_dir ? 7 : 11 + it->size, it->data, it->size);
    for (uint32_t i = 0; it->is_dir && depth < 8 && i < image->entry_count; i++) {
        if (image->entry[i].dir == node) { /* a sum: entries have no order */
            hash += hash_bytes(hash_node(image, image->entry[i].node, depth + 1),
                               image->entry[i].name, strlen(image->entry[i].name));
        }
    }
    return hash;
}

uint64_t image_hash(const struct image *image)
{
    return hash_node(image, TRACE_ROOT, 0);
}

/* ---- traces ---- */

void trace_init(struct trace *trace, const struct image *base)
{
    *trace = (struct trace){0};
    if (base != NULL) {
        image_copy(base, &trace->base);
    } else {
        image_init(&trace->base);
    }
}

void trace_release(struct trace *trace)
{
    for (uint32_t i = 0; i < trace->count; i++) {
        free(trace->op[i].data);
    }
    free(trace->op);
    image_release(&trace->base);
    *trace = (struct trace){0};
}

void trace_add(struct trace *trace, const struct trace_op *op)
{
    trace->op = grown(trace->op, trace->count, &trace->capacity, sizeof(*trace->op));
    trace->op[trace->count++] = *op;
}

uint32_t trace_sectors(const struct trace_op *op)
{
    if (op->kind != TRACE_WRITE || op->size == 0) {
        return 1;
    }
    return (uint32_t)((op->at + op->size - 1) / TRACE_SECTOR - op->at / TRACE_SECTOR + 1);
}

static void apply_write(struct image *image, const struct trace_op *op, uint32_t pending,
                        const struct fate *fate)
{
    struct trace_node *node = node_at(image, op->node);
    uint64_t done = 0;
    for (uint32_t sector = 0; done < op->size; sector++) {
        uint64_t part = TRACE_SECTOR - (op->at + done) % TRACE_SECTOR;
        part = part < op->size - done ? part : op->size - done;
        if (fate == NULL || fate->keep(fate->context, pending, op, sector)) {
            if (op->at + done + part > node->size) {
                node_resize(node, op->at + done + part);
            }
            memcpy(node->data + op->at + done, op->data + done, part);
        }
        done += part;
    }
}

static void apply(struct image *image, const struct trace_op *op, uint32_t pending,
                  const struct fate *fate)
{
    if (op->kind == TRACE_WRITE) {
        apply_write(image, op, pending, fate);
        return;
    }
    if (fate != NULL && !fate->keep(fate->context, pending, op, 0)) {
        return;
    }
    struct trace_node *node = node_at(image, op->node);
    if (op->kind == TRACE_RESIZE) {
        node_resize(node, op->at);
    } else if (op->kind == TRACE_LINK) {
        node->is_dir = op->is_dir;
        link_name(image, op->dir, op->name, op->node);
    } else if (op->kind == TRACE_UNLINK) {
        unlink_name(image, op->dir, op->name, op->node);
    } else if (op->kind == TRACE_RENAME) {
        unlink_name(image, op->dir, op->name, op->node);
        link_name(image, op->to_dir, op->to_name, op->node);
    }
}

/* ---- media ---- */

void medium_init(struct medium *medium, const struct trace *trace)
{
    *medium = (struct medium){.trace = trace};
    image_copy(&trace->base, &medium->durable);
}

void medium_release(struct medium *medium)
{
    image_release(&medium->durable);
    free(medium->pending);
    free(medium->synced);
    *medium = (struct medium){0};
}

static void pend(struct medium *medium, uint32_t index)
{
    uint32_t capacity = medium->pending_capacity;
    medium->pending = grown(medium->pending, medium->pending_count, &medium->pending_capacity,
                            sizeof(*medium->pending));
    medium->synced =
        grown(medium->synced, medium->pending_count, &capacity, sizeof(*medium->synced));
    medium->synced[medium->pending_count] = 0;
    medium->pending[medium->pending_count++] = index;
}

static bool is_taken(struct medium *medium, uint32_t i, const struct trace_op *sync)
{
    const struct trace_op *op = &medium->trace->op[medium->pending[i]];
    if (sync->kind == TRACE_SYNC_ALL) {
        return true;
    }
    if (op->kind == TRACE_WRITE || op->kind == TRACE_RESIZE) {
        return op->node == sync->node;
    }
    if (op->kind != TRACE_RENAME) {
        return op->dir == sync->node;
    }
    medium->synced[i] |= (op->dir == sync->node ? 1U : 0U) | (op->to_dir == sync->node ? 2U : 0U);
    return medium->synced[i] == 3;
}

static void sync_pending(struct medium *medium, const struct trace_op *sync)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < medium->pending_count; i++) {
        const struct trace_op *op = &medium->trace->op[medium->pending[i]];
        if (!is_taken(medium, i, sync)) {
            medium->pending[kept] = medium->pending[i];
            medium->synced[kept++] = medium->synced[i];
        } else if (sync->kind != TRACE_SYNC_FAILED) {
            apply(&medium->durable, op, i, NULL);
        }
    }
    medium->pending_count = kept;
}

void medium_step(struct medium *medium)
{
    CHECK(medium->at < medium->trace->count);
    const struct trace_op *op = &medium->trace->op[medium->at];
    if (op->kind == TRACE_SYNC || op->kind == TRACE_SYNC_ALL || op->kind == TRACE_SYNC_FAILED) {
        sync_pending(medium, op);
    } else if (op->kind != TRACE_NOTE) {
        pend(medium, medium->at);
    }
    medium->at++;
}

void medium_crash(const struct medium *medium, const struct fate *fate, struct image *out)
{
    image_copy(&medium->durable, out);
    for (uint32_t i = 0; i < medium->pending_count; i++) {
        apply(out, &medium->trace->op[medium->pending[i]], i, fate);
    }
}
