/* The native protocol in the form that the load generator of the comparison harness wants: one
 * engine, one small driver per system. Written against its loadgen.h; see tests/bench/run.
 *
 * --extra FILE names what the driver cannot know: "cluster HEX", "name NAME", then "shard INDEX
 * KEY" lines. Puts carry a producer id for each shard and the record's number as its sequence, so
 * that what the generator sends again is not stored twice. */
#include "loadgen.h"

#include "base/crc32c.h"
#include "base/status.h"
#include "proto/rpc/rpc.h"
#include "proto/schema/common.pb-c.h"
#include "proto/schema/data.pb-c.h"
#include "proto/wire/batch.h"

enum {
    SHARDS_MAX = 4096,
    READ_BYTES = 2 * 1024 * 1024,
    READ_WAIT_MS = 1000,
    RECORD_KEY_BYTES = 4,
};

/* Call ids say what a reply answers: kind in the top byte, then the shard or the append's token. */
enum call_kind { CALL_HELLO = 1, CALL_PUT, CALL_RESOLVE, CALL_READ };

static uint8_t cluster[CLUSTER_ID_BYTES];
static char name[NODE_NAME_BYTES];
static uint64_t shard_key[SHARDS_MAX], next_offset[SHARDS_MAX], producer_base;
static uint8_t position_known[SHARDS_MAX];
static uint32_t put_shard[1 << 20]; /* by the slot part of a token */
static int loaded;

static void load_extra(void)
{
    if (loaded) {
        return;
    }
    loaded = 1;
    producer_base = ((uint64_t)lg_now() << 12 & 0x7fffffffffffu) | 1u << 20;
    FILE *file = fopen(O.extra != NULL ? O.extra : "", "r");
    char word[32], value[128];
    unsigned long index, key;
    if (file == NULL) {
        lg_err("cannot read the --extra file");
        exit(2);
    }
    while (fscanf(file, "%31s", word) == 1) {
        if (strcmp(word, "cluster") == 0 && fscanf(file, "%127s", value) == 1) {
            for (size_t i = 0; i < sizeof(cluster); i++) {
                unsigned byte = 0;
                (void)sscanf(value + 2 * i, "%2x", &byte);
                cluster[i] = (uint8_t)byte;
            }
        } else if (strcmp(word, "name") == 0 && fscanf(file, "%63s", name) == 1) {
            continue;
        } else if (strcmp(word, "shard") == 0 && fscanf(file, "%lu %lu", &index, &key) == 2 &&
                   index < SHARDS_MAX) {
            shard_key[index] = key;
        }
    }
    (void)fclose(file);
}

/* Starts a CALL frame in the connection's output; the body and the attachment follow. */
static char *frame_begin(conn_t *c, enum call_kind kind, uint64_t number, uint16_t method,
                         size_t body, size_t attachment)
{
    size_t bytes = FRAME_HEADER_BYTES + body + attachment;
    buf_need(&c->out, bytes);
    uint8_t *at = (uint8_t *)c->out.p + c->out.len;
    memset(at, 0, FRAME_HEADER_BYTES);
    put_u32(at, (uint32_t)bytes);
    at[4] = 0x57;
    at[5] = 1;
    at[6] = RPC_CALL;
    put_u64(at + 8, (uint64_t)kind << 56 | number);
    put_u16(at + 16, method);
    put_u32(at + 20, (uint32_t)body);
    c->out.len += bytes;
    return (char *)at + FRAME_HEADER_BYTES;
}

static void opened(conn_t *c)
{
    load_extra();
    Weir__Hello hello = WEIR__HELLO__INIT;
    hello.cluster = (ProtobufCBinaryData){sizeof(cluster), cluster};
    hello.name = name;
    hello.protocol_min = hello.protocol_max = 1;
    char software[] = "bench";
    hello.software = software;
    char *at = frame_begin(c, CALL_HELLO, 0, RPC_HELLO, weir__hello__get_packed_size(&hello), 0);
    (void)weir__hello__pack(&hello, (uint8_t *)at);
}

static void append(conn_t *c, int shard, uint64_t seq0, int n, uint32_t token, int64_t t0)
{
    size_t one = RECORD_HEADER_BYTES + RECORD_KEY_BYTES + (size_t)O.record_bytes,
           payload = one * (size_t)n;
    Weir__Put put = WEIR__PUT__INIT;
    put.shard = shard_key[shard];
    size_t body = weir__put__get_packed_size(&put);
    char *at = frame_begin(c, CALL_PUT, token, RPC_PUT, body, BATCH_HEADER_BYTES + payload);
    (void)weir__put__pack(&put, (uint8_t *)at);
    uint8_t *batch = (uint8_t *)at + body, *record = batch + BATCH_HEADER_BYTES;
    for (int i = 0; i < n; i++, record += one) {
        put_u32(record, (uint32_t)O.record_bytes);
        put_u16(record + 4, RECORD_KEY_BYTES);
        put_u16(record + 6, 0);
        put_u32(record + RECORD_HEADER_BYTES, (uint32_t)shard);
        lg_fill((char *)record + RECORD_HEADER_BYTES + RECORD_KEY_BYTES, shard, seq0 + (uint64_t)i,
                t0);
    }
    struct batch_header h = {
        .payload_bytes = (uint32_t)payload,
        .payload_crc = crc32c(0, batch + BATCH_HEADER_BYTES, payload),
        .count = (uint32_t)n,
        .producer_id = producer_base + (uint64_t)shard,
        .producer_seq = (uint32_t)seq0,
    };
    batch_header_encode(&h, batch);
    put_shard[token & 0xfffff] = (uint32_t)shard;
}

static void read_on(conn_t *c, uint32_t shard)
{
    Weir__Read read = WEIR__READ__INIT;
    read.shard = shard_key[shard];
    read.offset = next_offset[shard];
    read.max_bytes = READ_BYTES;
    read.wait_ms = READ_WAIT_MS;
    char *at = frame_begin(c, CALL_READ, shard, RPC_READ, weir__read__get_packed_size(&read), 0);
    (void)weir__read__pack(&read, (uint8_t *)at);
}

static void subscribe(conn_t *c, int shard, int from_start)
{
    if (from_start || position_known[shard]) {
        position_known[shard] = 1;
        read_on(c, (uint32_t)shard);
        return;
    }
    Weir__Resolve resolve = WEIR__RESOLVE__INIT;
    resolve.shard = shard_key[shard];
    resolve.type = WEIR__POSITION_TYPE__POSITION_LATEST;
    char *at = frame_begin(c, CALL_RESOLVE, (uint64_t)shard, RPC_RESOLVE,
                           weir__resolve__get_packed_size(&resolve), 0);
    (void)weir__resolve__pack(&resolve, (uint8_t *)at);
}

static int put_answered(conn_t *c, uint32_t token, unsigned status, struct bytes body)
{
    if (status == STATUS_OK) {
        lg_ack(c, token, 1);
        return 0;
    }
    Weir__ErrorReply *error = weir__error_reply__unpack(NULL, body.size, body.data);
    if (status == STATUS_NOT_LEADER && error != NULL && strncmp(error->hint, "broker-", 7) == 0) {
        lg_move_shard((int)put_shard[token & 0xfffff], (int)strtol(error->hint + 7, NULL, 10) - 1);
    } else if (!status_is_retryable((enum status)status) && status != STATUS_OUT_OF_ORDER) {
        lg_err("put: %s: %s", status_name((enum status)status), error != NULL ? error->text : "");
    }
    if (error != NULL) {
        weir__error_reply__free_unpacked(error, NULL);
    }
    lg_ack(c, token, 0);
    return 0;
}

static int records_came(conn_t *c, uint32_t shard, struct bytes body, struct bytes rest)
{
    Weir__ReadReply *reply = weir__read_reply__unpack(NULL, body.size, body.data);
    if (reply == NULL) {
        return -1;
    }
    while (rest.size > 0) {
        struct batch_header h;
        if (batch_decode(rest, &h) != STATUS_OK) {
            weir__read_reply__free_unpacked(reply, NULL);
            return -1;
        }
        struct bytes payload = bytes_of(rest.data + BATCH_HEADER_BYTES, h.payload_bytes);
        uint64_t offset = h.base_offset;
        struct record record;
        while ((h.flags & BATCH_CONTROL) == 0 && payload.size > 0 &&
               record_next(&payload, &record) == STATUS_OK) {
            if (offset++ >= next_offset[shard]) {
                lg_record(c, (int)shard, (const char *)record.data.data, record.data.size);
            }
        }
        rest.data += batch_bytes(&h);
        rest.size -= batch_bytes(&h);
    }
    next_offset[shard] = reply->next_offset;
    weir__read_reply__free_unpacked(reply, NULL);
    read_on(c, shard);
    return 0;
}

static int position_came(conn_t *c, uint32_t shard, unsigned status, struct bytes body)
{
    if (status != STATUS_OK) {
        subscribe(c, (int)shard, 1);
        return 0;
    }
    Weir__Position *position = weir__position__unpack(NULL, body.size, body.data);
    if (position == NULL) {
        return -1;
    }
    next_offset[shard] = position->offset;
    position_known[shard] = 1;
    weir__position__free_unpacked(position, NULL);
    read_on(c, shard);
    return 0;
}

static int frame_came(conn_t *c, const uint8_t *at, size_t bytes)
{
    uint64_t call = get_u64(at + 8);
    unsigned status = get_u16(at + 18);
    uint32_t body_bytes = get_u32(at + 20), number = (uint32_t)call;
    if (at[6] != RPC_REPLY || FRAME_HEADER_BYTES + (size_t)body_bytes > bytes) {
        return -1;
    }
    struct bytes body = bytes_of(at + FRAME_HEADER_BYTES, body_bytes);
    struct bytes attachment =
        bytes_of(at + FRAME_HEADER_BYTES + body_bytes, bytes - FRAME_HEADER_BYTES - body_bytes);
    switch ((enum call_kind)(call >> 56)) {
    case CALL_HELLO:
        c->state = status == STATUS_OK ? 3 : c->state;
        return status == STATUS_OK ? 0 : -1;
    case CALL_PUT:
        return put_answered(c, number, status, body);
    case CALL_RESOLVE:
        return position_came(c, number, status, body);
    case CALL_READ:
        return status == STATUS_OK ? records_came(c, number, body, attachment) : -1;
    }
    return -1;
}

static int input(conn_t *c)
{
    for (;;) {
        buf_t *b = &c->in;
        size_t have = b->len - b->off;
        const uint8_t *at = (const uint8_t *)b->p + b->off;
        if (have < FRAME_HEADER_BYTES || have < get_u32(at)) {
            return 0;
        }
        size_t bytes = get_u32(at);
        if (bytes < FRAME_HEADER_BYTES || frame_came(c, at, bytes) < 0) {
            return -1;
        }
        b->off += bytes;
    }
}

driver_t drv_weir = {.name = "weir",
                     .opened = opened,
                     .append = append,
                     .input = input,
                     .subscribe = subscribe};
