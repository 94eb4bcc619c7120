/* A worker's core: what runs, what is read ahead, what may be checkpointed, and leases that are
 * lost. */
#include "tests/unit/client/consumer/scene.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
