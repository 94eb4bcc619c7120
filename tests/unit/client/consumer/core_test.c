/* The worker's core: leases that come, are lost, handed over and finished; what runs, what is read
 * ahead, what may be checkpointed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/consumer/core.h"

enum { TERM = 10000, NEXT = 3000, LEASES = 8, BATCHES = 64, RECORDS = 16, LOG = 256 };

/* A shell that writes down what it was told, and answers when the test says so. */
struct scene {
    struct core core;
    uint64_t now;
    struct core_lease leases[LEASES];
    struct core_batch batches[BATCHES];
    struct weir_read_record records[BATCHES][RECORDS];
    uint32_t batch_count, dropped, freed, closed_readers;
    struct core_effect log[LOG];
    uint32_t count;
    bool stopped;
};

static void settle(struct scene *s)
{
    struct core_effect effect;
    while (core_next(&s->core, s->now, &effect)) {
        assert_true(s->count < LOG);
        s->log[s->count++] = effect;
        s->dropped += effect.kind == EFFECT_DROP;
        s->freed += effect.kind == EFFECT_FREE;
        s->closed_readers += effect.kind == EFFECT_CLOSE;
        s->stopped |= effect.kind == EFFECT_STOPPED;
        if (effect.kind == EFFECT_SYNC) {
            core_sync_sent(&s->core, s->now);
        }
    }
}

/* The last effect of this kind since the last forget(); NULL: none. */
static const struct core_effect *seen(const struct scene *s, enum core_effect_kind kind)
{
    for (uint32_t i = s->count; i > 0; i--) {
        if (s->log[i - 1].kind == kind) {
            return &s->log[i - 1];
        }
    }
    return NULL;
}

static bool ran(const struct scene *s, enum core_job job)
{
    for (uint32_t i = 0; i < s->count; i++) {
        if (s->log[i].kind == EFFECT_RUN && s->log[i].job == job) {
            return true;
        }
    }
    return false;
}

static void forget(struct scene *s)
{
    s->count = 0;
}

static void synced(struct scene *s)
{
    core_synced(&s->core, s->now, TERM, NEXT);
    settle(s);
}

/* A renewal, now. */
static void renew(struct scene *s)
{
    if (!s->core.syncing) {
        s->core.sync_at_ms = s->now;
        settle(s);
    }
    assert_true(s->core.syncing);
    synced(s);
    if (s->core.syncing) {
        synced(s); /* it had more to say */
    }
}

static void begin(struct scene *s, bool automatic)
{
    memset(s, 0, sizeof(*s));
    const struct core_options options = {
        .prefetch_bytes = 1024 * 1024, .automatic = automatic, .automatic_ms = 1000};
    core_init(&s->core, &options);
    s->now = 1000;
    settle(s);
    assert_non_null(seen(s, EFFECT_SYNC));
    synced(s);
}

static struct core_lease *assign(struct scene *s, uint32_t i, uint64_t counter, struct mark mark)
{
    struct core_lease *lease = &s->leases[i];
    if (!s->core.syncing) {
        s->core.sync_at_ms = s->now;
        settle(s);
    }
    assert_true(core_assigned(&s->core, lease, 100 + i, counter, mark, s->now));
    renew(s);
    return lease;
}

/* Brings `count` records from `offset` on, each of `bytes`. */
static void bring(struct scene *s, struct core_lease *lease, uint64_t offset, uint32_t count,
                  uint64_t bytes)
{
    assert_int_equal(lease->reader, READER_FETCHING);
    uint32_t b = s->batch_count++;
    for (uint32_t i = 0; i < count; i++) {
        s->records[b][i].position.offset = offset + i;
    }
    s->batches[b] =
        (struct core_batch){.count = count, .bytes = bytes * count, .records = s->records[b]};
    core_fetched(&s->core, lease, &s->batches[b], offset + count);
    settle(s);
}

static void done(struct scene *s, struct core_lease *lease, bool good)
{
    core_processed(&s->core, lease, good, s->now);
    settle(s);
}

/* Opened at `offset`, and told so. */
static struct core_lease *running(struct scene *s, uint32_t i, uint64_t counter, uint64_t offset)
{
    struct core_lease *lease = assign(s, i, counter, mark_at(offset, 0));
    assert_int_equal(lease->reader, READER_OPENING);
    core_opened(&s->core, lease, offset, s->now);
    settle(s);
    assert_int_equal(lease->job, JOB_INITIALISED);
    done(s, lease, true);
    forget(s);
    return lease;
}

static void stored(struct scene *s, struct core_lease *lease)
{
    assert_true(lease->sending);
    core_checkpointed(&s->core, lease, STATUS_OK, s->now);
    settle(s);
}

static void a_shard_is_opened_initialised_and_read_in_order(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 3, 100);
    const struct core_effect *run = seen(&s, EFFECT_RUN);
    assert_int_equal(run->job, JOB_RECORDS);
    assert_int_equal(run->count, 3);
    bring(&s, lease, 13, 2, 100);
    assert_int_equal(lease->job, JOB_RECORDS); /* one at a time */
    assert_int_equal(lease->queued_records, 2);
    forget(&s);
    done(&s, lease, true);
    assert_int_equal(s.dropped, 1);
    assert_int_equal(seen(&s, EFFECT_RUN)->batch->records[0].position.offset, 13);
}

static void a_callback_gets_at_most_so_many_records(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    s.core.options.records_max = 2;
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 1);
    assert_int_equal(seen(&s, EFFECT_RUN)->count, 2);
    assert_int_equal(lease->delivered.offset, 12);
    done(&s, lease, true);
    assert_int_equal(seen(&s, EFFECT_RUN)->first, 2);
    done(&s, lease, true);
    assert_int_equal(seen(&s, EFFECT_RUN)->count, 1);
    assert_int_equal(s.dropped, 0);
    done(&s, lease, true);
    assert_int_equal(s.dropped, 1);
}

static void where_latest_begins_is_checkpointed_before_anything_is_processed(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = assign(&s, 0, 7, (struct mark){.kind = MARK_NEWEST});
    core_opened(&s.core, lease, 500, s.now);
    settle(&s);
    assert_int_equal(lease->job, JOB_NONE);
    assert_int_equal(lease->sent.offset, 500);
    bring(&s, lease, 500, 1, 1);
    assert_int_equal(lease->job, JOB_NONE);
    stored(&s, lease);
    assert_int_equal(lease->job, JOB_INITIALISED);
}

static void user_records_below_the_checkpoint_are_left_out(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = assign(&s, 0, 7, mark_at(20, 2));
    core_opened(&s.core, lease, 20, s.now);
    settle(&s);
    done(&s, lease, true);
    for (uint32_t i = 0; i < 4; i++) {
        s.records[0][i].position.offset = 20;
        s.records[0][i].sub_sequence = i;
        s.records[0][i].aggregated = true;
    }
    s.batch_count = 1;
    s.batches[0] = (struct core_batch){.count = 4, .bytes = 4, .records = s.records[0]};
    s.core.options.records_max = 1;
    core_fetched(&s.core, lease, &s.batches[0], 21);
    settle(&s);
    assert_int_equal(seen(&s, EFFECT_RUN)->first, 2);
    assert_int_equal(lease->delivered.offset, 20); /* of the record one user record is left */
    assert_int_equal(lease->delivered.sub, 3);
    done(&s, lease, true);
    assert_int_equal(lease->delivered.offset, 21);
}

static void reading_ahead_keeps_within_its_budget(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *one = running(&s, 0, 7, 0);
    struct core_lease *two = running(&s, 1, 8, 0);
    uint64_t offset = 0;
    while (one->reader == READER_FETCHING) {
        bring(&s, one, offset, 4, 16 * 1024);
        offset += 4;
        assert_true(s.batch_count < BATCHES);
    }
    assert_true(one->queued_bytes <= s.core.options.prefetch_bytes / 2);
    assert_true(one->queued_bytes >= s.core.options.prefetch_bytes / 8);
    assert_int_equal(two->reader, READER_FETCHING); /* one that stands still starves nobody */
    for (int i = 0; i < 4; i++) {
        done(&s, one, true);
    }
    assert_int_equal(one->reader, READER_FETCHING);
}

static void a_checkpoint_must_be_of_what_was_delivered_and_cannot_go_back(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 4, 1);
    struct core_request beyond = {.mark = mark_at(15, 0)};
    core_checkpoint(&s.core, lease, &beyond, s.now);
    settle(&s);
    assert_int_equal(beyond.status, STATUS_INVALID);
    struct core_request end = {.mark = {.kind = MARK_END}};
    core_checkpoint(&s.core, lease, &end, s.now);
    settle(&s);
    assert_int_equal(end.status, STATUS_INVALID);
    struct core_request good = {.mark = mark_at(12, 0), .status = STATUS_INTERNAL};
    core_checkpoint(&s.core, lease, &good, s.now);
    settle(&s);
    assert_int_equal(good.status, STATUS_INTERNAL); /* not yet */
    stored(&s, lease);
    assert_int_equal(good.status, STATUS_OK);
    struct core_request back = {.mark = mark_at(11, 0)};
    core_checkpoint(&s.core, lease, &back, s.now);
    settle(&s);
    assert_int_equal(back.status, STATUS_INVALID);
}

static void checkpoints_wait_for_the_one_under_way_and_go_together(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 1);
    struct core_request requests[3];
    for (uint32_t i = 0; i < 3; i++) {
        requests[i] = (struct core_request){.mark = mark_at(11 + i, 0), .status = STATUS_INTERNAL};
        core_checkpoint(&s.core, lease, &requests[i], s.now);
        settle(&s);
    }
    assert_int_equal(lease->sent.offset, 11);
    stored(&s, lease);
    assert_int_equal(requests[0].status, STATUS_OK);
    assert_int_equal(requests[1].status, STATUS_INTERNAL);
    assert_int_equal(lease->sent.offset, 13);
    stored(&s, lease);
    assert_int_equal(requests[1].status, STATUS_OK);
    assert_int_equal(requests[2].status, STATUS_OK);
}

static void a_lost_lease_gets_no_records_and_no_checkpoint(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, true);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    bring(&s, lease, 12, 2, 1);
    forget(&s);
    core_lost(&s.core, 7);
    settle(&s);
    struct core_request late = {.last = true};
    core_checkpoint(&s.core, lease, &late, s.now);
    settle(&s);
    assert_int_equal(late.status, STATUS_FENCED);
    core_fetched_nothing(&s.core, lease); /* the closed reader's last word */
    settle(&s);
    assert_false(ran(&s, JOB_LOST)); /* its callback still runs */
    done(&s, lease, true);
    assert_false(ran(&s, JOB_RECORDS));
    assert_null(seen(&s, EFFECT_CHECKPOINT));
    assert_true(ran(&s, JOB_LOST));
    done(&s, lease, true);
    assert_true(ran(&s, JOB_CLOSED));
    assert_int_equal(s.freed, 0);
    done(&s, lease, true);
    assert_int_equal(s.freed, 1);
    assert_int_equal(s.dropped, 2);
}

static void an_old_counter_is_lost_when_the_checkpoint_is_fenced(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    struct core_request request = {.last = true};
    core_checkpoint(&s.core, lease, &request, s.now);
    settle(&s);
    core_checkpointed(&s.core, lease, STATUS_FENCED, s.now);
    settle(&s);
    assert_int_equal(request.status, STATUS_FENCED);
    assert_int_equal(lease->phase, CORE_LOST);
}

static void a_new_tenure_waits_for_the_old_one_to_end_here(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    core_lost(&s.core, 7);
    struct core_lease again;
    assert_false(core_assigned(&s.core, &again, 100, 9, mark_at(10, 0), s.now));
    settle(&s);
    core_fetched_nothing(&s.core, lease);
    done(&s, lease, true);
    done(&s, lease, true);
    forget(&s);
    done(&s, lease, true);
    assert_int_equal(s.freed, 1);
    assert_non_null(seen(&s, EFFECT_SYNC)); /* to hear of it again */
    assert_true(core_assigned(&s.core, &again, 100, 9, mark_at(10, 0), s.now));
}

static void nothing_is_delivered_once_the_term_has_passed_without_an_answer(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    bring(&s, lease, 12, 2, 1);
    s.now += TERM + 1; /* it was stopped for so long */
    forget(&s);
    done(&s, lease, true);
    assert_false(ran(&s, JOB_RECORDS));
    assert_true(s.core.syncing);
    core_sync_failed(&s.core, s.now, STATUS_UNAVAILABLE, "nobody");
    settle(&s);
    assert_false(ran(&s, JOB_RECORDS));
    s.now = core_next_ms(&s.core, s.now);
    core_tick(&s.core, s.now);
    settle(&s);
    synced(&s);
    assert_true(ran(&s, JOB_RECORDS));
}

static void an_expired_worker_loses_everything_and_joins_again(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    s.core.sync_at_ms = s.now;
    settle(&s);
    core_sync_failed(&s.core, s.now, STATUS_EXPIRED, "");
    forget(&s);
    settle(&s);
    assert_int_equal(lease->phase, CORE_LOST);
    assert_false(s.core.joined);
    assert_non_null(seen(&s, EFFECT_SYNC));
}

static void a_worker_whose_name_was_taken_ends(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    s.core.sync_at_ms = s.now;
    settle(&s);
    core_sync_failed(&s.core, s.now, STATUS_FENCED, "taken");
    settle(&s);
    core_fetched_nothing(&s.core, lease);
    settle(&s);
    done(&s, lease, true); /* lost */
    assert_false(s.stopped);
    done(&s, lease, true); /* closed */
    assert_true(s.stopped);
    assert_int_equal(s.core.failed, STATUS_FENCED);
}

static void a_hand_over_finishes_what_is_in_hand_and_checkpoints_it(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, true);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    bring(&s, lease, 12, 2, 1);
    forget(&s);
    core_hand_over(&s.core, 7, s.now);
    settle(&s);
    core_fetched_nothing(&s.core, lease);
    settle(&s);
    assert_false(ran(&s, JOB_SHUTDOWN));
    done(&s, lease, true);
    assert_false(ran(&s, JOB_RECORDS)); /* what was read ahead goes to the next owner */
    assert_true(ran(&s, JOB_SHUTDOWN));
    assert_true(seen(&s, EFFECT_RUN)->hand_over);
    done(&s, lease, true);
    assert_int_equal(lease->sent.offset, 12);
    assert_int_equal(lease->phase, CORE_DRAINING); /* not before that is stored */
    stored(&s, lease);
    assert_int_equal(lease->phase, CORE_RELEASED);
    assert_true(ran(&s, JOB_CLOSED));
    done(&s, lease, true);
    assert_int_equal(s.freed, 0); /* the controllers must hear of it */
    core_sync_failed(&s.core, s.now, STATUS_UNAVAILABLE, "");
    settle(&s);
    assert_int_equal(s.freed, 0);
    s.now = core_next_ms(&s.core, s.now);
    core_tick(&s.core, s.now);
    settle(&s);
    synced(&s);
    assert_int_equal(s.freed, 1);
}

static void the_end_of_a_shard_is_told_after_its_last_record_and_must_be_checkpointed(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    core_ended(&s.core, lease);
    settle(&s);
    assert_false(ran(&s, JOB_ENDED));
    done(&s, lease, true);
    assert_true(ran(&s, JOB_ENDED));
    done(&s, lease, true);
    assert_int_equal(lease->phase, CORE_RUNNING); /* the program has not checkpointed yet */
    assert_true(core_holds(lease));
    struct core_request request = {.last = true};
    core_checkpoint(&s.core, lease, &request, s.now);
    settle(&s);
    assert_int_equal(lease->sent.kind, MARK_END);
    forget(&s);
    stored(&s, lease);
    assert_int_equal(request.status, STATUS_OK);
    assert_true(ran(&s, JOB_CLOSED));
    done(&s, lease, true);
    assert_int_equal(s.freed, 1);
    assert_non_null(seen(&s, EFFECT_SYNC)); /* its children may come at once */
}

static void a_failed_callback_begins_again_at_the_checkpoint(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, true);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    bring(&s, lease, 12, 2, 1);
    done(&s, lease, true);
    forget(&s);
    done(&s, lease, false);
    assert_int_equal(lease->sent.offset, 12); /* what was good is kept */
    core_fetched_nothing(&s.core, lease);
    settle(&s);
    stored(&s, lease);
    assert_null(seen(&s, EFFECT_OPEN)); /* after a pause */
    s.now = core_next_ms(&s.core, s.now);
    core_tick(&s.core, s.now);
    settle(&s);
    assert_non_null(seen(&s, EFFECT_OPEN));
    assert_int_equal(lease->from.offset, 12);
    core_opened(&s.core, lease, 12, s.now);
    settle(&s);
    assert_int_equal(lease->job, JOB_INITIALISED);
    assert_int_equal(s.dropped, 2);
}

static void a_reader_that_fails_is_opened_again_where_it_was(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 2, 1);
    core_fetch_failed(&s.core, lease, s.now);
    settle(&s);
    assert_int_equal(s.closed_readers, 1);
    assert_int_equal(s.dropped, 0); /* what was read is good */
    s.now = core_next_ms(&s.core, s.now);
    core_tick(&s.core, s.now);
    settle(&s);
    assert_int_equal(lease->reader, READER_OPENING);
    assert_int_equal(lease->from.offset, 12);
}

static void stopping_hands_over_all_leases_and_says_that_it_leaves(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *one = running(&s, 0, 7, 10);
    struct core_lease *two = running(&s, 1, 8, 10);
    core_stop(&s.core, s.now, s.now + 5000);
    settle(&s);
    core_fetched_nothing(&s.core, one);
    core_fetched_nothing(&s.core, two);
    settle(&s);
    assert_int_equal(one->job, JOB_SHUTDOWN);
    done(&s, one, true);
    done(&s, one, true);
    assert_false(s.core.leaving);
    done(&s, two, true);
    done(&s, two, true);
    if (s.core.syncing && !s.core.leaving) {
        synced(&s);
    }
    assert_true(s.core.leaving);
    while (s.core.syncing) {
        synced(&s);
    }
    assert_true(s.stopped);
    assert_int_equal(s.core.failed, STATUS_OK);
    assert_int_equal(s.freed, 2);
}

static void stopping_gives_up_what_takes_too_long(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 1, 1); /* its callback does not return */
    core_stop(&s.core, s.now, s.now + 5000);
    settle(&s);
    core_fetched_nothing(&s.core, lease);
    settle(&s);
    while (s.core.syncing) {
        synced(&s);
    }
    s.now += 5000;
    core_tick(&s.core, s.now);
    settle(&s);
    assert_true(s.core.leaving);
    synced(&s);
    assert_int_equal(lease->phase, CORE_LOST);
    assert_false(s.stopped);
    done(&s, lease, true);
    done(&s, lease, true);
    done(&s, lease, true);
    assert_true(s.stopped);
}

static void a_refused_join_ends_the_worker(void **state)
{
    struct scene s;
    (void)state;
    memset(&s, 0, sizeof(s));
    core_init(&s.core, &(struct core_options){.prefetch_bytes = 1});
    settle(&s);
    core_sync_failed(&s.core, s.now, STATUS_NOT_FOUND, "no such stream");
    settle(&s);
    assert_true(s.stopped);
    assert_int_equal(s.core.failed, STATUS_NOT_FOUND);
}

static void what_is_processed_is_checkpointed_by_itself_now_and_then(void **state)
{
    struct scene s;
    (void)state;
    begin(&s, true);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 1, 1);
    done(&s, lease, true);
    assert_false(lease->sending);
    s.now = core_next_ms(&s.core, s.now);
    core_tick(&s.core, s.now);
    settle(&s);
    assert_int_equal(lease->sent.offset, 11);
    core_checkpointed(&s.core, lease, STATUS_UNAVAILABLE, s.now);
    settle(&s);
    assert_false(lease->sending);
    s.now += 1000;
    core_tick(&s.core, s.now);
    settle(&s);
    stored(&s, lease);
    assert_int_equal(lease->stored.offset, 11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_is_opened_initialised_and_read_in_order),
        cmocka_unit_test(a_callback_gets_at_most_so_many_records),
        cmocka_unit_test(where_latest_begins_is_checkpointed_before_anything_is_processed),
        cmocka_unit_test(user_records_below_the_checkpoint_are_left_out),
        cmocka_unit_test(reading_ahead_keeps_within_its_budget),
        cmocka_unit_test(a_checkpoint_must_be_of_what_was_delivered_and_cannot_go_back),
        cmocka_unit_test(checkpoints_wait_for_the_one_under_way_and_go_together),
        cmocka_unit_test(a_lost_lease_gets_no_records_and_no_checkpoint),
        cmocka_unit_test(an_old_counter_is_lost_when_the_checkpoint_is_fenced),
        cmocka_unit_test(a_new_tenure_waits_for_the_old_one_to_end_here),
        cmocka_unit_test(nothing_is_delivered_once_the_term_has_passed_without_an_answer),
        cmocka_unit_test(an_expired_worker_loses_everything_and_joins_again),
        cmocka_unit_test(a_worker_whose_name_was_taken_ends),
        cmocka_unit_test(a_hand_over_finishes_what_is_in_hand_and_checkpoints_it),
        cmocka_unit_test(the_end_of_a_shard_is_told_after_its_last_record_and_must_be_checkpointed),
        cmocka_unit_test(a_failed_callback_begins_again_at_the_checkpoint),
        cmocka_unit_test(a_reader_that_fails_is_opened_again_where_it_was),
        cmocka_unit_test(stopping_hands_over_all_leases_and_says_that_it_leaves),
        cmocka_unit_test(stopping_gives_up_what_takes_too_long),
        cmocka_unit_test(a_refused_join_ends_the_worker),
        cmocka_unit_test(what_is_processed_is_checkpointed_by_itself_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
