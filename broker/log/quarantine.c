/* What metadata no longer knows, or what stood behind damage: kept for a while, then removed
 * (docs/replication.md R16).
 *
 * How long a thing has been here is part of its name, so that it survives everything that the thing
 * itself does. The clock is the caller's: whoever moves a thing here need not have a good one. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/log/private.h"

#define SINCE ".since-"

enum { SWEEP_BATCH = 64, NAME_LENGTH_MAX = 255 };

struct sweep {
    struct store *store;
    char dir[STORE_PATH_BYTES];
    char (*names)[NAME_LENGTH_MAX +
                  1]; /* to be renamed or removed: not while the directory is listed */
    uint32_t count;
    uint64_t wall_ms, keep_ms;
    void (*each)(void *context, uint64_t shard);
    void *context;
    struct quarantine_info info;
};

/* False: nothing of ours. */
static bool parse_shard(const char *name, uint64_t *out)
{
    char *end;
    if (*name < '0' || *name > '9') {
        return false;
    }
    unsigned long long stream = strtoull(name, &end, 10);
    if (*end != '-' || end[1] < '0' || end[1] > '9') {
        return false;
    }
    unsigned long long number = strtoull(end + 1, &end, 10);
    if (*end != '-' || stream > UINT32_MAX || number > UINT32_MAX) {
        return false;
    }
    *out = (uint64_t)stream << 32 | number;
    return true;
}

/* 0: it has not been stamped yet. */
static uint64_t parse_since(const char *name)
{
    const char *at = strstr(name, SINCE);
    return at == NULL ? 0 : strtoull(at + strlen(SINCE), NULL, 10);
}

static bool is_due(const struct sweep *sweep, uint64_t since_ms)
{
    return since_ms == 0 ||
           (sweep->wall_ms > since_ms && sweep->wall_ms - since_ms >= sweep->keep_ms);
}

static int look_at(void *arg, const char *name)
{
    struct sweep *sweep = arg;
    uint64_t shard;
    if (!parse_shard(name, &shard)) {
        return 0;
    }
    uint64_t since_ms = parse_since(name);
    sweep->info.count++;
    if (since_ms != 0 && (sweep->info.oldest_ms == 0 || since_ms < sweep->info.oldest_ms)) {
        sweep->info.oldest_ms = since_ms;
    }
    if (sweep->each != NULL) {
        sweep->each(sweep->context, shard);
    }
    if (sweep->wall_ms != 0 && sweep->count < SWEEP_BATCH && is_due(sweep, since_ms) &&
        strlen(name) <= NAME_LENGTH_MAX) {
        memcpy(sweep->names[sweep->count++], name, strlen(name) + 1);
    }
    return 0;
}

struct removal {
    const struct disk *disk;
    const char *dir;
    int result;
};

static int remove_one(void *arg, const char *name)
{
    struct removal *removal = arg;
    char path[2 * STORE_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s/%s", removal->dir, name);
    int result = removal->disk->unlink(removal->disk->context, path);
    removal->result = result == -ENOENT ? 0 : result;
    return removal->result < 0 ? 1 : 0;
}

/* A file, or a directory of files. */
static int remove_thing(const struct disk *disk, const char *path)
{
    struct removal removal = {.disk = disk, .dir = path};
    int listed = disk->list(disk->context, path, remove_one, &removal);
    if (listed == -ENOTDIR) {
        return disk->unlink(disk->context, path);
    }
    if (listed < 0 || removal.result < 0) {
        return listed < 0 ? listed : removal.result;
    }
    return disk->rmdir(disk->context, path);
}

static int treat(struct sweep *sweep, const char *name)
{
    const struct disk *disk = sweep->store->disk;
    char from[2 * STORE_PATH_BYTES], to[2 * STORE_PATH_BYTES + 32];
    (void)snprintf(from, sizeof(from), "%s/%s", sweep->dir, name);
    if (parse_since(name) != 0) {
        int result = remove_thing(disk, from);
        sweep->info.removed += result < 0 ? 0 : 1;
        sweep->info.count -= result < 0 ? 0 : 1;
        return result;
    }
    (void)snprintf(to, sizeof(to), "%s" SINCE "%" PRIu64, from, sweep->wall_ms);
    return disk->rename(disk->context, from, to);
}

enum status store_quarantine(struct store *store, uint64_t wall_ms, uint64_t keep_ms,
                             void (*each)(void *context, uint64_t shard), void *context,
                             struct quarantine_info *out)
{
    struct sweep sweep = {
        .store = store, .wall_ms = wall_ms, .keep_ms = keep_ms, .each = each, .context = context};
    log_path_join(sweep.dir, store->dir, "quarantine");
    sweep.names = calloc(SWEEP_BATCH, sizeof(*sweep.names));
    if (sweep.names == NULL) {
        return STATUS_NO_MEMORY;
    }
    int result = store->disk->list(store->disk->context, sweep.dir, look_at, &sweep);
    result = result == -ENOENT ? 0 : result; /* nothing ever came here */
    for (uint32_t i = 0; result >= 0 && i < sweep.count; i++) {
        result = treat(&sweep, sweep.names[i]);
    }
    if (result >= 0 && sweep.count > 0) {
        result = store->disk->sync_dir(store->disk->context, sweep.dir);
    }
    free(sweep.names);
    if (result >= 0) {
        *out = sweep.info;
    }
    return disk_status(result);
}
