#include "broker/server/scrub.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/trace.h"
#include "broker/server/scrub_state.h"
#include "proto/schema/repair.pb-c.h"

enum { PACE_LOOK_MS = 10 * 1000, PACE_BYTES_MIN = 64 * 1024 };

struct scrub {
    struct scrub_options options;
    struct scrub_state state;
    struct net_timer timer;
    struct log_check check;
    EVP_MD_CTX *digest;
    bool closing, checking;
    bool in_segment; /* state.shard/segment is being checked; `check` says how far */
    bool hashing;    /* ... and hashed, from its beginning */
    uint64_t wait_until_ms, look_again_ms; /* for a repair; 0: none */
    uint64_t ticked_ms, saved_ms, paced_ms;
    int64_t credit;
    uint64_t pace, total; /* bytes a second; bytes of all segments */
    uint64_t bytes, damaged, compared, differ;
};

/* A hash that another broker is asked about. */
struct comparison {
    struct session_request request;
    struct scrub *scrub;
    uint64_t shard, base;
    uint32_t broker;
};

static uint64_t now(const struct scrub *s)
{
    return net_now_ms(s->options.loop);
}

/* ---- comparing ---- */

static void compared(struct session_request *request, const struct session_reply *reply)
{
    struct comparison *c = CONTAINER_OF(request, struct comparison, request);
    struct scrub *s = c->scrub;
    Weir__SegmentHashReply *answer =
        reply->status == STATUS_OK
            ? weir__segment_hash_reply__unpack(NULL, reply->body.size, reply->body.data)
            : NULL;
    if (answer != NULL && answer->known && !s->closing) {
        s->compared++;
        if (!answer->equal) {
            s->differ++;
            trace(TRACE_ERROR, "scrub",
                  "shard %016llx: the segment at %llu has good checksums here and on broker-%u, "
                  "and different bytes (I2): keep both disks, and ask for help",
                  (unsigned long long)c->shard, (unsigned long long)c->base, c->broker);
        }
    }
    weir__segment_hash_reply__free_unpacked(answer, NULL);
    free(c);
}

static void compare_with(struct scrub *s, uint32_t broker, const struct log_segment *segment,
                         uint8_t *hash)
{
    struct session *session =
        broker == s->options.broker ? NULL : peers_session(s->options.peers, broker);
    struct comparison *c = session == NULL ? NULL : calloc(1, sizeof(*c));
    if (c == NULL) {
        return;
    }
    *c = (struct comparison){
        .scrub = s, .shard = s->state.shard, .base = segment->base, .broker = broker};
    Weir__SegmentHash ask;
    weir__segment_hash__init(&ask);
    ask.shard = s->state.shard;
    ask.segment = segment->base;
    ask.end = segment->end;
    ask.hash.data = hash;
    ask.hash.len = LOG_HASH_BYTES;
    if (session_call(session, RPC_SEGMENT_HASH, (struct session_payload){.body = &ask.base},
                     REPAIR_CALL_MS, &c->request, compared) != STATUS_OK) {
        free(c);
    }
}

/* A whole segment whose records are all committed: the same bytes on all replicas. */
static void compare(struct scrub *s, const struct shard *shard, const struct log_segment *segment)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (!s->hashing || !segment->whole || segment->end > shard->commit ||
        EVP_DigestFinal_ex(s->digest, hash, &size) != 1 || size != LOG_HASH_BYTES) {
        return;
    }
    shard_log_set_hash(shard->log, segment->base, hash);
    const struct route_shard *row = route_shard(s->options.route, shard->id);
    for (uint32_t i = 0; row != NULL && i < row->replica_count; i++) {
        compare_with(s, row->replica_brokers[i], segment, hash);
    }
}

/* ---- from one piece to the next ---- */

static void save(struct scrub *s)
{
    s->saved_ms = now(s);
    scrub_state_write(s->options.data_dir, &s->state);
}

static void pass_ends(struct scrub *s)
{
    uint64_t wall_ms = net_wall_ms();
    s->state.passes++;
    s->state.late =
        wall_ms > s->state.started_ms && wall_ms - s->state.started_ms > s->options.period_ms;
    trace(s->state.late ? TRACE_WARNING : TRACE_INFO, "scrub",
          "every byte of %llu has been checked%s", (unsigned long long)s->state.bytes,
          s->state.late ? ", but it took longer than scrub-period: raise scrub-rate" : "");
    s->state.finished_ms = wall_ms;
    s->state.started_ms = 0; /* the next one has not begun */
    s->state.shard = s->state.segment = s->state.bytes = 0;
    save(s);
}

/* The shard with the smallest id >= `from`; NULL: none. */
static const struct shard *shard_from(const struct scrub *s, uint64_t from)
{
    const struct shard *best = NULL;
    for (struct shard *shard = shards_next(s->options.shards, NULL); shard != NULL;
         shard = shards_next(s->options.shards, shard)) {
        if (shard->id >= from && (best == NULL || shard->id < best->id)) {
            best = shard;
        }
    }
    return best;
}

/* Finds the next segment to check, behind the one that is done; false: none is left. */
static bool begin_segment(struct scrub *s)
{
    for (;;) {
        const struct shard *shard = shard_from(s, s->state.shard);
        if (shard == NULL) {
            return false;
        }
        if (shard->id != s->state.shard) {
            s->state.shard = shard->id;
            s->state.segment = 0;
        }
        struct log_segment segment;
        if (shard_log_segment(shard->log, s->state.segment, &segment)) {
            bool follows = s->check.has_point && s->check.point.end == segment.base &&
                           s->check.log == shard->log;
            s->state.segment = segment.base;
            s->check = (struct log_check){
                .segment = segment.base,
                .point = follows ? s->check.point : (struct log_point){.end = segment.base},
                .has_point = follows};
            s->hashing = segment.whole && EVP_DigestInit_ex(s->digest, EVP_sha256(), NULL) == 1;
            s->in_segment = true;
            return true;
        }
        s->state.shard = shard->id + 1;
        s->state.segment = 0;
    }
}

static void segment_ends(struct scrub *s)
{
    s->in_segment = false;
    s->state.segment++;
}

static void checked(struct log_check *check);

static void go_on(struct scrub *s)
{
    if (!s->in_segment && !begin_segment(s)) {
        pass_ends(s);
        return;
    }
    struct shard *shard = shards_find(s->options.shards, s->state.shard);
    if (shard == NULL) {
        s->in_segment = false;
        return;
    }
    s->check.log = shard->log;
    s->check.max_bytes = SCRUB_PIECE_BYTES;
    s->check.digest = s->hashing ? s->digest : NULL;
    s->check.done = checked;
    s->check.owner = s;
    s->checking = store_check(shards_store(s->options.shards), &s->check) == STATUS_OK;
}

static void checked(struct log_check *check)
{
    struct scrub *s = check->owner;
    s->checking = false;
    struct shard *shard = shards_find(s->options.shards, s->state.shard);
    if (s->closing || shard == NULL) {
        s->in_segment = false;
        return;
    }
    s->bytes += check->bytes;
    s->state.bytes += check->bytes;
    s->credit -= (int64_t)check->bytes;
    if (check->status == STATUS_CORRUPT) {
        s->damaged += s->wait_until_ms == 0 ? 1 : 0;
        s->wait_until_ms = s->wait_until_ms == 0 ? now(s) + SCRUB_REPAIR_MS : s->wait_until_ms;
        s->look_again_ms = now(s) + 2 * (uint64_t)SCRUB_TICK_MS;
        repairs_damaged(s->options.repairs, shard->log, check->point.end);
        return;
    }
    s->wait_until_ms = 0;
    if (check->status == STATUS_MORE) {
        struct log_segment segment;
        if (shard_log_segment(shard->log, check->segment, &segment) &&
            segment.base == check->segment) {
            compare(s, shard, &segment);
        }
        segment_ends(s);
    } else if (check->status != STATUS_OK) {
        segment_ends(s); /* it was cut or trimmed meanwhile */
    }
}

/* A repair is under way where we are. */
static bool waits(struct scrub *s)
{
    uint64_t offset;
    if (s->wait_until_ms == 0) {
        return false;
    }
    if (now(s) >= s->wait_until_ms) {
        s->wait_until_ms = 0;
        segment_ends(s); /* the repair goes on without us */
        return false;
    }
    return now(s) < s->look_again_ms || repairs_hole(s->options.repairs, s->state.shard, &offset);
}

/* ---- the pace ---- */

static void look_at_pace(struct scrub *s)
{
    s->paced_ms = now(s);
    s->total = 0;
    for (struct shard *shard = shards_next(s->options.shards, NULL); shard != NULL;
         shard = shards_next(s->options.shards, shard)) {
        s->total += shard_log_segment_bytes(shard->log);
    }
    uint64_t seconds = s->options.period_ms / 1000 == 0 ? 1 : s->options.period_ms / 1000;
    s->pace = s->total / seconds * 5 / 4 + PACE_BYTES_MIN;
    if (s->options.rate != 0 && s->pace > s->options.rate) {
        s->pace = s->options.rate;
    }
}

/* Whether a pass is to be under way: one begins `period` after the last one began, roughly. */
static bool is_due(struct scrub *s)
{
    uint64_t wall_ms = net_wall_ms();
    if (s->state.started_ms != 0) {
        return true;
    }
    uint64_t rest_ms = s->options.period_ms / 5; /* the pace leaves that much */
    if (s->state.finished_ms != 0 && wall_ms >= s->state.finished_ms &&
        wall_ms - s->state.finished_ms < rest_ms) {
        return false;
    }
    s->state.started_ms = wall_ms;
    s->check.has_point = false;
    return true;
}

static void tick(struct net_timer *timer)
{
    struct scrub *s = CONTAINER_OF(timer, struct scrub, timer);
    uint64_t passed_ms = now(s) - s->ticked_ms < 1000 ? now(s) - s->ticked_ms : 1000;
    s->ticked_ms = now(s);
    if (s->paced_ms == 0 || now(s) - s->paced_ms >= PACE_LOOK_MS) {
        look_at_pace(s);
    }
    int64_t most = (int64_t)(s->pace > SCRUB_PIECE_BYTES ? s->pace : SCRUB_PIECE_BYTES);
    s->credit += (int64_t)(s->pace * passed_ms / 1000);
    s->credit = s->credit < most ? s->credit : most;
    /* Small segments: several in a tick, within what the pace allows. */
    if (!s->checking && s->credit > 0 && !shards_are_out(s->options.shards) && is_due(s) &&
        !waits(s)) {
        go_on(s);
    }
    if (now(s) - s->saved_ms >= SCRUB_SAVE_MS) {
        save(s);
    }
    uint64_t next_ms = s->credit > 0 && s->state.started_ms != 0 && s->wait_until_ms == 0
                           ? 1
                           : (uint64_t)SCRUB_TICK_MS;
    status_ignore(net_timer_start(s->options.loop, timer, now(s) + next_ms, tick),
                  "a timer that has just fired has its room");
}

/* ---- its life ---- */

struct scrub *scrub_new(const struct scrub_options *options)
{
    struct scrub *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }
    s->options = *options;
    s->digest = EVP_MD_CTX_new();
    (void)scrub_state_read(options->data_dir, &s->state);
    s->ticked_ms = s->saved_ms = now(s);
    if (s->digest == NULL ||
        (options->period_ms != 0 &&
         net_timer_start(options->loop, &s->timer, now(s) + SCRUB_TICK_MS, tick) != STATUS_OK)) {
        scrub_free(s);
        return NULL;
    }
    return s;
}

void scrub_close(struct scrub *s)
{
    s->closing = true;
    net_timer_stop(s->options.loop, &s->timer);
    if (s->options.period_ms != 0) {
        save(s);
    }
}

void scrub_free(struct scrub *s)
{
    if (s != NULL) {
        EVP_MD_CTX_free(s->digest);
        free(s);
    }
}

void scrub_status(const struct scrub *s, struct scrub_status *out)
{
    uint64_t wall_ms = net_wall_ms();
    uint64_t permille = s->total == 0 ? 0 : s->state.bytes * 1000 / s->total;
    *out = (struct scrub_status){
        .passes = s->state.passes,
        .pass_started_ms = s->state.started_ms,
        .pass_finished_ms = s->state.finished_ms,
        .pass_bytes = s->state.bytes,
        .permille = (uint32_t)(permille < 1000 ? permille : 1000),
        .bytes = s->bytes,
        .damaged = s->damaged,
        .compared = s->compared,
        .differ = s->differ,
        .late = s->state.late || (s->state.started_ms != 0 && wall_ms > s->state.started_ms &&
                                  wall_ms - s->state.started_ms > s->options.period_ms),
    };
}
