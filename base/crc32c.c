#include "base/crc32c.h"

#include <string.h>

#include <pthread.h>

#if defined(__x86_64__)
#    include <nmmintrin.h>
#elif defined(__aarch64__)
#    include <arm_acle.h>
#    include <sys/auxv.h>
#endif

static uint32_t table[8][256];

static uint32_t crc_by_table(uint32_t crc, const uint8_t *data, size_t size)
{
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        word ^= crc;
        crc = 0;
        for (int i = 0; i < 8; i++) {
            crc ^= table[7 - i][(word >> (8 * i)) & 0xff];
        }
        data += 8;
        size -= 8;
    }
    while (size-- > 0) {
        crc = table[0][(crc ^ *data++) & 0xff] ^ (crc >> 8);
    }
    return crc;
}

#if defined(__x86_64__)
/* Three streams at once hide the latency of the instruction; the zeroes operators below shift the
 * first two results over the bytes that follow them (the method is Mark Adler's, described in his
 * crc32c.c). */
enum { STREAM_BYTES = 1024 };
static uint32_t shift_one[4][256], shift_two[4][256];

static uint32_t shift(uint32_t operator[4][256], uint32_t crc)
{
    return operator[0][crc & 0xff] ^ operator[1][(crc >> 8) & 0xff] ^
    operator[2][(crc >> 16) & 0xff] ^
    operator[3][crc >> 24];
}

static void make_shift(uint32_t operator[4][256], size_t zeroes)
{
    static const uint8_t zero[256];
    for (uint32_t byte = 0; byte < 4; byte++) {
        for (uint32_t n = 0; n < 256; n++) {
            uint32_t crc = n << (8 * byte);
            for (size_t done = 0; done < zeroes; done += sizeof(zero)) {
                crc = crc_by_table(crc, zero, sizeof(zero));
            }
            operator[byte][n] = crc;
        }
    }
}

__attribute__((target("sse4.2"))) static uint32_t crc_by_instruction(uint32_t crc,
                                                                     const uint8_t *data,
                                                                     size_t size)
{
    uint64_t a = crc;
    while (size >= 3 * (size_t)STREAM_BYTES) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < STREAM_BYTES; i += 8) {
            uint64_t x, y, z;
            memcpy(&x, data + i, 8);
            memcpy(&y, data + STREAM_BYTES + i, 8);
            memcpy(&z, data + 2 * (size_t)STREAM_BYTES + i, 8);
            a = _mm_crc32_u64(a, x);
            b = _mm_crc32_u64(b, y);
            c = _mm_crc32_u64(c, z);
        }
        a = shift(shift_two, (uint32_t)a) ^ shift(shift_one, (uint32_t)b) ^ c;
        data += 3 * (size_t)STREAM_BYTES;
        size -= 3 * (size_t)STREAM_BYTES;
    }
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        a = _mm_crc32_u64(a, word);
    }
    for (; size > 0; data++, size--) {
        a = _mm_crc32_u8((uint32_t)a, *data);
    }
    return (uint32_t)a;
}
#elif defined(__aarch64__)
__attribute__((target("+crc"))) static uint32_t crc_by_instruction(uint32_t crc,
                                                                   const uint8_t *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        crc = __crc32cd(crc, word);
    }
    for (; size > 0; data++, size--) {
        crc = __crc32cb(crc, *data);
    }
    return crc;
}
#endif

static uint32_t (*crc_function)(uint32_t, const uint8_t *, size_t);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t crc = n;
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? (crc >> 1) ^ 0x82f63b78u : crc >> 1;
        }
        table[0][n] = crc;
    }
    for (uint32_t n = 0; n < 256; n++) {
        for (int i = 1; i < 8; i++) {
            table[i][n] = table[0][table[i - 1][n] & 0xff] ^ (table[i - 1][n] >> 8);
        }
    }
    crc_function = crc_by_table;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2")) {
        make_shift(shift_one, STREAM_BYTES);
        make_shift(shift_two, 2 * (size_t)STREAM_BYTES);
        crc_function = crc_by_instruction;
    }
#elif defined(__aarch64__)
    if ((getauxval(AT_HWCAP) & HWCAP_CRC32) != 0) {
        crc_function = crc_by_instruction;
    }
#endif
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    (void)pthread_once(&once, choose);
    return ~crc_function(~crc, data, size);
}
