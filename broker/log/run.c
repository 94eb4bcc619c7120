/* The store's part in the caller's loop. */
#include <sys/eventfd.h>

#include "base/check.h"
#include "broker/log/open.h"
#include "broker/log/private.h"

int store_event_fd(const struct store *store)
{
    return store->event_fd;
}

void store_flush(struct store *store)
{
    journal_flush(store->journal);
    if (journal_next_position(store->journal) - store->space_checked_at > SPACE_EVERY_BYTES) {
        store_check_space(store);
    }
}

uint64_t store_synced(const struct store *store)
{
    return journal_synced_lsn(store->journal);
}

enum status store_poll(struct store *store, uint64_t *out_synced)
{
    eventfd_t count;
    (void)eventfd_read(store->event_fd, &count);
    enum status status = journal_poll(store->journal);
    if (status != STATUS_OK) {
        store->out = status;
    }
    disk_worker_reap(&store->syncer);
    disk_worker_reap(&store->writer);
    disk_worker_reap(&store->reader);
    log_apply_advance(store, false);
    *out_synced = journal_synced_lsn(store->journal);
    return store->out;
}

void store_settle(struct store *store)
{
    if (store->out == STATUS_OK) {
        log_apply_advance(store, true);
    }
}

enum status store_sync(struct store *store, bool segments)
{
    enum status status = store->out;
    if (status == STATUS_OK) {
        status = journal_sync(store->journal);
        store->out = status;
    }
    while (segments && status == STATUS_OK) {
        log_apply_advance(store, true);
        struct disk_worker *worker = store->job.in_flight    ? &store->writer
                                     : store->sync.in_flight ? &store->syncer
                                                             : NULL;
        if (worker == NULL) {
            break;
        }
        disk_worker_wait(worker);
        disk_worker_reap(worker);
        status = store->out != STATUS_OK ? store->out
                 : store->stalled        ? STATUS_DISK_FULL
                                         : STATUS_OK;
    }
    return status;
}

void store_check_space(struct store *store)
{
    store->space_checked_at = journal_next_position(store->journal);
    struct disk_space space;
    if (store->disk->space(store->disk->context, store->dir, &space) >= 0) {
        store->space = space;
        store->reserve_bytes = store->options.reserve_bytes != UINT64_MAX
                                   ? store->options.reserve_bytes
                                   : store_default_reserve(&space);
        store->full = space.free_bytes < store->reserve_bytes;
    }
    store->stalled = false;
    store->file_refused = false;
    log_apply_advance(store, false);
}

void store_status(const struct store *store, struct store_status *out)
{
    *out = (struct store_status){
        .out = store->out != STATUS_OK,
        .full = store->full || store->stalled,
        .free_bytes = store->space.free_bytes,
        .reserve_bytes = store->reserve_bytes,
        .unapplied_bytes = store->op_bytes,
    };
    journal_view(store->journal, &out->journal);
}

enum status store_admit_control(struct store *store, size_t bytes)
{
    enum status status =
        store->out != STATUS_OK ? store->out : journal_admit(store->journal, bytes);
    if (status == STATUS_BUSY && !store->room_wanted) {
        store->room_wanted = true;
        log_apply_advance(store, false);
    }
    return status;
}

enum status store_admit(struct store *store, size_t bytes)
{
    if (store->out != STATUS_OK) {
        return store->out;
    }
    if (store->full || store->stalled) {
        return STATUS_DISK_FULL;
    }
    return store_admit_control(store, bytes);
}
