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

/* A zero field takes its default. */
struct weir_producer_options {
    uint32_t delivery_timeout_ms; /* from put to acknowledgement; 120,000 */
    uint64_t buffer_bytes;        /* records that wait for their acknowledgement; 64 MiB */
    uint32_t buffer_records;      /* the same, counted; 500,000 */
    bool fail_when_full;          /* a put then returns BUSY instead of waiting for room */
    uint32_t batch_bytes;         /* a batch is sent once it has as much; 128 KiB, at most 8 MiB */
    uint32_t linger_ms;           /* how long a smaller batch waits while others are in flight; 2 */
    uint32_t in_flight;           /* batches on their way for each shard; 8, at most 32 */
};

/* The pointers are borrowed during the put only. */
struct weir_record {
    const void
        *key; /* partition key: 1 to 1,024 bytes, by Kinesis's rule 256 characters of UTF-8 */
    size_t key_size;
    const void *data; /* data and key: 10 MiB at most; may be empty */
    size_t data_size;
    const char *explicit_hash_key; /* decimal, below 2^128; NULL: the MD5 of the key */
    void *context;                 /* given back with the acknowledgement */
};

/* What became of a record. Borrowed for the callback. */
struct weir_ack {
    enum weir_status status;       /* OK: it is stored
                                    * TIMEOUT: the delivery timeout passed and it is not stored
                                    * UNCERTAIN: it passed and nobody can say whether it is
                                    * others: refused; it is not stored */
    const char *text;              /* a sentence when status is not OK */
    struct weir_position position; /* valid when OK; the shard's number always */
    bool duplicate; /* an earlier attempt had stored it already; the position is that one's */
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

/* Returns once every record put before has its acknowledgement, which the delivery timeout bounds.
 */
WEIR_NODISCARD enum weir_status weir_producer_flush(struct weir_producer *producer,
                                                    struct weir_error *error);
WEIR_NODISCARD enum weir_status weir_producer_flush_async(struct weir_producer *producer,
                                                          weir_done_fn *done, void *context);

struct weir_producer_counters {
    uint64_t records_put, records_acked, records_failed, duplicates;
    uint64_t bytes_put;
    uint64_t batches_sent, batches_resent;
    uint64_t records_pending, bytes_pending;
};
void weir_producer_counters(struct weir_producer *producer, struct weir_producer_counters *out);

/* Gives up what is not acknowledged yet: it fails with CANCELLED, or UNCERTAIN when it was sent.
 * Flush before to lose nothing. In own-thread mode it returns after the last callback; on a
 * caller's loop the last callbacks come from the loop, and the handle must outlive them. No other
 * thread may be using the producer. NULL is fine. */
void weir_producer_close(struct weir_producer *producer);

#ifdef __cplusplus
}
#endif
