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

/* The value and a bit that says there is one: what is not named has none. */
enum { DIGIT = 0x40 };
static const uint8_t values[256] = {
    ['A'] = 0x40, ['B'] = 0x41, ['C'] = 0x42, ['D'] = 0x43, ['E'] = 0x44, ['F'] = 0x45,
    ['G'] = 0x46, ['H'] = 0x47, ['I'] = 0x48, ['J'] = 0x49, ['K'] = 0x4a, ['L'] = 0x4b,
    ['M'] = 0x4c, ['N'] = 0x4d, ['O'] = 0x4e, ['P'] = 0x4f, ['Q'] = 0x50, ['R'] = 0x51,
    ['S'] = 0x52, ['T'] = 0x53, ['U'] = 0x54, ['V'] = 0x55, ['W'] = 0x56, ['X'] = 0x57,
    ['Y'] = 0x58, ['Z'] = 0x59, ['a'] = 0x5a, ['b'] = 0x5b, ['c'] = 0x5c, ['d'] = 0x5d,
    ['e'] = 0x5e, ['f'] = 0x5f, ['g'] = 0x60, ['h'] = 0x61, ['i'] = 0x62, ['j'] = 0x63,
    ['k'] = 0x64, ['l'] = 0x65, ['m'] = 0x66, ['n'] = 0x67, ['o'] = 0x68, ['p'] = 0x69,
    ['q'] = 0x6a, ['r'] = 0x6b, ['s'] = 0x6c, ['t'] = 0x6d, ['u'] = 0x6e, ['v'] = 0x6f,
    ['w'] = 0x70, ['x'] = 0x71, ['y'] = 0x72, ['z'] = 0x73, ['0'] = 0x74, ['1'] = 0x75,
    ['2'] = 0x76, ['3'] = 0x77, ['4'] = 0x78, ['5'] = 0x79, ['6'] = 0x7a, ['7'] = 0x7b,
    ['8'] = 0x7c, ['9'] = 0x7d, ['+'] = 0x7e, ['/'] = 0x7f,
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
        unsigned value = i < digits ? values[text[at + i]] : DIGIT;
        if (!value) {
            return bad_character(text, at, digits, out_size);
        }
        bits = bits << 6 | (value - DIGIT);
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
    /* All but the last group, without a branch for each: what the bits that say "a digit" have in
     * common is looked at once. */
    size_t at = 0;
    size_t count = 0;
    unsigned all = DIGIT;
    for (; at < text.size - 4; at += 4, count += 3) {
        const uint8_t *four = text.data + at;
        unsigned a = values[four[0]], b = values[four[1]];
        unsigned c = values[four[2]], d = values[four[3]];
        all &= a & b & c & d;
        uint32_t bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
        out[count] = (uint8_t)(bits >> 16);
        out[count + 1] = (uint8_t)(bits >> 8);
        out[count + 2] = (uint8_t)bits;
    }
    if (!all) {
        return bad_character(text.data, 0, at, out_size);
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
