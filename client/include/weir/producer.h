/* Puts records into a stream: in order for each shard (so for each partition key), each exactly
 * once.
 *
 * Records are gathered into batches for each shard while earlier ones are on their way. A batch
 * carries the producer's id and a sequence number; after a lost connection or a change of leader
 * all unacknowledged batches of the shard are sent again in order, and the brokers recognise those
 * that they have. A record is acknowledged once a majority of its replicas has it synced.
 *
 * Every record that was accepted by a put gets exactly one acknowledgement (or failure). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_producer;

/* What a put does when the buffer is full. */
enum weir_when_full {
    WEIR_WHEN_FULL_WAIT = 0,    /* it waits for room */
    WEIR_WHEN_FULL_FAIL = 1,    /* it returns BUSY */
    WEIR_WHEN_FULL_DROP_OLDEST, /* it is taken; the oldest records that were never sent make room
                                 * and fail with CANCELLED. What was sent cannot be dropped: when
                                 * all was, or the buffer is a quarter over its size because the
                                 * loop has not dropped yet, the put waits */
};

/* Of whole batches. Readers of libweir and of the Kinesis API get the records as they were put. */
enum weir_compression {
    WEIR_COMPRESSION_NONE = 0,
    WEIR_COMPRESSION_ZSTD = 1,
    WEIR_COMPRESSION_LZ4 = 2,
};

/* A zero field takes its default. */
struct weir_producer_options {
    uint32_t delivery_timeout_ms; /* from put to acknowledgement; 120,000 */
    uint64_t buffer_bytes;        /* records that wait for their acknowledgement; 64 MiB */
    uint32_t buffer_records;      /* the same, counted; 500,000 */
    enum weir_when_full when_full;
    uint32_t batch_bytes;   /* a batch is sent once it has as much; 128 KiB, at most 8 MiB */
    uint32_t batch_records; /* or as many; 16,384, which is the most */
    uint32_t linger_ms;     /* how long a smaller batch waits while others are in flight; 2 */
    uint32_t gather_ms; /* ... and when none are: 0, it goes at once. Larger batches compress and
                         * aggregate better */
    uint32_t in_flight; /* batches on their way for each shard; 8, at most 32 */
    enum weir_compression compression;
    bool
        aggregate; /* many records become one, as the Kinesis Producer Library makes it: for readers
                    * that take it apart, as the Kinesis Client Library and weir_reader do */
    uint32_t aggregate_bytes; /* of such a record; 51,200, at most 1 MiB */
};

/* The pointers are borrowed during the put only. */
struct weir_record {
    const void
        *key; /* partition key: 1 to 1,024 bytes, by Kinesis's rule 256 characters of UTF-8 */
    size_t key_size;
    const void *data; /* data and key: 10 MiB at most; may be empty */
    size_t data_size;
    const char *explicit_hash_key; /* decimal, below 2^128; NULL: the MD5 of the key */
    uint32_t timeout_ms; /* a record that could not be sent for so long fails with TIMEOUT; 0, or
                          * more than the delivery timeout: that holds. What was sent in time is
                          * told as it turns out, at the latest when the delivery timeout is over */
    void *context;       /* given back with the acknowledgement */
};

/* One sending of the batch that the record is in. */
struct weir_attempt {
    enum weir_status status; /* how it ended */
    uint32_t broker;         /* number of the one that was asked; 0: nobody could be */
    uint32_t duration_ms;
    uint64_t started_ms; /* on the monotonic clock */
};
enum { WEIR_ATTEMPTS_KEPT = 8 };

/* What became of a record. Borrowed for the callback. */
struct weir_ack {
    enum weir_status status;       /* OK: it is stored
                                    * TIMEOUT: the delivery timeout passed and it is not stored
                                    * UNCERTAIN: it passed and nobody can say whether it is
                                    * CANCELLED: dropped for newer ones, or the producer was closed
                                    * others: refused; it is not stored */
    const char *text;              /* a sentence when status is not OK */
    struct weir_position position; /* valid when OK; the shard's number always */
    bool duplicate;  /* an earlier attempt had stored it already; the position is that one's */
    bool aggregated; /* it is one of several in the record at `position` ... */
    uint32_t sub_sequence; /* ... this one, from 0 */
    uint32_t attempts;     /* how often it was sent */
    uint32_t attempts_kept;
    const struct weir_attempt *history; /* the newest attempts_kept of those, oldest first */
};

/* On the handle's thread, or the caller's loop. Acknowledgements of one shard come in the order of
 * its puts. */
typedef void weir_ack_fn(const struct weir_ack *ack, void *context);

/* Opens a producer once the stream is known and ACTIVE, waiting up to `timeout_ms` (0: 30 s).
 *
 * NOT_FOUND    no stream of this name
 * UNAVAILABLE  no controller answered in time
 * INVALID      bad options */
WEIR_NODISCARD enum weir_status weir_producer_open(struct weir_client *client, const char *stream,
                                                   const struct weir_producer_options *options,
                                                   uint32_t timeout_ms, struct weir_producer **out,
                                                   struct weir_error *error);

/* `producer` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_producer_opened_fn(struct weir_producer *producer, const struct weir_error *error,
                                     void *context);

/* `options` may be NULL. When it returns an error the callback does not come. */
WEIR_NODISCARD enum weir_status weir_producer_open_async(
    struct weir_client *client, const char *stream, const struct weir_producer_options *options,
    uint32_t timeout_ms, weir_producer_opened_fn *opened, void *context);

/* Takes a copy of the record; `acked` (may be NULL) comes once.
 *
 * INVALID    the key or the hash key breaks the rules
 * TOO_LARGE  the record does
 * BUSY       the buffer is full, and waiting is switched off or impossible (on the handle's thread,
 *            or on a caller's loop)
 * NOT_FOUND  the stream was deleted; open a new producer
 * CLOSING    the producer is being closed
 * On an error the record is not taken and `acked` does not come. */
WEIR_NODISCARD enum weir_status weir_put(struct weir_producer *producer,
                                         const struct weir_record *record, weir_ack_fn *acked);

/* The same for many, in order. *out_taken (never NULL) says how many were taken, also on an error:
 * then it is the index of the one that failed. */
WEIR_NODISCARD enum weir_status weir_put_many(struct weir_producer *producer,
                                              const struct weir_record *records, size_t count,
                                              weir_ack_fn *acked, size_t *out_taken);

/* Puts one record and waits for its acknowledgement. Errors as weir_put(), and those of weir_ack.
 * `out` may be NULL. */
WEIR_NODISCARD enum weir_status weir_put_wait(struct weir_producer *producer,
                                              const struct weir_record *record,
                                              struct weir_position *out, struct weir_error *error);

/* A put whose outcome is asked for later, from any thread. Only with a handle that runs its own
 * thread: INVALID otherwise. Other errors as weir_put(); then there is no future. */
struct weir_future;
WEIR_NODISCARD enum weir_status weir_put_future(struct weir_producer *producer,
                                                const struct weir_record *record,
                                                struct weir_future **out);

/* Waits up to `timeout_ms` for the outcome. OK: *out is it (whatever its status), and its pointers
 * live as long as the future. TIMEOUT: there is none yet. INVALID: on the handle's thread, with a
 * timeout other than 0. */
WEIR_NODISCARD enum weir_status weir_future_wait(struct weir_future *future, uint32_t timeout_ms,
                                                 struct weir_ack *out);
/* The record is put all the same. NULL is fine. */
void weir_future_free(struct weir_future *future);

/* Returns once every record put before has its acknowledgement, which the delivery timeout bounds.
 */
WEIR_NODISCARD enum weir_status weir_producer_flush(struct weir_producer *producer,
                                                    struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_producer_flush_async(struct weir_producer *producer,
                                                          weir_done_fn *done, void *context);

/* Since the producer was opened; the last two fields of the first block are of this moment. */
enum { WEIR_LATENCY_BUCKETS = 128 };
struct weir_producer_stats {
    uint64_t records_put, records_acked, records_failed, records_dropped, duplicates;
    uint64_t bytes_put; /* data, without keys */
    uint64_t records_pending, bytes_pending;

    uint64_t batches_sent, batches_resent;
    uint64_t records_sent; /* on the wire, resent ones too: aggregated ones count once */
    uint64_t bytes_sent;   /* on the wire, compressed */
    uint64_t throttled;    /* refusals and hints of brokers to send less */
    uint64_t paced_ms;     /* how long that made shards wait, in all */
    uint64_t moved;        /* records that went on to children of a shard that was closed */

    /* From put to acknowledgement, of acknowledged records: see weir_latency_ms(). */
    uint64_t latency[WEIR_LATENCY_BUCKETS];
};
void weir_producer_stats(struct weir_producer *producer, struct weir_producer_stats *out);

/* The latency that `quantile` (0 to 1) of the records stayed below, in milliseconds, at most an
 * quarter too high; 0 without records. */
double weir_latency_ms(const struct weir_producer_stats *stats, double quantile);

/* Counts one more in a copy, so that a program can keep latencies of its own in the same way. */
void weir_latency_count(struct weir_producer_stats *stats, double ms);

/* Gives up what is not acknowledged yet: it fails with CANCELLED, or UNCERTAIN when it was sent.
 * Flush before to lose nothing. In own-thread mode it returns after the last callback; on a
 * caller's loop the last callbacks come from the loop, and the handle must outlive them. No other
 * thread may be using the producer. NULL is fine. */
void weir_producer_close(struct weir_producer *producer);

#ifdef __cplusplus
}
#endif
