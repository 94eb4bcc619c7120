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

/* ---- base64 (RFC 4648) ---- */

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value and one, so that what is not named is 0: no value. */
static const uint8_t values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63, ['/'] = 64,
};

static enum base64_result bad_character(const uint8_t *text, size_t from, size_t count,
                                        size_t *out_place)
{
    size_t place = from;
    while (place < from + count && values[text[place]]) {
        place++;
    }
    *out_place = place;
    return BASE64_CHARACTER;
}

/* The last group, which may be padded. `count` is what `out` holds already. */
static enum base64_result decode_last(const uint8_t *text, size_t at, uint8_t *out, size_t count,
                                      size_t *out_size)
{
    size_t digits = text[at + 3] != '=' ? 4 : text[at + 2] != '=' ? 3 : 2;
    uint32_t bits = 0;
    for (size_t i = 0; i < 4; i++) {
        unsigned value = i < digits ? values[text[at + i]] : 1;
        if (!value) {
            return bad_character(text, at, digits, out_size);
        }
        bits = bits << 6 | (value - 1);
    }
    size_t bytes = digits - 1;
    if (bits & (0xffffffu >> (8 * bytes))) {
        return BASE64_LAST;
    }
    for (size_t i = 0; i < bytes; i++) {
        out[count + i] = (uint8_t)(bits >> (16 - 8 * i));
    }
    *out_size = count + bytes;
    return BASE64_OK;
}

enum base64_result base64_decode(struct bytes text, uint8_t *out, size_t *out_size)
{
    if (text.size % 4) {
        return BASE64_LENGTH;
    }
    if (!text.size) {
        *out_size = 0;
        return BASE64_OK;
    }
    size_t at = 0;
    size_t count = 0;
    for (; at < text.size - 4; at += 4, count += 3) {
        const uint8_t *four = text.data + at;
        unsigned a = values[four[0]], b = values[four[1]];
        unsigned c = values[four[2]], d = values[four[3]];
        if (!a || !b || !c || !d) {
            return bad_character(text.data, at, 4, out_size);
        }
        uint32_t bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
        out[count] = (uint8_t)(bits >> 16);
        out[count + 1] = (uint8_t)(bits >> 8);
        out[count + 2] = (uint8_t)bits;
    }
    return decode_last(text.data, at, out, count, out_size);
}

void base64_encode(struct bytes bytes, uint8_t *out)
{
    const uint8_t *in = bytes.data;
    size_t at = 0;
    for (; bytes.size - at >= 3; at += 3, out += 4) {
        uint32_t bits = (uint32_t)in[at] << 16 | (uint32_t)in[at + 1] << 8 | in[at + 2];
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = (uint8_t)alphabet[bits >> 6 & 63];
        out[3] = (uint8_t)alphabet[bits & 63];
    }
    size_t left = bytes.size - at;
    if (left) {
        uint32_t bits = (uint32_t)in[at] << 16 | (left == 2 ? (uint32_t)in[at + 1] << 8 : 0);
        out[0] = (uint8_t)alphabet[bits >> 18];
        out[1] = (uint8_t)alphabet[bits >> 12 & 63];
        out[2] = left == 2 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        out[3] = '=';
    }
}
