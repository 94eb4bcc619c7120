#include "broker/server/repair.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/repair_serve.h"
#include "proto/schema/repair.pb-c.h"

enum repair_state { REPAIR_FIND, REPAIR_FETCH, REPAIR_PATCH, REPAIR_PAUSE };

/* Of one shard. The log's own pointer is looked up anew at each step: shards come and go. */
struct repair {
    struct list node;
    struct repairs *set;
    uint64_t shard, offset;
    uint64_t until_ms; /* reads wait until then; 0: they do not any more */
    enum repair_state state;
    bool counted, failed_told;
    struct shard_absence absence; /* what the broker that is asked now says of the hole */
    struct log_check check;
    struct log_patch patch;
    struct buf data;
    uint32_t want_bytes;
    uint32_t broker[REPLICAS_PER_SHARD], broker_count, next; /* whom to ask, in turn */
    struct session_request request;
    struct net_timer timer;
};

struct repairs {
    struct repairs_options options;
    struct list active; /* struct repair */
    uint32_t count;
    bool closing;
    struct repair_counters counters;
    struct repair_serve serve;
};

static uint64_t now(const struct repairs *set)
{
    return net_now_ms(set->options.loop);
}

static struct shard_log *log_of(const struct repair *r)
{
    const struct shard *shard = shards_find(r->set->options.shards, r->shard);
    return shard == NULL ? NULL : shard->log;
}

static struct repair *repair_of(const struct repairs *set, uint64_t shard)
{
    LIST_FOR_EACH (node, &set->active) {
        struct repair *r = CONTAINER_OF(node, struct repair, node);
        if (r->shard == shard) {
            return r;
        }
    }
    return NULL;
}

static void start_others(struct repairs *set);

/* What is known of it has changed: the core reports it, and may wait for it. */
static void tell_core(const struct repair *r)
{
    struct shard *shard = shards_find(r->set->options.shards, r->shard);
    if (shard != NULL) {
        shard_damaged(shard);
    }
}

/* Whoever reads goes on, or meets the next damage, or is told. */
static void end(struct repair *r, bool repaired)
{
    struct repairs *set = r->set;
    struct shard_log *log = log_of(r);
    if (!set->closing) {
        tell_core(r);
    }
    net_timer_stop(set->options.loop, &r->timer);
    list_remove(&r->node);
    set->count--;
    buf_release(&r->data);
    free(r);
    if (log != NULL && !set->closing) {
        shard_log_repaired(log, repaired);
    }
    if (repaired && !set->closing) {
        start_others(set);
    }
}

static void find(struct repair *r);
static void ask(struct repair *r);

static bool is_hole(const struct shard *shard, uint64_t offset)
{
    struct replica_holes holes;
    shard_log_holes(shard->log, &holes);
    return holes.count > 0 && holes.begin <= offset && offset < holes.end;
}

static void paused(struct net_timer *timer)
{
    struct repair *r = CONTAINER_OF(timer, struct repair, timer);
    find(r);
}

static void tell_failure(struct repair *r)
{
    if (!r->failed_told) {
        r->failed_told = true;
        trace(
            TRACE_ERROR, "repair",
            "shard %016llx: the records from offset %llu on are damaged on this disk and no other "
            "replica gives them now; they are not served, and asked for again",
            (unsigned long long)r->shard, (unsigned long long)r->check.point.end);
    }
}

/* Not now. While reads wait it is tried again soon. */
static void pause(struct repair *r)
{
    struct repairs *set = r->set;
    if (log_of(r) == NULL || set->closing) {
        end(r, false);
        return;
    }
    r->state = REPAIR_PAUSE;
    bool waits = r->until_ms != 0 && now(set) < r->until_ms;
    uint64_t at_ms = now(set) + (waits ? REPAIR_AGAIN_MS : REPAIR_LATER_MS);
    if (net_timer_start(set->options.loop, &r->timer, at_ms, paused) != STATUS_OK) {
        end(r, false);
        return;
    }
    if (!waits && r->until_ms != 0) {
        r->until_ms = 0;
        tell_failure(r);
        shard_log_repaired(log_of(r), false);
    }
}

/* This broker does not have it: the core may want to know. Then the next one is asked. */
static void pass_over(struct repair *r)
{
    struct shard *shard = shards_find(r->set->options.shards, r->shard);
    r->set->counters.refused++;
    r->data.size = 0;
    r->next++;
    if (shard != NULL && r->absence.promised != 0) {
        shard_absent(shard, &r->absence);
    }
    if (shard != NULL && !is_hole(shard, r->check.point.end)) {
        end(r, true); /* the log ends there now, or begins behind it */
        return;
    }
    ask(r);
}

/* Nothing is wrong where it was looked for; but while the list says so, it is looked at again. */
static void finish(struct repair *r)
{
    const struct shard *shard = shards_find(r->set->options.shards, r->shard);
    if (shard != NULL && !r->set->closing && is_hole(shard, r->offset) && r->offset < shard->end) {
        pause(r);
        return;
    }
    end(r, true);
}

/* ---- writing ---- */

static void write(struct repair *r, bool partial);

static void patched(struct log_patch *patch)
{
    struct repair *r = patch->owner;
    struct repairs *set = r->set;
    if (patch->status == STATUS_OK) {
        set->counters.repaired++;
        set->counters.bytes += r->data.size;
        trace(TRACE_WARNING, "repair",
              "shard %016llx: damage at offset %llu is repaired up to %llu from broker-%u",
              (unsigned long long)r->shard, (unsigned long long)patch->point.end,
              (unsigned long long)patch->end, r->broker[r->next]);
        shard_log_clear_hole(patch->log, patch->point.end, patch->end);
        end(r, true);
    } else if (set->closing || patch->status == STATUS_CANCELLED) {
        end(r, false);
    } else if (patch->status == STATUS_MORE) {
        ask(r);
    } else if (patch->status == STATUS_BUSY && patch->blocked != r->offset) {
        r->offset = patch->blocked; /* what lies behind, first: it says how this ends */
        find(r);
    } else if (patch->status == STATUS_NOT_FOUND) {
        finish(r); /* the log is another one now */
    } else if (!patch->partial && patch->status == STATUS_CORRUPT) {
        write(r, true); /* as much of it as is ours */
    } else {
        if (patch->status != STATUS_CORRUPT) {
            r->absence.promised = 0; /* it says nothing about them */
        }
        pass_over(r);
    }
}

static void write(struct repair *r, bool partial)
{
    struct shard_log *log = log_of(r);
    if (log == NULL || r->set->closing) {
        end(r, false);
        return;
    }
    r->state = REPAIR_PATCH;
    r->patch = (struct log_patch){.log = log,
                                  .segment = r->check.segment,
                                  .at = r->check.at,
                                  .point = r->check.point,
                                  .has_point = r->check.has_point,
                                  .data = buf_bytes(&r->data),
                                  .partial = partial,
                                  .done = patched,
                                  .owner = r};
    enum status status = store_patch(shards_store(r->set->options.shards), &r->patch);
    if (status == STATUS_NOT_FOUND) {
        finish(r);
    } else if (status != STATUS_OK) {
        pause(r);
    }
}

/* ---- asking ---- */

/* What it says of the hole's first batch counts also when the data does not fit. */
static enum status take_reply(struct repair *r, const struct session_reply *reply)
{
    Weir__RepairData *data = weir__repair_data__unpack(NULL, reply->body.size, reply->body.data);
    if (data == NULL) {
        return STATUS_INVALID;
    }
    if (r->data.size == 0) {
        r->absence = (struct shard_absence){
            .from = {.broker = r->broker[r->next], .disk_gen = data->disk_gen},
            .offset = r->check.point.end,
            .log_start = data->log_start,
            .promised = data->promised,
            .gone = data->gone,
            .gone_epoch = data->gone_epoch
        };
    }
    weir__repair_data__free_unpacked(data, NULL);
    return reply->attachment.size > 0
               ? buf_append(&r->data, reply->attachment.data, reply->attachment.size)
               : STATUS_NOT_FOUND;
}

static void answered(struct session_request *request, const struct session_reply *reply)
{
    struct repair *r = CONTAINER_OF(request, struct repair, request);
    enum status status = reply->status;
    if (r->set->closing) {
        end(r, false);
        return;
    }
    bool first = r->data.size == 0;
    if (status == STATUS_OK) {
        status = take_reply(r, reply);
    }
    if (status == STATUS_OK || !first) {
        write(r, status != STATUS_OK); /* what came is all that there is */
        return;
    }
    trace(TRACE_DEBUG, "repair", "shard %016llx: broker-%u does not have offset %llu: %s",
          (unsigned long long)r->shard, r->broker[r->next], (unsigned long long)r->check.point.end,
          status_text(status));
    pass_over(r);
}

/* Behind the last batch that came, or where the damage begins. */
static uint64_t asked_offset(const struct repair *r)
{
    uint64_t offset = r->check.point.end;
    struct bytes data = buf_bytes(&r->data);
    struct batch_header h;
    while (data.size > 0 && batch_header_decode(data, &h) == STATUS_OK &&
           batch_bytes(&h) <= data.size) {
        offset = batch_end(&h);
        data = bytes_of(data.data + batch_bytes(&h), data.size - batch_bytes(&h));
    }
    return offset;
}

static void ask(struct repair *r)
{
    r->state = REPAIR_FETCH;
    for (; r->next < r->broker_count; r->next++, r->data.size = 0) {
        if (r->data.size == 0) {
            r->want_bytes = REPAIR_BYTES;
            r->absence.promised = 0;
        }
        struct session *session = peers_session(r->set->options.peers, r->broker[r->next]);
        if (session == NULL) {
            continue;
        }
        Weir__RepairGet get;
        weir__repair_get__init(&get);
        get.shard = r->shard;
        get.offset = asked_offset(r);
        get.max_bytes = r->want_bytes;
        enum status status =
            session_call(session, RPC_REPAIR_GET, (struct session_payload){.body = &get.base},
                         REPAIR_CALL_MS, &r->request, answered);
        if (status == STATUS_OK) {
            r->want_bytes = r->want_bytes < REPAIR_BYTES_MAX ? 2 * r->want_bytes : REPAIR_BYTES_MAX;
            return;
        }
    }
    pause(r);
}

/* All other replicas; the leader first, it has most. */
static void choose(struct repair *r)
{
    const struct route_shard *row = route_shard(r->set->options.route, r->shard);
    uint32_t self = r->set->options.broker;
    r->broker_count = r->next = 0;
    if (row == NULL) {
        return;
    }
    if (row->leader_broker != 0 && row->leader_broker != self) {
        r->broker[r->broker_count++] = row->leader_broker;
    }
    for (uint32_t i = 0; i < row->replica_count && r->broker_count < REPLICAS_PER_SHARD; i++) {
        uint32_t broker = row->replica_brokers[i];
        if (broker != self && broker != row->leader_broker) {
            r->broker[r->broker_count++] = broker;
        }
    }
}

/* ---- finding ---- */

static void found(struct log_check *check)
{
    struct repair *r = check->owner;
    struct repairs *set = r->set;
    if (set->closing || check->status == STATUS_CANCELLED) {
        end(r, false);
    } else if (check->status == STATUS_CORRUPT) {
        if (!r->counted) {
            r->counted = true;
            set->counters.found++;
            trace(TRACE_ERROR, "repair",
                  "shard %016llx: the segment at %llu is damaged from byte %llu (offset %llu) on",
                  (unsigned long long)r->shard, (unsigned long long)check->segment,
                  (unsigned long long)check->at, (unsigned long long)check->point.end);
        }
        shard_log_clear_hole(check->log, r->offset, check->point.end); /* good up to there */
        shard_log_note_hole(check->log, check->point.end, check->hole_end);
        tell_core(r);
        choose(r);
        r->data.size = 0;
        ask(r);
    } else if (check->status == STATUS_OK) {
        /* Good so far; from behind it on. */
        check->max_bytes = REPAIR_BYTES_MAX;
        if (store_check(shards_store(set->options.shards), check) != STATUS_OK) {
            pause(r);
        }
    } else if (check->status == STATUS_NO_MEMORY) {
        pause(r);
    } else {
        if (check->status == STATUS_MORE) { /* nothing is wrong from there to the segment's end */
            shard_log_clear_hole(check->log, r->offset, check->point.end);
        }
        finish(r); /* or it is gone */
    }
}

static void find(struct repair *r)
{
    struct shard_log *log = log_of(r);
    struct log_segment segment = {0}, next = {0};
    if (log == NULL || r->set->closing) {
        end(r, false);
        return;
    }
    bool any = shard_log_segment(log, 0, &segment);
    while (any && segment.end <= r->offset && shard_log_segment(log, segment.base + 1, &next)) {
        segment = next;
    }
    if (!any) {
        finish(r);
        return;
    }
    r->state = REPAIR_FIND;
    r->check = (struct log_check){.log = log,
                                  .segment = segment.base,
                                  .near = true,
                                  .offset = r->offset,
                                  .point = {.end = segment.base},
                                  .max_bytes = REPAIR_BYTES,
                                  .done = found,
                                  .owner = r};
    if (store_check(shards_store(r->set->options.shards), &r->check) != STATUS_OK) {
        pause(r);
    }
}

static void damaged(void *context, struct shard_log *log, uint64_t offset)
{
    repairs_damaged(context, log, offset);
}

static void begin_later(struct net_timer *timer)
{
    find(CONTAINER_OF(timer, struct repair, timer));
}

void repairs_damaged(struct repairs *set, struct shard_log *log, uint64_t offset)
{
    struct repair *r = repair_of(set, shard_log_id(log));
    if (set->closing) {
        return;
    }
    if (r != NULL) {
        if (r->until_ms == 0) {
            r->until_ms = now(set) + REPAIR_WAIT_MS;
            if (r->state == REPAIR_PAUSE) {
                r->offset = offset;
                status_ignore(net_timer_start(set->options.loop, &r->timer, now(set) + 1, paused),
                              "it has its place in the heap");
            }
        }
        return;
    }
    r = set->count < REPAIRS_MAX ? calloc(1, sizeof(*r)) : NULL;
    if (r == NULL) {
        shard_log_repaired(log, false);
        return;
    }
    r->set = set;
    r->shard = shard_log_id(log);
    r->offset = offset;
    r->until_ms = now(set) + REPAIR_WAIT_MS;
    list_push(&set->active, &r->node);
    set->count++;
    if (net_timer_start(set->options.loop, &r->timer, now(set), begin_later) != STATUS_OK) {
        end(r, false);
    }
}

/* Of the shards whose damage is known, those that nobody works on. */
static void start_others(struct repairs *set)
{
    struct shards *shards = set->options.shards;
    for (struct shard *shard = shards_next(shards, NULL); shard != NULL && set->count < REPAIRS_MAX;
         shard = shards_next(shards, shard)) {
        struct replica_holes holes;
        shard_log_holes(shard->log, &holes);
        if (holes.count > 0 && repair_of(set, shard->id) == NULL) {
            repairs_damaged(set, shard->log, holes.begin);
        }
    }
}

void repairs_resume(struct repairs *set)
{
    start_others(set);
}

/* ---- the set ---- */

struct repairs *repairs_new(const struct repairs_options *options)
{
    struct repairs *set = calloc(1, sizeof(*set));
    if (set == NULL) {
        return NULL;
    }
    set->options = *options;
    list_init(&set->active);
    repair_serve_init(&set->serve, options->shards, &set->counters.served);
    store_set_repairer(shards_store(options->shards),
                       &(struct store_repairer){.context = set, .damaged = damaged});
    return set;
}

void repairs_close(struct repairs *set)
{
    set->closing = true;
    LIST_FOR_EACH_SAFE (node, &set->active) {
        struct repair *r = CONTAINER_OF(node, struct repair, node);
        if (r->state == REPAIR_PAUSE || r->timer.heap_index != 0) {
            end(r, false);
        }
    }
}

void repairs_free(struct repairs *set)
{
    free(set);
}

bool repairs_hole(const struct repairs *set, uint64_t shard, uint64_t *out_offset)
{
    const struct repair *r = repair_of(set, shard);
    if (r == NULL || !r->counted) {
        return false;
    }
    *out_offset = r->check.point.end;
    return true;
}

uint32_t repairs_holes(const struct repairs *set)
{
    uint32_t count = 0;
    struct shards *shards = set->options.shards;
    for (struct shard *shard = shards_next(shards, NULL); shard != NULL;
         shard = shards_next(shards, shard)) {
        struct replica_holes holes;
        shard_log_holes(shard->log, &holes);
        count += holes.count > 0 ? 1 : 0;
    }
    return count;
}

void repairs_counters(const struct repairs *set, struct repair_counters *out)
{
    *out = set->counters;
}

bool repairs_called(struct repairs *set, struct session_call *call)
{
    return repair_serve_called(&set->serve, call);
}
