/* Tokens that clients bring back: what we did not seal does not open, and what opens is what was
 * sealed. */
#include <string.h>

#include "broker/gateway/iterator.h"
#include "tests/fuzz/fuzz.h"

static const struct token_key key = {.id = 1, .bytes = "0123456789abcdef0123456789abcde"};
static const struct token_keys keys = {.keys = &key, .count = 1};

/* A change of what is in the text: base64's unused bits, and quotes around it, are none. */
static void check_changed(const struct iterator *sealed, const char *text, const uint8_t *data,
                          size_t size)
{
    char changed[ITERATOR_TEXT_BYTES];
    struct iterator out;
    size_t length = strlen(text);
    (void)memcpy(changed, text, sizeof(changed));
    for (size_t i = 0; i + 1 < size && i < 8; i += 2) {
        changed[data[i] % length] = (char)data[i + 1];
    }
    if (iterator_open(&keys, bytes_of(changed, length), &out) == STATUS_OK) {
        CHECK(out.stream == sealed->stream && out.shard == sealed->shard && out.at == sealed->at &&
              out.position == sealed->position && out.issued_ms == sealed->issued_ms);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct iterator in = {.position = ITERATOR_OFFSET}, out;
    uint8_t payload[TOKEN_PAYLOAD_MAX];
    size_t payload_size;
    CHECK(iterator_open(&keys, bytes_of(data, size), &out) != STATUS_OK);
    CHECK(token_open(&keys, "ListShards", bytes_of(data, size), 0, 0, payload, &payload_size) !=
          STATUS_OK);
    if (size < 24) {
        return 0;
    }
    memcpy(&in.stream, data, 4);
    memcpy(&in.shard, data + 4, 4);
    memcpy(&in.at, data + 8, 8);
    memcpy(&in.issued_ms, data + 16, 8);
    char text[ITERATOR_TEXT_BYTES];
    CHECK(iterator_seal(&keys, &in, text) == STATUS_OK);
    CHECK(iterator_open(&keys, bytes_of_string(text), &out) == STATUS_OK);
    CHECK(out.stream == in.stream && out.shard == in.shard && out.at == in.at &&
          out.issued_ms == in.issued_ms);
    check_changed(&in, text, data + 24, size - 24);
    return 0;
}
