/* Reads a stopped broker's directory: the same recovery, but nothing is written. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "broker/log/identity.h"
#include "broker/log/open.h"
#include "broker/log/private.h"
#include "broker/log/recover.h"

struct digest {
    struct log_summary *summary;
    EVP_MD_CTX *sha;
    struct log_point point;
    bool has_point;
};

static void digest_add(struct digest *d, const struct batch_header *h, struct bytes batch)
{
    struct log_summary *s = d->summary;
    if (d->has_point && (h->base_offset != d->point.end || h->prev_crc != d->point.crc)) {
        s->corrupt = true;
    }
    d->has_point = true;
    d->point = (struct log_point){.end = batch_end(h), .epoch = h->epoch, .crc = h->header_crc};
    if (h->base_offset < s->log_start) {
        return;
    }
    s->batches++;
    s->records += h->count;
    s->bytes += batch.size;
    if ((h->flags & BATCH_ENCRYPTED) != 0) {
        s->first_key = s->encrypted == 0 ? h->key_id : s->first_key;
        s->last_key = h->key_id;
        s->encrypted++;
    }
    s->bytes_crc = crc32c(s->bytes_crc, batch.data, batch.size);
    if (EVP_DigestUpdate(d->sha, batch.data, batch.size) != 1) {
        s->corrupt = true;
    }
}

static enum status digest_segment(const struct shard_log *log, const struct segment *segment,
                                  uint64_t limit, struct digest *d)
{
    char path[STORE_PATH_BYTES];
    log_path_segment(path, log->store->dir, segment->shard, segment->base, "log");
    struct segment_scan scan;
    enum status status = segment_scan_open(&scan, log->store->disk, path, segment->shard);
    if (status != STATUS_OK) {
        return status;
    }
    scan.limit = limit;
    struct batch_header h;
    struct bytes batch;
    while ((status = segment_scan_next(&scan, &h, &batch)) == STATUS_OK) {
        digest_add(d, &h, batch);
    }
    segment_scan_close(&scan);
    if (status == STATUS_CORRUPT || status == STATUS_IO) {
        d->summary->corrupt = true;
        return STATUS_OK;
    }
    return status == STATUS_MORE ? STATUS_OK : status;
}

static enum status digest_journal(const struct shard_log *log, uint32_t from, struct digest *d)
{
    const struct recovering *r = log->recovering;
    AUTO(buf_release) struct buf buf = {0};
    for (uint32_t i = from; i < r->batch.count; i++) {
        const struct recovered_batch *b = &r->batch.item[i];
        buf.size = 0;
        enum status status = buf_reserve(&buf, b->bytes);
        if (status == STATUS_OK) {
            status = journal_read(log->store->journal, b->file, b->at, buf.data, b->bytes);
        }
        struct batch_header h;
        if (status == STATUS_OK) {
            status = batch_decode(bytes_of(buf.data, b->bytes), &h);
        }
        if (status != STATUS_OK) {
            return status;
        }
        digest_add(d, &h, bytes_of(buf.data, b->bytes));
    }
    return STATUS_OK;
}

static enum status digest_log(const struct shard_log *log, struct digest *d)
{
    uint32_t count;
    struct located end = recovering_files_end(log->recovering, &count);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && end.point.end > 0 && i < log->segment_count; i++) {
        const struct segment *segment = log->segment[i];
        if (segment->base > end.segment_base) {
            break;
        }
        bool last = segment->base == end.segment_base;
        status = digest_segment(log, segment, last ? end.segment_bytes : segment->bytes, d);
    }
    return status == STATUS_OK ? digest_journal(log, count, d) : status;
}

static enum status summarize(const struct shard_log *log, struct log_summary *out)
{
    struct log_summary summary = {
        .shard = log->journal.id,
        .log_start = log->log_start,
        .end = log->last.end,
        .commit_hint = log->commit_hint,
        .last_epoch = log->last.epoch,
        .last_crc = log->last.crc,
        .promised = log->promised,
        .disk_gen = log->disk_gen,
        .uncertain = log->uncertain,
    };
    struct digest digest = {.summary = &summary, .sha = EVP_MD_CTX_new()};
    if (digest.sha == NULL || EVP_DigestInit_ex(digest.sha, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(digest.sha);
        return STATUS_NO_MEMORY;
    }
    enum status status = digest_log(log, &digest);
    if (EVP_DigestFinal_ex(digest.sha, summary.bytes_sha256, NULL) != 1 && status == STATUS_OK) {
        status = STATUS_INTERNAL;
    }
    EVP_MD_CTX_free(digest.sha);
    bool whole = digest.has_point
                     ? digest.point.end == log->last.end && digest.point.crc == log->last.crc
                     : log->last.end == log->log_start;
    summary.corrupt = summary.corrupt || !whole;
    if (status == STATUS_OK) {
        *out = summary;
    }
    return status;
}

static int by_shard(const void *a, const void *b)
{
    const struct shard_log *const *x = a, *const *y = b;
    return (*x)->journal.id < (*y)->journal.id ? -1 : 1;
}

static enum status summarize_all(struct store *store,
                                 void (*each)(void *context, const struct log_summary *summary),
                                 void *context, struct error *error)
{
    uint32_t count = 0;
    AUTO(free_pointer)
    struct shard_log **logs = calloc((size_t)store->map.count + 1, sizeof(struct shard_log *));
    if (logs == NULL) {
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    LIST_FOR_EACH (node, &store->shards) {
        logs[count++] = CONTAINER_OF(node, struct shard_log, link);
    }
    if (count > 0) {
        qsort(logs, count, sizeof(struct shard_log *), by_shard);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct log_summary summary;
        enum status status = summarize(logs[i], &summary);
        if (status != STATUS_OK) {
            return error_set(error, status, "cannot read shard %u-%u in %s: %s",
                             (unsigned)(logs[i]->journal.id >> 32), (unsigned)logs[i]->journal.id,
                             store->dir, status_text(status));
        }
        store->info.shards++;
        store->info.uncertain_shards += summary.uncertain ? 1 : 0;
        each(context, &summary);
    }
    return STATUS_OK;
}

static enum status inspect_open(struct store *store, struct error *error)
{
    char path[STORE_PATH_BYTES];
    log_path_join(path, store->dir, "lock");
    store->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (store->lock_fd >= 0 && flock(store->lock_fd, LOCK_SH | LOCK_NB) < 0) {
        return error_set(error, STATUS_BUSY, "a broker is running on %s: stop it first",
                         store->dir);
    }
    struct identity identity;
    enum status status = disk_identity_read(store->disk, store->dir, &identity);
    if (status != STATUS_OK) {
        return error_set(error, status, "%s is not a readable data directory: %s", store->dir,
                         status_text(status));
    }
    store->info.broker = identity.broker;
    memcpy(store->info.cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
    memcpy(store->info.disk_id, identity.disk_id, DISK_ID_BYTES);
    memcpy(store->journal_options.id, identity.disk_id, JOURNAL_ID_BYTES);
    status_ignore(disk_boot_read(store->disk, store->dir, &identity, &store->info.boot_id),
                  "shown as 0");
    store->journal_options.read_only = true;
    return journal_open(&store->journal_options, &store->journal, error);
}

enum status store_inspect(const char *dir, const struct disk *disk,
                          void (*each)(void *context, const struct log_summary *summary),
                          void *context, struct store_info *out, struct error *error)
{
    struct store_options options;
    store_options_init(&options);
    options.dir = dir;
    options.disk = disk;
    struct store *store;
    enum status status = store_new(&options, &store, error);
    if (status != STATUS_OK) {
        return status;
    }
    status = inspect_open(store, error);
    struct recovery recovery = {.store = store};
    if (status == STATUS_OK) {
        status = recovery_replay(&recovery, &store->info.recovery, error);
    }
    LIST_FOR_EACH (node, &store->shards) {
        if (status == STATUS_OK) {
            status = recovery_resolve(CONTAINER_OF(node, struct shard_log, link));
        }
    }
    if (status == STATUS_OK) {
        status = summarize_all(store, each, context, error);
    }
    if (status == STATUS_OK) {
        *out = store->info;
    }
    recovery_release(&recovery);
    store_free(store);
    return status;
}
