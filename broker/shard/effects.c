/* Stepping the core, and doing what it says, in its order. */
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/shard/internal.h"

struct replica_input *shard_input(struct shard *shard, enum replica_input_type type)
{
    struct replica_input *in = &shard->set->input;
    in->type = type;
    in->now_ms = shard->set->hooks.now_ms(shard->set->hooks.context);
    return in;
}

static struct shard_peer *find_peer(struct shard *shard, struct replica_id id)
{
    struct shard_peer *unused = NULL;
    for (uint32_t i = 0; i < SHARD_PEERS_MAX; i++) {
        struct shard_peer *peer = &shard->peers[i];
        if (replica_id_equal(peer->id, id)) {
            return peer;
        }
        /* Configurations change: an entry that nobody works on may be used again. */
        if (unused == NULL && !peer->queued && peer->link_data == NULL) {
            unused = peer;
        }
    }
    if (unused != NULL) {
        unused->id = id;
    }
    return unused;
}

static void do_wake(struct shard *shard, struct replica_id to)
{
    struct shard_peer *peer = find_peer(shard, to);
    if (peer == NULL) {
        trace(TRACE_ERROR, "shards", "shard %016llx: no room for peer broker-%u",
              (unsigned long long)shard->id, to.broker);
        return;
    }
    shard->set->hooks.wake(shard->set->hooks.context, peer);
}

static void do_write(struct shard *shard, const struct replica_effect *e,
                     const struct input_batches *batches)
{
    struct log_appended appended = {0};
    for (uint32_t i = e->first; i < e->first + e->count; i++) {
        const struct batch_header *h = &batches->headers[i];
        enum status status =
            shard_log_append(shard->log, h, &batches->parts[i * batches->parts_each],
                             batches->parts_each, &appended);
        if (status != STATUS_OK) {
            /* Admitted before, so the disk itself failed. The core counts what will never be
             * synced: nothing of it is acknowledged, and nothing is written any more. */
            shards_fail(shard->set, status, "append");
            return;
        }
        producers_wrote(shard, h, appended.rolled);
        shard->last_ms = h->append_ms > shard->last_ms ? h->append_ms : shard->last_ms;
        shard->log_generation = h->generation;
        shard->end = batch_end(h);
    }
    syncs_push(shard->set, shard, appended.lsn, e->seq);
}

/* PROMISE, TRUNCATE and UNCERTAIN. */
static void do_record(struct shard *shard, const struct replica_effect *e)
{
    uint64_t lsn = 0;
    enum status status;
    const char *what;
    if (e->type == REPLICA_DO_PROMISE) {
        what = "promise";
        status = shard_log_promise(shard->log, e->epoch, &lsn);
    } else if (e->type == REPLICA_DO_TRUNCATE) {
        what = "truncate";
        shard->truncations++;
        shard->end = e->end;
        producers_truncated(shard, e->end);
        status = shard_log_truncate(shard->log, e->end, e->epoch, &lsn);
    } else {
        what = "uncertain";
        status = shard_log_set_uncertain(shard->log, e->flag, e->end, &lsn);
    }
    if (status != STATUS_OK) {
        shards_fail(shard->set, status, what);
    } else if (e->seq != 0) {
        syncs_push(shard->set, shard, lsn, e->seq);
    }
}

/* What the log held is of no use any more: the leader has trimmed what would have to follow it. */
static void do_install(struct shard *shard, const struct replica_effect *e,
                       const struct input_batches *batches)
{
    uint64_t lsn = 0;
    const struct log_point start = {.end = e->end, .epoch = e->epoch, .crc = e->crc};
    trace(TRACE_INFO, "shards", "shard %016llx: installs a copy that begins at offset %llu",
          (unsigned long long)shard->id, (unsigned long long)e->end);
    shard->truncations++;
    shard->end = shard->log_start = e->end;
    producers_installed(shard, e->end, batches->producers);
    enum status status = shard_log_install(shard->log, &start, &lsn);
    if (status != STATUS_OK) {
        shards_fail(shard->set, status, "install");
    } else {
        syncs_push(shard->set, shard, lsn, e->seq);
    }
}

static void do_commit(struct shard *shard, uint64_t end)
{
    shard->commit = end;
    shard_log_commit_hint(shard->log, end);
    puts_committed(shard, end);
    readers_wake(shard, end, STATUS_OK);
}

static void do_sealed(struct shard *shard, uint64_t end)
{
    shard->sealed = true;
    shard->seal_end = end;
    readers_wake(shard, UINT64_MAX, STATUS_OK); /* whoever waits behind the end */
    if (shard->open) {
        /* Append times never fall, so the newest batch's is no earlier than any record's. */
        shard->set->hooks.sealed(shard->set->hooks.context, shard, end, shard->last_ms);
    }
}

static void do_lead(struct shard *shard, uint32_t epoch)
{
    shard->open = true;
    shard->epoch = epoch;
    shard->set->leading++;
    trace(TRACE_INFO, "shards", "shard %016llx: leading epoch %u from offset %llu",
          (unsigned long long)shard->id, epoch, (unsigned long long)shard->commit);
    shard->set->hooks.leading(shard->set->hooks.context, shard, epoch);
}

static void do_step_down(struct shard *shard, uint32_t epoch)
{
    if (shard->open) {
        shard->open = false;
        shard->set->leading--;
    }
    trace(TRACE_INFO, "shards", "shard %016llx: epoch %u is over, %u puts are uncertain",
          (unsigned long long)shard->id, epoch, shard->put_count);
    puts_fail(shard, STATUS_UNCERTAIN);
    shard->confirmed_ms = shard->mark_end = 0;
    for (uint32_t i = 0; i < SHARD_PEERS_MAX; i++) {
        if (shard->peers[i].id.broker != 0) {
            shard->set->hooks.forget(shard->set->hooks.context, &shard->peers[i]);
        }
    }
}

static void do_log_start(struct shard *shard, uint64_t offset)
{
    uint64_t lsn = 0;
    shard->log_start = offset;
    enum status status = shard_log_trim(shard->log, offset, &lsn);
    if (status != STATUS_OK) {
        shards_fail(shard->set, status, "trim");
    }
}

static void do_halt(struct shard *shard, uint64_t hint)
{
    trace(
        TRACE_ERROR, "shards",
        "shard %016llx: HALTED: its log contradicts what is known as committed below offset %llu; "
        "it serves nothing and keeps all its files until an operator has looked at it",
        (unsigned long long)shard->id, (unsigned long long)hint);
    readers_wake(shard, UINT64_MAX, STATUS_INTERNAL);
}

static void carry_out(struct shard *shard, const struct replica_effect *e,
                      const struct input_batches *batches)
{
    struct shards *set = shard->set;
    switch (e->type) {
    case REPLICA_DO_PROMISE:
    case REPLICA_DO_TRUNCATE:
    case REPLICA_DO_UNCERTAIN:
        do_record(shard, e);
        break;
    case REPLICA_DO_INSTALL:
        do_install(shard, e, batches);
        break;
    case REPLICA_DO_LEARNED:
        set->hooks.learned(set->hooks.context, shard, e->to);
        break;
    case REPLICA_DO_HANDED:
        set->hooks.resign(set->hooks.context, shard, e->epoch, 0, e->to.broker);
        break;
    case REPLICA_DO_REPAIR:
        set->hooks.repair(set->hooks.context, shard, e->end);
        break;
    case REPLICA_DO_WRITE:
        do_write(shard, e, batches);
        break;
    case REPLICA_DO_START_EPOCH:
    case REPLICA_DO_SEAL:
        break; /* after the list: its batch takes the next seq */
    case REPLICA_DO_WAKE:
        do_wake(shard, e->to);
        break;
    case REPLICA_DO_ANSWER:
        set->hooks.answer(set->hooks.context, shard, e->to, &e->answer);
        break;
    case REPLICA_DO_REPORT:
        set->hooks.report(set->hooks.context, shard, e->epoch, &e->report);
        break;
    case REPLICA_DO_COMMIT:
        do_commit(shard, e->end);
        break;
    case REPLICA_DO_SEALED:
        do_sealed(shard, e->end);
        break;
    case REPLICA_DO_LEAD:
        do_lead(shard, e->epoch);
        break;
    case REPLICA_DO_STEP_DOWN:
        resign_stepped_down(shard, e->epoch);
        do_step_down(shard, e->epoch);
        break;
    case REPLICA_DO_LOG_START:
        do_log_start(shard, e->end);
        break;
    case REPLICA_DO_HALT:
        do_halt(shard, e->end);
        break;
    }
}

static void note_view(struct shard *shard)
{
    struct replica_view view;
    replica_view(shard->replica, &view);
    shard->role = view.role;
    shard->epoch = view.epoch;
    shard->log_start = view.log_start;
    shard->seal_end = view.seal_end;
    shard->sealed = view.sealed;
    CHECK(shard->open == (view.role == REPLICA_LEADING && view.open));
    /* After a failed write the core is ahead of the log, and nothing is written any more. */
    CHECK(shard->set->out || shard->end == view.last.end);
    CHECK(shard->commit == view.commit);
    resign_check(shard, &view);
}

enum status shard_step(struct shard *shard, const struct input_batches *batches)
{
    struct shards *set = shard->set;
    enum status status = syncs_reserve(set, REPLICA_EFFECTS_MAX);
    if (status != STATUS_OK) {
        return status;
    }
    struct replica_effects *effects = &set->effects;
    status = replica_step(shard->replica, &set->input, effects);
    if (status != STATUS_OK) {
        return status;
    }
    uint32_t start_epoch = 0, seal_epoch = 0;
    for (uint32_t i = 0; i < effects->count; i++) {
        if (effects->effect[i].type == REPLICA_DO_START_EPOCH) {
            start_epoch = effects->effect[i].epoch;
        } else if (effects->effect[i].type == REPLICA_DO_SEAL) {
            seal_epoch = effects->effect[i].epoch;
        }
        carry_out(shard, &effects->effect[i], batches);
    }
    note_view(shard);
    deadline_set(shard, deadline_next(shard));
    shards_schedule(set);
    if (start_epoch != 0) {
        shard_start_epoch(shard, start_epoch);
    }
    if (seal_epoch != 0) {
        shard_append_seal(shard, seal_epoch);
    }
    return STATUS_OK;
}
