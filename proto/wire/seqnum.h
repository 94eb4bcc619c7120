/* The sequence numbers that clients see: Kinesis's, version 2, an unsigned number of 186 bits in
 * decimal. Most significant bits first:
 *
 *    4  2
 *   36  when the shard was created, seconds (a child's is later than its parents')
 *    4  shard number modulo 16
 *   64  index: recovery generation << 48 | offset; the top bit is never set
 *    8  0
 *   36  when the record arrived, seconds
 *   32  shard number
 *    4  2, the version
 *
 * The index alone orders a shard's numbers. Consumers written for Kinesis check the form and take
 * the shard number from it. Pure. */
#pragma once

#include <stdint.h>

#include "base/status.h"

enum { SEQNUM_DECIMAL_BYTES = 57 /* 56 digits and the zero */ };

struct seqnum {
    uint64_t created_s;    /* below 2^36 */
    uint32_t shard_number; /* within its stream */
    uint32_t generation;   /* below 2^15 */
    uint64_t offset;       /* below 2^48 */
    uint64_t record_s;     /* below 2^36 */
};

/* As the numbers compare: negative, 0 or positive. */
int seqnum_compare(const struct seqnum *a, const struct seqnum *b);

/* Fields beyond their width are cut to it. */
void seqnum_to_decimal(const struct seqnum *seqnum, char out[SEQNUM_DECIMAL_BYTES]);

/* INVALID: not a decimal number without leading zeros, or not of the form above. */
NODISCARD enum status seqnum_from_decimal(const char *text, struct seqnum *out);

/* The EndingSequenceNumber of a shard closed at `closed_s`: index 0x7fffffffffffffff. */
struct seqnum seqnum_closing(uint64_t created_s, uint32_t shard_number, uint64_t closed_s);
