/* Every way in which a call of the library can fail.
 *
 * The numbers are those of the wire and never change. Functions that can fail return one, write
 * their out-parameters only on WEIR_OK, and must not be ignored. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define WEIR_NODISCARD __attribute__((warn_unused_result))

enum weir_status {
    WEIR_OK = 0,
    WEIR_INVALID = 1,    /* an argument breaks the rules of the interface */
    WEIR_NOT_FOUND = 2,  /* no such stream or shard */
    WEIR_EXISTS = 3,     /* it exists already */
    WEIR_BUSY = 4,       /* a limit was reached: retry later */
    WEIR_NOT_LEADER = 5, /* retried inside the library */
    WEIR_NOT_ACTIVE = 6, /* retried inside the library */
    WEIR_FENCED = 7,     /* a newer epoch exists */
    WEIR_SEALED = 8,     /* the shard is closed */
    WEIR_NO_QUORUM = 9,  /* no majority of the replicas answers */
    WEIR_TIMEOUT = 10,   /* the deadline passed; nothing was done */
    WEIR_CANCELLED = 11, /* the caller gave up */
    WEIR_CLOSING = 12,   /* the client is being closed */
    WEIR_CORRUPT = 13,   /* received bytes fail their check */
    WEIR_IO = 14,        /* a file or the network failed */
    WEIR_DISK_FULL = 15, /* the brokers' disks have reached their reserve */
    WEIR_NO_MEMORY = 16,
    WEIR_DENIED = 17,           /* the certificate's role does not allow this */
    WEIR_WRONG_CLUSTER = 18,    /* the certificate is of another cluster */
    WEIR_WRONG_IDENTITY = 19,   /* the other side's certificate names somebody else */
    WEIR_UNSUPPORTED = 20,      /* the other side does not speak this version or method */
    WEIR_TOO_LARGE = 21,        /* larger than the limit */
    WEIR_UNAVAILABLE = 22,      /* nobody who could answer can be reached */
    WEIR_OUT_OF_ORDER = 23,     /* handled inside the library */
    WEIR_PRODUCER_FENCED = 24,  /* a newer epoch of this producer exists: open a new one */
    WEIR_UNKNOWN_PRODUCER = 25, /* handled inside the library */
    WEIR_UNCERTAIN = 26,        /* the outcome is unknown: it may or may not have happened */
    WEIR_PLACEMENT = 27,        /* the brokers cannot satisfy the placement rule */
    WEIR_STALE = 28,
    WEIR_MORE = 29,
    WEIR_EXPIRED = 30,         /* its lifetime is over */
    WEIR_THROTTLED = 31,       /* the limit of the shard is reached */
    WEIR_INTERNAL = 32,        /* a fault of Weir's; the servers' logs say more */
    WEIR_LIMIT = 33,           /* a limit of the account or of the stream is reached */
    WEIR_IN_USE = 34,          /* its state does not allow this now */
    WEIR_VALIDATION = 35,      /* the request does not fit the thing that it names */
    WEIR_KEY_NOT_FOUND = 36,   /* the key ring has no such key */
    WEIR_KEY_DISABLED = 37,    /* the key of the ring is disabled */
    WEIR_KEY_STATE = 38,       /* its state (deletion, say) does not allow this */
    WEIR_KEY_DENIED = 39,      /* it may not or cannot be used here */
    WEIR_KEY_UNAVAILABLE = 40, /* the broker has not got the data key from the controllers: retry */
};

/* "NOT_FOUND"; "UNKNOWN" for a number outside the table. Never NULL; any thread. */
const char *weir_status_name(enum weir_status status);

/* A short sentence. Never NULL; any thread. */
const char *weir_status_text(enum weir_status status);

enum { WEIR_ERROR_TEXT_BYTES = 256 };

/* A status with a sentence for a person: what was wrong, and what to do. Where a function takes a
 * `struct weir_error *`, NULL is allowed; it is written when the function fails. */
struct weir_error {
    enum weir_status status;
    char text[WEIR_ERROR_TEXT_BYTES];
};

#ifdef __cplusplus
}
#endif
