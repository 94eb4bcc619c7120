/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "broker/crypt/vault.h"

enum { STREAM = 5, REFRESH_MS = 1000, LIFE_MS = 10000 };

struct rig {
    struct vault *vault;
    uint32_t wanted; /* calls */
    uint8_t batch[4096];
};

static void want(void *context, uint32_t stream)
{
    assert_int_equal(stream, STREAM);
    ((struct rig *)context)->wanted++;
}

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->vault = vault_new(REFRESH_MS, LIFE_MS, want, rig);
    assert_non_null(rig->vault);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    vault_free(rig->vault);
    free(rig);
    return 0;
}

/* Versions 1 to `count`; the last one's status is `last`. */
static void give(struct rig *rig, uint32_t count, enum status last, uint64_t ring_version,
                 uint64_t now_ms)
{
    static uint8_t bytes[8][CRYPT_KEY_BYTES];
    Weir__DataKeys__Key key[8], *keys[8];
    Weir__DataKeys__Stream stream, *streams[] = {&stream};
    Weir__DataKeys reply;
    weir__data_keys__init(&reply);
    weir__data_keys__stream__init(&stream);
    for (uint32_t i = 0; i < count; i++) {
        bool good = i + 1 < count || last == STATUS_OK;
        weir__data_keys__key__init(&key[i]);
        memset(bytes[i], (int)i + 1, CRYPT_KEY_BYTES);
        key[i].version = i + 1;
        key[i].status = (uint32_t)(good ? STATUS_OK : last);
        key[i].key = (ProtobufCBinaryData){.data = bytes[i], .len = good ? CRYPT_KEY_BYTES : 0};
        keys[i] = &key[i];
    }
    stream.stream = STREAM;
    stream.keys = keys;
    stream.n_keys = count;
    reply.streams = streams;
    reply.n_streams = 1;
    reply.ring_version = ring_version;
    assert_int_equal(vault_take(rig->vault, &reply, now_ms), STATUS_OK);
}

/* A batch of one record at `offset`, encrypted as a leader does it. */
static enum status make(struct rig *rig, uint64_t offset, uint64_t now_ms, struct bytes *out)
{
    struct batch_builder b = {0};
    struct record record = {.key = bytes_of_string("key"), .data = bytes_of_string("marker")};
    assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    struct bytes plain = batch_builder_finish(&b, 0, 0, 0);
    struct batch_header h;
    const struct batch_slot slot = {
        .shard = (uint64_t)STREAM << 32, .base_offset = offset, .epoch = 1};
    memcpy(rig->batch, plain.data, plain.size);
    batch_assign(rig->batch, &slot, &h);
    memset(h.key_salt, 7, sizeof(h.key_salt));
    struct bytes payload =
        bytes_of(rig->batch + BATCH_HEADER_BYTES, plain.size - BATCH_HEADER_BYTES);
    enum status status = vault_seal(rig->vault, now_ms, &h, &payload);
    if (status == STATUS_OK) {
        memcpy(rig->batch + BATCH_HEADER_BYTES, payload.data, payload.size);
        batch_header_encode(&h, rig->batch);
        *out = bytes_of(rig->batch, batch_bytes(&h));
        assert_int_equal(batch_decode(*out, &h), STATUS_OK);
        assert_int_equal(h.flags, BATCH_ENCRYPTED);
    }
    batch_builder_release(&b);
    return status;
}

static void assert_opens(struct rig *rig, struct bytes batch, uint64_t now_ms, uint32_t version)
{
    struct bytes opened;
    struct batch_header h;
    struct record record;
    assert_int_equal(vault_open(rig->vault, now_ms, &batch, 1, &opened), STATUS_OK);
    assert_int_equal(batch_decode(opened, &h), STATUS_OK);
    assert_int_equal(batch_bytes(&h), opened.size);
    assert_int_equal(h.flags, 0);
    assert_int_equal(h.key_id, version);
    struct bytes payload = bytes_of(opened.data + BATCH_HEADER_BYTES, h.payload_bytes);
    assert_int_equal(record_next(&payload, &record), STATUS_OK);
    assert_true(bytes_equal(record.data, bytes_of_string("marker")));
}

static void without_a_key_nothing_is_sealed_and_it_is_asked_for(void **state)
{
    struct rig *rig = *state;
    struct bytes batch = {0};
    assert_int_equal(make(rig, 0, 0, &batch), STATUS_KEY_UNAVAILABLE);
    assert_int_equal(rig->wanted, 1);
    assert_true(vault_is_due(rig->vault, STREAM, 1, 0, 0));
}

static void the_newest_key_seals_and_all_of_them_open(void **state)
{
    struct rig *rig = *state;
    struct bytes batch = {0};
    uint8_t old[512];
    give(rig, 1, STATUS_OK, 1, 0);
    assert_int_equal(make(rig, 10, 1, &batch), STATUS_OK);
    assert_opens(rig, batch, 1, 1);
    if (batch.data == NULL) {
        fail();
        return; /* which the analyser does not know of fail() */
    }
    memcpy(old, batch.data, batch.size);
    struct bytes first = bytes_of(old, batch.size);
    give(rig, 3, STATUS_OK, 1, 2);
    assert_int_equal(make(rig, 11, 3, &batch), STATUS_OK);
    assert_opens(rig, batch, 3, 3);
    assert_opens(rig, first, 3, 1);
}

static void a_disabled_key_neither_seals_nor_opens_until_it_is_enabled(void **state)
{
    struct rig *rig = *state;
    struct bytes batch = {0}, none = {0}, opened = {0};
    give(rig, 1, STATUS_OK, 1, 0);
    assert_int_equal(make(rig, 10, 1, &batch), STATUS_OK);
    assert_opens(rig, batch, 1, 1);
    give(rig, 1, STATUS_KEY_DISABLED, 2, 2);
    struct bytes copy = batch;
    assert_int_equal(vault_open(rig->vault, 3, &copy, 1, &opened), STATUS_KEY_DISABLED);
    uint8_t kept[512];
    if (batch.data == NULL) {
        fail();
        return;
    }
    memcpy(kept, batch.data, batch.size);
    batch.data = kept;
    assert_int_equal(make(rig, 11, 3, &none), STATUS_KEY_DISABLED);
    give(rig, 1, STATUS_OK, 3, 4);
    assert_opens(rig, batch, 5, 1);
}

static void keys_are_asked_for_again_and_forgotten_in_time(void **state)
{
    struct rig *rig = *state;
    struct bytes batch = {0}, opened = {0};
    give(rig, 2, STATUS_OK, 7, 100);
    assert_false(vault_is_due(rig->vault, STREAM, 2, 7, 100 + REFRESH_MS - 1));
    assert_true(vault_is_due(rig->vault, STREAM, 2, 7, 100 + REFRESH_MS));
    assert_false(vault_is_due(rig->vault, STREAM, 3, 7, 100));
    assert_true(vault_is_due(rig->vault, STREAM, 3, 7, 300));
    assert_true(vault_is_due(rig->vault, STREAM, 2, 8, 100));
    assert_int_equal(make(rig, 1, 100 + LIFE_MS - 1, &batch), STATUS_OK);
    assert_int_equal(vault_open(rig->vault, 100 + LIFE_MS, &batch, 1, &opened),
                     STATUS_KEY_UNAVAILABLE);
    vault_tick(rig->vault, 100 + LIFE_MS);
    assert_int_equal(vault_open(rig->vault, 100, &batch, 1, &opened), STATUS_KEY_UNAVAILABLE);
    assert_int_equal(rig->wanted, 2);
}

static void batches_in_clear_are_left_as_they_are(void **state)
{
    struct rig *rig = *state;
    struct bytes sealed = {0}, opened = {0};
    give(rig, 1, STATUS_OK, 1, 0);
    assert_int_equal(make(rig, 10, 1, &sealed), STATUS_OK);
    struct batch_builder b = {0};
    struct record record = {.key = bytes_of_string("key"), .data = bytes_of_string("clear")};
    assert_int_equal(batch_builder_add(&b, &record), STATUS_OK);
    struct bytes clear = batch_builder_finish(&b, 0, 0, 0);
    assert_int_equal(vault_open(rig->vault, 1, &clear, 1, &opened), STATUS_UNSUPPORTED);
    const struct bytes pieces[] = {clear, sealed, clear};
    assert_int_equal(vault_open(rig->vault, 1, pieces, 3, &opened), STATUS_OK);
    assert_int_equal(opened.size, 2 * clear.size + sealed.size - BATCH_SEAL_BYTES);
    assert_memory_equal(opened.data, clear.data, clear.size);
    assert_memory_equal(opened.data + opened.size - clear.size, clear.data, clear.size);
    batch_builder_release(&b);
}

static void a_tampered_batch_is_not_given_out(void **state)
{
    struct rig *rig = *state;
    struct bytes batch = {0}, opened = {0};
    give(rig, 1, STATUS_OK, 1, 0);
    assert_int_equal(make(rig, 10, 1, &batch), STATUS_OK);
    rig->batch[BATCH_HEADER_BYTES + 3] ^= 1;
    assert_int_equal(vault_open(rig->vault, 1, &batch, 1, &opened), STATUS_CORRUPT);
}

static void answers_that_are_not_well_formed_are_refused(void **state)
{
    struct rig *rig = *state;
    uint8_t bytes[CRYPT_KEY_BYTES] = {0};
    Weir__DataKeys__Key key, *keys[] = {&key, &key};
    Weir__DataKeys__Stream stream, *streams[] = {&stream};
    Weir__DataKeys reply;
    weir__data_keys__init(&reply);
    weir__data_keys__stream__init(&stream);
    weir__data_keys__key__init(&key);
    stream.stream = STREAM;
    stream.keys = keys;
    stream.n_keys = 1;
    reply.streams = streams;
    reply.n_streams = 1;
    key.version = 1;
    key.key = (ProtobufCBinaryData){.data = bytes, .len = CRYPT_KEY_BYTES - 1};
    assert_int_equal(vault_take(rig->vault, &reply, 0), STATUS_INVALID);
    key.key.len = CRYPT_KEY_BYTES;
    key.version = 0;
    assert_int_equal(vault_take(rig->vault, &reply, 0), STATUS_INVALID);
    key.version = 1;
    key.status = (uint32_t)STATUS_BUSY;
    assert_int_equal(vault_take(rig->vault, &reply, 0), STATUS_INVALID);
    key.status = 0;
    stream.n_keys = 2; /* twice the same version */
    assert_int_equal(vault_take(rig->vault, &reply, 0), STATUS_INVALID);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(without_a_key_nothing_is_sealed_and_it_is_asked_for),
        TEST(the_newest_key_seals_and_all_of_them_open),
        TEST(a_disabled_key_neither_seals_nor_opens_until_it_is_enabled),
        TEST(keys_are_asked_for_again_and_forgotten_in_time),
        TEST(batches_in_clear_are_left_as_they_are),
        TEST(a_tampered_batch_is_not_given_out),
        TEST(answers_that_are_not_well_formed_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
