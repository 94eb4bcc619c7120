/* The inside of a weir_reader: one question to one broker at a time, and one answer kept ahead.
 *
 *                      RESOLVE (where to begin)
 *                         |
 *                         v            an answer for the next get
 *     get ---> look ---> READ --------------------------------> ready
 *               ^         |  nothing there: again, waiting at the broker
 *               |         v
 *               +---- back-off, another replica
 *
 * Everything but the public functions is the loop thread's. */
#pragma once

#include <weir/reader.h>

#include "client/handle/handle.h"
#include "proto/codec/codec.h"
#include "proto/schema/data.pb-c.h"

enum {
    READ_BYTES = 1024 * 1024,
    OPENED_TIMES =
        8, /* what was compressed may become so much larger than a read, then it is cut */
    LONG_POLL_MS = 5000,
    ANSWER_MS = 2000, /* a broker that takes longer is asked again, or another is */
    READ_BACKOFF_MIN_MS = 10,
    READ_BACKOFF_MAX_MS = 500,
    CORRUPT_MAX = 10, /* in a row, from any replica */
};

enum reader_question { ASK_NOTHING, ASK_START, ASK_READ, ASK_TIP, ASK_PUSH };

/* A get that waits for its answer. */
struct reader_get {
    bool waiting;
    bool confirm; /* the next empty answer must be compared with the leader's tip first */
    uint32_t wait_ms;
    weir_records_fn *got;
    void *context;
};

/* An opening under way: the same struct becomes the reader. */
struct reader_opening {
    struct net_mail mail;
    char name[STREAM_NAME_MAX + 1];
    uint32_t timeout_ms;
    weir_reader_opened_fn *opened; /* NULL once it has been called */
    void *context;
    struct stream_find find;
    enum weir_from from;
    uint64_t from_ms;
    bool has_position; /* of a sequence number: */
    uint64_t position_created_s, position_offset;
};

/* A subscription (push.c). */
struct reader_push {
    bool wanted;       /* instead of reads */
    bool over;         /* what comes until its last reply does not count */
    enum status fault; /* why we ended it; OK: because there is a better broker */
    uint64_t id, owed; /* credit that was used and is free again, not granted yet */
    struct list queue; /* records_block.node */
    bool granting;     /* `grant` is under way */
    struct session_request grant;
    struct net_timer silence;
};

struct weir_reader {
    struct weir_client *client;
    struct reader_opening opening;
    uint32_t read_bytes;
    bool confirm_tip, deaggregate;
    struct coder coder;
    uint32_t stream, shard;
    uint64_t created_s;

    uint64_t offset;            /* the next record wanted */
    bool caught_up;             /* the last read from there found nothing */
    bool polling;               /* gets wait for records: so the next read may wait at the broker */
    bool skipped, lost;         /* to be told with the next records */
    bool at_end;                /* of a closed shard: nothing follows */
    bool resolve_again;         /* retention has overtaken `offset` */
    struct weir_records *ready; /* for the next get; behind it those of `queue` */
    struct weir_records *kept;  /* what the last reply brought; NULL: nothing */
    uint64_t records_behind, bytes_behind; /* by the last reply */
    struct reader_push push;

    enum reader_question asked; /* what `request` is about; ASK_NOTHING: none under way */
    bool is_long_poll;
    uint32_t target; /* the broker asked last */
    uint32_t turns;  /* which replica comes next when there is no leader */
    uint32_t failures, corrupt;
    struct session_request request;
    struct net_timer retry, patience;
    struct cluster_watcher watcher;
    struct weir_error fault; /* status not OK: every get fails with it */

    struct reader_get wanted; /* written by whoever calls, before its mail */
    struct reader_get get;
    struct net_mail get_mail, close_mail;
    pthread_mutex_t lock;
    bool busy; /* under the lock: a get is on its way to the loop, or waits there */
    bool closing;
    struct waiter *closer;
};

/* read.c */
struct session *reader_choose(struct weir_reader *reader); /* whom to ask; NULL: nobody yet */
void reader_back_off(struct weir_reader *reader);
void reader_on_reply(struct session_request *request, const struct session_reply *reply);
void reader_look(struct weir_reader *reader);  /* asks what should be asked now */
void reader_start(struct weir_reader *reader); /* RESOLVE; then reader_opened() */
void reader_changed(struct cluster_watcher *watcher);
void reader_stop(struct weir_reader *reader);

/* push.c */
void reader_push_init(struct weir_reader *reader, bool wanted);
void reader_ask_push(struct weir_reader *reader);
/* Before a reply is read. *status: what to make of it. False: it does not count. */
bool reader_push_reply(struct weir_reader *reader, bool more, enum status *status);
/* Ends the subscription; its last reply is on its way. */
void reader_push_end(struct weir_reader *reader, enum status fault);
/* The next get has taken so many bytes. */
void reader_push_taken(struct weir_reader *reader, size_t bytes);
void reader_push_stop(struct weir_reader *reader);

/* reader.c */
/* Where it begins is known: tells whoever opens it. */
void reader_opened(struct weir_reader *reader);
/* Answers the waiting get with what is ready, or with nothing. */
void reader_answer(struct weir_reader *reader, bool at_tip, uint64_t behind_ms);
/* Answers the waiting get with the shard's end; false while the metadata do not tell its children.
 */
bool reader_answer_end(struct weir_reader *reader);
/* This and every later get (or the opening) fails. */
void reader_fail(struct weir_reader *reader, enum status status, const char *text);
/* Frees it when it was closed and no question is under way: the last thing that any callback of the
 * loop does. */
void reader_end_if_over(struct weir_reader *reader);
/* A copy of the batches, taken apart. *out_cut: not all of them, the next read begins within. */
NODISCARD enum status reader_keep(struct weir_reader *reader, struct bytes attachment,
                                  uint64_t *out_next, bool *out_cut);
