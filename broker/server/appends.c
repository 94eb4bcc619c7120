/* Leader to follower: the appends of many shards in one frame. A shard is on its peer's `ready`
 * list from the core's WAKE until replica_next_append() has nothing more. What the tail ring no
 * longer has is read from segments first, a few reads at a time. */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/cleanup.h"
#include "base/trace.h"
#include "broker/server/peers_internal.h"

enum { COMPLAIN_EVERY_MS = 10000 };

/* A read from segments for one shard and one peer. */
struct catch_up {
    struct list node; /* on peers->catch_ups */
    struct log_read read;
    struct peer *peer;
    struct shard_peer *to; /* NULL: forgotten */
};

static uint64_t now(const struct peers *peers)
{
    return net_now_ms(peers->options.loop);
}

static void ready(struct peer *peer, struct shard_peer *to)
{
    CHECK(!to->queued);
    to->queued = true;
    list_push(&peer->ready, &to->node);
    peer->peers->options.schedule(peer->peers->options.context);
}

void peers_wake(struct peers *peers, struct shard_peer *to)
{
    struct peer *peer = peers_find(peers, to->id.broker);
    if (peer == NULL || peer->session == NULL || to->queued || to->link_data != NULL) {
        return; /* PEER_UP wakes again; what is queued or read is sent anyway */
    }
    ready(peer, to);
}

void peers_forget(struct peers *peers, struct shard_peer *to)
{
    (void)peers;
    list_remove(&to->node);
    to->queued = false;
    struct catch_up *c = to->link_data;
    if (c != NULL) {
        c->to = NULL;
        to->link_data = NULL;
    }
}

void peer_drop_ready(struct peer *peer)
{
    struct list *lists[2] = {&peer->ready, &peer->behind};
    for (int i = 0; i < 2; i++) {
        while (!list_empty(lists[i])) {
            CONTAINER_OF(list_pop(lists[i]), struct shard_peer, node)->queued = false;
        }
    }
}

/* ---- one frame ---- */

static void frame_begin(struct append_frame *frame)
{
    frame->shard_count = frame->piece_count = 0;
    frame->bytes = 0;
}

static bool frame_is_full(const struct append_frame *frame)
{
    return frame->shard_count == FRAME_SHARDS_MAX || frame->bytes >= FRAME_BYTES ||
           frame->piece_count == FRAME_PIECES_MAX;
}

static void frame_add(struct append_frame *frame, struct shard_peer *to,
                      const struct replica_append *append, uint64_t upto, size_t bytes)
{
    uint32_t i = frame->shard_count++;
    Weir__ShardAppend *m = frame->shards[i] = &frame->shard[i];
    *m = (Weir__ShardAppend)WEIR__SHARD_APPEND__INIT;
    m->shard = to->shard->id;
    m->epoch = append->epoch;
    m->cfg_ver = append->cfg_ver;
    m->leader_disk_gen = append->leader.disk_gen;
    m->prev_end = append->prev.end;
    m->prev_epoch = append->prev.epoch;
    m->prev_crc = append->prev.crc;
    m->commit = append->commit;
    m->log_start = append->log_start;
    m->leader_end = append->leader_end;
    m->to_boot = append->to_boot;
    m->install = append->install;
    m->bytes = (uint32_t)bytes;
    frame->to[i] = to;
    frame->upto[i] = upto;
    frame->bytes += bytes;
}

/* Sends it, and tells the cores. The shards may have more to say: back to `ready`. */
NODISCARD static enum status frame_send(struct append_frame *frame, struct peer *peer)
{
    Weir__Append message = WEIR__APPEND__INIT;
    message.n_shards = frame->shard_count;
    message.shards = frame->shards;
    enum status status = session_send(peer->session, RPC_APPEND,
                                      (struct session_payload){.body = &message.base,
                                                               .pieces = frame->pieces,
                                                               .piece_count = frame->piece_count});
    for (uint32_t i = 0; i < frame->shard_count; i++) {
        if (status == STATUS_OK) {
            shard_sent(frame->to[i], frame->upto[i], frame->shard[i].bytes);
        }
        if (status == STATUS_OK && frame->shard[i].header_only) {
            frame->to[i]->spared_end = frame->upto[i];
        }
        ready(peer, frame->to[i]);
    }
    return status;
}

/* ---- catching up from segments ---- */

static void read_done(struct log_read *read);

static bool start_read(struct catch_up *c, uint64_t from, uint64_t end)
{
    struct shard *shard = c->to->shard;
    c->read.log = shard->log;
    c->read.offset = from;
    c->read.end = end;
    c->read.max_bytes = PEER_READ_BYTES;
    c->read.done = read_done;
    c->read.owner = c;
    c->read.data.size = 0;
    return store_read(shards_store(c->peer->peers->options.shards), &c->read) == STATUS_OK;
}

static void catch_up_free(struct catch_up *c)
{
    if (c->to != NULL) {
        c->to->link_data = NULL;
    }
    list_remove(&c->node);
    buf_release(&c->read.data);
    free(c);
}

static void wait_behind(struct peer *peer, struct shard_peer *to)
{
    to->queued = true;
    list_push(&peer->behind, &to->node);
}

static void copy_again(struct net_timer *timer)
{
    struct peers *peers = CONTAINER_OF(timer, struct peers, copy_timer);
    for (uint32_t i = 0; i < peers->count && !peers->closing; i++) {
        for (uint32_t reads = 0; reads < PEER_READS_MAX; reads++) {
            peer_next_behind(peers->peer[i]);
        }
    }
}

void peers_copy_stop(struct peers *peers)
{
    net_timer_stop(peers->options.loop, &peers->copy_timer);
}

/* Whether one more read is within the bandwidth that followers that lag may have of the disk and
 * the network; a quarter of a second's worth may be used at once. */
static bool copy_is_due(struct peers *peers)
{
    uint64_t rate = peers->options.copy_bytes, now_ms = now(peers);
    if (rate == 0) {
        return true;
    }
    int64_t most = (int64_t)(rate / 4);
    uint64_t passed_ms = now_ms - peers->copy_ms < 1000 ? now_ms - peers->copy_ms : 1000;
    peers->copy_credit += (int64_t)(rate / 1000 * passed_ms + rate % 1000 * passed_ms / 1000);
    peers->copy_credit = peers->copy_credit < most ? peers->copy_credit : most;
    peers->copy_ms = now_ms;
    if (peers->copy_credit >= 0) {
        return true;
    }
    if (peers->copy_timer.heap_index == 0) {
        uint64_t wait_ms = (uint64_t)-peers->copy_credit * 1000 / rate + 1;
        status_ignore(
            net_timer_start(peers->options.loop, &peers->copy_timer, now_ms + wait_ms, copy_again),
            "the next ping's turn goes on");
    }
    return false;
}

/* The tail does not have [from, end): read it, or wait for one of the peer's reads to end. */
static void catch_up(struct peer *peer, struct shard_peer *to, uint64_t from, uint64_t end)
{
    if (peer->reads >= PEER_READS_MAX || !copy_is_due(peer->peers)) {
        wait_behind(peer, to);
        return;
    }
    struct catch_up *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        wait_behind(peer, to);
        return;
    }
    c->peer = peer;
    c->to = to;
    list_init(&c->node);
    if (!start_read(c, from, end)) {
        catch_up_free(c);
        wait_behind(peer, to);
        return;
    }
    to->link_data = c;
    list_push(&peer->peers->catch_ups, &c->node);
    peer->reads++;
}

/* A read has come: is it still what the core wants to send? */
static void send_read(struct catch_up *c)
{
    struct peer *peer = c->peer;
    struct shard_peer *to = c->to;
    struct replica_append append;
    uint64_t end;
    if (replica_next_append(to->shard->replica, to->id, now(peer->peers), &append, &end) !=
        STATUS_OK) {
        return;
    }
    if (append.prev.end != c->read.first_base || c->read.next > end) {
        ready(peer, to); /* it has moved: ask anew */
        return;
    }
    struct append_frame *frame = &peer->peers->frame;
    frame_begin(frame);
    frame->pieces[frame->piece_count++] = buf_bytes(&c->read.data);
    frame_add(frame, to, &append, c->read.next, c->read.data.size);
    status_ignore(frame_send(frame, peer), "BUSY: it is on `ready` again and is read again");
}

/* When a read has ended; and with every ping, for what found no memory. */
void peer_next_behind(struct peer *peer)
{
    if (!list_empty(&peer->behind) && peer->session != NULL) {
        struct shard_peer *to = CONTAINER_OF(list_pop(&peer->behind), struct shard_peer, node);
        to->queued = false;
        ready(peer, to);
    }
}

/* Asked for again with the next ping: the core wakes nobody twice, and a shard at rest would leave
 * its follower behind for good. */
static void read_failed(struct peer *peer, struct shard_peer *to, const struct log_read *read)
{
    if (now(peer->peers) >= peer->complain_ms) {
        peer->complain_ms = now(peer->peers) + COMPLAIN_EVERY_MS;
        trace(TRACE_ERROR, "peers",
              "shard %016llx: offset %llu cannot be read for broker-%u: %s; tried again",
              (unsigned long long)to->shard->id, (unsigned long long)read->offset, peer->id,
              status_text(read->status));
    }
    wait_behind(peer, to);
}

static void read_done(struct log_read *read)
{
    struct catch_up *c = read->owner;
    struct peer *peer = c->peer;
    struct shard_peer *to = c->to;
    bool failed = false;
    peer->reads--;
    peer->peers->copy_credit -= (int64_t)read->data.size;
    if (to != NULL) {
        to->link_data = NULL;
    }
    if (to != NULL && peer->session != NULL && !peer->peers->closing) {
        if (read->status == STATUS_OK && read->data.size > 0) {
            send_read(c);
        } else if (read->status == STATUS_NOT_FOUND) {
            ready(peer, to); /* it came into the tail, or was trimmed: the core says what now */
        } else if (read->status != STATUS_CANCELLED) { /* else the shard goes, log and all */
            read_failed(peer, to, read);
            failed = true;
        }
    }
    c->to = NULL;
    catch_up_free(c);
    if (!peer->peers->closing && !failed) {
        peer_next_behind(peer);
    }
}

/* ---- installing a copy ---- */

/* What the follower lacks is trimmed here: its log begins where ours does (docs/replication.md
 * 2.8), with what producers wrote before. A frame of its own; it is rare. */
static void send_install(struct peer *peer, struct shard_peer *to,
                         const struct replica_append *append)
{
    AUTO(buf_release) struct buf table = {0};
    enum status status = shard_log_producers_at(to->shard->log, append->prev.end, &table);
    if (status != STATUS_OK || table.size > PEER_PRODUCERS_BYTES_MAX) {
        table.size = 0; /* whoever wrote last before it begins anew (2.11) */
    }
    struct append_frame *frame = &peer->peers->install;
    frame_begin(frame);
    if (table.size > 0) {
        frame->pieces[frame->piece_count++] = buf_bytes(&table);
    }
    frame_add(frame, to, append, append->prev.end, table.size);
    status_ignore(frame_send(frame, peer), "BUSY: it is on `ready` again");
}

/* ---- gathering ---- */

/* How many of `count` batches go in one piece: those that the follower has itself go alone, and
 * without their payload, but once only, for it may have forgotten them (docs/replication.md 2.6).
 */
static uint32_t spare(const struct peer *peer, const struct shard_peer *to, struct log_batch *batch,
                      uint32_t count, bool *out_header_only)
{
    *out_header_only = false;
    for (uint32_t i = 0; i < count; i++) {
        if (batch[i].keeper != peer->id || batch[i].base < to->spared_end) {
            continue;
        }
        if (i > 0) {
            return i;
        }
        batch[0].bytes.size = BATCH_HEADER_BYTES;
        *out_header_only = true;
        return 1;
    }
    return count;
}

/* What `to` has to say into the frame. */
static void gather(struct peer *peer, struct shard_peer *to)
{
    struct append_frame *frame = &peer->peers->frame;
    struct shard *shard = to->shard;
    struct replica_append append;
    uint64_t end;
    if (replica_next_append(shard->replica, to->id, now(peer->peers), &append, &end) != STATUS_OK) {
        return;
    }
    if (append.install) {
        send_install(peer, to, &append);
        return;
    }
    if (end == append.prev.end) {
        frame_add(frame, to, &append, end, 0);
        return;
    }
    size_t room = frame->bytes < FRAME_BYTES ? FRAME_BYTES - frame->bytes : 0;
    struct log_batch *batch = frame->batches;
    uint32_t count = shard_log_tail(shard->log, append.prev.end, end, room, batch,
                                    FRAME_PIECES_MAX - frame->piece_count);
    if (count == 0) {
        catch_up(peer, to, append.prev.end, end);
        return;
    }
    CHECK(batch[0].base == append.prev.end);
    bool header_only;
    count = spare(peer, to, batch, count, &header_only);
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        frame->pieces[frame->piece_count++] = batch[i].bytes;
        bytes += batch[i].bytes.size;
    }
    frame_add(frame, to, &append, batch[count - 1].base + batch[count - 1].count, bytes);
    frame->shard[frame->shard_count - 1].header_only = header_only;
}

void peer_send_appends(struct peer *peer)
{
    struct append_frame *frame = &peer->peers->frame;
    while (peer->session != NULL && !list_empty(&peer->ready) &&
           session_queued(peer->session) < PEER_QUEUE_BYTES) {
        frame_begin(frame);
        while (!list_empty(&peer->ready) && !frame_is_full(frame)) {
            struct shard_peer *to = CONTAINER_OF(list_pop(&peer->ready), struct shard_peer, node);
            to->queued = false;
            gather(peer, to);
        }
        if (frame->shard_count > 0 && frame_send(frame, peer) != STATUS_OK) {
            return; /* `writable`, an answer or the next ping's turn goes on */
        }
    }
}
