/* RFC 4648. By far the most bytes of a request and of an answer are base64, so where the processor
 * has AVX2, 32 characters are turned at a time; the rest, and everything elsewhere, goes by table.
 */
#include "broker/gateway/api_text.h"

#if defined(__x86_64__)
#    include <immintrin.h>
#    define HAS_WIDE 1
#else
#    define HAS_WIDE 0
#endif

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

#if HAS_WIDE
enum { WIDE_TEXT = 32, WIDE_BYTES = 24 };

static bool is_wide(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}

__attribute__((target("avx2"))) static __m256i where(__m256i mask, int value)
{
    return _mm256_and_si256(mask, _mm256_set1_epi8((char)value));
}

/* As many whole steps as fit, each of which writes 8 bytes more than it decodes. Answers how many
 * characters they took; fewer when one of them is no digit, which the table then finds.
 *
 * The alphabet lies in rows of 16 characters, by the upper half of their codes (the method is
 * Wojciech Mula's). A bit stands for the digits' own kind of row: 1 for row 2 (+ and /), 2 for row
 * 3 (0 to 9), 4 for rows 4 and 6 (all but the first), 8 for rows 5 and 7 (to z), 16 for rows
 * without digits. `rows` has the bit of each row, `columns` the bits of the rows that have no digit
 * in that column: a character whose row's bit is in its column is none. What is added to a digit to
 * get its value is the same in a row, but for / which takes the place of row 1. */
__attribute__((target("avx2"))) static size_t decode_wide(struct bytes text, uint8_t *out)
{
    const __m256i columns = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(21, 17, 17, 17, 17, 17, 17, 17, 17, 17, 19, 26, 27, 27, 27, 26));
    const __m256i rows = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16));
    const __m256i shifts = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 63 - '/', 62 - '+', 52 - '0', -'A', -'A', 26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i order = _mm256_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1,
                                           2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i together = _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7);
    const __m256i half = _mm256_set1_epi8(15), slash = _mm256_set1_epi8('/');
    size_t at = 0;
    for (; text.size - at > WIDE_TEXT + 12; at += WIDE_TEXT, out += WIDE_BYTES) {
        __m256i in = _mm256_loadu_si256((const __m256i *)(const void *)(text.data + at));
        __m256i row = _mm256_and_si256(_mm256_srli_epi32(in, 4), half);
        __m256i column = _mm256_and_si256(in, half);
        if (!_mm256_testz_si256(_mm256_shuffle_epi8(rows, row),
                                _mm256_shuffle_epi8(columns, column))) {
            break;
        }
        __m256i of = _mm256_add_epi8(row, _mm256_cmpeq_epi8(in, slash)); /* one less for a slash */
        __m256i six = _mm256_add_epi8(in, _mm256_shuffle_epi8(shifts, of));
        __m256i twelve = _mm256_maddubs_epi16(six, _mm256_set1_epi32(0x01400140));
        __m256i bits = _mm256_madd_epi16(twelve, _mm256_set1_epi32(0x00011000));
        bits = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(bits, order), together);
        _mm256_storeu_si256((__m256i *)(void *)out, bits);
    }
    return at;
}

/* Steps of 24 bytes, each of which reads 4 bytes more. Answers how many bytes they took. */
__attribute__((target("avx2"))) static size_t encode_wide(struct bytes bytes, uint8_t *out)
{
    const __m256i spread = _mm256_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10, 1, 0,
                                            2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    size_t at = 0;
    for (; bytes.size - at >= WIDE_BYTES + 4; at += WIDE_BYTES, out += WIDE_TEXT) {
        const uint8_t *from = bytes.data + at;
        __m128i first = _mm_loadu_si128((const __m128i *)(const void *)from);
        __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(from + 12));
        __m256i in = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
        in = _mm256_shuffle_epi8(in, spread);
        /* Each 32 bits are bytes b, a, c, b now: the four digits are cut out two at a time. */
        __m256i odd = _mm256_mulhi_epu16(_mm256_and_si256(in, _mm256_set1_epi32(0x0fc0fc00)),
                                         _mm256_set1_epi32(0x04000040));
        __m256i even = _mm256_mullo_epi16(_mm256_and_si256(in, _mm256_set1_epi32(0x003f03f0)),
                                          _mm256_set1_epi32(0x01000010));
        __m256i six = _mm256_or_si256(odd, even);
        __m256i shift = _mm256_set1_epi8('A');
        __m256i above = _mm256_cmpgt_epi8(six, _mm256_set1_epi8(25));
        shift = _mm256_add_epi8(shift, where(above, ('a' - 26) - 'A'));
        above = _mm256_cmpgt_epi8(six, _mm256_set1_epi8(51));
        shift = _mm256_add_epi8(shift, where(above, ('0' - 52) - ('a' - 26)));
        above = _mm256_cmpgt_epi8(six, _mm256_set1_epi8(61));
        shift = _mm256_add_epi8(shift, where(above, ('+' - 62) - ('0' - 52)));
        above = _mm256_cmpgt_epi8(six, _mm256_set1_epi8(62));
        shift = _mm256_add_epi8(shift, where(above, ('/' - 63) - ('+' - 62)));
        _mm256_storeu_si256((__m256i *)(void *)out, _mm256_add_epi8(six, shift));
    }
    return at;
}
#else
static bool is_wide(void)
{
    return false;
}

static size_t decode_wide(struct bytes text, uint8_t *out)
{
    (void)text;
    (void)out;
    return 0;
}

static size_t encode_wide(struct bytes bytes, uint8_t *out)
{
    (void)bytes;
    (void)out;
    return 0;
}
#endif

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
    size_t at = is_wide() ? decode_wide(text, out) : 0;
    size_t count = at / 4 * 3;
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
    size_t at = is_wide() ? encode_wide(bytes, out) : 0;
    out += at / 3 * 4;
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
