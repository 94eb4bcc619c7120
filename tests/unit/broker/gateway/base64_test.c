/* base64 against another implementation (OpenSSL's), at every size around the steps in which it is
 * done. Buffers are exactly as large as promised, so that a sanitizer sees a byte too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "broker/gateway/api_text.h"

enum { SIZES = 300 };

static uint8_t *exactly(size_t size)
{
    uint8_t *data = malloc(size == 0 ? 1 : size);
    assert_non_null(data);
    return data;
}

/* Bytes that do not repeat soon. */
static void fill(uint8_t *data, size_t size)
{
    uint32_t state = (uint32_t)size * 2654435761u + 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 1664525 + 1013904223;
        data[i] = (uint8_t)(state >> 24);
    }
}

static void every_size_is_encoded_and_decoded_as_others_do(void **state)
{
    (void)state;
    for (size_t size = 0; size < SIZES; size++) {
        uint8_t *bytes = exactly(size);
        fill(bytes, size);
        size_t length = base64_encoded_size(size);
        uint8_t *text = exactly(length);
        base64_encode(bytes_of(bytes, size), text);
        unsigned char expected[SIZES * 2];
        assert_int_equal(EVP_EncodeBlock(expected, bytes, (int)size), length);
        assert_memory_equal(text, expected, length);

        uint8_t *back = exactly(base64_decoded_max(length));
        size_t back_size = SIZE_MAX;
        assert_int_equal(base64_decode(bytes_of(text, length), back, &back_size), BASE64_OK);
        assert_int_equal(back_size, size);
        assert_memory_equal(back, bytes, size);
        free(back);
        free(text);
        free(bytes);
    }
}

static void every_digit_stands_for_its_value_at_every_place(void **state)
{
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[128], back[96];
    for (size_t turn = 0; turn < 64; turn++) {
        for (size_t i = 0; i < sizeof(text); i++) {
            text[i] = (uint8_t)digits[(i + turn) % 64];
        }
        size_t size = 0;
        assert_int_equal(base64_decode(bytes_of(text, sizeof(text)), back, &size), BASE64_OK);
        assert_int_equal(size, sizeof(back));
        for (size_t i = 0; i < sizeof(text); i++) {
            unsigned pair = (unsigned)back[i * 6 / 8] << 8;
            pair |= i * 6 / 8 + 1 < sizeof(back) ? back[i * 6 / 8 + 1] : 0;
            assert_int_equal(pair >> (10 - i * 6 % 8) & 63, (i + turn) % 64);
        }
    }
}

static void a_character_that_does_not_belong_is_found_wherever_it_is(void **state)
{
    (void)state;
    uint8_t text[160], back[120];
    memset(text, 'Z', sizeof(text));
    for (size_t place = 0; place < sizeof(text) - 2; place++) {
        for (int c = 0; c < 256; c++) {
            bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                         (c >= '0' && c <= '9') || c == '+' || c == '/';
            if (digit) {
                continue;
            }
            text[place] = (uint8_t)c;
            size_t found = SIZE_MAX;
            assert_int_equal(base64_decode(bytes_of(text, sizeof(text)), back, &found),
                             BASE64_CHARACTER);
            assert_int_equal(found, place);
        }
        text[place] = 'Z';
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_encoded_and_decoded_as_others_do),
        cmocka_unit_test(every_digit_stands_for_its_value_at_every_place),
        cmocka_unit_test(a_character_that_does_not_belong_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
