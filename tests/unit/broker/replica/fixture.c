#include "fixture.h"

#include "base/check.h"

struct host A, B, C;

static struct host *const all[] = {&A, &B, &C};

static enum status point_at(void *context, uint64_t end, struct log_point *out)
{
    const struct host *h = context;
    for (uint32_t i = 0; i < h->batches; i++) {
        const struct replica_batch *b = &h->batch[i];
        if (b->base + b->count == end) {
            *out = (struct log_point){.end = end, .epoch = b->epoch, .crc = b->crc};
            return h->unreadable == end ? STATUS_CORRUPT : STATUS_OK;
        }
    }
    return STATUS_NOT_FOUND;
}

static struct replica_batch next_batch(const struct host *h, uint32_t epoch, uint32_t count)
{
    const struct replica_batch *last = h->batches > 0 ? &h->batch[h->batches - 1] : NULL;
    uint64_t base = last == NULL ? 0 : last->base + last->count;
    return (struct replica_batch){
        .base = base,
        .count = count,
        .epoch = epoch,
        .crc = epoch * 1000 + (uint32_t)base + count,
        .prev_crc = last == NULL ? 0 : last->crc,
        .bytes = 100,
    };
}

static void log_append(struct host *h, const struct replica_batch *batch)
{
    CHECK(batch != NULL);
    assert_true(h->batches < HOST_BATCHES);
    if (h->batches > 0) {
        const struct replica_batch *last = &h->batch[h->batches - 1];
        assert_int_equal(batch->base, last->base + last->count);
        assert_int_equal(batch->prev_crc, last->crc);
    }
    h->batch[h->batches++] = *batch;
}

static void log_cut(struct host *h, uint64_t end)
{
    while (h->batches > 0 && h->batch[h->batches - 1].base >= end) {
        h->batches--;
    }
}

void host_has(struct host *h, uint32_t epoch, uint32_t batches)
{
    for (uint32_t i = 0; i < batches; i++) {
        struct replica_batch b = next_batch(h, epoch, 1);
        log_append(h, &b);
    }
}

static void recover(struct host *h, struct replica_recovered *recovered)
{
    struct epoch_pair history[HOST_BATCHES];
    uint32_t pairs = 0;
    for (uint32_t i = 0; i < h->batches; i++) {
        const struct replica_batch *b = &h->batch[i];
        if (pairs == 0 || history[pairs - 1].epoch != b->epoch) {
            history[pairs++] = (struct epoch_pair){.epoch = b->epoch, .start = b->base};
        }
        if ((b->flags & REPLICA_BATCH_SEAL) != 0) {
            recovered->seal_end = b->base + b->count;
        }
        recovered->last =
            (struct log_point){.end = b->base + b->count, .epoch = b->epoch, .crc = b->crc};
    }
    replica_free(h->replica);
    h->newest_seq = 0;
    h->log = (struct replica_log){.context = h, .point_at = point_at};
    recovered->self = h->id;
    recovered->boot = ++h->boot;
    recovered->log_start = h->log_start;
    recovered->history = history;
    recovered->history_count = pairs;
    h->replica = replica_new(recovered, &h->log);
    assert_non_null(h->replica);
}

void host_recover(struct host *h, uint32_t promised, uint64_t commit_hint)
{
    recover(h, &(struct replica_recovered){.promised = promised, .commit_hint = commit_hint});
}

void host_recover_unaware(struct host *h, uint32_t promised, uint64_t commit_hint)
{
    recover(h, &(struct replica_recovered){
                   .promised = promised, .commit_hint = commit_hint, .uncertain = true});
}

void host_recover_uncertain(struct host *h, uint32_t promised, uint64_t commit_hint)
{
    host_recover_unaware(h, promised, commit_hint);
    assert_string_equal(floor_at(h, promised), "");
}

const char *floor_at(struct host *h, uint32_t epoch)
{
    return step(h, (struct replica_input){.type = REPLICA_FLOOR, .epoch = epoch});
}

int hosts_start(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        *all[i] = (struct host){
            .id = {.broker = i + 1, .disk_gen = 1},
              .boot = 9
        };
        host_recover(all[i], 0, 0);
    }
    return 0;
}

int hosts_stop(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        replica_free(all[i]->replica);
        all[i]->replica = NULL;
    }
    return 0;
}

static void say(struct host *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct host *h, const char *format, ...)
{
    size_t used = strlen(h->text);
    va_list args;
    va_start(args, format);
    vsnprintf(h->text + used, sizeof(h->text) - used, format, args);
    va_end(args);
}

static void say_answer(struct host *h, const struct replica_effect *e)
{
    const struct replica_answer *a = &e->answer;
    const char *uncertain = a->uncertain ? ", uncertain" : "";
    if (a->ok) {
        say(h, "answer %u: ok %d in %u%s\n", e->to.broker, (int)a->end, a->epoch, uncertain);
        return;
    }
    say(h, "answer %u: no, promised %u, end %d, probed %d", e->to.broker, a->epoch, (int)a->end,
        (int)a->probed);
    for (uint32_t i = 0; i < a->history_count; i++) {
        say(h, ", %u@%d", a->history[i].epoch, (int)a->history[i].start);
    }
    say(h, "%s\n", uncertain);
}

static void say_report(struct host *h, const struct replica_effect *e)
{
    const struct replica_report *report = &e->report;
    if (!report->ok) {
        say(h, "report: refuses %u, promised %u\n", e->epoch, report->promised);
        return;
    }
    say(h, "report %u: (%u, %d), committed %d%s\n", e->epoch, report->last_epoch, (int)report->end,
        (int)report->commit_hint, report->certain ? "" : ", uncertain");
}

/* What ends there is gone; its point is all that is left of it. */
static void install(struct host *h, const struct replica_effect *e)
{
    say(h, "install at %d\n", (int)e->end);
    h->log_start = e->end;
    h->batches = 1;
    h->batch[0] = (struct replica_batch){
        .base = e->end - 1, .count = 1, .epoch = e->epoch, .crc = e->crc, .bytes = 100};
}

static void carry_out(struct host *h, const struct replica_effect *e,
                      const struct replica_input *in)
{
    const struct replica_batch *batches =
        in->type == REPLICA_PROPOSED ? &in->batch : in->append.batches;
    if (e->seq > 0) {
        assert_int_equal(e->seq, h->newest_seq + 1); /* they go into the journal in order */
        h->newest_seq = e->seq;
    }
    switch (e->type) {
    case REPLICA_DO_PROMISE:
        say(h, "promise %u\n", e->epoch);
        break;
    case REPLICA_DO_TRUNCATE:
        say(h, "truncate to %d\n", (int)e->end);
        log_cut(h, e->end);
        break;
    case REPLICA_DO_WRITE:
        say(h, "write up to %d\n", (int)e->end);
        for (uint32_t i = 0; i < e->count; i++) {
            log_append(h, &batches[e->first + i]);
        }
        break;
    case REPLICA_DO_UNCERTAIN:
        say(h, "uncertain %s\n", e->flag ? "set" : "cleared");
        break;
    case REPLICA_DO_START_EPOCH:
        say(h, "start epoch %u at %d\n", e->epoch, (int)e->end);
        break;
    case REPLICA_DO_SEAL:
    case REPLICA_DO_SEALED:
        say(h, "seal%s %d\n", e->type == REPLICA_DO_SEAL ? " at" : "ed", (int)e->end);
        break;
    case REPLICA_DO_WAKE:
        say(h, "wake %u\n", e->to.broker);
        break;
    case REPLICA_DO_ANSWER:
        h->answer = e->answer;
        say_answer(h, e);
        break;
    case REPLICA_DO_REPORT:
        say_report(h, e);
        break;
    case REPLICA_DO_COMMIT:
        say(h, "commit %d\n", (int)e->end);
        break;
    case REPLICA_DO_LEAD:
        say(h, "lead %u\n", e->epoch);
        break;
    case REPLICA_DO_STEP_DOWN:
        say(h, "step down from %u\n", e->epoch);
        break;
    case REPLICA_DO_LOG_START:
        h->log_start = e->end;
        say(h, "log start %d\n", (int)e->end);
        break;
    case REPLICA_DO_INSTALL:
        install(h, e);
        break;
    case REPLICA_DO_LEARNED:
        say(h, "learned %u\n", e->to.broker);
        break;
    case REPLICA_DO_HANDED:
        say(h, "handed to %u in %u\n", e->to.broker, e->epoch);
        break;
    case REPLICA_DO_REPAIR:
        say(h, "repair %d\n", (int)e->end);
        break;
    case REPLICA_DO_HALT:
        say(h, "halt\n");
        break;
    }
}

const char *step(struct host *h, struct replica_input in)
{
    h->text[0] = '\0';
    in.now_ms = h->now_ms;
    memset(&h->effects, 0xaa, sizeof(h->effects)); /* nothing of the last step may show through */
    enum status status = replica_step(h->replica, &in, &h->effects);
    if (status != STATUS_OK) {
        assert_int_equal(h->effects.count, 0);
        return status_name(status);
    }
    for (uint32_t i = 0; i < h->effects.count; i++) {
        carry_out(h, &h->effects.effect[i], &in);
    }
    return h->text;
}

struct replica_config voters(void)
{
    return (struct replica_config){
        .version = 1, .voter_count = 3, .voter = {A.id, B.id, C.id}
    };
}

const char *fence(struct host *h, uint32_t epoch)
{
    return step(h,
                (struct replica_input){.type = REPLICA_FENCE, .epoch = epoch, .config = voters()});
}

const char *grant(struct host *h, uint32_t epoch)
{
    return step(h, (struct replica_input){.type = REPLICA_GRANT,
                                          .epoch = epoch,
                                          .id = h->id,
                                          .boot = h->boot,
                                          .config = voters()});
}

const char *propose(struct host *h, uint32_t count)
{
    struct replica_slot slot;
    enum status status = replica_slot(h->replica, &slot);
    if (status != STATUS_OK) {
        return status_name(status);
    }
    struct replica_batch batch = next_batch(h, slot.epoch, count);
    assert_int_equal(batch.base, slot.base_offset);
    assert_int_equal(batch.prev_crc, slot.prev_crc);
    return step(h, (struct replica_input){.type = REPLICA_PROPOSED, .batch = batch});
}

const char *propose_flags(struct host *h, uint32_t flags)
{
    struct replica_slot slot;
    assert_int_equal(replica_slot(h->replica, &slot), STATUS_OK);
    struct replica_batch batch = {.base = slot.base_offset,
                                  .count = 1,
                                  .epoch = slot.epoch,
                                  .crc = slot.epoch * 1000 + (uint32_t)slot.base_offset + 7,
                                  .prev_crc = slot.prev_crc,
                                  .bytes = 100,
                                  .flags = flags};
    return step(h, (struct replica_input){.type = REPLICA_PROPOSED, .batch = batch});
}

const char *synced_to(struct host *h, uint64_t seq)
{
    return step(h, (struct replica_input){.type = REPLICA_SYNCED, .seq = seq});
}

const char *synced(struct host *h)
{
    return synced_to(h, h->newest_seq);
}

const char *tick_at(struct host *h, uint64_t now_ms)
{
    h->now_ms = now_ms;
    return step(h, (struct replica_input){.type = REPLICA_TICK});
}

const char *deliver(struct host *to, const struct wire *wire)
{
    struct replica_input in = {.type = REPLICA_RECEIVE_APPEND, .append = wire->append};
    in.append.batches = wire->batch;
    return step(to, in);
}

const char *answered(struct host *to, const struct host *from)
{
    return step(to, (struct replica_input){
                        .type = REPLICA_RECEIVE_ANSWER, .from = from->id, .answer = from->answer});
}

const char *peer(struct host *h, const struct host *other, enum replica_input_type up_or_down)
{
    return step(h,
                (struct replica_input){.type = up_or_down, .from = other->id, .boot = other->boot});
}

const char *next_append(struct host *h, const struct host *to, struct wire *out)
{
    static char text[100];
    uint64_t end;
    enum status status = replica_next_append(h->replica, to->id, h->now_ms, &out->append, &end);
    if (status != STATUS_OK) {
        return status_name(status);
    }
    struct replica_append *a = &out->append;
    uint64_t upto = a->prev.end;
    a->batch_count = 0;
    for (uint32_t i = 0; i < h->batches; i++) {
        if (h->batch[i].base >= a->prev.end && h->batch[i].base < end) {
            out->batch[a->batch_count++] = h->batch[i];
            upto = h->batch[i].base + h->batch[i].count;
        }
    }
    assert_int_equal(upto, end);
    replica_sent(h->replica, to->id, upto, a->batch_count * 100, h->now_ms);
    snprintf(text, sizeof(text), "(%u, %d) + %u, commit %d", a->prev.epoch, (int)a->prev.end,
             a->batch_count, (int)a->commit);
    return text;
}

void replicate(struct host *leader, struct host *follower)
{
    struct wire wire;
    for (uint32_t round = 0; strcmp(next_append(leader, follower, &wire), "NOT_FOUND") != 0;
         round++) {
        assert_true(round < 50);
        deliver(follower, &wire);
        bool ended = strstr(follower->text, "answer") != NULL;
        if (!ended) {
            synced(follower);
            ended = strstr(follower->text, "answer") != NULL;
        }
        assert_true(ended);
        answered(leader, follower);
    }
}

void lead(struct host *h, uint32_t epoch, struct host *first, struct host *second)
{
    fence(h, epoch);
    synced(h);
    grant(h, epoch);
    propose(h, 1);
    synced(h);
    if (first != NULL) {
        replicate(h, first);
    }
    if (second != NULL) {
        replicate(h, second);
    }
    assert_true(view_of(h).open);
}

struct replica_view view_of(const struct host *h)
{
    struct replica_view view;
    replica_view(h->replica, &view);
    return view;
}
