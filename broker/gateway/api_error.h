/* What a client is told when it does not get what it asked for: an exception of errors.def and a
 * sentence. */
#pragma once

#include "broker/gateway/api_arena.h"

enum exception {
#define EXCEPTION(id, name, http) EXCEPTION_##id,
#include "broker/gateway/errors.def"
    EXCEPTIONS
};

struct api_error {
    enum exception exception;
    struct bytes text; /* valid UTF-8, in the arena; may be empty */
};

/* "ResourceNotFoundException": __type, x-amzn-ErrorType, ErrorCode of PutRecords. */
const char *exception_name(enum exception exception);

/* 400, 403, 413, 500 or 503. */
uint16_t exception_http(enum exception exception);

/* What an error of ours is to a client, where the operation knows nothing better. */
enum exception exception_of_status(enum status status);

/* Fills *error and returns INVALID, so that a function can end with
 * `return api_error_set(error, arena, TEXT_STREAM_NOT_FOUND, PRINT_BYTES(name), account);`.
 * Bytes that are not UTF-8 become '?'; a text beyond 16 KiB is cut. */
NODISCARD enum status api_error_set(struct api_error *error, struct arena *arena,
                                    enum exception exception, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for a status of ours, with its exception and no details: those are in the log. */
NODISCARD enum status api_error_of_status(struct api_error *error, enum status status);

/* For "%.*s". */
#define PRINT_BYTES(bytes) (int)(bytes).size, (const char *)(bytes).data

/* ---- AWS's sentences, each with its exception: two arguments of api_error_set() and what follows
 * them. `stream`, `shard` and `account` are names: char * or PRINT_BYTES() where it says %.*s. */

/* stream, account */
#define TEXT_STREAM_NOT_FOUND \
    EXCEPTION_RESOURCE_NOT_FOUND, "Stream %.*s under account %s not found."
#define TEXT_STREAM_EXISTS EXCEPTION_RESOURCE_IN_USE, "Stream %.*s under account %s already exists."
/* stream, account, state */
#define TEXT_STREAM_NOT_ACTIVE \
    EXCEPTION_RESOURCE_IN_USE, "Stream %.*s under account %s not ACTIVE, instead in state %s"
/* shard, stream, account: a well-formed name of no shard; a name that no shard can have */
#define TEXT_SHARD_NOT_FOUND \
    EXCEPTION_RESOURCE_NOT_FOUND, "Shard %s in stream %.*s under account %s does not exist"
#define TEXT_SHARD_NOT_PARSED \
    EXCEPTION_RESOURCE_NOT_FOUND, "Could not find shard %.*s in stream %.*s under account %s."
/* shard, stream, account */
#define TEXT_THROTTLED \
    EXCEPTION_THROUGHPUT_EXCEEDED, "Rate exceeded for shard %s in stream %.*s under account %s."
/* shard of the number, shard of the call */
#define TEXT_SEQUENCE_OF_OTHER_SHARD                                        \
    EXCEPTION_INVALID_ARGUMENT,                                             \
        "Invalid StartingSequenceNumber. It encodes %s, while it was used " \
        "in a call to a shard with %s"
/* number, type, shard, stream, account */
#define TEXT_SEQUENCE_OF_OTHER_STREAM                                                            \
    EXCEPTION_INVALID_ARGUMENT, "StartingSequenceNumber %.*s used in %s on shard %s in stream "  \
                                "%.*s under account %s is invalid because it did not come from " \
                                "this stream."
/* number, stream, account */
#define TEXT_ORDERING_NUMBER                                                                       \
    EXCEPTION_INVALID_ARGUMENT, "ExclusiveMinimumSequenceNumber %.*s used in PutRecord on stream " \
                                "%.*s under account %s is invalid."
/* value */
#define TEXT_EXPLICIT_HASH_KEY                                                                    \
    EXCEPTION_INVALID_ARGUMENT, "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: " \
                                "[0, 2^128-1]. Specified value was %.*s"
/* point, shard, stream, account, first and last key of the shard */
#define TEXT_SPLIT_POINT                                                                          \
    EXCEPTION_INVALID_ARGUMENT, "NewStartingHashKey %.*s used in SplitShard() on shard %s in "    \
                                "stream %.*s under account %s is not both greater than one plus " \
                                "the shard's StartingHashKey %s and less than the shard's "       \
                                "EndingHashKey %s."
/* shard, stream, account */
#define TEXT_SHARD_NOT_OPEN                                                                  \
    EXCEPTION_INVALID_ARGUMENT, "Shard %s in stream %.*s under account %s has already been " \
                                "merged or split, and thus is not eligible for merging or "  \
                                "splitting."
/* shard, shard, stream, account */
#define TEXT_SHARDS_NOT_ADJACENT                                                               \
    EXCEPTION_INVALID_ARGUMENT, "Shards %s and %s in stream %.*s under account %s are not an " \
                                "adjacent pair of shards eligible for merging"
/* account, limit, shards now, shards asked for */
#define TEXT_SHARD_LIMIT                                                                           \
    EXCEPTION_LIMIT_EXCEEDED, "This request would exceed the shard limit for the account %s: the " \
                              "limit is %u, shards now: %u, asked for: %u."
/* hours */
#define TEXT_RETENTION_TOO_SHORT                                                           \
    EXCEPTION_INVALID_ARGUMENT, "Minimum allowed retention period is 24 hours. Requested " \
                                "retention period (%lld hours) is too short."
#define TEXT_RETENTION_TOO_LONG                                                              \
    EXCEPTION_INVALID_ARGUMENT, "Maximum allowed retention period is 8760 hours. Requested " \
                                "retention period (%lld hours) is too long."
/* hours asked, stream, hours now */
#define TEXT_RETENTION_NOT_MORE                                                                    \
    EXCEPTION_INVALID_ARGUMENT, "Requested retention period (%lld hours) for stream %.*s can not " \
                                "be shorter than existing retention period (%lld hours). Use "     \
                                "DecreaseRetentionPeriod API."
#define TEXT_RETENTION_NOT_LESS                                                                    \
    EXCEPTION_INVALID_ARGUMENT, "Requested retention period (%lld hours) for stream %.*s can not " \
                                "be longer than existing retention period (%lld hours). Use "      \
                                "IncreaseRetentionPeriod API."
/* type, and "no StartingSequenceNumber" or "also a StartingSequenceNumber" */
#define TEXT_ITERATOR_NUMBER                                                                   \
    EXCEPTION_INVALID_ARGUMENT,                                                                \
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and "             \
        "StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. " \
        "Request specified %s and %s."
/* nothing */
#define TEXT_ITERATOR_NO_TIMESTAMP                                                               \
    EXCEPTION_INVALID_ARGUMENT, "Must specify timestampInMillis parameter for iterator of type " \
                                "AT_TIMESTAMP. Current request has no timestamp parameter."
/* asked, now: milliseconds */
#define TEXT_ITERATOR_FUTURE                                                                  \
    EXCEPTION_INVALID_ARGUMENT, "The timestampInMillis parameter cannot be greater than the " \
                                "currentTimestampInMillis. timestampInMillis: %lld, "         \
                                "currentTimestampInMillis: %lld"
/* nothing */
#define TEXT_ITERATOR_INVALID EXCEPTION_INVALID_ARGUMENT, "Invalid ShardIterator."
/* when it was made, now: iterator_expired_text() prints the times */
#define TEXT_ITERATOR_EXPIRED                                                                  \
    EXCEPTION_EXPIRED_ITERATOR, "Iterator expired. The iterator was created at time %s while " \
                                "right now it is %s which is further in the future than the "  \
                                "tolerated delay of %u milliseconds."
