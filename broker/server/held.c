#include "broker/server/held.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "broker/server/server_internal.h"
#include "proto/schema/balance.pb-c.h"

void held_note(struct held_list *list, uint64_t shard)
{
    uint32_t stream = (uint32_t)(shard >> 32), number = (uint32_t)shard;
    size_t low = 0, high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->streams[middle].stream < stream) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low < list->count && list->streams[low].stream == stream) {
        struct held_stream *at = &list->streams[low];
        at->number = number > at->number ? number : at->number;
        return;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        struct held_stream *grown = realloc(list->streams, capacity * sizeof(*grown));
        if (grown == NULL) {
            list->failed = true;
            return;
        }
        list->streams = grown;
        list->capacity = capacity;
    }
    memmove(list->streams + low + 1, list->streams + low,
            (list->count - low) * sizeof(*list->streams));
    list->streams[low] = (struct held_stream){.stream = stream, .number = number};
    list->count++;
}

void held_clear(struct held_list *list)
{
    list->count = 0;
    list->failed = false;
}

void held_release(struct held *held)
{
    free(held->disk.streams);
    free(held->quarantine.streams);
    free(held->telling.streams);
    *held = (struct held){0};
}

bool held_is_listed(const struct server *s, uint64_t shard)
{
    const struct route_shard *row = route_shard(s->route, shard);
    return row != NULL &&
           (row->phase != WEIR__SHARD_PHASE__SHARD_DELETED || row->replica_count > 0);
}

struct part {
    Weir__HeldShards message;
    Weir__HeldStream stream[HELD_IN_MESSAGE], *streams[HELD_IN_MESSAGE];
};

static void answered(struct session_request *request, const struct session_reply *reply)
{
    struct held *held = CONTAINER_OF(request, struct held, request);
    held->asked = false;
    if (reply->status != STATUS_OK) {
        held->told = held->telling.count = 0; /* all of it again */
    }
}

/* Both lists as one; numbers of streams are never given out twice, so unknown ones do not matter.
 */
static bool gather(struct server *s)
{
    struct held *held = &s->held;
    const struct held_list *lists[] = {&held->disk, &held->quarantine};
    held_clear(&held->telling);
    held->told = 0;
    held->version = route_version(s->route);
    for (size_t l = 0; l < 2; l++) {
        for (size_t i = 0; i < lists[l]->count; i++) {
            const struct held_stream *at = &lists[l]->streams[i];
            if (route_stream(s->route, at->stream) != NULL) {
                held_note(&held->telling, (uint64_t)at->stream << 32 | at->number);
            }
        }
    }
    return !held->telling.failed && !held->disk.failed && !held->quarantine.failed;
}

static void send_part(struct server *s, struct part *part)
{
    struct held *held = &s->held;
    weir__held_shards__init(&part->message);
    part->message.boot = s->boot;
    part->message.version = held->version;
    part->message.streams = part->streams;
    while (held->told < held->telling.count && part->message.n_streams < HELD_IN_MESSAGE) {
        const struct held_stream *from = &held->telling.streams[held->told++];
        size_t at = part->message.n_streams++;
        weir__held_stream__init(&part->stream[at]);
        part->stream[at].stream = from->stream;
        part->stream[at].number = from->number;
        part->streams[at] = &part->stream[at];
    }
    part->message.more = held->told < held->telling.count;
    held->asked = session_call(controllers_session(s->controllers), RPC_HELD_SHARDS,
                               (struct session_payload){.body = &part->message.base}, HELD_EVERY_MS,
                               &held->request, answered) == STATUS_OK;
}

void held_tell(struct server *s, uint64_t now_ms)
{
    struct held *held = &s->held;
    if (!held->quarantine_known || held->asked ||
        (held->sent_ms != 0 && now_ms - held->sent_ms < HELD_EVERY_MS)) {
        return;
    }
    AUTO(free_pointer) struct part *part = malloc(sizeof(*part));
    if (part == NULL || (held->told >= held->telling.count && !gather(s))) {
        return;
    }
    held->sent_ms = now_ms;
    send_part(s, part);
}
