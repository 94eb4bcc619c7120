/* A request on its way, and what its operations share. Private. */
#pragma once

#include "base/list.h"
#include "broker/gateway/api.h"
#include "broker/kinesis/attempt.h"
#include "broker/kinesis/kinesis.h"
#include "broker/kinesis/stats.h"
#include "proto/codec/codec.h"
#include "proto/schema/data.pb-c.h"
#include "proto/schema/metadata.pb-c.h"
#include "proto/wire/batch.h"
#include "proto/wire/seqnum.h"

enum {
    REQUEST_MS = 8000, /* all of a request; the most impatient SDK waits 10 s */
    ROUTE_WAIT_MS = 2000,
    ATTEMPT_MS = 2500, /* one call of another broker or a controller */
    SHARD_ID_BYTES = 24,
    REQUEST_ID_BYTES = 37,
};

/* How many calls of each operation this broker takes a second. */
struct calls {
    struct {
        uint32_t rate;  /* 0: no limit */
        int64_t tokens; /* thousandths */
        uint64_t at_ms;
    } operation[API_OPERATIONS];
};

struct kinesis {
    struct kinesis_options options;
    struct http_server *server;
    struct list requests;      /* request.node */
    struct list waiting;       /* request.waiting */
    struct list subscriptions; /* subscription.node */
    struct calls calls;        /* of operations, lately */
    struct coder coder;        /* of compressed batches that are read */
    struct stats stats;
    bool draining, closing;
};

struct reach;

struct request {
    struct kinesis *k;
    struct http_request *http; /* NULL: answered */
    struct list node;
    struct arena arena;
    struct sigv4_result caller;
    uint8_t body_hash[32]; /* SHA-256 */
    uint32_t image_tries;  /* how often it waited for the metadata */
    uint32_t key_tries;    /* and for its key */
    enum api_encoding encoding;
    enum api_operation_id operation; /* API_OPERATIONS until it is known */
    const struct value *input;
    struct api_error error;
    char id[REQUEST_ID_BYTES];
    uint64_t deadline_ms; /* on net_now_ms() */
    uint64_t came_us;     /* on net_clock_us() */
    uint32_t running;     /* calls under way, which need this struct */

    /* What to do next, when the image or the time has moved on. */
    void (*step)(struct request *r);
    struct list waiting;
    uint64_t version; /* of the image that is waited for */
    struct net_timer timer;
    bool refreshed; /* the image is as new as the controllers' */

    struct control *control;
    void *state; /* the operation's, in the arena */
};

/* ---- kinesis.c ---- */

/* Runs the operation's handler, again after request_refresh(). */
void request_run(struct request *r);

/* The answer has been given and no call is under way: forgets it. Called by who ends either. */
void request_settle(struct request *r);

/* Unix milliseconds; monotonic ones. */
uint64_t request_wall_ms(const struct request *r);
uint64_t request_age_ms(const struct request *r); /* since it came */
uint64_t request_now_ms(const struct request *r);

/* False: there are none (a sentence is in the log). */
bool random_bytes(void *to, size_t size);

const char *kinesis_account(const struct kinesis *k);
const char *kinesis_region(const struct kinesis *k);

#define OPERATION(name, handler, input, output, answer, resource, rate) \
    void handle_##handler(struct request *r);
#include "broker/gateway/api.def"

/* ---- door.c ---- */

void door_requested(struct http_request *http, void *data);

/* ---- answer.c ---- */

/* The last words to a request; each once. `output` NULL: the arena has failed, 500. */
void answer(struct request *r, const struct value *output);
void answer_empty(struct request *r);
/* With r->error. */
void answer_error(struct request *r);
void answer_refuse(struct request *r, enum exception exception, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A status of ours; `text` may be NULL. */
void answer_status(struct request *r, enum status status, const char *text);
/* Without a body of ours: HTTP's own answers. `type` NULL: none. */
void answer_plain(struct request *r, uint16_t status, const char *type, const char *text);

enum { ANSWER_HEADERS_MAX = 8 };
/* Headers of every answer; returns how many. Values live in the arena. */
uint32_t answer_headers(struct request *r, const char *type,
                        struct http_header headers[ANSWER_HEADERS_MAX]);

/* ---- control.c ---- */

/* A change at the controllers: `message` lives in the arena. `done` comes when it is made and our
 * image has it; failures are answered. `method` answers with a StreamReply. */
void control_change(struct request *r, enum rpc_method method, const ProtobufCMessage *message,
                    void (*done)(struct request *r, const Weir__StreamReply *reply));

/* 16 random bytes by which controllers know a retry, in the arena. */
ProtobufCBinaryData control_request_id(struct request *r);

/* Asks the controllers whether there is something newer about a stream, waits for it and runs the
 * handler again. False: that was done already. */
bool request_refresh(struct request *r, struct bytes stream);

/* Goes on with `step` when the image changes, or after `most_ms`. */
void request_wait(struct request *r, uint64_t version, uint64_t most_ms,
                  void (*step)(struct request *r));

/* ---- stream.c ---- */

/* The stream that the input names, in any of its ways. NULL: answered, or it goes on later. */
const struct route_stream *request_stream(struct request *r);
/* The same, when it must be ACTIVE (or UPDATING): else RIU. */
const struct route_stream *request_active_stream(struct request *r);
/* The same for the data path, where a stream that is not there yet or any more is not found. */
const struct route_stream *request_data_stream(struct request *r);
/* ResourceARN or ConsumerARN: of a consumer, *out_consumer is it; of a stream, NULL. Consumers that
 * are not there are answered. */
const struct route_stream *request_resource(struct request *r, struct bytes arn,
                                            const Weir__Consumer **out_consumer);

/* Takes "arn:…:stream/NAME" or "arn:…:stream/NAME/consumer/CONSUMER:CREATED" apart. */
struct arn {
    struct bytes account, stream, consumer;
    uint64_t consumer_created_s; /* consumer.size > 0 */
};
bool arn_parse(struct bytes text, struct arn *out);

const char *stream_arn(struct request *r, const struct route_stream *stream);
const char *consumer_arn(struct request *r, const struct route_stream *stream,
                         const Weir__Consumer *consumer);
const Weir__Consumer *stream_consumer(const struct route_stream *stream, struct bytes name);

const char *stream_state_text(Weir__StreamState state);
void shard_id_text(uint32_t number, char out[SHARD_ID_BYTES]);
/* False: not of the form shardId-NUMBER. */
bool shard_id_parse(struct bytes text, uint32_t *out);
/* The shard of that name. NULL: answered, or it goes on later. */
const struct route_shard *request_shard(struct request *r, const struct route_stream *stream,
                                        struct bytes name);

void refuse_not_found(struct request *r, struct bytes stream);
void refuse_throttled(struct request *r, uint64_t shard, const char *stream);

/* Rows as answers have them. */
void add_shard(struct request *r, struct value *list, const struct route_shard *shard);
void add_children(struct request *r, struct value *to, const struct route_stream *stream,
                  uint32_t parent);
void add_hash_range(struct request *r, struct value *to, const struct hash_range *range);
void add_common(struct request *r, struct value *to, const struct route_stream *stream);
void add_mode(struct request *r, struct value *to, const struct route_stream *stream);
/* Names of the metrics of Weir__StreamAttributes.monitoring. */
void add_monitoring(struct request *r, struct value *to, const char *name, uint32_t bits);
uint32_t open_shards(const struct route_stream *stream);

/* ---- list_shards.c, describe.c ---- */

/* Whether clients see the shard: not before its parents are closed, nor when nothing of it is kept.
 */
bool shard_is_listed(const struct request *r, const struct route_stream *stream,
                     const struct route_shard *shard);

/* NextTokens: both false when the request was answered. The payload lives in the arena. */
bool request_token(struct request *r, const char *purpose, struct bytes text, struct bytes *out);
bool add_token(struct request *r, struct value *to, const char *purpose, struct bytes payload);

void add_commitment(struct request *r, struct value *output);

/* ---- calls.c ---- */

/* INVALID with a sentence. */
NODISCARD enum status calls_init(struct calls *calls, const char *text, struct error *error);
/* False: the operation's limit is reached. Counts the call. */
bool calls_allow(struct calls *calls, enum api_operation_id operation, uint64_t now_ms);

/* ---- reach.c ---- */

struct reach_reply {
    enum status status;
    const char *text;           /* when it is not OK */
    struct bytes body;          /* the reply's message */
    const struct bytes *pieces; /* its attachment */
    uint32_t piece_count;
};

/* One call to a shard's leader (or another replica), at this or another broker, again and again
 * until it answers, or the request's time is over, or this broker hears no other (attempt.h). Lives
 * in the arena of its request; what it sends must, too. */
struct reach {
    struct request *r;
    uint64_t shard;
    uint64_t deadline_ms; /* 0: the request's */
    uint32_t patience_ms; /* how long one attempt may take, when longer than usual */
    enum rpc_method method;
    /* While the leader does not answer, any replica may: it has what it knows as committed
     * (docs/replication.md 2.10). */
    bool any_replica;
    void (*done)(struct reach *reach, const struct reach_reply *reply); /* may come from inside */
    void *owner;
    struct arena *arena; /* for its messages; NULL: the request's */

    /* Private. */
    const ProtobufCMessage *message;
    struct bytes body, attachment;
    struct session_call local;
    struct session_request remote;
    struct net_timer timer;
    uint32_t leader; /* as a refusal said; 0: as the image says */
    uint32_t attempts;
    uint32_t asked, asked_epoch; /* as struct attempt has it */
    uint64_t began_ms;
    enum attempt_next next; /* of a remote attempt that was cancelled: not WAIT */
    bool is_local, is_remote;
    bool is_left; /* `done` has come, and the answer from here has not */
};
void reach_start(struct reach *reach, const ProtobufCMessage *message, struct bytes attachment);
/* Gives up: `done` comes, if it has not, with CANCELLED or what arrives first. */
void reach_cancel(struct reach *reach);

/* ---- subscribe.c ---- */

/* Ends all subscriptions in good order: each is told so, and its leader. */
void subscriptions_end(struct kinesis *k);

/* ---- position.c ---- */

/* Where a shard is to be read from, as GetShardIterator and SubscribeToShard say it. */
struct position {
    uint64_t shard;
    char stream[STREAM_NAME_MAX + 1];
    const char *type;      /* "LATEST" ... */
    struct bytes sequence; /* {NULL, 0}: none */
    const struct value *timestamp;
    void (*done)(struct request *r, enum iterator_position position, uint64_t at);
};
/* Checks it, and asks the leader where it must; `done` comes with the answer, or the request is
 * answered. Lives in the arena. */
void position_resolve(struct request *r, struct position *position,
                      const struct route_shard *shard);

/* ---- records.c ---- */

/* Takes batches apart. */
struct records {
    struct coder *coder;
    struct arena *arena;
    struct value *list; /* of Record */
    uint64_t shard, created_s;
    uint64_t
        oldest_ms;   /* records that arrived earlier are skipped: they are over their retention */
    uint64_t offset; /* the next one wanted; moves on */
    uint32_t count, count_max;
    size_t bytes, bytes_max; /* data and keys */
    uint64_t last_ms;        /* arrival of the last one taken */
    bool full;               /* the next one did not fit */
};
/* CORRUPT, or NO_MEMORY. Data are copied to the arena. *out_last_ms: arrival of the last batch. */
NODISCARD enum status records_take(struct records *records, const struct bytes *pieces,
                                   uint32_t piece_count, uint64_t *out_last_ms);
