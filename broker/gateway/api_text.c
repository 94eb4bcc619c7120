#include "broker/gateway/api_text.h"

/* The size of the valid character at `at`, 0 when there is none. */
static size_t character_size(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > left) {
        return 0;
    }
    /* The second byte also keeps out surrogates, and forms that are too long or too large. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

size_t utf8_valid(struct bytes text)
{
    size_t at = 0;
    while (at < text.size) {
        uint64_t eight;
        if (text.size - at >= sizeof eight) {
            memcpy(&eight, text.data + at, sizeof eight);
            if (!(eight & 0x8080808080808080u)) {
                at += sizeof eight;
                continue;
            }
        }
        size_t size = character_size(text.data + at, text.size - at);
        if (!size) {
            break;
        }
        at += size;
    }
    return at;
}

int64_t utf8_length(struct bytes text)
{
    int64_t length = 0;
    for (size_t i = 0; i < text.size; i++) {
        length += (text.data[i] & 0xc0) != 0x80;
    }
    return length;
}

struct bytes utf8_cut(struct bytes text, size_t most)
{
    if (text.size <= most) {
        return text;
    }
    while (most > 0 && (text.data[most] & 0xc0) == 0x80) {
        most--;
    }
    return bytes_of(text.data, most);
}
