/* Compressed payloads: there and back, and what hostile ones may not do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/codec/codec.h"

static const enum codec codecs[] = {CODEC_ZSTD, CODEC_LZ4};
enum { CODECS = 2, TEXT_BYTES = 20000 };

static struct bytes text(void)
{
    static uint8_t bytes[TEXT_BYTES];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)((size_t) "abcdefgh"[i % 8] + (i / 512) % 7);
    }
    return bytes_of(bytes, sizeof(bytes));
}

static void what_is_compressed_comes_back(void **state)
{
    (void)state;
    struct coder coder = {0};
    for (int i = 0; i < CODECS; i++) {
        struct buf out = {0};
        assert_int_equal(buf_append(&out, "head", 4), STATUS_OK);
        assert_int_equal(codec_compress(&coder, codecs[i], text(), &out), STATUS_OK);
        assert_memory_equal(out.data, "head", 4);
        assert_true(out.size < TEXT_BYTES / 4);
        struct bytes payload = bytes_of(out.data + 4, out.size - 4), plain;
        struct batch_header h = {.codec = (uint8_t)codecs[i]};
        assert_int_equal(codec_plain_bytes(&h, payload), TEXT_BYTES);
        assert_int_equal(codec_open(&coder, &h, payload, &plain), STATUS_OK);
        assert_true(bytes_equal(plain, text()));
        buf_release(&out);
    }
    coder_release(&coder);
}

static void a_plain_payload_is_given_as_it_is(void **state)
{
    (void)state;
    struct coder coder = {0};
    struct batch_header h = {.codec = CODEC_NONE};
    struct bytes plain;
    assert_int_equal(codec_open(&coder, &h, text(), &plain), STATUS_OK);
    assert_ptr_equal(plain.data, text().data);
    coder_release(&coder);
}

static void what_does_not_shrink_is_refused(void **state)
{
    (void)state;
    struct coder coder = {0};
    uint8_t noise[300];
    uint32_t seed = 12345;
    for (size_t i = 0; i < sizeof(noise); i++) {
        seed = seed * 1664525 + 1013904223;
        noise[i] = (uint8_t)(seed >> 24);
    }
    for (int i = 0; i < CODECS; i++) {
        struct buf out = {0};
        struct bytes plain = bytes_of(noise, sizeof(noise));
        assert_int_equal(codec_compress(&coder, codecs[i], plain, &out), STATUS_TOO_LARGE);
        assert_int_equal(codec_compress(&coder, codecs[i], bytes_of("abc", 3), &out),
                         STATUS_TOO_LARGE);
        assert_int_equal(codec_compress(&coder, codecs[i], bytes_of(NULL, 0), &out),
                         STATUS_INVALID);
        assert_int_equal(out.size, 0);
        buf_release(&out);
    }
    assert_int_equal(codec_compress(&coder, CODEC_NONE, text(), &(struct buf){0}), STATUS_INVALID);
    coder_release(&coder);
}

static void a_size_that_is_not_true_is_corrupt(void **state)
{
    (void)state;
    struct coder coder = {0};
    for (int i = 0; i < CODECS; i++) {
        struct buf out = {0};
        struct bytes plain;
        struct batch_header h = {.codec = (uint8_t)codecs[i]};
        assert_int_equal(codec_compress(&coder, codecs[i], text(), &out), STATUS_OK);
        static const uint32_t lies[] = {
            0,         1, TEXT_BYTES - 1, TEXT_BYTES + 1, BATCH_PAYLOAD_MAX, BATCH_PAYLOAD_MAX + 1,
            UINT32_MAX};
        for (size_t k = 0; k < sizeof(lies) / sizeof(lies[0]); k++) {
            put_u32(out.data, lies[k]);
            assert_int_equal(codec_open(&coder, &h, buf_bytes(&out), &plain), STATUS_CORRUPT);
        }
        buf_release(&out);
    }
    coder_release(&coder);
}

static void cut_and_lengthened_payloads_are_corrupt(void **state)
{
    (void)state;
    struct coder coder = {0};
    for (int i = 0; i < CODECS; i++) {
        struct buf out = {0};
        struct bytes plain;
        struct batch_header h = {.codec = (uint8_t)codecs[i]};
        assert_int_equal(codec_compress(&coder, codecs[i], text(), &out), STATUS_OK);
        for (size_t size = 0; size < out.size; size++) {
            assert_int_equal(codec_open(&coder, &h, bytes_of(out.data, size), &plain),
                             STATUS_CORRUPT);
        }
        assert_int_equal(buf_append(&out, out.data + 4, 30), STATUS_OK);
        assert_int_equal(codec_open(&coder, &h, buf_bytes(&out), &plain), STATUS_CORRUPT);
        buf_release(&out);
    }
    coder_release(&coder);
}

/* With a sanitizer this also finds reads and writes beyond the ends. */
static void damaged_payloads_do_no_harm(void **state)
{
    (void)state;
    struct coder coder = {0};
    uint32_t seed = 99;
    for (int i = 0; i < CODECS; i++) {
        struct buf out = {0};
        struct batch_header h = {.codec = (uint8_t)codecs[i]};
        assert_int_equal(codec_compress(&coder, codecs[i], text(), &out), STATUS_OK);
        for (int k = 0; k < 3000; k++) {
            seed = seed * 1664525 + 1013904223;
            size_t at = 4 + (seed >> 8) % (out.size - 4);
            uint8_t was = out.data[at];
            out.data[at] = (uint8_t)seed;
            struct bytes plain = {0};
            enum status status = codec_open(&coder, &h, buf_bytes(&out), &plain);
            assert_true(status == STATUS_CORRUPT ||
                        (status == STATUS_OK && plain.size == TEXT_BYTES));
            out.data[at] = was;
        }
        buf_release(&out);
    }
    coder_release(&coder);
}

static void an_unknown_codec_is_unsupported(void **state)
{
    (void)state;
    struct coder coder = {0};
    struct batch_header h = {.codec = 3};
    struct bytes plain;
    enum codec codec;
    assert_int_equal(codec_open(&coder, &h, text(), &plain), STATUS_UNSUPPORTED);
    assert_int_equal(codec_from_name("lz4", &codec), STATUS_OK);
    assert_int_equal(codec, CODEC_LZ4);
    assert_int_equal(codec_from_name("gzip", &codec), STATUS_INVALID);
    assert_string_equal(codec_name(CODEC_ZSTD), "zstd");
    assert_string_equal(codec_name(200), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_compressed_comes_back),
        cmocka_unit_test(a_plain_payload_is_given_as_it_is),
        cmocka_unit_test(what_does_not_shrink_is_refused),
        cmocka_unit_test(a_size_that_is_not_true_is_corrupt),
        cmocka_unit_test(cut_and_lengthened_payloads_are_corrupt),
        cmocka_unit_test(damaged_payloads_do_no_harm),
        cmocka_unit_test(an_unknown_codec_is_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
