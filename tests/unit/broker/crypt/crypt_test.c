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
#include "broker/crypt/crypt.h"

enum { TEXT = 1000, SEALED = TEXT + BATCH_SEAL_BYTES };

static const uint8_t data_key[CRYPT_KEY_BYTES] = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                                  12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
                                                  23, 24, 25, 26, 27, 28, 29, 30, 31, 32};

static struct batch_header header_of(const uint8_t *text, size_t size)
{
    struct batch_header h = {.payload_crc = crc32c(0, text, size),
                             .payload_bytes = (uint32_t)size,
                             .shard = (uint64_t)5 << 32 | 2,
                             .epoch = 9,
                             .count = 1,
                             .base_offset = 1000,
                             .prev_crc = 0xdeadbeef,
                             .append_ms = 1700000000123,
                             .producer_id = 77,
                             .producer_seq = 500,
                             .producer_epoch = 3,
                             .key_id = 4,
                             .generation = 1};
    memset(h.dedup_token, 0xd, sizeof(h.dedup_token));
    for (unsigned i = 0; i < BATCH_SALT_BYTES; i++) {
        h.key_salt[i] = (uint8_t)(0xa0 + i);
    }
    return h;
}

struct rig {
    struct crypt *crypt;
    uint8_t text[TEXT], sealed[SEALED], opened[TEXT];
    struct batch_header h;
};

static int set_up(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->crypt = crypt_new();
    assert_non_null(rig->crypt);
    for (size_t i = 0; i < TEXT; i++) {
        rig->text[i] = (uint8_t)(i * 7);
    }
    rig->h = header_of(rig->text, TEXT);
    assert_int_equal(
        crypt_seal(rig->crypt, data_key, bytes_of(rig->text, TEXT), &rig->h, rig->sealed),
        STATUS_OK);
    *state = rig;
    return 0;
}

static int tear_down(void **state)
{
    struct rig *rig = *state;
    crypt_free(rig->crypt);
    free(rig);
    return 0;
}

static void what_is_sealed_opens_to_the_same_bytes_and_header(void **state)
{
    struct rig *rig = *state;
    struct batch_header h = rig->h, before = header_of(rig->text, TEXT);
    assert_int_equal(h.flags, BATCH_ENCRYPTED);
    assert_int_equal(h.payload_bytes, SEALED);
    assert_int_equal(h.payload_crc, crc32c(0, rig->sealed, SEALED));
    assert_memory_not_equal(rig->sealed, rig->text, TEXT);
    assert_int_equal(
        crypt_open(rig->crypt, data_key, bytes_of(rig->sealed, SEALED), &h, rig->opened),
        STATUS_OK);
    assert_memory_equal(rig->opened, rig->text, TEXT);
    assert_int_equal(h.flags, 0);
    assert_int_equal(h.key_id, 4);
    assert_int_equal(h.payload_bytes, before.payload_bytes);
    assert_int_equal(h.payload_crc, before.payload_crc);
}

/* Made with another implementation: HKDF and AES-GCM of Python's cryptography. */
static void a_known_batch_has_its_known_ciphertext(void **state)
{
    struct rig *rig = *state;
    static const uint8_t text[] = "the quick brown fox";
    static const uint8_t expected[sizeof(text) - 1 + BATCH_SEAL_BYTES] = {
        0x38, 0xc8, 0x5a, 0xf0, 0xd3, 0xfe, 0xd3, 0xa2, 0x4c, 0x89, 0x71, 0x2b,
        0x26, 0x0a, 0x78, 0x0a, 0x6f, 0x7c, 0xb8, 0xc8, 0x3c, 0xf4, 0x89, 0xde,
        0x92, 0xe2, 0xaf, 0x66, 0x72, 0x38, 0x84, 0x01, 0x90, 0xdd, 0xaf};
    uint8_t out[sizeof(expected)];
    struct batch_header h = header_of(text, sizeof(text) - 1);
    assert_int_equal(crypt_seal(rig->crypt, data_key, bytes_of(text, sizeof(text) - 1), &h, out),
                     STATUS_OK);
    assert_memory_equal(out, expected, sizeof(expected));
}

static void any_changed_byte_of_the_ciphertext_is_refused(void **state)
{
    struct rig *rig = *state;
    for (size_t i = 0; i < SEALED; i++) {
        for (uint8_t bit = 1; bit != 0; bit = (uint8_t)(bit << 1)) {
            struct batch_header h = rig->h;
            rig->sealed[i] ^= bit;
            memset(rig->opened, 0x55, TEXT);
            assert_int_equal(
                crypt_open(rig->crypt, data_key, bytes_of(rig->sealed, SEALED), &h, rig->opened),
                STATUS_CORRUPT);
            rig->sealed[i] ^= bit;
        }
    }
    for (size_t i = 0; i < TEXT; i++) {
        assert_int_equal(rig->opened[i], 0); /* nothing that was not authenticated is left */
    }
}

/* With checksums that are right, as somebody who can write the disk would make them. */
static void any_changed_byte_of_the_header_is_refused(void **state)
{
    struct rig *rig = *state;
    uint8_t head[BATCH_HEADER_BYTES];
    unsigned refused_by_key = 0;
    for (size_t i = 12; i < BATCH_HEADER_BYTES; i++) {
        for (uint8_t bit = 1; bit != 0; bit = (uint8_t)(bit << 1)) {
            struct batch_header h = rig->h;
            batch_header_encode(&h, head);
            head[i] ^= bit;
            put_u32(head + 4, crc32c(0, head + 8, BATCH_HEADER_BYTES - 8));
            if (batch_header_decode(bytes_of(head, sizeof(head)), &h) != STATUS_OK) {
                continue;
            }
            refused_by_key++;
            assert_int_equal(
                crypt_open(rig->crypt, data_key, bytes_of(rig->sealed, SEALED), &h, rig->opened),
                STATUS_CORRUPT);
        }
    }
    assert_true(refused_by_key > 500);
}

static void another_key_opens_nothing(void **state)
{
    struct rig *rig = *state;
    uint8_t other[CRYPT_KEY_BYTES];
    memcpy(other, data_key, sizeof(other));
    other[31] ^= 1;
    struct batch_header h = rig->h;
    assert_int_equal(crypt_open(rig->crypt, other, bytes_of(rig->sealed, SEALED), &h, rig->opened),
                     STATUS_CORRUPT);
    assert_int_equal(h.flags, BATCH_ENCRYPTED);
}

/* The same text at every place: were a nonce used twice with one key, two ciphertexts would agree.
 */
static void no_two_places_share_a_keystream(void **state)
{
    struct rig *rig = *state;
    enum { PLACES = 512 };
    static uint8_t seen[PLACES][SEALED];
    uint32_t count = 0;
    memset(rig->text, 0, TEXT);
    for (uint32_t i = 0; i < PLACES; i++) {
        struct batch_header h = header_of(rig->text, TEXT);
        h.base_offset = i % 2 == 0 ? i : 1;
        h.epoch = i % 4 == 1 ? i : 1;
        h.shard = i % 4 == 3 ? (uint64_t)i << 32 : 1;
        assert_int_equal(
            crypt_seal(rig->crypt, data_key, bytes_of(rig->text, TEXT), &h, seen[count]),
            STATUS_OK);
        for (uint32_t j = 0; j < count; j++) {
            assert_memory_not_equal(seen[j], seen[count], 16);
        }
        count++;
    }
}

static void another_salt_is_another_keystream(void **state)
{
    struct rig *rig = *state;
    uint8_t again[SEALED];
    struct batch_header h = header_of(rig->text, TEXT);
    h.key_salt[BATCH_SALT_BYTES - 1] ^= 1; /* the first byte chooses the slot: the same one */
    assert_int_equal(crypt_seal(rig->crypt, data_key, bytes_of(rig->text, TEXT), &h, again),
                     STATUS_OK);
    assert_memory_not_equal(again, rig->sealed, TEXT);
    crypt_forget(rig->crypt);
    assert_int_equal(crypt_open(rig->crypt, data_key, bytes_of(again, SEALED), &h, rig->opened),
                     STATUS_OK);
    assert_memory_equal(rig->opened, rig->text, TEXT);
}

static void what_is_not_encrypted_or_too_short_is_refused(void **state)
{
    struct rig *rig = *state;
    struct batch_header h = rig->h;
    h.flags = 0;
    assert_int_equal(
        crypt_open(rig->crypt, data_key, bytes_of(rig->sealed, SEALED), &h, rig->opened),
        STATUS_CORRUPT);
    h = rig->h;
    h.payload_bytes = BATCH_SEAL_BYTES;
    assert_int_equal(
        crypt_open(rig->crypt, data_key, bytes_of(rig->sealed, BATCH_SEAL_BYTES), &h, rig->opened),
        STATUS_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_sealed_opens_to_the_same_bytes_and_header),
        TEST(a_known_batch_has_its_known_ciphertext),
        TEST(any_changed_byte_of_the_ciphertext_is_refused),
        TEST(any_changed_byte_of_the_header_is_refused),
        TEST(another_key_opens_nothing),
        TEST(no_two_places_share_a_keystream),
        TEST(another_salt_is_another_keystream),
        TEST(what_is_not_encrypted_or_too_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
