/* Every way in which something can fail, in one table: number, name, sentence.
 *
 * The numbers travel in reply frames and never change; new ones go at the end. A function that can
 * fail returns `enum status`, writes its out-parameters only on STATUS_OK, and is NODISCARD. */
#pragma once

#include <stdbool.h>

#define NODISCARD __attribute__((warn_unused_result))

#define STATUS_TABLE(X)                                                                \
    X(0, OK, "ok")                                                                     \
    X(1, INVALID, "the request breaks the rules of the interface")                     \
    X(2, NOT_FOUND, "there is no such thing")                                          \
    X(3, EXISTS, "it exists already")                                                  \
    X(4, BUSY, "a limit was reached, retry later")                                     \
    X(5, NOT_LEADER, "this broker does not lead the shard")                            \
    X(6, NOT_ACTIVE, "this controller is not the active one")                          \
    X(7, FENCED, "a newer epoch exists")                                               \
    X(8, SEALED, "the shard is closed, its children take the records")                 \
    X(9, NO_QUORUM, "no majority of the replicas answers")                             \
    X(10, TIMEOUT, "the deadline passed")                                              \
    X(11, CANCELLED, "the caller gave up")                                             \
    X(12, CLOSING, "the process or the connection is closing")                         \
    X(13, CORRUPT, "stored or received bytes fail their check")                        \
    X(14, IO, "the disk or the network failed")                                        \
    X(15, DISK_FULL, "the disk has reached its reserve")                               \
    X(16, NO_MEMORY, "out of memory")                                                  \
    X(17, DENIED, "the role or key of the caller does not allow this")                 \
    X(18, WRONG_CLUSTER, "the caller belongs to another cluster")                      \
    X(19, WRONG_IDENTITY, "the certificate names somebody else")                       \
    X(20, UNSUPPORTED, "the other side does not speak this version or method")         \
    X(21, TOO_LARGE, "larger than the limit")                                          \
    X(22, UNAVAILABLE, "nobody who could answer can be reached")                       \
    X(23, OUT_OF_ORDER, "a producer sequence number was skipped")                      \
    X(24, PRODUCER_FENCED, "a newer epoch of this producer exists")                    \
    X(25, UNKNOWN_PRODUCER, "the producer's earlier records are no longer remembered") \
    X(26, UNCERTAIN, "the outcome is unknown: it may or may not have happened")        \
    X(27, PLACEMENT, "the brokers cannot satisfy the placement rule")                  \
    X(28, STALE, "an older incarnation: boot id, counter or version went back")        \
    X(29, MORE, "more bytes are needed")                                               \
    X(30, EXPIRED, "its lifetime is over")                                             \
    X(31, THROTTLED, "the limit of the shard is reached")                              \
    X(32, INTERNAL, "a fault of ours; the log says more")                              \
    X(33, LIMIT, "a limit of the account or of the stream is reached")                 \
    X(34, IN_USE, "its state does not allow this now")                                 \
    X(35, VALIDATION, "the request does not fit the thing that it names")              \
    X(36, KEY_NOT_FOUND, "the key ring has no such key")                               \
    X(37, KEY_DISABLED, "the key of the ring is disabled")                             \
    X(38, KEY_STATE, "the state of the key of the ring does not allow this")           \
    X(39, KEY_DENIED, "the key of the ring may not or cannot be used here")            \
    X(40, KEY_UNAVAILABLE, "the controllers have not given this broker the data key")

enum status {
#define X(number, name, text) STATUS_##name = (number),
    STATUS_TABLE(X)
#undef X
};

/* "NOT_LEADER"; "UNKNOWN" for a number outside the table. */
const char *status_name(enum status status);

/* The sentence of the table. Never NULL. */
const char *status_text(enum status status);

/* A number from the wire; one that this version does not know becomes STATUS_INTERNAL. */
enum status status_from_wire(unsigned number);

/* Whether the same request may succeed later or elsewhere without being changed. */
bool status_is_retryable(enum status status);

/* Whether it is one of encryption: KEY_... */
bool status_is_of_key(enum status status);

/* For a must-use result that is ignored on purpose; `why` is for the reader. */
#define status_ignore(expr, why)       \
    do {                               \
        enum status ignored_ = (expr); \
        (void)ignored_;                \
    } while (0)

enum { ERROR_TEXT_BYTES = 256 };

/* A status with a sentence for a person: what was wrong, and what to do. */
struct error {
    enum status status;
    char text[ERROR_TEXT_BYTES];
};

/* Fills *error (which may be NULL) and returns `status`, so that a function can end with
 * `return error_set(error, STATUS_INVALID, "the stream name is empty");`. Too long a text is cut.
 */
enum status error_set(struct error *error, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The analyzer does not look into status.c; this tells it that the status given comes back. */
#ifdef __clang_analyzer__
#    define error_set(to, given, ...)                   \
        (__extension__({                                \
            enum status given_ = (given);               \
            (void)error_set((to), given_, __VA_ARGS__); \
            given_;                                     \
        }))
#endif
