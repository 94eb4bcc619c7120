/* A worker's core: leases that are handed over, finished and begun again; workers that stop. */
#include "tests/unit/client/consumer/scene.h"

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

static void prepare(struct scene *s, struct core_lease *lease, struct core_request *request,
                    bool commit)
{
    *request = (struct core_request){.last = !commit, .prepare = !commit, .commit = commit};
    core_checkpoint(&s->core, lease, request, s->now);
    settle(s);
}

static void a_prepared_checkpoint_is_one_when_it_is_committed(void **state)
{
    (void)state;
    struct scene s;
    struct core_request first, second, third;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 100);
    prepare(&s, lease, &second, true);
    assert_int_equal(second.status, STATUS_INVALID); /* nothing is prepared */
    prepare(&s, lease, &first, false);
    assert_true(lease->sending && lease->sending_prepare);
    assert_int_equal(mark_compare(lease->sent, mark_at(15, 0)), 0);
    first.status = STATUS_BUSY; /* whatever is not the answer */
    core_checkpointed(&s.core, lease, STATUS_OK, s.now);
    settle(&s);
    assert_int_equal(first.status, STATUS_OK);
    assert_int_equal(mark_compare(lease->stored, mark_at(10, 0)), 0); /* no checkpoint yet */
    assert_true(lease->has_pending && lease->prepared);

    prepare(&s, lease, &second, true);
    assert_true(lease->sending && !lease->sending_prepare);
    core_checkpointed(&s.core, lease, STATUS_OK, s.now);
    settle(&s);
    assert_int_equal(second.status, STATUS_OK);
    assert_int_equal(mark_compare(lease->stored, mark_at(15, 0)), 0);
    assert_false(lease->has_pending);
    prepare(&s, lease, &third, true);
    assert_int_equal(third.status, STATUS_INVALID); /* it was */
}

static void who_prepares_the_same_twice_is_answered_alike(void **state)
{
    (void)state;
    struct scene s;
    struct core_request first, second, third;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 100);
    prepare(&s, lease, &first, false);
    prepare(&s, lease, &second, false); /* while the first is under way */
    prepare(&s, lease, &third, false);
    for (int i = 0; i < 3 && lease->sending; i++) {
        core_checkpointed(&s.core, lease, STATUS_OK, s.now);
        settle(&s);
    }
    assert_int_equal(first.status, STATUS_OK);
    assert_int_equal(second.status, STATUS_OK);
    assert_int_equal(third.status, STATUS_OK);
    assert_true(list_empty(&lease->requests));
}

static void what_was_prepared_is_told_again_after_a_failure_and_cannot_be_committed(void **state)
{
    (void)state;
    struct scene s;
    struct core_request request;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    core_assigned_pending(lease, mark_at(12, 0));
    prepare(&s, lease, &request, true);
    assert_int_equal(request.status, STATUS_INVALID); /* somebody else's */
    bring(&s, lease, 10, 5, 100);
    prepare(&s, lease, &request, false);
    core_checkpointed(&s.core, lease, STATUS_OK, s.now);
    settle(&s);
    done(&s, lease, false);
    core_fetched_nothing(&s.core, lease);
    settle(&s);
    assert_false(lease->prepared);
    assert_true(lease->has_pending);
    assert_int_equal(mark_compare(lease->pending, mark_at(15, 0)), 0);
    assert_int_equal(mark_compare(lease->start, mark_at(10, 0)), 0);
    prepare(&s, lease, &request, true);
    assert_int_equal(request.status, STATUS_INVALID);
}

static void preparing_is_for_workers_that_checkpoint_themselves(void **state)
{
    (void)state;
    struct scene s;
    struct core_request request;
    begin(&s, true);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 100);
    prepare(&s, lease, &request, false);
    assert_int_equal(request.status, STATUS_INVALID);
    assert_false(lease->sending);
}

static void a_lost_lease_prepares_nothing(void **state)
{
    (void)state;
    struct scene s;
    struct core_request request;
    begin(&s, false);
    struct core_lease *lease = running(&s, 0, 7, 10);
    bring(&s, lease, 10, 5, 100);
    prepare(&s, lease, &request, false);
    core_checkpointed(&s.core, lease, STATUS_FENCED, s.now);
    settle(&s);
    assert_int_equal(request.status, STATUS_FENCED);
    assert_int_equal(lease->phase, CORE_LOST);
    assert_false(lease->has_pending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hand_over_finishes_what_is_in_hand_and_checkpoints_it),
        cmocka_unit_test(the_end_of_a_shard_is_told_after_its_last_record_and_must_be_checkpointed),
        cmocka_unit_test(a_failed_callback_begins_again_at_the_checkpoint),
        cmocka_unit_test(a_reader_that_fails_is_opened_again_where_it_was),
        cmocka_unit_test(stopping_hands_over_all_leases_and_says_that_it_leaves),
        cmocka_unit_test(stopping_gives_up_what_takes_too_long),
        cmocka_unit_test(a_refused_join_ends_the_worker),
        cmocka_unit_test(a_prepared_checkpoint_is_one_when_it_is_committed),
        cmocka_unit_test(who_prepares_the_same_twice_is_answered_alike),
        cmocka_unit_test(what_was_prepared_is_told_again_after_a_failure_and_cannot_be_committed),
        cmocka_unit_test(preparing_is_for_workers_that_checkpoint_themselves),
        cmocka_unit_test(a_lost_lease_prepares_nothing),
        cmocka_unit_test(what_is_processed_is_checkpointed_by_itself_now_and_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
