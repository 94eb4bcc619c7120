/* The producer table of a log that was found on the disk: the newest snapshot beside a segment,
 * then every batch above it, read in the background while the shard follows and serves reads. The
 * first thing read is the last batch: append times must not go back. A grant waits for it, unless
 * it is damaged: then the core sees to its repair, or cuts it off, and EPOCH_START waits. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/shard/internal.h"

enum { READ_BYTES = 1024 * 1024, TAIL_BATCHES = 256 };

static void last_ms_is_known(struct shard *shard);

static void add(struct shard *shard, const struct batch_header *h)
{
    /* Without memory for it the table and the log would part ways, silently. */
    CHECK(producer_table_add(shard->producers, h) == STATUS_OK);
    shard->producers_upto = batch_end(h);
}

static void snapshot(struct shard *shard, uint64_t base)
{
    struct buf table = {0};
    if (producer_table_encode(shard->producers, base, &table) == STATUS_OK) {
        status_ignore(shard_log_put_producers(shard->log, base, buf_bytes(&table)),
                      "without it the next start reads more of the log");
    }
    buf_release(&table);
}

void producers_wrote(struct shard *shard, const struct batch_header *h, bool rolled)
{
    if (!shard->producers_built) {
        return; /* read later, in its turn */
    }
    if (rolled) {
        snapshot(shard, h->base_offset);
    }
    add(shard, h);
}

void producers_truncated(struct shard *shard, uint64_t end)
{
    producer_table_truncate(shard->producers, end);
    if (shard->producers_upto > end) {
        shard->producers_upto = end;
    }
}

void producers_installed(struct shard *shard, uint64_t start, struct bytes table)
{
    /* Who wrote last before it, and is unknown here, is told so and begins anew (2.11). */
    producer_table_truncate(shard->producers, 0);
    if (table.size > 0 && producer_table_decode(shard->producers, table) != STATUS_OK) {
        trace(TRACE_WARNING, "shards",
              "shard %016llx: the producer table of the installed copy cannot be decoded",
              (unsigned long long)shard->id);
    }
    shard->producers_upto = start;
    shard->producers_built = true;
    if (!shard->is_last_ms_known) {
        last_ms_is_known(shard);
    }
}

void rebuild_queue(struct shard *shard, bool first)
{
    struct shards *set = shard->set;
    if (shard->is_rebuilding || (shard->is_last_ms_known && shard->producers_built)) {
        return;
    }
    list_remove(&shard->job);
    list_push(first ? set->jobs.next : &set->jobs, &shard->job);
    shards_schedule(set);
}

void rebuild_forget(struct shard *shard)
{
    list_remove(&shard->job);
    for (uint32_t i = 0; i < REBUILDS_AT_ONCE; i++) {
        if (shard->set->rebuilds[i].shard == shard) {
            shard->set->rebuilds[i].shard = NULL;
        }
    }
}

/* The table cannot be had: producers start again with a new epoch. */
static void give_up(struct shard *shard, enum status status)
{
    trace(
        TRACE_WARNING, "shards",
        "shard %016llx: reading at offset %llu what producers have written: %s; they must start anew",
        (unsigned long long)shard->id, (unsigned long long)shard->producers_upto,
        status_text(status));
    producer_table_truncate(shard->producers, 0);
    shard->is_last_ms_known = shard->producers_built = true;
    uint64_t wall_ms = shard->set->hooks.wall_ms(shard->set->hooks.context);
    shard->last_ms = shard->last_ms > wall_ms ? shard->last_ms : wall_ms;
    shard->producers_upto = shard->end;
}

bool rebuild_awaits_repair(const struct shard *shard)
{
    struct replica_holes holes;
    shard_log_holes(shard->log, &holes);
    return !shard->is_last_ms_known && holes.count > 0 && holes.end >= shard->end;
}

static void last_ms_is_known(struct shard *shard)
{
    shard->is_last_ms_known = true;
    rebuild_give_grant(shard);
}

void rebuild_give_grant(struct shard *shard)
{
    struct shard_grant *grant = shard->waiting_grant;
    shard->waiting_grant = NULL;
    if (grant != NULL) {
        status_ignore(shard_grant(shard, grant), "the controllers grant again");
        free(grant);
    }
}

static void load_snapshot(struct shard *shard)
{
    struct buf table = {0};
    uint64_t base;
    if (shard_log_get_producers(shard->log, &table, &base) == STATUS_OK && base <= shard->end &&
        base >= shard->log_start &&
        producer_table_decode(shard->producers, buf_bytes(&table)) == STATUS_OK) {
        shard->producers_upto = base;
    }
    buf_release(&table);
}

static void load_snapshot_once(struct shard *shard)
{
    if (shard->producers_upto == shard->log_start) {
        load_snapshot(shard);
    }
}

/* What the tail ring has needs no reading. */
static void take_tail(struct shard *shard)
{
    struct log_batch batch[TAIL_BATCHES];
    for (;;) {
        uint32_t count = shard_log_tail(shard->log, shard->producers_upto, shard->end, SIZE_MAX,
                                        batch, TAIL_BATCHES);
        if (count == 0) {
            return;
        }
        for (uint32_t i = 0; i < count; i++) {
            struct batch_header h;
            CHECK(batch_header_decode(batch[i].bytes, &h) == STATUS_OK);
            add(shard, &h);
        }
    }
}

/* It never falls along a log. */
static void note_generation(struct shard *shard, const struct batch_header *h)
{
    shard->log_generation =
        h->generation > shard->log_generation ? h->generation : shard->log_generation;
}

/* The last batch, from the tail when it is there. */
static bool last_batch_in_tail(struct shard *shard)
{
    struct log_batch batch;
    if (shard->end == shard->log_start ||
        shard_log_tail(shard->log, shard->end - 1, shard->end, 1, &batch, 1) == 0) {
        return false;
    }
    shard->last_ms = batch.append_ms > shard->last_ms ? batch.append_ms : shard->last_ms;
    struct batch_header h;
    if (batch_header_decode(batch.bytes, &h) == STATUS_OK) {
        note_generation(shard, &h);
    }
    return true;
}

static void read_done(struct log_read *read);

/* The next read of this shard; false when there is nothing left to read. */
static bool read_more(struct rebuild *rebuild)
{
    struct shard *shard = rebuild->shard;
    struct log_read *read = &rebuild->read;
    if (!shard->is_last_ms_known && (shard->end == shard->log_start || last_batch_in_tail(shard))) {
        last_ms_is_known(shard);
        load_snapshot_once(shard);
    }
    read->log = shard->log;
    read->end = shard->end;
    if (!shard->is_last_ms_known) {
        read->offset = shard->end - 1;
        read->max_bytes = 1;
    } else {
        take_tail(shard);
        if (shard->producers_upto >= shard->end) {
            shard->producers_built = true;
            return false;
        }
        read->offset = shard->producers_upto;
        read->max_bytes = READ_BYTES;
    }
    read->data.size = 0;
    read->done = read_done;
    read->owner = rebuild;
    rebuild->truncations = shard->truncations;
    enum status status = store_read(shard->set->store, read);
    if (status != STATUS_OK) {
        give_up(shard, status);
        last_ms_is_known(shard);
        return false;
    }
    rebuild->reading = true;
    return true;
}

static void finish(struct rebuild *rebuild)
{
    if (rebuild->shard != NULL) {
        rebuild->shard->is_rebuilding = false;
        rebuild->shard = NULL;
    }
    rebuild->damaged_at = 0;
    shards_schedule(rebuild->set);
}

static void start(struct rebuild *rebuild, struct shard *shard)
{
    rebuild->shard = shard;
    rebuild->read.hint = (struct log_read_hint){0}; /* of another shard */
    shard->is_rebuilding = true;
    if (shard->is_last_ms_known) {
        load_snapshot_once(shard);
    }
    if (!read_more(rebuild)) {
        finish(rebuild);
    }
}

void rebuild_pump(struct shards *set)
{
    for (uint32_t i = 0; i < REBUILDS_AT_ONCE && !list_empty(&set->jobs); i++) {
        struct rebuild *rebuild = &set->rebuilds[i];
        if (rebuild->shard == NULL && !rebuild->reading) {
            start(rebuild, CONTAINER_OF(list_pop(&set->jobs), struct shard, job));
        }
    }
}

/* Adds what was read; every batch has passed its checks in the store. */
static void take_read(struct shard *shard, const struct log_read *read)
{
    struct bytes rest = buf_bytes(&read->data);
    bool scan = shard->is_last_ms_known;
    while (rest.size > 0) {
        struct batch_header h;
        if (batch_header_decode(rest, &h) != STATUS_OK || batch_bytes(&h) > rest.size) {
            return; /* not of the store's making; the next read shows it again */
        }
        rest = bytes_of(rest.data + batch_bytes(&h), rest.size - batch_bytes(&h));
        shard->last_ms = h.append_ms > shard->last_ms ? h.append_ms : shard->last_ms;
        note_generation(shard, &h);
        if (scan && batch_end(&h) > shard->producers_upto) {
            add(shard, &h);
        }
    }
    if (!scan) {
        last_ms_is_known(shard);
        load_snapshot(shard);
    }
}

static void read_done(struct log_read *read)
{
    struct rebuild *rebuild = read->owner;
    rebuild->reading = false;
    struct shard *shard = rebuild->shard;
    if (shard == NULL || rebuild->set->closing || read->status == STATUS_CANCELLED) {
        finish(rebuild);
        return;
    }
    bool same_log = rebuild->truncations == shard->truncations;
    if (same_log && read->status == STATUS_OK) {
        take_read(shard, read);
    } else if (same_log && rebuild->damaged_at == read->offset + 1) {
        give_up(shard, read->status);
        last_ms_is_known(shard);
    } else {
        rebuild->damaged_at = read->offset + 1; /* once more: the tail may have moved meanwhile */
    }
    /* A grant that waited may have stepped the shard, even into a halt; it is still here. */
    if (rebuild->shard != NULL && !shard->producers_built && read_more(rebuild)) {
        return;
    }
    finish(rebuild);
}
