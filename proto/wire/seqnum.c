#include "proto/wire/seqnum.h"

#include <stddef.h>
#include <string.h>

enum { LIMBS = 6, DIGITS_MAX = SEQNUM_DECIMAL_BYTES - 1, VERSION = 2 };

static const uint64_t seconds_mask = ((uint64_t)1 << 36) - 1;
static const uint64_t offset_mask = ((uint64_t)1 << 48) - 1;
enum { GENERATION_MASK = 0x7fff, BILLION = 1000000000, BILLION_DIGITS = 9 };

/* 192 bits, least significant limb first. */
struct wide {
    uint32_t limb[LIMBS];
};

/* Puts `width` bits of `value` above bit `at`. */
static void wide_put(struct wide *n, unsigned at, unsigned width, uint64_t value)
{
    value &= UINT64_MAX >> (64 - width);
    for (unsigned i = at / 32, shift = at % 32; value != 0; i++, shift = 0) {
        n->limb[i] |= (uint32_t)(value << shift);
        value >>= 32 - shift;
    }
}

static uint64_t wide_get(const struct wide *n, unsigned at, unsigned width)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < width; done += 4) {
        uint64_t nibble = (n->limb[(at + done) / 32] >> ((at + done) % 32)) & 15;
        value |= nibble << done;
    }
    return value;
}

/* Divides by 10^9; the remainder, nine digits, is the answer. `limbs` of it are not zero, or fewer.
 */
static uint32_t wide_divide(struct wide *n, int limbs)
{
    uint64_t rest = 0;
    for (int i = limbs - 1; i >= 0; i--) {
        uint64_t part = rest << 32 | n->limb[i];
        n->limb[i] = (uint32_t)(part / BILLION);
        rest = part % BILLION;
    }
    return (uint32_t)rest;
}

/* `count` digits, two at a time: half as many divisions, and they do not wait for one another. */
static void put_digits(char *at, uint32_t number, int count)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    for (; count >= 2; count -= 2, number /= 100) {
        memcpy(at + count - 2, pairs + (size_t)(number % 100) * 2, 2);
    }
    if (count == 1) {
        at[0] = (char)('0' + (int)(number % 10));
    }
}

/* 56 digits stay below 2^187, so that nothing is carried out. */
static void wide_multiply_add(struct wide *n, unsigned digit)
{
    uint64_t carry = digit;
    for (int i = 0; i < LIMBS; i++) {
        uint64_t part = (uint64_t)n->limb[i] * 10 + carry;
        n->limb[i] = (uint32_t)part;
        carry = part >> 32;
    }
}

/* Where each field begins. */
enum {
    BIT_VERSION = 0,
    BIT_SHARD = 4,
    BIT_RECORD_S = 36,
    BIT_ZERO = 72,
    BIT_OFFSET = 80,
    BIT_GENERATION = 128,
    BIT_SHARD_MOD = 144,
    BIT_CREATED_S = 148,
    BIT_TOP = 184,
};

void seqnum_to_decimal(const struct seqnum *seqnum, char out[SEQNUM_DECIMAL_BYTES])
{
    struct wide n = {0};
    wide_put(&n, BIT_VERSION, 4, VERSION);
    wide_put(&n, BIT_SHARD, 32, seqnum->shard_number);
    wide_put(&n, BIT_RECORD_S, 36, seqnum->record_s);
    wide_put(&n, BIT_OFFSET, 48, seqnum->offset);
    wide_put(&n, BIT_GENERATION, 16, seqnum->generation & GENERATION_MASK);
    wide_put(&n, BIT_SHARD_MOD, 4, seqnum->shard_number);
    wide_put(&n, BIT_CREATED_S, 36, seqnum->created_s);
    wide_put(&n, BIT_TOP, 4, VERSION);
    /* 2 << 184 has 56 digits, and so has everything up to 3 << 184. */
    out[DIGITS_MAX] = '\0';
    int limbs = LIMBS;
    for (int end = DIGITS_MAX; end > 0; end -= BILLION_DIGITS) {
        limbs -= n.limb[limbs - 1] == 0 ? 1 : 0; /* a division takes away 30 bits */
        int count = end < BILLION_DIGITS ? end : BILLION_DIGITS;
        put_digits(out + end - count, wide_divide(&n, limbs), count);
    }
}

enum status seqnum_from_decimal(const char *text, struct seqnum *out)
{
    if (strnlen(text, DIGITS_MAX + 1) != DIGITS_MAX || text[0] == '0') {
        return STATUS_INVALID;
    }
    struct wide n = {0};
    for (size_t i = 0; i < DIGITS_MAX; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return STATUS_INVALID;
        }
        wide_multiply_add(&n, (unsigned)(text[i] - '0'));
    }
    uint32_t shard_number = (uint32_t)wide_get(&n, BIT_SHARD, 32);
    uint64_t generation = wide_get(&n, BIT_GENERATION, 16);
    if (wide_get(&n, BIT_VERSION, 4) != VERSION || wide_get(&n, BIT_TOP, 8) != VERSION ||
        wide_get(&n, BIT_ZERO, 8) != 0 || wide_get(&n, BIT_SHARD_MOD, 4) != shard_number % 16 ||
        generation > GENERATION_MASK) {
        return STATUS_INVALID;
    }
    *out = (struct seqnum){
        .created_s = wide_get(&n, BIT_CREATED_S, 36),
        .shard_number = shard_number,
        .generation = (uint32_t)generation,
        .offset = wide_get(&n, BIT_OFFSET, 48),
        .record_s = wide_get(&n, BIT_RECORD_S, 36),
    };
    return STATUS_OK;
}

static int compare(uint64_t a, uint64_t b)
{
    return a == b ? 0 : a < b ? -1 : 1;
}

int seqnum_compare(const struct seqnum *a, const struct seqnum *b)
{
    const int order[] = {
        compare(a->created_s & seconds_mask, b->created_s & seconds_mask),
        compare(a->shard_number % 16, b->shard_number % 16),
        compare(a->generation & GENERATION_MASK, b->generation & GENERATION_MASK),
        compare(a->offset & offset_mask, b->offset & offset_mask),
        compare(a->record_s & seconds_mask, b->record_s & seconds_mask),
        compare(a->shard_number, b->shard_number),
    };
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (order[i] != 0) {
            return order[i];
        }
    }
    return 0;
}

struct seqnum seqnum_closing(uint64_t created_s, uint32_t shard_number, uint64_t closed_s)
{
    return (struct seqnum){
        .created_s = created_s,
        .shard_number = shard_number,
        .generation = GENERATION_MASK,
        .offset = offset_mask,
        .record_s = closed_s,
    };
}
