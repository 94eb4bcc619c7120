/* What comes from other brokers: appends of leaders, answers of followers. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/peers_internal.h"

/* ---- appends ---- */

static struct replica_append append_of(const Weir__ShardAppend *m, uint32_t broker, uint64_t boot)
{
    return (struct replica_append){
        .epoch = m->epoch,
        .cfg_ver = m->cfg_ver,
        .leader = {.broker = broker,        .disk_gen = m->leader_disk_gen},
        .leader_boot = boot,
        .prev = { .end = m->prev_end, .epoch = m->prev_epoch,             .crc = m->prev_crc},
        .commit = m->commit,
        .log_start = m->log_start,
        .leader_end = m->leader_end,
        .to_boot = m->to_boot,
        .install = m->install,
    };
}

/* BUSY: the journal is full for the moment. Anything else is settled: a lost append is sent again.
 */
NODISCARD static enum status receive_shard(struct peers *peers, uint32_t broker, uint64_t boot,
                                           const Weir__ShardAppend *m, struct bytes data)
{
    struct shard *shard = shards_find(peers->options.shards, m->shard);
    if (shard == NULL) {
        trace(TRACE_DEBUG, "peers", "broker-%u: append to shard %016llx, which is not here", broker,
              (unsigned long long)m->shard); /* R14, R16: an append makes no replica */
        return STATUS_NOT_FOUND;
    }
    struct replica_append head = append_of(m, broker, boot);
    enum status status = m->header_only ? shard_receive_header(shard, &head, data)
                                        : shard_receive(shard, &head, data);
    if (status == STATUS_CORRUPT || status == STATUS_INVALID) {
        trace(TRACE_WARNING, "peers", "broker-%u: append to shard %016llx refused: %s", broker,
              (unsigned long long)m->shard, status_text(status));
    }
    return status;
}

/* From the backlog's place in the frame on. False: stopped for lack of room, place noted. */
static bool receive_frame(struct peers *peers, struct backlog *frame, const Weir__Append *message)
{
    size_t at = frame->first_byte;
    for (size_t i = frame->first_shard; i < message->n_shards; i++) {
        const Weir__ShardAppend *m = message->shards[i];
        if (m->bytes > frame->attachment.size - at) {
            trace(TRACE_WARNING, "peers", "broker-%u: an append names more bytes than it has",
                  frame->broker);
            return true;
        }
        struct bytes data = bytes_of(frame->attachment.data + at, m->bytes);
        if (receive_shard(peers, frame->broker, frame->boot, m, data) == STATUS_BUSY) {
            frame->first_shard = i;
            frame->first_byte = at;
            return false;
        }
        at += m->bytes;
    }
    return true;
}

/* Keeps a copy of what could not be taken. Dropped beyond the limit: the leader sends it again. */
static void keep(struct peers *peers, const struct backlog *frame)
{
    size_t size = frame->body.size + frame->attachment.size;
    if (peers->backlog_bytes + size > BACKLOG_BYTES_MAX) {
        return;
    }
    struct backlog *copy = malloc(sizeof(*copy) + size);
    if (copy == NULL) {
        return;
    }
    *copy = *frame;
    uint8_t *at = (uint8_t *)(copy + 1);
    if (frame->body.size > 0) {
        memcpy(at, frame->body.data, frame->body.size);
    }
    if (frame->attachment.size > 0) {
        memcpy(at + frame->body.size, frame->attachment.data, frame->attachment.size);
    }
    copy->body = bytes_of(at, frame->body.size);
    copy->attachment = bytes_of(at + frame->body.size, frame->attachment.size);
    list_push(&peers->backlogs, &copy->node);
    peers->backlog_bytes += size;
}

static bool has_backlog(const struct peers *peers, uint32_t broker)
{
    LIST_FOR_EACH (node, &peers->backlogs) {
        if (CONTAINER_OF(node, struct backlog, node)->broker == broker) {
            return true;
        }
    }
    return false;
}

void peers_receive_append(struct peers *peers, uint32_t broker, uint64_t boot, struct bytes body,
                          struct bytes attachment)
{
    struct backlog frame = {.broker = broker, .boot = boot, .body = body, .attachment = attachment};
    if (has_backlog(peers, broker)) {
        keep(peers, &frame); /* in order */
        return;
    }
    Weir__Append *message = weir__append__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        trace(TRACE_WARNING, "peers", "broker-%u: an append cannot be decoded", broker);
        return;
    }
    if (!receive_frame(peers, &frame, message)) {
        keep(peers, &frame);
    }
    weir__append__free_unpacked(message, NULL);
}

void peers_drain(struct peers *peers)
{
    while (!list_empty(&peers->backlogs)) {
        struct backlog *frame = CONTAINER_OF(peers->backlogs.next, struct backlog, node);
        Weir__Append *message = weir__append__unpack(NULL, frame->body.size, frame->body.data);
        bool done = message == NULL || receive_frame(peers, frame, message);
        if (message != NULL) {
            weir__append__free_unpacked(message, NULL);
        }
        if (!done) {
            return;
        }
        list_remove(&frame->node);
        peers->backlog_bytes -= frame->body.size + frame->attachment.size;
        free(frame);
    }
}

/* ---- answers ---- */

NODISCARD static bool answer_of(const Weir__ShardAnswer *m, uint64_t boot,
                                struct replica_answer *out)
{
    *out = (struct replica_answer){.ok = m->ok,
                                   .uncertain = m->uncertain,
                                   .epoch = m->epoch,
                                   .boot = boot,
                                   .end = m->end,
                                   .heard = m->heard == 0 ? UINT64_MAX : m->heard - 1,
                                   .probed = m->probed};
    if (m->n_history > REPLICA_HISTORY_SENT) {
        return false;
    }
    for (size_t i = 0; i < m->n_history; i++) {
        out->history[i].epoch = m->history[i]->epoch;
        out->history[i].start = m->history[i]->start;
    }
    out->history_count = (uint32_t)m->n_history;
    return true;
}

void peers_receive_answers(struct peers *peers, uint32_t broker, uint64_t boot, struct bytes body)
{
    Weir__AppendAnswers *message = weir__append_answers__unpack(NULL, body.size, body.data);
    if (message == NULL) {
        trace(TRACE_WARNING, "peers", "broker-%u: answers cannot be decoded", broker);
        return;
    }
    for (size_t i = 0; i < message->n_shards; i++) {
        const Weir__ShardAnswer *m = message->shards[i];
        struct shard *shard = shards_find(peers->options.shards, m->shard);
        struct replica_answer answer;
        if (shard == NULL || !answer_of(m, boot, &answer)) {
            continue;
        }
        status_ignore(shard_answered(shard,
                                     (struct replica_id){.broker = broker, .disk_gen = m->disk_gen},
                                     &answer),
                      "STALE: a late copy changes nothing (R17)");
    }
    weir__append_answers__free_unpacked(message, NULL);
}

void peers_answer(struct peers *peers, const struct shard *shard, struct replica_id to,
                  const struct replica_answer *answer)
{
    struct peer *peer = peers_find(peers, to.broker);
    if (peer == NULL || peer->incoming == NULL) {
        return; /* a new session asks again */
    }
    if (peer->answers == NULL) {
        peer->answers = calloc(ANSWERS_MAX, sizeof(*peer->answers));
        if (peer->answers == NULL) {
            return;
        }
    }
    if (peer->answer_count == ANSWERS_MAX) {
        peer_send_answers(peer);
    }
    struct pending_answer *a = &peer->answers[peer->answer_count++];
    a->shard = shard->id;
    a->disk_gen = shard->self.disk_gen;
    a->answer = *answer;
    peers->options.schedule(peers->options.context);
}

static void add_history(struct answer_frame *frame, Weir__ShardAnswer *m,
                        const struct replica_answer *answer)
{
    for (uint32_t i = 0; i < answer->history_count; i++) {
        frame->pair[i] = (Weir__HistoryPair)WEIR__HISTORY_PAIR__INIT;
        frame->pair[i].epoch = answer->history[i].epoch;
        frame->pair[i].start = answer->history[i].start;
        frame->pairs[i] = &frame->pair[i];
    }
    m->n_history = answer->history_count;
    m->history = frame->pairs;
}

static void send_frame(struct peer *peer, struct answer_frame *frame, size_t count)
{
    Weir__AppendAnswers message = WEIR__APPEND_ANSWERS__INIT;
    message.n_shards = count;
    message.shards = frame->shards;
    status_ignore(session_send(peer->incoming, RPC_APPEND_ANSWERS,
                               (struct session_payload){.body = &message.base}),
                  "the leader asks again");
}

void peer_send_answers(struct peer *peer)
{
    struct answer_frame *frame = &peer->peers->answers;
    size_t count = 0;
    for (uint32_t i = 0; i < peer->answer_count && peer->incoming != NULL; i++) {
        const struct pending_answer *a = &peer->answers[i];
        Weir__ShardAnswer *m = frame->shards[count] = &frame->shard[count];
        count++;
        *m = (Weir__ShardAnswer)WEIR__SHARD_ANSWER__INIT;
        m->shard = a->shard;
        m->disk_gen = a->disk_gen;
        m->ok = a->answer.ok;
        m->epoch = a->answer.epoch;
        m->end = a->answer.end;
        m->heard = a->answer.heard + 1;
        m->uncertain = a->answer.uncertain;
        m->probed = a->answer.probed;
        if (a->answer.history_count > 0) { /* rare: there is room for one of them in a frame */
            add_history(frame, m, &a->answer);
            send_frame(peer, frame, count);
            count = 0;
        }
    }
    if (count > 0 && peer->incoming != NULL) {
        send_frame(peer, frame, count);
    }
    peer->answer_count = 0;
}
