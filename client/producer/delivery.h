/* Brings the batches of one shard to its leader: in order, each once, whatever fails on the way
 * (docs/replication.md 2.11).
 *
 * Batches are numbered by record (producer id, producer epoch, sequence) when they are first sent,
 * and keep their number over all retries: the brokers recognise what they have. Several are on
 * their way at once. When one fails, those behind it are refused too (a number was skipped), so:
 * wait until everything on its way has an outcome, then send all unacknowledged ones again, in
 * order, from the oldest.
 *
 *     add / reply / route / tick, then:  while (delivery_next(...)) carry out the effect
 *
 * A batch is never numbered anew when an earlier attempt may have stored it: it would be stored
 * twice. That case (the brokers have forgotten the producer, or an older batch ran out of time and
 * left a gap) ends as UNCERTAIN for such batches; the others go on under the producer's next epoch.
 *
 * Pure: no I/O, no clock, no threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/rng.h"
#include "base/status.h"

enum {
    DELIVERY_BACKOFF_MIN_MS = 10,
    DELIVERY_BACKOFF_MAX_MS = 1000,
    DELIVERY_WINDOW_MAX = 32, /* well below the 64 that the brokers take of one producer */
};

enum delivery_state { DELIVERY_WAITING, DELIVERY_ON_ITS_WAY, DELIVERY_CANCELLING };

/* Embedded in what the shell keeps of a batch. */
struct delivery_batch {
    struct list node;     /* on delivery.queue while unacknowledged */
    uint32_t count;       /* records; set before delivery_add() */
    uint64_t deadline_ms; /* set before delivery_add(); must not fall from one to the next */
    enum delivery_state state;
    bool numbered; /* `sequence` and `epoch` are valid, and must stay what they are */
    bool maybe;    /* the outcome of an attempt is unknown: the log may have it */
    uint16_t epoch;
    uint32_t sequence; /* of its first record */
    uint32_t attempts;
    uint64_t sent_ms;
};

struct delivery {
    struct list queue; /* everything unacknowledged, in order */
    uint32_t window;   /* batches on their way at most */
    uint32_t on_its_way;
    uint16_t epoch;         /* of the producer, in this shard */
    uint32_t next_sequence; /* wraps at 2^32, as the brokers' does */
    uint64_t route;         /* names the session that batches go through; 0: none */
    bool settling;          /* wait for every outcome, then send all again */
    bool cancelling;        /* ... and do not wait for the other side to give them */
    bool renumber;          /* ... under the next epoch */
    bool sealed;            /* the shard is closed for good: what it does not have goes elsewhere */
    uint64_t retry_ms;      /* not before */
    uint64_t pace_ms;       /* not before, either: the leader asked for it; 0: it did not */
    uint32_t failures;      /* rounds in a row without an acknowledgement */
    struct rng *rng;        /* borrowed: jitter */
};

void delivery_init(struct delivery *delivery, uint32_t window, struct rng *rng);

/* At the end of the queue. */
void delivery_add(struct delivery *delivery, struct delivery_batch *batch);

/* Where batches go from now on: any number but 0 for one session with one leadership, 0 for
 * nowhere. When it changes, what is on its way is cancelled and sent again on the new route. */
void delivery_route(struct delivery *delivery, uint64_t route);

/* What has become of a batch by the reply of the other side, or of the transport. */
enum delivery_outcome {
    DELIVERY_ACKED, /* stored: removed from the queue */
    DELIVERY_KEPT,  /* will be sent again, or fails by a later effect */
    DELIVERY_FAILED /* refused for good, so removed from the queue; with `maybe` set an earlier
                     * attempt may have stored it all the same */
};

/* The shard is closed for good (a reply SEALED says so, too): nothing is sent there any more but
 * batches that it may already have, which must be found out before they may go elsewhere. */
void delivery_seal(struct delivery *delivery);

/* Closed, and everything that is still queued is known not to be in its log: a batch whose every
 * attempt was refused is not there, and then none behind it is, because the log takes a producer's
 * batches in their order. The owner takes them. */
bool delivery_is_over(struct delivery *delivery);

/* Takes the first batch off a delivery that is over; NULL: none is left. */
struct delivery_batch *delivery_take(struct delivery *delivery);

/* Every batch that was sent is answered exactly once, with the status of the reply, or UNCERTAIN
 * or UNAVAILABLE or CANCELLED or TIMEOUT from the transport; BUSY when the transport took none of
 * it. */
enum delivery_outcome delivery_reply(struct delivery *delivery, struct delivery_batch *batch,
                                     enum status status, uint64_t now_ms);

enum delivery_effect_type {
    DELIVERY_DO_SEND,   /* number it in its header and send it */
    DELIVERY_DO_CANCEL, /* give up the attempt; its reply must still be fed */
    DELIVERY_DO_FAIL,   /* removed from the queue: tell its records .status */
};
struct delivery_effect {
    enum delivery_effect_type type;
    struct delivery_batch *batch;
    enum status status;
};

/* The next thing to do now; false when there is nothing. */
bool delivery_next(struct delivery *delivery, uint64_t now_ms, struct delivery_effect *out);

/* When to call delivery_next() though nothing has happened; UINT64_MAX: never. */
uint64_t delivery_deadline(const struct delivery *delivery);

/* The leader is under pressure: nothing is sent before `until_ms`. */
void delivery_pace(struct delivery *delivery, uint64_t until_ms);

/* The oldest batch that no leader has or may have, so that it can be given up or changed; with
 * `after` the next one behind it. NULL: none. */
struct delivery_batch *delivery_unsent(struct delivery *delivery, struct delivery_batch *after);

/* Takes such a batch off the queue. */
void delivery_drop(struct delivery *delivery, struct delivery_batch *batch);

/* Nothing is on its way and nothing waits. */
static inline bool delivery_idle(const struct delivery *delivery)
{
    return list_empty(&delivery->queue);
}

/* Whether a further batch would be sent at once. */
bool delivery_has_room(const struct delivery *delivery);

/* Gives up everything: what is on its way is cancelled, the rest fails with CANCELLED, or UNCERTAIN
 * when it may be stored. The effects come from delivery_next(). */
void delivery_abandon(struct delivery *delivery);
