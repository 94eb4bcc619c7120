/* Streams in on-demand mode: their load as the leaders tell it, and the commands that follow. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/trace.h"
#include "controller/rpc/internal.h"

enum status handle_shard_loads(struct controller *c, struct client *client, struct bytes body)
{
    Weir__ShardLoads *in = weir__shard_loads__unpack(NULL, body.size, body.data);
    bool good = in != NULL && in->n_shards <= SHARD_LOADS_MAX;
    bool counts = good && c->active && client->broker != 0 && in->boot == client->boot;
    for (size_t i = 0; counts && i < in->n_shards; i++) {
        const Weir__ShardLoad *load = in->shards[i];
        const struct db_shard *row = watch_shard(c->watch, load->shard);
        if (row == NULL || row->leader.broker != client->broker) {
            continue; /* a former leader */
        }
        struct scaling_report report = {.shard = load->shard, .permille = load->permille};
        if (load->split.len == HASH_KEY_BYTES) {
            report.can_split = true;
            report.split = hash_key_from_bytes(load->split.data);
        }
        status_ignore(scaling_report(c->scaling, controller_now(c), &report),
                      "the next report follows soon");
    }
    weir__shard_loads__free_unpacked(in, NULL);
    return good ? STATUS_OK : STATUS_INVALID;
}

/* ---- commands ---- */

static void submit(struct controller *c, const struct db_stream *stream,
                   const struct scaling_plan *plan)
{
    Weir__Reshard__Split split[SCALING_STEP_MAX], *splits[SCALING_STEP_MAX];
    Weir__Reshard__Merge merge[SCALING_STEP_MAX], *merges[SCALING_STEP_MAX];
    uint8_t at[SCALING_STEP_MAX][HASH_KEY_BYTES];
    Weir__CmdScale scale;
    weir__cmd_scale__init(&scale);
    scale.stream = stream->id;
    scale.splits = splits;
    scale.merges = merges;
    for (size_t i = 0; i < plan->split_count; i++) {
        weir__reshard__split__init(&split[i]);
        hash_key_to_bytes(plan->split[i].at, at[i]);
        split[i].shard = plan->split[i].shard;
        split[i].at = (ProtobufCBinaryData){.data = at[i], .len = HASH_KEY_BYTES};
        splits[scale.n_splits++] = &split[i];
    }
    for (size_t i = 0; i < plan->merge_count; i++) {
        weir__reshard__merge__init(&merge[i]);
        merge[i].shard = plan->merge[i].shard;
        merge[i].with = plan->merge[i].with;
        merges[scale.n_merges++] = &merge[i];
    }
    trace(TRACE_INFO, "scaling", "%s: %zu shards are split and %zu pairs merged", stream->name,
          plan->split_count, plan->merge_count);
    Weir__Command command;
    weir__command__init(&command);
    command.kind_case = WEIR__COMMAND__KIND_SCALE;
    command.scale = &scale;
    command_of_ours(c, &command, (uint32_t)(2 * plan->split_count + plan->merge_count));
}

/* Where the stream's shards begin among all of them, which are ascending by id. */
static size_t first_shard(const struct db_shard *rows, size_t total, uint32_t stream)
{
    uint64_t id = db_shard_id(stream, 0);
    size_t low = 0, high = total;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (rows[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: out of memory, and it is looked at again later. */
static struct reshard_shard *open_of(const struct controller *c, uint32_t stream, size_t *out_count)
{
    size_t total = 0, count = 0;
    const struct db_shard *rows = watch_shards(c->watch, &total);
    size_t first = first_shard(rows, total, stream), end = first;
    while (end < total && rows[end].id >> 32 == stream) {
        end++;
    }
    struct reshard_shard *open = calloc(end - first + 1, sizeof(*open));
    for (size_t i = first; open != NULL && i < end; i++) {
        if (rows[i].lineage.state == DB_SHARD_OPEN && rows[i].phase != DB_SHARD_DELETED) {
            open[count++] =
                (struct reshard_shard){.number = (uint32_t)rows[i].id, .range = rows[i].range};
        }
    }
    *out_count = count;
    return open;
}

static void look(struct controller *c, const struct db_stream *stream,
                 const Weir__StreamAttributes *attributes)
{
    uint64_t now_ms = controller_now(c);
    if (stream->state != DB_STREAM_ACTIVE) {
        scaling_rest(c->scaling, now_ms, stream->id); /* from when the change has ended */
        return;
    }
    size_t count = 0;
    AUTO(free_pointer) struct reshard_shard *open = open_of(c, stream->id, &count);
    uint32_t least = attributes->warm_mibps > SCALING_LEAST_SHARDS ? attributes->warm_mibps
                                                                   : SCALING_LEAST_SHARDS;
    if (attributes->warm_mibps <= SCALING_LEAST_SHARDS && count < least) {
        least = (uint32_t)count; /* one that was small when it became on-demand may stay so */
    }
    struct scaling_plan plan;
    if (open != NULL && scaling_judge(c->scaling, now_ms, stream->id, open, count, least, &plan)) {
        submit(c, stream, &plan);
    }
}

static void scaling_fired(struct net_timer *timer)
{
    struct controller *c = CONTAINER_OF(timer, struct controller, scaling_timer);
    uint64_t every_ms = c->options.scaling.window_ms / 4;
    size_t count = 0;
    const struct db_stream *streams = watch_streams(c->watch, &count);
    for (size_t i = 0; i < count && c->options.scaling.shards_max > 0; i++) {
        const Weir__StreamAttributes *a = watch_attributes(c->watch, streams[i].id);
        if (a != NULL && a->mode == WEIR__STREAM_MODE__STREAM_ON_DEMAND) {
            look(c, &streams[i], a);
        }
    }
    scaling_tidy(c->scaling, controller_now(c));
    every_ms = every_ms < SCALING_LOOK_MS_MAX ? every_ms : SCALING_LOOK_MS_MAX;
    status_ignore(
        net_timer_start(c->options.loop, timer, controller_now(c) + every_ms, scaling_fired),
        "the timer has had its place in the heap");
}

void scaling_activate(struct controller *c)
{
    scaling_clear(c->scaling);
    scaling_fired(&c->scaling_timer);
}

void scaling_deactivate(struct controller *c)
{
    net_timer_stop(c->options.loop, &c->scaling_timer);
    scaling_clear(c->scaling);
}
