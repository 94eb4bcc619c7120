/* What is remembered of reports and moves, and how long an imbalance lasts. */
#include "controller/balance/balance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "controller/balance/internal.h"

enum { SMOOTH = 8, SMOOTH_SLOW = 128 /* a report counts one part in so many */ };

struct balance_settings balance_defaults(void)
{
    return (struct balance_settings){
        .leaders = true,
        .replicas = true,
        .interval_ms = 10 * 1000,
        .rest_ms = 5 * 60 * 1000,
        .leader_threshold = 30,
        .leader_lasts_ms = 30 * 1000,
        .leader_moves = 16,
        .replica_threshold = 30,
        .replica_lasts_ms = 10 * 60 * 1000,
        .replica_moves = 2,
    };
}

struct balance *balance_new(void)
{
    struct balance *b = calloc(1, sizeof(*b));
    if (b != NULL) {
        b->settings = balance_defaults();
    }
    return b;
}

void balance_free(struct balance *b)
{
    if (b != NULL) {
        free(b->shards);
        free(b->brokers);
        free(b);
    }
}

void balance_clear(struct balance *b)
{
    b->shard_count = b->broker_count = 0;
    b->leaders = b->replicas = (struct patience){0};
}

static bool settings_equal(const struct balance_settings *a, const struct balance_settings *b)
{
    return a->leaders == b->leaders && a->replicas == b->replicas &&
           a->interval_ms == b->interval_ms && a->rest_ms == b->rest_ms &&
           a->leader_threshold == b->leader_threshold && a->leader_lasts_ms == b->leader_lasts_ms &&
           a->leader_moves == b->leader_moves && a->replica_threshold == b->replica_threshold &&
           a->replica_lasts_ms == b->replica_lasts_ms && a->replica_moves == b->replica_moves;
}

void balance_configure(struct balance *b, const struct balance_settings *settings)
{
    if (!settings_equal(&b->settings, settings)) {
        b->settings = *settings;
        b->leaders.begun = b->replicas.begun = false;
    }
}

const struct balance_settings *balance_configured(const struct balance *b)
{
    return &b->settings;
}

/* ---- tables ---- */

static size_t shard_place(const struct balance *b, uint64_t shard)
{
    size_t low = 0, high = b->shard_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (b->shards[middle].shard < shard) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct known_shard *balance_known_shard(const struct balance *b, uint64_t shard)
{
    size_t at = shard_place(b, shard);
    return at < b->shard_count && b->shards[at].shard == shard ? &b->shards[at] : NULL;
}

static bool make_room(void **items, size_t count, size_t *capacity, size_t more, size_t size)
{
    if (count + more <= *capacity) {
        return true;
    }
    size_t wanted = 2 * (count + more);
    void *grown = realloc(*items, wanted * size);
    if (grown == NULL) {
        return false;
    }
    *items = grown;
    *capacity = wanted;
    return true;
}

/* There is room. */
static struct known_shard *take_shard(struct balance *b, uint64_t shard)
{
    size_t at = shard_place(b, shard);
    if (at == b->shard_count || b->shards[at].shard != shard) {
        memmove(b->shards + at + 1, b->shards + at, (b->shard_count - at) * sizeof(*b->shards));
        b->shards[at] = (struct known_shard){.shard = shard};
        b->shard_count++;
    }
    return &b->shards[at];
}

static size_t broker_place(const struct balance *b, uint32_t id)
{
    size_t at = 0;
    while (at < b->broker_count && b->brokers[at].id < id) {
        at++;
    }
    return at;
}

struct known_broker *balance_known_broker(const struct balance *b, uint32_t id)
{
    size_t at = broker_place(b, id);
    return at < b->broker_count && b->brokers[at].id == id ? &b->brokers[at] : NULL;
}

/* NULL: out of memory. */
static struct known_broker *take_broker(struct balance *b, uint32_t id)
{
    size_t at = broker_place(b, id);
    if (at < b->broker_count && b->brokers[at].id == id) {
        return &b->brokers[at];
    }
    if (!make_room((void **)&b->brokers, b->broker_count, &b->broker_capacity, 1,
                   sizeof(*b->brokers))) {
        return NULL;
    }
    memmove(b->brokers + at + 1, b->brokers + at, (b->broker_count - at) * sizeof(*b->brokers));
    b->brokers[at] = (struct known_broker){.id = id};
    b->broker_count++;
    return &b->brokers[at];
}

/* ---- reports ---- */

static uint64_t smooth_by(uint64_t before, uint64_t now, bool first, uint64_t parts)
{
    if (first) {
        return now;
    }
    return now >= before ? before + (now - before + parts - 1) / parts
                         : before - (before - now + parts - 1) / parts;
}

static uint64_t smooth(uint64_t before, uint64_t now, bool first)
{
    return smooth_by(before, now, first, SMOOTH);
}

static struct balance_traffic smooth_all(struct balance_traffic before, struct balance_traffic now,
                                         bool first)
{
    return (struct balance_traffic){
        .in = smooth(before.in, now.in, first),
        .out = smooth(before.out, now.out, first),
        .requests = smooth(before.requests, now.requests, first),
    };
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* What each of the shards carries that the report does not list. */
static void find_rest(struct known_broker *broker, const struct balance_report *report)
{
    struct balance_traffic rest = report->traffic;
    uint64_t bytes = report->led_bytes;
    uint64_t others = minus(report->leaders, report->shard_count);
    for (size_t i = 0; i < report->shard_count; i++) {
        rest.in = minus(rest.in, report->shards[i].traffic.in);
        rest.out = minus(rest.out, report->shards[i].traffic.out);
        rest.requests = minus(rest.requests, report->shards[i].traffic.requests);
        bytes = minus(bytes, report->shards[i].log_bytes);
    }
    others = others == 0 ? 1 : others;
    broker->rest = (struct balance_traffic){
        .in = rest.in / others, .out = rest.out / others, .requests = rest.requests / others};
    broker->rest_bytes = bytes / others;
}

/* Shards that this broker listed before and does not now fade towards its average; what nobody has
 * listed for long, and has not moved lately, is forgotten. */
static void fade(struct balance *b, uint64_t now_ms, const struct known_broker *broker)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->shard_count; i++) {
        struct known_shard *s = &b->shards[i];
        if (s->reporter == broker->id && s->reported_ms != now_ms) {
            s->traffic = smooth_all(s->traffic, broker->rest, false);
            s->slow_in = smooth_by(s->slow_in, broker->rest.in, false, SMOOTH_SLOW);
            s->missing = 0;
        }
        bool old = now_ms - s->reported_ms >= BALANCE_FORGET_MS;
        bool rests = s->moved_ms != 0 && now_ms - s->moved_ms < b->settings.rest_ms;
        if (!old || rests) {
            s->reporter = old ? 0 : s->reporter;
            b->shards[kept++] = *s;
        }
    }
    b->shard_count = kept;
}

enum status balance_report(struct balance *b, uint64_t now_ms, const struct balance_report *report)
{
    CHECK(report->shard_count <= BALANCE_REPORT_SHARDS_MAX);
    struct known_broker *broker = take_broker(b, report->broker);
    if (broker == NULL || !make_room((void **)&b->shards, b->shard_count, &b->shard_capacity,
                                     report->shard_count, sizeof(*b->shards))) {
        return STATUS_NO_MEMORY;
    }
    bool first = broker->reported_ms == 0 || now_ms - broker->reported_ms > BALANCE_REPORT_OLD_MS;
    broker->traffic = smooth_all(broker->traffic, report->traffic, first);
    broker->reported_ms = now_ms;
    find_rest(broker, report);
    for (size_t i = 0; i < report->shard_count; i++) {
        const struct balance_report_shard *from = &report->shards[i];
        struct known_shard *s = take_shard(b, from->shard);
        s->traffic = smooth_all(s->traffic, from->traffic, s->reporter == 0);
        s->slow_in = smooth_by(s->slow_in, from->traffic.in, s->reporter == 0, SMOOTH_SLOW);
        s->log_bytes = from->log_bytes;
        s->missing = from->missing;
        s->reporter = report->broker;
        s->reported_ms = now_ms;
    }
    fade(b, now_ms, broker);
    return STATUS_OK;
}

void balance_moved(struct balance *b, uint64_t now_ms, uint64_t shard)
{
    if (make_room((void **)&b->shards, b->shard_count, &b->shard_capacity, 1, sizeof(*b->shards))) {
        struct known_shard *s = take_shard(b, shard);
        s->moved_ms = now_ms;
        s->reported_ms = s->reported_ms == 0 ? now_ms : s->reported_ms;
    } /* else it does not rest */
}

/* ---- looking ---- */

static enum status note_brokers(struct balance *b, uint64_t now_ms, const struct balance_input *in)
{
    for (size_t i = 0; i < in->broker_count; i++) {
        struct known_broker *known = take_broker(b, in->brokers[i].id);
        if (known == NULL) {
            return STATUS_NO_MEMORY;
        }
        bool on = in->brokers[i].here && known->here_ms != 0 && known->boot == in->brokers[i].boot;
        known->here_ms = !in->brokers[i].here ? 0 : on ? known->here_ms : now_ms;
        known->boot = in->brokers[i].boot;
    }
    return STATUS_OK;
}

static bool has_lasted(uint64_t since_ms, uint64_t now_ms, uint32_t lasts_ms)
{
    return since_ms != 0 && now_ms - since_ms >= lasts_ms;
}

/* Only those stay whose source has been above the mean all the while, or whose target below it:
 * else the load swings. */
static void keep_lasting(const struct balance *b, uint64_t now_ms, struct balance_half *half)
{
    uint32_t lasts_ms = b->settings.leader_lasts_ms;
    size_t kept = 0;
    for (size_t i = 0; i < half->count; i++) {
        const struct known_broker *from = balance_known_broker(b, half->moves[i].from.broker);
        const struct known_broker *to = balance_known_broker(b, half->moves[i].to);
        if (has_lasted(from->above_ms, now_ms, lasts_ms) ||
            has_lasted(to->below_ms, now_ms, lasts_ms)) {
            half->moves[kept++] = half->moves[i];
        }
    }
    half->count = kept;
}

/* Whether a half's moves are due; says so in its text. */
static void judge(struct balance *b, uint64_t now_ms, bool of_leaders, struct balance_half *half)
{
    struct patience *patience = of_leaders ? &b->leaders : &b->replicas;
    bool on = of_leaders ? b->settings.leaders : b->settings.replicas;
    uint32_t lasts_ms = of_leaders ? b->settings.leader_lasts_ms : b->settings.replica_lasts_ms;
    if (half->count == 0) {
        *patience = (struct patience){0};
        return;
    }
    if (patience->since_ms == 0) {
        patience->since_ms = now_ms;
    }
    uint64_t lasted_ms = now_ms - patience->since_ms;
    patience->begun = patience->begun || (on && lasted_ms >= lasts_ms);
    if (!on) {
        (void)snprintf(half->text, sizeof(half->text),
                       "a gap of %u %% of the mean; it is switched off", half->percent);
        return;
    }
    if (!patience->begun) {
        (void)snprintf(half->text, sizeof(half->text),
                       "a gap of %u %% of the mean, for %llu s; it counts after %u s",
                       half->percent, (unsigned long long)(lasted_ms / 1000), lasts_ms / 1000);
        return;
    }
    if (of_leaders) {
        keep_lasting(b, now_ms, half);
    }
    half->now = half->count > 0;
    if (half->now) {
        (void)snprintf(half->text, sizeof(half->text), "a gap of %u %% of the mean: %zu move",
                       half->percent, half->count);
    } else {
        (void)snprintf(half->text, sizeof(half->text),
                       "a gap of %u %% of the mean, but not between the same brokers for %u s",
                       half->percent, lasts_ms / 1000);
    }
}

static void fill_states(const struct balance *b, const struct model *m, struct balance_plan *out)
{
    const struct balance_input *in = m->in;
    for (size_t i = 0; i < in->broker_count; i++) {
        const struct known_broker *known = balance_known_broker(b, in->brokers[i].id);
        const struct model_broker *broker = &m->brokers[i];
        out->brokers[i] = (struct balance_state){
            .id = in->brokers[i].id,
            .traffic = known->traffic,
            .leader_percent =
                m->mean_leading > 0 ? (uint32_t)(broker->leading * 100 / m->mean_leading) : 100,
            .replica_percent = (uint32_t)(model_held(m, i) * 100),
            .no_leaders = broker->no_leaders,
            .no_replicas = broker->no_replicas,
        };
    }
    for (size_t s = 0; s < in->shard_count; s++) {
        const struct model_shard *shard = &m->shards[s];
        if (shard->leader != MODEL_NOBODY) {
            out->brokers[shard->leader].leaders++;
        }
        for (uint32_t v = 0; v < in->shards[s].cfg.voter_count; v++) {
            if (shard->voter[v] != MODEL_NOBODY) {
                out->brokers[shard->voter[v]].replicas++;
            }
        }
    }
}

static void rest_all(struct balance *b, uint64_t now_ms, const struct balance_half *half)
{
    for (size_t i = 0; half->now && i < half->count; i++) {
        balance_moved(b, now_ms, half->moves[i].shard);
    }
}

enum status balance_look(struct balance *b, uint64_t now_ms, const struct balance_input *in,
                         struct balance_plan *out)
{
    CHECK(in->broker_count <= BALANCE_BROKERS_MAX);
    struct model model = {0};
    out->leaders.count = out->replicas.count = 0;
    out->leaders.now = out->replicas.now = false;
    enum status status = note_brokers(b, now_ms, in);
    if (status == STATUS_OK) {
        status = model_make(b, now_ms, in, &model);
    }
    if (status != STATUS_OK) {
        return status;
    }
    fill_states(b, &model, out);
    plan_leaders(b, &model, b->leaders.begun, &out->leaders);
    if (in->leaders_wait == NULL) {
        judge(b, now_ms, true, &out->leaders);
    }
    plan_replicas(b, &model, b->replicas.begun, &out->replicas);
    bool may = in->replicas_wait == NULL && in->replicas_moving < b->settings.replica_moves;
    if (may) { /* else what has begun goes on later */
        judge(b, now_ms, false, &out->replicas);
    }
    model_release(&model);
    rest_all(b, now_ms, &out->leaders);
    rest_all(b, now_ms, &out->replicas);
    return STATUS_OK;
}
