/* Admin calls and producers on the caller's loop, against a cluster that misbehaves on purpose. */
#include "scene.h"

/* ---- admin ------------------------------------------------------------------------------------
 */

static void create_stream(void)
{
    struct weir_create_options options = {.shards = 1, .timeout_ms = 5000};
    assert_int_equal(weir_stream_create_async(scene.fake.client, "orders", &options, done, NULL),
                     WEIR_OK);
    wait_over();
}

static void a_change_follows_the_hint_to_the_active_controller(void **state)
{
    (void)state;
    begin(false);
    create_stream();
    assert_int_equal(scene.error.status, WEIR_OK);
    assert_int_equal(scene.fake.controllers[1].calls[RPC_CREATE_STREAM], 1);
    end();
}

static void a_change_whose_answer_was_lost_is_repeated_under_its_id(void **state)
{
    (void)state;
    begin(false);
    scene.fake.drop_next_create = true;
    create_stream();
    assert_int_equal(scene.error.status, WEIR_OK);
    assert_int_equal(scene.fake.controllers[1].calls[RPC_CREATE_STREAM], 2);
    create_stream();
    assert_int_equal(scene.error.status, WEIR_EXISTS);
    end();
}

static void nobody_active_is_unavailable_in_time(void **state)
{
    (void)state;
    begin(false);
    scene.fake.active = 2;
    net_listener_close(scene.fake.controllers[1].listener);
    scene.fake.controllers[1].listener = NULL;
    struct weir_create_options options = {.shards = 1, .timeout_ms = 300};
    assert_int_equal(weir_stream_create_async(scene.fake.client, "orders", &options, done, NULL),
                     WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_UNAVAILABLE);
    end();
}

static void blocking_functions_are_refused_on_a_callers_loop(void **state)
{
    (void)state;
    begin(true);
    struct weir_stream_list *list;
    assert_int_equal(weir_stream_list(scene.fake.client, 100, &list, &scene.error), WEIR_INVALID);
    assert_int_equal(
        weir_producer_open(scene.fake.client, "orders", NULL, 100, &scene.producer, &scene.error),
        WEIR_INVALID);
    end();
}

/* ---- producers --------------------------------------------------------------------------------
 */

static void records_are_acknowledged_where_they_are(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    put(0, RECORDS);
    wait_over();
    assert_int_equal(scene.acked, RECORDS);
    expect_log(RECORDS);
    assert_in_range(scene.fake.log_count, 1, RECORDS / 4); /* gathered into batches */
    end();
}

static void a_lost_answer_is_asked_for_again_and_nothing_is_doubled(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.brokers[0].drop_after_storing = 3;
    for (unsigned i = 0; i < RECORDS; i += 20) {
        put(i, 20);
        fake_run_ms(&scene.fake, 3);
    }
    if (!scene.over) {
        wait_over();
    }
    assert_int_equal(scene.acked, RECORDS);
    assert_true(scene.duplicates > 0);
    expect_log(RECORDS);
    end();
}

static void a_hint_is_followed_before_the_metadata_says_so(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.leader = 2; /* and no watcher is told */
    put(0, 50);
    wait_over();
    assert_int_equal(scene.acked, 50);
    assert_true(scene.fake.brokers[1].calls[RPC_PUT] > 0);
    expect_log(50);
    end();
}

static void a_new_leader_gets_what_the_old_one_did_not_answer(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.brokers[0].refuse = 1000;
    scene.fake.brokers[0].refuse_with = STATUS_NO_QUORUM;
    put(0, 60);
    fake_run_ms(&scene.fake, 100);
    assert_int_equal(scene.acked, 0);
    fake_lead(&scene.fake, 2);
    wait_over();
    assert_int_equal(scene.acked, 60);
    expect_log(60);
    end();
}

static void a_watched_controller_that_falls_silent_is_left_for_one_that_knows_more(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.controllers[0].silent = true; /* the one that is watched */
    scene.fake.brokers[0].refuse = 1000;
    scene.fake.brokers[0].refuse_with = STATUS_NO_QUORUM;
    put(0, 20);
    fake_run_ms(&scene.fake, 50);
    fake_lead(&scene.fake, 2); /* nobody tells the client */
    wait_over();
    assert_int_equal(scene.acked, 20);
    expect_log(20);
    fake_run_ms(&scene.fake, 1000);
    assert_int_equal(scene.fake.controllers[1].calls[RPC_WATCH], 1);
    end();
}

static void a_shard_without_a_leader_ends_in_a_timeout_that_tells_the_truth(void **state)
{
    (void)state;
    begin(true);
    open_producer(200);
    scene.fake.brokers[0].refuse = 1000;
    scene.fake.brokers[0].refuse_with = STATUS_BUSY; /* surely not stored */
    put(0, 5);
    wait_over();
    assert_int_equal(scene.failed, 5);
    /* An attempt may be on its way in that very moment: then nobody can know. */
    assert_true(scene.status[0] == WEIR_TIMEOUT || scene.status[0] == WEIR_UNCERTAIN);
    assert_int_equal(scene.fake.log_count, 0);
    scene.fake.brokers[0].refuse = 0;
    put(5, 5);
    wait_over();
    assert_int_equal(scene.acked, 5);
    end();
}

static void a_deleted_stream_fails_what_waits_and_what_comes(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.brokers[0].refuse = 1000;
    scene.fake.brokers[0].refuse_with = STATUS_NOT_FOUND;
    put(0, 5);
    fake_run_ms(&scene.fake, 30);
    scene.fake.deleting = true;
    fake_tell(&scene.fake);
    wait_over();
    assert_int_equal(scene.failed, 5);
    assert_int_equal(scene.status[0], WEIR_NOT_FOUND);
    struct weir_record record = {.key = "k", .key_size = 1};
    assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_NOT_FOUND);
    end();
}

static void bad_records_and_a_full_buffer_are_refused(void **state)
{
    (void)state;
    begin(true);
    struct weir_producer_options options = {.buffer_records = 3};
    assert_int_equal(weir_producer_open_async(scene.fake.client, "orders", &options, 3000,
                                              producer_opened, NULL),
                     WEIR_OK);
    wait_over();
    struct weir_record record = {.key = "k", .key_size = 0};
    assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_INVALID);
    record.key_size = 1;
    record.data_size = RECORD_BYTES_MAX;
    assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_TOO_LARGE);
    record.data_size = 0;
    record.explicit_hash_key = "340282366920938463463374607431768211456";
    assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_INVALID);
    put(0, 3);
    record.explicit_hash_key = "5";
    assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_BUSY);
    wait_over();
    assert_int_equal(scene.acked, 3);
    end();
}

static void closing_a_producer_answers_every_record(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    scene.fake.leader = 2; /* unknown to the client */
    scene.fake.brokers[1].refuse = 1000;
    scene.fake.brokers[1].refuse_with = STATUS_NO_QUORUM;
    put(0, 20);
    fake_run_ms(&scene.fake, 30);
    weir_producer_close(scene.producer);
    scene.producer = NULL;
    wait_over();
    assert_int_equal(scene.failed, 20);
    assert_true(scene.status[0] == WEIR_UNCERTAIN || scene.status[0] == WEIR_CANCELLED);
    end();
}

static void a_flush_comes_after_the_acknowledgements(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    put(0, 10);
    scene.expected = 0; /* only the flush ends the wait */
    assert_int_equal(weir_producer_flush_async(scene.producer, done, NULL), WEIR_OK);
    wait_over();
    assert_int_equal(scene.acked, 10);
    assert_int_equal(weir_producer_flush_async(scene.producer, done, NULL), WEIR_OK);
    wait_over();
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_follows_the_hint_to_the_active_controller),
        cmocka_unit_test(a_change_whose_answer_was_lost_is_repeated_under_its_id),
        cmocka_unit_test(nobody_active_is_unavailable_in_time),
        cmocka_unit_test(blocking_functions_are_refused_on_a_callers_loop),
        cmocka_unit_test(records_are_acknowledged_where_they_are),
        cmocka_unit_test(a_lost_answer_is_asked_for_again_and_nothing_is_doubled),
        cmocka_unit_test(a_hint_is_followed_before_the_metadata_says_so),
        cmocka_unit_test(a_new_leader_gets_what_the_old_one_did_not_answer),
        cmocka_unit_test(a_watched_controller_that_falls_silent_is_left_for_one_that_knows_more),
        cmocka_unit_test(a_shard_without_a_leader_ends_in_a_timeout_that_tells_the_truth),
        cmocka_unit_test(a_deleted_stream_fails_what_waits_and_what_comes),
        cmocka_unit_test(bad_records_and_a_full_buffer_are_refused),
        cmocka_unit_test(closing_a_producer_answers_every_record),
        cmocka_unit_test(a_flush_comes_after_the_acknowledgements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
