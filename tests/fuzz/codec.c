#include "tests/fuzz/codec.h"

#include "tests/fuzz/fuzz.h"

enum { ARENA_LIMIT = 8 * 1024 * 1024 };

static void check_again(const struct shape *shape, enum api_encoding encoding,
                        const struct value *value)
{
    struct arena arena = {.limit = ARENA_LIMIT};
    struct buf text = {0};
    struct api_error error;
    const struct value *again = NULL;
    CHECK(api_encode(encoding, value, &text) == STATUS_OK);
    enum status status = api_decode(shape, encoding, buf_bytes(&text), &arena, &again, &error);
    CHECK(status == STATUS_OK || status == STATUS_NO_MEMORY);
    CHECK(status != STATUS_OK || value_equal(value, again));
    buf_release(&text);
    arena_release(&arena);
}

void codec_check(enum api_encoding encoding, const uint8_t *data, size_t size)
{
    if (size == 0) {
        return;
    }
    const struct shape *shape = api_operations[data[0] % API_OPERATIONS].input;
    struct bytes body = bytes_of(data + 1, size - 1);
    struct arena arena = {.limit = ARENA_LIMIT};
    struct api_error error = {0};
    const struct value *value = NULL;
    enum status status = api_decode(shape, encoding, body, &arena, &value, &error);
    if (status == STATUS_OK) {
        check_again(shape, API_JSON, value);
        check_again(shape, API_CBOR, value);
    }
    struct arena second = {.limit = ARENA_LIMIT};
    const struct value *parsed = NULL;
    enum status all = api_parse(shape, encoding, body, &second, &parsed, &error);
    CHECK(all == STATUS_OK || all == STATUS_INVALID || all == STATUS_NO_MEMORY);
    CHECK(status == STATUS_OK || all != STATUS_OK);
    arena_release(&second);
    arena_release(&arena);
}
