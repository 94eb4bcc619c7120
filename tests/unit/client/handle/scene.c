#include "scene.h"

#include <stdio.h>

struct scene scene;

void begin(bool created)
{
    scene = (struct scene){.over = false};
    fake_start(&scene.fake);
    scene.fake.created = created;
}

void end(void)
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

void done(const struct weir_error *error, void *context)
{
    (void)context;
    scene.error = *error;
    scene.over = true;
}

void wait_over(void)
{
    fake_until(&scene.fake, &scene.over);
    scene.over = false;
}

void producer_opened(struct weir_producer *producer, const struct weir_error *error, void *context)
{
    scene.producer = producer;
    done(error, context);
}

void acked(const struct weir_ack *ack, void *context)
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

void open_producer(uint32_t timeout_ms)
{
    struct weir_producer_options options = {.delivery_timeout_ms = timeout_ms};
    assert_int_equal(weir_producer_open_async(scene.fake.client, "orders", &options, 3000,
                                              producer_opened, NULL),
                     WEIR_OK);
    wait_over();
    assert_int_equal(scene.error.status, WEIR_OK);
}

void put(unsigned first, unsigned count)
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

void expect_log(unsigned count)
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
