/* Readers on the caller's loop, against a cluster that misbehaves on purpose. */
#include "scene.h"

#include "proto/schema/data.pb-c.h"

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
