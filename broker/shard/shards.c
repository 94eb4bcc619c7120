#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/shard/internal.h"

static void shard_release(struct shard *shard)
{
    deadline_set(shard, UINT64_MAX);
    list_remove(&shard->job);
    replica_free(shard->replica);
    producer_table_free(shard->producers);
    free(shard->waiting_grant);
    shard->replica = NULL;
    shard->producers = NULL;
    shard->waiting_grant = NULL;
    shard->set->count--;
}

static struct shard *shard_alloc(struct shards *set, struct shard_log *log)
{
    struct shard *shard = calloc(1, sizeof(*shard));
    if (shard == NULL) {
        return NULL;
    }
    shard->set = set;
    shard->id = shard_log_id(log);
    shard->log = log;
    shard->points = shard_log_points(log);
    shard->self = (struct replica_id){.broker = set->broker, .disk_gen = shard_log_disk_gen(log)};
    shard->deadline_ms = shard->resign_ms = UINT64_MAX;
    list_init(&shard->puts);
    list_init(&shard->readers);
    list_init(&shard->node);
    list_init(&shard->job);
    for (uint32_t i = 0; i < SHARD_PEERS_MAX; i++) {
        list_init(&shard->peers[i].node);
        shard->peers[i].shard = shard;
    }
    return shard;
}

/* Takes over a log: its replica begins as the log was recovered. */
NODISCARD static enum status shard_adopt(struct shards *set, struct shard_log *log,
                                         struct shard **out)
{
    enum status status = deadlines_reserve(set, set->count + 1);
    if (status != STATUS_OK) {
        return status;
    }
    struct shard *shard = shard_alloc(set, log);
    if (shard == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct replica_recovered recovered;
    shard_log_recovered(log, &recovered);
    recovered.self = shard->self;
    recovered.boot = set->boot;
    shard->replica = replica_new(&recovered, &shard->points);
    shard->producers = producer_table_new();
    set->count++;
    if (shard->replica == NULL || shard->producers == NULL) {
        shard_release(shard);
        free(shard);
        return STATUS_NO_MEMORY;
    }
    struct replica_view view;
    replica_view(shard->replica, &view);
    shard->end = view.last.end;
    shard->commit = view.commit;
    shard->log_start = shard->producers_upto = view.log_start;
    shard->seal_end = view.seal_end;
    shard->sealed = view.sealed;
    shard_log_set_owner(log, shard);
    if (shard->end == shard->log_start && shard->end == 0) {
        shard->is_last_ms_known = shard->producers_built = true;
    } else {
        rebuild_queue(shard, false);
    }
    *out = shard;
    return STATUS_OK;
}

enum status shards_open(struct store *store, const struct shards_hooks *hooks, uint32_t broker,
                        struct shards **out)
{
    struct shards *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return STATUS_NO_MEMORY;
    }
    struct store_info info;
    store_info(store, &info);
    *set = (struct shards){.store = store, .hooks = *hooks, .broker = broker, .boot = info.boot_id};
    kept_init(&set->kept);
    list_init(&set->synced);
    list_init(&set->finished);
    list_init(&set->woken);
    list_init(&set->jobs);
    for (uint32_t i = 0; i < REBUILDS_AT_ONCE; i++) {
        set->rebuilds[i].set = set;
    }
    for (struct shard_log *log = store_next_shard(store, NULL); log != NULL;
         log = store_next_shard(store, log)) {
        struct shard *shard;
        enum status status = shard_adopt(set, log, &shard);
        if (status != STATUS_OK) {
            shards_close(set);
            shards_free(set);
            return status;
        }
    }
    *out = set;
    return STATUS_OK;
}

static void forget_peers(struct shard *shard)
{
    for (uint32_t i = 0; i < SHARD_PEERS_MAX; i++) {
        if (shard->peers[i].id.broker != 0) {
            shard->set->hooks.forget(shard->set->hooks.context, &shard->peers[i]);
        }
    }
}

void shards_close(struct shards *set)
{
    if (set == NULL) {
        return;
    }
    set->closing = true;
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        puts_fail(shard, STATUS_CLOSING);
        readers_wake(shard, UINT64_MAX, STATUS_CLOSING);
    }
    shards_turn(set);
    struct shard *next;
    for (struct shard *shard = shards_next(set, NULL); shard != NULL; shard = next) {
        next = shards_next(set, shard);
        forget_peers(shard);
        rebuild_forget(shard);
        shard_log_set_owner(shard->log, NULL);
        shard_release(shard);
        free(shard);
    }
    for (uint32_t i = 0; i < set->sync_count; i++) { /* dropped, but not yet durably */
        struct pending_sync *p = &set->syncs[(set->sync_first + i) & (set->sync_capacity - 1)];
        if (p->seq == 0) {
            free(p->shard);
        }
    }
    free(set->syncs);
    free(set->heap);
    free(set->scratch.headers);
    free(set->scratch.parts);
    free(set->scratch.batches);
    set->syncs = NULL;
    /* The store's callbacks of unfinished reads come later, from store_close(): they find
     * `closing` set and a rebuild without a shard. */
}

void shards_free(struct shards *set)
{
    if (set == NULL) {
        return;
    }
    for (uint32_t i = 0; i < REBUILDS_AT_ONCE; i++) {
        CHECK(!set->rebuilds[i].reading);
        buf_release(&set->rebuilds[i].read.data);
    }
    coder_release(&set->coder);
    kept_release(&set->kept);
    free(set);
}

struct kept *shards_kept(struct shards *set)
{
    return &set->kept;
}

struct store *shards_store(const struct shards *set)
{
    return set->store;
}

struct shard *shards_find(const struct shards *set, uint64_t id)
{
    struct shard_log *log = store_find_shard(set->store, id);
    return log == NULL ? NULL : shard_log_owner(log);
}

struct shard *shards_next(const struct shards *set, struct shard *after)
{
    struct shard_log *log = after == NULL ? NULL : after->log;
    do {
        log = store_next_shard(set->store, log);
    } while (log != NULL && shard_log_owner(log) == NULL);
    return log == NULL ? NULL : shard_log_owner(log);
}

uint32_t shards_count(const struct shards *set, uint32_t *out_leading)
{
    *out_leading = set->leading;
    return set->count;
}

bool shards_are_out(const struct shards *set)
{
    return set->out;
}

enum status shards_create(struct shards *set, uint64_t id, uint32_t disk_gen, uint32_t promised,
                          struct shard **out)
{
    if (set->out) {
        return STATUS_IO;
    }
    struct shard_log *log = NULL;
    uint64_t lsn = 0;
    enum status status = store_create_shard(set->store, id, disk_gen, promised, &log, &lsn);
    if (status == STATUS_IO) {
        shards_fail(set, status, "create");
    }
    /* A log without an owner: memory ran out after an earlier CREATE. */
    if (status != STATUS_OK && !(status == STATUS_EXISTS && shard_log_owner(log) == NULL)) {
        return status;
    }
    shards_schedule(set);
    return shard_adopt(set, log, out);
}

NODISCARD static enum status take_away(struct shards *set, struct shard *shard, bool quarantine)
{
    if (set->out) {
        return STATUS_IO;
    }
    enum status status = syncs_reserve(set, 1);
    if (status != STATUS_OK) {
        return status;
    }
    uint64_t lsn = 0;
    rebuild_forget(shard);
    forget_peers(shard);
    status = store_delete_shard(set->store, shard->log, quarantine, &lsn);
    if (status != STATUS_OK) {
        if (status == STATUS_IO) {
            shards_fail(set, status, "delete");
        }
        return status;
    }
    puts_fail(shard, STATUS_NOT_FOUND);
    readers_wake(shard, UINT64_MAX, STATUS_NOT_FOUND);
    if (shard->open) {
        set->leading--;
    }
    shard_release(shard);
    list_remove(&shard->node);
    shard->log = NULL;
    shard->dropped = true;
    shard->quarantined = quarantine;
    syncs_push(set, shard, lsn, 0);
    shards_schedule(set);
    return STATUS_OK;
}

enum status shards_drop(struct shards *set, struct shard *shard)
{
    return take_away(set, shard, false);
}

enum status shards_quarantine(struct shards *set, struct shard *shard)
{
    return take_away(set, shard, true);
}

bool shards_is_dropping(const struct shards *set, uint64_t id)
{
    for (uint32_t i = 0; i < set->sync_count; i++) {
        const struct pending_sync *p =
            &set->syncs[(set->sync_first + i) & (set->sync_capacity - 1)];
        if (p->seq == 0 && p->shard->id == id) {
            return true;
        }
    }
    return false;
}

void shards_schedule(struct shards *set)
{
    if (!set->scheduled && !set->closing) {
        set->scheduled = true;
        set->hooks.schedule(set->hooks.context);
    }
}

void shards_turn(struct shards *set)
{
    set->scheduled = false;
    if (!set->closing) {
        rebuild_pump(set);
    }
    if (!set->out) {
        store_flush(set->store);
    }
    struct list now;
    list_move(&now, &set->finished);
    while (!list_empty(&now)) {
        struct shard_put *put = CONTAINER_OF(list_pop(&now), struct shard_put, node);
        put->done(put);
    }
    list_move(&now, &set->woken);
    while (!list_empty(&now)) {
        struct shard_reader *reader = CONTAINER_OF(list_pop(&now), struct shard_reader, node);
        reader->pending = false;
        reader->woken(reader);
    }
}

static void tell_peer(struct shards *set, uint32_t broker, uint64_t boot,
                      enum replica_input_type type)
{
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        if (shard->role != REPLICA_LEADING) {
            continue; /* only a leader keeps account of others; a new one asks is_connected() */
        }
        struct replica_input *in = shard_input(shard, type);
        in->from = (struct replica_id){.broker = broker};
        in->boot = boot;
        status_ignore(shard_step(shard, NULL), "the core has nothing to refuse here");
    }
}

void shards_peer_up(struct shards *set, uint32_t broker, uint64_t boot)
{
    tell_peer(set, broker, boot, REPLICA_PEER_UP);
}

void shards_peer_down(struct shards *set, uint32_t broker)
{
    for (struct shard *shard = shards_next(set, NULL); shard != NULL;
         shard = shards_next(set, shard)) {
        for (uint32_t i = 0; i < SHARD_PEERS_MAX; i++) {
            if (shard->peers[i].id.broker == broker) {
                set->hooks.forget(set->hooks.context, &shard->peers[i]);
            }
        }
    }
    tell_peer(set, broker, 0, REPLICA_PEER_DOWN);
}
