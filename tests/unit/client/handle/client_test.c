/* The whole library on its caller's loop, against a cluster that misbehaves on purpose. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cluster.h"
#include "proto/schema/data.pb-c.h"

enum { RECORDS = 200 };

struct scene {
    struct fake fake;
    struct weir_producer *producer;
    struct weir_reader *reader;
    struct weir_error error;
    struct weir_records *records;
    bool over;
    unsigned acked, failed, duplicates;
    struct weir_position position[RECORDS];
    enum weir_status status[RECORDS];
    unsigned expected;
};

static struct scene scene;

static void begin(bool created)
{
    scene = (struct scene){.over = false};
    fake_start(&scene.fake);
    scene.fake.created = created;
}

static void end(void)
{
    if (scene.producer != NULL) {
        weir_producer_close(scene.producer);
        fake_run_ms(&scene.fake, 20);
    }
    if (scene.reader != NULL) {
        weir_reader_close(scene.reader);
        fake_run_ms(&scene.fake, 20);
    }
    weir_records_free(scene.records);
    fake_stop(&scene.fake);
}

static void done(const struct weir_error *error, void *context)
{
    (void)context;
    scene.error = *error;
    scene.over = true;
}

static void wait_over(void)
{
    fake_until(&scene.fake, &scene.over);
    scene.over = false;
}

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

static void producer_opened(struct weir_producer *producer, const struct weir_error *error,
                            void *context)
{
    scene.producer = producer;
    done(error, context);
}

static void acked(const struct weir_ack *ack, void *context)
{
    uintptr_t index = (uintptr_t)context;
    assert_int_equal(scene.acked + scene.failed, index); /* in the order of the puts */
    scene.status[index] = ack->status;
    scene.position[index] = ack->position;
    scene.acked += ack->status == WEIR_OK;
    scene.failed += ack->status != WEIR_OK;
    scene.duplicates += ack->duplicate;
    scene.over = scene.acked + scene.failed == scene.expected;
}

static void open_producer(uint32_t timeout_ms)
{
    struct weir_producer_options options = {.delivery_timeout_ms = timeout_ms};
    assert_int_equal(weir_producer_open_async(scene.fake.client, "orders", &options, 3000,
                                              producer_opened, NULL),
                     WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_OK);
}

static void put(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char data[16];
        int size = snprintf(data, sizeof(data), "record %u", i);
        struct weir_record record = {.key = "key",
                                     .key_size = 3,
                                     .data = data,
                                     .data_size = (size_t)size,
                                     .context = (void *)(uintptr_t)i};
        assert_int_equal(weir_put(scene.producer, &record, acked), WEIR_OK);
    }
    scene.expected = first + count;
}

/* What is in the log is what was put, once and in order, where the acknowledgements say. */
static void expect_log(unsigned count)
{
    unsigned index = 0;
    for (unsigned i = 0; i < scene.fake.log_count; i++) {
        const struct batch_header *h = &scene.fake.header[i];
        struct bytes payload =
            bytes_of(scene.fake.log[i].data + BATCH_HEADER_BYTES, h->payload_bytes);
        for (uint32_t j = 0; j < h->count; j++, index++) {
            struct record record;
            char data[16];
            (void)snprintf(data, sizeof(data), "record %u", index);
            assert_int_equal(record_next(&payload, &record), STATUS_OK);
            assert_true(bytes_equal(record.data, bytes_of_string(data)));
            assert_int_equal(scene.position[index].offset, h->base_offset + j);
            assert_int_equal(scene.position[index].arrival_ms, h->append_ms);
            assert_int_equal(scene.position[index].shard_created_s, 1700000000);
        }
    }
    assert_int_equal(index, count);
}

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

/* ---- readers ----------------------------------------------------------------------------------
 */

static void reader_opened(struct weir_reader *reader, const struct weir_error *error, void *context)
{
    scene.reader = reader;
    done(error, context);
}

static enum weir_status open_reader(const struct weir_reader_options *options)
{
    enum weir_status status =
        weir_reader_open_async(scene.fake.client, "orders", 0, options, 3000, reader_opened, NULL);
    if (status == WEIR_OK) {
        wait_over();
        status = scene.error.status;
    }
    return status;
}

static void got(struct weir_records *records, const struct weir_error *error, void *context)
{
    scene.records = records;
    done(error, context);
}

static struct weir_records *get(uint32_t wait_ms)
{
    weir_records_free(scene.records);
    scene.records = NULL;
    scene.over = false;
    assert_int_equal(weir_reader_get_async(scene.reader, wait_ms, got, NULL), WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_OK);
    return scene.records;
}

static void fill(unsigned count)
{
    open_producer(0);
    put(0, count);
    wait_over();
}

static void all_kinds_of_starting_points_are_asked_for(void **state)
{
    (void)state;
    begin(true);
    fill(20);
    char number[WEIR_SEQUENCE_NUMBER_BYTES];
    weir_sequence_number(&scene.position[7], number);
    static const struct {
        enum weir_from from;
        int type;
        uint64_t first;
    } kinds[] = {
        {WEIR_TRIM_HORIZON,          WEIR__POSITION_TYPE__POSITION_TRIM_HORIZON, 0 },
        {WEIR_AT_SEQUENCE_NUMBER,    WEIR__POSITION_TYPE__POSITION_AT_OFFSET,    7 },
        {WEIR_AFTER_SEQUENCE_NUMBER, WEIR__POSITION_TYPE__POSITION_AFTER_OFFSET, 8 },
        {WEIR_AT_TIMESTAMP,          WEIR__POSITION_TYPE__POSITION_AT_TIMESTAMP, 0 },
        {WEIR_LATEST,                WEIR__POSITION_TYPE__POSITION_LATEST,       20},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct weir_reader_options options = {
            .from = kinds[i].from, .sequence_number = number, .timestamp_ms = 12345};
        assert_int_equal(open_reader(&options), WEIR_OK);
        assert_int_equal(scene.fake.last_position_type, kinds[i].type);
        const struct weir_records *records = get(0);
        assert_int_equal(records->count, 20 - kinds[i].first);
        if (records->count > 0) {
            assert_int_equal(records->records[0].position.offset, kinds[i].first);
        }
        weir_reader_close(scene.reader);
        scene.reader = NULL;
        fake_run_ms(&scene.fake, 10);
    }
    assert_int_equal(scene.fake.last_position_ms, 12345);
    end();
}

static void foreign_sequence_numbers_are_refused(void **state)
{
    (void)state;
    begin(true);
    struct weir_reader_options options = {.from = WEIR_AT_SEQUENCE_NUMBER, .sequence_number = "12"};
    assert_int_equal(open_reader(&options), WEIR_INVALID);
    char number[WEIR_SEQUENCE_NUMBER_BYTES];
    struct weir_position other_shard = {.shard_created_s = 1700000000, .shard = 1};
    weir_sequence_number(&other_shard, number);
    options.sequence_number = number;
    assert_int_equal(open_reader(&options), WEIR_INVALID);
    struct weir_position other_stream = {.shard_created_s = 1700000001};
    weir_sequence_number(&other_stream, number);
    assert_int_equal(open_reader(&options), WEIR_INVALID);
    assert_null(scene.reader);
    end();
}

static void a_waiting_get_is_woken_by_the_next_record(void **state)
{
    (void)state;
    begin(true);
    open_producer(0);
    assert_int_equal(open_reader(NULL), WEIR_OK);
    assert_int_equal(weir_reader_get_async(scene.reader, 5000, got, NULL), WEIR_OK);
    assert_int_equal(weir_reader_get_async(scene.reader, 5000, got, NULL), WEIR_BUSY);
    fake_run_ms(&scene.fake, 50);
    assert_null(scene.records);
    put(0, 1);
    while (scene.records == NULL) {
        fake_run_ms(&scene.fake, 1);
    }
    assert_int_equal(scene.records->count, 1);
    assert_memory_equal(scene.records->records[0].data, "record 0", 8);
    assert_int_equal(get(20)->count, 0); /* nothing more in this time */
    end();
}

static void a_reader_goes_on_at_the_new_leader(void **state)
{
    (void)state;
    begin(true);
    fill(10);
    assert_int_equal(open_reader(NULL), WEIR_OK);
    assert_int_equal(get(1000)->count, 10);
    assert_int_equal(weir_reader_get_async(scene.reader, 5000, got, NULL), WEIR_OK);
    fake_run_ms(&scene.fake, 30);
    fake_cut(&scene.fake.brokers[0]);
    fake_lead(&scene.fake, 2);
    put(10, 10);
    struct weir_records *first = scene.records;
    while (scene.records == first || scene.acked < 20) {
        fake_run_ms(&scene.fake, 1);
    }
    weir_records_free(first);
    assert_int_equal(scene.records->records[0].position.offset, 10);
    assert_true(scene.fake.brokers[1].calls[RPC_READ] > 0);
    end();
}

static void the_tip_is_confirmed_by_the_leader(void **state)
{
    (void)state;
    begin(true);
    fill(3);
    struct weir_reader_options options = {.confirm_tip = true};
    assert_int_equal(open_reader(&options), WEIR_OK);
    const struct weir_records *records = get(0);
    assert_int_equal(records->count, 3);
    assert_false(records->at_tip);
    records = get(0);
    assert_int_equal(records->count, 0);
    assert_true(records->at_tip);
    assert_int_equal(scene.fake.last_position_type, WEIR__POSITION_TYPE__POSITION_LATEST);
    end();
}

static void retention_that_overtakes_a_reader_is_told(void **state)
{
    (void)state;
    begin(true);
    fill(1);
    put(1, 1);
    wait_over();
    assert_int_equal(scene.fake.log_count, 2);
    char number[WEIR_SEQUENCE_NUMBER_BYTES];
    weir_sequence_number(&scene.position[0], number);
    struct weir_reader_options options = {.from = WEIR_AT_SEQUENCE_NUMBER,
                                          .sequence_number = number};
    scene.fake.log_start = 1; /* between the question where to begin and the first read */
    assert_int_equal(open_reader(&options), WEIR_OK);
    const struct weir_records *records = get(1000);
    assert_int_equal(records->count, 1);
    assert_true(records->skipped);
    assert_int_equal(records->records[0].position.offset, 1);
    end();
}

static void closing_a_reader_answers_its_get(void **state)
{
    (void)state;
    begin(true);
    assert_int_equal(open_reader(NULL), WEIR_OK);
    assert_int_equal(weir_reader_get_async(scene.reader, 60000, got, NULL), WEIR_OK);
    fake_run_ms(&scene.fake, 20);
    weir_reader_close(scene.reader);
    scene.reader = NULL;
    wait_over();
    assert_int_equal(scene.error.status, WEIR_CANCELLED);
    end();
}

static void what_is_not_there_is_not_found(void **state)
{
    (void)state;
    begin(false);
    assert_int_equal(
        weir_producer_open_async(scene.fake.client, "orders", NULL, 3000, producer_opened, NULL),
        WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_NOT_FOUND);
    scene.fake.created = true;
    fake_tell(&scene.fake);
    assert_int_equal(
        weir_reader_open_async(scene.fake.client, "orders", 5, NULL, 3000, reader_opened, NULL),
        WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_NOT_FOUND);
    assert_int_equal(weir_producer_open_async(scene.fake.client, "no such name", NULL, 3000,
                                              producer_opened, NULL),
                     WEIR_INVALID);
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
        cmocka_unit_test(all_kinds_of_starting_points_are_asked_for),
        cmocka_unit_test(foreign_sequence_numbers_are_refused),
        cmocka_unit_test(a_waiting_get_is_woken_by_the_next_record),
        cmocka_unit_test(a_reader_goes_on_at_the_new_leader),
        cmocka_unit_test(the_tip_is_confirmed_by_the_leader),
        cmocka_unit_test(retention_that_overtakes_a_reader_is_told),
        cmocka_unit_test(closing_a_reader_answers_its_get),
        cmocka_unit_test(what_is_not_there_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
