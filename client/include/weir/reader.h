/* Reads one shard in order, from any point, following it to its tip and beyond.
 *
 * The next read is under way while the last is being handled. A change of leader or a lost
 * connection is not seen: the reader goes on at the next record from whoever has it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <weir/client.h>
#include <weir/status.h>

#ifdef __cplusplus
extern "C" {
#endif

struct weir_reader;

/* As the shard iterators of Kinesis. */
enum weir_from {
    WEIR_TRIM_HORIZON = 0,          /* the oldest record that is kept */
    WEIR_LATEST = 1,                /* what comes after the moment of opening */
    WEIR_AT_SEQUENCE_NUMBER = 2,    /* that record, or the next that exists */
    WEIR_AFTER_SEQUENCE_NUMBER = 3, /* strictly after it */
    WEIR_AT_TIMESTAMP = 4,          /* the first that arrived at or after it */
};

struct weir_reader_options {
    enum weir_from from;
    const char *sequence_number; /* decimal, for the two kinds that need one */
    uint64_t timestamp_ms;       /* Unix milliseconds, for AT_TIMESTAMP */
    uint32_t read_bytes;         /* of one read; 0: 1 MiB */
    bool confirm_tip; /* a get that finds nothing asks the leader whether this is the tip, and
                       * returns at once when it is, whatever its wait; at_tip is then certain */
    bool push; /* the broker sends records as they are committed, instead of being asked again and
                * again; not with confirm_tip */
    bool deaggregate; /* records that hold many, as the Kinesis Producer Library makes them and
                       * weir_producer with .aggregate, come as these many; those that do not belong
                       * into the shard's range of hash keys are left out, as the Kinesis Client
                       * Library does */
};

/* One record. The pointers live as long as the weir_records that holds it. */
struct weir_read_record {
    const uint8_t *key, *data;
    size_t key_size, data_size;
    struct weir_position position;
    bool aggregated;       /* it was one of several in the record at `position` ... */
    uint32_t sub_sequence; /* ... this one, from 0 */
};

/* A shard that a split or merge made of one that has ended: its records follow those of all its
 * parents, for each partition key. Read it once they have all ended. */
struct weir_child {
    uint32_t shard; /* number */
    uint32_t parent_count;
    uint32_t parents[2];
};

/* The outcome of a get. The receiver's, until weir_records_free(). */
struct weir_records {
    size_t count; /* 0: the wait passed, or the shard ended */
    const struct weir_read_record *records;
    uint64_t next_offset; /* behind all that was read so far */
    uint64_t
        records_behind; /* how many the shard has behind these, then; some may be of the protocol */
    uint64_t bytes_behind;  /* what those take as they are stored: compressed, with the headers of
                             * batches. Exact; when this reader has just begun in old records, up to
                             * 64 KiB and a batch more */
    uint64_t millis_behind; /* how far the last record is behind the shard's newest; 0 at the tip */
    bool at_tip;            /* whoever answered had no more; with confirm_tip nobody had */
    bool ended;             /* the shard is closed and all of it was read; then count is 0 */
    size_t child_count;     /* ended: who goes on, at least one */
    const struct weir_child *children;
    bool skipped; /* records between the last read and this had passed retention */
    bool lost;    /* a forced recovery of the shard lost records that were acknowledged: those
                   * between the records of an older recovery generation and of a newer one */
};
void weir_records_free(struct weir_records *records);

/* Opens a reader of the shard once its starting point is known, waiting up to `timeout_ms` (0:
 * 30 s). The stream must be known to the cluster.
 *
 * NOT_FOUND    no such stream or shard
 * INVALID      a malformed sequence number, or one of another shard or stream
 * UNAVAILABLE  nobody answered in time
 * TIMEOUT      the shard had no leader in that time */
WEIR_NODISCARD enum weir_status weir_reader_open(struct weir_client *client, const char *stream,
                                                 uint32_t shard,
                                                 const struct weir_reader_options *options,
                                                 uint32_t timeout_ms, struct weir_reader **out,
                                                 struct weir_error *error);

/* `reader` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_reader_opened_fn(struct weir_reader *reader, const struct weir_error *error,
                                   void *context);
WEIR_NODISCARD enum weir_status weir_reader_open_async(struct weir_client *client,
                                                       const char *stream, uint32_t shard,
                                                       const struct weir_reader_options *options,
                                                       uint32_t timeout_ms,
                                                       weir_reader_opened_fn *opened,
                                                       void *context);

/* The next records, waiting up to `wait_ms` for at least one (0: only what is there; it still
 * waits for the answer of a broker). One get at a time for each reader: BUSY otherwise.
 *
 * NOT_FOUND  the stream was deleted
 * CORRUPT    the brokers' bytes fail their check again and again
 * DENIED     our certificate's role may not read
 * Lost brokers and leaders are no errors: an empty answer after `wait_ms` is all that is seen. */
WEIR_NODISCARD enum weir_status weir_reader_get(struct weir_reader *reader, uint32_t wait_ms,
                                                struct weir_records **out,
                                                struct weir_error *error);

/* `records` is NULL when error->status is not OK; it is the receiver's. */
typedef void weir_records_fn(struct weir_records *records, const struct weir_error *error,
                             void *context);
WEIR_NODISCARD enum weir_status weir_reader_get_async(struct weir_reader *reader, uint32_t wait_ms,
                                                      weir_records_fn *got, void *context);

/* A get that still waits is answered CANCELLED. On a caller's loop its callback comes from the
 * loop afterwards. NULL is fine. */
void weir_reader_close(struct weir_reader *reader);

#ifdef __cplusplus
}
#endif
